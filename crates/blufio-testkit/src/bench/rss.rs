//! What `blufio serve` holds while nothing happens: after its start, and after it has worked.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use tokio::time::sleep;

use super::Bench;
use super::report::{Report, mb};
use super::world::{FIRST_USER, Plan, World};
use crate::process::{Blufio, Usage};

/// How long nothing happens before a look; longer than freed pages are kept.
const IDLE: Duration = Duration::from_secs(10);
/// Turns between the two looks.
const TURNS: u64 = 100;
/// Chats that have them.
const CHATS: u64 = 5;
/// With an encrypted database, guarded network and confined tools.
const IDLE_RSS_MAX: u64 = 18_000_000;
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// Options of the memory measurement.
#[derive(Args, Clone, Debug)]
pub struct Options {}

/// Looks twice.
///
/// # Errors
/// The binary does not start or does not answer.
pub async fn run(bench: &Bench, _options: &Options) -> Result<Report> {
    let about = format!(
        "`blufio serve` with Telegram connected, {} s after the last event: once after its start, once after {TURNS} turns in \
         {CHATS} chats, every fifth with a tool and every tenth with a long answer.",
        IDLE.as_secs()
    );
    let mut report = Report::new("rss", about);
    let mut world = World::new(&bench.binary, bench.fast(), Plan { chats: CHATS as usize, ..Plan::default() }).await?;
    world.setup.cage.clone_from(&bench.cage);
    let (blufio, _) = Blufio::start(&world.setup).await?;
    sleep(IDLE).await;
    let fresh = blufio.usage()?;
    for number in 1..=TURNS {
        let chat = FIRST_USER + i64::try_from(number % CHATS)?;
        let wish = match number % 10 {
            0 => "[long:1500]",
            5 => "[tool:now]",
            _ => "hello",
        };
        world.telegram.send_text(chat, &format!("#{number} {wish}"));
        world.answered(chat, number, ANSWER_MAX).await?;
    }
    sleep(IDLE).await;
    let used = blufio.usage()?;
    for (when, usage) in [("idle after the start", fresh), (&*format!("idle after {TURNS} turns"), used)] {
        let Usage { rss_bytes, anonymous_bytes, threads, files, .. } = usage;
        let met = rss_bytes <= IDLE_RSS_MAX;
        report.goal(format!("resident memory, {when}"), mb(rss_bytes), "≤ 18 MB", met);
        let files = files.map_or_else(|| "unknown".to_owned(), |files| files.to_string());
        report.figure(
            format!("… of it allocated; threads; open files, {when}"),
            format!("{}; {threads}; {files}", mb(anonymous_bytes)),
        );
    }
    blufio.terminate(Duration::from_secs(12)).await?;
    Ok(report)
}
