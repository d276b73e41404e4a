//! `read_again`: a message of this conversation whose words of others were taken out of the prompt.

use super::{arguments, file_spec};
use blufio_core::ids::MessageSeq;
use blufio_core::message::{Body, Part};
use blufio_core::port::{AnyStorage, AnyTool, ArgRole, Replay, Tool, ToolCall, ToolError, ToolOutput, ToolSpec};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    message: i64,
}

struct ReadAgain {
    spec: ToolSpec,
    storage: Arc<dyn AnyStorage>,
}

pub(super) fn tool(storage: Arc<dyn AnyStorage>) -> Arc<dyn AnyTool> {
    let description = "Shows a message of this conversation whose text was replaced by a note with its number.";
    let schema = json!({
        "type": "object",
        "properties": {"message": {"type": "integer", "minimum": 1, "description": "The number in the note."}},
        "required": ["message"],
        "additionalProperties": false
    });
    let spec = file_spec("read_again", description, schema, Replay::Pure, &[("message", ArgRole::Selector)]);
    Arc::new(ReadAgain { spec: ToolSpec { people: true, ..spec }, storage })
}

impl Tool for ReadAgain {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, call: ToolCall) -> Result<ToolOutput, ToolError> {
        let wanted = MessageSeq(arguments::<Arguments>(call.input)?.message);
        let parts = self.storage.parts(call.session, wanted).await;
        let messages = parts.map_err(|error| ToolError::Broken(error.to_string()))?;
        let missing = || ToolError::ToModel(format!("this conversation has no message {wanted}"));
        let message = messages.into_iter().next().filter(|message| message.seq == wanted).ok_or_else(missing)?;
        let texts: Vec<String> = message.parts.iter().filter_map(text).collect();
        Ok(ToolOutput::from(texts.join("\n\n")))
    }
}

/// What can be read of a part.
fn text(part: &Part) -> Option<String> {
    match &part.body {
        Body::Text { text } | Body::ToolResult { content: text, .. } => Some(text.clone()),
        Body::ToolCall { name, input, .. } => Some(format!("[call of {name}: {input}]")),
        Body::Image { .. } => Some("[a picture, which cannot be shown again]".to_owned()),
        Body::Document { title, .. } => Some(format!("[the document “{title}”, which cannot be shown again]")),
        Body::Opaque { .. } => None,
    }
}
