//! Files from people: where they are is asked, then they are fetched, within limits of size and time.
//!
//! What is in a file is not looked at here, and its name never becomes a path.

use super::api::{ApiError, Download};
use super::wire::RemoteFile;
use super::{DEFAULT_RETRY_AFTER, Telegram};
use blufio_core::content::FileRef;
use blufio_core::port::FetchError;
use serde::Serialize;
use std::time::Duration;

/// Bytes of the server's path of a file. Longer: not fetched.
const PATH_BYTES_MAX: usize = 256;

#[derive(Serialize)]
struct GetFile<'a> {
    file_id: &'a str,
}

/// Where a file is.
struct Place {
    path: String,
    bytes: Option<u64>,
}

impl Telegram {
    /// Fetches a file. A link that is no longer good is asked for once more.
    pub(super) async fn fetch_file(&self, file: &FileRef, bytes_max: u64) -> Result<Vec<u8>, FetchError> {
        if file.bytes.is_some_and(|bytes| bytes > bytes_max) {
            return Err(FetchError::TooLarge);
        }
        let limit = self.timeouts.fetch;
        let late = |_| FetchError::Late(format!("it did not come within {} ms", limit.as_millis()));
        let until = self.clock.monotonic().saturating_add(limit);
        tokio::time::timeout(limit, self.fetch_by_link(file, bytes_max, until)).await.map_err(late)?
    }

    async fn fetch_by_link(&self, file: &FileRef, bytes_max: u64, until: Duration) -> Result<Vec<u8>, FetchError> {
        let place = self.locate(file, bytes_max, until).await?;
        match self.download(&place, bytes_max).await {
            Err(Download::Gone) => {}
            fetched => return fetched.map_err(given_up),
        }
        let place = self.locate(file, bytes_max, until).await?;
        self.download(&place, bytes_max).await.map_err(given_up)
    }

    /// Asks where a file is, again after a pause that the server asks for, if that is over before `until`.
    async fn locate(&self, file: &FileRef, bytes_max: u64, until: Duration) -> Result<Place, FetchError> {
        let request = GetFile { file_id: &file.handle };
        let remote: RemoteFile = loop {
            let pause = match self.api.call("getFile", &request, self.timeouts.send).await {
                Ok(remote) => break remote,
                Err(ApiError::Status { code: 429, retry_after, .. }) => retry_after.unwrap_or(DEFAULT_RETRY_AFTER),
                Err(error) => return Err(refused(&error)),
            };
            if self.clock.monotonic().saturating_add(pause) >= until {
                return Err(FetchError::Late(format!("Telegram asks to wait for {} s", pause.as_secs())));
            }
            self.clock.sleep(pause).await;
        };
        if remote.file_size.is_some_and(|bytes| bytes > bytes_max) {
            return Err(FetchError::TooLarge);
        }
        let path = remote.file_path.filter(|path| is_safe(path)).ok_or(FetchError::Gone)?;
        Ok(Place { path, bytes: remote.file_size })
    }

    async fn download(&self, place: &Place, bytes_max: u64) -> Result<Vec<u8>, Download> {
        let bytes = self.api.download(&place.path, bytes_max, self.timeouts.stall).await?;
        if place.bytes.is_some_and(|expected| (bytes.len() as u64) < expected) {
            return Err(Download::Failed("it came incomplete".to_owned()));
        }
        Ok(bytes)
    }
}

fn given_up(error: Download) -> FetchError {
    match error {
        Download::TooLarge => FetchError::TooLarge,
        Download::Gone => FetchError::Gone,
        Download::Failed(why) => FetchError::Unavailable(why),
    }
}

fn refused(error: &ApiError) -> FetchError {
    if error.is_bad_request(&["file is too big"]) {
        return FetchError::TooLarge;
    }
    match error {
        ApiError::Status { code: 400, .. } => FetchError::Gone,
        error => FetchError::Unavailable(error.to_string()),
    }
}

/// A path as the server gives them, and nothing that leads elsewhere.
fn is_safe(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'/' | b'-');
    (1..=PATH_BYTES_MAX).contains(&path.len())
        && path.bytes().all(plain)
        && !path.starts_with('/')
        && !path.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_below_the_bots_files() {
        for fine in ["photos/file_1.jpg", "a", "documents/x-y_z.tar.gz", &"x".repeat(256)] {
            assert!(is_safe(fine), "{fine}");
        }
        for odd in
            ["", "/etc/passwd", "../x", "a/../b", "a..b", "a?b", "a#b", "a b", "a%2f", "a\\b", "ä", &"x".repeat(257)]
        {
            assert!(!is_safe(odd), "{odd}");
        }
    }
}
