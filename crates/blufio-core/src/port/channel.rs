//! A way in and out: Telegram, and whatever comes.
//!
//! A channel turns the outside's words into facts and hands them to [`Intake`]; it never sees the store, never decides who
//! may speak, and never paces itself: the runtime calls [`Channel::send`] when a row's turn has come.

use super::Boxed;
use crate::access::Sender;
use crate::content::{Content, FileRef};
use crate::ids::{ChannelName, SessionKey};
use crate::record::{OutboxRow, Rendered, Route, Shared};
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// One update in the channel's terms, with nothing decided yet.
#[derive(Clone, Debug)]
pub struct Inbound {
    /// The channel's number of the update.
    pub update: i64,
    /// Tells a reused number from a repeat.
    pub fingerprint: String,
    /// The update as it came.
    pub raw: Shared,
    /// What it is.
    pub kind: InboundKind,
}

/// What an update is.
#[derive(Clone, Debug)]
pub enum InboundKind {
    /// Somebody wrote something.
    Message {
        /// Who.
        sender: Sender,
        /// The name they give themselves.
        name: String,
        /// Where the answer goes.
        route: Route,
        /// The conversation it belongs to.
        session: SessionKey,
        /// What was said; empty for content that cannot be described.
        content: Content,
        /// Messages with the same word are one message, sent in pieces.
        album: Option<String>,
        /// The bot's own username, for `/command@name`.
        addressee: Option<String>,
    },
    /// Somebody changed what they wrote.
    Edited {
        /// Who.
        sender: Sender,
        /// The conversation.
        session: SessionKey,
        /// The channel's number of the message.
        message: i64,
        /// The new text.
        text: String,
    },
    /// Somebody pressed a button.
    Pressed {
        /// Who.
        sender: Sender,
        /// The channel's handle for answering the press; answered in any case.
        press: String,
        /// The message with the button.
        message: i64,
        /// What the button stands for.
        data: String,
    },
    /// Somebody reacted to a message.
    Reacted {
        /// Who.
        sender: Sender,
        /// The name they give themselves.
        name: String,
        /// The message they reacted to.
        message: i64,
        /// With what; empty if the reaction was taken back.
        emoji: String,
    },
    /// The bot was let in or shut out.
    Membership {
        /// The chat.
        chat: i64,
        /// Why it is shut out; `None` if it is in.
        closed: Option<&'static str>,
    },
    /// A group goes on under another id.
    Migrated {
        /// Its old id.
        old: i64,
        /// Its new id.
        new: i64,
    },
    /// A kind that is not used; the word names it.
    Ignored(&'static str),
    /// Not readable.
    Malformed,
}

/// Why a batch was not taken: nothing of it is stored, and the cursor has not moved.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct IntakeError(pub String);

/// Takes updates in. Implemented by the runtime; a channel confirms to its server only after this has returned.
pub trait Intake: Send + Sync + 'static {
    /// Stores a batch and the cursor after it in one transaction.
    fn accept(&self, account: i64, batch: Vec<Inbound>, cursor: i64) -> Boxed<'_, Result<(), IntakeError>>;
    /// The stored cursor of an account.
    fn cursor(&self, account: i64) -> Option<i64>;
    /// Waits until the inbox takes more; returns at once if it does.
    fn ready(&self) -> Boxed<'_, ()>;
    /// Something that the owner should know; told at most once an hour per `topic`, however often it is said.
    fn tell_owner(&self, topic: &'static str, text: String);
}

/// The other way in: the server calls. Implemented by channels that can be reached so.
pub trait Webhook: Send + Sync + 'static {
    /// Whether a caller knows the secret; takes the same time for every wrong one.
    fn admits(&self, secret: &[u8]) -> bool;
    /// Takes one update; when this returns, it is stored.
    fn take(&self, body: &[u8]) -> Boxed<'_, Result<(), IntakeError>>;
}

/// How a channel is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ChannelHealth {
    /// Not authenticated yet.
    Starting,
    /// Authenticated; the age of the request in flight counts (milliseconds on the monotonic clock).
    Ready {
        /// When the poll that is in flight was first sent; retries do not reset it.
        poll_since_ms: u64,
    },
    /// Authenticated; updates are brought by the server.
    Listening,
    /// Trouble that may pass.
    Degraded {
        /// What.
        reason: String,
        /// Since when the poll has had no answer, as above.
        poll_since_ms: u64,
    },
    /// Trouble that only a person can mend.
    Failed {
        /// What.
        reason: String,
    },
}

/// How a send ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// Delivered under this number.
    Sent(i64),
    /// Delivered under this number, but not quite as it was wished.
    SentBeside {
        /// The number.
        message: i64,
        /// What the owner should know.
        remark: String,
    },
    /// The chat goes on under this id.
    Migrated(i64),
    /// Provably not delivered. `after` is the server's wish, if it has one; then the try does not count. Without a wish but
    /// `everywhere`, the server was not reached at all, and the try does not count either.
    NotSent {
        /// Wait at least this long.
        after: Option<Duration>,
        /// The wait holds for the whole account and not only for this chat.
        everywhere: bool,
        /// Why.
        error: String,
    },
    /// Bytes were written and no answer was read.
    Uncertain(String),
    /// The same of a new message for a row that was to change one: unlike the change, it may be there twice.
    UncertainAnew(String),
    /// Will never be delivered.
    Dead(String),
    /// The chat is closed to us.
    ChatClosed(String),
    /// The account is refused; rows wait.
    Unauthorized(String),
}

/// What is shown while a turn runs.
#[derive(Clone, Debug)]
pub struct Preview {
    /// Where.
    pub route: Route,
    /// Nonzero, the same for all previews of a reply.
    pub draft: i64,
    /// All visible text so far, as the model wrote it.
    pub text: String,
    /// The message to change, if one was made.
    pub message: Option<i64>,
}

/// What became of a preview.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PreviewOutcome {
    /// Shown, and it will vanish by itself; show the next one not before this much later.
    Shown {
        /// The pause.
        pause: Duration,
    },
    /// A message was made that must become the answer.
    Placed {
        /// Its number.
        message: i64,
        /// The pause.
        pause: Duration,
    },
    /// No more previews for this reply.
    Stop,
}

/// Why a file could not be fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// It is larger than was allowed.
    #[error("it is too large")]
    TooLarge,
    /// The server does not have it (any more).
    #[error("it is no longer there")]
    Gone,
    /// The server could not be reached, or failed; trying again may help.
    #[error("{0}")]
    Unavailable(String),
    /// The time for it is over, or the server asks for more than is left; trying again at once does not help.
    #[error("{0}")]
    Late(String),
}

/// Why a channel's task ended.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// Start it again after a pause.
    #[error("{0}")]
    Restart(String),
    /// Only a person can mend it.
    #[error("{0}")]
    Fatal(String),
}

/// A channel.
pub trait Channel: Send + Sync + 'static {
    /// Its name.
    fn name(&self) -> ChannelName;

    /// Receives until the future is dropped. Ends only with an error.
    fn receive(&self, intake: Arc<dyn Intake>) -> impl Future<Output = ChannelError> + Send;

    /// Renders an answer into what is sent, in order; never empty for visible text.
    fn render(&self, text: &str) -> Vec<Rendered>;

    /// The account that we are there, once it is known.
    fn account(&self) -> Option<i64>;

    /// The private conversation with somebody, once it is known who we are.
    fn private_route(&self, user: i64) -> Option<Route>;

    /// The address that opens a private conversation with `code` as its first word, once it is known who we are.
    fn invitation(&self, code: &str) -> Option<String>;

    /// Fetches a file, at most `bytes_max` bytes of it.
    fn fetch(&self, file: &FileRef, bytes_max: u64) -> impl Future<Output = Result<Vec<u8>, FetchError>> + Send;

    /// Shows that a message was read, if that is wanted; best effort.
    fn acknowledge(&self, route: &Route) -> impl Future<Output = ()> + Send;

    /// Answers the press of a button with a few words (at most 200 UTF-16 units); best effort.
    fn answer_press(&self, press: &str, text: &str) -> impl Future<Output = ()> + Send;

    /// What was shown of an unfinished answer can be replaced in that chat.
    fn can_replace_preview(&self, route: &Route) -> bool;

    /// Shows an unfinished answer.
    fn preview(&self, preview: Preview) -> impl Future<Output = PreviewOutcome> + Send;

    /// Shows that somebody is at work; the display lasts about five seconds. False: give up for this turn.
    fn typing(&self, route: &Route) -> impl Future<Output = bool> + Send;

    /// Sends one row, once.
    fn send(&self, row: &OutboxRow) -> impl Future<Output = SendOutcome> + Send;

    /// Removes a message, best effort.
    fn remove(&self, route: &Route, message: i64) -> impl Future<Output = ()> + Send;

    /// How it is.
    fn health(&self) -> ChannelHealth;

    /// What the operator should know although nothing fails.
    fn remark(&self) -> Option<String>;

    /// Sending limits: messages per second for the whole account and per private chat, and the burst of a chat.
    /// `None`: no local limit.
    fn rates(&self) -> Option<Rates>;
}

/// Sending limits of a channel account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Messages per second over all chats; also the burst.
    pub global_per_s: u32,
    /// Messages per second in one chat.
    pub chat_per_s: u32,
    /// Messages a chat may get at once.
    pub chat_burst: u32,
    /// Messages per minute in one group.
    pub group_per_min: u32,
    /// Messages a group may get at once.
    pub group_burst: u32,
}

/// The erased twin of [`Channel`].
pub trait AnyChannel: Send + Sync + 'static {
    /// See [`Channel::name`].
    fn name(&self) -> ChannelName;
    /// See [`Channel::receive`].
    fn receive(&self, intake: Arc<dyn Intake>) -> Boxed<'_, ChannelError>;
    /// See [`Channel::render`].
    fn render(&self, text: &str) -> Vec<Rendered>;
    /// See [`Channel::account`].
    fn account(&self) -> Option<i64>;
    /// See [`Channel::private_route`].
    fn private_route(&self, user: i64) -> Option<Route>;
    /// See [`Channel::invitation`].
    fn invitation(&self, code: &str) -> Option<String>;
    /// See [`Channel::fetch`].
    fn fetch<'a>(&'a self, file: &'a FileRef, bytes_max: u64) -> Boxed<'a, Result<Vec<u8>, FetchError>>;
    /// See [`Channel::acknowledge`].
    fn acknowledge<'a>(&'a self, route: &'a Route) -> Boxed<'a, ()>;
    /// See [`Channel::answer_press`].
    fn answer_press<'a>(&'a self, press: &'a str, text: &'a str) -> Boxed<'a, ()>;
    /// See [`Channel::can_replace_preview`].
    fn can_replace_preview(&self, route: &Route) -> bool;
    /// See [`Channel::preview`].
    fn preview(&self, preview: Preview) -> Boxed<'_, PreviewOutcome>;
    /// See [`Channel::typing`].
    fn typing<'a>(&'a self, route: &'a Route) -> Boxed<'a, bool>;
    /// See [`Channel::send`].
    fn send<'a>(&'a self, row: &'a OutboxRow) -> Boxed<'a, SendOutcome>;
    /// See [`Channel::remove`].
    fn remove<'a>(&'a self, route: &'a Route, message: i64) -> Boxed<'a, ()>;
    /// See [`Channel::health`].
    fn health(&self) -> ChannelHealth;
    /// See [`Channel::remark`].
    fn remark(&self) -> Option<String>;
    /// See [`Channel::rates`].
    fn rates(&self) -> Option<Rates>;
}

impl<C: Channel> AnyChannel for C {
    fn name(&self) -> ChannelName {
        Channel::name(self)
    }
    fn receive(&self, intake: Arc<dyn Intake>) -> Boxed<'_, ChannelError> {
        Box::pin(Channel::receive(self, intake))
    }
    fn render(&self, text: &str) -> Vec<Rendered> {
        Channel::render(self, text)
    }
    fn account(&self) -> Option<i64> {
        Channel::account(self)
    }
    fn private_route(&self, user: i64) -> Option<Route> {
        Channel::private_route(self, user)
    }
    fn invitation(&self, code: &str) -> Option<String> {
        Channel::invitation(self, code)
    }
    fn fetch<'a>(&'a self, file: &'a FileRef, bytes_max: u64) -> Boxed<'a, Result<Vec<u8>, FetchError>> {
        Box::pin(Channel::fetch(self, file, bytes_max))
    }
    fn acknowledge<'a>(&'a self, route: &'a Route) -> Boxed<'a, ()> {
        Box::pin(Channel::acknowledge(self, route))
    }
    fn answer_press<'a>(&'a self, press: &'a str, text: &'a str) -> Boxed<'a, ()> {
        Box::pin(Channel::answer_press(self, press, text))
    }
    fn can_replace_preview(&self, route: &Route) -> bool {
        Channel::can_replace_preview(self, route)
    }
    fn preview(&self, preview: Preview) -> Boxed<'_, PreviewOutcome> {
        Box::pin(Channel::preview(self, preview))
    }
    fn typing<'a>(&'a self, route: &'a Route) -> Boxed<'a, bool> {
        Box::pin(Channel::typing(self, route))
    }
    fn send<'a>(&'a self, row: &'a OutboxRow) -> Boxed<'a, SendOutcome> {
        Box::pin(Channel::send(self, row))
    }
    fn remove<'a>(&'a self, route: &'a Route, message: i64) -> Boxed<'a, ()> {
        Box::pin(Channel::remove(self, route, message))
    }
    fn health(&self) -> ChannelHealth {
        Channel::health(self)
    }
    fn remark(&self) -> Option<String> {
        Channel::remark(self)
    }
    fn rates(&self) -> Option<Rates> {
        Channel::rates(self)
    }
}
