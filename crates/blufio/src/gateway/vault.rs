//! The vault, the audit log and what protects the server, for this user at the control socket. Values go out through
//! [`reveal`] alone.

use super::routes::{Problem, Shared, unexpected};
use crate::client::AuditState;
use crate::failure::Failure;
use crate::recovery;
use crate::vault::{Depth, Fault, Use, VaultError, fault};
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use blufio_core::audit::AuditHead;
use blufio_core::record::{Query as StoreQuery, View};
use blufio_core::secret::Secret;
use blufio_runtime::blocking;
use serde::Deserialize;
use serde_json::json;

/// Lines of the audit log in one answer at most.
const AUDIT_LINES_MAX: u32 = 10_000;

impl From<VaultError> for Problem {
    fn from(error: VaultError) -> Self {
        let message = error.to_string();
        match error {
            VaultError::Store(error) => error.into(),
            VaultError::Vault(error) => {
                let status = match fault(&error) {
                    Fault::Absent => StatusCode::NOT_FOUND,
                    Fault::Request => StatusCode::BAD_REQUEST,
                    Fault::Stored => StatusCode::INTERNAL_SERVER_ERROR,
                };
                Self { status, message, hint: Some(error.hint()) }
            }
            VaultError::Own(_) => Self { status: StatusCode::BAD_REQUEST, message, hint: Some("leave --host out") },
            VaultError::Chance(_) => Self { status: StatusCode::INTERNAL_SERVER_ERROR, message, hint: None },
        }
    }
}

/// `GET /v1/vault`
pub async fn list(State(app): Shared) -> Result<Response, Problem> {
    Ok(Json(app.safe.vault.list().await?).into_response())
}

/// The body of [`set`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Set {
    name: String,
    value: String,
    /// What the agent may do with it; without it, nothing.
    #[serde(default)]
    by_agent: Use,
}

/// `POST /v1/vault/set`
pub async fn set(State(app): Shared, body: Result<Json<Set>, JsonRejection>) -> Result<Response, Problem> {
    let Json(Set { name, value, by_agent }) = body?;
    let kept = app.safe.vault.put(&name, &Secret::new(value), &by_agent).await?;
    Ok(Json(kept).into_response())
}

/// The body of [`reveal`] and [`remove`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Name {
    name: String,
}

/// `POST /v1/vault/reveal`: the one way out for a value. It is a `POST` so that it stands in the audit log once per look.
pub async fn reveal(State(app): Shared, body: Result<Json<Name>, JsonRejection>) -> Result<Response, Problem> {
    let Json(Name { name }) = body?;
    let value = app.safe.vault.get(&name).await?;
    Ok(Json(json!({"value": value.expose()})).into_response())
}

/// `POST /v1/vault/remove`
pub async fn remove(State(app): Shared, body: Result<Json<Name>, JsonRejection>) -> Result<Response, Problem> {
    let Json(Name { name }) = body?;
    app.safe.vault.remove(&name).await?;
    Ok(Json(json!({ "removed": name })).into_response())
}

/// The body of [`rotate`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotate {
    #[serde(default)]
    deep: bool,
}

/// `POST /v1/vault/rotate`
pub async fn rotate(State(app): Shared, body: Result<Json<Rotate>, JsonRejection>) -> Result<Response, Problem> {
    let Json(Rotate { deep }) = body?;
    let secrets = app.safe.vault.rotate(if deep { Depth::Records } else { Depth::Wrap }).await?;
    Ok(Json(json!({ "secrets": secrets })).into_response())
}

/// `POST /v1/vault/import`: what came from the environment and is not in the vault goes in.
pub async fn import(State(app): Shared) -> Result<Response, Problem> {
    Ok(Json(app.safe.vault.import(&app.safe.environment).await?).into_response())
}

/// The body of [`recover_by`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Code {
    code: String,
}

/// `POST /v1/vault/recovery`: the root key is wrapped under this code.
pub async fn recover_by(State(app): Shared, body: Result<Json<Code>, JsonRejection>) -> Result<Response, Problem> {
    let Json(Code { code }) = body?;
    let code = Secret::new(code);
    let safe = app.safe.clone();
    safe.vault.noted_recovery().await?;
    // It takes a fraction of a second of a processor, by design.
    match blocking(move || recovery::keep(&safe.data_dir, &safe.keys, &code)).await {
        Some(Ok(())) => {}
        Some(Err(Failure { message, .. })) => {
            return Err(Problem { status: StatusCode::BAD_REQUEST, message, hint: None });
        }
        None => {
            let message = "the code could not be used".to_owned();
            return Err(Problem { status: StatusCode::INTERNAL_SERVER_ERROR, message, hint: None });
        }
    }
    Ok(Json(json!({})).into_response())
}

/// `GET /v1/security`
pub async fn security(State(app): Shared) -> Response {
    Json(&app.safe.service).into_response()
}

/// The query of [`audit`].
#[derive(Deserialize)]
pub struct Which {
    limit: u32,
    before: Option<u64>,
}

/// `GET /v1/audit`
pub async fn audit(State(app): Shared, Query(Which { limit, before }): Query<Which>) -> Result<Response, Problem> {
    let query = StoreQuery::Audit { limit: limit.min(AUDIT_LINES_MAX), before };
    match app.host.view(query).await? {
        View::Audit(lines) => Ok(Json(lines).into_response()),
        other => Err(unexpected(&other)),
    }
}

/// The body of [`verify`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Since {
    since: Option<String>,
}

/// `POST /v1/audit/verify`
pub async fn verify(State(app): Shared, body: Result<Json<Since>, JsonRejection>) -> Result<Response, Problem> {
    let Json(Since { since }) = body?;
    let refused = || Problem {
        status: StatusCode::BAD_REQUEST,
        message: "that is no head of an audit log".to_owned(),
        hint: Some("it looks like 12:3f…, a number and 64 hexadecimal digits"),
    };
    let since = since.map(|text| AuditHead::parse(&text).ok_or_else(refused)).transpose()?;
    let verdict = app.safe.store.verify_audit(since).await?;
    Ok(Json(AuditState::from(verdict)).into_response())
}
