//! One request never becomes two, with any framing. No signed header is removed after signing. One
//! response never becomes two.

use crate::support::script::line_of;
use crate::support::{Client, Proxy, Script, proxy};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const HIDDEN: &str = "GET /photos/hidden HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

/// An upstream that accepts anything: it answers each head, and reads nothing as a body.
fn gullible() -> Script {
    Script::start(|peer| {
        while peer.head().is_some() {
            peer.send(OK);
        }
    })
}

/// Sends the bytes unchanged, with the hidden request in the body.
fn send(proxy: &Proxy, head: &str, body: &str) -> Option<u16> {
    let mut client = Client::connect(proxy.address);
    client.send(format!("{head}\r\n{body}"));
    // The following bytes are read as a request, or not at all.
    client.answer("PUT").map(|answer| answer.status)
}

/// Returns header lines with ambiguous framing. Each has a body that hides a request in one of its
/// interpretations.
fn ambiguous() -> Vec<(&'static str, String)> {
    let chunked = format!("0\r\n\r\n{HIDDEN}");
    let length = HIDDEN.len();
    let both = |first: &str, second: &str| format!("{first}\r\n{second}\r\n");
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let long = format!("Content-Length: {}", chunked.len());
    let mut rows = vec![
        (leak(both(&long, "Transfer-Encoding: chunked")), chunked.clone()),
        (leak(both("Transfer-Encoding: chunked", &long)), chunked.clone()),
        (leak(both("Content-Length: 3", "Transfer-Encoding: chunked")), chunked.clone()),
    ];
    for odd in [
        "Transfer-Encoding : chunked",
        " Transfer-Encoding: chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding:",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\nX: y",
        "Connection: transfer-encoding\r\nTransfer-Encoding: chunked",
        "Transfer_Encoding: chunked",
    ] {
        rows.push((leak(both(&long, odd)), chunked.clone()));
    }
    for odd in [
        "Content-Length: 0\r\nContent-Length: {}",
        "Content-Length: {}\r\nContent-Length: 0",
        "Content-Length: 0, {}",
        "Content-Length: {}, {}",
        "Content-Length: +{}",
        "Content-Length: -1",
        "Content-Length: 0x10",
        "Content-Length: {} 0",
        "Content-Length: 18446744073709551616",
        "Content-Length : {}",
        "Content-Length:\r\n {}",
        "Connection: content-length\r\nContent-Length: {}",
        "Content_Length: 0\r\nContent-Length: {}",
    ] {
        rows.push((leak(format!("{}\r\n", odd.replace("{}", &length.to_string()))), HIDDEN.to_owned()));
    }
    rows
}

#[test]
fn a_body_is_never_read_as_a_request() {
    let upstream = gullible();
    for method in ["PUT", "POST", "GET", "DELETE"] {
        for (framing, body) in ambiguous() {
            let proxy = proxy(upstream.address).start();
            let target = if method == "POST" { "/photos/k?append&position=0" } else { "/photos/k" };
            let head = format!("{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{framing}");
            let before = upstream.heads().len();
            let status = send(&proxy, &head, &body);
            let heads = upstream.heads();
            let new = &heads[before..];
            // The upstream reads the body as heads. Only those that the proxy sent as a request
            // count.
            let signed = new.iter().filter(|head| line_of(head, "authorization").is_some()).count();
            assert!(signed <= 1, "{head}{body}\nbecame {new:#?}");
            let asks_for_it =
                |head: &&String| head.contains("/photos/hidden") && line_of(head, "authorization").is_some();
            assert_eq!(new.iter().find(asks_for_it), None, "{head} got {status:?}");
        }
    }
}

#[test]
fn an_old_version_with_chunks_is_refused() {
    let upstream = gullible();
    let proxy = proxy(upstream.address).start();
    let head = "PUT /photos/k HTTP/1.0\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n";
    assert_eq!(send(&proxy, head, &format!("0\r\n\r\n{HIDDEN}")), Some(400));
    assert!(upstream.heads().is_empty());
}

#[test]
fn odd_chunks_never_end_an_upload() {
    for chunks in [
        "0x4\r\nfour\r\n0\r\n\r\n",
        "+4\r\nfour\r\n0\r\n\r\n",
        "-4\r\nfour\r\n0\r\n\r\n",
        "4\nfour\n0\n\n",
        "4\r\nfourteen\r\n0\r\n\r\n",
        "5\r\nfour\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\nfour\r\n0\r\n\r\n",
        "\r\n0\r\n\r\n",
        "4\r\nfour\r\n0\r\nGET /photos/hidden HTTP/1.1\r\n\r\n",
    ] {
        let upstream = Script::start(|peer| {
            peer.head();
            peer.rest();
        });
        let proxy = proxy(upstream.address).start();
        let head = "PUT /photos/k HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n";
        let mut client = Client::connect(proxy.address);
        client.send(format!("{head}\r\n{chunks}"));
        let status = client.answer("PUT").map(|answer| answer.status);
        assert!(status.is_none_or(|status| status == 400), "{chunks:?}: {status:?}");
        if !upstream.heads().is_empty() {
            let sent = String::from_utf8_lossy(&upstream.rest()).into_owned();
            assert!(!sent.contains("0\r\n\r\n"), "{chunks:?} was completed: {sent:?}");
        }
    }
}

#[test]
fn extensions_and_trailers_end_here() {
    let upstream = Script::start(|peer| {
        peer.head();
        let sent = String::from_utf8(peer.take(14)).expect("text");
        assert_eq!(sent, "4\r\nfour\r\n0\r\n\r\n"[..14]);
        peer.send(OK);
        peer.rest();
    });
    let proxy = proxy(upstream.address).start();
    let head = "PUT /photos/k HTTP/1.1\r\nHost: 127.0.0.1\r\nTrailer: x-a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n";
    let trailers =
        "Content-Length: 99\r\nHost: evil.example\r\nTransfer-Encoding: identity\r\nAuthorization: x\r\n";
    assert_eq!(
        send(&proxy, head, "4;a=\"b\r\n\";c\r\nfour\r\n0\r\n\r\n"),
        Some(400),
        "a line break in quotes"
    );
    assert_eq!(send(&proxy, head, &format!("4;a=b\r\nfour\r\n0;c\r\n{trailers}\r\n")), Some(200));
    let heads = upstream.heads();
    let head = heads.last().expect("a request");
    assert!(line_of(head, "trailer").is_none() && line_of(head, "te").is_none(), "{head}");
    drop(proxy);
    assert!(!String::from_utf8_lossy(&upstream.rest()).contains("evil"), "the trailers went no further");
}

#[test]
fn what_was_signed_cannot_be_nominated_away() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    let own = proxy.address.to_string();
    let nominated = "Connection: host, content-length, authorization, x-oss-date, x-oss-content-sha256, content-type, close\r\n\
         Connection: x-oss-meta-a, transfer-encoding\r\nContent-Type: text/plain\r\nx-oss-meta-a: b\r\n";
    let answer = Client::connect(proxy.address).ask("PUT", "/photos/k", &own, nominated, b"body");
    assert_eq!(answer.status, 200);
    let head = &upstream.heads()[0];
    for name in ["host", "authorization", "x-oss-date", "x-oss-content-sha256", "content-length"] {
        assert!(line_of(head, name).is_some(), "{name}: {head}");
    }
    // The client's own Connection header removed these, before the request was signed.
    for name in ["content-type", "x-oss-meta-a", "connection"] {
        assert!(line_of(head, name).is_none(), "{name}: {head}");
    }
    assert_eq!(line_of(head, "content-length"), Some("4"));
}

#[test]
fn the_host_that_is_sent_is_the_one_that_was_judged() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    for (target, host) in [
        ("http://photos.oss-cn-hangzhou.aliyuncs.com/k", "files.example"),
        ("/k", "PHOTOS.oss-cn-hangzhou.aliyuncs.com:80"),
        ("/photos/k", "127.0.0.1"),
    ] {
        let answer = Client::connect(proxy.address).ask(
            "GET",
            target,
            host,
            "X-Forwarded-Host: evil.example\r\n",
            b"",
        );
        assert_eq!(answer.status, 200, "{target} {host}");
        let heads = upstream.heads();
        let head = heads.last().expect("a request");
        assert_eq!(line_of(head, "host"), Some("photos.oss-cn-hangzhou.aliyuncs.com"), "{head}");
        assert!(head.starts_with("GET /k HTTP/1.1\r\n"), "{head}");
    }
}

#[test]
fn an_upgrade_is_not_passed_on() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    let own = proxy.address.to_string();
    for upgrade in ["h2c", "websocket", "TLS/1.0"] {
        let headers = format!(
            "Connection: upgrade, http2-settings\r\nUpgrade: {upgrade}\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
        );
        assert_eq!(Client::connect(proxy.address).ask("GET", "/photos/k", &own, &headers, b"").status, 200);
        let heads = upstream.heads();
        let head = heads.last().expect("a request");
        assert!(line_of(head, "upgrade").is_none() && line_of(head, "http2-settings").is_none(), "{head}");
    }
}

#[test]
fn what_follows_an_answer_is_nobodys_answer() {
    for first in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ] {
        let upstream = Script::start(move |peer| {
            while peer.head().is_some() {
                peer.send(format!("{first}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"));
            }
        });
        let proxy = proxy(upstream.address).start();
        let own = proxy.address.to_string();
        let mut client = Client::connect(proxy.address);
        for turn in 0..20 {
            client.send(format!("GET /photos/k HTTP/1.1\r\nHost: {own}\r\n\r\n"));
            let Some(answer) = client.answer("GET") else { panic!("no answer") };
            assert!(!answer.text().contains("poison"), "{first}: turn {turn}");
        }
    }
}
