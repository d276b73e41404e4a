//! The walls themselves, put up by the process that they hold: around the server, around the spawner and its keepers (nobody
//! outside can be signalled), and around a started program.

use crate::{PROGRAMS, READABLE, Report, ServerPaths, SetupError, Walls, filter, sys};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, RestrictSelfAttr, RestrictionStatus, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, setrlimit};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

/// The newest rights that were looked at for these walls; on an older kernel those that it knows are used.
const KNOWN: ABI = ABI::V9;
/// From this version on Landlock keeps signals and abstract sockets inside.
const SCOPES_FROM: u32 = 6;
/// From this version on Landlock looks at truncating.
const TRUNCATE_FROM: u32 = 3;

/// Bytes of address space of a started program. Over: it gets no more memory.
const ADDRESS_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// Bytes of one file that it writes. Over: it gets SIGXFSZ.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Handles that it has open. Over: it gets no more.
const HANDLES_MAX: u64 = 256;
/// Tasks that it and its children may add to those of the user. Over: it cannot start any. The kernel does not count for root.
const TASKS_MAX: u64 = 128;
/// Processor time beyond the time it may take, since the end of that is handled first.
const CPU_SPARE: Duration = Duration::from_secs(2);

/// What this machine offers and this process does.
#[must_use]
pub fn report() -> Report {
    Report {
        landlock_abi: sys::landlock_abi(),
        seccomp: has_seccomp(),
        dumpable: !matches!(rustix::process::dumpable_behavior(), Ok(DumpableBehavior::NotDumpable)),
        core_bytes_max: getrlimit(Resource::Core).current,
    }
}

fn has_seccomp() -> bool {
    rustix::thread::secure_computing_mode().is_ok()
}

/// Keeps a handle to `/proc/self` for the life of the process: Landlock knows the folder by what the kernel holds in memory
/// for it, and without a handle that could be thrown away and made anew.
static PROC_SELF: Mutex<Option<PathFd>> = Mutex::new(None);

/// Takes from this thread, and from every thread and process that it starts, everything but the named files; no program can
/// be started any more. Call it before there are other threads.
///
/// # Errors
/// The kernel has Landlock and it did not work.
pub fn confine_server(paths: &ServerPaths) -> Result<Walls, SetupError> {
    if sys::landlock_abi().is_none() {
        return Ok(Walls::Missing);
    }
    let up = || -> Result<Walls, RulesetError> {
        let mut walls =
            Ruleset::default().handle_access(AccessFs::from_all(ABI::V5))?.scope(Scope::Signal)?.create()?;
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        for path in &paths.write {
            walls = allow(walls, path, all_but_execute())?;
        }
        for path in paths.read.iter().chain(&always_read()) {
            walls = allow(walls, path, read)?;
        }
        walls = allow(walls, Path::new("/dev/null"), AccessFs::ReadFile | AccessFs::WriteFile)?;
        if let Ok(own) = PathFd::new("/proc/self") {
            walls = walls.add_rule(PathBeneath::new(&own, read))?;
            if let Ok(mut kept) = PROC_SELF.lock() {
                *kept = Some(own);
            }
        }
        let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
        Ok(if is_up(&walls.all_threads(true)?.restrict_self()?) { Walls::Up { threads } } else { Walls::Missing })
    };
    up().map_err(io::Error::other).map_err(SetupError::at("the server cannot be confined"))
}

/// Read by every server: name lookup, certificates, the time, randomness. `/etc` as a whole, since the files there
/// are replaced rather than changed (a new `resolv.conf` is a new file, which a rule for the old one would not cover).
fn always_read() -> Vec<PathBuf> {
    let fixed = [
        "/etc",
        "/usr/share/zoneinfo",
        "/usr/share/ca-certificates",
        "/usr/local/share/ca-certificates",
        "/usr/lib/ssl",
        "/dev/urandom",
        // A static binary finds no `getrandom` by name, and its libraries then wait at this one before they read the other.
        "/dev/random",
        "/run/systemd/resolve",
    ];
    let mut paths: Vec<PathBuf> = fixed.iter().map(PathBuf::from).collect();
    for link in ["/etc/resolv.conf", "/etc/localtime", "/etc/hosts"] {
        let target = fs::canonicalize(link).ok();
        paths.extend(target.and_then(|target| Some(target.parent()?.to_owned())));
    }
    // A link that leads nowhere special must not open everything.
    paths.retain(|path| path.components().count() > 2 || path == Path::new("/etc"));
    paths
}

fn all_but_execute() -> BitFlags<AccessFs> {
    let devices = AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev;
    AccessFs::from_all(ABI::V5) & !(devices | AccessFs::Execute)
}

/// Adds a rule for a path; one that is not there needs none.
fn allow(
    walls: RulesetCreated,
    path: &Path,
    access: impl Into<BitFlags<AccessFs>>,
) -> Result<RulesetCreated, RulesetError> {
    let Ok(handle) = PathFd::new(path) else { return Ok(walls) };
    allow_handle(walls, handle.as_fd(), access)
}

fn allow_handle(
    walls: RulesetCreated,
    handle: BorrowedFd<'_>,
    access: impl Into<BitFlags<AccessFs>>,
) -> Result<RulesetCreated, RulesetError> {
    let folder = rustix::fs::fstat(handle)
        .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory);
    let access = access.into();
    let access = if folder { access } else { access & AccessFs::from_file(KNOWN) };
    walls.add_rule(PathBeneath::new(handle, access))
}

fn is_up(status: &RestrictionStatus) -> bool {
    status.ruleset != RulesetStatus::NotEnforced && status.no_new_privs
}

/// From now on this process and what it starts can signal nobody else. `false`: this kernel cannot do that.
pub fn keep_signals_inside() -> io::Result<bool> {
    let scoped = || -> Result<bool, RulesetError> {
        // Moving files between folders is the one thing that every domain forbids unless it says otherwise.
        let walls = Ruleset::default().handle_access(AccessFs::Refer)?.scope(Scope::Signal)?.create()?;
        let status = allow(walls, Path::new("/"), AccessFs::Refer)?.restrict_self()?;
        Ok(status.ruleset == RulesetStatus::FullyEnforced)
    };
    if sys::landlock_abi().is_none_or(|abi| abi < SCOPES_FROM) {
        return Ok(false);
    }
    scoped().map_err(io::Error::other)
}

/// Why a program cannot be held.
#[derive(Debug)]
pub enum NotHeld {
    /// The kernel does not offer enough.
    Weak(&'static str),
    /// A call failed.
    Failed(&'static str, io::Error),
}

/// Puts every wall around this process, which is about to become a program of the workspace.
pub fn hold(workspace: BorrowedFd<'_>, time: Duration, allow_weak: bool) -> Result<(), NotHeld> {
    let failed = |what| move |error: io::Error| NotHeld::Failed(what, error);
    if !has_seccomp() {
        return Err(NotHeld::Weak("the kernel cannot filter system calls"));
    }
    let abi = sys::landlock_abi();
    if abi.is_none() && !allow_weak {
        return Err(NotHeld::Weak("the kernel has no Landlock"));
    }
    limits(time).map_err(failed("limits"))?;
    let root = rustix::process::geteuid().is_root();
    give_up_capabilities().map_err(failed("capabilities"))?;
    if abi.is_some() {
        let status = landlock(workspace).map_err(io::Error::other).map_err(failed("landlock"))?;
        if !is_up(&status) {
            return Err(NotHeld::Weak("Landlock does not take effect"));
        }
    }
    rustix::thread::set_no_new_privs(true).map_err(|error| NotHeld::Failed("privileges", error.into()))?;
    let gaps = filter::Gaps {
        signals: abi.is_none_or(|abi| abi < SCOPES_FROM),
        truncate: abi.is_none_or(|abi| abi < TRUNCATE_FROM),
        root,
    };
    for program in filter::programs(gaps).map_err(failed("filter"))? {
        seccompiler::apply_filter(&program).map_err(io::Error::other).map_err(failed("filter"))?;
    }
    Ok(())
}

/// Files, TCP, signals, abstract sockets.
fn landlock(workspace: BorrowedFd<'_>) -> Result<RestrictionStatus, RulesetError> {
    let mut walls = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .scope(Scope::from_all(KNOWN))?
        .create()?;
    let run = AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Execute;
    for path in PROGRAMS {
        walls = allow(walls, Path::new(path), run)?;
    }
    for path in READABLE {
        walls = allow(walls, Path::new(path), AccessFs::ReadFile | AccessFs::ReadDir)?;
    }
    let null = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate;
    walls = allow(walls, Path::new("/dev/null"), null)?;
    let sockets = AccessFs::MakeSock | AccessFs::ResolveUnix;
    let own = (all_but_execute() | AccessFs::Execute) & !sockets;
    allow_handle(walls, workspace, own)?.restrict_self()
}

fn limits(time: Duration) -> io::Result<()> {
    let set = |resource, most: u64| setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
    set(Resource::Core, 0)?;
    set(Resource::As, ADDRESS_BYTES_MAX)?;
    set(Resource::Cpu, (time + CPU_SPARE).as_secs().max(1))?;
    set(Resource::Fsize, FILE_BYTES_MAX)?;
    set(Resource::Nofile, HANDLES_MAX)?;
    set(Resource::Msgqueue, 0)?;
    if !rustix::process::getuid().is_root() {
        let most = (tasks_of_user() + TASKS_MAX).min(getrlimit(Resource::Nproc).maximum.unwrap_or(u64::MAX));
        set(Resource::Nproc, most)?;
    }
    Ok(())
}

/// Tasks that run as this user now; the kernel's limit counts them all.
fn tasks_of_user() -> u64 {
    let user = rustix::process::getuid().as_raw().to_string();
    let tasks = |entry: fs::DirEntry| -> Option<u64> {
        let name = entry.file_name().into_string().ok()?;
        name.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        let field = |name| status.lines().find_map(|line| line.strip_prefix(name));
        field("Uid:")?.split_whitespace().next().filter(|real| *real == user)?;
        field("Threads:")?.trim().parse().ok()
    };
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(tasks).sum()
}

/// Root without its powers; anybody else has none to begin with.
fn give_up_capabilities() -> io::Result<()> {
    use rustix::thread::{CapabilitySet, CapabilitySets};
    let none = CapabilitySet::empty();
    rustix::thread::clear_ambient_capability_set()?;
    Ok(rustix::thread::set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?)
}

/// A handle to a folder, for rules and for walking.
pub fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}
