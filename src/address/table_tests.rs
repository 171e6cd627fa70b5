//! Every row of `tests/vectors/endpoints.json`: the interpretation of a Host, and of a configured
//! endpoint.

use http::{HeaderMap, HeaderValue, Method, Uri, header};
use serde_json::{Value, json};

use super::{
    BucketAddressing, Endpoint, EndpointKind, ListenerNames, LocateError, LocatedObject, OssName,
    ResolvedEndpoint, RoutingTable, UpstreamAddress, UrlScheme,
};
use crate::oss::{Bucket, Region};

fn table(part: &str) -> Vec<Value> {
    let text = include_str!("../../tests/vectors/endpoints.json");
    let table: Value = serde_json::from_str(text).expect("the table");
    table[part].as_array().expect("rows").clone()
}

/// A routing table with one upstream, whose region occurs in no row.
fn directory() -> RoutingTable {
    let upstream = UpstreamAddress {
        region: Region::parse(CONFIGURED).ok(),
        endpoint: Endpoint::parse("https://oss-configured-1.aliyuncs.com").expect("an endpoint"),
        addressing: BucketAddressing::Virtual,
        pin: None,
        connect: None,
    };
    RoutingTable::new(upstream, Vec::new())
}

/// Returns the outcome of a request with this Host, in the notation of the table.
fn outcome(host: &str) -> Value {
    let mut headers = HeaderMap::new();
    let Ok(value) = HeaderValue::from_bytes(host.as_bytes()) else { return "bad-host".into() };
    headers.insert(header::HOST, value);
    let directory = directory();
    let entrance = ListenerNames { domains: &[], scheme: UrlScheme::Http, unnamed: false, address: None };
    let found = LocatedObject::find(&Method::GET, &Uri::from_static("/"), &headers, (entrance, &directory));
    match found {
        Ok(located) => {
            let way = ResolvedEndpoint::resolve(&located, &directory);
            let region = way.region.as_ref().map(Region::as_str).filter(|region| *region != CONFIGURED);
            let bucket = located.bucket.as_ref().map(Bucket::as_str);
            json!([bucket, region, located.oss_endpoint.map(|place| word(place.kind()))])
        }
        Err(LocateError::UnknownHost(_) | LocateError::OtherService(..)) => "unknown-host".into(),
        Err(LocateError::Bucket(_)) => "invalid-bucket".into(),
        Err(LocateError::Malformed(_) | LocateError::Host(..) | LocateError::HostWithPath(_)) => {
            "bad-host".into()
        }
        Err(other) => format!("{other}").into(),
    }
}

/// Returns the kind of an endpoint in the notation of the table.
fn word(kind: EndpointKind) -> &'static str {
    match kind {
        EndpointKind::Public => "public",
        EndpointKind::Internal => "internal",
        EndpointKind::DualStack => "dual-stack",
        EndpointKind::Accelerate => "accelerate",
        EndpointKind::AccelerateOverseas => "accelerate-overseas",
        EndpointKind::Legacy => "legacy",
        EndpointKind::LegacyInternal => "legacy-internal",
        EndpointKind::FirstVpc => "vpc100",
    }
}

#[test]
fn every_host_of_the_table_is_read_as_it_says() {
    let rows = table("hosts");
    let wrong: Vec<_> = rows
        .iter()
        .filter_map(|row| {
            let got = outcome(row["host"].as_str().expect("a host"));
            let fits = row["expected"].as_array().expect("outcomes").contains(&got);
            (!fits).then(|| format!("{row}: {got}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[test]
fn every_endpoint_of_the_object_api_is_read_as_the_table_says() {
    for row in table("endpoints") {
        let [host, kind, region] = [0, 1, 2].map(|index| row[index].as_str());
        let name = OssName::parse(host.expect("a host")).filter(|name| name.bucket.is_none());
        let is_plain = PLAIN.contains(&kind.expect("a kind"));
        assert_eq!(name.is_some(), is_plain, "{row}");
        let Some(OssName { oss_endpoint: place, .. }) = name else { continue };
        assert_eq!((Some(&*place.name()), Some(word(place.kind()))), (host, kind));
        assert_eq!(place.region().map(Region::as_str), region, "{row}");
    }
}

#[test]
fn names_of_other_services_are_rejected_by_name() {
    let directory = directory();
    for (host, service) in [
        ("photos-1234567890.cn-hangzhou.oss-vectors.aliyuncs.com", "vector buckets"),
        ("photos-1234567890.cn-hangzhou-internal.oss-tables.aliyuncs.com:443", "table buckets"),
        ("lake.cn-shanghai.oss-dls.aliyuncs.com", "OSS-HDFS"),
        ("photos.s3.oss-cn-hangzhou.aliyuncs.com", "S3"),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).expect("a host"));
        // These names are rejected even if any other name counts as an address.
        let entrance = ListenerNames { domains: &[], scheme: UrlScheme::Http, unnamed: true, address: None };
        let uri = Uri::from_static("/b/k");
        let found = LocatedObject::find(&Method::GET, &uri, &headers, (entrance, &directory));
        let error = found.expect_err("another service").to_string();
        assert!(error.contains(service), "{host}: {error}");
    }
}

/// Kinds of endpoints that a Host can name.
const PLAIN: [&str; 8] = [
    "public",
    "internal",
    "dual-stack",
    "accelerate",
    "accelerate-overseas",
    "legacy",
    "legacy-internal",
    "vpc100",
];

const CONFIGURED: &str = "configured-1";
