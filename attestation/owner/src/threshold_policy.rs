//! The key policy under which a share of a threshold group is sealed and opened.

use std::collections::BTreeMap;

use anchorhold_document::{Pcr, PcrIndex};
use anchorhold_threshold::Epoch;
use anchorhold_threshold::seal::{EPOCH_FIELD, GROUP_FIELD, SHARING_FIELD};
use anchorhold_verifier::RootSha256;
use serde_json::{Map, Value, json};

use crate::policy::only_with_document;

/// What an owner's share key is for.
#[derive(Clone, Debug)]
pub struct ShareRules {
    /// The owner: manages the key, and neither makes nor opens data keys under it.
    pub owner: String,
    /// The enclave's principal.
    pub enclave: String,
    /// The image's measurements.
    pub pcrs: BTreeMap<PcrIndex, Pcr>,
    /// The root of the owner's own platform.
    pub root: RootSha256,
    /// What the key is for at present: nothing before there is an agreement.
    pub current: Option<Current>,
}

/// Which shares a key is for.
#[derive(Clone, Debug)]
pub struct Current {
    /// The agreement's hash in hex.
    pub group: String,
    /// The present epoch.
    pub epoch: Epoch,
    /// The one sharing of the present epoch whose shares open, in hex, as attested statuses name
    /// it. Without it all of the epoch open: those of a refresh too that broke off when some had
    /// finished it, and was tried again.
    pub sharing: Option<String>,
}

impl ShareRules {
    /// The policy document: the attested image seals shares of the present and the next epoch, and
    /// opens those of the present one.
    pub fn policy(&self) -> Value {
        let mut statements = vec![json!({
            "Sid": "OwnerManages",
            "Effect": "Allow",
            "Principal": {"AWS": self.owner},
            "Action": [
                "kms:DescribeKey", "kms:GetKeyPolicy", "kms:PutKeyPolicy", "kms:ListKeyPolicies",
                "kms:EnableKey", "kms:DisableKey", "kms:ScheduleKeyDeletion",
                "kms:CancelKeyDeletion",
            ],
            "Resource": "*",
        })];
        if let Some(current) = &self.current {
            let present = current.epoch.0.to_string();
            let next = current.epoch.0.saturating_add(1).to_string();
            let mut seals = Map::new();
            seals.insert(field(GROUP_FIELD), json!(current.group));
            let mut opens = seals.clone();
            seals.insert(field(EPOCH_FIELD), json!([present, next]));
            opens.insert(field(EPOCH_FIELD), json!([present]));
            if let Some(sharing) = &current.sharing {
                opens.insert(field(SHARING_FIELD), json!(sharing));
            }
            statements.push(self.attested("SealsShares", "kms:GenerateDataKey", seals));
            statements.push(self.attested("OpensShares", "kms:Decrypt", opens));
        }
        json!({ "Version": "2012-10-17", "Statement": statements })
    }

    fn attested(&self, sid: &str, action: &str, context: Map<String, Value>) -> Value {
        let mut measured = Map::new();
        for (index, pcr) in &self.pcrs {
            let key = format!("kms:RecipientAttestation:PCR{index}");
            measured.insert(key, json!(pcr.to_string()));
        }
        let root = "anchorhold:RecipientAttestation:RootSha256".to_owned();
        measured.insert(root, json!(self.root.to_string()));
        json!({
            "Sid": sid,
            "Effect": "Allow",
            "Principal": {"AWS": self.enclave},
            "Action": action,
            "Resource": "*",
            "Condition": {"StringEqualsIgnoreCase": measured, "StringEquals": context},
        })
    }
}

/// The condition key of a pair of the encryption context.
fn field(name: &str) -> String {
    format!("kms:EncryptionContext:{name}")
}

/// What the enclave's principal may do at all: seal and open with a document, and ask for a nonce.
pub fn share_identity_policy() -> Value {
    only_with_document(&["kms:GenerateDataKey", "kms:Decrypt"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(current: Option<Current>) -> ShareRules {
        ShareRules {
            owner: "arn:aws:iam::1:user/owner".to_owned(),
            enclave: "arn:aws:iam::1:user/enclave".to_owned(),
            pcrs: [(PcrIndex::PCR0, Pcr([0xAB; 48]))].into(),
            root: RootSha256([0xCD; 32]),
            current,
        }
    }

    #[test]
    fn without_an_agreement_nobody_uses_the_key() {
        let policy = rules(None).policy().to_string();
        assert!(!policy.contains("kms:Decrypt") && !policy.contains("kms:GenerateDataKey"));
    }

    fn current(sharing: Option<String>) -> Current {
        let (group, epoch) = ("aa".repeat(48), Epoch(7));
        Current {
            group,
            epoch,
            sharing,
        }
    }

    #[test]
    fn one_sharing_of_the_epoch_opens_when_it_is_named() {
        let named = "5c".repeat(48);
        let policy = rules(Some(current(Some(named.clone())))).policy();
        let statements = policy["Statement"].as_array().unwrap();
        let key = "kms:EncryptionContext:anchorhold-threshold-sharing";
        let of = |sid: &str| statements.iter().find(|s| s["Sid"] == sid).unwrap();
        assert_eq!(of("OpensShares")["Condition"]["StringEquals"][key], *named);
        // What is sealed next is a sharing that nobody knows yet.
        assert_eq!(
            of("SealsShares")["Condition"]["StringEquals"][key],
            Value::Null
        );
        let unnamed = rules(Some(current(None))).policy().to_string();
        assert!(!unnamed.contains(key));
    }

    #[test]
    fn only_the_present_epoch_opens() {
        let policy = rules(Some(current(None))).policy();
        let statements = policy["Statement"].as_array().unwrap();
        let of = |action: &str| statements.iter().find(|s| s["Action"] == action).unwrap();
        let epochs = |s: &Value| {
            s["Condition"]["StringEquals"]["kms:EncryptionContext:anchorhold-threshold-epoch"]
                .clone()
        };
        assert_eq!(epochs(of("kms:Decrypt")), json!(["7"]));
        assert_eq!(epochs(of("kms:GenerateDataKey")), json!(["7", "8"]));
        for action in ["kms:Decrypt", "kms:GenerateDataKey"] {
            let statement = of(action);
            assert_eq!(statement["Principal"]["AWS"], "arn:aws:iam::1:user/enclave");
            let condition = &statement["Condition"]["StringEqualsIgnoreCase"];
            assert_eq!(condition["kms:RecipientAttestation:PCR0"], "ab".repeat(48));
            let root = &condition["anchorhold:RecipientAttestation:RootSha256"];
            assert_eq!(root, &"cd".repeat(32));
        }
    }
}
