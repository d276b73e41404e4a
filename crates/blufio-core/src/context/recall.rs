//! Which lines of what is remembered bear on a message: those that share its rare words. Words are compared by their
//! beginnings, since no stemmer knows every language.

use std::collections::{BTreeMap, BTreeSet};

/// Bytes of all lines that are recalled for one message, about 600 tokens. Full: the best are taken.
pub const RECALL_BYTES_MAX: usize = 2_000;
/// Lines that are recalled for one message.
pub const RECALL_LINES_MAX: usize = 10;
/// Words of a message that are looked for. More: the others are not.
const WORDS_MAX: usize = 200;
/// A message of so few words asks for nothing that could be recalled.
const WORDS_MIN: usize = 2;
/// Letters by which two words are the same.
const STEM_CHARS: usize = 6;
/// A word that stands in more than one of so many lines says nothing, unless there are few lines.
const COMMON_SHARE: usize = 8;
/// As many lines may always share a word.
const COMMON_MIN: usize = 3;
/// A line is taken if it is so close to the best, in percent of its score.
const NEAR_PERCENT: u64 = 33;

/// The lines that bear on a message, the best first.
#[must_use]
pub fn recall<'a>(lines: &[&'a str], message: &str) -> Vec<&'a str> {
    let wanted: BTreeSet<String> = stems(message).take(WORDS_MAX).collect();
    if wanted.len() < WORDS_MIN {
        return Vec::new();
    }
    let words: Vec<BTreeSet<String>> = lines.iter().map(|line| stems(line).collect()).collect();
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    for word in words.iter().flatten().filter(|word| wanted.contains(*word)) {
        *known.entry(word).or_default() += 1;
    }
    let common = (lines.len() / COMMON_SHARE).max(COMMON_MIN);
    // A word in few lines is worth more: the number of lines that do not have it, in thousandths.
    let weight = |word: &String| match known.get(word.as_str()) {
        Some(count) if *count <= common => 1_000 / *count as u64 + 100,
        Some(_) | None => 0,
    };
    let score = |words: &BTreeSet<String>| words.iter().map(weight).sum::<u64>();
    let mut found: Vec<(u64, usize)> =
        words.iter().map(score).enumerate().map(|(place, score)| (score, place)).collect();
    found.retain(|(score, _)| *score > 0);
    found.sort_by_key(|(score, place)| (std::cmp::Reverse(*score), *place));
    let near = found.first().map_or(0, |(best, _)| best * NEAR_PERCENT / 100);
    let mut room = RECALL_BYTES_MAX;
    let near = found.into_iter().filter(|(score, _)| *score >= near).take(RECALL_LINES_MAX);
    let fits = |line: &&'a str| {
        let fits = line.len() <= room;
        room -= if fits { line.len() } else { 0 };
        fits
    };
    near.filter_map(|(_, place)| lines.get(place).copied()).filter(fits).collect()
}

/// The beginnings of the words of a text that are long enough to mean something.
fn stems(text: &str) -> impl Iterator<Item = String> {
    text.split(|character: char| !character.is_alphanumeric())
        .map(|word| word.to_lowercase().chars().take(STEM_CHARS).collect::<String>())
        .filter(|word| word.chars().count() > 2 || word.chars().any(|character| character.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LINES: [&str; 6] = [
        "- Ann's sister Clara lives in Porto and keeps bees",
        "- The dentist is Dr. Okafor, Hauptstraße 12",
        "- The car is a blue Fiat, plate B-XY 402",
        "- Ann is allergic to walnuts",
        "- The router's password is in the vault",
        "- Clara's birthday is on the third of May",
    ];

    #[test]
    fn lines_are_found_by_their_rare_words() {
        let check = |message: &str, expect: &[usize]| {
            let expect: Vec<&str> = expect.iter().map(|place| LINES[*place]).collect();
            assert_eq!(recall(&LINES, message), expect, "{message}");
        };
        check("when is the birthday of Clara?", &[5, 0]);
        check("call the dentist tomorrow please", &[1]);
        check("which plate has the car", &[2]);
        check("walnut cake, yes or no?", &[3]);
        check("what is the weather like", &[]);
        check("ok", &[]);
        check("", &[]);
    }

    proptest! {
        #[test]
        fn what_is_recalled_is_bounded(lines in proptest::collection::vec("[a-f ]{0,300}", 0..60), message in "(?s).{0,400}") {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let found = recall(&lines, &message);
            prop_assert!(found.len() <= RECALL_LINES_MAX);
            prop_assert!(found.iter().map(|line| line.len()).sum::<usize>() <= RECALL_BYTES_MAX);
        }
    }
}
