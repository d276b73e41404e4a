//! The log: to standard error, as text for people and JSON for machines. The types that hold a secret do not print it; what
//! others say and might hold one goes through [`redact`] on its last step.

use crate::config::resolved::{Config, LogFormat, LogLevel};
use crate::redact;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts logging; the second call does nothing.
pub fn start(config: &Config) {
    let level = match config.log_level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    // Libraries speak up at `warn`, so that `debug` shows our own work.
    let filter = EnvFilter::new(format!(
        "warn,blufio={level},blufio_core={level},blufio_store={level},blufio_adapters={level},blufio_runtime={level}"
    ));
    let terminal = std::io::stderr().is_terminal();
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| redact::StandardError).with_ansi(terminal);
    let json = match config.log_format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !terminal,
    };
    let started =
        if json { builder.json().flatten_event(true).try_init() } else { builder.with_target(false).try_init() };
    if let Err(error) = started {
        tracing::debug!(%error, "the log runs already");
    }
}
