//! Commands that look: version, configuration, status, sessions.

use super::{Place, binary, model};
use serde_json::{Value, json};
use std::process::Command;

#[test]
fn the_version_names_commit_and_build() {
    let output = Command::new(binary()).arg("--version").output().expect("the binary starts");
    let text = String::from_utf8(output.stdout).expect("text");
    let rest = text.strip_prefix(concat!("blufio ", env!("CARGO_PKG_VERSION"), " (commit ")).unwrap_or_default();
    let (commit, kind) = rest.split_once(", ").unwrap_or_default();
    let known = commit.len() >= 7 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(known || commit == "unknown", "{text}");
    assert!(kind.ends_with(")\n") && (kind.contains(" static") || kind.contains(" dynamic")), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_command_line_is_explained() {
    let place = Place::bare();
    place.run(&["stauts"]).bad(2, &["unrecognized subcommand", "'status'"]);
    let ran = place.run(&["session", "list", "--limit", "many", "--json"]);
    let told: Value = serde_json::from_str(&ran.err).expect("JSON");
    assert_eq!((ran.code, &told["error"]["code"]), (Some(2), &json!(2)));
    assert!(place.run(&["shell", "--help"]).good().contains("git diff | blufio shell -m -"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_is_checked_and_shown() {
    let place = Place::bare();
    let file = place.file().display().to_string();
    assert_eq!(place.run(&["config", "check"]).good(), format!("ok: {file}\n"));
    assert_eq!(place.run(&["config", "check", "--json"]).json(), json!({"ok": true, "file": file, "warnings": []}));
    assert_eq!(place.run(&["config", "path"]).good(), format!("taken    {file}\n"));
    let shown = place.run(&["config", "show"]).good();
    assert!(shown.contains(&format!("listen = \"off\"  # {file}:2\n")), "{shown}");
    assert_eq!(place.run(&["config", "show", "--json"]).json()["keys"]["gateway.listen"]["value"], "off");

    place.configure("[telegram]\nallow_from = [1, 2]\n");
    let ran = place.run(&["config", "check"]);
    assert_eq!((ran.code, ran.out), (Some(0), format!("ok: {file}\n")));
    assert!(ran.err.starts_with("warning: "), "{}", ran.err);

    place.configure("[gateway]\nlisten = \"off\"\n[sesion]\nqueue = \"followup\"\n");
    for command in [vec!["config", "check"], vec!["config", "show"], vec!["status"], vec!["serve"]] {
        place.run(&command).bad(78, &["error: ", &format!("{file}:3:2"), "session"]);
    }
    let ran = place.run(&["config", "check", "--json"]);
    let told: Value = serde_json::from_str(&ran.err).expect("JSON");
    assert_eq!((ran.code, &told["error"]["code"]), (Some(78), &json!(78)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_is_no_error() {
    let place = Place::bare();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = place.command(&["config", "show"]).stdout(writer).output().expect("the binary starts");
    assert_eq!((output.status.code(), output.stderr), (Some(141), Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn status_knows_whether_a_server_runs() {
    let api = model().await;
    let place = Place::with(&api);
    let data = place.data().display().to_string();
    let nothing = place.run(&["status", "--json"]).json();
    assert_eq!(nothing, json!({"running": false, "data_dir": data, "store": null, "open_questions": 0}));
    assert!(place.run(&["status"]).good().starts_with("state        not running\n"));
    assert!(!place.data().exists(), "looking changes nothing");

    let server = place.serve();
    let running = place.run(&["status", "--json"]).json();
    assert_eq!((&running["running"], &running["status"]["ready"]), (&json!(true), &json!(true)));
    assert_eq!(running["version"], env!("CARGO_PKG_VERSION"));
    let text = place.run(&["status"]).good();
    assert!(text.contains("ready\n") && text.contains("claude-sonnet-5-5"), "{text}");
    place.run(&["serve"]).bad(75, &["another Blufio is using", "hint: "]);
    place.run(&["shell", "-m", "[say:x]"]).good();
    server.stop();

    let stopped = place.run(&["status", "--json"]).json();
    assert_eq!((&stopped["running"], &stopped["store"]["turns"]), (&json!(false), &json!({"reply": 1})));
    let text = place.run(&["status", "--color", "always"]).good();
    assert!(text.contains("\u{1b}[31mnot running\u{1b}[0m") && text.contains("1 reply"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn conversations_are_listed_shown_and_replayed_alike_with_and_without_a_server() {
    let api = model().await;
    let place = Place::with(&api);
    assert_eq!(place.run(&["session", "list"]).good(), "there are no conversations yet\n");
    place.run(&["session", "show", "local:main"]).bad(1, &["no session `local:main`", "hint: `blufio session list`"]);
    place.run(&["shell", "-m", "[say:one]"]).good();
    place.run(&["shell", "-m", "what time is it?"]).good();

    let look = || {
        place.run(&["session", "show", "nobody"]).bad(1, &["no session `nobody`", "hint: `blufio session list`"]);
        place.run(&["session", "replay", "local:main", "--turn", "9"]).bad(1, &["no turn 9", "hint: "]);
        [
            place.run(&["session", "list"]).good(),
            place.run(&["session", "show", "local:main"]).good(),
            place.run(&["session", "show", "local:main", "--limit", "1", "--json"]).good(),
            place.run(&["session", "replay", "local:main"]).good(),
            place.run(&["session", "replay", "local:main", "--turn", "2", "--json"]).good(),
        ]
    };
    let without = look();
    let server = place.serve();
    let with = look();
    server.stop();
    assert_eq!(with, without);

    let [list, show, last, replay, journal] = with;
    assert!(list.lines().nth(1).is_some_and(|row| row.starts_with("local:main  6         2      $0.0")), "{list}");
    for words in ["user  20", "[say:one]\n", "assistant  20", "one\n", "· now {}\n", "tools  20", "· result: "] {
        assert!(show.contains(words), "`{words}` is not in {show}");
    }
    let last: Value = serde_json::from_str(&last).expect("JSON");
    assert_eq!((last.as_array().map(Vec::len), &last[0]["role"]), (Some(1), &json!("assistant")));
    for words in ["turn 1  answers message 1: reply", "began: at most 25 rounds", "asks for now\n", "now was done\n"] {
        assert!(replay.contains(words), "`{words}` is not in {replay}");
    }
    let journal: Value = serde_json::from_str(&journal).expect("JSON");
    assert_eq!((&journal[0]["turn"], journal[0]["steps"].as_array().map(Vec::len)), (&json!(2), Some(4)));
}
