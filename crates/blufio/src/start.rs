//! What happens before there is a second thread: rights are given up, secrets leave the environment.

use crate::cli::Context;
use crate::config::Environment;
use crate::secrets::{EnvSecrets, SECRET_VARIABLES};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// Reads arguments and environment once, takes the secrets out of it, and makes the process close-mouthed: new files are
/// private, no core dump is written, and other processes of the same user cannot read its memory.
pub fn before_threads() -> Context {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    let no_core = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    #[cfg(target_os = "linux")]
    let hidden = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    #[cfg(not(target_os = "linux"))]
    let hidden: Result<(), rustix::io::Errno> = Ok(());
    let variables = variables();
    let secrets = take_secrets(&variables);
    install_failpoints(&variables);
    let home = variables.get("HOME").map(PathBuf::from);
    let vars =
        variables.into_iter().filter(|(name, _)| SECRET_VARIABLES.iter().all(|(secret, _)| secret != name)).collect();
    Context {
        arguments: arguments(),
        environment: Environment { vars, cwd: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")), home },
        secrets,
        exposed: no_core.is_err() || hidden.is_err(),
    }
}

fn arguments() -> Vec<OsString> {
    std::env::args_os().collect()
}

/// The environment as text; names or values that are not UTF-8 cannot be ours.
#[expect(clippy::disallowed_methods, reason = "the one home of reading the environment")]
fn variables() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Moves the secrets out of the environment, where child processes and crash reports would find them.
#[expect(unsafe_code, clippy::disallowed_methods, reason = "no other thread reads the environment yet")]
fn take_secrets(variables: &BTreeMap<String, String>) -> EnvSecrets {
    let mut secrets = EnvSecrets::default();
    for (variable, name) in SECRET_VARIABLES {
        if let Some(value) = variables.get(variable) {
            secrets.put(name, value.clone());
            // SAFETY: the process has a single thread that could read the environment, and it is this one.
            unsafe { std::env::remove_var(variable) };
        }
    }
    secrets
}

/// `BLUFIO_FAILPOINTS=area.before_effect=kill:3` kills the process at the third pass; only in builds made for the harness.
#[cfg(feature = "failpoints")]
fn install_failpoints(variables: &BTreeMap<String, String>) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};
    static ARMED: OnceLock<(String, AtomicU32)> = OnceLock::new();
    let Some(armed) = variables.get("BLUFIO_FAILPOINTS").and_then(|text| text.split_once("=kill")) else { return };
    let (name, count) = armed;
    let pass = count.strip_prefix(':').and_then(|count| count.parse().ok()).unwrap_or(1);
    ARMED.get_or_init(|| (name.to_owned(), AtomicU32::new(pass)));
    blufio_core::failpoint::install(|point| {
        let Some((name, left)) = ARMED.get() else { return };
        if point.name() == name && left.fetch_sub(1, Ordering::SeqCst) == 1 {
            let pid = rustix::process::getpid();
            if rustix::process::kill_process(pid, rustix::process::Signal::KILL).is_err() {
                std::process::abort();
            }
            // The signal arrives before this thread gets any further.
            loop {
                std::thread::park();
            }
        }
    });
}

#[cfg(not(feature = "failpoints"))]
fn install_failpoints(_variables: &BTreeMap<String, String>) {}
