//! The vault as it is stored: sealed, so that the store knows names and nothing else.

use crate::vault::SealedSecret;

/// What the store has of the vault.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vault {
    /// The header; `None`: there is no vault yet.
    pub header: Option<Vec<u8>>,
    /// The rows, by name.
    pub rows: Vec<SealedSecret>,
}
