//! The fake Messages API over real sockets: what it refuses, what it answers, what it bills and how it misbehaves.

use std::time::Duration;

use blufio_testkit::messages::{
    Block, FakeMessagesApi, Fault, FaultKind, MessagesConfig, Script, judge_history, media, streams,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const LIMIT: Duration = Duration::from_secs(10);
const KEY: &str = "sk-test";

async fn start() -> FakeMessagesApi {
    FakeMessagesApi::start(MessagesConfig::default()).await.expect("loopback can be listened on")
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
    /// Whether the body ended as it should.
    complete: bool,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn error(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap_or_default().to_owned()
    }

    /// Name and data of every event.
    fn events(&self) -> Vec<(String, Value)> {
        let text = String::from_utf8_lossy(&self.body).into_owned();
        let event = |part: &str| {
            let name = part.lines().find_map(|line| line.strip_prefix("event: "))?;
            let data = part.lines().find_map(|line| line.strip_prefix("data: "))?;
            Some((name.to_owned(), serde_json::from_str(data).unwrap_or_default()))
        };
        text.split_terminator("\n\n").filter_map(event).collect()
    }

    /// The message that the events build, as a client builds it.
    fn message(&self) -> Value {
        let mut message = Value::Null;
        let mut inputs: Vec<String> = Vec::new();
        for (name, data) in self.events() {
            let index = usize::try_from(data["index"].as_u64().unwrap_or_default()).expect("small");
            match name.as_str() {
                "message_start" => message = data["message"].clone(),
                "content_block_start" => {
                    let content = message["content"].as_array_mut().expect("after the start");
                    assert_eq!(index, content.len());
                    content.push(data["content_block"].clone());
                    inputs.push(String::new());
                }
                "content_block_delta" => {
                    let block = &mut message["content"][index];
                    let delta = &data["delta"];
                    for (kind, field) in [("text_delta", "text"), ("thinking_delta", "thinking")] {
                        if delta["type"] == kind {
                            let text = [&block[field], &delta[field]].map(|part| part.as_str().expect("text")).concat();
                            block[field] = json!(text);
                        }
                    }
                    if delta["type"] == "signature_delta" {
                        block["signature"] = delta["signature"].clone();
                    }
                    inputs[index].push_str(delta["partial_json"].as_str().unwrap_or_default());
                }
                "content_block_stop" if !inputs[index].is_empty() => {
                    message["content"][index]["input"] = serde_json::from_str(&inputs[index]).unwrap_or_default();
                }
                "message_delta" => {
                    message["stop_reason"] = data["delta"]["stop_reason"].clone();
                    for (field, count) in data["usage"].as_object().into_iter().flatten() {
                        message["usage"][field] = count.clone();
                    }
                }
                _ => {}
            }
        }
        message
    }

    fn text(&self) -> String {
        let message = self.message();
        let blocks = message["content"].as_array().cloned().unwrap_or_default();
        blocks.iter().filter_map(|block| block["text"].as_str()).collect()
    }
}

async fn send(fake: &FakeMessagesApi, method: &str, path: &str, headers: &str, body: &str) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(fake.addr()).await?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).await?;
    let end = raw.windows(4).position(|window| window == b"\r\n\r\n").map_or(raw.len(), |at| at + 4);
    let head = String::from_utf8_lossy(&raw[..end]).into_owned();
    let (body, complete) =
        if head.contains("transfer-encoding: chunked") { dechunk(&raw[end..]) } else { (raw[end..].to_vec(), true) };
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    Ok(Answer { status, head, body, complete })
}

fn dechunk(mut raw: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(line) = raw.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&raw[..line]).expect("hex"), 16).expect("hex");
        if size == 0 {
            return (body, true);
        }
        body.extend_from_slice(&raw[line + 2..line + 2 + size]);
        raw = &raw[line + 2 + size + 2..];
    }
    (body, false)
}

fn headers(key: &str) -> String {
    format!("x-api-key: {key}\r\nanthropic-version: 2026-10-21\r\ncontent-type: application/json\r\n")
}

async fn post(fake: &FakeMessagesApi, body: &Value) -> Answer {
    send(fake, "POST", "/v1/messages", &headers(KEY), &body.to_string()).await.expect("an answer")
}

async fn get(fake: &FakeMessagesApi, path: &str) -> Answer {
    send(fake, "GET", path, &headers(KEY), "").await.expect("an answer")
}

/// A streaming request with one tool, `now`.
fn request(messages: Value) -> Value {
    json!({
        "model": "claude-sonnet-5-5", "max_tokens": 1024, "stream": true, "system": "Be brief.",
        "tools": [{ "name": "now", "description": "the time", "input_schema": { "type": "object" } }],
        "messages": messages,
    })
}

fn ask(text: &str) -> Value {
    request(json!([{ "role": "user", "content": text }]))
}

/// Appends a reply and what the user says to it: a result for each call, else a text.
fn go_on(body: &mut Value, reply: &Answer, text: &str) {
    let content = reply.message()["content"].clone();
    let results: Vec<Value> = content
        .as_array()
        .into_iter()
        .flatten()
        .filter(|block| block["type"] == "tool_use")
        .map(|call| json!({ "type": "tool_result", "tool_use_id": call["id"], "content": "noon" }))
        .collect();
    let next = if results.is_empty() { json!(text) } else { json!(results) };
    let messages = body["messages"].as_array_mut().expect("messages");
    messages.push(json!({ "role": "assistant", "content": content }));
    messages.push(json!({ "role": "user", "content": next }));
}

#[tokio::test]
async fn a_stream_has_its_events_in_order_and_equals_the_plain_answer() {
    let fake = start().await;
    let mut body = ask("hello");
    let streamed = post(&fake, &body).await;
    assert!(streamed.head.contains("content-type: text/event-stream") && streamed.head.contains("request-id: req_"));
    let names: Vec<String> = streamed.events().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names[..3], ["message_start", "ping", "content_block_start"]);
    assert_eq!(names[names.len() - 3..], ["content_block_stop", "message_delta", "message_stop"]);
    assert!(streamed.events().iter().all(|(name, data)| data["type"] == name.as_str()));

    body["stream"] = json!(false);
    let plain = post(&fake, &body).await.json();
    let mut message = streamed.message();
    message["id"] = plain["id"].clone();
    assert_eq!(message, plain);
    assert_eq!(
        plain["content"][0]["text"],
        "You said: \"hello\". I am the fake model, and this is message 1 of this conversation."
    );
}

#[tokio::test]
async fn a_conversation_is_remembered_by_its_history_alone() {
    let fake = start().await;
    let mut body = ask("hello");
    let first = post(&fake, &body).await;
    go_on(&mut body, &first, "again #5");
    assert_eq!(post(&fake, &body).await.text(), "answer #5");
    go_on(&mut body, &first, "and now");
    assert!(post(&fake, &body).await.text().contains("message 3 of this conversation"));
    assert_eq!(fake.violations(), [""; 0]);
    assert_eq!(fake.prompts_seen(), ["hello", "again #5", "and now"]);
}

#[tokio::test]
async fn an_illegal_request_is_refused_and_remembered() {
    let fake = start().await;
    let mut body = ask("hello");
    body["temperature"] = json!(1);
    let answer = post(&fake, &body).await;
    assert_eq!((answer.status, answer.error().as_str()), (400, "temperature: Extra inputs are not permitted"));
    assert_eq!(answer.json()["request_id"].as_str().map(|id| answer.head.contains(id)), Some(true));
    assert_eq!(fake.violations(), ["POST /v1/messages: temperature: Extra inputs are not permitted"]);

    let broken = send(&fake, "POST", "/v1/messages", &headers(KEY), "{").await.expect("an answer");
    assert!(broken.error().contains("not valid JSON"));
    assert_eq!(fake.violations().len(), 2);
    assert_eq!((fake.calls(), fake.spend()), (0, 0));
}

#[tokio::test]
async fn what_may_happen_to_a_correct_client_is_no_violation() {
    let fake = start().await;
    let wrong =
        send(&fake, "POST", "/v1/messages", &headers("sk-old"), &ask("hi").to_string()).await.expect("an answer");
    assert_eq!((wrong.status, wrong.json()["error"]["type"].as_str()), (401, Some("authentication_error")));
    let mut body = ask("hi");
    body["model"] = json!("claude-sonnet-3");
    assert_eq!(post(&fake, &body).await.status, 404);
    let long = post(&fake, &ask(&"word ".repeat(900_000))).await;
    assert!(long.error().starts_with("prompt is too long: "), "{long:?}");
    assert_eq!(fake.violations(), [""; 0]);
    assert_eq!(fake.requests().iter().map(|request| request.status).collect::<Vec<_>>(), [401, 404, 400]);
}

#[tokio::test]
async fn tools_are_called_in_rounds_and_their_results_repeated() {
    let fake = start().await;
    let mut body = ask("[tool:now {\"zone\":\"UTC\"}] [tool:now] [then:tool:elsewhere] #9");
    let first = post(&fake, &body).await;
    let message = first.message();
    assert_eq!(message["stop_reason"], "tool_use");
    let inputs: Vec<&Value> = message["content"].as_array().expect("calls").iter().map(|call| &call["input"]).collect();
    assert_eq!(inputs, [&json!({ "zone": "UTC" }), &json!({})]);
    go_on(&mut body, &first, "");
    let second = post(&fake, &body).await;
    assert_eq!(second.message()["content"][0]["name"], "elsewhere");
    go_on(&mut body, &second, "");
    let last = post(&fake, &body).await;
    assert!(last.text().starts_with("answer #9\nThe tool now said: noon"), "{}", last.text());
    assert_eq!(fake.violations(), [""; 0], "the fake itself called the undeclared tool");

    body["messages"][3]["content"][0]["id"] = json!("toolu_invented");
    body["messages"][4]["content"][0]["tool_use_id"] = json!("toolu_invented");
    assert!(post(&fake, &body).await.error().contains("not declared"));
}

#[tokio::test]
async fn scripts_are_taken_in_order_by_the_requests_they_fit() {
    let fake = start().await;
    fake.push(Script::text("for b").only_if("b"));
    fake.push(Script::text("first").stop("max_tokens"));
    fake.push(Script::blocks([Block::Text("second".into()), Block::tool("now", json!({ "x": 1 }))]));
    let first = post(&fake, &ask("a")).await.message();
    assert_eq!(
        (first["content"][0]["text"].as_str(), first["stop_reason"].as_str()),
        (Some("first"), Some("max_tokens"))
    );
    assert_eq!(post(&fake, &ask("b")).await.text(), "for b");
    let second = post(&fake, &ask("a")).await.message();
    assert_eq!((&second["content"][1]["input"], &second["stop_reason"]), (&json!({ "x": 1 }), &json!("tool_use")));
    assert_eq!(fake.scripts_left(), 0);
}

#[tokio::test]
async fn every_call_is_billed_to_the_micro_dollar() {
    let fake = start().await;
    let mut body = ask("hi");
    // 4,000 bytes: 1,000 tokens, and 3 for the block.
    body["system"] = json!([{ "type": "text", "text": "s".repeat(4_000), "cache_control": { "type": "ephemeral" } }]);
    body["tools"] = json!([]);
    fake.push(Script::text("x".repeat(400)));
    fake.push(Script::text("x".repeat(400)));
    let usage = post(&fake, &body).await.message()["usage"].clone();
    assert_eq!(usage["cache_creation"]["ephemeral_5m_input_tokens"], 1_003);
    assert_eq!((usage["input_tokens"].as_u64(), usage["output_tokens"].as_u64()), (Some(7), Some(100)));
    // Sonnet: 7 × 2 + 1,003 × 2.5 + 100 × 10 micro-USD.
    assert_eq!(fake.spend(), 14 + 2_508 + 1_000);
    let usage = post(&fake, &body).await.message()["usage"].clone();
    assert_eq!(usage["cache_read_input_tokens"], 1_003);
    assert_eq!(fake.spend(), 3_522 + 14 + 101 + 1_000, "1,003 × 0.1 is rounded up with the rest");
    assert_eq!(fake.calls(), 2);
}

#[tokio::test]
async fn error_answers_come_as_ordered_and_cost_nothing() {
    let fake = start().await;
    fake.fault(Fault::next(2, FaultKind::rate_limited(3)));
    fake.fault(Fault::next(1, FaultKind::overloaded()));
    fake.fault(Fault { only_if: Some("never said".into()), ..Fault::always(FaultKind::ResetConnection) });
    for expect in [429, 429, 529, 200] {
        let answer = post(&fake, &ask("hi")).await;
        assert_eq!(answer.status, expect);
        assert_eq!(answer.head.contains("retry-after: 3\r\n"), expect == 429);
    }
    fake.fault(Fault::next(1, FaultKind::status(502, "", "")));
    assert!(String::from_utf8_lossy(&post(&fake, &ask("hi")).await.body).contains("<h1>502"));
    assert_eq!((fake.calls(), fake.violations().len()), (1, 0));
}

#[tokio::test]
async fn an_error_event_can_follow_every_event() {
    let fake = start().await;
    let whole = post(&fake, &ask("hi")).await.events().len();
    for count in 0..whole {
        fake.fault(Fault::next(1, FaultKind::ErrorEventAfter(count)));
        let events = post(&fake, &ask("hi")).await.events();
        assert_eq!(events.len(), count + 1);
        assert_eq!(events[count].1["error"]["type"], "overloaded_error");
    }
}

#[tokio::test]
async fn recorded_streams_are_legal_and_can_be_cut_anywhere() {
    let fake = start().await;
    for (stream, stop) in [(streams::TEXT, "end_turn"), (streams::TOOLS, "tool_use"), (streams::THINKING, "end_turn")] {
        let replay = FaultKind::Replay(stream.as_bytes().to_vec());
        fake.fault(Fault::next(1, replay.clone()));
        let mut body = ask("hi");
        let answer = post(&fake, &body).await;
        assert_eq!((answer.body.as_slice(), answer.complete), (stream.as_bytes(), true));
        assert_eq!(answer.message()["stop_reason"], stop);
        go_on(&mut body, &answer, "more");
        assert_eq!(post(&fake, &body).await.status, 200, "{:?}", fake.violations());
        for bytes in (0..stream.len()).step_by(97) {
            fake.fault(Fault::next(1, replay.clone()));
            fake.fault(Fault::next(1, FaultKind::CutAtByte(bytes)));
            let answer = post(&fake, &ask("hi")).await;
            assert_eq!((answer.body.as_slice(), answer.complete), (&stream.as_bytes()[..bytes], false));
        }
    }
    fake.fault(Fault::next(1, FaultKind::Replay(streams::TOOLS.as_bytes().to_vec())));
    let content = post(&fake, &ask("hi")).await.message()["content"].clone();
    assert_eq!(content[2]["input"], json!({ "city": "Tromsø", "days": 2, "exact": 1.0 }));
    assert_eq!((&content[3]["name"], &content[3]["input"]), (&json!("now"), &json!({})));
}

#[tokio::test]
async fn a_recorded_stream_is_billed_by_its_own_usage() {
    let fake = start().await;
    fake.fault(Fault::next(1, FaultKind::Replay(streams::TEXT.as_bytes().to_vec())));
    post(&fake, &ask("hi")).await;
    // 12 × 2 + 310 × 2.5 + 4,096 × 0.1 + 58 × 10 micro-USD, rounded up.
    assert_eq!(fake.spend(), 24 + 775 + 410 + 580);
}

#[tokio::test]
async fn resets_silence_and_floods() {
    let fake = start().await;
    fake.fault(Fault::next(1, FaultKind::ResetConnection));
    let body = ask("hi").to_string();
    let error = send(&fake, "POST", "/v1/messages", &headers(KEY), &body).await.expect_err("a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);

    fake.fault(Fault::next(1, FaultKind::HugeBody { bytes: 1_000_000 }));
    let flood = post(&fake, &ask("hi")).await;
    assert!(flood.body.len() > 1_000_000 && !flood.complete);

    for (fault, expect) in [(FaultKind::SilenceWithPings, "event: ping"), (FaultKind::NeverAnswer, "")] {
        fake.fault(Fault::next(1, fault));
        let mut stream = TcpStream::connect(fake.addr()).await.expect("connects");
        let request =
            format!("POST /v1/messages HTTP/1.1\r\n{}content-length: {}\r\n\r\n{body}", headers(KEY), body.len());
        stream.write_all(request.as_bytes()).await.expect("writes");
        let requests = fake.requests().len();
        let mut heard = String::new();
        while !heard.contains(expect) {
            let mut piece = [0; 1024];
            let count = stream.read(&mut piece).await.expect("an open stream");
            assert_ne!(count, 0, "the fake closed");
            heard.push_str(&String::from_utf8_lossy(&piece[..count]));
        }
        fake.wait_for(|seen| (seen.requests.len() > requests || !heard.is_empty()).then_some(()), LIMIT).await;
    }
    fake.wait_for(|seen| (seen.open_calls == 0).then_some(()), LIMIT).await;
}

#[tokio::test]
async fn a_client_that_hangs_up_pays_for_what_was_written() {
    let fake = start().await;
    let body = ask("[long:400] [drip:5]").to_string();
    let mut stream = TcpStream::connect(fake.addr()).await.expect("connects");
    let request = format!("POST /v1/messages HTTP/1.1\r\n{}content-length: {}\r\n\r\n{body}", headers(KEY), body.len());
    stream.write_all(request.as_bytes()).await.expect("writes");
    let mut piece = [0; 1024];
    stream.read_exact(&mut piece).await.expect("the begin of a stream");
    drop(stream);
    let spend = fake.wait_for(|seen| (seen.disconnects == 1).then_some(seen.spend), LIMIT).await;
    post(&fake, &ask("[long:400]")).await;
    let whole = fake.spend() - spend;
    assert!(0 < spend && spend < whole, "{spend} of {whole}");
}

#[tokio::test]
async fn thinking_is_bound_to_what_stands_before_it() {
    let fake = start().await;
    let mut body = ask("[think] [tool:now]");
    let call = post(&fake, &body).await;
    assert_eq!(call.message()["content"][0]["type"], "thinking");
    assert_eq!(call.message()["content"][0]["thinking"], "", "the default display shows nothing");
    go_on(&mut body, &call, "");
    let answer = post(&fake, &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    go_on(&mut body, &answer, "more");
    let mut edited = body.clone();
    edited["messages"][0]["content"] = json!("[think] [tool:now] ");
    let refused = post(&fake, &edited).await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.error().contains("messages.1.content.0")
            && refused.error().contains("bound to a different conversation")
    );
    for index in [1, 3] {
        edited["messages"][index]["content"]
            .as_array_mut()
            .expect("blocks")
            .retain(|block| block["type"] != "thinking");
    }
    assert_eq!(post(&fake, &edited).await.status, 200, "all thinking may be taken out");
    assert_eq!(post(&fake, &body).await.status, 200);
}

#[tokio::test]
async fn only_a_paused_reply_may_be_last() {
    let fake = start().await;
    let mut body = ask("[pause] #3");
    let paused = post(&fake, &body).await.message();
    assert_eq!(paused["stop_reason"], "pause_turn");
    let messages = body["messages"].as_array_mut().expect("messages");
    messages.push(json!({ "role": "assistant", "content": paused["content"] }));
    let answer = post(&fake, &body).await;
    assert_eq!(answer.text(), "answer #3");
    go_on(&mut body, &answer, "#4");
    assert_eq!(post(&fake, &body).await.text(), "answer #4");
    body["messages"][1]["content"][0]["text"] = json!("Something else.");
    assert!(post(&fake, &body).await.error().contains("roles must alternate"));
}

#[tokio::test]
async fn a_call_is_cut_by_max_tokens_once() {
    let fake = start().await;
    let body = ask("[max_tokens] [tool:now {\"zone\":\"Europe/Oslo\"}]");
    let cut = post(&fake, &body).await.message();
    assert_eq!((&cut["stop_reason"], &cut["content"][0]["input"]), (&json!("max_tokens"), &Value::Null));
    let whole = post(&fake, &body).await.message();
    assert_eq!(
        (&whole["stop_reason"], &whole["content"][0]["input"]["zone"]),
        (&json!("tool_use"), &json!("Europe/Oslo"))
    );
    let mut short = ask("[long:100]");
    short["max_tokens"] = json!(10);
    let short = post(&fake, &short).await.message();
    assert_eq!((&short["stop_reason"], &short["usage"]["output_tokens"]), (&json!("max_tokens"), &json!(10)));
}

#[tokio::test]
async fn usage_and_stop_reasons_can_be_wrong() {
    let fake = start().await;
    let faulty = async |kind| {
        fake.fault(Fault::next(1, kind));
        post(&fake, &ask("hi")).await
    };
    assert_eq!(faulty(FaultKind::MissingUsage).await.message()["usage"], Value::Null);
    assert_eq!(faulty(FaultKind::NegativeUsage).await.message()["usage"]["output_tokens"], -7);
    let late = faulty(FaultKind::UsageAtEnd).await;
    assert_eq!(late.events()[0].1["message"]["usage"]["input_tokens"], 0);
    assert!(late.message()["usage"]["input_tokens"].as_u64() > Some(0));
    assert_eq!(faulty(FaultKind::UnknownStopReason).await.message()["stop_reason"], "future_reason");
    assert_eq!(faulty(FaultKind::ToolUseWithoutCall).await.message()["stop_reason"], "tool_use");
    let full = faulty(FaultKind::ContextWindowExceeded).await.message();
    assert_eq!(full["stop_reason"], "model_context_window_exceeded");
    assert_eq!(post(&fake, &ask("[refuse]")).await.message()["stop_reason"], "refusal");
    assert_eq!(post(&fake, &ask("[empty]")).await.message()["content"], json!([]));
    let broken = faulty(FaultKind::InvalidJson(String::new())).await;
    assert!(broken.events().iter().any(|(_, data)| data.is_null()));
}

#[tokio::test]
async fn what_no_client_knows_must_come_back_unchanged() {
    let fake = start().await;
    fake.fault(Fault::next(1, FaultKind::UnknownEvents));
    let mut body = ask("hi");
    let answer = post(&fake, &body).await;
    assert!(answer.events().iter().any(|(name, _)| name == "future_event"));
    assert!(answer.events().iter().any(|(_, data)| data["delta"]["type"] == "future_delta"));
    go_on(&mut body, &answer, "more");
    assert_eq!(post(&fake, &body).await.status, 200);
    body["messages"][1]["content"][1]["payload"] = json!("improved");
    assert!(post(&fake, &body).await.error().contains("not kept as it came"));
}

#[tokio::test]
async fn calls_can_be_broken_or_many() {
    let fake = start().await;
    let faulty = async |kind| {
        fake.fault(Fault::next(1, kind));
        let message = post(&fake, &ask("hi")).await.message();
        let calls = message["content"].as_array().cloned().unwrap_or_default();
        let ids = calls.iter().filter(|block| block["type"] == "tool_use").map(|call| call["id"].clone());
        (ids.collect::<Vec<Value>>(), message["stop_reason"].clone())
    };
    let (twice, _) = faulty(FaultKind::DuplicateToolIds).await;
    assert_eq!((twice.len(), &twice[0]), (2, &twice[1]));
    assert_eq!(faulty(FaultKind::EmptyToolId).await.0, [json!("")]);
    let (one, stop) = faulty(FaultKind::ToolUseWithEndTurn).await;
    assert_eq!((one.len(), stop), (1, json!("end_turn")));
    assert_eq!(faulty(FaultKind::ParallelCalls(200)).await.0.len(), 200);
}

#[tokio::test]
async fn models_and_token_counts_can_be_asked() {
    let fake = start().await;
    let list = get(&fake, "/v1/models").await.json();
    assert!(list["data"].as_array().is_some_and(|models| models.iter().any(|model| model["id"] == "claude-haiku-5-5")));
    let model = get(&fake, "/v1/models/claude-sonnet-5-5").await.json();
    assert_eq!(model["capabilities"]["thinking"]["types"]["disabled"]["supported"], false);
    assert_eq!(get(&fake, "/v1/models/nothing").await.status, 404);
    let mut body = ask("how long is this?");
    let usage = post(&fake, &body).await.message()["usage"].clone();
    let fields = body.as_object_mut().expect("an object");
    fields.retain(|name, _| name != "stream" && name != "max_tokens");
    let count =
        send(&fake, "POST", "/v1/messages/count_tokens", &headers(KEY), &body.to_string()).await.expect("an answer");
    assert_eq!(count.json()["input_tokens"], usage["input_tokens"]);
    body["stream"] = json!(true);
    let count =
        send(&fake, "POST", "/v1/messages/count_tokens", &headers(KEY), &body.to_string()).await.expect("an answer");
    assert_eq!(count.error(), "stream: Extra inputs are not permitted");
}

#[tokio::test]
async fn the_standalone_server_is_controlled_by_json() {
    let fake = start().await;
    let control = async |path: &str, body: Value| {
        let path = format!("/_control/{path}");
        send(&fake, "POST", &path, "", &body.to_string()).await.expect("an answer").status
    };
    let script =
        json!({ "blocks": [{ "text": "told" }, { "tool": { "name": "now", "input": "{}" } }], "chunking": "whole" });
    assert_eq!(control("script", script).await, 200);
    assert_eq!(control("script", json!({ "block": [] })).await, 400);
    let fault = json!({ "when": { "next": 1 }, "kind": { "status": { "code": 503, "kind": "api_error" } } });
    assert_eq!(control("fault", fault).await, 200);
    assert_eq!(control("fault", json!({ "when": "until_cleared", "kind": "never_answer" })).await, 200);
    assert_eq!(post(&fake, &ask("hi")).await.status, 503);
    assert_eq!(control("clear_faults", json!({})).await, 200);
    assert_eq!(post(&fake, &ask("hi")).await.text(), "told");
    assert_eq!(get(&fake, "/_control/spend").await.json()["calls"], 1);
    let requests = get(&fake, "/_control/requests").await;
    assert_eq!(requests.json()[1]["body"]["messages"][0]["content"], "hi");
    assert!(!String::from_utf8_lossy(&requests.body).contains(KEY));
    assert_eq!(get(&fake, "/_control/violations").await.json(), json!([]));
}

#[tokio::test]
async fn a_slow_stream_keeps_its_speed() {
    let config = MessagesConfig { tokens_per_s: Some(200), cache: false, log_limit: 0, ..MessagesConfig::default() };
    let fake = FakeMessagesApi::start(config).await.expect("loopback can be listened on");
    fake.push(Script::text("x".repeat(120)));
    let before = std::time::Instant::now();
    assert!(post(&fake, &ask("hi")).await.complete);
    assert!(before.elapsed() >= Duration::from_millis(140), "30 tokens at 200 per second take {:?}", before.elapsed());
    assert!(fake.requests().is_empty() && fake.prompts_seen().is_empty());
}

/// Every single damage to a legal history is found: a message lost, doubled or swapped, a call or a result lost.
#[test]
fn every_damage_to_a_history_is_found() {
    let mut legal: Vec<Value> = Vec::new();
    for round in 0..20 {
        let (a, b) = (format!("a{round}"), format!("b{round}"));
        let call = |id: &str| json!({ "type": "tool_use", "id": id, "name": "now", "input": {} });
        let result = |id: &str| json!({ "type": "tool_result", "tool_use_id": id, "content": "noon" });
        legal.push(json!({ "role": "user", "content": "ask" }));
        legal.push(json!({ "role": "assistant", "content": [{ "type": "text", "text": "t" }, call(&a), call(&b)] }));
        legal.push(json!({ "role": "user", "content": [result(&a), result(&b)] }));
        legal.push(json!({ "role": "assistant", "content": [{ "type": "text", "text": "done" }] }));
    }
    legal.push(json!({ "role": "user", "content": "last" }));
    assert_eq!(judge_history(&json!(legal)), Ok(()));
    let refused = |damaged: Vec<Value>, what: &str| assert!(judge_history(&json!(damaged)).is_err(), "{what}");
    for at in 0..legal.len() {
        let mut lost = legal.clone();
        lost.remove(at);
        refused(lost, &format!("lost {at}"));
        let mut doubled = legal.clone();
        doubled.insert(at, legal[at].clone());
        refused(doubled, &format!("doubled {at}"));
        if at + 1 < legal.len() {
            let mut swapped = legal.clone();
            swapped.swap(at, at + 1);
            refused(swapped, &format!("swapped {at}"));
        }
        if legal[at]["content"][1].is_object() {
            let mut shorter = legal.clone();
            shorter[at]["content"].as_array_mut().expect("blocks").pop();
            refused(shorter, &format!("shorter {at}"));
        }
    }
}

#[tokio::test]
async fn pictures_are_judged_counted_and_described() {
    let fake = start().await;
    let source = |media_type: &str, bytes: &[u8]| {
        let data = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes);
        json!({ "type": "base64", "media_type": media_type, "data": data })
    };
    let image = |width: u32| json!({ "type": "image", "source": source("image/png", &media::png(width, 750)) });
    let document =
        json!({ "type": "document", "source": source("application/pdf", &media::pdf("x")), "title": "a.pdf" });
    let text = json!({ "type": "text", "text": "[describe] [echo]" });
    let shown = request(json!([{ "role": "user", "content": [image(800), text, document, image(100)] }]));
    let answer = post(&fake, &shown).await;
    let (seen, echo) = ("I see 2 pictures (800x750, 100x750) and 1 document (a.pdf).", "[describe] [echo]");
    assert_eq!(answer.text(), format!("{seen}\n{echo}"));
    let tokens = |answer: &Answer| answer.message()["usage"]["input_tokens"].as_u64().expect("a count");
    let fewer = request(json!([{ "role": "user", "content": [image(800)] }]));
    let more = request(json!([{ "role": "user", "content": [image(800), image(100)] }]));
    let (fewer, more) = (post(&fake, &fewer).await, post(&fake, &more).await);
    assert_eq!(tokens(&more) - tokens(&fewer), 100 + 3, "750 pixels are a token, a block is three");
    assert_eq!(fake.violations(), [""; 0]);

    let mark = json!({ "type": "base64", "media_type": "image/png", "data": "blufio-attachment:00:12" });
    for (block, expect) in [
        (json!({ "type": "image", "source": mark }), "own store"),
        (image(8_001), "max allowed size"),
        (json!({ "type": "document", "source": source("application/pdf", b"PK") }), "was not valid"),
    ] {
        let refused = post(&fake, &request(json!([{ "role": "user", "content": [block] }]))).await;
        assert_eq!(refused.status, 400);
        assert!(refused.error().contains(expect), "{}", refused.error());
    }
    assert_eq!(fake.violations().len(), 3);
}

#[tokio::test]
async fn words_between_results_are_heard() {
    let fake = start().await;
    let mut body = ask("[tool:now] #1");
    let call = post(&fake, &body).await;
    go_on(&mut body, &call, "");
    let results = body["messages"][2]["content"].as_array_mut().expect("results");
    results.push(json!({ "type": "text", "text": "and #2" }));
    assert!(post(&fake, &body).await.text().starts_with("answer #1, answer #2\n"));
    assert_eq!(fake.violations(), [""; 0]);
}
