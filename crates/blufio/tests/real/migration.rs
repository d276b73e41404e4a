//! Groups that become supergroups: they go on under another id, and nothing of the conversation is lost or said twice.

use blufio_testkit::botapi::{Action, BotApiConfig, ChatKind, Fault, Post, State};
use blufio_testkit::messages::MessagesConfig;
use serde_json::json;

use crate::support::{ANN, BOB, BOT, CAT, SOON, World, answered, each_once};

/// The group before and after.
const OLD: i64 = -4_500;
const NEW: i64 = -1_000_000_004_500;
/// Words of a long answer, and how many there are at least of its messages.
const WORDS: usize = 6_000;

async fn start() -> World {
    start_with(&[]).await
}

async fn start_with(keys: &[(&str, &str)]) -> World {
    let bot = BotApiConfig { can_read_all_group_messages: true, ..BotApiConfig::default() };
    let mut world = World::prepare_as(MessagesConfig::default(), bot).await;
    world.telegram.open_private(ANN);
    world.telegram.add_group(OLD, "the team", ChatKind::Group, &[ANN, BOB, CAT]);
    world.set(&[("telegram.groups", &format!("{{ {OLD} = {{}} }}"))]);
    world.set(keys);
    world.run().await;
    world
}

fn asks(chat: i64, text: &str) -> Post {
    Post::new(chat, ANN, &format!("{BOT} {text}"))
}

/// The words of everything that the bot said in both groups, in order.
fn words(state: &State) -> Vec<String> {
    let said = [OLD, NEW].into_iter().flat_map(|chat| state.transcript(chat)).filter(|said| said.from_bot);
    let text: Vec<String> = said.map(|said| said.text).collect();
    text.join(" ").split_whitespace().map(|word| word.trim_matches('.').to_owned()).collect()
}

/// The words that `[long:N]` gives.
fn long_answer() -> Vec<&'static str> {
    const PATTERN: [&str; 8] = ["the", "little", "fake", "model", "writes", "one", "word", "more"];
    PATTERN.into_iter().cycle().take(WORDS).collect()
}

/// The conversation goes on in the new group, under the rules of the old one.
async fn goes_on(mut world: World, message: usize) {
    // Addressed as before, and only from people who are listed.
    world.write(Post::new(NEW, BOB, "not for you"));
    world.write(Post::new(NEW, 6_666, &format!("{BOT} #99")));
    let words = |number: usize| format!("message {number} of this conversation");
    world.ask_in(asks(NEW, "hello"), &words(message)).await;
    world.restart().await;
    world.ask_in(asks(NEW, "again"), &words(message + 1)).await;
    assert_eq!(world.count(NEW, "#99"), 0);
    assert_eq!(world.sql("SELECT count(*) FROM sessions"), 1);
    world.stored("SELECT count(*) FROM outbox WHERE state <> 'sent'", 0).await;
    world.finish().await;
}

#[tokio::test]
async fn a_group_that_is_upgraded_in_the_middle_of_an_answer_reads_the_rest_in_the_new_one() {
    let world = start().await;
    world.telegram.fault(Fault::on("sendMessage", Action::Delay(40)).in_chat(OLD));
    world.write(asks(OLD, &format!("[long:{WORDS}]")));
    world.telegram.wait_for(|state| (words(state).len() > 500).then_some(()), SOON).await;
    world.telegram.migrate(OLD, NEW);
    world.telegram.wait_for(|state| (words(state).len() >= WORDS).then_some(()), SOON).await;
    world.stored("SELECT count(*) FROM outbox WHERE state <> 'sent'", 0).await;
    assert_eq!(world.telegram.read(words), long_answer(), "everything once, in order");
    let (old, new) = (world.heard(OLD).len(), world.heard(NEW).len());
    assert!(old >= 1 && new >= 2, "{old} messages in the old group and {new} in the new one");
    assert!(world.said(NEW).iter().all(|said| said.reply_to.is_none()), "numbers of the old group mean nothing there");
    goes_on(world, 2).await;
}

#[tokio::test]
async fn a_send_that_learns_of_the_upgrade_first_is_repeated_in_the_new_group() {
    let world = start().await;
    world.ask_in(asks(OLD, "#1"), "answer #1").await;
    world.telegram.add_group(NEW, "the team", ChatKind::Supergroup { forum: false }, &[ANN, BOB, CAT]);
    let upgraded = Action::Answer {
        status: 400,
        description: "Bad Request: group chat was upgraded to a supergroup chat".to_owned(),
        parameters: json!({"migrate_to_chat_id": NEW}),
    };
    // Until the end: a send to the old group never works again.
    world.telegram.fault(Fault::on("sendMessage", upgraded).in_chat(OLD));
    world.write(asks(OLD, "#2"));
    world.hear(NEW, "answer #2").await;
    let sends = |chat: i64| {
        let to = |request: &&blufio_testkit::botapi::LoggedRequest| {
            request.method == "sendMessage" && request.params.get("chat_id") == Some(&json!(chat))
        };
        world.telegram.requests().iter().filter(to).count()
    };
    assert_eq!((sends(OLD), sends(NEW)), (2, 1), "one try in each");
    assert_eq!(world.sql(&format!("SELECT count(*) FROM chat_aliases WHERE new = {NEW} AND known_as = {OLD}")), 1);
    goes_on(world, 3).await;
}

#[tokio::test]
async fn an_upgrade_while_the_process_is_dead_is_learned_after_the_restart() {
    let mut world = start().await;
    world.telegram.fault(Fault::on("sendMessage", Action::Delay(40)).in_chat(OLD));
    world.write(asks(OLD, &format!("[long:{WORDS}]")));
    world.telegram.wait_for(|state| (words(state).len() > 500).then_some(()), SOON).await;
    world.kill().await;
    let before = world.heard(OLD).len();
    world.telegram.migrate(OLD, NEW);
    world.run().await;
    world.telegram.wait_for(|state| (words(state).len() >= WORDS).then_some(()), SOON).await;
    world.stored("SELECT count(*) FROM outbox WHERE state <> 'sent'", 0).await;
    assert_eq!(world.heard(OLD).len(), before);
    let duplicates = world.telegram.read(words).len() - WORDS;
    let flagged = world.sql("SELECT count(*) FROM outbox WHERE maybe_duplicate");
    assert!(flagged <= 1 && (flagged == 1 || duplicates == 0), "{duplicates} words twice, {flagged} messages marked");
    goes_on(world, 2).await;
}

#[tokio::test]
async fn what_waits_for_a_turn_is_answered_in_the_new_group() {
    let world = start().await;
    world.write(asks(OLD, "#1 [slow:600]"));
    world.prompted("#1").await;
    for number in 2..=4 {
        world.write(asks(OLD, &format!("#{number}")));
    }
    world.write(Post::new(OLD, BOB, "something on the side"));
    world.stored("SELECT count(*) FROM inbox WHERE state = 'received'", 3).await;
    world.stored("SELECT count(*) FROM overheard", 1).await;
    world.telegram.migrate(OLD, NEW);
    world.write(asks(NEW, "#5"));
    world.hear(NEW, "answer #5").await;
    assert_eq!(answered(&world.heard(NEW)), each_once(1..=5));
    assert_eq!(world.heard(OLD), [""; 0]);
    assert!(world.messages.prompts_seen().iter().any(|text| text.contains("something on the side")));
    goes_on(world, 6).await;
}

#[tokio::test]
async fn a_preview_of_the_old_group_does_not_hold_up_the_answer() {
    let world = start_with(&[("telegram.streaming", "\"auto\"")]).await;
    world.write(asks(OLD, "[long:80][drip:80]"));
    world.hear(OLD, "…").await;
    world.telegram.migrate(OLD, NEW);
    let done =
        |state: &State| state.transcript(NEW).into_iter().find(|said| said.from_bot && said.text.ends_with("more."));
    world.telegram.wait_for(done, SOON).await;
    assert_eq!(world.heard(NEW).len(), 1);
    goes_on(world, 2).await;
}

#[tokio::test]
async fn an_unlisted_group_stays_unlisted_whatever_it_becomes() {
    let world = start().await;
    let (old, new) = (-4_600, -1_000_000_004_600);
    world.telegram.add_group(old, "others", ChatKind::Group, &[ANN]);
    world.telegram.migrate(old, new);
    world.write(asks(new, "#1"));
    world.ask_in(asks(OLD, "#2"), "answer #2").await;
    assert_eq!((world.heard(old).len(), world.heard(new).len()), (0, 0));
    assert_eq!(world.sql("SELECT count(*) FROM chat_aliases"), 0);
    world.finish().await;
}
