//! What can be said about a PDF without a PDF library: that it is one, and how many pages it has.
//!
//! One pass over the bytes, no recursion. Files of PDF 1.5 and later may keep their page tree in compressed object streams
//! (ISO 32000-1 §7.5.7); those are unpacked, up to a limit, and their pages counted. The number is a claim of the file, good for
//! a polite refusal and for holding money, and not for a security decision.

use flate2::read::ZlibDecoder;
use std::io::Read as _;

/// Bytes that all object streams of a file may have unpacked; a page takes some 200 of them. Over: the number of pages is unknown.
const UNPACKED_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Facts about a PDF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PdfFacts {
    /// Its number of pages, if the file shows it in the clear.
    pub pages: Option<u32>,
}

/// Facts about `bytes`, if they are a PDF by their first five bytes. Linear in their length; never fails.
#[must_use]
pub fn inspect(bytes: &[u8]) -> Option<PdfFacts> {
    bytes.starts_with(b"%PDF-").then(|| PdfFacts { pages: pages(bytes) })
}

/// What the pass has seen so far.
#[derive(Default)]
struct Seen {
    /// Objects of the type `Page`.
    pages: u32,
    /// The largest count of a `Pages` node: the one of the root, which counts all below it.
    counted: u32,
    /// The stream of the object at hand holds objects.
    object_stream: bool,
    /// Some of those could not be read, so what was seen is a part only.
    unread: bool,
    /// There were some, so that the largest count may be in them, where objects are not told apart.
    packed: bool,
    /// Bytes that were unpacked.
    unpacked: u64,
    /// The object at hand is a `Pages` node.
    node: bool,
    /// The count that the object at hand states. Outlines state one too, hence the two fields.
    count: u32,
}

fn pages(bytes: &[u8]) -> Option<u32> {
    let mut seen = Seen::default();
    let (mut rest, mut before) = (bytes, b'%');
    while let Some((&first, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(b"endobj") {
            seen.end_object();
            rest = after;
        } else if let Some(after) = rest.strip_prefix(b"endstream") {
            rest = after;
        } else if let Some(body) = stream(before, rest) {
            if std::mem::take(&mut seen.object_stream) {
                seen.unpack(body);
            }
            rest = past_stream(body);
        } else if first == b'/' {
            rest = seen.name(after);
        } else {
            rest = after;
        }
        if !first.is_ascii_whitespace() {
            before = first;
        }
    }
    seen.end_object();
    match seen {
        Seen { unread: true, .. } => None,
        Seen { counted: 1.., packed: false, .. } => Some(seen.counted),
        Seen { pages: 1.., .. } => Some(seen.pages),
        Seen { .. } => None,
    }
}

impl Seen {
    /// Takes in the name at the start of `rest` and its value, as far as they matter. What follows them.
    fn name<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        let (key, rest) = token(rest);
        let value = rest.trim_ascii_start();
        match (key, value.split_first()) {
            (b"Type", Some((b'/', value))) => {
                let (kind, rest) = token(value);
                match kind {
                    b"Page" => self.pages = self.pages.saturating_add(1),
                    b"Pages" => self.node = true,
                    b"ObjStm" => self.object_stream = true,
                    _ => {}
                }
                rest
            }
            (b"Count", Some(_)) => {
                let (digits, rest) = token(value);
                let count = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
                self.count = count.unwrap_or(0);
                rest
            }
            _ => rest,
        }
    }

    /// Counts the pages among the objects of a compressed stream.
    fn unpack(&mut self, body: &[u8]) {
        self.packed = true;
        let body = body.strip_prefix(b"\r\n").or_else(|| body.strip_prefix(b"\n")).unwrap_or(body);
        let room = UNPACKED_BYTES_MAX.saturating_sub(self.unpacked);
        let mut objects = Vec::new();
        let read = ZlibDecoder::new(body).take(room.saturating_add(1)).read_to_end(&mut objects);
        let bytes = u64::try_from(objects.len()).unwrap_or(u64::MAX);
        self.unpacked = self.unpacked.saturating_add(bytes);
        self.unread |= read.is_err() || bytes > room;
        let mut rest = objects.as_slice();
        while let Some(at) = rest.iter().position(|byte| *byte == b'/') {
            rest = self.name(rest.get(at.saturating_add(1)..).unwrap_or(&[]));
        }
    }

    fn end_object(&mut self) {
        if self.node {
            self.counted = self.counted.max(self.count);
        }
        self.node = false;
        self.count = 0;
        self.object_stream = false;
    }
}

/// Splits off what stands before the next white space or delimiter (ISO 32000-1 §7.2.2).
fn token(bytes: &[u8]) -> (&[u8], &[u8]) {
    let ends = |byte: &u8| byte.is_ascii_whitespace() || b"\0()<>[]{}/%".contains(byte);
    bytes.split_at_checked(bytes.iter().position(ends).unwrap_or(bytes.len())).unwrap_or((bytes, &[]))
}

/// The data of the stream that starts here, if one does. The keyword stands between a dictionary and a line end; the same
/// letters inside a string do not.
fn stream(before: u8, rest: &[u8]) -> Option<&[u8]> {
    let body = rest.strip_prefix(b"stream").filter(|_| before == b'>');
    body.filter(|body| matches!(body.first(), Some(b'\r' | b'\n')))
}

/// What follows the data of a stream: pictures and fonts hold any bytes, also those of a name. Each byte is looked at by
/// one such search only, because the next one starts behind it; a stream without an end is the last thing that is read.
fn past_stream(body: &[u8]) -> &[u8] {
    const END: &[u8] = b"endstream";
    let end = body.windows(END.len()).position(|window| window == END).map(|at| at.saturating_add(END.len()));
    end.and_then(|end| body.get(end..)).unwrap_or(&[])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use proptest::prelude::*;
    use std::io::Write as _;

    fn check(body: &str, pages: Option<u32>) {
        let file = format!("%PDF-1.7\n%\u{e2}\u{e3}\n{body}\ntrailer\n<< /Root 1 0 R >>\n%%EOF\n");
        assert_eq!(inspect(file.as_bytes()), Some(PdfFacts { pages }), "{body}");
    }

    #[test]
    fn the_root_of_the_page_tree_counts() {
        check("1 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 2 >>\nendobj", Some(2));
        check("1 0 obj<</Count 41/Type/Pages/Kids[3 0 R]>>endobj", Some(41));
        // An inner node counts less, and so does an outline, which is no page tree at all.
        check(
            "1 0 obj <</Type/Pages/Count 7>> endobj 2 0 obj <</Type/Pages/Count 3>> endobj 3 0 obj <</Type/Outlines/Count 90>> endobj",
            Some(7),
        );
        check("1 0 obj << /Type /Pages /Count 12 >>", Some(12));
    }

    #[test]
    fn without_a_count_the_pages_are_counted() {
        check("3 0 obj\n<< /Type /Page >>\nendobj\n4 0 obj\n<</Type/Page/Parent 1 0 R>>\nendobj", Some(2));
        check("1 0 obj<</Type/Pages/Count -5>>endobj 3 0 obj<</Type/Page>>endobj", Some(1));
        check("1 0 obj<</Type/Pages/Count 99999999999999999999>>endobj 3 0 obj<</Type/Page>>endobj", Some(1));
        check("3 0 obj<</Type/PageLabel>>endobj 4 0 obj<</Type/Pagesque>>endobj", None);
    }

    #[test]
    fn packed_objects_are_counted_and_what_cannot_be_read_makes_it_unknown() {
        let packed = |objects: &[u8]| {
            let mut stream = ZlibEncoder::new(Vec::new(), Compression::best());
            stream.write_all(objects).unwrap();
            let mut file =
                b"%PDF-1.7\n1 0 obj<</Type/Pages/Count 9>>endobj 9 0 obj<</Type/ObjStm/N 4>>stream\r\n".to_vec();
            file.extend(stream.finish().unwrap());
            file.extend(b"\nendstream endobj 3 0 obj<</Type/Page>>endobj");
            inspect(&file).unwrap().pages
        };
        let pages = b"2 0 3 40 <</Type/Pages/Count 3>> <</Type/Page/Parent 2 0 R>> << /Type /Page >> <</Type/Font>>";
        assert_eq!(packed(pages), Some(3), "with the one outside");
        assert_eq!(packed(b""), Some(1));
        assert_eq!(packed(&vec![b' '; 17 * 1024 * 1024]), None, "a bomb is not unpacked");
        check("1 0 obj<</Type/Pages/Count 3>>endobj 9 0 obj<</Type/ObjStm/N 4>>stream\nxx\nendstream endobj", None);
        check("", None);
    }

    #[test]
    fn data_of_streams_is_not_read() {
        let page = "5 0 obj<</Type/Page>>endobj";
        check(&format!("2 0 obj<</Length 9>>stream\r\n{page}{page}\nendstream\nendobj {page}"), Some(1));
        check(&format!("2 0 obj<<>>stream\n{page}"), None);
        // The word alone starts nothing.
        check(&format!("2 0 obj (a stream\nof words) endobj {page} (downstream\n) endstream {page}"), Some(2));
    }

    #[test]
    fn only_what_starts_like_one_is_one() {
        for bytes in [&b""[..], b"%PDF", b" %PDF-1.4", b"\x89PNG\r\n\x1a\n", b"%!PS-Adobe"] {
            assert_eq!(inspect(bytes), None);
        }
        assert_eq!(inspect(b"%PDF-"), Some(PdfFacts { pages: None }));
    }

    #[test]
    fn hostile_repetition_is_linear() {
        // Quadratic work on any of these would take minutes.
        for piece in
            ["/Type", "/Type/", "/Count ", "stream\n", ">>stream\nendstrea", "endstream", "endobj", "/", "/Type /Page "]
        {
            let file = format!("%PDF-1.4\n{}", piece.repeat(1_000_000 / piece.len()));
            assert!(inspect(file.as_bytes()).is_some(), "{piece}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever follows the first bytes, there is an answer.
        #[test]
        fn any_bytes(pieces in proptest::collection::vec(prop_oneof![
            Just(b"/Type".to_vec()), Just(b"/Page".to_vec()), Just(b"/Pages".to_vec()), Just(b"/Count 3".to_vec()),
            Just(b"endobj".to_vec()), Just(b">>stream\n".to_vec()), Just(b"endstream".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..20),
        ], 0..40)) {
            let file = [b"%PDF-1.4 ".to_vec(), pieces.concat()].concat();
            prop_assert!(inspect(&file).is_some());
        }
    }
}
