//! From the start of the process to the first 200 of `/readyz`, after orderly ends and after kills, with a small and with a
//! large database; and whether the conversation goes on where it was.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use rusqlite::{Connection, params};

use super::Bench;
use super::machine::is_tmpfs;
use super::report::{Report, Times, ms};
use super::world::{FIRST_USER, Plan, World};
use crate::process::Blufio;

/// Turns of the conversation that must go on.
const TURNS: u64 = 5;
/// Messages of each stored conversation.
const MESSAGES: i64 = 64;
/// Bytes of a stored message; as many again are stored as the vendor's form of it.
const MESSAGE_BYTES: usize = 4_000;
/// Bytes of a page of the database.
const PAGE_BYTES: u64 = 4_096;
const ANSWER_MAX: Duration = Duration::from_secs(20);
const END_MAX: Duration = Duration::from_secs(12);
const P50_MAX: Duration = Duration::from_millis(50);
const P99_MAX: Duration = Duration::from_millis(100);
/// With a key in a file and an encrypted database of any size, also on a machine that does other things.
const P95_MAX: Duration = Duration::from_millis(120);

/// Options of the start-up measurement.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Restarts with each database.
    #[arg(long, default_value_t = 50)]
    pub runs: usize,
    /// Size of the large database in GiB; 0 leaves it out.
    #[arg(long, default_value_t = 1.0)]
    pub gib: f64,
}

/// Measures.
///
/// # Errors
/// A start fails, or the conversation is not intact.
pub async fn run(bench: &Bench, options: &Options) -> Result<Report> {
    let about = format!(
        "{} restarts with each database, half of them after SIGTERM and half after SIGKILL, looked at every half millisecond; \
         Telegram's first poll is answered before readiness. The database is encrypted, its key is in a file. State on {}.",
        options.runs,
        if is_tmpfs(&bench.disk) { "tmpfs" } else { "disk, read before (page cache warm)" }
    );
    let mut report = Report::new("startup", about);
    let mut world = World::new(&bench.binary, &bench.disk, Plan { chats: 1, ..Plan::default() }).await?;
    world.setup.cage.clone_from(&bench.cage);
    let (blufio, _) = Blufio::start(&world.setup).await?;
    let mut said = 0;
    for _ in 0..TURNS {
        converse(&world, &mut said).await?;
    }
    blufio.terminate(END_MAX).await?;
    restarts(&world, options.runs, "small database", &mut report).await?;
    goes_on(&world, &mut said).await?;
    if options.gib > 0.0 {
        let bytes = fill(&world.setup.database(), (options.gib * f64::from(1 << 30)) as u64)?;
        let size = format!("{:.2} GiB database", bytes as f64 / f64::from(1 << 30));
        restarts(&world, options.runs, &size, &mut report).await?;
        goes_on(&world, &mut said).await?;
    }
    report.goal("conversation and context after all restarts", "intact", "intact", true);
    let violations = world.violations();
    ensure!(violations.is_empty(), "illegal requests: {violations:?}");
    Ok(report)
}

async fn restarts(world: &World, runs: usize, what: &str, report: &mut Report) -> Result<()> {
    let (mut orderly, mut killed) = (Vec::new(), Vec::new());
    let mut slowest = (Duration::ZERO, 0);
    let mut after_kill = false;
    for run in 0..runs {
        let (blufio, took) = Blufio::start(&world.setup).await?;
        slowest = slowest.max((took, run));
        if after_kill {
            killed.push(took)
        } else {
            orderly.push(took)
        }
        after_kill = run % 2 == 0;
        if after_kill {
            blufio.kill9().await?;
        } else {
            blufio.terminate(END_MAX).await?;
        }
    }
    let all: Times = orderly.iter().chain(&killed).copied().collect();
    ensure!(!crate::database::is_plain(&world.setup.database()), "the database is not encrypted");
    let (p50, p95, p99) = (all.percentile(50), all.percentile(95), all.percentile(99));
    report.goal(format!("restart to /readyz p50, {what}"), ms(p50), "≤ 50 ms", p50 <= P50_MAX);
    report.goal(format!("restart to /readyz p95, {what}"), ms(p95), "≤ 120 ms", p95 <= P95_MAX);
    report.goal(format!("restart to /readyz p99, {what}"), ms(p99), "≤ 100 ms", p99 <= P99_MAX);
    let (orderly, killed): (Times, Times) = (orderly.into_iter().collect(), killed.into_iter().collect());
    let halves = format!("{} / {}", ms(orderly.percentile(50)), ms(killed.percentile(50)));
    report.figure(format!("p50 after SIGTERM / after SIGKILL, {what}"), halves);
    report.figure(format!("slowest, {what}"), format!("{} (restart {})", ms(slowest.0), slowest.1 + 1));
    Ok(())
}

/// One more turn; the fake model counts the messages of the prompt, so a lost one is seen.
async fn converse(world: &World, said: &mut u64) -> Result<()> {
    *said += 1;
    world.telegram.send_text(FIRST_USER, &format!("line {said}"));
    let expected = format!("this is message {said} of this conversation");
    let found = world
        .telegram
        .try_wait_for(|state| state.last_bot_text(FIRST_USER)?.contains(&expected).then_some(()), ANSWER_MAX);
    found.await.with_context(|| format!("the conversation is not intact: nobody said \"{expected}\""))
}

async fn goes_on(world: &World, said: &mut u64) -> Result<()> {
    let (blufio, _) = Blufio::start(&world.setup).await?;
    converse(world, said).await?;
    let status = blufio.terminate(END_MAX).await?;
    ensure!(status.success(), "the orderly end was {status}");
    Ok(())
}

/// Adds conversations that are over until the file has this size; gives the size it then has.
fn fill(database: &Path, bytes: u64) -> Result<u64> {
    let mut connection = crate::database::open(database)?;
    // The file may be thrown away; only its content counts.
    connection.pragma_update(None, "synchronous", "OFF")?;
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let mut inbox: i64 =
        connection.query_row("SELECT coalesce(max(id), 0) FROM inbox", [], |row| row.get::<_, i64>(0))? + 1_000_000_000;
    let size = |connection: &Connection| -> Result<u64> {
        let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        Ok(u64::try_from(pages)? * PAGE_BYTES)
    };
    let mut number = 0;
    while size(&connection)? < bytes {
        let transaction = connection.transaction()?;
        for _ in 0..20 {
            number += 1;
            conversation(&transaction, number, &mut inbox, now)?;
        }
        transaction.commit()?;
    }
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    size(&connection)
}

/// A conversation of whole turns, as the store writes them, without the journals that retention has removed.
fn conversation(connection: &Connection, number: i64, inbox: &mut i64, now: i64) -> Result<()> {
    let key = format!("bench:{number}");
    let session: i64 = connection.query_row(
        "INSERT INTO sessions (key, principal_id, last_message, last_at) VALUES (?1, 'owner', ?2, ?3) RETURNING id",
        params![key, MESSAGES, now],
        |row| row.get(0),
    )?;
    connection.execute(
        "INSERT INTO epochs (session, number, provider, model, system, tools, first)
         VALUES (?1, 1, 'anthropic', 'claude-sonnet-5-5', x'5b5d', x'5b5d', 1)",
        [session],
    )?;
    let mut turn = connection.prepare_cached(
        "INSERT INTO turns (session, turn, inbox, principal_id, state, outcome, deadline, opened_at, closed_at, journal)
         VALUES (?1, ?2, ?3, 'owner', 'done', 'reply', ?4, ?4, ?4, 0)",
    )?;
    let mut message = connection
        .prepare_cached("INSERT INTO messages (session, seq, turn, role, parts, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    let mut wire = connection.prepare_cached("INSERT INTO wire (session, epoch, seq, bytes) VALUES (?1, 1, ?2, ?3)")?;
    for seq in 1..=MESSAGES {
        let person = seq % 2 == 1;
        let (number, role) = ((seq + 1) / 2, if person { "user" } else { "assistant" });
        if person {
            *inbox += 1;
            turn.execute(params![session, number, *inbox, now])?;
        }
        let text = text(session * MESSAGES + seq);
        let part = part(role, &text);
        message.execute(params![session, seq, number, role, part.to_string(), now])?;
        let bytes = serde_json::json!({ "role": role, "content": [{ "type": "text", "text": text }] }).to_string();
        wire.execute(params![session, seq, bytes.into_bytes()])?;
    }
    Ok(())
}

fn part(role: &str, text: &str) -> serde_json::Value {
    use blufio_core::message::{Origin, Part};
    let origin = if role == "user" { Origin::Owner } else { Origin::Model };
    serde_json::to_value([Part::text(origin, text.to_owned())]).expect("a message is JSON")
}

/// Words that differ from message to message.
fn text(seed: i64) -> String {
    let mut random = super::random::Random::new(seed.unsigned_abs());
    let mut text = String::with_capacity(MESSAGE_BYTES + 16);
    while text.len() < MESSAGE_BYTES {
        text.push_str(&format!("{:x} ", random.below(1 << 24)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants;

    /// Names of the tables are the store's; if they change, the filling has to follow.
    #[test]
    fn a_filled_database_keeps_all_invariants() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blufio.db");
        drop(crate::database::create_plain(&path, 6).unwrap());
        let bytes = fill(&path, 1 << 20).unwrap();
        assert!(bytes >= 1 << 20);
        let report = invariants::check(&path).unwrap();
        assert_eq!(report.rows["messages"], report.rows["sessions"] * MESSAGES.unsigned_abs());
    }
}
