//! Failures inside the store, and the one place where they become the caller's [`StoreError`].

use blufio_core::port::StoreError;
use rusqlite::ErrorCode;

/// What a job may fail with.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The caller's mistake or a limit, already in its final form.
    Told(StoreError),
    /// The database.
    Sql(rusqlite::Error),
    /// A stored value that does not read, or one that does not write.
    Json(serde_json::Error),
}

/// The result of work on a connection.
pub(crate) type Done<T> = Result<T, Fault>;

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Told(error)
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error)
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Told(error) => error,
            Fault::Sql(error) => match error.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => Self::DiskFull,
                Some(ErrorCode::OperationInterrupted) => {
                    Self::Broken("the read took too long and was ended".to_owned())
                }
                _ => Self::Broken(error.to_string()),
            },
            Fault::Json(error) => Self::Broken(format!("a stored value does not fit its type: {error}")),
        }
    }
}

/// A bug of the caller, told with its numbers.
pub(crate) fn broken(text: impl Into<String>) -> Fault {
    Fault::Told(StoreError::Broken(text.into()))
}

/// Something that is not there, or not any more.
pub(crate) fn not_found(text: impl Into<String>) -> Fault {
    Fault::Told(StoreError::NotFound(text.into()))
}
