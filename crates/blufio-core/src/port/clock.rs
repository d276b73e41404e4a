//! Time, chance and secrets: the outside facts that the rest asks for in one place.

use super::Boxed;
use crate::secret::Secret;
use crate::time::Timestamp;
use std::time::Duration;

/// The only clock.
pub trait Clock: Send + Sync + 'static {
    /// Wall time.
    fn now(&self) -> Timestamp;
    /// Time since some fixed point of this process; never runs backwards.
    fn monotonic(&self) -> Duration;
    /// Waits.
    fn sleep(&self, duration: Duration) -> Boxed<'static, ()>;
}

/// The only source of chance.
pub trait Rng: Send + Sync + 'static {
    /// 64 random bits, fit for codes that nobody may guess.
    fn bits(&self) -> u64;
}

/// Where keys are kept.
pub trait SecretStore: Send + Sync + 'static {
    /// The secret of that name (`anthropic.api_key`, `telegram.bot_token`), if there is one.
    fn get(&self, name: &str) -> Option<Secret>;
}
