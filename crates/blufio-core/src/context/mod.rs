//! What a request holds and how it becomes small again. Pure: nothing here reads a clock or a disk.

pub mod caching;
pub mod compaction;
pub mod estimate;
pub mod skills;
pub mod standing;
