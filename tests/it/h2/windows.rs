//! Flow control: a client that opens no window is disconnected after the limit, and a slow one is
//! not.

use std::time::{Duration, Instant};

use h2::Reason;

use super::{OK, uri};
use crate::gauges::value as gauge;
use crate::support::h2::{Connection, over_h2_with_window, play, request};
use crate::support::{KEY, Proxy, Script, Served, eventually, proxy};

const STALL: &str = "[timeouts]\nstall = \"300ms\"";
const LIMIT: Duration = Duration::from_millis(300);
const LATE: Duration = Duration::from_secs(8);

/// An upstream with long responses, which are incomplete when their beginning is forwarded, and
/// with short ones.
fn upstream() -> Script {
    Script::start(|peer| {
        while let Some(head) = peer.head() {
            if head.contains("long") {
                peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1 << 20));
                peer.send(vec![b'x'; 1 << 20]);
            } else if head.contains("short") {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\ntwelve bytes");
            } else {
                peer.send(OK);
            }
        }
    })
}

/// Returns whether no requests or connections are in use.
fn is_free(proxy: &Proxy) -> bool {
    gauge(proxy, "requests_in_flight") + gauge(proxy, "upstream_connections{state=\"in_use\"}") == 0
}

/// Returns the end of a stream that is never read, and the time until then.
async fn unread(connection: &Connection, method: &str, at: &str) -> (Option<Reason>, Duration) {
    let begun = Instant::now();
    let (response, _stream) = connection.begin_with(request(method, at), true).await;
    let mut body = response.await.expect("a head").into_body();
    loop {
        match body.data().await {
            // The window is not opened again.
            Some(Ok(_)) => {}
            Some(Err(error)) => return (error.reason(), begun.elapsed()),
            None => return (None, begun.elapsed()),
        }
    }
}

#[test]
fn a_stream_whose_client_opens_no_window_is_reset_after_the_limit_and_the_connection_goes_on() {
    let upstream = upstream();
    let proxy = proxy(upstream.address).sections(STALL).start();
    for (window, method, target) in
        [(0, "GET", "/photos/short"), (0, "PATCH", "/photos/refused"), (10_000, "GET", "/photos/long")]
    {
        over_h2_with_window(proxy.address, window, async |connection| {
            let (reason, took) = unread(connection, method, &uri(&proxy, target)).await;
            assert_eq!(reason, Some(Reason::CANCEL), "{target}");
            assert!(took >= LIMIT && took < LATE, "{target}: {took:?}");
            let next = connection.ask(request("GET", &uri(&proxy, "/photos/empty")), b"").await;
            assert_eq!(next.status, 200);
        });
        eventually("nothing is in use", || is_free(&proxy));
    }
}

#[test]
fn a_response_that_is_never_taken_whole_ends_the_connection_after_the_limit() {
    let upstream = upstream();
    let proxy = proxy(upstream.address).sections(STALL).start();
    for (method, target) in [("GET", "/photos/short"), ("PATCH", "/photos/refused")] {
        over_h2_with_window(proxy.address, 5, async |connection| {
            let begun = Instant::now();
            let (_, took) = unread(connection, method, &uri(&proxy, target)).await;
            assert!(took >= LIMIT && took < LATE, "{target}: {took:?}");
            // Both a clean end and an error are an end.
            let _ = (&mut connection.driver).await.expect("no panic");
            assert!(begun.elapsed() < LATE, "{target}: {:?}", begun.elapsed());
        });
        eventually("nothing is in use", || is_free(&proxy));
    }
}

#[test]
fn a_client_that_opens_its_window_byte_by_byte_is_not_cut() {
    let upstream = Script::start(|peer| {
        while peer.head().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n");
            for byte in *b"twelve bytes" {
                peer.send([byte]);
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    });
    let at_once = self::upstream();
    for upstream in [&upstream, &at_once] {
        // The end of the response waits for its window longer than the idle timeout.
        let sections = format!("{STALL}\nidle = \"300ms\"");
        let proxy = proxy(upstream.address).sections(&sections).start();
        over_h2_with_window(proxy.address, 1, async |connection| {
            let begun = Instant::now();
            let at = uri(&proxy, "/photos/short");
            let (response, _stream) = connection.begin_with(request("GET", &at), true).await;
            let mut body = response.await.expect("a head").into_body();
            let mut all = Vec::new();
            while let Some(data) = body.data().await {
                all.extend_from_slice(&data.expect("it goes on"));
                tokio::time::sleep(LIMIT / 3).await;
                body.flow_control().release_capacity(1).expect("what was received");
            }
            assert_eq!(all, b"twelve bytes");
            assert!(begun.elapsed() > 3 * LIMIT, "longer than the limit, in all");
        });
    }
}

#[test]
fn a_client_that_vanishes_holds_nothing_after_the_limits() {
    let upstream = upstream();
    let sections = "[timeouts]\nstall = \"300ms\"\nidle = \"300ms\"";
    let proxy = proxy(upstream.address).sections(sections).start();
    let mut sockets = Vec::new();
    for target in ["/photos/long", "/photos/short", "/photos/%zz"] {
        let socket = std::net::TcpStream::connect(proxy.address).expect("a connection");
        sockets.push(socket.try_clone().expect("a second handle"));
        play(async {
            socket.set_nonblocking(true).expect("a mode");
            let stream = tokio::net::TcpStream::from_std(socket).expect("a stream");
            let connection = Connection::open_with_window(stream, 5).await;
            let (response, _stream) = connection.begin_with(request("GET", &uri(&proxy, target)), true).await;
            let head = response.await.expect("a head");
            // The socket remains open, but it is neither read nor written any more.
            connection.driver.abort();
            drop(head);
        });
    }
    eventually("nothing is in use", || is_free(&proxy) && gauge(&proxy, "client_connections") == 0);
}

#[test]
fn a_stream_that_was_cut_is_logged_once_as_left_by_its_client() {
    let upstream = upstream();
    let served = Served::start_with(upstream.address, STALL, &[], &KEY);
    for target in ["/photos/short", "/photos/long", "/photos/%zz"] {
        over_h2_with_window(served.address, 0, async |connection| {
            let at = format!("http://{}{target}", served.address);
            unread(connection, "GET", &at).await;
        });
    }
    served.signal("TERM");
    let (_, log) = served.end();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("\"ttfb_ms\"")).collect();
    assert_eq!(lines.len(), 3, "{log}");
    assert!(lines.iter().all(|line| line.contains("\"end\":\"client-left\"")), "{log}");
}
