//! When the messages of a conversation come.

use std::time::Duration;

/// The pauses between the messages of a conversation.
#[derive(Clone, Copy, Debug)]
pub struct Pauses {
    /// How they are called in a report.
    pub name: &'static str,
    /// Seconds, one after the other, again and again.
    seconds: &'static [u64],
}

/// A morning, a noon and an evening of a person with other things to do, and a night.
const DAY: [u64; 20] =
    [40, 75, 30, 200, 9_300, 55, 25, 480, 65, 14_700, 35, 90, 150, 620, 45, 3_900, 70, 20, 1_100, 33_000];

/// The kinds that are measured.
pub const PAUSES: [Pauses; 5] = [
    Pauses { name: "10 s", seconds: &[10] },
    Pauses { name: "4 min", seconds: &[4 * 60] },
    Pauses { name: "20 min", seconds: &[20 * 60] },
    Pauses { name: "3 h", seconds: &[3 * 3_600] },
    Pauses { name: "a human day", seconds: &DAY },
];

impl Pauses {
    /// From the first message to the one of that number, from 0.
    #[must_use]
    pub fn until(self, message: usize) -> Duration {
        Duration::from_secs(self.seconds.iter().cycle().take(message).sum())
    }

    /// Whether the vendor's shorter cache lives through them, but barely.
    #[must_use]
    pub fn is_minutes(self) -> bool {
        self.seconds == [4 * 60]
    }
}
