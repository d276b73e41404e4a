//! Words that were not for us, and reactions: kept until the next answer in their conversation, and not for long.

use crate::fault::Done;
use crate::{chats, rows};
use blufio_core::content::Overheard;
use blufio_core::ids::{InboxId, SessionId};
use blufio_core::time::Timestamp;
use chats::Chat;
use rusqlite::{Connection, params};

/// Reactions and words kept in a session where a reaction comes in. Full: the oldest go.
pub(crate) const REACTIONS_MAX: u32 = 200;
/// Characters that a reaction shows of the message it is to.
const SHOWN_CHARACTERS_MAX: usize = 60;

/// A reaction to a message.
pub(crate) struct Reaction<'a> {
    pub(crate) chat: Chat<'a>,
    pub(crate) message: i64,
    pub(crate) name: &'a str,
    pub(crate) emoji: &'a str,
}

/// Keeps words; of those of the session the newest `keep`.
pub(crate) fn hear(
    connection: &Connection,
    session: SessionId,
    inbox: InboxId,
    heard: &Overheard,
    keep: u32,
    at: Timestamp,
) -> Done<()> {
    rows::change(
        connection,
        "INSERT INTO overheard (inbox, session, name, text, at) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![inbox.0, session.0, heard.name, heard.text, at.0],
    )?;
    rows::change(
        connection,
        "DELETE FROM overheard WHERE inbox IN (
             SELECT inbox FROM overheard WHERE session = ?1 ORDER BY inbox DESC LIMIT -1 OFFSET ?2)",
        params![session.0, keep],
    )?;
    Ok(())
}

/// The conversation whose message it is to, and how it reads there; nothing if the message is not of any.
pub(crate) fn reaction(connection: &Connection, reaction: &Reaction<'_>) -> Done<Option<(SessionId, Overheard)>> {
    let Reaction { chat, message, name, emoji } = *reaction;
    let ours = rows::first(
        connection,
        "SELECT session, body_plain FROM outbox
         WHERE state = 'sent' AND chat = ?1 AND message_id = ?2 AND channel = ?3 AND account = ?4 AND session IS NOT NULL
         ORDER BY id DESC LIMIT 1",
        params![chat.id, message, chat.channel.as_str(), chat.account],
        |row| Ok((SessionId(row.get(0)?), row.get::<_, String>(1)?)),
    )?;
    Ok(ours.map(|(session, text)| {
        let shown = beginning(&text);
        let text = if emoji.is_empty() {
            format!("took back the reaction to “{shown}”")
        } else {
            format!("reacted {emoji} to “{shown}”")
        };
        (session, Overheard { name: name.to_owned(), text })
    }))
}

/// What was heard before a row, oldest first.
pub(crate) fn before(connection: &Connection, session: SessionId, before: InboxId) -> Done<Vec<Overheard>> {
    rows::all(
        connection,
        "SELECT name, text FROM overheard WHERE session = ?1 AND inbox < ?2 ORDER BY inbox",
        params![session.0, before.0],
        |row| Ok(Overheard { name: row.get(0)?, text: row.get(1)? }),
    )
}

/// A turn has read what was heard up to its last row.
pub(crate) fn consume(connection: &Connection, session: SessionId, last: InboxId) -> Done<()> {
    let sql = "DELETE FROM overheard WHERE session = ?1 AND inbox <= ?2";
    rows::change(connection, sql, params![session.0, last.0])?;
    Ok(())
}

/// The first characters in one line.
fn beginning(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut shown: String = line.chars().take(SHOWN_CHARACTERS_MAX).collect();
    if shown.len() < line.len() {
        shown.push('…');
    }
    shown
}
