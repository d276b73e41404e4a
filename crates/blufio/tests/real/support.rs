//! A world of its own for every test: both fakes, a folder, and the binary, with words to ask them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use blufio_testkit::botapi::{BotApiConfig, FakeBotApi, Post, VisibleMessage};
use blufio_testkit::messages::{FakeMessagesApi, MessagesConfig};
use blufio_testkit::process::{Blufio, Setup};
use blufio_testkit::{database, invariants};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

/// The owner.
pub const ANN: i64 = 1_001;
/// Somebody who may speak.
pub const BOB: i64 = 1_002;
/// Somebody else who may speak.
pub const CAT: i64 = 1_003;
/// The bot token. Long enough to be recognised wherever it should not be.
pub const TOKEN: &str = "1:TEST-canary-of-the-bot-token";
/// The key of the model's provider.
pub const KEY: &str = "sk-test-canary-of-the-api-key";
/// Longest wait for anything; on a quiet machine everything comes in a fraction of it.
pub const SOON: Duration = Duration::from_secs(15);
/// Pause between two looks at something that tells nobody when it changes.
const LOOK: Duration = Duration::from_millis(5);
/// Longest orderly end.
const END: Duration = Duration::from_secs(12);

/// Fakes, folder, and the binary once it is started.
pub struct World {
    pub telegram: FakeBotApi,
    pub messages: FakeMessagesApi,
    pub setup: Setup,
    server: Option<Blufio>,
    /// Removed when the test is over.
    _dir: TempDir,
}

impl World {
    /// Everything but the process. Ann, Bob and Cat may speak; previews and rates are off, as [`Setup::telegram`] says.
    pub async fn prepare() -> Self {
        Self::prepare_with(MessagesConfig::default()).await
    }

    /// The same with another model.
    pub async fn prepare_with(messages: MessagesConfig) -> Self {
        Self::prepare_as(messages, BotApiConfig::default()).await
    }

    /// The same with another bot.
    pub async fn prepare_as(messages: MessagesConfig, bot: BotApiConfig) -> Self {
        let bot = BotApiConfig {
            token: TOKEN.to_owned(),
            // The public server slows a poll that repeats its offset, as each restart does.
            throttle: false,
            ..bot
        };
        let telegram = FakeBotApi::start(bot).await.unwrap();
        let messages = FakeMessagesApi::start(MessagesConfig { api_key: KEY.to_owned(), ..messages }).await.unwrap();
        // Short, since the path of the control socket has to fit into 107 bytes.
        let dir = tempfile::Builder::new().prefix("br-").tempdir_in("/tmp").unwrap();
        let mut setup = Setup::new(Path::new(env!("CARGO_BIN_EXE_blufio")), dir.path()).unwrap();
        // Readiness is asked at the control socket, so that no port is chosen beforehand.
        setup.set("gateway.listen", "127.0.0.1:0");
        setup.model(&messages.base_url(), KEY);
        setup.telegram(&telegram.base_url(), TOKEN, &[ANN, BOB, CAT]);
        Self { telegram, messages, setup, server: None, _dir: dir }
    }

    /// Everything, running.
    pub async fn start() -> Self {
        let mut world = Self::prepare().await;
        world.run().await;
        world
    }

    /// Everything, running, with some keys set (values in TOML).
    pub async fn start_with(keys: &[(&str, &str)]) -> Self {
        let mut world = Self::prepare().await;
        world.set(keys);
        world.run().await;
        world
    }

    /// Sets keys for the next start (values in TOML).
    pub fn set(&mut self, keys: &[(&str, &str)]) {
        for (key, value) in keys {
            self.setup.set_raw(key, *value);
        }
    }

    /// Starts the process and waits until it is ready.
    pub async fn run(&mut self) {
        self.launch();
        self.eventually("the server is ready", async |world| {
            matches!(world.get("/readyz").await, Some((200, _))).then_some(())
        })
        .await;
    }

    /// Starts the process without waiting for anything.
    pub fn launch(&mut self) {
        assert!(self.server.is_none(), "one server at a time");
        self.server = Some(Blufio::spawn(&self.setup).unwrap());
    }

    pub fn server(&mut self) -> &mut Blufio {
        self.server.as_mut().unwrap()
    }

    /// SIGKILL.
    pub async fn kill(&mut self) {
        self.server.take().unwrap().kill9().await.unwrap();
        self.check_database();
    }

    /// Forgets a process that ended by itself.
    pub fn forget(&mut self) {
        drop(self.server.take());
    }

    /// SIGTERM and a good end; says how long it took.
    pub async fn end(&mut self) -> Duration {
        let asked = Instant::now();
        let status = self.server.take().unwrap().terminate(END).await.unwrap();
        assert!(status.success(), "{status}; {}", self.log_tail());
        asked.elapsed()
    }

    /// SIGTERM, a good end and a new start.
    pub async fn restart(&mut self) {
        self.end().await;
        self.run().await;
    }

    /// What every test demands at its end.
    pub async fn finish(mut self) {
        if self.server.is_some() {
            self.end().await;
        }
        assert_eq!(self.telegram.violations(), [""; 0], "calls that no correct bot makes");
        assert_eq!(self.messages.violations(), [""; 0], "requests that no correct client sends");
        self.check_database();
        let log = self.log();
        assert!(!log.contains("a bug in Blufio"), "{log}");
    }

    pub fn check_database(&self) {
        if self.setup.database().exists() {
            invariants::check(&self.setup.database()).unwrap_or_else(|wrong| panic!("{wrong:#?}"));
        }
    }

    // ------------------------------------------------------------ the chats

    /// Somebody writes to the bot; gives the update's number.
    pub fn say(&self, user: i64, text: &str) -> i64 {
        self.telegram.send_text(user, text)
    }

    /// Waits until the bot has said something with `words` in it.
    pub async fn hear(&self, user: i64, words: &str) -> VisibleMessage {
        self.hear_within(user, words, SOON).await
    }

    /// The same with another patience.
    pub async fn hear_within(&self, user: i64, words: &str, limit: Duration) -> VisibleMessage {
        let found = self
            .telegram
            .try_wait_for(
                |state| state.transcript(user).into_iter().find(|said| said.from_bot && said.text.contains(words)),
                limit,
            )
            .await;
        found.unwrap_or_else(|| {
            panic!(
                "nobody heard {words:?} in {limit:?}, but {:?}; errors {:?}",
                self.heard(user),
                self.telegram.errors()
            )
        })
    }

    /// What the bot has said in a chat, oldest first.
    pub fn heard(&self, user: i64) -> Vec<String> {
        self.telegram.transcript(user).into_iter().filter(|said| said.from_bot).map(|said| said.text).collect()
    }

    /// How many things the bot has said with `words` in them.
    pub fn count(&self, user: i64, words: &str) -> usize {
        self.heard(user).iter().filter(|text| text.contains(words)).count()
    }

    /// Says something and waits for an answer with `words` in it.
    pub async fn ask(&self, user: i64, text: &str, words: &str) -> VisibleMessage {
        self.say(user, text);
        self.hear(user, words).await
    }

    /// Waits until the model has been asked something with `words` in it.
    pub async fn prompted(&self, words: &str) {
        self.prompted_times(words, 1).await;
    }

    /// Waits until the model has been asked so many times for something with `words` in it.
    pub async fn prompted_times(&self, words: &str, times: usize) {
        self.messages
            .wait_for(
                |seen| (seen.prompts.iter().filter(|text| text.contains(words)).count() >= times).then_some(()),
                SOON,
            )
            .await;
    }

    /// Waits until the server has confirmed everything that was posted.
    pub async fn confirmed(&self) {
        self.telegram.wait_for(|state| (state.pending_updates() == 0).then_some(()), SOON).await;
    }

    // ------------------------------------------------------------ the server

    /// A route of the control socket; `None` if nobody answers.
    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        self.request(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await
    }

    /// A JSON answer of the control socket.
    pub async fn read(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await.expect("the control socket answers");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Posts JSON to the control socket.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let (status, body) = self.request(&(head + &body)).await.expect("the control socket answers");
        (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
    }

    /// Says something in a session of the machine itself; gives the number of its row.
    pub async fn say_here(&self, session: &str, client: &str, text: &str) -> i64 {
        let body = json!({"session": session, "client_id": client, "text": text});
        let (status, said) = self.post("/v1/messages", &body).await;
        assert_eq!(status, 202, "{said}");
        said["inbox"].as_i64().unwrap()
    }

    /// Waits until a row is over and gives it.
    pub async fn outcome(&self, inbox: i64) -> Value {
        self.eventually("the message is answered", async |world| {
            let view = world.read(&format!("/v1/messages/{inbox}")).await;
            (!matches!(view["state"].as_str(), Some("received" | "claimed"))).then_some(view)
        })
        .await
    }

    pub async fn status(&self) -> Value {
        self.read("/v1/status").await["status"].take()
    }

    /// A metric without labels; 0 if it was never counted.
    pub async fn metric(&self, name: &str) -> u64 {
        let (_, text) = self.get("/metrics").await.expect("the control socket answers");
        let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }

    async fn request(&self, request: &str) -> Option<(u16, String)> {
        let stream = UnixStream::connect(self.setup.data_dir().join("blufio.sock")).await.ok()?;
        exchange(stream, request).await
    }

    /// The gateway's TCP address, as the log tells it.
    pub fn gateway(&self) -> String {
        let log = self.log();
        let line = log.lines().rfind(|line| line.contains("health words")).expect("the gateway was started");
        let at = line.find("127.0.0.1:").expect("the line names the address");
        line[at..].split(|symbol: char| !symbol.is_ascii_digit() && !".:".contains(symbol)).next().unwrap().to_owned()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.setup.log()).unwrap_or_default()
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        log[log.floor_char_boundary(log.len().saturating_sub(4_000))..].to_owned()
    }

    pub fn workspace(&self) -> PathBuf {
        self.setup.data_dir().join("workspace")
    }

    /// A number out of the database, also beside the running process.
    pub fn sql(&self, query: &str) -> i64 {
        let connection = database::open_read_only(&self.setup.database()).unwrap();
        connection.query_row(query, [], |row| row.get(0)).unwrap()
    }

    /// Waits until the database gives this number.
    pub async fn stored(&self, query: &str, wanted: i64) {
        self.eventually(query, async |world| (world.sql(query) == wanted).then_some(())).await;
    }

    /// Looks again and again until there is something. For what tells nobody when it changes.
    pub async fn eventually<T>(&self, what: &str, mut look: impl AsyncFnMut(&Self) -> Option<T>) -> T {
        let begin = Instant::now();
        loop {
            if let Some(found) = look(self).await {
                return found;
            }
            assert!(begin.elapsed() < SOON, "not within {SOON:?}: {what}; the log ends:\n{}", self.log_tail());
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the log of the server ends:\n{}", self.log_tail());
        }
    }
}

/// One exchange over a fresh connection; `None` if nobody answers to the end.
pub async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> Option<(u16, String)> {
    // A server that has refused by the head alone may close before it has read the rest; its answer can be read all the same.
    drop(stream.write_all(request.as_bytes()).await);
    let mut answer = Vec::new();
    tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.ok()?.ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = if head.to_lowercase().contains("transfer-encoding: chunked") { joined(body) } else { body.to_owned() };
    Some((status, body))
}

/// Chunks without their lengths.
fn joined(mut body: &str) -> String {
    let mut text = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length.trim(), 16).unwrap_or(0);
        if length == 0 {
            break;
        }
        text.push_str(&rest[..length]);
        body = rest[length..].trim_start_matches("\r\n");
    }
    text
}

/// How often each of these numbers was answered, in the order of the first answers.
pub fn answered(texts: &[String]) -> Vec<(u64, usize)> {
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    let mut order = Vec::new();
    for text in texts {
        for (at, mark) in text.match_indices("answer #") {
            let rest = &text[at + mark.len()..];
            let digits = &rest[..rest.find(|symbol: char| !symbol.is_ascii_digit()).unwrap_or(rest.len())];
            let number = digits.parse().unwrap();
            *counts.entry(number).or_insert_with(|| {
                order.push(number);
                0
            }) += 1;
        }
    }
    order.into_iter().map(|number| (number, counts[&number])).collect()
}

/// Each of these numbers once, in this order.
pub fn each_once(numbers: impl IntoIterator<Item = u64>) -> Vec<(u64, usize)> {
    numbers.into_iter().map(|number| (number, 1)).collect()
}

// ---------------------------------------------------------------- groups and what the model sees

/// A mention of the bot.
pub const BOT: &str = "@blufio_test_bot";

impl World {
    /// Somebody writes anywhere; gives the message's number in its chat.
    pub fn write(&self, post: Post) -> i64 {
        let chat = post.chat;
        self.telegram.change(|state| {
            state.post(post);
            state.transcript(chat).last().unwrap().message_id
        })
    }

    /// Writes into a chat and waits there for an answer with `words` in it.
    pub async fn ask_in(&self, post: Post, words: &str) -> VisibleMessage {
        let chat = post.chat;
        self.write(post);
        self.hear(chat, words).await
    }

    /// Everything that the bot has said in a chat, oldest first.
    pub fn said(&self, chat: i64) -> Vec<VisibleMessage> {
        self.telegram.transcript(chat).into_iter().filter(|said| said.from_bot).collect()
    }

    /// The content blocks of the newest message with `words` in it that the model was shown as somebody's.
    pub fn shown(&self, words: &str) -> Vec<Value> {
        let blocks = |message: &Value| match &message["content"] {
            Value::String(text) => vec![json!({"type": "text", "text": text})],
            content => content.as_array().cloned().unwrap_or_default(),
        };
        let holds = |block: &Value| block["text"].as_str().is_some_and(|text| text.contains(words));
        for request in self.messages.requests().iter().rev() {
            for message in request.body["messages"].as_array().into_iter().flatten().rev() {
                let blocks = blocks(message);
                if message["role"] == "user" && blocks.iter().any(holds) {
                    return blocks;
                }
            }
        }
        panic!("the model was never shown {words:?}; it saw {:?}", self.messages.prompts_seen());
    }

    /// The words of [`World::shown`], block by block.
    pub fn read_to_model(&self, words: &str) -> Vec<String> {
        self.shown(words).iter().filter_map(|block| block["text"].as_str()).map(str::to_owned).collect()
    }

    /// Waits until the end of every send is written down; a kill before that repeats one.
    pub async fn booked(&self) {
        self.stored("SELECT count(*) FROM outbox WHERE state = 'sending'", 0).await;
    }

    /// Writes into the database of a process that does not run.
    pub fn tamper(&self, sql: &str) {
        assert!(self.server.is_none(), "the database belongs to the server");
        database::open(&self.setup.database()).unwrap().execute_batch(sql).unwrap();
    }
}
