//! Tests of the built-in adapters against independent judges and fake servers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod anthropic;
mod broker;
mod embedding;
mod legality;
mod markdown;
mod search;
mod ssrf;
mod telegram;
mod transcription;
mod web;
