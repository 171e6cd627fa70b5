//! Requests that are lost with a pooled connection: they are retried where that is safe, and
//! nowhere else.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use oss_signing_proxy::app::SystemEnv;
use oss_signing_proxy::internals::time::iso_extended;
use oss_signing_proxy::time::Clock as _;

use crate::support::h2::{over_h2, request, send};
use crate::support::{Answer, Client, ProxyBuilder, Script, proxy};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Starts an upstream. It answers the first request of its first connection. After the complete
/// second request, it sends `words` and closes the connection. Later connections are served with
/// `later`.
fn losing(words: &'static str, later: &'static str) -> Script {
    let connections = AtomicUsize::new(0);
    Script::start(move |peer| {
        let first = connections.fetch_add(1, Ordering::SeqCst) == 0;
        let mut requests = 0;
        while let Some(head) = peer.head() {
            requests += 1;
            peer.body(&head);
            if first && requests == 2 {
                return peer.send(words);
            }
            if !first && later.is_empty() {
                return;
            }
            peer.send(if first { OK } else { later });
        }
    })
}

/// Returns the response to a client's second request, which is sent on a pooled upstream connection
/// and is lost there.
fn lost(proxy: ProxyBuilder, method: &str, target: &str, headers: &str, body: &[u8]) -> Answer {
    let proxy = proxy.start();
    let own = proxy.address.to_string();
    let mut client = Client::connect(proxy.address);
    assert_eq!(client.ask("GET", "/photos/first", &own, "", b"").status, 200);
    client.ask(method, target, &own, headers, body)
}

#[test]
fn a_request_that_may_be_done_twice_is_sent_once_more() {
    for (method, target) in [
        ("GET", "/photos/k"),
        ("HEAD", "/photos/k"),
        ("DELETE", "/photos/k"),
        ("PUT", "/photos/k"),
        ("GET", "/photos?list-type=2&prefix=a%2Fb"),
    ] {
        let upstream = losing("", OK);
        let got = lost(proxy(upstream.address), method, target, "x-oss-meta-a: b\r\n", b"");
        assert_eq!(got.status, 200, "{method}");
        let heads = upstream.heads();
        assert_eq!(heads.len(), 3, "{method}");
        assert_eq!(heads[1], heads[2], "the same request, signature included");
    }
}

#[test]
fn a_request_that_must_not_be_done_twice_is_not() {
    for (method, target, headers, body) in [
        ("POST", "/photos/k?uploads", "", &b""[..]),
        ("POST", "/photos/k?append&position=0", "", b""),
        ("PUT", "/photos/k", "x-oss-forbid-overwrite: true\r\n", b""),
        ("PUT", "/photos/k", "", b"a body of which some was taken"),
    ] {
        let upstream = losing("", OK);
        let got = lost(proxy(upstream.address), method, target, headers, body);
        assert_eq!((got.status, got.refused()), (502, Some("upstream-reset")), "{method} {target} {headers}");
        assert_eq!(upstream.heads().len(), 2, "{method} {target} {headers}");
    }
}

#[test]
fn a_request_whose_answer_has_begun_is_not_sent_again() {
    let upstream = losing("HTTP/1.1 2", OK);
    assert_eq!(lost(proxy(upstream.address), "GET", "/photos/k", "", b"").refused(), Some("upstream-reset"));
    assert_eq!(upstream.heads().len(), 2);
}

#[test]
fn a_request_is_sent_again_only_once_and_never_after_a_fresh_connection() {
    let upstream = losing("", "");
    assert_eq!(lost(proxy(upstream.address), "GET", "/photos/k", "", b"").refused(), Some("upstream-reset"));
    assert_eq!(upstream.heads().len(), 3, "the first, the lost, and one more");
}

#[test]
fn a_request_that_timed_out_on_a_kept_connection_is_not_sent_again() {
    let upstream = Script::start(|peer| {
        peer.head();
        peer.send(OK);
        peer.head();
        peer.rest();
    });
    let proxy = proxy(upstream.address).sections("[timeouts]\nfirst_byte = \"300ms\"");
    let got = lost(proxy, "GET", "/photos/k", "", b"");
    assert_eq!((got.status, got.refused()), (504, Some("upstream-stall")));
    assert_eq!(upstream.heads().len(), 2);
}

#[test]
fn the_body_of_a_request_that_is_signed_again_goes_to_the_second_attempt_alone() {
    const DATA: &[u8] = b"6\r\nfirst-\r\n6\r\nsecond\r\n0\r\n\r\n";
    for connection in ["", "Connection: close\r\n"] {
        let connections = AtomicUsize::new(0);
        let upstream = Script::start(move |peer| {
            peer.head();
            if connections.fetch_add(1, Ordering::SeqCst) == 0 {
                // OSS rejects the clock before a byte of the body was read, and reads on.
                let theirs = SystemEnv.now() + Duration::from_secs(7_200);
                let body = format!(
                    "<Error><Code>RequestTimeTooSkewed</Code><ServerTime>{}</ServerTime></Error>",
                    iso_extended(theirs)
                );
                let length = body.len();
                peer.send(format!("HTTP/1.1 403 X\r\nContent-Length: {length}\r\n{connection}\r\n{body}"));
                return peer.rest();
            }
            let received = peer.take(DATA.len());
            assert_eq!(String::from_utf8_lossy(&received), String::from_utf8_lossy(DATA));
            peer.send(OK);
        });
        let proxy = proxy(upstream.address).start();
        let status = over_h2(proxy.address, async |connection| {
            let uri = format!("http://{}/photos/k", proxy.address);
            let (response, mut stream) = connection.begin(request("PUT", &uri)).await;
            while upstream.heads().len() < 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            for (part, end) in [(&b"first-"[..], false), (b"second", true)] {
                send(&mut stream, part, end).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            response.await.expect("a response").status()
        });
        assert_eq!(status, 200);
        assert_eq!(upstream.rest(), b"", "the first attempt has ended, without a byte of the body");
    }
}
