//! Interpretation of hosts, and the destinations of the requests, row by row.

use http::{HeaderMap, HeaderValue, Method, Uri, header};

use super::{ListenerNames, LocateError, LocatedObject};
use crate::address::{
    BucketAddressing, Endpoint, Host, NamePattern, ResolvedEndpoint, RouteMatch, RoutingTable,
    UpstreamAddress, UrlScheme,
};
use crate::oss::{Bucket, Region};

fn upstream(region: &str, endpoint: &str) -> UpstreamAddress {
    UpstreamAddress {
        region: Region::parse(region).ok(),
        endpoint: Endpoint::parse(endpoint).expect("an endpoint"),
        addressing: BucketAddressing::Virtual,
        pin: None,
        connect: None,
    }
}

fn hangzhou() -> UpstreamAddress {
    upstream("cn-hangzhou", "https://oss-cn-hangzhou.aliyuncs.com")
}

fn matching(host: Option<&str>, bucket: Option<&str>) -> RouteMatch {
    let pattern = |text: &str| NamePattern::parse(text).expect("a pattern");
    RouteMatch { host: host.map(pattern), bucket: bucket.map(pattern), caller: None }
}

#[test]
fn a_route_for_a_caller_is_selected_after_the_caller_is_known() {
    let pattern = |text: &str| Some(NamePattern::parse(text).expect("a pattern"));
    let of_caller = |caller: &str, bucket: Option<&str>| RouteMatch {
        host: None,
        bucket: bucket.and_then(pattern),
        caller: pattern(caller),
    };
    let pinned = UpstreamAddress { pin: Bucket::parse("only").ok(), ..hangzhou() };
    let directory = RoutingTable::new(
        hangzhou(),
        vec![
            (of_caller("team-a", Some("logs-*")), hangzhou()),
            (matching(None, Some("photos")), hangzhou()),
            (of_caller("team-*", None), hangzhou()),
            (of_caller("pinned", None), pinned),
        ],
    );
    let rows = [
        ("logs-1", "team-a", Ok(1)),
        ("logs-1", "team-b", Ok(3)),
        ("photos", "team-a", Ok(2)),
        ("other", "team-a", Ok(3)),
        ("other", "someone", Ok(0)),
        ("only", "pinned", Ok(4)),
        ("other", "pinned", Err(())),
    ];
    for (bucket, caller, expected) in rows {
        let mut found = find(&directory, "GET", &format!("/{bucket}/k"), &["127.0.0.1"]).expect("an object");
        assert_ne!(found.upstream.0, 1, "without a caller");
        let result = found.route_for_caller(caller, &directory).map(|()| found.upstream.0);
        assert_eq!(result.map_err(drop), expected, "{bucket} {caller}");
    }
}

fn find(
    directory: &RoutingTable,
    method: &str,
    target: &str,
    hosts: &[&'static str],
) -> Result<LocatedObject, LocateError> {
    let mut headers = HeaderMap::new();
    for host in hosts {
        headers.append(header::HOST, HeaderValue::from_static(host));
    }
    let method: Method = method.parse().expect("a method");
    let uri: Uri = target.parse().expect("a target");
    let domains = ["oss.example.internal".to_owned()];
    let entrance =
        ListenerNames { domains: &domains, scheme: UrlScheme::Http, unnamed: false, address: None };
    LocatedObject::find(&method, &uri, &headers, (entrance, directory))
}

struct Sent {
    endpoint: ResolvedEndpoint,
    target: String,
}

fn sent(directory: &RoutingTable, target: &str, host: &'static str) -> Sent {
    let located = find(directory, "GET", target, &[host]).expect("a located request");
    let way = ResolvedEndpoint::resolve(&located, directory);
    Sent { target: way.target(&located), endpoint: way }
}

#[test]
fn every_form_of_address_finds_the_same_object() {
    let directory = RoutingTable::new(hangzhou(), Vec::new());
    for (target, host) in [
        ("/photos/a/b%20c", "127.0.0.1:8770"),
        ("/photos/a/b%20c", "[::1]:8770"),
        ("/photos/a/b%20c", "localhost"),
        ("/photos/a/b%20c", "oss.example.internal:80"),
        ("/a/b%20c", "photos.oss.example.internal"),
        ("/a/b%20c", "PHOTOS.oss-cn-hangzhou.aliyuncs.com."),
        ("/a/b%20c", "photos.oss-cn-hangzhou-internal.aliyuncs.com"),
        ("/a/b%20c", "photos.cn-hangzhou.oss.aliyuncs.com"),
        ("/photos/a/b%20c", "oss-cn-hangzhou.aliyuncs.com"),
        ("http://photos.oss-cn-hangzhou.aliyuncs.com/a/b%20c", "ignored.example"),
    ] {
        let out = sent(&directory, target, host);
        assert_eq!(
            (out.endpoint.host.as_str(), out.target.as_str()),
            ("photos.oss-cn-hangzhou.aliyuncs.com", "/a/b%20c"),
            "{host} {target}"
        );
    }
}

#[test]
fn a_bucket_of_the_early_years_has_an_underscore_in_every_form() {
    let directory = RoutingTable::new(hangzhou(), Vec::new());
    for (target, host) in [
        ("/old_photos/k", "127.0.0.1:8770"),
        ("/old%5Fphotos/k", "localhost"),
        ("/k", "old_photos.oss.example.internal"),
        ("/k", "old_photos.oss-cn-hangzhou.aliyuncs.com"),
        ("/old_photos/k", "oss-cn-hangzhou.aliyuncs.com"),
        ("http://old_photos.oss-cn-hangzhou.aliyuncs.com/k", "ignored.example"),
        ("http://oss-cn-hangzhou.aliyuncs.com/old_photos/k", "oss-cn-hangzhou.aliyuncs.com"),
    ] {
        let out = sent(&directory, target, host);
        assert_eq!(
            (out.endpoint.name.as_str(), out.target.as_str()),
            ("old_photos.oss-cn-hangzhou.aliyuncs.com", "/k"),
            "{host} {target}"
        );
    }
}

#[test]
fn a_bucket_space_is_asked_by_its_alias_and_signed_by_its_full_name() {
    let name = format!("{}-1234567890123456-cn-hangzhou-bs-apsr", "space-".repeat(6) + "a");
    let directory = RoutingTable::new(hangzhou(), Vec::new());
    let located = find(&directory, "GET", &format!("/{name}/k"), &["127.0.0.1"]).expect("a located request");
    assert_eq!(located.bucket.as_ref().map(Bucket::as_str), Some(&*name));
    let way = ResolvedEndpoint::resolve(&located, &directory);
    let alias = format!("{}-alias-bs-apsr", "space-".repeat(6) + "a");
    assert_eq!(way.host, format!("{alias}.oss-cn-hangzhou.aliyuncs.com"));
    let refused = find(&directory, "GET", "/k", &["my-space-alias-bs-apsr.oss-cn-hangzhou.aliyuncs.com"]);
    let error = refused.expect_err("an alias").to_string();
    assert!(error.contains("my-space-alias-bs-apsr") && error.contains("ACCOUNT"), "{error}");
}

#[test]
fn the_root_without_a_bucket_is_the_service() {
    let directory = RoutingTable::new(hangzhou(), Vec::new());
    let out = sent(&directory, "/", "127.0.0.1");
    assert_eq!((out.endpoint.host.as_str(), out.target.as_str()), ("oss-cn-hangzhou.aliyuncs.com", "/"));
    for method in ["PUT", "POST", "DELETE"] {
        assert!(matches!(find(&directory, method, "/", &["127.0.0.1"]), Err(LocateError::NoBucket)));
    }
}

#[test]
fn unknown_hosts_are_refused() {
    let directory = RoutingTable::new(hangzhou(), Vec::new());
    for host in
        ["evil.example", "oss-cn-hangzhou.aliyuncs.com.evil.example", "example.internal", "localhost.evil"]
    {
        assert!(
            matches!(find(&directory, "GET", "/b/k", &[host]), Err(LocateError::UnknownHost(_))),
            "{host}"
        );
    }
}

#[test]
fn one_host_is_needed_and_only_one() {
    let directory = RoutingTable::new(hangzhou(), Vec::new());
    for hosts in [&[][..], &["127.0.0.1", "127.0.0.1"], &[""], &["u@127.0.0.1"]] {
        assert!(
            matches!(find(&directory, "GET", "/b/k", hosts), Err(LocateError::Malformed(_))),
            "{hosts:?}"
        );
    }
}

#[test]
fn an_empty_or_wrong_bucket_label_is_refused() {
    let directory = RoutingTable::new(hangzhou(), Vec::new());
    for host in
        [".oss-cn-hangzhou.aliyuncs.com", "_ab.oss-cn-hangzhou.aliyuncs.com", "a.b.oss.example.internal"]
    {
        assert!(matches!(find(&directory, "GET", "/k", &[host]), Err(LocateError::Bucket(_))), "{host}");
    }
    assert!(matches!(find(&directory, "GET", "//k", &["127.0.0.1"]), Err(LocateError::Bucket(_))));
}

#[test]
fn another_region_in_the_host_goes_to_that_regions_own_name() {
    let internal = upstream("cn-hangzhou", "https://oss-cn-hangzhou-internal.aliyuncs.com");
    let directory = RoutingTable::new(internal, Vec::new());
    for (host, expected, region) in [
        (
            "photos.oss-cn-hangzhou.aliyuncs.com",
            "photos.oss-cn-hangzhou-internal.aliyuncs.com",
            "cn-hangzhou",
        ),
        ("photos.oss-us-west-1.aliyuncs.com", "photos.oss-us-west-1.aliyuncs.com", "us-west-1"),
        (
            "photos.oss-us-west-1-internal.aliyuncs.com",
            "photos.oss-us-west-1-internal.aliyuncs.com",
            "us-west-1",
        ),
        ("photos.oss-accelerate.aliyuncs.com", "photos.oss-accelerate.aliyuncs.com", "cn-hangzhou"),
    ] {
        let out = sent(&directory, "/k", host);
        assert_eq!(
            (out.endpoint.host.as_str(), out.endpoint.region.as_ref().map(Region::as_str)),
            (expected, Some(region)),
            "{host}"
        );
        assert!(out.endpoint.dials_oss_name);
    }
}

#[test]
fn a_pin_makes_the_whole_path_the_key_and_refuses_other_buckets() {
    let mut pinned = hangzhou();
    pinned.pin = Bucket::parse("photos").ok();
    let directory = RoutingTable::new(pinned, Vec::new());
    for host in
        ["127.0.0.1", "oss.example.internal", "oss-cn-hangzhou.aliyuncs.com", "photos.oss.example.internal"]
    {
        let out = sent(&directory, "/other/k", host);
        assert_eq!(
            (out.endpoint.host.as_str(), out.target.as_str()),
            ("photos.oss-cn-hangzhou.aliyuncs.com", "/other/k")
        );
    }
    let refused = find(&directory, "GET", "/k", &["other.oss.example.internal"]);
    assert!(matches!(refused, Err(LocateError::Pinned(_))));
}

#[test]
fn a_cname_is_asked_by_its_own_name() {
    let mut cname = upstream("cn-hangzhou", "https://img.example.com");
    cname.addressing = BucketAddressing::Cname;
    cname.pin = Bucket::parse("photos").ok();
    let directory = RoutingTable::new(cname, Vec::new());
    for (target, host) in
        [("/k", "127.0.0.1"), ("/k", "img.example.com"), ("/k", "photos.oss-cn-hangzhou.aliyuncs.com")]
    {
        let out = sent(&directory, target, host);
        assert_eq!((out.endpoint.host.as_str(), out.target.as_str()), ("img.example.com", "/k"), "{host}");
    }
}

#[test]
fn addresses_are_asked_in_path_style() {
    let mut local = upstream("cn-hangzhou", "http://127.0.0.1:9000");
    local.addressing = BucketAddressing::Path;
    let directory = RoutingTable::new(local, Vec::new());
    let out = sent(&directory, "/k?acl", "photos.oss.example.internal");
    assert_eq!((out.endpoint.host.as_str(), out.target.as_str()), ("127.0.0.1:9000", "/photos/k?acl"));
    assert_eq!(sent(&directory, "/photos", "127.0.0.1").target, "/photos/");
}

#[test]
fn connect_changes_what_is_dialled_and_nothing_else() {
    let mut tunnelled = hangzhou();
    tunnelled.connect = Host::parse("127.0.0.1").ok().map(|(host, _)| (host, 9000));
    let directory = RoutingTable::new(tunnelled, Vec::new());
    for host in ["photos.oss-cn-hangzhou.aliyuncs.com", "photos.oss-us-west-1.aliyuncs.com"] {
        let out = sent(&directory, "/k", host);
        assert_eq!(
            (out.endpoint.name.as_str(), out.endpoint.dial, out.endpoint.dials_oss_name),
            (host, ("127.0.0.1".to_owned(), 9000), false)
        );
    }
}

#[test]
fn the_first_route_that_matches_wins() {
    let singapore = || upstream("ap-southeast-1", "https://oss-ap-southeast-1.aliyuncs.com");
    let mut files = upstream("us-west-1", "https://oss-us-west-1.aliyuncs.com");
    files.pin = Bucket::parse("files").ok();
    let directory = RoutingTable::new(
        hangzhou(),
        vec![
            (matching(None, Some("logs-*")), singapore()),
            (matching(Some("files.example.com"), None), files),
            (matching(Some("*.example.com"), None), singapore()),
        ],
    );
    let host = |target, host| sent(&directory, target, host).endpoint.host;
    assert_eq!(host("/logs-a/k", "127.0.0.1"), "logs-a.oss-ap-southeast-1.aliyuncs.com");
    assert_eq!(host("/photos/k", "127.0.0.1"), "photos.oss-cn-hangzhou.aliyuncs.com");
    assert_eq!(host("/a/b", "files.example.com"), "files.oss-us-west-1.aliyuncs.com");
    assert_eq!(host("/photos/k", "x.example.com"), "photos.oss-ap-southeast-1.aliyuncs.com");
    assert_eq!(host("/k", "logs-a.oss-cn-hangzhou.aliyuncs.com"), "logs-a.oss-cn-hangzhou.aliyuncs.com");
}

#[test]
fn a_host_that_a_route_spells_out_is_no_bucket_of_a_domain() {
    let mut pinned = upstream("us-west-1", "https://oss-us-west-1.aliyuncs.com");
    pinned.pin = Bucket::parse("photos").ok();
    let directory = RoutingTable::new(
        hangzhou(),
        vec![
            (matching(Some("files.oss.example.internal"), None), pinned),
            (
                matching(Some("*.example.internal"), None),
                upstream("us-east-1", "https://oss-us-east-1.aliyuncs.com"),
            ),
        ],
    );
    let out = sent(&directory, "/a/b", "files.oss.example.internal");
    assert_eq!(
        (out.endpoint.host.as_str(), out.target.as_str()),
        ("photos.oss-us-west-1.aliyuncs.com", "/a/b")
    );
    let out = sent(&directory, "/a/b", "other.oss.example.internal");
    assert_eq!(
        (out.endpoint.host.as_str(), out.target.as_str()),
        ("other.oss-us-east-1.aliyuncs.com", "/a/b")
    );
}

#[test]
fn operations_on_objects_need_a_key() {
    let directory = RoutingTable::new(hangzhou(), Vec::new());
    for (method, target) in [("POST", "/photos/?uploads"), ("PUT", "/photos?partNumber=1&uploadId=x")] {
        assert!(
            matches!(find(&directory, method, target, &["127.0.0.1"]), Err(LocateError::NoKey(_))),
            "{target}"
        );
    }
}

#[test]
fn targets_that_are_no_path_are_refused() {
    let directory = RoutingTable::new(hangzhou(), Vec::new());
    for target in ["*", "https://photos.oss-cn-hangzhou.aliyuncs.com/k", "ftp://127.0.0.1/b/k", "photos"] {
        assert!(
            matches!(find(&directory, "GET", target, &["127.0.0.1"]), Err(LocateError::Malformed(_))),
            "{target}"
        );
    }
    assert!(matches!(find(&directory, "CONNECT", "a:443", &["a:443"]), Err(LocateError::Tunnel)));
}
