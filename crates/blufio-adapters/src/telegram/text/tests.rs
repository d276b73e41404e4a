//! Examples: Markdown in, HTML out. Random texts are in `tests/adapters/markdown.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::time::{Duration, Instant};

use blufio_core::limits::REPLY_CHUNKS_MAX;

use super::*;

fn check(markdown: &str, html: &str) {
    assert_eq!(parse(markdown).to_html(), html, "{markdown:?}");
}

fn check_plain(markdown: &str, plain: &str) {
    assert_eq!(parse(markdown).plain(), plain, "{markdown:?}");
}

fn check_cuts(markdown: &str, limit: usize, pieces: &[&str]) {
    let found: Vec<String> = chunks(&parse(markdown), limit, usize::MAX).iter().map(Document::to_html).collect();
    assert_eq!(found, pieces, "{markdown:?}");
}

#[test]
fn styles() {
    check("plain", "plain");
    check("**b** *i* _i_ ~~s~~ `c`", "<b>b</b> <i>i</i> <i>i</i> <s>s</s> <code>c</code>");
    check("**b *bi* b**", "<b>b <i>bi</i> b</b>");
    check("***both***", "<i><b>both</b></i>");
    check("****twice****", "<b>twice</b>");
    check("a < b & \"c\" > 'd'", "a &lt; b &amp; &quot;c&quot; &gt; 'd'");
    check("one\ntwo  \nthree\\\nfour", "one\ntwo\nthree\nfour");
    check("snake_case_name 2*3*4", "snake_case_name 2<i>3</i>4");
    check("unfinished **bold and `code and [link](http", "unfinished **bold and `code and [link](http");
}

#[test]
fn code_stands_alone_but_links_and_spoilers_win() {
    check("**a `b` c**", "<b>a</b> <code>b</code> <b>c</b>");
    check("**`b`**", "<code>b</code>");
    check("[`b`](https://e.org)", "<a href=\"https://e.org\">b</a>");
    check("||`b`||", "<tg-spoiler>b</tg-spoiler>");
    check("> `b`", "<blockquote><code>b</code></blockquote>");
}

#[test]
fn spoilers() {
    check("the end: ||he **dies**||!", "the end: <tg-spoiler>he <b>dies</b></tg-spoiler>!");
    check("||**all**||", "<tg-spoiler><b>all</b></tg-spoiler>");
    check("||one|| and ||two||", "<tg-spoiler>one</tg-spoiler> and <tg-spoiler>two</tg-spoiler>");
    check("||two\nlines||", "<tg-spoiler>two\nlines</tg-spoiler>");
    check("if a || b || c", "if a || b || c");
    check("|||| ||", "|||| ||");
    check("`||x||`", "<code>||x||</code>");
    check("\\||x||", "||x||");
    check("**a ||b** c||", "<b>a ||b</b> c||");
    check("||a\n\nb||", "||a\n\nb||");
    check("- ||a\n\n  ```\n  x\n  ```\n\n  b||", "• ||a\n\n<pre>x</pre>\n  b||");
}

#[test]
fn links() {
    check("[l](https://e.org/?a=1&b=\"2\")", "<a href=\"https://e.org/?a=1&amp;b=&quot;2&quot;\">l</a>");
    check(
        "<https://e.org> <a@e.org>",
        "<a href=\"https://e.org\">https://e.org</a> <a href=\"mailto:a@e.org\">a@e.org</a>",
    );
    check("https://e.org stays", "https://e.org stays");
    check("[you](tg://user?id=42)", "<a href=\"tg://user?id=42\">you</a>");
    for url in ["javascript:alert(1)", "tg://resolve?domain=x", "file:///etc/passwd", "page.html", "http://localhost/x"]
    {
        check(&format!("[l](<{url}>)"), &format!("l ({url})"));
    }
    check("[](https://e.org) [](x)", "<a href=\"https://e.org\">https://e.org</a> x");
    check("![alt](https://e.org/i.png)", "<a href=\"https://e.org/i.png\">alt</a>");
    check("[![alt](https://e.org/i.png)](https://e.org)", "<a href=\"https://e.org\">alt</a>");
    check("**[l](https://e.org)**", "<b><a href=\"https://e.org\">l</a></b>");
    let long = format!("https://e.org/{}", "a".repeat(URL_UNITS_MAX));
    check(&format!("[l]({long})"), &format!("l ({long})"));
}

#[test]
fn plain_text_names_the_addresses() {
    check_plain("**a** [l](https://e.org) b", "a l (https://e.org) b");
    check_plain("<https://e.org> <a@e.org>", "https://e.org a@e.org");
    check_plain("[l *i*](https://e.org/1)[m](https://e.org/2)", "l i (https://e.org/1)m (https://e.org/2)");
}

#[test]
fn link_definitions_that_nothing_refers_to_are_shown() {
    check("see [1]\n\n[1]: https://e.org/1\n\nend", "see <a href=\"https://e.org/1\">1</a>\n\nend");
    check(
        "Sources:\n\n[1]: https://e.org/1\n[2]: https://e.org/2\n\nend",
        "Sources:\n\n[1]: https://e.org/1\n[2]: https://e.org/2\nend",
    );
    check("[1]: https://e.org/1", "[1]: https://e.org/1");
}

#[test]
fn blocks() {
    check(
        "# Title\ntext\n\n## Next **part** `x`\n\ntext",
        "<b>Title</b>\ntext\n\n<b>Next part</b> <code>x</code>\ntext",
    );
    check("a\n\n\n\n\nb", "a\n\nb");
    check("a\n\n---\n\nb", "a\n\n———\n\nb");
    check("a <b>x</b> <br>\n\n<div>\ny\n</div>", "a &lt;b&gt;x&lt;/b&gt; &lt;br&gt;\n\n&lt;div&gt;\ny\n&lt;/div&gt;");
    check("<pre>\na\n\n\n\n\n\nb</pre>", "&lt;pre&gt;\na\n\n\nb&lt;/pre&gt;");
    check(
        "```rust\nfn a() {\n\n\n\n    1 < 2\n}\n```",
        "<pre><code class=\"language-rust\">fn a() {\n\n\n\n    1 &lt; 2\n}</code></pre>",
    );
    check("a\n```\nb\n```\nc", "a\n<pre>b</pre>\n\nc");
    check("```rust,ignore title\nx", "<pre><code class=\"language-rust\">x</code></pre>");
    check("```a\"b<c\nx\n```", "<pre>x</pre>");
    check("```all on one line", "<pre>all on one line</pre>");
    check("    indented", "<pre>indented</pre>");
}

#[test]
fn quotes_do_not_nest_and_long_ones_fold() {
    check("> a\n> b\n\nc", "<blockquote>a\nb</blockquote>\n\nc");
    check("> a\n>> b\n>\n> c", "<blockquote>a\nb\n\nc</blockquote>");
    check("> **a**\n>\n> - b\n> - c", "<blockquote><b>a</b>\n\n• b\n• c</blockquote>");
    check("> - b", "<blockquote>• b</blockquote>");
    check("- > b\n- c", "• <blockquote>b</blockquote>\n• c");
    check("> ```\n> x\n> ```", "<blockquote><pre>x</pre></blockquote>");
    let long = parse(&"> line\n".repeat(30)).to_html();
    assert!(long.starts_with("<blockquote expandable>"), "{long}");
}

#[test]
fn lists() {
    check("a\n- b\n- c\n\nd", "a\n• b\n• c\n\nd");
    check("1. a\n2. b\n   - c\n     more\n   - d\n3. e", "1. a\n2. b\n  • c\n    more\n  • d\n3. e");
    check("7) a\n8) b", "7. a\n8. b");
    check("- a\n\n  b\n\n- c", "• a\n\n  b\n\n• c");
    check("- a\n  ```\n  x\n  ```\n- b", "• a\n<pre>x</pre>\n• b");
    check("- ```\n  x\n  ```", "•\n<pre>x</pre>");
    check("-\n- a", "•\n• a");
    check("- - a\n  - b", "• • a\n  • b");
    check("- **a**: b", "• <b>a</b>: b");
    check("- # a", "• <b>a</b>");
}

#[test]
fn tables() {
    check(
        "| Name | Size |\n|---|--:|\n| a\\|b | 1 |\n| 漢字 | 1024 |",
        concat!("<pre>Name | Size\n", "-----+-----\n", "a|b  |    1\n", "漢字 | 1024</pre>"),
    );
    check(
        "| a | **b** |\n|:-:|--:|\n| 1 |\n| [l](https://e.org) | `c` | more |",
        concat!(
            "<pre>        a         | b |\n",
            "------------------+---+-----\n",
            "        1         |   |\n",
            "l (https://e.org) | c | more</pre>"
        ),
    );
    let wide = "w".repeat(70);
    check(
        &format!("|Name|Text|\n|-|-|\n|a|**{wide}**|\n||b|\n"),
        &format!("• Name: a\n  Text: <b>{wide}</b>\n• Text: b"),
    );
    check(&format!("|a|{wide}|\n|-|-|\n"), &format!("• a\n  {wide}"));
}

#[test]
fn what_must_not_be_in_a_message_is_removed() {
    check("a\u{0}\u{1B}\u{85}\u{202E}b\u{2066}c\u{2069}\u{E0041}d\r\ne", "abcd\ne");
    check("&#x202E;x `\u{202E}y`", "x <code>y</code>");
    check("```\n\u{202E}\u{1B}[0m\tx\n```", "<pre>[0m\tx</pre>");
    check("[l](https://e.org/\u{202E}x)", "l (https://e.org/x)");
}

#[test]
fn text_never_becomes_empty() {
    check("&nbsp;", "&amp;nbsp;");
    check("```\n```", "```\n```");
    check("[a]: <>", "[a]:");
    check("|\n", "|");
    for nothing in ["", " \n\t", "\u{200B}\u{FEFF}", "\u{202E}\u{0}"] {
        assert!(parse(nothing).is_empty(), "{nothing:?}");
        assert_eq!(render(nothing, 4000), []);
        assert_eq!(preview(nothing, 3500), None);
    }
    assert_eq!(Document::literal("**a**\n\n\n\n\n<b> \u{1B}").to_html(), "**a**\n\n\n&lt;b&gt;");
}

#[test]
fn cuts_are_where_a_reader_minds_least() {
    let (a, b) = ("a".repeat(60), "b".repeat(60));
    check_cuts(&format!("{a}\n\n{b}\nnew line. {b}"), 128, &[&a, &b, &format!("new line. {b}")]);
    check_cuts(&format!("{a}\n{b}. Sentence"), 128, &[&a, &format!("{b}. Sentence")]);
    check_cuts(&format!("{a} {b} word word"), 128, &[&format!("{a} {b} word"), "word"]);
    // Too near to the beginning.
    check_cuts(&format!("x\n\n{a} {b}. yes"), 128, &[&format!("x\n\n{a} {b}."), "yes"]);
    check_cuts(
        &"a".repeat(300),
        128,
        &["a".repeat(128), "a".repeat(128), "a".repeat(44)].each_ref().map(String::as_str),
    );
}

#[test]
fn spans_are_closed_and_opened_again() {
    let (a, b) = ("a".repeat(100), "b".repeat(100));
    check_cuts(
        &format!("```rust\n{a}\n\n    {b}\n```"),
        128,
        &[
            &format!("<pre><code class=\"language-rust\">{a}</code></pre>"),
            &format!("<pre><code class=\"language-rust\">    {b}</code></pre>"),
        ],
    );
    check_cuts(
        &format!("> **{a} {b}** c"),
        128,
        &[&format!("<blockquote><b>{a}</b></blockquote>"), &format!("<blockquote><b>{b}</b> c</blockquote>")],
    );
    check_cuts(&format!("- {a}\n  - {b}"), 128, &[&format!("• {a}"), &format!("  • {b}")]);
}

#[test]
fn clusters_are_not_cut() {
    let family = "👨‍👩‍👧‍👦";
    let units = unicode::units(family);
    for before in 120..128 {
        let pieces = chunks(&parse(&format!("{}{}", "x".repeat(before), family.repeat(20))), 128, usize::MAX);
        assert!(pieces.iter().all(|piece| piece.text().trim_start_matches('x').len() % family.len() == 0), "{before}");
        let (_, full) = pieces.split_last().unwrap();
        assert!(full.iter().all(|piece| piece.units() <= 128 && piece.units() > 128 - units), "{before}");
    }
    // A single cluster longer than a message has to be cut all the same.
    let pieces = chunks(&parse(&format!("e{}", "\u{301}".repeat(1000))), 128, usize::MAX);
    assert_eq!(pieces.iter().map(Document::units).sum::<usize>(), 1001);
}

#[test]
fn entities_and_addresses_are_limited_per_chunk() {
    let pieces = chunks(&parse(&"**b** ".repeat(200)), 4000, usize::MAX);
    assert_eq!(pieces.iter().map(|piece| piece.spans().len()).collect::<Vec<_>>(), [90, 90, 20]);
    let url = format!("https://e.org/{}", "u".repeat(1900));
    let pieces = chunks(&parse(&format!("[l]({url}) ").repeat(5)), 4000, usize::MAX);
    assert_eq!(pieces.iter().map(|piece| piece.spans().len()).collect::<Vec<_>>(), [2, 2, 1]);
    assert!(pieces.iter().all(|piece| unicode::units(&piece.plain()) <= MESSAGE_UNITS_MAX));
}

#[test]
fn a_reply_that_is_too_long_says_so() {
    let markdown = "word ".repeat(40_000);
    let chunks = render(&markdown, 4000);
    assert_eq!(chunks.len(), REPLY_CHUNKS_MAX + 1);
    let note = "\n\n[This reply was cut: it has 199999 characters, 83900 of them are shown.]";
    let last = &chunks.last().unwrap().plain;
    assert!(last.ends_with(note), "{}", &last[last.len() - 100..]);
    assert_eq!(chunks.iter().map(|chunk| chunk.plain.matches("word").count()).sum::<usize>(), 83_900 / 5);
    // Exactly as much as fits has no note.
    let markdown = vec!["x".repeat(4000); REPLY_CHUNKS_MAX + 1].join("\n\n");
    let chunks = render(&markdown, 4000);
    assert_eq!(chunks.len(), REPLY_CHUNKS_MAX + 1);
    assert_eq!(chunks.last().unwrap().plain, "x".repeat(4000));
}

#[test]
fn a_preview_is_the_newest_part() {
    let preview_html = |markdown: &str, limit| preview(markdown, limit).unwrap().html;
    assert_eq!(preview_html("```rust\nlet x", 3500), "<pre><code class=\"language-rust\">let x</code></pre>");
    assert_eq!(preview_html("see [here](https://e.o", 3500), "see [here](https://e.o");
    assert_eq!(
        preview_html(&format!("{} b **{}**", "a ".repeat(80), "c".repeat(100)), 128),
        format!("…a a a a a a a a a a a  b <b>{}</b>", "c".repeat(100))
    );
    assert_eq!(preview_html(&format!("```\n{}\nc\n```", "a".repeat(200)), 128), "…<pre>c</pre>");
    let family = preview_html(&"👨‍👩‍👧‍👦".repeat(100), 128);
    assert!(family.starts_with("…👨") && family.chars().filter(|&c| c == '👨').count() == 11, "{family}");
    let many = preview_html(&"**b** ".repeat(200), 3500);
    assert_eq!(many.matches("<b>").count(), ENTITIES_MAX);
    let links = preview(&format!("[l](https://e.org/{}) ", "u".repeat(500)).repeat(50), 3500).unwrap();
    assert_eq!(links.html.matches("<a ").count(), 7);
}

/// Hostile texts of 1 MiB: no stack overflow, no time or memory that grows faster than the text.
#[test]
fn hostile_texts_cost_little() {
    const SIZE: usize = 1024 * 1024;
    let fill = |piece: &str| piece.repeat(SIZE / piece.len());
    let half = |piece: &str| piece.repeat(SIZE / 2 / piece.len());
    let texts = [
        ("quotes", fill(">")),
        ("quotes and blank lines", half("> ") + &half("\n")),
        ("bullets", fill("- ")),
        ("bullets and blank lines", half("- ") + "a" + &half("\n\nb")),
        ("numbers", fill("1. ")),
        ("quoted bullets", fill("> - ")),
        ("deeper and deeper", (0..1024).map(|depth| " ".repeat(2 * depth) + "- a\n").collect()),
        ("items", fill("- a\n")),
        ("emphasis", half("*a **a ") + &half("a** a*")),
        ("stars", fill("*")),
        ("both", fill("*_")),
        ("struck", fill("~~a ")),
        ("spoilers", fill("||a")),
        ("spoiler pairs", fill("||a|| ")),
        ("spoilers in spoilers", half("**||a ") + &half("a||** ")),
        ("brackets", fill("[")),
        ("half links", fill("[a](")),
        ("links", fill("[a](b)")),
        ("images in images", half("![") + &half("](a)")),
        (
            "images in images with blanks",
            format!("{}{}{}", "![".repeat(SIZE / 8), "\u{200B}".repeat(SIZE / 8), "](a)".repeat(SIZE / 8)),
        ),
        ("definitions", fill("[a]: b\n")),
        ("many definitions", (0..SIZE / 12).map(|n| format!("[{n}]: b\n")).collect()),
        ("references", format!("[a]: {}\n\n", "u".repeat(SIZE / 2)) + &half("[a]")),
        ("backticks", fill("`")),
        ("code", fill("`a` ")),
        ("fences", fill("```\n")),
        ("tags", fill("<a ")),
        ("comments", fill("a <!--")),
        ("columns", half("|a") + "\n" + &half("|-")),
        ("rows", "|a|b|\n|-|-|\n".to_owned() + &fill("|x|\n")),
        ("wide header", format!("|{}|\n|-|\n", "a".repeat(SIZE / 2)) + &half("|b\n")),
        (
            "wide header, many columns",
            "|abcdefghijklmno".repeat(999) + "\n" + &"|-".repeat(999) + "\n" + &half(&("|b".repeat(99) + "\n")),
        ),
        ("tables", fill("|a|\n|-|\n|b|\n\n")),
        ("one word", fill("a")),
        ("marks", format!("e{}", fill("\u{301}"))),
        ("flags", fill("🇩")),
        ("blanks", fill(" ") + "a"),
        ("code of blanks", format!("```\na{}b\n```", fill(" "))),
        ("breaks in code", format!("```\na{}b\n```", fill("\n"))),
        ("nothing", fill("\u{200B}")),
    ];
    for (name, text) in texts {
        #[expect(clippy::disallowed_methods, reason = "the test measures how long it takes")]
        let start = Instant::now();
        let rendered = render(&text, 4000);
        let shown = preview(&text, 3500);
        let took = start.elapsed();
        assert!(took < Duration::from_secs(3), "{name} took {took:?}");
        assert!(rendered.len() <= REPLY_CHUNKS_MAX + 1);
        assert_eq!(rendered.is_empty(), shown.is_none(), "{name}");
    }
}

#[test]
fn what_is_too_long_for_markdown_is_kept_as_text() {
    let markdown = "**a** b\n".repeat(MARKDOWN_BYTES_MAX / 8 + 2);
    let document = parse(&markdown);
    assert_eq!(document.text().matches('a').count(), MARKDOWN_BYTES_MAX / 8 + 2);
    assert!(document.text().ends_with("b\n**a** b\n**a** b"));
}
