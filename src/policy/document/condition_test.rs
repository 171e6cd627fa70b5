//! Conditions of statements: an operator, a key and values.

use std::net::IpAddr;

use super::condition_key::{ConditionKey, ConditionValueKind, InvalidConditionKey, KnownKey};
use super::text_pattern::{PatternSubject, TextPattern};
use crate::policy::request_facts::RequestFacts;
use crate::time::Timestamp;

/// One test of a condition. It holds if one of the values matches; with a negated operator, if none
/// does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ConditionTest {
    key: ConditionKey,
    negated: bool,
    values: ConditionValues,
}

/// The result of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TestResult {
    Holds,
    Fails,
    /// The request lacks the key, and RAM does not document the result of a negated operator.
    Undecided,
    /// OSS decides, with the session policy.
    LeftToOss,
}

/// The reason why a test is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidCondition {
    #[error("the condition operator {0:?} is not supported{hint}", hint = operator_hint(.0))]
    Operator(String),
    #[error(transparent)]
    Key(#[from] InvalidConditionKey),
    #[error("the condition key {1} has no values for the operator {0}; use {2}")]
    Mismatch(String, String, &'static str),
    #[error("{0:?} is no value for the operator {1}: expected {2}")]
    Value(String, String, &'static str),
    #[error("a policy variable (${{…}}) is not supported in a condition: {0:?}")]
    Variable(String),
    #[error("the operator {0} has no values for {1}")]
    NoValue(String, String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum ConditionValues {
    Exact(Vec<Box<str>>),
    /// Texts in lower case.
    IgnoringCase(Vec<Box<str>>),
    Like(Vec<TextPattern>),
    Dates(OrderRelation, Vec<Timestamp>),
    Bools(Vec<bool>),
    Networks(Vec<AddressRange>),
    /// Values that OSS compares.
    Opaque,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OrderRelation {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Addresses of one family with the same first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AddressRange {
    /// An address of the range; `None` for all addresses.
    base: Option<IpAddr>,
    /// The number of bits that may differ.
    free_bits: u32,
}

/// An operator, apart from its negation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OperatorKind {
    Exact,
    IgnoringCase,
    Like,
    Number,
    Date(OrderRelation),
    Bool,
    Address,
}

/// An operator with its name in documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConditionOperator {
    name: &'static str,
    kind: OperatorKind,
    negated: bool,
}

impl ConditionOperator {
    pub(super) fn parse(text: &str) -> Result<Self, InvalidCondition> {
        OPERATORS
            .iter()
            .find(|(name, ..)| *name == text)
            .map(|(name, kind, negated)| Self { name, kind: *kind, negated: *negated })
            .ok_or_else(|| InvalidCondition::Operator(text.to_owned()))
    }

    fn values(self) -> ConditionValueKind {
        match self.kind {
            OperatorKind::Exact | OperatorKind::IgnoringCase | OperatorKind::Like => ConditionValueKind::Text,
            OperatorKind::Number => ConditionValueKind::Number,
            OperatorKind::Date(_) => ConditionValueKind::Date,
            OperatorKind::Bool => ConditionValueKind::Bool,
            OperatorKind::Address => ConditionValueKind::Address,
        }
    }
}

impl ConditionTest {
    pub(super) fn parse(
        operator: ConditionOperator,
        key_text: &str,
        values: &[&str],
        session_policy: bool,
    ) -> Result<Self, InvalidCondition> {
        let key = ConditionKey::parse(key_text, session_policy)?;
        let name = || operator.name.to_owned();
        if values.is_empty() {
            return Err(InvalidCondition::NoValue(name(), key_text.to_owned()));
        }
        if let Some(variable) = values.iter().find(|value| value.contains("${")) {
            return Err(InvalidCondition::Variable((*variable).to_owned()));
        }
        let expected = key.values();
        if expected == ConditionValueKind::Any {
            return Ok(Self { key, negated: operator.negated, values: ConditionValues::Opaque });
        }
        if expected != operator.values() {
            return Err(InvalidCondition::Mismatch(name(), key_text.to_owned(), operators_for(expected)));
        }
        let invalid = |value: &str, what| InvalidCondition::Value(value.to_owned(), name(), what);
        let values = match operator.kind {
            OperatorKind::Exact => ConditionValues::Exact(values.iter().map(|&value| value.into()).collect()),
            OperatorKind::IgnoringCase => ConditionValues::IgnoringCase(
                values.iter().map(|value| value.to_lowercase().into()).collect(),
            ),
            OperatorKind::Like => {
                ConditionValues::Like(values.iter().map(|value| TextPattern::new(value)).collect())
            }
            OperatorKind::Number => ConditionValues::Opaque,
            OperatorKind::Date(relation) => {
                let date = |value: &&str| {
                    Timestamp::parse_rfc3339(value).ok_or_else(|| {
                        invalid(value, "a time with a zone, such as 2026-06-01T20:00:00+08:00")
                    })
                };
                ConditionValues::Dates(relation, values.iter().map(date).collect::<Result<_, _>>()?)
            }
            OperatorKind::Bool => {
                let bool_value = |value: &&str| match *value {
                    "true" => Ok(true),
                    "false" => Ok(false),
                    other => Err(invalid(other, "\"true\" or \"false\"")),
                };
                ConditionValues::Bools(values.iter().map(bool_value).collect::<Result<_, _>>()?)
            }
            OperatorKind::Address => {
                let range = |value: &&str| {
                    AddressRange::parse(value)
                        .ok_or_else(|| invalid(value, "an address, or a network such as 192.168.0.0/16"))
                };
                ConditionValues::Networks(values.iter().map(range).collect::<Result<_, _>>()?)
            }
        };
        Ok(Self { key, negated: operator.negated, values })
    }

    /// Returns the prefixes that the test asks of a listing, as they are written up to a final `*`.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = &str> {
        let is_of_prefix = self.key == ConditionKey::Known(KnownKey::Prefix) && !self.negated;
        let exact = if let ConditionValues::Exact(values) = &self.values { &values[..] } else { &[] };
        let like = if let ConditionValues::Like(patterns) = &self.values { &patterns[..] } else { &[] };
        let (exact, like) = if is_of_prefix { (exact, like) } else { (&[][..], &[][..]) };
        let like = like.iter().map(|pattern| pattern.as_str().trim_end_matches('*'));
        exact.iter().map(|value| &**value).chain(like)
    }

    /// Returns whether the test is about this key.
    pub(super) fn is_about(&self, key: &KnownKey) -> bool {
        matches!(&self.key, ConditionKey::Known(known) if known == key)
    }

    /// Returns the name of the key, if its value at OSS describes the proxy instead of its client.
    pub(super) fn about_client(&self) -> Option<&'static str> {
        match &self.key {
            ConditionKey::Known(KnownKey::SourceIp) => Some("acs:SourceIp"),
            ConditionKey::Known(KnownKey::SecureTransport) => Some("acs:SecureTransport"),
            ConditionKey::Known(KnownKey::UserAgent) => Some("acs:UserAgent"),
            ConditionKey::Known(KnownKey::AccessId) => Some("acs:AccessId"),
            ConditionKey::Known(
                KnownKey::CurrentTime
                | KnownKey::Prefix
                | KnownKey::Delimiter
                | KnownKey::BucketAcl
                | KnownKey::ObjectAcl
                | KnownKey::RequestObjectTag(_),
            )
            | ConditionKey::OnlyOss => None,
        }
    }

    pub(super) fn is_negated(&self) -> bool {
        self.negated
    }

    /// Returns the values, if they are texts.
    pub(super) fn texts(&self) -> Vec<&str> {
        match &self.values {
            ConditionValues::Exact(values) | ConditionValues::IgnoringCase(values) => {
                values.iter().map(|value| &**value).collect()
            }
            ConditionValues::Like(patterns) => patterns.iter().map(TextPattern::as_str).collect(),
            ConditionValues::Dates(..)
            | ConditionValues::Bools(_)
            | ConditionValues::Networks(_)
            | ConditionValues::Opaque => Vec::new(),
        }
    }

    /// Returns whether `*` and `?` of the values are wildcards.
    pub(super) fn has_patterns(&self) -> bool {
        matches!(self.values, ConditionValues::Like(_))
    }

    /// Returns whether the test may hold for another request of the same client at the same time.
    pub(super) fn may_hold(&self, facts: &RequestFacts<'_>) -> bool {
        let is_of_operation = matches!(&self.key, ConditionKey::Known(key) if key.is_of_operation());
        is_of_operation || matches!(self.evaluate(facts), TestResult::Holds | TestResult::LeftToOss)
    }

    /// Evaluates the test for a request.
    pub(super) fn evaluate(&self, facts: &RequestFacts<'_>) -> TestResult {
        let key = match &self.key {
            ConditionKey::Known(key) => key,
            ConditionKey::OnlyOss => return TestResult::LeftToOss,
        };
        match (self.values.match_fact(key, facts), self.negated) {
            (Some(matched), negated) if matched != negated => TestResult::Holds,
            (Some(_), _) | (None, false) => TestResult::Fails,
            (None, true) => TestResult::Undecided,
        }
    }
}

impl ConditionValues {
    /// Returns whether one of the values matches, or `None` if the request lacks the key.
    fn match_fact(&self, key: &KnownKey, facts: &RequestFacts<'_>) -> Option<bool> {
        match self {
            Self::Exact(_) | Self::IgnoringCase(_) | Self::Like(_) => Some(self.match_text(key.text(facts)?)),
            Self::Dates(relation, dates) => {
                Some(dates.iter().any(|date| relation.holds(facts.origin.now, *date)))
            }
            Self::Bools(values) => Some(values.contains(&facts.origin.secure)),
            Self::Networks(ranges) => {
                let address = facts.origin.address?;
                Some(ranges.iter().any(|range| range.contains(address)))
            }
            Self::Opaque => None,
        }
    }

    fn match_text(&self, text: &str) -> bool {
        match self {
            Self::Exact(values) => values.iter().any(|value| **value == *text),
            Self::IgnoringCase(values) => {
                let text = text.to_lowercase();
                values.iter().any(|value| **value == *text)
            }
            Self::Like(patterns) => {
                patterns.iter().any(|pattern| pattern.matches(PatternSubject::text(text)))
            }
            Self::Dates(..) | Self::Bools(_) | Self::Networks(_) | Self::Opaque => false,
        }
    }
}

impl OrderRelation {
    fn holds(self, now: Timestamp, date: Timestamp) -> bool {
        match self {
            Self::Equal => now == date,
            Self::Less => now < date,
            Self::LessOrEqual => now <= date,
            Self::Greater => now > date,
            Self::GreaterOrEqual => now >= date,
        }
    }
}

impl AddressRange {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self { base: None, free_bits: 0 });
        }
        let (address, length) = text.split_once('/').map_or((text, None), |(text, bits)| (text, Some(bits)));
        let base: IpAddr = address.parse().ok()?;
        let max: u32 = if base.is_ipv4() { 32 } else { 128 };
        let length = match length {
            Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok()?,
            Some(_) => return None,
            None => max,
        };
        Some(Self { base: Some(base), free_bits: max.checked_sub(length)? })
    }

    fn contains(self, address: IpAddr) -> bool {
        let first_bits = |bits: u128| bits.checked_shr(self.free_bits).unwrap_or(0);
        match (self.base, address.to_canonical()) {
            (None, _) => true,
            (Some(IpAddr::V4(base)), IpAddr::V4(address)) => {
                first_bits(base.to_bits().into()) == first_bits(address.to_bits().into())
            }
            (Some(IpAddr::V6(base)), IpAddr::V6(address)) => {
                first_bits(base.to_bits()) == first_bits(address.to_bits())
            }
            (Some(_), _) => false,
        }
    }
}

fn operators_for(values: ConditionValueKind) -> &'static str {
    match values {
        ConditionValueKind::Address => "IpAddress or NotIpAddress",
        ConditionValueKind::Bool => "Bool",
        ConditionValueKind::Date => "an operator that begins with Date",
        ConditionValueKind::Number => "an operator that begins with Numeric",
        ConditionValueKind::Text | ConditionValueKind::Any => "an operator that begins with String",
    }
}

fn operator_hint(name: &str) -> String {
    let nearest = OPERATORS.iter().map(|(known, ..)| *known);
    match nearest.min_by_key(|known| strsim::damerau_levenshtein(known, name)) {
        Some(known) if strsim::damerau_levenshtein(known, name) <= 3 => format!("; did you mean {known}?"),
        _ => "; RAM has no set operators and no IfExists".to_owned(),
    }
}

/// The operators of RAM: name, kind, negation.
const OPERATORS: [(&str, OperatorKind, bool); 21] = [
    ("StringEquals", OperatorKind::Exact, false),
    ("StringNotEquals", OperatorKind::Exact, true),
    ("StringEqualsIgnoreCase", OperatorKind::IgnoringCase, false),
    ("StringNotEqualsIgnoreCase", OperatorKind::IgnoringCase, true),
    ("StringLike", OperatorKind::Like, false),
    ("StringNotLike", OperatorKind::Like, true),
    ("NumericEquals", OperatorKind::Number, false),
    ("NumericNotEquals", OperatorKind::Number, true),
    ("NumericLessThan", OperatorKind::Number, false),
    ("NumericLessThanEquals", OperatorKind::Number, false),
    ("NumericGreaterThan", OperatorKind::Number, false),
    ("NumericGreaterThanEquals", OperatorKind::Number, false),
    ("DateEquals", OperatorKind::Date(OrderRelation::Equal), false),
    ("DateNotEquals", OperatorKind::Date(OrderRelation::Equal), true),
    ("DateLessThan", OperatorKind::Date(OrderRelation::Less), false),
    ("DateLessThanEquals", OperatorKind::Date(OrderRelation::LessOrEqual), false),
    ("DateGreaterThan", OperatorKind::Date(OrderRelation::Greater), false),
    ("DateGreaterThanEquals", OperatorKind::Date(OrderRelation::GreaterOrEqual), false),
    ("Bool", OperatorKind::Bool, false),
    ("IpAddress", OperatorKind::Address, false),
    ("NotIpAddress", OperatorKind::Address, true),
];
