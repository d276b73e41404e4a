//! S-9: no spelling of a forbidden address, on no way to it, makes the web client connect anywhere.
//!
//! Every spelling is tried directly, as a redirect, as an IPv4 and an IPv6 answer of the name server, behind an alias, and as
//! the second answer of a name whose first one was public. A canary at a port that the client may use counts connections; the
//! name server's forbidden addresses are led to it, wherever they would be, should the client ever try one.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use blufio_adapters::egress::guard::Place;
use blufio_adapters::egress::web::{Web, WebError, WebLimits};
use blufio_adapters::egress::{Egress, EgressError, Lab};
use blufio_core::port::Hops;
use blufio_testkit::dns::{FakeDns, Record};
use blufio_testkit::web::{Canary, FakeWeb, Reply};

/// What the rule asks for.
const SPELLINGS_MIN: usize = 300;
/// An address of the internet. A listener of this machine stands in for it.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(93, 184, 215, 14);

/// One of each range that nobody on the internet has, with the addresses that are attacked most.
const FORBIDDEN: [Ipv4Addr; 20] = [
    Ipv4Addr::new(127, 0, 0, 1),
    Ipv4Addr::new(127, 255, 1, 9),
    Ipv4Addr::new(0, 0, 0, 0),
    Ipv4Addr::new(0, 1, 2, 3),
    Ipv4Addr::new(10, 0, 0, 1),
    Ipv4Addr::new(100, 64, 0, 1),
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(172, 16, 0, 1),
    Ipv4Addr::new(172, 31, 255, 254),
    Ipv4Addr::new(192, 0, 0, 8),
    Ipv4Addr::new(192, 0, 2, 1),
    Ipv4Addr::new(192, 88, 99, 1),
    Ipv4Addr::new(192, 168, 1, 1),
    Ipv4Addr::new(198, 18, 0, 1),
    Ipv4Addr::new(198, 51, 100, 1),
    Ipv4Addr::new(203, 0, 113, 1),
    Ipv4Addr::new(224, 0, 0, 1),
    Ipv4Addr::new(239, 255, 255, 250),
    Ipv4Addr::new(240, 0, 0, 1),
    Ipv4Addr::new(255, 255, 255, 255),
];

/// Forbidden in IPv6 without holding an IPv4 address.
const FORBIDDEN_V6: [&str; 17] = [
    "::",
    "::1",
    "100::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "4000::1",
];

/// Names that mean this machine, a private network, or the service with the keys of a rented machine.
const NAMES: [&str; 24] = [
    "localhost",
    "LocalHost",
    "localhost.",
    "localhost%2e",
    "%6cocalhost",
    "ⓛocalhost",
    "ｌｏｃａｌｈｏｓｔ",
    "local\u{ad}host",
    "x.localhost",
    "x.y.localhost.",
    "127.0.0.1.localhost",
    "localhost.localdomain",
    "printer.local",
    "printer.local.",
    "a.internal",
    "metadata.google.internal",
    "METADATA.google.internal.",
    "instance-data.ec2.internal",
    "metadata.azure.com",
    "metadata.tencentyun.com",
    "metadata",
    "router",
    "fritz.home.arpa",
    "x.localdomain",
];

/// A spelling, and the address that it means if it means one.
struct Spelling {
    host: String,
    address: IpAddr,
}

fn full_width(text: &str) -> String {
    let wide = |character: char| match character {
        '0'..='9' => char::from_u32(u32::from(character) - 0x30 + 0xff10).unwrap(),
        '.' => '．',
        other => other,
    };
    text.chars().map(wide).collect()
}

fn circled(text: &str) -> String {
    let circle = |character: char| match character {
        '1'..='9' => char::from_u32(u32::from(character) - 0x31 + 0x2460).unwrap(),
        '0' => '⓪',
        other => other,
    };
    text.chars().map(circle).collect()
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn spellings_of(address: Ipv4Addr) -> Vec<String> {
    let [a, b, c, d] = address.octets();
    let number = u32::from(address);
    let dotted = address.to_string();
    let (low, lower) = (u16::from_be_bytes([c, d]), number & 0x00ff_ffff);
    let [high_half, low_half] = [number >> 16, number & 0xffff];
    vec![
        // Numbers as C reads them.
        dotted.clone(),
        format!("{dotted}."),
        format!("{number}"),
        format!("{number}."),
        format!("0x{number:x}"),
        format!("0X{number:08X}"),
        format!("0{number:o}"),
        format!("0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("000{a:o}.000{b:o}.000{c:o}.000{d:o}"),
        format!("{a}.{b}.{low}"),
        format!("{a}.{lower}"),
        format!("0x{a:x}.{b}.0{low:o}"),
        format!("{a}.0x{lower:x}"),
        // Other characters for the same ones.
        full_width(&dotted),
        full_width(&number.to_string()),
        dotted.replace('.', "。"),
        dotted.replace('.', "｡"),
        circled(&dotted),
        dotted.replace('.', "\u{ad}."),
        format!("\u{200b}{dotted}"),
        dotted.replace('.', "%2e"),
        dotted.replace('.', "%2E"),
        percent(&dotted),
        percent(&number.to_string()),
        dotted.replace('.', "%E3%80%82"),
        // Characters that parsers drop or stumble over.
        dotted.replacen('.', "\t.", 1),
        dotted.replacen('.', ".\r\n", 1),
        format!("{dotted}\0"),
        format!("{dotted}%00"),
        format!("{dotted}%00.example.org"),
        format!("{dotted}\\"),
        format!("{dotted}.."),
        format!("{dotted}%20"),
        format!("{dotted}%0d%0aHost:%20x"),
        format!("example.org@{dotted}"),
        format!("example.org%40{dotted}"),
        format!("user:password@{dotted}"),
        format!("{dotted}:443@{dotted}"),
        // Inside IPv6.
        format!("[::ffff:{dotted}]"),
        format!("[::ffff:{high_half:x}:{low_half:x}]"),
        format!("[0:0:0:0:0:FFFF:{high_half:04X}:{low_half:04X}]"),
        format!("[::{dotted}]"),
        format!("[::ffff:0:{dotted}]"),
        format!("[64:ff9b::{dotted}]"),
        format!("[64:ff9b:1::{dotted}]"),
        format!("[2002:{high_half:x}:{low_half:x}::1]"),
        format!("[2001:0:{high_half:x}:{low_half:x}::1]"),
        format!("[fe80::5efe:{dotted}]"),
        format!("[::ffff:{dotted}%251]"),
        format!("[::ffff:{dotted}%lo]"),
        format!("[::ffff:{dotted}"),
        format!("[{dotted}]"),
    ]
}

/// The IPv6 addresses that hold an IPv4 one.
fn embedded(address: Ipv4Addr) -> [Ipv6Addr; 7] {
    let [high, low] = [(u32::from(address) >> 16) as u16, (u32::from(address) & 0xffff) as u16];
    [
        address.to_ipv6_mapped(),
        Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
        Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
        Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
        Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low),
        Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
        Ipv6Addr::new(0x2001, 0, high, low, 0, 0, 0, 1),
    ]
}

/// Every spelling, with an address to be given out by the name server beside it.
fn spellings() -> Vec<Spelling> {
    let mut all = Vec::new();
    for address in FORBIDDEN {
        all.extend(spellings_of(address).into_iter().map(|host| Spelling { host, address: address.into() }));
    }
    for text in FORBIDDEN_V6 {
        let address: Ipv6Addr = text.parse().unwrap();
        let long: Vec<String> = address.segments().iter().map(|segment| format!("{segment:04X}")).collect();
        for host in
            [format!("[{text}]"), format!("[{}]", long.join(":")), format!("[{text}%25eth0]"), format!("[{text}].")]
        {
            all.push(Spelling { host, address: address.into() });
        }
    }
    all.extend(NAMES.map(|name| Spelling { host: name.to_owned(), address: Ipv4Addr::LOCALHOST.into() }));
    all
}

/// Everything on loopback: the listeners, a name server, and the client between them.
struct World {
    canary: Canary,
    public: Canary,
    dns: FakeDns,
    first: FakeWeb,
    web: Web,
}

impl World {
    async fn start(given_out: &[IpAddr]) -> Self {
        let canary = Canary::start((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let port = canary.address().port();
        // At the same port, since an address that names its port keeps it.
        let public = Canary::start((Ipv4Addr::new(127, 0, 0, 2), port).into()).await.unwrap();
        let dns = FakeDns::start().await.unwrap();
        let first = FakeWeb::start().await.unwrap();
        let mut stand_ins: BTreeMap<IpAddr, SocketAddr> =
            given_out.iter().map(|address| (*address, (Ipv4Addr::LOCALHOST, 0).into())).collect();
        stand_ins.insert(PUBLIC.into(), (Ipv4Addr::new(127, 0, 0, 2), 0).into());
        let lab = Lab { name_server: Some(dns.address()), root: None, port: Some(port), stand_ins };
        let place = Place::parse(&first.addr().to_string()).unwrap();
        let web = Egress::in_a_lab(lab).unwrap().with_places(vec![place]).web(WebLimits::default());
        Self { canary, public, dns, first, web }
    }

    async fn get(&self, url: &str) -> Result<(), WebError> {
        self.web.get(self.web.target(url)?, &Hops::default()).await.map(drop)
    }

    /// The host at the port of the canary, which the client may use.
    fn url(&self, host: &str) -> String {
        format!("https://{host}:{}/", self.canary.address().port())
    }
}

#[tokio::test]
async fn no_spelling_on_no_way_reaches_a_forbidden_address() {
    let spellings = spellings();
    let distinct: std::collections::BTreeSet<&str> = spellings.iter().map(|spelling| spelling.host.as_str()).collect();
    assert!(distinct.len() >= SPELLINGS_MIN, "{} spellings", distinct.len());
    let mut given_out: Vec<IpAddr> = spellings.iter().map(|spelling| spelling.address).collect();
    given_out.extend(FORBIDDEN.into_iter().flat_map(embedded).map(IpAddr::from));
    let world = World::start(&given_out).await;
    let port = world.canary.address().port();
    let mut tries = [0; 6];

    let denied = |result: Result<(), WebError>, what: &str| match result {
        Err(WebError::Denied(_)) => {}
        other => panic!("{what}: {other:?}"),
    };
    for (number, Spelling { host, address }) in spellings.iter().enumerate() {
        // Directly, with the port of the canary and with the port of https.
        denied(world.get(&world.url(host)).await, &format!("direct {host:?}"));
        denied(world.get(&format!("https://{host}/")).await, &format!("direct {host:?}"));
        denied(world.get(&format!("http://{host}:{port}/")).await, &format!("direct, http {host:?}"));
        tries[0] += 1;

        // As a redirect from a place that the operator has opened.
        if host.bytes().all(|byte| byte >= b' ') {
            world.first.set("/go", Reply::redirect(&world.url(host)));
            denied(world.get(&format!("{}/go", world.first.base_url())).await, &format!("redirect {host:?}"));
            tries[1] += 1;
        }

        // As an answer of the name server, alone and after a public one.
        let v6 = match address {
            IpAddr::V4(v4) => *embedded(*v4).get(number % 7).unwrap(),
            IpAddr::V6(v6) => *v6,
        };
        let v4 = match address {
            IpAddr::V4(v4) => *v4,
            IpAddr::V6(_) => *FORBIDDEN.get(number % FORBIDDEN.len()).unwrap(),
        };
        world.dns.set(&format!("a{number}.test"), [Record::A(v4)]);
        denied(world.get(&world.url(&format!("a{number}.test"))).await, &format!("A {v4}"));
        world.dns.set(&format!("also{number}.test"), [Record::A(PUBLIC), Record::A(v4)]);
        denied(world.get(&world.url(&format!("also{number}.test"))).await, &format!("A after a public one {v4}"));
        tries[2] += 1;
        world.dns.set(&format!("aaaa{number}.test"), [Record::Aaaa(v6), Record::A(PUBLIC)]);
        denied(world.get(&world.url(&format!("aaaa{number}.test"))).await, &format!("AAAA {v6}"));
        tries[3] += 1;
        let alias = format!("a{number}.test");
        world.dns.set(&format!("c{number}.test"), [Record::Cname(alias)]);
        denied(world.get(&world.url(&format!("c{number}.test"))).await, &format!("CNAME {v4}"));
        tries[4] += 1;
    }
    assert_eq!(world.public.connects().await.unwrap(), 0);

    // Rebinding: public when it is judged, forbidden whenever it is asked for again.
    for (number, Spelling { address, .. }) in spellings.iter().enumerate() {
        let name = format!("r{number}.test");
        let forbidden = match address {
            IpAddr::V4(v4) if number % 2 == 0 => vec![Record::A(*v4)],
            IpAddr::V4(v4) => vec![Record::Aaaa(*embedded(*v4).get(number % 7).unwrap())],
            IpAddr::V6(v6) => vec![Record::Aaaa(*v6)],
        };
        world.dns.in_turn(&name, vec![vec![Record::A(PUBLIC)], forbidden]);
        // The listener that stands in for the public address hangs up at once.
        let first = world.get(&world.url(&name)).await.unwrap_err();
        assert!(matches!(first, WebError::Failed(EgressError::NotConnected(_) | EgressError::Broken(_))), "{first:?}");
        assert_eq!(world.dns.asked(&name), (1, 1), "one lookup is one lookup");
        assert_eq!(
            world.public.connects().await.unwrap(),
            number + 1,
            "the address that was judged is the one that is used"
        );
        denied(world.get(&world.url(&name)).await, &format!("rebound {address}"));
        assert_eq!(world.dns.asked(&name), (2, 2), "an answer that lives for no time is not kept");
        tries[5] += 1;
    }
    assert_eq!(world.canary.connects().await.unwrap(), 0, "nobody may come here");
    assert_eq!(world.public.connects().await.unwrap(), spellings.len());
    assert!(tries.iter().all(|tries| *tries >= SPELLINGS_MIN), "{tries:?}");
    eprintln!("{} spellings, {tries:?} tries", distinct.len());
}

#[tokio::test]
async fn the_canary_would_have_sung() {
    let world = World::start(&[]).await;
    let open = Place::parse(&world.canary.address().to_string()).unwrap();
    let web = Egress::new().unwrap().with_places(vec![open]).web(WebLimits::default());
    for host in ["127.0.0.1", "0x7f.1", "2130706433", "１２７．０．０．１"] {
        let target = web.target(&world.url(host)).unwrap();
        assert!(matches!(web.get(target, &Hops::default()).await, Err(WebError::Failed(_))), "{host}");
    }
    assert_eq!(world.canary.connects().await.unwrap(), 4);
}
