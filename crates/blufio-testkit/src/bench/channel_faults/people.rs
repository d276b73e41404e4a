//! Who writes what and where, while everything goes wrong.
//!
//! | number of a message modulo 12 | what it is or makes the turn do |
//! |---|---|
//! | 0 | a picture |
//! | 1 | an album of three |
//! | 2 | writes a file by a tool |
//! | 3 | asks a tool, and another one in a second round |
//! | 4 | an answer of several messages |
//! | 5, 11 | streams slowly |
//! | 6, 7 | is sent a file: a text, a picture |
//! | 8 | a document |
//! | 9 | streams slowly into several messages |
//! | 10 | is edited right after it was sent |
//! | other | answers at once |
//!
//! Every 97th number asks the owner first, until there were enough.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::json;

use super::super::random::Random;
use super::super::world::{FIRST_USER, World, answers};
use crate::botapi::{ChatKind, Post, State, UserFile, VisibleMessage};
use crate::process::Setup;

/// People who write in private, of whom the first is the owner.
pub(super) const PEOPLE: i64 = 10;
/// Somebody whose calls meet no faults.
pub(super) const HEALTHY: i64 = FIRST_USER + PEOPLE;
/// Groups: one in which everything is heard, one in which the bot has to be named, one with topics.
const OPEN: i64 = -1_000_000_000_100;
const NAMED: i64 = -1_000_000_000_200;
pub(super) const FORUM: i64 = -1_000_000_000_300;
/// Topics of the forum, and the number of the one that is always there.
const TOPICS: [i64; 2] = [7, 9];
const GENERAL: i64 = 1;
/// The bot's name as a mention.
const BOT: &str = "@blufio_test_bot";
/// Messages that wait for their answer, per place.
const WINDOW: usize = 3;
/// Messages of a private chat until it starts a new conversation, so that prompts stay small.
const CONVERSATION: usize = 40;
/// Questions to the owner; the product asks at most twenty in an hour.
const QUESTIONS_MAX: u32 = 12;
/// A button is pressed again after this time while it is still there: an early press counts for nothing.
const PRESS_AGAIN: Duration = Duration::from_millis(700);
/// Presses of one message.
const PRESSES_MAX: u32 = 40;
/// Words of a long answer, which is three messages.
const LONG_WORDS: u64 = 190;
/// Folder of what is sent, in the workspace.
const FILES: &str = "shelf";
/// Eight pixels square.
const PICTURE: &str = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAbElEQVR42g3JQQEAMAgDMZSgpCLujRKUVAlKqmjLN1VFFyqm2MLFFSmqmm7UTLONm2vSP0QLiRErLE5EP4YeNMywg4cbMj+WXrTMsouXW7I/TBuZMWtszsQ/jj50zLGHjztyP0IHhQkbHC4kPAvwSIFVu05rAAAAAElFTkSuQmCC";

/// Where people write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) chat: i64,
    pub(super) thread: Option<i64>,
}

impl Place {
    /// The topic that its messages carry; those of General carry none.
    pub(super) fn shown(self) -> Option<i64> {
        self.thread.filter(|thread| *thread != GENERAL)
    }
}

/// What was said so far.
pub(super) struct People {
    random: Random,
    rooms: Vec<Room>,
    /// The next number.
    next: u64,
    questions: u32,
    /// Presses of each message of the owner's chat.
    presses: BTreeMap<(i64, i64), (u32, Instant)>,
    picture: Bytes,
    /// Update ids of late, to be delivered again.
    updates: Vec<i64>,
}

/// A place and what was said there.
struct Room {
    place: Place,
    numbers: Vec<u64>,
    /// Those that have been seen answered.
    answered: BTreeSet<u64>,
}

/// All chats whose calls meet faults.
pub(super) fn chats() -> Vec<i64> {
    (FIRST_USER..FIRST_USER + PEOPLE).chain([OPEN, NAMED, FORUM]).collect()
}

/// Makes the groups known and the binary listen there.
pub(super) fn set_up(world: &mut World) {
    let members: Vec<i64> = (FIRST_USER..FIRST_USER + PEOPLE).collect();
    for (chat, title, forum) in [(OPEN, "open", false), (NAMED, "named", false), (FORUM, "forum", true)] {
        world.telegram.add_group(chat, title, ChatKind::Supergroup { forum }, &members);
    }
    // Notices may come before anybody has written.
    members.iter().chain([&HEALTHY]).for_each(|person| world.telegram.open_private(*person));
    world.telegram.change(|state| TOPICS.into_iter().for_each(|topic| state.add_topic(FORUM, topic)));
    let everything = "{ require_mention = false }";
    let groups = format!("{{ {OPEN} = {everything}, {NAMED} = {{}}, {FORUM} = {everything} }}");
    world.setup.set_raw("telegram.groups", groups);
    world.setup.set_raw("tools.ask", "[\"read_file\"]");
}

/// Puts what is sent into the workspace.
pub(super) fn fill_workspace(setup: &Setup) -> Result<()> {
    let folder = setup.data_dir().join("workspace").join(FILES);
    std::fs::create_dir_all(&folder)?;
    for (name, bytes) in shelf() {
        std::fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}

/// What is sent: names and contents.
pub(super) fn shelf() -> [(&'static str, Vec<u8>); 2] {
    let picture = STANDARD.decode(PICTURE).expect("it is base64");
    [
        ("text.txt", b"a text that is sent,\r\n--\r\n with lines that no form may touch\r\n".to_vec()),
        ("picture.png", picture),
    ]
}

impl People {
    pub(super) fn new(random: Random) -> Self {
        let private = (FIRST_USER..FIRST_USER + PEOPLE).map(|chat| Place { chat, thread: None });
        let groups = [OPEN, NAMED].map(|chat| Place { chat, thread: None });
        let topics = [GENERAL, TOPICS[0], TOPICS[1]].map(|thread| Place { chat: FORUM, thread: Some(thread) });
        let room = |place| Room { place, numbers: Vec::new(), answered: BTreeSet::new() };
        let healthy = [Place { chat: HEALTHY, thread: None }];
        Self {
            random,
            rooms: private.chain(groups).chain(topics).chain(healthy).map(room).collect(),
            next: 1,
            questions: 0,
            presses: BTreeMap::new(),
            picture: STANDARD.decode(PICTURE).expect("it is base64").into(),
            updates: Vec::new(),
        }
    }

    /// Everything that was said: the number and where.
    pub(super) fn posted(&self) -> BTreeMap<u64, Place> {
        self.rooms.iter().flat_map(|room| room.numbers.iter().map(|number| (*number, room.place))).collect()
    }

    pub(super) fn all_answered(&self) -> bool {
        self.rooms.iter().all(|room| room.answered.len() == room.numbers.len())
    }

    /// Looks at the chats, and presses the buttons: everybody is an owner, and each is asked about their own calls.
    pub(super) fn look(&mut self, world: &World) {
        for chat in chats().into_iter().chain([HEALTHY]) {
            let transcript = world.telegram.transcript(chat);
            let said: BTreeSet<u64> =
                transcript.iter().filter(|said| said.from_bot).flat_map(|said| answers(&said.text)).collect();
            for room in self.rooms.iter_mut().filter(|room| room.place.chat == chat) {
                room.answered.extend(room.numbers.iter().filter(|number| said.contains(number)));
            }
            if chat > 0 {
                self.press(world, chat, &transcript);
            }
        }
    }

    fn press(&mut self, world: &World, person: i64, transcript: &[VisibleMessage]) {
        for asked in transcript {
            let Some((_, data)) = asked.buttons.first().and_then(|row| row.first()) else { continue };
            let (times, at) = self.presses.entry((person, asked.message_id)).or_insert((0, Instant::now()));
            if *times < PRESSES_MAX && (*times == 0 || at.elapsed() > PRESS_AGAIN) {
                (*times, *at) = (*times + 1, Instant::now());
                world.telegram.press(person, asked.message_id, person, data);
            }
        }
    }

    /// Says something new wherever few messages wait.
    pub(super) fn post(&mut self, world: &World) {
        for at in 0..self.rooms.len() {
            let Room { place, numbers, answered } = &self.rooms[at];
            if place.chat == HEALTHY || numbers.len() >= answered.len() + WINDOW {
                continue;
            }
            let (place, count) = (*place, numbers.len());
            if place.chat > 0 && count % CONVERSATION == CONVERSATION - 1 && answered.len() == count {
                world.telegram.send_text(place.chat, "/new");
            }
            let number = self.next;
            self.next += 1;
            self.say(world, place, number);
            self.rooms[at].numbers.push(number);
        }
    }

    /// One more message in this chat; gives the number.
    pub(super) fn post_plain(&mut self, world: &World, chat: i64) -> u64 {
        let number = self.next;
        self.next += 1;
        world.telegram.send_text(chat, &format!("#{number} hello"));
        if let Some(room) = self.rooms.iter_mut().find(|room| room.place.chat == chat) {
            room.numbers.push(number);
        }
        number
    }

    fn say(&mut self, world: &World, place: Place, number: u64) {
        let Place { chat, thread } = place;
        let user = if chat > 0 { chat } else { FIRST_USER + self.random.below(PEOPLE as u64) as i64 };
        let text = self.text(number);
        let text = if chat == NAMED { format!("{BOT} {text}") } else { text };
        let put = |file: UserFile| {
            let file = file.in_chat(chat);
            thread.into_iter().fold(file, UserFile::in_topic)
        };
        let photo = || put(UserFile::photo(user, self.picture.clone()));
        let kept = world.telegram.change(|state| match number % 12 {
            0 => vec![state.post_file(photo().caption(&text))],
            1 => state.post_album(&text, [photo(), photo(), photo()]),
            8 => {
                vec![state.post_file(put(UserFile::document(user, "note.txt", "text/plain", "a note")).caption(&text))]
            }
            _ => {
                let post = Post::new(chat, user, &text);
                let update = state.post(thread.into_iter().fold(post, Post::in_topic));
                if number % 12 == 10 {
                    edit_last(state, chat, &format!("{text}, edited"));
                }
                vec![update]
            }
        });
        self.updates.extend(kept);
        let excess = self.updates.len().saturating_sub(400);
        self.updates.drain(..excess);
    }

    fn text(&mut self, number: u64) -> String {
        if number.is_multiple_of(97) && self.questions < QUESTIONS_MAX {
            self.questions += 1;
            return format!("#{number} [tool:read_file {}]", json!({"path": format!("{FILES}/text.txt")}));
        }
        let file = if number % 12 == 6 { "text.txt" } else { "picture.png" };
        let wish = match number % 12 {
            0 | 1 => "[describe]".to_owned(),
            2 => format!("[tool:write_file {{ \"path\": \"notes/{number}.txt\", \"content\": \"note {number}\" }}]"),
            3 => "[tool:now] [then:tool:list_files { \"path\": \"notes\" }]".to_owned(),
            4 => format!("[long:{LONG_WORDS}]"),
            5 | 11 => "[slow:300] [drip:40] [say:a few words that come slowly, one piece after the other, as if somebody typed \
                  them into a machine of long ago]"
                .to_owned(),
            6 | 7 => format!("[tool:send_file {{ \"path\": \"{FILES}/{file}\" }}]"),
            9 => format!("[slow:900] [drip:2] [long:{LONG_WORDS}]"),
            _ => "hello".to_owned(),
        };
        format!("#{number} {wish}")
    }

    /// Disturbs the order of things: updates that come again or in another order or are of no known kind, presses of buttons
    /// that never were, reactions, placeholders that somebody removes. Gives what was done.
    pub(super) fn disturb(&mut self, world: &World) -> Option<&'static str> {
        let telegram = &world.telegram;
        let person = FIRST_USER + self.random.below(PEOPLE as u64) as i64;
        match self.random.below(9) {
            0..=2 => {
                let place = usize::try_from(self.random.below(self.updates.len().max(1) as u64)).unwrap_or(0);
                let update = *self.updates.get(place)?;
                let times = 1 + u32::try_from(self.random.below(3)).unwrap_or(0);
                telegram.redeliver(update, times).then_some("update delivered again")
            }
            3 => {
                telegram.reorder_next(self.random.below(1_000));
                Some("batch in another order")
            }
            4 => {
                let id = self.random.below(1 << 53);
                let odd = match self.random.below(5) {
                    0 => json!({"something_of_2030": {"id": id, "nested": [[[]]]}}),
                    1 => json!({"message": {"message_id": id, "chat": {"id": person, "type": "hologram"}, "date": 0}}),
                    2 => json!({"message": 5}),
                    3 => json!({"poll": {"id": "1", "unknown": -(id as i64)}}),
                    _ => json!({"callback_query": {"id": id}}),
                };
                telegram.push_update(&odd);
                Some("update of an unknown kind")
            }
            5 | 6 => {
                let said = telegram.transcript(person).into_iter().rfind(|said| said.from_bot)?;
                let forged = format!("b1:{}:ok", "a".repeat(20));
                telegram.press(person, said.message_id, person, &forged).map(|_| "press of a button that never was")
            }
            7 => {
                let said = telegram.transcript(person).into_iter().rfind(|said| said.from_bot)?;
                telegram.react(person, said.message_id, person, "👍").map(|_| "reaction")
            }
            _ => telegram.change(remove_placeholder).then_some("placeholder that somebody removed"),
        }
    }
}

/// Edits what was posted last.
fn edit_last(state: &mut State, chat: i64, text: &str) {
    if let Some(message) = state.transcript(chat).last().map(|message| message.message_id) {
        state.edit_post(chat, message, text);
    }
}

/// Removes a message that will become an answer.
fn remove_placeholder(state: &mut State) -> bool {
    for chat in chats() {
        let unfinished = state.transcript(chat).into_iter().rfind(|said| said.from_bot && said.text == "…");
        if let Some(unfinished) = unfinished {
            return state.delete_post(chat, unfinished.message_id);
        }
    }
    false
}
