//! `blufio vault`: secrets that are kept encrypted in the database. The running server carries out what is asked, over its
//! control socket; without one, this process does, under the lock that a server would hold.
//!
//! A secret is typed without echo or comes from a pipe. It is printed by `get --reveal` at a terminal and nowhere else.

use super::arguments::Vault as Command;
use super::hidden;
use super::screen::{Look, Screen, local_time, table};
use crate::client::Client;
use crate::config::resolved::Unlock;
use crate::failure::Failure;
use crate::keys::{self, Installation};
use crate::recovery;
use crate::rotation;
use crate::secrets::{self, EnvSecrets};
use crate::vault::{Depth, Imported, Kept, Use, Vault};
use crate::{lock, wire};
use blufio_core::secret::Secret;
use serde_json::json;
use std::time::Duration;

/// How long a server that was unlocked is waited for; a large database of an earlier version takes longer.
const UNLOCK_WAIT: Duration = Duration::from_secs(30);
/// How often it is looked at meanwhile.
const UNLOCK_LOOK: Duration = Duration::from_millis(50);
/// What is said after a change that a running server does not notice.
const RESTART: &str = "restart the server to use it";

/// Carries it out.
pub fn run(
    command: &Command,
    here: Installation<'_>,
    environment: &EnvSecrets,
    screen: &Screen,
) -> Result<(), Failure> {
    let runtime = crate::serve::runtime()?;
    match command {
        Command::Set { name, hosts, header } => {
            let by_agent = Use { hosts: hosts.clone(), header: header.clone() };
            runtime.block_on(set(name, &by_agent, here, screen))
        }
        Command::Get { name, reveal } => runtime.block_on(get(name, *reveal, here, screen)),
        Command::List => runtime.block_on(list(here, screen)),
        Command::Rm { name } => runtime.block_on(remove(name, here, screen)),
        Command::Rotate { root: true, .. } => runtime.block_on(rotate_root(here, screen)),
        Command::Rotate { deep, root: false } => {
            let depth = if *deep { Depth::Records } else { Depth::Wrap };
            runtime.block_on(rotate(depth, here, screen))
        }
        Command::Import => runtime.block_on(import(here, environment, screen)),
        Command::Recovery => runtime.block_on(make_recovery(here, screen)),
        Command::Unlock => runtime.block_on(unlock(here, screen)),
    }
}

/// Who carries it out.
pub enum Reach {
    /// The running server.
    Server(Client),
    /// This process, which holds the lock.
    Here(Box<Opened>),
}

/// A data folder that belongs to this process for the length of a command.
pub struct Opened {
    /// The vault in its database.
    pub vault: Vault,
    /// What opened it.
    pub keys: keys::Keys,
    _lock: lock::Lock,
}

impl Reach {
    /// Finds the server, or opens the data folder; at the very first time that makes it, and its key.
    pub async fn find(here: Installation<'_>) -> Result<Self, Failure> {
        if let Some(client) = Client::find(&here.config.data_dir).await? {
            return Ok(Self::Server(client));
        }
        let lock = lock::take(&here.config.data_dir)?;
        let keys = keys::obtain(here)?;
        let store = wire::store_owner(here.config, &keys.tree)?;
        let vault = Vault::new(store, &keys.tree);
        Ok(Self::Here(Box::new(Opened { vault, keys, _lock: lock })))
    }

    /// Ends it in good order.
    pub async fn end(self) -> Result<(), Failure> {
        match self {
            Self::Server(_) => Ok(()),
            Self::Here(opened) => opened.vault.close().await,
        }
    }

    /// Keeps a secret for Blufio itself.
    pub async fn set(&self, name: &str, value: &Secret) -> Result<Kept, Failure> {
        self.set_for(name, value, &Use::default()).await
    }

    /// Keeps a secret that the agent may use like this.
    async fn set_for(&self, name: &str, value: &Secret, by_agent: &Use) -> Result<Kept, Failure> {
        match self {
            Self::Server(client) => Ok(client.vault_set(name, value, by_agent).await?),
            Self::Here(opened) => Ok(opened.vault.put(name, value, by_agent).await?),
        }
    }

    /// Keeps what came from the environment and the vault does not have.
    pub async fn import(&self, environment: &EnvSecrets) -> Result<Imported, Failure> {
        let client = match self {
            Self::Server(client) => client,
            Self::Here(opened) => return Ok(opened.vault.import(environment).await?),
        };
        let known = self.names().await?;
        let (left, new): (Vec<_>, Vec<_>) =
            environment.all().partition(|(name, _)| known.iter().any(|known| known == name));
        let names = |secrets: &[(&str, &Secret)]| secrets.iter().map(|(name, _)| (*name).to_owned()).collect();
        for (name, value) in &new {
            client.vault_set(name, value, &Use::default()).await?;
        }
        Ok(Imported { imported: names(&new), left: names(&left) })
    }

    /// The names of what there is.
    pub async fn names(&self) -> Result<Vec<String>, Failure> {
        Ok(self.list().await?.into_iter().map(|kept| kept.name).collect())
    }

    async fn list(&self) -> Result<Vec<Kept>, Failure> {
        match self {
            Self::Server(client) => Ok(client.vault_list().await?),
            Self::Here(opened) => Ok(opened.vault.list().await?),
        }
    }

    /// Wraps the key once more, under a code.
    pub async fn recover_by(&self, code: &Secret, here: Installation<'_>) -> Result<(), Failure> {
        match self {
            Self::Server(client) => Ok(client.vault_recovery(code).await?),
            Self::Here(opened) => {
                opened.vault.noted_recovery().await?;
                recovery::keep(&here.config.data_dir, &opened.keys, code)
            }
        }
    }
}

async fn set(name: &str, by_agent: &Use, here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    secrets::check_name(name)?;
    if let Some(help) = secrets::help(name) {
        screen.aside(help);
    } else if by_agent.hosts.is_empty() {
        screen.aside(&format!(
            "Blufio itself reads no secret of this name; it reads {}. With --host, the agent may use it",
            secrets::names()
        ));
    }
    let Some(value) = hidden::ask(&format!("{name} (not shown): "), screen)? else {
        return Err(Failure::new("nothing was entered, so nothing was changed", Failure::USAGE));
    };
    let reach = Reach::find(here).await?;
    let kept = reach.set_for(name, &value, by_agent).await?;
    let running = matches!(reach, Reach::Server(_));
    reach.end().await?;
    // The agent's are looked up when they are used.
    let running = running && kept.hosts.is_empty();
    if screen.json {
        return screen.write_json(&json!({"kept": kept, "restart": running}));
    }
    if let Some(header) = &kept.header {
        let hosts = kept.hosts.join(", ");
        return screen.write(&format!(
            "{name} is in the vault: {}; the agent may send it to {hosts} as `{header}`, and does not see it\n",
            kept.shown
        ));
    }
    let next = if running { format!("; {RESTART}") } else { String::new() };
    screen.write(&format!("{name} is in the vault: {}{next}\n", kept.shown))
}

async fn get(name: &str, reveal: bool, here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    secrets::check_name(name)?;
    let reach = Reach::find(here).await?;
    if !reveal {
        let all = reach.list().await?;
        reach.end().await?;
        let Some(kept) = all.into_iter().find(|kept| kept.name == name) else { return Err(unknown(name)) };
        if screen.json {
            return screen.write_json(&kept);
        }
        screen.aside("`--reveal` shows all of it, at a terminal");
        return screen.write(&format!("{}\n", kept.shown));
    }
    if !screen.terminal_out || screen.json {
        return Err(Failure {
            hint: Some("pipes and files keep what they get; run it at a terminal".to_owned()),
            ..Failure::new("a secret is shown at a terminal only", Failure::USAGE)
        });
    }
    let value = match &reach {
        Reach::Server(client) => client.vault_reveal(name).await.map_err(Failure::from),
        Reach::Here(opened) => opened.vault.get(name).await.map_err(Failure::from),
    };
    reach.end().await?;
    screen.write(&format!("{}\n", value?.expose()))
}

async fn list(here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    let reach = Reach::find(here).await?;
    let all = reach.list().await?;
    reach.end().await?;
    if screen.json {
        return screen.write_json(&all);
    }
    if all.is_empty() {
        return screen.write("the vault is empty; `blufio vault set anthropic.api_key` puts a secret in\n");
    }
    let any = all.iter().any(|kept| !kept.hosts.is_empty());
    let row = |kept: &Kept| {
        let mut row = vec![kept.name.clone(), kept.shown.clone(), kept.version.to_string(), local_time(kept.created)];
        row.extend(any.then(|| kept.hosts.join(" ")));
        row
    };
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    let heads = ["NAME", "VALUE", "VERSION", "SINCE", "AGENT MAY SEND IT TO"];
    screen.write(&table(heads.get(..if any { 5 } else { 4 }).unwrap_or_default(), &rows))
}

async fn remove(name: &str, here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    secrets::check_name(name)?;
    let reach = Reach::find(here).await?;
    let removed = match &reach {
        Reach::Server(client) => client.vault_remove(name).await.map_err(Failure::from),
        Reach::Here(opened) => opened.vault.remove(name).await.map_err(Failure::from),
    };
    let running = matches!(reach, Reach::Server(_));
    reach.end().await?;
    removed?;
    if screen.json {
        return screen.write_json(&json!({"removed": name, "restart": running}));
    }
    let next = if running { "; the running server has it until it is restarted" } else { "" };
    screen.write(&format!("{name} is out of the vault{next}\n"))
}

async fn rotate(depth: Depth, here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    let reach = Reach::find(here).await?;
    let rotated = match &reach {
        Reach::Server(client) => client.vault_rotate(depth).await.map_err(Failure::from),
        Reach::Here(opened) => opened.vault.rotate(depth).await.map_err(Failure::from),
    };
    reach.end().await?;
    let count = rotated?;
    if screen.json {
        return screen.write_json(&json!({"deep": depth == Depth::Records, "secrets": count}));
    }
    match depth {
        Depth::Wrap => screen.write("the vault's key is wrapped anew\n"),
        Depth::Records => screen.write(&format!("the vault has a new key; {count} secrets are encrypted anew\n")),
    }
}

/// A new root key. The files are this process's alone meanwhile.
async fn rotate_root(here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    let data_dir = &here.config.data_dir;
    if !data_dir.join(keys::SLOTS).exists() {
        return Err(Failure {
            hint: Some("`blufio init` makes a key".to_owned()),
            ..Failure::new(format!("nothing in {} is locked", data_dir.display()), Failure::GENERAL)
        });
    }
    let _lock = lock::take(data_dir)?;
    let old = keys::obtain(here)?;
    let path = rotation::key_file(&old.source)?;
    let kept = rotation::kept_key(path, &old.root);
    let code = recovery::new_code()?;
    if !screen.json {
        screen.aside(&format!(
            "the new key goes into {}. The old one is kept as {}: other data folders that use it need it, and so do copies of \
             this one from before",
            path.display(),
            kept.display()
        ));
        show_code(&code, screen)?;
        typed_back(&code, screen)?;
        screen.aside("the database is copied under the new key; that may take a minute per gigabyte");
    }
    let done = rotation::rotate(here, &old, &code).await.map_err(|failure| {
        let next = "once that is mended, `blufio vault recovery` makes a code that counts";
        let hint = failure.hint.map_or_else(|| next.to_owned(), |hint| format!("{hint}; {next}"));
        Failure { hint: Some(hint), ..failure }
    })?;
    if screen.json {
        return screen.write_json(&json!({
            "root_key_file": done.path, "old_root_key_file": done.kept, "recovery_code": code.expose(),
            "secrets": done.secrets,
        }));
    }
    screen.write(&format!(
        "the new root key is in {}; it and the code above are the only ways in. The old one is in {}: delete it when no \
         other data folder uses it (--root-key-file names it) and no copy from before is needed\n",
        done.path.display(),
        done.kept.display()
    ))
}

/// What is in the environment of this command, and of the running server, goes into the vault. What the vault has stays.
async fn import(here: Installation<'_>, environment: &EnvSecrets, screen: &Screen) -> Result<(), Failure> {
    let reach = Reach::find(here).await?;
    let mut done = reach.import(environment).await?;
    if let Reach::Server(client) = &reach {
        let theirs = client.vault_import().await?;
        done.imported.extend(theirs.imported);
        done.left.extend(theirs.left);
        done.left.retain(|name| !done.imported.contains(name));
        done.left.sort();
        done.left.dedup();
    }
    reach.end().await?;
    if screen.json {
        return screen.write_json(&done);
    }
    if done.imported.is_empty() && done.left.is_empty() {
        return screen.write("there is no secret in the environment, so there is nothing to do\n");
    }
    let mut text = String::new();
    for name in &done.imported {
        text += &format!("{name} is in the vault\n");
    }
    for name in &done.left {
        text += &format!("{name} was in the vault already and stays as it is; `blufio vault set {name}` replaces it\n");
    }
    let names = done.imported.iter().chain(&done.left);
    let variables: Vec<&str> = names.filter_map(|name| secrets::variable(name)).collect();
    text += &format!("now remove {} from where the service is started, and restart it\n", variables.join(", "));
    screen.write(&text)
}

async fn make_recovery(here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    let reach = Reach::find(here).await?;
    let made = hand_out_code(&reach, here, screen).await;
    reach.end().await?;
    made
}

/// Shows a new recovery code once, has it typed back where somebody can type, and makes it count.
pub async fn hand_out_code(reach: &Reach, here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    let code = recovery::new_code()?;
    if screen.json {
        // Made to count before it is printed: a code that is noted and does nothing would be worse than none.
        reach.recover_by(&code, here).await?;
        return screen.write_json(&json!({"recovery_code": code.expose()}));
    }
    show_code(&code, screen)?;
    let typed = typed_back(&code, screen)?;
    reach.recover_by(&code, here).await?;
    if typed { screen.write("right; it counts from now on\n") } else { Ok(()) }
}

fn show_code(code: &Secret, screen: &Screen) -> Result<(), Failure> {
    screen.write(&format!(
        "{}\n\n    {}\n\n{}\n",
        screen.paint(Look::Bold, "Recovery code"),
        code.expose(),
        "It opens everything if the root key is lost. It is shown this once: write it down, and keep it away from this\n\
         machine. Earlier codes stop working."
    ))
}

/// Has a code typed back where somebody can type; says whether anybody could.
fn typed_back(code: &Secret, screen: &Screen) -> Result<bool, Failure> {
    if !screen.terminal_in {
        return Ok(false);
    }
    while let Some(typed) = hidden::ask("Type it once more, to be sure (not shown; nothing to give up): ", screen)? {
        if recovery::same(&typed, code) {
            return Ok(true);
        }
        screen.remark("that is another one\n");
    }
    Err(Failure::new("nothing was changed; earlier codes go on working", Failure::GENERAL))
}

/// The way in with the recovery code: to a server that waits for it, else the key's file is written again.
async fn unlock(here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    let code = || match hidden::ask("Recovery code (not shown): ", screen) {
        Ok(Some(code)) => Ok(code),
        Ok(None) => Err(Failure::new("nothing was entered", Failure::USAGE)),
        Err(failure) => Err(failure),
    };
    let config = here.config;
    if let Some(client) = Client::find(&config.data_dir).await? {
        if !client.is_locked().await? {
            return Err(Failure {
                hint: Some("there is nothing to do; to write a lost key file again, stop the server first".to_owned()),
                ..Failure::new("the running server is not locked", Failure::GENERAL)
            });
        }
        client.unlock(&recovery::root_key(&config.data_dir, &code()?)?).await?;
        return unlocked(&client, screen).await;
    }
    let _lock = lock::take(&config.data_dir)?;
    if config.unlock == Unlock::Socket && config.root_key_file.is_none() {
        return Err(Failure {
            hint: Some(
                "start `blufio serve` first; to have the key in a file nevertheless, name it with --root-key-file"
                    .to_owned(),
            ),
            ..Failure::new(
                "no server waits to be unlocked, and [security] unlock = \"socket\" keeps the key out of files",
                Failure::UNAVAILABLE,
            )
        });
    }
    rotation::settle(here)?;
    let path = recovery::restore(here, &code()?)?;
    if screen.json {
        return screen.write_json(&json!({"root_key_file": path}));
    }
    screen.write(&format!("the root key is in {} again; `blufio serve` can start\n", path.display()))
}

/// Waits until the server is up with what it was brought.
async fn unlocked(client: &Client, screen: &Screen) -> Result<(), Failure> {
    let up = async {
        // In between it has no socket for a moment.
        while !matches!(client.is_locked().await, Ok(false)) {
            tokio::time::sleep(UNLOCK_LOOK).await;
        }
    };
    if tokio::time::timeout(UNLOCK_WAIT, up).await.is_err() {
        return Err(Failure {
            hint: Some("its log says why".to_owned()),
            ..Failure::new("the code is right, and the server has not begun to work", Failure::UNAVAILABLE)
        });
    }
    if screen.json {
        return screen.write_json(&json!({"unlocked": true}));
    }
    screen.write("the server is unlocked, until it ends\n")
}

fn unknown(name: &str) -> Failure {
    Failure {
        hint: Some("`blufio vault list` shows what there is".to_owned()),
        ..Failure::new(format!("there is no `{name}` in the vault"), Failure::GENERAL)
    }
}
