//! Runs a program, confined, and says what came of it.
//!
//! A run has two halves, so that an owner's yes can be held to exactly what runs: a program is opened and looked at
//! ([`Executor::prepare`]), which gives a [`Binding`]; then what was opened is run. What is confined, and how, is the
//! adapter's business.

use super::{Binding, Boxed};
use std::path::Path;
use std::time::Duration;

/// How long a program may run. Over: it is killed together with everything it started.
pub const EXEC_TIME_MAX: Duration = Duration::from_secs(60);
/// Bytes of output that are kept. Over: the rest is read and thrown away.
pub const EXEC_OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// Arguments of one call. Over: refused.
pub const EXEC_ARGS_MAX: usize = 256;
/// Bytes of all arguments of one call. Over: refused.
pub const EXEC_ARGS_BYTES_MAX: usize = 32 * 1024;

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecRequest {
    /// The program, by its absolute path.
    pub program: String,
    /// Its arguments, without its own name; handed over as they are, never read by a shell.
    pub args: Vec<String>,
    /// Folder to run in, relative to the workspace; `None`: the workspace itself.
    pub cwd: Option<String>,
    /// Time zone (IANA name) for the program; `None`: the machine's.
    pub zone: Option<String>,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this exit code.
    Exited(i32),
    /// By a signal of this number.
    Signalled(i32),
    /// It ran too long and was killed.
    TimedOut,
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOutcome {
    /// How it ended.
    pub ended: Ended,
    /// What it printed on both outputs, without control characters; at most [`EXEC_OUTPUT_BYTES_MAX`] bytes.
    pub output: String,
    /// Bytes of output that were not kept.
    pub discarded: u64,
    /// How long it ran.
    pub time: Duration,
}

/// Why a program was not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExecError {
    /// The request cannot be carried out; the text says what to change.
    #[error("{0}")]
    Refused(String),
    /// This machine cannot confine a program well enough; the operator has to decide.
    #[error("{0}")]
    Weak(String),
    /// The helper process failed.
    #[error("{0}")]
    Broken(String),
}

/// A program that was opened and looked at.
pub trait Prepared: Send {
    /// What an owner's yes to this run is held to: the file behind the path and its content, the arguments, the folder, the
    /// environment.
    fn binding(&self) -> &Binding;
    /// Runs what was opened, whatever the path stands for by now. Dropping the future kills it.
    fn run(self: Box<Self>) -> Boxed<'static, Result<ExecOutcome, ExecError>>;
}

/// Opens programs and runs them. (Object-safe as it is, so it needs no erased twin.)
pub trait Executor: Send + Sync + 'static {
    /// Opens the program and the folder. Reads files: call it where waiting is allowed.
    ///
    /// # Errors
    /// The program or the folder cannot be used.
    fn prepare(&self, request: &ExecRequest) -> Result<Box<dyn Prepared>, ExecError>;
}

/// Programs that run other programs or commands given to them, or change what they do by what they read: an owner's
/// "always" to one call of them would say yes to much more than was shown. Versions (`python3.13`) count as the plain name.
pub const NEVER_ALWAYS: &[&str] = &[
    // Shells.
    "ash",
    "bash",
    "csh",
    "dash",
    "elvish",
    "fish",
    "ksh",
    "mksh",
    "nu",
    "pwsh",
    "rbash",
    "sh",
    "tcsh",
    "yash",
    "zsh",
    // Interpreters, and what is made of them.
    "awk",
    "bun",
    "clisp",
    "deno",
    "elixir",
    "erl",
    "escript",
    "expect",
    "gawk",
    "gdb",
    "ghci",
    "groovy",
    "guile",
    "irb",
    "jaotc",
    "java",
    "jjs",
    "jq",
    "jshell",
    "julia",
    "lldb",
    "lua",
    "luajit",
    "mawk",
    "m4",
    "mono",
    "nawk",
    "node",
    "nodejs",
    "npm",
    "npx",
    "ocaml",
    "octave",
    "perl",
    "php",
    "pip",
    "pipx",
    "pypy",
    "python",
    "r",
    "racket",
    "raku",
    "rscript",
    "ruby",
    "sbcl",
    "scala",
    "sed",
    "sqlite",
    "swipl",
    "tclsh",
    "uv",
    "wish",
    // Multi-call binaries.
    "box",
    "busybox",
    "coreutils",
    "toybox",
    // Programs that start others.
    "at",
    "batch",
    "bwrap",
    "chroot",
    "chrt",
    "cpulimit",
    "crontab",
    "dbus-run-session",
    "doas",
    "env",
    "fakeroot",
    "find",
    "firejail",
    "flock",
    "gnome-terminal",
    "ionice",
    "ld.so",
    "ld-linux",
    "ltrace",
    "make",
    "cmake",
    "ninja",
    "nice",
    "nohup",
    "ip",
    "nsenter",
    "numactl",
    "parallel",
    "pkexec",
    "prlimit",
    "run-parts",
    "runuser",
    "screen",
    "script",
    "setarch",
    "setpriv",
    "setsid",
    "start-stop-daemon",
    "stdbuf",
    "strace",
    "su",
    "sudo",
    "systemd-run",
    "taskset",
    "time",
    "run-mailcap",
    "split",
    "systemctl",
    "timeout",
    "tmux",
    "unshare",
    "watch",
    "xargs",
    "xterm",
    // To other machines, and from them.
    "curl",
    "ftp",
    "mosh",
    "nc",
    "ncat",
    "netcat",
    "rsync",
    "scp",
    "sftp",
    "socat",
    "ssh",
    "telnet",
    "wget",
    // Hooks, filters and pagers run commands.
    "git",
    "hg",
    "svn",
    "bsdtar",
    "cpio",
    "gtar",
    "tar",
    "unzip",
    "zip",
    "less",
    "man",
    "more",
    "most",
    "apt",
    "apt-get",
    "cargo",
    "docker",
    "dpkg",
    "gcc",
    "cc",
    "go",
    "podman",
    "rpm",
    "rustc",
    // Editors.
    "ed",
    "emacs",
    "ex",
    "helix",
    "hx",
    "joe",
    "kak",
    "mcedit",
    "micro",
    "nano",
    "nvim",
    "pico",
    "rvim",
    "vi",
    "view",
    "vim",
    "vimdiff",
];

/// Whether this program is never run on an owner's "always" (see [`NEVER_ALWAYS`]).
#[must_use]
pub fn never_always(program: &str) -> bool {
    let name = Path::new(program).file_name().and_then(|name| name.to_str()).unwrap_or("").to_ascii_lowercase();
    let listed = |name: &str| NEVER_ALWAYS.contains(&name);
    // `python3.13`, `perl5.40-x86_64-linux-gnu`, `vim.basic`, `busybox-static`, `gcc-14`, `ld-linux-x86-64.so.2`
    let plain = name.split(|c: char| c.is_ascii_digit() || c == '.').next().unwrap_or("");
    let first = plain.split('-').next().unwrap_or("");
    let loader = name.starts_with("ld-") || name.starts_with("ld.so");
    // What cannot be read as a name cannot be cleared by one.
    name.is_empty() || loader || [name.as_str(), plain, plain.trim_end_matches('-'), first].into_iter().any(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_anything_is_never_run_on_an_always() {
        for program in [
            "/bin/sh",
            "/usr/bin/python3",
            "/usr/bin/python3.13",
            "/usr/bin/perl5.40-x86_64-linux-gnu",
            "/bin/busybox",
            "/usr/bin/vim.basic",
            "/usr/bin/ENV",
            "/usr/bin/xargs",
            "/usr/bin/find",
            "/usr/bin/ssh",
            "/usr/bin/git",
            "/usr/bin/tar",
            "/usr/bin/gcc-14",
            "/lib64/ld-linux-x86-64.so.2",
            "/usr/bin/busybox-static",
            "/",
            "",
            "/usr/bin/git-upload-pack",
            "/usr/bin/systemd-run",
        ] {
            assert!(never_always(program), "{program}");
        }
        for program in
            ["/usr/bin/sort", "/usr/bin/wc", "/bin/ls", "/usr/bin/sha256sum", "/usr/bin/date", "/usr/bin/base64"]
        {
            assert!(!never_always(program), "{program}");
        }
    }

    #[test]
    fn names_are_plain_and_listed_once() {
        let mut seen = std::collections::BTreeSet::new();
        for name in NEVER_ALWAYS {
            assert!(seen.insert(name), "{name} twice");
            assert_eq!(*name, name.to_ascii_lowercase());
        }
    }
}
