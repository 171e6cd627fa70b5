//! HTTP/2 with prior knowledge: what holds over HTTP/1 holds here, and the ends of streams mean what they say.

use std::io::{ErrorKind, Read as _};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderValue, Request, Version};

use crate::keys::{escaped, nasty};
use crate::support::h2::{Connection, Got, got, over_h2, request, send};
use crate::support::{Client, Proxy, Script, ask, bucket, eventually, oss, proxy};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn uri(proxy: &Proxy, target: &str) -> String {
    format!("http://{}{target}", proxy.address)
}

/// One request on a connection of its own.
fn once(proxy: &Proxy, request: Request<()>, body: &[u8]) -> Got {
    over_h2(proxy.address, async |connection| connection.ask(request, body).await)
}

/// Writes each key, looks at what OSS stored, reads it back and deletes it, on one connection.
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
        // `PR` is no beginning of PUT; the method is refused, over HTTP/1.
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
    // Without an authority, as from a gateway that speaks HTTP/1 behind.
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
        for number in 0..150 {
            let name = http::HeaderName::from_bytes(format!("x-{number}").as_bytes()).expect("a name");
            crowded.headers_mut().insert(name, HeaderValue::from_static("v"));
        }
        let mut browser = request("GET", &at);
        browser.headers_mut().insert("origin", HeaderValue::from_static("https://evil.example"));
        for (request, status, code) in [
            (expecting, 417, "expectation"),
            (crowded, 400, "bad-request"),
            (browser, 403, "browser"),
            (request("PATCH", &at), 405, "method"),
            (request("GET", &uri(&proxy, "/photos/%zz")), 400, "bad-request"),
        ] {
            let got = connection.ask(request, b"").await;
            assert_eq!((got.status.as_u16(), got.refused()), (status, Some(code)), "{}", got.text());
            assert!(got.text().contains("<Error>") && got.header("connection").is_none());
        }
        // One whose body is longer than what is read only to be forgotten.
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

/// How a client ends an upload of which `half` was sent.
#[derive(Clone, Copy, Debug)]
enum Leaving {
    Reset(Reason),
    /// The TCP connection is cut.
    Cut,
    /// Less than the length that was told.
    Short,
}

const LEAVINGS: [Leaving; 7] = [
    Leaving::Reset(Reason::NO_ERROR),
    Leaving::Reset(Reason::CANCEL),
    Leaving::Reset(Reason::INTERNAL_ERROR),
    Leaving::Reset(Reason::REFUSED_STREAM),
    Leaving::Reset(Reason::ENHANCE_YOUR_CALM),
    Leaving::Cut,
    Leaving::Short,
];

/// Begins an upload, waits until some of it is upstream, and leaves.
async fn leave(connection: &Connection, at: &str, length: Option<usize>, how: Leaving, upstream: &Script) {
    let mut put = request("PUT", at);
    if let Some(length) = length {
        put.headers_mut().insert("content-length", HeaderValue::from(length));
    }
    let before = upstream.heads().len();
    let (response, mut stream) = connection.begin(put).await;
    send(&mut stream, b"half", false).await;
    while upstream.heads().len() == before {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    match how {
        Leaving::Reset(reason) => stream.send_reset(reason),
        Leaving::Cut => connection.driver.abort(),
        Leaving::Short => stream.send_data(Bytes::new(), true).expect("an end"),
    }
    // Whatever it is, it is no success.
    if let Ok(response) = response.await {
        assert!(!response.status().is_success(), "{how:?}: {}", response.status());
    }
}

#[test]
fn an_upload_that_is_reset_is_never_completed_upstream() {
    for length in [None, Some(8)] {
        for how in LEAVINGS {
            if matches!(how, Leaving::Short) && length.is_none() {
                continue;
            }
            let upstream = Script::start(|peer| {
                peer.head();
                peer.rest();
            });
            let proxy = proxy(upstream.address).start();
            let at = uri(&proxy, "/photos/k");
            over_h2(proxy.address, async |connection| leave(connection, &at, length, how, &upstream).await);
            let sent = String::from_utf8(upstream.rest()).expect("text");
            let half = if length.is_some() { "half" } else { "4\r\nhalf\r\n" };
            assert_eq!(sent, half, "{how:?} {length:?}");
        }
    }
}

#[test]
fn a_reset_without_error_after_an_early_answer_does_not_complete_the_upload() {
    let upstream = Script::start(|peer| {
        peer.head();
        peer.send(OK);
        peer.rest();
    });
    let proxy = proxy(upstream.address).start();
    let at = uri(&proxy, "/photos/k");
    over_h2(proxy.address, async |connection| {
        let (response, mut stream) = connection.begin(request("PUT", &at)).await;
        send(&mut stream, b"half", false).await;
        assert_eq!(response.await.expect("an answer").status(), 200);
        tokio::time::sleep(Duration::from_millis(20)).await;
        stream.send_reset(Reason::NO_ERROR);
        tokio::time::sleep(Duration::from_millis(50)).await;
    });
    let sent = String::from_utf8(upstream.rest()).expect("text");
    assert!(!sent.ends_with("0\r\n\r\n"), "{sent}");
}

#[test]
fn an_upload_that_is_reset_stores_nothing() {
    let oss = oss();
    let proxy = proxy(oss.address).start();
    let at = uri(&proxy, "/photos/k");
    for how in LEAVINGS {
        if matches!(how, Leaving::Short) {
            continue;
        }
        over_h2(proxy.address, async |connection| {
            let (_response, mut stream) = connection.begin(request("PUT", &at)).await;
            send(&mut stream, &vec![b'x'; 200_000], false).await;
            match how {
                Leaving::Reset(reason) => stream.send_reset(reason),
                Leaving::Cut | Leaving::Short => connection.driver.abort(),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        });
        assert!(oss.service.keys(&bucket("photos")).is_empty(), "{how:?}");
    }
    assert_eq!(ask(proxy.address, "PUT", "/photos/k", b"whole").status, 200, "a good next request");
}

#[test]
fn every_proper_end_of_an_upload_is_one() {
    let oss = oss();
    let proxy = proxy(oss.address).start();
    let at = uri(&proxy, "/photos/k");
    over_h2(proxy.address, async |connection| {
        for length in [None, Some(4)] {
            for end in ["with the data", "empty data", "trailers"] {
                let mut put = request("PUT", &at);
                if let Some(length) = length {
                    put.headers_mut().insert("content-length", HeaderValue::from(length));
                }
                let (response, mut stream) = connection.begin(put).await;
                send(&mut stream, b"body", end == "with the data").await;
                match end {
                    "empty data" => stream.send_data(Bytes::new(), true).expect("an end"),
                    "trailers" => {
                        let mut trailers = HeaderMap::new();
                        trailers.insert("x-oss-meta-late", HeaderValue::from_static("v"));
                        stream.send_trailers(trailers).expect("an end");
                    }
                    _ => {}
                }
                let got = got(response.await.expect("an answer")).await;
                assert_eq!(got.status, 200, "{end} {length:?}: {}", got.text());
                let stored = oss.service.object(&bucket("photos"), b"k");
                assert_eq!(stored.as_deref(), Some(&b"body"[..]), "{end} {length:?}");
            }
        }
        let empty = connection.ask(request("PUT", &at), b"").await;
        assert_eq!(empty.status, 200, "{}", empty.text());
        assert_eq!(oss.service.object(&bucket("photos"), b"k").as_deref(), Some(&b""[..]));
    });
}

#[test]
fn a_download_that_breaks_is_reset_and_the_connection_goes_on() {
    for framing in ["Content-Length: 100\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        let upstream = Script::start(move |peer| {
            if peer.head().is_some_and(|head| head.contains("broken")) {
                peer.send(format!("HTTP/1.1 200 OK\r\n{framing}"));
            } else {
                peer.send(OK);
            }
        });
        let proxy = proxy(upstream.address).start();
        over_h2(proxy.address, async |connection| {
            let broken = connection.ask(request("GET", &uri(&proxy, "/photos/broken")), b"").await;
            assert_eq!((broken.status.as_u16(), broken.text().as_str()), (200, "half"));
            assert_eq!(broken.reset, Some(Reason::INTERNAL_ERROR), "{framing}");
            let next = connection.ask(request("GET", &uri(&proxy, "/photos/next")), b"").await;
            assert_eq!((next.status.as_u16(), next.reset), (200, None));
        });
    }
}

#[test]
fn many_requests_at_once_share_a_connection() {
    let oss = oss();
    let proxy = proxy(oss.address).start();
    let at = uri(&proxy, "/photos/k");
    over_h2(proxy.address, async |connection| {
        let body = vec![b'x'; 300_000];
        assert_eq!(connection.ask(request("PUT", &at), &body).await.status, 200);
        let mut answers = Vec::new();
        for _ in 0..100 {
            let (response, mut stream) = connection.begin(request("GET", &at)).await;
            stream.send_data(Bytes::new(), true).expect("an end");
            answers.push(tokio::task::spawn_local(async { got(response.await.expect("an answer")).await }));
        }
        for answer in answers {
            let got = answer.await.expect("no panic");
            assert_eq!((got.status.as_u16(), got.body.len(), got.reset), (200, body.len(), None));
        }
    });
}

#[test]
fn a_stream_that_is_not_read_does_not_stop_the_others() {
    let oss = oss();
    let proxy = proxy(oss.address).start();
    let at = uri(&proxy, "/photos/k");
    assert_eq!(ask(proxy.address, "PUT", "/photos/k", &vec![b'x'; 4_000_000]).status, 200);
    over_h2(proxy.address, async |connection| {
        let (unread, mut stream) = connection.begin(request("PUT", &uri(&proxy, "/photos/stalled"))).await;
        // Its upload stands still; no end is sent.
        send(&mut stream, &vec![b'x'; 100_000], false).await;
        let head = connection.ask(request("HEAD", &at), b"").await;
        assert_eq!(head.status, 200);
        assert_eq!(connection.ask(request("GET", &at), b"").await.body.len(), 4_000_000);
        drop(unread);
    });
}

#[test]
fn an_idle_connection_ends_with_a_farewell_and_a_busy_one_does_not() {
    let upstream = Script::start(|peer| {
        while peer.head().is_some() {
            std::thread::sleep(Duration::from_millis(900));
            peer.send(OK);
        }
    });
    let proxy = proxy(upstream.address).sections("[timeouts]\nidle = \"300ms\"").start();
    over_h2(proxy.address, async |connection| {
        let got = connection.ask(request("GET", &uri(&proxy, "/photos/k")), b"").await;
        assert_eq!(got.status, 200, "in flight for longer than the limit");
        let ended = Instant::now();
        (&mut connection.driver).await.expect("no panic").expect("a clean end");
        assert!(ended.elapsed() > Duration::from_millis(200), "{:?}", ended.elapsed());
    });
}

#[test]
fn silence_of_every_kind_ends_at_the_limit() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).sections("[timeouts]\nheader_read = \"300ms\"").start();
    let settings = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    let half = format!("GET /photos/k HTTP/1.1\r\nHost: {}\r\nX-", proxy.address).into_bytes();
    for said in [b"".to_vec(), b"P".to_vec(), b"PRI * HT".to_vec(), settings[..24].to_vec(), settings, half] {
        let mut client = Client::connect(proxy.address);
        client.send(&said);
        let begun = Instant::now();
        // What was never read makes the end a reset; our own time-out would be neither.
        let end = client.stream.read_to_end(&mut Vec::new());
        assert!(end.map_or_else(|error| error.kind() == ErrorKind::ConnectionReset, |_| true), "{said:?}");
        let took = begun.elapsed();
        assert!(took > Duration::from_millis(200) && took < Duration::from_secs(5), "{took:?} {said:?}");
    }
}

#[test]
fn a_head_that_drips_ends_at_the_limit_and_an_idle_connection_later() {
    let upstream = Script::answering(OK);
    let lines = "[timeouts]\nheader_read = \"400ms\"\nidle = \"2s\"";
    let proxy = proxy(upstream.address).sections(lines).start();
    let own = proxy.address.to_string();
    let mut client = Client::connect(proxy.address);
    assert_eq!(client.ask("GET", "/photos/k", &own, "", b"").status, 200);
    std::thread::sleep(Duration::from_millis(800));
    let got = client.ask("GET", "/photos/k", &own, "", b"");
    assert_eq!(got.status, 200, "idle for longer than a head may take");
    let begun = Instant::now();
    client.send(format!("GET /photos/k HTTP/1.1\r\nHost: {own}\r\nX-Slow: "));
    while begun.elapsed() < Duration::from_secs(5) {
        if std::io::Write::write_all(&mut client.stream, b"x").is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(300) && took < Duration::from_secs(4), "{took:?}");
    assert_eq!(upstream.heads().len(), 2);
}

#[test]
fn a_drain_lets_streams_in_flight_end_and_takes_no_more() {
    let upstream = Script::start(|peer| {
        peer.head();
        std::thread::sleep(Duration::from_millis(400));
        peer.send(OK);
    });
    let proxy = proxy(upstream.address).start();
    let drain = proxy.drain.clone();
    over_h2(proxy.address, async |connection| {
        let (response, mut stream) = connection.begin(request("GET", &uri(&proxy, "/photos/k"))).await;
        stream.send_data(Bytes::new(), true).expect("an end");
        while upstream.heads().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drain.advance();
        assert_eq!(response.await.expect("an answer").status(), 200);
        (&mut connection.driver).await.expect("no panic").expect("a clean end");
    });
    assert_eq!(proxy.ended(), oss_signing_proxy::server::Drained::Whole);
}

#[test]
fn a_connection_that_breaks_the_protocol_is_counted() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    let mut client = Client::connect(proxy.address);
    // After the preface, data for a stream that was never opened.
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x01\0\0\0\0\0\x07x");
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest).expect("an end");
    eventually("it is counted", || proxy.count("malformed") == 1);
    assert!(upstream.heads().is_empty());
}
