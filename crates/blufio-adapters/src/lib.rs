//! The built-in adapters: one module for each service that Blufio talks to.

pub mod anthropic;
mod blocking;
pub mod egress;
pub mod embedding;
mod form;
pub mod search;
pub mod telegram;
pub mod transcription;
pub mod web;
