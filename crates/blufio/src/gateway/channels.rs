//! Channels as an operator sees them: how one is, what it could not deliver, a message through it, a link into it.

use super::routes::{Problem, Shared, unexpected};
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use blufio_core::ids::{ChannelName, OutboxId};
use blufio_core::limits::INBOUND_TEXT_BYTES_MAX;
use blufio_core::record::{Query, View};
use serde::Deserialize;
use serde_json::json;

/// `GET /v1/channels/{name}`. A channel that does not run has no health, and may still have rows.
pub async fn status(State(app): Shared, Path(name): Path<ChannelName>) -> Result<Response, Problem> {
    let outbox = match app.host.view(Query::Channel(name.clone())).await? {
        View::Channel(outbox) => outbox,
        other => return Err(unexpected(&other)),
    };
    let status = app.host.status().await?;
    let health = status.channels.get(name.as_str());
    // What keeps the process from being ready, if it is this channel.
    let trouble = status.reason.as_deref().and_then(|reason| reason.strip_prefix(&format!("{name}: ")));
    let remark = app.host.remark(&name);
    Ok(Json(json!({"health": health, "trouble": trouble, "remark": remark, "outbox": outbox})).into_response())
}

/// The body of [`retry`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Only this one.
    row: Option<OutboxId>,
}

/// `POST /v1/channels/{name}/retry`: given-up messages are sent again.
pub async fn retry(
    State(app): Shared,
    Path(name): Path<ChannelName>,
    body: Result<Json<Retry>, JsonRejection>,
) -> Result<Response, Problem> {
    let Json(Retry { row }) = body?;
    let revived = app.host.revive(&name, row).await?;
    Ok(Json(json!({ "revived": revived })).into_response())
}

/// The body of [`send`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Send {
    chat: i64,
    text: String,
}

/// `POST /v1/channels/{name}/send`: a message from this machine's user. It is stored when this is answered, and sent in
/// its turn.
pub async fn send(
    State(app): Shared,
    Path(name): Path<ChannelName>,
    body: Result<Json<Send>, JsonRejection>,
) -> Result<Response, Problem> {
    let Json(Send { chat, text }) = body?;
    if text.trim().is_empty() || text.len() > INBOUND_TEXT_BYTES_MAX {
        return Err(Problem {
            status: StatusCode::BAD_REQUEST,
            message: format!("the text must have 1 to {INBOUND_TEXT_BYTES_MAX} bytes"),
            hint: None,
        });
    }
    app.host.send(&name, chat, &text).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "chat": chat }))).into_response())
}

/// The body of [`link`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    channel: ChannelName,
}

/// `POST /v1/pairings/link`: an address that lets in whoever opens it first.
pub async fn link(State(app): Shared, body: Result<Json<Link>, JsonRejection>) -> Result<Response, Problem> {
    let Json(Link { channel }) = body?;
    Ok(Json(json!({"link": app.host.invite(&channel).await?})).into_response())
}
