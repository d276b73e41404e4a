//! The last moments of a keeper's copy before it becomes the program: it leaves everything behind that is not the program's.

use crate::confine::{NotHeld, hold};
use crate::spawner::Terms;
use crate::{harmless, sys};
use rustix::process::{Pid, Signal};
use std::convert::Infallible;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

/// Everything the program gets.
pub struct Start<'a> {
    pub program: OwnedFd,
    pub folder: OwnedFd,
    pub output: OwnedFd,
    pub argv: Vec<CString>,
    pub env: Vec<CString>,
    pub keeper: Pid,
    /// What holds for every program.
    pub terms: &'a Terms,
}

/// Why the program did not start.
pub enum NotStarted {
    /// It cannot be executed.
    Refused(String),
    /// It cannot be held.
    Weak(String),
    /// A call failed.
    Broken(String),
}

/// Becomes the program; returns only if that fails.
pub fn become_program(start: &Start<'_>) -> Result<Infallible, NotStarted> {
    let broken = |what: &'static str| move |error: io::Error| NotStarted::Broken(format!("{what}: {error}"));
    prepare(start).map_err(broken("preparing the program"))?;
    hold(start.terms.workspace.as_fd(), start.terms.time, start.terms.allow_weak).map_err(|why| match why {
        NotHeld::Weak(why) => NotStarted::Weak(why.to_owned()),
        NotHeld::Failed(what, error) => NotStarted::Broken(format!("the program cannot be confined ({what}): {error}")),
    })?;
    sys::execute(start.program.as_fd(), &start.argv, &start.env)
        .map_err(|error| NotStarted::Refused(format!("the program cannot be executed: {error}")))
}

fn prepare(start: &Start<'_>) -> io::Result<()> {
    // A session and group of its own, without a terminal.
    rustix::process::setsid()?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid() != Some(start.keeper) {
        return Err(io::Error::other("the keeper is gone"));
    }
    // Whoever needs memory takes it from here first.
    harmless(std::fs::write("/proc/self/oom_score_adj", "1000"), "nothing else depends on it");
    let nothing = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty())?;
    rustix::stdio::dup2_stdin(&nothing)?;
    rustix::stdio::dup2_stdout(&start.output)?;
    rustix::stdio::dup2_stderr(&start.output)?;
    rustix::process::fchdir(&start.folder)?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    sys::default_sigpipe();
    sys::close_on_exec_from_3()
}
