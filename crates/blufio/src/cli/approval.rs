//! `blufio approval`: what the agent asks an owner, and what an owner has always allowed. Decided by the running server, which
//! goes on at once; without one, in the database, under the lock that a server would hold, and the next start goes on.
//!
//! Whoever can run this command on this machine's data is an owner.

use super::arguments::Approval;
use super::screen::{Look, Screen, duration, local_time, one_line, table};
use super::source::{Source, of_store};
use crate::client::{CallError, Client};
use crate::failure::Failure;
use crate::keys::{self, Installation};
use crate::{lock, wire};
use blufio_core::approval::{Verdict, escaped};
use blufio_core::ids::{ApprovalId, GrantId};
use blufio_core::port::Clock;
use blufio_core::record::{ApprovalView, Grant};
use blufio_runtime::clock::SystemClock;
use blufio_runtime::decision::{AT_TERMINAL, decision, is_decided};
use serde_json::json;

/// Symbols of an id that name a question, if they are the beginning of no other one's.
const BEGINNING_MIN: usize = 4;
/// Symbols of the name of all arguments that a question shows.
const HASH_SYMBOLS: usize = 16;
/// Characters of arguments in a list; `show` prints all of them.
const ARGUMENT_CHARS: usize = 60;
/// The same of what is always allowed, which is shown nowhere else. JSON has all of them.
const GRANT_CHARS: usize = 200;
/// Characters of names in a list.
const NAME_CHARS: usize = 40;

const OPEN: &str = "`blufio approval list` shows the questions that are open; each is for ten minutes";
const HOLDING: &str = "`blufio approval list --grants` shows what is always allowed";

/// Carries it out.
pub fn run(command: &Approval, here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    let runtime = crate::serve::runtime()?;
    runtime.block_on(async {
        match command {
            Approval::List { grants: false } => questions(here, screen).await,
            Approval::List { grants: true } => grants(here, screen).await,
            Approval::Show { id } => show(&find(id, here).await?, screen),
            Approval::Approve { id, always } => {
                answer(id, if *always { Verdict::Always } else { Verdict::Allow }, here, screen).await
            }
            Approval::Deny { id } => answer(id, Verdict::Deny, here, screen).await,
            Approval::Revoke { grant } => revoke(GrantId(*grant), here, screen).await,
        }
    })
}

async fn questions(here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    let open = Source::find(here).await?.approvals().await?;
    if screen.json {
        return screen.write_json(&open);
    }
    if open.is_empty() {
        return screen.write("no question is open\n");
    }
    let row = |open: &ApprovalView| {
        vec![
            open.id.to_string(),
            one_line(open.tool.as_str(), NAME_CHARS),
            one_line(&escaped(&open.input), ARGUMENT_CHARS),
            one_line(&open.asked_by, NAME_CHARS),
            one_line(open.session.as_str(), NAME_CHARS),
            local_time(open.expires),
        ]
    };
    let rows: Vec<Vec<String>> = open.iter().map(row).collect();
    screen.write(&table(&["ID", "TOOL", "ARGUMENTS", "FOR", "SESSION", "UNTIL"], &rows))?;
    screen.aside("`blufio approval show ID` shows all arguments");
    Ok(())
}

async fn grants(here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    let grants = Source::find(here).await?.grants().await?;
    if screen.json {
        return screen.write_json(&grants);
    }
    if grants.is_empty() {
        return screen.write("nothing is always allowed\n");
    }
    let row = |grant: &Grant| {
        vec![
            grant.id.to_string(),
            one_line(grant.tool.as_str(), NAME_CHARS),
            one_line(&escaped(&compact(&grant.arguments)), GRANT_CHARS),
            one_line(&grant.made_by, NAME_CHARS),
            local_time(grant.made_at),
            grant.uses.to_string(),
            grant.used_at.map_or_else(|| "-".to_owned(), local_time),
        ]
    };
    let rows: Vec<Vec<String>> = grants.iter().map(row).collect();
    screen.write(&table(&["GRANT", "TOOL", "ARGUMENTS", "BY", "SINCE", "USES", "LAST"], &rows))
}

/// The open question whose id begins so.
async fn find(id: &str, here: Installation<'_>) -> Result<ApprovalView, Failure> {
    let wanted = id.trim().to_ascii_uppercase();
    if wanted.chars().count() < BEGINNING_MIN {
        let message = format!("`{}` is too short for an id", escaped(id));
        let hint = Some(format!("write the first {BEGINNING_MIN} symbols at least"));
        return Err(Failure { hint, ..Failure::new(message, Failure::USAGE) });
    }
    let open = Source::find(here).await?.approvals().await?;
    let mut found = open.into_iter().filter(|open| open.id.as_str().starts_with(&wanted));
    match (found.next(), found.next()) {
        (Some(question), None) => Ok(question),
        (None, _) => Err(advise(Failure::new(format!("no open question `{}`", escaped(id)), Failure::GENERAL), OPEN)),
        (Some(_), Some(_)) => {
            let message = format!("more than one open question begins with `{}`", escaped(id));
            Err(advise(Failure::new(message, Failure::GENERAL), "write more of its id"))
        }
    }
}

fn show(question: &ApprovalView, screen: &Screen) -> Result<(), Failure> {
    if screen.json {
        return screen.write_json(question);
    }
    let ApprovalView { id, session, tool, input, asked_by, asked, hash, grantable, expires } = question;
    let left = u64::try_from(expires.0.saturating_sub(SystemClock::start().now().0)).unwrap_or(0);
    let hash: String = hash.chars().take(HASH_SYMBOLS).collect();
    let lines = [
        ("question", id.to_string()),
        ("tool", escaped(tool.as_str())),
        ("for", escaped(asked_by)),
        ("session", escaped(session.as_str())),
        ("asked", local_time(*asked)),
        ("open", format!("until {}, {} more", local_time(*expires), duration(left))),
        ("always", if *grantable { "can be said" } else { "cannot be said" }.to_owned()),
        ("arguments", hash),
    ];
    let lines: String = lines
        .iter()
        .map(|(name, value)| format!("{}  {value}\n", screen.paint(Look::Bold, &format!("{name:9}"))))
        .collect();
    screen.write(&format!("{lines}\n{}\n", escaped(&pretty(input))))
}

async fn answer(id: &str, verdict: Verdict, here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    let question = find(id, here).await?;
    if verdict == Verdict::Always && !question.grantable {
        let failure = Failure::new("this question cannot be answered with always", Failure::GENERAL);
        return Err(advise(failure, "approve it without `--always`, this once"));
    }
    decide(&question.id, verdict, here).await?;
    if screen.json {
        return screen.write_json(&json!({"id": question.id, "verdict": verdict}));
    }
    let what = format!("`{}` in {}", one_line(question.tool.as_str(), NAME_CHARS), escaped(question.session.as_str()));
    screen.write(&match verdict {
        Verdict::Allow => format!("allowed: {what}, this once\n"),
        Verdict::Always => format!("allowed: {what}, and always exactly this\n"),
        Verdict::Deny => format!("denied: {what}\n"),
    })
}

async fn decide(id: &ApprovalId, verdict: Verdict, here: Installation<'_>) -> Result<(), Failure> {
    let config = here.config;
    if let Some(client) = Client::find(&config.data_dir).await? {
        return client.answer(id, verdict).await.map_err(|error| missing(error, OPEN));
    }
    let _lock = lock::take(&config.data_dir)?;
    let keys = keys::obtain(here)?;
    let (store, clock) = (wire::store_owner(config, &keys.tree)?, SystemClock::start());
    let accepted = store.accept(decision(id.clone(), verdict, clock.now())).await;
    store.close(clock.now()).await.map_err(of_store)?;
    if is_decided(&accepted.map_err(of_store)?) {
        return Ok(());
    }
    Err(advise(Failure::new("that question is not open", Failure::GENERAL), OPEN))
}

async fn revoke(grant: GrantId, here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    let config = here.config;
    let unknown = || {
        let message = format!("nothing is always allowed under number {grant}");
        advise(Failure::new(message, Failure::GENERAL), HOLDING)
    };
    if let Some(client) = Client::find(&config.data_dir).await? {
        client.revoke(grant).await.map_err(|error| missing(error, HOLDING))?;
    } else {
        // Where there is no database yet, none is made.
        if Source::find(here).await?.grants().await?.iter().all(|there| there.id != grant) {
            return Err(unknown());
        }
        let _lock = lock::take(&config.data_dir)?;
        let keys = keys::obtain(here)?;
        let (store, clock) = (wire::store_owner(config, &keys.tree)?, SystemClock::start());
        let revoked = store.revoke(grant, AT_TERMINAL.to_owned(), clock.now()).await;
        store.close(clock.now()).await.map_err(of_store)?;
        if !revoked.map_err(of_store)? {
            return Err(unknown());
        }
    }
    if screen.json {
        return screen.write_json(&json!({ "revoked": grant }));
    }
    screen.write(&format!("grant {grant} is taken back: it is asked about again\n"))
}

fn missing(error: CallError, hint: &str) -> Failure {
    let unknown = matches!(error, CallError::Refused { status: 404, .. });
    let failure = Failure::from(error);
    if unknown { advise(failure, hint) } else { failure }
}

fn advise(failure: Failure, hint: &str) -> Failure {
    Failure { hint: Some(hint.to_owned()), ..failure }
}

/// The same value over several lines.
fn pretty(input: &str) -> String {
    let value: Option<serde_json::Value> = serde_json::from_str(input).ok();
    value.and_then(|value| serde_json::to_string_pretty(&value).ok()).unwrap_or_else(|| input.to_owned())
}

/// The same value in one line.
fn compact(input: &str) -> String {
    let value: Option<serde_json::Value> = serde_json::from_str(input).ok();
    value.map_or_else(|| input.to_owned(), |value| value.to_string())
}
