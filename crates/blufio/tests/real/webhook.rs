//! Updates that the server brings: taken once each, over kills and changes of the way in, and from nobody who does not know
//! the secret.

use std::net::SocketAddr;
use std::time::Duration;

use blufio_testkit::messages::Script;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::support::{ANN, BOB, SOON, World, answered, each_once, exchange};

const SECRET: &str = "a-secret-that-only-the-server-knows_0123456789";
const URL: &str = "https://bot.example.org/telegram-webhook";
const PATH: &str = "/telegram-webhook";

/// Updates are brought from the next start on.
fn pushed(world: &mut World) {
    world.set(&[("telegram.mode", "\"webhook\""), ("telegram.webhook_url", &format!("\"{URL}\""))]);
    world.setup.env.insert("TELEGRAM_WEBHOOK_SECRET".to_owned(), SECRET.to_owned());
}

/// Updates are asked for from the next start on.
fn polled(world: &mut World) {
    world.set(&[("telegram.mode", "\"polling\"")]);
}

/// Starts the process and gives the gateway's address, which is another one after each start.
async fn run(world: &mut World) -> SocketAddr {
    let starts = |world: &World| world.log().matches("health words").count();
    let before = starts(world);
    world.run().await;
    world.eventually("the gateway is open", async |world| (starts(world) > before).then_some(())).await;
    world.gateway().parse().unwrap()
}

/// The same, and the server brings its updates there.
async fn listen(world: &mut World) {
    let gateway = run(world).await;
    world.telegram.webhook_target(gateway);
}

async fn start() -> World {
    let mut world = World::prepare().await;
    pushed(&mut world);
    listen(&mut world).await;
    world
}

/// An answer that never comes, for whoever says this; the next call is answered as usual.
fn endless(words: &str) -> Script {
    Script { first_token_ms: 60_000, ..Script::text("never").only_if(words) }
}

/// What the deliveries were answered with so far.
fn statuses(world: &World) -> Vec<u16> {
    world.telegram.webhook_deliveries().iter().map(|delivery| delivery.status).collect()
}

/// A request to the gateway, with these header lines.
fn request(method: &str, path: &str, headers: &[&str], body: &str) -> String {
    let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: bot.example.org\r\ncontent-length: {length}\r\nconnection: close\r\n{lines}\r\n{body}"
    )
}

async fn call(gateway: SocketAddr, request: &str) -> (u16, String) {
    exchange(TcpStream::connect(gateway).await.unwrap(), request).await.expect("the gateway answers")
}

fn knows(secret: &str) -> String {
    format!("x-telegram-bot-api-secret-token: {secret}")
}

/// A message of Ann's as the server would bring it.
fn update(id: i64, text: &str) -> String {
    let ann = json!({"id": ANN, "is_bot": false, "first_name": "Ann"});
    let chat = json!({"id": ANN, "type": "private", "first_name": "Ann"});
    json!({"update_id": id, "message": {"message_id": id, "date": 1_700_000_000, "from": ann, "chat": chat, "text": text}})
        .to_string()
}

#[tokio::test]
async fn what_is_brought_is_answered() {
    let mut world = start().await;
    assert_eq!(world.telegram.read(|state| state.webhook_url().map(str::to_owned)).as_deref(), Some(URL));
    world.ask(ANN, "#1", "answer #1").await;
    for number in 2..5 {
        world.say(ANN, &format!("#{number}"));
        world.say(BOB, &format!("#{}", number + 10));
    }
    world.hear(ANN, "answer #4").await;
    world.hear(BOB, "answer #14").await;
    world.ask(ANN, "/status", "All is well").await;
    assert_eq!(world.telegram.read(|state| state.count("getUpdates")), 0);
    assert_eq!(statuses(&world), [200; 8]);
    assert_eq!(world.status().await["channels"]["telegram"]["state"], "listening");
    // A button is brought like everything else, and an update that is brought again is none.
    let again = world.say(ANN, "#5");
    world.hear(ANN, "answer #5").await;
    assert!(world.telegram.redeliver(again, 2));
    world.ask(ANN, "#6", "answer #6").await;
    assert_eq!(answered(&world.heard(ANN)), each_once(1..=6));
    assert_eq!(answered(&world.heard(BOB)), each_once(12..15));

    // The webhook stays set, and the server keeps what it cannot bring.
    world.end().await;
    assert!(world.telegram.read(|state| state.webhook_url().is_some()));
    world.say(ANN, "#7");
    world
        .telegram
        .wait_for(|state| state.webhook_deliveries().last().filter(|last| last.status == 0).map(|_| ()), SOON)
        .await;
    listen(&mut world).await;
    world.hear(ANN, "answer #7").await;
    world.finish().await;
}

#[tokio::test]
async fn without_the_secret_there_is_no_such_route() {
    let mut world = World::prepare().await;
    pushed(&mut world);
    let gateway = run(&mut world).await;
    let unknown = call(gateway, &request("POST", "/nothing", &[], "")).await;
    assert_eq!(unknown.0, 404);
    let right = knows(SECRET);
    let almost = knows(&SECRET.replace('9', "8"));
    let longer = knows(&format!("{SECRET}0"));
    let body = update(1, "#1");
    let refused: [(&str, &str, &[&str]); 8] = [
        ("POST", PATH, &[]),
        ("POST", PATH, &["x-telegram-bot-api-secret-token:"]),
        ("POST", PATH, &[&almost]),
        ("POST", PATH, &[&longer]),
        ("POST", PATH, &["authorization: Bearer x", "x-telegram-bot-api-secret-token: x"]),
        ("GET", PATH, &[&right]),
        ("PUT", PATH, &[&right]),
        ("POST", "/telegram-webhook/", &[&right]),
    ];
    for (method, path, headers) in refused {
        let answer = call(gateway, &request(method, path, headers, &body)).await;
        assert_eq!(answer, unknown, "{method} {path} {headers:?}");
    }
    assert_eq!(world.sql("SELECT count(*) FROM inbox"), 0);
    assert!(!world.log().contains(SECRET));

    // The same body from somebody who knows it.
    world.telegram.open_private(ANN);
    assert_eq!(call(gateway, &request("POST", PATH, &[&right], &body)).await.0, 200);
    world.hear(ANN, "answer #1").await;
    // What is no update is refused and kept nowhere; what is one in form is stored, whatever is in it.
    for (odd, status) in [("", 503), ("{}", 503), ("[]", 503), ("{\"update_id\":", 503), ("{\"update_id\":2}", 200)] {
        assert_eq!(call(gateway, &request("POST", PATH, &[&right], odd)).await.0, status, "{odd:?}");
    }
    let large = format!("{}\n", " ".repeat(1024 * 1024));
    assert_eq!(call(gateway, &request("POST", PATH, &[&right], &large)).await.0, 413);
    assert_eq!(world.sql("SELECT count(*) FROM inbox"), 2);
    // In the other mode there is no such route for anybody.
    world.end().await;
    polled(&mut world);
    let gateway = run(&mut world).await;
    assert_eq!(call(gateway, &request("POST", PATH, &[&right], &body)).await, unknown);
    world.finish().await;
}

/// A body of a gigabyte is announced; nothing of it is needed for the answer, and little of it can be sent.
#[tokio::test]
async fn a_huge_body_without_the_secret_is_not_read() {
    let mut world = World::prepare().await;
    pushed(&mut world);
    let gateway = run(&mut world).await;
    let head = format!("POST {PATH} HTTP/1.1\r\nhost: bot.example.org\r\ncontent-length: 1000000000\r\n\r\n");
    let announced = exchange(TcpStream::connect(gateway).await.unwrap(), &head).await.expect("the gateway answers");
    assert_eq!(announced.0, 404, "before the first byte of the body");

    let before = world.server().usage().unwrap().rss_bytes;
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let (piece, mut sent) = (vec![b'x'; 64 * 1024], 0);
    while sent < 1_000_000_000 {
        match tokio::time::timeout(Duration::from_secs(5), stream.write(&piece)).await {
            Ok(Ok(bytes)) => sent += bytes,
            // The connection is gone, or nobody takes anything any more.
            Ok(Err(_)) | Err(_) => break,
        }
    }
    // What the kernel holds for a connection, and not what was announced.
    assert!(sent < 32 * 1024 * 1024, "{sent} bytes were taken");
    let grown = world.server().usage().unwrap().rss_bytes.saturating_sub(before);
    assert!(grown < 8 * 1024 * 1024, "{grown} bytes more are held");
    assert_eq!(world.get("/readyz").await.unwrap().0, 200);
    world.finish().await;
}

#[tokio::test]
async fn without_what_it_needs_the_start_is_refused() {
    let mut world = World::prepare().await;
    pushed(&mut world);
    let refused = async |world: &World, code: i32, words: &[&str]| {
        let output = world.setup.run(&["serve"]).await.unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        for word in words {
            assert!(said.contains(word), "{word:?} is not in {said}");
        }
        said
    };
    // The secret: missing, too short, with a character that the server refuses.
    for secret in ["", "short-secret", "a-secret-with-a-space in it and 32 characters"] {
        world.setup.env.insert("TELEGRAM_WEBHOOK_SECRET".to_owned(), secret.to_owned());
        let said = refused(&world, 77, &["secret for the webhook", "TELEGRAM_WEBHOOK_SECRET", "openssl rand"]).await;
        assert!(secret.is_empty() || !said.contains(secret), "the message shows it: {said}");
    }
    world.setup.env.remove("TELEGRAM_WEBHOOK_SECRET");
    refused(&world, 77, &["there is no secret for the webhook"]).await;
    world.setup.env.insert("TELEGRAM_WEBHOOK_SECRET".to_owned(), SECRET.to_owned());
    world.set(&[("gateway.listen", "\"off\"")]);
    refused(&world, 78, &["telegram.mode", "gateway.listen", "off"]).await;
    world.set(&[("gateway.listen", "\"127.0.0.1:0\"")]);
    world.setup.keys.remove("telegram.webhook_url");
    refused(&world, 78, &["telegram.webhook_url` is not set"]).await;
    world.set(&[("telegram.webhook_url", "\"http://bot.example.org/telegram-webhook\"")]);
    refused(&world, 78, &["https://"]).await;
    assert_eq!(world.telegram.requests().len(), 0, "the server was not asked for anything");
    pushed(&mut world);
    listen(&mut world).await;
    world.ask(ANN, "#1", "answer #1").await;
    world.finish().await;
}

#[tokio::test]
async fn the_way_in_may_change_and_each_message_is_answered_once() {
    let mut world = World::start().await;
    world.ask(ANN, "#1", "answer #1").await;
    world.messages.push(endless("#2"));
    world.say(ANN, "#2");
    world.prompted("#2").await;
    world.booked().await;
    world.kill().await;
    world.say(ANN, "#3");

    pushed(&mut world);
    listen(&mut world).await;
    world.hear(ANN, "answer #3").await;
    world.ask(ANN, "#4", "answer #4").await;
    world.end().await;
    world.say(ANN, "#5");
    listen(&mut world).await;
    world.hear(ANN, "answer #5").await;
    world.messages.push(endless("#6"));
    world.say(ANN, "#6");
    world.prompted("#6").await;
    world.booked().await;
    world.kill().await;
    world.say(ANN, "#7");

    polled(&mut world);
    world.run().await;
    world.hear(ANN, "answer #7").await;
    assert_eq!(world.telegram.read(|state| state.webhook_url().map(str::to_owned)), None);
    world.ask(ANN, "#8", "answer #8").await;
    world.say(ANN, "#9");
    world.restart().await;
    world.hear(ANN, "answer #9").await;
    // And back at once, with something on its way.
    world.end().await;
    world.say(ANN, "#10");
    pushed(&mut world);
    listen(&mut world).await;
    world.hear(ANN, "answer #10").await;
    assert_eq!(answered(&world.heard(ANN)), each_once(1..=10));
    assert_eq!(world.sql("SELECT count(*) FROM turns"), 10);
    world.finish().await;
}

/// Passes the next call on and keeps the answer to itself.
struct Mute {
    address: SocketAddr,
    answered: oneshot::Receiver<String>,
    task: JoinHandle<()>,
}

impl Mute {
    async fn before(gateway: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (told, answered) = oneshot::channel();
        let task = tokio::spawn(async move {
            let (mut caller, _) = listener.accept().await.unwrap();
            let mut gateway = TcpStream::connect(gateway).await.unwrap();
            let (mut from, mut to) = caller.split();
            let (mut back, mut forth) = gateway.split();
            let mut answer = String::new();
            tokio::select! {
                _ = tokio::io::copy(&mut from, &mut forth) => {}
                _ = back.read_to_string(&mut answer) => {}
            }
            told.send(answer).unwrap();
            // The caller waits for as long as this lives.
            std::future::pending::<()>().await;
            to.shutdown().await.unwrap();
        });
        Self { address, answered, task }
    }
}

#[tokio::test]
async fn a_kill_between_storing_and_saying_so_brings_the_update_again_and_one_answer() {
    let mut world = World::prepare().await;
    pushed(&mut world);
    let gateway = run(&mut world).await;
    let mute = Mute::before(gateway).await;
    world.telegram.webhook_target(mute.address);
    world.messages.push(endless("#1"));
    world.say(ANN, "#1");
    let answer = tokio::time::timeout(SOON, mute.answered).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(world.sql("SELECT count(*) FROM inbox WHERE text = '#1'"), 1, "what is said yes to is stored");
    world.prompted("#1").await;
    world.kill().await;
    mute.task.abort();
    listen(&mut world).await;
    world.hear(ANN, "answer #1").await;
    world.ask(ANN, "#2", "answer #2").await;
    let statuses = statuses(&world);
    assert!(statuses.len() >= 3 && statuses[0] == 0 && statuses.ends_with(&[200, 200]), "{statuses:?}");
    assert_eq!(answered(&world.heard(ANN)), each_once(1..=2));
    assert_eq!(world.sql("SELECT count(*) FROM turns"), 2);
    world.finish().await;
}
