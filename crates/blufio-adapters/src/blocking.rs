//! Work that waits for a disk or looks through a whole file, where waiting is allowed. What the work is, is not known here.

/// Runs it on a thread of its own; `None`: the process is ending. The work must be bounded, by the size of a file for
/// example: it cannot be stopped.
#[expect(clippy::disallowed_methods, reason = "files are read and searched where waiting is allowed")]
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Some(done),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => None,
        },
    }
}
