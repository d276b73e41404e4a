//! Strangers who ask to be let in, and the owner's answers. Every limit is inside the statement that inserts.

use crate::chats::Chat;
use crate::fault::{Done, not_found};
use crate::{audit, rows, schedules};
use blufio_core::audit::{AuditEntry, AuditKind};
use blufio_core::ids::ChannelName;
use blufio_core::limits::{PAIRING_PENDING_MAX, PAIRING_REPLIES_MAX, PAIRING_REPLY_WINDOW, PAIRING_TTL};
use blufio_core::record::{Pairing, PairingChange, PairingRequest};
use blufio_core::time::Timestamp;
use rusqlite::{Connection, Row, params};
use serde_json::json;
use std::time::Duration;

/// Life of a code from `pairing link`.
const LINK_TTL: Duration = Duration::from_secs(600);
/// The window in which wrong codes are counted.
const GUESS_WINDOW: Duration = Duration::from_secs(3_600);
/// Wrong codes per person in the window. Used up: every code of theirs is ignored.
const GUESSES_PER_USER_MAX: u32 = 5;
/// Wrong codes per account in the window. Used up: every code is ignored.
const GUESSES_MAX: u32 = 20;

/// Who answers requests: whoever may use the command line of this installation.
const BY_COMMAND: &str = "cli";

/// A request. Answered requests stay until they expire, so that they still count against the replies of the window.
pub(crate) struct Asks<'a> {
    pub(crate) channel: &'a ChannelName,
    pub(crate) account: i64,
    pub(crate) user: i64,
    pub(crate) name: &'a str,
    pub(crate) code: &'a str,
}

const _: () = assert!(PAIRING_REPLY_WINDOW.as_secs() <= PAIRING_TTL.as_secs());

/// Takes a request; false if there are too many, or if this person asked already.
pub(crate) fn ask(connection: &Connection, asks: &Asks<'_>, at: Timestamp) -> Done<bool> {
    rows::change(connection, "DELETE FROM pairing_requests WHERE expires <= ?1", [at.0])?;
    let window = i64::try_from(PAIRING_REPLY_WINDOW.as_millis()).unwrap_or(i64::MAX);
    let inserted = rows::change(
        connection,
        "INSERT INTO pairing_requests (channel, account, user, name, code, state, at, expires)
         SELECT ?1, ?2, ?3, ?4, ?5, 'pending', ?6, ?7
         WHERE NOT EXISTS (SELECT 1 FROM pairing_requests
                           WHERE channel = ?1 AND account = ?2 AND user = ?3 AND state <> 'approved')
           AND (SELECT count(*) FROM pairing_requests
                WHERE channel = ?1 AND account = ?2 AND state = 'pending') < ?8
           AND (SELECT count(*) FROM pairing_requests
                WHERE channel = ?1 AND account = ?2 AND at > ?9) < ?10
         ON CONFLICT (code) DO NOTHING",
        params![
            asks.channel.as_str(),
            asks.account,
            asks.user,
            asks.name,
            asks.code,
            at.0,
            at.plus(PAIRING_TTL).0,
            PAIRING_PENDING_MAX,
            at.0.saturating_sub(window),
            PAIRING_REPLIES_MAX,
        ],
    )?;
    Ok(inserted == 1)
}

pub(crate) fn decide(connection: &Connection, change: &PairingChange, at: Timestamp) -> Done<Pairing> {
    match change {
        PairingChange::Approve { code, owner, has_owner } => {
            let request = answer(connection, code, "approved", at)?;
            let owner = *owner || (!has_owner && !any_owner(connection)?);
            let pairing = Pairing { owner, ..request };
            let_in(connection, &pairing, BY_COMMAND)?;
            Ok(pairing)
        }
        PairingChange::Link { channel, account, code, has_owner } => {
            link(connection, (channel, *account), code, *has_owner, at)
        }
        PairingChange::Reject { code } => answer(connection, code, "rejected", at),
        PairingChange::Revoke { user } => revoke(connection, *user, at),
    }
}

/// Lets somebody in because of what `by` did.
fn let_in(connection: &Connection, pairing: &Pairing, by: &str) -> Done<()> {
    rows::change(
        connection,
        "INSERT INTO pairings (channel, account, user, name, owner, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (channel, account, user)
         DO UPDATE SET name = excluded.name, owner = excluded.owner, at = excluded.at",
        params![pairing.channel.as_str(), pairing.account, pairing.user, pairing.name, pairing.owner, pairing.at.0],
    )?;
    let kind = if pairing.owner { AuditKind::OwnerMade } else { AuditKind::PersonLetIn };
    record(connection, kind, pairing, by, pairing.at)
}

fn record(connection: &Connection, kind: AuditKind, pairing: &Pairing, by: &str, at: Timestamp) -> Done<()> {
    let Pairing { channel, account, user, name, .. } = pairing;
    let entry = AuditEntry {
        kind,
        actor: by.to_owned(),
        session: None,
        target: person(*user),
        outcome: "done".to_owned(),
        detail: json!({ "channel": channel, "account": account, "name": name }),
    };
    audit::append(connection, &[entry], at)
}

fn person(user: i64) -> String {
    format!("person:{user}")
}

/// Makes a code that lets in whoever shows it first.
fn link(
    connection: &Connection,
    (channel, account): (&ChannelName, i64),
    code: &str,
    has_owner: bool,
    at: Timestamp,
) -> Done<Pairing> {
    forget_links(connection, at)?;
    let code = code.trim().to_ascii_uppercase();
    rows::change(
        connection,
        "INSERT INTO pairing_links (code, channel, account, expires, may_own) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![code, channel.as_str(), account, at.plus(LINK_TTL).0, !has_owner],
    )?;
    // Nobody is let in yet: the code stands in the place of a name.
    Ok(Pairing { channel: channel.clone(), account, user: 0, name: code, owner: false, at })
}

/// Somebody shows a code from a link: lets them in if it is right. A wrong one is counted; after too many, even a right one is
/// ignored.
pub(crate) fn show_link(connection: &Connection, asks: &Asks<'_>, at: Timestamp) -> Done<Option<Pairing>> {
    let Asks { channel, account, user, name, code } = *asks;
    forget_links(connection, at)?;
    let guesses =
        "SELECT count(*), coalesce(sum(user = ?3), 0) FROM pairing_guesses WHERE channel = ?1 AND account = ?2";
    let here = params![channel.as_str(), account, user];
    let guesses: Option<(u32, u32)> = rows::first(connection, guesses, here, |row| Ok((row.get(0)?, row.get(1)?)))?;
    if guesses.is_some_and(|(all, theirs)| all >= GUESSES_MAX || theirs >= GUESSES_PER_USER_MAX) {
        return Ok(None);
    }
    let may_own: Option<bool> = rows::first(
        connection,
        "UPDATE pairing_links SET used_by = ?4
         WHERE code = ?1 AND channel = ?2 AND account = ?3 AND expires > ?5 AND used_by IS NULL
         RETURNING may_own",
        params![code.trim().to_ascii_uppercase(), channel.as_str(), account, user, at.0],
        |row| Ok(row.get(0)?),
    )?;
    let Some(may_own) = may_own else {
        rows::change(
            connection,
            "INSERT INTO pairing_guesses (channel, account, user, at) VALUES (?1, ?2, ?3, ?4)",
            params![channel.as_str(), account, user, at.0],
        )?;
        return Ok(None);
    };
    let owner = may_own && !any_owner(connection)?;
    let pairing = Pairing { channel: channel.clone(), account, user, name: name.to_owned(), owner, at };
    let_in(connection, &pairing, &person(user))?;
    Ok(Some(pairing))
}

/// Links and wrong codes that do not count any more.
pub(crate) fn forget_links(connection: &Connection, at: Timestamp) -> Done<()> {
    rows::change(connection, "DELETE FROM pairing_links WHERE expires <= ?1", [at.0])?;
    let window = i64::try_from(GUESS_WINDOW.as_millis()).unwrap_or(i64::MAX);
    rows::change(connection, "DELETE FROM pairing_guesses WHERE at <= ?1", [at.0.saturating_sub(window)])?;
    Ok(())
}

/// Closes the request with that code (people type codes in either case) and says who asked.
fn answer(connection: &Connection, code: &str, state: &str, at: Timestamp) -> Done<Pairing> {
    let code = code.trim().to_ascii_uppercase();
    let found = rows::first(
        connection,
        "UPDATE pairing_requests SET state = ?2 WHERE code = ?1 AND state = 'pending' AND expires > ?3
         RETURNING channel, account, user, name, 0, ?3",
        params![code, state, at.0],
        pairing,
    )?;
    found.ok_or_else(|| not_found("no pairing request with this code is waiting"))
}

fn any_owner(connection: &Connection) -> Done<bool> {
    Ok(rows::first(connection, "SELECT 1 FROM pairings WHERE owner = 1", [], |_| Ok(()))?.is_some())
}

/// In a conversation between two the chat has the number of the person, which finds an owner's rows as well.
fn revoke(connection: &Connection, user: i64, at: Timestamp) -> Done<Pairing> {
    let revoked = rows::all(
        connection,
        "DELETE FROM pairings WHERE user = ?1 RETURNING channel, account, user, name, owner, at",
        [user],
        pairing,
    )?;
    let first = revoked.first().cloned().ok_or_else(|| not_found(format!("user {user} is not paired")))?;
    for pairing in revoked {
        record(connection, AuditKind::PersonRevoked, &pairing, BY_COMMAND, at)?;
        rows::change(
            connection,
            "UPDATE inbox SET state = 'dropped', outcome = 'revoked', done_at = ?4
             WHERE state = 'received' AND channel = ?1 AND account = ?2 AND (chat = ?3 OR principal_id = 'person:' || ?3)",
            params![pairing.channel.as_str(), pairing.account, user, at.0],
        )?;
        schedules::revoke(connection, Chat { channel: &pairing.channel, account: pairing.account, id: user })?;
    }
    Ok(first)
}

/// Approved pairings, oldest first.
pub(crate) fn approved(connection: &Connection) -> Done<Vec<Pairing>> {
    let sql = "SELECT channel, account, user, name, owner, at FROM pairings ORDER BY at, channel, account, user";
    rows::all(connection, sql, [], pairing)
}

/// Requests that wait, oldest first.
pub(crate) fn waiting(connection: &Connection, at: Timestamp) -> Done<Vec<PairingRequest>> {
    rows::all(
        connection,
        "SELECT channel, account, user, name, code, expires FROM pairing_requests
         WHERE state = 'pending' AND expires > ?1 ORDER BY id",
        [at.0],
        |row| {
            let channel: String = row.get(0)?;
            Ok(PairingRequest {
                channel: ChannelName::new(channel),
                account: row.get(1)?,
                user: row.get(2)?,
                name: row.get(3)?,
                code: row.get(4)?,
                expires: rows::time(row, 5)?,
            })
        },
    )
}

fn pairing(row: &Row<'_>) -> Done<Pairing> {
    let channel: String = row.get(0)?;
    Ok(Pairing {
        channel: ChannelName::new(channel),
        account: row.get(1)?,
        user: row.get(2)?,
        name: row.get(3)?,
        owner: row.get(4)?,
        at: rows::time(row, 5)?,
    })
}
