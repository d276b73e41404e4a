//! Stands between the binary and a fake and notes when requests arrive and answers leave.
//!
//! The times are taken on the side of the binary, so what the fake needs for its strictness is not counted as the binary's.
//! Refuses to know what requests mean.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::http::{Handler, HttpServer, Request, Responder};

/// An answered request.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Last part of the path: the method of the Bot API, or `messages`.
    pub name: String,
    /// When the whole request had arrived.
    pub received: Instant,
    /// When the last bytes of the answer were about to leave.
    pub finished: Instant,
    /// Bytes of the answer, head included.
    pub bytes: usize,
}

/// A running tap.
pub struct Tap {
    server: HttpServer,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: SocketAddr,
    idle: Mutex<Vec<TcpStream>>,
    exchanges: Mutex<Vec<Exchange>>,
    finished: Notify,
}

impl Tap {
    /// Listens on a free port and passes everything on to `upstream`.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
        let (idle, exchanges, finished) = (Mutex::default(), Mutex::default(), Notify::new());
        let shared = Arc::new(Shared { upstream, idle, exchanges, finished });
        let server = HttpServer::start((Ipv4Addr::LOCALHOST, 0).into(), Arc::clone(&shared)).await?;
        Ok(Self { server, shared })
    }

    /// `http://address:port`, without a slash at the end.
    pub fn base_url(&self) -> String {
        self.server.base_url()
    }

    /// Takes the exchanges that were finished since the last call, in the order of their ends.
    pub fn take(&self) -> Vec<Exchange> {
        std::mem::take(&mut lock(&self.shared.exchanges))
    }

    /// Waits until an exchange of this name is finished and not taken yet.
    pub async fn finished(&self, name: &str) {
        loop {
            // Registered by its creation (all are woken at once), so nothing falls between the look and the wait.
            let finished = self.shared.finished.notified();
            if lock(&self.shared.exchanges).iter().any(|exchange| exchange.name == name) {
                return;
            }
            finished.await;
        }
    }
}

impl Handler for Shared {
    async fn handle(&self, request: Request, responder: Responder) {
        let received = Instant::now();
        // A request that the fake did not answer leaves the binary without an answer too.
        drop(self.pass(&request, received, responder).await);
    }
}

impl Shared {
    async fn pass(&self, request: &Request, received: Instant, mut responder: Responder) -> io::Result<()> {
        let idle = lock(&self.idle).pop();
        let mut upstream = match idle {
            Some(stream) => stream,
            None => TcpStream::connect(self.upstream).await?,
        };
        upstream.set_nodelay(true)?;
        upstream.write_all(&bytes_of(request)).await?;
        let name = request.path.rsplit('/').next().unwrap_or_default().to_owned();
        let mut answer = Vec::new();
        let mut sent = 0;
        loop {
            tokio::select! {
                read = upstream.read_buf(&mut answer) => if read? == 0 { return Err(io::ErrorKind::UnexpectedEof.into()) },
                () = responder.closed_by_peer() => return Ok(()),
            }
            let complete = is_complete(&answer);
            if complete {
                // Noted before the last bytes leave, so that whoever sees their effect finds the note.
                let exchange = Exchange { name: name.clone(), received, finished: Instant::now(), bytes: answer.len() };
                lock(&self.exchanges).push(exchange);
                self.finished.notify_waiters();
            }
            responder.raw(&answer[sent..]).await?;
            sent = answer.len();
            if complete {
                lock(&self.idle).push(upstream);
                responder.keep_open();
                return Ok(());
            }
        }
    }
}

fn bytes_of(request: &Request) -> Vec<u8> {
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.path);
    for (name, value) in
        request.headers.iter().filter(|(name, _)| name != "transfer-encoding" && name != "content-length")
    {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", request.body.len()));
    [head.as_bytes(), &request.body].concat()
}

/// Whether an answer of a fake is there to its end. Chunked bodies of the fakes never contain the mark of the end.
fn is_complete(answer: &[u8]) -> bool {
    let mut lines = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut lines);
    let Ok(httparse::Status::Complete(start)) = head.parse(answer) else { return false };
    let value =
        |name: &str| head.headers.iter().find(|line| line.name.eq_ignore_ascii_case(name)).map(|line| line.value);
    match value("content-length").and_then(|length| std::str::from_utf8(length).ok()?.parse::<usize>().ok()) {
        Some(length) => answer.len() >= start + length,
        None => answer[start..].ends_with(b"\r\n0\r\n\r\n") || &answer[start..] == b"0\r\n\r\n",
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::botapi::{BotApiConfig, FakeBotApi};

    #[test]
    fn the_end_of_an_answer_is_found() {
        assert!(!is_complete(b"HTTP/1.1 200 OK\r\ncontent-le"));
        assert!(!is_complete(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na"));
        assert!(is_complete(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab"));
        assert!(!is_complete(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n"));
        assert!(is_complete(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"));
    }

    #[tokio::test]
    async fn exchanges_pass_and_are_noted() {
        let fake = FakeBotApi::start(BotApiConfig::default()).await.unwrap();
        let tap = Tap::start(fake.addr()).await.unwrap();
        let before = Instant::now();
        let mut stream = TcpStream::connect(tap.server.addr()).await.unwrap();
        for _ in 0..2 {
            stream.write_all(b"POST /bot1:TEST/getMe HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            let mut answer = Vec::new();
            while !is_complete(&answer) {
                assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
            }
            assert!(String::from_utf8_lossy(&answer).contains("blufio_test_bot"));
        }
        let exchanges = tap.take();
        assert_eq!(exchanges.len(), 2);
        assert!(exchanges.iter().all(|exchange| exchange.name == "getMe" && exchange.received > before));
        assert!(tap.take().is_empty());
        assert_eq!(fake.connections(), 1);
    }
}
