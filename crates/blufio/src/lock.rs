//! One process per data folder, by a lock that the kernel releases when the process is gone.

use crate::failure::Failure;
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::os::fd::OwnedFd;
use std::path::Path;

/// The lock's name in the data folder.
const LOCK: &str = "lock";
/// The database's name in the data folder.
const DATABASE: &str = "blufio.db";

/// Held as long as the process may write.
pub struct Lock(#[expect(dead_code, reason = "held for its drop")] OwnedFd);

/// Creates the data folder (for its owner only) and takes its lock.
pub fn take(data_dir: &Path) -> Result<Lock, Failure> {
    prepare(data_dir)?;
    let path = data_dir.join(LOCK);
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

/// Makes sure that the data folder exists and is ours alone. Only a folder that is surely a data folder, or holds nothing
/// yet, has its mode changed: somebody who names their home folder by mistake must not lose its permissions.
fn prepare(data_dir: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
    let failed = |error: std::io::Error| unusable(data_dir, &error.to_string());
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(failed)?;
    let metadata = std::fs::metadata(data_dir).map_err(failed)?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(unusable(data_dir, "it belongs to another user"));
    }
    // A folder that was made just now has no such bits: the mode above leaves none.
    if metadata.mode() & 0o077 != 0 {
        if !is_data_folder_or_empty(data_dir).map_err(failed)? {
            return Err(Failure {
                hint: Some(format!(
                    "name a folder of its own, such as {}, or take the rights away yourself: chmod 700 {}",
                    data_dir.join("blufio").display(),
                    data_dir.display()
                )),
                ..unusable(data_dir, "other users may enter it, and it holds files that are not Blufio's")
            });
        }
        std::fs::set_permissions(data_dir, std::fs::Permissions::from_mode(0o700)).map_err(failed)?;
    }
    Ok(())
}

/// Whether this folder was a data folder before, or is free to become one.
fn is_data_folder_or_empty(folder: &Path) -> std::io::Result<bool> {
    // Plain files only: `/var` has a `lock` too, which is a folder or a link.
    let is_ours = |name| std::fs::symlink_metadata(folder.join(name)).is_ok_and(|metadata| metadata.is_file());
    Ok(is_ours(DATABASE) || is_ours(LOCK) || std::fs::read_dir(folder)?.next().is_none())
}

fn unusable(data_dir: &Path, cause: &str) -> Failure {
    Failure {
        message: format!("the data folder {} cannot be used", data_dir.display()),
        cause: Some(cause.to_owned()),
        hint: Some("choose another with --data-dir, BLUFIO_DATA_DIR or [storage] data_dir".to_owned()),
        code: Failure::PERMISSION,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    fn mode(folder: &Path) -> u32 {
        fs::metadata(folder).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn only_a_folder_that_is_ours_or_empty_is_made_private() {
        let temporary = tempfile::tempdir().unwrap();
        let open_folder = |name: &str, files: &[&str]| {
            let folder = temporary.path().join(name);
            fs::create_dir(&folder).unwrap();
            for file in files {
                fs::write(folder.join(file), "").unwrap();
            }
            fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
            folder
        };
        for (name, files) in [("empty", &[][..]), ("used", &["blufio.db", "letter"]), ("killed early", &["lock"])] {
            let folder = open_folder(name, files);
            drop(take(&folder).map_err(|failure| failure.message).unwrap());
            assert_eq!(mode(&folder), 0o700, "{name}");
        }
        let home = open_folder("home", &["letter"]);
        fs::create_dir(home.join("lock")).unwrap();
        let refused = take(&home).err().unwrap();
        assert!(refused.hint.unwrap().contains(&home.join("blufio").display().to_string()));
        assert_eq!((mode(&home), refused.code), (0o755, Failure::PERMISSION));
        assert!(home.join("lock").is_dir() && !home.join("blufio.db").exists());

        fs::set_permissions(&home, Permissions::from_mode(0o700)).unwrap();
        fs::remove_dir(home.join("lock")).unwrap();
        assert!(take(&home).is_ok(), "a private folder is nobody else's business");
        let new = temporary.path().join("a/b");
        drop(take(&new).map_err(|failure| failure.message).unwrap());
        assert_eq!(mode(&new), 0o700);
    }
}
