//! Foreign files, made fit for a model: pictures of a bounded size, text without invisible characters, facts about PDFs.
//!
//! Everything here is a pure function of bytes that somebody sent. It blocks for as long as the work takes (a picture at
//! the limit: about a second), so the caller runs it on a thread of its own, one file at a time. It knows neither where
//! the bytes came from nor what the model is told about them.

pub mod image;
pub mod pdf;
pub mod text;
