//! Whether a prompt is made smaller, and where it is cut. All figures are tokens unless they say otherwise.

use crate::ids::{MessageSeq, TurnNumber};
use crate::message::{Body, Role};
use crate::record::NeutralMessage;
use std::ops::Range;
use std::time::Duration;

/// What a prompt may hold, default of the context budget.
pub const CONTEXT_BUDGET_TOKENS: u64 = 60_000;
/// The share of the budget at which a prompt is made smaller, in percent.
pub const TRIGGER_PERCENT: u64 = 60;
/// The trigger of models that cost more beyond a price band, so that they stay under it.
pub const HAIKU_TRIGGER_TOKENS_MAX: u64 = 80_000;
/// What a prompt may still hold after clearing alone, in percent of the trigger: less room, and the next turn would cut again.
pub const CLEARED_PERCENT_MAX: u64 = 80;
/// A silence after which the vendor's cache is cold, so that a rewrite costs nothing more.
pub const IDLE_GAP: Duration = Duration::from_secs(3_600);
/// A prompt that is worth a rewrite after a silence.
pub const IDLE_TOKENS_MIN: u64 = 12_000;
/// Turns that stay as they are.
pub const KEPT_TURNS_MIN: usize = 4;
/// Tokens that stay as they are, even if more turns than [`KEPT_TURNS_MIN`] are needed for them.
pub const KEPT_TOKENS_MIN: u64 = 6_000;
/// The newest turns whose tool results are never cleared.
pub const CLEARED_AFTER_TURNS: usize = 3;
/// Tool results of at least so many bytes are cleared; a shorter one is hardly longer than the line in its place.
pub const CLEARED_RESULT_BYTES_MIN: usize = 1_024;
/// A shorter span is summarised only if somebody asks: the call would cost more than it saves.
pub const SPAN_TOKENS_MIN: u64 = 2_000;

const _: () = assert!(CLEARED_AFTER_TURNS < KEPT_TURNS_MIN);
const _: () = assert!(KEPT_TOKENS_MIN < IDLE_TOKENS_MIN);
const _: () = assert!(TRIGGER_PERCENT <= 100 && CLEARED_PERCENT_MAX <= 100);

/// A message of the prompt, as the plan sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageFacts {
    /// Its place.
    pub seq: MessageSeq,
    /// Who speaks.
    pub role: Role,
    /// Its turn.
    pub turn: TurnNumber,
    /// Its size.
    pub tokens: u64,
    /// Tool calls in it.
    pub calls: u32,
    /// Tool results in it.
    pub results: u32,
    /// The size of its tool results that can be cleared; zero: none.
    pub clearable: u64,
    /// It holds words of others, or what a model made of them.
    pub foreign: bool,
    /// A turn begins with it.
    pub starts_turn: bool,
}

impl MessageFacts {
    /// Of a stored message; `weigh` says how many tokens a text is. Pictures and documents weigh nothing here: the caller adds
    /// what the vendor counts for them.
    #[must_use]
    pub fn of(
        message: &NeutralMessage,
        turn: TurnNumber,
        starts_turn: bool,
        principal: &crate::access::Principal,
        weigh: impl Fn(&str) -> u64,
    ) -> Self {
        let mut facts = Self {
            seq: message.seq,
            role: message.role,
            turn,
            tokens: 0,
            calls: 0,
            results: 0,
            clearable: 0,
            foreign: false,
            starts_turn,
        };
        for part in &message.parts {
            facts.foreign |= super::speaker(part, principal, false) == super::guard::Speaker::Hidden;
            let tokens = super::words(part).map_or(0, &weigh);
            facts.tokens = facts.tokens.saturating_add(tokens);
            match &part.body {
                Body::ToolCall { .. } => facts.calls = facts.calls.saturating_add(1),
                Body::ToolResult { content, .. } => {
                    facts.results = facts.results.saturating_add(1);
                    if content.len() >= CLEARED_RESULT_BYTES_MIN {
                        facts.clearable = facts.clearable.saturating_add(tokens);
                    }
                }
                Body::Text { .. } | Body::Image { .. } | Body::Document { .. } | Body::Opaque { .. } => {}
            }
        }
        facts
    }
}

/// What a plan keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What a prompt may hold, [`CONTEXT_BUDGET_TOKENS`] by default.
    pub budget: u64,
    /// The model costs more beyond its price band: [`HAIKU_TRIGGER_TOKENS_MAX`] holds, too.
    pub price_band: bool,
}

impl Limits {
    /// The size from which a prompt is made smaller.
    #[must_use]
    pub fn trigger(&self) -> u64 {
        let mut trigger = percent(self.budget, TRIGGER_PERCENT);
        if self.price_band {
            trigger = trigger.min(HAIKU_TRIGGER_TOKENS_MAX);
        }
        trigger
    }
}

/// What leads to the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// A request will be made, after a silence of this length.
    Request(Duration),
    /// Somebody asked (`/compact`).
    Asked,
}

/// Why a prompt is made smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It has reached the trigger.
    Full,
    /// Its cache is cold and it is long.
    Idle,
    /// Somebody asked.
    Asked,
}

/// What is done to a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Messages whose large tool results become one line each; they all stay in the prompt.
    pub clear: Vec<MessageSeq>,
    /// Messages that the summary replaces; empty if nothing is summarised.
    pub summarise: Range<MessageSeq>,
    /// The first message that stays as it is.
    pub keep_from: MessageSeq,
    /// Why; none: the prompt stays as it is.
    pub why: Option<Why>,
}

/// What to do to the prompt that shows `messages`, in order.
#[must_use]
pub fn plan(messages: &[MessageFacts], limits: &Limits, occasion: Occasion) -> Plan {
    let first = messages.first().map_or(MessageSeq(1), |message| message.seq);
    let total = tokens(messages);
    let Some(why) = why(total, limits, occasion) else { return nothing(first, None) };
    let clear = clearable(messages);
    let cleared = clear.iter().fold(0_u64, |sum, message| sum.saturating_add(message.clearable));
    let names = |messages: &[&MessageFacts]| messages.iter().map(|message| message.seq).collect::<Vec<_>>();
    // With some room below the trigger, or the next turn would cut again and pay for a cold cache again.
    let enough = why == Why::Full && total.saturating_sub(cleared) <= percent(limits.trigger(), CLEARED_PERCENT_MAX);
    let only_clear = Plan { clear: names(&clear), ..nothing(first, (!clear.is_empty()).then_some(why)) };
    if enough {
        return only_clear;
    }
    let Some((span, tail)) = cut(messages).and_then(|at| messages.split_at_checked(at)) else { return only_clear };
    let Some(keep_from) = tail.first() else { return only_clear };
    if why != Why::Asked && tokens(span) < SPAN_TOKENS_MIN {
        return only_clear;
    }
    let clear = names(&clear).into_iter().filter(|seq| *seq >= keep_from.seq).collect();
    Plan { clear, summarise: first..keep_from.seq, keep_from: keep_from.seq, why: Some(why) }
}

fn nothing(first: MessageSeq, why: Option<Why>) -> Plan {
    Plan { clear: Vec::new(), summarise: first..first, keep_from: first, why }
}

fn why(total: u64, limits: &Limits, occasion: Occasion) -> Option<Why> {
    match occasion {
        Occasion::Asked => Some(Why::Asked),
        Occasion::Request(_) if total >= limits.trigger() => Some(Why::Full),
        Occasion::Request(gap) if gap > IDLE_GAP && total > IDLE_TOKENS_MIN => Some(Why::Idle),
        Occasion::Request(_) => None,
    }
}

/// Messages with large results that are older than the last turns.
fn clearable(messages: &[MessageFacts]) -> Vec<&MessageFacts> {
    let mut starts = 0_usize;
    let newest = messages.iter().rposition(|message| {
        starts += usize::from(message.starts_turn);
        starts == CLEARED_AFTER_TURNS
    });
    let old = newest.and_then(|at| messages.get(..at)).unwrap_or_default();
    old.iter().filter(|message| message.clearable > 0).collect()
}

/// The index of the first message of the tail: the latest beginning of a turn that leaves enough, with every call answered.
fn cut(messages: &[MessageFacts]) -> Option<usize> {
    let mut open = 0_u64;
    let mut whole = Vec::with_capacity(messages.len());
    for message in messages {
        whole.push(message.starts_turn && open == 0);
        open = open.saturating_add(message.calls.into()).saturating_sub(message.results.into());
    }
    let (mut turns, mut kept) = (0_usize, 0_u64);
    for (at, message) in messages.iter().enumerate().rev() {
        kept = kept.saturating_add(message.tokens);
        turns += usize::from(message.starts_turn);
        let whole = whole.get(at).copied().unwrap_or_default();
        if at > 0 && whole && turns >= KEPT_TURNS_MIN && kept >= KEPT_TOKENS_MIN {
            return Some(at);
        }
    }
    None
}

fn tokens(messages: &[MessageFacts]) -> u64 {
    messages.iter().fold(0, |sum, message| sum.saturating_add(message.tokens))
}

fn percent(of: u64, percent: u64) -> u64 {
    u64::try_from(u128::from(of) * u128::from(percent) / 100).unwrap_or(u64::MAX)
}
