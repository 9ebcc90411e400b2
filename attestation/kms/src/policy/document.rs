//! Policies, parsed.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>. Elements,
//! effects and operators are compared with regard to case, as IAM writes them.

use super::element::{member, wrong_type};
use super::error::{Place, PolicyError};
use super::json::Json;
use super::principal::{Named, Principals};
use super::statement::{self, ActionPattern, Actions, Effect, Kind, Resources, Statement};
use super::template::{Template, Version};
use crate::arn::{AccountId, PrincipalArn};

/// Longest policy, in bytes (KMS quota; beyond it `LimitExceededException`).
pub const MAX_POLICY: usize = 32_768;

/// Most statements of a policy; a policy of the longest size with the shortest statements has
/// some 500.
pub const MAX_STATEMENTS: usize = 256;

/// A key policy: its statements name principals, its resource `*` is the key it hangs on.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyPolicy {
    text: String,
    pub(super) statements: Vec<Statement>,
}

impl KeyPolicy {
    /// Reads a key policy.
    ///
    /// # Errors
    /// [`PolicyError`]: size, JSON, or an element, operator, variable or principal that is not
    /// understood. A statement without Action or Resource is taken and has no effect.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        Ok(Self {
            text: text.to_owned(),
            statements: parse(text, Kind::Key)?,
        })
    }

    /// The policy that a key gets when its creator gives none, as AWS writes it: everything to the
    /// account, which leaves the decision to identity policies. It gives plaintext without
    /// attestation.
    pub fn default_for(account: &AccountId) -> Self {
        let root = PrincipalArn::root(account);
        let text = format!(
            r#"{{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {{
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : {{
      "AWS" : "{root}"
    }},
    "Action" : "kms:*",
    "Resource" : "*"
  }} ]
}}"#
        );
        let statement = Statement {
            sid: Some("Enable IAM User Permissions".to_owned()),
            effect: Effect::Allow,
            principals: Some(Principals::These(vec![Named::Account(root)])),
            actions: Some(Actions::These(vec![ActionPattern::new("kms:*")])),
            resources: Some(Resources::These(vec![Template::every()])),
            conditions: Vec::new(),
        };
        Self {
            text,
            statements: vec![statement],
        }
    }

    /// The policy's text, byte for byte as it was put.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The principals that its statements name, accounts as their root: AWS refuses a policy that
    /// names one that does not exist; who exists is for the caller to know.
    pub fn principals(&self) -> impl Iterator<Item = &PrincipalArn> {
        let named = |statement| Principals::named(statement);
        self.statements
            .iter()
            .filter_map(|statement| statement.principals.as_ref())
            .flat_map(named)
            .filter_map(Named::arn)
    }
}

/// An identity policy: attached to a principal, its statements name resources and no principals.
#[derive(Debug, Clone, PartialEq)]
pub struct IdentityPolicy {
    text: String,
    pub(super) statements: Vec<Statement>,
}

impl IdentityPolicy {
    /// Reads an identity policy.
    ///
    /// # Errors
    /// [`PolicyError`], also for a statement without action or resource, or with a principal.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        Ok(Self {
            text: text.to_owned(),
            statements: parse(text, Kind::Identity)?,
        })
    }

    /// The policy's text, byte for byte as it was attached.
    pub fn text(&self) -> &str {
        &self.text
    }
}

fn parse(text: &str, kind: Kind) -> Result<Vec<Statement>, PolicyError> {
    if text.len() > MAX_POLICY {
        return Err(PolicyError::TooLarge {
            size: text.len(),
            max: MAX_POLICY,
        });
    }
    let allowed = |c: &char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{ff}');
    if let Some(c) = text.chars().find(|c| !allowed(c)) {
        return Err(PolicyError::Character { got: u32::from(c) });
    }
    let Json::Object(members) = Json::parse(text)? else {
        return Err(wrong_type(Place::Document, "the policy", "an object"));
    };
    let version = parse_document(&members)?;
    let statements = member(&members, "Statement").ok_or(PolicyError::Missing {
        at: Place::Document,
        element: "Statement",
    })?;
    let statements = match statements {
        Json::Array(items) => items.as_slice(),
        single => std::slice::from_ref(single),
    };
    if statements.len() > MAX_STATEMENTS {
        return Err(PolicyError::Statements {
            got: statements.len(),
            max: MAX_STATEMENTS,
        });
    }
    let parse_one =
        |(index, value)| statement::parse(value, Place::Statement(index), kind, version);
    statements.iter().enumerate().map(parse_one).collect()
}

/// Checks what stands beside the statements and returns the version.
fn parse_document(members: &[(String, Json)]) -> Result<Version, PolicyError> {
    let mut version = Version::V2008;
    for (name, value) in members {
        match (name.as_str(), value) {
            ("Version", Json::Text(text)) => {
                version = match text.as_str() {
                    "2012-10-17" => Version::V2012,
                    "2008-10-17" => Version::V2008,
                    _ => return Err(PolicyError::Version { got: text.clone() }),
                }
            }
            ("Version" | "Id", value) if !matches!(value, Json::Text(_)) => {
                return Err(wrong_type(Place::Document, name, "a string"));
            }
            ("Id" | "Statement", _) => {}
            _ => {
                let element = name.clone();
                return Err(PolicyError::UnknownElement {
                    at: Place::Document,
                    element,
                });
            }
        }
    }
    Ok(version)
}
