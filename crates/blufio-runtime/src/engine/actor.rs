//! One actor per live session: takes the oldest waiting row, answers it, takes the next.

use super::session::Session;
use super::{Engine, turn};
use crate::sessions::Seat;
use crate::tasks::guarded;
use blufio_core::command::{self, Command};
use blufio_core::failpoint::{Failpoint, hit};
use blufio_core::ids::{ModelId, SessionKey};
use blufio_core::limits::PROBATION_ATTEMPTS;
use blufio_core::port::StoreError;
use blufio_core::record::{Commit, InboxRow, Record};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

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
    let (mut session, running) = Session::from_snapshot(snapshot);
    let mut unopened = panics > 0;
    if let Some(running) = running {
        unopened = false;
        let (permit, _) = admit(engine, running.inbox.attempts).await;
        turn::resume(engine, &mut session, seat, running, panics).await?;
        drop(permit);
    }
    loop {
        if engine.is_draining() {
            return Ok(engine.sessions.gone(key));
        }
        engine.sessions.looks(key);
        if let Some(row) = engine.adapters.storage.next(session.id).await? {
            if std::mem::take(&mut unopened) {
                turn::give_up(engine, &mut session, row).await?;
                continue;
            }
            answer(engine, &mut session, seat, row).await?;
            continue;
        }
        // The row that panicked is gone; whatever comes next has done nothing wrong.
        unopened = false;
        let crowded = engine.sessions.idle(key, clock.monotonic());
        let woken = !crowded
            && tokio::select! {
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
    match command::parse(&row.text, None) {
        Some(Command::New) => {
            let first = session.last_message.next();
            let epoch = session.render_epoch(engine, first).await?;
            carry_out(engine, session, &row, epoch, "New conversation. What is on your mind?".to_owned()).await
        }
        Some(Command::Model(wish)) => choose_model(engine, session, &row, wish).await,
        Some(Command::Start | Command::Help | Command::Stop | Command::Status) | None => {
            let (permit, waited) = admit(engine, row.attempts).await;
            // While it waited it may have been edited, or stopped (then the store has dropped it).
            let row = if waited { engine.adapters.storage.next(session.id).await? } else { Some(row) };
            let Some(row) = row.filter(|row| !engine.is_draining() && *seat.stop.borrow() <= row.id) else {
                return Ok(());
            };
            turn::begin(engine, session, seat, row).await?;
            drop(permit);
            Ok(())
        }
    }
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
    let drafts = engine.drafts(&row.route, &text, None);
    let records =
        vec![change, Record::Outbox { drafts, first_sending: false }, Record::CommandDone { inbox: row.id, text }];
    hit(Failpoint::StepBeforeCommit);
    let (turn, at) = (session.last_turn, engine.adapters.clock.now());
    engine.adapters.storage.commit(Commit { session: session.id, turn, steps: Vec::new(), records, at }).await?;
    hit(Failpoint::StepAfterCommit);
    if let Some(dispatcher) = engine.dispatchers.get(&row.route.channel) {
        dispatcher.poke(&row.route);
    }
    Ok(())
}

/// Waits until one more turn may run; true if it had to. A row that was running when the process died runs alone.
async fn admit(engine: &Arc<Engine>, attempts: u32) -> (Option<OwnedSemaphorePermit>, bool) {
    let alone = attempts >= PROBATION_ATTEMPTS;
    let permits = if alone { u32::try_from(engine.settings.running_turns.max(1)).unwrap_or(1) } else { 1 };
    if let Ok(permit) = engine.permits.clone().try_acquire_many_owned(permits) {
        return (Some(permit), false);
    }
    let permit = tokio::select! {
        permit = engine.permits.clone().acquire_many_owned(permits) => permit.ok(),
        () = engine.draining() => None,
    };
    (permit, true)
}
