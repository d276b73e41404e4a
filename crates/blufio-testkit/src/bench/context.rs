//! What a conversation costs: the same events, sent by three policies, booked by the fake server's own model of the cache.
//!
//! *Everything* puts all skills and facts in front; *large bootstrap* is what an agent with many bootstrap files sends; the
//! third is the real program. Hours pass without being waited for: the requests are booked at the times at which they would
//! have been sent, and the program's wall clock is moved along.

mod baseline;
mod pauses;
mod policies;
mod script;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde_json::Value;
use tokio::time::Instant;

use super::Bench;
use super::report::Report;
use crate::messages::cache::Cache;
use crate::messages::{Models, Usage};
use baseline::Baseline;
use pauses::{PAUSES, Pauses};
use script::{Conversation, conversations, fact, skill_mark};

/// Tokens of an answer, the same for all policies.
const ANSWER_TOKENS: u64 = 120;

/// Which cells are measured.
#[derive(Args, Clone, Debug, Default)]
pub struct Options {
    /// Only this conversation
    #[arg(long, value_name = "NAME")]
    pub script: Option<String>,
    /// Takes what is measured as what later runs are compared with
    #[arg(long)]
    pub bless: bool,
}

/// A request as it was sent.
struct Sent {
    turn: usize,
    body: Value,
}

/// What a policy has sent in a conversation.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    requests: u64,
    usage: Usage,
    micro_usd: u64,
    /// Of requests that carry results of tools: read from the cache, and all of it.
    looped: (u64, u64),
    needed: u64,
    shown: u64,
}

impl Cell {
    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.micro_usd += other.micro_usd;
        self.needed += other.needed;
        self.shown += other.shown;
        self.looped = (self.looped.0 + other.looped.0, self.looped.1 + other.looped.1);
        let Usage { input, write_5m, write_1h, read, output } = &other.usage;
        self.usage.input += input;
        self.usage.write_5m += write_5m;
        self.usage.write_1h += write_1h;
        self.usage.read += read;
        self.usage.output += output;
    }
}

/// Sends all conversations with all pauses.
///
/// # Errors
/// There is no program with failpoints, a message is not answered, or a request is refused.
pub async fn run(bench: &Bench, options: &Options) -> Result<Report> {
    let binary = bench
        .failpoints
        .clone()
        .context("the program with failpoints is needed, which has a clock that can be moved")?;
    let wanted = |conversation: &Conversation| options.script.as_deref().is_none_or(|name| name == conversation.name);
    let all: Vec<Conversation> = conversations().into_iter().filter(wanted).collect();
    ensure!(!all.is_empty(), "there is no such conversation");
    let mut report = Report::new(
        "context",
        "Six conversations of 40 turns with fixed replies, 30 skills and 500 facts, at five kinds of pauses between messages, sent by three policies and \
         booked by the fake server's rules of the cache. Everything: all of it in front. Large bootstrap: 11,000 tokens of system text, 2,067 of \
         tools, a catalogue of the skills and all facts in front. Prices of Sonnet 5.5.",
    );
    let mut totals = [Cell::default(); 3];
    let mut dearer = Vec::new();
    let mut lean = true;
    let mut measured = Baseline::default();
    // Read from the cache, and all of it, of our own requests in conversations with pauses of four minutes.
    let mut kept = (0, 0);
    for conversation in &all {
        for pauses in PAUSES {
            let pause = pauses.name;
            let sent = policies::blufio(bench, &binary, conversation, pauses).await?;
            let cells = [
                book(conversation, pauses, &policies::everything(conversation)?)?,
                book(conversation, pauses, &policies::large_bootstrap(conversation)?)?,
                book(conversation, pauses, &sent)?,
            ];
            totals.iter_mut().zip(&cells).for_each(|(total, cell)| total.add(cell));
            let [everything, bootstrap, own] = &cells;
            measured.add(format!("{}, {pause}", conversation.name), own.usage.prompt(), own.micro_usd);
            if pauses.is_minutes() {
                kept = (kept.0 + own.usage.read, kept.1 + own.usage.prompt());
            }
            if own.micro_usd >= bootstrap.micro_usd {
                dearer.push(format!("{} at {pause}", conversation.name));
            }
            let less = saved(everything.usage.prompt(), own.usage.prompt());
            lean &= less >= 68.0 && saved(bootstrap.usage.prompt(), own.usage.prompt()) >= 45.0;
            report.figure(
                format!("{}, {pause}: tokens a request; dollars", conversation.name),
                format!(
                    "{} / {} / {}; ${:.3} / ${:.3} / ${:.3}",
                    each(everything),
                    each(bootstrap),
                    each(own),
                    dollars(everything),
                    dollars(bootstrap),
                    dollars(own)
                ),
            );
        }
    }
    let [everything, bootstrap, own] = &totals;
    let fewer = |other: &Cell| saved(other.usage.prompt(), own.usage.prompt());
    let cheaper = |other: &Cell| saved(other.micro_usd, own.micro_usd);
    let percent = |value: f64| format!("−{value:.1} %");
    report.goal(
        "prompt tokens against everything",
        percent(fewer(everything)),
        "≥ 84 % fewer",
        fewer(everything) >= 84.0,
    );
    report.goal(
        "prompt tokens against a large bootstrap",
        percent(fewer(bootstrap)),
        "≥ 50 % fewer",
        fewer(bootstrap) >= 50.0,
    );
    report.goal("… in every cell", if lean { "yes" } else { "no" }, "≥ 68 % and ≥ 45 % fewer", lean);
    report.goal(
        "dollars against everything",
        percent(cheaper(everything)),
        "≥ 70 % fewer",
        cheaper(everything) >= 70.0,
    );
    let cells = if dearer.is_empty() { "in every cell".to_owned() } else { format!("not in: {}", dearer.join(", ")) };
    report.goal(
        "fewer dollars than a large bootstrap",
        format!("{}, {cells}", percent(cheaper(bootstrap))),
        "in every cell",
        dearer.is_empty(),
    );
    let (read, of) = own.looped;
    let looped = share(read, of);
    report.goal("read from the cache within a tool loop", format!("{looped:.1} %"), "≥ 85 %", looped >= 85.0);
    let kept = share(kept.0, kept.1);
    report.goal("read from the cache with pauses of 4 min", format!("{kept:.1} %"), "≥ 70 %", kept >= 70.0);
    let shown = share(own.shown, own.needed);
    report.goal(
        "the needed fact or skill was there",
        format!("{shown:.1} % of {}", own.needed),
        "≥ 95 %",
        shown >= 95.0,
    );
    if options.bless {
        measured.write()?;
    } else {
        let grown = Baseline::read()?.grown(&measured);
        let cells = if grown.is_empty() { "in no cell".to_owned() } else { grown.join("; ") };
        report.goal("more tokens or dollars than the baseline", cells, "≤ 3 % in every cell", grown.is_empty());
    }
    report.notes.push(
        "Columns: everything / large bootstrap / Blufio. The tokens are the fake server's (four bytes each); answers count 120 tokens in all three. Facts are \
         asked for with the words that they are kept in; finding them by meaning is the business of a memory that is not there yet."
            .to_owned(),
    );
    Ok(report)
}

/// Books requests at the times at which they would have been sent.
fn book(conversation: &Conversation, pauses: Pauses, sent: &[Sent]) -> Result<Cell> {
    let (models, mut cache, base) = (Models::default(), Cache::default(), Instant::now());
    let mut cell = Cell::default();
    let mut round = 0;
    for (place, Sent { turn, body }) in sent.iter().enumerate() {
        round = if place > 0 && sent[place - 1].turn == *turn { round + 1 } else { 0 };
        let at = base + pauses.until(*turn) + Duration::from_secs(2) * round;
        let model = body["model"].as_str().and_then(|id| models.get(id)).context("a request to an unknown model")?;
        let usage = Usage { output: ANSWER_TOKENS, ..cache.account(body, model, at) };
        if policies::has_results(body) {
            cell.looped = (cell.looped.0 + usage.read, cell.looped.1 + usage.prompt());
        }
        cell.add(&Cell { requests: 1, micro_usd: model.cost(&usage), usage, ..Cell::default() });
    }
    for (number, turn) in conversation.turns.iter().enumerate() {
        let marks = [turn.fact.map(fact), turn.skill.map(skill_mark)];
        for mark in marks.into_iter().flatten() {
            cell.needed += 1;
            let spelled = serde_json::to_string(&mark)?;
            let inner = spelled.trim_matches('"');
            let there = |sent: &Sent| sent.turn == number && sent.body.to_string().contains(inner);
            cell.shown += u64::from(sent.iter().any(there));
        }
    }
    Ok(cell)
}

fn saved(from: u64, to: u64) -> f64 {
    100.0 - share(to, from)
}

fn share(part: u64, of: u64) -> f64 {
    100.0 * part as f64 / of.max(1) as f64
}

fn each(cell: &Cell) -> u64 {
    cell.usage.prompt() / cell.requests.max(1)
}

fn dollars(cell: &Cell) -> f64 {
    cell.micro_usd as f64 / 1e6
}
