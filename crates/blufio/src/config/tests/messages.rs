//! Errors and warnings as a person reads them.

use insta::assert_snapshot;

use super::{errors, warnings};

#[test]
fn mistakes_in_the_file() {
    let text = "\
[agents.main]
modle = \"claude-sonnet-5-5\"
max_tokens = 200000

[session]
queue = 'collectt'
tool_rounds = \"25\"

[telegram]
allow_from = [1, \"@someone\"]
streaming = 'atuo'

[log]
verbosity = 3

[extra]
";
    assert_snapshot!(errors(text, &[]), @r#"
    error: unknown key `modle` in `[agents.main]`
     --> /etc/blufio/blufio.toml:2:1
      |
    2 | modle = "claude-sonnet-5-5"
      | ^^^^^
      = help: did you mean `model`?

    error: `agents.main.max_tokens` must be 1 to 128000 tokens, not 200000
     --> /etc/blufio/blufio.toml:3:14
      |
    3 | max_tokens = 200000
      |              ^^^^^^

    error: `session.queue` must be `followup`, `collect`, `interrupt` or `steer`, not `collectt`
     --> /etc/blufio/blufio.toml:6:9
      |
    6 | queue = 'collectt'
      |         ^^^^^^^^^^
      = help: did you mean `collect`?

    error: `session.tool_rounds` must be an integer, not a string
     --> /etc/blufio/blufio.toml:7:15
      |
    7 | tool_rounds = "25"
      |               ^^^^
      = help: write it without quotes

    error: `telegram.allow_from` cannot hold `@someone`: a username can change hands
      --> /etc/blufio/blufio.toml:10:18
       |
    10 | allow_from = [1, "@someone"]
       |                  ^^^^^^^^^^
       = help: write the person's numeric user id

    error: `telegram.streaming` must be `off`, `auto` or `edit`, not `atuo`
      --> /etc/blufio/blufio.toml:11:13
       |
    11 | streaming = 'atuo'
       |             ^^^^^^
       = help: did you mean `auto`?

    error: unknown key `verbosity` in `[log]`
      --> /etc/blufio/blufio.toml:14:1
       |
    14 | verbosity = 3
       | ^^^^^^^^^
       = help: known here: level, format

    error: unknown section or key `extra`
      --> /etc/blufio/blufio.toml:16:2
       |
    16 | [extra]
       |  ^^^^^
       = help: known here: storage, security, agents, anthropic, budget, session, tools, search, egress, notices, heartbeat, memory, telegram, transcription, gateway, retention, log
    "#);
}

#[test]
fn mistakes_in_variables() {
    let vars = [
        ("BLUFIO_AGENT__MAIN__MODEL", "x"),
        ("BLUFIO_LOG__LEVEL", "loud"),
        ("BLUFIO_MODEL__", "x"),
        ("BLUFIO_SESSION__TOOL_ROUNDS", "many"),
        ("BLUFIO_TELEGRAM__ALLOW_FROM", "7"),
        ("BLUFIO_TELEGRAM__RATE", "{}"),
        ("BLUFIO_TELEGRAM__TOKEN", "123456:hidden"),
        ("BLUFIO_X__Y", "1"),
        ("BLUFIO_telegram__enabled", "1"),
    ];
    assert_snapshot!(errors("", &vars), @r"
    error: `BLUFIO_AGENT__MAIN__MODEL` names no configuration key
    --> environment variable `BLUFIO_AGENT__MAIN__MODEL`
     = help: did you mean `BLUFIO_AGENTS__MAIN__MODEL`?

    error: `log.level` must be `error`, `warn`, `info`, `debug` or `trace`, not `loud`
    --> environment variable `BLUFIO_LOG__LEVEL`

    error: `BLUFIO_MODEL__` names no configuration key
    --> environment variable `BLUFIO_MODEL__`
     = help: a name is `BLUFIO_SECTION__KEY`, with two underscores for each dot

    error: `session.tool_rounds` must be an integer, not a string
    --> environment variable `BLUFIO_SESSION__TOOL_ROUNDS`

    error: `telegram.allow_from` must be a list of user ids, not an integer
    --> environment variable `BLUFIO_TELEGRAM__ALLOW_FROM`
     = help: write `[7]`

    error: `BLUFIO_TELEGRAM__RATE` names a section
    --> environment variable `BLUFIO_TELEGRAM__RATE`
     = help: set its keys one by one, as in `BLUFIO_TELEGRAM__RATE__MODE`

    error: `telegram.token` is a secret, and secrets are not configuration
    --> environment variable `BLUFIO_TELEGRAM__TOKEN`
     = help: remove it here, set the environment variable `TELEGRAM_BOT_TOKEN`, and replace the secret if others could read it

    error: `BLUFIO_X__Y` names no configuration key
    --> environment variable `BLUFIO_X__Y`
     = help: a name is `BLUFIO_SECTION__KEY`, with two underscores for each dot

    error: `BLUFIO_telegram__enabled` names no configuration key
    --> environment variable `BLUFIO_telegram__enabled`
     = help: did you mean `BLUFIO_TELEGRAM__ENABLED`?
    ");
}

#[test]
fn syntax_errors() {
    assert_snapshot!(errors("[telegram\nenabled = yes\n", &[]), @r"
    error: unclosed table, expected `]`
     --> /etc/blufio/blufio.toml:1:10
      |
    1 | [telegram
      |          ^
    ");
    assert_snapshot!(errors("[log]\nlevel = \"info", &[]), @r#"
    error: invalid basic string, expected `"`
     --> /etc/blufio/blufio.toml:2:14
      |
    2 | level = "info
      |              ^
    "#);
    assert_snapshot!(errors("[log]\nlevel = 'info'\nlevel = 'warn'\n", &[]), @r"
    error: duplicate key
     --> /etc/blufio/blufio.toml:3:1
      |
    3 | level = 'warn'
      | ^^^^^
    ");
}

#[test]
fn relations() {
    assert_snapshot!(errors("[telegram.rate]\nmode = 'off'\n", &[("BLUFIO_SESSION__LIVE_SESSIONS", "2")]), @r"
    error: `session.running_turns` must not be more than `session.live_sessions` (2)
     = help: each running turn needs its session in memory

    error: `telegram.rate.mode` may be `off` only with a loopback `telegram.api_root`
     --> /etc/blufio/blufio.toml:2:8
      |
    2 | mode = 'off'
      |        ^^^^^
      = help: remove the line; Telegram blocks bots that send too fast
    ");
}

#[test]
fn warned_about() {
    let text = "[telegram]\nallow_from = [1, 2]\n";
    let vars =
        [("BLUFIO_LOG_FORMAT", "json"), ("BLUFIO_LOG", "warn"), ("BLUFIO_LOG__LEVEL", "debug"), ("BLUFIO_OTHER", "1")];
    assert_snapshot!(warnings(text, &vars), @r"
    warning: `BLUFIO_LOG_FORMAT` is not read
    --> environment variable `BLUFIO_LOG_FORMAT`
     = help: did you mean `BLUFIO_LOG__FORMAT`?

    warning: `BLUFIO_LOG__LEVEL` is not read, since `BLUFIO_LOG` is set too
    --> environment variable `BLUFIO_LOG__LEVEL`

    warning: `telegram.allow_from` lists several people, but nobody is an owner
     --> /etc/blufio/blufio.toml:2:14
      |
    2 | allow_from = [1, 2]
      |              ^^^^^^
      = help: set `telegram.owners`; until then notices go to the log only
    ");
    assert_snapshot!(warnings("telegram.dm_policy = 'allowlist'", &[]), @r"
    warning: `telegram.dm_policy` is `allowlist`, but `telegram.allow_from` and `telegram.owners` are empty
     --> /etc/blufio/blufio.toml:1:22
      |
    1 | telegram.dm_policy = 'allowlist'
      |                      ^^^^^^^^^^^
      = help: until somebody is listed, only people who were paired before may speak
    ");
    assert_eq!(
        warnings("telegram.dm_policy = 'allowlist'\ntelegram.owners = [4]", &[]),
        "",
        "an owner may always speak"
    );
    assert_eq!(warnings("", &[]), "");
}

#[test]
fn secrets_are_refused_and_never_printed() {
    const TOKEN: &str = "1234567890:AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQr";
    const KEY: &str = "sk-ant-api03-abcdefghijklmnopqrstuvwxyz";
    for text in [
        format!("[telegram]\ntoken = \"{TOKEN}\"\n"),
        format!("telegram = {{ enabled = true, bot_token = '{TOKEN}' }}"),
        format!("telegram.token = {TOKEN}"),
        format!("telegram.api_root = 'https://api.telegram.org/bot{TOKEN}'"),
        format!("gateway.listen = '{TOKEN}'"),
        format!("anthropic.api_key = '{KEY}'"),
        format!("agents.main.effort = '{KEY}'"),
        format!("agents.main.model = '{KEY} '"),
        format!("anthropic.base_url = 'https://{KEY}@host'"),
        format!("telegram.webhook_secret = '{KEY}'"),
        format!("telegram.webhook_url = 'https://{KEY}@host/telegram-webhook'"),
        format!("transcription.api_key = '{KEY}'"),
        format!("telegram.groups.-5.token = '{TOKEN}'"),
        format!("telegram.mention_patterns = ['{TOKEN}(']"),
        format!("password = 'x{KEY}"),
    ] {
        let printed = errors(&text, &[]);
        assert!(!printed.contains("AAbb") && !printed.contains("abcdef"), "{printed}");
    }
    for (key, variable) in [
        ("telegram.bot_token", "TELEGRAM_BOT_TOKEN"),
        ("telegram.webhook_secret", "TELEGRAM_WEBHOOK_SECRET"),
        ("anthropic.api_key", "ANTHROPIC_API_KEY"),
        ("transcription.api_key", "TRANSCRIPTION_API_KEY"),
        ("search.api_key", "SEARCH_API_KEY"),
    ] {
        let printed = errors(&format!("{key} = 'x'"), &[]);
        assert!(printed.contains("is a secret") && printed.contains(&format!("`{variable}`")), "{printed}");
    }
    let printed = errors("", &[("BLUFIO_ANTHROPIC__API_KEY", KEY), ("BLUFIO_LOG__LEVEL", TOKEN)]);
    assert!(!printed.contains("AAbb") && !printed.contains("abcdef"), "{printed}");
    assert_snapshot!(errors("[telegram]\nenabled = true\ntoken = \"12345:secret\"\n", &[]), @r"
    error: `telegram.token` is a secret, and secrets are not configuration
     --> /etc/blufio/blufio.toml:3:1
      |
    3 | token = …
      | ^^^^^
      = help: remove it here, set the environment variable `TELEGRAM_BOT_TOKEN`, and replace the secret if others could read it
    ");
}

#[test]
fn excerpts_are_safe_to_print() {
    let escape = errors("log.level = '\u{1b}[2J\u{202e}'", &[("BLUFIO_X__\u{1b}[2J", "1")]);
    assert!(!escape.contains(['\u{1b}', '\u{202e}']), "{escape:?}");
    let long = format!("log = {{ {}level = 'wide', format = 'text' }}{}", " ".repeat(500), " ".repeat(500));
    assert_snapshot!(errors(&long, &[]), @r"
    error: `log.level` must be `error`, `warn`, `info`, `debug` or `trace`, not `wide`
     --> /etc/blufio/blufio.toml:1:517
      |
    1 |                                 level = 'wide', format = 'text' }
      |                                         ^^^^^^
    ");
    let whole = "x = 'ü\u{3000}'\r\n";
    for (end, _) in whole.char_indices().skip(1) {
        errors(&whole[..end], &[]);
    }
}
