//! `MEMORY.md`, the facts as a file that a person can read and edit: how it is written, and what an edit means.
//!
//! Each fact is one line with its number in a comment. What was written last is kept beside the file, so that an edit of the
//! file and a change of the facts since then can be told apart. Nothing here decides what is done with a change.

use super::{Fact, FactKind, Said};
use crate::ids::FactId;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of a file that is read. Over: nothing is changed by it.
pub const DOCUMENT_BYTES_MAX: usize = 512 * 1024;

/// What stands above the facts.
const HEADER: &str = "# Memory\n\n\
    <!-- What is remembered, a line each. Edit a line to correct it, delete it to have it forgotten, add one to have it\n\
    remembered. The number in a comment says which fact a line is; it may stay or go. -->\n";
const SECTIONS: [(FactKind, &str); 3] =
    [(FactKind::Standing, "Standing"), (FactKind::Fact, "Facts"), (FactKind::Event, "Events")];
const COMMENT: &str = "<!--";
const COMMENT_END: &str = "-->";

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The section that it stands in.
    pub kind: FactKind,
    /// Its words.
    pub text: String,
}

/// What an edit of the file means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// What is to be known, too.
    pub added: Vec<Line>,
    /// What a fact shall say from now on.
    pub edited: Vec<(FactId, Line)>,
    /// What is to be forgotten.
    pub removed: Vec<FactId>,
    /// What has changed in the file and elsewhere. Both stay: words of the file are among the added, too.
    pub conflicts: Vec<Conflict>,
}

/// A fact that has changed in the file and elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The fact.
    pub id: FactId,
    /// What the file says; `None`: the line is gone.
    pub file: Option<String>,
    /// What it says now; `None`: it is known no longer.
    pub now: Option<String>,
}

/// The file is longer than [`DOCUMENT_BYTES_MAX`]; nothing was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file of the memory is longer than {DOCUMENT_BYTES_MAX} bytes")]
pub struct TooLong;

/// The file for the facts that hold, in the order of their numbers.
#[must_use]
pub fn render(facts: &[Fact]) -> String {
    let mut text = HEADER.to_owned();
    for (kind, title) in SECTIONS {
        text.push_str(&format!("\n## {title}\n\n"));
        let mut facts: Vec<&Fact> = facts.iter().filter(|fact| holds(fact) && fact.fact.kind == kind).collect();
        facts.sort_by_key(|fact| fact.id);
        for fact in facts {
            let others = if fact.fact.said == Said::Foreign { ", others say so" } else { "" };
            text.push_str(&format!("- {} <!-- f{}{others} -->\n", words(&fact.fact.statement), fact.id));
        }
    }
    text
}

/// What an edit means: `shown` is the file as it was written last (empty: never), `edited` as it is now, `facts` what is known
/// now. A file that is empty or gone forgets nothing.
///
/// # Errors
/// The file is too long.
pub fn compare(shown: &str, edited: &str, facts: &[Fact]) -> Result<Changes, TooLong> {
    if edited.len() > DOCUMENT_BYTES_MAX {
        return Err(TooLong);
    }
    if edited.trim().is_empty() {
        return Ok(Changes::default());
    }
    let known: BTreeMap<FactId, Line> = facts
        .iter()
        .filter(|fact| holds(fact))
        .map(|fact| (fact.id, Line { kind: fact.fact.kind, text: words(&fact.fact.statement) }))
        .collect();
    let mut shown: BTreeMap<FactId, Line> =
        parse(shown).into_iter().filter_map(|entry| Some((entry.id?, entry.line))).collect();
    let mut lines = parse(edited);
    let mut changes = Changes::default();
    // First lines that are as they were, with their number or without it; then those with a number; what is left is new.
    lines.retain(|entry| {
        let same = |id: &FactId| shown.get(id) == Some(&entry.line);
        let id = entry.id.filter(same).or_else(|| shown.keys().copied().find(same));
        id.and_then(|id| shown.remove(&id)).is_none()
    });
    let mut present: BTreeSet<Line> = BTreeSet::new();
    for Entry { id, line } in lines {
        // A line that has lost its number and was moved to another section is still known by its words.
        let moved = || shown.iter().find(|(_, before)| before.text == line.text).map(|(id, _)| *id);
        let id = id.filter(|id| shown.contains_key(id)).or_else(moved);
        match id.and_then(|id| Some((id, shown.remove(&id)?))) {
            Some((id, before)) => changes.edit(id, &before, line, known.get(&id)),
            None => {
                // What is known as it stands there, or stands there twice, is nothing new.
                let new = !known.values().any(|known| known.text == line.text) && present.insert(line.clone());
                changes.added.extend(new.then_some(line));
            }
        }
    }
    for (id, before) in shown {
        match known.get(&id) {
            Some(now) if *now == before => changes.removed.push(id),
            Some(now) => changes.conflicts.push(Conflict { id, file: None, now: Some(now.text.clone()) }),
            None => {}
        }
    }
    Ok(changes)
}

impl Changes {
    /// Nothing has changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn edit(&mut self, id: FactId, before: &Line, line: Line, now: Option<&Line>) {
        match now {
            Some(now) if *now == line => {}
            Some(now) if now == before => self.edited.push((id, line)),
            _ => {
                let now = now.map(|now| now.text.clone());
                self.conflicts.push(Conflict { id, file: Some(line.text.clone()), now });
                self.added.push(line);
            }
        }
    }
}

const fn holds(fact: &Fact) -> bool {
    fact.superseded_by.is_none()
}

impl PartialOrd for Line {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Line {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.kind, &self.text).cmp(&(other.kind, &other.text))
    }
}

/// A statement as it stands in the file: in one line, without a comment and without a mark that begins a line.
fn words(statement: &str) -> String {
    let plain = statement.replace(COMMENT, "<! --").replace(COMMENT_END, "-- >");
    let line = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    bullet(&line).unwrap_or(&line).trim_start_matches(['#', ' ']).to_owned()
}

/// A line that was read.
struct Entry {
    id: Option<FactId>,
    line: Line,
}

fn parse(text: &str) -> Vec<Entry> {
    let (mut entries, mut kind, mut comment) = (Vec::<Entry>::new(), FactKind::Fact, false);
    // A line without a mark goes on with the one before it.
    let mut goes_on = false;
    for line in text.lines() {
        let (words, id) = uncommented(line, &mut comment);
        let words = words.trim();
        if let Some(title) = words.strip_prefix('#') {
            kind = section(title.trim_matches(['#', ' ']));
            goes_on = false;
            continue;
        }
        let bullet = bullet(words);
        let text = bullet.unwrap_or(words).split_whitespace().collect::<Vec<_>>().join(" ");
        match entries.last_mut() {
            _ if words.is_empty() && id.is_none() => goes_on = false,
            Some(last) if goes_on && bullet.is_none() => {
                last.line.text = format!("{} {text}", last.line.text).trim().to_owned();
                last.id = last.id.or(id);
            }
            _ => {
                entries.push(Entry { id, line: Line { kind, text } });
                goes_on = true;
            }
        }
    }
    entries.retain(|entry| !entry.line.text.is_empty());
    entries
}

fn section(title: &str) -> FactKind {
    let found = SECTIONS.iter().find(|(_, name)| name.eq_ignore_ascii_case(title));
    found.map_or(FactKind::Fact, |(kind, _)| *kind)
}

/// The line behind the mark of a list.
fn bullet(line: &str) -> Option<&str> {
    let rest = line.strip_prefix(['-', '*', '+', '•'])?;
    (rest.is_empty() || rest.starts_with(' ')).then(|| rest.trim_start())
}

/// A line without its comments, and the number of a fact in them. `comment`: one has begun and not ended.
fn uncommented(line: &str, comment: &mut bool) -> (String, Option<FactId>) {
    let (mut words, mut id, mut rest) = (String::new(), None, line);
    loop {
        if *comment {
            let Some((_, after)) = rest.split_once(COMMENT_END) else { return (words, id) };
            (*comment, rest) = (false, after);
        }
        let Some((before, after)) = rest.split_once(COMMENT) else {
            words.push_str(rest);
            return (words, id);
        };
        words.push_str(before);
        id = id.or_else(|| number(after));
        (*comment, rest) = (true, after);
    }
}

/// `f12`, and anything after it.
fn number(comment: &str) -> Option<FactId> {
    let rest = comment.trim_start().strip_prefix('f')?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok().map(FactId)
}

#[cfg(test)]
mod tests;
