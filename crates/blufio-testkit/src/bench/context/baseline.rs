//! What was measured before, so that nobody makes conversations dearer without saying so.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// More than so much above the baseline is a failure, in percent.
const GROWTH_MAX_PERCENT: u64 = 3;

/// What the program has sent in each cell.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Baseline {
    cells: BTreeMap<String, Figures>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Figures {
    prompt_tokens: u64,
    micro_usd: u64,
}

impl Baseline {
    /// Adds a cell.
    pub fn add(&mut self, cell: String, prompt_tokens: u64, micro_usd: u64) {
        self.cells.insert(cell, Figures { prompt_tokens, micro_usd });
    }

    /// The one of the tree.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn read() -> Result<Self> {
        let path = path();
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no baseline", path.display()))
    }

    /// Puts it into the tree.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self) -> Result<()> {
        let path = path();
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The cells that need more than this one has, in words.
    #[must_use]
    pub fn grown(&self, now: &Self) -> Vec<String> {
        let over = |before: u64, now: u64| now * 100 > before * (100 + GROWTH_MAX_PERCENT);
        let grown = |(cell, now): (&String, &Figures)| match self.cells.get(cell) {
            None => Some(format!("{cell}: not in the baseline")),
            Some(before) if over(before.prompt_tokens, now.prompt_tokens) => {
                Some(format!("{cell}: {} tokens instead of {}", now.prompt_tokens, before.prompt_tokens))
            }
            Some(before) if over(before.micro_usd, now.micro_usd) => {
                Some(format!("{cell}: {} µ$ instead of {}", now.micro_usd, before.micro_usd))
            }
            Some(_) => None,
        };
        now.cells.iter().filter_map(grown).collect()
    }
}

fn path() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../bench/baselines/context.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_is_named() {
        let of = |tokens, micro_usd| {
            let mut baseline = Baseline::default();
            baseline.add("a".to_owned(), tokens, micro_usd);
            baseline
        };
        assert!(of(1_000, 1_000).grown(&of(1_030, 900)).is_empty());
        assert_eq!(of(1_000, 1_000).grown(&of(1_031, 900)), ["a: 1031 tokens instead of 1000"]);
        assert_eq!(of(1_000, 1_000).grown(&of(1_000, 1_031)), ["a: 1031 µ$ instead of 1000"]);
        assert_eq!(Baseline::default().grown(&of(1, 1)), ["a: not in the baseline"]);
    }
}
