//! Hosts, routes and regions, seen from the upstream: the request that it receives, and the region
//! in the signature.

use crate::support::script::line_of;
use crate::support::{Client, KEY, Script, ask, proxy, run};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Returns the head that the upstream receives for a GET.
fn seen(upstream: &Script, proxy: &crate::support::Proxy, target: &str, host: &str) -> String {
    let answer = Client::connect(proxy.address).ask("GET", target, host, "", b"");
    assert_eq!(answer.status, 200, "{host} {target}: {}", answer.text());
    upstream.heads().last().expect("a request").clone()
}

#[test]
fn the_region_in_the_host_decides_endpoint_and_signature() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    for (host, expected, region) in [
        (
            "photos.oss-cn-hangzhou-internal.aliyuncs.com",
            "photos.oss-cn-hangzhou.aliyuncs.com",
            "cn-hangzhou",
        ),
        ("photos.oss-us-west-1.aliyuncs.com", "photos.oss-us-west-1.aliyuncs.com", "us-west-1"),
        (
            "photos.oss-us-west-1-internal.aliyuncs.com:80",
            "photos.oss-us-west-1-internal.aliyuncs.com",
            "us-west-1",
        ),
        ("photos.oss-accelerate.aliyuncs.com", "photos.oss-accelerate.aliyuncs.com", "cn-hangzhou"),
        ("photos.cn-beijing.oss.aliyuncs.com", "photos.cn-beijing.oss.aliyuncs.com", "cn-beijing"),
    ] {
        let head = seen(&upstream, &proxy, "/k", host);
        assert_eq!(line_of(&head, "host"), Some(expected), "{host}");
        let authorization = line_of(&head, "authorization").expect("signed");
        assert!(
            authorization.contains(&format!("/{region}/oss/aliyun_v4_request")),
            "{host}: {authorization}"
        );
    }
}

#[test]
fn routes_choose_upstream_and_credentials_by_host_and_bucket() {
    let default = Script::answering(OK);
    let logs = Script::answering(OK);
    let files = Script::answering(OK);
    let sections = format!(
        r#"
[[route]]
match = {{ bucket = "logs-*" }}
region = "ap-southeast-1"
endpoint = "http://oss-ap-southeast-1.aliyuncs.com"
connect = "{}"
credentials = "logs"

[[route]]
match = {{ host = "files.example.com" }}
region = "us-west-1"
endpoint = "http://oss-us-west-1.aliyuncs.com"
connect = "{}"
bucket = "files"

[credentials.logs]
type = "static"
access_key_id = "LTAIlogs"
access_key_secret = "another-secret"
"#,
        logs.address, files.address
    );
    let proxy = proxy(default.address).sections(&sections).start();
    let own = proxy.address.to_string();

    let head = seen(&logs, &proxy, "/logs-eu/k", &own);
    assert_eq!(line_of(&head, "host"), Some("logs-eu.oss-ap-southeast-1.aliyuncs.com"));
    let authorization = line_of(&head, "authorization").expect("signed");
    assert!(authorization.contains("Credential=LTAIlogs/") && authorization.contains("/ap-southeast-1/"));

    let head = seen(&files, &proxy, "/a/b", "files.example.com");
    assert_eq!(line_of(&head, "host"), Some("files.oss-us-west-1.aliyuncs.com"));
    assert!(head.starts_with("GET /a/b HTTP/1.1\r\n"), "{head}");

    let head = seen(&default, &proxy, "/mylogs-eu/k", &own);
    assert_eq!(line_of(&head, "host"), Some("mylogs-eu.oss-cn-hangzhou.aliyuncs.com"));
}

#[test]
fn a_host_that_names_another_bucket_than_the_pinned_one_is_refused() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).upstream("bucket = \"photos\"").start();
    let answer = Client::connect(proxy.address).ask("GET", "/k", "files.oss.example.test", "", b"");
    assert_eq!((answer.status, answer.refused()), (403, Some("pinned")));
    let answer = Client::connect(proxy.address).ask("GET", "/files/k", "photos.oss.example.test", "", b"");
    assert_eq!(answer.status, 200);
    assert!(upstream.heads()[0].starts_with("GET /files/k HTTP/1.1\r\n"));
}

#[test]
fn an_absolute_target_is_served_only_where_it_names_oss_or_this_listener() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    let (own, port) = (proxy.address.to_string(), proxy.address.port());
    let ours = [
        format!("http://{own}/photos/k"),
        format!("http://localhost:{port}/photos/k"),
        "http://photos.oss-cn-hangzhou.aliyuncs.com/k".to_owned(),
        "http://photos.oss.example.test/k".to_owned(),
    ];
    for target in &ours {
        let answer = Client::connect(proxy.address).ask("GET", target, &own, "", b"");
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    }
    for target in [
        "http://100.100.100.200/latest/api/token",
        "http://192.168.7.7/",
        "http://127.0.0.1/photos/k",
        "http://127.0.0.1:1/photos/k",
        "http://localhost/photos/k",
        "http://localhost:9/photos/k",
        &format!("http://127.0.0.2:{port}/photos/k"),
        &format!("http://[::1]:{port}/photos/k"),
        "http://example.com/photos/k",
    ] {
        for method in ["GET", "PUT"] {
            let host = target.split('/').nth(2).expect("a host");
            let answer = Client::connect(proxy.address).ask(method, target, host, "", b"");
            assert_eq!((answer.status, answer.refused()), (421, Some("unknown-host")), "{method} {target}");
            assert!(answer.text().contains("no_proxy"), "{target}: {}", answer.text());
        }
    }
    assert_eq!(upstream.heads().len(), ours.len());
}

#[test]
fn an_absolute_target_may_name_a_configured_endpoint_by_its_address() {
    let upstream = Script::answering(OK);
    let settings = format!("endpoint = \"http://{}\"", upstream.address);
    let proxy = proxy(upstream.address).upstream(&settings).start();
    let answer = Client::connect(proxy.address).ask(
        "GET",
        &format!("http://{}/photos/k", upstream.address),
        &upstream.address.to_string(),
        "",
        b"",
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(upstream.heads()[0].starts_with("GET /photos/k HTTP/1.1\r\n"));
}

#[test]
fn a_target_and_a_host_header_that_name_two_places_are_rejected() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    let own = proxy.address.to_string();
    let endpoint = "http://oss-cn-hangzhou.aliyuncs.com/k";
    for (target, host) in [
        (endpoint, "photos.oss-cn-hangzhou.aliyuncs.com"),
        (endpoint, "photos.oss.example.test"),
        (endpoint, "oss-cn-beijing.aliyuncs.com"),
        ("http://photos.oss-cn-hangzhou.aliyuncs.com/k", "files.oss-cn-hangzhou.aliyuncs.com"),
        (&format!("http://{own}/photos/k"), "files.oss-cn-hangzhou.aliyuncs.com"),
    ] {
        let answer = Client::connect(proxy.address).ask("PUT", target, host, "", b"v");
        assert_eq!((answer.status, answer.refused()), (400, Some("bad-request")), "{target} {host}");
        assert!(answer.text().contains(host), "{}", answer.text());
    }
    assert!(upstream.heads().is_empty());
    for (target, host) in [
        (&*format!("http://{own}/photos/k"), &*own),
        ("http://photos.oss-cn-hangzhou.aliyuncs.com/k", "Photos.oss-cn-hangzhou.aliyuncs.com.:80"),
        ("http://photos.oss-cn-hangzhou.aliyuncs.com/k", &own),
        ("http://photos.oss-cn-hangzhou.aliyuncs.com/k", "elsewhere.example"),
    ] {
        assert_eq!(
            Client::connect(proxy.address).ask("GET", target, host, "", b"").status,
            200,
            "{target} {host}"
        );
    }
}

#[test]
fn a_host_that_cannot_be_read_is_quoted_unless_it_may_hold_a_password() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    let own = proxy.address.to_string();
    for target in ["/k", &format!("http://{own}/k")] {
        for (host, words) in [
            (format!("{own}/photos"), "in the request path, as /BUCKET/KEY"),
            (format!("{own}x"), "not a number"),
            ("a b".to_owned(), "not a name or an address"),
        ] {
            let answer = Client::connect(proxy.address).ask("PUT", target, &host, "", b"v");
            assert_eq!((answer.status, answer.refused()), (400, Some("bad-request")), "{host}");
            let text = answer.text();
            assert!(text.contains(&host) && text.contains(words), "{text}");
        }
        let answer = Client::connect(proxy.address).ask("PUT", target, "me:pa55word@h", "", b"v");
        assert_eq!(answer.status, 400);
        assert!(!answer.text().contains("pa55word"), "{}", answer.text());
    }
    assert!(upstream.heads().is_empty());
}

#[test]
fn the_root_lists_the_buckets() {
    let oss = crate::support::oss();
    let proxy = proxy(oss.address).start();
    let list = ask(proxy.address, "GET", "/", b"");
    assert_eq!(list.status, 200, "{}", list.text());
    assert!(list.text().contains("<Name>photos</Name>") && list.text().contains("<Name>files</Name>"));
}

#[test]
fn path_style_on_an_endpoint_name_becomes_what_oss_takes() {
    let oss = crate::support::oss();
    let direct =
        Client::connect(oss.address).ask("GET", "/photos/k", "oss-cn-hangzhou.aliyuncs.com", "", b"");
    assert_eq!(direct.status, 403, "OSS itself refuses it");
    let proxy = proxy(oss.address).start();
    let put =
        Client::connect(proxy.address).ask("PUT", "/photos/k", "oss-cn-hangzhou.aliyuncs.com", "", b"v");
    assert_eq!(put.status, 200, "{}", put.text());
}

#[test]
fn a_bucket_of_the_early_years_is_served_in_every_form() {
    let oss = crate::support::oss();
    for signature in ["v4", "v1"] {
        let proxy = proxy(oss.address).upstream(&format!("signature = \"{signature}\"")).start();
        let own = proxy.address.to_string();
        let ask = |method: &str, target: &str, host: &str, body: &[u8]| {
            Client::connect(proxy.address).ask(method, target, host, "", body)
        };
        let made = ask("PUT", "/old_photos", &own, b"");
        assert_eq!(made.status, 200, "{}", made.text());
        for (target, host) in [
            ("/old_photos/k", own.as_str()),
            ("/old%5Fphotos/k", "localhost"),
            ("/k", "old_photos.oss.example.test"),
            ("/k", "old_photos.oss-cn-hangzhou.aliyuncs.com"),
            ("http://old_photos.oss-cn-hangzhou.aliyuncs.com/k", "old_photos.oss-cn-hangzhou.aliyuncs.com"),
        ] {
            let put = ask("PUT", target, host, host.as_bytes());
            assert_eq!(put.status, 200, "{signature} {host} {target}: {}", put.text());
            let object = oss.service.object(&crate::support::bucket("old_photos"), b"k");
            assert_eq!(object.as_deref(), Some(host.as_bytes()), "{signature} {host} {target}");
        }
    }
    let pinned = proxy(oss.address).upstream("bucket = \"old_photos\"").start();
    assert_eq!(ask(pinned.address, "GET", "/k", b"").status, 200);
}

#[test]
fn a_long_bucket_space_is_asked_by_its_alias_and_an_alias_is_rejected_by_name() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    let space = "a".repeat(49);
    let name = format!("{space}-1234567890123456-cn-hangzhou-bs-apsr");
    let head = seen(&upstream, &proxy, &format!("/{name}/k"), &proxy.address.to_string());
    assert!(head.starts_with("GET /k HTTP/1.1\r\n"), "{head}");
    let alias = format!("{space}-alias-bs-apsr.oss-cn-hangzhou.aliyuncs.com");
    assert_eq!(line_of(&head, "host"), Some(&*alias));
    let rejected = Client::connect(proxy.address).ask("GET", "/k", &alias, "", b"");
    assert_eq!((rejected.status, rejected.refused()), (400, Some("invalid-bucket")));
    assert!(rejected.text().contains("alias of a bucket space"), "{}", rejected.text());
}

#[test]
fn a_custom_domain_is_served_beside_other_buckets() {
    let oss = crate::support::oss();
    for signature in ["v4", "v1"] {
        let route = format!(
            "[[route]]\nmatch = {{ bucket = \"photos\" }}\nregion = \"cn-hangzhou\"\nbucket = \"photos\"\n\
             endpoint = \"http://img.example.com\"\naddressing = \"cname\"\nconnect = \"{}\"\n",
            oss.address
        );
        let proxy =
            proxy(oss.address).upstream(&format!("signature = \"{signature}\"")).sections(&route).start();
        let own = proxy.address.to_string();
        for (target, host, bucket) in [
            ("/photos/k", own.as_str(), "photos"),
            ("/k", "img.example.com", "photos"),
            ("/k", "photos.oss-cn-hangzhou.aliyuncs.com", "photos"),
            ("/files/k", own.as_str(), "files"),
        ] {
            let body = format!("{signature} {target} {host}");
            let put = Client::connect(proxy.address).ask("PUT", target, host, "", body.as_bytes());
            assert_eq!(put.status, 200, "{body}: {}", put.text());
            let object = oss.service.object(&crate::support::bucket(bucket), b"k");
            assert_eq!(object.as_deref(), Some(body.as_bytes()));
        }
    }
}

#[test]
fn names_of_vector_and_table_buckets_are_rejected_by_name_wherever_a_name_is_given() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    for (family, service) in [("oss-vectors", "vector buckets"), ("oss-tables", "table buckets")] {
        for host in ["photos-1234567890123456.cn-hangzhou", "cn-hangzhou-internal"] {
            let host = format!("{host}.{family}.aliyuncs.com");
            for (target, named) in [("/k", host.clone()), (&*format!("http://{host}/k"), host.clone())] {
                let got = Client::connect(proxy.address).ask("GET", target, &named, "", b"");
                assert_eq!((got.status, got.refused()), (421, Some("unknown-host")), "{target}");
                assert!(got.text().contains(service), "{}", got.text());
            }
            let (url, endpoint) = (format!("http://{host}/k"), format!("https://{host}"));
            let region = ["--region", "cn-hangzhou"];
            for command in [
                [&["presign", "GET", &url, "--expires", "1m"][..], &region].concat(),
                [&["explain", "GET", &url][..], &region].concat(),
                vec!["check", "--endpoint", &endpoint],
            ] {
                let (code, out, errors) = run(&command, &KEY);
                assert!(
                    code != Some(0) && format!("{out}{errors}").contains(service),
                    "{command:?}: {out}{errors}"
                );
            }
        }
    }
    assert!(upstream.heads().is_empty());
}
