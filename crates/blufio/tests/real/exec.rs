//! Programs that the agent runs: asked for, held to what was shown, started by the helper process, gone with the server; and
//! the server itself within its walls.

use std::fs;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::questions::{finish, press, question};
use crate::support::{ANN, World};

const ON: (&str, &str) = ("tools.exec.enabled", "true");

/// The processes that this one started, with their names.
fn children(pid: i32) -> Vec<(i32, String)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok()).collect::<String>();
    let named = |pid: &str| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        Some((pid.parse().ok()?, name.trim().to_owned()))
    };
    lists.split_whitespace().filter_map(named).collect()
}

#[tokio::test]
async fn a_program_runs_after_a_yes_with_exactly_these_arguments() {
    let world = World::start_with(&[ON]).await;
    world.say(ANN, r#"[tool:exec {"program":"/usr/bin/printf","args":["%s|","$(id); x","`y`"]}] #1"#);
    let asked = question(&world).await;
    assert!(asked.text.contains("/usr/bin/printf") && asked.text.contains("$(id); x"), "{}", asked.text);
    assert_eq!(world.sql("SELECT sum(starts) FROM tool_runs"), 0, "not before the yes");
    press(&world, ANN, asked.message, ANN, &asked.allow).await;
    let said = world.hear(ANN, "answer #1").await;
    // The chat shows what stands between backticks as code.
    assert!(said.text.contains("$(id); x|y|"), "{}", said.text);
    assert_eq!(world.sql("SELECT count(*) FROM tool_runs WHERE content LIKE '%$(id); x|`y`|%'"), 1, "as it was given");
    finish(world).await;
}

#[tokio::test]
async fn a_program_that_was_swapped_after_the_question_does_not_run() {
    let world = World::start_with(&[ON]).await;
    let tool = world.workspace().join("tool");
    fs::copy("/usr/bin/true", &tool).unwrap();
    world.say(ANN, &format!(r#"[tool:exec {{"program":"{}"}}] #1"#, tool.display()));
    let asked = question(&world).await;
    fs::remove_file(&tool).unwrap();
    fs::copy("/usr/bin/false", &tool).unwrap();
    press(&world, ANN, asked.message, ANN, &asked.allow).await;
    let said = world.hear(ANN, "answer #1").await;
    assert!(!said.text.contains("exit code"), "{}", said.text);
    finish(world).await;
}

#[tokio::test]
async fn there_is_no_such_tool_and_no_helper_unless_the_operator_wants_it() {
    let mut world = World::start().await;
    let said = world.ask(ANN, r#"[tool:exec {"program":"/usr/bin/true"}] #1"#, "answer #1").await;
    assert!(said.text.contains("no tool named"), "{}", said.text);
    let server = world.server().id();
    assert_eq!(children(server), []);
    finish(world).await;
}

#[tokio::test]
async fn the_helper_ends_with_a_killed_server() {
    let mut world = World::start_with(&[ON]).await;
    let server = world.server().id();
    let found = children(server);
    let [(helper, name)] = found.as_slice() else { panic!("one helper: {found:?}") };
    assert_eq!(name, "blufio-spawner");
    assert_eq!(fs::read(format!("/proc/{helper}/environ")).unwrap(), b"", "it gets no secret by its environment");
    let helper = pidfd_open(Pid::from_raw(*helper).unwrap(), PidfdFlags::empty()).unwrap();
    world.kill().await;
    let soon = Timespec { tv_sec: 10, tv_nsec: 0 };
    assert_eq!(poll(&mut [PollFd::new(&helper, PollFlags::IN)], Some(&soon)).unwrap(), 1);
    world.run().await;
    finish(world).await;
}

#[tokio::test]
async fn the_server_puts_its_walls_up_before_it_has_threads() {
    let mut world = World::start_with(&[("log.level", "\"debug\"")]).await;
    let status = fs::read_to_string(format!("/proc/{}/status", world.server().id())).unwrap();
    let log = world.log();
    if log.contains("the kernel has no Landlock") {
        println!("nothing to see: this kernel has no Landlock");
    } else {
        assert!(log.contains("confined to its own files"), "{log}");
        assert!(!log.contains("threads that were there before"), "{log}");
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    }
    finish(world).await;
}
