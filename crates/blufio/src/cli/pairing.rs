//! `blufio pairing`: who may speak to the agent. Decided by the running server, which acts on it at once; without one, in the
//! database, under the lock that a server would hold. Only the server can make links, since it knows which bot it is.

use super::arguments::Pairing;
use super::channel::unready;
use super::screen::{Look, Screen, local_time, one_line, table};
use super::source::{Source, of_store};
use crate::client::{CallError, Client, Decision, People, Person};
use crate::failure::Failure;
use crate::keys::{self, Installation};
use crate::{lock, wire};
use blufio_core::ids::ChannelName;
use blufio_core::port::Clock;
use blufio_core::record::PairingChange;
use blufio_runtime::clock::SystemClock;
use serde_json::json;

/// Characters of a name that are shown.
const NAME_CHARS: usize = 40;
/// How long a link is valid, as the store has it.
const LINK_MINUTES: u32 = 10;

/// Carries it out.
pub fn run(command: &Pairing, here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    let runtime = crate::serve::runtime()?;
    let decision = match command {
        Pairing::List => return runtime.block_on(list(here, screen)),
        Pairing::Link { channel } => return runtime.block_on(link(&ChannelName::new(channel), here, screen)),
        Pairing::Approve { code, owner } => Decision::Approve { code: code.clone(), owner: *owner },
        Pairing::Reject { code } => Decision::Reject { code: code.clone() },
        Pairing::Revoke { user } => Decision::Revoke { user: *user },
    };
    let person = runtime.block_on(decide(&decision, here))?;
    if screen.json {
        return screen.write_json(&person);
    }
    screen.write(&format!("{}\n", outcome(&decision, &person)))
}

async fn link(channel: &ChannelName, here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    let link = Client::new(&here.config.data_dir)?.link(channel).await.map_err(unready)?;
    if screen.json {
        return screen.write_json(&json!({"link": link, "valid_minutes": LINK_MINUTES}));
    }
    screen.write(&format!("{link}\nvalid for {LINK_MINUTES} minutes, once: whoever opens it first is let in\n"))
}

async fn list(here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    let people = Source::find(here).await?.people().await?;
    if screen.json {
        return screen.write_json(&people);
    }
    screen.write(&render(&people, screen))
}

fn render(people: &People, screen: &Screen) -> String {
    if people.paired.is_empty() && people.requests.is_empty() {
        return "nobody is paired, and nobody is waiting\n".to_owned();
    }
    let mut text = String::new();
    if !people.paired.is_empty() {
        let role = |owner| if owner { "owner" } else { "person" }.to_owned();
        let row = |person: &Person| {
            let Person { channel, user, name, owner, at, .. } = person;
            vec![user.to_string(), one_line(name, NAME_CHARS), role(*owner), channel.clone(), local_time(*at)]
        };
        let rows: Vec<Vec<String>> = people.paired.iter().map(row).collect();
        text += &screen.paint(Look::Bold, "Paired");
        text += &format!("\n{}", table(&["USER", "NAME", "ROLE", "CHANNEL", "SINCE"], &rows));
    }
    if !people.requests.is_empty() {
        let row = |request: &crate::client::Request| {
            let crate::client::Request { channel, user, name, code, expires, .. } = request;
            vec![code.clone(), user.to_string(), one_line(name, NAME_CHARS), channel.clone(), local_time(*expires)]
        };
        let rows: Vec<Vec<String>> = people.requests.iter().map(row).collect();
        text += if text.is_empty() { "" } else { "\n" };
        text += &screen.paint(Look::Bold, "Waiting");
        text += &format!("\n{}", table(&["CODE", "USER", "NAME", "CHANNEL", "UNTIL"], &rows));
    }
    text
}

async fn decide(decision: &Decision, here: Installation<'_>) -> Result<Person, Failure> {
    let config = here.config;
    if let Some(client) = Client::find(&config.data_dir).await? {
        return client.decide(decision).await.map_err(missing);
    }
    let change = match decision.clone() {
        // Whether there is an owner by configuration: the single entry of `allow_from` is one, and is listed there.
        Decision::Approve { code, owner } => {
            PairingChange::Approve { code, owner, has_owner: !config.telegram.owners.is_empty() }
        }
        Decision::Reject { code } => PairingChange::Reject { code },
        Decision::Revoke { user } => PairingChange::Revoke { user },
    };
    let _lock = lock::take(&config.data_dir)?;
    let keys = keys::obtain(here)?;
    let (store, clock) = (wire::store_owner(config, &keys.tree)?, SystemClock::start());
    let decided = store.pairing(change, clock.now()).await;
    store.close(clock.now()).await.map_err(of_store)?;
    decided.map(Person::from).map_err(|error| advise(of_store(error)))
}

fn missing(error: CallError) -> Failure {
    if matches!(error, CallError::Refused { status: 404, .. }) { advise(error.into()) } else { error.into() }
}

fn advise(failure: Failure) -> Failure {
    if failure.cause.is_some() || failure.hint.is_some() {
        return failure;
    }
    let hint = "`blufio pairing list` shows who is paired and who waits; a code is valid for one hour".to_owned();
    Failure { hint: Some(hint), ..failure }
}

fn outcome(decision: &Decision, person: &Person) -> String {
    let Person { channel, user, name, owner, .. } = person;
    let who = format!("{} ({channel} user {user})", one_line(name, NAME_CHARS));
    match decision {
        Decision::Approve { .. } if *owner => format!("{who} may speak to the agent now, as an owner"),
        Decision::Approve { .. } => format!("{who} may speak to the agent now"),
        Decision::Reject { .. } => format!("{who} was turned down"),
        Decision::Revoke { .. } => format!("{who} may not speak to the agent any more"),
    }
}
