//! Which program, in which folder, with which arguments: exactly what was said and what somebody said yes to.

use super::World;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

/// Pieces of strings that mean something to a shell, to an option parser, or to somebody who prints them.
const PIECES: &[&str] = &[
    "; touch canary",
    "$(touch canary)",
    "`touch canary`",
    "| touch canary",
    "&& touch canary",
    "|| touch canary",
    "> canary",
    "< /etc/passwd",
    "\n touch canary\n",
    "\r\ntouch canary",
    "'; touch canary; '",
    "\"; touch canary; \"",
    "$IFS",
    "${PATH}",
    "$HOME",
    "~",
    "*",
    "?",
    "[a-z]",
    "{a,b}",
    "\\",
    "\\\\",
    "\\n",
    "%s%n%x",
    "%00",
    "--",
    "-",
    "-rf",
    "--version",
    "-c",
    "-exec",
    "=",
    "a=b",
    "#",
    "!",
    "!!",
    "^a^b",
    "\t",
    " ",
    "",
    "\u{1b}[31m",
    "\u{7}",
    "\u{202e}",
    "ä€𝄞",
    "@file",
    "/etc/passwd",
    "../../etc/passwd",
    "file:///etc/passwd",
    "$'\\x41'",
    "<(id)",
    ">(id)",
    "&",
    "&>canary",
    "2>&1",
    "\u{0085}touch canary",
];

#[tokio::test]
async fn five_hundred_injections_arrive_as_they_are_in_one_process() {
    let world = World::new();
    // A fixed walk over pairs and triples, so that a failure comes again.
    let strings: Vec<String> = (0..500_usize)
        .map(|number| {
            let piece = |step: usize| PIECES[(number * 7 + step * 13 + number / PIECES.len()) % PIECES.len()];
            (0..=number % 3).map(piece).collect()
        })
        .collect();
    for part in strings.chunks(125) {
        let args: Vec<&str> = part.iter().map(String::as_str).collect();
        let said = world.probe_passes("says_its_arguments", &args).await;
        let arrived: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("argument ")).collect();
        let sent: Vec<String> =
            part.iter().map(|text| text.bytes().map(|byte| format!("{byte:02x}")).collect()).collect();
        assert_eq!(arrived, sent);
        assert_eq!(said.matches("parent ").count(), 1);
    }
    assert!(!world.workspace().join("canary").exists());
    for text in &strings {
        assert!(world.exec(&format!("/usr/bin/true{text}x"), &[]).await.is_err(), "{text}");
    }
}

#[tokio::test]
async fn only_programs_of_the_system_and_the_workspace_run() {
    let world = World::new();
    let outside = world.outside().join("true");
    fs::copy("/usr/bin/true", &outside).unwrap();
    fs::copy("/usr/bin/true", world.workspace().join("mine")).unwrap();
    symlink(&outside, world.workspace().join("link")).unwrap();
    fs::write(world.workspace().join("script"), "#!/bin/sh\necho hello\n").unwrap();
    fs::write(world.workspace().join("plain"), "x").unwrap();
    fs::write(world.workspace().join("junk"), "no program").unwrap();
    for name in ["script", "junk"] {
        fs::set_permissions(world.workspace().join(name), fs::Permissions::from_mode(0o700)).unwrap();
    }
    rustix::fs::mkfifoat(rustix::fs::CWD, world.workspace().join("pipe"), rustix::fs::Mode::from_raw_mode(0o700))
        .unwrap();
    let own = |name: &str| world.workspace().join(name).display().to_string();
    let refused = [
        ("true".to_owned(), "absolute"),
        ("./mine".to_owned(), "absolute"),
        ("".to_owned(), "absolute"),
        (outside.display().to_string(), "elsewhere"),
        (own("link"), "elsewhere"),
        (own("script"), "is a script"),
        (own("plain"), "not a program"),
        (own("pipe"), "not a program"),
        (own("nothing"), "there is no program"),
        (own("junk"), "cannot be executed"),
        (own(""), "not a program"),
        ("/usr/bin".to_owned(), "not a program"),
        ("/etc/passwd".to_owned(), "not a program"),
        ("/usr/bin/true\0x".to_owned(), "zero byte"),
    ];
    for (program, why) in refused {
        let said = world.exec(&program, &[]).await.unwrap_err();
        assert!(said.contains(why), "{program:?}: {said}");
    }
    assert!(world.exec(&own("mine"), &[]).await.unwrap().contains("[exit code 0"));
    let many = vec!["x"; 256];
    assert!(world.exec("/usr/bin/true", &many).await.is_ok());
    let long = "x".repeat(32 * 1024);
    assert!(world.exec("/usr/bin/true", &[&long]).await.is_ok());
    assert!(world.exec("/usr/bin/true", &[&long, "x"]).await.unwrap_err().contains("at most"));
    assert!(world.exec("/usr/bin/true", &["a\0b"]).await.unwrap_err().contains("zero byte"));
}

#[tokio::test]
async fn no_folder_outside_is_run_in() {
    let world = World::new();
    fs::create_dir(world.workspace().join("sub")).unwrap();
    symlink("/etc", world.workspace().join("etc")).unwrap();
    symlink("sub", world.workspace().join("inner")).unwrap();
    symlink("..", world.workspace().join("sub/up")).unwrap();
    fs::write(world.workspace().join("file"), "").unwrap();
    for cwd in
        ["..", "sub/../..", "/", "/etc", "etc", "inner", "sub/up", "sub/up/..", "./../outside", "file", "missing"]
    {
        let said = world.run(world.call("/bin/pwd", &[], Some(cwd))).await.unwrap_err();
        assert!(said.contains("not run: "), "{cwd}: {said}");
    }
    for cwd in ["", ".", "sub", "./sub", "sub/../sub"] {
        let said = world.run(world.call("/bin/pwd", &[], Some(cwd))).await.unwrap();
        assert!(said.starts_with(&world.workspace().display().to_string()), "{cwd}: {said}");
    }
}

#[tokio::test]
async fn a_yes_holds_for_what_was_shown_and_nothing_else() {
    let world = World::new();
    let own = |name: &str| world.workspace().join(name);
    fs::create_dir(own("sub")).unwrap();
    fs::copy("/usr/bin/true", own("tool")).unwrap();
    fs::write(own("sub/script.sh"), "echo one").unwrap();
    let tool = own("tool").display().to_string();
    let call = world.call(&tool, &["script.sh", "--file=script.sh", "-x"], Some("sub"));
    let yes = world.binding(&call).await;
    assert_eq!(yes, world.binding(&call).await, "it is the same as long as nothing changes");
    assert_eq!(yes.hash.len(), 64);
    let bound = |yes: &str| blufio_core::port::ToolCall { bound: Some(yes.to_owned()), ..call.clone() };
    assert!(world.run(bound(&yes.hash)).await.unwrap().contains("[exit code 0"));

    // Each changes something, is refused, and puts it back.
    let swap = |name: &'static str, with: &'static str| (own(name), own(&format!("{name}.kept")), with);
    for (what, (path, kept, with)) in [
        ("the program", swap("tool", "/usr/bin/false")),
        ("a file that an argument names", swap("sub/script.sh", "/etc/hostname")),
    ] {
        fs::rename(&path, &kept).unwrap();
        fs::copy(with, &path).or_else(|_| fs::write(&path, "other").map(|()| 0)).unwrap();
        let said = world.run(bound(&yes.hash)).await.unwrap_err();
        assert!(said.contains("no longer what the owner"), "{what}: {said}");
        fs::rename(&kept, &path).unwrap();
    }
    let content = fs::read(own("tool")).unwrap();
    let mut other = content.clone();
    *other.last_mut().unwrap() ^= 1;
    fs::write(own("tool"), &other).unwrap();
    assert!(world.run(bound(&yes.hash)).await.unwrap_err().contains("no longer"), "content in the same file");
    fs::write(own("tool"), &content).unwrap();
    fs::write(own("sub/script.sh"), "echo two").unwrap();
    assert!(world.run(bound(&yes.hash)).await.unwrap_err().contains("no longer"), "content of a named file");
    fs::write(own("sub/script.sh"), "echo one").unwrap();
    fs::rename(own("sub"), own("away")).unwrap();
    fs::create_dir(own("sub")).unwrap();
    assert!(world.run(bound(&yes.hash)).await.unwrap_err().contains("no longer"), "another folder of the same name");
    fs::remove_dir(own("sub")).unwrap();
    fs::rename(own("away"), own("sub")).unwrap();
    assert!(world.run(bound(&yes.hash)).await.unwrap().contains("[exit code 0"), "everything is as it was");

    let zone = blufio_core::port::ToolCall { zone: Some("Asia/Tokyo".to_owned()), ..bound(&yes.hash) };
    assert!(world.run(zone).await.unwrap_err().contains("no longer"), "another environment");
    let mut argument = bound(&yes.hash);
    argument.input["args"][2] = "-y".into();
    assert!(world.run(argument).await.unwrap_err().contains("no longer"), "another argument");
    assert!(!yes.always, "programs of the workspace never qualify for always");
}

#[tokio::test]
async fn what_was_opened_is_what_runs() {
    let world = World::new();
    let tool = world.workspace().join("tool");
    fs::copy("/usr/bin/true", &tool).unwrap();
    let request =
        blufio_core::port::ExecRequest { program: tool.display().to_string(), args: Vec::new(), cwd: None, zone: None };
    use blufio_core::port::{Ended, Executor as _};
    let prepared = world.spawner.prepare(&request).unwrap();
    // In place, so that the very file which was opened is another program now.
    fs::write(&tool, fs::read("/usr/bin/false").unwrap()).unwrap();
    assert_eq!(prepared.run().await.unwrap().ended, Ended::Exited(0));
    assert_eq!(world.spawner.prepare(&request).unwrap().run().await.unwrap().ended, Ended::Exited(1));
}

#[tokio::test]
async fn always_is_for_plain_programs_of_the_system() {
    let world = World::new();
    symlink("/bin/sh", world.workspace().join("sort")).unwrap();
    for (program, always) in [
        ("/usr/bin/sort", true),
        ("/bin/sh", false),
        ("/usr/bin/env", false),
        ("/usr/bin/awk", false),
        ("/usr/bin/tar", false),
        (world.workspace().join("sort").to_str().unwrap(), false),
    ] {
        if fs::metadata(program).is_ok() {
            let binding = world.binding(&world.call(program, &[], None)).await;
            assert_eq!(binding.always, always, "{program}");
        }
    }
}
