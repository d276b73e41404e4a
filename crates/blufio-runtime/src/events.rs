//! What readers of a session see: a bounded ring of numbered events per session.

use blufio_core::event::{Event, EventKind};
use blufio_core::ids::{InboxId, SessionKey};
use blufio_core::limits::EVENTS_KEPT_MAX;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// What the keys of sessions on this machine begin with.
pub const LOCAL_PREFIX: &str = "local:";

/// The rings of all live sessions.
#[derive(Default)]
pub struct Hub {
    rings: Mutex<HashMap<SessionKey, Ring>>,
}

struct Ring {
    next: u64,
    events: VecDeque<Event>,
    /// The number of the newest event; readers wait for it to change.
    newest: watch::Sender<u64>,
}

impl Default for Ring {
    fn default() -> Self {
        Self { next: 1, events: VecDeque::new(), newest: watch::Sender::new(0) }
    }
}

impl Hub {
    /// Adds an event. The oldest goes when the ring is full. Sessions of this machine are always kept, since their reader may
    /// come a moment later; others only while somebody reads.
    pub fn publish(&self, session: &SessionKey, inbox: InboxId, kind: EventKind) {
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = match rings.get_mut(session) {
            Some(ring) => ring,
            None if session.as_str().starts_with(LOCAL_PREFIX) => rings.entry(session.clone()).or_default(),
            None => return,
        };
        let number = ring.next;
        ring.next += 1;
        if ring.events.len() >= EVENTS_KEPT_MAX {
            ring.events.pop_front();
        }
        ring.events.push_back(Event { number, inbox, kind });
        ring.newest.send_replace(number);
    }

    /// Reads on after event `after`; 0 begins with the oldest that is kept.
    pub fn subscribe(self: &Arc<Self>, session: SessionKey, after: u64) -> Reader {
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = rings.entry(session.clone()).or_default().newest.subscribe();
        Reader { hub: self.clone(), session, after, newest }
    }

    /// Forgets a session that nobody reads; its answers are in the store.
    pub fn forget(&self, session: &SessionKey) {
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        if rings.get(session).is_some_and(|ring| ring.newest.receiver_count() == 0) {
            rings.remove(session);
        }
    }
}

/// A reader's place in a session's events.
pub struct Reader {
    hub: Arc<Hub>,
    session: SessionKey,
    after: u64,
    newest: watch::Receiver<u64>,
}

impl Drop for Reader {
    /// The last reader of a session that nothing happened in takes its ring along.
    fn drop(&mut self) {
        let mut rings = self.hub.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let alone = |ring: &Ring| ring.newest.receiver_count() <= 1 && ring.events.is_empty();
        if rings.get(&self.session).is_some_and(alone) {
            rings.remove(&self.session);
        }
    }
}

impl Reader {
    /// The next events, waiting for at least one. `None`: events were missed, so the rows must be read instead.
    pub async fn next(&mut self) -> Option<Vec<Event>> {
        loop {
            let waiting = self.take();
            match waiting {
                Some(events) if events.is_empty() => {
                    if self.newest.changed().await.is_err() {
                        return None;
                    }
                }
                other => return other,
            }
        }
    }

    fn take(&mut self) -> Option<Vec<Event>> {
        self.newest.mark_unchanged();
        let rings = self.hub.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = rings.get(&self.session)?;
        let newest = ring.next.saturating_sub(1);
        let oldest = ring.events.front().map_or(ring.next, |event| event.number);
        let gap = self.after > newest || (self.after > 0 && self.after + 1 < oldest);
        let events: Vec<Event> = ring.events.iter().filter(|event| event.number > self.after || gap).cloned().collect();
        self.after = newest;
        if gap { None } else { Some(events) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn text(hub: &Hub, key: &SessionKey, delta: &str) {
        hub.publish(key, InboxId(1), EventKind::Text { delta: delta.into() });
    }

    #[tokio::test]
    async fn a_reader_goes_on_where_it_left_off_and_learns_of_gaps() {
        let (hub, key) = (Arc::new(Hub::default()), SessionKey::new("local:main"));
        text(&hub, &key, "a");
        text(&hub, &key, "b");
        let numbers = |events: Vec<Event>| events.iter().map(|event| event.number).collect::<Vec<_>>();
        assert_eq!(numbers(hub.subscribe(key.clone(), 0).next().await.unwrap()), [1, 2]);
        assert_eq!(numbers(hub.subscribe(key.clone(), 1).next().await.unwrap()), [2]);
        assert!(hub.subscribe(key.clone(), 99).next().await.is_none(), "numbers of an earlier process start");
        let mut slow = hub.subscribe(key.clone(), 2);
        for _ in 0..=EVENTS_KEPT_MAX {
            text(&hub, &key, "x");
        }
        assert!(slow.next().await.is_none());
        text(&hub, &key, "y");
        assert_eq!(slow.next().await.unwrap().len(), 1, "after a gap it reads on");
    }
}
