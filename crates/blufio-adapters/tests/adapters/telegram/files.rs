//! Files from people: what is fetched, what is refused, and when that is tried again.

use super::sending::answer;
use super::{ANN, TOKEN, World};
use blufio_core::content::{FileKind, FileRef};
use blufio_core::port::{Channel, FetchError, InboundKind};
use blufio_testkit::botapi::{Action, FILE_METHOD, Fault, UserFile};
use blufio_testkit::contract::channel::{MemoryIntake, receive, stop};
use blufio_testkit::http::{Handler, HttpServer, Request, Responder};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const MIB: u64 = 1024 * 1024;
const WORDS: &[u8] = b"These are the words of a file.";

/// What the channel makes of a file that a person sends.
async fn received(world: &World, file: UserFile) -> FileRef {
    let intake = Arc::new(MemoryIntake::default());
    world.server.post_file(file);
    let task = receive(&world.any(), &intake);
    let inbound = intake.wait_for(|intake| intake.distinct().first().cloned()).await;
    stop(task).await;
    let InboundKind::Message { content, .. } = inbound.kind else { panic!("{inbound:?}") };
    assert_eq!(content.files.len(), 1);
    content.files.into_iter().next().unwrap()
}

fn document(bytes: &[u8]) -> UserFile {
    UserFile::document(ANN, "notes.txt", "text/plain", bytes.to_vec())
}

/// Asked where it is, and downloaded.
fn calls(world: &World) -> (u64, u64) {
    (world.count("getFile"), world.count(FILE_METHOD))
}

fn is_unavailable(fetched: &Result<Vec<u8>, FetchError>) -> bool {
    matches!(fetched, Err(FetchError::Unavailable(_)))
}

#[tokio::test]
async fn what_people_send_is_fetched() {
    let files = [
        (document(WORDS), FileKind::Document),
        (UserFile::photo(ANN, WORDS), FileKind::Photo),
        (UserFile::voice(ANN, 3, WORDS), FileKind::Voice),
    ];
    for (file, kind) in files {
        let world = World::new().await;
        let file = received(&world, file).await;
        assert_eq!((file.kind, file.bytes), (kind, Some(WORDS.len() as u64)));
        assert_eq!(world.channel.fetch(&file, MIB).await, Ok(WORDS.to_vec()));
        assert_eq!(calls(&world), (1, 1));
    }
}

#[tokio::test]
async fn nothing_larger_than_allowed_is_fetched() {
    let size = WORDS.len() as u64;
    let world = World::new().await;
    let file = received(&world, document(WORDS)).await;
    assert_eq!(world.channel.fetch(&file, size).await, Ok(WORDS.to_vec()));
    assert_eq!(world.channel.fetch(&file, size - 1).await, Err(FetchError::TooLarge));
    assert_eq!(calls(&world), (1, 1), "its size was known, so nobody was asked");

    let world = World::new().await;
    let file = received(&world, document(WORDS).claiming_size(1)).await;
    assert_eq!(world.channel.fetch(&file, size - 1).await, Err(FetchError::TooLarge));
    assert_eq!(calls(&world), (1, 0), "the server knew better than the message");

    let world = World::new().await;
    let file = received(&world, document(WORDS).without_size()).await;
    assert_eq!(file.bytes, None);
    assert_eq!(world.channel.fetch(&file, size - 1).await, Err(FetchError::TooLarge));
    assert_eq!(calls(&world), (1, 1), "nobody knew");
    assert_eq!(world.channel.fetch(&file, size).await, Ok(WORDS.to_vec()));

    world.server.fault(Fault::on(FILE_METHOD, Action::HugeBody(3 * MIB as usize)));
    assert_eq!(world.channel.fetch(&file, MIB).await, Err(FetchError::TooLarge));
}

#[tokio::test]
async fn the_server_hands_out_no_more_than_twenty_mebibytes() {
    let world = World::new().await;
    let whole = vec![7; 20 * MIB as usize];
    let file = received(&world, document(&whole)).await;
    assert_eq!(world.channel.fetch(&file, 20 * MIB).await.map(|bytes| bytes == whole), Ok(true));

    let world = World::new().await;
    let file = received(&world, document(&[whole.as_slice(), &[7]].concat()).without_size()).await;
    assert_eq!(world.channel.fetch(&file, 40 * MIB).await, Err(FetchError::TooLarge));
    assert_eq!(calls(&world), (1, 0));
}

#[tokio::test]
async fn a_link_that_is_no_longer_good_is_asked_for_once_more() {
    let world = World::new().await;
    let file = received(&world, document(WORDS)).await;
    world.server.fault(Fault::once(FILE_METHOD, answer(404, "Not Found")));
    assert_eq!(world.channel.fetch(&file, MIB).await, Ok(WORDS.to_vec()));
    assert_eq!(calls(&world), (2, 2));

    world.server.change(|state| state.expire_links());
    assert_eq!(world.channel.fetch(&file, MIB).await, Ok(WORDS.to_vec()), "the new link is good at once");
    assert_eq!(calls(&world), (3, 3));

    world.server.fault(Fault::on(FILE_METHOD, answer(404, "Not Found")));
    assert_eq!(world.channel.fetch(&file, MIB).await, Err(FetchError::Gone));
    assert_eq!(calls(&world), (5, 5), "once more and not for ever");
    world.server.clear_faults();

    world.server.change(|state| state.expire_files());
    assert_eq!(world.channel.fetch(&file, MIB).await, Err(FetchError::Gone));
    assert_eq!(calls(&world), (6, 5));
}

#[tokio::test]
async fn every_failure_of_a_fetch_has_its_name() {
    let world = World::with(|options| {
        options.timeouts.send = Duration::from_millis(300);
        options.timeouts.stall = Duration::from_millis(300);
        options.timeouts.fetch = Duration::from_secs(5);
    })
    .await;
    let file = received(&world, document(WORDS)).await;
    let transport = [
        Action::HtmlBody502,
        Action::DropBefore,
        Action::NeverAnswer,
        Action::ApplyThenNeverAnswer,
        Action::ResetMid,
        Action::TruncatedJson,
        answer(401, "Unauthorized"),
        answer(500, "Internal Server Error"),
    ];
    for action in transport {
        for method in ["getFile", FILE_METHOD] {
            world.server.fault(Fault::on(method, action.clone()));
            let before = calls(&world);
            let fetched = world.channel.fetch(&file, MIB).await;
            assert!(is_unavailable(&fetched), "{method} {action:?}: {fetched:?}");
            let downloads = u64::from(method == FILE_METHOD);
            assert_eq!(calls(&world), (before.0 + 1, before.1 + downloads), "{method} {action:?}: tried once");
            world.server.clear_faults();
        }
    }
    let refusals = [
        ("wrong file_id or the file is temporarily unavailable", FetchError::Gone),
        ("invalid file_id", FetchError::Gone),
        ("file is too big", FetchError::TooLarge),
    ];
    for (words, expect) in refusals {
        world.server.fault(Fault::once("getFile", answer(400, &format!("Bad Request: {words}"))));
        assert_eq!(world.channel.fetch(&file, MIB).await, Err(expect), "{words}");
    }
    assert_eq!(world.channel.fetch(&file, MIB).await, Ok(WORDS.to_vec()));
}

/// A byte now and then is no stall, so only the time for the whole ends it.
#[tokio::test]
async fn a_file_that_drips_is_given_up_in_time() {
    let world = World::with(|options| {
        options.timeouts.stall = Duration::from_secs(5);
        options.timeouts.fetch = Duration::from_millis(300);
    })
    .await;
    let file = received(&world, document(&[7; 4_096])).await;
    world.server.fault(Fault::on(FILE_METHOD, Action::Drip(5)));
    assert_eq!(
        world.channel.fetch(&file, MIB).await,
        Err(FetchError::Late("it did not come within 300 ms".to_owned()))
    );
}

#[tokio::test]
async fn a_pause_that_the_server_asks_for_is_kept_if_there_is_time() {
    let world = World::with(|options| options.timeouts.fetch = Duration::from_secs(10)).await;
    let file = received(&world, document(WORDS)).await;
    world.server.fault(Fault::once("getFile", Action::RateLimit { retry_after: Some(1) }));
    assert_eq!(world.channel.fetch(&file, MIB).await, Ok(WORDS.to_vec()));
    assert_eq!(calls(&world), (2, 1));
    world.server.fault(Fault::on("getFile", Action::RateLimit { retry_after: Some(11) }));
    assert_eq!(
        world.channel.fetch(&file, MIB).await,
        Err(FetchError::Late("Telegram asks to wait for 11 s".to_owned()))
    );
    assert_eq!(calls(&world), (3, 1), "nobody waits for longer than there is time");
}

#[tokio::test]
async fn only_plain_paths_are_fetched() {
    let world = World::new().await;
    let file = received(&world, document(WORDS)).await;
    let long = "x".repeat(257);
    for path in
        ["/etc/passwd", "../bot1/getMe", "a/../../b", "a?b", "a b", "a%2e%2e/b", "http://127.0.0.1/x", "", &long]
    {
        world.server.change(|state| state.set_file_path(&file.handle, path));
        assert_eq!(world.channel.fetch(&file, MIB).await, Err(FetchError::Gone), "{path}");
    }
    world.server.fault(Fault::once("getFile", Action::Result(json!({"file_id": "x", "file_unique_id": "y"}))));
    assert_eq!(world.channel.fetch(&file, MIB).await, Err(FetchError::Gone), "no path at all");
    assert_eq!(world.count(FILE_METHOD), 0);
    world.server.change(|state| state.set_file_path(&file.handle, "voice/file_1-a.b.oga"));
    assert_eq!(world.channel.fetch(&file, MIB).await, Ok(WORDS.to_vec()));
}

/// Counts whoever comes.
#[derive(Default)]
struct Elsewhere(AtomicU64);

impl Handler for Elsewhere {
    async fn handle(&self, _request: Request, responder: Responder) {
        self.0.fetch_add(1, Ordering::Relaxed);
        responder.full(200, &[], "not the file").await;
    }
}

#[tokio::test]
async fn nobody_is_sent_elsewhere() {
    let world = World::new().await;
    let file = received(&world, document(WORDS)).await;
    let elsewhere = Arc::new(Elsewhere::default());
    let server = HttpServer::start(([127, 0, 0, 1], 0).into(), Arc::clone(&elsewhere)).await.unwrap();
    for target in [server.base_url(), format!("{}/file/bot{TOKEN}/x", world.server.base_url())] {
        let before = world.count(FILE_METHOD);
        world.server.fault(Fault::once(FILE_METHOD, Action::Redirect(target.clone())));
        let fetched = world.channel.fetch(&file, MIB).await;
        assert!(is_unavailable(&fetched), "{target}: {fetched:?}");
        assert_eq!(world.count(FILE_METHOD), before + 1);
    }
    assert_eq!(elsewhere.0.load(Ordering::Relaxed), 0);
}
