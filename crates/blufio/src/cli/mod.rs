//! Stand-in until the command line lands.
use crate::config::Environment;
use crate::secrets::EnvSecrets;
use std::ffi::OsString;
use std::process::ExitCode;

/// The version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What the process starts with.
pub struct Context {
    /// Arguments, the program's name first.
    pub arguments: Vec<OsString>,
    /// The environment without secrets.
    pub environment: Environment,
    /// The secrets.
    pub secrets: EnvSecrets,
    /// The process could not be made close-mouthed.
    pub exposed: bool,
}

/// Runs a command.
pub fn run(context: Context) -> ExitCode {
    let overrides = crate::config::Overrides { config: None, data_dir: None };
    let loaded = match crate::config::load::load(&overrides, &context.environment) {
        Ok(loaded) => loaded,
        Err(errors) => { eprintln!("{errors}"); return ExitCode::from(78); }
    };
    match crate::serve::serve(&loaded, &context.secrets) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => { eprintln!("{failure:?}"); ExitCode::from(failure.code) }
    }
}
