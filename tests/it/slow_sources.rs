//! Credential providers that are slow, silent or unavailable for a while. Each recovers by itself,
//! and none prevents another from serving.

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::{ID, Peer, SECRET, Script, Served, ask, eventually, oss, run};

/// Returns the response of a credentials URI with the key of the emulated OSS.
fn key() -> String {
    let body = format!("{{\"AccessKeyId\": \"{ID}\", \"AccessKeySecret\": \"{SECRET}\"}}");
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

/// Starts a service that returns the key after this time.
fn slow(delay: Duration) -> Script {
    Script::start(move |peer| {
        if peer.head().is_some() {
            sleep(delay);
            peer.send(key());
        }
    })
}

fn uri(name: &str, at: SocketAddr) -> String {
    format!("[credentials.{name}]\ntype = \"uri\"\nurl = \"http://{at}/\"\n")
}

/// Opens a port where the kernel accepts connections that are never answered.
fn silent() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

fn status(served: &Served, bucket: &str) -> u16 {
    ask(served.address, "GET", &format!("/{bucket}?list-type=2"), b"").status
}

fn page(served: &Served, path: &str) -> String {
    ask(served.admin(), "GET", path, b"").text()
}

#[test]
fn a_source_that_takes_longer_than_the_start_waits_is_named_and_serves_once_it_has_answered() {
    let (oss, service) = (oss(), slow(Duration::from_millis(3_500)));
    let served = Served::start_with(oss.address, &uri("default", service.address), &[], &[]);
    assert_eq!(page(&served, "/startupz"), "credentials \"default\": no response yet\n");
    let ready = page(&served, "/readyz");
    assert_eq!(ready, "no credentials source is usable: default (no response yet)\n");
    let metrics = page(&served, "/metrics");
    assert!(metrics.contains("oss_proxy_credential_answered{source=\"default\"} 0\n"), "{metrics}");
    assert!(page(&served, "/").contains("no response for"));
    assert!(page(&served, "/credentials").contains("\"asking_for_s\""));
    eventually("it serves", || status(&served, "photos") == 200);
    assert_eq!(page(&served, "/readyz"), "ok\n");
    served.signal("TERM");
    let (code, log) = served.end();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(log.matches("no response from the credentials source yet").count(), 1, "{log}");
}

#[test]
fn a_source_that_never_answers_keeps_no_other_from_serving() {
    let (oss, good, (_held, hangs)) = (oss(), slow(Duration::ZERO), silent());
    let mut sections = uri("a-silent", hangs) + &uri("default", good.address);
    for name in ["b", "c", "d"] {
        sections += &uri(name, slow(Duration::from_millis(50)).address);
        let _ =
            write!(sections, "[[route]]\nmatch = {{ bucket = \"{name}-*\" }}\ncredentials = \"{name}\"\n");
    }
    sections += "[[route]]\nmatch = { bucket = \"silent-*\" }\ncredentials = \"a-silent\"\n";
    let served = Served::start_with(oss.address, &sections, &[], &[]);
    assert_eq!(status(&served, "photos"), 200);
    for bucket in ["b-bucket", "c-bucket", "d-bucket"] {
        // The bucket is unknown to OSS, which verifies the signature before it looks for the
        // bucket.
        eventually("it is signed for", || status(&served, bucket) == 404);
    }
    assert_eq!(status(&served, "silent-bucket"), 503);
}

/// Starts an STS that issues one key for each role.
fn sts(play: impl Fn(&mut Peer) + Send + Sync + 'static) -> Script {
    Script::start(move |peer| {
        play(peer);
        let Some(head) = peer.head() else { return };
        peer.body(&head);
        let body = "{\"RequestId\": \"R\", \"Credentials\": {\"AccessKeyId\": \"STS.role\", \"AccessKeySecret\": \"s\", \
                    \"SecurityToken\": \"t\", \"Expiration\": \"2999-01-01T00:00:00Z\"}}";
        peer.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ));
    })
}

fn roles(count: usize, sts: SocketAddr) -> String {
    let mut sections = String::new();
    for number in 0..count {
        let _ = write!(
            sections,
            "[credentials.role-{number}]\ntype = \"assume_role\"\nsource = \"base\"\nsts_endpoint = \"http://{sts}\"\n\
             role_arn = \"acs:ram::1:role/r{number}\"\n[[route]]\nmatch = {{ bucket = \"bucket-{number}\" }}\n\
             credentials = \"role-{number}\"\n"
        );
    }
    format!(
        "{sections}[credentials.base]\ntype = \"static\"\naccess_key_id = \"{ID}\"\naccess_key_secret = \"{SECRET}\"\n\
         [credentials.default]\ntype = \"anonymous\"\n"
    )
}

fn fresh(served: &Served) -> usize {
    page(served, "/metrics").lines().filter(|line| line.ends_with("state=\"fresh\"} 1")).count()
}

#[test]
fn thirty_roles_of_a_distant_sts_all_serve_soon() {
    let sts = sts(|_| sleep(Duration::from_millis(100)));
    let served = Served::start_with(oss().address, &roles(30, sts.address), &[], &[]);
    eventually("all of them have credentials", || fresh(&served) == 30);
    assert!(!page(&served, "/metrics").contains("result=\"failed\",kind=\"unavailable\"} 1"));
}

#[test]
fn roles_serve_soon_after_an_sts_that_was_away_at_the_start_has_come_back() {
    let begun = Instant::now();
    let away = Duration::from_secs(3);
    let sts = sts(move |peer| {
        if begun.elapsed() < away {
            // For the client, the connection is closed without a response.
            let _ = peer.stream.shutdown(std::net::Shutdown::Both);
        }
    });
    let served = Served::start_with(oss().address, &roles(8, sts.address), &[], &[]);
    sleep(away.saturating_sub(begun.elapsed()));
    let back = Instant::now();
    eventually("all of them have credentials", || fresh(&served) == 8);
    assert!(back.elapsed() < Duration::from_secs(5), "{:?}", back.elapsed());
}

#[test]
fn an_sts_that_swallowed_requests_is_used_within_five_seconds_of_its_return() {
    let begun = Instant::now();
    let hung = Duration::from_secs(7);
    let sts = sts(move |_| {
        if begun.elapsed() < hung {
            // These requests are never answered, even after the service recovers.
            sleep(Duration::from_secs(60));
        }
    });
    let served = Served::start_with(oss().address, &roles(12, sts.address), &[], &[]);
    sleep(hung.saturating_sub(begun.elapsed()));
    let back = Instant::now();
    eventually("all of them have credentials", || fresh(&served) == 12);
    assert!(back.elapsed() < Duration::from_secs(5), "{:?}", back.elapsed());
}

#[test]
fn a_reload_waits_a_moment_for_a_new_source_and_keeps_one_that_takes_longer_until_it_is_tried_again() {
    let oss = oss();
    let usual = format!(
        "[credentials.default]\ntype = \"static\"\naccess_key_id = \"{ID}\"\naccess_key_secret = \"{SECRET}\"\n"
    );
    let served = Served::start_with(oss.address, &usual, &[], &[]);
    let quick = slow(Duration::from_secs(2));
    served.rewrite(oss.address, &uri("default", quick.address));
    let (code, text) = served.reload();
    assert_eq!(code, 200, "{text}");

    let asked = Arc::new(AtomicUsize::new(0));
    let (counted, begun) = (Arc::clone(&asked), Instant::now());
    let slow = Script::start(move |peer| {
        if peer.head().is_some() {
            counted.fetch_add(1, SeqCst);
            sleep(Duration::from_secs(7).saturating_sub(begun.elapsed()));
            peer.send(key());
        }
    });
    served.rewrite(oss.address, &uri("default", slow.address));
    let (code, text) = served.reload();
    assert!(code == 400 && text.contains("\"default\": no response yet"), "{code} {text}");
    assert_eq!(status(&served, "photos"), 200, "the current configuration stays");
    let configured = slow.address.to_string();
    eventually("it is taken by itself", || page(&served, "/config").contains(&configured));
    assert_eq!(status(&served, "photos"), 200);
    assert!(asked.load(SeqCst) <= 8, "not asked from the beginning at each try: {asked:?}");
}

#[test]
fn check_names_each_source_that_does_not_answer() {
    let (_one, first) = silent();
    let (_other, second) = silent();
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = format!(
        "[upstream]\nregion = \"cn-hangzhou\"\ncredentials = \"first\"\n{}{}",
        uri("first", first),
        uri("second", second)
    );
    fs::write(&file, text).expect("written");
    let begun = Instant::now();
    let (code, _, errors) =
        run(&["check", "--credentials", "--config", file.path().to_str().expect("a path")], &[]);
    assert_eq!(code, Some(77), "{errors}");
    assert!(errors.contains("\"first\": ") && errors.contains("\"second\": "), "{errors}");
    assert!(begun.elapsed() < Duration::from_secs(9), "both at the same time: {:?}", begun.elapsed());
}

#[test]
fn doctor_says_where_the_running_process_differs() {
    let oss = oss();
    let free = || TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let (listen, admin) = (free(), free());
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = format!(
        "[[listen]]\naddress = \"{listen}\"\n[admin]\naddress = \"{admin}\"\ntoken = \"an-admin-token-of-it\"\n{}\
         [credentials.default]\ntype = \"env\"\n",
        Served::text(oss.address, "")
    );
    fs::write(&file, text).expect("written");
    let path = file.path().to_str().expect("a path");
    let doctor =
        |environment: &[(&str, &str)]| run(&["doctor", "--config", path, "--bucket", "photos"], environment);
    let (code, lines, _) = doctor(&crate::support::KEY);
    assert!(code == Some(0) && !lines.contains("running process"), "{lines}");
    let served = Served::of_file(file.path(), &[]);
    let (code, lines, errors) = doctor(&crate::support::KEY);
    assert_eq!(code, Some(77), "{lines}{errors}");
    assert!(lines.contains("\"default\" has credentials here, but not there: not configured"), "{lines}");
    drop(served);
    let _served = Served::of_file(file.path(), &crate::support::KEY);
    let (code, lines, _) = doctor(&crate::support::KEY);
    assert!(code == Some(0) && lines.contains("\"default\" is non_expiring there too"), "{lines}");
    let (code, lines, _) = doctor(&[]);
    assert!(code == Some(77) && lines.contains("has no credentials here, but has some there"), "{lines}");
}

#[test]
fn requests_wait_for_a_source_that_answers_soon() {
    let (oss, (answer, wait)) = (oss(), mpsc::channel::<()>());
    let wait = std::sync::Mutex::new(wait);
    let service = Script::start(move |peer| {
        if peer.head().is_some() {
            wait.lock().expect("one waits").recv().expect("it goes on");
            peer.send(key());
        }
    });
    let served = Served::start_with(oss.address, &uri("default", service.address), &[], &[]);
    let asked = std::thread::scope(|scope| {
        let asking = scope.spawn(|| status(&served, "photos"));
        let waits = "oss_proxy_credential_waiters{source=\"default\"} 1\n";
        eventually("it waits", || page(&served, "/metrics").contains(waits));
        answer.send(()).expect("it waits");
        asking.join().expect("an answer")
    });
    assert_eq!(asked, 200);
}
