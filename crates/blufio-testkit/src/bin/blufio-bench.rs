//! Benchmarks and the kill harness of the real binary; see `./dev bench`.

use std::process::ExitCode;

use anyhow::Result;
use blufio_testkit::bench::{Options, run};
use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let options = Options::parse();
    // A signal ends the measurement like any other end, so that no child is left behind.
    let mut terminated = signal(SignalKind::terminate())?;
    let failures = tokio::select! {
        failures = run(&options) => failures,
        _ = tokio::signal::ctrl_c() => return Ok(ExitCode::from(130)),
        _ = terminated.recv() => return Ok(ExitCode::from(143)),
    };
    let failures = failures.unwrap_or_else(|error| vec![format!("{error:#}")]);
    failures.iter().for_each(|failure| eprintln!("failed: {failure}"));
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
