//! Pictures for the model: decoded, turned upright, scaled down and encoded anew, so that what is sent has a bounded size
//! and nothing of the file but its pixels (no place, no camera, no comment, no colour profile).
//!
//! Sizes are judged by the header, before anything is decoded. The same bytes give the same bytes on the same machine,
//! which prompt caches rely on. It does not know which model looks at the picture: the caller hands in the limits.
//!
//! Memory: decoding holds the whole picture, and some formats hold it several times ([`Kind::bytes_per_pixel`]). What would
//! need more than [`DECODING_BYTES_MAX`] is refused by the header. A baseline JPEG of 40 megapixels, the largest of the
//! usual case, takes 120 MB besides its file and a copy of that. One picture at a time, then.

use ::image::codecs::gif::GifDecoder;
use ::image::codecs::jpeg::{JpegDecoder, JpegEncoder};
use ::image::codecs::png::{CompressionType, FilterType as RowFilter, PngDecoder, PngEncoder};
use ::image::codecs::webp::WebPDecoder;
use ::image::imageops::FilterType;
use ::image::metadata::Orientation;
use ::image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, Limits, Rgb, RgbImage, RgbaImage};
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Bytes of a picture's file. Larger: refused.
pub const FILE_BYTES_MAX: usize = 20 * 1024 * 1024;
/// Pixels along either side. More: refused.
pub const SIDE_PX_MAX: u32 = 10_000;
/// Pixels of the whole picture. More: refused.
pub const AREA_PX_MAX: u64 = 40_000_000;

/// Bytes that decoding one picture may hold. More: refused.
pub const DECODING_BYTES_MAX: u64 = 160 * 1024 * 1024;
/// What it holds whatever the size: tables, rows, colour profiles.
const WORKING_BYTES_FIXED: u64 = 8 * 1024 * 1024;
/// JPEG qualities, best first. Below the last one, a smaller picture looks better than a worse one.
const QUALITIES: [u8; 4] = [QUALITY_BEST, 70, 55, 40];
const QUALITY_BEST: u8 = 85;
/// Characters of a decoder's complaint that are shown.
const COMPLAINT_CHARACTERS_MAX: usize = 200;

/// What a model wants to see at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageLimits {
    /// Pixels along the longer side.
    pub long_edge_px: u32,
    /// Pixels of the whole picture.
    pub area_px: u64,
    /// Bytes of the encoded picture.
    pub bytes_max: usize,
}

impl Default for ImageLimits {
    fn default() -> Self {
        // Anthropic's vision guide: above 1,568 pixels or about 1.15 megapixels, the service scales down by itself.
        Self { long_edge_px: 1_568, area_px: 1_150_000, bytes_max: blufio_core::limits::IMAGE_BYTES_MAX }
    }
}

/// A picture that can be shown to a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The encoded picture.
    pub bytes: Vec<u8>,
    /// `image/jpeg` or `image/png`.
    pub media_type: &'static str,
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

/// Why a file is not shown as a picture; the words are for the person who sent it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The file has more than [`FILE_BYTES_MAX`] bytes.
    #[error("this picture has {} MiB; I can look at up to {} MiB", .0.div_ceil(1024 * 1024), FILE_BYTES_MAX / 1024 / 1024)]
    TooManyBytes(usize),
    /// A side or the whole has too many pixels.
    #[error("this picture is {} × {} pixels; I can look at up to {}", grouped(*.w), grouped(*.h), most(*.w, *.h))]
    TooLarge {
        /// Pixels from left to right.
        w: u32,
        /// Pixels from top to bottom.
        h: u32,
    },
    /// The first bytes are those of no known kind of picture.
    #[error("this is no picture of a kind that I can look at (JPEG, PNG, WebP or GIF)")]
    NotAnImage,
    /// It starts like a picture and cannot be read to the end.
    #[error("this picture cannot be read: {0}")]
    Broken(String),
    /// Opening it would need more memory than one picture may have, or than there is; a smaller one may do.
    #[error("this picture needs more memory than I have for one; a smaller one may work")]
    NoMemory,
}

/// Whether a file starts like a picture that [`prepare`] knows.
#[must_use]
pub fn is_image(bytes: &[u8]) -> bool {
    Kind::of(bytes).is_some()
}

/// Makes a picture of the file `bytes` that fits `limits`, never larger than it was. Of an animation, it shows the first
/// frame.
///
/// # Errors
/// See [`ImageError`]; each one is final for these bytes, except [`ImageError::NoMemory`].
pub fn prepare(bytes: &[u8], limits: &ImageLimits) -> Result<Prepared, ImageError> {
    if bytes.len() > FILE_BYTES_MAX {
        return Err(ImageError::TooManyBytes(bytes.len()));
    }
    let kind = Kind::of(bytes).ok_or(ImageError::NotAnImage)?;
    if let Some((w, h)) = kind.declared(bytes) {
        check_size(w, h)?;
    }
    let per_pixel = kind.bytes_per_pixel(bytes);
    // The decoders are meant not to panic on any bytes. If one does, that is a bad picture and not a bug of ours, and it
    // must not look like one.
    let picture = catch_unwind(AssertUnwindSafe(|| {
        let (picture, orientation) = kind.decode(bytes, per_pixel)?;
        let mut picture = scaled(picture, limits);
        picture.apply_orientation(orientation);
        Ok(picture)
    }))
    .map_err(|_| ImageError::Broken("the decoder stopped".to_owned()))??;
    encode(picture, limits)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Jpeg,
    Png,
    WebP,
    Gif,
}

impl Kind {
    fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::WebP),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            _ => None,
        }
    }

    /// Width and height as the header states them; none if it ends before. The decoders state them too, but some only
    /// after they have found the pixels, and a header alone has to be enough for a refusal.
    fn declared(self, bytes: &[u8]) -> Option<(u32, u32)> {
        match self {
            Self::Jpeg => jpeg_size(bytes),
            Self::Png => {
                let [width, height] = *bytes.get(16..24)?.as_chunks::<4>().0 else { return None };
                Some((u32::from_be_bytes(width), u32::from_be_bytes(height)))
            }
            Self::WebP => webp_size(bytes),
            Self::Gif => {
                let [width, height] = *bytes.get(6..10)?.as_chunks::<2>().0 else { return None };
                Some((u16::from_le_bytes(width).into(), u16::from_le_bytes(height).into()))
            }
        }
    }

    /// The most that decoding holds per pixel.
    fn bytes_per_pixel(self, bytes: &[u8]) -> u64 {
        match self {
            // A progressive one keeps three coefficients of two bytes until its last scan.
            Self::Jpeg => {
                if jpeg_is_progressive(bytes) {
                    9
                } else {
                    3
                }
            }
            // The header's bit depth.
            Self::Png => {
                if bytes.get(24) == Some(&16) {
                    8
                } else {
                    4
                }
            }
            // An animated one has its result, the frame and the canvas at four bytes each.
            Self::WebP => {
                if bytes.get(12..16) == Some(b"VP8X") && bytes.get(20).is_some_and(|flags| flags & 2 != 0) {
                    12
                } else {
                    4
                }
            }
            Self::Gif => 8,
        }
    }

    fn decode(self, bytes: &[u8], per_pixel: u64) -> Result<(DynamicImage, Orientation), ImageError> {
        let file = Cursor::new(bytes);
        match self {
            Self::Jpeg => pixels(JpegDecoder::new(file).map_err(broken)?, per_pixel),
            Self::Png => {
                let mut limits = Limits::default();
                limits.max_alloc = Some(DECODING_BYTES_MAX + WORKING_BYTES_FIXED);
                pixels(PngDecoder::with_limits(file, limits).map_err(broken)?, per_pixel)
            }
            Self::WebP => pixels(WebPDecoder::new(file).map_err(broken)?, per_pixel),
            Self::Gif => pixels(GifDecoder::new(file).map_err(broken)?, per_pixel),
        }
    }
}

/// The size in a JPEG's frame header (ITU-T T.81, annex B), by walking over the segments before it.
fn jpeg_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut rest = bytes.get(2..)?;
    loop {
        match *rest {
            // Any number of these fills the space before a marker.
            [0xff, 0xff, ..] => rest = rest.get(1..)?,
            // The frame headers, without the three other segments in their range.
            [0xff, 0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf, _, _, _, h1, h0, w1, w0, ..] => {
                return Some((u16::from_be_bytes([w1, w0]).into(), u16::from_be_bytes([h1, h0]).into()));
            }
            // The pixels start, or the file ends.
            [0xff, 0xd9 | 0xda, ..] => return None,
            [0xff, 0x01 | 0xd0..=0xd8, ..] => rest = rest.get(2..)?,
            [0xff, _, l1, l0, ..] => rest = rest.get(usize::from(u16::from_be_bytes([l1, l0])).saturating_add(2)..)?,
            _ => return None,
        }
    }
}

/// The size in a WebP's first chunk (RFC 9649): a canvas, or the frame header of its one picture.
fn webp_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let (name, chunk) = (bytes.get(12..16)?, bytes.get(20..30)?);
    match (name, chunk) {
        (b"VP8X", &[_, _, _, _, w0, w1, w2, h0, h1, h2]) => {
            let side = |low, middle, high| u32::from_le_bytes([low, middle, high, 0]).saturating_add(1);
            Some((side(w0, w1, w2), side(h0, h1, h2)))
        }
        (b"VP8 ", &[_, _, _, _, _, _, w0, w1, h0, h1]) => {
            let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
            Some((side(w0, w1), side(h0, h1)))
        }
        (b"VP8L", &[_, b0, b1, b2, b3, ..]) => {
            let bits = u32::from_le_bytes([b0, b1, b2, b3]);
            Some(((bits & 0x3fff).saturating_add(1), ((bits >> 14) & 0x3fff).saturating_add(1)))
        }
        _ => None,
    }
}

fn check_size(w: u32, h: u32) -> Result<(), ImageError> {
    let fits = w <= SIDE_PX_MAX && h <= SIDE_PX_MAX && u64::from(w).saturating_mul(h.into()) <= AREA_PX_MAX;
    if fits { Ok(()) } else { Err(ImageError::TooLarge { w, h }) }
}

/// Decodes what a decoder has opened. How it has to be turned is for later, when it is smaller.
fn pixels(mut decoder: impl ImageDecoder, per_pixel: u64) -> Result<(DynamicImage, Orientation), ImageError> {
    // Once more, by the decoder's own reading of the header: it is the one that allocates.
    let (w, h) = decoder.dimensions();
    check_size(w, h)?;
    let held = u64::from(w).saturating_mul(h.into()).saturating_mul(per_pixel).max(decoder.total_bytes());
    if held > DECODING_BYTES_MAX {
        return Err(ImageError::NoMemory);
    }
    let working = held.saturating_add(WORKING_BYTES_FIXED);
    has_room(working)?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(working.saturating_sub(decoder.total_bytes()));
    decoder.set_limits(limits).map_err(broken)?;
    // A picture with a damaged note about its position is shown as it lies.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    Ok((DynamicImage::from_decoder(decoder).map_err(broken)?, orientation))
}

/// Progressive and hierarchical pictures have a frame header of another kind (ITU-T T.81, table B.1).
fn jpeg_is_progressive(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(2..).unwrap_or_default();
    loop {
        match *rest {
            [0xff, 0xff, ..] => rest = rest.get(1..).unwrap_or_default(),
            [0xff, 0xc0 | 0xc1, ..] => return false,
            [0xff, 0x01 | 0xd0..=0xd8, ..] => rest = rest.get(2..).unwrap_or_default(),
            [0xff, 0xc4 | 0xc8 | 0xcc | 0xdb..=0xef | 0xfe, l1, l0, ..] => {
                rest = rest.get(usize::from(u16::from_be_bytes([l1, l0])).saturating_add(2)..).unwrap_or_default();
            }
            // Another frame header, or something that is none: the dearer way is assumed.
            _ => return true,
        }
    }
}

/// Asks for the memory that decoding may take, and gives it back: the decoders end the process where there is none.
fn has_room(bytes: u64) -> Result<(), ImageError> {
    let bytes = usize::try_from(bytes).map_err(|_| ImageError::NoMemory)?;
    Vec::<u8>::new().try_reserve_exact(bytes).map_err(|_| ImageError::NoMemory)
}

fn scaled(mut picture: DynamicImage, limits: &ImageLimits) -> DynamicImage {
    let (width, height) = (picture.width(), picture.height());
    let (w, h) = target(width, height, limits);
    if (w, h) == (width, height) {
        return picture;
    }
    // The good filter works in floating point, at 16 bytes per pixel. A much larger picture is therefore first averaged
    // over whole blocks, which keeps twice the resolution that is asked for.
    let (w2, h2) = (w.saturating_mul(2), h.saturating_mul(2));
    if width / 3 > w && height / 3 > h {
        picture = picture.thumbnail_exact(w2, h2);
    }
    picture.resize_exact(w, h, FilterType::Triangle)
}

/// The largest size of the same shape within the limits, and not above the size itself.
fn target(w: u32, h: u32, limits: &ImageLimits) -> (u32, u32) {
    let (long, short) = (u64::from(w.max(h)).max(1), u64::from(w.min(h)).max(1));
    // long' × (long' × short / long) ≤ area
    let by_area = u128::from(limits.area_px).saturating_mul(long.into()).checked_div(short.into()).unwrap_or(0).isqrt();
    let by_area = u64::try_from(by_area).unwrap_or(u64::MAX);
    let new_long = long.min(limits.long_edge_px.into()).min(by_area).max(1);
    let new_short = short.saturating_mul(new_long).checked_div(long).unwrap_or(1).max(1);
    let side = |px: u64| u32::try_from(px).unwrap_or(u32::MAX);
    if w >= h { (side(new_long), side(new_short)) } else { (side(new_short), side(new_long)) }
}

/// Encodes as JPEG, worse and then smaller until it fits; or as PNG if something can be seen through and that is smaller.
fn encode(picture: DynamicImage, limits: &ImageLimits) -> Result<Prepared, ImageError> {
    let mut rgb = if picture.color().has_alpha() {
        let rgba = picture.into_rgba8();
        let on_white = on_white(&rgba);
        if rgba.pixels().any(|pixel| !matches!(pixel.0, [.., u8::MAX])) {
            let jpeg = jpeg(&on_white, QUALITY_BEST)?;
            let png = png(&rgba)?;
            if png.len() < jpeg.len() && png.len() <= limits.bytes_max {
                return Ok(Prepared {
                    bytes: png,
                    media_type: "image/png",
                    width: rgba.width(),
                    height: rgba.height(),
                });
            }
        }
        on_white
    } else {
        picture.into_rgb8()
    };
    loop {
        for quality in QUALITIES {
            let bytes = jpeg(&rgb, quality)?;
            if bytes.len() <= limits.bytes_max {
                return Ok(Prepared { bytes, media_type: "image/jpeg", width: rgb.width(), height: rgb.height() });
            }
        }
        let smaller = |px: u32| px.saturating_mul(3).div_ceil(4).min(px.saturating_sub(1)).max(1);
        let (w, h) = (smaller(rgb.width()), smaller(rgb.height()));
        if (w, h) == rgb.dimensions() {
            return Err(ImageError::Broken(format!("it does not fit into {} bytes", limits.bytes_max)));
        }
        rgb = ::image::imageops::resize(&rgb, w, h, FilterType::Triangle);
    }
}

fn jpeg(picture: &RgbImage, quality: u8) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, quality);
    encoder
        .write_image(picture.as_raw(), picture.width(), picture.height(), ExtendedColorType::Rgb8)
        .map_err(broken)?;
    Ok(bytes)
}

fn png(picture: &RgbaImage) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut bytes, CompressionType::Default, RowFilter::Adaptive);
    encoder
        .write_image(picture.as_raw(), picture.width(), picture.height(), ExtendedColorType::Rgba8)
        .map_err(broken)?;
    Ok(bytes)
}

/// What a person sees of a picture that can be seen through, on a white page.
fn on_white(picture: &RgbaImage) -> RgbImage {
    let mut page = RgbImage::new(picture.width(), picture.height());
    for (to, from) in page.pixels_mut().zip(picture.pixels()) {
        let [red, green, blue, alpha] = from.0.map(u32::from);
        let mixed = |channel: u32| ((channel * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
        *to = Rgb([mixed(red), mixed(green), mixed(blue)]);
    }
    page
}

/// A decoder's complaint. It may quote the file, so it is cut and cleaned.
fn broken(error: ::image::ImageError) -> ImageError {
    let words: String = error.to_string().chars().take(COMPLAINT_CHARACTERS_MAX).collect();
    ImageError::Broken(super::text::clean(&words).replace('\n', " "))
}

/// The limit that a size is over, in words.
fn most(w: u32, h: u32) -> String {
    if w.max(h) > SIDE_PX_MAX {
        format!("{} per side", grouped(SIDE_PX_MAX))
    } else {
        format!("{} million", AREA_PX_MAX / 1_000_000)
    }
}

/// A number with a comma between thousands.
fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let head = digits.len() % 3;
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && at % 3 == head {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests;
