//! One process per data folder, by a lock that the kernel releases when the process is gone.

use crate::failure::Failure;
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::os::fd::OwnedFd;
use std::path::Path;

/// Held as long as the process may write.
pub struct Lock(#[expect(dead_code, reason = "held for its drop")] OwnedFd);

/// Creates the data folder (for its owner only) and takes its lock.
pub fn take(data_dir: &Path) -> Result<Lock, Failure> {
    prepare(data_dir)?;
    let path = data_dir.join("lock");
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600))
        .map_err(|error| unusable(data_dir, &error.to_string()))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Lock(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Failure {
            message: format!("another Blufio is using {}", data_dir.display()),
            cause: None,
            hint: Some(
                "stop it first, or choose another folder with --data-dir; `blufio status` asks the running one"
                    .to_owned(),
            ),
            code: Failure::ANOTHER_INSTANCE,
        }),
        Err(error) => Err(unusable(data_dir, &error.to_string())),
    }
}

/// Makes sure that the data folder exists and is ours alone.
fn prepare(data_dir: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(data_dir).map_err(|error| unusable(data_dir, &error.to_string()))?;
    let metadata = std::fs::metadata(data_dir).map_err(|error| unusable(data_dir, &error.to_string()))?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(unusable(data_dir, "it belongs to another user"));
    }
    if metadata.mode() & 0o077 != 0 {
        let private = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(data_dir, private).map_err(|error| unusable(data_dir, &error.to_string()))?;
    }
    Ok(())
}

fn unusable(data_dir: &Path, cause: &str) -> Failure {
    Failure {
        message: format!("the data folder {} cannot be used", data_dir.display()),
        cause: Some(cause.to_owned()),
        hint: Some("choose another with --data-dir, BLUFIO_DATA_DIR or [storage] data_dir".to_owned()),
        code: Failure::PERMISSION,
    }
}
