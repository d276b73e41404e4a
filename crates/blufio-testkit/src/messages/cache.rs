//! The prompt cache: which prefix of a request was seen before, what is written, and for how long.
//!
//! Entries are keyed by model and digest of the rendered prefix at each block. Rules as documented: writes only at
//! markers, reads look back at most 20 positions from a marker (a run of calls or of results is one position), a
//! minimum per model, a lifetime that counts from the start of the request and is refreshed by reading. An entry is
//! readable at once, not only when its answer starts. This file refuses to know whether the request is legal.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::canonical::{self, MESSAGE_TOKENS};
use super::models::{Model, Usage};

/// Positions that a read looks back from a marker.
const LOOK_BACK: usize = 20;
/// Most entries; at this number all expired ones go, and all of them if none is expired.
const ENTRIES_MAX: usize = 100_000;

/// The entries of one account.
#[derive(Default)]
pub struct Cache {
    entries: HashMap<u64, Entry>,
}

struct Entry {
    expires: Instant,
    life: Duration,
}

/// One block of the rendered prompt.
struct Block {
    /// Digest of the prompt up to here, this block included.
    digest: u64,
    /// Tokens of the prompt up to here.
    tokens: u64,
    /// Number of the position; neighbours of one run share it.
    position: usize,
    marker: Option<Duration>,
}

/// Tokens of the whole prompt, without a look at the cache.
pub fn prompt_tokens(body: &Value) -> u64 {
    let mut tokens = 0;
    render(body, &mut |_, block, count| tokens += count + block.map_or(0, canonical::block_tokens));
    tokens
}

/// Calls `visit` with the kind, the block and the extra tokens of everything that is rendered, in order. A message
/// begins with a visit without a block.
fn render(body: &Value, visit: &mut dyn FnMut(&str, Option<&Value>, u64)) {
    for tool in body["tools"].as_array().into_iter().flatten().filter(|tool| tool["defer_loading"] != true) {
        visit("tool", Some(tool), 0);
    }
    canonical::blocks(&body["system"]).iter().for_each(|block| visit("system", Some(block), 0));
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let last_user = messages.iter().rposition(|message| message["role"] == "user").unwrap_or_default();
    for (index, message) in messages.iter().enumerate() {
        if message["clear_at"] == "next_user_message" && index < last_user {
            continue;
        }
        visit(message["role"].as_str().unwrap_or_default(), None, MESSAGE_TOKENS);
        for block in canonical::blocks(&message["content"]).iter() {
            visit(block["type"].as_str().unwrap_or_default(), Some(block), 0);
        }
    }
}

impl Cache {
    /// Books the prompt of a request that starts at `now`: what it reads, what it writes, what is plain input.
    pub fn account(&mut self, body: &Value, model: &Model, now: Instant) -> Usage {
        let blocks = blocks(body, model);
        let total = blocks.last().map_or(0, |block| block.tokens);
        let markers: Vec<usize> = (0..blocks.len()).filter(|&at| blocks[at].marker.is_some()).collect();
        let hit = markers.iter().rev().find_map(|&marker| self.look_back(&blocks[..=marker], now));
        let mut usage = Usage { read: hit.map_or(0, |at| blocks[at].tokens), ..Usage::default() };
        let mut covered = usage.read;
        for marker in markers {
            let block = &blocks[marker];
            let life = block.marker.unwrap_or_default();
            if block.tokens < model.cache_min || block.tokens <= covered {
                continue;
            }
            let written = block.tokens - covered;
            if life > FIVE_MINUTES {
                usage.write_1h += written
            } else {
                usage.write_5m += written
            }
            covered = block.tokens;
            self.insert(block.digest, Entry { expires: now + life, life }, now);
        }
        usage.input = total - covered;
        usage
    }

    /// Index of the newest live entry within reach of the last of `blocks`, refreshed.
    fn look_back(&mut self, blocks: &[Block], now: Instant) -> Option<usize> {
        let from = blocks.last()?.position;
        let reach = blocks.iter().enumerate().rev().take_while(|(_, block)| from - block.position < LOOK_BACK);
        for (at, block) in reach {
            if let Some(entry) = self.entries.get_mut(&block.digest).filter(|entry| entry.expires > now) {
                entry.expires = now + entry.life;
                return Some(at);
            }
        }
        None
    }

    fn insert(&mut self, digest: u64, entry: Entry, now: Instant) {
        if self.entries.len() >= ENTRIES_MAX {
            self.entries.retain(|_, entry| entry.expires > now);
            if self.entries.len() >= ENTRIES_MAX {
                self.entries.clear();
            }
        }
        self.entries.insert(digest, entry);
    }
}

const FIVE_MINUTES: Duration = Duration::from_secs(300);
const ONE_HOUR: Duration = Duration::from_secs(3_600);

fn blocks(body: &Value, model: &Model) -> Vec<Block> {
    // Model and speed come before everything, choice of tools and kind of thinking before the messages.
    let mut digest = canonical::digest(0, &json!([model.id, body["speed"]]));
    let late = json!([body["tool_choice"], body["thinking"]["type"]]);
    let (mut tokens, mut position, mut in_messages) = (0, 0, false);
    let mut run = String::new();
    let mut blocks: Vec<Block> = Vec::new();
    render(body, &mut |kind, block, extra| {
        tokens += extra;
        let Some(block) = block else {
            if !in_messages {
                digest = canonical::digest(digest, &late);
                in_messages = true;
            }
            digest = canonical::digest(digest, &Value::from(kind));
            return;
        };
        if !(kind == run && matches!(kind, "tool_use" | "tool_result")) {
            position += 1;
        }
        kind.clone_into(&mut run);
        tokens += canonical::block_tokens(block);
        digest = canonical::digest(digest, block);
        blocks.push(Block { digest, tokens, position, marker: life(block) });
    });
    if let (Some(life), Some(last)) = (life(body), blocks.last_mut()) {
        last.marker.get_or_insert(life);
    }
    blocks
}

fn life(block: &Value) -> Option<Duration> {
    let marker = block.get("cache_control")?;
    Some(if marker["ttl"] == "1h" { ONE_HOUR } else { FIVE_MINUTES })
}

/// What of a request decides why a later one misses the cache.
#[derive(Clone, PartialEq, Eq)]
pub struct Fingerprint {
    model: String,
    tools: u64,
    system: u64,
}

impl Fingerprint {
    /// The fingerprint of a request.
    pub fn of(body: &Value) -> Self {
        Self {
            model: body["model"].as_str().unwrap_or_default().to_owned(),
            tools: canonical::digest(0, &body["tools"]),
            system: canonical::digest(0, &body["system"]),
        }
    }

    /// Value of `cache_miss_reason.type`, if the request after `previous` read nothing.
    pub fn miss_reason(&self, previous: Option<&Self>, read: u64) -> Option<&'static str> {
        match previous {
            None => Some("previous_message_not_found"),
            Some(_) if read > 0 => None,
            Some(previous) if previous.model != self.model => Some("model_changed"),
            Some(previous) if previous.tools != self.tools => Some("tools_changed"),
            Some(previous) if previous.system != self.system => Some("system_changed"),
            Some(_) => Some("messages_changed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::models::Models;
    use super::*;

    fn body(messages: usize, marker: bool) -> Value {
        let mut body = json!({ "system": [{ "type": "text", "text": "s".repeat(4_000),
            "cache_control": { "type": "ephemeral", "ttl": "1h" } }], "messages": [] });
        for index in 0..messages {
            let role = if index % 2 == 0 { "user" } else { "assistant" };
            let block = json!({ "type": "text", "text": format!("message {index:04}") });
            body["messages"].as_array_mut().unwrap().push(json!({ "role": role, "content": [block] }));
        }
        if marker {
            body["messages"][messages - 1]["content"][0]["cache_control"] = json!({ "type": "ephemeral" });
        }
        body
    }

    #[test]
    fn a_conversation_reads_what_the_turn_before_wrote() {
        let models = Models::default();
        let model = models.get("claude-sonnet-5-5").unwrap();
        let (mut cache, now) = (Cache::default(), Instant::now());
        // 4,000 bytes and a block are 1,003 tokens; a message is 3 + 3 + 3.
        assert_eq!(
            cache.account(&body(1, true), model, now),
            Usage { write_1h: 1_003, write_5m: 9, ..Usage::default() }
        );
        assert_eq!(cache.account(&body(3, true), model, now), Usage { read: 1_012, write_5m: 18, ..Usage::default() });
        assert_eq!(cache.account(&body(3, false), model, now), Usage { read: 1_003, input: 27, ..Usage::default() });
        assert_eq!(prompt_tokens(&body(3, true)), 1_030);
        let later = now + FIVE_MINUTES;
        assert_eq!(cache.account(&body(3, true), model, later).read, 1_003, "the short one is gone");
        assert_eq!(cache.account(&body(3, true), model, later + ONE_HOUR).read, 0, "all are gone");
        let other = models.get("claude-opus-5-5").unwrap();
        assert_eq!(cache.account(&body(3, true), other, now).read, 0, "entries are per model");
    }

    #[test]
    fn a_read_reaches_twenty_positions_back() {
        let models = Models::default();
        let model = models.get("claude-sonnet-5-5").unwrap();
        let read_after = |messages| {
            let (mut cache, now) = (Cache::default(), Instant::now());
            cache.account(&body(1, true), model, now);
            cache.account(&body(messages, true), model, now).read
        };
        assert_eq!((read_after(20), read_after(21)), (1_012, 1_003));
    }

    #[test]
    fn a_small_prompt_is_not_cached() {
        let models = Models::default();
        let model = models.get("claude-haiku-4-5").unwrap();
        let usage = Cache::default().account(&body(1, true), model, Instant::now());
        assert_eq!(usage, Usage { input: 1_012, ..Usage::default() });
    }
}
