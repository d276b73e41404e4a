//! The last look at a request before it is sent: the pairing rules of the service, on the final bytes.
//!
//! A request that breaks one is a bug of ours, and it is better found here, with its place, than in a 400. Each rule is
//! checked once; what the service itself wrote (thinking, server tools, blocks nobody knows) is not judged, only replayed.
//! This file refuses to know how requests are built.

use super::files::MARK;
use super::json::text_of;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashSet;

/// The most `cache_control` marks of a request.
const MARKS_MAX: usize = 4;
/// The longest name of a tool.
const TOOL_NAME_BYTES_MAX: usize = 64;

/// What is wrong with a request, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("our own check refused the request: {place}: {rule}")]
pub struct Illegal {
    /// The place, as the service would name it: `messages.3.content.1`.
    pub place: String,
    /// The broken rule.
    pub rule: &'static str,
}

/// Checks a whole request; on success the ids of all tool calls in it.
///
/// A message of the model may be last, or be followed by another one of it, only if it holds no tool call: so the
/// conversation of a paused answer looks. Names of tools need not be declared: the model may have called one that does
/// not exist, which was answered with an error, or one of an earlier epoch.
pub fn check(request: &[u8]) -> Result<HashSet<String>, Illegal> {
    let request: Request<'_> = serde_json::from_slice(request)
        .map_err(|_| Illegal { place: "request".into(), rule: "it does not have the form of a request" })?;
    request.marks()?;
    let mut walk = Walk::default();
    for (place, block) in request.system.iter().enumerate() {
        walk.block(&format!("system.{place}"), block, Side::System)?;
    }
    for (place, message) in request.messages.iter().enumerate() {
        walk.message(place, message)?;
    }
    walk.end()?;
    Ok(walk.known.into_iter().map(Cow::into_owned).collect())
}

/// Whether the service accepts this as the id of a tool call.
pub(super) fn is_id(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// Whether the service accepts this as the name of a tool.
pub(super) fn is_tool_name(name: &str) -> bool {
    is_id(name) && name.len() <= TOOL_NAME_BYTES_MAX
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow, default)]
    system: Vec<Block<'a>>,
    #[serde(borrow, default)]
    tools: Vec<Block<'a>>,
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message<'a> {
    role: Role,
    #[serde(borrow)]
    content: Vec<Block<'a>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    User,
    Assistant,
}

/// Every field of interest as raw text, so that a block nobody knows may hold anything in them.
#[derive(Deserialize)]
struct Block<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_use_id: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    source: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_control: Option<&'a RawValue>,
}

/// Where the bytes of a picture or document are.
#[derive(Deserialize)]
struct Source<'a> {
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Mark {
    #[serde(default)]
    ttl: Option<String>,
}

fn string<'a>(field: Option<&'a RawValue>) -> Cow<'a, str> {
    field.map(|raw| text_of(raw.get())).unwrap_or_default()
}

fn illegal<T>(place: impl Into<String>, rule: &'static str) -> Result<T, Illegal> {
    Err(Illegal { place: place.into(), rule })
}

impl Request<'_> {
    /// Number and order of the marks; the order is that of rendering: tools, system, messages.
    fn marks(&self) -> Result<(), Illegal> {
        let messages = self.messages.iter().flat_map(|message| &message.content);
        let mut count = 0;
        let mut short = false;
        for block in self.tools.iter().chain(&self.system).chain(messages) {
            let Some(mark) = block.cache_control else { continue };
            count += 1;
            if matches!(&*block.kind, "thinking" | "redacted_thinking") {
                return illegal("cache_control", "a thinking block cannot be marked");
            }
            let Ok(mark) = serde_json::from_str::<Mark>(mark.get()) else {
                return illegal("cache_control", "a mark is an object");
            };
            let long = mark.ttl.as_deref() == Some("1h");
            if long && short {
                return illegal("cache_control", "a mark for an hour stands after one for five minutes");
            }
            short |= !long;
        }
        if count > MARKS_MAX { illegal("cache_control", "there are more than four marks") } else { Ok(()) }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    System,
    User,
    Assistant,
}

/// What a block means for the pairing of calls and results.
enum Meaning<'a> {
    Call(Cow<'a, str>),
    Result(Cow<'a, str>),
    Other,
}

#[derive(Default)]
struct Walk<'a> {
    before: Option<Role>,
    /// Calls of the message before that have no result yet.
    open: HashSet<Cow<'a, str>>,
    /// Every call of the conversation.
    known: HashSet<Cow<'a, str>>,
}

impl<'a> Walk<'a> {
    fn message(&mut self, place: usize, message: &'a Message<'a>) -> Result<(), Illegal> {
        let at = || format!("messages.{place}");
        match (self.before, message.role) {
            _ if message.content.is_empty() => return illegal(at(), "a message without content"),
            (None, Role::Assistant) => return illegal(at(), "the first message is not the user's"),
            (Some(Role::User), Role::User) => return illegal(at(), "two user messages in a row"),
            (Some(Role::Assistant), Role::Assistant) if !self.open.is_empty() => {
                return illegal(at(), "a tool call without its result");
            }
            _ => {}
        }
        let side = if message.role == Role::User { Side::User } else { Side::Assistant };
        let mut results_over = false;
        for (index, block) in message.content.iter().enumerate() {
            let at = format!("messages.{place}.content.{index}");
            match self.block(&at, block, side)? {
                Meaning::Result(_) if results_over => return illegal(at, "a tool result after other content"),
                Meaning::Result(id) if !self.open.remove(&id) => {
                    return illegal(at, "a tool result without its call, or a second one");
                }
                Meaning::Result(_) => {}
                Meaning::Call(id) => {
                    if !self.known.insert(id.clone()) {
                        return illegal(at, "a tool call id used twice");
                    }
                    self.open.insert(id);
                }
                Meaning::Other => results_over = true,
            }
        }
        if message.role == Role::User && !self.open.is_empty() {
            return illegal(at(), "a tool call without its result");
        }
        self.before = Some(message.role);
        Ok(())
    }

    fn block(&self, at: &str, block: &'a Block<'a>, side: Side) -> Result<Meaning<'a>, Illegal> {
        match (&*block.kind, side) {
            ("text", _) if string(block.text).trim().is_empty() => illegal(at, "an empty text"),
            ("text", _) => Ok(Meaning::Other),
            ("image" | "document", Side::User) => {
                let source = block.source.and_then(|source| serde_json::from_str::<Source<'_>>(source.get()).ok());
                let Some(source) = source else { return illegal(at, "a file without a source") };
                let data = source.data.map_or("", RawValue::get).trim_start_matches('"');
                if data.is_empty() || data.starts_with(MARK) {
                    return illegal(at, "a file without its bytes");
                }
                Ok(Meaning::Other)
            }
            ("tool_result", Side::User) => {
                let empty = match block.content.map(RawValue::get) {
                    None | Some("[]") => true,
                    Some(content) if content.starts_with('"') => text_of(content).trim().is_empty(),
                    Some(_) => false,
                };
                if empty {
                    return illegal(at, "an empty tool result");
                }
                Ok(Meaning::Result(string(block.tool_use_id)))
            }
            ("tool_use", Side::Assistant) => {
                let id = string(block.id);
                if !is_id(&id) {
                    return illegal(at, "a tool call without a usable id");
                }
                if !is_tool_name(&string(block.name)) {
                    return illegal(at, "a tool call without a usable name");
                }
                if !block.input.is_some_and(|input| input.get().starts_with('{')) {
                    return illegal(at, "the input of a tool call is not an object");
                }
                Ok(Meaning::Call(id))
            }
            ("tool_result", Side::Assistant) => illegal(at, "a tool result from the model"),
            ("", _) => illegal(at, "a block without a type"),
            (_, Side::Assistant) => Ok(Meaning::Other),
            (_, Side::User | Side::System) => illegal(at, "a block that does not belong here"),
        }
    }

    fn end(&self) -> Result<(), Illegal> {
        match self.before {
            None => illegal("messages", "there are none"),
            Some(Role::Assistant) if !self.open.is_empty() => illegal("messages", "the last calls have no results"),
            Some(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn verdict(messages: &str) -> String {
        let request = format!(r#"{{"model":"m","messages":[{messages}]}}"#);
        check(request.as_bytes())
            .err()
            .map(|illegal| format!("{}: {}", illegal.place, illegal.rule))
            .unwrap_or_default()
    }

    fn user(blocks: &str) -> String {
        format!(r#"{{"role":"user","content":[{blocks}]}}"#)
    }

    fn model(blocks: &str) -> String {
        format!(r#"{{"role":"assistant","content":[{blocks}]}}"#)
    }

    const TEXT: &str = r#"{"type":"text","text":"a"}"#;
    const CALL: &str = r#"{"type":"tool_use","id":"x","name":"now","input":{}}"#;
    const RESULT: &str = r#"{"type":"tool_result","tool_use_id":"x","content":"noon"}"#;

    #[test]
    fn pairs_and_roles() {
        let check = |messages: &[String], expect: &str| {
            let found = verdict(&messages.join(","));
            assert!(
                if expect.is_empty() { found.is_empty() } else { found.contains(expect) },
                "{found:?}, not {expect:?}"
            );
        };
        check(&[user(TEXT)], "");
        check(&[user(TEXT), model(CALL), user(RESULT)], "");
        check(&[user(TEXT), model(TEXT)], "");
        check(&[user(TEXT), model(TEXT), model(CALL), user(RESULT)], "");
        check(&[user(TEXT), model(CALL), user(&format!("{RESULT},{TEXT}"))], "");
        check(&[], "there are none");
        check(&[model(TEXT)], "messages.0: the first message");
        check(&[user(TEXT), user(TEXT)], "messages.1: two user messages");
        check(&[user(TEXT), model(CALL)], "no results");
        check(&[user(TEXT), model(CALL), user(TEXT)], "messages.2: a tool call without its result");
        check(&[user(TEXT), model(CALL), model(TEXT), user(RESULT)], "messages.2: a tool call without its result");
        check(&[user(TEXT), model(CALL), user(&format!("{TEXT},{RESULT}"))], "content.1: a tool result after");
        check(&[user(TEXT), model(CALL), user(&format!("{RESULT},{RESULT}"))], "content.1: a tool result without");
        check(&[user(TEXT), model(&format!("{CALL},{CALL}"))], "used twice");
        check(
            &[user(TEXT), model(CALL), user(RESULT), model(CALL), user(RESULT)],
            "messages.3.content.0: a tool call id",
        );
        check(&[user(RESULT)], "without its call");
        check(&[user("")], "without content");
    }

    #[test]
    fn blocks() {
        let in_user =
            |block: &str, expect: &str| assert!(verdict(&user(block)).contains(expect), "{}", verdict(&user(block)));
        in_user(r#"{"type":"text","text":" \n"}"#, "an empty text");
        in_user(r#"{"type":"text","text":7}"#, "an empty text");
        in_user(r#"{"type":"thinking","thinking":"","signature":"s"}"#, "does not belong");
        in_user(CALL, "does not belong");
        in_user(r#"{"text":"a"}"#, "without a type");
        in_user(r#"{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBO"}}"#, "");
        in_user(r#"{"type":"image","source":{"data":"blufio-attachment:00:1"}}"#, "without its bytes");
        in_user(r#"{"type":"document","source":{"data":""}}"#, "without its bytes");
        in_user(r#"{"type":"document"}"#, "without a source");
        in_user(r#"{"type":"image","source":7}"#, "without a source");
        let in_model = |block: &str| verdict(&format!("{},{}", user(TEXT), model(block)));
        assert_eq!(in_model(r#"{"type":"future","text":null,"id":{},"name":[1],"content":7}"#), "");
        assert!(in_model(r#"{"type":"tool_use","id":"","name":"now","input":{}}"#).contains("usable id"));
        assert!(in_model(r#"{"type":"tool_use","id":"x","name":"a b","input":{}}"#).contains("usable name"));
        assert!(in_model(r#"{"type":"tool_use","id":"x","name":"now","input":[]}"#).contains("not an object"));
        assert!(in_model(RESULT).contains("from the model"));
        let empty = r#"{"type":"tool_result","tool_use_id":"x","content":" "}"#;
        assert!(verdict(&[user(TEXT), model(CALL), user(empty)].join(",")).contains("an empty tool result"));
    }

    #[test]
    fn marks() {
        let marked = |ttl: &str| format!(r#"{{"type":"text","text":"a","cache_control":{{"type":"ephemeral"{ttl}}}}}"#);
        let (short, long) = (marked(""), marked(r#","ttl":"1h""#));
        assert_eq!(verdict(&user(&[long.as_str(), &short, &short, &short].join(","))), "");
        assert!(verdict(&user(&[short.as_str(); 5].join(","))).contains("more than four"));
        assert!(verdict(&user(&[short, long].join(","))).contains("after one for five minutes"));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for bytes in [
            &b""[..],
            b"{}",
            b"[]",
            b"{\"messages\":{}}",
            b"\xff",
            b"{\"messages\":[{\"role\":\"system\",\"content\":[]}]}",
        ] {
            assert!(check(bytes).is_err());
        }
        let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
        let call = format!(r#"{{"type":"tool_use","id":"x","name":"now","input":{{"a":{deep}}}}}"#);
        assert_eq!(verdict(&[user(TEXT), model(&call), user(RESULT)].join(",")), "");
    }
}
