//! Tests of the table of operations against its fixture, and of the operations that requests
//! select.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;

use super::{AccessKind, Operation};
use crate::oss::Query;

/// Returns the operation of a request for `service`, a bucket, or `bucket/key`.
fn classify(method: &str, target: &str, headers: &[(&str, &str)]) -> Option<Operation> {
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = Query::parse(query).expect("a query");
    let line = |(name, value): &(&str, &str)| {
        (name.parse::<HeaderName>().expect("a name"), HeaderValue::from_str(value).expect("a value"))
    };
    let headers: HeaderMap = headers.iter().map(line).collect();
    Operation::classify(&method, path == "service", !path.contains('/'), &query, &headers)
}

fn fixture() -> Vec<Value> {
    let all: Value =
        serde_json::from_str(include_str!("../../tests/vectors/operations.json")).expect("the fixture");
    all["operations"].as_array().expect("a list").clone()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Returns the name for an operation of the fixture.
fn word(operation: &Value) -> &str {
    let name = operation["name"].as_str().expect("a name");
    // The preflight request of a browser has this name.
    if name == "OptionObject" { "Preflight" } else { name }
}

/// Returns the selectors of an operation in the notation of the table.
fn selectors(select: &Value) -> String {
    let mut all = Vec::new();
    all.extend(texts(&select["bare"]).iter().map(|name| format!("Bare({name:?})")));
    for (name, value) in select["valued"].as_object().into_iter().flatten() {
        all.push(if value.is_array() {
            format!("OneOf({name:?}, &{:?})", texts(value))
        } else {
            format!("Valued({name:?})")
        });
    }
    all.extend(texts(&select["optional_value"]).iter().map(|name| format!("Present({name:?})")));
    all.extend(texts(&select["headers"]).iter().map(|name| format!("Header({name:?})")));
    all.extend(texts(&select["absent"]).iter().map(|name| match name.strip_prefix("header ") {
        Some(header) => format!("NoHeader({header:?})"),
        None => format!("Absent({name:?})"),
    }));
    all.extend(select["content_type"].as_str().map(|_| "Form".to_owned()));
    all.join(", ")
}

/// Returns the group and the actions of an operation in the notation of the table.
fn permissions(operation: &Value) -> String {
    let target = |resource: Option<&str>| match resource.expect("a resource") {
        "service" => "Service",
        "bucket" | "bucket-or-ap" => "Bucket",
        "service-or-bucket" => "ServiceOrBucket",
        "pool" => "Pool",
        "object" => "Object",
        "source" => "CopySource",
        "rename-source" => "RenameSource",
        "saveas" => "SaveTarget",
        "subtree" => "Subtree",
        "each-key" => "EachKey",
        "form-key" => "FormKey",
        "fetch-object" => "FetchTarget",
        "?" => "Undocumented",
        other => panic!("{other}"),
    };
    let actions = operation["actions"].as_array().expect("a list").iter();
    let actions = actions.map(|one| format!("{} on {}", one["action"], target(one["resource"].as_str())));
    let group = operation["group"].as_str().expect("a group");
    let group = format!("{}{}", group[..1].to_uppercase(), &group[1..]);
    format!("{group}, [{}]", actions.collect::<Vec<_>>().join(", "))
}

/// Returns the table that the fixture defines, without the head of the file.
fn generated(head: &str) -> String {
    let mut table = format!("{head}{START}");
    for operation in fixture().iter().filter(|operation| operation["service"] == "oss") {
        let access = match (word(operation), operation["access"].as_str()) {
            ("Preflight", _) | (_, Some("write")) => "Write",
            _ => "Read",
        };
        let levels = texts(&operation["levels"]).join(" | ").to_uppercase();
        writeln!(
            table,
            "            {}: {}, {levels}, {access}, [{}], {};",
            word(operation),
            texts(&operation["methods"]).join(" | "),
            selectors(&operation["select"]),
            permissions(operation)
        )
        .expect("a line");
    }
    for (method, access) in [("Get", "Read"), ("Put", "Write"), ("Post", "Write"), ("Delete", "Write")] {
        for level in ["Service", "Bucket", "Object"] {
            // A GET without a bucket lists buckets, or is rejected.
            if (method, level) != ("Get", "Service") {
                let bit = level.to_uppercase();
                writeln!(table, "            {method}{level}Settings: NONE, {bit}, {access}, [], None, [];")
                    .expect("a line");
            }
        }
    }
    table + END
}

/// The line before the rows, and the lines after them.
const START: &str = "        $define! {\n";
const END: &str = "        }\n    };\n}\npub(super) use operation_rows;\n";

#[test]
fn the_table_is_the_one_that_the_fixture_makes() {
    let file = include_str!("operation_table.rs");
    let head = file.split_once(START).expect("a table").0;
    let expected = generated(head);
    if file != expected {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/target/operation_table.rs");
        std::fs::write(path, expected).expect("written");
        panic!("src/oss/operation_table.rs is out of date; {path} is what it must be");
    }
}

#[test]
fn each_operation_is_selected_by_its_own_request() {
    for operation in fixture().iter().filter(|operation| operation["service"] == "oss") {
        let select = &operation["select"];
        let mut query: Vec<String> = texts(&select["bare"]).iter().map(|name| (*name).to_owned()).collect();
        for (name, value) in select["valued"].as_object().into_iter().flatten() {
            query.push(format!("{name}={}", texts(value).first().unwrap_or(&"v")));
        }
        query.extend(texts(&select["optional_value"]).iter().map(|name| format!("{name}=v")));
        let mut headers: Vec<(&str, &str)> =
            texts(&select["headers"]).iter().map(|name| (*name, "v")).collect();
        headers.extend(select["content_type"].as_str().map(|kind| ("content-type", kind)));
        for level in texts(&operation["levels"]) {
            let path = match level {
                "service" => "service",
                "bucket" => "b",
                _ => "b/k",
            };
            for method in texts(&operation["methods"]) {
                let target = format!("{path}?{}", query.join("&"));
                let found = classify(method, &target, &headers);
                assert_eq!(found.map(Operation::name), Some(word(operation)), "{method} {target}");
                let access = found.map(Operation::access);
                let writes = operation["access"] == "write" || method == "OPTIONS";
                assert_eq!(
                    access,
                    Some(if writes { AccessKind::Write } else { AccessKind::Read }),
                    "{target}"
                );
                if method == "GET" {
                    assert_eq!(access, Some(AccessKind::Read), "{target}");
                }
            }
        }
    }
}

#[test]
fn requests_are_named_as_the_api_reference_names_them() {
    use Operation as O;
    let rows = [
        ("GET", "service", O::ListBuckets),
        ("GET", "service?regions", O::DescribeRegions),
        ("GET", "b", O::ListObjects),
        ("HEAD", "b", O::HeadBucket),
        ("GET", "b?prefix=&delimiter=%2F", O::ListObjects),
        ("GET", "b?list-type=2&prefix", O::ListObjectsV2),
        ("GET", "b?acl", O::GetBucketAcl),
        ("HEAD", "b?acl", O::GetBucketAcl),
        ("GET", "b?acl=", O::GetBucketAcl),
        ("GET", "b?uploads&prefix=a", O::ListMultipartUploads),
        ("GET", "b/k", O::GetObject),
        ("GET", "b/k?response-content-type=text%2Fplain", O::GetObject),
        ("GET", "b/k?acl&versionId=v", O::GetObjectAcl),
        ("HEAD", "b/k", O::HeadObject),
        ("HEAD", "b/k?objectMeta", O::GetObjectMeta),
        ("GET", "b/k?uploadId=1", O::ListParts),
        ("PUT", "b", O::PutBucket),
        ("PUT", "b?lifecycle", O::PutBucketLifecycle),
        ("PUT", "b/k", O::PutObject),
        ("PUT", "b/k?acl", O::PutObjectAcl),
        ("PUT", "b/k?partNumber=1&uploadId=x", O::UploadPart),
        ("POST", "b?delete", O::DeleteMultipleObjects),
        ("POST", "b?wormId=1", O::CompleteBucketWorm),
        ("POST", "b?wormId=1&wormExtend", O::ExtendBucketWorm),
        ("GET", "b?cname=a.example&comp=token", O::GetCnameToken),
        ("POST", "b?cname&comp=token", O::CreateCnameToken),
        ("PUT", "b?resourcePool=p&resourcePoolBucketGroup=g", O::PutBucketResourcePoolBucketGroup),
        ("POST", "b/k?uploads", O::InitiateMultipartUpload),
        ("POST", "b/k?uploadId=x", O::CompleteMultipartUpload),
        ("POST", "b/k?append&position=0", O::AppendObject),
        ("DELETE", "b/k", O::DeleteObject),
        ("DELETE", "b/k?uploadId=x", O::AbortMultipartUpload),
        ("DELETE", "b?tagging=k1%2Ck2", O::DeleteBucketTags),
        ("DELETE", "b", O::DeleteBucket),
        ("OPTIONS", "b/k", O::Preflight),
        // Operations of another level, which are rejected because something is missing.
        ("POST", "b?uploads", O::InitiateMultipartUpload),
        ("GET", "b?objectMeta", O::GetObjectMeta),
        // Parameters of no known operation.
        ("GET", "b?new", O::GetBucketSettings),
        ("PUT", "b/k?new", O::PutObjectSettings),
        ("PUT", "service?new", O::PutServiceSettings),
        ("DELETE", "service?new=1", O::DeleteServiceSettings),
        ("PUT", "service?acl", O::PutServiceSettings),
        ("POST", "service?uploads", O::PostServiceSettings),
        ("DELETE", "service?x-oss-signature=s", O::DeleteBucket),
        ("POST", "b/k", O::PostObjectSettings),
        // Parameters that may select two operations.
        ("PUT", "b/k?acl&tagging", O::PutObjectSettings),
        ("POST", "b?metaQuery&comp=query&delete", O::PostBucketSettings),
        ("POST", "b?metaQuery&comp=query&new=1", O::PostBucketSettings),
    ];
    for (method, target, expected) in rows {
        assert_eq!(classify(method, target, &[]), Some(expected), "{method} {target}");
    }
}

#[test]
fn headers_tell_copies_and_forms() {
    let copy = [("x-oss-copy-source", "/b/k")];
    assert_eq!(classify("PUT", "b/k", &copy), Some(Operation::CopyObject));
    assert_eq!(classify("PUT", "b/k?partNumber=1&uploadId=x", &copy), Some(Operation::UploadPartCopy));
    assert_eq!(classify("PUT", "b", &copy), Some(Operation::CopyObject), "it has no key");
    let form = [("content-type", "Multipart/Form-Data; boundary=x")];
    assert_eq!(classify("POST", "b", &form), Some(Operation::PostObject));
}

#[test]
fn a_list_of_buckets_has_these_parameters_and_no_others() {
    let unfit = |text: &str| {
        let query = Query::parse(text).expect("a query");
        Operation::ListBuckets.unfit_parameter(&query).map(|param| param.name.clone())
    };
    for text in
        ["prefix=a&marker&max-keys=1", "tag-key=a&tag-value=b", "tagging=a", "x-oss-signature=s&max-keys=1"]
    {
        assert_eq!(unfit(text), None, "{text}");
    }
    for name in ["delimiter", "list-type", "encoding-type", "acl", "uploads", "continuation-token"] {
        assert_eq!(unfit(&format!("prefix=a&{name}=2")), Some(name.into()), "{name}");
    }
}

#[test]
fn methods_that_oss_does_not_have_are_no_operation() {
    for method in ["TRACE", "CONNECT", "PATCH", "get", "PROPFIND"] {
        assert_eq!(classify(method, "b/k", &[]), None, "{method}");
    }
}

#[test]
fn get_and_head_read_and_put_and_delete_write() {
    for (method, access) in [
        ("GET", AccessKind::Read),
        ("HEAD", AccessKind::Read),
        ("PUT", AccessKind::Write),
        ("DELETE", AccessKind::Write),
    ] {
        for target in ["service", "b", "b/k", "b?acl", "b/k?acl", "b/k?uploadId=1", "b?new", "b/k?acl&new"] {
            assert_eq!(
                classify(method, target, &[]).map(Operation::access),
                Some(access),
                "{method} {target}"
            );
        }
    }
}
