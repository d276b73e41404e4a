//! Messages labelled by hand before the rules were written. Every third one is held out: the rules were not tuned on it.

use super::super::*;
use super::facts::{HAIKU, OPUS, SONNET, Setting};

struct Labelled {
    small: bool,
    effort: Effort,
    text: String,
}

fn labelled() -> Vec<Labelled> {
    let line = |line: &str| {
        let mut fields = line.splitn(3, '\t');
        let mut field = || fields.next().unwrap();
        let small = match field() {
            "small" => true,
            "stay" => false,
            other => panic!("{other}"),
        };
        let effort = Effort::parse(field()).unwrap();
        let text = field().replace("\\\\", "\u{0}").replace("\\n", "\n").replace("\\t", "\t").replace('\u{0}', "\\");
        Labelled { small, effort, text }
    };
    include_str!("../labelled.tsv").lines().map(line).collect()
}

/// Texts for the simulator.
pub fn texts() -> Vec<String> {
    labelled().into_iter().map(|labelled| labelled.text).collect()
}

/// Agreement on the tier and on the effort, in tenths of a percent.
fn agreement(messages: &[&Labelled], show: bool) -> (usize, usize) {
    let setting = Setting::default();
    let (mut tier, mut effort) = (0, 0);
    for message in messages {
        let decision = decide(&Features::of(&message.text, 0, false), &setting.facts()).unwrap();
        let small = decision.model.as_str() == HAIKU;
        tier += usize::from(small == message.small);
        effort += usize::from(decision.effort == Some(message.effort));
        if show && (small != message.small || decision.effort != Some(message.effort)) {
            println!("{:?} wanted {}, {}", message.text, message.effort.as_str(), decision.explain());
        }
    }
    (tier * 1_000 / messages.len(), effort * 1_000 / messages.len())
}

#[test]
fn route_agrees_with_the_labels() {
    let all = labelled();
    assert!(all.len() >= 320);
    let part =
        |held: bool| all.iter().enumerate().filter(move |(at, _)| (at % 3 == 2) == held).map(|(_, message)| message);
    let (tuned, held_out) = (part(false).collect::<Vec<_>>(), part(true).collect::<Vec<_>>());
    // Misses of the held-out third are not shown, so that nobody tunes on them.
    for (name, messages, show) in
        [("tuned", tuned, true), ("held out", held_out, false), ("all", all.iter().collect(), false)]
    {
        let (tier, effort) = agreement(&messages, show);
        println!("{name}: {} messages, tier {tier} ‰, effort {effort} ‰", messages.len());
        assert!(tier >= 950 && effort >= 800, "{name}: tier {tier} ‰, effort {effort} ‰");
    }
}

#[test]
fn route_sends_no_long_message_down() {
    // Nothing speaks for staying but the message itself: the cache is cold, and nobody comes back in time.
    let odds = Odds::default();
    for session in [SONNET, OPUS] {
        let setting = Setting { session: ModelId::new(session), odds, ..Setting::default() };
        for message in labelled().iter().filter(|message| !message.small) {
            let features = Features::of(&message.text, 0, false);
            let decision = decide(&features, &setting.facts()).unwrap();
            assert!(features.words <= 12 || decision.model.as_str() == session, "{:?}", message.text);
        }
    }
}
