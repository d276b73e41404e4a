//! The error answers of the Messages API: status, type, sentence, optional code.
//!
//! Knows the shape of the body and nothing about what went wrong.

use serde_json::{Value, json};

/// One error answer. [`violation`](Self::violation) tells a client bug from weather.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP status.
    pub status: u16,
    /// Value of `error.type`.
    pub kind: String,
    /// Value of `error.message`.
    pub message: String,
    /// Value of `error.details.error_code`, if there is one.
    pub code: Option<String>,
    /// Value of the `retry-after` header, if there is one.
    pub retry_after: Option<String>,
    /// The client sent something that no correct client sends; it goes to the list of violations.
    pub violation: bool,
}

impl ApiError {
    /// A 400 that no correct client gets.
    pub fn illegal(message: impl Into<String>) -> Self {
        Self { violation: true, ..Self::plain(400, "invalid_request_error", message) }
    }

    /// An answer that also a correct client may get (a wrong key, a full context window, an outage).
    pub fn plain(status: u16, kind: &str, message: impl Into<String>) -> Self {
        Self { status, kind: kind.to_owned(), message: message.into(), code: None, retry_after: None, violation: false }
    }

    /// The JSON body.
    pub fn body(&self, request_id: &str) -> Value {
        let mut error = json!({ "type": self.kind, "message": self.message });
        if let Some(code) = &self.code {
            error["details"] = json!({ "error_code": code });
        }
        json!({ "type": "error", "error": error, "request_id": request_id })
    }
}
