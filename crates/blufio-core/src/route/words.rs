//! Words of courtesy and of objection in six languages. There are no words of difficulty here, and none belong here.
//!
//! A courtesy is a message of which *every* word is known: one unknown word, and it stays with the session's model. A word that
//! may be an answer or an order is never enough by itself (`yes`, `gerne`), or no part of any courtesy (`again`, `stop`).

/// The longest courtesy in bytes and in words.
const COURTESY_BYTES_MAX: usize = 80;
const COURTESY_WORDS_MAX: usize = 6;
/// The longest objection in words: a longer text that says "wrong" is about something.
const OBJECTION_WORDS_MAX: usize = 30;

/// Words that make a courtesy.
#[rustfmt::skip]
const COURTESIES: &[&str] = &[
    // English
    "thanks", "thank", "thx", "thnx", "ty", "tysm", "cheers", "ok", "okay", "okey", "okie", "k", "kk", "cool",
    "great", "nice", "perfect", "awesome", "wonderful", "super", "lovely", "brilliant", "excellent", "amazing",
    "fantastic", "fine", "good", "hi", "hello", "hey", "hiya", "yo", "morning", "evening", "afternoon", "goodnight",
    "bye", "goodbye", "lol", "lmao", "haha", "hahaha", "hehe", "wow", "yay", "np", "gotcha", "congrats", "noted",
    // German
    "danke", "dankeschön", "dank", "toll", "prima", "klasse", "spitze", "hallo", "moin", "servus", "guten", "gute",
    "tschüss", "tschüs", "tschau", "bitteschön",
    // French
    "merci", "bonjour", "bonsoir", "salut", "coucou", "parfait", "génial", "d'accord", "bonne", "bravo", "mdr",
    // Spanish
    "gracias", "hola", "buenos", "buenas", "vale", "perfecto", "genial", "adiós", "chao", "estupendo", "jaja",
    "jajaja",
    // Italian
    "grazie", "ciao", "buongiorno", "buonasera", "buonanotte", "buona", "perfetto", "ottimo", "prego", "salve",
    // Russian
    "спасибо", "спс", "благодарю", "привет", "здравствуйте", "здравствуй", "добрый", "доброе", "спокойной", "ок",
    "окей", "хорошо", "отлично", "супер", "прекрасно", "ладно", "понял", "поняла", "понятно", "ясно", "пока",
    "класс",
    // Faces
    ":)", ";)", ":-)", ":d", "<3", "xd",
];

/// Words that may stand beside them.
#[rustfmt::skip]
const FILLERS: &[&str] = &[
    "you", "u", "so", "much", "very", "a", "lot", "lots", "too", "oh", "ah", "hm", "hmm", "all", "day",
    "night", "there", "have", "yes", "yep", "yeah", "sounds", "job", "of", "course", "kind",
    "my", "friend", "well", "dear", "everyone",
    "dir", "dich", "vielen", "schön", "schönen", "sehr", "morgen", "abend", "tag", "nacht", "noch", "ja", "auch",
    "ach", "na", "und", "euch", "lieb", "herzlichen", "wünsche", "ich", "gern", "gerne",
    "beaucoup", "bien", "très", "nuit", "journée", "soirée", "oui", "à", "toi", "tous", "c'est",
    "muchas", "mil", "días", "noches", "tardes", "muy", "bien", "sí", "todo", "a", "ti",
    "mille", "tante", "notte", "giornata", "serata", "molto", "bene", "sì", "tutti", "e",
    "большое", "огромное", "тебе", "вам", "утро", "день", "вечер", "ночи", "всё", "все", "да", "ну", "очень", "и",
];

/// Several words that make a courtesy only together.
#[rustfmt::skip]
const PHRASES: &[&str] = &[
    "see you tomorrow", "see you later", "see you soon", "see you", "see ya", "got it", "no problem", "no worries",
    "talk later", "talk soon", "talk to you later", "you're welcome", "you are welcome", "welcome back", "all good",
    "take care", "sleep well", "how are you", "how's it going", "what's up", "i'm back",
    "for the help", "for your help", "hello again", "glad to hear", "glad to hear that",
    "bis morgen", "bis später", "bis bald", "bis dann", "alles klar", "alles gut", "wie geht's", "wie geht es dir",
    "kein problem", "mach's gut", "schlaf gut", "schönen tag", "schönen abend", "schönes wochenende",
    "à demain", "à bientôt", "à plus", "à plus tard", "de rien", "pas de problème", "ça va", "comment ça va",
    "au revoir",
    "hasta mañana", "hasta luego", "hasta pronto", "de nada", "cómo estás", "qué tal", "de acuerdo",
    "a domani", "a presto", "a dopo", "va bene", "di niente", "come stai", "non c'è problema",
    "до завтра", "до свидания", "до встречи", "как дела", "не за что", "без проблем",
];

/// Signs that are no applause.
const SERIOUS_SIGNS: &str = "👎❌❓❔❗🆘🚨🖕😡🤬";

/// Words that say that the last answer was wrong.
#[rustfmt::skip]
const OBJECTIONS: &[&str] = &[
    "that's wrong", "that is wrong", "this is wrong", "wrong again", "you're wrong", "you are wrong", "still wrong",
    "is incorrect", "not correct", "not right", "not what i", "that's not it", "that is not it", "you forgot",
    "you misunderstood", "i told you", "i said", "i asked for", "i meant",
    "stimmt nicht", "ist falsch", "nicht richtig", "nicht das, was", "nicht was ich", "du hast vergessen",
    "ich sagte", "ich hatte gesagt", "ich habe gesagt", "ich meinte",
    "c'est faux", "pas ce que", "tu t'es trompé", "tu te trompes", "tu as oublié", "pas correct", "j'avais dit",
    "j'ai dit",
    "te has equivocado", "te equivocas", "te equivocaste", "está mal", "es incorrecto", "no es correcto",
    "no es lo que", "no es así", "has olvidado", "te dije",
    "hai sbagliato", "è sbagliato", "ti sbagli", "non è giusto", "non è corretto", "non è quello", "hai dimenticato",
    "avevo detto",
    "неправильно", "неверно", "не так", "это не то", "не то, что", "ты ошиб", "вы ошиб", "ты забыл", "я просил",
    "я же сказал", "я говорил",
];

/// Single words that say so when they come first.
const OBJECTION_STARTS: &[&str] =
    &["wrong", "incorrect", "falsch", "faux", "incorrecto", "sbagliato", "неправильно", "неверно"];

/// Nothing but courtesy.
pub(super) fn is_courtesy(text: &str) -> bool {
    if text.len() > COURTESY_BYTES_MAX || text.split_whitespace().count() > COURTESY_WORDS_MAX {
        return false;
    }
    let mut applause = false;
    let mut words = Vec::with_capacity(COURTESY_WORDS_MAX);
    for token in text.to_lowercase().replace('’', "'").split_whitespace() {
        if COURTESIES.contains(&token) {
            applause = true;
            continue;
        }
        if token.contains(|c: char| SERIOUS_SIGNS.contains(c)) {
            return false;
        }
        applause |= token.contains(is_emoji);
        let word = token.trim_matches(|c: char| !c.is_alphanumeric());
        // A mark that stands alone ends the sentence before it, unless it is all there is.
        if !word.is_empty() {
            words.push(word.to_owned());
        }
    }
    let (rest, phrase) = without_phrase(&words.join(" "));
    let known = rest.split_whitespace().all(|word| COURTESIES.contains(&word) || FILLERS.contains(&word));
    let courteous = rest.split_whitespace().any(|word| COURTESIES.contains(&word));
    // "ok?" asks something; "how are you?" does not.
    known && (phrase || ((applause || courteous) && !text.contains('?')))
}

/// The person says that the last answer was wrong.
pub(super) fn is_objection(text: &str) -> bool {
    if text.split_whitespace().take(OBJECTION_WORDS_MAX + 1).count() > OBJECTION_WORDS_MAX {
        return false;
    }
    let text = text.to_lowercase().replace('’', "'");
    let first = text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    if OBJECTION_STARTS.contains(&first) || OBJECTIONS.iter().any(|phrase| text.starts_with(phrase)) {
        return true;
    }
    // "What would you say is not right with it?" is a question.
    !text.contains('?') && OBJECTIONS.iter().any(|phrase| text.contains(phrase))
}

/// The words without the first known phrase, and whether there was one.
fn without_phrase(words: &str) -> (String, bool) {
    let padded = format!(" {words} ");
    let longest =
        PHRASES.iter().filter(|phrase| padded.contains(&format!(" {phrase} "))).max_by_key(|phrase| phrase.len());
    match longest {
        Some(phrase) => (padded.replacen(&format!(" {phrase} "), " ", 1), true),
        None => (padded, false),
    }
}

/// A picture and no letter, digit or mark of a keyboard.
fn is_emoji(c: char) -> bool {
    matches!(c, '\u{2600}'..='\u{27bf}' | '\u{1f300}'..='\u{1faff}')
}
