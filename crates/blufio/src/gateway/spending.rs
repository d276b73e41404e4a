//! What calls have cost, and the kill switch.

use super::routes::{Problem, Shared};
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use blufio_core::ids::SessionKey;
use blufio_core::record::CostBy;
use blufio_core::time::Timestamp;
use serde::Deserialize;
use serde_json::json;

/// The query of [`costs`].
#[derive(Deserialize)]
pub struct Which {
    by: CostBy,
    since: Timestamp,
    session: Option<SessionKey>,
}

/// `GET /v1/costs`
pub async fn costs(State(app): Shared, Query(Which { by, since, session }): Query<Which>) -> Result<Response, Problem> {
    Ok(Json(app.host.costs(by, since, session).await?).into_response())
}

/// The body of [`switch`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switch {
    killed: bool,
}

/// `POST /v1/kill`: turns the kill switch.
pub async fn switch(State(app): Shared, body: Result<Json<Switch>, JsonRejection>) -> Result<Response, Problem> {
    let Json(Switch { killed }) = body?;
    app.host.switch(killed).await?;
    Ok(Json(json!({ "killed": killed })).into_response())
}
