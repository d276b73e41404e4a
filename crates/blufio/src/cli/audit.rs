//! `blufio audit`: what was done, by whom, and whether that record is whole.

use super::arguments::Audit as Command;
use super::screen::{Look, Screen, local_time, one_line, table};
use super::source::Source;
use crate::failure::Failure;
use crate::keys::Installation;
use blufio_core::record::AuditView;

/// Characters of a target that are shown.
const TARGET_CHARS: usize = 60;

/// Carries it out.
pub fn run(command: &Command, here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    let runtime = crate::serve::runtime()?;
    match command {
        Command::List { limit, before } => runtime.block_on(list(*limit, *before, here, screen)),
        Command::Verify { since } => runtime.block_on(verify(since.as_deref(), here, screen)),
    }
}

async fn list(limit: u32, before: Option<u64>, here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    let lines = Source::find(here).await?.audit(limit, before).await?;
    if screen.json {
        return screen.write_json(&lines);
    }
    if lines.is_empty() {
        return screen.write("nothing was recorded yet\n");
    }
    let row = |line: &AuditView| {
        let session = line.session.as_ref().map_or("-", |session| session.as_str());
        vec![
            line.seq.to_string(),
            local_time(line.at),
            line.kind.clone(),
            one_line(&line.actor, TARGET_CHARS),
            one_line(session, TARGET_CHARS),
            one_line(&line.target, TARGET_CHARS),
            one_line(&line.outcome, TARGET_CHARS),
        ]
    };
    let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
    screen.write(&table(&["NO", "AT", "WHAT", "WHO", "SESSION", "ABOUT", "OUTCOME"], &rows))
}

async fn verify(since: Option<&str>, here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    let verdict = Source::find(here).await?.verify_audit(since).await?.unwrap_or_default();
    let trouble = verdict.trouble.clone();
    if screen.json {
        screen.write_json(&verdict)?;
    } else {
        match &trouble {
            None => screen.write(&format!(
                "{}: {} entries\nhead  {}\n",
                screen.paint(Look::Green, "whole"),
                verdict.entries,
                verdict.head
            ))?,
            Some(trouble) => screen.write(&format!("{}: {trouble}\n", screen.paint(Look::Red, "not whole")))?,
        }
        screen.aside("keep the head elsewhere; `blufio audit verify --since HEAD` then also finds what was cut off");
    }
    if trouble.is_some() { Err(Failure::quiet(Failure::GENERAL)) } else { Ok(()) }
}
