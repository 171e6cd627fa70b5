//! RAM policy documents: the policy language of the proxy. Parsed strictly: a key that is ignored
//! would grant more than its author meant.

mod action_pattern;
mod condition_key;
mod condition_test;
mod lint;
mod resource_pattern;
mod strict_json;
mod text_pattern;

use action_pattern::ActionPattern;
pub(crate) use action_pattern::InvalidAction;
pub(crate) use condition_test::InvalidCondition;
use condition_test::{ConditionOperator, ConditionTest, TestResult};
pub(crate) use lint::{DocumentFinding, find_mistakes};
pub(crate) use resource_pattern::InvalidResource;
use resource_pattern::ResourcePattern;
use strict_json::StrictJson;

use super::permission::{PermissionResource, RequiredPermission, version_action};
use super::request_facts::RequestFacts;
use crate::oss::{ActionTarget, Operation};

/// A RAM policy document of version 1 ("Policy structure and syntax", RAM documentation).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PolicyDocument {
    /// The setting or the file that it comes from.
    name: Box<str>,
    text: Box<str>,
    statements: Vec<PolicyStatement>,
}

/// The settings that the parser of documents depends on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DocumentOptions<'a> {
    /// The account that owns the buckets, if it is configured.
    pub(crate) account: Option<&'a str>,
    /// Whether the document is also the session policy of the credentials, so that OSS evaluates
    /// the conditions that the proxy cannot.
    pub(crate) session_policy: bool,
}

/// The reason why a document is rejected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidDocument {
    /// The text is not JSON, or repeats a key.
    #[error("invalid JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A value is of another kind.
    #[error("{place} must be {expected}, not {found}")]
    Kind {
        /// The name of the element.
        place: &'static str,
        /// The kind that it must have.
        expected: &'static str,
        /// The kind that it has.
        found: &'static str,
    },
    /// The document has an element that RAM does not have.
    #[error("a policy document has no element {0:?}; it has Version and Statement")]
    DocumentElement(String),
    /// The version is missing or not 1.
    #[error("Version must be \"1\"")]
    Version,
    /// There is no statement.
    #[error("the document has no statement")]
    Empty,
    /// A statement is rejected.
    #[error("statement {}: {error}", index + 1)]
    Statement {
        /// The position, from 0.
        index: usize,
        /// The reason.
        error: InvalidStatement,
    },
}

/// The reason why a statement is rejected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidStatement {
    /// A value is of another kind.
    #[error("{place} must be {expected}, not {found}")]
    Kind {
        /// The name of the element.
        place: String,
        /// The kind that it must have.
        expected: &'static str,
        /// The kind that it has.
        found: &'static str,
    },
    /// The statement has an element that RAM does not have.
    #[error("a statement has no element {0:?}; it has Effect, Action or NotAction, Resource, and Condition")]
    Element(String),
    /// The effect is missing or unknown.
    #[error("Effect must be \"Allow\" or \"Deny\"")]
    Effect,
    /// Both or none of `Action` and `NotAction` are present.
    #[error("exactly one of Action and NotAction must be present")]
    Actions,
    /// `Resource` is missing.
    #[error("Resource is missing")]
    NoResource,
    /// A list is empty.
    #[error("{0} is empty")]
    EmptyList(String),
    /// An action is rejected.
    #[error("{0:?}: {1}")]
    Action(String, InvalidAction),
    /// A resource is rejected.
    #[error("{0:?}: {1}")]
    Resource(String, InvalidResource),
    /// A condition is rejected.
    #[error(transparent)]
    Condition(#[from] InvalidCondition),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct PolicyStatement {
    effect: StatementEffect,
    actions: ActionList,
    resources: Vec<ResourcePattern>,
    conditions: Vec<ConditionTest>,
}

/// The effect of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StatementEffect {
    Allow,
    Deny,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum ActionList {
    Listed(Vec<ActionPattern>),
    AllBut(Vec<ActionPattern>),
}

impl PolicyDocument {
    /// Parses a document.
    ///
    /// # Errors
    /// [`InvalidDocument`], the first reason why the text is rejected.
    pub(crate) fn parse(text: &str, options: DocumentOptions<'_>) -> Result<Self, InvalidDocument> {
        let json: StrictJson = serde_json::from_str(text)?;
        let StrictJson::Object(entries) = json else {
            let found = json.kind();
            return Err(InvalidDocument::Kind { place: "the document", expected: "an object", found });
        };
        let (mut version, mut statements) = (None, None);
        for (name, value) in entries {
            match name.as_str() {
                "Version" => version = Some(value),
                "Statement" => statements = Some(value),
                _ => return Err(InvalidDocument::DocumentElement(name)),
            }
        }
        if version != Some(StrictJson::Text("1".to_owned())) {
            return Err(InvalidDocument::Version);
        }
        let statements = statements.ok_or(InvalidDocument::Empty)?;
        let StrictJson::Array(all) = statements else {
            let found = statements.kind();
            return Err(InvalidDocument::Kind { place: "Statement", expected: "an array", found });
        };
        if all.is_empty() {
            return Err(InvalidDocument::Empty);
        }
        let parse = |(index, statement)| {
            PolicyStatement::parse(statement, options)
                .map_err(|error| InvalidDocument::Statement { index, error })
        };
        let statements = all.into_iter().enumerate().map(parse).collect::<Result<_, _>>()?;
        Ok(Self { name: UNNAMED.into(), text: text.into(), statements })
    }

    /// Returns the document with the name of the setting or the file that it comes from.
    pub(crate) fn named(self, name: &str) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Returns the name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the text of the document.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the prefixes of keys for which a statement would allow an action on a bucket.
    pub(crate) fn allowed_prefixes(&self, permission: &RequiredPermission<'_>, region: &str) -> Vec<&str> {
        let allowing = self.statements.iter().filter(|statement| {
            statement.effect == StatementEffect::Allow && statement.reaches(permission, region)
        });
        allowing.flat_map(|statement| &statement.conditions).flat_map(ConditionTest::prefixes).collect()
    }

    /// Returns a condition key whose value at OSS describes the proxy instead of its client.
    pub(super) fn condition_about_client(&self) -> Option<&'static str> {
        self.statements
            .iter()
            .flat_map(|statement| &statement.conditions)
            .find_map(ConditionTest::about_client)
    }

    /// Returns the position of a statement that grants every action on every resource without a
    /// condition.
    pub(super) fn granting_everything(&self) -> Option<usize> {
        self.statements.iter().position(PolicyStatement::grants_everything)
    }

    /// Returns whether a statement denies anything.
    pub(super) fn has_deny(&self) -> bool {
        self.statements.iter().any(|statement| statement.effect == StatementEffect::Deny)
    }

    /// Returns whether a statement allows anything in a bucket: an action on the bucket, or on an
    /// object of it.
    pub(super) fn grants_in(&self, bucket: &str, facts: &RequestFacts<'_>) -> bool {
        self.statements.iter().any(|statement| statement.grants_in(bucket, facts))
    }

    /// Returns whether a statement denies a permission, and all of its tests hold.
    pub(super) fn surely_denies(
        &self,
        permission: &RequiredPermission<'_>,
        facts: &RequestFacts<'_>,
    ) -> bool {
        self.statements.iter().any(|statement| {
            statement.effect == StatementEffect::Deny
                && statement.reaches(permission, facts.region)
                && statement.conditions.iter().all(|test| test.evaluate(facts) == TestResult::Holds)
        })
    }

    /// Returns the position of the first statement with this effect that applies.
    pub(super) fn applying(
        &self,
        effect: StatementEffect,
        permission: &RequiredPermission<'_>,
        facts: &RequestFacts<'_>,
    ) -> Option<usize> {
        self.statements
            .iter()
            .position(|statement| statement.effect == effect && statement.applies(permission, facts))
    }
}

impl PolicyStatement {
    fn parse(statement: StrictJson, options: DocumentOptions<'_>) -> Result<Self, InvalidStatement> {
        let StrictJson::Object(entries) = statement else {
            return Err(kind_error("the statement", "an object", &statement));
        };
        let mut effect = None;
        let mut actions = Vec::new();
        let mut resources = None;
        let mut conditions = Vec::new();
        for (name, value) in entries {
            match name.as_str() {
                "Effect" => effect = Some(parse_effect(&value)?),
                "Action" => actions.push(ActionList::Listed(parse_actions("Action", &value)?)),
                "NotAction" => actions.push(ActionList::AllBut(parse_actions("NotAction", &value)?)),
                "Resource" => resources = Some(parse_resources(&value, options.account)?),
                "Condition" => conditions = parse_conditions(&value, options.session_policy)?,
                _ => return Err(InvalidStatement::Element(name)),
            }
        }
        let (Some(actions), true) = (actions.pop(), actions.is_empty()) else {
            return Err(InvalidStatement::Actions);
        };
        Ok(Self {
            effect: effect.ok_or(InvalidStatement::Effect)?,
            actions,
            resources: resources.ok_or(InvalidStatement::NoResource)?,
            conditions,
        })
    }

    fn grants_everything(&self) -> bool {
        let any_action = match &self.actions {
            ActionList::Listed(patterns) => patterns.iter().any(ActionPattern::is_any),
            ActionList::AllBut(_) => false,
        };
        self.effect == StatementEffect::Allow
            && any_action
            && self.resources.contains(&ResourcePattern::Any)
            && self.conditions.is_empty()
    }

    fn grants_in(&self, bucket: &str, facts: &RequestFacts<'_>) -> bool {
        let resource = PermissionResource::Bucket(bucket.into());
        let covers = |one: &ResourcePattern| one.covers(&resource, facts.region);
        let reaches = |one: &ResourcePattern| one.reaches_into(bucket, facts.region);
        self.effect == StatementEffect::Allow
            && self.conditions.iter().all(|test| test.may_hold(facts))
            && ((self.resources.iter().any(covers) && self.acts_on(ActionTarget::is_bucket))
                || (self.resources.iter().any(reaches) && self.acts_on(ActionTarget::is_object)))
    }

    /// Returns whether the actions include one with such a target.
    fn acts_on(&self, is_target: impl Fn(ActionTarget) -> bool) -> bool {
        let actions = Operation::ALL.iter().flat_map(|operation| operation.actions());
        let mut actions = actions.filter(|one| is_target(one.target)).map(|one| one.action);
        actions.any(|action| {
            self.acts(action) || version_action(action).is_some_and(|versioned| self.acts(versioned))
        })
    }

    /// Returns whether the statement is about an action.
    fn acts(&self, action: &str) -> bool {
        match &self.actions {
            ActionList::Listed(patterns) => patterns.iter().any(|one| one.matches(action)),
            ActionList::AllBut(patterns) => !patterns.iter().any(|one| one.matches(action)),
        }
    }

    fn applies(&self, permission: &RequiredPermission<'_>, facts: &RequestFacts<'_>) -> bool {
        self.reaches(permission, facts.region)
            && match self.effect {
                StatementEffect::Allow => self.conditions_allow(facts),
                StatementEffect::Deny => self.conditions_deny(facts),
            }
    }

    /// Returns whether the actions and the resources of the statement include a permission. An
    /// `Allow` must cover the whole resource, and a `Deny` a part of it.
    fn reaches(&self, permission: &RequiredPermission<'_>, region: &str) -> bool {
        let mut resources = self.resources.iter();
        let resource = &permission.resource;
        self.acts(permission.action)
            && match self.effect {
                StatementEffect::Allow => resources.any(|one| one.covers(resource, region)),
                StatementEffect::Deny => resources.any(|one| one.meets(resource, region)),
            }
    }

    /// Returns whether all tests hold. A test that OSS decides holds here.
    fn conditions_allow(&self, facts: &RequestFacts<'_>) -> bool {
        self.conditions
            .iter()
            .all(|test| matches!(test.evaluate(facts), TestResult::Holds | TestResult::LeftToOss))
    }

    /// Returns whether all tests hold or are undecided. With a test that OSS decides, OSS decides.
    fn conditions_deny(&self, facts: &RequestFacts<'_>) -> bool {
        self.conditions
            .iter()
            .all(|test| matches!(test.evaluate(facts), TestResult::Holds | TestResult::Undecided))
    }
}

/// The name of a document of which only the text is known.
const UNNAMED: &str = "policy";

fn parse_effect(value: &StrictJson) -> Result<StatementEffect, InvalidStatement> {
    match value {
        StrictJson::Text(text) if text == "Allow" => Ok(StatementEffect::Allow),
        StrictJson::Text(text) if text == "Deny" => Ok(StatementEffect::Deny),
        StrictJson::Text(_) | StrictJson::Object(_) | StrictJson::Array(_) | StrictJson::Other => {
            Err(InvalidStatement::Effect)
        }
    }
}

fn parse_actions(place: &str, value: &StrictJson) -> Result<Vec<ActionPattern>, InvalidStatement> {
    let parse = |text: &str| {
        ActionPattern::parse(text).map_err(|error| InvalidStatement::Action(text.to_owned(), error))
    };
    texts(place, value)?.into_iter().map(parse).collect()
}

fn parse_resources(
    value: &StrictJson,
    account: Option<&str>,
) -> Result<Vec<ResourcePattern>, InvalidStatement> {
    let parse = |text: &str| {
        ResourcePattern::parse(text, account)
            .map_err(|error| InvalidStatement::Resource(text.to_owned(), error))
    };
    texts("Resource", value)?.into_iter().map(parse).collect()
}

fn parse_conditions(
    value: &StrictJson,
    session_policy: bool,
) -> Result<Vec<ConditionTest>, InvalidStatement> {
    let StrictJson::Object(operators) = value else {
        return Err(kind_error("Condition", "an object", value));
    };
    if operators.is_empty() {
        return Err(InvalidStatement::EmptyList("Condition".to_owned()));
    }
    let mut tests = Vec::new();
    for (name, keys) in operators {
        let operator = ConditionOperator::parse(name)?;
        let StrictJson::Object(keys) = keys else {
            return Err(kind_error(name, "an object", keys));
        };
        if keys.is_empty() {
            return Err(InvalidStatement::EmptyList(name.clone()));
        }
        for (key, values) in keys {
            tests.push(ConditionTest::parse(operator, key, &texts(key, values)?, session_policy)?);
        }
    }
    Ok(tests)
}

/// Returns the texts of a string or an array of strings.
fn texts<'a>(place: &str, value: &'a StrictJson) -> Result<Vec<&'a str>, InvalidStatement> {
    let items = match value {
        StrictJson::Text(text) => return Ok(vec![text]),
        StrictJson::Array(items) if items.is_empty() => {
            return Err(InvalidStatement::EmptyList(place.to_owned()));
        }
        StrictJson::Array(items) => items,
        StrictJson::Object(_) | StrictJson::Other => {
            return Err(kind_error(place, "a string or an array of strings", value));
        }
    };
    let text = |item: &'a StrictJson| match item {
        StrictJson::Text(text) => Ok(text.as_str()),
        StrictJson::Object(_) | StrictJson::Array(_) | StrictJson::Other => {
            Err(kind_error(place, "an array of strings", item))
        }
    };
    items.iter().map(text).collect()
}

fn kind_error(place: &str, expected: &'static str, found: &StrictJson) -> InvalidStatement {
    InvalidStatement::Kind { place: place.to_owned(), expected, found: found.kind() }
}
