//! Statements: whom, what, on what, under which conditions.

use super::condition::Condition;
use super::element::{exclusive, member, one_or_more, text_member, wrong_type};
use super::error::{Place, PolicyError};
use super::json::Json;
use super::principal::{self, Principals};
use super::template::{Template, Version};
use super::wildcard::{self, Token};

/// Allow or Deny.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Allow,
    Deny,
}

/// One statement. Without actions or resources it has no effect.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Statement {
    pub(super) sid: Option<String>,
    pub(super) effect: Effect,
    /// `None` in identity policies only.
    pub(super) principals: Option<Principals>,
    pub(super) actions: Option<Actions>,
    pub(super) resources: Option<Resources>,
    pub(super) conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Actions {
    These(Vec<ActionPattern>),
    AllBut(Vec<ActionPattern>),
}

impl Actions {
    /// Whether the statement is about `action`.
    pub(super) fn cover(&self, action: &str) -> bool {
        match self {
            Self::These(patterns) => patterns.iter().any(|pattern| pattern.matches(action)),
            Self::AllBut(patterns) => !patterns.iter().any(|pattern| pattern.matches(action)),
        }
    }
}

/// An action, in which `*` and `?` are wildcards and case does not count.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ActionPattern {
    pub(super) text: String,
    tokens: Vec<Token>,
}

impl ActionPattern {
    pub(super) fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            tokens: wildcard::tokens(&text.to_ascii_lowercase()),
        }
    }

    pub(super) fn matches(&self, action: &str) -> bool {
        wildcard::matches(&self.tokens, &action.to_ascii_lowercase())
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Resources {
    These(Vec<Template>),
    AllBut(Vec<Template>),
}

impl Resources {
    pub(super) fn templates(&self) -> &[Template] {
        match self {
            Self::These(templates) | Self::AllBut(templates) => templates,
        }
    }
}

/// Which kind of policy a statement stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Key,
    Identity,
}

/// Reads a statement.
pub(super) fn parse(
    value: &Json,
    at: Place,
    kind: Kind,
    version: Version,
) -> Result<Statement, PolicyError> {
    const ELEMENTS: [&str; 9] = [
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
    ];
    let Json::Object(members) = value else {
        return Err(wrong_type(at, "a statement", "an object"));
    };
    if let Some((name, _)) = members
        .iter()
        .find(|(name, _)| !ELEMENTS.contains(&name.as_str()))
    {
        return Err(PolicyError::UnknownElement {
            at,
            element: name.clone(),
        });
    }
    let effect = parse_effect(members, at)?;
    let statement = Statement {
        sid: text_member(members, "Sid", at)?.map(str::to_owned),
        effect,
        principals: parse_principals(members, at, kind, effect)?,
        actions: parse_actions(members, at)?,
        resources: parse_resources(members, at, version)?,
        conditions: match member(members, "Condition") {
            Some(value) => Condition::parse_block(value, at, version)?,
            None => Vec::new(),
        },
    };
    if kind == Kind::Identity {
        for (absent, element) in [
            (statement.actions.is_none(), "Action"),
            (statement.resources.is_none(), "Resource"),
        ] {
            if absent {
                return Err(PolicyError::Missing { at, element });
            }
        }
    }
    Ok(statement)
}

fn parse_effect(members: &[(String, Json)], at: Place) -> Result<Effect, PolicyError> {
    match text_member(members, "Effect", at)? {
        Some("Allow") => Ok(Effect::Allow),
        Some("Deny") => Ok(Effect::Deny),
        Some(got) => Err(PolicyError::Effect {
            at,
            got: got.to_owned(),
        }),
        None => Err(PolicyError::Missing {
            at,
            element: "Effect",
        }),
    }
}

fn parse_principals(
    members: &[(String, Json)],
    at: Place,
    kind: Kind,
    effect: Effect,
) -> Result<Option<Principals>, PolicyError> {
    let (these, all_but) = exclusive(members, at, "Principal", "NotPrincipal")?;
    if kind == Kind::Identity {
        return match these.or(all_but) {
            Some(_) => Err(PolicyError::PrincipalInIdentityPolicy { at }),
            None => Ok(None),
        };
    }
    match (these, all_but) {
        (Some(value), _) => {
            principal::parse(value, at, "Principal").map(|named| Some(Principals::These(named)))
        }
        (None, Some(_)) if effect == Effect::Allow => Err(PolicyError::NotPrincipalAllow { at }),
        (None, Some(value)) => {
            principal::parse(value, at, "NotPrincipal").map(|named| Some(Principals::AllBut(named)))
        }
        (None, None) => Err(PolicyError::Missing {
            at,
            element: "Principal",
        }),
    }
}

fn parse_actions(members: &[(String, Json)], at: Place) -> Result<Option<Actions>, PolicyError> {
    let (these, all_but) = exclusive(members, at, "Action", "NotAction")?;
    let read = |value, element| -> Result<Vec<ActionPattern>, PolicyError> {
        one_or_more(value, at, element)?
            .into_iter()
            .map(|text| parse_action(text, at))
            .collect()
    };
    Ok(match (these, all_but) {
        (Some(value), _) => Some(Actions::These(read(value, "Action")?)),
        (None, Some(value)) => Some(Actions::AllBut(read(value, "NotAction")?)),
        (None, None) => None,
    })
}

/// `*`, or a service's name, a colon and an action's name.
fn parse_action(text: &str, at: Place) -> Result<ActionPattern, PolicyError> {
    let name = |part: &str, more: &[u8]| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
    };
    let well_formed = text == "*"
        || text
            .split_once(':')
            .is_some_and(|(service, action)| name(service, b"-") && name(action, b"*?"));
    if well_formed {
        Ok(ActionPattern::new(text))
    } else {
        Err(PolicyError::Action {
            at,
            got: text.to_owned(),
        })
    }
}

fn parse_resources(
    members: &[(String, Json)],
    at: Place,
    version: Version,
) -> Result<Option<Resources>, PolicyError> {
    let (these, all_but) = exclusive(members, at, "Resource", "NotResource")?;
    let read = |value, element| -> Result<Vec<Template>, PolicyError> {
        let texts = one_or_more(value, at, element)?;
        texts
            .into_iter()
            .map(|text| Template::pattern(text, version))
            .collect()
    };
    Ok(match (these, all_but) {
        (Some(value), _) => Some(Resources::These(read(value, "Resource")?)),
        (None, Some(value)) => Some(Resources::AllBut(read(value, "NotResource")?)),
        (None, None) => None,
    })
}
