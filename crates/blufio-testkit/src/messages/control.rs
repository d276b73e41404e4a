//! The fake as its own process: what a test calls directly, as JSON under `/_control/`.
//!
//! | method and path | does |
//! |---|---|
//! | `POST script` | appends a script |
//! | `POST fault`, `POST clear_faults` | orders a fault, takes all back |
//! | `GET spend` | `{"calls":n,"spend_micro_usd":n,"open_calls":n,"disconnects":n}` |
//! | `GET violations`, `GET prompts`, `GET requests` | arrays |

use serde_json::{Value, json};

use super::{Fault, LoggedRequest, Script, Shared, lock};

/// Status and body for a control request.
pub fn answer(shared: &Shared, method: &str, path: &str, body: &[u8]) -> (u16, Value) {
    let done = || (200, json!({ "ok": true }));
    let wrong = |error: serde_json::Error| (400, json!({ "error": error.to_string() }));
    match (method, path) {
        ("POST", "script") => match serde_json::from_slice::<Script>(body) {
            Ok(script) => {
                lock(&shared.scripts).push_back(script);
                done()
            }
            Err(error) => wrong(error),
        },
        ("POST", "fault") => match serde_json::from_slice::<Fault>(body) {
            Ok(fault) => {
                lock(&shared.faults).push(fault);
                done()
            }
            Err(error) => wrong(error),
        },
        ("POST", "clear_faults") => {
            lock(&shared.faults).clear();
            done()
        }
        ("GET", _) => read(shared, path),
        _ => (404, json!({ "error": "no such control" })),
    }
}

fn read(shared: &Shared, path: &str) -> (u16, Value) {
    let observed = lock(&shared.observed);
    let found = match path {
        "spend" => json!({
            "calls": observed.calls, "spend_micro_usd": observed.spend,
            "open_calls": observed.open_calls, "disconnects": observed.disconnects,
        }),
        "violations" => json!(observed.violations),
        "prompts" => json!(observed.prompts),
        "requests" => observed.requests.iter().map(logged).collect(),
        _ => return (404, json!({ "error": "no such control" })),
    };
    (200, found)
}

fn logged(request: &LoggedRequest) -> Value {
    // The key is the client's secret, also when the client is a test.
    let secret = |name: &str| name == "x-api-key" || name == "authorization";
    let headers: Vec<Value> =
        request.headers.iter().filter(|(name, _)| !secret(name)).map(|(name, value)| json!([name, value])).collect();
    json!({
        "at_ms": u64::try_from(request.at.as_millis()).unwrap_or(u64::MAX), "target": request.target,
        "headers": headers, "body": *request.body, "status": request.status, "message_id": request.message_id,
    })
}
