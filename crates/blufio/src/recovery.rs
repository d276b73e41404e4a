//! The recovery code: a second way to the root key, for the day on which the first is lost. It is made, noted by a person,
//! and wraps the root key in `keyslots.json`; with it, the key's file can be written again.

use crate::failure::Failure;
use crate::keys::{self, Installation, Keys, random};
use crate::redact;
use blufio_core::crypto::Argon2Params;
use blufio_core::keys::{KeySlots, RecoveryCode, RootKey};
use blufio_core::secret::Secret;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A new code, as a person notes it.
pub fn new_code() -> Result<Secret, Failure> {
    let code = Secret::new(RecoveryCode::generate(random()?).reveal().to_string());
    redact::learn([("recovery code", &code)]);
    Ok(code)
}

/// Whether both are the same code, however it is written.
pub fn same(typed: &Secret, code: &Secret) -> bool {
    match (RecoveryCode::parse(typed.expose()), RecoveryCode::parse(code.expose())) {
        (Ok(typed), Ok(code)) => typed == code,
        (Err(_), _) | (_, Err(_)) => false,
    }
}

/// Wraps the root key under this code, in the place of an earlier one. Takes a fraction of a second and 64 MiB on purpose.
pub fn keep(data_dir: &Path, keys: &Keys, code: &Secret) -> Result<(), Failure> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    // The file as it is now: another command may have changed it since the start.
    let Some(mut slots) = keys::slots(data_dir)? else {
        return Err(Failure::new(format!("{} is gone", data_dir.join(keys::SLOTS).display()), Failure::PERMISSION));
    };
    add(&mut slots, &keys.root, code)?;
    keys::write_slots(data_dir, &slots)
}

/// The same for what is not written yet.
pub fn add(slots: &mut KeySlots, root: &RootKey, code: &Secret) -> Result<(), Failure> {
    slots
        .add_recovery(root, &parse(code)?, random()?, random()?, Argon2Params::default())
        .map_err(|error| Failure::internal("the key and what is beside the database do not fit any more", &error))
}

/// Writes the key's file again, and says where it is.
pub fn restore(here: Installation<'_>, code: &Secret) -> Result<PathBuf, Failure> {
    keys::put_back(here, &root_key(&here.config.data_dir, code)?)
}

/// The root key of a data folder, by its code. Takes a fraction of a second and 64 MiB on purpose.
pub fn root_key(data_dir: &Path, code: &Secret) -> Result<RootKey, Failure> {
    let Some(slots) = keys::slots(data_dir)? else {
        return Err(Failure {
            hint: Some("`--data-dir` names the folder that the code belongs to".to_owned()),
            ..Failure::new(format!("nothing in {} is locked", data_dir.display()), Failure::PERMISSION)
        });
    };
    slots.open_recovery(&parse(code)?).map_err(|error| Failure {
        cause: Some(error.to_string()),
        hint: Some(error.hint().to_owned()),
        ..Failure::new("the code does not open this data folder", Failure::PERMISSION)
    })
}

fn parse(code: &Secret) -> Result<RecoveryCode, Failure> {
    redact::learn([("recovery code", code)]);
    RecoveryCode::parse(code.expose()).map_err(|error| Failure {
        cause: Some(error.to_string()),
        hint: Some(error.hint().to_owned()),
        ..Failure::new("that is no recovery code", Failure::USAGE)
    })
}
