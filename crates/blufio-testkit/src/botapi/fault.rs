//! Faults that a test orders, and the model of the public rate limits.
//!
//! Says which call is hit and how; carrying it out is `server.rs`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What goes wrong. "Applied" means that the call has its effect although the client does not learn of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// An error answer without effect.
    Answer {
        /// HTTP status and `error_code`.
        status: u16,
        /// `description`.
        description: String,
        /// `parameters`, an object or null.
        #[serde(default)]
        parameters: Value,
    },
    /// Answered `ok` with this result, without effect.
    Result(Value),
    /// Status 302 to this address, without effect.
    Redirect(String),
    /// 429 without effect.
    RateLimit {
        /// Seconds; `None` leaves `parameters` out.
        retry_after: Option<u64>,
    },
    /// Applied and answered after so many milliseconds.
    Delay(u64),
    /// Applied, then the connection is closed without an answer.
    ApplyThenDrop,
    /// Applied, then silence until the client hangs up.
    ApplyThenNeverAnswer,
    /// The connection is closed without effect.
    DropBefore,
    /// Applied; half of the answer, then a TCP reset.
    ResetMid,
    /// Applied; a complete HTTP answer whose JSON is cut in half.
    TruncatedJson,
    /// A proxy's HTML page with status 502, without effect.
    HtmlBody502,
    /// Silence until the client hangs up, without effect.
    NeverAnswer,
    /// Applied; the body comes one byte per so many milliseconds.
    Drip(u64),
    /// Applied; the body is legal JSON of at least so many bytes.
    HugeBody(usize),
    /// Applied; the JSON is declared as `text/html`.
    WrongContentType,
    /// Applied and answered, then the connection is closed without having said so.
    CloseKeepAlive,
}

/// An [`Action`] and the calls it hits. Faults are tried in the order they were added; the first that matches acts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// Only this method; `None` hits all.
    #[serde(default)]
    pub method: Option<String>,
    /// Only calls with this `chat_id`.
    #[serde(default)]
    pub chat: Option<i64>,
    /// So many matching calls pass first.
    #[serde(default)]
    pub skip: u32,
    /// How many calls are hit; `None` until cleared.
    #[serde(default)]
    pub times: Option<u32>,
    /// Chance to be hit for each matching call; `None` hits each.
    #[serde(default)]
    pub chance: Option<Chance>,
    /// What happens.
    pub action: Action,
}

/// A reproducible coin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chance {
    /// 0 to 100.
    pub percent: u8,
    /// Start of the sequence; print it in the test.
    pub seed: u64,
}

impl Fault {
    /// Hits every call of every method until cleared.
    pub fn always(action: Action) -> Self {
        Self { method: None, chat: None, skip: 0, times: None, chance: None, action }
    }

    /// Hits the next call of `method`, once.
    pub fn once(method: &str, action: Action) -> Self {
        Self { method: Some(method.to_owned()), times: Some(1), ..Self::always(action) }
    }

    /// Hits every call of `method` until cleared.
    pub fn on(method: &str, action: Action) -> Self {
        Self { times: None, ..Self::once(method, action) }
    }

    /// Hits only calls with this `chat_id`.
    pub fn in_chat(self, chat: i64) -> Self {
        Self { chat: Some(chat), ..self }
    }

    /// Lets `skip` matching calls pass first.
    pub fn after(self, skip: u32) -> Self {
        Self { skip, ..self }
    }

    /// Hits `times` calls.
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Hits a matching call with a chance of `percent`, decided by `seed`.
    pub fn with_chance(self, percent: u8, seed: u64) -> Self {
        Self { chance: Some(Chance { percent, seed }), ..self }
    }
}

/// The faults in force.
#[derive(Debug, Default)]
pub(super) struct Faults {
    list: Vec<Fault>,
}

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.list.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
    }

    pub(super) fn all(&self) -> &[Fault] {
        &self.list
    }

    /// The action for this call, if any. Counts down and forgets faults that are used up.
    pub(super) fn hit(&mut self, method: &str, chat: Option<i64>) -> Option<Action> {
        let at = self.list.iter_mut().position(|fault| fault.hits(method, chat))?;
        let action = self.list[at].action.clone();
        if self.list[at].times == Some(0) {
            self.list.remove(at);
        }
        Some(action)
    }
}

impl Fault {
    fn hits(&mut self, method: &str, chat: Option<i64>) -> bool {
        let matches = self.method.as_deref().is_none_or(|wanted| wanted == method)
            && (self.chat.is_none() || self.chat == chat)
            && self.times != Some(0);
        if !matches {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if let Some(chance) = &mut self.chance
            && !chance.toss()
        {
            return false;
        }
        self.times = self.times.map(|times| times - 1);
        true
    }
}

impl Chance {
    fn toss(&mut self) -> bool {
        next_random(&mut self.seed) % 100 < u64::from(self.percent)
    }
}

/// The next number of a sequence. SplitMix64: every seed, also 0, gives a good one.
fn next_random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *seed;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Brings two or more different items into another order, always the same one for a seed.
pub(super) fn shuffle<T: PartialEq + Clone>(items: &mut [T], mut seed: u64) {
    let before = items.to_vec();
    for at in (1..items.len()).rev() {
        let other = next_random(&mut seed) % (at as u64 + 1);
        items.swap(at, usize::try_from(other).unwrap_or(0));
    }
    if before == items {
        items.rotate_left(1);
    }
}

/// The limits that the public server is known to apply, as token buckets. The vendor publishes them only as guidance
/// (<https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this>).
#[derive(Debug, Clone, PartialEq)]
pub struct RateModel {
    /// Messages per second in one private chat.
    pub private_per_s: f64,
    /// Messages at once in one private chat after a pause.
    pub private_burst: f64,
    /// Messages per minute in one group; the burst is the same number.
    pub group_per_min: f64,
    /// Messages per second of the whole bot; the burst is the same number.
    pub global_per_s: f64,
    /// Whether edits count like messages.
    pub edits_count: bool,
    /// Whether drafts count like messages.
    pub drafts_count: bool,
}

impl Default for RateModel {
    fn default() -> Self {
        Self {
            private_per_s: 1.0,
            private_burst: 3.0,
            group_per_min: 20.0,
            global_per_s: 30.0,
            edits_count: true,
            drafts_count: false,
        }
    }
}

/// Tokens that may be missing, because a client that keeps the rate exactly sees other network delays than the server.
const RATE_SLACK: f64 = 0.1;

/// A token bucket.
#[derive(Debug, Clone, Default)]
pub(super) struct Bucket {
    spent: f64,
    at: Duration,
}

impl Bucket {
    /// Takes a token, or says after how many whole seconds there is one.
    pub(super) fn take(&mut self, now: Duration, per_s: f64, burst: f64) -> Result<(), u64> {
        let refilled = now.saturating_sub(self.at).as_secs_f64() * per_s;
        self.spent = (self.spent - refilled).max(0.0);
        self.at = now;
        if self.spent + 1.0 > burst + RATE_SLACK {
            let wait = (self.spent + 1.0 - burst) / per_s;
            return Err(wait.ceil().max(1.0) as u64);
        }
        self.spent += 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skip_times_and_chat_select_the_calls() {
        let mut faults = Faults::default();
        faults.add(Fault::on("sendMessage", Action::DropBefore).in_chat(5).after(1).times(2));
        let hits: Vec<bool> =
            [("getMe", None), ("sendMessage", Some(4)), ("sendMessage", Some(5)), ("sendMessage", Some(5))]
                .into_iter()
                .chain([("sendMessage", Some(5)), ("sendMessage", Some(5))])
                .map(|(method, chat)| faults.hit(method, chat).is_some())
                .collect();
        assert_eq!(hits, [false, false, false, true, true, false]);
    }

    #[test]
    fn chance_is_reproducible_and_near_its_percentage() {
        let count = |seed| {
            let mut faults = Faults::default();
            faults.add(Fault::always(Action::DropBefore).with_chance(25, seed));
            (0..10_000).filter(|_| faults.hit("x", None).is_some()).count()
        };
        assert_eq!(count(7), count(7));
        assert!((2_300..2_700).contains(&count(7)), "{}", count(7));
    }

    #[test]
    fn faults_are_written_as_json() {
        let fault: Fault =
            serde_json::from_str(r#"{"method":"sendMessage","times":1,"action":{"rate_limit":{"retry_after":3}}}"#)
                .unwrap();
        assert_eq!(fault, Fault::once("sendMessage", Action::RateLimit { retry_after: Some(3) }));
        let fault: Fault = serde_json::from_str(r#"{"action":"never_answer"}"#).unwrap();
        assert_eq!(fault, Fault::always(Action::NeverAnswer));
    }

    #[test]
    fn a_shuffle_changes_the_order_and_is_reproducible() {
        for seed in 0..100 {
            let (mut pair, mut again, mut many) = ([1, 2], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5]);
            shuffle(&mut pair, seed);
            shuffle(&mut again, seed);
            shuffle(&mut many, seed);
            assert_eq!((pair, again), ([2, 1], many), "seed {seed}");
            assert_ne!(many, [1, 2, 3, 4, 5], "seed {seed}");
            many.sort_unstable();
            assert_eq!(many, [1, 2, 3, 4, 5], "seed {seed}");
        }
    }

    #[test]
    fn the_bucket_allows_a_burst_and_then_the_rate() {
        let mut bucket = Bucket::default();
        let mut take = |ms| bucket.take(Duration::from_millis(ms), 1.0, 3.0);
        assert_eq!([take(0), take(1), take(2), take(3)], [Ok(()), Ok(()), Ok(()), Err(1)]);
        assert_eq!([take(1_000), take(1_001), take(2_000)], [Ok(()), Err(1), Ok(())]);
    }
}
