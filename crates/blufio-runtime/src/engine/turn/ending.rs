//! How a turn's answer leaves: what a preview left in the chat, the text, and the rows that carry it.

use super::{Action, News, Run};
use crate::engine::live::Previews;
use crate::engine::prefix::is_look;
use crate::engine::{ErrorPolicy, asking};
use blufio_core::heartbeat;
use blufio_core::ids::OutboxId;
use blufio_core::limits::REPLY_CHUNKS_MAX;
use blufio_core::port::{Boxed, Failure, PreviewOutcome};
use blufio_core::record::{Draft, OutboxRow, Payload, Record, Rendered, Route};
use blufio_core::session::{Note, Notice, Outcome, Trouble};
use blufio_core::time::Timestamp;
use std::time::Duration;

impl Run<'_> {
    /// Lets a preview that is on its way arrive, so that the answer can replace it. One that takes too long is removed when
    /// it has arrived.
    pub(super) async fn settle_preview(&mut self, most: Duration) {
        let sending = self.previews.as_ref().is_some_and(Previews::is_sending);
        let Some(mut showing) = self.showing.take() else { return };
        if !sending {
            return;
        }
        let shown = tokio::select! {
            news = &mut showing => placed(news),
            () = self.engine.adapters.clock.sleep(most) => {
                self.remove_later(showing);
                None
            }
        };
        if let Some(message) = shown.filter(|message| self.placeholder != Some(*message)) {
            self.placeholder = Some(message);
            self.records.push(Record::Placeholder { message });
        }
    }

    /// Takes a message away that appears after its turn.
    fn remove_later(&self, showing: Boxed<'static, News>) {
        let channel = self.engine.adapters.channels.get(&self.row.route.channel).cloned();
        let (route, known) = (self.row.route.clone(), self.placeholder);
        let removal = async move {
            if let Some(message) = placed(showing.await).filter(|message| known != Some(*message))
                && let Some(channel) = channel
            {
                channel.remove(&route, message).await;
            }
        };
        drop(self.engine.tasks.spawn("placeholder", removal));
    }

    /// A group that was upgraded while the turn ran gets the answer where it goes on, after what went there before. Numbers of
    /// messages mean nothing there.
    pub(super) fn follow_upgrade(&mut self) {
        if let Some(chat) = self.engine.goes_on_as(&self.row.route) {
            self.row.route = Route { chat, reply_to: None, ..self.row.route.clone() };
            self.placeholder = None;
        }
    }

    pub(super) async fn finish(&mut self, outcome: Outcome, notice: Option<Notice>) {
        self.follow_upgrade();
        let mut text = self.final_text(&outcome, notice);
        let look = is_look(&self.session.key);
        if look {
            // It speaks up by a decision, and whatever else it says is silence; its errors are its schedule's.
            text = heartbeat::decision(&text).unwrap_or_default();
        }
        let drafts = match &outcome {
            _ if look && text.is_empty() => Vec::new(),
            // `/stop` has been answered; only a message that would stay unfinished is finished.
            Outcome::Stopped if self.placeholder.is_none() => Vec::new(),
            Outcome::Stopped => self.engine.drafts(&self.row.route, Note::Stopped.as_str(), self.placeholder),
            Outcome::Error(trouble) if self.said.is_empty() && !self.tells(*trouble) => {
                self.actions.extend(self.placeholder.map(Action::Remove));
                Vec::new()
            }
            Outcome::Reply | Outcome::Error(_) => self.answer(&text).await,
        };
        let dispatcher = self.engine.dispatchers.get(&self.row.route.channel);
        // Files of a tool, or closed questions, may be in the same commit and go first.
        let before = |record: &Record| matches!(record, Record::Outbox { .. } | Record::ApprovalsClosed { .. });
        let first = !self.records.iter().any(before);
        let permit = match (drafts.first(), dispatcher) {
            (Some(_), Some(dispatcher)) if first => dispatcher.reserve(&self.row.route),
            _ => None,
        };
        let sending = permit.zip(drafts.first().map(|draft| self.first_row(draft)));
        let waiting = drafts.len() > usize::from(sending.is_some());
        if !drafts.is_empty() {
            self.records.push(Record::Outbox { drafts, first_sending: sending.is_some() });
        }
        self.records.push(Record::TurnClosed { outcome: outcome.clone(), text: text.clone() });
        self.actions.push(Action::Finished { outcome, text, sending, waiting });
    }

    /// An error is told, unless the operator does not want it here; one that can stand in a message that is there already
    /// disturbs nobody.
    fn tells(&self, trouble: Trouble) -> bool {
        let quiet = self.engine.settings.errors == ErrorPolicy::Silent;
        self.engine.tells_error(self.row.route.chat, trouble.text()) || (self.placeholder.is_some() && !quiet)
    }

    /// An answer as messages; one that would be too many of them as a file.
    async fn answer(&mut self, text: &str) -> Vec<Draft> {
        let drafts = self.engine.drafts(&self.row.route, text, self.placeholder);
        if drafts.len() <= REPLY_CHUNKS_MAX {
            return drafts;
        }
        let Some(file) = asking::stored(self.engine, "answer.md", text.to_owned()).await else { return drafts };
        let words = format!("This answer has {} characters, so it comes as a file.", text.chars().count());
        let mut drafts = self.engine.drafts(&self.row.route, &words, self.placeholder);
        let body = Rendered { rich: String::new(), plain: String::new() };
        drafts.push(Draft { payload: Payload::File(file), ..Draft::text(self.row.route.clone(), body) });
        drafts
    }

    fn final_text(&self, outcome: &Outcome, notice: Option<Notice>) -> String {
        let mut texts: Vec<&str> = self.said.iter().map(String::as_str).collect();
        texts.extend(notice.map(Notice::text));
        match outcome {
            Outcome::Reply => {}
            Outcome::Stopped => texts.push(Note::Stopped.as_str()),
            Outcome::Error(Trouble::Call(Failure::OverBudget)) => {
                texts.push(self.refused.as_deref().unwrap_or_else(|| Trouble::Call(Failure::OverBudget).text()));
            }
            Outcome::Error(trouble) => texts.push(trouble.text()),
        }
        texts.join("\n\n")
    }

    fn first_row(&self, draft: &Draft) -> OutboxRow {
        OutboxRow {
            id: OutboxId(0),
            route: draft.route.clone(),
            body: draft.body.clone(),
            replaces: draft.replaces,
            payload: draft.payload.clone(),
            attempt: 1,
            not_before: Timestamp(0),
            maybe_duplicate: false,
            at: self.now(),
        }
    }
}

/// The message that a preview made.
fn placed(news: News) -> Option<i64> {
    match news {
        News::Preview { outcome: PreviewOutcome::Placed { message, .. }, .. } => Some(message),
        News::Preview { .. }
        | News::Counted(..)
        | News::Call(_)
        | News::Tool(..)
        | News::TypingOver
        | News::Ticket(_) => None,
    }
}
