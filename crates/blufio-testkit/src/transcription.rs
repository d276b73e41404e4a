//! A fake transcription service: it takes what the common API takes, refuses everything else, and answers by script.

use std::collections::VecDeque;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::json;
use tokio::sync::Notify;

use crate::botapi::params::{self, Raw, Upload};
use crate::http::{Handler, HttpServer, Request, Responder};

/// The one path there is.
const PATH: &str = "/v1/audio/transcriptions";

/// How the service starts.
#[derive(Debug, Clone)]
pub struct TranscriberConfig {
    /// The bearer key that is wanted, if any.
    pub key: Option<String>,
    /// The only model there is.
    pub model: String,
}

/// A recording that arrived in a legal request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Its bytes.
    pub audio: Bytes,
    /// Its file name.
    pub file_name: String,
    /// Its media type.
    pub media_type: String,
    /// The language named, if any.
    pub language: Option<String>,
}

/// What the service answers to the next recordings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Says {
    /// This text.
    Text(String),
    /// This status with this body. A redirect (3xx) points back at the service.
    Status(u16, String),
    /// Nothing, until the client hangs up.
    Nothing,
}

#[derive(Default)]
struct State {
    heard: Vec<Heard>,
    refused: Vec<String>,
    says: VecDeque<Says>,
}

struct Service {
    config: TranscriberConfig,
    state: Mutex<State>,
    waiting: Notify,
    hung_up: Notify,
}

/// A running fake; stops when dropped.
pub struct FakeTranscriber {
    service: Arc<Service>,
    http: HttpServer,
}

impl FakeTranscriber {
    /// Listens on a free port of this machine.
    ///
    /// # Errors
    /// No port could be bound.
    pub async fn start(config: TranscriberConfig) -> io::Result<Self> {
        let service =
            Arc::new(Service { config, state: Mutex::default(), waiting: Notify::new(), hung_up: Notify::new() });
        let http = HttpServer::start((Ipv4Addr::LOCALHOST, 0).into(), Arc::clone(&service)).await?;
        Ok(Self { service, http })
    }

    /// Value for `transcription.url`.
    pub fn base_url(&self) -> String {
        self.http.base_url()
    }

    /// Orders the next answer; without an order it is "words of N bytes".
    pub fn says(&self, says: Says) {
        self.service.lock().says.push_back(says);
    }

    /// The recordings of legal requests, oldest first.
    pub fn heard(&self) -> Vec<Heard> {
        self.service.lock().heard.clone()
    }

    /// Why requests were refused, oldest first.
    pub fn refused(&self) -> Vec<String> {
        self.service.lock().refused.clone()
    }

    /// Resolves once a request is there that gets [`Says::Nothing`].
    pub async fn waiting(&self) {
        self.service.waiting.notified().await;
    }

    /// Resolves once the client of such a request has closed its connection.
    pub async fn hung_up(&self) {
        self.service.hung_up.notified().await;
    }
}

impl Service {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn judge(&self, request: &Request) -> Result<Heard, (u16, String)> {
        let bad = |why: &str| (400, why.to_owned());
        if (request.method.as_str(), request.path.as_str()) != ("POST", PATH) {
            return Err((404, format!("{} {}", request.method, request.path)));
        }
        let wanted = self.config.key.as_ref().map(|key| format!("Bearer {key}"));
        if request.header("authorization").map(str::to_owned) != wanted {
            return Err((401, "wrong key".to_owned()));
        }
        if !request.header("content-type").is_some_and(|kind| kind.starts_with("multipart/form-data")) {
            return Err(bad("no multipart form"));
        }
        let form = params::read(request).map_err(|why| (400, why))?;
        let text = |name: &str| match form.get(name) {
            Some(Raw::Text(text)) => Some(text.clone()),
            Some(Raw::Json(_) | Raw::File(_)) | None => None,
        };
        if text("model").as_deref() != Some(self.config.model.as_str()) {
            return Err(bad("no such model"));
        }
        if text("response_format").is_some_and(|format| format != "json") {
            return Err(bad("only json"));
        }
        let Some(Raw::File(Upload { file_name, media_type, bytes })) = form.get("file") else {
            return Err(bad("no file"));
        };
        if file_name.is_empty() || media_type.is_empty() || bytes.is_empty() {
            return Err(bad("the file has no name, type or content"));
        }
        let (file_name, media_type) = (file_name.clone(), media_type.clone());
        Ok(Heard { audio: bytes.clone(), file_name, media_type, language: text("language") })
    }
}

impl Handler for Service {
    async fn handle(&self, request: Request, mut responder: Responder) {
        let json_type = [("content-type", "application/json")];
        let heard = match self.judge(&request) {
            Ok(heard) => heard,
            Err((status, why)) => {
                self.lock().refused.push(why.clone());
                return responder.full(status, &json_type, json!({"error": {"message": why}}).to_string()).await;
            }
        };
        let bytes = heard.audio.len();
        let says = {
            let mut state = self.lock();
            state.heard.push(heard);
            state.says.pop_front().unwrap_or_else(|| Says::Text(format!("words of {bytes} bytes")))
        };
        match says {
            Says::Text(text) => responder.full(200, &json_type, json!({"text": text}).to_string()).await,
            Says::Status(status @ 300..=399, body) => responder.full(status, &[("location", PATH)], body).await,
            Says::Status(status, body) => responder.full(status, &json_type, body).await,
            Says::Nothing => {
                self.waiting.notify_one();
                responder.closed_by_peer().await;
                self.hung_up.notify_one();
            }
        }
    }
}
