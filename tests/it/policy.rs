//! Rights of callers: what a caller with limited rights reaches, and what reaches the upstream.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use oss_signing_proxy::internals::sign::SignatureVersion;
use serde_json::Value;

use crate::callers::{Asked, CALLER_SECRET};
use crate::support::script::line_of;
use crate::support::{Answer, Client, KEY, Proxy, Script, Served, ask, oss, proxy};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// An open caller that may do everything below one prefix, and read below another.
const LIMITED: &str = "
    [[caller]]
    name = \"team-a\"
    open = true
    allow = [
        { group = [\"read\", \"list\", \"write\", \"delete\", \"manage\"], bucket = \"team-data\", prefix = \"a/\" },
        { group = [\"read\"], bucket = \"other-data\", prefix = \"pub/\" },
    ]
";

fn limited(upstream: SocketAddr, caller: &str) -> Proxy {
    proxy(upstream).sections(caller).start()
}

fn send(proxy: &Proxy, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n", proxy.address);
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() || matches!(method, "PUT" | "POST") {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    let mut client = Client::connect(proxy.address);
    client.send([head.as_bytes(), b"\r\n", body].concat());
    client.answer(method).expect("an answer")
}

fn md5(body: &[u8]) -> String {
    use md5::{Digest as _, Md5};
    STANDARD.encode(Md5::digest(body))
}

#[test]
fn a_caller_of_one_prefix_reaches_nothing_else_by_any_operation() {
    let upstream = Script::answering(OK);
    let proxy = limited(upstream.address, LIMITED);
    let fixture: Value =
        serde_json::from_str(include_str!("../vectors/operations.json")).expect("the fixture");
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut asked = 0;
    for operation in fixture["operations"].as_array().expect("a list") {
        let select = &operation["select"];
        let mut query = texts(&select["bare"]);
        for (name, value) in select["valued"].as_object().into_iter().flatten() {
            query.push(format!("{name}={}", texts(value).first().map_or("v", String::as_str)));
        }
        query.extend(texts(&select["optional_value"]).iter().map(|name| format!("{name}=v")));
        let names = texts(&select["headers"]);
        let headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "/team-data/b/x")).collect();
        for level in texts(&operation["levels"]) {
            let path = match level.as_str() {
                "service" => "/".to_owned(),
                "bucket" => "/team-data".to_owned(),
                "object" => "/team-data/b/x".to_owned(),
                // Another service, with paths of its own.
                _ => format!("/{}", operation["path"].as_str().unwrap_or_default().replace(['{', '}'], "x")),
            };
            for method in texts(&operation["methods"]) {
                let target = format!("{path}?{}", query.join("&"));
                let answer = send(&proxy, &method, &target, &headers, b"");
                asked += 1;
                if operation["name"] == "HeadBucket" {
                    assert_eq!(answer.status, 200, "the proxy responds by itself");
                    continue;
                }
                assert!(matches!(answer.status, 400 | 403), "{method} {target}: {}", answer.status);
            }
        }
    }
    assert!(asked > 290, "{asked}");
    assert_eq!(upstream.heads(), Vec::<String>::new());
}

#[test]
fn operations_below_the_prefix_are_signed() {
    let upstream = Script::answering(OK);
    let proxy = limited(upstream.address, LIMITED);
    let rows = [
        ("GET", "/team-data/a/x", &[][..]),
        ("HEAD", "/team-data/a/x", &[]),
        ("PUT", "/team-data/a/x", &[("Content-Type", "text/plain"), ("x-oss-meta-k", "v")]),
        ("DELETE", "/team-data/a/x", &[]),
        ("GET", "/team-data?prefix=a%2F&delimiter=%2F", &[]),
        ("GET", "/team-data?list-type=2&prefix=a/b", &[]),
        ("POST", "/team-data/a/x?uploads", &[]),
        ("PUT", "/team-data/a/x?partNumber=1&uploadId=U", &[]),
        ("PUT", "/team-data/a/x", &[("x-oss-copy-source", "/other-data/pub/y")]),
        ("GET", "/other-data/pub/y", &[]),
        ("GET", "/team-data/a/x?response-content-type=text/plain", &[]),
        ("GET", "/team-data/a/x", &[("x-oss-copy-source", "/other-data/priv/y")]),
    ];
    for (count, (method, target, headers)) in rows.into_iter().enumerate() {
        let answer = send(&proxy, method, target, headers, b"");
        assert_eq!(answer.status, 200, "{method} {target}: {}", answer.text());
        assert_eq!(upstream.heads().len(), count + 1);
    }
    let heads = upstream.heads();
    assert!(heads.iter().all(|head| line_of(head, "authorization").is_some()));
    assert_eq!(line_of(&heads[11], "x-oss-copy-source"), None, "a GET has no source");
}

#[test]
fn a_denial_names_what_is_missing_and_never_the_rules() {
    let upstream = Script::answering(OK);
    let denying = "
        [[caller]]
        name = \"team-a\"
        open = true
        policy = ['''{ \"Version\": \"1\", \"Statement\": [
            { \"Effect\": \"Allow\", \"Action\": \"oss:*\", \"Resource\": [\"acs:oss:*:*:team-data\", \"acs:oss:*:*:team-data/*\"] },
            { \"Effect\": \"Deny\", \"Action\": \"oss:*\", \"Resource\": \"acs:oss:*:*:team-data/secret/*\" } ] }''']
    ";
    let proxy = limited(upstream.address, denying);
    for (target, headers, action, resource, denial) in [
        ("/other-data/k", &[][..], "oss:PutObject", "acs:oss:*:*:other-data/k", "ImplicitDeny"),
        ("/team-data/secret/k", &[], "oss:PutObject", "acs:oss:*:*:team-data/secret/k", "ExplicitDeny"),
        (
            "/team-data/public/k",
            &[("x-oss-copy-source", "/team-data/%73ecret/k")],
            "oss:GetObject",
            "acs:oss:*:*:team-data/secret/k",
            "ExplicitDeny",
        ),
    ] {
        let answer = send(&proxy, "PUT", target, headers, b"x");
        let text = answer.text();
        assert_eq!((answer.status, answer.refused()), (403, Some("denied")), "{text}");
        for expected in [
            "<Code>AccessDenied</Code>".to_owned(),
            format!("<AuthAction>{action}</AuthAction>"),
            format!("<AuthResource>{resource}</AuthResource>"),
            format!("<NoPermissionType>{denial}</NoPermissionType>"),
        ] {
            assert!(text.contains(&expected), "{expected}: {text}");
        }
        assert!(!text.contains("secret/*"), "{text}");
    }
    let odd = send(&proxy, "PUT", "/team-data/k?futureThing=1", &[], b"x");
    assert_eq!((odd.status, odd.refused()), (400, Some("not-understood")), "{}", odd.text());
    assert!(odd.text().contains("futureThing"), "{}", odd.text());
    assert!(upstream.heads().is_empty());
}

#[test]
fn a_listing_beyond_the_prefix_is_denied_with_the_prefix_that_is_allowed() {
    let upstream = Script::answering(OK);
    let proxy = limited(upstream.address, LIMITED);
    for target in ["/team-data", "/team-data?prefix=a", "/team-data?list-type=2&prefix=b/"] {
        let answer = send(&proxy, "GET", target, &[], b"");
        assert_eq!((answer.status, answer.refused()), (403, Some("denied")), "{target}");
        assert!(answer.text().contains("with this prefix; list below: a/<"), "{}", answer.text());
    }
    assert!(upstream.heads().is_empty());
}

#[test]
fn a_head_of_a_bucket_is_answered_for_a_caller_with_any_grant_in_it() {
    let upstream = Script::answering(OK);
    let proxy = limited(upstream.address, LIMITED);
    for (target, status) in [("/team-data", 200), ("/other-data", 200), ("/third-data", 403)] {
        let answer = send(&proxy, "HEAD", target, &[], b"");
        assert_eq!(answer.status, status, "{target}");
        assert_eq!(answer.header("x-oss-request-id"), answer.header("x-proxy-request-id"), "{target}");
    }
    let probe = send(&proxy, "HEAD", "/team-data", &[], b"");
    assert_eq!(probe.header("x-oss-bucket-region"), Some("cn-hangzhou"));
    assert_eq!(send(&proxy, "HEAD", "/team-data?futureThing", &[], b"").status, 400);
    assert!(upstream.heads().is_empty());
    let metrics = ask(proxy.admin, "GET", "/metrics", b"").text();
    assert!(metrics.contains("\noss_proxy_answered_total 3\n"), "{metrics}");
}

#[test]
fn a_head_of_a_bucket_is_forwarded_for_a_caller_with_its_action() {
    let upstream = Script::answering(OK);
    let policy = |resource: &str, deny: &str| {
        format!(
            "[[caller]]\nname = \"a\"\nopen = true\npolicy = ['{{\"Version\":\"1\",\"Statement\":[{{\"Effect\":\"Allow\",\"Action\":\"oss:*\",\"Resource\":\"acs:oss:*:*:{resource}\"}}{deny}]}}']\n"
        )
    };
    let deny = |resource: &str, condition: &str| {
        format!(
            ",{{\"Effect\":\"Deny\",\"Action\":\"oss:*\",\"Resource\":\"acs:oss:*:*:{resource}\"{condition}}}"
        )
    };
    let address = |range: &str| format!(",\"Condition\":{{\"IpAddress\":{{\"acs:SourceIp\":\"{range}\"}}}}");
    // The policy, the status, and the number of requests that are forwarded.
    for (policy, status, forwarded) in [
        (policy("team-data*", ""), 200, 1),
        (policy("team-data/*", ""), 200, 0),
        (policy("team-data-2/*", ""), 403, 0),
        (policy("*", &deny("team-data", "")), 403, 0),
        (policy("team-data/*", &deny("team-*", "")), 403, 0),
        (policy("team-data*", &deny("team-data/b/*", "")), 200, 1),
        (policy("team-data/*", &deny("team-data", &address("127.0.0.0/8"))), 403, 0),
        (policy("team-data/*", &deny("team-data", &address("10.0.0.0/8"))), 200, 0),
    ] {
        let before = upstream.heads().len();
        let proxy = limited(upstream.address, &policy);
        let answer = send(&proxy, "HEAD", "/team-data", &[], b"");
        let found = (answer.status, upstream.heads().len() - before);
        assert_eq!(found, (status, forwarded), "{policy}");
    }
}

#[test]
fn what_was_judged_is_what_is_sent() {
    let upstream = Script::answering(OK);
    let proxy = limited(upstream.address, LIMITED);
    let sent = |target: &str, header: (&str, &str)| {
        let answer =
            send(&proxy, if target.contains("rename") { "POST" } else { "PUT" }, target, &[header], b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
        line_of(upstream.heads().last().expect("a head"), header.0).map(str::to_owned)
    };
    let source = |text| sent("/team-data/a/x", ("x-oss-copy-source", text));
    assert_eq!(source("other-data/pub%2Fy").as_deref(), Some("/other-data/pub/y"));
    assert_eq!(source("/other-data/%70ub/y%3Fz").as_deref(), Some("/other-data/pub/y%3Fz"));
    // A plus is a space, as the first Go SDK writes it.
    assert_eq!(source("/other-data/pub%2Fa+b%2B").as_deref(), Some("/other-data/pub/a%20b%2B"));
    let link = |text| sent("/team-data/a/l?symlink", ("x-oss-symlink-target", text));
    // A link needs the right to read its target.
    let refused = send(&proxy, "PUT", "/team-data/a/l?symlink", &[("x-oss-symlink-target", "b/t")], b"");
    assert_eq!(refused.status, 403);
    assert_eq!(link("a%2Ft").as_deref(), Some("a/t"));
    assert_eq!(link("a%2Ft+1").as_deref(), Some("a/t%201"));
    let renamed = |text| sent("/team-data/a/new?x-oss-rename", ("x-oss-rename-source", text));
    assert_eq!(renamed("a%2Fold").as_deref(), Some("a/old"));
}

#[test]
fn a_batch_delete_is_judged_key_by_key_and_written_again() {
    let upstream = Script::answering(OK);
    let proxy = limited(upstream.address, LIMITED);
    let object = |key: &str| format!("<Object><Key>{key}</Key></Object>");
    let batch = |keys: &[String]| format!("<Delete><Quiet>true</Quiet>{}</Delete>", keys.concat());
    let keys: Vec<String> = (0..999).map(|index| object(&format!("a/{index}"))).collect();
    let mut foreign = keys.clone();
    foreign.push(object("b/1"));
    let answer = send(&proxy, "POST", "/team-data?delete", &[], batch(&foreign).as_bytes());
    assert_eq!((answer.status, answer.refused()), (403, Some("denied")), "{}", answer.text());
    let wrong =
        send(&proxy, "POST", "/team-data?delete", &[("Content-MD5", "AAAA")], batch(&keys).as_bytes());
    assert_eq!(wrong.status, 400, "{}", wrong.text());
    assert!(wrong.text().contains("<Code>InvalidDigest</Code>"), "{}", wrong.text());
    let long = vec![b' '; 2 * 1024 * 1024 + 1];
    let long = send(&proxy, "POST", "/team-data?delete", &[], &long);
    assert_eq!((long.status, long.refused()), (400, Some("too-large")), "{}", long.text());
    assert!(upstream.heads().is_empty());
    let two =
        format!("<?xml version='1.0'?>\n<Delete>\n  {}\n  {}</Delete>", object("a/&#x31;"), object("a/&lt;"));
    let good =
        send(&proxy, "POST", "/team-data?delete", &[("Content-MD5", &md5(two.as_bytes()))], two.as_bytes());
    assert_eq!(good.status, 200, "{}", good.text());
    let written = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Delete><Object><Key>a/1</Key></Object><Object><Key>a/&lt;</Key></Object></Delete>";
    let head = upstream.heads().pop().expect("a head");
    assert_eq!(line_of(&head, "content-md5"), Some(md5(written.as_bytes()).as_str()));
    assert_eq!(line_of(&head, "content-length"), Some(written.len().to_string().as_str()));
}

#[test]
fn a_saved_result_needs_the_right_to_write_its_target() {
    let upstream = Script::answering(OK);
    let proxy = limited(upstream.address, LIMITED);
    let save = |key: &str| {
        let body = format!("x-oss-process=image/resize,w_1|sys/saveas,o_{}", URL_SAFE_NO_PAD.encode(key));
        send(&proxy, "POST", "/team-data/a/p.jpg?x-oss-process", &[], body.as_bytes()).status
    };
    assert_eq!((save("a/out.jpg"), save("b/out.jpg")), (200, 403));
    assert_eq!(upstream.heads().len(), 1);
}

#[test]
fn a_caller_that_may_read_sends_no_request_that_is_not_understood() {
    let upstream = Script::answering(OK);
    let proxy = limited(upstream.address, "[[caller]]\nname = \"r\"\nopen = true\nallow = \"read\"\n");
    for (method, target, status) in [
        ("GET", "/team-data/k", 200),
        ("GET", "/team-data?acl", 200),
        ("GET", "/", 200),
        ("PUT", "/team-data/k", 403),
        ("GET", "/team-data/k?futureThing", 400),
        ("GET", "/team-data/k?versionId=1&versionId=2", 400),
    ] {
        assert_eq!(send(&proxy, method, target, &[], b"").status, status, "{method} {target}");
    }
}

#[test]
fn a_presigned_url_has_the_rights_of_its_caller_and_ends_with_them() {
    let upstream = Script::answering(OK);
    let caller = |prefix: &str| {
        format!(
            "[[listen]]\nidentify = [\"key\"]\n[[caller]]\nname = \"team-a\"\n\
             allow = [{{ group = [\"read\"], bucket = \"photos\", prefix = \"{prefix}\" }}]\n\
             key = [{{ id = \"team-a-1\", secret = \"{CALLER_SECRET}\" }}]\n"
        )
    };
    let served = Served::start_with(upstream.address, &caller("a/"), &[], &KEY);
    let ask = |method: &str, target: &str| {
        let mut client = Client::connect(served.address);
        let answer = client.ask(method, target, &served.address.to_string(), "", b"");
        (answer.status, answer.refused().map(str::to_owned))
    };
    let url = |method, key, version| {
        let query = Asked { version, ..Asked::new(method, key) }.signed_query(Duration::from_secs(600));
        format!("/photos/{key}{query}")
    };
    let denied = (403, Some("denied".to_owned()));
    let versions = [SignatureVersion::V4, SignatureVersion::V1];
    for version in versions {
        assert_eq!(ask("GET", &url("GET", "b/k", version)), denied, "{version:?}");
        assert_eq!(ask("PUT", &url("PUT", "a/k", version)), denied, "{version:?}");
    }
    let urls = versions.map(|version| url("GET", "a/k", version));
    let outcomes = || urls.clone().map(|url| ask("GET", &url));
    assert_eq!(outcomes(), [(200, None), (200, None)]);
    served.rewrite(upstream.address, &caller("c/"));
    assert_eq!(served.reload().0, 200);
    assert_eq!(outcomes(), [denied.clone(), denied]);
    served.rewrite(upstream.address, &caller("a/").replace("team-a-1", "team-a-2"));
    assert_eq!(served.reload().0, 200);
    let unknown = (403, Some("no-identity".to_owned()));
    assert_eq!(outcomes(), [unknown.clone(), unknown]);
    assert_eq!(upstream.heads().len(), 2);
}

const FILTERED: &str = "
    [[caller]]
    name = \"team-a\"
    open = true
    list_buckets = \"filter\"
    allow = [{ group = [\"read\"], bucket = \"files\", prefix = \"a/\" }]
";

#[test]
fn a_list_of_buckets_has_only_those_with_a_grant() {
    let oss = oss();
    let proxy = limited(oss.address, FILTERED);
    let answer = send(&proxy, "GET", "/", &[("Accept-Encoding", "gzip")], b"");
    let text = answer.text();
    assert_eq!(answer.status, 200, "{text}");
    assert!(text.contains("<Name>files</Name>") && !text.contains("photos"), "{text}");
    assert!(text.contains("<Owner><ID>"), "{text}");
    assert_eq!(answer.header("content-length"), Some(text.len().to_string().as_str()));
    let page = send(&proxy, "GET", "/?max-keys=1&marker=a", &[], b"").text();
    for expected in ["<Name>files</Name>", "<IsTruncated>true<", "<NextMarker>files<", "<MaxKeys>1<"] {
        assert!(page.contains(expected), "{expected}: {page}");
    }
    // The page of a bucket without a grant is empty, and leads to the next one.
    let empty = send(&proxy, "GET", "/?max-keys=1&marker=files", &[], b"").text();
    assert!(!empty.contains("<Name>"), "{empty}");
    let refused = limited(oss.address, &FILTERED.replace("list_buckets", "#list_buckets"));
    assert_eq!(send(&refused, "GET", "/", &[], b"").status, 403);
    let denied = FILTERED.replace(
        "allow",
        "policy = ['{\"Version\":\"1\",\"Statement\":[{\"Effect\":\"Deny\",\"Action\":\"oss:ListBuckets\",\"Resource\":\"*\"}]}']\nallow",
    );
    assert_eq!(send(&limited(oss.address, &denied), "GET", "/", &[], b"").status, 403);
    let everything =
        "[[caller]]\nname = \"a\"\nopen = true\nlist_buckets = \"filter\"\nallow = \"everything\"\n";
    let all = send(&limited(oss.address, everything), "GET", "/", &[], b"").text();
    assert!(all.contains("<Name>files</Name>") && all.contains("<Name>photos</Name>"), "{all}");
}

#[test]
fn a_list_of_buckets_that_cannot_be_filtered_is_not_passed_on() {
    let answer = |headers: &str, body: &str| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
        &*Box::leak((head + body).into_boxed_str())
    };
    let list = "<ListAllMyBucketsResult><Buckets><Bucket><Name>secret</Name></Bucket></Buckets></ListAllMyBucketsResult>";
    let long = format!("{list}{}", " ".repeat(2 * 1024 * 1024));
    for (headers, body, status) in [
        ("ETag: \"1\"\r\nContent-MD5: AAAA\r\n", list, 200),
        ("", "<Error><Name>secret</Name></Error>", 502),
        ("", &list[..60], 502),
        ("Content-Encoding: gzip\r\n", list, 502),
        ("", &long, 502),
    ] {
        let upstream = Script::answering(answer(headers, body));
        let proxy = limited(upstream.address, FILTERED);
        let answer = send(&proxy, "GET", "/", &[("Accept-Encoding", "gzip")], b"");
        assert_eq!(answer.status, status, "{headers} {}", answer.text());
        assert!(!answer.text().contains("secret"), "{}", answer.text());
        assert_eq!((answer.header("etag"), answer.header("content-md5")), (None, None));
        let heads = upstream.heads();
        assert_eq!(line_of(&heads[0], "accept-encoding"), None, "{heads:?}");
    }
    let refusal = answer("", "").replace("200 OK", "503 Slow Down");
    let upstream = Script::answering(Box::leak(refusal.into_boxed_str()));
    assert_eq!(send(&limited(upstream.address, FILTERED), "GET", "/", &[], b"").status, 503);
}
