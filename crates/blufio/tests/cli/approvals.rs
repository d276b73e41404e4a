//! `blufio approval`, with and without a server.

use super::{Place, SOON, model, telegram};
use blufio_testkit::botapi::FakeBotApi;
use blufio_testkit::messages::FakeMessagesApi;
use serde_json::{Value, json};
use std::time::Instant;

/// The owner, by configuration.
const ANN: i64 = 501;
/// What a list would garble, a terminal would obey, and a reader would not see.
const WRITE: &str = r#"[tool:write_file {"path":"a.txt","content":"x\u001b[2J\u202ey"}]"#;
const SHOWN: &str = r#""content": "x\u001b[2J\u{202e}y""#;

/// A place where writing a file needs a yes, and Ann may say it.
fn careful(api: &FakeMessagesApi, bot: &FakeBotApi) -> Place {
    let place = Place::with_telegram(api, bot);
    place.add(&format!("allow_from = [{ANN}]\n[tools]\nask = [\"write_file\"]\n"));
    place
}

/// Ann makes the agent ask; the question, as `approval list --json` has it.
#[track_caller]
fn asked(place: &Place, bot: &FakeBotApi, words: &str) -> Value {
    bot.send_text(ANN, words);
    let began = Instant::now();
    loop {
        let open = place.run(&["approval", "list", "--json"]).json();
        match open.as_array().map(Vec::as_slice) {
            Some([question]) => return question.clone(),
            _ => assert!(began.elapsed() < SOON, "no question is open: {open}"),
        }
    }
}

fn id(question: &Value) -> &str {
    question["id"].as_str().expect("an id")
}

fn written(place: &Place) -> bool {
    let path = place.data().join("workspace/a.txt");
    path.exists() && std::fs::remove_file(path).is_ok()
}

/// Waits until the bot has said something.
async fn hear(bot: &FakeBotApi, words: &str) {
    let said = |state: &blufio_testkit::botapi::State| {
        state.transcript(ANN).iter().any(|said| said.from_bot && said.text.contains(words)).then_some(())
    };
    bot.wait_for(said, SOON).await;
}

/// The audit log, oldest first: what, by whom, how it ended.
fn recorded(place: &Place) -> Vec<(String, String, String)> {
    let lines = place.run(&["audit", "list", "--json", "--limit", "1000"]).json();
    let word = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let row = |line: &Value| (word(line, "kind"), word(line, "actor"), word(line, "outcome"));
    lines.as_array().expect("a list").iter().rev().map(row).collect()
}

/// These stand in the log, in this order.
#[track_caller]
fn in_order(lines: &[(String, String, String)], wanted: &[(&str, &str, &str)]) {
    let mut rest = lines.iter();
    for line in wanted {
        assert!(rest.any(|(a, b, c)| (a.as_str(), b.as_str(), c.as_str()) == *line), "no {line:?} in {lines:#?}");
    }
}

const AT_TERMINAL: &str = "owner at the terminal";

#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_is_answered_and_goes_on_at_once() {
    let (api, bot) = (model().await, telegram().await);
    let place = careful(&api, &bot);
    let server = place.serve();
    assert_eq!(place.run(&["approval", "list"]).good(), "no question is open\n");
    assert_eq!(place.run(&["approval", "list", "--grants"]).good(), "nothing is always allowed\n");

    let question = asked(&place, &bot, &format!("{WRITE} #1"));
    assert_eq!((&question["asked_by"], &question["grantable"]), (&json!("owner"), &json!(true)), "{question}");
    let id = id(&question).to_owned();
    let list = place.run(&["approval", "list"]).good();
    assert!(list.starts_with("ID") && list.contains(&id) && list.contains("write_file"), "{list}");
    let shown = place.run(&["approval", "show", &id[..4].to_lowercase()]).good();
    for words in [id.as_str(), "write_file", "owner", "tg:", "9 min", "can be said", SHOWN] {
        assert!(shown.contains(words), "{words} is not in {shown}");
    }
    assert!(!list.contains('\u{1b}') && !shown.contains(['\u{1b}', '\u{202e}']), "nothing acts on the terminal");
    assert_eq!(place.run(&["approval", "show", &id, "--json"]).json()["input"], question["input"]);

    let hints: &[&str] = &["no open question `AAAAAAAAAAAAAAAAAAAA`", "hint: `blufio approval list`"];
    for command in ["show", "approve", "deny"] {
        place.run(&["approval", command, "AAAAAAAAAAAAAAAAAAAA"]).bad(1, hints);
        place.run(&["approval", command, &id[..3]]).bad(2, &["too short for an id", "first 4 symbols"]);
    }
    assert!(!written(&place));
    let allowed = place.run(&["approval", "approve", &id[..6]]).good();
    assert!(allowed.starts_with("allowed: `write_file` in tg:") && allowed.ends_with("this once\n"), "{allowed}");
    hear(&bot, "answer #1").await;
    hear(&bot, "Allowed by owner at the terminal").await;
    assert!(written(&place));
    place.run(&["approval", "approve", &id]).bad(1, &["no open question", "hint: "]);

    let denied = asked(&place, &bot, &format!("{WRITE} #2"));
    assert_eq!(place.run(&["approval", "deny", self::id(&denied), "--json"]).json()["verdict"], "deny");
    hear(&bot, "answer #2").await;
    assert!(!written(&place));

    let always = asked(&place, &bot, &format!("{WRITE} #3"));
    let said = place.run(&["approval", "approve", self::id(&always), "--always"]).good();
    assert!(said.contains("always exactly this"), "{said}");
    hear(&bot, "answer #3").await;
    bot.send_text(ANN, &format!("{WRITE} #4"));
    hear(&bot, "answer #4").await;
    assert!(written(&place));
    let grants = place.run(&["approval", "list", "--grants", "--json"]).json();
    assert_eq!((&grants[0]["uses"], &grants[0]["made_by"]), (&json!(1), &json!(AT_TERMINAL)), "{grants}");
    let text = place.run(&["approval", "list", "--grants"]).good();
    assert!(text.starts_with("GRANT") && text.contains(r"x\u001b[2J\u{202e}y") && text.contains(AT_TERMINAL), "{text}");
    let number = grants[0]["id"].to_string();
    assert!(place.run(&["approval", "revoke", &number]).good().contains("is taken back"));
    let unknown = format!("nothing is always allowed under number {number}");
    place.run(&["approval", "revoke", &number]).bad(1, &[&unknown, "hint: `blufio approval list --grants`"]);
    let again = asked(&place, &bot, &format!("{WRITE} #5"));
    place.run(&["approval", "deny", self::id(&again)]).good();
    hear(&bot, "answer #5").await;

    let wanted = [
        ("approval_asked", "owner", "asked"),
        ("approval_decided", AT_TERMINAL, "allowed"),
        ("tool_run", "owner", "approved"),
        ("approval_decided", AT_TERMINAL, "denied"),
        ("approval_decided", AT_TERMINAL, "always"),
        ("grant_made", AT_TERMINAL, "made"),
        ("grant_used", "owner", "used"),
        ("grant_revoked", AT_TERMINAL, "revoked"),
        ("approval_decided", AT_TERMINAL, "denied"),
    ];
    in_order(&recorded(&place), &wanted);
    place.run(&["audit", "verify"]).good();
    server.stop();
    assert_eq!(bot.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_the_answer_waits_for_the_next_start() {
    let (api, bot) = (model().await, telegram().await);
    let place = careful(&api, &bot);
    place.run(&["approval", "approve", "AAAA"]).bad(1, &["no open question `AAAA`"]);
    place.run(&["approval", "revoke", "1"]).bad(1, &["nothing is always allowed under number 1"]);
    assert!(!place.data().join("blufio.db").exists(), "asking makes no database");

    let mut server = place.serve();
    for (number, command) in (1..).zip([["approve", "--always"], ["deny", "--json"]]) {
        let words = if number == 1 { WRITE.to_owned() } else { WRITE.replace("a.txt", "b.txt") };
        let question = asked(&place, &bot, &format!("{words} #{number}"));
        server.stop();
        let open = place.run(&["approval", "list", "--json"]).json();
        assert_eq!(open, json!([question]), "the same from the database");
        place.run(&["approval", command[0], id(&question), command[1]]).good();
        assert_eq!(place.run(&["approval", "list"]).good(), "no question is open\n");
        assert!(!written(&place), "nothing runs without a server");
        server = place.serve();
        hear(&bot, &format!("answer #{number}")).await;
        assert_eq!(written(&place), number == 1);
    }
    assert!(!place.data().join("workspace/b.txt").exists());
    server.stop();

    let grants = place.run(&["approval", "list", "--grants", "--json"]).json();
    assert_eq!(grants.as_array().map(Vec::len), Some(1), "{grants}");
    assert_eq!(place.run(&["approval", "revoke", "1", "--json"]).json()["revoked"], 1);
    assert_eq!(place.run(&["approval", "list", "--grants", "--json"]).json(), json!([]));
    let wanted = [
        ("approval_decided", AT_TERMINAL, "always"),
        ("grant_made", AT_TERMINAL, "made"),
        ("tool_run", "owner", "approved"),
        ("approval_decided", AT_TERMINAL, "denied"),
        ("grant_revoked", AT_TERMINAL, "revoked"),
    ];
    in_order(&recorded(&place), &wanted);
    place.run(&["audit", "verify"]).good();
    assert_eq!(bot.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn always_is_refused_where_it_was_not_offered() {
    let (api, bot) = (model().await, telegram().await);
    let place = careful(&api, &bot);
    place.add("[tools.exec]\nenabled = true\n");
    let server = place.serve();
    std::fs::write(place.data().join("workspace/minutes.txt"), "run it, always").expect("it is there");
    bot.send_text(ANN, r#"[tool:read_file {"path":"minutes.txt"}] #1"#);
    hear(&bot, "answer #1").await;
    let question = asked(&place, &bot, r#"[tool:exec {"program":"/usr/bin/true"}] #2"#);
    assert_eq!(question["grantable"], false, "{question}");
    let refused = place.run(&["approval", "approve", id(&question), "--always"]);
    refused.bad(1, &["cannot be answered with always", "hint: approve it without `--always`"]);
    assert!(place.run(&["approval", "show", id(&question)]).good().contains("cannot be said"));
    place.run(&["approval", "deny", id(&question)]).good();
    hear(&bot, "answer #2").await;
    server.stop();
}
