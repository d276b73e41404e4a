//! The fake Telegram Bot API as a process of its own, for tests of the real binary and for trying things by hand.

use std::net::SocketAddr;

use blufio_testkit::botapi::{BotApiConfig, FakeBotApi, RateModel, USAGE};
use clap::Parser;

/// A Telegram Bot API on this machine that accepts one bot and lets you play its users.
#[derive(Parser)]
#[command(after_long_help = USAGE)]
struct Options {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// The token that is accepted.
    #[arg(long, default_value = "1:TEST")]
    token: String,
    /// User name of the bot, without @.
    #[arg(long, default_value = "blufio_test_bot")]
    username: String,
    /// Requests kept for /_control/requests.
    #[arg(long, default_value_t = 10_000)]
    log_limit: usize,
    /// Do not slow down quick repeats of a poll.
    #[arg(long)]
    no_throttle: bool,
    /// Hide from the bot what is written in groups and not meant for it.
    #[arg(long)]
    privacy_mode: bool,
    /// Give the bot topics in private chats.
    #[arg(long)]
    private_topics: bool,
    /// Loopback address that updates are brought to while a webhook is set.
    #[arg(long)]
    webhook_target: Option<SocketAddr>,
    /// Answer 429 above 1 message/s per private chat (burst 3), 20/min per group, 30/s in total.
    #[arg(long)]
    rate_limits: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let token = options.token.clone();
    let server = FakeBotApi::start(BotApiConfig {
        addr: options.listen,
        token: options.token,
        username: options.username,
        log_limit: options.log_limit,
        throttle: !options.no_throttle,
        privacy_mode: options.privacy_mode,
        private_topics: options.private_topics,
        rate: options.rate_limits.then(RateModel::default),
        ..BotApiConfig::default()
    })
    .await?;
    if let Some(target) = options.webhook_target {
        server.webhook_target(target);
    }
    let url = server.base_url();
    println!("fake Bot API listens on {url}");
    println!("bot: telegram.api_root = \"{url}\", TELEGRAM_BOT_TOKEN={token}");
    println!("say something:  curl -sd '{{\"user\":1,\"text\":\"hello\"}}' {url}/_control/send");
    println!("see the answer: curl -s '{url}/_control/wait?chat=1'");
    println!("\n{USAGE}\n\nCtrl-C stops.");
    tokio::signal::ctrl_c().await?;
    Ok(())
}
