//! The command line as clap reads it. Nothing here is done, only named and explained.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Rows that lists show unless asked for otherwise.
const LIST_ROWS: u32 = 50;
/// Days that `blufio cost` sums up unless told.
const COST_DAYS: u32 = 30;

/// The long form of the version: commit and kind of build.
pub const LONG_VERSION: &str = env!("BLUFIO_LONG_VERSION");

/// The channels there are.
const CHANNELS: [&str; 1] = ["telegram"];

/// What `doctor` looks at.
const TOPICS: [&str; 1] = ["security"];

const ABOUT: &str = "An always-on personal AI agent in one static binary";

const EXAMPLES: &str = "\
Examples:
  blufio init                                 first steps: key, recovery code, secrets
  blufio shell                                talk to it right here
  blufio serve                                keep it running; write to the bot on Telegram
  blufio pairing link                         an address that lets in whoever opens it first
  blufio pairing approve ABCD2345             let the person with that code in
  blufio status                               is everything well?
  blufio approval list                        what waits for an owner's yes?
  blufio channel status                       how is Telegram, and what could not be delivered?
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
    /// Configuration file [default: ~/.config/blufio/blufio.toml, /etc/blufio/blufio.toml]
    #[arg(long, global = true, value_name = "PATH", help_heading = "Global options")]
    pub config: Option<PathBuf>,
    /// Folder for the database, the control socket and the lock [default: ~/.local/share/blufio]
    #[arg(long, global = true, value_name = "PATH", help_heading = "Global options")]
    pub data_dir: Option<PathBuf>,
    /// File with the root key, which opens database and vault [default: ~/.config/blufio/root.key]
    #[arg(long, global = true, value_name = "PATH", help_heading = "Global options")]
    pub root_key_file: Option<PathBuf>,
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
Secrets come from the vault (`blufio vault set`) or, what it has not, from the environment:
  ANTHROPIC_API_KEY     the key of the model's provider; needed
  TELEGRAM_BOT_TOKEN    the bot's token from @BotFather; with it, the Telegram channel starts
  TELEGRAM_WEBHOOK_SECRET
                        with [telegram] mode = \"webhook\" only: 32 to 256 letters, digits, _ or -
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
When a tool waits for an owner's yes, the question is shown: type ok or no. Where nobody can type,
answer from another terminal with the command that is shown, blufio shell -m \"/approve ID ok\";
/approve alone lists open questions.
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
There are two ways in. Both are opened on this machine only; no message can do it.

By code: a stranger who writes to the bot gets a code, valid for one hour, and tells it to you.
For people who have found the bot already.
  blufio pairing list
  blufio pairing approve ABCD2345
  blufio pairing approve ABCD2345 --owner

By link: you make an address, valid for 10 minutes and once; whoever opens it first is let in.
For yourself at the start, and for people you can send it to.
  blufio pairing link

The first one who is let in becomes the owner if there is none. All others may speak in their
private chat only: a pairing never opens a group. Groups are listed in the configuration, under
[telegram.groups].
  blufio pairing revoke 123456789"
    )]
    Pairing(Pairing),
    /// Answer what the agent asks before it does something, and take back what was always allowed
    #[command(
        subcommand,
        after_help = "\
The agent asks an owner before what it may not do by itself. The question is shown in the owner's
private chat, and here. It is open for ten minutes; without an answer it counts as a no. ID is
what the question shows, or its beginning, four symbols at least.

Examples:
  blufio approval list
  blufio approval show ABCD                 everything it wants to do, character by character
  blufio approval approve ABCD
  blufio approval approve ABCD --always     and never ask again about exactly this call
  blufio approval deny ABCD
  blufio approval list --grants             what is always allowed
  blufio approval revoke 3                  ask again before that

An \"always\" holds for the same tool with the same arguments, byte by byte, and for nothing else;
it is not offered for a program once the conversation has read words of others."
    )]
    Approval(Approval),
    /// Say what the next request of a conversation would hold
    #[command(
        subcommand,
        after_help = "\
Examples:
  blufio context show main              part by part, with tokens, and why each is there
  blufio context show main --json       with every message

Tokens are estimated, since only the vendor can count them. `blufio session list` names the
conversations. The server must run."
    )]
    Context(Context),
    /// Say what was spent, on what, and what the cache has saved
    #[command(after_help = "\
Examples:
  blufio cost                          the last 30 days, day by day
  blufio cost --by model --days 1      today, by model
  blufio cost --by session --chart     bars
  blufio cost --by day --csv > may.csv

The figures are the vendor's own counts at the prices of the day. A call that broke off is counted
by an estimate. Budgets are set under [budget] in the configuration; /cost in a chat says how they
stand.")]
    Cost(Cost),
    /// Have something said or done at given times
    #[command(
        subcommand,
        after_help = "\
Examples:
  blufio cron add water --every 1d --at 2026-11-24T09:00 --say 'Water the plants'
  blufio cron add news --every 1d --ask 'What is new about Rust? Three lines.'
  blufio cron list
  blufio cron history news

`say` delivers a text and costs nothing; `ask` gives the agent a task, in a conversation of its own.
What was missed while the server did not run is made up for once, late. In a chat the agent does
the same: \"remind me tomorrow at nine\"."
    )]
    Cron(Cron),
    /// The model that finds memories by their meaning
    #[command(subcommand)]
    Model(super::model::Model),
    /// Stop everything, now and after restarts
    #[command(after_help = "\
Ends every running answer and tool and lets nothing begin. Messages are still received and wait.
`/kill` in a chat does the same, for owners. `blufio resume` or /resume lets things run again.")]
    Kill,
    /// Let things run again after a kill
    Resume,
    /// First steps: folder, root key, recovery code and the two secrets
    #[command(after_help = "\
Examples:
  blufio init                             asks for what is missing; nothing typed is shown
  ANTHROPIC_API_KEY=… blufio init --yes   asks nothing; takes secrets from the environment

The root key is made outside the data folder. What exists stays as it is, so doing it again is
harmless. --yes prints the recovery code, too: keep it.")]
    Init {
        /// Ask nothing
        #[arg(long)]
        yes: bool,
    },
    /// Keep secrets encrypted beside the conversations
    #[command(
        subcommand,
        after_help = "\
Secrets are typed without echo or come from a pipe, never from the command line, which everybody
on this machine can read. Blufio reads these:
  anthropic.api_key         the key of the model
  telegram.bot_token        the bot's token from @BotFather
  telegram.webhook_secret   for [telegram] mode = \"webhook\"
  transcription.api_key     for [transcription] url
  search.api_key            for [search] url

Examples:
  blufio vault set anthropic.api_key
  openssl rand -hex 32 | blufio vault set telegram.webhook_secret
  blufio vault set forge.token --host api.forge.example
                                          a secret that the agent may use, for this host alone
  blufio vault import                     takes in what is in the environment
  blufio vault recovery                   a code that opens everything if the root key is lost"
    )]
    Vault(Vault),
    /// Look at what was done, and whether that record is whole
    #[command(
        subcommand,
        after_help = "\
Examples:
  blufio audit list --limit 20
  blufio audit verify
  blufio audit verify --since HEAD        also finds what was cut off since that head was printed"
    )]
    Audit(Audit),
    /// Say what protects this installation, what does not, and what to do
    #[command(after_help = "The exit code is 1 if something must be done. Nothing is changed.")]
    Doctor {
        /// What to look at
        #[arg(value_name = "TOPIC", default_value = "security", value_parser = TOPICS)]
        topic: String,
    },
    /// Look at a channel, send through it, mend what could not be delivered
    #[command(
        subcommand,
        after_help = "\
Examples:
  blufio channel status                   how is it, what was not delivered, what to do?
  blufio channel retry                    send everything again that was given up within a day
  blufio channel retry 42                 only that message, of any age
  blufio channel send 123456789 \"hello\"   a message of yours, through the bot
  uptime | blufio channel send -1001234567890 -

Common troubles:
  the token is refused       copy it again from @BotFather (/mybots, API Token), keep it with
                             `blufio vault set telegram.bot_token`, restart
  another program fetches    stop it, since only one program can use a bot; or make a bot of
  the bot's messages         your own with /newbot
  the bot was blocked        the person has to write to it again, or choose Restart in the chat
  it hears only mentions     privacy mode: write /setprivacy to @BotFather, choose the bot,
  in a group                 Disable; then remove the bot from the group and add it again"
    )]
    Channel(Channel),
}

/// `blufio cron`
#[derive(Debug, Subcommand)]
pub enum Cron {
    /// List what is scheduled
    List,
    /// Schedule something
    Add {
        /// A name for it
        name: String,
        /// When: local time such as 2026-11-24T09:00; with --every, the first time
        #[arg(long, value_name = "TIME", required_unless_present = "every")]
        at: Option<String>,
        /// How often: such as 30m, 2h, 1d, 1w
        #[arg(long, value_name = "PERIOD")]
        every: Option<String>,
        /// The time zone of TIME (IANA name); default: the agent's
        #[arg(long, value_name = "ZONE")]
        timezone: Option<String>,
        /// Deliver this text to the owner
        #[arg(long, value_name = "TEXT", required_unless_present = "ask", conflicts_with = "ask")]
        say: Option<String>,
        /// Give the agent this task
        #[arg(long, value_name = "TEXT")]
        ask: Option<String>,
    },
    /// Remove one, with its history
    Rm {
        /// Its number or name
        schedule: String,
    },
    /// Run one now; its times stay as they are
    Run {
        /// Its number or name
        schedule: String,
    },
    /// Turn one on
    Enable {
        /// Its number or name
        schedule: String,
    },
    /// Turn one off
    Disable {
        /// Its number or name
        schedule: String,
    },
    /// Say what became of its runs
    History {
        /// Its number or name
        schedule: String,
        /// Of so many
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
    },
}

/// `blufio context`
#[derive(Debug, Subcommand)]
pub enum Context {
    /// Show its parts
    Show {
        /// The conversation, as `session list` names it
        session: String,
    },
}

/// `blufio cost`
#[derive(Debug, Args)]
pub struct Cost {
    /// Sum up by this
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = CostGroup::Day)]
    pub by: CostGroup,
    /// Of so many days, today among them
    #[arg(long, value_name = "N", default_value_t = COST_DAYS, value_parser = clap::value_parser!(u32).range(1..=3_660))]
    pub days: u32,
    /// Of one conversation, as `session list` names it
    #[arg(long, value_name = "KEY")]
    pub session: Option<String>,
    /// Draw bars
    #[arg(long, conflicts_with_all = ["csv", "json"])]
    pub chart: bool,
    /// Print comma-separated values
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
}

/// What costs are summed up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CostGroup {
    /// Days of the agent's time zone
    Day,
    /// Models
    Model,
    /// Conversations
    Session,
    /// Agents
    Agent,
    /// Who asked
    Person,
    /// What for
    Purpose,
    /// Why this model
    Reason,
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
    /// Print an address that lets in whoever opens it first, within 10 minutes; the server must be running
    Link {
        /// The channel that it leads to
        #[arg(long, value_name = "NAME", default_value = "telegram", value_parser = CHANNELS)]
        channel: String,
    },
}

/// `blufio approval`
#[derive(Debug, Subcommand)]
pub enum Approval {
    /// List the questions that wait for an answer, oldest first
    List {
        /// List what is always allowed instead
        #[arg(long)]
        grants: bool,
    },
    /// Show a question with all arguments
    Show {
        /// The question, or the beginning of its id
        id: String,
    },
    /// Say yes
    Approve {
        /// The question, or the beginning of its id
        id: String,
        /// And never ask again about exactly this call
        #[arg(long)]
        always: bool,
    },
    /// Say no
    Deny {
        /// The question, or the beginning of its id
        id: String,
    },
    /// Take an "always" back: it is asked about again
    Revoke {
        /// Its number, as `approval list --grants` shows it
        #[arg(value_name = "GRANT")]
        grant: i64,
    },
}

/// `blufio vault`
#[derive(Debug, Subcommand)]
pub enum Vault {
    /// Put a secret in; it is typed without echo, or read from a pipe
    Set {
        /// Its name: 1 to 64 of a-z 0-9 . _ -
        name: String,
        /// Let the agent send it to exactly this host, over https and without seeing it; can be repeated
        #[arg(long = "host", value_name = "HOST")]
        hosts: Vec<String>,
        /// In this header, with a word before it if need be [default: "Authorization: Bearer"]
        #[arg(long, value_name = "HEADER", requires = "hosts")]
        header: Option<String>,
    },
    /// Show a few characters of a secret
    Get {
        /// Its name
        name: String,
        /// Show all of it; at a terminal only
        #[arg(long)]
        reveal: bool,
    },
    /// List the secrets: a few characters of each
    List,
    /// Take a secret out
    Rm {
        /// Its name
        name: String,
    },
    /// Wrap the vault's key anew
    Rotate {
        /// Make a new key, and encrypt every secret anew
        #[arg(long)]
        deep: bool,
        /// Make a new root key and recovery code, and encrypt everything anew, the database too; no server may run
        #[arg(long, conflicts_with = "deep")]
        root: bool,
    },
    /// Take in secrets that are in the environment, this one and the running server's, and not in the vault
    Import,
    /// Make a recovery code, which replaces an earlier one
    #[command(visible_alias = "export-recovery")]
    Recovery,
    /// With the recovery code: unlock a server that waits, else write the root key's file again
    Unlock,
}

/// `blufio audit`
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// List what was done, newest first
    List {
        /// At most this many
        #[arg(long, value_name = "N", default_value_t = LIST_ROWS)]
        limit: u32,
        /// Only entries before this number
        #[arg(long, value_name = "N")]
        before: Option<u64>,
    },
    /// Look whether the record was changed
    Verify {
        /// A head that was printed earlier: it must still be there
        #[arg(long, value_name = "HEAD")]
        since: Option<String>,
    },
}

/// `blufio channel`
#[derive(Debug, Subcommand)]
pub enum Channel {
    /// Say how a channel is, what waits, what could not be delivered, and what to do about it
    #[command(after_help = "Without a running server it says what the database knows; not whether all is well.")]
    Status {
        /// The channel
        #[arg(value_name = "NAME", default_value = "telegram", value_parser = CHANNELS)]
        name: String,
    },
    /// Send messages again that could not be delivered
    #[command(after_help = "\
Without an ID, everything that was given up within the last day goes out again, except to chats
that are shut.
A message comes together with the other parts of its answer. Questions are never asked again.")]
    Retry {
        /// Only this message, as `channel status` shows it
        #[arg(value_name = "ID")]
        id: Option<i64>,
        /// All of the last day; so it is without ID, too
        #[arg(long, conflicts_with = "id")]
        all: bool,
        /// The channel
        #[arg(long, value_name = "NAME", default_value = "telegram", value_parser = CHANNELS)]
        channel: String,
    },
    /// Send a message through the bot; the server must be running
    Send {
        /// The chat's numeric id: a person's is positive, a group's negative
        #[arg(value_name = "CHAT", allow_negative_numbers = true)]
        chat: i64,
        /// The text, as Markdown; `-` reads it from standard input
        #[arg(value_name = "TEXT", allow_hyphen_values = true)]
        text: String,
        /// The channel
        #[arg(long, value_name = "NAME", default_value = "telegram", value_parser = CHANNELS)]
        channel: String,
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

    /// Lines of at most as many columns as help has where its width is unknown: a longer one would be broken in two.
    #[test]
    fn help_fits_its_width() {
        fn look(command: &clap::Command) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in help.lines() {
                assert!(line.chars().count() <= 100, "{}: {line}", command.get_name());
            }
            command.get_subcommands().for_each(look);
        }
        look(&Arguments::command());
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
        assert!(matches!(
            parse("blufio channel send -1001234567890 -").unwrap().command,
            Command::Channel(Channel::Send { chat: -1_001_234_567_890, text, .. }) if text == "-"
        ));
        assert!(matches!(
            parse("blufio channel retry").unwrap().command,
            Command::Channel(Channel::Retry { id: None, all: false, channel }) if channel == "telegram"
        ));
        assert!(parse("blufio channel retry 5 --all").is_err() && parse("blufio channel status other").is_err());
    }
}
