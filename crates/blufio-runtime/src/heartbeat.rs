//! The agent's own look at whether something matters, on the schedules' clock: what is seen, and whether it has changed.

use crate::engine::Engine;
use crate::quiet::{self, QuietHours, zone_or_system};
use crate::scheduler::{self, MINUTE};
use crate::tasks::blocking;
use blufio_core::heartbeat::{FILE, FILE_BYTES_MAX, WATCHED_BYTES_MAX, due, lines, watched};
use blufio_core::ids::SessionKey;
use blufio_core::money::MicroUsd;
use blufio_core::port::{Asker, StoreError};
use blufio_core::record::{CostBy, Query, RunState, ScheduleChange, View};
use blufio_core::schedule::{Action, NewSchedule, Schedule, When};
use blufio_core::time::Timestamp;
use sha2::{Digest, Sha256};
use std::time::Duration;

/// Its name among the schedules.
pub(crate) const NAME: &str = "heartbeat";
/// The conversation that its calls are in; nobody else reads it.
pub(crate) const SESSION: &str = "heartbeat:main";
/// Who keeps it among the schedules.
const BY: &str = "the configuration";
/// Day and time as they are shown to the model.
const DAY: &str = "%Y-%m-%d";

/// How it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// How often.
    pub every: Duration,
    /// In which hours; `None`: in all.
    pub active: Option<QuietHours>,
    /// What it may cost per day; `None`: as much as the budgets allow.
    pub day: Option<MicroUsd>,
}

/// What a look has come to.
pub(crate) enum Seen {
    /// Not now; soon.
    Later,
    /// Nothing to ask about, and why.
    Nothing(&'static str),
    /// Something has changed: what there is to see, and its mark.
    Changed(String, i64),
}

/// Keeps the schedule as it is configured; until there is something to look at, there is none. False: look again later.
pub(crate) async fn keep(engine: &Engine) -> Result<bool, StoreError> {
    let desk = engine.adapters.desk.clone();
    let there = blocking(move || desk.text(FILE, FILE_BYTES_MAX).is_ok()).await.unwrap_or_default();
    if engine.settings.heartbeat.is_some() && !there {
        return Ok(false);
    }
    let session = SessionKey::new(SESSION);
    let query = Query::Schedules { session: Some(session.clone()) };
    let View::Schedules(there) = engine.adapters.storage.view(query, engine.adapters.clock.now()).await? else {
        return Err(StoreError::Broken("the store answered another question".to_owned()));
    };
    let wanted = engine.settings.heartbeat.map(|heartbeat| heartbeat.every);
    let mut kept = false;
    for view in there {
        let as_wanted = matches!(view.schedule.when, When::Every { period, .. } if Some(period) == wanted);
        kept |= as_wanted;
        if !as_wanted {
            let gone = ScheduleChange::Remove { id: view.schedule.id, by: BY.to_owned() };
            scheduler::change(engine, gone).await?;
        }
    }
    let Some(period) = wanted.filter(|_| !kept) else { return Ok(true) };
    let now = engine.adapters.clock.now();
    let Asker { route, principal, user, .. } = Asker::local(session.clone());
    let new = NewSchedule {
        name: NAME.to_owned(),
        session,
        route,
        principal,
        user,
        when: When::Every { period, anchor: now.plus(MINUTE) },
        zone: engine.settings.timezone.clone().unwrap_or_else(|| "UTC".to_owned()),
        action: Action::Look(FILE.to_owned()),
        made_by: BY.to_owned(),
    };
    scheduler::change(engine, ScheduleChange::Add(Box::new(new))).await.map(|_| true)
}

/// Looks.
pub(crate) async fn look(engine: &Engine, schedule: &Schedule) -> Result<Seen, StoreError> {
    let Some(heartbeat) = engine.settings.heartbeat else { return Ok(Seen::Nothing("it is turned off")) };
    let now = engine.adapters.clock.now();
    let resting =
        heartbeat.active.map(|active| QuietHours { from_minute: active.to_minute, to_minute: active.from_minute });
    if quiet::end(resting.as_ref(), engine.settings.timezone.clone(), now).await > Timestamp(0) {
        return Ok(Seen::Nothing("outside of the active hours"));
    }
    let (desk, zone) = (engine.adapters.desk.clone(), engine.settings.timezone.clone());
    let (seen, today) = blocking(move || {
        let zone = zone_or_system(zone.as_deref());
        let today = jiff::Timestamp::from_millisecond(now.0)
            .map_or_else(|_| String::new(), |now| now.to_zoned(zone).strftime(DAY).to_string());
        let list = desk.text(FILE, FILE_BYTES_MAX).unwrap_or_default();
        let all = lines(&list);
        let mut seen = all.iter().map(|line| format!("- {line}\n")).collect::<String>();
        for path in watched(&all) {
            let text = desk.text(path, WATCHED_BYTES_MAX).unwrap_or_else(|why| format!("({why})"));
            seen.push_str(&format!("\n[{path}:]\n{text}\n"));
        }
        let due = due(&all, &today).join("\n");
        let due = if due.is_empty() { due } else { format!("\n[Its day has come:]\n{due}\n") };
        (format!("{seen}{due}"), today)
    })
    .await
    .unwrap_or_default();
    let (troubles, unanswered) = troubles(engine, schedule).await?;
    if seen.is_empty() && troubles.is_empty() {
        return Ok(Seen::Nothing("there is nothing to look at"));
    }
    let seen = format!("{seen}{troubles}");
    let mark = Sha256::digest(&seen).iter().take(8).fold(0_i64, |mark, byte| mark << 8 | i64::from(*byte));
    if schedule.seen == Some(mark) && !unanswered {
        return Ok(Seen::Nothing("nothing has changed"));
    }
    // Somebody is being answered: they come first, and money is short when it is.
    if !engine.sessions.all_running().is_empty() {
        return Ok(Seen::Later);
    }
    if let Some(cap) = heartbeat.day {
        let since = engine.money.period(now).day;
        let spent = crate::costs::costs(engine, CostBy::Model, since, Some(SessionKey::new(SESSION))).await;
        let spent = match spent {
            Err(StoreError::NotFound(_)) => 0,
            spent => spent?.iter().map(|line| line.cost.0).sum(),
        };
        if spent >= cap.0 {
            return Ok(Seen::Nothing("its budget of the day is used up"));
        }
    }
    Ok(Seen::Changed(format!("[It is {today}. The list, and what there is to see:]\n{seen}"), mark))
}

/// What goes wrong in the house: schedules that fail. And whether its own last question got no answer.
async fn troubles(engine: &Engine, own: &Schedule) -> Result<(String, bool), StoreError> {
    let now = engine.adapters.clock.now();
    let View::Schedules(all) = engine.adapters.storage.view(Query::Schedules { session: None }, now).await? else {
        return Err(StoreError::Broken("the store answered another question".to_owned()));
    };
    let (mut lines, mut unanswered) = (Vec::new(), false);
    for view in all {
        let Some(run) = view.last.filter(|run| matches!(run.state, RunState::Failed | RunState::Unknown)) else {
            continue;
        };
        if view.schedule.id == own.id {
            unanswered = true;
        } else {
            lines.push(format!("- the schedule “{}” has failed: {}", view.schedule.name, run.note));
        }
    }
    let text =
        if lines.is_empty() { String::new() } else { format!("\n[What has gone wrong:]\n{}\n", lines.join("\n")) };
    Ok((text, unanswered))
}
