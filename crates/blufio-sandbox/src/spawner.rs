//! The spawner: waits for calls and makes a keeper for each. It reads nothing of what is to be run. Where programs run, for
//! how long and how strictly was said when it was started; no call can say otherwise.

use crate::confine::{keep_signals_inside, open_folder};
use crate::frame::HANDLES;
use crate::harmless;
use crate::keeper::{self, Call};
use crate::sys::{self, Forked};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open};
use std::ffi::OsString;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Keepers at once. Full: the call is dropped, which its caller sees as a closed socket; the server asks for fewer.
const KEEPERS_MAX: usize = 16;

/// Runs until the server is gone. Its socket is the standard input.
#[must_use]
pub fn run() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// What holds for every program.
pub struct Terms {
    /// Where programs run, and what they may touch.
    pub workspace: OwnedFd,
    /// Over: killed.
    pub time: Duration,
    /// Run them without Landlock if there is none.
    pub allow_weak: bool,
}

impl Terms {
    /// The arguments with which the spawner is started.
    pub fn arguments(workspace: &Path, time: Duration, allow_weak: bool) -> [OsString; 3] {
        [workspace.into(), time.as_millis().to_string().into(), allow_weak.to_string().into()]
    }

    fn read() -> io::Result<Self> {
        let none = || io::Error::from(io::ErrorKind::InvalidInput);
        let mut arguments = std::env::args_os().skip(2);
        let workspace = open_folder(Path::new(&arguments.next().ok_or_else(none)?))?;
        let mut word = || arguments.next().and_then(|word| word.into_string().ok()).ok_or_else(none);
        let time = Duration::from_millis(word()?.parse().map_err(|_| none())?);
        let allow_weak = word()?.parse().map_err(|_| none())?;
        Ok(Self { workspace, time, allow_weak })
    }
}

/// A keeper and the handle that tells of its end.
struct Keeper {
    pid: Pid,
    ended: OwnedFd,
}

fn serve() -> io::Result<()> {
    let mut control = take_socket()?;
    let terms = Terms::read()?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::process::setsid()?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    rustix::process::chdir("/")?;
    harmless(rustix::thread::set_name(c"blufio-spawner"), "a name for people who look at processes");
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(rustix::process::Resource::Core, none)?;
    let scoped = keep_signals_inside()?;
    let mut keepers: Vec<Keeper> = Vec::new();
    loop {
        if !wait(&control, &keepers)? {
            keeper::end(scoped);
            return Ok(());
        }
        if collect(&mut keepers)? {
            // A keeper that was killed, or could not end everything, may have left something behind that nobody watches.
            keeper::end(scoped);
            keepers.clear();
        }
        match receive(&control) {
            Ok(Received::Call(call)) if keepers.len() < KEEPERS_MAX => {
                keepers.extend(make_keeper(&mut control, &terms, call)?);
            }
            Ok(Received::Call(_) | Received::Nothing) => {}
            Ok(Received::Closed) => {
                keeper::end(scoped);
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
}

/// The socket from standard input, which becomes empty.
fn take_socket() -> io::Result<OwnedFd> {
    sys::close_on_exec_from_3()?;
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let nothing = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty())?;
    rustix::stdio::dup2_stdin(&nothing)?;
    Ok(socket)
}

/// Waits for something to do; `false`: the server is gone.
fn wait(control: &OwnedFd, keepers: &[Keeper]) -> io::Result<bool> {
    let mut events = vec![PollFd::new(control, PollFlags::IN)];
    events.extend(keepers.iter().map(|keeper| PollFd::new(&keeper.ended, PollFlags::IN)));
    match poll(&mut events, None) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(!events.first().is_some_and(|event| event.revents().contains(PollFlags::HUP)))
}

/// Forgets the keepers that ended; says whether one did so in disorder.
fn collect(keepers: &mut Vec<Keeper>) -> io::Result<bool> {
    let mut disorder = false;
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                let known = keepers.iter().any(|keeper| keeper.pid == pid);
                disorder |= known && status.exit_status() != Some(0);
                keepers.retain(|keeper| keeper.pid != pid);
            }
            Err(Errno::INTR) => {}
            Ok(None) | Err(Errno::CHILD) => return Ok(disorder),
            Err(error) => return Err(error.into()),
        }
    }
}

enum Received {
    Call([OwnedFd; HANDLES]),
    Nothing,
    Closed,
}

/// Takes one call if there is one. What does not have the right number of handles is no call.
fn receive(control: &OwnedFd) -> io::Result<Received> {
    let mut byte = [0; 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(HANDLES))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let bytes = match recvmsg(control, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, flags) {
        Ok(message) => message.bytes,
        Err(Errno::AGAIN | Errno::INTR) => return Ok(Received::Nothing),
        Err(Errno::CONNRESET) => return Ok(Received::Closed),
        Err(error) => return Err(error.into()),
    };
    let handles: Vec<OwnedFd> = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(handles) => Some(handles),
            _ => None,
        })
        .flatten()
        .collect();
    if bytes == 0 {
        return Ok(Received::Closed);
    }
    Ok(handles.try_into().map_or(Received::Nothing, Received::Call))
}

/// `None`: no process could be made; the caller sees its socket closed.
fn make_keeper(
    control: &mut OwnedFd,
    terms: &Terms,
    [socket, program, folder]: [OwnedFd; HANDLES],
) -> io::Result<Option<Keeper>> {
    let spawner = pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
    match sys::fork() {
        Ok(Forked::Child) => {
            // The socket is the spawner's alone, so that the server sees when that is gone.
            if rustix::io::dup3(rustix::stdio::stdin(), control, rustix::io::DupFlags::CLOEXEC).is_err() {
                sys::exit(1);
            }
            sys::exit(keeper::keep(Call { socket, program, folder, spawner }, terms))
        }
        Ok(Forked::Parent(pid)) => Ok(Some(Keeper { pid, ended: pidfd_open(pid, PidfdFlags::empty())? })),
        Err(_) => Ok(None),
    }
}
