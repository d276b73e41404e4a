//! What is to be said or done at a given time. The store knows what is due and takes each time once; here is the clock, and
//! what becomes of a time: a message that goes out, or a row of the inbox, whose turn is like any other.

use crate::decision::AT_TERMINAL;
use crate::engine::Engine;
use crate::heartbeat::{self, Seen};
use crate::herald::News;
use crate::host::LOCAL_SESSION;
use crate::quiet::zone_or_system;
use crate::tasks::blocking;
use blufio_core::access::Principal;
use blufio_core::content::Content;
use blufio_core::ids::{ScheduleId, SessionKey};
use blufio_core::limits::SCHEDULE_PERIOD_MIN;
use blufio_core::port::{Asker, LOCAL_CHANNEL, StoreError};
use blufio_core::record::{Claim, ClaimWhat, Claimed, Draft, Failing, Route, ScheduleChange};
use blufio_core::schedule::{Action, Due, NewSchedule, Schedule, When};
use blufio_core::time::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// How the keys of the conversations begin that schedules have.
pub(crate) const SESSIONS: &str = "schedule:";
/// Times that are taken before it looks again at what is due.
const AT_ONCE: u32 = 20;
/// Longest wait between two looks: the wall clock may be set in between.
const LOOK: Duration = Duration::from_secs(10);
/// The agent's own first look comes so long after the start.
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
/// Pause when nothing can be taken: the inbox is full, the store is in trouble.
const PAUSE: Duration = Duration::from_secs(1);

/// Rung when the schedules have changed, so that the clock looks at them again.
#[derive(Clone, Default)]
pub struct Bell(Arc<Notify>);

impl Bell {
    /// Rings it.
    pub fn ring(&self) {
        self.0.notify_one();
    }
}

/// Runs for ever.
pub(crate) async fn run(engine: &Arc<Engine>) {
    let clock = &engine.adapters.clock;
    let mut kept = false;
    loop {
        engine.health.beat("scheduler");
        if !kept {
            kept = heartbeat::keep(engine).await.unwrap_or_else(|error| {
                tracing::error!(%error, "the agent's own look could not be scheduled");
                false
            });
        }
        let looked = if engine.is_killed() { Ok(None) } else { look(engine).await };
        let pause = match looked {
            Ok(next) => next.map_or(LOOK, |at| at.since(clock.now())).min(LOOK),
            Err(StoreError::Closed) => return std::future::pending().await,
            Err(error) => {
                tracing::error!(%error, "it is not known what is due");
                PAUSE
            }
        };
        tokio::select! {
            () = clock.sleep(pause) => {}
            () = engine.adapters.bell.0.notified() => {}
            () = engine.draining() => return std::future::pending().await,
        }
    }
}

/// Takes what is due; says when more will be.
async fn look(engine: &Arc<Engine>) -> Result<Option<Timestamp>, StoreError> {
    let now = engine.adapters.clock.now();
    let due = engine.adapters.storage.due(AT_ONCE, now).await?;
    let mut soon = None;
    for schedule in due.due {
        let Some(slot) = schedule.next_at else { continue };
        let Due { slot: newest, skipped, late, next } = schedule.when.due(slot, now);
        let times = Times { slot: newest, expected: Some(slot), next, skipped, late, manual: false };
        let taken = if knows_where(engine, &schedule) { take(engine, &schedule, times).await? } else { None };
        // What cannot be done yet holds up nothing else.
        if matches!(taken, None | Some(Claimed::Full)) {
            soon = Some(now.plus(PAUSE));
        }
    }
    Ok(soon.or(due.next))
}

/// Runs a schedule now, whatever its times are.
pub(crate) async fn run_now(engine: &Arc<Engine>, schedule: &Schedule) -> Result<Option<Claimed>, StoreError> {
    let slot = engine.adapters.clock.now();
    let times = Times { slot, expected: None, next: None, skipped: 0, late: false, manual: true };
    take(engine, schedule, times).await
}

/// The part of a claim that is about time.
struct Times {
    slot: Timestamp,
    expected: Option<Timestamp>,
    next: Option<Timestamp>,
    skipped: u64,
    late: bool,
    manual: bool,
}

/// Takes a time of a schedule; `None`: not now, but soon.
async fn take(engine: &Arc<Engine>, schedule: &Schedule, times: Times) -> Result<Option<Claimed>, StoreError> {
    let now = engine.adapters.clock.now();
    let Times { slot, expected, next, skipped, late, manual } = times;
    let note = match late {
        true => {
            let zone = schedule.zone.clone();
            let due = blocking(move || shown(&zone_or_system(Some(&zone)), slot)).await.unwrap_or_default();
            format!("\n\n(This was due on {due}; I was not running then.)")
        }
        false => String::new(),
    };
    let mut session = SessionKey::new(format!("{SESSIONS}{}", schedule.id));
    let mut seen = None;
    let what = match &schedule.action {
        _ if !may_speak(engine, schedule) => {
            ClaimWhat::Skip { note: "whoever made it may not speak here any more".to_owned() }
        }
        Action::Say(text) => ClaimWhat::Say { drafts: drafts(engine, schedule, &format!("{text}{note}")) },
        Action::Ask(text) => ClaimWhat::Ask {
            session: session.clone(),
            route: route(engine, schedule),
            principal: schedule.principal.clone(),
            user: schedule.user,
            content: Content::words(format!("[The schedule “{}” asks:]\n{text}{note}", schedule.name)),
            pending_max: engine.settings.pending_messages,
        },
        Action::Look(_) => match heartbeat::look(engine, schedule).await? {
            Seen::Later => return Ok(None),
            Seen::Nothing(why) => ClaimWhat::Skip { note: why.to_owned() },
            Seen::Changed(text, mark) => {
                seen = Some(mark);
                session = SessionKey::new(heartbeat::SESSION);
                ClaimWhat::Ask {
                    session: session.clone(),
                    route: route(engine, schedule),
                    principal: schedule.principal.clone(),
                    user: schedule.user,
                    content: Content::words(text),
                    pending_max: 1,
                }
            }
        },
    };
    let said = matches!(what, ClaimWhat::Say { .. });
    let claim = Claim { schedule: schedule.id, slot, expected, next, skipped, late, what, manual, seen };
    let claimed = engine.adapters.storage.claim(claim, now).await?;
    metrics::counter!("blufio_scheduled_total", "outcome" => word(&claimed)).increment(1);
    match &claimed {
        Claimed::Done { inbox, failing, .. } => {
            if inbox.is_some() {
                engine.wake(&session);
            }
            if said {
                engine.dispatchers.values().for_each(|dispatcher| dispatcher.poke_all());
            }
            failing.iter().for_each(|failing| tell(engine, schedule, failing, ""));
        }
        Claimed::Disabled(failing) => {
            tell(engine, schedule, failing, " It is off now; `blufio cron enable` turns it on.")
        }
        Claimed::Skipped { .. } | Claimed::Gone | Claimed::Full => {}
    }
    Ok(Some(claimed))
}

/// Until a channel knows which account it is, nobody knows where the owner reads what was made at this machine.
fn knows_where(engine: &Engine, schedule: &Schedule) -> bool {
    let here = schedule.route.channel.as_str() != LOCAL_CHANNEL;
    here || engine.adapters.channels.values().all(|channel| channel.account().is_some())
}

/// An owner always may; another person as long as they are let in.
fn may_speak(engine: &Engine, schedule: &Schedule) -> bool {
    let (Principal::Person(_), Some(user)) = (&schedule.principal, schedule.user) else { return true };
    let rules = engine.rules(&schedule.route.channel, schedule.route.account);
    rules.paired.contains_key(&user) || rules.allow_from.contains(&user) || rules.group_allow_from.contains(&user)
}

const fn word(claimed: &Claimed) -> &'static str {
    match claimed {
        Claimed::Done { .. } => "run",
        Claimed::Skipped { .. } => "skipped",
        Claimed::Disabled(_) => "disabled",
        Claimed::Gone => "gone",
        Claimed::Full => "full",
    }
}

fn tell(engine: &Engine, schedule: &Schedule, Failing { failures, why }: &Failing, more: &str) {
    let name = &schedule.name;
    let text = format!("The schedule “{name}” has failed {failures} times in a row; the last time: {why}.{more}");
    engine.herald.say(News::Tell { topic: format!("schedule {}", schedule.id), text, about: None });
}

/// What a schedule says, where it says it. What was made at this machine is told where an owner reads.
fn drafts(engine: &Engine, schedule: &Schedule, text: &str) -> Vec<Draft> {
    engine.drafts(&route(engine, schedule), text, None)
}

fn route(engine: &Engine, schedule: &Schedule) -> Route {
    let local = schedule.route.channel.as_str() == LOCAL_CHANNEL && schedule.principal == Principal::Owner;
    engine.owner_route().filter(|_| local).unwrap_or_else(|| schedule.route.clone())
}

/// A change that somebody at this machine wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case", deny_unknown_fields)]
pub enum ScheduleWish {
    /// A new one.
    Add {
        /// Its name.
        name: String,
        /// See [`when`].
        at: Option<String>,
        /// See [`when`].
        every: Option<String>,
        /// The time zone of `at`; none: the agent's.
        zone: Option<String>,
        /// What.
        action: Action,
    },
    /// Gone.
    Remove {
        /// Which.
        id: ScheduleId,
    },
    /// On or off.
    Enable {
        /// Which.
        id: ScheduleId,
        /// On.
        on: bool,
    },
}

/// Does what somebody at this machine wants.
pub(crate) async fn wish(engine: &Engine, wish: ScheduleWish) -> Result<Schedule, StoreError> {
    let by = AT_TERMINAL.to_owned();
    let wanted = match wish {
        ScheduleWish::Remove { id } => ScheduleChange::Remove { id, by },
        ScheduleWish::Enable { id, on } => ScheduleChange::Enable { id, on, by },
        ScheduleWish::Add { name, at, every, zone, action } => {
            let (wanted, now) = (zone.or_else(|| engine.settings.timezone.clone()), engine.adapters.clock.now());
            let read = blocking(move || {
                let zone = match &wanted {
                    Some(name) => TimeZone::get(name).map_err(|_| format!("`{name}` is no time zone"))?,
                    None => zone_or_system(None),
                };
                let when = when(at.as_deref(), every.as_deref(), &zone, now).map_err(|error| error.to_string())?;
                Ok((when, zone.iana_name().unwrap_or("UTC").to_owned()))
            });
            let read = read.await.unwrap_or_else(|| Err("the process is ending".to_owned()));
            let (when, zone) = read.map_err(StoreError::Refused)?;
            let Asker { session, route, principal, user } = Asker::local(SessionKey::new(LOCAL_SESSION));
            let new = NewSchedule { name, session, route, principal, user, when, zone, action, made_by: by };
            ScheduleChange::Add(Box::new(new))
        }
    };
    change(engine, wanted).await
}

/// Changes the schedules; the clock looks again.
pub(crate) async fn change(engine: &Engine, change: ScheduleChange) -> Result<Schedule, StoreError> {
    let changed = engine.adapters.storage.schedule(change, engine.adapters.clock.now()).await?;
    engine.adapters.bell.ring();
    Ok(changed)
}

/// Why words are no time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoTime {
    /// Not a date and a time.
    #[error("`{0}` is not a time like 2026-11-24T09:00, in the time zone of the person, or with an offset like +01:00")]
    At(String),
    /// Not a period.
    #[error("`{0}` is not a period like 30m, 2h, 1d or 1w, of at least a minute")]
    Every(String),
    /// Neither.
    #[error("say when: `at` a time, or `every` so often")]
    Nothing,
}

/// Reads at what times: `at` once, or `every` so often, the first time `at` that time or after the first period. May block.
///
/// # Errors
/// The words are no time.
pub fn when(at: Option<&str>, every: Option<&str>, zone: &TimeZone, now: Timestamp) -> Result<When, NoTime> {
    let at = at.map(|at| instant(at, zone)).transpose()?;
    match (at, every) {
        (Some(at), None) => Ok(When::At(at)),
        (anchor, Some(every)) => {
            let period = period(every)?;
            Ok(When::Every { period, anchor: anchor.unwrap_or_else(|| now.plus(period)) })
        }
        (None, None) => Err(NoTime::Nothing),
    }
}

/// An hour that is skipped in spring is the one after it; one that comes twice in autumn is the first.
fn instant(text: &str, zone: &TimeZone) -> Result<Timestamp, NoTime> {
    let wrong = || NoTime::At(text.to_owned());
    if let Ok(exact) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp(exact.as_millisecond()));
    }
    let local: DateTime = text.parse().map_err(|_| wrong())?;
    let zoned = local.to_zoned(zone.clone()).map_err(|_| wrong())?;
    Ok(Timestamp(zoned.timestamp().as_millisecond()))
}

fn period(text: &str) -> Result<Duration, NoTime> {
    let wrong = || NoTime::Every(text.to_owned());
    let text = text.trim();
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..).unwrap_or_default() {
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => 24 * 3_600,
        "w" => 7 * 24 * 3_600,
        _ => return Err(wrong()),
    };
    let count: u64 = digits.trim().parse().map_err(|_| wrong())?;
    let period = Duration::from_secs(count.checked_mul(unit).ok_or_else(wrong)?);
    if period < SCHEDULE_PERIOD_MIN { Err(wrong()) } else { Ok(period) }
}

/// An instant as people read it, in a time zone.
#[must_use]
pub fn shown(zone: &TimeZone, at: Timestamp) -> String {
    let at = jiff::Timestamp::from_millisecond(at.0);
    at.map_or_else(|_| "?".to_owned(), |at| at.to_zoned(zone.clone()).strftime("%a %Y-%m-%d %H:%M %Z").to_string())
}

/// At what times, in words.
#[must_use]
pub fn words(when: &When, zone: &TimeZone) -> String {
    match when {
        When::At(at) => format!("at {}", shown(zone, *at)),
        When::Every { period, .. } => {
            let seconds = period.as_secs();
            let units = [(7 * 86_400, "week"), (86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
            let (unit, name) =
                units.into_iter().find(|(unit, _)| seconds.is_multiple_of(*unit)).unwrap_or((1, "second"));
            match seconds / unit {
                1 => format!("every {name}"),
                count => format!("every {count} {name}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn times_are_read_in_the_zone_of_the_person() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let now = Timestamp(1_795_305_600_000); // 2026-11-22, midnight UTC.
        let check = |at: Option<&str>, every: Option<&str>, expect: &str| {
            let found = when(at, every, &zone, now).unwrap();
            let first = found.next_after(now).map(|first| shown(&zone, first)).unwrap_or_default();
            assert_eq!(format!("{}; {first}", words(&found, &zone)), expect, "{at:?} {every:?}");
        };
        check(Some("2026-11-24T09:00"), None, "at Tue 2026-11-24 09:00 CET; Tue 2026-11-24 09:00 CET");
        check(Some("2026-11-24 09:00"), None, "at Tue 2026-11-24 09:00 CET; Tue 2026-11-24 09:00 CET");
        check(Some("2026-11-24T09:00Z"), None, "at Tue 2026-11-24 10:00 CET; Tue 2026-11-24 10:00 CET");
        check(Some("2026-11-24T09:00+05:30"), None, "at Tue 2026-11-24 04:30 CET; Tue 2026-11-24 04:30 CET");
        // There is no half past two that night, and two of them in autumn.
        check(Some("2027-03-28T02:30"), None, "at Sun 2027-03-28 03:30 CEST; Sun 2027-03-28 03:30 CEST");
        check(Some("2027-10-31T02:30"), None, "at Sun 2027-10-31 02:30 CEST; Sun 2027-10-31 02:30 CEST");
        check(None, Some("2h"), "every 2 hours; Sun 2026-11-22 03:00 CET");
        check(Some("2026-11-20T08:00"), Some("1d"), "every day; Sun 2026-11-22 08:00 CET");
        check(None, Some("90m"), "every 90 minutes; Sun 2026-11-22 02:30 CET");
    }

    #[test]
    fn what_is_no_time_is_refused_in_words() {
        let check = |at, every| when(at, every, &TimeZone::UTC, Timestamp(0)).unwrap_err().to_string();
        assert_eq!(check(None, None), "say when: `at` a time, or `every` so often");
        for at in ["tomorrow", "", "09:00", "2026-13-01T00:00", "2026-02-30T10:00"] {
            assert!(check(Some(at), None).contains("is not a time like"), "{at}");
        }
        for every in ["", "d", "-1d", "30s", "1y", "0m", "99999999999999999w"] {
            assert!(check(None, Some(every)).contains("is not a period like"), "{every}");
        }
    }
}
