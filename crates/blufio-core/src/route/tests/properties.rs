//! What holds for any facts.

use super::super::*;
use super::facts::Setting;
use crate::money::MicroUsd;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};
use proptest::{prop_assert, prop_assert_eq, test_runner::Config};

fn amount() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..100_000_000_u64, 1 => any::<u64>()]
}

fn tokens() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..200_000_u64, 1 => any::<u64>()]
}

fn rates() -> impl Strategy<Value = Rates> {
    prop::array::uniform5(amount().prop_map(MicroUsd)).prop_map(|[input, read, write_5m, write_1h, output]| Rates {
        input,
        read,
        write_5m,
        write_1h,
        output,
    })
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let prices = (rates(), option::of((tokens(), rates()))).prop_map(|(base, beyond)| Prices { base, beyond });
    let candidate = (0..5_u8, any::<bool>(), prices).prop_map(|(id, has_effort, prices)| Candidate {
        model: ModelId::new(format!("m{id}")),
        tier: format!("t{id}"),
        has_effort,
        prices,
    });
    let each_once = prop::collection::vec(candidate, 0..5).prop_map(|mut candidates| {
        candidates.sort_by(|one: &Candidate, other| one.model.cmp(&other.model));
        candidates.dedup_by(|one, other| one.model == other.model);
        candidates
    });
    prop_oneof![1 => each_once, 1 => Just(super::facts::shipped())]
}

fn setting() -> impl Strategy<Value = Setting> {
    let effort = || option::of(prop_oneof![Just(Effort::Low), Just(Effort::High), Just(Effort::Max)]);
    let history =
        (0..3_u8, 0..4_u8, prop::array::uniform3(prop::bool::weighted(0.1))).prop_map(|(tools, failed, flags)| {
            let [refused, rephrased, awaits_answer] = flags;
            History { tool_rounds: tools / 2, failed_rounds: failed / 2, refused, rephrased, awaits_answer }
        });
    let odds = (0..1_100_u16, 0..1_100_u16, 0..1_100_u16);
    let odds = odds.prop_map(|(warm, warm_if_read, warm_if_left)| Odds { warm, warm_if_read, warm_if_left });
    let chosen = prop_oneof![Just(Chosen::ByPerson), Just(Chosen::ByDefault)];
    let sizes = (tokens(), tokens(), tokens()).prop_map(|(cached, new, output)| Tokens { cached, new, output });
    let ttl = prop_oneof![Just(Ttl::Minutes5), Just(Ttl::Hour1)];
    (candidates(), any::<prop::sample::Index>(), chosen, (effort(), effort()), sizes, ttl, odds, history).prop_map(
        |(candidates, session, chosen, (chosen_effort, default_effort), tokens, ttl, odds, history)| Setting {
            session: if candidates.is_empty() { ModelId::new("m0") } else { session.get(&candidates).model.clone() },
            candidates,
            chosen,
            chosen_effort,
            default_effort,
            tokens,
            ttl,
            odds,
            history,
        },
    )
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just("thanks!".to_owned()), Just("ok".to_owned()), "\\PC{0,60}", "[a-z0-9?!€%/.{}()\n -]{0,200}"]
}

proptest! {
    #![proptest_config(Config { cases: 4_000, failure_persistence: None, ..Config::default() })]

    #[test]
    fn route_never_picks_what_is_not_offered_nor_what_is_dearer(
        setting in setting(), text in text(), attachments in 0..2_usize, quotes in any::<bool>(),
    ) {
        let features = Features::of(&text, attachments, quotes);
        let Some(decision) = decide(&features, &setting.facts()) else {
            prop_assert!(setting.candidates.is_empty());
            return Ok(());
        };
        prop_assert!(setting.candidates.iter().any(|candidate| candidate.model == decision.model));
        prop_assert!(!decision.explain().is_empty() && !decision.explain().contains('\n'));
        let expected = |model: &ModelId| {
            decision.estimates.iter().find(|estimate| estimate.model == *model).map(|estimate| estimate.expected)
        };
        let stays = decision.model == setting.session;
        // Only evidence makes a turn dearer, and only a courtesy leaves the session's model otherwise.
        prop_assert!(expected(&decision.model) <= expected(&setting.session) || decision.class == Class::Trouble);
        prop_assert!(stays || matches!(decision.class, Class::Small | Class::Trouble));
        prop_assert!(stays || setting.chosen == Chosen::ByDefault);
        if let (Some(chosen), Some(effort)) = (setting.chosen_effort, decision.effort) {
            prop_assert_eq!(chosen, effort);
        }
    }

    #[test]
    fn route_odds_are_odds(
        gaps in prop::collection::vec(amount(), 0..50), idle in amount(), hour in any::<bool>(),
    ) {
        let odds = Odds::from_gaps(&gaps, idle, if hour { Ttl::Hour1 } else { Ttl::Minutes5 });
        prop_assert!(odds.warm <= 1_000 && odds.warm_if_read <= 1_000);
        prop_assert!(odds.warm_if_left <= odds.warm && odds.warm_if_left <= odds.warm_if_read);
    }
}
