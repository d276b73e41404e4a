//! The one place that decides whether a tool call may run.
//!
//! The facts are complete (what the tool may do, who asked, what the owner wants to be asked about). A tool that sends bytes
//! away answers to the owner alone; a tool on the owner's list waits for an owner's yes; the others run.

use crate::access::Principal;
use crate::ids::ToolName;
use crate::port::ToolSpec;
use serde::{Deserialize, Serialize};

/// What is known about a call when it is judged.
pub struct CallFacts<'a> {
    /// The tool's own declaration.
    pub tool: &'a ToolSpec,
    /// On whose behalf the turn runs.
    pub principal: &'a Principal,
    /// The owner wants to be asked before this tool runs.
    pub ask_first: bool,
}

/// What to do with a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Run it.
    Allow,
    /// Wait until an owner has said yes.
    Ask,
    /// Do not run it; the model reads why.
    Deny(String),
}

/// Judges one call.
#[must_use]
pub fn decide(facts: &CallFacts<'_>) -> Decision {
    match facts.principal {
        Principal::Person(_) if facts.tool.egress => Decision::Deny(denied(&facts.tool.name)),
        Principal::Owner | Principal::Person(_) if facts.ask_first => Decision::Ask,
        Principal::Owner | Principal::Person(_) => Decision::Allow,
    }
}

fn denied(tool: &ToolName) -> String {
    format!("`{tool}` sends data off this machine and is only available to the owner")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::{Replay, ToolLimits};

    fn tool(egress: bool) -> ToolSpec {
        ToolSpec {
            name: ToolName::new("t"),
            description: "t",
            schema: serde_json::json!({"type": "object"}),
            replay: Replay::Pure,
            egress,
            arg_roles: &[],
            limits: ToolLimits::default(),
        }
    }

    #[test]
    fn only_the_owner_may_send_data_away() {
        let person = Principal::Person("7".into());
        let verdict =
            |egress, principal: &Principal| decide(&CallFacts { tool: &tool(egress), principal, ask_first: false });
        assert_eq!(verdict(false, &person), Decision::Allow);
        assert_eq!(verdict(true, &Principal::Owner), Decision::Allow);
        assert!(matches!(verdict(true, &person), Decision::Deny(_)));
    }

    #[test]
    fn whoever_asks_the_owner_is_asked_first() {
        let person = Principal::Person("7".into());
        let verdict =
            |egress, principal: &Principal| decide(&CallFacts { tool: &tool(egress), principal, ask_first: true });
        assert_eq!(verdict(false, &person), Decision::Ask);
        assert_eq!(verdict(true, &Principal::Owner), Decision::Ask);
        assert!(matches!(verdict(true, &person), Decision::Deny(_)), "asking opens nothing that is closed");
    }
}
