//! One upstream that is down or silent, and the requests for the others.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::support::{Client, Proxy, Script, SilentListener, ask, eventually, proxy};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Starts a proxy in front of a good upstream, with another upstream for the bucket `files`.
fn with_route(good: SocketAddr, files: SocketAddr, sections: &str) -> Proxy {
    let route = format!(
        "[[route]]\nmatch = {{ bucket = \"files\" }}\nregion = \"cn-hangzhou\"\n\
         endpoint = \"http://oss-cn-hangzhou.aliyuncs.com\"\nconnect = \"{files}\"\n{sections}"
    );
    proxy(good).sections(&route).start()
}

/// Returns clients that have requested an object of the bucket `files` and wait.
fn waiting(proxy: &Proxy, count: usize) -> Vec<Client> {
    let request = format!("GET /files/k HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.address);
    let mut clients: Vec<Client> = (0..count).map(|_| Client::connect(proxy.address)).collect();
    clients.iter_mut().for_each(|client| client.send(&request));
    clients
}

/// Returns the value of this metric.
fn value(proxy: &Proxy, metric: &str) -> u64 {
    let text = ask(proxy.admin, "GET", "/metrics", b"").text();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("oss_proxy_{metric} ")));
    line.unwrap_or_else(|| panic!("no {metric}: {text}")).parse().expect("a number")
}

fn in_use(proxy: &Proxy) -> u64 {
    value(proxy, "upstream_connections{state=\"in_use\"}")
}

/// Sends many requests to the good upstream, and fails if any request fails or waits.
fn all_are_served_at_once(proxy: &Proxy) {
    for round in 0..10 {
        std::thread::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| {
                    let begun = Instant::now();
                    let got = ask(proxy.address, "GET", "/photos/k", b"");
                    assert_eq!(got.status, 200, "round {round}: {}", got.text());
                    assert!(begun.elapsed() < SOON, "round {round}: {:?}", begun.elapsed());
                });
            }
        });
    }
}

fn none_left(proxy: &Proxy) {
    eventually("nothing is in use", || in_use(proxy) == 0 && value(proxy, "upstream_queue") == 0);
}

/// The longest time of a request on a busy machine, if it does not wait.
const SOON: Duration = Duration::from_millis(1500);

#[test]
fn an_upstream_that_answers_no_connection_attempt_delays_no_other() {
    let good = Script::answering(OK);
    let silent = SilentListener::start();
    let proxy = with_route(good.address, silent.address, "[timeouts]\nconnect = \"8s\"\nqueue = \"8s\"");
    let clients = waiting(&proxy, 600);
    eventually("dials are in progress", || in_use(&proxy) >= 32);
    all_are_served_at_once(&proxy);
    drop(clients);
    none_left(&proxy);
}

#[test]
fn an_upstream_that_never_answers_a_request_delays_no_other() {
    let good = Script::answering(OK);
    let mute = Script::start(|peer| {
        peer.head();
        peer.rest();
    });
    let limits = "[limits]\nupstream_connections = 16\n[timeouts]\nfirst_byte = \"60s\"\nqueue = \"8s\"";
    let proxy = with_route(good.address, mute.address, limits);
    let clients = waiting(&proxy, 300);
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    eventually("its share is in use", || in_use(&proxy) == 16 * cores);
    all_are_served_at_once(&proxy);
    clients.into_iter().for_each(Client::reset);
    none_left(&proxy);
}

#[test]
fn an_upstream_that_swallowed_requests_serves_again_as_soon_as_it_answers() {
    let silent = Arc::new(AtomicBool::new(true));
    let is_silent = Arc::clone(&silent);
    let upstream = Script::start(move |peer| {
        while peer.head().is_some() {
            if is_silent.load(SeqCst) {
                // These requests are never answered, even after the upstream recovers.
                return peer.rest();
            }
            peer.send(OK);
        }
    });
    let limits = "[limits]\nupstream_connections = 16\n[timeouts]\nfirst_byte = \"60s\"\nqueue = \"200ms\"";
    let proxy = proxy(upstream.address).sections(limits).start();
    let request = format!("GET /photos/k HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.address);
    let _held: Vec<Client> = std::iter::repeat_with(|| {
        let mut client = Client::connect(proxy.address);
        client.send(&request);
        client
    })
    .take(80)
    .collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    eventually("all that it may have is in use", || in_use(&proxy) == 16 * cores);
    let asked = || {
        let mut client = Client::connect(proxy.address);
        client.send(&request);
        client
    };
    let (mut rejected, mut trials) = (None, Vec::new());
    eventually("it counts as silent", || {
        let asking: Vec<Client> = (0..8).map(|_| asked()).collect();
        for mut client in asking {
            client.limit(Duration::from_millis(300));
            match client.answer("GET") {
                Some(got) if got.text().contains("has not responded to any of") => rejected = Some(got),
                Some(_) => {}
                None => trials.push(client),
            }
        }
        rejected.is_some()
    });
    let rejected = rejected.expect("an answer");
    assert_eq!((rejected.status, rejected.refused()), (503, Some("over-capacity")));
    silent.store(false, SeqCst);
    let back = Instant::now();
    eventually("all are served, on each core", || {
        let status = || ask(proxy.address, "GET", "/photos/k", b"").status;
        std::thread::scope(|scope| {
            let asking: Vec<_> = (0..8).map(|_| scope.spawn(status)).collect();
            asking.into_iter().all(|asking| asking.join().expect("an answer") == 200)
        })
    });
    assert!(back.elapsed() < Duration::from_secs(5), "{:?}", back.elapsed());
}

#[test]
fn after_a_failed_dial_requests_are_rejected_without_another() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let proxy = proxy(free).start();
    let begun = Instant::now();
    for _ in 0..200 {
        let got = ask(proxy.address, "GET", "/photos/k", b"");
        assert_eq!((got.status, got.refused()), (502, Some("upstream-unreachable")));
    }
    // On each worker: the first, then after 0.1 s, 0.2 s, 0.4 s and so on.
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let failed = value(&proxy, "upstream_connects_total{result=\"failed\"}");
    let seconds = begun.elapsed().as_secs();
    assert!(failed <= cores * (6 + seconds), "{failed} dials in {seconds} s");
}

#[test]
fn requests_in_the_queue_are_rejected_when_a_dial_times_out() {
    let silent = SilentListener::start();
    let sections = "[limits]\nupstream_dials = 1\n[timeouts]\nconnect = \"1s\"\nqueue = \"60s\"";
    let proxy = proxy(silent.address).sections(sections).start();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                let got = ask(proxy.address, "GET", "/photos/k", b"");
                assert_eq!((got.status, got.refused()), (502, Some("upstream-unreachable")));
            });
        }
    });
    assert!(
        begun.elapsed() < Duration::from_secs(6),
        "one dial after another takes 20 s: {:?}",
        begun.elapsed()
    );
    none_left(&proxy);
}

#[test]
fn an_upstream_that_comes_back_is_found_soon() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let proxy = proxy(free).start();
    let down = Instant::now();
    while down.elapsed() < Duration::from_secs(3) {
        assert_eq!(ask(proxy.address, "GET", "/photos/k", b"").status, 502);
        std::thread::sleep(Duration::from_millis(20));
    }
    let listener = TcpListener::bind(free).expect("the same port");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
            let _ = std::io::Write::write_all(&mut stream, OK.as_bytes());
        }
    });
    let back = Instant::now();
    eventually("it is served again", || ask(proxy.address, "GET", "/photos/k", b"").status == 200);
    assert!(back.elapsed() < Duration::from_secs(3), "{:?}", back.elapsed());
}

#[test]
fn errors_name_the_upstream_by_its_route_and_never_by_its_address() {
    let good = Script::answering(OK);
    let mute = Script::start(|peer| {
        peer.head();
        peer.rest();
    });
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let limits = "[limits]\nupstream_connections = 1\n[timeouts]\nqueue = \"100ms\"\nfirst_byte = \"2s\"";
    let dead = with_route(good.address, free, limits);
    for again in [false, true] {
        let got = ask(dead.address, "GET", "/files/k", b"");
        assert_eq!(got.refused(), Some("upstream-unreachable"));
        assert!(got.text().contains("oss-cn-hangzhou.aliyuncs.com of route 1"), "{again}: {}", got.text());
        assert!(!got.text().contains("127.0.0.1"), "{again}: {}", got.text());
    }
    let full = with_route(good.address, mute.address, limits);
    let _clients = waiting(&full, 20);
    eventually("a request is rejected", || {
        let got = ask(full.address, "GET", "/files/k", b"");
        let is_full = got.refused() == Some("over-capacity");
        assert!(!is_full || got.text().contains("oss-cn-hangzhou.aliyuncs.com of route 1"), "{}", got.text());
        assert!(!got.text().contains("127.0.0.1"), "{}", got.text());
        is_full
    });
}

#[test]
fn requests_that_keep_coming_for_a_silent_upstream_leave_room_for_the_others() {
    let good = Script::answering(OK);
    let mute = Script::start(|peer| {
        peer.head();
        peer.rest();
    });
    let limits = "[limits]\nupstream_connections = 8\n[timeouts]\nfirst_byte = \"60s\"\nqueue = \"500ms\"";
    let proxy = with_route(good.address, mute.address, limits);
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let begun = Instant::now();
    let mut clients = Vec::new();
    while begun.elapsed() < Duration::from_secs(12) {
        clients.extend(waiting(&proxy, 4));
        let asked = Instant::now();
        let got = ask(proxy.address, "GET", "/photos/k", b"");
        assert_eq!(got.status, 200, "after {:?}: {}", begun.elapsed(), got.text());
        assert!(asked.elapsed() < SOON, "after {:?}: {:?}", begun.elapsed(), asked.elapsed());
        std::thread::sleep(Duration::from_millis(150));
    }
    // The share of the upstream, and as many trial requests.
    assert!(in_use(&proxy) <= 17 * cores, "{}", in_use(&proxy));
}

#[test]
fn many_slow_uploads_are_no_silence_of_their_upstream() {
    let upstream = Script::start(|peer| {
        while let Some(head) = peer.head() {
            peer.body(&head);
            peer.send(OK);
        }
    });
    let proxy = proxy(upstream.address).sections("[limits]\nupstream_connections = 40").start();
    let slow = |number: usize| {
        let mut client = Client::connect(proxy.address);
        let host = proxy.address;
        client.send(format!("PUT /photos/{number} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 100\r\n\r\nx"));
        client
    };
    let mut uploads: Vec<Client> = (0..60).map(slow).collect();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(6) {
        assert_eq!(ask(proxy.address, "PUT", "/photos/k", b"body").status, 200, "{:?}", begun.elapsed());
        std::thread::sleep(Duration::from_millis(100));
        uploads.iter_mut().for_each(|client| client.send("x"));
    }
}
