//! What is remembered and bears on a message, put before it.

use super::Engine;
use super::session::Session;
use crate::memory::{Finding, Wanted};
use blufio_core::context::standing::Audience;
use blufio_core::memory::Source;
use blufio_core::memory::recall::{RECALL_TOKENS_MAX, worth_asking};
use blufio_core::message::{Origin, Part};
use blufio_core::record::RecallKinds;

/// Stands before what is recalled.
const HEAD: &str = "[Remembered, perhaps about this; newer words count more:]";

impl Session {
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
        let text = (!lines.is_empty()).then(|| format!("{HEAD}\n{}", lines.join("\n")))?;
        let text = engine.settings.leaks.redact(&text).into_owned();
        Some(Part { private: true, ..Part::text(Origin::Engine, text) })
    }
}
