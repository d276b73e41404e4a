//! The menu of commands: set when it is not as it should be, and never the reason of anything else.

use super::sending::answer;
use super::{LIMIT, World, called};
use blufio_adapters::telegram::Telegram;
use blufio_core::command::MENU;
use blufio_core::port::{AnyChannel, Channel};
use blufio_testkit::botapi::Fault;
use blufio_testkit::contract::channel::{MemoryIntake, receive, stop};
use serde_json::{Value, json};
use std::sync::Arc;

fn menu(world: &World) -> Option<Value> {
    world.server.read(|state| state.commands("all_private_chats").cloned())
}

fn entries(count: usize) -> Value {
    MENU[..count].iter().map(|(command, description)| json!({"command": command, "description": description})).collect()
}

#[tokio::test]
async fn it_is_set_once_and_only_if_it_differs() {
    let world = World::new().await;
    let task = receive(&world.any(), &Arc::<MemoryIntake>::default());
    world.server.wait_for(|state| state.commands("all_private_chats").map(drop), LIMIT).await;
    stop(task).await;
    assert_eq!(menu(&world), Some(entries(MENU.len())));

    // The same channel does not look again, and the next process finds it as it should be.
    let next = Telegram::new(super::options(&world.server.base_url(), Arc::default())).unwrap();
    for (channel, looks) in [(world.any(), 1), (Arc::new(next) as Arc<dyn AnyChannel>, 2)] {
        let polls = world.count("getUpdates");
        let task = receive(&channel, &Arc::<MemoryIntake>::default());
        world.server.wait_for(called("getMyCommands", looks), LIMIT).await;
        world.server.wait_for(called("getUpdates", polls + 2), LIMIT).await;
        stop(task).await;
        assert_eq!((world.count("getMyCommands"), world.count("setMyCommands")), (looks, 1));
    }
}

#[tokio::test]
async fn a_server_that_takes_fewer_gets_the_most_useful_ones() {
    let halves: Vec<usize> =
        std::iter::successors(Some(MENU.len()), |count| Some(count / 2)).take_while(|count| *count > 0).collect();
    for most in 0..MENU.len() {
        // The first length that fits is the last one that is tried.
        let tries = halves.iter().position(|count| *count <= most).map_or(halves.len(), |place| place + 1);
        let left = halves.iter().copied().find(|count| *count <= most).unwrap_or(0);
        let sets = tries as u64;
        let world = World::new().await;
        world.server.change(|state| state.set_commands_max(most));
        let task = receive(&world.any(), &Arc::<MemoryIntake>::default());
        world.server.wait_for(called("setMyCommands", sets), LIMIT).await;
        if left > 0 {
            world.server.wait_for(|state| state.commands("all_private_chats").map(drop), LIMIT).await;
        }
        stop(task).await;
        assert_eq!(world.count("setMyCommands"), sets, "{most}");
        assert_eq!(menu(&world), (left > 0).then(|| entries(left)), "{most}");
    }
}

#[tokio::test]
async fn without_it_messages_still_come_in() {
    for method in ["getMyCommands", "setMyCommands"] {
        let world = World::new().await;
        world.server.fault(Fault::on(method, answer(500, "Internal Server Error")));
        let intake = Arc::new(MemoryIntake::default());
        let task = receive(&world.any(), &intake);
        world.server.wait_for(called(method, 1), LIMIT).await;
        world.server.send_text(super::ANN, "hi");
        intake.wait_for_texts(&["hi"]).await;
        stop(task).await;
        assert_eq!(menu(&world), None);
        assert!(Channel::invitation(world.channel.as_ref(), "X").is_some());
    }
}
