//! `MEMORY.md` in the workspace: what is known of the owner, to be read and edited. What an edit means is
//! [`blufio_core::memory::document`]'s; here edits become facts, and facts the file.

use super::Memory;
use crate::desk::{Desk, Papers};
use crate::tasks::blocking;
use blufio_core::access::Principal;
use blufio_core::context::standing::MEMORY;
use blufio_core::ingress::clean;
use blufio_core::memory::document::{Changes, Line, compare, render};
use blufio_core::memory::{Fact, NewFact, Said, Scope};
use blufio_core::port::StoreError;
use blufio_core::record::{FACT_CHANGES_MAX, FACTS_MAX, FactChange, FactEdit, FactFilter, Query, View};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Who edits the file, in the log of changes.
const BY: &str = "owner";
/// How sure a line is that a person has written.
const WRITTEN_PERCENT: u8 = 100;

impl Memory {
    /// Takes over what was edited, if the file has changed since the last look.
    pub(crate) async fn read_file(&self, desk: &Arc<Desk>, papers: &Arc<Papers>) {
        let mut seen = self.file.lock().await;
        if seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, papers) || seen.memory == papers.memory) {
            return;
        }
        match self.agree(desk, papers).await {
            Ok(()) => *seen = Some(papers.clone()),
            Err(error) => tracing::error!(%error, "edits of {MEMORY} could not be taken over"),
        }
    }

    /// Takes over edits and writes the file, if either has changed.
    pub(crate) async fn sync_file(&self, desk: &Arc<Desk>) -> Result<(), StoreError> {
        let mut seen = self.file.lock().await;
        let looker = desk.clone();
        let papers = blocking(move || looker.look()).await.unwrap_or_default();
        let changed = self.changed.swap(false, Ordering::SeqCst);
        if !changed && seen.as_ref().is_some_and(|seen| seen.memory == papers.memory) {
            return Ok(());
        }
        self.agree(desk, &papers).await?;
        *seen = Some(papers);
        Ok(())
    }

    async fn agree(&self, desk: &Arc<Desk>, papers: &Papers) -> Result<(), StoreError> {
        let scope = Scope::of(&Principal::Owner);
        let edited = papers.memory.clone().unwrap_or_default();
        let View::MemoryFile(shown) = self.storage.view(Query::MemoryFile, self.clock.now()).await? else {
            return Err(StoreError::Broken("the store answered another question".to_owned()));
        };
        let mut facts = self.facts(&scope).await?;
        match compare(&shown, &edited, &facts) {
            Ok(changes) if changes.is_empty() => {}
            Ok(changes) => {
                self.take_over(&scope, changes).await?;
                facts = self.facts(&scope).await?;
            }
            Err(error) => {
                tracing::warn!(%error, "edits of {MEMORY} are not read");
                return Ok(());
            }
        }
        if facts.is_empty() && edited.trim().is_empty() {
            return Ok(());
        }
        let text = clean(&render(&facts)).into_owned();
        if text != edited {
            let (desk, before, new) = (desk.clone(), papers.memory.clone(), text.clone());
            let written = blocking(move || desk.rewrite_memory(before.as_deref(), &new)).await;
            match written {
                Some(Ok(true)) => {}
                // Somebody is editing it; the next look sees that.
                Some(Ok(false)) | None => return Ok(()),
                Some(Err(error)) => {
                    tracing::warn!(%error, "{MEMORY} could not be written");
                    return Ok(());
                }
            }
        }
        if text != shown { self.storage.keep_file(text).await } else { Ok(()) }
    }

    async fn facts(&self, scope: &Scope) -> Result<Vec<Fact>, StoreError> {
        let query = Query::Facts { scope: scope.clone(), filter: FactFilter::Open, search: None, limit: FACTS_MAX };
        match self.storage.view(query, self.clock.now()).await? {
            View::Facts(facts) => Ok(facts.into_iter().map(|view| view.fact).collect()),
            _ => Err(StoreError::Broken("the store answered another question".to_owned())),
        }
    }

    async fn take_over(&self, scope: &Scope, changes: Changes) -> Result<(), StoreError> {
        let Changes { added, edited, removed, conflicts } = changes;
        if !conflicts.is_empty() {
            tracing::warn!(
                count = conflicts.len(),
                "lines of {MEMORY} and their facts were both changed; both are kept"
            );
        }
        tracing::info!(added = added.len(), edited = edited.len(), forgotten = removed.len(), "{MEMORY} was edited");
        let added = added.into_iter().map(|line| FactChange::Add(Box::new(fact(scope, line))));
        let edited = edited.into_iter().map(|(id, line)| FactChange::Edit { id, to: Box::new(edit(line)) });
        let removed = removed.into_iter().map(|id| FactChange::Forget { id, passages: false });
        let all: Vec<FactChange> = added.chain(edited).chain(removed).collect();
        for some in all.chunks(FACT_CHANGES_MAX) {
            match self.change(scope.clone(), BY, some.to_vec()).await {
                Ok(_) => {}
                // One line that cannot be a fact takes nothing from the others.
                Err(StoreError::Refused(_) | StoreError::NotFound(_)) => self.one_by_one(scope, some).await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn one_by_one(&self, scope: &Scope, changes: &[FactChange]) -> Result<(), StoreError> {
        for change in changes {
            match self.change(scope.clone(), BY, vec![change.clone()]).await {
                Ok(_) => {}
                Err(StoreError::Refused(why) | StoreError::NotFound(why)) => {
                    tracing::warn!(why, "a line of {MEMORY} is not taken over");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn fact(scope: &Scope, line: Line) -> NewFact {
    NewFact {
        scope: scope.clone(),
        kind: line.kind,
        subject: MEMORY.to_owned(),
        statement: line.text,
        source: None,
        said: Said::Owner,
        confidence: WRITTEN_PERCENT,
        valid_from: None,
        valid_to: None,
        supersedes: None,
        pinned: false,
    }
}

fn edit(line: Line) -> FactEdit {
    FactEdit { said: Said::Owner, kind: Some(line.kind), subject: None, statement: Some(line.text), pinned: None }
}
