#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use super::*;
use proptest::prelude::{Strategy, any, prop};
use proptest::strategy::ValueTree;
use proptest::string::string_regex;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

const FILE: &str = include_str!("../../../../data/leaks/rules.toml");
const SAMPLES_PER_RULE: usize = 20;

fn rules() -> toml::Table {
    FILE.parse().unwrap()
}

fn rules_only() -> LeakScanner {
    LeakScanner::new(STANDARD.clone(), [])
}

fn names(found: &[Finding]) -> Vec<&str> {
    found.iter().map(|finding| &*finding.name).collect()
}

#[test]
fn every_rule_finds_its_examples_and_nothing_in_what_is_benign() {
    let whole = rules_only();
    let rules = rules();
    let rules = rules["rule"].as_array().unwrap();
    assert!(rules.len() >= 150, "{}", rules.len());
    for rule in rules {
        let name = rule["name"].as_str().unwrap();
        let table = toml::Table::from_iter([("rule".to_owned(), toml::Value::Array(vec![rule.clone()]))]);
        let alone = LeakScanner::new(Arc::new(RuleSet::parse(&table.to_string()).unwrap()), []);
        let examples = rule["examples"].as_array().unwrap();
        assert_eq!(examples.len(), 2, "{name}");
        for example in examples {
            let example = example.as_str().unwrap().replace('¦', "");
            let found = alone.scan(&example);
            assert!(found.iter().any(|finding| &*finding.name == name), "{name} does not find {example}: {found:?}");
            assert!(!whole.scan(&example).is_empty(), "{example}");
        }
        let benign = rule["benign"].as_str().unwrap();
        assert_eq!(whole.scan(benign), [], "{name}: {benign}");
    }
    assert!(STANDARD.iter().all(|rule| rule.regex().is_some()), "every pattern is one");
}

#[test]
fn samples_of_every_rule_are_found() {
    let scanner = rules_only();
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]));
    let (mut hits, mut all, mut missed) = (0, 0, Vec::new());
    for rule in STANDARD.iter() {
        let pattern = string_regex(rule.sample_pattern()).unwrap();
        for number in 0..SAMPLES_PER_RULE {
            let sample = pattern.new_tree(&mut runner).unwrap().current();
            let text = match rule.near() {
                [] => format!("{}{sample} then", if sample.starts_with(':') { "postgres" } else { "say " }),
                [near, ..] => format!("export {}_KEY='{sample}'", near.trim_end_matches('_').to_uppercase()),
            };
            all += 1;
            let covered: usize = scanner.scan(&text).iter().map(|finding| finding.range.len()).sum();
            if covered * 10 >= sample.len() * 4 {
                hits += 1;
            } else {
                missed.push(format!("{} {number}: {text}", rule.name()));
            }
        }
    }
    assert!(hits * 1_000 >= all * 990, "{hits} of {all}; missed: {missed:#?}");
}

/// The forms of a value as others would write them, with other bytes around.
fn forms(value: &str) -> Vec<String> {
    use std::fmt::Write as _;
    let hex = |upper: bool| {
        value.bytes().fold(String::new(), |mut text, byte| {
            if upper {
                write!(text, "{byte:02X}").unwrap()
            } else {
                write!(text, "{byte:02x}").unwrap()
            }
            text
        })
    };
    let percent = value.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    });
    let mut all =
        vec![value.to_owned(), hex(false), hex(true), percent.collect(), serde_json::json!(value).to_string()];
    for before in ["", "u", "us"] {
        let text = encode_base64(format!("{before}{value}:x").as_bytes());
        all.push(text.replace('+', "-").replace('/', "_"));
        all.push(text);
    }
    all
}

/// Base64 by groups of three bytes, unlike the one that is tested.
fn encode_base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |group: &[u8]| {
        let number = group.iter().chain(&[0, 0]).take(3).fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        let characters = (0..4).map(move |at| char::from(ALPHABET[(number >> (18 - 6 * at) & 63) as usize]));
        characters.take(group.len() + 1).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

const VALUES: [(&str, &str); 4] = [
    ("plain", "tr0ub4dor"),
    ("odd", "a b\"c\\d/ü%+&=😀?\n~"),
    ("long", "K7gNU3sdo-OL0wNhqoVWhr3g6s1xYv72ol_pe8Unols"),
    ("six", "q9!zT\u{e9}"),
];

fn known() -> LeakScanner {
    LeakScanner::new(STANDARD.clone(), VALUES)
}

#[test]
fn known_values_are_found_in_every_form_and_in_pieces() {
    let scanner = known();
    let leaks = Leaks::default();
    leaks.learn(VALUES);
    for (name, value) in VALUES {
        for form in forms(value) {
            let text = format!("before {form} after");
            assert_eq!(scanner.holds_exact(&text).as_deref(), Some(name), "{text}");
            let whole = scanner.redact(&text);
            assert!(whole.contains(&format!("[redacted:{name}]")), "{text} became {whole}");
            assert!(!whole.contains(value));
            for cut in (0..=text.len()).filter(|cut| text.is_char_boundary(*cut)) {
                let mut stream = leaks.redact_streaming();
                let shown = [stream.push(&text[..cut]), stream.push(&text[cut..]), stream.finish()].concat();
                assert_eq!(shown, whole, "cut at {cut}");
            }
            let mut stream = leaks.redact_streaming();
            let pieces: String =
                text.chars().map(|character| stream.push(character.encode_utf8(&mut [0; 4]))).collect();
            assert_eq!(pieces + &stream.finish(), whole);
        }
    }
    assert_eq!(scanner.holds_exact("nothing here"), None);
}

#[test]
fn a_stream_shows_what_the_whole_would_show() {
    let leaks = Leaks::default();
    for rule in rules()["rule"].as_array().unwrap() {
        for example in rule["examples"].as_array().unwrap() {
            let text = format!("see: {} and so on", example.as_str().unwrap().replace('¦', ""));
            let whole = leaks.redact(&text).into_owned();
            for cut in (0..text.len()).step_by(7) {
                let mut stream = leaks.redact_streaming();
                let shown = [stream.push(&text[..cut]), stream.push(&text[cut..]), stream.finish()].concat();
                assert_eq!(shown, whole, "cut at {cut}");
            }
        }
    }
    let mut stream = leaks.redact_streaming();
    assert_eq!(stream.push("plain words "), "plain words ", "what is no secret does not wait");
    let mut endless = leaks.redact_streaming();
    let shown: String = ["-----BEGIN PRIVATE KEY-----\n"]
        .into_iter()
        .chain(std::iter::repeat_n("MIIEvQIBADANBg/kqhkiG9w0BAQ\n", 9_000))
        .map(|piece| endless.push(piece))
        .collect();
    let shown = shown + &endless.finish();
    assert!(shown.len() < 200 * 1024 && shown.starts_with("[redacted:private-key]"), "{}", shown.len());
}

#[test]
fn marks_are_left_alone_but_nothing_hides_in_one() {
    let scanner = known();
    let check = |text: &str, expect: &str| assert_eq!(scanner.redact(text), expect);
    check("a [redacted:plain] b", "a [redacted:plain] b");
    check("a [redacted:private-key]tr0ub4dor", "a [redacted:private-key][redacted:plain]");
    check("[redacted:tr0ub4dor]", "[redacted:[redacted:plain]]");
    check("[redacted:", "[redacted:");
    check("[redacted:ü", "[redacted:ü");
    check("tr0ub4dortr0ub4dor", "[redacted:plain]");
    let overlapping = LeakScanner::new(STANDARD.clone(), [("a b", "abcdefgh"), ("c", "fghijklm")]);
    assert_eq!(overlapping.redact("-abcdefghijklm-"), "-[redacted:a_b]-", "no part of the second is left");
    assert_eq!(names(&overlapping.scan("abcdefgh fghijklm")), ["a_b", "c"]);
}

#[test]
fn assignments_are_judged_by_their_values() {
    let scanner = rules_only();
    let check = |text: &str, expect: bool| {
        let found = scanner.scan(text);
        assert_eq!(!found.is_empty(), expect, "{text}: {found:?}");
    };
    check("password = \"Tr0ub4dor&3\"", true);
    check("{\"password\":\"hunter2!!x\"}", true);
    check("{\\\"client_secret\\\":\\\"f7Kd92mQpX0sLw81TzVb\\\"}", true);
    check("DB_PASSWORD=s3cr3t-p4ss9", true);
    check("https://x.org/?access_token=8f3b1c9d7e6a5f4b3c2d1e0f", true);
    check("setx(\"API_KEY\", \"q8Zr5TkV0nWc3YhJ7LbX\")", true);
    check("<token>q8Zr5TkV0nWc3YhJ7LbX</token>", true);
    check("key = \"q8Zr5TkV0nWc3YhJ7LbXm2\"", true);
    check("password = getPassword(user1)", false);
    check("password: ${DB_PASSWORD}", false);
    check("token = self.tokens.next_token", false);
    check("api_key = \"your-api-key-here-123456\"", false);
    check("the password is the one from last week", false);
    check("key = \"settings.window.height\"", false);
    check("secret: /run/secrets/db2-password-file", false);
    check("key: 3f9d1c5e8b7a6f4d2c1b0a9e8d7c6b5a", false);
    check("tokens: 1234567890123456", false);
}

#[test]
fn a_bot_token_in_a_path_is_found_whatever_its_form() {
    let scanner = rules_only();
    assert_eq!(scanner.redact("/bot1:abc/getMe"), "/bot[redacted:telegram-bot-path]/getMe");
    assert_eq!(scanner.redact("GET https://h/bot77%3Ax_y-z/x"), "GET https://h/bot[redacted:telegram-bot-path]/x");
}

#[test]
fn a_learned_value_is_known_to_every_holder_and_shown_by_none() {
    let leaks = Leaks::default();
    let other = leaks.clone();
    leaks.learn([("a.key", "canary-value"), ("short", "five5")]);
    leaks.learn([("b.key", "second-value")]);
    assert_eq!(other.redact("x canary-value second-value five5"), "x [redacted:a.key] [redacted:b.key] five5");
    assert_eq!(other.holds_exact("second-value"), Some("b.key".to_owned()));
    assert!(!format!("{leaks:?} {:?}", leaks.redact_streaming()).contains("value\""));
}

/// Text that is likely to be hard: pieces of examples, marks, keywords, letters of all kinds.
fn hard() -> impl Strategy<Value = String> {
    let table = rules();
    let mut pieces: Vec<String> =
        ["[redacted:", "[redacted:plain]", "]", "=\"", "\"", ": ", "-----BEGIN", "-----END", "ü", "\n"]
            .map(str::to_owned)
            .into();
    for rule in table["rule"].as_array().unwrap() {
        let example = rule["examples"][0].as_str().unwrap().replace('¦', "");
        let middle = example.floor_char_boundary(example.len() / 2);
        pieces.extend([example[..middle].to_owned(), example[middle..].to_owned(), example]);
    }
    pieces.extend(VALUES.iter().flat_map(|(_, value)| forms(value)));
    pieces.extend(super::assignment::SECRET_WORDS.iter().map(|(word, _)| (*word).to_owned()));
    let piece = (0..pieces.len()).prop_map(move |at| pieces[at].clone());
    let odd = any::<char>().prop_map(String::from);
    prop::collection::vec(proptest::prop_oneof![4 => piece, 1 => odd], 0..24).prop_map(|parts| parts.concat())
}

proptest::proptest! {
    #![proptest_config(Config { cases: 400, failure_persistence: None, ..Config::default() })]

    #[test]
    fn redaction_holds_no_known_value_and_is_done_once(text in hard()) {
        let scanner = known();
        let once = scanner.redact(&text).into_owned();
        proptest::prop_assert_eq!(scanner.holds_exact(&once), None);
        proptest::prop_assert_eq!(scanner.redact(&once), once.as_str());
    }

    #[test]
    fn a_stream_of_hard_text_holds_no_known_value(text in hard(), size in 1_usize..40) {
        let mut stream = LeakStream::new(Arc::new(known()));
        let characters: Vec<char> = text.chars().collect();
        let pieces: String = characters.chunks(size).map(|piece| stream.push(&piece.iter().collect::<String>())).collect();
        let shown = pieces + &stream.finish();
        proptest::prop_assert_eq!(known().holds_exact(&shown), None);
    }
}

#[test]
fn names_of_secrets_are_none_and_known_values_can_be_taken_out_alone() {
    let name = "home-assistant.x7q2-token";
    let scanner = LeakScanner::new(Arc::new(RuleSet::standard()), [(name, "canary-5f1d9c")]);
    let call = |name: &str| format!(r#"{{"secret":"{name}","url":"https://a.example/"}}"#);
    assert_eq!(scanner.redact(&call(name)), call(name));
    assert_ne!(scanner.redact(&call("home-assistant.x7q3-token")), call("home-assistant.x7q3-token"));
    let both = "password: canary-5f1d9c and ghp_0123456789abcdefghijABCDEFGHIJ012345";
    assert!(
        scanner
            .redact_exact(both)
            .ends_with("[redacted:home-assistant.x7q2-token] and ghp_0123456789abcdefghijABCDEFGHIJ012345")
    );
}
