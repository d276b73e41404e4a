//! Who sends the requests: two simple clients that are put together here, and the real program.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::super::Bench;
use super::super::world::{FIRST_USER, Plan, World};
use super::Sent;
use super::pauses::Pauses;
use super::script::{Conversation, FACTS, Turn, fact, file, skill, skill_body};
use crate::messages::{Block, brain, judge_history};
use crate::process::Blufio;

const MODEL: &str = "claude-sonnet-5-5";
const SKILLS: usize = 30;
/// Files of the workspace.
const FILES: usize = 10;
/// Bytes that count as one token.
const TOKEN_BYTES: usize = 4;
const BOOTSTRAP_TOKENS: usize = 11_000;
const TOOLS_TOKENS: usize = 2_067;
/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(20);
/// As long as nothing is sent, nothing more comes.
const QUIET: Duration = Duration::from_millis(40);
const INSTRUCTIONS: &str = "You are a personal assistant. Answer in the language of the message, plainly and briefly.";

/// All skills and all facts in front.
pub fn everything(conversation: &Conversation) -> Result<Vec<Sent>> {
    let bodies: String = (0..SKILLS).map(skill_body).collect();
    simple(conversation, format!("{INSTRUCTIONS}\n\n{bodies}\n{}", facts()), tools(600))
}

/// Many bootstrap files and tools, a catalogue of the skills, and all facts in front; a skill's text is read like a file.
pub fn large_bootstrap(conversation: &Conversation) -> Result<Vec<Sent>> {
    let line = "This is a line of the files that such an agent reads at its start: rules, habits, examples, names of folders.\n";
    let bootstrap: String = line.chars().cycle().take(BOOTSTRAP_TOKENS * TOKEN_BYTES).collect();
    let described = |number| {
        let (name, description) = skill(number);
        format!(
            "<skill><name>{name}</name><description>{description}</description><location>skills/{name}/SKILL.md</location></skill>\n"
        )
    };
    let catalogue: String = (0..SKILLS).map(described).collect();
    simple(conversation, format!("{bootstrap}\n{catalogue}\n{}", facts()), tools(TOOLS_TOKENS))
}

fn facts() -> String {
    (0..FACTS).map(|number| fact(number) + "\n").collect()
}

/// As many tools as make so many tokens.
fn tools(tokens: usize) -> Value {
    let tool = |name: String| {
        json!({
            "name": name,
            "description": "Does one of the many things that an assistant does for a person, with the words that it is given for that.",
            "input_schema": {"type": "object", "properties": {"path": {"type": "string", "description": "What it is about."}}}
        })
    };
    let first = tool("read_file".to_owned());
    let each = first.to_string().len() / TOKEN_BYTES;
    let more = (1..tokens / each).map(|number| tool(format!("tool_{number:02}")));
    std::iter::once(first).chain(more).collect()
}

/// The words of a turn with what makes the fake model do what the script wants.
fn words(turn: &Turn, number: usize, loads: bool) -> String {
    let mut text = format!("{} #{number}", turn.text);
    if turn.words > 0 {
        text += &format!(" [long:{}]", turn.words);
    }
    if let Some((name, _)) = turn.skill.filter(|_| loads).map(skill) {
        text += &format!(r#" [then:tool:skill_load {{"name":"{name}"}}]"#);
    }
    for round in 0..turn.files {
        text += &format!(r#" [then:tool:read_file {{"path":"notes/{}.md"}}]"#, (number + round) % FILES);
    }
    text
}

/// A client that appends, and marks the end of its prefix and of the conversation for five minutes.
fn simple(conversation: &Conversation, system: String, tools: Value) -> Result<Vec<Sent>> {
    let mark = json!({"type": "ephemeral"});
    let system = json!([{"type": "text", "text": system, "cache_control": mark}]);
    let mut messages: Vec<Value> = Vec::new();
    let mut sent = Vec::new();
    for (number, turn) in conversation.turns.iter().enumerate() {
        messages.push(json!({"role": "user", "content": [{"type": "text", "text": words(turn, number + 1, false)}]}));
        loop {
            let mut marked = messages.clone();
            if let Some(last) =
                marked.last_mut().and_then(|last| last["content"].as_array_mut()).and_then(|blocks| blocks.last_mut())
            {
                last["cache_control"] = mark.clone();
            }
            let body =
                json!({"model": MODEL, "max_tokens": 8_192, "system": system, "tools": tools, "messages": marked});
            judge_history(&body["messages"]).map_err(|why| anyhow::anyhow!("an illegal request: {why}"))?;
            let plan = brain::plan(&body, &brain::turn(&body));
            sent.push(Sent { turn: number, body });
            let place = messages.len();
            let id = |call: usize| format!("toolu_{place}_{call}");
            let block = |(call, block): (usize, &Block)| match block {
                Block::Text(text) => Some(json!({"type": "text", "text": text})),
                Block::Tool { name, input, .. } => {
                    let input: Value = serde_json::from_str(input).unwrap_or_else(|_| json!({}));
                    Some(json!({"type": "tool_use", "id": id(call), "name": name, "input": input}))
                }
                Block::Thinking(_) | Block::Redacted | Block::Raw(_) => None,
            };
            let blocks: Vec<Value> = plan.blocks.iter().enumerate().filter_map(block).collect();
            let result = |block: &Value| {
                (block["type"] == "tool_use")
                    .then(|| json!({"type": "tool_result", "tool_use_id": block["id"], "content": file(0)}))
            };
            let results: Vec<Value> = blocks.iter().filter_map(result).collect();
            messages.push(json!({"role": "assistant", "content": blocks}));
            if results.is_empty() {
                break;
            }
            messages.push(json!({"role": "user", "content": results}));
        }
    }
    Ok(sent)
}

/// Whether the last message of a request carries results of tools.
pub fn has_results(body: &Value) -> bool {
    let last = body["messages"].as_array().and_then(|messages| messages.last());
    let blocks = last.and_then(|last| last["content"].as_array());
    blocks.is_some_and(|blocks| blocks.iter().any(|block| block["type"] == "tool_result"))
}

/// The real program, with a workspace that holds skills and facts, and a clock that is moved.
pub async fn blufio(bench: &Bench, binary: &Path, conversation: &Conversation, pauses: Pauses) -> Result<Vec<Sent>> {
    let plan = Plan { chats: 1, requests: 10_000, ..Plan::default() };
    let mut world = World::new(binary, bench.fast(), plan).await?;
    let workspace = world.setup.data_dir().join("workspace");
    put(&workspace.join("MEMORY.md"), &facts())?;
    for number in 0..SKILLS {
        let (name, description) = skill(number);
        let text = format!("---\nname: {name}\ndescription: {description}\n---\n{}", skill_body(number));
        put(&workspace.join(format!("skills/{name}/SKILL.md")), &text)?;
    }
    for number in 0..FILES {
        put(&workspace.join(format!("notes/{number}.md")), &file(number))?;
    }
    // Where a confined server may read.
    let clock = workspace.join("clock");
    put(&clock, "0")?;
    world.setup.env.insert("BLUFIO_CLOCK_OFFSET_FILE".to_owned(), clock.display().to_string());
    let server = Blufio::spawn(&world.setup)?;
    let mut sent = Vec::new();
    let mut seen = 0;
    for (number, turn) in conversation.turns.iter().enumerate() {
        put(&clock, &pauses.until(number).as_secs().to_string())?;
        world.telegram.send_text(FIRST_USER, &words(turn, number + 1, true));
        world.answered(FIRST_USER, number as u64 + 1, ANSWER).await?;
        // What is done beside the turn belongs to it: it is over when nothing more is sent.
        loop {
            let requests = world.messages.requests();
            let new: Vec<Sent> = requests
                .iter()
                .skip(seen)
                .map(|request| Sent { turn: number, body: (*request.body).clone() })
                .collect();
            let over = new.is_empty();
            seen = requests.len();
            sent.extend(new);
            if over {
                break;
            }
            tokio::time::sleep(QUIET).await;
        }
    }
    let wrong = world.violations();
    ensure!(wrong.is_empty(), "{}: {}", conversation.name, wrong.join("; "));
    let expected: usize =
        conversation.turns.iter().map(|turn| 1 + turn.files + usize::from(turn.skill.is_some())).sum();
    ensure!(sent.len() >= expected, "{}: {} requests instead of {expected}", conversation.name, sent.len());
    server.terminate(ANSWER).await.context("the program has not ended")?;
    Ok(sent)
}

fn put(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
