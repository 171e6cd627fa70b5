//! The short form of grants, `allow` of a caller: each is translated into a RAM document, so that
//! one evaluator decides.

use serde_json::{Value, json};

use crate::oss::{AccessKind, ActionTarget, Bucket, Operation, OperationGroup};

/// A grant of groups of operations on the objects of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AllowRule {
    /// The groups of operations.
    pub(crate) groups: Vec<AllowedGroup>,
    /// The bucket.
    pub(crate) bucket: Bucket,
    /// The prefix of the keys; empty for the whole bucket.
    pub(crate) prefix: String,
}

/// A group of operations in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AllowedGroup {
    /// Read objects.
    Read,
    /// List objects.
    List,
    /// Store and change objects.
    Write,
    /// Delete objects.
    Delete,
    /// Read and change settings.
    Manage,
}

impl AllowedGroup {
    /// The groups with their names in the configuration.
    pub(crate) const NAMES: [(&'static str, Self); 5] = [
        ("read", Self::Read),
        ("list", Self::List),
        ("write", Self::Write),
        ("delete", Self::Delete),
        ("manage", Self::Manage),
    ];

    fn has(self, group: OperationGroup) -> bool {
        matches!(
            (self, group),
            (Self::Read, OperationGroup::Read)
                | (Self::List, OperationGroup::List)
                | (Self::Write, OperationGroup::Write)
                | (Self::Delete, OperationGroup::Delete)
                | (Self::Manage, OperationGroup::Manage)
        )
    }
}

/// The document that grants everything.
#[must_use]
pub(crate) fn everything() -> Value {
    document(vec![json!({ "Effect": "Allow", "Action": "*", "Resource": "*" })])
}

/// The document that grants all operations that read or list. Actions are listed one by one, so
/// that a new action of OSS is not granted by its name.
#[must_use]
pub(crate) fn read_only() -> Value {
    let reads = |operation: Operation| operation.access() == AccessKind::Read;
    let actions = actions(reads, |_| true);
    document(vec![json!({ "Effect": "Allow", "Action": actions, "Resource": "*" })])
}

/// Returns the document of rules. Each grants actions on objects, and actions on the bucket; with a
/// prefix, of the actions on the bucket only the listings below the prefix.
#[must_use]
pub(crate) fn translate(rules: &[AllowRule]) -> Value {
    document(rules.iter().flat_map(AllowRule::statements).collect())
}

impl AllowRule {
    fn statements(&self) -> Vec<Value> {
        let has = |operation: Operation| {
            self.groups.iter().any(|group| {
                group.has(operation.group()) && (*group != AllowedGroup::Manage || self.prefix.is_empty())
            })
        };
        let bucket = format!("acs:oss:*:*:{}", self.bucket.as_str());
        let mut statements = Vec::new();
        let on_objects = actions(has, |target| {
            matches!(
                target,
                ActionTarget::Object
                    | ActionTarget::EachKey
                    | ActionTarget::Subtree
                    | ActionTarget::RenameSource
            )
        });
        if !on_objects.is_empty() {
            let resource = format!("{bucket}/{}*", self.prefix);
            statements.push(json!({ "Effect": "Allow", "Action": on_objects, "Resource": resource }));
        }
        if self.prefix.is_empty() {
            let on_bucket = actions(has, ActionTarget::is_bucket);
            if !on_bucket.is_empty() {
                statements.push(json!({ "Effect": "Allow", "Action": on_bucket, "Resource": bucket }));
            }
        } else {
            let lists =
                actions(|operation| has(operation) && operation.lists_keys(), ActionTarget::is_bucket);
            if !lists.is_empty() {
                let prefix = format!("{}*", self.prefix);
                statements.push(json!({
                    "Effect": "Allow", "Action": lists, "Resource": bucket,
                    "Condition": { "StringLike": { "oss:Prefix": [prefix] } },
                }));
            }
        }
        statements
    }
}

/// Returns the actions of operations on targets, without repetitions, in the order of the table.
fn actions(
    operations: impl Fn(Operation) -> bool,
    targets: impl Fn(ActionTarget) -> bool,
) -> Vec<&'static str> {
    let mut names = Vec::new();
    for operation in Operation::ALL.iter().filter(|operation| operations(**operation)) {
        for one in operation.actions().iter().filter(|one| targets(one.target)) {
            if !names.contains(&one.action) {
                names.push(one.action);
            }
        }
    }
    names
}

fn document(statements: Vec<Value>) -> Value {
    json!({ "Version": "1", "Statement": statements })
}

#[cfg(test)]
mod tests {
    use super::{AllowRule, AllowedGroup, everything, read_only, translate};
    use crate::oss::Bucket;
    use crate::policy::document::{DocumentOptions, PolicyDocument};
    use crate::policy::judgement::CallerPolicy;

    fn rule(groups: &[AllowedGroup], prefix: &str) -> AllowRule {
        let bucket = Bucket::parse("team-data").expect("a bucket");
        AllowRule { groups: groups.to_vec(), bucket, prefix: prefix.to_owned() }
    }

    #[test]
    fn each_short_form_is_a_valid_document_without_wildcards_in_actions() {
        let all = AllowedGroup::NAMES.map(|(_, group)| group);
        for document in [read_only(), translate(&[rule(&all, "")]), translate(&[rule(&all, "a/")])] {
            let text = document.to_string();
            PolicyDocument::parse(&text, DocumentOptions::default()).expect(&text);
            assert!(!text.contains("\"oss:*\"") && !text.contains("Get*"), "{text}");
        }
        let parsed = PolicyDocument::parse(&everything().to_string(), DocumentOptions::default());
        assert!(CallerPolicy::new(vec![parsed.expect("a document")]).is_unrestricted());
    }

    #[test]
    fn a_rule_with_a_prefix_grants_objects_and_listings_below_it() {
        let text = translate(&[rule(&[AllowedGroup::Read, AllowedGroup::List, AllowedGroup::Manage], "a/")]);
        let expected = r#"{"Version":"1","Statement":[
            {"Effect":"Allow","Action":["oss:GetObject","oss:GetObjectTagging","oss:ListParts"],"Resource":"acs:oss:*:*:team-data/a/*"},
            {"Effect":"Allow","Action":["oss:ListObjects","oss:ListObjectVersions","oss:ListMultipartUploads"],"Resource":"acs:oss:*:*:team-data","Condition":{"StringLike":{"oss:Prefix":["a/*"]}}}]}"#;
        let expected: serde_json::Value = serde_json::from_str(expected).expect("JSON");
        assert_eq!(text, expected);
    }
}
