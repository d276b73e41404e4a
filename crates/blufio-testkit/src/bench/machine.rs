//! On what a measurement was made: processor, kernel, date, and which program.

use std::fmt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde::Serialize;

use super::report::Times;

/// Type number of tmpfs in `statfs` (linux/magic.h).
const TMPFS_MAGIC: u64 = 0x0102_1994;
/// Writes of the measurement of `fdatasync`.
const SYNCS: usize = 200;

/// Everything a reader needs to compare.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Machine {
    /// Model of the processor.
    pub processor: String,
    /// Processors.
    pub cores: usize,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Kernel release.
    pub kernel: String,
    /// Day of the measurement, UTC.
    pub date: String,
    /// What the measured program says of its version.
    pub program: String,
    /// Commit of the source tree, with `+` if files in it are changed.
    pub commit: String,
}

impl Machine {
    /// Looks around.
    pub fn look(binary: &Path) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let line = |text: &str, name: &str| {
            let found =
                text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim_start_matches([' ', '\t', ':'])));
            found.unwrap_or_default().to_owned()
        };
        let kilobytes: u64 =
            line(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse().unwrap_or_default();
        let changed = !said("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty();
        Self {
            processor: line(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_bytes: kilobytes * 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            date: date(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()),
            program: said(&binary.to_string_lossy(), &["--version"]),
            commit: said("git", &["rev-parse", "--short=12", "HEAD"]) + if changed { "+" } else { "" },
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, cores, kernel, date, program, commit, memory_bytes } = self;
        let gib = *memory_bytes as f64 / f64::from(1 << 30);
        write!(f, "{date}, {processor}, {cores} cores, {gib:.0} GiB, Linux {kernel}; {program}; tree {commit}")
    }
}

/// Trimmed first line of a command's output, empty if it fails.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success());
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// The day of a Unix time, as year-month-day.
fn date(unix_s: u64) -> String {
    // Days are counted from 1 March of the year 0, so that the leap day is the last one of its year.
    let days = unix_s / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Whether files in this folder are in memory only.
pub fn is_tmpfs(folder: &Path) -> bool {
    rustix::fs::statfs(folder).is_ok_and(|stat| u64::try_from(stat.f_type).is_ok_and(|kind| kind == TMPFS_MAGIC))
}

/// What it takes to append 4 KiB and wait for the disk, in this folder.
///
/// # Errors
/// The folder cannot be written.
pub fn sync_times(folder: &Path) -> Result<Times> {
    let mut file = tempfile::tempfile_in(folder)?;
    let block = [0x5a_u8; 4096];
    let mut once = || -> Result<Duration> {
        std::io::Write::write_all(&mut file, &block)?;
        let started = Instant::now();
        file.sync_data()?;
        Ok(started.elapsed())
    };
    (0..SYNCS).map(|_| once()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_dates() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(951_782_400), "2000-02-29");
        assert_eq!(date(1_735_689_599), "2024-12-31");
        assert_eq!(date(4_107_542_400), "2100-03-01");
    }

    #[test]
    fn this_machine_is_described() {
        let machine = Machine::look(Path::new("/nonexistent"));
        assert!(machine.cores > 0 && machine.program.is_empty() && machine.date.len() == 10, "{machine}");
    }
}
