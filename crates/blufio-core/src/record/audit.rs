//! What may always run, and what was recorded, for showing.

use crate::ids::{GrantId, SessionKey, ToolName};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// An "always" of an owner that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its number.
    pub id: GrantId,
    /// The tool.
    pub tool: ToolName,
    /// The exact arguments.
    pub arguments: String,
    /// Since when.
    pub made_at: Timestamp,
    /// Who said so.
    pub made_by: String,
    /// The last call that ran because of it.
    pub used_at: Option<Timestamp>,
    /// How many calls ran because of it.
    pub uses: u64,
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditView {
    /// Its number.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// The word of its kind; see [`crate::audit::AuditKind`].
    pub kind: String,
    /// Who.
    pub actor: String,
    /// The conversation.
    pub session: Option<SessionKey>,
    /// About what.
    pub target: String,
    /// How it ended.
    pub outcome: String,
    /// Everything else, as long as it is kept.
    pub detail: Option<serde_json::Value>,
}
