//! The files of a configuration: the ones that are watched, the time from which they are watched,
//! and the effect of a change.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ServerConnection, StreamOwned};

use crate::support::certificates::Authority;
use crate::support::{Client, ID, KEY, SECRET, Script, Served, ask, eventually, oss};

/// Both listeners on free ports.
const LISTENERS: &str = "[[listen]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n";

fn secret(reference: &str) -> String {
    format!(
        "[credentials.default]\ntype = \"static\"\naccess_key_id = \"{ID}\"\naccess_key_secret = \"{reference}\"\n"
    )
}

#[test]
fn what_changes_while_the_proxy_starts_is_not_missed() {
    let oss = oss();
    let directory = tempfile::tempdir().expect("a directory");
    let (file, key) = (directory.path().join("proxy.toml"), directory.path().join("key"));
    for changed in [&file, &key] {
        // The start waits for a provider that does not respond, until long after the configuration
        // was read.
        let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/", silent.local_addr().expect("an address"));
        let text = format!(
            "{LISTENERS}{}[credentials.slow]\ntype = \"uri\"\nurl = \"{url}\"\n[[route]]\nmatch = {{ bucket = \"files\" }}\ncredentials = \"slow\"\n",
            secret(&format!("file:{}", key.display()))
        );
        fs::write(&file, Served::text(oss.address, &text)).expect("written");
        fs::write(&key, "not-the-secret").expect("written");
        let better = match changed == &file {
            true => Served::text(oss.address, &text.replace(&format!("file:{}", key.display()), SECRET)),
            false => SECRET.to_owned(),
        };
        let changed = changed.clone();
        let asked = thread::spawn(move || {
            let asked = silent.accept().expect("it is asked");
            fs::write(changed, better).expect("written");
            asked
        });
        let served = Served::of_file(&file, &[]);
        eventually("the right secret is taken", || {
            ask(served.address, "PUT", "/photos/k", b"1").status == 200
        });
        drop(asked.join().expect("no panic"));
    }
}

#[test]
fn a_credential_of_systemd_is_watched_too() {
    let oss = oss();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("proxy.toml");
    fs::write(directory.path().join("key"), "not-the-secret").expect("written");
    fs::write(&file, Served::text(oss.address, &format!("{LISTENERS}{}", secret("credential:key"))))
        .expect("written");
    let place = directory.path().to_str().expect("a path");
    let served = Served::of_file(&file, &[("CREDENTIALS_DIRECTORY", place)]);
    assert_eq!(ask(served.address, "PUT", "/photos/k", b"1").status, 403);
    fs::write(directory.path().join("key"), SECRET).expect("written");
    eventually("the right secret is taken", || ask(served.address, "PUT", "/photos/k", b"1").status == 200);
}

#[test]
fn callers_are_applied_by_a_reload_and_the_files_of_their_secrets_are_watched() {
    let oss = oss();
    let directory = tempfile::tempdir().expect("a directory");
    let (file, key) = (directory.path().join("proxy.toml"), directory.path().join("key"));
    let write = |allow: &str| {
        let caller = format!(
            "[[caller]]\nname = \"team-a\"\nallow = \"{allow}\"\nopen = true\nkey = [{{ id = \"a-1\", secret = \"file:{}\" }}]\n",
            key.display()
        );
        let text = format!("{LISTENERS}{}{caller}", secret(SECRET));
        fs::write(&file, Served::text(oss.address, &text)).expect("written");
    };
    fs::write(&key, "the-first-secret-of-team-a-0123456789").expect("written");
    write("read");
    let served = Served::of_file(&file, &[]);
    write("everything");
    let (status, told) = served.reload();
    let words = "caller team-a changed: allow everything instead of read";
    assert!(status == 200 && told.contains(words), "{status} {told}");
    fs::write(&key, "short").expect("written");
    let (status, told) = served.reload();
    assert!(status == 400 && told.contains("fewer than 27 characters"), "{status} {told}");
    // The correction of the file alone reloads the configuration.
    fs::write(&key, "the-next-secret-of-team-a-0123456789").expect("written");
    eventually("the configuration is applied", || {
        let metrics = ask(served.admin(), "GET", "/metrics", b"").text();
        metrics.contains("oss_proxy_config_last_reload_successful 1")
    });
    assert_eq!(ask(served.address, "PUT", "/photos/k", b"1").status, 200);
}

#[test]
fn a_file_that_is_emptied_before_it_is_written_is_never_taken_empty() {
    let oss = oss();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("proxy.toml");
    fs::write(&file, Served::text(oss.address, "[[listen]]\nread_only = true\n")).expect("written");
    // With these variables, an empty file is a valid configuration.
    let given = [
        ("OSS_PROXY_LISTEN", "127.0.0.1:0"),
        ("OSS_PROXY_ADMIN_LISTEN", "127.0.0.1:0"),
        ("OSS_PROXY_REGION", "cn-hangzhou"),
    ];
    let served = Served::of_file(&file, &[&KEY[..], &given].concat());
    let put = || ask(served.address, "PUT", "/photos/k", b"1");
    fs::write(&file, "").expect("written");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        assert_eq!(put().refused(), Some("denied"), "it may only be read");
    }
    fs::write(&file, Served::text(oss.address, "")).expect("written");
    eventually("what is there at last is taken", || put().status == 200);
    // An explicit reload accepts an empty file.
    fs::write(&file, "\n").expect("written");
    let (status, told) = served.reload();
    assert!(status == 200 && told.contains("connect"), "{told}");
    served.signal("TERM");
    let (_, log) = served.end();
    assert_eq!(log.matches("configuration file is empty").count(), 1, "{log}");
}

/// Asserts that the proxy rejects this read-only configuration until `mend` has removed the cause.
/// The proxy is not notified of that.
fn refused_until(more: &str, mend: impl FnOnce()) {
    let oss = oss();
    let served = Served::start(oss.address, &[], &KEY);
    let put = || ask(served.address, "PUT", "/photos/k", b"1");
    served.rewrite(oss.address, &format!("{more}[[listen]]\nread_only = true\n"));
    let (status, told) = served.reload();
    assert!(status == 400 && told.contains("keeping the current configuration"), "{told}");
    assert_eq!(put().status, 200, "the old one stays");
    let tries = || {
        let metrics = ask(served.admin(), "GET", "/metrics", b"").text();
        let of_refused = |line: &str| {
            line.strip_prefix("oss_proxy_config_reload_total{result=\"refused\"} ").map(str::to_owned)
        };
        metrics.lines().find_map(of_refused).expect("a count").parse::<u32>().expect("a number")
    };
    eventually("it is tried again", || tries() >= 2);
    mend();
    eventually("it is taken", || put().refused() == Some("denied"));
    served.signal("TERM");
    let (_, log) = served.end();
    assert_eq!(log.matches("reload failed").count(), 1, "told once: {log}");
}

#[test]
fn a_configuration_that_was_refused_is_taken_when_the_file_that_it_lacks_appears() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("ca.pem");
    refused_until(&format!("ca_file = {path:?}\n"), || {
        fs::copy(Authority::new().file(), &path).expect("copied");
    });
}

#[test]
fn a_configuration_that_was_refused_is_taken_when_its_source_comes_up() {
    let up = Arc::<AtomicBool>::default();
    let is_up = Arc::clone(&up);
    let source = Script::start(move |peer| {
        while peer.head().is_some() {
            let key = format!("{{\"AccessKeyId\":\"{ID}\",\"AccessKeySecret\":\"{SECRET}\"}}");
            let (status, body) = if is_up.load(SeqCst) { ("200 OK", &*key) } else { ("503 Down", "") };
            peer.send(format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        }
    });
    let section = format!("[credentials.default]\ntype = \"uri\"\nurl = \"http://{}/\"\n", source.address);
    refused_until(&section, || up.store(true, SeqCst));
}

/// Starts a TLS upstream that answers every request on persistent connections. Returns its address
/// and a counter of its connections.
fn upstream(authority: &Authority) -> (SocketAddr, Arc<AtomicUsize>) {
    let config = authority.server("*.oss-cn-hangzhou.aliyuncs.com");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let count = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&count);
    thread::spawn(move || {
        for stream in listener.incoming() {
            counted.fetch_add(1, SeqCst);
            let connection = ServerConnection::new(Arc::clone(&config)).expect("a server");
            let mut stream = StreamOwned::new(connection, stream.expect("a connection"));
            thread::spawn(move || {
                let mut head = Vec::new();
                let mut byte = [0];
                while stream.read_exact(&mut byte).is_ok() {
                    head.push(byte[0]);
                    if head.ends_with(b"\r\n\r\n") {
                        head.clear();
                        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").expect("sent");
                    }
                }
            });
        }
    });
    (address, count)
}

/// Starts a proxy in front of it. These lines and variables make it trust the authorities of a
/// file.
fn before(upstream: SocketAddr, directory: &Path, lines: &str, environment: &[(&str, &str)]) -> Served {
    let file = directory.join("proxy.toml");
    let text = format!(
        "{LISTENERS}[upstream]\nregion = \"cn-hangzhou\"\nconnect = \"{upstream}\"\nendpoint = \"https://oss-cn-hangzhou.aliyuncs.com\"\n{lines}"
    );
    fs::write(&file, text).expect("written");
    Served::of_file(&file, &[&KEY, environment].concat())
}

#[test]
fn new_connections_trust_whom_the_file_of_authorities_has_now() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (address, connections) = upstream(&authority);
    let directory = tempfile::tempdir().expect("a directory");
    let trusted = directory.path().join("ca.pem");
    let path = trusted.to_str().expect("a path");
    let named = format!("ca_file = {path:?}\n");
    // The trust store of the host, which is not a file of the configuration.
    for (lines, environment) in [(&*named, &[][..]), ("", &[("SSL_CERT_FILE", path)])] {
        fs::copy(authority.file(), &trusted).expect("copied");
        let served = before(address, directory.path(), lines, environment);
        let (mut client, host) = (Client::connect(served.address), served.address.to_string());
        let mut ask = || client.ask("GET", "/photos/k", &host, "", b"");
        assert_eq!(ask().status, 200);
        let before = connections.load(SeqCst);

        // The pooled connection was established when another authority was trusted.
        fs::copy(other.file(), &trusted).expect("copied");
        assert_eq!(served.reload().0, 200);
        let refused = ask();
        assert_eq!((refused.status, refused.refused()), (502, Some("upstream-unreachable")), "{lines}");

        fs::copy(authority.file(), &trusted).expect("copied");
        assert_eq!(served.reload().0, 200);
        assert_eq!(ask().status, 200);
        assert_eq!(connections.load(SeqCst), before + 2, "nobody was trusted for what he was before");
        served.signal("TERM");
        let (_, log) = served.end();
        let told = log.matches(&format!("{path} changed")).count();
        assert_eq!(told, if lines.is_empty() { 0 } else { 2 }, "{log}");
    }
}

#[test]
fn each_file_that_holds_something_else_is_told_once_however_many_name_it() {
    let (oss, authority) = (oss(), Authority::new());
    let files = authority.sign("listener", "localhost");
    let (key, clients) = (authority.directory().join("key"), authority.directory().join("clients.pem"));
    fs::copy(authority.file(), &clients).expect("copied");
    fs::write(&key, SECRET).expect("written");
    let lists = authority.directory().join("lists.pem");
    fs::write(&lists, authority.revocation_list(&[])).expect("written");
    let more = format!(", client_ca_file = {clients:?}, client_crl_file = {lists:?}");
    let tls = Authority::listen(&files, &more);
    let listener = |host: &str| format!("[[listen]]\naddress = \"{host}:0\"\n{tls}\n");
    let text = format!(
        "{}{}[admin]\naddress = \"127.0.0.1:0\"\n{}",
        listener("127.0.0.1"),
        listener("127.0.0.2"),
        secret(&format!("file:{}", key.display()))
    );
    let file = authority.directory().join("proxy.toml");
    fs::write(&file, Served::text(oss.address, &text)).expect("written");
    let served = Served::of_file(&file, &[]);
    authority.sign("listener", "localhost");
    fs::copy(Authority::new().file(), &clients).expect("copied");
    fs::write(&lists, authority.revocation_list(&[1])).expect("written");
    fs::write(&key, "not-the-secret").expect("written");
    let (status, told) = served.reload();
    assert_eq!(status, 200, "{told}");
    for path in [&files.certificate, &files.key, &clients, &lists, &key] {
        let line = format!("{} changed", path.display());
        assert_eq!(told.matches(&line).count(), 1, "{line}: {told}");
    }
}

#[test]
fn a_configuration_that_changes_nothing_keeps_the_connections_to_the_upstream() {
    let authority = Authority::new();
    let (address, connections) = upstream(&authority);
    let directory = tempfile::tempdir().expect("a directory");
    let served = before(address, directory.path(), &format!("ca_file = {:?}\n", authority.file()), &[]);
    let (mut client, host) = (Client::connect(served.address), served.address.to_string());
    for _ in 0..3 {
        assert_eq!(client.ask("GET", "/photos/k", &host, "", b"").status, 200);
        assert_eq!(served.reload(), (200, "reloaded; no changes\n".to_owned()));
    }
    assert_eq!(client.ask("GET", "/photos/k", &host, "", b"").status, 200);
    assert_eq!(connections.load(SeqCst), 1);
}

/// Returns 10,000 routes, one of which uses the credentials `changed`. The buckets are unknown to
/// OSS.
fn many_routes(changed: &str) -> String {
    let mut text = format!(
        "{LISTENERS}[credentials.default]\ntype = \"env\"\n[credentials.wrong]\ntype = \"static\"\n\
         access_key_id = \"{ID}\"\naccess_key_secret = \"not-the-secret\"\n"
    );
    for number in 0..10_000 {
        let credentials = if number == 5_000 { changed } else { "default" };
        let _ = write!(
            text,
            "[[route]]\nmatch = {{ bucket = \"bucket-{number}\" }}\ncredentials = \"{credentials}\"\n"
        );
    }
    text
}

/// Covers the accepting thread, the workers and the admin thread. A new configuration must not
/// block one of them for long. This includes reading and comparing it, and building the state of
/// each worker. The reload may take seconds.
#[test]
fn no_connection_waits_while_a_large_configuration_is_reloaded() {
    let (oss, file) = (oss(), tempfile::NamedTempFile::new().expect("a file"));
    fs::write(&file, Served::text(oss.address, &many_routes("default"))).expect("written");
    let served = Served::of_file(file.path(), &KEY);
    let status = |bucket: &str| ask(served.address, "GET", &format!("/{bucket}?list-type=2"), b"").status;
    assert_eq!(status("bucket-5000"), 404, "the signature is right");
    fs::write(&file, Served::text(oss.address, &many_routes("wrong"))).expect("written");
    let begun = Instant::now();
    served.signal("HUP");
    let mut longest = Duration::ZERO;
    // Each request uses a new connection.
    while status("bucket-5000") != 403 {
        assert!(begun.elapsed() < Duration::from_secs(60), "it is not taken");
        for _ in 0..5 {
            thread::sleep(Duration::from_millis(20));
            let asked = Instant::now();
            assert_eq!(status("photos"), 200);
            assert_eq!(ask(served.admin(), "GET", "/livez", b"").status, 200);
            longest = longest.max(asked.elapsed());
        }
    }
    assert!(longest < Duration::from_secs(1), "{longest:?} in a reload of {:?}", begun.elapsed());
}
