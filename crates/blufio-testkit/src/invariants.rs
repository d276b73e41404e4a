//! What must be true of a database at every moment, also one whose process was killed a moment ago.
//!
//! It reads the file with plain SQLite and shares no code with the store, so that one mistake cannot hide another.

use crate::database;
use blufio_core::audit::{Checker, Link, StoredLink};
use blufio_core::ids::{CallId, TurnNumber};
use blufio_core::message::{Body, Part};
use blufio_core::record::Step;
use blufio_core::session::Turn;
use blufio_core::time::Timestamp;
use blufio_core::vault::{OpenVault, SealedSecret};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The version of the schema that the rules are about.
const SCHEMA: i64 = 6;

/// What was looked at.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// Rows by table.
    pub rows: BTreeMap<String, u64>,
    /// Process starts that were counted.
    pub boot: i64,
    /// Turns whose journal was folded.
    pub folded: u64,
}

/// Rules that are one statement each: what it means when the statement finds a row.
const RULES: &[(&str, &str)] = &[
    (
        "I1 a claim of another boot",
        "SELECT id, claimed_boot FROM inbox
         WHERE state = 'claimed' AND claimed_boot <> (SELECT value FROM meta WHERE key = 'boot')",
    ),
    (
        "I2 a cursor beyond what is stored",
        "SELECT cursors.channel, cursors.account, cursor, max(update_id) FROM cursors
         JOIN inbox ON inbox.channel = cursors.channel AND inbox.account = cursors.account
         GROUP BY cursors.channel, cursors.account HAVING cursor > max(update_id) + 1",
    ),
    ("I3 a message in two turns", "SELECT inbox, count(*) FROM turns GROUP BY inbox HAVING count(*) > 1"),
    (
        "I3 a claimed message without its running turn",
        "SELECT id FROM inbox WHERE state = 'claimed'
         AND NOT EXISTS (SELECT 1 FROM turns WHERE turns.inbox = coalesce(joined, inbox.id) AND turns.state = 'running')",
    ),
    (
        "I3 a running turn without its claimed message",
        "SELECT session, turn FROM turns WHERE state = 'running'
         AND NOT EXISTS (SELECT 1 FROM inbox WHERE inbox.id = turns.inbox AND inbox.state = 'claimed')",
    ),
    (
        "I3 a message that waits or was dropped, but has a turn",
        "SELECT id, state FROM inbox WHERE state IN ('received', 'dropped')
         AND EXISTS (SELECT 1 FROM turns WHERE turns.inbox = inbox.id)",
    ),
    (
        "I3 a message that joined a turn that does not exist, or one of another session",
        "SELECT inbox.id, joined FROM inbox WHERE joined IS NOT NULL AND (
             state IN ('received', 'dropped') OR joined = inbox.id
             OR NOT EXISTS (SELECT 1 FROM turns WHERE turns.inbox = joined AND turns.session = inbox.session))",
    ),
    (
        "I4 two running turns in a session",
        "SELECT session, count(*) FROM turns WHERE state = 'running' GROUP BY session HAVING count(*) > 1",
    ),
    ("I4 turn numbers with a gap", "SELECT session FROM turns GROUP BY session HAVING max(turn) <> count(*)"),
    (
        "I5 an unfinished tool call of a turn that is over",
        "SELECT tool_runs.session, tool_runs.turn, call_id FROM tool_runs JOIN turns USING (session, turn)
         WHERE turns.state = 'done' AND tool_runs.state NOT IN ('done', 'unknown')",
    ),
    (
        "I6 a tool with an outside effect that was started twice",
        "SELECT session, turn, call_id, starts FROM tool_runs WHERE replay = 'effectful' AND starts > 1",
    ),
    (
        "I7 a part of a reply sent before an earlier part",
        // A file may be given up without the words after it.
        "SELECT later.id, earlier.id FROM outbox AS later JOIN outbox AS earlier
         ON earlier.reply = later.reply AND earlier.id < later.id
         WHERE later.state IN ('sending', 'sent') AND earlier.state <> 'sent' AND earlier.kind <> 'file'",
    ),
    (
        "I7 two sends at once in a chat",
        "SELECT channel, account, chat, count(*) FROM outbox WHERE state = 'sending'
         GROUP BY channel, account, chat HAVING count(*) > 1",
    ),
    (
        "I9 money held for a turn that is over",
        "SELECT ledger.session, ledger.turn, call FROM ledger JOIN turns USING (session, turn)
         WHERE ledger.state = 'held' AND turns.state = 'done' AND ledger.purpose = turns.purpose",
    ),
    (
        "I9 an amount that cannot be",
        "SELECT id, state, held, amount FROM ledger
         WHERE held < 0 OR amount < 0 OR (state = 'free' AND amount <> 0) OR (state = 'held' AND amount <> held)",
    ),
    (
        "I10 a time of a schedule that was taken twice",
        "SELECT schedule, slot, count(*) FROM runs GROUP BY schedule, slot HAVING count(*) > 1",
    ),
    (
        "I10 a message of a schedule that is there twice",
        "SELECT channel, account, fingerprint, count(*) FROM inbox WHERE update_id < 0 AND fingerprint LIKE 'schedule:%'
         GROUP BY channel, account, fingerprint HAVING count(*) > 1",
    ),
    (
        "I10 a run whose message was never there",
        "SELECT id, inbox, outbox FROM runs
         WHERE inbox > (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'inbox')
            OR outbox > (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'outbox')",
    ),
    (
        "I12 messages with a number beyond the last one",
        "SELECT sessions.id FROM sessions JOIN messages ON messages.session = sessions.id
         GROUP BY sessions.id HAVING max(seq) > last_message",
    ),
    (
        "I12 a message of the current prompt without its bytes",
        "SELECT messages.session, messages.seq FROM messages
         JOIN epochs ON epochs.session = messages.session
          AND epochs.number = (SELECT max(number) FROM epochs WHERE session = messages.session)
         WHERE messages.seq >= epochs.first AND NOT EXISTS (
             SELECT 1 FROM wire WHERE wire.session = messages.session AND wire.seq = messages.seq
              AND wire.epoch = epochs.number)",
    ),
    (
        "I12 a file that a message shows and nobody counts",
        "SELECT messages.session, messages.seq, part.value ->> '$.body.attachment' AS file
         FROM messages, json_each(iif(json_valid(parts), parts, '[]')) AS part
         WHERE file IS NOT NULL AND NOT EXISTS (
             SELECT 1 FROM message_attachments AS shown
             WHERE shown.session = messages.session AND shown.seq = messages.seq AND shown.attachment = file)",
    ),
    (
        "I13 a question answered twice",
        "SELECT session, turn, call_id, count(*) FROM approvals WHERE state IN ('pending', 'approved', 'denied')
         GROUP BY session, turn, call_id HAVING count(*) > 1",
    ),
    (
        "I13 an answer after the question was over",
        "SELECT id, decided_at, expires FROM approvals WHERE state IN ('approved', 'denied') AND decided_at >= expires",
    ),
    (
        "I13 an open question about a call that does not wait",
        "SELECT id FROM approvals LEFT JOIN tool_runs USING (session, turn, call_id)
         WHERE approvals.state = 'pending' AND tool_runs.state IS NOT 'awaiting_approval'",
    ),
    (
        "I13 a question about another call than the one that waited",
        "SELECT id FROM approvals JOIN tool_runs USING (session, turn, call_id)
         WHERE tool <> name OR approvals.input <> tool_runs.input",
    ),
    (
        "I13 a call that was started without its owner's yes",
        "SELECT session, turn, call_id, starts FROM tool_runs JOIN approvals USING (session, turn, call_id)
         WHERE starts > 0 GROUP BY session, turn, call_id HAVING sum(approvals.state = 'approved') <> 1",
    ),
    // What was asked and answered before there was a log is not in it.
    (
        "I16 a question that was not recorded",
        "SELECT id FROM approvals WHERE created >= (SELECT min(ts_ms) FROM audit)
         AND NOT EXISTS (SELECT 1 FROM audit WHERE kind = 'approval_asked' AND target = 'approval ' || id)",
    ),
    (
        "I16 an answer that was not recorded",
        "SELECT id, state FROM approvals WHERE state IN ('approved', 'denied')
         AND decided_at >= (SELECT min(ts_ms) FROM audit)
         AND NOT EXISTS (SELECT 1 FROM audit WHERE kind = 'approval_decided' AND target = 'approval ' || id
                         AND outcome = iif(state = 'denied', 'denied', iif(always, 'always', 'allowed')))",
    ),
    (
        "I16 a use of a grant that was not recorded",
        "SELECT id, uses FROM grants
         WHERE uses <> (SELECT count(*) FROM audit WHERE kind = 'grant_used' AND target = 'grant ' || id)",
    ),
    (
        "I17 a grant that no owner has made",
        "SELECT id FROM grants
         WHERE NOT EXISTS (SELECT 1 FROM audit WHERE kind = 'grant_made' AND target = 'grant ' || id)
            OR (revoked_at IS NOT NULL
                AND NOT EXISTS (SELECT 1 FROM audit WHERE kind = 'grant_revoked' AND target = 'grant ' || id))",
    ),
    (
        "I17 an always without its grant",
        "SELECT id FROM approvals WHERE always
         AND (state <> 'approved' OR grant_hash IS NULL OR NOT EXISTS (SELECT 1 FROM grants WHERE hash = grant_hash))",
    ),
    (
        "I18 a secret without the vault's header",
        "SELECT name FROM vault WHERE NOT EXISTS (SELECT 1 FROM vault_header)",
    ),
    (
        "I19 a message beyond the mark of what is indexed, or a mark beyond the last message",
        "SELECT sessions.id, indexed, seq FROM sessions LEFT JOIN passages ON session = sessions.id AND seq > indexed
         WHERE seq IS NOT NULL OR indexed > last_message",
    ),
    (
        "I19 a passage without its words, or words without their passage",
        "SELECT passages.id, words.id FROM passages
         FULL JOIN passage_words_content AS words ON words.id = scope * 1099511627776 + passages.id
         WHERE passages.id IS NULL OR words.id IS NULL",
    ),
    (
        "I19 a fact without its words, or words without their fact",
        "SELECT facts.id, words.id FROM facts
         FULL JOIN fact_words_content AS words ON words.id = scope * 1099511627776 + facts.id
         WHERE facts.id IS NULL OR words.id IS NULL",
    ),
    (
        "I19 a vector in another scope than what it is of",
        "SELECT vectors.id FROM vectors LEFT JOIN passages ON passages.id = passage LEFT JOIN facts ON facts.id = fact
         WHERE vectors.scope IS NOT coalesce(passages.scope, facts.scope)",
    ),
    (
        "I19 words with what is forgotten, or without what was said before",
        "SELECT passages.id FROM passages
         JOIN passage_words_content AS words ON words.id = scope * 1099511627776 + passages.id
         WHERE (c2 = '') <> NOT EXISTS (
             SELECT 1 FROM passages AS earlier WHERE earlier.session = passages.session AND earlier.seq < passages.seq)",
    ),
    (
        "I20 a fact that takes the place of another's",
        "SELECT later.id, earlier.id FROM facts AS later JOIN facts AS earlier ON later.supersedes = earlier.id
         WHERE later.scope <> earlier.scope",
    ),
    (
        "I20 a standing instruction that no person gave",
        "SELECT facts.id FROM facts JOIN scopes ON scopes.id = scope
         WHERE kind = 'standing' AND said <> 'owner' AND NOT (said = 'person' AND name LIKE 'person:%')",
    ),
    (
        "I20 a fact without a record of how it came",
        "SELECT id FROM facts WHERE NOT EXISTS (SELECT 1 FROM fact_changes WHERE fact = facts.id AND what IN ('added', 'edited'))",
    ),
    (
        "I15 a running turn without a journal",
        "SELECT session, turn FROM turns WHERE state = 'running'
         AND NOT EXISTS (SELECT 1 FROM steps WHERE steps.session = turns.session AND steps.turn = turns.turn)",
    ),
];

/// Checks the database at `path` without changing it.
///
/// # Errors
/// One line per violation, with the numbers of the rows.
pub fn check(path: &Path) -> Result<Report, Vec<String>> {
    let mut violations = Vec::new();
    match inspect(path, &mut violations) {
        Ok(report) if violations.is_empty() => Ok(report),
        Ok(_) => Err(violations),
        Err(error) => {
            violations.push(format!("the database cannot be read: {error}"));
            Err(violations)
        }
    }
}

fn inspect(path: &Path, violations: &mut Vec<String>) -> rusqlite::Result<Report> {
    let connection = database::open_read_only(path)?;
    // One picture of everything, also beside a running process.
    let transaction = connection.unchecked_transaction()?;
    let sound: String = transaction.query_row("PRAGMA integrity_check(5)", [], |row| row.get(0))?;
    if sound != "ok" {
        violations.push(format!("I12 the file is damaged: {sound}"));
    }
    find(&transaction, "I12 an orphan", "PRAGMA foreign_key_check", violations)?;
    let schema: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if schema < SCHEMA {
        // Killed between two migrations: the rest of them runs at the next start, and until then the rules have no columns.
        return Ok(Report { rows: BTreeMap::new(), boot: 0, folded: 0 });
    }
    for (meaning, sql) in RULES {
        find(&transaction, meaning, sql, violations)?;
    }
    check_conversations(&transaction, violations)?;
    let keys = path.parent().and_then(database::keys);
    check_audit(&transaction, keys.as_ref().map(|keys| &*keys.audit), violations)?;
    if let Some(keys) = keys {
        check_vault(&transaction, &keys.vault, violations)?;
    }
    let folded = check_journals(&transaction, violations)?;
    let boot = transaction.query_row("SELECT value FROM meta WHERE key = 'boot'", [], |row| row.get(0))?;
    Ok(Report { rows: count_rows(&transaction)?, boot, folded })
}

/// Every row that the statement finds is a violation.
fn find(connection: &Connection, meaning: &str, sql: &str, violations: &mut Vec<String>) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(sql)?;
    let columns = statement.column_count();
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let cells: Vec<String> = (0..columns).map(|column| cell(row, column)).collect::<Result<_, _>>()?;
        violations.push(format!("{meaning}: {}", cells.join(", ")));
    }
    Ok(())
}

fn cell(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    Ok(match row.get_ref(column)? {
        ValueRef::Null => "null".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(bytes) => format!("{} bytes", bytes.len()),
    })
}

fn count_rows(connection: &Connection) -> rusqlite::Result<BTreeMap<String, u64>> {
    let mut statement =
        connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")?;
    let names: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut counts = BTreeMap::new();
    for name in names {
        let count: i64 = connection.query_row(&format!("SELECT count(*) FROM {name}"), [], |row| row.get(0))?;
        counts.insert(name, u64::try_from(count).unwrap_or(0));
    }
    Ok(counts)
}

/// The chain is whole, and with the installation's key every seal is right.
fn check_audit(connection: &Connection, key: Option<&[u8; 32]>, violations: &mut Vec<String>) -> rusqlite::Result<()> {
    let counted = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'audit'), 0)";
    let counted: i64 = connection.query_row(counted, [], |row| row.get(0))?;
    let mut checker = Checker::new(key, None);
    let mut statement = connection.prepare(
        "SELECT seq, ts_ms, kind, actor, session, target, detail_hash, outcome, prev, hash, mac, salt, json
         FROM audit LEFT JOIN audit_detail USING (seq) ORDER BY seq",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let text = |column: usize| row.get::<_, String>(column);
        let (kind, actor, target, outcome) = (text(2)?, text(3)?, text(5)?, text(7)?);
        let (session, json): (Option<String>, Option<String>) = (row.get(4)?, row.get(12)?);
        let (hash, mac, salt): (Vec<u8>, Vec<u8>, Option<Vec<u8>>) = (row.get(9)?, row.get(10)?, row.get(11)?);
        let link = Link {
            seq: row.get::<_, i64>(0)?.unsigned_abs(),
            at: Timestamp(row.get(1)?),
            kind: &kind,
            actor: &actor,
            session: session.as_deref(),
            target: &target,
            detail: row.get(6)?,
            outcome: &outcome,
            prev: row.get(8)?,
        };
        let detail = salt.as_deref().zip(json.as_deref());
        checker.add(&StoredLink { link, hash: &hash, mac: &mac, detail });
    }
    if let Some(trouble) = checker.finish(counted.unsigned_abs()).trouble {
        violations.push(format!("I16 the audit log is broken: {trouble}"));
    }
    Ok(())
}

/// The header lists exactly the rows that are there, and each opens.
fn check_vault(connection: &Connection, kek: &[u8; 32], violations: &mut Vec<String>) -> rusqlite::Result<()> {
    let mut header = connection.prepare("SELECT bytes FROM vault_header")?;
    let Some(header) = header.query_map([], |row| row.get::<_, Vec<u8>>(0))?.next().transpose()? else {
        return Ok(());
    };
    let mut statement = connection.prepare(
        "SELECT name, version, scope, allowed_hosts, salt, nonce, ct, dek_version, created_at FROM vault ORDER BY name",
    )?;
    let rows = statement.query_map([], |row| {
        let hosts: String = row.get(3)?;
        Ok(SealedSecret {
            name: row.get(0)?,
            version: row.get(1)?,
            scope: row.get(2)?,
            allowed_hosts: serde_json::from_str(&hosts).unwrap_or_default(),
            salt: row.get(4)?,
            nonce: row.get(5)?,
            ct: row.get(6)?,
            dek_version: row.get(7)?,
            created: Timestamp(row.get(8)?),
        })
    })?;
    let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    if let Err(error) = OpenVault::open(kek, &header, rows) {
        violations.push(format!("I18 the vault is not as it was left: {error}"));
    }
    Ok(())
}

/// A stored message.
struct Message {
    session: i64,
    seq: i64,
    turn: i64,
    assistant: bool,
    parts: Vec<Part>,
    /// The turn is over.
    over: bool,
    /// The turn still has its tool runs.
    journal: bool,
}

/// The rules of a conversation: roles alternate (a turn may speak twice in a row, when the vendor paused it), a turn begins
/// with the person and, once it is over, ends with the model; every tool call has one run and one result in the next message.
fn check_conversations(connection: &Connection, violations: &mut Vec<String>) -> rusqlite::Result<()> {
    let messages = messages(connection, violations)?;
    let runs = tool_calls(connection)?;
    for (place, message) in messages.iter().enumerate() {
        let Message { session, seq, turn, .. } = message;
        let mut wrong = |rule: &str| violations.push(format!("I8 {rule}: session {session}, message {seq}"));
        let before = place.checked_sub(1).map(|before| &messages[before]).filter(|before| before.session == *session);
        let after = messages.get(place + 1).filter(|after| after.session == *session);
        let begins = before.is_none_or(|before| before.turn != *turn);
        let ends = after.is_none_or(|after| after.turn != *turn);
        if begins && message.assistant {
            wrong("a turn that begins with the model");
        }
        if !begins && !message.assistant && before.is_some_and(|before| !before.assistant) {
            wrong("two messages of the person in a row");
        }
        if ends && message.over && !message.assistant {
            wrong("a turn that is over and has no answer");
        }
        if message.parts.is_empty() {
            wrong("a message without parts");
        }
        let calls = calls(&message.parts);
        let answered = before.map(|before| self::calls(&before.parts)).unwrap_or_default();
        let results = results(&message.parts);
        if results.len() != results.iter().collect::<BTreeSet<_>>().len() {
            wrong("two results for one call");
        }
        if !results.iter().all(|result| answered.contains(result)) {
            wrong("a result without its call");
        }
        if !answered.iter().all(|call| results.contains(call)) {
            wrong("a call without its result in the next message");
        }
        if !calls.is_empty() && ends && message.over {
            wrong("a turn that ends with a tool call");
        }
        if message.journal {
            for call in calls {
                if !runs.contains(&(*session, *turn, call.to_string())) {
                    violations.push(format!("I5 a tool call without its run: session {session}, turn {turn}, {call}"));
                }
            }
        }
    }
    Ok(())
}

fn calls(parts: &[Part]) -> Vec<&CallId> {
    let call = |part: &'_ Part| matches!(part.body, Body::ToolCall { .. });
    parts.iter().filter(|part| call(part)).filter_map(call_id).collect()
}

fn results(parts: &[Part]) -> Vec<&CallId> {
    let result = |part: &'_ Part| matches!(part.body, Body::ToolResult { .. });
    parts.iter().filter(|part| result(part)).filter_map(call_id).collect()
}

fn call_id(part: &Part) -> Option<&CallId> {
    match &part.body {
        Body::ToolCall { id, .. } | Body::ToolResult { id, .. } => Some(id),
        Body::Text { .. } | Body::Image { .. } | Body::Document { .. } | Body::Opaque { .. } => None,
    }
}

fn messages(connection: &Connection, violations: &mut Vec<String>) -> rusqlite::Result<Vec<Message>> {
    let mut statement = connection.prepare(
        "SELECT messages.session, seq, messages.turn, role = 'assistant', parts, state = 'done', journal
         FROM messages JOIN turns USING (session, turn) ORDER BY 1, 2",
    )?;
    let mut rows = statement.query([])?;
    let mut messages = Vec::new();
    while let Some(row) = rows.next()? {
        let (session, seq): (i64, i64) = (row.get(0)?, row.get(1)?);
        let parts: String = row.get(4)?;
        let parts = serde_json::from_str(&parts).unwrap_or_else(|error| {
            violations.push(format!("I12 unreadable parts: session {session}, message {seq}: {error}"));
            Vec::new()
        });
        messages.push(Message {
            session,
            seq,
            turn: row.get(2)?,
            assistant: row.get(3)?,
            parts,
            over: row.get(5)?,
            journal: row.get(6)?,
        });
    }
    Ok(messages)
}

fn tool_calls(connection: &Connection) -> rusqlite::Result<BTreeSet<(i64, i64, String)>> {
    let mut statement = connection.prepare("SELECT session, turn, call_id FROM tool_runs")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    rows.collect()
}

/// The stored state of every turn is the fold of its steps.
fn check_journals(connection: &Connection, violations: &mut Vec<String>) -> rusqlite::Result<u64> {
    let mut turns = connection
        .prepare("SELECT session, turn, coalesce(outcome, 'running') FROM turns WHERE journal = 1 ORDER BY 1, 2")?;
    let mut rows = turns.query([])?;
    let mut folded = 0;
    while let Some(row) = rows.next()? {
        let (session, turn, stored): (i64, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let here = format!("session {session}, turn {}", TurnNumber(turn));
        match steps(connection, session, turn)? {
            Err(problem) => violations.push(format!("I15 {problem}: {here}")),
            Ok(steps) => match Turn::fold(&steps) {
                Err(stale) => violations.push(format!("I15 a journal that does not fold ({stale}): {here}")),
                Ok(state) => {
                    folded += 1;
                    let told = state.outcome().map_or("running", |outcome| outcome.as_str());
                    if told != stored {
                        violations.push(format!("I15 stored as {stored}, folded to {told}: {here}"));
                    }
                }
            },
        }
    }
    Ok(folded)
}

fn steps(connection: &Connection, session: i64, turn: i64) -> rusqlite::Result<Result<Vec<Step>, String>> {
    let mut statement = connection
        .prepare_cached("SELECT seq, at, boot, input FROM steps WHERE session = ?1 AND turn = ?2 ORDER BY seq")?;
    let mut rows = statement.query([session, turn])?;
    let mut steps: Vec<Step> = Vec::new();
    while let Some(row) = rows.next()? {
        let (seq, input): (u32, String) = (row.get(0)?, row.get(3)?);
        if u32::try_from(steps.len() + 1) != Ok(seq) {
            return Ok(Err(format!("a gap before step {seq}")));
        }
        match serde_json::from_str(&input) {
            Ok(input) => {
                let boot = blufio_core::ids::Boot(row.get(2)?);
                steps.push(Step { seq, at: Timestamp(row.get(1)?), boot, input });
            }
            Err(error) => return Ok(Err(format!("step {seq} is unreadable ({error})"))),
        }
    }
    Ok(Ok(steps))
}
