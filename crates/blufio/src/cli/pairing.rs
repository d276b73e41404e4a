//! `blufio pairing`: who may speak to the agent. Decided by the running server, which acts on it at once; without one, in the
//! database, under the lock that a server would hold.

use super::arguments::Pairing;
use super::screen::{Look, Screen, local_time, one_line, table};
use super::source::{Source, of_store};
use crate::client::{CallError, Client, People, Person};
use crate::config::resolved::Config;
use crate::failure::Failure;
use crate::{lock, wire};
use blufio_core::port::Clock;
use blufio_core::record::PairingChange;
use blufio_runtime::clock::SystemClock;

/// Characters of a name that are shown.
const NAME_CHARS: usize = 40;

/// Carries it out.
pub fn run(command: &Pairing, config: &Config, screen: &Screen) -> Result<(), Failure> {
    let change = match command {
        Pairing::List => return crate::serve::runtime()?.block_on(list(config, screen)),
        // Whether there is an owner by configuration: the single entry of `allow_from` is one, and is listed there.
        Pairing::Approve { code, owner } => {
            PairingChange::Approve { code: code.clone(), owner: *owner, has_owner: !config.telegram.owners.is_empty() }
        }
        Pairing::Reject { code } => PairingChange::Reject { code: code.clone() },
        Pairing::Revoke { user } => PairingChange::Revoke { user: *user },
    };
    let person = crate::serve::runtime()?.block_on(decide(change, config))?;
    if screen.json {
        return screen.write_json(&person);
    }
    screen.write(&format!("{}\n", outcome(command, &person)))
}

async fn list(config: &Config, screen: &Screen) -> Result<(), Failure> {
    let people = Source::find(config).await?.people().await?;
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

async fn decide(change: PairingChange, config: &Config) -> Result<Person, Failure> {
    if let Some(client) = Client::find(&config.data_dir).await? {
        return client.decide(&change).await.map_err(missing);
    }
    let _lock = lock::take(&config.data_dir)?;
    let (store, clock) = (wire::store_owner(config)?, SystemClock::start());
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

fn outcome(command: &Pairing, person: &Person) -> String {
    let Person { channel, user, name, owner, .. } = person;
    let who = format!("{} ({channel} user {user})", one_line(name, NAME_CHARS));
    match command {
        Pairing::Approve { .. } if *owner => format!("{who} may speak to the agent now, as an owner"),
        Pairing::Approve { .. } => format!("{who} may speak to the agent now"),
        Pairing::Reject { .. } => format!("{who} was turned down"),
        Pairing::Revoke { .. } | Pairing::List => format!("{who} may not speak to the agent any more"),
    }
}
