//! Opens what a call names, once, and says what a yes to it is held to.

use blufio_core::port::{Binding, EXEC_ARGS_BYTES_MAX, EXEC_ARGS_MAX, ExecError, ExecRequest, never_always};
use rustix::fs::{FileType, MemfdFlags, Mode, OFlags, ResolveFlags, SealFlags, Stat, fstat, open, openat2};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Bytes of a path. Over: refused.
const PATH_BYTES_MAX: usize = 4_096;
/// Bytes of a program of the workspace, which is copied so that nothing can change it while it starts. Over: refused.
const COPY_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Bytes of a program of the system. Over: refused.
const PROGRAM_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Bytes of the files that arguments name, whose content belongs to the yes. Over: their size and time do.
const NAMED_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// What was opened.
pub struct Opened {
    pub program: OwnedFd,
    pub folder: OwnedFd,
    /// The program's name first.
    pub argv: Vec<String>,
    pub env: Vec<String>,
    pub binding: Binding,
}

/// The workspace, as a handle and by its name.
pub struct Workspace {
    pub handle: OwnedFd,
    pub path: PathBuf,
}

/// Opens program and folder.
pub fn open_all(workspace: &Workspace, request: &ExecRequest) -> Result<Opened, ExecError> {
    check(request)?;
    let folder = open_cwd(workspace, request.cwd.as_deref())?;
    let found = open_program(workspace, &request.program)?;
    let env = environment(workspace, request.zone.as_deref());
    let argv: Vec<String> = std::iter::once(&request.program).chain(&request.args).cloned().collect();
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    add(b"blufio-exec-v1");
    add(&place(&found.stat));
    add(&found.content);
    for texts in [&argv, &env] {
        add(&(texts.len() as u64).to_be_bytes());
        texts.iter().for_each(|text| add(text.as_bytes()));
    }
    let at = fstat(&folder).map_err(|error| broken("the folder", error))?;
    add(&place(&at));
    let mut left = NAMED_BYTES_MAX;
    for argument in &request.args {
        add(&named(workspace, request.cwd.as_deref(), argument, &mut left)?);
    }
    let binding = Binding { hash: hex(&hash.finalize()), always: found.always };
    Ok(Opened { program: found.program, folder, argv, env, binding })
}

fn check(request: &ExecRequest) -> Result<(), ExecError> {
    let bytes: usize = request.args.iter().map(String::len).sum();
    if request.args.len() > EXEC_ARGS_MAX || bytes > EXEC_ARGS_BYTES_MAX {
        return refused(format!(
            "at most {EXEC_ARGS_MAX} arguments of {EXEC_ARGS_BYTES_MAX} bytes in all are possible"
        ));
    }
    let zero = |text: &str| text.contains('\0');
    if request.args.iter().any(|argument| zero(argument)) || zero(&request.program) {
        return refused("an argument contains a zero byte".to_owned());
    }
    if !request.program.starts_with('/') || request.program.len() > PATH_BYTES_MAX {
        return refused("`program` must be an absolute path, such as `/usr/bin/sort`".to_owned());
    }
    Ok(())
}

/// The fixed environment: five variables, and nothing from anywhere else.
fn environment(workspace: &Workspace, zone: Option<&str>) -> Vec<String> {
    let mut env = vec![
        "PATH=/usr/bin:/bin".to_owned(),
        format!("HOME={}", workspace.path.display()),
        "LANG=C.UTF-8".to_owned(),
        "TERM=dumb".to_owned(),
    ];
    // A name such as `Europe/Berlin`; a path would name a file.
    let plain = |zone: &&str| zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte));
    env.extend(zone.filter(plain).filter(|zone| !zone.starts_with('/')).map(|zone| format!("TZ={zone}")));
    env
}

/// Never out of the workspace, never through a link.
fn open_cwd(workspace: &Workspace, cwd: Option<&str>) -> Result<OwnedFd, ExecError> {
    let name = cwd.filter(|cwd| !cwd.is_empty()).unwrap_or(".");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let shown = name.escape_debug();
    openat2(&workspace.handle, name, flags, Mode::empty(), inside).or_else(|error| match error {
        Errno::XDEV | Errno::LOOP | Errno::INVAL => {
            refused(format!("`{shown}` leads out of the workspace or through a link"))
        }
        Errno::NOENT | Errno::NOTDIR => refused(format!("there is no folder `{shown}` in the workspace")),
        Errno::ACCESS | Errno::NAMETOOLONG => refused(format!("`{shown}` cannot be entered")),
        error => Err(broken("the folder", error)),
    })
}

/// A program, opened and read.
struct Found {
    program: OwnedFd,
    stat: Stat,
    content: Vec<u8>,
    always: bool,
}

fn open_program(workspace: &Workspace, path: &str) -> Result<Found, ExecError> {
    let shown = path.escape_debug();
    // Without waiting for the other end of a pipe, should somebody name one.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = open(path, flags, Mode::empty()).or_else(|error| match error {
        Errno::NOENT | Errno::NOTDIR => refused(format!("there is no program `{shown}`")),
        Errno::ACCESS | Errno::PERM | Errno::LOOP | Errno::NAMETOOLONG | Errno::NXIO => {
            refused(format!("`{shown}` cannot be used; programs of /usr, /bin and the workspace can be"))
        }
        error => Err(broken("the program", error)),
    })?;
    let stat = fstat(&opened).map_err(|error| broken("the program", error))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_mode & 0o111 == 0 {
        return refused(format!("`{shown}` is not a program"));
    }
    let real = real_path(opened.as_fd()).map_err(|error| ExecError::Broken(format!("the program's path: {error}")))?;
    let own = real.starts_with(&workspace.path);
    if !own && !crate::PROGRAMS.iter().any(|folder| real.starts_with(folder)) {
        return refused(format!("`{shown}` lies elsewhere; programs of /usr, /bin and the workspace can be run"));
    }
    let most = if own { COPY_BYTES_MAX } else { PROGRAM_BYTES_MAX };
    if u64::try_from(stat.st_size).unwrap_or(u64::MAX) > most {
        return refused(format!("`{shown}` is larger than {} MiB", most >> 20));
    }
    let read = |error: io::Error| ExecError::Broken(format!("the program cannot be read: {error}"));
    let mut file = File::from(opened);
    let mut first = [0; 2];
    let script = file.read_exact(&mut first).is_ok() && first == *b"#!";
    if script {
        return refused(format!("`{shown}` is a script: run its interpreter, with the script as an argument"));
    }
    file.seek(SeekFrom::Start(0)).map_err(read)?;
    let (content, program) = if own {
        sealed_copy(&mut file, most).map_err(read)?
    } else {
        (digest(&mut file, most, |_| Ok(())).map_err(read)?, OwnedFd::from(file))
    };
    let always = !own && !never_always(path) && !never_always(&real.to_string_lossy());
    Ok(Found { program, stat, content, always })
}

/// The digest of what can be read, at most `bytes_max`, each piece of which is also given away.
fn digest(from: &mut File, bytes_max: u64, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<Vec<u8>> {
    let mut digest = Sha256::new();
    let mut chunk = vec![0; 64 * 1024];
    let mut from = from.take(bytes_max);
    loop {
        let read = from.read(&mut chunk)?;
        let part = chunk.get(..read).unwrap_or_default();
        if part.is_empty() {
            return Ok(digest.finalize().to_vec());
        }
        digest.update(part);
        take(part)?;
    }
}

/// Reads a program into memory that nobody can change any more.
fn sealed_copy(from: &mut File, bytes_max: u64) -> io::Result<(Vec<u8>, OwnedFd)> {
    let copy = rustix::fs::memfd_create("program", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut to = File::from(copy);
    let content = digest(from, bytes_max, |part| to.write_all(part))?;
    rustix::fs::fchmod(&to, Mode::from_raw_mode(0o500))?;
    rustix::fs::fcntl_add_seals(&to, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    // A file that is open for writing cannot be executed.
    let readable = open(own_handle(to.as_fd()), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok((content, readable))
}

/// Where the kernel shows a handle of this process.
fn own_handle(of: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", of.as_raw_fd()))
}

fn real_path(of: BorrowedFd<'_>) -> io::Result<PathBuf> {
    std::fs::read_link(own_handle(of))
}

/// What an argument stands for if it names a file of the workspace: a script, say, which must not be another one after the
/// yes. Nothing for every other argument.
fn named(workspace: &Workspace, cwd: Option<&str>, argument: &str, left: &mut u64) -> Result<Vec<u8>, ExecError> {
    let value = argument.split_once('=').filter(|_| argument.starts_with('-')).map_or(argument, |(_, value)| value);
    let inside = match Path::new(value).strip_prefix(&workspace.path) {
        Ok(inside) => inside.to_owned(),
        Err(_) if value.starts_with('/') => return Ok(Vec::new()),
        Err(_) => Path::new(cwd.unwrap_or("")).join(value),
    };
    if inside.as_os_str().is_empty() || inside.as_os_str().len() > PATH_BYTES_MAX {
        return Ok(Vec::new());
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let Ok(opened) = openat2(&workspace.handle, &inside, flags, Mode::empty(), beneath) else { return Ok(Vec::new()) };
    let stat = fstat(&opened).map_err(|error| broken("a named file", error))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(Vec::new());
    }
    let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    let mut said = place(&stat);
    if size <= *left {
        *left -= size;
        let content = digest(&mut File::from(opened), size + 1, |_| Ok(()));
        said.extend(content.map_err(|error| ExecError::Broken(format!("a named file cannot be read: {error}")))?);
    } else {
        said.extend_from_slice(&size.to_be_bytes());
        said.extend_from_slice(&stat.st_mtime.to_be_bytes());
        said.extend_from_slice(&stat.st_mtime_nsec.to_be_bytes());
    }
    Ok(said)
}

/// Which file it is, whatever its name.
fn place(stat: &Stat) -> Vec<u8> {
    let mut bytes = stat.st_dev.to_be_bytes().to_vec();
    bytes.extend_from_slice(&stat.st_ino.to_be_bytes());
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn refused<T>(why: String) -> Result<T, ExecError> {
    Err(ExecError::Refused(why))
}

fn broken(what: &str, error: Errno) -> ExecError {
    ExecError::Broken(format!("{what}: {error}"))
}
