//! The vault's rows and header.

use super::Subject;
use super::audit::{entry, list};
use super::fixture::AT;
use blufio_core::port::{Storage, StoreError};
use blufio_core::record::Vault;
use blufio_core::secret::Secret;
use blufio_core::vault::{OpenVault, SealedSecret, VaultChange};

fn sealed(name: &str, version: u32) -> SealedSecret {
    SealedSecret {
        name: name.to_owned(),
        version,
        scope: "all".to_owned(),
        allowed_hosts: vec!["a.example".to_owned(), "b.example".to_owned()],
        salt: [1; 32],
        nonce: [2; 12],
        ct: vec![3; 40],
        dek_version: 7,
        created: AT,
    }
}

fn change(header: &[u8], put: Vec<SealedSecret>, remove: &[&str]) -> VaultChange {
    let remove = remove.iter().map(|name| (*name).to_owned()).collect();
    VaultChange { header: header.to_vec(), put, remove }
}

pub(super) async fn rows_and_header_change_together<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    assert_eq!(store.vault().await.unwrap(), Vault::default());
    let first = change(b"one", vec![sealed("b", 1), sealed("a", 1)], &[]);
    store.keep_vault(None, first, vec![entry("a"), entry("b")], AT).await.unwrap();
    let next = change(b"two", vec![sealed("a", 2)], &["b"]);
    let stale = store.keep_vault(None, next.clone(), vec![entry("stale")], AT).await;
    assert!(matches!(stale, Err(StoreError::Stale(_))), "there is a vault already: {stale:?}");
    store.keep_vault(Some(b"one".to_vec()), next, vec![entry("a")], AT).await.unwrap();
    let late = store.keep_vault(Some(b"one".to_vec()), change(b"three", Vec::new(), &["a"]), Vec::new(), AT).await;
    assert!(matches!(late, Err(StoreError::Stale(_))), "somebody was faster: {late:?}");
    drop(store);
    let store = subject.open();
    let expected = Vault { header: Some(b"two".to_vec()), rows: vec![sealed("a", 2)] };
    assert_eq!(store.vault().await.unwrap(), expected);
    assert_eq!(list(&store, 9, None).await.len(), 3, "what failed left no entry");
}

pub(super) async fn a_vault_is_opened_again_as_it_was_left<S: Storage>(subject: &Subject<'_, S>) {
    let store = subject.open();
    let kek = [5; 32];
    let (mut vault, change) = OpenVault::create(&kek, &[1; 32]);
    let mut header = change.header.clone();
    store.keep_vault(None, change, Vec::new(), AT).await.unwrap();
    for (number, name) in (2..).zip(["x.key", "y.key", "x.key"]) {
        let value = Secret::new(format!("value {number}"));
        let change = vault.put(name, &value, &["api.example".to_owned()], AT, &[number; 32]).unwrap();
        let over = std::mem::replace(&mut header, change.header.clone());
        store.keep_vault(Some(over), change, Vec::new(), AT).await.unwrap();
    }
    let change = vault.rotate(&[8; 32]).unwrap();
    store.keep_vault(Some(header), change, Vec::new(), AT).await.unwrap();
    drop(store);
    let store = subject.open();
    let Vault { header, rows } = store.vault().await.unwrap();
    assert_eq!(rows.len(), 2);
    let vault = OpenVault::open(&kek, &header.unwrap(), rows).unwrap();
    assert_eq!(vault.get("x.key").unwrap().unwrap().expose(), "value 4");
    assert_eq!(vault.get("y.key").unwrap().unwrap().expose(), "value 3");
}
