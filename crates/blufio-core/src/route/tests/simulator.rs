//! Whole sessions against an explicit cache: never dearer than staying, at no point of the session.

use super::super::*;
use super::facts::{OPUS, SONNET, shipped};
use super::labelled::texts;

const TURNS: usize = 40;
const SEEDS: u64 = 150;
/// Tools, instructions and the first message of a session.
const STATIC_TOKENS: u64 = 2_000;

/// A day as a person writes, in seconds: bursts, a meeting, lunch, an afternoon, an evening, the night, the next morning.
#[rustfmt::skip]
const DAY: [u64; TURNS - 1] = [
    25, 40, 180, 12, 95, 2_700, 33, 61, 240, 20, 15, 5_400, 48, 130, 410, 22, 75, 9_000, 18, 30,
    55, 900, 14, 260, 1_500, 37, 44, 12_600, 29, 110, 16, 620, 52, 36_000, 21, 84, 19, 330, 27,
];

struct Random(u64);

impl Random {
    /// xorshift64*, which is never seeded with zero here.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }
}

struct Turn {
    features: Features,
    gap: u64,
    tokens: u64,
    output: u64,
    tools: bool,
}

fn session(random: &mut Random, texts: &[String], gaps: &[u64]) -> Vec<Turn> {
    let mut turns = Vec::new();
    for gap in std::iter::once(&0).chain(gaps) {
        let text = &texts[usize::try_from(random.below(texts.len() as u64)).unwrap()];
        let features = Features::of(text, 0, false);
        // Recalled memories and attachments make some turns much longer than their text.
        let tokens = text.len() as u64 / 3 + 10 + if random.below(5) == 0 { random.below(1_500) } else { 0 };
        let output = if features.courtesy { 20 + random.below(30) } else { 80 + random.below(900) };
        turns.push(Turn { features, gap: *gap, tokens, output, tools: random.below(8) == 0 });
    }
    turns
}

/// What one policy has paid after each turn, in tokens times micro-dollars per million, and its turns on another model.
struct Paid {
    after: Vec<u128>,
    aside: usize,
}

/// The cache of one model.
#[derive(Clone, Copy, Default)]
struct Cache {
    tokens: u64,
    read_at: u64,
}

fn run(turns: &[Turn], model: &str, ttl: Ttl, routed: bool) -> Paid {
    let (candidates, session) = (shipped(), ModelId::new(model));
    let (mut now, mut context, mut cache, mut gaps) = (10_000_000, STATIC_TOKENS, Cache::default(), Vec::new());
    let (mut total, mut paid) = (0_u128, Paid { after: Vec::new(), aside: 0 });
    for (at, turn) in turns.iter().enumerate() {
        now += turn.gap;
        if at > 0 {
            gaps.push(turn.gap);
        }
        let prompt = context + turn.tokens;
        let facts = Facts {
            candidates: &candidates,
            session: &session,
            chosen: Chosen::ByDefault,
            chosen_effort: None,
            default_effort: None,
            tokens: Tokens { cached: cache.tokens, new: prompt - cache.tokens, output: turn.output },
            ttl,
            odds: Odds::from_gaps(&gaps, now - cache.read_at, ttl),
            history: History { tool_rounds: u8::from(at > 0 && turns[at - 1].tools), ..History::default() },
        };
        let taken = if routed { decide(&turn.features, &facts).unwrap().model } else { session.clone() };
        let rates = candidates.iter().find(|candidate| candidate.model == taken).unwrap().prices.at(prompt);
        let cost = |tokens: u64, price: crate::money::MicroUsd| u128::from(tokens) * u128::from(price.0);
        total += cost(turn.output, rates.output);
        if taken == session {
            let warm = if now < cache.read_at + ttl.seconds() { cache.tokens } else { 0 };
            let write = if ttl == Ttl::Hour1 { rates.write_1h } else { rates.write_5m };
            total += cost(warm, rates.read) + cost(prompt - warm, write);
            cache = Cache { tokens: prompt, read_at: now };
        } else {
            paid.aside += 1;
            total += cost(prompt, rates.input);
        }
        context = prompt + turn.output;
        paid.after.push(total);
    }
    paid
}

#[test]
fn route_is_never_dearer_than_staying_on_any_schedule() {
    let texts = texts();
    let fixed = |gap| vec![gap; TURNS - 1];
    let schedules = [
        ("10 s", fixed(10)),
        ("4 min", fixed(240)),
        ("20 min", fixed(1_200)),
        ("3 h", fixed(10_800)),
        ("day", DAY.to_vec()),
    ];
    for (name, gaps) in &schedules {
        for ttl in [Ttl::Minutes5, Ttl::Hour1] {
            for model in [SONNET, OPUS] {
                let (mut saved, mut all, mut aside) = (0, 0, 0);
                for seed in 1..=SEEDS {
                    let turns = session(&mut Random(seed), &texts, gaps);
                    let (routed, stayed) = (run(&turns, model, ttl, true), run(&turns, model, ttl, false));
                    let opus = run(&turns, OPUS, ttl, false);
                    for (at, ((routed, stayed), opus)) in
                        routed.after.iter().zip(&stayed.after).zip(&opus.after).enumerate()
                    {
                        assert!(
                            routed <= stayed && routed <= opus,
                            "{name} {ttl:?} {model} seed {seed} turn {at}: {routed} against {stayed}"
                        );
                    }
                    saved += stayed.after[TURNS - 1] - routed.after[TURNS - 1];
                    all += stayed.after[TURNS - 1];
                    aside += routed.aside;
                }
                println!("{name} {ttl:?} {model}: {aside} turns aside, {} ‰ saved", saved * 1_000 / all);
            }
        }
    }
}

/// Days that nobody has seen before: a gap may fall where the odds said it would not. So a single session may lose, rarely;
/// all together save.
#[test]
fn route_saves_on_days_that_nobody_foresees() {
    let texts = texts();
    for ttl in [Ttl::Minutes5, Ttl::Hour1] {
        for model in [SONNET, OPUS] {
            let (mut routed, mut stayed, mut dearer, mut aside) = (0, 0, 0, 0);
            for seed in 1_000..1_000 + 4 * SEEDS {
                let mut random = Random(seed);
                let gaps = std::iter::repeat_with(|| match random.below(20) {
                    0..12 => 8 + random.below(170),
                    12..17 => 180 + random.below(1_000),
                    17..19 => 1_200 + random.below(9_000),
                    _ => 10_800 + random.below(36_000),
                });
                let gaps: Vec<_> = gaps.take(TURNS - 1).collect();
                let turns = session(&mut random, &texts, &gaps);
                let (with, without) = (run(&turns, model, ttl, true), run(&turns, model, ttl, false));
                dearer += u64::from(with.after.iter().zip(&without.after).any(|(with, without)| with > without));
                aside += with.aside;
                routed += with.after[TURNS - 1];
                stayed += without.after[TURNS - 1];
            }
            println!(
                "{ttl:?} {model}: {aside} turns aside, {} ‰ saved, {dearer} of {} sessions dearer at some point",
                (stayed - routed.min(stayed)) * 1_000 / stayed,
                4 * SEEDS
            );
            assert!(routed <= stayed, "{ttl:?} {model}");
            assert!(dearer * 100 <= 4 * SEEDS * 5, "{ttl:?} {model}: {dearer}");
        }
    }
}
