//! What every implementation of a port must do, as suites that each of them runs.

pub mod channel;
pub mod provider;
pub mod storage;
