//! Connections closed or stalled by a fault, as seen by the client.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::super::{BodyArrival, EmulatorThread, InjectedFault};
use super::{ask, connect, get, photos, put, read, start};

fn with_object(length: usize) -> EmulatorThread {
    let oss = start();
    oss.service.put_object(&photos(), b"a", vec![b'x'; length]);
    oss
}

/// Reads once and returns the result: how the connection ended, or a timeout.
fn end(wire: &mut TcpStream) -> Result<usize, ErrorKind> {
    wire.read(&mut [0; 1024]).map_err(|error| error.kind())
}

/// Requests the object and reads until this many bytes of its body have arrived.
fn body_of(wire: &mut TcpStream, bytes: usize) -> (String, Vec<u8>) {
    wire.write_all(&get("/a").signed().bytes()).expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut one = [0];
        wire.read_exact(&mut one).expect("a head");
        head.extend(one);
    }
    let mut body = vec![0; bytes];
    wire.read_exact(&mut body).expect("so much of the body");
    (String::from_utf8_lossy(&head).into_owned(), body)
}

/// Returns whether nothing arrives for 100 ms.
fn is_silent(wire: &mut TcpStream) -> bool {
    wire.set_read_timeout(Some(Duration::from_millis(100))).expect("a limit");
    matches!(end(wire), Err(ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

#[test]
fn a_connection_ends_before_its_head_is_read() {
    for (fault, seen) in
        [(InjectedFault::CloseUnread, Ok(0)), (InjectedFault::ResetUnread, Err(ErrorKind::ConnectionReset))]
    {
        let oss = with_object(1);
        oss.faults.next(1, fault);
        let mut wire = connect(&oss);
        wire.write_all(b"GET /a HT").expect("sent");
        assert_eq!(end(&mut wire), seen);
        assert_eq!((oss.recorder.connections(), oss.recorder.count()), (1, 0));
        assert_eq!(get("/a").send(&oss).status, 200);
    }
}

#[test]
fn a_connection_ends_after_the_head_and_before_the_body() {
    for (fault, seen) in
        [(InjectedFault::HangUp, Ok(0)), (InjectedFault::Reset, Err(ErrorKind::ConnectionReset))]
    {
        let oss = start();
        oss.faults.next(1, fault);
        let mut wire = connect(&oss);
        wire.write_all(&ask("PUT", "/a").header("Content-Length", "100000").signed().bytes()).expect("sent");
        assert_eq!(end(&mut wire), seen);
        let received = oss.recorder.last().expect("the head");
        assert_eq!((received.body_bytes, received.body), (0, BodyArrival::Open));
        assert_eq!(oss.service.object(&photos(), b"a"), None);
    }
}

#[test]
fn a_connection_ends_when_it_is_used_again() {
    for (fault, seen) in
        [(InjectedFault::CloseReused, Ok(0)), (InjectedFault::ResetReused, Err(ErrorKind::ConnectionReset))]
    {
        let oss = with_object(1);
        oss.faults.next(1, fault);
        for expected in [seen, Ok(b"HTTP/1.1 200 OK".len())] {
            let mut wire = connect(&oss);
            body_of(&mut wire, 1);
            wire.write_all(&get("/a").signed().bytes()).expect("sent");
            let mut line = [0; 15];
            assert_eq!(wire.read(&mut line).map_err(|error| error.kind()), expected, "then it is spent");
        }
    }
}

#[test]
fn a_body_ends_in_a_reset() {
    for (fault, framing, sent) in [
        (InjectedFault::ResetBody { after_bytes: 3 }, "content-length: 10\r\n", "xxx"),
        (InjectedFault::ResetChunks { after_bytes: 3 }, "transfer-encoding: chunked\r\n", "3\r\nxxx\r\n"),
    ] {
        let oss = with_object(10);
        oss.faults.next(1, fault);
        let mut wire = connect(&oss);
        let (head, body) = body_of(&mut wire, sent.len());
        assert!(head.contains(framing), "{head}");
        assert_eq!(body, sent.as_bytes());
        assert_eq!(end(&mut wire), Err(ErrorKind::ConnectionReset));
    }
}

#[test]
fn a_body_comes_in_drops() {
    let oss = with_object(5);
    let pause = Duration::from_millis(20);
    oss.faults.next(1, InjectedFault::Drip { bytes: 2, pause });
    oss.faults.next(1, InjectedFault::Chunked);
    let begun = Instant::now();
    let dripped = get("/a").send(&oss);
    assert_eq!(dripped.text(), "2\r\nxx\r\n2\r\nxx\r\n1\r\nx\r\n0\r\n\r\n");
    assert!(begun.elapsed() >= 2 * pause);
    oss.faults.next(1, InjectedFault::Drip { bytes: 2, pause });
    let dripped = get("/a").send(&oss);
    assert_eq!((dripped.header("content-length"), dripped.text().as_str()), (Some("5"), "xxxxx"));
}

#[test]
fn an_answer_or_the_rest_of_it_never_comes() {
    let oss = with_object(10);
    oss.faults.next(1, InjectedFault::HangBody { after_bytes: 4 });
    let mut wire = connect(&oss);
    let (head, body) = body_of(&mut wire, 4);
    assert!(head.contains("content-length: 10\r\n"), "{head}");
    assert_eq!(body, b"xxxx");
    assert!(is_silent(&mut wire));
    oss.faults.next(1, InjectedFault::Hang);
    let mut wire = connect(&oss);
    wire.write_all(&get("/a").signed().bytes()).expect("sent");
    assert!(is_silent(&mut wire));
    assert_eq!(get("/a").send(&oss).body.len(), 10);
}

#[test]
fn an_upload_is_read_no_further() {
    let oss = with_object(1);
    oss.faults.next(1, InjectedFault::StallUpload { after_bytes: 10 });
    assert_eq!(get("/a").send(&oss).status, 200, "it waits for an upload");
    let mut wire = connect(&oss);
    wire.set_write_timeout(Some(Duration::from_millis(200))).expect("a limit");
    wire.write_all(&ask("PUT", "/b").header("Content-Length", "1000000000").signed().bytes()).expect("sent");
    let piece = vec![b'x'; 1024 * 1024];
    // Far more than the buffers of both ends can hold.
    let stopped = (0..100).find_map(|_| wire.write_all(&piece).err()).expect("nobody reads");
    assert!(matches!(stopped.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{stopped}");
    let received = oss.recorder.last().expect("the upload");
    assert!((10..1_000_000).contains(&received.body_bytes), "{received:?}");
    assert_eq!(received.body, BodyArrival::Open);
    assert_eq!(oss.service.object(&photos(), b"b"), None);
}

#[test]
fn an_upload_is_refused_while_it_comes() {
    let oss = start();
    oss.faults.next(1, InjectedFault::RefuseUpload { after_bytes: 1000 });
    let mut wire = connect(&oss);
    wire.write_all(&ask("PUT", "/a").header("Content-Length", "1000000").signed().bytes()).expect("sent");
    wire.write_all(&[b'x'; 1000]).expect("sent");
    let answer = read(&mut wire);
    assert_eq!(answer.refusal(), (403, "AccessDenied".to_owned()));
    assert_eq!(answer.header("connection"), Some("close"));
    let received = oss.recorder.last().expect("the upload");
    assert_eq!((received.body_bytes, received.body), (1000, BodyArrival::Open));
    assert_eq!(oss.service.object(&photos(), b"a"), None);
    assert_eq!(put("/a", "x").send(&oss).status, 200);
}
