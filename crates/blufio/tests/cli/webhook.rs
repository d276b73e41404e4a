//! The webhook of the real binary: found by those who know the secret, and by nobody else.

use super::{Place, SOON, model, telegram};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

const ANN: i64 = 501;
const SECRET: &str = "a-secret-of-thirty-two-characters";

/// One request; the answer without its date.
fn exchange(address: SocketAddr, request: &str) -> String {
    tokio::task::block_in_place(|| {
        let mut stream = TcpStream::connect(address).expect("somebody listens");
        stream.set_read_timeout(Some(SOON)).expect("it is a socket");
        stream.write_all(request.as_bytes()).expect("it is taken");
        let mut answer = Vec::new();
        // An error: the other side has closed with something unread. What it said before is here.
        let closed = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).expect("text");
        assert!(closed.is_ok() || !answer.is_empty(), "{closed:?}");
        answer.lines().filter(|line| !line.starts_with("date:")).collect::<Vec<_>>().join("\n")
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_are_brought_and_strangers_find_nothing() {
    let (api, bot) = (model().await, telegram().await);
    let mut place = Place::with_telegram(&api, &bot);
    place.add("mode = \"webhook\"\nwebhook_url = \"https://bot.example/telegram-webhook\"\nallow_from = [501]\n");
    let toml = std::fs::read_to_string(place.file()).expect("it was written").replace("\"off\"\n[", "\"127.0.0.1:0\"\n[");
    place.configure(&toml);
    place.run(&["serve"]).bad(77, &["no secret for the webhook", "hint: set TELEGRAM_WEBHOOK_SECRET"]);
    place.keys.push(("TELEGRAM_WEBHOOK_SECRET", SECRET));
    let server = place.serve();
    let address = server.head.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next());
    let address: SocketAddr = address.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{}", server.head));
    assert_eq!(bot.webhook_deliveries(), [], "nothing can be brought yet");

    bot.webhook_target(address);
    bot.send_text(ANN, "[say:brought to me]");
    let messages = bot.wait_for_bot_messages(ANN, 1, SOON).await;
    assert_eq!(messages.last().map(|message| message.text.as_str()), Some("brought to me"));
    assert_eq!(bot.webhook_deliveries().last().map(|delivery| delivery.status), Some(200));
    let text = place.run(&["channel", "status"]).good();
    assert!(text.starts_with("telegram: ready, messages are brought to its webhook\n"), "{text}");

    let nowhere = exchange(address, "POST /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n\r\n");
    assert!(nowhere.starts_with("HTTP/1.1 404 ") && nowhere.contains("connection: close"), "{nowhere}");
    let secret = format!("x-telegram-bot-api-secret-token: {SECRET}");
    for (method, headers) in [
        ("POST", "content-length: 1000000000".to_owned()),
        ("POST", "content-length: 1000000000\r\nx-telegram-bot-api-secret-token: wrong".to_owned()),
        ("PUT", format!("content-length: 1000000000\r\n{secret}")),
    ] {
        let request = format!("{method} /telegram-webhook HTTP/1.1\r\nhost: x\r\n{headers}\r\n\r\n");
        assert_eq!(exchange(address, &request), nowhere, "{request}");
    }
    let huge = format!("POST /telegram-webhook HTTP/1.1\r\nhost: x\r\ncontent-length: 1048577\r\n{secret}\r\n\r\n");
    assert!(exchange(address, &huge).starts_with("HTTP/1.1 413 "));
    for path in ["/v1/status", "/metrics", "/v1/channels/telegram", "/v1/approvals", "/v1/pairings/link"] {
        let answer = exchange(address, &format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
    }
    let log = server.stop();
    assert!(!log.contains(SECRET), "{log}");
    assert_eq!(bot.violations(), [""; 0]);
}
