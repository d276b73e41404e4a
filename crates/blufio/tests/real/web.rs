//! The agent reads the web: a page that it may read, pages that it may not, and a search, all through the real binary.

use blufio_testkit::web::{Canary, FakeWeb, Reply};
use serde_json::{Value, json};

use crate::support::{ANN, BOB, World};

const SEARCH_KEY: &str = "canary-of-the-search-key";

/// A world in which one server of this machine was opened to the agent.
async fn start(web: &FakeWeb) -> World {
    World::start_with(&[("egress.allow_private", &format!("[\"{}\"]", web.addr()))]).await
}

/// What the tools have returned in the newest request to the model.
fn results(world: &World) -> Vec<String> {
    let request = world.messages.requests().pop().expect("the model was asked");
    let messages = request.body["messages"].as_array().cloned().unwrap_or_default();
    let blocks = messages.iter().flat_map(|message| message["content"].as_array().cloned().unwrap_or_default());
    let text = |block: Value| match &block["content"] {
        Value::String(text) => text.clone(),
        content => content.as_array().into_iter().flatten().filter_map(|part| part["text"].as_str()).collect(),
    };
    blocks.filter(|block| block["type"] == "tool_result").map(text).collect()
}

fn fetch(url: &str) -> String {
    format!("[tool:web_fetch {}]", json!({ "url": url }))
}

#[tokio::test]
async fn a_page_that_the_operator_opened_is_read_to_its_end() {
    let web = FakeWeb::start().await.unwrap();
    let long =
        format!("<title>Opening hours</title><h1>Café</h1><p>{}</p><p>the end is here</p>", "word ".repeat(2_000));
    web.set("/page", Reply::page("text/html", long));
    let world = start(&web).await;
    let url = format!("{}/page", web.base_url());
    world.ask(ANN, &format!("#1 {}", fetch(&url)), "answer #1").await;
    let shown = results(&world).pop().unwrap();
    assert!(shown.contains("Title: Opening hours") && shown.contains("# Café\n\nword word"), "{shown}");
    assert!(shown.contains("[text of others until ") && !shown.contains("the end is here"), "{shown}");
    let (_, offset) = shown.split_once("go on with offset ").unwrap();
    let offset: usize = offset.split(']').next().unwrap().parse().unwrap();
    let mut call = json!({ "url": url, "offset": offset });
    world.ask(ANN, &format!("#2 [tool:web_fetch {call}]"), "answer #2").await;
    let shown = results(&world).pop().unwrap();
    assert!(shown.contains("the end is here") && shown.contains(", the end]"), "{shown}");
    assert_eq!(web.requests().len(), 1, "reading on takes the page from memory");
    call["offset"] = json!(1_000_000);
    world.ask(ANN, &format!("#3 [tool:web_fetch {call}]"), "answer #3").await;
    assert!(results(&world).pop().unwrap().contains("the page ends at"));
    world.finish().await;
}

#[tokio::test]
async fn what_was_not_opened_is_refused_in_words_and_never_connected_to() {
    let web = FakeWeb::start().await.unwrap();
    let canary = Canary::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let world = start(&web).await;
    let closed = canary.address();
    web.set("/away", Reply::redirect(&format!("http://{closed}/")));
    let tries = [
        (format!("http://{closed}/"), "the scheme must be https"),
        (format!("https://{closed}/"), "this port may not be used"),
        ("https://127.0.0.1/".to_owned(), "not to the public internet"),
        ("https://169.254.169.254/latest/meta-data/".to_owned(), "not to the public internet"),
        ("https://[::ffff:10.0.0.1]/".to_owned(), "not to the public internet"),
        ("https://localhost/".to_owned(), "private network"),
        ("https://metadata.google.internal/".to_owned(), "private network"),
        ("https://user:password@example.org/".to_owned(), "user name or a password"),
        ("file:///etc/passwd".to_owned(), "the scheme must be https"),
        ("not an address".to_owned(), "no valid address"),
        (format!("{}/away", web.base_url()), "the scheme must be https"),
        (format!("{}/nothing", web.base_url()), "status 404"),
    ];
    for (number, (url, words)) in (1..).zip(tries) {
        world.ask(ANN, &format!("#{number} {}", fetch(&url)), &format!("answer #{number}")).await;
        let told = results(&world).pop().unwrap();
        assert!(told.contains(words) && (words == "status 404" || told.contains("not fetched")), "{url}: {told}");
    }
    assert_eq!(canary.connects().await.unwrap(), 0);
    assert!(!world.gateway().is_empty());
    world.finish().await;
}

#[tokio::test]
async fn where_fetches_led_is_in_the_audit_log() {
    let web = FakeWeb::start().await.unwrap();
    let own = web.base_url();
    web.set("/page", Reply::page("text/plain", "hello"));
    web.set("/there", Reply::redirect("/page?from=there"));
    web.set("/away", Reply::redirect("https://169.254.169.254/latest/meta-data/?key"));
    web.set("/loop", Reply::redirect("/loop"));
    let world = start(&web).await;
    let urls = [
        format!("{own}/page?private=words"),
        format!("{own}/page?private=words"),
        format!("{own}/there#private"),
        format!("{own}/away"),
        format!("{own}/loop"),
        "https://user:private@example.org/".to_owned(),
        "https://10.0.0.1/private".to_owned(),
        "private words".to_owned(),
    ];
    for (number, url) in (1..).zip(urls) {
        world.ask(ANN, &format!("#{number} {}", fetch(&url)), &format!("answer #{number}")).await;
    }
    let fetched = || (own.clone(), "fetched".to_owned(), Value::Null);
    let refused = |origin: &str, why: &str| (origin.to_owned(), "refused".to_owned(), json!(why));
    let private =
        "the address is this machine's or belongs to a private or reserved network, not to the public internet";
    let expected = [
        // The second time it comes out of memory.
        fetched(),
        fetched(),
        fetched(),
        fetched(),
        refused("https://169.254.169.254", private),
        fetched(),
        fetched(),
        fetched(),
        fetched(),
        refused(&own, "it redirects too often"),
        refused("https://example.org", "it carries a user name or a password"),
        refused("https://10.0.0.1", private),
        refused("(unreadable)", "it is no valid address; write https://host/path"),
    ];
    let log = world.read("/v1/audit?limit=1000").await;
    let mut lines: Vec<Value> =
        log.as_array().unwrap().iter().filter(|line| line["kind"] == "egress").cloned().collect();
    lines.sort_by_key(|line| line["seq"].as_u64());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let led: Vec<_> = lines
        .iter()
        .map(|line| (text(&line["target"]), text(&line["outcome"]), line["detail"]["why"].clone()))
        .collect();
    assert_eq!(led, expected, "{lines:?}");
    for line in &lines {
        assert_eq!((&line["actor"], &line["detail"]["tool"]), (&json!("owner"), &json!("web_fetch")), "{line}");
        assert!(!line.to_string().contains("private=") && !line.to_string().contains("latest"), "{line}");
    }
    let (status, verdict) = world.post("/v1/audit/verify", &json!({})).await;
    assert_eq!((status, &verdict["trouble"]), (200, &Value::Null), "{verdict}");
    world.finish().await;
}

#[tokio::test]
async fn the_web_is_searched_where_a_service_is_configured() {
    let service = FakeWeb::start().await.unwrap();
    let hits =
        json!({"web": {"results": [{"title": "Blufio", "url": "https://blufio.example/", "description": "an agent"}]}});
    service.set("/res/v1/web/search", Reply::page("application/json", hits.to_string()));
    let mut world = World::prepare().await;
    world.setup.set("search.url", service.base_url());
    world.setup.env.insert("SEARCH_API_KEY".to_owned(), SEARCH_KEY.to_owned());
    world.run().await;
    world.ask(ANN, r#"#1 [tool:web_search {"query":"an agent"}]"#, "answer #1").await;
    let shown = results(&world).pop().unwrap();
    assert!(shown.contains("1. Blufio\n   https://blufio.example/\n   an agent"), "{shown}");
    let request = service.requests().pop().unwrap();
    assert_eq!((request.header("x-subscription-token"), request.query["q"].as_str()), (Some(SEARCH_KEY), "an agent"));
    service.set("/res/v1/web/search", Reply { status: 401, ..Reply::page("text/plain", SEARCH_KEY) });
    world.ask(ANN, r#"#2 [tool:web_search {"query":"again"}]"#, "answer #2").await;
    assert!(results(&world).pop().unwrap().contains("does not accept its key"));
    assert!(!world.log().contains(SEARCH_KEY));
    let said = world.messages.requests().iter().any(|request| request.body.to_string().contains(SEARCH_KEY));
    assert!(!said, "the key is no business of the model");
    world.finish().await;
}

#[tokio::test]
async fn a_search_is_paid_for_and_not_made_if_no_budget_has_room() {
    let service = FakeWeb::start().await.unwrap();
    service.set("/res/v1/web/search", Reply::page("application/json", json!({"web": {"results": []}}).to_string()));
    let mut world = World::prepare().await;
    world.setup.set("search.url", service.base_url());
    world.setup.set("search.query_usd", "0.3");
    world.setup.set("budget.turn_usd", "0.5");
    world.run().await;
    let paid = "SELECT count(*) FROM ledger WHERE purpose = 'tool' AND model = 'web_search' AND amount = 300000 AND state = 'settled'";
    let search = r#"[tool:web_search {"query":"an agent"}]"#;
    world.ask(ANN, &format!("#1 {search}"), "answer #1").await;
    assert_eq!((world.sql(paid), service.requests().len()), (1, 1));
    // Two in one turn are more than it may cost.
    world.ask(ANN, r#"#2 [tool:web_search {"query":"a"}] [then:tool:web_search {"query":"b"}]"#, "answer #2").await;
    assert_eq!((world.sql(paid), service.requests().len()), (2, 2));
    let refused = results(&world).pop().unwrap();
    assert!(refused.contains("not run: ") && refused.contains("budget.turn_usd"), "{refused}");
    let costs = world.setup.run(&["cost", "--by", "purpose", "--json"]).await.unwrap().stdout;
    let costs: serde_json::Value = serde_json::from_slice(&costs).unwrap();
    let line = costs["lines"].as_array().unwrap().iter().find(|line| line["key"] == "tool").unwrap().clone();
    assert_eq!((&line["calls"], &line["cost"]), (&json!(2), &json!(600_000)), "{line}");
    world.finish().await;
}

#[tokio::test]
async fn the_tools_are_there_as_configured() {
    let tools = async |keys: &[(&str, &str)]| {
        let world = World::start_with(keys).await;
        world.ask(BOB, "#1", "answer #1").await;
        let request = world.messages.requests().pop().unwrap();
        world.finish().await;
        let names = request.body["tools"].as_array().cloned().unwrap_or_default();
        let has = |name: &str| names.iter().any(|tool| tool["name"] == name);
        (has("web_fetch"), has("web_search"))
    };
    assert_eq!(tools(&[]).await, (true, false));
    assert_eq!(tools(&[("tools.web_fetch", "false"), ("search.url", "\"http://127.0.0.1:9\"")]).await, (false, true));
}
