//! The PROXY protocol: the address of a client behind a load balancer, over plain HTTP and TLS, and
//! connections that do not follow it. HAProxy is the independent implementation, if it is installed.

use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::support::certificates::Authority;
use crate::support::{KEY, Script, Served, ask, ask_if_open, eventually};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET /photos/k HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 198.51.100.66\r\n\
                   Connection: close\r\n\r\n";
const LISTEN: &str =
    "[[listen]]\nproxy_protocol = true\ntrusted_proxies = [\"127.0.0.0/8\"]\nunsafe_open = true\n";
const V1: &[u8] = b"PROXY TCP4 192.0.2.1 10.0.0.1 8080 80\r\n";

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("a length").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, body].concat()
}

/// A header for the client `192.0.2.9` with 100 bytes of extensions.
fn v2_with_extensions() -> Vec<u8> {
    v2(0x21, 0x11, &[&[192, 0, 2, 9, 10, 0, 0, 1, 0x1f, 0x90, 0, 80, 0x04, 0, 97][..], &[7; 97]].concat())
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
    stream.set_nodelay(true).expect("set");
    stream
}

/// Returns what is read until the connection ends or breaks.
fn rest(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    // A connection that is closed with unread bytes ends with a reset.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns the clients in the access log, in the order of the requests.
fn clients(served: Served) -> Vec<String> {
    served.signal("TERM");
    let log = served.end().1;
    let requests = log.lines().filter(|line| line.contains("\"msg\":\"request\""));
    let client = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).expect("json");
        event["client"].as_str().unwrap_or("-").to_owned()
    };
    requests.map(client).collect()
}

fn rejected(served: &Served, reason: &str) -> u64 {
    let page = ask(served.admin(), "GET", "/metrics", b"").text();
    let name = format!("oss_proxy_proxy_protocol_rejected_total{{reason=\"{reason}\"}} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&name)).expect("a count");
    line.parse().expect("a number")
}

#[test]
fn the_client_that_a_load_balancer_names_is_in_the_log() {
    let upstream = Script::answering(OK);
    let served = Served::start_with(upstream.address, LISTEN, &[], &KEY);
    let headers: [(Vec<u8>, &str); 6] = [
        (V1.to_vec(), "192.0.2.1"),
        (b"PROXY TCP6 2001:db8::7 ::1 8081 80\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (v2_with_extensions(), "192.0.2.9"),
        (v2(0x20, 0x00, &[]), "127.0.0.1"),
        (v2(0x21, 0x00, &[]), "127.0.0.1"),
    ];
    for (header, _) in &headers {
        let mut stream = connect(served.address);
        stream.write_all(&[header.as_slice(), GET.as_bytes()].concat()).expect("sent");
        assert!(rest(&mut stream).ends_with("ok"), "{}", header.escape_ascii());
    }
    let expected: Vec<&str> = headers.iter().map(|(_, client)| *client).collect();
    assert_eq!(clients(served), expected);
}

#[test]
fn a_header_may_arrive_in_parts() {
    let upstream = Script::answering(OK);
    let served = Served::start_with(upstream.address, LISTEN, &[], &KEY);
    for header in [V1.to_vec(), v2_with_extensions()] {
        let mut stream = connect(served.address);
        let sent = [header.as_slice(), GET.as_bytes()].concat();
        for part in sent.chunks(7) {
            stream.write_all(part).expect("sent");
        }
        assert!(rest(&mut stream).ends_with("ok"), "{}", header.escape_ascii());
    }
    assert_eq!(clients(served), ["192.0.2.1", "192.0.2.9"]);
}

#[test]
fn the_header_comes_before_tls() {
    let authority = Authority::new();
    let files = authority.sign("listener", "localhost");
    let upstream = Script::answering(OK);
    let sections = format!("{LISTEN}{}\n", Authority::listen(&files, ""));
    let served = Served::start_with(upstream.address, &sections, &[], &KEY);
    for header in [V1.to_vec(), v2_with_extensions()] {
        let mut stream = connect(served.address);
        stream.write_all(&header).expect("sent");
        let name = ServerName::try_from("localhost").expect("a name");
        let client = ClientConnection::new(authority.client(&[], None), name).expect("a client");
        let mut stream = StreamOwned::new(client, stream);
        stream.write_all(GET.as_bytes()).expect("sent");
        assert!(rest(&mut stream).ends_with("ok"), "{}", header.escape_ascii());
    }
    assert_eq!(clients(served), ["192.0.2.1", "192.0.2.9"]);
}

#[test]
fn connections_without_a_valid_header_are_closed_and_counted() {
    let upstream = Script::answering(OK);
    let served = Served::start_with(upstream.address, LISTEN, &[], &KEY);
    let long = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat();
    let rows = [
        GET.as_bytes().to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 10.0.0.1 8080\r\n".to_vec(),
        long,
        v2(0x21, 0x11, &[0; 4]),
        v2(0x21, 0x11, &[0; 3000]),
    ];
    for bytes in &rows {
        let mut stream = connect(served.address);
        // It may be closed before all is sent.
        let _ = stream.write_all(bytes);
        let _ = stream.write_all(GET.as_bytes());
        assert_eq!(rest(&mut stream), "", "{}", bytes.escape_ascii());
    }
    let count = u64::try_from(rows.len()).expect("a number");
    eventually("all are counted", || rejected(&served, "invalid") == count);
    assert_eq!(rejected(&served, "untrusted"), 0);
    assert!(upstream.heads().is_empty());
}

#[test]
fn connections_of_other_peers_are_closed_and_counted() {
    let upstream = Script::answering(OK);
    let sections = LISTEN.replace("127.0.0.0/8", "192.0.2.0/24");
    let served = Served::start_with(upstream.address, &sections, &[], &KEY);
    for _ in 0..3 {
        let mut stream = connect(served.address);
        let _ = stream.write_all(&[V1, GET.as_bytes()].concat());
        assert_eq!(rest(&mut stream), "");
    }
    eventually("all are counted", || rejected(&served, "untrusted") == 3);
    assert!(upstream.heads().is_empty());
    served.signal("TERM");
    let log = served.end().1;
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("closed a connection")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("\"peer\":\"127.0.0.1\""), "{warnings:?}");
}

#[test]
fn a_late_header_ends_its_connection_and_delays_no_other() {
    let upstream = Script::answering(OK);
    let sections = format!("{LISTEN}[timeouts]\nheader_read = \"2s\"\n");
    let served = Served::start_with(upstream.address, &sections, &[], &KEY);
    let mut silent = connect(served.address);
    let mut partial = connect(served.address);
    partial.write_all(&V1[..10]).expect("sent");
    let mut ended = connect(served.address);
    ended.write_all(&V1[..10]).expect("sent");
    ended.shutdown(std::net::Shutdown::Write).expect("shut down");
    let mut other = connect(served.address);
    other.write_all(&[V1, GET.as_bytes()].concat()).expect("sent");
    assert!(rest(&mut other).ends_with("ok"));
    for stream in [&mut ended, &mut partial, &mut silent] {
        assert_eq!(rest(stream), "");
    }
    eventually("all are counted", || rejected(&served, "invalid") == 3);
}

/// A running HAProxy.
struct Balancer(Child);

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts HAProxy at `address` in front of `server`. Returns `None` if it is not installed.
fn balancer(address: SocketAddr, server: SocketAddr, option: &str) -> Option<Balancer> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = format!(
        "defaults\n  mode tcp\n  timeout connect 10s\n  timeout client 20s\n  timeout server 20s\n\
         listen front\n  bind {address}\n  server back {server} {option}\n"
    );
    std::fs::write(file.path(), text).expect("written");
    let mut command = Command::new("haproxy");
    let command = command.args(["-db", "-f"]).arg(file.path()).stdout(Stdio::null()).stderr(Stdio::null());
    let balancer = Balancer(command.spawn().ok()?);
    eventually("HAProxy listens", || TcpStream::connect(address).is_ok());
    Some(balancer)
}

#[test]
fn haproxy_names_its_clients_in_both_versions() {
    let upstream = Script::answering(OK);
    for option in ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options unique-id,crc32c"] {
        // HAProxy connects from another address than its clients.
        let sections = LISTEN.replace("127.0.0.0/8", "127.0.0.3");
        let served = Served::start_with(upstream.address, &sections, &[], &KEY);
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("a port");
        let Some(_balancer) = balancer(address, served.address, &format!("{option} source 127.0.0.3")) else {
            return;
        };
        let answer = ask_if_open(address, "GET", "/photos/k", b"").expect("an answer");
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{option}");
        assert_eq!(clients(served), ["127.0.0.1"], "{option}");
    }
}
