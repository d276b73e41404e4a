//! `skill_load`: how something is done here, when the model needs it.

use super::{arguments, blocking, spec};
use crate::desk::Desk;
use blufio_core::context::skills::{SKILL_BYTES_MAX, find};
use blufio_core::port::{AnyTool, ArgRole, Replay, Tool, ToolCall, ToolError, ToolOutput, ToolSpec};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

/// Its name; without skills it is not offered.
pub(crate) const NAME: &str = "skill_load";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    name: String,
}

struct SkillLoad {
    spec: ToolSpec,
    desk: Arc<Desk>,
}

pub(super) fn tool(desk: Arc<Desk>) -> Arc<dyn AnyTool> {
    let description = "Loads a skill, or, given words, names the skills that are about them.";
    let schema = json!({
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 200}},
        "required": ["name"],
        "additionalProperties": false
    });
    let spec = spec(NAME, description, schema, Replay::Pure, &[("name", ArgRole::Selector)]);
    let mut spec = ToolSpec { people: true, ..spec };
    spec.limits.output_bytes = SKILL_BYTES_MAX + 100;
    Arc::new(SkillLoad { spec, desk })
}

impl Tool for SkillLoad {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, call: ToolCall) -> Result<ToolOutput, ToolError> {
        let Arguments { name } = arguments(call.input)?;
        let desk = self.desk.clone();
        blocking(move || {
            let papers = desk.look();
            if papers.skills.iter().any(|skill| skill.name == name) {
                return desk.skill(&name).map(ToolOutput::from);
            }
            let lines: Vec<String> = find(&papers.skills, &name)
                .into_iter()
                .map(|skill| format!("- {}: {}", skill.name, skill.description))
                .collect();
            match lines.is_empty() {
                true => Err(ToolError::ToModel(format!("no skill is about `{}`", name.escape_debug()))),
                false => Ok(ToolOutput::from(lines.join("\n"))),
            }
        })
        .await
    }
}
