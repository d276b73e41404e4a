//! From what somebody sent to what the model reads: words, quotes, and files that are fetched, opened and described.
//!
//! Files are opened here and nowhere else. Whatever is wrong with one becomes a line that the person or the model reads; it
//! never ends the turn.

use super::Engine;
use crate::media::image::{self, ImageLimits};
use crate::media::{pdf, text};
use crate::tasks::blocking;
use blufio_core::access::Principal;
use blufio_core::content::{Content, FileKind, FileRef, Overheard, Quote, QuoteKind};
use blufio_core::ids::AttachmentId;
use blufio_core::limits::{
    DOCUMENT_INLINE_BYTES_MAX, DOCUMENT_PAGES_MAX, IMAGE_BYTES_MAX, IMAGES_PER_TURN_MAX, SHOWN_FILES_BYTES_MAX,
    VOICE_SECONDS_MAX,
};
use blufio_core::message::{Body, Origin, Part};
use blufio_core::port::{AnyChannel, AnyTranscriber, BlobError, FetchError, Recording};
use blufio_core::record::InboxRow;
use std::sync::Arc;
use std::time::Duration;

/// Tries of fetching one file, and the pause between them.
const FETCH_TRIES: u32 = 3;
const FETCH_PAUSE: Duration = Duration::from_secs(1);
/// The smallest share of [`SHOWN_FILES_BYTES_MAX`] that a picture gets, however many there are.
const IMAGE_SHARE_BYTES_MIN: usize = SHOWN_FILES_BYTES_MAX / IMAGES_PER_TURN_MAX;

const _: () = assert!(IMAGE_SHARE_BYTES_MIN <= IMAGE_BYTES_MAX);

/// What a message comes to.
#[derive(Default)]
pub(super) struct Reading {
    /// What the model reads.
    pub parts: Vec<Part>,
    /// What could not be read, for the person.
    pub notes: Vec<String>,
    /// There is something to answer besides the notes.
    pub usable: bool,
    /// Bytes of pictures and documents so far.
    shown_bytes: usize,
    images: usize,
}

/// Reads messages that are answered together, with what was overheard before them.
pub(super) async fn read(engine: &Arc<Engine>, rows: &[InboxRow], overheard: &[Overheard]) -> Reading {
    let mut reading = Reading::default();
    if !overheard.is_empty() {
        let lines: Vec<String> = overheard.iter().map(|heard| attributed(&heard.name, &heard.text)).collect();
        let text = format!("[Since your last answer here, and not said to you:]\n{}", lines.join("\n"));
        reading.parts.push(Part::text(Origin::Group, text));
    }
    let pictures = rows.iter().flat_map(|row| &row.content.files).filter(|file| file.kind == FileKind::Photo).count();
    for row in rows {
        words(&mut reading, row);
        let channel = engine.adapters.channels.get(&row.route.channel);
        for file in &row.content.files {
            match channel {
                Some(channel) => open(engine, channel, row, file, pictures, &mut reading).await,
                None => reading.missing(file, "this channel gives no files"),
            }
        }
    }
    if reading.usable {
        for note in &reading.notes {
            reading.parts.push(Part::text(Origin::Engine, format!("[{note}]")));
        }
    }
    reading
}

/// The words of a message; also what they answer or pass on.
fn words(reading: &mut Reading, row: &InboxRow) {
    let Content { text, speaker, quotes, .. } = &row.content;
    for Quote { kind, from, text } in quotes {
        let (origin, head) = match kind {
            QuoteKind::Reply => (Origin::Forward, format!("[This answers what “{from}” said:]")),
            QuoteKind::Forward => (Origin::Forward, format!("[Passed on; “{from}” said:]")),
            QuoteKind::Own => (Origin::Model, "[This answers what you said:]".to_owned()),
        };
        reading.parts.push(Part::text(origin, format!("{head}\n{text}")));
        reading.usable |= *kind == QuoteKind::Forward;
    }
    if !text.trim().is_empty() {
        let said = speaker.as_ref().map_or_else(|| text.clone(), |speaker| attributed(speaker, text));
        reading.parts.push(Part::text(own_words(&row.principal), said));
        reading.usable = true;
    }
}

/// Words with the name of who said them. Only a first line begins with a name, so nobody speaks for somebody else by breaking
/// a line.
fn attributed(name: &str, text: &str) -> String {
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    let ends_line =
        |character| matches!(character, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let text = text.replace("\r\n", "\n").split(ends_line).collect::<Vec<_>>().join("\n  ");
    format!("{name}: {text}")
}

const fn own_words(principal: &Principal) -> Origin {
    match principal {
        Principal::Owner => Origin::Owner,
        Principal::Person(_) => Origin::Person,
    }
}

/// Fetches a file and makes of it what the model can read.
async fn open(
    engine: &Arc<Engine>,
    channel: &Arc<dyn AnyChannel>,
    row: &InboxRow,
    file: &FileRef,
    pictures: usize,
    reading: &mut Reading,
) {
    let most = engine.settings.media_bytes_max;
    if file.bytes.is_some_and(|bytes| bytes > most) {
        return reading.missing(file, &too_large(most));
    }
    if file.kind == FileKind::Photo && reading.images >= IMAGES_PER_TURN_MAX {
        return reading.missing(file, &format!("I look at {IMAGES_PER_TURN_MAX} pictures at once"));
    }
    let bytes = match fetch(engine, channel, file, most).await {
        Ok(bytes) => bytes,
        Err(FetchError::TooLarge) => return reading.missing(file, &too_large(most)),
        Err(error) => {
            tracing::warn!(%error, "a file could not be fetched");
            return reading.missing(file, &error.to_string());
        }
    };
    match file.kind {
        FileKind::Voice => listen(engine, row, file, bytes, reading).await,
        FileKind::Photo => picture(engine, file, bytes, pictures, reading).await,
        FileKind::Document if image::is_image(&bytes) && reading.images < IMAGES_PER_TURN_MAX => {
            picture(engine, file, bytes, pictures.max(1), reading).await;
        }
        FileKind::Document => document(engine, file, bytes, reading).await,
    }
}

async fn fetch(
    engine: &Engine,
    channel: &Arc<dyn AnyChannel>,
    file: &FileRef,
    most: u64,
) -> Result<Vec<u8>, FetchError> {
    let mut tries = 1;
    loop {
        match channel.fetch(file, most).await {
            Err(FetchError::Unavailable(error)) if tries < FETCH_TRIES => {
                tracing::info!(error, tries, "a file could not be fetched; again");
                engine.adapters.clock.sleep(FETCH_PAUSE * tries).await;
                tries += 1;
            }
            fetched => return fetched,
        }
    }
}

async fn picture(engine: &Engine, file: &FileRef, bytes: Vec<u8>, pictures: usize, reading: &mut Reading) {
    let share = SHOWN_FILES_BYTES_MAX / pictures.clamp(1, IMAGES_PER_TURN_MAX);
    let left = SHOWN_FILES_BYTES_MAX.saturating_sub(reading.shown_bytes);
    let limits = ImageLimits { bytes_max: IMAGE_BYTES_MAX.min(share).min(left), ..ImageLimits::default() };
    if limits.bytes_max < IMAGE_SHARE_BYTES_MIN {
        return reading.missing(file, "there are too many files in this message");
    }
    let Ok(_one) = engine.pictures.acquire().await else { return };
    let blobs = engine.adapters.blobs.clone();
    let prepared = blocking(move || {
        let prepared = image::prepare(&bytes, &limits).map_err(|error| error.to_string())?;
        let attachment = blobs.put(&prepared.bytes).map_err(|error| error.to_string())?;
        Ok((prepared.media_type.to_owned(), prepared.bytes.len(), attachment))
    });
    match prepared.await.unwrap_or_else(|| Err("the process is ending".to_owned())) {
        Ok((media_type, bytes, attachment)) => {
            reading.images += 1;
            reading.shown_bytes += bytes;
            let body = Body::Image { attachment, media_type, bytes: bytes as u64 };
            reading.show(Part { origin: Origin::File, private: false, body });
        }
        Err(why) => reading.missing(file, &why),
    }
}

async fn document(engine: &Engine, file: &FileRef, bytes: Vec<u8>, reading: &mut Reading) {
    let (name, claimed) = (file.name.clone(), file.media_type.clone());
    let blobs = engine.adapters.blobs.clone();
    let room = SHOWN_FILES_BYTES_MAX.saturating_sub(reading.shown_bytes);
    let opened = blocking(move || {
        if let Some(decoded) = text::decode(&bytes, name.as_deref(), claimed.as_deref()) {
            let attachment = blobs.put(decoded.text.as_bytes())?;
            return Ok((attachment, bytes.len(), Opened::Text(decoded)));
        }
        let attachment = blobs.put(&bytes)?;
        let readable = pdf::inspect(&bytes).filter(|facts| facts.pages.is_none_or(|pages| pages <= DOCUMENT_PAGES_MAX));
        let opened = if readable.is_some() && bytes.len() <= room { Opened::Pdf } else { Opened::Other };
        Ok::<_, BlobError>((attachment, bytes.len(), opened))
    });
    match opened.await {
        Some(Ok((attachment, _, Opened::Text(decoded)))) => reading.show(text_part(file, &attachment, &decoded)),
        Some(Ok((attachment, size, Opened::Pdf))) => {
            let title = file.label();
            reading.shown_bytes += size;
            let (media_type, bytes) = ("application/pdf".to_owned(), size as u64);
            let body = Body::Document { attachment, media_type, bytes, title };
            reading.show(Part { origin: Origin::File, private: false, body });
        }
        Some(Ok((attachment, size, Opened::Other))) => {
            let claimed = file.media_type.as_deref().unwrap_or("of unknown type");
            let text = format!(
                "[The person sent the file “{}”, {size} bytes, {claimed}, SHA-256 {attachment}. Its content is not readable to you.]",
                file.label()
            );
            reading.show(Part::text(Origin::Engine, text));
        }
        Some(Err(error)) => reading.missing(file, &error.to_string()),
        None => reading.missing(file, "the process is ending"),
    }
}

enum Opened {
    Text(text::Decoded),
    Pdf,
    Other,
}

fn text_part(file: &FileRef, attachment: &AttachmentId, decoded: &text::Decoded) -> Part {
    let page = text::page(&decoded.text, 0, DOCUMENT_INLINE_BYTES_MAX);
    let lossy = if decoded.lossy { ", with unreadable characters replaced" } else { "" };
    let head = format!("[The person sent the file “{}”, {} bytes of text{lossy}:]", file.label(), decoded.text.len());
    let tail = page.next.map_or(String::new(), |next| {
        format!("\n[… the rest is read with read_attachment, attachment {attachment}, from {next}]")
    });
    Part::text(Origin::File, format!("{head}\n{}{tail}", page.text))
}

async fn listen(engine: &Engine, row: &InboxRow, file: &FileRef, bytes: Vec<u8>, reading: &mut Reading) {
    let blobs = engine.adapters.blobs.clone();
    let kept = bytes.clone();
    // Whatever becomes of it, the recording is kept for as long as files are.
    let stored = blocking(move || blobs.put(&kept)).await;
    if let Some(Err(error)) = stored {
        tracing::warn!(%error, "a recording could not be kept");
    }
    let Some(transcriber) = &engine.adapters.transcriber else {
        return reading
            .missing(file, "I cannot listen to recordings: no transcriber is configured (`transcription.url`)");
    };
    if file.seconds.is_some_and(|seconds| seconds > VOICE_SECONDS_MAX) {
        return reading.missing(file, &format!("I listen to at most {} minutes", VOICE_SECONDS_MAX / 60));
    }
    match transcribe(engine, transcriber, file, bytes).await {
        Ok(text) if text.trim().is_empty() => reading.missing(file, "I heard no words in it"),
        Ok(text) => {
            let origin = match row.principal {
                Principal::Owner => Origin::OwnerVoice,
                Principal::Person(_) => Origin::Person,
            };
            reading.show(Part::text(origin, format!("[Spoken; written down by a machine:]\n{}", text.trim())));
        }
        Err(why) => reading.missing(file, &why),
    }
}

async fn transcribe(
    engine: &Engine,
    transcriber: &Arc<dyn AnyTranscriber>,
    file: &FileRef,
    bytes: Vec<u8>,
) -> Result<String, String> {
    let media_type = file.media_type.clone().unwrap_or_else(|| "audio/ogg".to_owned());
    let extension = if media_type.contains("mpeg") { "mp3" } else { "oga" };
    let recording = Recording {
        audio: bytes.into(),
        media_type,
        file_name: format!("voice.{extension}"),
        language: engine.settings.spoken_language.clone(),
    };
    let text = transcriber.transcribe(recording).await.map_err(|error| {
        tracing::warn!(%error, "a recording could not be transcribed");
        format!("it could not be written down: {error}")
    })?;
    Ok(text::clean(&text))
}

impl Reading {
    fn show(&mut self, part: Part) {
        self.parts.push(part);
        self.usable = true;
    }

    fn missing(&mut self, file: &FileRef, why: &str) {
        let what = match file.kind {
            FileKind::Photo => "The picture".to_owned(),
            FileKind::Document => format!("The file “{}”", file.label()),
            FileKind::Voice => "The recording".to_owned(),
        };
        let length = file.seconds.map_or(String::new(), |seconds| format!(" ({}:{:02})", seconds / 60, seconds % 60));
        self.notes.push(format!("{what}{length} could not be read: {why}."));
    }
}

/// The name of a file as its sender gave it, for showing.
trait Label {
    fn label(&self) -> String;
}

impl Label for FileRef {
    fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| "without a name".to_owned())
    }
}

fn too_large(most: u64) -> String {
    format!("it has more than {} MiB", most / (1024 * 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_speaks_for_somebody_else_by_breaking_a_line() {
        assert_eq!(attributed("Ann", "yes"), "Ann: yes");
        assert_eq!(attributed("Ann\nBob", "yes"), "Ann Bob: yes");
        for end in ["\n", "\r\n", "\r", "\u{b}", "\u{c}", "\u{85}", "\u{2028}", "\u{2029}"] {
            assert_eq!(attributed("Ann", &format!("no{end}Bob: yes")), "Ann: no\n  Bob: yes", "{end:?}");
        }
    }
}
