//! The Telegram channel: the only code that knows the Bot API.

pub mod text;
