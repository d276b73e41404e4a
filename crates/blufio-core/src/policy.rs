//! The one place that decides whether a tool call may run.
//!
//! Models are taken to be in the hands of whoever wrote the last text they read. So nothing here rests on what a model says:
//! the facts are what the tool may do, on whose behalf the turn runs, whether foreign or private text is before the model,
//! and whether the arguments are the person's own words (see [`crate::provenance`]).
//!
//! A call has *effects* if it changes something or sends bytes to a place that its arguments choose.

use crate::access::Principal;
use crate::context::standing::is_standing;
use crate::ids::ToolName;
use crate::port::{ArgRole, Egress, Replay, ToolSpec};
use crate::provenance::{OwnWords, Url};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

/// Version of these rules. An "always" of an owner holds under the rules it was given under, and under no others.
pub const POLICY_VERSION: u32 = 1;
/// Addresses out of foreign text that may be fetched in one turn without asking, while private text is before the model:
/// each choice tells its server a few bits.
pub const FOREIGN_FETCHES_MAX: u32 = 5;

/// What kinds of text are before the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Words of others, or of a model that had read words of others.
    pub foreign: bool,
    /// What must not leave this machine.
    pub private: bool,
}

/// What is known about a call when it is judged.
pub struct CallFacts<'a> {
    /// The tool's own declaration.
    pub tool: &'a ToolSpec,
    /// Its arguments, an object.
    pub arguments: &'a Value,
    /// On whose behalf the turn runs.
    pub principal: &'a Principal,
    /// The owner wants to be asked before this tool runs.
    pub ask_first: bool,
    /// What is before the model.
    pub shown: Shown,
    /// Others read this conversation, too, so that what a file holds is told to them.
    pub shared: bool,
    /// The person's own words in this conversation.
    pub own: &'a OwnWords,
    /// Addresses that stand in the foreign text before the model.
    pub foreign_urls: &'a BTreeSet<Url>,
    /// How many of them may still be fetched in this turn.
    pub foreign_fetches_left: u32,
}

/// What to do with a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Run it.
    Allow(Rule),
    /// Wait until an owner has said yes.
    Ask(Rule),
    /// Do not run it; the model reads why.
    Deny(String),
}

/// Which rule decided; one word of the decision log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// It has no effects.
    NoEffects,
    /// It goes into the conversation, or to a service of the operator's choice.
    KnownPlace,
    /// No words of others are before the model.
    NothingForeign,
    /// An owner has said "always" to exactly this.
    Granted,
    /// It goes where the person's own words say.
    OwnWords,
    /// It fetches an address, and nothing private is before the model.
    NothingPrivate,
    /// It fetches an address that stands, as it is, in text before the model.
    ShownAddress,
    /// The owner's list, or the tool itself, says that an owner is asked.
    AlwaysAsked,
    /// Words of others are before the model, and where this goes is not the person's own words.
    ForeignDestination,
    /// Words of others are before the model, and what this sends may be private.
    PrivateContent,
    /// Others read the conversation, their words are before the model, and the person did not name this file.
    SharedFile,
    /// Words of others are before the model, and this would stand in front of every conversation.
    Standing,
}

impl Rule {
    /// Why an owner is asked, in plain words; what the question says.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ForeignDestination => {
                "I have read text of others, and where this goes is not in your own words, so it may be their wish and not yours."
            }
            Self::PrivateContent => {
                "I have read text of others and something of yours, and this would put content somewhere that you did not write."
            }
            Self::SharedFile => {
                "Others read this conversation, and you have not named this file in it, so it may be their wish to see it and not yours."
            }
            Self::Standing => "I have read text of others, and this would change what I am told in every conversation.",
            Self::AlwaysAsked => "I always ask before this.",
            Self::NoEffects
            | Self::KnownPlace
            | Self::NothingForeign
            | Self::Granted
            | Self::OwnWords
            | Self::NothingPrivate
            | Self::ShownAddress => "",
        }
    }
}

/// Judges one call.
#[must_use]
pub fn decide(facts: &CallFacts<'_>) -> Decision {
    let CallFacts { tool, shown, .. } = facts;
    // What the owner wants to be asked about, people may ask for. The owner's secrets are nobody else's.
    let secret = tool.uses_secret(facts.arguments);
    if matches!(facts.principal, Principal::Person(_)) && (secret || !(tool.people || facts.ask_first)) {
        return Decision::Deny(denied(&tool.name));
    }
    let asked = tool.asks || facts.ask_first;
    if asked {
        return Decision::Ask(Rule::AlwaysAsked);
    }
    if tells_others(facts) {
        return Decision::Ask(Rule::SharedFile);
    }
    match (tool.replay, tool.egress) {
        (Replay::Pure, Egress::None) => Decision::Allow(Rule::NoEffects),
        (Replay::Pure, Egress::Service) | (_, Egress::Conversation) => Decision::Allow(Rule::KnownPlace),
        _ if !shown.foreign => Decision::Allow(Rule::NothingForeign),
        (Replay::Pure, Egress::Anywhere) => fetch(facts),
        _ => effect(facts),
    }
}

/// Whether an owner may answer "always": what runs programs, deletes or pays is looked at every time once words of others are
/// before the model, and so is what is shown to others.
#[must_use]
pub fn is_grantable(facts: &CallFacts<'_>) -> bool {
    let dangerous = facts.tool.asks && facts.shown.foreign;
    !dangerous && !tells_others(facts)
}

/// Opening a file, in a conversation that others read along and have written in: whatever the model says next is said to them,
/// and that cannot be asked about any more. Only the person's own words open one there.
fn tells_others(facts: &CallFacts<'_>) -> bool {
    let opens = facts.tool.private || facts.tool.egress == Egress::Conversation;
    let paths = || facts.tool.arg_roles.iter().filter(|(_, role)| *role == ArgRole::Path).map(|(name, _)| *name);
    let named = || paths().all(|path| facts.arguments.get(path).is_some_and(|value| facts.own.holds_path(value)));
    facts.shared && facts.shown.foreign && opens && paths().next().is_some() && !named()
}

/// Reading from an address that the arguments name, with foreign text before the model.
fn fetch(facts: &CallFacts<'_>) -> Decision {
    // A secret is private whatever else is before the model, and words of others do not choose what is done with it.
    let secret = facts.tool.uses_secret(facts.arguments);
    if !facts.shown.private && !secret {
        return Decision::Allow(Rule::NothingPrivate);
    }
    if all(facts, ArgRole::Destination, |value| facts.own.holds(value)) {
        return Decision::Allow(Rule::OwnWords);
    }
    let shown = |value: &Value| {
        value.as_str().and_then(Url::parse).is_some_and(|address| facts.foreign_urls.contains(&address))
    };
    if !secret && facts.foreign_fetches_left > 0 && all(facts, ArgRole::Destination, shown) {
        return Decision::Allow(Rule::ShownAddress);
    }
    Decision::Ask(Rule::ForeignDestination)
}

/// Changing or sending something, with foreign text before the model.
fn effect(facts: &CallFacts<'_>) -> Decision {
    let stands = |(name, value): (&String, &Value)| {
        facts.tool.role(name) == ArgRole::Path && value.as_str().is_some_and(is_standing)
    };
    if facts.arguments.as_object().is_some_and(|arguments| arguments.iter().any(stands)) {
        return Decision::Ask(Rule::Standing);
    }
    let own = |value: &Value| facts.own.holds(value);
    if !all(facts, ArgRole::Destination, own) || !all(facts, ArgRole::Path, |value| facts.own.holds_path(value)) {
        return Decision::Ask(Rule::ForeignDestination);
    }
    // A file tells nobody anything, whatever is in it, and is foreign text to whoever reads it again.
    let file = facts.tool.egress == Egress::None && facts.tool.arg_roles.iter().any(|(_, role)| *role == ArgRole::Path);
    if !file && facts.shown.private && !all(facts, ArgRole::Content, own) {
        return Decision::Ask(Rule::PrivateContent);
    }
    Decision::Allow(Rule::OwnWords)
}

/// Every argument of a role is such.
fn all(facts: &CallFacts<'_>, role: ArgRole, such: impl Fn(&Value) -> bool) -> bool {
    let Some(arguments) = facts.arguments.as_object() else { return false };
    arguments.iter().filter(|(name, _)| facts.tool.role(name) == role).all(|(_, value)| such(value))
}

fn denied(tool: &ToolName) -> String {
    format!("`{tool}` is only available to the owner")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::message::Origin;
    use proptest::prelude::*;
    use serde_json::json;

    const OWNER: Principal = Principal::Owner;
    const NOTHING: Shown = Shown { foreign: false, private: false };
    const FOREIGN: Shown = Shown { foreign: true, private: false };
    const BOTH: Shown = Shown { foreign: true, private: true };

    fn tool(replay: Replay, egress: Egress) -> ToolSpec {
        let arg_roles = &[("to", ArgRole::Destination), ("text", ArgRole::Content), ("path", ArgRole::Path)];
        ToolSpec { replay, egress, arg_roles, ..ToolSpec::new("t", "t", json!({"type": "object"})) }
    }

    fn own() -> OwnWords {
        let mut own = OwnWords::default();
        own.add("Send “I am late” to ann@example.org, and put https://example.org/a into notes/a.md.");
        own
    }

    fn judge(tool: &ToolSpec, arguments: &Value, shown: Shown) -> Decision {
        let foreign_urls = Url::all_in("see https://shown.example/x").collect();
        decide(&CallFacts {
            tool,
            arguments,
            principal: &OWNER,
            ask_first: false,
            shown,
            shared: false,
            own: &own(),
            foreign_urls: &foreign_urls,
            foreign_fetches_left: 1,
        })
    }

    #[test]
    fn what_has_no_effects_is_never_asked_for() {
        let read = tool(Replay::Pure, Egress::None);
        assert_eq!(judge(&read, &json!({"to": "anything"}), BOTH), Decision::Allow(Rule::NoEffects));
        let search = tool(Replay::Pure, Egress::Service);
        assert_eq!(judge(&search, &json!({"to": "anything"}), BOTH), Decision::Allow(Rule::KnownPlace));
    }

    #[test]
    fn where_others_read_along_a_file_is_opened_by_the_owners_words_alone() {
        let arg_roles = &[("path", ArgRole::Path)];
        let read = ToolSpec { private: true, returns: Origin::Derived, arg_roles, ..tool(Replay::Pure, Egress::None) };
        let send = ToolSpec { arg_roles, ..tool(Replay::Idempotent, Egress::Conversation) };
        let (own, foreign_urls) = (own(), BTreeSet::new());
        let facts = |tool, arguments, shown, shared| CallFacts {
            tool,
            arguments,
            principal: &OWNER,
            ask_first: false,
            shown,
            shared,
            own: &own,
            foreign_urls: &foreign_urls,
            foreign_fetches_left: 1,
        };
        let (named, other, none) = (json!({"path": "notes/a.md"}), json!({"path": "salaries.md"}), json!({}));
        for tool in [&read, &send] {
            for arguments in [&other, &none] {
                let facts = facts(tool, arguments, FOREIGN, true);
                assert!(!is_grantable(&facts), "what others want to see is looked at every time");
                assert_eq!(decide(&facts), Decision::Ask(Rule::SharedFile));
            }
            let runs =
                |arguments, shown, shared| matches!(decide(&facts(tool, arguments, shown, shared)), Decision::Allow(_));
            assert!(runs(&named, FOREIGN, true) && runs(&other, NOTHING, true) && runs(&other, BOTH, false));
        }
    }

    #[test]
    fn effects_go_where_the_person_said() {
        let send = tool(Replay::Effectful, Egress::Anywhere);
        let check = |arguments: Value, shown, expected| assert_eq!(judge(&send, &arguments, shown), expected);
        let eve = json!({"to": "eve@example.org", "text": "x"});
        check(eve.clone(), NOTHING, Decision::Allow(Rule::NothingForeign));
        check(eve, FOREIGN, Decision::Ask(Rule::ForeignDestination));
        check(json!({"to": "ann@example.org", "text": "x"}), FOREIGN, Decision::Allow(Rule::OwnWords));
        check(json!({"to": "ann@example.org", "text": "x"}), BOTH, Decision::Ask(Rule::PrivateContent));
        check(json!({"to": "ann@example.org", "text": "I am late"}), BOTH, Decision::Allow(Rule::OwnWords));
        check(json!({"to": ["ann@example.org", "eve@x.test"]}), FOREIGN, Decision::Ask(Rule::ForeignDestination));
        // An argument without a role is a destination.
        check(json!({"to": "ann@example.org", "other": "x"}), FOREIGN, Decision::Ask(Rule::ForeignDestination));
        check(json!("ann@example.org"), FOREIGN, Decision::Ask(Rule::ForeignDestination));
    }

    #[test]
    fn what_stays_here_may_hold_anything_where_the_person_said() {
        let write = tool(Replay::Idempotent, Egress::None);
        let derived = json!({"path": "notes/a.md", "text": "what the page said"});
        assert_eq!(judge(&write, &derived, BOTH), Decision::Allow(Rule::OwnWords));
        let elsewhere = json!({"path": "other.md", "text": "x"});
        assert_eq!(judge(&write, &elsewhere, BOTH), Decision::Ask(Rule::ForeignDestination));
        let standing = json!({"path": "Soul.md", "text": "x"});
        assert_eq!(judge(&write, &standing, BOTH), Decision::Ask(Rule::Standing));
        assert_eq!(judge(&write, &standing, NOTHING), Decision::Allow(Rule::NothingForeign));
    }

    #[test]
    fn addresses() {
        let fetch = ToolSpec { arg_roles: &[("url", ArgRole::Destination)], ..tool(Replay::Pure, Egress::Anywhere) };
        let check = |url: &str, shown, expected| assert_eq!(judge(&fetch, &json!({"url": url}), shown), expected);
        check("https://anywhere.example/", NOTHING, Decision::Allow(Rule::NothingForeign));
        check("https://anywhere.example/", FOREIGN, Decision::Allow(Rule::NothingPrivate));
        check("https://anywhere.example/", BOTH, Decision::Ask(Rule::ForeignDestination));
        check("https://example.org/a", BOTH, Decision::Allow(Rule::OwnWords));
        check("https://shown.example/x", BOTH, Decision::Allow(Rule::ShownAddress));
        check("https://shown.example/x?secret", BOTH, Decision::Ask(Rule::ForeignDestination));
        check("https://shown.example/", BOTH, Decision::Ask(Rule::ForeignDestination));
    }

    #[test]
    fn only_so_many_shown_addresses_are_fetched() {
        let fetch = tool(Replay::Pure, Egress::Anywhere);
        let arguments = json!({"to": "https://shown.example/x"});
        let foreign_urls = Url::all_in("https://shown.example/x").collect();
        let (own, tool, principal) = (OwnWords::default(), &fetch, &OWNER);
        let facts = CallFacts {
            tool,
            arguments: &arguments,
            principal,
            ask_first: false,
            shown: BOTH,
            shared: false,
            own: &own,
            foreign_urls: &foreign_urls,
            foreign_fetches_left: 0,
        };
        assert_eq!(decide(&facts), Decision::Ask(Rule::ForeignDestination));
    }

    #[test]
    fn a_secret_goes_where_the_owners_words_say() {
        let arg_roles = &[("to", ArgRole::Destination), ("key", ArgRole::Credential)];
        let fetch = ToolSpec { arg_roles, people: true, ..tool(Replay::Pure, Egress::Anywhere) };
        let check = |to: &str, shown, expect: Decision| {
            assert_eq!(judge(&fetch, &json!({"to": to, "key": "mine"}), shown), expect, "{to}");
        };
        check("https://anywhere.example/", NOTHING, Decision::Allow(Rule::NothingForeign));
        check("https://anywhere.example/", FOREIGN, Decision::Ask(Rule::ForeignDestination));
        check("https://shown.example/x", BOTH, Decision::Ask(Rule::ForeignDestination));
        check("https://example.org/a", BOTH, Decision::Allow(Rule::OwnWords));
        assert!(!fetch.uses_secret(&json!({"to": "x", "key": null})) && !fetch.uses_secret(&json!({"to": "x"})));
        let (own, foreign_urls, person) = (OwnWords::default(), BTreeSet::new(), Principal::Person("7".into()));
        let by_a_person = |arguments: &Value, ask_first| {
            decide(&CallFacts {
                tool: &fetch,
                arguments,
                principal: &person,
                ask_first,
                shown: NOTHING,
                shared: false,
                own: &own,
                foreign_urls: &foreign_urls,
                foreign_fetches_left: 0,
            })
        };
        for ask_first in [false, true] {
            let with_key = by_a_person(&json!({"to": "https://a.example", "key": "mine"}), ask_first);
            assert!(matches!(with_key, Decision::Deny(_)), "an owner's secret is nobody else's to ask for");
        }
        assert!(matches!(by_a_person(&json!({"to": "https://a.example"}), false), Decision::Allow(_)));
    }

    #[test]
    fn who_is_no_owner_uses_few_tools_or_asks_the_owner() {
        let person = Principal::Person("7".into());
        let (arguments, own, foreign_urls) = (json!({}), OwnWords::default(), BTreeSet::new());
        let judge = |people: bool, ask_first: bool, principal: &Principal| {
            decide(&CallFacts {
                tool: &ToolSpec { people, ..tool(Replay::Idempotent, Egress::None) },
                arguments: &arguments,
                principal,
                ask_first,
                shown: NOTHING,
                shared: false,
                own: &own,
                foreign_urls: &foreign_urls,
                foreign_fetches_left: 0,
            })
        };
        assert!(matches!(judge(false, false, &person), Decision::Deny(_)));
        assert_eq!(judge(false, true, &person), Decision::Ask(Rule::AlwaysAsked));
        assert_eq!(judge(true, false, &person), Decision::Allow(Rule::NothingForeign));
        assert_eq!(judge(true, true, &person), Decision::Ask(Rule::AlwaysAsked));
        assert_eq!(judge(false, true, &OWNER), Decision::Ask(Rule::AlwaysAsked));
    }

    #[test]
    fn a_program_is_asked_for_again_once_words_of_others_are_read() {
        let exec = ToolSpec { asks: true, ..tool(Replay::Effectful, Egress::None) };
        let (arguments, own, foreign_urls) = (json!({}), OwnWords::default(), BTreeSet::new());
        let facts = |shown| CallFacts {
            tool: &exec,
            arguments: &arguments,
            principal: &OWNER,
            ask_first: false,
            shown,
            shared: false,
            own: &own,
            foreign_urls: &foreign_urls,
            foreign_fetches_left: 0,
        };
        for (shown, grantable) in [(NOTHING, true), (FOREIGN, false)] {
            assert_eq!(decide(&facts(shown)), Decision::Ask(Rule::AlwaysAsked));
            assert_eq!(is_grantable(&facts(shown)), grantable);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever the arguments: with foreign text before the model, nothing with effects runs towards words that the
        /// person did not write.
        #[test]
        fn foreign_words_cause_no_effect_unasked(to in "[a-z]{1,12}@[a-z]{1,8}\\.test", text in ".{0,40}", private: bool) {
            let send = tool(Replay::Effectful, Egress::Anywhere);
            let decided = judge(&send, &json!({"to": to, "text": text}), Shown { foreign: true, private });
            prop_assert_eq!(decided, Decision::Ask(Rule::ForeignDestination));
        }
    }
}
