//! Pages that were fetched a short while ago.

use blufio_core::port::Page;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a page is remembered.
const AGE_MAX: Duration = Duration::from_secs(15 * 60);
/// Pages that are remembered. Full: the oldest goes.
const PAGES_MAX: usize = 32;
/// Bytes of all remembered texts. Full: the oldest go.
const BYTES_MAX: usize = 4 * 1024 * 1024;

struct Entry {
    key: String,
    fetched: Duration,
    page: Arc<Page>,
}

/// Oldest first.
#[derive(Default)]
pub(super) struct Cache(Mutex<VecDeque<Entry>>);

impl Cache {
    /// The page of this address, unless it is too old.
    pub(super) fn get(&self, key: &str, now: Duration) -> Option<Arc<Page>> {
        let mut entries = self.lock();
        entries.retain(|entry| now.saturating_sub(entry.fetched) < AGE_MAX);
        entries.iter().find(|entry| entry.key == key).map(|entry| entry.page.clone())
    }

    /// Remembers a page in place of an older one of the same address.
    pub(super) fn put(&self, key: String, page: &Arc<Page>, now: Duration) {
        let mut entries = self.lock();
        entries.retain(|entry| entry.key != key);
        entries.push_back(Entry { key, fetched: now, page: page.clone() });
        while entries.len() > PAGES_MAX || entries.iter().map(Entry::bytes).sum::<usize>() > BYTES_MAX {
            entries.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        self.key.len() + self.page.text.as_ref().map_or(0, String::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(bytes: usize) -> Arc<Page> {
        let text = Some("x".repeat(bytes));
        Arc::new(Page {
            url: String::new(),
            title: None,
            media_type: String::new(),
            text,
            bytes,
            cut: false,
            kept_back: false,
        })
    }

    #[test]
    fn a_page_is_remembered_for_a_while() {
        let (cache, at) = (Cache::default(), Duration::from_secs(1_000));
        cache.put("a".to_owned(), &page(1), at);
        assert!(cache.get("a", at + AGE_MAX - Duration::from_secs(1)).is_some());
        assert!(cache.get("b", at).is_none());
        assert!(cache.get("a", at + AGE_MAX).is_none());
        assert!(cache.lock().is_empty());
    }

    #[test]
    fn the_memory_is_bounded_in_pages_and_bytes() {
        let (cache, at) = (Cache::default(), Duration::ZERO);
        for number in 0..100 {
            cache.put(number.to_string(), &page(10), at);
        }
        assert!(cache.get("99", at).is_some() && cache.get("0", at).is_none());
        assert_eq!(cache.lock().len(), PAGES_MAX);
        for number in 0..100 {
            cache.put("the same".to_owned(), &page(number), at);
        }
        assert_eq!(cache.lock().len(), PAGES_MAX);
        for number in 0..100 {
            cache.put(format!("large {number}"), &page(BYTES_MAX / 4), at);
        }
        assert_eq!(cache.lock().len(), 3);
        cache.put("huge".to_owned(), &page(BYTES_MAX + 1), at);
        assert!(cache.lock().is_empty());
    }
}
