//! Faults have exactly their documented effect, for the requested number of requests.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::super::{EmulatorThread, InjectedFault};
use super::{connect, get, photos, put, read, start};

fn with_object(length: usize) -> EmulatorThread {
    let oss = start();
    oss.service.put_object(&photos(), b"a", vec![b'x'; length]);
    oss
}

#[test]
fn a_body_is_cut_at_the_byte() {
    let length = 3_000_000;
    for after_bytes in [0, 1, 1000, 2_999_999] {
        let oss = with_object(length);
        oss.faults.next(1, InjectedFault::CutBody { after_bytes });
        let cut = get("/a").send(&oss);
        assert_eq!(cut.header("content-length"), Some("3000000"));
        assert_eq!((cut.status, cut.body.len()), (200, after_bytes));
        assert_eq!(get("/a").send(&oss).body.len(), length);
    }
}

#[test]
fn a_body_is_shorter_than_announced() {
    let oss = with_object(5);
    oss.faults.always(InjectedFault::ShortBody { missing_bytes: 7 });
    for _ in 0..2 {
        let short = get("/a").send(&oss);
        assert_eq!((short.header("content-length"), short.body.len()), (Some("12"), 5));
    }
    oss.faults.clear();
    assert_eq!(get("/a").send(&oss).header("content-length"), Some("5"));
}

#[test]
fn chunks_come_whole_or_without_the_last() {
    let oss = with_object(4);
    oss.faults.next(1, InjectedFault::Chunked);
    let whole = get("/a").send(&oss);
    assert_eq!((whole.header("content-length"), whole.text().as_str()), (None, "4\r\nxxxx\r\n0\r\n\r\n"));
    oss.faults.next(1, InjectedFault::CutChunks { after_bytes: 3 });
    let cut = get("/a").send(&oss);
    assert_eq!((cut.header("transfer-encoding"), cut.text().as_str()), (Some("chunked"), "3\r\nxxx\r\n"));
}

#[test]
fn a_status_stands_in_place_of_the_operation() {
    let oss = start();
    oss.faults.next(1, InjectedFault::Status { status: 503, code: "SlowDown".to_owned() });
    assert_eq!(put("/a", "x").send(&oss).refusal(), (503, "SlowDown".to_owned()));
    assert_eq!(oss.service.object(&photos(), b"a"), None);
    assert_eq!(put("/a", "x").send(&oss).status, 200);
}

#[test]
fn an_answer_is_late_or_does_not_come() {
    let oss = with_object(1);
    oss.faults.next(1, InjectedFault::Delay(Duration::from_millis(80)));
    let begun = Instant::now();
    assert_eq!(get("/a").send(&oss).status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(80));
    oss.faults.next(1, InjectedFault::HangUp);
    assert_eq!(get("/a").send(&oss).head, "");
}

#[test]
fn a_connection_is_closed_although_it_was_to_be_kept() {
    for length in [0, 10, 2_000_000] {
        let oss = with_object(length);
        oss.faults.next(1, InjectedFault::CloseAfter);
        let mut wire = connect(&oss);
        wire.write_all(&get("/a").signed().bytes()).expect("sent");
        let answer = read(&mut wire);
        assert_eq!((answer.header("connection"), answer.body.len()), (None, length));
        assert_eq!(answer.header("content-length"), Some(length.to_string().as_str()));
    }
}

#[test]
fn a_forgotten_body_is_still_counted() {
    let oss = start();
    oss.faults.next(1, InjectedFault::ForgetBody);
    let done = put("/a", "123456789").send(&oss);
    assert_eq!(done.header("x-oss-hash-crc64ecma"), Some("11051210869376104954"));
    assert_eq!(oss.service.object(&photos(), b"a").as_deref(), Some(&b""[..]));
}

#[test]
fn the_journal_tells_what_came_over_the_wire() {
    let oss = start();
    get("/a%2fb//../+?x=%7E&acl").header("X-Odd", b"\xe9").send(&oss);
    let last = oss.recorder.last().expect("a request");
    assert_eq!((last.method.as_str(), last.target.as_str()), ("GET", "/a%2fb//../+?x=%7E&acl"));
    assert_eq!(last.headers["x-odd"].as_bytes(), b"\xe9");
    assert_eq!((oss.recorder.count(), oss.recorder.connections(), last.connection), (1, 1, 1));
}

#[test]
fn a_dropped_handle_frees_the_port() {
    let oss = start();
    let address = oss.address;
    drop(oss);
    assert!(TcpStream::connect(address).is_err());
}
