//! Tests of documents, shapes and judgements against the decisions of the fixture.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;

use super::caller_rights::CallerRights;
use super::document::{DocumentOptions, PolicyDocument};
use super::judgement::CallerPolicy;
use super::permission::{PermissionList, PermissionResource, RequiredPermission};
use super::request_facts::{RequestFacts, RequestOrigin};
use super::shape::{RequestShape, ShapeInput};
use crate::oss::{Bucket, Operation, Query};
use crate::time::Timestamp;

/// Returns whether rights grant an action on an object.
pub(super) fn is_granted(rights: &CallerRights, action: &'static str) -> bool {
    let resource = PermissionResource::Object("team-data".into(), "k".into());
    rights.judge(&PermissionList::new(RequiredPermission { action, resource }), &facts()).is_ok()
}

/// Returns the properties of a request without any headers.
pub(super) fn facts() -> RequestFacts<'static> {
    RequestFacts {
        origin: RequestOrigin { caller: "a", address: None, secure: false, now: Timestamp::from_unix_s(0) },
        region: "",
        user_agent: None,
        prefix: None,
        delimiter: None,
        bucket_acl: None,
        object_acl: None,
        tags: Vec::new(),
    }
}

/// Returns whether a document grants anything in the bucket `team-data`.
fn grants_in_bucket(statements: &Value) -> bool {
    let text = serde_json::json!({ "Version": "1", "Statement": statements }).to_string();
    let document = PolicyDocument::parse(&text, DocumentOptions::default()).expect(&text);
    CallerPolicy::new(vec![document]).grants_in("team-data", &facts())
}

#[test]
fn a_grant_in_a_bucket_is_an_action_on_it_or_on_an_object_of_it() {
    let allow = |action: Value, resource: &str, condition: Value| {
        let mut statement = serde_json::json!({ "Effect": "Allow", "Action": action, "Resource": resource });
        if !condition.is_null() {
            statement["Condition"] = condition;
        }
        grants_in_bucket(&Value::Array(vec![statement]))
    };
    let rows = [
        ("oss:GetObject", "acs:oss:*:*:team-data/a/*", true),
        ("oss:GetObjectVersion", "acs:oss:*:*:team-data/a/*", true),
        ("oss:ListObjects", "acs:oss:*:*:team-data", true),
        ("oss:*", "*", true),
        ("oss:GetObject", "acs:oss:*:*:team-data/k", true),
        // The resource is no object, or no bucket.
        ("oss:GetObject", "acs:oss:*:*:team-data", false),
        ("oss:ListObjects", "acs:oss:*:*:team-data/*", false),
        ("oss:ListBuckets", "*", false),
        ("oss:GetObject", "acs:oss:*:*:other-data/*", false),
        ("ecs:*", "*", false),
        ("oss:GetObject", "acs:ossvector:*:*:team-data/*", false),
        ("oss:GetObject", "acs:oss:cn-beijing:*:team-data/*", false),
    ];
    for (action, resource, expected) in rows {
        assert_eq!(allow(action.into(), resource, Value::Null), expected, "{action} {resource}");
    }
    let below = |key: &str, value: &str| serde_json::json!({ "StringLike": { key: value } });
    for (condition, expected) in [
        (below("oss:Prefix", "a/*"), true),
        (below("acs:UserAgent", "tool*"), false),
        (below("acs:AccessId", "team-*"), false),
        (below("acs:AccessId", "a"), true),
    ] {
        let found = allow("oss:ListObjects".into(), "acs:oss:*:*:team-data", condition.clone());
        assert_eq!(found, expected, "{condition}");
    }
    let listed = |deny: Value| {
        grants_in_bucket(&serde_json::json!([
            { "Effect": "Allow", "Action": "oss:*", "Resource": "*" },
            deny,
        ]))
    };
    let deny = |action: &str, resource: &str| serde_json::json!({ "Effect": "Deny", "Action": action, "Resource": resource });
    assert!(!listed(deny("oss:*", "acs:oss:*:*:team-data")));
    assert!(!listed(deny("oss:GetBucketInfo", "*")));
    assert!(listed(deny("oss:*", "acs:oss:*:*:team-data/secret/*")));
    let mut undecided = deny("oss:*", "*");
    undecided["Condition"] = serde_json::json!({ "StringNotLike": { "oss:Prefix": "a/*" } });
    assert!(listed(undecided), "no listing is denied here");
}

#[test]
fn a_denial_for_a_region_holds_where_the_region_is_unknown() {
    let policy = serde_json::json!({ "Version": "1", "Statement": [
        { "Effect": "Allow", "Action": "oss:*", "Resource": "acs:oss:*:*:team-data/*" },
        { "Effect": "Deny", "Action": "oss:*", "Resource": "acs:oss:cn-beijing:*:team-data/secret/*" },
    ] });
    let request = serde_json::json!({ "method": "GET", "bucket": "team-data", "key": "secret/k" });
    for (region, expected) in [("cn-hangzhou", "allow"), ("cn-beijing", "deny"), ("", "deny")] {
        let options = serde_json::json!({ "region": region });
        assert_eq!(decide(&policy, &request, &options), expected, "{region}");
    }
}

#[test]
fn an_alias_of_an_access_point_is_not_understood() {
    let fixture = fixture();
    let policy = &fixture["policies"]["oss-all"];
    let mut request = serde_json::json!({ "method": "GET", "bucket": "name-0123-ossalias", "key": "k" });
    assert_eq!(decide(policy, &request, &Value::Null), "refuse");
    request["bucket"] = "team-data".into();
    assert_eq!(decide(policy, &request, &Value::Null), "allow");
    request["method"] = "PUT".into();
    request["headers"] = serde_json::json!({ "x-oss-copy-source": "/name-0123-ossalias/k" });
    assert_eq!(decide(policy, &request, &Value::Null), "refuse");
    request["headers"] = serde_json::json!({ "x-oss-new": "1" });
    assert_eq!(decide(policy, &request, &Value::Null), "refuse");
}

fn fixture() -> Value {
    serde_json::from_str(include_str!("../../tests/vectors/policy.json")).expect("the fixture")
}

fn headers(request: &Value) -> HeaderMap {
    let lines = request["headers"].as_object().into_iter().flatten();
    let line = |(name, value): (&String, &Value)| {
        let value = value.as_str().expect("a value");
        (name.parse::<HeaderName>().expect("a name"), HeaderValue::from_str(value).expect("a value"))
    };
    lines.map(line).collect()
}

/// Returns the decision about a request, in the words of the fixture.
pub(super) fn decide(policy: &Value, request: &Value, options: &Value) -> &'static str {
    let document = PolicyDocument::parse(
        &policy.to_string(),
        DocumentOptions {
            account: options["account"].as_str(),
            session_policy: options["session_policy"] == true,
        },
    );
    let Ok(document) = document else { return "invalid" };
    let policy = CallerPolicy::new(vec![document]);
    let Ok(query) = Query::parse(request["query"].as_str().unwrap_or_default()) else { return "refuse" };
    let headers = headers(request);
    let method: Method = request["method"].as_str().expect("a method").parse().expect("a method");
    let bucket = request["bucket"].as_str().map(|name| Bucket::parse(name).expect("a bucket"));
    let key = request["key"].as_str().unwrap_or_default().as_bytes();
    let operation = Operation::classify(&method, bucket.is_none(), key.is_empty(), &query, &headers);
    let Some(operation) = operation else { return "refuse" };
    if policy.is_unrestricted() {
        return "allow";
    }
    let address: IpAddr = request["source_ip"].as_str().unwrap_or("10.0.0.7").parse().expect("an address");
    let now = request["time"].as_str().unwrap_or("2026-06-01T12:00:00Z");
    let shape = RequestShape::read(ShapeInput {
        operation,
        method: &method,
        bucket: bucket.as_ref(),
        key,
        query: &query,
        headers: &headers,
        body: request["body"].as_str().unwrap_or_default().as_bytes(),
        origin: RequestOrigin {
            caller: "team-a",
            address: Some(address),
            secure: request["secure"] == true,
            now: Timestamp::parse_rfc3339(now).expect("a time"),
        },
        region: options["region"].as_str().unwrap_or("cn-hangzhou"),
        callbacks: options["callbacks"] == true,
    });
    match shape {
        Err(_) => "refuse",
        Ok(shape) => policy.judge(&shape.permissions, &shape.facts).map_or("deny", |()| "allow"),
    }
}

#[test]
fn each_decision_of_the_fixture_is_reproduced() {
    let fixture = fixture();
    let decisions = fixture["decisions"].as_array().expect("a list");
    assert_eq!(decisions.len(), 251);
    let wrong: Vec<String> = decisions
        .iter()
        .filter_map(|row| {
            let name = row["policy"].as_str().expect("a name");
            let found = decide(&fixture["policies"][name], &row["request"], &row["options"]);
            (row["expect"] != found).then(|| format!("{found}: {row}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
