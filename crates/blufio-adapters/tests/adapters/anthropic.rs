//! The provider against the strict fake of the Messages API: what it sends is judged there, what it makes of every kind of
//! answer is judged here.

use blufio_adapters::anthropic::{Anthropic, AnthropicError, AnthropicOptions, Limits};
use blufio_adapters::egress::Egress;
use blufio_core::catalogue::Catalogue;
use blufio_core::ids::ModelId;
use blufio_core::message::{Body as PartBody, Part, Role, StopReason, Usage, visible_text};
use blufio_core::port::{Failure, ProviderError, Reply};
use blufio_core::secret::Secret;
use blufio_core::time::Timestamp;
use blufio_testkit::contract::provider::{self, Conversation, Shelf, calls};
use blufio_testkit::http::{Handler, HttpServer, Request, Responder};
use blufio_testkit::messages::{Block, Chunking, FakeMessagesApi, Fault, FaultKind, MessagesConfig, Script, media};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

const MODEL: &str = "claude-sonnet-5-5";
const STREAMS: [(&str, &[u8]); 3] = [
    ("text", include_bytes!("../../../blufio-testkit/data/streams/text.sse")),
    ("thinking", include_bytes!("../../../blufio-testkit/data/streams/thinking.sse")),
    ("tools", include_bytes!("../../../blufio-testkit/data/streams/tools.sse")),
];

async fn fake() -> FakeMessagesApi {
    FakeMessagesApi::start(MessagesConfig::default()).await.unwrap()
}

fn provider_with(base_url: &str, limits: Limits, shelf: &Arc<Shelf>) -> Anthropic {
    let (egress, blobs) = (Egress::new().unwrap(), shelf.clone());
    Anthropic::new(AnthropicOptions {
        base_url,
        api_key: Secret::new("sk-test".to_owned()),
        egress: &egress,
        blobs,
        limits,
    })
    .unwrap()
}

fn provider_at(base_url: &str, limits: Limits) -> Anthropic {
    provider_with(base_url, limits, &Arc::default())
}

fn provider(api: &FakeMessagesApi) -> Anthropic {
    provider_at(&api.base_url(), Limits::default())
}

/// A short conversation of one text.
fn talk<'a>(provider: &'a Anthropic, text: &str) -> Conversation<'a> {
    let mut talk = Conversation::new(provider, MODEL);
    talk.say(text);
    talk
}

/// One try that fails.
async fn failure(provider: &Anthropic) -> ProviderError {
    talk(provider, "hello").ask().await.0.expect_err("this try fails")
}

/// One try that succeeds, and a second one that shows that its reply can be sent back.
async fn replayed(api: &FakeMessagesApi, provider: &Anthropic) -> Reply {
    let mut talk = talk(provider, "hello");
    let reply = talk.answer().await;
    if calls(&reply).is_empty() {
        talk.say("and then?");
    } else {
        talk.answer_calls(&reply, "done");
    }
    api.clear_faults();
    talk.answer().await;
    assert_eq!(api.violations(), [""; 0]);
    reply
}

#[tokio::test]
async fn it_keeps_the_contract() {
    let api = fake().await;
    let shelf = Arc::new(Shelf::default());
    let provider = provider_with(&api.base_url(), Limits::default(), &shelf);
    for model in [MODEL, "claude-haiku-5-5", "claude-haiku-4-5"] {
        provider::run(&provider, model, &shelf).await;
    }
    assert_eq!(api.violations(), [""; 0]);
}

#[tokio::test]
async fn the_head_of_a_request() {
    let api = fake().await;
    let provider = provider(&api);
    let mut talk = talk(&provider, "hello");
    talk.prompt.thinking = Some("adaptive".into());
    talk.prompt.effort = Some("low".into());
    let reply = talk.answer().await;
    assert!(reply.request.is_some(), "the id for the vendor's support is kept");
    let request = &api.requests()[0];
    let header = |name: &str| {
        let values: Vec<&str> =
            request.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect();
        values.join("|")
    };
    assert_eq!(request.target, "POST /v1/messages");
    assert_eq!(header("x-api-key"), "sk-test");
    assert_eq!(header("authorization"), "");
    assert_eq!(header("anthropic-version"), "2026-10-21");
    assert_eq!(header("accept"), "text/event-stream");
    assert_eq!(header("user-agent"), concat!("blufio/", env!("CARGO_PKG_VERSION")));
    assert_eq!(request.body["thinking"]["type"], "adaptive");
    assert_eq!(request.body["output_config"]["effort"], "low");
    assert_eq!(request.body["metadata"]["user_id"], "contract");
    assert_eq!(request.body["system"][0]["cache_control"]["type"], "ephemeral");
    let names: Vec<&str> =
        request.body["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["list_files", "now"]);
}

/// Six rounds of thinking and parallel calls, then a next turn: each request begins with all of the one before, the
/// signatures fit, and the cache serves what was sent before.
#[tokio::test]
async fn requests_only_ever_grow() {
    let api = fake().await;
    let provider = provider(&api);
    let mut talk = Conversation::new(&provider, MODEL);
    talk.prompt.thinking = Some("adaptive".into());
    talk.prompt.system = blufio_core::port::Provider::render_system(&provider, &"Be brief and kind. ".repeat(200));
    let rounds = r"[then:tool:now {}]".repeat(5);
    talk.say(&format!(r#"[think] [tool:now {{"b":1.50, "a":"\u00e9"}}] [tool:list_files {{}}] {rounds}"#));
    let mut bodies: Vec<String> = Vec::new();
    let mut usages: Vec<Usage> = Vec::new();
    let mut rounds = 0;
    let mut ask = async |talk: &mut Conversation<'_>| {
        let body = conversation(&provider.request_body(&talk.marked()));
        if let Some(before) = bodies.last() {
            assert!(body.starts_with(before), "{body} does not begin with {before}");
        }
        bodies.push(body);
        let reply = talk.answer().await;
        assert!(reply.parts.iter().any(|part| matches!(&part.body, PartBody::Opaque { kind } if kind == "thinking")));
        usages.push(reply.usage.unwrap());
        if calls(&reply).is_empty() {
            return ControlFlow::Break(());
        }
        rounds += 1;
        talk.answer_calls(&reply, &"result ".repeat(100));
        ControlFlow::Continue(())
    };
    while ask(&mut talk).await.is_continue() {}
    talk.say("[think] [say:bye]");
    assert!(ask(&mut talk).await.is_break());
    assert_eq!(rounds, 6);
    assert_eq!(api.violations(), [""; 0]);
    let first = String::from_utf8(talk.prompt.messages[1].wire.to_vec()).unwrap();
    assert!(first.contains(r#""input":{"b":1.50, "a":"\u00e9"}"#), "spelling survives: {first}");
    for (before, after) in usages.iter().zip(&usages[1..]) {
        assert!(after.cache_read >= before.cache_read + before.cache_write_5m, "{usages:?}");
        assert!(after.input < 50, "nearly all of a prompt is cached: {usages:?}");
    }
}

/// Pictures in the middle and at the end of a thinking model's conversation: signatures fit, the cache serves what was shown
/// before, and the mark of the cache stands on a picture that comes last.
#[tokio::test]
async fn requests_with_pictures_only_ever_grow() {
    let (api, shelf) = (fake().await, Arc::new(Shelf::default()));
    let provider = provider_with(&api.base_url(), Limits::default(), &shelf);
    let mut talk = Conversation::new(&provider, MODEL);
    talk.prompt.thinking = Some("adaptive".into());
    let text = |text: &str| Part::text(blufio_core::message::Origin::Owner, text);
    let photo = |number: u16| {
        let bytes = [media::jpeg(1_000 + number, 750), vec![number.to_le_bytes()[0]; 100_000]].concat();
        shelf.image(&bytes)
    };
    let turns = [
        vec![photo(1), text("[think] [describe] [tool:now {}]")],
        vec![text("[think] [describe]"), shelf.document("a.pdf"), photo(2)],
        vec![photo(3)],
        vec![text("[think] [describe:all]")],
    ];
    let (mut before, mut read) = (String::new(), 0);
    for parts in turns {
        talk.show(&parts);
        loop {
            let body = conversation(&provider.request_body(&talk.marked()));
            assert!(body.starts_with(&before), "a request begins with the one before");
            before = body;
            let reply = talk.answer().await;
            let usage = reply.usage.unwrap();
            assert!(usage.cache_read >= read && usage.input < 50, "{usage:?} after {read}");
            read = usage.cache_read + usage.cache_write_5m;
            if calls(&reply).is_empty() {
                println!("{}", visible_text(&reply.parts));
                break;
            }
            talk.answer_calls(&reply, "noon");
        }
    }
    assert_eq!(api.violations(), [""; 0]);
    let requests = api.requests();
    let last = &requests[2].body["messages"][4]["content"][2];
    assert_eq!((&last["type"], &last["cache_control"]["type"]), (&"image".into(), &"ephemeral".into()));
    let said = requests.last().unwrap().body["messages"].to_string();
    assert!(!said.contains("blufio-attachment"), "marks stay at home");
}

/// Bytes that were sent count, not the marks that stand for them.
#[tokio::test]
async fn files_count_by_their_bytes() {
    let (api, shelf) = (fake().await, Arc::new(Shelf::default()));
    let picture = shelf.image(&[media::png(10, 10), vec![0; 100_000]].concat());
    for (request_bytes_max, fits) in [(130_000, false), (140_000, true)] {
        let limits = Limits { request_bytes_max, ..Limits::default() };
        let provider = provider_with(&api.base_url(), limits, &shelf);
        let mut talk = Conversation::new(&provider, MODEL);
        talk.show(std::slice::from_ref(&picture));
        match talk.ask().await.0 {
            Ok(_) => assert!(fits),
            Err(error) => assert_eq!((error.failure, error.reached, fits), (Failure::PromptTooLong, false, false)),
        }
    }
    assert_eq!(api.requests().len(), 1);
}

/// A picture that the service does not take: the request is refused as it is, and nothing of the file is repeated.
#[tokio::test]
async fn a_refused_picture_is_known_as_one() {
    let (api, shelf) = (fake().await, Arc::new(Shelf::default()));
    let provider = provider_with(&api.base_url(), Limits::default(), &shelf);
    for bytes in [media::png(9_000, 1), vec![0; 1_000]] {
        let mut talk = Conversation::new(&provider, MODEL);
        talk.show(&[shelf.image(&bytes)]);
        let error = talk.ask().await.0.unwrap_err();
        assert_eq!((error.failure, error.reached, error.usage), (Failure::FileRefused, false, None));
    }
    assert_eq!(api.violations().len(), 2);
}

/// What two requests of one epoch have in common: everything from `system` on, without the marks, which do not count, and
/// without the brackets that close the list of messages.
fn conversation(body: &[u8]) -> String {
    let body = String::from_utf8(body.to_vec()).unwrap();
    let start = body.find(r#","system":"#).expect("there is a system text");
    let unmarked = body[start..].replace(r#","cache_control":{"type":"ephemeral"}"#, "");
    let unmarked = unmarked.replace(r#","cache_control":{"type":"ephemeral","ttl":"1h"}"#, "");
    assert!(unmarked.len() < body.len() - start, "the request has marks");
    unmarked.strip_suffix("]}").expect("messages come last").to_owned()
}

#[tokio::test]
async fn long_conversations_have_few_and_legal_marks() {
    let api = fake().await;
    let provider = provider(&api);
    let mut talk = talk(&provider, "[say:hi]");
    for _ in 0..25 {
        talk.answer().await;
        talk.say("[say:hi]");
    }
    talk.answer().await;
    assert_eq!(api.violations(), [""; 0]);
    let body = api.requests().last().unwrap().body.clone();
    let marked: Vec<usize> = body["messages"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
        .filter(|(_, message)| message["content"][0].get("cache_control").is_some())
        .map(|(place, _)| place)
        .collect();
    assert_eq!(marked, [48, 50]);
}

#[tokio::test]
async fn the_ledger_agrees_with_the_bill() {
    let api = fake().await;
    let provider = provider(&api);
    let catalogue = Catalogue::parse(include_str!("../../../../data/models/anthropic.toml")).unwrap();
    let mut spent = 0;
    for model in ["claude-haiku-5-5", MODEL, "claude-opus-5-5"] {
        let mut talk = Conversation::new(&provider, model);
        for text in ["hello".to_owned(), "long ".repeat(4_000), "[long:50]".to_owned()] {
            talk.say(&text);
            let usage = talk.answer().await.usage.unwrap();
            spent += catalogue.cost(&ModelId::new(model), &usage, Timestamp(1_795_305_600_000)).unwrap().0;
        }
    }
    assert_eq!(spent, api.spend());
}

#[tokio::test]
async fn every_refusal_has_its_meaning() {
    let api = fake().await;
    let provider = provider(&api);
    let cases = [
        (400, "invalid_request_error", "no", Failure::Rejected),
        (400, "invalid_request_error", "prompt is too long: 9 tokens > 8 maximum", Failure::PromptTooLong),
        (400, "invalid_request_error", "`thinking`: bound to a different conversation", Failure::ThinkingMismatch),
        (401, "authentication_error", "invalid x-api-key", Failure::Unauthorized),
        (402, "billing_error", "pay", Failure::Billing),
        (403, "permission_error", "no", Failure::Unauthorized),
        (404, "not_found_error", "model: x", Failure::UnknownModel),
        (408, "timeout_error", "", Failure::Server),
        (409, "conflict_error", "", Failure::Server),
        (413, "", "", Failure::PromptTooLong),
        (429, "rate_limit_error", "", Failure::RateLimited),
        (500, "api_error", "", Failure::Server),
        (502, "", "", Failure::Server),
        (503, "api_error", "", Failure::Server),
        (504, "timeout_error", "", Failure::Server),
        (529, "overloaded_error", "", Failure::Overloaded),
    ];
    for (code, kind, message, expect) in cases {
        api.fault(Fault::next(1, FaultKind::status(code, kind, message)));
        let error = failure(&provider).await;
        assert_eq!((error.failure, error.reached, error.usage), (expect, false, None), "{code} {kind} {message}");
        // An answer from the edge has neither a type nor an id.
        assert_eq!(error.request.is_some(), !kind.is_empty(), "{error:?}");
        assert!(!error.message.contains("sk-test"), "{error:?}");
    }
    api.fault(Fault::next(1, FaultKind::rate_limited(7)));
    assert_eq!(failure(&provider).await.retry_after, Some(Duration::from_secs(7)));
    let spend = FaultKind::Status {
        code: 429,
        kind: "rate_limit_error".into(),
        message: "limit".into(),
        error_code: Some("enforced_spend_limit_reached".into()),
        retry_after: None,
    };
    api.fault(Fault::next(1, spend));
    assert_eq!(failure(&provider).await.failure, Failure::Billing);
    let mut unknown = Conversation::new(&provider, "claude-nobody-1");
    unknown.say("hello");
    assert_eq!(unknown.ask().await.0.unwrap_err().failure, Failure::UnknownModel);
    talk(&provider, "hello").answer().await;
}

/// Three recorded streams, cut behind every byte: an error unless the whole stream came, and then the next call works.
#[tokio::test]
async fn a_stream_cut_anywhere_is_no_reply() {
    let api = fake().await;
    let provider = provider(&api);
    for (name, stream) in STREAMS {
        for cut in 0..=stream.len() {
            api.fault(Fault::next(1, FaultKind::Replay(stream.to_vec())));
            api.fault(Fault::next(1, FaultKind::CutAtByte(cut)));
            let (reply, _) = talk(&provider, "hello").ask().await;
            match reply {
                Ok(_) => assert_eq!(cut, stream.len(), "{name} cut at {cut} is no reply"),
                Err(error) => {
                    assert!(cut < stream.len(), "{name} whole: {error}");
                    assert_eq!((error.failure, error.reached), (Failure::Transport, true), "{name} at {cut}: {error}");
                }
            }
        }
        api.clear_faults();
        talk(&provider, "hello").answer().await;
    }
}

#[tokio::test]
async fn recorded_streams_are_kept_verbatim() {
    let api = fake().await;
    let provider = provider(&api);
    let mut wires = Vec::new();
    for (name, stream) in STREAMS {
        for drip in [None, Some(7)] {
            api.fault(Fault::next(1, FaultKind::Replay(stream.to_vec())));
            if let Some(bytes) = drip {
                api.fault(Fault::next(1, FaultKind::Drip { bytes, ms: 0 }));
            }
            let reply = replayed(&api, &provider).await;
            wires.push((name, String::from_utf8(reply.wire.unwrap().to_vec()).unwrap()));
        }
    }
    for pair in wires.chunks(2) {
        assert_eq!(pair[0], pair[1], "pieces make no difference");
    }
    let tools = &wires[4].1;
    assert!(
        tools.starts_with(r#"{"role":"assistant","content":[{"type":"thinking","thinking":"The user wants"#),
        "{tools}"
    );
    assert!(
        tools.contains(
            r#""signature":"EqQBCkYIBxgCKkBq1n0V2c8Xw5e4mT9uR3yZkLhPpQdJ7sGfA0bVtNxYiEoCzWrUlMvHj6KqS5aD1BtFg==""#
        ),
        "{tools}"
    );
    assert!(tools.contains(r#""name":"weather","input":{"city": "Tromsø", "days": 2, "exact": 1.0}}"#), "{tools}");
    assert!(tools.ends_with(r#""name":"now","input":{}}]}"#), "{tools}");
}

#[tokio::test]
async fn strange_replies_are_kept_and_can_be_sent_back() {
    let api = fake().await;
    let provider = provider(&api);
    let strange = async |fault: FaultKind| {
        api.fault(Fault::next(1, fault));
        replayed(&api, &provider).await
    };
    let unknown = strange(FaultKind::UnknownEvents).await;
    assert!(unknown.parts.iter().any(|part| matches!(&part.body, PartBody::Opaque { kind } if kind == "future_block")));
    assert_eq!(strange(FaultKind::MissingUsage).await.usage, None);
    assert_eq!(strange(FaultKind::NegativeUsage).await.usage, None);
    let late = strange(FaultKind::UsageAtEnd).await.usage.unwrap();
    assert!(late.prompt() > 0 && late.output > 0);
    assert_eq!(strange(FaultKind::UnknownStopReason).await.stop, StopReason::EndTurn);
    assert_eq!(strange(FaultKind::ContextWindowExceeded).await.stop, StopReason::ContextWindow);
    let called = strange(FaultKind::ToolUseWithEndTurn).await;
    assert_eq!((called.stop, calls(&called).len()), (StopReason::EndTurn, 1));
    assert_eq!(strange(FaultKind::ToolUseWithoutCall).await.stop, StopReason::ToolUse);
    assert_eq!(calls(&strange(FaultKind::ParallelCalls(64)).await).len(), 64);
}

#[tokio::test]
async fn calls_that_could_not_be_answered_are_no_reply() {
    let api = fake().await;
    let provider = provider(&api);
    for fault in [FaultKind::DuplicateToolIds, FaultKind::EmptyToolId] {
        api.fault(Fault::next(1, fault.clone()));
        let error = failure(&provider).await;
        assert_eq!((error.failure, error.reached), (Failure::Protocol, true), "{fault:?}");
        assert!(error.usage.is_some_and(|usage| usage.input + usage.cache_write_5m > 0), "{fault:?}");
    }
    // An id that an earlier message has used.
    let again = || Script::blocks([Block::Tool { id: Some("toolu_1".into()), name: "now".into(), input: "{}".into() }]);
    let mut talk = talk(&provider, "hello");
    api.push(again());
    let reply = talk.answer().await;
    talk.answer_calls(&reply, "noon");
    api.push(again());
    assert_eq!(talk.ask().await.0.unwrap_err().failure, Failure::Protocol);
    talk.answer().await;
}

#[tokio::test]
async fn a_broken_input_is_shown_to_the_runtime_and_legal_on_the_wire() {
    let api = fake().await;
    let provider = provider(&api);
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    for input in [r#"{"a":"#, "[1]", "nonsense", r#"{"a":1}{"b":2}"#, &deep] {
        api.push(Script::blocks([Block::Tool { id: None, name: "now".into(), input: input.to_owned() }]));
        let reply = replayed(&api, &provider).await;
        assert_eq!(calls(&reply)[0].2, input);
        let wire = String::from_utf8(reply.wire.unwrap().to_vec()).unwrap();
        assert!(wire.contains(r#""input":{}"#), "{wire}");
        assert!(!reply.cut_tool_call);
    }
    let cut = Block::Tool { id: None, name: "now".into(), input: r#"{"a":"#.into() };
    api.push(Script::blocks([Block::Text("I look.".into()), cut]).stop("max_tokens"));
    let reply = talk(&provider, "hello").answer().await;
    assert!(reply.cut_tool_call && reply.stop == StopReason::MaxTokens);
    let whole = Block::Tool { id: None, name: "now".into(), input: r#"{"a":1}"#.into() };
    api.push(Script::blocks([whole]).stop("max_tokens"));
    assert!(!talk(&provider, "hello").answer().await.cut_tool_call);
}

#[tokio::test]
async fn blank_texts_are_not_kept() {
    let api = fake().await;
    let provider = provider(&api);
    let blocks = [" \n", "hi", "", "\t"].map(|text| Block::Text(text.to_owned()));
    api.push(Script { chunking: Chunking::Bytes(1), ..Script::blocks(blocks) });
    let reply = replayed(&api, &provider).await;
    assert_eq!(reply.wire.unwrap().as_ref(), br#"{"role":"assistant","content":[{"text":"hi","type":"text"}]}"#);
    assert_eq!(visible_text(&reply.parts), "hi");
}

#[tokio::test]
async fn bodies_and_events_that_never_end() {
    let api = fake().await;
    let provider = provider(&api);
    for bytes in [50_000_000, u64::MAX] {
        api.fault(Fault::next(1, FaultKind::HugeBody { bytes }));
        assert_eq!(failure(&provider).await.failure, Failure::Protocol);
    }
    let content = 3_000;
    for limits in [
        Limits { response_bytes_max: content, ..Limits::default() },
        Limits { stream_bytes_max: content, ..Limits::default() },
    ] {
        let long = talk(&provider_at(&api.base_url(), limits), "[long:20000]").ask().await.0.err().unwrap();
        assert_eq!(long.failure, Failure::Protocol);
        assert_eq!(long.usage.is_some(), limits.stream_bytes_max > content, "what was read is counted");
    }
    for text in ["", "{", "[1,2", "\"x\"", &"[".repeat(500_000), &r#"{"type":"#.repeat(10_000)] {
        api.fault(Fault::next(1, FaultKind::InvalidJson(text.to_owned())));
        assert_eq!(failure(&provider).await.failure, Failure::Protocol, "{:.20}", text);
    }
    talk(&provider, "hello").answer().await;
}

/// A text that comes in small pieces is a stream many times as long, which is not the answer's fault.
#[tokio::test]
async fn only_content_counts_as_the_answer() {
    let api = fake().await;
    let said = "a".repeat(300);
    for (response_bytes_max, fits) in [(400, true), (200, false)] {
        api.push(Script { chunking: Chunking::Bytes(1), ..Script::text(&said) });
        let limited = provider_at(&api.base_url(), Limits { response_bytes_max, ..Limits::default() });
        match talk(&limited, "hello").ask().await.0 {
            Ok(reply) => assert_eq!((visible_text(&reply.parts), fits), (said.clone(), true)),
            Err(error) => assert_eq!((error.failure, fits), (Failure::Protocol, false)),
        }
    }
}

#[tokio::test]
async fn silence_ends() {
    let api = fake().await;
    let short = Duration::from_millis(60);
    let long = Duration::from_secs(60);
    let limits = Limits { first_content: short, idle_content: short, stream: long, ..Limits::default() };
    let provider = provider_at(&api.base_url(), limits);
    for fault in [FaultKind::NeverAnswer, FaultKind::SilenceWithPings] {
        api.fault(Fault::next(1, fault.clone()));
        let error = failure(&provider).await;
        assert_eq!((error.failure, error.reached), (Failure::Transport, true), "{fault:?}");
    }
    // Content that comes, but not soon enough, and content that comes for too long.
    let slow = || Script { delta_ms: 200, chunking: Chunking::Words(1), ..Script::text("a b c d e f g h") };
    let patient = Limits { first_content: long, idle_content: Duration::from_millis(5), ..limits };
    api.push(slow());
    let error = talk(&provider_at(&api.base_url(), patient), "hello").ask().await.0.unwrap_err();
    assert_eq!(error.failure, Failure::Transport);
    let hasty = Limits { first_content: long, idle_content: long, stream: Duration::from_millis(700), ..limits };
    api.push(slow());
    let error = talk(&provider_at(&api.base_url(), hasty), "hello").ask().await.0.unwrap_err();
    assert_eq!(error.failure, Failure::Transport);
    assert!(error.usage.is_some_and(|usage| usage.output > 1), "what came is counted: {:?}", error.usage);
}

#[tokio::test]
async fn broken_connections() {
    let api = fake().await;
    let provider = provider(&api);
    api.fault(Fault::next(1, FaultKind::ResetConnection));
    let error = failure(&provider).await;
    assert_eq!((error.failure, error.reached), (Failure::Transport, true));
    for events in 0..8 {
        api.fault(Fault::next(1, FaultKind::ErrorEventAfter(events)));
        let error = failure(&provider).await;
        assert_eq!((error.failure, error.reached), (Failure::Overloaded, true), "after {events} events");
    }
    talk(&provider, "hello").answer().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = provider_at(&format!("http://127.0.0.1:{port}"), Limits::default());
    let error = failure(&nobody).await;
    assert_eq!((error.failure, error.reached), (Failure::Transport, false));
    assert!(!error.message.contains("http://") && !error.message.contains("/v1/"), "{error}");
    // Somebody who does not speak TLS: the handshake fails, and nothing was said.
    let plain = provider_at(&api.base_url().replace("http://", "https://"), Limits::default());
    let error = failure(&plain).await;
    assert_eq!((error.failure, error.reached), (Failure::Transport, false), "{error}");
}

#[tokio::test]
async fn a_dropped_call_closes_its_connection() {
    let api = fake().await;
    let provider = provider(&api);
    let mut talk = talk(&provider, "hello");
    talk.prompt.max_tokens = 100;
    api.push(Script { delta_ms: 60_000, ..Script::text("too late") });
    tokio::select! {
        _ = talk.ask() => panic!("it must not end"),
        () = api.wait_for(|seen| (seen.open_calls == 1).then_some(()), Duration::from_secs(10)) => {}
    }
    api.wait_for(|seen| (seen.disconnects == 1).then_some(()), Duration::from_secs(10)).await;
}

/// Answers everything with one stream, the end of the body a moment behind the last event.
struct OneStream;

impl Handler for OneStream {
    async fn handle(&self, _: Request, mut responder: Responder) {
        let sent = async {
            responder.start_chunked(200, &[("content-type", "text/event-stream; charset=utf-8")]).await?;
            responder.chunk(STREAMS[0].1).await
        };
        if sent.await.is_ok() {
            tokio::task::yield_now().await;
            responder.finish().await;
        }
    }
}

#[tokio::test]
async fn connections_are_used_again() {
    let server = HttpServer::start(([127, 0, 0, 1], 0).into(), Arc::new(OneStream)).await.unwrap();
    let provider = provider_at(&server.base_url(), Limits::default());
    for _ in 0..5 {
        talk(&provider, "hello").answer().await;
    }
    assert_eq!(server.connections(), 1);
    let localhost = provider_at(&server.base_url().replace("127.0.0.1", "localhost"), Limits::default());
    talk(&localhost, "hello").answer().await;
}

#[tokio::test]
async fn what_is_too_long_or_illegal_is_not_sent() {
    let api = fake().await;
    let provider = provider_at(&api.base_url(), Limits { request_bytes_max: 10_000, ..Limits::default() });
    let error = talk(&provider, &"x".repeat(10_000)).ask().await.0.unwrap_err();
    assert_eq!((error.failure, error.reached), (Failure::PromptTooLong, false));
    let mut broken = talk(&provider, "hello");
    broken.say("again");
    let error = broken.ask().await.0.unwrap_err();
    assert_eq!((error.failure, error.reached), (Failure::Rejected, false));
    assert!(error.message.contains("messages.1"), "{error}");
    let empty = Conversation::new(&provider, MODEL);
    assert_eq!(empty.ask().await.0.unwrap_err().failure, Failure::Rejected);
    assert_eq!(api.requests().len(), 0);
}

#[test]
fn keys_and_addresses_are_checked() {
    let egress = Egress::new().unwrap();
    let new = |base_url: &str, key: &str| {
        let (blobs, limits) = (Arc::new(Shelf::default()), Limits::default());
        let options =
            AnthropicOptions { base_url, api_key: Secret::new(key.to_owned()), egress: &egress, blobs, limits };
        Anthropic::new(options).err()
    };
    let api = "https://api.anthropic.com";
    assert_eq!(new(api, "sk-ant-api03-x"), None);
    assert_eq!(new(api, " sk-ant-api03-x\n"), None);
    assert_eq!(new(api, "sk-ant-oat01-x"), Some(AnthropicError::LoginToken));
    assert_eq!(new(api, ""), Some(AnthropicError::Key));
    assert_eq!(new(api, "a key"), Some(AnthropicError::Key));
    assert!(matches!(new("http://example.org", "sk"), Some(AnthropicError::Egress(_))));
}

#[test]
fn user_messages_are_rendered_in_the_order_that_is_legal() {
    let shelf = Arc::new(Shelf::default());
    let provider = provider_with("http://[::1]:1", Limits::default(), &shelf);
    let text = Part::text(blufio_core::message::Origin::Owner, "then \"this\"");
    let result = |content: &str, error| Part {
        body: PartBody::ToolResult { id: blufio_core::ids::CallId::new("a"), content: content.into(), error },
        ..text.clone()
    };
    let render = |parts: &[Part]| {
        let wire = blufio_core::port::Provider::render_message(&provider, Role::User, parts).unwrap();
        String::from_utf8(wire.to_vec()).unwrap()
    };
    assert_eq!(
        render(&[text.clone(), result("", true)]),
        concat!(
            r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":"(no output)","is_error":true},"#,
            r#"{"type":"text","text":"then \"this\""}]}"#
        )
    );
    let picture = r#"{"type":"image","source":{"type":"base64","media_type":"image/png","data":"blufio-attachment:"#;
    let rendered = render(&[text.clone(), shelf.image(&media::png(1, 1)), result("x", false)]);
    let places = [r#"{"type":"tool_result""#, r#"{"type":"text""#, picture].map(|block| rendered.find(block));
    assert!(places.is_sorted() && places[0].is_some(), "{rendered}");
    assert_eq!(
        render(&[result("x", false)]),
        r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":"x"}]}"#
    );
}
