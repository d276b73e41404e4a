//! The HTTP interface, on two doors: the control socket (private to this user) and the TCP address (the health words, and
//! the webhook for those who know its secret). Which route is behind which door is data: [`routes::ROUTES`].

mod approvals;
mod channels;
pub mod locked;
pub mod metrics;
mod routes;
mod schedules;
mod socket;
mod spending;
mod vault;
mod webhook;

use crate::doctor::Service;
use crate::failure::Failure;
use crate::keys::Keys;
use crate::secrets::EnvSecrets;
use crate::vault::Vault;
use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use blufio_core::port::{AnyStorage, Webhook};
use blufio_runtime::Host;
use futures_util::FutureExt;
use metrics_exporter_prometheus::PrometheusHandle;
use routes::{Credential, Door, ROUTES};
use std::net::TcpListener;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Bytes of a request's body. Over: 413.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// What handlers work with.
pub struct App {
    /// The runtime.
    pub host: Host,
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
    /// Takes the updates that a server brings, if one does.
    pub webhook: Option<Arc<dyn Webhook>>,
    /// Transactions committed so far.
    pub commits: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Keys and secrets, and the way to change them.
    pub safe: Arc<Safe>,
    /// Rung when a listener ends before it is told to; the process then ends too.
    pub failed: CancellationToken,
}

/// What only this user may look at, through the control socket.
pub struct Safe {
    /// The vault.
    pub vault: Vault,
    /// The database.
    pub store: Arc<dyn AnyStorage>,
    /// The root key, for another recovery code.
    pub keys: Keys,
    /// The data folder.
    pub data_dir: PathBuf,
    /// The secrets that were in the environment.
    pub environment: EnvSecrets,
    /// What protects this process.
    pub service: Service,
}

/// Opens the control socket `<data_dir>/blufio.sock`, readable by this user alone.
pub fn serve_socket(app: &Arc<App>, data_dir: &Path, stop: &CancellationToken) -> Result<(), Failure> {
    let server = axum::serve(private(data_dir)?, router(app, Door::Socket));
    run(app, stop, server.with_graceful_shutdown(stop.clone().cancelled_owned()));
    Ok(())
}

fn private(data_dir: &Path) -> Result<socket::Private, Failure> {
    let path = data_dir.join("blufio.sock");
    socket::Private::bind(&path).map_err(|error| Failure {
        message: format!("the control socket {} cannot be opened", path.display()),
        cause: Some(error.to_string()),
        hint: Some("choose a data folder with a shorter path (a socket's path has at most 107 bytes)".to_owned()),
        code: Failure::UNAVAILABLE,
    })
}

/// Opens the TCP address.
pub fn serve_tcp(app: &Arc<App>, listener: TcpListener, stop: &CancellationToken) -> Result<(), Failure> {
    let address = listener.local_addr();
    let listener = tokio::net::TcpListener::from_std(listener)
        .map_err(|error| Failure::internal("the gateway could not be started", &error))?;
    if let Ok(address) = address {
        tracing::info!(%address, webhook = app.webhook.is_some(), "health words: /healthz and /readyz");
    }
    let server = axum::serve(listener, router(app, Door::Tcp));
    run(app, stop, server.with_graceful_shutdown(stop.clone().cancelled_owned()));
    Ok(())
}

fn router(app: &Arc<App>, door: Door) -> Router {
    let known = |credential: Credential| credential != Credential::WebhookSecret || app.webhook.is_some();
    let open = ROUTES.iter().filter(|route| route.doors.contains(&door) && known(route.credential));
    let router = open.fold(Router::new(), |router, route| router.route(route.path, (route.handler)()));
    layers(router).with_state(app.clone())
}

/// What stands around all routes.
fn layers<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router
        .fallback(routes::not_found)
        .layer(axum::extract::DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(axum::middleware::from_fn(guard))
}

/// The servers end with the process, after everything that uses them. One that ends earlier, by whatever cause, takes the
/// process along: a Blufio that nobody can reach or ask is not left running.
#[expect(
    clippy::disallowed_methods,
    reason = "servers outlive the runtime's tasks, so that /readyz answers during shutdown"
)]
fn run(
    app: &Arc<App>,
    stop: &CancellationToken,
    server: impl IntoFuture<Output = std::io::Result<()>, IntoFuture: Send> + Send + 'static,
) {
    let (server, failed, stop) = (server.into_future(), app.failed.clone(), stop.clone());
    tokio::spawn(async move {
        match AssertUnwindSafe(server).catch_unwind().await {
            Ok(Ok(())) if stop.is_cancelled() => return,
            Ok(Ok(())) => tracing::error!("a listener ended"),
            Ok(Err(error)) => tracing::error!(%error, "a listener ended"),
            Err(_) => panicked(),
        }
        failed.cancel();
    });
}

/// A panic in a handler is answered and counted; the connection and its listener go on.
async fn guard(request: Request, next: Next) -> Response {
    AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(|_| {
        panicked();
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    })
}

/// The panic's own words are on the standard error already.
fn panicked() {
    tracing::error!(task = "gateway", "a task panicked: a bug in Blufio");
    ::metrics::counter!("blufio_panics_total", "task" => "gateway").increment(1);
}
