//! What a call used, as the service counts it while it streams.
//!
//! The counts of `message_delta` are cumulative and replace those of `message_start`; a field that is missing keeps what
//! it had. A count that makes no sense makes the whole unknown: a wrong bill is worse than an estimate.

use blufio_core::message::Usage;
use serde_json::Value;

/// Counts so far; `None` is "not told yet".
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    input: Option<u64>,
    written: Option<u64>,
    written_5m: Option<u64>,
    written_1h: Option<u64>,
    read: Option<u64>,
    output: Option<u64>,
    nonsense: bool,
}

impl Counted {
    /// Takes the `usage` object of an event, if it has one.
    pub(super) fn take(&mut self, usage: Option<&Value>) {
        let Some(usage) = usage else { return };
        let by_life = usage.get("cache_creation").unwrap_or(&Value::Null);
        let fields = [
            (&mut self.input, usage.get("input_tokens")),
            (&mut self.written, usage.get("cache_creation_input_tokens")),
            (&mut self.written_5m, by_life.get("ephemeral_5m_input_tokens")),
            (&mut self.written_1h, by_life.get("ephemeral_1h_input_tokens")),
            (&mut self.read, usage.get("cache_read_input_tokens")),
            (&mut self.output, usage.get("output_tokens")),
        ];
        for (field, told) in fields {
            match told {
                None | Some(Value::Null) => {}
                Some(told) => match told.as_u64() {
                    Some(count) => *field = Some(count),
                    None => self.nonsense = true,
                },
            }
        }
    }

    /// The final counts; `None` if the prompt or the answer was not counted, or a count made no sense.
    pub(super) fn complete(&self) -> Option<Usage> {
        self.output.and_then(|_| self.so_far())
    }

    /// The counts of a reply that has not ended; what is not told yet is 0. `None` if the prompt was not counted, or a
    /// count made no sense.
    pub(super) fn so_far(&self) -> Option<Usage> {
        let input = self.input.filter(|_| !self.nonsense)?;
        let written_1h = self.written_1h.unwrap_or_default();
        // Without the split, or where it does not add up, the rest is what we ask for: five minutes.
        let rest = self.written.unwrap_or_default().saturating_sub(written_1h);
        Some(Usage {
            input,
            cache_write_5m: self.written_5m.unwrap_or_default().max(rest),
            cache_write_1h: written_1h,
            cache_read: self.read.unwrap_or_default(),
            output: self.output.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn counted(events: &[Value]) -> Counted {
        let mut counted = Counted::default();
        events.iter().for_each(|event| counted.take(Some(event)));
        counted
    }

    #[test]
    fn later_counts_replace_and_missing_ones_keep() {
        let start = json!({ "input_tokens": 12, "cache_creation_input_tokens": 310, "cache_read_input_tokens": 4_096,
            "cache_creation": { "ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 10 }, "output_tokens": 1 });
        let end = json!({ "output_tokens": 61, "cache_read_input_tokens": null });
        let expect = Usage { input: 12, cache_write_5m: 300, cache_write_1h: 10, cache_read: 4_096, output: 61 };
        assert_eq!(counted(&[start, end]).complete(), Some(expect));
    }

    #[test]
    fn writes_without_a_split_are_for_five_minutes() {
        let usage =
            counted(&[json!({ "input_tokens": 1, "cache_creation_input_tokens": 9, "output_tokens": 2 })]).complete();
        assert_eq!(usage, Some(Usage { input: 1, cache_write_5m: 9, output: 2, ..Usage::default() }));
    }

    #[test]
    fn nonsense_is_unknown() {
        assert_eq!(counted(&[]).complete(), None);
        assert_eq!(counted(&[json!({ "input_tokens": 5 })]).complete(), None);
        assert_eq!(counted(&[json!({ "input_tokens": -5, "output_tokens": 1 })]).complete(), None);
        assert_eq!(counted(&[json!({ "input_tokens": 5, "output_tokens": "many" })]).complete(), None);
        assert_eq!(counted(&[json!([1]), json!("x")]).complete(), None);
        assert_eq!(counted(&[json!({ "input_tokens": 5, "output_tokens": -1 })]).so_far(), None);
    }
}
