//! Reading pages: what arrives as text, and what hostile servers cannot do.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use blufio_adapters::egress::guard::Place;
use blufio_adapters::egress::web::WebLimits;
use blufio_adapters::egress::{Egress, Lab};
use blufio_adapters::web::{WebOptions, WebPages};
use blufio_core::port::{Boxed, Clock, Hop, HopEnd, Hops, Page, Web, WebError};
use blufio_core::time::Timestamp;
use blufio_testkit::dns::{FakeDns, Record};
use blufio_testkit::web::{FakeWeb, Manner, Reply, TlsFront};
use flate2::Compression;
use flate2::write::GzEncoder;

const PUBLIC: Ipv4Addr = Ipv4Addr::new(93, 184, 215, 14);
pub const LIMITS: WebLimits =
    WebLimits { connect: Duration::from_secs(5), total: Duration::from_secs(10), body_bytes: 1024 * 1024 };

/// Stands still until it is moved.
#[derive(Default)]
pub struct Still(AtomicU64);

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }
    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
    fn sleep(&self, _: Duration) -> Boxed<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// A server that the operator has opened, over plain HTTP, and a reader of its pages.
struct Near {
    server: FakeWeb,
    clock: Arc<Still>,
    pages: WebPages,
}

impl Near {
    async fn start(limits: WebLimits) -> Self {
        let server = FakeWeb::start().await.unwrap();
        let place = Place::parse(&server.addr().to_string()).unwrap();
        let egress = Egress::new().unwrap().with_places(vec![place]);
        let clock = Arc::new(Still::default());
        let pages = WebPages::new(WebOptions { egress: &egress, clock: clock.clone(), limits });
        Self { server, clock, pages }
    }

    async fn get(&self, path: &str) -> Result<Arc<Page>, WebError> {
        self.pages.fetch(&format!("{}{path}", self.server.base_url()), &Hops::default()).await
    }

    async fn text(&self, path: &str) -> String {
        self.get(path).await.unwrap().text.clone().unwrap()
    }
}

fn packed(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn pages_of_every_kind_are_read_or_described() {
    let near = Near::start(LIMITS).await;
    let html = "<title>T</title><h1>Größe</h1><p>see <a href='b?c'>there</a></p>";
    near.server.set("/a", Reply::page("text/html; charset=utf-8", html));
    let page = near.get("/a#x").await.unwrap();
    let expect = Page {
        url: format!("{}/a", near.server.base_url()),
        title: Some("T".to_owned()),
        media_type: "text/html".to_owned(),
        text: Some(format!("# Größe\n\nsee [there]({}/b?c)", near.server.base_url())),
        bytes: html.len(),
        cut: false,
        kept_back: false,
    };
    assert_eq!(*page, expect);
    near.server.set("/latin", Reply::page("text/plain; charset=iso-8859-1", b"gr\xf6\xdfe".as_slice()));
    assert_eq!(near.text("/latin").await, "größe");
    near.server.set("/json", Reply::page("application/json", r#"{"a": [1]}"#));
    assert_eq!(near.text("/json").await, r#"{"a": [1]}"#);
    near.server.set("/gzip", Reply::page("text/plain", packed(b"unpacked")).header("content-encoding", "gzip"));
    assert_eq!(near.text("/gzip").await, "unpacked");
    near.server.set("/long", Reply::page("text/plain", "x".repeat(LIMITS.body_bytes)));
    assert_eq!(near.get("/long").await.unwrap().bytes, LIMITS.body_bytes);
    near.server.set("/picture", Reply::page("image/png", b"\x89PNG".as_slice()));
    let picture = near.get("/picture").await.unwrap();
    assert_eq!((picture.text.as_deref(), picture.media_type.as_str(), picture.bytes), (None, "image/png", 4));
    assert_eq!(near.get("/none").await, Err(WebError::Status(404)));
    // Nothing but what everybody gets.
    for request in near.server.requests() {
        let names: Vec<&str> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(request.method, "GET");
        assert!(
            names.iter().all(|name| ["accept", "accept-encoding", "user-agent", "host"].contains(name)),
            "{names:?}"
        );
        assert_eq!(request.header("accept-encoding"), Some("gzip"));
    }
}

#[tokio::test]
async fn a_page_is_fetched_once_in_a_while() {
    let near = Near::start(LIMITS).await;
    near.server.set("/a", Reply::page("text/plain", "first"));
    assert_eq!(near.text("/a").await, "first");
    near.server.set("/a", Reply::page("text/plain", "second"));
    // The same address as it is parsed, however it is spelled.
    assert_eq!(near.text("/x/../a#part").await, "first");
    assert_eq!(near.server.requests().len(), 1);
    near.clock.0.store(15 * 60, Ordering::Relaxed);
    assert_eq!(near.text("/a").await, "second");
    assert_eq!(near.get("/gone").await, Err(WebError::Status(404)));
    near.server.set("/gone", Reply::page("text/plain", "there"));
    assert_eq!(near.text("/gone").await, "there");
}

#[tokio::test]
async fn hostile_bodies_are_cut_short() {
    let near = Near::start(WebLimits { total: Duration::from_secs(2), ..LIMITS }).await;
    let unreadable = |result: Result<Arc<Page>, WebError>, words: &str| match result {
        Err(WebError::Unreadable(why)) => assert!(why.contains(words), "{why}"),
        other => panic!("{words}: {other:?}"),
    };
    let zeros = vec![0; 100 * 1024 * 1024];
    let bomb = |body: &[u8]| Reply::page("text/plain", packed(body)).header("content-encoding", "gzip");
    near.server.set("/bomb", bomb(&zeros));
    unreadable(near.get("/bomb").await, "a hundred times");
    near.server.set("/bomb2", bomb(&packed(&zeros)));
    unreadable(near.get("/bomb2").await, "a hundred times");
    let noise: Vec<u8> =
        (0..2 * LIMITS.body_bytes as u64).map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect();
    near.server.set("/large", bomb(&noise));
    unreadable(near.get("/large").await, "longer than");
    near.server.set("/endless", Reply::page("text/plain", vec![b'x'; 64 * 1024]).sent(Manner::Endless));
    unreadable(near.get("/endless").await, "longer than");
    near.server.set("/gigabyte", Reply::page("text/plain", "x").sent(Manner::Lying(1 << 30)));
    unreadable(near.get("/gigabyte").await, "longer than");
    near.server.set("/short", Reply::page("text/plain", "x").sent(Manner::Lying(100)));
    assert!(matches!(near.get("/short").await, Err(WebError::Unavailable(_))));
    near.server.set("/longer", Reply::page("text/plain", "abc").sent(Manner::Lying(1)));
    assert_eq!(near.text("/longer").await, "a");
    near.server.set("/drip", Reply::page("text/plain", "x").sent(Manner::Drip(Duration::from_millis(50))));
    assert_eq!(near.get("/drip").await, Err(WebError::Unavailable("no answer in time".to_owned())));
    for (name, value) in
        [("content-encoding", "br"), ("content-encoding", "gzip, gzip"), ("content-encoding", "deflate")]
    {
        near.server.set("/packing", Reply::page("text/plain", "x").header(name, value));
        unreadable(near.get("/packing").await, "not asked for");
    }
    let mut cut = packed(b"some words that are cut in the middle");
    cut.truncate(cut.len() / 2);
    for broken in [cut, b"no gzip".to_vec()] {
        near.server.set("/broken", Reply::page("text/plain", broken).header("content-encoding", "gzip"));
        unreadable(near.get("/broken").await, "cannot be unpacked");
    }
}

#[tokio::test]
async fn redirects_are_few_and_each_is_judged() {
    let near = Near::start(LIMITS).await;
    near.server.set("/0", Reply::page("text/plain", "end"));
    for hop in 1..=4 {
        near.server.set(&format!("/{hop}"), Reply::redirect(&format!("/{}", hop - 1)));
    }
    assert_eq!(near.text("/3").await, "end");
    assert_eq!(near.get("/3").await.unwrap().url, format!("{}/0", near.server.base_url()));
    assert_eq!(near.get("/4").await, Err(WebError::Denied("it redirects too often".to_owned())));
    near.server.set("/loop", Reply::redirect("/loop"));
    assert!(matches!(near.get("/loop").await, Err(WebError::Denied(_))));
    near.server.set("/nowhere", Reply { headers: Vec::new(), ..Reply::redirect("") });
    assert_eq!(near.get("/nowhere").await, Err(WebError::Status(302)));
    // Another port of the same machine was not opened.
    let other = FakeWeb::start().await.unwrap();
    near.server.set("/other", Reply::redirect(&other.base_url()));
    assert!(matches!(near.get("/other").await, Err(WebError::Denied(_))));
    assert_eq!(other.requests().len(), 0);
}

/// Names of the internet that lead to servers of this machine, over TLS.
struct Far {
    server: FakeWeb,
    front: TlsFront,
    dns: FakeDns,
    pages: WebPages,
}

impl Far {
    async fn start(trusted: bool) -> Self {
        let server = FakeWeb::start().await.unwrap();
        let front = TlsFront::start(&["good.test", "other.test"], server.addr()).await.unwrap();
        let dns = FakeDns::start().await.unwrap();
        for name in ["good.test", "other.test", "wrong.test"] {
            dns.set(name, [Record::A(PUBLIC)]);
        }
        let stand_ins: BTreeMap<IpAddr, SocketAddr> = BTreeMap::from([(PUBLIC.into(), front.address())]);
        let root = trusted.then(|| front.certificate());
        let egress = Egress::in_a_lab(Lab { name_server: Some(dns.address()), root, port: None, stand_ins }).unwrap();
        let pages = WebPages::new(WebOptions { egress: &egress, clock: Arc::new(Still::default()), limits: LIMITS });
        Self { server, front, dns, pages }
    }
}

#[tokio::test]
async fn a_public_page_is_reached_by_its_name() {
    let far = Far::start(true).await;
    far.server.set("/", Reply::page("text/plain", "hello"));
    far.server.set("/away", Reply::redirect("https://other.test/"));
    far.server.set("/down", Reply::redirect("http://good.test/secret?word"));
    let hops = Hops::default();
    let page = far.pages.fetch("https://good.test./", &hops).await.unwrap();
    assert_eq!((page.url.as_str(), page.text.as_deref()), ("https://good.test/", Some("hello")));
    let page = far.pages.fetch("https://GOOD.test/away", &hops).await.unwrap();
    assert_eq!((page.url.as_str(), page.text.as_deref()), ("https://other.test/", Some("hello")));
    let hosts: Vec<String> =
        far.server.requests().iter().map(|request| request.header("host").unwrap().to_owned()).collect();
    assert_eq!(hosts, ["good.test", "good.test", "other.test"]);
    assert_eq!(far.front.names(), hosts);
    assert_eq!(
        far.pages.fetch("https://good.test/down", &hops).await,
        Err(WebError::Denied("it leads from https to http".to_owned()))
    );
    assert_eq!(far.dns.asked("good.test"), (3, 3), "each hop is looked up, and only once");
    // The certificate is for other names.
    let wrong = far.pages.fetch("https://wrong.test/", &hops).await;
    assert_eq!(wrong, Err(WebError::Unavailable("the server could not be reached".to_owned())));
    let unknown = far.pages.fetch("https://unknown.test/", &hops).await;
    assert_eq!(unknown, Err(WebError::Unavailable("the server could not be reached".to_owned())));
    assert_eq!(far.server.requests().len(), 4);
    // Where each of them led, with neither paths nor queries.
    let hop = |origin: &str, end: HopEnd| Hop { origin: origin.to_owned(), end };
    let refused = HopEnd::Refused("it leads from https to http".to_owned());
    let led = [
        hop("https://good.test", HopEnd::Answered),
        hop("https://good.test", HopEnd::Answered),
        hop("https://other.test", HopEnd::Answered),
        hop("https://good.test", HopEnd::Answered),
        hop("http://good.test", refused),
        hop("https://wrong.test", HopEnd::Unanswered),
        hop("https://unknown.test", HopEnd::Unanswered),
    ];
    assert_eq!(hops.take(), led);
}

#[tokio::test]
async fn a_certificate_that_nobody_trusts_is_not_trusted() {
    let far = Far::start(false).await;
    let hops = Hops::default();
    let result = far.pages.fetch("https://good.test/", &hops).await;
    assert_eq!(result, Err(WebError::Unavailable("the server could not be reached".to_owned())));
    assert_eq!(far.server.requests().len(), 0);
}
