//! Everything that was started ends: at its time, with the call, with the helper process, with the server.

use super::{World, long_sleep, processes_with};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for something that ends at once.
const SOON: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// A handle that tells when this process is gone; `None`: it is gone already.
fn watch(pid: i32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).ok()
}

fn assert_gone(what: &str, process: Option<OwnedFd>) {
    let Some(process) = process else { return };
    let ended = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&SOON)).unwrap();
    assert_eq!(ended, 1, "{what} is still there");
}

/// Waits until so many processes have this word among their arguments.
async fn started(word: &str, count: usize) -> Vec<i32> {
    let since = Instant::now();
    loop {
        let found = processes_with(word);
        if found.len() >= count {
            return found;
        }
        assert!(since.elapsed() < Duration::from_secs(10), "only {} of {count} started", found.len());
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_outstays_its_time_is_killed_with_all_it_started() {
    let world = World::with(Duration::from_secs(2));
    let sleep = long_sleep();
    // Sessions of their own, orphans, ignored signals, and a crowd.
    let script = format!(
        "trap '' TERM HUP INT; setsid setsid sleep {sleep} & (sleep {sleep} &) ; \
         for i in $(seq 25); do setsid sh -c 'sleep {sleep} & sleep {sleep} & wait' & done; echo up; wait"
    );
    let since = Instant::now();
    let said = world.exec("/bin/sh", &["-c", &script]).await.unwrap();
    assert!(said.starts_with("up\n[killed: it took longer"), "{said}");
    assert!(since.elapsed() < Duration::from_secs(12), "{:?}", since.elapsed());
    assert_eq!(processes_with(&sleep), Vec::<i32>::new());
}

#[tokio::test]
async fn what_a_program_leaves_behind_is_killed_when_it_ends() {
    let world = World::new();
    let sleep = long_sleep();
    // It holds the output open, which must not keep the call waiting.
    let script = format!("setsid setsid sleep {sleep} & (setsid sleep {sleep} > /dev/null 2>&1 &); echo done");
    let since = Instant::now();
    let said = world.exec("/bin/sh", &["-c", &script]).await.unwrap();
    assert!(said.starts_with("done\n[exit code 0"), "{said}");
    assert!(since.elapsed() < Duration::from_secs(10));
    assert_eq!(processes_with(&sleep), Vec::<i32>::new());
}

#[tokio::test]
async fn an_abandoned_call_ends_its_program() {
    let world = World::new();
    let sleep = long_sleep();
    let running = {
        let script = format!("setsid setsid sleep {sleep} & sleep {sleep}");
        let args = ["-c", &script];
        let call = world.exec("/bin/sh", &args);
        tokio::select! {
            said = call => panic!("it ended: {said:?}"),
            running = started(&sleep, 2) => running,
        }
    };
    for pid in running {
        assert_gone("a program of a call that was dropped", watch(pid));
    }
    assert!(world.exec("/usr/bin/true", &[]).await.is_ok(), "the next call is served");
}

#[tokio::test]
async fn programs_end_with_the_helper_process() {
    let world = World::new();
    let sleep = long_sleep();
    let script = format!("setsid setsid sleep {sleep} & sleep {sleep}");
    let args = ["-c", &script];
    let call = world.exec("/bin/sh", &args);
    let kill = async {
        let running: Vec<_> = started(&sleep, 2).await.into_iter().map(watch).collect();
        let spawner = i32::try_from(world.spawner.id()).unwrap();
        kill_process(Pid::from_raw(spawner).unwrap(), Signal::KILL).unwrap();
        running
    };
    let (said, running) = tokio::join!(call, kill);
    assert!(said.unwrap_err().contains("is gone"));
    for process in running {
        assert_gone("a program", process);
    }
    let said = world.exec("/usr/bin/true", &[]).await.unwrap_err();
    assert!(said.contains("restart"), "{said}");
}

#[tokio::test]
async fn a_killed_keeper_takes_its_programs_along() {
    let world = World::new();
    let sleep = long_sleep();
    let script = format!("setsid setsid sleep {sleep} & sleep {sleep}");
    let args = ["-c", &script];
    let call = world.exec("/bin/sh", &args);
    let kill = async {
        let running: Vec<_> = started(&sleep, 2).await.into_iter().map(watch).collect();
        let spawner = world.spawner.id();
        let children = fs::read_to_string(format!("/proc/{spawner}/task/{spawner}/children")).unwrap();
        let keeper = children.split_whitespace().next().unwrap().parse().unwrap();
        kill_process(Pid::from_raw(keeper).unwrap(), Signal::KILL).unwrap();
        running
    };
    let (said, running) = tokio::join!(call, kill);
    assert!(said.is_err());
    for process in running {
        assert_gone("a program", process);
    }
    assert!(world.exec("/usr/bin/true", &[]).await.is_ok(), "the spawner goes on");
}

#[tokio::test]
async fn everything_ends_with_a_killed_server() {
    let workspace = tempfile::tempdir_in("/tmp").unwrap();
    let sleep = long_sleep();
    let mut server = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "inside::serves_until_it_is_killed", "--ignored", "--nocapture", "--test-threads=1", "--"])
        .arg(workspace.path())
        .arg(&sleep)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines().map_while(Result::ok);
    let spawner: i32 = lines.find_map(|line| line.split("spawner ").nth(1)?.trim().parse().ok()).unwrap();
    let mut running: Vec<_> = started(&sleep, 3).await.into_iter().map(watch).collect();
    running.push(watch(spawner));
    server.kill().unwrap();
    server.wait().unwrap();
    for process in running {
        assert_gone("a process of a killed server", process);
    }
}

#[tokio::test]
async fn endless_output_is_cut_and_costs_nothing() {
    let world = World::with(Duration::from_secs(2));
    let said = world.exec("/usr/bin/yes", &[]).await.unwrap();
    assert!(said.len() <= 64 * 1024 && said.len() > 63 * 1024, "{} bytes", said.len());
    assert!(said.starts_with("y\ny\n") && said.contains("[killed") && said.contains("were thrown away]"));
}

#[tokio::test]
async fn ten_gigabytes_of_output_grow_no_memory() {
    const BYTES: u64 = 10_000_000_000;
    let world = World::with(Duration::from_secs(60));
    let file = fs::File::create(world.workspace().join("large")).unwrap();
    file.set_len(BYTES).unwrap();
    let spawner = world.spawner.id();
    let mut peak_kib = 0;
    let call = world.exec("/usr/bin/cat", &["large"]);
    tokio::pin!(call);
    let said = loop {
        tokio::select! {
            biased;
            said = &mut call => break said.unwrap(),
            () = tokio::time::sleep(Duration::from_millis(20)) => {
                let children = fs::read_to_string(format!("/proc/{spawner}/task/{spawner}/children")).unwrap();
                for keeper in children.split_whitespace() {
                    let status = fs::read_to_string(format!("/proc/{keeper}/status")).unwrap_or_default();
                    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
                    let peak = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<u64>().ok());
                    peak_kib = peak_kib.max(peak.unwrap_or(0));
                }
            }
        }
    };
    println!("{said}; keeper at most {peak_kib} KiB");
    let thrown: u64 = said.split("; ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).unwrap();
    assert!(said.contains("[exit code 0") && thrown >= BYTES - 64 * 1024 && said.len() < 1_000, "{said}");
    assert!(peak_kib > 0 && peak_kib < 64 * 1024, "{peak_kib} KiB");
}
