//! Questions to an owner: written with the step that asks, answered at most once, and shown as answered where they were
//! asked. Whether a question may be asked, and what follows from its answer, is decided elsewhere. Both are recorded in the audit
//! log in the same transaction.

use crate::fault::{Done, broken, not_found};
use crate::{audit, grants, outbox, rows};
use blufio_core::approval::{Button, Verdict, approval_id, buttons, offers_always};
use blufio_core::audit::{AuditEntry, AuditKind};
use blufio_core::ids::{ApprovalId, CallId, ChannelName, OutboxId, SessionId, SessionKey, ToolName, TurnNumber};
use blufio_core::record::{ApprovalView, Committed, Decided, Draft, GivenUp, NewApproval, Payload, Rendered, Route};
use blufio_core::time::Timestamp;
use rusqlite::{Connection, params};
use serde_json::json;

/// The call that a question is about.
pub(crate) struct Call<'a> {
    pub(crate) session: SessionId,
    pub(crate) turn: TurnNumber,
    /// Tool and exact arguments, if they are written by the same commit.
    pub(crate) run: Option<(&'a str, &'a str)>,
}

/// Writes a question; `continues` is the row whose text it ends. Returns its row if that is for a shut chat.
pub(crate) fn ask(
    connection: &Connection,
    new: &NewApproval,
    call: &Call<'_>,
    continues: Option<OutboxId>,
    at: Timestamp,
) -> Done<Vec<GivenUp>> {
    let stored = "SELECT name, input FROM tool_runs WHERE session = ?1 AND turn = ?2 AND call_id = ?3";
    let here = params![call.session.0, call.turn.0, new.call.as_str()];
    let (tool, input): (String, String) = match call.run {
        Some((tool, input)) => (tool.to_owned(), input.to_owned()),
        None => rows::first(connection, stored, here, |row| Ok((row.get(0)?, row.get(1)?)))?
            .ok_or_else(|| broken(format!("a question about call {}, which is not there", new.call)))?,
    };
    let shown = new.shown.as_ref();
    rows::change(
        connection,
        "INSERT INTO approvals (id, session, turn, call_id, hash, tool, input, state, channel, account, chat,
                                question_rich, question_plain, created, expires, grant_hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'pending', ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        params![
            new.id.as_str(),
            call.session.0,
            call.turn.0,
            new.call.as_str(),
            new.hash,
            tool,
            input,
            shown.map(|route| route.channel.as_str()),
            shown.map(|route| route.account),
            shown.map(|route| route.chat),
            new.question.rich,
            new.question.plain,
            at.0,
            new.expires.0,
            new.grant,
        ],
    )?;
    record_question(connection, &new.id, None, at)?;
    let buttons = buttons(&new.id, new.grant.is_some());
    match shown {
        Some(route) => show(connection, &new.id, (route, &new.question, buttons), (continues, new.not_before), at),
        None => Ok(Vec::new()),
    }
}

/// Records that a question was asked; `instead` of which other one.
fn record_question(connection: &Connection, id: &ApprovalId, instead: Option<&ApprovalId>, at: Timestamp) -> Done<()> {
    let entry = rows::first(
        connection,
        "SELECT turns.principal_id, key, tool, input, approvals.turn, call_id, hash, expires, grant_hash
         FROM approvals JOIN turns USING (session, turn) JOIN sessions ON sessions.id = session WHERE approvals.id = ?1",
        [id.as_str()],
        |row| {
            let (tool, input, call): (String, String, String) = (row.get(2)?, row.get(3)?, row.get(5)?);
            let (turn, expires): (i64, i64) = (row.get(4)?, row.get(7)?);
            let (hash, grant): (String, Option<String>) = (row.get(6)?, row.get(8)?);
            Ok(AuditEntry {
                kind: AuditKind::ApprovalAsked,
                actor: row.get(0)?,
                session: Some(SessionKey::new(row.get::<_, String>(1)?)),
                target: target(id),
                outcome: "asked".to_owned(),
                detail: json!({
                    "tool": tool, "input": input, "turn": turn, "call": call, "hash": hash, "expires": expires,
                    "grant": grant, "instead": instead,
                }),
            })
        },
    )?;
    let entry = entry.ok_or_else(|| broken(format!("question {id} is of no turn")))?;
    audit::append(connection, &[entry], at)
}

fn target(id: &ApprovalId) -> String {
    format!("approval {id}")
}

/// Puts a question into the outbox. The row is of no session: what is said about it there is not said in the conversation
/// that asks, which may be somebody else's.
fn show(
    connection: &Connection,
    id: &ApprovalId,
    (route, question, buttons): (&Route, &Rendered, Vec<Button>),
    (continues, not_before): (Option<OutboxId>, Timestamp),
    at: Timestamp,
) -> Done<Vec<GivenUp>> {
    let payload = Payload::Question { approval: id.clone(), buttons };
    let draft = Draft { payload, not_before, ..Draft::text(route.clone(), question.clone()) };
    let reply = outbox::Reply { continues, ..outbox::Reply::default() };
    let Committed { outbox, given_up } = outbox::enqueue(connection, std::slice::from_ref(&draft), &reply, at)?;
    let row = outbox.first().map(|row| row.0);
    rows::change(connection, "UPDATE approvals SET outbox = ?2 WHERE id = ?1", params![id.as_str(), row])?;
    Ok(given_up)
}

/// An answer.
pub(crate) struct Decision<'a> {
    pub(crate) approval: &'a ApprovalId,
    pub(crate) verdict: Verdict,
    pub(crate) by: &'a str,
    /// Counts only from this message of this chat.
    pub(crate) at: Option<(i64, i64)>,
    pub(crate) channel: &'a ChannelName,
    pub(crate) account: i64,
}

/// Takes an answer if the question is open; the conversation that waits for it, or nothing. An "always" to a question that
/// did not offer it is no answer.
pub(crate) fn decide(connection: &Connection, decision: &Decision<'_>, now: Timestamp) -> Done<Option<SessionKey>> {
    let (state, word, outcome) = match decision.verdict {
        Verdict::Allow => ("approved", "Allowed by ", "allowed"),
        Verdict::Always => ("approved", "Always allowed by ", "always"),
        Verdict::Deny => ("denied", "Denied by ", "denied"),
    };
    let always = decision.verdict == Verdict::Always;
    // A quick press may come before it is booked under which number the question arrived: then the chat has to do.
    let (chat, message) = decision.at.unzip();
    let answered = rows::first(
        connection,
        "UPDATE approvals
         SET state = ?2, decided_at = ?3, decided_by = ?4, always = ?10,
             ending = ?5 || ?4 || strftime(' at %Y-%m-%d %H:%M UTC', ?3 / 1000, 'unixepoch')
         WHERE id = ?1 AND state = 'pending' AND expires > ?3 AND (?10 = 0 OR grant_hash IS NOT NULL)
           AND (?6 IS NULL OR (chat = ?6 AND coalesce(message_id, ?7) = ?7 AND channel = ?8 AND account = ?9))
         RETURNING (SELECT key FROM sessions WHERE sessions.id = approvals.session), tool, input, grant_hash",
        params![
            decision.approval.as_str(),
            state,
            now.0,
            decision.by,
            word,
            chat,
            message,
            decision.channel.as_str(),
            decision.account,
            always,
        ],
        |row| {
            let (session, tool, input): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok((SessionKey::new(session), tool, input, row.get::<_, Option<String>>(3)?))
        },
    )?;
    let Some((session, tool, input, grant)) = answered else { return Ok(None) };
    let entry = AuditEntry {
        kind: AuditKind::ApprovalDecided,
        actor: decision.by.to_owned(),
        session: Some(session.clone()),
        target: target(decision.approval),
        outcome: outcome.to_owned(),
        detail: json!({ "tool": tool, "channel": decision.channel, "account": decision.account }),
    };
    audit::append(connection, &[entry], now)?;
    if let Some(hash) = grant.filter(|_| always) {
        let (session, by) = (Some(session.clone()), decision.by);
        let always = grants::Always { session, tool: &tool, arguments: &input, hash: &hash, by };
        grants::make(connection, &always, now)?;
    }
    show_ending(connection, decision.approval, now)?;
    Ok(Some(session))
}

/// The answers to a turn's questions whose calls still wait.
pub(crate) fn decided(connection: &Connection, session: SessionId, turn: TurnNumber) -> Done<Vec<Decided>> {
    rows::all(
        connection,
        "SELECT call_id, approvals.state = 'approved', always, approvals.id, tool, approvals.input, hash
         FROM approvals JOIN tool_runs USING (session, turn, call_id)
         WHERE session = ?1 AND turn = ?2 AND approvals.state IN ('pending', 'approved', 'denied')
           AND approvals.state <> 'pending' AND tool_runs.state = 'awaiting_approval'
         ORDER BY decided_at, place",
        params![session.0, turn.0],
        |row| {
            let (call, allowed, always): (String, bool, bool) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let verdict = match (allowed, always) {
                (true, true) => Verdict::Always,
                (true, false) => Verdict::Allow,
                (false, _) => Verdict::Deny,
            };
            let (id, tool): (String, String) = (row.get(3)?, row.get(4)?);
            let (id, tool) = (ApprovalId::new(id), ToolName::new(tool));
            Ok(Decided { call: CallId::new(call), verdict, id, tool, input: row.get(5)?, hash: row.get(6)? })
        },
    )
}

/// Open questions, oldest first.
pub(crate) fn open(connection: &Connection, at: Timestamp) -> Done<Vec<ApprovalView>> {
    rows::all(
        connection,
        "SELECT approvals.id, key, tool, input, expires, turns.principal_id, created, hash, grant_hash IS NOT NULL
         FROM approvals JOIN turns USING (session, turn) JOIN sessions ON sessions.id = session
         WHERE approvals.state = 'pending' AND expires > ?1 ORDER BY created, approvals.id",
        [at.0],
        |row| {
            let (id, session, tool): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(ApprovalView {
                id: ApprovalId::new(id),
                session: SessionKey::new(session),
                tool: ToolName::new(tool),
                input: row.get(3)?,
                asked_by: row.get(5)?,
                asked: rows::time(row, 6)?,
                hash: row.get(7)?,
                grantable: row.get(8)?,
                expires: rows::time(row, 4)?,
            })
        },
    )
}

/// Nobody waits any more for the answers to a turn's open questions.
pub(crate) fn close(
    connection: &Connection,
    session: SessionId,
    turn: TurnNumber,
    why: &str,
    at: Timestamp,
) -> Done<()> {
    let closed = rows::all(
        connection,
        "UPDATE approvals SET state = iif(expires > ?4, 'closed', 'expired'), decided_at = ?4, ending = ?3
         WHERE session = ?1 AND turn = ?2 AND state = 'pending' RETURNING id",
        params![session.0, turn.0, why, at.0],
        |row| Ok(ApprovalId::new(row.get::<_, String>(0)?)),
    )?;
    closed.iter().try_for_each(|id| show_ending(connection, id, at))
}

/// A row of the outbox has arrived: if it shows a question, presses of this message count.
pub(crate) fn sent(connection: &Connection, row: OutboxId, message: i64, at: Timestamp) -> Done<()> {
    let shown = rows::first(
        connection,
        "UPDATE approvals SET message_id = ?2 WHERE outbox = ?1 RETURNING id",
        params![row.0, message],
        |row| Ok(ApprovalId::new(row.get::<_, String>(0)?)),
    )?;
    shown.map_or(Ok(()), |id| show_ending(connection, &id, at))
}

/// Where a question that is over is shown, the message says how it ended and loses its buttons. A question that was not sent
/// yet is not sent any more; one that is being sent is changed when it has arrived.
fn show_ending(connection: &Connection, id: &ApprovalId, at: Timestamp) -> Done<()> {
    rows::change(
        connection,
        "UPDATE outbox SET state = 'dead', error = 'over before it was sent', withdrawn = 1, done_at = ?2
         WHERE id = (SELECT outbox FROM approvals WHERE id = ?1 AND ending IS NOT NULL) AND state = 'queued'",
        params![id.as_str(), at.0],
    )?;
    let shown = rows::first(
        connection,
        "SELECT channel, account, chat, NULL, NULL, message_id, question_rich, question_plain, ending FROM approvals
         WHERE id = ?1 AND message_id IS NOT NULL AND ending IS NOT NULL",
        [id.as_str()],
        |row| {
            let (rich, plain, ending): (String, String, String) = (row.get(6)?, row.get(7)?, row.get(8)?);
            // The store knows no markup, so the line has nothing in it that could be any.
            let harmless = ending.replace(['<', '>', '&'], " ");
            let body = Rendered { rich: format!("{rich}\n\n{harmless}"), plain: format!("{plain}\n\n{ending}") };
            Ok(Draft { replaces: row.get(5)?, ..Draft::text(rows::route(row, 0)?, body) })
        },
    )?;
    if let Some(draft) = shown {
        outbox::enqueue(connection, &[draft], &outbox::Reply::default(), at)?;
    }
    Ok(())
}

/// A question of which nobody knows whether it arrived, and the one that is asked in its place.
pub(crate) struct Again<'a> {
    pub(crate) row: OutboxId,
    pub(crate) void: &'a ApprovalId,
    pub(crate) fresh: &'a ApprovalId,
    pub(crate) question: &'a Rendered,
    pub(crate) buttons: &'a [Button],
}

/// Asks again under another id, unless nobody waits for the answer any more.
pub(crate) fn ask_again(connection: &Connection, again: &Again<'_>, at: Timestamp) -> Done<()> {
    let Again { row, void, fresh, question, buttons } = *again;
    let place = rows::first(
        connection,
        "UPDATE outbox SET state = 'dead', error = 'asked again', withdrawn = 1, done_at = ?2
         WHERE id = ?1 AND state = 'sending' RETURNING channel, account, chat, thread, reply_to",
        params![row.0, at.0],
        |row| rows::route(row, 0),
    )?;
    let route = place.ok_or_else(|| not_found(format!("row {row} of the outbox is not being sent")))?;
    let voided = rows::change(
        connection,
        "UPDATE approvals SET state = 'superseded', decided_at = ?2, ending = 'This was asked again.'
         WHERE id = ?1 AND state = 'pending' AND expires > ?2",
        params![void.as_str(), at.0],
    )?;
    if voided == 0 {
        return Ok(());
    }
    rows::change(
        connection,
        "INSERT INTO approvals (id, session, turn, call_id, hash, tool, input, state, channel, account, chat,
                                question_rich, question_plain, created, expires, grant_hash)
         SELECT ?2, session, turn, call_id, hash, tool, input, 'pending', ?3, ?4, ?5, ?6, ?7, ?8, expires, grant_hash
         FROM approvals WHERE id = ?1",
        params![
            void.as_str(),
            fresh.as_str(),
            route.channel.as_str(),
            route.account,
            route.chat,
            question.rich,
            question.plain,
            at.0,
        ],
    )?;
    record_question(connection, fresh, Some(void), at)?;
    // It was just sent there, so the chat is open.
    show(connection, fresh, (&route, question, buttons.to_vec()), (None, Timestamp(0)), at).map(drop)
}

/// As [`ask_again`], under an id by SQLite's chance: the same words with the new id in the old one's place.
pub(crate) fn ask_again_by_chance(
    connection: &Connection,
    row: OutboxId,
    (void, shown): (&ApprovalId, &[Button]),
    body: &Rendered,
    at: Timestamp,
) -> Done<()> {
    let bits = "SELECT random(), random()";
    let bits: Option<[i64; 2]> = rows::first(connection, bits, [], |row| Ok([row.get(0)?, row.get(1)?]))?;
    let bits = bits.ok_or_else(|| broken("SQLite has no chance to give"))?;
    let fresh = approval_id(bits.map(i64::cast_unsigned));
    let renamed = |text: &str| text.replace(void.as_str(), fresh.as_str());
    let question = Rendered { rich: renamed(&body.rich), plain: renamed(&body.plain) };
    let buttons = buttons(&fresh, offers_always(shown));
    ask_again(connection, &Again { row, void, fresh: &fresh, question: &question, buttons: &buttons }, at)
}
