//! Reads a body whose sender is trusted in nothing: both the bytes that arrive and the bytes they unpack to are counted while
//! they come, so that neither an endless body nor a tiny one that unpacks to an ocean fills the memory.

use super::{EgressError, chunk};
use flate2::write::MultiGzDecoder;
use reqwest::{Response, header};
use std::io::{self, Write};

/// How many times larger than what arrived the unpacked body may be. Pages of text reach about 20. More: refused.
const RATIO_MAX: usize = 100;
/// Bytes below which the ratio does not matter: a short page of blanks is no attack.
const RATIO_FREE_BYTES: usize = 64 * 1024;

/// The whole body, at most `max` bytes unpacked. A longer one, or one that unpacks too well, is not read to its end.
pub(super) async fn read_unpacked(mut response: Response, max: usize) -> Result<Vec<u8>, EgressError> {
    let packed = match packing(&response)? {
        Packing::None => false,
        Packing::Gzip => true,
    };
    // What is announced is not believed, but it is a reason to refuse; packed bytes are never more than unpacked ones by much.
    let announced = response.content_length().map_or(0, |length| usize::try_from(length).unwrap_or(usize::MAX));
    if announced > max {
        return Err(EgressError::TooLarge { max });
    }
    let mut sink = Sink { body: Vec::new(), arrived: 0, max, packed, full: None };
    if !packed {
        while let Some(piece) = chunk(&mut response).await? {
            sink.arrived += piece.len();
            if sink.write_all(&piece).is_err() {
                return Err(sink.why());
            }
        }
        return Ok(sink.body);
    }
    let mut decoder = MultiGzDecoder::new(sink);
    while let Some(piece) = chunk(&mut response).await? {
        decoder.get_mut().arrived += piece.len();
        if decoder.get_ref().arrived > max || decoder.write_all(&piece).is_err() {
            return Err(decoder.get_ref().why());
        }
    }
    if decoder.try_finish().is_err() {
        return Err(decoder.get_ref().why());
    }
    Ok(std::mem::take(&mut decoder.get_mut().body))
}

enum Packing {
    None,
    Gzip,
}

fn packing(response: &Response) -> Result<Packing, EgressError> {
    let mut named = response.headers().get_all(header::CONTENT_ENCODING).iter();
    let (first, more) = (named.next(), named.next());
    let name = first.map_or(Some(""), |name| name.to_str().ok()).unwrap_or("?");
    match (name.trim().to_ascii_lowercase().as_str(), more) {
        ("" | "identity", None) => Ok(Packing::None),
        ("gzip" | "x-gzip", None) => Ok(Packing::Gzip),
        _ => Err(EgressError::Unreadable("it is packed in a way that was not asked for")),
    }
}

/// Takes unpacked bytes as long as they are within the limits.
struct Sink {
    body: Vec<u8>,
    arrived: usize,
    max: usize,
    packed: bool,
    full: Option<EgressError>,
}

impl Sink {
    /// Why writing failed: a limit, or else the packed bytes are broken.
    fn why(&self) -> EgressError {
        self.full.clone().unwrap_or(EgressError::Unreadable("what arrived cannot be unpacked"))
    }
}

impl Write for Sink {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let length = self.body.len() + piece.len();
        if length > self.max {
            self.full = Some(EgressError::TooLarge { max: self.max });
        } else if self.packed && length > RATIO_FREE_BYTES && length / RATIO_MAX > self.arrived {
            self.full = Some(EgressError::Unreadable("it unpacks to more than a hundred times what arrived"));
        }
        if self.full.is_some() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.body.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
