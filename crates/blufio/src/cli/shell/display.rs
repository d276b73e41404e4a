//! An answer as it appears: on a terminal piece by piece, elsewhere as a whole at its end.
//!
//! What streams is a preview; the row of the message is the truth. [`Display::finish`] prints what is missing, and says so
//! when the preview turns out to have been another text.

use crate::cli::screen::{Look, Screen, harmless};
use crate::failure::Failure;
use blufio_core::event::EventKind;

const VOIDED: &str = "(connection to the model lost, answering again)";
const LOST: &str = "(connection to Blufio lost, waiting for it to come back)";
const CHANGED: &str = "(answered anew)";

/// One answer.
pub struct Display<'a> {
    screen: &'a Screen,
    /// The answer as far as it has been printed.
    text: String,
    /// Bytes of it that stay even if the current try fails.
    kept: usize,
    /// Pieces follow on each other without a hole.
    live: bool,
    /// The cursor is at the start of a line.
    fresh: bool,
    /// A line of ours stands above the cursor, so empty lines before the next piece are too many.
    below_mark: bool,
    /// The sign that something happens is shown.
    sign: bool,
    /// A lost connection has been mentioned.
    lost: bool,
}

impl<'a> Display<'a> {
    /// Nothing is shown yet.
    pub fn new(screen: &'a Screen) -> Self {
        let text = String::new();
        Self { screen, text, kept: 0, live: false, fresh: true, below_mark: false, sign: false, lost: false }
    }

    /// Shows that something happens.
    pub fn wait(&mut self) {
        if self.streams() && self.screen.erases && self.fresh && !self.sign {
            self.screen.remark(&self.screen.dimmed("…"));
            self.sign = true;
        }
    }

    /// Shows an event of this message's turn.
    pub fn take(&mut self, kind: &EventKind) -> Result<(), Failure> {
        match kind {
            EventKind::TurnStarted => self.live = self.text.is_empty() && !self.lost,
            EventKind::Text { delta } if self.live && self.streams() => {
                self.text.push_str(delta);
                self.print(delta)?;
            }
            EventKind::TextVoided if self.live => {
                self.text.truncate(self.kept);
                self.mark(VOIDED)?;
                self.wait();
            }
            EventKind::ToolStarted { tool } => {
                self.kept = self.text.len();
                self.mark(&format!("· {}", harmless(tool.as_str())))?;
                self.wait();
            }
            EventKind::ToolDone { tool, error: true } => {
                self.mark(&format!("· {} failed", harmless(tool.as_str())))?;
                self.wait();
            }
            // Questions are for [`super::questions`], which comes back to [`Self::ask`].
            EventKind::Asked { .. }
            | EventKind::Text { .. }
            | EventKind::TextVoided
            | EventKind::ToolDone { .. }
            | EventKind::TurnDone { .. } => {}
        }
        Ok(())
    }

    /// Shows a question to an owner, and how to answer it: `typing` here, or elsewhere. It is shown also where nothing else
    /// is before the end, since without an answer there is no end.
    pub fn ask(&mut self, question: &str, id: &str, typing: bool) -> Result<(), Failure> {
        let command = |verb: &str| format!("blufio shell -m \"/approve {id} {verb}\"");
        if self.screen.json {
            let told = serde_json::json!({"question": question, "allow": command("ok"), "deny": command("no")});
            self.screen.remark(&format!("{told}\n"));
            return Ok(());
        }
        self.erase();
        if !self.fresh {
            self.screen.write("\n")?;
        }
        let question = harmless(question.trim_end());
        if typing {
            let how = "(type ok or no, or /stop)";
            self.screen.write(&format!("{question}\n{}\n", self.screen.paint(Look::Dim, how)))?;
        } else {
            let (allow, deny) = (command("ok"), command("no"));
            self.screen.remark(&format!("{question}\nAnswer from another terminal:\n  {allow}\n  {deny}\n"));
        }
        (self.fresh, self.below_mark) = (true, true);
        Ok(())
    }

    /// A line about what was typed meanwhile.
    pub fn say(&mut self, line: &str) -> Result<(), Failure> {
        self.mark(&harmless(line))
    }

    /// Events were missed: nothing more is shown before the end.
    pub fn missed(&mut self) {
        self.live = false;
    }

    /// The server is gone. What it shows when it is back may be told from the start.
    pub fn lose(&mut self) -> Result<(), Failure> {
        self.live = false;
        if !self.lost {
            self.lost = true;
            self.mark(LOST)?;
        }
        self.wait();
        Ok(())
    }

    /// Prints what is missing of the whole answer.
    pub fn finish(mut self, answer: &str) -> Result<(), Failure> {
        if !self.screen.terminal_out {
            return self.screen.write(&format!("{answer}\n"));
        }
        if let Some(rest) = answer.strip_prefix(self.text.as_str()) {
            self.print(rest)?;
        } else {
            if self.text.len() > self.kept {
                self.mark(CHANGED)?;
            }
            let kept = self.text.get(..self.kept).unwrap_or_default();
            let rest = answer.strip_prefix(kept).unwrap_or(answer);
            self.print(rest)?;
        }
        self.erase();
        if self.fresh { Ok(()) } else { self.screen.write("\n") }
    }

    /// Ends without an answer; the cursor is at the start of a line afterwards.
    pub fn give_up(mut self) -> Result<(), Failure> {
        self.erase();
        if self.fresh { Ok(()) } else { self.screen.write("\n") }
    }

    fn streams(&self) -> bool {
        self.screen.terminal_out && !self.screen.json
    }

    fn print(&mut self, piece: &str) -> Result<(), Failure> {
        let piece = if self.below_mark { piece.trim_start_matches('\n') } else { piece };
        if piece.is_empty() {
            return Ok(());
        }
        self.erase();
        self.below_mark = false;
        self.fresh = piece.ends_with('\n');
        self.screen.write(&harmless(piece))
    }

    /// A line of ours between pieces of the answer.
    fn mark(&mut self, line: &str) -> Result<(), Failure> {
        if !self.streams() || !self.screen.terminal_err {
            return Ok(());
        }
        self.erase();
        if !self.fresh {
            self.screen.write("\n")?;
        }
        self.screen.aside(line);
        (self.fresh, self.below_mark) = (true, true);
        Ok(())
    }

    fn erase(&mut self) {
        if std::mem::take(&mut self.sign) {
            self.screen.remark("\r\x1b[K");
        }
    }
}
