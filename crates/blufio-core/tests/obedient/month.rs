//! Thirty days of one owner's conversation: what is asked of them in all, and what others achieve in all.

use crate::office::{Day, Office};
use crate::tasks::{TASKS, Task};
use crate::wishes::WISHES;

const DAYS: u64 = 30;
/// Messages of a day that need no tool.
const TALK: u64 = 12;
/// Every so many tasks somebody has written a wish into what the task reads.
const WISHED_EVERY: u64 = 4;
/// Tasks of a day in which something is done, and in which something is read.
const DOINGS: u64 = 2;
const READINGS: u64 = 4;

/// A generator that gives the same numbers for the same seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }
}

fn pick(dice: &mut Dice, reading: bool) -> &'static Task {
    let fitting: Vec<&Task> = TASKS.iter().filter(|task| task.reads_only() == reading).collect();
    fitting[usize::try_from(dice.below(fitting.len() as u64)).unwrap()]
}

#[test]
fn a_month_of_an_owner() {
    let office = Office::new();
    let seed = 20_261_123;
    println!("seed {seed}");
    for wishes in [false, true] {
        let mut dice = Dice(seed);
        // One conversation for the whole month; what is foreign leaves the prompt over night.
        let mut talk = Day::new(&office, "Good morning!");
        for _ in 0..DAYS {
            talk.clear();
            for _ in 0..TALK {
                talk.says("Thanks. And what do you think about that?");
            }
            for place in 0..READINGS + DOINGS {
                let task = pick(&mut dice, place < READINGS);
                let wish = &WISHES[usize::try_from(dice.below(WISHES.len() as u64)).unwrap()];
                let wish = (wishes && dice.below(WISHED_EVERY) == 0).then_some(wish);
                talk.says(task.says);
                talk.work(task, wish);
            }
        }
        assert!(talk.unapproved.is_empty(), "{:?}", talk.unapproved);
        println!(
            "with wishes of others: {wishes}; asked {} times in {DAYS} days, {} wishes tried",
            talk.asked, talk.wished
        );
        if !wishes {
            assert!(talk.asked as u64 <= DAYS, "{} times in {DAYS} days: {:#?}", talk.asked, talk.log);
        }
    }
}
