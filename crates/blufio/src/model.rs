//! The file of the embedding model in the data folder, for builds that do not carry it.

use crate::wire::{EMBEDDED, FILE_BYTES, FILE_NAME, FILE_SHA256, sum};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes that are copied at once.
const COPIED_AT_ONCE: usize = 256 * 1024;

/// Where the model is, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the program.
    Program,
    /// In this file, which is the right one.
    File(PathBuf),
    /// In this file, which is another one.
    Wrong(PathBuf),
    /// Nowhere.
    Nowhere,
}

/// The file of an installed model.
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("models").join(FILE_NAME)
}

/// Looks for the model.
///
/// # Errors
/// The file is there and cannot be read.
pub fn find(data_dir: &Path) -> io::Result<Place> {
    if EMBEDDED.is_some() {
        return Ok(Place::Program);
    }
    let path = path(data_dir);
    match is_right(&path) {
        Ok(true) => Ok(Place::File(path)),
        Ok(false) => Ok(Place::Wrong(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Place::Nowhere),
        Err(error) => Err(error),
    }
}

fn is_right(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    Ok(file.metadata()?.len() == FILE_BYTES && sum(&mut file)? == FILE_SHA256)
}

/// The unfinished file, open for appending; its folder is made if it is missing.
///
/// # Errors
/// It cannot be made or opened.
pub fn unfinished(data_dir: &Path) -> io::Result<(PathBuf, File)> {
    let part = path(data_dir).with_extension("part");
    if let Some(folder) = part.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&part)?;
    Ok((part, file))
}

/// Copies a file over the unfinished one; more than the model has is not read.
///
/// # Errors
/// One of them cannot be read or written.
pub fn copy(from: &Path, part: &mut File, mut progress: impl FnMut(u64)) -> io::Result<()> {
    let mut from = File::open(from)?.take(FILE_BYTES.saturating_add(1));
    part.set_len(0)?;
    let mut buffer = vec![0; COPIED_AT_ONCE];
    let mut copied = 0_u64;
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return part.sync_all();
        }
        part.write_all(buffer.get(..read).unwrap_or_default())?;
        copied = copied.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        progress(copied);
    }
}

/// Puts the unfinished file in its place if it is the right one, and removes it if it is as long and another one. False: it is not
/// the right one.
///
/// # Errors
/// It cannot be read, moved or removed.
pub fn finish(data_dir: &Path, part: &Path) -> io::Result<bool> {
    let right = is_right(part)?;
    if right {
        let path = path(data_dir);
        std::fs::rename(part, &path)?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
    } else if std::fs::metadata(part)?.len() >= FILE_BYTES {
        std::fs::remove_file(part)?;
    }
    Ok(right)
}
