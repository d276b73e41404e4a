//! The audit log: a chain of entries in which each names the one before it, so that none can be changed, removed or put
//! between others without notice.
//!
//! The chain itself holds who, what and how it ended. Details are bound to it by a salted hash and lie beside it, so that they
//! can be forgotten while the chain stays whole. Where entries are kept is not known here.

use crate::crypto::{Canonical, hmac, same, sha256};
use crate::ids::SessionKey;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Bytes of an actor, target or outcome. More: cut.
pub const FIELD_BYTES_MAX: usize = 1024;
/// Bytes of the details of an entry as JSON. More: only their size is kept.
pub const DETAIL_BYTES_MAX: usize = 64 * 1024;
/// Bytes of the salt of details.
pub const SALT_BYTES: usize = 16;

/// Declares the kinds: variant, word, meaning.
macro_rules! kinds {
    ($($variant:ident = $word:literal: $meaning:literal),* $(,)?) => {
        /// What an entry is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum AuditKind {
            $(#[doc = $meaning] $variant,)*
        }

        impl AuditKind {
            /// The word that is stored.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// From that word.
            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

kinds! {
    ApprovalAsked = "approval_asked": "An owner was asked about a call.",
    ApprovalDecided = "approval_decided": "An owner has answered.",
    GrantMade = "grant_made": "An owner has said that the same call may always run.",
    GrantUsed = "grant_used": "A call ran because of that.",
    GrantRevoked = "grant_revoked": "An owner has taken that back.",
    ToolRun = "tool_run": "A tool ran, or was not allowed to.",
    Egress = "egress": "Whether bytes might leave for a place.",
    SecretUsed = "secret_used": "A secret was used; its name only.",
    VaultChanged = "vault_changed": "A secret was put into the vault or taken out.",
    ConfigLoaded = "config_loaded": "A configuration was taken; its hash.",
    KeyRotated = "key_rotated": "Keys were replaced.",
    Unlocked = "unlocked": "What is stored was opened with a root key; where that came from.",
    PersonLetIn = "person_let_in": "Somebody may speak to the agent from now on.",
    OwnerMade = "owner_made": "Somebody may do everything from now on.",
    PersonRevoked = "person_revoked": "Somebody may not speak to the agent any more.",
    KillSwitch = "kill_switch": "Everything was stopped, or may run again.",
    ScheduleChanged = "schedule_changed": "Something will be done at a given time from now on, or not any more.",
    Started = "started": "A process has begun.",
}

/// Something to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// What it is about.
    pub kind: AuditKind,
    /// Who: `owner`, `person:<id>`, `cli`, `blufio`. At most [`FIELD_BYTES_MAX`] bytes, as are target and outcome.
    pub actor: String,
    /// The conversation, if it belongs to one.
    pub session: Option<SessionKey>,
    /// About what: a tool, a place, the name of a secret.
    pub target: String,
    /// How it ended, in a few words.
    pub outcome: String,
    /// Everything else, at most [`DETAIL_BYTES_MAX`] bytes; it may be forgotten. Never a secret's value.
    pub detail: serde_json::Value,
}

impl AuditEntry {
    /// As it is stored: long fields are cut, details that are too long are replaced by their size.
    #[must_use]
    pub fn bounded(self) -> Self {
        let cut = |text: String| match text.floor_char_boundary(FIELD_BYTES_MAX) {
            end if end < text.len() => text.get(..end).unwrap_or_default().to_owned(),
            _ => text,
        };
        let bytes = self.detail.to_string().len();
        let detail =
            if bytes > DETAIL_BYTES_MAX { serde_json::json!({ "left_out_bytes": bytes }) } else { self.detail };
        Self { actor: cut(self.actor), target: cut(self.target), outcome: cut(self.outcome), detail, ..self }
    }
}

/// A place in the chain, to be kept elsewhere and looked for later. Prints as `<number>:<64 hexadecimal digits>`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AuditHead {
    /// The entry's number, from 1; 0 before the first.
    pub seq: u64,
    /// The entry's hash.
    pub hash: [u8; 32],
}

impl AuditHead {
    /// Reads what a head prints as.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (seq, digits) = text.trim().split_once(':')?;
        let (pairs, []) = digits.as_bytes().as_chunks::<2>() else { return None };
        let mut hash = [0; 32];
        if pairs.len() != hash.len() {
            return None;
        }
        for (byte, pair) in hash.iter_mut().zip(pairs) {
            for digit in pair {
                *byte = (*byte << 4) | u8::try_from(char::from(*digit).to_digit(16)?).ok()?;
            }
        }
        Some(Self { seq: seq.parse().ok()?, hash })
    }
}

impl fmt::Display for AuditHead {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:", self.seq)?;
        self.hash.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// The fields of an entry that its hash covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link<'a> {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// The word of its kind; one of a later version is unknown here and covered all the same.
    pub kind: &'a str,
    /// Who.
    pub actor: &'a str,
    /// The conversation.
    pub session: Option<&'a str>,
    /// About what.
    pub target: &'a str,
    /// See [`detail_hash`].
    pub detail: [u8; 32],
    /// How it ended.
    pub outcome: &'a str,
    /// The hash of the entry before it; zeroes for the first.
    pub prev: [u8; 32],
}

impl Link<'_> {
    /// The hash of the entry.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let session = self.session.unwrap_or_default();
        let bytes = Canonical::new("blufio-audit-v1")
            .bytes(&self.prev)
            .number(self.seq)
            .number(self.at.0.cast_unsigned())
            .bytes(self.kind.as_bytes())
            .bytes(self.actor.as_bytes())
            .number(u64::from(self.session.is_some()))
            .bytes(session.as_bytes())
            .bytes(self.target.as_bytes())
            .bytes(&self.detail)
            .bytes(self.outcome.as_bytes());
        sha256(bytes.as_slice())
    }
}

/// Binds details to their entry; the salt keeps forgotten ones from being guessed.
#[must_use]
pub fn detail_hash(salt: &[u8; SALT_BYTES], json: &str) -> [u8; 32] {
    let mut bytes = salt.to_vec();
    bytes.extend_from_slice(json.as_bytes());
    sha256(&bytes)
}

/// The seal of an entry, which only the holder of the key can make.
#[must_use]
pub fn seal(key: &[u8; 32], hash: &[u8; 32]) -> [u8; 32] {
    hmac(key, hash)
}

/// What is wrong with a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditTrouble {
    /// An entry is missing, or stands in another's place.
    #[error("entry {seq} is missing or not in its place")]
    OutOfPlace {
        /// Which should have been there.
        seq: u64,
    },
    /// An entry's fields are not those that were recorded.
    #[error("entry {seq} was changed")]
    Changed {
        /// Which.
        seq: u64,
    },
    /// An entry was not made by the holder of the key.
    #[error("entry {seq} was not made by this program, or with another key")]
    Unsealed {
        /// Which.
        seq: u64,
    },
    /// An entry's details are not those that were recorded.
    #[error("the details of entry {seq} were changed")]
    DetailChanged {
        /// Which.
        seq: u64,
    },
    /// Entries at the end are missing.
    #[error("the log was cut off after entry {seq}: there were at least {known}")]
    CutOff {
        /// The last one that is there.
        seq: u64,
        /// How many there were.
        known: u64,
    },
    /// The head that was kept elsewhere is not a part of this chain.
    #[error("entry {seq} is another one than it was: the log was written anew")]
    Replaced {
        /// Its number.
        seq: u64,
    },
}

/// What a check has shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditVerdict {
    /// Entries that were looked at and found good.
    pub entries: u64,
    /// The last of them.
    pub head: AuditHead,
    /// The seals were looked at too; without the key only the chain is.
    pub sealed: bool,
    /// The first thing that is wrong.
    pub trouble: Option<AuditTrouble>,
}

/// An entry as it is stored.
#[derive(Clone, Copy, Debug)]
pub struct StoredLink<'a> {
    /// The fields.
    pub link: Link<'a>,
    /// Its hash.
    pub hash: &'a [u8],
    /// Its seal; empty if it was made without a key.
    pub mac: &'a [u8],
    /// Salt and JSON of its details, as long as they are kept.
    pub detail: Option<(&'a [u8], &'a str)>,
}

/// Looks at a chain, entry by entry.
pub struct Checker<'a> {
    key: Option<&'a [u8; 32]>,
    since: Option<AuditHead>,
    verdict: AuditVerdict,
}

impl<'a> Checker<'a> {
    /// Begins before the first entry. `since`: a head that must be a part of the chain.
    #[must_use]
    pub fn new(key: Option<&'a [u8; 32]>, since: Option<AuditHead>) -> Self {
        Self { key, since, verdict: AuditVerdict { sealed: key.is_some(), ..AuditVerdict::default() } }
    }

    /// The next entry; false if there is something wrong with it, and so no sense in going on.
    pub fn add(&mut self, stored: &StoredLink<'_>) -> bool {
        if self.verdict.trouble.is_none() {
            match self.look(stored) {
                Ok(head) => (self.verdict.head, self.verdict.entries) = (head, self.verdict.entries.saturating_add(1)),
                Err(trouble) => self.verdict.trouble = Some(trouble),
            }
        }
        self.verdict.trouble.is_none()
    }

    fn look(&self, stored: &StoredLink<'_>) -> Result<AuditHead, AuditTrouble> {
        let StoredLink { link, hash, mac, detail } = stored;
        let seq = self.verdict.head.seq.saturating_add(1);
        if link.seq != seq || link.prev != self.verdict.head.hash {
            return Err(AuditTrouble::OutOfPlace { seq });
        }
        let expected = link.hash();
        if !same(&expected, hash) {
            return Err(AuditTrouble::Changed { seq });
        }
        if self.key.is_some_and(|key| !same(&seal(key, &expected), mac)) {
            return Err(AuditTrouble::Unsealed { seq });
        }
        if let Some((salt, json)) = detail {
            let salt = <&[u8; SALT_BYTES]>::try_from(*salt).map_err(|_| AuditTrouble::DetailChanged { seq })?;
            if detail_hash(salt, json) != link.detail {
                return Err(AuditTrouble::DetailChanged { seq });
            }
        }
        match self.since {
            Some(since) if since.seq == seq && since.hash != expected => Err(AuditTrouble::Replaced { seq }),
            Some(_) | None => Ok(AuditHead { seq, hash: expected }),
        }
    }

    /// After the last entry. `counted`: how many entries were ever made, by whoever counts them.
    #[must_use]
    pub fn finish(mut self, counted: u64) -> AuditVerdict {
        let seq = self.verdict.head.seq;
        let known = self.since.map_or(0, |since| since.seq).max(counted);
        if self.verdict.trouble.is_none() && known > seq {
            self.verdict.trouble = Some(AuditTrouble::CutOff { seq, known });
        }
        self.verdict
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    const KEY: [u8; 32] = [7; 32];
    const SALT: [u8; SALT_BYTES] = [3; SALT_BYTES];

    /// A stored entry that owns its fields.
    #[derive(Clone)]
    struct Row {
        seq: u64,
        at: i64,
        actor: String,
        session: Option<String>,
        target: String,
        json: Option<String>,
        detail: [u8; 32],
        prev: [u8; 32],
        hash: [u8; 32],
        mac: Vec<u8>,
    }

    impl Row {
        fn link(&self) -> Link<'_> {
            Link {
                seq: self.seq,
                at: Timestamp(self.at),
                kind: AuditKind::ToolRun.as_str(),
                actor: &self.actor,
                session: self.session.as_deref(),
                target: &self.target,
                detail: self.detail,
                outcome: "done",
                prev: self.prev,
            }
        }

        fn seal(&mut self) {
            self.hash = self.link().hash();
            self.mac = seal(&KEY, &self.hash).to_vec();
        }
    }

    fn chain() -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        for seq in 1..=4 {
            let json = format!("{{\"n\":{seq}}}");
            let mut row = Row {
                seq,
                at: 1_000,
                actor: "owner".to_owned(),
                session: (seq % 2 == 0).then(|| "s".to_owned()),
                target: format!("t{seq}"),
                detail: detail_hash(&SALT, &json),
                json: Some(json),
                prev: rows.last().map_or([0; 32], |last| last.hash),
                hash: [0; 32],
                mac: Vec::new(),
            };
            row.seal();
            rows.push(row);
        }
        rows
    }

    fn verify(rows: &[Row], key: Option<&[u8; 32]>, since: Option<AuditHead>, counted: u64) -> AuditVerdict {
        let mut checker = Checker::new(key, since);
        for row in rows {
            let detail = row.json.as_deref().map(|json| (SALT.as_slice(), json));
            checker.add(&StoredLink { link: row.link(), hash: &row.hash, mac: &row.mac, detail });
        }
        checker.finish(counted)
    }

    fn check(expect: AuditTrouble, change: impl Fn(&mut Vec<Row>)) {
        let mut rows = chain();
        change(&mut rows);
        assert_eq!(verify(&rows, Some(&KEY), None, 4).trouble, Some(expect));
    }

    #[test]
    fn a_chain_is_whole_until_somebody_touches_it() {
        let rows = chain();
        let whole = verify(&rows, Some(&KEY), None, 4);
        let head = AuditHead { seq: 4, hash: rows[3].hash };
        assert_eq!(whole, AuditVerdict { entries: 4, head, sealed: true, trouble: None });
        check(AuditTrouble::Changed { seq: 2 }, |rows| rows[1].target = "else".to_owned());
        check(AuditTrouble::Changed { seq: 3 }, |rows| rows[2].at += 1);
        check(AuditTrouble::Changed { seq: 1 }, |rows| rows[0].session = Some(String::new()));
        check(AuditTrouble::OutOfPlace { seq: 2 }, |rows| drop(rows.remove(1)));
        check(AuditTrouble::OutOfPlace { seq: 2 }, |rows| rows.swap(1, 2));
        check(AuditTrouble::CutOff { seq: 3, known: 4 }, |rows| drop(rows.pop()));
        check(AuditTrouble::DetailChanged { seq: 4 }, |rows| rows[3].json = Some("{}".to_owned()));
        // Whoever has the file but not the key can make a chain, and no seals.
        check(AuditTrouble::Unsealed { seq: 2 }, |rows| {
            rows[1].target = "else".to_owned();
            rows[1].hash = rows[1].link().hash();
        });
        check(AuditTrouble::Unsealed { seq: 1 }, |rows| rows[0].mac.clear());
    }

    #[test]
    fn forgotten_details_leave_the_chain_whole() {
        let mut rows = chain();
        rows[1].json = None;
        assert_eq!(verify(&rows, Some(&KEY), None, 4).trouble, None);
        rows[1].mac.clear();
        let unkeyed = verify(&rows, None, None, 4);
        assert_eq!((unkeyed.trouble, unkeyed.sealed), (None, false));
    }

    #[test]
    fn a_head_that_was_kept_elsewhere_finds_a_new_chain_and_a_short_one() {
        let rows = chain();
        let known = |seq: usize| Some(AuditHead { seq: seq as u64, hash: rows[seq - 1].hash });
        assert_eq!(verify(&rows, Some(&KEY), known(3), 4).trouble, None);
        assert_eq!(verify(&rows[..2], None, known(4), 2).trouble, Some(AuditTrouble::CutOff { seq: 2, known: 4 }));
        // With the key everything can be written anew, but not with the same hash.
        let mut anew = chain();
        anew[0].target = "else".to_owned();
        for place in 0..anew.len() {
            anew[place].prev = if place == 0 { [0; 32] } else { anew[place - 1].hash };
            anew[place].seal();
        }
        assert_eq!(verify(&anew, Some(&KEY), None, 4).trouble, None);
        assert_eq!(verify(&anew, Some(&KEY), known(3), 4).trouble, Some(AuditTrouble::Replaced { seq: 3 }));
    }

    #[test]
    fn heads_are_read_as_they_are_printed() {
        let head = AuditHead { seq: 12, hash: [0xab; 32] };
        assert_eq!(AuditHead::parse(&head.to_string()), Some(head));
        assert_eq!(head.to_string(), format!("12:{}", "ab".repeat(32)));
        for odd in ["", "12", "12:", "x:ab", &format!("1:{}", "ab".repeat(31)), &format!("1:{}", "zz".repeat(32))] {
            assert_eq!(AuditHead::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn long_entries_are_bounded() {
        let entry = AuditEntry {
            kind: AuditKind::ToolRun,
            actor: "ü".repeat(600),
            session: None,
            target: "short".to_owned(),
            outcome: "done".to_owned(),
            detail: serde_json::Value::from("x".repeat(DETAIL_BYTES_MAX)),
        };
        let bounded = entry.bounded();
        assert_eq!((bounded.actor, bounded.target), ("ü".repeat(512), "short".to_owned()));
        assert_eq!(bounded.detail, serde_json::json!({ "left_out_bytes": DETAIL_BYTES_MAX + 2 }));
        for kind in [AuditKind::ApprovalAsked, AuditKind::Started, AuditKind::GrantRevoked] {
            assert_eq!(AuditKind::parse(kind.as_str()), Some(kind));
        }
    }
}
