//! `blufio pairing`, with and without a server.

use super::{Place, SOON, model, telegram};
use blufio_testkit::botapi::FakeBotApi;
use serde_json::{Value, json};

const ANN: i64 = 501;
const BOB: i64 = 502;

/// Lets a stranger write, and reads the code in the bot's answer.
async fn ask(bot: &FakeBotApi, user: i64) -> String {
    bot.send_text(user, "let me in");
    let messages = bot.wait_for_bot_messages(user, 1, SOON).await;
    let text = &messages.iter().find(|message| message.from_bot).expect("it was waited for").text;
    let after = text.split("blufio pairing approve ").nth(1).unwrap_or_else(|| panic!("no code in {text}"));
    after.chars().take_while(char::is_ascii_alphanumeric).collect()
}

/// Users and codes, as `pairing list --json` has them.
fn listed(place: &Place) -> (Vec<Value>, Vec<Value>) {
    let people = place.run(&["pairing", "list", "--json"]).json();
    let all = |list: &str, key: &str| {
        people[list].as_array().expect("a list").iter().map(|row| row[key].clone()).collect::<Vec<_>>()
    };
    (all("paired", "user"), all("requests", "code"))
}

/// What the audit log says about people, oldest first.
fn recorded(place: &Place) -> Vec<String> {
    let lines = place.run(&["audit", "list", "--json"]).json();
    let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let lines = lines.as_array().expect("a list").iter().rev();
    let about =
        lines.filter(|line| ["owner_made", "person_let_in", "person_revoked"].contains(&text(line, "kind").as_str()));
    about.map(|line| format!("{} {} by {}", text(line, "kind"), text(line, "target"), text(line, "actor"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_lets_people_in_and_out_at_once() {
    let (api, bot) = (model().await, telegram().await);
    let place = Place::with_telegram(&api, &bot);
    let server = place.serve();
    assert_eq!(place.run(&["pairing", "list"]).good(), "nobody is paired, and nobody is waiting\n");
    let (ann, bob) = (ask(&bot, ANN).await, ask(&bot, BOB).await);
    assert_eq!(listed(&place), (vec![], vec![json!(ann), json!(bob)]));

    let approved = place.run(&["pairing", "approve", &ann.to_lowercase()]).good();
    assert!(approved.contains("(telegram user 501) may speak to the agent now, as an owner"), "{approved}");
    let rejected = place.run(&["pairing", "reject", &bob, "--json"]).json();
    assert_eq!((&rejected["user"], &rejected["owner"]), (&json!(BOB), &json!(false)));
    place.run(&["pairing", "approve", &bob]).bad(1, &["no pairing request with this code", "hint: "]);
    assert_eq!(listed(&place), (vec![json!(ANN)], vec![]));
    let text = place.run(&["pairing", "list"]).good();
    assert!(text.starts_with("Paired\nUSER") && text.contains("501") && text.contains("owner"), "{text}");

    bot.send_text(ANN, "[say:welcome]");
    let messages = bot.wait_for_bot_messages(ANN, 2, SOON).await;
    assert_eq!(messages.last().map(|message| message.text.as_str()), Some("welcome"));

    let revoked = place.run(&["pairing", "revoke", "501"]).good();
    assert!(revoked.contains("may not speak to the agent any more"), "{revoked}");
    place.run(&["pairing", "revoke", "501"]).bad(1, &["user 501 is not paired"]);
    assert_eq!(listed(&place), (vec![], vec![]));
    assert_eq!(recorded(&place), ["owner_made person:501 by cli", "person_revoked person:501 by cli"]);
    server.stop();
    assert_eq!(bot.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_the_database_is_asked() {
    let (api, bot) = (model().await, telegram().await);
    let place = Place::with_telegram(&api, &bot);
    let server = place.serve();
    let (ann, bob) = (ask(&bot, ANN).await, ask(&bot, BOB).await);
    server.stop();

    let text = place.run(&["pairing", "list"]).good();
    assert!(text.starts_with("Waiting\nCODE") && text.contains(&ann) && text.contains(&bob), "{text}");
    assert_eq!(place.run(&["pairing", "approve", &ann, "--json"]).json()["owner"], true, "the first one is the owner");
    assert_eq!(place.run(&["pairing", "approve", &bob, "--json"]).json()["owner"], false);
    assert_eq!(listed(&place), (vec![json!(ANN), json!(BOB)], vec![]));
    place.run(&["pairing", "revoke", "502"]).good();
    assert_eq!(
        recorded(&place),
        ["owner_made person:501 by cli", "person_let_in person:502 by cli", "person_revoked person:502 by cli"]
    );
    assert!(place.run(&["audit", "verify"]).good().contains("whole"));
    place.run(&["pairing", "reject", "NOSUCHCODE"]).bad(1, &["no pairing request with this code", "hint: "]);

    let server = place.serve();
    bot.send_text(ANN, "[say:welcome back]");
    let messages = bot.wait_for_bot_messages(ANN, 2, SOON).await;
    assert_eq!(messages.last().map(|message| message.text.as_str()), Some("welcome back"));
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_lets_in_whoever_opens_it_first() {
    let (api, bot) = (model().await, telegram().await);
    let place = Place::with_telegram(&api, &bot);
    place.run(&["pairing", "link"]).bad(69, &["no server is running", "hint: start it with `blufio serve`"]);
    let server = place.serve();
    // The bot has a name as soon as it polls.
    bot.wait_for(|state| state.counts().contains_key("getUpdates").then_some(()), SOON).await;

    let made = place.run(&["pairing", "link", "--json"]).json();
    assert_eq!(made["valid_minutes"], 10);
    let link = made["link"].as_str().expect("an address");
    let code = link.strip_prefix("https://t.me/blufio_test_bot?start=").unwrap_or_else(|| panic!("{link}"));
    bot.send_text(ANN, &format!("/start {code}"));
    let messages = bot.wait_for_bot_messages(ANN, 1, SOON).await;
    assert!(messages.iter().any(|message| message.text.starts_with("Hello, I am Blufio")), "{messages:?}");
    let people = place.run(&["pairing", "list", "--json"]).json();
    assert_eq!((&people["paired"][0]["user"], &people["paired"][0]["owner"]), (&json!(ANN), &json!(true)));

    bot.send_text(BOB, &format!("/start {code}"));
    // What came first is over when this is answered.
    bot.send_text(ANN, "[say:next]");
    bot.wait_for_bot_messages(ANN, 2, SOON).await;
    assert!(bot.transcript(BOB).iter().all(|message| !message.from_bot), "a used code gets no answer");
    assert_eq!(listed(&place), (vec![json!(ANN)], vec![]), "it was used");
    assert_eq!(recorded(&place), ["owner_made person:501 by person:501"]);
    let text = place.run(&["pairing", "link"]).good();
    assert!(text.starts_with("https://t.me/") && text.contains("valid for 10 minutes, once"), "{text}");
    assert!(!text.contains(code), "every link is another one");
    server.stop();
    assert_eq!(bot.violations(), [""; 0]);
}
