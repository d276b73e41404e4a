//! What is seen in a message.

use super::super::*;

fn of(text: &str) -> Features {
    Features::of(text, 0, false)
}

#[test]
fn route_counts_words_and_asks() {
    let check = |text: &str, expect: (usize, usize, usize)| {
        let features = of(text);
        assert_eq!((features.words, features.lines, features.asks), expect, "{text:?}");
    };
    check("", (0, 0, 0));
    check("   \n\n ", (0, 0, 0));
    check("why?", (1, 1, 1));
    check("Really??? Are you sure? \"Why?\"", (5, 1, 3));
    check("- milk\n- bread\n\n1. one\n2) two", (4 + 2, 4, 4));
    check("– and so on", (3, 1, 1));
    check("https://example.org/?a=1&b=2", (1, 1, 0));
    check("où est mon colis ?", (4, 1, 1));
    check("今天天气怎么样？", (3, 1, 1));
}

#[test]
fn route_sees_code_and_paths() {
    let check = |text: &str, expect| assert_eq!(of(text).code, expect, "{text:?}");
    for code in [
        "```\nx\n```",
        "let s = foo(&bar[0], |x| x + 1);",
        "look at src/main.rs",
        "rm -r ~/old",
        "it is in /var/log/syslog",
        "for (i = 0; i < n; i++) { a[i] = 0; }",
    ] {
        check(code, true);
    }
    for prose in [
        "his/her choice (or not)",
        "80 km/h, and 1/2 litre",
        "https://example.org/a/b.html",
        "Tea (black), bread (white) & butter :)",
        "what does w/o mean?",
        "/haiku",
    ] {
        check(prose, false);
    }
}

#[test]
fn route_counts_figures() {
    let check = |text: &str, expect: (usize, usize, usize)| {
        let features = of(text);
        assert_eq!((features.numbers, features.amounts, features.urls), expect, "{text:?}");
    };
    check("84.50 € for 3, $20 back, and 15%", (4, 3, 0));
    check("1 200 ₽", (2, 1, 0));
    check("see https://example.org/2026 and www.example.org", (0, 0, 2));
    check("no figures", (0, 0, 0));
}

#[test]
fn route_knows_courtesies_and_what_is_none() {
    for courtesy in [
        "thanks",
        "Thank you so much!",
        "ok",
        "OK 👍",
        "👍",
        "😂😂",
        "haha :)",
        "how are you?",
        "Merci beaucoup",
        "d’accord",
        "Danke dir",
        "Спасибо большое!",
        "hasta luego",
        "va bene, grazie",
        "Доброе утро ☀️",
        "see you tomorrow",
        "❤️",
        "thanks for the help",
        "schönen Abend noch",
    ] {
        assert!(of(courtesy).courtesy, "{courtesy:?}");
    }
    for other in [
        "",
        "?",
        "!",
        "...",
        "yes",
        "no",
        "ja",
        "sure",
        "stop",
        "do it",
        "ok do it",
        "ok?",
        "👎",
        "ok ❌",
        "5",
        "thanks, and Berlin",
        "good question",
        "a lot",
        "tomorrow",
        "morgen",
        "klar",
        "thank Anna",
        "the night",
        "what's wrong",
        "next",
        "and you",
        "thanks a lot for the help you have", // more words than a courtesy has
    ] {
        assert!(!of(other).courtesy, "{other:?}");
    }
}

#[test]
fn route_knows_objections() {
    for objection in
        ["No, that is wrong.", "Das stimmt nicht", "c’est faux", "Неправильно!", "You forgot Tom. Where is he?"]
    {
        assert!(of(objection).objection, "{objection:?}");
    }
    for other in
        ["what is wrong with my cat?", "what's the wrong way to do it", "Is that not right?", "no", "falls es geht"]
    {
        assert!(!of(other).objection, "{other:?}");
    }
    assert!(!of(&format!("you forgot {}", "word ".repeat(40))).objection);
}

#[test]
fn route_tells_scripts_apart() {
    let check = |text: &str, expect| assert_eq!(of(text).script, expect, "{text:?}");
    check("hello, мир", Script::Latin);
    check("привет", Script::Cyrillic);
    check("你好", Script::Wide);
    check("שלום", Script::Other);
    check("42 👍", Script::None);
}

#[test]
fn route_reads_the_head_only() {
    let text = "я".repeat(SCANNED_BYTES_MAX) + " ```";
    let features = of(&text);
    assert_eq!((features.bytes, features.chars), (text.len(), SCANNED_BYTES_MAX / 2));
    assert!(!features.code);
}
