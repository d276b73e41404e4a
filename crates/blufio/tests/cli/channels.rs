//! `blufio channel`, with and without a server.

use super::{Place, SOON, model, telegram};
use serde_json::{Value, json};
use std::time::Instant;

const BOB: i64 = 502;

/// Looks at the channel until something is so; what is booked after a send tells nobody.
#[track_caller]
fn until(place: &Place, so: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let status = place.run(&["channel", "status", "--json"]).json();
        if so(&status) {
            return status;
        }
        assert!(began.elapsed() < SOON, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_sent_given_up_and_sent_again() {
    let (api, bot) = (model().await, telegram().await);
    let place = Place::with_telegram(&api, &bot);
    bot.open_private(BOB);
    let server = place.serve();
    bot.wait_for(|state| state.counts().contains_key("getUpdates").then_some(()), SOON).await;
    let status = until(&place, |status| status["health"]["state"] == "ready");
    assert_eq!(
        (&status["running"], &status["waiting"], &status["dead"], &status["advice"]),
        (&json!(true), &json!(0), &json!([]), &json!([]))
    );
    let text = place.run(&["channel", "status"]).good();
    assert_eq!(text, "telegram: ready, it fetches messages\nnothing waits to be sent\n");

    let said = place.feed(&["channel", "send", "502", "-"], "from a pipe\n").good();
    assert!(said.starts_with("accepted for chat 502"), "{said}");
    let messages = bot.wait_for_bot_messages(BOB, 1, SOON).await;
    assert_eq!(messages.last().map(|message| message.text.as_str()), Some("from a pipe"));

    bot.set_blocked(BOB, true);
    until(&place, |status| status["closed"][0]["chat"] == BOB);
    let send = place.run(&["channel", "send", "502", "anybody?"]);
    send.bad(1, &["chat 502 is shut", "cause: the bot was blocked", "hint: The person has blocked"]);
    let status = until(&place, |status| status["dead"] != json!([]));
    assert_eq!((&status["dead"][0]["chat"], &status["dead"][0]["text"]), (&json!(BOB), &json!("anybody?")));
    let text = place.run(&["channel", "status"]).good();
    for words in ["Could not be delivered", "anybody?", "the bot was blocked", "Shut chats", "has to write to it again"]
    {
        assert!(text.contains(words), "`{words}` is not in {text}");
    }
    assert_eq!(place.run(&["channel", "retry"]).good(), "there is nothing to send again\n", "the chat is shut");
    assert!(place.run(&["status"]).good().contains("`blufio channel status` says what to do"));

    bot.set_blocked(BOB, false);
    until(&place, |status| status["closed"] == json!([]));
    let row = status["dead"][0]["id"].to_string();
    assert_eq!(place.run(&["channel", "retry", &row]).good(), "1 message goes out again\n");
    let messages = bot.wait_for_bot_messages(BOB, 2, SOON).await;
    assert_eq!(messages.last().map(|message| message.text.as_str()), Some("anybody?"));
    place.run(&["channel", "retry", "4711"]).bad(1, &["no message 4711 was given up", "hint: "]);
    server.stop();
    assert_eq!(bot.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_the_database_is_asked() {
    let (api, bot) = (model().await, telegram().await);
    let place = Place::with_telegram(&api, &bot);
    let text = place.run(&["channel", "status"]).good();
    assert!(text.starts_with("telegram: no server is running, so its health is unknown\n"), "{text}");
    assert!(!place.data().exists(), "looking changes nothing");
    place.run(&["channel", "send", "502", "hello"]).bad(69, &["no server is running", "hint: "]);
    place.run(&["channel", "send", "502", " "]).bad(2, &["the message is empty"]);
    place.run(&["channel", "status", "fax"]).bad(2, &["'fax'", "telegram"]);

    let server = place.serve();
    bot.wait_for(|state| state.counts().contains_key("getUpdates").then_some(()), SOON).await;
    // Nobody ever wrote from there.
    place.run(&["channel", "send", "-1009", "hello"]).good();
    until(&place, |status| status["dead"] != json!([]));
    server.stop();

    let status = place.run(&["channel", "status", "--json"]).json();
    assert_eq!((&status["running"], &status["health"]), (&json!(false), &Value::Null));
    assert_eq!((&status["dead"][0]["chat"], &status["dead"][0]["text"]), (&json!(-1009), &json!("hello")));
    assert!(place.run(&["channel", "status"]).good().contains("The bot knows no such chat"));
    assert_eq!(place.run(&["channel", "retry", "--all", "--json"]).json(), json!({"revived": 1}));
    let status = place.run(&["channel", "status", "--json"]).json();
    assert_eq!((&status["waiting"], &status["dead"]), (&json!(1), &json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_and_a_missing_one_have_their_advice() {
    let (api, bot) = (model().await, telegram().await);
    let place = Place::with_telegram(&api, &bot);
    bot.revoke_token(true);
    let server = place.serve();
    until(&place, |status| status["health"]["state"] == "failed");
    let text = place.run(&["channel", "status"]).good();
    assert!(text.contains("down until somebody mends it") && text.contains("Copy it from @BotFather"), "{text}");
    place.run(&["pairing", "link"]).bad(69, &["does not know yet which account", "`blufio channel status`"]);
    server.stop();

    let place = Place::with(&api);
    let server = place.serve();
    let text = place.run(&["channel", "status"]).good();
    assert!(text.starts_with("telegram: off: ") && text.contains("/newbot"), "{text}");
    place.run(&["channel", "send", "5", "x"]).bad(69, &["no channel `telegram` runs here", "hint: "]);
    server.stop();
}
