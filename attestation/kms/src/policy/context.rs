//! Condition keys and their values in one request.
//!
//! Keys come in through builders only, so that nothing a caller sends can pose as another key;
//! attestation keys come in through [`Context::recipient`], which takes
//! [`RecipientClaims`](crate::attestation::RecipientClaims): proof that a document was appraised.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::keys::{
    ENCRYPTION_CONTEXT_KEYS, ENCRYPTION_CONTEXT_PREFIX, IMAGE_SHA384, PCR_PREFIX, PRIOR_RELEASES,
    ROOT_SHA256, USER_DATA,
};
use crate::arn::{AliasName, PrincipalArn, PrincipalKind, Region};
use crate::attestation::RecipientClaims;
use crate::encryption_context::EncryptionContext;
use crate::key::{DeletionWindow, EncryptionAlgorithm, KeyMetadata, KeySpec, KeyUsage, Origin};

/// The condition keys of one request. Names are compared without regard to (ASCII) case.
#[derive(Debug, Clone, PartialEq)]
pub struct Context {
    values: BTreeMap<String, Values>,
}

/// The values of one key; never empty.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Values {
    values: Vec<String>,
    ambiguous: bool,
}

impl Values {
    pub(super) fn as_slice(&self) -> &[String] {
        &self.values
    }

    /// Whether two names of the encryption context differ by case alone: no condition can say
    /// which of them it asks for.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.ambiguous
    }
}

impl Context {
    /// The keys that every request has: `aws:PrincipalArn`, `aws:PrincipalAccount`,
    /// `aws:username` (users only), `kms:CallerAccount`, `aws:RequestedRegion`, `aws:CurrentTime`,
    /// `aws:EpochTime`.
    pub fn new(principal: &PrincipalArn, region: &Region, now: SystemTime) -> Self {
        let account = principal.account().to_string();
        let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut context = Self {
            values: BTreeMap::new(),
        }
        .with("aws:PrincipalArn", principal.to_string())
        .with("aws:PrincipalAccount", account.clone())
        .with("kms:CallerAccount", account)
        .with("aws:RequestedRegion", region.to_string())
        .with("aws:EpochTime", since_epoch.as_secs().to_string());
        // Beyond the year 9999 there is no such text; conditions on it then fail.
        if let Ok(text) = OffsetDateTime::from(UNIX_EPOCH + since_epoch).format(&Rfc3339) {
            context = context.with("aws:CurrentTime", text);
        }
        match (principal.kind(), principal.name()) {
            (PrincipalKind::User, Some(name)) => context.with("aws:username", name.to_owned()),
            _ => context,
        }
    }

    /// `aws:SecureTransport`: whether the request came over TLS.
    #[must_use]
    pub fn secure_transport(self, tls: bool) -> Self {
        self.with("aws:SecureTransport", tls.to_string())
    }

    /// `aws:SourceIp`: the peer of the connection.
    #[must_use]
    pub fn source_ip(self, peer: IpAddr) -> Self {
        self.with("aws:SourceIp", peer.to_canonical().to_string())
    }

    /// `kms:KeySpec`, `kms:KeyUsage`, `kms:KeyOrigin` of the key the request is about.
    #[must_use]
    pub fn key(self, key: &KeyMetadata) -> Self {
        self.new_key(key.spec, key.usage, key.origin)
    }

    /// The same of the key that CreateKey would make, defaults filled in.
    #[must_use]
    pub fn new_key(self, spec: KeySpec, usage: KeyUsage, origin: Origin) -> Self {
        self.with("kms:KeySpec", spec.to_string())
            .with("kms:KeyUsage", usage.to_string())
            .with("kms:KeyOrigin", origin.to_string())
    }

    /// `kms:RequestAlias`: the alias by which the request named the key.
    #[must_use]
    pub fn request_alias(self, alias: &AliasName) -> Self {
        self.with("kms:RequestAlias", alias.to_string())
    }

    /// `kms:EncryptionAlgorithm`, the default when the request leaves it out.
    #[must_use]
    pub fn encryption_algorithm(self, algorithm: EncryptionAlgorithm) -> Self {
        self.with("kms:EncryptionAlgorithm", algorithm.to_string())
    }

    /// `kms:EncryptionContext:<name>` for each pair and `kms:EncryptionContextKeys`; nothing for
    /// an empty context. Where two names differ by case alone, conditions on them are undecided.
    #[must_use]
    pub fn encryption_context(mut self, context: &EncryptionContext) -> Self {
        for (name, value) in context.iter() {
            let key = format!("{ENCRYPTION_CONTEXT_PREFIX}{name}");
            self.push(&key, value);
            self.push(ENCRYPTION_CONTEXT_KEYS, name);
        }
        for (key, values) in &mut self.values {
            values.ambiguous |= values.values.len() > 1
                && key.starts_with(&ENCRYPTION_CONTEXT_PREFIX.to_ascii_lowercase());
        }
        self
    }

    /// `kms:BypassPolicyLockoutSafetyCheck` of CreateKey and PutKeyPolicy, false when left out.
    #[must_use]
    pub fn bypass_policy_lockout_safety_check(self, bypass: bool) -> Self {
        self.with("kms:BypassPolicyLockoutSafetyCheck", bypass.to_string())
    }

    /// `kms:ScheduleKeyDeletionPendingWindowInDays`, the default when left out.
    #[must_use]
    pub fn deletion_window(self, window: DeletionWindow) -> Self {
        self.with(
            "kms:ScheduleKeyDeletionPendingWindowInDays",
            window.days().to_string(),
        )
    }

    /// `kms:RecipientAttestation:ImageSha384`, `kms:RecipientAttestation:PCR<n>` for every PCR of
    /// the document, zero ones included, `anchorhold:RecipientAttestation:RootSha256`, and, where the
    /// document has any, `anchorhold:RecipientAttestation:UserData`; all in lower-case hex.
    #[must_use]
    pub fn recipient(mut self, claims: &RecipientClaims) -> Self {
        for (index, pcr) in claims.pcrs() {
            self = self.with(&format!("{PCR_PREFIX}{}", index.value()), pcr.to_string());
        }
        if let Some(image) = claims.pcr0() {
            self = self.with(IMAGE_SHA384, image.to_string());
        }
        if let Some(user_data) = claims.user_data() {
            self = self.with(USER_DATA, hex::encode(user_data));
        }
        self.with(ROOT_SHA256, hex::encode(claims.root_sha256().as_bytes()))
    }

    /// `anchorhold:RecipientAttestation:PriorReleases`: to how many other documents with the
    /// recipient's user_data the key has been released. The caller has counted them, and commits
    /// the release only if the count still holds.
    #[must_use]
    pub fn prior_releases(self, count: u64) -> Self {
        self.with(PRIOR_RELEASES, count.to_string())
    }

    /// The values of `key`; `None` when the request does not have it.
    pub fn values(&self, key: &str) -> Option<&[String]> {
        self.lookup(key).map(Values::as_slice)
    }

    pub(super) fn lookup(&self, key: &str) -> Option<&Values> {
        self.values.get(&key.to_ascii_lowercase())
    }

    /// The context in which `key` has this one value.
    pub(super) fn with(mut self, key: &str, value: String) -> Self {
        let values = Values {
            values: vec![value],
            ambiguous: false,
        };
        self.values.insert(key.to_ascii_lowercase(), values);
        self
    }

    fn push(&mut self, key: &str, value: &str) {
        self.values
            .entry(key.to_ascii_lowercase())
            .or_insert(Values {
                values: Vec::new(),
                ambiguous: false,
            })
            .values
            .push(value.to_owned());
    }
}
