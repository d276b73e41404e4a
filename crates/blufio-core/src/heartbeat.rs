//! The agent's own look at whether something matters: what it looks at, when that has changed, and what it says of it.
//!
//! A look costs nothing as long as nothing has changed. If something has, the cheapest model is asked once, and it speaks up
//! by a decision in a fixed form; whatever else it writes is silence.

use serde::Deserialize;

/// The file of the workspace that says what to look at.
pub const FILE: &str = "HEARTBEAT.md";
/// Bytes of it that are read. Over: the rest does not exist.
pub const FILE_BYTES_MAX: usize = 8 * 1024;
/// Files that are watched. Over: the later ones are not.
pub const WATCHED_MAX: usize = 10;
/// Bytes of a watched file that the model reads. Over: cut.
pub const WATCHED_BYTES_MAX: usize = 1_000;
/// Bytes of what the owner is told. Over: cut.
const TEXT_BYTES_MAX: usize = 4_000;
/// What stands before a path that is watched.
const WATCH: &str = "watch:";

/// The system text of the call.
pub const INSTRUCTIONS: &str = "You look now and then, on your own, whether something matters to your person. Below is the \
    list of what to look at, and what there is to see. Most of the time nothing needs to be said. Answer with nothing but one \
    JSON object: {\"notify\": false}, or {\"notify\": true, \"text\": \"what the person should know, short\"}.";

/// The lines of the list that mean something: no headings, comments, fences, and boxes that are ticked or empty.
#[must_use]
pub fn lines(text: &str) -> Vec<&str> {
    let mut comment = false;
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        let begins = line.starts_with("<!--");
        comment |= begins;
        let inside = comment;
        comment &= !line.contains("-->");
        let bare = line.trim_start_matches(['-', '*', '+', ' ']);
        let ticked = ["[x]", "[X]"].iter().any(|ticked| bare.starts_with(ticked));
        let words = bare.trim_start_matches("[ ]").trim();
        if !inside && !ticked && !words.is_empty() && !line.starts_with('#') && !line.starts_with("```") {
            found.push(words);
        }
    }
    found
}

/// The paths of the workspace that are watched.
#[must_use]
pub fn watched<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    lines.iter().filter_map(|line| line.strip_prefix(WATCH)).map(str::trim).take(WATCHED_MAX).collect()
}

/// The lines with a day (`2026-11-24`) that has come; `today` is written so, too.
#[must_use]
pub fn due<'a>(lines: &[&'a str], today: &str) -> Vec<&'a str> {
    let day = |line: &&&str| {
        let words = line.split(|character: char| !character.is_ascii_digit() && character != '-');
        words.map(|word| word.trim_matches('-')).any(|word| is_day(word) && word <= today)
    };
    lines.iter().filter(day).copied().collect()
}

fn is_day(word: &str) -> bool {
    let mut parts = word.split('-').map(str::len);
    (parts.next(), parts.next(), parts.next(), parts.next()) == (Some(4), Some(2), Some(2), None)
}

/// What the owner is told; nothing for anything but a decision to speak.
#[must_use]
pub fn decision(answer: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Decision {
        notify: bool,
        #[serde(default)]
        text: String,
    }
    let answer = answer.trim().trim_start_matches("```json").trim_matches('`').trim();
    let decision: Decision = serde_json::from_str(answer).ok()?;
    let text = decision.text.trim();
    let text = text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default();
    (decision.notify && !text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_mean_something_count() {
        let check = |text: &str, expect: &[&str]| assert_eq!(lines(text), expect, "{text}");
        check("# Look at\n\n- the mail\n* [ ] the garden\n- [x] done\n- [ ]\n", &["the mail", "the garden"]);
        check("<!-- nothing\nhere -->\n```\n", &[]);
        check("<!-- one --> \nwatch: notes/today.md", &["watch: notes/today.md"]);
        check("", &[]);
    }

    #[test]
    fn files_and_days_are_found() {
        let all = ["watch: a.md", "on 2026-11-24: pay the rent", "the mail", "watch:  b/ "];
        assert_eq!(watched(&all), ["a.md", "b/"]);
        assert_eq!(due(&all, "2026-11-23"), [""; 0]);
        assert_eq!(due(&all, "2026-11-24"), ["on 2026-11-24: pay the rent"]);
        assert_eq!(due(&all, "2027-01-01"), ["on 2026-11-24: pay the rent"]);
        assert_eq!(due(&["call 555-12-34", "version 1-2-3"], "2026-11-24"), [""; 0]);
    }

    #[test]
    fn only_a_decision_speaks() {
        let check = |answer: &str, expect: Option<&str>| assert_eq!(decision(answer).as_deref(), expect, "{answer}");
        check(r#"{"notify": true, "text": "The rent is due."}"#, Some("The rent is due."));
        check("```json\n{\"notify\": true, \"text\": \"x\"}\n```", Some("x"));
        check(r#"{"notify": false}"#, None);
        check(r#"{"notify": true, "text": " "}"#, None);
        check("HEARTBEAT_OK", None);
        check("The rent is due!", None);
        check("", None);
    }
}
