//! The envelope of Bot API answers.

use bytes::Bytes;
use serde_json::{Value, json};

/// Why a call had no effect.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) description: String,
    /// `parameters`, null for none.
    pub(super) parameters: Value,
    /// Set when no correct client makes such a call.
    pub(super) violation: Option<String>,
}

impl Refusal {
    pub(super) fn new(status: u16, description: impl Into<String>) -> Self {
        Self { status, description: description.into(), parameters: Value::Null, violation: None }
    }

    /// A 400; `description` without the prefix `Bad Request: `.
    pub(super) fn bad(description: impl AsRef<str>) -> Self {
        Self::new(400, format!("Bad Request: {}", description.as_ref()))
    }

    /// A 400 that is also recorded as a bug of the client.
    pub(super) fn bug(description: impl AsRef<str>, violation: impl Into<String>) -> Self {
        Self { violation: Some(violation.into()), ..Self::bad(description) }
    }

    /// A 429.
    pub(super) fn too_many(retry_after: Option<u64>) -> Self {
        match retry_after {
            Some(seconds) => Self {
                parameters: json!({"retry_after": seconds}),
                ..Self::new(429, format!("Too Many Requests: retry after {seconds}"))
            },
            None => Self::new(429, "Too Many Requests"),
        }
    }
}

/// An answer ready to be sent.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: Bytes,
    pub(super) description: Option<String>,
}

const JSON: &str = "application/json";

impl Answer {
    /// A success whose `result` is this JSON text.
    pub(super) fn raw(result: &str) -> Self {
        let body = format!("{{\"ok\":true,\"result\":{result}}}");
        Self { status: 200, content_type: JSON, body: body.into(), description: None }
    }

    /// Content of a downloaded file.
    pub(super) fn file(body: Bytes) -> Self {
        Self { status: 200, content_type: "application/octet-stream", body, description: None }
    }

    /// The page that a reverse proxy shows when the server behind it is down.
    pub(super) fn proxy_page() -> Self {
        let body = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>nginx</body>\r\n</html>\r\n";
        Self { status: 502, content_type: "text/html", body: Bytes::from_static(body.as_bytes()), description: None }
    }

    /// An answer that sends the client elsewhere.
    pub(super) fn redirect() -> Self {
        Self { status: 302, content_type: "text/html", body: Bytes::new(), description: None }
    }

    pub(super) fn of(outcome: Result<Value, Refusal>) -> Self {
        match outcome {
            Ok(result) => Self::raw(&result.to_string()),
            Err(refusal) => {
                let mut body = json!({"ok": false, "error_code": refusal.status, "description": refusal.description});
                if !refusal.parameters.is_null() {
                    body["parameters"] = refusal.parameters;
                }
                let body = body.to_string().into();
                Self { status: refusal.status, content_type: JSON, body, description: Some(refusal.description) }
            }
        }
    }
}
