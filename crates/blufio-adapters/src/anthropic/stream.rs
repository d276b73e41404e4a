//! One try: from the request to the last event, with a limit on every wait and on every byte.
//!
//! Pings and the head of the message do not count as content, so a connection that is alive but says nothing ends. This
//! file refuses to know what a request says and what an event means.

use super::Limits;
use super::assemble::{Assembler, Broken, Progress};
use super::errors;
use super::sse::{Decoder, Event};
use crate::egress::{self, EgressError};
use blufio_core::port::{DeltaSink, Failure, ProviderError};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{RequestBuilder, Response, StatusCode};
use std::time::Duration;
use tokio::time::timeout;

/// Bytes of an error's body that are read.
const ERROR_BYTES_MAX: usize = 64 * 1024;
/// How long the end of the body may take behind the last event; without it the connection cannot be used again.
const TAIL: Duration = Duration::from_millis(20);

/// A try and what is known of it, also when it is given up.
pub(super) struct Try<'a> {
    pub(super) assembler: Assembler,
    /// The service's id of it.
    pub(super) request: Option<String>,
    limits: Limits,
    secret: &'a str,
}

struct Stream {
    response: Response,
    decoder: Decoder,
    /// As they came, framing and all.
    bytes: usize,
}

impl<'a> Try<'a> {
    pub(super) const fn new(assembler: Assembler, limits: Limits, secret: &'a str) -> Self {
        Self { assembler, request: None, limits, secret }
    }

    /// Sends the request and reads the reply to its end. The limit on the whole is the caller's.
    pub(super) async fn run(&mut self, request: RequestBuilder, deltas: &mut DeltaSink) -> Result<(), ProviderError> {
        let limits = self.limits;
        let begin = async {
            let mut stream = self.open(request).await?;
            self.read_content(&mut stream, deltas).await?;
            Ok(stream)
        };
        let mut stream = match timeout(limits.first_content, begin).await {
            Ok(stream) => stream?,
            Err(_) => return Err(failed(Failure::Transport, "the model's provider did not begin to answer in time")),
        };
        while !self.assembler.done() {
            match timeout(limits.idle_content, self.read_content(&mut stream, deltas)).await {
                Ok(read) => read?,
                Err(_) => return Err(failed(Failure::Transport, "the model's provider fell silent")),
            }
        }
        // Whatever comes behind the last event is of no interest, nor is how the body ends.
        drop(timeout(TAIL, egress::chunk(&mut stream.response)).await);
        Ok(())
    }

    async fn open(&mut self, request: RequestBuilder) -> Result<Stream, ProviderError> {
        let response = egress::send(request).await.map_err(transport)?;
        self.request = errors::request_id(response.headers());
        if response.status() != StatusCode::OK {
            return Err(self.refused(response).await);
        }
        if !is_event_stream(response.headers()) {
            return Err(failed(Failure::Protocol, "the model's provider answered with something else than a stream"));
        }
        Ok(Stream { response, decoder: Decoder::new(self.limits.event_bytes_max), bytes: 0 })
    }

    async fn refused(&self, response: Response) -> ProviderError {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        // Without its body an answer is judged by its status.
        let body = egress::read_capped(response, ERROR_BYTES_MAX).await.unwrap_or_default();
        errors::from_response(status, &headers, &body, self.secret)
    }

    /// Reads until there was content, or the end.
    async fn read_content(&mut self, stream: &mut Stream, deltas: &mut DeltaSink) -> Result<(), ProviderError> {
        let mut content = false;
        while !content {
            let Some(piece) = egress::chunk(&mut stream.response).await.map_err(transport)? else {
                return Err(failed(Failure::Transport, "the stream of the model's provider ended early"));
            };
            stream.bytes = stream.bytes.saturating_add(piece.len());
            if stream.bytes > self.limits.stream_bytes_max {
                return Err(failed(Failure::Protocol, "the stream is longer than allowed"));
            }
            let mut events = Vec::new();
            let fits = stream.decoder.push(&piece, &mut events);
            content = self.take(&events, deltas)?;
            if fits.is_err() {
                return Err(failed(Failure::Protocol, "an event is longer than allowed"));
            }
        }
        Ok(())
    }

    /// Whether there was content among the events.
    fn take(&mut self, events: &[Event], deltas: &mut DeltaSink) -> Result<bool, ProviderError> {
        let mut content = false;
        for event in events {
            let progress = self.assembler.event(event).map_err(|broken| match broken {
                Broken::Protocol(what) => failed(Failure::Protocol, what),
                Broken::Told(told) => errors::from_event(&told, self.secret),
            })?;
            if self.assembler.content_bytes() > self.limits.response_bytes_max {
                return Err(failed(Failure::Protocol, "the answer is longer than allowed"));
            }
            content |= progress != Progress::Nothing;
            if let Progress::Shown(delta) = progress {
                deltas(delta);
            }
        }
        Ok(content)
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.trim_start().to_ascii_lowercase().starts_with("text/event-stream")
}

/// A failure of a request that may have been received.
pub(super) fn failed(failure: Failure, message: &str) -> ProviderError {
    ProviderError { reached: true, ..unsent(failure, message) }
}

/// A failure of a request that was certainly not received.
pub(super) fn unsent(failure: Failure, message: &str) -> ProviderError {
    ProviderError {
        failure,
        message: message.to_owned(),
        retry_after: None,
        request: None,
        reached: false,
        usage: None,
    }
}

fn transport(error: EgressError) -> ProviderError {
    let reached = !error.nothing_was_sent();
    ProviderError { reached, ..unsent(Failure::Transport, &format!("the model's provider: {error}")) }
}
