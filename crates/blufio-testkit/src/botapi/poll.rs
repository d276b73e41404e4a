//! `getUpdates`: confirming, long polling, throttles and the conflict of two pollers.
//!
//! Follows `process_get_updates_query` of the public server (<https://github.com/tdlib/telegram-bot-api>).

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};

use super::Shared;
use super::answer::{Answer, Refusal};
use super::fault::shuffle;
use super::methods::list;
use super::schema::Params;
use super::state::State;
use crate::http::Responder;

/// Longest long poll; a larger `timeout` is cut to this.
pub const POLL_SECONDS_MAX: i64 = 50;
/// Within this time the same offset is answered no faster than this.
const REPEAT_WINDOW: Duration = Duration::from_secs(3);
/// Within this time the same offset gets one update at most.
const HOT_LOOP_WINDOW: Duration = Duration::from_millis(500);
/// Delay of the second and later conflict answers.
const CONFLICT_DELAY: Duration = Duration::from_secs(3);

const OTHER_POLL: &str =
    "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running";
const WEBHOOK_SET: &str = "Conflict: terminated by setWebhook request";
const WEBHOOK_ACTIVE: &str =
    "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first";

enum Begun {
    Answered(Answer),
    Conflict,
    Waiting { generation: u64, limit: usize, timeout: Duration },
}

/// Carries out one poll. `None` when the client hung up before there was an answer.
pub(super) async fn get_updates(shared: &Shared, params: &Params, responder: &mut Responder) -> Option<Answer> {
    let begun = begin(&mut shared.lock(), params);
    // Every poll ends the one that waits.
    shared.polls.notify_waiters();
    match begun {
        Begun::Answered(answer) => Some(answer),
        Begun::Conflict => conflict(shared, responder, WEBHOOK_ACTIVE).await,
        Begun::Waiting { generation, limit, timeout } => wait(shared, responder, generation, limit, timeout).await,
    }
}

fn begin(state: &mut State, params: &Params) -> Begun {
    if params.values.contains_key("allowed_updates") {
        let kinds = list(params, "allowed_updates").iter().filter_map(Value::as_str).map(str::to_owned);
        state.allowed_updates = Some(kinds.collect());
    }
    if state.webhook.is_set() {
        return Begun::Conflict;
    }
    let offset = params.integer("offset").unwrap_or(0);
    if i32::try_from(offset).is_err() {
        state.violate(format!("getUpdates: offset {offset} does not fit 32 bits"));
    }
    let mut limit = params.integer("limit").unwrap_or(100).clamp(1, 100);
    let mut timeout = params.integer("timeout").unwrap_or(0).clamp(0, POLL_SECONDS_MAX);
    let now = state.now();
    let repeated = state.config.throttle && state.poll.last_offset == Some(offset);
    let since = now.saturating_sub(state.poll.last_start);
    if repeated && since < REPEAT_WINDOW {
        timeout = timeout.max(3);
    }
    if repeated && since < HOT_LOOP_WINDOW {
        limit = 1;
    }
    state.poll.last_offset = Some(offset);
    state.poll.last_start = now;
    state.poll.generation += 1;
    state.poll.by_webhook = false;
    state.queue.confirm(offset);
    let limit = usize::try_from(limit).unwrap_or(1);
    if timeout == 0 || !state.queue.is_empty() {
        state.poll.waiting = false;
        return Begun::Answered(batch(state, limit));
    }
    state.poll.waiting = true;
    let timeout = Duration::from_secs(u64::try_from(timeout).unwrap_or(0));
    Begun::Waiting { generation: state.poll.generation, limit, timeout }
}

fn batch(state: &mut State, limit: usize) -> Answer {
    let mut updates: Vec<Arc<str>> = state.queue.batch(limit);
    if updates.len() > 1
        && let Some(seed) = state.reorder.take()
    {
        shuffle(&mut updates, seed);
    }
    Answer::raw(&format!("[{}]", updates.join(",")))
}

async fn wait(
    shared: &Shared,
    responder: &mut Responder,
    generation: u64,
    limit: usize,
    timeout: Duration,
) -> Option<Answer> {
    let deadline = Instant::now() + timeout;
    loop {
        let changed = shared.polls.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        {
            let mut state = shared.lock();
            if state.poll.generation != generation {
                break;
            }
            if !state.queue.is_empty() || Instant::now() >= deadline {
                state.poll.waiting = false;
                return Some(batch(&mut state, limit));
            }
        }
        tokio::select! {
            () = &mut changed => {}
            () = sleep_until(deadline) => {}
            () = responder.closed_by_peer() => {
                let mut state = shared.lock();
                state.poll.waiting &= state.poll.generation != generation;
                return None;
            }
        }
    }
    // A client that had already hung up has not overlapped, even if the news of it comes second.
    if responder.peer_is_gone() {
        return None;
    }
    let reason = {
        let mut state = shared.lock();
        if state.poll.by_webhook {
            WEBHOOK_SET
        } else {
            state.poll.overlapping += 1;
            OTHER_POLL
        }
    };
    shared.changed.notify_waiters();
    conflict(shared, responder, reason).await
}

async fn conflict(shared: &Shared, responder: &mut Responder, reason: &str) -> Option<Answer> {
    let delay = {
        let mut state = shared.lock();
        let now = state.now();
        if !state.config.throttle {
            Duration::ZERO
        } else if now >= state.poll.next_conflict {
            state.poll.next_conflict = now + CONFLICT_DELAY;
            Duration::ZERO
        } else {
            CONFLICT_DELAY
        }
    };
    if !delay.is_zero() {
        tokio::select! {
            () = sleep(delay) => {}
            () = responder.closed_by_peer() => return None,
        }
    }
    Some(Answer::of(Err(Refusal::new(409, reason))))
}
