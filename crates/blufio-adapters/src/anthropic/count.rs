//! Asks the service how many tokens a prompt has. It costs nothing and has a rate limit of its own.

use super::{Anthropic, errors, files, request};
use crate::blocking::blocking;
use crate::egress;
use blufio_core::port::{Failure, Prompt, ProviderError};
use serde::Deserialize;
use std::time::Duration;

/// The endpoint.
const PATH: &str = "/v1/messages/count_tokens";
/// A turn waits for the answer, and goes on with an estimate without one.
const COUNT: Duration = Duration::from_secs(3);
/// Bytes of the answer that are read.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

#[derive(Deserialize)]
struct Answer {
    input_tokens: u64,
}

impl Anthropic {
    pub(super) async fn count_tokens(&self, prompt: Prompt) -> Result<u64, ProviderError> {
        let late = |_| super::failed(Failure::Transport, "the service took too long to count a prompt");
        tokio::time::timeout(COUNT, self.ask_count(prompt)).await.map_err(late)?
    }

    async fn ask_count(&self, prompt: Prompt) -> Result<u64, ProviderError> {
        let body = if files::any(&prompt) {
            let blobs = self.blobs.clone();
            let read = blocking(move || request::body(&prompt, request::Purpose::Count, &*blobs)).await;
            read.ok_or_else(|| super::unsent(Failure::Transport, "the process is ending"))?
        } else {
            request::body(&prompt, request::Purpose::Count, &*self.blobs)
        };
        if body.len() > self.limits.request_bytes_max {
            return Err(super::unsent(Failure::PromptTooLong, "the request has more bytes than allowed"));
        }
        let broken = |error: egress::EgressError| super::failed(Failure::Transport, &error.to_string());
        let request = self.client.post(PATH).headers(self.headers.clone()).body(body);
        let response = egress::send(request).await.map_err(broken)?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = egress::read_capped(response, ANSWER_BYTES_MAX).await.map_err(broken)?;
        if status != 200 {
            return Err(errors::from_response(status, &headers, &body, self.api_key.expose()));
        }
        let answer: Result<Answer, _> = serde_json::from_slice(&body);
        answer
            .map(|answer| answer.input_tokens)
            .map_err(|_| super::failed(Failure::Protocol, "the service answered with something else than a count"))
    }
}
