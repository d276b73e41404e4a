//! What an actor needs to take a session up. Every read is by key or by the newest number, however long the session is.

use crate::fault::{Done, broken, not_found};
use crate::passages::UNINDEXED_SESSION;
use crate::rows;
use blufio_core::command::{self, Command};
use blufio_core::content::Content;
use blufio_core::context::caching::GAPS_MAX;
use blufio_core::ids::{
    Boot, CallId, CallNumber, EpochNumber, InboxId, MessageSeq, ModelId, SessionId, SessionKey, ToolName, TurnNumber,
};
use blufio_core::memory::Scope;
use blufio_core::money::MicroUsd;
use blufio_core::record::{
    Epoch, InboxRow, ModelReason, NeutralMessage, OpenCall, RunningTurn, Snapshot, Step, StoredMessage, ToolRun,
    ToolState,
};
use blufio_core::time::Timestamp;
use rusqlite::{Connection, Row, params};
use std::time::Duration;

/// Turns looked at for the last one that answered words of a person. More: there is nothing to answer again.
const REQUESTS_SEEN_MAX: u32 = 50;

pub(crate) fn snapshot(connection: &Connection, key: &SessionKey) -> Done<Option<Snapshot>> {
    let found = rows::first(
        connection,
        "SELECT id, model, stop_before, last_message,
                (SELECT coalesce(max(turn), 0) FROM turns WHERE session = sessions.id), zone,
                (SELECT coalesce(max(at), 0) FROM messages WHERE session = sessions.id AND seq = sessions.last_message),
                effort, learned,
                coalesce(iif(chat < 0, NULL, (SELECT principal_id FROM turns WHERE session = sessions.id ORDER BY turn DESC LIMIT 1)),
                         'chat:' || key)
         FROM sessions WHERE key = ?1",
        [key.as_str()],
        |row| {
            let model: Option<String> = row.get(1)?;
            Ok(Snapshot {
                id: SessionId(row.get(0)?),
                key: key.clone(),
                epoch: None,
                history: Vec::new(),
                last_message: MessageSeq(row.get(3)?),
                last_at: rows::time(row, 6)?,
                learned: MessageSeq(row.get(8)?),
                scope: Scope::stored(row.get(9)?),
                last_turn: TurnNumber(row.get(4)?),
                last_call: CallNumber(0),
                last_call_at: Timestamp(0),
                gaps: Vec::new(),
                model: model.map(ModelId::new),
                zone: row.get(5)?,
                effort: row.get(7)?,
                stop_before: InboxId(row.get(2)?),
                running: None,
            })
        },
    )?;
    let Some(snapshot) = found else { return Ok(None) };
    let epoch = epoch(connection, snapshot.id)?;
    let history = epoch.as_ref().map_or(Ok(Vec::new()), |epoch| history(connection, snapshot.id, epoch))?;
    let running = running(connection, snapshot.id)?;
    let last_call = last_call(connection, snapshot.id, snapshot.last_turn)?;
    let (gaps, last_call_at) = gaps(connection, snapshot.id)?;
    Ok(Some(Snapshot { epoch, history, running, last_call, last_call_at, gaps, ..snapshot }))
}

fn epoch(connection: &Connection, session: SessionId) -> Done<Option<Epoch>> {
    rows::first(
        connection,
        "SELECT number, provider, model, system, tools, first, cleared, summary, configured, private FROM epochs
         WHERE session = ?1 ORDER BY number DESC LIMIT 1",
        [session.0],
        |row| {
            let (model, summary): (String, Option<String>) = (row.get(2)?, row.get(7)?);
            Ok(Epoch {
                summary: summary.map(|text| serde_json::from_str(&text)).transpose()?,
                number: EpochNumber(row.get(0)?),
                provider: row.get(1)?,
                model: ModelId::new(model),
                system: rows::shared(row, 3)?,
                tools: rows::shared(row, 4)?,
                first: MessageSeq(row.get(5)?),
                cleared: MessageSeq(row.get(6)?),
                configured: row.get(8)?,
                private: row.get(9)?,
                wires: Vec::new(),
            })
        },
    )
}

fn history(connection: &Connection, session: SessionId, epoch: &Epoch) -> Done<Vec<StoredMessage>> {
    rows::all(
        connection,
        "SELECT wire.seq, messages.role, wire.bytes
         FROM wire JOIN messages ON messages.session = wire.session AND messages.seq = wire.seq
         WHERE wire.session = ?1 AND wire.epoch = ?2 AND wire.seq >= ?3 ORDER BY wire.seq",
        params![session.0, epoch.number.0, epoch.first.0],
        |row| {
            let role: String = row.get(1)?;
            Ok(StoredMessage { seq: MessageSeq(row.get(0)?), role: rows::role(&role)?, wire: rows::shared(row, 2)? })
        },
    )
}

/// The neutral parts of the messages from `first` on.
pub(crate) fn parts(connection: &Connection, session: SessionId, first: MessageSeq) -> Done<Vec<NeutralMessage>> {
    rows::all(
        connection,
        "SELECT seq, role, parts FROM messages WHERE session = ?1 AND seq >= ?2 ORDER BY seq",
        params![session.0, first.0],
        |row| {
            let (role, parts): (String, String) = (row.get(1)?, row.get(2)?);
            Ok(NeutralMessage { seq: MessageSeq(row.get(0)?), role: rows::role(&role)?, parts: rows::parts(&parts)? })
        },
    )
}

/// Conversations that rest since then and of which what is worth knowing was not written down, oldest first.
pub(crate) fn unlearned(connection: &Connection, before: Timestamp, limit: u32) -> Done<Vec<SessionKey>> {
    let sql = "SELECT key FROM sessions WHERE learned < last_message AND last_at < ?1 AND key <> ?2 ORDER BY last_at LIMIT ?3";
    rows::all(connection, sql, params![before.0, UNINDEXED_SESSION, limit], |row| {
        Ok(SessionKey::new(row.get::<_, String>(0)?))
    })
}

/// The waiting rows of a session, oldest first.
pub(crate) fn waiting(connection: &Connection, session: SessionId, limit: u32) -> Done<Vec<InboxRow>> {
    let columns = rows::INBOX_COLUMNS;
    let sql = format!("SELECT {columns} FROM inbox WHERE session = ?1 AND state = 'received' ORDER BY id LIMIT ?2");
    rows::all(connection, &sql, params![session.0, limit], rows::inbox_row)
}

/// What the newest turn answered whose message is still stored, with everything that was answered together with it; a command
/// is not what a person asked.
pub(crate) fn last_request(connection: &Connection, session: SessionId) -> Done<Option<Content>> {
    let newest = rows::all(
        connection,
        "SELECT inbox.id, inbox.content, inbox.text FROM turns JOIN inbox ON inbox.id = turns.inbox
         WHERE turns.session = ?1 AND (inbox.text <> '' OR inbox.content IS NOT NULL) ORDER BY turn DESC LIMIT ?2",
        params![session.0, REQUESTS_SEEN_MAX],
        |row| Ok((row.get::<_, i64>(0)?, rows::content(row.get(1)?, row.get(2)?)?)),
    )?;
    let said = |text: &str| matches!(command::parse(text, None), None | Some(Command::Only(_)));
    let asked = newest.into_iter().find(|(_, content)| said(&content.text));
    let Some((id, mut content)) = asked else { return Ok(None) };
    let pieces = rows::all(
        connection,
        "SELECT content, text FROM inbox WHERE joined = ?1 AND id <> ?1 ORDER BY id",
        [id],
        |row| rows::content(row.get(0)?, row.get(1)?),
    )?;
    for piece in pieces {
        let between = if content.text.is_empty() || piece.text.is_empty() { "" } else { "\n\n" };
        content.text = format!("{}{between}{}", content.text, piece.text);
        content.quotes.extend(piece.quotes);
        content.files.extend(piece.files);
    }
    Ok(Some(content))
}

fn running(connection: &Connection, session: SessionId) -> Done<Option<RunningTurn>> {
    let found = rows::first(
        connection,
        "SELECT turn, inbox, deadline, placeholder,
                (SELECT max(inbox.id) FROM inbox WHERE joined = turns.inbox)
         FROM turns WHERE session = ?1 AND state = 'running'",
        [session.0],
        |row| {
            let inbox: i64 = row.get(1)?;
            let last = row.get::<_, Option<i64>>(4)?.map_or(inbox, |joined| joined.max(inbox));
            Ok((TurnNumber(row.get(0)?), inbox, rows::time(row, 2)?, row.get::<_, Option<i64>>(3)?, InboxId(last)))
        },
    )?;
    let Some((turn, inbox, deadline, placeholder, last_inbox)) = found else { return Ok(None) };
    let sql = format!("SELECT {} FROM inbox WHERE id = ?1", rows::INBOX_COLUMNS);
    let inbox = rows::first(connection, &sql, [inbox], rows::inbox_row)?
        .ok_or_else(|| not_found(format!("row {inbox} of the inbox, which a turn runs for")))?;
    let calls = "SELECT call, model, held, prompt_tokens, max_tokens, opened_at, reason FROM ledger
                 WHERE session = ?1 AND turn = ?2 AND state = 'held' ORDER BY call";
    let here = params![session.0, turn.0];
    Ok(Some(RunningTurn {
        turn,
        inbox,
        last_inbox,
        deadline,
        // A journal of another version must not shut the session; without one the turn is closed.
        steps: steps(connection, session, turn).unwrap_or_else(|fault| {
            let error = blufio_core::port::StoreError::from(fault);
            tracing::error!(session = session.0, turn = turn.0, %error, "the journal of a turn cannot be read");
            Vec::new()
        }),
        tools: tools(connection, session, turn)?,
        said: said(connection, session, turn)?,
        last_call: last_call(connection, session, turn)?,
        open_calls: rows::all(connection, calls, here, open_call)?,
        placeholder,
    }))
}

fn last_call(connection: &Connection, session: SessionId, turn: TurnNumber) -> Done<CallNumber> {
    let sql = "SELECT coalesce(max(call), 0) FROM ledger WHERE session = ?1 AND turn = ?2";
    Ok(CallNumber(rows::first(connection, sql, params![session.0, turn.0], |row| Ok(row.get(0)?))?.unwrap_or(0)))
}

/// How long each of the last turns came after the one before, and when the last call was.
fn gaps(connection: &Connection, session: SessionId) -> Done<(Vec<Duration>, Timestamp)> {
    let mut turns = rows::all(
        connection,
        "SELECT min(opened_at), max(opened_at) FROM ledger WHERE session = ?1 AND purpose = 'chat'
         GROUP BY turn ORDER BY turn DESC LIMIT ?2",
        params![session.0, i64::try_from(GAPS_MAX).unwrap_or(i64::MAX).saturating_add(1)],
        |row| Ok((rows::time(row, 0)?, rows::time(row, 1)?)),
    )?;
    turns.reverse();
    let gaps = turns.iter().zip(turns.iter().skip(1)).map(|((_, before), (next, _))| next.since(*before)).collect();
    Ok((gaps, turns.last().map_or(Timestamp(0), |(_, last)| *last)))
}

/// The journal of a turn.
pub(crate) fn steps(connection: &Connection, session: SessionId, turn: TurnNumber) -> Done<Vec<Step>> {
    rows::all(
        connection,
        "SELECT seq, at, boot, input FROM steps WHERE session = ?1 AND turn = ?2 ORDER BY seq",
        params![session.0, turn.0],
        |row| {
            let input: String = row.get(3)?;
            Ok(Step {
                seq: row.get(0)?,
                at: Timestamp(row.get(1)?),
                boot: Boot(row.get(2)?),
                input: serde_json::from_str(&input)?,
            })
        },
    )
}

/// The parts of the assistant messages that a turn has committed.
pub(crate) fn said(
    connection: &Connection,
    session: SessionId,
    turn: TurnNumber,
) -> Done<Vec<Vec<blufio_core::message::Part>>> {
    rows::all(
        connection,
        "SELECT parts FROM messages WHERE session = ?1 AND turn = ?2 AND role = 'assistant' ORDER BY seq",
        params![session.0, turn.0],
        |row| {
            let parts: String = row.get(0)?;
            rows::parts(&parts)
        },
    )
}

fn tools(connection: &Connection, session: SessionId, turn: TurnNumber) -> Done<Vec<ToolRun>> {
    rows::all(
        connection,
        "SELECT call_id, place, round, name, input, replay, state, boot, content, error, bound FROM tool_runs
         WHERE session = ?1 AND turn = ?2 ORDER BY round, place",
        params![session.0, turn.0],
        tool_run,
    )
}

fn tool_run(row: &Row<'_>) -> Done<ToolRun> {
    let (call, name): (String, String) = (row.get(0)?, row.get(3)?);
    let (replay, state): (String, String) = (row.get(5)?, row.get(6)?);
    let state = match state.as_str() {
        "planned" => ToolState::Planned,
        "awaiting_approval" => ToolState::AwaitingApproval,
        "started" => ToolState::Started(Boot(row.get(7)?)),
        "done" => ToolState::Done { content: row.get(8)?, error: row.get(9)? },
        "unknown" => ToolState::Unknown,
        other => return Err(broken(format!("`{other}` is not a state of a tool call"))),
    };
    Ok(ToolRun {
        call: CallId::new(call),
        place: row.get(1)?,
        round: row.get(2)?,
        name: ToolName::new(name),
        input: row.get(4)?,
        replay: rows::replay(&replay)?,
        bound: row.get(10)?,
        state,
    })
}

fn open_call(row: &Row<'_>) -> Done<OpenCall> {
    let (model, reason): (String, String) = (row.get(1)?, row.get(6)?);
    Ok(OpenCall {
        // A word of a newer version says no more than that there was a reason.
        reason: ModelReason::parse(&reason).unwrap_or(ModelReason::Usual),
        call: CallNumber(row.get(0)?),
        model: ModelId::new(model),
        held: MicroUsd(rows::unsigned(row, 2)?),
        prompt_tokens: rows::unsigned(row, 3)?,
        max_tokens: row.get(4)?,
        at: rows::time(row, 5)?,
    })
}
