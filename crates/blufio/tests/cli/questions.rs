//! Questions to an owner: shown in the shell, answered in it and from elsewhere.

use super::terminal::Terminal;
use super::{Place, Ran, Running, SOON, model};
use std::io::{BufRead, BufReader};
use std::sync::mpsc::sync_channel;
use std::time::Instant;

/// A place where the tool `now` needs a yes.
fn careful(api: &blufio_testkit::messages::FakeMessagesApi) -> Place {
    let place = Place::with(api);
    place.add("[tools]\nask = [\"now\"]\n");
    place
}

/// A shell that asks for the time, and the id of the question that it shows.
#[track_caller]
fn asked(place: &Place, arguments: &[&str]) -> (Running, String) {
    let mut shell = place.start(arguments, "");
    let mut remarks = BufReader::new(shell.child.as_mut().and_then(|child| child.stderr.take()).expect("it is piped"));
    // Full: the reader waits; it sends once.
    let (sender, question) = sync_channel(1);
    std::thread::spawn(move || {
        let mut seen = String::new();
        // The question names both answers, and below it stand both commands.
        while seen.matches("/approve ").count() < 4 {
            if remarks.read_line(&mut seen).expect("it is text") == 0 {
                break;
            }
        }
        sender.send(seen)
    });
    let seen = tokio::task::block_in_place(|| question.recv_timeout(SOON)).expect("the question comes soon");
    assert!(seen.contains("May I run `now`?"), "{seen}");
    let id = seen.rsplit("/approve ").next().and_then(|rest| rest.split(' ').next()).expect("it names the question");
    until_open(place);
    (shell, id.to_owned())
}

/// Waits until a question can be answered: it is shown while it is being stored.
#[track_caller]
fn until_open(place: &Place) {
    let began = Instant::now();
    while place.run(&["status", "--json"]).json()["open_questions"] != 1 {
        assert!(began.elapsed() < SOON, "no question is open");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_from_another_terminal() {
    let api = model().await;
    let place = careful(&api);
    for (verb, words, outcome) in [("ok", "Allowed.\n", "The tool now said: "), ("no", "Denied.\n", "The tool now")] {
        let (shell, id) = asked(&place, &["shell", "-m", "what time is it?"]);
        let open = place.run(&["shell", "-m", "/approve"]).good();
        assert!(open.contains(&format!("`/approve {id} ok` – `now` in local:main")), "{open}");
        let answer = format!("/approve {id} {verb}");
        assert_eq!(place.run(&["shell", "-m", &answer]).good(), words);
        let Ran { code, out, .. } = shell.end();
        assert!(code == Some(0) && out.starts_with(outcome), "{out}");
        let late = place.run(&["shell", "-m", &answer]);
        assert_eq!(late.code, Some(1), "{late:?}");
        assert!(late.out.contains("answered before"), "{late:?}");
    }
    assert_eq!(api.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn always_is_said_in_a_shell_and_taken_back_at_the_command_line() {
    let api = model().await;
    let place = careful(&api);
    let server = place.serve();
    let (shell, id) = asked(&place, &["shell", "-m", "what time is it?"]);
    let said = place.run(&["shell", "-m", &format!("/approve {id} al")]).good();
    assert!(said.starts_with("Allowed, and always exactly this"), "{said}");
    assert!(shell.end().out.starts_with("The tool now said: "));
    let unasked = place.run(&["shell", "-m", "what time is it?"]).good();
    assert!(unasked.starts_with("The tool now said: "), "{unasked}");
    place.run(&["approval", "revoke", "1"]).good();
    let (shell, id) = asked(&place, &["shell", "-m", "what time is it?"]);
    place.run(&["approval", "approve", &id]).good();
    assert!(shell.end().out.starts_with("The tool now said: "));
    server.stop();
    assert_eq!(api.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn open_questions_are_counted() {
    let api = model().await;
    let place = careful(&api);
    let server = place.serve();
    let (shell, id) = asked(&place, &["shell", "-m", "what time is it?", "--json"]);
    assert_eq!(place.run(&["status", "--json"]).json()["open_questions"], 1);
    let text = place.run(&["status"]).good();
    assert!(text.contains("1 wait for an owner's answer: `blufio approval list` shows them"), "{text}");
    let answer = place.run(&["shell", "-m", &format!("/approve {id} ok"), "--json"]).json();
    assert_eq!((&answer["outcome"], &answer["text"]), (&"decision".into(), &"Allowed.".into()));
    let out: serde_json::Value = serde_json::from_str(&shell.end().out).expect("JSON");
    assert_eq!(out["outcome"], "reply");
    assert_eq!(place.run(&["status", "--json"]).json()["open_questions"], 0);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_at_the_terminal_types_the_answer() {
    let api = model().await;
    let place = careful(&api);
    let mut terminal = Terminal::open(&place, &["shell"]);
    terminal.say("what time is it?");
    terminal.until("May I run `now`?");
    terminal.until("(type ok or no, or /stop)");
    until_open(&place);
    terminal.type_in("sure\r");
    terminal.until("(waiting for your answer: ok, no, or a command such as /stop)");
    terminal.type_in("ok\r");
    terminal.until("Allowed.");
    terminal.until("The tool now said: ");

    terminal.say("what time is it?");
    terminal.until("(type ok or no, or /stop)");
    until_open(&place);
    terminal.type_in("NO\r");
    terminal.until("Denied.");
    terminal.until("The tool now");

    terminal.say("what time is it?");
    terminal.until("(type ok or no, or /stop)");
    terminal.type_in("/stop\r");
    terminal.until("[stopped]\r\n");
    terminal.say("/approve");
    terminal.until("No question is open.");
    terminal.say("[say:and on we go]");
    terminal.until("and on we go\r\n");
    terminal.leave("\u{4}");
    assert_eq!(api.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_typed_before_a_question_is_no_answer_to_it() {
    let api = model().await;
    let place = careful(&api);
    let mut terminal = Terminal::open(&place, &["shell"]);
    terminal.say("[slow:300] what time is it?");
    terminal.type_in("ok\r");
    terminal.until("ok\r\n");
    terminal.until("(type ok or no, or /stop)");
    until_open(&place);
    terminal.type_in("/status\r");
    // Were the early word an answer, this would come behind it.
    let before = terminal.until("I am working on a message of yours.");
    assert!(!before.contains("Allowed."), "{before}");
    terminal.type_in("no\r");
    terminal.until("Denied.");
    terminal.leave("\u{4}");
}
