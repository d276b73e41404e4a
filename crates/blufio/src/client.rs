//! The client of the control socket: the routes of [`crate::gateway`] as typed calls.
//!
//! It tries nothing twice. [`CallError::passes`] says whether it is worth asking again.

use crate::doctor::Service;
use crate::failure::Failure;
use crate::vault::{Depth, Imported, Kept, Use};
use blufio_adapters::egress::EgressError;
use blufio_adapters::egress::local::{Answer, Events, Local};
use blufio_core::approval::Verdict;
use blufio_core::audit::AuditVerdict;
use blufio_core::event::Event;
use blufio_core::ids::{ApprovalId, ChannelName, GrantId, InboxId, OutboxId, ScheduleId, SessionKey, TurnNumber};
use blufio_core::keys::RootKey;
use blufio_core::port::ChannelHealth;
use blufio_core::record::{
    ApprovalView, AuditView, ChannelView, CostBy, CostLine, Grant, InboxView, MessageView, Pairing, PairingRequest,
    RunView, ScheduleView, SessionView, TurnView,
};
use blufio_core::schedule::Schedule;
use blufio_core::secret::Secret;
use blufio_core::time::Timestamp;
use blufio_runtime::scheduler::ScheduleWish;
use blufio_runtime::{ContextView, HostStatus, Said};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

/// The socket's name in the data folder.
const SOCKET: &str = "blufio.sock";
/// The status of everything that needs the root key, while the server has none.
const LOCKED: u16 = 423;
/// Characters of an answer that is not understood which are shown.
const GARBLED_CHARS_MAX: usize = 200;

/// A client of one server.
#[derive(Clone, Debug)]
pub struct Client {
    local: Local,
}

/// Why a call did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No server listens. Nothing was sent.
    #[error("no server is running")]
    Absent,
    /// The connection broke, or no answer came in time; the call may have been carried out.
    #[error("{0}")]
    Broken(String),
    /// The server said no.
    #[error("{message}")]
    Refused {
        /// The status of HTTP.
        status: u16,
        /// What the server said.
        message: String,
        /// What it advises.
        hint: Option<String>,
    },
    /// The answer is not one of this version's.
    #[error("the answer makes no sense: {0}")]
    Garbled(String),
}

impl CallError {
    /// A server that comes back may carry it out.
    pub fn passes(&self) -> bool {
        matches!(self, Self::Absent | Self::Broken(_)) || self.is_unavailable()
    }

    /// The server is there but does not want to now: it is full, or about to end.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Refused { status: 503, .. })
    }
}

impl From<EgressError> for CallError {
    fn from(error: EgressError) -> Self {
        match error {
            EgressError::NotConnected(_) => Self::Absent,
            EgressError::Address(_) | EgressError::Build(_) => Self::Garbled(error.to_string()),
            EgressError::Broken(_)
            | EgressError::Timeout
            | EgressError::TooLarge { .. }
            | EgressError::Unreadable(_) => Self::Broken(error.to_string()),
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused { status, message, hint } => {
                let code = if status == LOCKED { Self::PERMISSION } else { Self::GENERAL };
                Self { hint, ..Self::new(message, code) }
            }
            CallError::Absent => Self {
                hint: Some("start it with `blufio serve`".to_owned()),
                ..Self::new("no server is running", Self::UNAVAILABLE)
            },
            CallError::Broken(cause) => Self {
                cause: Some(cause),
                hint: Some("`blufio status` says whether the server is well".to_owned()),
                ..Self::new("the server does not answer", Self::UNAVAILABLE)
            },
            CallError::Garbled(cause) => Self {
                cause: Some(cause),
                hint: Some("the server may be of another version; restart it".to_owned()),
                ..Self::new("the server was not understood", Self::UNAVAILABLE)
            },
        }
    }
}

/// What the server says about itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Its version.
    pub version: String,
    /// How everything is.
    pub status: HostStatus,
}

/// How a channel is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelStatus {
    /// Its own view; `None`: it does not run.
    pub health: Option<ChannelHealth>,
    /// Why the process is not ready, if it is for this channel.
    pub trouble: Option<String>,
    /// What the operator should know although nothing fails.
    #[serde(default)]
    pub remark: Option<String>,
    /// What waits, and what could not be delivered.
    pub outbox: ChannelView,
}

/// An owner's decision about people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Lets the holder of a code in.
    Approve {
        /// The code.
        code: String,
        /// Make them an owner.
        owner: bool,
    },
    /// Turns the request with this code down.
    Reject {
        /// The code.
        code: String,
    },
    /// Takes an approval back.
    Revoke {
        /// Who.
        user: i64,
    },
}

/// What a look at the audit log has shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditState {
    /// Entries that are good.
    pub entries: u64,
    /// The last of them, to be kept elsewhere.
    pub head: String,
    /// The seals were looked at, too.
    pub sealed: bool,
    /// The first thing that is wrong.
    pub trouble: Option<String>,
}

impl From<AuditVerdict> for AuditState {
    fn from(verdict: AuditVerdict) -> Self {
        let AuditVerdict { entries, head, sealed, trouble } = verdict;
        Self { entries, head: head.to_string(), sealed, trouble: trouble.map(|trouble| trouble.to_string()) }
    }
}

/// Who is known, and who wants to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct People {
    /// Approved.
    pub paired: Vec<Person>,
    /// Waiting for an answer.
    pub requests: Vec<Request>,
}

/// Somebody who is, was, or will not be paired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The channel.
    pub channel: String,
    /// Its account.
    pub account: i64,
    /// Who.
    pub user: i64,
    /// The name they give themselves; proves nothing.
    pub name: String,
    /// May do everything.
    pub owner: bool,
    /// Since when.
    pub at: Timestamp,
}

/// Somebody who asks to be let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The channel.
    pub channel: String,
    /// Its account.
    pub account: i64,
    /// Who.
    pub user: i64,
    /// The name they give themselves; proves nothing.
    pub name: String,
    /// The code.
    pub code: String,
    /// Valid until.
    pub expires: Timestamp,
}

impl From<Pairing> for Person {
    fn from(pairing: Pairing) -> Self {
        let Pairing { channel, account, user, name, owner, at } = pairing;
        Self { channel: channel.to_string(), account, user, name, owner, at }
    }
}

impl From<PairingRequest> for Request {
    fn from(request: PairingRequest) -> Self {
        let PairingRequest { channel, account, user, name, code, expires } = request;
        Self { channel: channel.to_string(), account, user, name, code, expires }
    }
}

/// What a follower of a session hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Something happened.
    Event(Event),
    /// Events were missed; the row of the message has the truth.
    Gap,
}

/// A session's events as they happen.
#[derive(Debug)]
pub struct Follower(Events);

impl Follower {
    /// The next one. The end of the stream is an error that passes, since the session itself never ends.
    pub async fn next(&mut self) -> Result<Heard, CallError> {
        match self.0.next().await? {
            None => Err(CallError::Broken("the server closed the connection".to_owned())),
            Some((name, _)) if name == "gap" => Ok(Heard::Gap),
            Some((_, data)) => read(&data).map(Heard::Event),
        }
    }
}

/// Whose things those of an installation are to be: whoever runs this, or for root whoever owns the data folder.
pub fn user(data_dir: &Path) -> u32 {
    match (rustix::process::geteuid().as_raw(), data_dir.metadata()) {
        (0, Ok(metadata)) => metadata.uid(),
        (user, _) => user,
    }
}

/// Whoever listens at the socket is told secrets, so only this user or root may have made it: nobody else can where the
/// folder is theirs and not writable for others. Root may speak to the server of any user, and to no other one there.
fn own(data_dir: &Path) -> Result<(), Failure> {
    let socket = data_dir.join(SOCKET);
    let refused = |path: &Path, cause: String, hint: String| {
        Err(Failure {
            message: format!("whatever listens at {} is not trusted", socket.display()),
            cause: Some(format!("{}: {cause}", path.display())),
            hint: Some(hint),
            code: Failure::PERMISSION,
        })
    };
    let user = user(data_dir);
    // A link to the folder counts as well as the folder: whoever owns it decides where it leads.
    let looks = [
        (data_dir, data_dir.symlink_metadata()),
        (data_dir, data_dir.metadata()),
        (&socket, socket.symlink_metadata()),
    ];
    for (path, metadata) in looks {
        let metadata = match metadata {
            Ok(metadata) => metadata,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
            Err(error) => {
                return refused(path, error.to_string(), "run this as the user who runs the server".to_owned());
            }
        };
        let owner = metadata.uid();
        if owner != user && owner != 0 {
            let cause = format!("it belongs to user {owner}, not to user {user}");
            return refused(path, cause, format!("run this as that user: `sudo -u '#{owner}' blufio …`"));
        }
        if metadata.is_dir() && metadata.mode() & 0o022 != 0 {
            let cause = "others may put another socket there".to_owned();
            return refused(path, cause, format!("chmod go-w {}", path.display()));
        }
        if path == socket && !metadata.file_type().is_socket() {
            return refused(
                path,
                "it is no socket".to_owned(),
                format!("look what it is, then `rm {}`", path.display()),
            );
        }
    }
    Ok(())
}

impl Client {
    /// A client of the server that keeps its data in `data_dir`, whether or not it runs. Refused where somebody else could
    /// have put a socket there.
    pub fn new(data_dir: &Path) -> Result<Self, Failure> {
        own(data_dir)?;
        let local = Local::new(&data_dir.join(SOCKET));
        let local = local.map_err(|error| Failure::internal("the HTTP client could not be set up", &error))?;
        Ok(Self { local })
    }

    /// A client of the server that keeps its data in `data_dir`, if it runs.
    pub async fn find(data_dir: &Path) -> Result<Option<Self>, Failure> {
        let client = Self::new(data_dir)?;
        match client.health().await {
            Ok(()) => Ok(Some(client)),
            Err(CallError::Absent) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a server answers at all.
    pub async fn health(&self) -> Result<(), CallError> {
        accepted(self.local.get(&["healthz"], &[]).await?).map(drop)
    }

    /// Whether it waits for its root key.
    pub async fn is_locked(&self) -> Result<bool, CallError> {
        let answer = self.local.get(&["readyz"], &[]).await?;
        Ok(answer.status == 503 && answer.body == crate::gateway::locked::WORD.as_bytes())
    }

    /// Brings the root key to a server that waits for it.
    pub async fn unlock(&self, root: &RootKey) -> Result<(), CallError> {
        let body = json!({ "root_key": root.reveal().as_str() });
        self.post::<serde_json::Value>(&["v1", "unlock"], &body).await.map(drop)
    }

    /// Says something in a session. `client_id` names the message: saying it twice is saying it once.
    pub async fn say(&self, session: &SessionKey, client_id: &str, text: &str) -> Result<Said, CallError> {
        self.post(&["v1", "messages"], &json!({"session": session, "client_id": client_id, "text": text})).await
    }

    /// What became of a message.
    pub async fn message(&self, inbox: InboxId) -> Result<InboxView, CallError> {
        self.get(&["v1", "messages", &inbox.to_string()], &[]).await
    }

    /// Sessions, newest activity first, at most `limit`.
    pub async fn sessions(&self, limit: u32) -> Result<Vec<SessionView>, CallError> {
        self.get(&["v1", "sessions"], &[("limit", &limit.to_string())]).await
    }

    /// The newest `limit` messages of a session, oldest of them first.
    pub async fn messages(&self, session: &SessionKey, limit: u32) -> Result<Vec<MessageView>, CallError> {
        self.get(&["v1", "sessions", session.as_str(), "messages"], &[("limit", &limit.to_string())]).await
    }

    /// What the next request of a session would hold.
    pub async fn context(&self, session: &SessionKey) -> Result<ContextView, CallError> {
        self.get(&["v1", "sessions", session.as_str(), "context"], &[]).await
    }

    /// What happened in a session's turns, oldest first.
    pub async fn journal(&self, session: &SessionKey, turn: Option<TurnNumber>) -> Result<Vec<TurnView>, CallError> {
        let number = turn.map(|turn| turn.to_string());
        let query: Vec<(&str, &str)> = number.iter().map(|number| ("turn", number.as_str())).collect();
        self.get(&["v1", "sessions", session.as_str(), "journal"], &query).await
    }

    /// Follows a session, beginning with the oldest event that the server still has.
    pub async fn follow(&self, session: &SessionKey) -> Result<Follower, CallError> {
        match self.local.events(&["v1", "sessions", session.as_str(), "events"], &[]).await? {
            Ok(events) => Ok(Follower(events)),
            Err(answer) => Err(refusal(&answer)),
        }
    }

    /// Stops what runs in a session and drops what waits.
    pub async fn stop(&self, session: &SessionKey) -> Result<Said, CallError> {
        self.post(&["v1", "sessions", session.as_str(), "stop"], &json!({})).await
    }

    /// How the server is.
    pub async fn status(&self) -> Result<ServerStatus, CallError> {
        self.get(&["v1", "status"], &[]).await
    }

    /// Who is known.
    pub async fn people(&self) -> Result<People, CallError> {
        self.get(&["v1", "pairings"], &[]).await
    }

    /// Decides about somebody. Whether there is an owner already is for the server to know.
    pub async fn decide(&self, decision: &Decision) -> Result<Person, CallError> {
        let (word, body) = match decision {
            Decision::Approve { code, owner } => ("approve", json!({"code": code, "owner": owner})),
            Decision::Reject { code } => ("reject", json!({ "code": code })),
            Decision::Revoke { user } => ("revoke", json!({ "user": user })),
        };
        self.post(&["v1", "pairings", word], &body).await
    }

    /// An address that lets in whoever opens it first.
    pub async fn link(&self, channel: &ChannelName) -> Result<String, CallError> {
        #[derive(Deserialize)]
        struct Made {
            link: String,
        }
        let made: Made = self.post(&["v1", "pairings", "link"], &json!({ "channel": channel })).await?;
        Ok(made.link)
    }

    /// Questions that wait for an owner's answer, oldest first.
    pub async fn approvals(&self) -> Result<Vec<ApprovalView>, CallError> {
        self.get(&["v1", "approvals"], &[]).await
    }

    /// Answers a question, named by its whole id.
    pub async fn answer(&self, id: &ApprovalId, verdict: Verdict) -> Result<(), CallError> {
        let (word, body) = match verdict {
            Verdict::Allow => ("approve", json!({ "id": id })),
            Verdict::Always => ("approve", json!({ "id": id, "always": true })),
            Verdict::Deny => ("deny", json!({ "id": id })),
        };
        self.post::<serde_json::Value>(&["v1", "approvals", word], &body).await.map(drop)
    }

    /// What is always allowed, oldest first.
    pub async fn grants(&self) -> Result<Vec<Grant>, CallError> {
        self.get(&["v1", "grants"], &[]).await
    }

    /// Takes an "always" back.
    pub async fn revoke(&self, grant: GrantId) -> Result<(), CallError> {
        self.post::<serde_json::Value>(&["v1", "grants", "revoke"], &json!({ "grant": grant })).await.map(drop)
    }

    /// How a channel is.
    pub async fn channel(&self, name: &ChannelName) -> Result<ChannelStatus, CallError> {
        self.get(&["v1", "channels", name.as_str()], &[]).await
    }

    /// Sends a given-up message of a channel again, or all of the last day; says how many.
    pub async fn retry(&self, name: &ChannelName, row: Option<OutboxId>) -> Result<u32, CallError> {
        #[derive(Deserialize)]
        struct Done {
            revived: u32,
        }
        let done: Done = self.post(&["v1", "channels", name.as_str(), "retry"], &json!({ "row": row })).await?;
        Ok(done.revived)
    }

    /// Sends a message to a chat; when this returns, it is stored and waits for its turn.
    pub async fn send(&self, name: &ChannelName, chat: i64, text: &str) -> Result<(), CallError> {
        let body = json!({"chat": chat, "text": text});
        self.post::<serde_json::Value>(&["v1", "channels", name.as_str(), "send"], &body).await.map(drop)
    }

    /// What the vault holds.
    pub async fn vault_list(&self) -> Result<Vec<Kept>, CallError> {
        self.get(&["v1", "vault"], &[]).await
    }

    /// Keeps a secret. An older server that knows no use by the agent refuses one.
    pub async fn vault_set(&self, name: &str, value: &Secret, by_agent: &Use) -> Result<Kept, CallError> {
        let mut body = json!({"name": name, "value": value.expose()});
        if *by_agent != Use::default()
            && let Some(body) = body.as_object_mut()
        {
            body.insert("by_agent".to_owned(), json!(by_agent));
        }
        self.post(&["v1", "vault", "set"], &body).await
    }

    /// A secret, to be shown to the person at the terminal.
    pub async fn vault_reveal(&self, name: &str) -> Result<Secret, CallError> {
        #[derive(Deserialize)]
        struct Revealed {
            value: String,
        }
        let revealed: Revealed = self.post(&["v1", "vault", "reveal"], &json!({ "name": name })).await?;
        Ok(Secret::new(revealed.value))
    }

    /// Takes a secret out.
    pub async fn vault_remove(&self, name: &str) -> Result<(), CallError> {
        self.post::<serde_json::Value>(&["v1", "vault", "remove"], &json!({ "name": name })).await.map(drop)
    }

    /// Gives the vault a new key, or wraps its key anew; says how many secrets were encrypted anew.
    pub async fn vault_rotate(&self, depth: Depth) -> Result<usize, CallError> {
        #[derive(Deserialize)]
        struct Done {
            secrets: usize,
        }
        let deep = depth == Depth::Records;
        let done: Done = self.post(&["v1", "vault", "rotate"], &json!({ "deep": deep })).await?;
        Ok(done.secrets)
    }

    /// Moves what the server found in its environment into the vault; says which.
    pub async fn vault_import(&self) -> Result<Imported, CallError> {
        self.post(&["v1", "vault", "import"], &json!({})).await
    }

    /// What calls since an instant have cost, of all conversations or one.
    pub async fn costs(
        &self,
        by: CostBy,
        since: Timestamp,
        session: Option<&SessionKey>,
    ) -> Result<Vec<CostLine>, CallError> {
        let by = serde_json::to_value(by).ok().and_then(|by| by.as_str().map(str::to_owned)).unwrap_or_default();
        let since = since.0.to_string();
        let mut query = vec![("by", by.as_str()), ("since", since.as_str())];
        query.extend(session.map(|session| ("session", session.as_str())));
        self.get(&["v1", "costs"], &query).await
    }

    /// What is scheduled.
    pub async fn schedules(&self) -> Result<Vec<ScheduleView>, CallError> {
        self.get(&["v1", "schedules"], &[]).await
    }

    /// The newest runs of a schedule, newest first.
    pub async fn runs(&self, id: ScheduleId, limit: u32) -> Result<Vec<RunView>, CallError> {
        self.get(&["v1", "schedules", "runs"], &[("id", &id.to_string()), ("limit", &limit.to_string())]).await
    }

    /// Makes, removes or turns a schedule.
    pub async fn schedule(&self, wish: &ScheduleWish) -> Result<Schedule, CallError> {
        self.post(&["v1", "schedules"], &json!(wish)).await
    }

    /// Runs a schedule now.
    pub async fn run_schedule(&self, id: ScheduleId) -> Result<(), CallError> {
        self.post::<serde_json::Value>(&["v1", "schedules", "run"], &json!({ "id": id })).await.map(drop)
    }

    /// Turns the kill switch.
    pub async fn switch(&self, killed: bool) -> Result<(), CallError> {
        self.post::<serde_json::Value>(&["v1", "kill"], &json!({ "killed": killed })).await.map(drop)
    }

    /// Makes a recovery code count.
    pub async fn vault_recovery(&self, code: &Secret) -> Result<(), CallError> {
        self.post::<serde_json::Value>(&["v1", "vault", "recovery"], &json!({ "code": code.expose() })).await.map(drop)
    }

    /// What protects the server, as far as it knows.
    pub async fn security(&self) -> Result<Service, CallError> {
        self.get(&["v1", "security"], &[]).await
    }

    /// The newest `limit` lines of the audit log before number `before`, newest first.
    pub async fn audit(&self, limit: u32, before: Option<u64>) -> Result<Vec<AuditView>, CallError> {
        let (limit, before) = (limit.to_string(), before.map(|before| before.to_string()));
        let mut query = vec![("limit", limit.as_str())];
        query.extend(before.as_deref().map(|before| ("before", before)));
        self.get(&["v1", "audit"], &query).await
    }

    /// Whether the audit log is whole.
    pub async fn verify_audit(&self, since: Option<&str>) -> Result<AuditState, CallError> {
        self.post(&["v1", "audit", "verify"], &json!({ "since": since })).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, &str)]) -> Result<T, CallError> {
        read(&accepted(self.local.get(path, query).await?)?)
    }

    async fn post<T: DeserializeOwned>(&self, path: &[&str], body: &serde_json::Value) -> Result<T, CallError> {
        read(&accepted(self.local.post(path, body.to_string().into_bytes()).await?)?)
    }
}

fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, CallError> {
    serde_json::from_slice(json).map_err(|error| CallError::Garbled(error.to_string()))
}

fn accepted(answer: Answer) -> Result<Vec<u8>, CallError> {
    if (200..300).contains(&answer.status) { Ok(answer.body) } else { Err(refusal(&answer)) }
}

fn refusal(answer: &Answer) -> CallError {
    #[derive(Deserialize)]
    struct Body {
        error: Error,
    }
    #[derive(Deserialize)]
    struct Error {
        message: String,
        hint: Option<String>,
    }
    match serde_json::from_slice::<Body>(&answer.body) {
        Ok(Body { error: Error { message, hint } }) => CallError::Refused { status: answer.status, message, hint },
        Err(_) => {
            let text: String = String::from_utf8_lossy(&answer.body).chars().take(GARBLED_CHARS_MAX).collect();
            CallError::Garbled(format!("status {}: {}", answer.status, crate::config::diagnostic::printable(&text)))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn people_have_the_servers_form() {
        let pairing = Pairing {
            channel: ChannelName::new("telegram"),
            account: 1,
            user: 2,
            name: "A".into(),
            owner: true,
            at: Timestamp(3),
        };
        let sent = serde_json::to_value(&pairing).unwrap();
        assert_eq!(serde_json::from_value::<Person>(sent).unwrap(), Person::from(pairing));
        let request = PairingRequest {
            channel: ChannelName::new("telegram"),
            account: 1,
            user: 2,
            name: "A".into(),
            code: "ABCD".into(),
            expires: Timestamp(3),
        };
        let sent = serde_json::to_value(&request).unwrap();
        assert_eq!(serde_json::from_value::<Request>(sent).unwrap(), Request::from(request));
    }

    #[test]
    fn refusals_keep_message_and_hint() {
        let answer = |status, body: &str| Answer { status, body: body.into() };
        let error = refusal(&answer(404, r#"{"error":{"message":"no such message","hint":null}}"#));
        assert!(
            matches!(&error, CallError::Refused { status: 404, message, hint: None } if message == "no such message")
        );
        assert!(!error.passes());
        assert!(refusal(&answer(503, r#"{"error":{"message":"full","hint":"later"}}"#)).passes());
        assert!(
            matches!(refusal(&answer(500, "<html>\u{1b}[2J")), CallError::Garbled(text) if !text.contains('\u{1b}'))
        );
    }
}
