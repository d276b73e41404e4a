//! Which model a message gets, and how much effort: what [`blufio_core::route`] decides, once per turn, from what is known of
//! the conversation.

use super::Run;
use crate::engine::session::Session;
use blufio_core::message::{Part, visible_text};
use blufio_core::record::ModelReason;
use blufio_core::route::{Chosen, Class, Decision, Effort, Facts, Features, History, Tokens, Ttl, decide};
use blufio_core::time::Timestamp;

/// Tokens of an answer, about; what is compared is the same for all models.
const ANSWER_TOKENS: u64 = 300;
/// Messages in a row that say that the answer was wrong, which is evidence.
const OBJECTIONS: u8 = 2;

/// What happened in a conversation that says how its next message is to be treated; forgotten with the actor.
pub(in crate::engine) struct Course {
    failed_rounds: u8,
    refused: bool,
    objections: u8,
    awaits_answer: bool,
}

impl Default for Course {
    fn default() -> Self {
        // Nobody knows what was said last: as if it had been a question, so that nothing is taken for a courtesy.
        Self { failed_rounds: 0, refused: false, objections: 0, awaits_answer: true }
    }
}

impl Course {
    /// The model has said something.
    pub fn said(&mut self, parts: &[Part]) {
        self.awaits_answer = visible_text(parts).trim_end().ends_with(['?', '？', '؟']);
        self.refused = false;
    }

    /// The model has declined.
    pub const fn declined(&mut self) {
        self.refused = true;
    }

    /// A round of tools is over; `failed`: none of them did what was wanted.
    pub const fn round(&mut self, failed: bool) {
        self.failed_rounds = if failed { self.failed_rounds.saturating_add(1) } else { 0 };
    }

    fn asked(&mut self, features: &Features) {
        self.objections = if features.objection { self.objections.saturating_add(1) } else { 0 };
    }

    fn history(&self, session: &Session) -> History {
        History {
            tool_rounds: u8::from(session.uses_tools()),
            failed_rounds: self.failed_rounds,
            refused: self.refused,
            rephrased: self.objections >= OBJECTIONS,
            awaits_answer: self.awaits_answer,
        }
    }
}

impl Run<'_> {
    /// Decides for this turn, before its message joins the conversation.
    pub(super) fn route(&mut self, words: &str, now: Timestamp) {
        let settings = &self.engine.settings;
        let content = &self.row.content;
        let features = Features::of(words, content.files.len(), !content.quotes.is_empty());
        self.session.course.asked(&features);
        if !settings.routing || self.forced.is_some() {
            return;
        }
        let model = self.session.epoch.as_ref().map_or(&settings.model, |epoch| &epoch.model).clone();
        let tokens = self.session.prompt_tokens(self.engine, &model);
        let marks = self.session.marks(self.engine, &model, tokens, now);
        let ttl = if marks.system == blufio_core::context::caching::Ttl::Hour { Ttl::Hour1 } else { Ttl::Minutes5 };
        let candidates = settings.catalogue.candidates(now);
        let known = |effort: Option<&String>| effort.and_then(|effort| Effort::parse(effort));
        let facts = Facts {
            candidates: &candidates,
            session: &model,
            chosen: if self.session.model.is_some() { Chosen::ByPerson } else { Chosen::ByDefault },
            chosen_effort: known(self.session.effort.as_ref()),
            default_effort: known(settings.effort.as_ref()),
            tokens: Tokens { cached: tokens, new: features.bytes as u64 / 3, output: ANSWER_TOKENS },
            ttl,
            odds: self.session.measured.odds(ttl, now),
            history: self.session.course.history(self.session),
        };
        self.routed = decide(&features, &facts);
        if let Some(decision) = &self.routed {
            tracing::debug!(session = %self.session.key, turn = %self.number, why = decision.explain(), "routed");
        }
    }
}

/// The word of the ledger for a decision that leaves the session's model.
pub(super) fn reason(decision: &Decision) -> ModelReason {
    match decision.class {
        Class::Trouble => ModelReason::Trouble,
        Class::Small | Class::Short | Class::Normal | Class::Demanding => ModelReason::Courtesy,
    }
}
