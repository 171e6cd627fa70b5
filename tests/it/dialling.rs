//! Connections to upstreams: TLS and its trust store, unreachable upstreams, and requests that
//! would loop back to the proxy.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};

use oss_signing_proxy::internals::transport::TrustStore;
use rustls::HandshakeKind;
use rustls::pki_types::PrivateKeyDer;
use tokio::task::LocalSet;

use crate::support::certificates::Authority;
use crate::support::{Client, Proxy, ask, bucket, eventually, oss, proxy};

/// Starts a TLS listener for these names in front of an emulated OSS. Returns its address and the
/// file with its authority.
pub(crate) fn tls_before(
    oss: &oss_signing_proxy::emulator::EmulatorThread,
    names: &[&str],
) -> (SocketAddr, tempfile::NamedTempFile) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let certified = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(certified.cert.pem().as_bytes()).expect("written");
    let key = PrivateKeyDer::Pkcs8(certified.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .expect("a configuration");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    listener.set_nonblocking(true).expect("a mode");
    let service = oss.service.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        LocalSet::new().block_on(&runtime, async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let (acceptor, service) = (acceptor.clone(), service.clone());
                tokio::task::spawn_local(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        service.serve_connection(stream).await;
                    }
                });
            }
        });
    });
    (address, file)
}

pub(crate) fn tls_lines(address: SocketAddr, authority: &tempfile::NamedTempFile) -> String {
    format!(
        "endpoint = \"https://oss-cn-hangzhou.aliyuncs.com\"\nconnect = \"{address}\"\nca_file = {:?}",
        authority.path()
    )
}

#[test]
fn tls_upstreams_are_served_and_their_connections_kept() {
    let oss = oss();
    let (address, authority) = tls_before(&oss, &["photos.oss-cn-hangzhou.aliyuncs.com"]);
    let proxy = proxy(address).upstream(&tls_lines(address, &authority)).start();
    let own = proxy.address.to_string();
    let body = vec![b'x'; 3_000_000];
    let mut client = Client::connect(proxy.address);
    let put = client.ask("PUT", "/photos/k", &own, "", &body);
    assert_eq!(put.status, 200, "{}", put.text());
    assert_eq!(oss.service.object(&bucket("photos"), b"k").as_deref(), Some(&body[..]));
    assert_eq!(client.ask("GET", "/photos/k", &own, "", b"").body, body);
    assert_eq!((oss.recorder.count(), oss.recorder.connections()), (2, 1));
}

#[test]
fn a_wildcard_certificate_is_one_for_a_bucket_with_an_underscore_too() {
    let oss = oss();
    let (address, authority) = tls_before(&oss, &["*.oss-cn-hangzhou.aliyuncs.com"]);
    let proxy = proxy(address).upstream(&tls_lines(address, &authority)).start();
    for path in ["/old_photos", "/old_photos/k"] {
        let put = ask(proxy.address, "PUT", path, b"");
        assert_eq!(put.status, 200, "{path}: {}", put.text());
    }
    assert!(oss.service.object(&bucket("old_photos"), b"k").is_some());
}

#[test]
fn a_certificate_for_another_name_or_of_another_authority_is_refused() {
    let oss = oss();
    let (address, authority) = tls_before(&oss, &["files.oss-cn-hangzhou.aliyuncs.com"]);
    let wrong_name = proxy(address).upstream(&tls_lines(address, &authority)).start();
    let answer = ask(wrong_name.address, "GET", "/photos/k", b"");
    assert_eq!((answer.status, answer.refused()), (502, Some("upstream-unreachable")));

    let (_, other_authority) = tls_before(&oss, &["files.oss-cn-hangzhou.aliyuncs.com"]);
    let wrong_authority = proxy(address).upstream(&tls_lines(address, &other_authority)).start();
    let answer = ask(wrong_authority.address, "GET", "/files/k", b"");
    assert_eq!((answer.status, answer.refused()), (502, Some("upstream-unreachable")));
    assert_eq!(oss.recorder.count(), 0);
}

#[test]
fn a_certificate_file_that_cannot_be_used_is_named_with_the_remedy() {
    let missing = TrustStore::file("/nowhere/ca.pem".as_ref()).err().expect("an error").to_string();
    assert!(missing.contains("/nowhere/ca.pem") && missing.contains("PEM"), "{missing}");
    let mut garbage = tempfile::NamedTempFile::new().expect("a file");
    garbage.write_all(b"no certificate").expect("written");
    let empty = TrustStore::file(garbage.path()).err().expect("an error").to_string();
    assert!(empty.contains("contains no certificate"), "{empty}");
}

#[test]
fn an_upstream_that_is_not_there_is_a_bad_gateway_and_heals() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let proxy = proxy(free).start();
    let answer = ask(proxy.address, "GET", "/photos/k", b"");
    assert_eq!((answer.status, answer.refused()), (502, Some("upstream-unreachable")));
    assert!(!answer.text().contains(&free.to_string()), "the address is for the log: {}", answer.text());
    let put = ask(proxy.address, "PUT", "/photos/k", b"v");
    assert_eq!(put.refused(), Some("upstream-unreachable"));
    let listener = TcpListener::bind(free).expect("the same port");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            // One response to any request.
            let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
        }
    });
    eventually("the next trial finds it", || ask(proxy.address, "GET", "/photos/k", b"").status == 204);
}

/// Starts a TLS upstream. It sends `answer` to the first request of each connection and closes it,
/// with close_notify if `farewell` is set. It reports the kind of each handshake.
fn tls_once(
    authority: &Authority,
    answer: &'static str,
    farewell: bool,
) -> (SocketAddr, mpsc::Receiver<HandshakeKind>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (tell, told) = mpsc::channel();
    let config = authority.server("*.oss-cn-hangzhou.aliyuncs.com");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).expect("a server");
            let mut stream = rustls::StreamOwned::new(connection, stream.expect("a connection"));
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a head");
                head.push(byte[0]);
            }
            // The test may be over.
            let _ = tell.send(stream.conn.handshake_kind().expect("it is done"));
            stream.write_all(answer.as_bytes()).expect("an answer");
            // If the connection broke at once, the head could be lost too.
            std::thread::sleep(std::time::Duration::from_millis(50));
            if farewell {
                stream.conn.send_close_notify();
            }
            stream.flush().expect("sent");
        }
    });
    (address, told)
}

/// Starts a proxy in front of such an upstream.
fn before(authority: &Authority, address: SocketAddr) -> Proxy {
    let lines = format!(
        "endpoint = \"https://oss-cn-hangzhou.aliyuncs.com\"\nconnect = \"{address}\"\nca_file = {:?}",
        authority.file()
    );
    proxy(address).upstream(&lines).start()
}

#[test]
fn a_later_connection_resumes_the_session_of_an_earlier_one() {
    let authority = Authority::new();
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let (address, handshakes) = tls_once(&authority, answer, true);
    let proxy = before(&authority, address);
    // Each worker has its own sessions, and all requests of a client connection use the same
    // worker.
    let mut client = Client::connect(proxy.address);
    let own = proxy.address.to_string();
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
        assert_eq!(client.ask("GET", "/photos/k", &own, "", b"").status, 200);
        assert_eq!(handshakes.recv().expect("a handshake"), kind);
    }
}

#[test]
fn an_answer_over_tls_is_whole_only_if_its_end_was_told() {
    for (answer, farewell, whole) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole", false, true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbroke", false, false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbroke", true, false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbroke\r\n", true, false),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nwhole", true, true),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbroke", false, false),
    ] {
        let authority = Authority::new();
        let (address, _) = tls_once(&authority, answer, farewell);
        let proxy = before(&authority, address);
        let got = ask(proxy.address, "GET", "/photos/k", b"");
        assert_eq!((got.status, got.whole), (200, whole), "{answer:?} {farewell}: {}", got.text());
        assert_eq!(got.text().as_bytes(), if whole { &b"whole"[..] } else { b"broke" }, "{answer:?}");
    }
}
