//! Stalled transfers are cut, slow ones are not, and concurrency is limited as configured.

use std::io::Read as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use crate::support::{Client, KEY, Proxy, Script, Served, ask, eventually, proxy};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Starts a proxy with these timeouts.
fn limited(upstream: &Script, lines: &str) -> Proxy {
    proxy(upstream.address).sections(&format!("[timeouts]\n{lines}")).start()
}

/// Returns a connection on which a PUT of `length` bytes has begun.
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
fn the_end_of_an_answer_that_waits_for_a_slow_client_is_not_cut_by_the_idle_limit() {
    let upstream = Script::start(|peer| {
        let head = peer.head().expect("a request");
        let target = head.split(' ').nth(1).expect("a target");
        let length = target.rsplit('/').next().expect("a key").parse().expect("a length");
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"));
        peer.send(vec![b'x'; length]);
    });
    let proxy = limited(&upstream, "stall = \"20s\"\nidle = \"100ms\"");
    std::thread::scope(|scope| {
        // The sockets buffer an unknown part of it, so in one of these cases only the end is left.
        for step in 1..24 {
            scope.spawn({
                let address = proxy.address;
                move || {
                    let length = step * 200_000;
                    let mut client = Client::connect(address);
                    client.send(format!("GET /photos/{length} HTTP/1.1\r\nHost: {address}\r\n\r\n"));
                    std::thread::sleep(Duration::from_millis(2500));
                    let got = client.answer("GET").expect("an answer");
                    assert_eq!((got.status, got.whole), (200, true), "{} bytes of {length}", got.body.len());
                }
            });
        }
    });
}

#[test]
fn a_client_that_stops_reading_is_cut_and_so_is_its_upstream() {
    const TOTAL: usize = 64 * 1024 * 1024;
    let upstream = Script::start(|peer| {
        peer.head();
        // The rest cannot be read; the connection is closed instead.
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
    // The upstream keeps the connection until the proxy has noticed.
    let (end, kept) = mpsc::channel::<()>();
    let kept = Mutex::new(kept);
    let upstream = Script::start(move |peer| {
        peer.head();
        let _ = kept.lock().expect("no panic").recv();
    });
    let proxy = limited(&upstream, "stall = \"1s\"\nfirst_byte = \"1h\"");
    // Allocated before the request begins: this takes time, and a client that sends nothing counts
    // as stalled too.
    let body = vec![b'x'; 64 * 1024 * 1024];
    let mut client = put(&proxy, body.len());
    // The proxy reads no more than it can forward.
    let _ = std::io::Write::write_all(&mut client.stream, &body);
    let got = client.answer("PUT").expect("an answer");
    assert_eq!((got.status, got.refused()), (504, Some("upstream-stall")));
    drop(end);
}

/// An upstream that takes 50 ms for each response and records its highest number of concurrent
/// requests.
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

#[test]
fn the_answer_is_waited_for_from_when_the_request_is_sent_and_not_from_when_it_stood_in_line() {
    let upstream = Script::start(|peer| {
        while peer.head().is_some() {
            std::thread::sleep(Duration::from_millis(700));
            peer.send(OK);
        }
    });
    let limits = "[limits]\nupstream_connections = 1\n[timeouts]\nqueue = \"5s\"\nfirst_byte = \"1s\"";
    let proxy = proxy(upstream.address).sections(limits).start();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..2 * cores {
            scope.spawn(|| assert_eq!(ask(proxy.address, "GET", "/photos/k", b"").status, 200));
        }
    });
}

#[test]
fn a_client_waits_until_there_is_a_place_for_it() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).sections("[limits]\nclient_connections = 1").start();
    let own = proxy.address.to_string();
    let mut first = Client::connect(proxy.address);
    assert_eq!(first.ask("GET", "/photos/k", &own, "", b"").status, 200);
    let mut second = Client::connect(proxy.address);
    second.send(format!("GET /photos/k HTTP/1.1\r\nHost: {own}\r\n\r\n"));
    second.stream.set_read_timeout(Some(Duration::from_millis(300))).expect("a limit");
    assert!(second.stream.read(&mut [0; 1]).is_err(), "nobody serves it yet");
    assert_eq!(upstream.heads().len(), 1);
    drop(first);
    second.stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
    assert_eq!(second.answer("GET").expect("an answer").status, 200);
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).sections("[limits]\nheader_bytes = \"8KiB\"").start();
    let own = proxy.address.to_string();
    let head =
        |value: &str| format!("GET /photos/k HTTP/1.1\r\nHost: {own}\r\nx-oss-meta-a: {value}\r\n\r\n");
    let others = head("").len();
    for (bytes, status, code) in [
        (8192, 200, None),
        (8193, 431, Some("header-limit")),
        (16_000, 431, Some("header-limit")),
        (17_000, 431, None),
    ] {
        let mut client = Client::connect(proxy.address);
        client.send(head(&"a".repeat(bytes - others)));
        let answer = client.answer("GET").expect("an answer");
        assert_eq!((answer.status, answer.refused()), (status, code), "{bytes}");
        assert!(code.is_none() || answer.text().contains("limits.header_bytes"), "{}", answer.text());
    }
    assert_eq!(upstream.heads().len(), 1);
}

#[test]
fn a_body_that_is_too_large_is_refused_and_never_whole_upstream() {
    let upstream = Script::start(|peer| {
        peer.head();
        peer.rest();
    });
    let proxy = proxy(upstream.address).sections("[limits]\nbody = \"100B\"").start();
    let own = proxy.address.to_string();
    let answer = Client::connect(proxy.address).ask("PUT", "/photos/k", &own, "", &[b'x'; 101]);
    assert_eq!((answer.status, answer.refused()), (400, Some("too-large")));
    assert!(answer.text().contains("limits.body"), "{}", answer.text());
    assert_eq!(upstream.heads().len(), 0, "its length was told");

    let mut client = Client::connect(proxy.address);
    client.send(format!("PUT /photos/k HTTP/1.1\r\nHost: {own}\r\nTransfer-Encoding: chunked\r\n\r\n"));
    client.send(format!("64\r\n{}\r\n", "x".repeat(100)));
    client.send("1\r\nx\r\n0\r\n\r\n");
    let answer = client.answer("PUT").expect("an answer");
    assert_eq!((answer.status, answer.refused()), (400, Some("too-large")));
    let seen = upstream.rest();
    assert!(!seen.windows(5).any(|bytes| bytes == b"0\r\n\r\n"), "it did not end upstream");
}

#[test]
fn a_body_of_just_the_limit_passes() {
    let upstream = Script::start(|peer| {
        peer.head();
        peer.take(100);
        peer.send(OK);
    });
    let proxy = proxy(upstream.address).sections("[limits]\nbody = \"100B\"").start();
    assert_eq!(ask(proxy.address, "PUT", "/photos/k", &[b'x'; 100]).status, 200);
}

#[test]
fn more_requests_than_may_be_in_flight_are_told_to_slow_down() {
    let upstream = Script::start(|peer| {
        peer.head();
        peer.rest();
    });
    // Each worker has its own limit; an HTTP/2 connection is on one of them.
    let proxy = proxy(upstream.address).sections("[limits]\nrequests = 2").start();
    let url = format!("http://{}/photos/k", proxy.address);
    crate::support::h2::over_h2(proxy.address, async |connection| {
        let first = connection.begin(crate::support::h2::request("PUT", &url)).await;
        let second = connection.begin(crate::support::h2::request("PUT", &url)).await;
        let got = connection.ask(crate::support::h2::request("GET", &url), b"").await;
        assert_eq!((got.status.as_u16(), got.refused()), (503, Some("over-capacity")));
        assert_eq!(got.header("retry-after"), Some("1"));
        drop((first, second));
    });
}

#[test]
fn downloads_that_nobody_reads_hold_little_memory() {
    const CLIENTS: usize = 40;
    static PIECE: [u8; 64 << 10] = [b'x'; 64 << 10];
    let upstream = Script::start(|peer| {
        peer.head();
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 64 << 20));
        // Until no more bytes are read.
        for _ in 0..1024 {
            peer.send(PIECE);
        }
    });
    let served = Served::start(upstream.address, &[], &KEY);
    let resident_kib = || {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", served.child.id())).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
        line.trim_end_matches("kB").trim().parse::<usize>().expect("a number")
    };
    let mut clients = Vec::new();
    let mut stand_still = |more: usize| {
        for _ in 0..more {
            let mut client = Client::connect(served.address);
            client.send(format!("GET /photos/k HTTP/1.1\r\nHost: {}\r\n\r\n", served.address));
            clients.push(client);
        }
        let (mut last, mut calm) = (0, 0);
        eventually("nothing moves any more", || {
            let now = resident_kib();
            calm = if now == last { calm + 1 } else { 0 };
            last = now;
            std::thread::sleep(Duration::from_millis(20));
            calm > 20
        });
        last
    };
    // The first connections also pay for one-time allocations.
    let before = stand_still(20);
    let each = (stand_still(CLIENTS) - before) / CLIENTS;
    assert!(each < 1300, "{each} KiB for each download that stands still");
}
