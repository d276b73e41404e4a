//! The one place through which text leaves the process for eyes that may not see secrets: the log, panics, failures, metrics,
//! the status. What is known to be secret is learned here as soon as it is read.

use blufio_core::leak::Leaks;
use blufio_core::secret::Secret;
use std::any::Any;
use std::borrow::Cow;
use std::io::{self, Write};
use std::panic::{Location, PanicHookInfo};
use std::sync::LazyLock;

static LEAKS: LazyLock<Leaks> = LazyLock::new(Leaks::default);

/// The scanner of this process, to be handed to whatever else lets text in or out.
pub fn leaks() -> Leaks {
    LEAKS.clone()
}

/// From now on none of these values is shown.
pub fn learn<'n, 'v>(secrets: impl IntoIterator<Item = (&'n str, &'v Secret)>) {
    LEAKS.learn(secrets.into_iter().map(|(name, secret)| (name, secret.expose())));
}

/// Text without secrets.
pub fn text(text: &str) -> Cow<'_, str> {
    LEAKS.redact(text)
}

/// A value of JSON without secrets.
pub fn json(value: serde_json::Value) -> serde_json::Value {
    LEAKS.redact_json(value)
}

/// Standard error without secrets. Each write is taken for a whole, so give it whole lines.
#[derive(Clone, Copy, Debug)]
pub struct StandardError;

impl Write for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stderr().lock().write_all(text(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Panics are told without secrets from now on: in the log if there is one, else on standard error.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(tell));
}

fn tell(panic: &PanicHookInfo<'_>) {
    let words = words(panic.payload());
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), Location::to_string);
    if tracing::dispatcher::has_been_set() {
        tracing::error!(place, "panicked: {words}");
    } else if writeln!(StandardError, "panicked at {place}: {words}").is_err() {
        // Nobody is left to be told.
    }
}

fn words(payload: &(dyn Any + Send)) -> &str {
    let owned = payload.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("without words")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    const CANARY: &str = "canary-5f1d9c/+=";
    /// The same in base64.
    const CANARY_BASE64: &str = "Y2FuYXJ5LTVmMWQ5Yy8rPQ==";

    #[test]
    #[ignore = "another test runs it in a process of its own, since it panics and changes the panic hook"]
    fn panics_with_a_secret() {
        install_panic_hook();
        let secret = Secret::new(CANARY.to_owned());
        learn([("a.canary", &secret)]);
        panic!("it was {CANARY}, that is {CANARY_BASE64}, at /bot12345:short/getMe");
    }

    #[test]
    fn a_panic_does_not_tell_secrets() {
        let arguments = ["--exact", "redact::tests::panics_with_a_secret", "--ignored", "--nocapture"];
        let ran = std::process::Command::new(std::env::current_exe().unwrap()).args(arguments).output().unwrap();
        let told = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
        assert!(!ran.status.success());
        assert!(told.contains("panicked at crates/blufio/src/redact.rs"), "{told}");
        assert!(told.contains("it was [redacted:a.canary], that is [redacted:a.canary]"), "{told}");
        assert!(told.contains("/bot[redacted:telegram-bot-path]/getMe"), "{told}");
        assert!(!told.contains(CANARY) && !told.contains(&CANARY_BASE64[..20]), "{told}");
    }
}
