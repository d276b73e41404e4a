//! What lies on the agent's desk: the files of the workspace that stand in front of conversations, and its skills. They are
//! looked at before every turn, and read only when they have changed.

use crate::tools::ToolsError;
use crate::tools::workspace::{Kind, Relative, Workspace, kind, sweep_temporary};
use blufio_core::context::skills::{self, SKILL_BYTES_MAX, SKILLS_MAX, Skill};
use blufio_core::context::standing::{FILES, MEMORY, SOURCE_BYTES_MAX, Source};
use blufio_core::ingress::clean;
use blufio_core::memory::document::DOCUMENT_BYTES_MAX;
use blufio_core::port::ToolError;
use cap_std::fs::{Metadata, MetadataExt};
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The folder of the skills, each in one of its own.
const SKILLS: &str = "skills";
/// The file that is a skill.
const SKILL: &str = "SKILL.md";
/// Bytes of a skill that are read to know what it is about.
const SKILL_HEAD_BYTES: u64 = 4 * 1024;

/// The desk.
pub struct Desk {
    folder: Arc<Workspace>,
    known: Mutex<Option<(Vec<Stamp>, Arc<Papers>)>>,
}

/// What lies on it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Papers {
    /// Those of [`FILES`] that are there.
    pub files: Vec<Source>,
    /// In the order of their names.
    pub skills: Vec<Skill>,
    /// The memory as a file, if there is one.
    pub memory: Option<String>,
}

/// Changes whenever its file does.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    name: String,
    file: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Desk {
    /// Opens the workspace, makes it (mode 0700) if it is missing, and removes what an interrupted write left there. Call it once
    /// per process, while no other process uses the folder: an unfinished write of another would go.
    ///
    /// # Errors
    /// The folder cannot be made, opened or cleaned.
    pub fn open(workspace: &Path) -> Result<Arc<Self>, ToolsError> {
        let folder = Arc::new(Workspace::open(workspace)?);
        sweep_temporary(workspace)?;
        Ok(Arc::new(Self { folder, known: Mutex::default() }))
    }

    /// The workspace.
    pub(crate) fn folder(&self) -> Arc<Workspace> {
        self.folder.clone()
    }

    /// What lies there now. May block.
    #[must_use]
    pub fn look(&self) -> Arc<Papers> {
        let stamps = self.stamps();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((seen, papers)) = known.as_ref().filter(|(seen, _)| *seen == stamps) {
            tracing::trace!(files = seen.len(), "nothing on the desk has changed");
            return papers.clone();
        }
        let papers =
            Arc::new(Papers { files: self.files(&stamps), skills: self.skills(&stamps), memory: self.memory(&stamps) });
        *known = Some((stamps, papers.clone()));
        papers
    }

    /// The text of a skill. May block.
    ///
    /// # Errors
    /// There is none of that name, or its file cannot be read.
    pub(crate) fn skill(&self, name: &str) -> Result<String, ToolError> {
        if !skills::is_name(name) {
            return Err(ToolError::ToModel(format!("there is no skill `{}`", name.escape_debug())));
        }
        let (text, bytes) = self.read(&skill_path(name), SOURCE_BYTES_MAX as u64)?;
        let body = skills::read(&text).1;
        let shown = body.get(..body.floor_char_boundary(SKILL_BYTES_MAX)).unwrap_or_default();
        let note =
            if shown.len() < body.len() { format!("\n[… cut; the file has {bytes} bytes]") } else { String::new() };
        Ok(format!("{shown}{note}"))
    }

    /// The beginning of a file of the workspace. May block.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub(crate) fn text(&self, path: &str, max: usize) -> Result<String, ToolError> {
        self.read(path, max as u64).map(|(text, _)| text)
    }

    fn stamps(&self) -> Vec<Stamp> {
        let root = self.folder.folder(&Relative::ROOT);
        let mut stamps: Vec<Stamp> = root
            .iter()
            .flat_map(|root| FILES.iter().chain(&[MEMORY]).map(move |name| (root, *name)))
            .filter_map(|(root, name)| stamp(name.to_owned(), kind(root, name).ok()?))
            .collect();
        let Ok(folder) =
            root.and_then(|root| root.open_dir(SKILLS).map_err(|error| ToolError::Broken(error.to_string())))
        else {
            return stamps;
        };
        let entries = folder.entries().into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.retain(|name| skills::is_name(name));
        names.sort_unstable();
        names.truncate(SKILLS_MAX);
        stamps.extend(names.into_iter().filter_map(|name| {
            let file = kind(&folder, format!("{name}/{SKILL}")).ok()?;
            stamp(name, file)
        }));
        stamps
    }

    fn files(&self, stamps: &[Stamp]) -> Vec<Source> {
        let there = FILES.iter().filter(|name| stamps.iter().any(|stamp| stamp.name == **name));
        there.filter_map(|name| match self.read(name, SOURCE_BYTES_MAX as u64) {
            Ok((text, bytes)) => Some(Source { name, text, bytes }),
            Err(error) => {
                tracing::warn!(file = name, %error, "a file of the workspace cannot be read, so it stands in no conversation");
                None
            }
        })
        .collect()
    }

    /// One byte more than is read of it, so that a longer one is known as such.
    fn memory(&self, stamps: &[Stamp]) -> Option<String> {
        stamps.iter().find(|stamp| stamp.name == MEMORY)?;
        let read = self.read(MEMORY, DOCUMENT_BYTES_MAX as u64 + 1);
        read.map(|(text, _)| text).inspect_err(|error| tracing::warn!(%error, "{MEMORY} cannot be read")).ok()
    }

    /// Replaces the memory's file, unless it is not `before` any more. False: it is not. May block.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn rewrite_memory(&self, before: Option<&str>, text: &str) -> Result<bool, ToolError> {
        let lock = self.folder.lock();
        if self.memory(&self.stamps()).as_deref() != before {
            return Ok(false);
        }
        self.folder.replace(&lock, &Relative::parse(MEMORY)?, MEMORY, text.as_bytes())?;
        Ok(true)
    }

    fn skills(&self, stamps: &[Stamp]) -> Vec<Skill> {
        let names = stamps.iter().map(|stamp| &stamp.name).filter(|name| skills::is_name(name));
        let found = names.filter_map(|name| match self.read(&skill_path(name), SKILL_HEAD_BYTES) {
            Ok((text, _)) => Some(Skill { name: name.clone(), description: skills::read(&text).0 }),
            Err(error) => {
                tracing::warn!(skill = %name, %error, "a skill cannot be read");
                None
            }
        });
        found.collect()
    }

    /// The beginning of a file, and the bytes of all of it.
    fn read(&self, path: &str, max: u64) -> Result<(String, u64), ToolError> {
        let (file, bytes) = self.folder.file(&Relative::parse(path)?)?;
        let mut text = Vec::new();
        file.take(max).read_to_end(&mut text).map_err(|error| ToolError::Broken(format!("{path}: {error}")))?;
        Ok((clean(&String::from_utf8_lossy(&text)).into_owned(), bytes))
    }
}

fn skill_path(name: &str) -> String {
    format!("{SKILLS}/{name}/{SKILL}")
}

fn stamp(name: String, kind: Kind) -> Option<Stamp> {
    match kind {
        Kind::File(file) => Some(Stamp { name, file: file.ino(), bytes: file.len(), changed: changed(&file) }),
        // Read and refused in words, once.
        Kind::Link | Kind::Special => Some(Stamp { name, file: 0, bytes: 0, changed: (0, 0) }),
        Kind::Missing | Kind::Folder => None,
    }
}

fn changed(file: &Metadata) -> (i64, i64) {
    (file.mtime(), file.mtime_nsec())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_lies_there_is_seen_and_links_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let desk = Desk::open(dir.path()).unwrap();
        assert_eq!(*desk.look(), Papers::default());
        std::fs::write(dir.path().join("AGENTS.md"), "Be kind.").unwrap();
        std::fs::write(dir.path().join("other.md"), "x").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("USER.md")).unwrap();
        for (name, text) in [("trip", "---\ndescription: Plans.\n---\nGo."), ("Bad", "x"), ("bill", "# Bills\n")] {
            std::fs::create_dir_all(dir.path().join("skills").join(name)).unwrap();
            std::fs::write(dir.path().join("skills").join(name).join("SKILL.md"), text).unwrap();
        }
        let papers = desk.look();
        assert_eq!(papers.files, [Source { name: "AGENTS.md", text: "Be kind.".into(), bytes: 8 }]);
        let skills: Vec<(&str, &str)> =
            papers.skills.iter().map(|skill| (skill.name.as_str(), skill.description.as_str())).collect();
        assert_eq!(skills, [("bill", "Bills"), ("trip", "Plans.")]);
        assert!(Arc::ptr_eq(&papers, &desk.look()), "nothing is read twice");
        std::fs::write(dir.path().join("AGENTS.md"), "Be kinder.").unwrap();
        assert_eq!(desk.look().files[0].text, "Be kinder.");
        assert_eq!(desk.skill("trip").unwrap(), "Go.");
        for name in ["../trip", "none", "Bad", ""] {
            assert!(desk.skill(name).is_err(), "{name}");
        }
    }

    #[test]
    fn five_megabytes_are_capped() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("AGENTS.md"), "line\n".repeat(1_000_000)).unwrap();
        let papers = Desk::open(dir.path()).unwrap().look();
        assert_eq!((papers.files[0].text.len(), papers.files[0].bytes), (SOURCE_BYTES_MAX, 5_000_000));
    }
}
