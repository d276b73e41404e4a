//! What is remembered and bears on a message, put before it.

use super::Engine;
use super::session::Session;
use crate::memory::{Finding, Wanted};
use blufio_core::access::Principal;
use blufio_core::context::standing::Audience;
use blufio_core::memory::plain::{Plain, kind, plain};
use blufio_core::memory::recall::{RECALL_TOKENS_MAX, worth_asking};
use blufio_core::memory::{NewFact, Said, Scope, Source};
use blufio_core::message::{Origin, Part};
use blufio_core::record::{FactChange, InboxRow, RecallKinds};

/// How sure a fact is that a person asks to remember.
const TOLD_PERCENT: u8 = 100;
/// What such a fact is about, if nobody knows better.
const SAID: &str = "told to remember";
/// Stand around what is recalled, so that nobody takes it for the words of the message.
const FRAME: [&str; 2] = ["<remembered>\nPerhaps about this; newer words count more.", "</remembered>"];

impl Session {
    /// What a person asks in plain words to remember is kept before the model reads it, so that it is kept whatever becomes of
    /// the answer.
    pub(super) async fn told_to_remember(&self, engine: &Engine, row: &InboxRow, words: &str) -> Option<Part> {
        let Plain::Remember(statement) = plain(words) else { return None };
        if self.audience == Audience::Nobody || !row.content.quotes.is_empty() {
            return None;
        }
        let said = match row.principal {
            Principal::Owner => Said::Owner,
            Principal::Person(_) => Said::Person,
        };
        let message = self.last_message.next();
        let new = NewFact {
            scope: self.scope.clone(),
            kind: kind(&statement),
            subject: row.content.speaker.clone().unwrap_or_else(|| SAID.to_owned()),
            statement,
            source: Some(Source { session: self.id, first: message, last: message }),
            said,
            confidence: TOLD_PERCENT,
            valid_from: None,
            valid_to: None,
            supersedes: None,
            pinned: false,
        };
        let by = Scope::of(&row.principal);
        let kept = engine.adapters.memory.change(self.scope.clone(), by.as_str(), vec![FactChange::Add(Box::new(new))]);
        let text = match kept.await {
            Ok(kept) => format!("[Remembered as f{}.]", kept.first()?.as_ref()?.id),
            Err(error) => format!("[Could not be remembered: {error}.]"),
        };
        Some(Part::text(Origin::Engine, text))
    }

    /// What bears on the words of a message and cannot be read in the prompt already. Words of others are not recalled unasked:
    /// they would make the whole conversation follow them.
    pub(super) async fn recalled(&self, engine: &Engine, words: &str) -> Option<Part> {
        if self.audience == Audience::Nobody || !worth_asking(words) {
            return None;
        }
        let wanted = Wanted {
            scope: self.scope.clone(),
            text: words.to_owned(),
            kinds: RecallKinds::All,
            visible: Some(Source { session: self.id, first: self.first(), last: self.last_message }),
            tokens: RECALL_TOKENS_MAX,
        };
        let found = engine.adapters.memory.find(wanted).await;
        let Finding { chosen, by_meaning } = found
            .inspect_err(|error| tracing::error!(session = %self.key, %error, "nothing could be recalled"))
            .unwrap_or_default();
        metrics::counter!("blufio_recalls_total", "by" => if by_meaning { "meaning" } else { "words" }).increment(1);
        let lines = chosen.iter().filter(|chosen| chosen.found.is_own() && !self.shows(&chosen.shown));
        let lines: Vec<String> = lines.map(|chosen| engine.adapters.memory.line(chosen)).collect();
        let [head, end] = FRAME;
        let text = (!lines.is_empty()).then(|| format!("{head}\n{}\n{end}", lines.join("\n")))?;
        let text = engine.settings.leaks.redact(&text).into_owned();
        Some(Part { private: true, ..Part::text(Origin::Engine, text) })
    }
}
