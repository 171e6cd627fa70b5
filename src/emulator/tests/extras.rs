//! Object features beside the data: appends, links, tags, ACLs, storage classes.

use super::{ask, get, photos, put, start};

#[test]
fn appended_bytes_must_continue_the_object() {
    let oss = start();
    let append = |position: u32, body: &str| {
        ask("POST", &format!("/a?append&position={position}")).body(body.as_bytes()).send(&oss)
    };
    assert_eq!(append(0, "ab").header("x-oss-next-append-position"), Some("2"));
    assert_eq!(append(2, "c").status, 200);
    let late = append(2, "d");
    assert_eq!(late.refusal(), (409, "PositionNotEqualToLength".to_owned()));
    assert_eq!(late.header("x-oss-next-append-position"), Some("3"), "clients take it from there");
    assert_eq!(oss.service.object(&photos(), b"a").as_deref(), Some(&b"abc"[..]));
    assert_eq!(get("/a").send(&oss).header("x-oss-object-type"), Some("Appendable"));
    put("/a", "whole").send(&oss);
    assert_eq!(append(5, "d").refusal(), (409, "ObjectNotAppendable".to_owned()));
    assert_eq!(append(0, "d").refusal(), (409, "ObjectNotAppendable".to_owned()));
}

#[test]
fn links_lead_to_their_object() {
    let oss = start();
    put("/a", "x").send(&oss);
    let link = |target: &str| {
        let link = ask("PUT", "/l?symlink").header("x-oss-symlink-target", target);
        link.header("Content-Length", "0").send(&oss).status
    };
    assert_eq!(link("a"), 200);
    assert_eq!(get("/l").send(&oss).text(), "x");
    assert_eq!(get("/l?symlink").send(&oss).header("x-oss-symlink-target"), Some("a"));
    put("/a%20b%2B", "y").send(&oss);
    for encoded in ["a%20b%2B", "a+b%2B"] {
        assert_eq!(link(encoded), 200);
        assert_eq!(get("/l").send(&oss).text(), "y", "{encoded}");
    }
    assert_eq!(link("none"), 200);
    assert_eq!(get("/l").send(&oss).refusal(), (404, "SymlinkTargetNotExist".to_owned()));
}

#[test]
fn tags_are_set_told_counted_copied_and_removed() {
    let oss = start();
    put("/a", "x").header("x-oss-tagging", "k1=v%201&k2").send(&oss);
    let read = get("/a").send(&oss);
    assert_eq!(read.header("x-oss-tagging-count"), Some("2"));
    let told = get("/a?tagging").send(&oss);
    assert_eq!((told.elements("Key"), told.elements("Value")), (texts(["k1", "k2"]), texts(["v 1", ""])));
    ask("PUT", "/c").header("x-oss-copy-source", "/photos/a").send(&oss);
    assert_eq!(get("/c?tagging").send(&oss).elements("Key"), ["k1", "k2"]);
    ask("PUT", "/c")
        .header("x-oss-copy-source", "/photos/a")
        .header("x-oss-tagging-directive", "Replace")
        .header("x-oss-tagging", "other=1")
        .send(&oss);
    assert_eq!(get("/c?tagging").send(&oss).elements("Key"), ["other"]);
    let document = "<Tagging><TagSet><Tag><Key>new</Key><Value>1</Value></Tag></TagSet></Tagging>";
    assert_eq!(put("/a?tagging", document).send(&oss).status, 200);
    assert_eq!(get("/a?tagging").send(&oss).elements("Key"), ["new"]);
    assert_eq!(ask("DELETE", "/a?tagging").send(&oss).status, 204);
    assert!(get("/a?tagging").send(&oss).elements("Key").is_empty());
    assert_eq!(get("/a").send(&oss).header("x-oss-tagging-count"), None);
    assert_eq!(get("/none?tagging").send(&oss).refusal(), (404, "NoSuchKey".to_owned()));
}

#[test]
fn the_access_of_an_object_goes_before_that_of_its_bucket() {
    let oss = start();
    put("/open", "x").header("x-oss-object-acl", "public-read").send(&oss);
    put("/shut", "x").send(&oss);
    assert_eq!(get("/open?acl").send(&oss).element("Grant"), "public-read");
    assert_eq!(get("/shut?acl").send(&oss).element("Grant"), "default");
    assert_eq!(
        (get("/open").send_unsigned(&oss).status, get("/shut").send_unsigned(&oss).status),
        (200, 403)
    );
    assert_eq!(get("/open?acl").send_unsigned(&oss).status, 403, "who may is for the owner to know");
    ask("PUT", "/?acl").header("x-oss-acl", "public-read-write").send(&oss);
    ask("PUT", "/shut?acl").header("x-oss-object-acl", "private").send(&oss);
    assert_eq!(get("/shut").send_unsigned(&oss).status, 403);
    assert_eq!(put("/new", "x").send_unsigned(&oss).status, 200);
    for asked in [ask("DELETE", "/"), ask("PUT", "/?acl"), get("/?cors"), get("/?bucketInfo")] {
        let target = asked.target.clone();
        assert_eq!(asked.send_unsigned(&oss).status, 403, "{target}");
    }
    let odd = ask("PUT", "/open?acl").header("x-oss-object-acl", "nobody").send(&oss);
    assert_eq!(odd.refusal(), (400, "InvalidArgument".to_owned()));
}

#[test]
fn an_archived_object_is_read_once_it_was_restored() {
    let oss = start();
    put("/a", "x").header("x-oss-storage-class", "Archive").send(&oss);
    put("/s", "x").send(&oss);
    assert_eq!(ask("HEAD", "/a").send(&oss).header("x-oss-storage-class"), Some("Archive"));
    assert_eq!(get("/a").send(&oss).refusal(), (403, "InvalidObjectState".to_owned()));
    let restore = |target: &str| ask("POST", target).send(&oss);
    assert_eq!((restore("/a?restore").status, restore("/a?restore").status), (202, 200));
    assert_eq!(get("/a").send(&oss).text(), "x");
    assert_eq!(restore("/s?restore").refusal(), (400, "OperationNotSupported".to_owned()));
    assert_eq!(restore("/none?restore").refusal(), (404, "NoSuchKey".to_owned()));
}

#[test]
fn the_short_description_has_size_tag_and_time_alone() {
    let oss = start();
    put("/a", "123").header("x-oss-meta-a", "1").send(&oss);
    let meta = ask("HEAD", "/a?objectMeta").send(&oss);
    assert_eq!((meta.status, meta.header("content-length")), (200, Some("3")));
    assert!(meta.header("etag").is_some() && meta.header("last-modified").is_some());
    assert_eq!((meta.header("x-oss-meta-a"), meta.header("x-oss-object-type")), (None, None));
}

fn texts<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).to_vec()
}
