//! Every limit has a name, a unit and an answer for *full* (written beside it). Relations are checked at compile time.

use std::time::Duration;

/// Inbox rows waiting over all sessions. Full: a channel stops taking new messages; its server keeps them.
pub const INBOX_PENDING_MAX: u32 = 5_000;
/// Inbox rows waiting per session, default of `[session] pending_messages`. Full: the newest is refused with a note.
pub const SESSION_PENDING_MAX: u32 = 20;
/// Raw bytes of one update. Larger: stored as `poison` without its body, and confirmed.
pub const UPDATE_BYTES_MAX: usize = 256 * 1024;
/// Text of one inbound message in bytes. Longer: refused with a note (Telegram itself cuts at 4,096 characters).
pub const INBOUND_TEXT_BYTES_MAX: usize = 64 * 1024;

/// Turns that run at once, default of `[session] running_turns`. Full: turns wait in the inbox.
pub const RUNNING_TURNS_MAX: usize = 16;
/// Sessions in memory, default of `[session] live_sessions`. Full: the longest idle one is evicted; its state is stored.
pub const LIVE_SESSIONS_MAX: usize = 64;

/// How long a turn may run. Over: cancelled, and the person reads an error.
pub const TURN_DEADLINE: Duration = Duration::from_secs(15 * 60);
/// Rounds of tool calls per turn. Over: the turn ends in an error.
pub const TOOL_ROUNDS_MAX: u8 = 25;
/// How often the same call (name and arguments) may be made in a turn. Over: an error result; the next one ends the turn.
pub const IDENTICAL_CALLS_MAX: u8 = 3;
/// Tool calls of one response that run at once. Full: the others wait.
pub const PARALLEL_TOOLS_MAX: usize = 8;
/// Tool calls in one response. Over: the extra ones get error results.
pub const TOOL_CALLS_MAX: usize = 64;
/// Bytes of a tool's output that are stored. Over: cut in the middle.
pub const TOOL_OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a tool's output that are shown whole to the model. Over: head and tail with a marker between.
pub const TOOL_SHOWN_BYTES_MAX: usize = 8 * 1024;
/// How often the vendor may pause one turn (`pause_turn`). Over: the turn ends with what there is.
pub const PAUSES_MAX: u8 = 5;

/// Bytes of one model request. Over: the person is told to start a new conversation.
pub const MODEL_REQUEST_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of one model response. Over: the stream is cut and counts as a failure.
pub const MODEL_RESPONSE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of one server-sent event. Over: failure `protocol`.
pub const SSE_EVENT_BYTES_MAX: usize = 1024 * 1024;
/// Connecting to the model's server.
pub const MODEL_CONNECT: Duration = Duration::from_secs(5);
/// From the request to the first content; pings do not count.
pub const MODEL_FIRST_CONTENT: Duration = Duration::from_secs(60);
/// Between two pieces of content; pings do not count.
pub const MODEL_IDLE_CONTENT: Duration = Duration::from_secs(60);
/// One model stream from start to end.
pub const MODEL_STREAM: Duration = Duration::from_secs(10 * 60);
/// Tries of one call on one model. Used up: the fallback model, then an error.
pub const MODEL_TRIES_MAX: u8 = 4;
/// All tries and waits of one call on one model; no try starts later.
pub const MODEL_TRIES_TIME: Duration = Duration::from_secs(120);
/// The rate at which tokens of an abandoned call are assumed to have been produced, per second.
pub const ABANDONED_TOKENS_PER_SECOND: u64 = 300;

/// Chunks of one reply. Over: the last chunk says that the reply was cut.
pub const REPLY_CHUNKS_MAX: usize = 20;
/// Rows waiting in the outbox. Full: no new turn starts until some are sent.
pub const OUTBOX_PENDING_MAX: u32 = 2_000;
/// Age at which an unsent row is given up.
pub const OUTBOX_AGE: Duration = Duration::from_secs(24 * 3600);
/// Pairing requests waiting per bot. Full: silence.
pub const PAIRING_PENDING_MAX: u32 = 3;
/// Life of a pairing code.
pub const PAIRING_TTL: Duration = Duration::from_secs(3600);
/// Pairing replies per bot in [`PAIRING_REPLY_WINDOW`]. Used up: silence.
pub const PAIRING_REPLIES_MAX: u32 = 3;
/// The window of [`PAIRING_REPLIES_MAX`].
pub const PAIRING_REPLY_WINDOW: Duration = Duration::from_secs(600);

/// Boots in which a row ran without committing a step before it runs alone.
pub const PROBATION_ATTEMPTS: u32 = 3;
/// Such boots before the row is given up as `poison`.
pub const POISON_ATTEMPTS: u32 = 5;

/// Stream events kept per session for a reader that reconnects. Full: the oldest goes; the reader is told to read the rows.
pub const EVENTS_KEPT_MAX: usize = 1_024;
/// A graceful shutdown from signal to exit.
pub const SHUTDOWN: Duration = Duration::from_secs(10);

const _: () = assert!(TOOL_SHOWN_BYTES_MAX <= TOOL_OUTPUT_BYTES_MAX);
const _: () = assert!(TOOL_OUTPUT_BYTES_MAX * TOOL_CALLS_MAX <= MODEL_REQUEST_BYTES_MAX);
const _: () = assert!(SSE_EVENT_BYTES_MAX <= MODEL_RESPONSE_BYTES_MAX);
const _: () = assert!(MODEL_RESPONSE_BYTES_MAX < MODEL_REQUEST_BYTES_MAX);
const _: () = assert!(PROBATION_ATTEMPTS < POISON_ATTEMPTS);
const _: () = assert!(SESSION_PENDING_MAX < INBOX_PENDING_MAX);
