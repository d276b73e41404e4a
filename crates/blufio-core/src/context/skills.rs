//! Skills: texts that say how something is done, of which the model sees the names, and the whole when it needs one.

use super::standing::Fragment;

/// Skills of an installation. Full: the later ones, in the order of their names, do not exist.
pub const SKILLS_MAX: usize = 200;
/// Lines of the index. Full: the others are found by [`find`].
pub const INDEX_ENTRIES_MAX: usize = 40;
/// Bytes of a line of the index, about 45 tokens. Over: cut at a word.
pub const INDEX_LINE_BYTES_MAX: usize = 150;
/// Bytes of the index, about 1,800 tokens. Full: as for [`INDEX_ENTRIES_MAX`].
pub const INDEX_BYTES_MAX: usize = 5_800;
/// Bytes of a skill that are shown, about 5,000 tokens. Over: cut at a line.
pub const SKILL_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a skill's name.
const NAME_BYTES_MAX: usize = 64;
/// Skills that a search names.
const FOUND_MAX: usize = 5;

const HEAD: &str =
    "# Skills\nEach says how something is done here. Load one with `skill_load` before you do what it is about.";

/// What is known of a skill without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skill {
    /// `a-z`, `0-9` and `-`; the name of its folder.
    pub name: String,
    /// One line, for the model.
    pub description: String,
}

/// The index as a part of the static zone; none without skills.
#[must_use]
pub fn index(skills: &[Skill]) -> Option<Fragment> {
    if skills.is_empty() {
        return None;
    }
    let mut text = HEAD.to_owned();
    let mut shown = 0;
    for skill in skills.iter().take(INDEX_ENTRIES_MAX) {
        let line =
            format!("\n- {}: {}", skill.name, words(&skill.description, INDEX_LINE_BYTES_MAX - skill.name.len()));
        if text.len() + line.len() > INDEX_BYTES_MAX {
            break;
        }
        text.push_str(&line);
        shown += 1;
    }
    let hidden = skills.len() - shown;
    if hidden > 0 {
        text.push_str(&format!("\n{hidden} more are found with `skill_load` by what they are about."));
    }
    let why = format!("{shown} of {} skills", skills.len());
    Some(Fragment { name: "skills".to_owned(), why, text, left_out: 0 })
}

/// Reads a skill's file: its description and its body. Without a front matter the first line describes it.
#[must_use]
pub fn read(text: &str) -> (String, &str) {
    let text = text.trim_start_matches('\u{feff}');
    let front = text.strip_prefix("---").and_then(|rest| rest.split_once("\n---"));
    let Some((front, body)) = front else {
        let first = text.lines().map(|line| line.trim_start_matches('#').trim()).find(|line| !line.is_empty());
        return (first.unwrap_or_default().to_owned(), text.trim());
    };
    let mut lines = front.lines().skip_while(|line| !line.starts_with("description:"));
    let first = lines.next().and_then(|line| line.strip_prefix("description:")).unwrap_or_default().trim();
    // Folded or literal: the indented lines below.
    let described = match first {
        "" | ">" | ">-" | "|" | "|-" => {
            lines.take_while(|line| line.starts_with(' ')).map(str::trim).collect::<Vec<_>>().join(" ")
        }
        plain => plain.trim_matches(['"', '\'']).to_owned(),
    };
    (described, body.split_once('\n').map_or("", |(_, body)| body).trim())
}

/// A folder's name that can be a skill's.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(plain)
}

/// Skills that are about something, the best first.
#[must_use]
pub fn find<'a>(skills: &'a [Skill], about: &str) -> Vec<&'a Skill> {
    let wanted: Vec<String> = about.to_lowercase().split(|c: char| !c.is_alphanumeric()).map(str::to_owned).collect();
    let score = |skill: &Skill| {
        let text = format!("{} {}", skill.name, skill.description).to_lowercase();
        wanted.iter().filter(|word| word.len() > 2 && text.contains(word.as_str())).count()
    };
    let mut found: Vec<(usize, &Skill)> =
        skills.iter().map(|skill| (score(skill), skill)).filter(|(score, _)| *score > 0).collect();
    found.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    found.into_iter().take(FOUND_MAX).map(|(_, skill)| skill).collect()
}

/// The words that fit.
fn words(text: &str, max: usize) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.len() <= max {
        return text;
    }
    let head = text.get(..text.floor_char_boundary(max.saturating_sub('…'.len_utf8()))).unwrap_or_default();
    format!("{}…", head.rsplit_once(' ').map_or(head, |(head, _)| head))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skill(name: &str, description: &str) -> Skill {
        Skill { name: name.to_owned(), description: description.to_owned() }
    }

    #[test]
    fn files_of_skills_are_read() {
        let check = |text: &str, description: &str, body: &str| {
            assert_eq!(read(text), (description.to_owned(), body), "{text}")
        };
        check("---\nname: x\ndescription: Does it.\n---\n\nFirst this.\n", "Does it.", "First this.");
        check("---\ndescription: \"a: b\"\nname: x\n---\nbody", "a: b", "body");
        check("---\ndescription: >\n  one\n  two\nname: x\n---\nbody", "one two", "body");
        check("---\r\ndescription: x\r\n---\r\nbody", "x", "body");
        check("# Invoices\n\nWrite them.", "Invoices", "# Invoices\n\nWrite them.");
        check("---\nname: x\n---\nbody", "", "body");
        check("---\nnever closed", "---", "---\nnever closed");
        check("", "", "");
    }

    #[test]
    fn the_index_is_bounded_and_says_what_is_missing() {
        assert_eq!(index(&[]), None);
        let many: Vec<Skill> = (0..100).map(|n| skill(&format!("skill-{n:03}"), &"word ".repeat(80))).collect();
        let found = index(&many).expect("there are skills");
        assert!(found.text.len() <= INDEX_BYTES_MAX + 80, "{}", found.text.len());
        let shown = found.text.matches("\n- skill-").count();
        assert!(
            found
                .text
                .ends_with(&format!("\n{} more are found with `skill_load` by what they are about.", 100 - shown))
        );
        assert!(found.text.lines().all(|line| line.len() <= INDEX_LINE_BYTES_MAX + 8), "{}", found.text);
    }

    #[test]
    fn skills_are_found_by_what_they_are_about() {
        let all = [
            skill("invoice", "Writes bills for clients"),
            skill("trip", "Plans journeys"),
            skill("tax", "The bills of a year"),
        ];
        let names = |about: &str| find(&all, about).iter().map(|skill| skill.name.as_str()).collect::<Vec<_>>();
        assert_eq!(names("bills for my client"), ["invoice", "tax"]);
        assert_eq!(names("a of"), [""; 0]);
    }
}
