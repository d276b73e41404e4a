//! Who may speak: one function, called before anything reads the content of an update.
//!
//! Identity is the sender's numeric id and nothing else; names change hands.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// On whose behalf something happens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Principal {
    /// May do everything.
    Owner,
    /// A paired or allow-listed person, by id; trusted for its own words only.
    Person(String),
}

/// What a channel knows about the sender of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The sender's numeric id.
    pub user: i64,
    /// The chat it was sent in.
    pub chat: i64,
    /// The topic of the chat, if it has topics.
    pub topic: Option<i64>,
    /// A conversation between two.
    pub private: bool,
    /// Said to the agent: by name, by an answer to it, by a command.
    pub addressed: bool,
    /// The sender is a bot.
    pub bot: bool,
    /// Sent in the name of a chat or by a reserved service account.
    pub impersonal: bool,
}

/// What happens to direct messages of strangers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DirectPolicy {
    /// They get a code once, which the owner may approve.
    #[default]
    Pairing,
    /// They are ignored.
    Allowlist,
    /// Nobody may write, not even the listed.
    Disabled,
}

/// The rules of one channel account, with the approved pairings folded in.
#[derive(Clone, Debug, Default)]
pub struct AccessRules {
    /// What happens to strangers.
    pub direct: DirectPolicy,
    /// Who may write.
    pub allow_from: BTreeSet<i64>,
    /// Who of them is an owner.
    pub owners: BTreeSet<i64>,
    /// Approved pairings: user and whether the pairing made an owner. They hold for private conversations only.
    pub paired: BTreeMap<i64, bool>,
    /// The groups that are served; any other is refused.
    pub groups: BTreeMap<i64, GroupRules>,
    /// Who may speak in groups that name nobody; empty: whoever is in `allow_from`.
    pub group_allow_from: BTreeSet<i64>,
    /// Groups that were upgraded: the new id and the one under which the rules know it.
    pub aliases: BTreeMap<i64, i64>,
}

/// The rules of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRules {
    /// It is served.
    pub enabled: bool,
    /// Only what is said to the agent gets an answer.
    pub require_mention: bool,
    /// Who may speak; empty: see [`AccessRules::group_allow_from`].
    pub allow_from: BTreeSet<i64>,
    /// How many unaddressed messages are kept for the next answer.
    pub history_limit: u32,
    /// Topics with rules of their own.
    pub topics: BTreeMap<i64, TopicRules>,
}

/// The rules of one topic; what is `None` is as in its group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicRules {
    /// See [`GroupRules::enabled`].
    pub enabled: Option<bool>,
    /// See [`GroupRules::require_mention`].
    pub require_mention: Option<bool>,
    /// See [`GroupRules::allow_from`].
    pub allow_from: Option<BTreeSet<i64>>,
    /// See [`GroupRules::history_limit`].
    pub history_limit: Option<u32>,
}

impl AccessRules {
    /// The id under which the rules and the sessions know a chat.
    #[must_use]
    pub fn known_as(&self, chat: i64) -> i64 {
        self.aliases.get(&chat).copied().unwrap_or(chat)
    }

    /// The owners, those by pairing included, lowest id first.
    #[must_use]
    pub fn all_owners(&self) -> Vec<i64> {
        let everybody = self.owners.iter().chain(&self.allow_from).chain(self.paired.keys());
        let owners: BTreeSet<i64> = everybody.copied().filter(|user| is_owner(*user, self)).collect();
        owners.into_iter().collect()
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Go on, on behalf of this principal.
    Granted(Principal),
    /// May speak, but did not speak to the agent: kept for the next answer, as many as this.
    Overheard {
        /// Messages that are kept.
        keep: u32,
    },
    /// A stranger who may ask for a pairing.
    MayPair,
    /// Say nothing; the reason is counted.
    Refused(Refusal),
}

/// Why somebody was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Not a group that is served, or not somebody who may speak there.
    Group,
    /// A bot, a channel or an anonymous administrator.
    NotAPerson,
    /// Not on the list.
    Stranger,
    /// Direct messages are switched off.
    Disabled,
}

impl Refusal {
    /// The word used in metrics and in the inbox.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::NotAPerson => "not_a_person",
            Self::Stranger => "stranger",
            Self::Disabled => "disabled",
        }
    }
}

/// Decides who is speaking.
#[must_use]
pub fn authorize(sender: &Sender, rules: &AccessRules) -> Access {
    if sender.bot || sender.impersonal {
        return Access::Refused(Refusal::NotAPerson);
    }
    if !sender.private {
        return in_group(sender, rules);
    }
    if sender.chat != sender.user {
        return Access::Refused(Refusal::NotAPerson);
    }
    if rules.direct == DirectPolicy::Disabled {
        return Access::Refused(Refusal::Disabled);
    }
    if is_owner(sender.user, rules) {
        return Access::Granted(Principal::Owner);
    }
    if rules.allow_from.contains(&sender.user) || rules.paired.contains_key(&sender.user) {
        return Access::Granted(Principal::Person(sender.user.to_string()));
    }
    match rules.direct {
        DirectPolicy::Pairing => Access::MayPair,
        DirectPolicy::Allowlist | DirectPolicy::Disabled => Access::Refused(Refusal::Stranger),
    }
}

/// A group must be listed, and so must the sender, by numeric id. Pairings count for nothing here.
fn in_group(sender: &Sender, rules: &AccessRules) -> Access {
    let refused = Access::Refused(Refusal::Group);
    let Some(group) = rules.groups.get(&rules.known_as(sender.chat)) else { return refused };
    let topic = sender.topic.and_then(|topic| group.topics.get(&topic));
    if !topic.and_then(|topic| topic.enabled).unwrap_or(group.enabled) {
        return refused;
    }
    let groups = Some(&group.allow_from).filter(|list| !list.is_empty());
    // A topic's list that is empty was written so: it names nobody.
    let named = topic.and_then(|topic| topic.allow_from.as_ref()).or(groups);
    let general = if rules.group_allow_from.is_empty() { &rules.allow_from } else { &rules.group_allow_from };
    if !named.unwrap_or(general).contains(&sender.user) {
        return refused;
    }
    if topic.and_then(|topic| topic.require_mention).unwrap_or(group.require_mention) && !sender.addressed {
        return Access::Overheard { keep: topic.and_then(|topic| topic.history_limit).unwrap_or(group.history_limit) };
    }
    if is_owner(sender.user, rules) {
        return Access::Granted(Principal::Owner);
    }
    Access::Granted(Principal::Person(sender.user.to_string()))
}

/// Listed as owner, paired as owner, or the only listed person where nobody is named owner.
fn is_owner(user: i64, rules: &AccessRules) -> bool {
    let only = rules.owners.is_empty() && rules.allow_from.len() == 1 && rules.allow_from.contains(&user);
    rules.owners.contains(&user) || rules.paired.get(&user) == Some(&true) || only
}

/// The letters of a pairing code: no `I`, `O`, `0`, `1`.
pub const PAIRING_ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// A pairing code of eight symbols from 40 random bits.
#[must_use]
pub fn pairing_code(random: u64) -> String {
    (0..8)
        .map(|place| {
            let index = usize::try_from((random >> (place * 5)) & 31).unwrap_or(0);
            char::from(PAIRING_ALPHABET.get(index).copied().unwrap_or(b'A'))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(user: i64) -> Sender {
        Sender { user, chat: user, topic: None, private: true, addressed: true, bot: false, impersonal: false }
    }

    fn rules(allow: &[i64], owners: &[i64], paired: &[(i64, bool)]) -> AccessRules {
        AccessRules {
            direct: DirectPolicy::Pairing,
            allow_from: allow.iter().copied().collect(),
            owners: owners.iter().copied().collect(),
            paired: paired.iter().copied().collect(),
            ..AccessRules::default()
        }
    }

    fn group(allow: &[i64]) -> GroupRules {
        GroupRules {
            enabled: true,
            require_mention: true,
            allow_from: allow.iter().copied().collect(),
            history_limit: 50,
            topics: BTreeMap::new(),
        }
    }

    #[test]
    fn access_is_decided_by_id_alone() {
        let owner = Access::Granted(Principal::Owner);
        let person = |id: i64| Access::Granted(Principal::Person(id.to_string()));
        assert_eq!(authorize(&from(1), &rules(&[], &[], &[])), Access::MayPair);
        assert_eq!(authorize(&from(1), &rules(&[1], &[], &[])), owner);
        assert_eq!(authorize(&from(1), &rules(&[1, 2], &[], &[])), person(1));
        assert_eq!(authorize(&from(2), &rules(&[1, 2], &[1], &[])), person(2));
        assert_eq!(authorize(&from(1), &rules(&[], &[], &[(1, true)])), owner);
        assert_eq!(authorize(&from(3), &rules(&[], &[], &[(3, false)])), person(3));
    }

    #[test]
    fn a_group_is_served_if_it_and_its_speaker_are_listed() {
        let speaks = |user| Sender { chat: -7, private: false, ..from(user) };
        let refused = Access::Refused(Refusal::Group);
        let mut rules = rules(&[1], &[], &[(3, true)]);
        assert_eq!(authorize(&speaks(1), &rules), refused, "the group is not listed");
        rules.groups.insert(-7, group(&[]));
        assert_eq!(authorize(&speaks(1), &rules), Access::Granted(Principal::Owner));
        assert_eq!(authorize(&speaks(2), &rules), refused, "not listed");
        assert_eq!(authorize(&speaks(3), &rules), refused, "a pairing opens no group");
        rules.group_allow_from = BTreeSet::from([2]);
        assert_eq!(authorize(&speaks(2), &rules), Access::Granted(Principal::Person("2".into())));
        assert_eq!(authorize(&speaks(1), &rules), refused, "the list for groups has precedence");
        rules.groups.insert(-7, group(&[4]));
        assert_eq!(authorize(&speaks(4), &rules), Access::Granted(Principal::Person("4".into())));
        assert_eq!(authorize(&speaks(2), &rules), refused, "the group's own list has precedence");
        assert_eq!(authorize(&from(4), &rules), Access::MayPair, "a group opens no private conversation");
        let upgraded = Sender { chat: -1_007, ..speaks(4) };
        assert_eq!(authorize(&upgraded, &rules), refused);
        rules.aliases.insert(-1_007, -7);
        assert_eq!(authorize(&upgraded, &rules), Access::Granted(Principal::Person("4".into())));
    }

    #[test]
    fn a_topic_may_have_rules_of_its_own() {
        let speaks = |topic, addressed| Sender { chat: -7, private: false, topic, addressed, ..from(1) };
        let mut rules = rules(&[1], &[], &[]);
        let open = TopicRules { require_mention: Some(false), ..TopicRules::default() };
        let closed = TopicRules { enabled: Some(false), ..TopicRules::default() };
        let others = TopicRules { allow_from: Some(BTreeSet::from([2])), ..TopicRules::default() };
        let topics = BTreeMap::from([(5, open), (6, closed), (8, others)]);
        rules.groups.insert(-7, GroupRules { topics, ..group(&[]) });
        assert_eq!(authorize(&speaks(None, false), &rules), Access::Overheard { keep: 50 });
        assert_eq!(authorize(&speaks(Some(5), false), &rules), Access::Granted(Principal::Owner));
        assert_eq!(authorize(&speaks(Some(6), true), &rules), Access::Refused(Refusal::Group));
        assert_eq!(authorize(&speaks(Some(8), true), &rules), Access::Refused(Refusal::Group));
    }

    #[test]
    fn groups_bots_and_service_accounts_are_refused_even_if_listed() {
        let listed = rules(&[1], &[1], &[]);
        let group = Sender { chat: -100, private: false, ..from(1) };
        let bot = Sender { bot: true, ..from(1) };
        let service = Sender { impersonal: true, ..from(1) };
        assert_eq!(authorize(&group, &listed), Access::Refused(Refusal::Group));
        assert_eq!(authorize(&bot, &listed), Access::Refused(Refusal::NotAPerson));
        assert_eq!(authorize(&service, &listed), Access::Refused(Refusal::NotAPerson));
        let off = AccessRules { direct: DirectPolicy::Disabled, ..listed };
        assert_eq!(authorize(&from(1), &off), Access::Refused(Refusal::Disabled));
    }

    #[test]
    fn pairing_codes_use_every_bit() {
        assert_eq!(pairing_code(0), "AAAAAAAA");
        assert_eq!(pairing_code(u64::MAX), "99999999");
        assert_ne!(pairing_code(1 << 39), pairing_code(0));
    }
}
