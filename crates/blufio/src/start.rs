//! What happens before there is a second thread: rights are given up, secrets leave the environment.

use crate::cli::Context;
use crate::config::resolved::Config;
use crate::config::{Environment, Loaded};
use crate::failure::Failure;
use crate::keys::{self, DESCRIPTOR_VARIABLE, Inherited, KEY_VARIABLE};
use crate::secrets::{EnvSecrets, SECRET_VARIABLES};
use blufio_core::port::Executor;
use blufio_sandbox::{ServerPaths, Spawner, SpawnerOptions, Walls};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    let inherited = take_root_key(&variables);
    install_failpoints(&variables);
    let home = variables.get("HOME").map(PathBuf::from);
    let secret = |name: &str| name == KEY_VARIABLE || SECRET_VARIABLES.iter().any(|(secret, _)| *secret == name);
    let vars = variables.into_iter().filter(|(name, _)| !secret(name)).collect();
    Context {
        arguments: arguments(),
        environment: Environment { vars, cwd: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")), home },
        secrets,
        inherited,
        exposed: no_core.is_err() || hidden.is_err(),
    }
}

/// Whether this process is the helper that starts programs, and nothing else.
pub fn is_spawner() -> bool {
    std::env::args_os().nth(1).is_some_and(|argument| argument == blufio_sandbox::SPAWNER)
}

/// Starts the helper process if programs may be run at all. It is this binary once more, so it has none of what this process
/// has read by now; call it before there are threads and sockets, and before [`confine`].
pub fn spawner(config: &Config) -> Result<Option<Arc<dyn Executor>>, Failure> {
    if !config.tools.exec.enabled {
        return Ok(None);
    }
    make_workspace(config)?;
    let allow_weak = config.tools.exec.allow_weak;
    let report = blufio_sandbox::report();
    if report.landlock_abi.is_none() || !report.seccomp {
        if allow_weak && report.seccomp {
            tracing::warn!(
                "programs run weakly confined: the kernel has no Landlock, and [tools.exec] allow_weak is set"
            );
        } else {
            tracing::warn!("no program will be run: the kernel cannot confine it (it needs Landlock and seccomp)");
        }
    }
    let options =
        SpawnerOptions { executable: Path::new("/proc/self/exe"), workspace: &config.agent.workspace, allow_weak };
    let started = Spawner::start(options).map_err(|error| Failure {
        message: "the process that starts programs could not be started".to_owned(),
        cause: Some(error.to_string()),
        hint: Some("set [tools.exec] enabled = false to do without".to_owned()),
        code: Failure::GENERAL,
    })?;
    Ok(Some(Arc::new(started)))
}

/// Says whether the walls are up. Takes from this process, for the rest of its life, all files but its own, and the ability to start programs. Only threads
/// that start later are held, too.
pub fn confine(loaded: &Loaded) -> Result<bool, Failure> {
    let config = &loaded.config;
    make_workspace(config)?;
    let mut read = certificates();
    read.extend(loaded.located.file.as_ref().map(|file| file.path.clone()));
    read.extend(config.anthropic.models_file.clone());
    if config.tools.exec.enabled {
        // They are opened and read here, and executed elsewhere.
        read.extend(blufio_sandbox::PROGRAMS.iter().map(PathBuf::from));
    }
    let paths = ServerPaths { write: vec![config.data_dir.clone(), config.agent.workspace.clone()], read };
    match blufio_sandbox::confine_server(&paths) {
        Ok(Walls::Up { threads: 1 }) => {
            tracing::debug!("confined to its own files");
            Ok(true)
        }
        Ok(Walls::Up { threads }) => {
            tracing::warn!(threads, "confined to its own files, except for threads that were there before");
            Ok(false)
        }
        Ok(Walls::Missing) => {
            tracing::warn!("the kernel has no Landlock: nothing but file modes keeps this process to its own files");
            Ok(false)
        }
        Err(error) => Err(Failure::internal("the process could not confine itself", &error)),
    }
}

/// A rule can only be made for a folder that exists.
fn make_workspace(config: &Config) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt as _;
    let folder = &config.agent.workspace;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| Failure {
        message: format!("the workspace folder {} cannot be used", folder.display()),
        cause: Some(error.to_string()),
        hint: Some("choose another with [agents.main] workspace".to_owned()),
        code: Failure::PERMISSION,
    })
}

/// Where the operator says that certificates are, for the TLS library.
#[expect(clippy::disallowed_methods, reason = "the one home of reading the environment")]
fn certificates() -> Vec<PathBuf> {
    let named = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let folders = named("SSL_CERT_DIR").map(|list| std::env::split_paths(&list).collect::<Vec<_>>());
    named("SSL_CERT_FILE").map(PathBuf::from).into_iter().chain(folders.into_iter().flatten()).collect()
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
            secrets.put(name, value);
            // SAFETY: the process has a single thread that could read the environment, and it is this one.
            unsafe { std::env::remove_var(variable) };
        }
    }
    crate::redact::learn(secrets.all());
    secrets
}

/// Takes the root key that a parent process handed over, in a descriptor or as text. The descriptor is closed.
#[expect(unsafe_code, clippy::disallowed_methods, reason = "no other thread reads the environment or opens files yet")]
fn take_root_key(variables: &BTreeMap<String, String>) -> Inherited {
    let mut inherited = Inherited::default();
    if let Some(number) = variables.get(DESCRIPTOR_VARIABLE) {
        let number = number.trim().parse::<i32>().ok().filter(|number| *number > 2);
        inherited.descriptor = Some(match number {
            Some(number) if is_open(number) => {
                // SAFETY: it is open, and nothing in this process has opened or taken a file yet but the standard streams.
                let file = unsafe { <std::fs::File as std::os::fd::FromRawFd>::from_raw_fd(number) };
                keys::read_all(file).map_err(|error| error.to_string())
            }
            Some(_) => Err("no file of that number is open".to_owned()),
            None => Err("it must be the number of an open file, 3 or more".to_owned()),
        });
    }
    inherited.variable = variables.get(KEY_VARIABLE).cloned().map(zeroize::Zeroizing::new);
    for name in [KEY_VARIABLE, DESCRIPTOR_VARIABLE] {
        // SAFETY: the process has a single thread that could read the environment, and it is this one.
        unsafe { std::env::remove_var(name) };
    }
    inherited
}

/// Whether a descriptor of that number is open.
fn is_open(number: i32) -> bool {
    std::fs::symlink_metadata(format!("/dev/fd/{number}")).is_ok()
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
