//! `/_control/…`: the user's side of the fake for scripts and for tests of a separate process.
//!
//! GET reads, POST changes; bodies and answers are JSON. [`USAGE`] is the reference.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout_at};

use super::Shared;
use super::fault::Fault;
use super::files::{FileKind, UserFile};
use super::state::{ChatKind, State};
use super::user::Post;
use crate::http::{Request, Responder};

/// How to use the endpoints by hand.
pub const USAGE: &str = r#"POST /_control/send           {"user":1,"text":"hello"}; in a group also "chat":-5, "thread":7, "reply_to":3, "quote":"part",
                              "fields":{...} of the Message object
POST /_control/file           {"user":1,"kind":"document","name":"a.txt","media_type":"text/plain","base64":"aGk="}; kinds:
                              photo document voice audio video; also "chat", "thread", "reply_to", "caption", "seconds",
                              "hide_size":true
POST /_control/album          {"caption":"look","files":[{...},{...}]} with files as above
POST /_control/edit           {"chat":1,"message_id":2,"text":"better"}
POST /_control/react          {"chat":1,"message_id":2,"user":1,"emoji":"..."}; an empty emoji takes it away
POST /_control/press          {"chat":1,"message_id":2,"user":1,"data":"b1:..."}; "inaccessible":true hides the message
POST /_control/update         any Update object; without "update_id" it gets the next one
POST /_control/redeliver      {"update_id":5,"times":3}
POST /_control/reorder        {"seed":1}; the next batch of two or more comes in another order
POST /_control/group          {"chat":-5,"title":"Team","members":[1],"forum":false,"topics":[7]}
POST /_control/topic          {"chat":-5,"user":1,"name":"Plans"} opens one and answers its thread; {"chat":-5,"thread":7} with
                              "deleted":true or "closed":true or false
POST /_control/bot            {"user":99,"username":"other_bot"} makes a user another bot
POST /_control/invite         {"chat":-5,"by":1}     POST /_control/remove   {"chat":-5,"by":1}
POST /_control/block          {"chat":1,"blocked":true}; also throws the bot out of a group
POST /_control/migrate        {"old":-5,"new":-1005}
POST /_control/revoke         {"revoked":true}
POST /_control/privacy_mode   {"on":true}
POST /_control/forget_drafts  {"forget":true}
POST /_control/commands_max   {"commands":10}
POST /_control/expire         {"what":"files"}; or "links" (ids stay), or "callbacks"
POST /_control/flood          {"chat":1,"seconds":30}; without "chat" everywhere
POST /_control/reset_ids      {"next":7}
POST /_control/webhook_target {"addr":"127.0.0.1:8443"}; where updates are brought while a webhook is set, null for nowhere
POST /_control/fault          {"method":"sendMessage","times":1,"action":{"rate_limit":{"retry_after":3}}}
                              further keys: "chat", "skip", "chance":{"percent":10,"seed":1}; actions: "apply_then_drop",
                              "apply_then_never_answer", "drop_before", "reset_mid", "truncated_json", "html_body502",
                              "never_answer", "wrong_content_type", "close_keep_alive", {"delay":ms}, {"drip":ms},
                              {"huge_body":bytes}, {"result":...}, {"redirect":"http://..."},
                              {"answer":{"status":500,"description":"Internal Server Error"}}
POST /_control/clear_faults   {}
GET  /_control/transcript?chat=1   GET /_control/deleted?chat=1   GET /_control/actions?chat=1   GET /_control/drafts?chat=1
GET  /_control/files?chat=1   GET /_control/reactions?chat=1   GET /_control/notifications?chat=1
GET  /_control/callbacks      GET /_control/deliveries
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
        "files" => json!(state.received_files(chat(request)?)),
        "reactions" => json!(state.reactions(chat(request)?)),
        "notifications" => json!(state.notifications(chat(request)?)),
        "callbacks" => json!({"unanswered": state.unanswered_callbacks(), "answers": state.callback_answers()}),
        "deliveries" => json!(state.webhook_deliveries()),
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
            "early_sends": state.early_sends(),
            "webhook": state.webhook_url(),
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
    quote: Option<String>,
    #[serde(default)]
    fields: Map<String, Value>,
}

#[derive(Deserialize)]
struct SentFile {
    user: i64,
    kind: FileKind,
    #[serde(default)]
    name: String,
    #[serde(default)]
    media_type: String,
    base64: String,
    #[serde(default)]
    caption: String,
    chat: Option<i64>,
    thread: Option<i64>,
    reply_to: Option<i64>,
    #[serde(default = "three")]
    seconds: u32,
    #[serde(default)]
    hide_size: bool,
}

fn three() -> u32 {
    3
}

#[derive(Deserialize)]
struct Album {
    #[serde(default)]
    caption: String,
    files: Vec<SentFile>,
}

#[derive(Deserialize)]
struct Press {
    chat: i64,
    message_id: i64,
    user: i64,
    data: String,
    #[serde(default)]
    inaccessible: bool,
}

#[derive(Deserialize)]
struct Topic {
    chat: i64,
    user: Option<i64>,
    name: Option<String>,
    thread: Option<i64>,
    #[serde(default)]
    deleted: bool,
    closed: Option<bool>,
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
            let Send { user, text, chat, thread, reply_to, quote, fields } = parse(body)?;
            let post = Post { chat: chat.unwrap_or(user), user, text, thread, reply_to, fields };
            let post = match (reply_to, quote) {
                (Some(message_id), Some(part)) => post.quoting(message_id, &part),
                _ => post,
            };
            return Ok(json!({"update_id": state.post(post)}));
        }
        "file" => return Ok(json!({"update_id": state.post_file(file(parse(body)?)?)})),
        "album" => {
            let Album { caption, files } = parse(body)?;
            let files = files.into_iter().map(file).collect::<Result<Vec<_>, _>>()?;
            return Ok(json!({"update_ids": state.post_album(&caption, files)}));
        }
        "edit" => {
            let update = state.edit_post(integer(&body, "chat")?, integer(&body, "message_id")?, text(&body, "text")?);
            return Ok(json!({"update_id": update}));
        }
        "react" => {
            let (chat, message, user) =
                (integer(&body, "chat")?, integer(&body, "message_id")?, integer(&body, "user")?);
            return Ok(json!({"update_id": state.react(chat, message, user, text(&body, "emoji")?)}));
        }
        "press" => {
            let Press { chat, message_id, user, data, inaccessible } = parse(body)?;
            let update = match inaccessible {
                true => state.press_inaccessible(chat, message_id, user, &data),
                false => state.press(chat, message_id, user, &data),
            };
            return Ok(json!({"update_id": update}));
        }
        "topic" => return topic(state, parse(body)?),
        "update" => return Ok(json!({"update_id": state.push_raw(&body)})),
        "redeliver" => {
            return Ok(json!({"known": state.redeliver(integer(&body, "update_id")?, natural(&body, "times")?)}));
        }
        "group" => {
            let Group { chat, title, members, forum, topics } = parse(body)?;
            state.add_group(chat, &title, ChatKind::Supergroup { forum }, &members);
            for topic in topics {
                state.add_topic(chat, topic);
            }
        }
        "bot" => state.add_bot(integer(&body, "user")?, text(&body, "username")?),
        "invite" => state.invite_bot(integer(&body, "chat")?, integer(&body, "by")?),
        "remove" => state.remove_bot(integer(&body, "chat")?, integer(&body, "by")?),
        "privacy_mode" => state.set_privacy_mode(flag(&body, "on")?),
        "commands_max" => state.set_commands_max(natural(&body, "commands")?),
        "reorder" => state.reorder_next(natural(&body, "seed")?),
        "flood" => state.flood(body["chat"].as_i64(), natural(&body, "seconds")?),
        "expire" => match text(&body, "what")? {
            "files" => state.expire_files(),
            "links" => state.expire_links(),
            "callbacks" => state.expire_callbacks(),
            other => return Err(format!("\"{other}\" does not expire")),
        },
        "webhook_target" => {
            let target = match body["addr"].as_str() {
                Some(address) => Some(address.parse().map_err(|error| format!("addr: {error}"))?),
                None => None,
            };
            state.set_webhook_target(target);
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

fn topic(state: &mut State, topic: Topic) -> Result<Value, String> {
    let Topic { chat, user, name, thread, deleted, closed } = topic;
    match (thread, user, name) {
        (None, Some(user), Some(name)) => {
            let thread = state.create_topic(chat, user, &name).ok_or_else(|| format!("chat {chat} is unknown"))?;
            return Ok(json!({"thread": thread}));
        }
        (Some(thread), None, None) if deleted => state.delete_topic(chat, thread),
        (Some(thread), None, None) if closed.is_some() => state.close_topic(chat, thread, closed == Some(true)),
        _ => return Err("either user and name, or thread with deleted or closed".to_owned()),
    }
    Ok(json!({}))
}

fn file(sent: SentFile) -> Result<UserFile, String> {
    let bytes = STANDARD.decode(&sent.base64).map_err(|error| format!("base64: {error}"))?;
    let file = match sent.kind {
        FileKind::Photo => UserFile::photo(sent.user, bytes),
        FileKind::Document => UserFile::document(sent.user, &sent.name, &sent.media_type, bytes),
        FileKind::Voice => UserFile::voice(sent.user, sent.seconds, bytes),
        FileKind::Audio => UserFile::audio(sent.user, sent.seconds, &sent.name, bytes),
        FileKind::Video => UserFile::video(sent.user, sent.seconds, bytes),
    };
    let file = file.caption(&sent.caption).in_chat(sent.chat.unwrap_or(sent.user));
    let file = if sent.hide_size { file.without_size() } else { file };
    let file = sent.thread.into_iter().fold(file, UserFile::in_topic);
    Ok(sent.reply_to.into_iter().fold(file, UserFile::replying_to))
}

fn parse<T: for<'de> Deserialize<'de>>(body: Value) -> Result<T, String> {
    serde_json::from_value(body).map_err(|error| error.to_string())
}

fn integer(body: &Value, name: &str) -> Result<i64, String> {
    body[name].as_i64().ok_or_else(|| format!("{name} must be an integer"))
}

fn natural<T: TryFrom<i64>>(body: &Value, name: &str) -> Result<T, String> {
    T::try_from(integer(body, name)?).map_err(|_| format!("{name} is out of range"))
}

fn text<'a>(body: &'a Value, name: &str) -> Result<&'a str, String> {
    body[name].as_str().ok_or_else(|| format!("{name} must be a text"))
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
