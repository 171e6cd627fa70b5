//! Limits of callers: requests beyond them wait in turn, for a bounded time, and are rejected then.
//! Bodies are slowed down. Other callers notice nothing.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::support::h2::over_h2;
use crate::support::{Answer, Client, KEY, Proxy, Script, Served, ask, eventually, proxy};

const TOKEN_A: &str = "TeamAPlantedTokenOf30Letters00";
const TOKEN_B: &str = "TeamBPlantedTokenOf30Letters00";

/// Two callers. The first has these limits.
fn callers(limits: &str) -> String {
    format!(
        "[[caller]]
        name = \"team-a\"
        allow = \"everything\"
        token = \"{TOKEN_A}\"
        limits = {{ {limits} }}
        [[caller]]
        name = \"team-b\"
        allow = \"everything\"
        token = \"{TOKEN_B}\"
        "
    )
}

/// Returns the text of `[timeouts]` with this time in queues.
fn queue(time: &str) -> String {
    format!("[timeouts]\nqueue = \"{time}\"\n")
}

/// An upstream whose key decides: `held` is never answered, `begun` is answered in part, and a
/// number is answered with a body of this length.
fn upstream() -> Script {
    Script::start(|peer| {
        while let Some(head) = peer.head() {
            let target = head.split(' ').nth(1).expect("a target");
            let key = target.rsplit('/').next().expect("a key");
            match key {
                "held" => return peer.rest(),
                "begun" => {
                    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbegun");
                    return peer.rest();
                }
                key => {
                    peer.body(&head);
                    let length = key.parse().unwrap_or(0);
                    peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"));
                    peer.send(vec![b'x'; length]);
                }
            }
        }
    })
}

fn start(upstream: &Script, sections: &str) -> Proxy {
    proxy(upstream.address).listen("identify = [\"token\"]").sections(sections).start()
}

/// Sends a request of a caller on a connection of its own.
fn ask_as(address: SocketAddr, token: &str, method: &str, key: &str, body: &[u8]) -> Answer {
    let line = format!("Authorization: Bearer {token}\r\n");
    let target = format!("/photos/{key}");
    Client::connect(address).ask(method, &target, &address.to_string(), &line, body)
}

/// Begins a request of the first caller.
fn begin(address: SocketAddr, key: &str) -> Client {
    let mut client = Client::connect(address);
    client.send(format!(
        "GET /photos/{key} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {TOKEN_A}\r\n\r\n"
    ));
    client
}

/// Begins a request that the upstream holds, and waits until it has arrived there.
fn hold(upstream: &Script, address: SocketAddr) -> Client {
    let before = upstream.heads().len();
    let client = begin(address, "held");
    eventually("the request arrives", || upstream.heads().len() > before);
    client
}

/// Returns the value of a metric of the first caller, or zero if there is none.
fn metric(admin: SocketAddr, name: &str) -> u64 {
    let page = ask(admin, "GET", "/metrics", b"").text();
    let start = format!("oss_proxy_{name}{{caller=\"team-a\"}} ");
    page.lines()
        .find_map(|line| line.strip_prefix(&start))
        .map_or(0, |value| value.parse().expect("a number"))
}

fn eventually_waiting(admin: SocketAddr, count: u64) {
    eventually(&format!("{count} requests wait"), || metric(admin, "caller_waiting") == count);
}

#[test]
fn a_request_beyond_the_limit_waits_and_is_told_to_slow_down() {
    let upstream = upstream();
    let proxy = start(&upstream, &format!("{}{}", callers("requests = 1"), queue("300ms")));
    let held = hold(&upstream, proxy.address);
    let begun = Instant::now();
    let rejected = ask_as(proxy.address, TOKEN_A, "GET", "k", b"");
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
    let text = rejected.text();
    assert_eq!((rejected.status, rejected.refused()), (503, Some("caller-limit")), "{text}");
    assert_eq!(rejected.header("retry-after"), Some("1"));
    assert!(text.contains("<Code>SlowDown</Code>") && text.contains("team-a"), "{text}");
    let head = ask_as(proxy.address, TOKEN_A, "HEAD", "k", b"");
    assert_eq!((head.status, head.refused(), head.body.len()), (503, Some("caller-limit"), 0));
    assert!(head.header("x-oss-err").is_some());
    assert_eq!(metric(proxy.admin, "caller_limited_total"), 2);
    assert_eq!(upstream.heads().len(), 1, "it reaches no upstream");
    drop(held);
}

#[test]
fn a_caller_at_its_limit_does_not_delay_another() {
    let upstream = upstream();
    let proxy = start(&upstream, &format!("{}{}", callers("requests = 2, rate = 5"), queue("1h")));
    let held = [hold(&upstream, proxy.address), hold(&upstream, proxy.address)];
    let waiting: Vec<Client> = (0..20).map(|_| begin(proxy.address, "k")).collect();
    eventually_waiting(proxy.admin, 20);
    for _ in 0..50 {
        assert_eq!(ask_as(proxy.address, TOKEN_B, "GET", "k", b"").status, 200);
    }
    // They waited all the time.
    assert_eq!(metric(proxy.admin, "caller_waiting"), 20);
    assert_eq!(upstream.heads().len(), 52);
    drop((held, waiting));
}

#[test]
fn a_request_that_waits_is_served_when_another_ends() {
    let upstream = upstream();
    let proxy = start(&upstream, &format!("{}{}", callers("requests = 1"), queue("1h")));
    // The client disconnects before the response, and in the middle of it.
    for key in ["held", "begun"] {
        let before = upstream.heads().len();
        let first = begin(proxy.address, key);
        eventually("the request arrives", || upstream.heads().len() > before);
        let mut second = begin(proxy.address, "100");
        eventually_waiting(proxy.admin, 1);
        first.reset();
        let answer = second.answer("GET").expect("an answer");
        assert_eq!((answer.status, answer.body.len()), (200, 100), "{key}");
        eventually_waiting(proxy.admin, 0);
    }
}

#[test]
fn a_client_that_disconnects_while_it_waits_leaves_its_turn_to_the_next() {
    let upstream = upstream();
    let proxy = start(&upstream, &format!("{}{}", callers("requests = 1"), queue("1h")));
    let held = hold(&upstream, proxy.address);
    let gone: Vec<Client> = (0..5).map(|_| begin(proxy.address, "gone")).collect();
    eventually_waiting(proxy.admin, 5);
    gone.into_iter().for_each(Client::reset);
    eventually_waiting(proxy.admin, 0);
    let mut next = begin(proxy.address, "100");
    eventually_waiting(proxy.admin, 1);
    held.reset();
    assert_eq!(next.answer("GET").map(|answer| answer.status), Some(200));
    assert!(!upstream.heads().iter().any(|head| head.contains("/gone")));
}

#[test]
fn requests_per_second_are_near_the_limit_on_all_connections_together() {
    let upstream = upstream();
    let proxy = start(&upstream, &callers("rate = 20"));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| {
                for _ in 0..8 {
                    assert_eq!(ask_as(proxy.address, TOKEN_A, "GET", "k", b"").status, 200);
                }
            });
        }
    });
    // Forty requests, of which six may come at once.
    let took = begun.elapsed();
    assert!((Duration::from_millis(1_650)..Duration::from_secs(20)).contains(&took), "{took:?}");
}

#[test]
fn more_requests_per_second_than_can_wait_are_rejected_at_once() {
    let upstream = upstream();
    let proxy = start(&upstream, &format!("{}{}", callers("rate = 1"), queue("500ms")));
    assert_eq!(ask_as(proxy.address, TOKEN_A, "GET", "k", b"").status, 200);
    let rejected = ask_as(proxy.address, TOKEN_A, "GET", "k", b"");
    assert_eq!((rejected.status, rejected.refused()), (503, Some("caller-limit")), "{}", rejected.text());
    assert!(rejected.text().contains("1 requests per second"), "{}", rejected.text());
}

/// Transfers 32 KiB in each of six requests of the first caller, and returns the time.
fn transfer(proxy: &Proxy, method: &str, key: &str, body: &[u8]) -> Duration {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let answer = ask_as(proxy.address, TOKEN_A, method, key, body);
                assert_eq!((answer.status, answer.whole), (200, true), "{}", answer.text());
            });
        }
    });
    begun.elapsed()
}

/// The times of 192 KiB at 64 KiB per second, of which the first 24 KiB are sent at once.
const TRANSFER_TIMES: std::ops::Range<Duration> = Duration::from_millis(2_400)..Duration::from_secs(20);

#[test]
fn uploads_share_the_bytes_per_second_and_their_waits_are_no_stall() {
    let upstream = upstream();
    let timeouts = "[timeouts]\nstall = \"600ms\"\nfirst_byte = \"600ms\"\n";
    let proxy = start(&upstream, &format!("{}{timeouts}", callers("upload = \"64KiB\"")));
    let took = transfer(&proxy, "PUT", "k", &[b'x'; 32 << 10]);
    assert!(TRANSFER_TIMES.contains(&took), "{took:?}");
    // Only the bytes of requests count.
    let begun = Instant::now();
    assert_eq!(ask_as(proxy.address, TOKEN_A, "GET", "1000000", b"").body.len(), 1_000_000);
    assert_eq!(ask_as(proxy.address, TOKEN_B, "PUT", "k", &[b'x'; 1_000_000]).status, 200);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn downloads_share_the_bytes_per_second_and_their_waits_are_no_stall() {
    let upstream = upstream();
    let timeouts = "[timeouts]\nstall = \"600ms\"\n";
    let proxy = start(&upstream, &format!("{}{timeouts}", callers("download = \"64KiB\"")));
    let took = transfer(&proxy, "GET", "32768", b"");
    assert!(TRANSFER_TIMES.contains(&took), "{took:?}");
    let begun = Instant::now();
    assert_eq!(ask_as(proxy.address, TOKEN_A, "PUT", "k", &[b'x'; 1_000_000]).status, 200);
    assert_eq!(ask_as(proxy.address, TOKEN_B, "GET", "1000000", b"").body.len(), 1_000_000);
    let head = ask_as(proxy.address, TOKEN_A, "HEAD", "k", b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn streams_of_a_connection_share_the_bytes_per_second() {
    let upstream = upstream();
    let timeouts = "[timeouts]\nstall = \"600ms\"\nfirst_byte = \"600ms\"\n";
    let limits = "upload = \"64KiB\", download = \"64KiB\"";
    let proxy = start(&upstream, &format!("{}{timeouts}", callers(limits)));
    let address = proxy.address;
    for (method, key, body) in [("GET", "32768", 0), ("PUT", "k", 32 << 10)] {
        let begun = Instant::now();
        let body = vec![b'x'; body];
        let statuses = over_h2(address, async |connection| {
            let ask = async || {
                let uri = format!("http://{address}/photos/{key}");
                let request = http::Request::builder().method(method).uri(uri);
                let request = request.header("authorization", format!("Bearer {TOKEN_A}"));
                // The upstream reads no chunks.
                let request = request.header("content-length", body.len());
                connection.ask(request.body(()).expect("a request"), &body).await
            };
            let (one, two, three, four) = tokio::join!(ask(), ask(), ask(), ask());
            [one, two, three, four].map(|got| (got.status.as_u16(), got.reset))
        });
        assert_eq!(statuses, [(200, None); 4], "{method}");
        let took = begun.elapsed();
        assert!(
            (Duration::from_millis(1_500)..Duration::from_secs(20)).contains(&took),
            "{method}: {took:?}"
        );
    }
}

#[test]
fn requests_that_began_before_a_reload_still_count() {
    let upstream = upstream();
    let listen = "[[listen]]\nidentify = [\"token\"]\n";
    let sections = |limits, time| format!("{listen}{}{}", callers(limits), queue(time));
    let served = Served::start_with(upstream.address, &sections("requests = 1", "1h"), &[], &KEY);
    let held = hold(&upstream, served.address);
    served.rewrite(upstream.address, &sections("requests = 1", "200ms"));
    assert_eq!(served.reload().0, 200);
    let status = || ask_as(served.address, TOKEN_A, "GET", "k", b"").status;
    assert_eq!(status(), 503, "the first request is still in flight");
    held.reset();
    eventually("the first request has ended", || status() == 200);
    // Another limit applies at once.
    served.rewrite(upstream.address, &sections("requests = 3", "200ms"));
    assert_eq!(served.reload().0, 200);
    let held: Vec<Client> = (0..3).map(|_| hold(&upstream, served.address)).collect();
    assert_eq!(status(), 503);
    drop(held);
}

#[test]
fn limits_of_all_callers_apply_to_each_that_has_none_of_its_own() {
    let upstream = upstream();
    let defaults = "[limits]\ncaller = { requests = 1 }\n";
    let proxy = start(&upstream, &format!("{}{}{defaults}", callers("requests = 2"), queue("100ms")));
    let held = [hold(&upstream, proxy.address), hold(&upstream, proxy.address)];
    assert_eq!(ask_as(proxy.address, TOKEN_A, "GET", "k", b"").status, 503);
    let address = proxy.address;
    let mut other = Client::connect(address);
    other.send(format!(
        "GET /photos/held HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {TOKEN_B}\r\n\r\n"
    ));
    eventually("the request arrives", || upstream.heads().len() == 3);
    assert_eq!(ask_as(proxy.address, TOKEN_B, "GET", "k", b"").status, 503);
    drop((held, other));
}

/// A listener for credentials, which hands keys out with this master.
const KEYS: &str = "[[listen]]
    address = \"127.0.0.1:0\"
    serve = \"credentials\"
    identify = [\"token\"]
    [hand_out]
    master = [\"AMasterOf40LettersAndDigits0123456789012\"]
";

/// Asks for a key of a caller.
fn ask_for_key(keys: SocketAddr, token: &str) -> Answer {
    let line = format!("Authorization: Bearer {token}\r\n");
    Client::connect(keys).ask("GET", "/credentials", &keys.to_string(), &line, b"")
}

#[test]
fn requests_for_keys_count_and_are_told_to_slow_down() {
    let upstream = upstream();
    let sections = |limits| format!("{KEYS}{}{}", callers(limits), queue("300ms"));
    let proxy = start(&upstream, &sections("rate = 1"));
    let keys = proxy.listeners[1];
    assert_eq!(ask_for_key(keys, TOKEN_A).status, 200);
    let rejected = ask_for_key(keys, TOKEN_A);
    let text = rejected.text();
    assert_eq!((rejected.status, rejected.refused()), (503, Some("caller-limit")), "{text}");
    assert_eq!(rejected.header("retry-after"), Some("1"));
    assert!(!text.contains("HO."), "{text}");
    assert_eq!(ask_for_key(keys, TOKEN_B).status, 200, "it is another caller");
    assert_eq!(metric(proxy.admin, "caller_limited_total"), 1);

    // Requests for objects and for keys share the limits.
    let proxy = start(&upstream, &sections("requests = 1"));
    let keys = proxy.listeners[1];
    let held = hold(&upstream, proxy.address);
    let rejected = ask_for_key(keys, TOKEN_A);
    assert_eq!((rejected.status, rejected.refused()), (503, Some("caller-limit")), "{}", rejected.text());
    held.reset();
    eventually("the request ends", || ask_for_key(keys, TOKEN_A).status == 200);
}
