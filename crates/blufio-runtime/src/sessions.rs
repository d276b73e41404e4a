//! Which sessions are in memory.
//!
//! A session has at most one actor. Waking it is a flag and a notification (a mailbox of one: the work itself is in the
//! inbox), so nothing can pile up here. Above the limit of live sessions newcomers wait in line, and as many of the longest
//! idle ones are asked to go.

use blufio_core::ids::{InboxId, SessionKey};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// The live sessions.
pub struct Sessions {
    registry: Mutex<Registry>,
    max: usize,
}

#[derive(Default)]
struct Registry {
    live: HashMap<SessionKey, Live>,
    line: VecDeque<SessionKey>,
}

struct Live {
    woken: bool,
    wake: Arc<Notify>,
    stop: watch::Sender<InboxId>,
    decided: Arc<Notify>,
    idle_since: Option<Duration>,
    /// A turn runs.
    running: Option<Progress>,
}

/// How a running turn gets on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It last got anywhere at this instant of the monotonic clock.
    At(Duration),
    /// It waits for a person.
    Asking,
}

/// What an actor holds of its own entry.
pub struct Seat {
    /// Notified when there may be work, or when it should go.
    pub wake: Arc<Notify>,
    /// The row of the last `/stop`.
    pub stop: watch::Receiver<InboxId>,
    /// What is taken up now waited still when a stop of this row had been carried out, so only later ones are meant for it.
    pub passed: InboxId,
    /// Notified when a question of the running turn may have been answered.
    pub decided: Arc<Notify>,
}

/// What to do after waking a session.
pub enum Woken {
    /// It has an actor.
    Live,
    /// Start an actor with this seat.
    Start(Seat),
    /// It waits in line.
    Waits,
}

impl Sessions {
    /// At most `max` sessions in memory.
    pub fn new(max: usize) -> Self {
        Self { registry: Mutex::default(), max: max.max(1) }
    }

    /// Tells a session that there is work.
    pub fn wake(&self, key: &SessionKey) -> Woken {
        let mut registry = self.lock();
        if let Some(live) = registry.live.get_mut(key) {
            live.woken = true;
            live.wake.notify_one();
            return Woken::Live;
        }
        if registry.live.len() >= self.max {
            if !registry.line.contains(key) {
                registry.line.push_back(key.clone());
            }
            let mut idle: Vec<&Live> =
                registry.live.values().filter(|live| !live.woken && live.idle_since.is_some()).collect();
            idle.sort_by_key(|live| live.idle_since);
            for longest in idle.iter().take(registry.line.len()) {
                longest.wake.notify_one();
            }
            return Woken::Waits;
        }
        Woken::Start(registry.seat(key))
    }

    /// Stops what runs in a session, or is about to, for rows before `at`.
    pub fn stop(&self, key: &SessionKey, at: InboxId) {
        if let Some(live) = self.lock().live.get(key) {
            live.stop.send_if_modified(|stop| {
                let later = at > *stop;
                *stop = at.max(*stop);
                later
            });
        }
    }

    /// Tells a session that a question of its running turn was answered.
    pub fn decided(&self, key: &SessionKey) {
        if let Some(live) = self.lock().live.get(key) {
            live.decided.notify_one();
        }
    }

    /// A turn runs or work waits there.
    pub fn is_busy(&self, key: &SessionKey) -> bool {
        let registry = self.lock();
        let here = registry.live.get(key).is_some_and(|live| live.idle_since.is_none() || live.woken);
        here || registry.line.contains(key)
    }

    /// The actor looks for work: wake-ups up to now are answered by that.
    pub fn looks(&self, key: &SessionKey) {
        if let Some(live) = self.lock().live.get_mut(key) {
            (live.woken, live.idle_since) = (false, None);
        }
    }

    /// The actor found nothing. True: it must go because others wait.
    pub fn idle(&self, key: &SessionKey, now: Duration) -> bool {
        let mut registry = self.lock();
        let crowded = !registry.line.is_empty();
        let Some(live) = registry.live.get_mut(key) else { return true };
        live.idle_since = Some(now);
        crowded && !live.woken
    }

    /// The actor wants to go. `None`: it was woken meanwhile and must look again. Otherwise it is gone, and the next in line,
    /// if there is one, gets its place.
    pub fn leave(&self, key: &SessionKey) -> Option<Option<(SessionKey, Seat)>> {
        let mut registry = self.lock();
        if registry.live.get(key).is_some_and(|live| live.woken) {
            return None;
        }
        Some(registry.vacate(key))
    }

    /// The actor is gone, whatever waits.
    pub fn gone(&self, key: &SessionKey) -> Option<(SessionKey, Seat)> {
        self.lock().vacate(key)
    }

    /// A turn begins or gets somewhere, or (`None`) ends.
    pub fn running(&self, key: &SessionKey, progress: Option<Progress>) {
        if let Some(live) = self.lock().live.get_mut(key) {
            live.running = progress;
        }
    }

    /// The running turns, and how each gets on.
    pub fn all_running(&self) -> Vec<(SessionKey, Progress)> {
        let registry = self.lock();
        registry.live.iter().filter_map(|(key, live)| live.running.map(|running| (key.clone(), running))).collect()
    }

    /// How many are in memory.
    pub fn count(&self) -> usize {
        self.lock().live.len()
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    fn seat(&mut self, key: &SessionKey) -> Seat {
        let (stop, stop_seen) = watch::channel(InboxId(0));
        let wake = Arc::new(Notify::new());
        let decided = Arc::new(Notify::new());
        let live =
            Live { woken: true, wake: wake.clone(), stop, decided: decided.clone(), idle_since: None, running: None };
        self.live.insert(key.clone(), live);
        Seat { wake, stop: stop_seen, passed: InboxId(0), decided }
    }

    fn vacate(&mut self, key: &SessionKey) -> Option<(SessionKey, Seat)> {
        self.live.remove(key);
        let next = self.line.pop_front()?;
        let seat = self.seat(&next);
        Some((next, seat))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn key(name: &str) -> SessionKey {
        SessionKey::new(name)
    }

    #[test]
    fn a_session_has_one_actor_and_a_wake_up_is_never_lost() {
        let sessions = Sessions::new(4);
        assert!(matches!(sessions.wake(&key("a")), Woken::Start(_)));
        assert!(matches!(sessions.wake(&key("a")), Woken::Live));
        sessions.looks(&key("a"));
        assert!(matches!(sessions.wake(&key("a")), Woken::Live));
        assert!(sessions.leave(&key("a")).is_none(), "woken while it wanted to go");
        sessions.looks(&key("a"));
        assert!(sessions.leave(&key("a")).unwrap().is_none());
        assert!(matches!(sessions.wake(&key("a")), Woken::Start(_)));
    }

    #[test]
    fn newcomers_wait_until_somebody_idle_leaves() {
        let sessions = Sessions::new(1);
        assert!(matches!(sessions.wake(&key("a")), Woken::Start(_)));
        assert!(matches!(sessions.wake(&key("b")), Woken::Waits));
        sessions.looks(&key("a"));
        assert!(sessions.idle(&key("a"), Duration::ZERO), "crowded: it must go");
        let (next, _) = sessions.leave(&key("a")).unwrap().unwrap();
        assert_eq!((next, sessions.count()), (key("b"), 1));
    }
}
