//! Secrets that the agent may use without seeing them: looked up in the vault at each use, never kept, and each use written
//! into the audit log before the secret leaves.
//!
//! Who asks has judged the address. Here it is decided whether the secret is for its host.

use crate::secrets;
use crate::vault::{Vault, VaultError};
use blufio_core::audit::{AuditEntry, AuditKind};
use blufio_core::port::{Boxed, Credential, CredentialError, Credentials};
use serde_json::json;

/// Who uses it.
const ACTOR: &str = "agent";

/// Gives them out.
pub struct AgentSecrets {
    vault: Vault,
}

impl AgentSecrets {
    /// Those of this vault.
    pub const fn new(vault: Vault) -> Self {
        Self { vault }
    }

    async fn look_up(&self, name: &str, host: &str) -> Result<Credential, CredentialError> {
        let none = || CredentialError::NotForAgent(name.to_owned());
        // Those of Blufio itself are not the agent's, whatever stands in the vault.
        if secrets::help(name).is_some() {
            return Err(none());
        }
        let vault = self.vault.open().await.map_err(broken)?.1.ok_or_else(none)?;
        let row = vault.rows().find(|row| row.name == name).ok_or_else(none)?;
        let slot = row.slot().ok_or_else(none)?;
        let allowed = row.allowed_hosts.clone();
        if !allowed.iter().any(|allowed| allowed == host) {
            return Err(CredentialError::OtherHost { name: name.to_owned(), host: host.to_owned(), allowed });
        }
        let value = vault.get(name).map_err(|error| broken(error.into()))?.ok_or_else(none)?;
        Ok(Credential { name: name.to_owned(), version: row.version, slot, value })
    }

    async fn record(&self, name: &str, host: &str, outcome: &str) -> Result<(), CredentialError> {
        let entry = AuditEntry {
            kind: AuditKind::SecretUsed,
            actor: ACTOR.to_owned(),
            session: None,
            target: name.to_owned(),
            outcome: outcome.to_owned(),
            detail: json!({ "host": host }),
        };
        self.vault.note(entry).await.map_err(broken)
    }
}

impl Credentials for AgentSecrets {
    fn find<'a>(&'a self, name: &'a str, host: &'a str) -> Boxed<'a, Result<Credential, CredentialError>> {
        Box::pin(async move {
            let found = self.look_up(name, host).await;
            if matches!(found, Err(CredentialError::OtherHost { .. })) {
                tracing::warn!(name, host, "a secret was to be sent to a host that it is not for");
                self.record(name, host, "refused: not for this host").await?;
            }
            found
        })
    }

    fn used<'a>(&'a self, credential: &'a Credential, host: &'a str) -> Boxed<'a, Result<(), CredentialError>> {
        Box::pin(self.record(&credential.name, host, "sent"))
    }
}

/// The model reads that it is so, the operator why.
fn broken(error: VaultError) -> CredentialError {
    tracing::error!(%error, "a secret for the agent could not be looked up");
    CredentialError::Broken
}
