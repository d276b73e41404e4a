//! HTTP to another process of this machine over its Unix socket, answers and event streams alike.
//!
//! The kernel says who may connect, so there is no TLS and no key here; nothing leaves the machine. It refuses to know the
//! routes, and like its neighbours it never tries a request again.

use super::{EgressError, chunk, read_capped, send};
use crate::anthropic::sse::{Decoder, Event};
use blufio_core::limits::MODEL_RESPONSE_BYTES_MAX;
use reqwest::{Method, RequestBuilder, Response, Url, header};
use rustls::{ClientConfig, RootCertStore};
use std::collections::VecDeque;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Opening the socket; a full queue of connections is the only thing to wait for.
const CONNECT: Duration = Duration::from_secs(2);
/// From a request to its whole answer. The slowest are commits on a bad disk.
const ANSWER: Duration = Duration::from_secs(30);
/// Between two pieces of an event stream. The server says something every 15 seconds.
const SILENCE: Duration = Duration::from_secs(45);
/// Bytes of an answer. Longer: refused; ask for fewer rows.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Bytes of one event. The longest carries a whole answer, every character of it perhaps escaped. Longer: the stream ends.
const EVENT_BYTES_MAX: usize = 8 * MODEL_RESPONSE_BYTES_MAX;

/// A client of one socket. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Local {
    http: reqwest::Client,
    base: Url,
}

/// An answer, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Local {
    /// A client of the socket at `path`, which need not exist yet. Opens no connection.
    pub fn new(path: &Path) -> Result<Self, EgressError> {
        #[expect(clippy::disallowed_methods, reason = "the one client that does not leave the machine")]
        let builder = reqwest::Client::builder();
        let http = builder
            .unix_socket(path)
            .tls_backend_preconfigured(without_roots()?)
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .http1_only()
            .referer(false)
            .build()?;
        let base = Url::parse("http://localhost/").map_err(|error| EgressError::Build(error.to_string()))?;
        Ok(Self { http, base })
    }

    /// Asks for something. `path` is given in segments, which may contain any character.
    pub async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Answer, EgressError> {
        answer(self.request(Method::GET, path, query)?).await
    }

    /// Sends a body of JSON.
    pub async fn post(&self, path: &[&str], body: Vec<u8>) -> Result<Answer, EgressError> {
        let request = self.request(Method::POST, path, &[])?;
        answer(request.header(header::CONTENT_TYPE, "application/json").body(body)).await
    }

    /// Opens a stream of events; an answer with another status than 200 is given as it is.
    pub async fn events(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Result<Events, Answer>, EgressError> {
        let request = self.request(Method::GET, path, query)?.header(header::ACCEPT, "text/event-stream");
        let response = within(ANSWER, send(request)).await?;
        if response.status() != reqwest::StatusCode::OK {
            return Ok(Err(whole(response).await?));
        }
        Ok(Ok(Events { response, decoder: Decoder::new(EVENT_BYTES_MAX), waiting: VecDeque::new() }))
    }

    fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> Result<RequestBuilder, EgressError> {
        let mut url = self.base.clone();
        url.path_segments_mut().map_err(|()| EgressError::Address("it has no path"))?.clear().extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(self.http.request(method, url))
    }
}

/// A stream of server-sent events.
#[derive(Debug)]
pub struct Events {
    response: Response,
    decoder: Decoder,
    waiting: VecDeque<Event>,
}

impl Events {
    /// The next event: its name (empty if it has none) and its data. `None` at the end of the stream. Nothing is lost if the
    /// returned future is dropped.
    pub async fn next(&mut self) -> Result<Option<(String, Vec<u8>)>, EgressError> {
        loop {
            if let Some(Event { name, data }) = self.waiting.pop_front() {
                return Ok(Some((name, data)));
            }
            let Some(piece) = within(SILENCE, chunk(&mut self.response)).await? else { return Ok(None) };
            let taken = self.decoder.push(&piece, &mut self.waiting);
            taken.map_err(|_| EgressError::TooLarge { max: EVENT_BYTES_MAX })?;
        }
    }
}

async fn answer(request: RequestBuilder) -> Result<Answer, EgressError> {
    within(ANSWER, async { whole(send(request).await?).await }).await
}

async fn whole(response: Response) -> Result<Answer, EgressError> {
    let status = response.status().as_u16();
    Ok(Answer { status, body: read_capped(response, ANSWER_BYTES_MAX).await? })
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, EgressError>>) -> Result<T, EgressError> {
    tokio::time::timeout(limit, work).await.unwrap_or(Err(EgressError::Timeout))
}

/// The HTTP library wants a TLS configuration even where it will never need one. This one trusts nobody.
fn without_roots() -> Result<ClientConfig, EgressError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| EgressError::Build(error.to_string()))?;
    Ok(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn segments_of_a_path_stay_segments() {
        let local = Local::new(Path::new("no.sock")).unwrap();
        let request = local.request(Method::GET, &["v1", "a/b?c#d", "local:main"], &[("turn", "1 &2")]).unwrap();
        let url = request.build().unwrap().url().to_string();
        assert_eq!(url, "http://localhost/v1/a%2Fb%3Fc%23d/local:main?turn=1+%262");
    }

    #[tokio::test]
    async fn a_socket_that_is_not_there_is_no_connection() {
        let local = Local::new(Path::new("no-such-folder/no.sock")).unwrap();
        let error = local.get(&["healthz"], &[]).await.unwrap_err();
        assert!(error.nothing_was_sent(), "{error:?}");
    }
}
