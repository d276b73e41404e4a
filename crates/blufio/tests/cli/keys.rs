//! The root key: made at the first start, looked for in its places, refused where it is not safe, replaced never.

use super::{Place, SOON, binary, model, telegram};
use blufio_testkit::messages::FakeMessagesApi;
use serde_json::json;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Exit code for a key or a permission that is missing.
const REFUSED: i32 = 77;
/// How a plain database begins.
const PLAIN: &[u8] = b"SQLite format 3\0";

fn key(place: &Place) -> PathBuf {
    place.folder.path().join(".config/blufio/root.key")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it exists").permissions().mode() & 0o777
}

fn change_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

/// Names and contents of everything that is kept.
fn kept(place: &Place) -> Vec<(String, Vec<u8>)> {
    let read = |name: &str| fs::read(place.data().join(name)).map(|bytes| (name.to_owned(), bytes)).ok();
    let mut all: Vec<_> = ["blufio.db", "blufio.db-wal", "keyslots.json"].into_iter().filter_map(read).collect();
    all.extend(fs::read(key(place)).map(|bytes| ("root.key".to_owned(), bytes)).ok());
    all
}

/// A place with one conversation, and the model, which is there as long as it is held.
async fn used() -> (Place, FakeMessagesApi) {
    let api = model().await;
    let place = Place::with(&api);
    place.run(&["shell", "-m", "hello"]).good();
    (place, api)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_start_makes_a_key_outside_the_data() {
    let (place, _api) = used().await;
    assert_eq!((mode(&key(&place)), mode(key(&place).parent().expect("a folder"))), (0o600, 0o700));
    assert_eq!(mode(&place.data().join("keyslots.json")), 0o600);
    let text = fs::read_to_string(key(&place)).expect("hexadecimal digits");
    assert_eq!((text.trim_end().len(), text.trim_end().bytes().all(|byte| byte.is_ascii_hexdigit())), (64, true));
    let database = fs::read(place.data().join("blufio.db")).expect("a database");
    assert!(database.len() >= 4096 && !database.starts_with(PLAIN));
    let names: Vec<_> = fs::read_dir(key(&place).parent().expect("a folder")).expect("a folder").collect();
    assert_eq!(names.len(), 1, "{names:?}");

    // The same key serves a second folder, and each has a database that only its own slots open.
    let before = kept(&place);
    let second = place.folder.path().join("second");
    let mut other = std::process::Command::new(binary());
    other.args(["init", "--yes", "--data-dir"]).arg(&second).env_clear().env("HOME", place.folder.path());
    let made = other.current_dir(place.folder.path()).output().expect("the binary starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert_eq!(kept(&place), before);
    let slots = |folder: &Path| fs::read(folder.join("keyslots.json")).expect("slots");
    assert_ne!(slots(&second), slots(&place.data()));
    place.run(&["session", "list"]).good();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_others_could_use_is_refused_and_nothing_is_touched() {
    let (place, _api) = used().await;
    let (file, folder) = (key(&place), key(&place).parent().expect("a folder").to_owned());
    let before = kept(&place);
    let check = |words: &[&str]| {
        for command in [&["session", "list"][..], &["shell", "-m", "hi"], &["serve"]] {
            place.run(command).bad(REFUSED, words);
        }
        assert_eq!(kept(&place), before);
    };
    change_mode(&file, 0o640);
    check(&["its mode is 640", &format!("chmod 600 {}", file.display())]);
    change_mode(&file, 0o600);
    change_mode(&folder, 0o770);
    check(&["chmod go-w"]);
    change_mode(&folder, 0o700);
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&file, Some(12_345), None).expect("root may");
        check(&["it belongs to user 12345", "chown 0"]);
        std::os::unix::fs::chown(&file, Some(0), None).expect("root may");
    }
    place.run(&["session", "list"]).good();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_missing_wrong_or_no_key_is_refused_and_never_replaced() {
    let (place, _api) = used().await;
    let file = key(&place);
    let good = fs::read(&file).expect("a key");
    let aside = place.folder.path().join("aside");
    let check = |words: &[&str]| {
        let before = kept(&place);
        for command in
            [&["session", "list"][..], &["shell", "-m", "hi"], &["serve"], &["vault", "list"], &["init", "--yes"]]
        {
            place.run(command).bad(REFUSED, words);
        }
        assert_eq!(kept(&place), before);
    };
    fs::rename(&file, &aside).expect("it is ours");
    check(&["is missing", "blufio vault unlock"]);
    symlink(&aside, &file).expect("it is ours");
    check(&["symbolic link"]);
    fs::remove_file(&file).expect("it is ours");
    let put = |bytes: &[u8]| {
        fs::write(&file, bytes).expect("it is ours");
        change_mode(&file, 0o600);
    };
    put(&[7; 32]);
    check(&["the root key in the file"]);
    put(&good[..40]);
    check(&["the root key in the file"]);
    put(b"00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0\n");
    check(&["does not belong to the data folder"]);
    put(&good);
    place.run(&["session", "list"]).good();

    let slots = place.data().join("keyslots.json");
    let text = fs::read(&slots).expect("slots");
    fs::write(&slots, &text[..text.len() / 2]).expect("it is ours");
    check(&["keyslots.json cannot be used", "cut off", "restore keyslots.json from a backup"]);
    fs::write(&slots, "{}").expect("it is ours");
    check(&["keyslots.json cannot be used", "restore"]);
    let one_digit = |text: &str| {
        let (before, after) =
            text.split_once(r#""check": ""#).or_else(|| text.split_once(r#""check":""#)).expect("a check");
        let other = if after.starts_with('0') { "1" } else { "0" };
        format!("{before}\"check\":\"{other}{}", &after[1..])
    };
    fs::write(&slots, one_digit(std::str::from_utf8(&text).expect("text"))).expect("it is ours");
    check(&["does not belong to the data folder", "restore keyslots.json from a backup"]);
    fs::remove_file(&slots).expect("it is ours");
    check(&["keyslots.json is missing"]);
    fs::write(&slots, &text).expect("it is ours");
    place.run(&["session", "list"]).good();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_slots_is_gone_on_with() {
    // As a kill between the two leaves it.
    let (place, _api) = used().await;
    let good = fs::read(key(&place)).expect("a key");
    fs::remove_dir_all(place.data()).expect("it is ours");
    place.run(&["shell", "-m", "hello"]).good();
    assert_eq!(fs::read(key(&place)).expect("a key"), good);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_file_the_environment_and_a_descriptor_are_sources_too() {
    let api = model().await;
    let mut place = Place::with(&api);
    let named = place.folder.path().join("elsewhere.key");
    let name = named.to_str().expect("text").to_owned();
    place.run(&["session", "list", "--root-key-file", &name]).good();
    place.run(&["shell", "-m", "hi", "--root-key-file", &name]).bad(REFUSED, &["there is no such file", "blufio init"]);
    place.run(&["init", "--yes", "--root-key-file", &name]).good();
    place.run(&["shell", "-m", "hi", "--root-key-file", &name]).good();
    assert!(mode(&named) == 0o600 && !key(&place).exists());

    // A data folder whose key is missing never gets another one.
    let aside = place.folder.path().join("aside.key");
    fs::rename(&named, &aside).expect("it is ours");
    for command in [&["init", "--yes", "--root-key-file", &name][..], &["vault", "list", "--root-key-file", &name]] {
        place.run(command).bad(REFUSED, &["is missing", "blufio vault unlock"]);
    }
    assert!(!named.exists());
    fs::rename(&aside, &named).expect("it is ours");

    place.run(&["session", "list"]).bad(REFUSED, &["is missing"]);
    let text = fs::read_to_string(&named).expect("digits").trim().to_owned();
    place.keys.push(("BLUFIO_ROOT_KEY", text.leak()));
    place.run(&["session", "list"]).good();
    let doctor = place.run(&["doctor", "--json"]);
    assert!(doctor.out.contains("the environment variable BLUFIO_ROOT_KEY"), "{doctor:#?}");
    place.keys.pop();

    let script = format!("exec 7<{name}; exec \"$@\"");
    let command = place.command(&["session", "list", "--json"]);
    let mut through = std::process::Command::new("/bin/sh");
    through.args(["-c", &script, "sh"]).arg(command.get_program()).args(command.get_args());
    through.env_clear().env("HOME", place.folder.path()).env("BLUFIO_ROOT_KEY_FD", "7");
    let ran = through.output().expect("a shell");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recovery_code_opens_a_copy_that_has_no_key() {
    let (place, _api) = used().await;
    let made = place.run(&["vault", "recovery", "--json"]).json();
    let code = made["recovery_code"].as_str().expect("a code").to_lowercase().replace('-', " ");
    let copy = Place::bare();
    fs::create_dir(copy.data()).expect("a folder");
    change_mode(&copy.data(), 0o700);
    for entry in fs::read_dir(place.data()).expect("a folder") {
        let entry = entry.expect("an entry");
        if entry.metadata().expect("it exists").is_file() {
            fs::copy(entry.path(), copy.data().join(entry.file_name())).expect("it is ours");
        }
    }
    copy.run(&["session", "list"]).bad(REFUSED, &["is missing"]);
    copy.feed(&["vault", "unlock"], "00000-00000-00000-00000-00000-0\n").bad(REFUSED, &["does not open"]);
    copy.feed(&["vault", "unlock"], "hello\n").bad(2, &["26 letters and digits"]);
    assert!(!key(&copy).exists());
    copy.feed(&["vault", "unlock"], &format!("{code}\n")).good();
    assert!(mode(&key(&copy)) == 0o600 && copy.run(&["session", "list"]).good().contains("local:main"));
    assert_eq!(fs::read(key(&copy)).expect("a key"), fs::read(key(&place)).expect("a key"));
}

/// Sends a request and reads until the server hangs up.
fn ask(mut way: impl Read + Write, method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: blufio\r\nConnection: close\r\nContent-Type: application/json");
    write!(way, "{head}\r\nContent-Length: {length}\r\n\r\n{body}").expect("it takes a request");
    let mut answer = String::new();
    way.read_to_string(&mut answer).expect("an answer");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_server_waits_for_the_recovery_code_and_goes_on() {
    let (api, bot) = (model().await, telegram().await);
    let mut place = Place::with_telegram(&api, &bot);
    place.keys.clear();
    place.feed(&["vault", "set", "anthropic.api_key"], "sk-test\n").good();
    place.feed(&["vault", "set", "telegram.bot_token"], "1:TEST\n").good();
    let code = place.run(&["vault", "recovery", "--json"]).json()["recovery_code"].as_str().expect("a code").to_owned();
    let root = fs::read_to_string(key(&place)).expect("a key");
    fs::remove_file(key(&place)).expect("it is ours");
    place.run(&["serve"]).bad(REFUSED, &["is missing"]);
    let toml = fs::read_to_string(place.file()).expect("a configuration");
    place.configure(&toml.replacen("listen = \"off\"", "listen = \"127.0.0.1:0\"", 1));
    place.add("[security]\nunlock = \"socket\"\n");
    place.feed(&["vault", "unlock"], &code).bad(69, &["start `blufio serve` first"]);

    let (server, log) = place.serve_until("locked: ");
    bot.send_text(501, "hello");
    let mut address = log.split(|one: char| one != '.' && one != ':' && !one.is_ascii_digit());
    let address = address.rfind(|word| word.starts_with("127.0.0.1:")).expect("an address").to_owned();
    let tcp = || TcpStream::connect(&address).expect("it listens");
    let socket = || UnixStream::connect(place.data().join("blufio.sock")).expect("it listens");
    for answer in [ask(tcp(), "GET", "/healthz", ""), ask(socket(), "GET", "/healthz", "")] {
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{answer}");
    }
    for answer in [ask(tcp(), "GET", "/readyz", ""), ask(socket(), "GET", "/readyz", "")] {
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("locked"), "{answer}");
    }
    let other = json!({"root_key": "00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0"}).to_string();
    assert!(ask(socket(), "POST", "/v1/unlock", &other).starts_with("HTTP/1.1 403 "));
    let right = json!({"root_key": root.trim()}).to_string();
    assert!(
        ask(tcp(), "POST", "/v1/unlock", &right).starts_with("HTTP/1.1 404 "),
        "not from the network, even with the key"
    );
    assert!(place.run(&["status"]).good().contains("locked"));
    assert_eq!(place.run(&["status", "--json"]).json()["locked"], true);
    for command in [&["session", "list"][..], &["shell", "-m", "hi"], &["vault", "list"], &["audit", "verify"]] {
        place.run(command).bad(REFUSED, &["the server is locked", "blufio vault unlock"]);
    }
    let doctor = place.run(&["doctor"]);
    assert!(doctor.code == Some(1) && doctor.out.contains("waits for it"), "{doctor:#?}");
    place.feed(&["vault", "unlock"], "00000-00000-00000-00000-00000-0\n").bad(REFUSED, &["does not open"]);
    assert_eq!(bot.connections(), 0, "nothing was received");

    assert!(place.feed(&["vault", "unlock"], &code).good().contains("unlocked"));
    bot.wait_for_bot_messages(501, 1, SOON).await;
    assert!(place.run(&["shell", "-m", "hi"]).good().contains("message 1 of this conversation"));
    let doctor = place.run(&["doctor"]);
    assert!(doctor.out.contains("`blufio vault unlock`: everything at rest"), "{doctor:#?}");
    assert!(!key(&place).exists(), "the key is in no file");
    let log = server.stop();
    assert!(log.contains("unlocked") && !log.contains(root.trim()) && !log.contains(&code), "{log}");

    let (server, _) = place.serve_until("locked: ");
    server.stop();
    place.run(&["vault", "list"]).bad(REFUSED, &["is missing"]);
}
