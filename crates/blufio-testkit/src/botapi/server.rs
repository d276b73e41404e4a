//! From an HTTP request to a method call and back, with the faults in between.

use std::time::Duration;

use serde_json::Map;
use tokio::time::sleep;

use super::answer::{Answer, Refusal};
use super::fault::Action;
use super::inspect::LoggedRequest;
use super::schema::{Params, SCHEMA};
use super::{Shared, control, methods, params, poll};
use crate::http::{Handler, Request, Responder, render};

/// Name under which downloads are counted, logged and hit by faults.
pub const FILE_METHOD: &str = "file";

impl Handler for Shared {
    async fn handle(&self, request: Request, responder: Responder) {
        if let Some(name) = request.path.strip_prefix("/_control/") {
            return control::handle(self, name, &request, responder).await;
        }
        if let Some(rest) = request.path.strip_prefix("/file/bot") {
            let (token, path) = rest.split_once('/').unwrap_or((rest, ""));
            return self.serve(FILE_METHOD, &request, self.file(token, path), responder).await;
        }
        let call = request.path.strip_prefix("/bot").and_then(|rest| rest.split_once('/'));
        match call {
            Some((token, method)) => {
                let checked = self.checked(token, method, &request);
                self.serve(if SCHEMA.knows(method) { method } else { "(unknown)" }, &request, checked, responder).await;
            }
            None => {
                let answer = Answer::of(Err(Refusal::new(404, "Not Found")));
                responder.full(answer.status, &[("content-type", answer.content_type)], answer.body).await;
            }
        }
    }
}

/// What a request asks for once it is known to be legal.
enum Job {
    Call(Params),
    Download(Answer),
}

impl Shared {
    fn checked(&self, token: &str, method: &str, request: &Request) -> Result<Job, Refusal> {
        self.authorised(token)?;
        if !matches!(request.method.as_str(), "GET" | "POST") {
            return Err(Refusal::new(405, "Method Not Allowed: only GET and POST are supported"));
        }
        if !SCHEMA.knows(method) {
            let refusal = Refusal::new(404, "Not Found: method not found");
            return Err(Refusal { violation: Some(format!("unknown method \"{method}\"")), ..refusal });
        }
        let raw = params::read(request).map_err(|description| {
            let violation = Some(format!("{method}: {description}"));
            Refusal { violation, ..Refusal::new(400, description) }
        })?;
        let params = SCHEMA.check(method, raw).map_err(|illegal| Refusal {
            violation: Some(illegal.violation),
            ..Refusal::new(400, illegal.description)
        })?;
        Ok(Job::Call(params))
    }

    fn file(&self, token: &str, path: &str) -> Result<Job, Refusal> {
        self.authorised(token)?;
        let state = self.lock();
        let file = state.files.values().find(|file| file.path == path);
        file.map(|file| Job::Download(Answer::file(file.bytes.clone()))).ok_or_else(|| Refusal::new(404, "Not Found"))
    }

    fn authorised(&self, token: &str) -> Result<(), Refusal> {
        let state = self.lock();
        if token == state.config.token && !state.revoked {
            return Ok(());
        }
        let well_formed =
            token.split_once(':').is_some_and(|(id, secret)| id.parse::<i64>().is_ok() && !secret.is_empty());
        Err(if well_formed { Refusal::new(401, "Unauthorized") } else { Refusal::new(404, "Not Found") })
    }

    async fn serve(&self, method: &str, request: &Request, job: Result<Job, Refusal>, mut responder: Responder) {
        let (entry, action) = self.note(method, request, &job);
        self.changed.notify_waiters();
        let answer = match job {
            Err(refusal) => Some(Answer::of(Err(refusal))),
            Ok(job) => self.act(method, job, action.as_ref(), &mut responder).await,
        };
        {
            let mut state = self.lock();
            let (status, description) =
                answer.as_ref().map_or((0, None), |answer| (answer.status, answer.description.as_deref()));
            state.log_answer(entry, status, description);
        }
        self.changed.notify_waiters();
        match answer {
            Some(answer) => deliver(answer, action, responder).await,
            None => responder.close(),
        }
    }

    /// Counts and logs a request and looks for a fault that hits it.
    fn note(&self, method: &str, request: &Request, job: &Result<Job, Refusal>) -> (Option<u64>, Option<Action>) {
        let mut state = self.lock();
        state.count_call(method);
        if let Err(Refusal { violation: Some(violation), .. }) = job {
            state.violate(violation.clone());
        }
        let params = match job {
            Ok(Job::Call(params)) => Some(params),
            Ok(Job::Download(_)) | Err(_) => None,
        };
        let chat = params.and_then(|params| params.integer("chat_id"));
        let action = if job.is_ok() { state.faults.hit(method, chat) } else { None };
        let at_ms = state.now_ms();
        let entry = state.log_request(|| LoggedRequest {
            at_ms,
            connection: request.connection,
            method: method.to_owned(),
            params: params.map_or_else(Map::new, |params| params.values.clone()),
            files: params.map_or_else(Vec::new, |params| {
                let file = |(field, upload): (&String, &params::Upload)| {
                    (field.clone(), upload.file_name.clone(), upload.bytes.len())
                };
                params.files.iter().map(file).collect()
            }),
            status: 0,
            description: None,
            fault: action.as_ref().map(|action| format!("{action:?}")),
        });
        (entry, action)
    }

    /// The answer of a legal request; `None` when there is none to send.
    async fn act(&self, method: &str, job: Job, action: Option<&Action>, responder: &mut Responder) -> Option<Answer> {
        match action {
            Some(Action::DropBefore) => return None,
            Some(Action::NeverAnswer) => {
                responder.closed_by_peer().await;
                return None;
            }
            Some(Action::HtmlBody502) => return Some(Answer::proxy_page()),
            Some(Action::RateLimit { retry_after }) => return Some(Answer::of(Err(Refusal::too_many(*retry_after)))),
            Some(Action::Answer { status, description, parameters }) => {
                let refusal = Refusal::new(*status, description.clone());
                return Some(Answer::of(Err(Refusal { parameters: parameters.clone(), ..refusal })));
            }
            Some(Action::Result(result)) => return Some(Answer::of(Ok(result.clone()))),
            Some(Action::Redirect(_)) => return Some(Answer::redirect()),
            Some(Action::Delay(milliseconds)) => {
                tokio::select! {
                    () = sleep(Duration::from_millis(*milliseconds)) => {}
                    () = responder.closed_by_peer() => return None,
                }
            }
            // These have their effect first; `deliver` damages the answer.
            Some(
                Action::ApplyThenDrop
                | Action::ApplyThenNeverAnswer
                | Action::ResetMid
                | Action::TruncatedJson
                | Action::Drip(_)
                | Action::HugeBody(_)
                | Action::WrongContentType
                | Action::CloseKeepAlive,
            )
            | None => {}
        }
        match job {
            Job::Download(answer) => Some(answer),
            Job::Call(params) if method == "getUpdates" => poll::get_updates(self, &params, responder).await,
            Job::Call(params) => Some(self.call(method, &params)),
        }
    }

    fn call(&self, method: &str, params: &Params) -> Answer {
        let outcome = {
            let mut state = self.lock();
            let outcome = methods::call(&mut state, method, params);
            if let Err(Refusal { violation: Some(violation), .. }) = &outcome {
                state.violate(format!("{method}: {violation}"));
            }
            outcome
        };
        if matches!(method, "setWebhook" | "deleteWebhook") {
            self.polls.notify_waiters();
        }
        Answer::of(outcome)
    }
}

async fn deliver(answer: Answer, action: Option<Action>, mut responder: Responder) {
    let headers = [("content-type", answer.content_type)];
    let body = &answer.body;
    match action {
        Some(Action::ApplyThenDrop) => responder.close(),
        Some(Action::ApplyThenNeverAnswer) => {
            responder.closed_by_peer().await;
            responder.close();
        }
        Some(Action::ResetMid) => {
            let whole = render(answer.status, &headers, body);
            // Whether the half arrives does not matter, the reset does.
            drop(responder.raw(&whole[..whole.len() / 2]).await);
            responder.reset();
        }
        Some(Action::TruncatedJson) => responder.full(answer.status, &headers, &body[..body.len() / 2]).await,
        Some(Action::Drip(milliseconds)) => {
            for byte in render(answer.status, &headers, body) {
                if responder.raw(&[byte]).await.is_err() {
                    return;
                }
                sleep(Duration::from_millis(milliseconds)).await;
            }
            responder.keep_open();
        }
        Some(Action::HugeBody(bytes)) => {
            // White space after a JSON value is legal, so only the size is wrong with it.
            let mut huge = body.to_vec();
            huge.resize(huge.len().max(bytes), b' ');
            responder.full(answer.status, &headers, huge).await;
        }
        Some(Action::WrongContentType) => responder.full(answer.status, &[("content-type", "text/html")], body).await,
        Some(Action::Redirect(address)) => responder.full(answer.status, &[("location", address.as_str())], body).await,
        Some(Action::CloseKeepAlive) => {
            if responder.raw(&render(answer.status, &headers, body)).await.is_ok() {
                responder.close();
            }
        }
        Some(
            Action::Answer { .. }
            | Action::Result(_)
            | Action::RateLimit { .. }
            | Action::Delay(_)
            | Action::DropBefore
            | Action::HtmlBody502
            | Action::NeverAnswer,
        )
        | None => responder.full(answer.status, &headers, body).await,
    }
}
