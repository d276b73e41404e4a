//! Schedules between the runtime and the storage: changes, claims of a time that is due, and what became of it.

use super::{Draft, Route};
use crate::access::Principal;
use crate::content::Content;
use crate::ids::{InboxId, RunId, ScheduleId, SessionKey};
use crate::schedule::{NewSchedule, Schedule};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// A change of the schedules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScheduleChange {
    /// A new one. It takes the place of one of the same name in the same conversation that has run and will not again.
    Add(Box<NewSchedule>),
    /// Gone, with its runs.
    Remove {
        /// Which.
        id: ScheduleId,
        /// Who wants it, for the audit log.
        by: String,
    },
    /// On or off. On, it begins with the first time after now, and failures are counted anew.
    Enable {
        /// Which.
        id: ScheduleId,
        /// On.
        on: bool,
        /// Who wants it, for the audit log.
        by: String,
    },
}

/// What is due, and when more will be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DueSchedules {
    /// What is due, the one that has waited longest first.
    pub due: Vec<Schedule>,
    /// The next time of all others; none if nothing else will ever be due. At or before now if there was no room for all.
    pub next: Option<Timestamp>,
}

/// Takes a time of a schedule and does what is to be done then, at most once.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The schedule.
    pub schedule: ScheduleId,
    /// The time; by hand: now.
    pub slot: Timestamp,
    /// The next time that the schedule had when it was read. By hand it does not matter.
    pub expected: Option<Timestamp>,
    /// The next time from now on; `None`: it has run for the last time. By hand it does not matter.
    pub next: Option<Timestamp>,
    /// Times before it that were missed.
    pub skipped: u64,
    /// It is long ago.
    pub late: bool,
    /// What is to be done.
    pub what: ClaimWhat,
    /// Somebody wants it now, also of a schedule that is off; its times stay as they are.
    pub manual: bool,
    /// The mark of what was seen, kept with the schedule once this is done; see [`crate::schedule::Action::Look`].
    pub seen: Option<i64>,
}

/// What is to be done at a time of a schedule.
#[derive(Clone, Debug)]
pub enum ClaimWhat {
    /// Messages go out as one reply; none: there is nowhere to say it, and the time is skipped.
    Say {
        /// The messages.
        drafts: Vec<Draft>,
    },
    /// A turn begins, as if somebody had spoken.
    Ask {
        /// In this conversation.
        session: SessionKey,
        /// Where the answer goes.
        route: Route,
        /// On whose behalf.
        principal: Principal,
        /// Their id, as the channel knows it.
        user: Option<i64>,
        /// What is asked.
        content: Content,
        /// Rows that may wait in this conversation.
        pending_max: u32,
    },
    /// Nothing.
    Skip {
        /// Why.
        note: String,
    },
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// It is stored and will happen.
    Done {
        /// The run.
        run: RunId,
        /// The row that waits for a turn, if one does. A chat that is shut gets none: its run has failed already.
        inbox: Option<InboxId>,
        /// The runs before this one have failed, and nobody was told yet: tell the owner. The answer comes once.
        failing: Option<Failing>,
    },
    /// Nothing happens at this time: that was wanted, or the run before is not over.
    Skipped {
        /// The run that says so.
        run: RunId,
    },
    /// Too many runs in a row have failed: nothing happens, and the schedule is off from now on. Tell the owner.
    Disabled(Failing),
    /// The schedule is gone, off, has another next time by now, or this time was taken before. Read what is due again.
    Gone,
    /// Too much waits already; nothing was written. Claim again later.
    Full,
}

/// Runs in a row have failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// How many.
    pub failures: u32,
    /// What is known of the last one.
    pub why: String,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Not over: it waits for its turn, is at it, or its message is not delivered yet.
    Running,
    /// Over, and what was said has arrived.
    Done,
    /// Over, and nothing came of it.
    Failed,
    /// Nothing was done, on purpose.
    Skipped,
    /// Nobody knows any more.
    Unknown,
}

/// A schedule for showing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleView {
    /// The schedule.
    pub schedule: Schedule,
    /// Why it is off, if it is.
    pub off: Option<String>,
    /// Its newest run.
    pub last: Option<RunView>,
}

/// A run for showing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunView {
    /// The run.
    pub id: RunId,
    /// Its schedule.
    pub schedule: ScheduleId,
    /// The time it is for.
    pub slot: Timestamp,
    /// When it was taken.
    pub claimed_at: Timestamp,
    /// Somebody wanted it by hand.
    pub manual: bool,
    /// It was long after its time.
    pub late: bool,
    /// Times before it that were missed.
    pub skipped: u64,
    /// How far it is.
    pub state: RunState,
    /// The same in words, with the reason.
    pub note: String,
    /// The row whose turn it is, if it is one.
    pub inbox: Option<InboxId>,
}
