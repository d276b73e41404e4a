//! What the service says when it refuses, and what that means for the next try.
//!
//! Decided by status, `error.type` and `error.details.error_code`. Three refusals have no code and are known by a phrase,
//! in [`PHRASES`] alone. The HTTP date form of `retry-after` is read as "no hint", since nobody here has a clock.

use blufio_core::port::{Failure, ProviderError};
use reqwest::header::HeaderMap;
use serde::Deserialize;
use std::time::Duration;
use tracing::warn;

/// Characters of the service's sentence that are kept.
const MESSAGE_CHARS_MAX: usize = 500;
/// Characters of a body that are logged.
const LOGGED_CHARS_MAX: usize = 2 * 1024;
/// Characters of one word that are shown; a longer one is a piece of a file.
const WORD_CHARS_MAX: usize = 100;
/// The longest hint that is believed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);

/// Refusals without a code of their own.
const PHRASES: &[(&str, Failure)] = &[
    ("prompt is too long", Failure::PromptTooLong),
    ("bound to a different conversation", Failure::ThinkingMismatch),
    ("credit balance is too low", Failure::Billing),
];

/// The `error` object of an error body or of an `error` event.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Told {
    #[serde(rename = "type")]
    kind: String,
    message: String,
    details: Option<Details>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Details {
    error_code: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    error: Option<Told>,
    request_id: Option<String>,
}

/// An answer with a status other than 200.
pub(super) fn from_response(status: u16, headers: &HeaderMap, body: &[u8], secret: &str) -> ProviderError {
    let parsed = serde_json::from_slice::<ErrorBody>(body).unwrap_or_default();
    let told = parsed.error.unwrap_or_default();
    let failure = failure_of(status, &told);
    let shown = clean(&String::from_utf8_lossy(body), secret, LOGGED_CHARS_MAX);
    let request = request_id(headers).or(parsed.request_id);
    warn!(status, request = request.as_deref(), body = %shown, "the model's provider refused a request");
    let (failure, retry_after) = obey(failure, header(headers, "x-should-retry"), hint(headers));
    let message = sentence(&status.to_string(), &told, secret);
    // A refused request is not billed.
    ProviderError { failure, message, retry_after, request, reached: false, usage: None }
}

/// An `error` event in a stream that had begun.
pub(super) fn from_event(told: &Told, secret: &str) -> ProviderError {
    warn!(kind = %told.kind, "the model's provider broke a stream off");
    let message = sentence("in the stream", told, secret);
    ProviderError {
        failure: failure_of(0, told),
        message,
        retry_after: None,
        request: None,
        reached: true,
        usage: None,
    }
}

/// The service's id of a request, for its support.
pub(super) fn request_id(headers: &HeaderMap) -> Option<String> {
    header(headers, "request-id").map(str::to_owned)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Status 0 means that there was none (an event).
fn failure_of(status: u16, told: &Told) -> Failure {
    let phrase = PHRASES.iter().find(|(phrase, _)| told.message.contains(phrase)).map(|(_, failure)| *failure);
    let code = told.details.as_ref().and_then(|details| details.error_code.as_deref()).unwrap_or_default();
    match (phrase, code) {
        (Some(failure), _) => return failure,
        (None, "organization_on_hold") => return Failure::Billing,
        (None, code) if code.contains("spend_limit") => return Failure::Billing,
        _ => {}
    }
    match (told.kind.as_str(), status) {
        ("overloaded_error", _) => Failure::Overloaded,
        ("rate_limit_error", _) => Failure::RateLimited,
        ("api_error" | "timeout_error" | "conflict_error", _) => Failure::Server,
        ("authentication_error" | "permission_error", _) => Failure::Unauthorized,
        ("billing_error", _) => Failure::Billing,
        ("not_found_error", _) => Failure::UnknownModel,
        ("request_too_large", _) => Failure::PromptTooLong,
        ("invalid_request_error", _) if names_a_file(code, &told.message) => Failure::FileRefused,
        ("invalid_request_error", _) => Failure::Rejected,
        (_, 401 | 403) => Failure::Unauthorized,
        (_, 402) => Failure::Billing,
        (_, 404) => Failure::UnknownModel,
        (_, 413) => Failure::PromptTooLong,
        (_, 429) => Failure::RateLimited,
        (_, 529) => Failure::Overloaded,
        (_, 0 | 408 | 409 | 500..) => Failure::Server,
        (_, 400..) => Failure::Rejected,
        // A redirect, or a success that is none: not what was asked for.
        _ => Failure::Protocol,
    }
}

/// The refusal is about a picture or document; the service's sentences for that are not documented, so a request without
/// files is judged once more by [`super::Anthropic`].
fn names_a_file(code: &str, message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    let mut words = message.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    // A document is named by its place in the request; the word alone also stands in advice.
    code.starts_with("image_")
        || message.contains(".document.")
        || words.any(|word| matches!(word, "image" | "images" | "pdf" | "pdfs"))
}

/// The service may say outright whether to try again.
fn obey(failure: Failure, should_retry: Option<&str>, hint: Option<Duration>) -> (Failure, Option<Duration>) {
    let tried_again =
        matches!(failure, Failure::RateLimited | Failure::Overloaded | Failure::Server | Failure::Protocol);
    match should_retry {
        // Not within the time that a call has: the other model may be asked instead.
        Some("false") if tried_again => (failure, Some(RETRY_AFTER_MAX)),
        Some("true") if failure == Failure::Rejected => (Failure::Server, hint),
        _ => (failure, hint),
    }
}

fn hint(headers: &HeaderMap) -> Option<Duration> {
    let number = |name| header(headers, name).and_then(|text| text.trim().parse::<f64>().ok());
    let seconds =
        number("retry-after-ms").map(|milliseconds| milliseconds / 1_000.0).or_else(|| number("retry-after"))?;
    let wish = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(RETRY_AFTER_MAX);
    Some(wish.min(RETRY_AFTER_MAX))
}

fn sentence(place: &str, told: &Told, secret: &str) -> String {
    let text = match (told.kind.as_str(), told.message.as_str()) {
        ("", "") => format!("the model's provider answered {place}"),
        (kind, message) => format!("the model's provider answered {place} {kind}: {message}"),
    };
    clean(&text, secret, MESSAGE_CHARS_MAX)
}

/// Without the key and without bytes of files, should the service ever repeat them, and not too long.
fn clean(text: &str, secret: &str, chars_max: usize) -> String {
    let text = if secret.is_empty() { text.to_owned() } else { text.replace(secret, "[key]") };
    without_data(&text).chars().take(chars_max).collect()
}

/// Long runs of base64 become a word.
fn without_data(text: &str) -> String {
    let is_data = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '+' | '/' | '=');
    let shown = |piece: &str| {
        let data = piece.trim_end_matches(|letter| !is_data(letter));
        if data.len() > WORD_CHARS_MAX { piece.replacen(data, "[data]", 1) } else { piece.to_owned() }
    };
    text.split_inclusive(|letter| !is_data(letter)).map(shown).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> ProviderError {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        from_response(status, &headers, body.as_bytes(), "sk-secret")
    }

    fn body(kind: &str, message: &str, code: &str) -> String {
        format!(
            r#"{{"type":"error","error":{{"type":"{kind}","message":"{message}","details":{{"error_code":"{code}"}}}}}}"#
        )
    }

    #[test]
    fn statuses_without_a_readable_body() {
        let check = |status, failure| assert_eq!(answer(status, &[], "<html>").failure, failure, "{status}");
        check(301, Failure::Protocol);
        check(400, Failure::Rejected);
        check(401, Failure::Unauthorized);
        check(402, Failure::Billing);
        check(403, Failure::Unauthorized);
        check(404, Failure::UnknownModel);
        check(408, Failure::Server);
        check(409, Failure::Server);
        check(413, Failure::PromptTooLong);
        check(418, Failure::Rejected);
        check(429, Failure::RateLimited);
        check(500, Failure::Server);
        check(502, Failure::Server);
        check(503, Failure::Server);
        check(504, Failure::Server);
        check(529, Failure::Overloaded);
    }

    #[test]
    fn types_codes_and_phrases() {
        let check = |status, kind, message, code, failure| {
            assert_eq!(
                answer(status, &[], &body(kind, message, code)).failure,
                failure,
                "{status} {kind} {message} {code}"
            );
        };
        check(400, "invalid_request_error", "no", "", Failure::Rejected);
        check(400, "invalid_request_error", "prompt is too long: 9 > 8", "", Failure::PromptTooLong);
        check(
            400,
            "invalid_request_error",
            "`signature` is bound to a different conversation",
            "",
            Failure::ThinkingMismatch,
        );
        check(400, "invalid_request_error", "Your credit balance is too low to access", "", Failure::Billing);
        check(400, "invalid_request_error", "no", "organization_on_hold", Failure::Billing);
        check(429, "rate_limit_error", "slow", "enforced_spend_limit_reached", Failure::Billing);
        check(429, "rate_limit_error", "slow", "contract_spend_limit_reached", Failure::Billing);
        check(429, "rate_limit_error", "slow", "ramp_limit_exceeded", Failure::RateLimited);
        for message in [
            "messages.0.content.0.image.source.base64: At least one of the image dimensions exceed max allowed size",
            "Could not process image",
            "The PDF specified was not valid.",
            "A maximum of 100 PDF pages may be provided.",
            "messages.2.content.1.document.source.base64.data: empty",
        ] {
            check(400, "invalid_request_error", message, "", Failure::FileRefused);
        }
        for message in
            ["tools.0: see the documentation", "imagery", "a document of words: too odd", "image_url is no field"]
        {
            check(400, "invalid_request_error", message, "", Failure::Rejected);
        }
        check(400, "invalid_request_error", "no", "image_dimensions_too_large", Failure::FileRefused);
        check(503, "overloaded_error", "", "", Failure::Overloaded);
        check(404, "not_found_error", "model: x", "", Failure::UnknownModel);
        let event = |kind: &str| from_event(&Told { kind: kind.into(), ..Told::default() }, "").failure;
        assert_eq!(event("overloaded_error"), Failure::Overloaded);
        assert_eq!(event("invalid_request_error"), Failure::Rejected);
        assert_eq!(event("new_error"), Failure::Server);
    }

    #[test]
    fn hints() {
        let check = |headers: &[(&'static str, &str)], expect: Option<u64>| {
            let found = answer(429, headers, "").retry_after.map(|wait| wait.as_millis());
            assert_eq!(found, expect.map(u128::from), "{headers:?}");
        };
        check(&[], None);
        check(&[("retry-after", "7")], Some(7_000));
        check(&[("retry-after", "0.25")], Some(250));
        check(&[("retry-after-ms", "1500"), ("retry-after", "9")], Some(1_500));
        check(&[("retry-after", "-3")], Some(0));
        check(&[("retry-after", "1e99")], Some(24 * 3_600_000));
        check(&[("retry-after", "NaN")], Some(0));
        check(&[("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT")], None);
        check(&[("x-should-retry", "false"), ("retry-after", "1")], Some(24 * 3_600_000));
        assert_eq!(answer(400, &[("x-should-retry", "true")], "").failure, Failure::Server);
        assert_eq!(answer(400, &[("x-should-retry", "false")], "").failure, Failure::Rejected);
    }

    #[test]
    fn messages_are_short_and_hold_no_key() {
        let long = body("invalid_request_error", &format!("sk-secret {}", "é".repeat(5_000)), "");
        let error = answer(400, &[("request-id", "req_1")], &long);
        assert!(error.message.chars().count() <= MESSAGE_CHARS_MAX);
        assert!(!error.message.contains("sk-secret") && error.message.contains("[key]"), "{}", error.message);
        assert_eq!(error.request.as_deref(), Some("req_1"));
        let data = format!("source.data: {} is no picture", "iVBO+/8=".repeat(1_000));
        let error = answer(400, &[], &body("invalid_request_error", &data, ""));
        assert!(error.message.ends_with("source.data: [data] is no picture"), "{}", error.message);
        assert_eq!(answer(500, &[], "").message, "the model's provider answered 500");
        assert_eq!(answer(500, &[], r#"{"error":null,"request_id":"req_2"}"#).request.as_deref(), Some("req_2"));
    }
}
