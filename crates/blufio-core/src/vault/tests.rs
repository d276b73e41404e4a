//! What is put in comes out, and what somebody else did to the stored bytes is named.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use super::*;
use proptest::prelude::*;

const KEK: [u8; 32] = [0x4b; 32];
const AT: Timestamp = Timestamp(1_790_000_000_000);

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

/// What a database would have.
#[derive(Clone, Default)]
struct Stored {
    header: Vec<u8>,
    rows: BTreeMap<String, SealedSecret>,
    calls: u8,
}

impl Stored {
    fn new() -> Self {
        let mut stored = Self::default();
        let change = OpenVault::create(&KEK, &stored.random()).1;
        stored.keep(change);
        stored
    }

    /// Other bytes for every call.
    fn random(&mut self) -> [u8; 32] {
        self.calls += 1;
        [self.calls; 32]
    }

    fn keep(&mut self, change: VaultChange) {
        self.header = change.header;
        for name in change.remove {
            assert!(self.rows.remove(&name).is_some(), "{name}");
        }
        self.rows.extend(change.put.into_iter().map(|row| (row.name.clone(), row)));
    }

    fn open(&self) -> Result<OpenVault, VaultError> {
        OpenVault::open(&KEK, &self.header, self.rows.values().cloned().collect())
    }

    fn put(&mut self, name: &str, value: &str, hosts: &[&str]) {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let random = self.random();
        let change = self.open().unwrap().put(name, &secret(value), &hosts, AT, &random).unwrap();
        self.keep(change);
    }

    fn rotate(&mut self) {
        let random = self.random();
        let change = self.open().unwrap().rotate(&random).unwrap();
        self.keep(change);
    }

    fn row(&mut self, name: &str) -> &mut SealedSecret {
        self.rows.get_mut(name).unwrap()
    }

    /// Changes what is stored and says what opening it says.
    fn after(&self, change: impl FnOnce(&mut Self)) -> Option<VaultError> {
        let mut changed = self.clone();
        change(&mut changed);
        changed.open().err()
    }
}

fn two() -> Stored {
    let mut stored = Stored::new();
    stored.put("anthropic.api_key", "sk-ant-canary", &["api.anthropic.com"]);
    stored.put("telegram.bot_token", "1:canary", &["api.telegram.org"]);
    stored
}

const ONE: &str = "anthropic.api_key";
const OTHER: &str = "telegram.bot_token";

#[test]
fn what_is_put_in_comes_out() {
    let mut stored = two();
    let vault = stored.open().unwrap();
    assert_eq!(vault.get(ONE).unwrap().unwrap().expose(), "sk-ant-canary");
    assert_eq!(vault.get(OTHER).unwrap().unwrap().expose(), "1:canary");
    assert!(vault.get("other").unwrap().is_none());
    let all: Vec<(String, String)> =
        vault.scan().unwrap().into_iter().map(|(name, value)| (name, value.expose().to_owned())).collect();
    assert_eq!(all, [(ONE.to_owned(), "sk-ant-canary".to_owned()), (OTHER.to_owned(), "1:canary".to_owned())]);
    let rows: Vec<(&str, u32, Timestamp)> =
        vault.rows().map(|row| (row.name.as_str(), row.version, row.created)).collect();
    assert_eq!(rows, [(ONE, 1, AT), (OTHER, 2, AT)]);

    stored.put(ONE, "sk-ant-second", &["b.example", "A.example", "b.example"]);
    let vault = stored.open().unwrap();
    assert_eq!(vault.get(ONE).unwrap().unwrap().expose(), "sk-ant-second");
    assert_eq!(
        vault.rows().next().map(|row| (row.version, row.allowed_hosts.as_slice())),
        Some((3, ["a.example".to_owned(), "b.example".to_owned()].as_slice()))
    );
}

#[test]
fn nothing_is_stored_in_the_clear() {
    let stored = two();
    let everything = format!("{:?} {:?}", stored.header, stored.rows);
    let raw: Vec<u8> =
        stored.header.iter().copied().chain(stored.rows.values().flat_map(|row| row.ct.clone())).collect();
    for canary in ["canary", "sk-ant"] {
        assert!(!everything.contains(canary) && !raw.windows(canary.len()).any(|part| part == canary.as_bytes()));
    }
    assert_eq!(format!("{:?}", stored.open().unwrap()), "OpenVault(…)");
}

#[test]
fn rows_that_were_exchanged_are_noticed() {
    let stored = two();
    let swapped = stored.after(|stored| {
        stored.row(ONE).name = "x".to_owned();
        stored.row(OTHER).name = ONE.to_owned();
        stored.row(ONE).name = OTHER.to_owned();
    });
    assert!(matches!(swapped, Some(VaultError::Swapped(_))), "{swapped:?}");
    // With the version of the place it was put in, the sealed value itself says so.
    let disguised = stored.after(|stored| {
        let other = stored.row(OTHER).clone();
        let one = stored.row(ONE);
        (one.salt, one.nonce, one.ct) = (other.salt, other.nonce, other.ct);
    });
    assert_eq!(disguised, Some(VaultError::Altered(ONE.to_owned())));
}

#[test]
fn changed_allow_lists_are_noticed() {
    let stored = two();
    let terms = Some(VaultError::TermsAltered(ONE.to_owned()));
    assert_eq!(stored.after(|stored| stored.row(ONE).allowed_hosts.push("evil.example".to_owned())), terms);
    assert_eq!(stored.after(|stored| stored.row(ONE).allowed_hosts.clear()), terms);
    assert_eq!(stored.after(|stored| stored.row(ONE).allowed_hosts[0].push('x')), terms);
    assert_eq!(stored.after(|stored| stored.row(ONE).scope = "skill".to_owned()), terms);
}

/// Also for those who could change the header's list: the tag itself is over the list of hosts.
#[test]
fn the_allow_list_is_under_the_tag() {
    let mut stored = two();
    let vault = stored.open().unwrap();
    stored.row(ONE).allowed_hosts = vec!["evil.example".to_owned()];
    assert_eq!(vault.value(stored.row(ONE)).unwrap_err(), VaultError::Altered(ONE.to_owned()));
}

#[test]
fn versions_that_were_put_back_are_noticed() {
    let mut stored = two();
    let earlier = stored.clone();
    stored.put(ONE, "sk-ant-second", &["api.anthropic.com"]);
    let back = stored.after(|stored| *stored.row(ONE) = earlier.rows[ONE].clone());
    assert_eq!(back, Some(VaultError::RolledBack(ONE.to_owned())));
    let disguised = stored.after(|stored| {
        let version = stored.row(ONE).version;
        *stored.row(ONE) = SealedSecret { version, ..earlier.rows[ONE].clone() };
    });
    assert_eq!(disguised, Some(VaultError::Altered(ONE.to_owned())));
    let header = stored.after(|stored| stored.header.clone_from(&earlier.header));
    assert_eq!(header, Some(VaultError::HeaderRolledBack(ONE.to_owned())));
}

#[test]
fn rows_from_before_a_rotation_are_noticed() {
    let mut stored = two();
    let earlier = stored.clone();
    stored.rotate();
    let back = stored.after(|stored| *stored.row(ONE) = earlier.rows[ONE].clone());
    assert_eq!(back, Some(VaultError::RolledBack(ONE.to_owned())));
    let header = stored.after(|stored| stored.header.clone_from(&earlier.header));
    assert!(matches!(header, Some(VaultError::HeaderRolledBack(_))), "{header:?}");
    let disguised =
        stored.after(|stored| *stored.row(ONE) = SealedSecret { dek_version: 2, ..earlier.rows[ONE].clone() });
    assert_eq!(disguised, Some(VaultError::Altered(ONE.to_owned())));
}

#[test]
fn rows_that_are_gone_or_came_by_themselves_are_noticed() {
    let mut stored = two();
    let gone = stored.after(|stored| drop(stored.rows.remove(OTHER)));
    assert_eq!(gone, Some(VaultError::Missing(OTHER.to_owned())));
    assert_eq!(stored.after(|stored| stored.rows.clear()), Some(VaultError::Missing(ONE.to_owned())));
    let copied = stored.after(|stored| {
        let row = SealedSecret { name: "third".to_owned(), ..stored.rows[ONE].clone() };
        stored.rows.insert("third".to_owned(), row);
    });
    assert_eq!(copied, Some(VaultError::Unlisted("third".to_owned())));
    let twice = stored.after(|stored| {
        let row = stored.rows[ONE].clone();
        stored.rows.insert("third".to_owned(), row);
    });
    assert_eq!(twice, Some(VaultError::Unlisted(ONE.to_owned())));

    // Taken out and put in again, a name has a version that it never had, so what it was does not come back either.
    let removed = stored.rows[ONE].clone();
    let random = stored.random();
    let change = stored.open().unwrap().remove(ONE, &random).unwrap();
    stored.keep(change);
    let back = stored.after(|stored| drop(stored.rows.insert(ONE.to_owned(), removed.clone())));
    assert_eq!(back, Some(VaultError::Unlisted(ONE.to_owned())));
    stored.put(ONE, "sk-ant-third", &["api.anthropic.com"]);
    let back = stored.after(|stored| drop(stored.rows.insert(ONE.to_owned(), removed.clone())));
    assert_eq!(back, Some(VaultError::RolledBack(ONE.to_owned())));
}

#[test]
fn a_changed_value_is_noticed() {
    let stored = two();
    let altered = Some(VaultError::Altered(ONE.to_owned()));
    for length in 0..stored.rows[ONE].ct.len() {
        assert_eq!(stored.after(|stored| stored.row(ONE).ct.truncate(length)), altered, "{length}");
    }
    assert_eq!(stored.after(|stored| stored.row(ONE).ct[0] ^= 1), altered);
    assert_eq!(stored.after(|stored| stored.row(ONE).salt[0] ^= 1), altered);
    assert_eq!(stored.after(|stored| stored.row(ONE).nonce[0] ^= 1), altered);
}

#[test]
fn a_header_that_is_cut_changed_or_anothers_is_refused() {
    let stored = two();
    for length in 0..stored.header.len() {
        assert_eq!(stored.after(|stored| stored.header.truncate(length)), Some(VaultError::Truncated), "{length}");
    }
    assert_eq!(stored.after(|stored| stored.header.push(0)), Some(VaultError::HeaderAltered));
    for bit in 0..stored.header.len() * 8 {
        let changed = stored.after(|stored| stored.header[bit / 8] ^= 1 << (bit % 8)).unwrap();
        let known = matches!(
            changed,
            VaultError::HeaderAltered | VaultError::WrongKey | VaultError::Version(_) | VaultError::Truncated
        );
        assert!(known, "{bit}: {changed}");
    }
    let rows = || stored.rows.values().cloned().collect();
    assert_eq!(OpenVault::open(&[0x4c; 32], &stored.header, rows()).unwrap_err(), VaultError::WrongKey);
    let header = OpenVault::create(&KEK, &[0xee; 32]).1.header;
    assert_eq!(OpenVault::open(&KEK, &header, rows()).unwrap_err(), VaultError::Unlisted(ONE.to_owned()));
    assert_eq!(stored.after(|stored| stored.header[0] = 2), Some(VaultError::Version(2)));
}

#[test]
fn a_new_wrapping_key_opens_the_same_rows() {
    let mut stored = two();
    let random = stored.random();
    let mut vault = stored.open().unwrap();
    let change = vault.rewrap(&[5; 32], &random);
    assert!(change.put.is_empty() && change.remove.is_empty());
    stored.keep(change);
    assert_eq!(stored.open().unwrap_err(), VaultError::WrongKey);
    let vault = OpenVault::open(&[5; 32], &stored.header, stored.rows.values().cloned().collect()).unwrap();
    assert_eq!(vault.get(ONE).unwrap().unwrap().expose(), "sk-ant-canary");
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let stored = two();
    let refused = |name: &str, value: &str, hosts: &[String]| {
        let mut vault = stored.open().unwrap();
        let error = vault.put(name, &secret(value), hosts, AT, &[9; 32]).unwrap_err();
        assert_eq!(vault.rows().cloned().collect::<Vec<_>>(), stored.rows.values().cloned().collect::<Vec<_>>());
        assert!(!error.hint().is_empty() && !error.to_string().contains("canary"), "{error}");
        error
    };
    for name in ["", "A", "a b", "ä", "a/b", "a\n", &"a".repeat(65)] {
        assert!(matches!(refused(name, "canary", &[]), VaultError::BadName(_)), "{name}");
    }
    assert_eq!(refused("a", "", &[]), VaultError::BadLength(0));
    assert_eq!(refused("a", &"x".repeat(SECRET_BYTES_MAX + 1), &[]), VaultError::BadLength(SECRET_BYTES_MAX + 1));
    for host in
        ["", "https://a.example", "a.example:443", "a.example/x", "a b", "ä.example", "*.example", &"a".repeat(254)]
    {
        assert!(matches!(refused("a", "canary", &[host.to_owned()]), VaultError::BadHost(_)), "{host}");
    }
    let hosts: Vec<String> = (0..=HOSTS_MAX).map(|number| format!("{number}.example")).collect();
    assert!(matches!(refused("a", "canary", &hosts), VaultError::BadHost(_)));
    let mut vault = stored.open().unwrap();
    assert_eq!(vault.remove("a", &[9; 32]).unwrap_err(), VaultError::NotFound("a".to_owned()));

    let mut most = stored.clone();
    most.put(&"a".repeat(NAME_CHARS_MAX), &"x".repeat(SECRET_BYTES_MAX), &[]);
    assert_eq!(most.open().unwrap().get(&"a".repeat(64)).unwrap().unwrap().expose().len(), SECRET_BYTES_MAX);
}

#[test]
fn a_full_vault_takes_no_other_name() {
    let mut vault = two().open().unwrap();
    let row = vault.rows[ONE].clone();
    vault.rows.extend((2..SECRETS_MAX).map(|number| (number.to_string(), row.clone())));
    assert_eq!(vault.put("more", &secret("x"), &[], AT, &[2; 32]).unwrap_err(), VaultError::Full);
    assert!(vault.put(ONE, &secret("x"), &[], AT, &[2; 32]).is_ok(), "a name that is there can be changed");
}

#[derive(Clone, Debug)]
enum Deed {
    Put(u8, String),
    Remove(u8),
    Rotate,
    Rewrap,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (0..4_u8, "\\PC{1,40}").prop_map(|(name, value)| Deed::Put(name, value)),
        2 => (0..4_u8).prop_map(Deed::Remove),
        1 => Just(Deed::Rotate),
        1 => Just(Deed::Rewrap),
    ]
}

proptest! {
    /// Whatever is done, the stored bytes open again and hold what was put in last; what was stored at any earlier time does
    /// not open in their place, but for the whole of it.
    #[test]
    fn a_vault_holds_what_was_put_in_last(deeds in proptest::collection::vec(deed(), 1..24)) {
        let mut stored = Stored::new();
        let mut expect = BTreeMap::new();
        let mut earlier = vec![];
        for deed in deeds {
            earlier.push(stored.clone());
            let random = stored.random();
            let mut vault = stored.open().unwrap();
            let change = match deed {
                Deed::Put(name, value) => {
                    let name = format!("name.{name}");
                    expect.insert(name.clone(), value.clone());
                    vault.put(&name, &secret(&value), &[], AT, &random)
                }
                Deed::Remove(name) => {
                    let name = format!("name.{name}");
                    let there = expect.remove(&name).is_some();
                    let removed = vault.remove(&name, &random);
                    prop_assert_eq!(removed.is_ok(), there);
                    if !there { continue; }
                    removed
                }
                Deed::Rotate => vault.rotate(&random),
                Deed::Rewrap => Ok(vault.rewrap(&KEK, &random)),
            };
            stored.keep(change.unwrap());
            let held = |vault: &OpenVault| -> BTreeMap<String, String> {
                vault.scan().unwrap().into_iter().map(|(name, value)| (name, value.expose().to_owned())).collect()
            };
            prop_assert_eq!(&held(&vault), &expect);
            prop_assert_eq!(&held(&stored.open().unwrap()), &expect);
        }
        for before in earlier {
            for (name, row) in &before.rows {
                let is_current = stored.rows.get(name) == Some(row);
                let opened = stored.after(|stored| drop(stored.rows.insert(name.clone(), row.clone())));
                prop_assert_eq!(opened.is_none(), is_current, "{:?}", opened);
            }
            if before.rows != stored.rows {
                let opened = stored.after(|stored| stored.header.clone_from(&before.header));
                prop_assert!(opened.is_some());
            }
        }
    }
}
