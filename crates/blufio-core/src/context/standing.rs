//! The static zone: what stands in front of every conversation. Instructions, files of the workspace, and the index of skills,
//! each with a cap; what does not fit is said to be missing. Chosen once per epoch; nothing here reads a file.

use super::skills::{Skill, index};
use crate::heartbeat::INSTRUCTIONS;
use serde::{Deserialize, Serialize};

/// The files of the workspace that belong to every conversation, in the order they stand there; the last one is the owner's own
/// and stands only in conversations that nobody else reads.
pub const FILES: [&str; 4] = ["AGENTS.md", "SOUL.md", "IDENTITY.md", USER];
/// What it should know of its owner.
const USER: &str = "USER.md";
/// What is remembered, as a file to read and edit ([`crate::memory::document`]); it stands in no conversation.
pub const MEMORY: &str = "MEMORY.md";
/// Bytes of one file that stand there. Over: cut at a line.
pub const STANDING_FILE_BYTES_MAX: usize = 8 * 1024;
/// Bytes of all of them. Over: as above; the later ones give way.
pub const STANDING_FILES_BYTES_MAX: usize = 20 * 1024;
/// Bytes of all lasting wishes, about 600 tokens. Over: the last ones are left out, and it says how many.
pub const STANDING_WISHES_BYTES_MAX: usize = 2_000;
/// The name of the fragment that holds them.
pub const WISHES: &str = "wishes";
/// Bytes of a file that are read at all. Over: the rest does not exist.
pub const SOURCE_BYTES_MAX: usize = 1024 * 1024;

const _: () = assert!(STANDING_FILE_BYTES_MAX < STANDING_FILES_BYTES_MAX);
const _: () = assert!(STANDING_FILES_BYTES_MAX < SOURCE_BYTES_MAX);

/// Who reads a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Audience {
    /// The owner alone.
    Owner,
    /// Others, too.
    Others,
    /// No person: the agent's own looks (see [`crate::heartbeat`]).
    Nobody,
}

/// A file of the workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// One of [`FILES`].
    pub name: &'static str,
    /// Its beginning.
    pub text: String,
    /// Bytes of all of it.
    pub bytes: u64,
}

/// A part of the static zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fragment {
    /// What it is: `instructions`, a file's name, `skills`.
    pub name: String,
    /// Why it is there.
    pub why: String,
    /// As it stands there.
    pub text: String,
    /// Bytes of its source that do not.
    pub left_out: u64,
}

/// What the static zone is chosen from, besides the instructions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sources<'a> {
    /// Files of the workspace.
    pub files: &'a [Source],
    /// Skills.
    pub skills: &'a [Skill],
    /// Lasting wishes of whoever speaks there; the most important first.
    pub wishes: &'a [&'a str],
}

/// The static zone of a conversation that so many read.
#[must_use]
pub fn fragments(instructions: &str, sources: &Sources<'_>, audience: Audience) -> Vec<Fragment> {
    let Sources { files, skills, wishes: standing } = *sources;
    let mut all = Vec::new();
    if audience == Audience::Nobody {
        let (name, why, text) = ("heartbeat".into(), "a look of its own".into(), INSTRUCTIONS.to_owned());
        return vec![Fragment { name, why, text, left_out: 0 }];
    }
    if !instructions.trim().is_empty() {
        let text = instructions.trim().to_owned();
        all.push(Fragment { name: "instructions".into(), why: "agents.main.instructions".into(), text, left_out: 0 });
    }
    let mut room = STANDING_FILES_BYTES_MAX;
    for file in files.iter().filter(|file| audience == Audience::Owner || !is_private(file.name)) {
        let shown = lines(&file.text, STANDING_FILE_BYTES_MAX.min(room));
        room -= shown.len();
        let left_out = file.bytes.saturating_sub(shown.len() as u64);
        // White space at the end is nothing that is missing.
        let rest = file.text.get(shown.len()..).is_some_and(|rest| rest.trim().is_empty());
        let left_out = if rest && file.bytes <= file.text.len() as u64 { 0 } else { left_out };
        if shown.trim().is_empty() && left_out == 0 {
            continue;
        }
        let note = match (left_out, file.name) {
            (0, _) => String::new(),
            (bytes, name) => format!("\n[{bytes} bytes more are in the file {name} of the workspace.]"),
        };
        let text = format!("# {}\n{}{note}", file.name, shown.trim());
        let why = if is_private(file.name) { "only the owner reads here" } else { "in the workspace" };
        all.push(Fragment { name: file.name.into(), why: why.into(), text, left_out });
    }
    all.extend(wishes(standing));
    all.extend(index(skills));
    all
}

/// The wishes that fit, and how many do not.
fn wishes(wishes: &[&str]) -> Option<Fragment> {
    let mut room = STANDING_WISHES_BYTES_MAX;
    let fits = |wish: &&&str| {
        let fits = wish.len() < room;
        room -= if fits { wish.len() + 1 } else { 0 };
        fits
    };
    let shown: Vec<String> = wishes.iter().filter(fits).map(|wish| format!("- {wish}")).collect();
    let left_out: usize = wishes.len() - shown.len();
    let note = if left_out > 0 { format!("\n[{left_out} older ones do not fit here.]") } else { String::new() };
    let text = format!("# Standing wishes of the person\n{}{note}", shown.join("\n"));
    let all: usize = wishes.iter().map(|wish| wish.len() + 1).sum();
    let left_out = all.saturating_sub(STANDING_WISHES_BYTES_MAX - room) as u64;
    let (name, why) = (WISHES.to_owned(), "standing facts of the memory".to_owned());
    (!shown.is_empty()).then_some(Fragment { name, why, text, left_out })
}

/// The text that is sent.
#[must_use]
pub fn text(fragments: &[Fragment]) -> String {
    fragments.iter().map(|fragment| fragment.text.as_str()).collect::<Vec<_>>().join("\n\n")
}

/// It is the owner's own.
#[must_use]
pub fn is_private(file: &str) -> bool {
    matches!(file, USER | WISHES)
}

/// A path of the workspace that decides what stands in front of conversations; only an owner's yes lets a tool change it.
/// Without regard to case, since not every disk has any.
#[must_use]
pub fn is_standing(path: &str) -> bool {
    let mut names = path.split('/').filter(|name| !matches!(*name, "" | "."));
    let (first, more) = (names.next().unwrap_or_default(), names.next().is_some());
    !more && FILES.iter().chain(&[MEMORY]).any(|file| file.eq_ignore_ascii_case(first))
        || first.eq_ignore_ascii_case("skills")
}

/// The whole lines that fit, or as much of the first line as does.
fn lines(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let head = text.get(..text.floor_char_boundary(max)).unwrap_or_default();
    head.rfind('\n').and_then(|end| head.get(..=end)).unwrap_or(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn source(name: &'static str, text: &str) -> Source {
        Source { name, text: text.to_owned(), bytes: text.len() as u64 }
    }

    #[test]
    fn files_stand_in_order_and_the_owners_own_only_where_nobody_else_reads() {
        let files = [source("AGENTS.md", "Be kind.\n"), source("SOUL.md", " \n"), source("USER.md", "Ann, 41.\n")];
        let shown =
            |audience| text(&fragments("Be brief.", &Sources { files: &files, ..Sources::default() }, audience));
        assert_eq!(shown(Audience::Owner), "Be brief.\n\n# AGENTS.md\nBe kind.\n\n# USER.md\nAnn, 41.");
        assert_eq!(shown(Audience::Others), "Be brief.\n\n# AGENTS.md\nBe kind.");
    }

    #[test]
    fn a_huge_file_is_cut_at_a_line_and_says_so() {
        let line = "All work and no play makes Jack a dull boy.\n";
        let text = line.repeat(200);
        let huge = Source { name: "AGENTS.md", text, bytes: 5_000_000 };
        let found = fragments("", &Sources { files: &[huge], ..Sources::default() }, Audience::Owner);
        let shown = 8 * 1024 / line.len() * line.len();
        assert_eq!(found[0].left_out, 5_000_000 - shown as u64);
        let end = format!("boy.\n[{} bytes more are in the file AGENTS.md of the workspace.]", 5_000_000 - shown);
        assert!(found[0].text.ends_with(&end), "{}", found[0].text);
    }

    #[test]
    fn wishes_stand_there_as_far_as_there_is_room() {
        let long: Vec<String> = (0..100).map(|number| format!("wish {number} {}", "x".repeat(40))).collect();
        let wishes: Vec<&str> = long.iter().map(String::as_str).collect();
        let found = fragments("", &Sources { wishes: &wishes, ..Sources::default() }, Audience::Others);
        let shown = found[0].text.matches("wish ").count();
        assert!(found[0].text.len() < STANDING_WISHES_BYTES_MAX + 300 && shown > 30, "{}", found[0].text);
        assert!(
            found[0].text.ends_with(&format!("[{} older ones do not fit here.]", 100 - shown)),
            "{}",
            found[0].text
        );
        assert!(fragments("", &Sources::default(), Audience::Owner).is_empty());
    }

    #[test]
    fn changes_of_what_stands_there_are_known() {
        let check = |path: &str, expect| assert_eq!(is_standing(path), expect, "{path}");
        check("AGENTS.md", true);
        check("./agents.MD", true);
        check("skills/x/SKILL.md", true);
        check("notes/AGENTS.md", false);
        check("AGENTS.md.txt", false);
        check("", false);
    }

    proptest! {
        #[test]
        fn nothing_exceeds_its_cap(texts in proptest::collection::vec("(?s).{0,12000}", 4)) {
            let files: Vec<Source> = FILES.iter().zip(&texts).map(|(name, text)| source(name, text)).collect();
            let found = fragments("", &Sources { files: &files, ..Sources::default() }, Audience::Owner);
            let frame = |fragment: &Fragment| fragment.name.len() + 80;
            let total: usize = found.iter().map(|fragment| fragment.text.len() - frame(fragment).min(fragment.text.len())).sum();
            prop_assert!(total <= STANDING_FILES_BYTES_MAX);
        }
    }
}
