//! The public edge-case vectors through these wrappers, and what the wrappers cannot be made to do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::type_complexity)]

use super::*;
use serde::Deserialize;

// Other sizes of keys, nonces and results do not compile.
const _: fn(&[u8; 32], [u8; 12], &[u8], &[u8]) -> Vec<u8> = seal;
const _: fn(&[u8; 32], &[u8; 12], &[u8], &[u8]) -> Result<Zeroizing<Vec<u8>>, NotAuthentic> = open;
const _: fn(&[u8], &[u8]) -> [u8; 32] = hmac;
const _: fn(&[u8], &[u8; 16], Argon2Params) -> Zeroizing<[u8; 32]> = argon2id;

fn bytes(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "{hex}");
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vectors<Group> {
    number_of_tests: usize,
    test_groups: Vec<Group>,
}

fn vectors<Group: for<'a> Deserialize<'a>>(json: &str) -> Vectors<Group> {
    serde_json::from_str(json).unwrap()
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Valid,
    Invalid,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AeadGroup {
    iv_size: usize,
    key_size: usize,
    tag_size: usize,
    tests: Vec<AeadTest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AeadTest {
    tc_id: u32,
    key: String,
    iv: String,
    aad: String,
    msg: String,
    ct: String,
    tag: String,
    result: Outcome,
}

#[test]
fn aes_gcm_passes_the_public_vectors() {
    let all: Vectors<AeadGroup> = vectors(include_str!("vectors/aes_gcm_test.json"));
    let (mut valid, mut invalid, mut other) = (0, 0, 0);
    for group in &all.test_groups {
        for test in &group.tests {
            let (key, nonce) = (bytes(&test.key), bytes(&test.iv));
            let sizes = (<&[u8; 32]>::try_from(key.as_slice()), <[u8; 12]>::try_from(nonce.as_slice()));
            let expressible = (group.key_size, group.iv_size, group.tag_size) == (256, 96, 128);
            assert_eq!(sizes.0.is_ok() && sizes.1.is_ok(), expressible, "{}", test.tc_id);
            let (Ok(key), Ok(nonce)) = sizes else {
                other += 1;
                continue;
            };
            let (aad, message) = (bytes(&test.aad), bytes(&test.msg));
            let sealed = [bytes(&test.ct), bytes(&test.tag)].concat();
            let opened = open(key, &nonce, &aad, &sealed);
            if test.result == Outcome::Valid {
                valid += 1;
                assert_eq!(*opened.unwrap(), message, "{}", test.tc_id);
                assert_eq!(seal(key, nonce, &aad, &message), sealed, "{}", test.tc_id);
            } else {
                invalid += 1;
                assert_eq!(opened, Err(NotAuthentic), "{}", test.tc_id);
                assert_ne!(seal(key, nonce, &aad, &message), sealed, "{}", test.tc_id);
            }
        }
    }
    assert_eq!((valid, invalid, valid + invalid + other), (39, 27, all.number_of_tests));
}

#[test]
fn a_shorter_tag_or_another_bit_opens_nothing() {
    let (key, nonce) = ([7; 32], [9; 12]);
    let sealed = seal(&key, nonce, b"for", b"forty bytes of text that must not be seen");
    assert!(open(&key, &nonce, b"for", &sealed).is_ok());
    for length in 0..sealed.len() {
        assert_eq!(open(&key, &nonce, b"for", &sealed[..length]), Err(NotAuthentic), "{length}");
    }
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(open(&key, &nonce, b"for", &changed), Err(NotAuthentic), "{bit}");
    }
    assert_eq!(open(&key, &nonce, b"foe", &sealed), Err(NotAuthentic));
    assert_eq!(open(&key, &[8; 12], b"for", &sealed), Err(NotAuthentic));
    assert_eq!(open(&[8; 32], &nonce, b"for", &sealed), Err(NotAuthentic));
}

#[derive(Deserialize)]
struct KdfGroup {
    tests: Vec<KdfTest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KdfTest {
    tc_id: u32,
    ikm: String,
    salt: String,
    info: String,
    size: usize,
    okm: String,
    result: Outcome,
}

/// The wrapper's sizes are types, so each size is a call of its own; `None`: that size does not compile.
fn hkdf_of(size: usize, key: &[u8], salt: &[u8], info: &[u8]) -> Option<Vec<u8>> {
    macro_rules! sizes {
        ($($size:literal)+) => {
            match size {
                $($size => Some(hkdf::<$size>(key, salt, info).to_vec()),)+
                8161 => None,
                other => panic!("a vector of size {other}"),
            }
        };
    }
    sizes!(20 32 42 56 64 80 82 128 8160)
}

#[test]
fn hkdf_passes_the_public_vectors() {
    let all: Vectors<KdfGroup> = vectors(include_str!("vectors/hkdf_sha256_test.json"));
    let mut passed = 0;
    for test in all.test_groups.iter().flat_map(|group| &group.tests) {
        let out = hkdf_of(test.size, &bytes(&test.ikm), &bytes(&test.salt), &bytes(&test.info));
        let expect = (test.result == Outcome::Valid).then(|| bytes(&test.okm));
        assert_eq!(out, expect, "{}", test.tc_id);
        passed += 1;
    }
    assert_eq!((passed, all.number_of_tests), (86, 86));
}

/// RFC 5869, appendix A.1 to A.3.
#[test]
fn hkdf_passes_the_examples_of_its_rfc() {
    let counting = |from: u8, to: u8| (from..=to).collect::<Vec<u8>>();
    let first = hkdf::<42>(&[0x0b; 22], &counting(0, 12), &counting(0xf0, 0xf9));
    let expect = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865";
    assert_eq!(first.to_vec(), bytes(expect));
    let second = hkdf::<82>(&counting(0, 0x4f), &counting(0x60, 0xaf), &counting(0xb0, 0xff));
    let expect = "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09\
                  da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87";
    assert_eq!(second.to_vec(), bytes(expect));
    let third = hkdf::<42>(&[0x0b; 22], &[], &[]);
    let expect = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8";
    assert_eq!(third.to_vec(), bytes(expect));
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MacGroup {
    tag_size: usize,
    tests: Vec<MacTest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MacTest {
    tc_id: u32,
    key: String,
    msg: String,
    tag: String,
    result: Outcome,
}

#[test]
fn hmac_passes_the_public_vectors() {
    let all: Vectors<MacGroup> = vectors(include_str!("vectors/hmac_sha256_test.json"));
    let (mut valid, mut invalid, mut cut) = (0, 0, 0);
    for group in &all.test_groups {
        for test in &group.tests {
            let (mac, tag) = (hmac(&bytes(&test.key), &bytes(&test.msg)), bytes(&test.tag));
            // A shortened tag is none: only its whole length is ever the same.
            let expect = test.result == Outcome::Valid && group.tag_size == 256;
            assert_eq!(same(&mac, &tag), expect, "{}", test.tc_id);
            match (group.tag_size, test.result) {
                (256, Outcome::Valid) => valid += 1,
                (256, Outcome::Invalid) => invalid += 1,
                (_, Outcome::Valid | Outcome::Invalid) => cut += 1,
            }
        }
    }
    assert_eq!((valid, invalid, valid + invalid + cut), (33, 54, all.number_of_tests));
}

/// FIPS 180-4's examples.
#[test]
fn sha256_passes_the_examples_of_its_standard() {
    assert_eq!(sha256(b"").to_vec(), bytes("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
    assert_eq!(sha256(b"abc").to_vec(), bytes("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
}

#[test]
fn the_same_bytes_are_the_same() {
    let check = |one: &[u8], other: &[u8], expect: bool| assert_eq!(same(one, other), expect, "{one:?} {other:?}");
    check(b"", b"", true);
    check(b"abc", b"abc", true);
    check(b"abc", b"abd", false);
    check(b"abc", b"ab", false);
    check(b"", b"a", false);
}

/// S-1: what is out of bounds is refused before memory is taken, as the type that takes memory cannot be made of it.
#[test]
fn argon2_parameters_have_bounds() {
    let check = |memory_kib: u32, passes: u32, lanes: u32, accepted: bool| {
        let params = Argon2Params::new(memory_kib, passes, lanes);
        assert_eq!(params.err(), (!accepted).then_some(BadParams { memory_kib, passes, lanes }));
    };
    let mib = 1024;
    check(19 * mib, 2, 1, true);
    check(256 * mib, 10, 4, true);
    check(64 * mib, 3, 1, true);
    check(19 * mib - 1, 3, 1, false);
    check(256 * mib + 1, 3, 1, false);
    check(u32::MAX, 3, 1, false);
    check(0, 3, 1, false);
    check(64 * mib, 1, 1, false);
    check(64 * mib, 0, 1, false);
    check(64 * mib, 11, 1, false);
    check(64 * mib, u32::MAX, 1, false);
    check(64 * mib, 3, 0, false);
    check(64 * mib, 3, 5, false);
    assert_eq!(Argon2Params::default(), Argon2Params::new(64 * mib, 3, 1).unwrap());
}

/// The vector of RFC 9106 has 32 KiB, a secret and associated data, none of which the wrapper can express. These values come
/// from OpenSSL, whose answer to that vector is the RFC's.
#[test]
fn argon2id_agrees_with_another_implementation() {
    let check = |(memory_kib, passes, lanes): (u32, u32, u32), expect: &str| {
        let params = Argon2Params::new(memory_kib, passes, lanes).unwrap();
        let salt = std::array::from_fn(|place| u8::try_from(place).unwrap());
        assert_eq!(argon2id(b"correct horse", &salt, params).to_vec(), bytes(expect), "{params:?}");
    };
    check((19_456, 2, 1), "d00b90c40f918cf889780d7d3a9ec3c2b1719df87dc5e4d4d93ea6163db04e17");
    check((19_456, 2, 4), "693e1d83b9a98d13130437c25db4fc36962ea3b980319cbaacece7da01f844f5");
    check((65_536, 3, 1), "e3c889ca40ed01e6b6771fc8a5bf16e35ad60b41c9bd5d7e6d63adf51e50b0fd");
}

#[test]
fn different_fields_are_different_bytes() {
    let of = |fields: &[&[u8]]| {
        fields.iter().fold(Canonical::new("test"), |all, field| all.bytes(field)).as_slice().to_vec()
    };
    let lists: [&[&[u8]]; 7] = [&[], &[b""], &[b"", b""], &[b"ab"], &[b"a", b"b"], &[b"", b"ab"], &[b"ab", b""]];
    for (place, one) in lists.iter().enumerate() {
        for other in &lists[place + 1..] {
            assert_ne!(of(one), of(other), "{one:?} {other:?}");
        }
    }
    assert_eq!(Canonical::new("test").number(258).as_slice(), of(&[&[0, 0, 0, 0, 0, 0, 1, 2]]));
}
