//! What the fake says when no script is waiting: it obeys directives in the user's text, else it echoes.
//!
//! | in the user's text | effect |
//! |---|---|
//! | `[tool:NAME {json}]` | calls a tool; several are parallel calls |
//! | `[then:tool:NAME {json}]` | calls a tool in a round of its own, after those before |
//! | `[think]` | thinks before it acts |
//! | `[say:TEXT]`, `[long:N]` | answers TEXT, or N words |
//! | `[slow:MS]`, `[drip:MS]` | waits before the first event, or before each delta |
//! | `[refuse]`, `[empty]`, `[max_tokens]` | ends that way; with a tool, `[max_tokens]` cuts the call, once |
//! | `[pause]`, `[pause:N]` | ends with `pause_turn`, once or N times, before it answers |
//! | `[describe]` | names the pictures (with sizes) and documents of that message, and the heads of what others said |
//! | `[describe:all]` | likewise, of all of the user's messages |
//! | `[echo]` | repeats the text blocks of that message, joined by ` \| ` |
//! | `#N` | the answer contains `answer #N` exactly once |
//! | "what time", "list files" | calls the tool `now` or `list_files`, if it is declared |
//!
//! Reads only the request. It refuses to know tokens, prices, faults and the wire.

use serde_json::{Value, json};

use super::media;
use super::script::Block;

/// Longest part of a tool result or of the user's text that an answer repeats, in characters.
const QUOTE_CHARS_MAX: usize = 200;
/// Most words of `[long:N]`.
const WORDS_MAX: usize = 200_000;

/// What to answer.
#[derive(Debug, Default)]
pub struct Plan {
    /// Content, in order.
    pub blocks: Vec<Block>,
    /// `None`: by the content.
    pub stop_reason: Option<&'static str>,
    /// Milliseconds before the first event.
    pub first_token_ms: u64,
    /// Milliseconds before each delta.
    pub delta_ms: u64,
    /// The last call is to be cut in half, unless that was done before for this very history.
    pub cut_call: bool,
}

/// The part of a conversation since the user last spoke.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// What the user said: its text blocks, without those that a client put around it in tags; also what was said between
    /// the results of tools.
    pub text: String,
    /// Rounds of calls so far.
    pub rounds: usize,
    /// Replies so far that were paused.
    pub pauses: usize,
    /// Results so far: name of the tool and text.
    pub results: Vec<(String, String)>,
    /// Messages of the user in the conversation, this one included; results of tools do not count.
    pub number: usize,
    /// Place of the message in which the user spoke.
    pub start: usize,
}

/// Finds the turn that a request continues.
pub fn turn(body: &Value) -> Turn {
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let spoken = |message: &Value| {
        let results =
            message["content"].as_array().is_some_and(|blocks| blocks.iter().any(|b| b["type"] == "tool_result"));
        message["role"] == "user" && !results
    };
    let Some(start) = messages.iter().rposition(spoken) else { return Turn::default() };
    let mut turn = Turn {
        text: user_text(&messages[start]["content"]),
        number: messages.iter().filter(|message| spoken(message)).count(),
        start,
        ..Turn::default()
    };
    let mut names = std::collections::HashMap::new();
    for message in &messages[start + 1..] {
        let blocks = message["content"].as_array().map(Vec::as_slice).unwrap_or_default();
        let calls: Vec<&Value> = blocks.iter().filter(|block| block["type"] == "tool_use").collect();
        if message["role"] == "assistant" {
            if calls.is_empty() { turn.pauses += 1 } else { turn.rounds += 1 }
        }
        names.extend(calls.into_iter().map(|call| (call["id"].as_str(), call["name"].as_str().unwrap_or_default())));
        if message["role"] == "user" {
            for text in texts(&message["content"]) {
                turn.text.push('\n');
                turn.text.push_str(text);
            }
        }
        for result in blocks.iter().filter(|block| block["type"] == "tool_result") {
            let name = names.get(&result["tool_use_id"].as_str()).copied().unwrap_or_default();
            turn.results.push((name.to_owned(), joined_text(&result["content"], |_| true)));
        }
    }
    turn
}

/// Clients put reminders and recalled facts in tags around the user's words; those obey nobody.
fn user_text(content: &Value) -> String {
    let own = joined_text(content, |text| !text.trim_start().starts_with('<'));
    if own.is_empty() { joined_text(content, |_| true) } else { own }
}

fn joined_text(content: &Value, keep: impl Fn(&str) -> bool) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            let texts = blocks.iter().filter_map(|block| block["text"].as_str()).filter(|text| keep(text));
            texts.collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

/// Decides what to answer.
pub fn plan(body: &Value, turn: &Turn) -> Plan {
    if body["compaction"].is_object() {
        let count = body["messages"].as_array().map_or(0, Vec::len);
        let summary =
            json!({ "type": "compaction", "content": format!("Summary of {count} messages."), "signature": "c2ln" });
        return Plan { blocks: vec![Block::Raw(summary)], stop_reason: Some("compaction"), ..Plan::default() };
    }
    if let Some(schema) = body["output_config"]["format"]["schema"].as_object() {
        let instance = instance(&Value::Object(schema.clone())).to_string();
        return Plan { blocks: vec![Block::Text(instance)], ..Plan::default() };
    }
    let wish = Wish::read(&turn.text, body);
    let mut plan = Plan { first_token_ms: wish.slow_ms, delta_ms: wish.drip_ms, ..Plan::default() };
    if wish.think {
        plan.blocks.push(Block::Thinking("Let me think about that step by step.".to_owned()));
    }
    if wish.refuse {
        return Plan { blocks: Vec::new(), stop_reason: Some("refusal"), ..plan };
    }
    if let Some(calls) = wish.rounds.get(turn.rounds) {
        let calls =
            calls.iter().map(|(name, input)| Block::Tool { id: None, name: name.clone(), input: input.clone() });
        plan.blocks.extend(calls);
        plan.cut_call = wish.max_tokens;
        return plan;
    }
    if wish.empty {
        return Plan { blocks: Vec::new(), stop_reason: Some("end_turn"), ..plan };
    }
    if turn.pauses < wish.pauses {
        plan.blocks.push(Block::Text("One moment, this takes longer.".to_owned()));
        return Plan { stop_reason: Some("pause_turn"), ..plan };
    }
    let mut text = answer(&wish, turn, &body["messages"]);
    if wish.max_tokens {
        text.truncate(text.floor_char_boundary(text.len().div_ceil(2)));
        plan.stop_reason = Some("max_tokens");
    }
    plan.blocks.push(Block::Text(text));
    plan
}

/// What the directives of a text ask for.
#[derive(Debug, Default)]
struct Wish {
    rounds: Vec<Vec<(String, String)>>,
    think: bool,
    refuse: bool,
    empty: bool,
    max_tokens: bool,
    pauses: usize,
    slow_ms: u64,
    drip_ms: u64,
    words: Option<usize>,
    say: Option<String>,
    describe: bool,
    describe_all: bool,
    echo: bool,
    /// The text without the directives.
    rest: String,
}

impl Wish {
    fn read(text: &str, body: &Value) -> Self {
        let tools = body["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut wish = Self::default();
        let mut first = Vec::new();
        let mut left = text;
        while let Some(open) = left.find('[') {
            wish.rest.push_str(&left[..open]);
            left = &left[open + 1..];
            if let Some(after) = wish.directive(left, &mut first) {
                left = after;
            } else {
                wish.rest.push('[');
            }
        }
        wish.rest.push_str(left);
        if !first.is_empty() {
            wish.rounds.insert(0, first);
        }
        let plain = wish.rest.to_lowercase();
        for (phrase, tool) in [("what time", "now"), ("list files", "list_files")] {
            let declared = tools.iter().any(|declared| declared["name"] == tool);
            if wish.rounds.is_empty() && plain.contains(phrase) && declared {
                wish.rounds.push(vec![(tool.to_owned(), "{}".to_owned())]);
            }
        }
        if tools.is_empty() || body["tool_choice"]["type"] == "none" {
            wish.rounds.clear();
        }
        if matches!(body["thinking"]["type"].as_str(), Some("disabled" | "between_tools")) {
            wish.think = false;
        }
        wish
    }

    /// Reads one directive after its `[`; on success what follows its `]`.
    fn directive<'a>(&mut self, text: &'a str, first: &mut Vec<(String, String)>) -> Option<&'a str> {
        if let Some(call) = text.strip_prefix("then:tool:") {
            let (call, after) = tool_call(call)?;
            self.rounds.push(vec![call]);
            return Some(after);
        }
        if let Some(call) = text.strip_prefix("tool:") {
            let (call, after) = tool_call(call)?;
            first.push(call);
            return Some(after);
        }
        let (word, after) = text.split_once(']')?;
        let (name, value) = word.split_once(':').unwrap_or((word, ""));
        match name {
            "think" => self.think = true,
            "refuse" => self.refuse = true,
            "empty" => self.empty = true,
            "max_tokens" => self.max_tokens = true,
            "pause" => self.pauses = value.parse().unwrap_or(1),
            "long" => self.words = Some(value.parse().ok()?),
            "slow" => self.slow_ms = value.parse().ok()?,
            "drip" => self.drip_ms = value.parse().ok()?,
            "say" => self.say = Some(value.to_owned()),
            "describe" => (self.describe, self.describe_all) = (true, value == "all"),
            "echo" => self.echo = true,
            _ => return None,
        }
        Some(after)
    }
}

/// Reads `NAME {json}]` or `NAME]`; the JSON text stays as it was written.
fn tool_call(text: &str) -> Option<((String, String), &str)> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-')?;
    let (name, rest) = text.split_at(end);
    let rest = rest.trim_start();
    let (input, rest) = if rest.starts_with('{') {
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<serde::de::IgnoredAny>();
        values.next()?.ok()?;
        rest.split_at(values.byte_offset())
    } else {
        ("{}", rest)
    };
    let after = rest.trim_start().strip_prefix(']')?;
    Some(((name.to_owned(), input.to_owned()), after))
}

fn answer(wish: &Wish, turn: &Turn, messages: &Value) -> String {
    let results: Vec<String> =
        turn.results.iter().map(|(name, text)| format!("The tool {name} said: {}", quote(text))).collect();
    let numbers: Vec<String> = numbers(&wish.rest).into_iter().map(|number| format!("answer #{number}")).collect();
    let mut parts = Vec::new();
    if let Some(say) = &wish.say {
        parts.push(say.clone());
    }
    if wish.describe {
        parts.push(described(wish, turn, messages));
    }
    if wish.echo {
        parts.push(texts(&messages[turn.start]["content"]).join(" | "));
    }
    if let Some(count) = wish.words {
        parts.push(words(count.min(WORDS_MAX)));
    }
    if !numbers.is_empty() {
        parts.push(numbers.join(", "));
    }
    let plain = parts.is_empty();
    parts.extend(results);
    if plain {
        let said = if turn.results.is_empty() {
            format!("You said: \"{}\". ", quote(wish.rest.trim()))
        } else {
            String::new()
        };
        parts.push(format!("{said}I am the fake model, and this is message {} of this conversation.", turn.number));
    }
    parts.join("\n")
}

/// What there is to see, and who else speaks.
fn described(wish: &Wish, turn: &Turn, messages: &Value) -> String {
    let place = |message: &&Value| message["role"] == "user";
    let all = messages.as_array().into_iter().flatten().filter(place);
    let shown: Vec<&Value> = if wish.describe_all { all.collect() } else { vec![&messages[turn.start]] };
    let blocks = shown.iter().flat_map(|message| message["content"].as_array().into_iter().flatten());
    let heads: Vec<&str> = shown.iter().flat_map(|message| texts(&message["content"])).filter_map(head).collect();
    let heads = if heads.is_empty() { String::new() } else { format!(" I read: {}", heads.join(" ")) };
    media::describe(blocks) + &heads
}

/// The first line of a text, if it is a remark in brackets and no directive.
fn head(text: &str) -> Option<&str> {
    let line = text.lines().next()?.trim();
    let inner = line.strip_prefix('[')?;
    let remark = line.ends_with(']') && Wish::default().directive(inner, &mut Vec::new()).is_none();
    remark.then_some(line)
}

/// The text blocks of a content.
fn texts(content: &Value) -> Vec<&str> {
    match content {
        Value::String(text) => vec![text],
        _ => content.as_array().into_iter().flatten().filter_map(|block| block["text"].as_str()).collect(),
    }
}

/// The numbers written as `#N`, each once.
fn numbers(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices('#') {
        let rest = &text[at + 1..];
        let digits = &rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())];
        if !digits.is_empty() && !found.contains(&digits) {
            found.push(digits);
        }
    }
    found
}

/// The begin of a text without the frame that is around words of others, harmless to somebody who counts answers.
fn quote(text: &str) -> String {
    let framed = text.strip_prefix("[text of others until ").and_then(|rest| rest.split_once('\n'));
    let inner = framed.and_then(|(_, rest)| rest.rsplit_once('\n')).map(|(inner, _)| inner);
    let text = inner.unwrap_or(text);
    let short: String = text.chars().take(QUOTE_CHARS_MAX).collect();
    let dots = if short.len() < text.len() { "…" } else { "" };
    format!("{}{dots}", short.replace("answer #", "answer no. "))
}

fn words(count: usize) -> String {
    const WORDS: [&str; 8] = ["the", "little", "fake", "model", "writes", "one", "word", "more"];
    let mut text = String::with_capacity(count * 6);
    for index in 0..count {
        text.push_str(WORDS[index % WORDS.len()]);
        // Paragraphs, so that a channel with a message limit finds places to split.
        text.push_str(if index + 1 == count {
            "."
        } else if index % 80 == 79 {
            ".\n\n"
        } else {
            " "
        });
    }
    text
}

/// The simplest value that fits a JSON schema made of types, enumerations and required properties.
fn instance(schema: &Value) -> Value {
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str());
    match kind {
        Some("object") => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            required.map(|name| (name.to_owned(), instance(&schema["properties"][name]))).collect()
        }
        Some("array") => json!([]),
        Some("string") => json!("fake"),
        Some("number" | "integer") => json!(0),
        Some("boolean") => json!(false),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(text: &str) -> Value {
        json!({ "tools": [{ "name": "now" }], "messages": [{ "role": "user", "content": text }] })
    }

    fn said(body: &Value) -> String {
        match plan(body, &turn(body)).blocks.as_slice() {
            [Block::Text(text)] => text.clone(),
            other => format!("{other:?}"),
        }
    }

    fn calls(body: &Value) -> Vec<(String, String)> {
        let blocks = plan(body, &turn(body)).blocks;
        let call = |block| match block {
            Block::Tool { name, input, .. } => Some((name, input)),
            _ => None,
        };
        blocks.into_iter().filter_map(call).collect()
    }

    fn pair(name: &str, input: &str) -> (String, String) {
        (name.to_owned(), input.to_owned())
    }

    #[test]
    fn directives_are_read_and_taken_out() {
        assert_eq!(said(&ask("please [say:hello] now")), "hello");
        assert_eq!(said(&ask("do #12 and #12")), "answer #12");
        assert_eq!(
            said(&ask("a [b] c")),
            "You said: \"a [b] c\". I am the fake model, and this is message 1 of this conversation."
        );
        assert_eq!(said(&ask("[long:3]")), "the little fake.");
        let call = r#"[tool:f {"b":"]}","a":1.0}] [tool:now] [then:tool:now {}]"#;
        assert_eq!(calls(&ask(call)), [pair("f", r#"{"b":"]}","a":1.0}"#), pair("now", "{}")]);
        assert_eq!(calls(&ask("What time is it?")), [pair("now", "{}")]);
        assert_eq!(calls(&ask("list files")), []);
    }

    #[test]
    fn rounds_follow_each_other_and_end_in_the_results() {
        let mut body = ask("[tool:now] [then:tool:now {\"x\":2}] #7");
        let mut step = |name: &str| {
            let id = format!("t{}", body["messages"].as_array().unwrap().len());
            let found = calls(&body);
            let messages = body["messages"].as_array_mut().unwrap();
            messages.push(json!({ "role": "assistant", "content": [{ "type": "tool_use", "id": id, "name": name, "input": {} }] }));
            messages.push(
                json!({ "role": "user", "content": [{ "type": "tool_result", "tool_use_id": id, "content": "noon" }] }),
            );
            found
        };
        assert_eq!(step("now"), [pair("now", "{}")]);
        assert_eq!(step("now"), [pair("now", "{\"x\":2}")]);
        assert_eq!(said(&body), "answer #7\nThe tool now said: noon\nThe tool now said: noon");
    }

    #[test]
    fn what_is_shown_is_described() {
        let source = |media: &str, bytes: &[u8]| {
            let data = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes);
            json!({ "type": "base64", "media_type": media, "data": data })
        };
        let mut body = ask("");
        body["messages"] = json!([
            { "role": "user", "content": [{ "type": "image", "source": source("image/png", &media::png(800, 600)) }] },
            { "role": "assistant", "content": "ok" },
            { "role": "user", "content": [
                { "type": "text", "text": "[Passed on; “Bob” said:]\nhello #3" },
                { "type": "document", "title": "a.pdf", "source": source("application/pdf", &media::pdf("x")) },
                { "type": "text", "text": "[describe]" },
            ] },
        ]);
        let one = "I see no pictures and 1 document (a.pdf). I read: [Passed on; “Bob” said:]";
        assert_eq!(said(&body), format!("{one}\nanswer #3"));
        body["messages"][2]["content"][2]["text"] = json!("[describe:all]");
        assert!(said(&body).starts_with("I see 1 picture (800x600) and 1 document (a.pdf)."), "{}", said(&body));
        body["messages"][2]["content"][0]["text"] = json!("one\ntwo");
        body["messages"][2]["content"][2]["text"] = json!("[echo]");
        assert_eq!(said(&body), "one\ntwo | [echo]");
    }

    #[test]
    fn what_stands_in_tags_is_not_the_users() {
        let mut body = ask("");
        body["messages"][0]["content"] =
            json!([{ "type": "text", "text": "<clock>#3 [refuse]</clock>" }, { "type": "text", "text": "#4" }]);
        assert_eq!(said(&body), "answer #4");
    }

    #[test]
    fn a_schema_gets_an_instance() {
        let mut body = ask("x");
        body["output_config"]["format"] = json!({ "type": "json_schema", "schema": {
            "type": "object", "required": ["facts"], "properties": { "facts": { "type": "array" } } } });
        assert_eq!(said(&body), r#"{"facts":[]}"#);
    }
}
