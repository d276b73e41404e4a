//! Many chats at once, each with one message waiting: how many turns a second, on how much processor, in how much memory.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;

use super::Bench;
use super::report::{Report, mb};
use super::world::{FIRST_USER, Plan, World, answers};
use crate::process::{Blufio, Usage};

/// Time before the measurement.
const WARM_UP: Duration = Duration::from_secs(2);
/// Messages of a chat until it starts a new conversation, so that the last turns are like the first.
const CONVERSATION: u64 = 20;
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Growth of resident memory over the run that still counts as flat.
const FLAT_BYTES: u64 = 8_000_000;

/// Options of the throughput measurement.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Chats that speak at once.
    #[arg(long, default_value_t = 50)]
    pub chats: usize,
    /// Length of each of the two runs in seconds.
    #[arg(long, default_value_t = 20)]
    pub seconds: u64,
}

/// What one run showed.
struct Run {
    turns: u64,
    wall: Duration,
    before: Usage,
    after: Usage,
    too_many: u64,
}

/// Measures with the rate limits off, then with the default ones.
///
/// # Errors
/// Answers stop coming.
pub async fn run(bench: &Bench, options: &Options) -> Result<Report> {
    let about = format!(
        "{} chats in a closed loop, each with one message waiting for its answer; fake model answering at once; state in {}. \
         A chat starts a new conversation every {CONVERSATION} messages (not counted as turns).",
        options.chats,
        bench.fast().display()
    );
    let mut report = Report::new("throughput", about);
    let fast = closed_loop(bench, options, false).await?;
    let per_s = fast.turns as f64 / fast.wall.as_secs_f64();
    let cores = (fast.after.cpu - fast.before.cpu).as_secs_f64() / fast.wall.as_secs_f64();
    report.goal("turns per second", format!("{per_s:.0}"), "≥ 300", per_s >= 300.0);
    // Nothing slows the loop, so the engine takes what it can get; what counts is how far one processor goes.
    let per_core = per_s / cores.max(0.01);
    report.goal("turns per second of one processor", format!("{per_core:.0}"), "≥ 300", per_core >= 300.0);
    report.figure("processors used by the engine", format!("{cores:.2}"));
    report.figure("processor time per turn", format!("{:.2} ms", 1_000.0 / per_core));
    let grown = fast.after.rss_bytes.saturating_sub(fast.before.rss_bytes);
    let change = format!("{} → {}", mb(fast.before.rss_bytes), mb(fast.after.rss_bytes));
    report.goal(format!("resident memory over {} turns", fast.turns), change, "flat", grown <= FLAT_BYTES);
    let threads = format!("{} → {}", fast.before.threads, fast.after.threads);
    report.figure("threads", threads);
    if let (Some(before), Some(after)) = (fast.before.files, fast.after.files) {
        report.figure("open files", format!("{before} → {after}"));
    }

    let limited = closed_loop(bench, options, true).await?;
    let per_s = limited.turns as f64 / limited.wall.as_secs_f64();
    report.figure("turns per second with the default rates", format!("{per_s:.1}"));
    report.goal("429 answers with the default rates", limited.too_many, "0", limited.too_many == 0);
    report.notes.push("The fakes run beside the engine and need more processor time than it does.".to_owned());
    Ok(report)
}

async fn closed_loop(bench: &Bench, options: &Options, rates: bool) -> Result<Run> {
    let plan = Plan { chats: options.chats, rates, ..Plan::default() };
    let mut world = World::new(&bench.binary, bench.fast(), plan).await?;
    world.setup.cage.clone_from(&bench.cage);
    let (blufio, _) = Blufio::start(&world.setup).await?;
    let mut chats: Vec<Chat> = (FIRST_USER..).take(options.chats).map(|user| Chat { user, said: 0 }).collect();
    chats.iter_mut().for_each(|chat| chat.say(&world));
    turns(&world, &mut chats, WARM_UP).await?;
    let before = blufio.usage()?;
    let started = Instant::now();
    let done = turns(&world, &mut chats, Duration::from_secs(options.seconds)).await?;
    let (wall, after) = (started.elapsed(), blufio.usage()?);
    let status = blufio.terminate(Duration::from_secs(12)).await?;
    ensure!(status.success(), "the orderly end was {status}");
    ensure!(world.violations().is_empty(), "illegal requests: {:?}", world.violations());
    let errors = world.telegram.errors();
    let too_many = errors.iter().filter(|(text, _)| text.starts_with("Too Many")).map(|(_, count)| count).sum();
    Ok(Run { turns: done, wall, before, after, too_many })
}

/// Answers heard until `time` is over; who is answered says the next thing.
async fn turns(world: &World, chats: &mut [Chat], time: Duration) -> Result<u64> {
    let started = Instant::now();
    let mut turns = 0;
    while started.elapsed() < time {
        let heard = |chat: &Chat, text: Option<&str>| text.is_some_and(|text| answers(text).last() == Some(chat.said));
        let answered = world.telegram.try_wait_for(
            |state| {
                let done: Vec<usize> =
                    (0..chats.len()).filter(|&at| heard(&chats[at], state.last_bot_text(chats[at].user))).collect();
                (!done.is_empty()).then_some(done)
            },
            ANSWER_MAX,
        );
        let Some(answered) = answered.await else { anyhow::bail!("nobody was answered for {ANSWER_MAX:?}") };
        turns += answered.len() as u64;
        answered.into_iter().for_each(|at| chats[at].say(world));
    }
    Ok(turns)
}

struct Chat {
    user: i64,
    /// The number of its last message.
    said: u64,
}

impl Chat {
    fn say(&mut self, world: &World) {
        self.said += 1;
        // Not all at once.
        if (self.said + self.user.unsigned_abs()).is_multiple_of(CONVERSATION) {
            world.telegram.send_text(self.user, "/new");
        }
        world.telegram.send_text(self.user, &format!("#{} hello", self.said));
    }
}
