//! One call: reads what to run, runs it, and ends everything that came of it.
//!
//! A keeper is a copy of the spawner with one thread. It lies in a Landlock domain of its own, so `kill(-1)` from here reaches
//! all that its program started and nothing else, in one step that no fork escapes; orphans come back to it, since it is a
//! subreaper. Where the kernel cannot keep signals inside, it kills by looking for children again and again.

use crate::confine::keep_signals_inside;
use crate::frame::{self, How, REPLY_BYTES_MAX, REQUEST_BYTES_MAX, Reply, Request};
use crate::harmless;
use crate::program::{NotStarted, Start, become_program};
use crate::spawner::Terms;
use crate::sys::{self, Forked};
use blufio_core::ingress::clean;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, kill_process, kill_process_group, pidfd_open};
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long the request may take to arrive; it is sent before the keeper is there.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(5);
/// How long the killed may take to be gone. Over: they are left to the spawner, which goes on killing.
const END_TIME_MAX: Duration = Duration::from_secs(5);
/// Zombies of a running program are collected this often.
const COLLECT: Duration = Duration::from_secs(1);
/// Bytes read at once; also the size of the pipe, so that a program with much to say is not slowed down.
const CHUNK_BYTES: usize = 1024 * 1024;

/// The handles of a call, as the server sent them.
pub struct Call {
    pub socket: OwnedFd,
    pub program: OwnedFd,
    pub folder: OwnedFd,
    /// The spawner; readable when it is gone.
    pub spawner: OwnedFd,
}

/// Keeps one call and says with what exit code this process ends: not 0 if something may have been left running.
pub fn keep(call: Call, terms: &Terms) -> i32 {
    let prepared = rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(io::Error::from)
        .and_then(|()| keep_signals_inside());
    harmless(rustix::thread::set_name(c"blufio-keeper"), "a name for people who look at processes");
    let socket = UnixStream::from(call.socket);
    let scoped = match prepared {
        Ok(scoped) => scoped,
        Err(error) => return answer(&socket, &Reply::Broken(format!("a keeper cannot be set up: {error}"))),
    };
    let request: Request = match read_request(&socket) {
        Ok(request) => request,
        Err(error) => return answer(&socket, &Reply::Broken(format!("a request cannot be read: {error}"))),
    };
    let kept_max = request.output_bytes.min(blufio_core::port::EXEC_OUTPUT_BYTES_MAX);
    let mut output = match nowhere() {
        Ok(nowhere) => Output { kept: Vec::new(), kept_max, discarded: 0, nowhere },
        Err(error) => return answer(&socket, &Reply::Broken(format!("a keeper cannot be set up: {error}"))),
    };
    let started = monotonic();
    let child = match start(call.program, call.folder, request, terms) {
        Ok(child) => child,
        Err(reply) => return i32::from(!end(scoped)).max(answer(&socket, &reply)),
    };
    let how = watch(&child, &mut output, started + terms.time, [socket.as_fd(), call.spawner.as_fd()]);
    let time = monotonic().saturating_sub(started);
    let clean_end = end(scoped);
    let reply = match how {
        Ok(Some(how)) => {
            // What is in the pipe was said before the end; nobody is left who could say more.
            while matches!(output.take(&child.output), Ok(read) if read > 0) {}
            output.reply(how, time)
        }
        // Nobody is interested any more.
        Ok(None) => return i32::from(!clean_end),
        Err(error) => Reply::Broken(format!("a program cannot be watched: {error}")),
    };
    i32::from(!clean_end).max(answer(&socket, &reply))
}

/// Swallows everything.
fn nowhere() -> io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    Ok(rustix::fs::open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Time since some fixed point.
fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX), tv_nsec: duration.subsec_nanos().into() }
}

fn read_request(socket: &UnixStream) -> io::Result<Request> {
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(REQUEST_TIME_MAX))?;
    socket.set_write_timeout(Some(REQUEST_TIME_MAX))?;
    frame::read(socket, REQUEST_BYTES_MAX)
}

/// The server may be gone; then nobody is there to be told.
fn answer(socket: &UnixStream, reply: &Reply) -> i32 {
    i32::from(
        frame::write(socket, reply, REPLY_BYTES_MAX).is_err_and(|error| error.kind() == io::ErrorKind::InvalidData),
    )
}

/// The program while it runs.
struct Child {
    pid: Pid,
    ended: OwnedFd,
    output: File,
}

fn start(program: OwnedFd, folder: OwnedFd, request: Request, terms: &Terms) -> Result<Child, Reply> {
    let broken = |what: &'static str| move |error: Errno| Reply::Broken(format!("{what}: {error}"));
    let texts = |texts: Vec<String>| texts.into_iter().map(CString::new).collect::<Result<Vec<_>, _>>();
    let text = |_| Reply::Refused("an argument contains a zero byte".to_owned());
    let (argv, env) = (texts(request.argv).map_err(text)?, texts(request.env).map_err(text)?);
    let (output, output_end) = pipe_with(PipeFlags::CLOEXEC).map_err(broken("no pipe for the output"))?;
    let (trouble, trouble_end) = pipe_with(PipeFlags::CLOEXEC).map_err(broken("no pipe for errors"))?;
    harmless(rustix::pipe::fcntl_setpipe_size(&output, CHUNK_BYTES), "a smaller pipe is slower and nothing else");
    rustix::fs::fcntl_setfl(&output, rustix::fs::OFlags::NONBLOCK).map_err(broken("the output"))?;
    let keeper = rustix::process::getpid();
    let start = Start { program, terms, folder, output: output_end, argv, env, keeper };
    match sys::fork() {
        Ok(Forked::Child) => {
            let Err(why) = become_program(&start);
            tell(trouble_end, &why);
            sys::exit(127)
        }
        Ok(Forked::Parent(pid)) => {
            drop((start, trouble_end));
            // The other end closes when the program is executed.
            let mut said = String::new();
            let read = File::from(trouble).take(4_096).read_to_string(&mut said);
            if read.is_err() || !said.is_empty() {
                return Err(told(&said));
            }
            let ended = pidfd_open(pid, PidfdFlags::empty()).map_err(broken("the program cannot be watched"))?;
            Ok(Child { pid, ended, output: File::from(output) })
        }
        Err(error) => Err(Reply::Broken(format!("no process: {error}"))),
    }
}

/// First a letter for the kind, then the words.
fn tell(to: OwnedFd, why: &NotStarted) {
    use std::io::Write;
    let (kind, words) = match why {
        NotStarted::Refused(words) => ('r', words),
        NotStarted::Weak(words) => ('w', words),
        NotStarted::Broken(words) => ('b', words),
    };
    harmless(write!(File::from(to), "{kind}{words}"), "an empty pipe takes a short text, and its reader waits for it");
}

fn told(said: &str) -> Reply {
    match said.split_at_checked(1) {
        Some(("r", words)) => Reply::Refused(words.to_owned()),
        Some(("w", words)) => Reply::Weak(words.to_owned()),
        Some((_, words)) => Reply::Broken(words.to_owned()),
        None => Reply::Broken("the program did not start".to_owned()),
    }
}

/// What the program printed.
struct Output {
    kept: Vec<u8>,
    kept_max: usize,
    discarded: u64,
    /// Where the rest goes.
    nowhere: OwnedFd,
}

impl Output {
    /// Takes what is there, at most one chunk, and says how much that was.
    fn take(&mut self, from: &File) -> io::Result<usize> {
        let left = self.kept_max - self.kept.len();
        if left == 0 {
            // What nobody wants is not even copied.
            let thrown = splice(from, None, &self.nowhere, None, CHUNK_BYTES, SpliceFlags::NONBLOCK)?;
            self.discarded += thrown as u64;
            return Ok(thrown);
        }
        let mut chunk = [0; 64 * 1024];
        let room = chunk.len().min(left);
        let read = rustix::io::read(from, chunk.get_mut(..room).unwrap_or_default())?;
        self.kept.extend_from_slice(chunk.get(..read).unwrap_or_default());
        Ok(read)
    }

    fn reply(self, how: How, time: Duration) -> Reply {
        let mut output = clean(&String::from_utf8_lossy(&self.kept)).into_owned();
        // Bytes that are no text become longer.
        let end = output.floor_char_boundary(self.kept_max);
        let discarded = self.discarded + (output.len() - end) as u64;
        output.truncate(end);
        Reply::Ran { how, output, discarded, time_ms: u64::try_from(time.as_millis()).unwrap_or(u64::MAX) }
    }
}

/// Waits for the end of the program, of its time, or of those who are interested (`None`), and takes its output meanwhile.
fn watch(
    child: &Child,
    output: &mut Output,
    until: Duration,
    [server, spawner]: [BorrowedFd<'_>; 2],
) -> io::Result<Option<How>> {
    let mut open = true;
    loop {
        let left = until.saturating_sub(monotonic());
        if left.is_zero() {
            return Ok(Some(How::TimedOut));
        }
        if let Some(how) = collect(child.pid)? {
            return Ok(Some(how));
        }
        let hung_up = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        let mut events = vec![
            PollFd::new(&server, PollFlags::RDHUP),
            PollFd::new(&spawner, PollFlags::IN),
            PollFd::new(&child.ended, PollFlags::IN),
        ];
        if open {
            events.push(PollFd::new(&child.output, PollFlags::IN));
        }
        match poll(&mut events, Some(&timespec(left.min(COLLECT)))) {
            Err(Errno::INTR) | Ok(0) => continue,
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        }
        let said = |place: usize| events.get(place).map_or(PollFlags::empty(), PollFd::revents);
        if said(0).intersects(hung_up) || said(1).intersects(PollFlags::IN | hung_up) {
            return Ok(None);
        }
        if !said(3).is_empty() {
            open = match output.take(&child.output) {
                Ok(read) => read > 0,
                Err(error) => error.kind() == io::ErrorKind::WouldBlock,
            };
        }
    }
}

/// Collects all that have ended; `Some` if the program itself is among them.
fn collect(program: Pid) -> io::Result<Option<How>> {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == program => return Ok(Some(how(status))),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

fn how(status: WaitStatus) -> How {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => How::Exited(code),
        (None, signal) => How::Signalled(signal.unwrap_or(0)),
    }
}

/// Ends everything below this process; says whether all of it is gone.
pub fn end(scoped: bool) -> bool {
    let until = monotonic() + END_TIME_MAX;
    loop {
        kill_all(scoped);
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(Errno::CHILD) => return true,
                Err(_) => return false,
            }
        }
        if monotonic() > until {
            return false;
        }
        // Something dies right now; it is looked at again soon.
        harmless(poll(&mut [], Some(&timespec(Duration::from_millis(1)))), "it only waits");
    }
}

fn kill_all(scoped: bool) {
    // Before all that may be signalled is killed, it is tried out whether that is really only what is below.
    let parent = rustix::process::getppid();
    let inside = parent.is_some_and(|parent| rustix::process::test_kill_process(parent) == Err(Errno::PERM));
    if scoped && inside && rustix::process::test_kill_process(Pid::INIT) == Err(Errno::PERM) {
        // Group 1 stands for everybody (`kill(-1)`).
        harmless(kill_process_group(Pid::INIT, Signal::KILL), "nobody being there is what is wanted");
        return;
    }
    for child in children() {
        // Its group first: it leads one unless it is an orphan.
        harmless(kill_process_group(child, Signal::KILL), "it may have ended by itself, or lead no group");
        harmless(kill_process(child, Signal::KILL), "it may have ended by itself");
    }
}

/// Processes whose parent this one is.
fn children() -> Vec<Pid> {
    let own = rustix::process::getpid().as_raw_nonzero();
    let list = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}
