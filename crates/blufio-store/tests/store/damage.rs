//! The invariants are only worth something if they notice: each kind of damage, done by hand, is named.

use super::open;
use blufio_core::audit::{AuditEntry, AuditKind};
use blufio_core::ids::CallNumber;
use blufio_core::message::Role;
use blufio_core::port::Storage;
use blufio_core::record::{CallCost, Commit, Record};
use blufio_core::session::Outcome;
use blufio_store::Executor;
use blufio_testkit::contract::storage::{
    AT, admitted, answered, batch, commit, draft, epoch, key, message, open_call, queue, step, turn_opened,
};
use blufio_testkit::invariants;
use rusqlite::Connection;

#[tokio::test]
async fn every_kind_of_damage_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blufio.db");
    let store = open(&path, Executor::Inline);
    let boot = store.recover(AT).await.unwrap().boot;
    let rows = store.accept(batch(vec![queue(1, 1, "done"), queue(1, 2, "runs"), queue(2, 3, "waits")])).await.unwrap();
    let session = store.open(key(1), AT).await.unwrap().id;
    let open_turn = |turn: i64, inbox| {
        let mut records = vec![turn_opened(inbox)];
        records.extend((turn == 1).then(|| epoch(1, 1)));
        records.push(message(1, turn * 2 - 1, Role::User, "question"));
        records.push(Record::CallOpened(open_call(1, 500)));
        Commit { steps: vec![step(1, boot, admitted())], ..commit(session, turn, records) }
    };
    store.commit(open_turn(1, rows[0].inbox)).await.unwrap();
    let end = vec![
        message(1, 2, Role::Assistant, "answer"),
        Record::CallClosed { call: CallNumber(1), cost: CallCost::Free, request: None, failure: None },
        Record::Outbox { drafts: vec![draft(1, "one"), draft(1, "two")], first_sending: true },
        Record::TurnClosed { outcome: Outcome::Reply, text: "answer".to_owned() },
    ];
    store.commit(Commit { steps: vec![step(2, boot, answered())], ..commit(session, 1, end) }).await.unwrap();
    store.commit(open_turn(2, rows[1].inbox)).await.unwrap();
    let entry = |target: &str| AuditEntry {
        kind: AuditKind::ToolRun,
        actor: "owner".to_owned(),
        session: None,
        target: target.to_owned(),
        outcome: "done".to_owned(),
        detail: serde_json::json!({ "about": target }),
    };
    store.audit(vec![entry("one"), entry("two"), entry("three")], AT).await.unwrap();
    store.close(AT).await.unwrap(); // folds the log into the file, which is then copied alone
    drop(store);
    invariants::check(&path).unwrap();
    let asked =
        "INSERT INTO approvals (id, session, turn, call_id, hash, tool, input, state, question_rich, question_plain,
                 created, expires, decided_at, decided_by)";
    let run = "INSERT INTO tool_runs (session, turn, call_id, place, round, name, input, replay, state, starts)";
    let granted = "INSERT INTO grants (tool, arguments, hash, policy_version, made_at, made_by, used_at, uses)";
    let damages = [
        ("I1", "UPDATE inbox SET claimed_boot = 77 WHERE state = 'claimed'".to_owned()),
        ("I2", "UPDATE cursors SET cursor = cursor + 5".to_owned()),
        ("I3", "UPDATE inbox SET state = 'received', claimed_boot = NULL WHERE state = 'claimed'".to_owned()),
        ("I3", "UPDATE inbox SET joined = 99 WHERE state = 'done'".to_owned()),
        ("I3", "UPDATE inbox SET joined = 1 WHERE state = 'claimed'".to_owned()),
        ("I4", "UPDATE turns SET turn = 9 WHERE turn = 2".to_owned()),
        ("I5", format!("{run} VALUES (1, 1, 'c', 0, 1, 'read', '', 'pure', 'planned', 0)")),
        ("I6", format!("{run} VALUES (1, 1, 'c', 0, 1, 'exec', '', 'effectful', 'done', 2)")),
        ("I7", "UPDATE outbox SET state = 'sent', done_at = 1 WHERE body_plain = 'two'".to_owned()),
        ("I7", "UPDATE outbox SET state = 'sending'".to_owned()),
        ("I8", "UPDATE messages SET role = 'user' WHERE seq = 2".to_owned()),
        ("I8", "DELETE FROM messages WHERE seq = 2".to_owned()),
        ("I9", "UPDATE ledger SET state = 'held', closed_at = NULL WHERE turn = 1".to_owned()),
        ("I12", "DELETE FROM epochs".to_owned()),
        (
            "I12",
            "UPDATE messages SET parts = json_insert(parts, '$[1]', json('{\"origin\":\"file\",\"body\":{\"type\":\"image\",
             \"attachment\":\"ab\",\"media_type\":\"image/png\",\"bytes\":7}}')) WHERE seq = 1"
                .to_owned(),
        ),
        ("I12", "DELETE FROM wire WHERE seq = 1".to_owned()),
        ("I13", format!("{asked} VALUES ('a', 1, 2, 'c', '', 't', '', 'pending', '', '', 1, 9, NULL, NULL)")),
        ("I13", format!("{asked} VALUES ('a', 1, 2, 'c', '', 't', '', 'approved', '', '', 1, 9, 9, 'x')")),
        (
            "I13",
            format!(
                "{asked} VALUES ('a', 1, 2, 'c', '', 'exec', '', 'denied', '', '', 1, 9, 2, 'x');
                 {run} VALUES (1, 2, 'c', 0, 1, 'exec', '', 'pure', 'started', 1);"
            ),
        ),
        (
            "I13",
            format!(
                "{asked} VALUES ('a', 1, 2, 'c', '', 'exec', '{{}}', 'approved', '', '', 1, 9, 2, 'x');
                 {run} VALUES (1, 2, 'c', 0, 1, 'exec', '', 'pure', 'started', 1);"
            ),
        ),
        ("I16", "UPDATE audit SET target = 'else' WHERE seq = 2".to_owned()),
        ("I16", "UPDATE audit SET ts_ms = ts_ms + 1 WHERE seq = 1".to_owned()),
        ("I16", "DELETE FROM audit_detail WHERE seq = 2; DELETE FROM audit WHERE seq = 2".to_owned()),
        ("I16", "DELETE FROM audit_detail WHERE seq = 3; DELETE FROM audit WHERE seq = 3".to_owned()),
        ("I16", "UPDATE audit_detail SET json = '{}' WHERE seq = 3".to_owned()),
        ("I16", format!("{asked} VALUES ('a', 1, 1, 'c', '', 't', '', 'closed', '', '', 1800000000000, 1900000000000, 1800000000001, NULL)")),
        ("I16", format!("{asked} VALUES ('a', 1, 1, 'c', '', 't', '', 'denied', '', '', 1, 1900000000000, 1800000000001, 'x')")),
        ("I16", format!("{granted} VALUES ('t', '', 'h', 1, 1, 'x', 2, 3)")),
        ("I17", format!("{granted} VALUES ('t', '', 'h', 1, 1, 'x', NULL, 0)")),
        (
            "I17",
            format!(
                "{asked} VALUES ('a', 1, 1, 'c', '', 't', '', 'approved', '', '', 1, 9, 2, 'x');
                 UPDATE approvals SET always = 1, grant_hash = 'h';"
            ),
        ),
        (
            "I18",
            "INSERT INTO vault VALUES ('a', 1, 'all', '[]', zeroblob(32), zeroblob(12), x'00', 1, 1)".to_owned(),
        ),
        ("I15", "UPDATE turns SET outcome = 'stopped' WHERE turn = 1".to_owned()),
        ("I15", "DELETE FROM steps WHERE turn = 2".to_owned()),
    ];
    for (expected, sql) in damages {
        let copy = folder.path().join("copy.db");
        std::fs::copy(&path, &copy).unwrap();
        let connection = Connection::open(&copy).unwrap();
        connection.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA journal_mode = DELETE;").unwrap();
        connection.execute_batch(&sql).unwrap();
        drop(connection);
        let violations = invariants::check(&copy).expect_err(&sql);
        let named = violations.iter().any(|line| line.starts_with(&format!("{expected} ")));
        assert!(named, "{sql}: {violations:?}");
    }
}
