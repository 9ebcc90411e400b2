//! Who calls, and who a policy names.

use std::fmt;
use std::str::FromStr;

use super::{AccountId, ArnError, MAX_PRINCIPAL_ARN};

/// What kind of principal an ARN names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrincipalKind {
    /// `arn:aws:iam::<account>:root`: the account itself.
    Root,
    /// `arn:aws:iam::<account>:user/<path><name>`.
    User,
    /// `arn:aws:iam::<account>:role/<path><name>`.
    Role,
    /// `arn:aws:sts::<account>:assumed-role/<role>/<session>`.
    AssumedRole,
    /// `arn:aws:sts::<account>:federated-user/<name>`.
    FederatedUser,
}

/// The ARN of a principal. Compared byte for byte: IAM's principals are case-sensitive and take
/// no wildcards.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrincipalArn {
    account: AccountId,
    kind: PrincipalKind,
    text: String,
}

impl PrincipalArn {
    /// The account itself: `arn:aws:iam::<account>:root`.
    pub fn root(account: &AccountId) -> Self {
        Self {
            account: account.clone(),
            kind: PrincipalKind::Root,
            text: format!("arn:aws:iam::{account}:root"),
        }
    }

    /// The user `name` of `account`.
    ///
    /// # Errors
    /// [`ArnError::Principal`] when the name holds anything but IAM's `[\w+=,.@-]`, is empty or
    /// longer than 64 characters.
    pub fn user(account: &AccountId, name: &str) -> Result<Self, ArnError> {
        format!("arn:aws:iam::{account}:user/{name}").parse()
    }

    /// The account the principal belongs to.
    pub fn account(&self) -> &AccountId {
        &self.account
    }

    /// What the ARN names.
    pub fn kind(&self) -> PrincipalKind {
        self.kind
    }

    /// The ARN's text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A user's or role's name: what follows the last `/`; `None` for the account itself.
    pub fn name(&self) -> Option<&str> {
        self.text.rsplit_once('/').map(|(_, name)| name)
    }
}

impl FromStr for PrincipalArn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        if text.len() > MAX_PRINCIPAL_ARN {
            return Err(ArnError::Principal);
        }
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next().ok_or(ArnError::Principal);
        let (arn, partition, service, region) = (next()?, next()?, next()?, next()?);
        if arn != "arn" || partition != "aws" || !region.is_empty() {
            return Err(ArnError::Principal);
        }
        let account = next()?.parse().map_err(|_| ArnError::Principal)?;
        let kind = kind_of(service, next()?)?;
        Ok(Self {
            account,
            kind,
            text: text.to_owned(),
        })
    }
}

/// The kind of the resource part, which must be well formed for its service.
fn kind_of(service: &str, resource: &str) -> Result<PrincipalKind, ArnError> {
    if service == "iam" && resource == "root" {
        return Ok(PrincipalKind::Root);
    }
    let (kind, rest) = resource.split_once('/').ok_or(ArnError::Principal)?;
    let names: Vec<&str> = rest.split('/').collect();
    if !names.iter().all(|name| is_name(name)) {
        return Err(ArnError::Principal);
    }
    match (service, kind, names.len()) {
        ("iam", "user", _) => Ok(PrincipalKind::User),
        ("iam", "role", _) => Ok(PrincipalKind::Role),
        ("sts", "assumed-role", 2) => Ok(PrincipalKind::AssumedRole),
        ("sts", "federated-user", 1) => Ok(PrincipalKind::FederatedUser),
        _ => Err(ArnError::Principal),
    }
}

/// IAM's names and path parts: 1 to 64 of `[\w+=,.@-]`.
fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b);
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}

impl fmt::Display for PrincipalArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_principal_is_refused() {
        for text in [
            "",
            "*",
            "111122223333",
            "arn:aws:iam::111122223333:user/*",
            "arn:aws:iam::111122223333:user/",
            "arn:aws:iam::111122223333:user/a//b",
            "arn:aws:iam::111122223333:group/a",
            "arn:aws:iam:eu-central-1:111122223333:user/a",
            "arn:aws:iam::11112222333:user/a",
            "arn:aws:sts::111122223333:assumed-role/r",
            "arn:aws:sts::111122223333:user/a",
            "arn:aws:kms::111122223333:root",
        ] {
            assert_eq!(
                text.parse::<PrincipalArn>(),
                Err(ArnError::Principal),
                "{text:?}"
            );
        }
    }

    #[test]
    fn each_kind_is_known() {
        for (text, kind) in [
            ("arn:aws:iam::111122223333:root", PrincipalKind::Root),
            (
                "arn:aws:iam::111122223333:user/team/alice",
                PrincipalKind::User,
            ),
            (
                "arn:aws:iam::111122223333:role/enclave",
                PrincipalKind::Role,
            ),
            (
                "arn:aws:sts::111122223333:assumed-role/enclave/i-1",
                PrincipalKind::AssumedRole,
            ),
            (
                "arn:aws:sts::111122223333:federated-user/bob",
                PrincipalKind::FederatedUser,
            ),
        ] {
            let arn: PrincipalArn = text.parse().unwrap();
            assert_eq!((arn.kind(), arn.to_string()), (kind, text.to_owned()));
        }
    }
}
