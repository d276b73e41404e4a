//! Cryptography: thin wrappers with fixed sizes, the one place that names the algorithms' crates.
//!
//! There is one choice of everything: AES-256-GCM with 96-bit nonces and 128-bit tags, HKDF and HMAC over SHA-256, Argon2id.
//! What these functions take and return has no other size, so no caller can weaken them. Random bytes are arguments; what the
//! keys are for is not known here.

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Bytes of the tag that [`seal`] appends.
pub const TAG_BYTES: usize = 16;

/// KiB of memory that a derivation may take (RFC 9106 `m`). Outside: refused before any of it is allocated.
const ARGON2_MEMORY_KIB: std::ops::RangeInclusive<u32> = 19 * 1024..=256 * 1024;
/// Passes over the memory (`t`).
const ARGON2_PASSES: std::ops::RangeInclusive<u32> = 2..=10;
/// Lanes (`p`).
const ARGON2_LANES: std::ops::RangeInclusive<u32> = 1..=4;

/// The sealed bytes, their associated bytes, the nonce or the key are not those that were sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not authentic: changed, or sealed with another key")]
pub struct NotAuthentic;

/// Parameters of Argon2 that nobody should use: too weak, or so dear that the file that names them is an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "Argon2 parameters out of bounds: {memory_kib} KiB, {passes} passes, {lanes} lanes; accepted are 19456 to 262144 KiB, 2 to 10 passes, 1 to 4 lanes"
)]
pub struct BadParams {
    /// KiB that were asked for.
    pub memory_kib: u32,
    /// Passes that were asked for.
    pub passes: u32,
    /// Lanes that were asked for.
    pub lanes: u32,
}

/// What a derivation costs; within bounds by construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon2Params {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Argon2Params {
    /// Checks the bounds: 19–256 MiB, 2–10 passes, 1–4 lanes.
    ///
    /// # Errors
    /// One of them is outside.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, BadParams> {
        let fits =
            ARGON2_MEMORY_KIB.contains(&memory_kib) && ARGON2_PASSES.contains(&passes) && ARGON2_LANES.contains(&lanes);
        if fits { Ok(Self { memory_kib, passes, lanes }) } else { Err(BadParams { memory_kib, passes, lanes }) }
    }

    /// KiB of memory.
    #[must_use]
    pub const fn memory_kib(self) -> u32 {
        self.memory_kib
    }

    /// Passes over the memory.
    #[must_use]
    pub const fn passes(self) -> u32 {
        self.passes
    }

    /// Lanes.
    #[must_use]
    pub const fn lanes(self) -> u32 {
        self.lanes
    }
}

impl Default for Argon2Params {
    /// 64 MiB, three passes, one lane: RFC 9106's choice for little memory, with the one core that is surely there.
    fn default() -> Self {
        Self { memory_kib: 64 * 1024, passes: 3, lanes: 1 }
    }
}

/// HKDF-SHA256 (RFC 5869): `N` bytes for one purpose, named by `info`.
#[must_use]
pub fn hkdf<const N: usize>(key: &[u8], salt: &[u8], info: &[u8]) -> Zeroizing<[u8; N]> {
    const { assert!(N <= 255 * 32, "RFC 5869 ends there") };
    let mut out = Zeroizing::new([0; N]);
    #[expect(clippy::expect_used, reason = "only a length beyond 255 hashes fails, which does not compile")]
    Hkdf::<Sha256>::new(Some(salt), key).expand(info, out.as_mut_slice()).expect("a length that HKDF has");
    out
}

/// HMAC-SHA256 (RFC 2104). Compare its results with [`same`].
#[must_use]
pub fn hmac(key: &[u8], data: &[u8]) -> [u8; 32] {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key).expect("a key");
    mac.update(data);
    mac.finalize().into_bytes().into()
}

/// SHA-256 (FIPS 180-4).
#[must_use]
pub fn sha256(data: &[u8]) -> [u8; 32] {
    Sha256::digest(data).into()
}

/// Whether both are equal, in a time that does not tell where they differ. Their lengths are not hidden.
#[must_use]
pub fn same(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

/// AES-256-GCM: `plain` encrypted, with the tag over it and `associated` at its end.
///
/// A nonce must never come twice under one key: derive the key from fresh random bytes, or draw the nonce at random and seal
/// fewer than 2³² times.
#[must_use]
pub fn seal(key: &[u8; 32], nonce: [u8; 12], associated: &[u8], plain: &[u8]) -> Vec<u8> {
    // With its final capacity from the start, so that no copy of the plain text is left where it was.
    let mut sealed = Vec::with_capacity(plain.len() + TAG_BYTES);
    sealed.extend_from_slice(plain);
    let cipher = Aes256Gcm::new(key.into());
    #[expect(clippy::expect_used, reason = "only more than 64 GiB fail, and nothing here has a thousandth of that")]
    let tag = cipher
        .encrypt_inout_detached(&nonce.into(), associated, sealed.as_mut_slice().into())
        .expect("less than 64 GiB");
    sealed.extend_from_slice(&tag);
    sealed
}

/// What [`seal`] sealed.
///
/// # Errors
/// Anything differs; nothing of the content is given out then.
pub fn open(
    key: &[u8; 32],
    nonce: &[u8; 12],
    associated: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, NotAuthentic> {
    let (text, tag) = sealed.split_last_chunk::<TAG_BYTES>().ok_or(NotAuthentic)?;
    let mut plain = Zeroizing::new(text.to_vec());
    Aes256Gcm::new(key.into())
        .decrypt_inout_detached(nonce.into(), associated, plain.as_mut_slice().into(), tag.into())
        .map_err(|_| NotAuthentic)?;
    Ok(plain)
}

/// Argon2id (RFC 9106, version 0x13): a key from something that a person keeps. Takes memory and time on purpose.
#[must_use]
pub fn argon2id(code: &[u8], salt: &[u8; 16], params: Argon2Params) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0; 32]);
    let Argon2Params { memory_kib, passes, lanes } = params;
    #[expect(clippy::expect_used, reason = "the bounds of `Argon2Params` lie within those of Argon2")]
    let params = argon2::Params::new(memory_kib, passes, lanes, Some(out.len())).expect("parameters within bounds");
    let blocks = params.block_count();
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    // Memory of our own, because the crate gives its own back as it is: full of what the key is made from.
    let mut memory = Zeroizing::new(vec![argon2::Block::new(); blocks]);
    #[expect(clippy::expect_used, reason = "only a password of 4 GiB or too little memory fails")]
    argon2
        .hash_password_into_with_memory(code, salt, out.as_mut_slice(), memory.as_mut_slice())
        .expect("a short password and as many blocks as the parameters say");
    out
}

/// Bytes for [`hmac()`], [`hkdf()`] and the associated bytes of [`seal`]: every field with its length before it, so that no two
/// different lists of fields are the same bytes.
#[derive(Clone, Default)]
pub struct Canonical(Vec<u8>);

impl Canonical {
    /// Begins with the purpose, so that bytes for one are none for another.
    #[must_use]
    pub fn new(purpose: &str) -> Self {
        Self::default().bytes(purpose.as_bytes())
    }

    /// A field of any length.
    #[must_use]
    pub fn bytes(mut self, field: &[u8]) -> Self {
        self.0.extend_from_slice(&(field.len() as u64).to_be_bytes());
        self.0.extend_from_slice(field);
        self
    }

    /// A number.
    #[must_use]
    pub fn number(self, field: u64) -> Self {
        self.bytes(&field.to_be_bytes())
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Canonical {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Canonical({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests;
