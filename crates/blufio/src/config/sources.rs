//! Which configuration file is read, and its text; and where the data directory lies when nobody says.
//!
//! The first file that exists is taken whole; files are not merged. The working folder is not looked into: whoever wrote
//! what lies there would decide where the keys are sent. The meaning of the text is not this module's business.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::diagnostic::{ConfigErrors, Diagnostic, Place};
use super::keys::CONFIG_FILE_BYTES_MAX;
use super::kind::Problem;
use super::{Environment, Origin, Overrides};

/// The root key's name in the configuration folder.
pub const ROOT_KEY: &str = "root.key";

/// The files that were looked for.
#[derive(Debug, Clone)]
pub struct Located {
    /// In the order in which they are tried.
    pub candidates: Vec<Candidate>,
    /// The file that was taken, if any.
    pub file: Option<ConfigFile>,
}

/// A file that could be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Absolute.
    pub path: PathBuf,
    /// What came of it.
    pub state: CandidateState,
}

/// What came of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CandidateState {
    /// It exists and is read.
    Taken,
    /// It does not exist.
    Missing,
    /// One before it was taken.
    Skipped,
}

/// A configuration file.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    /// Absolute.
    pub path: PathBuf,
    /// The whole text.
    pub text: String,
}

/// Finds and reads the configuration file. No file at all is fine, unless one was asked for.
pub fn locate(cli: &Overrides, env: &Environment) -> Result<Located, ConfigErrors> {
    let variable = env.var("BLUFIO_CONFIG");
    let asked = match (&cli.config, variable) {
        (Some(path), _) => Some((path.clone(), Place::Option("--config"))),
        (None, Some(path)) => Some((PathBuf::from(path), Place::Variable("BLUFIO_CONFIG".to_owned()))),
        (None, None) => None,
    };
    if let Some((path, place)) = asked {
        let path = env.cwd.join(path);
        let Some(text) = read(&path)? else {
            return Err(Diagnostic::error(format!("there is no file `{}`", path.display()), place).into());
        };
        let candidates = vec![Candidate { path: path.clone(), state: CandidateState::Taken }];
        return Ok(Located { candidates, file: Some(ConfigFile { path, text }) });
    }

    let mut located = Located { candidates: Vec::new(), file: None };
    for path in default_files(env) {
        let mut state = CandidateState::Skipped;
        if located.file.is_none() {
            let text = read(&path)?;
            state = if text.is_some() { CandidateState::Taken } else { CandidateState::Missing };
            located.file = text.map(|text| ConfigFile { path: path.clone(), text });
        }
        located.candidates.push(Candidate { path, state });
    }
    Ok(located)
}

/// The data directory when neither command line, environment nor file names one.
pub fn default_data_dir(env: &Environment) -> Result<(PathBuf, Origin), Diagnostic> {
    // systemd gives a list with colons if the unit has several `StateDirectory=`; ours is the first.
    let state = env.var("STATE_DIRECTORY").and_then(|list| list.split(':').next()).and_then(absolute);
    if let Some(directory) = state {
        return Ok((directory, Origin::Variable("STATE_DIRECTORY".to_owned())));
    }
    if let Some(directory) = env.var("XDG_DATA_HOME").and_then(absolute) {
        return Ok((directory.join("blufio"), Origin::Variable("XDG_DATA_HOME".to_owned())));
    }
    let Some(home) = &env.home else {
        let error = Diagnostic::error("there is no home directory to keep data in", Place::Nowhere);
        return Err(error.hint("set `BLUFIO_DATA_DIR` or `--data-dir`".to_owned()));
    };
    let below = if cfg!(target_os = "macos") { "Library/Application Support/blufio" } else { ".local/share/blufio" };
    Ok((home.join(below), Origin::Default))
}

/// A written path as an absolute one. `~/` is the home directory, a relative path starts at `base`.
pub fn absolute_path(text: &str, base: &Path, home: Option<&Path>) -> Result<String, Problem> {
    let path = match (text.strip_prefix('~'), home) {
        (Some(rest), Some(home)) => home.join(rest.trim_start_matches('/')),
        (Some(_), None) => {
            return Err(Problem::new("starts with `~`, but there is no home directory").hint("write the whole path"));
        }
        (None, _) => base.join(text),
    };
    // Collecting the components drops `.` and doubled slashes.
    let path: PathBuf = path.components().collect();
    path.into_os_string().into_string().map_err(|_| Problem::new("must be valid UTF-8 as a whole path"))
}

fn default_files(env: &Environment) -> Vec<PathBuf> {
    let mut files = Vec::new();
    files.extend(user_directory(env).map(|directory| directory.join("blufio.toml")));
    files.push(PathBuf::from("/etc/blufio/blufio.toml"));
    files
}

/// What decides about the agent and must stay out of its reach: the configuration, taken or not yet written, and the usual
/// place of the root key.
pub fn guarded_files(located: &Located, env: &Environment) -> Vec<PathBuf> {
    let taken = located.file.iter().map(|file| file.path.clone());
    let key = user_directory(env).map(|directory| directory.join(ROOT_KEY));
    taken.chain(default_files(env)).chain(key).collect()
}

/// A path without symbolic links, as far as it exists; what does not exist yet is taken as it is written.
pub fn real(path: &Path) -> PathBuf {
    let mut missing = Vec::new();
    let mut there = path;
    loop {
        if let Ok(found) = there.canonicalize() {
            return missing.iter().rev().fold(found, |path, name| path.join(name));
        }
        let (Some(parent), Some(name)) = (there.parent(), there.file_name()) else { return path.to_owned() };
        missing.push(name);
        there = parent;
    }
}

/// The folder of this user's configuration, outside the data directory; `None` without a home directory.
pub fn user_directory(env: &Environment) -> Option<PathBuf> {
    let xdg = env.var("XDG_CONFIG_HOME").and_then(absolute);
    xdg.or_else(|| env.home.as_ref().map(|home| home.join(".config"))).map(|directory| directory.join("blufio"))
}

/// The XDG base directory specification tells programs to ignore relative paths.
fn absolute(text: &str) -> Option<PathBuf> {
    Some(PathBuf::from(text)).filter(|path| path.is_absolute())
}

/// The text of a file; `None` if it does not exist.
fn read(path: &Path) -> Result<Option<String>, Diagnostic> {
    let place = || Place::File(path.to_owned());
    let refused = |error: io::Error| Diagnostic::error(format!("cannot read the configuration file: {error}"), place());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(refused(error)),
    };
    let mut bytes = Vec::new();
    file.take(CONFIG_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(refused)?;
    if bytes.len() as u64 > CONFIG_FILE_BYTES_MAX {
        return Err(Diagnostic::error(
            format!("the configuration file is larger than {CONFIG_FILE_BYTES_MAX} bytes"),
            place(),
        ));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let line = 1 + error.as_bytes().iter().take(valid).filter(|byte| **byte == b'\n').count();
            Err(Diagnostic::error(format!("the configuration file is not UTF-8 in line {line}"), place()))
        }
    }
}
