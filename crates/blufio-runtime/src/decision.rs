//! An owner's answer that comes from the machine itself and not out of a conversation. With a running server it goes through
//! [`Host::decide`](crate::Host::decide), without one straight to the database; either way it is this batch.

use blufio_core::approval::Verdict;
use blufio_core::ids::{ApprovalId, ChannelName};
use blufio_core::port::LOCAL_CHANNEL;
use blufio_core::record::{Accepted, Batch, Fate, Item, Shared, Taken};
use blufio_core::time::Timestamp;

/// How whoever answers at the machine is named, where the question was shown and in the audit log.
pub const AT_TERMINAL: &str = "owner at the terminal";

/// The answer as the store takes it. The same answer twice in one millisecond is one.
#[must_use]
pub fn decision(approval: ApprovalId, verdict: Verdict, at: Timestamp) -> Batch {
    let fingerprint = format!("{}-{approval}-{at}", verdict.verb(), at = at.0);
    let fate = Fate::Decide { approval, verdict, by: AT_TERMINAL.to_owned(), at: None, replies: None };
    let item = Item { update: 0, fingerprint, raw: Shared::from([]), fate };
    Batch { channel: ChannelName::new(LOCAL_CHANNEL), account: 0, items: vec![item], cursor: None, at }
}

/// It counted: the question was open and takes such an answer.
#[must_use]
pub fn is_decided(accepted: &[Accepted]) -> bool {
    matches!(accepted, [Accepted { taken: Taken::Decided(..), .. }])
}
