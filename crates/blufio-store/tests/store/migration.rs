//! A file of every released version is brought up to date with everything in it.

use super::{open, open_encrypted};
use blufio_core::access::Principal;
use blufio_core::approval::Verdict;
use blufio_core::content::Content;
use blufio_core::ids::{CallId, InboxId, MessageSeq, OutboxId, SessionKey, TurnNumber};
use blufio_core::keys::DatabaseKey;
use blufio_core::memory::Scope;
use blufio_core::port::Storage;
use blufio_core::record::{
    Decided, Fate, Indexing, OutboxMark, Payload, Query, Recall, RecallKinds, ScheduleChange, Vault, View,
};
use blufio_core::schedule::{Action, NewSchedule, When};
use blufio_core::time::Timestamp;
use blufio_store::{Executor, OpenError, Options, Role, Store};
use blufio_testkit::contract::storage::{ACCOUNT, AT, batch, channel, end, item, key, route};
use blufio_testkit::{database, invariants};

/// What version 1 left behind: a turn that is over, one that runs, a message that waits, and an answer on its way.
const ROWS: &str = r#"
UPDATE meta SET value = 3 WHERE key = 'boot';
UPDATE meta SET value = 0 WHERE key = 'clean';
INSERT INTO sessions (id, key, principal_id, model, last_message, last_at)
VALUES (1, 'tg:7:dm:1', 'owner', 'model-b', 3, 1700000000000), (2, 'tg:7:dm:2', NULL, NULL, 0, 1700000000000);
INSERT INTO cursors VALUES ('telegram', 7, 4);
INSERT INTO inbox (id, channel, account, update_id, fingerprint, state, outcome, session, chat, reply_to, principal_id, text,
                   answer, raw, claimed_boot, at, done_at)
VALUES (1, 'telegram', 7, 1, 'f1', 'done', 'reply', 1, 1, 1, 'owner', 'hi', 'hello', x'7b7d', NULL, 1700000000000, 1700000000001),
       (2, 'telegram', 7, 2, 'f2', 'claimed', NULL, 1, 1, 2, 'owner', 'and?', NULL, x'7b7d', 3, 1700000000000, NULL),
       (3, 'telegram', 7, 3, 'f3', 'received', NULL, 1, 1, 3, 'owner', 'well?', NULL, x'7b7d', NULL, 1700000000000, NULL);
INSERT INTO turns (session, turn, inbox, principal_id, state, outcome, deadline, opened_at, closed_at)
VALUES (1, 1, 1, 'owner', 'done', 'reply', 1700000900000, 1700000000000, 1700000000001),
       (1, 2, 2, 'owner', 'running', NULL, 1700000900000, 1700000000002, NULL);
INSERT INTO steps VALUES
    (1, 1, 1, 1, 3, 0, 1, '{"type":"admitted","rounds_max":25,"fallback":true,"deadline":1700000900000}'),
    (1, 1, 2, 2, 3, 1, 1, '{"type":"call_done","stop":"end_turn","calls":[],"text":true,"content":true,"cut":false}'),
    (1, 2, 1, 3, 3, 0, 1, '{"type":"admitted","rounds_max":25,"fallback":true,"deadline":1700000900000}');
INSERT INTO epochs VALUES (1, 1, 'fake', 'model-a', x'2222', x'5b5d', 1);
INSERT INTO messages VALUES
    (1, 1, 1, 'user', '[{"origin":"owner","body":{"type":"text","text":"hi"}}]', 1700000000000),
    (1, 2, 1, 'assistant', '[{"origin":"model","body":{"type":"text","text":"hello"}}]', 1700000000000),
    (1, 3, 2, 'user', '[{"origin":"owner","body":{"type":"text","text":"and?"}}]', 1700000000000);
INSERT INTO wire VALUES (1, 1, 1, x'31'), (1, 1, 2, x'32'), (1, 1, 3, x'33');
INSERT INTO ledger (session, turn, call, principal_id, model, state, held, amount, prompt_tokens, max_tokens, boot, opened_at)
VALUES (1, 2, 1, 'owner', 'model-a', 'held', 500, 500, 10, 10, 3, 1700000000000);
INSERT INTO outbox (id, session, turn, reply, channel, account, chat, body_rich, body_plain, state, attempt, not_before,
                    message_id, at, done_at)
VALUES (1, 1, 1, 1, 'telegram', 7, 1, '<b>he</b>', 'he', 'sent', 1, 0, 900, 1700000000000, 1700000000001),
       (2, 1, 1, 1, 'telegram', 7, 1, '<b>llo</b>', 'llo', 'sending', 1, 0, NULL, 1700000000000, NULL),
       (3, NULL, NULL, 3, 'telegram', 7, 2, 'help', 'help', 'queued', 0, 0, NULL, 1700000000000, NULL);
INSERT INTO pairings VALUES ('telegram', 7, 5, 'Ann', 1, 1700000000000);
INSERT INTO pairing_requests VALUES (1, 'telegram', 7, 6, 'Bob', 'CODE', 'pending', 1700000000000, 1800000000000);
"#;

#[tokio::test]
async fn a_file_of_version_1_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blufio.db");
    database::create_plain(&path, 1).unwrap().execute_batch(ROWS).unwrap();
    let reading = Options { role: Role::Reader, ..super::options(Executor::Inline) };
    let early = Store::open(&path, None, reading).err();
    assert!(matches!(early, Some(OpenError::Older { found: 1, known: 6 })), "a reader migrates nothing: {early:?}");

    let store = open(&path, Executor::Inline);
    let recovered = store.recover(AT).await.unwrap();
    assert_eq!((recovered.boot.0, recovered.unclean, recovered.uncertain_sends), (4, true, 1));
    assert_eq!((recovered.sessions, recovered.cursors), (vec![key(1)], vec![(channel(), ACCOUNT, 4)]));
    assert_eq!((recovered.paired.len(), recovered.aliases.len()), (1, 0));
    let snapshot = store.open(key(1), AT).await.unwrap();
    assert_eq!((snapshot.zone, snapshot.history.len(), snapshot.last_message), (None, 3, MessageSeq(3)));
    let running = snapshot.running.unwrap();
    assert_eq!((running.inbox.id, running.last_inbox, running.inbox.attempts), (InboxId(2), InboxId(2), 1));
    assert_eq!((running.inbox.content, running.inbox.album), (Content::words("and?"), None));
    let waiting = store.waiting(snapshot.id, 9).await.unwrap();
    assert_eq!((waiting.len(), &waiting[0].route), (1, &route(1, Some(3))));
    assert_eq!((&waiting[0].principal, waiting[0].content.text.as_str()), (&Principal::Owner, "well?"));
    assert_eq!(store.last_request(snapshot.id).await.unwrap(), Some(Content::words("and?")));
    let rows = store.outbox(channel(), 9, AT).await.unwrap();
    let seen: Vec<_> = rows.iter().map(|row| (row.id, &row.payload, row.maybe_duplicate)).collect();
    assert_eq!(seen, [(OutboxId(2), &Payload::Text, true), (OutboxId(3), &Payload::Text, false)]);

    // What is new works on what is old: an answer from before is reacted to, and a chat from before is shut and opened.
    let react = Fate::React { chat: 1, message: 900, name: "Ann".to_owned(), emoji: "👍".to_owned() };
    let shut = OutboxMark::ChatClosed(route(1, None), "blocked".to_owned());
    store.mark(vec![shut], AT).await.unwrap();
    let heard = blufio_core::content::Overheard { name: "Ann".to_owned(), text: "hi".to_owned() };
    let overhear = Fate::Overhear { session: key(1), heard, keep: 5 };
    store.accept(batch(vec![item(4, react), item(5, overhear)])).await.unwrap();
    let heard = store.overheard(snapshot.id, InboxId(99)).await.unwrap();
    assert_eq!(heard[0].text, "reacted 👍 to “he”");
    let View::Channel(view) = store.view(Query::Channel(channel()), AT).await.unwrap() else { panic!("a channel") };
    assert!(view.closed.is_empty(), "the session knew its chat");
    store.commit(end(snapshot.id, 2, 4, recovered.boot, 1)).await.unwrap();
    store.close(AT).await.unwrap();
    drop(store);
    let report = invariants::check(&path).unwrap();
    assert_eq!((report.rows["inbox"], report.rows["messages"], report.rows["ledger"]), (5, 4, 1));
}

/// What version 2 left behind beside that: an answered question and one that is open, about calls that wait.
const ROWS_2: &str = r#"
INSERT INTO sessions (id, key, principal_id, chat, last_message, last_at) VALUES (3, 'tg:7:dm:3', 'owner', 3, 1, 1700000000000);
INSERT INTO inbox (id, channel, account, update_id, fingerprint, state, session, chat, reply_to, principal_id, text, raw,
                   claimed_boot, at)
VALUES (9, 'telegram', 7, 9, 'f9', 'claimed', 3, 3, 9, 'owner', 'do it', x'7b7d', 0, 1700000000000);
INSERT INTO turns (session, turn, inbox, principal_id, state, deadline, opened_at)
VALUES (3, 1, 9, 'owner', 'running', 1700000900000, 1700000000000);
INSERT INTO steps VALUES (3, 1, 1, 1, 3, 0, 1, '{"type":"admitted","rounds_max":25,"fallback":true,"deadline":1700000900000}');
INSERT INTO messages VALUES
    (3, 1, 1, 'user', '[{"origin":"owner","body":{"type":"text","text":"do it"}}]', 1700000000000),
    (3, 2, 1, 'assistant', '[{"origin":"model","body":{"type":"tool_call","id":"c1","name":"write","input":"{}"}},
                             {"origin":"model","body":{"type":"tool_call","id":"c2","name":"write","input":"{}"}}]', 1700000000000);
UPDATE sessions SET last_message = 2 WHERE id = 3;
INSERT INTO tool_runs (session, turn, call_id, place, round, name, input, replay, state, starts)
VALUES (3, 1, 'c1', 0, 1, 'write', '{}', 'idempotent', 'awaiting_approval', 0),
       (3, 1, 'c2', 1, 1, 'write', '{}', 'idempotent', 'awaiting_approval', 0);
INSERT INTO approvals (id, session, turn, call_id, hash, tool, input, state, question_rich, question_plain, created, expires,
                       decided_at, decided_by)
VALUES ('AAAAAAAAAAAAAAAAAAAA', 3, 1, 'c1', 'h1', 'write', '{}', 'approved', 'q', 'q', 1600000000000, 1800000000000,
        1600000000001, 'owner 3'),
       ('BBBBBBBBBBBBBBBBBBBB', 3, 1, 'c2', 'h2', 'write', '{}', 'pending', 'q', 'q', 1600000000000, 1800000000000, NULL, NULL);
"#;

#[tokio::test]
async fn a_file_of_version_2_is_encrypted_and_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blufio.db");
    let old = database::create_plain(&path, 2).unwrap();
    old.execute_batch(ROWS_2).unwrap();
    drop(old);
    let key = DatabaseKey::new([7; 48]);
    blufio_store::encrypt(&path, &key, |_, _| {}).unwrap();
    assert!(!database::is_plain(&path));
    let store = open_encrypted(&path, Executor::Inline);
    let boot = store.recover(AT).await.unwrap().boot;
    let session = store.open(SessionKey::new("tg:7:dm:3"), AT).await.unwrap().id;
    let decided = store.decisions(session, TurnNumber(1)).await.unwrap();
    let [Decided { call, verdict: Verdict::Allow, .. }] = decided.as_slice() else { panic!("one yes: {decided:?}") };
    assert_eq!(*call, CallId::new("c1"));
    let open = match store.view(Query::Approvals, AT).await.unwrap() {
        View::Approvals(open) => open,
        other => panic!("{other:?}"),
    };
    assert_eq!(open.len(), 1);
    assert_eq!(store.vault().await.unwrap(), Vault::default());
    assert_eq!(store.verify_audit(None).await.unwrap().entries, 0);
    // The first entry makes the log begin; what was asked before stays unrecorded, its answer does not.
    let (approval, by) = (open[0].id.clone(), "owner 3".to_owned());
    let no = Fate::Decide { approval, verdict: Verdict::Deny, by, at: None, replies: None };
    store.accept(batch(vec![item(10, no)])).await.unwrap();
    assert_eq!(store.verify_audit(None).await.unwrap().entries, 1);
    assert_eq!(boot.0, 1);
    drop(store);
    invariants::check(&path).unwrap();
}

#[tokio::test]
async fn a_file_of_version_1_is_encrypted_and_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blufio.db");
    database::create_plain(&path, 1).unwrap().execute_batch(ROWS).unwrap();
    blufio_store::encrypt(&path, &DatabaseKey::new([7; 48]), |_, _| {}).unwrap();
    assert!(!database::is_plain(&path));
    let store = open_encrypted(&path, Executor::Thread);
    let recovered = store.recover(AT).await.unwrap();
    assert_eq!((recovered.boot.0, recovered.unclean, recovered.uncertain_sends), (4, true, 1));
    let session = store.open(key(1), AT).await.unwrap();
    assert_eq!((session.history.len(), session.last_message), (3, MessageSeq(3)));
    assert_eq!(store.waiting(session.id, 9).await.unwrap().len(), 1);
    assert_eq!(store.outbox(channel(), 9, AT).await.unwrap().len(), 2);
    drop(store);
    invariants::check(&path).unwrap();
}

/// What version 4 left behind: an answer that has arrived, which belongs to a turn and so is indexed anew.
const ROWS_4: &str = r#"
UPDATE meta SET value = 4 WHERE key = 'boot';
INSERT INTO sessions (id, key, chat, last_message, last_at) VALUES (1, 'tg:7:dm:1', 1, 0, 1700000000000);
INSERT INTO inbox (id, channel, account, update_id, fingerprint, state, outcome, session, chat, principal_id, text, raw, at, done_at)
VALUES (1, 'telegram', 7, 1, 'f1', 'done', 'stopped', 1, 1, 'owner', 'hi', x'7b7d', 1700000000000, 1700000000001);
INSERT INTO turns (session, turn, inbox, principal_id, state, outcome, deadline, opened_at, closed_at, journal)
VALUES (1, 1, 1, 'owner', 'done', 'stopped', 1700000900000, 1700000000000, 1700000000001, 0);
INSERT INTO outbox (id, session, turn, reply, channel, account, chat, body_rich, body_plain, state, attempt, not_before,
                    message_id, at, done_at)
VALUES (1, 1, 1, 1, 'telegram', 7, 1, 'hello', 'hello', 'sent', 1, 0, 900, 1700000000000, 1700000000001);
"#;

#[tokio::test]
async fn a_file_of_version_4_takes_schedules() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blufio.db");
    database::create_plain(&path, 4).unwrap().execute_batch(ROWS_4).unwrap();
    let store = open(&path, Executor::Inline);
    assert_eq!(store.recover(AT).await.unwrap().boot.0, 5);
    let none = store.view(Query::Schedules { session: None }, AT).await.unwrap();
    assert!(matches!(&none, View::Schedules(views) if views.is_empty()), "{none:?}");
    let new = NewSchedule {
        name: "water".to_owned(),
        session: key(1),
        route: route(1, Some(5)),
        principal: Principal::Owner,
        user: Some(1),
        when: When::At(Timestamp(AT.0 + 1)),
        zone: "UTC".to_owned(),
        action: Action::Say("drink".to_owned()),
        made_by: "owner 1".to_owned(),
    };
    let made = store.schedule(ScheduleChange::Add(Box::new(new)), AT).await.unwrap();
    assert_eq!((made.route, made.next_at), (route(1, None), Some(Timestamp(AT.0 + 1))), "it answers no message");
    drop(store);
    let report = invariants::check(&path).unwrap();
    assert_eq!((report.rows["schedules"], report.rows["runs"], report.rows["outbox"]), (1, 0, 1));
}

/// What was said before there was a memory becomes a part of it.
#[tokio::test]
async fn what_was_said_before_version_6_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blufio.db");
    // A conversation's messages have been the same since version 1.
    database::create_plain(&path, 1).unwrap().execute_batch(ROWS).unwrap();
    let store = open(&path, Executor::Inline);
    store.recover(AT).await.unwrap();
    let indexing = || Indexing { messages_max: 2, agent: "Blufio".to_owned(), ahead_minutes: 0 };
    assert!(store.index(indexing()).await.unwrap() && !store.index(indexing()).await.unwrap());
    let scopes = vec![Scope::of(&Principal::Owner)];
    let question = Recall { scopes, text: "hello".to_owned(), meaning: None, kinds: RecallKinds::All, visible: None };
    let found = store.recall(question).await.unwrap().candidates;
    let mut found: Vec<&str> = found.iter().map(|one| one.found.text()).collect();
    found.sort();
    assert_eq!(found, ["and?", "hello"], "an answer, and what was said to it");
    drop(store);
    assert_eq!(invariants::check(&path).unwrap().rows["passages"], 3);
}

/// A small file system in memory; gone with the value.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    /// `None` where this user may not mount.
    fn mount(at: &std::path::Path) -> Option<Self> {
        std::fs::create_dir(at).unwrap();
        let mut mount = std::process::Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs"]).arg(at).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(at.to_owned()))
    }

    /// Takes all space but so much.
    fn fill(&self, free: u64) {
        let mut file = std::fs::File::create(self.0.join("ballast")).unwrap();
        while std::io::Write::write_all(&mut file, &[0; 4_096]).is_ok() {}
        let bytes = file.metadata().unwrap().len();
        file.set_len(bytes - free).unwrap();
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("ballast")).unwrap();
    }

    fn names(&self) -> Vec<std::ffi::OsString> {
        let mut names: Vec<_> = std::fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(std::process::Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

#[tokio::test]
async fn on_a_full_disk_the_old_file_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&folder.path().join("disk")) else {
        eprintln!("skipped: this user may not mount a small file system");
        return;
    };
    let path = disk.0.join("blufio.db");
    database::create_plain(&path, 2).unwrap().execute_batch(ROWS_2).unwrap();
    let before = std::fs::read(&path).unwrap();
    for free in [0, 40_960, 81_920] {
        disk.fill(free);
        let error = blufio_store::encrypt(&path, &DatabaseKey::new([7; 48]), |_, _| {}).unwrap_err();
        // Without any room not even the memory that readers share can be set up, and SQLite says no more than that.
        let expected = if free == 0 { "disk I/O error" } else { "full" };
        assert!(error.to_string().contains(expected), "{free}: {error}");
        assert!(std::fs::read(&path).unwrap() == before, "{free}: the old file was changed");
        assert!(disk.names().iter().all(|name| !name.to_string_lossy().contains(".new")), "{free}: {:?}", disk.names());
    }
    disk.free();
    blufio_store::encrypt(&path, &DatabaseKey::new([7; 48]), |_, _| {}).unwrap();
    let store = open_encrypted(&path, Executor::Inline);
    assert_eq!(store.recover(AT).await.unwrap().boot.0, 1);
}
