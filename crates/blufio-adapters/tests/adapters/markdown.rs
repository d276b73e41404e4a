//! Random Markdown through the renderer, judged by the parser of the fake Bot API server, which shares no code with it.

use std::collections::BTreeSet;

use blufio_adapters::telegram::text::{
    Chunk, Document, ENTITIES_MAX, MESSAGE_UNITS_MAX, PREVIEW_UNITS_MAX, chunks, parse, preview, render,
};
use blufio_core::limits::REPLY_CHUNKS_MAX;
use blufio_testkit::botapi::html;
use unicode_segmentation::GraphemeCursor;

/// Cases of the random test. Each is its own seed, so that a failure names the one to run again.
const CASES: u64 = 20_000;

#[test]
fn random_markdown_becomes_valid_messages() {
    for seed in 0..CASES {
        // Short texts come first, so that what fails is short if a short one can fail.
        let length = [3, 6, 12, 60, 300][(seed * 5 / CASES) as usize];
        let markdown = random_markdown(&mut Random::new(seed), length);
        let result = std::panic::catch_unwind(|| check(&markdown, seed));
        if result.is_err() {
            panic!("seed {seed} of {CASES} failed with {markdown:?}");
        }
    }
}

fn check(markdown: &str, seed: u64) {
    let document = parse(markdown);
    check_words(markdown, &document);
    let limit = [128, 200, 500, 4000][(seed % 4) as usize];
    let pieces = chunks(&document, limit, usize::MAX);
    for piece in &pieces {
        check_piece(piece, limit);
    }
    check_cuts(&document, &pieces, limit);
    let rendered = render(markdown, limit);
    // One more than may be sent says that there are too many.
    assert_eq!(rendered.len(), pieces.len().min(REPLY_CHUNKS_MAX + 1));
    for chunk in &rendered {
        check_chunk(chunk, limit);
    }
    for limit in [limit, PREVIEW_UNITS_MAX] {
        match preview(markdown, limit) {
            Some(chunk) => drop(check_chunk(&chunk, limit)),
            None => assert!(!seen(document.text()) || document.units() > limit),
        }
    }
}

/// Nothing that was written disappears. (Words here are what only the generator writes as text.)
fn check_words(markdown: &str, document: &Document) {
    let plain = document.plain();
    for word in words(markdown) {
        assert!(plain.contains(word), "{word} is missing in {plain:?}");
    }
    assert!(!seen(markdown) || !document.is_empty(), "a text became empty");
}

/// The words of the lines that cannot be a fence, whose info string is not shown.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(['\n', '\r'])
        .filter(|line| !line.contains("```") && !line.contains("~~~"))
        .flat_map(|line| line.split(|character: char| !character.is_ascii_alphanumeric()))
        .filter(|word| word.starts_with("word"))
}

/// Whether a text holds something that everyone would call text.
fn seen(text: &str) -> bool {
    text.chars()
        .any(|character| character.is_alphanumeric() || character.is_ascii_punctuation() || "—•".contains(character))
}

fn check_piece(piece: &Document, limit: usize) {
    let chunk = Chunk { html: piece.to_html(), plain: piece.plain() };
    let parsed = check_chunk(&chunk, limit);
    assert_eq!(parsed.text.trim(), piece.text().trim(), "the HTML says something else than the text");
    let links = parsed.entities.iter().filter(|entity| entity.kind == "text_link").count();
    assert_eq!(parsed.entities.len(), piece.spans().len(), "an entity was lost: {}", chunk.html);
    assert!(links > 0 || chunk.plain == piece.text());
}

/// What the server demands of a message, and what Blufio promises beyond it.
fn assert_limits(chunk: &Chunk, limit: usize) {
    assert!(html::utf16_len(&chunk.plain) <= MESSAGE_UNITS_MAX);
    assert!(!html::plain(&chunk.plain).text.is_empty());
    let text = html::parse(&chunk.html).unwrap().text;
    assert!(!text.is_empty());
    assert!(html::utf16_len(&text) <= limit, "{} units, the limit is {limit}", html::utf16_len(&text));
    let is_forbidden = |character: char| {
        character.is_control() && character != '\n' && character != '\t'
            || ('\u{202A}'..='\u{202E}').contains(&character)
            || ('\u{2066}'..='\u{2069}').contains(&character)
            || ('\u{E0000}'..='\u{E007F}').contains(&character)
    };
    assert!(!chunk.html.contains(is_forbidden), "{:?}", chunk.html);
    assert!(!chunk.plain.contains(is_forbidden), "{:?}", chunk.plain);
}

fn check_chunk(chunk: &Chunk, limit: usize) -> html::ParsedText {
    assert_limits(chunk, limit);
    let parsed = html::parse(&chunk.html).unwrap();
    assert!(parsed.entities.len() <= ENTITIES_MAX);
    let kinds: BTreeSet<&str> = parsed.entities.iter().map(|entity| entity.kind).collect();
    let allowed = BTreeSet::from([
        "bold",
        "italic",
        "strikethrough",
        "spoiler",
        "code",
        "pre",
        "blockquote",
        "expandable_blockquote",
        "text_link",
    ]);
    assert!(kinds.is_subset(&allowed), "{kinds:?}");
    for (index, outer) in parsed.entities.iter().enumerate() {
        let end = outer.offset + outer.length;
        for inner in parsed.entities[index + 1..].iter().take_while(|inner| inner.offset < end) {
            assert!(inner.offset + inner.length <= end, "{outer:?} and {inner:?} overlap");
            assert_ne!(outer.kind, inner.kind, "a kind in itself");
            // Of two that cover the same text, the parser lists the inner one first.
            let is_same = outer.length == inner.length;
            let (outer, inner) = if is_same { (inner, outer) } else { (outer, inner) };
            let kinds = [outer.kind, inner.kind];
            assert!(!matches!(outer.kind, "code" | "pre"), "{kinds:?}");
            let is_code = matches!(inner.kind, "code" | "pre" | "blockquote" | "expandable_blockquote");
            assert!(!is_code || outer.kind.ends_with("blockquote"), "{kinds:?}");
        }
        if let ("text_link", Some(url)) = (outer.kind, &outer.argument) {
            assert!(["http://", "https://", "mailto:", "tg://user?id="].iter().any(|scheme| url.starts_with(scheme)));
        }
    }
    parsed
}

/// The pieces are the document, except for blanks, and no cut is within a character cluster.
fn check_cuts(document: &Document, pieces: &[Document], limit: usize) {
    let text = document.text();
    let mut at = 0;
    for piece in pieces {
        let Some(skipped) = text[at..].find(piece.text()) else { panic!("{:?} is not in order", piece.text()) };
        assert!(!seen(&text[at..at + skipped]), "{:?} is in no piece", &text[at..at + skipped]);
        let start = at + skipped;
        at = start + piece.text().len();
        for cut in [start, at] {
            let is_boundary = GraphemeCursor::new(cut, text.len(), true).is_boundary(text, 0).unwrap();
            assert!(is_boundary, "cut within a cluster at byte {cut}, limit {limit}");
        }
    }
    assert!(!seen(&text[at..]), "{:?} is in no piece", &text[at..]);
}

/// Small and repeatable (splitmix64).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((value ^ (value >> 31)) % limit as u64) as usize
    }
}

const MARKUP: [&str; 75] = [
    "*",
    "*",
    "**",
    "**",
    "***",
    "_",
    "__",
    "~",
    "~~",
    "||",
    "||",
    "`",
    "`",
    "``",
    "\n```\n",
    "\n```rust\n",
    "\n~~~\n",
    "\n",
    "\n",
    "\n",
    "\n\n",
    "\n\n",
    "\n\n\n\n",
    "  \n",
    "\\\n",
    "> ",
    "\n> ",
    "\n>> ",
    "\n- ",
    "\n- ",
    "\n  - ",
    "\n1. ",
    "\n   9999999999. ",
    "\n# ",
    "\n###### ",
    "\n===\n",
    "\n---\n",
    "\n***\n",
    "\n    ",
    "\t",
    " ",
    " ",
    " ",
    "\n| a | b |\n|---|--:|\n| 1 | 2 |\n",
    "|",
    "\n| x |\n|:-:|\n",
    "[",
    "]",
    "(",
    ")",
    "](",
    "![",
    "](https://e.org/a?b=c&d)",
    "](javascript:alert)",
    "](tg://user?id=42)",
    "](mailto:a@e.org)",
    "](http://localhost/x)",
    "](<>)",
    "\n[label]: https://e.org/def\n",
    "[label]",
    "[text][label]",
    "<https://e.org/auto>",
    "<a@e.org>",
    "<b>",
    "</b>",
    "\n<div>\n",
    "<!--",
    "-->",
    "<![CDATA[",
    "&amp;",
    "&lt;",
    "&#x202E;",
    "&nbsp;",
    "&",
    "\"",
];
const CHARACTERS: [&str; 26] = [
    "👨‍👩‍👧‍👦",
    "🏳️‍🌈",
    "🇩🇪🇫🇷",
    "e\u{301}\u{323}",
    "क्षि",
    "שלום",
    "مرحبا",
    "。",
    "漢字",
    "한글",
    "𝔘",
    "\u{202E}",
    "\u{2066}",
    "\u{E0041}",
    "\0",
    "\u{85}",
    "\u{1B}",
    "\r\n",
    "\r",
    "\u{200B}",
    "\u{FEFF}",
    "\u{A0}",
    "\u{2028}",
    "<",
    ">",
    "&",
];

fn random_markdown(random: &mut Random, length: usize) -> String {
    let mut markdown = String::new();
    for _ in 0..1 + random.below(length) {
        match random.below(12) {
            0..5 => markdown.push_str(MARKUP[random.below(MARKUP.len())]),
            5 => markdown.push_str(CHARACTERS[random.below(CHARACTERS.len())]),
            6 => {
                let piece = CHARACTERS[random.below(CHARACTERS.len())];
                markdown.push_str(&piece.repeat(1 + random.below(40)));
            }
            7 => {
                let piece = MARKUP[random.below(MARKUP.len())];
                markdown.push_str(&piece.repeat(1 + random.below(6)));
            }
            8 => markdown.push_str(". "),
            _ => {
                for _ in 0..1 + random.below(12) {
                    markdown.push_str(&format!("word{} ", random.below(1000)));
                }
            }
        }
    }
    markdown
}
