//! Behavior of the HTTP library when something ends early: client disconnects, responses before the
//! upload is complete, floods of resets, and handshakes that do not complete.

use std::io::Read as _;
use std::net::{Shutdown, TcpListener};
use std::time::{Duration, Instant};

use h2::Reason;

use super::OK;
use crate::support::h2::{over_h2, request};
use crate::support::{Client, KEY, Script, Served, ask, eventually, oss, proxy};

#[test]
fn a_client_that_leaves_before_the_answer_ends_the_upstreams_connection() {
    let upstream = Script::start(|peer| {
        peer.head();
        peer.rest();
    });
    let proxy = proxy(upstream.address).start();
    let mut client = Client::connect(proxy.address);
    client.send("GET /photos/k HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    eventually("the request arrives", || upstream.heads().len() == 1);
    client.reset();
    assert!(upstream.rest().is_empty());
}

#[test]
fn a_client_that_closes_its_sending_side_gets_its_answer() {
    let upstream = Script::start(|peer| {
        peer.head();
        std::thread::sleep(Duration::from_millis(100));
        peer.send(OK);
        peer.rest();
    });
    let proxy = proxy(upstream.address).start();
    let mut client = Client::connect(proxy.address);
    client.send("GET /photos/k HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    eventually("the request arrives", || upstream.heads().len() == 1);
    client.stream.shutdown(Shutdown::Write).expect("half an end");
    assert_eq!(client.answer("GET").expect("an answer").status, 200);
    let mut rest = Vec::new();
    assert_eq!(client.stream.read_to_end(&mut rest).expect("an end"), 0, "the connection ends after it");
}

#[test]
fn an_early_answer_is_told_while_the_upload_goes_on() {
    let upstream = Script::start(|peer| {
        while let Some(head) = peer.head() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly");
            assert!(peer.body(&head).iter().all(|byte| *byte == b'x'), "the whole body, and no other");
        }
    });
    let proxy = proxy(upstream.address).start();
    let mut client = Client::connect(proxy.address);
    for _ in 0..3 {
        client.send("PUT /photos/k HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 300000\r\n\r\n");
        client.send(vec![b'x'; 100_000]);
        assert_eq!(client.answer("PUT").expect("an answer").text(), "early");
        client.send(vec![b'x'; 200_000]);
    }
    assert_eq!(ask(proxy.address, "GET", "/photos/k", b"").status, 200);
    assert_eq!(upstream.heads().len(), 4);
}

#[test]
fn a_refusal_is_there_for_who_first_sends_all() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    for size in [500_000, 4_000_000] {
        let mut client = Client::connect(proxy.address);
        client.send(format!("PUT /photos/%zz HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {size}\r\n\r\n"));
        for _ in 0..size / 100_000 {
            // The response was sent long before.
            client.send(vec![b'x'; 100_000]);
            std::thread::sleep(Duration::from_millis(2));
        }
        let answer = client.answer("PUT").expect("an answer");
        assert_eq!((answer.status, answer.refused()), (400, Some("bad-request")), "{size}");
    }
    assert!(upstream.heads().is_empty());
}

// HTTP/2.

#[test]
fn a_flood_of_resets_ends_its_connection_and_no_other() {
    let oss = oss();
    let proxy = proxy(oss.address).start();
    let address = proxy.address;
    let ended = over_h2(address, async |connection| {
        let at = format!("http://{address}/photos/k");
        for _ in 0..3_000 {
            if connection.driver.is_finished() {
                break;
            }
            let Some((_, mut stream)) = connection.try_begin(request("PUT", &at)).await else { break };
            stream.send_reset(Reason::CANCEL);
            tokio::task::yield_now().await;
        }
        (&mut connection.driver).await.expect("no panic").expect_err("it is ended by the other side")
    });
    // GOAWAY can be lost behind the data that was sent after it.
    assert!(ended.is_io() || ended.reason() == Some(Reason::ENHANCE_YOUR_CALM), "{ended}");
    assert_eq!(ask(proxy.address, "PUT", "/photos/k", b"v").status, 200);
    assert!(oss.recorder.count() < 3_000, "most never went on");
}

// The connection to the upstream.

#[test]
fn an_upstream_that_never_ends_its_handshake_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let lines = format!("endpoint = \"https://oss-cn-hangzhou.aliyuncs.com\"\nconnect = \"{address}\"");
    let proxy = proxy(address).upstream(&lines).sections("[timeouts]\nconnect = \"300ms\"").start();
    let begun = Instant::now();
    let answer = ask(proxy.address, "GET", "/photos/k", b"");
    assert_eq!((answer.status, answer.refused()), (502, Some("upstream-unreachable")));
    assert!(begun.elapsed() >= Duration::from_millis(300), "it was waited for");
}

#[test]
fn proxies_named_in_our_own_environment_are_not_asked() {
    let oss = oss();
    let nobody = "http://127.0.0.1:9";
    let mut environment = KEY.to_vec();
    environment.extend(
        ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
            .map(|name| (name, nobody)),
    );
    let served = Served::start(oss.address, &[], &environment);
    assert_eq!(ask(served.address, "PUT", "/photos/k", b"v").status, 200);
}
