//! Listings, and the deletion of multiple objects.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};

use super::super::EmulatorThread;
use super::{ask, get, photos, start};

fn filled(keys: &[&str]) -> EmulatorThread {
    let oss = start();
    for key in keys {
        oss.service.put_object(&photos(), key.as_bytes(), "x");
    }
    oss
}

#[test]
fn pages_of_both_versions_follow_each_other_without_gap() {
    let oss = filled(&["a", "d/1", "d/2", "e", "f/1", "g"]);
    for (first, next_name, resume) in [
        ("/?delimiter=%2F&max-keys=2", "NextMarker", "marker"),
        ("/?list-type=2&delimiter=%2F&max-keys=2", "NextContinuationToken", "continuation-token"),
    ] {
        let mut entries = Vec::new();
        let mut target = first.to_owned();
        for _ in 0..3 {
            let page = get(&target).send(&oss);
            entries.extend(page.elements("Key"));
            let groups = page.elements("CommonPrefixes");
            entries.extend(
                groups.iter().map(|group| group.trim().replace("<Prefix>", "").replace("</Prefix>", "")),
            );
            target = format!("{first}&{resume}={}", page.element(next_name));
            let is_last = page.element("IsTruncated") == "false";
            assert_eq!(is_last, entries.len() == 5, "{target}");
        }
        entries.sort();
        assert_eq!(entries, ["a", "d/", "e", "f/", "g"], "{first}");
    }
}

#[test]
fn a_prefix_and_a_start_narrow_the_listing() {
    let oss = filled(&["a1", "a2", "a3", "b"]);
    assert_eq!(get("/?prefix=a").send(&oss).elements("Key"), ["a1", "a2", "a3"]);
    assert_eq!(get("/?prefix=a&marker=a1").send(&oss).elements("Key"), ["a2", "a3"]);
    let second = get("/?list-type=2&prefix=a&start-after=a2").send(&oss);
    assert_eq!((second.elements("Key"), second.element("KeyCount")), (vec!["a3".to_owned()], "1".to_owned()));
    assert!(second.elements("Owner").is_empty());
    assert_eq!(get("/?max-keys=1001").send(&oss).refusal(), (400, "InvalidArgument".to_owned()));
    assert_eq!(get("/?encoding-type=base64").send(&oss).status, 400);
    assert_eq!(get("/?list-type=2&continuation-token=xyz").send(&oss).status, 400);
}

#[test]
fn names_are_encoded_on_request() {
    let oss = filled(&["d/a b&\u{1}\u{6587}"]);
    let encoded = get("/?encoding-type=url&prefix=d%2F").send(&oss);
    assert_eq!(encoded.element("Key"), "d%2Fa%20b%26%01%E6%96%87");
    assert_eq!(encoded.element("EncodingType"), "url");
    assert_eq!(get("/").send(&oss).element("Key"), "d/a b&amp;\u{1}\u{6587}");
}

#[test]
fn many_keys_are_deleted_by_one_document_with_its_sum() {
    let oss = filled(&["a&b", "c", "d"]);
    let post = |document: &str| {
        let sum = STANDARD.encode(Md5::digest(document.as_bytes()));
        ask("POST", "/?delete&encoding-type=url")
            .header("Content-MD5", sum)
            .body(document.as_bytes())
            .send(&oss)
    };
    let told = post("<Delete><Object><Key>a&amp;b</Key></Object><Object><Key>none</Key></Object></Delete>");
    assert_eq!(told.elements("Key"), ["a%26b", "none"]);
    let quiet = post("<Delete><Quiet>true</Quiet><Object><Key>c</Key></Object></Delete>");
    assert_eq!((quiet.status, quiet.body.len()), (200, 0));
    assert_eq!(oss.service.keys(&photos()), [b"d"]);
    assert_eq!(post("<Delete></Delete>").refusal(), (400, "MalformedXML".to_owned()));
    let unsummed = ask("POST", "/?delete").body(b"<Delete/>").send(&oss);
    assert_eq!(unsummed.refusal(), (400, "MissingArgument".to_owned()));
}
