//! What stands still is ended, what is slow is not, and no more goes on at once than was allowed.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Client, Proxy, Script, ask, proxy};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// A proxy with these limits on time.
fn limited(upstream: &Script, lines: &str) -> Proxy {
    proxy(upstream.address).sections(&format!("[timeouts]\n{lines}")).start()
}

/// A connection on which a PUT of `length` bytes has begun.
fn put(proxy: &Proxy, length: usize) -> Client {
    let mut client = Client::connect(proxy.address);
    client.send(format!(
        "PUT /photos/k HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}\r\n\r\n",
        proxy.address
    ));
    client
}

#[test]
fn an_upstream_that_never_answers_is_a_stall() {
    let upstream = Script::start(|peer| {
        peer.head();
        peer.rest();
    });
    let proxy = limited(&upstream, "first_byte = \"300ms\"");
    let got = ask(proxy.address, "GET", "/photos/k", b"");
    assert_eq!((got.status, got.refused()), (504, Some("upstream-stall")));
    assert_eq!(upstream.rest(), b"", "the connection has ended, nothing was sent twice");
    assert_eq!(upstream.heads().len(), 1, "a request that timed out is not sent again");
}

#[test]
fn an_answer_that_stops_in_the_middle_is_cut_and_never_ends_as_whole() {
    for framing in ["Content-Length: 100\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        let upstream = Script::start(move |peer| {
            peer.head();
            peer.send(format!("HTTP/1.1 200 OK\r\n{framing}"));
            peer.rest();
        });
        let proxy = limited(&upstream, "stall = \"300ms\"");
        let got = ask(proxy.address, "GET", "/photos/k", b"");
        assert_eq!((got.status, got.text().as_str(), got.whole), (200, "half", false), "{framing}");
        upstream.rest();
    }
}

#[test]
fn a_client_that_reads_slowly_is_no_stall() {
    const TOTAL: usize = 12 * 1024 * 1024;
    let upstream = Script::start(|peer| {
        peer.head();
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {TOTAL}\r\n\r\n"));
        peer.send(vec![b'x'; TOTAL]);
    });
    let proxy = limited(&upstream, "stall = \"600ms\"");
    let mut client = Client::connect(proxy.address);
    client.send(format!("GET /photos/k HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.address));
    let (mut read, begun) = (0, Instant::now());
    let mut piece = vec![0; 512 * 1024];
    while read < TOTAL {
        match client.stream.read(&mut piece).expect("the answer goes on") {
            0 => panic!("cut after {read} bytes"),
            more => read += more,
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(begun.elapsed() > Duration::from_millis(1200), "longer than the limit, in all");
}

#[test]
fn a_client_that_stops_reading_is_cut_and_so_is_its_upstream() {
    const TOTAL: usize = 64 * 1024 * 1024;
    let upstream = Script::start(|peer| {
        peer.head();
        // It cannot all be taken; the connection ends instead.
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {TOTAL}\r\n\r\n");
        let _ = std::io::Write::write_all(&mut peer.stream, head.as_bytes());
        let _ = std::io::Write::write_all(&mut peer.stream, &vec![b'x'; TOTAL]);
        peer.rest();
    });
    let proxy = limited(&upstream, "stall = \"300ms\"");
    let mut client = Client::connect(proxy.address);
    client.send(format!("GET /photos/k HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.address));
    upstream.rest();
    let got = client.answer("GET").expect("what was under way");
    assert!(!got.whole, "{} bytes", got.body.len());
}

#[test]
fn a_client_that_stops_sending_is_told_and_nothing_is_completed() {
    let upstream = Script::start(|peer| {
        peer.head();
        peer.rest();
    });
    let proxy = limited(&upstream, "stall = \"300ms\"");
    let mut client = put(&proxy, 100);
    client.send("half");
    let got = client.answer("PUT").expect("an answer");
    assert_eq!((got.status, got.refused()), (400, Some("bad-request")), "{}", got.text());
    assert!(client.is_closed());
    assert_eq!(upstream.rest(), b"half");
}

#[test]
fn a_client_that_sends_slowly_is_no_stall() {
    let upstream = Script::answering(OK);
    let proxy = limited(&upstream, "stall = \"500ms\"\nfirst_byte = \"300ms\"");
    let mut client = put(&proxy, 8);
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(200));
        client.send("xy");
    }
    assert_eq!(client.answer("PUT").map(|answer| answer.status), Some(200));
}

#[test]
fn an_upstream_that_stops_reading_is_a_stall() {
    let upstream = Script::start(|peer| {
        peer.head();
        std::thread::sleep(Duration::from_secs(3));
    });
    let proxy = limited(&upstream, "stall = \"300ms\"\nfirst_byte = \"1h\"");
    let mut client = put(&proxy, 64 * 1024 * 1024);
    // The proxy takes no more than it can pass on.
    let _ = std::io::Write::write_all(&mut client.stream, &vec![b'x'; 64 * 1024 * 1024]);
    let got = client.answer("PUT").expect("an answer");
    assert_eq!((got.status, got.refused()), (504, Some("upstream-stall")));
}

/// An upstream that takes 50 ms for each answer and counts how many it works on at once, at most.
fn counting(most: &Arc<AtomicUsize>) -> Script {
    let (now, most) = (AtomicUsize::new(0), Arc::clone(most));
    Script::start(move |peer| {
        while peer.head().is_some() {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(50));
            now.fetch_sub(1, Ordering::SeqCst);
            peer.send(OK);
        }
    })
}

#[test]
fn a_burst_waits_in_line_for_the_upstream_connections_there_may_be() {
    let most = Arc::new(AtomicUsize::new(0));
    let upstream = counting(&most);
    let proxy = proxy(upstream.address).sections("[limits]\nupstream_connections = 2").start();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| assert_eq!(ask(proxy.address, "GET", "/photos/k", b"").status, 200));
        }
    });
    let most = most.load(Ordering::SeqCst);
    assert!(most <= 2 * cores, "{most} connections in use on {cores} cores");
}

#[test]
fn who_waits_too_long_in_line_is_told_to_slow_down() {
    let upstream = Script::start(|peer| {
        peer.head();
        peer.rest();
    });
    let limits = "[limits]\nupstream_connections = 1\n[timeouts]\nqueue = \"200ms\"\nfirst_byte = \"2s\"";
    let proxy = proxy(upstream.address).sections(limits).start();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let told = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..cores + 3 {
            scope.spawn(|| {
                let got = ask(proxy.address, "GET", "/photos/k", b"");
                if got.refused() == Some("over-capacity") {
                    assert_eq!((got.status, got.header("retry-after")), (503, Some("1")));
                    assert!(got.text().contains("<Code>SlowDown</Code>"), "{}", got.text());
                    told.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(told.load(Ordering::SeqCst), 3, "each core serves one, all others were told");
}
