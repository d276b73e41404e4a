//! A session in memory: the prompt of its epoch, and the numbers that come next.

use super::Engine;
use super::measuring::Measured;
use super::prefix::{Prefix, audience, is_look, scope};
use super::turn::Course;
use crate::desk::Papers;
use blufio_core::content::attachments;
use blufio_core::context::caching;
use blufio_core::context::compaction::clear_results;
use blufio_core::context::standing::Audience;
use blufio_core::exposure::{Exposure, clear};
use blufio_core::ids::{
    CallId, CallNumber, EpochNumber, InboxId, MessageSeq, ModelId, SessionId, SessionKey, ToolName, TurnNumber,
};
use blufio_core::limits::{PROMPT_FILES_BYTES_MAX, PROMPT_FILES_MAX};
use blufio_core::memory::{Fact, Scope};
use blufio_core::message::{Body, Origin, Part, Role};
use blufio_core::port::{PromptMessage, StoreError};
use blufio_core::record::{
    Epoch, InboxRow, NeutralMessage, NewMessage, Record, RunningTurn, Shared, Snapshot, Summary,
};
use blufio_core::time::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// After a silence of this length, words of others leave the prompt. The vendor's cache is long cold by then, so that rendering
/// it anew costs nothing more.
const FOREIGN_KEPT: Duration = Duration::from_secs(6 * 3_600);

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
    /// The effort the person chose.
    pub effort: Option<String>,
    pub stop_before: InboxId,
    /// What the prompt shows, once somebody asked.
    pub exposed: Option<Exposure>,
    /// Up to this message, words of others are not in the prompt.
    cleared: MessageSeq,
    /// What takes the place of the messages before the prompt's first one.
    pub summary: Option<Summary>,
    /// Tokens of the prompt with the last answer, as the vendor counted them; none: nobody has counted.
    pub tokens: Option<u64>,
    /// The last turn's last call.
    pub last_call: CallNumber,
    /// When the last message was stored.
    last_at: Timestamp,
    pub(super) measured: Measured,
    pub(super) course: Course,
    /// Who reads it.
    pub(super) audience: Audience,
    /// Whose memory it is, and the standing facts of that.
    pub(super) scope: Scope,
    pub(super) standing: Arc<[Fact]>,
    /// Up to this message, what is worth knowing was written down.
    pub(super) learned: MessageSeq,
    /// What lies on the desk, and what would stand in front of it, as of the last look.
    pub(super) papers: Arc<Papers>,
    pub(super) prefix: Prefix,
}

impl Session {
    pub async fn from_snapshot(engine: &Engine, snapshot: Snapshot) -> (Self, Option<RunningTurn>) {
        let audience =
            snapshot.running.as_ref().map_or(Audience::Others, |running| audience(&snapshot.key, &running.inbox));
        // Its looks are asked of the cheapest model there is.
        let cheapest = || engine.settings.catalogue.cheaper(&engine.settings.model, engine.adapters.clock.now()).pop();
        let model = if is_look(&snapshot.key) { cheapest() } else { snapshot.model };
        let papers = engine.papers().await;
        let scope = snapshot.scope;
        let standing = engine.standing(&scope).await;
        let history = snapshot.history.into_iter().map(|message| engine.message(message.role, message.wire));
        let session = Self {
            cleared: snapshot.epoch.as_ref().map_or(MessageSeq(0), |epoch| epoch.cleared),
            summary: snapshot.epoch.as_ref().and_then(|epoch| epoch.summary.clone()),
            tokens: None,
            last_call: snapshot.last_call,
            last_at: snapshot.last_at,
            course: Course::default(),
            learned: snapshot.learned,
            prefix: engine.prefix(&papers, &standing, audience),
            papers,
            audience,
            scope,
            standing,
            measured: Measured::new(snapshot.gaps, snapshot.last_call_at),
            id: snapshot.id,
            key: snapshot.key,
            epoch: snapshot.epoch,
            history: history.collect(),
            last_message: snapshot.last_message,
            last_turn: snapshot.last_turn,
            model,
            zone: snapshot.zone,
            effort: snapshot.effort,
            stop_before: snapshot.stop_before,
            exposed: None,
        };
        (session, snapshot.running)
    }

    /// Looks at what lies on the desk, for the answer to a row.
    pub async fn look(&mut self, engine: &Engine, row: &InboxRow) {
        self.papers = engine.papers().await;
        self.audience = audience(&self.key, row);
        self.scope = scope(&self.key, row);
        self.standing = engine.standing(&self.scope).await;
        self.prefix = engine.prefix(&self.papers, &self.standing, self.audience);
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
                && epoch.configured == engine.configured
                && epoch.tools == self.prefix.tools
        })
    }

    /// The first record of a turn: a new epoch where the old one does not fit any more, rendered from the neutral parts. A
    /// prompt whose files have become too many for one request is such a case: from then on the older ones are described. So is
    /// one with words of others after a long silence: from then on they are left out.
    pub async fn refresh(&mut self, engine: &Engine, coming: &[Part]) -> Result<Option<Record>, StoreError> {
        if self.audience == Audience::Nobody {
            // Each look stands alone.
            let first = self.last_message.next();
            return self.render_epoch(engine, first, None).await.map(Some);
        }
        let room = coming.iter().filter_map(file_bytes).fold(Room::WHOLE, Room::without);
        let shown = || self.history.iter().flat_map(|message| attachments(&message.wire)).map(|(_, bytes)| bytes);
        let fits = shown().try_fold(room, |room, bytes| room.minus(bytes)).is_some();
        let now = engine.adapters.clock.now();
        let silence = now.since(std::mem::replace(&mut self.last_at, now));
        let stale = silence >= FOREIGN_KEPT && self.exposure(engine).await?.is_foreign();
        // When the cache is cold in any case, what has changed on the desk takes its place in front.
        let changed =
            silence > caching::HOUR && self.epoch.as_ref().is_some_and(|epoch| epoch.system != self.prefix.system);
        if self.fits(engine) && fits && !stale && !changed {
            return Ok(None);
        }
        if stale || changed || !self.fits(engine) {
            self.cleared = self.last_message;
        }
        let first = self.epoch.as_ref().map_or(MessageSeq(1), |epoch| epoch.first);
        // Half of it, so that the prompt is not rendered anew with every picture.
        self.render(engine, first, if fits { room } else { room.half() }).await.map(Some)
    }

    /// Opens an epoch whose prompt begins with message `first`, without any vendor bytes of the old one; `summary` takes the
    /// place of what was before.
    pub async fn render_epoch(
        &mut self,
        engine: &Engine,
        first: MessageSeq,
        summary: Option<Summary>,
    ) -> Result<Record, StoreError> {
        (self.summary, self.tokens) = (summary, None);
        self.render(engine, first, Room::WHOLE).await
    }

    /// The same, showing only the newest files that fit.
    pub async fn render(&mut self, engine: &Engine, first: MessageSeq, room: Room) -> Result<Record, StoreError> {
        let provider = &engine.adapters.provider;
        let mut stored = self.shown(engine, first).await?;
        describe_old_files(&mut stored, room);
        let mut wires = Vec::with_capacity(stored.len());
        self.history.clear();
        self.exposed = None;
        for message in stored {
            // A message of which nothing is left (only thinking) still has to be there, so that roles alternate.
            let empty = || {
                provider.render_message(message.role, &blufio_core::session::note(blufio_core::session::Note::NoReply))
            };
            let Some(wire) = provider.render_message(message.role, &message.parts).or_else(empty) else { continue };
            self.history.push(engine.message(message.role, wire.clone()));
            wires.push((message.seq, wire));
        }
        let epoch = Epoch {
            number: self.epoch.as_ref().map_or(EpochNumber(1), |epoch| epoch.number.next()),
            provider: provider.name().to_owned(),
            model: self.wanted_model(engine).clone(),
            system: self.prefix.system.clone(),
            tools: self.prefix.tools.clone(),
            configured: engine.configured.clone(),
            private: self.prefix.private,
            first,
            cleared: self.cleared,
            summary: self.summary.clone(),
            wires,
        };
        self.epoch = Some(Epoch { wires: Vec::new(), ..epoch.clone() });
        Ok(Record::Epoch(epoch))
    }

    /// The messages of the prompt that begins with `first`, without the words of others that are left out of it.
    pub async fn shown(&self, engine: &Engine, first: MessageSeq) -> Result<Vec<NeutralMessage>, StoreError> {
        if first > self.last_message {
            return Ok(Vec::new());
        }
        let mut stored = engine.adapters.storage.parts(self.id, first).await?;
        let known = |name: &_| engine.tools.contains_key(name);
        clear(stored.iter_mut().filter(|message| message.seq <= self.cleared), known);
        if let Some(summary) = &self.summary {
            shorten(&mut stored, summary, |name| engine.tools.contains_key(name));
        }
        Ok(stored)
    }

    /// The model has said this in the prompt as it stands, without words of others before it. Only letters and digits are
    /// compared, since channels show Markdown in their own way.
    pub async fn says(&self, engine: &Engine, text: &str) -> Result<bool, StoreError> {
        let plain = |text: &str| text.chars().filter(|one| one.is_alphanumeric()).collect::<String>();
        let wanted = plain(text);
        let mut said = String::new();
        for part in self.shown(engine, self.first()).await?.iter().flat_map(|message| &message.parts) {
            if let (Origin::Model, Body::Text { text }) = (part.origin, &part.body) {
                said += &plain(text);
                said.push('\n');
            }
        }
        Ok(!wanted.is_empty() && said.contains(&wanted))
    }

    /// How long nobody has said anything.
    pub fn silence(&self, now: Timestamp) -> Duration {
        now.since(self.last_at)
    }

    /// The system text and the tools of the prompt.
    pub fn frozen_bytes(&self) -> (Shared, Shared) {
        let epoch = self.epoch.as_ref();
        let wanted = || (self.prefix.system.clone(), self.prefix.tools.clone());
        epoch.map_or_else(wanted, |epoch| (epoch.system.clone(), epoch.tools.clone()))
    }

    /// The first message of the prompt.
    pub fn first(&self) -> MessageSeq {
        self.epoch.as_ref().map_or(MessageSeq(1), |epoch| epoch.first)
    }

    /// A message of ours or the person's joins the conversation.
    pub fn append(&mut self, engine: &Engine, role: Role, parts: Vec<Part>) -> Option<Record> {
        let wire = engine.adapters.provider.render_message(role, &parts)?;
        Some(self.append_wire(engine, role, parts, wire))
    }

    /// A message with its vendor bytes joins the conversation.
    pub fn append_wire(&mut self, engine: &Engine, role: Role, parts: Vec<Part>, wire: Shared) -> Record {
        let seq = self.last_message.next();
        self.last_message = seq;
        self.history.push(engine.message(role, wire.clone()));
        if let Some(exposed) = &mut self.exposed {
            exposed.add(&parts);
        }
        let epoch = self.epoch.as_ref().map_or(EpochNumber(1), |epoch| epoch.number);
        Record::Message(NewMessage { seq, role, parts, wire, epoch })
    }
}

/// Puts a summary before the first message, and one line in the place of each large result that is old.
fn shorten(messages: &mut [NeutralMessage], summary: &Summary, known: impl Fn(&ToolName) -> bool) {
    let calls: HashMap<CallId, ToolName> = messages
        .iter()
        .flat_map(|message| &message.parts)
        .filter_map(|part| match &part.body {
            Body::ToolCall { id, name, .. } if known(name) => Some((id.clone(), name.clone())),
            _ => None,
        })
        .collect();
    for message in messages.iter_mut().filter(|message| message.seq <= summary.results_cleared) {
        clear_results(message, |call| calls.get(call).cloned());
    }
    if let Some(first) = messages.first_mut().filter(|_| !summary.text.is_empty()) {
        let text = format!(
            "[What was said before message {}, summarised; `read_again` shows a message by its number:]\n{}",
            first.seq, summary.text
        );
        let origin = if summary.mixed { Origin::Derived } else { Origin::Model };
        first.parts.insert(0, Part { origin, private: summary.private, body: Body::Text { text } });
    }
}

/// Room for files in a prompt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    bytes: u64,
    files: usize,
}

impl Room {
    /// All there is.
    const WHOLE: Self = Self { bytes: PROMPT_FILES_BYTES_MAX, files: PROMPT_FILES_MAX };
    /// For none.
    pub(super) const NONE: Self = Self { bytes: 0, files: 0 };

    /// What is left beside a file of so many bytes; none if it does not fit.
    fn minus(self, bytes: u64) -> Option<Self> {
        Some(Self { bytes: self.bytes.checked_sub(bytes)?, files: self.files.checked_sub(1)? })
    }

    /// What is left beside a file that is there in any case.
    fn without(self, bytes: u64) -> Self {
        self.minus(bytes).unwrap_or(Self::NONE)
    }

    const fn half(self) -> Self {
        Self { bytes: self.bytes / 2, files: self.files / 2 }
    }
}

/// Bytes of the file that a part shows, if it shows one.
const fn file_bytes(part: &Part) -> Option<u64> {
    match &part.body {
        Body::Image { bytes, .. } | Body::Document { bytes, .. } => Some(*bytes),
        Body::Text { .. } | Body::ToolCall { .. } | Body::ToolResult { .. } | Body::Opaque { .. } => None,
    }
}

/// The newest files stay as they are, as many as fit; of the others only that they were there.
fn describe_old_files(messages: &mut [NeutralMessage], mut room: Room) {
    for part in messages.iter_mut().rev().flat_map(|message| message.parts.iter_mut().rev()) {
        let Some(bytes) = file_bytes(part) else { continue };
        if let Some(left) = room.minus(bytes) {
            room = left;
            continue;
        }
        room = Room::NONE;
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
        let before = vec![
            message(1, vec![image(10), Part::text(Origin::Owner, "look")]),
            message(2, vec![image(70)]),
            message(3, vec![image(20), image(30)]),
        ];
        let check = |bytes: u64, files: usize, expect: &[u64]| {
            let mut messages = before.clone();
            describe_old_files(&mut messages, Room { bytes, files });
            let left: Vec<u64> = messages.iter().flat_map(|message| &message.parts).filter_map(file_bytes).collect();
            assert_eq!(left, expect, "{bytes} bytes, {files} files");
        };
        check(60, 9, &[20, 30]); // What is older than the first that does not fit is described, too.
        check(130, 4, &[10, 70, 20, 30]);
        check(1_000, 3, &[70, 20, 30]);
        check(1_000, 1, &[30]);
        check(1_000, 0, &[]);
    }
}
