//! Replacing a database: what a kill leaves, what is left over, what is changed along with the key.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use crate::vectors::{self, Signs};
use crate::{facts, recall};
use blufio_core::audit::{AuditKind, AuditTrouble, AuditVerdict};
use blufio_core::ids::FactId;
use blufio_core::memory::vector::{DIMENSIONS, Vector};
use blufio_core::memory::{FactKind, NewFact, Said, Scope};
use blufio_core::record::{FactChange, Recall, RecallKinds, Remember};
use blufio_core::vault::SealedSecret;
use std::cell::RefCell;

const AT: Timestamp = Timestamp(7);

fn key(byte: u8) -> DatabaseKey {
    DatabaseKey::new([byte; 48])
}

fn audit_key(byte: u8) -> Zeroizing<[u8; 32]> {
    Zeroizing::new([byte; 32])
}

fn entry(target: &str) -> AuditEntry {
    AuditEntry {
        kind: AuditKind::ToolRun,
        actor: "owner".to_owned(),
        session: None,
        target: target.to_owned(),
        outcome: "done".to_owned(),
        detail: serde_json::json!({}),
    }
}

fn sealed(dek_version: u32) -> SealedSecret {
    SealedSecret {
        name: "a.key".to_owned(),
        version: 1,
        scope: "all".to_owned(),
        allowed_hosts: Vec::new(),
        salt: [1; 32],
        nonce: [2; 12],
        ct: vec![3; 40],
        dek_version,
        created: AT,
    }
}

/// The vault with this header.
fn vault_change(header: &[u8], dek_version: u32) -> VaultChange {
    VaultChange { header: header.to_vec(), put: vec![sealed(dek_version)], remove: Vec::new() }
}

/// From the first audit key to the second, and from the vault's first header to the second.
fn rewrite() -> Rewrite {
    Rewrite {
        audit_keys: [audit_key(1), audit_key(2)],
        vault: Some((b"one".to_vec(), vault_change(b"two", 2))),
        audit: (vec![entry("rotated")], AT),
    }
}

fn verdict(path: &Path, key: &DatabaseKey, audit_key: &[u8; 32]) -> AuditVerdict {
    audit::verify(&open::reader(path, Some(key)).unwrap(), Some(audit_key), None).unwrap()
}

/// A database with some rows of every kind of table, and a word that is easily found.
fn filled(path: &Path, key: Option<&DatabaseKey>) {
    let connection = open::writer(path, key, Some(audit_key(1))).unwrap();
    vault::keep(&connection, None, &vault_change(b"one", 1), &[entry("one"), entry("two")], AT).unwrap();
    for number in 0..300 {
        connection
            .execute("INSERT INTO sessions (key, last_at) VALUES (?1, ?2)", params![format!("canary:{number}"), number])
            .unwrap();
    }
    connection.execute("INSERT INTO cursors VALUES ('telegram', 7, 4)", []).unwrap();
    connection.execute("DELETE FROM sessions WHERE id > 290", []).unwrap();
}

/// What a database says about itself, if it opens with this key and is sound.
fn content(path: &Path, key: Option<&DatabaseKey>) -> Option<(i64, i64, i64, Vec<i64>)> {
    let connection = open::writer(path, key, None).ok()?;
    let one = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let sound: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    let pragmas = ["user_version", "auto_vacuum", "application_id"];
    Some((
        one("SELECT count(*) FROM sessions"),
        one("SELECT cursor FROM cursors"),
        one("SELECT seq FROM sqlite_sequence WHERE name = 'sessions'"),
        pragmas.iter().map(|name| one(&format!("PRAGMA {name}"))).collect(),
    ))
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Replaces, and at every failpoint copies what a process that is killed there leaves behind.
fn killed_everywhere(old: Option<DatabaseKey>, rewrite: Option<&Rewrite>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blufio.db");
    filled(&path, old.as_ref());
    let expected = content(&path, old.as_ref()).unwrap();
    let deaths = RefCell::new(Vec::new());
    let reached = |_: Failpoint| {
        let copy = tempfile::tempdir().unwrap();
        for name in files(folder.path()) {
            fs::copy(folder.path().join(&name), copy.path().join(&name)).unwrap();
        }
        deaths.borrow_mut().push(copy);
    };
    replace(&path, (old.as_ref(), &key(2)), rewrite, |_, _| {}, &reached).unwrap();
    assert_eq!(files(folder.path()), ["blufio.db"]);
    let deaths = deaths.into_inner();
    assert_eq!(deaths.len(), 6);
    for (number, death) in deaths.iter().enumerate() {
        let path = death.path().join("blufio.db");
        let renamed = number >= 3;
        let with_old = content(&path, old.as_ref());
        let with_new = content(&path, Some(&key(2)));
        assert_eq!((with_old.is_some(), with_new.is_some()), (!renamed, renamed), "death {number}");
        assert_eq!(with_old.or(with_new), Some(expected.clone()), "death {number}");
        if let Some(old) = &old {
            let (right, other) = if renamed { (&key(2), old) } else { (old, &key(2)) };
            assert!(opens(&path, right).unwrap() && !opens(&path, other).unwrap(), "death {number}");
        }
        let right = if renamed { Some(key(2)) } else { old.clone() };
        let connection = open::writer(&path, right.as_ref(), None).unwrap();
        let rewritten = renamed && rewrite.is_some();
        let (header, dek_version) = if rewritten { (b"two", 2) } else { (b"one", 1) };
        let stored = Vault { header: Some(header.to_vec()), rows: vec![sealed(dek_version)] };
        assert_eq!(vault::vault(&connection).unwrap(), stored, "death {number}");
        let seals = audit_key(if rewritten { 2 } else { 1 });
        let verdict = audit::verify(&connection, Some(&seals), None).unwrap();
        assert_eq!((verdict.entries, verdict.trouble), (if rewritten { 3 } else { 2 }, None), "death {number}");
        drop(connection);
        assert_eq!(files(death.path()), ["blufio.db"], "what was not finished is removed");
    }
    assert_eq!(content(&path, Some(&key(2))), Some(expected));
}

#[test]
fn exactly_one_state_opens_wherever_encrypting_is_killed() {
    killed_everywhere(None, None);
}

#[test]
fn exactly_one_state_opens_wherever_a_change_of_keys_is_killed() {
    killed_everywhere(Some(key(1)), Some(&rewrite()));
}

#[test]
fn nothing_plain_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blufio.db");
    filled(&path, None);
    let has = |needle: &[u8]| fs::read(&path).unwrap().windows(needle.len()).any(|bytes| bytes == needle);
    assert!(has(b"canary:1") && has(b"SQLite format 3"));
    let steps = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&steps);
    let mut old = File::open(&path).unwrap();
    encrypt(&path, &key(2), move |done, total| seen.lock().unwrap().push((done, total))).unwrap();
    assert!(!has(b"canary") && !has(b"SQLite format 3") && !has(b"sessions"));
    let mut left = Vec::new();
    io::Read::read_to_end(&mut old, &mut left).unwrap();
    assert!(!left.is_empty() && left.iter().all(|byte| *byte == 0), "the old content was overwritten");
    assert!(steps.lock().unwrap().iter().all(|(done, total)| done <= total));
    assert_eq!(fs::metadata(&path).map(|file| std::os::unix::fs::MetadataExt::mode(&file) & 0o777).unwrap(), 0o600);
    let again = encrypt(&path, &key(2), |_, _| {});
    assert!(matches!(again, Err(OpenError::Plain | OpenError::Encrypted)), "{again:?}");
    let wrong = rekey(&path, (&key(3), &key(4)), &rewrite(), |_, _| {});
    assert!(matches!(wrong, Err(OpenError::WrongKey)), "{wrong:?}");
    assert_eq!(files(folder.path()), ["blufio.db"]);
}

#[test]
fn a_change_of_keys_makes_no_forged_entry_a_good_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blufio.db");
    filled(&path, Some(&key(1)));
    let connection = open::writer(&path, Some(&key(1)), Some(audit_key(9))).unwrap();
    audit::append(&connection, &[entry("forged")], AT).unwrap();
    drop(connection);
    assert_eq!(verdict(&path, &key(1), &audit_key(1)).trouble, Some(AuditTrouble::Unsealed { seq: 3 }));
    rekey(&path, (&key(1), &key(2)), &rewrite(), |_, _| {}).unwrap();
    let after = verdict(&path, &key(2), &audit_key(2));
    assert_eq!((after.entries, after.trouble), (2, Some(AuditTrouble::Unsealed { seq: 3 })));
    assert_eq!(verdict(&path, &key(2), &audit_key(1)).trouble, Some(AuditTrouble::Unsealed { seq: 1 }));
}

#[test]
fn a_vault_that_is_another_one_stops_the_change_of_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blufio.db");
    filled(&path, Some(&key(1)));
    for vault in [None, Some((b"other".to_vec(), vault_change(b"two", 2)))] {
        let error = rekey(&path, (&key(1), &key(2)), &Rewrite { vault, ..rewrite() }, |_, _| {}).unwrap_err();
        assert!(matches!(error, OpenError::Database(_)), "{error:?}");
        assert_eq!(files(folder.path()), ["blufio.db"]);
        assert!(opens(&path, &key(1)).unwrap());
    }
}

#[test]
fn what_is_remembered_is_found_under_the_new_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blufio.db");
    filled(&path, Some(&key(1)));
    let owner = Scope::stored("owner".to_owned());
    let fact = |statement: String| {
        let fact = NewFact {
            scope: Scope::stored("owner".to_owned()),
            kind: FactKind::Fact,
            subject: "Ann".to_owned(),
            statement,
            source: None,
            said: Said::Owner,
            confidence: 100,
            valid_from: None,
            valid_to: None,
            supersedes: None,
            pinned: false,
        };
        FactChange::Add(Box::new(fact))
    };
    let change = |connection: &Connection, change: FactChange| {
        let remember = Remember { scope: owner.clone(), by: "owner".to_owned(), changes: vec![change] };
        facts::remember(connection, &remember, AT).unwrap().remove(0)
    };
    let connection = open::writer(&path, Some(&key(1)), None).unwrap();
    for number in 0..200 {
        change(&connection, fact(format!("word{number} of many")));
    }
    // Numbers with gaps stay what they are.
    change(&connection, FactChange::Forget { id: FactId(3), passages: false });
    let texts = vectors::unembedded(&connection, &Signs::default(), "mini", 500).unwrap();
    let meaning = Vector::new(&[1.0; DIMENSIONS]).unwrap();
    let kept: Vec<_> = texts.into_iter().map(|(id, _)| (id, vec![meaning.clone()])).collect();
    vectors::keep(&connection, "mini", &kept).unwrap();
    drop(connection);
    rekey(&path, (&key(1), &key(2)), &rewrite(), |_, _| {}).unwrap();
    let connection = open::writer(&path, Some(&key(2)), None).unwrap();
    let found = |connection: &Connection, text: &str| {
        let scopes = vec![owner.clone()];
        let meaning = text.is_empty().then(|| ("mini".to_owned(), meaning.clone()));
        let question = Recall { scopes, text: text.to_owned(), meaning, kinds: RecallKinds::All, visible: None };
        recall::recall(connection, &Signs::default(), &question).unwrap().candidates.len()
    };
    assert_eq!((found(&connection, "word150"), found(&connection, "word2 "), found(&connection, "many")), (1, 0, 199));
    assert_eq!(found(&connection, ""), 100, "by meaning, as many as are taken");
    change(&connection, fact("word150 again".to_owned()));
    change(&connection, FactChange::Forget { id: FactId(151), passages: false });
    assert_eq!(found(&connection, "word150"), 1);
    connection.execute("INSERT INTO fact_words (fact_words) VALUES ('integrity-check')", []).unwrap();
}
