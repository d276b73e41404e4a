//! Text files of others: whether a file is one, its characters without those that nobody sees, and one page of it.
//!
//! Name and media type are claims of the sender. They can make a file a candidate; whether it is text is told by its bytes.
//! It does not know encodings without a mark: what is neither UTF-8 nor UTF-16 with a byte order mark is read as damaged
//! UTF-8, or is no text.

/// A text file, fit to be shown to a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Its characters: lines end with `\n`, controls and invisible characters are gone.
    pub text: String,
    /// Bytes that are no characters were replaced by U+FFFD; the reader has to be told.
    pub lossy: bool,
}

/// Replaced bytes per hundred characters. Western text in an old encoding stays well below it, text in another alphabet
/// would be all replacements and of no use to anybody.
const REPLACED_PERCENT_MAX: usize = 25;
/// Controls per hundred characters that a text may have: logs with colours do, archives have more.
const CONTROLS_PERCENT_MAX: usize = 5;
/// Controls and replacements that even the shortest text may have.
const ODD_CHARACTERS_FREE: usize = 2;

/// The text of the file `bytes`, if its name or media type says that it may be text and its bytes do not contradict.
#[must_use]
pub fn decode(bytes: &[u8], name: Option<&str>, media_type: Option<&str>) -> Option<Decoded> {
    let claimed = media_type.is_some_and(is_text_type) || name.is_some_and(is_text_name);
    claimed.then(|| characters(bytes)).flatten()
}

/// `text` without what must not reach a model from outside: controls except `\n` and `\t`, marks that reorder what a
/// person sees, characters without width, and tags (which spell out words that no person sees). `\r\n` and `\r` become
/// `\n`.
#[must_use]
pub fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\r' if characters.peek() == Some(&'\n') => {}
            '\r' => clean.push('\n'),
            character if is_unseen(character) => {}
            character => clean.push(character),
        }
    }
    clean
}

/// A piece of a longer text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page<'a> {
    /// The piece.
    pub text: &'a str,
    /// The byte at which the next one starts; none after the last.
    pub next: Option<usize>,
}

/// The page of `text` that starts at the byte `from` (inside a character: at its start) and has `bytes_max` bytes at most.
///
/// It ends with a line unless that would waste more than half of it. It holds one character at least, even if that is
/// larger than `bytes_max`, so that reading on always comes to an end. Behind the end of the text, it is empty.
#[must_use]
pub fn page(text: &str, from: usize, bytes_max: usize) -> Page<'_> {
    let from = text.floor_char_boundary(from);
    let rest = text.get(from..).unwrap_or("");
    let mut length = rest.floor_char_boundary(bytes_max);
    if length == 0 {
        length = rest.chars().next().map_or(0, char::len_utf8);
    }
    if length < rest.len() {
        let line_end = rest.get(..length).and_then(|page| page.rfind('\n')).map_or(0, |at| at.saturating_add(1));
        if line_end > length / 2 {
            length = line_end;
        }
    }
    let next = from.saturating_add(length);
    Page { text: rest.get(..length).unwrap_or(rest), next: (next < text.len()).then_some(next) }
}

fn characters(bytes: &[u8]) -> Option<Decoded> {
    let (text, lossy) = match bytes {
        [0xff, 0xfe, units @ ..] => utf16(units, u16::from_le_bytes),
        [0xfe, 0xff, units @ ..] => utf16(units, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, bytes @ ..] | bytes => match String::from_utf8_lossy(bytes) {
            std::borrow::Cow::Borrowed(text) => (text.to_owned(), false),
            std::borrow::Cow::Owned(text) => (text, true),
        },
    };
    (!is_binary(&text, lossy)).then(|| Decoded { text: clean(&text), lossy })
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> (String, bool) {
    let (pairs, odd) = bytes.as_chunks::<2>();
    let mut lossy = !odd.is_empty();
    let decoded = char::decode_utf16(pairs.iter().map(|pair| unit(*pair)));
    let text = decoded.map(|character| {
        character.unwrap_or_else(|_| {
            lossy = true;
            char::REPLACEMENT_CHARACTER
        })
    });
    (text.collect(), lossy)
}

fn is_binary(text: &str, lossy: bool) -> bool {
    let (mut all, mut controls, mut replaced) = (0_usize, 0_usize, 0_usize);
    for character in text.chars() {
        match character {
            '\0' => return true,
            '\t' | '\n' | '\r' | '\u{c}' => {}
            char::REPLACEMENT_CHARACTER if lossy => replaced = replaced.saturating_add(1),
            character if character.is_control() => controls = controls.saturating_add(1),
            _ => {}
        }
        all = all.saturating_add(1);
    }
    let over =
        |odd: usize, percent: usize| odd > ODD_CHARACTERS_FREE && odd.saturating_mul(100) > all.saturating_mul(percent);
    over(controls, CONTROLS_PERCENT_MAX) || over(replaced, REPLACED_PERCENT_MAX)
}

fn is_unseen(character: char) -> bool {
    let shown = matches!(character, '\n' | '\t');
    let control = character.is_control() && !shown;
    // Joiners and the byte order mark; marks, embeddings, overrides and isolates of direction; invisible operators.
    let format = matches!(character,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    // Tags, and the variation selectors behind them, which can carry hidden bytes in the same way.
    control || format || matches!(character, '\u{e0000}'..='\u{e0fff}')
}

/// Whether a media type (RFC 6838, with or without parameters) names text.
fn is_text_type(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let Some((kind, subtype)) = essence.split_once('/') else { return false };
    let subtype = subtype.strip_prefix("x-").unwrap_or(subtype);
    let structured = subtype.rsplit_once('+').map_or("", |(_, suffix)| suffix);
    kind == "text"
        || matches!(structured, "json" | "xml" | "yaml")
        || (kind == "application" && TEXT_SUBTYPES.contains(&subtype))
}

/// Whether a file name is usual for text: by its extension, or by the whole name.
fn is_text_name(name: &str) -> bool {
    let name = name.rsplit(['/', '\\']).next().unwrap_or("").to_ascii_lowercase();
    let ending = name.rsplit_once('.').map_or(name.as_str(), |(_, extension)| extension);
    ENDINGS.iter().any(|line| line.split(' ').any(|known| known == ending))
}

const TEXT_SUBTYPES: &[&str] = &[
    "csv",
    "ecmascript",
    "graphql",
    "httpd-php",
    "javascript",
    "json",
    "json5",
    "ld+json",
    "markdown",
    "ndjson",
    "perl",
    "php",
    "python",
    "ruby",
    "sh",
    "shellscript",
    "sql",
    "subrip",
    "tex",
    "toml",
    "typescript",
    "xml",
    "yaml",
];

/// Extensions, and names without one.
const ENDINGS: &[&str] = &[
    "txt text log md markdown mdx rst adoc asciidoc org tex bib typ srt vtt ics vcf eml po pot nfo",
    "csv tsv json jsonl ndjson json5 jsonc geojson xml xsd xsl xslt svg gpx kml rss atom plist yaml yml toml ini cfg conf",
    "config properties env editorconfig gitignore gitattributes dockerignore lock service timer socket desktop",
    "html htm xhtml css scss sass less js mjs cjs jsx ts mts cts tsx vue svelte astro graphql gql proto",
    "rs c h cc cpp cxx hpp hh m mm go java kt kts scala groovy gradle swift cs fs fsx vb py pyi pyx ipynb rb php pl pm lua",
    "r jl hs lhs ml mli ex exs erl hrl elm clj cljs edn lisp el scm rkt nim zig d dart v sv vhd vhdl asm s f90 pas ada sol",
    "sh bash zsh fish ps1 bat cmd awk sed sql diff patch tf tfvars hcl nix cmake mk ninja bazel bzl",
    "makefile dockerfile containerfile justfile gemfile rakefile procfile vagrantfile jenkinsfile",
    "readme license licence copying changelog authors notice",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(bytes: &[u8]) -> Option<(String, bool)> {
        decode(bytes, Some("a.txt"), None).map(|decoded| (decoded.text, decoded.lossy))
    }

    fn check(bytes: &[u8], text: &str, lossy: bool) {
        assert_eq!(plain(bytes), Some((text.to_owned(), lossy)), "{bytes:x?}");
    }

    #[test]
    fn encodings() {
        check("größer\t€ 🦀\n".as_bytes(), "größer\t€ 🦀\n", false);
        check(b"\xef\xbb\xbfhi", "hi", false);
        check(b"\xff\xfeh\0i\0\x3d\xd8\x00\xde", "hi😀", false);
        check(b"\xfe\xff\0h\0i\xd8\x3d\xde\x00", "hi😀", false);
        check(b"", "", false);
        // Damaged: half a surrogate pair, an odd byte at the end, Windows-1252.
        check(b"\xff\xfeh\0i\0\x3d\xd8", "hi\u{fffd}", true);
        check(b"\xff\xfeh\0i\0x", "hi", true);
        check(b"Sch\xf6ne Gr\xfc\xdfe aus K\xf6ln", "Sch\u{fffd}ne Gr\u{fffd}\u{fffd}e aus K\u{fffd}ln", true);
        // A replacement character that stands in the file is the file's own.
        check("\u{fffd}\u{fffd}\u{fffd}".as_bytes(), "\u{fffd}\u{fffd}\u{fffd}", false);
    }

    #[test]
    fn line_ends_become_one_kind() {
        check(b"a\r\nb\rc\n\r\nd\r", "a\nb\nc\n\nd\n", false);
    }

    #[test]
    fn binary_whatever_it_is_called() {
        let mut state = 7_u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24).max(1) as u8
        })
        .take(4_000)
        .collect();
        for bytes in [
            &b"a\0b"[..],
            b"\x7fELF\x02\x01\x01\0\0\0",
            b"h\0i\0",
            b"\xff\xfea\0\0\0",
            b"\x01\x02\x03\x04",
            b"PK\x03\x04\x14\x08\x08\x08\x01",
            "Привет".chars().map(|letter| letter as u8 | 0x80).collect::<Vec<_>>().as_slice(),
            &noise,
        ] {
            assert_eq!(decode(bytes, Some("a.txt"), Some("text/plain")), None, "{bytes:x?}");
        }
        // Colours in a log are fine.
        check(b"\x1b[31mred\x1b[0m and a long enough line\n", "[31mred[0m and a long enough line\n", false);
    }

    #[test]
    fn nothing_unseen_gets_through() {
        let hidden = [
            '\u{1}',
            '\u{8}',
            '\u{b}',
            '\u{1b}',
            '\u{7f}',
            '\u{80}',
            '\u{9f}',
            '\u{61c}',
            '\u{200b}',
            '\u{200d}',
            '\u{200f}',
            '\u{202a}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{2069}',
            '\u{feff}',
            '\u{e0000}',
            '\u{e0041}',
            '\u{e007f}',
            '\u{e0100}',
        ];
        for character in hidden {
            assert_eq!(clean(&format!("a{character}b")), "ab", "{character:?}");
        }
        let kept = "\n\t \u{a0}\u{ad}é\u{301}\u{2009}\u{2028}\u{fe0f}漢🦀\u{1f468}";
        assert_eq!(clean(kept), kept);
    }

    #[test]
    fn who_may_be_text() {
        let types = [
            "text/plain",
            "TEXT/X-Rust; charset=utf-8",
            "application/json",
            "application/ld+json",
            "image/svg+xml",
            "application/x-yaml",
            "application/toml",
            " application/xml ",
            "application/x-sh",
        ];
        for media_type in types {
            assert!(decode(b"x", None, Some(media_type)).is_some(), "{media_type}");
        }
        for name in ["a.RS", "notes.md", "dir.d/Makefile", "C:\\x\\LICENSE", ".gitignore", "x.tar.toml", "f90.f90"] {
            assert!(decode(b"x", Some(name), Some("application/octet-stream")).is_some(), "{name}");
        }
        for (name, media_type) in [
            (None, None),
            (Some(""), Some("")),
            (Some("a.zip"), Some("application/zip")),
            (Some("txt.exe"), None),
            (Some("a.docx"), Some("application/vnd.openxmlformats-officedocument.wordprocessingml.document")),
            (Some("a b"), Some("video/mp4")),
        ] {
            assert_eq!(decode(b"x", name, media_type), None, "{name:?} {media_type:?}");
        }
    }

    #[test]
    fn pages_end_with_lines_and_cover_everything() {
        let text = "one\ntwo\nthree\nfour\n";
        assert_eq!(page(text, 0, 10), Page { text: "one\ntwo\n", next: Some(8) });
        assert_eq!(page(text, 8, 100), Page { text: "three\nfour\n", next: None });
        // The only line end is too early to stop there.
        assert_eq!(page("a\nbbbbbbbbbb", 0, 8), Page { text: "a\nbbbbbb", next: Some(8) });
        assert_eq!(page("äöü", 1, 3), Page { text: "ä", next: Some(2) });
        assert_eq!(page("🦀🦀", 0, 1), Page { text: "🦀", next: Some(4) });
        assert_eq!(page("🦀", 0, 0), Page { text: "🦀", next: None });
        assert_eq!(page(text, 19, 5), Page { text: "", next: None });
        assert_eq!(page(text, usize::MAX, usize::MAX), Page { text: "", next: None });
        assert_eq!(page("", 0, 5), Page { text: "", next: None });
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        /// Pages that follow each other are the text, and none is over its size but for one character.
        #[test]
        fn pages_are_the_text(text in "[aä€🦀\n]{0,80}", bytes_max in 0_usize..40) {
            let (mut joined, mut from) = (String::new(), Some(0));
            while let Some(start) = from {
                let page = page(&text, start, bytes_max);
                prop_assert!(page.text.len() <= bytes_max.max(4));
                joined.push_str(page.text);
                from = page.next;
            }
            prop_assert_eq!(joined, text);
        }

        /// Any bytes have an answer, and it is clean.
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200), from in 0_usize..300) {
            if let Some((text, _)) = plain(&bytes) {
                prop_assert_eq!(clean(&text), text.clone());
                let next = page(&text, from, 7).next;
                prop_assert!(next.is_none_or(|next| text.is_char_boundary(next)));
            }
        }
    }
}
