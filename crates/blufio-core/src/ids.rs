//! One newtype per id, so that a session cannot be passed where a turn is meant.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Declares a newtype around an integer.
macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The id after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

/// Declares a newtype around a shared, immutable string.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Wraps `text`; the caller has checked where it comes from.
            pub fn new(text: impl AsRef<str>) -> Self {
                Self(text.as_ref().into())
            }

            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id!(
    /// A session's row.
    SessionId(i64)
);
number_id!(
    /// The number of a turn within its session, from 1.
    TurnNumber(i64)
);
number_id!(
    /// The number of a model call within its turn, from 1; every try has its own.
    CallNumber(u32)
);
number_id!(
    /// The place of a message within its session, from 1.
    MessageSeq(i64)
);
number_id!(
    /// The number of an epoch (one frozen tools + system + model triple) within its session, from 1.
    EpochNumber(i64)
);
number_id!(
    /// A row of the inbox.
    InboxId(i64)
);
number_id!(
    /// A row of the outbox.
    OutboxId(i64)
);
number_id!(
    /// An "always" of an owner.
    GrantId(i64)
);
number_id!(
    /// A schedule.
    ScheduleId(i64)
);
number_id!(
    /// A run of a schedule.
    RunId(i64)
);
number_id!(
    /// A message as it can be found again.
    PassageId(i64)
);
number_id!(
    /// Something that is known.
    FactId(i64)
);
number_id!(
    /// A change of what is known.
    FactChangeId(i64)
);
number_id!(
    /// Counts process starts: incremented and committed at start, carried by every claim.
    Boot(i64)
);

text_id!(
    /// The name of a channel: `telegram`, `local`.
    ChannelName
);
text_id!(
    /// Names a conversation for ever: `tg:<bot>:dm:<user>`, `local:main`.
    SessionKey
);
text_id!(
    /// A model as its vendor spells it, e.g. `claude-sonnet-5-5`.
    ModelId
);
text_id!(
    /// The id that a model gave to one of its tool calls.
    CallId
);
text_id!(
    /// The name of a tool.
    ToolName
);

text_id!(
    /// A stored file, named by the SHA-256 of its content in 64 hexadecimal digits.
    AttachmentId
);
text_id!(
    /// A question to an owner: 20 symbols of chance, so that it cannot be guessed.
    ApprovalId
);
