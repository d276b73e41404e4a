//! What the Bot API says, as far as Blufio reads it. Vendor types: nothing outside this folder sees them.
//!
//! Ids are `i64` everywhere, as the Bot API's documentation asks ("more than 32 significant bits"). Fields that are not
//! named here are skipped, so that a newer server does not break an older Blufio.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The frame around every answer.
#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    pub(super) ok: bool,
    #[serde(borrow)]
    pub(super) result: Option<&'a RawValue>,
    pub(super) error_code: Option<i64>,
    pub(super) description: Option<String>,
    pub(super) parameters: Option<ResponseParameters>,
}

/// What helps to handle an error.
#[derive(Default, Deserialize)]
pub(super) struct ResponseParameters {
    pub(super) retry_after: Option<u64>,
    pub(super) migrate_to_chat_id: Option<i64>,
}

/// The answer to `getMe`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Me {
    pub(super) id: i64,
    pub(super) username: Option<String>,
    #[serde(default)]
    pub(super) has_topics_enabled: bool,
    #[serde(default)]
    pub(super) can_read_all_group_messages: bool,
}

/// The answer to `getFile`.
#[derive(Deserialize)]
pub(super) struct RemoteFile {
    pub(super) file_path: Option<String>,
    pub(super) file_size: Option<u64>,
}

/// A command in the menu.
#[derive(PartialEq, Eq, Deserialize)]
pub(super) struct MenuEntry {
    pub(super) command: String,
    pub(super) description: String,
}

/// The answer to `getWebhookInfo`.
#[derive(Deserialize)]
pub(super) struct WebhookInfo {
    #[serde(default)]
    pub(super) url: String,
}

/// The answer to `sendMessage`.
#[derive(Deserialize)]
pub(super) struct Sent {
    pub(super) message_id: i64,
}

/// One element of `getUpdates`, not read yet: its fields by name.
pub(super) type RawFields<'a> = BTreeMap<String, &'a RawValue>;

/// What tells two things with the same update id apart.
#[derive(Default, Deserialize)]
pub(super) struct Marks<'a> {
    #[serde(borrow)]
    pub(super) id: Option<&'a RawValue>,
    pub(super) chat: Option<Chat>,
    pub(super) message_id: Option<i64>,
    pub(super) date: Option<i64>,
    pub(super) edit_date: Option<i64>,
}

/// A `Message` in an update.
#[derive(Deserialize)]
pub(super) struct Message {
    pub(super) message_id: i64,
    pub(super) message_thread_id: Option<i64>,
    #[serde(default)]
    pub(super) is_topic_message: bool,
    pub(super) from: Option<User>,
    pub(super) sender_chat: Option<IgnoredAny>,
    pub(super) chat: Chat,
    pub(super) media_group_id: Option<String>,
    pub(super) migrate_to_chat_id: Option<i64>,
    pub(super) migrate_from_chat_id: Option<i64>,
    // What comes along is read leniently: a shape that is not known must not cost the words.
    pub(super) forward_origin: Option<Value>,
    pub(super) reply_to_message: Option<Value>,
    pub(super) external_reply: Option<Value>,
    pub(super) quote: Option<Value>,
    pub(super) reply_to_story: Option<Value>,
    pub(super) via_bot: Option<Value>,
    pub(super) photo: Option<Value>,
    pub(super) document: Option<Value>,
    pub(super) animation: Option<Value>,
    pub(super) voice: Option<Value>,
    pub(super) audio: Option<Value>,
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) entities: Vec<MessageEntity>,
    pub(super) caption: Option<String>,
    #[serde(default)]
    pub(super) caption_entities: Vec<MessageEntity>,
}

/// A sender.
#[derive(Deserialize)]
pub(super) struct User {
    pub(super) id: i64,
    #[serde(default)]
    pub(super) is_bot: bool,
    #[serde(default)]
    pub(super) first_name: String,
    pub(super) last_name: Option<String>,
}

/// A chat.
#[derive(Deserialize)]
pub(super) struct Chat {
    pub(super) id: i64,
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) is_forum: bool,
}

/// A `CallbackQuery`.
#[derive(Deserialize)]
pub(super) struct Callback {
    pub(super) id: String,
    pub(super) from: User,
    pub(super) message: Option<CallbackMessage>,
    #[serde(default)]
    pub(super) data: String,
}

/// The message with the pressed button; of an inaccessible one only these fields are there.
#[derive(Deserialize)]
pub(super) struct CallbackMessage {
    pub(super) chat: Chat,
    pub(super) message_id: i64,
}

/// A `MessageReactionUpdated`.
#[derive(Deserialize)]
pub(super) struct Reaction {
    pub(super) chat: Chat,
    pub(super) message_id: i64,
    pub(super) user: Option<User>,
    #[serde(default)]
    pub(super) new_reaction: Vec<Value>,
}

/// A `ChatMemberUpdated` about the bot itself.
#[derive(Deserialize)]
pub(super) struct Membership {
    pub(super) chat: Chat,
    pub(super) new_chat_member: Member,
}

/// How the bot stands in a chat.
#[derive(Deserialize)]
pub(super) struct Member {
    pub(super) status: String,
    #[serde(default)]
    pub(super) is_member: bool,
}

/// Markup of a part of a text; offsets and lengths are UTF-16 code units.
#[derive(Deserialize)]
pub(super) struct MessageEntity {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) offset: i64,
    pub(super) length: i64,
    pub(super) url: Option<String>,
    pub(super) language: Option<String>,
    pub(super) user: Option<User>,
}

/// The kinds of update there are in Bot API 10.1. Any other is counted as `unknown`.
pub(super) const UPDATE_KINDS: [&str; 25] = [
    "message",
    "edited_message",
    "channel_post",
    "edited_channel_post",
    "business_connection",
    "business_message",
    "edited_business_message",
    "deleted_business_messages",
    "guest_message",
    "message_reaction",
    "message_reaction_count",
    "inline_query",
    "chosen_inline_result",
    "callback_query",
    "shipping_query",
    "pre_checkout_query",
    "purchased_paid_media",
    "poll",
    "poll_answer",
    "my_chat_member",
    "chat_member",
    "chat_join_request",
    "chat_boost",
    "removed_chat_boost",
    "managed_bot",
];

/// Fields of a message that tell of an event in the chat and are nothing a person said. A message that has one of them
/// and no text is not answered; any other without text is content that this release cannot read.
pub(super) const SERVICE_FIELDS: [&str; 52] = [
    "pinned_message",
    "message_auto_delete_timer_changed",
    "new_chat_members",
    "left_chat_member",
    "chat_owner_left",
    "chat_owner_changed",
    "new_chat_title",
    "new_chat_photo",
    "delete_chat_photo",
    "group_chat_created",
    "supergroup_chat_created",
    "channel_chat_created",
    "migrate_to_chat_id",
    "migrate_from_chat_id",
    "users_shared",
    "chat_shared",
    "connected_website",
    "write_access_allowed",
    "passport_data",
    "successful_payment",
    "refunded_payment",
    "gift",
    "unique_gift",
    "gift_upgrade_sent",
    "chat_background_set",
    "boost_added",
    "forum_topic_created",
    "forum_topic_edited",
    "forum_topic_closed",
    "forum_topic_reopened",
    "web_app_data",
    "managed_bot_created",
    "paid_message_price_changed",
    "direct_message_price_changed",
    "general_forum_topic_hidden",
    "general_forum_topic_unhidden",
    "video_chat_scheduled",
    "video_chat_started",
    "video_chat_ended",
    "video_chat_participants_invited",
    "proximity_alert_triggered",
    "checklist_tasks_done",
    "checklist_tasks_added",
    "poll_option_added",
    "poll_option_deleted",
    "giveaway_created",
    "giveaway_completed",
    "suggested_post_approved",
    "suggested_post_approval_failed",
    "suggested_post_declined",
    "suggested_post_paid",
    "suggested_post_refunded",
];
