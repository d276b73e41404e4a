//! Finds the names that somebody may have meant. It knows nothing of files or arguments.

/// Names looked at; a folder with more gives hints from its first ones only.
const CANDIDATES_MAX: usize = 2_000;
/// Characters of a name that are compared; longer names are never suggested.
const NAME_CHARACTERS_MAX: usize = 64;
/// Names suggested.
const SUGGESTIONS_MAX: usize = 3;

/// At most three of `names` that look like `wanted`, the most alike first.
pub fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted: Vec<char> = wanted.to_lowercase().chars().collect();
    if wanted.is_empty() || wanted.len() > NAME_CHARACTERS_MAX {
        return Vec::new();
    }
    let tolerated = (wanted.len() / 3).max(1);
    let mut found: Vec<(usize, &str)> = names
        .take(CANDIDATES_MAX)
        .filter_map(|name| {
            let lower: Vec<char> = name.to_lowercase().chars().collect();
            if lower.len() > NAME_CHARACTERS_MAX {
                return None;
            }
            // A part of a name is a good guess once it is long enough to mean something: `Berlin` for `Europe/Berlin`.
            let part = wanted.len() >= 3 && lower.windows(wanted.len()).any(|window| window == wanted);
            let distance = distance(&wanted, &lower);
            if distance <= tolerated { Some((distance, name)) } else { part.then_some((tolerated + 1, name)) }
        })
        .collect();
    found.sort_unstable();
    found.into_iter().take(SUGGESTIONS_MAX).map(|(_, name)| name).collect()
}

/// How many characters have to be put in, taken out or changed (Levenshtein).
fn distance(from: &[char], to: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, left) in from.iter().enumerate() {
        let mut diagonal = above;
        let mut before = above + 1;
        let mut next = vec![before];
        for (right, over) in to.iter().zip(row.iter().skip(1)) {
            let changed = diagonal + usize::from(left != right);
            before = changed.min(over + 1).min(before + 1);
            diagonal = *over;
            next.push(before);
        }
        row = next;
    }
    row.last().copied().unwrap_or(from.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_textbook() {
        for (from, to, expect) in
            [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2), ("ä", "a", 1)]
        {
            let letters = |text: &str| text.chars().collect::<Vec<_>>();
            assert_eq!(distance(&letters(from), &letters(to)), expect, "{from} {to}");
        }
    }

    #[test]
    fn the_most_alike_come_first_and_strangers_never() {
        let names = ["notes.md", "note.md", "Notes", "photo.png", "Europe/Berlin"];
        let near = |wanted| nearest(wanted, names.iter().copied());
        assert_eq!(near("nots.md"), ["note.md", "notes.md"]);
        assert_eq!(near("berlin"), ["Europe/Berlin"]);
        assert_eq!(near("zzzzzz"), Vec::<&str>::new());
        assert_eq!(near(""), Vec::<&str>::new());
        assert_eq!(near(&"x".repeat(500)), Vec::<&str>::new());
    }
}
