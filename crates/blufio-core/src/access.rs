//! Who may speak: one function, called before anything reads the content of an update.
//!
//! Identity is the sender's numeric id and nothing else; names change hands.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

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
    /// A conversation between two.
    pub private: bool,
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
    /// Approved pairings: user and whether the pairing made an owner.
    pub paired: std::collections::BTreeMap<i64, bool>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Go on, on behalf of this principal.
    Granted(Principal),
    /// A stranger who may ask for a pairing.
    MayPair,
    /// Say nothing; the reason is counted.
    Refused(Refusal),
}

/// Why somebody was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Groups are not served.
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
    if !sender.private || sender.chat != sender.user {
        return Access::Refused(Refusal::Group);
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
        Sender { user, chat: user, private: true, bot: false, impersonal: false }
    }

    fn rules(allow: &[i64], owners: &[i64], paired: &[(i64, bool)]) -> AccessRules {
        AccessRules {
            direct: DirectPolicy::Pairing,
            allow_from: allow.iter().copied().collect(),
            owners: owners.iter().copied().collect(),
            paired: paired.iter().copied().collect(),
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
