//! What is said or done at given times.

use super::routes::{Problem, Shared, unexpected};
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use blufio_core::ids::ScheduleId;
use blufio_core::record::{Query as StoreQuery, View};
use blufio_runtime::scheduler::ScheduleWish;
use serde::Deserialize;
use serde_json::json;

/// `GET /v1/schedules`
pub async fn list(State(app): Shared) -> Result<Response, Problem> {
    match app.host.view(StoreQuery::Schedules { session: None }).await? {
        View::Schedules(schedules) => Ok(Json(schedules).into_response()),
        other => Err(unexpected(&other)),
    }
}

/// `POST /v1/schedules`: makes, removes or turns one.
pub async fn change(State(app): Shared, body: Result<Json<ScheduleWish>, JsonRejection>) -> Result<Response, Problem> {
    let Json(wish) = body?;
    Ok(Json(app.host.schedule(wish).await?).into_response())
}

/// A schedule.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    id: ScheduleId,
}

/// `POST /v1/schedules/run`: runs one now.
pub async fn run(State(app): Shared, body: Result<Json<Which>, JsonRejection>) -> Result<Response, Problem> {
    let Json(Which { id }) = body?;
    app.host.run_schedule(id).await?;
    Ok(Json(json!({ "id": id })).into_response())
}

/// The query of [`runs`].
#[derive(Deserialize)]
pub struct Runs {
    id: ScheduleId,
    limit: u32,
}

/// `GET /v1/schedules/runs`
pub async fn runs(State(app): Shared, Query(Runs { id, limit }): Query<Runs>) -> Result<Response, Problem> {
    match app.host.view(StoreQuery::Runs { schedule: id, limit }).await? {
        View::Runs(runs) => Ok(Json(runs).into_response()),
        other => Err(unexpected(&other)),
    }
}
