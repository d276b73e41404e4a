//! The root key: where it comes from without a person, and how it is made at the first start.
//!
//! It opens everything that is stored. It lies outside the data folder, so that a copy of that folder alone opens nothing;
//! beside the data, `keyslots.json` says which key belongs to it. What exists is never replaced: a missing or wrong key is
//! refused, and the answer names the file. What is derived from the key, and how, is the core's business.

use crate::config::Environment;
use crate::config::resolved::{Config, Unlock};
use crate::config::sources::{ROOT_KEY, user_directory};
use crate::doctor::KeyOrigin;
use crate::failure::Failure;
use crate::redact;
use crate::rotation;
use blufio_core::keys::{InstallId, KeySlots, KeyTree, RootKey};
use blufio_core::secret::Secret;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Carries the key itself; the weakest of the sources.
pub const KEY_VARIABLE: &str = "BLUFIO_ROOT_KEY";
/// Names an inherited file descriptor with the key.
pub const DESCRIPTOR_VARIABLE: &str = "BLUFIO_ROOT_KEY_FD";
/// The file beside the database that says which key belongs to it.
pub const SLOTS: &str = "keyslots.json";
/// The database's name in the data folder.
pub const DATABASE: &str = "blufio.db";
/// The key's name among systemd's credentials.
const CREDENTIAL: &str = "blufio.root";
/// Bytes of a key's file. Larger: refused.
pub const KEY_FILE_BYTES_MAX: usize = 4096;
/// Bytes of `keyslots.json`. Larger: refused.
const SLOTS_BYTES_MAX: u64 = 64 * 1024;

/// What a parent process handed over, taken at the start and gone from the environment since.
#[derive(Clone, Default)]
pub struct Inherited {
    /// What was read from the descriptor, or why nothing was.
    pub descriptor: Option<Result<Zeroizing<Vec<u8>>, String>>,
    /// The value of [`KEY_VARIABLE`].
    pub variable: Option<Zeroizing<String>>,
}

/// Everywhere a key could be, in the order in which it is looked for.
#[derive(Clone)]
pub struct KeySources {
    credential: Option<PathBuf>,
    named: Option<PathBuf>,
    usual: Option<PathBuf>,
    inherited: Inherited,
}

impl KeySources {
    /// Reads nothing yet.
    pub fn new(config: &Config, environment: &Environment, inherited: &Inherited) -> Self {
        let credentials = environment.vars.get("CREDENTIALS_DIRECTORY").filter(|folder| !folder.is_empty());
        Self {
            credential: credentials.map(|folder| Path::new(folder).join(CREDENTIAL)),
            named: config.root_key_file.clone(),
            usual: user_directory(environment).map(|folder| folder.join(ROOT_KEY)),
            inherited: inherited.clone(),
        }
    }
}

impl KeySources {
    /// The files that a key may be in, and could be written to.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.named.iter().chain(&self.usual)
    }

    /// Whether the key should be in a file that is not there.
    fn lacks_named(&self) -> bool {
        let credential = self.credential.as_ref().is_some_and(|path| path.exists());
        !credential && self.named.as_ref().is_some_and(|path| std::fs::symlink_metadata(path).is_err())
    }
}

/// What the commands and the server work on.
#[derive(Clone, Copy)]
pub struct Installation<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// Where the key may be.
    pub sources: &'a KeySources,
}

/// Where the key came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A credential of systemd.
    Credential(PathBuf),
    /// A file.
    File(PathBuf),
    /// A descriptor that the parent process left open.
    Descriptor,
    /// The environment.
    Variable,
    /// Somebody with the recovery code, at the control socket.
    Person,
}

impl Source {
    /// In a few words.
    pub fn words(&self) -> String {
        match self {
            Self::Credential(path) => format!("the systemd credential {}", path.display()),
            Self::File(path) => format!("the file {}", path.display()),
            Self::Descriptor => format!("the descriptor in {DESCRIPTOR_VARIABLE}"),
            Self::Variable => format!("the environment variable {KEY_VARIABLE}"),
            Self::Person => "`blufio vault unlock`".to_owned(),
        }
    }

    /// The same for `doctor`.
    pub fn origin(&self) -> KeyOrigin {
        let file = if let Self::File(path) = self { Some(path.clone()) } else { None };
        KeyOrigin { words: self.words(), protects: self.protects().to_owned(), weak: *self == Self::Variable, file }
    }

    /// What that is good for.
    const fn protects(&self) -> &'static str {
        match self {
            Self::Credential(_) => "a stolen disk or backup opens nothing (with a TPM also not in another machine)",
            Self::File(_) => "a copy of the data folder alone opens nothing; root on this machine can read it",
            Self::Descriptor => "as good as the parent process keeps it",
            Self::Variable => "little: every program of the same user could see it when the service was started",
            Self::Person => "everything at rest: nothing on this machine opens it, and every start needs a person",
        }
    }
}

/// A short name for bytes, which says nothing about them.
pub fn fingerprint(bytes: &[u8]) -> String {
    hex(&blufio_core::crypto::sha256(bytes))
}

/// The key with what belongs to it.
pub struct Keys {
    /// Opens everything.
    pub root: RootKey,
    /// The keys that are used.
    pub tree: KeyTree,
    /// Where the root key came from.
    pub source: Source,
    /// It was made just now.
    pub made: bool,
}

/// The key of a data folder that was used before; `None`: nothing in it is locked.
pub fn existing(here: Installation<'_>) -> Result<Option<Keys>, Failure> {
    let Some(slots) = slots(&here.config.data_dir)? else {
        let database = here.config.data_dir.join(DATABASE);
        return if is_locked(&database)? { Err(slots_missing(&here.config.data_dir)) } else { Ok(None) };
    };
    if let Some((root, source)) = rotation::interrupted(here, &slots)? {
        return Ok(Some(Keys { tree: root.derive(&slots.install_id), root, source, made: false }));
    }
    if here.sources.lacks_named() {
        return Err(key_missing(here));
    }
    match found(here.sources)? {
        Some((root, source)) => keys(&here.config.data_dir, root, &slots, source).map(Some),
        None => Err(key_missing(here)),
    }
}

/// The key of this data folder, which is made if nothing in it is locked yet. The caller holds the folder's lock.
pub fn obtain(here: Installation<'_>) -> Result<Keys, Failure> {
    rotation::settle(here)?;
    if let Some(keys) = existing(here)? {
        return Ok(keys);
    }
    let (root, source, made) = match found(here.sources)? {
        Some((root, source)) => (root, source, false),
        None => make(here)?,
    };
    // The key first: killed in between, the next start finds it and goes on.
    let slots = KeySlots::new(InstallId(random()?), &root);
    write_slots(&here.config.data_dir, &slots)?;
    Ok(Keys { made, ..keys(&here.config.data_dir, root, &slots, source)? })
}

/// The same for the server. `None`: there is a key, it is nowhere, and a person is to bring it.
pub fn obtain_unless_locked(here: Installation<'_>) -> Result<Option<Keys>, Failure> {
    let waits = here.config.unlock == Unlock::Socket;
    if waits && slots(&here.config.data_dir)?.is_some() && found(here.sources)?.is_none() {
        return Ok(None);
    }
    obtain(here).map(Some)
}

/// The keys of this data folder, opened with what a person brought.
pub fn brought(data_dir: &Path, root: RootKey) -> Result<Keys, Failure> {
    match slots(data_dir)? {
        Some(slots) => keys(data_dir, root, &slots, Source::Person),
        None => Err(slots_missing(data_dir)),
    }
}

/// Makes the key in the file that was named, for `init`. Without a named file, nothing is done; a data folder that has a key
/// never gets another one.
pub fn make_named(here: Installation<'_>) -> Result<(), Failure> {
    let data_dir = &here.config.data_dir;
    match &here.sources.named {
        Some(path)
            if here.sources.lacks_named() && slots(data_dir)?.is_none() && !is_locked(&data_dir.join(DATABASE))? =>
        {
            create(path, &new_key()?)
        }
        Some(_) | None => Ok(()),
    }
}

fn keys(data_dir: &Path, root: RootKey, slots: &KeySlots, source: Source) -> Result<Keys, Failure> {
    if slots.verify(&root).is_err() {
        return Err(Failure {
            message: format!("the key does not belong to the data folder {}", data_dir.display()),
            cause: Some(format!("it came from {}, and {SLOTS} was made with another", source.words())),
            hint: Some(
                "put the right key there, or name it with --root-key-file; if it is the right one, restore keyslots.json from \
                 a backup; with the recovery code: `blufio vault unlock`"
                    .to_owned(),
            ),
            code: Failure::PERMISSION,
        });
    }
    let tree = root.derive(&slots.install_id);
    learn(&root);
    Ok(Keys { root, tree, source, made: false })
}

/// The first source that has something; a source that is there and cannot be used is an error, never skipped.
pub fn found(sources: &KeySources) -> Result<Option<(RootKey, Source)>, Failure> {
    let parsed = |bytes: &[u8], source: Source| match RootKey::parse(bytes) {
        Ok(root) => Ok(Some((root, source))),
        Err(error) => Err(Failure { hint: Some(error.hint().to_owned()), ..unusable(&source, &error.to_string()) }),
    };
    if let Some(path) = &sources.credential
        && let Some(bytes) = read(path, Manner::Credential)?
    {
        return parsed(&bytes, Source::Credential(path.clone()));
    }
    if let Some(path) = &sources.named {
        let source = Source::File(path.clone());
        let Some(bytes) = read(path, Manner::Private)? else {
            return Err(Failure {
                hint: Some(format!("`blufio init --root-key-file {}` makes one", path.display())),
                ..unusable(&source, "there is no such file")
            });
        };
        return parsed(&bytes, source);
    }
    if let Some(path) = &sources.usual
        && let Some(bytes) = read(path, Manner::Private)?
    {
        return parsed(&bytes, Source::File(path.clone()));
    }
    match &sources.inherited.descriptor {
        Some(Ok(bytes)) => return parsed(bytes, Source::Descriptor),
        Some(Err(error)) => return Err(unusable(&Source::Descriptor, error)),
        None => {}
    }
    match &sources.inherited.variable {
        Some(text) => parsed(text.as_bytes(), Source::Variable),
        None => Ok(None),
    }
}

/// How strict a file is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// systemd has seen to its rights.
    Credential,
    /// Nobody else may read it, or put another in its place.
    Private,
}

/// The content of a key's file; `None`: there is none.
pub fn read(path: &Path, manner: Manner) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    let source = match manner {
        Manner::Credential => Source::Credential(path.to_owned()),
        Manner::Private => Source::File(path.to_owned()),
    };
    let refused = |cause: String| unusable(&source, &cause);
    // Without waiting: a pipe of that name must not hang the start.
    let mut flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    if manner == Manner::Private {
        flags |= OFlags::NOFOLLOW;
    }
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
        Err(rustix::io::Errno::LOOP) => {
            return Err(refused("it is a symbolic link, which anybody might have set".to_owned()));
        }
        Err(error) => return Err(refused(error.to_string())),
    };
    let metadata = file.metadata().map_err(|error| refused(error.to_string()))?;
    if !metadata.is_file() {
        return Err(refused("it is no regular file".to_owned()));
    }
    if manner == Manner::Private {
        private(path, &metadata)?;
    }
    read_all(file).map(Some).map_err(|error| refused(error.to_string()))
}

/// Reads a key; more than a key can have is not read.
pub fn read_all(file: File) -> io::Result<Zeroizing<Vec<u8>>> {
    // Reserved at once: growing would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_FILE_BYTES_MAX));
    file.take(KEY_FILE_BYTES_MAX as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn private(path: &Path, metadata: &std::fs::Metadata) -> Result<(), Failure> {
    let source = Source::File(path.to_owned());
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user {
        return Err(Failure {
            hint: Some(format!("chown {user} {}", path.display())),
            ..unusable(&source, &format!("it belongs to user {}, not to the user {user} who runs this", metadata.uid()))
        });
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(Failure {
            hint: Some(format!("chmod 600 {}", path.display())),
            ..unusable(&source, &format!("others may use it: its mode is {:03o}", metadata.mode() & 0o777))
        });
    }
    let parent = path.parent().unwrap_or(Path::new("/"));
    let folder = std::fs::metadata(parent).map_err(|error| unusable(&source, &error.to_string()))?;
    if folder.mode() & 0o022 != 0 {
        return Err(Failure {
            hint: Some(format!("chmod go-w {}", parent.display())),
            ..unusable(&source, "others may put another file in its place: its folder is writable for them")
        });
    }
    Ok(())
}

/// Makes the key where nothing is configured.
fn make(here: Installation<'_>) -> Result<(RootKey, Source, bool), Failure> {
    let Some(path) = &here.sources.usual else {
        return Err(Failure {
            hint: Some("name a file with --root-key-file; `blufio init --root-key-file PATH` makes it".to_owned()),
            ..Failure::new("there is no home folder to keep the root key in", Failure::PERMISSION)
        });
    };
    if path.starts_with(&here.config.data_dir) {
        return Err(Failure {
            cause: Some(format!("{} lies in the data folder, and a copy of that would carry it along", path.display())),
            hint: Some("choose another data folder with --data-dir, or a key file with --root-key-file".to_owned()),
            ..Failure::new("the root key has no place of its own", Failure::PERMISSION)
        });
    }
    create(path, &new_key()?)?;
    let source = Source::File(path.clone());
    match read(path, Manner::Private)? {
        // Read back, also because another start may have been faster.
        Some(bytes) => match RootKey::parse(&bytes) {
            Ok(root) => Ok((root, source, true)),
            Err(error) => Err(unusable(&source, &error.to_string())),
        },
        None => Err(unusable(&source, "it is gone again")),
    }
}

/// A key that nobody has.
pub fn new_key() -> Result<RootKey, Failure> {
    RootKey::parse(&*Zeroizing::new(random::<32>()?))
        .map_err(|error| Failure::internal("the system's random numbers are not random", &error))
}

/// From now on this key is never shown.
pub fn learn(root: &RootKey) {
    redact::learn([("root key", &Secret::new(root.reveal().to_string()))]);
}

/// Writes a key that was recovered to where it is looked for; says where that is. What is there stays.
pub fn put_back(here: Installation<'_>, root: &RootKey) -> Result<PathBuf, Failure> {
    let Some(path) = here.sources.named.as_ref().or(here.sources.usual.as_ref()) else {
        return Err(Failure {
            hint: Some("name the file to write with --root-key-file".to_owned()),
            ..Failure::new("there is no home folder to put the root key into", Failure::PERMISSION)
        });
    };
    if std::fs::symlink_metadata(path).is_ok() {
        return Err(Failure {
            hint: Some("move it away, or name another file with --root-key-file".to_owned()),
            ..Failure::new(format!("{} is there already and is not replaced", path.display()), Failure::PERMISSION)
        });
    }
    create(path, root)?;
    Ok(path.clone())
}

/// Writes a key where there is none, whole or not at all.
fn create(path: &Path, root: &RootKey) -> Result<(), Failure> {
    let failed = |error: io::Error| unusable(&Source::File(path.to_owned()), &error.to_string());
    let folder = path.parent().unwrap_or(Path::new("/"));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let mut text = root.reveal();
    text.push('\n');
    let unfinished = folder.join(format!("{ROOT_KEY}.{}.new", hex(&random::<8>()?)));
    let written = private_file(&unfinished, text.as_bytes());
    // A link, because it never replaces what is there: another start may have been faster.
    let linked = written.and_then(|()| match std::fs::hard_link(&unfinished, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    let removed = std::fs::remove_file(&unfinished);
    linked.and(removed).and_then(|()| sync(folder)).map_err(failed)
}

/// Replaces `keyslots.json`: at every instant the old one or the new one is there.
pub fn write_slots(data_dir: &Path, slots: &KeySlots) -> Result<(), Failure> {
    let path = data_dir.join(SLOTS);
    let unfinished = data_dir.join(format!("{SLOTS}.new"));
    let write = || {
        match std::fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        private_file(&unfinished, slots.to_json().as_bytes())?;
        std::fs::rename(&unfinished, &path)?;
        sync(data_dir)
    };
    write().map_err(|error| Failure {
        cause: Some(error.to_string()),
        ..Failure::new(format!("{} cannot be written", path.display()), Failure::PERMISSION)
    })
}

/// What is beside the database; `None`: nothing.
pub fn slots(data_dir: &Path) -> Result<Option<KeySlots>, Failure> {
    let path = data_dir.join(SLOTS);
    let refused = |cause: String| Failure {
        message: format!("{} cannot be used", path.display()),
        cause: Some(cause),
        hint: Some("it belongs to the database beside it; restore both from the same backup".to_owned()),
        code: Failure::PERMISSION,
    };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match rustix::fs::open(&path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
        Err(error @ (rustix::io::Errno::ACCESS | rustix::io::Errno::PERM)) => {
            let hint = "run this as the user who owns the data folder, or give the folder and the file to this user";
            return Err(Failure { hint: Some(hint.to_owned()), ..refused(error.to_string()) });
        }
        Err(error) => return Err(refused(error.to_string())),
    };
    let mut text = String::new();
    file.take(SLOTS_BYTES_MAX).read_to_string(&mut text).map_err(|error| refused(error.to_string()))?;
    KeySlots::parse(&text)
        .map(Some)
        .map_err(|error| Failure { hint: Some(error.hint().to_owned()), ..refused(error.to_string()) })
}

/// Whether a database is there that is not a plain one.
pub fn is_locked(database: &Path) -> Result<bool, Failure> {
    let begin = begin(database)?;
    Ok(!begin.is_empty() && begin != PLAIN)
}

/// Whether a database is there that anybody could read.
pub fn is_plain(database: &Path) -> Result<bool, Failure> {
    Ok(begin(database)? == PLAIN)
}

/// How every plain SQLite database begins.
const PLAIN: &[u8] = b"SQLite format 3\0";

/// The first bytes of a file; none if there is no file.
fn begin(database: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: io::Error| Failure {
        cause: Some(error.to_string()),
        ..Failure::new(format!("the database {} cannot be read", database.display()), Failure::PERMISSION)
    };
    let file = match File::open(database) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(PLAIN.len() as u64).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Bits that nobody can guess. Without them no key is made.
pub fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| Failure::internal("the system gives no random numbers", &error))?;
    Ok(bytes)
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a new file for its owner alone, through to the disk.
pub fn private_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes names in a folder durable.
pub fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn unusable(source: &Source, cause: &str) -> Failure {
    Failure {
        message: format!("the root key in {} cannot be used", source.words()),
        cause: Some(cause.to_owned()),
        hint: None,
        code: Failure::PERMISSION,
    }
}

fn key_missing(here: Installation<'_>) -> Failure {
    let usual = here.sources.usual.as_ref().map_or_else(String::new, |path| format!(" {} or", path.display()));
    Failure {
        message: format!("the key of the data folder {} is missing", here.config.data_dir.display()),
        cause: Some(format!(
            "{SLOTS} says that there is one, and it is neither in a credential, a file nor the environment"
        )),
        hint: Some(format!(
            "put it back into{usual} the file that --root-key-file names; with the recovery code: `blufio vault unlock`"
        )),
        code: Failure::PERMISSION,
    }
}

fn slots_missing(data_dir: &Path) -> Failure {
    Failure {
        message: format!("{} is missing", data_dir.join(SLOTS).display()),
        cause: Some("the database is encrypted, and that file says with which key".to_owned()),
        hint: Some("restore it from the backup that the database is from".to_owned()),
        code: Failure::PERMISSION,
    }
}
