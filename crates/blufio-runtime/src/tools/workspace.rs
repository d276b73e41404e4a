//! The one folder in which tools may read and write.
//!
//! The folder is opened once, and everything in it is reached from that handle, one name at a time, so that no path is ever
//! put together as text and handed to the system. The handles (`cap-std`: `openat2` with `RESOLVE_BENEATH`, or the same by
//! hand on older kernels) cannot leave the folder even while somebody swaps its contents; on top of that no symbolic link is
//! followed and nothing but ordinary files and folders is opened. What the files mean is not known here.

use super::{ToolsError, similar};
use blufio_core::failpoint::{Failpoint, hit};
use blufio_core::port::ToolError;
use cap_std::ambient_authority;
use cap_std::fs::{
    Dir, DirBuilder, DirBuilderExt, File, Metadata, MetadataExt, OpenOptions, OpenOptionsExt, PermissionsExt,
};
use sha2::{Digest, Sha256};
use std::fmt;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes of a file that a tool writes. Over: refused.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of a path. Over: refused.
pub const PATH_BYTES_MAX: usize = 1024;
/// Names in a path. Over: refused.
const PATH_NAMES_MAX: usize = 32;
/// Bytes of one name, a limit of the common file systems.
const NAME_BYTES_MAX: usize = 255;
/// Where unfinished writes live: one place, so that cleaning up does not mean walking the whole folder.
pub const TEMPORARY: &str = ".blufio-temporary";

const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// The folder.
pub struct Workspace {
    root: Dir,
    /// Held while a file is replaced, so that two edits of one file cannot lose each other's work.
    writing: Mutex<()>,
}

/// A path that stays inside by its form alone: plain names, no `..`, not absolute.
#[derive(Debug, PartialEq, Eq)]
pub struct Relative {
    names: Vec<String>,
    /// It was written with a slash at its end.
    folder: bool,
}

/// What a name stands for.
pub enum Kind {
    /// Nothing.
    Missing,
    /// A folder.
    Folder,
    /// An ordinary file.
    File(Metadata),
    /// A symbolic link, wherever it leads.
    Link,
    /// A pipe, a socket or a device.
    Special,
}

/// What to do about a folder that is not there.
#[derive(Clone, Copy)]
enum Missing {
    Refuse,
    Create,
}

impl Relative {
    /// The workspace itself.
    pub const ROOT: Self = Self { names: Vec::new(), folder: true };

    /// Reads a path as the model writes it.
    pub fn parse(path: &str) -> Result<Self, ToolError> {
        let refused = |why: &str| Err(ToolError::ToModel(format!("`{}` {why}", path.escape_debug())));
        if path.len() > PATH_BYTES_MAX {
            return Err(ToolError::ToModel(format!("a path may have at most {PATH_BYTES_MAX} bytes")));
        }
        if path.starts_with('/') {
            return refused("is absolute; paths are relative to the workspace, e.g. `notes/today.md`");
        }
        if path.chars().any(char::is_control) {
            return refused("contains a control character");
        }
        let names: Vec<String> = path.split('/').filter(|name| !matches!(*name, "" | ".")).map(str::to_owned).collect();
        if names.iter().any(|name| name == "..") {
            return refused("leads out by `..`; nothing outside the workspace can be reached");
        }
        if names.iter().any(|name| name.len() > NAME_BYTES_MAX) {
            return refused("contains a name of more than 255 bytes");
        }
        if names.len() > PATH_NAMES_MAX {
            return refused("has more than 32 names");
        }
        match names.first() {
            Some(first) if first == "~" => refused("means a home folder; paths are relative to the workspace"),
            Some(first) if first.eq_ignore_ascii_case(TEMPORARY) => refused("is the agent's own"),
            // `notes/` and `notes/.` name a folder; `notes.` is an ordinary name.
            _ => Ok(Self { names, folder: matches!(path.rsplit('/').next(), Some("" | ".")) }),
        }
    }

    /// The names of the folders and the name of the file.
    fn file(&self) -> Result<(&[String], &str), ToolError> {
        match self.names.split_last() {
            Some((name, parents)) if !self.folder => Ok((parents, name)),
            _ => Err(ToolError::ToModel(format!("`{self}` names a folder; a file is needed"))),
        }
    }
}

impl fmt::Display for Relative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&if self.names.is_empty() { ".".to_owned() } else { self.names.join("/") })
    }
}

impl Workspace {
    /// Opens the folder; makes it (and what is missing above it) with mode 0700.
    pub fn open(path: &Path) -> Result<Self, ToolsError> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path);
        let root = made
            .and_then(|()| Dir::open_ambient_dir(path, ambient_authority()))
            .map_err(|source| ToolsError::Workspace { path: path.to_owned(), source })?;
        Ok(Self { root, writing: Mutex::new(()) })
    }

    /// A folder, to be listed.
    pub fn folder(&self, path: &Relative) -> Result<Dir, ToolError> {
        self.walk(&path.names, Missing::Refuse)
    }

    /// An ordinary file, to be read, and its size in bytes.
    pub fn file(&self, path: &Relative) -> Result<(std::fs::File, u64), ToolError> {
        let (parents, name) = path.file()?;
        let folder = self.walk(parents, Missing::Refuse)?;
        match kind(&folder, name).map_err(|error| trouble(&path.names, &error))? {
            Kind::File(_) => {}
            Kind::Missing => return Err(missing(&folder, parents, name)),
            Kind::Folder => return Err(refuse(&path.names, "is a folder; `list_files` shows what is in it")),
            Kind::Link => return Err(is_link(&path.names)),
            Kind::Special => return Err(is_special(&path.names)),
        }
        // Somebody may swap the file for a pipe just now: opened without waiting for its other end, it is then found out.
        // (`cap-fs-ext` is a crate of its own for these two words.)
        let mut options = OpenOptions::new();
        options.read(true)._cap_fs_ext_nonblock(true);
        let file = folder.open_with(name, &options).map_err(|error| trouble(&path.names, &error))?.into_std();
        let metadata = file.metadata().map_err(|error| trouble(&path.names, &error))?;
        if metadata.is_file() { Ok((file, metadata.len())) } else { Err(is_special(&path.names)) }
    }

    /// The right to replace files; one holder at a time.
    pub fn lock(&self) -> MutexGuard<'_, ()> {
        // There is nothing in it that a panic could have left half done.
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes `content` the content of a file, whole or not at all: a temporary file named after `key`, then a rename.
    ///
    /// Missing folders are made. A power cut afterwards does not undo it.
    pub fn replace(
        &self,
        _lock: &MutexGuard<'_, ()>,
        path: &Relative,
        key: &str,
        content: &[u8],
    ) -> Result<(), ToolError> {
        if content.len() > FILE_BYTES_MAX {
            let length = content.len();
            return Err(refuse(
                &path.names,
                &format!("would have {length} bytes; at most {FILE_BYTES_MAX} are allowed"),
            ));
        }
        let (parents, name) = path.file()?;
        let folder = self.walk(parents, Missing::Create)?;
        let mode = match kind(&folder, name).map_err(|error| trouble(&path.names, &error))? {
            Kind::Missing => FILE_MODE,
            Kind::File(metadata) => mode_of(&path.names, &metadata)?,
            Kind::Folder => return Err(refuse(&path.names, "is a folder")),
            Kind::Link => return Err(is_link(&path.names)),
            Kind::Special => return Err(is_special(&path.names)),
        };
        let temporary = self.temporary()?;
        let draft = draft_name(key);
        let moved = write_draft(&temporary, &draft, content, mode).and_then(|()| {
            hit(Failpoint::FileBeforeRename);
            temporary.rename(&draft, &folder, name)
        });
        if let Err(error) = moved {
            if let Err(left) = remove_if_there(&temporary, &draft) {
                tracing::warn!("an unfinished write stays until the next start: {left}");
            }
            return Err(trouble(&path.names, &error));
        }
        hit(Failpoint::FileAfterRename);
        sync(&folder).map_err(|error| trouble(&path.names, &error))
    }

    /// Goes down from the root, never through a link.
    fn walk(&self, names: &[String], missing_one: Missing) -> Result<Dir, ToolError> {
        let mut folder = self.root.try_clone().map_err(|error| trouble(&[], &error))?;
        for (depth, name) in names.iter().enumerate() {
            let (above, here) = (names.get(..depth).unwrap_or_default(), names.get(..=depth).unwrap_or_default());
            match kind(&folder, name).map_err(|error| trouble(here, &error))? {
                Kind::Folder => {}
                Kind::Missing => match missing_one {
                    Missing::Refuse => return Err(missing(&folder, above, name)),
                    Missing::Create => make_folder(&folder, name).map_err(|error| trouble(here, &error))?,
                },
                Kind::Link => return Err(is_link(here)),
                Kind::File(_) | Kind::Special => return Err(refuse(here, "is not a folder")),
            }
            folder = folder.open_dir(name).map_err(|error| trouble(here, &error))?;
        }
        Ok(folder)
    }

    fn temporary(&self) -> Result<Dir, ToolError> {
        let broken = |error: io::Error| ToolError::Broken(format!("{TEMPORARY} in the workspace: {error}"));
        match kind(&self.root, TEMPORARY).map_err(broken)? {
            Kind::Folder => {}
            Kind::Missing => make_folder(&self.root, TEMPORARY).map_err(broken)?,
            Kind::File(_) | Kind::Link | Kind::Special => return Err(broken(io::ErrorKind::NotADirectory.into())),
        }
        self.root.open_dir(TEMPORARY).map_err(broken)
    }
}

/// Removes what interrupted writes left in `workspace` and says how many files that were; a folder that is not there is clean.
///
/// # Errors
/// The folder cannot be read, or a file in it cannot be removed.
pub fn sweep_temporary(workspace: &Path) -> Result<usize, ToolsError> {
    sweep(workspace).map_err(|source| ToolsError::Workspace { path: workspace.to_owned(), source })
}

fn sweep(workspace: &Path) -> io::Result<usize> {
    let root = match Dir::open_ambient_dir(workspace, ambient_authority()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        root => root?,
    };
    if !matches!(kind(&root, TEMPORARY)?, Kind::Folder) {
        return Ok(0);
    }
    let mut removed = 0;
    for entry in root.open_dir(TEMPORARY)?.entries()? {
        let entry = entry?;
        // No folder is ever made there; one that somebody else made is theirs.
        if !entry.file_type()?.is_dir() {
            entry.remove_file()?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// What `name` is, without following it.
pub fn kind(folder: &Dir, name: impl AsRef<Path>) -> io::Result<Kind> {
    match folder.symlink_metadata(name) {
        Ok(metadata) => Ok(match metadata.file_type() {
            kind if kind.is_dir() => Kind::Folder,
            kind if kind.is_file() => Kind::File(metadata),
            kind if kind.is_symlink() => Kind::Link,
            _ => Kind::Special,
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Kind::Missing),
        Err(error) => Err(error),
    }
}

/// The mode of the file that replaces this one: a script stays a script.
fn mode_of(names: &[String], metadata: &Metadata) -> Result<u32, ToolError> {
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o200 == 0 {
        return Err(refuse(names, "is read-only"));
    }
    // Its other name may lie outside, and whoever gave it two names expects both to show the same.
    if metadata.nlink() > 1 {
        return Err(refuse(names, "has more than one name (hard link) and is not written"));
    }
    Ok(mode)
}

fn write_draft(temporary: &Dir, draft: &str, content: &[u8], mode: u32) -> io::Result<()> {
    // Left by an interrupted run of the same call.
    remove_if_there(temporary, draft)?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(FILE_MODE);
    let mut file: File = temporary.open_with(draft, &options)?;
    file.write_all(content)?;
    file.set_permissions(cap_std::fs::Permissions::from_mode(mode))?;
    file.sync_all()
}

fn remove_if_there(folder: &Dir, name: &str) -> io::Result<()> {
    match folder.remove_file(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn make_folder(above: &Dir, name: &str) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    match above.create_dir_with(name, builder.mode(FOLDER_MODE)) {
        // Another call made it just now.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync(above),
    }
}

/// Makes a folder's names durable. The handle itself may be one that only leads on (`O_PATH`), hence the opening.
fn sync(folder: &Dir) -> io::Result<()> {
    folder.open(".")?.sync_all()
}

/// A file name made of the call's key, whatever characters the key has.
pub fn draft_name(key: &str) -> String {
    Sha256::digest(key).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn refuse(names: &[String], why: &str) -> ToolError {
    let path = if names.is_empty() { ".".to_owned() } else { names.join("/") };
    ToolError::ToModel(format!("`{path}` {why}"))
}

fn is_link(names: &[String]) -> ToolError {
    refuse(names, "is a symbolic link; links are not followed")
}

fn is_special(names: &[String]) -> ToolError {
    refuse(names, "is not an ordinary file")
}

fn missing(folder: &Dir, above: &[String], name: &str) -> ToolError {
    let prefix: String = above.iter().map(|name| format!("{name}/")).collect();
    let there: Vec<String> = folder
        .entries()
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|there| there != TEMPORARY && !there.chars().any(char::is_control))
        .take(2_000)
        .collect();
    let near: Vec<String> = similar::nearest(name, there.iter().map(String::as_str))
        .into_iter()
        .map(|near| format!("`{prefix}{near}`"))
        .collect();
    let hint = match (near.is_empty(), there.is_empty()) {
        (false, _) => format!("similar: {}", near.join(", ")),
        (true, true) => "its folder is empty".to_owned(),
        (true, false) => "`list_files` shows what there is".to_owned(),
    };
    ToolError::ToModel(format!("there is no `{prefix}{name}`; {hint}"))
}

/// What the model can do something about goes to the model.
fn trouble(names: &[String], error: &io::Error) -> ToolError {
    use io::ErrorKind as Why;
    match error.kind() {
        Why::NotFound => refuse(names, "is gone: something changed it meanwhile"),
        Why::PermissionDenied => refuse(names, "cannot be reached: its permissions, or it leads out of the workspace"),
        Why::NotADirectory => refuse(names, "is not a folder"),
        Why::IsADirectory => refuse(names, "is a folder"),
        Why::StorageFull | Why::QuotaExceeded => refuse(names, "cannot be written: the disk is full"),
        Why::ReadOnlyFilesystem => refuse(names, "cannot be written: the file system is read-only"),
        Why::CrossesDevices => refuse(names, "lies on another file system than the workspace and is not written"),
        Why::InvalidFilename => refuse(names, "has a name that the file system does not take"),
        _ => ToolError::Broken(format!("{}: {error}", names.join("/"))),
    }
}
