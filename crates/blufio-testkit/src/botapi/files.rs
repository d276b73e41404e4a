//! Files that users send, and what becomes of files on the server.
//!
//! Refuses to know what the bot does with them; files of the bot are `media.rs`.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::picture;
use super::state::State;

/// What kind of file a user sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A picture, offered in two sizes.
    Photo,
    /// Any file.
    Document,
    /// A voice message.
    Voice,
    /// Music.
    Audio,
    /// A video.
    Video,
}

/// A file that a user sends in a private chat; [`UserFile`] can do more.
#[derive(Debug, Clone, PartialEq)]
pub struct PostedFile {
    /// Sender and chat.
    pub user: i64,
    /// How it is sent.
    pub kind: FileKind,
    /// File name (documents only).
    pub name: String,
    /// Media type (documents and voice).
    pub media_type: String,
    /// Content.
    pub bytes: Bytes,
    /// Caption, may be empty.
    pub caption: String,
    /// `media_group_id`, for albums.
    pub group: Option<String>,
}

/// A file that a user sends anywhere.
#[derive(Debug, Clone, PartialEq)]
pub struct UserFile {
    file: PostedFile,
    chat: i64,
    thread: Option<i64>,
    reply_to: Option<i64>,
    size: Size,
    seconds: u32,
    dimensions: Option<(u32, u32)>,
    fields: Map<String, Value>,
}

/// What `file_size` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    True,
    Missing,
    Claimed(u64),
}

impl From<PostedFile> for UserFile {
    fn from(file: PostedFile) -> Self {
        Self {
            chat: file.user,
            file,
            thread: None,
            reply_to: None,
            size: Size::True,
            seconds: 3,
            dimensions: None,
            fields: Map::new(),
        }
    }
}

impl UserFile {
    fn new(user: i64, kind: FileKind, name: &str, media_type: &str, bytes: Bytes) -> Self {
        let (name, media_type) = (name.to_owned(), media_type.to_owned());
        PostedFile { user, kind, name, media_type, bytes, caption: String::new(), group: None }.into()
    }

    /// A picture. The server passes these bytes on as they are; width and height are read from them where they can be.
    pub fn photo(user: i64, bytes: impl Into<Bytes>) -> Self {
        Self::new(user, FileKind::Photo, "photo.jpg", "", bytes.into())
    }

    /// Any file. An empty name or media type is left out of the message.
    pub fn document(user: i64, name: &str, media_type: &str, bytes: impl Into<Bytes>) -> Self {
        Self::new(user, FileKind::Document, name, media_type, bytes.into())
    }

    /// A voice message that claims so many seconds.
    pub fn voice(user: i64, seconds: u32, bytes: impl Into<Bytes>) -> Self {
        let file = Self::new(user, FileKind::Voice, "voice.oga", "audio/ogg", bytes.into());
        Self { seconds, ..file }
    }

    /// Music that claims so many seconds.
    pub fn audio(user: i64, seconds: u32, name: &str, bytes: impl Into<Bytes>) -> Self {
        Self { seconds, ..Self::new(user, FileKind::Audio, name, "audio/mpeg", bytes.into()) }
    }

    /// A video that claims so many seconds.
    pub fn video(user: i64, seconds: u32, bytes: impl Into<Bytes>) -> Self {
        Self { seconds, ..Self::new(user, FileKind::Video, "video.mp4", "video/mp4", bytes.into()) }
    }

    /// Sent into a group.
    pub fn in_chat(self, chat: i64) -> Self {
        Self { chat, ..self }
    }

    /// Sent into a topic.
    pub fn in_topic(self, thread: i64) -> Self {
        Self { thread: Some(thread), ..self }
    }

    /// Answers a message.
    pub fn replying_to(self, message_id: i64) -> Self {
        Self { reply_to: Some(message_id), ..self }
    }

    /// With a caption.
    pub fn caption(mut self, caption: &str) -> Self {
        caption.clone_into(&mut self.file.caption);
        self
    }

    /// Part of the album with this `media_group_id`.
    pub fn in_album(mut self, group: &str) -> Self {
        self.file.group = Some(group.to_owned());
        self
    }

    /// Neither the message nor `getFile` tells the size.
    pub fn without_size(self) -> Self {
        Self { size: Size::Missing, ..self }
    }

    /// The message claims another size, in bytes. `getFile` refuses by the true one.
    pub fn claiming_size(self, bytes: u64) -> Self {
        Self { size: Size::Claimed(bytes), ..self }
    }

    /// The message claims other dimensions, in pixels.
    pub fn claiming_dimensions(self, width: u32, height: u32) -> Self {
        Self { dimensions: Some((width, height)), ..self }
    }

    /// With a field of the Message object, legal or not.
    pub fn field(mut self, name: &str, value: Value) -> Self {
        self.fields.insert(name.to_owned(), value);
        self
    }
}

impl State {
    /// Sends a file and returns the update id, 0 when privacy mode keeps it from the bot.
    pub fn post_file(&mut self, file: impl Into<UserFile>) -> i64 {
        let UserFile { file, chat, thread, reply_to, size, seconds, dimensions, mut fields } = file.into();
        self.reach(chat);
        let claimed = match size {
            Size::True => Some(file.bytes.len() as u64),
            Size::Missing => None,
            Size::Claimed(bytes) => Some(bytes),
        };
        let name = match file.kind {
            FileKind::Photo => "photo.jpg",
            FileKind::Voice => "voice.oga",
            FileKind::Document | FileKind::Audio | FileKind::Video => file.name.as_str(),
        };
        let (width, height) = dimensions.or_else(|| picture::dimensions(&file.bytes)).unwrap_or((1280, 1280));
        let id = self.store_file(name, file.bytes);
        if let Some(stored) = self.files.get_mut(&id) {
            stored.size_known = size != Size::Missing;
        }
        let mut object = json!({"file_id": id, "file_unique_id": format!("u-{id}")});
        if let Some(bytes) = claimed {
            object["file_size"] = json!(bytes);
        }
        if matches!(file.kind, FileKind::Photo | FileKind::Video) {
            object["width"] = json!(width);
            object["height"] = json!(height);
        }
        if matches!(file.kind, FileKind::Voice | FileKind::Audio | FileKind::Video) {
            object["duration"] = json!(seconds);
        }
        if file.kind != FileKind::Photo && !file.media_type.is_empty() {
            object["mime_type"] = json!(file.media_type);
        }
        if !matches!(file.kind, FileKind::Photo | FileKind::Voice) && !file.name.is_empty() {
            object["file_name"] = json!(file.name);
        }
        let media = match file.kind {
            FileKind::Photo => {
                let small = self.store_file("small.jpg", Bytes::from_static(b"small"));
                let small = json!({
                    "file_id": small, "file_unique_id": format!("u-{small}"), "width": width.clamp(1, 90),
                    "height": height.clamp(1, 90), "file_size": 5
                });
                ("photo", json!([small, object]))
            }
            FileKind::Document => ("document", object),
            FileKind::Voice => ("voice", object),
            FileKind::Audio => ("audio", object),
            FileKind::Video => ("video", object),
        };
        let mut message = self.user_message(file.user, &file.caption);
        message.media = Some(media);
        message.thread = self.reach_topic(chat, file.user, thread);
        message.reply_to = reply_to;
        if let Some(group) = file.group {
            fields.insert("media_group_id".to_owned(), json!(group));
        }
        message.fields = fields;
        self.publish(chat, message)
    }

    /// Sends files as one album, the caption on its first part, and returns the update ids.
    pub fn post_album(&mut self, caption: &str, files: impl IntoIterator<Item = UserFile>) -> Vec<i64> {
        let group = format!("album-{}", self.next_file_id);
        let part = |(number, file): (usize, UserFile)| {
            let file = file.in_album(&group);
            self.post_file(if number == 0 { file.caption(caption) } else { file })
        };
        files.into_iter().enumerate().map(part).collect()
    }

    /// Makes all file links and ids unknown.
    pub fn expire_files(&mut self) {
        self.files.clear();
    }

    /// Makes all file links unknown; `getFile` gives new ones.
    pub fn expire_links(&mut self) {
        for file in self.files.values_mut() {
            file.path = match file.path.rsplit_once('.') {
                Some((begin, extension)) => format!("{begin}n.{extension}"),
                None => format!("{}n", file.path),
            };
        }
    }

    /// Gives a file another path, legal or not, under which it can be fetched.
    pub fn set_file_path(&mut self, file_id: &str, path: &str) {
        if let Some(file) = self.files.get_mut(file_id) {
            path.clone_into(&mut file.path);
        }
    }
}
