//! Sessions, their turns, and what is left of them.

use super::Subject;
use super::fixture::{
    AT, admitted, answered, batch, begin, channel, commit, draft, end, epoch, item, key, message, next, open_call,
    parts, queue, step, turn_opened,
};
use super::inbox::{row, status, take};
use blufio_core::ids::{
    AttachmentId, Boot, CallId, CallNumber, InboxId, MessageSeq, ModelId, SessionId, ToolName, TurnNumber,
};
use blufio_core::message::{Body, Origin, Part, Role, StopReason};
use blufio_core::money::MicroUsd;
use blufio_core::port::{Replay, Storage, StoreError};
use blufio_core::record::{
    CallCost, Commit, Epoch, Fate, NeutralMessage, Query, Record, Retention, ToolRun, ToolState, View,
};
use blufio_core::session::{CallFacts, Input, Outcome, Trouble};
use blufio_core::time::Timestamp;
use std::time::Duration;

/// Starts the process, takes a message and opens its session.
pub(super) async fn start(store: &impl Storage, chat: i64) -> (Boot, InboxId, SessionId) {
    let boot = store.recover(AT).await.unwrap().boot;
    let inbox = take(store, queue(chat, 10, "question")).await;
    (boot, inbox, store.open(key(chat), AT).await.unwrap().id)
}

fn tool_run(call: &str, place: u32, replay: Replay, state: ToolState) -> ToolRun {
    let (call, name, input) = (CallId::new(call), ToolName::new("read"), r#"{"path":"a"}"#.to_owned());
    ToolRun { call, place, round: 1, name, input, replay, bound: None, state }
}

fn tool_call(id: &str) -> Part {
    let body = Body::ToolCall { id: CallId::new(id), name: ToolName::new("read"), input: r#"{"path":"a"}"#.to_owned() };
    Part { origin: Origin::Model, private: false, body }
}

fn facts(id: &str, replay: Replay) -> CallFacts {
    let (id, name) = (CallId::new(id), ToolName::new("read"));
    CallFacts { id, name, replay, fingerprint: 1, refused: None, ask: false, ask_from: None }
}

/// The model asks for two tools: one is done, one runs.
fn round(session: SessionId, boot: Boot) -> Commit {
    let said = vec![Part::text(Origin::Model, "let me look"), tool_call("c1"), tool_call("c2")];
    let calls = vec![facts("c1", Replay::Pure), facts("c2", Replay::Effectful)];
    let asked = Input::CallDone { stop: StopReason::ToolUse, calls, text: true, content: true, cut: false };
    let records = vec![
        parts(1, 2, Role::Assistant, said),
        Record::CallClosed {
            call: CallNumber(1),
            cost: CallCost::Estimated { cost: MicroUsd(70) },
            request: None,
            failure: Some("cut".to_owned()),
        },
        Record::ToolRun(tool_run("c1", 0, Replay::Pure, ToolState::Started(boot))),
        Record::ToolRun(tool_run("c2", 1, Replay::Effectful, ToolState::Started(boot))),
        Record::ToolRun(tool_run("c1", 0, Replay::Pure, ToolState::Done { content: "text".to_owned(), error: false })),
        Record::CallOpened(open_call(2, 600)),
        Record::Placeholder { message: 77 },
    ];
    let steps = vec![step(2, boot, asked), step(3, boot, Input::ToolDone { call: CallId::new("c1") })];
    Commit { steps, ..commit(session, 1, records) }
}

pub(super) async fn a_turn_is_found_again_as_it_was<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let (boot, inbox, session) = start(&store, 1).await;
    let opened = begin(session, 1, inbox, 1, boot);
    let asked = round(session, boot);
    let steps: Vec<_> = opened.steps.iter().chain(&asked.steps).cloned().collect();
    store.commit(opened).await.unwrap();
    assert_eq!(row(&store, inbox).await.state, "claimed");
    assert_eq!(next(&store, session).await, None);
    store.commit(asked).await.unwrap();
    drop(store);
    let store = subject.open();
    assert_eq!(store.recover(AT).await.unwrap().sessions, [key(1)]);
    let snapshot = store.open(key(1), AT).await.unwrap();
    assert_eq!((snapshot.id, snapshot.last_message, snapshot.last_turn), (session, MessageSeq(2), TurnNumber(1)));
    let history: Vec<_> = snapshot.history.iter().map(|one| (one.seq.0, one.role, &*one.wire)).collect();
    assert_eq!(history, [(1, Role::User, &b"wire 1 in 1"[..]), (2, Role::Assistant, b"wire 2 in 1")]);
    let stored = snapshot.epoch.unwrap();
    assert_eq!((stored.number.0, &*stored.system, &*stored.tools), (1, &b"\"system\""[..], &b"[]"[..]));
    let running = snapshot.running.unwrap();
    assert_eq!((running.turn, running.inbox.id, running.placeholder), (TurnNumber(1), inbox, Some(77)));
    assert_eq!(running.deadline, Timestamp(AT.0 + 900_000));
    assert_eq!(running.steps, steps);
    assert_eq!((running.last_call, running.open_calls), (CallNumber(2), vec![open_call(2, 600)]));
    let done = ToolState::Done { content: "text".to_owned(), error: false };
    let tools = [tool_run("c1", 0, Replay::Pure, done), tool_run("c2", 1, Replay::Effectful, ToolState::Started(boot))];
    assert_eq!(running.tools, tools);
    assert_eq!(running.said, [vec![Part::text(Origin::Model, "let me look"), tool_call("c1"), tool_call("c2")]]);
}

pub(super) async fn a_commit_is_whole_or_not_at_all<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let (boot, inbox, session) = start(&store, 1).await;
    store.commit(begin(session, 1, inbox, 1, boot)).await.unwrap();
    let before = status(&store).await;
    let twice = Commit { steps: vec![step(1, boot, Input::Stop)], ..end(session, 1, 2, boot, 1) };
    let gap = Commit { steps: vec![step(3, boot, answered())], ..end(session, 1, 2, boot, 1) };
    let far = end(session, 1, 3, boot, 1);
    let unknown = end(session, 2, 2, boot, 1);
    for (name, bad) in [("a step twice", twice), ("a gap", gap), ("a message too far", far), ("no such turn", unknown)]
    {
        let refused = store.commit(bad).await;
        assert!(matches!(refused, Err(StoreError::Broken(_))), "{name}: {refused:?}");
        let snapshot = store.open(key(1), AT).await.unwrap();
        assert_eq!((snapshot.last_message, snapshot.running.unwrap().steps.len()), (MessageSeq(1), 1), "{name}");
        assert_eq!(status(&store).await, before, "{name}");
    }
    store.commit(end(session, 1, 2, boot, 1)).await.unwrap();
}

pub(super) async fn a_dropped_row_cannot_be_opened<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let (boot, inbox, session) = start(&store, 1).await;
    let stop = Fate::Stop { session: key(1), text: String::new(), reply: None };
    store.accept(batch(vec![item(11, stop)])).await.unwrap();
    let refused = store.commit(begin(session, 1, inbox, 1, boot)).await;
    assert!(matches!(refused, Err(StoreError::NotFound(_))), "{refused:?}");
    let snapshot = store.open(key(1), AT).await.unwrap();
    assert!(snapshot.running.is_none() && snapshot.epoch.is_none());
}

pub(super) async fn one_turn_runs_per_session<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let (boot, inbox, session) = start(&store, 1).await;
    store.commit(begin(session, 1, inbox, 1, boot)).await.unwrap();
    let second = take(&store, queue(1, 11, "next")).await;
    let refused = store.commit(commit(session, 2, vec![turn_opened(second)])).await;
    assert!(matches!(refused, Err(StoreError::Broken(_))), "{refused:?}");
    store.commit(end(session, 1, 2, boot, 1)).await.unwrap();
    store.commit(begin(session, 2, second, 3, boot)).await.unwrap();
}

pub(super) async fn epochs_replace_the_prompt<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let (boot, inbox, session) = start(&store, 1).await;
    store.commit(begin(session, 1, inbox, 1, boot)).await.unwrap();
    store.commit(end(session, 1, 2, boot, 1)).await.unwrap();
    let neutral = store.parts(session, MessageSeq(1)).await.unwrap();
    let question = vec![Part::text(Origin::Owner, "question 1")];
    assert_eq!(neutral[0], NeutralMessage { seq: MessageSeq(1), role: Role::User, parts: question });
    assert_eq!(store.parts(session, MessageSeq(2)).await.unwrap(), neutral[1..]);
    let Record::Epoch(anew) = epoch(2, 1) else { panic!("an epoch") };
    let wires = neutral.iter().map(|one| (one.seq, format!("anew {}", one.seq).into_bytes().into())).collect();
    store.commit(commit(session, 1, vec![Record::Epoch(Epoch { wires, ..anew })])).await.unwrap();
    let snapshot = store.open(key(1), AT).await.unwrap();
    let history: Vec<&[u8]> = snapshot.history.iter().map(|one| &*one.wire).collect();
    assert_eq!(history, [&b"anew 1"[..], b"anew 2"]);
    store.commit(commit(session, 1, vec![epoch(3, 3)])).await.unwrap();
    let snapshot = store.open(key(1), AT).await.unwrap();
    assert!(snapshot.history.is_empty(), "a new conversation");
    assert_eq!((snapshot.epoch.unwrap().number.0, snapshot.last_message), (3, MessageSeq(2)));
    store.retain(Retention { messages_days: 0 }, AT).await.unwrap();
    assert_eq!(store.parts(session, MessageSeq(1)).await.unwrap(), neutral, "only bytes of old epochs go");
}

pub(super) async fn shown_files_are_counted<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let (boot, inbox, session) = start(&store, 1).await;
    let shown = async || match store.view(Query::Attachments, AT).await.unwrap() {
        View::Attachments(attachments) => attachments.into_iter().map(|id| id.to_string()).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let image = |id: &str| {
        let body = Body::Image { attachment: AttachmentId::new(id), media_type: "image/png".to_owned(), bytes: 7 };
        Part { origin: Origin::File, private: false, body }
    };
    let document = Body::Document {
        attachment: AttachmentId::new("d"),
        media_type: "application/pdf".to_owned(),
        bytes: 7,
        title: "t".to_owned(),
        pages: 1,
    };
    let document = Part { origin: Origin::File, private: false, body: document };
    let mut opened = begin(session, 1, inbox, 1, boot);
    opened.records[2] = parts(1, 1, Role::User, vec![image("b"), image("b"), image("a"), document]);
    store.commit(opened).await.unwrap();
    assert_eq!(shown().await, ["a", "b", "d"]);
    store.commit(end(session, 1, 2, boot, 1)).await.unwrap();
    store.commit(commit(session, 1, vec![epoch(2, 3)])).await.unwrap();
    assert!(shown().await.is_empty(), "a new conversation shows none of them");
    let later = AT.plus(Duration::from_secs(2 * 86_400));
    while store.retain(Retention { messages_days: 1 }, later).await.unwrap() {}
    assert!(shown().await.is_empty());
}

pub(super) async fn commands_and_models<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let (_, inbox, session) = start(&store, 1).await;
    let records = vec![
        Record::ModelChosen(Some(ModelId::new("model-b"))),
        Record::Outbox { drafts: vec![draft(1, "From now on.")], first_sending: false },
        Record::CommandDone { inbox, text: "From now on.".to_owned() },
    ];
    store.commit(commit(session, 0, records.clone())).await.unwrap();
    assert!(matches!(store.commit(commit(session, 0, records)).await, Err(StoreError::NotFound(_))), "done once");
    let view = row(&store, inbox).await;
    assert_eq!((view.state.as_str(), view.outcome.as_deref()), ("done", Some("command")));
    assert_eq!(view.text.as_deref(), Some("From now on."));
    assert_eq!(store.open(key(1), AT).await.unwrap().model, Some(ModelId::new("model-b")));
    let zone = Some("Europe/Vienna".to_owned());
    store.commit(commit(session, 0, vec![Record::ModelChosen(None), Record::ZoneChosen(zone.clone())])).await.unwrap();
    let snapshot = store.open(key(1), AT).await.unwrap();
    assert_eq!((snapshot.model, snapshot.zone), (None, zone));
    store.commit(commit(session, 0, vec![Record::ZoneChosen(None)])).await.unwrap();
    assert_eq!(store.open(key(1), AT).await.unwrap().zone, None);
    assert_eq!(store.outbox(channel(), 9, AT).await.unwrap().len(), 1);
}

/// Starts anew after a crash and returns the attempts of the running turn.
async fn crash<S: Storage>(subject: &Subject<'_, S>, store: S) -> (S, Boot, u32) {
    drop(store);
    let store = subject.open();
    let boot = store.recover(AT).await.unwrap().boot;
    let running = store.open(key(1), AT).await.unwrap().running.unwrap();
    (store, boot, running.inbox.attempts)
}

pub(super) async fn attempts_count_boots_without_progress<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let (boot, inbox, session) = start(&store, 1).await;
    store.commit(begin(session, 1, inbox, 1, boot)).await.unwrap();
    let (store, boot, attempts) = crash(subject, store).await;
    assert_eq!(attempts, 1, "it was admitted and got nowhere");
    let restart = |seq, boot, attempts| Commit {
        steps: vec![step(seq, boot, Input::Restarted { attempts })],
        ..commit(session, 1, Vec::new())
    };
    store.commit(restart(2, boot, attempts)).await.unwrap();
    let (store, _, attempts) = crash(subject, store).await;
    assert_eq!(attempts, 2, "it was taken up and got nowhere");
    let (store, boot, attempts) = crash(subject, store).await;
    assert_eq!(attempts, 2, "it did not run in that boot");
    store.commit(restart(3, boot, attempts)).await.unwrap();
    let failed = Input::CallFailed {
        failure: blufio_core::port::Failure::Overloaded,
        retry_after_ms: None,
        shown: false,
        jitter: 0,
    };
    let progress = Commit { steps: vec![step(4, boot, failed)], ..commit(session, 1, Vec::new()) };
    store.commit(progress).await.unwrap();
    let (store, boot, attempts) = crash(subject, store).await;
    assert_eq!(attempts, 0, "any other step is progress");
    let run = |state| {
        Record::ToolRun(ToolRun {
            call: CallId::new("c1"),
            place: 0,
            round: 1,
            name: ToolName::new("write"),
            input: "{}".to_owned(),
            replay: Replay::Idempotent,
            bound: None,
            state,
        })
    };
    store
        .commit(Commit { records: vec![run(ToolState::AwaitingApproval)], ..restart(5, boot, attempts) })
        .await
        .unwrap();
    let (store, boot, attempts) = crash(subject, store).await;
    assert_eq!(attempts, 0, "it waits for an owner, which kills nothing");
    let records = vec![
        run(ToolState::Unknown),
        message(1, 2, Role::Assistant, "[error]"),
        Record::CallClosed { call: CallNumber(1), cost: CallCost::Free, request: None, failure: None },
        Record::TurnClosed { outcome: Outcome::Error(Trouble::Poison), text: "gave up".to_owned() },
    ];
    let poisoned =
        Commit { steps: vec![step(6, boot, Input::Restarted { attempts: 5 })], ..commit(session, 1, records) };
    store.commit(poisoned).await.unwrap();
    let view = row(&store, inbox).await;
    assert_eq!((view.state.as_str(), view.outcome.as_deref()), ("poison", Some("poison")));
    assert!(store.recover(AT).await.unwrap().sessions.is_empty());
}

pub(super) async fn a_clean_stop_is_no_attempt<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let (boot, inbox, session) = start(&store, 1).await;
    store.commit(begin(session, 1, inbox, 1, boot)).await.unwrap();
    store.close(AT).await.unwrap();
    drop(store);
    let store = subject.open();
    let recovered = store.recover(AT).await.unwrap();
    assert_eq!((recovered.unclean, recovered.boot), (false, boot.next()));
    assert_eq!(store.open(key(1), AT).await.unwrap().running.unwrap().inbox.attempts, 0);
}

pub(super) async fn views_show_what_happened<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let (boot, inbox, session) = start(&store, 1).await;
    store.commit(begin(session, 1, inbox, 1, boot)).await.unwrap();
    assert_eq!(status(&store).await.held, MicroUsd(500));
    store.commit(end(session, 1, 2, boot, 1)).await.unwrap();
    let second = take(&store, queue(1, 11, "more")).await;
    store.commit(begin(session, 2, second, 3, boot)).await.unwrap();
    take(&store, queue(1, 12, "waits")).await;
    let seen = status(&store).await;
    assert_eq!((seen.sessions, seen.inbox_pending, seen.outbox_pending), (1, 1, 1));
    assert_eq!(
        (seen.spent, seen.spent_day, seen.held, seen.estimated),
        (MicroUsd(40), MicroUsd(40), MicroUsd(500), MicroUsd(0))
    );
    let turns: Vec<(&str, u64)> = seen.turns.iter().map(|(outcome, count)| (outcome.as_str(), *count)).collect();
    assert_eq!(turns, [("reply", 1), ("running", 1)]);
    assert!(seen.database_bytes > 0 && seen.schema > 0);
    let answer = row(&store, inbox).await;
    assert_eq!((answer.state.as_str(), answer.text.as_deref(), answer.cost), ("done", Some("answer 1"), MicroUsd(40)));
    let View::Sessions(sessions) = store.view(Query::Sessions { limit: 5 }, AT).await.unwrap() else {
        panic!("sessions")
    };
    let one = &sessions[0];
    assert_eq!((&one.key, one.messages, one.turns, one.running, one.pending), (&key(1), 3, 2, true, 1));
    assert_eq!((one.cost, one.model.clone(), one.last), (MicroUsd(40), Some(ModelId::new("model-a")), AT));
    let newest = Query::Messages { session: key(1), limit: 2 };
    let View::Messages(messages) = store.view(newest, AT).await.unwrap() else { panic!("messages") };
    let seqs: Vec<(i64, i64)> = messages.iter().map(|message| (message.seq.0, message.turn.0)).collect();
    assert_eq!(seqs, [(2, 1), (3, 2)]);
    let journal = |turn| Query::Journal { session: key(1), turn };
    let View::Journal(turns) = store.view(journal(None), AT).await.unwrap() else { panic!("turns") };
    assert_eq!(turns.iter().map(|turn| turn.outcome.as_str()).collect::<Vec<_>>(), ["reply", "running"]);
    let inputs: Vec<&Input> = turns[0].steps.iter().map(|(_, _, _, input)| input).collect();
    assert_eq!(inputs, [&admitted(), &answered()]);
    let View::Journal(turns) = store.view(journal(Some(TurnNumber(2))), AT).await.unwrap() else { panic!("turns") };
    assert_eq!((turns.len(), turns[0].inbox), (1, second));
    let unknown = store.view(Query::Messages { session: key(9), limit: 1 }, AT).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(_))), "{unknown:?}");
    let nothing = store.view(Query::Inbox(InboxId(999)), AT).await.unwrap();
    assert!(matches!(nothing, View::Inbox(None)), "{nothing:?}");
}

pub(super) async fn old_things_are_forgotten<S: Storage>(subject: &Subject<'_, S>) {
    const TURNS: i64 = 30;
    let store = subject.open();
    let boot = store.recover(AT).await.unwrap().boot;
    let session = store.open(key(1), AT).await.unwrap().id;
    let mut rows = Vec::new();
    for turn in 1..=TURNS {
        let inbox = take(&store, queue(1, turn, "question")).await;
        store.commit(begin(session, turn, inbox, turn * 2 - 1, boot)).await.unwrap();
        store.commit(end(session, turn, turn * 2, boot, 1)).await.unwrap();
        rows.push(inbox);
    }
    let forget = async |messages_days, days: u64| {
        let at = AT.plus(Duration::from_secs(days * 86_400 + 60));
        let mut rounds = 1;
        while store.retain(Retention { messages_days }, at).await.unwrap() {
            rounds += 1;
            assert!(rounds < 100, "retention comes to an end");
        }
        rounds
    };
    let steps = async || match store.view(Query::Journal { session: key(1), turn: None }, AT).await.unwrap() {
        View::Journal(turns) => turns.iter().map(|turn| turn.steps.len()).sum::<usize>(),
        other => panic!("{other:?}"),
    };
    forget(0, 6).await;
    assert_eq!(steps().await, 60);
    assert!(forget(0, 7).await > 1, "a little at a time");
    assert_eq!(steps().await, 0);
    assert_eq!(row(&store, rows[0]).await.text.as_deref(), Some("answer 1"));
    forget(0, 8).await;
    let gone = store.view(Query::Inbox(rows[0]), AT).await.unwrap();
    assert!(matches!(gone, View::Inbox(None)), "{gone:?}");
    assert_eq!(row(&store, *rows.last().unwrap()).await.text, None, "the newest row stays, without its text");
    assert_eq!(store.parts(session, MessageSeq(1)).await.unwrap().len(), 60, "messages stay for ever");
    forget(90, 89).await;
    assert_eq!(store.parts(session, MessageSeq(1)).await.unwrap().len(), 60);
    forget(90, 90).await;
    let snapshot = store.open(key(1), AT).await.unwrap();
    assert!(snapshot.history.is_empty());
    assert_eq!(snapshot.last_message, MessageSeq(60), "numbers are not used again");
    assert_eq!(status(&store).await.spent, MicroUsd(40 * 30), "the ledger stays");
}

pub(super) async fn a_closed_storage_refuses<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    store.recover(AT).await.unwrap();
    store.probe(AT).await.unwrap();
    store.close(AT).await.unwrap();
    assert!(matches!(store.probe(AT).await, Err(StoreError::Closed)));
    assert!(matches!(store.accept(batch(vec![queue(1, 1, "late")])).await, Err(StoreError::Closed)));
}
