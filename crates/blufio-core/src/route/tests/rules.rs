//! What is decided for one message, with its reasons, as the log shows it.

use super::super::*;
use super::facts::{OPUS, SONNET, Setting, shipped};
use crate::catalogue::Catalogue;
use crate::message::Usage;
use crate::money::MicroUsd;
use crate::time::Timestamp;

fn explained(text: &str, setting: &Setting) -> String {
    decide(&Features::of(text, 0, false), &setting.facts()).unwrap().explain()
}

/// `expect`: tier, effort and reasons.
fn check(text: &str, setting: &Setting, expect: &str) {
    let line = explained(text, setting);
    assert_eq!(line.split(';').next().unwrap(), expect, "{text:?}: {line}");
}

fn with(change: impl FnOnce(&mut Setting)) -> Setting {
    let mut setting = Setting::default();
    change(&mut setting);
    setting
}

#[test]
fn route_by_the_class_of_the_message() {
    let setting = Setting::default();
    check("thanks!", &setting, "haiku, low: courtesy");
    check("what's the capital of Peru?", &setting, "sonnet, low: one short ask");
    check(
        "Write a kind note to my neighbour who has looked after the cat all week",
        &setting,
        "sonnet, medium: normal",
    );
    check("No, that is wrong.", &setting, "sonnet, high: objection");
    check("- call Jens\n- book the train\n- write to Mara", &setting, "sonnet, high: several asks");
    check("fix src/main.rs", &setting, "sonnet, high: code");
    check(&"word ".repeat(50), &setting, "sonnet, high: long");
    check(&"x".repeat(1_000), &setting, "sonnet, high: long");
    let files = decide(&Features::of("ok", 1, false), &setting.facts()).unwrap();
    assert_eq!((files.model.as_str(), files.effort), (SONNET, Some(Effort::High)));
    let reply = decide(&Features::of("ok", 0, true), &setting.facts()).unwrap();
    assert_eq!((reply.model.as_str(), reply.effort), (SONNET, Some(Effort::Low)));
}

#[test]
fn route_is_explained_in_one_line() {
    assert_eq!(explained("thanks!", &Setting::default()), "haiku, low: courtesy; 2,372 µ$ against 2,840 µ$ for sonnet");
    assert_eq!(
        explained("why?", &Setting::default()),
        "sonnet, low: one short ask; 2,840 µ$ against 2,372 µ$ for haiku"
    );
}

#[test]
fn route_stays_where_leaving_could_cost_more() {
    // Five-minute entries, and a person who writes every four minutes: the next turn would find nothing.
    let soon = with(|setting| {
        (setting.ttl, setting.odds) = (Ttl::Minutes5, Odds { warm: 1_000, warm_if_read: 950, warm_if_left: 20 });
    });
    check("thanks!", &soon, "sonnet, low: courtesy, the cache could expire");
    // Nothing is warm, and nobody will come back in time.
    let cold = with(|setting| setting.odds = Odds { warm: 0, warm_if_read: 100, warm_if_left: 0 });
    check("thanks!", &cold, "haiku, low: courtesy");
    let limit = |cached| {
        with(|setting| {
            setting.tokens = Tokens { cached, new: 0, output: 60 };
            setting.odds = Odds { warm: 0, warm_if_read: 0, warm_if_left: 0 };
        })
    };
    check("thanks!", &limit(SIDE_PROMPT_TOKENS_MAX), "haiku, low: courtesy");
    check("thanks!", &limit(SIDE_PROMPT_TOKENS_MAX + 1), "sonnet, low: courtesy, the prompt is too long to leave");
}

#[test]
fn route_looks_at_what_happened_before() {
    let history = |history: History| with(|setting| setting.history = history);
    let tools = history(History { tool_rounds: 2, ..History::default() });
    check("ok", &tools, "sonnet, low: courtesy, tools lately");
    check("and Berlin?", &tools, "sonnet, medium: tools lately");
    let asked = history(History { awaits_answer: true, ..History::default() });
    check("ok", &asked, "sonnet, low: courtesy, an answer is awaited");
    let failed = history(History { failed_rounds: 1, ..History::default() });
    check("try it once more", &failed, "sonnet, high: after a failure");
}

#[test]
fn route_goes_up_on_evidence_only_and_for_good() {
    let trouble = [
        History { failed_rounds: 2, ..History::default() },
        History { refused: true, ..History::default() },
        History { rephrased: true, ..History::default() },
    ];
    for history in trouble {
        let decision = |change: fn(&mut Setting)| {
            let setting = with(|setting| {
                setting.history = history;
                change(setting);
            });
            decide(&Features::of("once more please", 0, false), &setting.facts()).unwrap()
        };
        let up = decision(|_| {});
        assert_eq!((up.model.as_str(), up.effort), (OPUS, Some(Effort::High)));
        let top = decision(|setting| setting.session = ModelId::new(OPUS));
        assert_eq!((top.model.as_str(), top.effort), (OPUS, Some(Effort::High)));
        let strict = decision(|setting| setting.chosen = Chosen::ByPerson);
        assert_eq!((strict.model.as_str(), strict.effort), (SONNET, None));
    }
}

#[test]
fn route_keeps_what_was_chosen_or_configured() {
    let strict = with(|setting| {
        (setting.chosen, setting.default_effort) = (Chosen::ByPerson, Some(Effort::XHigh));
    });
    check("thanks!", &strict, "sonnet, xhigh: courtesy, chosen by the person");
    let effort = with(|setting| setting.chosen_effort = Some(Effort::Max));
    check("thanks!", &effort, "haiku, max: courtesy");
    let configured = with(|setting| setting.default_effort = Some(Effort::XHigh));
    check("why?", &configured, "sonnet, low: one short ask");
    check("fix src/main.rs", &configured, "sonnet, xhigh: code");
    let knobless = with(|setting| setting.candidates.iter_mut().for_each(|candidate| candidate.has_effort = false));
    check("why?", &knobless, "sonnet: one short ask");
}

#[test]
fn route_needs_the_session_model_among_the_candidates() {
    let none = with(|setting| setting.candidates.clear());
    assert_eq!(decide(&Features::of("hi", 0, false), &none.facts()), None);
    let alone = with(|setting| setting.candidates.retain(|candidate| candidate.model.as_str() == SONNET));
    check("thanks!", &alone, "sonnet, low: courtesy, no cheaper model");
}

#[test]
fn route_counts_every_term() {
    let setting = with(|setting| {
        setting.tokens = Tokens { cached: 20_000, new: 300, output: 500 };
        setting.odds = Odds { warm: 1_000, warm_if_read: 900, warm_if_left: 800 };
        setting.ttl = Ttl::Minutes5;
    });
    let decision = decide(&Features::of("thanks!", 0, false), &setting.facts()).unwrap();
    let [haiku, sonnet, opus] = decision.estimates.try_into().unwrap();
    // The table of the guidance: $.0078, $.0023 without the loss, $.1115.
    assert_eq!((sonnet.cached_read, sonnet.rewrite), (MicroUsd(2_000), MicroUsd(0)));
    assert_eq!((sonnet.new_tokens, sonnet.output, sonnet.expected), (MicroUsd(750), MicroUsd(5_000), MicroUsd(7_750)));
    assert_eq!((haiku.rewrite, haiku.new_tokens, haiku.output), (MicroUsd(2_000), MicroUsd(30), MicroUsd(250)));
    // 1 % of staying; a tenth of (2.50 − 0.10) × 20,000 and nine tenths of 2.40 × 300.
    assert_eq!((haiku.retry, haiku.refresh_loss), (MicroUsd(78), MicroUsd(4_800 + 648)));
    assert_eq!(haiku.expected, MicroUsd(7_806));
    assert_eq!((opus.rewrite, opus.expected), (MicroUsd(100_000), MicroUsd(111_500)));
    // The dearer band prices the whole request.
    let (base, beyond) = (Rates::default(), Rates { input: MicroUsd(9), ..Rates::default() });
    let banded = Prices { base, beyond: Some((100, beyond)) };
    assert_eq!((banded.at(100), banded.at(101)), (&base, &beyond));
}

#[test]
fn route_odds_follow_the_gaps() {
    let check = |gaps: &[u64], idle, ttl, expect: (u16, u16, u16)| {
        let odds = Odds::from_gaps(gaps, idle, ttl);
        assert_eq!((odds.warm, odds.warm_if_read, odds.warm_if_left), expect, "{gaps:?} {idle} {ttl:?}");
    };
    check(&[], 0, Ttl::Hour1, (1_000, 676, 675));
    check(&[], 3_600, Ttl::Hour1, (0, 676, 0));
    check(&[240; 40], 240, Ttl::Minutes5, (1_000, 635, 16));
    check(&[240; 40], 240, Ttl::Hour1, (1_000, 981, 979));
    check(&[10_800; 40], 10_800, Ttl::Hour1, (0, 44, 0));
    check(&[10_800, 10, 10], 10, Ttl::Hour1, (1_000, 671, 670));
    // Only the newest count.
    let mut gaps = vec![10_800; 40];
    gaps.extend([10; GAPS_MAX]);
    check(&gaps, 10, Ttl::Hour1, (1_000, 981, 979));
}

#[test]
fn route_is_tested_with_the_shipped_prices() {
    let catalogue = Catalogue::parse(include_str!("../../../../../data/models/anthropic.toml")).unwrap();
    for candidate in shipped() {
        for prompt in [SIDE_PROMPT_TOKENS_MAX, 100_000, 100_001] {
            let rates = candidate.prices.at(prompt);
            let (input, output) = (prompt / 2, 1_000);
            let usage = Usage { input, cache_read: prompt - input, output, ..Usage::default() };
            let cost = catalogue.cost(&candidate.model, &usage, Timestamp(1_795_305_600_000)).unwrap();
            let micro = input * rates.input.0 + (prompt - input) * rates.read.0 + output * rates.output.0;
            assert_eq!(cost, MicroUsd(micro.div_ceil(1_000_000)), "{} {prompt}", candidate.tier);
        }
    }
}
