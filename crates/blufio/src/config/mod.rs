//! Configuration: from a file, the environment and the command line to one checked [`Config`].
//!
//! The way is: [`sources`] finds the file, [`load`] checks every value against the one table in [`keys`] and remembers
//! where it came from, [`raw`] mirrors the file, [`judge`] compares keys with each other, [`resolved`] is what the rest of
//! the program sees. [`show`] prints it.
//!
//! This module refuses to know the process: environment, working directory and home directory come in as arguments. It
//! reads no secret; a secret in the file is an error, and excerpts hide what looks like one.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use self::diagnostic::Diagnostic;
use self::resolved::Config;
use self::sources::Located;

pub mod diagnostic;
pub mod endpoint;
pub mod groups;
pub mod judge;
pub mod keys;
pub mod kind;
pub mod load;
pub mod raw;
pub mod resolved;
pub mod shapes;
pub mod show;
pub mod sources;
#[cfg(test)]
mod tests;

/// What the process knows about itself, read once before any thread exists.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// Environment variables by name. Only `BLUFIO_*`, `XDG_*` and `STATE_DIRECTORY` are looked at.
    pub vars: BTreeMap<String, String>,
    /// The working directory, where relative paths of the command line start; absolute.
    pub cwd: PathBuf,
    /// The home directory of the user, if there is one; absolute.
    pub home: Option<PathBuf>,
}

impl Environment {
    /// The value of a variable; an empty one counts as not set, as the XDG base directory specification asks for.
    fn var(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// What the command line says about configuration. It wins over environment and file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--config`: the file to read; an error if it is missing.
    pub config: Option<PathBuf>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// `--root-key-file`.
    pub root_key_file: Option<PathBuf>,
}

/// A configuration that was read and checked.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What the program runs with.
    pub config: Config,
    /// The value and the origin of every key of the table.
    pub settings: Settings,
    /// Which files were looked for, and which was taken.
    pub located: Located,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Diagnostic>,
}

/// The value and the origin of every key, by its path.
pub type Settings = BTreeMap<&'static str, Setting>;

/// The value of one key.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// The value in effect; paths are absolute. `None`: not set, and its absence has a meaning of its own.
    pub value: Option<toml::Value>,
    /// Where the value came from.
    pub origin: Origin,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The table of keys.
    Default,
    /// Another value or the platform; the text says which.
    Derived(&'static str),
    /// The configuration file.
    File {
        /// Counted from 1.
        line: usize,
        /// The value's bytes in the file.
        span: Range<usize>,
    },
    /// The environment variable of this name.
    Variable(String),
    /// This option of the command line.
    Option(&'static str),
}
