//! Text that is typed and must not be seen: read from the terminal without echo, or from a pipe. Never from arguments, which
//! every process of the machine can read.

use super::input::unreadable;
use super::screen::Screen;
use crate::failure::Failure;
use blufio_core::secret::Secret;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::Read;

/// Bytes of a secret. Longer: refused.
pub const SECRET_BYTES_MAX: usize = 64 * 1024;

/// Ctrl-C in a terminal that does not turn it into a signal.
const INTERRUPT: u8 = 0x03;
/// Ctrl-D.
const END: u8 = 0x04;
/// Ctrl-U: all that was typed.
const KILL: u8 = 0x15;

/// Asks for a secret. At a terminal `question` is shown and nothing of the answer; otherwise all of standard input is it,
/// without the line break at the end. An empty answer is `None`.
pub fn ask(question: &str, screen: &Screen) -> Result<Option<Secret>, Failure> {
    let bytes = if screen.terminal_in { typed(question, screen)? } else { piped()? };
    let text = String::from_utf8(bytes).map_err(|_| Failure::new("a secret must be UTF-8 text", Failure::USAGE))?;
    Ok(Secret::new(text).trimmed())
}

/// Asks a question that Return answers with yes.
pub fn agreed(question: &str, screen: &Screen) -> Result<bool, Failure> {
    let answer = String::from_utf8_lossy(&typed(question, screen)?).trim().to_lowercase();
    Ok(matches!(answer.as_str(), "" | "y" | "yes"))
}

fn piped() -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let most = u64::try_from(SECRET_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    std::io::stdin().lock().take(most).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > SECRET_BYTES_MAX {
        return Err(Failure::new(format!("a secret has at most {SECRET_BYTES_MAX} bytes"), Failure::USAGE));
    }
    Ok(bytes)
}

/// The terminal as it was, which comes back with the drop.
struct Quiet(Termios);

impl Quiet {
    /// No echo, no lines, no signals from keys: Ctrl-C must not leave a terminal that shows nothing.
    fn begin() -> Result<Self, Failure> {
        let before = tcgetattr(std::io::stdin()).map_err(|error| unreadable(error.into()))?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &quiet).map_err(|error| unreadable(error.into()))?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if tcsetattr(std::io::stdin(), OptionalActions::Drain, &self.0).is_err() {
            // The terminal is gone; there is nothing left to put right.
        }
    }
}

fn typed(question: &str, screen: &Screen) -> Result<Vec<u8>, Failure> {
    // Before the question: whoever answers it at once must not be shown, nor lose what was typed.
    let quiet = Quiet::begin()?;
    screen.remark(question);
    let mut bytes = Vec::new();
    let mut key = [0_u8];
    let ended = loop {
        if std::io::stdin().lock().read(&mut key).map_err(unreadable)? == 0 {
            break Ok(());
        }
        match key[0] {
            b'\r' | b'\n' | END => break Ok(()),
            INTERRUPT => break Err(Failure::quiet(Failure::INTERRUPTED)),
            KILL => bytes.clear(),
            // A character may have several bytes; all but the first begin with the bits 10.
            0x7f | 0x08 => while bytes.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            _ if bytes.len() >= SECRET_BYTES_MAX => {
                break Err(Failure::new(format!("a secret has at most {SECRET_BYTES_MAX} bytes"), Failure::USAGE));
            }
            byte => bytes.push(byte),
        }
    };
    drop(quiet);
    screen.remark("\n");
    ended.map(|()| bytes)
}
