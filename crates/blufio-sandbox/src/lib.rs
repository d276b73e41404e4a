//! Walls: the helper process that starts programs (*spawner*), what holds such a program, and what holds the server itself.
//!
//! ```text
//! blufio serve ──socket──▶ spawner ──fork──▶ keeper, one per call ──fork──▶ program and whatever it starts
//!  Landlock:                no secrets,       knows the time limit,           Landlock, seccomp, limits,
//!  no exec, its own files   no network use    the output, who to kill         environment of five variables
//! ```
//!
//! The spawner is this binary once more, started before the server has threads, with an empty environment and one socket. For
//! each call it forks a keeper, which ends everything its program started, whatever that did to get away. Only this crate
//! names Landlock, seccomp and the C library; the one module with `unsafe` is `sys`. What runs, and who allowed it, is not
//! known here.

#[cfg(target_os = "linux")]
mod confine;
#[cfg(target_os = "linux")]
mod executor;
#[cfg(target_os = "linux")]
mod filter;
#[cfg(target_os = "linux")]
mod frame;
#[cfg(target_os = "linux")]
mod keeper;
#[cfg(target_os = "linux")]
mod prepare;
#[cfg(target_os = "linux")]
mod program;
#[cfg(target_os = "linux")]
mod spawner;
#[cfg(target_os = "linux")]
mod sys;

#[cfg(not(target_os = "linux"))]
mod absent;

#[cfg(not(target_os = "linux"))]
pub use absent::{Spawner, confine_server, report, run_spawner};
#[cfg(target_os = "linux")]
pub use confine::{confine_server, report};
#[cfg(target_os = "linux")]
pub use executor::Spawner;
#[cfg(target_os = "linux")]
pub use spawner::run as run_spawner;

use std::path::{Path, PathBuf};

/// Ends this process with an exit code, and nothing else: handlers of libraries for the end of a process do not run. OpenSSL's
/// frees what threads that are still busy use, and a process that aborts on its way out looks like a crash to its service
/// manager. Flush what was written before.
pub fn end_process(code: u8) -> ! {
    #[cfg(target_os = "linux")]
    sys::exit(code.into());
    #[cfg(not(target_os = "linux"))]
    std::process::exit(code.into())
}

/// Gives back the memory of what only the start needed of this program: megabytes, for a server that waits from then on. What
/// is used again is mapped again, from the page cache.
pub fn forget_start() {
    #[cfg(target_os = "linux")]
    sys::unmap_unchanged_program();
}

/// The first argument with which this binary is the spawner.
pub const SPAWNER: &str = "__spawner";

/// Folders whose programs may run, besides the workspace; also everything such a program may read outside of it, together
/// with [`READABLE`].
pub const PROGRAMS: &[&str] = &["/usr", "/bin", "/lib", "/lib64"];
/// What a program may read besides [`PROGRAMS`]: certificates, and where shared libraries are.
pub const READABLE: &[&str] =
    &["/etc/ssl", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.preload"];

/// How the spawner is started.
#[derive(Clone, Copy, Debug)]
pub struct SpawnerOptions<'a> {
    /// The binary that becomes the spawner when its first argument is [`SPAWNER`]; normally `/proc/self/exe`.
    pub executable: &'a Path,
    /// The folder in which programs run; it has to exist.
    pub workspace: &'a Path,
    /// Programs run even where the kernel has no Landlock.
    pub allow_weak: bool,
}

/// What the server may still touch when it has confined itself.
#[derive(Clone, Debug, Default)]
pub struct ServerPaths {
    /// Read, written, created and removed below these.
    pub write: Vec<PathBuf>,
    /// Read only, besides what every server needs (name lookup, certificates, time zones, `/proc/self`).
    pub read: Vec<PathBuf>,
}

/// How far the server is confined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walls {
    /// No program can be started, and no file be touched but those named.
    Up {
        /// Threads that the process had at that moment. More than one: the others are not held, unless the kernel is 7.0
        /// or newer.
        threads: usize,
    },
    /// The kernel has no Landlock.
    Missing,
}

/// What this machine offers for confinement, and what this process does to keep its memory to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Version of the kernel's Landlock; `None`: it has none, or it is switched off.
    pub landlock_abi: Option<u32>,
    /// The kernel can filter system calls.
    pub seccomp: bool,
    /// Other processes of the same user can read this one's memory.
    pub dumpable: bool,
    /// Largest core dump in bytes; `None`: any size.
    pub core_bytes_max: Option<u64>,
}

/// Why the spawner or the server's walls could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub struct SetupError {
    /// What was tried.
    pub what: &'static str,
    /// What the system said.
    pub source: std::io::Error,
}

impl SetupError {
    fn at(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self { what, source }
    }
}

/// For a call whose failure changes nothing; `why` says so.
#[cfg(target_os = "linux")]
fn harmless<T, E>(_done: Result<T, E>, _why: &'static str) {}
