//! The pure decisions of Blufio.
//!
//! Everything here takes facts and returns orders: ids, money, limits, who may speak, what a turn does next, what a call
//! costs, and the traits ([`port`]) that adapters implement. There is no I/O, no clock, no randomness and no `async`
//! runtime in this crate; time and random numbers come in as arguments.

pub mod access;
pub mod approval;
pub mod audit;
pub mod budget;
pub mod catalogue;
pub mod command;
pub mod content;
pub mod context;
pub mod crypto;
pub mod event;
pub mod exposure;
pub mod failpoint;
pub mod heartbeat;
pub mod ids;
pub mod ingress;
pub mod keys;
pub mod leak;
pub mod limits;
pub mod memory;
pub mod message;
pub mod money;
pub mod policy;
pub mod port;
pub mod provenance;
pub mod rate;
pub mod record;
pub mod route;
pub mod schedule;
pub mod secret;
pub mod session;
pub mod time;
pub mod vault;
