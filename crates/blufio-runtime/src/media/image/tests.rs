//! Pictures are made here, by the encoders of the same library; headers and metadata are forged by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use super::*;
use ::image::codecs::gif::GifEncoder;
use ::image::codecs::webp::WebPEncoder;
use ::image::{Frame, GrayImage, ImageBuffer, ImageFormat, Luma, Rgba};
use proptest::prelude::*;

const RED: [u8; 3] = [220, 30, 30];
const GREEN: [u8; 3] = [30, 200, 30];
const BLUE: [u8; 3] = [30, 30, 220];
const GREY: [u8; 3] = [128, 128, 128];

fn gradient(w: u32, h: u32) -> DynamicImage {
    RgbImage::from_fn(w, h, |x, y| Rgb([(x * 255 / w) as u8, (y * 255 / h) as u8, 90])).into()
}

/// 96 × 64 pixels: red and green above blue and grey.
fn quarters() -> DynamicImage {
    let color = |x, y| match (x < 48, y < 32) {
        (true, true) => RED,
        (false, true) => GREEN,
        (true, false) => BLUE,
        (false, false) => GREY,
    };
    RgbImage::from_fn(96, 64, |x, y| Rgb(color(x, y))).into()
}

/// Colour by colour, whether the corners are these: left and right, above and below.
fn has_corners(picture: &DynamicImage, corners: [[u8; 3]; 4]) -> [bool; 4] {
    let (right, low) = (picture.width() - 8, picture.height() - 8);
    let mut places = [(8, 8), (right, 8), (8, low), (right, low)].into_iter();
    corners.map(|color| places.next().is_some_and(|(x, y)| is_about(picture, x, y, color)))
}

fn noise(w: u32, h: u32) -> RgbaImage {
    let mut state = 1_u32;
    RgbaImage::from_fn(w, h, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Rgba((state ^ (state >> 13)).to_be_bytes())
    })
}

fn plain(w: u32, h: u32, color: [u8; 3]) -> RgbaImage {
    let [red, green, blue] = color;
    RgbaImage::from_pixel(w, h, Rgba([red, green, blue, 255]))
}

fn file(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn files(picture: &DynamicImage) -> [Vec<u8>; 4] {
    [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif].map(|format| file(picture, format))
}

fn ready(bytes: &[u8]) -> Prepared {
    let prepared = prepare(bytes, &ImageLimits::default()).unwrap();
    assert!(prepared.bytes.len() <= ImageLimits::default().bytes_max);
    prepared
}

/// The picture that the model would see; what is said about it has to be true.
fn seen(prepared: &Prepared) -> DynamicImage {
    let format = if prepared.media_type == "image/png" { ImageFormat::Png } else { ImageFormat::Jpeg };
    let picture = ::image::load_from_memory_with_format(&prepared.bytes, format).unwrap();
    assert_eq!((picture.width(), picture.height()), (prepared.width, prepared.height));
    picture
}

/// Whether a pixel has about this colour: JPEG changes it a little, and GIF has few.
fn is_about(picture: &DynamicImage, x: u32, y: u32, color: [u8; 3]) -> bool {
    let pixel = picture.to_rgb8().get_pixel(x, y).0;
    pixel.iter().zip(color).all(|(is, should)| is.abs_diff(should) < 24)
}

fn refused(bytes: &[u8], error: ImageError, words: &str) {
    assert_eq!(prepare(bytes, &ImageLimits::default()), Err(error.clone()));
    assert_eq!(error.to_string(), words);
}

#[test]
fn each_kind_of_picture() {
    for bytes in files(&quarters()) {
        assert!(is_image(&bytes));
        let prepared = ready(&bytes);
        assert_eq!((prepared.width, prepared.height, prepared.media_type), (96, 64, "image/jpeg"));
        let corners = has_corners(&seen(&prepared), [RED, GREEN, BLUE, GREY]);
        assert_eq!(corners, [true; 4], "{:?}", Kind::of(&bytes));
    }
}

#[test]
fn each_depth_and_channel() {
    let grey = GrayImage::from_pixel(9, 5, Luma([128]));
    let deep = ImageBuffer::<Luma<u16>, _>::from_pixel(9, 5, Luma([128 << 8]));
    let deep_color = ImageBuffer::<Rgb<u16>, _>::from_pixel(9, 5, Rgb([128 << 8; 3]));
    let pictures: [DynamicImage; 6] = [
        grey.clone().into(),
        deep.clone().into(),
        deep_color.into(),
        DynamicImage::from(grey.clone()).to_luma_alpha8().into(),
        DynamicImage::from(deep).to_rgba16().into(),
        plain(9, 5, GREY).into(),
    ];
    for picture in pictures {
        let prepared = ready(&file(&picture, ImageFormat::Png));
        assert_eq!(prepared.media_type, "image/jpeg", "nothing can be seen through");
        assert!(is_about(&seen(&prepared), 4, 2, GREY), "{:?}", picture.color());
    }
    assert!(is_about(&seen(&ready(&file(&grey.into(), ImageFormat::Jpeg))), 4, 2, GREY));
}

#[test]
fn sizes_within_the_limits() {
    let check = |(w, h), (long_edge_px, area_px), expect| {
        let limits = ImageLimits { long_edge_px, area_px, ..ImageLimits::default() };
        assert_eq!(target(w, h, &limits), expect, "{w} × {h}");
    };
    let usual = (1_568, 1_150_000);
    check((1, 1), usual, (1, 1));
    check((1_000, 1_150), usual, (1_000, 1_150));
    check((1_568, 733), usual, (1_568, 733));
    check((3_000, 2_000), usual, (1_313, 875));
    check((2_000, 3_000), usual, (875, 1_313));
    check((5_000, 1_000), usual, (1_568, 313));
    check((10_000, 1), usual, (1_568, 1));
    check((1, 10_000), usual, (1, 1_568));
    check((4_000, 4_000), (2_576, 5_000_000), (2_236, 2_236));
    check((4_000, 4_000), (0, 0), (1, 1));
    check((u32::MAX, u32::MAX), (u32::MAX, u64::MAX), (u32::MAX, u32::MAX));
}

#[test]
fn large_pictures_are_scaled_and_look_the_same() {
    // More than three times too large, a little too large, and a line.
    for (w, h, expect) in [(4_200, 1_000, (1_568, 373)), (1_700, 900, (1_473, 779)), (6_000, 2, (1_568, 1))] {
        let picture = gradient(w, h);
        let prepared = ready(&file(&picture, ImageFormat::Png));
        assert_eq!((prepared.width, prepared.height), expect);
        let seen = seen(&prepared);
        for part in [1, 2, 3] {
            let (x, y) = (prepared.width * part / 4, prepared.height / 2);
            let original = picture.to_rgb8().get_pixel(w * part / 4, h / 2).0;
            assert!(h == 2 || is_about(&seen, x, y, original), "{w} × {h}, {part}/4");
        }
    }
    let limits = ImageLimits { long_edge_px: 100, area_px: 2_000, bytes_max: 100_000 };
    let small = prepare(&file(&gradient(1_000, 500), ImageFormat::Jpeg), &limits).unwrap();
    assert_eq!((small.width, small.height), (63, 31));
    assert!(is_about(&seen(&small), 31, 15, [127, 127, 90]));
}

#[test]
fn the_same_bytes_give_the_same_bytes() {
    let mut pictures = files(&gradient(1_800, 300)).to_vec();
    pictures.push(file(&noise(64, 64).into(), ImageFormat::Png));
    for bytes in pictures {
        assert_eq!(ready(&bytes), ready(&bytes));
    }
}

/// An Exif block (Exif 2.32, §4.5) with the orientation and the maker's name.
fn exif(orientation: u8) -> Vec<u8> {
    let mut block = b"Exif\0\0II*\0\x08\0\0\0\x02\0".to_vec();
    block.extend(b"\x0f\x01\x02\0\x07\0\0\0\x26\0\0\0");
    block.extend([0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0]);
    block.extend(b"\0\0\0\0SECRET\0");
    block
}

fn with_exif(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let block = exif(orientation);
    let length = u16::try_from(block.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], b"\xff\xe1", &length, &block, b"\xff\xfe\x00\x08SECRET", &jpeg[2..]].concat()
}

#[test]
fn pictures_are_turned_upright_and_lose_their_metadata() {
    let jpeg = file(&quarters(), ImageFormat::Jpeg);
    let upright = [
        (1, [RED, GREEN, BLUE, GREY]),
        (2, [GREEN, RED, GREY, BLUE]),
        (3, [GREY, BLUE, GREEN, RED]),
        (4, [BLUE, GREY, RED, GREEN]),
        (5, [RED, BLUE, GREEN, GREY]),
        (6, [BLUE, RED, GREY, GREEN]),
        (7, [GREY, GREEN, BLUE, RED]),
        (8, [GREEN, GREY, RED, BLUE]),
        (0, [RED, GREEN, BLUE, GREY]),
        (9, [RED, GREEN, BLUE, GREY]),
    ];
    for (orientation, corners) in upright {
        let bytes = with_exif(&jpeg, orientation);
        let prepared = ready(&bytes);
        let (w, h) = if (5..=8).contains(&orientation) { (64, 96) } else { (96, 64) };
        assert_eq!((prepared.width, prepared.height), (w, h), "orientation {orientation}");
        assert_eq!(has_corners(&seen(&prepared), corners), [true; 4], "orientation {orientation}");
        let holds = |bytes: &[u8], word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
        assert!(holds(&bytes, b"SECRET") && !holds(&prepared.bytes, b"SECRET") && !holds(&prepared.bytes, b"Exif"));
    }
}

#[test]
fn what_can_be_seen_through_stays_so_if_that_is_smaller() {
    let mut disc = plain(300, 300, RED);
    for (x, y, pixel) in disc.enumerate_pixels_mut() {
        if x.abs_diff(150).pow(2) + y.abs_diff(150).pow(2) > 140 * 140 {
            *pixel = Rgba([0, 0, 0, 0]);
        }
    }
    let png = file(&disc.clone().into(), ImageFormat::Png);
    let prepared = ready(&png);
    assert_eq!(prepared.media_type, "image/png");
    assert_eq!(seen(&prepared).to_rgba8(), disc);

    // The same without room for it, and a picture that PNG does badly: as on a white page.
    let tight = ImageLimits { bytes_max: prepared.bytes.len() - 1, ..ImageLimits::default() };
    let on_page = prepare(&png, &tight).unwrap();
    assert_eq!(on_page.media_type, "image/jpeg");
    assert!(is_about(&seen(&on_page), 2, 2, [255; 3]));
    assert_eq!(ready(&file(&noise(80, 80).into(), ImageFormat::Png)).media_type, "image/jpeg");
}

#[test]
fn mixing_with_the_page() {
    let mix = |pixel| on_white(&RgbaImage::from_pixel(1, 1, Rgba(pixel))).get_pixel(0, 0).0;
    assert_eq!(mix([10, 20, 30, 255]), [10, 20, 30]);
    assert_eq!(mix([10, 20, 30, 0]), [255, 255, 255]);
    assert_eq!(mix([0, 255, 100, 128]), [127, 255, 177]);
}

#[test]
fn quality_and_then_size_make_it_fit() {
    let bytes = file(&DynamicImage::from(noise(400, 300)).to_rgb8().into(), ImageFormat::Png);
    let limited = |bytes_max| prepare(&bytes, &ImageLimits { bytes_max, ..ImageLimits::default() });
    let best = limited(1024 * 1024).unwrap();
    let worse = limited(best.bytes.len() - 1).unwrap();
    assert_eq!((worse.width, worse.height), (400, 300));
    assert!(worse.bytes.len() < best.bytes.len());
    let smaller = limited(10_000).unwrap();
    assert!(smaller.bytes.len() <= 10_000 && smaller.width < 400, "{} × {}", smaller.width, smaller.height);
    let words = limited(10).unwrap_err().to_string();
    assert_eq!(words, "this picture cannot be read: it does not fit into 10 bytes");
}

#[test]
fn animations_show_their_first_frame() {
    let mut gif = Vec::new();
    let frames = [RED, BLUE].map(|color| Frame::new(plain(20, 10, color)));
    GifEncoder::new(&mut gif).encode_frames(frames).unwrap();
    let webp = animated_webp(&[RED, BLUE]);
    for bytes in [gif, webp] {
        let prepared = ready(&bytes);
        assert_eq!((prepared.width, prepared.height), (20, 10));
        assert!(is_about(&seen(&prepared), 10, 5, RED), "{:?}", Kind::of(&bytes));
    }
}

fn chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    [&name[..], &length, body, &[0][..body.len() % 2]].concat()
}

/// Frames of 20 × 10 pixels, put into RFC 9649's container for animations.
fn animated_webp(colors: &[[u8; 3]]) -> Vec<u8> {
    let mut chunks = b"WEBP".to_vec();
    chunks.extend(chunk(b"VP8X", &[0b10, 0, 0, 0, 19, 0, 0, 9, 0, 0]));
    chunks.extend(chunk(b"ANIM", &[0; 6]));
    for color in colors {
        let mut still = Vec::new();
        let picture = DynamicImage::from(plain(20, 10, *color)).to_rgb8();
        WebPEncoder::new_lossless(&mut still).write_image(&picture, 20, 10, ExtendedColorType::Rgb8).unwrap();
        let frame = [&[0, 0, 0, 0, 0, 0, 19, 0, 0, 9, 0, 0, 100, 0, 0, 0], &still[12..]].concat();
        chunks.extend(chunk(b"ANMF", &frame));
    }
    chunk(b"RIFF", &chunks)
}

#[test]
fn too_large_by_the_header_alone() {
    let png = |w: u32, h: u32| {
        [b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", &w.to_be_bytes()[..], &h.to_be_bytes(), b"\x08\x06\0\0\0\0\0\0\0"].concat()
    };
    let jpeg = |w: u16, h: u16| {
        let size = [h.to_be_bytes(), w.to_be_bytes()].concat();
        [b"\xff\xd8\xff\xe0\0\x04JF\xff\xff\xff\xc0\0\x11\x08", &size[..], b"\x03\x01\x22\0\x02\x11\0\x03\x11\0"]
            .concat()
    };
    let gif = |w: u16, h: u16| [b"GIF89a", &w.to_le_bytes()[..], &h.to_le_bytes(), b"\0\0\0"].concat();
    let webp = |name, body: &[u8]| chunk(b"RIFF", &[b"WEBP", &chunk(name, body)[..]].concat());
    let bits = (12_000_u32 - 1) | ((3_000 - 1) << 14);
    let lossless = [&[0x2f], &bits.to_le_bytes()[..], &[0; 5]].concat();
    let too_large = [
        png(12_000, 3_000),
        jpeg(12_000, 3_000),
        gif(12_000, 3_000),
        webp(b"VP8X", &[0, 0, 0, 0, 0xdf, 0x2e, 0, 0xb7, 0x0b, 0]),
        webp(b"VP8 ", &[0, 0, 0, 0x9d, 1, 0x2a, 0xe0, 0x2e, 0xb8, 0x0b]),
        webp(b"VP8L", &lossless),
    ];
    for bytes in too_large {
        refused(
            &bytes,
            ImageError::TooLarge { w: 12_000, h: 3_000 },
            "this picture is 12,000 × 3,000 pixels; I can look at up to 10,000 per side",
        );
    }
    refused(
        &png(9_000, 5_000),
        ImageError::TooLarge { w: 9_000, h: 5_000 },
        "this picture is 9,000 × 5,000 pixels; I can look at up to 40 million",
    );
    refused(
        &png(u32::MAX, u32::MAX),
        ImageError::TooLarge { w: u32::MAX, h: u32::MAX },
        "this picture is 4,294,967,295 × 4,294,967,295 pixels; I can look at up to 10,000 per side",
    );
    // At the limit, the header is no reason; that nothing follows it is.
    assert!(matches!(prepare(&png(10_000, 4_000), &ImageLimits::default()), Err(ImageError::Broken(_))));
}

#[test]
fn what_is_no_picture() {
    let words = "this is no picture of a kind that I can look at (JPEG, PNG, WebP or GIF)";
    for bytes in [&b""[..], b"\xff\xd8", b"hello", b"%PDF-1.7", b"RIFF\0\0\0\0WAVEfmt ", b"GIF88a", b"BM\0\0\0\0"] {
        assert!(!is_image(bytes));
        refused(bytes, ImageError::NotAnImage, words);
    }
    refused(
        &vec![0; FILE_BYTES_MAX + 1],
        ImageError::TooManyBytes(FILE_BYTES_MAX + 1),
        "this picture has 21 MiB; I can look at up to 20 MiB",
    );
    let cut = prepare(b"\x89PNG\r\n\x1a\n", &ImageLimits::default()).unwrap_err();
    assert!(cut.to_string().starts_with("this picture cannot be read: "), "{cut}");
}

/// Any answer will do, but a decoder that panicked is not to be hidden.
fn has_an_answer(bytes: &[u8]) -> Result<Prepared, ImageError> {
    let answer = prepare(bytes, &ImageLimits::default());
    if let Err(ImageError::Broken(words)) = &answer {
        assert_ne!(words, "the decoder stopped");
    }
    answer
}

#[test]
fn files_that_were_cut_off() {
    let mut pictures = files(&DynamicImage::from(noise(48, 40)).to_rgb8().into()).to_vec();
    pictures.push(with_exif(&pictures[0], 6));
    pictures.push(animated_webp(&[RED, BLUE]));
    for bytes in pictures {
        for length in (0..bytes.len()).step_by(64) {
            if let Ok(prepared) = has_an_answer(&bytes[..length]) {
                seen(&prepared);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Random bytes behind the first bytes of each kind.
    #[test]
    fn random_bytes(kind in 0_usize..5, tail in proptest::collection::vec(any::<u8>(), 0..400)) {
        let heads: [&[u8]; 5] = [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0", b"RIFF\0\0\0\0WEBPVP8", b"GIF89a"];
        prop_assert!(prepare(&[heads[kind], &tail].concat(), &ImageLimits::default()).is_err() || kind > 0);
    }

    /// Good files with some bytes changed. Their sizes are small, and so is the chance that a changed one is not.
    #[test]
    fn changed_bytes(kind in 0_usize..5, changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = match kind {
            4 => animated_webp(&[RED, BLUE]),
            _ => files(&gradient(24, 16))[kind].clone(),
        };
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(prepared) = prepare(&bytes, &ImageLimits::default()) {
            seen(&prepared);
        }
    }
}
