//! `blufio model`: the model that finds memories by their meaning, for builds that do not carry it.

use super::screen::{Screen, bytes};
use crate::failure::Failure;
use crate::keys::Installation;
use crate::model::{self, Place};
use crate::wire::{FILE_BYTES, FILE_NAME, FILE_SHA256, fetch_model};
use clap::Subcommand;
use serde_json::json;
use std::io;
use std::path::{Path, PathBuf};

/// `blufio model`
#[derive(Debug, Subcommand)]
pub enum Model {
    /// Put the model into the data folder
    #[command(after_help = "\
Examples:
  blufio model install                             from the release of this version
  blufio model install --from minilm-l6-v2-Q8_0.gguf
  blufio model install --from https://mirror.example/minilm-l6-v2-Q8_0.gguf

What was fetched before a break is kept, and the next try goes on from there. The file is checked by
its SHA-256, whoever it came from. A running server finds it by itself.")]
    Install {
        /// A file, or an address that begins with https://
        #[arg(long, value_name = "FILE|URL")]
        from: Option<String>,
    },
    /// Whether there is a model, and where
    Status,
}

/// Carries it out.
pub fn run(command: &Model, here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    let data_dir = &here.config.data_dir;
    match command {
        Model::Install { from } => install(data_dir, from.as_deref(), screen),
        Model::Status => status(data_dir, screen),
    }
}

fn status(data_dir: &Path, screen: &Screen) -> Result<(), Failure> {
    let place = model::find(data_dir).map_err(|error| unusable(&model::path(data_dir), &error))?;
    let (word, path, text) = match &place {
        Place::Program => ("program", None, "the embedding model is in the program".to_owned()),
        Place::File(path) => ("file", Some(path), format!("the embedding model is at {}", path.display())),
        Place::Wrong(path) => ("wrong", Some(path), format!("{} is not the embedding model", path.display())),
        Place::Nowhere => {
            ("nowhere", None, "there is no embedding model; memories are found by their words".to_owned())
        }
    };
    if screen.json {
        return screen.write_json(&json!({"place": word, "path": path, "sha256": FILE_SHA256, "bytes": FILE_BYTES}));
    }
    screen.write(&format!("{text}\n"))
}

fn install(data_dir: &Path, from: Option<&str>, screen: &Screen) -> Result<(), Failure> {
    let there = model::find(data_dir).map_err(|error| unusable(&model::path(data_dir), &error))?;
    match there {
        Place::Program => return tell(screen, None, "the embedding model is in the program; nothing to install"),
        Place::File(path) => return tell(screen, Some(&path), "the embedding model is there already"),
        Place::Wrong(_) | Place::Nowhere => {}
    }
    let (part, mut file) = model::unfinished(data_dir).map_err(|error| unusable(&model::path(data_dir), &error))?;
    let mut shown = None;
    let mut progress = |have: u64| {
        let percent = have.saturating_mul(100) / FILE_BYTES;
        if shown != Some(percent) && screen.erases {
            shown = Some(percent);
            screen.remark(&format!("\r{percent:3} %  {} of {}", bytes(have), bytes(FILE_BYTES)));
        }
    };
    let address = from.is_none_or(|from| from.contains("://"));
    let source = from.map_or_else(release, str::to_owned);
    let fetched = if address {
        crate::serve::runtime()?.block_on(fetch_model(&source, &mut file, &mut progress))
    } else {
        model::copy(Path::new(&source), &mut file, &mut progress).map_err(|error| error.to_string())
    };
    drop(file);
    if screen.erases {
        screen.remark("\r\x1b[K");
    }
    fetched.map_err(|cause| Failure {
        cause: Some(cause),
        hint: Some(if address {
            "try again: what has come is kept. Or fetch it elsewhere and use --from FILE".to_owned()
        } else {
            format!("it is the file {FILE_NAME} of a release")
        }),
        ..Failure::new(format!("{source} could not be fetched"), Failure::UNAVAILABLE)
    })?;
    if !model::finish(data_dir, &part).map_err(|error| unusable(&part, &error))? {
        return Err(Failure {
            cause: Some(format!("its SHA-256 is not {FILE_SHA256}")),
            hint: Some(format!("what is needed is {FILE_NAME}, {FILE_BYTES} bytes")),
            ..Failure::new(format!("{source} is not the embedding model"), Failure::GENERAL)
        });
    }
    tell(screen, Some(&model::path(data_dir)), "the embedding model is installed")
}

/// Where the release of this version has it.
fn release() -> String {
    let (repository, version) = (env!("CARGO_PKG_REPOSITORY"), env!("CARGO_PKG_VERSION"));
    format!("{repository}/releases/download/v{version}/{FILE_NAME}")
}

fn tell(screen: &Screen, path: Option<&PathBuf>, text: &str) -> Result<(), Failure> {
    if screen.json {
        return screen.write_json(&json!({"installed": true, "path": path}));
    }
    match path {
        Some(path) => screen.write(&format!("{text}: {}\n", path.display())),
        None => screen.write(&format!("{text}\n")),
    }
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    Failure {
        cause: Some(error.to_string()),
        hint: Some("it must belong to the user who runs Blufio".to_owned()),
        ..Failure::new(format!("{} cannot be used", path.display()), Failure::PERMISSION)
    }
}
