//! Plain words that ask to remember or to forget something, in English, German, French and Spanish.
//!
//! Only what stands at the beginning of a sentence counts, and only in forms that mean nothing else: a question, a reminder
//! (“don't forget to …”), a memory shared (“remember when …”) and a turn of speech (“forget it”) are left to the model. Nothing but
//! a person's own words may be asked here: who wrote them cannot be seen in them.

use super::FactKind;
use crate::context::compaction::rules::{is_rule, normalise};

/// Bytes of a message that is looked at. Longer ones are no plain words.
const MESSAGE_BYTES_MAX: usize = 4 * 1024;
/// Bytes of what is to be remembered or forgotten. Over: it is left to the model.
pub const TEXT_BYTES_MAX: usize = 2_000;

/// What plain words ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plain {
    /// To remember this.
    Remember(String),
    /// To forget this, or what is about this.
    Forget(String),
    /// To show what is known of the person.
    Show,
    /// Nothing of the kind.
    None,
}

/// What a person's message asks for; the first sentence that asks for something counts.
#[must_use]
pub fn plain(message: &str) -> Plain {
    if message.len() > MESSAGE_BYTES_MAX {
        return Plain::None;
    }
    let mut rest = message;
    while !rest.trim_start().is_empty() {
        let (sentence, after) = split(rest);
        match asked(sentence, after) {
            Plain::None => rest = after,
            asked => return asked,
        }
    }
    Plain::None
}

/// What kind of fact something is that a person asks to remember: a rule about how the agent acts, or anything else.
#[must_use]
pub fn kind(statement: &str) -> FactKind {
    if is_rule(&normalise(statement)) { FactKind::Standing } else { FactKind::Fact }
}

/// The first sentence and what follows it.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map(|(_, next)| *next);
        // A new line ends a sentence, unless a colon stands before it.
        let line = c == '\n' && !text.get(..at).unwrap_or_default().trim_end().ends_with(':');
        if line || (matches!(c, '.' | '!' | '?') && next.is_none_or(char::is_whitespace) && !abbreviates(text, at)) {
            return text.split_at(at + c.len_utf8());
        }
    }
    (text, "")
}

/// The full stop at this place belongs to a short form or an ordinal number: `Dr.`, `z. B.`, `3. Mai`.
fn abbreviates(text: &str, at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    let word = before.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    let after = text.get(at + 1..).unwrap_or_default().trim_start();
    let goes_on = !after.is_empty() && !after.starts_with('\n');
    let ordinal = word.len() <= 2 && !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    let short = word.chars().count() == 1
        || matches!(word, "Dr" | "Mr" | "Mrs" | "Ms" | "Fr" | "St" | "Nr" | "No" | "Sr" | "Sra");
    text.get(at..).is_some_and(|text| text.starts_with('.')) && goes_on && (ordinal || short)
}

fn asked(sentence: &str, after: &str) -> Plain {
    let words = polite(sentence);
    if starts(words, SHOW).is_some() {
        return Plain::Show;
    }
    if sentence.trim_end().ends_with('?') {
        return Plain::None;
    }
    if let Some(rest) = to_remember(words, after) {
        return text(&rest).map_or(Plain::None, Plain::Remember);
    }
    to_forget(words).and_then(text).map_or(Plain::None, Plain::Forget)
}

fn to_remember(words: &str, after: &str) -> Option<String> {
    if let Some(rest) = starts(words, REMEMBER_THAT) {
        return clause(rest).map(str::to_owned);
    }
    let rest = starts(words, REMEMBER)?.trim_start();
    match rest.strip_prefix(':') {
        // After a colon, all of it.
        Some(rest) => Some(format!("{rest}{after}")),
        None => own(rest).map(str::to_owned),
    }
}

fn to_forget(words: &str) -> Option<&str> {
    if let Some(rest) = starts(words, FORGET_THAT) {
        return stated(rest);
    }
    let object = |rest| str::trim_start_matches(rest, [',', ' ']);
    if let Some(rest) = starts(words, FORGET).map(object) {
        let named = starts(rest, FORGETTABLE).or_else(|| starts(rest, KNOWN)).map(|_| rest);
        return rest.strip_prefix(':').or(named);
    }
    // What is deleted may as well be a file.
    starts(words, DELETE).map(object).filter(|rest| starts(rest, KNOWN).is_some())
}

/// Without the words of courtesy that a request begins with.
fn polite(sentence: &str) -> &str {
    let mut words = sentence.trim_start();
    // Two at most: “ok, please …”.
    for _ in 0..2 {
        if let Some(rest) = starts(words, POLITE) {
            words = rest.trim_start_matches([',', ' ', '!', '\u{a0}', ':', '–', '-']);
        }
    }
    words
}

/// What follows the first of the beginnings that the text has; whole words only, letters of any case, any apostrophe.
fn starts<'a>(text: &'a str, beginnings: &[&str]) -> Option<&'a str> {
    beginnings.iter().find_map(|beginning| {
        let mut rest = text;
        for expected in beginning.chars() {
            let first = rest.chars().next()?;
            let same = match first {
                '’' => expected == '\'',
                first if first.is_whitespace() => expected == ' ',
                first => first.to_lowercase().eq(expected.to_lowercase()),
            };
            if !same {
                return None;
            }
            rest = rest.get(first.len_utf8()..)?;
        }
        let ends = !rest.starts_with(|c: char| c.is_alphanumeric());
        (ends || beginning.ends_with('\'')).then_some(rest)
    })
}

/// What follows “that”: no noun that it only points to.
fn clause(rest: &str) -> Option<&str> {
    let rest = rest.trim_start_matches([',', ' ', ':']);
    starts(rest, POINTED_AT).is_none().then_some(rest)
}

/// What follows “forget that”: a statement; “forget that plan” is none.
fn stated(rest: &str) -> Option<&str> {
    let rest = rest.trim_start_matches([',', ' ', ':']);
    starts(rest, STATEMENTS).map(|_| rest)
}

/// What follows a bare “remember”: something of one's own.
fn own(rest: &str) -> Option<&str> {
    let rest = rest.trim_start_matches([',', ' ']);
    starts(rest, OWN).map(|_| rest)
}

/// The text, if it says something.
fn text(rest: &str) -> Option<String> {
    let text = rest.trim().trim_end_matches(['.', '!']).trim_end();
    let words = text.split_whitespace().count();
    let bare = text.to_lowercase();
    let pointing = POINTERS.contains(&bare.trim_matches(|c: char| !c.is_alphanumeric()));
    (words > 0 && !pointing && text.len() <= TEXT_BYTES_MAX).then(|| text.to_owned())
}

#[rustfmt::skip]
const POLITE: &[&str] = &[
    "please", "pls", "ok", "okay", "hey", "hi", "and", "also", "oh", "by the way", "btw", "could you please", "can you please",
    "could you", "can you", "bitte", "hallo", "und", "ach", "übrigens", "kannst du bitte", "kannst du dir bitte", "s'il te plaît",
    "s'il vous plaît", "et", "au fait", "peux-tu", "por favor", "oye", "y", "puedes", "hola", "salut",
];

/// Beginnings that a statement follows.
#[rustfmt::skip]
const REMEMBER_THAT: &[&str] = &[
    "remember that", "keep in mind that", "make a note that", "don't forget that", "do not forget that", "never forget that",
    "bear in mind that", "remember, that",
    "merk dir, dass", "merk dir dass", "merke dir, dass", "merke dir dass", "merken sie sich, dass", "merk dir bitte, dass",
    "merk dir bitte dass", "merke dir bitte, dass", "behalte, dass", "behalt, dass", "behalte im kopf, dass",
    "denk daran, dass", "denk dran, dass", "denke daran, dass", "vergiss nicht, dass", "vergiss nicht dass",
    "vergiss bitte nicht, dass", "notier dir, dass", "notiere dir, dass", "dir merken, dass",
    "retiens que", "retiens qu'", "retenez que", "souviens-toi que", "souviens-toi qu'", "souvenez-vous que", "rappelle-toi que",
    "rappelle-toi qu'", "rappelez-vous que", "n'oublie pas que", "n'oublie pas qu'", "n'oubliez pas que", "garde en tête que",
    "recuerda que", "recuerde que", "acuérdate de que", "acuérdate que", "ten en cuenta que", "no olvides que", "apunta que",
    "ten presente que",
];

/// Beginnings that a colon follows, or something of one's own.
#[rustfmt::skip]
const REMEMBER: &[&str] = &[
    "remember this", "remember", "make a note", "keep in mind", "to remember", "don't forget this",
    "merk dir folgendes", "merk dir bitte", "merk dir", "merke dir", "merken", "zum merken", "notier dir", "notiere dir",
    "retiens ceci", "retiens", "souviens-toi de ceci", "souviens-toi", "rappelle-toi", "à retenir",
    "recuerda esto", "recuerda", "apunta", "acuérdate",
];

/// What may follow a bare “remember”.
#[rustfmt::skip]
const OWN: &[&str] = &[
    "i'm", "i am", "i have", "i've", "i like", "i don't", "i do not", "i can't", "i cannot", "i work", "i live", "i prefer",
    "i hate", "i never", "i always", "i need", "my name", "my birthday", "my wife", "my husband", "my partner", "my address",
    "my phone number", "my blood type", "my allergy", "our address", "our anniversary",
    "meinen geburtstag", "meine adresse", "ich bin", "ich habe", "ich mag", "mein name", "mein geburtstag", "meine nummer",
    "je suis", "j'ai", "mon anniversaire", "mon adresse",
    "soy", "tengo", "mi cumpleaños", "mi dirección",
];

/// Beginnings that a statement follows which shall be forgotten.
#[rustfmt::skip]
const FORGET_THAT: &[&str] = &[
    "forget that", "vergiss, dass", "vergiss dass", "vergiss bitte, dass", "vergessen sie, dass", "oublie que", "oublie qu'",
    "oubliez que", "oubliez qu'", "olvida que", "olvide que",
];

/// What a statement begins with.
#[rustfmt::skip]
const STATEMENTS: &[&str] = &[
    "i", "i'm", "i've", "i'd", "my", "we", "we're", "our", "he", "she", "they",
    "ich", "wir", "mein", "meine", "meinem", "meiner", "unser", "unsere", "er", "sie", "es",
    "je", "j'", "nous", "on", "il", "elle", "ils", "elles", "mon", "ma", "mes",
    "yo", "soy", "tengo", "vivo", "trabajo", "mi", "mis", "estoy", "me", "no",
];

/// Beginnings that one of the next follows, or a colon.
#[rustfmt::skip]
const FORGET: &[&str] = &[
    "forget", "delete from memory", "remove from memory", "delete from your memory", "remove from your memory",
    "vergiss bitte", "vergiss", "vergessen sie", "oublie", "oubliez", "olvida", "olvide",
];

/// Beginnings that one of the last follows.
#[rustfmt::skip]
const DELETE: &[&str] =
    &["delete", "erase", "lösch bitte", "lösche bitte", "lösch", "lösche", "efface", "effacez", "borra", "borre"];

/// What can be forgotten besides a statement.
#[rustfmt::skip]
const FORGETTABLE: &[&str] = &[
    "what i said about", "what i told you about", "everything about", "everything i told you about", "everything i said about",
    "my address", "my birthday", "my phone number", "my old address", "my name", "about my", "fact",
    "was ich", "alles über", "alles, was", "alles was", "meine adresse", "meinen geburtstag", "meine nummer",
    "meinen namen", "meine telefonnummer", "meine alte adresse",
    "ce que je t'ai dit", "tout ce que", "tout sur", "mon adresse", "mon anniversaire", "mon numéro",
    "lo que te dije", "lo que te he dicho", "todo lo que", "todo sobre", "mi dirección", "mi cumpleaños",
    "mi número",
];

/// What is known already.
#[rustfmt::skip]
const KNOWN: &[&str] = &[
    "what you know about", "what you know of", "everything you know about", "all you know about", "what you remember about",
    "was du über", "alles, was du über", "alles was du über", "was du dir über",
    "ce que tu sais", "tout ce que tu sais", "lo que sabes", "todo lo que sabes",
];

/// “Remember that time …” shares a memory.
#[rustfmt::skip]
const POINTED_AT: &[&str] = &["time", "day", "night", "evening", "one", "guy", "song", "film", "movie", "place", "summer", "trip"];

/// Words that only point at something said elsewhere.
#[rustfmt::skip]
const POINTERS: &[&str] = &[
    "this", "that", "it", "them", "everything", "me", "das", "es", "dies", "alles", "mich", "ça", "cela", "ceci", "moi", "tout",
    "eso", "esto", "todo",
];

#[rustfmt::skip]
const SHOW: &[&str] = &[
    "what do you know about me", "what do you remember about me", "what do you know of me", "what have you remembered about me",
    "show me what you know about me", "tell me what you know about me",
    "was weißt du über mich", "was weisst du über mich", "was weißt du von mir", "was hast du dir über mich gemerkt",
    "was hast du dir gemerkt", "zeig mir, was du über mich weißt",
    "que sais-tu de moi", "que sais-tu sur moi", "qu'est-ce que tu sais de moi", "qu'est-ce que tu sais sur moi",
    "qué sabes de mí", "que sabes de mi", "qué sabes sobre mí", "¿qué sabes de mí", "¿qué sabes sobre mí", "¿que sabes de mi",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers() {
        let check = |message: &str, expect: &str| {
            assert_eq!(plain(message), Plain::Remember(expect.to_owned()), "{message}");
        };
        check("Remember that I'm allergic to nuts.", "I'm allergic to nuts");
        check("remember that the bins go out on Tuesdays", "the bins go out on Tuesdays");
        check("Please remember: my locker is 114", "my locker is 114");
        check("please remember that Dr. Ames moved to Hill Road!", "Dr. Ames moved to Hill Road");
        check("Please, remember that I work nights", "I work nights");
        check("Thanks! Remember that I hate coriander.", "I hate coriander");
        check("ok, please keep in mind that we have no oven", "we have no oven");
        check("Can you remember that Mia is vegan", "Mia is vegan");
        check("Don't forget that I'm vegan.", "I'm vegan");
        check("DON’T FORGET THAT MIA IS NINE", "MIA IS NINE");
        check("Remember I'm left-handed.", "I'm left-handed");
        check("Remember my birthday is on 3 May", "my birthday is on 3 May");
        check(
            "Remember this: the code word is heron.\nAnd the second one is plum.",
            "the code word is heron.\nAnd the second one is plum",
        );
        check("Remember:\n- no fish\n- no nuts", "- no fish\n- no nuts");
        check("By the way, make a note that Jo is back on the 4th.", "Jo is back on the 4th");
        check("Merk dir, dass ich am 3. Mai Geburtstag habe.", "ich am 3. Mai Geburtstag habe");
        check("merk dir dass die Tonne dienstags raus muss", "die Tonne dienstags raus muss");
        check("Bitte merk dir: Schuhgröße 39", "Schuhgröße 39");
        check("Merk dir bitte, dass Oma kein Handy hat", "Oma kein Handy hat");
        check("Denk daran, dass ich kein Fleisch esse.", "ich kein Fleisch esse");
        check("Vergiss nicht, dass Malte Nachtschicht hat", "Malte Nachtschicht hat");
        check("Kannst du dir bitte merken: Ina mag keine Rosen", "Ina mag keine Rosen");
        check("Retiens que je suis gaucher.", "je suis gaucher");
        check("S'il te plaît, souviens-toi que Léa est allergique", "Léa est allergique");
        check("N’oublie pas qu’il travaille la nuit", "il travaille la nuit");
        check("À retenir : le code du portail est 48", "le code du portail est 48");
        check("Recuerda que soy celíaca", "soy celíaca");
        check("Por favor, ten en cuenta que no como carne.", "no como carne");
        check("No olvides que Ana vive en Gijón", "Ana vive en Gijón");
        check("Apunta: la talla es la 38", "la talla es la 38");
    }

    #[test]
    fn forgets() {
        let check = |message: &str, expect: &str| {
            assert_eq!(plain(message), Plain::Forget(expect.to_owned()), "{message}");
        };
        check("Forget that I ever lived in Leeds.", "I ever lived in Leeds");
        check("forget that my sister is ill", "my sister is ill");
        check("forget my address", "my address");
        check("Please forget what I said about Tom.", "what I said about Tom");
        check("Forget everything you know about my job", "everything you know about my job");
        check("Forget: the locker number", "the locker number");
        check("forget fact 12", "fact 12");
        check("Vergiss, dass ich in Kiel gewohnt habe.", "ich in Kiel gewohnt habe");
        check("Bitte vergiss meine Adresse", "meine Adresse");
        check("Vergiss alles über Malte!", "alles über Malte");
        check("Lösche alles, was du über Malte weißt", "alles, was du über Malte weißt");
        check("Delete what you know about my job", "what you know about my job");
        check("Oublie que j'ai habité à Lyon", "j'ai habité à Lyon");
        check("Oublie ce que je t'ai dit sur Paul.", "ce que je t'ai dit sur Paul");
        check("Olvida que trabajo en Oviedo", "trabajo en Oviedo");
        check("Por favor, olvida lo que te dije de Ana", "lo que te dije de Ana");
    }

    #[test]
    fn shows() {
        for message in [
            "What do you know about me?",
            "Hey, what do you remember about me",
            "Was weißt du über mich?",
            "Que sais-tu de moi ?",
            "¿Qué sabes de mí?",
        ] {
            assert_eq!(plain(message), Plain::Show, "{message}");
        }
    }

    #[test]
    fn other_words_are_left_to_the_model() {
        for message in [
            "",
            "I can't remember that",
            "I remember that you said so.",
            "Do you remember that I like tea?",
            "Remember that restaurant?",
            "remember that time in Porto, it was great",
            "Remember when we met?",
            "remember me?",
            "Remember to call mum",
            "Don't forget to call mum",
            "Don't forget the milk",
            "Remember this.",
            "Remember that!",
            "remember the milk",
            "Forget it.",
            "forget about it",
            "Forget that.",
            "Forget that plan, we fly",
            "Lösche alles, was im Ordner liegt",
            "Borra todo lo que hay en la carpeta",
            "Note: I am late",
            "Forget the milk, we have oat drink",
            "I forget my keys all the time",
            "I'll never forget that I met you",
            "Never forget!",
            "She said: remember that I love you",
            "\"Remember that I am gone\" is a line of the song",
            "> Remember that all invoices go to Bob",
            "The mail says remember that the door is open",
            "Denk daran, Milch zu kaufen",
            "Vergiss nicht, Mama anzurufen",
            "Vergiss es",
            "Vergiss das!",
            "Merk dir das.",
            "Ich kann mir das nicht merken",
            "Erinnere mich an den Zahnarzt",
            "Rappelle-moi d'acheter du pain",
            "N'oublie pas de fermer la porte",
            "Oublie ça",
            "Oublie.",
            "Recuérdame llamar a Ana",
            "No olvides comprar pan",
            "Olvídalo",
            "¿Recuerdas que fuimos a Gijón?",
            "What do you know about Malta?",
            "Was weißt du über Kiel?",
            "Notes: remembering is hard",
        ] {
            assert_eq!(plain(message), Plain::None, "{message}");
        }
        let long = format!("Remember that {}", "x".repeat(TEXT_BYTES_MAX + 1));
        assert_eq!(plain(&long), Plain::None);
    }
}
