//! The fake Messages API as its own process, for trying the product by hand and for tests of the whole process.

use std::net::SocketAddr;

use anyhow::Context as _;
use blufio_testkit::messages::{FakeMessagesApi, MessagesConfig};
use clap::Parser;

/// A strict Messages API that costs nothing: judges every request, and answers from scripts or by itself.
#[derive(Parser)]
struct Arguments {
    /// Address to listen on; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:8082")]
    listen: SocketAddr,
    /// The only accepted key.
    #[arg(long, default_value = "sk-test")]
    api_key: String,
    /// Milliseconds before each piece of an answer, to see it stream.
    #[arg(long, default_value_t = 0)]
    drip_ms: u64,
    /// Output tokens per second; without it answers come at once.
    #[arg(long)]
    tokens_per_s: Option<u32>,
    /// Requests that are kept for `/_control/requests`.
    #[arg(long, default_value_t = 1_000)]
    log_limit: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let fake = FakeMessagesApi::start(MessagesConfig {
        addr: arguments.listen,
        api_key: arguments.api_key.clone(),
        delta_ms: arguments.drip_ms,
        tokens_per_s: arguments.tokens_per_s,
        log_limit: arguments.log_limit,
        ..MessagesConfig::default()
    })
    .await
    .with_context(|| format!("cannot listen on {}", arguments.listen))?;
    let url = fake.base_url();
    println!(
        "fake Messages API on {url}\n\n\
         curl -N {url}/v1/messages -H 'x-api-key: {}' -H 'anthropic-version: 2026-10-21' \\\n  \
         -H 'content-type: application/json' \\\n  \
         -d '{{\"model\":\"claude-sonnet-5-5\",\"max_tokens\":1024,\"stream\":true,\
         \"messages\":[{{\"role\":\"user\",\"content\":\"hello\"}}]}}'\n\n\
         In a message: [say:TEXT] [long:WORDS] [slow:MS] [drip:MS] [think] [tool:NAME {{json}}] [then:tool:NAME {{json}}]\n              \
         [refuse] [empty] [max_tokens] [pause]\n\
         From outside: GET {url}/_control/spend | violations | prompts | requests\n              \
         POST {url}/_control/script | fault | clear_faults\n\n\
         curl {url}/_control/fault -d '{{\"when\":{{\"next\":1}},\"kind\":{{\"status\":{{\"code\":529,\"kind\":\"overloaded_error\"}}}}}}'\n",
        arguments.api_key
    );
    tokio::signal::ctrl_c().await.context("cannot wait for the interrupt signal")
}
