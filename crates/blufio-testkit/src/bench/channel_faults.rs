//! Thousands of faults between the binary and the fake Bot API in one run, while people in many chats write all the time; then
//! quiet, and the comparison of what they wrote with what they see.

mod faults;
mod people;
mod verdict;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use tokio::time::{interval, sleep};

use super::Bench;
use super::random::{Random, seed};
use super::report::{Report, Times, ms};
use super::world::{FIRST_USER, Plan, World};
use crate::botapi::{Action, Fault};
use crate::database::open_read_only;
use crate::process::Blufio;
use faults::{Met, Saboteur};
use people::{HEALTHY, PEOPLE, People, Place};
use verdict::{Verdict, holds_token, judge, some};

/// Time between two looks.
const TICK: Duration = Duration::from_millis(25);
/// One look at the chats in so many ticks.
const LOOK_EVERY: u64 = 3;
/// One disturbance in so many ticks.
const DISTURB_EVERY: u64 = 12;
/// One new sequence of update ids in so many ticks.
const RENUMBER_EVERY: u64 = 1_000;
/// How often it is looked at how a healthy chat fares beside one that has to wait.
const PROBES: u64 = 12;
/// How long that one has to wait.
const FLOOD_SECONDS: u64 = 3;
/// Longest answer in a healthy chat meanwhile.
const HEALTHY_MAX: Duration = Duration::from_secs(2);
/// Longest time in which so many faults have to be met.
const FAULTY_MAX: Duration = Duration::from_secs(250);
/// Longest time from the last fault until everything is answered: a silent poll, a pause after a conflict, or a file.
const QUIET_MAX: Duration = Duration::from_secs(100);
/// Longest answer when nothing is disturbed.
const CALM_MAX: Duration = Duration::from_secs(40);
/// Longest orderly end.
const END_MAX: Duration = Duration::from_secs(15);
/// Requests that are kept for the comparison.
const LOG_MAX: usize = 1_000_000;
/// From so many faults on, there is one poll that is never answered: it costs more than a minute.
const LONG_RUN: u32 = 1_000;

/// First ids of the sequences of updates: far from each other, so that no offset of one confirms anything of another.
const SEQUENCES: [i64; 8] =
    [5_000_000, 7, 2_147_000_000, 1_200_000_000, 9_000_000, 700_000_000, 1_900_000_000, 30_000_000];

/// Options of the run.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// How many faults have to be met.
    #[arg(long, default_value_t = 2_000)]
    pub count: u32,
    /// Decides faults and messages; without it a new one is taken and printed.
    #[arg(long)]
    pub seed: Option<u64>,
}

/// What happened besides the faults of calls.
#[derive(Default)]
struct Log {
    disturbances: BTreeMap<&'static str, u64>,
    sequences: usize,
    probes: Vec<Duration>,
    /// From the last fault until everything was answered.
    quiet: Duration,
    /// How long the orderly end took.
    end: Duration,
    status_holds_token: bool,
}

/// Sabotages, waits, compares.
///
/// # Errors
/// The run itself cannot go on; what the binary did wrong is in the report.
pub async fn run(bench: &Bench, options: &Options) -> Result<Report> {
    let started = Instant::now();
    let seed = options.seed.unwrap_or_else(seed);
    eprintln!("channel-faults: {} faults, seed {seed}", options.count);
    let plan = Plan { chats: usize::try_from(PEOPLE)? + 1, log_limit: LOG_MAX, ..Plan::default() };
    let mut world = World::new(&bench.binary, bench.place(), plan).await?;
    world.setup.cage.clone_from(&bench.cage);
    for (key, value) in [("telegram.streaming", "auto"), ("telegram.reaction_ack", "👀"), ("log.level", "debug")] {
        world.setup.set(key, value);
    }
    world.setup.set_raw("telegram.text_chunk", "500");
    people::set_up(&mut world);
    world.telegram.reset_ids(SEQUENCES[0]);
    // What is asked once, at the start.
    for method in ["getMe", "getWebhookInfo", "setMyCommands"] {
        world.telegram.fault(Fault::once(method, Action::ResetMid));
        world.telegram.fault(Fault::once(method, Action::HtmlBody502));
    }
    let mut random = Random::new(seed);
    let mut people = People::new(Random::new(random.below(u64::MAX)));
    let mut log = Log::default();
    let mut met = Met::default();
    let outcome = sabotage(&world, options, &mut random, &mut people, (&mut log, &mut met)).await;
    met.read_on(&world.telegram);
    let verdict = match (judge(&world, &people.posted(), &met), &outcome) {
        (Ok(verdict), _) => verdict,
        (Err(error), Ok(())) => return Err(error),
        // Without a database to look at.
        (Err(_), Err(error)) => bail!("{error:#}"),
    };
    let replay = format!("./dev bench channel-faults --count {} --seed {seed}", options.count);
    let mut report = report(&world, options, &people.posted(), &log, &met, &verdict, started.elapsed());
    report.about.push_str(&format!(" Replay: `{replay}`"));
    if let Err(error) = outcome {
        report.failures.push(format!("{error:#}"));
    }
    if !report.failures.is_empty() {
        report.failures.push(format!("replay: {replay}"));
        keep_transcripts(&world);
        report.failures.push(format!("data and log are kept in {}", world.keep().display()));
    }
    Ok(report)
}

/// The faulty part, the quiet part and the orderly end.
async fn sabotage(
    world: &World,
    options: &Options,
    random: &mut Random,
    people: &mut People,
    (log, faults_met): (&mut Log, &mut Met),
) -> Result<()> {
    let (mut blufio, _) = Blufio::start(&world.setup).await?;
    people::fill_workspace(&world.setup)?;
    let mut saboteur = Saboteur::new(Random::new(random.below(u64::MAX)), people::chats(), options.count);
    let count = u64::from(options.count);
    let (begin, mut ticks, mut ticked, mut probed) = (Instant::now(), interval(TICK), 0, 0);
    let (mut met, mut forgot) = (0, false);
    while met < count {
        ticks.tick().await;
        ticked += 1;
        if !blufio.is_running() {
            bail!("the process ended by itself; its log ends:\n{}", blufio.log_tail());
        }
        if begin.elapsed() > FAULTY_MAX {
            bail!("only {met} faults were met in {FAULTY_MAX:?}");
        }
        saboteur.arm(&world.telegram);
        // Whoever was told that an update is done must not be told of it under another number.
        if ticked % RENUMBER_EVERY == RENUMBER_EVERY / 2 {
            renumber(world, log).await;
        }
        if ticked % LOOK_EVERY == 0 {
            people.look(world);
            people.post(world);
            faults_met.read_on(&world.telegram);
            met = faults_met.total() + log.disturbances.values().sum::<u64>();
        }
        if ticked % DISTURB_EVERY == 0
            && let Some(what) = people.disturb(world)
        {
            *log.disturbances.entry(what).or_default() += 1;
        }
        if !forgot && met * 10 > count * 7 {
            forgot = true;
            world.telegram.forget_drafts(true);
            *log.disturbances.entry("drafts unknown from then on").or_default() += 1;
        }
        if met * PROBES >= (probed + 1) * count {
            probed += 1;
            let victim = FIRST_USER + i64::try_from(random.below(PEOPLE as u64))?;
            log.probes.extend(probe(world, people, victim).await?);
        }
    }
    world.telegram.clear_faults();
    if options.count >= LONG_RUN {
        world.telegram.fault(Fault::once("getUpdates", Action::NeverAnswer));
        *log.disturbances.entry("poll that was never answered").or_default() += 1;
    }
    wait_for_quiet(world, people, &mut blufio).await?;
    log.quiet = begin.elapsed();
    for path in ["/v1/status", "/metrics"] {
        let (_, text) = blufio.get(path).await?;
        log.status_holds_token |= holds_token(text.as_bytes());
    }
    let asked = Instant::now();
    let status = blufio.terminate(END_MAX).await?;
    log.end = asked.elapsed();
    if !status.success() {
        bail!("the orderly end was {status}");
    }
    Ok(())
}

/// Starts another sequence of update ids, as soon as nothing waits.
async fn renumber(world: &World, log: &mut Log) {
    let Some(next) = SEQUENCES.get(log.sequences + 1) else { return };
    world.telegram.clear_faults();
    let idle = world.telegram.try_wait_for(|state| (state.pending_updates() == 0).then_some(()), CALM_MAX).await;
    if idle.is_some() {
        world.telegram.reset_ids(*next);
        log.sequences += 1;
    }
}

/// How long an answer takes in a healthy chat while the server makes another one wait; nothing if that one had nothing to send.
async fn probe(world: &World, people: &mut People, victim: i64) -> Result<Option<Duration>> {
    world.telegram.clear_faults();
    // The poll may be in a pause after its last fault, which is not what is asked here.
    let number = people.post_plain(world, HEALTHY);
    world.answered(HEALTHY, number, CALM_MAX).await?;
    let told = |state: &crate::botapi::State| -> u64 {
        state.errors().iter().filter(|(words, _)| words.starts_with("Too Many Requests")).map(|(_, count)| *count).sum()
    };
    let before = world.telegram.read(told);
    world.telegram.change(|state| state.flood(Some(victim), FLOOD_SECONDS));
    people.post_plain(world, victim);
    let refused = |state: &crate::botapi::State| (told(state) > before).then_some(());
    if world.telegram.try_wait_for(refused, Duration::from_secs(2)).await.is_none() {
        return Ok(None);
    }
    let asked = Instant::now();
    let number = people.post_plain(world, HEALTHY);
    world.answered(HEALTHY, number, CALM_MAX).await?;
    Ok(Some(asked.elapsed()))
}

async fn wait_for_quiet(world: &World, people: &mut People, blufio: &mut Blufio) -> Result<()> {
    let begin = Instant::now();
    loop {
        people.look(world);
        let idle = world.telegram.read(|state| state.pending_updates()) == 0;
        if people.all_answered() && idle && waiting(world)? == 0 {
            return Ok(());
        }
        if begin.elapsed() > QUIET_MAX || !blufio.is_running() {
            bail!("not everything is over after {:?}; the log ends:\n{}", begin.elapsed(), blufio.log_tail());
        }
        sleep(TICK * 2).await;
    }
}

/// What the database still has to do.
fn waiting(world: &World) -> Result<i64> {
    let connection = open_read_only(&world.setup.database())?;
    let sql = "SELECT (SELECT count(*) FROM outbox WHERE state IN ('queued', 'sending'))
                    + (SELECT count(*) FROM turns WHERE state = 'running')
                    + (SELECT count(*) FROM inbox WHERE state IN ('received', 'claimed'))";
    connection.query_row(sql, [], |row| row.get(0)).context("the database cannot be read")
}

/// For a look at what went wrong; that they cannot be written is no failure of its own.
fn keep_transcripts(world: &World) {
    for chat in people::chats().into_iter().chain([HEALTHY]) {
        let lines: Vec<String> =
            world.telegram.transcript(chat).iter().map(|said| serde_json::json!(said).to_string()).collect();
        drop(std::fs::write(world.setup.dir.join(format!("chat{chat}.jsonl")), lines.join("\n")));
    }
    let requests = world.telegram.read(|state| {
        let lines: Vec<String> = state.requests().map(|request| serde_json::json!(request).to_string()).collect();
        lines.join("\n")
    });
    drop(std::fs::write(world.setup.dir.join("requests.jsonl"), requests));
}

fn report(
    world: &World,
    options: &Options,
    posted: &BTreeMap<u64, Place>,
    log: &Log,
    met: &Met,
    verdict: &Verdict,
    took: Duration,
) -> Report {
    let about = format!(
        "One run with at least {} faults between the program and the fake Bot API, while {PEOPLE} people write in private, \
         in two groups and in three topics of a third: texts, tools, files both ways, albums, questions to the owner, \
         previews. Then quiet and the comparison.",
        options.count
    );
    let mut report = Report::new("channel-faults", about);
    let disturbances: u64 = log.disturbances.values().sum();
    let total = met.total() + disturbances;
    report.must("faults", total, format!("≥ {}", options.count), total >= u64::from(options.count));
    report.notes.push(format!("Faults of calls by kind: {}.", listed(&met.kinds)));
    report.notes.push(format!("Faults of calls by method: {}.", listed(&met.methods)));
    report.notes.push(format!("Beside calls: {}.", listed(&log.disturbances)));
    report.figure("sequences of update ids", log.sequences + 1);
    report.figure("messages posted; questions to the owner", format!("{}; {}", posted.len(), verdict.questions));
    none(&mut report, "not answered", &verdict.lost);
    none(&mut report, "answered in two turns", &verdict.twice);
    none(&mut report, "in a wrong chat or topic", &verdict.misplaced);
    none(&mut report, "sent and not to be seen", &verdict.missing);
    none(&mut report, "given up, except files", &verdict.given_up);
    let bound = met.lost_answers + met.not_removed;
    report.must(
        "seen beyond what was sent (of them placeholders)",
        format!("{} ({})", verdict.copies, verdict.placeholders),
        format!("≤ {} sends whose answer was lost, {} removals that failed", met.lost_answers, met.not_removed),
        verdict.copies <= bound,
    );
    none(&mut report, "copies that no row is marked for", &verdict.unmarked);
    report.figure("rows marked as possible duplicates", verdict.marked);
    let ordered = verdict.out_of_order == 0;
    report.must("answered out of order within a chat", verdict.out_of_order, "0", ordered);
    report.figure("files given up, since nobody knows whether they arrived", verdict.files_given_up);
    none(&mut report, "typing signs later than 6 s after a turn", &verdict.late_typing);
    none(&mut report, "files that arrived changed, twice or not at all", &verdict.wrong_files);
    report.figure("files that arrived", verdict.files);
    none(&mut report, "turns of more than 1.5 s without a typing sign", &verdict.untyped);
    report.figure("typing signs; turns of more than 1.5 s", format!("{}; {}", verdict.typing, verdict.long_turns));
    let probes: Times = log.probes.iter().copied().collect();
    let slowest = probes.percentile(100);
    report.must(
        format!("slowest of {} answers in a healthy chat while another one has to wait", probes.len()),
        ms(slowest),
        format!("≤ {}", ms(HEALTHY_MAX)),
        slowest <= HEALTHY_MAX && !probes.is_empty(),
    );
    let overlaps = world.telegram.overlapping_polls();
    report.must("overlapping polls", overlaps, "0", overlaps == 0);
    let violations = world.violations();
    none(&mut report, "calls that no correct client makes", &violations);
    none(&mut report, "files with the token in them", &verdict.token_found);
    report.must("token in status or metrics", log.status_holds_token, "false", !log.status_holds_token);
    report.must("integrity and other rules", verdict.problems.len(), "all kept", verdict.problems.is_empty());
    report.failures.extend(verdict.problems.iter().cloned());
    let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
    let times = [log.quiet, log.end, took].map(seconds).join(" / ");
    report.figure("time until everything was answered / of the orderly end / of the whole run", times);
    report
}

/// A figure that has to be 0, and if it is not, what there is.
fn none<T: std::fmt::Debug>(report: &mut Report, what: &str, found: &[T]) {
    report.must(what, found.len(), "0", found.is_empty());
    if !found.is_empty() {
        report.failures.push(format!("{what}: {}", some(found)));
    }
}

fn listed<K: std::fmt::Display>(counts: &BTreeMap<K, u64>) -> String {
    counts.iter().map(|(what, count)| format!("{what} {count}")).collect::<Vec<_>>().join(", ")
}
