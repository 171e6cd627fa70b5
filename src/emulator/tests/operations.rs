//! Every operation of the fixture: the service implements it, or rejects it by name.

use serde_json::Value;

use super::{Answer, Ask, ask, start};

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Returns the requests that select an operation: one for each method and level.
fn requests(operation: &Value) -> Vec<Ask> {
    let select = &operation["select"];
    let mut query: Vec<String> = texts(&select["bare"]).into_iter().map(str::to_owned).collect();
    for (name, value) in select["valued"].as_object().into_iter().flatten() {
        query.push(format!("{name}={}", texts(value).first().unwrap_or(&"1")));
    }
    query.extend(texts(&select["optional_value"]).iter().map(|name| format!("{name}=1")));
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    let mut all = Vec::new();
    for level in texts(&operation["levels"]) {
        let path = match level {
            "object" => "k",
            "path" => operation["path"].as_str().expect("a path"),
            _ => "",
        };
        let path = path.replace(['{', '}'], "");
        for method in texts(&operation["methods"]) {
            let method = ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"]
                .into_iter()
                .find(|known| *known == method)
                .expect("a method");
            let mut request = ask(method, &format!("/{path}{query}")).host(host(operation, level));
            for name in texts(&select["headers"]) {
                request = request.header(name, "/photos/k");
            }
            if let Some(form) = select["content_type"].as_str() {
                request = request.header("Content-Type", format!("{form}; boundary=b"));
            }
            all.push(if matches!(method, "PUT" | "POST") { request.body(b"") } else { request });
        }
    }
    all
}

fn host(operation: &Value, level: &str) -> &'static str {
    match (operation["service"].as_str(), level) {
        (Some("vectors"), "service") => "cn-hangzhou.oss-vectors.aliyuncs.com",
        (Some("vectors"), _) => "photos-1234567890123456.cn-hangzhou.oss-vectors.aliyuncs.com",
        (Some("tables"), _) => "cn-hangzhou.oss-tables.aliyuncs.com",
        (_, "service") => "oss-cn-hangzhou.aliyuncs.com",
        _ => "photos.oss-cn-hangzhou.aliyuncs.com",
    }
}

#[test]
fn each_operation_is_implemented_or_rejected_by_name() {
    let all: Value =
        serde_json::from_str(include_str!("../../../tests/vectors/operations.json")).expect("the fixture");
    let all = all["operations"].as_array().expect("a list");
    assert_eq!(all.len(), 292);
    let mut implemented = Vec::new();
    let mut wrong = Vec::new();
    for operation in all {
        let name = operation["name"].as_str().expect("a name");
        // The preflight request of a browser has this name.
        let name = if name == "OptionObject" { "Preflight" } else { name };
        let is_of_oss = operation["service"] == "oss";
        let is_implemented = is_of_oss && IMPLEMENTED.contains(&name);
        for request in requests(operation) {
            // An operation must not remove what the next one needs.
            let oss = start();
            let line = format!("{} {} {}: {name}", request.method, request.host, request.target);
            let answer: Answer = if is_of_oss { request.send(&oss) } else { request.send_unsigned(&oss) };
            let named = if is_of_oss { answer.element("Operation") == name } else { true };
            let is_rejected = answer.refusal() == (501, "NotImplemented".to_owned()) && named;
            let is_error_of_xml = answer.header("Content-Type") == Some("application/xml");
            if is_rejected == is_implemented || (is_rejected && !is_error_of_xml) {
                wrong.push(format!("{line}: {} {}", answer.status, answer.text().replace('\n', "")));
            }
        }
        if is_implemented {
            implemented.push(name);
        }
    }
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(implemented.len(), IMPLEMENTED.len(), "{implemented:?}");
}

/// The operations that the service implements.
const IMPLEMENTED: [&str; 68] = [
    "PostObject",
    "ListBuckets",
    "DescribeRegions",
    "PutBucket",
    "DeleteBucket",
    "HeadBucket",
    "ListObjects",
    "ListObjectsV2",
    "GetBucketInfo",
    "GetBucketLocation",
    "GetBucketStat",
    "ListMultipartUploads",
    "DeleteMultipleObjects",
    "PutBucketAcl",
    "GetBucketAcl",
    "GetBucketVersioning",
    "PutBucketRequestPayment",
    "GetBucketRequestPayment",
    "PutBucketAccessMonitor",
    "GetBucketAccessMonitor",
    "PutBucketCors",
    "GetBucketCors",
    "DeleteBucketCors",
    "PutBucketEncryption",
    "GetBucketEncryption",
    "DeleteBucketEncryption",
    "PutBucketLifecycle",
    "GetBucketLifecycle",
    "DeleteBucketLifecycle",
    "PutBucketLogging",
    "GetBucketLogging",
    "DeleteBucketLogging",
    "PutBucketPolicy",
    "GetBucketPolicy",
    "DeleteBucketPolicy",
    "PutBucketReferer",
    "GetBucketReferer",
    "GetBucketReplication",
    "PutBucketTags",
    "GetBucketTags",
    "DeleteBucketTags",
    "PutBucketTransferAcceleration",
    "GetBucketTransferAcceleration",
    "PutBucketWebsite",
    "GetBucketWebsite",
    "DeleteBucketWebsite",
    "GetBucketWorm",
    "PutObject",
    "GetObject",
    "HeadObject",
    "GetObjectMeta",
    "CopyObject",
    "AppendObject",
    "DeleteObject",
    "RestoreObject",
    "PutObjectAcl",
    "GetObjectAcl",
    "PutObjectTagging",
    "GetObjectTagging",
    "DeleteObjectTagging",
    "PutSymlink",
    "GetSymlink",
    "InitiateMultipartUpload",
    "UploadPart",
    "UploadPartCopy",
    "CompleteMultipartUpload",
    "AbortMultipartUpload",
    "ListParts",
];
