//! Signatures of thinking blocks: each is bound to the account, the model and everything before it.
//!
//! A signature is `"BLUF" ‖ previous[12] ‖ prefix[16] ‖ mac[16] ‖ model`, in base64. `prefix` is the digest of
//! `system`, the tools that are not deferred, and all earlier content without markers and without thinking; `previous`
//! names the thinking block before, so that taking one out of the middle shows, while dropping the oldest ones (or
//! all of them) stays legal, as the documentation says. This file refuses to know what a legal message is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::canonical;
use super::error::ApiError;
use super::models::Model;

const MAGIC: &[u8; 4] = b"BLUF";
const TAG: usize = 12;
const PREFIX: usize = 16;
const MAC: usize = 16;

/// The signing key of one account. Derived from its name, so that a restarted fake still knows its signatures.
#[derive(Clone)]
pub struct Signer {
    mac: Hmac<Sha256>,
}

/// A running digest of everything before a block.
#[derive(Clone)]
pub struct Prefix {
    hasher: Sha256,
    /// Issuing model and tag of the thinking blocks so far.
    chain: Vec<(String, [u8; TAG])>,
}

/// What checking a request found.
pub struct Checked {
    /// The state behind the last message, from which the reply is signed.
    pub prefix: Prefix,
    /// Entries of `input_transformations`, when the request asked for `drop_block`.
    pub dropped: Vec<Value>,
}

struct Parsed {
    previous: [u8; TAG],
    prefix: [u8; PREFIX],
    tag: [u8; TAG],
    model: String,
}

impl Signer {
    /// The signer of `account`.
    pub fn new(account: &str) -> Self {
        let mac = Hmac::new_from_slice(account.as_bytes()).expect("an HMAC key may have any length");
        Self { mac }
    }

    /// Signs a thinking block with this text that follows `prefix`, and appends it to the chain.
    pub fn sign(&self, prefix: &mut Prefix, model: &Model, text: &str) -> String {
        let previous = prefix.last_readable_by(model.id).unwrap_or_default();
        let digest = prefix.digest();
        let mac = self.mac(&previous, &digest, model.id, text);
        prefix.chain.push((model.id.to_owned(), mac[..TAG].try_into().expect("a tag is shorter than a mac")));
        STANDARD.encode([MAGIC, &previous[..], &digest, &mac, model.id.as_bytes()].concat())
    }

    /// Checks every thinking block of `body` against what stands before it.
    ///
    /// `foreign` tells of a signature that is not of this form whether the fake sent it itself, in a recorded stream.
    pub fn check(&self, body: &Value, model: &Model, foreign: &dyn Fn(&str) -> bool) -> Result<Checked, ApiError> {
        let drop = body["thinking"]["block_binding"]["prefix_mismatch_behavior"] == "drop_block";
        let mut prefix = Prefix::of_head(body);
        let mut dropped = Vec::new();
        let mut mismatched = false;
        for (index, message) in body["messages"].as_array().into_iter().flatten().enumerate() {
            prefix.open(message);
            for (at, block) in canonical::blocks(&message["content"]).iter().enumerate() {
                let Some((text, signature)) = thinking(block) else {
                    prefix.push(block);
                    continue;
                };
                let path = format!("messages.{index}.content.{at}");
                if foreign(signature) {
                    continue;
                }
                let Some(parsed) = self.parse(text, signature) else {
                    return Err(ApiError::illegal(format!("{path}: Invalid `signature` in `thinking` block")));
                };
                if !model.reads_thinking_of(&parsed.model) {
                    dropped.push(transformation(&path, "model_binding_mismatch"));
                    prefix.chain.push((parsed.model, parsed.tag));
                    continue;
                }
                // Once one block was dropped, all later ones go as well.
                mismatched |= !prefix.fits(&parsed);
                if mismatched {
                    if !drop {
                        return Err(ApiError::illegal(format!(
                            "{path}: the `signature` of this `thinking` block is bound to a different conversation"
                        )));
                    }
                    dropped.push(transformation(&path, "prefix_binding_mismatch"));
                    continue;
                }
                prefix.chain.push((parsed.model, parsed.tag));
            }
        }
        if !drop {
            dropped.clear();
        }
        Ok(Checked { prefix, dropped })
    }

    fn parse(&self, text: &str, signature: &str) -> Option<Parsed> {
        let bytes = STANDARD.decode(signature).ok()?;
        let rest = bytes.strip_prefix(MAGIC)?;
        let (previous, rest) = rest.split_first_chunk::<TAG>()?;
        let (prefix, rest) = rest.split_first_chunk::<PREFIX>()?;
        let (mac, model) = rest.split_first_chunk::<MAC>()?;
        let model = std::str::from_utf8(model).ok()?;
        (self.mac(previous, prefix, model, text) == *mac).then(|| Parsed {
            previous: *previous,
            prefix: *prefix,
            tag: mac[..TAG].try_into().expect("a tag is shorter than a mac"),
            model: model.to_owned(),
        })
    }

    fn mac(&self, previous: &[u8], prefix: &[u8], model: &str, text: &str) -> [u8; MAC] {
        let mut mac = self.mac.clone();
        for part in [previous, prefix, model.as_bytes(), &[0], text.as_bytes()] {
            mac.update(part);
        }
        mac.finalize().into_bytes()[..MAC].try_into().expect("SHA-256 is longer")
    }
}

impl Prefix {
    /// The digest of `system` and `tools`.
    fn of_head(body: &Value) -> Self {
        let mut prefix = Self { hasher: Sha256::new(), chain: Vec::new() };
        canonical::blocks(&body["system"]).iter().for_each(|block| prefix.push(block));
        prefix.hasher.update(b"|tools|");
        let tools = body["tools"].as_array().into_iter().flatten();
        tools.filter(|tool| tool["defer_loading"] != true).for_each(|tool| prefix.push(tool));
        prefix
    }

    /// Begins a message: its role and the fields beside its content.
    pub fn open(&mut self, message: &Value) {
        self.hasher.update(b"|message|");
        for (name, field) in message.as_object().into_iter().flatten().filter(|(name, _)| *name != "content") {
            self.hasher.update(name.as_bytes());
            self.push(field);
        }
    }

    /// Appends a block that is not thinking.
    pub fn push(&mut self, block: &Value) {
        canonical::feed(block, &mut |bytes| self.hasher.update(bytes));
    }

    fn digest(&self) -> [u8; PREFIX] {
        self.hasher.clone().finalize()[..PREFIX].try_into().expect("SHA-256 is longer")
    }

    /// The newest thinking block that `model` could see: blocks of models that it may not read were dropped before it.
    fn last_readable_by(&self, model: &str) -> Option<[u8; TAG]> {
        let readable = |issuer: &str| issuer == model || issuer == "claude-haiku-5-5";
        self.chain.iter().rev().find(|(issuer, _)| readable(issuer)).map(|(_, tag)| *tag)
    }

    fn fits(&self, block: &Parsed) -> bool {
        let chained = self.last_readable_by(&block.model).is_none_or(|tag| tag == block.previous);
        chained && self.digest() == block.prefix
    }
}

/// Text and signature of a thinking block; the data of a redacted one is its signature.
pub fn thinking(block: &Value) -> Option<(&str, &str)> {
    match block["type"].as_str()? {
        "thinking" => Some((block["thinking"].as_str()?, block["signature"].as_str()?)),
        "redacted_thinking" => Some(("", block["data"].as_str()?)),
        _ => None,
    }
}

fn transformation(path: &str, reason: &str) -> Value {
    json!({ "type": "thinking_dropped", "path": path, "reason": reason })
}

#[cfg(test)]
mod tests {
    use super::super::models::Models;
    use super::*;

    /// A conversation of two rounds, each with a signed thinking block.
    fn conversation(signer: &Signer, model: &Model) -> Value {
        let mut body = json!({ "system": "Be brief.", "tools": [{ "name": "now" }], "messages": [
            { "role": "user", "content": "one" }] });
        for round in 0..2 {
            let mut prefix = signer.check(&body, model, &|_| false).unwrap_or_else(|e| panic!("{e:?}")).prefix;
            prefix.open(&json!({ "role": "assistant" }));
            let signature = signer.sign(&mut prefix, model, "hm");
            let messages = body["messages"].as_array_mut().unwrap();
            messages.push(json!({ "role": "assistant", "content": [
                { "type": "thinking", "thinking": "hm", "signature": signature },
                { "type": "text", "text": format!("said {round}") }] }));
            messages.push(json!({ "role": "user", "content": [{ "type": "text", "text": "more" }] }));
        }
        body
    }

    #[test]
    fn edits_break_signatures_and_appending_does_not() {
        let (signer, models) = (Signer::new("key"), Models::default());
        let model = models.get("claude-sonnet-5-5").unwrap();
        let body = conversation(&signer, model);
        let check = |edit: &dyn Fn(&mut Value), expect: &str| {
            let mut edited = body.clone();
            edit(&mut edited);
            let verdict = signer.check(&edited, model, &|_| false).err().map(|error| error.message).unwrap_or_default();
            let fits = if expect.is_empty() { verdict.is_empty() } else { verdict.contains(expect) };
            assert!(fits, "expected {expect:?}, got {verdict:?}");
        };
        let bound = "bound to a different conversation";
        check(&|_| {}, "");
        check(&|body| body["messages"][0]["content"] = json!([{ "type": "text", "text": "one" }]), "");
        check(&|body| body["messages"][2]["content"][0]["cache_control"] = json!({ "type": "ephemeral" }), "");
        check(&|body| body["max_tokens"] = json!(7), "");
        check(&|body| body["system"] = json!("Be long."), bound);
        check(&|body| body["tools"] = json!([]), bound);
        check(&|body| body["messages"][0]["content"] = json!("two"), bound);
        check(&|body| body["messages"][1]["content"][1]["text"] = json!("other"), bound);
        check(&|body| drop(body["messages"][1]["content"].as_array_mut().unwrap().remove(0)), "");
        check(&|body| drop(body["messages"][3]["content"].as_array_mut().unwrap().remove(0)), "");
        check(&|body| body["messages"][1]["content"][0]["thinking"] = json!("ha"), "Invalid `signature`");
        check(&|body| body["messages"][1]["content"][0]["signature"] = json!("AAAA"), "Invalid `signature`");
        check(
            &|body| {
                let moved = body["messages"][3]["content"][0].clone();
                body["messages"][1]["content"][0] = moved;
            },
            bound,
        );
    }

    #[test]
    fn drop_block_drops_and_reports() {
        let (signer, models) = (Signer::new("key"), Models::default());
        let model = models.get("claude-opus-5-5").unwrap();
        let mut body = conversation(&signer, model);
        body["messages"][0]["content"] = json!("edited");
        body["thinking"] = json!({ "type": "adaptive", "block_binding": { "prefix_mismatch_behavior": "drop_block" } });
        let dropped = signer.check(&body, model, &|_| false).map(|checked| checked.dropped).unwrap_or_default();
        assert_eq!(dropped.len(), 2);
        assert_eq!(dropped[0]["path"], "messages.1.content.0");
    }

    #[test]
    fn blocks_of_another_model_are_not_checked() {
        let (signer, models) = (Signer::new("key"), Models::default());
        let mut body = conversation(&signer, models.get("claude-sonnet-5-5").unwrap());
        body["system"] = json!("changed");
        assert!(signer.check(&body, models.get("claude-opus-5-5").unwrap(), &|_| false).is_ok());
        assert!(signer.check(&body, models.get("claude-sonnet-5-5").unwrap(), &|_| false).is_err());
    }
}
