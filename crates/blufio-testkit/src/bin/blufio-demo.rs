//! Shows the real server at work against fakes on this machine; see `./dev demo`.

use std::process::ExitCode;

use blufio_testkit::demo::{Options, run};
use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nthe demo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}
