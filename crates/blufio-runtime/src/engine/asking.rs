//! Asking an owner before a tool runs, and hearing the answer.

use super::consent::Judgement;
use super::turn::{Action, Run};
use super::{Engine, Settings, toolwork};
use crate::quiet;
use blufio_core::access::Principal;
use blufio_core::approval::{self, Question, Verdict};
use blufio_core::content::OutgoingFile;
use blufio_core::ids::{CallId, SessionId, TurnNumber};
use blufio_core::limits::{APPROVALS_OPEN_MAX, APPROVALS_PER_HOUR_MAX};
use blufio_core::policy::{POLICY_VERSION, Rule};
use blufio_core::port::StoreError;
use blufio_core::record::{ApprovalView, Decided, NewApproval, Payload, Query, Record, Rendered, Route, ToolRun, View};
use blufio_core::session::Input;
use blufio_core::time::Timestamp;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Whose wishes a question is about. Each kind has its own share of the owners' attention, so that nobody else can use up
/// what is the owners' own, and all others together cannot ask without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    Owner,
    Other,
}

impl Asker {
    fn of(principal: &Principal) -> Self {
        if *principal == Principal::Owner { Self::Owner } else { Self::Other }
    }
}

/// The questions of the last hour, by when they were asked (monotonic clock).
#[derive(Default)]
pub(crate) struct Questions(Mutex<VecDeque<(Duration, Asker)>>);

impl Questions {
    fn asked(&self, asker: Asker, now: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back((now, asker));
    }

    fn left(&self, asker: Asker, now: Duration) -> u32 {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while asked.front().is_some_and(|(at, _)| now.saturating_sub(*at) >= Duration::from_secs(3_600)) {
            asked.pop_front();
        }
        let asked = asked.iter().filter(|(_, by)| *by == asker).count();
        APPROVALS_PER_HOUR_MAX.saturating_sub(u32::try_from(asked).unwrap_or(u32::MAX))
    }
}

/// How many questions may be asked now about what this principal wants.
pub(super) async fn questions_left(engine: &Engine, principal: &Principal) -> Result<u32, StoreError> {
    let asker = Asker::of(principal);
    let owners = super::consent::actor(&Principal::Owner);
    let same = |open: &&ApprovalView| (open.asked_by == owners) == (asker == Asker::Owner);
    let open = match engine.adapters.storage.view(Query::Approvals, engine.adapters.clock.now()).await? {
        View::Approvals(open) => u32::try_from(open.iter().filter(same).count()).unwrap_or(u32::MAX),
        _ => return Err(StoreError::Broken("the store answered another question".to_owned())),
    };
    let left = engine.questions.left(asker, engine.adapters.clock.monotonic());
    Ok(APPROVALS_OPEN_MAX.saturating_sub(open).min(left))
}

/// When an owner may be asked about what somebody wants, if not at once: who writes themselves is awake.
pub(super) async fn rested(engine: &Engine, principal: &Principal) -> Option<Timestamp> {
    if *principal == Principal::Owner {
        return None;
    }
    let Settings { quiet, timezone, .. } = &engine.settings;
    let end = quiet::end(quiet.as_ref(), timezone.clone(), engine.adapters.clock.now()).await;
    (end.0 > 0).then_some(end)
}

impl Run<'_> {
    /// The rows of a question.
    pub(super) async fn ask(&mut self, call: &CallId) {
        let Some(run) = self.tools.iter().find(|run| run.call == *call).cloned() else { return };
        let rng = &self.engine.adapters.rng;
        let id = approval::approval_id([rng.bits(), rng.bits()]);
        let hash = bound(&run, self.session.id, self.number);
        let arguments = toolwork::pretty(&run.input);
        let judged = self.judged(call);
        let rule = match judged.map(|judged| &judged.judgement) {
            Some(Judgement::Ask(rule)) => *rule,
            Some(Judgement::Run(_) | Judgement::Refuse(_)) | None => Rule::AlwaysAsked,
        };
        let grant = judged.and_then(|judged| judged.grant.clone());
        let text = approval::question(&Question {
            id: &id,
            reason: rule.reason(),
            tool: run.name.as_str(),
            arguments: &arguments,
            hash: &hash,
            grantable: grant.is_some(),
        });
        let shown = self.owners_route();
        let mut chunks = shown.as_ref().map_or_else(Vec::new, |route| self.engine.drafts(route, &text, None));
        // The last one carries the buttons; without a chat to ask in, the text is only listed.
        let question =
            chunks.pop().map_or_else(|| Rendered { rich: String::new(), plain: text.clone() }, |last| last.body);
        let not_before = self.ask_from.unwrap_or(Timestamp(0));
        // All of it waits, and is passed by what is said meanwhile.
        chunks.iter_mut().for_each(|draft| {
            draft.not_before = not_before;
            if not_before.0 > 0 {
                draft.payload = Payload::Notice;
            }
        });
        if !chunks.is_empty() {
            self.records.push(Record::Outbox { drafts: chunks, first_sending: false });
        }
        let expires = approval::open_until(self.now(), self.ask_from);
        let call = call.clone();
        self.records.push(Record::Approval(NewApproval {
            id,
            call,
            hash,
            grant,
            shown,
            question,
            not_before,
            expires,
        }));
        self.engine.questions.asked(Asker::of(&self.row.principal), self.engine.adapters.clock.monotonic());
        self.actions.push(Action::Ask(text));
        self.poke_all = true;
    }

    /// Takes the answers that have been given.
    pub(super) async fn take_decisions(&mut self) -> Result<(), StoreError> {
        for decided in self.engine.adapters.storage.decisions(self.session.id, self.number).await? {
            let input = match self.record_answer(&decided) {
                Held::Yes => Input::Decided { call: decided.call, verdict: decided.verdict },
                Held::No => Input::Void { call: decided.call },
            };
            self.apply(input).await?;
        }
        Ok(())
    }

    /// Whether what waits is what the owner was asked about. What runs because of the answer, or does not, is written down
    /// with the step that follows.
    fn record_answer(&mut self, decided: &Decided) -> Held {
        let run = self.tools.iter().find(|run| run.call == decided.call);
        let same = run.is_some_and(|run| {
            let bound = bound(run, self.session.id, self.number);
            (&decided.tool, &decided.input, &decided.hash) == (&run.name, &run.input, &bound)
        });
        let outcome = match (same, decided.verdict) {
            (true, Verdict::Deny) => return Held::Yes,
            (true, Verdict::Allow | Verdict::Always) => "approved",
            (false, _) => {
                tracing::error!(approval = %decided.id, "a call that waited is not what the owner was asked about; it does not run");
                "changed"
            }
        };
        let (name, input) = run.map_or((&decided.tool, &decided.input), |run| (&run.name, &run.input));
        let extra = json!({ "approval": decided.id });
        let entry = self.tool_entry((name, input, &decided.call), outcome, extra);
        self.audit.push(entry);
        if same { Held::Yes } else { Held::No }
    }

    /// The private conversation of the owner who is asked: the one who wrote this message, else the first there is.
    fn owners_route(&self) -> Option<Route> {
        let (channels, here) = (&self.engine.adapters.channels, &self.row.route);
        let writer = self.row.user.filter(|_| self.row.principal == Principal::Owner);
        if let Some(private) = writer.and_then(|user| channels.get(&here.channel)?.private_route(user)) {
            // Written there: in the same topic.
            let same = private.chat == here.chat;
            return Some(if same { Route { reply_to: None, ..here.clone() } } else { private });
        }
        channels.iter().find_map(|(name, channel)| {
            let owners = self.engine.rules(name, channel.account()?).all_owners();
            channel.private_route(*owners.first()?)
        })
    }
}

/// Whether an answer holds for the call that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Yes,
    No,
}

/// A text as a file to send; `None` if it cannot be stored, which is logged.
pub(super) async fn stored(engine: &Engine, name: &str, text: String) -> Option<OutgoingFile> {
    let (blobs, bytes) = (engine.adapters.blobs.clone(), text.len() as u64);
    match crate::tasks::blocking(move || blobs.put(text.as_bytes())).await? {
        Ok(attachment) => Some(OutgoingFile {
            attachment,
            name: name.to_owned(),
            media_type: "text/plain".to_owned(),
            bytes,
            picture: false,
        }),
        Err(error) => {
            tracing::error!(%error, name, "a text could not be stored as a file");
            None
        }
    }
}

/// What an answer is bound to: exactly this call of exactly this turn, under the rules by which it was asked about.
fn bound(run: &ToolRun, session: SessionId, turn: TurnNumber) -> String {
    let bound = run.bound.as_deref().unwrap_or_default();
    let text = format!("{POLICY_VERSION}\0{}\0{}\0{session}\0{turn}\0{}\0{bound}", run.name, run.input, run.call);
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}
