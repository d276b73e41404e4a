//! The one table of configuration keys. The reference page, `config show` and every check are made from it.
//!
//! A test holds it against [`super::raw`]: each key can be set, and each field of the raw form is here.

use super::kind::Kind;
use crate::secrets::SECRET_VARIABLES;

/// Bytes of a configuration file. Larger: refused.
pub const CONFIG_FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Bytes of `agents.main.instructions`. Larger: refused.
pub const INSTRUCTIONS_BYTES_MAX: usize = 16 * 1024;
/// People in one list. More: refused.
pub const USERS_MAX: usize = 1_000;

/// One configuration key.
#[derive(Debug)]
pub struct Key {
    /// Sections and name with dots between, as in `session.tool_rounds`.
    pub path: &'static str,
    /// Type, unit and limits.
    pub kind: Kind,
    /// What holds when nobody sets it.
    pub default: DefaultValue,
    /// What it means, for the reference page.
    pub doc: &'static str,
}

/// What holds when nobody sets a key.
#[derive(Debug)]
pub enum DefaultValue {
    /// This TOML value.
    Toml(&'static str),
    /// Something that depends on other facts; the text says on which.
    Derived(&'static str),
}
use DefaultValue::{Derived, Toml};

impl Key {
    /// The part after the last dot.
    pub fn name(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// The part before the last dot.
    pub fn section(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// The environment variable that sets this key.
    pub fn variable(&self) -> String {
        format!("BLUFIO_{}", self.path.to_ascii_uppercase().replace('.', "__"))
    }
}

/// Variables without `__` that set a key.
pub const SHORT_VARIABLES: &[(&str, &str)] = &[("BLUFIO_DATA_DIR", "storage.data_dir"), ("BLUFIO_LOG", "log.level")];

/// Other names that people try for a secret, and the variable that carries it instead.
const SECRET_ALIASES: &[(&str, &str)] = &[
    ("telegram.token", "TELEGRAM_BOT_TOKEN"),
    ("telegram.secret_token", "TELEGRAM_WEBHOOK_SECRET"),
    ("anthropic.key", "ANTHROPIC_API_KEY"),
    ("anthropic.token", "ANTHROPIC_API_KEY"),
    ("search.key", "SEARCH_API_KEY"),
    ("search.token", "SEARCH_API_KEY"),
    ("transcription.key", "TRANSCRIPTION_API_KEY"),
    ("transcription.token", "TRANSCRIPTION_API_KEY"),
];

/// The key of this path.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The variable that carries what somebody tried to set as this path.
pub fn secret(path: &str) -> Option<&'static str> {
    let named = SECRET_VARIABLES.iter().map(|(variable, name)| (*name, *variable));
    named.chain(SECRET_ALIASES.iter().copied()).find(|(name, _)| *name == path).map(|(_, variable)| variable)
}

/// True if keys lie below this path.
pub fn is_section(path: &str) -> bool {
    KEYS.iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// Names of keys and sections directly below a section (`""`: the top), in the order of the table.
pub fn children(section: &str) -> Vec<&'static str> {
    let mut names = Vec::new();
    for key in KEYS {
        let below = if section.is_empty() {
            Some(key.path)
        } else {
            key.path.strip_prefix(section).and_then(|rest| rest.strip_prefix('.'))
        };
        let name = below.and_then(|rest| rest.split('.').next());
        names.extend(name.filter(|name| !names.contains(name)));
    }
    names
}

/// The candidate that was probably meant by `word`: a few typing mistakes away.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mistakes_max = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(mistakes, _)| *mistakes <= mistakes_max)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Every key, grouped by section.
pub const KEYS: &[Key] = &[
    Key {
        path: "storage.data_dir",
        kind: Kind::Path,
        default: Derived(
            "`$STATE_DIRECTORY` under systemd, else `$XDG_DATA_HOME/blufio`, else `~/.local/share/blufio` (macOS: `~/Library/Application Support/blufio`)",
        ),
        doc: "Directory of the database, the control socket and everything else that is kept. `--data-dir` and `BLUFIO_DATA_DIR` set it too.",
    },
    Key {
        path: "storage.attachments_max_mb",
        kind: Kind::Integer { min: 16, max: 51_200, unit: "MiB" },
        default: Toml("1024"),
        doc: "Files from and to people that are kept. Full: the oldest that no conversation shows go.",
    },
    Key {
        path: "security.root_key_file",
        kind: Kind::Path,
        default: Derived(
            "`$XDG_CONFIG_HOME/blufio/root.key`, else `~/.config/blufio/root.key`; made at the first start",
        ),
        doc: "File with the root key, which opens database and vault: 32 bytes or 64 hexadecimal digits, readable by the service's user alone, outside the data directory. One that is named here must exist; `blufio init` makes it. `--root-key-file` sets it too. docs/security.md names the other places a key can come from.",
    },
    Key {
        path: "security.unlock",
        kind: Kind::Choice { values: &["never", "socket"] },
        default: Toml(r#""never""#),
        doc: "What `blufio serve` does if the root key is nowhere. `never`: it ends; `socket`: it waits until `blufio vault unlock` brings the key, and receives nothing meanwhile.",
    },
    Key {
        path: "agents.main.workspace",
        kind: Kind::Path,
        default: Derived("`workspace` in the data directory"),
        doc: "Directory that the agent's tools may read and write. It must not contain the data directory.",
    },
    Key {
        path: "agents.main.instructions",
        kind: Kind::Text { bytes_max: INSTRUCTIONS_BYTES_MAX },
        default: Toml(
            r#""You are Blufio, a personal assistant that is always on. Answer in the language of the message, plainly and briefly. Say so when you do not know something or could not do what was asked.""#,
        ),
        doc: "Who the agent is and how it should speak; sent to the model as the start of the system prompt.",
    },
    Key {
        path: "agents.main.model",
        kind: Kind::Model { optional: false },
        default: Toml(r#""claude-sonnet-5-5""#),
        doc: "Model that answers. A model without a price in the model data is refused when it is called.",
    },
    Key {
        path: "agents.main.fallback_model",
        kind: Kind::Model { optional: true },
        default: Toml(r#""claude-opus-5-5""#),
        doc: "Model that is asked when the first one stays unavailable. Empty: none.",
    },
    Key {
        path: "agents.main.max_tokens",
        kind: Kind::Integer { min: 1, max: 128_000, unit: "tokens" },
        default: Toml("8192"),
        doc: "Longest answer of one model call, thinking included.",
    },
    Key {
        path: "agents.main.context_tokens",
        kind: Kind::Integer { min: 8_000, max: 900_000, unit: "tokens" },
        default: Toml("60000"),
        doc: "What a conversation may take of a prompt. At 60 % of it (on models that cost more beyond a size, at 80,000 tokens at most) the older part is summarised for the model, after an answer; nothing is deleted. `/compact` does it at once.",
    },
    Key {
        path: "agents.main.effort",
        kind: Kind::Choice { values: &["low", "medium", "high", "xhigh", "max"] },
        default: Toml(r#""medium""#),
        doc: "How much work the model puts into an answer.",
    },
    Key {
        path: "agents.main.routing",
        kind: Kind::Boolean,
        default: Toml("true"),
        doc: "A word of thanks may be answered by the cheapest model where that costs no more, a question goes to the next stronger one after two failures, and the effort follows the message. Never where you have chosen the model, or the effort. `blufio cost --by reason` shows it.",
    },
    Key {
        path: "agents.main.timezone",
        kind: Kind::Timezone,
        default: Derived("the machine's"),
        doc: "Time zone of the agent: of the dates it is told, and of `notices.quiet_hours`. The chat command `/timezone` chooses another for one conversation; the quiet hours stay in this one.",
    },
    Key {
        path: "anthropic.base_url",
        kind: Kind::Endpoint { optional: false },
        default: Toml(r#""https://api.anthropic.com""#),
        doc: "Where the Messages API is reached.",
    },
    Key {
        path: "anthropic.models_file",
        kind: Kind::Path,
        default: Derived("the built-in model data"),
        doc: "File with models and prices that is read instead of the built-in data.",
    },
    Key {
        path: "budget.turn_usd",
        kind: Kind::Dollars,
        default: Toml(r#""0.50""#),
        doc: "Most that one answer may cost, all its calls together. Before a call its worst case is held in every budget; what does not fit gets less room for its answer, then a cheaper model (unless the conversation has chosen one), then is refused.",
    },
    Key {
        path: "budget.session_day_usd",
        kind: Kind::Dollars,
        default: Toml(r#""2""#),
        doc: "Most that one conversation may cost in a day. Days and months are those of `agents.main.timezone`.",
    },
    Key {
        path: "budget.person_day_usd",
        kind: Kind::Dollars,
        default: Toml(r#""2""#),
        doc: "Most that one person may spend in a day; all owners count as one.",
    },
    Key {
        path: "budget.agent_day_usd",
        kind: Kind::Dollars,
        default: Toml(r#""5""#),
        doc: "Most that one agent may cost in a day.",
    },
    Key {
        path: "budget.day_usd",
        kind: Kind::Dollars,
        default: Toml(r#""5""#),
        doc: "Most that everything may cost in a day. Owners are told when 80 and 95 % are used.",
    },
    Key {
        path: "budget.month_usd",
        kind: Kind::Dollars,
        default: Toml(r#""50""#),
        doc: "Most that everything may cost in a month.",
    },
    Key {
        path: "session.queue",
        kind: Kind::Choice { values: &["followup", "collect", "interrupt", "steer"] },
        default: Toml(r#""followup""#),
        doc: "What happens to a message that arrives during a turn. `followup`: it gets a turn of its own, first in, first out; `collect`: all that wait become one message; `interrupt`: the running turn is cancelled, then it gets its own; `steer`: it joins the running turn when that next reads results of tools, else as `followup`.",
    },
    Key {
        path: "session.turn_deadline_s",
        kind: Kind::Integer { min: 1, max: 7_200, unit: "seconds" },
        default: Toml("900"),
        doc: "Longest turn. Over: it is cancelled and the person reads an error.",
    },
    Key {
        path: "session.tool_rounds",
        kind: Kind::Integer { min: 1, max: 100, unit: "rounds" },
        default: Toml("25"),
        doc: "Rounds of tool calls in one turn. Over: the turn ends in an error.",
    },
    Key {
        path: "session.idle_evict_s",
        kind: Kind::Integer { min: 1, max: 86_400, unit: "seconds" },
        default: Toml("300"),
        doc: "After this time without work a session leaves memory; its state is in the database.",
    },
    Key {
        path: "session.running_turns",
        kind: Kind::Integer { min: 1, max: 64, unit: "turns" },
        default: Toml("16"),
        doc: "Turns that run at once; others wait. At most `live_sessions`.",
    },
    Key {
        path: "session.live_sessions",
        kind: Kind::Integer { min: 1, max: 1_024, unit: "sessions" },
        default: Toml("64"),
        doc: "Sessions in memory. Full: the one that was idle longest leaves.",
    },
    Key {
        path: "session.pending_messages",
        kind: Kind::Integer { min: 1, max: 200, unit: "messages" },
        default: Toml("20"),
        doc: "Messages that wait in one session. Full: the newest is refused with a note.",
    },
    Key {
        path: "tools.ask",
        kind: Kind::ToolNames,
        default: Toml("[]"),
        doc: "Tools whose calls wait until an owner has said yes in the private chat.",
    },
    Key {
        path: "tools.web_fetch",
        kind: Kind::Boolean,
        default: Toml("true"),
        doc: "Whether the agent may read pages of the public web, with the tool `web_fetch`.",
    },
    Key {
        path: "tools.exec.enabled",
        kind: Kind::Boolean,
        default: Toml("false"),
        doc: "Whether the agent may run programs of this machine, with the tool `exec`. An owner is asked before each; a program may change the workspace, has no network and ends after 60 seconds. Linux only.",
    },
    Key {
        path: "tools.exec.allow_weak",
        kind: Kind::Boolean,
        default: Toml("false"),
        doc: "Whether programs run even where the kernel has no Landlock. They can then read and change every file that Blufio's user can.",
    },
    Key {
        path: "search.url",
        kind: Kind::Endpoint { optional: true },
        default: Toml(r#""""#),
        doc: "Server that searches the web, with the HTTP interface of Brave, `GET /res/v1/web/search` (Brave's own: `https://api.search.brave.com`). Its key, if it wants one, is the secret `SEARCH_API_KEY`. Empty: there is no tool `web_search`.",
    },
    Key {
        path: "search.query_usd",
        kind: Kind::Dollars,
        default: Toml(r#""0.005""#),
        doc: "What a search costs at that server. It is counted in the ledger and against every budget, whether it finds anything or not. `off`: nothing.",
    },
    Key {
        path: "egress.allow_private",
        kind: Kind::Places,
        default: Toml("[]"),
        doc: "Places in private networks or on this machine that may be reached all the same: by the agent's `web_fetch`, over http too, and by services that are configured by a name. Whoever writes to the agent can make it read what these places answer.",
    },
    Key {
        path: "notices.quiet_hours",
        kind: Kind::QuietHours,
        default: Toml(r#""""#),
        doc: "Hours of every day in which notices, and questions about what others want, wait until the end; answers and questions about your own wishes never wait. They are hours of `agents.main.timezone`. Empty: none.",
    },
    Key {
        path: "heartbeat.enabled",
        kind: Kind::Boolean,
        default: Toml("true"),
        doc: "The agent looks by itself, now and then, at what HEARTBEAT.md in the workspace says, and tells an owner if something matters. Without that file, or while nothing has changed, no model is called.",
    },
    Key {
        path: "heartbeat.every_minutes",
        kind: Kind::Integer { min: 5, max: 10_080, unit: "minutes" },
        default: Toml("30"),
        doc: "How often it looks.",
    },
    Key {
        path: "heartbeat.active_hours",
        kind: Kind::QuietHours,
        default: Toml(r#""08:00-22:00""#),
        doc: "Hours of every day in which it looks, of `agents.main.timezone`. Empty: all.",
    },
    Key {
        path: "heartbeat.day_usd",
        kind: Kind::Dollars,
        default: Toml(r#""0.05""#),
        doc: "What its calls may cost per day, beside all other budgets. Used up: it rests until tomorrow.",
    },
    Key {
        path: "memory.embedding",
        kind: Kind::Choice { values: &["auto", "off"] },
        default: Toml(r#""auto""#),
        doc: "Whether what is remembered is also found by its meaning, with a small model on this machine, if there is one (`blufio model install`). Without it, it is found by its words.",
    },
    Key {
        path: "memory.learn",
        kind: Kind::Boolean,
        default: Toml("true"),
        doc: "When a conversation rests, the cheapest model writes down what is worth knowing later. What was said can be found again in any case.",
    },
    Key {
        path: "memory.day_usd",
        kind: Kind::Dollars,
        default: Toml(r#""0.05""#),
        doc: "What that may cost per day, beside all other budgets. Used up: it waits until tomorrow.",
    },
    Key {
        path: "telegram.enabled",
        kind: Kind::Boolean,
        default: Derived("`true` if there is a bot token"),
        doc: "Whether the Telegram channel is started.",
    },
    Key {
        path: "telegram.api_root",
        kind: Kind::Endpoint { optional: false },
        default: Toml(r#""https://api.telegram.org""#),
        doc: "Where the Bot API is reached.",
    },
    Key {
        path: "telegram.mode",
        kind: Kind::Choice { values: &["polling", "webhook"] },
        default: Toml(r#""polling""#),
        doc: "How updates arrive. `polling`: Blufio asks for them; `webhook`: Telegram brings them to `webhook_url`. The latter needs the gateway, and the secret `TELEGRAM_WEBHOOK_SECRET`.",
    },
    Key {
        path: "telegram.webhook_url",
        kind: Kind::WebhookUrl,
        default: Derived("none"),
        doc: "Where Telegram reaches the gateway from the internet, usually through a reverse proxy that ends TLS.",
    },
    Key {
        path: "telegram.ip_family",
        kind: Kind::Choice { values: &["auto", "v4", "v6"] },
        default: Toml(r#""auto""#),
        doc: "Which addresses of the Bot API are used. `auto`: whichever answers; `v4`, `v6`: only these.",
    },
    Key {
        path: "telegram.dm_policy",
        kind: Kind::Choice { values: &["pairing", "allowlist", "disabled"] },
        default: Toml(r#""pairing""#),
        doc: "Private messages of people who are not in `allow_from`. `pairing`: they get a code that you approve on the command line; `allowlist`: they are refused; `disabled`: nobody may write privately.",
    },
    Key {
        path: "telegram.allow_from",
        kind: Kind::Users,
        default: Toml("[]"),
        doc: "People who may speak to the agent, by numeric user id. Usernames are refused, since they can change hands.",
    },
    Key {
        path: "telegram.owners",
        kind: Kind::Users,
        default: Derived("the only entry of `allow_from`, else nobody"),
        doc: "People who may approve and command what reaches beyond their own session.",
    },
    Key {
        path: "telegram.groups",
        kind: Kind::Groups,
        default: Toml("{}"),
        doc: "Groups that are served, by chat id; any other is refused. Pairings do not count in groups.",
    },
    Key {
        path: "telegram.group_allow_from",
        kind: Kind::Users,
        default: Toml("[]"),
        doc: "People who may speak in groups that list nobody themselves. Empty: those of `allow_from`.",
    },
    Key {
        path: "telegram.mention_patterns",
        kind: Kind::Patterns,
        default: Toml("[]"),
        doc: "Texts that count as a mention of the agent in groups, besides its username, replies and commands. `(?i)` at the start ignores case.",
    },
    Key {
        path: "telegram.streaming",
        kind: Kind::Choice { values: &["off", "auto", "edit"] },
        default: Toml(r#""auto""#),
        doc: "How an answer is shown while it is written. `auto`: drafts in private chats, edits elsewhere; `edit`: always edits; `off`: only the finished text.",
    },
    Key {
        path: "telegram.link_preview",
        kind: Kind::Boolean,
        default: Toml("false"),
        doc: "Whether Telegram may show previews of links in answers.",
    },
    Key {
        path: "telegram.text_chunk",
        kind: Kind::Integer { min: 500, max: 4_096, unit: "UTF-16 units" },
        default: Toml("4000"),
        doc: "Length at which a long answer is split. 4096 is the most that the Bot API takes.",
    },
    Key {
        path: "telegram.media_max_mb",
        kind: Kind::Integer { min: 1, max: 20, unit: "MiB" },
        default: Toml("20"),
        doc: "Largest file that is taken from or sent to a chat. 20 is the most that the Bot API lets bots download.",
    },
    Key {
        path: "telegram.error_policy",
        kind: Kind::Choice { values: &["always", "once", "silent"] },
        default: Toml(r#""once""#),
        doc: "Which errors are told in the chat. `always`: each; `once`: the same text at most once in ten minutes per chat; `silent`: none, the log has them.",
    },
    Key {
        path: "telegram.reaction_ack",
        kind: Kind::Reaction,
        default: Toml(r#""""#),
        doc: "Emoji with which the bot reacts to a message that it takes up. Empty: none.",
    },
    Key {
        path: "telegram.rate.mode",
        kind: Kind::Choice { values: &["on", "off"] },
        default: Toml(r#""on""#),
        doc: "Whether sending is slowed to the rates below. `off` is for tests and accepted only with a loopback `api_root`; a wait that the server asks for is obeyed in any case.",
    },
    Key {
        path: "telegram.rate.global_per_s",
        kind: Kind::Integer { min: 1, max: 30, unit: "messages per second" },
        default: Toml("25"),
        doc: "Messages to all chats together.",
    },
    Key {
        path: "telegram.rate.private_per_s",
        kind: Kind::Integer { min: 1, max: 5, unit: "messages per second" },
        default: Toml("1"),
        doc: "Messages to one private chat.",
    },
    Key {
        path: "telegram.rate.private_burst",
        kind: Kind::Integer { min: 1, max: 20, unit: "messages" },
        default: Toml("3"),
        doc: "Messages to one private chat that may be sent at once after a pause.",
    },
    Key {
        path: "telegram.rate.group_per_min",
        kind: Kind::Integer { min: 1, max: 60, unit: "messages per minute" },
        default: Toml("20"),
        doc: "Messages to one group, edits included.",
    },
    Key {
        path: "transcription.url",
        kind: Kind::Endpoint { optional: true },
        default: Toml(r#""""#),
        doc: "Server that turns voice messages into text, with the HTTP interface `POST /v1/audio/transcriptions`. Its key, if it wants one, is the secret `TRANSCRIPTION_API_KEY`. Empty: voice messages are not understood.",
    },
    Key {
        path: "transcription.model",
        kind: Kind::Model { optional: false },
        default: Toml(r#""whisper-1""#),
        doc: "Model that the server is asked for.",
    },
    Key {
        path: "transcription.language",
        kind: Kind::Text { bytes_max: 16 },
        default: Toml(r#""""#),
        doc: "Language that is spoken, such as `en`. Empty: the server finds out.",
    },
    Key {
        path: "gateway.listen",
        kind: Kind::Listen,
        default: Toml(r#""127.0.0.1:8420""#),
        doc: "Where the HTTP gateway listens. Port 0 takes a free one; `off` starts no gateway.",
    },
    Key {
        path: "retention.messages_days",
        kind: Kind::Integer { min: 0, max: 36_500, unit: "days" },
        default: Toml("0"),
        doc: "How long messages are kept. 0: for ever.",
    },
    Key {
        path: "retention.attachments_days",
        kind: Kind::Integer { min: 1, max: 36_500, unit: "days" },
        default: Toml("30"),
        doc: "How long files from and to people are kept.",
    },
    Key {
        path: "log.level",
        kind: Kind::Choice { values: &["error", "warn", "info", "debug", "trace"] },
        default: Toml(r#""info""#),
        doc: "Least important lines that are logged. `BLUFIO_LOG` sets it too.",
    },
    Key {
        path: "log.format",
        kind: Kind::Choice { values: &["auto", "json", "text"] },
        default: Toml(r#""auto""#),
        doc: "Form of the log. `auto`: text on a terminal, JSON elsewhere.",
    },
];
