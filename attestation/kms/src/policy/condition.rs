//! Conditions: one operator, one key, its values; and whether they hold in a request.

use std::net::IpAddr;

use super::budget::{Budget, Exhausted};
use super::element::wrong_type;
use super::error::{Place, PolicyError};
use super::json::Json;
use super::operator::{Operator, Quantifier, Test};
use super::template::{Template, Version};
use super::value::{self, Network};
use super::wildcard::{self, Token};
use super::{Context, FailureReason};

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Truth {
    True,
    False(FailureReason),
    /// Neither can be said: it does not allow, and does not keep a Deny from denying.
    Undecided(FailureReason),
}

impl Truth {
    fn of(holds: bool) -> Self {
        if holds {
            Self::True
        } else {
            Self::False(FailureReason::Unmatched)
        }
    }

    fn not(self) -> Self {
        match self {
            Self::True => Self::False(FailureReason::Unmatched),
            Self::False(_) => Self::True,
            undecided @ Self::Undecided(_) => undecided,
        }
    }

    /// True as soon as one is true; else undecided as soon as one is.
    fn any(truths: impl Iterator<Item = Self>) -> Self {
        let mut outcome = Self::False(FailureReason::Unmatched);
        for truth in truths {
            match truth {
                Self::True => return Self::True,
                undecided @ Self::Undecided(_) => outcome = undecided,
                Self::False(_) => {}
            }
        }
        outcome
    }
}

/// One line of a Condition block.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    pub(super) operator: Operator,
    /// The key as written.
    pub(super) key: String,
    pub(super) values: Vec<Expected>,
}

/// A value of the policy, as its operator needs it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expected {
    Text(Template),
    /// A pattern of six segments once its variables are in.
    Arn(Template),
    Bool(bool),
    /// Whether the key must be absent.
    Absent(bool),
    Number {
        text: String,
        value: f64,
    },
    Date {
        text: String,
        millis: i128,
    },
    Network {
        text: String,
        network: Network,
    },
}

impl Expected {
    /// As it was written.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(template) | Self::Arn(template) => template.text().to_owned(),
            Self::Bool(value) | Self::Absent(value) => value.to_string(),
            Self::Number { text, .. } | Self::Date { text, .. } | Self::Network { text, .. } => {
                text.clone()
            }
        }
    }
}

impl Condition {
    /// Reads a Condition block: operators, in them keys, in them one or more values.
    pub(super) fn parse_block(
        block: &Json,
        at: Place,
        version: Version,
    ) -> Result<Vec<Self>, PolicyError> {
        let Json::Object(operators) = block else {
            return Err(wrong_type(at, "Condition", "an object"));
        };
        let mut conditions = Vec::new();
        for (name, keys) in operators {
            let operator = Operator::parse(name, at)?;
            let Json::Object(keys) = keys else {
                return Err(wrong_type(at, name, "an object of condition keys"));
            };
            for (key, values) in keys {
                let values = parse_values(&operator, key, values, at, version)?;
                conditions.push(Self {
                    operator: operator.clone(),
                    key: key.clone(),
                    values,
                });
            }
        }
        Ok(conditions)
    }

    /// Whether it holds in `context`, as far as `budget` goes.
    pub(super) fn evaluate(&self, context: &Context, budget: &Budget) -> Truth {
        let values = match context.lookup(&self.key) {
            Some(values) if values.is_ambiguous() => {
                return Truth::Undecided(FailureReason::Ambiguous);
            }
            Some(values) => values.as_slice(),
            None => &[],
        };
        if self.operator.test == Test::Null {
            let absent = values.is_empty();
            return Truth::of(self.values.contains(&Expected::Absent(absent)));
        }
        if values.is_empty() {
            return match self.operator.holds_without_value() {
                true => Truth::True,
                false => Truth::False(FailureReason::Missing),
            };
        }
        let each = values
            .iter()
            .map(|got| self.matches_any(got, context, budget));
        let negate = |truth: Truth| {
            if self.operator.negated {
                truth.not()
            } else {
                truth
            }
        };
        match self.operator.quantifier {
            // For a single value the two readings of "not equal" are one; with more, none of
            // them may be equal.
            Quantifier::Plain => negate(Truth::any(each)),
            Quantifier::ForAny => Truth::any(each.map(negate)),
            Quantifier::ForAll => Truth::any(each.map(negate).map(Truth::not)).not(),
        }
    }

    /// Whether one of the policy's values matches `got`, the operator's negation aside.
    fn matches_any(&self, got: &str, context: &Context, budget: &Budget) -> Truth {
        if budget.is_exhausted() {
            return Truth::Undecided(FailureReason::TooCostly);
        }
        let one = |expected| {
            matches(self.operator.test, expected, got, context, budget)
                .unwrap_or_else(Truth::Undecided)
        };
        Truth::any(self.values.iter().map(one))
    }
}

fn parse_values(
    operator: &Operator,
    key: &str,
    values: &Json,
    at: Place,
    version: Version,
) -> Result<Vec<Expected>, PolicyError> {
    let items = match values {
        Json::Array(items) => items.as_slice(),
        single => std::slice::from_ref(single),
    };
    if items.is_empty() {
        return Err(wrong_type(
            at,
            key,
            "a value or a non-empty array of values",
        ));
    }
    let parse = |item: &Json| {
        let text = match item {
            Json::Text(text) => text.clone(),
            Json::Bool(value) => value.to_string(),
            Json::Number(number) => number.to_string(),
            _ => return Err(wrong_type(at, key, "a string, a number or a boolean")),
        };
        parse_value(operator.test, &text, version)?.ok_or_else(|| PolicyError::Value {
            at,
            operator: operator.name.clone(),
            key: key.to_owned(),
            got: text,
            expected: expectation(operator.test),
        })
    };
    items.iter().map(parse).collect()
}

/// `None` when the operator cannot compare with it.
fn parse_value(test: Test, text: &str, version: Version) -> Result<Option<Expected>, PolicyError> {
    let owned = text.to_owned();
    Ok(match test {
        Test::StringEquals | Test::StringEqualsIgnoreCase => {
            Some(Expected::Text(Template::literal(text, version)?))
        }
        Test::StringLike => Some(Expected::Text(Template::pattern(text, version)?)),
        Test::Arn => {
            let template = Template::pattern(text, version)?;
            // A variable may bring the whole ARN; then its form shows at evaluation.
            let usable = template.has_variable() || text.splitn(6, ':').count() == 6;
            usable.then_some(Expected::Arn(template))
        }
        Test::Bool => value::parse_bool(text).map(Expected::Bool),
        Test::Null => value::parse_bool(text).map(Expected::Absent),
        Test::Numeric(_) => {
            value::parse_number(text).map(|value| Expected::Number { text: owned, value })
        }
        Test::Date(_) => value::parse_date(text).map(|millis| Expected::Date {
            text: owned,
            millis,
        }),
        Test::IpAddress => Network::parse(text).map(|network| Expected::Network {
            text: owned,
            network,
        }),
    })
}

fn expectation(test: Test) -> &'static str {
    match test {
        Test::StringEquals | Test::StringEqualsIgnoreCase | Test::StringLike => "a string",
        Test::Arn => "an ARN of six segments",
        Test::Bool | Test::Null => "true or false",
        Test::Numeric(_) => "a number",
        Test::Date(_) => "a date of ISO 8601 or seconds since the epoch",
        Test::IpAddress => "an address or a network in CIDR notation",
    }
}

/// Whether a value of the request matches one of the policy; an error leaves it undecided: a value
/// that the operator cannot compare, such as a word where a number is asked for.
fn matches(
    test: Test,
    expected: &Expected,
    got: &str,
    context: &Context,
    budget: &Budget,
) -> Result<Truth, FailureReason> {
    const TYPE: FailureReason = FailureReason::WrongType;
    let holds = match (test, expected) {
        (Test::StringEquals, Expected::Text(template)) => {
            wildcard::text(&resolve(template, got, context, budget)?) == got
        }
        (Test::StringEqualsIgnoreCase, Expected::Text(template)) => {
            let expected = wildcard::text(&resolve(template, got, context, budget)?);
            expected.to_lowercase() == got.to_lowercase()
        }
        (Test::StringLike, Expected::Text(template)) => {
            wildcard::matches(&resolve(template, got, context, budget)?, got)
        }
        (Test::Arn, Expected::Arn(template)) => {
            arn_matches(&resolve(template, got, context, budget)?, got)
        }
        (Test::Bool, Expected::Bool(expected)) => value::parse_bool(got).ok_or(TYPE)? == *expected,
        (
            Test::Numeric(order),
            Expected::Number {
                value: expected, ..
            },
        ) => {
            let got = value::parse_number(got).ok_or(TYPE)?;
            order.holds(got.partial_cmp(expected).ok_or(TYPE)?)
        }
        (Test::Date(order), Expected::Date { millis, .. }) => {
            order.holds(value::parse_date(got).ok_or(TYPE)?.cmp(millis))
        }
        (Test::IpAddress, Expected::Network { network, .. }) => {
            network.contains(got.parse::<IpAddr>().map_err(|_| TYPE)?)
        }
        // Values are parsed for their operator.
        _ => return Err(TYPE),
    };
    Ok(Truth::of(holds))
}

/// The policy's value in this request, paid for together with its comparison with `got`.
fn resolve(
    template: &Template,
    got: &str,
    context: &Context,
    budget: &Budget,
) -> Result<Vec<Token>, FailureReason> {
    let costly = |_: Exhausted| FailureReason::TooCostly;
    budget.pay(0, template.text().len()).map_err(costly)?;
    let tokens = template
        .resolve(context)
        .map_err(|_| FailureReason::VariableWithoutValue)?;
    budget.pay(got.len(), tokens.len()).map_err(costly)?;
    Ok(tokens)
}

/// ARN against ARN, segment by segment: a `*` does not reach over a colon, save in the last.
fn arn_matches(pattern: &[Token], got: &str) -> bool {
    let patterns: Vec<&[Token]> = pattern
        .splitn(6, |token| *token == Token::Char(':'))
        .collect();
    let segments: Vec<&str> = got.splitn(6, ':').collect();
    patterns.len() == 6
        && segments.len() == 6
        && patterns
            .iter()
            .zip(segments)
            .all(|(pattern, got)| wildcard::matches(pattern, got))
}
