//! The benchmarks and the kill harness: the real binary against the fakes, measured from outside.
//!
//! Each kind of measurement is a file here. Figures are compared with their goals and shown, also when they miss them; only
//! what must never be (something lost, something answered twice) makes the program fail.

pub mod channel_faults;
pub mod context;
pub mod crash;
pub mod failpoints;
pub mod latency;
pub mod leaks;
pub mod machine;
pub mod random;
pub mod recall;
pub mod report;
pub mod restarts;
pub mod rss;
pub mod startup;
pub mod tap;
pub mod throughput;
pub mod world;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};

use crate::process::{Cage, memory_group, remove_memory_group};
use machine::Machine;
use report::Report;

/// Where results are written.
const RESULTS: &str = "bench/RESULTS.md";
/// Memory of the smallest server that is offered.
const SMALL_BYTES: u64 = 512 * 1024 * 1024;

/// Measures the real binary against fake servers on this machine.
#[derive(Parser, Clone, Debug)]
pub struct Options {
    /// What to measure; without it, everything in its short form
    #[command(subcommand)]
    pub kind: Option<Kind>,
    /// The program [default: $BLUFIO_BIN]
    #[arg(long, global = true)]
    pub bin: Option<PathBuf>,
    /// Print one JSON object per kind instead of tables
    #[arg(long, global = true)]
    pub json: bool,
    /// Replace the sections of the measured kinds in bench/RESULTS.md
    #[arg(long, global = true)]
    pub write: bool,
    /// Run the program on one processor with 512 MiB of memory, as on a small server
    #[arg(long, global = true)]
    pub pin_one: bool,
    /// Keep all state in this folder [default: memory; where a disk is measured, the temporary folder]
    #[arg(long, global = true, value_name = "DIR")]
    pub disk: Option<PathBuf>,
}

/// What to measure.
#[derive(Subcommand, Clone, Debug)]
pub enum Kind {
    /// SIGKILL at random instants under load; nothing may be lost or answered twice
    Crash(crash::Options),
    /// Faults of every kind between the program and Telegram, in one run
    ChannelFaults(channel_faults::Options),
    /// Restarts under traffic against a server that is strict about polls, and polls that fall silent
    Restarts(restarts::Options),
    /// SIGKILL at every named failpoint
    Failpoints(failpoints::Options),
    /// Restart to /readyz, with a small and a large database
    Startup(startup::Options),
    /// Resident memory when nothing happens
    Rss(rss::Options),
    /// What the engine adds to a turn
    Latency(latency::Options),
    /// Turns per second with many chats at once
    Throughput(throughput::Options),
    /// What conversations cost, against clients that put everything in front
    Context(context::Options),
    /// The leak scanner: what it finds, what it finds wrongly, how fast it is
    Leaks(leaks::Options),
    /// Everything in its short form
    All,
}

/// What all measurements share.
#[derive(Clone, Debug)]
pub struct Bench {
    /// The program.
    pub binary: PathBuf,
    /// The same with failpoints, if there is one.
    pub failpoints: Option<PathBuf>,
    /// Limits of the program.
    pub cage: Option<Cage>,
    /// A folder on a disk.
    pub disk: PathBuf,
    /// The folder the person chose, else one in memory.
    fast: PathBuf,
}

impl Bench {
    /// Looks for the program and the folders.
    ///
    /// # Errors
    /// There is no program.
    pub fn new(options: &Options) -> Result<Self> {
        let binary = options.bin.clone().or_else(|| std::env::var_os("BLUFIO_BIN").map(PathBuf::from));
        let binary = binary.context("name the program with --bin or BLUFIO_BIN")?;
        ensure!(binary.exists(), "there is no program {}", binary.display());
        let shared_memory = Path::new("/dev/shm");
        let memory = if machine::is_tmpfs(shared_memory) { shared_memory.to_owned() } else { std::env::temp_dir() };
        Ok(Self {
            binary: std::path::absolute(binary)?,
            failpoints: failpoints::binary(),
            cage: options.pin_one.then_some(Cage { core: 0, memory_bytes: SMALL_BYTES }),
            disk: options.disk.clone().unwrap_or_else(std::env::temp_dir),
            fast: options.disk.clone().unwrap_or(memory),
        })
    }

    /// Where state goes whose speed is not the disk's.
    pub fn fast(&self) -> &Path {
        &self.fast
    }

    /// Where state goes that is about order, not about speed.
    pub fn place(&self) -> &Path {
        &self.fast
    }
}

/// Measures, shows, writes; gives the failures.
///
/// # Errors
/// A measurement cannot be made at all.
pub async fn run(options: &Options) -> Result<Vec<String>> {
    let bench = Bench::new(options)?;
    let machine = Machine::look(&bench.binary);
    let mut failures = Vec::new();
    for kind in kinds(options, &bench) {
        let mut report = measure(&bench, &kind).await?;
        if let Some(Cage { core, memory_bytes }) = bench.cage {
            report.kind.push_str(" (one core, 512 MiB)");
            let by = if memory_group(memory_bytes).is_some() { "a control group" } else { "RLIMIT_AS" };
            report.notes.push(format!(
                "The program ran on processor {core} alone, the fakes wherever the scheduler put them; its memory was limited \
                 to {} MiB by {by}.",
                memory_bytes >> 20
            ));
        }
        show(&report, &machine, options.json)?;
        if options.write {
            report.write(Path::new(RESULTS), &machine)?;
        }
        failures.extend(report.failures.into_iter().map(|failure| format!("{}: {failure}", report.kind)));
    }
    remove_memory_group();
    Ok(failures)
}

fn kinds(options: &Options, bench: &Bench) -> Vec<Kind> {
    match &options.kind {
        Some(Kind::All) | None => {
            let walk = Kind::Failpoints(failpoints::Options { times: 1, only: None });
            let mut kinds = vec![
                Kind::Rss(rss::Options {}),
                Kind::Latency(latency::Options { turns: 2_000 }),
                Kind::Throughput(throughput::Options { chats: 50, seconds: 10 }),
                Kind::Startup(startup::Options { runs: 50, gib: 1.0 }),
                Kind::Leaks(leaks::Options { samples: 100 }),
                Kind::Crash(crash::Options::kills(100)),
                Kind::ChannelFaults(channel_faults::Options { count: 200, seed: None }),
                Kind::Restarts(restarts::Options { count: 20, seed: None, only_restarts: true }),
            ];
            kinds.extend(bench.failpoints.is_some().then_some(walk));
            kinds
        }
        Some(kind) => vec![kind.clone()],
    }
}

async fn measure(bench: &Bench, kind: &Kind) -> Result<Report> {
    match kind {
        Kind::Crash(options) => crash::run(bench, options).await,
        Kind::ChannelFaults(options) => channel_faults::run(bench, options).await,
        Kind::Restarts(options) => restarts::run(bench, options).await,
        Kind::Failpoints(options) => failpoints::run(bench, options).await,
        Kind::Startup(options) => startup::run(bench, options).await,
        Kind::Rss(options) => rss::run(bench, options).await,
        Kind::Latency(options) => latency::run(bench, options).await,
        Kind::Throughput(options) => throughput::run(bench, options).await,
        Kind::Context(options) => context::run(bench, options).await,
        Kind::Leaks(options) => leaks::run(options),
        Kind::All => unreachable!("it was replaced by its parts"),
    }
}

fn show(report: &Report, machine: &Machine, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::json!({ "report": report, "machine": machine }));
        return Ok(());
    }
    let width = |of: fn(&report::Figure) -> &str| {
        report.figures.iter().map(|figure| of(figure).chars().count()).max().unwrap_or_default()
    };
    let (what, value) = (width(|figure| &figure.what), width(|figure| &figure.value));
    println!("\n{}\n{}\n", report.kind, report.about);
    for figure in &report.figures {
        let mark = match figure.met {
            Some(true) => "ok",
            Some(false) => "MISSED",
            None => "",
        };
        let goal = figure.goal.as_deref().unwrap_or_default();
        println!("  {:what$}  {:>value$}  {goal} {mark}", figure.what, figure.value);
    }
    report.notes.iter().for_each(|note| println!("\n  {note}"));
    report.failures.iter().for_each(|failure| println!("\n  FAILED: {failure}"));
    println!("\n  {machine}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
        let options = Options::try_parse_from(["bench", "crash", "--kills", "7", "--json"]).unwrap();
        assert!(options.json && matches!(options.kind, Some(Kind::Crash(crash::Options { kills: 7, .. }))));
    }
}
