//! `memory_search`, `memory_save`, `memory_forget` and `session_search`: what is remembered in the conversation's own scope.

use super::{arguments, spec};
use crate::memory::{Memory, Wanted, scope};
use blufio_core::access::Principal;
use blufio_core::ids::FactId;
use blufio_core::memory::{FactKind, NewFact, Said, Scope};
use blufio_core::message::Origin;
use blufio_core::port::{AnyTool, ArgRole, Asker, Replay, StoreError, Tool, ToolCall, ToolError, ToolOutput, ToolSpec};
use blufio_core::record::{FactChange, RecallKinds, STATEMENT_BYTES_MAX, SUBJECT_BYTES_MAX};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

/// Room for what a search finds, in tokens.
const FOUND_TOKENS_MAX: u64 = 1_000;
/// Bytes of a question.
const QUERY_BYTES_MAX: usize = 500;
/// How sure a fact is that a person has told.
const TOLD_PERCENT: u8 = 100;

struct Search {
    spec: ToolSpec,
    memory: Arc<Memory>,
    kinds: RecallKinds,
}

struct Save {
    spec: ToolSpec,
    memory: Arc<Memory>,
}

struct Forget {
    spec: ToolSpec,
    memory: Arc<Memory>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    query: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    statement: String,
    about: String,
    kind: Option<FactKind>,
    replaces: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    id: String,
}

pub(super) fn tools(memory: &Arc<Memory>) -> [Arc<dyn AnyTool>; 4] {
    let text = |description: &str, max: usize| json!({"type": "string", "maxLength": max, "description": description});
    let query = json!({
        "type": "object",
        "properties": { "query": text("A question or a few words.", QUERY_BYTES_MAX) },
        "required": ["query"],
        "additionalProperties": false
    });
    // What was said may be the words of others, or follow them. What is known is not, unless it is marked so; then it is left out.
    let search = |name, description, (kinds, returns)| {
        let found = spec(name, description, query.clone(), Replay::Pure, &[("query", ArgRole::Content)]);
        let spec = ToolSpec { people: true, private: true, returns, ..found };
        Arc::new(Search { spec, memory: memory.clone(), kinds })
    };
    let statement = json!({
        "type": "object",
        "properties": {
            "statement": text("One sentence that can be understood alone.", STATEMENT_BYTES_MAX),
            "about": text("Whom or what it is about.", SUBJECT_BYTES_MAX),
            "kind": {
                "type": "string",
                "enum": ["fact", "event", "standing"],
                "description": "standing: a lasting wish about how you act; only if the person said so."
            },
            "replaces": text("Of the fact that holds no more, such as f12.", 24)
        },
        "required": ["statement", "about"],
        "additionalProperties": false
    });
    // Statements have no role: after words of others, they must be the person's own.
    let save = "Remembers something for later conversations. What is said is remembered by itself; use it when the person asks.";
    let save = ToolSpec { people: true, ..spec("memory_save", save, statement, Replay::Idempotent, &[]) };
    let which = json!({
        "type": "object",
        "properties": { "id": text("Such as f12.", 24) },
        "required": ["id"],
        "additionalProperties": false
    });
    let forget = "Forgets a fact for good; search for it first.";
    let forget = ToolSpec { people: true, ..spec("memory_forget", forget, which, Replay::Idempotent, &[]) };
    [
        search(
            "memory_search",
            "Finds what is known of the person and their world.",
            (RecallKinds::Facts, Origin::Tool),
        ),
        search(
            "session_search",
            "Finds what was said in earlier conversations, word for word, and what others have told.",
            (RecallKinds::All, Origin::Derived),
        ),
        Arc::new(Save { spec: save, memory: memory.clone() }),
        Arc::new(Forget { spec: forget, memory: memory.clone() }),
    ]
}

fn whose(asker: &Asker) -> Scope {
    scope(&asker.session, asker.route.chat, &asker.principal)
}

fn by(asker: &Asker) -> String {
    Scope::of(&asker.principal).as_str().to_owned()
}

fn number(id: &str) -> Result<FactId, ToolError> {
    let number = id.trim().trim_start_matches('f').parse().ok();
    number.map(FactId).ok_or_else(|| ToolError::ToModel(format!("`{}` is no id such as f12", id.escape_debug())))
}

fn told(error: StoreError) -> ToolError {
    match error {
        StoreError::Refused(why) | StoreError::NotFound(why) => ToolError::ToModel(why),
        other => ToolError::Broken(other.to_string()),
    }
}

impl Tool for Search {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, call: ToolCall) -> Result<ToolOutput, ToolError> {
        let Query { query } = arguments(call.input)?;
        if query.trim().is_empty() {
            return Err(ToolError::ToModel("the query has no words".to_owned()));
        }
        let wanted = Wanted {
            scope: whose(&call.asker),
            text: query,
            kinds: self.kinds,
            visible: None,
            tokens: FOUND_TOKENS_MAX,
        };
        let found = self.memory.find(wanted).await.map_err(told)?;
        let shown = found.chosen.iter().filter(|chosen| self.spec.returns.is_foreign() || chosen.found.is_own());
        let lines: Vec<String> = shown.map(|chosen| self.memory.line(chosen)).collect();
        let nothing = || "nothing is remembered about this".to_owned();
        Ok(ToolOutput::from(if lines.is_empty() { nothing() } else { lines.join("\n") }))
    }
}

impl Tool for Save {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, call: ToolCall) -> Result<ToolOutput, ToolError> {
        let Statement { statement, about, kind, replaces } = arguments(call.input)?;
        let supersedes = replaces.map(|id| number(&id)).transpose()?;
        let said = match call.asker.principal {
            Principal::Owner => Said::Owner,
            Principal::Person(_) => Said::Person,
        };
        let new = NewFact {
            scope: whose(&call.asker),
            kind: kind.unwrap_or(FactKind::Fact),
            subject: about,
            statement,
            source: None,
            said,
            confidence: TOLD_PERCENT,
            valid_from: None,
            valid_to: None,
            supersedes,
            pinned: false,
        };
        let changes = vec![FactChange::Add(Box::new(new))];
        let kept = self.memory.change(whose(&call.asker), &by(&call.asker), changes).await.map_err(told)?;
        let id = kept.into_iter().flatten().next().map(|fact| fact.id).unwrap_or_default();
        Ok(ToolOutput::from(format!("remembered as f{id}")))
    }
}

impl Tool for Forget {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, call: ToolCall) -> Result<ToolOutput, ToolError> {
        let Which { id } = arguments(call.input)?;
        let id = number(&id)?;
        let changes = vec![FactChange::Forget { id, passages: true }];
        self.memory.change(whose(&call.asker), &by(&call.asker), changes).await.map_err(told)?;
        Ok(ToolOutput::from(format!("f{id} is forgotten; backups keep it until they expire")))
    }
}
