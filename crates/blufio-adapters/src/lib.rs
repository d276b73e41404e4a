//! The built-in adapters: one module for each service that Blufio talks to.

pub mod anthropic;
pub mod egress;
pub mod telegram;
pub mod transcription;
