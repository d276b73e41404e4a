//! What runs inside the walls, or in a process of its own: ignored tests that others start by name.
#![allow(unsafe_code, reason = "tries system calls that nothing safe offers")]

use super::{given, spawner};
use blufio_core::port::{ExecRequest, Executor as _};
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

/// Fails unless every attempt was refused.
struct Attempts(Vec<String>);

impl Attempts {
    fn refused(&mut self, what: &str, done: io::Result<impl Sized>) {
        match done.map_err(|error| error.raw_os_error()) {
            // ENOSYS: calls that are newer than the filter do not exist.
            Err(Some(libc::EPERM | libc::EACCES | libc::EXDEV | libc::ENOSYS)) => {}
            Ok(_) => self.0.push(format!("{what}: done")),
            Err(other) => self.0.push(format!("{what}: another reason: {other:?}")),
        }
    }

    fn call(&mut self, what: &str, number: i64, args: [usize; 6]) {
        // SAFETY: the kernel refuses the call before it looks at its arguments; that is what is tested. Where it does not,
        // null pointers make it fail.
        let done = unsafe { libc::syscall(number, args[0], args[1], args[2], args[3], args[4], args[5]) };
        self.refused(what, if done == -1 { Err(io::Error::last_os_error()) } else { Ok(done) });
    }

    fn end(self) {
        assert!(self.0.is_empty(), "not refused:\n  {}", self.0.join("\n  "));
    }
}

/// Arguments: a folder outside of the workspace with a file `secret`, the number of the process that started it all.
#[test]
#[ignore = "runs inside the walls"]
fn files_outside_cannot_be_touched() {
    let given = given();
    let (outside, parent) = (Path::new(&given[0]), &given[1]);
    let secret = outside.join("secret");
    let mut tries = Attempts(Vec::new());
    let proc = |name: &str| format!("/proc/{parent}/{name}");
    for path in [secret.to_str().unwrap(), "/etc/passwd", "/etc/shadow", "/etc/hostname", "/dev/urandom", "/dev/tty"]
        .map(str::to_owned)
        .into_iter()
        .chain(["environ", "mem", "maps", "fd/0", "root/etc/passwd", "status"].map(proc))
        .chain(["/proc/self/status".to_owned(), "/sys/kernel/uevent_helper".to_owned()])
    {
        if fs::symlink_metadata(&path).is_ok() {
            tries.refused(&format!("reading {path}"), fs::read(&path));
        }
    }
    for folder in ["/", "/etc", "/tmp", "/proc", "/root", "/home", "/var", "/dev", outside.to_str().unwrap()] {
        if Path::new(folder).is_dir() {
            tries.refused(&format!("listing {folder}"), fs::read_dir(folder));
        }
    }
    tries.refused("writing", fs::OpenOptions::new().write(true).open(&secret));
    tries.refused("truncating", fs::OpenOptions::new().write(true).truncate(true).open(&secret));
    tries.refused("creating", fs::File::create(outside.join("new")));
    tries.refused("creating in /tmp", fs::File::create("/tmp/blufio-sandbox-new"));
    tries.refused("creating in /usr", fs::File::create("/usr/bin/blufio-sandbox-new"));
    tries.refused("removing", fs::remove_file(&secret));
    tries.refused("moving in", fs::rename(&secret, "stolen"));
    tries.refused("linking in", fs::hard_link(&secret, "stolen"));
    tries.refused("linking a readable file in", fs::hard_link("/usr/bin/true", "stolen"));
    tries.refused("making a folder", fs::create_dir(outside.join("d")));
    tries.refused("making a link", std::os::unix::fs::symlink("x", outside.join("l")));
    tries.refused(
        "changing the mode",
        fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o777)),
    );
    tries.refused("changing the owner", std::os::unix::fs::chown(&secret, Some(1), Some(1)));
    let path = std::ffi::CString::new(secret.to_str().unwrap()).unwrap();
    let path = path.as_ptr() as usize;
    tries.call("truncate", libc::SYS_truncate, [path, 0, 0, 0, 0, 0]);
    tries.call("utimensat", libc::SYS_utimensat, [libc::AT_FDCWD as usize, path, 0, 0, 0, 0]);
    tries.call("fchmodat2", 452, [libc::AT_FDCWD as usize, path, 0o777, 0, 0, 0]);
    tries.call("setxattr", libc::SYS_setxattr, [path, c"user.x".as_ptr() as usize, path, 1, 0, 0]);
    tries.call("setxattrat", 463, [libc::AT_FDCWD as usize, path, 0, c"user.x".as_ptr() as usize, path, 16]);
    tries.call("file_setattr", 469, [libc::AT_FDCWD as usize, path, path, 24, 0, 0]);
    tries.call(
        "mknodat",
        libc::SYS_mknodat,
        [libc::AT_FDCWD as usize, c"device".as_ptr() as usize, libc::S_IFCHR as usize | 0o600, 0x0103, 0, 0],
    );
    // A link inside that leads out is no way out.
    std::os::unix::fs::symlink(&secret, "way-out").unwrap();
    tries.refused("reading through a link", fs::read("way-out"));
    tries.refused("writing through a link", fs::write("way-out", "x"));
    tries.refused("reading upwards", fs::read("../outside/secret"));
    tries.refused("executing a file outside", std::process::Command::new(outside.join("program")).status());
    // And what is allowed works.
    fs::write("own", "x").unwrap();
    fs::rename("own", "own2").unwrap();
    fs::remove_file("own2").unwrap();
    assert!(fs::read("/usr/bin/true").is_ok() && fs::write("/dev/null", "x").is_ok());
    tries.end();
}

/// Arguments: the number of the process that started it all, a TCP port somebody listens on.
#[test]
#[ignore = "runs inside the walls"]
fn nobody_outside_can_be_reached() {
    let given = given();
    let (parent, port): (usize, u16) = (given[0].parse().unwrap(), given[1].parse().unwrap());
    let mut tries = Attempts(Vec::new());
    tries.refused("TCP", std::net::TcpStream::connect(("127.0.0.1", port)));
    tries.refused("TCP, listening", std::net::TcpListener::bind(("127.0.0.1", 0)));
    tries.refused("UDP", std::net::UdpSocket::bind(("127.0.0.1", 0)));
    tries.refused("a socket with a path", std::os::unix::net::UnixStream::connect("/run/systemd/notify"));
    for family in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, libc::AF_PACKET, libc::AF_ALG, 40] {
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_RAW, libc::SOCK_SEQPACKET] {
            let what = format!("socket {family} {kind}");
            tries.call(
                &what,
                libc::SYS_socket,
                [family as usize, kind as usize | libc::SOCK_CLOEXEC as usize, 0, 0, 0, 0],
            );
        }
    }
    let mut pair = [0_i32; 2];
    let pair = pair.as_mut_ptr() as usize;
    tries.call("a datagram pair", libc::SYS_socketpair, [1, libc::SOCK_DGRAM as usize, 0, pair, 0, 0]);
    tries.call("a raw pair", libc::SYS_socketpair, [1, libc::SOCK_RAW as usize, 0, pair, 0, 0]);
    tries.call("a TIPC pair", libc::SYS_socketpair, [30, libc::SOCK_STREAM as usize, 0, pair, 0, 0]);
    assert!(std::os::unix::net::UnixStream::pair().is_ok(), "a pair is a pipe");

    let signal = libc::SIGTERM as usize;
    for who in [parent, 1] {
        tries.call("kill", libc::SYS_kill, [who, signal, 0, 0, 0, 0]);
        tries.call("kill 0", libc::SYS_kill, [who, 0, 0, 0, 0, 0]);
        tries.call("tgkill", libc::SYS_tgkill, [who, who, signal, 0, 0, 0]);
        tries.call("prlimit", libc::SYS_prlimit64, [who, libc::RLIMIT_CPU as usize, 0, 0, 0, 0]);
        tries.call("setpriority", libc::SYS_setpriority, [0, who, 19, 0, 0, 0]);
        tries.call("ptrace", libc::SYS_ptrace, [libc::PTRACE_SEIZE as usize, who, 0, 0, 0, 0]);
        tries.call("process_vm_readv", libc::SYS_process_vm_readv, [who, 0, 0, 0, 0, 0]);
        tries.call("process_vm_writev", libc::SYS_process_vm_writev, [who, 0, 0, 0, 0, 0]);
        tries.call("sched_setaffinity", libc::SYS_sched_setaffinity, [who, 0, 0, 0, 0, 0]);
    }
    // The keeper too is out of reach, though it is the parent.
    // SAFETY: asks for a number.
    let keeper = unsafe { libc::getppid() } as usize;
    tries.call("kill the keeper", libc::SYS_kill, [keeper, libc::SIGKILL as usize, 0, 0, 0, 0]);
    // SAFETY: makes a handle or fails.
    let handle = unsafe { libc::syscall(libc::SYS_pidfd_open, parent, 0) };
    if handle >= 0 {
        let handle = handle as usize;
        tries.call("pidfd_send_signal", libc::SYS_pidfd_send_signal, [handle, signal, 0, 0, 0, 0]);
        tries.call("pidfd_getfd", libc::SYS_pidfd_getfd, [handle, 0, 0, 0, 0, 0]);
        tries.call("setns", libc::SYS_setns, [handle, libc::CLONE_NEWNET as usize, 0, 0, 0, 0]);
    }
    tries.end();
}

#[test]
#[ignore = "runs inside the walls"]
fn the_kernel_offers_nothing_beyond() {
    let mut tries = Attempts(Vec::new());
    for (what, number) in [
        ("bpf", libc::SYS_bpf),
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("io_uring_enter", libc::SYS_io_uring_enter),
        ("perf_event_open", libc::SYS_perf_event_open),
        ("userfaultfd", libc::SYS_userfaultfd),
        ("keyctl", libc::SYS_keyctl),
        ("add_key", libc::SYS_add_key),
        ("request_key", libc::SYS_request_key),
        ("mount", libc::SYS_mount),
        ("umount2", libc::SYS_umount2),
        ("open_tree", libc::SYS_open_tree),
        ("fsopen", libc::SYS_fsopen),
        ("pivot_root", libc::SYS_pivot_root),
        ("chroot", libc::SYS_chroot),
        ("init_module", libc::SYS_init_module),
        ("finit_module", libc::SYS_finit_module),
        ("kexec_load", libc::SYS_kexec_load),
        ("reboot", libc::SYS_reboot),
        ("name_to_handle_at", libc::SYS_name_to_handle_at),
        ("open_by_handle_at", libc::SYS_open_by_handle_at),
        ("inotify_add_watch", libc::SYS_inotify_add_watch),
        ("fanotify_init", libc::SYS_fanotify_init),
        ("shmget", libc::SYS_shmget),
        ("msgget", libc::SYS_msgget),
        ("semget", libc::SYS_semget),
        ("mq_open", libc::SYS_mq_open),
        ("sethostname", libc::SYS_sethostname),
        ("settimeofday", libc::SYS_settimeofday),
        ("syslog", libc::SYS_syslog),
        ("personality", libc::SYS_personality),
    ] {
        tries.call(what, number, [0; 6]);
    }
    for flag in [libc::CLONE_NEWNS, libc::CLONE_NEWUSER, libc::CLONE_NEWPID, libc::CLONE_NEWNET, libc::CLONE_NEWIPC] {
        tries.call("unshare", libc::SYS_unshare, [flag as usize, 0, 0, 0, 0, 0]);
        tries.call("clone", libc::SYS_clone, [flag as usize | libc::SIGCHLD as usize, 0, 0, 0, 0, 0]);
    }
    // SAFETY: refused before it looks at the null pointer.
    assert_eq!(unsafe { libc::syscall(libc::SYS_clone3, 0, 0) }, -1);
    assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::ENOSYS), "the C library must fall back to clone");
    std::thread::spawn(|| ()).join().unwrap();
    // SAFETY: asks for one flag.
    assert_eq!(unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) }, 1);
    for (what, resource, most) in [
        ("core", libc::RLIMIT_CORE, 0),
        ("memory", libc::RLIMIT_AS, 2 << 30),
        ("file", libc::RLIMIT_FSIZE, 256 << 20),
        ("handles", libc::RLIMIT_NOFILE, 256),
    ] {
        let mut limit = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
        // SAFETY: the structure lives as long as the call.
        assert_eq!(unsafe { libc::getrlimit(resource, &raw mut limit) }, 0);
        assert_eq!((limit.rlim_cur, limit.rlim_max), (most, most), "{what}");
    }
    let mut none = [0_u32; 6];
    let mut head = [0x2008_0522_u32, 0];
    // SAFETY: header and three pairs of numbers, as version 3 of the call has it.
    assert_eq!(unsafe { libc::syscall(libc::SYS_capget, head.as_mut_ptr(), none.as_mut_ptr()) }, 0);
    assert_eq!(none, [0; 6], "no capability is left");
    tries.end();
}

/// The same calls under other numbers: killed.
#[test]
#[ignore = "runs inside the walls"]
fn calls_by_their_x32_numbers_kill() {
    // SAFETY: asks for a number, or kills this process.
    unsafe { libc::syscall(0x4000_0000 | libc::SYS_getpid) };
    println!("still here");
}

#[test]
#[ignore = "runs inside the walls"]
fn has_three_handles_a_session_of_its_own_and_no_memory_of_the_starter() {
    // SAFETY: only asks.
    let open: Vec<i32> = (0..1024).filter(|handle| unsafe { libc::fcntl(*handle, libc::F_GETFD) } >= 0).collect();
    assert_eq!(open, [0, 1, 2]);
    // SAFETY: only asks.
    let (own, session, group) = unsafe { (libc::getpid(), libc::getsid(0), libc::getpgid(0)) };
    assert_eq!((session, group), (own, own));
    // SAFETY: only asks.
    assert_eq!(unsafe { libc::umask(0o077) }, 0o077);
}

/// Says its arguments, each in hexadecimal digits on a line of its own.
#[test]
#[ignore = "runs inside the walls"]
fn says_its_arguments() {
    println!("parent {}", std::os::unix::process::parent_id());
    for argument in given() {
        println!("argument {}", argument.bytes().map(|byte| format!("{byte:02x}")).collect::<String>());
    }
}

/// Asks for memory until there is no more.
#[test]
#[ignore = "runs inside the walls"]
fn memory_ends() {
    let mut all: Vec<Vec<u8>> = Vec::new();
    let mut more = Vec::new();
    while more.try_reserve_exact(64 << 20).is_ok() && all.len() < 1_000 {
        all.push(std::mem::take(&mut more));
    }
    println!("got {} MiB", all.len() * 64);
    assert!(all.len() * 64 <= 2_048);
}

/// Starts the helper process, runs a program in it and says its number; ends by being killed. Arguments: workspace, how long
/// the program sleeps.
#[test]
#[ignore = "a process of its own"]
fn serves_until_it_is_killed() {
    let given = given();
    let spawner = spawner(Path::new(&given[0]), false, Duration::from_secs(60));
    let script = format!("setsid setsid sleep {0} & sleep {0} & wait", given[1]);
    let request =
        ExecRequest { program: "/bin/sh".to_owned(), args: vec!["-c".to_owned(), script], cwd: None, zone: None };
    println!("spawner {}", spawner.id());
    io::stdout().flush().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let done = runtime.block_on(spawner.prepare(&request).unwrap().run());
    panic!("nobody killed this: {done:?}");
}

/// Confines itself as the server does, then tries what a server must not do. Arguments: a folder it may write, one it may not.
#[test]
#[ignore = "a process of its own"]
fn confines_itself_as_a_server() {
    let given = given();
    let (own, outside) = (Path::new(&given[0]), Path::new(&given[1]));
    let read = vec![own.with_file_name("read")];
    let paths = blufio_sandbox::ServerPaths { write: vec![own.to_owned()], read };
    let walls = blufio_sandbox::confine_server(&paths).unwrap();
    assert!(matches!(walls, blufio_sandbox::Walls::Up { threads: 1.. }), "{walls:?}");
    let tries = || {
        let mut tries = Attempts(Vec::new());
        tries.refused("starting a program", std::process::Command::new("/usr/bin/true").status());
        tries.refused("starting itself", std::process::Command::new("/proc/self/exe").status());
        tries.refused("reading outside", fs::read(outside.join("secret")));
        tries.refused("writing outside", fs::write(outside.join("new"), "x"));
        tries.refused("writing what it may read", fs::write(own.with_file_name("read").join("new"), "x"));
        tries.refused("reading a program", fs::read("/usr/bin/true"));
        tries.refused("another process", fs::read("/proc/1/status"));
        let starter = std::os::unix::process::parent_id() as usize;
        tries.call("signals", libc::SYS_kill, [starter, 0, 0, 0, 0, 0]);
        fs::write(own.join("file"), "x").unwrap();
        fs::rename(own.join("file"), own.join("file2")).unwrap();
        fs::create_dir_all(own.join("a/b")).unwrap();
        fs::read(own.with_file_name("read").join("file")).unwrap();
        fs::read("/etc/hosts").unwrap();
        fs::read("/proc/self/statm").unwrap();
        assert!(fs::File::open("/dev/urandom").is_ok() && fs::File::open("/dev/random").is_ok());
        assert!(std::net::TcpListener::bind(("127.0.0.1", 0)).is_ok());
        assert!(std::os::unix::net::UnixListener::bind(own.join(format!("{:?}", std::thread::current().id()))).is_ok());
        tries.end();
    };
    tries();
    std::thread::scope(|scope| scope.spawn(tries).join().unwrap());
}

/// Runs programs where the kernel says that it has no Landlock. Arguments: workspace, `weak` or `strict`, a time to sleep.
#[test]
#[ignore = "a process of its own"]
fn runs_without_landlock() {
    let given = given();
    hide_landlock();
    assert_eq!(blufio_sandbox::report().landlock_abi, None);
    let spawner = spawner(Path::new(&given[0]), given[1] == "weak", Duration::from_secs(2));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let run = |script: String| {
        let args = vec!["-c".to_owned(), script];
        let request = ExecRequest { program: "/bin/sh".to_owned(), args, cwd: None, zone: None };
        runtime.block_on(spawner.prepare(&request).unwrap().run())
    };
    println!("{:?}", run("echo ran".to_owned()));
    println!("{:?}", run(format!("kill -0 {} || echo no signals", std::process::id())));
    println!("{:?}", run(format!("setsid setsid sleep {0} & setsid sh -c 'sleep {0} & sleep {0}' & wait", given[2])));
}

/// From now on this thread, and what it starts, is told that there is no Landlock.
fn hide_landlock() {
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut filter = [
        step(0x20, 0, 0, 0),
        step(0x15, 0, 1, u32::try_from(libc::SYS_landlock_create_ruleset).unwrap()),
        step(0x06, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs()),
        step(0x06, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: 4, filter: filter.as_mut_ptr() };
    // SAFETY: the filter lives as long as the call.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program), 0);
    }
}
