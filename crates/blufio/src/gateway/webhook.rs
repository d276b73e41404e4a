//! The way in for a server that calls: who may knock, how much is read, and what is answered.
//!
//! A caller without the secret gets what every unknown path gets, and its body is not read: nobody learns that there is a
//! route, and nobody makes us work. The answer to an update is 200 with an empty body, since words in it would be taken for
//! a call (<https://core.telegram.org/bots/api#making-requests-when-getting-updates>), and it is given after the update is
//! stored; whatever else is answered, the caller keeps the update and comes again. What an update says is not known here.

use super::App;
use super::routes::{Problem, not_found};
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, CONTENT_LENGTH};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use blufio_core::port::Webhook;
use std::sync::Arc;
use std::time::Duration;

/// The header that carries the secret (Bot API, `setWebhook`, `secret_token`).
const SECRET: &str = "x-telegram-bot-api-secret-token";

/// How much is read of somebody who knows the secret.
struct Limits {
    /// Bytes of a body. More: 413.
    body_bytes: usize,
    /// From the first look at a body to its end. Longer: 408.
    body_time: Duration,
}

const LIMITS: Limits = Limits { body_bytes: 1024 * 1024, body_time: Duration::from_secs(10) };

/// The route's handler.
pub async fn receive(State(app): State<Arc<App>>, request: Request) -> Response {
    match &app.webhook {
        Some(webhook) => take(webhook.as_ref(), request, &LIMITS).await,
        None => not_found().await,
    }
}

async fn take(webhook: &dyn Webhook, request: Request, limits: &Limits) -> Response {
    if !may(webhook, request.method(), request.headers()) {
        count("refused");
        return not_found().await;
    }
    let body = match read(request, limits).await {
        Ok(body) => body,
        Err((status, outcome)) => {
            count(outcome);
            tracing::warn!(outcome, "a call of the webhook was not taken");
            return closing((status, outcome).into_response());
        }
    };
    match webhook.take(&body).await {
        Ok(()) => {
            count("taken");
            StatusCode::OK.into_response()
        }
        Err(error) => {
            count("not_stored");
            tracing::warn!(%error, "an update from the webhook was not stored; it comes again");
            let message = "the update was not stored".to_owned();
            Problem { status: StatusCode::SERVICE_UNAVAILABLE, message, hint: None }.into_response()
        }
    }
}

/// The right method, and the secret. Asked before anything of the body is looked at.
fn may(webhook: &dyn Webhook, method: &Method, headers: &HeaderMap) -> bool {
    method == Method::POST && headers.get(SECRET).is_some_and(|secret| webhook.admits(secret.as_bytes()))
}

async fn read(request: Request, limits: &Limits) -> Result<Vec<u8>, (StatusCode, &'static str)> {
    let too_large = (StatusCode::PAYLOAD_TOO_LARGE, "too_large");
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > limits.body_bytes as u64) {
        return Err(too_large);
    }
    match tokio::time::timeout(limits.body_time, to_bytes(request.into_body(), limits.body_bytes)).await {
        Ok(Ok(body)) => Ok(body.into()),
        // Or the connection is gone, and then nobody reads the answer.
        Ok(Err(_)) => Err(too_large),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "too_slow")),
    }
}

/// The rest of the body is not wanted, so nothing more can come over this connection.
pub fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn count(outcome: &'static str) {
    metrics::counter!("blufio_webhook_calls_total", "outcome" => outcome).increment(1);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use axum::Router;
    use axum::routing::any;
    use axum::serve::Listener;
    use blufio_core::port::{Boxed, IntakeError};
    use std::sync::Mutex;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::sync::Notify;

    const KNOWN: &[u8] = b"the-secret";
    /// Small, so that what was read of a connection is known almost exactly.
    const PIPE_BYTES: usize = 1024;
    const SMALL: Limits = Limits { body_bytes: 2_000, body_time: Duration::from_millis(50) };

    /// Stores what it gets when it is told to.
    #[derive(Default)]
    struct Fake {
        bodies: Mutex<Vec<Vec<u8>>>,
        fails: bool,
        entered: Notify,
        commit: Notify,
    }

    impl Webhook for Fake {
        fn admits(&self, secret: &[u8]) -> bool {
            secret == KNOWN
        }

        fn take(&self, body: &[u8]) -> Boxed<'_, Result<(), IntakeError>> {
            let body = body.to_vec();
            Box::pin(async move {
                self.entered.notify_one();
                self.commit.notified().await;
                if self.fails {
                    return Err(IntakeError("no space".to_owned()));
                }
                self.bodies.lock().unwrap().push(body);
                Ok(())
            })
        }
    }

    /// One connection and then none.
    struct Once(Option<DuplexStream>);

    impl Listener for Once {
        type Io = DuplexStream;
        type Addr = ();

        async fn accept(&mut self) -> (DuplexStream, ()) {
            match self.0.take() {
                Some(stream) => (stream, ()),
                None => std::future::pending().await,
            }
        }

        fn local_addr(&self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Serves one connection with the gateway's own layers while `caller` uses its other end.
    async fn with<T>(fake: &Arc<Fake>, limits: &'static Limits, caller: impl AsyncFnOnce(DuplexStream) -> T) -> T {
        let (near, far) = duplex(PIPE_BYTES);
        let webhook = fake.clone();
        let route = any(move |request: Request| async move { take(webhook.as_ref(), request, limits).await });
        let router = super::super::layers(Router::new().route("/telegram-webhook", route));
        tokio::select! {
            _ = std::future::IntoFuture::into_future(axum::serve(Once(Some(far)), router)) => panic!("the server ended"),
            result = caller(near) => result,
        }
    }

    fn head(method: &str, path: &str, headers: &[String]) -> String {
        let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        format!("{method} {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n")
    }

    fn secret(known: &[u8]) -> String {
        format!("X-Telegram-Bot-Api-Secret-Token: {}", String::from_utf8_lossy(known))
    }

    /// Sends and reads to the end of the connection. Gives the bytes that could be sent, and the answer without its date.
    async fn exchange(
        mut stream: DuplexStream,
        head: &str,
        body: impl IntoIterator<Item = Vec<u8>>,
    ) -> (usize, String) {
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut sent = head.len();
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut answer = Vec::new();
        let send = async {
            for piece in body {
                // An error: the other side does not listen any more.
                if writer.write_all(&piece).await.is_err() {
                    break;
                }
                sent += piece.len();
            }
        };
        let read = async {
            reader.read_to_end(&mut answer).await.unwrap();
        };
        tokio::join!(send, read);
        let answer = String::from_utf8(answer).unwrap();
        (sent, answer.lines().filter(|line| !line.starts_with("date:")).collect::<Vec<_>>().join("\n"))
    }

    #[tokio::test]
    async fn without_the_secret_the_route_is_an_unknown_path_and_the_body_stays_unread() {
        let fake = Arc::new(Fake::default());
        let gigabyte = "content-length: 1000000000".to_owned();
        let cases = [
            ("POST", "/nowhere", vec![gigabyte.clone()]),
            ("POST", "/telegram-webhook", vec![gigabyte.clone()]),
            ("POST", "/telegram-webhook", vec![gigabyte.clone(), secret(b"")]),
            ("POST", "/telegram-webhook", vec![gigabyte.clone(), secret(b"the-secret-not")]),
            ("POST", "/telegram-webhook", vec!["transfer-encoding: chunked".to_owned(), secret(b"wrong")]),
            ("POST", "/telegram-webhook", vec![gigabyte.clone(), "expect: 100-continue".to_owned()]),
            ("PUT", "/telegram-webhook", vec![gigabyte, secret(KNOWN)]),
            ("POST", "/telegram-webhook/", vec!["content-length: 5".to_owned(), secret(KNOWN)]),
        ];
        let mut answers = Vec::new();
        for (method, path, headers) in cases {
            let pieces = std::iter::repeat_n(vec![b'1'; 1024], 1_000_000);
            let (sent, answer) =
                with(&fake, &LIMITS, async |stream| exchange(stream, &head(method, path, &headers), pieces).await)
                    .await;
            assert!(sent < 64 * 1024, "{method} {path} {headers:?}: {sent} bytes were read");
            answers.push(answer);
        }
        assert!(answers[0].starts_with("HTTP/1.1 404 Not Found\n"), "{}", answers[0]);
        assert!(answers[0].contains("connection: close") && answers[0].ends_with("}}"), "{}", answers[0]);
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
        assert!(fake.bodies.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn an_update_is_answered_after_it_is_stored() {
        let fake = Arc::new(Fake::default());
        let head =
            head("POST", "/telegram-webhook", &[secret(KNOWN), "content-length: 3".into(), "connection: close".into()]);
        let told = fake.clone();
        let answer = with(&fake, &LIMITS, async |mut stream| {
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(b"{1}").await.unwrap();
            let mut first = [0];
            tokio::select! {
                biased;
                _ = stream.read_exact(&mut first) => panic!("answered before it was stored"),
                () = told.entered.notified() => {}
            }
            assert!(told.bodies.lock().unwrap().is_empty());
            told.commit.notify_one();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert_eq!(*told.bodies.lock().unwrap(), [b"{1}".to_vec()]);
            answer
        });
        let answer = answer.await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    }

    #[tokio::test]
    async fn what_could_not_be_stored_is_to_come_again() {
        let fake = Arc::new(Fake { fails: true, ..Fake::default() });
        fake.commit.notify_one();
        let head =
            head("POST", "/telegram-webhook", &[secret(KNOWN), "content-length: 2".into(), "connection: close".into()]);
        let (_, answer) = with(&fake, &LIMITS, async |stream| exchange(stream, &head, [b"{}".to_vec()]).await).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(!answer.contains("no space"), "the caller is told nothing of the inside: {answer}");
    }

    #[tokio::test]
    async fn bodies_that_are_too_large_or_too_slow_are_cut() {
        let fake = Arc::new(Fake::default());
        let chunk = |bytes: usize| [format!("{bytes:x}\r\n").as_bytes(), &vec![b'1'; bytes], b"\r\n"].concat();
        let cases = [
            // Announced, and nothing of it sent.
            ("content-length: 2001", Vec::new(), "413"),
            ("content-length: 1000000000", vec![vec![b'1'; 1024]; 1_000], "413"),
            // Not announced.
            ("transfer-encoding: chunked", vec![chunk(1_000); 1_000], "413"),
            // The rest does not come.
            ("content-length: 2000", vec![vec![b'1'; 1_999]], "408"),
            ("transfer-encoding: chunked", vec![chunk(10)], "408"),
        ];
        for (length, body, status) in cases {
            let head = head("POST", "/telegram-webhook", &[secret(KNOWN), length.to_owned()]);
            let (sent, answer) = with(&fake, &SMALL, async |stream| exchange(stream, &head, body).await).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{length}: {answer}");
            assert!(answer.contains("connection: close") && sent < 64 * 1024, "{length}: {sent} bytes, {answer}");
        }
        assert!(fake.bodies.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_body_of_just_the_size_is_taken_and_the_connection_stays() {
        let fake = Arc::new(Fake::default());
        let head = head("POST", "/telegram-webhook", &[secret(KNOWN), "content-length: 2000".into()]);
        let mut request = head.into_bytes();
        request.extend([b'1'; 2_000]);
        with(&fake, &SMALL, async |mut stream| {
            for _ in 0..2 {
                fake.commit.notify_one();
                stream.write_all(&request).await.unwrap();
                let mut answer = Vec::new();
                while !answer.ends_with(b"\r\n\r\n") {
                    answer.push(stream.read_u8().await.unwrap());
                }
                assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&answer));
            }
        })
        .await;
        assert_eq!(fake.bodies.lock().unwrap().len(), 2);
    }
}
