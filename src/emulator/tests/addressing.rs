//! The bucket and the region that a request addresses.

use super::super::settings::ServiceIdentity;
use super::{ask, get, photos, put, start};
use crate::oss::Region;

#[test]
fn each_form_of_address_leads_to_the_same_object() {
    let oss = start();
    put("/d%2Fk", "x").send(&oss);
    for (host, target) in [
        ("photos.oss-cn-hangzhou.aliyuncs.com", "/d/k"),
        ("photos.oss-cn-hangzhou.aliyuncs.com:8080", "/d/k"),
        ("PHOTOS.OSS-cn-hangzhou.aliyuncs.com.", "/d/k"),
        ("photos.oss-cn-hangzhou-internal.aliyuncs.com", "/d/k"),
        ("photos.cn-hangzhou.oss.aliyuncs.com", "/d/k"),
        ("photos.oss-accelerate.aliyuncs.com", "/d/k"),
        ("photos.oss.aliyuncs.com", "/d/k"),
        ("photos.oss-internal.aliyuncs.com", "/d/k"),
        ("photos.vpc100-oss-cn-hangzhou.aliyuncs.com", "/d/k"),
        ("img.example.com", "/d/k"),
        ("127.0.0.1:9000", "/photos/d/k"),
        ("[::1]:9000", "/photos/d/k"),
        ("localhost", "/photos/d%2Fk"),
        ("ignored.example.com", "http://photos.oss-cn-hangzhou.aliyuncs.com/d/k"),
    ] {
        let answer = get(target).host(host).send(&oss);
        assert_eq!((answer.status, answer.text().as_str()), (200, "x"), "{host} {target}");
    }
}

#[test]
fn every_endpoint_of_the_table_is_one_of_the_emulated_region() {
    let text = include_str!("../../../tests/vectors/endpoints.json");
    let table: serde_json::Value = serde_json::from_str(text).expect("the table");
    let kinds = ["public", "internal", "dual-stack", "legacy", "legacy-internal", "vpc100"];
    for row in table["endpoints"].as_array().expect("rows") {
        let [host, kind, region] = [0, 1, 2].map(|index| row[index].as_str().unwrap_or_default());
        let Ok(region) = Region::parse(region) else { continue };
        let name = host.strip_suffix(".aliyuncs.com").unwrap_or(host);
        let has_it = ServiceIdentity::new(region, Vec::new()).endpoints().iter().any(|own| own == name);
        assert_eq!(has_it, kinds.contains(&kind), "{row}");
    }
}

#[test]
fn a_bucket_in_the_path_of_a_named_endpoint_is_refused() {
    let oss = start();
    for host in ["oss-cn-hangzhou.aliyuncs.com", "cn-hangzhou.oss.aliyuncs.com"] {
        let refused = get("/photos/a").host(host).send_unsigned(&oss);
        assert_eq!(refused.refusal(), (403, "SecondLevelDomainForbidden".to_owned()), "{host}");
    }
}

#[test]
fn hosts_that_lead_nowhere_are_refused() {
    let oss = start();
    for (host, refusal) in [
        ("photos.oss-cn-beijing.aliyuncs.com", (403, "AccessDenied")),
        ("photos.cn-beijing.oss.aliyuncs.com", (403, "AccessDenied")),
        (".oss-cn-hangzhou.aliyuncs.com", (400, "InvalidBucketName")),
        ("a.b.oss-cn-hangzhou.aliyuncs.com", (400, "InvalidBucketName")),
        ("other-bucket.oss-cn-hangzhou.aliyuncs.com", (404, "NoSuchBucket")),
        ("unknown.example.com", (404, "NoSuchBucket")),
        ("photos.oss-cn-hangzhou.aliyuncs.com.evil.example", (404, "NoSuchBucket")),
        ("", (400, "InvalidArgument")),
    ] {
        let refused = get("/a").host(host).send_unsigned(&oss);
        assert_eq!(refused.refusal(), (refusal.0, refusal.1.to_owned()), "{host}");
    }
    let elsewhere = get("/a").host("photos.oss-cn-beijing.aliyuncs.com").send_unsigned(&oss);
    assert_eq!(elsewhere.element("Endpoint"), "oss-cn-hangzhou.aliyuncs.com");
    let twice = get("/a").header("Host", "localhost").send_unsigned(&oss);
    assert_eq!(twice.status, 400);
}

#[test]
fn buckets_are_made_listed_described_and_deleted() {
    let oss = start();
    let other = "other.oss-cn-hangzhou.aliyuncs.com";
    assert_eq!(put("/", "").host(other).send(&oss).status, 200);
    let all = get("/").host("oss-cn-hangzhou.aliyuncs.com").send(&oss);
    assert_eq!(all.elements("Name"), ["other", "photos"]);
    let page = get("/?max-keys=1").host("localhost").send(&oss);
    assert_eq!(
        (page.elements("Name"), page.element("NextMarker")),
        (vec!["other".to_owned()], "other".to_owned())
    );
    let info = get("/?bucketInfo").host(other).send(&oss);
    assert_eq!(
        (info.element("Name"), info.element("Location")),
        ("other".to_owned(), "oss-cn-hangzhou".to_owned())
    );
    let location = get("/?location").host(other).send(&oss);
    assert_eq!(location.element("LocationConstraint").trim(), "oss-cn-hangzhou");
    assert_eq!(ask("DELETE", "/").host(other).send(&oss).status, 204);
    put("/a", "x").send(&oss);
    assert_eq!(ask("DELETE", "/").send(&oss).refusal(), (409, "BucketNotEmpty".to_owned()));
}

#[test]
fn a_public_bucket_is_read_without_a_signature() {
    let oss = start();
    put("/a", "x").send(&oss);
    let acl = ask("PUT", "/?acl").header("x-oss-acl", "public-read").send(&oss);
    assert_eq!(acl.status, 200);
    assert_eq!(get("/a").send_unsigned(&oss).text(), "x");
    assert_eq!(put("/a", "y").send_unsigned(&oss).status, 403);
    assert_eq!(oss.service.object(&photos(), b"a").as_deref(), Some(&b"x"[..]));
}
