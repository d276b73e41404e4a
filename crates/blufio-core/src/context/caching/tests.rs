//! Tests of lifetimes and marks.
#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

const CHAT: Prior = Prior::CHAT;

/// Dollars per million of a model with an input price of $2 and reads at so many hundredths of it.
fn prices(read_hundredths: u64) -> CachePrices {
    CachePrices {
        input: MicroUsd(2_000_000),
        read: MicroUsd(20_000 * read_hundredths),
        write_5m: MicroUsd(2_500_000),
        write_1h: MicroUsd(4_000_000),
    }
}

fn chosen(read_hundredths: u64, five: u32, hour: u32) -> Ttl {
    choose(Odds { five, hour }, &prices(read_hundredths))
}

#[test]
fn the_cheapest_lifetime_is_chosen() {
    // none 1.00, 5m .3 × .05 + .7 × 1.25 = .89, 1h .8 × .05 + .2 × 2 = .44
    assert_eq!(chosen(5, 300, 800), Ttl::Hour);
    // 5m .9 × .05 + .1 × 1.25 = .17, 1h .95 × .05 + .05 × 2 = .1475
    assert_eq!(chosen(5, 900, 950), Ttl::Hour);
    // 1h .92 × .05 + .08 × 2 = .206
    assert_eq!(chosen(5, 900, 920), Ttl::FiveMinutes);
    assert_eq!(chosen(5, 1_000, 1_000), Ttl::FiveMinutes);
    assert_eq!(chosen(5, 0, 0), Ttl::None);
    // 1h beats 5m if p60 × 1.95 − p5 × 1.2 > .75: .6 × 1.2 = .72, so from 1.47 / 1.95 = .7538… on
    assert_eq!([chosen(5, 600, 753), chosen(5, 600, 754)], [Ttl::FiveMinutes, Ttl::Hour]);
}

#[test]
fn a_mark_pays_from_the_threshold_on() {
    // 0.25 / (1.25 − r) = .2083… and .2174…
    assert_eq!([chosen(5, 208, 208), chosen(5, 209, 209)], [Ttl::None, Ttl::FiveMinutes]);
    assert_eq!([chosen(10, 217, 217), chosen(10, 218, 218)], [Ttl::None, Ttl::FiveMinutes]);
    // 1 / (2 − r) = .5128… and .5263…
    assert_eq!([chosen(5, 0, 512), chosen(5, 0, 513)], [Ttl::None, Ttl::Hour]);
    assert_eq!([chosen(10, 0, 526), chosen(10, 0, 527)], [Ttl::None, Ttl::Hour]);
}

#[test]
fn prices_need_not_be_multiples_and_equal_costs_choose_the_shortest() {
    let prices = |write_5m, write_1h| CachePrices {
        input: MicroUsd(1_000),
        read: MicroUsd(0),
        write_5m: MicroUsd(write_5m),
        write_1h: MicroUsd(write_1h),
    };
    let even = Odds { five: 500, hour: 500 };
    // 500 × 2,000 is what 1,000 tokens cost at 1,000.
    assert_eq!(choose(even, &prices(2_000, 2_000)), Ttl::None);
    assert_eq!(choose(even, &prices(1_999, 1_999)), Ttl::FiveMinutes);
    assert_eq!(choose(even, &prices(1_999, 1_998)), Ttl::Hour);
    assert_eq!(choose(Odds { five: 9_999, hour: 0 }, &prices(5_000, 5_001)), Ttl::FiveMinutes);
    let dear = MicroUsd(u64::MAX);
    let dear = CachePrices { input: dear, read: dear, write_5m: dear, write_1h: dear };
    assert_eq!(choose(even, &dear), Ttl::None);
}

#[test]
fn gaps_are_counted_by_class_and_forgotten() {
    let mut gaps = Gaps::default();
    assert_eq!(gaps.odds(&CHAT), Odds { five: 500, hour: 666 });
    assert_eq!(gaps.odds(&Prior::SCHEDULED), Odds { five: 100, hour: 200 });
    let millis = Duration::from_millis(1);
    for gap in [Duration::ZERO, FIVE_MINUTES, FIVE_MINUTES + millis, HOUR, HOUR + millis, Duration::MAX] {
        gaps.observe(gap);
    }
    // (2 + 1) / (6 + 2) and (4 + 2) / (6 + 3)
    assert_eq!([gaps.p5_permille(&CHAT), gaps.p60_permille(&CHAT)], [375, 666]);
    assert_eq!(serde_json::to_string(&gaps).unwrap(), r#""sshhll""#);
    for _ in 0..GAPS_MAX {
        gaps.observe(FIVE_MINUTES);
    }
    // All others have left: 31 / 32 and 32 / 33.
    assert_eq!([gaps.p5_permille(&CHAT), gaps.p60_permille(&CHAT)], [968, 969]);
    assert_eq!(gaps.p5_permille(&Prior { five: (0, 0), hour: (0, 0) }), 1_000);
    assert_eq!(Gaps::default().p5_permille(&Prior { five: (0, 0), hour: (0, 0) }), 0);
}

#[test]
fn stored_gaps_are_read_whatever_they_are() {
    let gaps: Gaps = serde_json::from_str(r#""s?hxl""#).unwrap();
    assert_eq!(serde_json::to_string(&gaps).unwrap(), r#""shl""#);
    let long = format!("\"l{}\"", "s".repeat(GAPS_MAX));
    let gaps: Gaps = serde_json::from_str(&long).unwrap();
    assert_eq!(String::from(gaps), "s".repeat(GAPS_MAX));
}

#[test]
fn priors_choose_what_suits_their_kind() {
    let first = |prior| choose(Gaps::default().odds(&prior), &prices(5));
    assert_eq!(first(Prior::CHAT), Ttl::FiveMinutes);
    assert_eq!(first(Prior::SCHEDULED), Ttl::None);
    let after = |gap| {
        let mut gaps = Gaps::default();
        (0..10).for_each(|_| gaps.observe(gap));
        choose(gaps.odds(&Prior::CHAT), &prices(5))
    };
    assert_eq!(after(Duration::from_secs(10)), Ttl::FiveMinutes);
    assert_eq!(after(Duration::from_secs(20 * 60)), Ttl::Hour);
    assert_eq!(after(Duration::from_secs(3 * 3600)), Ttl::None);
}

const BIG: Size = Size { frozen: 2_000, whole: 5_000, cache_min: 512 };
const HOURS: Lifetimes = Lifetimes { system: Ttl::Hour, messages: Ttl::Hour };
const MINUTES: Lifetimes = Lifetimes { system: Ttl::Hour, messages: Ttl::FiveMinutes };

/// `P` a person, `T` tools, `M` the model, each with one block, or as many as the digit behind it says.
fn shapes(text: &str) -> Vec<Shape> {
    let mut shapes: Vec<Shape> = Vec::new();
    for letter in text.chars() {
        let speaker = match letter {
            'P' => Speaker::Person,
            'T' => Speaker::Tools,
            'M' => Speaker::Model,
            digit => {
                shapes.last_mut().unwrap().blocks = usize::try_from(digit.to_digit(10).unwrap()).unwrap();
                continue;
            }
        };
        shapes.push(Shape { speaker, blocks: 1 });
    }
    shapes
}

#[track_caller]
fn check(text: &str, lifetimes: Lifetimes, system: Ttl, places: &[usize], lifetime: Ttl) {
    let expected = Marks { system, messages: places.iter().map(|place| (*place, lifetime)).collect() };
    assert_eq!(marks(&shapes(text), BIG, lifetimes), expected, "{text}");
}

#[test]
fn the_system_text_the_turn_before_and_the_newest_message_are_marked() {
    check("P", MINUTES, Ttl::Hour, &[0], Ttl::FiveMinutes);
    check("PMP", MINUTES, Ttl::Hour, &[0, 2], Ttl::FiveMinutes);
    check("PMTMP", HOURS, Ttl::Hour, &[2, 4], Ttl::Hour);
    // In a loop the turn before is still the one before the person's words.
    check("PMTMPMTMT", HOURS, Ttl::Hour, &[2, 8], Ttl::Hour);
    check("PMTMPMTMTMP", HOURS, Ttl::Hour, &[8, 10], Ttl::Hour);
    // A vendor that paused goes on from its own words.
    check("PMPM", MINUTES, Ttl::Hour, &[0, 2], Ttl::FiveMinutes);
    check("", HOURS, Ttl::Hour, &[], Ttl::Hour);
}

#[test]
fn a_long_loop_has_a_mark_in_between() {
    // 3 + 2 blocks a round: the third user message before the newest is the first with 15 blocks behind it.
    check("PMPM3T2M3T2M3T2M3T2", MINUTES, Ttl::Hour, &[0, 4, 10], Ttl::FiveMinutes);
    // One round of 18 blocks: the request before ended in the message that is marked.
    check("PMPM3T2M9T9", MINUTES, Ttl::Hour, &[0, 4, 6], Ttl::FiveMinutes);
    // Without one on the system text there is one more.
    let bare = Lifetimes { system: Ttl::None, messages: Ttl::FiveMinutes };
    check("PMPM9T9M9T9M9T9", bare, Ttl::None, &[0, 4, 6, 8], Ttl::FiveMinutes);
}

#[test]
fn a_longer_lifetime_never_follows_a_shorter_one() {
    let raised = Lifetimes { system: Ttl::FiveMinutes, messages: Ttl::Hour };
    check("PMP", raised, Ttl::Hour, &[0, 2], Ttl::Hour);
    check("PMT", raised, Ttl::Hour, &[2], Ttl::Hour);
}

#[test]
fn what_is_not_worth_it_is_not_marked() {
    let none = Lifetimes { system: Ttl::Hour, messages: Ttl::None };
    check("PMP", none, Ttl::Hour, &[], Ttl::Hour);
    // Within a loop the next request is sure to come.
    check("PMPMT", none, Ttl::Hour, &[0, 4], Ttl::FiveMinutes);
    let shapes = shapes("PMP");
    let small = Size { frozen: 300, whole: 511, cache_min: 512 };
    assert_eq!(marks(&shapes, small, HOURS), Marks::default());
    let grown = Size { whole: 512, ..small };
    let expected = Marks { system: Ttl::None, messages: vec![(0, Ttl::Hour), (2, Ttl::Hour)] };
    assert_eq!(marks(&shapes, grown, HOURS), expected);
}

/// What the model said in each round, in blocks, and what followed it.
fn rounds() -> impl Strategy<Value = Vec<(usize, Speaker, usize)>> {
    let speaker = prop_oneof![1 => Just(Speaker::Person), 3 => Just(Speaker::Tools)];
    prop::collection::vec((1_usize..30, speaker, 1_usize..30), 0..40)
}

fn lifetime() -> impl Strategy<Value = Ttl> {
    prop_oneof![Just(Ttl::None), Just(Ttl::FiveMinutes), Just(Ttl::Hour)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn marks_are_legal_and_the_next_request_finds_them(
        rounds in rounds(), system in lifetime(), messages in lifetime(), frozen in 0_u64..1_000,
    ) {
        let (size, lifetimes) = (Size { frozen, ..BIG }, Lifetimes { system, messages });
        let mut shapes = vec![Shape { speaker: Speaker::Person, blocks: 1 }];
        let mut before = marks(&shapes, size, lifetimes);
        for (said, speaker, blocks) in rounds {
            shapes.push(Shape { speaker: Speaker::Model, blocks: said });
            shapes.push(Shape { speaker, blocks });
            let now = marks(&shapes, size, lifetimes);
            let order: Vec<Ttl> = std::iter::once(now.system).filter(|ttl| *ttl != Ttl::None)
                .chain(now.messages.iter().map(|(_, ttl)| *ttl)).collect();
            prop_assert!(order.len() <= MARKS_MAX);
            prop_assert!(order.iter().all(|ttl| *ttl != Ttl::None));
            prop_assert!(order.is_sorted_by(|a, b| a >= b), "{order:?}");
            prop_assert!(now.messages.is_sorted_by(|a, b| a.0 < b.0), "{now:?}");
            prop_assert!(now.messages.iter().all(|(place, _)| shapes[*place].speaker != Speaker::Model));
            let after = |old: usize, new: usize| -> usize {
                shapes.get(old + 1..=new).unwrap_or_default().iter().map(|shape| shape.blocks).sum()
            };
            let found = before.messages.iter().any(|(old, _)| {
                now.messages.iter().any(|(new, _)| old <= new && after(*old, *new) <= LOOKBACK_BLOCKS)
            });
            prop_assert!(found || before.messages.is_empty() || now.messages.is_empty(), "{before:?} {now:?}");
            // What costs most to write again is the end of the request before: it is among what is found.
            let last = before.messages.last().map(|(old, _)| *old);
            let last_found = last.is_none_or(|old| {
                now.messages.iter().any(|(new, _)| old <= *new && after(old, *new) <= LOOKBACK_BLOCKS)
            });
            prop_assert!(last_found || now.messages.is_empty(), "{before:?} {now:?}");
            before = now;
        }
    }

    #[test]
    fn no_other_lifetime_is_cheaper(
        five in 0_u32..=1_000, more in 0_u32..=1_000, input in 1_u64..10_000, read in 0_u64..10_000,
        write_5m in 0_u64..30_000, write_1h in 0_u64..30_000,
    ) {
        let hour = (five + more).min(1_000);
        let prices = CachePrices {
            input: MicroUsd(input), read: MicroUsd(read), write_5m: MicroUsd(write_5m), write_1h: MicroUsd(write_1h),
        };
        let cost = |ttl| match ttl {
            Ttl::None => 1_000 * input,
            Ttl::FiveMinutes => u64::from(five) * read + u64::from(1_000 - five) * write_5m,
            Ttl::Hour => u64::from(hour) * read + u64::from(1_000 - hour) * write_1h,
        };
        let chosen = choose(Odds { five, hour }, &prices);
        for other in [Ttl::None, Ttl::FiveMinutes, Ttl::Hour] {
            prop_assert!(cost(chosen) < cost(other) || (cost(chosen) == cost(other) && chosen <= other));
        }
    }

    #[test]
    fn gaps_survive_storage(seconds in prop::collection::vec(0_u64..10_000, 0..50)) {
        let mut gaps = Gaps::default();
        seconds.iter().for_each(|seconds| gaps.observe(Duration::from_secs(*seconds)));
        let stored = serde_json::to_string(&gaps).unwrap();
        prop_assert!(stored.len() <= GAPS_MAX + 2);
        prop_assert_eq!(serde_json::from_str::<Gaps>(&stored).unwrap(), gaps.clone());
        let odds = gaps.odds(&CHAT);
        prop_assert!(odds.five <= 1_000 && odds.hour <= 1_000);
    }
}
