#![allow(clippy::unwrap_used)]

mod facts;
mod features;
mod labelled;
mod properties;
mod rules;
mod simulator;
