//! Gauges of current activity return to zero when clients disconnect in any phase of a request.

use std::net::{SocketAddr, TcpListener};

use crate::support::h2::{Connection, over_h2, request, send};
use crate::support::{Client, Proxy, Script, ask, eventually, proxy};

/// The phase in which the client disconnects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Under {
    /// The request waits for an upstream connection.
    Queued,
    /// A connection is being established for the request.
    Dialling,
    /// The upstream has received the request, and is silent.
    Awaited,
    Uploading,
    Downloading,
}

const ALL: [Under; 5] =
    [Under::Queued, Under::Dialling, Under::Awaited, Under::Uploading, Under::Downloading];

/// An upstream that keeps requests in this phase until the client disconnects.
enum Upstream {
    Script(Script),
    /// Accepts connections and sends nothing, so the TLS handshake does not complete.
    Mute(TcpListener),
}

impl Upstream {
    fn new(under: Under) -> Self {
        if under == Under::Dialling {
            return Self::Mute(TcpListener::bind("127.0.0.1:0").expect("a port"));
        }
        Self::Script(Script::start(move |peer| {
            peer.head();
            if under == Under::Downloading {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbegun");
            }
            peer.rest();
        }))
    }

    fn address(&self) -> SocketAddr {
        match self {
            Self::Script(script) => script.address,
            Self::Mute(listener) => listener.local_addr().expect("an address"),
        }
    }
}

/// Starts a proxy whose timeouts are longer than the test.
fn patient(under: Under, upstream: &Upstream) -> Proxy {
    let scheme = if under == Under::Dialling { "https" } else { "http" };
    let connections = if under == Under::Queued { 1 } else { 256 };
    proxy(upstream.address())
        .upstream(&format!(
            "endpoint = \"{scheme}://oss-cn-hangzhou.aliyuncs.com\"\nconnect = \"{}\"",
            upstream.address()
        ))
        .sections(&format!(
            "[limits]\nupstream_connections = {connections}\n[timeouts]\nconnect = \"60s\"\nfirst_byte = \"60s\"\nstall = \"60s\"\nqueue = \"60s\""
        ))
        .start()
}

/// Returns the value of this metric.
pub(crate) fn value(proxy: &Proxy, metric: &str) -> u64 {
    let text = ask(proxy.admin, "GET", "/metrics", b"").text();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("oss_proxy_{metric} ")));
    line.unwrap_or_else(|| panic!("no {metric}: {text}")).parse().expect("a number")
}

const IN_USE: &str = "upstream_connections{state=\"in_use\"}";

/// Returns whether this many requests have reached the phase.
fn is_under(under: Under, upstream: &Upstream, proxy: &Proxy, requests: usize) -> bool {
    let begun = value(proxy, "requests_in_flight") == requests as u64;
    begun
        && match upstream {
            _ if under == Under::Queued => value(proxy, "upstream_queue") > 0,
            Upstream::Mute(_) => value(proxy, IN_USE) == requests as u64,
            Upstream::Script(script) => script.heads().len() == requests,
        }
}

/// Returns the gauges that are not zero.
fn left(proxy: &Proxy, gauges: &[&str]) -> Vec<String> {
    let values = gauges.iter().map(|gauge| (gauge, value(proxy, gauge)));
    values.filter(|(_, value)| *value > 0).map(|(gauge, value)| format!("{gauge} {value}")).collect()
}

const OF_REQUESTS: [&str; 3] = ["requests_in_flight", IN_USE, "upstream_queue"];

fn none_left(under: Under, proxy: &Proxy) {
    let all = [&OF_REQUESTS[..], &["client_connections"]].concat();
    let mut last = Vec::new();
    let what = format!("{under:?}");
    eventually(&what, || {
        last = left(proxy, &all);
        last.is_empty()
    });
}

/// More than the number of workers, so that with one connection per worker some requests must wait.
const QUEUED: usize = 40;

fn count(under: Under) -> usize {
    if under == Under::Queued { QUEUED } else { 3 }
}

#[test]
fn nothing_is_left_of_clients_that_break_their_connection() {
    for under in ALL {
        let upstream = Upstream::new(under);
        let proxy = patient(under, &upstream);
        let mut clients: Vec<Client> = (0..count(under)).map(|_| Client::connect(proxy.address)).collect();
        let body = if under == Under::Uploading { "Content-Length: 1000000\r\n\r\nbegun" } else { "\r\n" };
        let method = if under == Under::Uploading { "PUT" } else { "GET" };
        for client in &mut clients {
            client.send(format!("{method} /photos/k HTTP/1.1\r\nHost: {}\r\n{body}", proxy.address));
        }
        eventually("it is under way", || is_under(under, &upstream, &proxy, clients.len()));
        if under == Under::Downloading {
            clients.iter_mut().for_each(|client| assert_eq!(client.head().expect("a head").0, 200));
        }
        assert_eq!(value(&proxy, "client_connections"), clients.len() as u64, "{under:?}");
        clients.into_iter().for_each(Client::reset);
        none_left(under, &proxy);
    }
}

#[test]
fn nothing_is_left_of_streams_that_are_reset() {
    for under in ALL {
        let upstream = Upstream::new(under);
        let proxy = patient(under, &upstream);
        over_h2(proxy.address, async |connection| {
            let streams = begin(under, connection, &proxy).await;
            until("it is under way", || is_under(under, &upstream, &proxy, streams.len())).await;
            drop(streams);
            until(&format!("{under:?} ends"), || left(&proxy, &OF_REQUESTS).is_empty()).await;
            assert_eq!(value(&proxy, "client_connections"), 1, "{under:?}: the connection goes on");
        });
        none_left(under, &proxy);
    }
}

#[test]
fn nothing_is_left_of_a_connection_that_ends_with_its_streams() {
    for under in ALL {
        let upstream = Upstream::new(under);
        let proxy = patient(under, &upstream);
        over_h2(proxy.address, async |connection| {
            let streams = begin(under, connection, &proxy).await;
            until("it is under way", || is_under(under, &upstream, &proxy, streams.len())).await;
            connection.driver.abort();
        });
        none_left(under, &proxy);
    }
}

type Stream = (h2::client::ResponseFuture, h2::SendStream<bytes::Bytes>);

/// Begins as many streams as the phase needs.
async fn begin(under: Under, connection: &Connection, proxy: &Proxy) -> Vec<Stream> {
    let at = format!("http://{}/photos/k", proxy.address);
    let mut streams = Vec::new();
    for _ in 0..count(under) {
        let uploads = under == Under::Uploading;
        let mut head = request(if uploads { "PUT" } else { "GET" }, &at);
        if uploads {
            head.headers_mut().insert("content-length", 1_000_000.into());
        }
        let (response, mut body) = connection.begin_with(head, !uploads).await;
        if uploads {
            send(&mut body, b"begun", false).await;
        }
        streams.push((response, body));
    }
    streams
}

/// Waits as [`eventually`], while the connection makes progress.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..400 {
        if condition() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("waited in vain: {what}");
}

#[test]
fn a_dial_that_nobody_waits_for_any_more_has_neither_failed_nor_succeeded() {
    let upstream = Upstream::new(Under::Dialling);
    let proxy = patient(Under::Dialling, &upstream);
    let mut client = Client::connect(proxy.address);
    client.send(format!("GET /photos/k HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.address));
    let results = ["ok", "failed", "cancelled"];
    let dials =
        || results.map(|result| value(&proxy, &format!("upstream_connects_total{{result=\"{result}\"}}")));
    eventually("it dials", || value(&proxy, IN_USE) == 1);
    assert_eq!(dials(), [0, 0, 0]);
    client.reset();
    eventually("it gives up", || value(&proxy, IN_USE) == 0);
    assert_eq!(dials(), [0, 0, 1]);
}

#[test]
fn bytes_are_counted_as_they_pass() {
    for (under, direction, head) in [
        (Under::Uploading, "in", "PUT /photos/k HTTP/1.1\r\nContent-Length: 1000000"),
        (Under::Downloading, "out", "GET /photos/k HTTP/1.1"),
    ] {
        let upstream = Upstream::new(under);
        let proxy = patient(under, &upstream);
        let mut client = Client::connect(proxy.address);
        client.send(format!("{head}\r\nHost: {}\r\n\r\n", proxy.address));
        if under == Under::Uploading {
            client.send("begun");
        }
        let bytes = format!("body_bytes_total{{direction=\"{direction}\"}}");
        eventually("the beginning is counted", || value(&proxy, &bytes) == 5);
        assert_eq!(value(&proxy, "requests_in_flight"), 1, "{under:?}: in the middle");
        client.reset();
        none_left(under, &proxy);
        assert_eq!(value(&proxy, &bytes), 5, "{under:?}: and not once more at the end");
    }
}
