//! What `doctor` may claim, whom the command line tells secrets, and what the start leaves in the audit log.

use super::{Place, model, telegram};
use blufio_testkit::database;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;

/// The findings of `doctor --json`.
struct Findings(Value);

impl Findings {
    fn of(place: &Place) -> Self {
        Self(serde_json::from_str(&place.run(&["doctor", "--json"]).out).expect("JSON"))
    }

    fn get(&self, name: &str) -> &Value {
        let mut all = self.0["checks"].as_array().expect("a list").iter();
        all.find(|check| check["name"] == name).expect("it is looked at")
    }

    fn state(&self, name: &str) -> &str {
        self.get(name)["state"].as_str().expect("text")
    }

    /// What it says and what it advises.
    fn words(&self, name: &str) -> String {
        let check = self.get(name);
        format!("{} → {}", check["says"].as_str().expect("text"), check["fix"].as_str().unwrap_or_default())
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_in_the_working_folder_is_not_read() {
    let place = Place::bare();
    fs::write(place.file(), "[anthropic]\nbase_url = \"https://evil.example\"\n").expect("the folder is writable");
    let mut command = std::process::Command::new(super::binary());
    command.args(["config", "show"]).current_dir(place.folder.path());
    let shown = command.env_clear().env("HOME", place.folder.path()).output().expect("the binary starts");
    let shown = String::from_utf8(shown.stdout).expect("text");
    assert!(shown.contains("base_url") && !shown.contains("evil.example"), "{shown}");
    let help = place.run(&["serve", "--help"]).good();
    assert!(help.contains("~/.config/blufio/blufio.toml") && !help.contains("./blufio.toml"), "{help}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_around_the_key_or_the_configuration_is_refused() {
    let mut place = Place::bare();
    let home = place.folder.path().to_owned();
    place.add(&format!("[agents.main]\nworkspace = {:?}\n", home.join(".config")));
    place.run(&["serve"]).bad(78, &["`agents.main.workspace` must not contain `"]);
    place = Place::bare();
    let link = place.folder.path().join("link");
    std::os::unix::fs::symlink(place.folder.path(), &link).expect("the folder is writable");
    place.add(&format!("[agents.main]\nworkspace = {link:?}\n"));
    place.run(&["serve"]).bad(78, &["`agents.main.workspace` must not contain"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_anybody_could_have_put_there_is_told_nothing() {
    let place = Place::bare();
    fs::create_dir(place.data()).expect("the folder is writable");
    mode(&place.data(), 0o700);
    let socket = place.data().join("blufio.sock");
    let listener = UnixListener::bind(&socket).expect("the folder is writable");
    listener.set_nonblocking(true).expect("it is a socket");
    let told = |words: &str| {
        for command in [&["vault", "set", "mine"][..], &["status"], &["shell", "-m", "hi"], &["pairing", "link"]] {
            place.feed(command, "secret\n").bad(77, &["is not trusted", words, "hint: "]);
        }
        assert_eq!(listener.accept().map(drop).map_err(|error| error.kind()), Err(ErrorKind::WouldBlock));
    };
    mode(&place.data(), 0o777);
    told("chmod go-w");
    assert_eq!(Findings::of(&place).state("memory"), "unknown");
    mode(&place.data(), 0o700);
    // Only root can give things away.
    if chown(&socket, Some(12_345), None).is_ok() {
        told("belongs to user 12345");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_looks_at_the_key_and_at_the_folders() {
    let api = model().await;
    let place = Place::with(&api);
    let server = place.serve();
    assert!(Findings::of(&place).words("files").contains("the key's file"));
    let folder = place.folder.path().join(".config/blufio");
    let key = folder.join("root.key");
    let check = |path: &Path, wrong: u32, right: u32, advice: &str| {
        mode(path, wrong);
        let found = Findings::of(&place);
        let words = found.words("files");
        assert!(found.state("files") == "act" && words.contains(&format!("{advice} {}", path.display())), "{words}");
        mode(path, right);
        assert_eq!(Findings::of(&place).state("files"), "on");
    };
    check(&key, 0o640, 0o600, "chmod 600");
    check(&folder, 0o720, 0o700, "chmod go-w");
    check(place.folder.path(), 0o777, 0o700, "chmod go-w");
    check(&place.file(), 0o622, 0o600, "chmod go-w");
    server.stop();
    mode(&key, 0o604);
    assert!(Findings::of(&place).words("files").contains("chmod 600"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_doctor_could_not_look_at_is_nobodys_fault() {
    let place = Place::bare();
    fs::create_dir(place.data()).expect("the folder is writable");
    mode(&place.data(), 0o700);
    drop(database::create_plain(&place.data().join("blufio.db"), 1).expect("an older database"));
    let found = Findings::of(&place);
    let words = found.words("audit log");
    assert!(found.state("audit log") != "act" && !words.contains("somebody has changed"), "{words}");

    // A server that answers nonsense.
    let place = Place::bare();
    fs::create_dir(place.data()).expect("the folder is writable");
    mode(&place.data(), 0o700);
    let listener = UnixListener::bind(place.data().join("blufio.sock")).expect("the folder is writable");
    let answers = std::thread::spawn(move || {
        let (mut way, _) = listener.accept().expect("doctor asks");
        let mut some = [0; 64];
        assert!(way.read(&mut some).expect("a request") > 0);
        way.write_all(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n").expect("it takes an answer");
    });
    let ran = place.run(&["doctor"]);
    answers.join().expect("the listener does not panic");
    assert!(ran.code == Some(1) && ran.out.contains("could not be looked at"), "{ran:#?}");
    assert!(!ran.out.contains("somebody has changed"), "{ran:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_server_is_not_called_well() {
    let (api, bot) = (model().await, telegram().await);
    let place = Place::with_telegram(&api, &bot);
    place.run(&["shell", "-m", "hi"]).good();
    fs::remove_file(place.folder.path().join(".config/blufio/root.key")).expect("it is ours");
    assert_eq!(Findings::of(&place).state("secrets"), "act", "the environment has some");
    place.add("[security]\nunlock = \"socket\"\n");
    let (server, _) = place.serve_until("locked: ");
    let found = Findings::of(&place);
    for name in ["secrets", "memory", "walls"] {
        assert!(["unknown", "act"].contains(&found.state(name)), "{name}: {}", found.words(name));
        assert!(found.words(name).contains("locked") || name == "walls", "{name}: {}", found.words(name));
    }
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_of_a_shell_has_the_walls_of_a_server() {
    let api = model().await;
    let place = Place::with(&api);
    let before = Findings::of(&place);
    let mut shell = place.command(&["shell"]).stdin(Stdio::piped()).spawn().expect("the binary starts");
    let mut typed = shell.stdin.take().expect("it is piped");
    typed.write_all(b"[say:here]\n").expect("it takes its input");
    let mut line = String::new();
    BufReader::new(shell.stdout.take().expect("it is piped")).read_line(&mut line).expect("an answer");
    let within = Findings::of(&place);
    drop(typed);
    assert!(shell.wait().expect("it is ours").success());
    assert_eq!((line.as_str(), &within.0["running"]), ("here\n", &Value::Bool(true)));
    assert_eq!(within.state("walls"), before.state("walls"), "{}", within.words("walls"));
    if within.state("walls") == "on" {
        assert!(within.words("walls").contains("the server can touch its own files only"), "{}", within.words("walls"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_says_what_happened_at_the_start() {
    let api = model().await;
    let place = Place::with(&api);
    place.feed(&["vault", "set", "mine"], "not for any adapter\n").good();
    let start = || {
        place.run(&["shell", "-m", "hi"]).good();
        let lines = place.run(&["audit", "list", "--json"]).json();
        let lines = lines.as_array().expect("a list").clone();
        let newest = |kind: &str| {
            let line =
                lines.iter().find(|line| line["kind"] == kind).unwrap_or_else(|| panic!("no {kind}: {lines:#?}"));
            line["target"].as_str().expect("text").to_owned()
        };
        (newest("secret_used"), newest("config_loaded"))
    };
    let (used, config) = start();
    assert_eq!(used, "anthropic.api_key", "nothing else was handed out");
    place.add("# another file, the same values\n");
    assert_eq!(start().1, config);
    place.add("[log]\nlevel = \"warn\"\n");
    assert_ne!(start().1, config);
}
