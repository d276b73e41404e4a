//! Text made from the table of keys: `config show`, and the reference page.
//!
//! There is nothing to hide here, since no key can hold a secret.

use serde_json::{Map, Value, json};

use super::diagnostic::printable;
use super::keys::{DefaultValue, KEYS, Key};
use super::kind::Kind;
use super::{Loaded, Origin, groups};

/// How `config show` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShowFormat {
    /// TOML that can be read back, with the origin of each value as a comment.
    Toml,
    /// One JSON object: `file`, and `keys` with `value` and `origin` for each path.
    Json,
}

/// Every key with its value in effect and where that came from; ends in a line break.
pub fn render_show(loaded: &Loaded, format: ShowFormat) -> String {
    match format {
        ShowFormat::Toml => show_toml(loaded),
        ShowFormat::Json => show_json(loaded),
    }
}

fn show_toml(loaded: &Loaded) -> String {
    let mut text = String::new();
    let mut section = "";
    for key in KEYS {
        let Some(setting) = loaded.settings.get(key.path) else { continue };
        if key.section() != section {
            section = key.section();
            text += if text.is_empty() { "" } else { "\n" };
            text += &format!("[{section}]\n");
        }
        let name = key.name();
        text += &match (&setting.value, &key.default) {
            (Some(value), _) => format!("{name} = {value}  # {}\n", printable(&describe(loaded, &setting.origin))),
            (None, DefaultValue::Derived(what)) => format!("# {name} is not set: {what}\n"),
            (None, DefaultValue::Toml(what)) => format!("# {name} is not set: {what}\n"),
        };
    }
    text
}

fn show_json(loaded: &Loaded) -> String {
    let keys: Map<String, Value> = loaded
        .settings
        .iter()
        .map(|(path, setting)| {
            ((*path).to_owned(), json!({ "value": setting.value, "origin": origin(&setting.origin) }))
        })
        .collect();
    let file = loaded.located.file.as_ref().map(|file| file.path.to_string_lossy());
    format!("{:#}\n", json!({ "file": file, "keys": keys }))
}

fn origin(origin: &Origin) -> Value {
    match origin {
        Origin::Default => json!({ "from": "default" }),
        Origin::Derived(what) => json!({ "from": "derived", "what": what }),
        Origin::File { line, .. } => json!({ "from": "file", "line": line }),
        Origin::Variable(name) => json!({ "from": "environment", "name": name }),
        Origin::Option(name) => json!({ "from": "option", "name": name }),
    }
}

/// The value of every key, wherever it came from: equal exactly if the program behaves alike.
pub fn values(loaded: &Loaded) -> Value {
    loaded.settings.iter().map(|(path, setting)| (*path, json!(setting.value))).collect()
}

fn describe(loaded: &Loaded, origin: &Origin) -> String {
    match origin {
        Origin::Default => "default".to_owned(),
        Origin::Derived(what) => format!("from {what}"),
        Origin::File { line, .. } => {
            loaded.located.file.as_ref().map_or_else(String::new, |file| format!("{}:{line}", file.path.display()))
        }
        Origin::Variable(name) => format!("environment variable {name}"),
        Origin::Option(name) => format!("option {name}"),
    }
}

/// The reference page of all keys, in Markdown.
pub fn render_reference() -> String {
    let mut text = INTRODUCTION.to_owned();
    let mut section = "";
    for key in KEYS {
        if key.section() != section {
            section = key.section();
            text += &format!("\n## `[{section}]`\n");
        }
        text += &reference_entry(key);
    }
    text
}

fn reference_entry(key: &Key) -> String {
    let default = match key.default {
        DefaultValue::Toml(value) => format!("`{value}`"),
        DefaultValue::Derived(what) => what.to_owned(),
    };
    let noun = key.kind.noun().trim_start_matches("an ").trim_start_matches("a ");
    format!(
        "\n### `{}`\n\n{}\n\n- Type: {noun}\n- Accepted: {}\n- Default: {default}\n- Environment: `{}`\n",
        key.name(),
        key.doc,
        key.kind.limits(),
        key.variable()
    ) + &more(key)
}

/// What the page says about a key besides.
fn more(key: &Key) -> String {
    if matches!(key.kind, Kind::Groups) { format!("\n{}", groups::reference()) } else { String::new() }
}

const INTRODUCTION: &str = "\
# Configuration

This page is generated from the table of keys in `crates/blufio/src/config/keys.rs`; a test compares them, and
`BLUFIO_BLESS=1 cargo test --release -p blufio config` writes the page anew.

Nothing has to be configured: every key has a default, and secrets come from the vault or the environment.

## Where values come from

Later sources win over earlier ones:

1. the defaults below;
2. one file in TOML, at most 1 MiB. The first that exists is taken whole, files are not merged:
   - the one named by `--config` or `BLUFIO_CONFIG`; it is an error if that is missing;
   - `$XDG_CONFIG_HOME/blufio/blufio.toml`, by default `~/.config/blufio/blufio.toml`;
   - `/etc/blufio/blufio.toml`;
3. environment variables `BLUFIO_SECTION__KEY`, with two underscores for each dot, as in `BLUFIO_AGENTS__MAIN__MODEL`. The
   value is read as TOML (`25`, `true`, `[123456789]`), and as plain text where it is none or where a string is wanted. A
   name that belongs to no key is an error. `BLUFIO_DATA_DIR` and `BLUFIO_LOG` are short for two of them and win over those;
4. the options `--data-dir` and `--root-key-file`.

The working directory is not looked into: a file that came with somebody else's folder must not decide where keys are sent.

A relative path starts at the directory of the file it is written in, else at the working directory. `~/` is the home
directory.

## Secrets

Secrets are not configuration, and a token or key in the file is refused. `blufio vault set NAME` keeps them encrypted; what
the vault has not is taken from an environment variable, and where both have one the vault's is used:

- `anthropic.api_key` (`ANTHROPIC_API_KEY`): the key of the model's server;
- `telegram.bot_token` (`TELEGRAM_BOT_TOKEN`): the token of the bot;
- `telegram.webhook_secret` (`TELEGRAM_WEBHOOK_SECRET`): with `telegram.mode = \"webhook\"` only; 32 to 256 of `A-Z a-z 0-9 _ -`, chosen by you, as
  `openssl rand -hex 32` makes them. Telegram sends it along, so that nobody else can;
- `transcription.api_key` (`TRANSCRIPTION_API_KEY`): the key of the server in `transcription.url`, if it wants one;
- `search.api_key` (`SEARCH_API_KEY`): the key of the server in `search.url`, if it wants one.

## Checking

`blufio config check` prints errors and warnings, `blufio config show` every value with its origin, `blufio config path`
the files that were looked for. A wrong configuration ends the program with exit code 78.
";
