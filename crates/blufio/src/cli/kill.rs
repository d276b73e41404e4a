//! `blufio kill` and `blufio resume`: the switch that ends everything and lets nothing begin. Turned by the running server at
//! once; without one, in the database, so that the next start begins like that.

use super::screen::Screen;
use super::source::of_store;
use crate::client::Client;
use crate::failure::Failure;
use crate::keys::{self, Installation};
use crate::{lock, wire};
use blufio_core::port::Clock;
use blufio_runtime::clock::SystemClock;
use blufio_runtime::decision::AT_TERMINAL;
use serde_json::json;

/// Carries it out.
pub fn run(killed: bool, here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    crate::serve::runtime()?.block_on(switch(killed, here))?;
    if screen.json {
        return screen.write_json(&json!({ "killed": killed }));
    }
    screen.write(if killed {
        "everything has stopped, also after a restart; what is written to the agent waits for `blufio resume`\n"
    } else {
        "everything may run again\n"
    })
}

async fn switch(killed: bool, here: Installation<'_>) -> Result<(), Failure> {
    let config = here.config;
    if let Some(client) = Client::find(&config.data_dir).await? {
        return Ok(client.switch(killed).await?);
    }
    let _lock = lock::take(&config.data_dir)?;
    let keys = keys::obtain(here)?;
    let (store, clock) = (wire::store_owner(config, &keys.tree)?, SystemClock::start());
    let switched = store.switch(killed, AT_TERMINAL.to_owned(), clock.now()).await;
    store.close(clock.now()).await.map_err(of_store)?;
    switched.map_err(of_store)
}
