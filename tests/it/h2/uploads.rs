//! Uploads over HTTP/2: only END_STREAM completes one; any other end of a stream or a connection
//! does not.

use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderValue};

use super::{OK, uri};
use crate::support::h2::{Connection, got, over_h2, request, send};
use crate::support::{Script, ask, bucket, oss, proxy};

/// The way in which a client ends an upload after sending `half`.
#[derive(Clone, Copy, Debug)]
enum Leaving {
    Reset(Reason),
    /// The TCP connection is closed.
    Cut,
    /// Fewer bytes than the announced length.
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

/// Begins an upload, waits until some of it has reached the upstream, and ends it.
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
    // A response, if there is one, is not a success.
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
