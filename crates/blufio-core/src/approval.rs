//! Asking an owner: what the question shows, and how its answer is named.
//!
//! The question is written from the stored arguments and never by a model. Characters that a reader would not see are shown
//! as `\u{…}`, so that what is approved is what is run.

use crate::access::PAIRING_ALPHABET;
use crate::ids::ApprovalId;
use crate::limits::{APPROVAL_AGE, APPROVAL_RESTED_TTL, APPROVAL_TTL};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Symbols of an id.
const ID_SYMBOLS: u32 = 20;
/// Version of the data behind a button.
const DATA_VERSION: &str = "b1";
/// Characters of arguments that a question shows, hidden ones written out; all of them are shown, in several messages if need
/// be. More: nobody is asked, and the call does not run.
pub const SHOWN_CHARACTERS_MAX: usize = 16_000;
/// Bytes of the data behind a button (Bot API, `InlineKeyboardButton.callback_data`).
pub const BUTTON_DATA_BYTES_MAX: usize = 64;

const _: () = assert!(DATA_VERSION.len() + 1 + ID_SYMBOLS as usize + 1 + 2 <= BUTTON_DATA_BYTES_MAX);

/// An owner's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Run it, this once.
    Allow,
    /// Run it, and the same call whenever it comes again, without asking.
    Always,
    /// Do not.
    Deny,
}

impl Verdict {
    /// The word behind a button and in `/approve`.
    #[must_use]
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Allow => "ok",
            Self::Always => "al",
            Self::Deny => "no",
        }
    }

    /// From that word.
    #[must_use]
    pub fn parse(verb: &str) -> Option<Self> {
        [Self::Allow, Self::Always, Self::Deny].into_iter().find(|verdict| verdict.verb() == verb)
    }
}

/// Until when a question is open that is asked `now`; `from`: it is shown only then, to somebody who was not awake.
#[must_use]
pub fn open_until(now: Timestamp, from: Option<Timestamp>) -> Timestamp {
    match from.filter(|from| *from > now) {
        Some(from) => from.plus(APPROVAL_RESTED_TTL).min(now.plus(APPROVAL_AGE)),
        None => now.plus(APPROVAL_TTL),
    }
}

/// A button below a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Button {
    /// What it says.
    pub label: String,
    /// What comes back when it is pressed, at most [`BUTTON_DATA_BYTES_MAX`] bytes; carries no authority.
    pub data: String,
}

/// An id from 100 random bits.
#[must_use]
pub fn approval_id(random: [u64; 2]) -> ApprovalId {
    let bits = u128::from(random[0]) << 64 | u128::from(random[1]);
    let symbol = |place: u32| {
        let index = usize::try_from((bits >> (place * 5)) & 31).unwrap_or(0);
        char::from(PAIRING_ALPHABET.get(index).copied().unwrap_or(b'A'))
    };
    ApprovalId::new((0..ID_SYMBOLS).map(symbol).collect::<String>())
}

/// The buttons of a question; `grantable`: it may be answered with "always".
#[must_use]
pub fn buttons(id: &ApprovalId, grantable: bool) -> Vec<Button> {
    let button = |label: &str, verdict: Verdict| Button {
        label: label.to_owned(),
        data: format!("{DATA_VERSION}:{id}:{}", verdict.verb()),
    };
    let mut buttons = vec![button("Allow once", Verdict::Allow), button("Deny", Verdict::Deny)];
    if grantable {
        buttons.insert(1, button("Always this", Verdict::Always));
    }
    buttons
}

/// Among these is one that says "always".
#[must_use]
pub fn offers_always(buttons: &[Button]) -> bool {
    buttons.iter().any(|button| pressed(&button.data).is_some_and(|(_, verdict)| verdict == Verdict::Always))
}

/// Reads the data behind a pressed button.
#[must_use]
pub fn pressed(data: &str) -> Option<(ApprovalId, Verdict)> {
    let mut parts = data.split(':');
    let (version, id, verb) = (parts.next()?, parts.next()?, parts.next()?);
    let known = version == DATA_VERSION && is_id(id) && parts.next().is_none();
    Some((ApprovalId::new(id), Verdict::parse(verb).filter(|_| known)?))
}

/// Has the form of an id.
#[must_use]
pub fn is_id(text: &str) -> bool {
    text.len() == 20 && text.bytes().all(|byte| PAIRING_ALPHABET.contains(&byte))
}

/// What a question says.
pub struct Question<'a> {
    /// Its id.
    pub id: &'a ApprovalId,
    /// Why it is asked.
    pub reason: &'a str,
    /// The tool.
    pub tool: &'a str,
    /// Its exact arguments.
    pub arguments: &'a str,
    /// A name of all of them, in hexadecimal.
    pub hash: &'a str,
    /// It may be answered with "always".
    pub grantable: bool,
}

/// The question as Markdown: what is wanted, why it is asked, and the exact arguments.
#[must_use]
pub fn question(question: &Question<'_>) -> String {
    let Question { id, reason, tool, arguments, hash, grantable } = question;
    let visible = escaped(arguments);
    let fence = "`".repeat(longest_run(&visible, '`').max(2) + 1);
    let text = format!("May I run `{tool}`? {reason}\n\n{fence}\n{visible}\n{fence}\n");
    let short: String = hash.chars().take(16).collect();
    let always = if *grantable { format!(", `/approve {id} al` for always exactly this") } else { String::new() };
    text + &format!("\nOr write `/approve {id} ok`{always}, or `/approve {id} no`. (arguments {short})")
}

/// An owner can be shown all of it.
#[must_use]
pub fn is_showable(arguments: &str) -> bool {
    escaped(arguments).chars().count() <= SHOWN_CHARACTERS_MAX
}

/// `text` with everything invisible or misleading made visible.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for character in text.chars() {
        if is_hidden(character) {
            visible.push_str(&format!("\\u{{{:x}}}", u32::from(character)));
        } else {
            visible.push(character);
        }
    }
    visible
}

/// Not seen by a reader, or changes the order in which the rest is seen.
fn is_hidden(character: char) -> bool {
    matches!(character,
        '\u{0}'..='\u{9}' | '\u{b}'..='\u{1f}' | '\u{7f}'..='\u{a0}' | '\u{ad}' | '\u{34f}' | '\u{61c}'
        | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{2000}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}' | '\u{2800}'
        | '\u{3000}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

fn longest_run(text: &str, wanted: char) -> usize {
    let mut longest = 0;
    let mut run = 0;
    for character in text.chars() {
        run = if character == wanted { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_question_is_open_for_ten_minutes_or_for_hours_of_the_morning_and_never_longer_than_a_day() {
        let hours = |hours: i64| Timestamp(hours * 3_600_000);
        assert_eq!(open_until(hours(22), None), Timestamp(22 * 3_600_000 + 600_000));
        assert_eq!(open_until(hours(22), Some(hours(21))), open_until(hours(22), None), "it waits for nothing");
        assert_eq!(open_until(hours(22), Some(hours(31))), hours(37));
        assert_eq!(open_until(hours(8), Some(hours(31))), hours(32), "a day in all");
    }

    #[test]
    fn buttons_lead_back_to_their_question_and_nothing_else_does() {
        let id = approval_id([7, u64::MAX]);
        let data = |grantable| buttons(&id, grantable).into_iter().map(|button| button.data).collect::<Vec<String>>();
        assert!(data(true).iter().all(|data| data.len() <= BUTTON_DATA_BYTES_MAX));
        let read = |grantable| data(grantable).iter().map(|data| pressed(data).unwrap().1).collect::<Vec<_>>();
        assert_eq!(read(true), [Verdict::Allow, Verdict::Always, Verdict::Deny]);
        assert_eq!(read(false), [Verdict::Allow, Verdict::Deny]);
        assert_eq!(pressed(&data(false)[0]), Some((id.clone(), Verdict::Allow)));
        for odd in ["", "b1", "b1::ok", "b2:AAAAAAAAAAAAAAAAAAAA:ok", "b1:AAAAAAAAAAAAAAAAAAAA:yes", "b1:a:ok"] {
            assert_eq!(pressed(odd), None, "{odd}");
        }
        assert_eq!(pressed("b1:AAAAAAAAAAAAAAAAAAAA:ok:more"), None);
    }

    #[test]
    fn what_is_hidden_is_shown() {
        assert_eq!(escaped("a\u{202e}b\u{200b}c\nd\te\u{e0041}ü😀"), "a\\u{202e}b\\u{200b}c\nd\\u{9}e\\u{e0041}ü😀");
    }

    #[test]
    fn a_question_cannot_break_out_of_its_frame() {
        let id = approval_id([0, 0]);
        let ask = |arguments: &str| {
            let (id, reason, tool, hash) = (&id, "I always ask.", "write_file", "0123456789abcdef0");
            question(&Question { id, reason, tool, arguments, hash, grantable: true })
        };
        let text = ask("{\"content\":\"```` **ok**\"}");
        assert!(text.contains("`````\n{\"content\""), "{text}");
        assert!(is_showable(&"x".repeat(SHOWN_CHARACTERS_MAX)));
        assert!(!is_showable(&"x".repeat(SHOWN_CHARACTERS_MAX + 1)));
        assert!(!is_showable(&"\u{200b}".repeat(SHOWN_CHARACTERS_MAX / 4)), "what is written out counts");
    }
}
