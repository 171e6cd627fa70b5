//! Tests of the warnings about documents.

use serde_json::{Value, json};

use super::super::{DocumentOptions, PolicyDocument};
use super::find_mistakes;

/// Returns the warnings about a document with these statements, each with its number.
fn warnings(statements: &Value) -> Vec<String> {
    let text = json!({ "Version": "1", "Statement": statements }).to_string();
    let document = PolicyDocument::parse(&text, DocumentOptions::default()).expect(&text);
    let findings = find_mistakes(&[document]);
    findings.into_iter().map(|one| format!("{}: {}", one.statement + 1, one.warning)).collect()
}

fn statement(effect: &str, actions: &Value, resources: &Value) -> Value {
    json!({ "Effect": effect, "Action": actions, "Resource": resources })
}

#[track_caller]
fn warned(statement: Value, expected: &[&str]) {
    let shown = statement.to_string();
    let found = warnings(&Value::Array(vec![statement]));
    assert_eq!(found.len(), expected.len(), "{shown}: {found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.contains(expected), "{shown}: {found}, not {expected}");
    }
}

#[test]
fn wildcards_in_actions_are_named_with_what_they_include() {
    let bucket = json!("acs:oss:*:*:team-data");
    let objects = json!("acs:oss:*:*:team-data/*");
    warned(
        statement("Allow", &json!("oss:Put*"), &bucket),
        &[
            "the action oss:put* includes oss:PutBucketPolicy, oss:PutBucketAcl, oss:PutBucketReplication, oss:PutBucketLogging and",
        ],
    );
    warned(statement("Allow", &json!("oss:Put*"), &objects), &["includes oss:PutObjectAcl"]);
    warned(statement("Allow", &json!("oss:*"), &bucket), &["oss:PutBucketPolicy"]);
    warned(statement("Allow", &json!("*"), &json!("*")), &[]);
    warned(statement("Deny", &json!("oss:Put*"), &bucket), &[]);
    warned(statement("Allow", &json!(["oss:Get*", "oss:List*"]), &bucket), &[]);
    let other = json!({ "Effect": "Allow", "NotAction": "oss:PutBucketPolicy", "Resource": bucket });
    warned(other, &["NotAction allows every other action, such as oss:PutBucketAcl"]);
}

#[test]
fn actions_that_no_request_requires_are_named() {
    let objects = json!("acs:oss:*:*:team-data/*");
    for (action, expected) in [
        ("oss:HeadObject", "no request requires the action oss:headobject; use oss:GetObject"),
        ("oss:CopyObject", "use oss:PutObject and oss:GetObject"),
        ("oss:GetObjects", "; use oss:GetObject"),
        ("oss:MakeTea", "no request requires the action oss:maketea"),
        ("ecs:RunInstances", "an action of another service"),
    ] {
        warned(statement("Deny", &json!(action), &objects), &[expected]);
    }
    warned(statement("Allow", &json!(["oss:GetObjectVersion", "oss:PublishRtmpStream"]), &objects), &[]);
}

#[test]
fn actions_on_other_resources_than_those_of_the_statement_are_named() {
    let rows = [
        ("oss:GetObject", "team-data", &["is on objects"][..]),
        ("oss:ListObjects", "team-data/*", &["the action oss:listobjects is on a bucket"]),
        ("oss:ListBuckets", "team-data", &["is on all buckets"]),
        ("oss:ListResourcePools", "team-data", &["is on resource pools"]),
        ("oss:ListResourcePools", "resourcepool/*", &[]),
        ("oss:ListBuckets", "*", &[]),
        ("oss:GetObject", "team-data/", &["is on objects", "never matches"]),
        ("oss:GetObject", "team-data/a/", &["one object alone"]),
        ("oss:GetObject", "team-data/a/b", &[]),
        ("oss:GetObject", "team-*/a/*", &["before its first slash"]),
        ("oss:GetObject", "team-data/a*", &["also matches siblings, such as team-data/ax"]),
        ("oss:GetObject", "team-data/*.html", &[]),
        ("oss:*Object", "team-data/*", &[]),
    ];
    for (action, relative, expected) in rows {
        let resource = json!(format!("acs:oss:*:*:{relative}"));
        warned(statement("Allow", &json!(action), &resource), expected);
    }
    let foreign = json!("acs:kms:*:*:key/1");
    warned(statement("Allow", &json!("oss:GetObject"), &foreign), &["is on objects"]);
}

#[test]
fn conditions_on_the_prefix_are_checked() {
    let listing = |effect: &str, action: &str, condition: Value| json!({ "Effect": effect, "Action": action, "Resource": "acs:oss:*:*:team-data", "Condition": condition });
    let prefix = |operator: &str, value: &str| json!({ operator: { "oss:Prefix": value } });
    let rows = [
        ("Allow", "oss:ListObjects", prefix("StringLike", "a/*"), &[][..]),
        ("Allow", "oss:ListObjects", prefix("StringNotLike", "a/*"), &["a shorter prefix"]),
        ("Deny", "oss:ListObjects", prefix("StringNotLike", "a/*"), &[]),
        ("Deny", "oss:ListObjects", prefix("StringLike", "a/*"), &["a shorter prefix"]),
        ("Allow", "oss:ListObjects", prefix("StringLike", "a*"), &["also lists siblings, such as ax"]),
        ("Allow", "oss:ListObjects", prefix("StringEquals", "a"), &["also lists siblings"]),
        ("Allow", "oss:ListObjects", prefix("StringEquals", ""), &["lists the whole bucket"]),
        ("Allow", "oss:ListObjects", prefix("StringLike", "*"), &["lists the whole bucket"]),
        ("Allow", "oss:GetBucketInfo", prefix("StringLike", "a/*"), &["oss:getbucketinfo have no prefix"]),
        (
            "Allow",
            "oss:ListObjects",
            json!({ "StringEquals": { "oss:Prefix": ["", "a/"], "oss:Delimiter": "/" } }),
            &[],
        ),
    ];
    for (effect, action, condition, expected) in rows {
        warned(listing(effect, action, condition), expected);
    }
}

#[test]
fn statements_that_a_denial_covers_are_found() {
    let (a, all) = (json!("acs:oss:*:*:team-data/a/*"), json!("acs:oss:*:*:team-data/*"));
    let allow = statement("Allow", &json!(["oss:GetObject", "oss:PutObject"]), &a);
    let found = |deny: Value| warnings(&json!([allow, deny]));
    let shadowed = ["1: statement 2 of policy denies it as a whole"];
    assert_eq!(found(statement("Deny", &json!("oss:*"), &all)), shadowed);
    assert_eq!(found(statement("Deny", &json!(["oss:Get*", "oss:PutObject"]), &json!("*"))), shadowed);
    let but_reads = json!({ "Effect": "Deny", "NotAction": "oss:ListObjects", "Resource": all });
    assert_eq!(found(but_reads), shadowed);
    assert!(found(statement("Deny", &json!("oss:GetObject"), &all)).is_empty());
    assert!(found(statement("Deny", &json!("oss:*"), &json!("acs:oss:*:*:team-data/a/b/*"))).is_empty());
    assert!(found(statement("Deny", &json!("oss:*"), &json!("acs:oss:cn-beijing:*:team-data/*"))).is_empty());
    let conditional = json!({ "Effect": "Deny", "Action": "oss:*", "Resource": all,
        "Condition": { "Bool": { "acs:SecureTransport": "false" } } });
    assert!(found(conditional).is_empty());
}
