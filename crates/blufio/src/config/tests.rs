//! Configuration from the outside: text and variables in, a configuration or printed errors out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use insta::assert_snapshot;
use serde_json::Value;

use super::diagnostic::ConfigErrors;
use super::keys::{CONFIG_FILE_BYTES_MAX, DefaultValue, KEYS, Key};
use super::kind::Kind;
use super::load::{load, load_located};
use super::resolved::Listen;
use super::show::{ShowFormat, render_reference, render_show};
use super::sources::{CandidateState, ConfigFile, Located};
use super::{Environment, Loaded, Origin, Overrides};

mod messages;
mod telegram;

fn environment(vars: &[(&str, &str)]) -> Environment {
    let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Environment { vars, cwd: PathBuf::from("/somewhere"), home: Some(PathBuf::from("/home/user")) }
}

fn read(text: &str, vars: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
    let file = ConfigFile { path: PathBuf::from("/etc/blufio/blufio.toml"), text: text.to_owned() };
    let located = Located { candidates: Vec::new(), file: Some(file) };
    load_located(located, &Overrides::default(), &environment(vars))
}

/// The errors as printed.
fn errors(text: &str, vars: &[(&str, &str)]) -> String {
    read(text, vars).expect_err("accepted").to_string()
}

/// The warnings as printed.
fn warnings(text: &str, vars: &[(&str, &str)]) -> String {
    ConfigErrors(read(text, vars).unwrap().warnings).to_string()
}

/// A value other than the default, as TOML.
fn sample(key: &Key) -> String {
    match key.kind {
        Kind::Boolean => "true".to_owned(),
        Kind::Integer { min, max, .. } => (if key.default_is(&max.to_string()) { min } else { max }).to_string(),
        Kind::Text { .. } | Kind::Model { .. } => r#""other""#.to_owned(),
        Kind::Path => format!(r#""/other/{}""#, key.name()),
        Kind::Choice { values } => {
            let other = values.iter().find(|value| !key.default_is(&format!("\"{value}\"")));
            format!("\"{}\"", other.unwrap_or(&values[0]))
        }
        Kind::Users => r#"[7, "tg:8"]"#.to_owned(),
        Kind::Groups => {
            "{ -1001234567890 = { allow_from = [7], topics = { 5 = { history_limit = 0 } } }, -5 = {} }".to_owned()
        }
        Kind::Patterns => r"['(?i)\bblufio\b', 'hey\s+you']".to_owned(),
        Kind::ToolNames => r#"["shell", "send_file"]"#.to_owned(),
        Kind::Places => r#"["10.0.0.1:80", "printer.lan:631"]"#.to_owned(),
        Kind::Endpoint { .. } => r#""http://127.0.0.1:1""#.to_owned(),
        Kind::WebhookUrl => r#""https://bot.example.org:8443/telegram-webhook""#.to_owned(),
        Kind::Reaction => r#""❤\u200D🔥""#.to_owned(),
        Kind::Timezone => r#""Europe/Berlin""#.to_owned(),
        Kind::QuietHours => r#""22:00-07:00""#.to_owned(),
        Kind::Dollars => r#""1.25""#.to_owned(),
        Kind::Listen => r#""[::1]:0""#.to_owned(),
    }
}

impl Key {
    fn default_is(&self, toml: &str) -> bool {
        matches!(self.default, DefaultValue::Toml(value) if value == toml)
    }
}

/// A file that sets every key.
fn every_key() -> String {
    KEYS.iter().map(|key| format!("{} = {}\n", key.path, sample(key))).collect()
}

// ── the table ──────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn table_and_raw_form_have_the_same_keys() {
    // Defaults go through the raw form here, too: a field that the table lacks would be missing.
    read("", &[]).unwrap();
    let raw: super::raw::Raw = toml::from_str(&every_key()).unwrap();
    let raw = serde_json::to_value(raw).unwrap();
    let mut fields = BTreeSet::new();
    collect("", &raw, &mut fields);
    let table: BTreeSet<String> = KEYS.iter().map(|key| key.path.to_owned()).collect();
    assert_eq!(fields, table);
    assert_eq!(table.len(), KEYS.len(), "a path stands twice in the table");
}

fn collect(path: &str, value: &Value, fields: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) if !KEYS.iter().any(|key| key.path == path) => {
            for (name, value) in members {
                let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                collect(&below, value, fields);
            }
        }
        _ => drop(fields.insert(path.to_owned())),
    }
}

#[test]
fn every_key_can_be_set_by_file_and_by_variable() {
    let whole = read(&every_key(), &[]).unwrap();
    for (index, key) in KEYS.iter().enumerate() {
        let by_file = &whole.settings[key.path];
        assert!(matches!(by_file.origin, Origin::File { line, .. } if line == index + 1), "{}: {by_file:?}", key.path);

        let variable = key.variable();
        // One at a time; `off` needs its loopback server and `webhook` its address, as in the file.
        let needed = "telegram = { api_root = 'http://127.0.0.1:9', webhook_url = 'https://h/telegram-webhook' }";
        let by_variable = read(needed, &[(&variable, &sample(key))]).unwrap();
        let by_variable = &by_variable.settings[key.path];
        assert_eq!(by_variable.origin, Origin::Variable(variable));
        assert_eq!(by_variable.value, by_file.value, "{}", key.path);
    }
}

#[test]
fn table_is_in_order() {
    let mut sections: Vec<&str> = KEYS.iter().map(Key::section).collect();
    sections.dedup();
    let distinct: BTreeSet<&str> = sections.iter().copied().collect();
    assert_eq!(sections.len(), distinct.len(), "a section is split: {sections:?}");
    for key in KEYS {
        assert!(key.doc.ends_with('.'), "{} has no sentence", key.path);
        if let DefaultValue::Toml(text) = key.default {
            key.kind.check(&text.parse().unwrap()).unwrap();
        }
    }
}

#[test]
fn limits_are_inclusive() {
    for key in KEYS {
        let Kind::Integer { min, max, .. } = key.kind else { continue };
        let accepts = |number: i64| key.kind.check(&toml::Value::Integer(number)).is_ok();
        assert_eq!([min - 1, min, max, max + 1].map(accepts), [false, true, true, false], "{}", key.path);
    }
}

#[test]
fn defaults_are_the_limits_of_the_core() {
    use blufio_core::limits;
    let session = read("", &[]).unwrap().config.session;
    assert_eq!(session.turn_deadline, limits::TURN_DEADLINE);
    assert_eq!(session.tool_rounds, limits::TOOL_ROUNDS_MAX);
    assert_eq!(session.running_turns, limits::RUNNING_TURNS_MAX);
    assert_eq!(session.live_sessions, limits::LIVE_SESSIONS_MAX);
    assert_eq!(session.pending_messages, limits::SESSION_PENDING_MAX);
    let config = read("", &[]).unwrap().config;
    assert_eq!(config.telegram.media_bytes_max, limits::ATTACHMENT_BYTES_MAX);
    assert_eq!(config.attachments_bytes_max, limits::ATTACHMENTS_BYTES_MAX);
}

#[test]
fn reference_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = render_reference();
    #[expect(clippy::disallowed_methods, reason = "a switch of this test, not of the program")]
    let bless = std::env::var("BLUFIO_BLESS").is_ok_and(|value| value == "1");
    if bless {
        fs::write(&path, &page).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), page, "run the tests once with BLUFIO_BLESS=1");
}

// ── values ─────────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn nothing_set_gives_the_defaults() {
    let config = load_located(Located { candidates: Vec::new(), file: None }, &Overrides::default(), &environment(&[]));
    let config = config.unwrap().config;
    let data_dir = if cfg!(target_os = "macos") {
        Path::new("/home/user/Library/Application Support/blufio")
    } else {
        Path::new("/home/user/.local/share/blufio")
    };
    assert_eq!(config.data_dir, data_dir);
    assert_eq!(config.agent.workspace, data_dir.join("workspace"));
    assert_eq!(config.agent.model, "claude-sonnet-5-5");
    assert_eq!(config.agent.fallback_model.as_deref(), Some("claude-opus-5-5"));
    assert_eq!(config.gateway_listen, Listen::At("127.0.0.1:8420".parse().unwrap()));
    assert_eq!(config.keep_messages_days, None);
    assert_eq!([false, true].map(|has_token| config.telegram.is_enabled(has_token)), [false, true]);
    assert!(config.telegram.allow_from.is_empty() && config.telegram.owners.is_empty());
}

#[test]
fn data_directory_sources_in_order() {
    let file = "storage.data_dir = 'from-file'";
    let check = |text: &str, vars: &[(&str, &str)], option: Option<&str>, expect: &str| {
        let file = ConfigFile { path: PathBuf::from("/etc/blufio/blufio.toml"), text: text.to_owned() };
        let cli = Overrides { data_dir: option.map(PathBuf::from), ..Overrides::default() };
        let located = Located { candidates: Vec::new(), file: Some(file) };
        let loaded = load_located(located, &cli, &environment(vars)).unwrap();
        assert_eq!(loaded.config.data_dir, Path::new(expect), "{text} {vars:?} {option:?}");
        assert_eq!(loaded.config.agent.workspace, Path::new(expect).join("workspace"));
    };
    let (short, long) = (("BLUFIO_DATA_DIR", "~/short"), ("BLUFIO_STORAGE__DATA_DIR", "long"));
    check(file, &[short, long], Some("./here"), "/somewhere/here");
    check(file, &[short, long], None, "/home/user/short");
    check(file, &[long], None, "/somewhere/long");
    check(file, &[("BLUFIO_DATA_DIR", "")], None, "/etc/blufio/from-file");
    check("storage.data_dir = '~/in-file'", &[], None, "/home/user/in-file");
    let (state, xdg) = (("STATE_DIRECTORY", "/var/lib/blufio:/var/lib/other"), ("XDG_DATA_HOME", "/data"));
    check("", &[state, xdg], None, "/var/lib/blufio");
    check("", &[xdg], None, "/data/blufio");
    if !cfg!(target_os = "macos") {
        check("", &[("XDG_DATA_HOME", "relative")], None, "/home/user/.local/share/blufio");
    }
}

#[test]
fn without_a_home_directory() {
    let printed = |vars: &[(&str, &str)]| {
        let env = Environment { home: None, ..environment(vars) };
        let loaded = load_located(Located { candidates: Vec::new(), file: None }, &Overrides::default(), &env);
        loaded.map(|loaded| loaded.config.data_dir).map_err(|errors| errors.to_string())
    };
    assert_eq!(printed(&[("BLUFIO_DATA_DIR", "/d")]), Ok(PathBuf::from("/d")));
    assert_snapshot!(printed(&[]).unwrap_err(), @r"
    error: there is no home directory to keep data in
     = help: set `BLUFIO_DATA_DIR` or `--data-dir`
    ");
    assert_snapshot!(printed(&[("BLUFIO_DATA_DIR", "~/d")]).unwrap_err(), @r"
    error: `storage.data_dir` starts with `~`, but there is no home directory
    --> environment variable `BLUFIO_DATA_DIR`
     = help: write the whole path
    ");
}

#[test]
fn variables_win_over_the_file() {
    let text = "[agents.main]\nmodel = 'from-file'\nmax_tokens = 5\n";
    let vars = [("BLUFIO_AGENTS__MAIN__MODEL", "12345"), ("BLUFIO_TELEGRAM__ALLOW_FROM", "[3]"), ("UNRELATED__X", "1")];
    let config = read(text, &vars).unwrap().config;
    // A string is wanted, so the number is taken as text.
    assert_eq!((config.agent.model.as_str(), config.agent.max_tokens), ("12345", 5));
    assert_eq!(config.telegram.owners, BTreeSet::from([3]));
    let quoted = read("", &[("BLUFIO_AGENTS__MAIN__MODEL", "'quoted'")]).unwrap().config;
    assert_eq!(quoted.agent.model, "quoted");
}

#[test]
fn people() {
    let people = |text: &str| {
        let telegram = read(text, &[]).unwrap().config.telegram;
        (Vec::from_iter(telegram.allow_from), Vec::from_iter(telegram.owners))
    };
    assert_eq!(people("telegram.allow_from = [5, 'tg:6', 'telegram:7', '8', 5]"), (vec![5, 6, 7, 8], vec![]));
    assert_eq!(people("telegram.allow_from = ['tg:6', 6]\ntelegram.owners = []"), (vec![6], vec![6]));
    assert_eq!(people("telegram.allow_from = [6, 7]\ntelegram.owners = [7]"), (vec![6, 7], vec![7]));
    for refused in ["'@name'", "'tg:@name'", "'*'", "-5", "0", "'-5'", "'+5'", "''", "'5 '", "true", "1.0", "777000"] {
        errors(&format!("telegram.allow_from = [1, {refused}]"), &[]);
    }
    errors(&format!("telegram.allow_from = [{}]", 1_i64 << 52), &[]);
}

#[test]
fn refused_values() {
    for text in [
        "session.queue = 'drop'",
        "session.turn_deadline_s = 0",
        "session.turn_deadline_s = 7201",
        "session.turn_deadline_s = 1.0",
        "session.turn_deadline_s = 99999999999999999999",
        "session.live_sessions = 15",
        "agents.main.model = ''",
        "agents.main.model = 'two words'",
        "agents.main.workspace = ''",
        "agents.main.workspace = '~other/x'",
        "agents.main.workspace = '/home/user/.local'\nstorage.data_dir = '/home/user/.local/share/blufio'",
        "agents.main.workspace = '/x/y/..'\nstorage.data_dir = '/x'",
        "anthropic.base_url = 'http://example.org'",
        "telegram.api_root = 'https://api.telegram.org/bot'",
        "telegram.rate.mode = 'off'",
        "telegram.dm_policy = 'open'",
        "gateway.listen = '0.0.0.0:80'",
        "gateway.listen = 'localhost:80'",
        "gateway.listen = ''",
        "[[telegram]]",
        "telegram.rate = 'off'",
        "telegram = {}\n[telegram]",
        "agents.other.model = 'x'",
    ] {
        errors(text, &[]);
    }
    let long = format!("agents.main.instructions = '{}'", "x".repeat(16 * 1024 + 1));
    errors(&long, &[]);
    read(&long.replacen('x', "", 1), &[]).unwrap();
    let loopback = "telegram.rate.mode = 'off'\ntelegram.api_root = 'http://[::1]:5'\ngateway.listen = 'off'";
    let config = read(loopback, &[]).unwrap().config;
    assert_eq!((config.telegram.rate, config.gateway_listen), (None, Listen::Off));
}

// ── files ──────────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn first_file_that_exists_is_taken_whole() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    let cwd = directory.path().join("cwd");
    fs::create_dir_all(home.join(".config/blufio")).unwrap();
    fs::create_dir_all(&cwd).unwrap();
    let user_file = home.join(".config/blufio/blufio.toml");
    fs::write(cwd.join("blufio.toml"), "agents.main.model = 'planted'").unwrap();
    fs::write(&user_file, "log.level = 'debug'\nagents.main.model = 'user'").unwrap();

    let mut env = Environment { vars: BTreeMap::new(), cwd: cwd.clone(), home: Some(home) };
    let loaded = load(&Overrides::default(), &env).unwrap();
    assert_eq!(loaded.config.agent.model, "user");
    let states: Vec<_> =
        loaded.located.candidates.iter().map(|candidate| (candidate.path.as_path(), candidate.state)).collect();
    let system = Path::new("/etc/blufio/blufio.toml");
    assert_eq!(states, [(user_file.as_path(), CandidateState::Taken), (system, CandidateState::Skipped)]);

    fs::write(cwd.join("asked.toml"), "agents.main.model = 'asked'").unwrap();
    env.vars.insert("BLUFIO_CONFIG".to_owned(), "asked.toml".to_owned());
    let loaded = load(&Overrides::default(), &env).unwrap();
    assert_eq!(loaded.config.agent.model, "asked");
    assert_eq!(loaded.settings["log.level"].origin, Origin::Default);
    let by_option = Overrides { config: Some(user_file), ..Overrides::default() };
    assert_eq!(load(&by_option, &env).unwrap().config.agent.model, "user");
}

#[test]
fn the_workspace_holds_nothing_that_guards_the_agent() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    let own = home.join(".config/blufio");
    fs::create_dir_all(own.join("agent")).unwrap();
    std::os::unix::fs::symlink(&home, directory.path().join("link")).unwrap();
    let asked = directory.path().join("asked/blufio.toml");
    fs::create_dir_all(asked.parent().unwrap()).unwrap();
    let check = |workspace: &Path, holds: Option<&str>| {
        fs::write(&asked, format!("agents.main.workspace = {workspace:?}\nstorage.data_dir = '/nowhere/data'"))
            .unwrap();
        let env = Environment { vars: BTreeMap::new(), cwd: PathBuf::from("/"), home: Some(home.clone()) };
        let loaded = load(&Overrides { config: Some(asked.clone()), ..Overrides::default() }, &env);
        let said = loaded.err().map(|errors| errors.to_string());
        let expected = holds.map(|file| format!("`agents.main.workspace` must not contain `{file}"));
        match (&said, &expected) {
            (Some(said), Some(expected)) => assert!(said.contains(expected), "{said}"),
            _ => assert_eq!(said, expected, "{}", workspace.display()),
        }
    };
    let user_file = own.join("blufio.toml");
    let user_file = user_file.to_str();
    check(&home, user_file);
    check(&own, user_file);
    check(&directory.path().join("link"), user_file);
    check(&directory.path().join("link/.config/blufio"), user_file);
    check(asked.parent().unwrap(), asked.to_str());
    check(&own.join("agent"), None);
    check(&home.join("agent"), None);
    check(Path::new("/etc/blufio"), Some("/etc/blufio/blufio.toml"));
}

#[test]
fn unreadable_files() {
    let directory = tempfile::tempdir().unwrap();
    let check = |name: &str, content: Option<&[u8]>| {
        if let Some(content) = content {
            fs::write(directory.path().join(name), content).unwrap();
        }
        let env = Environment { cwd: directory.path().to_owned(), ..environment(&[("BLUFIO_CONFIG", name)]) };
        let printed = load(&Overrides::default(), &env).expect_err(name).to_string();
        printed.replace(directory.path().to_str().unwrap(), "DIR")
    };
    assert_snapshot!(check("missing.toml", None), @r"
    error: there is no file `DIR/missing.toml`
    --> environment variable `BLUFIO_CONFIG`
    ");
    assert_snapshot!(check("latin1.toml", Some(b"[log]\nlevel = '\xe4'")), @r"
    error: the configuration file is not UTF-8 in line 2
    --> DIR/latin1.toml
    ");
    assert_snapshot!(check("large.toml", Some(&vec![b'\n'; CONFIG_FILE_BYTES_MAX as usize + 1])), @r"
    error: the configuration file is larger than 1048576 bytes
    --> DIR/large.toml
    ");
    assert!(check(".", None).contains("cannot read the configuration file"));
}

// ── config show ────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn shown_configuration_reads_back_the_same() {
    for text in
        ["", &every_key(), "agents.main.instructions = \"two\\nlines \\\" # \\u001b ü\"\ntelegram.allow_from = [9]"]
    {
        let loaded = read(text, &[("BLUFIO_SESSION__TOOL_ROUNDS", "7")]).unwrap();
        let shown = render_show(&loaded, ShowFormat::Toml);
        assert_eq!(read(&shown, &[]).unwrap().config, loaded.config, "{shown}");
    }
}

#[test]
fn show() {
    let loaded = read("[telegram]\nallow_from = [9]\n", &[("BLUFIO_LOG", "warn"), ("XDG_DATA_HOME", "/data")]).unwrap();
    assert_snapshot!(render_show(&loaded, ShowFormat::Toml), @r#"
    [storage]
    data_dir = "/data/blufio"  # environment variable XDG_DATA_HOME
    attachments_max_mb = 1024  # default

    [security]
    # root_key_file is not set: `$XDG_CONFIG_HOME/blufio/root.key`, else `~/.config/blufio/root.key`; made at the first start
    unlock = "never"  # default

    [agents.main]
    workspace = "/data/blufio/workspace"  # from storage.data_dir
    instructions = "You are Blufio, a personal assistant that is always on. Answer in the language of the message, plainly and briefly. Say so when you do not know something or could not do what was asked."  # default
    model = "claude-sonnet-5-5"  # default
    fallback_model = "claude-opus-5-5"  # default
    max_tokens = 8192  # default
    context_tokens = 60000  # default
    effort = "medium"  # default
    routing = true  # default
    # timezone is not set: the machine's

    [anthropic]
    base_url = "https://api.anthropic.com"  # default
    # models_file is not set: the built-in model data

    [budget]
    turn_usd = "0.50"  # default
    session_day_usd = "2"  # default
    person_day_usd = "2"  # default
    agent_day_usd = "5"  # default
    day_usd = "5"  # default
    month_usd = "50"  # default

    [session]
    queue = "followup"  # default
    turn_deadline_s = 900  # default
    tool_rounds = 25  # default
    idle_evict_s = 300  # default
    running_turns = 16  # default
    live_sessions = 64  # default
    pending_messages = 20  # default

    [tools]
    ask = []  # default
    web_fetch = true  # default

    [tools.exec]
    enabled = false  # default
    allow_weak = false  # default

    [search]
    url = ""  # default
    query_usd = "0.005"  # default

    [egress]
    allow_private = []  # default

    [notices]
    quiet_hours = ""  # default

    [heartbeat]
    enabled = true  # default
    every_minutes = 30  # default
    active_hours = "08:00-22:00"  # default
    day_usd = "0.05"  # default

    [memory]
    embedding = "auto"  # default
    learn = true  # default
    day_usd = "0.05"  # default

    [telegram]
    # enabled is not set: `true` if there is a bot token
    api_root = "https://api.telegram.org"  # default
    mode = "polling"  # default
    # webhook_url is not set: none
    ip_family = "auto"  # default
    dm_policy = "pairing"  # default
    allow_from = [9]  # /etc/blufio/blufio.toml:2
    owners = [9]  # from the only entry of telegram.allow_from
    groups = {}  # default
    group_allow_from = []  # default
    mention_patterns = []  # default
    streaming = "auto"  # default
    link_preview = false  # default
    text_chunk = 4000  # default
    media_max_mb = 20  # default
    error_policy = "once"  # default
    reaction_ack = ""  # default

    [telegram.rate]
    mode = "on"  # default
    global_per_s = 25  # default
    private_per_s = 1  # default
    private_burst = 3  # default
    group_per_min = 20  # default

    [transcription]
    url = ""  # default
    model = "whisper-1"  # default
    language = ""  # default

    [gateway]
    listen = "127.0.0.1:8420"  # default

    [retention]
    messages_days = 0  # default
    attachments_days = 30  # default

    [log]
    level = "warn"  # environment variable BLUFIO_LOG
    format = "auto"  # default
    "#);
    let json: Value = serde_json::from_str(&render_show(&loaded, ShowFormat::Json)).unwrap();
    assert_eq!(json["file"], "/etc/blufio/blufio.toml");
    assert_eq!(json["keys"].as_object().unwrap().len(), KEYS.len());
    assert_eq!(
        json["keys"]["telegram.allow_from"],
        serde_json::json!({ "value": [9], "origin": { "from": "file", "line": 2 } })
    );
    assert_eq!(json["keys"]["telegram.enabled"], serde_json::json!({ "value": null, "origin": { "from": "default" } }));
}
