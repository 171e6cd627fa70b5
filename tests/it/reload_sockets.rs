//! Listeners and their sockets across reloads: connections that must be closed, ports that are
//! swapped, and sockets of systemd.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::support::certificates::Authority;
use crate::support::h2::{over_h2, request};
use crate::support::{Client, KEY, Served, ask, ask_if_open, eventually, oss};

/// A TLS connection for several requests.
struct Sealed(StreamOwned<ClientConnection, TcpStream>);

impl Sealed {
    fn connect(to: SocketAddr, config: Arc<ClientConfig>) -> Self {
        let stream = TcpStream::connect(to).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
        let name = "localhost".try_into().expect("a name");
        Self(StreamOwned::new(ClientConnection::new(config, name).expect("a client"), stream))
    }

    /// Sends a request and returns the first bytes of the response.
    fn ask(&mut self) -> Option<String> {
        self.0.write_all(b"HEAD /photos/none HTTP/1.1\r\nHost: localhost\r\n\r\n").ok()?;
        let mut bytes = [0; 4096];
        let count = self.0.read(&mut bytes).ok().filter(|count| *count > 0)?;
        Some(String::from_utf8_lossy(&bytes[..count]).into_owned())
    }

    fn is_served(&mut self) -> bool {
        self.ask().is_some_and(|answer| answer.starts_with("HTTP/1.1 404"))
    }

    fn has_ended(&mut self) -> bool {
        matches!(self.0.read(&mut [0; 1]), Ok(0))
    }
}

#[test]
fn who_came_in_the_open_is_not_served_any_more_when_the_listener_speaks_tls() {
    let (oss, authority) = (oss(), Authority::new());
    let served = Served::start(oss.address, &[], &KEY);
    let host = served.address.to_string();
    let (mut plain, mut silent) = (Client::connect(served.address), Client::connect(served.address));
    assert_eq!(plain.ask("PUT", "/photos/k", &host, "", b"1").status, 200);
    let files = authority.sign("listener", "localhost");
    let sections = format!("[[listen]]\n{}\n", Authority::listen(&files, ""));
    over_h2(served.address, async |connection| {
        let asked = || request("GET", "http://localhost/photos/k");
        assert_eq!(connection.ask(asked(), b"").await.status, 200);
        served.rewrite(oss.address, &sections);
        assert_eq!(served.reload().0, 200);
        (&mut connection.driver).await.expect("a driver").expect("an end in good order");
    });
    for client in [&mut plain, &mut silent] {
        assert_eq!(client.stream.read(&mut [0; 1]).expect("an end"), 0);
    }
    assert!(Sealed::connect(served.address, authority.client(&[], None)).is_served());
}

/// Returns the HEADERS frame of a request (RFC 9113, 6.2), in the shortest encoding (RFC 7541).
fn raw_head(stream: u32, method: &str, ends: bool) -> Vec<u8> {
    // `:scheme: http` has an index, as have the names of the others.
    let mut block = vec![0x86];
    for (name, value) in [(0x02, method), (0x04, "/photos/none"), (0x01, "localhost")] {
        block.extend([name, u8::try_from(value.len()).expect("it is short")]);
        block.extend(value.as_bytes());
    }
    let length = u8::try_from(block.len()).expect("it is short");
    let mut frame = vec![0, 0, length, 1, if ends { 5 } else { 4 }];
    frame.extend(stream.to_be_bytes());
    frame.extend(block);
    frame
}

#[test]
fn who_does_not_answer_the_farewell_of_http_2_cannot_go_on_for_ever() {
    let (oss, authority) = (oss(), Authority::new());
    let served = Served::start(oss.address, &[], &KEY);
    let mut stream = TcpStream::connect(served.address).expect("a connection");
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").expect("sent");
    // This request is in flight all the time.
    stream.write_all(&raw_head(1, "PUT", false)).expect("sent");
    let mut answers = stream.try_clone().expect("a second handle");
    let reading = std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while answers.read(&mut bytes).is_ok_and(|count| count > 0) {}
    });
    eventually("it arrives", || oss.recorder.count() > 0);
    let files = authority.sign("listener", "localhost");
    served.rewrite(oss.address, &format!("[[listen]]\n{}\n", Authority::listen(&files, "")));
    assert_eq!(served.reload().0, 200);
    let mut next = 1;
    eventually("the connection is cut", || {
        next += 2;
        let sent = stream.write_all(&raw_head(next, "HEAD", true));
        std::thread::sleep(Duration::from_millis(50));
        sent.is_err() || reading.is_finished()
    });
}

#[test]
fn who_showed_no_certificate_or_another_is_not_served_any_more_when_one_is_asked_for() {
    let (oss, authority, other) = (oss(), Authority::new(), Authority::new());
    let files = authority.sign("listener", "localhost");
    let asking = |more: &str| format!("[[listen]]\n{}\n", Authority::listen(&files, more));
    let served = Served::start_with(oss.address, &asking(""), &[], &KEY);
    let (ours, theirs) = (authority.sign("client", "client"), other.sign("client", "client"));

    let mut anybody = Sealed::connect(served.address, authority.client(&[], None));
    assert!(anybody.is_served());
    let clients = authority.directory().join("clients.pem");
    std::fs::copy(other.file(), &clients).expect("copied");
    let certified = asking(&format!(", client_ca_file = {clients:?}"));
    served.rewrite(oss.address, &certified);
    assert_eq!(served.reload().0, 200);
    assert!(anybody.has_ended(), "it showed none");
    assert!(!Sealed::connect(served.address, authority.client(&[], None)).is_served());

    let mut certain = Sealed::connect(served.address, authority.client(&[], Some(&theirs)));
    assert!(certain.is_served());
    // A new certificate of the listener, and new rules, do not affect the trust in its clients.
    authority.sign("listener", "localhost");
    served.rewrite(oss.address, &certified.replace("[[listen]]", "[[listen]]\nread_only = true"));
    assert_eq!(served.reload().0, 200);
    assert!(certain.is_served(), "it came on the same terms");

    std::fs::copy(authority.file(), &clients).expect("copied");
    assert_eq!(served.reload().0, 200);
    assert!(certain.has_ended(), "its authority is trusted no more");
    assert!(!Sealed::connect(served.address, authority.client(&[], Some(&theirs))).is_served());
    assert!(Sealed::connect(served.address, authority.client(&[], Some(&ours))).is_served());
}

/// A complete configuration file.
struct File {
    directory: tempfile::TempDir,
    upstream: SocketAddr,
}

impl File {
    fn new(upstream: SocketAddr) -> Self {
        Self { directory: tempfile::tempdir().expect("a directory"), upstream }
    }

    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("proxy.toml")
    }

    /// Writes these listeners, each with more lines, and this admin listener.
    fn write(&self, listeners: &[(&str, &str)], admin: &str) {
        let listen = |(address, more): &(&str, &str)| format!("[[listen]]\naddress = {address:?}\n{more}\n");
        let sections: String = listeners.iter().map(listen).collect();
        let sections = format!("{sections}[admin]\naddress = {admin:?}\n");
        std::fs::write(self.path(), Served::text(self.upstream, &sections)).expect("written");
    }
}

const ANY: &str = "127.0.0.1:0";

fn is_alive(admin: SocketAddr) -> bool {
    TcpStream::connect(admin).is_ok() && ask(admin, "GET", "/livez", b"").status == 200
}

#[test]
fn ports_of_the_proxy_change_hands_without_being_closed() {
    let oss = oss();
    let file = File::new(oss.address);
    file.write(&[(ANY, "")], ANY);
    let served = Served::of_file(&file.path(), &KEY);
    let (data, admin) = (served.address, served.admin());
    file.write(&[(&admin.to_string(), "")], &data.to_string());
    served.signal("HUP");
    // Until then, the admin listener may accept a connection and close it.
    eventually("requests are taken where the admin listener was", || {
        ask_if_open(admin, "PUT", "/photos/k", b"1").is_some_and(|answer| answer.status == 200)
    });
    eventually("the admin listener is where requests were taken", || {
        ask_if_open(data, "GET", "/livez", b"").is_some_and(|answer| answer.status == 200)
    });
}

#[test]
fn a_path_changes_hands_with_its_file() {
    let oss = oss();
    let file = File::new(oss.address);
    let path = file.directory.path().join("one.sock");
    let at_path = format!("unix:{}", path.display());
    file.write(&[(ANY, ""), (&at_path, "")], ANY);
    let served = Served::of_file(&file.path(), &KEY);
    let answers = |target: &str, status: &str| {
        let mut stream = UnixStream::connect(&path).expect("it listens");
        write!(stream, "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).is_ok() && answer.starts_with(&format!("HTTP/1.1 {status}"))
    };
    assert!(answers("/photos/none", "404"));
    file.write(&[(ANY, "")], &at_path);
    served.signal("HUP");
    eventually("health is answered there", || answers("/livez", "200"));
    assert!(path.exists());
    file.write(&[(ANY, "")], "off");
    served.signal("HUP");
    eventually("its file is gone", || !path.exists());
}

#[test]
fn an_address_that_takes_in_one_of_the_proxy_s_own_is_told_as_that() {
    let oss = oss();
    let file = File::new(oss.address);
    file.write(&[(ANY, "")], ANY);
    let served = Served::of_file(&file.path(), &KEY);
    let everywhere = format!("0.0.0.0:{}", served.address.port());
    file.write(&[(&everywhere, "unsafe_open = true")], ANY);
    let (status, told) = served.reload();
    let words = format!("{everywhere} overlaps with {}, on which this proxy already listens", served.address);
    assert!(status == 400 && told.contains(&words), "{told}");
    assert_eq!(ask(served.address, "PUT", "/photos/k", b"1").status, 200);
}

#[test]
fn a_configuration_whose_last_socket_cannot_be_had_gives_the_others_back() {
    let oss = oss();
    let file = File::new(oss.address);
    file.write(&[(ANY, "")], ANY);
    let served = Served::of_file(&file.path(), &KEY);
    let path = file.directory.path().join("new.sock");
    let free = TcpListener::bind(ANY).and_then(|listener| listener.local_addr()).expect("a port");
    let taken = TcpListener::bind(ANY).expect("a port");
    let taken = taken.local_addr().expect("an address").to_string();
    let at_path = format!("unix:{}", path.display());
    file.write(&[(&free.to_string(), ""), (&at_path, "")], &taken);
    let (status, told) = served.reload();
    assert!(status == 400 && told.contains("in use by another process"), "{told}");
    assert!(TcpListener::bind(free).is_ok() && !path.exists());
    assert_eq!(ask(served.address, "PUT", "/photos/k", b"1").status, 200);
    assert!(is_alive(served.admin()));
}

fn port(address: &str) -> (OwnedFd, SocketAddr) {
    let socket = TcpListener::bind(address).expect("a port");
    let address = socket.local_addr().expect("an address");
    (socket.into(), address)
}

#[test]
fn sockets_of_systemd_come_and_go_and_who_waits_at_one_is_served_when_it_comes_again() {
    let oss = oss();
    let file = File::new(oss.address);
    let ((one, first), (two, second)) = (port(ANY), port(ANY));
    file.write(&[("systemd:one", "")], ANY);
    let served = Served::activated(&file.path(), "one:two", (one, two));
    assert_eq!(served.address, first);
    let both = [("systemd:one", ""), ("systemd:two", "")];
    for _ in 0..2 {
        let mut early = Client::connect(second);
        early.send(format!("HEAD /photos/none HTTP/1.1\r\nHost: {second}\r\n\r\n"));
        file.write(&both, ANY);
        assert_eq!(served.reload().0, 200);
        assert_eq!(early.head().expect("an answer").0, 404);
        file.write(&both[..1], ANY);
        assert_eq!(served.reload().0, 200);
        assert_eq!(early.stream.read(&mut [0; 1]).expect("an end"), 0);
    }
    file.write(&[("systemd:one", ""), ("systemd:three", "")], ANY);
    let (status, told) = served.reload();
    assert!(status == 400 && told.contains("received one, two"), "{told}");
    assert_eq!(ask(first, "PUT", "/photos/k", b"1").status, 200);
}

#[test]
fn who_waits_for_a_place_when_the_process_ends_is_served_by_the_next() {
    let oss = oss();
    let file = File::new(oss.address);
    file.write(&[("systemd:one", "[limits]\nclient_connections = 1")], ANY);
    let socket = TcpListener::bind(ANY).expect("a port");
    let start = || {
        let one = socket.try_clone().expect("the same socket");
        Served::activated(&file.path(), "one:two", (one.into(), port(ANY).0))
    };
    let before = start();
    let host = before.address.to_string();
    let mut first = Client::connect(before.address);
    assert_eq!(first.ask("PUT", "/photos/k", &host, "", b"1").status, 200);
    let mut second = Client::connect(before.address);
    second.send(format!("HEAD /photos/none HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    before.signal("TERM");
    let (code, log) = before.end();
    assert_eq!(code, Some(0), "{log}");
    let _after = start();
    assert_eq!(second.head().expect("an answer").0, 404);
}

#[test]
fn commands_inherit_no_socket_of_systemd_whether_it_is_named_or_not() {
    let oss = oss();
    let file = File::new(oss.address);
    let (seen, list) = (file.directory.path().join("seen"), "ls -l /proc/self/fd");
    let command = format!(
        "[credentials.default]\ntype = \"process\"\ncommand = [\"/bin/sh\", \"-c\", \"{list} > {}\"]",
        seen.display()
    );
    let ((one, _), (two, _)) = (port(ANY), port(ANY));
    file.write(&[("systemd:one", &command)], ANY);
    let _served = Served::activated(&file.path(), "one:two", (one, two));
    let seen = std::fs::read_to_string(seen).expect("the command was run");
    assert!(seen.contains("pipe:") && !seen.contains("socket:"), "{seen}");
    // Otherwise, the command of `run` inherits the file descriptors that it is given.
    let take = "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"";
    let mut run = Command::new("sh");
    run.args(["-c", take, "sh", env!("CARGO_BIN_EXE_oss-signing-proxy"), "run", "--region", "cn-hangzhou"]);
    run.args(["--", "sh", "-c", list]).env_clear().envs(KEY).env("PATH", "/usr/bin:/bin");
    let output = run.stdin(Stdio::from(port(ANY).0)).output().expect("it runs");
    let seen = String::from_utf8_lossy(&output.stdout);
    assert!(seen.contains("pipe:") && !seen.contains("socket:"), "{seen}");
}

#[test]
fn a_socket_that_may_be_open_no_more_refuses_the_configuration() {
    let oss = oss();
    let file = File::new(oss.address);
    let ((one, _), (two, _)) = (port("0.0.0.0:0"), port(ANY));
    file.write(&[("systemd:one", "unsafe_open = true")], ANY);
    let served = Served::activated(&file.path(), "one:two", (one, two));
    file.write(&[("systemd:one", "")], ANY);
    let (status, told) = served.reload();
    assert!(status == 400 && told.contains("listens on the non-loopback address"), "{told}");
    file.write(&[("systemd:one", "unsafe_open = true"), ("0.0.0.0:0", "")], ANY);
    let (status, told) = served.reload();
    assert!(status == 400 && told.contains("is not a loopback address"), "{told}");
    let at = SocketAddr::from(([127, 0, 0, 1], served.address.port()));
    assert_eq!(ask(at, "PUT", "/photos/k", b"1").status, 200);
}

#[test]
fn listeners_on_free_ports_of_one_address_do_not_exchange_their_rules() {
    let oss = oss();
    let listener = |lines: &str| format!("[[listen]]\naddress = \"127.0.0.1:0\"\n{lines}\n");
    let admin = "[admin]\naddress = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n";
    let config = tempfile::NamedTempFile::new().expect("a file");
    let write = |listeners: &str| {
        let text = Served::text(oss.address, &format!("{listeners}{admin}"));
        std::fs::write(&config, text).expect("written");
    };
    let (open, closed) = (listener(""), listener("read_only = true"));
    write(&format!("{open}{closed}"));
    let served = Served::of_file(config.path(), &KEY);
    let both = served.listeners();
    let put = |address: SocketAddr| ask(address, "PUT", "/photos/k", b"v").status;
    let check = |expected: [Option<u16>; 2]| {
        for (address, status) in both.iter().zip(expected) {
            match status {
                Some(status) => assert_eq!(put(*address), status, "{address}"),
                None => eventually("the port is closed", || TcpStream::connect(address).is_err()),
            }
        }
    };
    check([Some(200), Some(403)]);
    let rows = [
        (format!("{open}{closed}"), [Some(200), Some(403)]),
        (format!("{closed}{open}"), [Some(200), Some(403)]),
        // One of the two has other settings.
        (format!("{}{closed}", listener("domains = [\"oss.example.test\"]")), [Some(200), Some(403)]),
        // Only one remains, and the other port is closed.
        (closed, [None, Some(403)]),
        // The remaining one has other settings.
        (listener(""), [None, Some(200)]),
    ];
    for (listeners, expected) in rows {
        write(&listeners);
        let (status, told) = served.reload();
        assert_eq!(status, 200, "{told}");
        check(expected);
    }
}
