//! The vault at work: what is in the database, opened for the length of one call, and every change in one transaction with
//! its line in the audit log. What the agent gets of it is in [`crate::credentials`].
//!
//! The same calls serve the running server's routes and a command that finds no server. Nothing is kept open between calls:
//! the database has the truth, and adapters have what [`Vault::secrets`] read at the start.

use crate::failure::Failure;
use crate::keys::random;
use crate::redact;
use crate::secrets::EnvSecrets;
use blufio_core::audit::{AuditEntry, AuditKind};
use blufio_core::keys::KeyTree;
use blufio_core::port::{AnyStorage, Clock, StoreError};
use blufio_core::secret::Secret;
use blufio_core::time::Timestamp;
use blufio_core::vault::{OpenVault, SealedSecret, Slot, VaultChange, VaultError as Refused};
use blufio_runtime::clock::SystemClock;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Characters from which a secret is long enough that a few of them give nothing away.
const SHOWN_CHARS_MIN: usize = 20;
/// Characters that are shown of its begin, and of its end.
const SHOWN_CHARS: (usize, usize) = (3, 4);
/// Whoever changes the vault here is this user, at the control socket or with the lock.
const ACTOR: &str = "cli";
/// How often a change is tried over when somebody else changed the vault in between.
const TRIES_MAX: u32 = 5;

/// How thoroughly keys are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The vault's key is wrapped anew.
    Wrap,
    /// There is a new key, and every secret is encrypted with it.
    Records,
}

/// A secret as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// A few of its characters, and how many it has.
    pub shown: String,
    /// Grows with every change.
    pub version: u32,
    /// Since when.
    pub created: Timestamp,
    /// The hosts to which the agent may send it, without seeing it; none: it is for Blufio itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// The header in which it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
}

/// What the agent may do with a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// Where it may send it; none: nowhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// In which header, like `X-Api-Key` or `Authorization: token`; `None`: `Authorization: Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
}

/// Why it could not be done.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// What is stored, or what was asked.
    #[error(transparent)]
    Vault(#[from] Refused),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The agent may never use it.
    #[error("`{0}` is a secret of Blufio itself, which the agent cannot use")]
    Own(String),
    /// No random numbers.
    #[error("{0}")]
    Chance(String),
}

/// Whose fault a refusal of the vault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// What was asked for is not there.
    Absent,
    /// What was asked for cannot be.
    Request,
    /// What is stored is not what was stored, or not with this key.
    Stored,
}

/// Sorts the vault's refusals, for exit codes and for the status of HTTP.
pub const fn fault(error: &Refused) -> Fault {
    match error {
        Refused::NotFound(_) => Fault::Absent,
        Refused::BadName(_)
        | Refused::BadHost(_)
        | Refused::BadHeader(_)
        | Refused::BadValue
        | Refused::BadLength(_)
        | Refused::Full => Fault::Request,
        Refused::WrongKey
        | Refused::Truncated
        | Refused::HeaderAltered
        | Refused::Version(_)
        | Refused::Missing(_)
        | Refused::RolledBack(_)
        | Refused::HeaderRolledBack(_)
        | Refused::Swapped(_)
        | Refused::Unlisted(_)
        | Refused::TermsAltered(_)
        | Refused::Altered(_) => Fault::Stored,
    }
}

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Vault(error) => {
                let code = match fault(&error) {
                    Fault::Absent | Fault::Request => Self::GENERAL,
                    Fault::Stored => Self::PERMISSION,
                };
                Self { hint: Some(error.hint().to_owned()), ..Self::new(error.to_string(), code) }
            }
            VaultError::Store(error) => crate::cli::of_store(error),
            VaultError::Own(_) => {
                Self { hint: Some("leave --host out".to_owned()), ..Self::new(error.to_string(), Self::USAGE) }
            }
            VaultError::Chance(message) => Self::new(message, Self::INTERNAL),
        }
    }
}

/// What became of the secrets of an environment, by name.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Imported {
    /// Now in the vault.
    pub imported: Vec<String>,
    /// The vault had one of that name, and still has it.
    pub left: Vec<String>,
}

/// The vault of one database.
pub struct Vault {
    store: Arc<dyn AnyStorage>,
    kek: Zeroizing<[u8; 32]>,
    clock: SystemClock,
}

impl Vault {
    /// Reads nothing yet.
    pub fn new(store: Arc<dyn AnyStorage>, keys: &KeyTree) -> Self {
        Self { store, kek: keys.vault.clone(), clock: SystemClock::start() }
    }

    /// Every secret, by name.
    pub async fn secrets(&self) -> Result<BTreeMap<String, Secret>, VaultError> {
        let Some(vault) = self.open().await?.1 else { return Ok(BTreeMap::new()) };
        let secrets: BTreeMap<String, Secret> = vault.scan()?.into_iter().collect();
        redact::learn(secrets.iter().map(|(name, value)| (name.as_str(), value)));
        Ok(secrets)
    }

    /// What there is, by name.
    pub async fn list(&self) -> Result<Vec<Kept>, VaultError> {
        let Some(vault) = self.open().await?.1 else { return Ok(Vec::new()) };
        vault.rows().map(|row| kept(&vault, row)).collect()
    }

    /// A secret for the eyes of a person, which is recorded.
    pub async fn get(&self, name: &str) -> Result<Secret, VaultError> {
        let secret = match self.open().await?.1 {
            Some(vault) => vault.get(name)?,
            None => None,
        };
        let secret = secret.ok_or_else(|| Refused::NotFound(name.to_owned()))?;
        self.store.audit(vec![entry(AuditKind::SecretUsed, name, "shown")], self.clock.now()).await?;
        Ok(secret)
    }

    /// Puts a secret in, in the place of the one of that name.
    pub async fn put(&self, name: &str, value: &Secret, by_agent: &Use) -> Result<Kept, VaultError> {
        redact::learn([(name, value)]);
        let at = self.clock.now();
        if !by_agent.hosts.is_empty() && crate::secrets::help(name).is_some() {
            return Err(VaultError::Own(name.to_owned()));
        }
        let slot: Slot = by_agent.header.as_deref().map_or(Ok(Slot::default()), str::parse)?;
        let put = |vault: &mut OpenVault, random: &[u8; 32]| match by_agent.hosts.as_slice() {
            [] => vault.put(name, value, &[], at, random),
            hosts => vault.put_for_agent(name, value, (&slot, hosts), at, random),
        };
        let change = self.change(put, entry(AuditKind::VaultChanged, name, "put in")).await?;
        let row = change.put.first();
        let version = row.map_or(0, |row| row.version);
        let (hosts, header) = row.map(agents).unwrap_or_default();
        Ok(Kept { name: name.to_owned(), shown: shown(value), version, created: at, hosts, header })
    }

    /// Keeps what came from the environment and is not there yet. What is there may be newer, and stays.
    pub async fn import(&self, environment: &EnvSecrets) -> Result<Imported, VaultError> {
        let known: Vec<String> = self.list().await?.into_iter().map(|kept| kept.name).collect();
        let mut done = Imported::default();
        for (name, value) in environment.all() {
            if known.iter().any(|known| known == name) {
                done.left.push(name.to_owned());
            } else {
                self.put(name, value, &Use::default()).await?;
                done.imported.push(name.to_owned());
            }
        }
        Ok(done)
    }

    /// Takes a secret out.
    pub async fn remove(&self, name: &str) -> Result<(), VaultError> {
        let remove = |vault: &mut OpenVault, random: &[u8; 32]| vault.remove(name, random);
        self.change(remove, entry(AuditKind::VaultChanged, name, "taken out")).await.map(drop)
    }

    /// Changes the vault's key, or how it is wrapped; says how many secrets were encrypted anew.
    pub async fn rotate(&self, depth: Depth) -> Result<usize, VaultError> {
        let kek = self.kek.clone();
        let rotate = |vault: &mut OpenVault, random: &[u8; 32]| match depth {
            Depth::Wrap => Ok(vault.rewrap(&kek, random)),
            Depth::Records => vault.rotate(random),
        };
        let outcome = match depth {
            Depth::Wrap => "wrapped anew",
            Depth::Records => "new key, all encrypted anew",
        };
        Ok(self.change(rotate, entry(AuditKind::KeyRotated, "vault", outcome)).await?.put.len())
    }

    /// The vault under another root key, with a new key of its own: the header that is stored, and what takes its place.
    /// `None`: there is no vault. Nothing is stored.
    pub(crate) async fn rekeyed(&self, kek: &[u8; 32]) -> Result<Option<(Vec<u8>, VaultChange)>, VaultError> {
        let (Some(header), Some(mut vault)) = self.open().await? else { return Ok(None) };
        // The change after it has a header under the new key, too.
        drop(vault.rewrap(kek, &*chance()?));
        Ok(Some((header, vault.rotate(&*chance()?)?)))
    }

    /// Records that a new recovery code is made, before it counts: one that counts is printed, whatever happens then.
    pub async fn noted_recovery(&self) -> Result<(), VaultError> {
        let made = entry(AuditKind::KeyRotated, "recovery code", "made");
        Ok(self.store.audit(vec![made], self.clock.now()).await?)
    }

    /// Writes into the audit log.
    pub(crate) async fn note(&self, entry: AuditEntry) -> Result<(), VaultError> {
        Ok(self.store.audit(vec![entry], self.clock.now()).await?)
    }

    /// Closes the database, for commands that opened it.
    pub async fn close(&self) -> Result<(), Failure> {
        self.store.close(self.clock.now()).await.map_err(crate::cli::of_store)
    }

    /// The header that is stored, and the vault; neither if there was never a secret.
    pub(crate) async fn open(&self) -> Result<(Option<Vec<u8>>, Option<OpenVault>), VaultError> {
        let stored = self.store.vault().await?;
        let Some(header) = stored.header else {
            // Secrets without a header: it was taken away, and a new vault would make them lost for good.
            return if stored.rows.is_empty() { Ok((None, None)) } else { Err(Refused::Truncated.into()) };
        };
        let vault = OpenVault::open(&self.kek, &header, stored.rows)?;
        Ok((Some(header), Some(vault)))
    }

    /// Reads, changes and stores, and begins again if somebody was faster.
    async fn change(
        &self,
        change: impl Fn(&mut OpenVault, &[u8; 32]) -> Result<VaultChange, Refused>,
        audit: AuditEntry,
    ) -> Result<VaultChange, VaultError> {
        for _ in 1..TRIES_MAX {
            match self.change_once(&change, &audit).await {
                Err(VaultError::Store(StoreError::Stale(_))) => {}
                done => return done,
            }
        }
        self.change_once(&change, &audit).await
    }

    async fn change_once(
        &self,
        change: &impl Fn(&mut OpenVault, &[u8; 32]) -> Result<VaultChange, Refused>,
        audit: &AuditEntry,
    ) -> Result<VaultChange, VaultError> {
        let (header, vault) = self.open().await?;
        let mut vault = match vault {
            Some(vault) => vault,
            None => OpenVault::create(&self.kek, &*chance()?).0,
        };
        let change = change(&mut vault, &*chance()?)?;
        self.store.keep_vault(header, change.clone(), vec![audit.clone()], self.clock.now()).await?;
        Ok(change)
    }
}

fn chance() -> Result<Zeroizing<[u8; 32]>, VaultError> {
    random().map(Zeroizing::new).map_err(|Failure { message, cause, .. }| {
        VaultError::Chance(cause.map_or(message.clone(), |cause| format!("{message}: {cause}")))
    })
}

fn entry(kind: AuditKind, target: &str, outcome: &str) -> AuditEntry {
    AuditEntry {
        kind,
        actor: ACTOR.to_owned(),
        session: None,
        target: target.to_owned(),
        outcome: outcome.to_owned(),
        detail: json!({}),
    }
}

fn kept(vault: &OpenVault, row: &SealedSecret) -> Result<Kept, VaultError> {
    let secret = vault.get(&row.name)?;
    let shown = secret.as_ref().map(shown).unwrap_or_default();
    let (hosts, header) = agents(row);
    Ok(Kept { name: row.name.clone(), shown, version: row.version, created: row.created, hosts, header })
}

/// The hosts to which the agent may send it, and the header.
fn agents(row: &SealedSecret) -> (Vec<String>, Option<String>) {
    match row.slot() {
        Some(slot) => (row.allowed_hosts.clone(), Some(slot.to_string())),
        None => (Vec::new(), None),
    }
}

/// `sk-…4f2b (108)`; of a short one only its length.
pub fn shown(secret: &Secret) -> String {
    let text = secret.expose();
    let count = text.chars().count();
    if count < SHOWN_CHARS_MIN {
        return format!("… ({count})");
    }
    let begin: String = text.chars().take(SHOWN_CHARS.0).collect();
    let end: String = text.chars().skip(count - SHOWN_CHARS.1).collect();
    crate::config::diagnostic::printable(&format!("{begin}…{end} ({count})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_of_a_secret_is_shown() {
        let check = |text: &str, expect: &str| assert_eq!(shown(&Secret::new(text.to_owned())), expect);
        check("short", "… (5)");
        check(&"a".repeat(19), "… (19)");
        check("sk-ant-0123456789-4f2b", "sk-…4f2b (22)");
    }
}
