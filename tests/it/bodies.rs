//! Forwarded bodies: the framing is preserved, nothing truncated is completed, and nothing is
//! buffered as a whole.

use std::io::Read;
use std::net::Shutdown;

use crate::support::script::line_of;
use crate::support::{Client, Script, ask, bucket, oss, proxy};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

#[test]
fn lengths_and_chunks_stay_what_they_were() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    let own = proxy.address.to_string();
    let mut client = Client::connect(proxy.address);
    client.ask("PUT", "/photos/k", &own, "", b"four");
    client.ask("PUT", "/photos/k", &own, "", b"");
    client.ask("POST", "/photos/k?uploads", &own, "", b"");
    client.ask("GET", "/photos/k", &own, "", b"");
    client.send(format!("DELETE /photos/k HTTP/1.1\r\nHost: {own}\r\nContent-Length: 0\r\n\r\n"));
    client.answer("DELETE").expect("an answer");
    client.send(format!("PUT /photos/k HTTP/1.1\r\nHost: {own}\r\nContent-Length: 0005\r\n\r\nfive!"));
    client.answer("PUT").expect("an answer");
    let heads = upstream.heads();
    let lengths: Vec<_> = heads.iter().map(|head| line_of(head, "content-length")).collect();
    assert_eq!(lengths, [Some("4"), Some("0"), Some("0"), None, Some("0"), Some("5")]);
    assert!(heads.iter().all(|head| line_of(head, "transfer-encoding").is_none()));
}

#[test]
fn a_body_of_unknown_length_stays_one_whatever_the_method() {
    let upstream = Script::start(|peer| {
        let head = peer.head().expect("a request");
        if line_of(&head, "transfer-encoding") == Some("chunked") {
            assert_eq!(peer.take(14), b"4\r\nbody\r\n0\r\n\r\n"[..14]);
        }
        peer.send(OK);
    });
    for method in ["GET", "DELETE", "POST", "PUT"] {
        let proxy = proxy(upstream.address).start();
        let mut client = Client::connect(proxy.address);
        let head = format!("{method} /photos/k?acl HTTP/1.1\r\nHost: {}\r\n", proxy.address);
        client.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"));
        assert_eq!(client.answer(method).expect("an answer").status, 200, "{method}");
        let heads = upstream.heads();
        let coding = line_of(heads.last().expect("a request"), "transfer-encoding");
        assert_eq!(coding, Some("chunked"), "{method}");
    }
}

#[test]
fn a_put_without_any_body_gets_a_length_of_zero() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    for method in ["PUT", "POST"] {
        let mut client = Client::connect(proxy.address);
        client.send(format!("{method} /photos/k?acl HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.address));
        client.answer(method).expect("an answer");
        let heads = upstream.heads();
        assert_eq!(line_of(heads.last().expect("a request"), "content-length"), Some("0"), "{method}");
    }
}

#[test]
fn chunked_uploads_are_stored_whole_even_when_empty() {
    let oss = oss();
    let proxy = proxy(oss.address).start();
    for (chunks, content) in [
        ("3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\n\r\n", "abcde"),
        ("0\r\n\r\n", ""),
        ("1\r\nx\r\n0\r\nTrailer-Field: y\r\n\r\n", "x"),
    ] {
        let mut client = Client::connect(proxy.address);
        client.send(format!("PUT /photos/k HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: Chunked\r\nTrailer: Trailer-Field\r\n\r\n{chunks}", proxy.address));
        let answer = client.answer("PUT").expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(oss.service.object(&bucket("photos"), b"k").as_deref(), Some(content.as_bytes()));
        let received = oss.recorder.last().expect("a request");
        assert_eq!(received.headers.get("transfer-encoding").map(|v| v.as_bytes()), Some(&b"chunked"[..]));
        assert!(
            !received.headers.contains_key("content-length") && !received.headers.contains_key("trailer")
        );
    }
}

#[test]
fn head_ranges_and_conditions_come_back_as_oss_gave_them() {
    let oss = oss();
    let proxy = proxy(oss.address).start();
    let own = proxy.address.to_string();
    ask(proxy.address, "PUT", "/photos/k", b"0123456789");
    let mut client = Client::connect(proxy.address);
    let head = client.ask("HEAD", "/photos/k", &own, "", b"");
    assert_eq!((head.status, head.header("content-length")), (200, Some("10")));
    assert!(head.header("x-oss-hash-crc64ecma").is_some());
    let etag = head.header("etag").expect("an etag").to_owned();
    let range = client.ask("GET", "/photos/k", &own, "Range: bytes=2-4\r\n", b"");
    assert_eq!(
        (range.status, range.text().as_str(), range.header("content-range")),
        (206, "234", Some("bytes 2-4/10"))
    );
    let same = client.ask("GET", "/photos/k", &own, &format!("If-None-Match: {etag}\r\n"), b"");
    assert_eq!(same.status, 304);
    let other = client.ask("GET", "/photos/k", &own, "If-Match: \"x\"\r\n", b"");
    assert_eq!(other.status, 412);
    let missing = client.ask("HEAD", "/photos/none", &own, "", b"");
    assert_eq!(missing.status, 404);
    assert!(missing.header("x-oss-err").is_some(), "the error of HEAD is in a header");
    assert_eq!(client.ask("DELETE", "/photos/k", &own, "", b"").status, 204);
}

#[test]
fn a_continue_is_sent_only_once_the_upstream_takes_the_body() {
    let oss = oss();
    let proxy = proxy(oss.address).start();
    let mut client = Client::connect(proxy.address);
    client.send(format!(
        "PUT /photos/k HTTP/1.1\r\nHost: {}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        proxy.address
    ));
    assert_eq!(client.head().map(|head| head.0), Some(100));
    client.send("hello");
    assert_eq!(client.answer("PUT").map(|answer| answer.status), Some(200));
    assert_eq!(oss.service.object(&bucket("photos"), b"k").as_deref(), Some(&b"hello"[..]));
    assert!(
        !oss.recorder.last().expect("a request").headers.contains_key("expect"),
        "it is for each hop alone"
    );
}

#[test]
fn an_upload_that_ends_early_is_never_completed_upstream() {
    for framing in ["Content-Length: 1000\r\n", "Transfer-Encoding: chunked\r\n"] {
        for end in [Shutdown::Both, Shutdown::Write] {
            let upstream = Script::start(|peer| {
                peer.head();
                peer.rest();
            });
            let proxy = proxy(upstream.address).start();
            let mut client = Client::connect(proxy.address);
            client.send(format!("PUT /photos/k HTTP/1.1\r\nHost: {}\r\n{framing}\r\n", proxy.address));
            client.send(if framing.starts_with('C') { "short" } else { "5\r\nshort\r\n" });
            client.stream.shutdown(end).expect("an end");
            let rest = upstream.rest();
            let rest = String::from_utf8_lossy(&rest);
            assert!(!rest.contains("0\r\n\r\n"), "{framing} {end:?}: {rest:?}");
            assert!(rest.len() < 1000, "{framing} {end:?}");
        }
    }
}

#[test]
fn an_upload_that_ends_early_stores_nothing() {
    let oss = oss();
    let proxy = proxy(oss.address).start();
    for framing in [
        "Content-Length: 1000\r\n\r\nshort",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n0\r\n",
    ] {
        let mut client = Client::connect(proxy.address);
        client.send(format!("PUT /photos/k HTTP/1.1\r\nHost: {}\r\n{framing}", proxy.address));
        drop(client);
        assert_eq!(ask(proxy.address, "PUT", "/photos/next", b"v").status, 200);
    }
    assert_eq!(oss.service.keys(&bucket("photos")), [b"next".to_vec()]);
}

#[test]
fn a_download_that_breaks_never_ends_as_if_whole() {
    let cut_length = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this";
    let cut_chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nonly\r\n";
    for answer in [cut_length, cut_chunks] {
        let upstream = Script::start(move |peer| {
            peer.head();
            peer.send(answer);
        });
        let proxy = proxy(upstream.address).start();
        let got = ask(proxy.address, "GET", "/photos/k", b"");
        assert_eq!(got.status, 200);
        assert!(!got.whole, "{answer}");
    }
}

#[test]
fn a_broken_download_to_http_1_0_ends_in_a_reset() {
    let upstream = Script::start(|peer| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nonly\r\n");
    });
    let proxy = proxy(upstream.address).start();
    let mut client = Client::connect(proxy.address);
    client.send(format!("GET /photos/k HTTP/1.0\r\nHost: {}\r\n\r\n", proxy.address));
    let mut all = Vec::new();
    let read = client.stream.read_to_end(&mut all);
    assert!(read.is_err(), "a plain end would look whole: {:?}", String::from_utf8_lossy(&all));
}

#[test]
fn faults_of_oss_in_the_middle_of_a_body_are_seen_by_the_client() {
    use oss_signing_proxy::emulator::InjectedFault;
    let oss = oss();
    let proxy = proxy(oss.address).start();
    assert_eq!(ask(proxy.address, "PUT", "/photos/k", &vec![b'x'; 100_000]).status, 200);
    for fault in [
        InjectedFault::CutBody { after_bytes: 50_000 },
        InjectedFault::ShortBody { missing_bytes: 10 },
        InjectedFault::CutChunks { after_bytes: 10 },
    ] {
        oss.faults.next(1, fault.clone());
        assert!(!ask(proxy.address, "GET", "/photos/k", b"").whole, "{fault:?}");
        assert!(ask(proxy.address, "GET", "/photos/k", b"").whole, "the next one is good");
    }
    oss.faults.next(1, InjectedFault::Status { status: 503, code: "ServiceUnavailable".to_owned() });
    assert_eq!(ask(proxy.address, "GET", "/photos/k", b"").status, 503);
}

#[test]
fn a_body_in_the_framing_of_s3_is_rejected_and_not_stored() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    let own = proxy.address.to_string();
    for header in [
        "x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD\r\n",
        "X-Amz-Content-Sha256: streaming-unsigned-payload-trailer\r\n",
        "x-amz-content-sha256: UNSIGNED-PAYLOAD\r\nx-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER\r\n",
        "Content-Encoding: aws-chunked\r\n",
        "Content-Encoding: AWS-Chunked\r\n",
        "content-encoding: gzip , Aws-chunked\r\n",
        "Content-Encoding: aws-chunked,gzip\r\n",
        "Content-Encoding: gzip\r\nContent-Encoding: aws-chunked\r\n",
        "Content-Encoding: aws-chunked\r\nConnection: content-encoding\r\n",
        "x-amz-decoded-content-length: 4\r\n",
        "x-amz-trailer: x-amz-checksum-crc32\r\n",
    ] {
        for (method, target) in
            [("PUT", "/photos/k"), ("PUT", "/photos/k?partNumber=1&uploadId=x"), ("POST", "/photos?delete")]
        {
            let body = b"4;chunk-signature=0\r\nbody\r\n0;chunk-signature=0\r\n\r\n";
            let answer = Client::connect(proxy.address).ask(method, target, &own, header, body);
            assert_eq!((answer.status, answer.refused()), (400, Some("s3-body")), "{method} {header}");
            for words in ["aws-chunked", "AWS_REQUEST_CHECKSUM_CALCULATION", "<Code>InvalidArgument</Code>"] {
                assert!(answer.text().contains(words), "{}", answer.text());
            }
        }
    }
    assert!(upstream.heads().is_empty(), "nothing of them was sent");
    for header in [
        "x-amz-content-sha256: UNSIGNED-PAYLOAD\r\n",
        "x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\r\n",
        "Content-Encoding: gzip\r\n",
        "Content-Encoding: x-aws-chunked\r\n",
    ] {
        let answer = Client::connect(proxy.address).ask("PUT", "/photos/k", &own, header, b"body");
        assert_eq!(answer.status, 200, "{header}");
    }
}
