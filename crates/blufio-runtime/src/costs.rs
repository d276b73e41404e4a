//! What was spent, for reading: the lines of `blufio cost` and the answer to `/cost`.

use crate::engine::Engine;
use blufio_core::access::Principal;
use blufio_core::budget::{Budget, Payer, Standing};
use blufio_core::ids::{SessionId, SessionKey, TurnNumber};
use blufio_core::port::StoreError;
use blufio_core::record::{CostBy, CostLine, Query, View};
use blufio_core::time::Timestamp;

/// The agent, in the ledger's word.
pub(crate) const AGENT: &str = "main";

/// Who pays, in the ledger's word.
pub(crate) fn person(principal: &Principal) -> String {
    match principal {
        Principal::Owner => "owner".to_owned(),
        Principal::Person(id) => format!("person:{id}"),
    }
}

/// What calls have cost.
pub(crate) async fn costs(
    engine: &Engine,
    by: CostBy,
    since: Timestamp,
    session: Option<SessionKey>,
) -> Result<Vec<CostLine>, StoreError> {
    let query = Query::Costs { by, since, session };
    match engine.adapters.storage.view(query, engine.adapters.clock.now()).await? {
        View::Costs(lines) => Ok(lines),
        _ => Err(StoreError::Broken("the store answered another question".to_owned())),
    }
}

/// The answer to `/cost`: an owner reads everything, others what is theirs.
pub(crate) async fn text(engine: &Engine, session: &SessionKey, principal: &Principal) -> String {
    match words(engine, session, principal).await {
        Ok(text) => text,
        Err(error) => format!("My database cannot be read: {error}."),
    }
}

async fn words(engine: &Engine, session: &SessionKey, principal: &Principal) -> Result<String, StoreError> {
    let now = engine.adapters.clock.now();
    let period = engine.money.period(now);
    let here = total(&match costs(engine, CostBy::Session, Timestamp(0), Some(session.clone())).await {
        Err(StoreError::NotFound(_)) => Vec::new(),
        other => other?,
    });
    let mut lines = vec![format!(
        "This conversation has cost {} in {} calls{}.",
        here.cost.cents(),
        here.calls,
        cached(&here)
            .map_or_else(String::new, |share| format!("; {share} % of what the model read came from its cache"))
    )];
    if *principal == Principal::Owner {
        let day = total(&costs(engine, CostBy::Model, period.day, None).await?);
        let month = costs(engine, CostBy::Model, period.month, None).await?;
        lines.push(format!("Today: {}. This month: {}.", day.cost.cents(), total(&month).cost.cents()));
        lines.extend(
            month.iter().map(|line| format!("• `{}`: {} in {} calls", line.key, line.cost.cents(), line.calls)),
        );
        lines.extend(saving(&total(&month)));
    }
    let payer = payer(engine, session, principal).await?;
    let standings = engine.money.standings(&payer, now);
    let shown = |standing: &&Standing| match standing.budget {
        Budget::Session | Budget::Person => true,
        Budget::Agent | Budget::Day | Budget::Month => *principal == Principal::Owner,
        Budget::Turn => false,
    };
    let standings: Vec<String> = standings.iter().filter(shown).filter_map(standing).collect();
    if !standings.is_empty() {
        lines.push(format!("\nSpent or reserved:\n{}", standings.join("\n")));
    }
    Ok(lines.join("\n"))
}

fn standing(standing: &Standing) -> Option<String> {
    let cap = standing.cap?;
    let percent = u128::from(standing.used.0) * 100 / u128::from(cap.0.max(1));
    Some(format!("• {}: {} of {} ({percent} %)", standing.budget.words(), standing.used.cents(), cap.cents()))
}

async fn payer(engine: &Engine, session: &SessionKey, principal: &Principal) -> Result<Payer, StoreError> {
    let query = Query::Session(session.clone());
    let session = match engine.adapters.storage.view(query, engine.adapters.clock.now()).await? {
        View::Session(session) => session.unwrap_or(SessionId(0)),
        _ => SessionId(0),
    };
    Ok(Payer { session, turn: TurnNumber(0), person: person(principal), agent: AGENT.to_owned() })
}

/// All lines in one.
fn total(lines: &[CostLine]) -> CostLine {
    let mut total = CostLine::default();
    lines.iter().for_each(|line| total.add(line));
    total
}

/// The share of prompt tokens that came from the cache, in percent.
fn cached(line: &CostLine) -> Option<u64> {
    let prompt = line.input + line.cache_write_5m + line.cache_write_1h + line.cache_read;
    (line.cache_read * 100).checked_div(prompt).filter(|share| *share > 0)
}

fn saving(line: &CostLine) -> Option<String> {
    let saved = u64::try_from(line.saved()).ok().filter(|saved| *saved > 0)?;
    Some(format!("The cache has saved {} of it.", blufio_core::money::MicroUsd(saved).cents()))
}
