//! A secret in twenty-five disguises, as somebody would dress it up to get it past a watchman.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// How many there are.
pub const COUNT: usize = 25;

/// The disguises of a secret; each differs from each other.
pub fn of(secret: &str) -> Vec<String> {
    let (first, second) = secret.split_at(secret.len() / 2);
    let join = |between: &str| secret.chars().map(String::from).collect::<Vec<_>>().join(between);
    let each = |form: fn(u8) -> String| secret.bytes().map(form).collect::<String>();
    let every_second = |from: usize| secret.chars().skip(from).step_by(2).collect::<String>();
    vec![
        secret.to_owned(),
        STANDARD.encode(secret),
        STANDARD_NO_PAD.encode(format!("x{secret}")),
        STANDARD_NO_PAD.encode(format!("xy{secret}")),
        URL_SAFE_NO_PAD.encode(format!("{secret}\u{ff}")),
        STANDARD.encode(STANDARD.encode(secret)),
        each(|byte| format!("{byte:02x}")),
        each(|byte| format!("{byte:02X}")),
        each(|byte| format!("%{byte:02X}")),
        each(|byte| format!("\\u{byte:04x}")),
        each(|byte| format!("&#{byte};")),
        each(|byte| format!("{byte:08b}")),
        each(|byte| format!("{byte:03o}.")),
        each(|byte| format!("{:02x}", byte ^ 0x5a)),
        secret.chars().map(rot13).collect(),
        secret.chars().rev().collect(),
        join("\u{200b}"),
        join("-"),
        join("."),
        secret.chars().map(full_width).collect(),
        swapped(secret),
        base32(secret),
        format!("{first} {second}"),
        every_second(0),
        every_second(1),
    ]
}

fn rot13(character: char) -> char {
    let turn = |base: u8| char::from((character as u8 - base + 13) % 26 + base);
    match character {
        'a'..='z' => turn(b'a'),
        'A'..='Z' => turn(b'A'),
        other => other,
    }
}

fn full_width(character: char) -> char {
    char::from_u32(character as u32 + 0xfee0).filter(|_| character.is_ascii_graphic()).unwrap_or(character)
}

fn swapped(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }).collect()
}

fn base32(text: &str) -> String {
    let bits = text.bytes().fold(String::new(), |mut bits, byte| {
        write!(bits, "{byte:08b}").unwrap();
        bits
    });
    let letters = b"abcdefghijklmnopqrstuvwxyz234567";
    bits.as_bytes()
        .chunks(5)
        .map(|five| {
            let number = five.iter().fold(0_usize, |number, bit| number * 2 + usize::from(bit - b'0'));
            char::from(letters[number << (5 - five.len())])
        })
        .collect()
}

/// A part of a name in the domain name system, whatever the text was.
pub fn label(text: &str) -> String {
    let plain = text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    plain.as_bytes().chunks(60).map(|part| String::from_utf8_lossy(part).into_owned()).collect::<Vec<_>>().join(".")
}

#[test]
fn they_are_twenty_five_and_all_different() {
    let all: std::collections::BTreeSet<String> = of("Safe-4711").into_iter().collect();
    assert_eq!(all.len(), COUNT);
}
