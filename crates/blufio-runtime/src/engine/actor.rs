//! One actor per live session: takes the oldest waiting row, answers it, takes the next.

use super::compacting::{self, Done};
use super::session::Session;
use super::ticket::Ticket;
use super::{Engine, QueueMode, content, learning, turn};
use crate::sessions::Seat;
use crate::tasks::{blocking, guarded};
use blufio_core::command::{self, Command, EFFORTS};
use blufio_core::context::compaction::plan::Occasion;
use blufio_core::failpoint::{Failpoint, hit};
use blufio_core::ids::{InboxId, ModelId, SessionKey};
use blufio_core::limits::{ALBUM_PARTS_MAX, ALBUM_WAIT, JOINED_MESSAGES_MAX};
use blufio_core::port::StoreError;
use blufio_core::record::{Commit, InboxRow, Record};
use jiff::tz::TimeZone;
use std::sync::Arc;
use std::time::Duration;

/// Before a session is read again because its rows had changed.
const REREAD_PAUSE: Duration = Duration::from_millis(10);
/// After a turn panicked; grows with each panic in a row.
const PANIC_PAUSE: Duration = Duration::from_millis(100);
/// The longest such pause, in units of the first.
const PANIC_PAUSES_MAX: u32 = 300;
/// After the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Starts the actor of a session that has just got a seat.
pub(super) fn start(engine: Arc<Engine>, key: SessionKey, seat: Seat) {
    let tasks = engine.tasks.clone();
    drop(tasks.spawn("session", run(engine, key, seat)));
}

async fn run(engine: Arc<Engine>, key: SessionKey, mut seat: Seat) {
    let mut panics = 0;
    let next = loop {
        let life = live(&engine, &key, &mut seat, panics);
        match guarded("turn", life).await {
            Some(Ok(next)) => break next,
            // A row was dropped between being read and being claimed: look again.
            Some(Err(StoreError::NotFound(reason))) => {
                tracing::debug!(session = %key, reason, "the session is read again");
                panics = 0;
                engine.adapters.clock.sleep(REREAD_PAUSE).await;
            }
            Some(Err(error)) => {
                tracing::error!(session = %key, %error, "the session's rows could not be read or written");
                panics = 0;
                if matches!(error, StoreError::Closed) {
                    break engine.sessions.gone(&key);
                }
                engine.adapters.clock.sleep(STORE_PAUSE).await;
            }
            // The turn that panicked is told so: it ends in an error, and the session goes on.
            None => {
                panics += 1;
                engine.adapters.clock.sleep(PANIC_PAUSE * panics.min(PANIC_PAUSES_MAX)).await;
            }
        }
        engine.sessions.running(&key, None);
    };
    engine.hub.forget(&key);
    if let Some((key, seat)) = next {
        start(engine, key, seat);
    }
}

/// Lives until the session has been idle for long enough; returns who takes the place.
async fn live(
    engine: &Arc<Engine>,
    key: &SessionKey,
    seat: &mut Seat,
    panics: u32,
) -> Result<Option<(SessionKey, Seat)>, StoreError> {
    let clock = &engine.adapters.clock;
    let snapshot = engine.adapters.storage.open(key.clone(), clock.now()).await?;
    let (mut session, running) = Session::from_snapshot(engine, snapshot).await;
    let mut unopened = panics > 0;
    if let Some(running) = running {
        unopened = false;
        let (ticket, _) = Ticket::take(engine, running.inbox.attempts).await;
        turn::resume(engine, &mut session, (seat, ticket), running, panics).await?;
    }
    loop {
        if engine.is_draining() {
            return Ok(engine.sessions.gone(key));
        }
        engine.sessions.looks(key);
        if engine.is_killed() {
            tokio::select! {
                () = engine.until_killed_is(false) => {}
                () = engine.draining() => {}
            }
            continue;
        }
        seat.passed = *seat.stop.borrow();
        if let Some(row) = engine.adapters.storage.waiting(session.id, 1).await?.pop() {
            if std::mem::take(&mut unopened) {
                turn::give_up(engine, &mut session, row).await?;
                continue;
            }
            session.look(engine, &row).await;
            answer(engine, &mut session, seat, row).await?;
            compacting::after_turn(engine, &mut session, seat).await?;
            continue;
        }
        // The row that panicked is gone; whatever comes next has done nothing wrong.
        unopened = false;
        let rest = learning::REST.saturating_sub(session.silence(clock.now()));
        let learns = learning::is_due(engine, &session);
        if learns && rest.is_zero() {
            learning::learn(engine, &mut session, Some(seat)).await?;
            continue;
        }
        let crowded = engine.sessions.idle(key, clock.monotonic());
        let woken = !crowded
            && tokio::select! {
                () = clock.sleep(rest), if learns => true,
                () = seat.wake.notified() => !engine.sessions.idle(key, clock.monotonic()),
                () = engine.draining() => false,
                () = clock.sleep(engine.settings.idle_evict) => false,
            };
        if !woken && let Some(next) = engine.sessions.leave(key) {
            return Ok(next);
        }
    }
}

async fn answer(engine: &Arc<Engine>, session: &mut Session, seat: &mut Seat, row: InboxRow) -> Result<(), StoreError> {
    match command::parse(&row.content.text, None) {
        Some(Command::New) => {
            let first = session.last_message.next();
            let epoch = session.render_epoch(engine, first, None).await?;
            carry_out(engine, session, &row, epoch, "New conversation. What is on your mind?".to_owned()).await
        }
        Some(Command::Compact) => {
            let text = match compacting::compact(engine, session, Occasion::Asked, None).await? {
                Done::Shorter(before, after) => format!(
                    "I read this conversation from a summary now: about {after} tokens instead of {before}. Nothing is deleted."
                ),
                Done::Nothing => {
                    "There is nothing in this conversation yet that a summary would make shorter.".to_owned()
                }
                Done::Interrupted => "That was interrupted; the conversation is as it was.".to_owned(),
            };
            say(engine, session, &[row], text).await
        }
        Some(Command::Model(wish)) => choose_model(engine, session, &row, wish).await,
        Some(Command::Think(wish)) => choose_effort(engine, session, &row, wish).await,
        Some(Command::Only(tier)) if command::said(&row.content.text).is_empty() && row.content.files.is_empty() => {
            let text =
                format!("Write the message behind it, as in `/{tier} why is the sky blue?`; it is asked this once.");
            say(engine, session, &[row], text).await
        }
        Some(Command::Timezone(wish)) => choose_zone(engine, session, &row, wish).await,
        Some(Command::Retry) => match engine.adapters.storage.last_request(session.id).await? {
            Some(content) => open_turn(engine, session, seat, vec![InboxRow { content, ..row }]).await,
            None => {
                say(engine, session, &[row], "There is no message of yours that I could answer again.".to_owned()).await
            }
        },
        Some(
            Command::Start(_)
            | Command::Help
            | Command::Stop
            | Command::Status
            | Command::Queue
            | Command::Whoami
            | Command::Approve(_)
            | Command::Cost
            | Command::Kill
            | Command::Resume
            | Command::Only(_),
        )
        | None => {
            compacting::before_turn(engine, session).await?;
            let rows = together(engine, session, row).await?;
            open_turn(engine, session, seat, rows).await
        }
    }
}

/// The rows that one turn answers: the pieces of an album, and whatever else the queue mode puts together.
async fn together(engine: &Arc<Engine>, session: &Session, first: InboxRow) -> Result<Vec<InboxRow>, StoreError> {
    let collects = matches!(engine.settings.queue, QueueMode::Collect | QueueMode::Interrupt);
    if first.album.is_none() && !collects {
        return Ok(vec![first]);
    }
    loop {
        let waiting = engine.adapters.storage.waiting(session.id, JOINED_MESSAGES_MAX).await?;
        // Stopped, or edited away, since it was read.
        if waiting.first().is_none_or(|row| row.id != first.id) {
            return Ok(Vec::new());
        }
        let belongs = |row: &InboxRow| {
            row.id == first.id
                || row.principal == first.principal && row.album.is_some() && row.album == first.album
                || collects && row.principal == first.principal
        };
        let ends = |row: &InboxRow| command::parse(&row.content.text, None).is_some();
        let mut rows: Vec<InboxRow> = waiting.into_iter().take_while(|row| !ends(row)).filter(belongs).collect();
        if !collects {
            rows.truncate(usize::try_from(ALBUM_PARTS_MAX).unwrap_or(usize::MAX));
        }
        let now = engine.adapters.clock.now();
        // The pieces of an album arrive one after the other, and nothing says which one is the last.
        let newest = rows.iter().filter(|row| row.album.is_some()).map(|row| row.at).max();
        let full = rows.len() >= usize::try_from(ALBUM_PARTS_MAX).unwrap_or(usize::MAX);
        // After a start, pieces that came while nobody listened have not arrived yet, however old the others are.
        let started = ALBUM_WAIT.saturating_sub(engine.adapters.clock.monotonic());
        let wait = newest.map_or(Duration::ZERO, |at| at.plus(ALBUM_WAIT).since(now).min(ALBUM_WAIT).max(started));
        if wait.is_zero() || full {
            return Ok(rows);
        }
        tokio::select! {
            () = engine.adapters.clock.sleep(wait) => {}
            () = engine.draining() => return Ok(Vec::new()),
        }
    }
}

/// Waits for its place, reads what was sent, and runs the turn.
async fn open_turn(
    engine: &Arc<Engine>,
    session: &mut Session,
    seat: &mut Seat,
    rows: Vec<InboxRow>,
) -> Result<(), StoreError> {
    let (Some(first), Some(last)) = (rows.first(), rows.iter().map(|row| row.id).max()) else { return Ok(()) };
    let (ticket, waited) = Ticket::take(engine, first.attempts).await;
    // A stop of something else's turn does not count: a newer message may interrupt what this one waited for.
    let mine = last.max(seat.passed);
    if engine.is_draining() || engine.is_killed() || *seat.stop.borrow() > mine {
        return Ok(());
    }
    // While it waited it may have been edited, or stopped (then the store has dropped it): it is read again.
    if waited && !unchanged(engine, session, &rows).await? {
        return Ok(());
    }
    let overheard = engine.adapters.storage.overheard(session.id, last).await?;
    let reading = tokio::select! {
        reading = content::read(engine, session, &rows, &overheard) => reading?,
        () = turn::show_reading(engine, session, &rows) => return Ok(()),
        stopped = stopped(&mut seat.stop, mine) => {
            tracing::debug!(session = %session.key, stopped, "stopped while files were fetched");
            return Ok(());
        }
        () = engine.draining() => return Ok(()),
        () = engine.until_killed_is(true) => return Ok(()),
    };
    if reading.usable {
        turn::begin(engine, session, (seat, ticket), rows, reading.parts).await
    } else {
        say(engine, session, &rows, reading.notes.join("\n\n")).await
    }
}

/// The rows still wait, as they were read.
async fn unchanged(engine: &Engine, session: &Session, rows: &[InboxRow]) -> Result<bool, StoreError> {
    let retried = rows.len() == 1;
    let waiting = engine.adapters.storage.waiting(session.id, JOINED_MESSAGES_MAX).await?;
    let still = |row: &InboxRow| {
        let retry = |now: &InboxRow| retried && command::parse(&now.content.text, None) == Some(Command::Retry);
        waiting.iter().any(|now| now.id == row.id && (now.content == row.content || retry(now)))
    };
    Ok(rows.iter().all(still))
}

/// True once a `/stop` after row `mine` was given.
async fn stopped(stop: &mut tokio::sync::watch::Receiver<InboxId>, mine: InboxId) -> bool {
    let stopped = stop.wait_for(|at| *at > mine).await.is_ok();
    if !stopped {
        // Nobody can stop it any more.
        std::future::pending::<()>().await;
    }
    stopped
}

async fn choose_zone(
    engine: &Arc<Engine>,
    session: &mut Session,
    row: &InboxRow,
    wish: Option<String>,
) -> Result<(), StoreError> {
    let current = session.zone.clone().or_else(|| engine.settings.timezone.clone());
    let text = match wish {
        None => match current {
            Some(zone) => format!("This conversation uses the time zone `{zone}`."),
            None => {
                "This conversation uses the time zone of the machine I live on. `/timezone Europe/Berlin` changes it."
                    .to_owned()
            }
        },
        Some(wish) => {
            let name = wish.clone();
            // The tables of the time zones are files.
            if blocking(move || TimeZone::get(&name).is_ok()).await == Some(true) {
                session.zone = Some(wish.clone());
                format!("From now on this conversation uses the time zone `{wish}`.")
            } else {
                format!(
                    "I do not know the time zone `{wish}`. Try a name such as `Europe/Berlin` or `America/New_York`."
                )
            }
        }
    };
    carry_out(engine, session, row, Record::ZoneChosen(session.zone.clone()), text).await
}

async fn choose_effort(
    engine: &Arc<Engine>,
    session: &mut Session,
    row: &InboxRow,
    wish: Option<String>,
) -> Result<(), StoreError> {
    let known = EFFORTS.map(|effort| format!("`/think {effort}`")).join(", ");
    let text = match wish {
        None => {
            let current = session.effort.as_ref().or(engine.settings.effort.as_ref());
            let current = current.map_or("as much as the model likes", String::as_str);
            format!("The work that goes into answers here: {current}. {known} change it.")
        }
        Some(wish) if EFFORTS.contains(&wish.as_str()) => {
            session.effort = Some(wish.clone());
            format!("From now on the work that goes into answers here: {wish}.")
        }
        Some(wish) => format!("I do not know `{wish}`. There are {known}."),
    };
    carry_out(engine, session, row, Record::EffortChosen(session.effort.clone()), text).await
}

async fn choose_model(
    engine: &Arc<Engine>,
    session: &mut Session,
    row: &InboxRow,
    wish: Option<ModelId>,
) -> Result<(), StoreError> {
    let catalogue = &engine.settings.catalogue;
    let known = || catalogue.iter().map(|model| format!("`{}`", model.id)).collect::<Vec<_>>().join(", ");
    let chosen = wish.as_ref().map(|wish| (wish, catalogue.find(wish.as_str())));
    let text = match chosen {
        None => format!("This conversation uses `{}`. I know {}.", session.wanted_model(engine), known()),
        Some((wish, None)) => format!("I do not know the model `{wish}`. I know {}.", known()),
        Some((_, Some(model))) => {
            session.model = Some(model.id.clone());
            format!("From now on this conversation uses `{}`.", model.id)
        }
    };
    let choice = Record::ModelChosen(session.model.clone());
    carry_out(engine, session, row, choice, text).await
}

/// Commits a command that needs its place in the order, together with its answer.
async fn carry_out(
    engine: &Arc<Engine>,
    session: &Session,
    row: &InboxRow,
    change: Record,
    text: String,
) -> Result<(), StoreError> {
    close(engine, session, std::slice::from_ref(row), vec![change], text).await
}

/// Answers rows without a turn.
async fn say(engine: &Arc<Engine>, session: &Session, rows: &[InboxRow], text: String) -> Result<(), StoreError> {
    close(engine, session, rows, Vec::new(), text).await
}

async fn close(
    engine: &Arc<Engine>,
    session: &Session,
    rows: &[InboxRow],
    mut records: Vec<Record>,
    text: String,
) -> Result<(), StoreError> {
    let Some(row) = rows.last() else { return Ok(()) };
    records.push(Record::Outbox { drafts: engine.drafts(&row.route, &text, None), first_sending: false });
    records.extend(rows.iter().map(|row| Record::CommandDone { inbox: row.id, text: text.clone() }));
    hit(Failpoint::StepBeforeCommit);
    let (turn, at) = (session.last_turn, engine.adapters.clock.now());
    engine
        .adapters
        .storage
        .commit(Commit { session: session.id, turn, steps: Vec::new(), records, audit: Vec::new(), at })
        .await?;
    hit(Failpoint::StepAfterCommit);
    if let Some(dispatcher) = engine.dispatchers.get(&row.route.channel) {
        dispatcher.poke(&row.route);
    }
    Ok(())
}
