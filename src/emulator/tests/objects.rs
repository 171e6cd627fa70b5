//! Objects: write, read, copy, delete.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{ask, get, photos, put, start};

#[test]
fn an_object_comes_back_with_its_sums_and_headers() {
    let oss = start();
    let written = put("/a%20b", "123456789")
        .header("Content-Type", "text/x")
        .header("x-oss-meta-Owner", "caf\u{e9}")
        .header("Cache-Control", "no-cache")
        .send(&oss);
    assert_eq!(written.status, 200);
    let read = get("/a%20b").send(&oss);
    assert_eq!((read.status, read.text().as_str()), (200, "123456789"));
    for (name, value) in [
        ("ETag", "\"25F9E794323B453885F5181F1B624D0B\""),
        ("Content-MD5", "JfnnlDI7RTiF9RgfG2JNCw=="),
        ("x-oss-hash-crc64ecma", "11051210869376104954"),
        ("Content-Length", "9"),
        ("Content-Type", "text/x"),
        ("x-oss-meta-owner", "caf\u{e9}"),
        ("Cache-Control", "no-cache"),
        ("Last-Modified", "Fri, 24 May 2024 00:00:00 GMT"),
        ("Date", "Fri, 24 May 2024 00:00:00 GMT"),
        ("Server", "AliyunOSS"),
        ("x-oss-object-type", "Normal"),
        ("x-oss-storage-class", "Standard"),
    ] {
        assert_eq!(read.header(name), Some(value), "{name}");
    }
    assert_eq!(written.header("etag"), read.header("etag"));
    let id = read.header("x-oss-request-id").expect("a request id");
    assert!(id.len() == 24 && id.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b)), "{id}");
    let head = ask("HEAD", "/a%20b").send(&oss);
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("9"), 0));
    assert_eq!(ask("DELETE", "/a%20b").send(&oss).status, 204);
    assert_eq!(ask("DELETE", "/a%20b").send(&oss).status, 204);
    assert_eq!(get("/a%20b").send(&oss).refusal(), (404, "NoSuchKey".to_owned()));
}

#[test]
fn keys_are_kept_byte_for_byte() {
    let oss = start();
    let long = "k".repeat(1023);
    let keys: [(&str, &[u8]); 12] = [
        ("a%20b", b"a b"),
        ("a+b", b"a+b"),
        ("a%2Bb", b"a+b"),
        ("%25", b"%"),
        ("a%252Fb", b"a%2Fb"),
        ("a%2Fb", b"a/b"),
        ("x//y/./../z", b"x//y/./../z"),
        ("%00%1F", b"\0\x1f"),
        ("%E6%96%87%FF", b"\xe6\x96\x87\xff"),
        ("%F0%9F%98%80", "\u{1f600}".as_bytes()),
        ("%3F%23&=@:$'()*~", b"?#&=@:$'()*~"),
        (&long, long.as_bytes()),
    ];
    for (raw, key) in keys {
        assert_eq!(put(&format!("/{raw}"), raw).send(&oss).status, 200, "{raw}");
        assert_eq!(oss.service.object(&photos(), key).as_deref(), Some(raw.as_bytes()), "{raw}");
    }
    assert_eq!(oss.service.keys(&photos()).len(), 11);
}

#[test]
fn names_that_cannot_be_keys_are_refused() {
    let oss = start();
    for (raw, code) in [
        ("%2Fa".to_owned(), "InvalidObjectName"),
        ("%5Ca".to_owned(), "InvalidObjectName"),
        ("k".repeat(1024), "InvalidObjectName"),
        ("a%zz".to_owned(), "InvalidURI"),
        ("a%".to_owned(), "InvalidURI"),
    ] {
        let answer = put(&format!("/{raw}"), "").send_unsigned(&oss);
        assert_eq!(answer.refusal(), (400, code.to_owned()), "{raw}");
    }
}

#[test]
fn a_refusal_is_a_document_and_for_head_a_header() {
    let oss = start();
    let refused = get("/a").send_unsigned(&oss);
    assert_eq!(refused.refusal(), (403, "AccessDenied".to_owned()));
    assert_eq!(refused.header("x-oss-ec"), Some("0003-00000001"));
    assert_eq!(refused.element("EC"), "0003-00000001");
    assert_eq!(refused.element("HostId"), "photos.oss-cn-hangzhou.aliyuncs.com");
    assert_eq!(Some(refused.element("RequestId").as_str()), refused.header("x-oss-request-id"));
    let head = ask("HEAD", "/a").send_unsigned(&oss);
    assert_eq!((head.status, head.body.len()), (403, 0));
    let told = STANDARD.decode(head.header("x-oss-err").expect("the document")).expect("base64");
    assert!(String::from_utf8_lossy(&told).contains("<Code>AccessDenied</Code>"));
}

#[test]
fn a_wrong_secret_is_told_what_was_signed() {
    let oss = start();
    let mut asked = get("/a?acl").signed();
    asked.headers.retain(|(name, _)| name != "Authorization");
    let refused = asked.header("Authorization", "OSS ak:AAAA").send_unsigned(&oss);
    assert_eq!(refused.refusal(), (403, "SignatureDoesNotMatch".to_owned()));
    assert_eq!(refused.element("OSSAccessKeyId"), "ak");
    assert_eq!(refused.element("SignatureProvided"), "AAAA");
    assert_eq!(refused.element("StringToSign"), "GET\n\n\nFri, 24 May 2024 00:00:00 GMT\n/photos/a?acl");
    assert!(refused.element("StringToSignBytes").starts_with("47 45 54 0A"));
}

#[test]
fn ranges_that_do_not_fit_are_answered_as_the_service_does() {
    let oss = start();
    put("/a", "0123456789").send(&oss);
    for (range, behavior, status, body, told) in [
        ("bytes=2-4", "", 206, "234", Some("bytes 2-4/10")),
        ("bytes=7-", "", 206, "789", Some("bytes 7-9/10")),
        ("bytes=-3", "", 206, "789", Some("bytes 7-9/10")),
        ("bytes=5-20", "", 200, "0123456789", None),
        ("bytes=10-", "", 200, "0123456789", None),
        ("bytes=4-2", "", 200, "0123456789", None),
        ("bytes=1-2,4-5", "", 200, "0123456789", None),
        ("items=1-2", "", 200, "0123456789", None),
        ("bytes=5-20", "standard", 206, "56789", Some("bytes 5-9/10")),
        ("bytes=-20", "standard", 206, "0123456789", Some("bytes 0-9/10")),
    ] {
        let mut asked = get("/a").header("Range", range);
        if !behavior.is_empty() {
            asked = asked.header("x-oss-range-behavior", behavior);
        }
        let answer = asked.send(&oss);
        assert_eq!((answer.status, answer.text().as_str()), (status, body), "{range} {behavior}");
        assert_eq!(answer.header("content-range"), told, "{range} {behavior}");
    }
    let refused =
        get("/a").header("Range", "bytes=10-").header("x-oss-range-behavior", "standard").send(&oss);
    assert_eq!(refused.refusal(), (416, "InvalidRange".to_owned()));
}

#[test]
fn conditions_are_held_against_tag_and_time() {
    let oss = start();
    put("/a", "x").send(&oss);
    let before = "Thu, 23 May 2024 00:00:00 GMT";
    let at = "Fri, 24 May 2024 00:00:00 GMT";
    let tag = "\"9DD4E461268C8034F5C8564E155C67A6\"";
    for (name, value, status) in [
        ("If-Match", tag, 200),
        ("If-Match", "\"other\"", 412),
        ("If-None-Match", tag, 304),
        ("If-None-Match", "\"other\"", 200),
        ("If-Modified-Since", at, 304),
        ("If-Modified-Since", before, 200),
        ("If-Unmodified-Since", at, 200),
        ("If-Unmodified-Since", before, 412),
    ] {
        assert_eq!(get("/a").header(name, value).send(&oss).status, status, "{name} {value}");
    }
}

#[test]
fn the_query_overrides_headers_of_the_answer() {
    let oss = start();
    put("/a", "x").send(&oss);
    let answer =
        get("/a?response-content-type=text%2Fhtml&response-content-disposition=attachment").send(&oss);
    assert_eq!(answer.header("content-type"), Some("text/html"));
    assert_eq!(answer.header("content-disposition"), Some("attachment"));
}

#[test]
fn a_copy_takes_or_replaces_the_headers() {
    let oss = start();
    put("/a%20+b", "x").header("x-oss-meta-a", "1").send(&oss);
    let copy = |to: &str, source: &str| ask("PUT", to).header("x-oss-copy-source", source);
    let done = copy("/c1", "/photos/a%20%2Bb").send(&oss);
    assert_eq!(
        (done.status, done.element("ETag").as_str()),
        (200, "&quot;9DD4E461268C8034F5C8564E155C67A6&quot;")
    );
    assert_eq!(get("/c1").send(&oss).header("x-oss-meta-a"), Some("1"));
    // A plus represents a space here, as some clients write it.
    let replaced = copy("/c2", "/photos/a+%2Bb").header("x-oss-metadata-directive", "REPLACE");
    assert_eq!(replaced.header("x-oss-meta-b", "2").send(&oss).status, 200);
    let read = get("/c2").send(&oss);
    assert_eq!((read.header("x-oss-meta-a"), read.header("x-oss-meta-b")), (None, Some("2")));
    let failed = copy("/c3", "/photos/c1").header("x-oss-copy-source-if-match", "\"other\"").send(&oss);
    assert_eq!(failed.status, 412);
    assert_eq!(copy("/c3", "/photos/none").send(&oss).refusal(), (404, "NoSuchKey".to_owned()));
    assert_eq!(copy("/c3", "/nowhere/none").send(&oss).refusal(), (404, "NoSuchBucket".to_owned()));
}

#[test]
fn an_object_is_not_replaced_if_that_is_forbidden() {
    let oss = start();
    let write = |body| put("/a", body).header("x-oss-forbid-overwrite", "true").send(&oss);
    assert_eq!(write("1").status, 200);
    assert_eq!(write("2").refusal(), (409, "FileAlreadyExists".to_owned()));
    assert_eq!(oss.service.object(&photos(), b"a").as_deref(), Some(&b"1"[..]));
}

#[test]
fn what_is_not_served_is_refused() {
    let oss = start();
    put("/a", "x").send(&oss);
    for target in
        ["/a?x-oss-process=image%2Finfo", "/a?versionId=1", "/?inventory", "/?versions", "/?qosInfo"]
    {
        assert_eq!(get(target).send(&oss).refusal(), (501, "NotImplemented".to_owned()), "{target}");
    }
    assert_eq!(ask("PATCH", "/a").send(&oss).refusal(), (405, "MethodNotAllowed".to_owned()));
}
