//! What happens in a chat besides messages: presses of buttons, reactions, being let in or shut out, upgrades of groups.

use super::super::wire::{Callback, Chat, Membership, Message, Reaction, User};
use super::{SERVICE_ACCOUNTS, name, plain};
use blufio_core::access::Sender;
use blufio_core::port::InboundKind;
use serde_json::Value;

/// A press without a message (of one sent by other means) has no chat, so it is refused; but it is answered.
pub(super) fn pressed(callback: Callback) -> InboundKind {
    let Callback { id, from, message, data } = callback;
    let chat = message.as_ref().map(|message| &message.chat);
    let sender = sender(Some(&from), chat, true);
    InboundKind::Pressed { sender, press: id, message: message.map_or(0, |message| message.message_id), data }
}

/// A reaction without a user was made in the name of a chat.
pub(super) fn reacted(reaction: &Reaction) -> InboundKind {
    let user = reaction.user.as_ref();
    InboundKind::Reacted {
        sender: sender(user, Some(&reaction.chat), false),
        name: user.map(name).unwrap_or_default(),
        message: reaction.message_id,
        emoji: reaction.new_reaction.first().map(emoji).unwrap_or_default(),
    }
}

/// In a private chat this says only whether the person has blocked the bot.
pub(super) fn membership(change: &Membership) -> InboundKind {
    let private = change.chat.kind == "private";
    let closed = match (change.new_chat_member.status.as_str(), private) {
        ("kicked", true) => Some("the bot was blocked by the user"),
        ("kicked" | "left", _) => Some("the bot was removed from the chat"),
        ("restricted", _) if !change.new_chat_member.is_member => Some("the bot was removed from the chat"),
        _ => None,
    };
    InboundKind::Membership { chat: change.chat.id, closed }
}

/// Both of the service messages that tell of an upgrade: the one in the old group and the one in the new.
pub(super) fn migration(message: &Message) -> Option<InboundKind> {
    let here = message.chat.id;
    match (message.migrate_to_chat_id, message.migrate_from_chat_id) {
        (Some(new), _) => Some(InboundKind::Migrated { old: here, new }),
        (None, Some(old)) => Some(InboundKind::Migrated { old, new: here }),
        (None, None) => None,
    }
}

fn sender(user: Option<&User>, chat: Option<&Chat>, addressed: bool) -> Sender {
    Sender {
        user: user.map_or(0, |user| user.id),
        chat: chat.map_or(0, |chat| chat.id),
        topic: None,
        private: chat.is_some_and(|chat| chat.kind == "private"),
        addressed,
        bot: user.is_some_and(|user| user.is_bot),
        impersonal: user.is_none_or(|user| SERVICE_ACCOUNTS.contains(&user.id)),
    }
}

/// An empty word would mean that the reaction was taken back.
fn emoji(reaction: &Value) -> String {
    let field = |name: &str| reaction.get(name).and_then(Value::as_str);
    match (field("emoji").map(plain::label), field("type")) {
        (Some(emoji), _) if !emoji.is_empty() => emoji,
        (_, Some("paid")) => "a star".to_owned(),
        _ => "a custom emoji".to_owned(),
    }
}
