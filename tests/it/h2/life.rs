//! The life of an HTTP/2 connection: many streams at once, broken downloads, silence, the drain,
//! and its end.

use std::io::{ErrorKind, Read as _};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::Reason;

use super::{OK, uri};
use crate::support::h2::{got, over_h2, request, send};
use crate::support::{Client, Script, ask, eventually, oss, proxy};

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
        // Its upload stalls without END_STREAM.
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
        // Unread data turns the end into a reset. A timeout of the test itself would be neither.
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
        drain.leave();
        assert_eq!(response.await.expect("an answer").status(), 200);
        (&mut connection.driver).await.expect("no panic").expect("a clean end");
    });
    assert_eq!(proxy.ended(), oss_signing_proxy::app::DrainOutcome::Whole);
}

#[test]
fn a_connection_that_breaks_the_protocol_is_counted() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    let mut client = Client::connect(proxy.address);
    // After the preface, DATA for a stream that was never opened.
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x01\0\0\0\0\0\x07x");
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest).expect("an end");
    eventually("it is counted", || proxy.counts().malformed == 1);
    assert!(upstream.heads().is_empty());
}
