//! Where commands that look get their facts: from the running server, else from the database, else there are none yet.

use crate::client::{AuditState, CallError, ChannelStatus, Client, People};
use crate::failure::Failure;
use crate::keys::{self, Installation};
use crate::wire;
use blufio_core::audit::AuditHead;
use blufio_core::ids::{ChannelName, ScheduleId, SessionKey, TurnNumber};
use blufio_core::port::{AnyStorage, Clock, StoreError};
use blufio_core::record::{
    ApprovalView, AuditView, CostBy, CostLine, Grant, MessageView, Query, RunView, ScheduleView, SessionView,
    StoreStatus, TurnView, View,
};
use blufio_core::time::Timestamp;
use blufio_runtime::clock::SystemClock;
use std::sync::Arc;

/// A place to ask.
pub enum Source {
    /// The server runs.
    Server(Client),
    /// No server runs; this is its database.
    Store(Arc<dyn AnyStorage>),
    /// No server has ever run here.
    Nothing,
}

impl Source {
    /// Finds the best one.
    pub async fn find(here: Installation<'_>) -> Result<Self, Failure> {
        let config = here.config;
        if let Some(client) = Client::find(&config.data_dir).await? {
            return Ok(Self::Server(client));
        }
        if !config.data_dir.join(keys::DATABASE).exists() {
            return Ok(Self::Nothing);
        }
        let keys = keys::existing(here)?;
        Ok(Self::Store(wire::store_reader(config, keys.as_ref().map(|keys| &keys.tree))?))
    }

    /// Sessions, newest activity first.
    pub async fn sessions(&self, limit: u32) -> Result<Vec<SessionView>, Failure> {
        match self {
            Self::Server(client) => Ok(client.sessions(limit).await?),
            Self::Nothing => Ok(Vec::new()),
            Self::Store(store) => match view(store, Query::Sessions { limit }).await? {
                View::Sessions(sessions) => Ok(sessions),
                other => Err(unexpected(&other)),
            },
        }
    }

    /// What is scheduled.
    pub async fn schedules(&self) -> Result<Vec<ScheduleView>, Failure> {
        match self {
            Self::Server(client) => Ok(client.schedules().await?),
            Self::Nothing => Ok(Vec::new()),
            Self::Store(store) => match view(store, Query::Schedules { session: None }).await? {
                View::Schedules(schedules) => Ok(schedules),
                other => Err(unexpected(&other)),
            },
        }
    }

    /// The newest runs of a schedule, newest first.
    pub async fn runs(&self, schedule: ScheduleId, limit: u32) -> Result<Vec<RunView>, Failure> {
        match self {
            Self::Server(client) => Ok(client.runs(schedule, limit).await?),
            Self::Nothing => Ok(Vec::new()),
            Self::Store(store) => match view(store, Query::Runs { schedule, limit }).await? {
                View::Runs(runs) => Ok(runs),
                other => Err(unexpected(&other)),
            },
        }
    }

    /// The newest messages of a session, oldest of them first.
    pub async fn messages(&self, session: &SessionKey, limit: u32) -> Result<Vec<MessageView>, Failure> {
        match self {
            Self::Server(client) => client.messages(session, limit).await.map_err(missing),
            Self::Nothing => Err(no_session(session)),
            Self::Store(store) => {
                let query = Query::Messages { session: session.clone(), limit };
                match view(store, query).await.map_err(advise)? {
                    View::Messages(messages) => Ok(messages),
                    other => Err(unexpected(&other)),
                }
            }
        }
    }

    /// What happened in a session's turns, oldest first.
    pub async fn journal(&self, session: &SessionKey, turn: Option<TurnNumber>) -> Result<Vec<TurnView>, Failure> {
        match self {
            Self::Server(client) => client.journal(session, turn).await.map_err(missing),
            Self::Nothing => Err(no_session(session)),
            Self::Store(store) => {
                let query = Query::Journal { session: session.clone(), turn };
                match view(store, query).await.map_err(advise)? {
                    View::Journal(turns) => Ok(turns),
                    other => Err(unexpected(&other)),
                }
            }
        }
    }

    /// How a channel is; only a server knows its health.
    pub async fn channel(&self, name: &ChannelName) -> Result<ChannelStatus, Failure> {
        match self {
            Self::Server(client) => Ok(client.channel(name).await?),
            Self::Nothing => Ok(ChannelStatus::default()),
            Self::Store(store) => match view(store, Query::Channel(name.clone())).await? {
                View::Channel(outbox) => Ok(ChannelStatus { outbox, ..ChannelStatus::default() }),
                other => Err(unexpected(&other)),
            },
        }
    }

    /// Questions that wait for an owner's answer, oldest first.
    pub async fn approvals(&self) -> Result<Vec<ApprovalView>, Failure> {
        match self {
            Self::Server(client) => Ok(client.approvals().await?),
            Self::Nothing => Ok(Vec::new()),
            Self::Store(store) => match view(store, Query::Approvals).await? {
                View::Approvals(open) => Ok(open),
                other => Err(unexpected(&other)),
            },
        }
    }

    /// What is always allowed, oldest first.
    pub async fn grants(&self) -> Result<Vec<Grant>, Failure> {
        match self {
            Self::Server(client) => Ok(client.grants().await?),
            Self::Nothing => Ok(Vec::new()),
            Self::Store(store) => match view(store, Query::Grants).await? {
                View::Grants(grants) => Ok(grants),
                other => Err(unexpected(&other)),
            },
        }
    }

    /// What calls since an instant have cost, of all conversations or one.
    pub async fn costs(
        &self,
        by: CostBy,
        since: Timestamp,
        session: Option<&SessionKey>,
    ) -> Result<Vec<CostLine>, Failure> {
        match self {
            Self::Server(client) => client.costs(by, since, session).await.map_err(missing),
            Self::Nothing => Ok(Vec::new()),
            Self::Store(store) => {
                let query = Query::Costs { by, since, session: session.cloned() };
                match view(store, query).await.map_err(advise)? {
                    View::Costs(lines) => Ok(lines),
                    other => Err(unexpected(&other)),
                }
            }
        }
    }

    /// Who is known.
    pub async fn people(&self) -> Result<People, Failure> {
        match self {
            Self::Server(client) => Ok(client.people().await?),
            Self::Nothing => Ok(People::default()),
            Self::Store(store) => match view(store, Query::Pairings).await? {
                View::Pairings(paired, requests) => Ok(People {
                    paired: paired.into_iter().map(Into::into).collect(),
                    requests: requests.into_iter().map(Into::into).collect(),
                }),
                other => Err(unexpected(&other)),
            },
        }
    }
}

impl Source {
    /// The newest lines of the audit log before number `before`.
    pub async fn audit(&self, limit: u32, before: Option<u64>) -> Result<Vec<AuditView>, Failure> {
        match self {
            Self::Server(client) => Ok(client.audit(limit, before).await?),
            Self::Nothing => Ok(Vec::new()),
            Self::Store(store) => match view(store, Query::Audit { limit, before }).await? {
                View::Audit(lines) => Ok(lines),
                other => Err(unexpected(&other)),
            },
        }
    }

    /// Whether the audit log is whole; `None`: there is none yet.
    pub async fn verify_audit(&self, since: Option<&str>) -> Result<Option<AuditState>, Failure> {
        match self {
            Self::Server(client) => Ok(Some(client.verify_audit(since).await?)),
            Self::Nothing => Ok(None),
            Self::Store(store) => {
                let refused = || Failure {
                    hint: Some("it looks like 12:3f…, a number and 64 hexadecimal digits".to_owned()),
                    ..Failure::new("that is no head of an audit log", Failure::USAGE)
                };
                let since = since.map(|text| AuditHead::parse(text).ok_or_else(refused)).transpose()?;
                Ok(Some(store.verify_audit(since).await.map_err(of_store)?.into()))
            }
        }
    }
}

/// What the database counts.
pub async fn store_status(store: &Arc<dyn AnyStorage>) -> Result<StoreStatus, Failure> {
    match view(store, Query::Status).await? {
        View::Status(status) => Ok(status),
        other => Err(unexpected(&other)),
    }
}

async fn view(store: &Arc<dyn AnyStorage>, query: Query) -> Result<View, Failure> {
    store.view(query, SystemClock::start().now()).await.map_err(of_store)
}

/// The database's refusals as failures of a command.
pub fn of_store(error: StoreError) -> Failure {
    match error {
        StoreError::NotFound(message) | StoreError::Refused(message) => Failure::new(message, Failure::GENERAL),
        StoreError::Stale(_) => {
            Failure { hint: Some("try again".to_owned()), ..Failure::new(error.to_string(), Failure::GENERAL) }
        }
        StoreError::Full(_) | StoreError::DiskFull | StoreError::Broken(_) | StoreError::Closed => {
            Failure { cause: Some(error.to_string()), ..Failure::new("the database does not answer", Failure::GENERAL) }
        }
    }
}

fn no_session(session: &SessionKey) -> Failure {
    advise(Failure::new(format!("no session `{session}`"), Failure::GENERAL))
}

fn missing(error: CallError) -> Failure {
    if matches!(error, CallError::Refused { status: 404, .. }) { advise(error.into()) } else { error.into() }
}

fn advise(failure: Failure) -> Failure {
    if failure.cause.is_some() || failure.hint.is_some() {
        return failure;
    }
    Failure { hint: Some("`blufio session list` shows the ones there are".to_owned()), ..failure }
}

fn unexpected(view: &View) -> Failure {
    Failure::internal("the database answered another question", &format!("{view:?}"))
}
