//! Things to say or to do at a given time: which times a rule gives, and what is due when some of them were missed.
//!
//! It knows numbers and no calendar: a rule is an instant, or an instant and a period. What becomes of a time that is due is
//! decided by whoever has a clock.

use crate::access::Principal;
use crate::ids::{ScheduleId, SessionKey};
use crate::limits::{
    SCHEDULE_LATE, SCHEDULE_NAME_CHARACTERS_MAX, SCHEDULE_PERIOD_MAX, SCHEDULE_PERIOD_MIN, SCHEDULE_TEXT_BYTES_MAX,
};
use crate::record::Route;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How far ahead of what its rule gives a stored time may lie before the clock that it came from counts as wrong. A clock that
/// is set back by less is waited for.
const AHEAD_MAX: Duration = Duration::from_secs(24 * 3600);

/// Something to say or to do at a given time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Its number.
    pub id: ScheduleId,
    /// Its name, the only one in its conversation.
    pub name: String,
    /// The conversation it was made in.
    pub session: SessionKey,
    /// Where it speaks. It answers no message.
    pub route: Route,
    /// On whose behalf.
    pub principal: Principal,
    /// Their id, as the channel knows it.
    pub user: Option<i64>,
    /// When.
    pub when: When,
    /// The time zone it was made in, by its IANA name; only for showing.
    pub zone: String,
    /// What.
    pub action: Action,
    /// It will be done. Exactly then there is a next time.
    pub enabled: bool,
    /// The next time.
    pub next_at: Option<Timestamp>,
    /// How many runs have failed in a row, at most [`crate::limits::SCHEDULE_FAILURES_MAX`].
    pub failures: u32,
    /// Since when it is there.
    pub created: Timestamp,
    /// Who made it, in words.
    pub made_by: String,
    /// The mark of what was seen when something was last asked about it; see [`Action::Look`].
    pub seen: Option<i64>,
}

/// A schedule to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSchedule {
    /// See [`Schedule::name`].
    pub name: String,
    /// See [`Schedule::session`].
    pub session: SessionKey,
    /// See [`Schedule::route`]; which message it answers is not kept.
    pub route: Route,
    /// See [`Schedule::principal`].
    pub principal: Principal,
    /// See [`Schedule::user`].
    pub user: Option<i64>,
    /// See [`Schedule::when`].
    pub when: When,
    /// See [`Schedule::zone`].
    pub zone: String,
    /// See [`Schedule::action`].
    pub action: Action,
    /// See [`Schedule::made_by`].
    pub made_by: String,
}

/// At what times. The serialised form is stored. A new kind is a new word in `type` and comes with a new version of the schema,
/// so that a program that does not know it refuses the file as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "rule", rename_all = "snake_case")]
pub enum When {
    /// Once.
    At(Timestamp),
    /// At `anchor`, and again and again after each period.
    Every {
        /// The period, in whole milliseconds.
        #[serde(rename = "period_ms", with = "milliseconds")]
        period: Duration,
        /// The first time.
        anchor: Timestamp,
    },
}

/// What is done. The serialised form is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "text", rename_all = "snake_case")]
pub enum Action {
    /// This text is delivered as it is; no model is called.
    Say(String),
    /// A turn of the agent begins with this text.
    Ask(String),
    /// The agent looks by itself whether something matters, and speaks only then; the text says at what. See
    /// [`crate::heartbeat`].
    Look(String),
}

impl Action {
    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Say(text) | Self::Ask(text) | Self::Look(text) => text,
        }
    }
}

/// What is to be done about a time that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The time that is run for: the newest one that has come.
    pub slot: Timestamp,
    /// How many times before it were missed; they are not made up for.
    pub skipped: u64,
    /// It is more than [`SCHEDULE_LATE`] ago.
    pub late: bool,
    /// The time after it, ahead of now.
    pub next: Option<Timestamp>,
}

/// Why a schedule is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleTrouble {
    /// The name is empty, too long, or cannot be shown in a line.
    #[error("a schedule needs a name of at most {SCHEDULE_NAME_CHARACTERS_MAX} characters in one line")]
    Name,
    /// The text is empty or too long.
    #[error("a schedule needs a text of at most {SCHEDULE_TEXT_BYTES_MAX} bytes")]
    Text,
    /// The period is too short or too long.
    #[error("the shortest period of a schedule is a minute, the longest 366 days")]
    Period,
    /// There is no time to come.
    #[error("that time has passed")]
    Past,
}

impl NewSchedule {
    /// Whether it can be taken; if so, its first time after now.
    ///
    /// # Errors
    /// Something about it is outside of the limits, or all its times have passed.
    pub fn first(&self, now: Timestamp) -> Result<Timestamp, ScheduleTrouble> {
        let one_line =
            |text: &str| text.chars().count() <= SCHEDULE_NAME_CHARACTERS_MAX && !text.chars().any(char::is_control);
        if self.name.trim().is_empty() || !one_line(&self.name) || !one_line(&self.zone) {
            return Err(ScheduleTrouble::Name);
        }
        let text = self.action.text();
        if text.trim().is_empty() || text.len() > SCHEDULE_TEXT_BYTES_MAX {
            return Err(ScheduleTrouble::Text);
        }
        if let When::Every { period, .. } = self.when
            && !(SCHEDULE_PERIOD_MIN..=SCHEDULE_PERIOD_MAX).contains(&period)
        {
            return Err(ScheduleTrouble::Period);
        }
        self.when.next_after(now).ok_or(ScheduleTrouble::Past)
    }
}

impl When {
    /// The first time strictly after `now`; none if there is none, or if it lies beyond the end of time.
    #[must_use]
    pub fn next_after(&self, now: Timestamp) -> Option<Timestamp> {
        match *self {
            Self::At(at) => (at > now).then_some(at),
            Self::Every { anchor, .. } if now < anchor => Some(anchor),
            Self::Every { period, anchor } => {
                let (period, anchor) = (wide(period), i128::from(anchor.0));
                let passed = (i128::from(now.0) - anchor) / period;
                i64::try_from(anchor + (passed + 1) * period).map_or(None, |next| Some(Timestamp(next)))
            }
        }
    }

    /// What is to be done now that `slot`, a time that this rule gave, has come. Of times that were missed only the newest one
    /// is run for. If the clock was set back behind `slot`, it is run for all the same, and nothing before it ever again.
    #[must_use]
    pub fn due(&self, slot: Timestamp, now: Timestamp) -> Due {
        let (newest, skipped) = match *self {
            Self::At(_) => (slot, 0),
            Self::Every { period, .. } => {
                let period = wide(period);
                let missed = (i128::from(now.0) - i128::from(slot.0)).max(0) / period;
                // Never beyond now or the slot itself, so it fits.
                let newest = i64::try_from(i128::from(slot.0) + missed * period).map_or(slot, Timestamp);
                (newest, u64::try_from(missed).unwrap_or(u64::MAX))
            }
        };
        Due { slot: newest, skipped, late: now.since(newest) > SCHEDULE_LATE, next: self.next_after(newest.max(now)) }
    }

    /// The time to go on with, if the stored one lies so far ahead that a wrong clock must have put it there. Without this, a
    /// clock that was years ahead for a moment would silence a schedule for years.
    #[must_use]
    pub fn pulled_back(&self, next_at: Timestamp, now: Timestamp) -> Option<Timestamp> {
        match *self {
            Self::At(_) => None,
            Self::Every { period, .. } => {
                let next = self.next_after(now)?;
                (next_at > next.plus(period).plus(AHEAD_MAX)).then_some(next)
            }
        }
    }
}

/// A period for computing. Whatever was stored, it is not nothing and no number becomes too large.
fn wide(period: Duration) -> i128 {
    let period = period.clamp(SCHEDULE_PERIOD_MIN, SCHEDULE_PERIOD_MAX).as_millis();
    i128::try_from(period).unwrap_or(i128::from(i64::MAX))
}

/// Durations as a whole number of milliseconds.
mod milliseconds {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests;
