//! `Principal` and `NotPrincipal` of a key policy.

use super::PolicyError;
use super::element::one_or_more;
use super::error::Place;
use super::json::Json;
use crate::arn::{AccountId, PrincipalArn, PrincipalKind};

/// Whom a statement names.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Named {
    /// `*`: everyone with credentials.
    Everyone,
    /// The account: `arn:aws:iam::<account>:root` or the bare 12 digits. It stands for its
    /// principals, as far as their identity policies allow.
    Account(PrincipalArn),
    /// Exactly this principal.
    Exactly(PrincipalArn),
    /// A service or federated identity: nobody who signs with this KMS's credentials.
    Elsewhere,
}

/// How a caller is meant by a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Meant {
    /// As a member of its account: identity policies decide.
    ByAccount,
    /// Itself.
    Directly,
}

/// The principal element of a key policy statement.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Principals {
    /// `Principal`.
    These(Vec<Named>),
    /// `NotPrincipal`; with Deny only.
    AllBut(Vec<Named>),
}

impl Principals {
    /// How `caller` is meant, if it is.
    pub(super) fn mean(&self, caller: &PrincipalArn) -> Option<Meant> {
        match self {
            Self::These(named) => named.iter().filter_map(|one| one.means(caller)).max(),
            Self::AllBut(named) => (!exempts(named, caller)).then_some(Meant::Directly),
        }
    }

    pub(super) fn named(&self) -> &[Named] {
        match self {
            Self::These(named) | Self::AllBut(named) => named,
        }
    }
}

impl Named {
    fn means(&self, caller: &PrincipalArn) -> Option<Meant> {
        match self {
            Self::Everyone => Some(Meant::Directly),
            Self::Account(root) | Self::Exactly(root) if root == caller => Some(Meant::Directly),
            Self::Account(root) => (root.account() == caller.account()).then_some(Meant::ByAccount),
            Self::Exactly(_) | Self::Elsewhere => None,
        }
    }

    /// The ARN it was written as, or that its account id stands for.
    pub(super) fn arn(&self) -> Option<&PrincipalArn> {
        match self {
            Self::Account(arn) | Self::Exactly(arn) => Some(arn),
            Self::Everyone | Self::Elsewhere => None,
        }
    }
}

/// Whether NotPrincipal exempts the caller. IAM demands that a user's or role's account is listed
/// beside it ("you must also specify the account ARN of the not-denied principal"); the account
/// alone exempts the account's root and none of its users.
fn exempts(named: &[Named], caller: &PrincipalArn) -> bool {
    let listed = |arn: &PrincipalArn| named.iter().any(|one| one.arn() == Some(arn));
    named.contains(&Named::Everyone)
        || listed(caller) && listed(&PrincipalArn::root(caller.account()))
}

/// Reads a principal element: `"*"` or an object of kinds.
pub(super) fn parse(value: &Json, at: Place, element: &str) -> Result<Vec<Named>, PolicyError> {
    let wrong = || PolicyError::WrongType {
        at,
        element: element.to_owned(),
        expected: "\"*\" or a non-empty object of \"AWS\", \"Service\", \"Federated\"",
    };
    let members = match value {
        Json::Text(text) if text == "*" => return Ok(vec![Named::Everyone]),
        Json::Text(text) => {
            return Err(PolicyError::Principal {
                at,
                got: text.clone(),
            });
        }
        Json::Object(members) if !members.is_empty() => members,
        _ => return Err(wrong()),
    };
    let mut named = Vec::new();
    for (kind, values) in members {
        let values = one_or_more(values, at, kind)?;
        match kind.as_str() {
            "AWS" => {
                for text in values {
                    named.push(parse_aws(text, at)?);
                }
            }
            "Service" | "Federated" | "CanonicalUser" => named.push(Named::Elsewhere),
            _ => {
                return Err(PolicyError::UnknownElement {
                    at,
                    element: kind.clone(),
                });
            }
        }
    }
    Ok(named)
}

fn parse_aws(text: &str, at: Place) -> Result<Named, PolicyError> {
    if text == "*" {
        return Ok(Named::Everyone);
    }
    if let Ok(account) = text.parse::<AccountId>() {
        return Ok(Named::Account(PrincipalArn::root(&account)));
    }
    match text.parse::<PrincipalArn>() {
        Ok(arn) if arn.kind() == PrincipalKind::Root => Ok(Named::Account(arn)),
        Ok(arn) => Ok(Named::Exactly(arn)),
        Err(_) => Err(PolicyError::Principal {
            at,
            got: text.to_owned(),
        }),
    }
}
