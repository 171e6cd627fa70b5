//! `[[route]]`: settings that a route inherits from `[upstream]`, and settings that it must have
//! itself.

use super::{UPSTREAM, load, loaded, mistakes, refused, warned};
use crate::address::{BucketAddressing, UpstreamId};
use crate::sign::SignatureVersion;

fn routed(settings: &str) -> String {
    format!("{UPSTREAM}bucket = \"photos\"\nconnect = \"127.0.0.1:9000\"\n[[route]]\n{settings}")
}

#[test]
fn a_route_that_sets_one_of_the_five_takes_none_of_them() {
    let text = routed("match.host = \"Files.Example.com\"\nregion = \"us-west-1\"");
    let config = loaded(&text);
    let upstream = config.routing_table.get(UpstreamId(1));
    assert_eq!(upstream.endpoint.host.as_str(), "oss-us-west-1.aliyuncs.com");
    assert_eq!((&upstream.pin, &upstream.connect), (&None, &None));
    let text = routed("match.host = \"files.example.com\"\nbucket = \"photos\"");
    refused(&text, "proxy.toml:5: route.region", "missing region");
}

#[test]
fn a_route_that_sets_none_of_the_five_takes_them_all() {
    let text = format!(
        "{}\n[credentials.logs]\ntype = \"env\"",
        routed("match.host = \"f.example\"\ncredentials = \"logs\"")
    );
    let config = loaded(&text);
    assert_eq!(config.routing_table.get(UpstreamId(1)), config.routing_table.get(UpstreamId(0)));
    let names: Vec<_> = config.upstreams.iter().map(|u| u.credentials.as_str()).collect();
    assert_eq!(names, ["default", "logs"]);
}

#[test]
fn addressing_signature_and_credentials_are_inherited() {
    let text = r#"[upstream]
region = "cn-hangzhou"
endpoint = "https://ep-x.oss.example"
addressing = "path"
signature = "v1"
credentials = "own"
[credentials.own]
type = "env"
[[route]]
match = { bucket = "logs-*" }
endpoint = "https://ep-y.oss.example"
"#;
    let config = loaded(text);
    assert_eq!(config.routing_table.get(UpstreamId(1)).addressing, BucketAddressing::Path);
    assert_eq!(config.upstreams[1].signature, SignatureVersion::V1);
    assert_eq!(config.upstreams[1].credentials, "own");
    let sources: Vec<_> = config.credentials.iter().map(|named| named.name.as_str()).collect();
    assert_eq!(sources, ["own"]);
    for key in ["signature", "ca_file", "tell_upstream"] {
        let text = routed(&format!("match.host = \"f.example\"\nregion = \"us-west-1\"\n{key} = \"x\""));
        refused(&text, &format!("proxy.toml:8: route.{key}"), "set it in [upstream]");
    }
}

#[test]
fn cname_is_checked_for_routes_too() {
    let text = r#"[upstream]
region = "cn-hangzhou"
endpoint = "https://img.example"
bucket = "photos"
addressing = "cname"
[[route]]
match.host = "f.example"
region = "cn-hangzhou"
endpoint = "https://f.example"
"#;
    refused(text, "proxy.toml:6: route.bucket", "cname addressing requires the bucket");
    assert_eq!(
        loaded(&format!("{text}bucket = \"files\"")).routing_table.get(UpstreamId(1)).addressing,
        BucketAddressing::Cname
    );
}

#[test]
fn a_route_has_a_custom_domain_beside_other_buckets() {
    let route = "match.bucket = \"photos\"\nregion = \"cn-hangzhou\"\nendpoint = \"https://img.example.com\"\n\
                 bucket = \"photos\"\n";
    let text = format!("{UPSTREAM}[[route]]\n{route}addressing = \"cname\"");
    let config = loaded(&text);
    let [default, route_upstream] = [0, 1].map(|id| config.routing_table.get(UpstreamId(id)));
    assert_eq!(
        (default.addressing, route_upstream.addressing),
        (BucketAddressing::Virtual, BucketAddressing::Cname)
    );
    assert_eq!(route_upstream.endpoint.host.as_str(), "img.example.com");
    let path = format!("{UPSTREAM}[[route]]\n{route}addressing = \"path\"");
    assert_eq!(loaded(&path).routing_table.get(UpstreamId(1)).addressing, BucketAddressing::Path);

    let without = |line: &str| text.replace(line, "");
    for (text, place, words) in [
        (
            text.replace("\nbucket = \"photos\"", ""),
            "proxy.toml:3: route.bucket",
            "cname addressing requires the bucket",
        ),
        (
            without("endpoint = \"https://img.example.com\"\n"),
            "proxy.toml:3: route.endpoint",
            "remove addressing",
        ),
        (text.replace("\"cname\"", "\"dns\""), "proxy.toml:8: route.addressing", "virtual, path, cname"),
        (
            format!("{UPSTREAM}[[route]]\nmatch.bucket = \"photos\"\naddressing = \"path\""),
            "proxy.toml:3: route.region",
            "missing region",
        ),
    ] {
        refused(&text, place, words);
    }
}

#[test]
fn a_route_to_an_endpoint_of_oss_is_addressed_as_oss_wants_it() {
    for (endpoint, addressing) in [("https://img.example", "cname"), ("https://link.example", "path")] {
        let text = format!(
            "[upstream]\nregion = \"cn-hangzhou\"\nendpoint = \"{endpoint}\"\nbucket = \"photos\"\naddressing = \"{addressing}\"\n\
             [[route]]\nmatch.bucket = \"logs-*\"\nregion = \"us-west-1\"\n"
        );
        let config = loaded(&text);
        assert_eq!(
            config.routing_table.get(UpstreamId(1)).addressing,
            BucketAddressing::Virtual,
            "{addressing}"
        );
    }
}

#[test]
fn a_route_has_a_match_and_an_effect() {
    refused(&routed("region = \"us-west-1\""), "proxy.toml:5: route.match", "must match something");
    refused(
        &routed("match = {}\nregion = \"us-west-1\""),
        "proxy.toml:6: route.match",
        "must match something",
    );
    refused(&routed("match.host = \"f.example\""), "proxy.toml:5: route", "must change something");
}

#[test]
fn a_host_pattern_names_somebody() {
    for pattern in ["*", "**", "*.*", "."] {
        let text = routed(&format!(
            "match = {{ host = \"{pattern}\", bucket = \"photos\" }}\ncredentials = \"default\""
        ));
        refused(&text, "proxy.toml:6: route.match.host", "DNS rebinding");
    }
    warned(
        &routed("match.host = \"files.*\"\ncredentials = \"default\""),
        "proxy.toml:6: route.match.host",
        "DNS rebinding",
    );
    refused(
        &routed("match.host = \"f.example:8770\"\ncredentials = \"default\""),
        "proxy.toml:6: route.match.host",
        "remove it",
    );
    for host in ["b-1.cn-hangzhou.oss-vectors.aliyuncs.com", "*.oss-tables.aliyuncs.com"] {
        let text = routed(&format!("match.host = \"{host}\"\ncredentials = \"default\""));
        refused(&text, "proxy.toml:6: route.match.host", "only object API requests are signed");
    }
    refused(
        &routed("match.bucket = \"Logs\"\ncredentials = \"default\""),
        "proxy.toml:6: route.match.bucket",
        "invalid pattern",
    );
}

#[test]
fn a_route_that_no_request_can_take_is_refused() {
    let text = routed("match.bucket = \"logs-*\"\ncredentials = \"default\"");
    refused(&text, "proxy.toml:5: route", "no request can use it");
    let text = routed("match.bucket = \"logs-*\"\nregion = \"us-west-1\"\nbucket = \"photos\"");
    refused(&text, "proxy.toml:5: route", "no request can use it");
    loaded(&routed("match.bucket = \"logs-*\"\nregion = \"us-west-1\"\nbucket = \"logs-a\""));
}

#[test]
fn routes_that_contradict_themselves_are_all_reported() {
    let text = format!(
        "{UPSTREAM}[[route]]\nmatch.host = \"a.example\"\nendpoint = \"https://oss-y-1.aliyuncs.com\"\n\
         [[route]]\nmatch.host = \"b.example\"\nconnect = \"127.0.0.1:8770\"\nregion = \"x-1\"\n\
         [[route]]\nmatch.host = \"c.example\"\ncredentials = \"none\""
    );
    let shown = mistakes(load(&text));
    let places: Vec<_> =
        shown.iter().map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(": ")).collect();
    assert_eq!(
        places,
        ["proxy.toml:3: route.region", "proxy.toml:8: route.connect", "proxy.toml:12: route.credentials"]
    );
    assert!(shown[2].contains("expected one of default"), "{shown:?}");
}
