//! Which model and how much effort one message gets: the cache-aware router.
//!
//! A cache belongs to a model. So the model of a conversation is sticky, and the router leaves it for one message only, for
//! a word of courtesy that asks for nothing, and only when the expected sum is no higher than staying: what the turn does
//! not do, keeping the big model's cache warm, is part of the price. It goes up only on evidence of trouble. The knob it
//! turns freely is the effort, which costs no cache.
//!
//! It knows no clock, no session and no price list: all of that comes in as [`Facts`]. It never judges how difficult the
//! words of a message are; lists of "complexity words" were measured to be no better than chance. It looks at structure.

mod cost;
mod features;
mod odds;
mod words;

#[cfg(test)]
mod tests;

pub use cost::{Candidate, Estimate, Prices, Rates, Ttl};
pub use features::{Features, SCANNED_BYTES_MAX, Script};
pub use odds::{GAPS_MAX, Odds};

use crate::ids::ModelId;

/// The largest prompt, in tokens, that leaves the session's model. The cheapest model is five times dearer beyond 100,000
/// tokens, and a count made before the call may be a few percent short. Over: the message stays.
pub const SIDE_PROMPT_TOKENS_MAX: u64 = 95_000;
/// The chance, in thousandths, that leaving a warm cache alone lets it expire before the next turn, up to which it is left.
/// What may be lost is a hundred times what is saved, and the odds are an estimate: this is no place for a wager.
pub const EXPIRY_CHANCE_MAX: u16 = 10;
/// Failing tool rounds in a row that count as evidence of trouble.
pub const FAILED_ROUNDS_MIN: u8 = 2;

/// Courtesies that a weaker model answers so badly that the session's model must be asked, in thousandths. A guess on the high
/// side until it is measured.
const SIDE_FAILURES: u128 = 10;
/// Words of a message up to which one ask is a lookup.
const SHORT_WORDS_MAX: usize = 10;
/// Words from which a message is long.
const LONG_WORDS_MIN: usize = 40;
/// Characters from which a message is long, whatever its words are: a pasted block may have no spaces at all.
const LONG_CHARS_MIN: usize = 1_000;
/// Lines from which a message is long.
const LONG_LINES_MIN: usize = 8;
/// Asks from which there are several.
const SEVERAL_ASKS_MIN: usize = 3;
/// Numbers from which a message is about figures.
const FIGURES_MIN: usize = 3;
/// Amounts with a currency from which a message is about money.
const AMOUNTS_MIN: usize = 2;

const _: () = assert!(SHORT_WORDS_MAX < LONG_WORDS_MIN && LONG_CHARS_MIN < SCANNED_BYTES_MAX);

/// How hard a model thinks about one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// For lookups and courtesies.
    Low,
    /// For most of what people ask.
    Medium,
    /// For plans, code and money, and after a failure.
    High,
    /// Only if configured or chosen.
    XHigh,
    /// Only if configured or chosen.
    Max,
}

impl Effort {
    /// The vendor's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::XHigh => "xhigh",
            Self::Max => "max",
        }
    }

    /// Reads the vendor's word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Low, Self::Medium, Self::High, Self::XHigh, Self::Max].into_iter().find(|known| known.as_str() == word)
    }
}

/// What kind of message it is; it decides the effort and the weakest model that is good enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A courtesy that asks for nothing. Any model is good enough.
    Small,
    /// One short ask. From here on nothing below the session's model is good enough.
    Short,
    /// Neither short nor demanding.
    Normal,
    /// Long, several asks, code, files, figures, or the last answer was wrong.
    Demanding,
    /// The session's model has failed: the next tier is tried.
    Trouble,
}

/// Who chose the session's model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// The person: it is strict, and nothing is changed.
    ByPerson,
    /// The configuration or an earlier decision.
    ByDefault,
}

/// What happened in the last turns of the session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Rounds of tool calls in the last turns. Any: this one likely needs tools, too.
    pub tool_rounds: u8,
    /// Tool rounds that failed in a row until now.
    pub failed_rounds: u8,
    /// The model refused, or gave an answer of the wrong form twice.
    pub refused: bool,
    /// The person had to say it again, or said more than once that it was wrong. Once is not evidence: the words of that
    /// message ask for more effort by themselves.
    pub rephrased: bool,
    /// The last reply ended in a question, so that "ok" is an answer and no courtesy.
    pub awaits_answer: bool,
}

/// Sizes of the turn, in tokens; over a thousand million counts as that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// The prompt so far, as far as the session's model has it in its cache, or had until it expired.
    pub cached: u64,
    /// The rest of the prompt: this message, and what was said since that model was last called.
    pub new: u64,
    /// The expected answer.
    pub output: u64,
}

/// All that one decision rests on.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The models that may be used, each once, in any order; the weakest is the one with the cheapest output.
    pub candidates: &'a [Candidate],
    /// The session's model.
    pub session: &'a ModelId,
    /// Who chose it.
    pub chosen: Chosen,
    /// The effort the person chose; never changed.
    pub chosen_effort: Option<Effort>,
    /// The effort of the configuration, for a normal message; `None` is medium.
    pub default_effort: Option<Effort>,
    /// Sizes of the turn.
    pub tokens: Tokens,
    /// How long the session's cache entries live.
    pub ttl: Ttl,
    /// Whether the session's cache is warm now and at the next turn.
    pub odds: Odds,
    /// What happened before.
    pub history: History,
}

/// What is to be called for one message, and why; the session's model and its epoch stay as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The model; always one of the candidates.
    pub model: ModelId,
    /// The effort; `None` if the model has no such knob, or nobody set one and nothing may be changed.
    pub effort: Option<Effort>,
    /// The kind of message.
    pub class: Class,
    /// What spoke for it, in short words.
    pub reasons: Vec<&'static str>,
    /// What every candidate was expected to cost, in the order of the candidates.
    pub estimates: Vec<Estimate>,
    /// The session's model, with which the others were compared.
    pub session: ModelId,
}

/// Decides for one message. `None` if the session's model is not among the candidates: nothing can be compared, and the
/// caller stays.
#[must_use]
pub fn decide(features: &Features, facts: &Facts<'_>) -> Option<Decision> {
    let session = facts.candidates.iter().find(|candidate| candidate.model == *facts.session)?;
    let (class, mut reasons) = classify(features, &facts.history);
    let mut taken = session;
    match (facts.chosen, class) {
        (Chosen::ByPerson, _) => reasons.push("chosen by the person"),
        (Chosen::ByDefault, Class::Small) => match cheaper(session, facts) {
            Ok(candidate) => taken = candidate,
            Err(reason) => reasons.push(reason),
        },
        (Chosen::ByDefault, Class::Trouble) => match above(session, facts.candidates) {
            Some(candidate) => taken = candidate,
            None => reasons.push("no stronger model"),
        },
        (Chosen::ByDefault, Class::Short | Class::Normal | Class::Demanding) => {}
    }
    Some(Decision {
        model: taken.model.clone(),
        effort: effort(class, facts).filter(|_| taken.has_effort),
        class,
        reasons,
        estimates: facts
            .candidates
            .iter()
            .map(|candidate| cost::estimate(candidate, session, facts).rounded())
            .collect(),
        session: session.model.clone(),
    })
}

impl Decision {
    /// One line for the log: `haiku, low: courtesy; 2,372 µ$ against 2,840 µ$ for sonnet`.
    #[must_use]
    pub fn explain(&self) -> String {
        let find = |model: &ModelId| self.estimates.iter().find(|estimate| estimate.model == *model);
        let mut line = find(&self.model).map_or_else(|| self.model.to_string(), |taken| taken.tier.clone());
        if let Some(effort) = self.effort {
            line = format!("{line}, {}", effort.as_str());
        }
        line = format!("{line}: {}", self.reasons.join(", "));
        if let Some(taken) = find(&self.model) {
            line = format!("{line}; {}", micro(taken.expected.0));
        }
        // Against staying, or against the best that was not taken.
        let others = self.estimates.iter().filter(|other| other.model != self.model);
        let rival = others.min_by_key(|other| (other.model != self.session, other.expected));
        if let Some(rival) = rival {
            line = format!("{line} against {} for {}", micro(rival.expected.0), rival.tier);
        }
        line
    }
}

/// Rules first: evidence, then the person's objection, then courtesy, then structure.
fn classify(features: &Features, history: &History) -> (Class, Vec<&'static str>) {
    let told = |facts: &[(bool, &'static str)]| -> Vec<_> {
        facts.iter().filter(|(holds, _)| *holds).map(|(_, reason)| *reason).collect()
    };
    let trouble = told(&[
        (history.failed_rounds >= FAILED_ROUNDS_MIN, "tools failed"),
        (history.refused, "refused"),
        (history.rephrased, "said again"),
    ]);
    if !trouble.is_empty() {
        return (Class::Trouble, trouble);
    }
    let busy = told(&[
        (history.tool_rounds > 0, "tools lately"),
        (history.awaits_answer, "an answer is awaited"),
        (features.quotes, "quotes a message"),
    ]);
    if features.courtesy && features.attachments == 0 {
        return if busy.is_empty() {
            (Class::Small, vec!["courtesy"])
        } else {
            (Class::Short, [vec!["courtesy"], busy].concat())
        };
    }
    let demanding = told(&[
        (features.objection, "objection"),
        (history.failed_rounds > 0, "after a failure"),
        (features.attachments > 0, "files"),
        (features.code, "code"),
        (features.asks >= SEVERAL_ASKS_MIN, "several asks"),
        (is_long(features), "long"),
        (features.words > SHORT_WORDS_MAX && features.numbers >= FIGURES_MIN, "figures"),
        (features.words > SHORT_WORDS_MAX && features.amounts >= AMOUNTS_MIN, "money"),
    ]);
    if !demanding.is_empty() {
        return (Class::Demanding, demanding);
    }
    let one = features.words <= SHORT_WORDS_MAX && features.asks <= 1 && features.lines <= 1;
    match (one, history.tool_rounds > 0) {
        (true, false) => (Class::Short, vec!["one short ask"]),
        (true, true) => (Class::Normal, vec!["tools lately"]),
        (false, _) => (Class::Normal, vec!["normal"]),
    }
}

fn is_long(features: &Features) -> bool {
    let Features { words, lines, chars, .. } = *features;
    words >= LONG_WORDS_MIN || lines >= LONG_LINES_MIN || chars >= LONG_CHARS_MIN
}

/// The cheapest candidate below the session's model, if it is no dearer than staying.
fn cheaper<'a>(session: &Candidate, facts: &Facts<'a>) -> Result<&'a Candidate, &'static str> {
    let below = facts.candidates.iter().filter(|candidate| candidate.rank() < session.rank());
    let costed = below.map(|candidate| (cost::estimate(candidate, session, facts).exact(), candidate));
    let (expected, candidate) = costed.min_by_key(|(expected, _)| *expected).ok_or("no cheaper model")?;
    if facts.tokens.cached.saturating_add(facts.tokens.new) > SIDE_PROMPT_TOKENS_MAX {
        return Err("the prompt is too long to leave");
    }
    let odds = facts.odds.sound();
    if facts.tokens.cached > 0 && odds.warm > 0 && odds.warm_if_read - odds.warm_if_left > EXPIRY_CHANCE_MAX {
        return Err("the cache could expire");
    }
    if expected > cost::estimate(session, session, facts).exact() {
        return Err("staying is cheaper");
    }
    Ok(candidate)
}

/// The weakest candidate that is stronger than the session's model.
fn above<'a>(session: &Candidate, candidates: &'a [Candidate]) -> Option<&'a Candidate> {
    candidates.iter().filter(|candidate| candidate.rank() > session.rank()).min_by_key(|candidate| candidate.rank())
}

/// The person's choice, or what the class asks for beside the configured one.
fn effort(class: Class, facts: &Facts<'_>) -> Option<Effort> {
    if facts.chosen_effort.is_some() {
        return facts.chosen_effort;
    }
    if facts.chosen == Chosen::ByPerson {
        return facts.default_effort;
    }
    let configured = facts.default_effort.unwrap_or(Effort::Medium);
    Some(match class {
        Class::Small | Class::Short => Effort::Low,
        Class::Normal => configured,
        Class::Demanding | Class::Trouble => configured.max(Effort::High),
    })
}

/// Micro-dollars with thousands set apart, `5,100 µ$`.
fn micro(amount: u64) -> String {
    let digits = amount.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 4);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text.push_str(" µ$");
    text
}
