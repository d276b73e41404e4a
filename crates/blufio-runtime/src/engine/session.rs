//! A session in memory: the prompt of its epoch, and the numbers that come next.

use super::Engine;
use blufio_core::content::attachments;
use blufio_core::ids::{EpochNumber, InboxId, MessageSeq, ModelId, SessionId, SessionKey, TurnNumber};
use blufio_core::limits::PROMPT_FILES_BYTES_MAX;
use blufio_core::message::{Body, Origin, Part, Role};
use blufio_core::port::{PromptMessage, StoreError};
use blufio_core::record::{Epoch, NeutralMessage, NewMessage, Record, RunningTurn, Shared, Snapshot};

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
    /// The time zone the person chose.
    pub zone: Option<String>,
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
            zone: snapshot.zone,
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

    /// The first record of a turn: a new epoch where the old one does not fit any more, rendered from the neutral parts. A
    /// prompt whose files have become too many for one request is such a case: from then on the older ones are described.
    pub async fn refresh(&mut self, engine: &Engine, coming: &[Part]) -> Result<Option<Record>, StoreError> {
        let room = PROMPT_FILES_BYTES_MAX.saturating_sub(coming.iter().map(file_bytes).sum());
        let shown: u64 = self.history.iter().map(|message| wire_bytes(&message.wire)).sum();
        if self.fits(engine) && shown <= room {
            return Ok(None);
        }
        let first = self.epoch.as_ref().map_or(MessageSeq(1), |epoch| epoch.first);
        // Half of it, so that the prompt is not rendered anew with every picture.
        self.render(engine, first, if shown <= room { room } else { room / 2 }).await.map(Some)
    }

    /// Opens an epoch whose prompt begins with message `first`, without any vendor bytes of the old one.
    pub async fn render_epoch(&mut self, engine: &Engine, first: MessageSeq) -> Result<Record, StoreError> {
        self.render(engine, first, PROMPT_FILES_BYTES_MAX).await
    }

    /// The same, showing at most so many bytes of files, the newest ones.
    pub async fn render(&mut self, engine: &Engine, first: MessageSeq, files_max: u64) -> Result<Record, StoreError> {
        let provider = &engine.adapters.provider;
        let mut stored =
            if first > self.last_message { Vec::new() } else { engine.adapters.storage.parts(self.id, first).await? };
        describe_old_files(&mut stored, files_max);
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

/// Bytes of the file that a part shows.
const fn file_bytes(part: &Part) -> u64 {
    match &part.body {
        Body::Image { bytes, .. } | Body::Document { bytes, .. } => *bytes,
        Body::Text { .. } | Body::ToolCall { .. } | Body::ToolResult { .. } | Body::Opaque { .. } => 0,
    }
}

fn wire_bytes(wire: &[u8]) -> u64 {
    attachments(wire).map(|(_, bytes)| bytes).sum()
}

/// The newest files stay as they are, as many as fit; of the others only that they were there.
fn describe_old_files(messages: &mut [NeutralMessage], files_max: u64) {
    let mut room = files_max;
    for part in messages.iter_mut().rev().flat_map(|message| message.parts.iter_mut().rev()) {
        let bytes = file_bytes(part);
        if bytes == 0 {
            continue;
        }
        if bytes <= room {
            room -= bytes;
            continue;
        }
        room = 0;
        let words = match &part.body {
            Body::Document { title, .. } => format!("[The document “{title}” was shown here; it is no longer.]"),
            _ => "[A picture was shown here; it is no longer.]".to_owned(),
        };
        *part = Part::text(Origin::Engine, words);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use blufio_core::ids::AttachmentId;

    #[test]
    fn the_newest_files_stay_and_older_ones_are_described() {
        let image = |bytes| Part {
            origin: Origin::File,
            private: false,
            body: Body::Image { attachment: AttachmentId::new("a"), media_type: "image/jpeg".into(), bytes },
        };
        let message = |seq, parts| NeutralMessage { seq: MessageSeq(seq), role: Role::User, parts };
        let mut messages = vec![
            message(1, vec![image(10), Part::text(Origin::Owner, "look")]),
            message(2, vec![image(70)]),
            message(3, vec![image(20), image(30)]),
        ];
        describe_old_files(&mut messages, 60);
        let left: Vec<u64> = messages.iter().flat_map(|message| &message.parts).map(file_bytes).collect();
        assert_eq!(left, [0, 0, 0, 20, 30], "what is older than the first that does not fit is described, too");
    }
}
