//! How domain values are spelled in columns. The words are stored, so a change of one needs a migration.

use crate::fault::{Done, broken};
use blufio_core::access::Principal;
use blufio_core::content::Content;
use blufio_core::ids::{ChannelName, InboxId};
use blufio_core::message::{Part, Role};
use blufio_core::money::MicroUsd;
use blufio_core::port::Replay;
use blufio_core::record::{InboxRow, Route, RunState, Shared};
use blufio_core::time::Timestamp;
use rusqlite::{Connection, Row};

pub(crate) fn principal_word(principal: &Principal) -> String {
    match principal {
        Principal::Owner => "owner".to_owned(),
        Principal::Person(id) => format!("person:{id}"),
    }
}

pub(crate) fn principal(word: &str) -> Done<Principal> {
    match (word, word.strip_prefix("person:")) {
        ("owner", _) => Ok(Principal::Owner),
        (_, Some(id)) => Ok(Principal::Person(id.to_owned())),
        (_, None) => Err(broken(format!("`{word}` is not a principal"))),
    }
}

pub(crate) const fn role_word(role: Role) -> &'static str {
    match role {
        Role::User => "user",
        Role::Assistant => "assistant",
    }
}

pub(crate) fn role(word: &str) -> Done<Role> {
    match word {
        "user" => Ok(Role::User),
        "assistant" => Ok(Role::Assistant),
        _ => Err(broken(format!("`{word}` is not a role"))),
    }
}

pub(crate) const fn replay_word(replay: Replay) -> &'static str {
    match replay {
        Replay::Pure => "pure",
        Replay::Idempotent => "idempotent",
        Replay::Effectful => "effectful",
    }
}

pub(crate) fn replay(word: &str) -> Done<Replay> {
    match word {
        "pure" => Ok(Replay::Pure),
        "idempotent" => Ok(Replay::Idempotent),
        "effectful" => Ok(Replay::Effectful),
        _ => Err(broken(format!("`{word}` is not a replay class"))),
    }
}

pub(crate) const fn run_word(state: RunState) -> &'static str {
    match state {
        RunState::Running => "running",
        RunState::Done => "done",
        RunState::Failed => "failed",
        RunState::Skipped => "skipped",
        RunState::Unknown => "unknown",
    }
}

pub(crate) fn run_state(word: &str) -> Done<RunState> {
    match word {
        "running" => Ok(RunState::Running),
        "done" => Ok(RunState::Done),
        "failed" => Ok(RunState::Failed),
        "skipped" => Ok(RunState::Skipped),
        "unknown" => Ok(RunState::Unknown),
        _ => Err(broken(format!("`{word}` is not the state of a run"))),
    }
}

/// What came along with the words, for its column: nothing if nothing did.
pub(crate) fn content_text(content: &Content) -> Done<Option<String>> {
    let Content { text: _, speaker, quotes, files } = content;
    let only_words = speaker.is_none() && quotes.is_empty() && files.is_empty();
    Ok(if only_words { None } else { Some(serde_json::to_string(content)?) })
}

pub(crate) fn content(stored: Option<String>, text: String) -> Done<Content> {
    let content: Content = stored.map_or_else(|| Ok(Content::default()), |stored| serde_json::from_str(&stored))?;
    Ok(Content { text, ..content })
}

pub(crate) fn parts_text(parts: &[Part]) -> Done<String> {
    Ok(serde_json::to_string(parts)?)
}

pub(crate) fn parts(text: &str) -> Done<Vec<Part>> {
    Ok(serde_json::from_str(text)?)
}

/// A blob in one copy.
pub(crate) fn shared(row: &Row<'_>, column: usize) -> Done<Shared> {
    let bytes = row.get_ref(column)?.as_blob().map_err(|error| broken(error.to_string()))?;
    Ok(Shared::from(bytes))
}

pub(crate) fn time(row: &Row<'_>, column: usize) -> Done<Timestamp> {
    Ok(Timestamp(row.get(column)?))
}

/// Money that SQLite summed; no sum means nothing.
pub(crate) fn money(row: &Row<'_>, column: usize) -> Done<MicroUsd> {
    let sum: Option<i64> = row.get(column)?;
    Ok(MicroUsd(u64::try_from(sum.unwrap_or(0)).unwrap_or(0)))
}

/// For a column; SQLite has no unsigned numbers, and no real amount is that large.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn unsigned(row: &Row<'_>, column: usize) -> Done<u64> {
    let number: i64 = row.get(column)?;
    Ok(u64::try_from(number).unwrap_or(0))
}

/// Reads the columns `channel, account, chat, thread, reply_to` from `first` on.
pub(crate) fn route(row: &Row<'_>, first: usize) -> Done<Route> {
    let channel: String = row.get(first)?;
    Ok(Route {
        channel: ChannelName::new(channel),
        account: row.get(first + 1)?,
        chat: row.get(first + 2)?,
        thread: row.get(first + 3)?,
        reply_to: row.get(first + 4)?,
    })
}

/// The columns that [`inbox_row`] reads.
pub(crate) const INBOX_COLUMNS: &str =
    "id, channel, account, chat, thread, reply_to, principal_id, text, attempts, at, content, album, user";

pub(crate) fn inbox_row(row: &Row<'_>) -> Done<InboxRow> {
    let word: String = row.get(6)?;
    Ok(InboxRow {
        id: InboxId(row.get(0)?),
        route: route(row, 1)?,
        principal: principal(&word)?,
        user: row.get(12)?,
        content: content(row.get(10)?, row.get(7)?)?,
        album: row.get(11)?,
        attempts: row.get(8)?,
        at: time(row, 9)?,
    })
}

/// All rows of a query.
pub(crate) fn all<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
    read: impl Fn(&Row<'_>) -> Done<T>,
) -> Done<Vec<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// The first row of a query, if there is one.
pub(crate) fn first<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
    read: impl Fn(&Row<'_>) -> Done<T>,
) -> Done<Option<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    rows.next()?.map(read).transpose()
}

/// Runs a statement and says how many rows it changed.
pub(crate) fn change(connection: &Connection, sql: &str, parameters: impl rusqlite::Params) -> Done<usize> {
    Ok(connection.prepare_cached(sql)?.execute(parameters)?)
}
