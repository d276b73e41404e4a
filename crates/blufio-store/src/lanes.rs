//! Bounded queues in front of a thread: three lanes, served in order of urgency. It knows nothing of databases.

use blufio_core::port::StoreError;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Jobs waiting per lane. Full: the caller waits until one was taken.
const LANE_JOBS_MAX: usize = 64;

/// How urgent a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Somebody said stop.
    Urgent = 0,
    /// Everything else that somebody waits for.
    Normal = 1,
    /// What may wait until nothing else does.
    Background = 2,
}

/// The queues.
pub(crate) struct Lanes<J> {
    state: Mutex<State<J>>,
    wake: Condvar,
    room: [Arc<Semaphore>; 3],
}

struct State<J> {
    /// A job holds its permit until it is taken.
    lanes: [VecDeque<(J, OwnedSemaphorePermit)>; 3],
    closed: bool,
}

/// What a waiting thread gets.
pub(crate) enum Next<J> {
    /// Work.
    Job(J),
    /// Nothing came for as long as it was willing to wait.
    Idle,
    /// Nothing will come any more.
    Closed,
}

impl<J> Lanes<J> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State { lanes: std::array::from_fn(|_| VecDeque::new()), closed: false }),
            wake: Condvar::new(),
            room: std::array::from_fn(|_| Arc::new(Semaphore::new(LANE_JOBS_MAX))),
        }
    }

    /// Queues a job, waiting for room.
    pub(crate) async fn push(&self, lane: Lane, job: J) -> Result<(), StoreError> {
        let [urgent, normal, background] = &self.room;
        let room = match lane {
            Lane::Urgent => urgent,
            Lane::Normal => normal,
            Lane::Background => background,
        };
        let permit = Arc::clone(room).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let mut state = self.lock();
        if state.closed {
            return Err(StoreError::Closed);
        }
        if let Some(queue) = state.lanes.get_mut(lane as usize) {
            queue.push_back((job, permit));
        }
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// The next job of any lane; waits for one, at most `patience` if there is one.
    pub(crate) fn next(&self, patience: Option<Duration>) -> Next<J> {
        let mut state = self.lock();
        loop {
            if let Some((job, _)) = state.lanes.iter_mut().find_map(VecDeque::pop_front) {
                return Next::Job(job);
            }
            if state.closed {
                return Next::Closed;
            }
            state = match patience {
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(patience) => {
                    let (state, waited) =
                        self.wake.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner);
                    if waited.timed_out() && state.lanes.iter().all(VecDeque::is_empty) && !state.closed {
                        return Next::Idle;
                    }
                    state
                }
            };
        }
    }

    /// A job that waits already and is not a background one.
    pub(crate) fn more(&self) -> Option<J> {
        self.lock().lanes.iter_mut().take(2).find_map(VecDeque::pop_front).map(|(job, _)| job)
    }

    /// Takes nothing new; what waits is still served.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.room.iter().for_each(|room| room.close());
        self.wake.notify_all();
    }

    /// Takes nothing new and forgets what waits, whose callers are told that the store is closed.
    pub(crate) fn abandon(&self) {
        self.close();
        self.lock().lanes.iter_mut().for_each(VecDeque::clear);
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
