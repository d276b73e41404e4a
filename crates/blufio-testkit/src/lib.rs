//! Development only: fake servers that reject illegal requests, contract suites, kill harness.

pub mod bench;
pub mod botapi;
pub mod contract;
pub mod database;
pub mod demo;
pub mod dns;
pub mod http;
pub mod invariants;
pub mod messages;
pub mod process;
pub mod transcription;
pub mod web;
