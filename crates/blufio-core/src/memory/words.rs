//! From a text to the words that are looked for, and the form in which a text is indexed.
//!
//! Words come out as letters and digits alone, so nothing that somebody writes is ever taken for the syntax of a search. Endings
//! and accents are left to the index.

use std::collections::BTreeSet;

/// Words of a question that are looked for. More: the others are not.
pub const TERMS_MAX: usize = 32;
/// Letters of a word. More: the others do not count.
pub const TERM_LETTERS_MAX: usize = 48;
/// Bytes of a question that are read. More: the rest is not.
pub const QUESTION_BYTES_MAX: usize = 8 * 1024;

/// Words that say nothing about what a text is about, sorted; of English, German, French and Spanish. `may` is a month, too.
const STOP_WORDS: &[&str] = &[
    "a", "aber", "about", "after", "again", "ai", "al", "all", "alle", "alles", "als", "also", "am", "an", "and",
    "any", "are", "as", "at", "au", "auch", "auf", "aus", "aux", "avec", "be", "because", "been", "bei", "being",
    "bin", "bis", "bist", "but", "by", "can", "ce", "ces", "cet", "cette", "comme", "como", "con", "could", "cual",
    "cuando", "da", "dans", "das", "dass", "de", "dein", "deine", "del", "dem", "den", "denn", "der", "des", "did",
    "didn", "die", "dies", "diese", "dieser", "dieses", "dir", "do", "doch", "does", "doesn", "doing", "don", "donde",
    "dont", "du", "durch", "each", "ein", "eine", "einem", "einen", "einer", "eines", "el", "elle", "en", "er", "es",
    "est", "esta", "et", "etwas", "eu", "euch", "for", "from", "für", "hab", "habe", "haben", "had", "has", "hast",
    "hat", "hatte", "have", "haven", "he", "her", "here", "him", "his", "how", "ich", "ihm", "ihn", "ihr", "ihre",
    "il", "ils", "im", "in", "into", "is", "isn", "ist", "it", "its", "ja", "je", "kann", "kannst", "la", "las", "le",
    "les", "leur", "ll", "lo", "los", "ma", "mais", "man", "mas", "me", "mein", "meine", "meinem", "meinen", "meiner",
    "mes", "mi", "mich", "mir", "mis", "mit", "mon", "most", "muss", "my", "nach", "ne", "nicht", "no", "noch", "not",
    "nous", "nur", "ob", "oder", "of", "ohne", "on", "or", "os", "ou", "our", "où", "para", "pas", "pero", "plus",
    "por", "pour", "qu", "que", "quel", "quelle", "qui", "re", "sa", "se", "sein", "seine", "ses", "she", "should",
    "si", "sich", "sie", "sind", "so", "sobre", "some", "son", "sont", "su", "such", "suis", "sur", "sus", "te",
    "tell", "than", "that", "the", "their", "them", "then", "there", "these", "they", "this", "those", "to", "ton",
    "too", "tu", "um", "un", "una", "und", "une", "uns", "unser", "unsere", "us", "ve", "very", "vom", "von", "vor",
    "vous", "war", "waren", "was", "wasn", "we", "weil", "wenn", "wer", "were", "what", "when", "where", "which",
    "who", "whom", "whose", "why", "wie", "will", "wir", "wird", "with", "wo", "would", "you", "your", "yours", "zu",
    "zum", "zur", "él", "über",
];

/// The words that a question is looked for by: in small letters, each once, in their order, at most [`TERMS_MAX`]. If it has
/// none but such that say nothing, these.
#[must_use]
pub fn terms(question: &str) -> Vec<String> {
    let text = indexable(head(question, QUESTION_BYTES_MAX));
    let telling = first_of(words(&text).filter(|word| !says_nothing(word)));
    if telling.is_empty() { first_of(words(&text)) } else { telling }
}

/// A text as it is indexed and looked for: writing without blanks between words is cut into pairs of signs that overlap.
#[must_use]
pub fn indexable(text: &str) -> String {
    if !text.chars().any(is_unspaced) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len().saturating_mul(3));
    let mut before: Option<char> = None;
    let mut paired = false;
    for sign in text.chars() {
        let unspaced = is_unspaced(sign);
        match (before, unspaced) {
            (Some(first), true) => {
                out.extend([' ', first, sign]);
                paired = true;
            }
            (None, true) => paired = false,
            (Some(first), false) => {
                if !paired {
                    out.extend([' ', first]);
                }
                out.extend([' ', sign]);
            }
            (None, false) => out.push(sign),
        }
        before = unspaced.then_some(sign);
    }
    if let (Some(last), false) = (before, paired) {
        out.extend([' ', last]);
    }
    out
}

/// The words of a text, in small letters.
pub fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|sign: char| !sign.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| word.chars().take(TERM_LETTERS_MAX).flat_map(char::to_lowercase).collect())
}

/// A word that is in so many texts that it tells them not apart. Single letters are what an apostrophe leaves.
#[must_use]
pub fn says_nothing(word: &str) -> bool {
    let letter = word.len() == 1 && word.bytes().all(|byte| byte.is_ascii_alphabetic());
    letter || STOP_WORDS.binary_search(&word).is_ok()
}

/// The names in a question: words with a capital letter that are not mere capitals of grammar, in small letters.
#[must_use]
pub fn names(question: &str) -> BTreeSet<String> {
    head(question, QUESTION_BYTES_MAX)
        .split(|sign: char| !sign.is_alphanumeric())
        .filter(|word| word.chars().next().is_some_and(char::is_uppercase) && word.chars().nth(1).is_some())
        .map(str::to_lowercase)
        .filter(|word| !says_nothing(word))
        .take(TERMS_MAX)
        .collect()
}

/// The beginning of a text, cut between two signs.
#[must_use]
pub fn head(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text)
}

fn first_of(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut known = BTreeSet::new();
    words.filter(|word| known.insert(word.clone())).take(TERMS_MAX).collect()
}

/// Chinese, Japanese, Thai, Lao, Khmer and Burmese; Korean has blanks.
const fn is_unspaced(sign: char) -> bool {
    matches!(sign,
        '\u{0e01}'..='\u{0e4e}' | '\u{0e81}'..='\u{0ece}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17d3}'
        | '\u{3005}'..='\u{3007}' | '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fe}' | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stop_words_are_sorted() {
        assert!(STOP_WORDS.is_sorted(), "{:?}", STOP_WORDS.windows(2).find(|pair| pair[0] > pair[1]));
    }

    #[test]
    fn what_a_question_is_looked_for_by() {
        let check = |question: &str, expect: &[&str]| assert_eq!(terms(question), expect, "{question}");
        check("When is Clara's birthday?", &["clara", "birthday"]);
        check("Wie heißt die Schwester von Ann?", &["heißt", "schwester", "ann"]);
        check("Où est le café de Léa", &["café", "léa"]);
        check("¿Dónde vive mi hermana?", &["dónde", "vive", "hermana"]);
        check("who are you", &["who", "are", "you"]);
        check("NOT (a OR \"b\") AND x* NEAR/3 dated:1", &["near", "3", "dated", "1"]);
        check("东京的天气", &["东京", "京的", "的天", "天气"]);
        check("猫", &["猫"]);
        check("trip to 東京 in May", &["trip", "東京", "may"]);
        check("", &[]);
        check("?!", &[]);
    }

    #[test]
    fn only_writing_without_blanks_is_changed() {
        let check = |text: &str, expect: &str| assert_eq!(indexable(text), expect);
        check("Plain, as it is: 3 May!", "Plain, as it is: 3 May!");
        check("私はTokyoに住む", " 私は Tokyo に住 住む");
        check("a猫b", "a 猫 b");
        check("ไทย", " ไท ทย");
    }

    #[test]
    fn names_have_capitals() {
        let check = |question: &str, expect: &[&str]| {
            assert_eq!(names(question).iter().map(String::as_str).collect::<Vec<_>>(), expect, "{question}");
        };
        check("What did Clara say to Dr. Okafor?", &["clara", "dr", "okafor"]);
        check("I think so", &[]);
    }

    proptest! {
        #[test]
        fn terms_are_few_plain_words(question in "(?s).{0,600}") {
            let found = terms(&question);
            prop_assert!(found.len() <= TERMS_MAX);
            for term in &found {
                prop_assert!(!term.is_empty() && !term.contains(['"', '*', ':', '(', ')', '-', '^', '+', '{', ' ']), "{term}");
            }
            prop_assert_eq!(found.is_empty(), !question.chars().any(char::is_alphanumeric));
        }

        #[test]
        fn what_is_indexed_is_found_by_its_own_words(text in "[a-z 東京大学ไทย]{1,60}") {
            let indexed: BTreeSet<String> = words(&indexable(&text)).collect();
            prop_assert!(terms(&text).iter().all(|term| indexed.contains(term)));
        }
    }
}
