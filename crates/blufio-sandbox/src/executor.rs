//! The server's side: starts the spawner, hands calls to it and waits for what comes of them.

use crate::confine::open_folder;
use crate::frame::{self, HANDLES, How, REPLY_BYTES_MAX, REQUEST_BYTES_MAX, Reply, Request};
use crate::prepare::{Opened, Workspace, open_all};
use crate::spawner::Terms;
use crate::{SPAWNER, SetupError, SpawnerOptions};
use blufio_core::port::{
    Binding, Boxed, EXEC_OUTPUT_BYTES_MAX, EXEC_TIME_MAX, Ended, ExecError, ExecOutcome, ExecRequest, Executor,
    Prepared,
};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg, socketpair,
};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;

/// Programs that run at once. Full: the next one waits for its turn.
const RUNNING_MAX: usize = 4;

/// The spawner, as the server sees it. It ends with the last handle to it, and with the process.
pub struct Spawner(Arc<Inner>);

struct Inner {
    control: OwnedFd,
    workspace: Workspace,
    running: Semaphore,
    process: Child,
}

impl Spawner {
    /// Starts it. Call this before the process has threads or sockets, and before it confines itself.
    ///
    /// # Errors
    /// The workspace cannot be opened, or no process can be made.
    pub fn start(options: SpawnerOptions<'_>) -> Result<Self, SetupError> {
        Self::start_with(options, EXEC_TIME_MAX)
    }

    /// The same with another limit of time.
    ///
    /// # Errors
    /// As [`Spawner::start`].
    pub fn start_with(options: SpawnerOptions<'_>, time: Duration) -> Result<Self, SetupError> {
        let path = options.workspace.canonicalize().map_err(SetupError::at("the workspace cannot be found"))?;
        let handle = open_folder(&path).map_err(SetupError::at("the workspace cannot be opened"))?;
        let (control, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(io::Error::from)
            .map_err(SetupError::at("no socket for the helper process"))?;
        let process = Command::new(options.executable)
            .arg0("blufio-spawner")
            .arg(SPAWNER)
            .args(Terms::arguments(&path, time, options.allow_weak))
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(SetupError::at("the helper process cannot be started"))?;
        let workspace = Workspace { handle, path };
        let running = Semaphore::new(RUNNING_MAX);
        Ok(Self(Arc::new(Inner { control, workspace, running, process })))
    }

    /// Its process number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.process.id()
    }
}

impl Executor for Spawner {
    fn prepare(&self, request: &ExecRequest) -> Result<Box<dyn Prepared>, ExecError> {
        let opened = open_all(&self.0.workspace, request)?;
        Ok(Box::new(Ready { opened, inner: self.0.clone() }))
    }
}

/// A program that was opened and looked at.
struct Ready {
    opened: Opened,
    inner: Arc<Inner>,
}

impl Prepared for Ready {
    fn binding(&self) -> &Binding {
        &self.opened.binding
    }

    fn run(self: Box<Self>) -> Boxed<'static, Result<ExecOutcome, ExecError>> {
        Box::pin(async move { run(*self).await.unwrap_or_else(|error| Err(broken(&error))) })
    }
}

fn broken(error: &io::Error) -> ExecError {
    let gone = "the process that starts programs is gone, or dropped the call; a restart brings it back";
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
            ExecError::Broken(gone.to_owned())
        }
        _ => ExecError::Broken(format!("the process that starts programs cannot be reached: {error}")),
    }
}

async fn run(ready: Ready) -> io::Result<Result<ExecOutcome, ExecError>> {
    let Ready { opened, inner } = ready;
    let Ok(_turn) = inner.running.acquire().await else { return Err(io::ErrorKind::BrokenPipe.into()) };
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    let handles = [theirs.as_fd(), opened.program.as_fd(), opened.folder.as_fd()];
    send(inner.control.as_fd(), &handles)?;
    // What is sent is theirs; as long as a copy were open here, the end of the keeper could not be seen.
    drop(theirs);
    let request = Request { argv: opened.argv, env: opened.env, output_bytes: EXEC_OUTPUT_BYTES_MAX };
    drop((opened.program, opened.folder));
    let ours = std::os::unix::net::UnixStream::from(ours);
    ours.set_nonblocking(true)?;
    let mut socket = UnixStream::from_std(ours)?;
    socket.write_all(&frame::encode(&request, REQUEST_BYTES_MAX)?).await?;
    let mut head = [0; 4];
    socket.read_exact(&mut head).await?;
    let mut body = vec![0; frame::length(head, REPLY_BYTES_MAX)?];
    socket.read_exact(&mut body).await?;
    Ok(outcome(frame::decode(&body)?))
}

/// The handles of a call, with one byte, since a message without any is none.
fn send(control: BorrowedFd<'_>, handles: &[BorrowedFd<'_>; HANDLES]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(HANDLES))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(handles)) {
        return Err(io::Error::other("no room for the handles"));
    }
    // The spawner takes calls faster than RUNNING_MAX of them could fill the socket.
    sendmsg(control, &[IoSlice::new(b"c")], &mut ancillary, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?;
    Ok(())
}

fn outcome(reply: Reply) -> Result<ExecOutcome, ExecError> {
    match reply {
        Reply::Ran { how, output, discarded, time_ms } => {
            let ended = match how {
                How::Exited(code) => Ended::Exited(code),
                How::Signalled(signal) => Ended::Signalled(signal),
                How::TimedOut => Ended::TimedOut,
            };
            Ok(ExecOutcome { ended, output, discarded, time: Duration::from_millis(time_ms) })
        }
        Reply::Refused(why) => Err(ExecError::Refused(why)),
        Reply::Weak(why) => Err(ExecError::Weak(why)),
        Reply::Broken(why) => Err(ExecError::Broken(why)),
    }
}
