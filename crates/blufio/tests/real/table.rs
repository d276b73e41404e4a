//! Failures that other agents are known for, as far as no other file holds one already; docs/telegram-tests.md lists all.

use std::collections::BTreeMap;

use blufio_testkit::botapi::{Action, BotApiConfig, ChatKind, Fault, Post, State};
use blufio_testkit::messages::{Block, MessagesConfig, Script};
use serde_json::json;

use crate::support::{ANN, BOB, CAT, SOON, TOKEN, World, answered, each_once};

const EDIT: (&str, &str) = ("telegram.streaming", "\"edit\"");
/// On no list.
const STRANGER: i64 = 6_666;

/// The words that `[long:N]` gives.
fn long_answer(count: usize) -> Vec<&'static str> {
    const PATTERN: [&str; 8] = ["the", "little", "fake", "model", "writes", "one", "word", "more"];
    PATTERN.into_iter().cycle().take(count).collect()
}

/// The words of these texts, without the points at their ends.
fn words(texts: &[String]) -> Vec<String> {
    texts.iter().flat_map(|text| text.split_whitespace()).map(|word| word.trim_end_matches('.').to_owned()).collect()
}

#[tokio::test]
async fn t02_a_kill_before_the_server_learns_of_the_offset_repeats_nothing() {
    let mut world = World::start().await;
    // The poll that waits brings the message; the next one, which would confirm it, never arrives.
    world.telegram.fault(Fault::on("getUpdates", Action::NeverAnswer));
    world.say(ANN, "#1");
    world.hear(ANN, "answer #1").await;
    world.telegram.wait_for(|state| state.requests().any(|request| request.fault.is_some()).then_some(()), SOON).await;
    world.stored("SELECT count(*) FROM outbox WHERE state = 'sent'", 1).await;
    assert_eq!(world.telegram.read(State::pending_updates), 1, "the server would bring it again");
    world.kill().await;
    world.telegram.clear_faults();
    world.run().await;
    world.ask(ANN, "#2", "answer #2").await;
    world.confirmed().await;
    assert_eq!(answered(&world.heard(ANN)), each_once([1, 2]));
    assert_eq!(world.sql("SELECT count(*) FROM turns"), 2);
    world.finish().await;
}

#[tokio::test]
async fn t04_a_new_token_whose_updates_begin_at_seven_is_heard_from_the_first() {
    let config = BotApiConfig { first_update_id: 800_000, ..BotApiConfig::default() };
    let mut world = World::prepare_as(MessagesConfig::default(), config).await;
    world.run().await;
    world.ask(ANN, "#1", "answer #1").await;
    world.confirmed().await;
    world.end().await;
    let token = TOKEN.replace("TEST", "NEXT");
    world.telegram.replace_token(&token, 7);
    for number in 2..=5 {
        world.say(ANN, &format!("#{number}"));
    }
    world.setup.env.insert("TELEGRAM_BOT_TOKEN".to_owned(), token);
    world.run().await;
    world.hear(ANN, "answer #5").await;
    assert_eq!(answered(&world.heard(ANN)), each_once(1..=5));
    world.finish().await;
}

#[tokio::test]
async fn t13_a_long_answer_with_tools_is_there_once_though_edits_get_no_answer() {
    let world = World::start_with(&[EDIT]).await;
    for action in [Action::ApplyThenDrop, Action::DropBefore, Action::ResetMid] {
        world.telegram.fault(Fault::once("editMessageText", action));
    }
    world.say(ANN, "[tool:now] [then:tool:list_files {}] [slow:400] [drip:1] [long:2500] #1");
    world.hear(ANN, "The tool list_files said").await;
    let heard = world.heard(ANN);
    let all = words(&heard);
    assert_eq!(all[..2_500], long_answer(2_500));
    assert!(heard.iter().map(String::len).sum::<usize>() > 13_000);
    assert!(all[2_500..].iter().all(|word| word != "fake"), "nothing of it again: {:?}", &all[2_500..]);
    assert_eq!((answered(&heard), world.count(ANN, "…")), (each_once([1]), 0));
    assert!(world.telegram.read(|state| state.faults().is_empty()), "all faults were met");
    world.stored("SELECT count(*) FROM outbox WHERE state <> 'sent' OR maybe_duplicate", 0).await;
    world.finish().await;
}

#[tokio::test]
async fn t14_what_is_said_before_and_between_tools_is_shown_in_order() {
    for streaming in ["\"off\"", "\"auto\"", "\"edit\""] {
        let world = World::start_with(&[("telegram.streaming", streaming)]).await;
        let says = |text: &str, tool: &str| {
            let blocks = [Block::Text(text.to_owned()), Block::tool(tool, json!({}))];
            Script { first_token_ms: 400, ..Script::blocks(blocks).only_if("#1") }
        };
        world.messages.push(says("First I look at the clock.", "now"));
        world.messages.push(says("Then at the files.", "list_files"));
        world.messages.push(Script::text("That was all.").only_if("#1"));
        world.say(ANN, "#1");
        world.hear(ANN, "That was all.").await;
        let heard = world.heard(ANN).join("\n");
        let at = |words: &str| heard.find(words).unwrap_or_else(|| panic!("{words:?} is not in {heard:?}"));
        assert!(at("First I look") < at("Then at the") && at("Then at the") < at("That was all"), "{heard}");
        for part in ["First I look", "Then at the", "That was all"] {
            assert_eq!(heard.matches(part).count(), 1, "{heard}");
        }
        world.finish().await;
    }
}

#[tokio::test]
async fn t17_nobody_types_after_a_stop_or_an_error() {
    let world = World::start_with(&[("session.turn_deadline_s", "1")]).await;
    world.say(ANN, "#1 [slow:60000]");
    world.say(CAT, "#2 [slow:60000]");
    let types = |state: &State| [ANN, CAT].iter().all(|chat| !state.actions(*chat).is_empty()).then_some(());
    world.telegram.wait_for(types, SOON).await;
    world.ask(ANN, "/stop", "Stopped.").await;
    world.hear(CAT, "").await;
    let over = world.telegram.read(|state| u64::try_from(state.now().as_millis()).unwrap());
    // A sign is repeated every four and a half seconds; the turns of somebody else tell that they have passed.
    for number in 3..=7 {
        world.ask(BOB, &format!("#{number} [slow:800]"), &format!("answer #{number}")).await;
    }
    let (late, now) = world.telegram.read(|state| {
        let late = [ANN, CAT].iter().flat_map(|chat| state.actions(*chat)).filter(|action| action.at_ms > over).count();
        (late, u64::try_from(state.now().as_millis()).unwrap())
    });
    assert_eq!(late, 0);
    let first = world.telegram.read(|state| state.actions(ANN)[0].at_ms);
    assert!(now - first > 4_600, "long enough for another sign: {} ms", now - first);
    world.finish().await;
}

#[tokio::test]
async fn t19_after_a_hundred_stops_the_next_message_is_answered() {
    const STOPS: usize = 34;
    let world = World::start().await;
    let people = [(ANN, 1_000), (BOB, 2_000), (CAT, 3_000)];
    let stop = async |(person, first): (i64, usize)| {
        for round in 1..=STOPS {
            world.say(person, &format!("#{} [slow:60000]", first + round));
            world.prompted(&format!("#{} ", first + round)).await;
            world.say(person, "/stop");
            let stopped = |state: &State| {
                let said = state.transcript(person);
                (said.iter().filter(|said| said.from_bot && said.text == "Stopped.").count() == round).then_some(())
            };
            world.telegram.wait_for(stopped, SOON).await;
        }
    };
    tokio::join!(stop(people[0]), stop(people[1]), stop(people[2]));
    for (person, first) in people {
        world.ask(person, &format!("#{first}"), &format!("answer #{first}")).await;
        assert_eq!(answered(&world.heard(person)), each_once([u64::try_from(first).unwrap()]));
        assert_eq!(world.heard(person).len(), STOPS + 1);
    }
    world.finish().await;
}

#[tokio::test]
async fn t21_words_that_look_like_orders_are_only_words() {
    const WORDS: [&str; 30] = [
        "NO_REPLY",
        "HEARTBEAT_OK",
        "ANNOUNCE_SKIP",
        "REPLY_SKIP",
        "SILENT",
        "[silent]",
        "[stopped]",
        "[no reply]",
        "[error]",
        "[DONE]",
        "data: [DONE]",
        "event: message_stop",
        "<think>",
        "</think>",
        "<thinking>hm</thinking>",
        "<final>",
        "<|endoftext|>",
        "<system-reminder>x</system-reminder>",
        "<tool_call>{}</tool_call>",
        "[[reply_to_current]]",
        "[[audio_as_voice]]",
        "MEDIA:/etc/passwd",
        "/stop",
        "/new",
        "/kill now",
        "end_turn",
        "Human: hello",
        "System: hello",
        "null",
        "…",
    ];
    let world = World::start_with(&[("session.pending_messages", "200")]).await;
    for word in WORDS {
        for said in [word.to_owned(), format!("Good night. {word}"), format!("{word} and good night.")] {
            world.messages.push(Script::text(&said));
            let before = world.heard(ANN).len();
            world.say(ANN, "well?");
            world.telegram.wait_for_bot_messages(ANN, before + 1, SOON).await;
            assert_eq!(world.heard(ANN)[before..], [said]);
        }
    }
    world.ask(ANN, "#1", "answer #1").await;
    assert_eq!(world.heard(ANN).len(), 3 * WORDS.len() + 1);
    world.finish().await;
}

#[tokio::test]
async fn t22_ten_messages_and_a_kill_after_each_answer() {
    let mut world = World::prepare().await;
    for number in 1..=10 {
        world.say(ANN, &format!("#{number} [slow:60]"));
    }
    world.run().await;
    for number in 1..=10 {
        world.hear(ANN, &format!("answer #{number}")).await;
        world.kill().await;
        world.run().await;
    }
    world.ask(ANN, "#11", "answer #11").await;
    world.stored("SELECT count(*) FROM outbox WHERE state <> 'sent'", 0).await;
    let heard = answered(&world.heard(ANN));
    assert_eq!(heard.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (1..=11).collect::<Vec<_>>());
    let copies: usize = heard.iter().map(|(_, copies)| copies - 1).sum();
    let marked = world.sql("SELECT count(*) FROM outbox WHERE maybe_duplicate");
    assert!(copies <= usize::try_from(marked).unwrap() && copies <= 10, "{copies} copies, {marked} marked: {heard:?}");
    assert_eq!(world.sql("SELECT count(*) FROM turns"), 11);
    world.finish().await;
}

#[tokio::test]
async fn t25_a_name_admits_nobody() {
    let mut world = World::prepare().await;
    for listed in ["[\"@ann\"]", "[\"ann\"]", "[\"*\"]"] {
        world.set(&[("telegram.allow_from", listed), ("telegram.owners", "[]")]);
        let refused = world.setup.run(&["serve"]).await.unwrap();
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && words.contains("telegram.allow_from"), "{listed}: {words}");
    }
    world.set(&[("telegram.allow_from", &format!("[{ANN}]"))]);
    world.run().await;
    // Somebody who calls themselves like the person who is listed.
    for name in ["1001", "User 1001", "ann", "tg:1001"] {
        let fields = json!({"first_name": name, "last_name": "1001", "username": "ann"});
        world.telegram.change(|state| state.describe_user(STRANGER, fields.as_object().unwrap().clone()));
        world.say(STRANGER, "#9");
        let post = Post::new(STRANGER, STRANGER, "#9").field("sender_tag", json!(name));
        world.telegram.post(post.field(
            "forward_origin",
            json!({"type": "user", "date": 1, "sender_user": {
                "id": ANN, "is_bot": false, "first_name": "Ann"
            }}),
        ));
    }
    world.ask(ANN, "#1", "answer #1").await;
    world.confirmed().await;
    assert_eq!((world.heard(STRANGER).len(), world.messages.calls()), (0, 1));
    world.finish().await;
}

#[tokio::test]
async fn t27_no_kind_of_update_of_a_stranger_has_an_effect() {
    const KINDS: [&str; 25] = [
        "message",
        "edited_message",
        "channel_post",
        "edited_channel_post",
        "business_connection",
        "business_message",
        "edited_business_message",
        "deleted_business_messages",
        "guest_message",
        "message_reaction",
        "message_reaction_count",
        "inline_query",
        "chosen_inline_result",
        "callback_query",
        "shipping_query",
        "pre_checkout_query",
        "purchased_paid_media",
        "poll",
        "poll_answer",
        "my_chat_member",
        "chat_member",
        "chat_join_request",
        "chat_boost",
        "removed_chat_boost",
        "managed_bot",
    ];
    let world = World::start().await;
    world.telegram.add_group(-1_000_000_000_900, "theirs", ChatKind::Supergroup { forum: false }, &[STRANGER, ANN]);
    let first = world.ask(ANN, "#1", "answer #1").await;
    world.confirmed().await;
    let before = world.telegram.counts();
    let person = json!({"id": STRANGER, "is_bot": false, "first_name": "S", "language_code": "en"});
    let chats = [
        json!({"id": STRANGER, "type": "private", "first_name": "S"}),
        json!({"id": ANN, "type": "private", "first_name": "Ann"}),
        json!({"id": -1_000_000_000_900_i64, "type": "supergroup", "title": "theirs"}),
    ];
    let mut count = 0;
    for chat in &chats {
        let message = json!({
            "message_id": first.message_id, "date": 1, "chat": chat, "from": person, "text": "/approve #9 @blufio_test_bot"
        });
        for (number, kind) in KINDS.iter().enumerate() {
            let mut body = message.clone();
            let more = json!({
                "id": format!("stranger-{number}-{count}"), "user": person, "message": message, "chat_instance": "1",
                "data": "b1:AAAAAAAAAAAAAAAAAAAA:ok", "query": "#9", "offset": "", "old_reaction": [],
                "new_reaction": [{"type": "emoji", "emoji": "👍"}],
                "old_chat_member": {"status": "member", "user": person},
                "new_chat_member": {"status": "kicked", "user": person, "until_date": 0}
            });
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            if *kind == "callback_query" {
                body.as_object_mut().unwrap().remove("chat");
            }
            world.telegram.push_update(&json!({ *kind: body }));
            count += 1;
        }
    }
    world.confirmed().await;
    world.stored("SELECT count(*) FROM inbox WHERE state IN ('received', 'claimed')", 0).await;
    assert_eq!((world.messages.calls(), world.heard(STRANGER).len(), world.heard(ANN).len()), (1, 0, 1));
    assert_eq!((world.heard(-1_000_000_000_900).len(), world.sql("SELECT count(*) FROM turns")), (0, 1));
    // Only presses are answered, as everybody's are, and the chat of the listed person is open as before.
    let after: BTreeMap<String, u64> = world.telegram.counts();
    for (method, calls) in after {
        let expected = before.get(&method).copied().unwrap_or(0);
        let free = matches!(method.as_str(), "getUpdates" | "answerCallbackQuery");
        assert!(free || calls == expected, "{method}: {calls} calls instead of {expected}");
    }
    world.ask(ANN, "#2", "answer #2").await;
    let prompts = world.messages.requests().iter().map(|request| request.body.to_string()).collect::<String>();
    assert!(!prompts.contains("#9") && !prompts.contains("👍"), "nothing of it is read by the model");
    world.finish().await;
}

#[tokio::test]
async fn t33_a_lost_answer_costs_nothing_where_the_answer_is_an_edit() {
    let world = World::start_with(&[EDIT]).await;
    world.telegram.fault(Fault::on("editMessageText", Action::ApplyThenDrop).times(3));
    world.say(ANN, "[long:40][drip:110] #1");
    world.hear(ANN, "answer #1").await;
    world.stored("SELECT count(*) FROM outbox WHERE state = 'sent'", 1).await;
    let heard = world.heard(ANN);
    assert_eq!((heard.len(), answered(&heard)), (1, each_once([1])));
    assert!(world.telegram.counts()["editMessageText"] >= 2, "tried again");
    assert_eq!(world.sql("SELECT count(*) FROM outbox WHERE maybe_duplicate"), 0);
    world.finish().await;
}

#[tokio::test]
async fn t39_of_four_strangers_at_once_three_get_a_code() {
    let mut world = World::prepare().await;
    let root = world.telegram.base_url();
    world.setup.telegram(&root, TOKEN, &[]);
    world.run().await;
    let strangers = [ANN, BOB, CAT, STRANGER];
    world.telegram.change(|state| {
        for _ in 0..3 {
            for stranger in strangers {
                state.post(Post::new(stranger, stranger, "let me in"));
            }
        }
    });
    world.confirmed().await;
    world.stored("SELECT count(*) FROM outbox WHERE state = 'sent'", 3).await;
    let replies: Vec<usize> = strangers.iter().map(|stranger| world.heard(*stranger).len()).collect();
    assert_eq!(replies, [1, 1, 1, 0]);
    let pending = world.read("/v1/pairings").await;
    assert_eq!(pending["requests"].as_array().map(Vec::len), Some(3), "{pending}");
    assert_eq!(world.messages.calls(), 0);
    world.finish().await;
}
