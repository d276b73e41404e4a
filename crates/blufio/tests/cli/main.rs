//! The command line of the real binary, driven as a person or a script drives it, against the fake servers.
//!
//! `BLUFIO_BIN` names another binary to drive than the one that was built with the tests.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::disallowed_methods)]

mod approvals;
mod channels;
mod cost;
mod doctor;
mod keys;
mod looks;
mod people;
mod questions;
mod rotation;
mod shell;
mod terminal;
mod vault;

use blufio_testkit::botapi::{BotApiConfig, FakeBotApi};
use blufio_testkit::messages::FakeMessagesApi;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;

/// The longest wait for something that comes at once.
const SOON: Duration = Duration::from_secs(20);

/// A folder with a configuration, and the services it names.
struct Place {
    folder: TempDir,
    keys: Vec<(&'static str, &'static str)>,
}

impl Place {
    /// No key for any service, no gateway.
    fn bare() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = Self { folder, keys: Vec::new() };
        place.configure("[gateway]\nlisten = \"off\"\n");
        place
    }

    /// With a model.
    fn with(api: &FakeMessagesApi) -> Self {
        let mut place = Self::bare();
        place.keys.push(("ANTHROPIC_API_KEY", "sk-test"));
        place.add(&format!("[anthropic]\nbase_url = \"{}\"\n", api.base_url()));
        place
    }

    /// With a model and Telegram.
    fn with_telegram(api: &FakeMessagesApi, bot: &FakeBotApi) -> Self {
        let mut place = Self::with(api);
        place.keys.push(("TELEGRAM_BOT_TOKEN", "1:TEST"));
        place.add(&format!("[telegram]\napi_root = \"{}\"\nrate.mode = \"off\"\n", bot.base_url()));
        place
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("blufio.toml")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn configure(&self, toml: &str) {
        std::fs::write(self.file(), toml).expect("the folder is writable");
    }

    fn add(&self, toml: &str) {
        let before = std::fs::read_to_string(self.file()).expect("it was written before");
        self.configure(&(before + toml));
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).arg("--config").arg(self.file()).arg("--data-dir").arg(self.data());
        command.env_clear().envs(self.keys.iter().copied()).env("HOME", self.folder.path()).env("TZ", "UTC");
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end.
    fn run(&self, arguments: &[&str]) -> Ran {
        self.feed(arguments, "")
    }

    /// The same with something on standard input.
    fn feed(&self, arguments: &[&str], input: &str) -> Ran {
        self.start(arguments, input).end()
    }

    /// Starts a command and gives it its whole standard input.
    fn start(&self, arguments: &[&str], input: &str) -> Running {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().expect("the binary starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(input.as_bytes()).expect("it takes its input");
        Running { child: Some(child) }
    }

    /// Starts the server and waits until it can be talked to.
    fn serve(&self) -> Server {
        self.serve_until("ready to talk").0
    }

    /// Starts the server and waits until its log has these words; also what it has said until then.
    fn serve_until(&self, words: &str) -> (Server, String) {
        let mut child = self.command(&["serve"]).spawn().expect("the binary starts");
        let mut log = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut seen = String::new();
        while !seen.contains(words) {
            let read = log.read_line(&mut seen).expect("the log is text");
            assert!(read > 0, "the server did not start: {seen}");
        }
        let begin = seen.clone();
        // Whoever does not read a log makes its writer wait.
        let rest = std::thread::spawn(move || {
            log.read_to_string(&mut seen).expect("the log is text");
            seen
        });
        (Server { running: Running { child: Some(child) }, rest: Some(rest) }, begin)
    }
}

fn binary() -> OsString {
    std::env::var_os("BLUFIO_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_blufio").into())
}

/// What a command did.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    /// It worked and complained about nothing; what it printed.
    #[track_caller]
    fn good(self) -> String {
        assert!(self.code == Some(0) && self.err.is_empty(), "{self:#?}");
        self.out
    }

    /// It worked; what it printed, as JSON.
    #[track_caller]
    fn json(self) -> Value {
        serde_json::from_str(&self.good()).expect("JSON")
    }

    /// It failed with this code and said these things on standard error.
    #[track_caller]
    fn bad(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for word in words {
            assert!(self.err.contains(word), "`{word}` is not in {self:#?}");
        }
    }
}

/// A command that has not ended; killed when it is dropped.
struct Running {
    child: Option<Child>,
}

impl Running {
    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it has not ended");
        kill_process(Pid::from_child(child), signal).expect("it is ours");
    }

    /// Waits for its end. The fakes go on working meanwhile.
    fn end(mut self) -> Ran {
        let child = self.child.take().expect("it has not ended");
        let output = tokio::task::block_in_place(|| child.wait_with_output()).expect("its output can be read");
        let text = |bytes| String::from_utf8(bytes).expect("it prints text");
        Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().expect("it is ours");
            child.wait().expect("it is ours");
        }
    }
}

/// A running server.
struct Server {
    running: Running,
    rest: Option<JoinHandle<String>>,
}

impl Server {
    /// Ends it in good order; its log.
    #[track_caller]
    fn stop(mut self) -> String {
        self.running.signal(Signal::TERM);
        let ran = Running { child: self.running.child.take() }.end();
        let log = self.rest.take().expect("it was not stopped before").join().expect("the reader does not panic");
        assert_eq!(ran.code, Some(0), "{log}");
        log
    }

    /// Ends it as a power cut would.
    fn kill(self) {
        drop(self.running);
    }
}

/// A Telegram that slows nobody down.
async fn telegram() -> FakeBotApi {
    FakeBotApi::start(BotApiConfig { throttle: false, ..BotApiConfig::default() }).await.expect("the fake starts")
}

/// A model that obeys every test.
async fn model() -> FakeMessagesApi {
    FakeMessagesApi::start(Default::default()).await.expect("the fake starts")
}
