//! A Unix socket that talks to this user only: mode 0600, and the kernel says who connects.

use axum::serve::Listener;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::net::unix::SocketAddr;
use tokio::net::{UnixListener, UnixStream};

/// After the process ran out of something it needs to accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The listener.
pub struct Private {
    listener: UnixListener,
    user: u32,
}

impl Private {
    /// Replaces what an earlier process left; the caller holds the data folder's lock, so nobody else is using it.
    pub fn bind(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(path)?;
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(path, private)?;
        Ok(Self { listener, user: rustix::process::geteuid().as_raw() })
    }

    fn may(&self, stream: &UnixStream) -> bool {
        let peer = stream.peer_cred().map(|peer| peer.uid());
        matches!(peer, Ok(user) if user == self.user || user == 0)
    }
}

impl Listener for Private {
    type Io = UnixStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (UnixStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) if self.may(&stream) => return (stream, address),
                Ok(_) => tracing::warn!("another user tried the control socket"),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
