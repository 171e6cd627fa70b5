//! Upstreams with unusual behavior, and the resulting responses to the client.

use std::time::Duration;

use crate::support::{Client, Script, ask, eventually, oss, proxy};

/// Returns the response to a GET from an upstream that sends this once and closes.
fn answered(answer: &'static str) -> crate::support::Answer {
    let upstream = Script::start(move |peer| {
        peer.head();
        peer.send(answer);
    });
    let proxy = proxy(upstream.address).start();
    ask(proxy.address, "GET", "/photos/k", b"")
}

#[test]
fn a_length_beside_an_encoding_does_not_cut_the_body() {
    let got = answered(
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nwhole!\r\n0\r\n\r\n",
    );
    assert_eq!((got.text().as_str(), got.whole, got.header("content-length")), ("whole!", true, None));
}

#[test]
fn a_switch_of_protocols_is_not_passed_on() {
    let got = answered("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
    assert_eq!((got.status, got.refused()), (502, Some("upstream-invalid")));
}

#[test]
fn an_answer_that_is_no_http_is_a_bad_gateway() {
    for answer in [
        "garbage\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n",
    ] {
        let got = answered(answer);
        assert_eq!((got.status, got.refused()), (502, Some("upstream-invalid")), "{answer}");
        assert!(!got.text().contains("127.0.0.1"), "nothing of the inside is told: {}", got.text());
    }
}

#[test]
fn an_upstream_that_ends_before_its_answer_is_a_bad_gateway() {
    for answer in ["", "HTTP/1.1 200 OK\r\nContent-Le"] {
        let got = answered(answer);
        assert_eq!((got.status, got.refused()), (502, Some("upstream-reset")), "{answer:?}");
    }
}

#[test]
fn an_http_1_0_answer_without_length_is_framed_for_the_client_and_counted() {
    let upstream = Script::start(|peer| {
        peer.head();
        peer.send("HTTP/1.0 200 OK\r\nx-oss-meta-a: b\r\n\r\nto the end");
    });
    let proxy = proxy(upstream.address).start();
    let got = ask(proxy.address, "GET", "/photos/k", b"");
    assert_eq!((got.text().as_str(), got.whole), ("to the end", true));
    assert_eq!(got.header("transfer-encoding"), Some("chunked"));
    assert_eq!(proxy.counts().unframed, 1);
}

#[test]
fn an_answer_in_another_coding_than_chunked_is_a_bad_gateway() {
    for coding in [
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip",
        "Transfer-Encoding: gzip\r\nContent-Length: 12",
    ] {
        for status in ["200 OK", "206 Partial Content", "404 Not Found"] {
            let upstream = Script::start(move |peer| {
                peer.head();
                peer.send(format!("HTTP/1.1 {status}\r\n{coding}\r\n\r\n2\r\nok\r\n0\r\n\r\n"));
            });
            let proxy = proxy(upstream.address).start();
            let got = ask(proxy.address, "GET", "/photos/k", b"");
            assert_eq!((got.status, got.refused()), (502, Some("upstream-invalid")), "{status} {coding}");
            assert_eq!(proxy.counts().unframed, 0, "{coding}");
        }
    }
    let got = answered("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    assert_eq!((got.status, got.text().as_str()), (200, "ok"));
}

#[test]
fn headers_that_only_this_proxy_sends_are_not_taken_from_the_upstream() {
    for status in ["200 OK", "403 Forbidden", "502 Bad Gateway"] {
        let upstream = Script::start(move |peer| {
            peer.head();
            peer.send(format!(
                "HTTP/1.1 {status}\r\nContent-Length: 2\r\nX-Proxy-Error: denied\r\nx-proxy-error: browser\r\n\
                 x-proxy-note: clock-corrected\r\nx-proxy-request-id: forged\r\nx-proxy-cache: hit\r\n\r\nok"
            ));
        });
        let proxy = proxy(upstream.address).start();
        let got = ask(proxy.address, "GET", "/photos/k", b"");
        assert_eq!((got.refused(), got.header("x-proxy-note")), (None, None), "{status}");
        assert!(got.header("x-proxy-request-id").is_some_and(|id| id != "forged"), "{status}");
        assert_eq!(got.header("x-proxy-cache"), Some("hit"), "{status}");
    }
}

#[test]
fn an_answer_has_as_many_header_lines_as_a_request_and_no_more() {
    for (count, status, code) in [(255, 200, None), (256, 502, Some("upstream-invalid"))] {
        let lines: String = (0..count).map(|number| format!("x-oss-meta-{number}: v\r\n")).collect();
        let upstream = Script::start(move |peer| {
            peer.head();
            peer.send(format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 2\r\n\r\nok"));
        });
        let proxy = proxy(upstream.address).start();
        let got = ask(proxy.address, "GET", "/photos/k", b"");
        assert_eq!((got.status, got.refused()), (status, code), "{count} and the length");
    }
}

#[test]
fn headers_for_one_hop_end_here_and_all_others_pass() {
    let got = answered(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive, x-hop\r\nx-hop: 1\r\nKeep-Alive: timeout=5\r\n\
         x-oss-meta-a: b\r\nETag: \"e\"\r\nContent-Encoding: gzip\r\nServer: AliyunOSS\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\nok",
    );
    for (name, value) in [
        ("x-hop", None),
        ("keep-alive", None),
        ("x-oss-meta-a", Some("b")),
        ("etag", Some("\"e\"")),
        ("content-encoding", Some("gzip")),
        ("server", Some("AliyunOSS")),
        ("date", Some("Thu, 01 Jan 2026 00:00:00 GMT")),
    ] {
        assert_eq!(got.header(name), value, "{name}");
    }
}

#[test]
fn the_words_after_the_status_are_kept() {
    let upstream = Script::answering("HTTP/1.1 403 Not For You\r\nContent-Length: 0\r\n\r\n");
    let proxy = proxy(upstream.address).start();
    let mut client = Client::connect(proxy.address);
    client.send(format!("GET /photos/k HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.address));
    let mut line = [0; 24];
    std::io::Read::read_exact(&mut client.stream, &mut line).expect("a line");
    assert_eq!(&line, b"HTTP/1.1 403 Not For You");
}

#[test]
fn a_redirect_is_passed_on_and_never_followed() {
    let got =
        answered("HTTP/1.1 302 Found\r\nLocation: http://elsewhere.example/\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((got.status, got.header("location")), (302, Some("http://elsewhere.example/")));
}

#[test]
fn a_refusal_in_the_middle_of_an_upload_reaches_the_client() {
    for round in 0..20 {
        let upstream = Script::start(|peer| {
            peer.head();
            peer.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\nConnection: close\r\n\r\ndenied");
        });
        let proxy = proxy(upstream.address).start();
        let mut client = Client::connect(proxy.address);
        client.send(format!(
            "PUT /photos/k HTTP/1.1\r\nHost: {}\r\nContent-Length: 400000\r\n\r\n",
            proxy.address
        ));
        // The proxy may stop reading at any time.
        let _ = std::io::Write::write_all(&mut client.stream, &vec![b'x'; 200_000]);
        let answer = client.answer("PUT").unwrap_or_else(|| panic!("no answer in round {round}"));
        assert_eq!((answer.status, answer.text().as_str()), (403, "denied"), "round {round}");
    }
}

#[test]
fn a_kept_connection_is_used_again() {
    let oss = oss();
    let proxy = proxy(oss.address).start();
    let own = proxy.address.to_string();
    let mut client = Client::connect(proxy.address);
    for method in ["PUT", "GET", "HEAD", "GET", "DELETE", "GET"] {
        client.ask(method, "/photos/k", &own, "", if method == "PUT" { b"v" } else { b"" });
    }
    assert_eq!((oss.recorder.count(), oss.recorder.connections()), (6, 1));
}

#[test]
fn a_kept_connection_that_oss_has_closed_costs_no_request() {
    use oss_signing_proxy::emulator::InjectedFault;
    let oss = oss();
    let proxy = proxy(oss.address).start();
    let own = proxy.address.to_string();
    let mut client = Client::connect(proxy.address);
    for round in 0..5 {
        oss.faults.next(1, InjectedFault::CloseAfter);
        assert_eq!(client.ask("PUT", "/photos/k", &own, "", b"v").status, 200, "round {round}");
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(client.ask("POST", "/photos/k?uploads", &own, "", b"").status, 200, "round {round}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let oss = oss();
    let proxy = proxy(oss.address).start();
    let own = proxy.address;
    for key in ["a", "b", "c"] {
        ask(own, "PUT", &format!("/photos/{key}"), key.as_bytes());
    }
    let mut client = Client::connect(own);
    let one = |key: &str| format!("GET /photos/{key} HTTP/1.1\r\nHost: {own}\r\n\r\n");
    client.send(["a", "b", "c"].map(one).concat());
    for key in ["a", "b", "c"] {
        assert_eq!(client.answer("GET").expect("an answer").text(), key);
    }
}

#[test]
fn an_http_1_0_client_is_served() {
    let oss = oss();
    let proxy = proxy(oss.address).start();
    ask(proxy.address, "PUT", "/photos/k", b"content");
    let mut client = Client::connect(proxy.address);
    client.send(format!("GET /photos/k HTTP/1.0\r\nHost: {}\r\n\r\n", proxy.address));
    let answer = client.answer("GET").expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "content"));
    assert!(client.is_closed());
}

#[test]
fn half_a_head_does_not_hold_the_drain() {
    use oss_signing_proxy::app::DrainOutcome;
    let oss = oss();
    let proxy = proxy(oss.address).start();
    let mut client = Client::connect(proxy.address);
    client.send("GET /photos/k HTTP/1.1\r\nHo");
    assert_eq!(
        ask(proxy.address, "GET", "/photos/k", b"").status,
        404,
        "the other core or the same, both are awake"
    );
    let begun = std::time::Instant::now();
    proxy.drain.leave();
    assert_eq!(proxy.ended(), DrainOutcome::Whole);
    assert!(begun.elapsed() < Duration::from_secs(10), "its limit is 25 s");
}

#[test]
fn a_drain_lets_requests_in_flight_end_and_closes_the_idle() {
    use oss_signing_proxy::app::DrainOutcome;
    use oss_signing_proxy::emulator::InjectedFault;
    let oss = oss();
    let proxy = proxy(oss.address).start();
    let own = proxy.address.to_string();
    ask(proxy.address, "PUT", "/photos/k", b"content");
    let mut idle = Client::connect(proxy.address);
    idle.ask("GET", "/photos/k", &own, "", b"");
    oss.faults.next(1, InjectedFault::Delay(Duration::from_millis(300)));
    let mut busy = Client::connect(proxy.address);
    let before = oss.recorder.count();
    busy.send(format!("GET /photos/k HTTP/1.1\r\nHost: {own}\r\n\r\n"));
    eventually("the request arrives", || oss.recorder.count() > before);
    proxy.drain.leave();
    assert!(idle.is_closed());
    let answer = busy.answer("GET").expect("an answer");
    assert_eq!((answer.text().as_str(), answer.header("connection")), ("content", Some("close")));
    assert_eq!(proxy.ended(), DrainOutcome::Whole);
}
