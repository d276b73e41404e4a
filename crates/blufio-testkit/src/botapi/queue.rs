//! The update queue of the bot and the polls for it.
//!
//! Refuses to know what an update contains.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Updates kept for redelivery.
const DELIVERABLE_MAX: usize = 1_000;
/// Offsets further beyond the next id than this are answered from the head of the queue.
const OFFSET_GAP_MAX: i64 = 10;

/// The update queue of the bot.
pub(super) struct Queue {
    pub(super) next_id: i64,
    pending: VecDeque<(i64, Arc<str>)>,
    /// The latest updates, also confirmed ones.
    recent: VecDeque<(i64, Arc<str>)>,
    /// Copies that are delivered whatever the offset is.
    forced: Vec<Forced>,
}

/// An update that is delivered so many more times.
struct Forced {
    id: i64,
    times: u32,
    update: Arc<str>,
}

impl Queue {
    pub(super) fn new(next_id: i64) -> Self {
        Self { next_id, pending: VecDeque::new(), recent: VecDeque::new(), forced: Vec::new() }
    }

    pub(super) fn push(&mut self, id: i64, update: Arc<str>) {
        self.pending.push_back((id, Arc::clone(&update)));
        push_bounded(&mut self.recent, (id, update), DELIVERABLE_MAX);
        self.next_id = self.next_id.max(id + 1);
    }

    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn clear(&mut self) {
        self.pending.clear();
    }

    /// Forgets what `offset` confirms. Zero confirms nothing, a negative one keeps only the last updates.
    pub(super) fn confirm(&mut self, offset: i64) {
        if offset < 0 {
            let keep = usize::try_from(-offset).unwrap_or(usize::MAX).min(self.pending.len());
            self.pending.drain(..self.pending.len() - keep);
        } else if offset <= self.next_id + OFFSET_GAP_MAX {
            while self.pending.front().is_some_and(|(id, _)| *id < offset) {
                self.pending.pop_front();
            }
        }
    }

    /// The next batch, which stays in the queue until it is confirmed.
    pub(super) fn batch(&mut self, limit: usize) -> Vec<Arc<str>> {
        let mut batch: Vec<Arc<str>> = Vec::new();
        for forced in &mut self.forced {
            batch.push(Arc::clone(&forced.update));
            forced.times -= 1;
        }
        self.forced.retain(|forced| forced.times > 0);
        batch.extend(self.pending.iter().take(limit.saturating_sub(batch.len())).map(|(_, update)| Arc::clone(update)));
        batch
    }

    /// The update that a webhook gets next; it stays until it is [`taken`](Self::taken).
    pub(super) fn head(&self) -> Option<(i64, Arc<str>)> {
        let forced = self.forced.first().map(|forced| (forced.id, &forced.update));
        let (id, update) = forced.or_else(|| self.pending.front().map(|(id, update)| (*id, update)))?;
        Some((id, Arc::clone(update)))
    }

    /// Forgets a delivery of the head, unless the queue has changed since.
    pub(super) fn taken(&mut self, update: &Arc<str>) {
        if let Some(forced) = self.forced.first_mut().filter(|forced| Arc::ptr_eq(&forced.update, update)) {
            forced.times -= 1;
            self.forced.retain(|forced| forced.times > 0);
        } else if self.pending.front().is_some_and(|(_, first)| Arc::ptr_eq(first, update)) {
            self.pending.pop_front();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.forced.is_empty()
    }

    /// Delivers an update `times` more times. False when it is too old to be known.
    pub(super) fn force(&mut self, id: i64, times: u32) -> bool {
        let found = self.recent.iter().rev().find(|(known, _)| *known == id).map(|(_, update)| Arc::clone(update));
        let known = found.is_some();
        self.forced.extend(found.filter(|_| times > 0).map(|update| Forced { id, times, update }));
        known
    }

    /// Gives the updates that wait new ids from `next` on, as after a change of the token.
    pub(super) fn renumber(&mut self, next: i64) {
        self.next_id = next;
        for (id, update) in std::mem::take(&mut self.pending) {
            let text = update.replacen(&format!("\"update_id\":{id}"), &format!("\"update_id\":{}", self.next_id), 1);
            self.push(self.next_id, text.into());
        }
    }
}

/// The polls in flight; see `poll.rs`.
#[derive(Default)]
pub(super) struct Poll {
    pub(super) generation: u64,
    pub(super) waiting: bool,
    pub(super) by_webhook: bool,
    pub(super) last_offset: Option<i64>,
    pub(super) last_start: Duration,
    pub(super) next_conflict: Duration,
    pub(super) overlapping: u64,
}

/// Appends to a list that forgets its oldest items above `limit`.
pub(super) fn push_bounded<T>(list: &mut VecDeque<T>, item: T, limit: usize) {
    if limit == 0 {
        return;
    }
    if list.len() >= limit {
        list.pop_front();
    }
    list.push_back(item);
}
