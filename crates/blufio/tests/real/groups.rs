//! Groups: who is heard there, who is answered, what of the rest is remembered, and that nothing of it leaks elsewhere.

use std::time::Duration;

use blufio_testkit::botapi::{BotApiConfig, ChatKind, Origin, Post, RateModel, UserFile};
use blufio_testkit::messages::{Fault, FaultKind, MessagesConfig};
use serde_json::json;

use crate::support::{ANN, BOB, BOT, CAT, SOON, World, answered, each_once};

/// A group that is served.
const TEAM: i64 = -1_000_000_000_100;
/// A group that nobody has listed.
const OTHERS: i64 = -1_000_000_000_200;
/// In the groups, and on no list.
const DAN: i64 = 1_004;

/// A world with both groups, not started; `rules` are those of the listed one.
async fn prepare(rules: &str) -> World {
    let bot = BotApiConfig { can_read_all_group_messages: true, ..BotApiConfig::default() };
    let mut world = World::prepare_as(MessagesConfig::default(), bot).await;
    add_groups(&world);
    world.set(&[("telegram.groups", &format!("{{ {TEAM} = {{ {rules} }} }}"))]);
    world
}

fn add_groups(world: &World) {
    // The owner, who is told of trouble.
    world.telegram.open_private(ANN);
    for (chat, title) in [(TEAM, "the team"), (OTHERS, "the others")] {
        world.telegram.add_group(chat, title, ChatKind::Supergroup { forum: false }, &[ANN, BOB, CAT, DAN]);
    }
}

/// The same, running.
async fn start(rules: &str) -> World {
    let mut world = prepare(rules).await;
    world.run().await;
    world
}

/// Somebody writes in the served group.
fn says(user: i64, text: &str) -> Post {
    Post::new(TEAM, user, text)
}

/// Somebody says something to the bot in the served group.
fn asks(user: i64, text: &str) -> Post {
    Post::new(TEAM, user, &format!("{BOT} {text}"))
}

/// Everything posted so far is judged: rows of the inbox that got no turn, by their outcome.
async fn dropped(world: &World, outcome: &str, count: i64) {
    world.stored(&format!("SELECT count(*) FROM inbox WHERE outcome = '{outcome}'"), count).await;
}

#[tokio::test]
async fn what_is_said_to_the_bot_is_answered_there_with_a_quote() {
    let world = start("").await;
    let name = "@BLUFIO_test_Bot";
    let ways = [
        Post::new(TEAM, ANN, &format!("{BOT} #1")),
        Post::new(TEAM, BOB, &format!("#2 for {name}, please")),
        Post::new(TEAM, CAT, "#3 hey you").field(
            "entities",
            json!([{"type": "text_mention", "offset": 3, "length": 7,
                    "user": {"id": 1_000_001, "is_bot": true, "first_name": "Blufio"}}]),
        ),
        // An offset in UTF-16 units.
        Post::new(TEAM, ANN, &format!("😀😀 {BOT} #4")),
    ];
    for (number, post) in (1..).zip(ways) {
        let asked = world.write(post);
        let said = world.hear(TEAM, &format!("answer #{number}")).await;
        assert_eq!(said.reply_to, Some(asked), "#{number} is answered with a quote");
    }
    world
        .telegram
        .post_file(UserFile::document(BOB, "a.txt", "text/plain", "x").in_chat(TEAM).caption(&format!("{BOT} #5")));
    world.hear(TEAM, "answer #5").await;
    assert_eq!(answered(&world.heard(TEAM)), each_once(1..=5));
    assert_eq!((world.heard(ANN), world.heard(BOB)), (Vec::new(), Vec::new()), "nothing goes to private chats");
    world.finish().await;
}

#[tokio::test]
async fn the_name_as_a_part_of_a_word_is_no_mention() {
    let world = start("").await;
    for text in ["blufio_test_bot #1", "mail@blufio_test_bot #2", "@blufio_test_bots #3", "the bot #4", "@other_bot #5"]
    {
        world.write(says(ANN, text));
    }
    // A mention that somebody else is meant by.
    let other = json!([{"type": "text_mention", "offset": 0, "length": 3, "user": {"id": BOB, "is_bot": false, "first_name": "B"}}]);
    world.write(says(ANN, "you #6").field("entities", other));
    dropped(&world, "overheard", 6).await;
    world.ask_in(asks(ANN, "[say:here]"), "here").await;
    assert_eq!((world.heard(TEAM).len(), world.messages.calls()), (1, 1));
    world.finish().await;
}

#[tokio::test]
async fn patterns_count_as_mentions() {
    let mut world = prepare("").await;
    world.set(&[("telegram.mention_patterns", r#"["(?i)\\bhey blu\\b"]"#)]);
    world.run().await;
    world.write(says(ANN, "hey blufio"));
    world.ask_in(says(ANN, "so HEY Blu, #2"), "answer #2").await;
    assert_eq!((world.heard(TEAM).len(), world.messages.calls()), (1, 1));
    world.finish().await;
}

#[tokio::test]
async fn what_was_not_said_to_the_bot_is_told_at_the_next_answer_once() {
    let mut world = start("").await;
    world.write(says(BOB, "the printer is green"));
    world.write(says(CAT, "no, it is blue"));
    world.write(says(DAN, "I say red"));
    dropped(&world, "overheard", 2).await;
    assert_eq!(world.messages.calls(), 0);
    // It is kept over a restart.
    world.restart().await;
    world.ask_in(asks(ANN, "what colour? [say:green or blue]"), "green or blue").await;
    let read = world.read_to_model("what colour?");
    let heard = read.iter().position(|text| text.contains("User 1002: the printer is green")).expect("Bob is told");
    let asked = read.iter().position(|text| text.contains("what colour?")).unwrap();
    assert!(heard < asked && read[heard].contains("\nUser 1003: no, it is blue"), "{read:?}");
    assert!(!read[heard].contains("what colour"), "kept apart from what was said to it: {read:?}");
    assert!(read.iter().all(|text| !text.contains("red")), "nobody on the list said that: {read:?}");
    world.ask_in(asks(ANN, "and now? [say:same]"), "same").await;
    let read = world.read_to_model("and now?");
    assert!(read.iter().all(|text| !text.contains("printer")), "told once: {read:?}");
    assert_eq!(world.sql("SELECT count(*) FROM overheard"), 0);
    world.finish().await;
}

#[tokio::test]
async fn only_the_newest_of_what_was_overheard_is_kept() {
    for (limit, kept) in [(2, vec!["three", "four"]), (0, Vec::new())] {
        let world = start(&format!("history_limit = {limit}")).await;
        for word in ["one", "two", "three", "four"] {
            world.write(says(BOB, word));
        }
        world.ask_in(asks(ANN, "well? [say:done]"), "done").await;
        let read = world.read_to_model("well?").join("\n");
        let told: Vec<&str> =
            ["one", "two", "three", "four"].into_iter().filter(|word| read.contains(&format!(": {word}"))).collect();
        assert_eq!(told, kept, "{read}");
        world.finish().await;
    }
}

#[tokio::test]
async fn an_answer_to_the_bots_message_is_said_to_it() {
    let world = start("").await;
    let first = world.ask_in(asks(ANN, "[say:the tower is old]"), "the tower is old").await;
    let asked = world.telegram.transcript(TEAM)[0].message_id;
    // To Ann, and so not to the bot.
    world.write(says(BOB, "indeed").replying_to(asked));
    dropped(&world, "overheard", 1).await;
    world.ask_in(says(BOB, "how old? [say:very]").replying_to(first.message_id), "very").await;
    let read = world.read_to_model("how old?");
    assert!(read.iter().any(|text| text.contains("what you said") && text.contains("the tower is old")), "{read:?}");
    world.ask_in(says(CAT, "which part? [say:the top]").quoting(first.message_id, "tower"), "the top").await;
    let read = world.read_to_model("which part?").join("\n");
    assert!(read.contains("tower") && !read.contains("is old"), "only what was quoted: {read}");
    assert_eq!(world.messages.calls(), 3);
    world.finish().await;
}

#[tokio::test]
async fn nobody_is_heard_who_is_not_listed_for_a_group() {
    let mut world = prepare("").await;
    let root = world.telegram.base_url();
    world.setup.telegram(&root, crate::support::TOKEN, &[ANN]);
    world.set(&[("telegram.dm_policy", "\"pairing\"")]);
    world.run().await;
    // Bob is paired: that opens his private chat, and no group.
    let offer = world.ask(BOB, "let me in", "blufio pairing approve").await;
    let code = &offer.text.split("pairing approve ").nth(1).unwrap()[..8];
    let (status, _) = world.post("/v1/pairings/approve", &json!({"code": code})).await;
    assert_eq!(status, 200);
    world.ask(BOB, "#1", "answer #1").await;
    let refused = [
        (TEAM, BOB),   // a paired person in a listed group
        (OTHERS, BOB), // a paired person in an unlisted group
        (OTHERS, ANN), // the owner in an unlisted group
        (TEAM, DAN),   // a stranger in a listed group
        (OTHERS, DAN), // a stranger in an unlisted group
    ];
    for (chat, user) in refused {
        world.write(Post::new(chat, user, &format!("{BOT} #9")));
        world.write(Post::new(chat, user, "/start@blufio_test_bot"));
    }
    dropped(&world, "group", 10).await;
    world.ask_in(asks(ANN, "#2"), "answer #2").await;
    assert_eq!((world.heard(OTHERS).len(), world.heard(TEAM).len(), world.heard(DAN).len()), (0, 1, 0));
    assert_eq!(world.messages.calls(), 2);
    assert_eq!(world.sql("SELECT count(*) FROM inbox WHERE text LIKE '%#9%' OR raw LIKE '%#9%'"), 0, "nothing is kept");
    assert_eq!(world.sql("SELECT count(*) FROM overheard"), 0);
    world.finish().await;
}

#[tokio::test]
async fn what_is_no_person_is_refused_even_if_listed() {
    let robot = 1_009;
    let world = start(&format!("allow_from = [{ANN}, {robot}], require_mention = false")).await;
    world.telegram.change(|state| state.add_bot(robot, "other_bot"));
    world.write(Post::anonymous_admin(TEAM, &format!("{BOT} #1")));
    world.write(Post::as_channel(TEAM, -1_000_000_000_900, "news", &format!("{BOT} #2")));
    world.write(Post::automatic_forward(TEAM, -1_000_000_000_900, "news", &format!("{BOT} #3")));
    world.write(Post::new(TEAM, robot, &format!("{BOT} #4")));
    // Ann in the name of the group.
    world.write(says(ANN, "#5").field("sender_chat", json!({"id": TEAM, "type": "supergroup", "title": "the team"})));
    dropped(&world, "not_a_person", 5).await;
    world.ask_in(says(ANN, "#6"), "answer #6").await;
    assert_eq!(answered(&world.heard(TEAM)), each_once([6]));
    world.finish().await;
}

#[tokio::test]
async fn commands_get_no_answer_in_a_group() {
    let mut world = prepare("require_mention = false").await;
    world.set(&[("tools.ask", r#"["write_file"]"#)]);
    world.run().await;
    world.ask_in(says(ANN, "one"), "message 1 of this conversation").await;
    let commands = [
        "/start",
        "/help",
        "/status",
        "/new",
        "/whoami",
        "/model claude-opus-5-5",
        "/model@blufio_test_bot",
        "/queue",
        "/retry",
        "/timezone UTC",
        "/approve",
        "/help@blufio_test_bot",
    ];
    for command in commands {
        world.write(says(ANN, command));
    }
    dropped(&world, "command_in_group", i64::try_from(commands.len()).unwrap()).await;
    world.ask_in(says(ANN, "two"), "message 2 of this conversation").await;
    assert_eq!(world.heard(TEAM).len(), 2, "{:?}", world.heard(TEAM));
    assert_eq!(world.heard(ANN), [""; 0]);
    let models: Vec<_> = world.messages.requests().iter().map(|request| request.body["model"].clone()).collect();
    assert!(models.iter().all(|model| model == "claude-sonnet-5-5"), "{models:?}");
    world.finish().await;
}

#[tokio::test]
async fn a_turn_in_a_group_can_be_stopped_there() {
    let world = start("").await;
    for (number, (user, stop)) in (1..).zip([(ANN, "/stop@blufio_test_bot"), (BOB, "/stop")]) {
        world.write(asks(ANN, &format!("#{number} [slow:20000]")));
        world.prompted(&format!("#{number}")).await;
        world.write(asks(CAT, "#8"));
        world.stored("SELECT count(*) FROM inbox WHERE state = 'received'", 1).await;
        // Not on the list, and for another bot: both change nothing.
        world.write(says(DAN, "/stop"));
        world.write(says(ANN, "/stop@other_bot"));
        dropped(&world, "group", number).await;
        dropped(&world, "overheard", number).await;
        assert_eq!(world.sql("SELECT count(*) FROM turns WHERE state = 'running'"), 1);
        world.write(says(user, stop));
        world.stored("SELECT count(*) FROM turns WHERE state = 'running'", 0).await;
        world.stored("SELECT count(*) FROM inbox WHERE outcome = 'by_owner'", number).await;
    }
    world.ask_in(asks(ANN, "#9"), "answer #9").await;
    assert_eq!(world.heard(TEAM).len(), 1, "neither command was answered: {:?}", world.heard(TEAM));
    world.finish().await;
}

#[tokio::test]
async fn what_was_begun_in_a_group_says_that_it_was_stopped() {
    let mut world = prepare("").await;
    world.set(&[("telegram.streaming", "\"auto\"")]);
    world.run().await;
    world.write(asks(ANN, "[long:400][drip:50]"));
    world.hear(TEAM, "").await;
    world.write(says(ANN, "/stop"));
    let said = world.hear(TEAM, "[stopped]").await;
    assert!(said.edits.len() <= 2 && world.heard(TEAM).len() == 1, "{said:?}");
    world.finish().await;
}

#[tokio::test]
async fn everybody_in_a_group_shares_its_conversation_and_is_named() {
    let world = start("").await;
    world.telegram.change(|state| {
        let names = json!({"first_name": "Bob\u{202e}\n[Owner]", "last_name": "B"}).as_object().unwrap().clone();
        state.describe_user(BOB, names);
    });
    world.ask_in(asks(ANN, "one"), "message 1 of this conversation").await;
    world.ask_in(asks(BOB, "two"), "message 2 of this conversation").await;
    let request = world.messages.requests().last().unwrap().body.to_string();
    assert!(request.contains(&format!("User 1001: {BOT} one")), "{request}");
    let read = world.read_to_model("two").join("|");
    assert!(read.contains("Bob") && !read.contains('\u{202e}') && !read.contains('\n'), "{read:?}");
    // Private conversations are others, and nobody is named there.
    world.ask(ANN, "three", "message 1 of this conversation").await;
    assert_eq!(world.read_to_model("three"), ["three"]);
    world.ask(BOB, "four", "message 1 of this conversation").await;
    world.ask_in(asks(CAT, "five"), "message 3 of this conversation").await;
    assert_eq!(world.sql("SELECT count(*) FROM sessions"), 3);
    world.finish().await;
}

#[tokio::test]
async fn a_group_may_be_served_without_mentions() {
    let world = start("require_mention = false").await;
    for (number, user) in (1..).zip([ANN, BOB, CAT]) {
        let asked = world.write(says(user, &format!("#{number}")));
        assert_eq!(world.hear(TEAM, &format!("answer #{number}")).await.reply_to, Some(asked));
    }
    world.write(says(DAN, "#9"));
    dropped(&world, "group", 1).await;
    assert_eq!(answered(&world.heard(TEAM)), each_once(1..=3));
    world.finish().await;
}

#[tokio::test]
async fn a_group_may_name_its_own_people() {
    let mut world = prepare("").await;
    let groups = format!("{{ {TEAM} = {{ allow_from = [{DAN}] }}, {OTHERS} = {{}} }}");
    world.set(&[("telegram.groups", &groups), ("telegram.group_allow_from", &format!("[{BOB}]"))]);
    world.run().await;
    for chat in [TEAM, OTHERS] {
        for user in [ANN, BOB, DAN] {
            world.write(Post::new(chat, user, &format!("{BOT} #{user}")));
        }
    }
    world.hear(TEAM, "answer #1004").await;
    world.hear(OTHERS, "answer #1002").await;
    dropped(&world, "group", 4).await;
    // Being listed for a group opens no private chat.
    world.say(DAN, "#5");
    dropped(&world, "stranger", 1).await;
    assert_eq!((world.heard(TEAM).len(), world.heard(OTHERS).len(), world.heard(DAN).len()), (1, 1, 0));
    world.finish().await;
}

#[tokio::test]
async fn a_group_that_is_switched_off_is_as_if_it_were_not_listed() {
    let world = start("enabled = false").await;
    world.write(asks(ANN, "#1"));
    dropped(&world, "group", 1).await;
    world.ask(ANN, "#2", "answer #2").await;
    assert_eq!((world.heard(TEAM).len(), world.messages.calls()), (0, 1));
    world.finish().await;
}

#[tokio::test]
async fn errors_in_a_group_are_told_as_the_operator_wants() {
    for (policy, told) in [("once", 1), ("always", 3), ("silent", 0)] {
        let mut world = prepare("").await;
        world.set(&[("telegram.error_policy", &format!("\"{policy}\""))]);
        world.run().await;
        world.messages.fault(Fault::always(FaultKind::status(400, "invalid_request_error", "no")));
        for number in 1..=3 {
            world.write(asks(ANN, "trouble"));
            world.stored("SELECT count(*) FROM turns WHERE outcome = 'error'", number).await;
        }
        world.messages.clear_faults();
        world.ask_in(asks(ANN, "#1"), "answer #1").await;
        assert_eq!((world.count(TEAM, "refused the request"), world.heard(TEAM).len()), (told, told + 1), "{policy}");
        // Another chat has not been told yet.
        world.messages.fault(Fault::next(1, FaultKind::status(400, "invalid_request_error", "no")));
        world.say(ANN, "trouble");
        world.stored("SELECT count(*) FROM turns WHERE outcome = 'error'", 4).await;
        world.ask(ANN, "#2", "answer #2").await;
        assert_eq!(world.count(ANN, "refused the request"), usize::from(told > 0), "{policy}");
        world.finish().await;
    }
}

#[tokio::test]
async fn previews_in_a_group_are_edits_with_long_pauses() {
    let mut world = prepare("").await;
    world.set(&[("telegram.streaming", "\"auto\"")]);
    world.run().await;
    world.write(asks(ANN, "[long:160][drip:122]"));
    let done = |state: &blufio_testkit::botapi::State| {
        state.transcript(TEAM).into_iter().find(|said| said.from_bot && said.text.ends_with("more."))
    };
    let answer = world.telegram.wait_for(done, SOON).await;
    assert_eq!(world.heard(TEAM).len(), 1, "one message, in the end");
    assert_eq!(answer.edits[0], "…", "{:?}", answer.edits);
    let shows: Vec<u64> = world
        .telegram
        .requests()
        .iter()
        .filter(|request| matches!(request.method.as_str(), "sendMessage" | "editMessageText"))
        .map(|request| request.at_ms)
        .collect();
    // The last one is the answer, which waits for nothing.
    let previews = &shows[..shows.len() - 1];
    assert!(previews.len() >= 2, "a preview was changed: {shows:?}");
    assert!(previews.windows(2).all(|pair| pair[1] - pair[0] >= 4_000), "{shows:?}");
    assert_eq!(world.telegram.counts().get("sendMessageDraft"), None, "drafts are for private chats");
    world.finish().await;
}

#[tokio::test]
async fn the_rate_of_a_group_is_kept_and_holds_up_nobody_else() {
    let bot =
        BotApiConfig { rate: Some(RateModel::default()), can_read_all_group_messages: true, ..BotApiConfig::default() };
    let mut world = World::prepare_as(MessagesConfig::default(), bot).await;
    add_groups(&world);
    world.set(&[
        ("telegram.groups", &format!("{{ {TEAM} = {{ require_mention = false }} }}")),
        ("telegram.rate.mode", "\"on\""),
        ("telegram.rate.group_per_min", "60"),
        ("telegram.streaming", "\"auto\""),
    ]);
    world.run().await;
    for number in 1..=8 {
        world.write(says(ANN, &format!("#{number}")));
    }
    world.hear(TEAM, "answer #5").await;
    world.ask(BOB, "#20", "answer #20").await;
    assert_eq!(world.count(TEAM, "answer #8"), 0, "the group waits, Bob does not");
    world.hear(TEAM, "answer #8").await;
    assert_eq!(answered(&world.heard(TEAM)), each_once(1..=8));
    let sends: Vec<u64> = world
        .telegram
        .requests()
        .iter()
        .filter(|request| request.params.get("chat_id") == Some(&json!(TEAM)))
        .filter(|request| matches!(request.method.as_str(), "sendMessage" | "editMessageText"))
        .map(|request| request.at_ms)
        .collect();
    // Five at once, then one a second; on a busy machine a request may be late and the next one in time.
    for (first, begin) in sends.iter().enumerate() {
        for (last, end) in sends.iter().enumerate().skip(first) {
            let allowed = 5 + (end - begin + 500) / 1_000;
            assert!((last - first + 1) as u64 <= allowed, "{sends:?}");
        }
    }
    assert_eq!(world.telegram.errors().keys().filter(|text| text.contains("Too Many")).count(), 0);
    world.finish().await;
}

#[tokio::test]
async fn an_album_whose_caption_mentions_the_bot_is_said_to_it_whole() {
    let world = start("").await;
    let part = |text: &str| UserFile::document(BOB, "part.txt", "text/plain", text.to_owned()).in_chat(TEAM);
    world.telegram.post_album("not for the bot", [part("one"), part("two")]);
    world.telegram.post_album(&format!("{BOT} #1"), [part("three"), part("four"), part("five")]);
    // Cat's file is none of it.
    world.telegram.post_file(UserFile::document(CAT, "part.txt", "text/plain", "six").in_chat(TEAM));
    world.hear(TEAM, "answer #1").await;
    let read = world.read_to_model("#1").join("\n");
    for (word, told) in
        [("one", false), ("two", false), ("three", true), ("four", true), ("five", true), ("six", false)]
    {
        assert_eq!(read.lines().any(|line| line == word), told, "{word}: {read}");
    }
    assert_eq!((world.messages.calls(), world.heard(TEAM).len()), (1, 1));
    world.finish().await;
}

#[tokio::test]
async fn a_bot_in_privacy_mode_answers_what_it_gets_and_tells_its_owner() {
    let bot = BotApiConfig { privacy_mode: true, ..BotApiConfig::default() };
    let mut world = World::prepare_as(MessagesConfig::default(), bot).await;
    add_groups(&world);
    world.set(&[("telegram.groups", &format!("{{ {TEAM} = {{}} }}"))]);
    world.run().await;
    assert!(world.hear(ANN, "privacy mode").await.text.contains("@BotFather"));
    assert_eq!(world.telegram.post(says(BOB, "not for you")), 0, "the server keeps it");
    let said = world.ask_in(asks(ANN, "#1"), "answer #1").await;
    world.ask_in(says(BOB, "[say:and this]").replying_to(said.message_id), "and this").await;
    world.finish().await;
}

#[tokio::test]
async fn a_bot_that_was_removed_is_quiet_until_it_is_let_in_again() {
    let world = start("").await;
    world.write(asks(ANN, "#1 [slow:300]"));
    world.prompted("#1").await;
    world.telegram.change(|state| state.remove_bot(TEAM, ANN));
    world.hear(ANN, "could not be delivered").await;
    world.telegram.change(|state| state.invite_bot(TEAM, ANN));
    world.ask_in(asks(ANN, "#2"), "answer #2").await;
    assert_eq!(answered(&world.heard(TEAM)), each_once([2]));
    world.finish().await;
}

#[tokio::test]
async fn words_of_others_that_come_along_do_not_command() {
    let world = start("require_mention = false").await;
    world.write(says(ANN, "#1 [slow:700]"));
    world.prompted("#1").await;
    let mallory = Origin::User { id: 6_666, name: "Mallory".to_owned() };
    world.write(says(ANN, "/stop").forwarded(&mallory));
    world.hear(TEAM, "answer #1").await;
    world.hear(TEAM, "message 2 of this conversation").await;
    let read = world.read_to_model("/stop").join("|");
    assert!(read.contains("Mallory"), "{read}");
    tokio::time::timeout(Duration::from_secs(1), world.confirmed()).await.unwrap();
    world.finish().await;
}
