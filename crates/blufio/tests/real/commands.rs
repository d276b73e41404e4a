//! Commands: those that answer at once, those that keep their place, the menu that shows them, and the link that lets in
//! whoever opens it first.

use blufio_core::command::MENU;
use blufio_testkit::botapi::BotApiConfig;
use blufio_testkit::messages::{Fault, FaultKind, MessagesConfig, Script};
use serde_json::{Value, json};

use crate::support::{ANN, BOB, CAT, TOKEN, World, answered, each_once};

/// Reads nothing and says nothing, for as long as it waits for the model.
const BUSY: &str = "#1 [slow:60000]";
const NO_RETRY: &str = "There is no message of yours that I could answer again";

// ---------------------------------------------------------------- /retry

#[tokio::test]
async fn the_last_request_is_answered_again_also_after_a_restart() {
    let mut world = World::start().await;
    world.ask(BOB, "/retry", NO_RETRY).await;
    world.ask(ANN, "#1", "answer #1").await;
    world.ask(ANN, "tell me about towers #2", "answer #2").await;
    for times in 2..5 {
        if times == 3 {
            world.restart().await;
        }
        world.say(ANN, "/retry");
        world
            .eventually("it is answered again", async |world| (world.count(ANN, "answer #2") == times).then_some(()))
            .await;
        assert_eq!(world.read_to_model("towers").last().unwrap(), "tell me about towers #2", "and not the command");
    }
    assert_eq!(world.count(ANN, "answer #1"), 1);
    assert_eq!(world.messages.calls(), 5);
    assert_eq!(world.sql("SELECT count(*) FROM turns"), 5, "a turn of its own for each");
    assert_eq!(world.messages.prompts_seen().iter().filter(|text| text.contains("/retry")).count(), 0);
    world.finish().await;
}

#[tokio::test]
async fn a_request_that_failed_or_was_stopped_is_answered_after_all() {
    let world = World::start().await;
    world.messages.fault(Fault::next(
        1,
        FaultKind::Status {
            code: 400,
            kind: "invalid_request_error".to_owned(),
            message: "the fake says no".to_owned(),
            error_code: None,
            retry_after: None,
        },
    ));
    world.ask(ANN, "#1", "refused the request").await;
    world.ask(ANN, "/retry", "answer #1").await;
    world.messages.push(Script { first_token_ms: 60_000, ..Script::text("never").only_if("#2") });
    world.say(ANN, "#2");
    world.prompted("#2").await;
    world.ask(ANN, "/stop", "Stopped.").await;
    world.ask(ANN, "/retry", "answer #2").await;
    assert_eq!(answered(&world.heard(ANN)), each_once([1, 2]));
    world.finish().await;
}

#[tokio::test]
async fn messages_that_were_answered_together_are_answered_together_again() {
    let world = World::start_with(&[("session.queue", "\"collect\"")]).await;
    world.say(ANN, "#1 [slow:400]");
    world.prompted("#1").await;
    world.say(ANN, "#2 one half");
    world.say(ANN, "#3 the other");
    world.stored("SELECT count(*) FROM inbox WHERE state = 'received'", 2).await;
    world.hear(ANN, "answer #2, answer #3").await;
    world.say(ANN, "/retry");
    world
        .eventually("it is answered again", async |world| (world.count(ANN, "answer #2, answer #3") == 2).then_some(()))
        .await;
    world.finish().await;
}

// ---------------------------------------------------------------- /timezone

#[tokio::test]
async fn a_time_zone_is_chosen_for_one_conversation_and_kept() {
    let mut world = World::start_with(&[("agents.main.timezone", "\"America/New_York\"")]).await;
    world.ask(ANN, "/timezone", "uses the time zone America/New_York").await;
    let said = world.ask(ANN, "#1 [tool:now {}]", "answer #1").await;
    assert!(said.text.contains("America/New_York"), "{}", said.text);
    world.ask(ANN, "/timezone Europe/Berlin", "From now on this conversation uses the time zone Europe/Berlin").await;
    for (wrong, number) in [("Mars/Olympus", 2), ("../../etc/passwd", 3), ("europe", 4)] {
        world.ask(ANN, &format!("/timezone {wrong}"), &format!("I do not know the time zone {wrong}")).await;
        let said = world.ask(ANN, &format!("#{number} [tool:now {{}}]"), &format!("answer #{number}")).await;
        assert!(said.text.contains("Europe/Berlin"), "{wrong} changes nothing: {}", said.text);
    }
    let said = world.ask(BOB, "#5 [tool:now {}]", "answer #5").await;
    assert!(said.text.contains("America/New_York"), "another conversation: {}", said.text);
    world.restart().await;
    let said = world.ask(ANN, "#6 [tool:now {}]", "answer #6").await;
    assert!(said.text.contains("Europe/Berlin"), "{}", said.text);
    world.say(ANN, "/timezone");
    let shown = "This conversation uses the time zone Europe/Berlin";
    world.hear(ANN, shown).await;
    world.finish().await;
}

#[tokio::test]
async fn without_a_choice_the_machines_time_zone_is_used() {
    let world = World::start().await;
    world.ask(ANN, "/timezone", "the time zone of the machine I live on").await;
    world.ask(ANN, "#1 [tool:now {}]", "The tool now said").await;
    world.finish().await;
}

// ---------------------------------------------------------------- at once

#[tokio::test]
async fn what_waits_is_listed_while_a_turn_runs() {
    let world = World::start().await;
    world.ask(ANN, "/queue", "Nothing of yours waits").await;
    world.say(ANN, BUSY);
    world.prompted("#1").await;
    world.ask(ANN, "/status", "I am working on a message of yours").await;
    for number in 2..14 {
        world.say(ANN, &format!("#{number} first line\nand a second"));
    }
    world.stored("SELECT count(*) FROM inbox WHERE state = 'received'", 12).await;
    let said = world.ask(ANN, "/queue", "12 of your messages wait").await;
    assert_eq!(said.text.matches("first line").count(), 10, "{}", said.text);
    assert!(said.text.contains("#2 first line") && !said.text.contains("second"), "{}", said.text);
    let said = world.ask(BOB, "/queue", "Nothing of yours waits").await;
    assert!(!said.text.contains("first line"), "others' messages are nobody's business: {}", said.text);
    world.ask(ANN, "/stop", "Stopped.").await;
    world.finish().await;
}

#[tokio::test]
async fn everybody_learns_who_they_are() {
    let world = World::start().await;
    world.ask(ANN, "/whoami", "You are 1001 on telegram, and an owner").await;
    world.ask(BOB, "/whoami", "You are 1002 on telegram, and a person I talk to").await;
    let status = world.ask(BOB, "/status", "Nothing is running here").await;
    assert!(!status.text.contains('$'), "money is the owner's: {}", status.text);
    let status = world.ask(ANN, "/status", "All is well").await;
    assert!(status.text.contains("The last 24 hours cost $"), "{}", status.text);
    assert_eq!(world.messages.calls(), 0);
    world.finish().await;
}

// ---------------------------------------------------------------- the menu

/// The menu of private chats, as (command, description).
fn menu(world: &World) -> Vec<(String, String)> {
    let entries = world.telegram.read(|state| state.commands("all_private_chats").cloned());
    let word = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let entries = entries.as_ref().and_then(Value::as_array).into_iter().flatten();
    entries.map(|entry| (word(entry, "command"), word(entry, "description"))).collect()
}

fn wanted(count: usize) -> Vec<(String, String)> {
    MENU[..count].iter().map(|(name, about)| ((*name).to_owned(), (*about).to_owned())).collect()
}

#[tokio::test]
async fn the_menu_is_set_once_and_help_lists_the_same() {
    let mut world = World::start().await;
    world.eventually("the menu is set", async |world| (menu(world) == wanted(MENU.len())).then_some(())).await;
    let help = world.ask(ANN, "/help", "I also understand").await;
    let lines: Vec<&str> = help.text.lines().filter(|line| line.starts_with('/')).collect();
    let expected: Vec<String> = MENU.iter().map(|(name, about)| format!("/{name} – {about}")).collect();
    assert_eq!(lines, expected);
    let asked = world.telegram.read(|state| state.count("getMyCommands"));
    world.restart().await;
    world.telegram.wait_for(|state| (state.count("getMyCommands") > asked).then_some(()), crate::support::SOON).await;
    world.ask(ANN, "#1", "answer #1").await;
    assert_eq!(world.telegram.read(|state| state.count("setMyCommands")), 1, "it was right already");
    world.finish().await;
}

#[tokio::test]
async fn a_menu_that_is_too_long_loses_what_is_needed_least() {
    let bot = BotApiConfig { commands_max: MENU.len() / 2, ..BotApiConfig::default() };
    let mut world = World::prepare_as(MessagesConfig::default(), bot).await;
    world.run().await;
    let half = MENU.len() / 2;
    world.eventually("half of the menu is set", async |world| (menu(world) == wanted(half)).then_some(())).await;
    // What the menu does not show works all the same.
    world.ask(ANN, "/whoami", "an owner").await;
    world.finish().await;
}

#[tokio::test]
async fn a_server_without_menus_takes_nothing_from_the_answers() {
    let bot = BotApiConfig { commands_max: 0, ..BotApiConfig::default() };
    let mut world = World::prepare_as(MessagesConfig::default(), bot).await;
    world.run().await;
    world.ask(ANN, "#1", "answer #1").await;
    assert_eq!(menu(&world), []);
    world.finish().await;
}

// ---------------------------------------------------------------- pairing links

/// A world in which nobody is known.
async fn among_strangers() -> World {
    let mut world = World::prepare().await;
    let root = world.telegram.base_url();
    world.setup.telegram(&root, TOKEN, &[]);
    world.run().await;
    world
}

/// A fresh link's code.
async fn link(world: &World) -> String {
    let (status, answer) = world.post("/v1/pairings/link", &json!({"channel": "telegram"})).await;
    assert_eq!(status, 200, "{answer}");
    let link = answer["link"].as_str().unwrap();
    let code = link.strip_prefix("https://t.me/blufio_test_bot?start=").unwrap_or_else(|| panic!("an address: {link}"));
    assert_eq!(code.len(), 8);
    code.to_owned()
}

/// Everybody who is paired, and whether as an owner.
async fn paired(world: &World) -> Vec<(i64, bool)> {
    let people = world.read("/v1/pairings").await;
    let row = |row: &Value| (row["user"].as_i64().unwrap(), row["owner"].as_bool().unwrap());
    people["paired"].as_array().unwrap().iter().map(row).collect()
}

#[tokio::test]
async fn whoever_opens_the_link_first_is_let_in() {
    let world = among_strangers().await;
    let code = link(&world).await;
    let other = code.chars().rev().collect::<String>();
    world.say(CAT, &format!("/start {other}"));
    world.confirmed().await;
    world.ask(ANN, &format!("/start {}", code.to_lowercase()), "Hello, I am Blufio").await;
    assert_eq!(paired(&world).await, [(ANN, true)], "the first one becomes the owner");
    world.ask(ANN, "#1", "answer #1").await;
    // It is used up.
    world.say(BOB, &format!("/start {code}"));
    world.confirmed().await;
    assert_eq!((world.heard(BOB), world.heard(CAT)), (Vec::new(), Vec::new()), "a wrong code is not answered");
    // The next one is a person, and for whoever is known already the word is a greeting and uses nothing up.
    let code = link(&world).await;
    world.ask(ANN, &format!("/start {code}"), "Hello").await;
    world.ask(BOB, &format!("/start {code}"), "Hello, I am Blufio").await;
    assert_eq!(paired(&world).await, [(ANN, true), (BOB, false)]);
    world.ask(BOB, "#2", "answer #2").await;
    let kept = "SELECT count(*) FROM inbox WHERE outcome = 'pairing' AND (text <> '' OR length(raw) > 0)";
    assert_eq!(world.sql(kept), 0, "nothing of what a stranger writes is kept");
    world.finish().await;
}

#[tokio::test]
async fn a_link_is_no_longer_valid_after_its_time() {
    let mut world = among_strangers().await;
    let (old, used) = (link(&world).await, link(&world).await);
    world.ask(ANN, &format!("/start {used}"), "Hello").await;
    world.end().await;
    world.tamper("UPDATE pairing_links SET expires = expires - 601000");
    world.run().await;
    world.say(BOB, &format!("/start {old}"));
    world.ask(ANN, "#1", "answer #1").await;
    assert_eq!((world.heard(BOB), paired(&world).await), (Vec::new(), vec![(ANN, true)]));
    world.finish().await;
}

#[tokio::test]
async fn guessing_is_cut_short() {
    let mut world = among_strangers().await;
    let code = link(&world).await;
    // One person's five guesses, and then the right word comes too late for them.
    let guesses = |user: i64| {
        for guess in 0..5 {
            world.say(user, &format!("/start WRONG{guess}AA"));
        }
    };
    guesses(CAT);
    world.say(CAT, &format!("/start {code}"));
    world.confirmed().await;
    assert_eq!((paired(&world).await, world.sql("SELECT count(*) FROM pairing_guesses")), (Vec::new(), 5));
    world.ask(ANN, &format!("/start {code}"), "Hello").await;
    // After twenty of all together, nobody's counts.
    let code = link(&world).await;
    (2_001..2_004).for_each(guesses);
    world.say(BOB, &format!("/start {code}"));
    world.confirmed().await;
    assert_eq!((paired(&world).await, world.heard(BOB)), (vec![(ANN, true)], Vec::new()));
    assert_eq!(world.sql("SELECT count(*) FROM pairing_guesses"), 20);
    // An hour later it counts again; the link would have died by then, and is kept alive for the test.
    world.end().await;
    world.tamper("UPDATE pairing_guesses SET at = at - 3601000");
    world.run().await;
    world.ask(BOB, &format!("/start {code}"), "Hello").await;
    world.finish().await;
}
