//! Invalid input: each gets a clear response, and none is forwarded.

use crate::support::{Answer, Client, Script, proxy};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Sends a request unchanged and reads the response.
fn raw(proxy: &crate::support::Proxy, request: &[u8]) -> Option<Answer> {
    let mut client = Client::connect(proxy.address);
    client.send(request);
    let method = String::from_utf8_lossy(request).split(' ').next().unwrap_or_default().to_owned();
    client.answer(&method)
}

/// Request line without its protocol, header lines, status, error code.
const MISTAKES: &[(&str, &str, u16, &str)] = &[
    ("GET /photos/%zz", "Host: 127.0.0.1\r\n", 400, "bad-request"),
    ("GET /photos/a%4", "Host: 127.0.0.1\r\n", 400, "bad-request"),
    ("GET /photos/?prefix=%G1", "Host: 127.0.0.1\r\n", 400, "bad-request"),
    ("GET /pho%tos/k", "Host: 127.0.0.1\r\n", 400, "bad-request"),
    ("PUT /photos/k", "Host: 127.0.0.1\r\nTransfer-Encoding: gzip, chunked\r\n", 400, "bad-request"),
    ("PUT /photos/k", "Host: 127.0.0.1\r\nTransfer-Encoding: chunked, chunked\r\n", 400, "bad-request"),
    (
        "PUT /photos/k",
        "Host: 127.0.0.1\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        400,
        "bad-request",
    ),
    ("PUT /photos/k", "Host: 127.0.0.1\r\nExpect: 200-ok\r\nContent-Length: 1\r\n", 417, "expectation"),
    (
        "PUT /photos/k",
        "Host: 127.0.0.1\r\nExpect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 1\r\n",
        417,
        "expectation",
    ),
    ("GET /photos/k", "Host: evil.example\r\n", 421, "unknown-host"),
    ("GET http://evil.example/photos/k", "Host: 127.0.0.1\r\n", 421, "unknown-host"),
    ("GET /photos/k", "Host: 127.0.0.1\r\nHost: 127.0.0.1\r\n", 400, "bad-request"),
    ("GET /photos/k", "", 400, "bad-request"),
    ("GET /photos/k", "Host: u:p@127.0.0.1\r\n", 400, "bad-request"),
    ("GET /photos/k", "Host: 127.0.0.1:99999\r\n", 400, "bad-request"),
    ("GET http://127.0.0.1:99999/photos/k", "Host: 127.0.0.1\r\n", 400, "bad-request"),
    ("GET /k", "Host: .oss-cn-hangzhou.aliyuncs.com\r\n", 400, "invalid-bucket"),
    ("GET /Photos/k", "Host: 127.0.0.1\r\n", 400, "invalid-bucket"),
    ("GET //k", "Host: 127.0.0.1\r\n", 400, "invalid-bucket"),
    ("PUT /", "Host: 127.0.0.1\r\nContent-Length: 0\r\n", 400, "invalid-bucket"),
    ("POST /photos/?uploads", "Host: 127.0.0.1\r\nContent-Length: 0\r\n", 400, "invalid-key"),
    ("POST /photos?append&position=0", "Host: 127.0.0.1\r\nContent-Length: 0\r\n", 400, "invalid-key"),
    ("TRACE /photos/k", "Host: 127.0.0.1\r\n", 405, "method"),
    ("PATCH /photos/k", "Host: 127.0.0.1\r\n", 405, "method"),
    ("get /photos/k", "Host: 127.0.0.1\r\n", 405, "method"),
    ("CONNECT photos.oss-cn-hangzhou.aliyuncs.com:443", "Host: x\r\n", 405, "method"),
    ("OPTIONS *", "Host: 127.0.0.1\r\n", 403, "preflight"),
    ("OPTIONS /", "Host: 127.0.0.1\r\n", 403, "preflight"),
    ("GET *", "Host: 127.0.0.1\r\n", 400, "bad-request"),
    ("GET photos", "Host: 127.0.0.1\r\n", 400, "bad-request"),
    ("GET https://127.0.0.1/photos/k", "Host: 127.0.0.1\r\n", 400, "bad-request"),
];

#[test]
fn each_mistake_has_a_status_and_a_code_and_goes_nowhere() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    for (line, headers, status, code) in MISTAKES {
        refused(&proxy, &format!("{line} HTTP/1.1\r\n{headers}\r\n"), *status, code);
    }
    assert!(upstream.heads().is_empty(), "forwarded: {:?}", upstream.heads());
}

#[test]
fn a_key_over_1023_bytes_is_refused_however_it_is_written() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    for key in ["k".repeat(1024), "%4B".repeat(1024), "\u{4e2d}".repeat(342)] {
        refused(
            &proxy,
            &format!("GET /photos/{key} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
            400,
            "invalid-key",
        );
    }
    assert!(upstream.heads().is_empty());
}

/// Asserts that a request is rejected with this status and code, and an error document.
fn refused(proxy: &crate::support::Proxy, request: &str, status: u16, code: &str) {
    let answer = raw(proxy, request.as_bytes()).unwrap_or_else(|| panic!("no answer: {request}"));
    assert_eq!((answer.status, answer.refused()), (status, Some(code)), "{request}{}", answer.text());
    assert!(answer.text().contains("<Code>"), "{request}: an error document");
    assert!(answer.text().contains(answer.header("x-oss-request-id").expect("an id")), "{request}");
}

#[test]
fn a_refused_head_gets_its_head_alone() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    let mut client = Client::connect(proxy.address);
    let own = proxy.address.to_string();
    assert_eq!(client.ask("HEAD", "/photos/%zz", &own, "", b"").refused(), Some("bad-request"));
    assert_eq!(client.ask("GET", "/photos/k", &own, "", b"").status, 200, "the connection goes on");
}

#[test]
fn what_the_http_library_refuses_gets_its_bare_answer_and_is_counted() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    let bad: [&[u8]; 8] = [
        b"GET /photos/a<b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /photos/a b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /photos/\xe9 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /photos/\x01 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /photos/k HTTP/1.1\r\nHost: 127.0.0.1\r\nx-oss-meta-a: 1\r\n 2\r\n\r\n",
        b"PUT /photos/k HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"PUT /photos/k HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: +1\r\n\r\na",
        b"PUT /photos/k HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    ];
    for (number, request) in bad.iter().enumerate() {
        let mut client = Client::connect(proxy.address);
        client.send(request);
        let answer = client.answer("GET").expect("an answer");
        assert_eq!(answer.status, 400, "{}", String::from_utf8_lossy(request));
        assert_eq!(answer.refused(), None);
        assert!(client.is_closed(), "{}", String::from_utf8_lossy(request));
        // The connection is closed before it is counted.
        let counted = || proxy.counts().malformed == number as u64 + 1;
        assert!((0..200).any(|_| counted() || {
            std::thread::yield_now();
            std::thread::sleep(TICK);
            false
        }));
    }
    assert!(upstream.heads().is_empty());
}

/// The interval at which a count is polled.
const TICK: std::time::Duration = std::time::Duration::from_millis(5);

#[test]
fn a_head_with_too_many_lines_is_rejected_with_a_code_and_the_connection_goes_on() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    let own = proxy.address.to_string();
    let mut client = Client::connect(proxy.address);
    for (count, status, code) in [(255, 200, None), (256, 431, Some("header-limit")), (255, 200, None)] {
        let lines: String = (0..count).map(|n| format!("x-{n}: v\r\n")).collect();
        let answer = client.ask("GET", "/photos/k", &own, &lines, b"");
        assert_eq!((answer.status, answer.refused()), (status, code), "{count} and the host");
        assert!(status == 200 || answer.text().contains("more than 256 header lines"), "{}", answer.text());
    }
    assert_eq!(upstream.heads().len(), 2);
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    let large = format!("x-large: {}\r\n", "v".repeat(80 * 1024));
    let mut client = Client::connect(proxy.address);
    client.send(format!("GET /photos/k HTTP/1.1\r\nHost: 127.0.0.1\r\n{large}\r\n"));
    assert_eq!(client.answer("GET").map(|answer| answer.status), Some(431));
    assert!(upstream.heads().is_empty());
}

#[test]
fn a_length_beside_an_encoding_is_one_request_and_the_connection_ends() {
    let upstream = Script::start(|peer| {
        while peer.head().is_some() {
            let mut all = Vec::new();
            while !all.ends_with(b"0\r\n\r\n") {
                all.extend(peer.take(1));
            }
            peer.send(OK);
        }
    });
    let proxy = proxy(upstream.address).start();
    let hidden = "GET /photos/hidden HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    for lines in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    ] {
        let mut client = Client::connect(proxy.address);
        client.send(format!(
            "PUT /photos/k HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n1\r\nv\r\n0\r\n\r\n{hidden}"
        ));
        assert_eq!(client.answer("PUT").map(|answer| answer.status), Some(200));
        assert!(client.is_closed(), "no second request is read after such a one");
    }
    let heads = upstream.heads();
    assert_eq!(heads.len(), 2, "{heads:?}");
    for head in heads {
        let head = head.to_ascii_lowercase();
        assert!(
            head.contains("transfer-encoding: chunked\r\n") && !head.contains("content-length"),
            "{head}"
        );
    }
}

#[test]
fn a_raw_number_sign_cuts_the_target_which_is_a_documented_limit() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    let answer = raw(&proxy, b"GET /photos/a#b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").expect("an answer");
    assert_eq!(answer.status, 200);
    assert!(upstream.heads()[0].starts_with("GET /a HTTP/1.1\r\n"), "{}", upstream.heads()[0]);
}

#[test]
fn a_refused_small_body_leaves_the_connection_in_use_and_a_large_one_ends_it() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    let own = proxy.address.to_string();
    let mut client = Client::connect(proxy.address);
    let answer = client.ask("PUT", "/photos/%zz", &own, "", &vec![b'x'; 200_000]);
    assert_eq!((answer.status, answer.header("connection")), (400, None));
    assert_eq!(client.ask("GET", "/photos/k", &own, "", b"").status, 200);

    let mut client = Client::connect(proxy.address);
    client.send(format!("PUT /photos/%zz HTTP/1.1\r\nHost: {own}\r\nContent-Length: 5000000000\r\n\r\n"));
    let answer = client.answer("PUT").expect("an answer");
    assert_eq!((answer.status, answer.header("connection")), (400, Some("close")));
    assert_eq!(upstream.heads().len(), 1);
}

#[test]
fn a_refused_expectation_is_told_at_once_and_the_body_is_not_asked_for() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    let mut client = Client::connect(proxy.address);
    client.send(
        "PUT /photos/%zz HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    );
    let (status, head) = client.head().expect("an answer");
    assert_eq!(status, 400, "no 100 before it");
    assert!(head.contains(&("connection".to_owned(), "close".to_owned())), "{head:?}");
}
