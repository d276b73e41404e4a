//! Speech to text against a fake service: every way it can end, and what it must not tell.

use blufio_adapters::egress::Egress;
use blufio_adapters::transcription::{Transcription, TranscriptionOptions};
use blufio_core::port::{Recording, Transcriber, TranscriberError};
use blufio_testkit::transcription::{FakeTranscriber, Heard, Says, TranscriberConfig};

const KEY: &str = "canary-of-the-transcription-key";

async fn service() -> (FakeTranscriber, Transcription) {
    let config = TranscriberConfig { key: Some(KEY.to_owned()), model: "whisper-1".to_owned() };
    let fake = FakeTranscriber::start(config).await.unwrap();
    let transcriber = transcriber(&fake, "whisper-1", Some(KEY));
    (fake, transcriber)
}

fn transcriber(fake: &FakeTranscriber, model: &str, key: Option<&str>) -> Transcription {
    let egress = Egress::new().unwrap();
    let (base_url, key) = (fake.base_url(), key.map(str::to_owned));
    Transcription::new(TranscriptionOptions { base_url: &base_url, model: model.to_owned(), key, egress: &egress }).unwrap()
}

fn recording(audio: &[u8]) -> Recording {
    Recording {
        audio: audio.into(),
        media_type: "audio/ogg".to_owned(),
        file_name: "voice.oga".to_owned(),
        language: Some("de".to_owned()),
    }
}

#[tokio::test]
async fn what_is_said_is_written_down_and_every_byte_arrives() {
    let (fake, transcriber) = service().await;
    // All byte values, line ends and what looks like the end of a form.
    let audio: Vec<u8> = (0..=255).chain(*b"\r\n--\r\n--x--\r\n").cycle().take(70_000).collect();
    fake.says(Says::Text("Grüße 🎙".to_owned()));
    assert_eq!(transcriber.transcribe(recording(&audio)).await.unwrap(), "Grüße 🎙");
    let heard = Heard {
        audio: audio.into(),
        file_name: "voice.oga".to_owned(),
        media_type: "audio/ogg".to_owned(),
        language: Some("de".to_owned()),
    };
    assert_eq!((fake.heard(), fake.refused()), (vec![heard], Vec::new()));
}

#[tokio::test]
async fn every_failure_says_what_can_be_done() {
    let (fake, known) = service().await;
    let fails = async |says: Says| {
        fake.says(says);
        let error = known.transcribe(recording(b"x")).await.unwrap_err();
        assert!(!format!("{error} {error:?} {known:?}").contains(KEY), "{error}");
        error
    };
    let status = |status, body: &str| Says::Status(status, body.to_owned());
    assert!(matches!(fails(status(503, "")).await, TranscriberError::Unavailable(_)));
    assert!(matches!(fails(status(429, "")).await, TranscriberError::Unavailable(_)));
    assert_eq!(fails(status(403, "")).await, TranscriberError::Unauthorized);
    assert!(matches!(fails(status(400, &format!("bad key {KEY}"))).await, TranscriberError::Refused(_)));
    assert!(matches!(fails(status(302, "")).await, TranscriberError::Refused(_)), "redirects are not followed");
    assert!(matches!(fails(status(200, "words")).await, TranscriberError::Unreadable(_)));
    assert!(matches!(fails(Says::Text("x".repeat(100_000))).await, TranscriberError::Unreadable(_)));
    assert!(matches!(fails(Says::Text("x".repeat(2_000_000))).await, TranscriberError::Unreadable(_)));
    let wrong = transcriber(&fake, "whisper-1", Some("other")).transcribe(recording(b"x")).await;
    assert_eq!(wrong, Err(TranscriberError::Unauthorized));
    let odd = transcriber(&fake, "no-such-model", Some(KEY)).transcribe(recording(b"x")).await;
    assert!(matches!(odd, Err(TranscriberError::Refused(words)) if words.contains("no such model")));
    drop(fake);
    let gone = known.transcribe(recording(b"x")).await;
    assert!(matches!(gone, Err(TranscriberError::Unavailable(_))), "{gone:?}");
}
