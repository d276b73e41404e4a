use super::*;
use crate::memory::{NewFact, Scope};
use crate::time::Timestamp;
use proptest::prelude::*;

fn fact(id: i64, kind: FactKind, statement: &str) -> Fact {
    let fact = NewFact {
        scope: Scope::stored("owner".to_owned()),
        kind,
        subject: "owner".to_owned(),
        statement: statement.to_owned(),
        source: None,
        said: Said::Owner,
        confidence: 90,
        valid_from: None,
        valid_to: None,
        supersedes: None,
        pinned: false,
    };
    Fact { id: FactId(id), fact, learned_at: Timestamp(0), superseded_by: None }
}

fn some() -> Vec<Fact> {
    vec![
        fact(1, FactKind::Standing, "Always answer in German."),
        fact(2, FactKind::Fact, "Mia lives in Leeds."),
        fact(3, FactKind::Fact, "The cat is called Lorca."),
        fact(4, FactKind::Event, "Tom started at the harbour on 1 March 2025."),
    ]
}

fn line(kind: FactKind, text: &str) -> Line {
    Line { kind, text: text.to_owned() }
}

#[test]
fn the_file_is_readable() {
    let mut facts = some();
    facts[2].fact.said = Said::Foreign;
    facts[3].superseded_by = Some(FactId(9));
    insta::assert_snapshot!(render(&facts), @r"
    # Memory

    <!-- What is remembered, a line each. Edit a line to correct it, delete it to have it forgotten, add one to have it
    remembered. The number in a comment says which fact a line is; it may stay or go. -->

    ## Standing

    - Always answer in German. <!-- f1 -->

    ## Facts

    - Mia lives in Leeds. <!-- f2 -->
    - The cat is called Lorca. <!-- f3, others say so -->

    ## Events
    ");
}

/// Edits the file of [`some`] by replacing `from` with `to`.
fn check(from: &str, to: &str, expect: Changes) {
    let shown = render(&some());
    assert!(shown.contains(from), "{from}");
    assert_eq!(compare(&shown, &shown.replacen(from, to, 1), &some()), Ok(expect), "{from} → {to}");
}

#[test]
fn edits_are_found() {
    check("", "", Changes::default());
    check(" <!-- f2 -->", "", Changes::default());
    check("- Mia lives", "  *   Mia  lives", Changes::default());
    check("lives in Leeds.", "lives\n  in Leeds.", Changes::default());
    let edited = |line| Changes { edited: vec![(FactId(2), line)], ..Changes::default() };
    check("Leeds", "York", edited(line(FactKind::Fact, "Mia lives in York.")));
    let gone = Changes { removed: vec![FactId(2)], ..Changes::default() };
    check("- Mia lives in Leeds. <!-- f2 -->\n", "", gone.clone());
    check("Mia lives in Leeds.", "", gone.clone());
    let added = vec![line(FactKind::Fact, "Mia lives in York.")];
    check("Leeds. <!-- f2 -->", "York.", Changes { added, ..gone });
    let added = |kind, text| Changes { added: vec![line(kind, text)], ..Changes::default() };
    check("## Events\n", "## Events\n\n- Leo was born on 2 May.\n", added(FactKind::Event, "Leo was born on 2 May."));
    check("## Facts\n", "## Facts\n\nLeo plays chess.\n", added(FactKind::Fact, "Leo plays chess."));
    check(
        "## Facts\n",
        "- Never call before nine.\n\n## Facts\n",
        added(FactKind::Standing, "Never call before nine."),
    );
    check("## Facts\n", "## Facts\n- Leo. <!-- f77 -->\n", added(FactKind::Fact, "Leo."));
    check("# Memory\n", "# Memory\n\nLeo.\n", added(FactKind::Fact, "Leo."));
    check("## Facts\n", "## Facts\n- The cat is called Lorca.\n", Changes::default());
    check("## Facts\n", "## Facts\n<!-- - not this -->\n", Changes::default());
    // A line that is moved becomes one of another kind, with its number and without it.
    for mark in [" <!-- f3 -->", ""] {
        let moved = line(FactKind::Event, "The cat is called Lorca.");
        let expect = Changes { edited: vec![(FactId(3), moved)], ..Changes::default() };
        let to = format!("\n## Events\n- The cat is called Lorca.{mark}\n");
        check("- The cat is called Lorca. <!-- f3 -->\n\n## Events\n", &to, expect);
    }
}

#[test]
fn what_changed_on_both_sides_stays_twice() {
    let shown = render(&some());
    let mut facts = some();
    facts[1].fact.statement = "Mia lives in Bath.".to_owned();
    facts[2].superseded_by = Some(FactId(8));
    let conflict = |id, file: Option<&str>, now: Option<&str>| Conflict {
        id: FactId(id),
        file: file.map(str::to_owned),
        now: now.map(str::to_owned),
    };
    assert_eq!(compare(&shown, &shown, &facts), Ok(Changes::default()));
    let edited = shown.replace("Leeds", "York").replace("Lorca", "Pangur");
    let expect = Changes {
        added: vec![line(FactKind::Fact, "Mia lives in York."), line(FactKind::Fact, "The cat is called Pangur.")],
        conflicts: vec![
            conflict(2, Some("Mia lives in York."), Some("Mia lives in Bath.")),
            conflict(3, Some("The cat is called Pangur."), None),
        ],
        ..Changes::default()
    };
    assert_eq!(compare(&shown, &edited, &facts), Ok(expect));
    assert_eq!(compare(&shown, &shown.replace("Leeds", "Bath"), &facts), Ok(Changes::default()));
    let without: String = shown
        .lines()
        .filter(|line| !line.contains("- Mia") && !line.contains("- The"))
        .fold(String::new(), |text, line| text + line + "\n");
    let expect = Changes { conflicts: vec![conflict(2, None, Some("Mia lives in Bath."))], ..Changes::default() };
    assert_eq!(compare(&shown, &without, &facts), Ok(expect));
}

#[test]
fn a_lost_or_endless_file_changes_nothing() {
    let shown = render(&some());
    assert_eq!(compare(&shown, " \n", &some()), Ok(Changes::default()));
    assert_eq!(compare(&shown, &"x".repeat(DOCUMENT_BYTES_MAX + 1), &some()), Err(TooLong));
    let by_hand = compare("", "# Notes\n- One.\n- Two.\n", &[]).unwrap();
    assert_eq!(by_hand.added, [line(FactKind::Fact, "One."), line(FactKind::Fact, "Two.")]);
}

/// What is done to a line.
#[derive(Clone, Copy, Debug)]
enum Edit {
    Keep,
    Unmark,
    Change,
    Remove,
    AddAfter,
}

fn edits() -> impl Strategy<Value = Vec<(FactKind, Edit)>> {
    let kind = prop_oneof![Just(FactKind::Standing), Just(FactKind::Fact), Just(FactKind::Event)];
    let edit =
        prop_oneof![Just(Edit::Keep), Just(Edit::Unmark), Just(Edit::Change), Just(Edit::Remove), Just(Edit::AddAfter)];
    proptest::collection::vec((kind, edit), 1..30)
}

proptest! {
    #[test]
    fn what_is_rendered_is_no_change(statements in proptest::collection::vec("\\PC{1,60}|[-# <>!f1\n]{1,12}", 0..12)) {
        let facts: Vec<Fact> = (1..).zip(&statements).map(|(id, text)| fact(id, FactKind::Fact, text)).collect();
        let shown = render(&facts);
        prop_assert_eq!(compare(&shown, &shown, &facts), Ok(Changes::default()));
    }

    #[test]
    fn random_edits_are_found_exactly(plan in edits()) {
        let facts: Vec<Fact> = (1..).zip(&plan).map(|(id, (kind, _))| fact(id, *kind, &format!("Fact number {id}."))).collect();
        let shown = render(&facts);
        let (mut edited, mut expect) = (String::new(), Changes::default());
        for text in shown.lines() {
            let id = text.split("<!-- f").nth(1).and_then(|rest| rest.split(' ').next()).and_then(|id| id.parse::<i64>().ok());
            let Some((id, (kind, edit))) = id.map(|id| (id, plan[usize::try_from(id).unwrap() - 1])) else {
                edited += &format!("{text}\n");
                continue;
            };
            match edit {
                Edit::Keep => edited += &format!("{text}\n"),
                Edit::Unmark => edited += &format!("- Fact number {id}.\n"),
                Edit::Change => {
                    edited += &format!("{}\n", text.replace("number", "no longer number"));
                    expect.edited.push((FactId(id), line(kind, &format!("Fact no longer number {id}."))));
                }
                Edit::Remove => expect.removed.push(FactId(id)),
                Edit::AddAfter => {
                    edited += &format!("{text}\n- Another after {id}.\n");
                    expect.added.push(line(kind, &format!("Another after {id}.")));
                }
            }
        }
        expect.removed.sort();
        prop_assert_eq!(compare(&shown, &edited, &facts), Ok(expect));
    }
}
