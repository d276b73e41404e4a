//! The command line: reads it, does what it says, and turns whatever goes wrong into words and an exit code.
//!
//! A command that only looks asks the running server over its control socket, and the database itself if none runs.

mod approval;
mod arguments;
mod audit;
mod channel;
mod configuration;
mod context;
mod cost;
mod cron;
mod doctor;
mod hidden;
mod init;
mod input;
mod kill;
mod model;
mod pairing;
mod screen;
mod sessions;
mod shell;
mod source;
mod status;
mod vault;

use crate::config::diagnostic::ConfigErrors;
use crate::config::load::load;
use crate::config::{Environment, Overrides};
use crate::failure::{Failure, Manner};
use crate::keys::{Inherited, Installation, KeySources};
use crate::secrets::EnvSecrets;
use arguments::{Arguments, Command, Context as ContextCommand};
use clap::Parser;
use screen::Screen;
pub use source::of_store;
use std::ffi::OsString;

/// The version, without commit and kind of build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What the process starts with.
pub struct Context {
    /// Arguments, the program's name first.
    pub arguments: Vec<OsString>,
    /// The environment without secrets.
    pub environment: Environment,
    /// The secrets.
    pub secrets: EnvSecrets,
    /// A root key that the parent process handed over.
    pub inherited: Inherited,
    /// The process could not be made close-mouthed.
    pub exposed: bool,
}

/// Carries out the command line; what comes back is the process's exit code.
pub fn run(context: Context) -> u8 {
    let arguments = match Arguments::try_parse_from(&context.arguments) {
        Ok(arguments) => arguments,
        Err(error) => return explain(&error, &context.arguments),
    };
    let screen = Screen::new(&arguments.global, &context.environment);
    match carry_out(&arguments, &context, &screen) {
        Ok(()) => 0,
        Err(failure) => {
            failure.report(screen.manner());
            failure.code
        }
    }
}

fn carry_out(arguments: &Arguments, context: &Context, screen: &Screen) -> Result<(), Failure> {
    let overrides = Overrides {
        config: arguments.global.config.clone(),
        data_dir: arguments.global.data_dir.clone(),
        root_key_file: arguments.global.root_key_file.clone(),
    };
    if let Command::Config(command) = &arguments.command {
        return configuration::run(command, &overrides, &context.environment, screen);
    }
    let loaded = load(&overrides, &context.environment).map_err(|errors| refused(&errors))?;
    let sources = KeySources::new(&loaded.config, &context.environment, &context.inherited);
    let here = Installation { config: &loaded.config, sources: &sources };
    match &arguments.command {
        Command::Config(_) => Ok(()),
        Command::Serve => crate::serve::serve(&loaded, here, &context.secrets, context.exposed),
        Command::Shell(command) => shell::run(command, &loaded, here, &context.secrets, context.exposed, screen),
        Command::Status => status::run(here, screen),
        Command::Session(command) => sessions::run(command, here, screen),
        Command::Pairing(command) => pairing::run(command, here, screen),
        Command::Approval(command) => approval::run(command, here, screen),
        Command::Channel(command) => channel::run(command, here, screen),
        Command::Init { yes } => init::run(*yes, here, &context.secrets, screen),
        Command::Context(ContextCommand::Show { session }) => context::show(session, here, screen),
        Command::Cost(command) => cost::run(command, here, screen),
        Command::Cron(command) => cron::run(command, here, screen),
        Command::Model(command) => model::run(command, here, screen),
        Command::Kill => kill::run(true, here, screen),
        Command::Resume => kill::run(false, here, screen),
        Command::Vault(command) => vault::run(command, here, &context.secrets, screen),
        Command::Audit(command) => audit::run(command, here, screen),
        Command::Doctor { .. } => {
            let file = loaded.located.file.as_ref().map(|file| file.path.as_path());
            doctor::run(here, &context.secrets, context.exposed, file, screen)
        }
    }
}

/// A configuration that cannot be used. The diagnostics begin with the word that every failure begins with.
fn refused(errors: &ConfigErrors) -> Failure {
    let text = errors.to_string();
    Failure::new(text.strip_prefix("error: ").unwrap_or(&text), Failure::CONFIG)
}

/// Help and the version are results; everything else that clap says is a wrong command line.
fn explain(error: &clap::Error, arguments: &[OsString]) -> u8 {
    let json = error.use_stderr() && arguments.iter().any(|argument| argument == "--json");
    if json {
        let text = error.to_string();
        let message = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
        Failure::new(message, Failure::USAGE).report(Manner::Json);
    } else if let std::borrow::Cow::Owned(text) = crate::redact::text(&error.to_string()) {
        // What was typed wrongly is repeated, and it was a secret.
        Failure::new(text.strip_prefix("error: ").unwrap_or(&text).trim_end(), Failure::USAGE).report(Manner::Plain);
    } else if error.print().is_err() {
        return Failure::BROKEN_PIPE;
    }
    if error.use_stderr() { Failure::USAGE } else { 0 }
}
