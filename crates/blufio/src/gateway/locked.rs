//! The service while it waits for its root key: it says that it lives and that it is locked, and takes the key from this
//! user. Database and secrets are locked too, so there is nothing else that it could do; the channels' servers keep what
//! is sent meanwhile.

use super::routes::{Door, Problem};
use super::{layers, private, webhook};
use crate::failure::Failure;
use crate::keys::{self, Keys};
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use blufio_core::keys::RootKey;
use blufio_core::secret::Secret;
use serde::Deserialize;
use serde_json::json;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What `/readyz` says.
pub const WORD: &str = "locked";
/// For the last answers; after that, whoever is slow loses the connection.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

struct Locked {
    data_dir: PathBuf,
    keys: mpsc::Sender<Keys>,
}

/// Resolves when somebody has brought the key of this data folder. The doors are closed again by then.
pub async fn wait(data_dir: &Path, listener: Option<&TcpListener>) -> Result<Keys, Failure> {
    let broken = |error: std::io::Error| Failure::internal("the service cannot wait for its key", &error);
    // Full: somebody else has brought it already, which the second one is told.
    let (sender, mut keys) = mpsc::channel(1);
    let locked = Arc::new(Locked { data_dir: data_dir.to_owned(), keys: sender });
    let stop = CancellationToken::new();
    let socket = axum::serve(private(data_dir)?, router(Door::Socket).with_state(locked.clone()))
        .with_graceful_shutdown(stop.clone().cancelled_owned());
    let tcp = match listener {
        Some(listener) => {
            let listener = listener.try_clone().and_then(tokio::net::TcpListener::from_std).map_err(broken)?;
            if let Ok(address) = listener.local_addr() {
                tracing::info!(%address, "health words: /healthz and /readyz");
            }
            let server = axum::serve(listener, router(Door::Tcp).with_state(locked));
            Some(server.with_graceful_shutdown(stop.clone().cancelled_owned()))
        }
        None => None,
    };
    let servers = async {
        let tcp = async {
            match tcp {
                Some(server) => server.await,
                None => Ok(()),
            }
        };
        tokio::try_join!(async { socket.await }, tcp).map(drop)
    };
    tokio::pin!(servers);
    tracing::warn!("locked: nothing is received or answered until `blufio vault unlock` brings the root key");
    let brought = tokio::select! {
        brought = keys.recv() => brought,
        ended = &mut servers => return Err(ended.map_or_else(broken, |()| broken(std::io::ErrorKind::NotConnected.into()))),
    };
    stop.cancel();
    match tokio::time::timeout(LAST_ANSWERS, servers).await {
        Ok(ended) => ended.map_err(broken)?,
        Err(_) => tracing::debug!("somebody was too slow for an answer"),
    }
    brought.ok_or_else(|| broken(std::io::ErrorKind::BrokenPipe.into()))
}

fn router(door: Door) -> Router<Arc<Locked>> {
    let words = Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(async || (StatusCode::SERVICE_UNAVAILABLE, WORD)));
    layers(match door {
        Door::Tcp => words,
        Door::Socket => words.route("/v1/unlock", post(unlock)).route("/{*path}", any(refuse)),
    })
}

/// The body of [`unlock`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Brought {
    root_key: String,
}

/// `POST /v1/unlock`: the root key itself; the recovery code is turned into it by who asks.
async fn unlock(
    State(locked): State<Arc<Locked>>,
    body: Result<Json<Brought>, JsonRejection>,
) -> Result<Response, Problem> {
    let Json(Brought { root_key }) = body?;
    let refused = |status, message: String| Problem { status, message, hint: None };
    let root = RootKey::parse(Secret::new(root_key).expose().as_bytes())
        .map_err(|error| refused(StatusCode::BAD_REQUEST, error.to_string()))?;
    let keys =
        keys::brought(&locked.data_dir, root).map_err(|failure| refused(StatusCode::FORBIDDEN, failure.message))?;
    match locked.keys.try_send(keys) {
        Ok(()) => Ok(Json(json!({})).into_response()),
        Err(_) => Err(refused(StatusCode::CONFLICT, "somebody else has unlocked it already".to_owned())),
    }
}

/// Everything else has to wait. The body is not read, so the connection ends.
async fn refuse() -> Response {
    let message = "the server is locked: it has no root key yet".to_owned();
    let hint = Some("`blufio vault unlock` takes the recovery code");
    webhook::closing(Problem { status: StatusCode::LOCKED, message, hint }.into_response())
}
