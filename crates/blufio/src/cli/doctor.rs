//! `blufio doctor`: looks for the facts and tells what [`crate::doctor`] makes of them. It changes nothing and makes no key.

use super::screen::{Look, Screen};
use super::source::Source;
use crate::client::{self, Client};
use crate::doctor::{Check, Facts, Record, Service, State, Trouble, checks};
use crate::failure::Failure;
use crate::keys::{self, Installation, SLOTS};
use crate::redact;
use crate::secrets::EnvSecrets;
use crate::vault::Vault;
use crate::wire;
use serde_json::json;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// In the mode of a folder: only the owner of a file may remove or replace it.
const STICKY: u32 = 0o1000;

/// Carries it out; the exit code is 1 if something must be done or could not be looked at.
pub fn run(
    here: Installation<'_>,
    environment: &EnvSecrets,
    exposed: bool,
    loaded_from: Option<&Path>,
    screen: &Screen,
) -> Result<(), Failure> {
    let facts = crate::serve::runtime()?.block_on(look(here, environment, exposed, loaded_from))?;
    let all = checks(&facts);
    let count = |state| all.iter().filter(|check| check.state == state).count();
    let (to_do, unknown) = (count(State::Act), count(State::Unknown));
    if screen.json {
        screen.write_json(&redact::json(json!({
            "running": facts.running, "checks": all, "to_do": to_do, "unknown": unknown,
        })))?;
    } else {
        screen.write(&redact::text(&render(&all, (to_do, unknown), screen)))?;
    }
    if to_do + unknown > 0 { Err(Failure::quiet(Failure::GENERAL)) } else { Ok(()) }
}

fn render(all: &[Check], (to_do, unknown): (usize, usize), screen: &Screen) -> String {
    let width = all.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Check { name, state, says, fix } in all {
        let mark = match state {
            State::On => screen.paint(Look::Green, "on "),
            State::Off => screen.paint(Look::Dim, "off"),
            State::Act => screen.paint(Look::Red, "do "),
            State::Unknown => screen.paint(Look::Red, "?  "),
        };
        text += &format!("{mark}  {name:<width$}  {says}\n");
        if let Some(fix) = fix {
            text += &format!("{:width$}       {}\n", "", screen.paint(Look::Bold, &format!("→ {fix}")));
        }
    }
    text += &match to_do {
        0 => "\nnothing to do".to_owned(),
        1 => "\none thing to do".to_owned(),
        more => format!("\n{more} things to do"),
    };
    if unknown > 0 { text + &format!(", {unknown} could not be looked at\n") } else { text + "\n" }
}

async fn look(
    here: Installation<'_>,
    environment: &EnvSecrets,
    exposed: bool,
    loaded_from: Option<&Path>,
) -> Result<Facts, Failure> {
    let config = here.config;
    let client = Client::find(&config.data_dir).await;
    let running = !matches!(client, Ok(None));
    let mut trouble = None;
    let mut vault_trouble = None;
    let service = match client {
        Err(failure) => Err(failure.into()),
        Ok(Some(client)) => match client.is_locked().await {
            Ok(true) => {
                let says = "the running server waits for it, and receives nothing".to_owned();
                trouble = Some(Trouble { says, fix: None });
                let says = "the running server is locked and tells nothing about itself".to_owned();
                Err(Trouble { says, fix: Some("`blufio vault unlock`, then look again".to_owned()) })
            }
            Ok(false) => client.security().await.map_err(|error| Failure::from(error).into()),
            Err(error) => Err(Failure::from(error).into()),
        },
        Ok(None) => {
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
            Ok(Service { key, from_environment, exposed, walled: None })
        }
    };
    let database = config.data_dir.join(keys::DATABASE);
    let encrypted = if keys::is_plain(&database)? { Some(false) } else { keys::is_locked(&database)?.then_some(true) };
    let record = match &service {
        _ if trouble.is_some() => Record::Locked,
        Err(silent) => Record::Unknown(silent.clone()),
        Ok(_) => record(here, encrypted).await,
    };
    let served = service.as_ref().ok().and_then(|service| service.key.as_ref()?.file.as_ref());
    let files = Files::look(here, served, loaded_from);
    let recovery = keys::slots(&config.data_dir).map(|slots| slots.is_some_and(|slots| slots.has_recovery()));
    let machine = blufio_sandbox::report();
    Ok(Facts {
        running,
        service,
        key_trouble: trouble,
        vault_trouble,
        recovery: recovery.map_err(Trouble::from),
        encrypted,
        open_files: files.open,
        unseen_files: files.unseen,
        key_file: files.key,
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

async fn record(here: Installation<'_>, encrypted: Option<bool>) -> Record {
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
        Err(failure) => {
            let mut trouble = Trouble::from(failure);
            let otherwise = if encrypted == Some(false) {
                "the next start of `blufio serve` brings the database up to date; look again then"
            } else {
                "look again; if it stays so, `blufio audit verify` says the same by itself"
            };
            trouble.fix.get_or_insert_with(|| otherwise.to_owned());
            Record::Unknown(trouble)
        }
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

/// What others may use.
#[derive(Default)]
struct Files {
    user: u32,
    open: Vec<(String, String)>,
    unseen: Vec<String>,
    key: bool,
}

impl Files {
    /// `served`: where the running server says that its key is.
    fn look(here: Installation<'_>, served: Option<&PathBuf>, loaded_from: Option<&Path>) -> Self {
        let data_dir = &here.config.data_dir;
        let mut files = Self { user: client::user(data_dir), ..Self::default() };
        files.see(data_dir, 0o077, "chmod 700");
        for name in [keys::DATABASE, "blufio.db-wal", "blufio.db-shm", SLOTS, "blufio.sock"] {
            files.see(&data_dir.join(name), 0o077, "chmod 600");
        }
        let keys: BTreeSet<&PathBuf> = here.sources.files().chain(served).collect();
        for file in keys {
            files.key |= files.see(file, 0o077, "chmod 600");
            files.folder_of(file);
        }
        if let Some(file) = loaded_from {
            files.see(file, 0o022, "chmod go-w");
            files.folder_of(file);
        }
        files
    }

    /// Who may write to the folder of a file can put another in its place, unless the folder is sticky.
    fn folder_of(&mut self, file: &Path) {
        if let Some(folder) = file.parent()
            && file.exists()
            && folder.metadata().map_or(true, |metadata| metadata.mode() & STICKY == 0)
        {
            self.see(folder, 0o022, "chmod go-w");
        }
    }

    /// Whether there is such a thing. It is to belong to this user or root, and its mode to have none of these bits.
    fn see(&mut self, path: &Path, bits: u32, fix: &str) -> bool {
        let name = path.display().to_string();
        let metadata = match path.metadata() {
            Ok(metadata) => metadata,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return false,
            Err(_) => {
                self.unseen.push(name);
                return false;
            }
        };
        let user = self.user;
        let fix = if metadata.uid() != user && metadata.uid() != 0 {
            format!("chown {user} {name}")
        } else if metadata.mode() & bits != 0 {
            format!("{fix} {name}")
        } else {
            return true;
        };
        // The key and the configuration are often in one folder.
        if !self.open.iter().any(|(open, _)| *open == name) {
            self.open.push((name, fix));
        }
        true
    }
}
