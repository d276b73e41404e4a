//! What is found again of long conversations: questions with known evidence (`bench/memory/README.md`), and how well a ranking
//! of turns answers them.

pub mod format;
pub mod metrics;
#[cfg(test)]
mod set;
