//! The command line as clap reads it. Nothing here is done, only named and explained.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Rows that lists show unless asked for otherwise.
const LIST_ROWS: u32 = 50;

/// The long form of the version: commit and kind of build.
pub const LONG_VERSION: &str = env!("BLUFIO_LONG_VERSION");

const ABOUT: &str = "An always-on personal AI agent in one static binary";

const EXAMPLES: &str = "\
Examples:
  ANTHROPIC_API_KEY=… blufio shell            talk to it right here
  ANTHROPIC_API_KEY=… TELEGRAM_BOT_TOKEN=… blufio serve
                                              keep it running; write to the bot on Telegram
  blufio pairing approve ABCD2345             let the person with that code in
  blufio status                               is everything well?
  blufio config check                         is the configuration right?

Exit codes: 0 done, 1 failed, 2 wrong usage, 69 not available, 70 a bug, 75 another one runs,
77 a key or permission is missing, 78 wrong configuration.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "blufio", version = LONG_VERSION, about = ABOUT, after_help = EXAMPLES, max_term_width = 120)]
#[command(disable_help_subcommand = true, arg_required_else_help = true)]
pub struct Arguments {
    /// For all commands.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of all commands.
#[derive(Debug, Args)]
pub struct Global {
    /// Configuration file [default: ./blufio.toml, ~/.config/blufio/blufio.toml, /etc/blufio/blufio.toml]
    #[arg(long, global = true, value_name = "PATH", help_heading = "Global options")]
    pub config: Option<PathBuf>,
    /// Folder for the database, the control socket and the lock [default: ~/.local/share/blufio]
    #[arg(long, global = true, value_name = "PATH", help_heading = "Global options")]
    pub data_dir: Option<PathBuf>,
    /// Print results as JSON, and errors as one JSON object on standard error
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
    /// When to use colours: auto, always or never
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    #[arg(help_heading = "Global options")]
    pub color: Colour,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On terminals, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent with its channels until it is told to stop
    #[command(after_help = "\
Environment:
  ANTHROPIC_API_KEY     the key of the model's provider; needed
  TELEGRAM_BOT_TOKEN    the bot's token from @BotFather; with it, the Telegram channel starts
  BLUFIO_SECTION__KEY   any key of the configuration, e.g. BLUFIO_AGENTS__MAIN__MODEL

Examples:
  blufio serve
  blufio serve --config /etc/blufio/blufio.toml --data-dir /var/lib/blufio

SIGTERM or Ctrl-C ends it in good order; what is not finished goes on with the next start.")]
    Serve,
    /// Talk to the agent from here
    #[command(after_help = "\
Talks to the running server; if none runs, the agent runs inside the shell, on the same database.

Examples:
  blufio shell                                    a conversation with history and completion
  blufio shell -m \"what time is it?\"              one answer on standard output
  git diff | blufio shell -m -                    the message comes from standard input
  blufio shell -m hi --json                       {\"outcome\":\"reply\",\"text\":\"…\",…}
  printf 'hi\\nand now?\\n' | blufio shell          every line is a message

In the shell: /help, /status, /new, /model, /stop, /exit. Ctrl-C stops an answer, Ctrl-D leaves.
The exit code is 0 after a reply and 1 after an error or a stop.")]
    Shell(Shell),
    /// Say how everything is
    #[command(after_help = "Without a running server it says so, and what the database knows.")]
    Status,
    /// Check and show the configuration
    #[command(
        subcommand,
        after_help = "\
Examples:
  blufio config check      prints errors with file, line and advice; exit code 78 if there are any
  blufio config show       every key, its value, and where that comes from"
    )]
    Config(Config),
    /// Look at conversations
    #[command(
        subcommand,
        after_help = "\
Examples:
  blufio session list
  blufio session show local:main --limit 10
  blufio session replay local:main --turn 3     what happened in turn 3, step by step"
    )]
    Session(Session),
    /// Decide who may speak to the agent
    #[command(
        subcommand,
        after_help = "\
A stranger who writes to the bot gets a code, valid for one hour. Whoever lives on this machine decides:
  blufio pairing list
  blufio pairing approve ABCD2345
  blufio pairing approve ABCD2345 --owner
  blufio pairing revoke 123456789"
    )]
    Pairing(Pairing),
}

/// `blufio shell`
#[derive(Debug, Args)]
pub struct Shell {
    /// Send one message, print the answer, leave; `-` reads the message from standard input
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    pub message: Option<String>,
    /// The conversation; a name without a colon gets `local:` in front
    #[arg(long, value_name = "KEY", default_value = blufio_runtime::LOCAL_SESSION)]
    pub session: String,
}

/// `blufio config`
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Say whether the configuration is right
    Check,
    /// Print every key with its value and origin, as TOML that can be read back
    Show,
    /// Print the files that are looked for
    Path,
    /// Print the reference of every key, in Markdown
    Reference,
}

/// `blufio session`
#[derive(Debug, Subcommand)]
pub enum Session {
    /// List conversations, newest first
    List {
        /// At most this many
        #[arg(long, value_name = "N", default_value_t = LIST_ROWS)]
        limit: u32,
    },
    /// Print the newest messages of a conversation
    Show {
        /// The conversation, as `session list` names it
        key: String,
        /// At most this many
        #[arg(long, value_name = "N", default_value_t = LIST_ROWS)]
        limit: u32,
    },
    /// Print what happened in a conversation's turns, step by step, and why
    Replay {
        /// The conversation, as `session list` names it
        key: String,
        /// Only this turn [default: the newest hundred]
        #[arg(long, value_name = "N")]
        turn: Option<i64>,
    },
}

/// `blufio pairing`
#[derive(Debug, Subcommand)]
pub enum Pairing {
    /// List who is paired and who is waiting
    List,
    /// Let the person with this code in; the first one becomes the owner if there is none
    Approve {
        /// The code the person got
        code: String,
        /// Make them an owner: they may do everything
        #[arg(long)]
        owner: bool,
    },
    /// Turn the person with this code down
    Reject {
        /// The code the person got
        code: String,
    },
    /// Take an approval back; what waits from that person is dropped
    Revoke {
        /// The person's numeric id, as `pairing list` shows it
        user: i64,
    },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn global_options_stand_anywhere() {
        let parse = |line: &str| Arguments::try_parse_from(line.split_whitespace());
        let arguments = parse("blufio session list --json --data-dir x").unwrap();
        assert!(arguments.global.json && arguments.global.data_dir.is_some());
        assert!(parse("blufio --config a.toml serve").unwrap().global.config.is_some());
        assert!(matches!(
            parse("blufio shell -m -").unwrap().command,
            Command::Shell(Shell { message: Some(text), session }) if text == "-" && session == "local:main"
        ));
        assert!(parse("blufio frobnicate").is_err());
    }
}
