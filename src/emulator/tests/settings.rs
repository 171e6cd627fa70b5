//! Bucket settings: default and explicit.

use super::{ask, get, photos, put, start};

#[test]
fn a_setting_that_is_not_there_is_told_as_the_service_does() {
    let oss = start();
    for (name, code) in [
        ("cors", "NoSuchCORSConfiguration"),
        ("encryption", "NoSuchServerSideEncryptionRule"),
        ("lifecycle", "NoSuchLifecycle"),
        ("policy", "NoSuchBucketPolicy"),
        ("replication", "NoSuchReplicationRule"),
        ("website", "NoSuchWebsiteConfiguration"),
        ("worm", "NoSuchWORMConfiguration"),
    ] {
        let refused = get(&format!("/?{name}")).send(&oss);
        assert_eq!(refused.refusal(), (404, code.to_owned()), "{name}");
        assert_eq!(refused.element("BucketName"), "photos");
    }
    for (name, inside) in [
        ("logging", "<BucketLoggingStatus></BucketLoggingStatus>"),
        ("referer", "<AllowEmptyReferer>true</AllowEmptyReferer>"),
        ("requestPayment", "<Payer>BucketOwner</Payer>"),
        ("tagging", "<TagSet/>"),
        ("versioning", "<VersioningConfiguration></VersioningConfiguration>"),
    ] {
        let told = get(&format!("/?{name}")).send(&oss);
        assert_eq!(told.status, 200, "{name}");
        assert!(told.text().contains(inside), "{}", told.text());
    }
}

#[test]
fn a_setting_is_told_as_it_was_sent_until_it_is_deleted() {
    let oss = start();
    let rule = "<LifecycleConfiguration><Rule><ID>a&amp;b</ID></Rule></LifecycleConfiguration>";
    assert_eq!(put("/?lifecycle", rule).send(&oss).status, 200);
    assert_eq!(get("/?lifecycle").send(&oss).text(), rule);
    assert_eq!(ask("DELETE", "/?lifecycle").send(&oss).status, 204);
    assert_eq!(get("/?lifecycle").send(&oss).refusal(), (404, "NoSuchLifecycle".to_owned()));
    assert_eq!(put("/?policy", "{\"Version\":\"1\"}").send(&oss).status, 200);
    let policy = get("/?policy").send(&oss);
    assert_eq!(
        (policy.header("content-type"), policy.text().as_str()),
        (Some("application/json"), "{\"Version\":\"1\"}")
    );
    assert_eq!(put("/?cors", "<open>").send(&oss).refusal(), (400, "MalformedXML".to_owned()));
    assert_eq!(put("/?policy", "{").send(&oss).refusal(), (400, "InvalidPolicyDocument".to_owned()));
}

#[test]
fn a_setting_that_would_need_an_effect_is_refused() {
    let oss = start();
    let on = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    assert_eq!(put("/?versioning", on).send(&oss).refusal(), (501, "NotImplemented".to_owned()));
    assert_eq!(ask("DELETE", "/?referer").send(&oss).refusal(), (501, "NotImplemented".to_owned()));
    assert_eq!(ask("POST", "/?worm").send(&oss).refusal(), (501, "NotImplemented".to_owned()));
}

#[test]
fn the_numbers_of_a_bucket_and_the_region_are_told() {
    let oss = start();
    oss.service.put_object(&photos(), b"a", "123");
    oss.service.put_object(&photos(), b"b", "45");
    ask("POST", "/m?uploads").send(&oss);
    let stat = get("/?stat").send(&oss);
    let numbers = ["Storage", "ObjectCount", "MultipartUploadCount"].map(|name| stat.element(name));
    assert_eq!(numbers, ["5", "2", "1"]);
    let regions = get("/?regions").host("oss-cn-hangzhou.aliyuncs.com").send(&oss);
    assert_eq!(regions.elements("Region"), ["oss-cn-hangzhou"]);
    assert_eq!(
        get("/?regions=oss-nowhere").host("localhost").send(&oss).refusal(),
        (404, "NoSuchRegion".to_owned())
    );
}
