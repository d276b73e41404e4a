//! Conversations with questions, as they are kept in files. Anything that is not as `bench/memory/README.md` says is refused
//! with its file and line.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use blufio_core::time::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

/// How long after the last turn a question is asked that does not say when.
const ASKED_AFTER: Duration = Duration::from_secs(60);

/// A conversation and what is asked about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// Its name, the only one in its set.
    pub id: String,
    /// Who speaks with whom.
    pub form: Form,
    /// As in HTML; `mul`: several.
    pub language: String,
    /// What has been said, in order.
    pub turns: Vec<Turn>,
    /// What is asked.
    pub questions: Vec<Question>,
}

/// Who speaks with whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// People among themselves.
    Chat,
    /// A person with an assistant.
    Assistant,
}

/// Something that was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Its name, the only one in its conversation.
    pub id: String,
    /// A name; with an assistant `user` or `assistant`.
    pub speaker: String,
    /// When.
    pub time: Timestamp,
    /// The words.
    pub text: String,
}

/// A question about a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Its name, the only one in its conversation.
    pub id: String,
    /// What makes it hard.
    pub kind: Kind,
    /// The words.
    pub text: String,
    /// The turns that are needed for the answer; empty exactly for [`Kind::None`].
    pub evidence: Vec<String>,
    /// When it is asked; what was said later must not be searched.
    pub asked: Timestamp,
}

/// What makes a question hard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The answer stands in one place.
    Single,
    /// The answer has changed.
    Update,
    /// Turns disagree.
    Contradiction,
    /// A taste, a wish, a rule.
    Preference,
    /// A day or a time.
    Date,
    /// The answer needs several places.
    Multi,
    /// It was never said.
    None,
}

impl Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Single => "single",
            Self::Update => "update",
            Self::Contradiction => "contradiction",
            Self::Preference => "preference",
            Self::Date => "date",
            Self::Multi => "multi",
            Self::None => "none",
        })
    }
}

/// All conversations of the files `*.json` and `*.jsonl` in a folder, by the names of the files.
///
/// # Errors
/// Something cannot be read, is not in the format, or two conversations have the same name.
pub fn read_folder(folder: &Path) -> Result<Vec<Conversation>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json" || extension == "jsonl"));
    files.sort();
    let (mut all, mut ids) = (Vec::new(), BTreeSet::new());
    for file in files {
        for conversation in read(&file)? {
            ensure!(
                ids.insert(conversation.id.clone()),
                "{}: a second conversation `{}`",
                file.display(),
                conversation.id
            );
            all.push(conversation);
        }
    }
    Ok(all)
}

/// The conversations of one file.
///
/// # Errors
/// It cannot be read or is not in the format.
pub fn read(file: &Path) -> Result<Vec<Conversation>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let name = file.display().to_string();
    if file.extension().is_some_and(|extension| extension == "jsonl") {
        let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
        return lines.map(|(number, line)| parse(&name, number, line)).collect();
    }
    Ok(vec![parse(&name, 1, &text)?])
}

/// One conversation; `first_line` is the line of the file `name` on which its text begins.
///
/// # Errors
/// It is not in the format.
pub fn parse(name: &str, first_line: usize, text: &str) -> Result<Conversation> {
    let place = Place { name, first_line, text };
    let raw: RawConversation<'_> = serde_json::from_str(text).map_err(|error| place.json(text, &error))?;
    let at_start = |what: String| place.wrong(text, what);
    if raw.id.is_empty() || raw.id.contains(char::is_whitespace) {
        bail!(at_start(format!("`{}` is no name of a conversation", raw.id)));
    }
    let (turns, times) = turns(&place, raw.form, &raw.turns)?;
    let last = turns.last().ok_or_else(|| at_start("there are no turns".to_owned()))?.time;
    let questions = questions(&place, &raw.questions, &times, last)?;
    Ok(Conversation { id: raw.id, form: raw.form, language: raw.language, turns, questions })
}

/// Where a text stands, so that what is wrong with it can be found.
struct Place<'a> {
    name: &'a str,
    first_line: usize,
    text: &'a str,
}

impl Place<'_> {
    /// `piece` is a part of the text.
    fn line(&self, piece: &str) -> usize {
        let offset = (piece.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        self.first_line + self.text.get(..offset).unwrap_or_default().matches('\n').count()
    }

    fn wrong(&self, piece: &str, what: impl Display) -> anyhow::Error {
        anyhow::anyhow!("{}:{}: {what}", self.name, self.line(piece))
    }

    fn json(&self, piece: &str, error: &serde_json::Error) -> anyhow::Error {
        let what = error.to_string();
        let what = what.split(" at line ").next().unwrap_or_default();
        anyhow::anyhow!("{}:{}: {what}", self.name, self.line(piece) + error.line().saturating_sub(1))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConversation<'a> {
    id: String,
    form: Form,
    language: String,
    #[serde(default, rename = "about")]
    _about: String,
    #[serde(borrow)]
    turns: Vec<&'a RawValue>,
    #[serde(borrow)]
    questions: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTurn {
    id: String,
    speaker: Option<String>,
    role: Option<String>,
    time: String,
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawQuestion {
    id: String,
    kind: Kind,
    text: String,
    evidence: Vec<String>,
    asked: Option<String>,
}

type Times = BTreeMap<String, Timestamp>;

fn turns(place: &Place<'_>, form: Form, raw: &[&RawValue]) -> Result<(Vec<Turn>, Times)> {
    let (mut turns, mut times) = (Vec::<Turn>::new(), Times::new());
    for piece in raw.iter().map(|raw| raw.get()) {
        let turn: RawTurn = serde_json::from_str(piece).map_err(|error| place.json(piece, &error))?;
        let wrong = |what: &str| place.wrong(piece, format!("turn `{}`: {what}", turn.id));
        let speaker = match (form, turn.speaker, turn.role) {
            (Form::Chat, Some(speaker), None) if !speaker.trim().is_empty() => speaker,
            (Form::Assistant, None, Some(role)) if role == "user" || role == "assistant" => role,
            (Form::Chat, _, _) => bail!(wrong("a chat has a `speaker` and no `role`")),
            (Form::Assistant, _, _) => bail!(wrong("it needs the `role` `user` or `assistant` and no `speaker`")),
        };
        let time = instant(&turn.time).ok_or_else(|| wrong("its time is no instant of ISO 8601"))?;
        if turns.last().is_some_and(|before| before.time > time) {
            bail!(wrong("it is earlier than the turn before it"));
        }
        if turn.id.is_empty() || turn.text.trim().is_empty() {
            bail!(wrong("its id or its text is empty"));
        }
        if times.insert(turn.id.clone(), time).is_some() {
            bail!(wrong("there is another one with this id"));
        }
        turns.push(Turn { id: turn.id, speaker, time, text: turn.text });
    }
    Ok((turns, times))
}

fn questions(place: &Place<'_>, raw: &[&RawValue], times: &Times, last: Timestamp) -> Result<Vec<Question>> {
    let (mut questions, mut ids, mut texts) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for piece in raw.iter().map(|raw| raw.get()) {
        let question: RawQuestion = serde_json::from_str(piece).map_err(|error| place.json(piece, &error))?;
        let wrong = |what: String| place.wrong(piece, format!("question `{}`: {what}", question.id));
        if question.id.is_empty() || question.text.trim().is_empty() {
            bail!(wrong("its id or its text is empty".to_owned()));
        }
        if !ids.insert(question.id.clone()) || !texts.insert(question.text.trim().to_lowercase()) {
            bail!(wrong("there is another one with this id or text".to_owned()));
        }
        let asked = match &question.asked {
            Some(asked) => instant(asked)
                .ok_or_else(|| wrong("the time at which it is asked is no instant of ISO 8601".to_owned()))?,
            None => last.plus(ASKED_AFTER),
        };
        let few = match question.kind {
            Kind::None => (!question.evidence.is_empty()).then_some("has no evidence"),
            Kind::Multi | Kind::Contradiction => (question.evidence.len() < 2).then_some("needs two turns at least"),
            _ => question.evidence.is_empty().then_some("needs evidence"),
        };
        if let Some(few) = few {
            bail!(wrong(format!("a question of the kind `{}` {few}", question.kind)));
        }
        let mut seen = BTreeSet::new();
        for id in &question.evidence {
            let time = times.get(id).ok_or_else(|| wrong(format!("there is no turn `{id}`")))?;
            if *time >= asked {
                bail!(wrong(format!("the turn `{id}` is not before the question")));
            }
            if !seen.insert(id) {
                bail!(wrong(format!("the turn `{id}` stands twice in its evidence")));
            }
        }
        let RawQuestion { id, kind, text, evidence, asked: _ } = question;
        questions.push(Question { id, kind, text, evidence, asked });
    }
    Ok(questions)
}

fn instant(text: &str) -> Option<Timestamp> {
    Some(Timestamp(text.parse::<jiff::Timestamp>().ok()?.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{
  "id": "one", "form": "chat", "language": "en",
  "turns": [
    {"id": "a", "speaker": "Ada", "time": "2025-01-01T10:00:00Z", "text": "The kiln is at 1,100."},
    {"id": "b", "speaker": "Bo", "time": "2025-01-01T12:00:00+01:00", "text": "Too hot."}
  ],
  "questions": [
    {"id": "q1", "kind": "multi", "text": "How hot, and who minded?", "evidence": ["a", "b"]},
    {"id": "q2", "kind": "none", "text": "Who paid?", "evidence": [], "asked": "2025-01-02T00:00:00Z"}
  ]
}
"#;

    #[test]
    fn a_conversation_is_read() {
        let conversation = parse("x", 1, GOOD).unwrap();
        assert_eq!((conversation.id.as_str(), conversation.form), ("one", Form::Chat));
        let speakers: Vec<_> = conversation.turns.iter().map(|turn| (turn.id.as_str(), turn.time.0)).collect();
        assert_eq!(speakers, [("a", 1_735_725_600_000), ("b", 1_735_729_200_000)]);
        let [first, second] = &conversation.questions[..] else { panic!("two questions") };
        assert_eq!((first.kind, first.asked.0), (Kind::Multi, 1_735_729_260_000));
        assert_eq!((second.kind, second.asked.0), (Kind::None, 1_735_776_000_000));
    }

    #[test]
    fn a_file_can_hold_one_conversation_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let line = GOOD.replace('\n', " ");
        let second = line.replace("\"one\"", "\"two\"");
        std::fs::write(folder.path().join("a.jsonl"), format!("{line}\n\n{second}\n")).unwrap();
        std::fs::write(folder.path().join("README.md"), "not this").unwrap();
        let ids: Vec<String> = read_folder(folder.path()).unwrap().into_iter().map(|one| one.id).collect();
        assert_eq!(ids, ["one", "two"]);
        let file = folder.path().join("b.jsonl");
        std::fs::write(&file, format!("{second}\n{}\n", line.replace("Too hot.", ""))).unwrap();
        let error = read(&file).unwrap_err().to_string();
        assert_eq!(error, format!("{}:2: turn `b`: its id or its text is empty", file.display()));
        std::fs::write(&file, second).unwrap();
        let error = read_folder(folder.path()).unwrap_err().to_string();
        assert_eq!(error, format!("{}: a second conversation `two`", file.display()));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let check = |from: &str, to: &str, expect: &str| {
            assert!(GOOD.contains(from), "{from}");
            let error = parse("set.json", 1, &GOOD.replacen(from, to, 1)).unwrap_err().to_string();
            assert_eq!(error, expect);
        };
        check("\"Ada\"", "\"\"", "set.json:4: turn `a`: a chat has a `speaker` and no `role`");
        check(
            "\"speaker\": \"Bo\"",
            "\"role\": \"user\"",
            "set.json:5: turn `b`: a chat has a `speaker` and no `role`",
        );
        check("T12:00:00+01:00", "", "set.json:5: turn `b`: its time is no instant of ISO 8601");
        check("T12:00", "T10:00", "set.json:5: turn `b`: it is earlier than the turn before it");
        check("\"b\"", "\"a\"", "set.json:5: turn `a`: there is another one with this id");
        check("Too hot.", " ", "set.json:5: turn `b`: its id or its text is empty");
        check("[\"a\", \"b\"]", "[\"a\", \"c\"]", "set.json:8: question `q1`: there is no turn `c`");
        check(
            "[\"a\", \"b\"]",
            "[\"a\", \"a\"]",
            "set.json:8: question `q1`: the turn `a` stands twice in its evidence",
        );
        check(
            "[\"a\", \"b\"]",
            "[\"a\"]",
            "set.json:8: question `q1`: a question of the kind `multi` needs two turns at least",
        );
        check("[]", "[\"a\"]", "set.json:9: question `q2`: a question of the kind `none` has no evidence");
        check("none", "single", "set.json:9: question `q2`: a question of the kind `single` needs evidence");
        check("q2", "q1", "set.json:9: question `q1`: there is another one with this id or text");
        check(
            "\"b\"]",
            "\"b\"], \"asked\": \"2025-01-01T11:00:00Z\"",
            "set.json:8: question `q1`: the turn `b` is not before the question",
        );
        check("\"one\"", "\"o ne\"", "set.json:1: `o ne` is no name of a conversation");
        check(
            "\"text\": \"Who",
            "\"words\": \"Who",
            "set.json:9: unknown field `words`, expected one of `id`, `kind`, `text`, `evidence`, `asked`",
        );
        check(
            "\"language\"",
            "\"tongue\"",
            "set.json:2: unknown field `tongue`, expected one of `id`, `form`, `language`, `about`, `turns`, `questions`",
        );
        check("\"chat\"", "\"talk\"", "set.json:2: unknown variant `talk`, expected `chat` or `assistant`");
    }
}
