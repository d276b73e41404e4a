//! Where everything comes in: who speaks, is it a command, does it wait for a turn.
//!
//! Authorisation is [`blufio_core::access::authorize`] and happens before anything reads the content. What is decided here is
//! committed together with the channel's cursor; only then are sessions woken and answers sent.

use crate::costs;
use crate::engine::{Engine, QueueMode};
use crate::herald::News;
use crate::host::status_text;
use blufio_core::access::{Access, AccessRules, Principal, Refusal, Sender, authorize, pairing_code};
use blufio_core::approval::{self, Verdict};
use blufio_core::command::{self, Command};
use blufio_core::content::{Content, Overheard};
use blufio_core::failpoint::{Failpoint, hit};
use blufio_core::ids::{ChannelName, InboxId, SessionKey};
use blufio_core::ingress::clean;
use blufio_core::limits::INBOUND_TEXT_BYTES_MAX;
use blufio_core::port::{Boxed, Inbound, InboundKind, Intake, IntakeError, StoreError};
use blufio_core::record::{
    Accepted, ApprovalView, Batch, DecisionReplies, Draft, Fate, Item, Query, Route, Shared, Taken, View,
};
use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// While the inbox is full.
const FULL_PAUSE: Duration = Duration::from_millis(500);

const HELLO: &str =
    "Hello, I am Blufio, your agent. Write to me as you would to a person. /help lists what else I understand.";
const UNREADABLE: &str = "There is nothing in this message that I can read.";
const NOT_AN_OWNER: &str = "Only an owner may answer questions.";
const SECRET_SENT: &str = "Your message held what looks like a key or a password. I have kept the rest without it and not read it. \
     Please delete it in the chat; `blufio vault set NAME` on the machine is the place for secrets.";
const ONLY_OWNERS: &str = "Only an owner may do that.";
const KILLED: &str = "Everything has stopped. What you write now waits; /resume lets it run again.";
const RESUMED: &str = "Everything may run again.";
const LATE: &str = "That question was answered before, or nobody waits for it any more.";
/// Albums that were said to the agent, whose further pieces belong to it. Full: the oldest is forgotten.
const ALBUMS_MAX: usize = 64;
/// Bytes kept of something that was said in a group and not to us. Longer: cut.
const OVERHEARD_BYTES_MAX: usize = 2_000;
/// Waiting messages that `/queue` names. More: only counted.
const QUEUE_SHOWN_MAX: usize = 10;
const TOO_LONG: &str = "This message is too long for me (64 KiB is the most).";
const QUEUE_FULL: &str =
    "I have too many of your messages waiting. Please send this again when I have caught up, or /stop.";

/// The intake of one channel.
pub(crate) struct ChannelIntake {
    engine: Arc<Engine>,
    channel: ChannelName,
    /// Cursors as stored, by account.
    cursors: Mutex<BTreeMap<i64, i64>>,
    /// The last batch did not fit.
    full: std::sync::atomic::AtomicBool,
    /// The newest albums that were said to the agent, and by whom.
    albums: Mutex<VecDeque<(String, i64)>>,
}

/// Somebody's message, with who they are settled.
pub(crate) struct Message {
    pub session: SessionKey,
    pub route: Route,
    pub principal: Principal,
    /// Their id, as the channel knows it.
    pub user: i64,
    /// Not between two.
    pub group: bool,
    pub content: Content,
    pub album: Option<String>,
    pub addressee: Option<String>,
}

impl ChannelIntake {
    pub fn new(engine: Arc<Engine>, channel: ChannelName, cursors: BTreeMap<i64, i64>) -> Self {
        Self { engine, channel, cursors: Mutex::new(cursors), full: false.into(), albums: Mutex::default() }
    }

    async fn take(&self, account: i64, inbound: Vec<Inbound>, cursor: i64) -> Result<(), IntakeError> {
        let mut items = Vec::with_capacity(inbound.len());
        // A group's new id holds for what follows in the same batch, too.
        let mut upgraded = BTreeMap::new();
        let mut presses = Vec::new();
        for update in inbound {
            if let InboundKind::Pressed { press, .. } = &update.kind {
                presses.push((items.len(), press.clone()));
            }
            let item = self.judge(account, update, &upgraded).await;
            if let Fate::Migrate { old, new } = item.fate {
                let known_as = upgraded.get(&old).copied().unwrap_or(old);
                upgraded.insert(new, known_as);
            }
            items.push(item);
        }
        let at = self.engine.adapters.clock.now();
        let channel = self.channel.clone();
        let accepted = accept(&self.engine, Batch { channel, account, items, cursor: Some(cursor), at }).await;
        let full = matches!(accepted, Err(StoreError::Full(_)));
        self.full.store(full, std::sync::atomic::Ordering::SeqCst);
        let accepted = accepted.map_err(|error| IntakeError(error.to_string()))?;
        for (place, press) in presses {
            self.answer_press(press, accepted.get(place).map(|accepted| &accepted.taken));
        }
        self.cursors.lock().unwrap_or_else(PoisonError::into_inner).insert(account, cursor);
        Ok(())
    }

    async fn judge(&self, account: i64, inbound: Inbound, upgraded: &BTreeMap<i64, i64>) -> Item {
        let Inbound { update, fingerprint, raw, kind } = inbound;
        let mut rules = self.engine.rules(&self.channel, account);
        for (new, old) in upgraded {
            let known_as = rules.known_as(*old);
            rules.aliases.insert(*new, known_as);
        }
        let fate = self.fate(account, kind, &rules).await;
        metrics::counter!("blufio_inbound_total", "channel" => self.channel.to_string(), "fate" => fate_word(&fate))
            .increment(1);
        // Nothing of what a stranger wrote is kept, and no secret.
        let strange = matches!(fate, Fate::Drop { .. } | Fate::Pair { .. } | Fate::Link { .. });
        let secret = || matches!(self.engine.settings.leaks.redact(&String::from_utf8_lossy(&raw)), Cow::Owned(_));
        let raw = if strange || secret() { Shared::from([]) } else { raw };
        Item { update, fingerprint, raw, fate }
    }

    async fn fate(&self, account: i64, kind: InboundKind, rules: &AccessRules) -> Fate {
        let refused = |refusal: Refusal| Fate::Drop { reason: refusal.as_str() };
        match kind {
            InboundKind::Ignored(_) => Fate::Drop { reason: "ignored" },
            InboundKind::Malformed => Fate::Poison,
            InboundKind::Edited { sender, session, message, text } => match authorize(&sender, rules) {
                // Without words, or with too many, it would have got no turn either.
                Access::Granted(_) if text.trim().is_empty() || text.len() > INBOUND_TEXT_BYTES_MAX => {
                    Fate::Drop { reason: "unreadable" }
                }
                Access::Granted(principal) => {
                    let text = kept(&self.engine, &principal, Content::words(text)).text;
                    Fate::Edit { session: known(session, sender.chat, rules), message, text }
                }
                Access::Overheard { .. } => Fate::Drop { reason: "not_addressed" },
                Access::MayPair => refused(Refusal::Stranger),
                Access::Refused(refusal) => refused(refusal),
            },
            InboundKind::Message { sender, name, route, session, content, album, addressee } => {
                let session = known(session, sender.chat, rules);
                let sender = self.with_album(sender, album.as_deref());
                match authorize(&sender, rules) {
                    Access::Granted(principal) => {
                        let (user, group) = (sender.user, !sender.private);
                        let message = Message { session, route, principal, user, group, content, album, addressee };
                        fate(&self.engine, message).await
                    }
                    Access::Overheard { keep } => {
                        let content = kept(&self.engine, &Principal::Person(sender.user.to_string()), content);
                        Fate::Overhear { session, heard: Overheard { name, text: overheard(content) }, keep }
                    }
                    Access::MayPair => self.stranger(account, sender.user, name, &route, &content.text),
                    Access::Refused(refusal) => refused(refusal),
                }
            }
            InboundKind::Pressed { sender, message, data, .. } => match authorize(&sender, rules) {
                Access::Granted(Principal::Owner) if sender.private => match approval::pressed(&data) {
                    Some((approval, verdict)) => {
                        let (by, at) = (format!("owner {}", sender.user), Some((sender.chat, message)));
                        Fate::Decide { approval, verdict, by, at, replies: None }
                    }
                    None => Fate::Drop { reason: "unknown_button" },
                },
                Access::Granted(_) | Access::Overheard { .. } => Fate::Drop { reason: "not_an_owner" },
                Access::MayPair => refused(Refusal::Stranger),
                Access::Refused(refusal) => refused(refusal),
            },
            InboundKind::Reacted { sender, name, message, emoji } => {
                let sender = Sender { topic: self.topic_of(account, &sender, message).await, ..sender };
                match authorize(&sender, rules) {
                    Access::Granted(_) | Access::Overheard { .. } => {
                        Fate::React { chat: sender.chat, message, name, emoji }
                    }
                    Access::MayPair => refused(Refusal::Stranger),
                    Access::Refused(refusal) => refused(refusal),
                }
            }
            InboundKind::Membership { chat, closed } => Fate::Chat { chat, closed },
            InboundKind::Migrated { old, new } if rules.groups.contains_key(&rules.known_as(old)) => {
                Fate::Migrate { old, new }
            }
            InboundKind::Migrated { .. } => refused(Refusal::Group),
        }
    }

    /// The topic that a reaction is in, which the channel does not tell: that of the message. A message that nobody knows is
    /// not ours, so its topic does not matter.
    async fn topic_of(&self, account: i64, sender: &Sender, message: i64) -> Option<i64> {
        if sender.private {
            return None;
        }
        let (channel, chat) = (self.channel.clone(), sender.chat);
        let query = Query::Thread { channel, account, chat, message };
        match self.engine.adapters.storage.view(query, self.engine.adapters.clock.now()).await {
            Ok(View::Thread(thread)) => thread,
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(%error, "the topic of a reaction could not be looked up; the group's own rules hold");
                None
            }
        }
    }

    /// Only one piece of an album has words, so the pieces after it are addressed as it was.
    fn with_album(&self, sender: Sender, album: Option<&str>) -> Sender {
        let Some(album) = album.filter(|_| !sender.private) else { return sender };
        let mut albums = self.albums.lock().unwrap_or_else(PoisonError::into_inner);
        let known = albums.iter().any(|(known, user)| known == album && *user == sender.user);
        if sender.addressed && !known {
            albums.truncate(ALBUMS_MAX - 1);
            albums.push_front((album.to_owned(), sender.user));
        }
        Sender { addressed: sender.addressed || known, ..sender }
    }

    /// Somebody unknown, in a private conversation: shows a code from `pairing link`, or gets one to be approved.
    fn stranger(&self, account: i64, user: i64, name: String, route: &Route, text: &str) -> Fate {
        if let Some(Command::Start(Some(code))) = command::parse(text, None)
            && let Some(welcome) = first(self.engine.drafts(route, HELLO, None))
        {
            return Fate::Link { user, name, code: code.to_ascii_uppercase(), welcome };
        }
        let code = pairing_code(self.engine.adapters.rng.bits());
        let text = format!(
            "I do not know you yet. If I am yours, run this where I live:\n\n`blufio pairing approve {code}`\n\nThe code is valid for one hour."
        );
        tracing::info!(account, user, "a stranger asks to be paired; `blufio pairing list` shows the code");
        match first(self.engine.drafts(route, &text, None)) {
            Some(reply) => Fate::Pair { user, name, code, reply },
            None => Fate::Drop { reason: Refusal::Stranger.as_str() },
        }
    }

    /// Every press is answered, also one that counts for nothing: otherwise the button seems to hang.
    fn answer_press(&self, press: String, taken: Option<&Taken>) {
        let words = match taken {
            Some(Taken::Decided(_, Verdict::Allow)) => "Allowed.",
            Some(Taken::Decided(_, Verdict::Always)) => "Allowed, and always exactly this.",
            Some(Taken::Decided(_, Verdict::Deny)) => "Denied.",
            Some(Taken::AlreadyDecided) => "Already decided, or no longer open.",
            Some(Taken::Queued | Taken::Closed | Taken::Paired(_)) | None => "This button is not for you.",
        };
        if let Some(channel) = self.engine.adapters.channels.get(&self.channel).cloned() {
            let answer = async move { channel.answer_press(&press, words).await };
            drop(self.engine.tasks.spawn("press", answer));
        }
    }
}

impl Intake for ChannelIntake {
    fn accept(&self, account: i64, batch: Vec<Inbound>, cursor: i64) -> Boxed<'_, Result<(), IntakeError>> {
        Box::pin(self.take(account, batch, cursor))
    }

    fn cursor(&self, account: i64) -> Option<i64> {
        self.cursors.lock().unwrap_or_else(PoisonError::into_inner).get(&account).copied()
    }

    fn ready(&self) -> Boxed<'_, ()> {
        Box::pin(async move {
            if self.full.load(std::sync::atomic::Ordering::SeqCst) {
                self.engine.adapters.clock.sleep(FULL_PAUSE).await;
            }
        })
    }

    fn tell_owner(&self, topic: &'static str, text: String) {
        self.engine.herald.say(News::Tell { topic: topic.to_owned(), text, about: None });
    }
}

/// What becomes of a message from somebody who may speak.
pub(crate) async fn fate(engine: &Arc<Engine>, message: Message) -> Fate {
    let Message { session, route, principal, user, group, content, album, addressee } = message;
    let command = command::parse(&content.text, addressee.as_deref());
    if group && command.is_some() {
        // In a group none is answered; `/stop` works all the same, since a turn there must be stoppable.
        return match command {
            Some(Command::Stop) => Fate::Stop { session, text: "Stopped.".to_owned(), reply: None },
            _ => Fate::Drop { reason: "command_in_group" },
        };
    }
    let answer = |text: String| Fate::Answer { reply: first(engine.drafts(&route, &text, None)), text };
    match command {
        Some(Command::Stop) => {
            let text = if engine.sessions.is_busy(&session) { "Stopped." } else { "Nothing is running." }.to_owned();
            Fate::Stop { session, reply: first(engine.drafts(&route, &text, None)), text }
        }
        Some(Command::Start(_)) => answer(HELLO.to_owned()),
        Some(Command::Help) => answer(help()),
        Some(Command::Status) => answer(status_text(engine, &session, &principal).await),
        Some(Command::Queue) => answer(queue_text(engine, session.clone()).await),
        Some(Command::Whoami) => answer(whoami(&principal, &route, user)),
        Some(Command::Cost) => answer(costs::text(engine, &session, &principal).await),
        Some(Command::Kill | Command::Resume) if principal != Principal::Owner => answer(ONLY_OWNERS.to_owned()),
        Some(command @ (Command::Kill | Command::Resume)) => {
            let killed = command == Command::Kill;
            let text = if killed { KILLED } else { RESUMED }.to_owned();
            Fate::Switch { killed, by: format!("owner {user}"), reply: first(engine.drafts(&route, &text, None)), text }
        }
        Some(Command::Approve(_)) if principal != Principal::Owner => answer(NOT_AN_OWNER.to_owned()),
        Some(Command::Approve(None)) => answer(open_questions(engine).await),
        Some(Command::Approve(Some((approval, verdict)))) => {
            let say = |text: &str| first(engine.drafts(&route, text, None));
            let decided = match verdict {
                Verdict::Allow => "Allowed.",
                Verdict::Always => "Allowed, and always exactly this; `blufio approval list --grants` shows it.",
                Verdict::Deny => "Denied.",
            };
            let replies =
                say(decided).zip(say(LATE)).map(|(decided, late)| Box::new(DecisionReplies { decided, late }));
            Fate::Decide { approval, verdict, by: format!("owner {user}"), at: None, replies }
        }
        None if content.is_empty() => answer(UNREADABLE.to_owned()),
        None if content.text_bytes() > INBOUND_TEXT_BYTES_MAX => answer(TOO_LONG.to_owned()),
        command @ (Some(
            Command::New
            | Command::Model(_)
            | Command::Retry
            | Command::Only(_)
            | Command::Think(_)
            | Command::Timezone(_)
            | Command::Compact,
        )
        | None) => {
            // Whom a command was addressed to is settled here; text that only looks like one is left as it is.
            let text = if command.is_some() { strip_addressee(content.text) } else { content.text };
            let content = kept(engine, &principal, Content { text, ..content });
            let when_full = first(engine.drafts(&route, QUEUE_FULL, None));
            let pending_max = engine.settings.pending_messages;
            Fate::Queue { session, route, principal, user, content, album, when_full, pending_max }
        }
    }
}

/// The conversation under the id by which a group was known before it was upgraded.
fn known(session: SessionKey, chat: i64, rules: &AccessRules) -> SessionKey {
    let known_as = rules.known_as(chat);
    if known_as == chat {
        return session;
    }
    let (old, new) = (chat.to_string(), known_as.to_string());
    let parts: Vec<&str> =
        session.as_str().split(':').map(|part| if part == old { new.as_str() } else { part }).collect();
    SessionKey::new(parts.join(":"))
}

/// What is kept of a message: nothing that a reader does not see, and no secrets, neither one of ours nor what looks like one. Who
/// sent one is told, if it is an owner.
fn kept(engine: &Engine, principal: &Principal, mut content: Content) -> Content {
    let leaks = &engine.settings.leaks;
    let mut found = false;
    for text in std::iter::once(&mut content.text).chain(content.quotes.iter_mut().map(|quote| &mut quote.text)) {
        let seen = clean(text);
        let redacted = leaks.redact(&seen);
        found |= matches!(redacted, Cow::Owned(_));
        *text = redacted.into_owned();
    }
    if found && *principal == Principal::Owner {
        let text = SECRET_SENT.to_owned();
        engine.herald.say(News::Tell { topic: "a secret was sent".to_owned(), text, about: None });
    }
    content
}

/// One line of what was said and not to us.
fn overheard(content: Content) -> String {
    let mut text = content.text;
    for quote in content.quotes {
        text = format!("{text} (“{}” said: {})", quote.from, quote.text);
    }
    for file in content.files {
        text = format!("{text} [{}]", file.name.as_deref().unwrap_or("a file"));
    }
    let cut = text.floor_char_boundary(OVERHEARD_BYTES_MAX);
    text.truncate(cut);
    text.trim().to_owned()
}

async fn queue_text(engine: &Engine, session: SessionKey) -> String {
    match engine.adapters.storage.view(Query::Waiting(session), engine.adapters.clock.now()).await {
        Ok(View::Waiting(waiting)) if waiting.is_empty() => "Nothing of yours waits.".to_owned(),
        Ok(View::Waiting(waiting)) => {
            let line = |text: &String| format!("• {}", text.lines().next().unwrap_or_default());
            let lines: Vec<String> = waiting.iter().take(QUEUE_SHOWN_MAX).map(line).collect();
            format!("{} of your messages wait:\n\n{}", waiting.len(), lines.join("\n"))
        }
        Ok(_) | Err(_) => "My database cannot be read right now.".to_owned(),
    }
}

async fn open_questions(engine: &Engine) -> String {
    match engine.adapters.storage.view(Query::Approvals, engine.adapters.clock.now()).await {
        Ok(View::Approvals(open)) if open.is_empty() => "No question is open.".to_owned(),
        Ok(View::Approvals(open)) => {
            let line = |open: &ApprovalView| format!("`/approve {} ok` – `{}` in {}", open.id, open.tool, open.session);
            format!("Answer with ok or no:\n\n{}", open.iter().map(line).collect::<Vec<_>>().join("\n"))
        }
        Ok(_) | Err(_) => "My database cannot be read right now.".to_owned(),
    }
}

fn whoami(principal: &Principal, route: &Route, user: i64) -> String {
    let role = match principal {
        Principal::Owner => "an owner: you may do everything",
        Principal::Person(_) => "a person I talk to: you may use your own conversation, and nothing beyond it",
    };
    match user {
        0 => format!("You are at the machine itself, and {role}."),
        user => format!("You are {user} on {}, and {role}.", route.channel),
    }
}

/// Commits a batch, then lets what follows from it happen. A task of its own sees to both: whoever handed the batch in may go
/// away in between.
pub(crate) async fn accept(engine: &Arc<Engine>, batch: Batch) -> Result<Vec<Accepted>, StoreError> {
    let worker = engine.clone();
    let work = async move {
        let fates: Vec<Fate> = batch.items.iter().map(|item| item.fate.clone()).collect();
        let (channel, account) = (batch.channel.clone(), batch.account);
        hit(Failpoint::IntakeBeforeCommit);
        let accepted = worker.adapters.storage.accept(batch).await?;
        hit(Failpoint::IntakeAfterCommit);
        for (fate, accepted) in fates.into_iter().zip(&accepted) {
            if let Fate::Migrate { old, new } = fate {
                worker.alias(&channel, account, old, new);
            }
            // A repeat wakes once more, which does no harm: the first time may have been cut short.
            if accepted.new || accepted.taken == Taken::Queued {
                follow(&worker, fate, accepted.inbox, &accepted.taken);
            }
        }
        Ok(accepted)
    };
    engine.tasks.spawn("intake", work).await.ok().flatten().unwrap_or(Err(StoreError::Closed))
}

fn follow(engine: &Arc<Engine>, fate: Fate, inbox: InboxId, taken: &Taken) {
    let reply = match fate {
        Fate::Queue { session, when_full, .. } => {
            if *taken == Taken::Queued {
                if engine.settings.queue == QueueMode::Interrupt {
                    engine.sessions.stop(&session, inbox);
                }
                engine.wake(&session);
                return;
            }
            when_full
        }
        Fate::Stop { session, reply, .. } => {
            engine.sessions.stop(&session, inbox);
            reply
        }
        Fate::Decide { replies, .. } => {
            if let Taken::Decided(session, _) = taken {
                engine.sessions.decided(session);
            }
            // The question is changed where it was shown, which may be another chat than this one.
            engine.dispatchers.values().for_each(|dispatcher| dispatcher.poke_all());
            replies.map(|replies| replies.decided)
        }
        Fate::Link { welcome, .. } => {
            let Taken::Paired(pairing) = taken else { return };
            engine.person(pairing, false);
            Some(welcome)
        }
        Fate::Switch { killed, reply, .. } => {
            engine.switch(killed);
            reply
        }
        Fate::Answer { reply, .. } => reply,
        Fate::Pair { reply, .. } => Some(reply),
        Fate::Migrate { .. } | Fate::Chat { .. } => {
            engine.dispatchers.values().for_each(|dispatcher| dispatcher.poke_all());
            None
        }
        Fate::Edit { .. } | Fate::Overhear { .. } | Fate::React { .. } | Fate::Drop { .. } | Fate::Poison => None,
    };
    if let Some(draft) = reply
        && let Some(dispatcher) = engine.dispatchers.get(&draft.route.channel)
    {
        dispatcher.poke(&draft.route);
    }
}

/// `/new@name` becomes `/new`: whom it was addressed to is settled.
fn strip_addressee(text: String) -> String {
    match text.trim_start().split_once('@') {
        Some((command, rest)) if command.starts_with('/') && !command.contains(char::is_whitespace) => {
            let argument = rest.split_once(char::is_whitespace).map_or("", |(_, argument)| argument);
            format!("{command} {argument}").trim_end().to_owned()
        }
        _ => text,
    }
}

fn help() -> String {
    let lines: Vec<String> = command::MENU.iter().map(|(name, about)| format!("/{name} – {about}")).collect();
    format!("Write to me as you would to a person. I also understand:\n\n{}", lines.join("\n"))
}

fn first(drafts: Vec<Draft>) -> Option<Draft> {
    drafts.into_iter().next()
}

const fn fate_word(fate: &Fate) -> &'static str {
    match fate {
        Fate::Queue { .. } => "queued",
        Fate::Stop { .. } | Fate::Answer { .. } | Fate::Switch { .. } => "command",
        Fate::Pair { .. } | Fate::Link { .. } => "pairing",
        Fate::Overhear { .. } => "overheard",
        Fate::React { .. } => "reaction",
        Fate::Decide { .. } => "decision",
        Fate::Migrate { .. } | Fate::Chat { .. } => "chat",
        Fate::Edit { .. } => "edit",
        Fate::Drop { .. } => "dropped",
        Fate::Poison => "poison",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addressee_of_a_command_is_taken_off() {
        let strip = |text: &str| strip_addressee(text.to_owned());
        assert_eq!(strip("/model@my_bot opus"), "/model opus");
        assert_eq!(strip("/new@my_bot"), "/new");
        assert_eq!(strip("mail me at a@b.c"), "mail me at a@b.c");
        assert_eq!(strip("/etc is @home"), "/etc is @home");
    }
}
