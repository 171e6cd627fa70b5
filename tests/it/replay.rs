//! Requests that are lost with a pooled connection: they are retried where that is safe, and
//! nowhere else.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{Answer, Client, Script, proxy};

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
fn lost(upstream: &Script, settings: &str, method: &str, target: &str, headers: &str, body: &[u8]) -> Answer {
    let proxy = proxy(upstream.address).sections(settings).start();
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
        let got = lost(&upstream, "", method, target, "x-oss-meta-a: b\r\n", b"");
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
        let got = lost(&upstream, "", method, target, headers, body);
        assert_eq!((got.status, got.refused()), (502, Some("upstream-reset")), "{method} {target} {headers}");
        assert_eq!(upstream.heads().len(), 2, "{method} {target} {headers}");
    }
}

#[test]
fn a_request_whose_answer_has_begun_is_not_sent_again() {
    let upstream = losing("HTTP/1.1 2", OK);
    assert_eq!(lost(&upstream, "", "GET", "/photos/k", "", b"").refused(), Some("upstream-reset"));
    assert_eq!(upstream.heads().len(), 2);
}

#[test]
fn a_request_is_sent_again_only_once_and_never_after_a_fresh_connection() {
    let upstream = losing("", "");
    assert_eq!(lost(&upstream, "", "GET", "/photos/k", "", b"").refused(), Some("upstream-reset"));
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
    let got = lost(&upstream, "[timeouts]\nfirst_byte = \"300ms\"", "GET", "/photos/k", "", b"");
    assert_eq!((got.status, got.refused()), (504, Some("upstream-stall")));
    assert_eq!(upstream.heads().len(), 2);
}
