//! The kind and size of a picture, read from its first bytes.
//!
//! Independent of the product's own reader. Refuses to decode.

/// Width and height in pixels of a JPEG, PNG, GIF or (lossy) WebP. `None` when they cannot be read.
pub(super) fn dimensions(bytes: &[u8]) -> Option<(u32, u32)> {
    let big = |at: usize| Some(u32::from(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])));
    let little = |at: usize| Some(u32::from(u16::from_le_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])));
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Some((big(16)? << 16 | big(18)?, big(20)? << 16 | big(22)?));
    }
    if bytes.starts_with(b"GIF8") {
        return Some((little(6)?, little(8)?));
    }
    if is_webp(bytes) && bytes.get(12..16)? == b"VP8 " {
        return Some((little(26)? & 0x3FFF, little(28)? & 0x3FFF));
    }
    if !bytes.starts_with(b"\xFF\xD8") {
        return None;
    }
    // Segments until the start of the frame, whose markers are C0 to CF without C4, C8 and CC.
    let mut at = 2;
    loop {
        let marker = *bytes.get(at + 1).filter(|_| bytes[at] == 0xFF)?;
        if matches!(marker, 0xC0..=0xCF) && !matches!(marker, 0xC4 | 0xC8 | 0xCC) {
            return Some((big(at + 7)?, big(at + 5)?));
        }
        at += 2 + usize::try_from(big(at + 2)?).ok()?;
    }
}

/// Whether the first bytes are those of a picture that the server takes as a photo.
pub(super) fn is_picture(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x89PNG\r\n\x1a\n")
        || bytes.starts_with(b"\xFF\xD8\xFF")
        || bytes.starts_with(b"GIF8")
        || is_webp(bytes)
}

fn is_webp(bytes: &[u8]) -> bool {
    bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_garbage_has_none() {
        let png = [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".as_slice(), &[0, 1, 0, 0, 0, 0, 2, 0]].concat();
        assert_eq!(dimensions(&png), Some((65_536, 512)));
        let jpeg = [0xFF, 0xD8, 0xFF, 0xE0, 0, 4, 9, 9, 0xFF, 0xC2, 0, 11, 8, 0, 7, 1, 0];
        assert_eq!(dimensions(&jpeg), Some((256, 7)));
        assert_eq!(dimensions(b"GIF89a\x03\0\x05\0"), Some((3, 5)));
        for length in 0..jpeg.len() {
            assert_eq!(dimensions(&jpeg[..length]), None);
        }
        assert!(is_picture(&jpeg) && !is_picture(b"text"));
    }
}
