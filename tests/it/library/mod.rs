//! Behavior of the HTTP library, row by row. Each behavior that the data path relies on or
//! compensates for has a test here, unless another file covers it.

mod ends;

use std::io::Write as _;
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use crate::support::{Answer, Client, Script, ask, oss, proxy};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Returns the client's response from an upstream that reads one request, sends this, and waits for
/// the end.
fn answered(method: &str, answer: &'static str) -> Answer {
    let upstream = Script::start(move |peer| {
        let head = peer.head().unwrap_or_default();
        peer.body(&head);
        peer.send(answer);
        peer.rest();
    });
    let proxy = proxy(upstream.address).sections("[timeouts]\nstall = \"2s\"").start();
    ask(proxy.address, method, "/photos/k", b"")
}

/// Returns the response to a client that sends this.
fn told(to: SocketAddr, request: impl AsRef<[u8]>) -> Answer {
    let mut client = Client::connect(to);
    client.send(request);
    client.answer("GET").expect("an answer")
}

// The target of a request.

#[test]
fn a_path_survives_byte_for_byte() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    for target in ["//", "/./a/../b", "/a%2Fb%00"] {
        let sent = format!("GET {target} HTTP/1.1\r\nHost: photos.oss.example.test\r\n\r\n");
        assert_eq!(told(proxy.address, sent).status, 200, "{target}");
        let head = upstream.heads().pop().expect("a head");
        assert!(head.starts_with(&format!("GET {target} HTTP/1.1\r\n")), "{target}: {head}");
    }
}

#[test]
fn an_absolute_target_without_a_path_is_the_root() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    for (target, path) in [("", "/"), ("?prefix=a", "/?prefix=a"), ("/?prefix=a", "/?prefix=a")] {
        let sent = format!("GET http://PHOTOS.oss.example.test:80{target} HTTP/1.1\r\nHost: x\r\n\r\n");
        let answer = told(proxy.address, sent);
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        let head = upstream.heads().pop().expect("a head");
        assert!(head.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{target}: {head}");
    }
}

#[test]
fn a_path_that_looks_like_an_authority_stays_a_path() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    let answer = told(proxy.address, "GET //evil/x HTTP/1.1\r\nHost: photos.oss.example.test\r\n\r\n");
    assert_eq!(answer.status, 200);
    let head = upstream.heads().pop().expect("a head").to_ascii_lowercase();
    assert!(head.starts_with("get //evil/x http/1.1\r\n"), "{head}");
    assert!(head.contains("host: photos.oss-cn-hangzhou.aliyuncs.com\r\n"), "{head}");
}

#[test]
fn the_longest_key_fits_and_a_longer_target_is_refused() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    let longest = format!("/photos/{}", "%4b".repeat(1023));
    assert_eq!(ask(proxy.address, "GET", &longest, b"").status, 200);
    let long = "k".repeat(70_000);
    let answer = told(proxy.address, format!("GET /photos/{long} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"));
    assert!(matches!(answer.status, 414 | 431), "{}", answer.status);
    assert_eq!(upstream.heads().len(), 1);
}

// The head of a request.

#[test]
fn values_of_any_byte_and_empty_ones_pass_both_ways() {
    let upstream = Script::start(|peer| {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(peer.take(1));
        }
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nx-none: \r\nx-back: ", head.len()));
        peer.send(b"\xe9\xff\r\n\r\n");
        peer.send(&head);
    });
    let proxy = proxy(upstream.address).start();
    let sent =
        b"GET /photos/k HTTP/1.1\r\nHost: 127.0.0.1\r\nx-odd: \xe9\x80\xff\r\nx-empty:\r\nx-tab: a\tb\r\n\r\n";
    let answer = told(proxy.address, sent);
    for line in [&b"x-odd: \xe9\x80\xff\r\n"[..], b"x-empty: \r\n", b"x-tab: a\tb\r\n"] {
        let came = answer.body.windows(line.len()).any(|part| part == line);
        assert!(came, "{}: {}", String::from_utf8_lossy(line), answer.text());
    }
    assert_eq!((answer.header("x-none"), answer.header("x-back")), (Some(""), Some("\u{fffd}\u{fffd}")));
}

#[test]
fn a_line_may_end_in_a_line_feed_alone() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    let answer = told(proxy.address, "GET /photos/k HTTP/1.1\nHost: 127.0.0.1\nx-oss-meta-a: b\n\n");
    assert_eq!(answer.status, 200);
    let head = upstream.heads().pop().expect("a head");
    assert!(head.contains("x-oss-meta-a: b\r\n"), "written anew: {head:?}");
}

#[test]
fn a_head_beyond_what_the_library_parses_gets_its_bare_431() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    for (count, code) in [(511, Some("header-limit")), (512, None)] {
        let answer = told(proxy.address, head_of(count));
        assert_eq!((answer.status, answer.refused()), (431, code), "{count} and the host");
    }
    assert!(upstream.heads().is_empty());
}

/// Returns a request with a host and this many further header lines.
fn head_of(count: usize) -> String {
    let lines: String = (0..count).map(|number| format!("x-{number}: v\r\n")).collect();
    format!("GET /photos/k HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n")
}

#[test]
fn an_old_version_may_keep_its_connection() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    let mut client = Client::connect(proxy.address);
    for _ in 0..2 {
        client.send("GET /photos/k HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: keep-alive\r\n\r\n");
        let answer = client.answer("GET").expect("an answer");
        assert_eq!((answer.status, answer.header("transfer-encoding")), (200, None));
    }
}

#[test]
fn what_a_client_says_of_its_connection_is_not_said_of_ours() {
    let oss = oss();
    let proxy = proxy(oss.address).start();
    let own = proxy.address.to_string();
    for _ in 0..3 {
        let mut client = Client::connect(proxy.address);
        let answer = client.ask("GET", "/photos/?max-keys=1", &own, "Connection: close\r\n", b"");
        assert_eq!(answer.status, 200);
        assert!(client.is_closed());
    }
    assert!(oss.recorder.connections() <= 2, "one for each core, and no more");
}

// The framing of a request.

#[test]
fn a_body_belongs_to_any_method() {
    let upstream = Script::start(|peer| {
        while let Some(head) = peer.head() {
            let body = peer.body(&head);
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()));
            peer.send(body);
        }
    });
    let proxy = proxy(upstream.address).start();
    for method in ["GET", "DELETE", "POST", "PUT"] {
        let answer = ask(proxy.address, method, "/photos/k?x-oss-process=a", b"a body");
        assert_eq!((answer.status, answer.text().as_str()), (200, "a body"), "{method}");
    }
}

#[test]
fn an_end_inside_the_last_chunk_is_no_end() {
    let upstream = Script::start(|peer| {
        peer.head();
        peer.rest();
    });
    let proxy = proxy(upstream.address).start();
    for part in ["0", "0\r", "0\r\n", "0\r\n\r"] {
        let mut client = Client::connect(proxy.address);
        client.send(format!(
            "PUT /photos/k HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbytes\r\n{part}"
        ));
        client.stream.shutdown(Shutdown::Write).expect("half an end");
        let rest = upstream.rest();
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{part:?}: {}", String::from_utf8_lossy(&rest));
    }
}

// The response of the upstream.

#[test]
fn a_length_is_written_as_one_number() {
    let answer = answered("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nwhole");
    // Two equal lengths count as one. If the library rejects the response, the result is 502.
    match answer.status {
        200 => assert_eq!((answer.header("content-length"), answer.text().as_str()), (Some("5"), "whole")),
        status => assert_eq!((status, answer.refused()), (502, Some("upstream-invalid"))),
    }
}

#[test]
fn answers_without_a_body_say_what_they_said() {
    let length = Some("1234");
    for (method, answer, expected) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", (200, length)),
        ("HEAD", "HTTP/1.1 200 OK\r\n\r\n", (200, None)),
        ("HEAD", "HTTP/1.1 404 Not Found\r\nContent-Length: 1234\r\n\r\n", (404, length)),
        ("DELETE", "HTTP/1.1 204 No Content\r\n\r\n", (204, None)),
        ("DELETE", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", (204, None)),
    ] {
        let got = answered(method, answer);
        assert_eq!((got.status, got.header("content-length")), expected, "{method} {answer:?}");
        assert_eq!(got.header("transfer-encoding"), None, "{method} {answer:?}");
    }
    assert_eq!(answered("GET", "HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\n\r\n").status, 304);
}

#[test]
fn provisional_answers_are_not_passed_on() {
    for before in ["100 Continue", "102 Processing", "103 Early Hints", "199 Odd"] {
        let before: &'static str = before;
        let upstream = Script::start(move |peer| {
            peer.head();
            peer.send(format!("HTTP/1.1 {before}\r\nLink: x\r\n\r\n").repeat(3));
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        });
        let proxy = proxy(upstream.address).start();
        let mut client = Client::connect(proxy.address);
        client.send("GET /photos/k HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        assert_eq!(client.head().map(|(status, _)| status), Some(200), "{before}");
    }
}

#[test]
fn provisional_answers_without_end_are_a_stall() {
    let upstream = Script::start(|peer| {
        peer.head();
        while peer.stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let proxy = proxy(upstream.address).sections("[timeouts]\nfirst_byte = \"300ms\"").start();
    let answer = ask(proxy.address, "GET", "/photos/k", b"");
    assert_eq!((answer.status, answer.refused()), (504, Some("upstream-stall")));
}

#[test]
fn an_old_version_of_the_upstream_is_not_told() {
    let upstream =
        Script::answering("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok");
    let proxy = proxy(upstream.address).start();
    let mut client = Client::connect(proxy.address);
    client.send("GET /photos/k HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    let mut line = [0; 15];
    std::io::Read::read_exact(&mut client.stream, &mut line).expect("a line");
    assert_eq!(&line, b"HTTP/1.1 200 OK");
}

#[test]
fn trailers_of_an_answer_end_here() {
    let answer = answered(
        "GET",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n",
    );
    assert_eq!((answer.text().as_str(), answer.whole, answer.header("trailer")), ("ok", true, None));
}

#[test]
fn an_answer_with_many_headers_passes() {
    let lines: String = (0..150).map(|number| format!("x-oss-meta-{number}: v\r\n")).collect();
    let answer = format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 2\r\n\r\nok");
    let got = answered("GET", answer.leak());
    assert_eq!((got.status, got.header("x-oss-meta-149")), (200, Some("v")), "{}", got.text());
}
