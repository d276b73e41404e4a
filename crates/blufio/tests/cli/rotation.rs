//! `blufio vault rotate --root`: a new root key for everything. What a kill on the way leaves is the business of
//! `blufio-bench failpoints`; here are the ordinary way, the refusals, and states that only a person can make.

use super::{Place, binary, model};
use blufio_testkit::database;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

const SECRET: &str = "sk-canary-0123456789abcdef";
/// Permission.
const REFUSED: i32 = 77;

/// A conversation, a secret, a recovery code.
async fn used() -> (Place, blufio_testkit::messages::FakeMessagesApi, String) {
    let api = model().await;
    let place = Place::with(&api);
    place.feed(&["vault", "set", "mine"], &format!("{SECRET}\n")).good();
    place.run(&["shell", "-m", "hi"]).good();
    let code = place.run(&["vault", "recovery", "--json"]).json()["recovery_code"].as_str().expect("a code").to_owned();
    (place, api, code)
}

fn key(place: &Place) -> PathBuf {
    place.folder.path().join(".config/blufio/root.key")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut all: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
    all.sort();
    all
}

/// Everything that was there is there, and nothing waits to be finished.
fn whole(place: &Place) {
    assert!(place.run(&["vault", "get", "mine"]).good().contains("sk-…cdef (26)"));
    assert!(place.run(&["session", "list"]).good().contains("local:main"));
    place.run(&["audit", "verify"]).good();
    let mut keys = names(key(place).parent().expect("a folder"));
    keys.retain(|name| !name.ends_with(".old"));
    assert_eq!(keys, ["root.key"]);
    assert!(names(&place.data()).iter().all(|name| !name.contains(".next") && !name.contains(".new")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_root_key_is_the_only_one_and_everything_is_there() {
    let (place, _api, old_code) = used().await;
    let (old_key, old_slots) =
        (fs::read(key(&place)).expect("a key"), fs::read(place.data().join("keyslots.json")).expect("slots"));
    let old = database::keys(&place.data()).expect("keys");
    let done = place.run(&["vault", "rotate", "--root", "--json"]).json();
    assert_eq!(done["secrets"], 1);
    let code = done["recovery_code"].as_str().expect("a code").to_owned();
    let kept = PathBuf::from(done["old_root_key_file"].as_str().expect("a path"));
    assert_eq!(fs::read(&kept).expect("it is kept"), old_key);
    assert_eq!(fs::metadata(&kept).expect("it is kept").permissions().mode() & 0o777, 0o600);
    whole(&place);
    assert!(place.run(&["shell", "-m", "hi"]).good().contains("message 2 of this conversation"));
    let list = place.run(&["audit", "list", "--json"]).good();
    assert!(list.contains("new key, all encrypted anew") && !list.contains(&code), "{list}");
    let new = database::keys(&place.data()).expect("keys");
    assert_ne!(*old.database.reveal(), *new.database.reveal());
    assert_ne!(fs::read(key(&place)).expect("a key"), old_key);

    // With the old key and its slots, nothing opens.
    fs::rename(key(&place), place.folder.path().join("kept.key")).expect("it is ours");
    fs::write(key(&place), &old_key).expect("it is ours");
    fs::set_permissions(key(&place), fs::Permissions::from_mode(0o600)).expect("it is ours");
    place.run(&["session", "list"]).bad(REFUSED, &["does not belong"]);
    let new_slots = fs::read(place.data().join("keyslots.json")).expect("slots");
    fs::write(place.data().join("keyslots.json"), &old_slots).expect("it is ours");
    place.run(&["session", "list"]).bad(REFUSED, &["does not open with this key"]);
    fs::write(place.data().join("keyslots.json"), &new_slots).expect("it is ours");

    fs::remove_file(key(&place)).expect("it is ours");
    place.feed(&["vault", "unlock"], &format!("{old_code}\n")).bad(REFUSED, &["does not open"]);
    place.feed(&["vault", "unlock"], &format!("{code}\n")).good();
    assert_eq!(fs::read(key(&place)).expect("a key"), fs::read(place.folder.path().join("kept.key")).expect("a key"));
    whole(&place);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_key_is_replaced_only_in_a_file_and_without_a_server() {
    let (mut place, _api, _) = used().await;
    let before = fs::read(key(&place)).expect("a key");
    let server = place.serve();
    place.run(&["vault", "rotate", "--root"]).bad(75, &["another Blufio is using"]);
    server.stop();
    place.run(&["vault", "rotate", "--root", "--deep"]).bad(2, &["cannot be used with"]);
    let text = String::from_utf8(before.clone()).expect("digits").trim().to_owned();
    let aside = place.folder.path().join("aside.key");
    fs::rename(key(&place), &aside).expect("it is ours");
    place.keys.push(("BLUFIO_ROOT_KEY", text.leak()));
    place.run(&["vault", "rotate", "--root"]).bad(REFUSED, &["cannot be replaced", "BLUFIO_ROOT_KEY", "--deep"]);
    place.keys.pop();
    fs::rename(&aside, key(&place)).expect("it is ours");
    assert_eq!(fs::read(key(&place)).expect("a key"), before);
    whole(&place);
    let nothing = Place::bare();
    nothing.run(&["vault", "rotate", "--root"]).bad(1, &["nothing in", "blufio init"]);
    assert!(!key(&nothing).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_folder_with_the_same_key_opens_with_the_one_that_was_kept() {
    let (place, _api, _) = used().await;
    let second = place.folder.path().join("second");
    let there = |arguments: &[&str]| {
        let mut other = std::process::Command::new(binary());
        other.args(arguments).arg("--data-dir").arg(&second).env_clear().env("HOME", place.folder.path());
        other.current_dir(place.folder.path()).status().expect("the binary starts").code()
    };
    assert_eq!(there(&["init", "--yes"]), Some(0));
    let said = place.run(&["vault", "rotate", "--root"]);
    let kept = names(key(&place).parent().expect("a folder")).into_iter().find(|name| name.ends_with(".old"));
    let kept = key(&place).with_file_name(kept.expect("it is kept"));
    let kept = kept.to_str().expect("text");
    assert!(said.good().contains(kept), "said where it is");
    assert_eq!(there(&["session", "list"]), Some(REFUSED));
    assert_eq!(there(&["session", "list", "--root-key-file", kept]), Some(0));
    whole(&place);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_key_of_another_folder_is_left_alone() {
    let (place, _api, _) = used().await;
    let folder = key(&place).parent().expect("a folder").to_owned();
    let foreign = folder.join("root.key.00000000.next");
    fs::write(&foreign, "0".repeat(64)).expect("it is ours");
    place.run(&["vault", "rotate", "--root", "--json"]).json();
    place.run(&["vault", "set", "other"]).bad(2, &["nothing was entered"]);
    assert!(foreign.exists());
    fs::remove_file(foreign).expect("it is ours");
    whole(&place);
}
