//! Which requests are legal: headers, betas, fields, tools, thinking, markers, limits of the model.
//!
//! Together with [`super::history`] this is the judge of the product's own validator, so it shares nothing with it and
//! is written from the public documentation. It keeps no state and refuses to know what the answer will be.
//! Stricter than the service: fields and betas that the product has no use for are refused as unknown.

use std::collections::HashSet;

use serde_json::Value;

use super::error::ApiError;
use super::history::{self, Context, judge_messages, name_is_legal};
use super::models::{Model, Models};

/// The one accepted `anthropic-version`.
pub const VERSION: &str = "2026-10-21";
/// Most `cache_control` markers of one request, the automatic one included.
const MARKERS_MAX: usize = 4;
/// Longest `metadata.user_id` in bytes.
const USER_ID_BYTES_MAX: usize = 256;

const BETA_COMPACT: &str = "compact-2026-09-04";
const BETA_UPDATES: &str = "thinking-display-updates-2026-08-18";
const BETA_MESSAGE_CONFIG: &str = "mid-conversation-output-config-2026-07-01";
const BETA_BINDING: &str = "thinking-binding-controls-2026-08-01";
const BETA_CLEAR_AT: &str = "mid-conversation-system-clear-at-2026-08-21";
const BETAS: [&str; 10] = [
    BETA_COMPACT,
    BETA_UPDATES,
    BETA_MESSAGE_CONFIG,
    BETA_BINDING,
    BETA_CLEAR_AT,
    "compact-2026-01-12",
    "context-management-2025-06-27",
    "mid-conversation-tool-changes-2026-07-01",
    "inline-tools-2026-09-15",
    "cache-diagnosis-2026-04-07",
];

const COUNT_FIELDS: [&str; 8] =
    ["model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control"];
const MESSAGE_FIELDS: [&str; 10] = [
    "max_tokens",
    "stream",
    "metadata",
    "diagnostics",
    "stop_sequences",
    "service_tier",
    "speed",
    "inference_geo",
    "container",
    "compaction",
];

/// Which of the two endpoints with a body is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `POST /v1/messages`
    Messages,
    /// `POST /v1/messages/count_tokens`
    CountTokens,
}

/// What request and headers alone do not tell.
pub struct Rules<'m, 'a> {
    /// The models that exist.
    pub models: &'m Models,
    /// The only accepted key.
    pub api_key: &'a str,
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Whether an assistant message with this `content` ended with `pause_turn`.
    pub paused: &'a dyn Fn(&Value) -> bool,
    /// Whether the fake itself sent this call of a tool that was never declared.
    pub undeclared: &'a dyn Fn(&str) -> bool,
}

/// Judges a `POST /v1/messages` of a conversation without paused replies, with whatever key.
///
/// The error is the answer the service would give.
pub fn judge_request(headers: &[(String, String)], body: &Value, models: &Models) -> Result<(), ApiError> {
    let key = headers.iter().find_map(|(name, value)| match name.as_str() {
        "x-api-key" => Some(value.as_str()),
        "authorization" => value.strip_prefix("Bearer "),
        _ => None,
    });
    let rules = Rules {
        models,
        api_key: key.unwrap_or_default(),
        endpoint: Endpoint::Messages,
        paused: &|_| false,
        undeclared: &|_| false,
    };
    judge(headers, body, &rules).map(|_| ())
}

/// Judges a request with a body; on success the model it is for.
pub fn judge<'m>(headers: &[(String, String)], body: &Value, rules: &Rules<'m, '_>) -> Result<&'m Model, ApiError> {
    let betas = judge_headers(headers, rules.api_key)?;
    if !one(headers, "content-type").is_some_and(|value| value.starts_with("application/json")) {
        return Err(ApiError::illegal("content-type: Input should be 'application/json'"));
    }
    let request = Request { body, betas, endpoint: rules.endpoint };
    request.fields().map_err(ApiError::illegal)?;
    let name = body["model"].as_str().ok_or_else(|| ApiError::illegal("model: Field required"))?;
    let model =
        rules.models.get(name).ok_or_else(|| ApiError::plain(404, "not_found_error", format!("model: {name}")))?;
    let checks = [
        request.numbers(model),
        request.thinking(model),
        request.output(model),
        request.system(),
        request.tools(model),
        request.markers(),
        request.messages(model, rules),
    ];
    checks.into_iter().collect::<Result<(), String>>().map_err(ApiError::illegal)?;
    Ok(model)
}

/// Judges the headers that every endpoint wants; on success the declared betas.
pub fn judge_headers<'a>(headers: &'a [(String, String)], api_key: &str) -> Result<Vec<&'a str>, ApiError> {
    let unauthorized =
        |text: &str, violation| ApiError { violation, ..ApiError::plain(401, "authentication_error", text) };
    let keys: Vec<&(String, String)> =
        headers.iter().filter(|(name, _)| name == "x-api-key" || name == "authorization").collect();
    let key = match keys.as_slice() {
        [] => return Err(unauthorized("x-api-key header is required", true)),
        [(name, value)] if name == "x-api-key" => Some(value.as_str()),
        [(_, value)] => value.strip_prefix("Bearer "),
        _ => return Err(unauthorized("exactly one of x-api-key and authorization is accepted", true)),
    };
    if key != Some(api_key) {
        return Err(unauthorized("invalid x-api-key", false));
    }
    if headers.iter().any(|(name, _)| name == "origin") {
        return Err(unauthorized("CORS requests are not allowed for this organization", true));
    }
    match one(headers, "anthropic-version") {
        Some(VERSION) => {}
        None => return Err(ApiError::illegal("anthropic-version: header is required")),
        Some(other) => {
            return Err(ApiError::illegal(format!("anthropic-version: \"{other}\" is not a valid version")));
        }
    }
    let list = one(headers, "anthropic-beta").unwrap_or_default();
    let betas: Vec<&str> = list.split(',').map(str::trim).filter(|beta| !beta.is_empty()).collect();
    match betas.iter().find(|beta| !BETAS.contains(beta)) {
        Some(unknown) => Err(ApiError::illegal(format!(
            "Unexpected value(s) `{unknown}` for the `anthropic-beta` header. Please consult our documentation"
        ))),
        None => Ok(betas),
    }
}

/// The value of a header that is there exactly once.
fn one<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut values = headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
    values.next().filter(|_| values.next().is_none())
}

struct Request<'a> {
    body: &'a Value,
    betas: Vec<&'a str>,
    endpoint: Endpoint,
}

impl Request<'_> {
    fn beta(&self, name: &str) -> bool {
        self.betas.contains(&name)
    }

    fn fields(&self) -> Result<(), String> {
        let fields = self.body.as_object().ok_or("Input should be a valid dictionary")?;
        let messages = self.endpoint == Endpoint::Messages;
        for key in fields.keys() {
            let known = COUNT_FIELDS.contains(&key.as_str()) || messages && MESSAGE_FIELDS.contains(&key.as_str());
            if !known || key == "compaction" && !self.beta(BETA_COMPACT) {
                return Err(format!("{key}: Extra inputs are not permitted"));
            }
        }
        Ok(())
    }

    fn numbers(&self, model: &Model) -> Result<(), String> {
        if self.endpoint == Endpoint::CountTokens {
            return Ok(());
        }
        let body = self.body;
        if !matches!(body.get("stream"), None | Some(Value::Bool(_))) {
            return Err("stream: Input should be a valid boolean".into());
        }
        let tokens = body.get("max_tokens").ok_or("max_tokens: Field required")?;
        match tokens.as_u64() {
            None => return Err("max_tokens: Input should be a valid integer, at least 0".into()),
            Some(0) if body["stream"] == true => return Err("max_tokens: 0 is not permitted with `stream`".into()),
            Some(tokens) if tokens > model.max_output => {
                return Err(format!(
                    "max_tokens: {tokens} > {}, which is the maximum allowed number of output tokens for {}",
                    model.max_output, model.id
                ));
            }
            Some(_) => {}
        }
        if let Some(metadata) = body.get("metadata") {
            only(metadata, "metadata", &["user_id"])?;
            let user = metadata["user_id"].as_str().ok_or("metadata.user_id: Input should be a valid string")?;
            if user.len() > USER_ID_BYTES_MAX {
                return Err(format!("metadata.user_id: String should have at most {USER_ID_BYTES_MAX} characters"));
            }
        }
        if let Some(diagnostics) = body.get("diagnostics") {
            only(diagnostics, "diagnostics", &["previous_message_id"])?;
        }
        if let Some(compaction) = body.get("compaction") {
            only(compaction, "compaction", &["type", "instructions"])?;
            if compaction["type"] != "summarize" {
                return Err("compaction.type: Input should be 'summarize'".into());
            }
        }
        choice(body, "service_tier", &["auto", "standard_only"])?;
        choice(body, "speed", &["standard", "fast"])
    }

    fn thinking(&self, model: &Model) -> Result<(), String> {
        let Some(thinking) = self.body.get("thinking") else { return Ok(()) };
        only(thinking, "thinking", &["type", "display", "budget_tokens", "block_binding"])?;
        let kind = thinking["type"].as_str().ok_or("thinking.type: Field required")?;
        if !model.thinking.contains(&kind) {
            return Err(format!("thinking.type: '{kind}' is not supported on {}", model.id));
        }
        let budget = thinking.get("budget_tokens").map(|budget| budget.as_u64().unwrap_or_default());
        let max_tokens = self.body["max_tokens"].as_u64().unwrap_or(u64::MAX);
        match (kind, budget) {
            ("enabled", Some(budget)) if budget >= 1_024 && budget < max_tokens => {}
            ("enabled", _) => {
                return Err("thinking.enabled.budget_tokens: at least 1024 and below `max_tokens`".into());
            }
            (_, Some(_)) => return Err(format!("thinking.{kind}.budget_tokens: Extra inputs are not permitted")),
            _ => {}
        }
        choice(thinking, "display", &["summarized", "omitted", "updates"])?;
        if thinking["display"] == "updates" && !self.beta(BETA_UPDATES) {
            return Err("thinking.display: Input should be 'summarized' or 'omitted'".into());
        }
        if kind == "disabled" && thinking.as_object().is_some_and(|fields| fields.len() > 1) {
            return Err("thinking.disabled: Extra inputs are not permitted".into());
        }
        match thinking.get("block_binding") {
            Some(_) if !self.beta(BETA_BINDING) => {
                Err(format!("thinking.{kind}.block_binding: Extra inputs are not permitted"))
            }
            Some(binding) => {
                only(binding, "thinking.block_binding", &["prefix_mismatch_behavior"])?;
                choice(binding, "prefix_mismatch_behavior", &["drop_block", "error"])
            }
            None => Ok(()),
        }
    }

    fn output(&self, model: &Model) -> Result<(), String> {
        let Some(config) = self.body.get("output_config") else { return Ok(()) };
        only(config, "output_config", &["effort", "format"])?;
        effort(config, model)?;
        if let Some(format) = config.get("format") {
            only(format, "output_config.format", &["type", "schema"])?;
            if format["type"] != "json_schema" || !format["schema"].is_object() {
                return Err("output_config.format: Input should be a json_schema with an object as `schema`".into());
            }
        }
        Ok(())
    }

    fn system(&self) -> Result<(), String> {
        match self.body.get("system") {
            None => Ok(()),
            Some(Value::String(text)) if !text.trim().is_empty() => Ok(()),
            Some(Value::String(_)) => Err("system: text content blocks must contain non-whitespace text".into()),
            Some(Value::Array(blocks)) => {
                blocks.iter().enumerate().try_for_each(|(at, block)| history::judge_system_block(block, at))
            }
            Some(_) => Err("system: Input should be a valid string or array of text blocks".into()),
        }
    }

    fn tools(&self, model: &Model) -> Result<(), String> {
        let mut names = HashSet::new();
        let mut undeferred = false;
        for (at, tool) in array(self.body, "tools")?.iter().enumerate() {
            undeferred |= tool["defer_loading"] != true;
            let name = judge_tool(tool, at)?;
            if !names.insert(name) {
                return Err(format!("tools: Tool names must be unique, found '{name}' twice"));
            }
        }
        if !names.is_empty() && !undeferred {
            return Err("tools: at least one tool must not have `defer_loading`".into());
        }
        let Some(choice) = self.body.get("tool_choice") else { return Ok(()) };
        only(choice, "tool_choice", &["type", "name", "disable_parallel_tool_use"])?;
        if names.is_empty() {
            return Err("tool_choice: may only be specified while providing tools".into());
        }
        match choice["type"].as_str() {
            Some("auto" | "none") => Ok(()),
            Some(kind @ ("any" | "tool")) if !model.forced_tools => {
                Err(format!("tool_choice.type: '{kind}' is not supported on {}", model.id))
            }
            Some("any") => Ok(()),
            Some("tool") if choice["name"].as_str().is_some_and(|name| names.contains(name)) => Ok(()),
            _ => Err("tool_choice: Input should be 'auto', 'any', 'none' or a 'tool' that is declared".into()),
        }
    }

    /// Number, shape and order of the `cache_control` markers, in render order.
    fn markers(&self) -> Result<(), String> {
        let body = self.body;
        let mut markers: Vec<(String, &Value)> = Vec::new();
        for (at, tool) in array(body, "tools")?.iter().enumerate() {
            mark(&mut markers, tool, || format!("tools.{at}"));
        }
        for (at, block) in body["system"].as_array().into_iter().flatten().enumerate() {
            mark(&mut markers, block, || format!("system.{at}"));
        }
        for (index, message) in body["messages"].as_array().into_iter().flatten().enumerate() {
            for (at, block) in message["content"].as_array().into_iter().flatten().enumerate() {
                mark(&mut markers, block, || format!("messages.{index}.content.{at}"));
                for inner in block["content"].as_array().into_iter().flatten() {
                    mark(&mut markers, inner, || format!("messages.{index}.content.{at}.tool_result"));
                }
            }
        }
        mark(&mut markers, body, || "top level".to_owned());
        if markers.len() > MARKERS_MAX {
            return Err(format!(
                "A maximum of {MARKERS_MAX} blocks with cache_control may be provided. Found {}.",
                markers.len()
            ));
        }
        let mut short = false;
        for (path, marker) in markers {
            only(marker, &format!("{path}.cache_control"), &["type", "ttl"])?;
            if marker["type"] != "ephemeral" || !matches!(marker["ttl"].as_str(), None | Some("5m" | "1h")) {
                return Err(format!("{path}.cache_control: Input should be 'ephemeral' with a ttl of '5m' or '1h'"));
            }
            let long = marker["ttl"] == "1h";
            if long && short {
                return Err(format!(
                    "{path}.cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' \
                     cache_control block"
                ));
            }
            short |= !long;
        }
        Ok(())
    }

    fn messages(&self, model: &Model, rules: &Rules<'_, '_>) -> Result<(), String> {
        let body = self.body;
        let messages = body.get("messages").ok_or("messages: Field required")?;
        let context = Context { paused: rules.paused, system_role: model.modern, compaction: self.beta(BETA_COMPACT) };
        judge_messages(messages, &context)?;
        let tools = array(body, "tools")?;
        let names: HashSet<&str> = tools.iter().filter_map(|tool| tool["name"].as_str()).collect();
        for (index, message) in messages.as_array().into_iter().flatten().enumerate() {
            if message["role"] == "system" {
                self.system_message(index, message, model)?;
            }
            for (at, block) in message["content"].as_array().into_iter().flatten().enumerate() {
                let name = block["name"].as_str().unwrap_or_default();
                let known = block["type"] != "tool_use"
                    || names.contains(name)
                    || block["id"].as_str().is_some_and(|id| (rules.undeclared)(id));
                // Stricter than the service, which may look away.
                if !known {
                    return Err(format!(
                        "messages.{index}.content.{at}.tool_use.name: '{name}' is not declared in `tools`"
                    ));
                }
            }
        }
        Ok(())
    }

    fn system_message(&self, index: usize, message: &Value, model: &Model) -> Result<(), String> {
        for (field, beta) in [("clear_at", BETA_CLEAR_AT), ("output_config", BETA_MESSAGE_CONFIG)] {
            if message.get(field).is_some() && !self.beta(beta) {
                return Err(format!("messages.{index}.{field}: Extra inputs are not permitted"));
            }
        }
        message.get("output_config").map_or(Ok(()), |config| effort(config, model))
    }
}

fn mark<'a>(markers: &mut Vec<(String, &'a Value)>, block: &'a Value, path: impl FnOnce() -> String) {
    if let Some(marker) = block.get("cache_control").filter(|marker| !marker.is_null()) {
        markers.push((path(), marker));
    }
}

fn judge_tool(tool: &Value, at: usize) -> Result<&str, String> {
    let path = format!("tools.{at}");
    let name = tool["name"].as_str().unwrap_or_default();
    if !name_is_legal(name, 64) {
        return Err(format!("{path}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'"));
    }
    if tool["type"].as_str().is_some_and(|kind| kind.starts_with("tool_search_tool_")) {
        only(tool, &path, &["type", "name", "cache_control"])?;
        return Ok(name);
    }
    let fields = [
        "type",
        "name",
        "description",
        "input_schema",
        "strict",
        "defer_loading",
        "cache_control",
        "input_examples",
        "eager_input_streaming",
    ];
    only(tool, &format!("{path}.custom"), &fields)?;
    choice(tool, "type", &["custom"])?;
    if tool["input_schema"]["type"] != "object" {
        return Err(format!("{path}.custom.input_schema.type: Input should be 'object'"));
    }
    if tool["defer_loading"] == true && tool.get("cache_control").is_some() {
        return Err(format!("{path}.custom: a deferred tool cannot have `cache_control`"));
    }
    Ok(name)
}

fn effort(config: &Value, model: &Model) -> Result<(), String> {
    if config.get("effort").is_some() && !model.modern {
        return Err(format!("output_config.effort: not supported on {}", model.id));
    }
    choice(config, "effort", &["low", "medium", "high", "xhigh", "max"])
}

/// A field that must be an array if it is there.
fn array<'a>(body: &'a Value, name: &str) -> Result<&'a [Value], String> {
    match body.get(name) {
        None => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(format!("{name}: Input should be a valid array")),
    }
}

fn only(value: &Value, path: &str, fields: &[&str]) -> Result<(), String> {
    let object = value.as_object().ok_or_else(|| format!("{path}: Input should be an object"))?;
    match object.keys().find(|key| !fields.contains(&key.as_str())) {
        Some(extra) => Err(format!("{path}.{extra}: Extra inputs are not permitted")),
        None => Ok(()),
    }
}

/// A string field that is absent or one of `allowed`.
fn choice(value: &Value, name: &str, allowed: &[&str]) -> Result<(), String> {
    match value.get(name) {
        None => Ok(()),
        Some(Value::String(given)) if allowed.contains(&given.as_str()) => Ok(()),
        Some(_) => Err(format!("{name}: Input should be one of {allowed:?}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn headers(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn legal_headers() -> Vec<(String, String)> {
        headers(&[("x-api-key", "k"), ("anthropic-version", VERSION), ("content-type", "application/json")])
    }

    fn request() -> Value {
        json!({
            "model": "claude-sonnet-5-5", "max_tokens": 1024, "stream": true,
            "system": [{ "type": "text", "text": "Be brief.", "cache_control": { "type": "ephemeral", "ttl": "1h" } }],
            "tools": [{ "name": "now", "description": "the time", "input_schema": { "type": "object" } }],
            "tool_choice": { "type": "auto" }, "thinking": { "type": "adaptive", "display": "omitted" },
            "output_config": { "effort": "medium" }, "metadata": { "user_id": "0011" },
            "messages": [{ "role": "user", "content": [{ "type": "text", "text": "hi" }] }],
        })
    }

    /// `field` is a JSON pointer whose value is replaced; an empty `expect` means legal.
    fn check(field: &str, value: Value, expect: &str) {
        let mut body = request();
        let (parent, name) = field.rsplit_once('/').unwrap();
        match body.pointer_mut(parent).unwrap() {
            Value::Array(items) => items[name.parse::<usize>().unwrap()] = value,
            parent => parent[name] = value,
        }
        verdict(&legal_headers(), &body, expect);
    }

    fn verdict(headers: &[(String, String)], body: &Value, expect: &str) {
        let message = judge_request(headers, body, &Models::default()).err().map(|error| error.message);
        let message = message.unwrap_or_default();
        let fits = if expect.is_empty() { message.is_empty() } else { message.contains(expect) };
        assert!(fits, "expected {expect:?}, got {message:?} for {body}");
    }

    #[test]
    fn one_legal_request_and_its_illegal_neighbours() {
        let extra = "Extra inputs are not permitted";
        check("/stream", json!(false), "");
        check("/temperature", json!(1), "temperature: Extra inputs are not permitted");
        check("/compaction", json!({ "type": "summarize" }), extra);
        check("/context_management", json!({}), extra);
        check("/max_tokens", json!(128_001), "maximum allowed number of output tokens");
        check("/max_tokens", json!(0), "not permitted with `stream`");
        check("/max_tokens", json!(-1), "valid integer");
        check("/model", json!("claude-sonnet-9"), "model: claude-sonnet-9");
        check("/thinking", json!({ "type": "disabled" }), "not supported");
        check("/thinking", json!({ "type": "between_tools" }), "");
        check("/thinking", json!({ "type": "adaptive", "budget_tokens": 2_000 }), extra);
        check("/thinking", json!({ "type": "adaptive", "display": "updates" }), "display");
        check("/thinking/block_binding", json!({ "prefix_mismatch_behavior": "drop_block" }), extra);
        check("/tool_choice", json!({ "type": "any" }), "not supported");
        check("/tool_choice", json!({ "type": "none" }), "");
        check("/tools", json!([]), "while providing tools");
        check("/tools/0/name", json!("a b"), "pattern");
        check("/tools/0/input_schema", json!({ "type": "array" }), "input_schema.type");
        check("/tools/0/colour", json!("red"), extra);
        check("/output_config/effort", json!("huge"), "effort");
        check("/metadata/name", json!("Ann"), extra);
        check("/system/0/text", json!("  "), "non-whitespace");
        check("/messages/0/content/0/cache_control", json!({ "type": "ephemeral" }), "");
        check("/messages/0/content/0/cache_control", json!({ "type": "ephemeral", "ttl": "2h" }), "ttl");
        check("/system/0/cache_control/ttl", json!("5m"), "");
        check("/messages/0/role", json!("system"), "directly follow");
    }

    #[test]
    fn markers_are_counted_and_ordered() {
        let mut body = request();
        let text =
            |ttl: &str| json!({ "type": "text", "text": "a", "cache_control": { "type": "ephemeral", "ttl": ttl } });
        body["messages"][0]["content"] = json!([text("1h"), text("5m"), text("5m")]);
        verdict(&legal_headers(), &body, "");
        body["messages"][0]["content"] = json!([text("5m"), text("1h")]);
        verdict(&legal_headers(), &body, "must not come after");
        body["messages"][0]["content"] = json!([text("5m"), text("5m"), text("5m"), text("5m")]);
        verdict(&legal_headers(), &body, "maximum of 4");
    }

    #[test]
    fn headers_are_exact() {
        let with = |list: &[(&str, &str)]| {
            let mut all = headers(&[("content-type", "application/json")]);
            all.extend(headers(list));
            all
        };
        let version = ("anthropic-version", VERSION);
        verdict(&with(&[("authorization", "Bearer k"), version]), &request(), "");
        verdict(&with(&[("authorization", "Bearer k"), ("x-api-key", "k"), version]), &request(), "exactly one");
        verdict(&with(&[version]), &request(), "required");
        verdict(&with(&[("x-api-key", "k"), ("anthropic-version", "2023-06-01")]), &request(), "not a valid version");
        verdict(&with(&[("x-api-key", "k"), version, ("anthropic-beta", "x-1")]), &request(), "anthropic-beta");
        verdict(&with(&[("x-api-key", "k"), version, ("anthropic-beta", BETA_BINDING)]), &request(), "");
        verdict(&with(&[("x-api-key", "k"), version, ("origin", "null")]), &request(), "CORS");
    }

    #[test]
    fn calls_must_be_of_declared_tools() {
        let mut body = request();
        let round = |name: &str| {
            json!([
                { "role": "user", "content": "hi" },
                { "role": "assistant", "content": [{ "type": "tool_use", "id": "a", "name": name, "input": {} }] },
                { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "a", "content": "noon" }] },
            ])
        };
        body["messages"] = round("now");
        verdict(&legal_headers(), &body, "");
        body["messages"] = round("later");
        verdict(&legal_headers(), &body, "not declared");
    }
}
