//! What is said between the server and a keeper: one request and one reply, each with its length before it, and three handles
//! that go ahead of them through the spawner. The two trust each other's form, not each other's length.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};

/// Bytes of a request: [`blufio_core::port::EXEC_ARGS_BYTES_MAX`] of text in which every character may be escaped, and the
/// environment. More: refused by both sides.
pub const REQUEST_BYTES_MAX: usize = 256 * 1024;
/// Bytes of a reply: the output, in which every second character may be escaped. More: refused.
pub const REPLY_BYTES_MAX: usize = 256 * 1024;
const _: () = assert!(blufio_core::port::EXEC_ARGS_BYTES_MAX * 6 < REQUEST_BYTES_MAX);
const _: () = assert!(blufio_core::port::EXEC_OUTPUT_BYTES_MAX * 2 < REPLY_BYTES_MAX);

/// Handles that go with a call: the socket for request and reply, the program, the folder to run in.
pub const HANDLES: usize = 3;

/// What a keeper has to run.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Its name first.
    pub argv: Vec<String>,
    /// `NAME=value`, all of it.
    pub env: Vec<String>,
    /// Over: thrown away.
    pub output_bytes: usize,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Reply {
    /// It ran.
    Ran { how: How, output: String, discarded: u64, time_ms: u64 },
    /// It cannot be executed.
    Refused(String),
    /// It cannot be confined here.
    Weak(String),
    /// Something of ours failed.
    Broken(String),
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// With this code.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// Killed at the end of its time.
    TimedOut,
}

/// The bytes of a message with their length before them.
pub fn encode(message: &impl Serialize, bytes_max: usize) -> io::Result<Vec<u8>> {
    let body = serde_json::to_vec(message).map_err(io::Error::other)?;
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= bytes_max);
    let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the message is too long"))?;
    let mut frame = Vec::with_capacity(body.len() + 4);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// The length that a message announces.
pub fn length(head: [u8; 4], bytes_max: usize) -> io::Result<usize> {
    let length = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
    let fits = Some(length).filter(|length| *length <= bytes_max);
    fits.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the message is too long"))
}

/// The message in a body.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> io::Result<T> {
    serde_json::from_slice(body).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Reads one message; waits.
pub fn read<T: DeserializeOwned>(mut from: impl Read, bytes_max: usize) -> io::Result<T> {
    let mut head = [0; 4];
    from.read_exact(&mut head)?;
    let mut body = vec![0; length(head, bytes_max)?];
    from.read_exact(&mut body)?;
    decode(&body)
}

/// Writes one message; waits.
pub fn write(mut to: impl Write, message: &impl Serialize, bytes_max: usize) -> io::Result<()> {
    to.write_all(&encode(message, bytes_max)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_message_comes_back_as_it_was() {
        let reply = Reply::Ran { how: How::Exited(3), output: "a\"\\\nä".repeat(9), discarded: 7, time_ms: 12 };
        let mut bytes = Vec::new();
        write(&mut bytes, &reply, REPLY_BYTES_MAX).unwrap();
        assert_eq!(read::<Reply>(bytes.as_slice(), REPLY_BYTES_MAX).unwrap(), reply);
    }

    #[test]
    fn the_largest_request_and_reply_fit() {
        let argv = vec!["\u{1}".repeat(blufio_core::port::EXEC_ARGS_BYTES_MAX)];
        let request = Request { argv, env: vec!["x".repeat(8_192)], output_bytes: 1 };
        assert!(encode(&request, REQUEST_BYTES_MAX).is_ok());
        let output = "\"".repeat(blufio_core::port::EXEC_OUTPUT_BYTES_MAX);
        let reply = Reply::Ran { how: How::TimedOut, output, discarded: u64::MAX, time_ms: u64::MAX };
        assert!(encode(&reply, REPLY_BYTES_MAX).is_ok());
    }

    #[test]
    fn what_is_too_long_cut_or_no_message_is_refused() {
        assert!(encode(&"x".repeat(100), 50).is_err());
        assert!(read::<Reply>(&[0xff, 0xff, 0xff, 0xff, b'x'][..], REPLY_BYTES_MAX).is_err());
        assert!(read::<Reply>(&[0, 0, 0, 9, b'x'][..], REPLY_BYTES_MAX).is_err());
        assert!(read::<Reply>(&[0, 0, 0, 2, b'{', b'}'][..], REPLY_BYTES_MAX).is_err());
    }
}
