//! A new root key, and with it a new key for everything that hangs on it: database, vault, every secret, seals of the audit
//! log, recovery code.
//!
//! Two files are written beside those they will replace: the key's (`root.key.<installation>.next`) and `keyslots.json.next`.
//! Then the database is copied under the new key, and the copy's rename is the moment from which the new key counts; the
//! two files follow. A process that dies on the way leaves a state that [`settle`] ends: whichever key opens the database
//! decides. A key that might be needed is never removed: the old one, which other data folders and backups may hang on, stays
//! beside the new one under another name.

use crate::failure::Failure;
use crate::keys::{self, Installation, Keys, Manner, Source};
use crate::recovery;
use crate::vault::Vault;
use crate::wire;
use blufio_core::audit::{AuditEntry, AuditKind};
use blufio_core::failpoint::{Failpoint, hit};
use blufio_core::keys::{DatabaseKey, InstallId, KeySlots, RootKey};
use blufio_core::port::Clock;
use blufio_core::secret::Secret;
use blufio_runtime::clock::SystemClock;
use blufio_store::{OpenError, Rewrite};
use serde_json::json;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What a rotation did.
pub struct Rotated {
    /// Where the new key is.
    pub path: PathBuf,
    /// Where the old one is now.
    pub kept: PathBuf,
    /// Secrets that were encrypted anew.
    pub secrets: usize,
}

/// The file of a root key that can be replaced.
pub fn key_file(source: &Source) -> Result<&Path, Failure> {
    match source {
        Source::File(path) => Ok(path),
        Source::Credential(_) | Source::Descriptor | Source::Variable | Source::Person => Err(Failure {
            cause: Some(format!("it came from {}, which Blufio cannot write", source.words())),
            hint: Some(
                "only a key that is kept in a file can be replaced; `blufio vault rotate --deep` gives the vault a new key".to_owned(),
            ),
            ..Failure::new("the root key cannot be replaced", Failure::PERMISSION)
        }),
    }
}

/// Replaces the root key. The caller holds the data folder's lock, and `old` is what opens it. From then on `code` is the
/// recovery code.
pub async fn rotate(here: Installation<'_>, old: &Keys, code: &Secret) -> Result<Rotated, Failure> {
    let path = key_file(&old.source)?;
    let data_dir = &here.config.data_dir;
    let Some(KeySlots { install_id, .. }) = keys::slots(data_dir)? else {
        return Err(Failure::new(format!("{} is gone", data_dir.join(keys::SLOTS).display()), Failure::PERMISSION));
    };
    let root = keys::new_key()?;
    let new = root.derive(&install_id);
    // Opened once the ordinary way, so that it is encrypted and of this version.
    let vault = Vault::new(wire::store_owner(here.config, &old.tree)?, &old.tree);
    let changed = vault.rekeyed(&new.vault).await;
    vault.close().await?;
    drop(vault);
    let changed = changed?;
    let secrets = changed.as_ref().map_or(0, |(_, change)| change.put.len());
    let mut slots = KeySlots::new(install_id, &root);
    recovery::add(&mut slots, &root, code)?;

    settle(here)?;
    let unwritten = |path: &Path, error: &io::Error| Failure {
        cause: Some(error.to_string()),
        hint: Some("nothing was changed: the key is the one that it was".to_owned()),
        ..Failure::new(format!("{} cannot be written", path.display()), Failure::PERMISSION)
    };
    let rewrite = Rewrite {
        audit_keys: [old.tree.audit.clone(), new.audit.clone()],
        vault: changed,
        audit: (
            vec![entry("root key", "new key, all encrypted anew"), entry("recovery code", "made")],
            SystemClock::start().now(),
        ),
    };
    let replaced = write_next(path, data_dir, &root, &slots).map_err(|error| unwritten(path, &error)).and_then(|()| {
        let database = data_dir.join(keys::DATABASE);
        blufio_store::rekey(&database, (&old.tree.database, &new.database), &rewrite, |_, _| {})
            .map_err(|error| wire::unopened(&database, &error))
    });
    // Also after a failure, which may have come after the rename.
    settle(here)?;
    replaced?;
    match keys::existing(here)? {
        Some(keys) if *keys.root.reveal() == *root.reveal() => {
            Ok(Rotated { path: path.to_owned(), kept: kept_key(path, &old.root), secrets })
        }
        Some(_) | None => Err(Failure::new("another process has changed the keys meanwhile", Failure::INTERNAL)),
    }
}

/// Ends a rotation that was interrupted: finishes it if the database opens with the new key, undoes it if it opens with the
/// old one. If neither does, everything is left as it is. The caller holds the data folder's lock.
pub fn settle(here: Installation<'_>) -> Result<(), Failure> {
    let data_dir = &here.config.data_dir;
    let Some(KeySlots { install_id, .. }) = keys::slots(data_dir)? else { return Ok(()) };
    for path in here.sources.files() {
        let waiting = next_key(path, &install_id);
        if fs::symlink_metadata(&waiting).is_err() {
            continue;
        }
        if opened_by_next(here, path, &install_id)?.is_some() {
            finish(path, &waiting, data_dir).map_err(|error| unfinished(path, &error))?;
            tracing::info!("a change of the root key was finished");
        } else if opened_by_old(here)? {
            undo(&waiting, data_dir).map_err(|error| unfinished(path, &error))?;
            tracing::info!("a change of the root key that was interrupted was undone");
        }
    }
    Ok(())
}

/// The new key of a rotation that was interrupted, if it is the one that counts; for those who only look.
pub fn interrupted(here: Installation<'_>, slots: &KeySlots) -> Result<Option<(RootKey, Source)>, Failure> {
    for path in here.sources.files() {
        if let Some(root) = opened_by_next(here, path, &slots.install_id)? {
            return Ok(Some((root, Source::File(path.clone()))));
        }
    }
    Ok(None)
}

fn opened_by_next(here: Installation<'_>, path: &Path, install_id: &InstallId) -> Result<Option<RootKey>, Failure> {
    let Some(bytes) = keys::read(&next_key(path, install_id), Manner::Private)? else { return Ok(None) };
    // Cut off: it was being written, and so nothing had been changed yet.
    let Ok(root) = RootKey::parse(&bytes) else { return Ok(None) };
    Ok(opens(here, &root.derive(install_id).database)?.then_some(root))
}

/// Whether the key that is where it was opens what there is.
fn opened_by_old(here: Installation<'_>) -> Result<bool, Failure> {
    let Some(slots) = keys::slots(&here.config.data_dir)? else { return Ok(false) };
    match keys::found(here.sources) {
        Ok(Some((root, _))) if slots.verify(&root).is_ok() => {
            let database = root.derive(&slots.install_id).database;
            Ok(!here.config.data_dir.join(keys::DATABASE).exists() || opens(here, &database)?)
        }
        // Whoever needs the key says what is wrong with it.
        Ok(_) | Err(_) => Ok(false),
    }
}

fn opens(here: Installation<'_>, key: &DatabaseKey) -> Result<bool, Failure> {
    let database = here.config.data_dir.join(keys::DATABASE);
    if !keys::is_locked(&database)? {
        return Ok(false);
    }
    match blufio_store::opens(&database, key) {
        Ok(opens) => Ok(opens),
        Err(OpenError::Plain) => Ok(false),
        Err(error) => Err(wire::unopened(&database, &error)),
    }
}

/// Of its own for every installation: a key's file may serve several data folders.
fn next_key(path: &Path, install_id: &InstallId) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{}.next", keys::hex(install_id.0.get(..4).unwrap_or_default())));
    PathBuf::from(name)
}

/// Where the key that a file had is kept once there is another in it.
pub fn kept_key(path: &Path, old: &RootKey) -> PathBuf {
    let name = keys::fingerprint(old.reveal().as_bytes());
    let mut kept = OsString::from(path);
    kept.push(format!(".{}.old", name.get(..8).unwrap_or_default()));
    PathBuf::from(kept)
}

fn next_slots(data_dir: &Path) -> PathBuf {
    data_dir.join(format!("{}.next", keys::SLOTS))
}

fn write_next(path: &Path, data_dir: &Path, root: &RootKey, slots: &KeySlots) -> io::Result<()> {
    let mut text = root.reveal();
    text.push('\n');
    hit(Failpoint::RotationBeforeKeyFile);
    keys::private_file(&next_key(path, &slots.install_id), text.as_bytes())?;
    keys::sync(path.parent().unwrap_or(Path::new("/")))?;
    hit(Failpoint::RotationAfterKeyFile);
    remove(&next_slots(data_dir))?;
    hit(Failpoint::RotationBeforeSlotsFile);
    keys::private_file(&next_slots(data_dir), slots.to_json().as_bytes())?;
    keys::sync(data_dir)?;
    hit(Failpoint::RotationAfterSlotsFile);
    Ok(())
}

/// The key's file last: as long as its successor waits, there is something to finish.
fn finish(path: &Path, waiting: &Path, data_dir: &Path) -> io::Result<()> {
    hit(Failpoint::RotationBeforeSlotsRename);
    match fs::rename(next_slots(data_dir), data_dir.join(keys::SLOTS)) {
        // Done before the interruption.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => other?,
    }
    keys::sync(data_dir)?;
    hit(Failpoint::RotationAfterSlotsRename);
    hit(Failpoint::RotationBeforeKeyRename);
    keep(path)?;
    fs::rename(waiting, path)?;
    keys::sync(path.parent().unwrap_or(Path::new("/")))?;
    hit(Failpoint::RotationAfterKeyRename);
    Ok(())
}

/// Gives the key that is about to be replaced a second name, which stays.
fn keep(path: &Path) -> io::Result<()> {
    let old = match keys::read(path, Manner::Private) {
        Ok(bytes) => bytes.and_then(|bytes| RootKey::parse(&bytes).ok()),
        Err(failure) => return Err(io::Error::other(failure.message)),
    };
    // Somebody took it away, or it was none: there is nothing to keep.
    let Some(old) = old else { return Ok(()) };
    match fs::hard_link(path, kept_key(path, &old)) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn undo(waiting: &Path, data_dir: &Path) -> io::Result<()> {
    remove(&next_slots(data_dir))?;
    keys::sync(data_dir)?;
    remove(waiting)?;
    keys::sync(waiting.parent().unwrap_or(Path::new("/")))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn entry(target: &str, outcome: &str) -> AuditEntry {
    AuditEntry {
        kind: AuditKind::KeyRotated,
        actor: "cli".to_owned(),
        session: None,
        target: target.to_owned(),
        outcome: outcome.to_owned(),
        detail: json!({}),
    }
}

fn unfinished(path: &Path, error: &io::Error) -> Failure {
    Failure {
        cause: Some(error.to_string()),
        hint: Some("the next start tries it again; keep every file whose name ends in .next".to_owned()),
        ..Failure::new(
            format!("a change of the root key in {} could not be finished", path.display()),
            Failure::PERMISSION,
        )
    }
}
