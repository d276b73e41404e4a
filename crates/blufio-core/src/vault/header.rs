//! The vault's header: its key, wrapped, and with it the list of its rows.
//!
//! ```text
//! version 1 │ vault id 16 │ key version 4 │ mark of the wrapping key 16 │ nonce 12 │ length 4 │ sealed
//! sealed:     key 32 │ newest version 4 │ rows 4 │ per row: length 1, name, version 4, digest of its terms 32
//! ```
//!
//! Numbers are big-endian. The mark tells a wrong key from a changed header; it opens nothing.

use super::{SealedSecret, VaultError, with_terms};
use crate::crypto::{self, Canonical};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// The version of the header that is written.
const VERSION: u8 = 1;

/// What is in a header.
pub(super) struct Header {
    /// Random; rows of another vault do not open in this one.
    pub vault_id: [u8; 16],
    /// Counts the changes of the key.
    pub dek_version: u32,
    /// The key that the keys of rows are derived from.
    pub dek: Zeroizing<[u8; 32]>,
    /// The highest version that any row ever had.
    pub newest: u32,
    /// Which rows there are.
    pub listed: BTreeMap<String, Listed>,
}

/// What the header knows about a row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Listed {
    /// Its version.
    pub version: u32,
    /// A digest of where it may be used.
    terms: [u8; 32],
}

impl Listed {
    /// What the header says about this row.
    pub(super) fn of(row: &SealedSecret) -> Self {
        let terms = with_terms(Canonical::default(), row);
        Self { version: row.version, terms: crypto::hmac(b"blufio/v1/terms", terms.as_slice()) }
    }
}

impl Header {
    /// The header's bytes, sealed with the wrapping key.
    pub(super) fn wrap(&self, kek: &[u8; 32], nonce: [u8; 12]) -> Vec<u8> {
        let row = |(name, listed): (&String, &Listed)| {
            // A name is at most 64 bytes long, as `put` sees to.
            let length = u8::try_from(name.len()).unwrap_or(u8::MAX);
            [&[length], name.as_bytes(), &listed.version.to_be_bytes(), &listed.terms].concat()
        };
        let rows: Vec<u8> = self.listed.iter().flat_map(row).collect();
        let count = u32::try_from(self.listed.len()).unwrap_or(u32::MAX);
        let parts: [&[u8]; 4] = [self.dek.as_slice(), &self.newest.to_be_bytes(), &count.to_be_bytes(), &rows];
        let plain = Zeroizing::new(parts.concat());
        let sealed = crypto::seal(kek, nonce, bound_to(&self.vault_id, self.dek_version).as_slice(), &plain);
        let length = u32::try_from(sealed.len()).unwrap_or(u32::MAX);
        let parts: [&[u8]; 7] = [
            &[VERSION],
            &self.vault_id,
            &self.dek_version.to_be_bytes(),
            &mark(kek, &self.vault_id),
            &nonce,
            &length.to_be_bytes(),
            &sealed,
        ];
        parts.concat()
    }

    /// What [`Header::wrap`] wrapped.
    pub(super) fn unwrap(kek: &[u8; 32], bytes: &[u8]) -> Result<Self, VaultError> {
        let mut bytes = Bytes(bytes);
        let [version] = bytes.array().ok_or(VaultError::Truncated)?;
        if version != VERSION {
            return Err(VaultError::Version(version));
        }
        let vault_id = bytes.array().ok_or(VaultError::Truncated)?;
        let dek_version = bytes.number().ok_or(VaultError::Truncated)?;
        let marked: [u8; 16] = bytes.array().ok_or(VaultError::Truncated)?;
        let nonce = bytes.array().ok_or(VaultError::Truncated)?;
        let length = bytes.number().ok_or(VaultError::Truncated)?;
        if !crypto::same(&marked, &mark(kek, &vault_id)) {
            return Err(VaultError::WrongKey);
        }
        let length = usize::try_from(length).map_err(|_| VaultError::HeaderAltered)?;
        let sealed = bytes.take(length).ok_or(VaultError::Truncated)?;
        if !bytes.0.is_empty() {
            return Err(VaultError::HeaderAltered);
        }
        let plain = crypto::open(kek, &nonce, bound_to(&vault_id, dek_version).as_slice(), sealed)
            .map_err(|_| VaultError::HeaderAltered)?;
        Self::read(vault_id, dek_version, &plain).ok_or(VaultError::HeaderAltered)
    }

    fn read(vault_id: [u8; 16], dek_version: u32, plain: &[u8]) -> Option<Self> {
        let mut bytes = Bytes(plain);
        let dek = Zeroizing::new(bytes.array()?);
        let (newest, count) = (bytes.number()?, bytes.number()?);
        let mut listed = BTreeMap::new();
        for _ in 0..count {
            let [length] = bytes.array()?;
            let name = str::from_utf8(bytes.take(length.into())?).ok()?.to_owned();
            listed.insert(name, Listed { version: bytes.number()?, terms: bytes.array()? });
        }
        bytes.0.is_empty().then_some(Self { vault_id, dek_version, dek, newest, listed })
    }
}

/// What the sealed part is bound to.
fn bound_to(vault_id: &[u8; 16], dek_version: u32) -> Canonical {
    Canonical::new("blufio/v1/vault").bytes(vault_id).number(dek_version.into())
}

/// Says which key wraps a vault, to those who have it.
fn mark(kek: &[u8; 32], vault_id: &[u8; 16]) -> [u8; 16] {
    *crypto::hkdf(kek, vault_id, b"blufio/v1/vault-kek-mark")
}

/// Bytes that are read from their beginning.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.array()?))
    }
}
