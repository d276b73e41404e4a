//! Secrets in memory, shown nowhere: from the vault, and those that were in the environment at start. The vault wins.

use crate::failure::Failure;
use blufio_core::port::SecretStore;
use blufio_core::secret::Secret;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// Environment variables that hold secrets, with the names under which vault and program know them.
pub const SECRET_VARIABLES: [(&str, &str); 5] = [
    ("ANTHROPIC_API_KEY", "anthropic.api_key"),
    ("TELEGRAM_BOT_TOKEN", "telegram.bot_token"),
    ("TELEGRAM_WEBHOOK_SECRET", WEBHOOK_SECRET),
    ("TRANSCRIPTION_API_KEY", "transcription.api_key"),
    ("SEARCH_API_KEY", "search.api_key"),
];

/// Characters of a secret's name. More: refused.
const NAME_CHARS_MAX: usize = 64;

/// The name of the secret that Telegram sends along with updates.
const WEBHOOK_SECRET: &str = "telegram.webhook_secret";
/// Least characters of it; the Bot API would take one, which is guessed soon.
const WEBHOOK_SECRET_CHARS_MIN: usize = 32;
/// Most characters of it that the Bot API takes (`setWebhook`, `secret_token`).
const WEBHOOK_SECRET_CHARS_MAX: usize = 256;

/// The secrets that were in the environment at start.
#[derive(Clone, Default)]
pub struct EnvSecrets(BTreeMap<&'static str, Secret>);

impl EnvSecrets {
    /// Keeps one; blank ones are none.
    pub fn put(&mut self, name: &'static str, value: &str) {
        let value = value.trim();
        if !value.is_empty() {
            self.0.insert(name, Secret::new(value.to_owned()));
        }
    }

    /// All there are, by name.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Secret)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }
}

impl fmt::Debug for EnvSecrets {
    /// The names only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What the adapters read: the vault, as it was at start, and what it lacks from the environment.
pub struct Secrets {
    vault: BTreeMap<String, Secret>,
    environment: EnvSecrets,
    handed_out: Mutex<BTreeSet<String>>,
}

impl Secrets {
    /// Both together.
    pub const fn new(vault: BTreeMap<String, Secret>, environment: EnvSecrets) -> Self {
        Self { vault, environment, handed_out: Mutex::new(BTreeSet::new()) }
    }

    /// All that an adapter can get, by name.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Secret)> {
        let vault = self.vault.iter().map(|(name, value)| (name.as_str(), value));
        vault.chain(self.environment.all().filter(|(name, _)| !self.vault.contains_key(*name)))
    }

    /// Names of those that somebody has asked for and got.
    pub fn handed_out(&self) -> Vec<String> {
        self.handed_out.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Names of those that the environment has and the vault has not.
    pub fn only_in_environment(&self) -> Vec<&str> {
        self.environment.all().map(|(name, _)| name).filter(|name| !self.vault.contains_key(*name)).collect()
    }

    /// Names of those that both have, with different values; the environment's are not used.
    pub fn shadowed(&self) -> Vec<&str> {
        let other =
            |name: &str, value: &Secret| self.vault.get(name).is_some_and(|kept| kept.expose() != value.expose());
        self.environment.all().filter(|(name, value)| other(name, value)).map(|(name, _)| name).collect()
    }
}

impl SecretStore for Secrets {
    fn get(&self, name: &str) -> Option<Secret> {
        let secret = self.vault.get(name).or_else(|| self.environment.0.get(name)).cloned()?;
        self.handed_out.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        Some(secret)
    }
}

/// What a secret that Blufio reads is, and where one gets it.
pub fn help(name: &str) -> Option<&'static str> {
    Some(match name {
        "anthropic.api_key" => "The key of the model: an API key from the Anthropic console (begins with sk-ant-).",
        "telegram.bot_token" => "The bot's token, from @BotFather on Telegram (/newbot, or /mybots and API Token).",
        WEBHOOK_SECRET => {
            "For [telegram] mode = \"webhook\": 32 to 256 letters, digits, _ or -; `openssl rand -hex 32` makes one."
        }
        "transcription.api_key" => "The key of the service in [transcription] url, if it wants one.",
        "search.api_key" => "The key of the service in [search] url, if it wants one.",
        _ => return None,
    })
}

/// The names that Blufio reads.
pub fn names() -> String {
    SECRET_VARIABLES.map(|(_, name)| name).join(", ")
}

/// The environment variable that carries this secret.
pub fn variable(name: &str) -> Option<&'static str> {
    SECRET_VARIABLES.iter().find(|(_, known)| *known == name).map(|(variable, _)| *variable)
}

/// The form of a name: 1 to 64 of `a-z 0-9 . _ -`.
pub fn check_name(name: &str) -> Result<(), Failure> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(fits) {
        return Ok(());
    }
    Err(Failure {
        hint: Some(format!("the names that Blufio reads are {}", names())),
        ..Failure::new(format!("a secret's name has 1 to {NAME_CHARS_MAX} of a-z 0-9 . _ -"), Failure::USAGE)
    })
}

/// The secret that webhook mode needs: 32 to 256 of `A-Z a-z 0-9 _ -`. Without it, or with another form, the program must
/// not start, since anybody could send updates.
pub fn webhook_secret(secrets: &dyn SecretStore) -> Result<Secret, Failure> {
    let refused = |message: &str| {
        Failure {
        message: message.to_owned(),
        cause: None,
        hint: Some(
            "`openssl rand -hex 32 | blufio vault set telegram.webhook_secret` makes one; TELEGRAM_WEBHOOK_SECRET in the \
             environment does, too"
                .to_owned(),
        ),
        code: Failure::PERMISSION,
    }
    };
    let Some(secret) = secrets.get(WEBHOOK_SECRET) else {
        return Err(refused("there is no secret for the webhook of Telegram"));
    };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let length = WEBHOOK_SECRET_CHARS_MIN..=WEBHOOK_SECRET_CHARS_MAX;
    if !length.contains(&secret.expose().len()) || !secret.expose().bytes().all(fits) {
        return Err(refused("the secret for the webhook of Telegram must have 32 to 256 of A-Z a-z 0-9 _ -"));
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn vault(secrets: &[(&str, &str)]) -> BTreeMap<String, Secret> {
        secrets.iter().map(|(name, value)| ((*name).to_owned(), Secret::new((*value).to_owned()))).collect()
    }

    #[test]
    fn the_vault_wins_and_nothing_is_shown() {
        let mut environment = EnvSecrets::default();
        environment.put("anthropic.api_key", " sk-canary ");
        environment.put("telegram.bot_token", "  ");
        environment.put("search.api_key", "old-canary");
        assert!(!format!("{environment:?}").contains("canary"));
        let secrets = Secrets::new(vault(&[("search.api_key", "new"), ("mine", "x")]), environment);
        let get = |name| secrets.get(name).map(|secret| secret.expose().to_owned());
        assert_eq!(get("anthropic.api_key").as_deref(), Some("sk-canary"));
        assert_eq!((get("search.api_key").as_deref(), get("telegram.bot_token")), (Some("new"), None));
        assert_eq!(
            (secrets.only_in_environment(), secrets.shadowed()),
            (vec!["anthropic.api_key"], vec!["search.api_key"])
        );
        assert_eq!(secrets.all().count(), 3);
        assert_eq!(secrets.handed_out(), ["anthropic.api_key", "search.api_key"], "not what nobody asked for");
    }

    #[test]
    fn names_have_their_form() {
        for (_, name) in SECRET_VARIABLES {
            assert!(check_name(name).is_ok() && help(name).is_some() && variable(name).is_some());
        }
        for wrong in ["", "A", "a b", "ä", "a/b", &"a".repeat(65)] {
            assert_eq!(check_name(wrong).map_err(|failure| failure.code), Err(Failure::USAGE), "{wrong}");
        }
        assert!(check_name(&"a".repeat(64)).is_ok());
    }

    #[test]
    fn the_secret_of_the_webhook_has_its_form() {
        let check = |value: &str, accepted: bool| {
            let kept = if value.is_empty() { BTreeMap::new() } else { vault(&[("telegram.webhook_secret", value)]) };
            let read = webhook_secret(&Secrets::new(kept, EnvSecrets::default()));
            assert_eq!(read.as_ref().ok().map(Secret::expose), accepted.then_some(value), "{value}");
            let shown = format!("{:?}", read.err());
            assert!(value.is_empty() || !shown.contains(value), "the message shows the secret: {shown}");
        };
        check("", false);
        check(&"a".repeat(31), false);
        check(&"aZ9_-xyz".repeat(4), true);
        check(&"a".repeat(256), true);
        check(&"a".repeat(257), false);
        check(&format!("{}.", "a".repeat(32)), false);
        check(&format!("{} b", "a".repeat(32)), false);
        check(&"ä".repeat(32), false);
    }
}
