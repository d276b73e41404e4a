//! A fake web: pages by path over plain HTTP, a front that speaks TLS for it, and a listener that must never be reached.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::http::{Handler, HttpServer, Request, Responder};

/// How a body is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manner {
    /// At once.
    Whole,
    /// Again and again, until the client hangs up.
    Endless,
    /// A byte at a time, with a pause after each.
    Drip(Duration),
    /// With this `content-length`, whatever its length is; then the connection is closed.
    Lying(u64),
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Status of HTTP.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// How the body is sent.
    pub manner: Manner,
}

impl Reply {
    /// A page of this type.
    pub fn page(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Self { status: 200, headers, body: body.into(), manner: Manner::Whole }
    }

    /// A redirect.
    pub fn redirect(to: &str) -> Self {
        let headers = vec![("location".to_owned(), to.to_owned())];
        Self { status: 302, headers, body: Vec::new(), manner: Manner::Whole }
    }

    /// The same with one more header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same, sent in another way.
    pub fn sent(self, manner: Manner) -> Self {
        Self { manner, ..self }
    }
}

#[derive(Default)]
struct Pages {
    replies: Mutex<BTreeMap<String, Reply>>,
    requests: Mutex<Vec<Request>>,
}

/// A running server; stops when dropped.
pub struct FakeWeb {
    pages: Arc<Pages>,
    http: HttpServer,
}

impl FakeWeb {
    /// Listens on a free port of this machine. A path without a page is answered 404.
    ///
    /// # Errors
    /// No port could be bound.
    pub async fn start() -> io::Result<Self> {
        let pages = Arc::new(Pages::default());
        let http = HttpServer::start((Ipv4Addr::LOCALHOST, 0).into(), Arc::clone(&pages)).await?;
        Ok(Self { pages, http })
    }

    /// Puts a page under a path.
    pub fn set(&self, path: &str, reply: Reply) {
        lock(&self.pages.replies).insert(path.to_owned(), reply);
    }

    /// Requests so far, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.pages.requests).clone()
    }

    /// `http://127.0.0.1:port`.
    pub fn base_url(&self) -> String {
        self.http.base_url()
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.http.addr()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Handler for Pages {
    async fn handle(&self, request: Request, mut responder: Responder) {
        let reply = lock(&self.replies).get(&request.path).cloned();
        lock(&self.requests).push(request);
        let Some(Reply { status, headers, body, manner }) = reply else {
            return responder.full(404, &[("content-type", "text/plain")], "no such page").await;
        };
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        match manner {
            Manner::Whole => responder.full(status, &headers, body).await,
            Manner::Lying(length) => {
                let length = length.to_string();
                let headers =
                    [headers.as_slice(), &[("content-length", length.as_str()), ("connection", "close")]].concat();
                responder.full(status, &headers, body).await;
            }
            // Both end when the client hangs up, which it must.
            Manner::Endless => {
                if responder.start_chunked(status, &headers).await.is_ok() {
                    while responder.chunk(&body).await.is_ok() {}
                }
            }
            Manner::Drip(pause) => {
                if responder.start_chunked(status, &headers).await.is_ok() {
                    for byte in body.iter().cycle() {
                        if responder.chunk(&[*byte]).await.is_err() {
                            break;
                        }
                        tokio::time::sleep(pause).await;
                    }
                }
            }
        }
    }
}

/// Speaks TLS for another server of this machine.
pub struct TlsFront {
    address: SocketAddr,
    certificate: Vec<u8>,
    names: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl TlsFront {
    /// Listens on a free port of this machine, with a new certificate for these names.
    ///
    /// # Errors
    /// No port could be bound.
    pub async fn start(names: &[&str], to: SocketAddr) -> io::Result<Self> {
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
        let key = KeyPair::generate().expect("a key can be made");
        let params = CertificateParams::new(names).expect("the names are names");
        let certificate = params.self_signed(&key).expect("a certificate can be signed").der().to_vec();
        let chain = vec![CertificateDer::from(certificate.clone())];
        let private = PrivateKeyDer::try_from(key.serialize_der()).expect("the key has its form");
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the defaults fit")
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .expect("the key fits the certificate");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let names = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(front(listener, TlsAcceptor::from(Arc::new(config)), to, Arc::clone(&names)));
        Ok(Self { address, certificate, names, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its certificate (DER), to be trusted.
    pub fn certificate(&self) -> Vec<u8> {
        self.certificate.clone()
    }

    /// The names that clients asked for in their handshakes, oldest first; without one, nothing.
    pub fn names(&self) -> Vec<String> {
        lock(&self.names).clone()
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn front(listener: TcpListener, acceptor: TlsAcceptor, to: SocketAddr, names: Arc<Mutex<Vec<String>>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, names) = (acceptor.clone(), Arc::clone(&names));
        connections.spawn(async move {
            // A client that ends early ends its connection; the test sees it at the other side.
            let Ok(mut secure) = acceptor.accept(stream).await else { return };
            lock(&names).push(secure.get_ref().1.server_name().unwrap_or_default().to_owned());
            let Ok(mut plain) = TcpStream::connect(to).await else { return };
            drop(tokio::io::copy_bidirectional(&mut secure, &mut plain).await);
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Where a canary's own connections come from.
const OWN: Ipv4Addr = Ipv4Addr::new(127, 7, 7, 7);

/// A listener that counts who connects and says nothing. It listens at an address of IPv4.
pub struct Canary {
    address: SocketAddr,
    peers: Arc<Mutex<Vec<SocketAddr>>>,
    own: Mutex<usize>,
    task: JoinHandle<()>,
}

impl Canary {
    /// Listens at this address; port 0 picks a free one.
    ///
    /// # Errors
    /// The address could not be bound.
    pub async fn start(at: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(at).await?;
        let address = listener.local_addr()?;
        let peers = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&peers);
        let task = tokio::spawn(async move {
            while let Ok((_stream, peer)) = listener.accept().await {
                lock(&seen).push(peer);
            }
        });
        Ok(Self { address, peers, own: Mutex::new(0), task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many had connected before this call. Connections are accepted in order: once one of its own is there, all are.
    ///
    /// # Errors
    /// It could not be reached itself.
    pub async fn connects(&self) -> io::Result<usize> {
        // From an address that nobody else comes from: the ports of others are used again.
        let socket = TcpSocket::new_v4()?;
        socket.bind((OWN, 0).into())?;
        let _connected = socket.connect(self.address).await?;
        let own = {
            let mut own = lock(&self.own);
            *own += 1;
            *own
        };
        let mine = || lock(&self.peers).iter().filter(|peer| peer.ip() == OWN).count();
        while mine() < own {
            tokio::task::yield_now().await;
        }
        Ok(lock(&self.peers).iter().filter(|peer| peer.ip() != OWN).count())
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.task.abort();
    }
}
