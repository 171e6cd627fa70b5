//! Request bodies, complete and incomplete, and multipart uploads.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;

use super::super::{BodyArrival, EmulatorThread, InjectedFault};
use super::{ask, connect, get, photos, put, read, start};

#[test]
fn a_body_that_ends_early_stores_nothing() {
    for framing in [("Content-Length", "10"), ("Transfer-Encoding", "chunked")] {
        let oss = start();
        let mut asked = ask("PUT", "/a").header(framing.0, framing.1).signed();
        asked.body =
            if framing.0 == "Content-Length" { b"12345".to_vec() } else { b"5\r\n12345\r\n".to_vec() };
        let mut wire = connect(&oss);
        wire.write_all(&asked.bytes()).expect("sent");
        wire.shutdown(Shutdown::Write).expect("half closed");
        let answer = read(&mut wire);
        assert_eq!(answer.status, 0, "{answer:?}");
        assert_eq!(oss.service.object(&photos(), b"a"), None);
        assert_eq!(oss.recorder.broken_bodies(), 1);
        let received = oss.recorder.last().expect("the upload");
        assert_eq!((received.body_bytes, received.body), (5, BodyArrival::Broken));
    }
}

#[test]
fn a_broken_body_is_stored_only_if_that_was_asked_for() {
    for broken in [("Content-Length", "10", "12345"), ("Transfer-Encoding", "chunked", "5\r\n12345\r\n")] {
        let oss = start();
        oss.faults.next(1, InjectedFault::KeepBroken);
        for key in ["/kept", "/lost"] {
            let mut asked = ask("PUT", key).header(broken.0, broken.1).signed();
            asked.body = broken.2.into();
            let mut wire = connect(&oss);
            wire.write_all(&asked.bytes()).expect("sent");
            wire.shutdown(Shutdown::Write).expect("half closed");
            assert_eq!(read(&mut wire).status, 0, "nobody is told");
        }
        assert_eq!(oss.service.keys(&photos()), [b"kept".to_vec()]);
        assert_eq!(oss.service.object(&photos(), b"kept").as_deref(), Some(&b"12345"[..]));
    }
}

#[test]
fn the_journal_tells_how_far_each_body_came() {
    let oss = start();
    put("/a", "123456789").send(&oss);
    let mut chunked = ask("PUT", "/a").header("Transfer-Encoding", "chunked");
    chunked.body = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".to_vec();
    chunked.send(&oss);
    get("/a").send(&oss);
    let bodies: Vec<_> =
        oss.recorder.requests().iter().map(|received| (received.body_bytes, received.body)).collect();
    assert_eq!(bodies, [(9, BodyArrival::Whole), (5, BodyArrival::Whole), (0, BodyArrival::Whole)]);
    assert_eq!(oss.recorder.broken_bodies(), 0);
}

#[test]
fn a_chunked_body_is_stored_whole_and_an_upload_needs_a_framing() {
    let oss = start();
    let mut asked = ask("PUT", "/a").header("Transfer-Encoding", "chunked");
    asked.body = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".to_vec();
    assert_eq!(asked.send(&oss).status, 200);
    assert_eq!(oss.service.object(&photos(), b"a").as_deref(), Some(&b"abcde"[..]));
    assert_eq!(ask("PUT", "/a").send(&oss).refusal(), (411, "MissingContentLength".to_owned()));
}

#[test]
fn the_go_ahead_comes_after_the_signature_was_found_right() {
    let oss = start();
    let asked = || ask("PUT", "/a").header("Content-Length", "3").header("Expect", "100-continue");
    let refused = asked().send_unsigned(&oss);
    assert_eq!((refused.status, refused.header("connection")), (403, Some("close")));
    let mut wire = connect(&oss);
    wire.write_all(&asked().signed().header("Connection", "close").bytes()).expect("sent");
    let mut word = [0; 25];
    wire.read_exact(&mut word).expect("an interim answer");
    assert_eq!(&word, b"HTTP/1.1 100 Continue\r\n\r\n");
    wire.write_all(b"abc").expect("sent");
    assert_eq!(read(&mut wire).status, 200);
}

#[test]
fn a_refused_upload_does_not_cost_the_connection() {
    let oss = start();
    let mut wire = connect(&oss);
    wire.write_all(&put("/a", &"x".repeat(100_000)).bytes()).expect("sent");
    wire.write_all(&get("/b").header("Connection", "close").bytes()).expect("sent");
    let answers = read(&mut wire);
    assert!(answers.text().contains("HTTP/1.1 403"), "a second answer follows the first");
    assert_eq!((oss.recorder.connections(), oss.recorder.count()), (1, 2));
}

#[test]
fn a_body_is_held_against_its_sum() {
    let oss = start();
    let write = |sum: &str| put("/a", "x").header("Content-MD5", sum).send(&oss);
    assert_eq!(write("ndTkYSaMgDT1yFZOFVxnpg==").status, 200);
    for sum in ["AAAAAAAAAAAAAAAAAAAAAA==", "x"] {
        assert_eq!(write(sum).refusal(), (400, "InvalidDigest".to_owned()));
    }
}

fn begin(oss: &EmulatorThread) -> String {
    let begun = ask("POST", "/m?uploads").header("Content-Type", "text/x").send(oss);
    assert_eq!(begun.status, 200);
    begun.element("UploadId")
}

fn part(oss: &EmulatorThread, id: &str, number: u32, body: &str) -> String {
    let done = put(&format!("/m?partNumber={number}&uploadId={id}"), body).send(oss);
    done.header("etag").expect("a tag").to_owned()
}

#[test]
fn parts_become_one_object() {
    let oss = start();
    let id = begin(&oss);
    let large = "a".repeat(100 * 1024);
    let tags = [part(&oss, &id, 1, &large), part(&oss, &id, 3, "end")];
    let listed = get(&format!("/m?uploadId={id}")).send(&oss);
    assert_eq!(listed.elements("PartNumber"), ["1", "3"]);
    assert_eq!(get("/?uploads").send(&oss).element("UploadId"), id);
    let document = |order: [usize; 2]| {
        let parts = order.map(|at| {
            format!("<Part><PartNumber>{}</PartNumber><ETag>{}</ETag></Part>", [1, 3][at], tags[at])
        });
        format!("<CompleteMultipartUpload>{}</CompleteMultipartUpload>", parts.concat())
    };
    let complete = |body: &str| ask("POST", &format!("/m?uploadId={id}")).body(body.as_bytes()).send(&oss);
    assert_eq!(complete(&document([1, 0])).refusal(), (400, "InvalidPartOrder".to_owned()));
    assert_eq!(complete(&document([0, 1]).replace(&tags[0], "X")).refusal(), (400, "InvalidPart".to_owned()));
    let done = complete(&document([0, 1]));
    assert!(done.element("ETag").ends_with("-2&quot;"), "{}", done.text());
    assert_eq!(oss.service.object(&photos(), b"m").as_deref(), Some(format!("{large}end").as_bytes()));
    let read = get("/m").send(&oss);
    assert_eq!(read.header("x-oss-hash-crc64ecma"), done.header("x-oss-hash-crc64ecma"));
    assert_eq!(
        (read.header("x-oss-object-type"), read.header("content-type")),
        (Some("Multipart"), Some("text/x"))
    );
    assert_eq!(read.header("content-md5"), None);
    assert_eq!(complete(&document([0, 1])).refusal(), (404, "NoSuchUpload".to_owned()));
}

#[test]
fn small_parts_are_refused_and_an_upload_can_be_dropped() {
    let oss = start();
    let id = begin(&oss);
    part(&oss, &id, 1, "small");
    part(&oss, &id, 2, "end");
    let target = format!("/m?uploadId={id}");
    let all = || ask("POST", &target).header("x-oss-complete-all", "yes").send(&oss);
    assert_eq!(all().refusal(), (400, "EntityTooSmall".to_owned()));
    assert_eq!(ask("DELETE", &target).send(&oss).status, 204);
    assert_eq!(ask("DELETE", &target).send(&oss).refusal(), (404, "NoSuchUpload".to_owned()));
    assert!(oss.service.keys(&photos()).is_empty());
}

#[test]
fn parts_are_listed_page_by_page() {
    let oss = start();
    let id = begin(&oss);
    for number in [1, 2, 5] {
        part(&oss, &id, number, "x");
    }
    let page = |rest: &str| get(&format!("/m?uploadId={id}&{rest}")).send(&oss);
    let first = page("max-parts=2");
    assert_eq!(
        (first.elements("PartNumber"), first.element("IsTruncated").as_str()),
        (vec!["1".into(), "2".into()], "true")
    );
    let second = page(&format!("max-parts=2&part-number-marker={}", first.element("NextPartNumberMarker")));
    assert_eq!(
        (second.elements("PartNumber"), second.element("IsTruncated").as_str()),
        (vec!["5".to_owned()], "false")
    );
    assert!(page("part-number-marker=4294967295").elements("PartNumber").is_empty());
}

#[test]
fn uploads_are_listed_page_by_page_and_grouped() {
    let oss = start();
    for key in ["a", "a", "d/1", "d/2", "e"] {
        assert_eq!(ask("POST", &format!("/{key}?uploads")).send(&oss).status, 200);
    }
    for (options, all) in
        [("", vec!["a", "a", "d/1", "d/2", "e"]), ("&delimiter=%2F", vec!["a", "a", "e", "d/"])]
    {
        let mut found = Vec::new();
        let mut groups = Vec::new();
        let mut rest = String::new();
        for _ in 0..all.len() {
            let page = get(&format!("/?uploads&max-uploads=1{options}{rest}")).send(&oss);
            found.extend(page.elements("Key"));
            let prefixes = page.elements("CommonPrefixes").into_iter();
            groups.extend(
                prefixes
                    .map(|group| group.replace("<Prefix>", "").replace("</Prefix>", "").trim().to_owned()),
            );
            rest = format!(
                "&key-marker={}&upload-id-marker={}",
                page.element("NextKeyMarker"),
                page.element("NextUploadIdMarker")
            );
            assert_eq!(
                page.element("IsTruncated") == "false",
                found.len() + groups.len() == all.len(),
                "{rest}"
            );
        }
        found.extend(groups);
        assert_eq!(found, all, "{options}");
    }
    assert_eq!(get("/?uploads&prefix=d").send(&oss).elements("Key"), ["d/1", "d/2"]);
}

#[test]
fn a_part_is_copied_whole_or_in_a_range() {
    let oss = start();
    put("/source", "0123456789").send(&oss);
    let id = begin(&oss);
    let copy = |number: u32, range: &str| {
        let target = format!("/m?partNumber={number}&uploadId={id}");
        let asked = ask("PUT", &target).header("x-oss-copy-source", "/photos/source");
        if range.is_empty() { asked } else { asked.header("x-oss-copy-source-range", range) }.send(&oss)
    };
    let ranged = copy(1, "bytes=2-4");
    assert_eq!((ranged.status, ranged.elements("LastModified").len()), (200, 1));
    assert_eq!(copy(2, "").status, 200);
    let listed = get(&format!("/m?uploadId={id}")).send(&oss);
    assert_eq!(listed.elements("Size"), ["3", "10"]);
    assert_eq!(listed.elements("ETag")[0], ranged.element("ETag"));
}
