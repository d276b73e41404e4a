//! The steps of a session and the rows that follow from them, in the order in which they were decided.
//!
//! What does not fit the stored state (a step out of order, a turn that is not running) is a bug of the caller: the whole
//! commit is refused, so that the stored history stays one that can be continued.

use crate::fault::{Done, broken, not_found};
use crate::{approvals, audit, grants, outbox, overheard, rows};
use blufio_core::ids::{CallNumber, InboxId, OutboxId, SessionId, TurnNumber};
use blufio_core::limits::OUTBOX_PENDING_MAX;
use blufio_core::message::{Body, Usage};
use blufio_core::money::MicroUsd;
use blufio_core::port::StoreError;
use blufio_core::record::{
    CallCost, Commit, Committed, Epoch, GivenUp, NewApproval, NewMessage, OpenCall, Purpose, Record, Step, ToolRun,
    ToolState,
};
use blufio_core::session::{Input, JOURNAL_VERSION, Outcome, Trouble};
use blufio_core::time::Timestamp;
use rusqlite::{Connection, params};

/// The boot that the process is in.
const BOOT: &str = "(SELECT value FROM meta WHERE key = 'boot')";

pub(crate) fn commit(connection: &Connection, commit: &Commit) -> Done<Committed> {
    let turn = Turn { connection, session: commit.session, turn: commit.turn, at: commit.at, records: &commit.records };
    let mut committed = Committed::default();
    // Records first: the first of a turn creates the row that its steps belong to.
    // A question may need more than one message: its row ends the reply just before it, which is then given up as a whole.
    let mut before = None;
    for record in &commit.records {
        turn.record(record, before, &mut committed)?;
        before = match record {
            Record::Outbox { .. } => committed.outbox.last().copied(),
            Record::ToolRun(_) => before,
            _ => None,
        };
    }
    commit.steps.iter().try_for_each(|step| turn.step(step))?;
    audit::append(connection, &commit.audit, commit.at)?;
    Ok(committed)
}

/// The turn that a commit is about.
struct Turn<'a> {
    connection: &'a Connection,
    session: SessionId,
    turn: TurnNumber,
    at: Timestamp,
    records: &'a [Record],
}

impl Turn<'_> {
    fn record(&self, record: &Record, before: Option<OutboxId>, committed: &mut Committed) -> Done<()> {
        match record {
            Record::TurnOpened { inbox, also, deadline } => self.open(*inbox, also, *deadline),
            Record::Joined(rows) => self.join(rows),
            Record::Approval(new) => {
                committed.given_up.extend(self.approval(new, before)?);
                Ok(())
            }
            Record::GrantUsed { id, call } => {
                let usage = grants::Use { id: *id, session: self.session, turn: self.turn, call };
                grants::used(self.connection, &usage, self.at)
            }
            Record::ApprovalsClosed { why } => approvals::close(self.connection, self.session, self.turn, why, self.at),
            Record::Learned(seq) => self.one(
                "UPDATE sessions SET learned = max(learned, ?2) WHERE id = ?1",
                params![self.session.0, seq.0],
                "is of an unknown session",
            ),
            Record::ZoneChosen(zone) => self.one(
                "UPDATE sessions SET zone = ?2 WHERE id = ?1",
                params![self.session.0, zone],
                "is of an unknown session",
            ),
            Record::EffortChosen(effort) => self.one(
                "UPDATE sessions SET effort = ?2 WHERE id = ?1",
                params![self.session.0, effort],
                "is of an unknown session",
            ),
            Record::Epoch(epoch) => self.epoch(epoch),
            Record::Message(message) => self.message(message),
            Record::CallOpened(call) => self.call_opened(call, None),
            Record::SideCallOpened(call, purpose) => self.call_opened(call, Some(*purpose)),
            Record::CallClosed { call, cost, request, failure } => {
                self.call_closed(*call, *cost, request.as_deref(), failure.as_deref())
            }
            Record::ToolRun(run) => self.tool_run(run),
            Record::Outbox { drafts, first_sending } => {
                let reply = outbox::Reply {
                    session: Some(self.session),
                    turn: Some(self.turn),
                    first_sending: *first_sending,
                    continues: None,
                };
                let Committed { outbox, given_up } = outbox::enqueue(self.connection, drafts, &reply, self.at)?;
                committed.outbox.extend(outbox);
                committed.given_up.extend(given_up);
                Ok(())
            }
            Record::Placeholder { message } => self.one(
                "UPDATE turns SET placeholder = ?3 WHERE session = ?1 AND turn = ?2",
                params![self.session.0, self.turn.0, message],
                "does not exist",
            ),
            Record::TurnClosed { outcome, text } => self.close(outcome, text),
            Record::ModelChosen(model) => self.one(
                "UPDATE sessions SET model = ?2 WHERE id = ?1",
                params![self.session.0, model.as_ref().map(|model| model.as_str())],
                "is of an unknown session",
            ),
            Record::CommandDone { inbox, text } => self.command_done(*inbox, text),
        }
    }

    /// Claims the rows. One may have been dropped since it was read: then there is no turn, and the caller reads again. What
    /// was overheard before the last of them has been read.
    fn open(&self, inbox: InboxId, also: &[InboxId], deadline: Timestamp) -> Done<()> {
        if outbox::waiting(self.connection)? >= OUTBOX_PENDING_MAX {
            return Err(StoreError::Full("outbox").into());
        }
        self.claim(inbox, None)?;
        also.iter().try_for_each(|row| self.claim(*row, Some(inbox)))?;
        let last = also.iter().copied().fold(inbox, InboxId::max);
        overheard::consume(self.connection, self.session, last)?;
        self.one(
            "INSERT INTO turns (session, turn, inbox, principal_id, state, deadline, opened_at)
             SELECT ?1, ?2, id, principal_id, 'running', ?4, ?5 FROM inbox WHERE id = ?3",
            params![self.session.0, self.turn.0, inbox.0, deadline.0, self.at.0],
            "was not opened",
        )?;
        rows::change(
            self.connection,
            "UPDATE sessions SET principal_id = (SELECT principal_id FROM inbox WHERE id = ?2)
             WHERE id = ?1 AND principal_id IS NULL",
            params![self.session.0, inbox.0],
        )?;
        Ok(())
    }

    /// Claims a row, as the turn's own or as one that joins it.
    fn claim(&self, row: InboxId, joins: Option<InboxId>) -> Done<()> {
        let claimed = rows::change(
            self.connection,
            &format!(
                "UPDATE inbox SET state = 'claimed', claimed_boot = {BOOT}, joined = ?3
                 WHERE id = ?1 AND session = ?2 AND state = 'received'"
            ),
            params![row.0, self.session.0, joins.map(|joins| joins.0)],
        )?;
        if claimed == 1 { Ok(()) } else { Err(not_found(format!("row {row} of the inbox does not wait"))) }
    }

    /// What was overheard in between stays for the next turn, since this one has not read it.
    fn join(&self, joining: &[InboxId]) -> Done<()> {
        let main = "SELECT inbox FROM turns WHERE session = ?1 AND turn = ?2 AND state = 'running'";
        let here = params![self.session.0, self.turn.0];
        let main = rows::first(self.connection, main, here, |row| Ok(InboxId(row.get(0)?)))?;
        let main =
            main.ok_or_else(|| broken(format!("turn {} of session {} does not run", self.turn, self.session)))?;
        joining.iter().try_for_each(|row| self.claim(*row, Some(main)))
    }

    fn approval(&self, new: &NewApproval, continues: Option<OutboxId>) -> Done<Vec<GivenUp>> {
        // The call's own row may come later in the same commit.
        let run = self.records.iter().find_map(|record| match record {
            Record::ToolRun(run) if run.call == new.call => Some((run.name.as_str(), run.input.as_str())),
            _ => None,
        });
        let call = approvals::Call { session: self.session, turn: self.turn, run };
        approvals::ask(self.connection, new, &call, continues, self.at)
    }

    fn epoch(&self, epoch: &Epoch) -> Done<()> {
        rows::change(
            self.connection,
            "INSERT INTO epochs (session, number, provider, model, system, tools, first, cleared, summary, configured, private)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            params![
                self.session.0,
                epoch.number.0,
                epoch.provider,
                epoch.model.as_str(),
                &*epoch.system,
                &*epoch.tools,
                epoch.first.0,
                epoch.cleared.0,
                epoch.summary.as_ref().map(serde_json::to_string).transpose()?,
                epoch.configured,
                epoch.private
            ],
        )?;
        for (seq, bytes) in &epoch.wires {
            self.wire(epoch.number.0, seq.0, bytes)?;
        }
        Ok(())
    }

    fn wire(&self, epoch: i64, seq: i64, bytes: &[u8]) -> Done<()> {
        rows::change(
            self.connection,
            "INSERT INTO wire (session, epoch, seq, bytes) VALUES (?1, ?2, ?3, ?4)",
            params![self.session.0, epoch, seq, bytes],
        )?;
        Ok(())
    }

    fn message(&self, message: &NewMessage) -> Done<()> {
        self.one(
            "UPDATE sessions SET last_message = ?2, last_at = ?3 WHERE id = ?1 AND last_message = ?2 - 1",
            params![self.session.0, message.seq.0, self.at.0],
            "has a message out of order",
        )?;
        rows::change(
            self.connection,
            "INSERT INTO messages (session, seq, turn, role, parts, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                self.session.0,
                message.seq.0,
                self.turn.0,
                rows::role_word(message.role),
                rows::parts_text(&message.parts)?,
                self.at.0
            ],
        )?;
        for part in &message.parts {
            let attachment = match &part.body {
                Body::Image { attachment, .. } | Body::Document { attachment, .. } => attachment,
                Body::Text { .. } | Body::ToolCall { .. } | Body::ToolResult { .. } | Body::Opaque { .. } => continue,
            };
            rows::change(
                self.connection,
                "INSERT INTO message_attachments (session, seq, attachment) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                params![self.session.0, message.seq.0, attachment.as_str()],
            )?;
        }
        self.wire(message.epoch.0, message.seq.0, &message.wire)
    }

    fn call_opened(&self, call: &OpenCall, purpose: Option<Purpose>) -> Done<()> {
        // A turn makes its calls while it runs; a call beside it is made when it is over.
        let state = match purpose {
            None | Some(Purpose::Tool) => "running",
            Some(Purpose::Compaction | Purpose::Memory) => "done",
        };
        self.one(
            &format!(
                "INSERT INTO ledger (session, turn, call, principal_id, model, state, held, amount, prompt_tokens,
                                     max_tokens, boot, opened_at, reason, purpose)
                 SELECT session, turn, ?3, principal_id, ?4, 'held', ?5, ?5, ?6, ?7, {BOOT}, ?8, ?9, coalesce(?10, purpose)
                 FROM turns WHERE session = ?1 AND turn = ?2 AND state = ?11"
            ),
            params![
                self.session.0,
                self.turn.0,
                call.call.0,
                call.model.as_str(),
                rows::signed(call.held.0),
                rows::signed(call.prompt_tokens),
                call.max_tokens,
                call.at.0,
                call.reason.as_str(),
                purpose.map(Purpose::as_str),
                state
            ],
            "makes a call at the wrong time",
        )
    }

    fn call_closed(&self, call: CallNumber, cost: CallCost, request: Option<&str>, failure: Option<&str>) -> Done<()> {
        let (state, amount, usage): (_, _, Option<(Usage, MicroUsd)>) = match cost {
            CallCost::Settled { usage, cost, uncached } => ("settled", cost.0, Some((usage, uncached))),
            CallCost::Estimated { cost } => ("counted_estimate", cost.0, None),
            CallCost::Free => ("free", 0, None),
        };
        let uncached = usage.map(|(_, uncached)| rows::signed(uncached.0));
        let usage = usage.map(|(usage, _)| usage);
        let tokens = |pick: fn(&Usage) -> u64| usage.as_ref().map(pick).map(rows::signed);
        self.one(
            "UPDATE ledger SET state = ?4, amount = ?5, request = ?6, failure = ?7, closed_at = ?8, input = ?9,
                               cache_write_5m = ?10, cache_write_1h = ?11, cache_read = ?12, output = ?13,
                               uncached = ?14
             WHERE session = ?1 AND turn = ?2 AND call = ?3 AND state = 'held'",
            params![
                self.session.0,
                self.turn.0,
                call.0,
                state,
                rows::signed(amount),
                request,
                failure,
                self.at.0,
                tokens(|usage| usage.input),
                tokens(|usage| usage.cache_write_5m),
                tokens(|usage| usage.cache_write_1h),
                tokens(|usage| usage.cache_read),
                tokens(|usage| usage.output),
                uncached,
            ],
            "closes a call that is not open",
        )
    }

    fn tool_run(&self, run: &ToolRun) -> Done<()> {
        let (state, boot, content, error) = match &run.state {
            ToolState::Planned => ("planned", None, None, None),
            ToolState::AwaitingApproval => ("awaiting_approval", None, None, None),
            ToolState::Started(boot) => ("started", Some(boot.0), None, None),
            ToolState::Done { content, error } => ("done", None, Some(content.as_str()), Some(*error)),
            ToolState::Unknown => ("unknown", None, None, None),
        };
        self.one(
            "INSERT INTO tool_runs (session, turn, call_id, place, round, name, input, replay, state, boot, content, error,
                                    starts, bound)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?9 = 'started', ?13)
             ON CONFLICT (session, turn, call_id) DO UPDATE
             SET place = excluded.place, round = excluded.round, name = excluded.name, input = excluded.input,
                 replay = excluded.replay, state = excluded.state, boot = excluded.boot, content = excluded.content,
                 error = excluded.error, starts = starts + excluded.starts, bound = excluded.bound",
            params![
                self.session.0,
                self.turn.0,
                run.call.as_str(),
                run.place,
                run.round,
                run.name.as_str(),
                run.input,
                rows::replay_word(run.replay),
                state,
                boot,
                content,
                error,
                run.bound
            ],
            "has no such tool call",
        )
    }

    fn close(&self, outcome: &Outcome, text: &str) -> Done<()> {
        self.one(
            "UPDATE turns SET state = 'done', outcome = ?3, closed_at = ?4
             WHERE session = ?1 AND turn = ?2 AND state = 'running'",
            params![self.session.0, self.turn.0, outcome.as_str(), self.at.0],
            "does not run",
        )?;
        let state = if *outcome == Outcome::Error(Trouble::Poison) { "poison" } else { "done" };
        self.one(
            "UPDATE inbox SET state = ?3, outcome = ?4, claimed_boot = NULL, done_at = ?5, answer = ?6
             WHERE id = (SELECT inbox FROM turns WHERE session = ?1 AND turn = ?2) AND state = 'claimed'",
            params![self.session.0, self.turn.0, state, outcome.as_str(), self.at.0, text],
            "has no claimed row in the inbox",
        )?;
        rows::change(
            self.connection,
            "UPDATE inbox SET state = ?3, outcome = ?4, claimed_boot = NULL, done_at = ?5, answer = ?6
             WHERE joined = (SELECT inbox FROM turns WHERE session = ?1 AND turn = ?2) AND state = 'claimed'",
            params![self.session.0, self.turn.0, state, outcome.as_str(), self.at.0, text],
        )?;
        // Whatever ended the turn, nobody waits for an answer to its questions.
        approvals::close(self.connection, self.session, self.turn, "Nobody waits for an answer any more.", self.at)
    }

    fn command_done(&self, inbox: InboxId, text: &str) -> Done<()> {
        let closed = rows::change(
            self.connection,
            "UPDATE inbox SET state = 'done', outcome = 'command', done_at = ?3, answer = ?4
             WHERE id = ?1 AND session = ?2 AND state = 'received'",
            params![inbox.0, self.session.0, self.at.0, text],
        )?;
        if closed == 1 { Ok(()) } else { Err(not_found(format!("row {inbox} of the inbox does not wait"))) }
    }

    fn step(&self, step: &Step) -> Done<()> {
        let input = serde_json::to_string(&step.input)?;
        self.one(
            "INSERT INTO steps (session, turn, seq, at, boot, progress, version, input)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
             WHERE ?3 = (SELECT coalesce(max(seq), 0) + 1 FROM steps WHERE session = ?1 AND turn = ?2)",
            params![
                self.session.0,
                self.turn.0,
                step.seq,
                step.at.0,
                step.boot.0,
                is_progress(&step.input),
                JOURNAL_VERSION,
                input
            ],
            "has a step out of order",
        )
    }

    /// Runs a statement that must change exactly one row.
    fn one(&self, sql: &str, parameters: impl rusqlite::Params, problem: &str) -> Done<()> {
        match rows::change(self.connection, sql, parameters)? {
            1 => Ok(()),
            _ => Err(broken(format!("turn {} of session {} {problem}", self.turn, self.session))),
        }
    }
}

/// Whether the turn got anywhere by this step; taking it up again is not getting anywhere.
fn is_progress(input: &Input) -> bool {
    match input {
        Input::Admitted { .. } | Input::Restarted { .. } => false,
        Input::CallDone { .. }
        | Input::CallFailed { .. }
        | Input::ToolDone { .. }
        | Input::Decided { .. }
        | Input::Void { .. }
        | Input::Fired { .. }
        | Input::Stop
        | Input::Panicked => true,
    }
}
