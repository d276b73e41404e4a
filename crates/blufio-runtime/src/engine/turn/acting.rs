//! Commit, then act: the rows of a step become durable, and only then anything happens.

use super::{News, Run};
use crate::dispatch::Permit;
use crate::engine::Engine;
use crate::engine::consent::actor;
use crate::engine::toolwork::{Place, run_tool};
use crate::sessions::Progress;
use blufio_core::audit::{AuditEntry, AuditKind};
use blufio_core::event::EventKind;
use blufio_core::failpoint::{Failpoint, hit};
use blufio_core::ids::{CallId, ModelId, SessionKey};
use blufio_core::port::{Boxed, Failure, Hop, HopEnd, Hops, Prompt, ProviderError, StoreError};
use blufio_core::record::{Commit, Committed, OutboxRow, Record, Step, ToolRun};
use blufio_core::session::{Input, Outcome};
use blufio_core::time::Timestamp;
use serde_json::json;
use std::time::Duration;

/// How often a commit is tried that fails for another reason than a full disk.
const COMMIT_TRIES: u32 = 5;

/// Something that happens once its step is committed.
pub(in crate::engine) enum Action {
    Call(Prompt),
    /// The vendor counts a prompt.
    Count(Boxed<'static, News>),
    Refused(Failure, ModelId),
    Tool(ToolRun),
    /// An owner is asked.
    Ask(String),
    /// A message that nothing will replace goes.
    Remove(i64),
    /// The turn is over. `sending`: its first row goes out at once; `waiting`: others are in the outbox.
    Finished {
        outcome: Outcome,
        text: String,
        sending: Option<(Permit, OutboxRow)>,
        waiting: bool,
    },
}

impl Run<'_> {
    pub(super) async fn commit(&mut self, step: Option<(Input, Timestamp)>) -> Result<(), StoreError> {
        let mut records = std::mem::take(&mut self.records);
        let changed = std::mem::take(&mut self.changed);
        let runs = self.tools.iter().filter(|run| changed.contains(&run.call)).cloned().map(Record::ToolRun);
        // Tool rows come before the end of the turn and after the message that asked for them.
        let after_tools =
            |record: &Record| matches!(record, Record::Outbox { .. } | Record::Approval(_) | Record::TurnClosed { .. });
        let end = records.iter().position(after_tools);
        let tail = records.split_off(end.unwrap_or(records.len()));
        records.extend(runs);
        records.extend(tail);
        let at = self.now();
        let mut steps = Vec::new();
        if let Some((input, at)) = step {
            self.steps += 1;
            steps.push(Step { seq: self.steps, at, boot: self.engine.boot, input });
        }
        let commit = Commit {
            session: self.session.id,
            turn: self.number,
            steps,
            records,
            audit: std::mem::take(&mut self.audit),
            at,
        };
        hit(Failpoint::StepBeforeCommit);
        let committed = commit_durably(self.engine, &self.session.key, commit).await?;
        hit(Failpoint::StepAfterCommit);
        let progress = self.engine.adapters.clock.monotonic();
        let progress = if self.turn.is_asking() { Progress::Asking } else { Progress::At(progress) };
        self.engine.sessions.running(&self.session.key, Some(progress));
        if std::mem::take(&mut self.poke_all) {
            self.engine.dispatchers.values().for_each(|dispatcher| dispatcher.poke_all());
        }
        for lost in &committed.given_up {
            self.engine.herald.say(crate::herald::News::undelivered(lost.chat, &lost.reason));
        }
        for action in std::mem::take(&mut self.actions) {
            self.act(action, &committed).await;
        }
        Ok(())
    }

    /// Writes down, with the step that follows, which places a call has asked and from which it was kept.
    pub(super) fn record_egress(&mut self, call: &CallId) {
        let Some(place) = self.hops.iter().position(|(of, _)| of == call) else { return };
        let (call, hops) = self.hops.swap_remove(place);
        let tool = self.tools.iter().find(|run| run.call == call).map(|run| run.name.clone());
        for Hop { origin, end } in hops.take() {
            let (outcome, why) = match end {
                HopEnd::Answered => ("fetched", None),
                HopEnd::Unanswered => ("unanswered", None),
                HopEnd::Refused(why) => ("refused", Some(why)),
            };
            self.audit.push(AuditEntry {
                kind: AuditKind::Egress,
                actor: actor(&self.row.principal),
                session: Some(self.session.key.clone()),
                // Whoever leads us there may have put anything into the name.
                target: self.engine.settings.leaks.redact(&origin).into_owned(),
                outcome: outcome.to_owned(),
                detail: json!({ "tool": tool, "turn": self.number, "call": call, "why": why }),
            });
        }
    }

    async fn act(&mut self, action: Action, committed: &Committed) {
        match action {
            Action::Call(prompt) => {
                let (provider, sink) =
                    (self.engine.adapters.provider.clone(), self.live.sink(&self.engine.settings.leaks));
                // What a server says of a failed call is written down and told, and may repeat what was sent to it.
                let leaks = self.engine.settings.leaks.clone();
                let clean = move |error: ProviderError| {
                    let message = leaks.redact(&error.message).into_owned();
                    ProviderError { message, ..error }
                };
                self.news
                    .push(Box::pin(async move { News::Call(provider.complete(prompt, sink).await.map_err(clean)) }));
            }
            Action::Count(counting) => self.news.push(counting),
            Action::Refused(failure, model) => {
                let why = if failure == Failure::OverBudget {
                    "a budget has no room for it"
                } else {
                    "its price is not known"
                };
                let message = format!("`{model}` is not called: {why}");
                let error =
                    ProviderError { failure, message, retry_after: None, request: None, reached: false, usage: None };
                self.news.push(Box::pin(async move { News::Call(Err(error)) }));
            }
            Action::Tool(run) => {
                self.live.publish(EventKind::ToolStarted { tool: run.name.clone() });
                hit(Failpoint::ToolBeforeRun);
                let zone = self.session.zone.clone();
                let sends_files = self.engine.dispatchers.contains_key(&self.row.route.channel);
                let key = self.key_of(&run.call);
                let hops = Hops::default();
                self.hops.push((run.call.clone(), hops.clone()));
                let asker = self.asker();
                let place = Place { session: self.session.id, key, zone, sends_files, hops, asker };
                self.news.push(run_tool(self.engine, run, place));
            }
            Action::Ask(question) => self.live.publish(EventKind::Asked { question }),
            Action::Remove(message) => {
                if let Some(channel) = self.engine.adapters.channels.get(&self.row.route.channel).cloned() {
                    let route = self.row.route.clone();
                    drop(self.engine.tasks.spawn("placeholder", async move { channel.remove(&route, message).await }));
                }
            }
            Action::Finished { outcome, text, sending, waiting } => {
                self.news.clear();
                let word = outcome.as_str();
                metrics::counter!("blufio_turns_total", "outcome" => word).increment(1);
                tracing::info!(session = %self.session.key, turn = %self.number, outcome = word, "turn over");
                let first = committed.outbox.first().copied();
                let sent = first.filter(|first| committed.given_up.iter().all(|lost| lost.id != *first));
                if let Some(((permit, row), id)) = sending.zip(sent) {
                    permit.hand_over(id, row).await;
                }
                // After the commit: a look at the outbox before it would find nothing, and nobody would look again.
                if waiting && let Some(dispatcher) = self.engine.dispatchers.get(&self.row.route.channel) {
                    dispatcher.poke(&self.row.route);
                }
                for joined in &self.joined {
                    let done = EventKind::TurnDone { outcome: word.to_owned(), text: text.clone() };
                    self.engine.hub.publish(&self.session.key, *joined, done);
                }
                self.live.publish(EventKind::TurnDone { outcome: word.to_owned(), text });
                self.engine.sessions.running(&self.session.key, None);
                self.engine.money.turn_over(self.session.id, self.number, self.now());
                self.engine.adapters.memory.ring();
            }
        }
    }
}

/// A full disk is waited for; anything else is tried a few times.
async fn commit_durably(engine: &Engine, session: &SessionKey, commit: Commit) -> Result<Committed, StoreError> {
    let mut tries = 0;
    loop {
        match engine.adapters.storage.commit(commit.clone()).await {
            Ok(committed) => return Ok(committed),
            Err(StoreError::DiskFull) if !engine.is_draining() => {
                tracing::error!(%session, "no space left on the disk; the turn waits");
            }
            Err(StoreError::Broken(error)) if tries < COMMIT_TRIES => {
                tries += 1;
                tracing::error!(%session, error, tries, "a step could not be written");
            }
            Err(error) => return Err(error),
        }
        engine.adapters.clock.sleep(Duration::from_secs(1)).await;
    }
}
