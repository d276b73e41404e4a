//! The real binary against the two fake servers, as an operator and the people in the chats see it.
//!
//! Every test has a folder, ports and fakes of its own and ends with [`support::World::finish`], which demands that neither
//! fake saw anything that a correct client does not do, that the database keeps all invariants, and that the process ended in
//! good order.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests: a panic is the right answer to a broken expectation, and they look at the clock from outside"
)]

mod advisories;
mod approvals;
mod bad_input;
mod broker;
mod budget;
mod commands;
mod compaction;
mod consent;
mod durability;
mod exec;
mod exfiltration;
mod faults;
mod frugality;
mod groups;
mod heartbeat;
mod limits;
mod media;
mod memory;
mod migration;
mod notices;
mod questions;
mod queue;
mod reactions;
mod recall;
mod schedules;
mod sending;
mod shutdown;
mod stop;
mod streaming;
mod support;
mod table;
mod telegram;
mod topics;
mod web;
mod webhook;
