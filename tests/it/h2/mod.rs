//! HTTP/2 with prior knowledge: the guarantees of HTTP/1.1 hold, and the end of a stream has its
//! proper meaning.

mod life;
mod uploads;
mod windows;

use std::io::Read as _;
use std::time::Duration;

use http::{HeaderValue, Request, Version};

use crate::keys::{escaped, nasty};
use crate::support::h2::{Got, over_h2, request};
use crate::support::{Client, Proxy, Script, bucket, oss, proxy};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn uri(proxy: &Proxy, target: &str) -> String {
    format!("http://{}{target}", proxy.address)
}

/// Sends one request on a new connection.
fn once(proxy: &Proxy, request: Request<()>, body: &[u8]) -> Got {
    over_h2(proxy.address, async |connection| connection.ask(request, body).await)
}

/// Writes each key, checks the stored object, reads it back and deletes it, on one connection.
fn round_trip(upstream: &str) {
    let oss = oss();
    let proxy = proxy(oss.address).upstream(upstream).start();
    let address = proxy.address;
    over_h2(address, async |connection| {
        let forms = [
            format!("http://{address}/photos/"),
            "http://photos.oss.example.test/".to_owned(),
            "https://photos.oss-cn-hangzhou.aliyuncs.com/".to_owned(),
        ];
        for key in nasty() {
            for form in &forms {
                let at = format!("{form}{}", escaped(&key));
                let put = connection.ask(request("PUT", &at), at.as_bytes()).await;
                assert_eq!(put.status, 200, "PUT {at}: {}", put.text());
                let stored = oss.service.object(&bucket("photos"), &key);
                assert_eq!(stored.as_deref(), Some(at.as_bytes()), "stored {at}");
                let get = connection.ask(request("GET", &at), b"").await;
                assert_eq!((get.status.as_u16(), get.text()), (200, at.clone()));
                let head = connection.ask(request("HEAD", &at), b"").await;
                let length = at.len().to_string();
                assert_eq!((head.header("content-length"), head.body.len()), (Some(length.as_str()), 0));
                let gone = connection.ask(request("DELETE", &at), b"").await;
                assert_eq!(gone.status, 204, "DELETE {at}");
            }
        }
    });
    assert!(oss.service.keys(&bucket("photos")).is_empty());
}

#[test]
fn nasty_keys_survive_over_http_2_with_v4() {
    round_trip("");
}

#[test]
fn nasty_keys_survive_over_http_2_with_v1() {
    round_trip("signature = \"v1\"");
}

#[test]
fn the_preface_may_come_byte_by_byte() {
    let oss = oss();
    let proxy = proxy(oss.address).start();
    let mut client = Client::connect(proxy.address);
    for byte in *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" {
        client.send([byte]);
        std::thread::sleep(Duration::from_millis(2));
    }
    client.send([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    let mut head = [0; 9];
    client.stream.read_exact(&mut head).expect("a frame");
    assert_eq!(head[3], 4, "the server's settings");
}

#[test]
fn a_head_that_begins_like_the_preface_is_http_1() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    for beginning in ["P", "PR", "PUT /photos/"] {
        let mut client = Client::connect(proxy.address);
        client.send(beginning);
        std::thread::sleep(Duration::from_millis(20));
        let rest = &"PUT /photos/k HTTP/1.1\r\n"[beginning.len()..];
        // `PR` alone is not recognized as the beginning of PUT; the method is rejected, over
        // HTTP/1.1.
        client.send(format!("{rest}Host: {}\r\nContent-Length: 0\r\n\r\n", proxy.address));
        let got = client.answer("PUT").expect("an answer");
        assert_eq!(got.status, if beginning == "PR" { 405 } else { 200 }, "{beginning}");
    }
}

#[test]
fn authority_and_host_must_agree() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    let own = proxy.address.to_string();
    let with_host = |uri: &str, host: &str| {
        let mut request = request("GET", uri);
        request.headers_mut().insert("host", HeaderValue::from_str(host).expect("a value"));
        request
    };
    let at = uri(&proxy, "/photos/k");
    assert_eq!(once(&proxy, with_host(&at, &own), b"").status, 200, "the same twice");
    let differ = once(&proxy, with_host(&at, "photos.oss-cn-hangzhou.aliyuncs.com"), b"");
    assert_eq!((differ.status.as_u16(), differ.refused()), (400, Some("bad-request")), "{}", differ.text());
    // Without an authority, as from a gateway that forwards from HTTP/1.1.
    let mut only_host = with_host("/photos/k", &own);
    *only_host.version_mut() = Version::HTTP_11;
    assert_eq!(once(&proxy, only_host.clone(), b"").status, 200, "only a host");
    only_host.headers_mut().remove("host");
    let neither = once(&proxy, only_host, b"");
    assert_eq!((neither.status.as_u16(), neither.refused()), (400, Some("bad-request")));
    let unknown = once(&proxy, request("GET", "http://evil.example/photos/k"), b"");
    assert_eq!((unknown.status.as_u16(), unknown.refused()), (421, Some("unknown-host")));
    assert_eq!(upstream.heads().len(), 2, "what was refused went nowhere");
}

#[test]
fn values_are_trimmed_before_they_are_signed_and_sent() {
    let oss = oss();
    let real = proxy(oss.address).start();
    let upstream = Script::answering(OK);
    let seen = proxy(upstream.address).start();
    for proxy in [&real, &seen] {
        let mut request = request("PUT", &uri(proxy, "/photos/k"));
        let headers = request.headers_mut();
        headers.insert("x-oss-meta-a", HeaderValue::from_static("  signed \t"));
        headers.insert("content-type", HeaderValue::from_static(" text/plain "));
        headers.insert("cache-control", HeaderValue::from_static("\tno-cache  "));
        let got = once(proxy, request, b"body");
        assert_eq!(got.status, 200, "{}", got.text());
    }
    let head = upstream.heads().remove(0);
    for line in ["x-oss-meta-a: signed\r\n", "content-type: text/plain\r\n", "cache-control: no-cache\r\n"] {
        assert!(head.contains(line), "{head}");
    }
}

#[test]
fn refusals_are_told_and_the_connection_goes_on() {
    let oss = oss();
    let proxy = proxy(oss.address).start();
    over_h2(proxy.address, async |connection| {
        let at = uri(&proxy, "/photos/k");
        let mut expecting = request("PUT", &at);
        expecting.headers_mut().insert("expect", HeaderValue::from_static("miracles"));
        let mut crowded = request("GET", &at);
        for number in 0..300 {
            let name = http::HeaderName::from_bytes(format!("x-{number}").as_bytes()).expect("a name");
            crowded.headers_mut().insert(name, HeaderValue::from_static("v"));
        }
        let mut heavy = request("GET", &at);
        heavy.headers_mut().insert("x-heavy", HeaderValue::try_from("v".repeat(70_000)).expect("a value"));
        let mut browser = request("GET", &at);
        browser.headers_mut().insert("origin", HeaderValue::from_static("https://evil.example"));
        for (request, status, code) in [
            (expecting, 417, "expectation"),
            (crowded, 431, "header-limit"),
            (heavy, 431, "header-limit"),
            (browser, 403, "browser"),
            (request("PATCH", &at), 405, "method"),
            (request("GET", &uri(&proxy, "/photos/%zz")), 400, "bad-request"),
        ] {
            let got = connection.ask(request, b"").await;
            assert_eq!((got.status.as_u16(), got.refused()), (status, Some(code)), "{}", got.text());
            assert!(got.text().contains("<Error>") && got.header("connection").is_none());
        }
        // A body longer than the proxy reads in order to discard it.
        let large = vec![b'x'; 3 * 1024 * 1024];
        let got = connection.ask(request("PATCH", &at), &large).await;
        assert_eq!((got.status.as_u16(), got.refused()), (405, Some("method")));
        let mut waiting = request("PUT", &at);
        waiting.headers_mut().insert("expect", HeaderValue::from_static("100-continue"));
        assert_eq!(connection.ask(waiting, b"a body").await.status, 200);
        assert_eq!(connection.ask(request("GET", &at), b"").await.text(), "a body");
    });
}

#[test]
fn a_head_with_too_many_lines_is_rejected_with_the_code_of_http_1() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    over_h2(proxy.address, async |connection| {
        for (count, status, code) in [(256, 200, None), (257, 431, Some("header-limit"))] {
            let mut long = request("GET", &uri(&proxy, "/photos/k"));
            for number in 0..count {
                let name = http::HeaderName::try_from(format!("x-{number}")).expect("a name");
                long.headers_mut().insert(name, HeaderValue::from_static("v"));
            }
            let got = connection.ask(long, b"").await;
            assert_eq!((got.status.as_u16(), got.refused()), (status, code), "{count}");
        }
    });
    assert_eq!(upstream.heads().len(), 1);
}

#[test]
fn a_head_beyond_the_limit_is_refused() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    over_h2(proxy.address, async |connection| {
        let mut long = request("GET", &uri(&proxy, "/photos/k"));
        long.headers_mut().insert("x-long", HeaderValue::from_str(&"v".repeat(66_000)).expect("a value"));
        assert_eq!(connection.ask(long, b"").await.status, 431);
        assert_eq!(connection.ask(request("GET", &uri(&proxy, "/photos/k")), b"").await.status, 200);
    });
    assert_eq!(upstream.heads().len(), 1);
}
