//! Tool calls: may they run, running them within their limits, and what the model reads of them.

use super::Engine;
use super::turn::News;
use crate::tasks::guarded;
use blufio_core::access::Principal;
use blufio_core::limits::TOOL_OUTPUT_BYTES_MAX;
use blufio_core::message::{Body, Part};
use blufio_core::policy::{CallFacts as PolicyFacts, Decision, decide};
use blufio_core::port::{AnyTool, Boxed, Replay, ToolCall, ToolError, ToolOutput};
use blufio_core::record::{ToolRun, ToolState};
use blufio_core::session::CallFacts;
use sha2::{Digest, Sha256};
use std::sync::Arc;

const QUESTIONS_FULL: &str =
    "not run: it needs an owner's yes, and too many questions are open or were asked this hour";

/// What the machine has to know of the calls in an answer.
///
/// `questions`: how many questions to an owner may be asked now. Full: the call is refused, and the model reads why.
pub(super) fn judge_calls(
    engine: &Engine,
    principal: &Principal,
    parts: &[Part],
    mut questions: u32,
) -> Vec<CallFacts> {
    let judge_part = |part: &Part| match &part.body {
        Body::ToolCall { id, name, input } => {
            let tool = engine.tools.get(name);
            let verdict = tool.map_or_else(
                || Err(format!("there is no tool named `{name}`")),
                |tool| judge(tool.as_ref(), principal, input, engine.settings.ask.contains(name)),
            );
            let (refused, ask) = match verdict {
                Ok(true) if questions == 0 => (Some(QUESTIONS_FULL.to_owned()), false),
                Ok(ask) => {
                    questions -= u32::from(ask);
                    (None, ask)
                }
                Err(why) => (Some(why), false),
            };
            Some(CallFacts {
                id: id.clone(),
                name: name.clone(),
                replay: tool.map_or(Replay::Effectful, |tool| tool.spec().replay),
                fingerprint: fingerprint(name.as_str(), input),
                refused,
                ask,
            })
        }
        Body::Text { .. }
        | Body::ToolResult { .. }
        | Body::Image { .. }
        | Body::Document { .. }
        | Body::Opaque { .. } => None,
    };
    parts.iter().filter_map(judge_part).collect()
}

/// Whether a call may run (`false`), has to be asked for (`true`), or why it may not.
fn judge(tool: &dyn AnyTool, principal: &Principal, input: &str, ask_first: bool) -> Result<bool, String> {
    let input: serde_json::Value =
        serde_json::from_str(input).map_err(|error| format!("the arguments are not valid JSON: {error}"))?;
    crate::tools::schema::check(&tool.spec().schema, &input)?;
    match decide(&PolicyFacts { tool: tool.spec(), principal, ask_first }) {
        Decision::Allow => Ok(false),
        Decision::Ask => Ok(true),
        Decision::Deny(why) => Err(why),
    }
}

/// Runs a tool within its limits. Whatever goes wrong is for the model to read, and never ends the turn.
pub(super) fn run_tool(
    engine: &Arc<Engine>,
    run: ToolRun,
    key: String,
    zone: Option<String>,
    sends_files: bool,
) -> Boxed<'static, News> {
    let (tool, clock) = (engine.tools.get(&run.name).cloned(), engine.adapters.clock.clone());
    let zone = zone.or_else(|| engine.settings.timezone.clone());
    Box::pin(async move {
        let failed = |content: String| ToolState::Done { content, error: true };
        let over = |state: ToolState| News::Tool(run.call.clone(), state, Vec::new());
        let Some(tool) = tool else {
            return over(failed(format!("there is no tool named `{}` any more", run.name)));
        };
        let Ok(input) = serde_json::from_str(&run.input) else {
            return over(failed("the arguments are not valid JSON".to_owned()));
        };
        let limits = tool.spec().limits;
        let call = ToolCall { id: run.call.clone(), key: key.into(), input, zone, sends_files };
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
                let state = ToolState::Done { content: cut_middle(text, max), error: false };
                return News::Tool(run.call, state, files);
            }
            Some(Err(ToolError::ToModel(why))) => failed(cut_middle(why, TOOL_OUTPUT_BYTES_MAX)),
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
