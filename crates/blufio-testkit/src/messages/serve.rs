//! From request to answer: judge, count, pick script and faults, build the reply.
//!
//! How the bytes travel is the business of [`super::send`]; what is legal, of [`super::judge`].

use std::sync::{Arc, PoisonError};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::brain::{self, Plan, Turn};
use super::canonical;
use super::error::ApiError;
use super::judge::{self, Endpoint, Rules};
use super::models::{Model, Usage};
use super::reply::{Part, Reply, UsageStyle, future_block};
use super::script::{Block, Class, FaultKind, Script, When};
use super::send::{self, Bill};
use super::signature::Checked;
use super::{FINGERPRINTS_MAX, LoggedRequest, Memory, Shared, cache, control, lock, remember};
use crate::http::{Handler, Request, Responder};

/// Largest accepted body in bytes.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;

impl Handler for Shared {
    async fn handle(&self, request: Request, responder: Responder) {
        if let Some(path) = request.path.strip_prefix("/_control/") {
            let (status, body) = control::answer(self, &request.method, path, &request.body);
            return responder.full(status, &[("content-type", "application/json")], body.to_string()).await;
        }
        let request_id = self.next_id("req");
        match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/v1/messages") => self.messages(request, responder, &request_id).await,
            ("POST", "/v1/messages/count_tokens") => {
                let body = parse(&request);
                let answer = body.as_ref().map_err(Clone::clone).and_then(|body| {
                    self.judge(&request, body, Endpoint::CountTokens)?;
                    Ok(json!({ "input_tokens": cache::prompt_tokens(body) }))
                });
                self.simple(&request, body.unwrap_or_default(), responder, &request_id, answer).await;
            }
            ("GET", path) if path == "/v1/models" || path.starts_with("/v1/models/") => {
                let answer = judge::judge_headers(&request.headers, &self.config.api_key).and_then(|_| {
                    match path.strip_prefix("/v1/models/") {
                        None => Ok(self.models.list()),
                        Some(id) => self
                            .models
                            .get(id)
                            .map(Model::describe)
                            .ok_or_else(|| ApiError::plain(404, "not_found_error", format!("model: {id}"))),
                    }
                });
                self.simple(&request, Value::Null, responder, &request_id, answer).await;
            }
            _ => {
                let error = ApiError { violation: true, ..ApiError::plain(404, "not_found_error", "Not Found") };
                self.simple(&request, Value::Null, responder, &request_id, Err(error)).await;
            }
        }
    }
}

/// What is known of a legal request before it is answered.
struct Accepted<'a> {
    model: &'a Model,
    turn: Turn,
    checked: Checked,
}

impl Shared {
    async fn simple(
        &self,
        request: &Request,
        body: Value,
        responder: Responder,
        request_id: &str,
        answer: Result<Value, ApiError>,
    ) {
        match answer {
            Ok(answer) => {
                self.log(request, Arc::new(body), 200, None);
                let headers = [("content-type", "application/json"), ("request-id", request_id)];
                responder.full(200, &headers, answer.to_string()).await;
            }
            Err(error) => self.refuse(request, Arc::new(body), responder, request_id, &error).await,
        }
    }

    async fn refuse(
        &self,
        request: &Request,
        body: Arc<Value>,
        responder: Responder,
        request_id: &str,
        error: &ApiError,
    ) {
        if error.violation {
            self.note(|observed| {
                observed.violation(format!("{} {}: {}", request.method, request.path, error.message));
            });
        }
        self.log(request, body, error.status, None);
        send::error(responder, error, request_id).await;
    }

    fn log(&self, request: &Request, body: Arc<Value>, status: u16, message_id: Option<&str>) {
        let limit = self.config.log_limit;
        if limit == 0 {
            return;
        }
        let logged = LoggedRequest {
            at: self.started.elapsed(),
            target: format!("{} {}", request.method, request.path),
            headers: request.headers.clone(),
            body,
            status,
            message_id: message_id.map(str::to_owned),
        };
        self.note(|observed| {
            if observed.requests.len() >= limit {
                observed.requests.pop_front();
            }
            observed.requests.push_back(logged);
        });
    }

    fn judge(&self, request: &Request, body: &Value, endpoint: Endpoint) -> Result<&Model, ApiError> {
        let memory = self.memory.read().unwrap_or_else(PoisonError::into_inner);
        let rules = Rules {
            models: &self.models,
            api_key: &self.config.api_key,
            endpoint,
            paused: &|content| !memory.paused.is_empty() && memory.paused.contains(&canonical::digest(0, content)),
            undeclared: &|id| memory.undeclared.contains(id),
        };
        judge::judge(&request.headers, body, &rules)
    }

    fn accept(&self, request: &Request, body: &Value) -> Result<Accepted<'_>, ApiError> {
        let model = self.judge(request, body, Endpoint::Messages)?;
        let memory = self.memory.read().unwrap_or_else(PoisonError::into_inner);
        let foreign = |signature: &str| !self.config.signatures || memory.foreign.contains(signature);
        let checked = self.signer.check(body, model, &foreign)?;
        let tokens = cache::prompt_tokens(body);
        if tokens > model.context {
            let text = format!("prompt is too long: {tokens} tokens > {} maximum", model.context);
            return Err(ApiError::plain(400, "invalid_request_error", text));
        }
        Ok(Accepted { model, turn: brain::turn(body), checked })
    }

    async fn messages(&self, request: Request, responder: Responder, request_id: &str) {
        if request.body.len() > BODY_BYTES_MAX {
            let error = ApiError::plain(413, "request_too_large", "Request exceeds the maximum size");
            return self.refuse(&request, Arc::default(), responder, request_id, &error).await;
        }
        let body = match parse(&request) {
            Ok(body) => Arc::new(body),
            Err(error) => return self.refuse(&request, Arc::default(), responder, request_id, &error).await,
        };
        let accepted = match self.accept(&request, &body) {
            Ok(accepted) => accepted,
            Err(error) => return self.refuse(&request, body, responder, request_id, &error).await,
        };
        if self.config.log_limit > 0 {
            self.note(|observed| {
                if observed.prompts.len() >= self.config.log_limit {
                    observed.prompts.pop_front();
                }
                observed.prompts.push_back(accepted.turn.text.clone());
            });
        }
        let mut faults = self.take_faults(&accepted.turn.text);
        match faults.first() {
            Some(FaultKind::Status { code, kind, message, error_code, retry_after }) => {
                let mut error = ApiError::plain(*code, kind, message.clone());
                (error.code, error.retry_after) = (error_code.clone(), retry_after.clone());
                return self.refuse(&request, body, responder, request_id, &error).await;
            }
            Some(FaultKind::ResetConnection) => {
                self.log(&request, body, 0, None);
                return responder.reset();
            }
            Some(FaultKind::NeverAnswer) => {
                self.log(&request, body, 0, None);
                return send::hold(responder).await;
            }
            _ => {}
        }
        let script = self.take_script(&accepted);
        faults.extend(script.iter().flat_map(|script| script.faults.iter().cloned()));
        let mut usage = if self.config.cache {
            lock(&self.cache).account(&body, accepted.model, Instant::now())
        } else {
            Usage { input: cache::prompt_tokens(&body), ..Usage::default() }
        };
        let model = accepted.model;
        let stream = body["stream"] == true;
        let mut reply = self.reply(&body, accepted, script, &faults, &mut usage);
        self.diagnose(&body, &mut reply);
        self.log(&request, body, 200, Some(&reply.id));
        let bill = Bill::open(self, model, usage);
        send::reply(responder, &reply, stream, &faults, bill, request_id).await;
    }

    /// The oldest fault of each class that applies; one that ends the request stands alone.
    fn take_faults(&self, text: &str) -> Vec<FaultKind> {
        let mut faults = lock(&self.faults);
        let mut taken: Vec<FaultKind> = Vec::new();
        for class in [Class::Instead, Class::Reply, Class::Transport] {
            let applies = |fault: &&mut super::Fault| {
                fault.kind.class() == class && fault.only_if.as_ref().is_none_or(|part| text.contains(part.as_str()))
            };
            let Some(fault) = faults.iter_mut().find(applies) else { continue };
            if let When::Next(left) = &mut fault.when {
                *left = left.saturating_sub(1);
            }
            taken.push(fault.kind.clone());
            let ends =
                matches!(fault.kind, FaultKind::Status { .. } | FaultKind::ResetConnection | FaultKind::NeverAnswer);
            if ends {
                break;
            }
        }
        faults.retain(|fault| fault.when != When::Next(0));
        taken
    }

    fn take_script(&self, accepted: &Accepted<'_>) -> Option<Script> {
        let mut scripts = lock(&self.scripts);
        let fits = |script: &Script| {
            script.only_if.as_ref().is_none_or(|part| accepted.turn.text.contains(part.as_str()))
                && script.model.as_ref().is_none_or(|model| model == accepted.model.id)
        };
        let at = scripts.iter().position(fits)?;
        scripts.remove(at)
    }

    fn reply(
        &self,
        body: &Value,
        accepted: Accepted<'_>,
        script: Option<Script>,
        faults: &[FaultKind],
        usage: &mut Usage,
    ) -> Reply {
        let Accepted { model, turn, mut checked } = accepted;
        let max_tokens = body["max_tokens"].as_u64().unwrap_or_default();
        let mut reply = Reply { id: self.next_id("msg"), model: model.id.to_owned(), ..Reply::default() };
        let (mut blocks, stop) = match script {
            Some(script) => {
                reply.chunking = script.chunking;
                (reply.first_token_ms, reply.delta_ms) = (script.first_token_ms, script.delta_ms);
                (script.blocks, script.stop_reason)
            }
            None => {
                let plan = self.plan(body, &turn, max_tokens);
                (reply.first_token_ms, reply.delta_ms) = (plan.first_token_ms, plan.delta_ms.max(self.config.delta_ms));
                (plan.blocks, plan.stop_reason.map(str::to_owned))
            }
        };
        let mut stop = stop.unwrap_or_else(|| {
            let call = blocks.iter().any(|block| matches!(block, Block::Tool { .. }));
            if call { "tool_use" } else { "end_turn" }.to_owned()
        });
        for fault in faults {
            damage(fault, body, &mut blocks, &mut stop, &mut reply);
        }

        checked.prefix.open(&json!({ "role": "assistant" }));
        for block in blocks {
            let part = self.part(block, body, model, &mut checked);
            if !matches!(part, Part::Thinking { .. }) && super::signature::thinking(&part.block()).is_none() {
                checked.prefix.push(&part.block());
            }
            reply.parts.push(part);
        }
        if faults.contains(&FaultKind::UnknownEvents) {
            // After the thinking, which must come first, and unsigned, so that no later block depends on its place.
            reply.parts.push(future_block());
            reply.unknown_events = true;
        }
        if stop == "refusal" {
            let details =
                json!({ "type": "refusal", "category": "general_harms", "explanation": "The fake was told to." });
            reply.extra.insert("stop_details".into(), details);
        }
        if !checked.dropped.is_empty() {
            reply.extra.insert("input_transformations".into(), json!(checked.dropped));
        }
        reply.stop_reason = stop;
        usage.output = reply.parts.iter().map(Part::tokens).sum::<u64>().max(u64::from(max_tokens > 0));
        reply.usage = *usage;
        self.remember(body, &reply);
        reply
    }

    /// The built-in answer, within `max_tokens`.
    fn plan(&self, body: &Value, turn: &Turn, max_tokens: u64) -> Plan {
        let mut plan = brain::plan(body, turn);
        if max_tokens == 0 {
            return Plan { blocks: Vec::new(), stop_reason: Some("max_tokens"), ..plan };
        }
        if plan.cut_call {
            let history = canonical::digest(0, &body["messages"]);
            let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
            if !memory.cut.contains(&history) {
                remember(&mut memory.cut, history);
                if let Some(Block::Tool { input, .. }) = plan.blocks.last_mut() {
                    input.truncate(input.floor_char_boundary(input.len() / 2));
                }
                plan.stop_reason = Some("max_tokens");
            }
        }
        if let Some(Block::Text(text)) = plan.blocks.last_mut()
            && canonical::text_tokens(text) > max_tokens
        {
            let bytes = usize::try_from(max_tokens).unwrap_or(usize::MAX).saturating_mul(4);
            text.truncate(text.floor_char_boundary(bytes));
            plan.stop_reason = Some("max_tokens");
        }
        plan
    }

    fn part(&self, block: Block, body: &Value, model: &Model, checked: &mut Checked) -> Part {
        match block {
            Block::Text(text) => Part::Text(text),
            Block::Tool { id, name, input } => {
                Part::Tool { id: id.unwrap_or_else(|| self.next_id("toolu")), name, input }
            }
            Block::Thinking(text) => {
                // Under the default display of the current models the text stays with the service.
                let shown = body["thinking"]["display"] == "summarized" || !model.modern;
                let text = if shown { text } else { String::new() };
                let signature = self.signer.sign(&mut checked.prefix, model, &text);
                Part::Thinking { text, signature }
            }
            Block::Redacted => {
                let data = self.signer.sign(&mut checked.prefix, model, "");
                Part::Raw(json!({ "type": "redacted_thinking", "data": data }))
            }
            Block::Raw(block) => {
                if let Some((_, signature)) = super::signature::thinking(&block) {
                    let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
                    remember(&mut memory.foreign, signature.to_owned());
                }
                Part::Raw(block)
            }
        }
    }

    /// Keeps what the next request may repeat although it is unusual.
    fn remember(&self, body: &Value, reply: &Reply) {
        let declared = |name: &str| body["tools"].as_array().into_iter().flatten().any(|tool| tool["name"] == name);
        let unusual: Vec<&str> = reply
            .parts
            .iter()
            .filter_map(|part| match part {
                Part::Tool { id, name, .. } if !declared(name) => Some(id.as_str()),
                _ => None,
            })
            .collect();
        let paused = reply.stop_reason == "pause_turn";
        if unusual.is_empty() && !paused {
            return;
        }
        let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
        if paused {
            remember(&mut memory.paused, canonical::digest(0, &reply.content()));
        }
        unusual.into_iter().for_each(|id| remember(&mut memory.undeclared, id.to_owned()));
    }

    /// Answers `diagnostics`, if it was asked for.
    fn diagnose(&self, body: &Value, reply: &mut Reply) {
        let Some(asked) = body.get("diagnostics") else { return };
        let fingerprint = cache::Fingerprint::of(body);
        let Memory { fingerprints, .. } = &mut *self.memory.write().unwrap_or_else(PoisonError::into_inner);
        let reason = asked["previous_message_id"]
            .as_str()
            .and_then(|id| fingerprint.miss_reason(fingerprints.get(id), reply.usage.read));
        let reason = reason.map(|kind| json!({ "type": kind, "cache_missed_input_tokens": reply.usage.prompt() }));
        reply.extra.insert("diagnostics".into(), json!({ "cache_miss_reason": reason }));
        if fingerprints.len() >= FINGERPRINTS_MAX {
            fingerprints.clear();
        }
        fingerprints.insert(reply.id.clone(), fingerprint);
    }
}

fn parse(request: &Request) -> Result<Value, ApiError> {
    serde_json::from_slice(&request.body)
        .map_err(|error| ApiError::illegal(format!("The request body is not valid JSON: {error}")))
}

/// Applies a fault of the class [`Class::Reply`].
fn damage(fault: &FaultKind, body: &Value, blocks: &mut Vec<Block>, stop: &mut String, reply: &mut Reply) {
    let call = |id: Option<&str>| Block::Tool {
        id: id.map(str::to_owned),
        name: body["tools"][0]["name"].as_str().unwrap_or("missing_tool").to_owned(),
        input: "{}".to_owned(),
    };
    match fault {
        FaultKind::MissingUsage => reply.usage_style = UsageStyle::Missing,
        FaultKind::UsageAtEnd => reply.usage_style = UsageStyle::AtEnd,
        FaultKind::NegativeUsage => reply.usage_style = UsageStyle::Negative,
        FaultKind::UnknownStopReason => "future_reason".clone_into(stop),
        FaultKind::ContextWindowExceeded => "model_context_window_exceeded".clone_into(stop),
        FaultKind::ToolUseWithoutCall => "tool_use".clone_into(stop),
        FaultKind::DuplicateToolIds => {
            calls(blocks, stop, (0..2).map(|_| call(Some("toolu_twice"))), Some("toolu_twice"))
        }
        FaultKind::EmptyToolId => calls(blocks, stop, [call(Some(""))], Some("")),
        FaultKind::ParallelCalls(count) => {
            blocks.retain(|block| !matches!(block, Block::Tool { .. }));
            calls(blocks, stop, (0..*count).map(|_| call(None)), None);
        }
        FaultKind::ToolUseWithEndTurn => {
            calls(blocks, stop, [call(None)], None);
            "end_turn".clone_into(stop);
        }
        _ => {}
    }
}

/// Makes sure that there are at least as many calls as in `more`, all with this id if one is given.
fn calls(blocks: &mut Vec<Block>, stop: &mut String, more: impl IntoIterator<Item = Block>, id: Option<&str>) {
    let have = blocks.iter().filter(|block| matches!(block, Block::Tool { .. })).count();
    blocks.extend(more.into_iter().skip(have));
    for block in blocks {
        if let (Block::Tool { id: given, .. }, Some(id)) = (block, id) {
            *given = Some(id.to_owned());
        }
    }
    "tool_use".clone_into(stop);
}
