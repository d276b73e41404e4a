//! Drives the real binary as an operator does: starts it, waits for `/readyz`, asks it things, ends or kills it.
//!
//! Every child is the leader of a process group of its own, and nothing but those groups is ever signalled, also when a
//! value is dropped. What the binary says goes to a log file in the work folder. Refuses to know what is being measured.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// Pause between two looks at `/readyz`, and so the error of a start time.
const READY_POLL: Duration = Duration::from_micros(500);
/// Longest time to become ready.
const READY_MAX: Duration = Duration::from_secs(20);
/// Longest answer to one HTTP request of the harness.
const HTTP_MAX: Duration = Duration::from_secs(10);
/// Longest run of a command that ends by itself.
const COMMAND_MAX: Duration = Duration::from_secs(60);
/// Bytes of the log that an error shows.
const LOG_TAIL_BYTES: usize = 2_000;
/// Ticks per second in `/proc/PID/stat`; part of the kernel's interface on all its platforms.
const CLOCK_TICKS_PER_S: u64 = 100;

/// What a child may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cage {
    /// The only processor it runs on.
    pub core: usize,
    /// Memory limit in bytes: of a memory control group where one can be made, else of the address space.
    pub memory_bytes: u64,
}

/// Everything needed to start the binary again and again on the same state.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The program.
    pub binary: PathBuf,
    /// Work folder: configuration, log and `data`.
    pub dir: PathBuf,
    /// Configuration: key with dots, and its value as TOML.
    pub keys: BTreeMap<String, String>,
    /// Environment besides `PATH` and `HOME`; secrets are here.
    pub env: BTreeMap<String, String>,
    /// Where the gateway listens on loopback.
    pub port: u16,
    /// Limits of the child.
    pub cage: Option<Cage>,
}

impl Setup {
    /// A configuration that logs to its work folder, listens on a free port, and knows no channel and no model yet.
    ///
    /// # Errors
    /// The folder cannot be made, or no port is free.
    pub fn new(binary: &Path, dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let port = free_port()?;
        let mut setup = Self {
            binary: binary.to_owned(),
            dir: dir.to_owned(),
            keys: BTreeMap::new(),
            env: BTreeMap::new(),
            port,
            cage: None,
        };
        setup.set("gateway.listen", format!("127.0.0.1:{port}"));
        setup.set("log.format", "text");
        Ok(setup)
    }

    /// Sets a text.
    pub fn set(&mut self, key: &str, value: impl AsRef<str>) {
        // A JSON string is a TOML string, as long as it has no lone surrogates, which Rust texts never have.
        self.keys.insert(key.to_owned(), serde_json::Value::from(value.as_ref()).to_string());
    }

    /// Sets any TOML value.
    pub fn set_raw(&mut self, key: &str, toml: impl Into<String>) {
        self.keys.insert(key.to_owned(), toml.into());
    }

    /// Uses this Messages API with this key.
    pub fn model(&mut self, base_url: &str, api_key: &str) {
        self.set("anthropic.base_url", base_url);
        self.env.insert("ANTHROPIC_API_KEY".to_owned(), api_key.to_owned());
    }

    /// Uses this Bot API, open to these people; without any, strangers are offered to be paired.
    pub fn telegram(&mut self, api_root: &str, token: &str, users: &[i64]) {
        self.set("telegram.api_root", api_root);
        self.set("telegram.dm_policy", if users.is_empty() { "pairing" } else { "allowlist" });
        self.set_raw("telegram.allow_from", format!("{users:?}"));
        self.set_raw("telegram.owners", format!("{:?}", users.first().as_slice()));
        self.set("telegram.streaming", "off");
        self.set("telegram.rate.mode", "off");
        self.env.insert("TELEGRAM_BOT_TOKEN".to_owned(), token.to_owned());
    }

    /// The data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.data_dir().join("blufio.db")
    }

    /// Where the binary's own words go.
    pub fn log(&self) -> PathBuf {
        self.dir.join("blufio.log")
    }

    /// A command of the binary on this configuration, with nothing else in its environment.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let config = self.dir.join("blufio.toml");
        std::fs::write(&config, self.toml())?;
        let mut command = self.caged()?;
        command.args(arguments).arg("--config").arg(config).arg("--data-dir").arg(self.data_dir());
        command.env_clear().env("HOME", &self.dir).envs(&self.env).current_dir(&self.dir);
        for name in ["PATH", "TERM", "LANG", "NO_COLOR"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        Ok(command)
    }

    /// Runs a command that ends by itself, such as `pairing list`.
    ///
    /// # Errors
    /// It cannot be started, or has not ended after a minute.
    pub async fn run(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.command(arguments)?;
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(COMMAND_MAX, command.output()).await;
        Ok(output.with_context(|| format!("blufio {} has not ended", arguments.join(" ")))??)
    }

    fn toml(&self) -> String {
        self.keys.iter().fold(String::new(), |mut text, (key, value)| {
            writeln!(text, "{key} = {value}").expect("a String takes everything");
            text
        })
    }

    fn caged(&self) -> Result<Command> {
        let Some(cage) = &self.cage else { return Ok(Command::new(&self.binary)) };
        let limit = match memory_group(cage.memory_bytes) {
            Some(tasks) => format!("echo $$ > {}", tasks.display()),
            None => format!("ulimit -v {}", cage.memory_bytes / 1024),
        };
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{limit} && exec taskset -c {} \"$@\"", cage.core), "sh"]).arg(&self.binary);
        Ok(command)
    }
}

/// A port that stays free while a program that listens on it is down: the kernel hands out none of these to connections. Each
/// process begins at a place of its own.
fn free_port() -> Result<u16> {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 20_000;
    let from = std::process::id().wrapping_mul(37);
    for _ in 0..COUNT {
        let place = from.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + place)?;
        if std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port is free")
}

/// A memory control group with this limit, as the file that takes members; `None` where this machine grants none.
pub fn memory_group(bytes: u64) -> Option<PathBuf> {
    let name = format!("blufio-bench-{}", std::process::id());
    let (root, limit) = [("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")]
        .into_iter()
        .find(|(root, limit)| {
            // In the root of the second version there is no limit, so what it controls is looked at instead.
            let offered = std::fs::read_to_string(format!("{root}/cgroup.subtree_control"));
            offered.is_ok_and(|names| names.contains("memory")) || Path::new(root).join(limit).exists()
        })?;
    let group = Path::new(root).join(name);
    let made = std::fs::create_dir(&group);
    if made.is_err_and(|error| error.kind() != io::ErrorKind::AlreadyExists) {
        return None;
    }
    std::fs::write(group.join(limit), bytes.to_string()).ok()?;
    Some(group.join("cgroup.procs"))
}

/// Removes the control group of this process's children, if there was one and they are gone.
pub fn remove_memory_group() {
    for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/memory"] {
        // Most often there is none.
        drop(std::fs::remove_dir(Path::new(root).join(format!("blufio-bench-{}", std::process::id()))));
    }
}

/// What a process has used so far and holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory in bytes, with the program's own pages.
    pub rss_bytes: u64,
    /// Anonymous memory in bytes: what the program allocated.
    pub anonymous_bytes: u64,
    /// Processor time of all threads; the kernel counts in hundredths of a second.
    pub cpu: Duration,
    /// Threads.
    pub threads: u64,
    /// Open files; `None` if this user may not look.
    pub files: Option<u64>,
}

/// The running binary; dropping it kills its process group.
#[derive(Debug)]
pub struct Blufio {
    child: Child,
    pid: Pid,
    started: Instant,
    port: u16,
    socket: PathBuf,
    log: PathBuf,
    reaped: bool,
}

impl Blufio {
    /// Starts `blufio serve` without waiting for it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn(setup: &Setup) -> Result<Self> {
        let log = std::fs::File::options().create(true).append(true).open(setup.log())?;
        let mut command = setup.command(&["serve"])?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0).kill_on_drop(true);
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("cannot start {}", setup.binary.display()))?;
        let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).context("the child has no id")?;
        let socket = setup.data_dir().join("blufio.sock");
        Ok(Self { child, pid, started, port: setup.port, socket, log: setup.log(), reaped: false })
    }

    /// Starts `blufio serve` and waits until it is ready; also says how long that took.
    ///
    /// # Errors
    /// It ends, or is not ready after twenty seconds; the error shows the end of its log.
    pub async fn start(setup: &Setup) -> Result<(Self, Duration)> {
        let mut blufio = Self::spawn(setup)?;
        let took = blufio.ready().await?;
        Ok((blufio, took))
    }

    /// Waits until `/readyz` answers 200; gives the time since the start of the process.
    ///
    /// # Errors
    /// As [`Blufio::start`].
    pub async fn ready(&mut self) -> Result<Duration> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.reaped = true;
                bail!("blufio ended before it was ready ({status}); its log ends:\n{}", self.log_tail());
            }
            if let Ok(stream) = TcpStream::connect(address).await
                && let Ok((200, _)) = get(stream, "/readyz").await
            {
                return Ok(self.started.elapsed());
            }
            if self.started.elapsed() > READY_MAX {
                bail!("blufio is not ready after {READY_MAX:?}; its log ends:\n{}", self.log_tail());
            }
            sleep(READY_POLL).await;
        }
    }

    /// Kills the process group with SIGKILL and waits for the end.
    ///
    /// # Errors
    /// The kernel does not say how it ended.
    pub async fn kill9(mut self) -> Result<ExitStatus> {
        self.signal_group();
        self.wait().await
    }

    /// Asks it to end with SIGTERM and waits at most `limit`.
    ///
    /// # Errors
    /// It has not ended by then; it is killed in that case.
    pub async fn terminate(mut self, limit: Duration) -> Result<ExitStatus> {
        self.ask_to_end()?;
        match timeout(limit, self.wait()).await {
            Ok(status) => status,
            Err(_) => bail!("blufio has not ended {limit:?} after SIGTERM; its log ends:\n{}", self.log_tail()),
        }
    }

    /// Sends SIGTERM.
    ///
    /// # Errors
    /// It is gone already.
    pub fn ask_to_end(&self) -> Result<()> {
        Ok(kill_process(self.pid, Signal::TERM)?)
    }

    /// Waits for the end, by whatever cause.
    ///
    /// # Errors
    /// The kernel does not say how it ended.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        let status = self.child.wait().await?;
        self.reaped = true;
        Ok(status)
    }

    /// Its process number.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        let running = matches!(self.child.try_wait(), Ok(None));
        self.reaped |= !running;
        running
    }

    /// What it uses now.
    ///
    /// # Errors
    /// It is gone.
    pub fn usage(&self) -> Result<Usage> {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", self.pid.as_raw_nonzero()));
        let (status, stat) = (read("status")?, read("stat")?);
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.pid.as_raw_nonzero()));
        Ok(Usage {
            rss_bytes: field(&status, "VmRSS:") * 1024,
            anonymous_bytes: field(&status, "RssAnon:") * 1024,
            cpu: cpu_time(&stat).context("/proc/PID/stat has another form than expected")?,
            threads: field(&status, "Threads:"),
            files: files.ok().map(|entries| entries.count() as u64),
        })
    }

    /// Reads a route of the control socket: status and body.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn get(&self, path: &str) -> Result<(u16, String)> {
        get(UnixStream::connect(&self.socket).await?, path).await
    }

    /// The value of a metric without labels.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let (_, text) = self.get("/metrics").await?;
        metric(&text, name).with_context(|| format!("there is no metric {name}"))
    }

    /// The end of what it said.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text[text.floor_char_boundary(text.len().saturating_sub(LOG_TAIL_BYTES))..].to_owned()
    }

    fn signal_group(&self) {
        // It cannot be somebody else's group: the leader is not reaped yet, so its number is not free.
        if let Err(error) = kill_process_group(self.pid, Signal::KILL) {
            assert_eq!(error, rustix::io::Errno::SRCH, "a group of our own can be killed");
        }
    }
}

impl Drop for Blufio {
    fn drop(&mut self) {
        if !self.reaped {
            self.signal_group();
        }
    }
}

/// One GET over a fresh connection.
async fn get(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> Result<(u16, String)> {
    let exchange = async {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no HTTP status")?;
        Ok((status, body.to_owned()))
    };
    timeout(HTTP_MAX, exchange).await.context("no answer in time")?
}

fn metric(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// A number of `/proc/PID/status`; 0 if it is not there.
fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// User and system time of `/proc/PID/stat`. The name in parentheses may contain anything, so it is skipped from behind.
fn cpu_time(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1_000 / CLOCK_TICKS_PER_S))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that behaves like none of ours; `#!` scripts ignore the arguments.
    fn script(dir: &Path, body: &str) -> Setup {
        let path = dir.join("program");
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        Setup::new(&path, dir).unwrap()
    }

    #[test]
    fn the_configuration_is_toml() {
        let dir = tempfile::tempdir().unwrap();
        let mut setup = Setup::new(Path::new("blufio"), dir.path()).unwrap();
        setup.keys.clear();
        setup.telegram("http://127.0.0.1:1", "1:TEST", &[7, 8]);
        setup.set("agents.main.instructions", "say \"hi\"\n");
        let expected = r#"agents.main.instructions = "say \"hi\"\n"
telegram.allow_from = [7, 8]
telegram.api_root = "http://127.0.0.1:1"
telegram.dm_policy = "allowlist"
telegram.owners = [7]
telegram.rate.mode = "off"
telegram.streaming = "off"
"#;
        assert_eq!(setup.toml(), expected);
        assert_eq!(setup.env["TELEGRAM_BOT_TOKEN"], "1:TEST");
    }

    #[test]
    fn figures_of_proc_are_read() {
        let stat = "12 (a) b) S 1 12 12 0 -1 4194560 100 0 0 0 150 25 0 0 20 0 5 0";
        assert_eq!(cpu_time(stat), Some(Duration::from_millis(1_750)));
        assert_eq!(field("Name:\tx\nVmRSS:\t  12345 kB\n", "VmRSS:"), 12_345);
        let text = "# TYPE a counter\na_total{x=\"1\"} 9\na_total 7\na_total_more 8\n";
        assert_eq!(metric(text, "a_total"), Some(7.0));
        assert_eq!(metric(text, "b"), None);
    }

    #[tokio::test]
    async fn an_early_end_is_told_with_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let setup = script(dir.path(), "echo no such luck; exit 78");
        let error = Blufio::start(&setup).await.unwrap_err().to_string();
        assert!(error.contains("78") && error.contains("no such luck"), "{error}");
    }

    #[tokio::test]
    async fn the_whole_group_is_killed_also_by_a_drop() {
        let dir = tempfile::tempdir().unwrap();
        let setup = script(dir.path(), "sleep 600 & echo $! > child; wait");
        for by_drop in [false, true] {
            let child = dir.path().join("child");
            drop(std::fs::remove_file(&child));
            let mut blufio = Blufio::spawn(&setup).unwrap();
            let id = loop {
                match std::fs::read_to_string(&child) {
                    Ok(text) if text.ends_with('\n') => break text.trim().to_owned(),
                    _ => tokio::task::yield_now().await,
                }
            };
            assert!(blufio.is_running() && blufio.usage().unwrap().rss_bytes > 0);
            if by_drop {
                drop(blufio);
            } else {
                assert!(!blufio.kill9().await.unwrap().success());
            }
            let gone = |stat: io::Result<String>| stat.map_or(true, |stat| stat.contains(") Z "));
            while !gone(std::fs::read_to_string(format!("/proc/{id}/stat"))) {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn a_process_that_ignores_sigterm_is_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let setup = script(dir.path(), "trap '' TERM; echo up; sleep 600 & wait; wait");
        let blufio = Blufio::spawn(&setup).unwrap();
        while !blufio.log_tail().contains("up") {
            tokio::task::yield_now().await;
        }
        assert!(blufio.terminate(Duration::from_millis(50)).await.is_err());
    }
}
