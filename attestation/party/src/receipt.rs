//! What a party keeps of its sealed file, to approve it.

use anchorhold_envelope::Sealed;
use anchorhold_joint::contract::Contract;
use serde::{Deserialize, Serialize};

/// The value of a receipt's `format` field.
pub const FORMAT: &str = "anchorhold-joint-receipt/1";

/// The identity of a sealed file. It holds nothing secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The contract that it is sealed under, in hex.
    pub contract_sha384: String,
    /// [`FORMAT`].
    pub format: String,
    /// SHA-384 of the message's header with its tag, in hex.
    pub header_sha384: String,
    /// Bytes of the file, before sealing.
    pub plaintext_bytes: u64,
}

impl Receipt {
    /// The receipt of a file sealed under a contract.
    pub fn of(sealed: &Sealed, contract: &Contract) -> Self {
        Self {
            contract_sha384: contract.hash().to_string(),
            format: FORMAT.to_owned(),
            header_sha384: hex::encode(sealed.header_sha384()),
            plaintext_bytes: sealed.plaintext_length(),
        }
    }

    /// The header's hash, where the receipt is of a file sealed under this contract.
    pub fn header_under(&self, contract: &Contract) -> Option<[u8; 48]> {
        let header = hex::decode(&self.header_sha384).ok()?.try_into().ok()?;
        let ok = self.format == FORMAT && self.contract_sha384 == contract.hash().to_string();
        ok.then_some(header)
    }
}
