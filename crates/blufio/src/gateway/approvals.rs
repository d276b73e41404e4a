//! Questions to an owner, and what an owner has always allowed. Behind the control socket whoever asks is this machine's user,
//! and that is an owner.

use super::routes::{Problem, Shared, unexpected};
use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use blufio_core::approval::Verdict;
use blufio_core::ids::{ApprovalId, GrantId};
use blufio_core::record::{Query, View};
use serde::Deserialize;
use serde_json::json;

/// `GET /v1/approvals`
pub async fn list(State(app): Shared) -> Result<Response, Problem> {
    match app.host.view(Query::Approvals).await? {
        View::Approvals(open) => Ok(Json(open).into_response()),
        other => Err(unexpected(&other)),
    }
}

/// The body of [`approve`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    id: ApprovalId,
    #[serde(default)]
    always: bool,
}

/// `POST /v1/approvals/approve`
pub async fn approve(shared: Shared, body: Result<Json<Approve>, JsonRejection>) -> Result<Response, Problem> {
    let Json(Approve { id, always }) = body?;
    decide(shared, id, if always { Verdict::Always } else { Verdict::Allow }).await
}

/// The body of [`deny`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deny {
    id: ApprovalId,
}

/// `POST /v1/approvals/deny`
pub async fn deny(shared: Shared, body: Result<Json<Deny>, JsonRejection>) -> Result<Response, Problem> {
    let Json(Deny { id }) = body?;
    decide(shared, id, Verdict::Deny).await
}

async fn decide(State(app): Shared, id: ApprovalId, verdict: Verdict) -> Result<Response, Problem> {
    if app.host.decide(id.clone(), verdict).await? {
        return Ok(Json(json!({"id": id, "verdict": verdict})).into_response());
    }
    let message = match verdict {
        Verdict::Always => "that question is not open, or cannot be answered with always",
        Verdict::Allow | Verdict::Deny => "that question is not open",
    };
    Err(Problem { status: StatusCode::NOT_FOUND, message: message.to_owned(), hint: None })
}

/// `GET /v1/grants`
pub async fn grants(State(app): Shared) -> Result<Response, Problem> {
    match app.host.view(Query::Grants).await? {
        View::Grants(grants) => Ok(Json(grants).into_response()),
        other => Err(unexpected(&other)),
    }
}

/// The body of [`revoke`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    grant: GrantId,
}

/// `POST /v1/grants/revoke`
pub async fn revoke(State(app): Shared, body: Result<Json<Revoke>, JsonRejection>) -> Result<Response, Problem> {
    let Json(Revoke { grant }) = body?;
    if app.host.revoke(grant).await? {
        return Ok(Json(json!({ "revoked": grant })).into_response());
    }
    let message = format!("nothing is always allowed under number {grant}");
    Err(Problem { status: StatusCode::NOT_FOUND, message, hint: None })
}
