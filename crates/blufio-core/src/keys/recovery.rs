//! The recovery code: 128 bits that a person writes down and types back.
//!
//! 26 symbols of Crockford's alphabet, which has no `I`, `L`, `O` and `U`. Read leniently, since it is copied by hand; shown
//! only where somebody says so.

use super::shown_as_name;
use crate::crypto;
use std::fmt;
use zeroize::Zeroizing;

/// Crockford's base 32.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Symbols of a code.
const SYMBOLS: usize = 26;
/// Symbols between two hyphens.
const GROUP: usize = 5;

// The first symbol has three bits, so that all of them are 128.
const _: () = assert!((SYMBOLS - 1) * 5 + 3 == 128);

/// Why a text is no recovery code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCode {
    /// Too many symbols or too few.
    #[error("it has {symbols} letters and digits, and a recovery code has 26")]
    Length {
        /// How many there are.
        symbols: usize,
    },
    /// A character that no code has.
    #[error("a recovery code has only digits and letters, and no U")]
    Symbol,
    /// No code begins so.
    #[error("a recovery code begins with a digit from 0 to 7")]
    First,
}

impl BadCode {
    /// What a person can do.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        "type it as it was shown: 26 letters and digits; capitals, hyphens and spaces do not matter, O is 0, I and L are 1"
    }
}

/// What brings the root key back.
#[derive(Clone)]
pub struct RecoveryCode(Zeroizing<[u8; 16]>);

shown_as_name!(RecoveryCode);

impl RecoveryCode {
    /// From random bytes.
    #[must_use]
    pub fn generate(random: [u8; 16]) -> Self {
        Self(Zeroizing::new(random))
    }

    /// What a person typed: capitals, hyphens and white space do not matter, `O` is `0`, `I` and `L` are `1`.
    ///
    /// # Errors
    /// See [`BadCode`]. A code with a typing mistake may be another code, which opens nothing.
    pub fn parse(text: &str) -> Result<Self, BadCode> {
        let symbols = || text.chars().filter(|character| !character.is_whitespace() && *character != '-');
        let count = symbols().count();
        let mut value = Zeroizing::new(0_u128);
        for (place, symbol) in symbols().enumerate() {
            let symbol = value_of(symbol).ok_or(BadCode::Symbol)?;
            if place == 0 && symbol > 7 && count == SYMBOLS {
                return Err(BadCode::First);
            }
            *value = (*value << 5) | u128::from(symbol);
        }
        if count == SYMBOLS { Ok(Self::generate(value.to_be_bytes())) } else { Err(BadCode::Length { symbols: count }) }
    }

    /// As it is shown once: groups of five with hyphens between them.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        let value = Zeroizing::new(u128::from_be_bytes(*self.0));
        let mut text = Zeroizing::new(String::with_capacity(SYMBOLS + SYMBOLS / GROUP));
        for place in 0..SYMBOLS {
            if place > 0 && place % GROUP == 0 {
                text.push('-');
            }
            let index = usize::try_from((*value >> ((SYMBOLS - 1 - place) * 5)) & 31).unwrap_or(0);
            text.push(char::from(ALPHABET.get(index).copied().unwrap_or(b'0')));
        }
        text
    }

    /// What Argon2 derives a key from.
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl PartialEq for RecoveryCode {
    /// In a time that does not tell where they differ.
    fn eq(&self, other: &Self) -> bool {
        crypto::same(self.bytes(), other.bytes())
    }
}

impl Eq for RecoveryCode {}

fn value_of(symbol: char) -> Option<u8> {
    let symbol = match symbol.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    let place = ALPHABET.iter().position(|known| char::from(*known) == symbol)?;
    u8::try_from(place).ok()
}
