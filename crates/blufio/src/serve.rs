//! The long-lived process, and the short-lived engine of a shell that finds no server.

use crate::config::Loaded;
use crate::config::resolved::{Config, Listen};
use crate::credentials::AgentSecrets;
use crate::doctor::Service;
use crate::failure::Failure;
use crate::gateway::{self, App, Safe};
use crate::keys::{self, Installation, Keys, Source};
use crate::secrets::{EnvSecrets, Secrets};
use crate::vault::Vault;
use crate::wire::{self, Channels};
use crate::{lock, logging, redact, start};
use blufio_core::audit::{AuditEntry, AuditKind};
use blufio_core::port::{Clock, Executor};
use blufio_runtime::Host;
use blufio_runtime::clock::SystemClock;
use serde_json::json;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How often the service manager's watchdog is told that all is well.
const WATCHDOG: Duration = Duration::from_secs(10);
/// Threads that run tasks; the disk has threads of its own.
const WORKERS: usize = 2;

/// Says where the root key is, and what that is good for.
fn tell(keys: &Keys) {
    let source = keys.source.words();
    if keys.made {
        tracing::info!(
            "a root key was made in {source}: it opens everything, and a copy of the data folder alone opens nothing; \
             `blufio vault recovery` makes a code for the day on which it is lost"
        );
    }
    if keys.source == Source::Variable {
        tracing::warn!(
            "the root key came from {source}: other programs of this user could see it; a file or a systemd credential \
             keeps it better"
        );
    }
}

/// The async runtime, built by hand so that nothing runs before [`crate::start::before_threads`] is done.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(4)
        .thread_stack_size(1024 * 1024)
        .enable_all()
        .build()
        .map_err(|error| Failure::internal("the async runtime could not be started", &error))
}

/// A runtime that starts no thread, to look around before the walls are up.
pub fn looking() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::internal("the async runtime could not be started", &error))
}

/// Runs until it is told to stop; `Ok` means that it ended in good order.
pub fn serve(loaded: &Loaded, here: Installation<'_>, secrets: &EnvSecrets, exposed: bool) -> Result<(), Failure> {
    let config = here.config;
    logging::start(config);
    if exposed {
        tracing::warn!("other processes of this user may be able to read this one's memory");
    }
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let _lock = lock::take(&config.data_dir)?;
    let keys = keys::obtain_unless_locked(here)?;
    if let Some(keys) = &keys {
        tell(keys);
    }
    let spawner = start::spawner(config)?;
    let listener = listen(config)?;
    let walled = start::confine(loaded)?;
    crate::give_memory_back();
    let runtime = runtime()?;
    let protected = Protected { exposed, walled };
    let ended = runtime.block_on(run(loaded, secrets, keys, protected, listener, spawner));
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

async fn run(
    loaded: &Loaded,
    secrets: &EnvSecrets,
    keys: Option<Keys>,
    protected: Protected,
    listener: Option<TcpListener>,
    spawner: Option<Arc<dyn Executor>>,
) -> Result<(), Failure> {
    let config = &loaded.config;
    let mut signals = Signals::new()?;
    let keys = match keys {
        Some(keys) => keys,
        None => match locked(config, listener.as_ref(), &mut signals).await? {
            Some(keys) => keys,
            None => return Ok(()),
        },
    };
    let (app, stop) = start(loaded, secrets, keys, protected, Channels::Configured, listener, spawner).await?;
    tracing::info!(version = crate::cli::VERSION, data_dir = %config.data_dir.display(), "ready to talk");
    notify(&[sd_notify::NotifyState::Ready]);
    blufio_sandbox::forget_start();
    let failed = tokio::select! {
        () = signals.next() => false,
        () = app.host.failed() => true,
        () = app.failed.cancelled() => true,
        () = watchdog(&app.host) => true,
    };
    tracing::info!("shutting down");
    notify(&[sd_notify::NotifyState::Stopping]);
    let closed = tokio::select! {
        closed = app.host.shutdown() => closed,
        // What is not finished is in the database; the next start takes it up.
        () = signals.next() => return Err(Failure::new("stopped at once by a second signal", Failure::SECOND_SIGNAL)),
    };
    stop.cancel();
    closed.map_err(|error| Failure::internal("the database could not be closed", &error))?;
    if failed {
        return Err(Failure::new("a part of Blufio could not be kept alive; the log says which", Failure::INTERNAL));
    }
    Ok(())
}

/// Waits for a person who brings the key; `None`: the process was told to end. The service manager has a service that is
/// started and well meanwhile: a restart would change nothing.
async fn locked(
    config: &Config,
    listener: Option<&TcpListener>,
    signals: &mut Signals,
) -> Result<Option<Keys>, Failure> {
    notify(&[sd_notify::NotifyState::Ready, sd_notify::NotifyState::Status("locked: waits for `blufio vault unlock`")]);
    let fed = async {
        loop {
            tokio::time::sleep(WATCHDOG).await;
            notify(&[sd_notify::NotifyState::Watchdog]);
        }
    };
    let keys = tokio::select! {
        keys = gateway::locked::wait(&config.data_dir, listener) => keys?,
        () = signals.next() => return Ok(None),
        () = fed => return Ok(None),
    };
    tracing::info!("unlocked");
    notify(&[sd_notify::NotifyState::Status("unlocked")]);
    Ok(Some(keys))
}

/// An engine inside this process, reached by the same socket as a server's.
pub struct Embedded {
    app: Arc<App>,
    stop: CancellationToken,
    _lock: lock::Lock,
}

impl Embedded {
    /// Ends it in good order.
    pub async fn shutdown(self) -> Result<(), Failure> {
        let closed = self.app.host.shutdown().await;
        self.stop.cancel();
        closed.map_err(|error| Failure::internal("the database could not be closed", &error))
    }
}

/// What an engine inside this process needs and only a process of one thread can do.
pub struct Prepared {
    lock: lock::Lock,
    keys: Keys,
    spawner: Option<Arc<dyn Executor>>,
    protected: Protected,
}

/// Takes the lock and the key, starts the helper process and puts the walls up, as for a server. Threads that are there
/// already would not be held.
pub fn prepare(loaded: &Loaded, here: Installation<'_>, exposed: bool) -> Result<Prepared, Failure> {
    let lock = lock::take(&here.config.data_dir)?;
    let keys = keys::obtain(here)?;
    let spawner = start::spawner(here.config)?;
    let walled = start::confine(loaded)?;
    crate::give_memory_back();
    Ok(Prepared { lock, keys, spawner, protected: Protected { exposed, walled } })
}

/// Starts an engine without channels for a shell that found no server.
pub async fn embedded(loaded: &Loaded, secrets: &EnvSecrets, prepared: Prepared) -> Result<Embedded, Failure> {
    let Prepared { lock, keys, spawner, protected } = prepared;
    let (app, stop) = start(loaded, secrets, keys, protected, Channels::None, None, spawner).await?;
    Ok(Embedded { app, stop, _lock: lock })
}

async fn start(
    loaded: &Loaded,
    environment: &EnvSecrets,
    keys: Keys,
    protected: Protected,
    channels: Channels,
    listener: Option<TcpListener>,
    spawner: Option<Arc<dyn Executor>>,
) -> Result<(Arc<App>, CancellationToken), Failure> {
    let config = &loaded.config;
    let database = wire::database(config, &keys.tree)?;
    let store = database.storage.clone();
    let vault = Vault::new(store.clone(), &keys.tree);
    let secrets = Secrets::new(vault.secrets().await?, environment.clone());
    redact::learn(secrets.all());
    advise(&secrets);
    let credentials = Arc::new(AgentSecrets::new(Vault::new(store.clone(), &keys.tree)));
    let wired = wire::wire(config, &secrets, credentials, database, channels, spawner)?;
    let metrics = gateway::metrics::install();
    let host = Host::start(wired.adapters, wired.settings)
        .await
        .map_err(|error| Failure::internal("the database could not be recovered", &error))?;
    let at = SystemClock::start().now();
    store.audit(begun(loaded, &keys, &secrets), at).await.map_err(crate::cli::of_store)?;
    let safe = Arc::new(Safe {
        vault,
        store,
        service: Service {
            key: Some(keys.source.origin()),
            from_environment: secrets.only_in_environment().into_iter().map(str::to_owned).collect(),
            exposed: protected.exposed,
            walled: Some(protected.walled),
        },
        keys,
        data_dir: config.data_dir.clone(),
        environment: environment.clone(),
    });
    let (webhook, commits) = (wired.webhook, wired.commits);
    let app = Arc::new(App { host, metrics, webhook, commits, safe, failed: CancellationToken::new() });
    let stop = CancellationToken::new();
    gateway::serve_socket(&app, &config.data_dir, &stop)?;
    if let Some(listener) = listener {
        gateway::serve_tcp(&app, listener, &stop)?;
    }
    Ok((app, stop))
}

/// What the process could do for its own protection.
#[derive(Clone, Copy, Debug)]
struct Protected {
    /// Others may read its memory.
    exposed: bool,
    /// It has confined itself.
    walled: bool,
}

/// Secrets in the environment work, and are better kept in the vault. Said once, by name.
fn advise(secrets: &Secrets) {
    let outside = secrets.only_in_environment();
    if !outside.is_empty() {
        tracing::info!(
            "{} came from the environment; `blufio vault import` keeps secrets encrypted",
            outside.join(", ")
        );
    }
    let shadowed = secrets.shadowed();
    if !shadowed.is_empty() {
        tracing::warn!("the environment's {} is not used: the vault has another", shadowed.join(", "));
    }
}

/// What the audit log says about a start: which configuration, which key, which secrets. No value of any of them.
fn begun(loaded: &Loaded, keys: &Keys, secrets: &Secrets) -> Vec<AuditEntry> {
    let entry = |kind, target: String, outcome: &str, detail| AuditEntry {
        kind,
        actor: "blufio".to_owned(),
        session: None,
        target,
        outcome: outcome.to_owned(),
        detail,
    };
    // The configuration holds no secret; its hash says whether it is another than at the last start.
    let hash = keys::fingerprint(crate::config::show::values(loaded).to_string().as_bytes());
    let names = secrets.handed_out();
    let given =
        (!names.is_empty()).then(|| entry(AuditKind::SecretUsed, names.join(" "), "given to adapters", json!({})));
    let begun = vec![
        entry(AuditKind::Started, format!("blufio {}", crate::cli::VERSION), "begun", json!({})),
        entry(AuditKind::ConfigLoaded, hash, "taken", json!({})),
        entry(AuditKind::Unlocked, keys.source.words(), if keys.made { "key made" } else { "opened" }, json!({})),
    ];
    begun.into_iter().chain(given).collect()
}

fn listen(config: &Config) -> Result<Option<TcpListener>, Failure> {
    let Listen::At(address) = config.gateway_listen else { return Ok(None) };
    let taken = |error: std::io::Error| Failure {
        message: format!("nothing can listen on {address}"),
        cause: Some(error.to_string()),
        hint: Some("choose another address with [gateway] listen, or \"off\"".to_owned()),
        code: Failure::UNAVAILABLE,
    };
    let listener = TcpListener::bind(address).map_err(taken)?;
    listener.set_nonblocking(true).map_err(taken)?;
    Ok(Some(listener))
}

/// SIGTERM and SIGINT end the process; SIGHUP and SIGPIPE do not.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let on = |kind| signal(kind).map_err(|error| Failure::internal("signals cannot be received", &error));
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hangup: on(SignalKind::hangup())?,
        })
    }

    /// Resolves with the next signal that asks to end.
    async fn next(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => tracing::info!("configuration is read at start only; restart to apply changes"),
            }
        }
    }
}

/// Tells the service manager every ten seconds that messages are taken and commits work; if they are not, it says nothing,
/// and the manager restarts the process. Resolves never.
async fn watchdog(host: &Host) {
    if sd_notify::watchdog_enabled().is_none() {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(WATCHDOG).await;
        // A channel that has trouble with the outside is no reason to restart; a loop that hangs or a dead writer is.
        match host.hangs() {
            None => notify(&[sd_notify::NotifyState::Watchdog]),
            Some(name) => tracing::error!(name, "the watchdog is not fed: this hangs"),
        }
    }
}

fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "no service manager listens");
    }
}
