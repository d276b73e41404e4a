//! `blufio vault`, `init`, `doctor` and `audit`, with and without a server.

use super::terminal::Terminal;
use super::{Place, model, telegram};
use blufio_testkit::database;
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
    let api = model().await;
    let place = Place::with(&api);
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
    let api = model().await;
    let place = Place::with(&api);
    let round = |place: &Place| {
        place.feed(&["vault", "set", "a.b"], "").bad(2, &["nothing was entered"]);
        place.feed(&["vault", "set", "A"], "x").bad(2, &["a-z 0-9"]);
        place.run(&["vault", "rm", "a.b"]).bad(1, &["a.b"]);
        let version = |value: &str| {
            let kept = place.feed(&["vault", "set", "a.b", "--json"], value).json();
            kept["kept"]["version"].as_u64().expect("a number")
        };
        // Versions count through all changes, so that none ever comes again.
        let first = version("one\n");
        assert_eq!(version("two\n"), first + 1);
        assert_eq!(names(place), [json!("a.b")]);
        place.run(&["vault", "rotate"]).good();
        assert_eq!(place.run(&["vault", "rotate", "--deep", "--json"]).json()["secrets"], 1);
        let mut terminal = Terminal::open(place, &["vault", "get", "a.b", "--reveal"]);
        terminal.until("two\r\n");
        terminal.ends();
        place.run(&["vault", "rm", "a.b"]).good();
        assert_eq!(names(place), [json!(null); 0]);
    };
    round(&place);
    let server = place.serve();
    round(&place);
    server.stop();
    let kinds = place.run(&["audit", "list", "--json"]).json();
    let changed = kinds.as_array().expect("a list").iter().filter(|line| line["kind"] == "vault_changed").count();
    assert_eq!(changed, 6, "{kinds:#?}");
    assert!(place.run(&["audit", "verify"]).good().starts_with("whole"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_vault_is_refused_and_nothing_is_overwritten() {
    let api = model().await;
    let place = Place::with(&api);
    place.feed(&["vault", "set", "mine"], "one\n").good();
    place.feed(&["vault", "set", "other"], "two\n").good();
    let (file, aside) = (place.data().join("blufio.db"), place.folder.path().join("aside.db"));
    database::open(&file).expect("ours").execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("nobody has it open");
    fs::copy(&file, &aside).expect("it is ours");
    let stored = || {
        let connection = database::open_read_only(&file).expect("ours");
        let query = "SELECT name, hex(ct) || version || hex(salt) || allowed_hosts FROM vault UNION ALL SELECT '', hex(bytes) FROM vault_header";
        let mut rows = connection.prepare(query).expect("the tables are there");
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
        rows.map(|row| row.expect("two texts")).collect::<Vec<(String, String)>>()
    };
    let cases = [
        ("UPDATE vault_header SET bytes = substr(bytes, 1, 9)", "the vault's header is cut off"),
        ("UPDATE vault_header SET bytes = substr(bytes, 1, length(bytes) - 1)", "the vault"),
        ("DELETE FROM vault_header", "the vault's header is cut off"),
        ("UPDATE vault SET ct = substr(ct, 1, length(ct) - 1) WHERE name = 'mine'", "`mine` in the vault was changed"),
        ("UPDATE vault SET allowed_hosts = '[\"a.test\"]' WHERE name = 'mine'", "`mine` may be sent to was changed"),
        ("DELETE FROM vault WHERE name = 'mine'", "`mine` is missing from the vault"),
    ];
    for (damage, words) in cases {
        database::open(&file).expect("ours").execute_batch(damage).expect(damage);
        let before = stored();
        for command in [
            &["vault", "list"][..],
            &["vault", "set", "new"],
            &["vault", "rotate", "--deep"],
            &["shell", "-m", "hi"],
            &["serve"],
        ] {
            place.feed(command, "three\n").bad(77, &[words, "hint: "]);
        }
        let doctor = place.run(&["doctor"]);
        assert!(doctor.code == Some(1) && doctor.out.contains(words), "{doctor:#?}");
        assert_eq!(stored(), before, "{damage}");
        for name in ["blufio.db-wal", "blufio.db-shm"] {
            let path = place.data().join(name);
            assert!(!path.exists() || fs::remove_file(path).is_ok());
        }
        fs::copy(&aside, &file).expect("it is ours");
    }
    assert_eq!(names(&place), [json!("mine"), json!("other")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_environment_is_offered_and_taken() {
    let api = model().await;
    let mut place = Place::with(&api);
    let server = place.serve();
    assert_eq!(place.run(&["vault", "import", "--json"]).json()["imported"], json!(["anthropic.api_key"]));
    assert!(server.stop().contains("blufio vault import"));
    place.keys.clear();
    place.run(&["shell", "-m", "hi"]).good();
    assert!(place.run(&["vault", "import"]).good().contains("nothing to do"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_vault_has_is_not_replaced_by_the_environment() {
    let mut place = Place::bare();
    place.feed(&["vault", "set", "anthropic.api_key"], "sk-newer-0123456789abcdef\n").good();
    place.keys.clear();
    place.keys.push(("ANTHROPIC_API_KEY", "sk-older-fedcba9876543210"));
    place.keys.push(("TELEGRAM_BOT_TOKEN", "123456:AAaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
    place.run(&["init", "--yes"]).good();
    let shown = |name: &str| place.run(&["vault", "get", name]).good();
    assert!(shown("anthropic.api_key").contains("cdef"));
    assert!(shown("telegram.bot_token").contains("aaaa"));
    let done = place.run(&["vault", "import", "--json"]).json();
    assert_eq!((&done["imported"], &done["left"]), (&json!([]), &json!(["anthropic.api_key", "telegram.bot_token"])));
    let server = place.serve();
    assert!(place.run(&["vault", "import"]).good().contains("anthropic.api_key was in the vault already"));
    server.stop();
    assert!(shown("anthropic.api_key").contains("cdef"));
}

#[tokio::test(flavor = "multi_thread")]
async fn init_offers_what_is_in_the_environment() {
    let mut place = Place::bare();
    place.keys.push(("ANTHROPIC_API_KEY", "sk-offered-fedcba9876543210"));
    place.run(&["vault", "recovery", "--json"]).json();
    let mut terminal = Terminal::open(&place, &["init"]);
    terminal.until("Take anthropic.api_key from the environment (ANTHROPIC_API_KEY)? [Y/n] ");
    terminal.type_in("\r");
    terminal.until("anthropic.api_key is in the vault: sk-…3210");
    terminal.until("telegram.bot_token (not shown; nothing to leave it out): ");
    terminal.type_in("\r");
    terminal.ends();
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
    let code =
        shown.lines().map(str::trim).find(|line| line.len() > 26 && !line.contains(' ')).expect("a code").to_owned();
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
    terminal.ends();
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
    let api = model().await;
    let place = Place::with(&api);
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
