//! The root key, what is derived from it, and the recovery code that brings it back.
//!
//! ```text
//! root key ── HKDF, salt = install id ─┬─ "blufio/v1/vault-kek"       wraps the vault's key
//!                                      ├─ "blufio/v1/db"              the database's raw key and salt
//!                                      ├─ "blufio/v1/audit-mac"       seals the audit log
//!                                      └─ "blufio/v1/keyslots-check"  says which key belongs to a data folder
//! recovery code ── Argon2id ── opens the slot that holds the root key
//! ```
//!
//! Where a key is kept, and who may read it there, is not known here. Random bytes are arguments.

mod recovery;
mod slots;

pub use recovery::{BadCode, RecoveryCode};
pub use slots::{BadSlots, KeySlots, NotThisKey, RecoveryError};

use crate::crypto;
use std::fmt;
use zeroize::Zeroizing;

/// Fewer different bytes in a root key are no random ones.
const DIFFERENT_BYTES_MIN: usize = 8;
/// Keys that stand in documentation, in hexadecimal: the examples of SQLCipher, NIST SP 800-38A and the GCM specification.
/// Those that count upwards or downwards are found without a list.
const KNOWN_KEYS: [&str; 3] = [
    "2dd29ca851e7b56e4697b0e1f08507293d761a05ce4d1b628663f411a8086d99",
    "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
    "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
];

/// Prints the type's name and nothing of what is in it.
macro_rules! shown_as_name {
    ($($name:ident),+) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    )+};
}
use shown_as_name;

shown_as_name!(RootKey, DatabaseKey);

/// Names an installation; random, no secret. Two installations with one root key have different keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstallId(pub [u8; 16]);

/// Why bytes are no root key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRootKey {
    /// Another length.
    #[error("it has {bytes} bytes; a root key is 32 bytes, or 64 hexadecimal digits and nothing else but a line break")]
    Length {
        /// How many there are.
        bytes: usize,
    },
    /// As long as 64 digits, and not all of them are.
    #[error("it is as long as 64 hexadecimal digits, and not all of it are such digits")]
    NotHexadecimal,
    /// 32 characters that can be typed.
    #[error("it is 32 characters of text; a root key is 32 random bytes, or 64 hexadecimal digits")]
    Text,
    /// Too regular to be random.
    #[error("it has fewer than 8 different bytes, so it is not random")]
    Regular,
    /// In documentation and tests.
    #[error("it is a key from documentation or tests, which everybody knows")]
    Known,
}

impl BadRootKey {
    /// What a person can do.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Length { .. } | Self::NotHexadecimal => {
                "restore the key's file from where it was copied to, or the key with the recovery code"
            }
            Self::Text | Self::Regular | Self::Known => {
                "`blufio init` makes a random one; a password is no key, the recovery code is for people"
            }
        }
    }
}

/// The key that opens everything.
#[derive(Clone)]
pub struct RootKey(Zeroizing<[u8; 32]>);

impl RootKey {
    /// Refuses bytes that do not look random, and those that everybody knows.
    fn new(random: Zeroizing<[u8; 32]>) -> Result<Self, BadRootKey> {
        if random.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
            return Err(BadRootKey::Text);
        }
        let mut seen = [false; 256];
        for byte in random.iter() {
            if let Some(seen) = seen.get_mut(usize::from(*byte)) {
                *seen = true;
            }
        }
        if seen.iter().filter(|seen| **seen).count() < DIFFERENT_BYTES_MIN {
            return Err(BadRootKey::Regular);
        }
        if is_known(&random) { Err(BadRootKey::Known) } else { Ok(Self(random)) }
    }

    /// What a file, a descriptor or a variable holds: 32 bytes, or 64 hexadecimal digits with at most a line break behind.
    ///
    /// # Errors
    /// See [`BadRootKey`].
    pub fn parse(bytes: &[u8]) -> Result<Self, BadRootKey> {
        if let Ok(raw) = <[u8; 32]>::try_from(bytes) {
            return Self::new(Zeroizing::new(raw));
        }
        let digits = bytes.strip_suffix(b"\n").map_or(bytes, |line| line.strip_suffix(b"\r").unwrap_or(line));
        if digits.len() != 64 {
            return Err(BadRootKey::Length { bytes: bytes.len() });
        }
        Self::new(from_hex(digits).ok_or(BadRootKey::NotHexadecimal)?)
    }

    /// 64 hexadecimal digits, for the file that [`RootKey::parse`] reads.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(hex(self.0.as_slice()))
    }

    /// The keys of an installation.
    #[must_use]
    pub fn derive(&self, install: &InstallId) -> KeyTree {
        KeyTree {
            database: DatabaseKey(self.key(install, "blufio/v1/db")),
            vault: self.key(install, "blufio/v1/vault-kek"),
            audit: self.key(install, "blufio/v1/audit-mac"),
        }
    }

    fn key<const N: usize>(&self, install: &InstallId, info: &str) -> Zeroizing<[u8; N]> {
        crypto::hkdf(self.0.as_slice(), &install.0, info.as_bytes())
    }
}

/// What is derived from the root key.
#[derive(Clone)]
pub struct KeyTree {
    /// Opens the database.
    pub database: DatabaseKey,
    /// Wraps the vault's key.
    pub vault: Zeroizing<[u8; 32]>,
    /// Seals the audit log.
    pub audit: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for KeyTree {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("KeyTree(…)")
    }
}

/// The raw key of the database, 32 bytes, and after it the salt of its pages, 16 bytes.
#[derive(Clone)]
pub struct DatabaseKey(Zeroizing<[u8; 48]>);

impl DatabaseKey {
    /// From its bytes.
    #[must_use]
    pub fn new(bytes: [u8; 48]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// 96 hexadecimal digits, as SQLCipher takes a raw key with its salt.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(hex(self.0.as_slice()))
    }
}

/// Counts up or down by one, as in many a specification's examples, or is one of the list.
fn is_known(key: &[u8; 32]) -> bool {
    let counts = |step: u8| key.iter().zip(key.iter().skip(1)).all(|(one, next)| one.wrapping_add(step) == *next);
    let listed = || KNOWN_KEYS.iter().any(|known| from_hex(known.as_bytes()).is_some_and(|known| *known == *key));
    counts(1) || counts(u8::MAX) || listed()
}

/// Lower-case hexadecimal digits. Reserved at once, so that no part of a secret is left in smaller memory.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        for half in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(half), 16).unwrap_or('0'));
        }
    }
    text
}

/// The bytes of exactly `2 * N` hexadecimal digits.
fn from_hex<const N: usize>(digits: &[u8]) -> Option<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0; N]);
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    if pairs.len() != N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        for digit in pair {
            *byte = (*byte << 4) | u8::try_from(char::from(*digit).to_digit(16)?).ok()?;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
