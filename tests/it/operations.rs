//! Names of operations: requests for the service as a whole, and the names of others in the log,
//! metrics and errors.

use crate::support::http::Client;
use crate::support::script::line_of;
use crate::support::{Script, ask, oss, proxy};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Requests for the service as a whole that may change it.
const SERVICE_WRITES: [(&str, &str, &str); 16] = [
    ("PUT", "/?publicAccessBlock", "PutPublicAccessBlock"),
    ("DELETE", "/?publicAccessBlock", "DeletePublicAccessBlock"),
    ("POST", "/?dataPipeline&action=putDataPipelineConfiguration", "PutDataPipelineConfiguration"),
    ("POST", "/?dataPipeline&action=newAction", "DoDataPipeLineAction"),
    ("PUT", "/?requesterQosInfo&resourcePool=p&qosRequester=1", "PutResourcePoolRequesterQoSInfo"),
    ("DELETE", "/?requesterQosInfo&resourcePool=p&qosRequester=1", "DeleteResourcePoolRequesterQoSInfo"),
    (
        "PUT",
        "/?resourcePoolBucketGroupQosInfo&resourcePool=p&resourcePoolBucketGroup=g",
        "PutResourcePoolBucketGroupQoSInfo",
    ),
    ("POST", "/?x-oss-write-get-object-response", "WriteGetObjectResponse"),
    ("POST", "/?antiDDos", "InitUserAntiDDosInfo"),
    ("DELETE", "/?vpcip", "DeleteVpcip"),
    ("PUT", "/?settingOfTheFuture", "PutServiceSettings"),
    ("DELETE", "/?settingOfTheFuture=1", "DeleteServiceSettings"),
    // Subresources of buckets and objects today. OSS may define them for the service.
    ("PUT", "/?acl", "PutServiceSettings"),
    ("POST", "/?delete", "PostServiceSettings"),
    ("DELETE", "/?tagging=a", "DeleteServiceSettings"),
    ("POST", "/?uploads", "PostServiceSettings"),
];

#[test]
fn writes_that_name_no_bucket_are_signed_for_the_service() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    for (method, target, name) in SERVICE_WRITES {
        for host in [&proxy.address.to_string(), "oss-cn-hangzhou.aliyuncs.com"] {
            let answer = Client::connect(proxy.address).ask(method, target, host, "", b"");
            assert_eq!(answer.status, 200, "{name}: {}", answer.text());
            let heads = upstream.heads();
            let head = heads.last().expect("a request");
            assert!(head.starts_with(&format!("{method} {target} HTTP/1.1\r\n")), "{head}");
            assert_eq!(line_of(head, "host"), Some("oss-cn-hangzhou.aliyuncs.com"), "{name}");
            assert!(line_of(head, "authorization").is_some(), "{name}");
        }
    }
    let metrics = ask(proxy.admin, "GET", "/metrics", b"").text();
    for (.., name) in SERVICE_WRITES {
        assert!(metrics.contains(&format!("operation=\"{name}\"")), "{name}");
    }
}

#[test]
fn a_bare_write_names_a_bucket() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    for method in ["PUT", "POST", "DELETE"] {
        for target in ["/", "/?", "/?OSSAccessKeyId=x&Expires=1&Signature=y"] {
            let answer = ask(proxy.address, method, target, b"");
            assert_eq!((answer.status, answer.refused()), (400, Some("invalid-bucket")), "{method} {target}");
        }
    }
    assert!(upstream.heads().is_empty());
}

#[test]
fn a_list_with_parameters_that_a_list_of_buckets_does_not_have_names_a_bucket() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    for parameter in [
        "delimiter=%2F",
        "list-type=2",
        "encoding-type=url",
        "continuation-token=a",
        "acl",
        "uploads",
        "bucketInfo",
    ] {
        let (name, _) = parameter.split_once('=').unwrap_or((parameter, ""));
        for method in ["GET", "HEAD"] {
            let answer = ask(proxy.address, method, &format!("/?prefix=a&{parameter}"), b"");
            assert_eq!(
                (answer.status, answer.refused()),
                (400, Some("invalid-bucket")),
                "{method} {parameter}"
            );
            let told = answer.text();
            assert!(method == "HEAD" || told.contains(name) && told.contains("/BUCKET"), "{told}");
        }
    }
    assert!(upstream.heads().is_empty());
    for target in [
        "/",
        "/?prefix=a&marker=b&max-keys=10",
        "/?tag-key=a&tag-value=b",
        "/?tagging=%22a%22%3A%22b%22",
        "/?regions",
        "/?regions=oss-cn-hangzhou",
        "/?accessPoint&max-keys=10",
        "/?resourcePool",
        "/?bid=26842&max-keys=1",
        "/?max-keys=1&OSSAccessKeyId=x&Expires=1&Signature=y",
    ] {
        assert_eq!(ask(proxy.address, "GET", target, b"").status, 200, "{target}");
    }
}

#[test]
fn a_read_only_listener_knows_reads_and_writes_by_the_table() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).listen("read_only = true").start();
    for (method, target, name) in SERVICE_WRITES.into_iter().chain([
        ("POST", "/photos/?wormId=1", "CompleteBucketWorm"),
        ("PUT", "/photos/?resourcePool=p&resourcePoolBucketGroup", "PutBucketResourcePoolBucketGroup"),
        ("POST", "/photos/k?x-oss-process=csv%2Fselect&x-oss-async-process", "PostObjectSettings"),
    ]) {
        let answer = ask(proxy.address, method, target, b"");
        assert_eq!((answer.status, answer.refused()), (403, Some("denied")), "{method} {target}");
        assert!(answer.text().contains(name), "{}", answer.text());
    }
    assert!(upstream.heads().is_empty());
    for (method, target) in [
        ("GET", "/photos/?cname=a.example&comp=token"),
        ("POST", "/photos/k?x-oss-process=csv%2Fselect"),
        ("POST", "/photos/?metaQuery&comp=query"),
    ] {
        assert_eq!(ask(proxy.address, method, target, b"").status, 200, "{method} {target}");
    }
}

#[test]
fn the_embedded_oss_names_the_operation_that_it_does_not_have() {
    let oss = oss();
    let proxy = proxy(oss.address).start();
    for (method, target, name) in [
        ("PUT", "/?publicAccessBlock", "PutPublicAccessBlock"),
        ("GET", "/?accessPoint", "ListAccessPoints"),
        ("GET", "/photos/?cname=a.example&comp=token", "GetCnameToken"),
        ("POST", "/photos/?wormId=1", "CompleteBucketWorm"),
        ("GET", "/photos/?inventory&inventoryId=i", "GetBucketInventory"),
        ("PUT", "/photos/k?retention", "PutObjectRetention"),
    ] {
        let answer = ask(proxy.address, method, target, b"");
        let told = answer.text();
        assert_eq!(answer.status, 501, "{method} {target}: {told}");
        assert!(told.contains(&format!("<Operation>{name}</Operation>")), "{told}");
    }
}
