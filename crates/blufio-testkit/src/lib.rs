//! Development only: fake servers that reject illegal requests, contract suites, kill harness.

pub mod http;
pub mod messages;
