//! Sentences that ask for a lasting behaviour (“always …”, “from now on …”), in twelve languages.

use aho_corasick::AhoCorasick;
use std::collections::BTreeSet;
use std::sync::LazyLock;
use unicode_normalization::UnicodeNormalization;

/// Words that make a sentence a rule, lower case. Short negations are not among them where they also stand in every other
/// sentence (`nicht`, `ne … pas`): there only common imperatives count.
const MARKERS: &[&str] = &[
    // English
    "always",
    "never",
    "remember",
    "from now on",
    "from this point on",
    "going forward",
    "don't",
    "dont",
    "do not",
    // German
    "immer",
    "nie",
    "niemals",
    "merk dir",
    "merke dir",
    "denk daran",
    "denke daran",
    "ab jetzt",
    "ab sofort",
    "von jetzt an",
    "von nun an",
    "künftig",
    "in zukunft",
    "vergiss nicht",
    "bitte nicht",
    "bitte kein",
    "bitte keine",
    "mach nicht",
    "mach kein",
    "mach keine",
    "tu nicht",
    "sag nicht",
    "nicht mehr",
    // French
    "toujours",
    "jamais",
    "rappelle-toi",
    "rappelez-vous",
    "souviens-toi",
    "retiens",
    "désormais",
    "dorénavant",
    "à partir de maintenant",
    "n'oublie pas",
    "n'oubliez pas",
    "ne fais pas",
    "ne faites pas",
    "ne pas",
    "n'utilise pas",
    // Spanish
    "siempre",
    "nunca",
    "jamás",
    "recuerda",
    "recuerde",
    "acuérdate",
    "a partir de ahora",
    "de ahora en adelante",
    "no olvides",
    "no hagas",
    "no uses",
    "no me",
    "no lo",
    // Italian
    "sempre",
    "mai",
    "ricorda",
    "ricordati",
    "ricordate",
    "d'ora in poi",
    "da ora in poi",
    "da adesso in poi",
    "non dimenticare",
    "non fare",
    "non usare",
    // Portuguese (`nunca`, `sempre` are above)
    "jamais",
    "lembra",
    "lembre",
    "lembre-se",
    "a partir de agora",
    "de agora em diante",
    "não esqueça",
    "não faça",
    "não use",
    // Dutch
    "altijd",
    "nooit",
    "onthoud",
    "vanaf nu",
    "voortaan",
    "vergeet niet",
    "doe niet",
    "gebruik geen",
    "gebruik nooit",
    // Russian
    "всегда",
    "никогда",
    "запомни",
    "запомните",
    "помни",
    "помните",
    "с этого момента",
    "отныне",
    "впредь",
    "не надо",
    "не делай",
    "не делайте",
    "не забудь",
    "не забывай",
    "нельзя",
    // Polish
    "zawsze",
    "nigdy",
    "pamiętaj",
    "zapamiętaj",
    "od teraz",
    "od tej pory",
    "nie rób",
    "nie używaj",
    "nie zapomnij",
    // Turkish
    "her zaman",
    "daima",
    "asla",
    "hatırla",
    "unutma",
    "bundan sonra",
    "bundan böyle",
    "şu andan itibaren",
    "hiçbir zaman",
    "yapma",
    // Chinese
    "总是",
    "總是",
    "始终",
    "始終",
    "永远",
    "永遠",
    "从不",
    "從不",
    "绝不",
    "絕不",
    "决不",
    "永不",
    "不要",
    "别再",
    "记住",
    "記住",
    "记得",
    "記得",
    "从现在",
    "從現在",
    "今后",
    "今後",
    "以后都",
    "以後都",
    "请勿",
    "請勿",
    // Japanese
    "いつも",
    "必ず",
    "常に",
    "決して",
    "絶対に",
    "二度と",
    "覚えて",
    "忘れないで",
    "これから",
    "しないで",
    "ないでください",
    "するな",
];

/// Letters of a rule that are compared and kept; the rest of a longer sentence is left away.
pub(super) const RULE_CHARS_MAX: usize = 400;

static FINDER: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| AhoCorasick::new(MARKERS).ok());

/// One form for one text: compatibility forms, case, quotation marks and spaces made equal.
pub(crate) fn normalise(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.nfkc().flat_map(char::to_lowercase) {
        match c {
            c if c.is_whitespace() => {
                if !plain.is_empty() && !plain.ends_with(' ') {
                    plain.push(' ');
                }
            }
            '’' | '‘' | '“' | '”' | '„' | '"' | '`' => plain.push('\''),
            c => plain.push(c),
        }
    }
    plain
}

/// The sentences of a text: up to a line's end or a full stop, question or exclamation mark that a space follows.
pub(crate) fn sentences(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut chars = rest.char_indices().peekable();
        let mut end = rest.len();
        while let Some((at, c)) = chars.next() {
            let next = chars.peek().map(|(_, next)| *next);
            let stops = match c {
                '\n' | '\r' | '。' | '！' | '？' => true,
                '.' | '!' | '?' | ';' => next.is_none_or(char::is_whitespace),
                _ => false,
            };
            if stops {
                end = at + c.len_utf8();
                break;
            }
        }
        let (sentence, after) = rest.split_at_checked(end)?;
        rest = after;
        Some(sentence.trim())
    })
    .filter(|sentence| !sentence.is_empty())
}

/// A normalised sentence asks for a lasting behaviour.
pub(crate) fn is_rule(normalised: &str) -> bool {
    let Some(finder) = &*FINDER else { return false };
    finder.find_overlapping_iter(normalised).any(|found| {
        let before = normalised.get(..found.start()).and_then(|text| text.chars().next_back());
        let after = normalised.get(found.end()..).and_then(|text| text.chars().next());
        let marker = normalised.get(found.range()).unwrap_or_default();
        let inside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        marker.chars().any(is_cjk) || (!inside(before) && !inside(after))
    })
}

/// Written without spaces between words: Han, Kana.
pub(crate) const fn is_cjk(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}')
}

/// Words that a summary puts around a rule, and such that say nothing.
const EMPTY_WORDS: &[&str] = &[
    "user",
    "owner",
    "person",
    "wants",
    "want",
    "wanted",
    "asked",
    "asks",
    "said",
    "says",
    "stated",
    "states",
    "rule",
    "rules",
    "preference",
    "preferences",
    "prefers",
    "should",
    "must",
    "please",
    "msg",
    "the",
    "and",
    "that",
    "for",
    "with",
    "this",
    "from",
    "now",
    "always",
    "never",
    "not",
    "don",
    "remember",
];

/// Letters of a word that are compared, so that its endings do not matter.
const STEM_CHARS: usize = 6;

/// The words of a normalised sentence that carry its meaning; of text without spaces all pairs of letters.
pub(crate) fn content_words(normalised: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for word in normalised.split(|c: char| !c.is_alphanumeric()) {
        if word.chars().any(is_cjk) {
            let letters: Vec<char> = word.chars().collect();
            words.extend(letters.windows(2).map(|pair| pair.iter().collect::<String>()));
        } else if word.chars().nth(2).is_some() && !EMPTY_WORDS.contains(&word) {
            words.insert(word.chars().take(STEM_CHARS).collect());
        }
    }
    words
}
