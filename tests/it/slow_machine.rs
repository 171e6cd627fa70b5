//! Files, sockets and a service manager that do not respond: connections are still accepted, and
//! signals are handled.

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use oss_signing_proxy::emulator::EmulatorThread;
use rustix::fs::OFlags;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::support::{ID, KEY, SECRET, STS_ID, Script, Served, TOKEN, activated, ask, eventually, oss};

/// Creates a pipe without a writer: a file whose read blocks.
fn pipe(path: &Path) {
    let _ = fs::remove_file(path);
    assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo").success());
}

/// Asserts that a new connection is served at once.
fn serves(served: &Served) {
    let begun = Instant::now();
    assert_eq!(ask(served.address, "GET", "/photos?list-type=2", b"").status, 200);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(ask(served.admin(), "GET", "/livez", b"").text(), "ok\n");
}

/// Asserts that the process exits soon after TERM.
fn ends(served: Served) -> String {
    let begun = Instant::now();
    served.signal("TERM");
    let (code, log) = served.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}: {log}", begun.elapsed());
    log
}

#[test]
fn a_pipe_where_a_file_of_credentials_was_meant_is_an_error_of_that_source_alone() {
    let (oss, directory) = (oss(), tempfile::tempdir().expect("a directory"));
    let path = directory.path().join("key.json");
    pipe(&path);
    let sections = format!(
        "[credentials.piped]\ntype = \"file\"\npath = {path:?}\n[credentials.default]\ntype = \"env\"\n\
         [[route]]\nmatch = {{ bucket = \"piped\" }}\ncredentials = \"piped\"\n"
    );
    let served = Served::start_with(oss.address, &sections, &[], &KEY);
    serves(&served);
    assert_eq!(ask(served.address, "GET", "/piped?list-type=2", b"").status, 503);
    let page = ask(served.admin(), "GET", "/credentials", b"").text();
    assert!(page.contains("is not a regular file"), "{page}");
    ends(served);
}

/// A service that is both a credentials URI and an STS. In exchange for the correct content of the
/// files, it returns temporary credentials that the emulated OSS knows.
fn service() -> Script {
    let triple = format!(
        "\"AccessKeyId\": \"{STS_ID}\", \"AccessKeySecret\": \"{SECRET}\", \"SecurityToken\": \"{TOKEN}\", \
         \"Expiration\": \"2999-01-01T00:00:00Z\""
    );
    Script::start(move |peer| {
        let Some(head) = peer.head() else { return };
        let sent = String::from_utf8_lossy(&peer.body(&head)).into_owned();
        let (status, body) = if head.to_ascii_lowercase().contains("authorization: planted\r\n") {
            ("200 OK", format!("{{{triple}}}"))
        } else if sent.contains("OIDCToken=planted") {
            ("200 OK", format!("{{\"Credentials\": {{{triple}}}}}"))
        } else {
            ("403 Forbidden", String::new())
        };
        peer.send(format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    })
}

/// Returns a `uri` and an `oidc` provider that read these files, each with a bucket of its name,
/// next to a key in the environment.
fn reading(files: &[PathBuf; 2], service: &Script) -> String {
    let [authorization, token] = files;
    let at = service.address;
    format!(
        "[credentials.uri]\ntype = \"uri\"\nurl = \"http://{at}/\"\nauthorization_file = {authorization:?}\n\
         [credentials.oidc]\ntype = \"oidc\"\nrole_arn = \"acs:ram::1:role/r\"\ntoken_file = {token:?}\n\
         oidc_provider_arn = \"acs:ram::1:oidc-provider/p\"\nsts_endpoint = \"http://{at}\"\n\
         [credentials.default]\ntype = \"env\"\n\
         [[route]]\nmatch = {{ bucket = \"uri-bucket\" }}\ncredentials = \"uri\"\n\
         [[route]]\nmatch = {{ bucket = \"oidc-bucket\" }}\ncredentials = \"oidc\"\n"
    )
}

const READING: [&str; 2] = ["uri-bucket", "oidc-bucket"];

/// Starts a process whose `uri` and `oidc` providers read pipes, and waits until both reads have
/// timed out.
fn with_pipes(oss: &EmulatorThread, files: &[PathBuf; 2], service: &Script) -> Served {
    files.iter().for_each(|path| pipe(path));
    let begun = Instant::now();
    let served = Served::start_with(oss.address, &reading(files, service), &[], &KEY);
    serves(&served);
    assert!(begun.elapsed() < Duration::from_secs(8), "it starts: {:?}", begun.elapsed());
    eventually("both reads are given up", || {
        serves(&served);
        let page = ask(served.admin(), "GET", "/credentials", b"").text();
        let is_told = |path: &PathBuf| {
            let named = |line: &str| {
                line.contains("no response within 3s") && line.contains(&*path.to_string_lossy())
            };
            page.lines().any(|line| line.contains("\"last_error\"") && named(line))
        };
        files.iter().all(is_told)
    });
    for bucket in READING {
        assert_eq!(ask(served.address, "GET", &format!("/{bucket}?list-type=2"), b"").status, 503);
    }
    served
}

#[test]
fn files_that_block_their_readers_fail_their_sources_and_delay_nothing_else() {
    let (oss, service, directory) = (oss(), service(), tempfile::tempdir().expect("a directory"));
    let files = ["authorization", "token"].map(|name| directory.path().join(name));
    let served = with_pipes(&oss, &files, &service);
    // Both readers are still blocked.
    ends(served);
    assert!(service.heads().is_empty(), "{:?}", service.heads());
}

#[test]
fn sources_whose_files_blocked_work_soon_after_these_can_be_read() {
    let (oss, service, directory) = (oss(), service(), tempfile::tempdir().expect("a directory"));
    let files = ["authorization", "token"].map(|name| directory.path().join(name));
    let served = with_pipes(&oss, &files, &service);
    for path in &files {
        // The pipe is renamed before its reader is released, so that no other reader opens it.
        let (held, real) = (path.with_extension("held"), path.with_extension("real"));
        fs::hard_link(path, &held).expect("a second name");
        fs::write(&real, "planted\n").expect("written");
        fs::rename(&real, path).expect("replaced");
        // Non-blocking: it fails if there is no reader.
        let writer = OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(&held);
        drop(writer.expect("a reader blocks"));
    }
    let begun = Instant::now();
    for bucket in READING {
        // The bucket is unknown to OSS, which verifies the signature before it looks for the
        // bucket.
        eventually("it is signed for", || {
            ask(served.address, "GET", &format!("/{bucket}?list-type=2"), b"").status == 404
        });
    }
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    serves(&served);
    ends(served);
}

#[test]
fn a_secret_that_does_not_answer_delays_a_reload_and_nothing_else() {
    let (oss, directory) = (oss(), tempfile::tempdir().expect("a directory"));
    let path = directory.path().join("token");
    fs::write(&path, "a-token-of-the-admin").expect("written");
    let sections = format!("[admin]\ntoken = \"file:{}\"\n", path.display());
    let served = Served::start_with(oss.address, &sections, &[], &KEY);
    serves(&served);
    pipe(&path);
    for _ in 0..3 {
        served.signal("HUP");
        serves(&served);
    }
    let refused = "oss_proxy_config_reload_total{result=\"refused\"} 1\n";
    eventually("it is given up", || ask(served.admin(), "GET", "/metrics", b"").text().contains(refused));
    serves(&served);
    let log = ends(served);
    assert!(log.contains("the configuration: no response within 5s"), "{log}");
}

#[test]
fn a_configuration_that_does_not_answer_keeps_nobody_from_ending_the_process() {
    let (oss, directory) = (oss(), tempfile::tempdir().expect("a directory"));
    let path = directory.path().join("proxy.toml");
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n{}",
        Served::text(oss.address, "")
    );
    fs::write(&path, text).expect("written");
    let served = Served::of_file(&path, &KEY);
    pipe(&path);
    served.signal("HUP");
    serves(&served);
    ends(served);
}

#[test]
fn a_process_that_starts_from_a_file_that_does_not_answer_can_be_ended() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("proxy.toml");
    pipe(&path);
    let mut child = crate::support::program(&["serve", "--config", path.to_str().expect("a path")])
        .spawn()
        .expect("it starts");
    let handled = |id: u32| {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).map(str::trim);
        mask.and_then(|mask| u64::from_str_radix(mask, 16).ok()).is_some_and(|mask| mask & (1 << 14) != 0)
    };
    eventually("TERM is handled, as process 1 needs it", || handled(child.id()));
    assert!(Command::new("kill").arg(child.id().to_string()).status().expect("kill").success());
    assert_eq!(child.wait().expect("an end").code(), Some(0));
}

#[test]
fn a_path_where_a_busy_process_listens_is_in_use_and_not_waited_for() {
    let (oss, directory) = (oss(), tempfile::tempdir().expect("a directory"));
    let path = directory.path().join("busy.sock");
    let address = SockAddr::unix(&path).expect("a path");
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
    listener.bind(&address).and_then(|()| listener.listen(0)).expect("it listens");
    // The accept queue is full when the next connection would block.
    let mut waiting = Vec::new();
    loop {
        let client = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        client.set_nonblocking(true).expect("a flag");
        let connected = client.connect(&address);
        waiting.push(client);
        if connected.is_err() {
            break;
        }
    }
    let usual = "[[listen]]\naddress = \"127.0.0.1:0\"\n".to_owned();
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = |more: &str| {
        format!("{usual}{more}[admin]\naddress = \"127.0.0.1:0\"\n{}", Served::text(oss.address, ""))
    };
    fs::write(&file, text("")).expect("written");
    let served = Served::of_file(file.path(), &KEY);
    fs::write(&file, text(&format!("[[listen]]\naddress = \"unix:{}\"\n", path.display()))).expect("written");
    let begun = Instant::now();
    let (code, why) = served.reload();
    assert!(code == 400 && why.contains("already in use"), "{code} {why}");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    serves(&served);
    ends(served);
}

#[test]
fn a_service_manager_that_reads_no_notifications_delays_nothing() {
    let (oss, directory) = (oss(), tempfile::tempdir().expect("a directory"));
    let path = directory.path().join("notify");
    let _unread = UnixDatagram::bind(&path).expect("a socket");
    let socket = path.to_str().expect("a path").to_owned();
    let environment = [KEY[0], KEY[1], ("NOTIFY_SOCKET", socket.as_str())];
    let served = Served::start_with(oss.address, "", &[], &environment);
    // Each reload sends two notifications.
    for _ in 0..600 {
        served.reload();
    }
    serves(&served);
    ends(served);
}

#[test]
fn half_sent_bodies_on_the_admin_listener_keep_out_no_probe() {
    let oss = oss();
    let served = Served::start_with(oss.address, "", &[], &KEY);
    let half = |_| {
        let mut stream = TcpStream::connect(served.admin()).expect("a connection");
        let head = "PUT /-/log-level HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nin";
        stream.write_all(head.as_bytes()).expect("sent");
        stream
    };
    let mut all: Vec<TcpStream> = (0..64).map(half).collect();
    serves(&served);
    let mut answer = String::new();
    let last = all.last_mut().expect("one");
    last.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
    last.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("connection: close"), "{answer}");
}

#[test]
fn a_socket_of_systemd_that_does_not_listen_is_an_error() {
    let directory = tempfile::tempdir().expect("a directory");
    let tcp = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    tcp.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    let unix = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
    unix.bind(&SockAddr::unix(directory.path().join("socket")).expect("a path")).expect("bound");
    let config = directory.path().join("proxy.toml");
    for name in ["port", "path"] {
        let text = format!(
            "[[listen]]\naddress = \"systemd:{name}\"\n[admin]\naddress = \"off\"\n[upstream]\nregion = \"cn-hangzhou\"\n\
             [credentials.default]\ntype = \"static\"\naccess_key_id = \"{ID}\"\naccess_key_secret = \"{SECRET}\"\n"
        );
        fs::write(&config, text).expect("written");
        let sockets = (
            OwnedFd::from(tcp.try_clone().expect("a handle")),
            OwnedFd::from(unix.try_clone().expect("a handle")),
        );
        let arguments = ["--config", config.to_str().expect("a path")];
        let ended = activated("port:path", sockets, &arguments).output().expect("it runs");
        let errors = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(78), "{name}: {errors}");
        assert!(errors.contains(&format!("the systemd socket \"{name}\" is not listening")), "{errors}");
    }
}

const O_NONBLOCK: i32 = OFlags::NONBLOCK.bits().cast_signed();
