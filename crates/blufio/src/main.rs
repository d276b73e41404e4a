//! Blufio: an always-on personal AI agent in one static binary.
//!
//! The process starts in phases: before there are threads it reads and cleans its environment and gives up rights it does
//! not need; then it reads the command line; only a command that needs one builds an async runtime.

mod cli;
mod client;
mod config;
mod failure;
mod gateway;
mod lock;
mod logging;
mod secrets;
mod serve;
mod start;
mod wire;

use std::process::ExitCode;

/// jemalloc, because a long-lived process must give memory back and stay unfragmented.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Two arenas are enough for two workers; freed pages go back after a second, by a thread of jemalloc's own.
#[expect(unsafe_code, reason = "jemalloc reads its options from a symbol of this name")]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static MALLOC_CONF: Option<&'static u8> =
    c"narenas:2,dirty_decay_ms:1000,muzzy_decay_ms:1000,background_thread:true".to_bytes_with_nul().first();

fn main() -> ExitCode {
    cli::run(start::before_threads())
}
