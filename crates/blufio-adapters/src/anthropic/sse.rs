//! Server-sent events out of pieces of bytes, cut anywhere (the event stream format of the HTML standard).
//!
//! Lines end in LF, CRLF or CR; a byte order mark and comments are skipped; several `data` lines make one text. Data stays
//! bytes: whether it is UTF-8 and JSON is for the reader. It refuses to know what an event means.

/// The first bytes that some servers send.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its name; empty if it has none.
    pub(crate) name: String,
    /// Its data lines, joined by line feeds.
    pub(crate) data: Vec<u8>,
}

/// An event, or a line that ends in none, has more bytes than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// The state between two pieces.
#[derive(Debug)]
pub(crate) struct Decoder {
    bytes_max: usize,
    line: Vec<u8>,
    first_line: bool,
    after_cr: bool,
    name: Vec<u8>,
    data: Option<Vec<u8>>,
}

impl Decoder {
    /// A decoder that takes events of at most `bytes_max` bytes.
    pub(crate) const fn new(bytes_max: usize) -> Self {
        Self { bytes_max, line: Vec::new(), first_line: true, after_cr: false, name: Vec::new(), data: None }
    }

    /// Takes the next piece and appends the events it completes to `out`. After an error the decoder is of no more use.
    pub(crate) fn push(&mut self, piece: &[u8], out: &mut impl Extend<Event>) -> Result<(), TooLong> {
        let mut rest = piece;
        while let Some((&first, after)) = rest.split_first() {
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                rest = after;
                continue;
            }
            let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (line, tail) = rest.split_at(end.unwrap_or(rest.len()));
            self.line.extend_from_slice(line);
            self.check()?;
            let Some((ending, after)) = tail.split_first() else { break };
            self.after_cr = *ending == b'\r';
            rest = after;
            out.extend(self.end_line());
            self.check()?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), TooLong> {
        let bytes = self.line.len() + self.name.len() + self.data.as_ref().map_or(0, Vec::len);
        if bytes > self.bytes_max { Err(TooLong) } else { Ok(()) }
    }

    fn end_line(&mut self) -> Option<Event> {
        let whole = std::mem::take(&mut self.line);
        let first = std::mem::take(&mut self.first_line);
        let line = if first { whole.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&whole) } else { &whole };
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            let data = self.data.take()?;
            return Some(Event { name: String::from_utf8_lossy(&name).into_owned(), data });
        }
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let field = halves.next().unwrap_or_default();
        let value = halves.next().unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"event" => self.name = value.to_vec(),
            b"data" => match &mut self.data {
                None => self.data = Some(value.to_vec()),
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
            },
            // Comments (an empty field name), `id`, `retry` and what nobody knows.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn decode(pieces: &[&[u8]]) -> Vec<Event> {
        let mut decoder = Decoder::new(1_000);
        let mut events = Vec::new();
        for piece in pieces {
            decoder.push(piece, &mut events).unwrap();
        }
        events
    }

    fn event(name: &str, data: &str) -> Event {
        Event { name: name.into(), data: data.into() }
    }

    #[test]
    fn forms() {
        let check = |stream: &str, expect: &[Event]| assert_eq!(decode(&[stream.as_bytes()]), expect, "{stream:?}");
        check("event: a\ndata: 1\n\n", &[event("a", "1")]);
        check("event:a\r\ndata:1\r\n\r\n", &[event("a", "1")]);
        check("event: a\rdata: 1\r\r", &[event("a", "1")]);
        check("\u{feff}data: 1\n\n", &[event("", "1")]);
        check("data: 1\ndata:  2\ndata\n\n", &[event("", "1\n 2\n")]);
        check(": comment\n\nid: 7\nretry: 1\nnonsense\n\ndata: x\n\n", &[event("", "x")]);
        check("event: a\n\ndata: 1\n\n", &[event("", "1")]);
        check("data: cut\n", &[]);
        check("data: a\n\n\n\ndata: b\n\n", &[event("", "a"), event("", "b")]);
    }

    #[test]
    fn long_events_are_refused_wherever_they_grow() {
        let refused = |line: &str, times: usize| {
            let mut decoder = Decoder::new(1_000);
            (0..times).any(|_| decoder.push(line.as_bytes(), &mut Vec::new()).is_err())
        };
        assert!(refused("x", 1_001));
        assert!(refused("data: 123456789\n", 101));
        assert!(!refused("data: 123456789\n\n", 1_000));
        assert!(refused(&"x".repeat(1_000_000), 1));
    }

    proptest! {
        /// However the bytes are cut, the events are the same.
        #[test]
        fn cuts_change_nothing(
            lines in proptest::collection::vec(("(event|data|id|)", ":? ?", "[a-z:é😀 ]{0,6}", "(\n|\r\n|\r|\n\n|\r\n\r\n)"), 0..12),
            cuts in proptest::collection::vec(0..200_usize, 0..8),
        ) {
            let stream: String = lines.into_iter().map(|(a, b, c, d)| a + &b + &c + &d).collect();
            let whole = decode(&[stream.as_bytes()]);
            let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
            prop_assert_eq!(&decode(&bytes), &whole);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).chain([0, stream.len()]).collect();
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &stream.as_bytes()[pair[0]..pair[1]]).collect();
            prop_assert_eq!(&decode(&pieces), &whole);
            for cut in 0..=stream.len() {
                let (left, right) = stream.as_bytes().split_at(cut);
                prop_assert_eq!(&decode(&[left, right]), &whole);
            }
        }
    }
}
