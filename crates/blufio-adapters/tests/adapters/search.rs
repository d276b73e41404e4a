//! Web search against a fake service, and where its key goes.

use blufio_adapters::egress::Egress;
use blufio_adapters::search::{SearchOptions, WebSearch};
use blufio_core::port::{Hit, Search, WebError};
use blufio_core::secret::Secret;
use blufio_testkit::web::{FakeWeb, Manner, Reply};
use serde_json::json;

const KEY: &str = "canary-of-the-search-key";
const PATH: &str = "/res/v1/web/search";

async fn service() -> (FakeWeb, WebSearch) {
    let fake = FakeWeb::start().await.unwrap();
    let egress = Egress::new().unwrap();
    let options =
        SearchOptions { base_url: &fake.base_url(), key: Some(Secret::new(format!(" {KEY}\n"))), egress: &egress };
    let search = WebSearch::new(options).unwrap();
    (fake, search)
}

#[tokio::test]
async fn hits_are_plain_words_with_addresses() {
    let (fake, search) = service().await;
    let mut results = vec![
        json!({"title": "A <strong>B</strong>", "url": "https://a.example/x", "description": "c\n\u{202e}<strong>d</strong>"}),
        json!({"title": "no page", "url": "javascript:alert(1)", "description": "x"}),
        json!({"url": "https://b.example"}),
    ];
    results
        .extend((0..20).map(|number| json!({"title": "t", "url": format!("https://c.example/{number}"), "extra": 1})));
    fake.set(PATH, Reply::page("application/json", json!({"type": "search", "web": {"results": results}}).to_string()));
    let hits = search.search("größe & Höhe?").await.unwrap();
    let hit =
        |title: &str, url: &str, excerpt: &str| Hit { title: title.into(), url: url.into(), excerpt: excerpt.into() };
    assert_eq!(hits[..2], [hit("A B", "https://a.example/x", "c d"), hit("", "https://b.example/", "")]);
    assert_eq!(hits.len(), 10);
    let request = &fake.requests()[0];
    assert_eq!((request.query["q"].as_str(), request.query["count"].as_str()), ("größe & Höhe?", "10"));
    assert_eq!(request.header("x-subscription-token"), Some(KEY));
    fake.set(PATH, Reply::page("application/json", "{}"));
    assert_eq!(search.search("x").await, Ok(Vec::new()));
}

#[tokio::test]
async fn every_failure_is_told_without_the_key_or_the_services_words() {
    let (fake, search) = service().await;
    let fails = async |reply: Reply| {
        fake.set(PATH, reply);
        let error = search.search("x").await.unwrap_err();
        let told = format!("{error} {error:?} {search:?}");
        assert!(!told.contains(KEY) && !told.contains("injected"), "{told}");
        error
    };
    let status = |status| Reply { status, ..Reply::page("text/plain", format!("injected {KEY}")) };
    assert_eq!(fails(status(401)).await, WebError::Unauthorized);
    assert_eq!(fails(status(403)).await, WebError::Unauthorized);
    assert_eq!(fails(status(429)).await, WebError::Status(429));
    assert_eq!(fails(status(500)).await, WebError::Status(500));
    assert!(matches!(fails(status(200)).await, WebError::Unreadable(_)));
    let endless = Reply::page("application/json", vec![b' '; 64 * 1024]).sent(Manner::Endless);
    assert!(matches!(fails(endless).await, WebError::Unreadable(_)));
}

#[tokio::test]
async fn a_redirect_gets_no_key_and_no_request() {
    let (fake, search) = service().await;
    let canary = FakeWeb::start().await.unwrap();
    for status in [301, 302, 303, 307, 308] {
        for to in [canary.base_url(), format!("{}{PATH}", fake.base_url())] {
            fake.set(PATH, Reply { status, ..Reply::redirect(&to) });
            assert_eq!(search.search("x").await, Err(WebError::Status(status)));
        }
    }
    assert_eq!(canary.requests().len(), 0);
    assert_eq!(fake.requests().len(), 10);
}

#[test]
fn what_cannot_be_used_is_refused_at_once() {
    let egress = Egress::new().unwrap();
    for (base_url, key) in [
        ("http://search.example", None),
        ("https://user@search.example", None),
        ("https://search.example/path", None),
        ("https://search.example", Some("two words")),
        ("https://search.example", Some("lineś")),
    ] {
        let options = SearchOptions { base_url, key: key.map(|key| Secret::new(key.to_owned())), egress: &egress };
        assert!(WebSearch::new(options).is_err(), "{base_url} {key:?}");
    }
}
