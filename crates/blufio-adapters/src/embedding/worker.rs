//! The queue in front of the model, and the thread behind it. Between two texts the thread looks who waits: turns first.

use super::kernel::Kernel;
use super::model::{Model, Scratch};
use super::weights::Source;
use super::wordpiece::WordPiece;
use super::{BACKGROUND_TEXTS_MAX, TEXT_BYTES_MAX, TURN_TEXTS_MAX};
use blufio_core::memory::vector::Vector;
use blufio_core::port::{EmbeddingError, EmbeddingHealth, Urgency};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

type Answer = Result<Vec<Vector>, EmbeddingError>;

/// What the thread and its callers share.
#[derive(Default)]
pub struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    phase: Phase,
    turn: Queue,
    background: Queue,
    /// A turn came while there was no model.
    wanted: bool,
    /// Memory is short.
    unload: bool,
    trouble: Option<String>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Unloaded,
    Loaded,
    /// The thread ends, or has ended.
    Ended,
}

/// Requests in their order. `texts` also counts those of the request that the thread has taken out.
#[derive(Default)]
struct Queue {
    requests: VecDeque<Request>,
    texts: usize,
}

struct Request {
    urgency: Urgency,
    texts: VecDeque<String>,
    done: Vec<Vector>,
    answer: oneshot::Sender<Answer>,
}

impl State {
    const fn queue(&mut self, urgency: Urgency) -> &mut Queue {
        match urgency {
            Urgency::Turn => &mut self.turn,
            Urgency::Background => &mut self.background,
        }
    }

    fn quiet(&self) -> bool {
        let nobody = self.turn.requests.is_empty() && self.background.requests.is_empty();
        nobody && !self.unload && self.phase != Phase::Ended
    }

    /// Answers everybody who waits.
    fn refuse(&mut self, turn: &EmbeddingError, background: &EmbeddingError) {
        for (queue, error) in [(&mut self.turn, turn), (&mut self.background, background)] {
            for request in queue.requests.drain(..) {
                queue.texts = queue.texts.saturating_sub(request.texts.len());
                reply(request.answer, Err(error.clone()));
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts texts into the queue.
    ///
    /// # Errors
    /// There is no model in memory and a turn does not wait for one, too much waits, or the thread has ended.
    pub fn submit(&self, texts: Vec<String>, urgency: Urgency) -> Result<oneshot::Receiver<Answer>, EmbeddingError> {
        let mut state = self.lock();
        match (state.phase, urgency) {
            (Phase::Ended, _) => return Err(ended()),
            (Phase::Unloaded, Urgency::Turn) => {
                state.wanted = true;
                self.changed.notify_one();
                return Err(state.trouble.clone().map_or(EmbeddingError::Loading, EmbeddingError::Unusable));
            }
            (Phase::Loaded, _) | (Phase::Unloaded, Urgency::Background) => {}
        }
        let most = match urgency {
            Urgency::Turn => TURN_TEXTS_MAX,
            Urgency::Background => BACKGROUND_TEXTS_MAX,
        };
        let queue = state.queue(urgency);
        if queue.texts + texts.len() > most {
            return Err(EmbeddingError::Full);
        }
        queue.texts += texts.len();
        let (answer, receiver) = oneshot::channel();
        let texts = texts.into_iter().map(shortened).collect();
        queue.requests.push_back(Request { urgency, texts, done: Vec::new(), answer });
        self.changed.notify_one();
        Ok(receiver)
    }

    /// How it is doing.
    pub fn health(&self) -> EmbeddingHealth {
        let state = self.lock();
        let waiting = state.turn.texts + state.background.texts;
        EmbeddingHealth { loaded: state.phase == Phase::Loaded, waiting, trouble: state.trouble.clone() }
    }

    /// Asks the thread to give the memory back.
    pub fn unload(&self) {
        let mut state = self.lock();
        state.unload = state.phase != Phase::Ended;
        self.changed.notify_one();
    }

    /// Asks the thread to end.
    pub fn stop(&self) {
        let mut state = self.lock();
        state.phase = Phase::Ended;
        state.refuse(&ended(), &ended());
        self.changed.notify_one();
    }

    /// Waits until somebody needs a model; `false`: it is time to end.
    fn wanted(&self) -> bool {
        let nobody = |state: &mut State| {
            if std::mem::take(&mut state.unload) {
                state.refuse(&EmbeddingError::Loading, &EmbeddingError::Full);
            }
            state.quiet() && !state.wanted
        };
        let state = self.changed.wait_while(self.lock(), nobody);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        state.wanted = false;
        state.phase != Phase::Ended
    }

    fn loaded(&self, outcome: Result<(), String>) {
        let mut state = self.lock();
        state.trouble = outcome.err();
        match state.trouble.clone() {
            Some(why) => {
                tracing::info!(%why, "texts are found by their words alone");
                let unusable = EmbeddingError::Unusable(why);
                state.refuse(&unusable, &unusable);
            }
            None if state.phase == Phase::Unloaded => state.phase = Phase::Loaded,
            None => {}
        }
    }

    /// The next request, turns first; `None`: the model is to leave the memory, because nothing came for so long or for another
    /// reason.
    fn next(&self, idle: Duration) -> Option<Request> {
        let waited = self.changed.wait_timeout_while(self.lock(), idle, |state| state.quiet());
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        let State { phase, turn, background, unload, .. } = &mut *state;
        if *phase == Phase::Loaded && !*unload {
            let next = turn.requests.pop_front().or_else(|| background.requests.pop_front());
            if next.is_some() {
                return next;
            }
        }
        if *phase == Phase::Loaded {
            *phase = Phase::Unloaded;
        }
        *unload = false;
        state.refuse(&EmbeddingError::Loading, &EmbeddingError::Full);
        None
    }

    /// Takes a request back with the vector of one of its texts, to the place that it had.
    fn back(&self, mut request: Request, vector: Option<Vector>) {
        let mut state = self.lock();
        let ended = state.phase == Phase::Ended;
        let queue = state.queue(request.urgency);
        queue.texts = queue.texts.saturating_sub(1);
        let whole = vector.is_some();
        request.done.extend(vector);
        if whole && request.texts.is_empty() {
            reply(request.answer, Ok(request.done));
        } else if whole && !ended && !request.answer.is_closed() {
            queue.requests.push_front(request);
        } else {
            queue.texts = queue.texts.saturating_sub(request.texts.len());
            // Weights that passed the check make a vector of everything.
            let why = EmbeddingError::Unusable("the embedding model makes no vector of this".to_owned());
            reply(request.answer, Err(if ended { self::ended() } else { why }));
        }
    }
}

/// The thread. It ends when it is asked to.
pub fn run(shared: &Shared, mut source: Source, idle: Duration) {
    let _ending = Ending(shared);
    while shared.wanted() {
        let bytes = match source.open() {
            Ok(bytes) => bytes,
            Err(why) => {
                shared.loaded(Err(why));
                continue;
            }
        };
        match Model::new(bytes.get(), Kernel::best()) {
            Ok(model) => serve(shared, &model, idle),
            Err(why) => shared.loaded(Err(format!("the embedding model cannot be used: {why}"))),
        }
    }
}

/// Works until the model is to leave the memory.
fn serve(shared: &Shared, model: &Model<'_>, idle: Duration) {
    let mut scratch = Scratch::new();
    shared.loaded(Ok(()));
    while let Some(mut request) = shared.next(idle) {
        let text = request.texts.pop_front().unwrap_or_default();
        let ids = WordPiece::get().ids(&text);
        shared.back(request, Vector::new(&model.vector(&ids, &mut scratch)));
    }
}

/// Nobody waits for a thread that has ended, however it did.
struct Ending<'a>(&'a Shared);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// What those get who ask a thread that has ended.
pub fn ended() -> EmbeddingError {
    EmbeddingError::Unusable("the thread of the embedding model has ended".to_owned())
}

/// Whoever asked may have gone meanwhile; then nobody misses the answer.
fn reply(to: oneshot::Sender<Answer>, answer: Answer) {
    if to.send(answer).is_err() {
        tracing::trace!("nobody waits for these vectors any more");
    }
}

/// As much of a text as is read.
fn shortened(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}
