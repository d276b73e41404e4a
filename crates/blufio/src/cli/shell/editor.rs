//! The line that a person types: history in the data folder, completion of commands.

use crate::cli::screen::Screen;
use crate::failure::Failure;
use blufio_core::command::MENU;
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{ColorMode, CompletionType, Config, Context, Editor, Helper};
use std::path::{Path, PathBuf};

/// Lines in the history. More: the oldest go.
const HISTORY_LINES_MAX: usize = 1_000;
/// The history's name in the data folder.
const HISTORY: &str = "shell_history";
/// What the shell understands besides the commands of every channel.
const OWN: [(&str, &str); 2] = [("exit", "leave the shell"), ("quit", "leave the shell")];

/// The editor.
pub struct LineEditor {
    editor: Editor<Commands, FileHistory>,
    history: PathBuf,
    prompt: (&'static str, &'static str),
}

/// What a person did at the prompt.
pub enum Typed {
    /// A line.
    Line(String),
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D.
    End,
}

impl LineEditor {
    /// Opens the history, which is created with the first line.
    pub fn open(data_dir: &Path, screen: &Screen) -> Result<Self, Failure> {
        let colour = if screen.has_colour() { ColorMode::Enabled } else { ColorMode::Disabled };
        let config = Config::builder()
            .max_history_size(HISTORY_LINES_MAX)
            .and_then(|config| config.history_ignore_dups(true))
            .map_err(broken)?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .color_mode(colour)
            .build();
        let lines = FileHistory::with_config(&config);
        let mut editor = Editor::with_history(config, lines).map_err(broken)?;
        editor.set_helper(Some(Commands));
        let history = data_dir.join(HISTORY);
        match editor.load_history(&history) {
            Ok(()) => {}
            Err(ReadlineError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => screen.aside(&format!("the history {} cannot be read: {error}", history.display())),
        }
        let prompt = if screen.has_colour() { ("> ", "\x1b[1m> \x1b[0m") } else { ("> ", "> ") };
        Ok(Self { editor, history, prompt })
    }

    /// Lets a person type a line and remembers it.
    pub fn read(&mut self, screen: &Screen) -> Result<Typed, Failure> {
        loop {
            return match self.editor.readline(&self.prompt) {
                Ok(line) => {
                    self.remember(&line, screen);
                    Ok(Typed::Line(line))
                }
                Err(ReadlineError::Interrupted) => Ok(Typed::Interrupt),
                Err(ReadlineError::Eof) => Ok(Typed::End),
                // The window changed its size.
                Err(ReadlineError::Signal(_)) => continue,
                Err(error) => Err(broken(error)),
            };
        }
    }

    fn remember(&mut self, line: &str, screen: &Screen) {
        let saved = match self.editor.add_history_entry(line) {
            Ok(true) => self.editor.append_history(&self.history),
            // Empty, repeated, or beginning with a space.
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = saved {
            screen.aside(&format!("the history {} cannot be written: {error}", self.history.display()));
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn broken(error: ReadlineError) -> Failure {
    Failure { cause: Some(error.to_string()), ..Failure::new("the terminal cannot be used", Failure::GENERAL) }
}

/// Completes commands at the start of a line.
struct Commands;

fn complete(line: &str, position: usize) -> Vec<Pair> {
    let Some(typed) = line.get(..position).and_then(|typed| typed.strip_prefix('/')) else { return Vec::new() };
    let fitting = MENU.iter().chain(&OWN).filter(|(name, _)| name.starts_with(typed));
    fitting
        .map(|(name, about)| Pair { display: format!("/{name}  {about}"), replacement: format!("/{name} ") })
        .collect()
}

impl Completer for Commands {
    type Candidate = Pair;

    fn complete(&self, line: &str, position: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        Ok((0, complete(line, position)))
    }
}

impl Hinter for Commands {
    type Hint = String;
}

impl Highlighter for Commands {}
impl Validator for Commands {}
impl Helper for Commands {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_completed_at_the_start_of_a_line() {
        let names =
            |line: &str| complete(line, line.len()).into_iter().map(|pair| pair.replacement).collect::<Vec<_>>();
        assert_eq!(names("/st"), ["/stop ", "/status ", "/start "]);
        assert_eq!(names("/ap"), ["/approve "]);
        assert_eq!(names("/ex"), ["/exit "]);
        assert!(names("tell me about /st").is_empty() && names("").is_empty() && names("/model x").is_empty());
        assert_eq!(names("/").len(), MENU.len() + OWN.len());
    }
}
