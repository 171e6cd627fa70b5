//! `[upstream]`: settings that require, imply or contradict each other.

use super::{World, load, load_in, loaded, mistakes, refused, warned};
use crate::address::{BucketAddressing, Endpoint, UpstreamAddress, UpstreamId, UrlScheme};
use crate::sign::SignatureVersion;

fn text(settings: &str) -> String {
    format!("[upstream]\n{settings}")
}

#[track_caller]
fn upstream(settings: &str) -> UpstreamAddress {
    loaded(&text(settings)).routing_table.get(UpstreamId(0)).clone()
}

fn endpoint(text: &str) -> Endpoint {
    Endpoint::parse(text).expect("an endpoint")
}

#[test]
fn a_region_implies_the_rest() {
    let upstream = upstream("region = \"cn-hangzhou\"");
    assert_eq!(upstream.region.as_ref().map(|r| r.as_str()), Some("cn-hangzhou"));
    assert_eq!(upstream.endpoint, endpoint("https://oss-cn-hangzhou.aliyuncs.com"));
    assert_eq!(upstream.addressing, BucketAddressing::Virtual);
    assert_eq!((upstream.pin, upstream.connect), (None, None));
    let config = loaded(&text("region = \"cn-hangzhou\""));
    assert_eq!(config.upstreams[0].signature, SignatureVersion::V4);
    assert_eq!(config.upstreams[0].credentials, "default");
    assert!(config.warnings.is_empty());
}

#[test]
fn internal_implies_the_internal_endpoint() {
    let upstream = upstream("region = \"cn-hangzhou\"\ninternal = true");
    assert_eq!(upstream.endpoint, endpoint("https://oss-cn-hangzhou-internal.aliyuncs.com"));
}

#[test]
fn an_endpoint_of_oss_tells_the_region() {
    for name in
        ["oss-us-west-1.aliyuncs.com", "oss-us-west-1-internal.aliyuncs.com", "us-west-1.oss.aliyuncs.com"]
    {
        let upstream = upstream(&format!("endpoint = \"https://{name}\""));
        assert_eq!(upstream.region.as_ref().map(|r| r.as_str()), Some("us-west-1"));
    }
    for name in ["oss-accelerate.aliyuncs.com", "oss.example"] {
        let text = text(&format!("endpoint = \"https://{name}\""));
        refused(&text, "proxy.toml:1: upstream.region", "missing region");
    }
    refused("", "proxy.toml: upstream.region", "missing region");
}

#[test]
fn a_configured_region_goes_before_the_one_in_the_name_of_the_endpoint() {
    let text = text("region = \"cn-hangzhou\"\nendpoint = \"https://oss-cn-beijing.aliyuncs.com\"");
    warned(
        &text,
        "proxy.toml:3: upstream.endpoint",
        "signed for region cn-hangzhou, set by proxy.toml:2: upstream.region",
    );
    let region = loaded(&text).routing_table.get(UpstreamId(0)).region.clone();
    assert_eq!(region.as_ref().map(|region| region.as_str()), Some("cn-hangzhou"));
}

#[test]
fn internal_must_agree_with_the_endpoint() {
    let rows = [("true", "https://oss-cn-hangzhou.aliyuncs.com"), ("true", "https://oss.example")];
    for (internal, endpoint) in rows {
        let settings = format!("region = \"cn-hangzhou\"\ninternal = {internal}\nendpoint = \"{endpoint}\"");
        refused(&text(&settings), "proxy.toml:4: upstream.endpoint", "remove internal");
    }
    for internal in ["true", "false"] {
        upstream(&format!(
            "internal = {internal}\nendpoint = \"https://oss-cn-hangzhou-internal.aliyuncs.com\""
        ));
    }
}

#[test]
fn values_are_read_before_they_are_compared() {
    let rows = [
        ("region = \"oss-cn-hangzhou\"", "upstream.region", "invalid region ID"),
        ("bucket = \"My.Bucket\"\nregion = \"cn-hangzhou\"", "upstream.bucket", "invalid bucket name"),
        ("endpoint = \"oss.example\"", "upstream.endpoint", "https://"),
        ("endpoint = \"https://oss.example/x\"", "upstream.endpoint", "more than a host"),
        ("connect = \"tunnel.example\"\nregion = \"cn-hangzhou\"", "upstream.connect", "HOST:PORT"),
        ("connect = \"x:0\"", "upstream.connect", "HOST:PORT"),
        ("addressing = \"dns\"", "upstream.addressing", "virtual, path, cname"),
        ("signature = \"V4\"", "upstream.signature", "v4, v1"),
    ];
    for (settings, key, words) in rows {
        refused(&text(settings), &format!("proxy.toml:2: {key}"), words);
    }
}

#[test]
fn a_password_in_an_endpoint_is_not_repeated() {
    for key in ["endpoint = \"https://id:hunter2@oss.example\"", "connect = \"id:hunter2@h:1\""] {
        let shown = mistakes(load(&text(key))).concat();
        assert!(shown.contains("must not contain @") && !shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn an_address_is_asked_in_path_style() {
    for host in ["127.0.0.1:9000", "localhost:9000", "[::1]:9000", "10.0.0.1"] {
        let settings = format!("region = \"cn-hangzhou\"\nendpoint = \"https://{host}\"");
        assert_eq!(upstream(&settings).addressing, BucketAddressing::Path);
        for addressing in ["virtual", "cname"] {
            let settings = format!("{settings}\nbucket = \"photos\"\naddressing = \"{addressing}\"");
            refused(&text(&settings), "proxy.toml:3: upstream.endpoint", "is an address");
        }
    }
}

#[test]
fn cname_needs_a_bucket_and_a_name_of_its_own() {
    let settings = "region = \"cn-hangzhou\"\naddressing = \"cname\"\n";
    let named = format!("{settings}endpoint = \"https://img.example\"\n");
    refused(&text(&named), "proxy.toml:1: upstream.bucket", "cname addressing requires the bucket");
    let upstream = upstream(&format!("{named}bucket = \"photos\""));
    assert_eq!(upstream.addressing, BucketAddressing::Cname);
    let unnamed = format!("{settings}bucket = \"photos\"");
    refused(&text(&unnamed), "proxy.toml:1: upstream.endpoint", "a custom domain of the bucket");
    assert_eq!(mistakes(load(&text(settings))).len(), 2);
}

#[test]
fn an_endpoint_has_no_bucket_before_it() {
    let settings = "endpoint = \"https://photos.oss-cn-hangzhou.aliyuncs.com\"";
    refused(&text(settings), "proxy.toml:2: upstream.endpoint", "\"photos.\"");
    let cname = format!("{settings}\nbucket = \"photos\"\naddressing = \"cname\"");
    assert_eq!(upstream(&cname).addressing, BucketAddressing::Cname);
}

#[test]
fn a_plain_endpoint_is_warned_about_once_unless_it_stays_here() {
    let settings = "region = \"cn-hangzhou\"\nendpoint = \"http://oss.example\"";
    let routed = "[[route]]\nmatch.bucket = \"a-*\"\ncredentials = \"default\"";
    warned(&text(&format!("{settings}\n{routed}")), "proxy.toml:3: upstream.endpoint", "unencrypted");
    for settings in [
        "endpoint = \"http://127.0.0.1:9000\"",
        "endpoint = \"http://oss.example\"\nconnect = \"localhost:9000\"",
    ] {
        let config = loaded(&text(&format!("region = \"cn-hangzhou\"\n{settings}")));
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        assert_eq!(config.routing_table.get(UpstreamId(0)).endpoint.scheme, UrlScheme::Http);
    }
}

#[test]
fn path_addressing_on_an_endpoint_of_oss_is_warned_about() {
    warned(
        &text("region = \"cn-hangzhou\"\naddressing = \"path\""),
        "proxy.toml:1: upstream.endpoint",
        "PrivateLink",
    );
}

#[test]
fn v1_needs_no_region_but_somewhere_to_go() {
    let upstream = upstream("signature = \"v1\"\nendpoint = \"https://oss.example\"");
    assert_eq!(upstream.region, None);
    refused(&text("signature = \"v1\""), "proxy.toml:1: upstream.region", "missing region or endpoint");
}

#[test]
fn a_cloudbox_takes_v4_and_an_endpoint() {
    let settings = "region = \"cb-f8z7yvzgwfkl9q0h\"\n";
    refused(
        &text(settings),
        "proxy.toml:2: upstream.region",
        "https://cb-f8z7yvzgwfkl9q0h.REGION.oss-cloudbox.aliyuncs.com",
    );
    let settings = format!(
        "{settings}endpoint = \"https://cb-f8z7yvzgwfkl9q0h.cn-hangzhou.oss-cloudbox.aliyuncs.com\"\n"
    );
    upstream(&settings);
    refused(&text(&format!("{settings}signature = \"v1\"")), "proxy.toml:4: upstream.signature", "only V4");
    let routed = format!("{settings}signature = \"v1\"\n[[route]]\nmatch.host = \"f.example\"\n{settings}");
    refused(&text(&routed), "proxy.toml:4: upstream.signature", "only V4");
}

#[test]
fn what_is_dialled_is_never_ourselves() {
    let region = "region = \"cn-hangzhou\"\n";
    for target in ["127.0.0.1:8770", "localhost:8770", "0.0.0.0:8770", "[::ffff:127.0.0.1]:8770"] {
        refused(
            &text(&format!("{region}connect = \"{target}\"")),
            "proxy.toml:3: upstream.connect",
            "a listener of this proxy",
        );
    }
    refused(
        &text(&format!("{region}endpoint = \"http://127.0.0.1:8770\"")),
        "proxy.toml:3: upstream.endpoint",
        "a listener of this proxy",
    );
    upstream(&format!("{region}connect = \"127.0.0.1:9000\""));
}

#[test]
fn a_file_of_certificates_must_be_readable() {
    let world = World { files: [("ca.pem", ("-----BEGIN", true))].into(), ..World::default() };
    let text = |path: &str| text(&format!("region = \"cn-hangzhou\"\nca_file = \"{path}\""));
    let config = load_in(&world, &text("ca.pem"), &[]).expect("a configuration");
    assert_eq!(config.upstreams[0].ca_file.as_deref(), Some("ca.pem".as_ref()));
    let shown = mistakes(load_in(&world, &text("other.pem"), &[]));
    assert!(
        shown[0].starts_with("proxy.toml:3: upstream.ca_file: cannot read \"other.pem\": ")
            && shown[0].contains("set the path of a readable PEM file"),
        "{shown:?}"
    );
}

#[test]
fn the_advice_for_an_endpoint_without_a_scheme_repeats_its_name() {
    for (given, words) in [
        ("oss-cn-beijing.aliyuncs.com", "write https://oss-cn-beijing.aliyuncs.com"),
        ("files.example.com:8443", "write https://files.example.com:8443"),
        ("127.0.0.1:9000", "write https://127.0.0.1:9000"),
        ("//img.example.com", "write https://img.example.com"),
        ("htps://img.example.com", "write https://img.example.com"),
        ("img.example.com/b", "write https://oss-cn-hangzhou.aliyuncs.com"),
        ("https://img.example.com/b", "has more than a host and a port; write https://"),
    ] {
        let settings = format!("region = \"cn-beijing\"\nendpoint = \"{given}\"");
        refused(&text(&settings), "proxy.toml:3: upstream.endpoint", words);
    }
}
