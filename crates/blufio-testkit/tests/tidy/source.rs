//! Rust text with the parts blanked out that a rule does not mean: comments, the inside of literals, test modules.
//! Line breaks stay, so line numbers do. It knows tokens, not grammar; what needs types is left to clippy.

/// The text without comments and without the inside of string and character literals (their quotes stay).
pub fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        at += if rest.starts_with(b"//") {
            blank(&mut out, at, find(rest, b"\n").unwrap_or(rest.len()))
        } else if rest.starts_with(b"/*") {
            blank(&mut out, at, block_comment(rest))
        } else if let Some((open, close)) = raw_string(bytes, at) {
            let inside = find(&rest[open..], close.as_bytes()).unwrap_or(rest.len() - open);
            blank(&mut out, at + open, inside);
            (open + inside + close.len()).min(rest.len())
        } else if rest[0] == b'"' {
            let inside = quoted(&rest[1..], b'"');
            blank(&mut out, at + 1, inside);
            (inside + 2).min(rest.len())
        } else if let Some(inside) = character(rest) {
            blank(&mut out, at + 1, inside);
            inside + 2
        } else {
            1
        };
    }
    String::from_utf8(out).expect("only whole characters were blanked out")
}

/// The code (see [`code_only`]) without the items behind `#[cfg(test)]` or `#[cfg(all(test, …))]`.
pub fn without_tests(code: &str) -> String {
    let mut out = code.as_bytes().to_vec();
    let mut from = 0;
    while let Some(start) = next_test_item(code, from) {
        let length = item_length(&code.as_bytes()[start..]);
        blank(&mut out, start, length);
        from = start + length;
    }
    String::from_utf8(out).expect("items begin and end at ASCII characters")
}

/// The places where `token` stands in `code`, as (line number from 1, byte offset). A token that begins or ends with a
/// letter counts only as a whole word.
pub fn places(code: &str, token: &str) -> Vec<(usize, usize)> {
    let word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let (bytes, wanted) = (code.as_bytes(), token.as_bytes());
    let mut found = Vec::new();
    for (at, _) in code.match_indices(token) {
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        let glued_left = word(wanted.first()) && word(before);
        let glued_right = word(wanted.last()) && word(bytes.get(at + wanted.len()));
        if !glued_left && !glued_right {
            found.push((1 + code[..at].matches('\n').count(), at));
        }
    }
    found
}

/// Whether the `.ok();` at `at` throws its result away: nothing in its statement takes the value.
pub fn is_discarded(code: &str, at: usize) -> bool {
    let mut depth = 0;
    let mut backwards = Vec::new(); // the statement without what stands in its brackets
    for byte in code.as_bytes()[..at].iter().rev() {
        match byte {
            b')' | b']' | b'}' => depth += 1,
            b'(' | b'[' | b'{' if depth > 0 => depth -= 1,
            b'(' | b'[' | b'{' | b';' if depth == 0 => break,
            _ if depth == 0 => backwards.push(*byte),
            _ => {}
        }
    }
    backwards.reverse();
    let statement = String::from_utf8_lossy(&backwards);
    !statement.contains(" = ") && places(&statement, "return").is_empty() && places(&statement, "break").is_empty()
}

fn blank(out: &mut [u8], from: usize, length: usize) -> usize {
    out[from..from + length].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
    length
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// Length of the block comment that begins here; they nest.
fn block_comment(bytes: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if bytes[at..].starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

/// Length of the opening and the text of the closing quote, if a raw string (`r"`, `r#"`, `br#"`, `cr#"`) begins here.
fn raw_string(bytes: &[u8], at: usize) -> Option<(usize, String)> {
    let inside_a_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    let letters = match bytes[at..] {
        [b'r', ..] => 1,
        [b'b' | b'c', b'r', ..] => 2,
        _ => return None,
    };
    let hashes = bytes[at + letters..].iter().take_while(|byte| **byte == b'#').count();
    let opens = bytes.get(at + letters + hashes) == Some(&b'"');
    (opens && !inside_a_word).then(|| (letters + hashes + 1, format!("\"{}", "#".repeat(hashes))))
}

/// Length up to the closing quote that no backslash escapes.
fn quoted(bytes: &[u8], quote: u8) -> usize {
    let mut at = 0;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at.min(bytes.len())
}

/// Length of the inside of the character literal that begins here; a lifetime is none.
fn character(bytes: &[u8]) -> Option<usize> {
    if bytes[0] != b'\'' {
        return None;
    }
    if bytes.get(1) == Some(&b'\\') {
        return Some(quoted(&bytes[1..], b'\''));
    }
    let first = std::str::from_utf8(&bytes[1..bytes.len().min(5)]).or_else(|error| {
        std::str::from_utf8(&bytes[1..1 + error.valid_up_to()]) // cut in the middle of the character after the first
    });
    let length = first.ok()?.chars().next()?.len_utf8();
    (bytes.get(1 + length) == Some(&b'\'')).then_some(length)
}

fn next_test_item(code: &str, from: usize) -> Option<usize> {
    ["#[cfg(test)]", "#[cfg(all(test"]
        .iter()
        .filter_map(|attribute| code[from..].find(attribute))
        .min()
        .map(|at| from + at)
}

/// Length of an attribute and the item behind it: up to the matching brace, or the semicolon if there is no body.
fn item_length(bytes: &[u8]) -> usize {
    let (mut braces, mut others) = (0, 0);
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'(' | b'[' => others += 1,
            b')' | b']' => others -= 1,
            b'{' => braces += 1,
            b'}' => {
                braces -= 1;
                if braces == 0 && others == 0 {
                    return at + 1;
                }
            }
            b';' if braces == 0 && others == 0 => return at + 1,
            _ => {}
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expect: &str) {
        assert_eq!(code_only(input), expect, "{input}");
    }

    #[test]
    fn comments_and_literals_are_blanked() {
        check("a // b\nc", "a     \nc");
        check("a /* b /* c */ d */ e", "a                   e");
        check(r#"f("a\"b") // "x"#, r#"f("    ")      "#);
        check(r##"r#"a"b"# c"##, r##"r#"   "# c"##);
        check("'\"' 'a' \"b\"", "' ' ' ' \" \"");
        check(r"'\'' 'ä' x", "'  ' '  ' x");
        check("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)");
        check("b\"x\" b'y' for", "b\" \" b' ' for");
        check("\"a\nb", "\" \n ");
    }

    #[test]
    fn test_items_are_blanked() {
        let code = "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { c([1; 2]) } }\nfn d() {}";
        let left = without_tests(code);
        assert_eq!(left.split_whitespace().collect::<Vec<_>>(), ["fn", "a()", "{}", "fn", "d()", "{}"]);
        assert_eq!(left.lines().count(), code.lines().count());
        assert_eq!(without_tests("#[cfg(all(test, feature = \"x\"))]\nmod t;\nlet a;").trim(), "let a;");
        assert_eq!(without_tests("#[cfg(not(test))] fn a() {}"), "#[cfg(not(test))] fn a() {}");
    }

    #[test]
    fn tokens_are_whole_words() {
        assert_eq!(places("panic!(); no_panic!();\npanic!()", "panic!("), [(1, 0), (2, 23)]);
        assert_eq!(places("blufio_store::x my_blufio_store", "blufio_store"), [(1, 0)]);
        assert_eq!(places("a.unwrap().unwrap_or()", ".unwrap()"), [(1, 1)]);
    }

    #[test]
    fn an_ok_whose_value_is_used_is_no_discard() {
        let discarded = |code: &str| is_discarded(code, code.find(".ok();").expect("a call"));
        assert!(discarded("{ send(x = 1).ok(); }"));
        assert!(discarded("let a = 1; f(|x| { y }).ok();"));
        assert!(discarded("{ if x { a = b; } send().ok(); }"));
        assert!(!discarded("let a = f(|x| { y; }).ok();"));
        assert!(!discarded("{ return f().ok(); }"));
    }
}
