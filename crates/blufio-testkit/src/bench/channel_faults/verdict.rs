//! What the chats show at the end, held against what the database says was sent and what people wrote.
//!
//! Every message that a chat shows belongs to exactly one row of the outbox that is marked as sent, and the other way round.
//! What is shown beyond that is a copy of a row that is marked as one that may have arrived twice, one for each such row, or a
//! placeholder whose number nobody learned; both are as many as sends whose answer was lost, at most. Files arrive byte for byte,
//! none of them twice. Whoever waits longer than a moment sees that somebody is at work.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use rusqlite::Connection;
use serde_json::Value;

use super::super::world::{TOKEN, World, answers};
use super::faults::Met;
use super::people::{FORUM, HEALTHY, Place, chats, shelf};
use crate::botapi::{LoggedRequest, VisibleMessage};
use crate::database::open_read_only;
use crate::invariants;

/// Longest time after the end of a turn in which a typing sign may still leave.
const TYPING_MAX: Duration = Duration::from_secs(6);
/// Clocks of the database and of the fake are read one after the other.
const CLOCK_SLACK_MS: i64 = 1_000;
/// A turn that takes longer shows in its place that somebody is at work.
const TYPING_SHOWN_AFTER_MS: i64 = 1_500;
/// What stands where an answer will be.
const PLACEHOLDER: &str = "…";
/// What is shown of a list of numbers.
const SHOWN: usize = 12;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) lost: Vec<u64>,
    pub(super) misplaced: Vec<String>,
    pub(super) twice: Vec<u64>,
    pub(super) out_of_order: u64,
    /// Shown beyond the rows that were sent.
    pub(super) copies: u64,
    /// Of them those that no row is marked for.
    pub(super) unmarked: Vec<String>,
    /// Placeholders that stayed.
    pub(super) placeholders: u64,
    pub(super) marked: u64,
    /// Sent and not shown.
    pub(super) missing: Vec<String>,
    pub(super) files_given_up: u64,
    pub(super) given_up: Vec<String>,
    pub(super) late_typing: Vec<String>,
    pub(super) typing: u64,
    /// Turns that took long, and those of them that showed nothing.
    pub(super) long_turns: u64,
    pub(super) untyped: Vec<String>,
    /// Files that arrived.
    pub(super) files: u64,
    /// What is wrong with files that arrived or did not.
    pub(super) wrong_files: Vec<String>,
    pub(super) token_found: Vec<String>,
    pub(super) unanswered_presses: u64,
    pub(super) questions: u64,
    pub(super) problems: Vec<String>,
}

/// A message as the outbox has it.
struct Sent {
    chat: i64,
    thread: Option<i64>,
    text: String,
    maybe_duplicate: bool,
}

/// What is compared: chat, topic and words.
type Shown = (i64, Option<i64>, String);

/// Compares everything; the process has ended.
///
/// # Errors
/// The database cannot be read.
pub(super) fn judge(world: &World, posted: &BTreeMap<u64, Place>, met: &Met) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    let database = world.setup.database();
    let connection = open_read_only(&database)?;
    let transcripts: Vec<(i64, Vec<VisibleMessage>)> =
        chats().into_iter().chain([HEALTHY]).map(|chat| (chat, world.telegram.transcript(chat))).collect();
    compare_numbers(&mut verdict, posted, &transcripts);
    compare_rows(&mut verdict, &connection, &transcripts)?;
    compare_files(&mut verdict, world, &connection)?;
    verdict.twice = numbers_in_two_turns(&connection)?;
    verdict.out_of_order = transcripts.iter().filter(|(chat, _)| *chat != FORUM).map(|(_, said)| disorder(said)).sum();
    let dead: Vec<(String, String)> = rows(
        &connection,
        "SELECT kind, chat || ': ' || coalesce(error, '') FROM outbox WHERE state = 'dead' AND withdrawn = 0",
    )?;
    verdict.files_given_up = dead.iter().filter(|(kind, _)| kind == "file").count() as u64;
    verdict.given_up =
        dead.into_iter().filter(|(kind, _)| kind != "file" && kind != "question").map(|(_, why)| why).collect();
    verdict.questions = count(&connection, "SELECT count(*) FROM approvals")?;
    compare_typing(&mut verdict, world, &connection)?;
    verdict.unanswered_presses = world.telegram.read(|state| state.unanswered_callbacks().len() as u64);
    let mut problem = |wrong: bool, words: String| {
        if wrong {
            verdict.problems.push(words);
        }
    };
    let waiting = count(&connection, "SELECT count(*) FROM outbox WHERE state IN ('queued', 'sending')")?;
    problem(waiting > 0, format!("{waiting} messages were not sent to the end"));
    let poison = count(&connection, "SELECT count(*) FROM inbox WHERE outcome = 'poison'")?;
    problem(poison > 0, format!("{poison} messages were given up"));
    let files = verdict.files_given_up;
    problem(files > met.doubtful_files, format!("{files} files given up for {} doubtful sends", met.doubtful_files));
    let presses = verdict.unanswered_presses;
    problem(presses > met.not_answered, format!("{presses} presses unanswered for {} faults", met.not_answered));
    // What a preview was told holds for no answer: it would have to wait for something that nobody needs.
    let preview = |request: &&LoggedRequest| match request.method.as_str() {
        "sendMessageDraft" | "editMessageText" => true,
        _ => request.params.get("text").and_then(Value::as_str) == Some(PLACEHOLDER),
    };
    let (early, previews) = world.telegram.read(|state| {
        // A fault may delay a refusal; one that is a refusal itself is not of a flood.
        let invented =
            |request: &&LoggedRequest| request.fault.as_deref().is_some_and(|kind| kind.starts_with("RateLimit"));
        let refused = state.requests().filter(|request| request.status == 429 && !invented(request));
        (state.early_sends(), refused.filter(preview).count() as u64)
    });
    problem(early > previews, format!("{early} sends before the time was up that the server had asked for"));
    drop(connection);
    if let Err(wrong) = invariants::check(&database) {
        verdict.problems.push(wrong.join("; "));
    }
    search_token(&mut verdict, &world.setup.dir)?;
    Ok(verdict)
}

fn compare_numbers(verdict: &mut Verdict, posted: &BTreeMap<u64, Place>, transcripts: &[(i64, Vec<VisibleMessage>)]) {
    let mut answered = BTreeSet::new();
    for (chat, transcript) in transcripts {
        for said in transcript.iter().filter(|said| said.from_bot) {
            // Numbers before the last one are of what the message answers or what somebody reacted to.
            if let Some(number) = answers(&said.text).last() {
                match posted.get(&number) {
                    Some(place) if place.chat == *chat && place.shown() == said.thread => {
                        answered.insert(number);
                    }
                    place => {
                        verdict.misplaced.push(format!("#{number} of {place:?} in {chat}, topic {:?}", said.thread))
                    }
                }
            }
        }
    }
    verdict.lost = posted.keys().filter(|number| !answered.contains(number)).copied().collect();
}

/// Shown and sent, the one without the other.
fn compare_rows(
    verdict: &mut Verdict,
    connection: &Connection,
    transcripts: &[(i64, Vec<VisibleMessage>)],
) -> Result<()> {
    let mut statement = connection.prepare(
        // A question is asked again and changes its words when it is over, so it is compared by nobody.
        "SELECT chat, thread, body_plain, maybe_duplicate FROM outbox
         WHERE state = 'sent' AND kind IN ('text', 'notice') AND body_plain NOT LIKE 'May I run %'",
    )?;
    let sent = statement.query_map([], |row| {
        let thread: Option<i64> = row.get(1)?;
        let thread = thread.filter(|thread| *thread != 1);
        Ok(Sent { chat: row.get(0)?, thread, text: row.get(2)?, maybe_duplicate: row.get(3)? })
    })?;
    let mut expected: BTreeMap<Shown, i64> = BTreeMap::new();
    let mut marked: BTreeMap<Shown, u64> = BTreeMap::new();
    for sent in sent {
        let sent = sent?;
        let shown = (sent.chat, sent.thread, words(&sent.text));
        if sent.maybe_duplicate {
            verdict.marked += 1;
            *marked.entry(shown.clone()).or_default() += 1;
        }
        *expected.entry(shown).or_default() += 1;
    }
    for (chat, transcript) in transcripts {
        let messages = transcript.iter().filter(|said| said.from_bot && said.media.is_none());
        for said in messages.filter(|said| !is_question(*chat, said)) {
            *expected.entry((*chat, said.thread, words(&said.text))).or_default() -= 1;
        }
    }
    for (shown, difference) in expected {
        let (chat, thread, text) = &shown;
        let begin: String = text.chars().take(60).collect();
        if difference > 0 {
            verdict.missing.push(format!("{difference} × chat {chat}, topic {thread:?}: {begin}"));
        } else if difference < 0 {
            verdict.copies += difference.unsigned_abs();
            if text == PLACEHOLDER {
                verdict.placeholders += difference.unsigned_abs();
            } else {
                let unmarked =
                    difference.unsigned_abs().saturating_sub(marked.get(&shown).copied().unwrap_or_default());
                if unmarked > 0 {
                    verdict.unmarked.push(format!("{unmarked} × chat {chat}, topic {thread:?}: {begin}"));
                }
            }
        }
    }
    Ok(())
}

/// Every file that arrived is one of those that were sent, byte for byte; every one that was sent arrived once, and one of which
/// nobody knows at most once.
fn compare_files(verdict: &mut Verdict, world: &World, connection: &Connection) -> Result<()> {
    let mut statement = connection.prepare(
        "SELECT chat, thread, json_extract(payload, '$.name'), state = 'sent' FROM outbox
         WHERE kind = 'file' AND state IN ('sent', 'dead')",
    )?;
    let rows = statement.query_map([], |row| {
        let thread: Option<i64> = row.get(1)?;
        let place: Shown = (row.get(0)?, thread.filter(|thread| *thread != 1), row.get(2)?);
        Ok((place, row.get::<_, bool>(3)?))
    })?;
    // Sent, given up, arrived.
    let mut files: BTreeMap<Shown, [u64; 3]> = BTreeMap::new();
    for row in rows {
        let (place, sent) = row?;
        files.entry(place).or_default()[usize::from(!sent)] += 1;
    }
    let shelf = shelf();
    for chat in chats().into_iter().chain([HEALTHY]) {
        for file in world.telegram.received_files(chat) {
            verdict.files += 1;
            if !shelf.iter().any(|(name, bytes)| *name == file.name && *bytes == file.bytes) {
                verdict.wrong_files.push(format!(
                    "{} of {} bytes in {chat} is none of ours",
                    file.name,
                    file.bytes.len()
                ));
            }
            files.entry((chat, file.thread, file.name)).or_default()[2] += 1;
        }
    }
    for ((chat, thread, name), [sent, given_up, arrived]) in files {
        if arrived < sent || arrived > sent + given_up {
            let place = format!("chat {chat}, topic {thread:?}");
            verdict.wrong_files.push(format!("{place}: {name}: {sent} sent, {given_up} given up, {arrived} arrived"));
        }
    }
    Ok(())
}

fn is_question(chat: i64, said: &VisibleMessage) -> bool {
    chat > 0 && said.text.starts_with("May I run ")
}

/// The words alone: the server trims, and what is plain text for it may have been markup.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// How many numbers were answered for the first time after a later number.
fn disorder(transcript: &[VisibleMessage]) -> u64 {
    let (mut seen, mut highest, mut late) = (BTreeSet::new(), 0, 0);
    for number in transcript.iter().filter(|said| said.from_bot).filter_map(|said| answers(&said.text).last()) {
        if seen.insert(number) && number < highest {
            late += 1;
        }
        highest = highest.max(number);
    }
    late
}

fn numbers_in_two_turns(connection: &Connection) -> Result<Vec<u64>> {
    let rows: Vec<(String, String)> = rows(
        connection,
        "SELECT inbox.text, turns.session || '.' || turns.turn FROM inbox
         JOIN turns ON turns.inbox = coalesce(inbox.joined, inbox.id) WHERE inbox.text LIKE '%#%'",
    )?;
    let mut turns: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for (text, turn) in rows {
        let number = text.split('#').nth(1).and_then(|rest| {
            rest[..rest.find(|symbol: char| !symbol.is_ascii_digit()).unwrap_or(rest.len())].parse().ok()
        });
        turns.entry(number.context("a message without its number")?).or_default().insert(turn);
    }
    Ok(turns.into_iter().filter(|(_, turns)| turns.len() > 1).map(|(number, _)| number).collect())
}

/// Every typing sign left while a turn of its chat was running or what it answers was read, or a moment later; and every turn
/// that took long had one in its place.
fn compare_typing(verdict: &mut Verdict, world: &World, connection: &Connection) -> Result<()> {
    let begin = i64::try_from(UNIX_EPOCH.elapsed()?.as_millis())?
        - i64::try_from(world.telegram.read(|state| state.now()).as_millis())?;
    let mut statement = connection.prepare(
        "SELECT inbox.chat, inbox.thread, inbox.at, opened_at, coalesce(closed_at, 9000000000000) FROM turns
         JOIN inbox ON inbox.id = turns.inbox WHERE inbox.chat IS NOT NULL",
    )?;
    let turns = statement.query_map([], |row| {
        Ok(Turn { chat: row.get(0)?, thread: row.get(1)?, came: row.get(2)?, opened: row.get(3)?, closed: row.get(4)? })
    })?;
    let turns: Vec<Turn> = turns.collect::<rusqlite::Result<_>>()?;
    let limit = i64::try_from(TYPING_MAX.as_millis())? + CLOCK_SLACK_MS;
    let mut signs = Vec::new();
    world.telegram.read(|state| {
        for request in state.requests().filter(|request| request.method == "sendChatAction") {
            verdict.typing += 1;
            let number = |name: &str| request.params.get(name).and_then(Value::as_i64);
            let Some(chat) = number("chat_id") else { continue };
            let at = begin + i64::try_from(request.at_ms).unwrap_or(i64::MAX);
            signs.push((chat, number("message_thread_id"), at));
            let fits = |turn: &Turn| {
                turn.chat == chat && turn.came - CLOCK_SLACK_MS <= at && at <= turn.closed.saturating_add(limit)
            };
            if !turns.iter().any(fits) {
                verdict.late_typing.push(format!("chat {chat} at {} ms", request.at_ms));
            }
        }
    });
    for turn in turns.iter().filter(|turn| turn.closed - turn.opened >= TYPING_SHOWN_AFTER_MS) {
        verdict.long_turns += 1;
        let shown = |(chat, thread, at): &(i64, Option<i64>, i64)| {
            *chat == turn.chat && *thread == turn.thread && (turn.came - CLOCK_SLACK_MS..=turn.closed).contains(at)
        };
        if !signs.iter().any(shown) {
            let Turn { chat, thread, opened, closed, .. } = turn;
            verdict.untyped.push(format!("chat {chat}, topic {thread:?}, {} ms", closed - opened));
        }
    }
    Ok(())
}

/// A turn and what it answers, in milliseconds since 1970.
struct Turn {
    chat: i64,
    thread: Option<i64>,
    came: i64,
    opened: i64,
    closed: i64,
}

/// Looks for the token in every file of the work folder.
fn search_token(verdict: &mut Verdict, folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            search_token(verdict, &path)?;
        } else if kind.is_file() && holds_token(&std::fs::read(&path)?) {
            verdict.token_found.push(path.display().to_string());
        }
    }
    Ok(())
}

/// Whether the secret part of the token is among these bytes.
pub(super) fn holds_token(bytes: &[u8]) -> bool {
    let secret = TOKEN.split_once(':').map_or(TOKEN, |(_, secret)| secret);
    String::from_utf8_lossy(bytes).contains(secret)
}

/// The begin of a list.
pub(super) fn some<T: std::fmt::Debug>(list: &[T]) -> String {
    let more = if list.len() > SHOWN { ", …" } else { "" };
    let shown: Vec<String> = list.iter().take(SHOWN).map(|item| format!("{item:?}")).collect();
    format!("{}{more}", shown.join(", "))
}

fn rows(connection: &Connection, sql: &str) -> Result<Vec<(String, String)>> {
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn count(connection: &Connection, sql: &str) -> Result<u64> {
    let count: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    Ok(u64::try_from(count)?)
}
