//! The kill harness: SIGKILL at random instants under load, again and again on the same data, and then the comparison of
//! what people asked with what they see.
//!
//! | number of a message ends in | what it makes the turn do |
//! |---|---|
//! | 1, 5 | writes a file by a tool |
//! | 3 | asks a tool, and another one in a second round |
//! | 4, 8 | an answer of several messages |
//! | 6 | streams slowly |
//! | other | answers at once |

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use tokio::time::{interval, sleep};

use super::Bench;
use super::random::{Random, seed};
use super::report::{Report, Times, ms};
use super::world::{FIRST_USER, Plan, Seen, World, answers, sending, stored};
use crate::invariants;
use crate::process::Blufio;

/// Longest time from the start of the load to a kill.
const KILL_MS_MAX: u64 = 400;
/// A message that dies five times without progress is given up by design; so one kill in four leaves time for progress.
const PATIENT_EVERY: u64 = 4;
/// Least time from the start of the load to a patient kill.
const PATIENT_MS: u64 = 200;
/// One kill in so many hits the start itself.
const EARLY_EVERY: u64 = 8;
/// Longest time from the start of the process to an early kill.
const EARLY_MS_MAX: u64 = 40;
/// Kills on one data folder; then a new one keeps the checks short.
const KILLS_PER_FOLDER: u32 = 25;
/// Messages of a chat that wait for their answer.
const WINDOW: usize = 8;
/// Messages of a chat until it starts a new conversation, so that prompts stay small.
const CONVERSATION: u64 = 40;
/// Time between two looks at the chats.
const FEED: Duration = Duration::from_millis(4);
/// Longest time from the last kill until everything is answered.
const QUIET_MAX: Duration = Duration::from_secs(60);
/// Longest orderly end.
const END_MAX: Duration = Duration::from_secs(12);
/// Words of a long answer: some 1,100 characters, which is three messages, and fewer tokens than the least estimate of an
/// abandoned call.
const LONG_WORDS: u64 = 190;

/// Options of the kill harness.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// How often the process is killed.
    #[arg(long, default_value_t = 100)]
    pub kills: u32,
    /// Decides instants and messages; without it a new one is taken and printed.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Chats that write all the time.
    #[arg(long, default_value_t = 5)]
    pub chats: usize,
}

/// Sums over all data folders.
#[derive(Debug, Default)]
struct Sums {
    kills: u64,
    early: u64,
    posted: u64,
    with_send: u64,
    in_flight: u64,
    extra_answers: u64,
    extra_sends: u64,
    flagged: u64,
    lost: u64,
    twice: u64,
    out_of_order: u64,
    poison: u64,
    checks: u64,
    files: u64,
    booked: u64,
    spent: u64,
    ready: Vec<Duration>,
    problems: Vec<String>,
}

/// Kills, compares, reports.
///
/// # Errors
/// The harness itself cannot go on; what the binary did wrong is in the report.
pub async fn run(bench: &Bench, options: &Options) -> Result<Report> {
    let started = Instant::now();
    let seed = options.seed.unwrap_or_else(seed);
    eprintln!("crash: {} kills, seed {seed}", options.kills);
    let mut sums = Sums::default();
    let mut random = Random::new(seed);
    let mut left = options.kills;
    while left > 0 && sums.problems.is_empty() {
        let kills = left.min(KILLS_PER_FOLDER);
        left -= kills;
        folder(bench, options, kills, &mut random, &mut sums).await?;
        if left > 0 && left.is_multiple_of(100) {
            eprintln!("crash: {} of {} kills, {} messages", options.kills - left, options.kills, sums.posted);
        }
    }
    let replay = format!("./dev bench crash --kills {} --chats {} --seed {seed}", options.kills, options.chats);
    Ok(report(&sums, &replay, started.elapsed()))
}

/// All kills on one data folder, and the comparison.
async fn folder(bench: &Bench, options: &Options, kills: u32, random: &mut Random, sums: &mut Sums) -> Result<()> {
    let plan = Plan { chats: options.chats, ..Plan::default() };
    let mut world = World::new(&bench.binary, bench.place(), plan).await?;
    world.setup.set_raw("telegram.text_chunk", "500");
    world.setup.set("telegram.streaming", "auto");
    world.setup.cage.clone_from(&bench.cage);
    let world = Arc::new(world);
    let feed = Arc::new(Mutex::new(Feed::new(options.chats, sums.posted)));
    let feeding = tokio::spawn(keep_feeding(Arc::clone(&world), Arc::clone(&feed)));
    let outcome = kill_and_compare(&world, &feed, kills, random, sums).await;
    feeding.abort();
    // Ended, so that the folder below has one owner.
    drop(feeding.await);
    if let Err(error) = outcome {
        sums.problems.push(format!("{error:#}"));
    }
    sums.posted = feed.lock().expect("the feed does not panic").next - 1;
    if !sums.problems.is_empty()
        && let Some(world) = Arc::into_inner(world)
    {
        sums.problems.push(format!("data and log are kept in {}", world.keep().display()));
    }
    Ok(())
}

async fn kill_and_compare(
    world: &World,
    feed: &Mutex<Feed>,
    kills: u32,
    random: &mut Random,
    sums: &mut Sums,
) -> Result<()> {
    let database = world.setup.database();
    let mut in_flight = 0;
    for _ in 0..kills {
        let mut blufio = Blufio::spawn(&world.setup)?;
        let early = sums.kills % EARLY_EVERY == EARLY_EVERY - 1;
        if early {
            sums.early += 1;
            sleep(Duration::from_millis(random.below(EARLY_MS_MAX + 1))).await;
        } else {
            sums.ready.push(blufio.ready().await?);
            let least = if sums.kills.is_multiple_of(PATIENT_EVERY) { PATIENT_MS } else { 0 };
            sleep(Duration::from_millis(least + random.below(KILL_MS_MAX - least + 1))).await;
        }
        sums.kills += 1;
        if !blufio.is_running() {
            bail!("the process ended by itself; its log ends:\n{}", blufio.log_tail());
        }
        blufio.kill9().await?;
        if database.exists() && check(&database, sums)? {
            let sends = sending(&database)?;
            in_flight += sends;
            sums.with_send += u64::from(sends > 0);
        }
    }
    sums.in_flight += in_flight;
    feed.lock().expect("the feed does not panic").closed = true;
    let (mut blufio, _) = Blufio::start(&world.setup).await?;
    let quiet = Instant::now();
    while !feed.lock().expect("the feed does not panic").all_answered(world) {
        if quiet.elapsed() > QUIET_MAX || !blufio.is_running() {
            sums.problems.push(format!("not everything is answered; the log ends:\n{}", blufio.log_tail()));
            break;
        }
        sleep(FEED).await;
    }
    let status = blufio.terminate(END_MAX).await?;
    if !status.success() {
        sums.problems.push(format!("the orderly end was {status}"));
    }
    check(&database, sums)?;
    compare(world, &feed.lock().expect("the feed does not panic"), in_flight, sums)
}

/// Whether there are tables; an error if there is something wrong with them.
fn check(database: &Path, sums: &mut Sums) -> Result<bool> {
    sums.checks += 1;
    match invariants::check(database) {
        Ok(_) => Ok(true),
        Err(problems) if is_new(&problems) => Ok(false),
        Err(problems) => bail!("after {} kills: {}", sums.kills, problems.join("; ")),
    }
}

/// Killed before the first migration was committed: there is nothing yet to be wrong.
pub fn is_new(problems: &[String]) -> bool {
    problems.iter().all(|problem| problem.contains("no such table"))
}

/// What people asked, what they see, and what the database and the fakes say about it.
fn compare(world: &World, feed: &Feed, in_flight: u64, sums: &mut Sums) -> Result<()> {
    let mut seen = Seen::default();
    for chat in &feed.chats {
        seen.add(&world.telegram.transcript(chat.user));
    }
    let posted: BTreeSet<u64> = feed.chats.iter().flat_map(|chat| chat.numbers.iter().copied()).collect();
    let stored = stored(&world.setup.database())?;
    let lost = seen.lost(&posted);
    let twice: Vec<u64> = stored.turns.iter().filter(|(_, turns)| **turns > 1).map(|(number, _)| *number).collect();
    let unheard: Vec<u64> = posted.iter().filter(|number| stored.turns.get(number) != Some(&1)).copied().collect();
    let sends = world.telegram.read(|state| state.sent_total()).saturating_sub(stored.rows);
    let files = files_missing(&world.setup.data_dir().join("workspace"), feed);
    for (what, numbers) in [
        ("lost", &lost),
        ("in two turns", &twice),
        ("not in exactly one turn", &unheard),
        ("answered out of order", &seen.out_of_order),
        ("whose file is missing or wrong", &files),
    ] {
        if !numbers.is_empty() {
            sums.problems.push(format!("messages {what}: {numbers:?}"));
        }
    }
    for (more, less, what) in [
        (sends, in_flight, "more duplicates than sends in flight"),
        (sends, stored.flagged, "more duplicates than rows that are marked as such"),
        (world.messages.spend(), stored.booked, "the model cost more than was booked"),
        (stored.sending, 0, "a send that is not over after an orderly end"),
        (stored.poison, 0, "a message was given up"),
    ] {
        if more > less {
            sums.problems.push(format!("{what}: {more} > {less}"));
        }
    }
    let violations = world.violations();
    if let Some(first) = violations.first() {
        sums.problems.push(format!("{} illegal requests, the first: {first}", violations.len()));
    }
    sums.lost += lost.len() as u64;
    sums.twice += twice.len() as u64;
    sums.out_of_order += seen.out_of_order.len() as u64;
    sums.extra_answers += seen.extra();
    sums.extra_sends += sends;
    sums.flagged += stored.flagged;
    sums.poison += stored.poison;
    sums.booked += stored.booked;
    sums.spent += world.messages.spend();
    sums.files +=
        feed.chats.iter().flat_map(|chat| &chat.numbers).filter(|number| writes_file(**number)).count() as u64;
    Ok(())
}

/// Numbers whose tool did not leave its file, or left another one beside it.
fn files_missing(workspace: &Path, feed: &Feed) -> Vec<u64> {
    let wanted: BTreeSet<u64> =
        feed.chats.iter().flat_map(|chat| chat.numbers.iter().copied()).filter(|number| writes_file(*number)).collect();
    let content = |number: &u64| std::fs::read_to_string(workspace.join(format!("notes/{number}.txt")));
    let mut wrong: Vec<u64> =
        wanted.iter().filter(|number| content(number).ok() != Some(format!("note {number}"))).copied().collect();
    let count = std::fs::read_dir(workspace.join("notes")).map_or(0, Iterator::count);
    if count > wanted.len() {
        // Not a number of a message: files that nobody asked for.
        wrong.push(0);
    }
    wrong
}

fn report(sums: &Sums, replay: &str, took: Duration) -> Report {
    let about = format!(
        "SIGKILL at random instants (0 to {KILL_MS_MAX} ms after readiness, one in {EARLY_EVERY} during the start) while every \
         chat keeps {WINDOW} messages waiting: text, tools, answers of several messages, slow streams. Replay: `{replay}`"
    );
    let mut report = Report::new("crash", about);
    report.figure("kills (of them during the start)", format!("{} ({})", sums.kills, sums.early));
    report.figure(
        "messages posted, per kill",
        format!("{}, {:.1}", sums.posted, sums.posted as f64 / sums.kills.max(1) as f64),
    );
    report.must("lost", sums.lost, "0", sums.lost == 0);
    report.must("answered in two turns", sums.twice, "0", sums.twice == 0);
    report.must("answered out of order within a chat", sums.out_of_order, "0", sums.out_of_order == 0);
    report.must("given up as poison", sums.poison, "0", sums.poison == 0);
    let allowed = format!("≤ {} sends in flight at {} kills", sums.in_flight, sums.with_send);
    report.must("messages seen twice", sums.extra_sends, allowed, sums.extra_sends <= sums.in_flight);
    report.figure(
        "of them answers to a number; rows marked as possible duplicates",
        format!("{}; {}", sums.extra_answers, sums.flagged),
    );
    report.figure("files written by the tool, each once and whole", sums.files);
    report.must(
        "booked ÷ real cost of the model",
        format!("{:.3}", sums.booked as f64 / sums.spent.max(1) as f64),
        "≥ 1",
        sums.booked >= sums.spent,
    );
    report.must("integrity and invariants", format!("{} checks", sums.checks), "all clean", sums.problems.is_empty());
    let ready: Times = sums.ready.iter().copied().collect();
    report.figure(
        "restart after a kill to /readyz, p50 / p99",
        format!("{} / {}", ms(ready.percentile(50)), ms(ready.percentile(99))),
    );
    report.figure("time of the whole run", format!("{:.0} s", took.as_secs_f64()));
    report.failures.extend(sums.problems.iter().cloned());
    if !report.failures.is_empty() {
        report.failures.push(format!("replay: {replay}"));
    }
    report
}

/// What the chats have said so far.
pub(super) struct Feed {
    pub(super) chats: Vec<Chat>,
    /// The next number.
    next: u64,
    /// Nobody says anything more.
    pub(super) closed: bool,
}

/// What one of them has said.
pub(super) struct Chat {
    pub(super) user: i64,
    pub(super) numbers: Vec<u64>,
    /// How many of `numbers` are known to be answered.
    answered: usize,
}

impl Feed {
    pub(super) fn new(chats: usize, posted: u64) -> Self {
        let chat = |user| Chat { user, numbers: Vec::new(), answered: 0 };
        Self { chats: (FIRST_USER..).take(chats).map(chat).collect(), next: posted + 1, closed: false }
    }

    fn look(&mut self, world: &World) {
        world.telegram.read(|state| {
            for chat in &mut self.chats {
                let Some(last) = state.last_bot_text(chat.user).and_then(|text| answers(text).last()) else { continue };
                let place = chat.numbers.partition_point(|number| *number <= last);
                chat.answered = chat.answered.max(place);
            }
        });
    }

    fn post(&mut self, world: &World) {
        for chat in &mut self.chats {
            while chat.numbers.len() < chat.answered + WINDOW {
                let number = self.next;
                self.next += 1;
                if chat.numbers.len() as u64 % CONVERSATION == CONVERSATION - 1 {
                    world.telegram.send_text(chat.user, "/new");
                }
                world.telegram.send_text(chat.user, &text(number));
                chat.numbers.push(number);
            }
        }
    }

    pub(super) fn all_answered(&mut self, world: &World) -> bool {
        self.look(world);
        self.chats.iter().all(|chat| chat.answered == chat.numbers.len())
    }
}

/// Keeps messages waiting in every chat until the feed is closed.
pub(super) async fn keep_feeding(world: Arc<World>, feed: Arc<Mutex<Feed>>) {
    let mut ticks = interval(FEED);
    loop {
        ticks.tick().await;
        let mut feed = feed.lock().expect("the feed does not panic");
        if feed.closed {
            return;
        }
        feed.look(&world);
        feed.post(&world);
    }
}

fn writes_file(number: u64) -> bool {
    matches!(number % 10, 1 | 5)
}

fn text(number: u64) -> String {
    let wish = match number % 10 {
        // With spaces, so that the path is a word of the person's: text of others is before the model by then.
        1 | 5 => format!("[tool:write_file {{ \"path\": \"notes/{number}.txt\", \"content\": \"note {number}\" }}]"),
        3 => "[tool:now] [then:tool:list_files {\"path\":\".\"}]".to_owned(),
        4 | 8 => format!("[long:{LONG_WORDS}]"),
        6 => "[slow:10] [drip:2] [say:a few words that come slowly, one piece after the other, as if somebody typed]"
            .to_owned(),
        _ => "hello".to_owned(),
    };
    format!("#{number} {wish}")
}

impl Options {
    /// So many kills with everything else as usual.
    pub fn kills(kills: u32) -> Self {
        Self { kills, seed: None, chats: 5 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::brain::{Turn, plan, turn};
    use serde_json::json;

    #[test]
    fn every_message_asks_for_exactly_one_answer() {
        let names = ["now", "list_files", "write_file"].map(|name| json!({ "name": name }));
        for number in 1..=10 {
            let body = json!({ "tools": names, "messages": [{ "role": "user", "content": text(number) }] });
            // Far enough that all rounds of tools are over.
            let done = Turn { rounds: 9, ..turn(&body) };
            let said = format!("{:?}", plan(&body, &done).blocks);
            assert_eq!(answers(&said).collect::<Vec<_>>(), [number], "{said}");
        }
    }

    #[test]
    fn an_empty_run_is_clean() {
        assert!(report(&Sums::default(), "", Duration::ZERO).failures.is_empty());
    }
}
