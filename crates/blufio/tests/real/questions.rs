//! Questions to an owner before a tool runs: what they show, whose answer counts, how often it counts, and what is left of a
//! question in the chat when it is over.

use std::time::Instant;

use blufio_core::approval::buttons;
use blufio_core::ids::ApprovalId;
use blufio_testkit::botapi::{Action, ChatKind, Fault as BotFault, Post, VisibleMessage};
use blufio_testkit::messages::Script;
use serde_json::json;

use crate::support::{ANN, BOB, BOT, CAT, SOON, World};

/// A group that is served.
const TEAM: i64 = -1_000_000_000_100;
/// On no list.
const STRANGER: i64 = 1_009;
/// A call that has to be asked for.
const WRITE: &str = r#"[tool:write_file {"path":"a.txt","content":"written"}]"#;

const FULL: &str = "too many questions are open or were asked this hour";

pub const ALLOWED: &str = "Allowed.";
pub const DENIED: &str = "Denied.";
pub const OVER: &str = "Already decided, or no longer open.";
pub const NOT_YOURS: &str = "This button is not for you.";
/// How long a button may seem to hang.
const PRESS_ANSWERED_MS: u64 = 5_000;
const OPEN: &str = "SELECT count(*) FROM approvals WHERE state = 'pending'";

/// A question as it was asked in a chat.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    pub message: i64,
    pub text: String,
    pub id: String,
    pub allow: String,
    /// Only where the same call may be allowed for ever.
    pub always: Option<String>,
    pub deny: String,
}

async fn prepare() -> World {
    let mut world = World::prepare().await;
    world.set(&[("tools.ask", r#"["write_file", "edit_file"]"#)]);
    world
}

async fn start() -> World {
    let mut world = prepare().await;
    world.run().await;
    world
}

/// Everything that a test of questions demands at its end: nobody's press was left without an answer.
pub async fn finish(world: World) {
    world.telegram.wait_for(|state| state.unanswered_callbacks().is_empty().then_some(()), SOON).await;
    for answer in world.telegram.read(|state| state.callback_answers()) {
        assert!(answer.after_ms <= PRESS_ANSWERED_MS, "a button seemed to hang: {answer:?}");
    }
    world.finish().await;
}

/// Waits for so many questions in the owner's chat, the newest of which can be answered; gives those that have buttons, oldest
/// first.
pub async fn questions(world: &World, count: usize) -> Vec<Question> {
    let begins = |said: &VisibleMessage| said.from_bot && said.text.starts_with("May I run");
    // A long question has its buttons below its last message, which does not begin like this.
    let ends = |said: &VisibleMessage| said.from_bot && said.text.contains("/approve") && !said.buttons.is_empty();
    let asked = |state: &blufio_testkit::botapi::State| {
        let said: Vec<VisibleMessage> =
            state.transcript(ANN).into_iter().filter(|said| begins(said) || ends(said)).collect();
        let begun = said.iter().filter(|said| begins(said)).count();
        (begun >= count && said.last().is_some_and(|last| !begins(last) || last.text.contains("/approve")))
            .then_some(said)
    };
    let said = world.telegram.wait_for(asked, SOON).await;
    // Until its number is stored, a press of its button counts for nothing.
    world.stored("SELECT count(*) FROM approvals WHERE state = 'pending' AND message_id IS NULL", 0).await;
    said.into_iter().filter(|said| !said.buttons.is_empty()).map(read).collect()
}

pub async fn question(world: &World) -> Question {
    questions(world, 1).await.pop().expect("the question has buttons")
}

/// The question in a message, which has the buttons of one and the same question, and names the same answers.
fn read(said: VisibleMessage) -> Question {
    let [row] = said.buttons.as_slice() else { panic!("one row of buttons: {said:?}") };
    let id = row[0].1.split(':').nth(1).expect("an id").to_owned();
    let grantable = row.len() == 3;
    let expected: Vec<(String, String)> = buttons(&ApprovalId::new(id.as_str()), grantable)
        .into_iter()
        .map(|button| (button.label, button.data))
        .collect();
    assert_eq!(*row, expected);
    assert!(said.text.contains(&format!("/approve {id} ok")), "{}", said.text);
    assert_eq!(said.text.contains(&format!("/approve {id} al")), grantable, "{}", said.text);
    assert!(!said.silent, "a question makes a sound");
    let data = |verb: &str| format!("b1:{id}:{verb}");
    let always = grantable.then(|| data("al"));
    Question { message: said.message_id, text: said.text, allow: data("ok"), always, deny: data("no"), id }
}

/// Somebody presses a button; gives what they are shown.
pub async fn press(world: &World, chat: i64, message: i64, user: i64, data: &str) -> String {
    let update = world.telegram.press(chat, message, user, data).expect("the bot gets presses");
    shown(world, update).await
}

/// What was shown after a press.
async fn shown(world: &World, update: i64) -> String {
    let id = format!("callback-{update}");
    let answer = |state: &blufio_testkit::botapi::State| {
        state.callback_answers().into_iter().find(|answer| answer.id == id).map(|answer| answer.text)
    };
    world.telegram.wait_for(answer, SOON).await
}

/// Waits until a message has lost its buttons and ends in a line with `words`.
pub async fn over(world: &World, message: i64, words: &str) -> VisibleMessage {
    let ended = |state: &blufio_testkit::botapi::State| {
        let said = state.transcript(ANN).into_iter().find(|said| said.message_id == message)?;
        let last = said.text.lines().last().unwrap_or_default();
        (said.buttons.is_empty() && last.contains(words)).then_some(said)
    };
    let said = world.telegram.try_wait_for(ended, SOON).await;
    said.unwrap_or_else(|| panic!("the question has not ended in {words:?}: {:?}", world.telegram.transcript(ANN)))
}

fn written(world: &World) -> Option<String> {
    std::fs::read_to_string(world.workspace().join("a.txt")).ok()
}

/// So many calls that have to be asked for.
fn writes(count: u8) -> String {
    (1..=count).map(|n| format!(r#"[tool:write_file {{"path":"{n}.txt","content":"{n}"}}]"#)).collect()
}

#[tokio::test]
async fn the_exact_arguments_are_shown_and_a_yes_runs_the_call_once() {
    let world = start().await;
    let call = r#"[tool:write_file {"path":"a.txt","content":"safe\u202etxt.\u200bexe\u0007 ``` **ok**"}]"#;
    world.say(ANN, &format!("{call} #1"));
    let question = question(&world).await;
    assert!(question.text.contains("write_file") && question.text.contains(r#""path": "a.txt""#), "{}", question.text);
    // A control character is an escape of JSON already; what JSON leaves as it is, is made visible.
    assert!(question.text.contains(r#"safe\u{202e}txt.\u{200b}exe\u0007 ``` **ok**"#), "{}", question.text);
    assert_eq!((written(&world), world.sql("SELECT sum(starts) FROM tool_runs")), (None, 0), "not run before the yes");
    assert_eq!(world.count(ANN, "answer #1"), 0);

    assert_eq!(press(&world, ANN, question.message, ANN, &question.allow).await, ALLOWED);
    let said = world.hear(ANN, "answer #1").await;
    assert!(said.text.contains("The tool write_file said"), "{}", said.text);
    assert_eq!(written(&world).as_deref(), Some("safe\u{202e}txt.\u{200b}exe\u{7} ``` **ok**"));
    assert_eq!(world.sql("SELECT sum(starts) FROM tool_runs"), 1);
    let ended = over(&world, question.message, "Allowed by owner 1001 at 20").await;
    assert!(ended.text.contains(r#"safe\u{202e}txt"#), "what was asked stays to be read: {}", ended.text);
    assert_eq!(ended.edits.len(), 1, "changed once");
    finish(world).await;
}

#[tokio::test]
async fn a_no_is_told_to_the_model() {
    let world = start().await;
    world.say(ANN, &format!("{WRITE} #1"));
    let question = question(&world).await;
    assert_eq!(press(&world, ANN, question.message, ANN, &question.deny).await, DENIED);
    let said = world.hear(ANN, "answer #1").await;
    assert!(said.text.contains("not run: the owner said no"), "{}", said.text);
    over(&world, question.message, "Denied by owner 1001 at 20").await;
    assert_eq!((written(&world), world.sql("SELECT sum(starts) FROM tool_runs")), (None, 0));
    // Only what is on the list is asked for.
    world.ask(ANN, "[tool:list_files {}] #2", "answer #2").await;
    finish(world).await;
}

#[tokio::test]
async fn a_second_press_and_a_repeated_update_decide_nothing() {
    let world = start().await;
    world.say(ANN, &format!("{WRITE} #1"));
    let question = question(&world).await;
    // As a hasty thumb does it: in one batch, yes and then no.
    let (first, second) = world.telegram.change(|state| {
        let mut press = |data: &str| state.press(ANN, question.message, ANN, data).expect("the bot gets presses");
        (press(&question.allow), press(&question.deny))
    });
    assert_eq!((shown(&world, first).await, shown(&world, second).await), (ALLOWED.to_owned(), OVER.to_owned()));
    world.hear(ANN, "answer #1").await;
    assert!(world.telegram.redeliver(first, 2));
    world.confirmed().await;
    assert_eq!(press(&world, ANN, question.message, ANN, &question.allow).await, OVER);
    // The same where the press comes again because its answer was lost.
    world.telegram.wait_for(|state| (state.count("answerCallbackQuery") == 5).then_some(()), SOON).await;
    world.telegram.fault(BotFault::once("answerCallbackQuery", Action::DropBefore));
    let lost = world.telegram.press(ANN, question.message, ANN, &question.allow).unwrap();
    world.telegram.wait_for(|state| (state.count("answerCallbackQuery") == 6).then_some(()), SOON).await;
    assert!(world.telegram.redeliver(lost, 1));
    assert_eq!(shown(&world, lost).await, OVER);
    assert_eq!(written(&world).as_deref(), Some("written"));
    assert_eq!(world.sql("SELECT sum(starts) FROM tool_runs"), 1);
    assert_eq!(over(&world, question.message, "Allowed by owner 1001").await.edits.len(), 1);
    finish(world).await;
}

#[tokio::test]
async fn nobody_but_the_owner_decides_and_only_at_the_question_itself() {
    let mut world = prepare().await;
    world.telegram.add_group(TEAM, "the team", ChatKind::Supergroup { forum: false }, &[ANN, BOB]);
    world.set(&[("telegram.groups", &format!("{{ {TEAM} = {{}} }}"))]);
    world.run().await;
    let elsewhere = world.ask(ANN, "[say:something else]", "something else").await.message_id;
    let bobs = world.ask(BOB, "[say:hello Bob]", "hello Bob").await.message_id;
    let teams = world.ask_in(Post::new(TEAM, BOB, &format!("{BOT} [say:hello all]")), "hello all").await.message_id;
    world.say(ANN, &format!("{WRITE} #1"));
    let question = question(&world).await;
    let (here, yes, id) = (question.message, question.allow.as_str(), question.id.as_str());

    let presses = [
        ("a stranger in the owner's chat", ANN, here, STRANGER, NOT_YOURS),
        ("another person in the owner's chat", ANN, here, BOB, NOT_YOURS),
        ("another person in their own chat", BOB, bobs, BOB, NOT_YOURS),
        ("the owner in another person's chat", BOB, bobs, ANN, NOT_YOURS),
        ("a member of a group", TEAM, teams, BOB, NOT_YOURS),
        ("the owner in a group", TEAM, teams, ANN, NOT_YOURS),
        ("the owner at another message", ANN, elsewhere, ANN, OVER),
    ];
    for (who, chat, message, user, words) in presses {
        assert_eq!(press(&world, chat, message, user, yes).await, words, "{who}");
    }
    let forged = [
        String::new(),
        "x".repeat(64),
        yes.replace("b1", "b2"),
        format!("b1:{id}:yes"),
        format!("b1:{id}:ok:ok"),
        format!("b1:{}:ok", id.to_lowercase()),
        format!("b1: {id}:ok"),
        // The form is right, and there is no such question.
        "b1:AAAAAAAAAAAAAAAAAAAA:ok".to_owned(),
    ];
    for data in &forged {
        let words = press(&world, ANN, here, ANN, data).await;
        assert!([NOT_YOURS, OVER].contains(&words.as_str()), "{data:?}: {words}");
    }
    // Presses at messages that cannot be: of another chat, of none, without data.
    let update = world.telegram.change(|state| state.press_inaccessible(BOB, here, ANN, yes)).unwrap();
    assert_eq!(shown(&world, update).await, NOT_YOURS);
    let from = json!({"id": ANN, "is_bot": false, "first_name": "Ann"});
    let odd = [
        json!({"id": "odd-1", "from": from, "chat_instance": "1", "inline_message_id": "i", "data": yes}),
        json!({"id": "odd-2", "from": from, "chat_instance": "1", "data": yes}),
        json!({"id": "odd-3", "from": from, "chat_instance": "1", "game_short_name": "g"}),
    ];
    for press in odd {
        world.telegram.push_update(&json!({ "callback_query": press }));
    }
    world.confirmed().await;
    assert_eq!((world.sql(OPEN), written(&world)), (1, None), "nothing was decided");
    assert_eq!(world.count(ANN, "answer #1"), 0);

    // The server does not show old messages to the bot, but their numbers are right.
    let update = world.telegram.change(|state| state.press_inaccessible(ANN, here, ANN, yes)).unwrap();
    assert_eq!(shown(&world, update).await, ALLOWED);
    world.hear(ANN, "answer #1").await;
    assert_eq!(written(&world).as_deref(), Some("written"));
    over(&world, here, "Allowed by owner 1001").await;
    finish(world).await;
}

#[tokio::test]
async fn the_command_decides_as_well_for_the_owner_alone() {
    let world = start().await;
    world.ask(ANN, "/approve", "No question is open").await;
    world.say(ANN, &format!("{WRITE} #1"));
    let question = question(&world).await;
    let yes = format!("/approve {} ok", question.id);
    world.ask(BOB, &yes, "Only an owner may answer questions").await;
    world.say(STRANGER, &yes);
    let listed = world.ask(ANN, "/approve", "Answer with ok or no").await;
    assert!(listed.text.contains(&yes) && listed.text.contains("write_file"), "{}", listed.text);
    world.ask(ANN, "/approve AAAAAAAAAAAAAAAAAAAA ok", "answered before, or nobody waits").await;
    world.confirmed().await;
    assert_eq!((world.sql(OPEN), written(&world)), (1, None));
    world.ask(ANN, &yes.to_lowercase(), ALLOWED).await;
    world.hear(ANN, "answer #1").await;
    assert_eq!(written(&world).as_deref(), Some("written"));
    over(&world, question.message, "Allowed by owner 1001").await;
    assert_eq!(press(&world, ANN, question.message, ANN, &question.deny).await, OVER);

    world.say(ANN, &format!("{WRITE} #2"));
    let second = questions(&world, 2).await.pop().unwrap();
    assert_ne!(second.id, question.id);
    world.ask(ANN, &format!("/approve {} no", second.id), DENIED).await;
    world.hear(ANN, "not run: the owner said no").await;
    finish(world).await;
}

/// The time of a question is moved in the database: the question itself, and the step of the journal from which its turn
/// counts, lie eleven minutes back.
#[tokio::test]
async fn a_question_that_nobody_answers_in_time_counts_as_a_no() {
    let mut world = start().await;
    world.say(ANN, &format!("{WRITE} #1"));
    let question = question(&world).await;
    world.end().await;
    world.tamper(
        "UPDATE approvals SET created = created - 660000, expires = expires - 660000;
         UPDATE steps SET at = at - 660000;",
    );
    // It comes too late, and before the turn is taken up.
    let late = world.telegram.press(ANN, question.message, ANN, &question.allow).unwrap();
    world.run().await;
    let said = world.hear(ANN, "answer #1").await;
    assert!(said.text.contains("nobody answered the question in time"), "{}", said.text);
    assert_eq!(shown(&world, late).await, OVER);
    over(&world, question.message, "Nobody waits for an answer any more").await;
    assert_eq!((written(&world), world.sql("SELECT count(*) FROM approvals WHERE state = 'expired'")), (None, 1));
    world.ask(ANN, &format!("/approve {} ok", question.id), "answered before, or nobody waits").await;
    finish(world).await;
}

#[tokio::test]
async fn an_open_question_survives_restarts_and_kills() {
    let mut world = start().await;
    world.say(ANN, &format!("{WRITE} #1"));
    let question = question(&world).await;
    world.restart().await;
    world.kill().await;
    world.run().await;
    let same = self::question(&world).await;
    assert_eq!((same, questions(&world, 1).await.len()), (question.clone(), 1), "not asked anew");
    assert_eq!(press(&world, ANN, question.message, ANN, &question.allow).await, ALLOWED);
    world.hear(ANN, "answer #1").await;
    assert_eq!((written(&world).as_deref(), world.sql("SELECT sum(starts) FROM tool_runs")), (Some("written"), 1));
    over(&world, question.message, "Allowed by owner 1001").await;
    assert_eq!(world.messages.calls(), 2, "the model was not asked anew");
    finish(world).await;
}

#[tokio::test]
async fn what_was_answered_while_nobody_ran_is_carried_out_at_the_start() {
    let mut world = start().await;
    world.say(ANN, &format!("{WRITE} #1"));
    let question = question(&world).await;
    world.end().await;
    let update = world.telegram.press(ANN, question.message, ANN, &question.allow).unwrap();
    world.run().await;
    assert_eq!(shown(&world, update).await, ALLOWED);
    world.hear(ANN, "answer #1").await;
    assert_eq!((written(&world).as_deref(), world.sql("SELECT sum(starts) FROM tool_runs")), (Some("written"), 1));
    finish(world).await;
}

/// An edit is not repeated by anybody who does not know whether it took place, so what runs twice shows in the file.
#[tokio::test]
async fn a_kill_right_after_the_press_carries_the_call_out_once() {
    for wait_for_decision in [false, true] {
        let mut world = start().await;
        std::fs::write(world.workspace().join("a.txt"), "1").unwrap();
        // Slow enough for nothing to be said before the kill, which would make the answer come twice.
        world.say(ANN, r#"[tool:edit_file {"path":"a.txt","old":"1","new":"11","all":true}] #1 [slow:400]"#);
        let question = question(&world).await;
        world.telegram.press(ANN, question.message, ANN, &question.allow).unwrap();
        if wait_for_decision {
            world.stored("SELECT count(*) FROM approvals WHERE state = 'approved'", 1).await;
        }
        world.kill().await;
        world.run().await;
        world.hear(ANN, "answer #1").await;
        let runs =
            |state: &str| world.sql(&format!("SELECT count(*) FROM tool_runs WHERE state = '{state}' AND starts = 1"));
        match written(&world).as_deref() {
            Some("11") => assert_eq!(runs("done") + runs("unknown"), 1),
            Some("1") => assert_eq!(runs("unknown"), 1, "not carried out, and nobody claims that it was"),
            other => panic!("carried out more than once: {other:?}"),
        }
        over(&world, question.message, "Allowed by owner 1001").await;
        assert_eq!(world.count(ANN, "answer #1"), 1);
        // The answer to the press may have died with the process.
        world.telegram.change(|state| state.expire_callbacks());
        finish(world).await;
    }
}

#[tokio::test]
async fn a_question_of_which_nobody_knows_whether_it_arrived_is_asked_again_and_the_first_is_void() {
    let world = start().await;
    world.telegram.fault(BotFault::once("sendMessage", Action::ApplyThenDrop).in_chat(ANN));
    world.say(ANN, &format!("{WRITE} #1"));
    let both = questions(&world, 2).await;
    let [first, second] = both.as_slice() else { panic!("two questions: {both:?}") };
    assert_ne!(first.id, second.id);
    world.stored("SELECT count(*) FROM approvals WHERE state = 'superseded'", 1).await;
    assert_eq!(press(&world, ANN, first.message, ANN, &first.allow).await, OVER);
    // Nor does the new question's data count at the old message.
    assert_eq!(press(&world, ANN, first.message, ANN, &second.allow).await, OVER);
    world.ask(ANN, &format!("/approve {} ok", first.id), "answered before, or nobody waits").await;
    assert_eq!((written(&world), world.sql(OPEN)), (None, 1));
    assert_eq!(press(&world, ANN, second.message, ANN, &second.allow).await, ALLOWED);
    world.hear(ANN, "answer #1").await;
    assert_eq!((written(&world).as_deref(), world.sql("SELECT sum(starts) FROM tool_runs")), (Some("written"), 1));
    assert_eq!(questions(&world, 2).await.len(), 1, "only the void one, whose number nobody knows, keeps its buttons");
    finish(world).await;
}

#[tokio::test]
async fn a_stop_closes_the_question() {
    let world = start().await;
    world.say(ANN, &format!("{WRITE} #1"));
    let question = question(&world).await;
    let asked = Instant::now();
    world.ask(ANN, "/stop", "Stopped.").await;
    assert!(asked.elapsed().as_millis() < 500, "answered after {:?}", asked.elapsed());
    over(&world, question.message, "Nobody waits for an answer any more").await;
    world.stored("SELECT count(*) FROM approvals WHERE state = 'closed'", 1).await;
    assert_eq!(press(&world, ANN, question.message, ANN, &question.allow).await, OVER);
    world.ask(ANN, "[say:and on it goes]", "and on it goes").await;
    assert_eq!((written(&world), world.count(ANN, "answer #1")), (None, 0));
    finish(world).await;
}

#[tokio::test]
async fn the_owner_is_asked_in_private_about_what_others_and_groups_want() {
    let mut world = prepare().await;
    world.telegram.add_group(TEAM, "the team", ChatKind::Supergroup { forum: false }, &[ANN, BOB]);
    world.telegram.open_private(ANN);
    world.set(&[("telegram.groups", &format!("{{ {TEAM} = {{}} }}"))]);
    world.run().await;
    let places = [(BOB, BOB, ""), (TEAM, BOB, BOT), (TEAM, ANN, BOT)];
    for (number, (chat, user, mention)) in (1..).zip(places) {
        world.write(Post::new(chat, user, &format!("{mention} {WRITE} #{number}")));
        let question = questions(&world, number).await.pop().unwrap();
        // The two who wait learn nothing of the question.
        assert!(world.heard(BOB).iter().chain(&world.heard(TEAM)).all(|text| !text.contains("May I")));
        assert_eq!(press(&world, ANN, question.message, ANN, &question.allow).await, ALLOWED);
        let said = world.hear(chat, &format!("answer #{number}")).await;
        assert!(said.text.contains("The tool write_file said"), "{}", said.text);
        over(&world, question.message, "Allowed by owner 1001").await;
        assert_eq!(world.count(ANN, &format!("answer #{number}")), 0, "the answer goes where it was asked for");
    }
    assert_eq!(world.sql("SELECT sum(starts) FROM tool_runs"), 3);
    finish(world).await;
}

#[tokio::test]
async fn of_two_owners_the_one_who_wrote_is_asked() {
    let mut world = prepare().await;
    world.telegram.add_group(TEAM, "the team", ChatKind::Supergroup { forum: false }, &[ANN, BOB]);
    world.telegram.open_private(ANN);
    world.telegram.open_private(BOB);
    let owners = format!("[{ANN}, {BOB}]");
    world.set(&[("telegram.groups", &format!("{{ {TEAM} = {{}} }}")), ("telegram.owners", &owners)]);
    world.run().await;
    for (number, user) in [(1, BOB), (2, ANN)] {
        world.write(Post::new(TEAM, user, &format!("{BOT} {WRITE} #{number}")));
        let asked = world.hear(user, "May I run").await;
        world.stored("SELECT count(*) FROM approvals WHERE state = 'pending' AND message_id IS NULL", 0).await;
        assert_eq!((world.count(ANN, "May I"), world.count(BOB, "May I")), (number - 1, 1), "owner {user} wrote");
        assert_eq!(press(&world, user, asked.message_id, user, &asked.buttons[0][0].1).await, ALLOWED);
        world.hear(TEAM, &format!("answer #{number}")).await;
    }
    finish(world).await;
}

#[tokio::test]
async fn no_more_than_five_questions_are_open() {
    let world = start().await;
    world.say(ANN, &format!("{} #1", writes(6)));
    let asked = questions(&world, 5).await;
    assert_eq!(asked.len(), 5);
    for (place, question) in asked.iter().enumerate() {
        let (data, words) = if place == 2 { (&question.deny, DENIED) } else { (&question.allow, ALLOWED) };
        assert_eq!(press(&world, ANN, question.message, ANN, data).await, words);
        over(&world, question.message, "by owner 1001").await;
    }
    let said = world.hear(ANN, "answer #1").await;
    assert_eq!(said.text.matches("The tool write_file said").count(), 6, "{}", said.text);
    assert_eq!((said.text.matches(FULL).count(), said.text.matches("the owner said no").count()), (1, 1));
    let there = (1..=6).filter(|n| world.workspace().join(format!("{n}.txt")).exists()).collect::<Vec<_>>();
    assert_eq!(there.len(), 4, "{there:?}");
    assert_eq!(questions(&world, 5).await, []);
    // There is room again.
    world.say(ANN, &format!("{WRITE} #3"));
    let question = questions(&world, 6).await.pop().unwrap();
    press(&world, ANN, question.message, ANN, &question.allow).await;
    world.hear(ANN, "answer #3").await;
    finish(world).await;
}

#[tokio::test]
async fn what_others_want_uses_up_none_of_the_owners_own_questions() {
    let world = start().await;
    world.telegram.open_private(ANN);
    world.say(BOB, &format!("{} #1", writes(5)));
    let asked = questions(&world, 5).await;
    // All others share their five, and whoever is refused does not wait.
    let said = world.ask(CAT, &format!("{WRITE} #2"), "answer #2").await;
    assert!(said.text.contains(FULL), "{}", said.text);
    world.say(ANN, &format!("{WRITE} #3"));
    let question = questions(&world, 6).await.pop().unwrap();
    assert_eq!(press(&world, ANN, question.message, ANN, &question.allow).await, ALLOWED);
    world.hear(ANN, "answer #3").await;
    assert_eq!((written(&world).as_deref(), world.sql(OPEN)), (Some("written"), 5));
    assert_eq!(press(&world, ANN, asked[0].message, ANN, &asked[0].deny).await, DENIED);
    world.say(CAT, &format!("{WRITE} #4"));
    let question = questions(&world, 7).await.pop().unwrap();
    assert_eq!(press(&world, ANN, question.message, ANN, &question.allow).await, ALLOWED);
    world.hear(CAT, "answer #4").await;
    finish(world).await;
}

#[tokio::test]
async fn all_of_the_arguments_are_shown_or_nobody_is_asked() {
    let world = start().await;
    let content = format!("begin {}\u{202e} end", "x".repeat(9_000));
    let input = json!({"path": "a.txt", "content": content});
    world.messages.push(Script::tool("write_file", input).only_if("#1"));
    world.say(ANN, "#1");
    let question = question(&world).await;
    let heard = world.heard(ANN).concat();
    let shown: usize = heard.split(|character| character != 'x').map(str::len).filter(|run| *run > 50).sum();
    assert_eq!(shown, 9_000, "all of it");
    assert!(heard.contains("begin xxx") && heard.contains(r"\u{202e} end"), "{heard}");
    press(&world, ANN, question.message, ANN, &question.allow).await;
    world.hear(ANN, "answer #1").await;
    assert_eq!(written(&world), Some(content));
    // What is not seen takes room when it is written out.
    let hidden = json!({"path": "b.txt", "content": "\u{200b}".repeat(3_000)});
    world.messages.push(Script::tool("write_file", hidden).only_if("#2"));
    let said = world.ask(ANN, "#2", "answer #2").await;
    assert!(said.text.contains("too long to be shown"), "{}", said.text);
    finish(world).await;
}

#[tokio::test]
async fn waiting_for_an_owner_costs_no_time_of_the_turn_and_holds_up_nobody() {
    let world = start_with_deadline("2").await;
    world.say(ANN, &format!("{WRITE} #1"));
    let question = question(&world).await;
    // Longer than the turn may take, as others' turns measure it.
    let asked = Instant::now();
    for number in 2..4 {
        world.ask(BOB, &format!("#{number} [slow:1100]"), &format!("answer #{number}")).await;
    }
    assert!(asked.elapsed().as_millis() >= 2_200, "{:?}", asked.elapsed());
    assert_eq!((world.get("/readyz").await.unwrap().0, world.sql(OPEN)), (200, 1));
    assert_eq!(press(&world, ANN, question.message, ANN, &question.allow).await, ALLOWED);
    world.hear(ANN, "answer #1").await;
    assert_eq!(written(&world).as_deref(), Some("written"));
    finish(world).await;
}

/// The answer may take a night, so the place of a running turn is somebody else's until it comes; and then it is waited for.
#[tokio::test]
async fn a_turn_that_waits_for_a_yes_leaves_its_place_to_others() {
    let mut world = prepare().await;
    world.set(&[("session.running_turns", "1")]);
    world.run().await;
    world.say(ANN, &format!("{WRITE} #1"));
    let first = question(&world).await;
    world.ask(BOB, "#2", "answer #2").await;
    world.say(BOB, "#3 [slow:1000]");
    world.prompted("#3").await;
    assert_eq!(press(&world, ANN, first.message, ANN, &first.allow).await, ALLOWED);
    world.hear(ANN, "answer #1").await;
    assert_eq!(written(&world).as_deref(), Some("written"));
    let decided = "(SELECT max(at) FROM steps WHERE input LIKE '%decided%')";
    let over = "(SELECT max(closed_at) FROM turns WHERE principal_id <> 'owner')";
    assert_eq!(world.sql(&format!("SELECT {decided} >= {over}")), 1, "one turn at a time");

    // A stop does not wait for the place.
    world.say(ANN, &format!("{WRITE} #4"));
    let second = questions(&world, 2).await.pop().unwrap();
    world.say(BOB, "#5 [slow:2000]");
    world.prompted("#5").await;
    assert_eq!(press(&world, ANN, second.message, ANN, &second.allow).await, ALLOWED);
    let asked = Instant::now();
    world.ask(ANN, "/stop", "Stopped.").await;
    world.stored("SELECT count(*) FROM turns WHERE outcome = 'stopped'", 1).await;
    assert!(asked.elapsed().as_millis() < 1_000, "stopped after {:?}", asked.elapsed());
    world.hear(BOB, "answer #5").await;
    assert_eq!(world.sql("SELECT sum(starts) FROM tool_runs"), 1);
    // Nor is the place lost.
    world.ask(ANN, "#6", "answer #6").await;
    finish(world).await;
}

async fn start_with_deadline(seconds: &str) -> World {
    let mut world = prepare().await;
    world.set(&[("session.turn_deadline_s", seconds)]);
    world.run().await;
    world
}

#[tokio::test]
async fn a_message_that_interrupts_the_turn_closes_its_question() {
    let mut world = prepare().await;
    world.set(&[("session.queue", "\"interrupt\"")]);
    world.run().await;
    world.say(ANN, &format!("{WRITE} #1"));
    let question = question(&world).await;
    world.ask(ANN, "#2", "answer #2").await;
    over(&world, question.message, "Nobody waits for an answer any more").await;
    assert_eq!(press(&world, ANN, question.message, ANN, &question.allow).await, OVER);
    assert_eq!((written(&world), world.count(ANN, "answer #1")), (None, 0));
    finish(world).await;
}

#[tokio::test]
async fn a_message_that_arrives_while_the_owner_is_asked_joins_behind_the_result() {
    let mut world = prepare().await;
    world.set(&[("session.queue", "\"steer\"")]);
    world.run().await;
    world.say(ANN, &format!("{WRITE} #1"));
    let question = question(&world).await;
    world.say(ANN, "#2 as well");
    world.stored("SELECT count(*) FROM inbox WHERE state = 'received'", 1).await;
    assert_eq!(press(&world, ANN, question.message, ANN, &question.allow).await, ALLOWED);
    let said = world.hear(ANN, "answer #2").await;
    assert!(said.text.contains("answer #1, answer #2"), "{}", said.text);
    assert_eq!((written(&world).as_deref(), world.sql("SELECT count(*) FROM turns")), (Some("written"), 1));
    finish(world).await;
}
