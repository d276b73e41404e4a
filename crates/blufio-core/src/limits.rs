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

/// Messages that one turn may answer together. Full: the others get the next turn.
pub const JOINED_MESSAGES_MAX: u32 = 50;
/// Pieces of an album; the server makes no larger ones. Full: the others get a turn of their own.
pub const ALBUM_PARTS_MAX: u32 = 10;
/// How long an album is waited for after its last piece.
pub const ALBUM_WAIT: Duration = Duration::from_millis(1_500);

/// Bytes of one file from or to a person, default of `[telegram] media_max_mb` (20 MiB is the server's own limit). Larger:
/// refused with a note.
pub const ATTACHMENT_BYTES_MAX: u64 = 20 * 1024 * 1024;
/// Bytes of all stored files, default of `[storage] attachments_max_mb`. Full: the oldest that no conversation shows go; if
/// that is not enough, new ones are refused with a note.
pub const ATTACHMENTS_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Fetching one file. Over: the person and the model read that it could not be fetched.
pub const FETCH: Duration = Duration::from_secs(60);
/// Pictures that one turn shows to the model. Over: the others are named and not shown.
pub const IMAGES_PER_TURN_MAX: usize = 10;
/// Bytes of one prepared picture. Over: its quality, then its size is lowered.
pub const IMAGE_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of all pictures and documents that one message shows to the model. Over: pictures are made smaller, and documents are
/// described and not shown.
pub const SHOWN_FILES_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of all pictures and documents that a conversation shows to the model. Over: the oldest are described from then on.
pub const PROMPT_FILES_BYTES_MAX: u64 = 5 * 1024 * 1024;
/// Bytes of a text file that are shown at once. Over: the rest is read in pages.
pub const DOCUMENT_INLINE_BYTES_MAX: usize = 32 * 1024;
/// Pages of a document that the model reads by itself. Over: it is described and not shown.
pub const DOCUMENT_PAGES_MAX: u32 = 100;
/// Length of a recording. Over: it is described and not transcribed.
pub const VOICE_SECONDS_MAX: u32 = 600;

/// Bytes of a picture that is shown as one (Bot API, `sendPhoto`: "at most 10 MB in size"). Larger: sent as a document.
pub const SENT_PICTURE_BYTES_MAX: usize = 10_000_000;
/// Fetching and opening all files of what one turn answers, without waiting for their turn. Over: as for [`FETCH`].
pub const READING: Duration = Duration::from_secs(120);
/// Messages whose files are fetched and opened at once; each has one file in memory at a time. Full: the others wait.
pub const FILES_OPEN_MAX: usize = 2;
/// Pictures and documents that a conversation shows to the model, which takes 100 pictures in a request. Over: the oldest are
/// described from then on.
pub const PROMPT_FILES_MAX: usize = 90;

/// How long a question to an owner is open. Over: it counts as a no.
pub const APPROVAL_TTL: Duration = Duration::from_secs(600);
/// How long a question that waits for the end of the quiet hours is open after it. Over: as above.
pub const APPROVAL_RESTED_TTL: Duration = Duration::from_secs(6 * 3600);
/// How long any question is open in all. Over: as above.
pub const APPROVAL_AGE: Duration = Duration::from_secs(24 * 3600);
/// Questions open at once about what the owners want, and as many about what all others want. Full: the call is refused, and
/// the model reads why.
pub const APPROVALS_OPEN_MAX: u32 = 5;
/// Questions per hour, counted in the same two ways. Used up: as above.
pub const APPROVALS_PER_HOUR_MAX: u32 = 20;

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

/// Chunks of one reply. Over: the reply is sent as a file.
pub const REPLY_CHUNKS_MAX: usize = 20;
/// Rows waiting in the outbox. Full: no new turn starts until some are sent.
pub const OUTBOX_PENDING_MAX: u32 = 2_000;
/// Age at which an unsent row is given up.
pub const OUTBOX_AGE: Duration = Duration::from_secs(24 * 3600);
/// All tries of a poll without any answer. Over: the channel is started anew.
pub const POLL_SILENCE: Duration = Duration::from_secs(90);
/// A poll without an answer for this long is not a connection: the process is not ready.
pub const POLL_SILENCE_TOLD: Duration = Duration::from_secs(120);
/// Pairing requests waiting per bot. Full: silence.
pub const PAIRING_PENDING_MAX: u32 = 3;
/// Life of a pairing code.
pub const PAIRING_TTL: Duration = Duration::from_secs(3600);
/// Pairing replies per bot in [`PAIRING_REPLY_WINDOW`]. Used up: silence.
pub const PAIRING_REPLIES_MAX: u32 = 3;
/// The window of [`PAIRING_REPLIES_MAX`].
pub const PAIRING_REPLY_WINDOW: Duration = Duration::from_secs(600);

/// Schedules of all conversations. Full: the oldest that has run and will not again makes room; if there is none, a new one is
/// refused.
pub const SCHEDULES_MAX: u32 = 200;
/// Characters of a schedule's name and of its time zone. Longer: refused.
pub const SCHEDULE_NAME_CHARACTERS_MAX: usize = 64;
/// Bytes of what a schedule says or asks. Longer: refused.
pub const SCHEDULE_TEXT_BYTES_MAX: usize = 8 * 1024;
/// The shortest period of a schedule. Shorter: refused.
pub const SCHEDULE_PERIOD_MIN: Duration = Duration::from_secs(60);
/// The longest period of a schedule. Longer: refused.
pub const SCHEDULE_PERIOD_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// How long after its time a run counts as late. Over: it runs all the same, and says so.
pub const SCHEDULE_LATE: Duration = Duration::from_secs(120);
/// Runs kept per schedule. Full: the oldest go.
pub const RUNS_KEPT: u32 = 100;
/// Runs in a row that fail before the owner is told.
pub const SCHEDULE_FAILURES_TOLD: u32 = 2;
/// Runs in a row that fail before a schedule is turned off.
pub const SCHEDULE_FAILURES_MAX: u32 = 10;

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
// In base64, together, with room for the words.
const _: () = assert!(PROMPT_FILES_BYTES_MAX * 4 / 3 + 1024 * 1024 <= MODEL_REQUEST_BYTES_MAX as u64);
const _: () = assert!(SHOWN_FILES_BYTES_MAX as u64 <= PROMPT_FILES_BYTES_MAX);
const _: () = assert!(IMAGES_PER_TURN_MAX < PROMPT_FILES_MAX && PROMPT_FILES_MAX < 100);
const _: () = assert!(FETCH.as_secs() <= READING.as_secs());
// A channel that is being started anew is not told to be down.
const _: () = assert!(POLL_SILENCE.as_secs() < POLL_SILENCE_TOLD.as_secs());
const _: () = assert!(IMAGE_BYTES_MAX as u64 <= ATTACHMENT_BYTES_MAX);
const _: () = assert!(ATTACHMENT_BYTES_MAX <= ATTACHMENTS_BYTES_MAX);
const _: () = assert!(APPROVAL_TTL.as_secs() < APPROVAL_RESTED_TTL.as_secs());
const _: () = assert!(APPROVAL_RESTED_TTL.as_secs() < APPROVAL_AGE.as_secs());
// No question is given up unsent while it is open.
const _: () = assert!(APPROVAL_AGE.as_secs() <= OUTBOX_AGE.as_secs());
const _: () = assert!(PROBATION_ATTEMPTS < POISON_ATTEMPTS);
const _: () = assert!(SESSION_PENDING_MAX < INBOX_PENDING_MAX);
const _: () = assert!(SCHEDULE_FAILURES_TOLD < SCHEDULE_FAILURES_MAX);
// Whether a schedule is to be turned off is seen from the runs that are kept.
const _: () = assert!(SCHEDULE_FAILURES_MAX < RUNS_KEPT);
const _: () = assert!(SCHEDULE_LATE.as_secs() >= SCHEDULE_PERIOD_MIN.as_secs());
const _: () = assert!(SCHEDULE_TEXT_BYTES_MAX <= INBOUND_TEXT_BYTES_MAX);
