//! Random walks over inbox, turns and outbox beside a model of a few lines, with crashes anywhere between two calls.

use super::open;
use blufio_core::content::OutgoingFile;
use blufio_core::ids::{AttachmentId, Boot, InboxId, OutboxId, SessionId};
use blufio_core::message::Role;
use blufio_core::port::Storage;
use blufio_core::record::{Commit, Draft, Fate, OutboxMark, Payload, Record};
use blufio_core::session::{Input, Outcome};
use blufio_core::time::Timestamp;
use blufio_store::{Executor, Store};
use blufio_testkit::contract::storage::{
    AT, admitted, answered, batch, channel, commit, draft, epoch, item, key, message, next, opened_together, queue,
    step,
};
use blufio_testkit::invariants;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::PathBuf;

const CHATS: i64 = 3;

#[derive(Clone, Debug)]
enum Op {
    Accept { chat: i64, update: i64 },
    Stop { chat: i64, update: i64 },
    Begin { chat: i64, also: usize },
    Join { chat: i64 },
    End { chat: i64, file: bool },
    Send { chat: i64, how: u8 },
    Crash,
}

fn op() -> impl Strategy<Value = Op> {
    let chat = || 0..CHATS;
    prop_oneof![
        5 => (chat(), 0..60_i64).prop_map(|(chat, update)| Op::Accept { chat, update }),
        1 => (chat(), 0..60_i64).prop_map(|(chat, update)| Op::Stop { chat, update }),
        5 => (chat(), 0..3_usize).prop_map(|(chat, also)| Op::Begin { chat, also }),
        2 => chat().prop_map(|chat| Op::Join { chat }),
        4 => (chat(), any::<bool>()).prop_map(|(chat, file)| Op::End { chat, file }),
        8 => (chat(), 0..5_u8).prop_map(|(chat, how)| Op::Send { chat, how }),
        1 => Just(Op::Crash),
    ]
}

/// A row of the outbox.
#[derive(Clone, Debug)]
struct Out {
    id: i64,
    chat: i64,
    reply: i64,
    file: bool,
    sending: bool,
    over: bool,
    attempt: u8,
    duplicate: bool,
}

/// A session.
#[derive(Clone, Debug, Default)]
struct Chat {
    waiting: Vec<i64>,
    running: bool,
    /// The last row that the running turn answers.
    last: i64,
    turns: i64,
    messages: i64,
    steps: u32,
}

struct World {
    path: PathBuf,
    store: Option<Store>,
    boot: Boot,
    chats: BTreeMap<i64, Chat>,
    updates: BTreeMap<i64, i64>,
    outbox: Vec<Out>,
}

impl World {
    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    async fn session(&self, chat: i64) -> SessionId {
        self.store().open(key(chat), AT).await.unwrap().id
    }

    fn chat(&mut self, chat: i64) -> &mut Chat {
        self.chats.entry(chat).or_default()
    }

    async fn accept(&mut self, chat: i64, update: i64, stop: bool) {
        let fate = Fate::Stop { session: key(chat), text: String::new(), reply: None };
        let mut item = if stop { item(update, fate) } else { queue(chat, update, "x") };
        if let Fate::Queue { pending_max, .. } = &mut item.fate {
            *pending_max = u32::MAX;
        }
        let accepted = self.store().accept(batch(vec![item])).await.unwrap()[0].clone();
        let known = self.updates.get(&update).copied();
        assert_eq!((accepted.new, known.unwrap_or(accepted.inbox.0)), (known.is_none(), accepted.inbox.0));
        self.updates.insert(update, accepted.inbox.0);
        if known.is_some() {
            return;
        }
        if stop {
            self.chat(chat).waiting.clear();
        } else {
            self.chat(chat).waiting.push(accepted.inbox.0);
        }
    }

    async fn begin(&mut self, chat: i64, also: usize) {
        let state = self.chat(chat).clone();
        if state.running || state.waiting.is_empty() {
            return;
        }
        let (session, turn, seq) = (self.session(chat).await, state.turns + 1, state.messages + 1);
        let rows = state.waiting.iter().copied().take(1 + also).map(InboxId).collect::<Vec<_>>();
        let mut records = vec![opened_together(rows[0], &rows[1..])];
        if seq == 1 {
            records.push(epoch(1, 1));
        }
        records.push(message(1, seq, Role::User, "question"));
        let begin = Commit { steps: vec![step(1, self.boot, admitted())], ..commit(session, turn, records) };
        self.store().commit(begin).await.unwrap();
        let state = self.chat(chat);
        state.waiting.drain(..rows.len());
        state.last = rows[rows.len() - 1].0;
        (state.running, state.turns, state.messages, state.steps) = (true, turn, seq, 1);
    }

    async fn join(&mut self, chat: i64) {
        let state = self.chat(chat).clone();
        if !state.running || state.waiting.is_empty() {
            return;
        }
        let joined = Record::Joined(vec![InboxId(state.waiting[0])]);
        let commit = commit(self.session(chat).await, state.turns, vec![joined]);
        self.store().commit(commit).await.unwrap();
        let state = self.chat(chat);
        state.last = state.waiting.remove(0);
    }

    async fn end(&mut self, chat: i64, file: bool) {
        let state = self.chat(chat).clone();
        if !state.running {
            return;
        }
        let free = self.outbox.iter().all(|row| row.over || row.chat != chat);
        let attachment = OutgoingFile {
            attachment: AttachmentId::new("ab"),
            name: "one".to_owned(),
            media_type: "text/plain".to_owned(),
            bytes: 3,
            picture: false,
        };
        let payload = if file { Payload::File(attachment) } else { Payload::Text };
        let first = Draft { payload, ..draft(chat, "one") };
        let records = vec![
            message(1, state.messages + 1, Role::Assistant, "answer"),
            Record::Outbox { drafts: vec![first, draft(chat, "two")], first_sending: free },
            Record::TurnClosed { outcome: Outcome::Reply, text: "answer".to_owned() },
        ];
        let steps = vec![step(state.steps + 1, self.boot, answered())];
        let end = Commit { steps, ..commit(self.session(chat).await, state.turns, records) };
        let rows = self.store().commit(end).await.unwrap().outbox;
        for (place, row) in rows.iter().enumerate() {
            let sending = free && place == 0;
            let (id, reply, attempt) = (row.0, rows[0].0, u8::from(sending));
            let file = file && place == 0;
            self.outbox.push(Out { id, chat, reply, file, sending, over: false, attempt, duplicate: false });
        }
        let state = self.chat(chat);
        (state.running, state.messages) = (false, state.messages + 1);
    }

    async fn send(&mut self, chat: i64, how: u8) {
        let Some(place) = self.outbox.iter().position(|row| !row.over && row.chat == chat) else { return };
        let (id, error) = (OutboxId(self.outbox[place].id), String::new());
        let sending = self.outbox[place].sending;
        let mark = match how {
            _ if !sending => OutboxMark::Sending(id),
            0 => OutboxMark::Sent(id, 1),
            1 => OutboxMark::Again { id, not_before: Timestamp(AT.0 + 1), free: false, error },
            2 => OutboxMark::Again { id, not_before: Timestamp(AT.0 + 1), free: true, error },
            3 => OutboxMark::Uncertain { id, anew: false, error },
            _ => OutboxMark::Dead(id, error),
        };
        self.store().mark(vec![mark], AT).await.unwrap();
        let row = &mut self.outbox[place];
        row.sending = !sending;
        match how {
            _ if !sending => row.attempt += 1,
            0 => row.over = true,
            1 => {}
            2 => row.attempt -= 1,
            3 => self.uncertain(place),
            _ => self.give_up(place),
        }
    }

    fn uncertain(&mut self, place: usize) {
        let row = &mut self.outbox[place];
        row.sending = false;
        row.duplicate = true;
        if row.file {
            self.give_up(place);
        }
    }

    fn give_up(&mut self, place: usize) {
        let Out { reply, id, file, .. } = self.outbox[place];
        let rest = |row: &&mut Out| row.reply == reply && (row.id == id || row.id > id && !file);
        self.outbox.iter_mut().filter(rest).for_each(|row| (row.over, row.sending) = (true, false));
    }

    async fn crash(&mut self) {
        self.store = None;
        invariants::check(&self.path).unwrap();
        self.store = Some(open(&self.path, Executor::Inline));
        let recovered = self.store().recover(AT).await.unwrap();
        assert_eq!(recovered.boot, self.boot.next());
        self.boot = recovered.boot;
        let sending: Vec<usize> = (0..self.outbox.len()).filter(|place| self.outbox[*place].sending).collect();
        assert_eq!(usize::try_from(recovered.uncertain_sends), Ok(sending.len()));
        sending.into_iter().for_each(|place| self.uncertain(place));
        let busy = self.chats.values().filter(|chat| chat.running || !chat.waiting.is_empty()).count();
        assert_eq!(recovered.sessions.len(), busy);
        for chat in 0..CHATS {
            let state = self.chat(chat).clone();
            if !state.running {
                continue;
            }
            let running = self.store().open(key(chat), AT).await.unwrap().running.unwrap();
            let restarted = Input::Restarted { attempts: running.inbox.attempts.min(4) };
            let steps = vec![step(state.steps + 1, self.boot, restarted)];
            let commit = Commit { steps, ..commit(self.session(chat).await, state.turns, Vec::new()) };
            self.store().commit(commit).await.unwrap();
            self.chat(chat).steps += 1;
        }
    }

    /// The store shows what the model says.
    async fn compare(&mut self) {
        for chat in 0..CHATS {
            let snapshot = self.store().open(key(chat), AT).await.unwrap();
            let next = next(self.store(), snapshot.id).await.map(|row| row.id.0);
            let state = self.chat(chat);
            assert_eq!(next, state.waiting.first().copied());
            assert_eq!((snapshot.last_message.0, snapshot.last_turn.0), (state.messages, state.turns));
            let last = snapshot.running.map(|running| running.last_inbox.0);
            assert_eq!(last, state.running.then_some(state.last));
            assert_eq!(i64::try_from(snapshot.history.len()), Ok(state.messages));
        }
        let mut heads: Vec<&Out> = (0..CHATS)
            .filter_map(|chat| self.outbox.iter().find(|row| !row.over && row.chat == chat))
            .filter(|row| !row.sending)
            .collect();
        heads.sort_by_key(|row| row.id);
        let expected: Vec<_> = heads.iter().map(|row| (row.id, row.chat, row.attempt, row.duplicate)).collect();
        let rows = self.store().outbox(channel(), 99, AT).await.unwrap();
        let seen: Vec<_> =
            rows.iter().map(|row| (row.id.0, row.route.chat, row.attempt, row.maybe_duplicate)).collect();
        assert_eq!(seen, expected);
    }
}

async fn walk(ops: Vec<Op>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blufio.db");
    let store = open(&path, Executor::Inline);
    let boot = store.recover(AT).await.unwrap().boot;
    let (chats, updates, outbox) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    let mut world = World { path, store: Some(store), boot, chats, updates, outbox };
    for op in ops {
        match op {
            Op::Accept { chat, update } => world.accept(chat, update, false).await,
            Op::Stop { chat, update } => world.accept(chat, update, true).await,
            Op::Begin { chat, also } => world.begin(chat, also).await,
            Op::Join { chat } => world.join(chat).await,
            Op::End { chat, file } => world.end(chat, file).await,
            Op::Send { chat, how } => world.send(chat, how).await,
            Op::Crash => world.crash().await,
        }
        world.compare().await;
    }
    world.crash().await;
    world.compare().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_walks_agree_with_the_model(ops in proptest::collection::vec(op(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(walk(ops));
    }
}
