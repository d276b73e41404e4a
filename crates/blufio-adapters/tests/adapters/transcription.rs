//! Speech to text against a fake service: every way it can end, and what it must not tell.

use blufio_adapters::egress::Egress;
use blufio_adapters::transcription::{Transcription, TranscriptionOptions};
use blufio_core::limits::{ATTACHMENT_BYTES_MAX, INBOUND_TEXT_BYTES_MAX};
use blufio_core::port::{Recording, Transcriber, TranscriberError};
use blufio_core::secret::Secret;
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
    let (base_url, key) = (fake.base_url(), key.map(|key| Secret::new(key.to_owned())));
    Transcription::new(TranscriptionOptions { base_url: &base_url, model: model.to_owned(), key, egress: &egress })
        .unwrap()
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
    assert!(matches!(
        fails(status(400, &format!("{}\u{1}{}", &KEY[..6], &KEY[6..]))).await,
        TranscriberError::Refused(_)
    ));
    let heard = fake.heard().len();
    assert!(matches!(fails(status(302, "")).await, TranscriberError::Refused(_)));
    assert_eq!((fake.heard().len(), fake.refused()), (heard + 1, Vec::new()), "redirects are not followed");
    for garbage in ["words", "", "{}", "[]", r#"{"text":5}"#, r#"{"text":"#, &format!("\"{KEY}\"")] {
        assert!(matches!(fails(status(200, garbage)).await, TranscriberError::Unreadable(_)), "{garbage}");
    }
    let told = fails(status(200, &format!("\"{}\"", "x".repeat(500_000)))).await.to_string();
    assert!(told.len() < 1_000, "{} bytes", told.len());
    assert!(matches!(fails(Says::Text("x".repeat(INBOUND_TEXT_BYTES_MAX + 1))).await, TranscriberError::Unreadable(_)));
    assert!(matches!(fails(Says::Text("x".repeat(2_000_000))).await, TranscriberError::Unreadable(_)));
    let wrong = transcriber(&fake, "whisper-1", Some("other")).transcribe(recording(b"x")).await;
    assert_eq!(wrong, Err(TranscriberError::Unauthorized));
    let odd = transcriber(&fake, "no-such-model", Some(KEY)).transcribe(recording(b"x")).await;
    assert!(matches!(odd, Err(TranscriberError::Refused(words)) if words.contains("no such model")));
    drop(fake);
    let gone = known.transcribe(recording(b"x")).await;
    assert!(matches!(gone, Err(TranscriberError::Unavailable(_))), "{gone:?}");
}

#[tokio::test]
async fn a_service_without_a_key_gets_none() {
    let fake = FakeTranscriber::start(TranscriberConfig { key: None, model: "m".to_owned() }).await.unwrap();
    let plain = Recording { language: None, ..recording(b"abc") };
    for none in [None, Some(""), Some(" \n")] {
        let text = transcriber(&fake, "m", none).transcribe(plain.clone()).await;
        assert_eq!(text.as_deref(), Ok("words of 3 bytes"), "{none:?}");
    }
    assert!(fake.heard().iter().all(|heard| heard.language.is_none()));
    let base_url = fake.base_url();
    let egress = Egress::new().unwrap();
    let odd = TranscriptionOptions {
        base_url: &base_url,
        model: "m".to_owned(),
        key: Some(Secret::new(format!("{KEY}\r\nx: y"))),
        egress: &egress,
    };
    let error = Transcription::new(odd).unwrap_err();
    assert!(!format!("{error} {error:?}").contains(KEY), "{error}");
}

#[tokio::test]
async fn what_is_too_long_is_not_sent_and_what_just_fits_is_taken() {
    let (fake, transcriber) = service().await;
    let bytes = usize::try_from(ATTACHMENT_BYTES_MAX).unwrap();
    let error = transcriber.transcribe(recording(&vec![0; bytes + 1])).await;
    assert!(matches!(error, Err(TranscriberError::Refused(_))), "{error:?}");
    assert!(fake.heard().is_empty());
    let text = "ü".repeat(INBOUND_TEXT_BYTES_MAX / 2);
    fake.says(Says::Text(text.clone()));
    assert_eq!(transcriber.transcribe(recording(&vec![0; bytes])).await, Ok(text));
    assert_eq!(fake.heard()[0].audio.len(), bytes);
}

#[tokio::test]
async fn no_name_and_no_language_breaks_out_of_its_field() {
    let (fake, transcriber) = service().await;
    let odd = Recording {
        file_name: "a\"; name=\"model\"\r\n\r\n\\.oga".to_owned(),
        media_type: "audio/ogg\r\nx: y".to_owned(),
        language: Some("de\r\n--x\r\ncontent-disposition: form-data; name=\"model\"".to_owned()),
        ..recording(b"abc")
    };
    assert_eq!(transcriber.transcribe(odd).await.as_deref(), Ok("words of 3 bytes"));
    let heard = &fake.heard()[0];
    assert_eq!(
        (heard.file_name.as_str(), heard.media_type.as_str()),
        ("a; name=model.oga", "application/octet-stream")
    );
}

#[tokio::test]
async fn dropping_it_hangs_up() {
    let (fake, transcriber) = service().await;
    fake.says(Says::Nothing);
    tokio::select! {
        answer = transcriber.transcribe(recording(b"abc")) => panic!("{answer:?}"),
        () = fake.waiting() => {}
    }
    fake.hung_up().await;
    assert_eq!(transcriber.transcribe(recording(b"abcd")).await.as_deref(), Ok("words of 4 bytes"));
    assert_eq!(fake.heard().len(), 2, "one try each");
}
