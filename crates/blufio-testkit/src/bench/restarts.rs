//! Restarts under traffic against a fake that is as strict about polls as the public server, and beside that two polls that
//! fall silent: one for once, one for minutes.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use clap::Args;
use tokio::time::sleep;

use super::Bench;
use super::crash::{Feed, is_new, keep_feeding};
use super::random::{Random, seed};
use super::report::{Report, Times, ms};
use super::world::{FIRST_USER, Plan, Seen, World, sending, stored};
use crate::botapi::{Action, Fault, State};
use crate::invariants;
use crate::process::Blufio;

/// Chats that write all the time.
const CHATS: usize = 4;
/// Longest time from readiness to a restart.
const LIFE_MS_MAX: u64 = 900;
/// Longest time from the last restart until everything is answered.
const QUIET_MAX: Duration = Duration::from_secs(90);
/// Longest orderly end.
const END_MAX: Duration = Duration::from_secs(12);
/// Longest time until a connection that is open at one end only is replaced.
const RECOVERY_MAX: Duration = Duration::from_secs(90);
/// How long the longer silence lasts.
const HELD: Duration = Duration::from_secs(180);
/// When it has to show.
const RED: (Duration, Duration) = (Duration::from_secs(118), Duration::from_secs(135));
/// Pause between two looks at `/readyz`.
const LOOK: Duration = Duration::from_millis(250);
/// Requests that are kept for the comparison.
const LOG_MAX: usize = 500_000;

/// Options of the restarts.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// How often the process is restarted.
    #[arg(long, default_value_t = 50)]
    pub count: u32,
    /// Decides instants and signals; without it a new one is taken and printed.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Leave out the silent polls, which take five minutes.
    #[arg(long)]
    pub only_restarts: bool,
}

#[derive(Default)]
struct Sums {
    killed: u64,
    asked: u64,
    posted: u64,
    lost: Vec<u64>,
    twice: Vec<u64>,
    out_of_order: Vec<u64>,
    copies: u64,
    in_flight: u64,
    marked: u64,
    conflicts: u64,
    overlaps: u64,
    first_poll: Vec<Duration>,
    ready: Vec<Duration>,
    violations: Vec<String>,
}

/// What the longer silence showed.
struct Held {
    red: Duration,
    stayed_red: bool,
    recovered: Duration,
}

/// Restarts, holds polls, reports.
///
/// # Errors
/// The measurement itself cannot go on; what the binary did wrong is in the report.
pub async fn run(bench: &Bench, options: &Options) -> Result<Report> {
    let seed = options.seed.unwrap_or_else(seed);
    eprintln!("restarts: {}, seed {seed}", options.count);
    let silent = async {
        Ok(match options.only_restarts {
            true => None,
            false => Some(tokio::try_join!(half_open(bench), held(bench))?),
        })
    };
    let (sums, silent) = tokio::try_join!(restarts(bench, options, Random::new(seed)), silent)?;
    let mut report = Report::new(
        "restarts",
        format!(
            "Restarts 0 to {LIFE_MS_MAX} ms after readiness, SIGTERM or SIGKILL by chance, while {CHATS} chats keep writing; the \
             fake throttles repeated polls and answers overlapping ones with 409. Beside that: a poll whose connection is open \
             at one end only, once, and for three minutes. Replay: `./dev bench restarts --count {} --seed {seed}`",
            options.count
        ),
    );
    report.figure("restarts by SIGTERM; by SIGKILL", format!("{}; {}", sums.asked, sums.killed));
    report.figure("messages posted", sums.posted);
    for (what, numbers) in [
        ("not answered", &sums.lost),
        ("not in exactly one turn", &sums.twice),
        ("answered out of order within a chat", &sums.out_of_order),
    ] {
        report.must(what, numbers.len(), "0", numbers.is_empty());
        if !numbers.is_empty() {
            report.failures.push(format!("{what}: {numbers:?}"));
        }
    }
    let bound = sums.in_flight.min(sums.marked);
    let goal = format!("≤ {} sends in flight at a SIGKILL, ≤ {} marked rows", sums.in_flight, sums.marked);
    report.must("messages seen twice", sums.copies, goal, sums.copies <= bound);
    report.must("409 answers to our own polls", sums.conflicts, "0", sums.conflicts == 0);
    report.must("overlapping polls", sums.overlaps, "0", sums.overlaps == 0);
    report.must("calls that no correct client makes", sums.violations.len(), "0", sums.violations.is_empty());
    report.failures.extend(sums.violations.first().cloned());
    for (what, times) in [("first poll", &sums.first_poll), ("/readyz", &sums.ready)] {
        let times: Times = times.iter().copied().collect();
        let value =
            format!("{} / {} / {}", ms(times.percentile(50)), ms(times.percentile(99)), ms(times.percentile(100)));
        report.figure(format!("restart to {what}, p50 / p99 / longest"), value);
    }
    if let Some((recovered, held)) = silent {
        let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
        report.must("answer after a poll fell silent", seconds(recovered), "≤ 90 s", recovered <= RECOVERY_MAX);
        let in_time = (RED.0..=RED.1).contains(&held.red);
        report.must("/readyz red after so much silence", seconds(held.red), "120 s", in_time);
        report.must("… and red until it ended", held.stayed_red, "true", held.stayed_red);
        let met = held.recovered <= RECOVERY_MAX;
        report.must("answer and /readyz green after the silence", seconds(held.recovered), "≤ 90 s", met);
    }
    Ok(report)
}

async fn restarts(bench: &Bench, options: &Options, mut random: Random) -> Result<Sums> {
    let plan = Plan { chats: CHATS, throttle: true, log_limit: LOG_MAX, ..Plan::default() };
    let mut world = World::new(&bench.binary, bench.place(), plan).await?;
    world.setup.set_raw("telegram.text_chunk", "500");
    world.setup.set("telegram.streaming", "auto");
    world.setup.cage.clone_from(&bench.cage);
    let world = Arc::new(world);
    let feed = Arc::new(Mutex::new(Feed::new(CHATS, 0)));
    let feeding = tokio::spawn(keep_feeding(Arc::clone(&world), Arc::clone(&feed)));
    let mut sums = Sums::default();
    let outcome = restart_and_compare(&world, &feed, options.count, &mut random, &mut sums).await;
    feeding.abort();
    // Ended, so that the folder has one owner.
    drop(feeding.await);
    match outcome {
        Ok(()) => Ok(sums),
        Err(error) => match Arc::into_inner(world) {
            Some(world) => bail!("{error:#}; data and log are kept in {}", world.keep().display()),
            None => Err(error),
        },
    }
}

async fn restart_and_compare(
    world: &World,
    feed: &Mutex<Feed>,
    count: u32,
    random: &mut Random,
    sums: &mut Sums,
) -> Result<()> {
    let database = world.setup.database();
    for _ in 0..count {
        let mut blufio = start(world, sums).await?;
        sleep(Duration::from_millis(random.below(LIFE_MS_MAX + 1))).await;
        ensure!(blufio.is_running(), "the process ended by itself; its log ends:\n{}", blufio.log_tail());
        if random.below(2) == 0 {
            sums.asked += 1;
            let status = blufio.terminate(END_MAX).await?;
            ensure!(status.success(), "the orderly end was {status}");
        } else {
            sums.killed += 1;
            blufio.kill9().await?;
            sums.in_flight += sending(&database)?;
        }
        check(world)?;
    }
    feed.lock().expect("the feed does not panic").closed = true;
    let mut blufio = start(world, sums).await?;
    let begin = Instant::now();
    while !feed.lock().expect("the feed does not panic").all_answered(world) {
        let over = begin.elapsed() > QUIET_MAX || !blufio.is_running();
        ensure!(!over, "not everything is answered; the log ends:\n{}", blufio.log_tail());
        sleep(Duration::from_millis(20)).await;
    }
    let status = blufio.terminate(END_MAX).await?;
    ensure!(status.success(), "the orderly end was {status}");
    check(world)?;
    compare(world, &feed.lock().expect("the feed does not panic"), sums)
}

/// Starts the process and notes when its first poll came.
async fn start(world: &World, sums: &mut Sums) -> Result<Blufio> {
    let begin = world.telegram.read(State::now);
    let mut blufio = Blufio::spawn(&world.setup)?;
    sums.ready.push(blufio.ready().await?);
    // Nobody else is alive who could poll.
    let first = world.telegram.read(|state| {
        let polls = state.requests().filter(|request| request.method == "getUpdates");
        let mut times = polls.map(|request| Duration::from_millis(request.at_ms));
        times.find(|at| *at >= begin)
    });
    sums.first_poll.extend(first.map(|at| at - begin));
    Ok(blufio)
}

fn check(world: &World) -> Result<()> {
    match invariants::check(&world.setup.database()) {
        Err(problems) if !is_new(&problems) => bail!("{}", problems.join("; ")),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn compare(world: &World, feed: &Feed, sums: &mut Sums) -> Result<()> {
    let mut seen = Seen::default();
    for chat in &feed.chats {
        seen.add(&world.telegram.transcript(chat.user));
    }
    let posted: BTreeSet<u64> = feed.chats.iter().flat_map(|chat| chat.numbers.iter().copied()).collect();
    let stored = stored(&world.setup.database())?;
    sums.posted = posted.len() as u64;
    sums.lost = seen.lost(&posted);
    sums.twice = posted.iter().filter(|number| stored.turns.get(number) != Some(&1)).copied().collect();
    sums.out_of_order = seen.out_of_order;
    sums.copies = world.telegram.read(State::sent_total).saturating_sub(stored.rows);
    sums.marked = stored.flagged;
    let conflict = |(words, _): &(&String, &u64)| words.contains("Conflict");
    sums.conflicts = world.telegram.read(|state| state.errors().iter().filter(conflict).map(|(_, count)| *count).sum());
    sums.overlaps = world.telegram.overlapping_polls();
    sums.violations = world.violations();
    Ok(())
}

/// A process whose next poll is met by the fault; it has answered one message before that.
async fn silenced(bench: &Bench, fault: Fault) -> Result<(World, Blufio)> {
    let plan = Plan { chats: 1, log_limit: LOG_MAX, ..Plan::default() };
    let world = World::new(&bench.binary, bench.place(), plan).await?;
    let (blufio, _) = Blufio::start(&world.setup).await?;
    // The poll that waits is answered by this message; the one after it meets the fault.
    world.telegram.fault(fault);
    world.telegram.send_text(FIRST_USER, "#1");
    world.answered(FIRST_USER, 1, QUIET_MAX).await?;
    let met = |state: &State| state.requests().any(|request| request.fault.is_some()).then_some(());
    ensure!(world.telegram.try_wait_for(met, QUIET_MAX).await.is_some(), "no poll met the fault");
    world.telegram.send_text(FIRST_USER, "#2");
    Ok((world, blufio))
}

/// How long it takes until a message is answered that came when the poll was open at one end only.
async fn half_open(bench: &Bench) -> Result<Duration> {
    let (world, blufio) = silenced(bench, Fault::once("getUpdates", Action::NeverAnswer)).await?;
    let begin = Instant::now();
    world.answered(FIRST_USER, 2, RECOVERY_MAX + QUIET_MAX).await?;
    let took = begin.elapsed();
    blufio.terminate(END_MAX).await?;
    ensure!(world.telegram.overlapping_polls() == 0, "two polls at once after a silent one");
    Ok(took)
}

/// What `/readyz` says while no poll is answered for three minutes, and how long it takes afterwards.
async fn held(bench: &Bench) -> Result<Held> {
    let (world, blufio) = silenced(bench, Fault::on("getUpdates", Action::NeverAnswer)).await?;
    let begin = Instant::now();
    let (mut red, mut stayed_red) = (None, true);
    while begin.elapsed() < HELD {
        let (status, _) = blufio.get("/readyz").await?;
        match (status, red) {
            (200, None) => {}
            (200, Some(_)) => stayed_red = false,
            (_, None) => red = Some(begin.elapsed()),
            (_, Some(_)) => {}
        }
        sleep(LOOK).await;
    }
    world.telegram.clear_faults();
    let cleared = Instant::now();
    world.answered(FIRST_USER, 2, RECOVERY_MAX + QUIET_MAX).await?;
    while blufio.get("/readyz").await?.0 != 200 {
        ensure!(cleared.elapsed() < RECOVERY_MAX + QUIET_MAX, "not ready again after a silence");
        sleep(LOOK).await;
    }
    let recovered = cleared.elapsed();
    blufio.terminate(END_MAX).await?;
    ensure!(world.telegram.overlapping_polls() == 0, "two polls at once after a long silence");
    Ok(Held { red: red.unwrap_or_default(), stayed_red, recovered })
}
