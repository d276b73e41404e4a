//! The vault: secrets sealed one by one, and a header that says which of them there are.
//!
//! A row is sealed with a key of its own, derived from the vault's key, and bound to the vault, its name, version, scope and
//! allowed hosts. The header wraps the vault's key together with a list of all rows, so that a row that was removed, brought
//! back, exchanged or changed by somebody without the key is noticed at the next opening. What is not noticed is a whole
//! older vault, header and rows together: nothing in it says that there was a newer one.
//!
//! Where rows are kept is not known here. A change gives back what is to be stored, header and rows in one transaction; if
//! that fails, the [`OpenVault`] is ahead of the store and must be dropped. Random bytes are arguments.

mod header;
mod slot;

use crate::crypto::{self, Canonical};
use crate::secret::Secret;
use crate::time::Timestamp;
use header::{Header, Listed};
pub use slot::Slot;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use zeroize::Zeroizing;

/// Bytes of a secret. Longer: refused.
pub const SECRET_BYTES_MAX: usize = 64 * 1024;
/// Characters of a secret's name. Longer: refused.
pub const NAME_CHARS_MAX: usize = 64;
/// Secrets in a vault. More: refused.
pub const SECRETS_MAX: usize = 1_000;
/// Hosts to which one secret may go. More: refused.
pub const HOSTS_MAX: usize = 32;
/// Characters of a host's name (RFC 1035). Longer: refused.
pub const HOST_CHARS_MAX: usize = 253;

/// For whom secrets are: everything in this installation.
const SCOPE: &str = "all";

/// A row of the vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSecret {
    /// 1–64 characters of `a-z 0-9 . _ -`.
    pub name: String,
    /// Grows with every change of any row; never comes again in this vault.
    pub version: u32,
    /// For whom it is: all of the program, or the agent, with a header ([`SealedSecret::slot`]).
    pub scope: String,
    /// The hosts to which it may be sent, sorted, each once.
    pub allowed_hosts: Vec<String>,
    /// What the row's key is derived with.
    pub salt: [u8; 32],
    /// The nonce.
    pub nonce: [u8; 12],
    /// The value, sealed.
    pub ct: Vec<u8>,
    /// The version of the vault's key.
    pub dek_version: u32,
    /// When it was put in.
    pub created: Timestamp,
}

/// What is to be stored, in one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VaultChange {
    /// In the place of the header before it.
    pub header: Vec<u8>,
    /// Rows, each in the place of the one of its name.
    pub put: Vec<SealedSecret>,
    /// Names whose rows go.
    pub remove: Vec<String>,
}

/// Why a vault cannot be opened or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The header was wrapped with another key.
    #[error("the vault belongs to another root key")]
    WrongKey,
    /// The header ends before it is complete.
    #[error("the vault's header is cut off")]
    Truncated,
    /// The header has the right key's mark, and something in it was changed.
    #[error("the vault's header was changed")]
    HeaderAltered,
    /// The header is of a version that is not known here.
    #[error("the vault has version {0}, and this program knows version 1")]
    Version(u8),
    /// A row that the header lists is not there.
    #[error("`{0}` is missing from the vault: somebody has deleted its row")]
    Missing(String),
    /// A row is older than the header says.
    #[error("`{0}` in the vault is an older version than it was: its row was put back")]
    RolledBack(String),
    /// A row is newer than the header says.
    #[error("`{0}` in the vault is newer than the vault's header: the header was put back")]
    HeaderRolledBack(String),
    /// A row stands under another's name.
    #[error("`{0}` in the vault is another secret's row: rows were exchanged")]
    Swapped(String),
    /// A row that the header does not list, or one of two with the same name.
    #[error("`{0}` in the vault was not put there by this program")]
    Unlisted(String),
    /// The scope or the allowed hosts of a row are not those that were set.
    #[error("where `{0}` may be sent to was changed from outside")]
    TermsAltered(String),
    /// The sealed value of a row is not the one that was put in.
    #[error("`{0}` in the vault was changed from outside")]
    Altered(String),
    /// No such name can be used.
    #[error("`{0}` is no name for a secret: use 1 to 64 of a-z 0-9 . _ -")]
    BadName(String),
    /// No such host can be.
    #[error(
        "`{0}` is no host to send a secret to: use up to 32 names like api.example.com, without scheme, port or path"
    )]
    BadHost(String),
    /// No such header can carry a secret.
    #[error(
        "`{0}` is no header to send a secret in: use one like `X-Api-Key` or `Authorization: Bearer`, and not Basic"
    )]
    BadHeader(String),
    /// It cannot be sent in a header, or is too short to be found in what comes back.
    #[error("a secret for the agent has 8 to 4096 visible ASCII characters without blanks")]
    BadValue,
    /// Nothing, or too much.
    #[error("a secret has 1 to 65536 bytes, and this one has {0}")]
    BadLength(usize),
    /// There is no secret of that name.
    #[error("there is no secret named `{0}`")]
    NotFound(String),
    /// A limit is reached.
    #[error("the vault is full")]
    Full,
}

impl VaultError {
    /// What a person can do.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::WrongKey => {
                "use the root key that was made with this data folder; keyslots.json and the database belong together"
            }
            Self::Version(_) => "it was written by another version of Blufio; run that one",
            Self::Truncated
            | Self::HeaderAltered
            | Self::Missing(_)
            | Self::RolledBack(_)
            | Self::HeaderRolledBack(_)
            | Self::Swapped(_)
            | Self::Unlisted(_)
            | Self::TermsAltered(_)
            | Self::Altered(_) => {
                "restore the database from a backup; until it is known who wrote to it, replace the secrets at their services"
            }
            Self::BadName(_) | Self::BadHost(_) | Self::BadHeader(_) | Self::BadValue | Self::BadLength(_) => {
                "nothing was stored; try again"
            }
            Self::NotFound(_) => "`blufio vault list` shows the names",
            Self::Full => "remove secrets that are not needed: `blufio vault rm NAME`",
        }
    }
}

/// A vault of which every row is known to be what was put in. Values are opened one by one, when they are asked for.
pub struct OpenVault {
    kek: Zeroizing<[u8; 32]>,
    header: Header,
    rows: BTreeMap<String, SealedSecret>,
}

impl fmt::Debug for OpenVault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("OpenVault(…)")
    }
}

impl OpenVault {
    /// An empty vault under this key, and its header. `random` is for this call alone, here and below.
    #[must_use]
    pub fn create(kek: &[u8; 32], random: &[u8; 32]) -> (Self, VaultChange) {
        let header = Header {
            vault_id: *from_random(random, "vault id", 0),
            dek_version: 1,
            dek: from_random(random, "dek", 0),
            newest: 0,
            listed: BTreeMap::new(),
        };
        let vault = Self { kek: Zeroizing::new(*kek), header, rows: BTreeMap::new() };
        let change = vault.change(random);
        (vault, change)
    }

    /// Opens a vault and looks at every row.
    ///
    /// # Errors
    /// The key is another one, or anything was changed from outside; each has its own [`VaultError`].
    pub fn open(kek: &[u8; 32], header: &[u8], rows: Vec<SealedSecret>) -> Result<Self, VaultError> {
        let header = Header::unwrap(kek, header)?;
        let mut vault = Self { kek: Zeroizing::new(*kek), header, rows: BTreeMap::new() };
        for row in rows {
            vault.check(&row)?;
            if let Some(twice) = vault.rows.insert(row.name.clone(), row) {
                return Err(VaultError::Unlisted(twice.name));
            }
        }
        match vault.header.listed.keys().find(|name| !vault.rows.contains_key(*name)) {
            Some(missing) => Err(VaultError::Missing(missing.clone())),
            None => Ok(vault),
        }
    }

    /// A secret; `None`: there is none of that name.
    ///
    /// # Errors
    /// Its row cannot be opened, which [`OpenVault::open`] would have noticed.
    pub fn get(&self, name: &str) -> Result<Option<Secret>, VaultError> {
        self.rows.get(name).map(|row| self.value(row)).transpose()
    }

    /// All secrets with their names, for whoever looks for them in other text.
    ///
    /// # Errors
    /// As with [`OpenVault::get`].
    pub fn scan(&self) -> Result<Vec<(String, Secret)>, VaultError> {
        self.rows.values().map(|row| Ok((row.name.clone(), self.value(row)?))).collect()
    }

    /// The rows, by name.
    pub fn rows(&self) -> impl Iterator<Item = &SealedSecret> {
        self.rows.values()
    }

    /// Puts a secret in, in the place of the one of that name. `hosts`: where it may be sent to; none: nowhere but where the
    /// program itself uses it.
    ///
    /// # Errors
    /// Name, value or hosts are not as they must be, or the vault is full; nothing is changed.
    pub fn put(
        &mut self,
        name: &str,
        value: &Secret,
        hosts: &[String],
        at: Timestamp,
        random: &[u8; 32],
    ) -> Result<VaultChange, VaultError> {
        self.put_row(name, value, (SCOPE.to_owned(), hosts_of(hosts)?), at, random)
    }

    /// Puts in a secret that the agent may send to these hosts, in this header and no other way.
    ///
    /// # Errors
    /// As with [`OpenVault::put`]; there is no host, or the value does not fit into a header. Nothing is changed.
    pub fn put_for_agent(
        &mut self,
        name: &str,
        value: &Secret,
        (slot, hosts): (&Slot, &[String]),
        at: Timestamp,
        random: &[u8; 32],
    ) -> Result<VaultChange, VaultError> {
        slot::check_value(value)?;
        if hosts.is_empty() {
            return Err(VaultError::BadHost(String::new()));
        }
        self.put_row(name, value, (slot.scope(), hosts_of(hosts)?), at, random)
    }

    fn put_row(
        &mut self,
        name: &str,
        value: &Secret,
        (scope, allowed_hosts): (String, Vec<String>),
        at: Timestamp,
        random: &[u8; 32],
    ) -> Result<VaultChange, VaultError> {
        if !is_name(name) {
            return Err(VaultError::BadName(name.chars().take(NAME_CHARS_MAX).collect()));
        }
        if value.expose().is_empty() || value.expose().len() > SECRET_BYTES_MAX {
            return Err(VaultError::BadLength(value.expose().len()));
        }
        if self.rows.len() >= SECRETS_MAX && !self.rows.contains_key(name) {
            return Err(VaultError::Full);
        }
        let version = self.header.newest.checked_add(1).ok_or(VaultError::Full)?;
        self.header.newest = version;
        let row = SealedSecret {
            name: name.to_owned(),
            version,
            scope,
            allowed_hosts,
            salt: [0; 32],
            nonce: [0; 12],
            ct: Vec::new(),
            dek_version: self.header.dek_version,
            created: at,
        };
        let row = self.sealed(row, value, random, 0);
        self.header.listed.insert(row.name.clone(), Listed::of(&row));
        self.rows.insert(row.name.clone(), row.clone());
        Ok(VaultChange { put: vec![row], ..self.change(random) })
    }

    /// Takes a secret out.
    ///
    /// # Errors
    /// There is none of that name; nothing is changed.
    pub fn remove(&mut self, name: &str, random: &[u8; 32]) -> Result<VaultChange, VaultError> {
        if self.rows.remove(name).is_none() {
            return Err(VaultError::NotFound(name.chars().take(NAME_CHARS_MAX).collect()));
        }
        self.header.listed.remove(name);
        Ok(VaultChange { remove: vec![name.to_owned()], ..self.change(random) })
    }

    /// Wraps the vault's key under this key from now on.
    pub fn rewrap(&mut self, kek: &[u8; 32], random: &[u8; 32]) -> VaultChange {
        self.kek = Zeroizing::new(*kek);
        self.change(random)
    }

    /// Gives the vault a new key and seals every row again: the old key opens none of them.
    ///
    /// # Errors
    /// A row cannot be opened, or the key was changed as often as can be counted; nothing is changed.
    pub fn rotate(&mut self, random: &[u8; 32]) -> Result<VaultChange, VaultError> {
        let values = self.scan()?;
        self.header.dek_version = self.header.dek_version.checked_add(1).ok_or(VaultError::Full)?;
        self.header.dek = from_random(random, "dek", 0);
        for (number, (name, value)) in (0..).zip(values) {
            if let Some(row) = self.rows.remove(&name) {
                let row = SealedSecret { dek_version: self.header.dek_version, ..row };
                self.rows.insert(name, self.sealed(row, &value, random, number));
            }
        }
        Ok(VaultChange { put: self.rows.values().cloned().collect(), ..self.change(random) })
    }

    /// The header as it is now, wrapped again.
    fn change(&self, random: &[u8; 32]) -> VaultChange {
        let header = self.header.wrap(&self.kek, *from_random(random, "header nonce", 0));
        VaultChange { header, ..VaultChange::default() }
    }

    fn sealed(&self, row: SealedSecret, value: &Secret, random: &[u8; 32], number: u32) -> SealedSecret {
        let salt = *from_random(random, "salt", number);
        let nonce = *from_random(random, "nonce", number);
        let row = SealedSecret { salt, nonce, ..row };
        let ct = crypto::seal(&self.key(&row), nonce, self.bound(&row).as_slice(), value.expose().as_bytes());
        SealedSecret { ct, ..row }
    }

    fn value(&self, row: &SealedSecret) -> Result<Secret, VaultError> {
        let altered = || VaultError::Altered(row.name.clone());
        let plain =
            crypto::open(&self.key(row), &row.nonce, self.bound(row).as_slice(), &row.ct).map_err(|_| altered())?;
        Ok(Secret::new(std::str::from_utf8(&plain).map_err(|_| altered())?.to_owned()))
    }

    /// Whether a row is the one that the header lists, and opens.
    fn check(&self, row: &SealedSecret) -> Result<(), VaultError> {
        let named = |error: fn(String) -> VaultError| Err(error(row.name.clone()));
        let Some(listed) = self.header.listed.get(&row.name) else { return named(VaultError::Unlisted) };
        if row.version != listed.version {
            let is_others = self.header.listed.values().any(|other| other.version == row.version);
            return match row.version {
                _ if is_others => named(VaultError::Swapped),
                version if version < listed.version => named(VaultError::RolledBack),
                _ => named(VaultError::HeaderRolledBack),
            };
        }
        match row.dek_version.cmp(&self.header.dek_version) {
            std::cmp::Ordering::Less => return named(VaultError::RolledBack),
            std::cmp::Ordering::Greater => return named(VaultError::HeaderRolledBack),
            std::cmp::Ordering::Equal => {}
        }
        if Listed::of(row) != *listed {
            return named(VaultError::TermsAltered);
        }
        self.value(row).map(drop)
    }

    fn key(&self, row: &SealedSecret) -> Zeroizing<[u8; 32]> {
        let info = Canonical::new("blufio/v1/rec").bytes(row.name.as_bytes()).number(row.version.into());
        crypto::hkdf(self.header.dek.as_slice(), &row.salt, info.as_slice())
    }

    /// What a value is bound to.
    fn bound(&self, row: &SealedSecret) -> Canonical {
        let fields = Canonical::new("blufio/v1/row")
            .bytes(&self.header.vault_id)
            .bytes(row.name.as_bytes())
            .number(row.version.into());
        with_terms(fields, row)
    }
}

/// A name that a secret can have: 1–64 characters of `a-z 0-9 . _ -`.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-');
    (1..=NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(fits)
}

/// Where a secret may be used, as bytes.
fn with_terms(fields: Canonical, row: &SealedSecret) -> Canonical {
    row.allowed_hosts.iter().fold(fields.bytes(row.scope.as_bytes()), |fields, host| fields.bytes(host.as_bytes()))
}

/// Small letters, sorted, each once.
fn hosts_of(hosts: &[String]) -> Result<Vec<String>, VaultError> {
    let mut all = BTreeSet::new();
    for host in hosts {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        // Without a dot at its end a host has one spelling.
        let whole = host.split('.').all(|label| !label.is_empty());
        if !(1..=HOST_CHARS_MAX).contains(&host.len()) || !host.bytes().all(fits) || !whole {
            return Err(VaultError::BadHost(host.chars().take(HOST_CHARS_MAX).collect()));
        }
        all.insert(host.to_ascii_lowercase());
    }
    match all.len() <= HOSTS_MAX {
        true => Ok(all.into_iter().collect()),
        false => Err(VaultError::BadHost(hosts.join(" ").chars().take(HOST_CHARS_MAX).collect())),
    }
}

/// Bytes for one use out of those that a call was given, so that it needs no more of them however many rows there are.
fn from_random<const N: usize>(random: &[u8; 32], purpose: &str, number: u32) -> Zeroizing<[u8; N]> {
    let info = Canonical::new("blufio/v1/fresh").bytes(purpose.as_bytes()).number(number.into());
    crypto::hkdf(random, &[], info.as_slice())
}

#[cfg(test)]
mod tests;
