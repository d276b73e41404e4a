//! Groups, the webhook, and the keys with forms of their own.

use std::collections::{BTreeMap, BTreeSet};

use insta::assert_snapshot;

use super::{errors, read, warnings};
use crate::config::groups::{GROUPS_MAX, TOPICS_MAX};
use crate::config::resolved::{
    Config, ErrorPolicy, Group, IpFamily, Listen, Mode, Queue, QuietHours, Topic, Transcription,
};
use crate::config::shapes::{PATTERN_BYTES_MAX, PATTERNS_MAX, REACTIONS, TOOLS_MAX};

fn config(text: &str) -> Config {
    read(text, &[]).map_err(|errors| errors.to_string()).unwrap().config
}

fn group() -> Group {
    Group {
        enabled: true,
        require_mention: true,
        allow_from: BTreeSet::new(),
        history_limit: 50,
        topics: BTreeMap::new(),
    }
}

fn topic() -> Topic {
    Topic { enabled: None, require_mention: None, allow_from: None, history_limit: None }
}

// ── groups ─────────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn groups_with_their_defaults() {
    let text = "\
telegram.allow_from = [9]
[telegram.groups.-1001234567890]
require_mention = false
allow_from = [7, 'tg:8']
[telegram.groups.-1001234567890.topics.5]
[telegram.groups.-1001234567890.topics.6]
enabled = false
require_mention = true
allow_from = []
history_limit = 500
[telegram.groups.-5]
";
    let topics = BTreeMap::from([
        (5, topic()),
        (
            6,
            Topic {
                enabled: Some(false),
                require_mention: Some(true),
                allow_from: Some(BTreeSet::new()),
                history_limit: Some(500),
            },
        ),
    ]);
    let large = Group { require_mention: false, allow_from: BTreeSet::from([7, 8]), topics, ..group() };
    let expect = BTreeMap::from([(-1_001_234_567_890, large), (-5, group())]);
    assert_eq!(config(text).telegram.groups, expect);

    let inline = "{ -5 = {}, \"-1001234567890\" = { require_mention = false, allow_from = [7, 8], topics = { 5 = {}, \
                  6 = { enabled = false, require_mention = true, allow_from = [], history_limit = 500 } } } }";
    let by_variable = read("telegram.allow_from = [9]", &[("BLUFIO_TELEGRAM__GROUPS", inline)]).unwrap();
    assert_eq!(by_variable.config.telegram.groups, expect);
}

#[test]
fn mistakes_in_groups() {
    // One at a time: of a value only the first mistake is told.
    let mistakes = |lines: &[&str]| {
        let printed: Vec<String> =
            lines.iter().map(|line| errors(&format!("[telegram.groups]\n{line}\n"), &[])).collect();
        printed.join("\n\n")
    };
    assert_snapshot!(mistakes(&[
        "1001234567890 = {}",
        "\"*\" = {}",
        "\"@name\" = {}",
        "require_mention = false",
        "-5 = true",
        "-5 = { requir_mention = false }",
        "-5 = { enabled = true, topics.7.topics.8 = {} }",
        "-5.allow_from = [1, '@name']",
        "-5.topics.7.history_limit = 501",
        "-5.topics.general = {}",
        "-5.topics = [7]",
    ]), @r#"
    error: `telegram.groups` cannot hold 1001234567890: the ids of groups are negative
     --> /etc/blufio/blufio.toml:2:1
      |
    2 | 1001234567890 = {}
      | ^^^^^^^^^^^^^
      = help: write `-1001234567890` if this is a group; people are listed in `allow_from`

    error: `telegram.groups` cannot hold `*`: groups are served one by one
     --> /etc/blufio/blufio.toml:2:1
      |
    2 | "*" = {}
      | ^^^
      = help: write `[telegram.groups.-1001234567890]`, with the group's chat id

    error: `telegram.groups` cannot hold `@name`: a name can change hands
     --> /etc/blufio/blufio.toml:2:1
      |
    2 | "@name" = {}
      | ^^^^^^^
      = help: write `[telegram.groups.-1001234567890]`, with the group's chat id

    error: `telegram.groups` has `require_mention` outside of a group
     --> /etc/blufio/blufio.toml:2:1
      |
    2 | require_mention = false
      | ^^^^^^^^^^^^^^^
      = help: write `[telegram.groups.-1001234567890]`, with the group's chat id

    error: `telegram.groups.-5` must be a section, not a boolean
     --> /etc/blufio/blufio.toml:2:6
      |
    2 | -5 = true
      |      ^^^^
      = help: write its fields, as in `{ enabled = true }`

    error: `telegram.groups.-5` has an unknown key `requir_mention`
     --> /etc/blufio/blufio.toml:2:8
      |
    2 | -5 = { requir_mention = false }
      |        ^^^^^^^^^^^^^^
      = help: did you mean `require_mention`?

    error: `telegram.groups.-5.topics.7` has an unknown key `topics`
     --> /etc/blufio/blufio.toml:2:33
      |
    2 | -5 = { enabled = true, topics.7.topics.8 = {} }
      |                                 ^^^^^^
      = help: known here: enabled, require_mention, allow_from, history_limit

    error: `telegram.groups.-5.allow_from` cannot hold `@name`: a username can change hands
     --> /etc/blufio/blufio.toml:2:21
      |
    2 | -5.allow_from = [1, '@name']
      |                     ^^^^^^^
      = help: write the person's numeric user id

    error: `telegram.groups.-5.topics.7.history_limit` must be 0 to 500 messages, not 501
     --> /etc/blufio/blufio.toml:2:29
      |
    2 | -5.topics.7.history_limit = 501
      |                             ^^^

    error: `telegram.groups.-5.topics` cannot hold `general`, which is not the id of a topic
     --> /etc/blufio/blufio.toml:2:11
      |
    2 | -5.topics.general = {}
      |           ^^^^^^^
      = help: write a positive number, as in `topics.7`; 1 is the general topic

    error: `telegram.groups.-5.topics` must be a table of topics, not a list
     --> /etc/blufio/blufio.toml:2:13
      |
    2 | -5.topics = [7]
      |             ^^^
      = help: write `topics.7 = { require_mention = false }`, with the topic's thread id
    "#);
    assert_snapshot!(errors("[telegram.groups.-5.topics.7]\nrequire_mention = 'no'\n", &[]), @r"
    error: `telegram.groups.-5.topics.7.require_mention` must be a boolean, not a string
     --> /etc/blufio/blufio.toml:2:19
      |
    2 | require_mention = 'no'
      |                   ^^^^
      = help: write it without quotes
    ");
    assert_snapshot!(errors("telegram.groups = []", &[]), @r"
    error: `telegram.groups` must be a table of groups, not a list
     --> /etc/blufio/blufio.toml:1:19
      |
    1 | telegram.groups = []
      |                   ^^
      = help: name each by its chat id, as in `{ -1001234567890 = {} }`
    ");
    assert_snapshot!(errors("", &[("BLUFIO_TELEGRAM__GROUPS", "{ -5 = { enabled = 1 } }")]), @r"
    error: `telegram.groups.-5.enabled` must be a boolean, not an integer
    --> environment variable `BLUFIO_TELEGRAM__GROUPS`
    ");
    assert_snapshot!(errors("", &[("BLUFIO_TELEGRAM__GROUPS", "-5")]), @r"
    error: `telegram.groups` must be a table of groups, not an integer
    --> environment variable `BLUFIO_TELEGRAM__GROUPS`
     = help: name each by its chat id, as in `{ -1001234567890 = {} }`
    ");
}

#[test]
fn refused_ids() {
    for id in
        ["0", "-0", "-05", "\"+5\"", "\" -5\"", "-4503599627370496", "4503599627370496", "9999999999999999999", "x"]
    {
        errors(&format!("telegram.groups.{id} = {{}}"), &[]);
    }
    assert_eq!(config("telegram.groups.-4503599627370495 = { allow_from = [1] }").telegram.groups.len(), 1);
    for id in ["-5", "0", "05", "9223372036854775808", "x"] {
        errors(&format!("telegram.groups.-5.topics.{id} = {{}}"), &[]);
    }
    config("telegram.groups.-5.topics.9223372036854775807 = { allow_from = [1] }");
}

#[test]
fn as_many_groups_and_topics_as_allowed() {
    let many = |count: usize, line: fn(usize) -> String| (1..=count).map(line).collect::<String>();
    let groups = |count| many(count, |id| format!("telegram.groups.-{id} = {{}}\n"));
    assert_eq!(config(&groups(GROUPS_MAX)).telegram.groups.len(), GROUPS_MAX);
    assert!(errors(&groups(GROUPS_MAX + 1), &[]).contains("must have at most 1000 groups, not 1001"));
    let topics = |count| many(count, |id| format!("telegram.groups.-5.topics.{id} = {{}}\n"));
    assert_eq!(config(&topics(TOPICS_MAX)).telegram.groups[&-5].topics.len(), TOPICS_MAX);
    assert!(errors(&topics(TOPICS_MAX + 1), &[]).contains("must have at most 1000 topics, not 1001"));
}

#[test]
fn groups_in_which_nobody_may_speak() {
    let served = "[telegram.groups.-5]\n";
    assert_snapshot!(warnings(served, &[]), @r"
    warning: `telegram.groups` serves -5, but nobody may speak there
     --> /etc/blufio/blufio.toml:1:11
      |
    1 | [telegram.groups.-5]
      |           ^^^^^^
      = help: list people in `telegram.group_allow_from`; owners and pairings do not count in groups
    ");
    for heard in [
        "telegram.allow_from = [1]\n[telegram.groups.-5]",
        "telegram.group_allow_from = [1]\n[telegram.groups.-5]",
        "[telegram.groups.-5]\nallow_from = [1]",
        "[telegram.groups.-5]\ntopics.7.allow_from = [1]",
        "[telegram.groups.-5]\nenabled = false",
    ] {
        assert_eq!(warnings(heard, &[]), "", "{heard}");
    }
}

#[test]
fn patterns() {
    let telegram = config(r"telegram.mention_patterns = ['(?i)\bblufio\b', 'hey']").telegram;
    assert_eq!(telegram.mention_patterns, [r"(?i)\bblufio\b", "hey"]);
    assert_snapshot!(errors(r"telegram.mention_patterns = ['fine', '(name']", &[]), @r"
    error: `telegram.mention_patterns` holds a pattern that cannot be used: unclosed group
     --> /etc/blufio/blufio.toml:1:38
      |
    1 | telegram.mention_patterns = ['fine', '(name']
      |                                      ^^^^^^^
      = help: in single quotes a backslash needs no second one, as in `'(?i)\bname\b'`
    ");
    assert_snapshot!(errors(r"telegram.mention_patterns = ['name|']", &[]), @r"
    error: `telegram.mention_patterns` holds a pattern that matches the empty text, so every message would be a mention
     --> /etc/blufio/blufio.toml:1:30
      |
    1 | telegram.mention_patterns = ['name|']
      |                              ^^^^^^^
      = help: for that set `require_mention = false` in the group
    ");
    assert_snapshot!(errors("telegram.mention_patterns = 'name'", &[]), @r"
    error: `telegram.mention_patterns` must be a list of strings, not a string
     --> /etc/blufio/blufio.toml:1:29
      |
    1 | telegram.mention_patterns = 'name'
      |                             ^^^^^^
      = help: put it in brackets, as in `['…']`
    ");
    let reason = |pattern: &str| errors(&format!("telegram.mention_patterns = ['{pattern}']"), &[]);
    assert!(reason(r"(?=look)").contains("look-around"), "{}", reason("(?=look)"));
    assert!(reason(r"\w{900}").contains("1048576 bytes"), "{}", reason(r"\w{900}"));
    reason(&"x".repeat(PATTERN_BYTES_MAX + 1));
    errors("telegram.mention_patterns = [5]", &[]);
    let many = |count| format!("telegram.mention_patterns = {:?}", vec!["x".repeat(PATTERN_BYTES_MAX); count]);
    config(&many(PATTERNS_MAX));
    errors(&many(PATTERNS_MAX + 1), &[]);
}

// ── the webhook ────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn webhook_mode_has_all_it_needs() {
    let text = "telegram.mode = 'webhook'\ntelegram.webhook_url = 'https://Bot.example.org:8443/telegram-webhook'";
    let Mode::Webhook(webhook) = config(text).telegram.mode else { panic!("not the webhook") };
    assert_eq!(webhook.url, "https://bot.example.org:8443/telegram-webhook");
    assert!(errors("telegram.webhook_url = 'https://bot.example.org:8420/telegram-webhook'", &[]).contains("8420"));
    let unused = config("telegram.webhook_url = 'https://bot.example.org/telegram-webhook'");
    assert_eq!(unused.telegram.mode, Mode::Polling);
    assert_snapshot!(errors("[telegram]\nmode = 'webhook'\n[gateway]\nlisten = 'off'", &[]), @r#"
    error: `telegram.mode` is `webhook`, but `telegram.webhook_url` is not set
     --> /etc/blufio/blufio.toml:2:8
      |
    2 | mode = 'webhook'
      |        ^^^^^^^^^
      = help: set `telegram.webhook_url = "https://your.host/telegram-webhook"`, where Telegram reaches the gateway

    error: `telegram.mode` is `webhook`, but `gateway.listen` is `off`
     --> /etc/blufio/blufio.toml:2:8
      |
    2 | mode = 'webhook'
      |        ^^^^^^^^^
      = help: set `gateway.listen = "127.0.0.1:8420"`: what Telegram sends comes in through the gateway
    "#);
    assert_snapshot!(errors("[telegram]\nwebhook_url = 'https://bot.example.org/hook'\n", &[]), @r"
    error: `telegram.webhook_url` must end in `/telegram-webhook`, right after host and port
     --> /etc/blufio/blufio.toml:2:15
      |
    2 | webhook_url = 'https://bot.example.org/hook'
      |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: write `https://your.host/telegram-webhook`
    ");
}

#[test]
fn addresses_of_the_webhook() {
    for refused in [
        "",
        "/telegram-webhook",
        "https://bot.example.org",
        "https://bot.example.org/telegram-webhook/",
        "https://bot.example.org/telegram-webhook?x=1",
        "https://bot.example.org/below/telegram-webhook",
        "https://bot.example.org//telegram-webhook",
        "http://bot.example.org/telegram-webhook",
        "http://127.0.0.1/telegram-webhook",
        "https://user:word@bot.example.org/telegram-webhook",
        "https:///telegram-webhook",
    ] {
        errors(&format!("telegram.webhook_url = '{refused}'"), &[]);
    }
}

// ── the rest ───────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn what_holds_when_nothing_is_set() {
    let config = config("");
    let telegram = &config.telegram;
    assert_eq!(
        (&telegram.mode, telegram.ip_family, telegram.error_policy),
        (&Mode::Polling, IpFamily::Auto, ErrorPolicy::Once)
    );
    assert!(telegram.groups.is_empty() && telegram.group_allow_from.is_empty() && telegram.mention_patterns.is_empty());
    assert_eq!((&telegram.reaction_ack, telegram.rate.unwrap().group_per_min), (&None, 20));
    assert_eq!((config.session.queue, config.agent.timezone), (Queue::Followup, None));
    assert_eq!((config.notices.quiet_hours, config.transcription, config.tools.ask), (None, None, BTreeSet::new()));
    assert_eq!(
        (config.keep_attachments_days, config.gateway_listen),
        (30, Listen::At("127.0.0.1:8420".parse().unwrap()))
    );
}

#[test]
fn every_way_to_queue() {
    for (word, queue) in [
        ("followup", Queue::Followup),
        ("collect", Queue::Collect),
        ("interrupt", Queue::Interrupt),
        ("steer", Queue::Steer),
    ] {
        assert_eq!(config(&format!("session.queue = '{word}'")).session.queue, queue);
    }
}

#[test]
fn quiet_hours() {
    let read = |text: &str| config(&format!("notices.quiet_hours = '{text}'")).notices.quiet_hours;
    assert_eq!(read(""), None);
    assert_eq!(read("22:00-07:00"), Some(QuietHours { from_minute: 1320, to_minute: 420 }));
    assert_eq!(read("00:00-23:59"), Some(QuietHours { from_minute: 0, to_minute: 1439 }));
    for refused in
        ["22-7", "22:00", "7:00-8:00", "24:00-07:00", "22:60-07:00", "22:00 - 07:00", "+2:00-07:00", "22:00-07:00-"]
    {
        errors(&format!("notices.quiet_hours = '{refused}'"), &[]);
    }
    assert_snapshot!(errors("notices.quiet_hours = '10pm-7am'", &[]), @r"
    error: `notices.quiet_hours` must be two times of the day, not `10pm-7am`
     --> /etc/blufio/blufio.toml:1:23
      |
    1 | notices.quiet_hours = '10pm-7am'
      |                       ^^^^^^^^^^
      = help: write `22:00-07:00`, or nothing for no quiet hours
    ");
    assert_snapshot!(errors("notices.quiet_hours = '07:00-07:00'", &[]), @r"
    error: `notices.quiet_hours` must end at another time than it starts
     --> /etc/blufio/blufio.toml:1:23
      |
    1 | notices.quiet_hours = '07:00-07:00'
      |                       ^^^^^^^^^^^^^
      = help: leave it empty for no quiet hours
    ");
}

#[test]
fn reactions() {
    let read = |text: &str| config(&format!("telegram.reaction_ack = '{text}'")).telegram.reaction_ack;
    assert_eq!(read(""), None);
    assert_eq!(REACTIONS.split(' ').count(), 73);
    for emoji in REACTIONS.split(' ') {
        assert_eq!(read(emoji).as_deref(), Some(emoji));
    }
    assert_eq!(read("❤\u{fe0f}").as_deref(), Some("❤"), "as keyboards write it");
    assert_eq!(read("❤\u{fe0f}\u{200d}🔥").as_deref(), Some("❤\u{200d}🔥"));
    for refused in ["👀👀", "👀 ", "x", "👍🏽", "🦀", "\u{fe0f}"] {
        errors(&format!("telegram.reaction_ack = '{refused}'"), &[]);
    }
    assert_snapshot!(errors("telegram.reaction_ack = '🦀'", &[]), @r"
    error: `telegram.reaction_ack` must be one emoji that bots may react with, not `🦀`
     --> /etc/blufio/blufio.toml:1:25
      |
    1 | telegram.reaction_ack = '🦀'
      |                         ^^^
      = help: write `👀` or `👍`, or nothing for no reaction; the reference page has the list
    ");
}

#[test]
fn the_way_out() {
    let out = config(
        "search.url = 'https://search.example/'\negress.allow_private = ['NAS.lan:8443', '[::1]:80', '10.0.0.1:1']",
    );
    assert_eq!(out.search.unwrap().as_str(), "https://search.example");
    let places: Vec<&str> = out.allow_private.iter().map(|place| place.0.as_str()).collect();
    assert_eq!(places, ["10.0.0.1:1", "[::1]:80", "nas.lan:8443"]);
    assert!(out.tools.web_fetch && config("").search.is_none() && config("").allow_private.is_empty());
    assert!(!config("tools.web_fetch = false").tools.web_fetch);
    for refused in [
        "nas",
        "nas:",
        "nas:0",
        "nas:99999",
        "*:80",
        "*.lan:80",
        "http://nas:80",
        "nas:80/",
        "a@nas:80",
        "::1",
        "[::1]",
        "1.2.3:4",
        "0x7f.1:80",
        "",
    ] {
        errors(&format!("egress.allow_private = ['{refused}']"), &[]);
    }
    errors("egress.allow_private = 'nas:80'", &[]);
    errors("search.url = 'http://search.example'", &[]);
}

#[test]
fn names_of_tools_and_zones() {
    let asked = config("tools.ask = ['shell', 'send_file', 'shell']").tools.ask;
    assert_eq!(asked, BTreeSet::from(["shell".to_owned(), "send_file".to_owned()]));
    for refused in ["['']", "['a b']", "['*']", "[1]", "'shell'"] {
        errors(&format!("tools.ask = {refused}"), &[]);
    }
    let many = |count, length| format!("tools.ask = {:?}", vec!["x".repeat(length); count]);
    config(&many(TOOLS_MAX, 64));
    errors(&many(TOOLS_MAX + 1, 64), &[]);
    errors(&many(1, 65), &[]);
    assert_snapshot!(errors("tools.ask = ['shell', '*']", &[]), @r"
    error: `tools.ask` cannot hold `*`, which is not the name of a tool
     --> /etc/blufio/blufio.toml:1:23
      |
    1 | tools.ask = ['shell', '*']
      |                       ^^^
      = help: a name has 1 to 64 of `A-Z a-z 0-9 _ -`; all tools cannot be named at once
    ");

    let zone = |text: &str| config(&format!("agents.main.timezone = '{text}'")).agent.timezone;
    for name in ["UTC", "America/Argentina/Buenos_Aires", "Etc/GMT+5"] {
        assert_eq!(zone(name).as_deref(), Some(name));
    }
    for refused in ["".to_owned(), "Central Europe".to_owned(), "../etc/passwd".to_owned(), "x".repeat(65)] {
        errors(&format!("agents.main.timezone = '{refused}'"), &[]);
    }
}

#[test]
fn speech() {
    let text = "transcription = { url = 'http://127.0.0.1:9000/', language = 'de' }";
    let Some(Transcription { url, model, language }) = config(text).transcription else { panic!("off") };
    assert_eq!((url.as_str(), model.as_str(), language.as_deref()), ("http://127.0.0.1:9000", "whisper-1", Some("de")));
    errors("transcription.url = 'http://example.org'", &[]);
    errors("transcription.model = ''", &[]);
    errors("transcription.language = 'a language of many'", &[]);
}

#[test]
fn a_file_fits_among_all_files() {
    assert_snapshot!(errors("[storage]\nattachments_max_mb = 16\n", &[]), @r"
    error: `storage.attachments_max_mb` must be at least `telegram.media_max_mb` (20)
     --> /etc/blufio/blufio.toml:2:22
      |
    2 | attachments_max_mb = 16
      |                      ^^
      = help: otherwise there is a file that can arrive and not be kept
    ");
    let config = config("storage.attachments_max_mb = 16\ntelegram.media_max_mb = 16");
    assert_eq!((config.attachments_bytes_max, config.telegram.media_bytes_max), (16 << 20, 16 << 20));
}
