//! Rejected identities: what the client, the log and the metrics show of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use oss_signing_proxy::app::SystemEnv;
use oss_signing_proxy::internals::time::{http_date, iso_extended};
use oss_signing_proxy::time::{Clock as _, Timestamp};

use crate::callers::{Asked, CALLERS, served};
use crate::support::{Client, Script, ask, proxy};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const LISTEN: &str = "identify = [\"key\"]";

#[test]
fn a_signed_request_whose_connection_names_a_signed_header_is_rejected() {
    let upstream = Script::answering(OK);
    let open = format!("{CALLERS}\n[[caller]]\nname = \"everyone\"\nopen = true\nallow = \"read\"\n");
    let proxy = proxy(upstream.address).listen(LISTEN).sections(&open).start();
    for (header, status) in [
        ("Connection: close, x-oss-meta-a\r\n", 400),
        ("Connection: X-OSS-Date\r\n", 400),
        // Without the check, the request would be one of the open caller.
        ("Connection: authorization\r\n", 400),
        ("Connection: x-other\r\nx-other: a\r\n", 200),
    ] {
        let asked = Asked { headers: &[("x-oss-meta-a", "1")], ..Asked::new("GET", "k") };
        let lines = format!("{}{header}", asked.lines());
        let answer =
            Client::connect(proxy.address).ask("GET", "/photos/k", &proxy.address.to_string(), &lines, b"");
        assert_eq!(answer.status, status, "{header}: {}", answer.text());
        assert_eq!(answer.refused(), (status == 400).then_some("malformed-signature"), "{header}");
    }
    assert_eq!(upstream.heads().len(), 1);
}

#[test]
fn an_unsigned_request_has_the_error_number_and_the_headers_of_oss() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).listen(LISTEN).sections(CALLERS).start();
    let answer = ask(proxy.address, "GET", "/photos/k", b"");
    assert_eq!((answer.status, answer.header("x-oss-ec")), (403, Some("0003-00000905")));
    assert!(answer.text().contains("<EC>0003-00000905</EC>"), "{}", answer.text());
    let took_ms = answer.header("x-oss-server-time").and_then(|text| text.parse::<u64>().ok());
    assert!(took_ms.is_some_and(|took_ms| took_ms < 60_000), "{took_ms:?}");
}

#[test]
fn a_real_access_key_at_a_client_is_reported_once_by_the_beginning_of_its_id() {
    let upstream = Script::answering(OK);
    let served = served(upstream.address, CALLERS);
    let status = |id| {
        let asked = Asked { id, ..Asked::new("GET", "k") };
        asked.send_on(&mut Client::connect(served.address), served.address, b"").status
    };
    for id in ["nobody", "LTAI5tRealKeyOfSomebody", "LTAI5tRealKeyOfSomebody", "STS.RealKeyOfSomebody"] {
        assert_eq!(status(id), 403, "{id}");
    }
    served.signal("TERM");
    let log = served.end().1;
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("a real access key")).collect();
    assert_eq!(warnings.len(), 1, "{log}");
    assert!(warnings[0].contains("LTAI5tRe…"), "{}", warnings[0]);
    assert!(!log.contains("RealKeyOfSomebody"), "{log}");
}

#[test]
fn rejected_requests_are_counted_for_the_caller_whose_key_they_name() {
    let upstream = Script::answering(OK);
    let served = served(upstream.address, CALLERS);
    let send =
        |asked: Asked<'_>| asked.send_on(&mut Client::connect(served.address), served.address, b"").status;
    let get = || Asked::new("GET", "k");
    assert_eq!(send(Asked { secret: "wrong", ..get() }), 403);
    assert_eq!(send(Asked { ahead_s: 3600, ..get() }), 403);
    assert_eq!(send(Asked { id: "nobody", ..get() }), 403);
    let page = ask(served.admin(), "GET", "/metrics", b"").text();
    let counts: Vec<&str> =
        page.lines().filter(|line| line.starts_with("oss_proxy_caller_requests_rejected_total{")).collect();
    assert_eq!(counts, ["oss_proxy_caller_requests_rejected_total{caller=\"team-a\"} 2"], "{page}");
}

#[test]
fn signatures_are_verified_by_the_time_of_oss_once_it_is_known() {
    let requests = AtomicUsize::new(0);
    let upstream = Script::start(move |peer| {
        while peer.head().is_some() {
            if requests.fetch_add(1, Ordering::SeqCst) > 0 {
                peer.send(OK);
                continue;
            }
            let theirs = SystemEnv.now() + Duration::from_secs(7_200);
            let body = format!(
                "<Error><Code>RequestTimeTooSkewed</Code><ServerTime>{}</ServerTime></Error>",
                iso_extended(theirs)
            );
            peer.send(format!("HTTP/1.1 403 X\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        }
    });
    let proxy = proxy(upstream.address).listen(LISTEN).sections(CALLERS).start();
    // Each worker learns the time by itself, and serves one connection.
    let mut client = Client::connect(proxy.address);
    for (ahead_s, status, refused) in
        [(0, 200, None), (0, 403, Some("clock-skew")), (7_200, 200, None), (8_400, 403, Some("clock-skew"))]
    {
        let asked = Asked { ahead_s, ..Asked::new("GET", "k") };
        let answer = asked.send_on(&mut client, proxy.address, b"");
        assert_eq!((answer.status, answer.refused()), (status, refused), "{ahead_s}: {}", answer.text());
        if refused.is_some() {
            // SDKs correct their clock by either of them: the one of Go by the header.
            assert_eq!(answer.header("date"), Some(http_date(server_time(&answer.text())).as_str()));
        }
    }
}

fn server_time(document: &str) -> Timestamp {
    let (_, rest) = document.split_once("<ServerTime>").expect("a time");
    let (time, _) = rest.split_once("</ServerTime>").expect("the end of the element");
    Timestamp::parse_rfc3339(time).expect("a time in the form of OSS")
}

#[test]
fn an_upstream_moves_the_time_of_signatures_for_its_own_requests_only() {
    let lying = Script::start(|peer| {
        while peer.head().is_some() {
            let theirs = SystemEnv.now() + Duration::from_secs(7_200);
            let body = format!(
                "<Error><Code>RequestTimeTooSkewed</Code><ServerTime>{}</ServerTime></Error>",
                iso_extended(theirs)
            );
            peer.send(format!("HTTP/1.1 403 X\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        }
    });
    let good = Script::answering(OK);
    let route = format!(
        "[[route]]\nmatch.caller = \"team-b\"\nregion = \"cn-shanghai\"\n\
         endpoint = \"http://oss-cn-shanghai.aliyuncs.com\"\nconnect = \"{}\"\n",
        lying.address
    );
    let proxy = proxy(good.address).listen(LISTEN).sections(&format!("{CALLERS}{route}")).start();
    let mut client = Client::connect(proxy.address);
    let team_b =
        || Asked { id: "team-b-1", secret: "TeamBPlantedSecretOf30Letters0", ..Asked::new("GET", "k") };
    let mut refused = |asked: Asked<'_>| {
        let answer = asked.send_on(&mut client, proxy.address, b"");
        (answer.status, answer.refused().map(str::to_owned))
    };
    // The response of the upstream is passed on after the second attempt.
    assert_eq!(refused(team_b()), (403, None));
    assert_eq!(refused(team_b()), (403, Some("clock-skew".to_owned())), "its time counts for its requests");
    assert_eq!(refused(Asked::new("GET", "k")), (200, None));
    let later = Asked { ahead_s: 7_200, ..Asked::new("GET", "k") };
    assert_eq!(refused(later), (403, Some("clock-skew".to_owned())));
    assert_eq!(good.heads().len(), 1);
}
