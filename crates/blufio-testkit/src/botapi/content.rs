//! Messages of users that are no plain text: what the apps offer besides files, forwards, other senders.
//!
//! Each constructor gives a legal object of the Bot API (<https://core.telegram.org/bots/api#message>); the files in them
//! cannot be fetched (those of `UserFile` can). Refuses to know who receives them.

use serde_json::{Value, json};

use super::render::{ANONYMOUS_ADMIN, CHANNEL_SENDER, SERVICE_SENDER};
use super::user::Post;

/// Where a forwarded message came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A user, who is shown.
    User {
        /// Their id.
        id: i64,
        /// Their name.
        name: String,
    },
    /// A user who does not want to be shown.
    HiddenUser(String),
    /// A group that somebody wrote for without showing a name.
    Chat {
        /// Its id.
        id: i64,
        /// Its title.
        title: String,
    },
    /// A channel.
    Channel {
        /// Its id.
        id: i64,
        /// Its title.
        title: String,
        /// The post in it.
        message_id: i64,
    },
}

impl Origin {
    fn json(&self) -> Value {
        match self {
            Self::User { id, name } => {
                json!({"type": "user", "date": 1, "sender_user": {"id": id, "is_bot": false, "first_name": name}})
            }
            Self::HiddenUser(name) => json!({"type": "hidden_user", "date": 1, "sender_user_name": name}),
            Self::Chat { id, title } => {
                json!({"type": "chat", "date": 1, "sender_chat": {"id": id, "type": "supergroup", "title": title}})
            }
            Self::Channel { id, title, message_id } => json!({
                "type": "channel", "date": 1, "chat": {"id": id, "type": "channel", "title": title},
                "message_id": message_id
            }),
        }
    }
}

impl Post {
    /// A sticker that stands for an emoji.
    pub fn sticker(chat: i64, user: i64, emoji: &str) -> Self {
        let sticker = json!({
            "file_id": "sticker", "file_unique_id": "u-sticker", "type": "regular", "width": 512, "height": 512,
            "is_animated": false, "is_video": false, "emoji": emoji, "file_size": 20_000
        });
        Self::new(chat, user, "").field("sticker", sticker)
    }

    /// A place on the map.
    pub fn location(chat: i64, user: i64, latitude: f64, longitude: f64) -> Self {
        Self::new(chat, user, "").field("location", json!({"latitude": latitude, "longitude": longitude}))
    }

    /// A place with a name. As on the server, the message has a `location` too.
    pub fn venue(chat: i64, user: i64, title: &str, address: &str) -> Self {
        let location = json!({"latitude": 52.5, "longitude": 13.4});
        Self::new(chat, user, "")
            .field("location", location.clone())
            .field("venue", json!({"location": location, "title": title, "address": address}))
    }

    /// Somebody's telephone number.
    pub fn contact(chat: i64, user: i64, name: &str, phone: &str) -> Self {
        Self::new(chat, user, "").field("contact", json!({"phone_number": phone, "first_name": name}))
    }

    /// A poll nobody has voted in.
    pub fn poll(chat: i64, user: i64, question: &str, options: &[&str]) -> Self {
        let option = |(number, text): (usize, &&str)| {
            let id = format!("option-{number}");
            json!({"persistent_id": id, "text": text, "voter_count": 0})
        };
        let options: Vec<Value> = options.iter().enumerate().map(option).collect();
        let poll = json!({
            "id": "1", "question": question, "options": options, "total_voter_count": 0, "is_closed": false,
            "is_anonymous": true, "type": "regular", "allows_multiple_answers": false, "allows_revoting": true,
            "members_only": false
        });
        Self::new(chat, user, "").field("poll", poll)
    }

    /// A thrown die, dart or the like.
    pub fn dice(chat: i64, user: i64, emoji: &str, value: u8) -> Self {
        Self::new(chat, user, "").field("dice", json!({"emoji": emoji, "value": value}))
    }

    /// A video of so many seconds; its caption is `text`.
    pub fn video(chat: i64, user: i64, seconds: u32) -> Self {
        let video = json!({
            "file_id": "video", "file_unique_id": "u-video", "width": 1280, "height": 720, "duration": seconds,
            "file_name": "video.mp4", "mime_type": "video/mp4", "file_size": 1_000_000
        });
        Self::new(chat, user, "").field("video", video)
    }

    /// A silent video of so many seconds. As on the server, the message has a `document` too.
    pub fn animation(chat: i64, user: i64, seconds: u32) -> Self {
        let file = json!({
            "file_id": "animation", "file_unique_id": "u-animation", "file_name": "cat.mp4", "mime_type": "video/mp4",
            "file_size": 100_000
        });
        let mut animation = file.clone();
        for (name, value) in [("width", 320), ("height", 240), ("duration", seconds)] {
            animation[name] = json!(value);
        }
        Self::new(chat, user, "").field("animation", animation).field("document", file)
    }

    /// A round video of so many seconds.
    pub fn video_note(chat: i64, user: i64, seconds: u32) -> Self {
        let note = json!({
            "file_id": "note", "file_unique_id": "u-note", "length": 240, "duration": seconds, "file_size": 500_000
        });
        Self::new(chat, user, "").field("video_note", note)
    }

    /// A forwarded story of somebody.
    pub fn story(chat: i64, user: i64, author: i64) -> Self {
        let author = json!({"id": author, "type": "private", "first_name": format!("User {author}")});
        Self::new(chat, user, "").field("story", json!({"chat": author, "id": 5}))
    }

    /// A page with headings and blocks, here one paragraph.
    pub fn rich_message(chat: i64, user: i64, paragraph: &str) -> Self {
        let rich = json!({"blocks": [{"type": "paragraph", "text": paragraph}]});
        Self::new(chat, user, "").field("rich_message", rich)
    }

    /// A message that another user joined the group.
    pub fn joined(chat: i64, user: i64) -> Self {
        let person = json!({"id": user, "is_bot": false, "first_name": format!("User {user}")});
        Self::new(chat, user, "").field("new_chat_members", json!([person]))
    }

    /// Not the sender's own words.
    pub fn forwarded(self, origin: &Origin) -> Self {
        self.field("forward_origin", origin.json())
    }

    /// Made with an inline bot.
    pub fn via_bot(self, id: i64, username: &str) -> Self {
        self.field("via_bot", json!({"id": id, "is_bot": true, "first_name": username, "username": username}))
    }

    /// A message of an administrator of a group who stays anonymous.
    pub fn anonymous_admin(chat: i64, text: &str) -> Self {
        Self::new(chat, ANONYMOUS_ADMIN, text)
    }

    /// A message in a group in the name of a channel.
    pub fn as_channel(chat: i64, channel: i64, title: &str, text: &str) -> Self {
        let sender = json!({"id": channel, "type": "channel", "title": title});
        Self::new(chat, CHANNEL_SENDER, text).field("sender_chat", sender)
    }

    /// A post of a channel that the server forwards into its discussion group.
    pub fn automatic_forward(chat: i64, channel: i64, title: &str, text: &str) -> Self {
        let sender = json!({"id": channel, "type": "channel", "title": title});
        Self::new(chat, SERVICE_SENDER, text)
            .field("sender_chat", sender)
            .field("is_automatic_forward", json!(true))
            .forwarded(&Origin::Channel { id: channel, title: title.to_owned(), message_id: 1 })
    }
}
