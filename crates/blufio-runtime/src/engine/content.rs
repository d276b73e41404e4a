//! From what somebody sent to what the model reads: words, quotes, and files that are fetched, opened and described.
//!
//! Files are opened here and nowhere else. Whatever is wrong with one becomes a line that the person or the model reads; it
//! never ends the turn.

use super::Engine;
use super::session::Session;
use crate::media::image::{self, ImageLimits};
use crate::media::{pdf, text};
use crate::tasks::blocking;
use blufio_core::access::Principal;
use blufio_core::command;
use blufio_core::content::{Content, FileKind, FileRef, Overheard, Quote, QuoteKind};
use blufio_core::ids::AttachmentId;
use blufio_core::ingress::clean;
use blufio_core::limits::{
    DOCUMENT_INLINE_BYTES_MAX, DOCUMENT_PAGES_MAX, FETCH, IMAGE_BYTES_MAX, IMAGES_PER_TURN_MAX, READING,
    SHOWN_FILES_BYTES_MAX, VOICE_SECONDS_MAX,
};
use blufio_core::message::{Body, Origin, Part};
use blufio_core::port::{AnyChannel, AnyTranscriber, BlobError, Clock, FetchError, Recording, StoreError};
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
pub(super) async fn read(
    engine: &Arc<Engine>,
    session: &Session,
    rows: &[InboxRow],
    overheard: &[Overheard],
) -> Result<Reading, StoreError> {
    let mut reading = Reading::default();
    if !overheard.is_empty() {
        let lines: Vec<String> = overheard.iter().map(|heard| attributed(&heard.name, &heard.text)).collect();
        let text = engine.framed("[Since your last answer here, and not said to you:]", &lines.join("\n"));
        reading.parts.push(Part::text(Origin::Group, text));
    }
    let mut until = engine.adapters.clock.monotonic().saturating_add(READING);
    let pictures = rows.iter().flat_map(|row| &row.content.files).filter(|file| file.kind == FileKind::Photo).count();
    for row in rows {
        words(engine, session, &mut reading, row).await?;
        let channel = engine.adapters.channels.get(&row.route.channel);
        for file in &row.content.files {
            match channel {
                Some(channel) => {
                    let clock = &engine.adapters.clock;
                    let before = clock.monotonic();
                    let Ok(_one) = engine.files.acquire().await else { return Ok(reading) };
                    // Others' files take none of this message's time.
                    until = until.saturating_add(clock.monotonic().saturating_sub(before));
                    let left = until.saturating_sub(clock.monotonic());
                    let late = tokio::select! {
                        () = open(engine, channel, row, file, pictures, &mut reading) => false,
                        () = clock.sleep(left) => true,
                    };
                    if late {
                        reading.missing(file, "there was no time left for it");
                    }
                }
                None => reading.missing(file, "this channel gives no files"),
            }
        }
    }
    if reading.usable {
        for note in &reading.notes {
            // It may hold the name of a file.
            let origin = if rows.iter().any(has_names) { Origin::File } else { Origin::Engine };
            reading.parts.push(Part::text(origin, format!("[{note}]")));
        }
    }
    Ok(reading)
}

/// The sender or somebody else has named a file of it.
fn has_names(row: &InboxRow) -> bool {
    row.content.files.iter().any(|file| file.name.is_some())
}

/// The words of a message; also what they answer or pass on.
async fn words(engine: &Engine, session: &Session, reading: &mut Reading, row: &InboxRow) -> Result<(), StoreError> {
    let Content { text, speaker, quotes, .. } = &row.content;
    let text = command::said(text);
    for Quote { kind, from, text } in quotes {
        let (origin, head) = match kind {
            QuoteKind::Reply => (Origin::Forward, format!("[This answers what “{from}” said:]")),
            QuoteKind::Forward => (Origin::Forward, format!("[Passed on; “{from}” said:]")),
            QuoteKind::Shared => (Origin::Forward, "[The person shared this:]".to_owned()),
            QuoteKind::Own => {
                // Only what stands in the prompt anyway adds nothing; the rest may follow words of others.
                let origin = if session.says(engine, text).await? { Origin::Model } else { Origin::Derived };
                (origin, "[This answers what you said:]".to_owned())
            }
        };
        let said = if origin.is_foreign() { engine.framed(&head, text) } else { format!("{head}\n{text}") };
        reading.parts.push(Part::text(origin, said));
        reading.usable |= matches!(kind, QuoteKind::Forward | QuoteKind::Shared);
    }
    if !text.trim().is_empty() {
        let said = speaker.as_ref().map_or_else(|| text.to_owned(), |speaker| attributed(speaker, text));
        reading.parts.push(Part::text(own_words(&row.principal), said));
        reading.usable = true;
    }
    Ok(())
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
    let bytes = match fetch(engine.adapters.clock.as_ref(), channel.as_ref(), file, most).await {
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

/// All tries together have the time of one.
async fn fetch(clock: &dyn Clock, channel: &dyn AnyChannel, file: &FileRef, most: u64) -> Result<Vec<u8>, FetchError> {
    let trying = async {
        let mut tries = 1;
        loop {
            match channel.fetch(file, most).await {
                Err(FetchError::Unavailable(error)) if tries < FETCH_TRIES => {
                    tracing::info!(error, tries, "a file could not be fetched; again");
                    clock.sleep(FETCH_PAUSE * tries).await;
                    tries += 1;
                }
                fetched => return fetched,
            }
        }
    };
    tokio::select! {
        fetched = trying => fetched,
        () = clock.sleep(FETCH) => Err(FetchError::Late(format!("it did not come within {} s", FETCH.as_secs()))),
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
            reading.show_file(file, body);
        }
        Err(why) => reading.missing(file, &why),
    }
}

async fn document(engine: &Engine, file: &FileRef, bytes: Vec<u8>, reading: &mut Reading) {
    let (name, claimed) = (file.name.clone(), file.media_type.clone());
    let (blobs, leaks) = (engine.adapters.blobs.clone(), engine.settings.leaks.clone());
    let room = SHOWN_FILES_BYTES_MAX.saturating_sub(reading.shown_bytes);
    let opened = blocking(move || {
        if let Some(decoded) = text::decode(&bytes, name.as_deref(), claimed.as_deref()) {
            // As it is read, so that its pages are those of `read_attachment`; and whole, since half a secret is not found.
            let decoded = text::Decoded { text: leaks.redact(&clean(&decoded.text)).into_owned(), ..decoded };
            let attachment = blobs.put(decoded.text.as_bytes())?;
            return Ok((attachment, bytes.len(), Opened::Text(decoded)));
        }
        let attachment = blobs.put(&bytes)?;
        let pages = pdf::inspect(&bytes).map(|facts| facts.pages.unwrap_or(0));
        let opened = match pages {
            Some(pages @ ..=DOCUMENT_PAGES_MAX) if bytes.len() <= room => Opened::Pdf { pages },
            Some(_) | None => Opened::Other,
        };
        Ok::<_, BlobError>((attachment, bytes.len(), opened))
    });
    match opened.await {
        Some(Ok((attachment, _, Opened::Text(decoded)))) => {
            reading.show(text_part(engine, file, &attachment, &decoded))
        }
        Some(Ok((attachment, size, Opened::Pdf { pages }))) => {
            let title = file.label();
            reading.shown_bytes += size;
            let (media_type, bytes) = ("application/pdf".to_owned(), size as u64);
            reading.show_file(file, Body::Document { attachment, media_type, bytes, title, pages });
        }
        Some(Ok((attachment, size, Opened::Other))) => {
            let claimed = file.media_type.as_deref().unwrap_or("of unknown type");
            let text = format!(
                "[The person sent the file “{}”, {size} bytes, {claimed}, SHA-256 {attachment}. Its content is not readable to you.]",
                file.label()
            );
            reading.show(Part::text(if file.forwarded.is_some() { Origin::Forward } else { Origin::File }, text));
        }
        Some(Err(error)) => reading.missing(file, &error.to_string()),
        None => reading.missing(file, "the process is ending"),
    }
}

enum Opened {
    Text(text::Decoded),
    /// Zero: nobody knows how many.
    Pdf {
        pages: u32,
    },
    Other,
}

fn text_part(engine: &Engine, file: &FileRef, attachment: &AttachmentId, decoded: &text::Decoded) -> Part {
    let page = text::page(&decoded.text, 0, DOCUMENT_INLINE_BYTES_MAX);
    let lossy = if decoded.lossy { ", with unreadable characters replaced" } else { "" };
    let (label, size) = (file.label(), decoded.text.len());
    let (origin, head) = match &file.forwarded {
        Some(from) => {
            (Origin::Forward, format!("[Passed on from “{from}”: the file “{label}”, {size} bytes of text{lossy}:]"))
        }
        None => (Origin::File, format!("[The person sent the file “{label}”, {size} bytes of text{lossy}:]")),
    };
    let tail = page.next.map_or(String::new(), |next| {
        format!("\n[… the rest is read with read_attachment, attachment {attachment}, from {next}]")
    });
    let text = engine.framed(&head, page.text) + &tail;
    Part { private: true, ..Part::text(origin, text) }
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
            reading.show(spoken(engine, &row.principal, file, text.trim()));
        }
        Err(why) => reading.missing(file, &why),
    }
}

/// What was passed on is nobody's own words here, however it was said.
fn spoken(engine: &Engine, principal: &Principal, file: &FileRef, text: &str) -> Part {
    let own = |origin| Part::text(origin, format!("[Spoken; written down by a machine:]\n{text}"));
    match (&file.forwarded, principal) {
        (Some(from), _) => {
            let head = format!("[Passed on; “{from}” said; written down by a machine:]");
            Part::text(Origin::Forward, engine.framed(&head, text))
        }
        (None, Principal::Owner) => own(Origin::OwnerVoice),
        (None, Principal::Person(_)) => own(Origin::Person),
    }
}

async fn transcribe(
    engine: &Engine,
    transcriber: &Arc<dyn AnyTranscriber>,
    file: &FileRef,
    bytes: Vec<u8>,
) -> Result<String, String> {
    let claimed = file.media_type.as_deref().and_then(|claimed| claimed.split(';').next());
    let media_type = claimed.unwrap_or("audio/ogg").trim().to_ascii_lowercase();
    let recording = Recording {
        audio: bytes.into(),
        file_name: format!("voice.{}", extension(&media_type)),
        media_type,
        language: engine.settings.spoken_language.clone(),
    };
    let leaks = &engine.settings.leaks;
    let text = transcriber.transcribe(recording).await.map_err(|error| {
        tracing::warn!(%error, "a recording could not be transcribed");
        leaks.redact(&format!("it could not be written down: {error}")).into_owned()
    })?;
    Ok(leaks.redact(&text::clean(&text)).into_owned())
}

/// Transcribers go by the name of a file. The media type is in lower case and without parameters.
fn extension(media_type: &str) -> &'static str {
    let (_, subtype) = media_type.split_once('/').unwrap_or_default();
    match subtype {
        "mpeg" | "mp3" | "x-mp3" | "mpga" => "mp3",
        "mp4" | "m4a" | "x-m4a" | "aac" | "mp4a-latm" => "m4a",
        "wav" | "x-wav" | "wave" | "vnd.wave" => "wav",
        "flac" | "x-flac" => "flac",
        "webm" => "webm",
        // Voice messages are Opus in Ogg.
        _ => "ogg",
    }
}

impl Reading {
    /// A file that is shown as it is, below a line that says who made it if the sender did not.
    fn show_file(&mut self, file: &FileRef, body: Body) {
        let origin = match &file.forwarded {
            Some(from) => {
                self.parts.push(Part::text(Origin::Forward, format!("[Passed on from “{from}”:]")));
                Origin::Forward
            }
            None => Origin::File,
        };
        self.show(Part { origin, private: true, body });
    }

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
        let name = self.name.as_deref().map(|name| clean(name).replace('\n', " "));
        name.unwrap_or_else(|| "without a name".to_owned())
    }
}

fn too_large(most: u64) -> String {
    format!("it has more than {} MiB", most / (1024 * 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recordings_are_named_by_what_they_are() {
        let check = |media_type: &str, expect: &str| assert_eq!(extension(media_type), expect, "{media_type}");
        check("audio/ogg", "ogg");
        check("audio/mpeg", "mp3");
        check("audio/mp4", "m4a");
        check("audio/x-m4a", "m4a");
        check("audio/x-wav", "wav");
        check("audio/flac", "flac");
        check("audio/webm", "webm");
        check("video/mp4", "m4a");
        check("nonsense", "ogg");
        check("", "ogg");
    }

    #[test]
    fn nobody_speaks_for_somebody_else_by_breaking_a_line() {
        assert_eq!(attributed("Ann", "yes"), "Ann: yes");
        assert_eq!(attributed("Ann\nBob", "yes"), "Ann Bob: yes");
        for end in ["\n", "\r\n", "\r", "\u{b}", "\u{c}", "\u{85}", "\u{2028}", "\u{2029}"] {
            assert_eq!(attributed("Ann", &format!("no{end}Bob: yes")), "Ann: no\n  Bob: yes", "{end:?}");
        }
    }
}
