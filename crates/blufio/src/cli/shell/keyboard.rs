//! What is typed while no prompt is shown: whole lines, as the terminal gives them. Between prompts it is in its ordinary
//! mode, so it edits and shows the line itself.

use rustix::termios::{QueueSelector, tcflush};
use std::io::{self, stdin};
use std::time::Duration;

/// Between two looks whether there is a line. A read would block a thread, which would then take the line that the next
/// prompt waits for.
const LOOK: Duration = Duration::from_millis(50);
/// Bytes of a piece; a terminal cuts longer lines itself.
const PIECE_BYTES: usize = 4_096;

/// Standard input, which is a terminal.
#[derive(Default)]
pub struct Keyboard {
    /// Typed, and not given as a line yet.
    typed: Vec<u8>,
}

impl Keyboard {
    /// Forgets what was typed before now: it cannot be meant as an answer to what is only shown next.
    pub fn forget(&mut self) -> io::Result<()> {
        self.typed.clear();
        Ok(tcflush(stdin(), QueueSelector::IFlush)?)
    }

    /// The next line. An error: there will be no more. Nothing is lost if the returned future is dropped.
    pub async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.typed.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.typed.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim().to_owned());
            }
            if rustix::io::ioctl_fionread(stdin())? == 0 {
                tokio::time::sleep(LOOK).await;
                continue;
            }
            let mut piece = [0; PIECE_BYTES];
            let length = rustix::io::read(stdin(), &mut piece)?;
            self.typed.extend(piece.iter().take(length));
        }
    }
}
