//! Tool calls: what the machine has to know of them, and running them within their limits.

use super::Engine;
use super::consent::{Judged, Judgement};
use super::turn::News;
use crate::tasks::guarded;
use blufio_core::ids::{CallId, SessionId, ToolName};
use blufio_core::limits::TOOL_OUTPUT_BYTES_MAX;
use blufio_core::message::{Body, Part};
use blufio_core::port::{Asker, Boxed, Hops, Replay, ToolCall, ToolError, ToolOutput};
use blufio_core::record::{ToolRun, ToolState};
use blufio_core::session::CallFacts;
use blufio_core::time::Timestamp;
use sha2::{Digest, Sha256};
use std::sync::Arc;

const QUESTIONS_FULL: &str =
    "not run: it needs an owner's yes, and too many questions are open or were asked this hour";

/// What the machine has to know of the calls in an answer.
///
/// `left`: how many questions to an owner may be asked now. Full: the call is refused, and the model reads why. `ask_from`:
/// when they are asked, if not now.
pub(super) fn call_facts(
    engine: &Engine,
    parts: &[Part],
    judged: &[Judged],
    (mut left, ask_from): (u32, Option<Timestamp>),
) -> Vec<CallFacts> {
    let calls = parts.iter().filter_map(|part| match &part.body {
        Body::ToolCall { id, name, input } => Some((id, name, input)),
        Body::Text { .. }
        | Body::ToolResult { .. }
        | Body::Image { .. }
        | Body::Document { .. }
        | Body::Opaque { .. } => None,
    });
    let facts = |((id, name, input), judged): ((&CallId, &ToolName, &String), &Judged)| {
        let (refused, ask) = match &judged.judgement {
            Judgement::Run(_) => (None, false),
            Judgement::Ask(_) if left == 0 => (Some(QUESTIONS_FULL.to_owned()), false),
            Judgement::Ask(_) => {
                left -= 1;
                (None, true)
            }
            Judgement::Refuse(why) => (Some(why.clone()), false),
        };
        CallFacts {
            id: id.clone(),
            name: name.clone(),
            replay: engine.tools.get(name).map_or(Replay::Effectful, |tool| tool.spec().replay),
            fingerprint: fingerprint(name.as_str(), input),
            refused,
            ask,
            ask_from: ask_from.filter(|_| ask),
        }
    };
    calls.zip(judged).map(facts).collect()
}

/// Where a call is made.
pub(super) struct Place {
    pub session: SessionId,
    /// The same for every run of this call.
    pub key: String,
    /// The time zone that the person chose.
    pub zone: Option<String>,
    pub sends_files: bool,
    /// Where it notes the places that it asks.
    pub hops: Hops,
    pub asker: Arc<Asker>,
}

/// Runs a tool within its limits. Whatever goes wrong is for the model to read, and never ends the turn.
pub(super) fn run_tool(engine: &Arc<Engine>, run: ToolRun, place: Place) -> Boxed<'static, News> {
    let (tool, clock) = (engine.tools.get(&run.name).cloned(), engine.adapters.clock.clone());
    let Place { session, key, zone, sends_files, hops, asker } = place;
    let zone = zone.or_else(|| engine.settings.timezone.clone());
    let leaks = engine.settings.leaks.clone();
    Box::pin(async move {
        // Before anything is stored or shown, and before anything is cut: half a secret is not found any more.
        let clean = |text: String| leaks.redact(&text).into_owned();
        let failed = |content: String| ToolState::Done {
            content: cut_middle(clean(content), TOOL_OUTPUT_BYTES_MAX),
            error: true,
        };
        let over = |state: ToolState| News::Tool(run.call.clone(), state, Vec::new());
        let Some(tool) = tool else {
            return over(failed(format!("there is no tool named `{}` any more", run.name)));
        };
        let Ok(input) = serde_json::from_str(&run.input) else {
            return over(failed("the arguments are not valid JSON".to_owned()));
        };
        let limits = tool.spec().limits;
        let call = ToolCall {
            id: run.call.clone(),
            session,
            key: key.into(),
            input,
            zone,
            sends_files,
            bound: run.bound.clone(),
            hops,
            asker,
        };
        let done = tokio::select! {
            done = guarded("tool", tool.run(call)) => done,
            () = clock.sleep(limits.time) => {
                let seconds = limits.time.as_secs();
                return over(failed(format!("the tool took longer than {seconds} s and was ended")));
            }
        };
        let state = match done {
            Some(Ok(ToolOutput { text, files })) => {
                let max = limits.output_bytes.min(TOOL_OUTPUT_BYTES_MAX);
                let state = ToolState::Done { content: cut_middle(clean(text), max), error: false };
                return News::Tool(run.call, state, files);
            }
            Some(Err(ToolError::ToModel(why))) => failed(why),
            Some(Err(ToolError::Broken(why))) => {
                tracing::error!(tool = %run.name, "a tool failed: {why}");
                failed("the tool failed; the operator's log has the reason".to_owned())
            }
            None => failed("the tool crashed; the operator's log has the reason".to_owned()),
        };
        over(state)
    })
}

/// Cuts the middle out of an output that is too long to store.
fn cut_middle(output: String, max: usize) -> String {
    if output.len() <= max {
        return output;
    }
    let half = max / 2;
    let head = output.get(..output.floor_char_boundary(half)).unwrap_or_default();
    let tail = output.get(output.ceil_char_boundary(output.len() - half)..).unwrap_or_default();
    format!("{head}\n[… {} bytes were not kept …]\n{tail}", output.len() - head.len() - tail.len())
}

/// Equal for calls with the same name and arguments.
fn fingerprint(name: &str, input: &str) -> u64 {
    let hash = Sha256::new().chain_update(name).chain_update([0]).chain_update(input).finalize();
    hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The arguments as a reader sees them best; the same value, whatever their spelling was.
pub(super) fn pretty(input: &str) -> String {
    let value: Option<serde_json::Value> = serde_json::from_str(input).ok();
    value.and_then(|value| serde_json::to_string_pretty(&value).ok()).unwrap_or_else(|| input.to_owned())
}

/// 32 hexadecimal digits that say nothing about what went in.
pub(super) fn digest(text: &str) -> String {
    Sha256::digest(text).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
