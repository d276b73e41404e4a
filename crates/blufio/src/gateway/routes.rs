//! The routes: which door each is behind, and what must be shown there.

use super::{App, approvals, channels, schedules, spending, vault, webhook};
use crate::redact;
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get, post};
use blufio_core::event::Event;
use blufio_core::ids::{InboxId, SessionKey, TurnNumber};
use blufio_core::port::StoreError;
use blufio_core::record::{PairingChange, Query as StoreQuery, View};
use blufio_runtime::{Reader, Readiness};
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

/// Rows in a list unless asked for otherwise.
const LIST_ROWS: u32 = 100;
/// Rows in a list at most.
const LIST_ROWS_MAX: u32 = 10_000;

/// What every handler gets.
pub type Shared = State<Arc<App>>;

/// A way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The TCP address: anybody on this machine.
    Tcp,
    /// The control socket: this user.
    Socket,
}

/// What a caller must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Nothing: the answer is one word that helps nobody.
    Nothing,
    /// To be this user, which the socket has asked the kernel about.
    User,
    /// The webhook's secret. Without a webhook there is no such route.
    WebhookSecret,
}

/// A route.
pub struct Route {
    /// Its path.
    pub path: &'static str,
    /// Where it can be reached.
    pub doors: &'static [Door],
    /// By whom.
    pub credential: Credential,
    /// Who answers.
    pub handler: fn() -> MethodRouter<Arc<App>>,
}

/// The health words.
const fn open(path: &'static str, handler: fn() -> MethodRouter<Arc<App>>) -> Route {
    Route { path, doors: &[Door::Tcp, Door::Socket], credential: Credential::Nothing, handler }
}

/// Everything that shows or changes something.
const fn private(path: &'static str, handler: fn() -> MethodRouter<Arc<App>>) -> Route {
    Route { path, doors: &[Door::Socket], credential: Credential::User, handler }
}

/// All routes there are.
pub const ROUTES: &[Route] = &[
    open("/healthz", || get(health)),
    open("/readyz", || get(ready)),
    Route {
        path: "/telegram-webhook",
        doors: &[Door::Tcp],
        credential: Credential::WebhookSecret,
        // Any method: a wrong one must look like an unknown path.
        handler: || any(webhook::receive),
    },
    private("/metrics", || get(metrics)),
    private("/v1/status", || get(status)),
    private("/v1/messages", || post(say)),
    private("/v1/messages/{inbox}", || get(message)),
    private("/v1/sessions", || get(sessions)),
    private("/v1/sessions/{key}/messages", || get(messages)),
    private("/v1/sessions/{key}/journal", || get(journal)),
    private("/v1/sessions/{key}/context", || get(context)),
    private("/v1/sessions/{key}/events", || get(events)),
    private("/v1/sessions/{key}/stop", || post(stop)),
    private("/v1/approvals", || get(approvals::list)),
    private("/v1/approvals/approve", || post(approvals::approve)),
    private("/v1/approvals/deny", || post(approvals::deny)),
    private("/v1/grants", || get(approvals::grants)),
    private("/v1/grants/revoke", || post(approvals::revoke)),
    private("/v1/channels/{name}", || get(channels::status)),
    private("/v1/channels/{name}/retry", || post(channels::retry)),
    private("/v1/channels/{name}/send", || post(channels::send)),
    private("/v1/schedules", || get(schedules::list).post(schedules::change)),
    private("/v1/schedules/run", || post(schedules::run)),
    private("/v1/schedules/runs", || get(schedules::runs)),
    private("/v1/costs", || get(spending::costs)),
    private("/v1/kill", || post(spending::switch)),
    private("/v1/vault", || get(vault::list)),
    private("/v1/vault/set", || post(vault::set)),
    private("/v1/vault/reveal", || post(vault::reveal)),
    private("/v1/vault/remove", || post(vault::remove)),
    private("/v1/vault/rotate", || post(vault::rotate)),
    private("/v1/vault/import", || post(vault::import)),
    private("/v1/vault/recovery", || post(vault::recover_by)),
    private("/v1/security", || get(vault::security)),
    private("/v1/audit", || get(vault::audit)),
    private("/v1/audit/verify", || post(vault::verify)),
    private("/v1/pairings", || get(pairings)),
    private("/v1/pairings/approve", || post(approve)),
    private("/v1/pairings/reject", || post(reject)),
    private("/v1/pairings/revoke", || post(revoke)),
    private("/v1/pairings/link", || post(channels::link)),
];

/// An error as the client reads it.
pub struct Problem {
    /// The status of HTTP.
    pub status: StatusCode,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<&'static str>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::json!({"error": {"message": self.message, "hint": self.hint}});
        (self.status, Json(body)).into_response()
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let (status, hint) = match error {
            StoreError::NotFound(_) => (StatusCode::NOT_FOUND, None),
            StoreError::Refused(_) => (StatusCode::UNPROCESSABLE_ENTITY, None),
            StoreError::Stale(_) => (StatusCode::CONFLICT, Some("try again")),
            StoreError::Full(_) => (StatusCode::SERVICE_UNAVAILABLE, Some("try again in a moment")),
            StoreError::DiskFull => (StatusCode::INSUFFICIENT_STORAGE, Some("make room on the disk")),
            StoreError::Closed => (StatusCode::SERVICE_UNAVAILABLE, Some("Blufio is shutting down")),
            StoreError::Broken(_) => (StatusCode::INTERNAL_SERVER_ERROR, Some("the log has the details")),
        };
        Self { status, message: error.to_string(), hint }
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self { status: rejection.status(), message: rejection.body_text(), hint: None }
    }
}

/// For every path that is not a route. Its body is not read, so the connection ends.
pub async fn not_found() -> Response {
    let message = "no such route".to_owned();
    webhook::closing(Problem { status: StatusCode::NOT_FOUND, message, hint: None }.into_response())
}

async fn health() -> &'static str {
    "ok"
}

async fn ready(State(app): Shared) -> Response {
    match app.host.readiness() {
        Readiness::Ready => "ready".into_response(),
        // The reason is for those who may ask for the status.
        Readiness::NotReady(_) => (StatusCode::SERVICE_UNAVAILABLE, "not ready").into_response(),
    }
}

async fn metrics(State(app): Shared) -> Result<Response, Problem> {
    app.host.set_gauges().await?;
    metrics::counter!("blufio_store_commits_total").absolute((app.commits)());
    let kind = [(axum::http::header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((kind, redact::text(&app.metrics.render()).into_owned()).into_response())
}

async fn status(State(app): Shared) -> Result<Response, Problem> {
    let status = app.host.status().await?;
    Ok(Json(redact::json(serde_json::json!({"version": crate::cli::VERSION, "status": status}))).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Say {
    session: SessionKey,
    text: String,
    client_id: String,
}

async fn say(State(app): Shared, body: Result<Json<Say>, JsonRejection>) -> Result<Response, Problem> {
    let Json(say) = body?;
    local(&say.session)?;
    let said = app.host.say(&say.session, &say.client_id, say.text).await?;
    Ok((StatusCode::ACCEPTED, Json(said)).into_response())
}

async fn stop(State(app): Shared, Path(key): Path<SessionKey>) -> Result<Response, Problem> {
    local(&key)?;
    let client = format!("stop-{}", app.host.unique());
    let said = app.host.say(&key, &client, "/stop".to_owned()).await?;
    Ok((StatusCode::ACCEPTED, Json(said)).into_response())
}

/// What is said here is answered here, so it cannot be said in a session of another channel.
fn local(key: &SessionKey) -> Result<(), Problem> {
    if key.as_str().starts_with("local:") && key.as_str().len() <= 64 {
        return Ok(());
    }
    Err(Problem {
        status: StatusCode::BAD_REQUEST,
        message: format!("`{key}` is not a session of this machine"),
        hint: Some("use local:main, or any other name that begins with `local:` (at most 64 bytes)"),
    })
}

async fn message(State(app): Shared, Path(inbox): Path<i64>) -> Result<Response, Problem> {
    match app.host.view(StoreQuery::Inbox(InboxId(inbox))).await? {
        View::Inbox(Some(view)) => Ok(Json(view).into_response()),
        View::Inbox(None) => Err(StoreError::NotFound("no such message".to_owned()).into()),
        other => Err(unexpected(&other)),
    }
}

#[derive(Deserialize)]
struct Limit {
    limit: Option<u32>,
}

impl Limit {
    fn rows(&self) -> u32 {
        self.limit.unwrap_or(LIST_ROWS).min(LIST_ROWS_MAX)
    }
}

async fn sessions(State(app): Shared, Query(limit): Query<Limit>) -> Result<Response, Problem> {
    match app.host.view(StoreQuery::Sessions { limit: limit.rows() }).await? {
        View::Sessions(sessions) => Ok(Json(sessions).into_response()),
        other => Err(unexpected(&other)),
    }
}

async fn messages(
    State(app): Shared,
    Path(session): Path<SessionKey>,
    Query(limit): Query<Limit>,
) -> Result<Response, Problem> {
    match app.host.view(StoreQuery::Messages { session, limit: limit.rows() }).await? {
        View::Messages(messages) => Ok(Json(messages).into_response()),
        other => Err(unexpected(&other)),
    }
}

async fn context(State(app): Shared, Path(session): Path<SessionKey>) -> Result<Response, Problem> {
    Ok(Json(app.host.context(&session).await?).into_response())
}

#[derive(Deserialize)]
struct OneTurn {
    turn: Option<TurnNumber>,
}

async fn journal(
    State(app): Shared,
    Path(session): Path<SessionKey>,
    Query(OneTurn { turn }): Query<OneTurn>,
) -> Result<Response, Problem> {
    match app.host.view(StoreQuery::Journal { session, turn }).await? {
        View::Journal(turns) => Ok(Json(turns).into_response()),
        other => Err(unexpected(&other)),
    }
}

#[derive(Deserialize)]
struct After {
    #[serde(default)]
    after: u64,
}

async fn events(
    State(app): Shared,
    Path(session): Path<SessionKey>,
    Query(After { after }): Query<After>,
) -> Sse<impl Stream<Item = Result<SseEvent, Infallible>>> {
    let reader = app.host.follow(session, after);
    let stream = stream::unfold((reader, VecDeque::new()), |(mut reader, mut waiting)| async move {
        if waiting.is_empty() {
            next_events(&mut reader, &mut waiting).await;
        }
        let event = waiting.pop_front()?;
        Some((Ok(event), (reader, waiting)))
    });
    Sse::new(stream).keep_alive(KeepAlive::default())
}

async fn next_events(reader: &mut Reader, waiting: &mut VecDeque<SseEvent>) {
    match reader.next().await {
        Some(events) => waiting.extend(events.iter().map(render)),
        None => waiting.push_back(SseEvent::default().event("gap").data("{}")),
    }
}

fn render(event: &Event) -> SseEvent {
    let data = serde_json::to_string(event).unwrap_or_else(|_| "{}".to_owned());
    SseEvent::default().id(event.number.to_string()).data(data)
}

async fn pairings(State(app): Shared) -> Result<Response, Problem> {
    match app.host.view(StoreQuery::Pairings).await? {
        View::Pairings(paired, requests) => {
            Ok(Json(serde_json::json!({"paired": paired, "requests": requests})).into_response())
        }
        other => Err(unexpected(&other)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Approve {
    code: String,
    #[serde(default)]
    owner: bool,
}

async fn approve(State(app): Shared, body: Result<Json<Approve>, JsonRejection>) -> Result<Response, Problem> {
    let Json(Approve { code, owner }) = body?;
    decide(&app, PairingChange::Approve { code, owner, has_owner: false }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Code {
    code: String,
}

async fn reject(State(app): Shared, body: Result<Json<Code>, JsonRejection>) -> Result<Response, Problem> {
    let Json(Code { code }) = body?;
    decide(&app, PairingChange::Reject { code }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    user: i64,
}

async fn revoke(State(app): Shared, body: Result<Json<User>, JsonRejection>) -> Result<Response, Problem> {
    let Json(User { user }) = body?;
    decide(&app, PairingChange::Revoke { user }).await
}

async fn decide(app: &App, change: PairingChange) -> Result<Response, Problem> {
    Ok(Json(app.host.pairing(change).await?).into_response())
}

/// The store has a bug.
pub fn unexpected(view: &View) -> Problem {
    tracing::error!(?view, "the store answered another question");
    StoreError::Broken("the store answered another question".to_owned()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_health_words_and_the_webhook_with_its_secret_are_open_to_the_network() {
        let open: Vec<(&str, Credential)> = ROUTES
            .iter()
            .filter(|route| route.doors.contains(&Door::Tcp))
            .map(|route| (route.path, route.credential))
            .collect();
        assert_eq!(
            open,
            [
                ("/healthz", Credential::Nothing),
                ("/readyz", Credential::Nothing),
                ("/telegram-webhook", Credential::WebhookSecret),
            ]
        );
        for route in ROUTES.iter().filter(|route| !route.doors.contains(&Door::Tcp)) {
            assert_eq!((route.doors, route.credential), (&[Door::Socket][..], Credential::User), "{}", route.path);
        }
    }
}
