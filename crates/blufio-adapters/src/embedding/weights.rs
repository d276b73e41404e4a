//! Where the weights lie, and whether they are the right ones.

use super::sys::{Map, forget};
use super::{FILE_BYTES, FILE_SHA256};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes that are read at once while a file is checked, so that the whole of it is never in our own memory.
const CHECK_BYTES: usize = 64 * 1024;

/// Where the weights are.
#[derive(Clone, Debug)]
pub enum Weights {
    /// In the program; what is given here is not checked again. See [`super::EMBEDDED`].
    Embedded(&'static [u8]),
    /// In a file that must only ever be replaced by renaming another one over it.
    File(PathBuf),
}

/// The weights in memory.
pub enum Bytes {
    /// In the program.
    Embedded(&'static [u8]),
    /// A mapped file.
    Mapped(Map),
}

impl Bytes {
    /// All of them.
    pub fn get(&self) -> &[u8] {
        match self {
            Self::Embedded(bytes) => bytes,
            Self::Mapped(map) => map.bytes(),
        }
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        match self {
            Self::Embedded(bytes) => forget(bytes),
            Self::Mapped(_) => {}
        }
    }
}

/// Tells a file from every other, and from itself with other content.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Identity {
    fn of(file: &Metadata) -> Self {
        let changed = (file.ctime(), file.ctime_nsec());
        Self { device: file.dev(), inode: file.ino(), bytes: file.len(), changed }
    }
}

/// Weights, and what was found out about their file.
pub struct Source {
    weights: Weights,
    /// The file that was checked last, and whether it is the right one.
    checked: Option<(Identity, bool)>,
}

impl Source {
    /// Looks at nothing yet.
    pub const fn new(weights: Weights) -> Self {
        Self { weights, checked: None }
    }

    /// The weights. A file is read once to check it, and then only where it is used.
    ///
    /// # Errors
    /// There is no file, it cannot be read, or it is not the right one: in words for a person, with what to do.
    pub fn open(&mut self) -> Result<Bytes, String> {
        let path = match &self.weights {
            Weights::Embedded(bytes) => return Ok(Bytes::Embedded(bytes)),
            Weights::File(path) => path.clone(),
        };
        let unreadable = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => {
                format!("there is no embedding model at {}; `blufio model install` puts it there", path.display())
            }
            _ => format!("the embedding model at {} cannot be read: {error}", path.display()),
        };
        let mut file = File::open(&path).map_err(unreadable)?;
        if !self.check(&mut file).map_err(unreadable)? {
            return Err(wrong(&path));
        }
        let length = usize::try_from(FILE_BYTES).map_err(|_| wrong(&path))?;
        Map::new(&file, length).map(Bytes::Mapped).map_err(unreadable)
    }

    /// Whether this is the right file. Another one with the right size is read whole, once.
    fn check(&mut self, file: &mut File) -> io::Result<bool> {
        let identity = Identity::of(&file.metadata()?);
        if let Some((_, right)) = self.checked.filter(|(checked, _)| *checked == identity) {
            return Ok(right);
        }
        let right = identity.bytes == FILE_BYTES && sum(file)? == FILE_SHA256;
        self.checked = Some((identity, right));
        Ok(right)
    }
}

/// The SHA-256 of a file from where it stands, at most [`FILE_BYTES`] of it, in hexadecimal digits.
///
/// # Errors
/// It cannot be read.
pub fn sum(file: &mut File) -> io::Result<String> {
    let mut sum = Sha256::new();
    let mut buffer = vec![0; CHECK_BYTES];
    let mut file = file.take(FILE_BYTES);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => sum.update(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let mut hex = String::new();
    for byte in sum.finalize() {
        write!(hex, "{byte:02x}").map_err(io::Error::other)?;
    }
    Ok(hex)
}

fn wrong(path: &Path) -> String {
    let path = path.display();
    format!(
        "{path} is not the embedding model that this version reads; `blufio model install` puts the right one there"
    )
}
