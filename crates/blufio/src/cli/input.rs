//! A text that another program writes to standard input.

use crate::failure::Failure;
use blufio_core::limits::INBOUND_TEXT_BYTES_MAX;
use std::io::Read;

/// All of standard input, at most [`INBOUND_TEXT_BYTES_MAX`] bytes; `advice` is for those who have more.
pub fn piped(advice: &str) -> Result<String, Failure> {
    let mut text = String::new();
    // One byte more than is accepted, so that a longer one is refused and not cut.
    let most = u64::try_from(INBOUND_TEXT_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    std::io::stdin().lock().take(most).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() > INBOUND_TEXT_BYTES_MAX {
        return Err(Failure {
            hint: Some(advice.to_owned()),
            ..Failure::new(format!("the message is longer than {INBOUND_TEXT_BYTES_MAX} bytes"), Failure::USAGE)
        });
    }
    // As in `$(…)`: the line break at the end belongs to the pipe.
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
}

/// Standard input is broken.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub fn unreadable(error: std::io::Error) -> Failure {
    Failure { cause: Some(error.to_string()), ..Failure::new("standard input cannot be read", Failure::GENERAL) }
}
