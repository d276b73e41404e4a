//! Questions to an owner.

use super::Subject;
use super::audit::list;
use super::fixture::{
    AT, batch, begin, channel, commit, draft, item, key, message, open_call, parts, queue, route, step,
};
use super::inbox::{row, status, take};
use blufio_core::approval::{Verdict, buttons, is_id};
use blufio_core::ids::{ApprovalId, Boot, CallId, CallNumber, GrantId, OutboxId, SessionId, ToolName, TurnNumber};
use blufio_core::limits::APPROVAL_TTL;
use blufio_core::message::{Body, Origin, Part, Role, StopReason};
use blufio_core::port::{Replay, Storage, StoreError};
use blufio_core::record::{
    ApprovalView, AuditView, Batch, CallCost, Commit, Decided, DecisionReplies, Draft, Fate, Grant, Item, NewApproval,
    OutboxMark, OutboxRow, Payload, Query, Record, Rendered, Retention, Taken, ToolRun, ToolState, View,
};
use blufio_core::session::{CallFacts, Input, Outcome, Timer};
use blufio_core::time::Timestamp;
use std::time::Duration;

const INPUT: &str = r#"{ "path": "a" }"#;
/// What an answer is bound to.
const HASH: &str = "00";
/// The chat in which an owner is asked.
const OWNER: i64 = 9;

fn id(letter: char) -> ApprovalId {
    ApprovalId::new(letter.to_string().repeat(20))
}

fn text(id: &ApprovalId) -> Rendered {
    Rendered { rich: format!("<b>May I?</b> {id}"), plain: format!("May I? {id}") }
}

fn call() -> CallId {
    CallId::new("c1")
}

fn run(state: ToolState) -> Record {
    let (name, input, replay) = (ToolName::new("write"), INPUT.to_owned(), Replay::Idempotent);
    Record::ToolRun(ToolRun { call: call(), place: 0, round: 1, name, input, replay, bound: None, state })
}

/// An answer to question A.
fn answer(verdict: Verdict) -> Decided {
    let (tool, input, hash) = (ToolName::new("write"), INPUT.to_owned(), HASH.to_owned());
    Decided { call: call(), verdict, id: id('A'), tool, input, hash }
}

fn question(id: ApprovalId, shown: bool) -> Record {
    Record::Approval(NewApproval {
        question: text(&id),
        id,
        call: call(),
        hash: HASH.to_owned(),
        grant: None,
        shown: shown.then(|| route(OWNER, None)),
        not_before: Timestamp(0),
        expires: AT.plus(APPROVAL_TTL),
    })
}

/// A turn whose model wants to write, with these records about the question.
async fn asks(store: &impl Storage, records: Vec<Record>) -> (Boot, SessionId) {
    let boot = store.recover(AT).await.unwrap().boot;
    let inbox = take(store, queue(1, 10, "write it")).await;
    let session = store.open(key(1), AT).await.unwrap().id;
    store.commit(begin(session, 1, inbox, 1, boot)).await.unwrap();
    let (name, input) = (ToolName::new("write"), INPUT.to_owned());
    let said =
        Part { origin: Origin::Model, private: false, body: Body::ToolCall { id: call(), name: name.clone(), input } };
    let facts = CallFacts {
        id: call(),
        name,
        replay: Replay::Idempotent,
        fingerprint: 1,
        refused: None,
        ask: true,
        ask_from: None,
    };
    let asked =
        Input::CallDone { stop: StopReason::ToolUse, calls: vec![facts], text: false, content: true, cut: false };
    let mut all = vec![
        parts(1, 2, Role::Assistant, vec![said]),
        Record::CallClosed { call: CallNumber(1), cost: CallCost::Free, request: None, failure: None },
    ];
    all.extend(records);
    // The runtime writes the rows of the calls last.
    all.push(run(ToolState::AwaitingApproval));
    store.commit(Commit { steps: vec![step(2, boot, asked)], ..commit(session, 1, all) }).await.unwrap();
    (boot, session)
}

fn result(text: &str) -> Record {
    let body = Body::ToolResult { id: call(), content: text.to_owned(), error: true };
    parts(1, 3, Role::User, vec![Part { origin: Origin::Tool, private: false, body }])
}

async fn heads(store: &impl Storage) -> Vec<OutboxRow> {
    store.outbox(channel(), 9, AT).await.unwrap()
}

async fn open(store: &impl Storage, at: Timestamp) -> Vec<ApprovalView> {
    match store.view(Query::Approvals, at).await.unwrap() {
        View::Approvals(open) => open,
        other => panic!("{other:?}"),
    }
}

async fn mark(store: &impl Storage, marks: &[OutboxMark]) {
    store.mark(marks.to_vec(), AT).await.unwrap();
}

/// The only row that is due is sent under this number.
async fn deliver(store: &impl Storage, message: i64) -> OutboxRow {
    let mut rows = heads(store).await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    mark(store, &[OutboxMark::Sending(rows[0].id), OutboxMark::Sent(rows[0].id, message)]).await;
    rows.remove(0)
}

fn press(update: i64, id: &ApprovalId, verdict: Verdict, at: (i64, i64)) -> Item {
    let (approval, by) = (id.clone(), "owner 9".to_owned());
    item(update, Fate::Decide { approval, verdict, by, at: Some(at), replies: None })
}

fn command(update: i64, id: &ApprovalId, verdict: Verdict) -> Item {
    let replies = DecisionReplies { decided: draft(OWNER, "noted"), late: draft(OWNER, "too late") };
    let (approval, by) = (id.clone(), "owner <9>".to_owned());
    item(update, Fate::Decide { approval, verdict, by, at: None, replies: Some(Box::new(replies)) })
}

async fn decide(store: &impl Storage, item: Item) -> Taken {
    store.accept(batch(vec![item])).await.unwrap()[0].taken.clone()
}

/// The same, and it may be answered with "always" for what has this hash.
fn grantable(id: ApprovalId, hash: &str) -> Record {
    match question(id, false) {
        Record::Approval(new) => Record::Approval(NewApproval { grant: Some(hash.to_owned()), ..new }),
        other => other,
    }
}

async fn grants(store: &impl Storage) -> Vec<Grant> {
    match store.view(Query::Grants, AT).await.unwrap() {
        View::Grants(grants) => grants,
        other => panic!("{other:?}"),
    }
}

/// What was recorded, oldest first: kind, who, about what, how it ended.
async fn recorded(store: &impl Storage) -> Vec<String> {
    let entries = list(store, 99, None).await;
    let line = |entry: &AuditView| format!("{} {} {} {}", entry.kind, entry.actor, entry.target, entry.outcome);
    entries.iter().rev().map(line).collect()
}

pub(super) async fn always_holds_until_it_is_taken_back<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let (boot, session) = asks(&store, vec![grantable(id('A'), "hash")]).await;
    assert_eq!(store.grant("hash".to_owned()).await.unwrap(), None);
    let always = command(1, &id('A'), Verdict::Always);
    assert_eq!(decide(&store, always).await, Taken::Decided(key(1), Verdict::Always));
    drop(store);
    let store = subject.open();
    let decided = [answer(Verdict::Always)];
    assert_eq!(store.decisions(session, TurnNumber(1)).await.unwrap(), decided);
    let grant = store.grant("hash".to_owned()).await.unwrap().unwrap();
    let expected = Grant {
        id: GrantId(1),
        tool: ToolName::new("write"),
        arguments: INPUT.to_owned(),
        made_at: AT,
        made_by: "owner <9>".to_owned(),
        used_at: None,
        uses: 0,
    };
    assert_eq!(grant, expected);
    assert_eq!(store.grant("other".to_owned()).await.unwrap(), None, "it holds for nothing else");
    let input = Input::Decided { call: call(), verdict: Verdict::Always };
    let go = Commit { steps: vec![step(3, boot, input)], ..commit(session, 1, vec![run(ToolState::Started(boot))]) };
    store.commit(go).await.unwrap();
    let uses = || Commit {
        at: Timestamp(AT.0 + 5),
        ..commit(session, 1, vec![Record::GrantUsed { id: grant.id, call: call() }])
    };
    store.commit(uses()).await.unwrap();
    let used = Grant { used_at: Some(Timestamp(AT.0 + 5)), uses: 1, ..expected };
    assert_eq!(grants(&store).await, [used]);
    assert!(store.revoke(grant.id, "owner 9".to_owned(), AT).await.unwrap());
    assert!(!store.revoke(grant.id, "owner 9".to_owned(), AT).await.unwrap(), "once");
    let late = store.commit(uses()).await;
    assert!(matches!(late, Err(StoreError::NotFound(_))), "taken back since it was looked up: {late:?}");
    assert!(grants(&store).await.is_empty() && store.grant("hash".to_owned()).await.unwrap().is_none());
    let lines = [
        "approval_asked owner approval AAAAAAAAAAAAAAAAAAAA asked",
        "approval_decided owner <9> approval AAAAAAAAAAAAAAAAAAAA always",
        "grant_made owner <9> grant 1 made",
        "grant_used owner grant 1 used",
        "grant_revoked owner 9 grant 1 revoked",
    ];
    assert_eq!(recorded(&store).await, lines);
}

pub(super) async fn always_is_no_answer_where_it_was_not_offered<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let (_, session) = asks(&store, vec![question(id('A'), false)]).await;
    assert_eq!(decide(&store, command(1, &id('A'), Verdict::Always)).await, Taken::AlreadyDecided);
    assert_eq!(decide(&store, command(2, &id('A'), Verdict::Allow)).await, Taken::Decided(key(1), Verdict::Allow));
    assert_eq!(store.decisions(session, TurnNumber(1)).await.unwrap()[0].verdict, Verdict::Allow);
    assert!(grants(&store).await.is_empty());
    let lines = [
        "approval_asked owner approval AAAAAAAAAAAAAAAAAAAA asked",
        "approval_decided owner <9> approval AAAAAAAAAAAAAAAAAAAA allowed",
    ];
    assert_eq!(recorded(&store).await, lines);
}

pub(super) async fn a_question_is_answered_once<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let (_, session) = asks(&store, vec![question(id('A'), true)]).await;
    let view = ApprovalView {
        id: id('A'),
        session: key(1),
        tool: ToolName::new("write"),
        input: INPUT.to_owned(),
        asked_by: "owner".to_owned(),
        asked: AT,
        hash: HASH.to_owned(),
        grantable: false,
        expires: AT.plus(APPROVAL_TTL),
    };
    assert_eq!(open(&store, AT).await, [view]);
    let shown = deliver(&store, 900).await;
    assert_eq!(shown.payload, Payload::Question { approval: id('A'), buttons: buttons(&id('A'), false) });
    assert_eq!((shown.body, shown.route), (text(&id('A')), route(OWNER, None)));
    for (update, at) in [(1, (OWNER, 901)), (2, (1, 900))] {
        assert_eq!(decide(&store, press(update, &id('A'), Verdict::Allow, at)).await, Taken::AlreadyDecided, "{at:?}");
    }
    assert_eq!(decide(&store, press(3, &id('B'), Verdict::Allow, (OWNER, 900))).await, Taken::AlreadyDecided);
    assert!(heads(&store).await.is_empty() && store.decisions(session, TurnNumber(1)).await.unwrap().is_empty());
    let yes = || press(4, &id('A'), Verdict::Allow, (OWNER, 900));
    assert_eq!(decide(&store, yes()).await, Taken::Decided(key(1), Verdict::Allow));
    assert!(open(&store, AT).await.is_empty());
    assert_eq!(decide(&store, press(5, &id('A'), Verdict::Deny, (OWNER, 900))).await, Taken::AlreadyDecided);
    let again = store.accept(batch(vec![yes()])).await.unwrap();
    assert_eq!((again[0].new, &again[0].taken), (false, &Taken::AlreadyDecided), "the same update once more");
    drop(store);
    let store = subject.open();
    let boot = store.recover(AT).await.unwrap().boot;
    let decided = [answer(Verdict::Allow)];
    assert_eq!(store.decisions(session, TurnNumber(1)).await.unwrap(), decided);
    let edit = deliver(&store, 900).await;
    assert_eq!((edit.replaces, edit.payload, edit.route), (Some(900), Payload::Text, route(OWNER, None)));
    let line = "Allowed by owner 9 at 2023-11-14 22:13 UTC";
    let Rendered { rich, plain } = text(&id('A'));
    assert_eq!(edit.body, Rendered { rich: format!("{rich}\n\n{line}"), plain: format!("{plain}\n\n{line}") });
    let input = Input::Decided { call: call(), verdict: Verdict::Allow };
    let go = Commit { steps: vec![step(3, boot, input)], ..commit(session, 1, vec![run(ToolState::Started(boot))]) };
    store.commit(go).await.unwrap();
    assert!(store.decisions(session, TurnNumber(1)).await.unwrap().is_empty(), "the call waits no more");
    let again = store.commit(commit(session, 1, vec![question(id('B'), false)])).await;
    assert!(matches!(again, Err(StoreError::Broken(_))), "a call is asked about once: {again:?}");
}

pub(super) async fn an_answer_by_command_finds_the_question_wherever_it_is<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let (_, session) = asks(&store, vec![question(id('A'), true)]).await;
    let sent = heads(&store).await[0].id;
    mark(&store, &[OutboxMark::Sending(sent)]).await;
    let first = store.accept(batch(vec![command(1, &id('A'), Verdict::Deny)])).await.unwrap();
    assert_eq!(first[0].taken, Taken::Decided(key(1), Verdict::Deny));
    assert_eq!(row(&store, first[0].inbox).await.text.as_deref(), Some("noted"));
    assert_eq!(decide(&store, command(2, &id('A'), Verdict::Allow)).await, Taken::AlreadyDecided);
    let decided = [answer(Verdict::Deny)];
    assert_eq!(store.decisions(session, TurnNumber(1)).await.unwrap(), decided);
    mark(&store, &[OutboxMark::Sent(sent, 900)]).await;
    let mut bodies = Vec::new();
    for message in [901, 902, 900] {
        let row = deliver(&store, message).await;
        bodies.push((row.replaces, row.body.plain.lines().last().unwrap().to_owned()));
    }
    let line = "Denied by owner <9> at 2023-11-14 22:13 UTC".to_owned();
    let expected = [(None, "noted".to_owned()), (None, "too late".to_owned()), (Some(900), line)];
    assert_eq!(bodies, expected, "the question arrived after its answer");
}

pub(super) async fn an_answered_question_is_not_sent<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    asks(&store, vec![question(id('A'), true)]).await;
    assert_eq!(decide(&store, command(1, &id('A'), Verdict::Deny)).await, Taken::Decided(key(1), Verdict::Deny));
    assert_eq!(deliver(&store, 900).await.body.plain, "noted");
    assert!(heads(&store).await.is_empty() && status(&store).await.outbox_dead.is_empty(), "and nobody misses it");
    assert_eq!(store.revive(channel(), None, AT).await.unwrap(), 0);
}

pub(super) async fn an_unanswered_question_is_closed<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let (boot, session) = asks(&store, vec![question(id('A'), true)]).await;
    deliver(&store, 900).await;
    let over = AT.plus(APPROVAL_TTL);
    assert!(open(&store, over).await.is_empty());
    let late = Batch { at: over, ..batch(vec![press(1, &id('A'), Verdict::Allow, (OWNER, 900))]) };
    assert_eq!(store.accept(late).await.unwrap()[0].taken, Taken::AlreadyDecided);
    let records = vec![
        run(ToolState::Done { content: "nobody answered".to_owned(), error: true }),
        Record::ApprovalsClosed { why: "Nobody answered in time." },
        result("nobody answered"),
        Record::CallOpened(open_call(2, 600)),
    ];
    let steps = vec![step(3, boot, Input::Fired { timer: Timer::Approval })];
    store.commit(Commit { steps, ..commit(session, 1, records) }).await.unwrap();
    let edit = deliver(&store, 900).await;
    assert_eq!((edit.replaces, edit.body.plain.lines().last()), (Some(900), Some("Nobody answered in time.")));
    assert_eq!(decide(&store, press(2, &id('A'), Verdict::Allow, (OWNER, 900))).await, Taken::AlreadyDecided);
    let later = AT.plus(Duration::from_secs(31 * 86_400));
    while store.retain(Retention { messages_days: 0 }, later).await.unwrap() {}
    store.commit(commit(session, 1, vec![question(id('A'), false)])).await.expect("the old one is forgotten");
    store.commit(commit(session, 1, vec![Record::ApprovalsClosed { why: "test" }])).await.unwrap();
}

pub(super) async fn the_end_of_a_turn_closes_its_questions<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let (boot, session) = asks(&store, vec![question(id('A'), true)]).await;
    deliver(&store, 900).await;
    let records = vec![
        run(ToolState::Done { content: "stopped".to_owned(), error: true }),
        result("stopped"),
        message(1, 4, Role::Assistant, "[stopped]"),
        Record::TurnClosed { outcome: Outcome::Stopped, text: "[stopped]".to_owned() },
    ];
    store.commit(Commit { steps: vec![step(3, boot, Input::Stop)], ..commit(session, 1, records) }).await.unwrap();
    assert!(open(&store, AT).await.is_empty());
    assert_eq!(deliver(&store, 900).await.replaces, Some(900));
    assert_eq!(decide(&store, press(1, &id('A'), Verdict::Allow, (OWNER, 900))).await, Taken::AlreadyDecided);
}

pub(super) async fn a_question_that_may_not_have_arrived_is_asked_again<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let (_, session) = asks(&store, vec![question(id('A'), true)]).await;
    let first = heads(&store).await[0].id;
    let again = |row| OutboxMark::AskedAgain {
        id: row,
        void: id('A'),
        fresh: id('B'),
        question: text(&id('B')),
        buttons: buttons(&id('B'), false),
    };
    let early = store.mark(vec![again(first)], AT).await;
    assert!(matches!(early, Err(StoreError::NotFound(_))), "it is not being sent: {early:?}");
    mark(&store, &[OutboxMark::Sending(first), again(first)]).await;
    let rows = heads(&store).await;
    assert_eq!((rows[0].body.clone(), rows[0].attempt), (text(&id('B')), 0));
    assert_eq!(rows[0].payload, Payload::Question { approval: id('B'), buttons: buttons(&id('B'), false) });
    assert_eq!(decide(&store, command(1, &id('A'), Verdict::Allow)).await, Taken::AlreadyDecided);
    mark(&store, &[OutboxMark::Sending(rows[0].id)]).await;
    drop(store);
    // The same after a crash, under an id by the store's own chance.
    let store = subject.open();
    assert_eq!(store.recover(AT).await.unwrap().uncertain_sends, 1);
    let third = only(&store).await;
    assert!(is_id(third.as_str()) && third != id('B') && third != id('A'), "{third}");
    deliver(&store, 899).await; // the answer to the command
    let row = heads(&store).await.remove(0);
    assert_eq!(row.payload, Payload::Question { approval: third.clone(), buttons: buttons(&third, false) });
    assert_eq!(row.body, text(&third));
    mark(&store, &[OutboxMark::Sending(row.id), uncertain(row.id)]).await;
    let fourth = only(&store).await;
    assert_ne!(fourth, third);
    let last = deliver(&store, 900).await;
    assert_eq!(last.body, text(&fourth));
    let yes = press(2, &fourth, Verdict::Allow, (OWNER, 900));
    assert_eq!(decide(&store, yes).await, Taken::Decided(key(1), Verdict::Allow));
    assert_eq!(store.decisions(session, TurnNumber(1)).await.unwrap().len(), 1);
    assert!(status(&store).await.outbox_dead.is_empty());
}

fn uncertain(id: OutboxId) -> OutboxMark {
    OutboxMark::Uncertain { id, anew: false, error: "no answer".to_owned() }
}

/// The only open question.
async fn only(store: &impl Storage) -> ApprovalId {
    let open = open(store, AT).await;
    assert_eq!((open.len(), &*open[0].input), (1, INPUT), "{open:?}");
    open[0].id.clone()
}

pub(super) async fn a_question_ends_the_reply_before_it<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let drafts: Vec<Draft> = vec![draft(OWNER, "the first half")];
    let before = Record::Outbox { drafts, first_sending: false };
    asks(&store, vec![before, question(id('A'), true)]).await;
    let half = heads(&store).await.remove(0);
    assert_eq!(half.body.plain, "the first half");
    mark(&store, &[OutboxMark::Dead(half.id, "chat not found".to_owned())]).await;
    assert!(heads(&store).await.is_empty(), "nobody is asked about half of it");
    assert_eq!(open(&store, AT).await.len(), 1, "it is listed still");
    assert_eq!(store.revive(channel(), None, AT).await.unwrap(), 1, "and questions are not sent again");
}
