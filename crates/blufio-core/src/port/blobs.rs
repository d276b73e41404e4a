//! Stored files, named by what is in them.

use crate::ids::AttachmentId;
use crate::time::Timestamp;
use std::collections::BTreeSet;

/// Why a file could not be stored or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// There is no room for it; see [`crate::limits::ATTACHMENTS_BYTES_MAX`].
    #[error("the store of attachments is full")]
    Full,
    /// Nothing is stored under that name (any more).
    #[error("it is no longer stored")]
    Gone,
    /// The disk failed.
    #[error("{0}")]
    Broken(String),
}

/// A store of files. Its calls wait for the disk: make them where waiting is allowed.
pub trait Blobs: Send + Sync + 'static {
    /// Stores bytes; the same bytes are stored once. When it returns, they are on disk.
    fn put(&self, bytes: &[u8]) -> Result<AttachmentId, BlobError>;
    /// The bytes stored under a name.
    fn get(&self, id: &AttachmentId) -> Result<Vec<u8>, BlobError>;
    /// Bytes of all stored files.
    fn bytes(&self) -> u64;
    /// Deletes what is not in `keep`: everything older than `days`, and the oldest while the whole is above the limit. Files
    /// of the last hour stay. Says how many bytes went.
    fn sweep(&self, keep: &BTreeSet<AttachmentId>, days: u32, now: Timestamp) -> Result<u64, BlobError>;
}
