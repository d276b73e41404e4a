//! What a root key may be, what is derived from it, and the ways back to it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use super::*;
use crate::crypto::{Argon2Params, BadParams};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::OnceLock;

const ROOT: &str = "9f1c5a0be37d4482c1f60d2e58b7a39407e6d51b2c8f40739ad3e8651f0b74ce";

fn root() -> RootKey {
    RootKey::parse(ROOT.as_bytes()).unwrap()
}

fn other_root() -> RootKey {
    RootKey::parse(ROOT.replace('9', "8").as_bytes()).unwrap()
}

fn install() -> InstallId {
    InstallId(std::array::from_fn(|place| u8::try_from(place + 16).unwrap()))
}

/// As cheap as can be, so that the tests are.
fn params() -> Argon2Params {
    Argon2Params::new(19 * 1024, 2, 1).unwrap()
}

fn code() -> RecoveryCode {
    RecoveryCode::generate([0xa7; 16])
}

/// Deriving takes a while, so it is done once.
fn slots() -> KeySlots {
    static SLOTS: OnceLock<KeySlots> = OnceLock::new();
    let make = || {
        let mut slots = KeySlots::new(install(), &root());
        slots.add_recovery(&root(), &code(), [3; 16], [4; 12], params()).unwrap();
        slots
    };
    SLOTS.get_or_init(make).clone()
}

/// S-2.
#[test]
fn weak_and_known_root_keys_are_refused() {
    let check = |bytes: &[u8], expect: Option<BadRootKey>| {
        let refused = RootKey::parse(bytes).err();
        assert_eq!(refused, expect, "{}", String::from_utf8_lossy(bytes));
        assert!(refused.is_none_or(|refused| !refused.hint().is_empty()));
    };
    let raw: [u8; 32] = *from_hex(ROOT.as_bytes()).unwrap();
    check(&raw, None);
    check(ROOT.as_bytes(), None);
    check(ROOT.to_uppercase().as_bytes(), None);
    check(format!("{ROOT}\n").as_bytes(), None);
    check(format!("{ROOT}\r\n").as_bytes(), None);

    check(b"", Some(BadRootKey::Length { bytes: 0 }));
    check(&raw[..31], Some(BadRootKey::Length { bytes: 31 }));
    check(&[&raw[..], b"\n"].concat(), Some(BadRootKey::Length { bytes: 33 }));
    check(&ROOT.as_bytes()[..62], Some(BadRootKey::Length { bytes: 62 }));
    check(format!("{ROOT}\n\n").as_bytes(), Some(BadRootKey::Length { bytes: 66 }));
    check(format!(" {ROOT}").as_bytes(), Some(BadRootKey::Length { bytes: 65 }));
    check(ROOT.replace('c', "g").as_bytes(), Some(BadRootKey::NotHexadecimal));
    check(ROOT.replacen("9f", "+f", 1).as_bytes(), Some(BadRootKey::NotHexadecimal));
    // Half a key in digits, and a password.
    check(&ROOT.as_bytes()[..32], Some(BadRootKey::Text));
    check(b"correct horse battery staple 123", Some(BadRootKey::Text));

    check(&[0; 32], Some(BadRootKey::Regular));
    check("00".repeat(32).as_bytes(), Some(BadRootKey::Regular));
    let regular =
        |different: u8| std::array::from_fn::<u8, 32, _>(|place| 0x80 + u8::try_from(place).unwrap() % different);
    check(&regular(7), Some(BadRootKey::Regular));
    check(&regular(8), None);

    for known in KNOWN_KEYS {
        check(known.as_bytes(), Some(BadRootKey::Known));
    }
    for start in 0..=u8::MAX {
        let upwards: [u8; 32] = std::array::from_fn(|place| start.wrapping_add(u8::try_from(place).unwrap()));
        let downwards: [u8; 32] = std::array::from_fn(|place| start.wrapping_sub(u8::try_from(place).unwrap()));
        for counting in [upwards, downwards] {
            let refused = RootKey::parse(&counting).unwrap_err();
            assert!(matches!(refused, BadRootKey::Known | BadRootKey::Text), "{counting:?}");
        }
    }
}

#[test]
fn a_root_key_is_read_as_it_is_written() {
    assert_eq!(*root().reveal(), ROOT);
    assert_eq!(*RootKey::parse(root().reveal().as_bytes()).unwrap().reveal(), ROOT);
}

/// Calculated once with another implementation of RFC 5869. Were one of these to change, no stored data would open.
#[test]
fn derived_keys_keep_their_values() {
    let tree = root().derive(&install());
    let database = "03d3252e2e37b1f930e14a831c53ca8969bd7d1e2badf1ede63b0339c3ba2446bce0afa8eab514480ac7c7fe56523e5f";
    assert_eq!(*tree.database.reveal(), database);
    assert_eq!(hex(&*tree.vault), "c3a9fc5b55e3a32f282ad365a57c611ecfa837251fd741009421bed545fa3d73");
    assert_eq!(hex(&*tree.audit), "08e627feeaa2b1128f862a07a445a19d14bc5a6c8649120b6b2b5f96b1917f57");
}

#[test]
fn installations_have_different_keys() {
    let (one, other) = (root().derive(&install()), root().derive(&InstallId([1; 16])));
    assert_ne!(one.vault, other.vault);
    assert_ne!(one.audit, other.audit);
    assert_ne!(one.database.reveal(), other.database.reveal());
}

#[test]
fn keys_are_not_shown() {
    let tree = root().derive(&install());
    let shown = format!("{:?} {:?} {:?} {:?}", root(), tree, tree.database, code());
    assert_eq!(shown, "RootKey(…) KeyTree(…) DatabaseKey(…) RecoveryCode(…)");
    let key = RootKey::parse(ROOT.replace('c', "g").as_bytes()).unwrap_err();
    assert!(!format!("{key} {key:?}").contains(&ROOT[..8]));
}

#[test]
fn a_recovery_code_has_26_symbols_in_groups() {
    assert_eq!(*RecoveryCode::generate([0; 16]).reveal(), "00000-00000-00000-00000-00000-0");
    assert_eq!(*RecoveryCode::generate([0xff; 16]).reveal(), "7ZZZZ-ZZZZZ-ZZZZZ-ZZZZZ-ZZZZZ-Z");
    let counting = RecoveryCode::generate(std::array::from_fn(|place| u8::try_from(place).unwrap()));
    assert_eq!(*counting.reveal(), "00041-06105-0R3GG-28A1C-60T3G-F");
}

#[test]
fn a_recovery_code_is_read_leniently() {
    let check = |text: &str, expect: Result<&str, BadCode>| {
        let parsed = RecoveryCode::parse(text);
        assert_eq!(
            parsed.as_ref().map(|code| code.reveal().to_string()).map_err(|error| *error),
            expect.map(str::to_owned),
            "{text}"
        );
        assert!(parsed.is_err() || parsed == RecoveryCode::parse(expect.unwrap_or_default()), "{text}");
    };
    let plain = "1ABCD-EFGH0-1JKMN-PQRST-VWXYZ-2";
    check(plain, Ok(plain));
    check("1abcd-efgh0-1jkmn-pqrst-vwxyz-2", Ok(plain));
    check("1ABCDEFGH01JKMNPQRSTVWXYZ2", Ok(plain));
    check("  iabcd efgho\tLjkmn-pqrst--vwxyz 2\n", Ok(plain));
    check("lABCD-EFGHo-IJKMN-PQRST-VWXYZ-2", Ok(plain));
    check("", Err(BadCode::Length { symbols: 0 }));
    check("1ABCD-EFGH0-1JKMN-PQRST-VWXYZ", Err(BadCode::Length { symbols: 25 }));
    check("1ABCD-EFGH0-1JKMN-PQRST-VWXYZ-22", Err(BadCode::Length { symbols: 27 }));
    check("1ABCD-EFGH0-1JKMN-PQRST-UWXYZ-2", Err(BadCode::Symbol));
    check("1ABCD-EFGH0-1JKMN-PQRST-VWXYZ-é", Err(BadCode::Symbol));
    check("8ABCD-EFGH0-1JKMN-PQRST-VWXYZ-2", Err(BadCode::First));
    check(&"Z".repeat(5_000), Err(BadCode::Length { symbols: 5_000 }));
}

proptest! {
    #[test]
    fn every_recovery_code_is_read_back(random: [u8; 16], lower: bool, bare: bool) {
        let code = RecoveryCode::generate(random);
        let mut text = code.reveal().to_string();
        if lower { text = text.to_lowercase(); }
        if bare { text = text.replace('-', ""); }
        prop_assert_eq!(RecoveryCode::parse(&text).unwrap(), code);
    }

    #[test]
    fn whatever_is_typed_as_a_code_is_survived(text in "\\PC{0,40}") {
        if let Ok(code) = RecoveryCode::parse(&text) {
            prop_assert_eq!(RecoveryCode::parse(&code.reveal()).unwrap(), code);
        }
    }

    #[test]
    fn whatever_is_in_the_file_is_survived(text in "\\PC{0,200}") {
        prop_assert!(KeySlots::parse(&text).is_err());
    }
}

/// S-3.
#[test]
fn the_file_says_which_key_belongs_to_it() {
    let slots = KeySlots::new(install(), &root());
    assert!(!slots.has_recovery());
    assert_eq!(slots.verify(&root()), Ok(()));
    assert_eq!(slots.verify(&other_root()), Err(NotThisKey));
    assert!(!NotThisKey.hint().is_empty());
    assert_eq!(KeySlots::parse(&slots.to_json()).unwrap(), slots);
    assert_eq!(slots.open_recovery(&code()).unwrap_err(), RecoveryError::NoSlot);
    let mut copied = slots.clone();
    assert_eq!(copied.add_recovery(&other_root(), &code(), [3; 16], [4; 12], params()), Err(NotThisKey));
    assert_eq!(copied, slots, "nothing is changed");
}

#[test]
fn the_recovery_code_brings_the_root_key_back() {
    let slots = KeySlots::parse(&slots().to_json()).unwrap();
    assert!(slots.has_recovery());
    assert_eq!(slots.verify(&root()), Ok(()));
    assert_eq!(*slots.open_recovery(&code()).unwrap().reveal(), ROOT);
    let wrong = slots.open_recovery(&RecoveryCode::generate([0xa6; 16])).unwrap_err();
    assert_eq!(wrong, RecoveryError::WrongCode);

    // Another code takes the place of the first.
    let mut again = slots.clone();
    again.add_recovery(&root(), &RecoveryCode::generate([1; 16]), [5; 16], [6; 12], params()).unwrap();
    assert_eq!(again.open_recovery(&code()).unwrap_err(), RecoveryError::WrongCode);
    assert_eq!(*again.open_recovery(&RecoveryCode::generate([1; 16])).unwrap().reveal(), ROOT);
    for error in [RecoveryError::NoSlot, RecoveryError::WrongCode, RecoveryError::Altered] {
        assert!(!error.hint().is_empty());
    }
}

#[test]
fn the_file_keeps_its_form() {
    let file: Value = serde_json::from_str(&slots().to_json()).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&file), ["check", "install_id", "slots", "version"]);
    assert_eq!(keys(&file["slots"][0]), ["kind", "m", "nonce", "p", "salt", "t", "wrapped"]);
    assert_eq!(file["version"], 1);
    assert_eq!(file["install_id"], "101112131415161718191a1b1c1d1e1f");
    assert_eq!(file["slots"][0]["kind"], "recovery");
    assert_eq!(
        (&file["slots"][0]["m"], &file["slots"][0]["t"], &file["slots"][0]["p"]),
        (&json!(19456), &json!(2), &json!(1))
    );
    assert!(!slots().to_json().contains(&ROOT[..16]));
}

fn changed(change: impl FnOnce(&mut Value)) -> Result<KeySlots, BadSlots> {
    let mut file: Value = serde_json::from_str(&slots().to_json()).unwrap();
    change(&mut file);
    KeySlots::parse(&file.to_string())
}

/// S-3: every field is under the check.
#[test]
fn a_changed_file_is_noticed() {
    let other = |digits: &Value| {
        let digits = digits.as_str().unwrap();
        let first = if digits.starts_with('0') { "1" } else { "0" };
        json!(format!("{first}{}", &digits[1..]))
    };
    for field in ["install_id", "check"] {
        let slots = changed(|file| file[field] = other(&file[field])).unwrap();
        assert_eq!(slots.verify(&root()), Err(NotThisKey), "{field}");
    }
    for field in ["salt", "nonce", "wrapped"] {
        let slots = changed(|file| file["slots"][0][field] = other(&file["slots"][0][field])).unwrap();
        assert_eq!(slots.verify(&root()), Err(NotThisKey), "{field}");
        assert_eq!(slots.open_recovery(&code()).unwrap_err(), RecoveryError::WrongCode, "{field}");
    }
    for (field, value) in [("m", 19_457), ("t", 3), ("p", 2)] {
        let slots = changed(|file| file["slots"][0][field] = json!(value)).unwrap();
        assert_eq!(slots.verify(&root()), Err(NotThisKey), "{field}");
        assert_eq!(slots.open_recovery(&code()).unwrap_err(), RecoveryError::WrongCode, "{field}");
    }
    let without = changed(|file| file["slots"] = json!([])).unwrap();
    assert_eq!(without.verify(&root()), Err(NotThisKey));
    let unchecked = changed(|file| file["check"] = json!("00".repeat(32))).unwrap();
    assert_eq!(unchecked.open_recovery(&code()).unwrap_err(), RecoveryError::Altered);
}

/// S-1: refused when it is read, before anything is derived.
#[test]
fn parameters_out_of_bounds_are_refused() {
    let check = |m: u32, t: u32, p: u32| {
        let refused = changed(|file| {
            let slot = &mut file["slots"][0];
            (slot["m"], slot["t"], slot["p"]) = (json!(m), json!(t), json!(p));
        });
        assert_eq!(refused, Err(BadSlots::Params(BadParams { memory_kib: m, passes: t, lanes: p })));
    };
    check(19 * 1024 - 1, 3, 1);
    check(256 * 1024 + 1, 3, 1);
    check(u32::MAX, 3, 1);
    check(64 * 1024, 1, 1);
    check(64 * 1024, 11, 1);
    check(64 * 1024, 3, 0);
    check(64 * 1024, 3, 5);
}

#[test]
fn the_file_is_read_strictly() {
    let malformed = |change: &dyn Fn(&mut Value)| {
        let refused = changed(change);
        assert!(matches!(refused, Err(BadSlots::Malformed(_))), "{refused:?}");
    };
    malformed(&|file| file["more"] = json!(1));
    malformed(&|file| file["slots"][0]["more"] = json!(1));
    malformed(&|file| drop(file.as_object_mut().unwrap().remove("check")));
    malformed(&|file| drop(file["slots"][0].as_object_mut().unwrap().remove("salt")));
    malformed(&|file| file["slots"] = json!({}));
    malformed(&|file| file["slots"][0]["m"] = json!("65536"));
    malformed(&|file| file["slots"][0]["m"] = json!(-1));
    malformed(&|file| file["slots"][0]["m"] = json!(4_294_967_296_u64));
    malformed(&|file| file["version"] = json!("1"));

    let field = |name: &'static str, change: &dyn Fn(&mut Value)| {
        assert_eq!(changed(change), Err(BadSlots::Field(name)));
    };
    field("install_id", &|file| file["install_id"] = json!("00"));
    field("check", &|file| file["check"] = json!("zz".repeat(32)));
    field("kind", &|file| file["slots"][0]["kind"] = json!("machine"));
    field("salt", &|file| file["slots"][0]["salt"] = json!("00".repeat(15)));
    field("nonce", &|file| file["slots"][0]["nonce"] = json!("00".repeat(16)));
    field("wrapped", &|file| file["slots"][0]["wrapped"] = json!("00".repeat(32)));
    field("slots", &|file| {
        let slot = file["slots"][0].clone();
        file["slots"].as_array_mut().unwrap().push(slot);
    });

    // A later version is called that, whatever else is in its file.
    assert_eq!(KeySlots::parse(r#"{"version": 2, "later": true}"#), Err(BadSlots::Version(2)));
    let text = slots().to_json();
    let twice = text.replacen("\"version\": 1", "\"version\": 1, \"version\": 1", 1);
    assert!(matches!(KeySlots::parse(&twice), Err(BadSlots::Malformed(_))));
    assert!(matches!(KeySlots::parse(&format!("{text}x")), Err(BadSlots::Malformed(_))));
    for length in 0..text.trim_end().len() {
        assert_eq!(KeySlots::parse(&text[..length]), Err(BadSlots::Truncated), "{length}");
    }
    for error in
        [BadSlots::Truncated, BadSlots::Malformed(String::new()), BadSlots::Version(2), BadSlots::Field("salt")]
    {
        assert!(!error.hint().is_empty());
    }
}
