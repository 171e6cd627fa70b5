//! Every kind of listener: Unix sockets, sockets of systemd, TLS.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::support::certificates::Authority;
use crate::support::h2::{Connection, request};
use crate::support::script::line_of;
use crate::support::served::activated;
use crate::support::{KEY, Script, Served, ask, eventually, oss, program, proxy, run};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Returns what is read from a stream until its end; `None` if it breaks.
fn exchange(mut stream: impl Read + Write, head: &str) -> Option<String> {
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn get(target: &str, host: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

fn unix(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
    stream
}

fn unix_listener(path: &Path) -> String {
    format!("[[listen]]\naddress = \"unix:{}\"\ndomains = [\"oss.example.test\"]", path.display())
}

#[test]
fn a_unix_socket_serves_every_host_and_its_own_names_first() {
    let upstream = Script::answering(OK);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("oss.sock");
    let proxy = proxy(upstream.address).sections(&unix_listener(&path)).start();
    for (target, host) in [
        ("/photos/k", "localhost"),
        ("/photos/k", "whatever.example"),
        ("/photos/k", "oss.example.test"),
        ("/k", "photos.oss.example.test"),
        ("/k", "photos.oss-cn-hangzhou.aliyuncs.com"),
    ] {
        let answer = exchange(unix(&path), &get(target, host)).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{host}: {answer}");
    }
    for head in upstream.heads() {
        assert!(head.starts_with("GET /k HTTP/1.1\r\n"), "{head}");
        assert_eq!(line_of(&head, "host"), Some("photos.oss-cn-hangzhou.aliyuncs.com"));
    }
    let answer = exchange(
        TcpStream::connect(proxy.address).expect("connected"),
        &get("/photos/k", "whatever.example"),
    );
    assert!(answer.expect("an answer").contains("unknown-host"), "a port is still guarded");
}

#[test]
fn a_unix_socket_is_for_user_and_group_and_gone_in_the_end() {
    let oss = oss();
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("oss.sock");
    let proxy = proxy(oss.address).sections(&unix_listener(&path)).start();
    let mode = fs::metadata(&path).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    proxy.drain.leave();
    eventually("the socket is removed", || !path.exists());
    proxy.ended();
}

#[test]
fn a_unix_socket_speaks_http_2_to_who_begins_with_it() {
    let oss = oss();
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("oss.sock");
    let _proxy = proxy(oss.address).sections(&unix_listener(&path)).start();
    let stream = unix(&path);
    let got = crate::support::h2::play(async {
        stream.set_nonblocking(true).expect("not blocking");
        let stream = tokio::net::UnixStream::from_std(stream).expect("a stream");
        let connection = Connection::open(stream).await;
        connection.ask(request("PUT", "http://localhost/photos/k"), b"over both").await;
        connection.ask(request("GET", "http://localhost/photos/k"), b"").await
    });
    assert_eq!((got.status.as_u16(), got.text().as_str()), (200, "over both"));
}

/// Runs `serve` on this path to its end. It must exit by itself.
fn refused_at(path: &Path) -> (Option<i32>, String) {
    let address = format!("unix:{}", path.display());
    let arguments = ["serve", "--region", "cn-hangzhou", "--listen", &address, "--admin-listen", "off"];
    let (code, _, log) = run(&arguments, &KEY);
    (code, log)
}

#[test]
fn what_is_at_the_path_is_only_replaced_if_nobody_listens() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("oss.sock");
    fs::write(&path, "precious").expect("written");
    let (code, log) = refused_at(&path);
    assert!(code == Some(78) && log.contains("is not a socket"), "{code:?} {log}");
    assert_eq!(fs::read_to_string(&path).expect("still there"), "precious");
    fs::remove_file(&path).expect("removed");

    let live = UnixListener::bind(&path).expect("a listener");
    let (code, log) = refused_at(&path);
    assert!(code == Some(1) && log.contains("is already in use"), "{code:?} {log}");
    drop(live);
    assert!(fs::metadata(&path).expect("left behind").file_type().is_socket());

    let upstream = Script::answering(OK);
    let _proxy = proxy(upstream.address).sections(&unix_listener(&path)).start();
    assert!(exchange(unix(&path), &get("/photos/k", "x")).expect("an answer").ends_with("ok"));

    let (code, log) = refused_at(&directory.path().join("missing/oss.sock"));
    assert!(code == Some(1) && log.contains("No such file"), "{code:?} {log}");
}

#[test]
fn health_can_be_asked_at_a_path() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("admin.sock");
    let admin = format!("unix:{}", path.display());
    let arguments = ["serve", "--region", "cn-hangzhou", "--listen", "127.0.0.1:0", "--admin-listen", &admin];
    let mut child = program(&arguments).envs(KEY).spawn().expect("it starts");
    eventually("the socket is there", || UnixStream::connect(&path).is_ok());
    let answer = exchange(unix(&path), &get("/readyz", "any.example"));
    let stopped = Command::new("kill").arg(child.id().to_string()).status();
    assert!(stopped.expect("kill").success());
    assert_eq!(child.wait().expect("an end").code(), Some(0));
    assert!(answer.expect("an answer").starts_with("HTTP/1.1 200"));
    assert!(!path.exists());
}

const INHERIT: [&str; 6] = ["--region", "cn-hangzhou", "--admin-listen", "off", "--listen", "systemd:oss"];

#[test]
fn sockets_of_systemd_are_served_whatever_their_kind() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("oss.sock");
    let port = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = port.local_addr().expect("an address");
    let at_path = UnixListener::bind(&path).expect("a path");
    let mut child = activated("oss:oss", (port.into(), at_path.into()), &INHERIT).spawn().expect("it starts");
    let by_port =
        exchange(TcpStream::connect(address).expect("connected"), &get("/bad.bucket/k", "localhost"));
    let by_path = exchange(unix(&path), &get("/bad.bucket/k", "any.example"));
    let stopped = Command::new("kill").arg(child.id().to_string()).status();
    assert!(stopped.expect("kill").success());
    assert_eq!(child.wait().expect("an end").code(), Some(0));
    for answer in [by_port, by_path] {
        assert!(answer.as_deref().is_some_and(|answer| answer.contains("invalid-bucket")), "{answer:?}");
    }
    assert!(path.exists(), "it is systemd's to remove");
}

#[test]
fn a_name_that_systemd_did_not_hand_over_is_told_with_those_it_did() {
    let socket = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").expect("a port"));
    let mut command = activated("web:metrics", (socket(), socket()), &INHERIT);
    let output = command.output().expect("it runs");
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{log}");
    assert!(log.contains("\"oss\"") && log.contains("there are web, metrics"), "{log}");

    // Sockets for another process.
    let environment = [KEY[0], KEY[1], ("LISTEN_FDS", "1"), ("LISTEN_PID", "1"), ("LISTEN_FDNAMES", "oss")];
    let (code, _, log) = run(&[&["serve"], &INHERIT[..]].concat(), &environment);
    assert!(code == Some(78) && log.contains("this process received none"), "{code:?} {log}");
}

#[test]
fn a_socket_of_systemd_beyond_loopback_must_be_wanted() {
    let socket = |address: &str| OwnedFd::from(TcpListener::bind(address).expect("a port"));
    let output = activated("oss:x", (socket("0.0.0.0:0"), socket("127.0.0.1:0")), &INHERIT).output();
    let output = output.expect("it runs");
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{log}");
    assert!(log.contains("listens on the non-loopback address") && log.contains("unsafe_open"), "{log}");
}

/// Returns a TLS connection whose handshake is done with the first bytes.
fn tls(to: SocketAddr, config: Arc<ClientConfig>) -> StreamOwned<ClientConnection, TcpStream> {
    let stream = TcpStream::connect(to).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
    let name = ServerName::try_from("localhost").expect("a name");
    StreamOwned::new(ClientConnection::new(config, name).expect("a client"), stream)
}

#[test]
fn a_tls_listener_speaks_http_1_and_its_own_absolute_targets() {
    let authority = Authority::new();
    let files = authority.sign("listener", "localhost");
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).listen(&Authority::listen(&files, "")).start();
    for protocols in [&[][..], &["http/1.1"]] {
        let absolute = format!("https://localhost:{}/photos/k", proxy.address.port());
        for target in ["/photos/k", &absolute] {
            let answer =
                exchange(tls(proxy.address, authority.client(protocols, None)), &get(target, "localhost"));
            assert!(answer.as_deref().is_some_and(|answer| answer.ends_with("ok")), "{target} {answer:?}");
        }
    }
    let answer = exchange(
        tls(proxy.address, authority.client(&[], None)),
        &get("http://localhost/photos/k", "localhost"),
    );
    assert!(answer.expect("an answer").contains("bad-request"), "this is not plain HTTP");
    assert_eq!(upstream.heads().len(), 4);
    let plain =
        exchange(TcpStream::connect(proxy.address).expect("connected"), &get("/photos/k", "localhost"));
    assert!(!plain.unwrap_or_default().contains("HTTP/1.1 200"), "nothing is served in the open");
}

#[test]
fn a_tls_listener_speaks_http_2_if_it_is_agreed_on() {
    let authority = Authority::new();
    let files = authority.sign("listener", "localhost");
    let oss = oss();
    let proxy = proxy(oss.address).listen(&Authority::listen(&files, "")).start();
    let config = authority.client(&["h2", "http/1.1"], None);
    let got = crate::support::h2::play(async {
        let stream = tokio::net::TcpStream::connect(proxy.address).await.expect("connected");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = tokio_rustls::TlsConnector::from(config).connect(name, stream).await.expect("TLS");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let connection = Connection::open(stream).await;
        connection.ask(request("PUT", "https://localhost/photos/k"), b"sealed").await;
        connection.ask(request("GET", "https://localhost/photos/k"), b"").await
    });
    assert_eq!((got.status.as_u16(), got.text().as_str()), (200, "sealed"));
}

#[test]
fn clients_show_a_certificate_of_the_authority_that_is_asked_for() {
    let (authority, other) = (Authority::new(), Authority::new());
    let files = authority.sign("listener", "localhost");
    let upstream = Script::answering(OK);
    let asks = format!(", client_ca_file = {:?}", authority.file());
    let proxy = proxy(upstream.address).listen(&Authority::listen(&files, &asks)).start();
    let (ours, theirs) = (authority.sign("client", "client"), other.sign("client", "client"));
    for own in [None, Some(&theirs)] {
        let answer = exchange(tls(proxy.address, authority.client(&[], own)), &get("/photos/k", "localhost"));
        assert_eq!(answer, None, "the handshake fails");
    }
    assert_eq!(upstream.heads().len(), 0);
    let answer =
        exchange(tls(proxy.address, authority.client(&[], Some(&ours))), &get("/photos/k", "localhost"));
    assert!(answer.expect("an answer").ends_with("ok"));
}

#[test]
fn a_client_whose_certificate_was_revoked_is_rejected() {
    let (authority, other) = (Authority::new(), Authority::new());
    let files = authority.sign("listener", "localhost");
    let numbered = |stem: &str, serial: u64| {
        authority.sign_with(stem, "client", |parameters| {
            parameters.serial_number = Some(rcgen::SerialNumber::from(serial));
        })
    };
    let (good, revoked) = (numbered("good", 8), numbered("revoked", 7));
    let ca = fs::read_to_string(authority.file()).expect("an authority");
    let both = authority.directory().join("both.pem");
    for (lists, good_is_served) in [
        (authority.revocation_list(&[7]), true),
        (format!("{}{}", authority.revocation_list(&[7]), other.revocation_list(&[8])), true),
        // A list of another authority does not make the clients of this one valid.
        (other.revocation_list(&[]), false),
    ] {
        for text in [format!("{ca}{lists}"), format!("{lists}{ca}")] {
            fs::write(&both, text).expect("written");
            let upstream = Script::answering(OK);
            let asks = format!(", client_ca_file = {both:?}");
            let proxy = proxy(upstream.address).listen(&Authority::listen(&files, &asks)).start();
            for (own, is_served) in [(&good, good_is_served), (&revoked, false)] {
                let client = tls(proxy.address, authority.client(&[], Some(own)));
                let answer = exchange(client, &get("/photos/k", "localhost"));
                assert_eq!(answer.is_some_and(|answer| answer.ends_with("ok")), is_served, "{own:?}");
            }
        }
    }
}

#[test]
fn a_listener_certificate_that_ends_soon_is_warned_about_counted_and_shown() {
    let authority = Authority::new();
    let in_days = |days: i64| {
        let then = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days);
        let date = jiff::tz::TimeZone::UTC.to_datetime(then).date();
        let month = u8::try_from(date.month()).expect("a month");
        (i32::from(date.year()), month, u8::try_from(date.day()).expect("a day"))
    };
    for (days, words) in
        [(-400, Some("expired at ")), (10, Some("expires in less than 14 days")), (400, None)]
    {
        let (year, month, day) = in_days(days);
        let files = authority.sign_with("ending", "localhost", |parameters| {
            parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
            parameters.not_after = rcgen::date_time_ymd(year, month, day);
        });
        let end = format!("{year}-{month:02}-{day:02}T00:00:00Z");
        let oss = oss();
        let listen = format!(
            "[[listen]]\naddress = \"127.0.0.1:0\"\n{}\n[admin]\naddress = \"127.0.0.1:0\"\n{}",
            Authority::listen(&files, ""),
            Served::text(oss.address, "")
        );
        let config = authority.directory().join("proxy.toml");
        fs::write(&config, listen).expect("written");
        let path = config.to_str().expect("a path");
        let (code, _, errors) = run(&["check", "--config", path], &KEY);
        assert_eq!(code, Some(0), "{errors}");
        let served = Served::of_file(&config, &KEY);
        let metrics = ask(served.admin(), "GET", "/metrics", b"").text();
        let page = ask(served.admin(), "GET", "/", b"").text();
        let (_, doctor, _) = run(&["doctor", "--bucket", "photos", "--config", path], &KEY);
        served.signal("TERM");
        let (_, log) = served.end();
        let sample = "oss_proxy_listener_certificate_expiry_timestamp_seconds{listener=\"127.0.0.1:0\"} ";
        let sample = metrics.lines().find_map(|line| line.strip_prefix(sample)).expect("a sample");
        let then: i64 = end.parse::<jiff::Timestamp>().expect("a time").as_second();
        assert_eq!(sample, then.to_string());
        let class = if words.is_some() { "bad" } else { "good" };
        let shown = format!("<p class={class}>certificate of 127.0.0.1:0: expire");
        assert!(page.contains(&shown) && page.contains(&end), "{page}");
        let date = format!("{year}-{month:02}-{day:02}");
        assert!(doctor.contains("listener  127.0.0.1:0") && doctor.contains(&date), "{doctor}");
        for text in [&errors, &log, &doctor] {
            match words {
                Some(words) => assert!(text.contains(words) && text.contains(&end), "{days}: {text}"),
                None => assert!(!text.contains("the certificate of the listener"), "{days}: {text}"),
            }
        }
    }
}

#[test]
fn a_broken_download_over_tls_does_not_end_as_if_whole() {
    let authority = Authority::new();
    let files = authority.sign("listener", "localhost");
    let upstream = Script::start(|peer| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    });
    let proxy = proxy(upstream.address).listen(&Authority::listen(&files, "")).start();
    // In HTTP/1.0, only the end of TLS marks the end of the response.
    let head = "GET /photos/k HTTP/1.0\r\nHost: localhost\r\n\r\n";
    let mut stream = tls(proxy.address, authority.client(&[], None));
    stream.write_all(head.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer);
    assert!(ended.is_err(), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn a_client_that_never_ends_its_handshake_is_let_go() {
    let authority = Authority::new();
    let files = authority.sign("listener", "localhost");
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address)
        .listen(&Authority::listen(&files, ""))
        .sections("[timeouts]\nheader_read = \"300ms\"")
        .start();
    for said in [&b""[..], b"\x16\x03\x01"] {
        let mut stream = TcpStream::connect(proxy.address).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
        stream.write_all(said).expect("sent");
        let ended = stream.read_to_end(&mut Vec::new());
        assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    }
}

#[test]
fn files_that_make_no_tls_end_the_start_and_the_check() {
    let authority = Authority::new();
    let (one, other) = (authority.sign("one", "localhost"), authority.sign("other", "localhost"));
    let empty = authority.directory().join("empty.pem");
    fs::write(&empty, "nothing").expect("written");
    let no_list = authority.directory().join("no-list.pem");
    let ca = fs::read_to_string(authority.file()).expect("an authority");
    fs::write(&no_list, format!("{ca}-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"))
        .expect("written");
    let config = authority.directory().join("proxy.toml");
    for (certificate, key, client_ca, words) in [
        (&one.certificate, &other.key, None, "use the key that belongs to the certificate"),
        (&empty, &one.key, None, "contains no certificate"),
        (&one.certificate, &empty, None, "contains no usable private key"),
        (&one.certificate, &one.key, Some(&empty), "contains no certificate"),
        (&one.certificate, &one.key, Some(&no_list), "cannot be used to verify client certificates"),
    ] {
        let more = client_ca.map_or_else(String::new, |path| format!(", client_ca_file = {path:?}"));
        let files =
            crate::support::certificates::Files { certificate: certificate.clone(), key: key.clone() };
        let text = format!(
            "[[listen]]\naddress = \"127.0.0.1:0\"\n{}\n[admin]\naddress = \"off\"\n[upstream]\nregion = \"cn-hangzhou\"\n",
            Authority::listen(&files, &more)
        );
        fs::write(&config, text).expect("written");
        for command in ["serve", "check"] {
            let (code, _, log) = run(&[command, "--config", config.to_str().expect("a path")], &KEY);
            assert!(code == Some(78) && log.contains(words), "{command}: {code:?} {log}");
        }
    }
}
