//! Chats as such: shut ones, and groups that go on under another id. It does not know why a chat is shut.

use crate::fault::Done;
use crate::{rows, schedules};
use blufio_core::ids::{ChannelName, SessionId};
use blufio_core::record::{ChatView, Route};
use blufio_core::time::Timestamp;
use rusqlite::{Connection, params};

/// A chat of a channel's account.
#[derive(Clone, Copy)]
pub(crate) struct Chat<'a> {
    pub(crate) channel: &'a ChannelName,
    pub(crate) account: i64,
    pub(crate) id: i64,
}

impl<'a> Chat<'a> {
    pub(crate) fn of(route: &'a Route) -> Self {
        Self { channel: &route.channel, account: route.account, id: route.chat }
    }
}

/// Why a chat is shut, if it is.
pub(crate) fn shut(connection: &Connection, chat: Chat<'_>) -> Done<Option<String>> {
    let sql = "SELECT reason FROM closed_chats WHERE channel = ?1 AND account = ?2 AND chat = ?3";
    rows::first(connection, sql, params![chat.channel.as_str(), chat.account, chat.id], |row| Ok(row.get(0)?))
}

/// Shuts a chat and gives up what was to be sent there.
pub(crate) fn close(connection: &Connection, chat: Chat<'_>, reason: &str, at: Timestamp) -> Done<()> {
    rows::change(
        connection,
        "INSERT INTO closed_chats (channel, account, chat, reason, since) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (channel, account, chat) DO UPDATE SET reason = excluded.reason",
        params![chat.channel.as_str(), chat.account, chat.id, reason, at.0],
    )?;
    rows::change(
        connection,
        "UPDATE outbox SET state = 'dead', error = ?4, done_at = ?5
         WHERE state IN ('queued', 'sending') AND channel = ?1 AND account = ?2 AND chat = ?3",
        params![chat.channel.as_str(), chat.account, chat.id, reason, at.0],
    )?;
    Ok(())
}

/// Somebody spoke there, or it was said to be open.
pub(crate) fn reopen(connection: &Connection, chat: Chat<'_>) -> Done<()> {
    rows::change(
        connection,
        "DELETE FROM closed_chats WHERE channel = ?1 AND account = ?2 AND chat = ?3",
        params![chat.channel.as_str(), chat.account, chat.id],
    )?;
    Ok(())
}

/// As [`reopen`], for words that came without a route back.
pub(crate) fn reopen_of(connection: &Connection, channel: &ChannelName, account: i64, session: SessionId) -> Done<()> {
    rows::change(
        connection,
        "DELETE FROM closed_chats
         WHERE channel = ?1 AND account = ?2 AND chat = (SELECT chat FROM sessions WHERE id = ?3)",
        params![channel.as_str(), account, session.0],
    )?;
    Ok(())
}

/// Shut chats of a channel, the newest first.
pub(crate) fn closed(connection: &Connection, channel: &ChannelName) -> Done<Vec<ChatView>> {
    rows::all(
        connection,
        "SELECT chat, reason, since FROM closed_chats WHERE channel = ?1 ORDER BY since DESC, chat",
        [channel.as_str()],
        |row| Ok(ChatView { chat: row.get(0)?, reason: row.get(1)?, since: rows::time(row, 2)? }),
    )
}

/// What waits for a group's old id goes to the new one. Numbers of messages mean nothing there, so nothing refers to them any
/// more. Saying it twice changes nothing.
pub(crate) fn migrate(connection: &Connection, old: Chat<'_>, new: i64) -> Done<()> {
    let (channel, account) = (old.channel.as_str(), old.account);
    let known = "SELECT known_as FROM chat_aliases WHERE channel = ?1 AND account = ?2 AND new = ?3";
    let known: Option<i64> = rows::first(connection, known, params![channel, account, old.id], |row| Ok(row.get(0)?))?;
    let known = known.unwrap_or(old.id);
    if new == old.id || new == known {
        return Ok(());
    }
    rows::change(
        connection,
        "INSERT INTO chat_aliases (channel, account, new, known_as) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (channel, account, new) DO NOTHING",
        params![channel, account, new, known],
    )?;
    let moves = params![channel, account, old.id, new];
    rows::change(
        connection,
        "UPDATE turns SET placeholder = NULL WHERE state = 'running' AND inbox IN (
             SELECT id FROM inbox WHERE channel = ?1 AND account = ?2 AND chat = ?3 AND state = 'claimed' AND chat <> ?4)",
        moves,
    )?;
    rows::change(
        connection,
        "UPDATE inbox SET chat = ?4, reply_to = NULL
         WHERE channel = ?1 AND account = ?2 AND chat = ?3 AND state IN ('received', 'claimed')",
        moves,
    )?;
    rows::change(
        connection,
        "UPDATE outbox SET chat = ?4, reply_to = NULL, replaces = NULL
         WHERE state IN ('queued', 'sending') AND channel = ?1 AND account = ?2 AND chat = ?3",
        moves,
    )?;
    rows::change(
        connection,
        "UPDATE sessions SET chat = ?4 WHERE chat = ?3 AND EXISTS (
             SELECT 1 FROM inbox WHERE session = sessions.id AND channel = ?1 AND account = ?2)",
        moves,
    )?;
    schedules::migrate(connection, old, new)
}

/// Channel, account, new id, the id that the group is known as.
pub(crate) fn aliases(connection: &Connection) -> Done<Vec<(ChannelName, i64, i64, i64)>> {
    let sql = "SELECT channel, account, new, known_as FROM chat_aliases ORDER BY channel, account, new";
    rows::all(connection, sql, [], |row| {
        let channel: String = row.get(0)?;
        Ok((ChannelName::new(channel), row.get(1)?, row.get(2)?, row.get(3)?))
    })
}
