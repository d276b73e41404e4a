//! Benchmarks and the kill harness of the real binary; see `./dev bench`.

use std::process::ExitCode;

use anyhow::Result;
use blufio_testkit::bench::{Options, run};
use clap::Parser as _;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let options = Options::parse();
    // An interrupt ends the measurement like any other end, so that no child is left behind.
    let failures = tokio::select! {
        failures = run(&options) => failures?,
        _ = tokio::signal::ctrl_c() => return Ok(ExitCode::from(130)),
    };
    failures.iter().for_each(|failure| eprintln!("failed: {failure}"));
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
