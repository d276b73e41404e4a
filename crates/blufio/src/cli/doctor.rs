//! `blufio doctor`: looks for the facts and tells what [`crate::doctor`] makes of them. It changes nothing and makes no key.

use super::screen::{Look, Screen};
use super::source::Source;
use crate::client::Client;
use crate::doctor::{Check, Facts, Record, Service, State, Trouble, checks};
use crate::failure::Failure;
use crate::keys::{self, Installation, SLOTS};
use crate::redact;
use crate::secrets::EnvSecrets;
use crate::vault::Vault;
use crate::wire;
use serde_json::json;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Carries it out; the exit code is 1 if something must be done.
pub fn run(
    here: Installation<'_>,
    environment: &EnvSecrets,
    exposed: bool,
    loaded_from: Option<&Path>,
    screen: &Screen,
) -> Result<(), Failure> {
    let facts = crate::serve::runtime()?.block_on(look(here, environment, exposed, loaded_from))?;
    let all = checks(&facts);
    let to_do = all.iter().filter(|check| check.state == State::Act).count();
    if screen.json {
        screen.write_json(&redact::json(json!({"running": facts.running, "checks": all, "to_do": to_do})))?;
    } else {
        screen.write(&redact::text(&render(&all, to_do, screen)))?;
    }
    if to_do > 0 { Err(Failure::quiet(Failure::GENERAL)) } else { Ok(()) }
}

fn render(all: &[Check], to_do: usize, screen: &Screen) -> String {
    let width = all.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Check { name, state, says, fix } in all {
        let mark = match state {
            State::On => screen.paint(Look::Green, "on "),
            State::Off => screen.paint(Look::Dim, "off"),
            State::Act => screen.paint(Look::Red, "do "),
        };
        text += &format!("{mark}  {name:<width$}  {says}\n");
        if let Some(fix) = fix {
            text += &format!("{:width$}       {}\n", "", screen.paint(Look::Bold, &format!("→ {fix}")));
        }
    }
    text + &match to_do {
        0 => "\nnothing to do\n".to_owned(),
        1 => "\none thing to do\n".to_owned(),
        more => format!("\n{more} things to do\n"),
    }
}

async fn look(
    here: Installation<'_>,
    environment: &EnvSecrets,
    exposed: bool,
    loaded_from: Option<&Path>,
) -> Result<Facts, Failure> {
    let config = here.config;
    let client = Client::find(&config.data_dir).await?;
    let running = client.is_some();
    let mut trouble = None;
    let mut vault_trouble = None;
    let service = match client {
        Some(client) if client.is_locked().await? => {
            trouble =
                Some(Trouble { says: "the running server waits for it, and receives nothing".to_owned(), fix: None });
            Service { exposed, ..Service::default() }
        }
        Some(client) => client.security().await?,
        None => {
            let key = match keys::existing(here) {
                Ok(Some(keys)) => {
                    vault_trouble = vault(here, &keys).await.err().map(Trouble::from);
                    Some(keys.source.origin())
                }
                Ok(None) => None,
                Err(failure) => {
                    trouble = Some(Trouble::from(failure));
                    None
                }
            };
            let from_environment = environment.all().map(|(name, _)| name.to_owned()).collect();
            Service { key, from_environment, exposed, walled: None }
        }
    };
    let database = config.data_dir.join(keys::DATABASE);
    let encrypted = if keys::is_plain(&database)? { Some(false) } else { keys::is_locked(&database)?.then_some(true) };
    let record = if trouble.is_some() { Record::Locked } else { record(here).await };
    let machine = blufio_sandbox::report();
    Ok(Facts {
        running,
        service,
        key_trouble: trouble,
        vault_trouble,
        recovery: keys::slots(&config.data_dir).is_ok_and(|slots| slots.is_some_and(|slots| slots.has_recovery())),
        encrypted,
        open_files: open_files(here, loaded_from),
        landlock: machine.landlock_abi,
        seccomp: machine.seccomp,
        exec: config.tools.exec.enabled,
        exec_weak: config.tools.exec.allow_weak,
        web: config.tools.web_fetch || config.search.is_some(),
        private_places: config.allow_private.iter().map(|place| place.0.clone()).collect(),
        record,
    })
}

/// Whether every secret opens.
async fn vault(here: Installation<'_>, keys: &keys::Keys) -> Result<(), Failure> {
    if !here.config.data_dir.join(keys::DATABASE).exists() {
        return Ok(());
    }
    let store = wire::store_reader(here.config, Some(&keys.tree))?;
    Ok(Vault::new(store, &keys.tree).list().await.map(drop)?)
}

async fn record(here: Installation<'_>) -> Record {
    let verdict = match Source::find(here).await {
        Ok(source) => source.verify_audit(None).await,
        Err(failure) => Err(failure),
    };
    match verdict {
        Ok(None) => Record::None,
        Ok(Some(verdict)) => match verdict.trouble {
            Some(trouble) => Record::Broken(trouble),
            None if verdict.entries == 0 => Record::None,
            None => Record::Whole(verdict.entries),
        },
        Err(failure) => Record::Broken(told(&failure)),
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self { says: told(&failure), fix: failure.hint }
    }
}

fn told(failure: &Failure) -> String {
    match &failure.cause {
        Some(cause) => format!("{}: {cause}", failure.message),
        None => failure.message.clone(),
    }
}

/// What others may read (secret things) or change (the rest).
fn open_files(here: Installation<'_>, loaded_from: Option<&Path>) -> Vec<(String, String)> {
    let data_dir = &here.config.data_dir;
    let mut found = Vec::new();
    let mut look = |path: &Path, bits: u32, fix: &str| {
        if std::fs::metadata(path).is_ok_and(|metadata| metadata.mode() & bits != 0) {
            found.push((path.display().to_string(), format!("{fix} {}", path.display())));
        }
    };
    look(data_dir, 0o077, "chmod 700");
    for name in [keys::DATABASE, "blufio.db-wal", "blufio.db-shm", SLOTS, "blufio.sock"] {
        look(&data_dir.join(name), 0o077, "chmod 600");
    }
    if let Some(file) = loaded_from {
        look(file, 0o022, "chmod go-w");
    }
    found
}
