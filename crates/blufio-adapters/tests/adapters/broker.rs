//! Secrets that the agent may use: an echo server over TLS that returns everything it gets, in every form, and redirects to
//! wherever it likes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use blufio_adapters::egress::guard::Place;
use blufio_adapters::egress::{Egress, Lab};
use blufio_adapters::web::{WebOptions, WebPages};
use blufio_core::leak::Leaks;
use blufio_core::port::{Boxed, Credential, CredentialError, Credentials, Hops, Page, Web, WebError};
use blufio_core::secret::Secret;
use blufio_core::vault::Slot;
use blufio_testkit::dns::{FakeDns, Record};
use blufio_testkit::http::{Handler, HttpServer, Request, Responder};
use blufio_testkit::web::{FakeWeb, Reply, TlsFront};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::web::{LIMITS, Still};

/// With characters that Markdown and HTML write in other ways.
const VALUE: &str = "zq_Zq7-3fK9_wLm2*Tn8vB4&x<y";
const PUBLIC: Ipv4Addr = Ipv4Addr::new(93, 184, 215, 14);

/// A vault with one secret for `good.test` and 127.0.0.1, and one for nobody.
#[derive(Default)]
struct Known {
    version: Mutex<u32>,
    used: Mutex<Vec<(String, String)>>,
}

impl Credentials for Known {
    fn find<'a>(&'a self, name: &'a str, host: &'a str) -> Boxed<'a, Result<Credential, CredentialError>> {
        let slot: Slot = match name {
            "bearer" => Slot::default(),
            "key" => "X-Api-Key".parse().unwrap(),
            _ => return Box::pin(std::future::ready(Err(CredentialError::NotForAgent(name.to_owned())))),
        };
        let allowed = vec!["good.test".to_owned(), "127.0.0.1".to_owned()];
        let found = match allowed.iter().any(|allowed| allowed == host) {
            true => Ok(Credential {
                name: name.to_owned(),
                version: *self.version.lock().unwrap(),
                slot,
                value: Secret::new(VALUE.to_owned()),
            }),
            false => Err(CredentialError::OtherHost { name: name.to_owned(), host: host.to_owned(), allowed }),
        };
        Box::pin(std::future::ready(found))
    }

    fn used<'a>(&'a self, credential: &'a Credential, host: &'a str) -> Boxed<'a, Result<(), CredentialError>> {
        self.used.lock().unwrap().push((credential.name.clone(), host.to_owned()));
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Returns what it gets, in the form that the path names.
#[derive(Default)]
struct Echo(Mutex<Vec<Request>>);

impl Handler for Echo {
    async fn handle(&self, request: Request, responder: Responder) {
        let said: String = request.headers.iter().fold(String::new(), |mut said, (name, value)| {
            writeln!(said, "{name}: {value}").unwrap();
            said
        });
        let got = request.header("authorization").or(request.header("x-api-key")).unwrap_or_default().to_owned();
        let value = got.strip_prefix("Bearer ").unwrap_or(&got).to_owned();
        let path = request.path.clone();
        self.0.lock().unwrap().push(request);
        let echoed = [("x-echo", got.as_str()), ("set-cookie", got.as_str())];
        let answer = |status: u16, kind: &str, body: Vec<u8>| (status, vec![("content-type", kind.to_owned())], body);
        let hex: String = said.bytes().map(|byte| format!("{byte:02x}")).collect();
        let escaped = said.replace('&', "&amp;").replace('<', "&lt;");
        let (status, headers, body) = match path.as_str() {
            "/plain" => answer(200, "text/plain", said.into_bytes()),
            "/type" => answer(200, &format!("text/{value}"), said.into_bytes()),
            "/base64" => answer(200, "text/plain", STANDARD.encode(&said).into_bytes()),
            "/base64url" => answer(200, "text/plain", URL_SAFE_NO_PAD.encode(format!("x{value}")).into_bytes()),
            "/hex" => answer(200, "text/plain", hex.into_bytes()),
            "/HEX" => answer(200, "text/plain", hex.to_uppercase().into_bytes()),
            "/json" => answer(200, "application/json", serde_json::json!({"a": said}).to_string().into_bytes()),
            "/gzip" => {
                let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
                packed.write_all(said.as_bytes()).unwrap();
                let (status, mut headers, body) = answer(200, "text/plain", packed.finish().unwrap());
                headers.push(("content-encoding", "gzip".to_owned()));
                (status, headers, body)
            }
            "/utf16" => {
                let body = said.encode_utf16().flat_map(u16::to_le_bytes).collect();
                answer(200, "text/plain; charset=utf-16le", body)
            }
            "/html" => {
                let page =
                    format!("<title>{escaped}</title><p>{escaped}</p><a href=\"/{escaped}\">x</a><pre>{said}</pre>");
                answer(200, "text/html", page.into_bytes())
            }
            "/entities" => {
                let body: String = said.chars().map(|c| format!("&#{};", u32::from(c))).collect();
                answer(200, "text/html", format!("<p>{body}").into_bytes())
            }
            "/invisible" => {
                let body: String = said.chars().flat_map(|c| [c, '\u{200b}']).collect();
                answer(200, "text/plain", body.into_bytes())
            }
            "/careful" => {
                let said = said.replace('&', "\\u0026").replace('<', "\\u003C");
                answer(200, "application/json", format!("{{\"a\": \"{}\"}}", said.replace('\n', "\\n")).into_bytes())
            }
            "/xml" => answer(200, "application/xml", format!("<a>{escaped}</a>").into_bytes()),
            "/lines" => {
                let encoded = STANDARD.encode(&said);
                let lines: Vec<&[u8]> = encoded.as_bytes().chunks(16).collect();
                answer(200, "text/plain", lines.join(&b"\r\n"[..]))
            }
            "/colons" => {
                let body = said.bytes().map(|byte| format!("{byte:02x}")).collect::<Vec<String>>().join(":");
                answer(200, "text/plain", body.into_bytes())
            }
            "/marks" => {
                let body: String = value.chars().map(|c| format!("<b>{c}</b>")).collect();
                answer(200, "text/html", body.into_bytes())
            }
            "/binary" => answer(200, "image/png", said.into_bytes()),
            "/error" => answer(418, "text/plain", said.into_bytes()),
            "/denied" if got.is_empty() => answer(401, "text/plain", Vec::new()),
            _ => {
                let to = match path.as_str() {
                    "/here" => "/plain".to_owned(),
                    "/away" => "https://other.test/plain".to_owned(),
                    "/away-denied" => "https://other.test/denied".to_owned(),
                    "/to-and-fro" => "https://other.test/back".to_owned(),
                    "/back" => "https://good.test/plain".to_owned(),
                    "/down" => "http://good.test/plain".to_owned(),
                    "/tell" => format!(
                        "https://other.test/?t={}",
                        value.replace('&', "%26").replace('<', "%3C").replace('*', "%2A")
                    ),
                    "/tell-base64" => format!("https://other.test/{}", URL_SAFE_NO_PAD.encode(&value)),
                    other => format!("/plain?{other}"),
                };
                (302, vec![("location", to)], Vec::new())
            }
        };
        let headers = headers.iter().map(|(name, value)| (*name, value.as_str())).chain(echoed);
        responder.full(status, &headers.collect::<Vec<_>>(), body).await;
    }
}

struct World {
    echo: Arc<Echo>,
    known: Arc<Known>,
    leaks: Leaks,
    pages: WebPages,
    _parts: (HttpServer, TlsFront, FakeDns),
}

impl World {
    async fn start() -> Self {
        let echo = Arc::new(Echo::default());
        let server = HttpServer::start((Ipv4Addr::LOCALHOST, 0).into(), Arc::clone(&echo)).await.unwrap();
        let front = TlsFront::start(&["good.test", "other.test", "sub.good.test"], server.addr()).await.unwrap();
        let dns = FakeDns::start().await.unwrap();
        for name in ["good.test", "other.test", "sub.good.test"] {
            dns.set(name, [Record::A(PUBLIC)]);
        }
        let stand_ins: BTreeMap<IpAddr, SocketAddr> = BTreeMap::from([(PUBLIC.into(), front.address())]);
        let lab = Lab { name_server: Some(dns.address()), root: Some(front.certificate()), port: None, stand_ins };
        let egress = Egress::in_a_lab(lab).unwrap();
        let (known, leaks) = (Arc::new(Known::default()), Leaks::default());
        let pages = WebPages::new(WebOptions { egress: &egress, clock: Arc::new(Still::default()), limits: LIMITS })
            .with_secrets(Arc::clone(&known) as Arc<dyn Credentials>, leaks.clone());
        Self { echo, known, leaks, pages, _parts: (server, front, dns) }
    }

    fn requests(&self) -> Vec<Request> {
        self.echo.0.lock().unwrap().clone()
    }

    /// Requests of a host, with whether the secret was in them.
    fn seen(&self) -> Vec<(String, bool)> {
        let seen = |request: Request| {
            let holds = self.leaks.holds_exact(&format!("{request:?}")).is_some();
            (request.header("host").unwrap().to_owned(), holds)
        };
        self.requests().into_iter().map(seen).collect()
    }
}

/// Nothing of the secret is in it, by a search of the test's own.
fn clean(told: &str, what: &str) {
    let letters = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
    let hex: String = VALUE.bytes().map(|byte| format!("{byte:02x}")).collect();
    let lower = letters(&told.to_lowercase());
    assert!(!lower.contains(&letters(&VALUE.to_lowercase())) && !lower.contains(&hex), "{what}: {told}");
    // At one of the three places in a group of base64, whatever stands before it.
    for before in ["", "x", "xy"] {
        let encoded = STANDARD.encode(format!("{before}{VALUE}"));
        let middle = letters(&encoded[4..encoded.len() - 4]);
        assert!(!letters(told).contains(&middle), "{what}: {told}");
    }
}

#[tokio::test]
async fn an_echo_server_gives_nothing_back() {
    let world = World::start().await;
    let whole = [
        "plain",
        "type",
        "base64",
        "base64url",
        "hex",
        "HEX",
        "json",
        "gzip",
        "utf16",
        "html",
        "entities",
        "invisible",
        "here",
    ];
    for (number, path) in (1..).zip(whole) {
        let name = if number % 2 == 0 { "key" } else { "bearer" };
        let page = world.pages.fetch_with(&format!("https://good.test/{path}"), name, &Hops::default()).await.unwrap();
        let told = format!("{page:?}");
        clean(&told, path);
        // The value has the name under which it was learned first.
        assert!(told.contains("[redacted:bearer]"), "{path}: {told}");
        assert!(!page.kept_back);
    }
    for path in ["lines", "colons", "marks", "careful", "xml", "binary", "error"] {
        let told = format!(
            "{:?}",
            world.pages.fetch_with(&format!("https://good.test/{path}"), "bearer", &Hops::default()).await
        );
        clean(&told, path);
        let expect = match path {
            "error" => "Status(418)",
            "binary" => "text: None",
            _ => "in pieces",
        };
        assert!(told.contains(expect), "{path}: {told}");
    }
    let requests = world.requests();
    assert!(world.seen().iter().all(|(host, held)| host == "good.test" && *held), "it arrives: {:?}", world.seen());
    assert_eq!(requests[0].header("authorization"), Some(format!("Bearer {VALUE}").as_str()));
    assert_eq!((requests[1].header("x-api-key"), requests[1].header("authorization")), (Some(VALUE), None));
    assert_eq!(world.known.used.lock().unwrap().len(), whole.len() + 7, "each use is recorded");
    assert_eq!(world.known.used.lock().unwrap()[0], ("bearer".to_owned(), "good.test".to_owned()));
}

#[tokio::test]
async fn a_redirect_to_another_origin_goes_without_the_secret() {
    let world = World::start().await;
    let get = async |path: &str| {
        world.pages.fetch_with(&format!("https://good.test{path}"), "bearer", &Hops::default()).await
    };
    let secret = |result: Result<Arc<Page>, WebError>, words: &str| match result {
        Err(WebError::Secret(why)) => assert!(why.contains(words), "{why}"),
        other => panic!("{words}: {other:?}"),
    };
    let page = get("/away").await.unwrap();
    assert!(page.kept_back && page.url == "https://other.test/plain", "{page:?}");
    // Another place chose the last address, so it gets no secret even though it is of the first origin.
    assert!(get("/to-and-fro").await.unwrap().kept_back);
    secret(get("/away-denied").await, "answered with status 401");
    secret(get("/tell").await, "not followed");
    secret(get("/tell-base64").await, "not followed");
    assert!(matches!(get("/down").await, Err(WebError::Denied(_))));
    let expect = [true, false, true, false, false, true, false, true, true, true];
    assert_eq!(world.seen().iter().map(|(_, held)| *held).collect::<Vec<bool>>(), expect, "{:?}", world.seen());
    assert!(world.seen().iter().all(|(host, held)| host == "good.test" || !held));
}

#[tokio::test]
async fn where_it_may_not_go_nothing_is_sent() {
    let world = World::start().await;
    let check = async |url: &str, name: &str, words: &str| {
        let told = world.pages.fetch_with(url, name, &Hops::default()).await.unwrap_err().to_string();
        assert!(told.contains(words), "{url}: {told}");
        clean(&told, url);
    };
    check("https://other.test/plain", "bearer", "may not be sent to other.test; it is for good.test").await;
    check("https://sub.good.test/plain", "bearer", "may not be sent to sub.good.test").await;
    check("https://good.test/plain", "unknown", "--host").await;
    check("http://good.test/plain", "bearer", "the scheme must be https").await;
    check("https://user:pw@good.test/plain", "bearer", "user name or a password").await;
    check("https://good.test:8443/plain", "bearer", "only 443").await;
    assert_eq!(world.seen(), []);
    // However it is spelled, it is the same host.
    assert!(world.pages.fetch_with("https://GOOD.test.:443/plain", "bearer", &Hops::default()).await.is_ok());
    let plain = WebPages::new(WebOptions {
        egress: &Egress::new().unwrap(),
        clock: Arc::new(Still::default()),
        limits: LIMITS,
    });
    let told = plain.fetch_with("https://good.test/", "bearer", &Hops::default()).await.unwrap_err();
    assert_eq!(told.to_string(), "the secret was not used: there is no vault");
}

#[tokio::test]
async fn http_is_for_this_machine_where_the_operator_has_named_it() {
    let (server, other, dns) =
        (FakeWeb::start().await.unwrap(), FakeWeb::start().await.unwrap(), FakeDns::start().await.unwrap());
    dns.set("good.test", [Record::A(Ipv4Addr::LOCALHOST)]);
    server.set("/", Reply::page("text/plain", "hello"));
    server.set("/away", Reply::redirect(&format!("{}/", other.base_url())));
    other.set("/", Reply::page("text/plain", "hello"));
    let named = format!("good.test:{}", server.addr().port());
    let places = [server.addr().to_string(), other.addr().to_string(), named.clone()];
    let lab = Lab { name_server: Some(dns.address()), ..Lab::default() };
    let egress =
        Egress::in_a_lab(lab).unwrap().with_places(places.iter().map(|at| Place::parse(at).unwrap()).collect());
    let pages = WebPages::new(WebOptions { egress: &egress, clock: Arc::new(Still::default()), limits: LIMITS })
        .with_secrets(Arc::new(Known::default()), Leaks::default());
    let refused = pages.fetch_with(&format!("http://{named}/"), "bearer", &Hops::default()).await.unwrap_err();
    assert_eq!(refused.to_string(), "the secret was not used: a secret is sent over https only");
    assert_eq!(server.requests().len(), 0);
    assert!(pages.fetch_with(&format!("{}/", server.base_url()), "bearer", &Hops::default()).await.is_ok());
    assert!(server.requests()[0].header("authorization").is_some());
    // Another port is another origin.
    assert!(
        pages.fetch_with(&format!("{}/away", server.base_url()), "bearer", &Hops::default()).await.unwrap().kept_back
    );
    assert_eq!(other.requests()[0].header("authorization"), None);
}

#[tokio::test]
async fn a_page_with_a_secret_is_remembered_for_that_secret_alone() {
    let world = World::start().await;
    let hops = Hops::default();
    let url = "https://good.test/plain";
    let with = world.pages.fetch_with(url, "bearer", &hops);
    assert!(with.await.unwrap().text.as_ref().unwrap().contains("authorization"));
    assert!(!world.pages.fetch(url, &Hops::default()).await.unwrap().text.as_ref().unwrap().contains("authorization"));
    let other = world.pages.fetch_with(url, "key", &Hops::default()).await.unwrap();
    assert!(other.text.as_ref().unwrap().contains("x-api-key"));
    assert_eq!(world.requests().len(), 3);
    for name in ["bearer", "key"] {
        world.pages.fetch_with(url, name, &Hops::default()).await.unwrap();
    }
    assert_eq!((world.requests().len(), world.known.used.lock().unwrap().len()), (3, 2), "from memory, and not sent");
    assert!(world.pages.fetch_with(url, "unknown", &Hops::default()).await.is_err());
    *world.known.version.lock().unwrap() = 2;
    world.pages.fetch_with(url, "bearer", &Hops::default()).await.unwrap();
    assert_eq!(world.requests().len(), 4, "a changed secret sees its own page");
}
