//! Sends a stored file, as a picture or as a document.

use super::super::Telegram;
use super::super::api::ApiError;
use super::Shape;
use super::request::{message_number, quoted};
use crate::blocking::blocking;
use crate::form::{FilePart, Form};
use blufio_core::content::OutgoingFile;
use blufio_core::limits::SENT_PICTURE_BYTES_MAX;
use blufio_core::port::{BlobError, SendOutcome};
use blufio_core::record::{OutboxRow, Rendered, Route};
use bytes::Bytes;

/// A file to send, with what is in it.
#[derive(Clone)]
pub(super) struct Loaded {
    file: OutgoingFile,
    bytes: Bytes,
}

impl Loaded {
    /// It is to be shown as a picture, and the server may do so.
    pub(super) fn is_picture(&self) -> bool {
        self.file.picture && self.bytes.len() <= SENT_PICTURE_BYTES_MAX
    }
}

impl Telegram {
    /// Reads a stored file, or says what that means for its row.
    pub(super) async fn load(&self, file: &OutgoingFile) -> Result<Loaded, SendOutcome> {
        let (blobs, id) = (self.blobs.clone(), file.attachment.clone());
        let error = match blocking(move || blobs.get(&id)).await {
            Some(Ok(bytes)) => return Ok(Loaded { file: file.clone(), bytes: bytes.into() }),
            Some(Err(error)) => error,
            None => return Err(not_read("the process is ending".to_owned())),
        };
        match error {
            BlobError::Gone => Err(SendOutcome::Dead(format!("the file `{}` is no longer stored", file.name))),
            BlobError::Full | BlobError::Broken(_) => Err(not_read(error.to_string())),
        }
    }

    /// Uploads a file, with the row's text below it.
    pub(super) async fn send_file(&self, row: &OutboxRow, loaded: &Loaded, shape: Shape) -> Result<i64, ApiError> {
        let (method, field) = if shape.picture { ("sendPhoto", "photo") } else { ("sendDocument", "document") };
        let fields = fields(&row.route, &row.body, shape)?;
        let (loaded, random) = (loaded.clone(), self.rng.bits());
        let write = move || {
            let OutgoingFile { name, media_type, .. } = &loaded.file;
            Form::new(&fields, &FilePart { field, name, media_type, bytes: &loaded.bytes }, random)
        };
        let form = blocking(write).await.ok_or_else(|| ApiError::NotSent("the process is ending".to_owned()))?;
        self.api.upload(method, form, self.timeouts.upload, message_number).await
    }
}

/// Everything but the file.
fn fields(route: &Route, body: &Rendered, shape: Shape) -> Result<Vec<(&'static str, String)>, ApiError> {
    let mut fields = vec![("chat_id", route.chat.to_string())];
    fields.extend(shape.thread.map(|thread| ("message_thread_id", thread.to_string())));
    let caption = if shape.plain { &body.plain } else { &body.rich };
    if !caption.trim().is_empty() {
        fields.push(("caption", caption.clone()));
        fields.extend((!shape.plain).then(|| ("parse_mode", "HTML".to_owned())));
    }
    if let Some(quoted) = quoted(route) {
        let quoted = serde_json::to_string(&quoted).map_err(|error| ApiError::NotSent(error.to_string()))?;
        fields.push(("reply_parameters", quoted));
    }
    Ok(fields)
}

/// The disk may work again.
fn not_read(error: String) -> SendOutcome {
    SendOutcome::NotSent { after: None, everywhere: false, error }
}
