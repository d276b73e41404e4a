//! The markup of a received text, written as Markdown, which is what the model reads.
//!
//! The Bot API gives a plain text and a list of entities whose offsets count UTF-16 code units. Bold, italic, struck out,
//! hidden, code, code blocks, quotes and labelled links are written; everything else (mentions, commands, bare links,
//! underlines) is text already.
//! It refuses to know the model and never fails: an entity that makes no sense is left out.

use super::wire::MessageEntity;
use std::cmp::Reverse;

/// Entities of one message that are looked at; the server sends at most about a hundred.
const ENTITIES_READ_MAX: usize = 200;

/// A marker and the place it goes to, in UTF-16 code units.
struct Marker {
    at: usize,
    /// Closing markers come before opening ones; among closing ones the inner first, among opening ones the outer first.
    order: (bool, Reverse<usize>, usize),
    text: String,
}

/// `text` with its entities as Markdown.
pub(super) fn to_markdown(text: &str, entities: &[MessageEntity]) -> String {
    let mut markers = Vec::new();
    for (place, entity) in entities.iter().take(ENTITIES_READ_MAX).enumerate() {
        let (Ok(start), Ok(length)) = (usize::try_from(entity.offset), usize::try_from(entity.length)) else {
            continue;
        };
        let Some((open, close)) = marks(entity) else { continue };
        if length == 0 {
            continue;
        }
        let end = start.saturating_add(length);
        markers.push(Marker { at: start, order: (true, Reverse(end), place), text: open });
        markers.push(Marker { at: end, order: (false, Reverse(start), usize::MAX - place), text: close });
    }
    if markers.is_empty() {
        return text.to_owned();
    }
    markers.sort_by_key(|marker| (marker.at, marker.order));
    insert(text, &markers)
}

/// What stands before and behind an entity; `None` for kinds that are left as text.
fn marks(entity: &MessageEntity) -> Option<(String, String)> {
    let same = |mark: &str| Some((mark.to_owned(), mark.to_owned()));
    match entity.kind.as_str() {
        "bold" => same("**"),
        "italic" => same("_"),
        "strikethrough" => same("~~"),
        "code" => same("`"),
        "pre" => Some((format!("```{}\n", entity.language.as_deref().unwrap_or_default()), "\n```".to_owned())),
        "spoiler" => same("||"),
        "blockquote" | "expandable_blockquote" => Some(("> ".to_owned(), "\n".to_owned())),
        "text_link" => Some(("[".to_owned(), format!("]({})", entity.url.as_deref()?))),
        _ => None,
    }
}

/// Puts sorted markers in. One that points into a surrogate pair or behind the end goes to the next possible place.
fn insert(text: &str, markers: &[Marker]) -> String {
    let mut written = String::with_capacity(text.len() + 8 * markers.len());
    let mut left = markers.iter().peekable();
    let mut units = 0;
    let mut quoting = false;
    for character in text.chars() {
        while let Some(marker) = left.next_if(|marker| marker.at <= units) {
            match marker.text.as_str() {
                "> " => quoting = true,
                "\n" => quoting = false,
                _ => {}
            }
            written.push_str(&marker.text);
        }
        written.push(character);
        if quoting && character == '\n' {
            written.push_str("> ");
        }
        units += character.len_utf16();
    }
    for marker in left {
        written.push_str(&marker.text);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(kind: &str, offset: i64, length: i64) -> MessageEntity {
        MessageEntity {
            kind: kind.to_owned(),
            offset,
            length,
            url: Some("https://example.org".to_owned()),
            language: None,
            user: None,
        }
    }

    #[test]
    fn entities_become_markdown() {
        let check = |text: &str, entities: &[MessageEntity], expect: &str| {
            assert_eq!(to_markdown(text, entities), expect);
        };
        check("plain *text*", &[], "plain *text*");
        check("a bold word", &[entity("bold", 2, 4)], "a **bold** word");
        check("😀 bold", &[entity("bold", 3, 4)], "😀 **bold**");
        check("both", &[entity("bold", 0, 4), entity("italic", 0, 4)], "**_both_**");
        check("ab", &[entity("bold", 0, 1), entity("italic", 1, 1)], "**a**_b_");
        check("outer inner", &[entity("bold", 0, 11), entity("code", 6, 5)], "**outer `inner`**");
        check("let x", &[entity("pre", 0, 5)], "```\nlet x\n```");
        check("see here", &[entity("text_link", 4, 4)], "see [here](https://example.org)");
        check("a\nb\nc", &[entity("blockquote", 0, 3)], "> a\n> b\n\nc");
        check("psst", &[entity("spoiler", 0, 4)], "||psst||");
        check("a\nb", &[entity("expandable_blockquote", 2, 1)], "a\n> b\n");
        check("/stop", &[entity("bot_command", 0, 5)], "/stop");
        for kind in ["underline", "custom_emoji", "text_mention", "mention", "url", "something_of_2030"] {
            check("as it is", &[entity(kind, 0, 5)], "as it is");
        }
        check("odd", &[entity("bold", -1, 4), entity("bold", 0, 0), entity("bold", 1, i64::MAX)], "o**dd**");
    }
}
