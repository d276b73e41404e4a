//! What is remembered: found again in a later conversation, kept apart between people, and forgotten for good.

use blufio_testkit::messages::{Fault, FaultKind, Script};
use serde_json::{Value, json};

use crate::support::{ANN, BOB, World};

/// Messages that are not passages yet.
const UNINDEXED: &str = "SELECT sum(last_message - indexed) FROM sessions";

/// The newest request's last message, as text.
fn asked(world: &World) -> String {
    let request = world.messages.requests().pop().unwrap();
    request.body["messages"].as_array().unwrap().last().unwrap().to_string()
}

async fn new_conversation(world: &World, user: i64) {
    world.stored(UNINDEXED, 0).await;
    world.ask(user, "/new", "New conversation").await;
}

fn tool(name: &str, input: Value) -> String {
    format!("[tool:{name} {input}]")
}

/// The newest result of a tool.
fn result(world: &World) -> String {
    let request = world.messages.requests().pop().unwrap();
    let messages = request.body["messages"].as_array().unwrap().clone();
    let blocks = messages.iter().flat_map(|message| message["content"].as_array().cloned().unwrap_or_default());
    let mut results = blocks.filter(|block| block["type"] == "tool_result");
    results.next_back().unwrap()["content"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_was_said_is_there_in_a_later_conversation_and_in_nobody_elses() {
    let mut world = World::start().await;
    world.ask(ANN, "#1 my sister Clara keeps bees in Porto", "answer #1").await;
    world.ask(BOB, "#2 my boat lies in the harbour of Faro", "answer #2").await;
    new_conversation(&world, ANN).await;
    world.ask(ANN, "#3 where does Clara have her bees?", "answer #3").await;
    assert!(
        asked(&world).contains("<remembered>") && asked(&world).contains("keeps bees in Porto"),
        "{}",
        asked(&world)
    );
    // What can be read in the prompt already is not said again, and a courtesy asks for nothing.
    world.ask(ANN, "#4 and what does Clara keep in Porto?", "answer #4").await;
    assert!(!asked(&world).contains("<remembered>"), "{}", asked(&world));
    new_conversation(&world, BOB).await;
    world.ask(BOB, "#5 where does Clara have her bees?", "answer #5").await;
    assert!(!asked(&world).contains("Porto"), "another's memory: {}", asked(&world));
    // What was indexed outlives a kill, and what was not is made up for.
    world.ask(ANN, "#6 the bees have a new queen called Berenice", "answer #6").await;
    world.kill().await;
    world.run().await;
    new_conversation(&world, ANN).await;
    world.ask(ANN, "#7 what is the queen of the bees called?", "answer #7").await;
    assert!(asked(&world).contains("Berenice"), "{}", asked(&world));
    world.finish().await;
}

#[tokio::test]
async fn a_fact_is_kept_found_replaced_and_forgotten() {
    let world = World::start().await;
    let save = tool("memory_save", json!({"statement": "Ann's dentist is Dr. Okafor", "about": "dentist"}));
    world.ask(ANN, &format!("#1 {save}"), "answer #1").await;
    assert_eq!(result(&world), "remembered as f1");
    let save = tool(
        "memory_save",
        json!({"statement": "Ann's dentist is Dr. Lindqvist", "about": "dentist", "replaces": "f1"}),
    );
    world.ask(ANN, &format!("#2 {save}"), "answer #2").await;
    let search = tool("memory_search", json!({"query": "who is the dentist"}));
    world.ask(ANN, &format!("#3 {search}"), "answer #3").await;
    assert!(result(&world).contains("f2") && result(&world).contains("Lindqvist"), "{}", result(&world));
    assert!(!result(&world).contains("Okafor"), "it holds no more: {}", result(&world));
    let save =
        tool("memory_save", json!({"statement": "Answer Ann in Portuguese", "about": "language", "kind": "standing"}));
    world.ask(ANN, &format!("#4 {save}"), "answer #4").await;
    assert_eq!(result(&world), "remembered as f3");
    // A wish holds at once, and stands in front from the next conversation on.
    world.ask(ANN, "#5", "answer #5").await;
    assert!(asked(&world).contains("Answer Ann in Portuguese"), "{:#}", world.messages.requests().pop().unwrap().body);
    new_conversation(&world, ANN).await;
    world.ask(ANN, "#6", "answer #6").await;
    let system = world.messages.requests().pop().unwrap().body["system"].to_string();
    assert!(system.contains("Answer Ann in Portuguese"), "{system}");
    world.ask(BOB, "#7", "answer #7").await;
    let system = world.messages.requests().pop().unwrap().body["system"].to_string();
    assert!(!system.contains("Portuguese"), "another's wish: {system}");
    world.ask(BOB, &format!("#8 {search}"), "answer #8").await;
    assert_eq!(result(&world), "nothing is remembered about this");
    let forget = |id: &str| tool("memory_forget", json!({ "id": id }));
    world.ask(BOB, &format!("#9 {}", forget("f2")), "answer #9").await;
    assert!(!result(&world).contains("is forgotten"), "another's fact: {}", result(&world));
    world.ask(ANN, &format!("#10 {}", forget("f2")), "answer #10").await;
    assert!(result(&world).contains("f2 is forgotten"), "{}", result(&world));
    assert_eq!(world.sql("SELECT count(*) FROM facts WHERE statement LIKE '%Lindqvist%'"), 0);
    world.finish().await;
}

#[tokio::test]
async fn what_was_said_long_ago_can_be_searched_for() {
    let world = World::start().await;
    world.ask(ANN, "#1 the plumber wants 420 euros for the boiler", "answer #1").await;
    new_conversation(&world, ANN).await;
    let search = tool("session_search", json!({"query": "price of the boiler repair plumber"}));
    world.ask(ANN, &format!("#2 {search}"), "answer #2").await;
    assert!(result(&world).contains("wants 420 euros"), "{}", result(&world));
    world.finish().await;
}

/// The conversation has rested for an hour.
async fn rested(world: &mut World) {
    world.end().await;
    world.tamper(
        "UPDATE sessions SET last_at = last_at - 3600000; UPDATE messages SET at = at - 3600000;
         UPDATE ledger SET opened_at = opened_at - 3600000, closed_at = closed_at - 3600000;",
    );
    world.run().await;
}

fn fact(statement: &str, message: i64) -> Value {
    json!({
        "kind": "fact", "subject": "Clara", "statement": statement, "from": message, "to": message, "confidence": 90,
        "valid_from": null, "valid_to": null, "supersedes": null
    })
}

#[tokio::test]
async fn what_is_worth_knowing_is_learned_when_a_conversation_rests() {
    let mut world = World::start().await;
    world.ask(ANN, "#1 my sister Clara works as a vet in Porto", "answer #1").await;
    let facts = json!({"facts": [
        fact("Clara, the owner's sister, works as a vet in Porto", 1),
        fact("Clara earns 83,000 euros a year", 1),
    ]});
    world.messages.push(Script::tool("remember_facts", facts).only_if("<conversation>"));
    rested(&mut world).await;
    world.stored("SELECT count(*) FROM facts WHERE said = 'owner' AND source_first = 1", 1).await;
    assert_eq!(world.sql("SELECT count(*) FROM facts"), 1, "what nobody has said is not believed");
    let request = world.messages.requests().pop().unwrap();
    assert_eq!(request.body["model"], "claude-haiku-5-5");
    world.stored("SELECT count(*) FROM ledger WHERE purpose = 'memory' AND state = 'settled'", 1).await;
    // Once is enough, and the conversation goes on as if nothing had been.
    let calls = world.messages.calls();
    rested(&mut world).await;
    world.ask(ANN, "#2", "answer #2").await;
    assert_eq!(world.messages.calls(), calls + 1);
    new_conversation(&world, ANN).await;
    world.ask(ANN, "#3 which profession has Clara?", "answer #3").await;
    assert!(asked(&world).contains("works as a vet"), "{}", asked(&world));
    world.finish().await;
}

#[tokio::test]
async fn learning_ends_with_its_budget_and_never_holds_up_an_answer() {
    let mut world = World::prepare().await;
    world.setup.set("memory.day_usd", "0.000001");
    world.run().await;
    world.ask(ANN, "#1 my sister Clara works as a vet in Porto", "answer #1").await;
    world.messages.push(Script::tool("remember_facts", json!({"facts": []})).only_if("<conversation>"));
    rested(&mut world).await;
    world.stored("SELECT count(*) FROM ledger WHERE purpose = 'memory'", 1).await;
    world.ask(ANN, "#2 and she has two dogs", "answer #2").await;
    let calls = world.messages.calls();
    rested(&mut world).await;
    world.ask(ANN, "#3", "answer #3").await;
    assert_eq!(world.messages.calls(), calls + 1, "there is no money left to learn");
    world.end().await;
    // A model that does not answer: the person is served all the same.
    world.setup.set("memory.day_usd", "1");
    world.messages.fault(Fault::next(1, FaultKind::NeverAnswer));
    world.run().await;
    rested(&mut world).await;
    world.messages.clear_faults();
    world.ask(ANN, "#4", "answer #4").await;
    world.finish().await;
}

#[tokio::test]
async fn plain_words_are_enough_to_be_remembered() {
    let world = World::start().await;
    world.ask(ANN, "#1 hello", "answer #1").await;
    world.ask(ANN, "Remember that the alarm code is 4711. #2", "answer #2").await;
    assert!(asked(&world).contains("[Remembered as f1.]"), "{}", asked(&world));
    world.ask(ANN, "Remember: never call me before nine. #3", "answer #3").await;
    assert_eq!(world.sql("SELECT count(*) FROM facts WHERE kind = 'standing' AND said = 'owner'"), 1);
    new_conversation(&world, ANN).await;
    world.ask(ANN, "#4 what was the alarm code?", "answer #4").await;
    assert!(asked(&world).contains("4711"), "{}", asked(&world));
    world.finish().await;
}

#[tokio::test]
async fn the_memory_is_a_file_that_can_be_edited() {
    let world = World::start().await;
    world.ask(ANN, "Remember that Clara keeps bees. #1", "answer #1").await;
    let path = world.workspace().join("MEMORY.md");
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    let written = world.eventually("the file", async |_| read().contains("Clara keeps bees").then(read)).await;
    assert!(written.contains("<!-- f1 -->"), "{written}");
    // A line is corrected, one is added; it holds from the next message on.
    let edited = written
        .replace("Clara keeps bees", "Clara keeps goats")
        .replace("## Events", "- The car is a Fiat.\n\n## Events");
    std::fs::write(&path, &edited).unwrap();
    world.ask(ANN, "#2 what does Clara keep, and what is the car?", "answer #2").await;
    world.stored("SELECT count(*) FROM facts WHERE state = 'open'", 2).await;
    assert_eq!(world.sql("SELECT count(*) FROM facts WHERE statement LIKE '%goats%' AND said = 'owner'"), 1);
    let written = world.eventually("numbers", async |_| read().contains("<!-- f3 -->").then(read)).await;
    // A line that is taken out is forgotten, and nothing of it stays.
    let kept: Vec<&str> = written.lines().filter(|line| !line.contains("Fiat")).collect();
    std::fs::write(&path, kept.join("\n")).unwrap();
    world.ask(ANN, "#3", "answer #3").await;
    world.stored("SELECT count(*) FROM facts WHERE statement LIKE '%Fiat%'", 0).await;
    // A file that is gone forgets nothing; it is there again.
    std::fs::remove_file(&path).unwrap();
    world.ask(ANN, "#4", "answer #4").await;
    world.eventually("the file again", async |_| read().contains("goats").then_some(())).await;
    world.finish().await;
}
