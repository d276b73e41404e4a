//! Which parts of a request are marked for the vendor's prompt cache, and for how long.
//!
//! A mark costs more than none when what it wrote is not read again in time. So [`Gaps`] remembers how long a session's
//! requests wait for the next one, [`choose`] compares what each lifetime may be expected to cost, and [`marks`] puts the
//! marks where the next request finds them. This file refuses to know what is in a message.

#[cfg(test)]
mod tests;

use crate::money::MicroUsd;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

/// Gaps of a session that are remembered. Full: the oldest is forgotten.
pub const GAPS_MAX: usize = 30;
/// Marks in a request, says the vendor.
pub const MARKS_MAX: usize = 4;
/// Blocks that the vendor looks back from a mark for what an earlier request wrote.
pub const LOOKBACK_BLOCKS: usize = 20;
/// Blocks between two marks of a long tool loop.
pub const MARK_EVERY_BLOCKS: usize = 15;
/// The shorter lifetime of a cache entry.
pub const FIVE_MINUTES: Duration = Duration::from_secs(5 * 60);
/// The longer one.
pub const HOUR: Duration = Duration::from_secs(60 * 60);

const _: () = assert!(MARK_EVERY_BLOCKS < LOOKBACK_BLOCKS);

/// How long a request waited for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    Short,
    Hour,
    Long,
}

impl Gap {
    fn of(gap: Duration) -> Self {
        if gap <= FIVE_MINUTES {
            Self::Short
        } else if gap <= HOUR {
            Self::Hour
        } else {
            Self::Long
        }
    }

    const fn letter(self) -> char {
        match self {
            Self::Short => 's',
            Self::Hour => 'h',
            Self::Long => 'l',
        }
    }

    const fn read(letter: char) -> Option<Self> {
        match letter {
            's' => Some(Self::Short),
            'h' => Some(Self::Hour),
            'l' => Some(Self::Long),
            _ => None,
        }
    }
}

/// The last gaps between a session's requests, at most [`GAPS_MAX`], each by its class only. Stored as one letter each, the
/// oldest first; letters that are unknown are left out when it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Gaps(VecDeque<Gap>);

impl From<String> for Gaps {
    fn from(letters: String) -> Self {
        let mut gaps = Self::default();
        letters.chars().filter_map(Gap::read).for_each(|gap| gaps.push(gap));
        gaps
    }
}

impl From<Gaps> for String {
    fn from(gaps: Gaps) -> Self {
        gaps.0.into_iter().map(Gap::letter).collect()
    }
}

/// What is believed of a kind of conversation before anything is known of a session: as if so many gaps had been (within,
/// beyond) five minutes, and so many (within, beyond) an hour. Neither pair is all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prior {
    /// Within and beyond five minutes.
    pub five: (u32, u32),
    /// Within and beyond an hour.
    pub hour: (u32, u32),
}

impl Prior {
    /// People write at once, or later today, or tomorrow.
    pub const CHAT: Self = Self { five: (1, 1), hour: (2, 1) };
    /// Scheduled turns and heartbeats: the next one comes when nothing is cached any more.
    pub const SCHEDULED: Self = Self { five: (1, 9), hour: (1, 4) };
}

/// How probable it is that the next request comes in time, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Odds {
    /// Within five minutes.
    pub five: u32,
    /// Within an hour.
    pub hour: u32,
}

impl Gaps {
    /// A request came so long after the start of the one before.
    pub fn observe(&mut self, gap: Duration) {
        self.push(Gap::of(gap));
    }

    fn push(&mut self, gap: Gap) {
        if self.0.len() >= GAPS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(gap);
    }

    /// How probable it is, in thousandths, that the next request comes within five minutes.
    #[must_use]
    pub fn p5_permille(&self, prior: &Prior) -> u32 {
        self.permille(prior.five, |gap| match gap {
            Gap::Short => true,
            Gap::Hour | Gap::Long => false,
        })
    }

    /// How probable it is, in thousandths, that the next request comes within an hour.
    #[must_use]
    pub fn p60_permille(&self, prior: &Prior) -> u32 {
        self.permille(prior.hour, |gap| match gap {
            Gap::Short | Gap::Hour => true,
            Gap::Long => false,
        })
    }

    /// Both.
    #[must_use]
    pub fn odds(&self, prior: &Prior) -> Odds {
        Odds { five: self.p5_permille(prior), hour: self.p60_permille(prior) }
    }

    fn permille(&self, (hits, misses): (u32, u32), within: impl Fn(Gap) -> bool) -> u32 {
        let count = |items: usize| u64::try_from(items).unwrap_or(u64::MAX);
        let seen = count(self.0.iter().filter(|gap| within(**gap)).count()) + u64::from(hits);
        let all = (count(self.0.len()) + u64::from(hits) + u64::from(misses)).max(1);
        u32::try_from(seen * 1_000 / all).unwrap_or(1_000)
    }
}

/// What a million tokens of a prompt cost, by what the cache does with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachePrices {
    /// Neither written nor read.
    pub input: MicroUsd,
    /// Read.
    pub read: MicroUsd,
    /// Written for five minutes.
    pub write_5m: MicroUsd,
    /// Written for an hour.
    pub write_1h: MicroUsd,
}

/// How long what is marked is kept; each longer than the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ttl {
    /// Not at all: no mark.
    #[default]
    None,
    /// Five minutes after its last use.
    FiveMinutes,
    /// An hour after its last use.
    Hour,
}

/// The lifetime with the smallest expected cost for the next request: it reads if it comes in time, and writes again if not.
/// Of equal ones the shortest. Odds above 1,000 count as certain, and within an hour is at least as probable as within five
/// minutes.
#[must_use]
pub fn choose(odds: Odds, prices: &CachePrices) -> Ttl {
    let five = odds.five.min(1_000);
    let hour = odds.hour.clamp(five, 1_000);
    let expected = |in_time: u32, write: MicroUsd| {
        u128::from(in_time) * u128::from(prices.read.0) + u128::from(1_000 - in_time) * u128::from(write.0)
    };
    let none = (1_000 * u128::from(prices.input.0), Ttl::None);
    let five = (expected(five, prices.write_5m), Ttl::FiveMinutes);
    let hour = (expected(hour, prices.write_1h), Ttl::Hour);
    none.min(five).min(hour).1
}

/// Whose a message is, as far as marks are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// A person; a turn begins.
    Person,
    /// Tools, perhaps with a person's words behind their results; the turn goes on.
    Tools,
    /// The model.
    Model,
}

/// What has to be known of a message to place marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Whose it is.
    pub speaker: Speaker,
    /// How many blocks it has.
    pub blocks: usize,
}

/// How large a request is, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Its tools and system text.
    pub frozen: u64,
    /// All of it.
    pub whole: u64,
    /// The smallest prefix that the model's vendor caches.
    pub cache_min: u64,
}

/// How long the parts of a request are to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Its tools and system text.
    pub system: Ttl,
    /// Its messages. Within a tool loop it is five minutes at least: the next request comes in seconds.
    pub messages: Ttl,
}

/// The marks of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Of the last block of the system text, or of the last tool where there is no system text.
    pub system: Ttl,
    /// Of the last blocks of these messages (from 0), in ascending order; never [`Ttl::None`].
    pub messages: Vec<(usize, Ttl)>,
}

/// Where a request is marked: on its system text, on the last message of the turn before, on the newest message, and, with
/// what is left of [`MARKS_MAX`], about every [`MARK_EVERY_BLOCKS`] between those two. Only messages of people and tools are
/// marked: each ended a request, which wrote to the cache there, and ends in a block that may be marked.
#[must_use]
pub fn marks(messages: &[Shape], size: Size, lifetimes: Lifetimes) -> Marks {
    if size.whole < size.cache_min {
        return Marks::default();
    }
    let newest = users(messages).next();
    let lifetime = match newest.map(|(_, shape)| shape.speaker) {
        Some(Speaker::Tools) => lifetimes.messages.max(Ttl::FiveMinutes),
        Some(Speaker::Person | Speaker::Model) => lifetimes.messages,
        None => Ttl::None,
    };
    let system = match lifetimes.system {
        _ if size.frozen < size.cache_min => Ttl::None,
        Ttl::None => Ttl::None,
        // A longer lifetime never stands behind a shorter one.
        Ttl::FiveMinutes | Ttl::Hour => lifetimes.system.max(lifetime),
    };
    if lifetime == Ttl::None {
        return Marks { system, messages: Vec::new() };
    }
    let room = MARKS_MAX - usize::from(system != Ttl::None);
    let mut places = places(messages, room);
    places.sort_unstable();
    Marks { system, messages: places.into_iter().map(|place| (place, lifetime)).collect() }
}

/// Messages that may be marked, the newest first.
fn users(messages: &[Shape]) -> impl Iterator<Item = (usize, &Shape)> {
    messages.iter().enumerate().rev().filter(|(_, shape)| match shape.speaker {
        Speaker::Person | Speaker::Tools => true,
        Speaker::Model => false,
    })
}

/// At most `room` messages to mark, which is at least two.
fn places(messages: &[Shape], room: usize) -> Vec<usize> {
    let Some((newest, _)) = users(messages).next() else { return Vec::new() };
    let began = users(messages).find(|(_, shape)| shape.speaker == Speaker::Person).map_or(0, |(place, _)| place);
    let tail = users(messages).map(|(place, _)| place).find(|place| *place < began);
    let mut places = vec![newest];
    places.extend(tail);
    let mut distance = 0;
    for (place, shape) in
        messages.iter().enumerate().rev().take_while(|(place, _)| tail.is_none_or(|tail| *place > tail))
    {
        if shape.speaker != Speaker::Model && distance >= MARK_EVERY_BLOCKS && places.len() < room {
            places.push(place);
            distance = 0;
        }
        distance += shape.blocks;
    }
    places
}
