//! The key policy that releases a key to one measured image under one root, and to nothing else.

use std::collections::BTreeMap;

use anchorhold_document::{Pcr, PcrIndex};
use anchorhold_verifier::RootSha256;
use serde_json::{Value, json};

/// What an owner's key is for.
#[derive(Clone, Debug)]
pub struct KeyRules {
    /// The owner: may manage the key and encrypt under it, never decrypt.
    pub owner: String,
    /// The enclave's principal: may decrypt, with a document that matches.
    pub enclave: String,
    /// The image's measurements. PCR0 to PCR2 belong there.
    pub pcrs: BTreeMap<PcrIndex, Pcr>,
    /// The root that signs for the platform.
    pub root: RootSha256,
}

impl KeyRules {
    /// The policy document. No statement gives the account's root all actions: that would defeat
    /// attestation, because every administrator could then decrypt.
    pub fn policy(&self) -> Value {
        let mut attested = serde_json::Map::new();
        for (index, pcr) in &self.pcrs {
            let key = format!("kms:RecipientAttestation:PCR{index}");
            attested.insert(key, json!(pcr.to_string()));
        }
        let root = self.root.to_string();
        attested.insert(
            "anchorhold:RecipientAttestation:RootSha256".to_owned(),
            json!(root),
        );
        json!({
            "Version": "2012-10-17",
            "Statement": [
                owner_statement(&self.owner),
                {
                    "Sid": "AttestedImageDecrypts",
                    "Effect": "Allow",
                    "Principal": {"AWS": self.enclave},
                    "Action": "kms:Decrypt",
                    "Resource": "*",
                    "Condition": {"StringEqualsIgnoreCase": attested},
                },
            ],
        })
    }
}

/// What lets an owner manage a key and encrypt under it, and never decrypt.
pub fn owner_statement(owner: &str) -> Value {
    json!({
        "Sid": "OwnerManagesAndEncrypts",
        "Effect": "Allow",
        "Principal": {"AWS": owner},
        "Action": [
            "kms:DescribeKey", "kms:GetKeyPolicy", "kms:PutKeyPolicy",
            "kms:ListKeyPolicies", "kms:EnableKey", "kms:DisableKey",
            "kms:ScheduleKeyDeletion", "kms:CancelKeyDeletion",
            "kms:CreateAlias", "kms:UpdateAlias", "kms:DeleteAlias",
            "kms:Encrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext",
        ],
        "Resource": "*",
    })
}

/// What the enclave's principal may do at all: decrypt with a document, and ask for a nonce.
pub fn enclave_identity_policy() -> Value {
    only_with_document(&["kms:Decrypt"])
}

/// An identity policy that denies all but some actions, those without an attestation document, and
/// asking for a nonce.
///
/// It allows nothing, because an Allow would join with every key policy that leaves the decision to
/// the account, and any attested image would then use that key. Key policies name the principal;
/// here stands only what it may not do, whatever a key policy says.
pub(crate) fn only_with_document(actions: &[&str]) -> Value {
    let others = [actions, &["anchorhold:GetAttestationNonce"]].concat();
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "NothingElse",
                "Effect": "Deny",
                "NotAction": others,
                "Resource": "*",
            },
            {
                "Sid": "NothingWithoutDocument",
                "Effect": "Deny",
                "Action": actions,
                "Resource": "*",
                "Condition": {"Null": {"anchorhold:RecipientAttestation:RootSha256": "true"}},
            },
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_enclave_decrypts_and_only_attested() {
        let rules = KeyRules {
            owner: "arn:aws:iam::1:user/owner".to_owned(),
            enclave: "arn:aws:iam::1:user/enclave".to_owned(),
            pcrs: [(PcrIndex::new(0).unwrap(), Pcr([0xAB; 48]))].into(),
            root: RootSha256([0xCD; 32]),
        };
        let policy = rules.policy();
        let statements = policy["Statement"].as_array().unwrap();
        for statement in statements {
            let action = statement["Action"].to_string();
            let principal = statement["Principal"]["AWS"].as_str().unwrap();
            assert!(!action.contains("kms:*") && !principal.ends_with(":root"));
            if action.contains("kms:Decrypt") {
                assert_eq!(principal, rules.enclave);
                let condition = &statement["Condition"]["StringEqualsIgnoreCase"];
                assert_eq!(condition["kms:RecipientAttestation:PCR0"], "ab".repeat(48));
                let root = &condition["anchorhold:RecipientAttestation:RootSha256"];
                assert_eq!(root, &"cd".repeat(32));
            }
        }
    }
}
