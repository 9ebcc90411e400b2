//! Condition operators: `ForAnyValue:StringNotLikeIfExists` and the like, taken apart.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>

use super::error::{Place, PolicyError};

/// How a request's value is compared with a policy's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    /// Text, character by character.
    StringEquals,
    /// Text without regard to case.
    StringEqualsIgnoreCase,
    /// Text against a pattern.
    StringLike,
    /// ARNs, each of the six segments against a pattern. IAM's ArnEquals and ArnLike are one.
    Arn,
    /// `true` or `false`.
    Bool,
    /// Numbers.
    Numeric(Order),
    /// Points in time.
    Date(Order),
    /// An address in a network.
    IpAddress,
    /// Whether the request has the key at all.
    Null,
}

/// An order relation between the request's value, on the left, and the policy's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    pub(super) fn holds(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

/// `ForAnyValue:`, `ForAllValues:`, or neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantifier {
    /// For keys of a single value.
    Plain,
    /// One of the request's values suffices; without a value it does not hold.
    ForAny,
    /// Every value of the request; without a value it holds.
    ForAll,
}

/// A condition operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Operator {
    /// As it was written.
    pub(super) name: String,
    pub(super) test: Test,
    pub(super) negated: bool,
    pub(super) if_exists: bool,
    pub(super) quantifier: Quantifier,
}

impl Operator {
    /// Reads an operator's name.
    pub(super) fn parse(name: &str, at: Place) -> Result<Self, PolicyError> {
        let unknown = || PolicyError::UnknownOperator {
            at,
            got: name.to_owned(),
        };
        let (quantifier, rest) = match name.split_once(':') {
            None => (Quantifier::Plain, name),
            Some(("ForAnyValue", rest)) => (Quantifier::ForAny, rest),
            Some(("ForAllValues", rest)) => (Quantifier::ForAll, rest),
            Some(_) => return Err(unknown()),
        };
        let (base, if_exists) = match rest.strip_suffix("IfExists") {
            Some(base) => (base, true),
            None => (rest, false),
        };
        if base == "BinaryEquals" {
            return Err(PolicyError::UnsupportedOperator {
                at,
                got: name.to_owned(),
            });
        }
        let (test, negated) = test_of(base).ok_or_else(unknown)?;
        // IAM: IfExists goes to every operator but Null; Null asks about existence itself.
        if test == Test::Null && (if_exists || quantifier != Quantifier::Plain) {
            return Err(unknown());
        }
        Ok(Self {
            name: name.to_owned(),
            test,
            negated,
            if_exists,
            quantifier,
        })
    }

    /// What the condition is when the request does not have the key.
    pub(super) fn holds_without_value(&self) -> bool {
        match self.quantifier {
            Quantifier::ForAll => true,
            Quantifier::ForAny => self.if_exists,
            Quantifier::Plain => self.if_exists || self.negated,
        }
    }
}

fn test_of(base: &str) -> Option<(Test, bool)> {
    use Order::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
    Some(match base {
        "StringEquals" => (Test::StringEquals, false),
        "StringNotEquals" => (Test::StringEquals, true),
        "StringEqualsIgnoreCase" => (Test::StringEqualsIgnoreCase, false),
        "StringNotEqualsIgnoreCase" => (Test::StringEqualsIgnoreCase, true),
        "StringLike" => (Test::StringLike, false),
        "StringNotLike" => (Test::StringLike, true),
        "ArnEquals" | "ArnLike" => (Test::Arn, false),
        "ArnNotEquals" | "ArnNotLike" => (Test::Arn, true),
        "Bool" => (Test::Bool, false),
        "NumericEquals" => (Test::Numeric(Equal), false),
        "NumericNotEquals" => (Test::Numeric(Equal), true),
        "NumericLessThan" => (Test::Numeric(Less), false),
        "NumericLessThanEquals" => (Test::Numeric(LessOrEqual), false),
        "NumericGreaterThan" => (Test::Numeric(Greater), false),
        "NumericGreaterThanEquals" => (Test::Numeric(GreaterOrEqual), false),
        "DateEquals" => (Test::Date(Equal), false),
        "DateNotEquals" => (Test::Date(Equal), true),
        "DateLessThan" => (Test::Date(Less), false),
        "DateLessThanEquals" => (Test::Date(LessOrEqual), false),
        "DateGreaterThan" => (Test::Date(Greater), false),
        "DateGreaterThanEquals" => (Test::Date(GreaterOrEqual), false),
        "IpAddress" => (Test::IpAddress, false),
        "NotIpAddress" => (Test::IpAddress, true),
        "Null" => (Test::Null, false),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_iam_does_not_have_are_refused() {
        for name in [
            "",
            "stringEquals",
            "StringEqual",
            "StringEqualsifExists",
            "StringEqualsIfExistsIfExists",
            "StringLikeIgnoreCase",
            "ForSomeValue:StringEquals",
            "ForAnyValue:",
            "ForAnyValue:ForAllValues:StringEquals",
            "foranyvalue:StringEquals",
            "NullIfExists",
            "ForAllValues:Null",
            "NotBool",
            "ArnLike ",
        ] {
            let error = Operator::parse(name, Place::Statement(0)).unwrap_err();
            assert_eq!(error.rule(), "policy.unknown-operator", "{name:?}");
        }
        for name in ["BinaryEquals", "ForAllValues:BinaryEqualsIfExists"] {
            let error = Operator::parse(name, Place::Statement(0)).unwrap_err();
            assert_eq!(error.rule(), "policy.unsupported-operator", "{name:?}");
        }
    }

    #[test]
    fn prefix_negation_and_suffix_are_taken_apart() {
        let operator =
            Operator::parse("ForAnyValue:StringNotLikeIfExists", Place::Statement(0)).unwrap();
        assert_eq!(operator.test, Test::StringLike);
        assert!(operator.negated && operator.if_exists);
        assert_eq!(operator.quantifier, Quantifier::ForAny);
    }

    #[test]
    fn without_a_value() {
        for (name, holds) in [
            ("StringEquals", false),
            ("StringNotEquals", true),
            ("StringEqualsIfExists", true),
            ("Bool", false),
            ("NumericLessThan", false),
            ("ForAnyValue:StringEquals", false),
            ("ForAnyValue:StringNotEquals", false),
            ("ForAnyValue:StringEqualsIfExists", true),
            ("ForAllValues:StringEquals", true),
            ("ForAllValues:StringNotEquals", true),
        ] {
            let operator = Operator::parse(name, Place::Statement(0)).unwrap();
            assert_eq!(operator.holds_without_value(), holds, "{name}");
        }
    }
}
