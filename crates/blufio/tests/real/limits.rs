//! Limits and their answers, what is open to whom, what an operator sees, and what nobody ever sees.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use blufio_testkit::botapi::{Action, Fault as BotFault, UserFile};
use blufio_testkit::messages::{Fault, FaultKind};
use blufio_testkit::web::{FakeWeb, Reply};
use serde_json::json;
use tokio::net::TcpStream;

use crate::support::{ANN, BOB, KEY, TOKEN, World, answered, each_once, exchange};

const SEARCH_KEY: &str = "canary-of-the-search-service-key";
const HEARING_KEY: &str = "canary-of-the-transcription-key";

#[tokio::test]
async fn messages_beyond_the_queue_are_refused_with_a_note() {
    let world = World::start().await;
    world.say(ANN, "#1 [slow:700]");
    world.prompted("#1").await;
    for number in 2..=25 {
        world.say(ANN, &format!("#{number}"));
    }
    world.hear(ANN, "answer #21").await;
    assert_eq!(answered(&world.heard(ANN)), each_once(1..=21));
    assert_eq!(world.count(ANN, "too many of your messages"), 4);
    world.ask(ANN, "#26", "answer #26").await;
    world.finish().await;
}

#[tokio::test]
async fn a_message_that_is_too_long_is_refused_with_words() {
    let world = World::start().await;
    let row = world.say_here("local:main", "long", &"x".repeat(70 * 1024)).await;
    assert!(world.outcome(row).await["text"].as_str().unwrap().contains("too long for me"));
    assert_eq!(world.messages.calls(), 0);
    let row = world.say_here("local:main", "fits", &format!("#1 {}", "x".repeat(60 * 1024))).await;
    assert_eq!(world.outcome(row).await["text"], "answer #1");
    world.finish().await;
}

/// A small file system in memory; gone with the value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where this user may not mount.
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=3m,mode=0700", "tmpfs"])
            .arg(at)
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then(|| Self(at.to_owned()))
    }

    /// Takes all space that is left.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("ballast")).unwrap();
        while std::io::Write::write_all(&mut file, &[0; 4_096]).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(std::process::Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

#[tokio::test]
async fn on_a_full_disk_messages_stay_at_the_server_until_there_is_room() {
    let mut world = World::prepare().await;
    let Some(disk) = SmallDisk::mount(&world.setup.data_dir()) else {
        eprintln!("skipped: this user may not mount a small file system");
        return;
    };
    world.run().await;
    world.ask(ANN, "#1", "answer #1").await;
    disk.fill();
    for number in 2..6 {
        world.say(ANN, &format!("#{number} {}", "x".repeat(2_000)));
    }
    let health = world
        .eventually("the channel tells of it", async |world| {
            let health = world.status().await["channels"]["telegram"].take();
            (health["state"] == "degraded").then_some(health)
        })
        .await;
    assert!(health["reason"].as_str().unwrap().contains("cannot be stored"), "{health}");
    assert!(world.telegram.read(|state| state.pending_updates()) > 0, "not confirmed");
    disk.free();
    world.hear(ANN, "answer #5").await;
    assert_eq!(answered(&world.heard(ANN)), each_once(1..6));
    world.end().await;
    world.check_database();
    // Before the folder of the test goes.
    drop(disk);
    world.finish().await;
}

#[tokio::test]
async fn the_network_sees_two_words_and_the_socket_everything() {
    let world = World::start().await;
    let address = world.gateway();
    for (path, wanted) in [
        ("/healthz", 200),
        ("/readyz", 200),
        ("/metrics", 404),
        ("/v1/status", 404),
        ("/v1/messages/1", 404),
        ("/v1/pairings", 404),
        ("/", 404),
        ("/readyz/../metrics", 404),
    ] {
        let stream = TcpStream::connect(&address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let (status, _) = exchange(stream, &request).await.unwrap();
        assert_eq!(status, wanted, "{path}");
        if path.len() > 1 && !path.contains("..") && !path.ends_with("/1") {
            assert_eq!(world.get(path).await.unwrap().0, 200, "{path} on the socket");
        }
    }
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let data = world.setup.data_dir();
    assert_eq!((mode(&data), mode(&data.join("blufio.sock"))), (0o700, 0o600));
    assert_eq!(mode(&data.join("blufio.db")) & 0o077, 0);
    world.finish().await;
}

#[tokio::test]
async fn a_turn_without_tools_takes_few_commits() {
    let world = World::start().await;
    world.ask(ANN, "#1", "answer #1").await;
    world.stored("SELECT count(*) FROM outbox WHERE state = 'sent'", 1).await;
    let commits = async || world.metric("blufio_store_commits_total").await;
    let before = commits().await;
    world.say(ANN, "#2 [slow:300]");
    world.prompted("#2").await;
    let text = commits().await - before;
    world.hear(ANN, "answer #2").await;
    world.stored("SELECT count(*) FROM outbox WHERE state = 'sent'", 2).await;
    let all = commits().await - before;
    assert!(text <= 3 && all <= 5, "{text} before the first text, {all} in all");
    world.finish().await;
}

/// A secret as others might repeat it.
struct Disguise {
    /// As it is said. The whole secret: of a part nobody can tell what it is.
    whole: String,
    /// What of that depends on the secret alone; this must be nowhere.
    core: String,
}

fn disguises(secret: &str) -> Vec<Disguise> {
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let plain = |text: String| Disguise { core: text.clone(), whole: text };
    let mut all = vec![plain(hex.to_uppercase()), plain(hex)];
    for before in ["", "x", "xy"] {
        for engine in [&base64::engine::general_purpose::STANDARD, &base64::engine::general_purpose::URL_SAFE] {
            let whole = engine.encode(format!("{before}{secret}"));
            let core = whole[4..whole.len() - 4].to_owned();
            all.push(Disguise { whole, core });
        }
    }
    all
}

/// Every file in a folder and in those within it.
fn files_below(folder: &Path, places: &mut Vec<(String, Vec<u8>)>) {
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let kind = std::fs::symlink_metadata(&path).unwrap().file_type();
        if kind.is_dir() {
            files_below(&path, places);
        } else if kind.is_file() {
            places.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
}

#[tokio::test]
async fn secrets_are_nowhere() {
    let mut world = World::prepare().await;
    let others = FakeWeb::start().await.unwrap();
    world.set(&[("log.level", "\"trace\""), ("telegram.streaming", "\"auto\"")]);
    world.setup.set("search.url", others.base_url());
    world.setup.set("transcription.url", others.base_url());
    world.setup.env.insert("SEARCH_API_KEY".to_owned(), SEARCH_KEY.to_owned());
    world.setup.env.insert("TRANSCRIPTION_API_KEY".to_owned(), HEARING_KEY.to_owned());
    world.run().await;
    world.ask(ANN, "#1 [long:60][drip:100]", "the little").await;
    world.ask(ANN, "what time is it?", "The tool now said").await;
    // Errors that repeat the secrets, from both sides, and broken connections.
    for code in [401, 400, 500] {
        let kind = match code {
            401 => "authentication_error",
            400 => "invalid_request_error",
            _ => "api_error",
        };
        world.messages.fault(Fault::next(1, FaultKind::status(code, kind, &format!("the key {KEY} is not right"))));
        world.ask(ANN, &format!("#{code}"), if code == 500 { "answer #500" } else { "provider" }).await;
    }
    let secrets = [KEY, TOKEN, SEARCH_KEY, HEARING_KEY];
    let disguised: Vec<Disguise> = secrets.into_iter().flat_map(disguises).collect();
    let all = disguised.iter().map(|form| form.whole.as_str()).chain(secrets).collect::<Vec<_>>().join(" ");
    // The services repeat what they were given, as answers and as errors, and people send it as files.
    let hits = json!({"web": {"results": [{"title": all, "url": "https://a.example/", "description": all}]}});
    others.set("/res/v1/web/search", Reply::page("application/json", hits.to_string()));
    world.ask(ANN, r#"#11 [tool:web_search {"query":"an agent"}]"#, "answer #11").await;
    let broken = Reply { status: 500, ..Reply::page("text/plain", all.as_str()) };
    others.set("/res/v1/web/search", broken.clone());
    world.ask(ANN, r#"#12 [tool:web_search {"query":"another"}]"#, "answer #12").await;
    others.set("/v1/audio/transcriptions", broken);
    world.telegram.post_file(UserFile::voice(ANN, 1, b"OggS....".to_vec()));
    world.hear(ANN, "recording").await;
    world.telegram.post_file(UserFile::document(ANN, "keys.txt", "text/plain", all.clone()).caption("#13"));
    world.hear(ANN, "answer #13").await;
    assert!(others.requests().iter().any(|request| request.header("authorization").is_some()), "the voice was sent on");
    world.messages.fault(Fault::next(1, FaultKind::status(500, "api_error", &format!("the keys {all} are not right"))));
    world.ask(ANN, "#501", "answer #501").await;
    for action in [
        Action::Answer { status: 500, description: format!("no {all} here"), parameters: json!(null) },
        Action::Answer { status: 500, description: format!("no bot{TOKEN}/sendMessage here"), parameters: json!(null) },
        Action::ResetMid,
    ] {
        world.telegram.fault(BotFault::once("sendMessage", action));
        world.say(BOB, "hello");
    }
    world.hear(BOB, "message 2 of this conversation").await;
    world.telegram.fault(BotFault::once("getUpdates", Action::DropBefore));
    world.ask(BOB, "#7", "answer #7").await;
    let (_, metrics) = world.get("/metrics").await.unwrap();
    let status = world.read("/v1/status").await.to_string();
    let journal = world.get(&format!("/v1/sessions/tg:1000001:dm:{ANN}/journal")).await.unwrap().1;
    let printed = world.setup.run(&["config", "show"]).await.unwrap();
    let asked = world.setup.run(&["status", "--json"]).await.unwrap();
    let mistaken = world.setup.run(&["status", KEY]).await.unwrap();
    let shown = String::from_utf8_lossy(&mistaken.stderr).into_owned();
    assert!(shown.contains("[redacted:anthropic.api_key]"), "{shown}");
    world.end().await;
    let mut places = vec![
        ("the log".to_owned(), world.log().into_bytes()),
        ("the metrics".to_owned(), metrics.into_bytes()),
        ("the status".to_owned(), status.into_bytes()),
        ("the journal".to_owned(), journal.into_bytes()),
        ("config show".to_owned(), [printed.stdout, printed.stderr].concat()),
        ("status".to_owned(), [asked.stdout, asked.stderr].concat()),
        ("a mistake on the command line".to_owned(), mistaken.stderr),
    ];
    for (name, bytes) in &places {
        let text = String::from_utf8_lossy(bytes);
        let found = disguised.iter().map(|form| form.core.as_str()).find(|core| text.contains(core));
        assert_eq!(found, None, "{name} holds a secret in disguise");
    }
    assert!(String::from_utf8_lossy(&places[0].1).contains("[redacted:"), "the log told of it");
    files_below(&world.setup.data_dir(), &mut places);
    assert!(places.iter().any(|(name, _)| name.contains("/attachments/")), "the stored files were looked at");
    assert!(places.iter().all(|(name, bytes)| !bytes.is_empty() || name.contains("/")), "everything was looked at");
    for (name, bytes) in &places {
        for secret in [&TOKEN[2..], KEY, SEARCH_KEY, HEARING_KEY] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{name} holds a secret");
        }
    }
    world.finish().await;
}

#[tokio::test]
async fn two_servers_on_one_folder_are_one_too_many() {
    let mut world = World::start().await;
    let second = world.setup.run(&["serve"]).await.unwrap();
    assert_eq!(second.status.code(), Some(75), "{}", String::from_utf8_lossy(&second.stderr));
    assert!(world.server().is_running());
    world.ask(ANN, "#1", "answer #1").await;
    world.finish().await;
}
