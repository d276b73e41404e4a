//! Files in both directions.

use blufio_testkit::botapi::{Action, ChatKind, FILE_METHOD, FakeBotApi, Fault, Post, UserFile};
use serde_json::{Value, json};

use super::{Client, Reply, bad, server};

/// The first 24 bytes of a PNG of this size, which is all that the server looks at.
fn png(width: u16, height: u16) -> Vec<u8> {
    let ([a, b], [c, d]) = (width.to_be_bytes(), height.to_be_bytes());
    [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".as_slice(), &[0, 0, a, b, 0, 0, c, d]].concat()
}

/// Uploads one file with text fields.
async fn upload(client: &mut Client, method: &str, fields: &[(&str, &str)], file: (&str, &str, &[u8])) -> Reply {
    let (field, name, bytes) = file;
    let mut body = Vec::new();
    for (name, value) in fields {
        let part = format!("--BOUND\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    let head = format!(
        "--BOUND\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\nContent-Type: \
         application/octet-stream\r\n\r\n"
    );
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(bytes);
    body.extend_from_slice(b"\r\n--BOUND--\r\n");
    let path = format!("/bot{}/{method}", client.token);
    client.send(&path, "multipart/form-data; boundary=BOUND", &body).await;
    client.receive().await.expect("an answer")
}

async fn error(client: &mut Client, method: &str, fields: &[(&str, &str)], file: (&str, &str, &[u8])) -> (i64, String) {
    let answer = upload(client, method, fields, file).await.json();
    (answer["error_code"].as_i64().expect("an error"), answer["description"].as_str().expect("a text").to_owned())
}

async fn download(client: &mut Client, path: &Value) -> Reply {
    client.send(&format!("/file/bot1:TEST/{}", path.as_str().expect("a path")), "text/plain", b"").await;
    client.receive().await.expect("an answer")
}

async fn messages(client: &mut Client) -> Vec<Value> {
    let updates = client.ok("getUpdates", json!({})).await;
    updates.as_array().expect("a list").iter().map(|update| update["message"].clone()).collect()
}

#[tokio::test]
async fn albums_and_files_go_anywhere() {
    let server = server().await;
    let mut client = Client::connect(&server).await;
    server.add_group(-100, "Forum", ChatKind::Supergroup { forum: true }, &[7]);
    server.post(Post::new(-100, 7, "before").in_topic(5));
    let part = |size: u16| UserFile::photo(7, png(size, 20)).in_chat(-100).in_topic(5);
    server.post_album("both", [part(10), part(11).replying_to(2)]);
    server.post_file(UserFile::voice(7, 42, "sound"));
    server.post_file(UserFile::audio(7, 3, "a.mp3", "sound"));
    server.post_file(UserFile::video(7, 4, "film").claiming_dimensions(640, 480));
    server.post_file(UserFile::document(7, "", "", "text").claiming_size(99).caption("@ann see"));
    let messages = messages(&mut client).await;
    assert_eq!((&messages[1]["caption"], &messages[2]["caption"]), (&json!("both"), &Value::Null));
    assert!(messages[1]["media_group_id"].is_string());
    assert_eq!(messages[1]["media_group_id"], messages[2]["media_group_id"]);
    assert_eq!((&messages[1]["message_thread_id"], &messages[1]["chat"]["id"]), (&json!(5), &json!(-100)));
    assert_eq!((&messages[1]["photo"][1]["width"], &messages[1]["photo"][1]["height"]), (&json!(10), &json!(20)));
    assert_eq!(messages[2]["reply_to_message"]["text"], "before");
    assert_eq!((&messages[3]["voice"]["duration"], &messages[4]["audio"]["file_name"]), (&json!(42), &json!("a.mp3")));
    assert_eq!(messages[5]["video"]["width"], 640);
    let document = &messages[6]["document"];
    assert_eq!((&document["file_size"], &document["file_name"]), (&json!(99), &Value::Null));
    assert_eq!(messages[6]["caption_entities"][0]["type"], "mention");
    let photo = client.ok("getFile", json!({"file_id": messages[1]["photo"][1]["file_id"]})).await;
    assert_eq!(download(&mut client, &photo["file_path"]).await.body, png(10, 20));
}

#[tokio::test]
async fn sizes_hide_and_links_expire() {
    let server = server().await;
    let mut client = Client::connect(&server).await;
    server.post_file(UserFile::document(7, "a.txt", "text/plain", "content").without_size());
    server.post_file(UserFile::document(7, "big", "", vec![0; 20 * 1024 * 1024 + 1]).without_size());
    let messages = messages(&mut client).await;
    assert_eq!(messages[0]["document"]["file_size"], Value::Null);
    assert_eq!(
        client.error("getFile", json!({"file_id": messages[1]["document"]["file_id"]})).await,
        bad("file is too big")
    );
    let id = json!({"file_id": messages[0]["document"]["file_id"]});
    let old = client.ok("getFile", id.clone()).await;
    assert_eq!(old["file_size"], Value::Null);
    server.change(|state| state.expire_links());
    assert_eq!(download(&mut client, &old["file_path"]).await.status, 404);
    let new = client.ok("getFile", id.clone()).await;
    assert_eq!(download(&mut client, &new["file_path"]).await.body, b"content");
    let file_id = id["file_id"].as_str().expect("an id");
    server.change(|state| state.set_file_path(file_id, "../x"));
    assert_eq!(client.ok("getFile", id).await["file_path"], "../x");
    server.fault(Fault::once(FILE_METHOD, Action::Redirect("http://127.0.0.1:9/".to_owned())));
    let redirected = download(&mut client, &json!("../x")).await;
    assert!(redirected.status == 302 && redirected.head.contains("location: http://127.0.0.1:9/"));
    server.fault(Fault::once("sendMessage", Action::Result(json!({"message_id": 0}))));
    assert_eq!(client.ok("sendMessage", json!({"chat_id": 7, "text": "x"})).await, json!({"message_id": 0}));
    assert_eq!(server.violations(), [""; 0]);
}

async fn ready() -> (FakeBotApi, Client) {
    let server = server().await;
    server.send_text(7, "hi");
    let client = Client::connect(&server).await;
    (server, client)
}

#[tokio::test]
async fn uploads_arrive_byte_by_byte_with_all_their_fields() {
    let (server, mut client) = ready().await;
    let bytes: Vec<u8> = (0..=255).cycle().take(5_000).chain(*b"\r\n--BOUN").collect();
    let fields = [
        ("chat_id", "7"),
        ("caption", "<b>see</b> it"),
        ("parse_mode", "HTML"),
        ("reply_parameters", r#"{"message_id":1,"allow_sending_without_reply":true}"#),
        ("reply_markup", r#"{"inline_keyboard":[[{"text":"ok","callback_data":"d"}]]}"#),
        ("disable_notification", "true"),
    ];
    let sent = upload(&mut client, "sendDocument", &fields, ("document", "a; b.bin", &bytes)).await.json();
    assert_eq!(sent["result"]["reply_markup"]["inline_keyboard"][0][0]["callback_data"], "d", "{sent}");
    upload(&mut client, "sendPhoto", &[("chat_id", "7")], ("photo", "p.png", &png(30, 40))).await;
    let files = server.received_files(7);
    let file = &files[0];
    assert_eq!(
        (file.kind, file.name.as_str(), file.media_type.as_str()),
        ("document", "a; b.bin", "application/octet-stream")
    );
    assert_eq!((file.caption.as_str(), file.html.as_str()), ("see it", "<b>see</b> it"));
    assert_eq!((file.reply_to, file.thread, file.silent), (Some(1), None, true));
    assert_eq!(file.bytes, bytes);
    assert_eq!((files[1].kind, &files[1].bytes[..]), ("photo", &png(30, 40)[..]));
    assert_eq!(server.transcript(7)[1].buttons, [[("ok".to_owned(), "d".to_owned())]]);
    assert_eq!(file.message_id, server.transcript(7)[1].message_id);
    let again = json!({"chat_id": 7, "document": sent["result"]["document"]["file_id"]});
    client.ok("sendDocument", again).await;
    assert_eq!(server.received_files(7)[2].bytes, bytes, "a known file may be sent again by its id");
    assert_eq!(server.violations(), [""; 0]);
}

#[tokio::test]
async fn captions_and_photos_have_limits() {
    let (server, mut client) = ready().await;
    let document = ("document", "a", b"x".as_slice());
    let exact = format!("<b>{}</b>", "😀".repeat(512));
    let fields = [("chat_id", "7"), ("parse_mode", "HTML"), ("caption", exact.as_str())];
    assert_eq!(upload(&mut client, "sendDocument", &fields, document).await.status, 200);
    let over = format!("{exact}.");
    let fields = [("chat_id", "7"), ("parse_mode", "HTML"), ("caption", over.as_str())];
    assert_eq!(error(&mut client, "sendDocument", &fields, document).await, bad("message caption is too long"));
    let to = [("chat_id", "7")];
    let mut large = png(10, 10);
    large.resize(10 * 1024 * 1024 + 1, 0);
    for (bytes, expected) in [
        (large.as_slice(), "file of size 10485761 bytes is too big for a photo; the maximum size is 10485760 bytes"),
        (b"no picture", "IMAGE_PROCESS_FAILED"),
        (&png(9_000, 1_001), "PHOTO_INVALID_DIMENSIONS"),
        (&png(2_100, 100), "PHOTO_INVALID_DIMENSIONS"),
        (b"", "file must be non-empty"),
    ] {
        assert_eq!(error(&mut client, "sendPhoto", &to, ("photo", "p", bytes)).await, bad(expected));
    }
    assert_eq!(upload(&mut client, "sendDocument", &to, ("document", "p", &large)).await.status, 200);
    assert_eq!(server.violations(), [""; 0]);

    let data = format!(r#"{{"inline_keyboard":[[{{"text":"x","callback_data":"{}"}}]]}}"#, "é".repeat(33));
    let fields = [("chat_id", "7"), ("reply_markup", data.as_str())];
    assert_eq!(error(&mut client, "sendDocument", &fields, document).await, bad("BUTTON_DATA_INVALID"));
    let injected = ("document", "x\"; name=\"chat_id", b"8".as_slice());
    assert_eq!(upload(&mut client, "sendDocument", &to, injected).await.status, 400);
    assert_eq!(server.violations().len(), 2, "{:?}", server.violations());
}
