//! The driver of Blufio: it carries out what `blufio-core` decides, over the adapters it is given.
//!
//! [`Host`] is the whole of it: recovery, intake, one actor per live session, one dispatcher per channel, housekeeping and
//! shutdown. It names no concrete adapter.

pub mod clock;
mod costs;
pub mod decision;
pub mod desk;
mod dispatch;
mod engine;
mod events;
mod health;
pub mod heartbeat;
mod herald;
mod host;
mod intake;
mod media;
pub mod memory;
mod money;
mod quiet;
pub mod scheduler;
mod sessions;
mod tasks;
pub mod tools;

pub use engine::learning::Learn;
pub use engine::showing::{ContextPart, ContextView, Zone};
pub use engine::{Adapters, ErrorPolicy, QueueMode, Settings};
pub use events::Reader;
pub use health::Readiness;
pub use host::{Host, HostStatus, LOCAL_SESSION, Said};
pub use quiet::{QuietHours, zone_or_system};
pub use tasks::blocking;
