//! `blufio shell` at a terminal: a person types, and sees an answer grow.

use super::{Place, Running, SOON, model};
use blufio_testkit::messages::{Fault, FaultKind};
use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::{Receiver, sync_channel};

/// A pseudo-terminal with a command behind it.
pub(super) struct Terminal {
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    /// What was shown and has not been looked at.
    shown: Vec<u8>,
    running: Running,
}

impl Terminal {
    pub(super) fn open(place: &Place, arguments: &[&str]) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&controller).expect("it is ours");
        unlockpt(&controller).expect("it is ours");
        let name = ptsname(&controller, Vec::new()).expect("it has a name");
        let side =
            || File::from(rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("it opens"));
        let mut command = place.command(arguments);
        command.stdin(side()).stdout(side()).stderr(side()).env("TERM", "xterm");
        let running = Running { child: Some(command.spawn().expect("the binary starts")) };
        drop(command);
        let keyboard = File::from(controller);
        let mut eyes = keyboard.try_clone().expect("a second handle");
        // Full: the reader waits, and the terminal with it.
        let (sender, screen) = sync_channel(64);
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            // An error means that nobody has the other side open any more.
            while let Ok(length @ 1..) = eyes.read(&mut piece) {
                if sender.send(piece[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { keyboard, screen, shown: Vec::new(), running }
    }

    pub(super) fn type_in(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Everything up to and including `text`, which comes soon.
    #[track_caller]
    pub(super) fn until(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.shown.windows(text.len()).position(|window| window == text.as_bytes()) {
                let rest = self.shown.split_off(at + text.len());
                let before = std::mem::replace(&mut self.shown, rest);
                return String::from_utf8(before).expect("it shows text");
            }
            let piece = tokio::task::block_in_place(|| self.screen.recv_timeout(SOON));
            match piece {
                Ok(piece) => self.shown.extend(piece),
                Err(_) => panic!("`{text}` does not come after {:?}", String::from_utf8_lossy(&self.shown)),
            }
        }
    }

    /// Waits for the prompt, types a line, and waits until it has been taken.
    #[track_caller]
    pub(super) fn say(&mut self, line: &str) {
        self.until("> ");
        self.type_in(&format!("{line}\r"));
        self.until("\u{1b}[?2004l");
    }

    #[track_caller]
    pub(super) fn leave(mut self, key: &str) {
        self.until("> ");
        self.type_in(key);
        self.ends();
    }

    /// Waits until the command has ended well.
    #[track_caller]
    pub(super) fn ends(self) {
        let ran = self.running.end();
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_has_a_conversation() {
    let api = model().await;
    let place = Place::with(&api);
    let mut terminal = Terminal::open(&place, &["shell"]);
    terminal.until("No server is running, so the agent runs inside this shell until you leave.");
    terminal.say("hello");
    terminal.until("I am the fake model, and this is message 1 of this conversation.\r\n");
    terminal.say("what time is it?");
    terminal.until("· now");
    terminal.until("The tool now said: ");
    terminal.say("[say:a\u{2067}b]");
    // What nobody sees is not even said to the model.
    terminal.until("ab\r\n");
    terminal.say("/help");
    terminal.until("/new – start a new conversation");
    terminal.until("Here also: /exit leaves");
    terminal.until("> ");
    terminal.type_in("/ex\t\r");
    let ran = terminal.running.end();
    assert_eq!(ran.code, Some(0));

    let history = place.data().join("shell_history");
    assert_eq!(std::fs::metadata(&history).expect("it was written").permissions().mode() & 0o777, 0o600);
    assert!(std::fs::read_to_string(&history).expect("text").contains("\nhello\nwhat time is it?\n"));
    assert_eq!(api.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_the_model_takes_back_is_said_to_be_void() {
    let api = model().await;
    let place = Place::with(&api);
    // Behind the start of the stream, and far from its end.
    api.fault(Fault::next(1, FaultKind::CutAtByte(1_200)));
    let mut terminal = Terminal::open(&place, &["shell"]);
    terminal.say("[long:200]");
    let words = |text: &str| text.split_whitespace().filter(|word| word.chars().all(char::is_alphabetic)).count();
    let before = terminal.until("(connection to the model lost, answering again)");
    assert!((1..150).contains(&words(&before)), "{before:?}");
    let after = terminal.until("> ");
    assert!(words(&after) >= 195 && after.contains("the little fake model"), "{after:?}");
    terminal.type_in("\u{4}");
    assert_eq!(terminal.running.end().code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupting_ends_an_answer_and_not_the_shell() {
    let api = model().await;
    let place = Place::with(&api);
    let server = place.serve();
    api.fault(Fault::next(1, FaultKind::NeverAnswer));
    let mut terminal = Terminal::open(&place, &["shell"]);
    terminal.say("hm");
    api.wait_for(|seen| (seen.requests.len() == 1).then_some(()), SOON).await;
    // The pseudo-terminal is not the command's controlling one, so the signal comes by hand.
    terminal.running.signal(Signal::INT);
    terminal.until("[stopped]\r\n");
    terminal.say("[say:still here]");
    terminal.until("still here\r\n");
    terminal.until("> ");
    terminal.type_in("\u{3}");
    terminal.until("(Ctrl-D or /exit leaves)");
    terminal.leave("\u{4}");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_the_middle_is_waited_for() {
    let api = model().await;
    let place = Place::with(&api);
    let server = place.serve();
    let mut terminal = Terminal::open(&place, &["shell"]);
    api.fault(Fault::next(1, FaultKind::NeverAnswer));
    terminal.say("[say:safe and sound]");
    api.wait_for(|seen| (seen.requests.len() == 1).then_some(()), SOON).await;
    server.kill();
    terminal.until("(connection to Blufio lost, waiting for it to come back)");
    let server = place.serve();
    terminal.until("safe and sound\r\n");
    terminal.leave("/exit\r");
    server.stop();
}
