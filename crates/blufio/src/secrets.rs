//! Secrets from the environment, held in memory and shown nowhere.

use blufio_core::port::SecretStore;
use std::collections::BTreeMap;
use std::fmt;

/// The secrets that were in the environment at start.
#[derive(Clone, Default)]
pub struct EnvSecrets(BTreeMap<&'static str, String>);

impl EnvSecrets {
    /// Keeps one; blank ones are none.
    pub fn put(&mut self, name: &'static str, value: String) {
        let value = value.trim();
        if !value.is_empty() {
            self.0.insert(name, value.to_owned());
        }
    }
}

impl SecretStore for EnvSecrets {
    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }
}

impl fmt::Debug for EnvSecrets {
    /// The names only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let mut secrets = EnvSecrets::default();
        secrets.put("anthropic.api_key", " sk-canary ".to_owned());
        secrets.put("telegram.bot_token", "  ".to_owned());
        assert_eq!(secrets.get("anthropic.api_key").as_deref(), Some("sk-canary"));
        assert_eq!(secrets.get("telegram.bot_token"), None);
        assert!(!format!("{secrets:?}").contains("canary"));
    }
}
