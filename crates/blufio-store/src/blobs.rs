//! Stored files: one folder, one file per content, named by its SHA-256.
//!
//! A file is written beside its place, forced to disk and renamed, so that a name always stands for all of its bytes; what a
//! crash left half done is deleted at the next start. Names are checked and links are not followed, so that no id and nothing
//! planted in the folder leads out of it. It refuses to know what the files are and who needs them (see [`Blobs::sweep`]).

use blufio_core::failpoint::{Failpoint, hit};
use blufio_core::ids::AttachmentId;
use blufio_core::limits::ATTACHMENT_BYTES_MAX;
use blufio_core::port::{BlobError, Blobs};
use blufio_core::time::Timestamp;
use rustix::fs::{Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

/// What the name of an unfinished file ends in.
const DRAFT_END: &str = ".part";
/// Hexadecimal digits of a name.
const NAME_BYTES: usize = 64;
/// Files younger than this stay: the message that shows them may not be stored yet.
const YOUNG: Duration = Duration::from_secs(3600);
/// A full store is emptied until one part in so many is free, so that the files after the next one fit as well.
const ROOM_DIVISOR: u64 = 8;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Files in a folder of their own; one process at a time may use it.
#[derive(Debug)]
pub struct FileBlobs {
    folder: PathBuf,
    bytes_max: u64,
    /// Of all finished files; changed by the holder of `changing` alone.
    bytes: AtomicU64,
    /// The size of the largest file that found no room since the last sweep.
    refused: AtomicU64,
    /// Files come and go one at a time.
    changing: Mutex<()>,
}

/// A finished file, as the folder shows it.
struct Found {
    id: AttachmentId,
    path: PathBuf,
    bytes: u64,
    changed: Timestamp,
}

impl FileBlobs {
    /// Opens the folder, which is made if it is missing, and deletes what a crash left half written.
    ///
    /// `bytes_max` is the limit of all files together.
    ///
    /// # Errors
    /// The folder cannot be made, read or made private.
    pub fn open(dir: &Path, bytes_max: u64) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        std::fs::set_permissions(dir, Permissions::from_mode(0o700))?;
        let store = Self {
            folder: dir.to_owned(),
            bytes_max,
            bytes: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            changing: Mutex::new(()),
        };
        store.delete_drafts()?;
        let bytes = store.files()?.iter().map(|file| file.bytes).fold(0, u64::saturating_add);
        store.bytes.store(bytes, Ordering::Relaxed);
        Ok(store)
    }

    fn delete_drafts(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let draft = entry.file_name().to_str().and_then(|name| name.strip_suffix(DRAFT_END)).is_some_and(is_name);
            if draft && !entry.file_type()?.is_dir() {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Every finished file. Links, folders and names that are not ours are none.
    fn files(&self) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| is_name(name)) else { continue };
            // Says what the entry itself is, also of a link.
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if metadata.is_file() {
                let changed = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
                let changed = Timestamp::default().plus(changed);
                found.push(Found { id: AttachmentId::new(name), path: entry.path(), bytes: metadata.len(), changed });
            }
        }
        Ok(found)
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        // There is nothing in it that a panic could have left half done.
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, id: &AttachmentId) -> Option<PathBuf> {
        is_name(id.as_str()).then(|| self.folder.join(id.as_str()))
    }

    fn write(&self, draft: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
        match std::fs::remove_file(draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        // `create_new` opens nothing that is there already, no link either.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        hit(Failpoint::BlobBeforeRename);
        std::fs::rename(draft, path)?;
        hit(Failpoint::BlobAfterRename);
        Ok(())
    }

    /// Forces names to disk.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }
}

impl Blobs for FileBlobs {
    fn put(&self, bytes: &[u8]) -> Result<AttachmentId, BlobError> {
        let length = bytes.len() as u64;
        if length > ATTACHMENT_BYTES_MAX {
            return Err(BlobError::Broken(format!("a file of {length} bytes is larger than any that is stored")));
        }
        let name = name_of(bytes);
        let path = self.folder.join(&name);
        let id = AttachmentId::new(&name);
        let _one = self.lock();
        // What is there is believed only after a look at it: a damaged file is replaced.
        if let Ok(file) = open_plain(&path)
            && read_checked(&file, &name).is_ok()
        {
            let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
            let kept = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
            let times = Timestamps { last_access: kept, last_modification: now };
            rustix::fs::futimens(&file, &times).map_err(|error| broken(error.into()))?;
            self.sync().map_err(broken)?;
            return Ok(id);
        }
        let replaced = match path.symlink_metadata() {
            Ok(metadata) if metadata.is_file() => metadata.len(),
            Ok(_) | Err(_) => 0,
        };
        let others = self.bytes.load(Ordering::Relaxed).saturating_sub(replaced);
        if others.saturating_add(length) > self.bytes_max {
            self.refused.fetch_max(length, Ordering::Relaxed);
            return Err(BlobError::Full);
        }
        let draft = self.folder.join(format!("{name}{DRAFT_END}"));
        if let Err(error) = self.write(&draft, &path, bytes) {
            match std::fs::remove_file(&draft) {
                Err(left) if left.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(error = %left, "an unfinished file stays until the next start");
                }
                Ok(()) | Err(_) => {}
            }
            return Err(broken(error));
        }
        self.bytes.store(others.saturating_add(length), Ordering::Relaxed);
        self.sync().map_err(broken)?;
        Ok(id)
    }

    fn get(&self, id: &AttachmentId) -> Result<Vec<u8>, BlobError> {
        let path = self.path(id).ok_or(BlobError::Gone)?;
        read_checked(&open_plain(&path)?, id.as_str())
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn sweep(&self, keep: &BTreeSet<AttachmentId>, days: u32, now: Timestamp) -> Result<u64, BlobError> {
        let _one = self.lock();
        let mut files = self.files().map_err(broken)?;
        files.sort_by(|a, b| (a.changed, &a.id).cmp(&(b.changed, &b.id)));
        let before = files.iter().map(|file| file.bytes).fold(0, u64::saturating_add);
        let most = self.most_after_sweep();
        let too_old = DAY.saturating_mul(days);
        let (mut left, mut failed) = (before, None);
        for file in files.iter().filter(|file| !keep.contains(&file.id)) {
            let age = now.since(file.changed);
            if age < YOUNG || (age < too_old && left <= most) {
                continue;
            }
            match std::fs::remove_file(&file.path) {
                Ok(()) => left = left.saturating_sub(file.bytes),
                Err(error) => failed = Some(error),
            }
        }
        self.bytes.store(left, Ordering::Relaxed);
        self.sync().map_err(broken)?;
        match failed {
            Some(error) => Err(broken(error)),
            None => Ok(before.saturating_sub(left)),
        }
    }
}

impl FileBlobs {
    /// Bytes that may stay: all, unless the store is full or has refused a file.
    fn most_after_sweep(&self) -> u64 {
        match self.refused.swap(0, Ordering::Relaxed) {
            0 => self.bytes_max,
            refused => self.bytes_max.saturating_sub(refused.max(self.bytes_max / ROOM_DIVISOR)),
        }
    }
}

fn name_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a file of ours may have this name: no path has.
fn is_name(name: &str) -> bool {
    name.len() == NAME_BYTES && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Opens an ordinary file: no link, and nothing that would make the opener wait.
fn open_plain(path: &Path) -> Result<File, BlobError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => return Err(BlobError::Gone),
        Err(error) => return Err(broken(error.into())),
    };
    if !file.metadata().map_err(broken)?.is_file() {
        return Err(BlobError::Broken("something that is no file stands in its place".to_owned()));
    }
    Ok(file)
}

/// The bytes, if they are those of the name.
fn read_checked(file: &File, name: &str) -> Result<Vec<u8>, BlobError> {
    let length = file.metadata().map_err(broken)?.len().min(ATTACHMENT_BYTES_MAX);
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    file.take(ATTACHMENT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(broken)?;
    if name_of(&bytes) != name || bytes.len() as u64 > ATTACHMENT_BYTES_MAX {
        return Err(BlobError::Broken("its bytes are not those that were stored".to_owned()));
    }
    Ok(bytes)
}

/// What the disk said; no room there is no room here.
fn broken(error: io::Error) -> BlobError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            tracing::warn!(%error, "the disk has no room for a file");
            BlobError::Full
        }
        _ => BlobError::Broken(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)]
    use super::*;
    use std::time::SystemTime;
    use tempfile::TempDir;

    /// 2020-01-01, so that files of today are young and none is old by itself.
    const START: i64 = 1_577_836_800_000;
    const HOUR: i64 = 3_600_000;

    fn store(bytes_max: u64) -> (TempDir, FileBlobs) {
        let top = tempfile::tempdir().unwrap();
        let blobs = FileBlobs::open(&top.path().join("attachments"), bytes_max).unwrap();
        (top, blobs)
    }

    fn names(blobs: &FileBlobs) -> BTreeSet<String> {
        let entries = std::fs::read_dir(&blobs.folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Stores a file as if it had been done then.
    fn put_at(blobs: &FileBlobs, bytes: &[u8], at: i64) -> AttachmentId {
        let id = blobs.put(bytes).unwrap();
        let time = UNIX_EPOCH + Duration::from_millis(u64::try_from(at).unwrap());
        File::open(blobs.path(&id).unwrap()).unwrap().set_modified(time).unwrap();
        id
    }

    fn changed(blobs: &FileBlobs, id: &AttachmentId) -> SystemTime {
        blobs.path(id).unwrap().metadata().unwrap().modified().unwrap()
    }

    #[test]
    fn bytes_come_back_and_are_private() {
        let (top, blobs) = store(1_000);
        let id = blobs.put(b"abc").unwrap();
        assert_eq!(id.as_str(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(blobs.get(&id).unwrap(), b"abc");
        let empty = blobs.put(b"").unwrap();
        assert_eq!((blobs.get(&empty).unwrap(), blobs.bytes()), (Vec::new(), 3));
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&blobs.folder), mode(&blobs.path(&id).unwrap())), (0o700, 0o600));
        std::fs::set_permissions(&blobs.folder, Permissions::from_mode(0o755)).unwrap();
        let again = FileBlobs::open(&top.path().join("attachments"), 1_000).unwrap();
        assert_eq!((again.bytes(), mode(&again.folder)), (3, 0o700), "counted anew, private again");
        assert_eq!(again.get(&id).unwrap(), b"abc");
    }

    #[test]
    fn the_same_bytes_are_stored_once_and_become_young() {
        let (_top, blobs) = store(1_000);
        let id = put_at(&blobs, b"abc", START);
        let before = changed(&blobs, &id);
        assert_eq!(blobs.put(b"abc").unwrap(), id);
        assert!(changed(&blobs, &id) > before + DAY);
        assert_eq!((blobs.bytes(), names(&blobs).len()), (3, 1));
    }

    #[test]
    fn many_put_the_same_bytes_at_once() {
        let (_top, blobs) = store(1_000_000);
        let content = |number: u8| vec![number; 10_000];
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for number in 0..3 {
                        let id = blobs.put(&content(number)).unwrap();
                        assert_eq!(blobs.get(&id).unwrap(), content(number));
                    }
                });
            }
        });
        assert_eq!((blobs.bytes(), names(&blobs).len()), (30_000, 3));
    }

    #[test]
    fn a_full_store_refuses_and_the_next_sweep_makes_room() {
        let (_top, blobs) = store(800);
        let ids: Vec<AttachmentId> = (0..8).map(|n| put_at(&blobs, &[n; 100], START + i64::from(n))).collect();
        let late = Timestamp(START + 3 * HOUR);
        assert_eq!(blobs.sweep(&BTreeSet::new(), 30, late), Ok(0), "exactly full is not too much");
        assert_eq!(blobs.put(&[9; 150]), Err(BlobError::Full));
        assert_eq!((blobs.bytes(), names(&blobs).len()), (800, 8), "nothing is left of what was refused");
        assert_eq!(blobs.put(&[7; 100]), Ok(ids[7].clone()), "what is there needs no room");
        let keep = BTreeSet::from([ids[0].clone()]);
        assert_eq!(blobs.sweep(&keep, 30, late), Ok(200));
        assert_eq!((blobs.get(&ids[1]), blobs.get(&ids[2])), (Err(BlobError::Gone), Err(BlobError::Gone)));
        assert!(blobs.get(&ids[0]).is_ok() && blobs.get(&ids[3]).is_ok());
        blobs.put(&[9; 150]).unwrap();
        assert_eq!(blobs.bytes(), 750);
        let huge = vec![0; usize::try_from(ATTACHMENT_BYTES_MAX).unwrap() + 1];
        assert!(matches!(blobs.put(&huge), Err(BlobError::Broken(_))), "no sweep makes room for that");
    }

    #[test]
    fn sweeping_takes_the_oldest_first_and_spares_what_is_needed_or_young() {
        let (top, blobs) = store(1_000);
        let day = 24 * HOUR;
        let old = put_at(&blobs, &[1; 100], START);
        let shown = put_at(&blobs, &[2; 100], START);
        let middle = put_at(&blobs, &[3; 100], START + 20 * day);
        let newer = put_at(&blobs, &[4; 100], START + 21 * day);
        let now = START + 40 * day;
        let young = put_at(&blobs, &[5; 100], now - HOUR + 1);
        let keep = BTreeSet::from([shown.clone()]);
        assert_eq!(blobs.sweep(&keep, 30, Timestamp(now)), Ok(100));
        assert_eq!(blobs.get(&old), Err(BlobError::Gone));
        // With a lower limit, as after a change of the configuration, the oldest go until it is kept.
        let blobs = FileBlobs::open(&top.path().join("attachments"), 300).unwrap();
        assert_eq!((blobs.bytes(), blobs.sweep(&keep, 30, Timestamp(now))), (400, Ok(100)));
        assert_eq!((blobs.get(&middle), blobs.get(&newer).is_ok()), (Err(BlobError::Gone), true));
        let blobs = FileBlobs::open(&top.path().join("attachments"), 0).unwrap();
        assert_eq!(blobs.sweep(&keep, 30, Timestamp(now)), Ok(100));
        assert!(blobs.get(&shown).is_ok() && blobs.get(&young).is_ok());
        assert_eq!(blobs.sweep(&keep, 30, Timestamp(START)), Ok(0), "a clock that jumps back deletes nothing");
        assert_eq!(blobs.bytes(), 200);
    }

    #[test]
    fn damage_is_found_and_repaired() {
        let (_top, blobs) = store(1_000);
        let id = blobs.put(b"abc").unwrap();
        let path = blobs.path(&id).unwrap();
        for damaged in [&b"abd"[..], b"", b"abcd"] {
            std::fs::write(&path, damaged).unwrap();
            assert!(matches!(blobs.get(&id), Err(BlobError::Broken(_))));
        }
        let blobs = FileBlobs::open(&blobs.folder, 4).unwrap();
        assert_eq!((blobs.bytes(), blobs.put(b"abc")), (4, Ok(id.clone())));
        assert_eq!((blobs.get(&id).unwrap(), blobs.bytes()), (b"abc".to_vec(), 3));
        let long = File::options().write(true).open(&path).unwrap();
        long.set_len(ATTACHMENT_BYTES_MAX * 100).unwrap();
        assert!(matches!(blobs.get(&id), Err(BlobError::Broken(_))), "and at most so much of it is read");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(blobs.get(&id), Err(BlobError::Gone));
    }

    #[test]
    fn nothing_leads_out_of_the_folder() {
        let (top, blobs) = store(1_000);
        let outside = top.path().join("secret");
        std::fs::write(&outside, b"abc").unwrap();
        let id = AttachmentId::new(name_of(b"abc"));
        let path = blobs.path(&id).unwrap();
        std::os::unix::fs::symlink(&outside, &path).unwrap();
        assert!(matches!(blobs.get(&id), Err(BlobError::Broken(_))), "a link is not followed, even to the right bytes");
        assert_eq!(blobs.put(b"abc"), Ok(id.clone()));
        assert!(path.symlink_metadata().unwrap().is_file(), "the link has made way for the file");
        for name in
            ["../secret", "", ".", "/etc/passwd", &"A".repeat(64), &"0".repeat(63), &format!("{}/", "0".repeat(63))]
        {
            assert_eq!(blobs.get(&AttachmentId::new(name)), Err(BlobError::Gone), "{name}");
        }
        // Things with our names that are no files are neither counted nor swept.
        let folder = blobs.folder.join("0".repeat(64));
        std::fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink(&outside, blobs.folder.join("1".repeat(64))).unwrap();
        let blobs = FileBlobs::open(&blobs.folder, 0).unwrap();
        assert_eq!(blobs.bytes(), 3);
        assert_eq!(blobs.sweep(&BTreeSet::new(), 1, Timestamp(i64::MAX)), Ok(3));
        assert!(outside.exists() && folder.exists());
        assert!(matches!(blobs.get(&AttachmentId::new("0".repeat(64))), Err(BlobError::Broken(_))));
    }

    #[test]
    fn what_a_crash_left_goes_at_the_next_start() {
        let (_top, blobs) = store(1_000);
        let id = blobs.put(b"abc").unwrap();
        let draft = blobs.folder.join(format!("{}{DRAFT_END}", "e".repeat(64)));
        std::fs::write(&draft, b"half").unwrap();
        std::fs::write(blobs.folder.join("note.part"), b"of somebody").unwrap();
        let blobs = FileBlobs::open(&blobs.folder, 1_000).unwrap();
        assert_eq!(names(&blobs), BTreeSet::from([id.as_str().to_owned(), "note.part".to_owned()]));
        assert_eq!(blobs.bytes(), 3);
        // A leftover of this very process does not stand in the way either.
        let again = blobs.folder.join(format!("{}{DRAFT_END}", name_of(b"xyz")));
        std::fs::write(&again, b"ha").unwrap();
        let id = blobs.put(b"xyz").unwrap();
        assert_eq!((blobs.get(&id).unwrap(), again.exists()), (b"xyz".to_vec(), false));
    }
}
