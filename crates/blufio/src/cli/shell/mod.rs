//! `blufio shell`: a conversation from this machine, typed by a person or written by a program.
//!
//! It speaks to the running server. If none runs, the engine starts inside this process, on the same database and behind the
//! same socket, so that everything below [`conversation`] knows one way only.

mod conversation;
mod display;
mod editor;
mod keyboard;
mod questions;

use super::VERSION;
use super::arguments::Shell;
use super::input::{piped, unreadable};
use super::screen::Screen;
use crate::client::Client;
use crate::config::{Loaded, Origin};
use crate::failure::Failure;
use crate::keys::Installation;
use crate::secrets::EnvSecrets;
use crate::serve::{self, Prepared};
use blufio_core::ids::SessionKey;
use conversation::{Answer, Conversation};
use display::Display;
use editor::{LineEditor, Typed};
use std::io::BufRead;
use std::time::Duration;
use tokio::runtime::Runtime;

/// How long a server that holds the lock may take until it answers.
const START: Duration = Duration::from_secs(5);
/// Between two looks whether it does.
const START_LOOK: Duration = Duration::from_millis(50);

/// Carries it out.
pub fn run(
    command: &Shell,
    loaded: &Loaded,
    here: Installation<'_>,
    secrets: &EnvSecrets,
    exposed: bool,
    screen: &Screen,
) -> Result<(), Failure> {
    let message = match command.message.as_deref() {
        Some("-") => Some(piped("put it into a file of the workspace, and ask the agent to read that")?),
        Some(text) => Some(text.to_owned()),
        None => None,
    };
    if message.as_ref().is_some_and(|text| text.trim().is_empty()) {
        return Err(Failure::new("the message is empty", Failure::USAGE));
    }
    if loaded.settings.get("log.level").is_some_and(|level| level.origin != Origin::Default) {
        // Whoever asks for a log gets it; otherwise it would come between the lines of a conversation.
        crate::logging::start(&loaded.config);
    }
    let prepared = reach(loaded, here, exposed)?;
    let runtime = serve::runtime()?;
    let embedded = prepared.map(|prepared| runtime.block_on(serve::embedded(loaded, secrets, prepared))).transpose()?;
    let client = Client::new(&here.config.data_dir)?;
    let typing = message.is_none() && screen.terminal_in && screen.terminal_out && !screen.json;
    let (session, returns) = (session(&command.session), embedded.is_none());
    let conversation = Conversation { client, session, returns, typing };
    let shell = Running { conversation, runtime: &runtime, screen };
    let done = match message {
        Some(text) => shell.once(&text),
        None if typing => shell.interactive(loaded),
        None => shell.lines(),
    };
    let closed = embedded.map_or(Ok(()), |embedded| runtime.block_on(embedded.shutdown()));
    runtime.shutdown_timeout(Duration::from_secs(1));
    done.and(closed)
}

/// A name without a colon is a session of this machine.
fn session(name: &str) -> SessionKey {
    if name.contains(':') { SessionKey::new(name) } else { SessionKey::new(format!("local:{name}")) }
}

/// Looks for the running server; if there is none, prepares an engine of our own while this process has one thread.
fn reach(loaded: &Loaded, here: Installation<'_>, exposed: bool) -> Result<Option<Prepared>, Failure> {
    let data_dir = &here.config.data_dir;
    if serve::looking()?.block_on(Client::find(data_dir))?.is_some() {
        return Ok(None);
    }
    match serve::prepare(loaded, here, exposed) {
        // Somebody holds the lock but did not answer: it is just starting, or just ending.
        Err(failure) if failure.code == Failure::ANOTHER_INSTANCE => {
            let client = Client::new(data_dir)?;
            let answers = async {
                while client.health().await.is_err() {
                    tokio::time::sleep(START_LOOK).await;
                }
            };
            let looking = serve::looking()?;
            match looking.block_on(async { tokio::time::timeout(START, answers).await }) {
                Ok(()) => Ok(None),
                Err(_) => Err(failure),
            }
        }
        prepared => prepared.map(Some),
    }
}

struct Running<'a> {
    conversation: Conversation,
    runtime: &'a Runtime,
    screen: &'a Screen,
}

impl Running<'_> {
    /// One message, one answer.
    fn once(&self, text: &str) -> Result<(), Failure> {
        if self.exchange(text)?.is_good() { Ok(()) } else { Err(Failure::quiet(Failure::GENERAL)) }
    }

    /// Every line of standard input is a message.
    fn lines(&self) -> Result<(), Failure> {
        let mut good = true;
        for line in std::io::stdin().lock().lines() {
            let line = line.map_err(unreadable)?;
            match line.trim() {
                "" => {}
                "/exit" | "/quit" => break,
                text => good &= self.exchange(text)?.is_good(),
            }
        }
        if good { Ok(()) } else { Err(Failure::quiet(Failure::GENERAL)) }
    }

    /// A person at a terminal, until they leave. A failure ends a message, not the conversation.
    fn interactive(&self, loaded: &Loaded) -> Result<(), Failure> {
        let mut editor = LineEditor::open(&loaded.config.data_dir, self.screen)?;
        let session = &self.conversation.session;
        self.screen.aside(&format!("Blufio {VERSION}, conversation {session}. /help lists commands, Ctrl-D leaves."));
        if !self.conversation.returns {
            self.screen.aside("No server is running, so the agent runs inside this shell until you leave.");
        }
        loop {
            let line = match editor.read(self.screen)? {
                Typed::Line(line) => line,
                Typed::Interrupt => {
                    self.screen.aside("(Ctrl-D or /exit leaves)");
                    continue;
                }
                Typed::End => return Ok(()),
            };
            let text = line.trim();
            if matches!(text, "/exit" | "/quit") {
                return Ok(());
            }
            if text.is_empty() {
                continue;
            }
            match self.exchange(text) {
                Ok(_) if text == "/help" => self.screen.aside("Here also: /exit leaves, Ctrl-C stops an answer."),
                Ok(_) => {}
                Err(failure) if failure.code == Failure::BROKEN_PIPE => return Err(failure),
                Err(failure) if failure.code == Failure::INTERRUPTED => {
                    self.screen
                        .aside("(not waiting any longer; `blufio session show` has the answer when it is there)");
                }
                Err(failure) => failure.report(self.screen.manner()),
            }
        }
    }

    /// Says something and shows the answer.
    fn exchange(&self, text: &str) -> Result<Answer, Failure> {
        let mut display = Display::new(self.screen);
        match self.runtime.block_on(self.conversation.ask(text, &mut display)) {
            Ok(answer) if self.screen.json => {
                self.screen.write_json(&answer.json(&self.conversation.session))?;
                Ok(answer)
            }
            Ok(answer) => {
                display.finish(&answer.text())?;
                Ok(answer)
            }
            Err(failure) => {
                display.give_up()?;
                Err(failure)
            }
        }
    }
}
