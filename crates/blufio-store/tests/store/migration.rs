//! A file of every released version is brought up to date with everything in it.

use super::open;
use blufio_core::access::Principal;
use blufio_core::content::Content;
use blufio_core::ids::{InboxId, MessageSeq, OutboxId};
use blufio_core::port::Storage;
use blufio_core::record::{Fate, OutboxMark, Payload, Query, View};
use blufio_store::{Executor, OpenError, Options, Role, Store};
use blufio_testkit::contract::storage::{ACCOUNT, AT, batch, channel, end, item, key, route};
use blufio_testkit::invariants;
use rusqlite::Connection;

const VERSION_1: &str = include_str!("../../src/schema/0001.sql");

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
    let old = Connection::open(&path).unwrap();
    old.execute_batch("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;").unwrap();
    old.execute_batch(VERSION_1).unwrap();
    old.execute_batch(ROWS).unwrap();
    old.execute_batch("PRAGMA user_version = 1").unwrap();
    drop(old);
    let reading = Options { role: Role::Reader, ..super::options(Executor::Inline) };
    let early = Store::open(&path, None, reading).err();
    assert!(matches!(early, Some(OpenError::Older { found: 1, known: 2 })), "a reader migrates nothing: {early:?}");

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
