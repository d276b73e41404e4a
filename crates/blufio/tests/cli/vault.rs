//! `blufio vault`, `init`, `doctor` and `audit`, with and without a server.

use super::terminal::Terminal;
use super::{Place, model, telegram};
use serde_json::{Value, json};
use std::fs;

/// Found wherever it should not be.
const CANARY: &str = "sk-canary-7f3a9c51e0d24b68";

fn names(place: &Place) -> Vec<Value> {
    let all = place.run(&["vault", "list", "--json"]).json();
    all.as_array().expect("a list").iter().map(|kept| kept["name"].clone()).collect()
}

/// Every file below a folder.
fn files(folder: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.is_file() {
            found.push(path);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_alone_is_enough_to_answer() {
    let (api, bot) = (model().await, telegram().await);
    let mut place = Place::with_telegram(&api, &bot);
    place.keys.clear();
    place.run(&["shell", "-m", "hi"]).bad(77, &["there is no key for the model", "blufio vault set anthropic.api_key"]);
    place.feed(&["vault", "set", "anthropic.api_key"], "sk-test\n").good();
    place.feed(&["vault", "set", "telegram.bot_token"], "1:TEST\n").good();
    assert!(place.run(&["shell", "-m", "hi"]).good().contains("message 1 of this conversation"));
    let server = place.serve();
    assert!(place.run(&["shell", "-m", "hi"]).good().contains("message 2 of this conversation"));
    bot.send_text(501, "hello");
    bot.wait_for_bot_messages(501, 1, super::SOON).await;
    let log = server.stop();
    assert!(!log.contains("blufio vault import"), "{log}");
    assert_eq!(bot.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_vault_is_nowhere_else() {
    let place = Place::with(&model().await);
    place.feed(&["vault", "set", "mine"], &format!("{CANARY}\n")).good();
    let server = place.serve();
    place.feed(&["vault", "set", "other"], &format!("{CANARY}\n")).good();
    place.run(&["shell", "-m", "hi"]).good();
    let mut said = place.run(&["vault", "list"]).good();
    said += &place.run(&["vault", "get", "mine"]).good();
    said += &place.run(&["doctor"]).out;
    said += &place.run(&["audit", "list", "--json"]).good();
    place.run(&["vault", "get", "mine", "--reveal"]).bad(2, &["at a terminal only"]);
    let mut all = Vec::new();
    files(place.folder.path(), &mut all);
    let check = |all: &[std::path::PathBuf]| {
        for path in all {
            let bytes = fs::read(path).expect("it is ours");
            assert!(!bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()), "{}", path.display());
        }
    };
    assert!(all.iter().any(|path| path.ends_with("blufio.db-wal")), "{all:?}");
    check(&all);
    said += &server.stop();
    assert!(!said.contains(CANARY), "{said}");
    assert!(said.contains("sk-…4b68 (26)"), "{said}");
    check(&all.into_iter().filter(|path| path.exists()).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_come_and_go_with_and_without_a_server() {
    let place = Place::with(&model().await);
    let round = |place: &Place| {
        place.feed(&["vault", "set", "a.b"], "").bad(2, &["nothing was entered"]);
        place.feed(&["vault", "set", "A"], "x").bad(2, &["a-z 0-9"]);
        place.run(&["vault", "rm", "a.b"]).bad(1, &["a.b"]);
        place.feed(&["vault", "set", "a.b"], "one\n").good();
        let again = place.feed(&["vault", "set", "a.b", "--json"], "two\n").json();
        assert_eq!(again["kept"]["version"], 2);
        assert_eq!(names(place), [json!("a.b")]);
        place.run(&["vault", "rotate"]).good();
        assert_eq!(place.run(&["vault", "rotate", "--deep", "--json"]).json()["secrets"], 1);
        let mut terminal = Terminal::open(place, &["vault", "get", "a.b", "--reveal"]);
        terminal.until("two\r\n");
        place.run(&["vault", "rm", "a.b"]).good();
        assert_eq!(names(place), [json!(null); 0]);
    };
    round(&place);
    let server = place.serve();
    round(&place);
    server.stop();
    let kinds = place.run(&["audit", "list", "--json"]).json();
    let changed = kinds.as_array().expect("a list").iter().filter(|line| line["kind"] == "vault_changed").count();
    assert!(changed >= 8, "{kinds:#?}");
    assert!(place.run(&["audit", "verify"]).good().starts_with("whole"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_environment_is_offered_and_taken() {
    let mut place = Place::with(&model().await);
    let server = place.serve();
    assert_eq!(place.run(&["vault", "import", "--json"]).json()["imported"], json!(["anthropic.api_key"]));
    assert!(server.stop().contains("blufio vault import"));
    place.keys.clear();
    place.run(&["shell", "-m", "hi"]).good();
    assert!(place.run(&["vault", "import"]).good().contains("nothing to do"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_is_not_shown() {
    let place = Place::bare();
    let mut terminal = Terminal::open(&place, &["vault", "set", "mine"]);
    terminal.until("mine (not shown): ");
    terminal.type_in(&format!("wrong\u{15}{CANARY}x\u{7f}\r"));
    let shown = terminal.until("mine is in the vault: sk-…4b68 (26)");
    assert!(!shown.contains("canary") && !shown.contains("wrong"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn init_leads_through_the_first_steps() {
    let api = model().await;
    let mut place = Place::with(&api);
    place.keys.clear();
    place.run(&["init"]).bad(2, &["blufio init --yes"]);
    let mut terminal = Terminal::open(&place, &["init"]);
    terminal.until("Recovery code");
    let shown = terminal.until("Type it once more");
    let code = shown.lines().map(str::trim).find(|line| line.len() > 26 && !line.contains(' ')).expect("a code").to_owned();
    terminal.until(": ");
    terminal.type_in("ABC\r");
    terminal.until("that is another one");
    terminal.until(": ");
    terminal.type_in(&format!("{code}\r"));
    terminal.until("it counts from now on");
    terminal.until("anthropic.api_key (not shown; nothing to leave it out): ");
    terminal.type_in("sk-test\r");
    terminal.until("telegram.bot_token (not shown; nothing to leave it out): ");
    terminal.type_in("\r");
    terminal.until("blufio serve");
    terminal.until("blufio doctor");
    assert!(place.run(&["shell", "-m", "hi"]).good().contains("message 1"));
    let doctor = place.run(&["doctor", "--json"]);
    let checks: Value = serde_json::from_str(&doctor.out).expect("JSON");
    let state = |name: &str| {
        let mut all = checks["checks"].as_array().expect("a list").iter();
        all.find(|check| check["name"] == name).expect("it is looked at")["state"].clone()
    };
    for name in ["root key", "recovery code", "database", "secrets", "files", "memory", "audit log"] {
        assert_eq!(state(name), "on", "{name}: {doctor:#?}");
    }
    assert!(place.run(&["init", "--yes"]).good().contains("there is a code already"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_says_what_to_do() {
    let place = Place::with(&model().await);
    place.run(&["shell", "-m", "hi"]).good();
    let check = |running: bool| {
        let ran = place.run(&["doctor", "security"]);
        assert_eq!(ran.code, Some(1), "{ran:#?}");
        for words in ["→ `blufio vault recovery`", "→ `blufio vault import`", "things to do"] {
            assert!(ran.out.contains(words), "{running}: {ran:#?}");
        }
        assert!(!ran.out.contains("sk-test"));
    };
    check(false);
    let server = place.serve();
    check(true);
    server.stop();
}
