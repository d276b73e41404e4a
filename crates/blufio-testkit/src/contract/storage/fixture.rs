//! Small values for the cases.

use blufio_core::access::Principal;
use blufio_core::content::Content;
use blufio_core::ids::{
    Boot, CallNumber, ChannelName, EpochNumber, InboxId, MessageSeq, ModelId, SessionId, SessionKey, TurnNumber,
};
use blufio_core::message::{Origin, Part, Role, StopReason, Usage};
use blufio_core::money::MicroUsd;
use blufio_core::port::Storage;
use blufio_core::record::{
    Batch, CallCost, Commit, Draft, Epoch, Fate, InboxRow, Item, ModelReason, NewMessage, OpenCall, Record, Rendered,
    Route, Step,
};
use blufio_core::session::{Input, Outcome};
use blufio_core::time::Timestamp;

/// When the cases begin.
pub const AT: Timestamp = Timestamp(1_700_000_000_000);
/// The account of the channel.
pub const ACCOUNT: i64 = 7;

/// The channel of the cases.
pub fn channel() -> ChannelName {
    ChannelName::new("telegram")
}

/// The conversation with a chat.
pub fn key(chat: i64) -> SessionKey {
    SessionKey::new(format!("tg:{ACCOUNT}:dm:{chat}"))
}

/// The way to a chat.
pub fn route(chat: i64, reply_to: Option<i64>) -> Route {
    Route { channel: channel(), account: ACCOUNT, chat, thread: None, reply_to }
}

/// A message to a chat.
pub fn draft(chat: i64, text: &str) -> Draft {
    let body = Rendered { rich: format!("<b>{text}</b>"), plain: text.to_owned() };
    Draft::text(route(chat, None), body)
}

/// An update with that number.
pub fn item(update: i64, fate: Fate) -> Item {
    Item {
        update,
        fingerprint: format!("f{update}"),
        raw: format!("{{\"update_id\":{update}}}").into_bytes().into(),
        fate,
    }
}

/// A message of the owner that waits; its number in the chat is that of the update.
pub fn queue(chat: i64, update: i64, text: &str) -> Item {
    item(
        update,
        Fate::Queue {
            session: key(chat),
            route: route(chat, Some(update)),
            principal: Principal::Owner,
            user: chat,
            content: Content::words(text),
            album: None,
            when_full: Some(draft(chat, "full")),
            pending_max: 20,
        },
    )
}

/// Updates and the cursor after the last of them.
pub fn batch(items: Vec<Item>) -> Batch {
    let cursor = items.iter().map(|item| item.update + 1).max();
    Batch { channel: channel(), account: ACCOUNT, items, cursor, at: AT }
}

/// An epoch without earlier messages.
pub fn epoch(number: i64, first: i64) -> Record {
    Record::Epoch(Epoch {
        number: EpochNumber(number),
        provider: "fake".to_owned(),
        model: ModelId::new("model-a"),
        system: (*b"\"system\"").into(),
        tools: (*b"[]").into(),
        configured: "c".to_owned(),
        private: true,
        first: MessageSeq(first),
        cleared: MessageSeq(0),
        summary: None,
        wires: Vec::new(),
    })
}

/// A message with one text.
pub fn message(epoch: i64, seq: i64, role: Role, text: &str) -> Record {
    let origin = if role == Role::User { Origin::Owner } else { Origin::Model };
    parts(epoch, seq, role, vec![Part::text(origin, text)])
}

/// A message with these parts.
pub fn parts(epoch: i64, seq: i64, role: Role, parts: Vec<Part>) -> Record {
    let wire = format!("wire {seq} in {epoch}").into_bytes().into();
    Record::Message(NewMessage { seq: MessageSeq(seq), role, parts, wire, epoch: EpochNumber(epoch) })
}

/// The record that begins a turn.
pub fn turn_opened(inbox: InboxId) -> Record {
    opened_together(inbox, &[])
}

/// The record that begins a turn for several rows.
pub fn opened_together(inbox: InboxId, also: &[InboxId]) -> Record {
    Record::TurnOpened { inbox, also: also.to_vec(), deadline: Timestamp(AT.0 + 900_000) }
}

/// The oldest row that waits in a session.
pub async fn next(store: &impl Storage, session: SessionId) -> Option<InboxRow> {
    store.waiting(session, 1).await.unwrap().pop()
}

/// A call of a model, with what it would cost at most.
pub fn open_call(call: u32, held: u64) -> OpenCall {
    OpenCall {
        call: CallNumber(call),
        model: ModelId::new("model-a"),
        held: MicroUsd(held),
        prompt_tokens: 1_000,
        max_tokens: 8_192,
        reason: ModelReason::Usual,
        at: AT,
    }
}

/// A step of the journal.
pub fn step(seq: u32, boot: Boot, input: Input) -> Step {
    Step { seq, at: Timestamp(AT.0 + i64::from(seq)), boot, input }
}

/// The first input of a turn.
pub fn admitted() -> Input {
    Input::Admitted { rounds_max: 25, fallback: true, deadline: Timestamp(AT.0 + 900_000) }
}

/// The input of a model that has answered and is done.
pub fn answered() -> Input {
    Input::CallDone { stop: StopReason::EndTurn, calls: Vec::new(), text: true, content: true, cut: false }
}

/// A commit without steps.
pub fn commit(session: SessionId, turn: i64, records: Vec<Record>) -> Commit {
    Commit { session, turn: TurnNumber(turn), steps: Vec::new(), records, audit: Vec::new(), at: AT }
}

/// The begin of a turn: the person's message is `seq`, the model is being asked.
pub fn begin(session: SessionId, turn: i64, inbox: InboxId, seq: i64, boot: Boot) -> Commit {
    let mut records = vec![turn_opened(inbox)];
    if seq == 1 {
        records.push(epoch(1, 1));
    }
    records.push(message(1, seq, Role::User, &format!("question {turn}")));
    records.push(Record::CallOpened(open_call(1, 500)));
    Commit { steps: vec![step(1, boot, admitted())], ..commit(session, turn, records) }
}

/// Its end: the model has answered with message `seq`, and the answer is in the outbox.
pub fn end(session: SessionId, turn: i64, seq: i64, boot: Boot, chat: i64) -> Commit {
    let text = format!("answer {turn}");
    let usage = Usage { input: 10, output: 5, ..Usage::default() };
    let records = vec![
        message(1, seq, Role::Assistant, &text),
        Record::CallClosed {
            call: CallNumber(1),
            cost: CallCost::Settled { usage, cost: MicroUsd(40), uncached: MicroUsd(70) },
            request: Some("req_1".to_owned()),
            failure: None,
        },
        Record::Outbox { drafts: vec![draft(chat, &text)], first_sending: false },
        Record::TurnClosed { outcome: Outcome::Reply, text },
    ];
    Commit { steps: vec![step(2, boot, answered())], ..commit(session, turn, records) }
}
