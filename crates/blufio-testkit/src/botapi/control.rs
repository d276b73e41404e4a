//! `/_control/…`: the user's side of the fake for scripts and for tests of a separate process.
//!
//! GET reads, POST changes; bodies and answers are JSON. [`USAGE`] is the reference.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout_at};

use super::Shared;
use super::fault::Fault;
use super::state::{ChatKind, State};
use super::user::Post;
use crate::http::{Request, Responder};

/// How to use the endpoints by hand.
pub const USAGE: &str = r#"POST /_control/send           {"user":1,"text":"hello"}; in a group also "chat":-5, "thread":7, "reply_to":3
POST /_control/press          {"chat":1,"message_id":2,"user":1,"data":"b1:..."}
POST /_control/update         any Update object; without "update_id" it gets the next one
POST /_control/redeliver      {"update_id":5,"times":3}
POST /_control/group          {"chat":-5,"title":"Team","members":[1],"forum":false,"topics":[7]}
POST /_control/block          {"chat":1,"blocked":true}
POST /_control/migrate        {"old":-5,"new":-1005}
POST /_control/revoke         {"revoked":true}
POST /_control/forget_drafts  {"forget":true}
POST /_control/reset_ids      {"next":7}
POST /_control/fault          {"method":"sendMessage","times":1,"action":{"rate_limit":{"retry_after":3}}}
                              further keys: "chat", "skip", "chance":{"percent":10,"seed":1}; actions: "apply_then_drop",
                              "apply_then_never_answer", "drop_before", "reset_mid", "truncated_json", "html_body502",
                              "never_answer", "wrong_content_type", "close_keep_alive", {"delay":ms}, {"drip":ms},
                              {"huge_body":bytes}, {"answer":{"status":500,"description":"Internal Server Error"}}
POST /_control/clear_faults   {}
GET  /_control/transcript?chat=1   GET /_control/deleted?chat=1   GET /_control/actions?chat=1   GET /_control/drafts?chat=1
GET  /_control/violations     GET /_control/requests   GET /_control/counts   GET /_control/errors   GET /_control/state
GET  /_control/wait?chat=1&bot_messages=2&timeout_ms=5000   answers when the bot has so many visible messages there"#;

/// Longest `timeout_ms` of `/_control/wait`.
const WAIT_MS_MAX: u64 = 600_000;

pub(super) async fn handle(shared: &Shared, name: &str, request: &Request, responder: Responder) {
    let outcome = match (request.method.as_str(), name) {
        ("GET", "wait") => wait(shared, request).await,
        ("GET", _) => read(&shared.lock(), name, request),
        ("POST", _) => serde_json::from_slice(&request.body)
            .map_err(|error| format!("body: {error}"))
            .and_then(|body| shared.change(|state| change(state, name, body))),
        _ => Err("only GET and POST".to_owned()),
    };
    let (status, body) = match outcome {
        Ok(body) => (200, body),
        Err(error) => (400, json!({"error": error})),
    };
    responder.full(status, &[("content-type", "application/json")], format!("{body}\n")).await;
}

fn chat(request: &Request) -> Result<i64, String> {
    let text = request.query.get("chat").ok_or("the query parameter chat is missing")?;
    text.parse().map_err(|_| format!("chat \"{text}\" is no integer"))
}

fn read(state: &State, name: &str, request: &Request) -> Result<Value, String> {
    Ok(match name {
        "transcript" => json!(state.transcript(chat(request)?)),
        "deleted" => json!(state.deleted(chat(request)?)),
        "actions" => json!(state.actions(chat(request)?)),
        "drafts" => json!(state.drafts(chat(request)?)),
        "violations" => json!(state.violations()),
        "requests" => json!(state.requests().collect::<Vec<_>>()),
        "counts" => json!(state.counts()),
        "errors" => json!(state.errors()),
        "state" => json!({
            "pending_updates": state.pending_updates(),
            "overlapping_polls": state.overlapping_polls(),
            "unanswered_callbacks": state.unanswered_callbacks(),
            "allowed_updates": state.allowed_updates(),
            "sent_total": state.sent_total(),
        }),
        _ => return Err(format!("nothing to read at \"{name}\"")),
    })
}

#[derive(Deserialize)]
struct Send {
    user: i64,
    text: String,
    chat: Option<i64>,
    thread: Option<i64>,
    reply_to: Option<i64>,
    #[serde(default)]
    fields: Map<String, Value>,
}

#[derive(Deserialize)]
struct Press {
    chat: i64,
    message_id: i64,
    user: i64,
    data: String,
}

#[derive(Deserialize)]
struct Group {
    chat: i64,
    title: String,
    #[serde(default)]
    members: Vec<i64>,
    #[serde(default)]
    forum: bool,
    #[serde(default)]
    topics: Vec<i64>,
}

fn change(state: &mut State, name: &str, body: Value) -> Result<Value, String> {
    match name {
        "send" => {
            let Send { user, text, chat, thread, reply_to, fields } = parse(body)?;
            let update = state.post(Post { chat: chat.unwrap_or(user), user, text, thread, reply_to, fields });
            return Ok(json!({"update_id": update}));
        }
        "press" => {
            let Press { chat, message_id, user, data } = parse(body)?;
            return Ok(json!({"update_id": state.press(chat, message_id, user, &data)}));
        }
        "update" => return Ok(json!({"update_id": state.push_raw(&body)})),
        "redeliver" => {
            let times = u32::try_from(integer(&body, "times")?).map_err(|error| error.to_string())?;
            return Ok(json!({"known": state.redeliver(integer(&body, "update_id")?, times)}));
        }
        "group" => {
            let Group { chat, title, members, forum, topics } = parse(body)?;
            state.add_group(chat, &title, ChatKind::Supergroup { forum }, &members);
            for topic in topics {
                state.add_topic(chat, topic);
            }
        }
        "block" => state.set_blocked(integer(&body, "chat")?, flag(&body, "blocked")?),
        "migrate" => state.migrate(integer(&body, "old")?, integer(&body, "new")?),
        "revoke" => state.revoked = flag(&body, "revoked")?,
        "forget_drafts" => state.drafts_unknown = flag(&body, "forget")?,
        "reset_ids" => state.renumber_updates(integer(&body, "next")?),
        "fault" => state.faults.add(parse::<Fault>(body)?),
        "clear_faults" => state.faults.clear(),
        _ => return Err(format!("nothing to change at \"{name}\"")),
    }
    Ok(json!({}))
}

fn parse<T: for<'de> Deserialize<'de>>(body: Value) -> Result<T, String> {
    serde_json::from_value(body).map_err(|error| error.to_string())
}

fn integer(body: &Value, name: &str) -> Result<i64, String> {
    body[name].as_i64().ok_or_else(|| format!("{name} must be an integer"))
}

fn flag(body: &Value, name: &str) -> Result<bool, String> {
    body[name].as_bool().ok_or_else(|| format!("{name} must be true or false"))
}

async fn wait(shared: &Shared, request: &Request) -> Result<Value, String> {
    let chat = chat(request)?;
    let number = |name: &str, default: u64| match request.query.get(name) {
        Some(text) => text.parse::<u64>().map_err(|_| format!("{name} \"{text}\" is no number")),
        None => Ok(default),
    };
    let wanted = number("bot_messages", 1)?;
    let deadline = Instant::now() + Duration::from_millis(number("timeout_ms", 5_000)?.min(WAIT_MS_MAX));
    loop {
        let changed = shared.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let transcript = shared.lock().transcript(chat);
        if transcript.iter().filter(|message| message.from_bot).count() as u64 >= wanted {
            return Ok(json!(transcript));
        }
        if timeout_at(deadline, changed).await.is_err() {
            return Err(format!("timeout; visible: {}", json!(transcript)));
        }
    }
}
