//! Saying something and following it to its answer, also across a restart of the server.
//!
//! A message has an id of its own, so it can be said again without being said twice. Its row in the inbox knows the answer;
//! the events of the session only make the waiting pleasant.

use super::display::Display;
use super::questions::Questions;
use crate::client::{CallError, Client, Heard};
use crate::failure::Failure;
use blufio_core::approval::Verdict;
use blufio_core::command::{self, Command};
use blufio_core::event::EventKind;
use blufio_core::ids::{ApprovalId, InboxId, SessionKey};
use blufio_core::money::MicroUsd;
use blufio_core::record::InboxView;
use blufio_runtime::Said;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long a server may be away.
const RETURN: Duration = Duration::from_secs(60);
/// Between two looks whether it is back.
const RETURN_LOOK: Duration = Duration::from_millis(200);
/// How often a full server is asked again.
const REFUSALS_MAX: u32 = 50;
/// Between two looks at the row of a message, in case an event was missed.
const LOOK: Duration = Duration::from_secs(2);
/// The same for commands, which answer without events.
const LOOK_COMMAND: Duration = Duration::from_millis(50);

/// A session, and the server that keeps it.
pub struct Conversation {
    /// The server.
    pub client: Client,
    /// The session.
    pub session: SessionKey,
    /// The server is another process, and may come back when it is gone.
    pub returns: bool,
    /// A person can type while an answer is waited for.
    pub typing: bool,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    view: InboxView,
    /// For an answer to a question: what became of it.
    decision: Option<Decision>,
}

/// What became of an answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    /// The question was open.
    Counts(Verdict),
    /// It was not, or there is none.
    Late,
}

impl Decision {
    const fn words(self) -> &'static str {
        match self {
            Self::Counts(Verdict::Allow) => "Allowed.",
            Self::Counts(Verdict::Always) => "Allowed, and always exactly this.",
            Self::Counts(Verdict::Deny) => "Denied.",
            Self::Late => "That question was answered before, or nobody waits for it any more.",
        }
    }
}

impl Answer {
    fn to_question(id: InboxId, decision: Decision) -> Self {
        let (state, outcome) = ("done".to_owned(), Some("decision".to_owned()));
        let view = InboxView { id, state, outcome, text: None, cost: MicroUsd::ZERO };
        Self { view, decision: Some(decision) }
    }

    /// How it ended: `reply`, `silent`, `stopped`, `error`, `poison`, `dropped`, or a command's word.
    pub fn outcome(&self) -> &str {
        match (self.view.state.as_str(), self.view.outcome.as_deref()) {
            ("dropped", _) => "dropped",
            (_, Some(outcome)) => outcome,
            (state, None) => state,
        }
    }

    /// What was asked for was done.
    pub fn is_good(&self) -> bool {
        let done = matches!(self.outcome(), "reply" | "silent" | "command" | "answer" | "stop" | "decision");
        done && self.decision != Some(Decision::Late)
    }

    /// What the person reads.
    pub fn text(&self) -> String {
        let dropped = || match self.view.outcome.as_deref() {
            Some("full") => {
                "(Too many of your messages are waiting. Say this again when they are answered.)".to_owned()
            }
            Some("by_owner") => "(Dropped, because you said /stop.)".to_owned(),
            Some("decision") => self.decision.map(Decision::words).unwrap_or_default().to_owned(),
            Some(reason) => format!("(Dropped: {reason}.)"),
            None => String::new(),
        };
        self.view.text.clone().unwrap_or_else(dropped)
    }

    /// For machines.
    pub fn json(&self, session: &SessionKey) -> Value {
        json!({
            "outcome": self.outcome(),
            "text": self.text(),
            "session": session,
            "inbox": self.view.id,
            "cost_micro_usd": self.view.cost,
        })
    }
}

/// A message whose answer is waited for.
struct Waiting {
    inbox: InboxId,
    /// Between two looks at its row.
    look: Duration,
    /// The person wants no answer any more.
    stopping: bool,
    questions: Questions,
}

/// Why following a message ended early.
enum Trouble {
    /// A call did not work; perhaps the next one does.
    Call(CallError),
    /// There is nothing to wait for.
    Over(Failure),
}

impl From<CallError> for Trouble {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Over(failure)
    }
}

impl Conversation {
    /// Says something and waits for its answer. Ctrl-C stops the answer, a second one stops the waiting.
    pub async fn ask(&self, text: &str, display: &mut Display<'_>) -> Result<Answer, Failure> {
        display.wait();
        let interrupts = signal(SignalKind::interrupt());
        let mut interrupts = interrupts.map_err(|error| Failure::internal("Ctrl-C cannot be received", &error))?;
        let decision = self.decision(text).await;
        let said = self.say(text, display, &mut interrupts).await?;
        if said.queued && said.killed {
            return Err(Failure {
                hint: Some("`blufio resume` lets things run again; the message waits until then".to_owned()),
                ..Failure::new("nothing runs: the kill switch is on", Failure::UNAVAILABLE)
            });
        }
        if let (Some(decision), false) = (decision, said.queued) {
            // It was carried out when it was taken; and the process may end with the turn that waited for it.
            return Ok(Answer::to_question(said.inbox, decision));
        }
        let look = if text.trim_start().starts_with('/') { LOOK_COMMAND } else { LOOK };
        let mut waiting = Waiting { inbox: said.inbox, look, stopping: false, questions: Questions::new(self.typing) };
        loop {
            match self.follow(&mut waiting, display, &mut interrupts).await {
                Ok(view) => return Ok(Answer { view, decision: None }),
                Err(Trouble::Call(error)) => self.come_back(error, display, &mut interrupts).await?,
                Err(Trouble::Over(failure)) => return Err(failure),
            }
        }
    }

    /// What will become of an answer to a question: its row in the inbox does not say, so the question is looked for before.
    async fn decision(&self, text: &str) -> Option<Decision> {
        let Some(Command::Approve(Some((id, verdict)))) = command::parse(text, None) else { return None };
        let open = self.client.approvals().await.ok()?;
        let counts = open.iter().any(|question| question.id == id);
        Some(if counts { Decision::Counts(verdict) } else { Decision::Late })
    }

    /// Says something else while an answer is waited for.
    async fn interject(&self, text: &str, display: &mut Display<'_>) -> Result<(), Trouble> {
        let decision = self.decision(text).await;
        let said = self.client.say(&self.session, &unique()?, text).await?;
        let words = match decision {
            _ if said.queued => "(that comes after this answer)".to_owned(),
            Some(decision) => decision.words().to_owned(),
            None => Answer { view: self.client.message(said.inbox).await?, decision }.text(),
        };
        Ok(display.say(&words)?)
    }

    async fn say(&self, text: &str, display: &mut Display<'_>, interrupts: &mut Signal) -> Result<Said, Failure> {
        let id = unique()?;
        let mut refusals = 0;
        loop {
            match self.client.say(&self.session, &id, text).await {
                Ok(said) => return Ok(said),
                Err(error) if error.is_unavailable() && refusals >= REFUSALS_MAX => return Err(error.into()),
                Err(error) => {
                    refusals += u32::from(error.is_unavailable());
                    self.come_back(error, display, interrupts).await?;
                }
            }
        }
    }

    /// Follows a message over one connection.
    async fn follow(
        &self,
        waiting: &mut Waiting,
        display: &mut Display<'_>,
        interrupts: &mut Signal,
    ) -> Result<InboxView, Trouble> {
        let inbox = waiting.inbox;
        let mut follower = self.client.follow(&self.session).await?;
        let mut look = tokio::time::interval(waiting.look);
        loop {
            let heard = tokio::select! {
                heard = follower.next() => Some(heard?),
                _ = look.tick() => None,
                line = waiting.questions.typed() => {
                    if Verdict::parse(&line.to_ascii_lowercase()).is_some() {
                        let open: Vec<ApprovalId> =
                            self.client.approvals().await?.into_iter().map(|question| question.id).collect();
                        waiting.questions.keep(&open);
                    }
                    match waiting.questions.meaning(&line) {
                        Ok(command) => self.interject(&command, display).await?,
                        Err(unclear) => display.say(unclear)?,
                    }
                    None
                }
                _ = interrupts.recv() => {
                    if waiting.stopping {
                        return Err(Failure::quiet(Failure::INTERRUPTED).into());
                    }
                    self.client.stop(&self.session).await?;
                    waiting.stopping = true;
                    None
                }
            };
            let perhaps_over = match heard {
                Some(Heard::Event(event)) if event.inbox == inbox => {
                    match &event.kind {
                        EventKind::Asked { question } => waiting.questions.ask(question, display)?,
                        other => display.take(other)?,
                    }
                    matches!(event.kind, EventKind::TurnDone { .. })
                }
                Some(Heard::Event(_)) => false,
                Some(Heard::Gap) => {
                    display.missed();
                    true
                }
                None => true,
            };
            if perhaps_over {
                let view = self.client.message(inbox).await?;
                if matches!(view.state.as_str(), "done" | "dropped" | "poison") {
                    return Ok(view);
                }
            }
        }
    }

    /// Waits for the server after an error that may pass; any other error is final.
    async fn come_back(
        &self,
        error: CallError,
        display: &mut Display<'_>,
        interrupts: &mut Signal,
    ) -> Result<(), Failure> {
        if !self.returns || !error.passes() {
            return Err(error.into());
        }
        if !error.is_unavailable() {
            display.lose()?;
        }
        let back = async {
            loop {
                tokio::time::sleep(RETURN_LOOK).await;
                if self.client.health().await.is_ok() {
                    return;
                }
            }
        };
        tokio::select! {
            back = tokio::time::timeout(RETURN, back) => back.map_err(|_| Failure {
                hint: Some("what was received is answered when it runs again; see `blufio session show`".to_owned()),
                ..Failure::new(format!("Blufio did not come back within {} seconds", RETURN.as_secs()), Failure::UNAVAILABLE)
            }),
            _ = interrupts.recv() => Err(Failure::quiet(Failure::INTERRUPTED)),
        }
    }
}

/// A name that no other message has.
fn unique() -> Result<String, Failure> {
    let bits = || getrandom::u64().map_err(|error| Failure::internal("the system gives no random numbers", &error));
    Ok(format!("{:016x}{:016x}", bits()?, bits()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(state: &str, outcome: Option<&str>, text: Option<&str>) -> Answer {
        let (outcome, text) = (outcome.map(str::to_owned), text.map(str::to_owned));
        let view = InboxView { id: InboxId(7), state: state.into(), outcome, text, cost: MicroUsd(12) };
        Answer { view, decision: None }
    }

    #[test]
    fn answers_for_people_and_machines() {
        let reply = answer("done", Some("reply"), Some("Hello."));
        assert!(reply.is_good());
        let expect =
            json!({"outcome": "reply", "text": "Hello.", "session": "local:main", "inbox": 7, "cost_micro_usd": 12});
        assert_eq!(reply.json(&SessionKey::new("local:main")), expect);
        assert!(answer("done", Some("command"), Some("New.")).is_good());
        for (state, outcome) in [("done", "error"), ("done", "stopped"), ("poison", "poison"), ("dropped", "full")] {
            assert!(!answer(state, Some(outcome), None).is_good(), "{outcome}");
        }
        let dropped = answer("dropped", Some("by_owner"), None);
        assert_eq!((dropped.outcome(), dropped.text().as_str()), ("dropped", "(Dropped, because you said /stop.)"));
        let decided = |decision| Answer::to_question(InboxId(7), decision);
        let allowed = decided(Decision::Counts(Verdict::Allow));
        assert_eq!((allowed.text().as_str(), allowed.is_good()), ("Allowed.", true));
        assert!(!decided(Decision::Late).is_good() && decided(Decision::Late).text().contains("answered before"));
    }
}
