//! Whether what a statement says exactly (numbers, days, names, addresses) stands in the messages that it is said to come from.

use super::SpanMessage;
use super::days::Day;
use crate::context::compaction::guard::{self, Kind};
use crate::context::compaction::rules::{content_words, normalise, sentences};
use crate::context::compaction::scan::month;
use crate::time::Timestamp;
use std::collections::BTreeSet;

/// How far a day may lie from a message that speaks of time in relation to itself (“last summer”), in days.
const RELATIVE_DAYS_MAX: i64 = 800;
/// … that does so with days only (“tomorrow”, “on Friday”), in days.
const NEAR_DAYS_MAX: i64 = 14;
/// … that names the day of a month only (“on the 21st”), in days.
const MONTHLY_DAYS_MAX: i64 = 62;
/// … that names a month or a day of the year without the year, in days.
const YEARLY_DAYS_MAX: i64 = 400;
/// Letters of a word that are compared if it is at least as long, so that its endings do not matter.
const STEM_CHARS: usize = 6;
/// The shortest name that may have a letter more or less at its end, in letters.
const STEM_CHARS_MIN: usize = 4;
/// The same where the letter is the `s` of a genitive.
const GENITIVE_CHARS_MIN: usize = 3;

/// What the messages of a range say.
pub(super) struct Evidence<'a> {
    messages: &'a [SpanMessage],
    /// Days of the messages, and the days, months and years that are named in each.
    said: Vec<Said>,
    text: String,
    keys: BTreeSet<String>,
    words: BTreeSet<String>,
    figures: BTreeSet<String>,
}

struct Said {
    day: i64,
    /// How far from it the days may lie that its words mean; 0 if they are not about time.
    reach: i64,
    figures: BTreeSet<String>,
    months: BTreeSet<i64>,
}

impl<'a> Evidence<'a> {
    pub(super) fn of(messages: &'a [SpanMessage], offset: &impl Fn(Timestamp) -> i32) -> Self {
        let mut text = String::new();
        let mut evidence = Vec::new();
        for message in messages {
            text.push_str(&message.text);
            text.push('\n');
            let words = words(&message.text);
            let months = words.iter().filter_map(|word| month(&word.to_lowercase())).map(i64::from).collect();
            evidence.push(Said {
                day: Day::of(message.at, offset(message.at)).number(),
                reach: reach(&message.text),
                figures: figures(&message.text),
                months,
            });
        }
        let named = messages.iter().flat_map(|message| words(&message.name)).map(str::to_lowercase);
        Self {
            messages,
            said: evidence,
            keys: guard::facts(&text).into_iter().flat_map(|fact| fact.keys).collect(),
            words: words(&text).into_iter().map(str::to_lowercase).chain(named).collect(),
            figures: figures(&text),
            text: normalise(&text),
        }
    }

    /// The first thing in a statement that the messages do not say.
    pub(super) fn missing(&self, statement: &str) -> Option<String> {
        let mut covered = BTreeSet::new();
        for fact in guard::facts(statement) {
            let known = fact.keys.iter().any(|key| self.keys.contains(key));
            let founded = match fact.kind {
                // The figures and the names in it are looked at by themselves.
                Kind::Rule | Kind::Number => continue,
                Kind::Quote => fact.keys.iter().any(|key| self.text.contains(key.as_str())),
                Kind::Date => known || fact.keys.first().is_some_and(|key| self.allows_key(key)),
                Kind::Time => known || figures(&fact.text).is_subset(&self.figures),
                Kind::Url | Kind::Email | Kind::Path | Kind::Id => known,
            };
            if !founded {
                return Some(fact.text);
            }
            covered.extend(figures(&fact.text));
            covered.extend(words(&fact.text).into_iter().map(str::to_lowercase));
        }
        let unknown = figures(statement)
            .into_iter()
            .find(|figure| !covered.contains(figure) && !self.figures.contains(figure) && !self.allows_year(figure));
        unknown.or_else(|| self.missing_name(statement, &covered))
    }

    /// Shares at least one word that means something.
    pub(super) fn is_related(&self, statement: &str) -> bool {
        let said = content_words(&self.text);
        content_words(&normalise(statement)).iter().any(|word| said.contains(word))
    }

    /// Sentences of the messages.
    pub(super) fn sentences(&self) -> impl Iterator<Item = &'a str> {
        self.messages.iter().flat_map(|message| sentences(&message.text))
    }

    /// The day is named, or follows from the time of a message.
    pub(super) fn allows(&self, day: Day) -> bool {
        let Day { year, month, day: of_month } = day;
        let named = [format!("d{year}-{month:02}-{of_month:02}"), format!("d{month:02}-{of_month:02}")];
        let (low, high) = (month.min(of_month), month.max(of_month));
        let whole = self.keys.contains(&format!("d{year}~{low}~{high}"));
        let near = |said: &Said| (said.day - day.number()).abs();
        // A day without its year is the one near its message.
        let [full, yearless] = named;
        let in_year = self.keys.contains(&yearless) && self.said.iter().any(|said| near(said) <= YEARLY_DAYS_MAX);
        self.keys.contains(&full) || whole || in_year || self.said.iter().any(|said| said.allows(day, near(said)))
    }

    /// `d2026-11-23`, `d2026~11~23` or `d11-23`.
    fn allows_key(&self, key: &str) -> bool {
        let parts: Vec<i64> =
            key.trim_start_matches('d').split(['-', '~']).filter_map(|part| part.parse().ok()).collect();
        match parts.as_slice() {
            [year, month, day] => {
                let day_of = |month, day| Day::new(*year, month, day).is_some_and(|day| self.allows(day));
                day_of(*month, *day) || (key.contains('~') && day_of(*day, *month))
            }
            [first, second] if *first > 12 => self.allows_month(*first, *second),
            [month, day] => {
                let years = self.said.iter().map(|said| Day::numbered(said.day).year);
                let mut years = years.flat_map(|year| [year - 1, year, year + 1]);
                years.any(|year| Day::new(year, *month, *day).is_some_and(|day| self.allows(day)))
            }
            _ => false,
        }
    }

    fn allows_month(&self, year: i64, month: i64) -> bool {
        let mut days = (1..=31).filter_map(|day| Day::new(year, month, day));
        days.any(|day| self.allows(day))
    }

    /// A year that follows from the time of a message.
    fn allows_year(&self, figure: &str) -> bool {
        let Some(year) = figure.parse::<i64>().ok().filter(|_| figure.len() == 4) else { return false };
        self.said.iter().any(|said| {
            let away = (Day::numbered(said.day).year - year).abs();
            away == 0 || (said.reach > 0 && away <= 1)
        })
    }

    /// The first name that stands in no message. In German, where all nouns are capitalised, one after an article or the like
    /// is none.
    fn missing_name(&self, statement: &str, covered: &BTreeSet<String>) -> Option<String> {
        let words = words(statement);
        let german = words.iter().any(|word| GERMAN.contains(&word.to_lowercase().as_str()));
        let mut before = None;
        for word in words {
            let lower = word.to_lowercase();
            let article = before.as_ref().is_some_and(|before: &String| ARTICLES.contains(&before.as_str()));
            let capital = word.chars().next().is_some_and(char::is_uppercase);
            let common = OWN_WORDS.contains(&lower.as_str()) || (before.is_none() && STARTS.contains(&lower.as_str()));
            let time = month(&lower).map(i64::from).is_some_and(|month| self.allows_named_month(month))
                || (WEEKDAYS.contains(&lower.as_str()) && self.said.iter().any(|said| said.reach > 0));
            before = Some(lower.clone());
            if !capital || common || time || (german && article) || covered.contains(&lower) {
                continue;
            }
            if !self.has(&lower) {
                return Some(word.to_owned());
            }
        }
        None
    }

    /// The word stands there, perhaps with another ending.
    fn has(&self, word: &str) -> bool {
        if self.words.contains(word) {
            return true;
        }
        let bare = without_genitive(word);
        let letters = bare.chars().count();
        if self.words.contains(bare) || letters < GENITIVE_CHARS_MIN {
            return self.words.contains(bare);
        }
        // One letter at the end, or anything after the first six.
        let inflected = |said: &String| {
            let other = without_genitive(said);
            let (short, long) = if other.len() < bare.len() { (other, bare) } else { (bare, other) };
            let short_letters = short.chars().count();
            let ending = long.strip_prefix(short).is_some_and(|rest| match rest {
                "" => true,
                "s" => short_letters >= GENITIVE_CHARS_MIN,
                _ => rest.chars().nth(1).is_none() && short_letters >= STEM_CHARS_MIN,
            });
            ending || (short_letters >= STEM_CHARS && short.chars().take(STEM_CHARS).eq(long.chars().take(STEM_CHARS)))
        };
        self.words.iter().any(inflected)
    }

    fn allows_named_month(&self, month: i64) -> bool {
        let is = |number: i64| Day::numbered(number).month == month;
        self.said.iter().any(|said| {
            let any = said.reach >= YEARLY_DAYS_MAX;
            any || said.months.contains(&month) || (said.day - said.reach..=said.day + said.reach).any(is)
        })
    }
}

impl Said {
    /// `away` is how many days lie between the message and the day.
    fn allows(&self, day: Day, away: i64) -> bool {
        let figure = |number: i64| self.figures.contains(&number.to_string());
        let edge = day.day == 1 || Day::new(day.year, day.month, day.day + 1).is_none();
        let whole_year = (day.month == 1 && day.day == 1) || (day.month == 12 && day.day == 31);
        away <= self.reach
            || (figure(day.day) && away <= MONTHLY_DAYS_MAX)
            || (self.months.contains(&day.month) && (edge || figure(day.day)) && away <= YEARLY_DAYS_MAX)
            || (figure(day.year) && (whole_year || self.months.contains(&day.month)))
    }
}

fn without_genitive(word: &str) -> &str {
    word.trim_end_matches("'s").trim_end_matches("’s")
}

/// Words as they are written, without the marks around them; hyphens part.
fn words(text: &str) -> Vec<&str> {
    let apart = |c: char| !c.is_alphanumeric() && c != '\'' && c != '’';
    text.split(apart).map(|word| word.trim_matches(['\'', '’'])).filter(|word| !word.is_empty()).collect()
}

/// The numbers of a text: their digits without separators and leading zeros, and those that are written as words.
fn figures(text: &str) -> BTreeSet<String> {
    let mut figures = BTreeSet::new();
    let apart = |c: char| !c.is_alphanumeric() && !matches!(c, '.' | ',' | ':' | '\'' | '’');
    for token in text.split(apart) {
        let lower = token.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        if let Some((_, number)) = NUMBERS.iter().find(|(names, _)| names.contains(&lower.as_str())) {
            figures.insert((*number).to_owned());
        }
        // `3x2` is two numbers, `1,850` and `6:40` are one.
        for run in lower.split(char::is_alphabetic) {
            let digits: String = run.chars().filter(char::is_ascii_digit).collect();
            if !digits.is_empty() {
                let bare = digits.trim_start_matches('0');
                figures.insert(if bare.is_empty() { "0".to_owned() } else { bare.to_owned() });
            }
        }
    }
    figures
}

/// How far from its day a text speaks of time in relation to when it was written.
fn reach(text: &str) -> i64 {
    let text = text.to_lowercase();
    let words = words(&text);
    let any = |list: &[&str]| words.iter().any(|word| list.contains(word));
    if any(RELATIVE) {
        RELATIVE_DAYS_MAX
    } else if any(NEAR) || any(WEEKDAYS) {
        NEAR_DAYS_MAX
    } else {
        0
    }
}

/// Words for days around the one on which they are said.
#[rustfmt::skip]
const NEAR: &[&str] = &[
    "today", "tonight", "tomorrow", "yesterday", "weekend", "heute", "morgen", "übermorgen", "gestern", "vorgestern",
    "wochenende", "aujourd'hui", "demain", "hier", "hoy", "mañana", "ayer", "anteayer",
];

/// Words for spans of time around it.
#[rustfmt::skip]
const RELATIVE: &[&str] = &[
    "ago", "last", "next", "week", "weeks", "month", "months", "year",
    "years", "now", "since", "until", "till", "soon", "spring", "summer", "autumn", "winter", "christmas", "easter",
    "letzte", "letzten", "letzter", "letztes", "nächste", "nächsten",
    "nächster", "nächstes", "kommende", "kommenden", "woche", "wochen", "monat", "monate", "monaten", "jahr",
    "jahre", "jahren", "jetzt", "seit", "bis", "bald", "frühling", "frühjahr", "sommer", "herbst", "weihnachten", "ostern",
    "prochain", "prochaine", "dernier", "dernière", "semaine", "semaines", "mois", "ans",
    "année", "maintenant", "depuis", "jusque", "été", "hiver", "printemps", "automne", "noël",
    "próximo", "próxima", "pasado", "pasada", "semana", "semanas", "mes", "meses", "año",
    "años", "ahora", "desde", "hasta", "verano", "invierno", "primavera", "otoño", "navidad",
];

#[rustfmt::skip]
const WEEKDAYS: &[&str] = &[
    "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday",
    "montag", "dienstag", "mittwoch", "donnerstag", "freitag", "samstag", "sonnabend", "sonntag",
    "lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche",
    "lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo",
];

/// Numbers as words. One is an article in most languages, and some others mean something else in another language.
#[rustfmt::skip]
const NUMBERS: &[(&[&str], &str)] = &[
    (&["two", "zwei", "deux"], "2"), (&["three", "drei", "trois", "tres"], "3"),
    (&["four", "vier", "quatre", "cuatro"], "4"), (&["five", "fünf", "cinq", "cinco"], "5"),
    (&["six", "sechs", "seis"], "6"), (&["seven", "sieben", "siete"], "7"),
    (&["eight", "acht", "huit", "ocho"], "8"), (&["nine", "neun", "nueve"], "9"),
    (&["ten", "zehn", "dix", "diez"], "10"), (&["eleven", "onze"], "11"),
    (&["twelve", "zwölf", "douze", "doce"], "12"), (&["twenty", "zwanzig", "vingt", "veinte"], "20"),
    (&["thirty", "dreißig", "trente", "treinta"], "30"), (&["fifty", "fünfzig", "cinquante", "cincuenta"], "50"),
    (&["hundred", "hundert", "cent", "cien"], "100"), (&["thousand", "tausend", "mille", "mil"], "1000"),
];

/// What a statement calls the two who speak.
#[rustfmt::skip]
const OWN_WORDS: &[&str] = &[
    "i", "i'm", "i'd", "i'll", "i've", "owner", "user", "person", "assistant", "agent", "owner's", "user's", "person's",
    "besitzer", "besitzerin", "nutzer", "nutzerin", "benutzer", "benutzerin", "eigentümer", "eigentümerin", "assistent", "ich",
    "sie", "ihr", "ihre", "ihnen", "utilisateur", "utilisatrice", "propriétaire", "usuario", "usuaria", "dueño", "dueña",
];

/// Words that a sentence begins with and that are no names.
#[rustfmt::skip]
const STARTS: &[&str] = &[
    "the", "a", "an", "his", "her", "their", "its", "my", "our", "your", "he", "she", "they", "it", "we", "you", "this",
    "that", "these", "there", "in", "on", "at", "for", "from", "since", "until", "after", "before", "when", "with", "without",
    "no", "not", "always", "never", "please", "do", "don't", "both", "all", "every", "each", "one", "to", "as", "if",
    "der", "die", "das", "den", "dem", "des", "ein", "eine", "einen", "einem", "einer", "sein", "seine", "ihr", "ihre", "mein",
    "meine", "unser", "unsere", "er", "es", "wir", "im", "am", "um", "an", "auf", "bei", "für", "von", "vom", "mit", "ohne",
    "nach", "seit", "bis", "ab", "zum", "zur", "kein", "keine", "immer", "nie", "niemals", "bitte", "nicht", "wenn", "alle",
    "le", "la", "les", "l", "un", "une", "son", "sa", "ses", "mon", "ma", "mes", "il", "elle", "ils", "elles", "on", "nous",
    "depuis", "dans", "en", "au", "aux", "à", "pour", "avec", "sans", "toujours", "jamais", "ne", "pas",
    "el", "los", "las", "una", "su", "sus", "mi", "mis", "él", "ella", "ellos", "no", "con", "sin", "para", "por", "desde",
    "siempre", "nunca",
];

/// Words that show that a statement is German.
const GERMAN: &[&str] = &[
    "der", "die", "das", "und", "ist", "nicht", "eine", "einen", "einem", "hat", "wird", "mit", "für", "möchte", "seit",
];

/// German words after which a capital letter makes no name.
#[rustfmt::skip]
const ARTICLES: &[&str] = &[
    "der", "die", "das", "den", "dem", "des", "ein", "eine", "einen", "einem", "einer", "eines", "kein", "keine", "keinen",
    "keinem", "keiner", "sein", "seine", "seinen", "seinem", "seiner", "ihr", "ihre", "ihren", "ihrem", "ihrer", "diese",
    "dieser", "dieses", "diesen",
];
