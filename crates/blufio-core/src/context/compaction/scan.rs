//! Finds facts in a text: one pass over its words, each looked at with the few that follow it in its line.

use super::guard::{Fact, Kind};
use super::rules::{RULE_CHARS_MAX, is_cjk, is_rule, normalise, sentences};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use unicode_normalization::UnicodeNormalization;

/// Letters of a quoted string that counts as a fact.
pub const QUOTE_CHARS_MIN: usize = 3;
/// The same of the longest.
pub const QUOTE_CHARS_MAX: usize = 80;
/// Bytes of a word that is looked at; a longer one is data and not a fact.
const WORD_BYTES_MAX: usize = 2_048;

/// Everything in a text that a summary must not lose.
pub(super) fn facts(text: &str) -> Vec<Fact> {
    let text: String = text.nfkc().collect();
    let words = words(&text);
    let mut facts = Vec::new();
    let mut rest = words.as_slice();
    while let Some((word, after)) = rest.split_first() {
        let taken = if *word == "\n" || word.len() > WORD_BYTES_MAX { 1 } else { at(word, after, &mut facts) };
        rest = rest.get(taken.max(1)..).unwrap_or_default();
    }
    quotes(&text, &mut facts);
    for sentence in sentences(&text) {
        let sentence: String = sentence.chars().take(RULE_CHARS_MAX).collect();
        let key = normalise(&sentence);
        if is_rule(&key) {
            facts.push(Fact { kind: Kind::Rule, text: sentence, keys: vec![key] });
        }
    }
    facts
}

/// Words without the punctuation around them; ends of lines are words, too, so that nothing reaches over them.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for line in text.split(['\n', '\r']) {
        let apart = |c: char| c.is_whitespace() || "\"“”„«»‹›<>()[]{}|*`、。「」『』，；：·–—".contains(c);
        for piece in line.split(apart) {
            let mut start = 0;
            let mut before = None;
            for (at, c) in piece.char_indices() {
                if before.is_some_and(|before| before != is_cjk(c)) {
                    words.push(trim(piece.get(start..at).unwrap_or_default()));
                    start = at;
                }
                before = Some(is_cjk(c));
            }
            words.push(trim(piece.get(start..).unwrap_or_default()));
        }
        words.push("\n");
    }
    words.retain(|word| !word.is_empty());
    words
}

fn trim(word: &str) -> &str {
    word.trim_start_matches([',', ';', ':', '!', '?', '\'', '’', '‘', '_', '=', '&', '#'])
        .trim_end_matches(['.', ',', ';', ':', '!', '?', '\'', '’', '‘', '_', '=', '&', '-'])
}

/// Looks at a word; says how many words are done with.
fn at(word: &str, after: &[&str], facts: &mut Vec<Fact>) -> usize {
    if let Some(fact) = address(word) {
        facts.push(fact);
        return 1;
    }
    if let Some((fact, taken)) = date(word, after).or_else(|| time(word, after)).or_else(|| id(word)) {
        facts.push(fact);
        return taken;
    }
    if let Some((fact, taken)) = number(word, after) {
        facts.extend(fact);
        return taken;
    }
    // `port=8080`, `2026-03-03T14:30`, `a/b-77`.
    let split = |c: char| "=,;/+&_T".contains(c);
    if word.contains(split) {
        for piece in word.split(split).map(trim).filter(|piece| !piece.is_empty()) {
            let found = date(piece, &[]).or_else(|| time(piece, &[])).or_else(|| id(piece)).map(|(fact, _)| fact);
            facts.extend(found.or_else(|| number(piece, &[]).and_then(|(fact, _)| fact)));
        }
    }
    1
}

fn fact(kind: Kind, text: &str, keys: Vec<String>) -> Fact {
    Fact { kind, text: text.to_owned(), keys }
}

/// URLs, e-mail addresses and paths of files.
fn address(word: &str) -> Option<Fact> {
    let lower = word.to_lowercase();
    if let Some((scheme, rest)) = lower.split_once("://") {
        let named = scheme.len() >= 2 && scheme.chars().all(|c| c.is_ascii_alphanumeric() || c == '+');
        return (named && !rest.is_empty()).then(|| fact(Kind::Url, word, vec![format!("u{}", url_key(rest))]));
    }
    if lower.starts_with("www.") {
        return Some(fact(Kind::Url, word, vec![format!("u{}", url_key(&lower))]));
    }
    if let Some((local, domain)) = lower.split_once('@') {
        let host = domain.split('.').filter(|label| !label.is_empty()).count() >= 2 && !domain.contains('/');
        let local = local.trim_start_matches("mailto:");
        if host && !local.is_empty() && !domain.contains('@') {
            return Some(fact(Kind::Email, word, vec![format!("e{local}@{domain}")]));
        }
        return None;
    }
    is_path(word).then(|| fact(Kind::Path, word, vec![format!("p{lower}")]))
}

fn url_key(rest: &str) -> &str {
    rest.trim_start_matches("www.").trim_end_matches('/')
}

fn is_path(word: &str) -> bool {
    let letters = word.chars().any(char::is_alphabetic);
    let mut chars = word.chars();
    let drive = chars.next().is_some_and(|c| c.is_ascii_alphabetic()) && chars.next() == Some(':');
    if !letters {
        return false;
    }
    if drive {
        return word.contains('\\') || word.contains(":/");
    }
    let rooted = ["/", "~/", "./", "../"].iter().any(|root| word.starts_with(root) && word.len() > root.len());
    let named = word.rsplit_once('/').is_some_and(|(folders, file)| {
        let extension = file.rsplit_once('.').map_or("", |(_, extension)| extension);
        let plain = (1..=8).contains(&extension.len()) && extension.chars().all(|c| c.is_ascii_alphanumeric());
        !folders.is_empty() && plain && extension.chars().any(|c| c.is_ascii_alphabetic())
    });
    rooted || named
}

/// UUIDs, numbers of issues (`ABC-12`), hexadecimal digits, addresses of machines.
fn id(word: &str) -> Option<(Fact, usize)> {
    let lower = word.to_ascii_lowercase();
    let found = |key: &str| Some((fact(Kind::Id, word, vec![format!("i{key}")]), 1));
    let hex = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
    let lengths: Vec<usize> = lower.split('-').map(str::len).collect();
    if lengths == [8, 4, 4, 4, 12] && lower.split('-').all(hex) {
        return found(&lower);
    }
    if let Some((letters, digits)) = word.split_once('-') {
        let upper = letters.len() >= 2 && letters.bytes().all(|b| b.is_ascii_uppercase());
        if upper && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
            return found(&lower);
        }
    }
    let digits = lower.trim_start_matches("0x");
    let mixed = digits.bytes().any(|b| b.is_ascii_digit()) && digits.bytes().any(|b| b.is_ascii_alphabetic());
    if digits.len() >= 7 && mixed && hex(digits) {
        return found(digits);
    }
    let octets: Vec<&str> = lower.split('.').collect();
    (octets.len() == 4 && octets.iter().all(|octet| octet.parse::<u8>().is_ok())).then(|| found(&lower)).flatten()
}

/// Dates in figures, with the name of a month, or with 年月日.
fn date(word: &str, after: &[&str]) -> Option<(Fact, usize)> {
    let next = |at: usize| after.get(at).copied().unwrap_or("\n");
    let text = |taken: usize| {
        let mut text = word.to_owned();
        for word in after.iter().take(taken.saturating_sub(1)) {
            if !word.starts_with(is_cjk) && !text.ends_with(is_cjk) {
                text.push(' ');
            }
            text.push_str(word);
        }
        text
    };
    let of = |keys: Vec<String>, taken: usize| Some((Fact { kind: Kind::Date, text: text(taken), keys }, taken));
    if let Some(keys) = date_in_figures(word) {
        return of(keys, 1);
    }
    if let (Some(year), "年", Some(month), "月") = (year(word), next(0), part(next(1), 12), next(2)) {
        return match part(next(3), 31) {
            Some(day) if next(4).starts_with(['日', '号', '號']) => {
                // A following word in the same run stays out of the text.
                let mut found = of(date_keys(Some(year), month, day), 5)?;
                found.0.text = format!("{year}年{month}月{day}日");
                Some(found)
            }
            Some(_) | None => of(vec![format!("d{year}-{month:02}")], 4),
        };
    }
    if let (Some(month), "月", Some(day)) = (part(word, 12), next(0), part(next(1), 31))
        && next(2).starts_with(['日', '号', '號'])
    {
        let mut found = of(date_keys(None, month, day), 4)?;
        found.0.text = format!("{month}月{day}日");
        return Some(found);
    }
    let link = |at: usize| usize::from(matches!(next(at).to_lowercase().as_str(), "de" | "of" | "di" | "del"));
    if let Some(day) = day(word) {
        let named = link(0);
        let month = month(next(named))?;
        let at = named + 1 + link(named + 1);
        return match year(next(at)) {
            Some(year) => of(date_keys(Some(year), month, day), at + 2),
            None => of(date_keys(None, month, day), named + 2),
        };
    }
    let (month, day) = (month(word)?, day(next(0))?);
    match year(next(1)) {
        Some(year) => of(date_keys(Some(year), month, day), 3),
        None => of(date_keys(None, month, day), 2),
    }
}

/// The forms of a date: whole, without its year, and without knowing which is the month.
fn date_keys(year: Option<u32>, month: u32, day: u32) -> Vec<String> {
    let Some(year) = year else { return vec![format!("d{month:02}-{day:02}")] };
    let (low, high) = (month.min(day), month.max(day));
    vec![format!("d{year}-{month:02}-{day:02}"), format!("d{month:02}-{day:02}"), format!("d{year}~{low}~{high}")]
}

fn date_in_figures(word: &str) -> Option<Vec<String>> {
    let separator = ['-', '/', '.'].into_iter().find(|separator| word.contains(*separator))?;
    let parts: Vec<&str> = word.split(separator).collect();
    let [first, second, third] = parts.as_slice() else { return None };
    if let Some(year) = year(first) {
        return Some(date_keys(Some(year), part(second, 12)?, part(third, 31)?));
    }
    let short = || if separator == '-' || third.len() != 2 { None } else { Some(2_000 + third.parse::<u32>().ok()?) };
    let year = year(third).or_else(short)?;
    let (first, second) = (part(first, 31)?, part(second, 31)?);
    match (first, second) {
        (day, month @ ..=12) if separator == '.' || day > 12 => Some(date_keys(Some(year), month, day)),
        (month @ ..=12, day) if day > 12 && separator != '.' => Some(date_keys(Some(year), month, day)),
        (one, other) if one <= 12 && other <= 12 => {
            Some(vec![format!("d{year}~{}~{}", one.min(other), one.max(other))])
        }
        _ => None,
    }
}

fn part(word: &str, max: u32) -> Option<u32> {
    let digits = word.len() <= 2 && word.bytes().all(|b| b.is_ascii_digit());
    word.parse().ok().filter(|number| digits && (1..=max).contains(number))
}

fn day(word: &str) -> Option<u32> {
    let lower = word.to_lowercase();
    let bare = ["st", "nd", "rd", "th", "er", "o", "°"].iter().find_map(|ending| lower.strip_suffix(ending));
    part(bare.unwrap_or(&lower).trim_end_matches('.'), 31)
}

fn year(word: &str) -> Option<u32> {
    let digits = word.len() == 4 && word.bytes().all(|b| b.is_ascii_digit());
    word.parse().ok().filter(|year| digits && (1_000..3_000).contains(year))
}

/// The number of the month that a word names, in ten languages.
pub(crate) fn month(word: &str) -> Option<u32> {
    NUMBER_OF.get(word.to_lowercase().as_str()).copied()
}

static NUMBER_OF: LazyLock<BTreeMap<&'static str, u32>> = LazyLock::new(|| {
    let months = (1..).zip(MONTHS);
    months.flat_map(|(number, names)| names.split(' ').map(move |name| (name, number))).collect()
});

/// Names of months in en, de, fr, es, it, pt, nl, ru, pl, tr.
const MONTHS: [&str; 12] = [
    "january jan januar jänner janvier enero gennaio janeiro januari января январь stycznia styczeń ocak",
    "february feb februar février febrero febbraio fevereiro februari февраля февраль lutego luty şubat",
    "march mar märz mars marzo março maart марта март marca marzec mart",
    "april apr avril abril aprile апреля апрель kwietnia kwiecień nisan",
    "may mai mayo maggio maio mei мая май maja maj mayıs",
    "june jun juni juin junio giugno junho июня июнь czerwca czerwiec haziran",
    "july jul juli juillet julio luglio julho июля июль lipca lipiec temmuz",
    "august aug août agosto augustus августа август sierpnia sierpień ağustos",
    "september sep sept septembre septiembre settembre setembro сентября сентябрь września wrzesień eylül",
    "october oct oktober okt octobre octubre ottobre outubro октября октябрь października październik ekim",
    "november nov novembre noviembre novembro ноября ноябрь listopada listopad kasım",
    "december dec dezember dez décembre diciembre dicembre dezembro декабря декабрь grudnia grudzień aralık",
];

/// `14:30`, `2:30 pm`, `9am`, `14h30`, `14.30 Uhr`, `14時30分`.
fn time(word: &str, after: &[&str]) -> Option<(Fact, usize)> {
    let lower = word.to_lowercase();
    let next = after.first().copied().unwrap_or("\n").to_lowercase();
    if matches!(next.as_str(), "時" | "时" | "点" | "點") {
        let hour: u32 = lower.parse().ok().filter(|hour| *hour < 24)?;
        let minute = after.get(1).and_then(|word| word.parse::<u32>().ok()).filter(|minute| *minute < 60);
        return match (minute, after.get(2)) {
            (Some(minute), Some(unit)) if unit.starts_with('分') => {
                Some((fact(Kind::Time, &format!("{hour}:{minute:02}"), vec![format!("t{hour:02}:{minute:02}")]), 4))
            }
            _ => Some((fact(Kind::Time, &format!("{hour}:00"), vec![format!("t{hour:02}:00")]), 2)),
        };
    }
    let half = |text: &str| match text {
        "am" | "a.m" => Some(0),
        "pm" | "p.m" => Some(12),
        _ => None,
    };
    let figures = lower.trim_end_matches(|c: char| c.is_alphabetic() || c == '.');
    let suffix = lower.get(figures.len()..).unwrap_or_default();
    let (half, mut taken) = match (half(suffix), half(&next)) {
        (Some(half), _) => (Some(half), 1),
        (None, Some(half)) if suffix.is_empty() => (Some(half), 2),
        (None, _) => (None, 1),
    };
    let clock = matches!(next.as_str(), "uhr" | "h" | "uur");
    let hourly = half.is_some() || (suffix.is_empty() && clock) || matches!(suffix, "h" | "uhr");
    let (hour, minute, second) = match figures.split([':', 'h', '.']).collect::<Vec<_>>().as_slice() {
        [hour, minute] if !figures.contains('.') || hourly => (*hour, *minute, None),
        [hour, minute, second] if !figures.contains(['.', 'h']) => (*hour, *minute, Some(*second)),
        [hour] if half.is_some() || (suffix.is_empty() && next == "uhr") => (*hour, "00", None),
        _ => return None,
    };
    if !suffix.is_empty() && half.is_none() && !matches!(suffix, "h" | "uhr" | "z") {
        return None;
    }
    let hour: u32 = hour.parse().ok().filter(|hour| *hour < 24)?;
    let minute: u32 = minute.parse().ok().filter(|value| *value < 60 && minute.len() == 2)?;
    let hour = half.map_or(hour, |half| hour % 12 + half);
    if taken == 1 && suffix.is_empty() && clock {
        taken = 2;
    }
    let mut keys = vec![format!("t{hour:02}:{minute:02}")];
    if let Some(second) = second {
        let second: u32 = second.parse().ok().filter(|second| *second < 61)?;
        keys.insert(0, format!("t{hour:02}:{minute:02}:{second:02}"));
    }
    let text =
        if taken == 2 { format!("{word} {}", after.first().copied().unwrap_or_default()) } else { word.to_owned() };
    Some((Fact { kind: Kind::Time, text, keys }, taken))
}

/// Units, each line one unit: what it is called first, then its other names.
const UNITS: &[&str] = &[
    "% percent prozent pct",
    "usd $ dollar dollars us$",
    "eur € euro euros",
    "gbp £ pound pounds",
    "jpy ¥ yen 円",
    "cny 元 yuan",
    "rub ₽ рублей руб",
    "try ₺ lira",
    "inr ₹",
    "pln zł",
    "kg kilo kilos kilograms 公斤",
    "g gram grams gramm",
    "km kilometer kilometers kilometres км",
    "m meter meters metres м",
    "cm см",
    "mm мм",
    "mi mile miles",
    "l liter liters litre litres",
    "ml",
    "h hour hours hr hrs stunde stunden heure heures hora horas ora ore uur часов часа godzin saat 小时 時間",
    "min minute minutes minuten minuti minutos minut минут dakika 分钟 分",
    "s sec second seconds sekunden secondes segundos секунд 秒",
    "ms millisecond milliseconds",
    "d day days tag tage tagen jour jours día días giorni dias dagen дней dni gün 天 日",
    "wk week weeks woche wochen semaine semaines semanas settimane weken недель tygodni hafta 周 週間",
    "mo month months monat monate monaten mois meses mesi maanden месяцев ay 个月",
    "y year years jahr jahre jahren ans años anni anos jaar лет lat yıl 年",
    "b byte bytes",
    "kb kib",
    "mb mib",
    "gb gib",
    "tb tib",
    "kbps",
    "mbps",
    "gbps",
    "hz",
    "khz",
    "mhz",
    "ghz",
    "w",
    "kw",
    "kwh",
    "v",
    "°c c",
    "°f",
    "px",
    "k",
    "tokens token",
    "people personen personnes personas persone pessoas 人",
    "x",
    "pt",
    "kcal",
];

fn unit(word: &str) -> Option<&'static str> {
    UNIT_OF.get(word.to_lowercase().as_str()).copied()
}

static UNIT_OF: LazyLock<BTreeMap<&'static str, &'static str>> = LazyLock::new(|| {
    let units = UNITS.iter().filter_map(|names| Some((names.split(' ').next()?, names)));
    units.flat_map(|(unit, names)| names.split(' ').map(move |name| (name, unit))).collect()
});

/// A number, if the word is one; it is a fact if it has three digits or a unit.
fn number(word: &str, after: &[&str]) -> Option<(Option<Fact>, usize)> {
    let unsigned = word.trim_start_matches(['+', '-', '~', '≈', '@']);
    let money = unsigned.trim_start_matches(|c: char| "$€£¥₽₺₹".contains(c));
    let sign = unsigned.get(..unsigned.len() - money.len()).unwrap_or_default();
    let body = money.trim_end_matches(|c: char| !c.is_ascii_digit());
    let suffix = money.get(body.len()..).unwrap_or_default();
    let plain = body.starts_with(|c: char| c.is_ascii_digit())
        && body.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | ',' | '\'' | '’'));
    if !plain || suffix.chars().any(|c| !c.is_alphabetic() && !"%°€$£¥₽₺".contains(c)) {
        return None;
    }
    let (mut digits, mut text, mut taken) = (body.to_owned(), word.to_owned(), 1);
    // Groups of three behind spaces: 1 234 567.
    if suffix.is_empty() && body.len() <= 3 && body.bytes().all(|b| b.is_ascii_digit()) && !body.starts_with('0') {
        let groups = after.iter().take_while(|word| word.len() == 3 && word.bytes().all(|b| b.is_ascii_digit()));
        for group in groups.take(5) {
            digits.push_str(group);
            text = text + " " + group;
            taken += 1;
        }
    }
    let next = after.get(taken - 1).copied().unwrap_or("\n");
    let unit = match (unit(sign), unit(suffix)) {
        (Some(unit), _) | (None, Some(unit)) => Some(unit.to_owned()),
        (None, None) if suffix.is_empty() => unit(next).map(|unit| {
            text = format!("{text} {next}");
            taken += 1;
            unit.to_owned()
        }),
        (None, None) => Some(suffix.to_lowercase()),
    };
    let value = value(&digits);
    let minus = if word.starts_with('-') { "-" } else { "" };
    let long = digits.bytes().filter(u8::is_ascii_digit).count() >= 3;
    let key = match &unit {
        // A long number says enough; its unit is often left away.
        _ if long => format!("n{value}"),
        Some(unit) => format!("n{minus}{value}{unit}"),
        None => return Some((None, taken)),
    };
    Some((Some(Fact { kind: Kind::Number, text, keys: vec![key] }), taken))
}

/// One spelling of a number: no separators of thousands, a point before decimals, no zeros at its end.
fn value(body: &str) -> String {
    let body: String = body.chars().filter(|c| !matches!(c, '\'' | '’')).collect();
    let Some(last) = body.chars().rev().find(|c| matches!(c, '.' | ',')) else { return body };
    let other = if last == '.' { ',' } else { '.' };
    let groups: Vec<&str> = body.split(last).collect();
    let mut following = groups.iter().skip(1);
    let first = groups.first().copied().unwrap_or_default();
    let thousands =
        following.all(|group| group.len() == 3) && (1..=3).contains(&first.len()) && !first.starts_with('0');
    if body.contains(other) && groups.len() == 2 {
        return decimals(&first.replace(other, ""), groups.last().copied().unwrap_or_default());
    }
    match groups.len() {
        _ if thousands && !body.contains(other) => groups.concat(),
        2 => decimals(first, groups.last().copied().unwrap_or_default()),
        // A version, or nothing that we know.
        _ if body.contains(other) => body.chars().filter(char::is_ascii_digit).collect(),
        _ => body.replace(',', "."),
    }
}

fn decimals(whole: &str, decimals: &str) -> String {
    let decimals = decimals.trim_end_matches('0');
    if decimals.is_empty() { whole.to_owned() } else { format!("{whole}.{decimals}") }
}

/// Strings between quotation marks.
fn quotes(text: &str, facts: &mut Vec<Fact>) {
    let mut done = 0;
    let mut before = None;
    for (at, open) in text.char_indices() {
        let starts = at >= done && (open != '\'' || !before.is_some_and(char::is_alphanumeric));
        before = Some(open);
        let Some(close) = closing(open).filter(|_| starts) else { continue };
        let inside = text.get(at + open.len_utf8()..).unwrap_or_default();
        let mut chars = inside.char_indices().take(QUOTE_CHARS_MAX + 1).take_while(|(_, c)| *c != '\n').peekable();
        while let Some((end, c)) = chars.next() {
            let goes_on = c == '\'' && chars.peek().is_some_and(|(_, next)| next.is_alphanumeric());
            if !close.contains(c) || goes_on {
                continue;
            }
            let quoted = inside.get(..end).unwrap_or_default();
            let key = normalise(quoted);
            let whole = quoted.trim() == quoted && quoted.chars().any(char::is_alphanumeric);
            if quoted.chars().count() >= QUOTE_CHARS_MIN && whole {
                facts.push(Fact { kind: Kind::Quote, text: format!("{open}{quoted}{c}"), keys: vec![key] });
            }
            done = at + open.len_utf8() + end + c.len_utf8();
            break;
        }
    }
}

const fn closing(open: char) -> Option<&'static str> {
    match open {
        '"' => Some("\""),
        '“' => Some("”"),
        '„' => Some("“”"),
        '«' => Some("»"),
        '‹' => Some("›"),
        '「' => Some("」"),
        '『' => Some("』"),
        '‘' => Some("’"),
        '\'' => Some("'"),
        '`' => Some("`"),
        _ => None,
    }
}
