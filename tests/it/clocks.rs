//! Every phase of a connection and of a request has a limit. The table lists the phases, and a
//! client stalls once in each. Cases cover HTTP/1.1 and HTTP/2, plain and over TLS.

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use oss_signing_proxy::app::DrainOutcome;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

use crate::support::certificates::Authority;
use crate::support::h2::{Connection, play, request, send};
use crate::support::{Proxy, Script, ask, proxy};

/// A phase in which one side waits for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The client does not begin its TLS handshake.
    Handshake,
    /// The client does not show which protocol it uses, or sends no request.
    Silence,
    /// The head of the request does not end.
    Head,
    /// The body of the request stalls.
    BodyIn,
    /// No credentials are available.
    Credentials,
    /// No connection to the upstream becomes free.
    Queue,
    /// The connection to the upstream is not established.
    Dial,
    /// The upstream reads nothing of the body of a request.
    UploadOut,
    /// The upstream does not begin its response.
    FirstByte,
    /// The upstream does not continue its response.
    UpstreamBody,
    /// The client does not read the response.
    BodyOut,
    /// The client does not read an error response of the proxy.
    RejectionOut,
    /// The body of a rejected request stalls. It is read so that the connection can be reused.
    RejectedBody,
    /// The client does not close its side after the end.
    Linger,
    /// The client sends no further request.
    Idle,
    /// A request is in flight when the process shuts down.
    Drain,
}

/// The setting or constant that limits a phase.
enum Bound {
    /// A key of `[timeouts]`, set to [`SHORT`] while all others are long.
    Key(&'static str),
    /// A constant.
    Fixed(Duration),
}

/// The result when a phase reaches its limit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Connection,
    Request,
    Process,
}

/// A protocol, with or without TLS.
type Over = (Protocol, Security);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Security {
    Plain,
    Tls,
}

use Bound::{Fixed, Key};
use Phase::*;
use Protocol::{Http1, Http2};
use Security::{Plain, Tls};

const EVERY: &[Over] = &[(Http1, Plain), (Http1, Tls), (Http2, Plain), (Http2, Tls)];
/// The protocol is not known yet.
const TLS_ONLY: &[Over] = &[(Http1, Tls)];
const HTTP1: &[Over] = &[(Http1, Plain), (Http1, Tls)];
const HTTP2: &[Over] = &[(Http2, Plain), (Http2, Tls)];

const CLOCKS: &[(Phase, Bound, Ends, &[Over])] = &[
    (Handshake, Key("header_read"), Ends::Connection, TLS_ONLY),
    (Silence, Key("header_read"), Ends::Connection, EVERY),
    (Head, Key("header_read"), Ends::Connection, EVERY),
    (BodyIn, Key("stall"), Ends::Request, EVERY),
    (Credentials, Fixed(Duration::from_secs(5)), Ends::Request, EVERY),
    (Queue, Key("queue"), Ends::Request, EVERY),
    (Dial, Key("connect"), Ends::Request, EVERY),
    (UploadOut, Key("stall"), Ends::Request, EVERY),
    (FirstByte, Key("first_byte"), Ends::Request, EVERY),
    (UpstreamBody, Key("stall"), Ends::Request, EVERY),
    (BodyOut, Key("stall"), Ends::Request, EVERY),
    (RejectionOut, Key("stall"), Ends::Connection, HTTP1),
    (RejectionOut, Key("stall"), Ends::Request, HTTP2),
    (RejectedBody, Fixed(Duration::from_secs(5)), Ends::Connection, HTTP1),
    (RejectedBody, Fixed(Duration::from_secs(5)), Ends::Request, HTTP2),
    // A stream of HTTP/2 does not linger, and a connection ends with GOAWAY.
    (Linger, Fixed(Duration::from_secs(2)), Ends::Connection, HTTP1),
    (Idle, Key("idle"), Ends::Connection, EVERY),
    (Drain, Key("drain"), Ends::Process, EVERY),
];

const KEYS: [&str; 7] = ["connect", "header_read", "first_byte", "stall", "queue", "idle", "drain"];
const SHORT: Duration = Duration::from_millis(400);
/// Longer than any case may take.
const LONG: Duration = Duration::from_secs(60);
/// Tolerance for a busy machine.
const SLACK: Duration = Duration::from_secs(10);
/// The number of cases that run at once.
const WORKERS: usize = 16;

#[test]
fn no_phase_of_a_connection_or_a_request_lasts_longer_than_its_limit() {
    let mut cases: Vec<_> = CLOCKS
        .iter()
        .flat_map(|(phase, bound, ends, overs)| overs.iter().map(move |over| (*phase, bound, *ends, *over)))
        .collect();
    // The longest cases are first.
    cases.sort_by_key(|(_, bound, ..)| matches!(bound, Key(_)));
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some((phase, bound, ends, over)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    Case::new(*phase, bound, *ends, *over).run();
                }
            });
        }
    });
}

/// A stream of the client.
trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// A stream of HTTP/2 with its response, which is not read.
type Half = (h2::client::ResponseFuture, h2::SendStream<bytes::Bytes>);

/// The state that a client keeps open while it does nothing.
#[derive(Default)]
struct Kept {
    streams: Vec<Box<dyn Stream>>,
    _connection: Option<Connection>,
    halves: Vec<Half>,
}

struct Case {
    name: String,
    phase: Phase,
    ends: Ends,
    limit: Duration,
    over: Over,
    authority: Authority,
    proxy: Proxy,
    /// Accepts connections and sends nothing.
    _mute: TcpListener,
}

impl Case {
    fn new(phase: Phase, bound: &Bound, ends: Ends, over: Over) -> Self {
        let (short, limit) = match bound {
            Key(key) => (Some(*key), SHORT),
            Fixed(limit) => (None, *limit),
        };
        let timeouts = KEYS.map(|key| {
            let limit = if Some(key) == short { SHORT } else { LONG };
            format!("{key} = \"{}ms\"\n", limit.as_millis())
        });
        let mute = TcpListener::bind("127.0.0.1:0").expect("a port");
        let silent = mute.local_addr().expect("an address");
        let authority = Authority::new();
        let mut builder = proxy(upstream().address).sections(&format!("[timeouts]\n{}", timeouts.concat()));
        match phase {
            Queue => builder = builder.sections("[limits]\nupstream_connections = 1"),
            Dial => {
                let endpoint = "endpoint = \"https://oss-cn-hangzhou.aliyuncs.com\"";
                builder = builder.upstream(&format!("{endpoint}\nconnect = \"{silent}\""));
            }
            Credentials => {
                builder = builder.credentials(&format!("type = \"uri\"\nurl = \"http://{silent}/\""));
            }
            Handshake | Silence | Head | BodyIn | UploadOut | FirstByte | UpstreamBody | BodyOut
            | RejectionOut | RejectedBody | Linger | Idle | Drain => {}
        }
        if over.1 == Tls {
            builder = builder.listen(&Authority::listen(&authority.sign("listener", "localhost"), ""));
        }
        let name = format!("{phase:?} over {over:?}");
        Self { name, phase, ends, limit, over, authority, proxy: builder.start(), _mute: mute }
    }

    fn run(self) {
        play(async move {
            let begun = Instant::now();
            let mut kept = self.begin().await;
            if self.ends == Ends::Process {
                let Self { name, limit, proxy, .. } = self;
                proxy.drain.leave();
                let drained = proxy.ended();
                assert!(matches!(drained, DrainOutcome::Cut { .. }), "{name}: {drained:?}");
                assert!(begun.elapsed() < limit + SLACK, "{name}: {:?}", begun.elapsed());
                drop(kept);
                return;
            }
            self.wait_for_end(&mut kept).await;
            let took = begun.elapsed();
            assert!(took < self.limit + SLACK, "{}: {took:?}", self.name);
            // The wait for credentials begins when the provider is called, which is earlier.
            assert!(took >= self.limit || self.phase == Credentials, "{}: {took:?}", self.name);
            if self.phase != Queue {
                self.ask_on_a_new_connection().await;
            }
            drop(kept);
            let all = [IN_FLIGHT, IN_USE, IN_QUEUE, OPEN];
            self.until(|value| all.iter().all(|gauge| value(gauge) == 0)).await;
            self.ask_on_a_new_connection().await;
        });
    }

    /// Waits until the phase has begun and ended.
    async fn wait_for_end(&self, kept: &mut Kept) {
        let requests = match self.phase {
            Handshake | Silence | Head => 0,
            Queue => self.occupants() + 1,
            BodyIn | Credentials | Dial | UploadOut | FirstByte | UpstreamBody | BodyOut | RejectionOut
            | RejectedBody | Linger | Idle | Drain => 1,
        };
        self.until(|value| value(OPENED) > 0 && self.proxy.counts().read >= requests).await;
        // The metrics may be a moment old.
        tokio::time::sleep(SHORT / 8).await;
        match (self.phase, self.ends) {
            (RejectedBody, Ends::Request) => {
                // Reading the rest of a body does not count as a request in flight. When the read
                // ends, the stream is reset.
                let stream = &mut kept.halves[0].1;
                let reset = std::future::poll_fn(|cx| stream.poll_reset(cx));
                let reset = tokio::time::timeout(self.limit + SLACK, reset).await;
                assert!(matches!(reset, Ok(Ok(_))), "{}: {reset:?}", self.name);
            }
            (Queue, _) => self.until(|value| value(IN_QUEUE) == 0).await,
            (UploadOut, _) => {
                self.until(|value| value(IN_FLIGHT) + value(IN_USE) == 0).await;
                let status = tokio::time::timeout(SLACK, Self::status(kept)).await.expect("a response");
                assert_eq!(status, "504", "{}: it is the upstream that stalls", self.name);
            }
            (_, Ends::Connection | Ends::Process) => self.until(|value| value(OPEN) == 0).await,
            (_, Ends::Request) => self.until(|value| value(IN_FLIGHT) + value(IN_USE) == 0).await,
        }
    }

    /// Reads the status of the first response.
    async fn status(kept: &mut Kept) -> String {
        if let Some((response, _)) = kept.halves.first_mut() {
            return response.await.expect("a response").status().as_str().to_owned();
        }
        let mut line = [0; "HTTP/1.1 504".len()];
        kept.streams[0].read_exact(&mut line).await.expect("a response");
        String::from_utf8_lossy(&line[line.len() - 3..]).into_owned()
    }

    /// Waits until the metrics satisfy the condition.
    async fn until(&self, is_so: impl Fn(&dyn Fn(&str) -> u64) -> bool) {
        let deadline = Instant::now() + self.limit + SLACK;
        loop {
            let text = ask(self.proxy.admin, "GET", "/metrics", b"").text();
            let value = |metric: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(&format!("oss_proxy_{metric} ")));
                line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {metric}: {text}"))
            };
            if is_so(&value) {
                return;
            }
            assert!(Instant::now() < deadline, "{}: waited in vain: {text}", self.name);
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Returns the number of requests that use all the upstream connections available to one more
    /// request.
    fn occupants(&self) -> u64 {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // All streams of a connection are on one worker.
        if self.over.0 == Http2 { 1 } else { cores as u64 }
    }

    async fn ask_on_a_new_connection(&self) {
        let (method, status) = if self.phase == Credentials {
            // Only requests without credentials are answered at once.
            ("PATCH", "HTTP/1.1 405")
        } else {
            ("GET", if self.phase == Dial { "HTTP/1.1 502" } else { "HTTP/1.1 200" })
        };
        let mut stream = self.connect(Http1).await;
        let close = "Host: 127.0.0.1\r\nConnection: close\r\n\r\n";
        say(&mut stream, &format!("{method} /photos/good HTTP/1.1\r\n{close}")).await;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("an end after the answer");
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with(status), "{}: {answer}", self.name);
    }

    async fn connect(&self, protocol: Protocol) -> Box<dyn Stream> {
        let socket = TcpSocket::new_v4().expect("a socket");
        // A small buffer, so that little is sent to a client that does not read.
        socket.set_recv_buffer_size(16 << 10).expect("a size");
        let stream = socket.connect(self.proxy.address).await.expect("a connection");
        // A reset makes the proxy notice at once that the client is gone.
        stream.set_zero_linger().expect("an option");
        if self.over.1 == Plain {
            return Box::new(stream);
        }
        let name = if protocol == Http2 { "h2" } else { "http/1.1" };
        let connector = TlsConnector::from(self.authority.client(&[name], None));
        let server = ServerName::try_from("localhost").expect("a name");
        Box::new(connector.connect(server, stream).await.expect("TLS"))
    }

    /// Enters the phase.
    async fn begin(&self) -> Kept {
        let kept = match (self.phase, self.over.0) {
            (Handshake, _) => {
                let stream = tokio::net::TcpStream::connect(self.proxy.address).await;
                Kept { streams: vec![Box::new(stream.expect("a connection"))], ..Kept::default() }
            }
            (_, Http1) => self.begin_http1().await,
            (_, Http2) => self.begin_http2().await,
        };
        if self.phase == Drain {
            self.until(|value| value(IN_USE) == 1).await;
        }
        kept
    }

    async fn begin_http1(&self) -> Kept {
        let get = |key: &str| format!("GET /photos/{key} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        let half = |method: &str, framing: &str| {
            format!("{method} /photos/k HTTP/1.1\r\nHost: 127.0.0.1\r\n{framing}\r\n\r\n4\r\nhalf\r\n")
        };
        let (connections, said) = match self.phase {
            Handshake | Silence => (1, String::new()),
            Head => (1, "GET /photos/good HTTP/1.1\r\nHo".to_owned()),
            BodyIn => (1, half("PUT", "Transfer-Encoding: chunked")),
            Credentials | Dial | Idle => (1, get("good")),
            UploadOut => (
                1,
                format!("PUT /photos/stuck HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {LARGE}\r\n\r\n"),
            ),
            FirstByte | Drain => (1, get("silent")),
            Queue => (self.occupants() + 1, get("silent")),
            UpstreamBody => (1, get("half")),
            BodyOut => (1, get("large")),
            RejectedBody => (1, half("PATCH", "Content-Length: 1000")),
            Linger => (1, half("PATCH", "Transfer-Encoding: chunked")),
            RejectionOut => (1, half("PATCH", "Content-Length: 9").repeat(100)),
        };
        let mut kept = Kept::default();
        for _ in 0..connections {
            let mut stream = self.connect(Http1).await;
            say(&mut stream, &said).await;
            if self.phase == RejectionOut {
                // Until no more bytes are accepted, or the connection is cut.
                let all = async { while stream.write_all(said.as_bytes()).await.is_ok() {} };
                let _ = tokio::time::timeout(Duration::from_secs(3), all).await;
            }
            if self.phase == UploadOut {
                // Until no bytes are accepted for longer than the limit. After a rejection, the
                // rest may be read.
                for _ in 0..LARGE / PIECE.len() {
                    let taken = tokio::time::timeout(2 * SHORT, stream.write_all(&PIECE)).await;
                    if !matches!(taken, Ok(Ok(()))) {
                        break;
                    }
                }
            }
            kept.streams.push(stream);
        }
        kept
    }

    async fn begin_http2(&self) -> Kept {
        let mut stream = self.connect(Http2).await;
        // The settings, and the first bytes of a head of 100 bytes.
        let begun = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x64\x01\x05\0\0\0\x01abc";
        let (window, method, key, length) = match self.phase {
            Handshake | Silence | Head => {
                say(&mut stream, if self.phase == Head { begun } else { &begun[..8] }).await;
                return Kept { streams: vec![stream], ..Kept::default() };
            }
            BodyIn => (WINDOW, "PUT", "k", Some(100)),
            RejectedBody => (WINDOW, "PATCH", "k", Some(1000)),
            RejectionOut => (0, "PATCH", "k", None),
            UploadOut => (WINDOW, "PUT", "stuck", Some(LARGE)),
            FirstByte | Queue | Drain => (WINDOW, "GET", "silent", None),
            UpstreamBody => (WINDOW, "GET", "half", None),
            BodyOut => (WINDOW, "GET", "large", None),
            Credentials | Dial | Linger | Idle => (WINDOW, "GET", "good", None),
        };
        let connection = Connection::open_with_window(stream, window).await;
        let mut halves = Vec::new();
        for _ in 0..if self.phase == Queue { 2 } else { 1 } {
            let mut head = request(method, &format!("http://127.0.0.1/photos/{key}"));
            if let Some(length) = length {
                head.headers_mut().insert("content-length", length.into());
            }
            let mut half = connection.begin_with(head, length.is_none()).await;
            if length.is_some() {
                send(&mut half.1, b"half", false).await;
            }
            if self.phase == UploadOut {
                for _ in 0..LARGE / PIECE.len() {
                    if tokio::time::timeout(2 * SHORT, send(&mut half.1, &PIECE, false)).await.is_err() {
                        break;
                    }
                }
            }
            halves.push(half);
        }
        Kept { _connection: Some(connection), halves, ..Kept::default() }
    }
}

async fn say(stream: &mut Box<dyn Stream>, said: &str) {
    stream.write_all(said.as_bytes()).await.expect("sent");
    stream.flush().await.expect("sent");
}

/// An upstream whose behavior depends on the key.
fn upstream() -> Script {
    Script::start(|peer| {
        while let Some(head) = peer.head() {
            if head.contains("/good") {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                continue;
            }
            if head.contains("/stuck") {
                // The rest is not read, and the connection remains open.
                return std::thread::sleep(LONG);
            }
            if head.contains("/half") {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
            } else if head.contains("/large") {
                peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 64 << 20));
                // Until no more bytes are read.
                for _ in 0..1024 {
                    peer.send(PIECE);
                }
            }
            return peer.rest();
        }
    })
}

const IN_FLIGHT: &str = "requests_in_flight";
const IN_USE: &str = "upstream_connections{state=\"in_use\"}";
const IN_QUEUE: &str = "upstream_queue";
const OPEN: &str = "client_connections";
const OPENED: &str = "client_connections_opened_total";
const WINDOW: u32 = 65_535;
/// The length of an upload that exceeds all buffers.
const LARGE: usize = 32 << 20;
static PIECE: [u8; 64 << 10] = [b'x'; 64 << 10];
