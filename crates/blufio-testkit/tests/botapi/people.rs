//! What people do in private chats and groups, and what of it reaches the bot.

use blufio_testkit::botapi::{ANONYMOUS_ADMIN, BotApiConfig, ChatKind, FakeBotApi, Origin, Post};
use serde_json::{Map, Value, json};

use super::{Client, bad, ids, server, start};

const FORUM: ChatKind = ChatKind::Supergroup { forum: true };
const SUPERGROUP: ChatKind = ChatKind::Supergroup { forum: false };

/// Everything that waits, confirmed.
async fn updates(client: &mut Client) -> Vec<Value> {
    let all = client.ok(
        "getUpdates",
        json!({"allowed_updates": ["message", "edited_message", "callback_query",
        "message_reaction", "my_chat_member"]}),
    );
    let all = all.await;
    let next = ids(&all).last().map_or(0, |last| last + 1);
    client.ok("getUpdates", json!({"offset": next})).await;
    all.as_array().expect("a list").clone()
}

/// The Message objects of everything that waits.
async fn messages(client: &mut Client) -> Vec<Value> {
    updates(client).await.into_iter().map(|mut update| update["message"].take()).collect()
}

#[tokio::test]
async fn every_content_is_a_legal_object() {
    let server = server().await;
    server.add_group(-100, "Team", SUPERGROUP, &[7]);
    let origins = [
        Origin::User { id: 8, name: "Ann".to_owned() },
        Origin::HiddenUser("Ann".to_owned()),
        Origin::Chat { id: -8, title: "Team".to_owned() },
        Origin::Channel { id: -9, title: "News".to_owned(), message_id: 3 },
    ];
    let contents = [
        ("sticker", Post::sticker(7, 7, "😀")),
        ("location", Post::location(7, 7, 52.5, 13.4)),
        ("venue", Post::venue(7, 7, "Café", "Road 1")),
        ("contact", Post::contact(7, 7, "Ann", "+49")),
        ("poll", Post::poll(7, 7, "When?", &["now", "later"])),
        ("dice", Post::dice(7, 7, "🎲", 4)),
        ("video", Post::video(7, 7, 12).saying("see @x")),
        ("animation", Post::animation(7, 7, 2)),
        ("video_note", Post::video_note(7, 7, 9)),
        ("story", Post::story(7, 7, 8)),
        ("rich_message", Post::rich_message(7, 7, "text")),
        ("via_bot", Post::new(7, 7, "gif").via_bot(55, "gif")),
        ("new_chat_members", Post::joined(-100, 8)),
        ("sender_chat", Post::as_channel(-100, -9, "News", "hi")),
        ("sender_chat", Post::anonymous_admin(-100, "hi")),
        ("is_automatic_forward", Post::automatic_forward(-100, -9, "News", "hi")),
    ];
    let forwards = origins.iter().map(|origin| ("forward_origin", Post::new(7, 7, "x").forwarded(origin)));
    let posts: Vec<(&str, Post)> = contents.into_iter().chain(forwards).collect();
    for (_, post) in &posts {
        assert_ne!(server.post(post.clone()), 0);
    }
    let mut client = Client::connect(&server).await;
    let messages = messages(&mut client).await;
    assert_eq!(messages.len(), posts.len());
    for (message, (field, _)) in messages.iter().zip(&posts) {
        assert!(!message[field].is_null(), "{field}: {message}");
    }
    assert_eq!((&messages[6]["caption"], &messages[6]["text"]), (&json!("see @x"), &Value::Null));
    assert_eq!(messages[6]["caption_entities"][0]["type"], "mention");
    let anonymous = &messages[14];
    assert_eq!((&anonymous["from"]["id"], &anonymous["sender_chat"]["id"]), (&json!(ANONYMOUS_ADMIN), &json!(-100)));
}

#[tokio::test]
async fn a_reply_brings_the_whole_message_and_its_quote() {
    let server = server().await;
    let mut client = Client::connect(&server).await;
    server.post(Post::new(7, 7, "😀 one two").forwarded(&Origin::HiddenUser("Ann".to_owned())));
    server.post(Post::new(7, 7, "two?").quoting(1, "two"));
    server.post(Post::new(7, 7, "three").replying_to(2));
    let messages = messages(&mut client).await;
    let replied = &messages[1]["reply_to_message"];
    assert_eq!(
        (&replied["text"], &replied["forward_origin"]["sender_user_name"]),
        (&json!("😀 one two"), &json!("Ann"))
    );
    assert_eq!(messages[1]["quote"], json!({"text": "two", "position": 7, "is_manual": true}));
    let replied = &messages[2]["reply_to_message"];
    assert_eq!((&replied["text"], &replied["reply_to_message"]), (&json!("two?"), &Value::Null), "one level deep");
}

#[tokio::test]
async fn topics_are_named_and_general_is_not() {
    let server = start(BotApiConfig { private_topics: true, throttle: false, ..BotApiConfig::default() }).await;
    let mut client = Client::connect(&server).await;
    server.add_group(-100, "Forum", FORUM, &[7]);
    server.add_group(-200, "Talk", SUPERGROUP, &[7]);
    let thread = server.change(|state| state.create_topic(-100, 7, "Plans")).expect("the forum exists");
    for post in [
        Post::new(-100, 7, "in it").in_topic(thread),
        Post::new(-100, 7, "general").in_topic(1),
        Post::new(7, 7, "private").in_topic(9),
        Post::new(-200, 7, "root"),
        Post::new(-200, 7, "first").replying_to(1),
        Post::new(-200, 7, "second").replying_to(2),
    ] {
        server.post(post);
    }
    let seen: Vec<_> = messages(&mut client)
        .await
        .iter()
        .map(|message| {
            let root = !message["reply_to_message"]["forum_topic_created"].is_null();
            (message["message_thread_id"].as_i64(), message["is_topic_message"] == true, root)
        })
        .collect();
    let expected = [
        (Some(thread), true, false),
        (Some(thread), true, true),
        (None, false, false),
        (Some(9), true, false),
        (None, false, false),
        (Some(1), false, false),
        (Some(1), false, false),
    ];
    assert_eq!(seen, expected);
    assert_eq!(client.ok("getMe", json!({})).await["has_topics_enabled"], true);

    let send = |chat: i64, thread: i64| json!({"chat_id": chat, "text": "x", "message_thread_id": thread});
    client.ok("sendMessage", send(7, 9)).await;
    client.ok("sendMessage", send(-100, thread)).await;
    server.change(|state| state.close_topic(-100, thread, true));
    assert_eq!(client.error("sendMessage", send(-100, thread)).await, bad("TOPIC_CLOSED"));
    server.change(|state| state.delete_topic(-100, thread));
    assert_eq!(client.error("sendMessage", send(-100, thread)).await, bad("message thread not found"));
    assert_eq!(client.error("sendMessage", send(-200, 1)).await, bad("message thread not found"));
    assert_eq!(server.violations(), [""; 0]);
}

#[tokio::test]
async fn privacy_mode_hides_what_is_not_meant_for_the_bot() {
    let server = start(BotApiConfig { privacy_mode: true, throttle: false, ..BotApiConfig::default() }).await;
    let mut client = Client::connect(&server).await;
    server.add_group(-100, "Team", SUPERGROUP, &[7]);
    server.change(|state| state.add_bot(99, "other_bot"));
    assert_eq!(client.ok("getMe", json!({})).await["can_read_all_group_messages"], false);
    assert_ne!(server.send_text(7, "in private everything"), 0);
    let reaches = |post: Post| server.post(post) != 0;
    let text = |text: &str| Post::new(-100, 7, text);
    client.ok("sendMessage", json!({"chat_id": -100, "text": "mine"})).await;
    let mine = server.transcript(-100)[0].message_id;
    let by_name = json!([{"type": "text_mention", "offset": 0, "length": 2,
        "user": {"id": 1_000_001, "is_bot": true, "first_name": "Blufio"}}]);
    for (post, expected) in [
        (text("hello"), false),
        (text("hi @Blufio_Test_Bot!"), true),
        (text("hi @blufio_test_bots"), false),
        (text("me").field("entities", by_name), true),
        (text("/stop"), true),
        (text("/stop@blufio_test_bot"), true),
        (text("/stop@other_bot"), false),
        (text("yes").replying_to(mine), true),
        (text("yes").replying_to(mine + 1), false),
        (text("yes").replying_to(mine + 2), true),
        (Post::joined(-100, 8), true),
        (text("inline").via_bot(1_000_001, "blufio_test_bot"), true),
        (Post::new(-100, 99, "@blufio_test_bot"), false),
        (text("/stop"), false),
        (Post::anonymous_admin(-100, "@blufio_test_bot"), true),
    ] {
        assert_eq!(reaches(post.clone()), expected, "{post:?}");
    }
    messages(&mut client).await;
    assert_eq!(server.react(-100, mine, 7, "👍"), None);
    assert_eq!(server.change(|state| state.edit_post(-100, mine + 1, "hello!")), None);
    server.change(|state| state.set_privacy_mode(false));
    assert!(reaches(text("hello")) && server.react(-100, mine, 7, "👍").is_some());
}

#[tokio::test]
async fn presses_and_reactions_are_remembered() {
    let server = server().await;
    let mut client = Client::connect(&server).await;
    server.send_text(7, "hi");
    updates(&mut client).await;
    let keyboard = |data: &str| json!({"inline_keyboard": [[{"text": "ok", "callback_data": data}]]});
    let send = json!({"chat_id": 7, "text": "?", "reply_markup": keyboard("a"), "disable_notification": true});
    let id = client.ok("sendMessage", send).await["message_id"].as_i64().expect("an id");
    let edit = |data: &str| json!({"chat_id": 7, "message_id": id, "reply_markup": keyboard(data)});
    client.ok("editMessageReplyMarkup", edit("b")).await;
    let (code, text) = client.error("editMessageReplyMarkup", edit("b")).await;
    assert!(code == 400 && text.starts_with("Bad Request: message is not modified: "), "{text}");
    assert_eq!(server.transcript(7)[1].buttons, [[("ok".to_owned(), "b".to_owned())]]);
    client.ok("editMessageReplyMarkup", json!({"chat_id": 7, "message_id": id})).await;
    assert!(server.transcript(7)[1].buttons.is_empty());

    server.press(7, id, 7, "b").expect("presses are wanted");
    server.change(|state| state.press_inaccessible(7, 999, 7, "c")).expect("presses are wanted");
    let queries = updates(&mut client).await;
    assert_eq!(queries[1]["callback_query"]["message"]["date"], 0);
    let answer = |at: usize| json!({"callback_query_id": queries[at]["callback_query"]["id"], "text": "done"});
    client.ok("answerCallbackQuery", answer(0)).await;
    let answers = server.read(|state| state.callback_answers());
    assert_eq!((answers.len(), answers[0].user, &*answers[0].data, &*answers[0].text), (1, 7, "b", "done"));
    assert_eq!(server.read(|state| state.unanswered_callbacks().len()), 1);
    server.change(|state| state.expire_callbacks());
    assert!(client.error("answerCallbackQuery", answer(1)).await.1.contains("query is too old"));

    for emoji in ["👍", "👎", ""] {
        server.react(7, id, 7, emoji).expect("reactions are wanted");
    }
    let list = |emoji: &str| json!([{"type": "emoji", "emoji": emoji}]);
    let changes: Vec<_> = updates(&mut client)
        .await
        .iter()
        .map(|update| {
            (update["message_reaction"]["old_reaction"].clone(), update["message_reaction"]["new_reaction"].clone())
        })
        .collect();
    assert_eq!(changes, [(json!([]), list("👍")), (list("👍"), list("👎")), (list("👎"), json!([]))]);
    client.ok("setMessageReaction", json!({"chat_id": 7, "message_id": 1, "reaction": list("👀")})).await;
    client.ok("setMessageReaction", json!({"chat_id": 7, "message_id": 1, "reaction": []})).await;
    let emoji: Vec<_> = server.read(|state| state.reactions(7)).into_iter().map(|reaction| reaction.emoji).collect();
    assert_eq!(emoji, [vec!["👀".to_owned()], Vec::new()]);

    let loud = client.ok("sendMessage", json!({"chat_id": 7, "text": "loud"})).await["message_id"].clone();
    client.ok("deleteMessage", json!({"chat_id": 7, "message_id": loud})).await;
    let heard: Vec<_> = server.read(|state| state.notifications(7)).into_iter().map(|sound| sound.text).collect();
    assert_eq!(heard, ["loud"], "deleted since, but heard; the silent one was not");
}

#[tokio::test]
async fn the_bot_comes_and_goes() {
    let server = server().await;
    let mut client = Client::connect(&server).await;
    server.add_group(-100, "Team", SUPERGROUP, &[7]);
    server.open_private(7);
    let text = |chat: i64| json!({"chat_id": chat, "text": "x"});
    let forbidden = |text: &str| (403, format!("Forbidden: {text}"));
    server.change(|state| state.invite_bot(-100, 7));
    server.set_blocked(-100, true);
    assert_eq!(client.error("sendMessage", text(-100)).await, forbidden("bot was kicked from the supergroup chat"));
    server.change(|state| state.invite_bot(-100, 7));
    client.ok("sendMessage", text(-100)).await;
    server.change(|state| state.remove_bot(-100, 7));
    assert_eq!(client.error("sendMessage", text(-100)).await, forbidden("bot is not a member of the supergroup chat"));
    server.change(|state| state.deactivate_user(7));
    assert_eq!(client.error("sendMessage", text(7)).await, forbidden("user is deactivated"));
    let statuses: Vec<_> = updates(&mut client)
        .await
        .iter()
        .map(|update| update["my_chat_member"]["new_chat_member"]["status"].as_str().unwrap_or("message").to_owned())
        .collect();
    assert_eq!(statuses, ["member", "message", "kicked", "member", "message", "left"]);
}

#[tokio::test]
async fn odd_numbers_names_orders_and_kinds_can_be_made() {
    let server = server().await;
    let mut client = Client::connect(&server).await;
    let user = (1_i64 << 52) + 1;
    let name = "\u{202e}evil\u{e0041}";
    server.change(|state| {
        state.describe_user(user, Map::from_iter([("first_name".to_owned(), json!(name))]));
        state.set_next_message_id(user, (1 << 31) - 1);
    });
    server.reset_ids(2_147_483_000);
    for text in ["one", "two", "three", "four"] {
        server.send_text(user, text);
    }
    server.reorder_next(3);
    let mixed = client.ok("getUpdates", json!({})).await;
    let (mut sorted, mixed_ids) = (ids(&mixed), ids(&mixed));
    sorted.sort_unstable();
    assert_ne!(sorted, mixed_ids);
    let all = client.ok("getUpdates", json!({})).await;
    assert_eq!((ids(&all), sorted[0]), (sorted.clone(), 2_147_483_000), "once");
    assert_eq!(
        (&all[0]["message"]["from"]["id"], &all[0]["message"]["from"]["first_name"]),
        (&json!(user), &json!(name))
    );
    assert_eq!(all[0]["message"]["message_id"], (1_i64 << 31) - 1);

    server.push_update(&json!({"brand_new_kind": {"x": 1}}));
    server
        .push_update(&json!({"message": {"message_id": 1, "date": 1, "chat": {"id": 7, "type": "private"}, "new": 1}}));
    let next = json!({"offset": sorted[3] + 1});
    let odd = client.call("getUpdates", next).await;
    assert_eq!((&odd["result"][0]["brand_new_kind"]["x"], &odd["result"][1]["message"]["new"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn a_flood_names_the_time_that_is_left_and_counts_who_does_not_wait() {
    let server: FakeBotApi = server().await;
    let mut client = Client::connect(&server).await;
    server.open_private(7);
    server.open_private(8);
    server.change(|state| state.flood(Some(7), 3_600));
    let text = |chat: i64| json!({"chat_id": chat, "text": "x"});
    let answer = client.call("sendMessage", text(7)).await;
    assert_eq!((&answer["error_code"], &answer["parameters"]["retry_after"]), (&json!(429), &json!(3_600)));
    assert_eq!(server.read(|state| state.early_sends()), 0);
    assert_eq!(client.error("sendMessage", text(7)).await.0, 429);
    assert_eq!(server.read(|state| state.early_sends()), 1);
    client.ok("sendMessage", text(8)).await;
    server.change(|state| state.flood(None, 60));
    assert_eq!(client.error("sendMessage", text(8)).await.0, 429);
    server.change(|state| state.flood(None, 0));
    client.ok("sendMessage", text(8)).await;
    server.change(|state| state.set_commands_max(1));
    let commands = json!({"commands": [{"command": "a", "description": "x"}, {"command": "b", "description": "x"}]});
    assert_eq!(client.error("setMyCommands", commands).await, bad("BOT_COMMANDS_TOO_MUCH"));
}
