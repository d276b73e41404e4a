//! A summary that no model writes: bounded in size, the same for the same span, and never refused.

use super::guard::{GuardPart, Speaker, appendix, bare};
use super::rules::{RULE_CHARS_MAX, is_rule, normalise, sentences};
use super::{SpanMessage, guard_parts, handle, head, is_tainted, speaker, words};
use crate::access::Principal;
use crate::ids::MessageSeq;
use crate::message::Part;
use std::collections::BTreeSet;

/// Letters of the first message.
pub const FIRST_CHARS_MAX: usize = 1_000;
/// Letters of an earlier turn.
pub const TURN_CHARS_MAX: usize = 120;
/// Bytes of the standing rules. Full: the newest stay, and a line says how many are left out.
pub const RULES_BYTES_MAX: usize = 8 * 1024;
/// Bytes of the lines of turns. Full: the newest stay, and a line says how many are left out.
pub const TURNS_BYTES_MAX: usize = 12 * 1024;
/// Bytes of the handles of what is not shown. Full: the newest stay.
pub const HANDLES_BYTES_MAX: usize = 2 * 1024;
/// Bytes of an earlier summary. Over: its beginning stays.
pub const EARLIER_BYTES_MAX: usize = 8 * 1024;
/// Where the rest is.
pub const OLDER: &str = "Older messages can be read again: `read_again` with a number that stands after msg.";

/// The summary of a span, with the list of facts that it would lose. `earlier` is the summary that the span begins with, or
/// empty; `kept` is the text that stays, `memory` what is known anyway.
#[must_use]
pub fn summary(span: &[SpanMessage<'_>], principal: &Principal, earlier: &str, kept: &str, memory: &str) -> String {
    let mut text = without_list(span, principal, earlier);
    let mut parts = guard_parts(span, principal);
    // An earlier summary is cut where it is too long; its facts are not.
    if let Some(first) = span.first() {
        parts.push(GuardPart { seq: first.message.seq, speaker: Speaker::Summary, text: earlier });
    }
    let list = appendix(&parts, &text, kept, memory);
    if !list.is_empty() {
        text.push('\n');
        text.push_str(&list);
    }
    text.push('\n');
    text.push_str(OLDER);
    text
}

fn without_list(span: &[SpanMessage<'_>], principal: &Principal, earlier: &str) -> String {
    let tainted = is_tainted(span, principal);
    let said = |one: &SpanMessage<'_>, by: Speaker| {
        let parts = one.message.parts.iter().filter(|part| speaker(part, principal, tainted) == by);
        parts.filter_map(words).collect::<Vec<_>>().join("\n")
    };
    let mut text = String::new();
    if !earlier.trim().is_empty() {
        text = format!("Earlier summary\n{}\n\n", cut(earlier.trim(), EARLIER_BYTES_MAX));
    }
    let persons =
        || span.iter().map(|one| (one, said(one, Speaker::Person))).filter(|(_, said)| !said.trim().is_empty());
    if let Some((one, first)) = persons().next() {
        text += &format!("First message\n{} {}\n\n", place(one.message.seq), head(&first, FIRST_CHARS_MAX));
    }
    let mut known = BTreeSet::new();
    let mut rules = Vec::new();
    for sentence in sentences(earlier) {
        let sentence: String = bare(sentence).chars().take(RULE_CHARS_MAX).collect();
        let normal = normalise(&sentence);
        if is_rule(&normal) && known.insert(normal) {
            rules.push(format!("- {sentence}"));
        }
    }
    for (one, said) in persons() {
        for sentence in sentences(&said) {
            let sentence: String = sentence.chars().take(RULE_CHARS_MAX).collect();
            let normal = normalise(&sentence);
            if is_rule(&normal) && known.insert(normal) {
                rules.push(format!("- {sentence} {}", place(one.message.seq)));
            }
        }
    }
    section(&mut text, "Standing instructions", &rules, RULES_BYTES_MAX);
    let turns = span.iter().filter(|one| one.starts_turn).filter_map(|one| {
        let said = said(one, Speaker::Person);
        let line = head(&said, TURN_CHARS_MAX);
        (!line.is_empty()).then(|| format!("- {} {} {line}", one.date, place(one.message.seq)))
    });
    section(&mut text, "Earlier turns", &turns.collect::<Vec<_>>(), TURNS_BYTES_MAX);
    section(&mut text, "Not shown", &handles(span, principal), HANDLES_BYTES_MAX);
    text
}

/// A line for each run of messages with something hidden.
pub(super) fn handles(span: &[SpanMessage<'_>], principal: &Principal) -> Vec<String> {
    let tainted = is_tainted(span, principal);
    let hidden = |part: &&Part| speaker(part, principal, tainted) == Speaker::Hidden;
    let hides = |one: &SpanMessage<'_>| one.message.parts.iter().any(|part| hidden(&part));
    let runs = span.chunk_by(|one, next| hides(one) == hides(next)).filter(|run| run.first().is_some_and(hides));
    runs.filter_map(|run| {
        let parts = run.iter().flat_map(|one| &one.message.parts).filter(hidden);
        let bytes = parts.filter_map(words).map(str::len).fold(0_usize, usize::saturating_add);
        Some(handle(run.first()?.message.seq, run.last()?.message.seq, bytes))
    })
    .collect()
}

fn place(seq: MessageSeq) -> String {
    format!("[msg {seq}–{seq}]")
}

/// The newest lines that fit, in order, under their title.
fn section(text: &mut String, title: &str, lines: &[String], bytes_max: usize) {
    let mut bytes = 0_usize;
    let fits = |line: &&String| {
        bytes = bytes.saturating_add(line.len() + 1);
        bytes <= bytes_max
    };
    let kept = lines.iter().rev().take_while(fits).count();
    let left_out = lines.len() - kept;
    let Some(kept) = lines.get(left_out..).filter(|kept| !kept.is_empty()) else { return };
    text.push_str(title);
    text.push('\n');
    if left_out > 0 {
        *text += &format!("- ({left_out} older ones are left out)\n");
    }
    for line in kept {
        text.push_str(line);
        text.push('\n');
    }
    text.push('\n');
}

/// The beginning of a text, at most so many bytes.
fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
