//! Conversations with fixed replies, and what they are about: thirty skills and five hundred facts.

use std::fmt::Write as _;

/// Turns of a conversation.
pub const TURNS: usize = 40;
/// Facts that are known of the person.
pub const FACTS: usize = 500;

const NAMES: [&str; 25] = [
    "Clara", "Bruno", "Edith", "Farid", "Greta", "Hamza", "Irene", "Jonas", "Karin", "Lukas", "Mirja", "Nadia",
    "Oskar", "Paula", "Quirin", "Rosalie", "Stefan", "Tamara", "Ulrike", "Viktor", "Wanda", "Xaver", "Yvonne",
    "Zoltan", "Amelie",
];
const THINGS: [(&str, &str); 20] = [
    ("birthday", "falls on the"),
    ("allergy", "is against"),
    ("bicycle", "is locked with code"),
    ("dentist", "has room"),
    ("landlord", "is reached at extension"),
    ("passport", "ends with"),
    ("shoes", "have size"),
    ("garden", "has plot"),
    ("school", "is in district"),
    ("insurance", "has contract"),
    ("locker", "opens with"),
    ("printer", "sits in room"),
    ("recipe", "is on page"),
    ("subscription", "renews on day"),
    ("violin", "was made in"),
    ("wallet", "was bought for"),
    ("apartment", "is number"),
    ("cousin", "lives at house"),
    ("ticket", "is for seat"),
    ("thesis", "was graded with"),
];

/// A sentence of about twenty tokens that nobody could guess.
pub fn fact(number: usize) -> String {
    let (name, (thing, verb)) = (NAMES[number % NAMES.len()], THINGS[number / NAMES.len() % THINGS.len()]);
    format!("- {name}'s {thing} {verb} {}, as the person has said in the year before last.", 1_000 + number * 7)
}

fn question(number: usize) -> String {
    let (name, (thing, _)) = (NAMES[number % NAMES.len()], THINGS[number / NAMES.len() % THINGS.len()]);
    format!("Do you remember what I told you about the {thing} of {name}?")
}

const SKILLS: [(&str, &str); 30] = [
    ("invoice", "Writes bills for clients"),
    ("travel", "Plans journeys by train and plane"),
    ("recipe", "Cooks from what is there"),
    ("minutes", "Takes the minutes of meetings"),
    ("taxes", "Collects receipts for the tax return"),
    ("garden", "Says what to plant when"),
    ("letters", "Writes letters to offices"),
    ("fitness", "Keeps a plan of exercises"),
    ("budget", "Looks after the household money"),
    ("reading", "Summarises long articles"),
    ("birthday", "Finds presents for people"),
    ("cleaning", "Divides the work at home"),
    ("moving", "Organises a change of flats"),
    ("photos", "Sorts pictures into albums"),
    ("language", "Practises words of a language"),
    ("music", "Keeps lists of songs"),
    ("health", "Prepares visits to the doctor"),
    ("school", "Helps with homework"),
    ("contracts", "Looks through contracts"),
    ("meals", "Plans the meals of a week"),
    ("energy", "Reads the meters"),
    ("car", "Remembers the services of the car"),
    ("pets", "Looks after the animals"),
    ("events", "Finds concerts and markets"),
    ("news", "Puts the news of a day together"),
    ("code", "Reviews programs"),
    ("slides", "Makes talks out of notes"),
    ("hiring", "Compares candidates"),
    ("surveys", "Asks people and counts the answers"),
    ("backup", "Checks that copies exist"),
];

/// Name and description of a skill.
pub fn skill(number: usize) -> (&'static str, String) {
    let (name, about) = SKILLS[number];
    (
        name,
        format!(
            "{about}, step by step, with the forms, the sums and the order that the person likes, and a list of what to ask before."
        ),
    )
}

/// About 2,400 tokens; its seventh rule is a sentence that stands nowhere else.
pub fn skill_body(number: usize) -> String {
    let (name, about) = SKILLS[number];
    let mut body = format!("# {name}\n\n{about}.\n\n");
    for rule in 1..=60 {
        writeln!(
            body,
            "{rule}. Rule {rule} of {name}: look at what was done the last time, compare it with the list of the month, write down what \
             differs, and ask before anything is sent to somebody else."
        )
        .expect("a String takes everything");
    }
    body
}

/// The sentence by which the body of a skill is known.
pub fn skill_mark(number: usize) -> String {
    format!("Rule 7 of {}: look at what", SKILLS[number].0)
}

/// One turn.
#[derive(Clone, Debug, Default)]
pub struct Turn {
    /// What the person writes.
    pub text: String,
    /// The fact that the answer needs.
    pub fact: Option<usize>,
    /// The skill that it needs.
    pub skill: Option<usize>,
    /// Rounds in which the model reads a file.
    pub files: usize,
    /// Words of the answer.
    pub words: usize,
}

/// A conversation.
pub struct Conversation {
    /// Its name.
    pub name: &'static str,
    /// Its turns.
    pub turns: Vec<Turn>,
}

const TALK: [&str; 20] = [
    "Good morning! Did you sleep, or do you never?",
    "It rains again here, and I forgot the umbrella at the office.",
    "I had pasta with lemon yesterday, it was better than I expected.",
    "Tell me something about whales that few people know.",
    "My neighbour plays the trumpet at eight in the morning.",
    "What would you cook with two carrots and an old bread?",
    "I think I will go for a walk before it gets dark.",
    "Do you know a good word for being tired and happy at once?",
    "The train was late, so I read half of my book.",
    "My sister called, she sounds much better now.",
    "Is it true that octopuses have three hearts?",
    "I bought a blue chair for the balcony today.",
    "Give me one reason to get up early tomorrow.",
    "The film was too long, but the music was wonderful.",
    "How do people in Finland say good night?",
    "I burnt the rice again, please do not tell anybody.",
    "What is the smallest bird that you know of?",
    "We might visit Porto in spring, have you opinions?",
    "My tea is cold, which tells you how the meeting was.",
    "Good night, and thank you for listening to all of this.",
];
const HOUSE: [&str; 20] = [
    "Please put milk, oats and two lemons on the list for Saturday.",
    "When did I last clean the filter of the washing machine?",
    "The plumber comes on Thursday at ten, remind me to be here.",
    "What is still open from the mail of the landlord?",
    "Write a short note to the neighbours that we drill on Friday.",
    "How many days are left until the school holidays?",
    "The electricity bill seems high, compare it with the last one.",
    "Please move the dinner with Jonas to next week.",
    "Which bin is collected tomorrow, paper or glass?",
    "I need a polite answer to the invitation from the choir.",
    "Add the new number of the dentist to my notes.",
    "What did we agree on about the holiday flat?",
    "Find a time for a haircut that does not collide with football.",
    "The heating makes noises, whom did we call in January?",
    "Make a list of what to pack for three days in the mountains.",
    "How much did we spend on food this month so far?",
    "Translate the letter of the insurance into plain words, please.",
    "Plan the meals until Sunday, without mushrooms.",
    "Was the parcel from the bookshop delivered already?",
    "What should I ask the teacher on Wednesday evening?",
];
const CODE: [&str; 10] = [
    "Look at the parser again, it fails on empty lines between two tables.",
    "Why does the test of the cache fail only on the second run?",
    "Rename the function that reads the header, and all of its callers.",
    "The build takes four minutes, find out what takes longest.",
    "Write a test for the case in which the file is cut in the middle.",
    "Explain what the borrow checker wants from me in that loop.",
    "Add a limit to the queue, and say what happens when it is full.",
    "The log says that the socket is closed twice, look for it.",
    "Make the error message tell the person what to do about it.",
    "Review the whole change once more, as if you had not written it.",
];

/// All conversations.
pub fn conversations() -> Vec<Conversation> {
    let make = |name, turn: &dyn Fn(usize) -> Turn| Conversation { name, turns: (0..TURNS).map(turn).collect() };
    let said = |lines: &[&str], number: usize| {
        let again = if number < lines.len() { "" } else { " I ask again, since much has happened in between." };
        format!("{}{again}", lines[number % lines.len()])
    };
    vec![
        make("small talk", &|n| Turn { text: said(&TALK, n), words: 40, ..Turn::default() }),
        make("tools", &|n| Turn { text: said(&HOUSE, n), files: 1 + n % 3, words: 60, ..Turn::default() }),
        make("memory", &|n| {
            let fact = (n % 2 == 0).then_some(60 + n * 10);
            Turn { text: fact.map_or_else(|| said(&TALK, n), question), fact, words: 40, ..Turn::default() }
        }),
        make("skills", &|n| {
            let skill = (n % 4 == 1).then_some(n % SKILLS.len());
            let text = skill.map_or_else(
                || said(&HOUSE, n),
                |number| format!("{} for me, please, the way we always do it.", SKILLS[number].1),
            );
            Turn { text, skill, words: 60, ..Turn::default() }
        }),
        make("coding", &|n| Turn { text: said(&CODE, n), files: 1 + n % 2, words: 250, ..Turn::default() }),
        make("household", &|n| Turn {
            text: if n % 5 == 3 { question(70 + n * 9) } else { said(&HOUSE, n) },
            fact: (n % 5 == 3).then_some(70 + n * 9),
            files: usize::from(n % 4 == 0),
            words: 60,
            ..Turn::default()
        }),
    ]
}

/// A file of the workspace that the model reads.
pub fn file(number: usize) -> String {
    format!("Line of the file {number}: what was written down on some day, by somebody, about something.\n").repeat(30)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn conversations_are_as_long_as_they_must_be_and_facts_are_all_different() {
        let all = conversations();
        assert!(all.len() >= 6 && all.iter().all(|conversation| conversation.turns.len() >= 40));
        assert_eq!((0..FACTS).map(fact).collect::<BTreeSet<_>>().len(), FACTS);
        let needed = all.iter().flat_map(|conversation| &conversation.turns).filter_map(|turn| turn.fact);
        assert!(needed.clone().count() >= 20 && needed.clone().all(|fact| fact < FACTS));
        for number in 0..SKILLS.len() {
            assert_eq!(skill_body(number).matches(&skill_mark(number)).count(), 1);
        }
    }
}
