//! The right of a turn to run, of which there are as many as `[session] running_turns` says.
//!
//! A turn that only waits for an owner gives it back: the answer may take a night, and others are to be answered meanwhile.

use super::Engine;
use blufio_core::limits::PROBATION_ATTEMPTS;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A turn's share of what runs at once.
pub(super) struct Ticket {
    all: Arc<Semaphore>,
    /// How many it takes: a row on probation takes all.
    permits: u32,
    held: Option<OwnedSemaphorePermit>,
    /// It stands in the queue for it again.
    queued: bool,
}

impl Ticket {
    /// One that is not held. A row that was running when the process died runs alone.
    pub fn new(engine: &Engine, attempts: u32) -> Self {
        let alone = attempts >= PROBATION_ATTEMPTS;
        let permits = if alone { u32::try_from(engine.settings.running_turns.max(1)).unwrap_or(1) } else { 1 };
        Self { all: engine.permits.clone(), permits, held: None, queued: false }
    }

    /// Waits until one more turn may run; true if it had to. It is not held if the process ends meanwhile.
    pub async fn take(engine: &Engine, attempts: u32) -> (Self, bool) {
        let mut ticket = Self::new(engine, attempts);
        ticket.held = ticket.all.clone().try_acquire_many_owned(ticket.permits).ok();
        let waits = ticket.held.is_none();
        if waits {
            ticket.held = tokio::select! {
                held = ticket.all.clone().acquire_many_owned(ticket.permits) => held.ok(),
                () = engine.draining() => None,
            };
        }
        (ticket, waits)
    }

    /// The turn may run.
    pub const fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// It waits to be allowed to run again.
    pub const fn is_queued(&self) -> bool {
        self.queued
    }

    /// Somebody else may run.
    pub fn give_back(&mut self) {
        self.held = None;
    }

    /// Queues for it again; what comes of it is for [`Ticket::keep`].
    pub fn queue(&mut self) -> impl Future<Output = Option<OwnedSemaphorePermit>> + Send + use<> {
        self.queued = true;
        let (all, permits) = (self.all.clone(), self.permits);
        async move { all.acquire_many_owned(permits).await.ok() }
    }

    /// The turn may run again.
    pub fn keep(&mut self, held: Option<OwnedSemaphorePermit>) {
        (self.held, self.queued) = (held, false);
    }
}
