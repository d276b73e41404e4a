//! A byte-exact HTTP/1.1 server for the fakes: the handler decides every byte, also the illegal ones.
//!
//! A well-behaved server library cannot answer with half a chunk, a wrong `content-length` or a TCP reset, and those
//! are what the fakes are for. So a handler gets the parsed request and the connection itself (as [`Responder`]).
//! This file refuses to know any API that is spoken on top of it, TLS, compression and HTTP/2.

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, Bytes, BytesMut};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv, sockopt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

/// Largest accepted request body, after removing chunk framing; a larger one is answered 413.
pub const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Largest accepted request line plus headers; a larger one is answered 431.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Most header lines of one request.
pub const HEADERS_MAX: usize = 128;
/// Bytes that [`Responder::closed_by_peer`] keeps for the next request before it stops reading.
const READ_AHEAD_BYTES_MAX: usize = 1024 * 1024;

/// One complete request.
#[derive(Debug, Clone)]
pub struct Request {
    /// Method as sent, for example `POST`.
    pub method: String,
    /// Path as sent, without the query and without decoding.
    pub path: String,
    /// Query parameters, percent-decoded; of a repeated name the last one stays.
    pub query: BTreeMap<String, String>,
    /// Headers in the order sent, names in lower case, values as (lossy) UTF-8.
    pub headers: Vec<(String, String)>,
    /// Body without transfer framing.
    pub body: Bytes,
    /// Number of the TCP connection, counted from 1 per server.
    pub connection: u64,
}

impl Request {
    /// First value of the header `name` (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What a fake does with a request. It runs once per request, one request of a connection at a time.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. A `responder` that is dropped unanswered closes the connection.
    fn handle(&self, request: Request, responder: Responder) -> impl Future<Output = ()> + Send;
}

/// A running server; dropping it closes the listener and every connection.
#[derive(Debug)]
pub struct HttpServer {
    addr: SocketAddr,
    accepted: Arc<AtomicU64>,
    accept_loop: JoinHandle<()>,
}

impl HttpServer {
    /// Listens on `addr` (port 0 picks a free one) and serves until dropped.
    pub async fn start<H: Handler>(addr: SocketAddr, handler: Arc<H>) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let accepted = Arc::new(AtomicU64::new(0));
        let accept_loop = tokio::spawn(accept(listener, handler, Arc::clone(&accepted)));
        Ok(Self { addr, accepted, accept_loop })
    }

    /// The address that was bound.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://address:port`, without a slash at the end.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// TCP connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        // The connections live in a JoinSet inside this task and end with it.
        self.accept_loop.abort();
    }
}

async fn accept<H: Handler>(listener: TcpListener, handler: Arc<H>, accepted: Arc<AtomicU64>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            incoming = listener.accept() => {
                let Ok((stream, _)) = incoming else { continue };
                if stream.set_nodelay(true).is_err() {
                    continue;
                }
                let number = accepted.fetch_add(1, Ordering::Relaxed) + 1;
                connections.spawn(serve(Connection { stream, read: BytesMut::new(), number }, Arc::clone(&handler)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

struct Connection {
    stream: TcpStream,
    read: BytesMut,
    number: u64,
}

async fn serve<H: Handler>(mut connection: Connection, handler: Arc<H>) {
    loop {
        let (request, keep_alive) = match read_request(&mut connection).await {
            Ok(Some(read)) => read,
            Ok(None) => return,
            Err(Unreadable::Gone) => return,
            Err(Unreadable::Illegal(status)) => {
                let answer = render(status, &[("connection", "close")], b"");
                // The peer broke the protocol; whether it still listens does not matter.
                if connection.stream.write_all(&answer).await.is_ok() {
                    drop(connection.stream.shutdown().await);
                }
                return;
            }
        };
        let (give_back, returned) = oneshot::channel();
        let responder = Responder { connection, give_back, keep_alive };
        handler.handle(request, responder).await;
        match returned.await {
            Ok(returned) => connection = returned,
            Err(_) => return,
        }
    }
}

/// The connection, for the time of one answer.
pub struct Responder {
    connection: Connection,
    give_back: oneshot::Sender<Connection>,
    keep_alive: bool,
}

impl Responder {
    /// Sends a whole answer in one write and returns the connection for the next request.
    ///
    /// `content-length` is added unless `headers` has one; `connection: close` in `headers` closes afterwards.
    pub async fn full(mut self, status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) {
        self.keep_alive &= !closes(headers);
        let answer = render(status, headers, body.as_ref());
        if self.raw(&answer).await.is_ok() {
            self.keep_open();
        }
    }

    /// Sends status and headers of an answer whose body follows by [`chunk`](Self::chunk).
    pub async fn start_chunked(&mut self, status: u16, headers: &[(&str, &str)]) -> io::Result<()> {
        self.keep_alive &= !closes(headers);
        let mut head = render_head(status, headers);
        head.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
        self.raw(&head).await
    }

    /// Sends one body chunk in one write. An empty one is left out, since it would end the body.
    pub async fn chunk(&mut self, data: &[u8]) -> io::Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        let mut framed = format!("{:x}\r\n", data.len()).into_bytes();
        framed.extend_from_slice(data);
        framed.extend_from_slice(b"\r\n");
        self.raw(&framed).await
    }

    /// Ends a chunked body and returns the connection for the next request.
    pub async fn finish(mut self) {
        if self.raw(b"0\r\n\r\n").await.is_ok() {
            self.keep_open();
        }
    }

    /// Sends these bytes as they are. Fails when the peer is gone.
    pub async fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.connection.stream.write_all(bytes).await
    }

    /// Returns the connection for the next request, after an answer made of [`raw`](Self::raw) parts.
    pub fn keep_open(self) {
        if self.keep_alive {
            // Refused only when the server is being dropped.
            drop(self.give_back.send(self.connection));
        }
    }

    /// Closes the connection without another byte.
    pub fn close(self) {
        drop(self);
    }

    /// Resets the connection: the peer sees `ECONNRESET`, not an end of file.
    pub fn reset(self) {
        let linger = Some(std::time::Duration::ZERO);
        sockopt::set_socket_linger(&self.connection.stream, linger).expect("an open socket takes the option");
    }

    /// Whether the peer has already closed or reset the connection, asked of the kernel without waiting. What the peer
    /// did before it wrote anything on another connection of this server is seen here for certain.
    pub fn peer_is_gone(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match recv(&self.connection.stream, &mut [0_u8; 1], flags) {
            Ok((_, received)) => received == 0,
            Err(error) => error != Errno::AGAIN && error != Errno::INTR,
        }
    }

    /// Resolves when the peer has closed (or half-closed) the connection. Cancelling loses nothing: bytes that arrive
    /// meanwhile are the begin of the next request.
    pub async fn closed_by_peer(&mut self) {
        loop {
            if self.connection.read.len() >= READ_AHEAD_BYTES_MAX {
                return pending().await;
            }
            match self.connection.stream.read_buf(&mut self.connection.read).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }
}

/// A whole answer as bytes, for handlers that cut or damage it. Adds `content-length` unless `headers` has one.
pub fn render(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut answer = render_head(status, headers);
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
        answer.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    answer.extend_from_slice(b"\r\n");
    answer.extend_from_slice(body);
    answer
}

fn render_head(status: u16, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} {}\r\n", reason(status)).into_bytes();
    for (name, value) in headers {
        head.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    head
}

fn closes(headers: &[(&str, &str)]) -> bool {
    headers.iter().any(|(name, value)| name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close"))
}

fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        529 => "Overloaded",
        _ => "Status",
    }
}

enum Unreadable {
    /// The peer went away in the middle of a request.
    Gone,
    /// Not HTTP as this server speaks it; the status to answer with.
    Illegal(u16),
}

impl From<io::Error> for Unreadable {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

struct Head {
    bytes: usize,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    http_1_1: bool,
}

/// The next request and whether the connection may live on; `None` after an orderly end between two requests.
async fn read_request(connection: &mut Connection) -> Result<Option<(Request, bool)>, Unreadable> {
    let head = loop {
        if let Some(head) = parse_head(&connection.read)? {
            break head;
        }
        if connection.read.len() > HEAD_BYTES_MAX {
            return Err(Unreadable::Illegal(431));
        }
        if connection.stream.read_buf(&mut connection.read).await? == 0 {
            return if connection.read.is_empty() { Ok(None) } else { Err(Unreadable::Gone) };
        }
    };
    connection.read.advance(head.bytes);

    let find = |name: &str| head.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let chunked = find("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    let length = match find("content-length") {
        Some(value) => value.trim().parse::<usize>().map_err(|_| Unreadable::Illegal(400))?,
        None => 0,
    };
    if length > BODY_BYTES_MAX {
        return Err(Unreadable::Illegal(413));
    }
    if find("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
        connection.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let keep_alive = head.http_1_1 && !find("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    let body = if chunked { read_chunked(connection).await? } else { take(connection, length).await? };

    let (path, query) = head.target.split_once('?').unwrap_or((&head.target, ""));
    let request = Request {
        method: head.method,
        path: path.to_owned(),
        query: form_pairs(query.as_bytes()).into_iter().collect(),
        headers: head.headers,
        body,
        connection: connection.number,
    };
    Ok(Some((request, keep_alive)))
}

fn parse_head(read: &[u8]) -> Result<Option<Head>, Unreadable> {
    let mut lines = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut lines);
    let bytes = match parsed.parse(read) {
        Ok(httparse::Status::Complete(bytes)) => bytes,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Unreadable::Illegal(431)),
        Err(_) => return Err(Unreadable::Illegal(400)),
    };
    let headers = parsed
        .headers
        .iter()
        .map(|line| (line.name.to_ascii_lowercase(), String::from_utf8_lossy(line.value).into_owned()))
        .collect();
    Ok(Some(Head {
        bytes,
        method: parsed.method.unwrap_or_default().to_owned(),
        target: parsed.path.unwrap_or_default().to_owned(),
        headers,
        http_1_1: parsed.version == Some(1),
    }))
}

/// Exactly `length` bytes from the connection.
async fn take(connection: &mut Connection, length: usize) -> Result<Bytes, Unreadable> {
    if length > connection.read.len() {
        connection.read.reserve(length - connection.read.len());
    }
    while connection.read.len() < length {
        if connection.stream.read_buf(&mut connection.read).await? == 0 {
            return Err(Unreadable::Gone);
        }
    }
    Ok(connection.read.split_to(length).freeze())
}

async fn read_chunked(connection: &mut Connection) -> Result<Bytes, Unreadable> {
    let mut body = BytesMut::new();
    loop {
        let (start, size) = loop {
            match httparse::parse_chunk_size(&connection.read) {
                Ok(httparse::Status::Complete(found)) => break found,
                Ok(httparse::Status::Partial) => {}
                Err(_) => return Err(Unreadable::Illegal(400)),
            }
            if connection.stream.read_buf(&mut connection.read).await? == 0 {
                return Err(Unreadable::Gone);
            }
        };
        let size = usize::try_from(size).map_err(|_| Unreadable::Illegal(413))?;
        if size > BODY_BYTES_MAX - body.len() {
            return Err(Unreadable::Illegal(413));
        }
        connection.read.advance(start);
        // The last chunk is followed by optional trailer lines; clients of the fakes send none.
        let data = take(connection, size + 2).await?;
        if !data.ends_with(b"\r\n") {
            return Err(Unreadable::Illegal(400));
        }
        if size == 0 {
            return Ok(body.freeze());
        }
        body.extend_from_slice(&data[..size]);
    }
}

/// The pairs of an `application/x-www-form-urlencoded` text, decoded, in the order sent.
pub fn form_pairs(text: &[u8]) -> Vec<(String, String)> {
    text.split(|&byte| byte == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let equals = pair.iter().position(|&byte| byte == b'=');
            let (name, value) = equals.map_or((pair, &pair[..0]), |at| (&pair[..at], &pair[at + 1..]));
            (decode(name), decode(value))
        })
        .collect()
}

fn decode(text: &[u8]) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match (byte, hex.and_then(|pair| u8::from_str_radix(pair, 16).ok())) {
            (b'%', Some(value)) => {
                decoded.push(value);
                rest = &after[2..];
                continue;
            }
            (b'+', _) => decoded.push(b' '),
            _ => decoded.push(byte),
        }
        rest = after;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Mirror;

    impl Handler for Mirror {
        async fn handle(&self, request: Request, mut responder: Responder) {
            match request.path.as_str() {
                "/chunked" => {
                    responder.start_chunked(200, &[]).await.unwrap();
                    responder.chunk(b"one").await.unwrap();
                    responder.chunk(b"two").await.unwrap();
                    responder.finish().await;
                }
                "/reset" => responder.reset(),
                "/close" => responder.close(),
                "/wait" => {
                    responder.closed_by_peer().await;
                    responder.close();
                }
                _ => {
                    let text = format!("{} {} {:?} ", request.method, request.connection, request.query);
                    responder.full(200, &[("x-mirror", "1")], [text.as_bytes(), &request.body].concat()).await;
                }
            }
        }
    }

    async fn exchange(send: &[&str]) -> io::Result<String> {
        let server = HttpServer::start(([127, 0, 0, 1], 0).into(), Arc::new(Mirror)).await?;
        let mut stream = TcpStream::connect(server.addr()).await?;
        for part in send {
            stream.write_all(part.as_bytes()).await?;
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn keep_alive_serves_pipelined_requests_of_one_connection() {
        let answer = exchange(&[
            "POST /a?x=1+2&y=%C3%A9 HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc",
            "POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\nconnection: close\r\n\r\n3\r\nde",
            "f\r\n2\r\ngh\r\n0\r\n\r\n",
        ])
        .await
        .unwrap();
        let first =
            "HTTP/1.1 200 OK\r\nx-mirror: 1\r\ncontent-length: 34\r\n\r\nPOST 1 {\"x\": \"1 2\", \"y\": \"é\"} abc";
        let second = "HTTP/1.1 200 OK\r\nx-mirror: 1\r\ncontent-length: 15\r\n\r\nPOST 1 {} defgh";
        assert_eq!(answer, format!("{first}{second}"));
    }

    #[tokio::test]
    async fn chunks_are_framed_and_ended() {
        let answer = exchange(&["GET /chunked HTTP/1.0\r\n\r\n"]).await.unwrap();
        assert_eq!(answer, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n");
    }

    #[tokio::test]
    async fn close_and_reset_differ_for_the_peer() {
        assert_eq!(exchange(&["GET /close HTTP/1.1\r\n\r\n"]).await.unwrap(), "");
        let error = exchange(&["GET /reset HTTP/1.1\r\n\r\n"]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn illegal_requests_get_a_status() {
        assert!(exchange(&["nonsense\r\n\r\n"]).await.unwrap().starts_with("HTTP/1.1 400 "));
        let huge = format!("POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n", BODY_BYTES_MAX + 1);
        assert!(exchange(&[&huge]).await.unwrap().starts_with("HTTP/1.1 413 "));
    }
}
