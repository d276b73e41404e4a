//! Ways out: each is tried from inside, and none is one.

use super::{World, long_sleep, processes_with};
use std::process::{Command, Output};

/// Runs one of the ignored tests of `inside.rs` in a process of its own.
fn own_process(name: &str, args: &[&str]) -> Output {
    let test = format!("inside::{name}");
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--ignored", "--nocapture", "--test-threads=1", "--"])
        .args(args)
        .output()
        .unwrap()
}

fn passes(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{err}");
    said
}

#[tokio::test]
async fn files_outside_the_workspace_cannot_be_touched() {
    let world = World::new();
    std::fs::copy("/usr/bin/true", world.outside().join("program")).unwrap();
    let (outside, own) = (world.outside().display().to_string(), std::process::id().to_string());
    world.probe_passes("files_outside_cannot_be_touched", &[&outside, &own]).await;
    assert_eq!(std::fs::read_to_string(world.outside().join("secret")).unwrap(), "canary");
    assert_eq!(std::fs::read_dir(world.outside()).unwrap().count(), 2);
}

#[tokio::test]
async fn no_network_no_signal_no_look_at_other_processes() {
    let world = World::new();
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let (own, port) = (std::process::id().to_string(), listener.local_addr().unwrap().port().to_string());
    world.probe_passes("nobody_outside_can_be_reached", &[&own, &port]).await;
    assert!(listener.accept().is_err(), "nobody called");
}

#[tokio::test]
async fn the_kernel_is_asked_for_nothing_special() {
    let world = World::new();
    world.probe_passes("the_kernel_offers_nothing_beyond", &[]).await;
    if cfg!(target_arch = "x86_64") {
        let said = world.probe("calls_by_their_x32_numbers_kill", &[]).await.unwrap();
        assert!(said.contains("[ended by signal 31") && !said.contains("still here"), "{said}");
    }
    world.probe_passes("memory_ends", &[]).await;
}

#[test]
fn a_confined_server_keeps_to_its_own_files_and_starts_nothing() {
    let world = tempfile::tempdir_in("/tmp").unwrap();
    for folder in ["own", "read", "outside"] {
        std::fs::create_dir(world.path().join(folder)).unwrap();
        std::fs::write(world.path().join(folder).join("secret"), "x").unwrap();
        std::fs::write(world.path().join(folder).join("file"), "x").unwrap();
    }
    let path = |name: &str| world.path().join(name).display().to_string();
    passes(&own_process("confines_itself_as_a_server", &[&path("own"), &path("outside")]));
}

#[test]
fn without_landlock_nothing_runs_unless_the_operator_says_so() {
    let world = tempfile::tempdir_in("/tmp").unwrap();
    let (workspace, sleep) = (world.path().display().to_string(), long_sleep());
    let strict = passes(&own_process("runs_without_landlock", &[&workspace, "strict", &sleep]));
    assert_eq!(strict.matches("Err(Weak(\"the kernel has no Landlock\"))").count(), 3, "{strict}");
    let weak = passes(&own_process("runs_without_landlock", &[&workspace, "weak", &sleep]));
    assert!(weak.contains("output: \"ran\\n\""), "{weak}");
    assert!(weak.contains("no signals\\n"), "the filter does what Landlock does not: {weak}");
    assert!(weak.contains("TimedOut"), "{weak}");
    assert_eq!(processes_with(&sleep), Vec::<i32>::new(), "all that was started is ended");
}
