//! Every range of addresses and every spelling that the guard knows.

#![allow(clippy::unwrap_used)]

use super::*;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The first and last address of every range that is refused, and the neighbours that are not.
#[test]
fn every_range_ends_where_it_ends() {
    let check = |first: &str, last: &str, before: Option<&str>, after: Option<&str>| {
        assert!(!is_public(address(first)) && !is_public(address(last)), "{first}-{last}");
        for neighbour in before.into_iter().chain(after) {
            assert!(is_public(address(neighbour)), "{neighbour}");
        }
    };
    check("0.0.0.0", "0.255.255.255", None, Some("1.0.0.0"));
    check("10.0.0.0", "10.255.255.255", Some("9.255.255.255"), Some("11.0.0.0"));
    check("100.64.0.0", "100.127.255.255", Some("100.63.255.255"), Some("100.128.0.0"));
    check("127.0.0.0", "127.255.255.255", Some("126.255.255.255"), Some("128.0.0.0"));
    check("169.254.0.0", "169.254.255.255", Some("169.253.255.255"), Some("169.255.0.0"));
    check("172.16.0.0", "172.31.255.255", Some("172.15.255.255"), Some("172.32.0.0"));
    check("192.0.0.0", "192.0.0.255", Some("191.255.255.255"), Some("192.0.1.0"));
    check("192.0.2.0", "192.0.2.255", Some("192.0.1.255"), Some("192.0.3.0"));
    check("192.88.99.0", "192.88.99.255", Some("192.88.98.255"), Some("192.88.100.0"));
    check("192.168.0.0", "192.168.255.255", Some("192.167.255.255"), Some("192.169.0.0"));
    check("198.18.0.0", "198.19.255.255", Some("198.17.255.255"), Some("198.20.0.0"));
    check("198.51.100.0", "198.51.100.255", Some("198.51.99.255"), Some("198.51.101.0"));
    check("203.0.113.0", "203.0.113.255", Some("203.0.112.255"), Some("203.0.114.0"));
    check("224.0.0.0", "255.255.255.255", Some("223.255.255.255"), None);

    check("::", "::ffff:ffff:ffff", None, None);
    check("::1", "::ffff:8.8.8.8", None, None);
    check("::8.8.8.8", "::ffff:0:8.8.8.8", None, None);
    check("64:ff9b::", "64:ff9b::ffff:ffff", None, None);
    check("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", None, None);
    check("100::", "100::ffff:ffff:ffff:ffff", None, None);
    check("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", Some("2000:ffff::"), Some("2001:200::"));
    check("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", Some("2001:db7:ffff::"), Some("2001:db9::"));
    check("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Some("2001:ffff::"), Some("2003::"));
    check("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", Some("3ffe:ffff::"), Some("3fff:1000::"));
    check("4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", None, None);
    check("5f00::", "5f00:ffff::", None, None);
    check("fc00::", "fdff:ffff::", None, None);
    check("fe80::", "febf:ffff::", None, None);
    check("fec0::", "feff:ffff::", None, None);
    check("ff00::", "ffff::", None, None);
    for public in ["93.184.215.14", "8.8.8.8", "2606:4700::1111", "2a00:1450:4001:80b::200e", "2400:cb00::"] {
        assert!(is_public(address(public)), "{public}");
    }
}

#[test]
fn addresses_as_they_are_written() {
    let web = Allow::web(vec![Place::parse("nas.lan:8443").unwrap(), Place::parse("10.0.0.5:80").unwrap()]);
    let check = |url: &str, expect: Result<&str, Denied>| {
        let parsed = Target::parse(url, &web).map(|target| target.url().to_string());
        assert_eq!(parsed.as_deref().map_err(|denied| *denied), expect, "{url}");
    };
    check("https://example.org", Ok("https://example.org/"));
    check("HTTPS://EXAMPLE.org:443/a b?c#d", Ok("https://example.org/a%20b?c"));
    check("https://example.org./", Ok("https://example.org/"));
    check("https://bücher.example/", Ok("https://xn--bcher-kva.example/"));
    check("https://93.184.215.14/", Ok("https://93.184.215.14/"));
    check("https://[2606:4700::1111]/", Ok("https://[2606:4700::1111]/"));
    check("http://example.org/", Err(Denied::Scheme));
    check("ftp://example.org/", Err(Denied::Scheme));
    check("file:///etc/passwd", Err(Denied::Scheme));
    check("data:text/html,x", Err(Denied::Scheme));
    check("javascript:alert(1)", Err(Denied::Scheme));
    check("https://user:password@example.org/", Err(Denied::Credentials));
    check("https://user%3Apassword@example.org/", Err(Denied::Credentials));
    check("https://example.org:80@evil.example/", Err(Denied::Credentials));
    check("https://user%40example.org/", Err(Denied::Unreadable));
    check("https://example.org:8443/", Err(Denied::Port));
    check("https://example.org:80/", Err(Denied::Port));
    check("https://example..org/", Err(Denied::Unreadable));
    check("https://example.org../", Err(Denied::Unreadable));
    check("https://127.0.0.1../", Err(Denied::Unreadable));
    check("https://exa mple.org/", Err(Denied::Unreadable));
    check("/relative", Err(Denied::Unreadable));
    check("", Err(Denied::Unreadable));
    check(&format!("https://example.org/{}", "x".repeat(URL_BYTES_MAX)), Err(Denied::Unreadable));
    for name in [
        "localhost",
        "LOCALHOST",
        "a.localhost",
        "a.local",
        "metadata.google.internal",
        "internal",
        "router",
        "x.home.arpa",
        "metadata.azure.com",
        "local%68ost",
        "localhost.",
    ] {
        check(&format!("https://{name}/"), Err(Denied::Name));
    }
    for near in ["localhost.example.org", "notlocalhost.com", "mylocal.net"] {
        check(&format!("https://{near}/"), Ok(&format!("https://{near}/")));
    }
    // Places of the operator: at their own port alone, there over http too.
    check("https://nas.lan:8443/x", Ok("https://nas.lan:8443/x"));
    check("http://NAS.lan.:8443/x", Ok("http://nas.lan:8443/x"));
    check("http://nas.lan/", Err(Denied::Scheme));
    check("https://nas.lan:8444/", Err(Denied::Port));
    check("http://10.5/", Ok("http://10.0.0.5/"));
    check("http://10.0.0.6/", Err(Denied::Scheme));
    check("https://10.0.0.5/", Err(Denied::Address));
    check("http://user@10.0.0.5/", Err(Denied::Credentials));
}

#[test]
fn a_place_opens_what_was_meant_and_no_more() {
    let web = Allow::web(vec![Place::parse("nas.lan:443").unwrap(), Place::parse("169.254.1.1:443").unwrap()]);
    let nas = Target::parse("https://nas.lan/", &web).unwrap();
    for fine in ["10.1.2.3", "172.16.0.1", "192.168.0.1", "127.0.0.1", "100.64.0.1", "::1", "fd00::1", "8.8.8.8"] {
        assert_eq!(nas.check(address(fine)), Ok(()), "{fine}");
    }
    for wrong in [
        "169.254.169.254",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "fe80::1",
        "::",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
    ] {
        assert_eq!(nas.check(address(wrong)), Err(Denied::Address), "{wrong}");
    }
    assert!(Target::parse("https://169.254.1.1/", &web).is_ok());
    assert_eq!(Target::parse("https://169.254.1.2/", &web), Err(Denied::Address));
    for malformed in [
        "",
        "nas",
        "nas:",
        ":80",
        "nas:0",
        "nas:x",
        "nas:+1",
        "a/b:80",
        "a@b:80",
        "a b:80",
        "[::1:80",
        "*.lan:80",
        "nas:80:90",
        "nas?:80",
    ] {
        assert_eq!(Place::parse(malformed), None, "{malformed}");
    }
    assert_eq!(Place::parse("[0:0::1]:80").unwrap().to_string(), "[::1]:80");
    assert_eq!(Place::parse("0x7f.1:80").unwrap().to_string(), "127.0.0.1:80");
}

#[test]
fn a_service_reaches_itself_alone() {
    let check = |origin: &str, other: &str, expect: Result<(), Denied>| {
        let allow = Allow::service(&Url::parse(origin).unwrap(), &[]).unwrap();
        assert!(Target::parse(origin, &allow).is_ok(), "{origin}");
        assert_eq!(Target::parse(other, &allow).map(drop), expect, "{origin} -> {other}");
    };
    check("https://api.example", "https://api.example/x", Ok(()));
    check("https://api.example", "https://other.example/", Err(Denied::Host));
    check("https://api.example", "https://api.example:8443/", Err(Denied::Port));
    check("https://api.example:8443", "https://api.example/", Err(Denied::Port));
    check("https://api.example", "http://api.example/", Err(Denied::Scheme));
    check("http://127.0.0.1:9000", "http://127.0.0.1:9000/x", Ok(()));
    check("http://127.0.0.1:9000", "http://127.0.0.1:9001/", Err(Denied::Scheme));
    check("http://localhost:9000", "https://127.0.0.1:9000/", Err(Denied::Host));
    check("https://192.168.1.5", "https://192.168.1.6/", Err(Denied::Host));

    // A name must lead to the internet, unless the operator has said otherwise.
    let url = Url::parse("https://llm.example:8443").unwrap();
    let target = |places: &[Place]| Target::parse(url.as_str(), &Allow::service(&url, places).unwrap()).unwrap();
    assert_eq!(target(&[]).check(address("192.168.1.5")), Err(Denied::Address));
    assert_eq!(target(&[]).check(address("8.8.8.8")), Ok(()));
    let places = [Place::parse("llm.example:8443").unwrap()];
    assert_eq!(target(&places).check(address("192.168.1.5")), Ok(()));
    assert_eq!(target(&[Place::parse("llm.example:443").unwrap()]).check(address("192.168.1.5")), Err(Denied::Address));
}

#[test]
fn redirects_are_judged_from_the_start() {
    let web = Allow::web(vec![Place::parse("127.0.0.1:80").unwrap()]);
    let from = |url: &str| Target::parse(url, &web).unwrap();
    let check = |url: &str, to: &str, expect: Result<&str, Denied>| {
        let next = from(url).redirected(to, &web).map(|target| target.url().to_string());
        assert_eq!(next.as_deref().map_err(|denied| *denied), expect, "{url} -> {to}");
    };
    check("https://a.example/x/y", "../z", Ok("https://a.example/z"));
    check("https://a.example/x", "//b.example/", Ok("https://b.example/"));
    check("https://a.example/x", "http://a.example/", Err(Denied::Downgrade));
    check("https://a.example/x", "http://127.0.0.1/", Err(Denied::Downgrade));
    check("https://a.example/x", "https://127.0.0.1/", Err(Denied::Address));
    check("https://a.example/x", "https://u:p@b.example/", Err(Denied::Credentials));
    check("https://a.example/x", "file:///etc/passwd", Err(Denied::Scheme));
    check("http://127.0.0.1/", "https://a.example/", Ok("https://a.example/"));
    check("http://127.0.0.1/", "http://a.example/", Err(Denied::Scheme));
}
