//! Schedules, the claims of their times, and what is told about their runs.

use super::Subject;
use super::fixture::{AT, batch, begin, channel, draft, end, item, key, next, queue, route};
use super::inbox::row;
use blufio_core::access::Principal;
use blufio_core::audit::AuditKind;
use blufio_core::content::Content;
use blufio_core::ids::{Boot, InboxId, OutboxId, ScheduleId};
use blufio_core::limits::{RUNS_KEPT, SCHEDULE_FAILURES_MAX, SCHEDULES_MAX};
use blufio_core::port::{Storage, StoreError};
use blufio_core::record::{
    Claim, ClaimWhat, Claimed, Fate, OutboxMark, PairingChange, Query, Retention, RunState, RunView, ScheduleChange,
    ScheduleView, View,
};
use blufio_core::schedule::{Action, NewSchedule, Schedule, When};
use blufio_core::time::Timestamp;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// The whole hour after the begin of the cases, and those after it.
fn hour(number: u32) -> Timestamp {
    AT.plus(HOUR * number)
}

fn hourly(chat: i64, name: &str) -> NewSchedule {
    NewSchedule {
        name: name.to_owned(),
        session: key(chat),
        route: route(chat, None),
        principal: Principal::Owner,
        user: Some(chat),
        when: When::Every { period: HOUR, anchor: AT },
        zone: "Europe/Berlin".to_owned(),
        action: Action::Say("drink".to_owned()),
        made_by: format!("owner {chat}"),
    }
}

fn once(chat: i64, name: &str, at: Timestamp) -> NewSchedule {
    NewSchedule { when: When::At(at), action: Action::Ask("news?".to_owned()), ..hourly(chat, name) }
}

async fn try_add(store: &impl Storage, new: NewSchedule, at: Timestamp) -> Result<Schedule, StoreError> {
    store.schedule(ScheduleChange::Add(Box::new(new)), at).await
}

async fn add(store: &impl Storage, new: NewSchedule) -> Schedule {
    try_add(store, new, AT).await.unwrap()
}

async fn enable(store: &impl Storage, id: ScheduleId, on: bool, at: Timestamp) -> Schedule {
    store.schedule(ScheduleChange::Enable { id, on, by: "cli".to_owned() }, at).await.unwrap()
}

/// What its schedule wants, done as the runtime would do it.
fn what(schedule: &Schedule) -> ClaimWhat {
    match &schedule.action {
        Action::Say(text) => ClaimWhat::Say { drafts: vec![draft(schedule.route.chat, text)] },
        Action::Ask(text) | Action::Look(text) => ClaimWhat::Ask {
            session: schedule.session.clone(),
            route: schedule.route.clone(),
            principal: schedule.principal.clone(),
            user: schedule.user,
            content: Content::words(text),
            pending_max: 2,
        },
    }
}

/// The claim of what is due at `now`.
fn claim(schedule: &Schedule, now: Timestamp) -> Claim {
    let due = schedule.when.due(schedule.next_at.unwrap(), now);
    Claim {
        schedule: schedule.id,
        slot: due.slot,
        expected: schedule.next_at,
        next: due.next,
        skipped: due.skipped,
        late: due.late,
        what: what(schedule),
        manual: false,
        seen: None,
    }
}

fn by_hand(schedule: &Schedule, now: Timestamp) -> Claim {
    let (id, what) = (schedule.id, what(schedule));
    Claim {
        schedule: id,
        slot: now,
        expected: None,
        next: None,
        skipped: 0,
        late: false,
        what,
        manual: true,
        seen: None,
    }
}

/// Claims what the only schedule that is due wants.
async fn run(store: &impl Storage, now: Timestamp) -> Claimed {
    let due = store.due(9, now).await.unwrap().due;
    let [schedule] = &due[..] else { panic!("{due:?}") };
    store.claim(claim(schedule, now), now).await.unwrap()
}

async fn schedules(store: &impl Storage) -> Vec<ScheduleView> {
    match store.view(Query::Schedules { session: None }, AT).await.unwrap() {
        View::Schedules(views) => views,
        other => panic!("{other:?}"),
    }
}

async fn runs(store: &impl Storage, schedule: ScheduleId) -> Vec<RunView> {
    match store.view(Query::Runs { schedule, limit: 1_000 }, AT).await.unwrap() {
        View::Runs(views) => views,
        other => panic!("{other:?}"),
    }
}

/// How far the newest run is, and in words.
async fn newest(store: &impl Storage, schedule: ScheduleId) -> (RunState, String) {
    let run = runs(store, schedule).await.swap_remove(0);
    (run.state, run.note)
}

async fn assert_newest(store: &impl Storage, schedule: ScheduleId, state: RunState, note: &str) {
    assert_eq!(newest(store, schedule).await, (state, note.to_owned()));
}

async fn heads(store: &impl Storage) -> Vec<OutboxId> {
    store.outbox(channel(), 100, AT).await.unwrap().into_iter().map(|row| row.id).collect()
}

/// What is said next arrives, or is given up.
async fn deliver(store: &impl Storage, arrives: bool) {
    let id = heads(store).await[0];
    let end = if arrives { OutboxMark::Sent(id, 900) } else { OutboxMark::Dead(id, "too strange".to_owned()) };
    store.mark(vec![OutboxMark::Sending(id), end], AT).await.unwrap();
}

async fn forget(store: &impl Storage, at: Timestamp) {
    let mut rounds = 0;
    while store.retain(Retention { messages_days: 0 }, at).await.unwrap() {
        rounds += 1;
        assert!(rounds < 100, "retention comes to an end");
    }
}

fn asked(claimed: &Claimed) -> InboxId {
    match claimed {
        Claimed::Done { inbox: Some(inbox), .. } => *inbox,
        other => panic!("{other:?}"),
    }
}

fn refused(result: Result<Schedule, StoreError>) -> String {
    match result {
        Err(StoreError::Refused(why)) => why,
        other => panic!("{other:?}"),
    }
}

pub(super) async fn schedules_are_kept_as_they_were_made<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let made = add(&store, hourly(1, "water")).await;
    assert_eq!((made.next_at, made.enabled, made.failures, made.created), (Some(hour(1)), true, 0, AT));
    let later = add(&store, once(2, "news", hour(9))).await;
    drop(store);
    let store = subject.open();
    let names = |views: &[ScheduleView]| views.iter().map(|view| view.schedule.name.clone()).collect::<Vec<_>>();
    let views = schedules(&store).await;
    assert_eq!((&views[0].schedule, &views[1].schedule), (&made, &later));
    assert_eq!((&views[0].off, &views[0].last), (&None, &None));
    let Ok(View::Schedules(of_one)) = store.view(Query::Schedules { session: Some(key(2)) }, AT).await else {
        panic!()
    };
    assert_eq!(names(&of_one), ["news"]);
    let off = enable(&store, made.id, false, AT).await;
    assert_eq!((off.enabled, off.next_at), (false, None));
    let views = schedules(&store).await;
    assert_eq!(
        (names(&views), views[1].off.as_deref()),
        (vec!["news".into(), "water".into()], Some("turned off by cli"))
    );
    assert_eq!(
        enable(&store, made.id, true, hour(3)).await.next_at,
        Some(hour(4)),
        "what was missed meanwhile is over"
    );
    let remove = ScheduleChange::Remove { id: later.id, by: "cli".to_owned() };
    assert_eq!(store.schedule(remove.clone(), AT).await.unwrap(), later);
    assert!(matches!(store.schedule(remove, AT).await, Err(StoreError::NotFound(_))));
    let unknown = store.view(Query::Runs { schedule: later.id, limit: 9 }, AT).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(_))));
    assert_eq!(names(&schedules(&store).await), ["water"]);
    let Ok(View::Audit(lines)) = store.view(Query::Audit { limit: 9, before: None }, AT).await else { panic!() };
    assert!(lines.iter().all(|line| line.kind == AuditKind::ScheduleChanged.as_str()));
    let told: Vec<_> = lines.iter().rev().map(|line| (line.actor.as_str(), line.outcome.as_str())).collect();
    assert_eq!(told, [("owner 1", "made"), ("owner 2", "made"), ("cli", "off"), ("cli", "on"), ("cli", "removed")]);
}

pub(super) async fn what_cannot_be_a_schedule_is_refused<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    add(&store, hourly(1, "water")).await;
    assert!(refused(try_add(&store, hourly(1, "water"), AT).await).contains("already"));
    add(&store, hourly(2, "water")).await;
    assert_eq!(refused(try_add(&store, once(1, "late", AT), AT).await), "that time has passed");
    let last = add(&store, once(1, "last", hour(1))).await;
    for number in 3..SCHEDULES_MAX {
        add(&store, hourly(1, &format!("n{number}"))).await;
    }
    assert!(refused(try_add(&store, hourly(1, "one more"), AT).await).contains("200 schedules"));
    store.claim(claim(&last, hour(1)), hour(1)).await.unwrap();
    let enable = ScheduleChange::Enable { id: last.id, on: true, by: "cli".to_owned() };
    assert_eq!(refused(store.schedule(enable, hour(1)).await), "that time has passed");
    add(&store, hourly(1, "one more")).await;
    assert!(schedules(&store).await.iter().all(|view| view.schedule.id != last.id), "what has run made room");
    assert!(refused(try_add(&store, hourly(1, "and one more"), AT).await).contains("200 schedules"));
}

pub(super) async fn a_time_is_taken_once<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let schedule = add(&store, hourly(1, "water")).await;
    let early = store.due(9, AT).await.unwrap();
    assert_eq!((early.due.len(), early.next), (0, Some(hour(1))));
    let now = hour(1);
    assert_eq!(store.due(9, now).await.unwrap().due, std::slice::from_ref(&schedule));
    let (one, other) = tokio::join!(store.claim(claim(&schedule, now), now), store.claim(claim(&schedule, now), now));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert!(matches!(one, Claimed::Done { inbox: None, failing: None, .. }), "{one:?}");
    assert_eq!((other, heads(&store).await.len()), (Claimed::Gone, 1));
    let stale = Claim { slot: hour(2), next: Some(hour(3)), ..claim(&schedule, now) };
    assert_eq!(store.claim(stale, now).await.unwrap(), Claimed::Gone, "it has another next time by now");
    let seen = store.due(9, now).await.unwrap();
    assert_eq!((seen.due.len(), seen.next), (0, Some(hour(2))));
    // A clock that is set back makes a time come again, and it is still taken.
    let again = Claim { expected: Some(hour(2)), ..claim(&schedule, now) };
    assert_eq!(store.claim(again, now).await.unwrap(), Claimed::Gone);
    assert_eq!((runs(&store, schedule.id).await.len(), heads(&store).await.len()), (1, 1));
    let before = Claim { expected: Some(hour(2)), slot: hour(2), next: Some(hour(1)), ..claim(&schedule, now) };
    assert!(matches!(store.claim(before, now).await, Err(StoreError::Broken(_))), "it would come again for ever");
    assert_eq!(runs(&store, schedule.id).await.len(), 1);
}

pub(super) async fn what_was_said_is_followed_to_its_end<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let id = add(&store, hourly(1, "water")).await.id;
    run(&store, hour(1)).await;
    assert_newest(&store, id, RunState::Running, "not delivered yet").await;
    assert!(matches!(run(&store, hour(2)).await, Claimed::Skipped { .. }), "one at a time");
    assert_newest(&store, id, RunState::Skipped, "the run before it was not over").await;
    deliver(&store, true).await;
    assert!(matches!(run(&store, hour(3)).await, Claimed::Done { .. }));
    deliver(&store, false).await;
    assert_newest(&store, id, RunState::Failed, "not delivered: too strange").await;
    let states: Vec<_> = runs(&store, id).await.iter().map(|run| run.state).collect();
    assert_eq!(states, [RunState::Failed, RunState::Skipped, RunState::Done]);
    assert_eq!(store.revive(channel(), None, AT).await.unwrap(), 1);
    deliver(&store, true).await;
    assert_newest(&store, id, RunState::Done, "delivered").await;
    // Long after its rows are gone it is still known.
    forget(&store, AT.plus(DAY * 60)).await;
    assert_newest(&store, id, RunState::Done, "delivered").await;
}

pub(super) async fn what_was_asked_is_followed_to_its_end<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let boot = store.recover(AT).await.unwrap().boot;
    let ask = NewSchedule { action: Action::Ask("news?".to_owned()), ..hourly(1, "news") };
    let id = add(&store, ask).await.id;
    let inbox = asked(&run(&store, hour(1)).await);
    let session = store.open(key(1), AT).await.unwrap().id;
    let waits = next(&store, session).await.unwrap();
    assert_eq!((waits.id, &waits.route, waits.content), (inbox, &route(1, None), Content::words("news?")));
    assert_eq!((waits.principal, waits.user), (Principal::Owner, Some(1)));
    assert_newest(&store, id, RunState::Running, "it waits for its turn").await;
    store.commit(begin(session, 1, inbox, 1, boot)).await.unwrap();
    assert_newest(&store, id, RunState::Running, "the agent is at it").await;
    store.commit(end(session, 1, 2, boot, 1)).await.unwrap();
    assert_newest(&store, id, RunState::Running, "answered, not delivered yet").await;
    deliver(&store, true).await;
    assert_newest(&store, id, RunState::Done, "answered and delivered").await;
    let dropped = asked(&run(&store, hour(2)).await);
    let stop = Fate::Stop { session: key(1), text: "ok".to_owned(), reply: None };
    store.accept(batch(vec![item(50, stop)])).await.unwrap();
    assert_eq!(row(&store, dropped).await.state, "dropped");
    assert_newest(&store, id, RunState::Skipped, "dropped: by_owner").await;
    // A chat that is shut costs nothing.
    store.mark(vec![OutboxMark::ChatClosed(route(1, None), "blocked".to_owned())], AT).await.unwrap();
    assert!(matches!(run(&store, hour(3)).await, Claimed::Done { inbox: None, .. }));
    assert_newest(&store, id, RunState::Failed, "the chat is shut: blocked").await;
    forget(&store, AT.plus(DAY * 60)).await;
    let notes: Vec<_> = runs(&store, id).await.into_iter().rev().map(|run| run.note).collect();
    assert_eq!(notes, ["answered and delivered", "dropped: by_owner", "the chat is shut: blocked"]);
}

pub(super) async fn a_crash_after_a_claim_loses_and_repeats_nothing<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    assert_eq!(store.recover(AT).await.unwrap().boot, Boot(1));
    let (say, ask) = (add(&store, hourly(1, "water")).await, add(&store, once(2, "news", hour(1))).await);
    let claims = [claim(&say, hour(1)), claim(&ask, hour(1))];
    for claim in claims.clone() {
        assert!(matches!(store.claim(claim, hour(1)).await, Ok(Claimed::Done { .. })));
    }
    drop(store);
    let store = subject.open();
    assert_eq!(store.recover(hour(1)).await.unwrap().sessions, [key(2)], "the turn begins now");
    for claim in claims {
        assert_eq!(store.claim(claim, hour(1)).await.unwrap(), Claimed::Gone);
    }
    assert_newest(&store, say.id, RunState::Running, "not delivered yet").await;
    assert_newest(&store, ask.id, RunState::Running, "it waits for its turn").await;
    deliver(&store, true).await;
    drop(store);
    let store = subject.open();
    store.recover(hour(1)).await.unwrap();
    assert_newest(&store, say.id, RunState::Done, "delivered").await;
    assert_eq!((runs(&store, say.id).await.len(), heads(&store).await.len()), (1, 0));
}

pub(super) async fn once_is_once_and_every_goes_on<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let news = add(&store, once(2, "news", hour(1))).await;
    asked(&run(&store, hour(1)).await);
    let seen = store.due(9, hour(99)).await.unwrap();
    assert_eq!((seen.due.len(), seen.next), (0, None), "nothing will ever be due");
    let view = schedules(&store).await.swap_remove(0);
    assert_eq!((view.schedule.enabled, view.off.as_deref()), (false, Some("it has run")));
    assert_ne!(try_add(&store, once(2, "news", hour(3)), hour(2)).await.unwrap().id, news.id, "its name is free");
    let water = add(&store, hourly(1, "water")).await;
    for number in 1..=2 {
        assert!(matches!(run(&store, hour(number)).await, Claimed::Done { .. }));
        deliver(&store, true).await;
    }
    assert_eq!(store.due(1, hour(9)).await.unwrap().next, Some(hour(3)), "there was no room for both");
    // Six hours without a process: one run, and it says so.
    let waits = schedules(&store).await.into_iter().find(|view| view.schedule.id == water.id).unwrap().schedule;
    store.claim(claim(&waits, hour(8).plus(HOUR / 2)), hour(8)).await.unwrap();
    let view = schedules(&store).await.into_iter().find(|view| view.schedule.id == water.id).unwrap();
    assert_eq!((view.schedule.next_at, view.last.map(|run| run.slot)), (Some(hour(9)), Some(hour(8))));
    let runs = runs(&store, water.id).await;
    assert_eq!((runs.len(), runs[0].slot, runs[0].skipped, runs[0].late), (3, hour(8), 5, true));
    assert_eq!((runs[1].slot, runs[1].skipped, runs[1].late), (hour(2), 0, false));
}

pub(super) async fn by_hand_changes_no_time<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let schedule = add(&store, hourly(1, "water")).await;
    let now = AT.plus(HOUR / 2);
    assert!(matches!(store.claim(by_hand(&schedule, now), now).await, Ok(Claimed::Done { .. })));
    assert_eq!(store.claim(by_hand(&schedule, now), now).await.unwrap(), Claimed::Gone, "twice in a millisecond");
    enable(&store, schedule.id, false, now).await;
    let then = now.plus(HOUR);
    assert!(
        matches!(store.claim(by_hand(&schedule, then), then).await, Ok(Claimed::Done { .. })),
        "also one that is off"
    );
    let views = schedules(&store).await;
    assert_eq!((views[0].schedule.enabled, views[0].last.as_ref().map(|run| run.manual)), (false, Some(true)));
    assert_eq!(enable(&store, schedule.id, true, now).await.next_at, Some(hour(1)));
    assert!(matches!(run(&store, hour(1)).await, Claimed::Done { .. }), "what was done by hand holds up nothing");
    assert_eq!(runs(&store, schedule.id).await.len(), 3);
}

pub(super) async fn nothing_is_claimed_of_what_is_off_or_gone<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let (off, gone) = (add(&store, hourly(1, "off")).await, add(&store, hourly(1, "gone")).await);
    enable(&store, off.id, false, AT).await;
    store.schedule(ScheduleChange::Remove { id: gone.id, by: "cli".to_owned() }, AT).await.unwrap();
    for schedule in [&off, &gone] {
        assert_eq!(store.claim(claim(schedule, hour(1)), hour(1)).await.unwrap(), Claimed::Gone);
    }
    assert_eq!(store.claim(by_hand(&gone, AT), AT).await.unwrap(), Claimed::Gone);
}

pub(super) async fn schedules_go_with_people_and_groups<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let theirs = NewSchedule { principal: Principal::Person("5".to_owned()), user: Some(5), ..hourly(-7, "theirs") };
    let theirs = add(&store, theirs).await;
    let ours = add(&store, hourly(-7, "ours")).await;
    store.accept(batch(vec![item(1, Fate::Migrate { old: -7, new: -1_007 })])).await.unwrap();
    let chats: Vec<i64> = schedules(&store).await.iter().map(|view| view.schedule.route.chat).collect();
    assert_eq!(chats, [-1_007, -1_007]);
    let (name, code) = ("Eve".to_owned(), "CODE".to_owned());
    let pair = Fate::Pair { user: 5, name, code: code.clone(), reply: draft(5, "your code") };
    store.accept(batch(vec![item(2, pair)])).await.unwrap();
    store.pairing(PairingChange::Approve { code, owner: false, has_owner: true }, AT).await.unwrap();
    store.pairing(PairingChange::Revoke { user: 5 }, AT).await.unwrap();
    let due = store.due(9, hour(1)).await.unwrap().due;
    assert_eq!(due.iter().map(|schedule| schedule.id).collect::<Vec<_>>(), [ours.id]);
    let off = schedules(&store).await.into_iter().find(|view| view.schedule.id == theirs.id).unwrap().off;
    assert_eq!(off.as_deref(), Some("who wanted it may not speak here any more"));
}

pub(super) async fn too_much_that_waits_delays_a_run<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let ask = NewSchedule { action: Action::Ask("news?".to_owned()), ..hourly(1, "news") };
    let id = add(&store, ask).await.id;
    store.accept(batch((1..=2).map(|number| queue(1, number, "hi")).collect())).await.unwrap();
    assert_eq!(run(&store, hour(1)).await, Claimed::Full);
    assert_eq!(runs(&store, id).await, []);
    assert_eq!(store.due(9, hour(1)).await.unwrap().due[0].next_at, Some(hour(1)), "it is still due");
    let note = "quiet".to_owned();
    let schedule = store.due(9, hour(1)).await.unwrap().due.swap_remove(0);
    let skip = Claim { what: ClaimWhat::Skip { note }, ..claim(&schedule, hour(1)) };
    assert!(matches!(store.claim(skip, hour(1)).await, Ok(Claimed::Skipped { .. })));
    assert_newest(&store, id, RunState::Skipped, "quiet").await;
}

pub(super) async fn what_keeps_failing_is_turned_off<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let id = add(&store, hourly(1, "water")).await.id;
    let mut told = Vec::new();
    for number in 1..=SCHEDULE_FAILURES_MAX {
        let Claimed::Done { failing, .. } = run(&store, hour(number)).await else { panic!("it runs") };
        told.extend(failing.map(|failing| (number, failing.failures, failing.why)));
        deliver(&store, false).await;
    }
    assert_eq!(told, [(3, 2, "not delivered: too strange".to_owned())], "the owner is told once");
    assert_eq!(schedules(&store).await[0].schedule.failures, 10);
    let Claimed::Disabled(failing) = run(&store, hour(11)).await else { panic!("it is off") };
    assert_eq!((failing.failures, failing.why.as_str()), (10, "not delivered: too strange"));
    let view = schedules(&store).await.swap_remove(0);
    assert_eq!((view.schedule.enabled, runs(&store, id).await.len()), (false, 10));
    assert!(view.off.unwrap().starts_with("10 runs in a row have failed"));
    let on = enable(&store, id, true, hour(11)).await;
    assert_eq!((on.failures, on.next_at), (0, Some(hour(12))), "counted anew");
    for (number, arrives, failures) in [(12, false, 1), (13, true, 0), (14, false, 1), (15, false, 2)] {
        assert!(matches!(run(&store, hour(number)).await, Claimed::Done { failing: None, .. }));
        deliver(&store, arrives).await;
        assert_eq!(schedules(&store).await[0].schedule.failures, failures);
    }
    assert!(matches!(run(&store, hour(16)).await, Claimed::Done { failing: Some(_), .. }), "and told again");
}

pub(super) async fn few_runs_are_kept<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let schedule = add(&store, hourly(1, "water")).await;
    let more = RUNS_KEPT + 20;
    for number in 1..=more {
        // The first is never over, so all others are skipped.
        run(&store, hour(number)).await;
    }
    forget(&store, AT).await;
    let kept = runs(&store, schedule.id).await;
    assert_eq!(kept.len(), usize::try_from(RUNS_KEPT).unwrap() + 1, "and the one that is not over");
    assert_eq!((kept[0].slot, kept.last().unwrap().slot), (hour(more), hour(1)));
    deliver(&store, true).await;
    forget(&store, AT).await;
    assert_eq!(runs(&store, schedule.id).await.len(), usize::try_from(RUNS_KEPT).unwrap());
}

pub(super) async fn what_was_asked_is_known_for_longer_than_its_run<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    store.recover(AT).await.unwrap();
    let ask = NewSchedule { action: Action::Ask("news?".to_owned()), ..hourly(1, "news") };
    let schedule = add(&store, ask).await;
    asked(&run(&store, hour(1)).await);
    let stop = Fate::Stop { session: key(1), text: "ok".to_owned(), reply: None };
    store.accept(batch(vec![item(50, stop)])).await.unwrap();
    let many = RUNS_KEPT + 2;
    for number in 2..=many {
        let schedule = store.due(9, hour(number)).await.unwrap().due.swap_remove(0);
        let skip = ClaimWhat::Skip { note: "quiet".to_owned() };
        store.claim(Claim { what: skip, ..claim(&schedule, hour(number)) }, hour(number)).await.unwrap();
    }
    forget(&store, hour(many)).await;
    assert!(runs(&store, schedule.id).await.iter().all(|run| run.slot != hour(1)), "the run is forgotten");
    let again = Claim { expected: Some(hour(many + 1)), ..claim(&schedule, hour(1)) };
    assert_eq!(store.claim(again, hour(1)).await.unwrap(), Claimed::Gone);
    assert_eq!(store.due(9, AT).await.unwrap().next, Some(hour(2)), "and the schedule goes on");
}

pub(super) async fn a_wrong_clock_silences_no_schedule<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let schedule = add(&store, hourly(1, "water")).await;
    let ahead = hour(87_600);
    run(&store, ahead).await;
    deliver(&store, true).await;
    assert_eq!(store.due(9, AT).await.unwrap().next, Some(hour(87_601)));
    forget(&store, AT).await;
    assert_eq!(store.due(9, AT).await.unwrap().next, Some(hour(1)));
    run(&store, hour(1)).await;
    deliver(&store, true).await;
    forget(&store, AT.plus(HOUR / 2)).await;
    assert_eq!(store.due(9, AT).await.unwrap().next, Some(hour(2)), "half an hour back is waited for");
    let slots: Vec<_> = runs(&store, schedule.id).await.into_iter().map(|run| run.slot).collect();
    assert_eq!(slots, [hour(1), ahead]);
    assert_eq!(run(&store, ahead).await, Claimed::Gone);
    assert_eq!(runs(&store, schedule.id).await.len(), 2, "its time was taken, however wrong the clock was");
    assert_eq!(store.due(9, AT).await.unwrap().next, Some(hour(87_601)));
}
