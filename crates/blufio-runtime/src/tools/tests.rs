//! The tools on a real folder, with a second folder beside it that nothing may touch.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod confinement;

use super::*;
use blufio_core::ids::{AttachmentId, CallId, SessionId};
use blufio_core::port::{BlobError, Boxed, Egress};
use blufio_core::time::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

const SECRET: &str = "the secret of the neighbour";

struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_783_181_109_000)
    }
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
    fn sleep(&self, _: Duration) -> Boxed<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// `inside` is the workspace, `outside` its neighbour with a secret in it.
struct Place {
    top: tempfile::TempDir,
    workspace: Workspace,
}

impl Place {
    fn new() -> Self {
        let top = tempfile::tempdir().unwrap();
        let workspace = Workspace::open(&top.path().join("inside")).unwrap();
        std::fs::create_dir(top.path().join("outside")).unwrap();
        std::fs::write(top.path().join("outside/secret.txt"), SECRET).unwrap();
        Self { top, workspace }
    }

    fn inside(&self, path: &str) -> PathBuf {
        self.top.path().join("inside").join(path)
    }

    fn outside(&self, path: &str) -> PathBuf {
        self.top.path().join("outside").join(path)
    }

    fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        std::fs::create_dir_all(self.inside(path).parent().unwrap()).unwrap();
        std::fs::write(self.inside(path), content).unwrap();
    }

    fn get(&self, path: &str) -> String {
        std::fs::read_to_string(self.inside(path)).unwrap()
    }

    fn read(&self, path: &str) -> Result<String, ToolError> {
        self.read_part(path, None, None, None)
    }

    fn read_part(
        &self,
        path: &str,
        line: Option<u64>,
        byte: Option<u64>,
        lines: Option<u64>,
    ) -> Result<String, ToolError> {
        let arguments = read::Arguments { path: path.to_owned(), start_line: line, start_byte: byte, lines };
        read::read(&self.workspace, &arguments)
    }

    fn list(&self, path: &str, depth: u8, skip: usize) -> Result<String, ToolError> {
        list::list(
            &self.workspace,
            &list::Arguments { path: Some(path.to_owned()), depth: Some(depth), skip: Some(skip) },
        )
    }

    fn write(&self, path: &str, content: &str) -> Result<String, ToolError> {
        write::write(&self.workspace, &write::Arguments { path: path.to_owned(), content: content.to_owned() }, path)
    }

    fn edit(&self, path: &str, old: &str, new: &str, all: bool) -> Result<String, ToolError> {
        let (path, old, new) = (path.to_owned(), old.to_owned(), new.to_owned());
        edit::edit(&self.workspace, &edit::Arguments { path, old, new, all: Some(all) }, "key")
    }

    /// Everything beside the workspace: path and content.
    fn neighbours(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.top.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path == self.top.path().join("inside") {
                    continue;
                }
                let content = if path.is_dir() { Vec::new() } else { std::fs::read(&path).unwrap() };
                if path.is_dir() {
                    folders.push(path.clone());
                }
                found.insert(path, content);
            }
        }
        found
    }

    fn drafts(&self) -> usize {
        std::fs::read_dir(self.inside(workspace::TEMPORARY)).map_or(0, Iterator::count)
    }
}

/// The sentence for the model; anything else is a failure of the test.
#[track_caller]
fn why(result: Result<String, ToolError>) -> String {
    match result {
        Err(ToolError::ToModel(why)) => why,
        other => panic!("not for the model: {other:?}"),
    }
}

#[test]
fn a_folder_is_not_a_file_and_a_file_is_not_a_folder() {
    let place = Place::new();
    place.put("notes/a.md", "text");
    assert!(why(place.read("notes")).contains("`list_files`"));
    assert!(why(place.read(".")).contains("names a folder"));
    assert!(why(place.write("", "x")).contains("names a folder"));
    assert!(why(place.write("new/", "x")).contains("names a folder"));
    assert!(why(place.write("new/.", "x")).contains("names a folder"));
    assert!(why(place.write("notes", "x")).contains("is a folder"));
    assert!(why(place.write("notes/a.md/b", "x")).contains("`notes/a.md` is not a folder"));
    assert!(why(place.list("notes/a.md", 1, 0)).contains("is not a folder"));
    assert!(!place.inside("new").exists());
}

#[test]
fn modes_are_private_and_those_of_a_replaced_file_stay() {
    let place = Place::new();
    let mode = |path: &str| std::fs::metadata(place.inside(path)).unwrap().mode() & 0o777;
    place.write("a/b/new.txt", "x").unwrap();
    assert_eq!([mode("."), mode("a"), mode("a/b"), mode("a/b/new.txt")], [0o700, 0o700, 0o700, 0o600]);
    std::fs::set_permissions(place.inside("a/b/new.txt"), std::fs::Permissions::from_mode(0o755)).unwrap();
    place.write("a/b/new.txt", "y").unwrap();
    place.edit("a/b/new.txt", "y", "z", false).unwrap();
    assert_eq!((mode("a/b/new.txt"), place.get("a/b/new.txt")), (0o755, "z".to_owned()));
    assert_eq!(place.drafts(), 0);
}

#[test]
fn unfinished_writes_are_replaced_and_swept() {
    let place = Place::new();
    place.write("a", "first").unwrap();
    let temporary = place.inside(workspace::TEMPORARY);
    // What a crash before the rename leaves: a draft under the name of this key; here, worst case, a link to the outside.
    let name = workspace::draft_name("a");
    place.put("b/keep", "x");
    symlink(place.outside("secret.txt"), temporary.join(&name)).unwrap();
    place.write("a", "second").unwrap();
    assert_eq!((place.get("a").as_str(), place.drafts()), ("second", 0));
    assert!(std::fs::symlink_metadata(place.inside("a")).unwrap().is_file());

    std::fs::write(temporary.join("left"), "half").unwrap();
    symlink(place.outside(""), temporary.join("link")).unwrap();
    assert_eq!(sweep_temporary(&place.inside("")).unwrap(), 2);
    assert_eq!(sweep_temporary(&place.inside("")).unwrap(), 0);
    assert_eq!(sweep_temporary(&place.inside("nowhere")).unwrap(), 0);
    assert_eq!(std::fs::read_to_string(place.outside("secret.txt")).unwrap(), SECRET);
    assert_eq!(place.list(".", 1, 0).unwrap(), "a (6 bytes)\nb/");
}

#[test]
fn a_write_that_fails_leaves_the_file_and_no_draft() {
    let place = Place::new();
    place.write("a", "kept").unwrap();
    let over = "x".repeat(workspace::FILE_BYTES_MAX + 1);
    assert!(why(place.write("a", &over)).contains("at most 1048576"));
    assert!(why(place.edit("a", "kept", &over, false)).contains("at most 1048576"));
    assert_eq!((place.get("a").as_str(), place.drafts()), ("kept", 0));
    place.write("a", &over[1..]).unwrap();
    assert!(why(place.edit("a", "x", "yy", true)).contains("2097152 bytes"));
    std::fs::remove_dir(place.inside(workspace::TEMPORARY)).unwrap();
    symlink(place.outside(""), place.inside(workspace::TEMPORARY)).unwrap();
    assert!(matches!(place.write("a", "y"), Err(ToolError::Broken(_))));
    assert_eq!(place.neighbours().len(), 2);
}

#[test]
fn what_is_missing_is_told_with_what_is_alike() {
    let place = Place::new();
    place.put("notes/shopping.md", "x");
    place.put("notes/todo.md", "x");
    for (path, expect) in [
        ("note/todo.md", "there is no `note`; similar: `notes`"),
        ("notes/shoping.md", "there is no `notes/shoping.md`; similar: `notes/shopping.md`"),
        ("notes/zzzzzzzz", "there is no `notes/zzzzzzzz`; `list_files` shows what there is"),
    ] {
        assert_eq!(why(place.read(path)), expect);
        assert_eq!(why(place.edit(path, "a", "b", false)), expect);
    }
    std::fs::create_dir(place.inside("empty")).unwrap();
    assert_eq!(why(place.list("empty/x", 1, 0)), "there is no `empty/x`; its folder is empty");
}

#[test]
fn names_of_all_scripts_are_names() {
    let place = Place::new();
    for path in ["Einkäufe/Öl & Brot.md", "日本語/メモ.txt", "🦀/🏳️‍🌈.md", "a b/c\u{a0}d", "مرحبا.txt", "e\u{301}.txt"]
    {
        place.write(path, path).unwrap();
        assert_eq!(place.read(path).unwrap(), path);
        assert!(place.list(".", 8, 0).unwrap().contains(&format!("{path} ({} bytes)", path.len())), "{path}");
    }
    use std::os::unix::ffi::OsStrExt;
    let odd = place.inside("").join(std::ffi::OsStr::from_bytes(b"bad\xff\n"));
    std::fs::write(odd, "x").unwrap();
    assert!(place.list(".", 1, 0).unwrap().contains(r#""bad\xFF\n" (a name that cannot be used here)"#));
}

#[test]
fn what_is_not_text_is_not_shown() {
    let place = Place::new();
    place.put("zero", b"abc\0def");
    place.put("latin1", b"caf\xe9 au lait");
    place.put("cut", "ä".as_bytes().split_last().unwrap().1);
    for path in ["zero", "latin1", "cut"] {
        assert!(why(place.read(path)).contains("is not UTF-8 text ("), "{path}");
    }
    assert!(why(place.edit("latin1", "au", "x", false)).contains("not UTF-8"));
    place.put("empty", "");
    assert_eq!(place.read("empty").unwrap(), "(the file is empty)");
}

#[test]
fn parts_of_a_file_say_where_they_end() {
    let place = Place::new();
    place.put("f", "one\ntwo\nthree\nfour");
    let part = |line, byte, lines| place.read_part("f", line, byte, lines);
    assert_eq!(part(None, None, None).unwrap(), "one\ntwo\nthree\nfour");
    let first = "one\ntwo\n[lines 1–2 of a file of 18 bytes; to read on: start_line 3]";
    assert_eq!(part(None, None, Some(2)).unwrap(), first);
    assert_eq!(part(Some(2), None, Some(1)).unwrap(), "two\n[line 2 of a file of 18 bytes; to read on: start_line 3]");
    assert_eq!(part(Some(3), None, None).unwrap(), "three\nfour\n[lines 3–4, to the end of the file]");
    assert_eq!(
        part(Some(3), Some(2), Some(1)).unwrap(),
        "ree\n[line 3 of a file of 18 bytes; to read on: start_line 4]"
    );
    assert_eq!(why(part(Some(5), None, None)), "`f` has only 4 lines");
    assert_eq!(why(part(Some(9), None, None)), "`f` has only 4 lines");
    assert_eq!(why(part(Some(2), Some(9), None)), "line 2 of `f` has only 3 bytes");
    place.put("g", "one\n");
    assert_eq!(why(place.read_part("g", Some(2), None, None)), "`g` has only 1 lines");
}

#[test]
fn lists_come_sorted_and_in_pages() {
    let place = Place::new();
    for number in 0..700 {
        place.put(&format!("many/file-{number:03}"), "x");
    }
    place.put("a/b/c/d", "x");
    let mut seen: Vec<String> = Vec::new();
    loop {
        let page = place.list("many", 1, seen.len()).unwrap();
        assert!(page.len() <= blufio_core::limits::TOOL_SHOWN_BYTES_MAX);
        let entries: Vec<String> = page.lines().filter(|line| !line.starts_with('[')).map(str::to_owned).collect();
        assert!((1..=500).contains(&entries.len()));
        seen.extend(entries);
        if !page.contains(&format!("skip {}", seen.len())) {
            break;
        }
    }
    let expect: Vec<String> = (0..700).map(|number| format!("many/file-{number:03} (1 bytes)")).collect();
    assert_eq!(seen, expect);
    assert_eq!(place.list("many", 1, 700).unwrap(), "[there are only 700 entries]");
    assert_eq!(place.list(".", 1, 0).unwrap(), "a/\nmany/");
    assert_eq!(place.list("a", 2, 0).unwrap(), "a/b/\na/b/c/");
    std::fs::create_dir(place.inside("z")).unwrap();
    assert_eq!(place.list("z/", 1, 0).unwrap(), "(the folder is empty)");
}

#[test]
fn an_edit_is_exact_or_does_not_happen() {
    let place = Place::new();
    for (before, old, new, all, expect) in [
        ("one two one", "two", "2", false, Ok("one 2 one")),
        ("one two one", "one", "1", true, Ok("1 two 1")),
        ("äöü", "ö", "", false, Ok("äü")),
        ("a\nb\nc", "b\n", "", false, Ok("a\nc")),
        ("one\ntwo\none", "one", "1", false, Err("first in the lines 1 and 3")),
        ("aaa", "aa", "b", false, Err("more than once")),
        ("ääa", "ä", "b", false, Err("more than once")),
        ("one", "One", "x", false, Err("copy the text exactly")),
        ("x\n  one\n", "one\ntwo", "x", false, Err("line 2 is like its first line")),
        ("a\r\nb\r\n", "a\nb", "x", false, Err(r"\r\n")),
        ("a", "", "x", false, Err("`old` is empty")),
        ("a", "a", "a", false, Err("nothing to change")),
    ] {
        place.put("f", before);
        match (place.edit("f", old, new, all), expect) {
            (Ok(_), Ok(after)) => assert_eq!(place.get("f"), after, "{before:?} {old:?}"),
            (result, Err(part)) => {
                let why = why(result);
                assert!(why.contains(part), "{why}");
                assert_eq!(place.get("f"), before);
            }
            (result, Ok(_)) => panic!("{before:?} {old:?}: {result:?}"),
        }
    }
    place.put("f", "x\none\none");
    assert_eq!(place.edit("f", "one", "1", true).unwrap(), "replaced 2 occurrences in `f`, the first in line 2");
    place.put("big", "x".repeat(workspace::FILE_BYTES_MAX + 1));
    assert!(why(place.edit("big", "x", "y", true)).contains("has 1048577 bytes"));
}

#[test]
fn concurrent_writers_leave_whole_files_and_lose_no_edit() {
    let place = Place::new();
    place.put("count", "0");
    let marks: String = (0..40).map(|number| format!("<{number}>")).collect();
    place.put("marks", &marks);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let place = &place;
            scope.spawn(move || {
                for round in 0..10 {
                    let text = format!("{worker}").repeat(10_000);
                    // The same key for all: even so, one write at a time.
                    let arguments = write::Arguments { path: "shared/deep/file".to_owned(), content: text };
                    write::write(&place.workspace, &arguments, "same").unwrap();
                    place.edit("marks", &format!("<{}>", worker * 10 + round), "", false).unwrap();
                }
            });
        }
    });
    let text = place.get("shared/deep/file");
    assert!(text.len() == 10_000 && text.chars().all(|letter| text.starts_with(letter)));
    assert_eq!((place.get("marks").as_str(), place.drafts()), ("", 0));
}

/// Bytes of a file that may be sent.
const SENT_MAX: u64 = 1024 * 1024;

fn builtins(top: &Path) -> Vec<Arc<dyn AnyTool>> {
    builtin(
        &Desk::open(&top.join("deep/workspace")).unwrap(),
        Arc::new(StoppedClock),
        Arc::new(Shelf::default()),
        SENT_MAX,
    )
}

/// Stored files in memory.
#[derive(Default)]
struct Shelf(std::sync::Mutex<BTreeMap<AttachmentId, Vec<u8>>>);

/// Bytes of the largest file that the shelf takes.
const SHELF_BYTES_MAX: usize = 512 * 1024;

impl Blobs for Shelf {
    fn put(&self, bytes: &[u8]) -> Result<AttachmentId, BlobError> {
        if bytes.len() > SHELF_BYTES_MAX {
            return Err(BlobError::Full);
        }
        let id: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        self.0.lock().unwrap().insert(AttachmentId::new(&id), bytes.to_vec());
        Ok(AttachmentId::new(id))
    }
    fn get(&self, id: &AttachmentId) -> Result<Vec<u8>, BlobError> {
        self.0.lock().unwrap().get(id).cloned().ok_or(BlobError::Gone)
    }
    fn bytes(&self) -> u64 {
        0
    }
    fn sweep(&self, _: &std::collections::BTreeSet<AttachmentId>, _: u32, _: Timestamp) -> Result<u64, BlobError> {
        Ok(0)
    }
}

async fn call(tools: &[Arc<dyn AnyTool>], name: &str, input: Value) -> Result<String, ToolError> {
    Ok(outputs(tools, name, input, true).await?.text)
}

async fn outputs(
    tools: &[Arc<dyn AnyTool>],
    name: &str,
    input: Value,
    sends_files: bool,
) -> Result<ToolOutput, ToolError> {
    let tool = tools.iter().find(|tool| tool.spec().name.as_str() == name).unwrap();
    schema::check(&tool.spec().schema, &input).unwrap();
    let zone = Some("Europe/Berlin".to_owned());
    tool.run(ToolCall {
        id: CallId::new("toolu_1"),
        session: SessionId(1),
        key: "key".into(),
        input,
        zone,
        sends_files,
        bound: None,
        hops: blufio_core::port::Hops::default(),
        asker: blufio_core::port::Asker::local(blufio_core::ids::SessionKey::new("local:main")).into(),
    })
    .await
}

#[tokio::test]
async fn a_file_is_stored_and_named_for_sending_and_read_on_in_pages() {
    let top = tempfile::tempdir().unwrap();
    let shelf = Arc::new(Shelf::default());
    let tools =
        builtin(&Desk::open(&top.path().join("workspace")).unwrap(), Arc::new(StoppedClock), shelf.clone(), SENT_MAX);
    let lines: String = (0..2_000).map(|number| format!("line {number}\n")).collect();
    call(&tools, "write_file", json!({"path": "a/b.txt", "content": lines})).await.unwrap();
    let sent = outputs(&tools, "send_file", json!({"path": "a/b.txt"}), true).await.unwrap();
    let [file] = sent.files.as_slice() else { panic!("{sent:?}") };
    assert_eq!((file.name.as_str(), file.media_type.as_str(), file.picture), ("b.txt", "text/plain", false));
    assert_eq!(shelf.get(&file.attachment).unwrap(), lines.as_bytes());
    std::fs::write(top.path().join("workspace/large"), vec![7; usize::try_from(SENT_MAX).unwrap() + 1]).unwrap();
    assert!(why(call(&tools, "send_file", json!({"path": "large"})).await).contains("more than 1 MiB"));
    let refused = why(outputs(&tools, "send_file", json!({"path": "a/b.txt"}), false).await.map(|output| output.text));
    assert!(refused.contains("in a chat only"), "{refused}");
    assert!(why(call(&tools, "send_file", json!({"path": "../x"})).await).contains("workspace"));

    std::fs::write(top.path().join("workspace/much"), vec![7; SHELF_BYTES_MAX + 1]).unwrap();
    assert!(
        why(call(&tools, "send_file", json!({"path": "much"})).await).contains("make room"),
        "the model may say so"
    );
    for (name, bytes, picture) in [("a.gif", b"GIF89a".as_slice(), false), ("a.png", b"\x89PNG\r\n\x1a\n", true)] {
        std::fs::write(top.path().join("workspace").join(name), bytes).unwrap();
        let sent = outputs(&tools, "send_file", json!({"path": name}), true).await.unwrap();
        assert_eq!(sent.files.iter().map(|file| file.picture).collect::<Vec<_>>(), [picture], "{name}");
    }
    let hidden = shelf.put("in\u{202e}vis\u{200b}ible\u{1b}[2J".as_bytes()).unwrap();
    let shown = call(&tools, "read_attachment", json!({"attachment": hidden.as_str()})).await.unwrap();
    assert!(shown.starts_with("invisible\n["), "{shown}");

    let (mut read, mut from) = (String::new(), Some(0));
    while let Some(next) = from {
        let input = json!({"attachment": file.attachment.as_str(), "from": next});
        let page = call(&tools, "read_attachment", input).await.unwrap();
        assert!(page.len() <= blufio_core::limits::TOOL_SHOWN_BYTES_MAX);
        let (text, note) = page.rsplit_once("\n[").unwrap();
        read.push_str(text);
        from =
            note.split_once("to read on: from ").map(|(_, next)| next.trim_end_matches(']').parse::<usize>().unwrap());
    }
    assert_eq!(read, lines);
    let gone = why(call(&tools, "read_attachment", json!({"attachment": "0".repeat(64)})).await);
    assert!(gone.contains("no longer stored"), "{gone}");
}

#[tokio::test]
async fn the_tools_work_through_their_declared_arguments() {
    let top = tempfile::tempdir().unwrap();
    let tools = builtins(top.path());
    let written = call(&tools, "write_file", json!({"path": "a/b.md", "content": "one\ntwo\n"})).await.unwrap();
    assert_eq!(written, "wrote 8 bytes to `a/b.md`");
    // Once more under the same key, as after a crash.
    assert_eq!(call(&tools, "write_file", json!({"path": "a/b.md", "content": "one\ntwo\n"})).await.unwrap(), written);
    let edited = call(&tools, "edit_file", json!({"path": "a/b.md", "old": "two", "new": "2"})).await.unwrap();
    assert_eq!(edited, "replaced 1 occurrence in `a/b.md`, in line 2");
    assert_eq!(call(&tools, "read_file", json!({"path": "a/b.md"})).await.unwrap(), "one\n2\n");
    assert_eq!(call(&tools, "list_files", json!({"depth": 2})).await.unwrap(), "a/\na/b.md (6 bytes)");
    let time = call(&tools, "now", json!({"timezone": "Asia/Tokyo"})).await.unwrap();
    assert!(time.starts_with("Sunday, 2026-07-05 01:05:09 (Asia/Tokyo, JST, UTC+09:00)"), "{time}");
    let time = call(&tools, "now", json!({})).await.unwrap();
    assert!(time.contains("Europe/Berlin") && time.ends_with("UTC: Saturday, 2026-07-04 16:05:09"), "{time}");
    let zone = why(call(&tools, "now", json!({"timezone": "Asia/Tokio"})).await);
    assert!(zone.contains("Asia/Tokyo"), "{zone}");
}

#[test]
fn a_workspace_that_is_a_file_is_an_error_that_names_it() {
    let top = tempfile::tempdir().unwrap();
    let path = top.path().join("file");
    std::fs::write(&path, "x").unwrap();
    let error = Desk::open(&path).err().unwrap();
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
}

/// What the validator does not know it does not check, so no schema may say it.
#[test]
fn the_schemas_use_only_words_that_are_checked() {
    fn walk(schema: &Value) {
        for (word, value) in schema.as_object().unwrap() {
            match word.as_str() {
                "type" => assert!(["object", "string", "integer", "boolean"].contains(&value.as_str().unwrap())),
                "properties" => value.as_object().unwrap().values().for_each(walk),
                "required" | "enum" | "minimum" | "maximum" | "maxLength" | "description" => {}
                "additionalProperties" => assert_eq!(value, &json!(false)),
                other => panic!("`{other}` is not checked"),
            }
        }
    }
    let top = tempfile::tempdir().unwrap();
    let tools = builtins(top.path());
    let classes: Vec<(&str, Replay)> =
        tools.iter().map(|tool| (tool.spec().name.as_str(), tool.spec().replay)).collect();
    let expect = [
        ("now", Replay::Pure),
        ("read_file", Replay::Pure),
        ("list_files", Replay::Pure),
        ("write_file", Replay::Idempotent),
        ("edit_file", Replay::Effectful),
        ("send_file", Replay::Idempotent),
        ("read_attachment", Replay::Pure),
        ("skill_load", Replay::Pure),
    ];
    assert_eq!(classes, expect);
    for tool in &tools {
        let spec = tool.spec();
        walk(&spec.schema);
        assert_eq!(spec.schema["additionalProperties"], json!(false));
        assert!(spec.egress != Egress::Anywhere && !spec.description.is_empty());
        for (name, _) in spec.arg_roles {
            assert!(spec.schema["properties"].get(name).is_some(), "{name}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Reading on as the notes say gives back the file, byte for byte.
    #[test]
    fn the_parts_of_a_file_make_the_file(
        pieces in proptest::collection::vec(("[aä€🦀 ]{0,40}", 1_usize..600, any::<bool>()), 1..20),
        lines in proptest::option::of(1_u64..400),
    ) {
        let text: String = pieces.iter().map(|(text, times, line)| {
            format!("{}{}", text.repeat(*times), if *line { "\n" } else { "" })
        }).collect();
        let place = Place::new();
        place.put("f", &text);
        let (mut whole, mut line, mut byte) = (String::new(), None, None);
        loop {
            let part = place.read_part("f", line, byte, lines).unwrap();
            prop_assert!(part.len() <= blufio_core::limits::TOOL_SHOWN_BYTES_MAX);
            let note = part.rfind('[').map_or("", |at| &part[at..]);
            let body = if note.is_empty() { &part[..] } else { &part[..part.len() - note.len()] };
            let number = |word: &str| {
                let rest = note.split_once(word)?.1;
                rest.trim_start().split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok()
            };
            (line, byte) = (number("start_line"), number("start_byte"));
            // The note stands on a line of its own.
            let added = byte.is_some() || (line.is_none() && !note.is_empty() && !text.ends_with('\n'));
            whole.push_str(if added { body.strip_suffix('\n').unwrap() } else { body });
            if line.is_none() {
                break;
            }
        }
        if text.is_empty() {
            whole.clear();
        }
        prop_assert!(whole == text, "{} bytes instead of {}", whole.len(), text.len());
    }
}

/// Work that has not begun when its caller goes away is not done; work that has begun is.
#[test]
fn what_waits_for_a_thread_is_taken_back() {
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (begun, has_begun) = std::sync::mpsc::sync_channel::<()>(1);
        let (release, released) = std::sync::mpsc::sync_channel::<()>(1);
        let (tell, told) = std::sync::mpsc::sync_channel(2);
        let (first, second) = (tell.clone(), tell);
        let mut nobody = std::task::Context::from_waker(std::task::Waker::noop());
        let mut running = Box::pin(blocking(move || {
            begun.send(()).unwrap();
            released.recv().unwrap();
            first.send("begun").unwrap();
            Ok(())
        }));
        assert!(running.as_mut().poll(&mut nobody).is_pending());
        has_begun.recv().unwrap();
        let mut waiting = Box::pin(blocking(move || {
            second.send("waiting").unwrap();
            Ok(())
        }));
        assert!(waiting.as_mut().poll(&mut nobody).is_pending());
        drop((running, waiting));
        release.send(()).unwrap();
        blocking(|| Ok(())).await.unwrap();
        assert_eq!(told.iter().collect::<Vec<_>>(), ["begun"]);
    });
}
