//! What the engine adds to a turn: from the delivery of an update to the request that sends the answer, without the time
//! that the model took. One turn at a time, so that nothing waits for anything else.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use tokio::time::{sleep, timeout};

use super::Bench;
use super::machine::{is_tmpfs, sync_times};
use super::report::{Report, Times, ms};
use super::tap::{Exchange, Tap};
use super::world::{FIRST_USER, Plan, World};
use crate::botapi::{Action, Fault, State};
use crate::process::Blufio;

/// Chats that speak in turn; fewer than the sessions that stay in memory.
const CHATS: usize = 50;
/// Turns before the measurement, in each chat.
const WARM_UP: usize = 1;
/// Turns in which the commits before the first text are counted.
const COUNTED: usize = 20;
/// How long the first text is held up then, so that what is committed after it does not count.
const HELD_UP_MS: u64 = 40;
/// After this time without work everything is committed that a turn leaves behind.
const SETTLE: Duration = Duration::from_millis(30);
/// Bytes of an answer of `getUpdates` with nothing in it, head included, are fewer than this.
const EMPTY_POLL_BYTES: usize = 150;
/// The metric that counts transactions.
const COMMITS: &str = "blufio_store_commits_total";
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// Options of the latency measurement.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Turns with the state in memory; a quarter of it with the state on disk.
    #[arg(long, default_value_t = 2_000)]
    pub turns: usize,
}

/// What one run of turns showed.
struct Run {
    overhead: Times,
    whole: Times,
    cpu: Duration,
    commits_before_text: f64,
    commits_alone: f64,
    commits: f64,
}

/// Measures with the state in memory and on disk.
///
/// # Errors
/// A turn is not answered.
pub async fn run(bench: &Bench, options: &Options) -> Result<Report> {
    let about = format!(
        "One turn at a time in {CHATS} chats, fake model answering at once, rate limits off. Overhead: from the moment the \
         update leaves the fake Bot API to the arrival of `sendMessage`, minus the model's time from request to last byte."
    );
    let mut report = Report::new("latency", about);
    let fast = turns(bench, bench.fast(), options.turns).await?;
    let (p50, p95, p99) = quantiles(&fast.overhead);
    let place = if is_tmpfs(bench.fast()) { "tmpfs" } else { "disk (there is no tmpfs here)" };
    report.figure("turns", options.turns);
    report.goal(format!("overhead p50, {place}"), ms(p50), "≤ 5 ms", p50 <= Duration::from_millis(5));
    report.goal(format!("overhead p95, {place}"), ms(p95), "≤ 12 ms", p95 <= Duration::from_millis(12));
    report.figure(format!("overhead p99, {place}"), ms(p99));
    report.figure("whole turn as the person sees it, p50", ms(fast.whole.percentile(50)));
    report.goal("processor time per turn", ms(fast.cpu), "≤ 3 ms", fast.cpu <= Duration::from_millis(3));

    let slow = turns(bench, &bench.disk, (options.turns / 4).max(CHATS)).await?;
    let (p50, p95, p99) = quantiles(&slow.overhead);
    let sync = sync_times(&bench.disk)?;
    report.goal(
        "commits (FULL syncs) before the first text",
        format!("{:.0}", slow.commits_before_text),
        "≤ 3",
        slow.commits_before_text <= 3.0,
    );
    report.goal(
        "commits (FULL syncs) of a turn alone",
        format!("{:.0}", slow.commits_alone),
        "≤ 5",
        slow.commits_alone <= 5.0,
    );
    report.figure("commits per turn when the next message follows at once", format!("{:.2}", slow.commits));
    let kind = if is_tmpfs(&bench.disk) { "tmpfs (no disk was given)" } else { "disk" };
    report.figure(format!("overhead p50 / p95 / p99, {kind}"), format!("{} / {} / {}", ms(p50), ms(p95), ms(p99)));
    report.figure(
        "4 KiB append and fdatasync there, p50 / p99",
        format!("{} / {}", ms(sync.percentile(50)), ms(sync.percentile(99))),
    );
    report.notes.push(
        "The fakes and the taps that take the times share the processors with the engine. Each commit is one FULL sync of \
         the write-ahead log; checkpoints add some, once in many turns."
            .to_owned(),
    );
    Ok(report)
}

fn quantiles(times: &Times) -> (Duration, Duration, Duration) {
    (times.percentile(50), times.percentile(95), times.percentile(99))
}

async fn turns(bench: &Bench, place: &Path, turns: usize) -> Result<Run> {
    let mut world = World::new(&bench.binary, place, Plan { chats: CHATS, ..Plan::default() }).await?;
    let telegram = Tap::start(world.telegram.addr()).await?;
    let model = Tap::start(world.messages.addr()).await?;
    world.setup.set("telegram.api_root", telegram.base_url());
    world.setup.set("anthropic.base_url", model.base_url());
    world.setup.cage.clone_from(&bench.cage);
    let (blufio, _) = Blufio::start(&world.setup).await?;
    let mut number = 0;
    for _ in 0..WARM_UP * CHATS {
        turn(&world, &mut number).await?;
    }
    let (commits_before_text, commits_alone) = commits_of_a_turn(&world, &blufio, &mut number).await?;
    telegram.take();
    model.take();
    let (mut overhead, mut whole) = (Vec::with_capacity(turns), Vec::with_capacity(turns));
    let (cpu, commits) = (blufio.usage()?.cpu, blufio.metric(COMMITS).await?);
    for _ in 0..turns {
        let started = Instant::now();
        turn(&world, &mut number).await?;
        whole.push(started.elapsed());
        // The person sees the answer before the binary is told so.
        timeout(ANSWER_MAX, telegram.finished("sendMessage")).await?;
        overhead.push(overhead_of(&telegram.take(), &model.take()).context("a turn without its requests")?);
    }
    let share = turns as f64;
    let cpu = (blufio.usage()?.cpu - cpu).div_f64(share);
    let commits = (blufio.metric(COMMITS).await? - commits) / share;
    let status = blufio.terminate(Duration::from_secs(12)).await?;
    ensure!(status.success(), "the orderly end was {status}");
    ensure!(world.violations().is_empty(), "illegal requests: {:?}", world.violations());
    Ok(Run {
        overhead: overhead.into_iter().collect(),
        whole: whole.into_iter().collect(),
        cpu,
        commits_before_text,
        commits_alone,
        commits,
    })
}

async fn turn(world: &World, number: &mut u64) -> Result<()> {
    *number += 1;
    let chat = FIRST_USER + i64::try_from(*number)? % i64::try_from(CHATS)?;
    world.telegram.send_text(chat, &format!("#{number} hello"));
    world.answered(chat, *number, ANSWER_MAX).await
}

/// Commits from the post to the arrival of the first text, and until nothing happens any more: the medians.
async fn commits_of_a_turn(world: &World, blufio: &Blufio, number: &mut u64) -> Result<(f64, f64)> {
    let (mut first, mut all) = (Vec::new(), Vec::new());
    for _ in 0..COUNTED {
        sleep(SETTLE).await;
        world.telegram.fault(Fault::once("sendMessage", Action::Delay(HELD_UP_MS)));
        let sends = world.telegram.read(|state| state.count("sendMessage"));
        let before = blufio.metric(COMMITS).await?;
        let counted = async {
            let arrived = |state: &State| (state.count("sendMessage") > sends).then_some(());
            world.telegram.try_wait_for(arrived, ANSWER_MAX).await.context("no text was sent")?;
            blufio.metric(COMMITS).await
        };
        let (counted, answered) = tokio::join!(counted, turn(world, number));
        answered?;
        sleep(SETTLE).await;
        first.push(counted? - before);
        all.push(blufio.metric(COMMITS).await? - before);
    }
    Ok((median(first), median(all)))
}

fn median(mut counts: Vec<f64>) -> f64 {
    counts.sort_by(f64::total_cmp);
    counts.get(counts.len() / 2).copied().unwrap_or_default()
}

/// The engine's part of one turn.
fn overhead_of(telegram: &[Exchange], model: &[Exchange]) -> Option<Duration> {
    let delivered = telegram
        .iter()
        .filter(|exchange| exchange.name == "getUpdates" && exchange.bytes > EMPTY_POLL_BYTES)
        .map(|exchange| exchange.finished)
        .next()?;
    let sent = telegram.iter().find(|exchange| exchange.name == "sendMessage")?.received;
    let thought: Duration = model.iter().map(|exchange| exchange.finished.duration_since(exchange.received)).sum();
    (!model.is_empty()).then(|| sent.duration_since(delivered).saturating_sub(thought))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_models_time_is_not_the_engines() {
        let start = Instant::now();
        let exchange = |name: &str, from: u64, to: u64, bytes: usize| Exchange {
            name: name.to_owned(),
            received: start + Duration::from_millis(from),
            finished: start + Duration::from_millis(to),
            bytes,
        };
        let telegram = [
            exchange("getUpdates", 0, 5, 90),
            exchange("getUpdates", 6, 10, 400),
            exchange("sendChatAction", 12, 13, 90),
            exchange("sendMessage", 40, 45, 400),
        ];
        let model = [exchange("messages", 14, 24, 900), exchange("messages", 25, 30, 900)];
        assert_eq!(overhead_of(&telegram, &model), Some(Duration::from_millis(15)));
        assert_eq!(overhead_of(&telegram[..3], &model), None);
        assert_eq!(overhead_of(&telegram, &[]), None);
    }
}
