//! What stands in front of a conversation: it is chosen when an epoch begins, and what changes after that is told at the end.

use super::Engine;
use super::session::Session;
use crate::desk::Papers;
use crate::tasks::blocking;
use crate::tools::skill;
use crate::{heartbeat, memory};
use blufio_core::access::Principal;
use blufio_core::context::standing::{self, Audience, Fragment};
use blufio_core::ids::SessionKey;
use blufio_core::memory::{Fact, Scope};
use blufio_core::message::{Origin, Part};
use blufio_core::port::ToolSpec;
use blufio_core::record::{InboxRow, Shared};
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex, PoisonError};

/// Prefixes that are kept at hand. Full: all are made again.
const PREFIXES_MAX: usize = 16;

/// What would stand in front of a conversation if its epoch began now.
#[derive(Clone)]
pub(crate) struct Prefix {
    /// The parts of the system text.
    pub fragments: Arc<[Fragment]>,
    /// As they are sent.
    pub system: Shared,
    /// The tools as they are sent.
    pub tools: Shared,
    /// Something of it is the owner's own.
    pub private: bool,
}

/// The newest prefixes; they change only when the desk or the standing facts do.
#[derive(Default)]
pub(crate) struct Prefixes(Mutex<Vec<Made>>);

/// A prefix, and what it was made of.
struct Made {
    audience: Audience,
    facts: Arc<[Fact]>,
    papers: Arc<Papers>,
    prefix: Prefix,
}

impl Engine {
    /// What lies on the desk now.
    pub async fn papers(&self) -> Arc<Papers> {
        let desk = self.adapters.desk.clone();
        let papers = blocking(move || desk.look()).await.unwrap_or_default();
        self.adapters.memory.read_file(&self.adapters.desk, &papers).await;
        papers
    }

    /// The standing facts of a scope; none if they cannot be read now.
    pub async fn standing(&self, scope: &Scope) -> Arc<[Fact]> {
        let standing = self.adapters.memory.standing(scope).await;
        standing
            .inspect_err(|error| tracing::error!(%error, "the standing facts could not be read"))
            .unwrap_or_else(|_| Arc::from([]))
    }

    /// The prefix of a conversation that so many read, with the standing facts of its scope.
    pub fn prefix(&self, papers: &Arc<Papers>, facts: &Arc<[Fact]>, audience: Audience) -> Prefix {
        let mut known = self.prefixes.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|made| Arc::ptr_eq(&made.papers, papers));
        let same =
            |made: &&Made| made.audience == audience && (Arc::ptr_eq(&made.facts, facts) || made.facts == *facts);
        if let Some(made) = known.iter().find(same) {
            return made.prefix.clone();
        }
        let wishes: Vec<&str> = facts.iter().map(|fact| fact.fact.statement.as_str()).collect();
        let sources = standing::Sources { files: &papers.files, skills: &papers.skills, wishes: &wishes };
        let fragments = standing::fragments(&self.settings.instructions, &sources, audience);
        // Whatever comes from a file may hold what must not leave.
        let clean = |fragment: Fragment| {
            let text = self.settings.leaks.redact(&fragment.text).into_owned();
            Fragment { text, ..fragment }
        };
        let fragments: Arc<[Fragment]> = fragments.into_iter().map(clean).collect();
        let offered = |spec: &&ToolSpec| {
            audience != Audience::Nobody && (spec.name.as_str() != skill::NAME || !papers.skills.is_empty())
        };
        let specs: Vec<&ToolSpec> = self.tools.values().map(|tool| tool.spec()).filter(offered).collect();
        let prefix = Prefix {
            system: self.adapters.provider.render_system(&standing::text(&fragments)),
            tools: self.adapters.provider.render_tools(&specs),
            private: fragments.iter().any(|fragment| standing::is_private(&fragment.name)),
            fragments,
        };
        if known.len() >= PREFIXES_MAX {
            known.clear();
        }
        known.push(Made { audience, facts: facts.clone(), papers: papers.clone(), prefix: prefix.clone() });
        prefix
    }
}

/// Changes whenever the configuration of what stands in front does; files of the workspace have no part in it.
pub(super) fn configured<'a>(instructions: &str, tools: impl Iterator<Item = &'a ToolSpec>) -> String {
    let mut hash = Sha256::new().chain_update(instructions);
    for tool in tools {
        hash.update([0]);
        hash.update(tool.name.as_str());
        hash.update(tool.description);
        hash.update(tool.schema.to_string());
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The conversation of the agent's own looks.
pub(super) fn is_look(session: &SessionKey) -> bool {
    session.as_str() == heartbeat::SESSION
}

/// Whose memory is read and written in answer to a row.
pub(super) fn scope(session: &SessionKey, row: &InboxRow) -> Scope {
    memory::scope(session, row.route.chat, &row.principal)
}

/// Who reads what is said in answer to a row.
pub(super) fn audience(session: &SessionKey, row: &InboxRow) -> Audience {
    match row.principal {
        _ if is_look(session) => Audience::Nobody,
        Principal::Owner if row.route.chat >= 0 => Audience::Owner,
        Principal::Owner | Principal::Person(_) => Audience::Others,
    }
}

impl Session {
    /// What is told with the next message: parts of the prefix that have changed since the epoch began. Nothing that can be read in
    /// the prompt already.
    pub(super) fn appended(&self, prefix: &Prefix) -> Vec<Part> {
        let mut parts = Vec::new();
        if self.audience == Audience::Nobody {
            return parts;
        }
        let system = self.epoch.as_ref().map_or(&prefix.system, |epoch| &epoch.system);
        if *system != prefix.system {
            let changed = prefix.fragments.iter().filter(|fragment| !holds(system, &fragment.text));
            for Fragment { name, text, .. } in changed.filter(|fragment| !self.shows(&fragment.text)) {
                let text = format!("[{name}: changed since this conversation began; it is now:]\n{text}");
                parts.push(Part { private: standing::is_private(name), ..Part::text(Origin::Engine, text) });
            }
        }
        parts
    }

    /// The prompt shows these words, whoever said them.
    pub(super) fn shows(&self, words: &str) -> bool {
        let needle = spelled(words);
        let finder = memchr::memmem::Finder::new(&needle);
        self.history.iter().any(|message| finder.find(&message.wire).is_some())
    }
}

/// Stored bytes hold a text, as JSON spells it.
pub(super) fn holds(wire: &[u8], text: &str) -> bool {
    memchr::memmem::find(wire, &spelled(text)).is_some()
}

fn spelled(text: &str) -> Vec<u8> {
    let quoted = serde_json::Value::from(text).to_string();
    quoted.get(1..quoted.len() - 1).unwrap_or_default().as_bytes().to_vec()
}
