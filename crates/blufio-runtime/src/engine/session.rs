//! A session in memory: the prompt of its epoch, and the numbers that come next.

use super::Engine;
use blufio_core::ids::{EpochNumber, InboxId, MessageSeq, ModelId, SessionId, SessionKey, TurnNumber};
use blufio_core::message::{Part, Role};
use blufio_core::port::{PromptMessage, StoreError};
use blufio_core::record::{Epoch, NewMessage, Record, RunningTurn, Shared, Snapshot};

/// A session as its actor holds it.
pub(super) struct Session {
    pub id: SessionId,
    pub key: SessionKey,
    pub epoch: Option<Epoch>,
    pub history: Vec<PromptMessage>,
    pub last_message: MessageSeq,
    pub last_turn: TurnNumber,
    /// The model the person chose.
    pub model: Option<ModelId>,
    pub stop_before: InboxId,
}

impl Session {
    pub fn from_snapshot(snapshot: Snapshot) -> (Self, Option<RunningTurn>) {
        let history =
            snapshot.history.into_iter().map(|message| PromptMessage { role: message.role, wire: message.wire });
        let session = Self {
            id: snapshot.id,
            key: snapshot.key,
            epoch: snapshot.epoch,
            history: history.collect(),
            last_message: snapshot.last_message,
            last_turn: snapshot.last_turn,
            model: snapshot.model,
            stop_before: snapshot.stop_before,
        };
        (session, snapshot.running)
    }

    /// The model of the next turn.
    pub fn wanted_model<'a>(&'a self, engine: &'a Engine) -> &'a ModelId {
        self.model.as_ref().unwrap_or(&engine.settings.model)
    }

    /// The current epoch if it is the one wanted: same system text, same tools, same model, same provider.
    fn fits(&self, engine: &Engine) -> bool {
        self.epoch.as_ref().is_some_and(|epoch| {
            epoch.provider == engine.adapters.provider.name()
                && epoch.model == *self.wanted_model(engine)
                && epoch.system == engine.system
                && epoch.tools == engine.rendered_tools
        })
    }

    /// The first record of a turn: a new epoch where the old one does not fit any more, rendered from the neutral parts.
    pub async fn refresh(&mut self, engine: &Engine) -> Result<Option<Record>, StoreError> {
        if self.fits(engine) {
            return Ok(None);
        }
        let first = self.epoch.as_ref().map_or(MessageSeq(1), |epoch| epoch.first);
        self.render_epoch(engine, first).await.map(Some)
    }

    /// Opens an epoch whose prompt begins with message `first`, without any vendor bytes of the old one.
    pub async fn render_epoch(&mut self, engine: &Engine, first: MessageSeq) -> Result<Record, StoreError> {
        let provider = &engine.adapters.provider;
        let stored =
            if first > self.last_message { Vec::new() } else { engine.adapters.storage.parts(self.id, first).await? };
        let mut wires = Vec::with_capacity(stored.len());
        self.history.clear();
        for message in stored {
            // A message of which nothing is left (only thinking) still has to be there, so that roles alternate.
            let empty = || {
                provider.render_message(message.role, &blufio_core::session::note(blufio_core::session::Note::NoReply))
            };
            let Some(wire) = provider.render_message(message.role, &message.parts).or_else(empty) else { continue };
            self.history.push(PromptMessage { role: message.role, wire: wire.clone() });
            wires.push((message.seq, wire));
        }
        let epoch = Epoch {
            number: self.epoch.as_ref().map_or(EpochNumber(1), |epoch| epoch.number.next()),
            provider: provider.name().to_owned(),
            model: self.wanted_model(engine).clone(),
            system: engine.system.clone(),
            tools: engine.rendered_tools.clone(),
            first,
            wires,
        };
        self.epoch = Some(Epoch { wires: Vec::new(), ..epoch.clone() });
        Ok(Record::Epoch(epoch))
    }

    /// A message of ours or the person's joins the conversation.
    pub fn append(&mut self, engine: &Engine, role: Role, parts: Vec<Part>) -> Option<Record> {
        let wire = engine.adapters.provider.render_message(role, &parts)?;
        Some(self.append_wire(role, parts, wire))
    }

    /// A message with its vendor bytes joins the conversation.
    pub fn append_wire(&mut self, role: Role, parts: Vec<Part>, wire: Shared) -> Record {
        let seq = self.last_message.next();
        self.last_message = seq;
        self.history.push(PromptMessage { role, wire: wire.clone() });
        let epoch = self.epoch.as_ref().map_or(EpochNumber(1), |epoch| epoch.number);
        Record::Message(NewMessage { seq, role, parts, wire, epoch })
    }
}
