//! A complete request with side effects is finished even if its client disconnects. A download
//! whose client is gone is cancelled.

use std::net::Shutdown;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use h2::Reason;
use oss_signing_proxy::emulator::EmulatorThread;
use rustls::pki_types::ServerName;
use socket2::SockRef;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

use crate::gauges::value;
use crate::support::certificates::Authority;
use crate::support::h2::{over_h2, play, request, send};
use crate::support::{Client, Proxy, Script, ask, bucket, eventually, oss, proxy};

const UPLOADS: usize = 20;
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A stream for HTTP/1.1.
trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Tcp,
    Tls,
    Unix,
}

/// The action of a client after the last byte of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// The client closes without reading; over TLS without close_notify.
    Close,
    /// The client closes its sending side, over TLS with `close_notify`, and closes the connection
    /// a little later.
    HalfClose,
    /// The client closes its sending side and reads to the end.
    HalfCloseAndRead,
}

/// Proxies in front of an upstream that listen on every kind of socket.
struct Field {
    proxy: Proxy,
    tls: Proxy,
    authority: Authority,
    unix: PathBuf,
    _directory: TempDir,
}

impl Field {
    fn new(upstream: std::net::SocketAddr) -> Self {
        let authority = Authority::new();
        let files = authority.sign("listener", "localhost");
        let directory = tempfile::tempdir().expect("a directory");
        let unix = directory.path().join("oss.sock");
        let listen = format!("[[listen]]\naddress = \"unix:{}\"", unix.display());
        let tls = proxy(upstream).listen(&Authority::listen(&files, "")).start();
        let proxy = proxy(upstream).sections(&listen).start();
        Self { proxy, tls, authority, unix, _directory: directory }
    }

    async fn connect(&self, over: Over) -> Box<dyn Stream> {
        let tcp = async |to| tokio::net::TcpStream::connect(to).await.expect("a connection");
        match over {
            Over::Tcp => Box::new(tcp(self.proxy.address).await),
            Over::Tls => {
                let connector = TlsConnector::from(self.authority.client(&["http/1.1"], None));
                let name = ServerName::try_from("localhost").expect("a name");
                Box::new(connector.connect(name, tcp(self.tls.address).await).await.expect("TLS"))
            }
            Over::Unix => Box::new(tokio::net::UnixStream::connect(&self.unix).await.expect("a connection")),
        }
    }
}

/// Returns an upload in either framing, as ffmpeg sends it.
fn upload(key: &str, chunked: bool) -> String {
    let head = format!("PUT /photos/{key} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    if chunked {
        format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")
    } else {
        format!("{head}Content-Length: 11\r\n\r\nhello world")
    }
}

async fn leave(mut stream: Box<dyn Stream>, then: Then) {
    match then {
        Then::Close => {}
        Then::HalfClose => {
            stream.shutdown().await.expect("half closed");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Then::HalfCloseAndRead => {
            stream.shutdown().await.expect("half closed");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("an end after the answer");
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        }
    }
}

fn all_stored(oss: &EmulatorThread, what: &str) {
    let mut stored = 0;
    let start = Instant::now();
    while stored < UPLOADS && start.elapsed() < Duration::from_secs(10) {
        let content = |number| oss.service.object(&bucket("photos"), format!("{what}-{number}").as_bytes());
        stored = (0..UPLOADS).filter(|number| content(*number).as_deref() == Some(b"hello world")).count();
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(stored, UPLOADS, "{what}");
}

#[test]
fn every_whole_upload_is_stored_however_its_client_leaves() {
    let oss = oss();
    let field = Field::new(oss.address);
    for over in [Over::Tcp, Over::Tls, Over::Unix] {
        for then in [Then::Close, Then::HalfClose, Then::HalfCloseAndRead] {
            for chunked in [true, false] {
                let what = format!("{over:?}-{then:?}-{chunked}");
                play(async {
                    for number in 0..UPLOADS {
                        let mut stream = field.connect(over).await;
                        let bytes = upload(&format!("{what}-{number}"), chunked);
                        stream.write_all(bytes.as_bytes()).await.expect("sent");
                        stream.flush().await.expect("sent");
                        leave(stream, then).await;
                    }
                });
                all_stored(&oss, &what);
            }
        }
    }
}

/// An upstream that is slow. It reports each body whose connection is still open.
fn slow(head_seen: mpsc::Sender<()>) -> Script {
    Script::start(move |peer| {
        let Some(head) = peer.head() else { return };
        // The test may be over.
        let _ = head_seen.send(());
        let body = peer.body(&head);
        std::thread::sleep(Duration::from_millis(200));
        peer.stream.set_read_timeout(Some(Duration::from_millis(1))).expect("a limit");
        let is_open = std::io::Read::read(&mut peer.stream, &mut [0]).is_err_and(|error| {
            matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
        });
        peer.send(OK);
        let _ = peer.ended.send(if is_open { body } else { b"given up".to_vec() });
    })
}

#[test]
fn an_upload_that_has_come_whole_is_finished_after_a_reset_too() {
    let (head_seen, heads) = mpsc::channel();
    let upstream = slow(head_seen);
    let proxy = proxy(upstream.address).start();
    for method in ["PUT", "POST"] {
        let mut client = Client::connect(proxy.address);
        client.send(format!("{method} /photos/k?append&position=0 HTTP/1.1\r\nHost: {}\r\n", proxy.address));
        client.send("Content-Length: 5\r\n\r\nwhole");
        heads.recv_timeout(Duration::from_secs(10)).expect("it has begun");
        client.reset();
        assert_eq!(upstream.rest(), b"whole", "{method}");
    }
    eventually("nothing is in use", || value(&proxy, "requests_in_flight") == 0);
}

#[test]
fn an_http_2_upload_that_has_come_whole_is_finished_after_any_end() {
    let (head_seen, heads) = mpsc::channel();
    let upstream = slow(head_seen);
    let proxy = proxy(upstream.address).start();
    let at = format!("http://{}/photos/k", proxy.address);
    for end in [Some(Reason::CANCEL), Some(Reason::NO_ERROR), None] {
        over_h2(proxy.address, async |connection| {
            let mut put = request("PUT", &at);
            put.headers_mut().insert("content-length", 5.into());
            let (response, mut stream) = connection.begin(put).await;
            send(&mut stream, b"whole", true).await;
            loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                if heads.try_recv().is_ok() {
                    break;
                }
            }
            match end {
                Some(reason) => stream.send_reset(reason),
                None => connection.driver.abort(),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            drop(response);
        });
        assert_eq!(upstream.rest(), b"whole", "{end:?}");
    }
    eventually("nothing is in use", || {
        value(&proxy, "requests_in_flight") + value(&proxy, "client_connections") == 0
    });
}

#[test]
fn the_drain_waits_for_an_http_2_upload_whose_client_is_gone() {
    let (head_seen, heads) = mpsc::channel();
    let upstream = slow(head_seen);
    let proxy = proxy(upstream.address).start();
    let at = format!("http://{}/photos/k", proxy.address);
    over_h2(proxy.address, async |connection| {
        let mut put = request("PUT", &at);
        put.headers_mut().insert("content-length", 5.into());
        let (_response, mut stream) = connection.begin(put).await;
        send(&mut stream, b"whole", true).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        connection.driver.abort();
    });
    heads.recv_timeout(Duration::from_secs(10)).expect("it has begun");
    proxy.drain.leave();
    assert_eq!(proxy.ended(), oss_signing_proxy::app::DrainOutcome::Whole);
    assert_eq!(upstream.rest(), b"whole");
}

#[test]
fn a_client_that_closes_its_sending_side_gets_its_download_whole() {
    const TOTAL: usize = 3_000_000;
    let oss = oss();
    oss.service.put_object(&bucket("photos"), b"large", vec![b'x'; TOTAL]);
    let field = Field::new(oss.address);
    for over in [Over::Tcp, Over::Tls, Over::Unix] {
        for line in ["HTTP/1.1\r\n", "HTTP/1.1\r\nConnection: close\r\n", "HTTP/1.0\r\n"] {
            play(async {
                let mut stream = field.connect(over).await;
                let head = format!("GET /photos/large {line}Host: localhost\r\n\r\n");
                stream.write_all(head.as_bytes()).await.expect("sent");
                stream.shutdown().await.expect("half closed");
                let mut all = Vec::new();
                stream.read_to_end(&mut all).await.expect("an end after the answer");
                let body = all.iter().filter(|byte| **byte == b'x').count();
                assert!(body >= TOTAL && all.ends_with(b"xxx"), "{over:?} {line}: {} bytes", all.len());
            });
        }
    }
    eventually("nothing is in use", || value(&field.proxy, "client_connections") == 0);
}

#[test]
fn pipelined_requests_before_a_half_close_are_all_answered() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    let mut client = Client::connect(proxy.address);
    let get = format!("GET /photos/k HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.address);
    client.send(get.repeat(3));
    client.stream.shutdown(Shutdown::Write).expect("half closed");
    for _ in 0..3 {
        assert_eq!(client.answer("GET").expect("an answer").text(), "ok");
    }
    assert!(client.is_closed());
}

#[test]
fn a_download_is_given_up_at_once_when_its_client_is_gone() {
    static PIECE: [u8; 64 << 10] = [b'x'; 64 << 10];
    let upstream = Script::start(|peer| {
        peer.head();
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1u64 << 40));
        let written = loop {
            if std::io::Write::write_all(&mut peer.stream, &PIECE).is_err() {
                break Instant::now();
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let _ = peer.ended.send(format!("{written:?}").into_bytes());
    });
    let proxy = proxy(upstream.address).start();
    for reset in [false, true] {
        let mut client = Client::connect(proxy.address);
        client.send(format!("GET /photos/k HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.address));
        assert_eq!(client.head().expect("a head").0, 200);
        if reset {
            SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).expect("an option");
        }
        let left = Instant::now();
        drop(client);
        upstream.rest();
        assert!(left.elapsed() < Duration::from_secs(2), "reset {reset}: {:?}", left.elapsed());
        eventually("nothing is in use", || value(&proxy, "requests_in_flight") == 0);
    }
}

#[test]
fn a_request_without_effects_is_given_up_at_once_after_a_reset() {
    let upstream = Script::start(|peer| {
        peer.head();
        peer.rest();
    });
    let field = Field::new(upstream.address);
    for method in ["GET", "HEAD"] {
        for over in [Over::Tcp, Over::Unix] {
            let requests = upstream.heads().len();
            let left = play(async {
                let mut stream: Box<dyn Stream> = if over == Over::Tcp {
                    let stream = tokio::net::TcpStream::connect(field.proxy.address).await.expect("one");
                    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("an option");
                    Box::new(stream)
                } else {
                    // On a Unix socket, a close is visible without a reset.
                    field.connect(over).await
                };
                let head = format!("{method} /photos/k HTTP/1.1\r\nHost: localhost\r\n\r\n");
                stream.write_all(head.as_bytes()).await.expect("sent");
                while upstream.heads().len() == requests {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Instant::now()
            });
            upstream.rest();
            assert!(left.elapsed() < Duration::from_secs(2), "{method} {over:?}: {:?}", left.elapsed());
        }
    }
}

#[test]
fn an_upload_that_was_cut_short_is_not_stored_on_any_stream() {
    let oss = oss();
    let field = Field::new(oss.address);
    for over in [Over::Tcp, Over::Tls, Over::Unix] {
        for then in [Then::Close, Then::HalfClose] {
            for chunked in [true, false] {
                play(async {
                    let bytes = upload("cut", chunked);
                    let mut stream = field.connect(over).await;
                    stream.write_all(&bytes.as_bytes()[..bytes.len() - 1]).await.expect("sent");
                    stream.flush().await.expect("sent");
                    leave(stream, then).await;
                });
            }
        }
    }
    eventually("nothing is in flight", || value(&field.proxy, "requests_in_flight") == 0);
    assert_eq!(ask(field.proxy.address, "PUT", "/photos/next", b"v").status, 200);
    assert_eq!(oss.service.keys(&bucket("photos")), [b"next".to_vec()]);
}
