//! The tool `exec`, the real helper process of the real binary, and programs that try to get away from them.
//!
//! The programs are those of any Debian, and this test binary itself: what tries something from inside is an ignored test in
//! `inside.rs`, which `exec` runs by name (`probe`). It says what it could do by failing.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

mod ends;
mod inside;
mod names;
mod walls;

use blufio_core::ids::{CallId, SessionId};
use blufio_core::port::{AnyTool, Binding, Executor as _, ToolCall, ToolError};
use blufio_runtime::tools;
use blufio_sandbox::{Spawner, SpawnerOptions};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// Longest run of a program where its end is not what is tested.
const TIME: Duration = Duration::from_secs(30);

/// A workspace, a folder beside it that nobody may touch, the helper process, and the tool.
struct World {
    tool: Arc<dyn AnyTool>,
    spawner: Arc<Spawner>,
    top: TempDir,
}

impl World {
    fn new() -> Self {
        Self::with(TIME)
    }

    fn with(time: Duration) -> Self {
        let top = tempfile::Builder::new().prefix("blufio-sandbox-").tempdir_in("/tmp").unwrap();
        fs::create_dir(top.path().join("workspace")).unwrap();
        fs::create_dir(top.path().join("outside")).unwrap();
        fs::write(top.path().join("outside/secret"), "canary").unwrap();
        let spawner = Arc::new(spawner(&top.path().join("workspace"), false, time));
        Self { tool: tools::exec(spawner.clone()), spawner, top }
    }

    fn workspace(&self) -> PathBuf {
        self.top.path().join("workspace")
    }

    fn outside(&self) -> PathBuf {
        self.top.path().join("outside")
    }

    fn call(&self, program: &str, args: &[&str], cwd: Option<&str>) -> ToolCall {
        let mut input = json!({"program": program, "args": args});
        if let Some(cwd) = cwd {
            input["cwd"] = Value::from(cwd);
        }
        tools::schema::check(&self.tool.spec().schema, &input).unwrap();
        ToolCall {
            id: CallId::new("toolu_1"),
            session: SessionId(1),
            key: "key".into(),
            input,
            zone: None,
            sends_files: false,
            bound: None,
            hops: blufio_core::port::Hops::default(),
            asker: blufio_core::port::Asker::local(blufio_core::ids::SessionKey::new("local:main")).into(),
        }
    }

    /// What the model reads.
    async fn exec(&self, program: &str, args: &[&str]) -> Result<String, String> {
        self.run(self.call(program, args, None)).await
    }

    async fn run(&self, call: ToolCall) -> Result<String, String> {
        match self.tool.run(call).await {
            Ok(output) => Ok(output.text),
            Err(ToolError::ToModel(why) | ToolError::Broken(why)) => Err(why),
        }
    }

    async fn binding(&self, call: &ToolCall) -> Binding {
        self.tool.binding(call).await.unwrap().unwrap()
    }

    /// Puts this test binary into the workspace and runs one of the ignored tests of `inside.rs` in it.
    async fn probe(&self, name: &str, args: &[&str]) -> Result<String, String> {
        let path = self.workspace().join("probe");
        if !path.exists() {
            fs::copy(std::env::current_exe().unwrap(), &path).unwrap();
        }
        let test = format!("inside::{name}");
        let mut all = vec!["--exact", &test, "--ignored", "--nocapture", "--test-threads=1", "--"];
        all.extend(args);
        self.exec(path.to_str().unwrap(), &all).await
    }

    /// The same; fails if the test inside does.
    async fn probe_passes(&self, name: &str, args: &[&str]) -> String {
        let said = self.probe(name, args).await.unwrap();
        assert!(said.contains("test result: ok. 1 passed") && said.contains("[exit code 0"), "{name}: {said}");
        said
    }
}

/// The helper process of the real binary.
fn spawner(workspace: &Path, allow_weak: bool, time: Duration) -> Spawner {
    let options = SpawnerOptions { executable: Path::new(env!("CARGO_BIN_EXE_blufio")), workspace, allow_weak };
    Spawner::start_with(options, time).unwrap()
}

/// The arguments after `--`.
fn given() -> Vec<String> {
    std::env::args().skip_while(|argument| argument != "--").skip(1).collect()
}

/// Processes with this word among their arguments.
fn processes_with(word: &str) -> Vec<i32> {
    let has = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        line.split(|byte| *byte == 0).any(|part| part == word.as_bytes()).then_some(pid)
    };
    fs::read_dir("/proc").unwrap().flatten().filter_map(has).collect()
}

/// A number of seconds that no other process sleeps; for `sleep`, so that it can be found again.
fn long_sleep() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("9{:07}{:03}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

#[tokio::test]
async fn a_program_runs_in_the_workspace_and_says_how_it_ended() {
    let world = World::new();
    fs::create_dir(world.workspace().join("sub")).unwrap();
    fs::write(world.workspace().join("sub/list"), "b\na\n").unwrap();
    let sorted = world.run(world.call("/usr/bin/sort", &["list"], Some("sub"))).await.unwrap();
    assert!(sorted.starts_with("a\nb\n[exit code 0, "), "{sorted}");
    let failed = world.exec("/bin/sh", &["-c", "echo out; echo err >&2; exit 7"]).await.unwrap();
    assert!(failed.starts_with("out\nerr\n[exit code 7, "), "{failed}");
    let killed = world.exec("/bin/sh", &["-c", "kill -TERM $$"]).await.unwrap();
    assert!(killed.starts_with("[ended by signal 15, "), "{killed}");
    let written =
        world.exec("/bin/sh", &["-c", "cat > new && mkdir -p d && mv new d && ls -R > /dev/null; ls d"]).await;
    let written = written.unwrap();
    assert!(written.starts_with("new\n[exit code 0"), "{written}");
}

#[tokio::test]
async fn several_run_at_once_and_each_gets_its_own_output() {
    let world = World::new();
    let runs = (0..12).map(|number| {
        let world = &world;
        async move {
            let said = world.exec("/bin/sh", &["-c", &format!("echo {number}; echo {number}")]).await.unwrap();
            assert!(said.starts_with(&format!("{number}\n{number}\n[exit code 0")), "{said}");
        }
    });
    futures_util::future::join_all(runs).await;
}

#[tokio::test]
async fn the_environment_is_fixed() {
    let world = World::new();
    fs::write(world.workspace().join(".env"), "LD_PRELOAD=/evil.so\nPATH=/evil\n").unwrap();
    let mut call = world.call("/usr/bin/env", &[], None);
    call.zone = Some("Europe/Berlin".to_owned());
    let said = world.run(call).await.unwrap();
    let mut lines: Vec<&str> = said.lines().filter(|line| !line.starts_with('[')).collect();
    lines.sort_unstable();
    let home = format!("HOME={}", world.workspace().display());
    assert_eq!(lines, [&home, "LANG=C.UTF-8", "PATH=/usr/bin:/bin", "TERM=dumb", "TZ=Europe/Berlin"]);
}

#[tokio::test]
async fn input_is_empty_and_nothing_is_inherited() {
    // Handles that are open in this process, and were not closed for children, must not arrive.
    let open = fs::File::open("/dev/null").unwrap();
    rustix::io::fcntl_setfd(&open, rustix::io::FdFlags::empty()).unwrap();
    let world = World::new();
    assert!(world.exec("/bin/cat", &[]).await.unwrap().starts_with("[exit code 0"));
    world.probe_passes("has_three_handles_a_session_of_its_own_and_no_memory_of_the_starter", &[]).await;
}

#[test]
fn the_report_says_what_this_machine_offers() {
    let report = blufio_sandbox::report();
    println!("{report:?}");
    assert!(report.seccomp);
    assert!(report.landlock_abi.is_none_or(|abi| (1..100).contains(&abi)));
}

#[test]
fn a_spawner_needs_a_workspace() {
    let options = SpawnerOptions {
        executable: Path::new(env!("CARGO_BIN_EXE_blufio")),
        workspace: Path::new("/nowhere/at/all"),
        allow_weak: false,
    };
    assert!(Spawner::start(options).is_err());
}

/// While nothing runs; `--nocapture` shows the figures.
#[tokio::test]
async fn the_spawner_is_small() {
    let world = World::new();
    world.exec("/usr/bin/true", &[]).await.unwrap();
    let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", world.spawner.id())).unwrap();
    let kib = |name: &str| -> u64 {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    let private = kib("Private_Dirty:") + kib("Private_Clean:");
    println!("spawner: {} KiB resident, {private} KiB private ({} dirty)", kib("Rss:"), kib("Private_Dirty:"));
    assert!(kib("Private_Dirty:") < 6 * 1024, "{rollup}");
}

#[test]
fn prepare_reads_no_more_than_it_says() {
    let world = World::new();
    let request = |program: &str| blufio_core::port::ExecRequest {
        program: program.to_owned(),
        args: Vec::new(),
        cwd: None,
        zone: None,
    };
    let large = world.workspace().join("large");
    let file = fs::File::create(&large).unwrap();
    file.set_len(65 * 1024 * 1024).unwrap();
    fs::set_permissions(&large, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let refused = world.spawner.prepare(&request(large.to_str().unwrap())).err().unwrap();
    assert!(refused.to_string().contains("larger"), "{refused}");
}
