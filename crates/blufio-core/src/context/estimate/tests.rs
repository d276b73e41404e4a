//! Tests of the estimate: by hand, as properties, and against a counter that plays the vendor.
#![allow(clippy::unwrap_used)]

mod simulation;

use super::*;
use proptest::prelude::*;
use serde_json::json;
use std::time::{Duration, Instant};

const NEWER: Tokenizer = Tokenizer::Newer;
const OLDER: Tokenizer = Tokenizer::Older;

#[track_caller]
fn check(sample: &str, milli: u64) {
    assert_eq!(text(sample, NEWER), Milli(milli), "{sample:?}");
}

#[test]
fn each_class_has_its_characters_per_token() {
    check("", 0);
    // 32 characters at 3.2, spaces included.
    check("thirty two characters of a prose", 10_000);
    // A dot and a comma cost what they cost in code: 9 × .3125 + 2 × .384616
    check("one, and t.", 3_582);
    // 7 × .384616: a word with punctuation inside, in camel case, in capitals, with an underscore.
    for code in ["foo.bar", "fooBars", "ABCDEFG", "foo_bar", "a=b+c/d", "foo(&a)"] {
        check(code, 2_693);
    }
    // Not these: 6 × .3125, or with one sign 5 × .3125 + .384616
    check("foobar", 1_875);
    check("Foobar", 1_875);
    for prose in ["don't", "(fool", "fool:", "co-op"] {
        check(prose, 1_635);
    }
    // 6 digits at 2.0; with letters, those are code: 3 × .5 + 3 × .384616
    check("123456", 3_000);
    check("123abc", 2_654);
    // A hash of 40 at 2.0, and letters that are no word.
    check("da39a3ee5e6b4b0d3255bfef95601890afd80709", 20_000);
    check(&"x".repeat(40), 20_000);
    check(&"x".repeat(31), 9_688);
}

#[test]
fn other_scripts_cost_more() {
    // 6 × .384616, then a space and the next word as well: 6 + 1 + 4.
    check("Brühen", 2_308);
    check("Brühen sind", 4_231);
    // 6 at 1.9; 4 at 0.9; one at 0.6.
    check("Привет", 3_158);
    check("東京都庁", 4_445);
    check("한국", 2_223);
    check("🙂", 1_667);
    // One curly quote in an English word.
    check("don’t", 1_777);
    // The reach of an accent ends: ten words of seven letters begin within 64 characters of it, the eleventh does not. The
    // accent, its space and those words with theirs cost .384616 each, 82 in all; then one letter .3125.
    let within = format!("é {}", "abcdefg ".repeat(10));
    check(&within, 31_539);
    check(&format!("{within}z"), 31_852);
}

#[test]
fn white_space_is_cheap() {
    // A space and six of indentation: 2 letters and one space at 3.2, six spaces at 6.
    check("a       b", 1_938);
    check(&" ".repeat(7), 1_313);
    check("\n\n\n\n", 813);
}

#[test]
fn code_is_code_and_the_older_tokenizer_makes_fewer_tokens() {
    let sample = "make the value";
    // 14 × .3125, 14 × .384616, 14 / 4.48, 14 / 3.12
    assert_eq!([text(sample, NEWER), code(sample, NEWER)], [Milli(4_375), Milli(5_385)]);
    assert_eq!([text(sample, OLDER), code(sample, OLDER)], [Milli(3_126), Milli(4_488)]);
    assert_eq!([text("東京", OLDER), text("12", OLDER)], [Milli(2_223), Milli(1_000)]);
}

fn of_message(value: &serde_json::Value) -> Milli {
    message(value.to_string().as_bytes(), NEWER)
}

#[test]
fn a_message_is_its_frames_and_its_strings() {
    let blocks = |content: serde_json::Value| of_message(&json!({"role": "user", "content": content}));
    assert_eq!(blocks(json!([])), Milli(8_000));
    assert_eq!(blocks(json!([{"type": "text", "text": "foobar"}])), Milli(12_000 + 1_875));
    // An escaped line break is one.
    assert_eq!(blocks(json!([{"type": "text", "text": "foo\nbar"}])), Milli(12_000 + 2_188));
    assert_eq!(blocks(json!("foobar")), Milli(12_000 + 1_875));
    // The mark of a file is no text, and no base64 is.
    let long = "A1b2".repeat(10_000);
    for data in ["blufio-attachment:00:5", long.as_str()] {
        let source = json!({"type": "base64", "media_type": "image/png", "data": data});
        assert_eq!(blocks(json!([{"type": "image", "source": source}])), Milli(12_000));
    }
    let source = json!({"type": "text", "media_type": "text/plain", "data": "foobar"});
    assert_eq!(blocks(json!([{"type": "document", "source": source, "title": "foobar"}])), Milli(12_000 + 3_750));
    // What only the vendor understands: 100 at 2.0.
    let opaque = "Qz".repeat(50);
    assert_eq!(
        blocks(json!([{"type": "thinking", "thinking": "", "signature": opaque}])),
        blocks(json!([{"type": "redacted_thinking", "data": opaque}])),
    );
    assert_eq!(blocks(json!([{"type": "redacted_thinking", "data": opaque}])), Milli(62_000));
    // A result's own blocks have frames, too.
    let result = json!({"type": "tool_result", "tool_use_id": "ab", "content": [{"type": "text", "text": "foobar"}]});
    assert_eq!(blocks(json!([result])), Milli(16_000 + 1_875 + 625));
}

#[test]
fn tool_calls_are_code() {
    let call = |input: serde_json::Value| {
        of_message(
            &json!({"role": "assistant", "content": [{"type": "tool_use", "id": "", "name": "", "input": input}]}),
        )
    };
    // {} and a comma; a name with its quotes and colon; quotes and a comma; six letters: 3, 3 + 1, 3 + 6 at 2.6.
    assert_eq!(call(json!({})), Milli(12_000 + 1_154));
    assert_eq!(call(json!({"a": "foobar"})), Milli(12_000 + 1_154 + 1_154 + 385 + 1_154 + 2_308));
    assert!(call(json!({"a": [1, true, null, {"b": 2.5}]})) > call(json!({"a": [1, true, null]})));
}

#[test]
fn tools_and_system_text_have_their_frames() {
    let tool = |text: &str| {
        let tools = json!([{"name": "now", "description": text, "input_schema": {"type": "object"}}]);
        tools_of(&tools)
    };
    assert_eq!(tools(b"[]", NEWER), Milli(0));
    assert!(tool("") > Milli(350_000));
    assert_eq!(tool("foobar").0 - tool("").0, 1_875);
    assert_eq!(system(b"[]", NEWER), Milli(0));
    assert_eq!(system(br#"[{"type":"text","text":"foobar"}]"#, NEWER), Milli(5_875));
}

fn tools_of(value: &serde_json::Value) -> Milli {
    tools(value.to_string().as_bytes(), NEWER)
}

#[test]
fn anything_is_counted() {
    let deep = "[".repeat(100_000);
    for wire in [&b""[..], b"{", b"\xff\xfe", b"null", b"7", b"[1,\"a\"]", b"{\"content\":7}", deep.as_bytes()] {
        assert!(message(wire, NEWER) >= Milli(8_000));
        assert!(system(wire, NEWER) <= Milli(100_000_000) && tools(wire, NEWER) <= Milli(100_000_000));
    }
    assert_eq!(message(b"foobar", NEWER), Milli(9_875));
    assert!(message(deep.as_bytes(), NEWER) > Milli(8_000 + 38_000_000));
}

#[test]
fn a_ratio_approaches_what_is_counted_and_stays_in_its_bounds() {
    let mut ratio = Ratio::default();
    ratio.observe(Milli(100_000), 150);
    // 1,000 + (1,500 − 1,000) / 10, and again (1,500 − 1,050) / 10.
    assert_eq!(u32::from(ratio), 1_050);
    ratio.observe(Milli(100_000), 150);
    assert_eq!(u32::from(ratio), 1_095);
    assert_eq!(ratio.apply(Milli(1_000_001)), Milli(1_095_002));
    for (actual, end) in [(150, 1_496..=1_500), (1_000_000, 1_996..=2_000), (0, 500..=504), (100, 996..=1_000)] {
        (0..200).for_each(|_| ratio.observe(Milli(100_000), actual));
        assert!(end.contains(&u32::from(ratio)), "{actual}: {ratio:?}");
    }
    let before = ratio;
    ratio.observe(Milli(15_999), 1_000);
    ratio.observe(Milli(0), 1_000);
    assert_eq!(ratio, before);
    assert_eq!(serde_json::from_str::<Ratio>("7").unwrap(), Ratio::from(500));
    assert_eq!(Ratio::from(2_000).apply(Milli(u64::MAX)), Milli(u64::MAX));
}

#[test]
fn ratios_are_kept_of_the_models_observed_last() {
    let model = |number: usize| ModelId::new(format!("model-{number}"));
    let mut ratios = Ratios::default();
    for number in 0..RATIO_MODELS_MAX {
        ratios.observe(&model(number), Kind::Chat, Milli(100_000), 150);
    }
    ratios.observe(&model(0), Kind::Tool, Milli(100_000), 50);
    ratios.observe(&model(99), Kind::Static, Milli(100_000), 200);
    let got = |number, kind| u32::from(ratios.get(&model(number), kind));
    assert_eq!([got(0, Kind::Chat), got(0, Kind::Tool), got(0, Kind::Static)], [1_050, 950, 1_000]);
    assert_eq!([got(99, Kind::Static), got(1, Kind::Chat), got(2, Kind::Chat)], [1_100, 1_000, 1_050]);
    let stored = serde_json::to_string(&ratios).unwrap();
    assert!(stored.ends_with(r#"{"model":"model-99","static":1100,"chat":1000,"tool":1000}]"#), "{stored}");
    assert_eq!(serde_json::from_str::<Ratios>(&stored).unwrap(), ratios);
    let rows: Vec<_> = (0..100).map(|number| json!({"model": format!("model-{number}")})).collect();
    let read: Ratios = serde_json::from_value(json!(rows)).unwrap();
    assert_eq!(read.0.len(), RATIO_MODELS_MAX);
    assert_eq!(read.0.last().unwrap().model, model(99));
}

#[test]
fn a_meter_takes_what_was_counted_and_estimates_the_rest() {
    let (one, two) = (EpochNumber(1), EpochNumber(2));
    let (sonnet, haiku) = (ModelId::new("sonnet"), ModelId::new("haiku"));
    let mut meter = Meter::default();
    let estimate = |meter: &Meter, epoch, model: &ModelId, messages: usize| {
        meter.estimate(epoch, model, &vec![Milli(10_500); messages], || Milli(1_000_000), |milli| *milli)
    };
    // 1,000 + 10.5, rounded up.
    assert_eq!(estimate(&meter, one, &sonnet, 1), 1_011);
    let usage = |input, output| Usage { input, cache_read: 1_000, output, ..Usage::default() };
    assert_eq!(meter.settled(one, &sonnet, 1, &usage(200, 50)), Some(Fresh::Whole { tokens: 1_200 }));
    // 1,200 + 50 and one message more than the request and its answer.
    assert_eq!(estimate(&meter, one, &sonnet, 3), 1_261);
    assert_eq!(estimate(&meter, one, &sonnet, 2), 1_250);
    // Another epoch, another model, a shorter conversation: all from the start.
    assert_eq!(estimate(&meter, two, &sonnet, 3), 1_032);
    assert_eq!(estimate(&meter, one, &haiku, 3), 1_032);
    assert_eq!(estimate(&meter, one, &sonnet, 1), 1_011);
    // Of the next request 30 tokens are new, in the message number 2.
    let fresh = meter.settled(one, &sonnet, 3, &usage(280, 10));
    assert_eq!(fresh, Some(Fresh::Since { message: 2, tokens: 30 }));
    assert_eq!(meter.settled(one, &sonnet, 4, &usage(290, 10)), None);
    // A turn of another model in between changes nothing.
    assert_eq!(meter.settled(one, &haiku, 5, &usage(500, 10)), Some(Fresh::Whole { tokens: 1_500 }));
    assert_eq!(estimate(&meter, one, &sonnet, 5), 1_300);
    assert_eq!(estimate(&meter, one, &haiku, 6), 1_510);
    // No figures, no knowledge.
    assert_eq!(meter.settled(one, &sonnet, 9, &Usage::default()), None);
    assert_eq!(estimate(&meter, one, &sonnet, 5), 1_300);
    let stored = serde_json::to_string(&meter).unwrap();
    assert_eq!(serde_json::from_str::<Meter>(&stored).unwrap(), meter);
    // A new epoch forgets all.
    meter.settled(two, &haiku, 1, &usage(0, 0));
    assert_eq!(estimate(&meter, one, &sonnet, 5), 1_053);
}

/// Pieces of all classes, so that words grow together in every way.
fn any_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-zA-Z]{1,12}",
        "[0-9a-f]{1,20}",
        "[ \n\t]{1,5}",
        "[-.,;:!?'\"()\\[\\]{}<>=&|/_`~^@$#%+*\\\\]{1,4}",
        "[äöüßéñçŁż]{1,3}",
        "[а-яα-ωא-ת]{1,5}",
        "[一-龥ぁ-ん가-힣]{1,5}",
        "[🙂👍🏽\u{200d}\u{fe0f}\u{1f3f3}]{1,2}",
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_longer_text_never_costs_less(a in any_text(), tokenizer in prop_oneof![Just(NEWER), Just(OLDER)]) {
        let cuts = || a.char_indices().map(|(at, _)| at).chain([a.len()]);
        for count in [text, code] {
            // Character by character, grown at its end and at its beginning.
            let heads: Vec<Milli> = cuts().map(|cut| count(&a[..cut], tokenizer)).collect();
            prop_assert!(heads.is_sorted(), "{a:?}: {heads:?}");
            let tails: Vec<Milli> = cuts().map(|cut| count(&a[cut..], tokenizer)).collect();
            prop_assert!(tails.is_sorted_by(|longer, shorter| longer >= shorter), "{a:?}: {tails:?}");
        }
    }

    #[test]
    fn no_text_is_free_and_none_costs_more_than_its_bytes(a in any_text()) {
        for tokenizer in [NEWER, OLDER] {
            prop_assert_eq!(text(&a, tokenizer) == Milli(0), a.is_empty());
            prop_assert!(text(&a, tokenizer).tokens() <= u64::try_from(a.len()).unwrap());
            prop_assert!(text(&a, OLDER) <= text(&a, NEWER));
        }
    }

    #[test]
    fn no_bytes_fail(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for tokenizer in [NEWER, OLDER] {
            prop_assert!(message(&bytes, tokenizer).tokens() >= 8);
            let _counted = (system(&bytes, tokenizer), tools(&bytes, tokenizer));
        }
    }
}

#[test]
fn time_is_linear() {
    // One word, one run of blanks, one nest of signs, words in turns, and all scripts.
    let samples = ["x", "1a", " ", "((", "a.b", "é ", "word ", "東", "🙂", "\u{301}", "{\"a\":1},\n    "];
    let time = |sample: &str, bytes: usize| {
        let long = sample.repeat(bytes / sample.len());
        let best = |_| {
            let start = now();
            assert!(text(std::hint::black_box(&long), NEWER) > Milli(0));
            start.elapsed()
        };
        (0..3).map(best).min().unwrap()
    };
    for sample in samples {
        let (short, long) = (time(sample, 100_000), time(sample, 1_600_000));
        // Sixteen times as much; quadratic time would take 256 times as long.
        assert!(long < short * 64 + Duration::from_millis(20), "{sample:?}: {short:?}, {long:?}");
    }
}

#[expect(clippy::disallowed_methods, reason = "this test measures time")]
fn now() -> Instant {
    Instant::now()
}
