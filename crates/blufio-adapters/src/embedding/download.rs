//! Fetches the weights' file over HTTP, going on where an earlier try has stopped. What comes is not trusted: the caller checks
//! its sum.

use super::FILE_BYTES;
use crate::egress::{self, Egress, EgressError, Origin, Purpose};
use reqwest::StatusCode;
use reqwest::header::{LOCATION, RANGE};
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::time::Duration;

/// Redirects that are followed. More: refused.
const REDIRECTS_MAX: usize = 3;
/// Longest pause between two pieces.
const IDLE: Duration = Duration::from_secs(30);

/// Why the file did not come.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The address cannot be used, or nobody answers there; going on later helps if it breaks in the middle.
    #[error(transparent)]
    Egress(#[from] EgressError),
    /// Nothing came for 30 seconds.
    #[error("nothing came for 30 seconds")]
    Silent,
    /// The server has no such file, or does not give it.
    #[error("the server answered with status {0}")]
    Status(u16),
    /// It is another file.
    #[error("the server's file is longer than {FILE_BYTES} bytes, so it is another one")]
    TooLong,
    /// It could not be written.
    #[error("it could not be written: {0}")]
    Disk(#[from] io::Error),
}

/// Appends to `part` what it lacks; `progress` is told how many bytes there are.
///
/// # Errors
/// See [`DownloadError`]; what has come until then stays in the file.
pub async fn download(
    egress: &Egress,
    url: &str,
    part: &mut File,
    mut progress: impl FnMut(u64),
) -> Result<(), DownloadError> {
    let mut have = part.seek(SeekFrom::End(0))?;
    let mut address = url.to_owned();
    for _ in 0..=REDIRECTS_MAX {
        let asked = reqwest::Url::parse(&address).map_err(|_| EgressError::Address("it is no URL"))?;
        let origin = Origin::parse(&asked.origin().ascii_serialization())?;
        let client = egress.client(Purpose::Send, &origin)?;
        let query: Vec<(String, String)> = asked.query_pairs().into_owned().collect();
        let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let request = client.ask(asked.path(), &query).header(RANGE, format!("bytes={have}-"));
        let sent = tokio::time::timeout(IDLE, egress::send(request)).await.map_err(|_| DownloadError::Silent)?;
        let mut response = sent?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {}
            // The server cannot go on in the middle.
            StatusCode::OK => {
                part.set_len(0)?;
                have = part.seek(SeekFrom::Start(0))?;
            }
            status if status.is_redirection() => {
                let next = response.headers().get(LOCATION).and_then(|next| next.to_str().ok());
                let next = next.and_then(|next| asked.join(next).ok());
                address = next.ok_or(DownloadError::Status(status.as_u16()))?.into();
                continue;
            }
            status => return Err(DownloadError::Status(status.as_u16())),
        }
        loop {
            let piece = tokio::time::timeout(IDLE, egress::chunk(&mut response)).await;
            let Some(piece) = piece.map_err(|_| DownloadError::Silent)?? else { return Ok(part.sync_all()?) };
            have = have.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
            if have > FILE_BYTES {
                return Err(DownloadError::TooLong);
            }
            part.write_all(&piece)?;
            progress(have);
        }
    }
    Err(EgressError::Address("it leads on more than three times").into())
}
