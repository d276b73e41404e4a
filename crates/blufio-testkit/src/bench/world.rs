//! The binary with both fakes around it, and what can be read off the chats and the closed database afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::botapi::{BotApiConfig, FakeBotApi, RateModel, VisibleMessage};
use crate::database::open_read_only;
use crate::messages::{FakeMessagesApi, MessagesConfig};
use crate::process::Setup;

/// User id of the first chat; the others follow.
pub const FIRST_USER: i64 = 1_001;
/// The bot token. Long enough to be recognised wherever it should not be.
pub const TOKEN: &str = "1:TEST-canary-of-the-bot-token";
const API_KEY: &str = "sk-test";

/// How the world around the binary behaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    /// People who may speak; none means that strangers are paired.
    pub chats: usize,
    /// Whether the fake Bot API applies the public rate limits and the binary keeps its default rates.
    pub rates: bool,
    /// Output tokens per second of the model; `None` answers at once.
    pub tokens_per_s: Option<u32>,
    /// Whether the fake Bot API slows quick repeats of a poll, as the public server does. Each restart is one, so elsewhere
    /// that would be all that is measured.
    pub throttle: bool,
    /// Requests that the fake Bot API keeps for inspection.
    pub log_limit: usize,
    /// Requests that the fake Messages API keeps for inspection.
    pub requests: usize,
}

/// Fakes and the configuration of a binary that knows them. The work folder goes with it.
pub struct World {
    /// The fake Bot API.
    pub telegram: FakeBotApi,
    /// The fake Messages API.
    pub messages: FakeMessagesApi,
    /// How to start the binary.
    pub setup: Setup,
    chats: usize,
    dir: TempDir,
}

impl World {
    /// Starts the fakes and makes a work folder in `place`.
    ///
    /// # Errors
    /// A port or the folder cannot be had.
    pub async fn new(binary: &Path, place: &Path, plan: Plan) -> Result<Self> {
        let telegram = FakeBotApi::start(BotApiConfig {
            token: TOKEN.to_owned(),
            log_limit: plan.log_limit,
            throttle: plan.throttle,
            rate: plan.rates.then(RateModel::default),
            messages_per_chat_max: 100_000,
            ..BotApiConfig::default()
        })
        .await?;
        let messages = FakeMessagesApi::start(MessagesConfig {
            api_key: API_KEY.to_owned(),
            log_limit: plan.requests,
            tokens_per_s: plan.tokens_per_s,
            ..MessagesConfig::default()
        })
        .await?;
        // Short, since the path of the control socket has to fit into 107 bytes.
        let dir = tempfile::Builder::new().prefix("bb-").tempdir_in(place);
        let dir = dir.with_context(|| format!("cannot make a folder in {}", place.display()))?;
        let mut setup = Setup::new(binary, dir.path())?;
        setup.model(&messages.base_url(), API_KEY);
        let users: Vec<i64> = (FIRST_USER..).take(plan.chats).collect();
        setup.telegram(&telegram.base_url(), TOKEN, &users);
        // Everybody may use every tool.
        setup.set_raw("telegram.owners", format!("{users:?}"));
        if plan.rates {
            setup.set("telegram.rate.mode", "on");
        }
        // A day's work in minutes.
        for key in ["turn_usd", "session_day_usd", "person_day_usd", "agent_day_usd", "day_usd", "month_usd"] {
            setup.set(&format!("budget.{key}"), "off");
        }
        setup.set_raw("session.pending_messages", "200");
        setup.set("log.level", "warn");
        Ok(Self { telegram, messages, setup, chats: plan.chats, dir })
    }

    /// Keeps the work folder for a look at it, with what is visible in the chats; says where it is.
    pub fn keep(self) -> PathBuf {
        let path = self.dir.keep();
        for chat in (FIRST_USER..).take(self.chats.max(1)) {
            let lines: Vec<String> =
                self.telegram.transcript(chat).iter().map(|message| serde_json::json!(message).to_string()).collect();
            // It helps to understand a failure; that it cannot be written is none of its own.
            drop(std::fs::write(path.join(format!("chat-{chat}.jsonl")), lines.join("\n")));
        }
        path
    }

    /// What a correct client never sends, of both fakes.
    pub fn violations(&self) -> Vec<String> {
        let mut all = self.telegram.violations();
        all.extend(self.messages.violations());
        all
    }

    /// Waits until the bot has said `answer #number` in the chat.
    ///
    /// # Errors
    /// It has not within `limit`.
    pub async fn answered(&self, chat: i64, number: u64, limit: Duration) -> Result<()> {
        let said = |text: &str| answers(text).any(|found| found == number);
        let found = self.telegram.try_wait_for(|state| said(state.last_bot_text(chat)?).then_some(()), limit).await;
        if found.is_some()
            || self.telegram.transcript(chat).iter().any(|message| message.from_bot && said(&message.text))
        {
            return Ok(());
        }
        bail!("message #{number} of chat {chat} is not answered after {limit:?}")
    }
}

/// The numbers of the answers in a text, in order.
pub fn answers(text: &str) -> impl Iterator<Item = u64> + '_ {
    text.match_indices("answer #").filter_map(move |(at, mark)| {
        let rest = &text[at + mark.len()..];
        rest[..rest.find(|symbol: char| !symbol.is_ascii_digit()).unwrap_or(rest.len())].parse().ok()
    })
}

/// What became of the numbered messages, as the people in the chats see it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// How often each number was answered.
    pub copies: BTreeMap<u64, u64>,
    /// Numbers whose first answer came after that of a later number of the same chat.
    pub out_of_order: Vec<u64>,
    /// Messages of the bot that answer no number.
    pub other: u64,
}

impl Seen {
    /// Adds the transcript of a chat in which the numbers were posted in rising order.
    pub fn add(&mut self, transcript: &[VisibleMessage]) {
        let mut highest = 0;
        for message in transcript.iter().filter(|message| message.from_bot) {
            let mut any = false;
            for number in answers(&message.text) {
                any = true;
                let copies = self.copies.entry(number).or_default();
                *copies += 1;
                if *copies == 1 && number < highest {
                    self.out_of_order.push(number);
                }
                highest = highest.max(number);
            }
            self.other += u64::from(!any);
        }
    }

    /// Those of `posted` that nobody answered.
    pub fn lost(&self, posted: &BTreeSet<u64>) -> Vec<u64> {
        posted.iter().filter(|number| !self.copies.contains_key(number)).copied().collect()
    }

    /// Answers beyond the first of each number.
    pub fn extra(&self) -> u64 {
        self.copies.values().map(|copies| copies - 1).sum()
    }
}

/// What the database says when the process is dead.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// How many turns each number has.
    pub turns: BTreeMap<u64, u64>,
    /// Messages for the chats that are being sent.
    pub sending: u64,
    /// Messages for the chats that are not edits, in whatever state.
    pub rows: u64,
    /// Those of them that may have been sent twice.
    pub flagged: u64,
    /// Rows that were given up after they had killed the process too often.
    pub poison: u64,
    /// Everything booked so far, in micro-USD.
    pub booked: u64,
}

/// Reads only the rows that a comparison after every kill needs: none if the process was killed before it made a table.
///
/// # Errors
/// There is no database, or it has another form.
pub fn sending(database: &Path) -> Result<u64> {
    let connection = open_read_only(database)?;
    if count(&connection, "SELECT count(*) FROM sqlite_schema WHERE name = 'outbox'")? == 0 {
        return Ok(0);
    }
    count(&connection, "SELECT count(*) FROM outbox WHERE state = 'sending'")
}

/// Reads everything that is compared at the end.
///
/// # Errors
/// As [`sending`].
pub fn stored(database: &Path) -> Result<Stored> {
    let connection = open_read_only(database)?;
    let mut stored = Stored {
        sending: count(&connection, "SELECT count(*) FROM outbox WHERE state = 'sending'")?,
        rows: count(&connection, "SELECT count(*) FROM outbox WHERE replaces IS NULL")?,
        flagged: count(&connection, "SELECT count(*) FROM outbox WHERE replaces IS NULL AND maybe_duplicate")?,
        poison: count(&connection, "SELECT count(*) FROM inbox WHERE state = 'poison' OR outcome = 'poison'")?,
        booked: count(&connection, "SELECT coalesce(sum(amount), 0) FROM ledger")?,
        ..Stored::default()
    };
    let sql =
        "SELECT inbox.text, count(turns.inbox) FROM inbox LEFT JOIN turns ON turns.inbox = inbox.id GROUP BY inbox.id";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (text, turns): (String, i64) = (row.get(0)?, row.get(1)?);
        if let Some(number) = posted_number(&text) {
            *stored.turns.entry(number).or_default() += u64::try_from(turns)?;
        }
    }
    Ok(stored)
}

/// The number at the begin of a posted text.
fn posted_number(text: &str) -> Option<u64> {
    text.strip_prefix('#')?.split(|symbol: char| !symbol.is_ascii_digit()).next()?.parse().ok()
}

fn count(connection: &Connection, sql: &str) -> Result<u64> {
    let count: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    Ok(u64::try_from(count)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bot(text: &str) -> VisibleMessage {
        VisibleMessage {
            message_id: 1,
            from_bot: true,
            text: text.to_owned(),
            html: text.to_owned(),
            edits: Vec::new(),
            date: 0,
            thread: None,
            reply_to: None,
            buttons: Vec::new(),
            media: None,
            silent: false,
            reactions: Vec::new(),
        }
    }

    #[test]
    fn answers_are_counted_and_their_order_is_seen() {
        let mut seen = Seen::default();
        let person = VisibleMessage { from_bot: false, ..bot("answer #9") };
        seen.add(&[
            bot("answer #1"),
            person,
            bot("words"),
            bot("x answer #3, answer #4."),
            bot("answer #2"),
            bot("answer #4"),
        ]);
        seen.add(&[bot("answer #2")]);
        assert_eq!(seen.copies, BTreeMap::from([(1, 1), (2, 2), (3, 1), (4, 2)]));
        assert_eq!((seen.out_of_order.as_slice(), seen.other, seen.extra()), ([2].as_slice(), 1, 2));
        assert_eq!(seen.lost(&BTreeSet::from([1, 2, 5])), [5]);
    }

    #[test]
    fn numbers_are_whole() {
        assert_eq!(answers("answer #12answer #1 answer # answer #x").collect::<Vec<_>>(), [12, 1]);
        assert_eq!(posted_number("#12 hello"), Some(12));
        assert_eq!(posted_number("hello #12"), None);
    }
}
