//! Shutdown of the process: readiness is revoked first, requests in flight finish, and no client
//! can delay it forever.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use oss_signing_proxy::app::DrainSignal;
use oss_signing_proxy::internals::server::Server;

use crate::support::cores::cores;
use crate::support::h2::play;
use crate::support::served::in_flight_with;
use crate::support::{Client, KEY, Script, Served, ask, eventually, in_flight, oss};

#[test]
fn requests_are_taken_for_a_while_after_readiness_has_gone() {
    let oss = oss();
    let served = Served::start_with(oss.address, "[timeouts]\ndrain_delay = \"1s\"\n", &[], &KEY);
    let begun = Instant::now();
    served.signal("TERM");
    eventually("it is not ready", || ask(served.admin(), "GET", "/readyz", b"").status == 503);
    assert_eq!(ask(served.address, "PUT", "/photos/k", b"1").status, 200, "it still serves");
    let (status, told) = served.reload();
    assert!(status == 503 && told.contains("the proxy is stopping"), "{told}");
    let (code, log) = served.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let [delay, request, drain] = ["stopping; still accepting requests", "PutObject", "\"draining\""]
        .map(|words| log.find(words).unwrap_or_else(|| panic!("{words}: {log}")));
    assert!(delay < request && request < drain, "{log}");
}

#[test]
fn a_client_that_is_stuck_does_not_hold_the_end_beyond_its_bound() {
    let (_upstream, served, _client) = in_flight_with("[timeouts]\ndrain = \"1s\"\n");
    let mut half = Client::connect(served.address);
    half.send("GET /photos/k HTT");
    served.signal("TERM");
    let begun = Instant::now();
    let (code, log) = served.end();
    assert_eq!(code, Some(1), "{log}");
    assert!(
        begun.elapsed() < Duration::from_secs(4) && log.contains("the drain ended with open connections"),
        "{log}"
    );
    assert!(half.is_closed());
    assert!(log.contains("\"request\"") && log.contains("\"end\":\"cut\""), "what was cut is told: {log}");
}

#[test]
fn a_client_that_reads_nothing_of_its_answer_does_not_hold_the_end_beyond_its_bound() {
    let upstream = Script::start(|peer| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n");
        while peer.stream.write_all(&[0; 1 << 16]).is_ok() {}
    });
    let served = Served::start_with(upstream.address, "[timeouts]\ndrain = \"1s\"\n", &[], &KEY);
    let mut client = Client::connect(served.address);
    client.send(format!("GET /photos/k HTTP/1.1\r\nHost: {}\r\n\r\n", served.address));
    assert_eq!(client.head().expect("an answer").0, 200);
    let begun = Instant::now();
    served.signal("TERM");
    let (code, log) = served.end();
    assert!(code == Some(1) && begun.elapsed() < Duration::from_secs(4), "{log}");
    assert!(log.contains("\"end\":\"cut\""), "{log}");
}

#[test]
fn a_client_that_has_just_connected_is_still_answered() {
    let oss = oss();
    let served = Served::start(oss.address, &[], &KEY);
    let mut client = Client::connect(served.address);
    eventually("it is accepted", || {
        ask(served.admin(), "GET", "/metrics", b"").text().contains("oss_proxy_client_connections 1\n")
    });
    served.signal("TERM");
    eventually("nobody listens any more", || TcpStream::connect(served.address).is_err());
    assert_eq!(client.ask("PUT", "/photos/k", &served.address.to_string(), "", b"1").status, 200);
    let (code, log) = served.end();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn a_second_signal_forces_the_end_at_once() {
    let (_upstream, served, _client) = in_flight();
    served.signal("TERM");
    eventually("it is leaving", || ask(served.admin(), "GET", "/readyz", b"").status == 503);
    served.signal("TERM");
    let (code, log) = served.end();
    assert_eq!(code, Some(1), "{log}");
}

#[test]
fn a_signal_after_the_admin_listener_was_asked_is_no_second_one() {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Script::start(move |peer| {
        peer.head();
        wait.lock().expect("one waits").recv().expect("it goes on");
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let served = Served::start_with(upstream.address, "[admin]\nquit = true\n", &[], &KEY);
    let mut client = Client::connect(served.address);
    client.send(format!("GET /photos/k HTTP/1.1\r\nHost: {}\r\n\r\n", served.address));
    eventually("the request arrives", || !upstream.heads().is_empty());
    // The request of a pre-stop hook, and then the signal of the process that runs the hook.
    assert_eq!(ask(served.admin(), "POST", "/-/quit", b"").status, 200);
    served.signal("TERM");
    eventually("nobody listens any more", || TcpStream::connect(served.address).is_err());
    go_on.send(()).expect("it waits");
    assert_eq!(client.answer("GET").expect("an answer").text(), "ok");
    let (code, log) = served.end();
    assert!(code == Some(0) && log.contains("\"shutdown requested\""), "{log}");
}

#[test]
fn a_name_that_a_core_still_looks_up_does_not_hold_the_end() {
    let (found, answer) = mpsc::channel::<()>();
    let (tell, looks) = mpsc::channel();
    let answer = Arc::new(Mutex::new(answer));
    play(async {
        let plan = cores(1, move || {
            let (answer, tell) = (Arc::clone(&answer), tell.clone());
            // Names are resolved on a blocking thread like this one.
            tokio::task::spawn_blocking(move || {
                tell.send(()).expect("somebody waits");
                answer.lock().expect("one waits").recv_timeout(Duration::from_secs(10))
            });
        });
        let server = Server::start(Vec::new(), &plan.await, DrainSignal::new()).expect("threads");
        looks.recv_timeout(Duration::from_secs(10)).expect("it looks");
        let begun = Instant::now();
        server.end().await;
        assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
    });
    drop(found);
}

#[test]
fn it_can_be_asked_to_end_if_the_configuration_says_so() {
    let oss = oss();
    let served = Served::start(oss.address, &[], &KEY);
    assert_eq!(ask(served.admin(), "POST", "/-/quit", b"").status, 403);
    drop(served);
    let served = Served::start_with(oss.address, "[admin]\nquit = true\n", &[], &KEY);
    assert_eq!(ask(served.admin(), "GET", "/-/quit", b"").status, 405);
    assert_eq!(ask(served.admin(), "POST", "/-/quit", b"").status, 200);
    let (code, log) = served.end();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn systemd_is_told_what_the_process_does() {
    let oss = oss();
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
    let told = || {
        let mut bytes = [0; 512];
        let count = socket.recv(&mut bytes).expect("a message");
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    };
    let path = path.to_str().expect("a path");
    let environment = [KEY[0], KEY[1], ("NOTIFY_SOCKET", path), ("WATCHDOG_USEC", "300000")];
    let served = Served::start(oss.address, &[], &environment);
    let until = |wanted: &str| while !told().contains(wanted) {};
    until("READY=1");
    until("WATCHDOG=1");
    until("WATCHDOG=1");
    served.signal("HUP");
    until("RELOADING=1\nMONOTONIC_USEC=");
    until("READY=1");
    served.signal("TERM");
    until("STOPPING=1");
    let (code, log) = served.end();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn the_log_goes_to_a_file_that_can_be_moved_away() {
    let oss = oss();
    let directory = tempfile::tempdir().expect("a directory");
    let (path, moved) = (directory.path().join("log"), directory.path().join("log.1"));
    let file = directory.path().join("proxy.toml");
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n[log]\nfile = {path:?}\n[upstream]\nregion = \"cn-hangzhou\"\n\
         endpoint = \"http://oss-cn-hangzhou.aliyuncs.com\"\nconnect = \"{}\"\n",
        oss.address
    );
    std::fs::write(&file, text).expect("written");
    let mut child = crate::support::program(&["--config", file.to_str().expect("a path")])
        .envs(KEY)
        .spawn()
        .expect("it starts");
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap_or_default();
    let address = || {
        let log = read(&path);
        let line = log.lines().find(|line| line.contains("\"listening\""))?.to_owned();
        let line: serde_json::Value = serde_json::from_str(&line).ok()?;
        line["address"].as_str()?.parse().ok()
    };
    eventually("it listens", || address().is_some());
    let address = address().expect("an address");
    ask(address, "GET", "/photos/one", b"");
    eventually("the line is there", || read(&path).contains("\"request\""));
    std::fs::rename(&path, &moved).expect("moved");
    let id = child.id().to_string();
    let kill = |name: &str| {
        let sent = std::process::Command::new("kill").args([name, &id]).status().expect("kill");
        assert!(sent.success());
    };
    kill("-USR1");
    eventually("the file is there again", || {
        path.exists() || {
            ask(address, "GET", "/photos/two", b"");
            false
        }
    });
    kill("-TERM");
    assert!(child.wait().expect("an end").success());
    assert!(read(&path).contains("drained") && read(&moved).contains("\"listening\""));
    let mut errors = String::new();
    child.stderr.take().expect("errors").read_to_string(&mut errors).expect("text");
    assert_eq!(errors, "", "nothing goes elsewhere");
}
