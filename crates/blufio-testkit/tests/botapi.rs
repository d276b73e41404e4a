//! The fake Bot API, seen by a client that knows nothing but HTTP/1.1 on a socket.

#[path = "botapi/files.rs"]
mod files;
#[path = "botapi/people.rs"]
mod people;
#[path = "botapi/webhook.rs"]
mod webhook;

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use blufio_testkit::botapi::schema::SCHEMA;
use blufio_testkit::botapi::{
    Action, BotApiConfig, ChatKind, FakeBotApi, Fault, FileKind, Post, PostedFile, RateModel,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LIMIT: Duration = Duration::from_secs(10);

/// One keep-alive connection.
struct Client {
    stream: TcpStream,
    token: &'static str,
}

struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }
}

impl Client {
    async fn connect(server: &FakeBotApi) -> Self {
        Self { stream: TcpStream::connect(server.addr()).await.expect("loopback"), token: "1:TEST" }
    }

    async fn send(&mut self, path: &str, content_type: &str, body: &[u8]) {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.stream.write_all(&[head.as_bytes(), body].concat()).await.expect("the server reads");
    }

    async fn receive(&mut self) -> std::io::Result<Reply> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await?);
        }
        let head = String::from_utf8(head).expect("an ASCII head");
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()).expect("a length");
        let mut body = vec![0; length.parse().expect("a number")];
        self.stream.read_exact(&mut body).await?;
        Ok(Reply { status: head[9..12].parse().expect("a status"), head, body })
    }

    async fn start(&mut self, method: &str, params: Value) {
        let path = format!("/bot{}/{method}", self.token);
        self.send(&path, "application/json", params.to_string().as_bytes()).await;
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.start(method, params).await;
        self.receive().await.expect("an answer").json()
    }

    async fn ok(&mut self, method: &str, params: Value) -> Value {
        let mut answer = self.call(method, params).await;
        assert_eq!(answer["ok"], true, "{answer}");
        if method == "getUpdates" {
            for update in answer["result"].as_array().expect("a list") {
                assert_eq!(SCHEMA.check_object("Update", update), Ok(()), "{update}");
            }
        }
        answer["result"].take()
    }

    async fn error(&mut self, method: &str, params: Value) -> (i64, String) {
        let answer = self.call(method, params).await;
        assert_eq!(answer["ok"], false, "{answer}");
        (answer["error_code"].as_i64().expect("a code"), answer["description"].as_str().expect("a text").to_owned())
    }
}

async fn server() -> FakeBotApi {
    start(BotApiConfig { throttle: false, ..BotApiConfig::default() }).await
}

async fn start(config: BotApiConfig) -> FakeBotApi {
    FakeBotApi::start(config).await.expect("a free port")
}

fn ids(updates: &Value) -> Vec<i64> {
    updates.as_array().expect("a list").iter().map(|update| update["update_id"].as_i64().expect("an id")).collect()
}

fn bad(text: &str) -> (i64, String) {
    (400, format!("Bad Request: {text}"))
}

#[tokio::test]
async fn updates_stay_until_a_higher_offset_confirms_them() {
    let server = server().await;
    let mut client = Client::connect(&server).await;
    server.send_text(7, "one");
    server.send_text(7, "/start x");
    let first = client.ok("getUpdates", json!({})).await;
    assert_eq!(ids(&first), [1, 2]);
    assert_eq!(first[0]["message"]["chat"], json!({"id": 7, "type": "private", "first_name": "User 7"}));
    assert_eq!(first[1]["message"]["entities"], json!([{"type": "bot_command", "offset": 0, "length": 6}]));
    assert_eq!(ids(&client.ok("getUpdates", json!({"limit": 1})).await), [1]);
    assert_eq!(ids(&client.ok("getUpdates", json!({"offset": 2})).await), [2]);
    assert_eq!(ids(&client.ok("getUpdates", json!({"offset": 1})).await), [2], "1 is gone for good");
    assert_eq!(ids(&client.ok("getUpdates", json!({"offset": 3})).await), [0_i64; 0]);
    assert_eq!(server.read(|state| state.pending_updates()), 0);

    assert!(server.redeliver(2, 2));
    for expected in [&[2][..], &[2], &[]] {
        assert_eq!(ids(&client.ok("getUpdates", json!({"offset": 3})).await), expected);
    }
    assert_eq!(server.violations(), [""; 0]);
}

#[tokio::test]
async fn ids_may_start_again_and_a_stale_offset_is_answered_from_the_head() {
    let server = start(BotApiConfig { first_update_id: 1_000, throttle: false, ..BotApiConfig::default() }).await;
    let mut client = Client::connect(&server).await;
    server.send_text(7, "high");
    assert_eq!(ids(&client.ok("getUpdates", json!({})).await), [1_000]);
    server.reset_ids(7);
    server.send_text(7, "low");
    assert_eq!(ids(&client.ok("getUpdates", json!({"offset": 1_001})).await), [7, 8]);
    assert_eq!(ids(&client.ok("getUpdates", json!({"offset": 9})).await), [0_i64; 0]);
}

#[tokio::test]
async fn a_long_poll_ends_with_the_next_update() {
    let server = server().await;
    let mut client = Client::connect(&server).await;
    client.start("getUpdates", json!({"timeout": 50})).await;
    server.wait_for(|state| (state.count("getUpdates") == 1).then_some(()), LIMIT).await;
    server.send_text(7, "now");
    let answer = client.receive().await.expect("an answer").json();
    assert_eq!(answer["result"][0]["message"]["text"], "now");
}

#[tokio::test]
async fn the_older_of_two_polls_gets_a_conflict_unless_it_has_hung_up() {
    let server = server().await;
    let mut old = Client::connect(&server).await;
    let mut new = Client::connect(&server).await;
    old.start("getUpdates", json!({"timeout": 50})).await;
    server.wait_for(|state| (state.count("getUpdates") == 1).then_some(()), LIMIT).await;
    new.start("getUpdates", json!({"timeout": 50})).await;
    let conflict = old.receive().await.expect("an answer");
    assert_eq!(conflict.status, 409);
    assert!(
        conflict.json()["description"].as_str().is_some_and(|text| text.contains("terminated by other getUpdates"))
    );
    assert_eq!(server.overlapping_polls(), 1);

    for _ in 0..50 {
        drop(new);
        new = Client::connect(&server).await;
        let before = server.read(|state| state.count("getUpdates"));
        new.start("getUpdates", json!({"timeout": 50})).await;
        server.wait_for(|state| (state.count("getUpdates") > before).then_some(()), LIMIT).await;
    }
    assert_eq!(server.overlapping_polls(), 1, "a closed connection does not overlap");
}

#[tokio::test]
async fn a_webhook_excludes_polling() {
    let server = server().await;
    let mut client = Client::connect(&server).await;
    assert_eq!(client.error("setWebhook", json!({"url": "http://e.org"})).await.0, 400);
    client.ok("setWebhook", json!({"url": "https://e.org/x", "secret_token": "abc"})).await;
    assert_eq!(client.ok("getWebhookInfo", json!({})).await["url"], "https://e.org/x");
    let (code, text) = client.error("getUpdates", json!({})).await;
    assert_eq!(code, 409);
    assert!(text.contains("webhook is active"), "{text}");
    client.ok("deleteWebhook", json!({"drop_pending_updates": false})).await;
    client.ok("getUpdates", json!({})).await;
}

#[tokio::test]
async fn a_hot_polling_loop_is_throttled() {
    let server = start(BotApiConfig::default()).await;
    let mut client = Client::connect(&server).await;
    server.send_text(7, "one");
    server.send_text(7, "two");
    assert_eq!(ids(&client.ok("getUpdates", json!({"offset": 1})).await), [1, 2]);
    assert_eq!(ids(&client.ok("getUpdates", json!({"offset": 1})).await), [1], "limit 1 within half a second");
    client.ok("getUpdates", json!({"offset": 3})).await;
    let begin = Instant::now();
    assert_eq!(ids(&client.ok("getUpdates", json!({"offset": 3})).await), [0_i64; 0]);
    assert!(begin.elapsed() >= Duration::from_millis(2_900), "timeout 0 became 3 s: {:?}", begin.elapsed());
}

#[tokio::test]
async fn illegal_calls_are_refused_and_recorded() {
    let server = server().await;
    server.open_private(7);
    let mut client = Client::connect(&server).await;
    let cases = [
        ("sendMessag", json!({}), 404),
        ("sendMessage", json!({"chat_id": 7}), 400),
        ("sendMessage", json!({"chat_id": 7, "text": "x", "disable_web_page_preview": true}), 400),
        ("sendMessage", json!({"chat_id": 7, "text": ["x"]}), 400),
        ("sendMessage", json!({"chat_id": 7, "text": "x", "parse_mode": "MarkdownV2"}), 400),
        ("sendChatAction", json!({"chat_id": 7, "action": "thinking"}), 400),
        ("sendMessageDraft", json!({"chat_id": 7, "draft_id": 0, "text": "x"}), 400),
        ("setMyCommands", json!({"commands": [{"command": "Big", "description": "x"}]}), 400),
    ];
    for (number, (method, params, status)) in cases.into_iter().enumerate() {
        assert_eq!(client.error(method, params.clone()).await.0, status, "{method} {params}");
        assert_eq!(server.violations().len(), number + 1, "{:?}", server.violations());
    }
    let long = json!([[{"text": "x", "callback_data": "x".repeat(65)}]]);
    let params = json!({"chat_id": 7, "text": "x", "reply_markup": {"inline_keyboard": long}});
    assert_eq!(client.error("sendMessage", params).await, bad("BUTTON_DATA_INVALID"));
    assert!(server.transcript(7).is_empty());
}

#[tokio::test]
async fn sent_text_is_parsed_measured_and_visible() {
    let server = server().await;
    let mut client = Client::connect(&server).await;
    assert_eq!(client.error("sendMessage", json!({"chat_id": 7, "text": "x"})).await, bad("chat not found"));
    server.send_text(7, "hi");
    let html = |text: &str| json!({"chat_id": 7, "text": text, "parse_mode": "HTML"});
    let sent = client.ok("sendMessage", html("<b>a</b> &lt; 😀")).await;
    assert_eq!(sent["text"], "a < 😀");
    assert_eq!(sent["entities"], json!([{"type": "bold", "offset": 0, "length": 1}]));
    let unclosed = bad("can't parse entities: Can't find end tag corresponding to start tag \"b\"");
    assert_eq!(client.error("sendMessage", html("<b>a")).await, unclosed);
    let unsupported = bad("can't parse entities: Unsupported start tag \"p\" at byte offset 3");
    assert_eq!(client.error("sendMessage", html("é <p>")).await, unsupported);
    assert_eq!(client.error("sendMessage", html("<b> </b>\n")).await, bad("message text is empty"));
    client.ok("sendMessage", html(&format!("<b>{}</b>", "😀".repeat(2_048)))).await;
    assert_eq!(client.error("sendMessage", html(&"😀".repeat(2_049))).await, bad("message is too long"));

    let transcript = server.transcript(7);
    assert_eq!(transcript.len(), 3);
    assert_eq!((transcript[0].from_bot, transcript[0].text.as_str()), (false, "hi"));
    assert_eq!((transcript[1].from_bot, transcript[1].html.as_str()), (true, "<b>a</b> &lt; 😀"));
    assert_eq!(server.read(|state| state.sent_total()), 2);
    assert_eq!(server.violations(), [""; 0]);
}

#[tokio::test]
async fn edits_keep_their_history_and_refuse_equal_content() {
    let server = server().await;
    server.send_text(7, "hi");
    let mut client = Client::connect(&server).await;
    let keyboard = json!({"inline_keyboard": [[{"text": "ok", "callback_data": "b1:x:ok"}]]});
    let sent = client.ok("sendMessage", json!({"chat_id": 7, "text": "…", "reply_markup": keyboard})).await;
    let id = sent["message_id"].as_i64().expect("an id");
    let edit = |text: &str| json!({"chat_id": 7, "message_id": id, "text": text});
    client.ok("editMessageText", edit("one")).await;
    client.ok("editMessageText", edit("two")).await;
    let (code, text) = client.error("editMessageText", edit("two ")).await;
    assert!(code == 400 && text.starts_with("Bad Request: message is not modified: "), "{text}");
    let visible = &server.transcript(7)[1];
    assert_eq!((visible.text.as_str(), visible.edits.as_slice()), ("two", &["…".to_owned(), "one".to_owned()][..]));
    assert!(visible.buttons.is_empty(), "an edit without keyboard removes it");

    assert_eq!(
        client.error("editMessageText", json!({"chat_id": 7, "message_id": 1, "text": "x"})).await,
        bad("message can't be edited")
    );
    client.ok("deleteMessage", json!({"chat_id": 7, "message_id": id})).await;
    assert_eq!(client.error("editMessageText", edit("x")).await, bad("message to edit not found"));
    assert_eq!(server.read(|state| state.deleted(7).len()), 1);
}

#[tokio::test]
async fn buttons_become_callbacks_that_are_answered_once() {
    let server = server().await;
    server.send_text(7, "hi");
    let mut client = Client::connect(&server).await;
    let keyboard = json!({"inline_keyboard": [[{"text": "ok", "callback_data": "b1:x:ok"}]]});
    client.ok("sendMessage", json!({"chat_id": 7, "text": "?", "reply_markup": keyboard})).await;
    let message = server.transcript(7)[1].clone();
    assert_eq!(message.buttons, [[("ok".to_owned(), "b1:x:ok".to_owned())]]);
    server.press(7, message.message_id, 7, "b1:x:ok").expect("presses are wanted by default");
    let updates = client.ok("getUpdates", json!({"offset": 2, "allowed_updates": ["message"]})).await;
    assert_eq!(updates[0]["callback_query"]["data"], "b1:x:ok");
    assert_eq!(updates[0]["callback_query"]["message"]["message_id"], message.message_id);
    let answer = json!({"callback_query_id": updates[0]["callback_query"]["id"], "text": "done"});
    assert_eq!(server.read(|state| state.unanswered_callbacks().len()), 1);
    client.ok("answerCallbackQuery", answer.clone()).await;
    assert_eq!(server.read(|state| state.unanswered_callbacks().len()), 0);
    assert!(client.error("answerCallbackQuery", answer).await.1.contains("query is too old"));
    assert_eq!(server.press(7, message.message_id, 7, "b1:x:ok"), None, "the bot asked for messages only");
}

#[tokio::test]
async fn topics_exist_or_are_not_found() {
    let server = server().await;
    server.add_group(-100, "Team", ChatKind::Supergroup { forum: true }, &[7]);
    server.change(|state| state.add_topic(-100, 44));
    server.post(Post { thread: Some(44), ..Post::new(-100, 7, "hi") });
    let mut client = Client::connect(&server).await;
    let in_thread = |thread: i64| json!({"chat_id": -100, "text": "x", "message_thread_id": thread});
    client.ok("sendMessage", in_thread(44)).await;
    client.ok("sendMessage", json!({"chat_id": -100, "text": "general"})).await;
    assert_eq!(client.error("sendMessage", in_thread(1)).await, bad("message thread not found"));
    assert_eq!(client.error("sendMessage", in_thread(45)).await, bad("message thread not found"));
    client.ok("sendChatAction", json!({"chat_id": -100, "action": "typing", "message_thread_id": 1})).await;
    let threads: Vec<_> = server.transcript(-100).iter().map(|message| message.thread).collect();
    assert_eq!(threads, [Some(44), Some(44), None]);
    assert_eq!(server.read(|state| state.actions(-100)[0].thread), Some(1));
}

#[tokio::test]
async fn drafts_are_for_private_chats_and_may_be_unknown() {
    let server = server().await;
    server.open_private(7);
    server.add_group(-5, "Team", ChatKind::Group, &[7]);
    let mut client = Client::connect(&server).await;
    let draft = |chat: i64, text: &str| json!({"chat_id": chat, "draft_id": 9, "text": text});
    client.ok("sendMessageDraft", draft(7, "")).await;
    client.ok("sendMessageDraft", draft(7, "so far")).await;
    assert_eq!(client.error("sendMessageDraft", draft(-5, "x")).await.0, 400);
    server.forget_drafts(true);
    assert_eq!(client.error("sendMessageDraft", draft(7, "x")).await, (404, "Not Found: method not found".to_owned()));
    let texts: Vec<_> = server.read(|state| state.drafts(7)).into_iter().map(|update| update.text).collect();
    assert_eq!(texts, ["", "so far"]);
    assert!(server.transcript(7).is_empty(), "a draft is no message");
}

#[tokio::test]
async fn chats_close_migrate_and_tokens_die() {
    let server = server().await;
    server.send_text(7, "hi");
    server.add_group(-5, "Team", ChatKind::Group, &[7]);
    let mut client = Client::connect(&server).await;
    let text = |chat: i64| json!({"chat_id": chat, "text": "x"});
    server.set_blocked(7, true);
    assert_eq!(client.error("sendMessage", text(7)).await, (403, "Forbidden: bot was blocked by the user".to_owned()));
    server.send_text(7, "/start");
    client.ok("sendMessage", text(7)).await;
    let updates = client.ok("getUpdates", json!({})).await;
    let kinds: Vec<_> = updates
        .as_array()
        .expect("a list")
        .iter()
        .map(|update| update["my_chat_member"]["new_chat_member"]["status"].clone())
        .collect();
    assert_eq!(kinds, [json!(null), json!("kicked"), json!("member"), json!(null)]);

    server.migrate(-5, -1005);
    let answer = client.call("sendMessage", text(-5)).await;
    assert_eq!(answer["parameters"], json!({"migrate_to_chat_id": -1005}));
    client.ok("sendMessage", text(-1005)).await;

    server.revoke_token(true);
    assert_eq!(client.error("getMe", json!({})).await, (401, "Unauthorized".to_owned()));
    client.token = "nonsense";
    assert_eq!(client.error("getMe", json!({})).await.0, 404);
}

#[tokio::test]
async fn faults_damage_the_answer_but_not_always_the_effect() {
    let server = server().await;
    server.open_private(7);
    let message = || json!({"chat_id": 7, "text": "x"});
    // (action, whether the message becomes visible, whether there is any complete answer)
    let cases = [
        (Action::ApplyThenDrop, true, false),
        (Action::DropBefore, false, false),
        (Action::ResetMid, true, false),
        (Action::TruncatedJson, true, true),
        (Action::HtmlBody502, false, true),
        (Action::Drip(0), true, true),
        (Action::HugeBody(100_000), true, true),
        (Action::WrongContentType, true, true),
        (Action::CloseKeepAlive, true, true),
        (Action::RateLimit { retry_after: Some(3) }, false, true),
        (
            Action::Answer { status: 500, description: "Internal Server Error".to_owned(), parameters: Value::Null },
            false,
            true,
        ),
        (Action::Delay(1), true, true),
    ];
    for (action, applied, answered) in cases {
        let before = server.transcript(7).len();
        server.fault(Fault::once("sendMessage", action.clone()).in_chat(7));
        let mut client = Client::connect(&server).await;
        client.start("sendMessage", message()).await;
        let answer = client.receive().await;
        assert_eq!(answer.is_ok(), answered, "{action:?}");
        assert_eq!(server.transcript(7).len() - before, usize::from(applied), "{action:?}");
        match (&action, answer) {
            (Action::ResetMid, Err(error)) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
            (Action::TruncatedJson, Ok(reply)) => assert!(serde_json::from_slice::<Value>(&reply.body).is_err()),
            (Action::HtmlBody502, Ok(reply)) => assert_eq!((reply.status, reply.body[0]), (502, b'<')),
            (Action::HugeBody(bytes), Ok(reply)) => assert!(reply.body.len() >= *bytes && reply.json()["ok"] == true),
            (Action::WrongContentType, Ok(reply)) => assert!(reply.head.contains("text/html")),
            (Action::RateLimit { .. }, Ok(reply)) => assert_eq!(reply.json()["parameters"]["retry_after"], 3),
            (Action::CloseKeepAlive, Ok(_)) => assert_eq!(client.stream.read(&mut [0]).await.expect("an end"), 0),
            _ => {}
        }
    }
    let mut client = Client::connect(&server).await;
    client.ok("sendMessage", message()).await;

    server.fault(Fault::on("getMe", Action::NeverAnswer));
    client.start("getMe", json!({})).await;
    server.wait_for(|state| (state.count("getMe") == 1).then_some(()), LIMIT).await;
    drop(client);
    server.clear_faults();
    Client::connect(&server).await.ok("getMe", json!({})).await;
    assert_eq!(server.violations(), [""; 0]);
}

#[tokio::test]
async fn files_travel_both_ways() {
    let server = server().await;
    let mut client = Client::connect(&server).await;
    let file = PostedFile {
        user: 7,
        kind: FileKind::Document,
        name: "a.txt".to_owned(),
        media_type: "text/plain".to_owned(),
        bytes: "content".into(),
        caption: "see".to_owned(),
        group: None,
    };
    server.post_file(file);
    let message = client.ok("getUpdates", json!({})).await[0]["message"].take();
    assert_eq!((&message["caption"], &message["document"]["file_name"]), (&json!("see"), &json!("a.txt")));
    let found = client.ok("getFile", json!({"file_id": message["document"]["file_id"]})).await;
    let path = format!("/file/bot1:TEST/{}", found["file_path"].as_str().expect("a path"));
    client.send(&path, "text/plain", b"").await;
    assert_eq!(client.receive().await.expect("a file").body, b"content");
    server.change(|state| state.expire_files());
    client.send(&path, "text/plain", b"").await;
    assert_eq!(client.receive().await.expect("an answer").status, 404);

    let body = "--B\r\ncontent-disposition: form-data; name=\"chat_id\"\r\n\r\n7\r\n--B\r\ncontent-disposition: form-data; \
                name=\"document\"; filename=\"reply.md\"\r\ncontent-type: text/markdown\r\n\r\n# hi\r\n--B--\r\n";
    client.send("/bot1:TEST/sendDocument", "multipart/form-data; boundary=B", body.as_bytes()).await;
    let sent = client.receive().await.expect("an answer").json();
    assert_eq!(sent["result"]["document"]["mime_type"], "text/markdown");
    assert_eq!(server.transcript(7)[1].media.as_deref(), Some("reply.md"));
    let uploads =
        server.requests().into_iter().find(|request| request.method == "sendDocument").map(|request| request.files);
    assert_eq!(uploads, Some(vec![("document".to_owned(), "reply.md".to_owned(), 4)]));
}

#[tokio::test]
async fn the_rate_model_answers_429_with_the_time_to_wait() {
    let server = start(BotApiConfig { rate: Some(RateModel::default()), ..BotApiConfig::default() }).await;
    server.open_private(7);
    server.open_private(8);
    let mut client = Client::connect(&server).await;
    for _ in 0..3 {
        client.ok("sendMessage", json!({"chat_id": 7, "text": "x"})).await;
    }
    let answer = client.call("sendMessage", json!({"chat_id": 7, "text": "x"})).await;
    assert_eq!((&answer["error_code"], &answer["parameters"]["retry_after"]), (&json!(429), &json!(1)));
    client.ok("sendMessage", json!({"chat_id": 8, "text": "x"})).await;
}

#[tokio::test]
async fn scripts_drive_it_through_control_endpoints() {
    let server = server().await;
    let mut client = Client::connect(&server).await;
    client.send("/_control/send", "application/json", b"{\"user\":7,\"text\":\"hi\"}").await;
    assert_eq!(client.receive().await.expect("an answer").json(), json!({"update_id": 1}));
    let fault = br#"{"method":"sendMessage","times":1,"action":{"rate_limit":{"retry_after":3}}}"#;
    client.send("/_control/fault", "application/json", fault).await;
    assert_eq!(client.receive().await.expect("an answer").status, 200);
    let message = json!({"chat_id": 7, "text": "hello"});
    assert_eq!(client.error("sendMessage", message.clone()).await.0, 429);
    client.ok("sendMessage", message).await;
    for (path, pointer, expected) in [
        ("transcript?chat=7", "/1/text", json!("hello")),
        ("wait?chat=7", "/1/from_bot", json!(true)),
        ("requests", "/0/status", json!(429)),
        ("counts", "/sendMessage", json!(2)),
        ("violations", "", json!([])),
        ("state", "/pending_updates", json!(1)),
    ] {
        let request = format!("GET /_control/{path} HTTP/1.1\r\n\r\n");
        client.stream.write_all(request.as_bytes()).await.expect("the server reads");
        let answer = client.receive().await.expect("an answer").json();
        assert_eq!(answer.pointer(pointer), Some(&expected), "{path}: {answer}");
    }
    for (path, body, expected) in [
        (
            "file",
            json!({"user": 7, "kind": "document", "name": "a.txt", "media_type": "text/plain", "base64": "aGk="}),
            json!({"update_id": 2}),
        ),
        (
            "album",
            json!({"caption": "x", "files": [{"user": 7, "kind": "photo", "base64": "aGk="},
                {"user": 7, "kind": "voice", "base64": "aGk=", "seconds": 5, "hide_size": true}]}),
            json!({"update_ids": [3, 4]}),
        ),
        ("edit", json!({"chat": 7, "message_id": 1, "text": "better"}), json!({"update_id": 5})),
        ("react", json!({"chat": 7, "message_id": 2, "user": 7, "emoji": "👍"}), json!({"update_id": null})),
        ("press", json!({"chat": 7, "message_id": 9, "user": 7, "data": "x"}), json!({"update_id": null})),
        (
            "press",
            json!({"chat": 7, "message_id": 9, "user": 7, "data": "x", "inaccessible": true}),
            json!({"update_id": 6}),
        ),
        ("group", json!({"chat": -5, "title": "Team", "members": [7], "forum": true}), json!({})),
        ("topic", json!({"chat": -5, "user": 7, "name": "Plans"}), json!({"thread": 2})),
        ("topic", json!({"chat": -5, "thread": 2, "closed": true}), json!({})),
        ("topic", json!({"chat": -5, "thread": 2, "deleted": true}), json!({})),
        ("flood", json!({"chat": 7, "seconds": 60}), json!({})),
        ("reorder", json!({"seed": 1}), json!({})),
        ("expire", json!({"what": "links"}), json!({})),
        ("webhook_target", json!({"addr": "127.0.0.1:9"}), json!({})),
        ("webhook_target", json!({"addr": null}), json!({})),
    ] {
        client.send(&format!("/_control/{path}"), "application/json", body.to_string().as_bytes()).await;
        assert_eq!(client.receive().await.expect("an answer").json(), expected, "{path} {body}");
    }
    for path in ["files?chat=7", "reactions?chat=7", "notifications?chat=7", "callbacks", "deliveries"] {
        client.stream.write_all(format!("GET /_control/{path} HTTP/1.1\r\n\r\n").as_bytes()).await.expect("it reads");
        assert_eq!(client.receive().await.expect("an answer").status, 200, "{path}");
    }
    client.send("/_control/nonsense", "application/json", b"{}").await;
    assert_eq!(client.receive().await.expect("an answer").status, 400);
}
