//! Files that the agent sends: the very bytes, once, before the words that go with them, and in the chat that asked.

use std::io::Cursor;
use std::path::PathBuf;

use blufio_testkit::botapi::{Action, Fault, State};
use image::{ImageFormat, RgbImage};
use serde_json::{Value, json};

use crate::support::{ANN, BOB, SOON, World, answered, each_once};

/// Puts a file into the workspace of a running server.
fn file(world: &World, name: &str, bytes: &[u8]) -> PathBuf {
    let path = world.workspace().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    path
}

/// A request for files, answered with `#number`.
fn asks(paths: &[&str], number: u32) -> String {
    let calls: String = paths.iter().map(|path| format!("[tool:send_file {}]", json!({"path": path}))).collect();
    format!("{calls} #{number}")
}

fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::new(width, height).write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Files of the workspace are the owners'.
const OWNERS: (&str, &str) = ("telegram.owners", "[1001, 1002]");

async fn world() -> World {
    World::start_with(&[OWNERS]).await
}

#[tokio::test]
async fn files_arrive_byte_for_byte_before_the_words() {
    let world = world().await;
    // Bytes that a careless multipart body would stumble over.
    let odd =
        b"--boundary\r\nContent-Disposition: form-data; name=\"chat_id\"\r\n\r\n1\r\n--boundary--\r\n\0\xff".to_vec();
    file(&world, "reports/report.txt", b"all is well");
    file(&world, "odd \"name\"; \u{e4}.bin", &odd);
    file(&world, "picture.png", &png(40, 30));
    world.ask(ANN, &asks(&["reports/report.txt"], 1), "answer #1").await;
    world.ask(BOB, &asks(&["odd \"name\"; \u{e4}.bin", "picture.png"], 2), "answer #2").await;
    let sent = world.telegram.received_files(ANN);
    assert_eq!((sent.len(), sent[0].kind, sent[0].name.as_str()), (1, "document", "report.txt"));
    assert_eq!((&sent[0].bytes[..], sent[0].media_type.as_str()), (&b"all is well"[..], "text/plain"));
    let mut sent_to_bob = world.telegram.received_files(BOB);
    // Calls of one answer run at once, and whichever is ready first goes first.
    sent_to_bob.sort_by_key(|file| file.kind);
    let kinds: Vec<&str> = sent_to_bob.iter().map(|file| file.kind).collect();
    assert_eq!(kinds, ["document", "photo"]);
    assert_eq!((&sent_to_bob[0].bytes[..], &sent_to_bob[1].bytes[..]), (&odd[..], &png(40, 30)[..]));
    for (chat, files) in [(ANN, &sent), (BOB, &sent_to_bob)] {
        let words = world.said(chat).into_iter().find(|said| said.text.contains("answer")).unwrap();
        assert!(files.iter().all(|file| file.message_id < words.message_id), "the files come first");
    }
    world.finish().await;
}

#[tokio::test]
async fn what_cannot_be_sent_is_told_to_the_model() {
    let world = world().await;
    let large = std::fs::File::create(file(&world, "large.bin", b"")).unwrap();
    large.set_len(21 * 1024 * 1024).unwrap();
    file(&world, "empty.txt", b"");
    std::os::unix::fs::symlink("/etc/passwd", world.workspace().join("link")).unwrap();
    for (number, path) in
        (1..).zip(["large.bin", "empty.txt", "missing.txt", "../blufio.db", "/etc/passwd", "link", "."])
    {
        let said = world.ask(ANN, &asks(&[path], number), &format!("answer #{number}")).await;
        assert!(said.text.contains("The tool send_file said"), "{path}: {}", said.text);
        assert!(!said.text.contains("will be sent"), "{path}: {}", said.text);
    }
    assert!(world.telegram.received_files(ANN).is_empty());
    // Where there is no chat there is nobody to send a file to.
    file(&world, "a.txt", b"a");
    let row = world.say_here("local:main", "one", &asks(&["a.txt"], 9)).await;
    let text = world.outcome(row).await["text"].clone();
    assert!(text.as_str().unwrap().contains("in a chat only"), "{text}");
    world.finish().await;
}

#[tokio::test]
async fn no_more_is_sent_than_the_operator_allows() {
    let world = World::start_with(&[OWNERS, ("telegram.media_max_mb", "1")]).await;
    file(&world, "two.bin", &vec![7; 2 * 1024 * 1024]);
    let said = world.ask(ANN, &asks(&["two.bin"], 1), "answer #1").await;
    assert!(said.text.contains("more than"), "{}", said.text);
    assert!(world.telegram.received_files(ANN).is_empty());
    world.finish().await;
}

#[tokio::test]
async fn a_file_that_may_have_arrived_is_not_sent_again_and_the_owner_is_told() {
    let world = world().await;
    world.telegram.open_private(ANN);
    file(&world, "a.txt", b"a");
    world.telegram.fault(Fault::once("sendDocument", Action::ApplyThenDrop));
    world.ask(BOB, &asks(&["a.txt"], 1), "answer #1").await;
    let told = world.hear(ANN, "could not be delivered").await;
    assert!(told.text.contains("a.txt") && told.text.contains(&BOB.to_string()), "{}", told.text);
    assert_eq!(world.telegram.received_files(BOB).len(), 1);
    // A failure that is no doubt is tried again.
    let busy = Action::Answer { status: 500, description: "Internal Server Error".to_owned(), parameters: Value::Null };
    world.telegram.fault(Fault::once("sendDocument", busy));
    world.ask(BOB, &asks(&["a.txt"], 2), "answer #2").await;
    assert_eq!(world.telegram.received_files(BOB).len(), 2);
    world.finish().await;
}

#[tokio::test]
async fn a_kill_while_a_file_is_sent_sends_it_at_most_once() {
    for (applied, action) in [(1, Action::ApplyThenNeverAnswer), (0, Action::NeverAnswer)] {
        let mut world = world().await;
        world.telegram.open_private(ANN);
        file(&world, "a.txt", b"a");
        world.telegram.fault(Fault::once("sendDocument", action));
        world.say(BOB, &asks(&["a.txt"], 1));
        world.telegram.wait_for(|state| (state.count("sendDocument") == 1).then_some(()), SOON).await;
        world.prompted_times("#1", 2).await;
        world.stored("SELECT count(*) FROM turns WHERE state = 'done'", 1).await;
        world.kill().await;
        world.run().await;
        world.hear(BOB, "answer #1").await;
        let told = world.hear(ANN, "a.txt").await;
        assert!(told.text.contains("could not be delivered"), "{}", told.text);
        assert_eq!(world.telegram.received_files(BOB).len(), applied);
        assert_eq!(answered(&world.heard(BOB)), each_once([1]));
        world.finish().await;
    }
}

#[tokio::test]
async fn a_kill_before_the_files_words_are_there_sends_nothing_twice() {
    let mut world = world().await;
    file(&world, "a.txt", b"a");
    world.messages.push(blufio_testkit::messages::Script::tool("send_file", json!({"path": "a.txt"})).only_if("#1"));
    let endless = blufio_testkit::messages::Script::text("never").only_if("#1");
    world.messages.push(blufio_testkit::messages::Script { first_token_ms: 60_000, ..endless });
    world.say(ANN, "#1");
    world.prompted_times("#1", 2).await;
    world.stored("SELECT count(*) FROM outbox WHERE state = 'sent'", 1).await;
    world.kill().await;
    world.run().await;
    world.hear(ANN, "answer #1").await;
    assert_eq!(world.telegram.received_files(ANN).len(), 1);
    world.finish().await;
}

#[tokio::test]
async fn a_picture_that_is_refused_as_one_is_sent_as_a_file() {
    let world = world().await;
    // Too thin for the server.
    file(&world, "thin.png", &png(2_000, 10));
    world.ask(ANN, &asks(&["thin.png"], 1), "answer #1").await;
    let sent = world.telegram.received_files(ANN);
    assert_eq!((sent.len(), sent[0].kind, &sent[0].bytes[..]), (1, "document", &png(2_000, 10)[..]));
    world.finish().await;
}

#[tokio::test]
async fn a_file_that_is_changed_later_was_sent_as_it_was() {
    let world = world().await;
    let path = file(&world, "a.txt", b"before");
    world.telegram.fault(Fault::once("sendDocument", Action::RateLimit { retry_after: Some(1) }));
    world.say(ANN, &asks(&["a.txt"], 1));
    world.telegram.wait_for(|state| (state.count("sendDocument") == 1).then_some(()), SOON).await;
    std::fs::write(path, b"after").unwrap();
    world.hear(ANN, "answer #1").await;
    assert_eq!(&world.telegram.received_files(ANN)[0].bytes[..], b"before");
    world.finish().await;
}

#[tokio::test]
async fn an_answer_of_too_many_messages_comes_as_a_file() {
    for streaming in ["\"off\"", "\"edit\""] {
        let world =
            World::start_with(&[OWNERS, ("telegram.streaming", streaming), ("telegram.text_chunk", "500")]).await;
        world.say(ANN, "[long:3000][slow:800]");
        let sent = |state: &State| state.received_files(ANN).into_iter().next();
        let sent = world.telegram.wait_for(sent, SOON).await;
        assert_eq!(sent.name, "answer.md");
        let text = String::from_utf8(sent.bytes.to_vec()).unwrap();
        let words: Vec<&str> = text.split_whitespace().collect();
        assert!(words.len() == 3_000 && words[2_999] == "more.", "{} words", words.len());
        let heard = world.said(ANN);
        let line = heard.iter().find(|said| said.text.contains("comes as a file")).expect("one line of words");
        assert!(line.message_id < sent.message_id && heard.len() == 2, "{heard:?}");
        // Nineteen are not too many.
        world.say(BOB, "[long:1500]");
        let words = |state: &State| {
            state.transcript(BOB).iter().map(|said| said.text.split_whitespace().count()).sum::<usize>()
        };
        world.telegram.wait_for(|state| (words(state) > 1_500).then_some(()), SOON).await;
        assert!(
            world.telegram.received_files(BOB).is_empty() && world.heard(BOB).len() == 19,
            "{:?}",
            world.heard(BOB)
        );
        world.finish().await;
    }
}

#[tokio::test]
async fn a_chat_that_must_rest_gets_nothing_else_meanwhile() {
    let world = World::start().await;
    world.telegram.open_private(ANN);
    world.say(BOB, "#1 [slow:500]");
    world.prompted("#1").await;
    world.telegram.change(|state| state.flood(Some(ANN), 4));
    world.telegram.set_blocked(BOB, true);
    // A notice that has to wait holds up nothing, but the pause is the chat's.
    world.stored("SELECT count(*) FROM outbox WHERE kind = 'notice' AND not_before > at", 1).await;
    world.ask(ANN, "#2", "answer #2").await;
    world.hear(ANN, "blocked").await;
    assert_eq!(world.telegram.read(|state| state.early_sends()), 0);
    world.finish().await;
}
