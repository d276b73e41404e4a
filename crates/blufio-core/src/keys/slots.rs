//! `keyslots.json`: which root key belongs to a data folder, and the root key once more under the recovery code.
//!
//! The file holds no secret in the clear and is copied along with the data. What it says is believed only as far as the
//! check over it, or the recovery code, confirms it; what it asks of memory and time is bounded before it is given.

use super::{InstallId, RecoveryCode, RootKey, from_hex, hex};
use crate::crypto::{self, Argon2Params, BadParams, Canonical};
use serde::{Deserialize, Serialize};

/// The version of the file that is written.
const VERSION: u32 = 1;
/// How the slot of the recovery code is called.
const RECOVERY: &str = "recovery";
/// Bytes of the wrapped root key: the key and its tag.
const WRAPPED_BYTES: usize = 32 + crypto::TAG_BYTES;

/// Why a `keyslots.json` cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSlots {
    /// It ends before it is complete.
    #[error("the file is cut off")]
    Truncated,
    /// No such JSON.
    #[error("the file is damaged: {0}")]
    Malformed(String),
    /// Written by another version.
    #[error("the file has version {0}, and this program knows version 1")]
    Version(u32),
    /// A field holds something else than it should.
    #[error("the file is damaged: `{0}` is not what it should be")]
    Field(&'static str),
    /// It asks for a derivation that is too weak or too dear.
    #[error(transparent)]
    Params(#[from] BadParams),
}

impl BadSlots {
    /// What a person can do.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Truncated | Self::Malformed(_) | Self::Field(_) | Self::Params(_) => {
                "restore keyslots.json from a backup; without it neither key nor recovery code opens the data"
            }
            Self::Version(_) => "it was written by another version of Blufio; run that one",
        }
    }
}

/// The root key is not the one with which the file was written, or the file was changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the root key is not the one that keyslots.json was made with, or that file was changed")]
pub struct NotThisKey;

impl NotThisKey {
    /// What a person can do.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        "use the key that was made together with this data folder, or the recovery code; if the key is right, restore \
         keyslots.json from a backup"
    }
}

/// Why a recovery code gave no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    /// There is no slot.
    #[error("no recovery code was ever made for this data folder")]
    NoSlot,
    /// It opens nothing.
    #[error("the recovery code is not the one of this data folder")]
    WrongCode,
    /// It opened a key, and the rest of the file is not that key's.
    #[error("the recovery code is right, and keyslots.json was changed since it was made")]
    Altered,
}

impl RecoveryError {
    /// What a person can do.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        match self {
            Self::NoSlot => "only the root key opens this data; look for its file where it was copied to",
            Self::WrongCode => {
                "compare it with what was written down; making a new code ends an older one, and each folder has its own"
            }
            Self::Altered => "restore keyslots.json from the backup that the database is from",
        }
    }
}

/// The slots of a data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySlots {
    /// The salt of everything that is derived from the root key.
    pub install_id: InstallId,
    recovery: Option<Recovery>,
    check: [u8; 32],
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Recovery {
    salt: [u8; 16],
    params: Argon2Params,
    nonce: [u8; 12],
    wrapped: [u8; WRAPPED_BYTES],
}

impl KeySlots {
    /// Says that this root key is the one, without a recovery code.
    #[must_use]
    pub fn new(install_id: InstallId, root: &RootKey) -> Self {
        Self { install_id, recovery: None, check: [0; 32] }.checked(root)
    }

    /// There is a recovery code.
    #[must_use]
    pub const fn has_recovery(&self) -> bool {
        self.recovery.is_some()
    }

    /// Whether this is the root key, and the file what was written with it.
    ///
    /// # Errors
    /// It is not.
    pub fn verify(&self, root: &RootKey) -> Result<(), NotThisKey> {
        if crypto::same(&self.check_by(root), &self.check) { Ok(()) } else { Err(NotThisKey) }
    }

    /// Puts the root key under a code; the code before it opens nothing any more. Takes the memory and time of `params`.
    ///
    /// # Errors
    /// This is not the root key; nothing is changed.
    pub fn add_recovery(
        &mut self,
        root: &RootKey,
        code: &RecoveryCode,
        salt: [u8; 16],
        nonce: [u8; 12],
        params: Argon2Params,
    ) -> Result<(), NotThisKey> {
        self.verify(root)?;
        let key = crypto::argon2id(code.bytes(), &salt, params);
        let sealed = crypto::seal(&key, nonce, bound_to(&self.install_id, params).as_slice(), root.0.as_slice());
        let mut wrapped = [0; WRAPPED_BYTES];
        wrapped.copy_from_slice(&sealed);
        self.recovery = Some(Recovery { salt, params, nonce, wrapped });
        *self = self.clone().checked(root);
        Ok(())
    }

    /// The root key, by its recovery code. Takes the memory and time that the file says, within bounds.
    ///
    /// # Errors
    /// See [`RecoveryError`].
    pub fn open_recovery(&self, code: &RecoveryCode) -> Result<RootKey, RecoveryError> {
        let slot = self.recovery.as_ref().ok_or(RecoveryError::NoSlot)?;
        let key = crypto::argon2id(code.bytes(), &slot.salt, slot.params);
        let bound = bound_to(&self.install_id, slot.params);
        let opened = crypto::open(&key, &slot.nonce, bound.as_slice(), &slot.wrapped);
        let root =
            RootKey::parse(&opened.map_err(|_| RecoveryError::WrongCode)?).map_err(|_| RecoveryError::Altered)?;
        self.verify(&root).map_err(|NotThisKey| RecoveryError::Altered)?;
        Ok(root)
    }

    /// What is in the file.
    ///
    /// # Errors
    /// See [`BadSlots`]. Nothing is believed yet: see [`KeySlots::verify`].
    pub fn parse(text: &str) -> Result<Self, BadSlots> {
        let malformed = |error: serde_json::Error| match error.is_eof() {
            true => BadSlots::Truncated,
            false => BadSlots::Malformed(error.to_string()),
        };
        let Versioned { version } = serde_json::from_str(text).map_err(malformed)?;
        if version != VERSION {
            return Err(BadSlots::Version(version));
        }
        let file: File = serde_json::from_str(text).map_err(malformed)?;
        let mut slots = file.slots.into_iter();
        let recovery = slots.next().map(Recovery::try_from).transpose()?;
        if slots.next().is_some() {
            return Err(BadSlots::Field("slots"));
        }
        Ok(Self {
            install_id: InstallId(field("install_id", &file.install_id)?),
            recovery,
            check: field("check", &file.check)?,
        })
    }

    /// The file's content.
    #[must_use]
    pub fn to_json(&self) -> String {
        let file = File {
            version: VERSION,
            install_id: hex(&self.install_id.0),
            slots: self.recovery.iter().map(Slot::from).collect(),
            check: hex(&self.check),
        };
        #[expect(clippy::expect_used, reason = "text and numbers are always JSON")]
        let text = serde_json::to_string_pretty(&file).expect("text and numbers");
        text + "\n"
    }

    fn checked(mut self, root: &RootKey) -> Self {
        self.check = self.check_by(root);
        self
    }

    fn check_by(&self, root: &RootKey) -> [u8; 32] {
        let key = root.key::<32>(&self.install_id, "blufio/v1/keyslots-check");
        let mut fields = Canonical::new("blufio/v1/keyslots").number(VERSION.into()).bytes(&self.install_id.0);
        if let Some(Recovery { salt, params, nonce, wrapped }) = &self.recovery {
            fields = fields
                .bytes(RECOVERY.as_bytes())
                .bytes(salt)
                .number(params.memory_kib().into())
                .number(params.passes().into())
                .number(params.lanes().into())
                .bytes(nonce)
                .bytes(wrapped);
        }
        crypto::hmac(key.as_slice(), fields.as_slice())
    }
}

/// What a wrapped root key is bound to: elsewhere, or with other parameters beside it, it does not open.
fn bound_to(install_id: &InstallId, params: Argon2Params) -> Canonical {
    Canonical::new("blufio/v1/keyslot")
        .bytes(&install_id.0)
        .bytes(RECOVERY.as_bytes())
        .number(params.memory_kib().into())
        .number(params.passes().into())
        .number(params.lanes().into())
}

/// The one field that every version has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    install_id: String,
    slots: Vec<Slot>,
    check: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Slot {
    kind: String,
    salt: String,
    /// KiB of memory.
    m: u32,
    /// Passes over it.
    t: u32,
    /// Lanes.
    p: u32,
    nonce: String,
    wrapped: String,
}

impl TryFrom<Slot> for Recovery {
    type Error = BadSlots;

    fn try_from(slot: Slot) -> Result<Self, BadSlots> {
        if slot.kind != RECOVERY {
            return Err(BadSlots::Field("kind"));
        }
        Ok(Self {
            salt: field("salt", &slot.salt)?,
            params: Argon2Params::new(slot.m, slot.t, slot.p)?,
            nonce: field("nonce", &slot.nonce)?,
            wrapped: field("wrapped", &slot.wrapped)?,
        })
    }
}

impl From<&Recovery> for Slot {
    fn from(recovery: &Recovery) -> Self {
        Self {
            kind: RECOVERY.to_owned(),
            salt: hex(&recovery.salt),
            m: recovery.params.memory_kib(),
            t: recovery.params.passes(),
            p: recovery.params.lanes(),
            nonce: hex(&recovery.nonce),
            wrapped: hex(&recovery.wrapped),
        }
    }
}

fn field<const N: usize>(name: &'static str, digits: &str) -> Result<[u8; N], BadSlots> {
    from_hex(digits.as_bytes()).map(|bytes| *bytes).ok_or(BadSlots::Field(name))
}
