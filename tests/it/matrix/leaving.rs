//! Clients that disconnect in the middle of an upload or a download: no part of the object is
//! stored, and the next request is served.

use std::net::Shutdown;
use std::time::Duration;

use oss_signing_proxy::emulator::{BodyArrival, InjectedFault};
use socket2::SockRef;

use super::{Chunks, DATA, Field, Framing, Http2, Http2Length, Length, Method, Patience, UPLOADS};
use crate::support::{Client, ask, bucket, eventually};

/// The way in which a client disconnects in the middle of an upload.
#[derive(Clone, Copy, Debug)]
enum Leaving {
    Close,
    Reset,
    /// The client closes its sending side and waits.
    HalfClose,
}

#[test]
fn clients_that_leave_in_the_middle_of_an_upload() {
    let field = Field::new(Patience::Usual);
    let mut number = 0;
    for leaving in [Leaving::Close, Leaving::Reset, Leaving::HalfClose] {
        for method in UPLOADS {
            for (framing, sent) in [(Length, 0), (Length, 100_000), (Chunks, 0), (Chunks, 100_000)] {
                for refused in [false, true] {
                    number += 1;
                    let key = format!("left-{number}");
                    if refused {
                        field.oss.faults.next(1, InjectedFault::RefuseUpload { after_bytes: 50_000 });
                    }
                    let broken = field.oss.recorder.broken_bodies();
                    leave(&field, (method, framing, sent), leaving, &key);
                    if !refused {
                        eventually("the upload breaks off upstream", || {
                            field.oss.recorder.broken_bodies() > broken
                        });
                    }
                    field.oss.faults.clear();
                    let case = (leaving, method, framing, sent, refused);
                    let requests = field.oss.recorder.requests();
                    let of_case: Vec<_> = requests.iter().filter(|one| one.target.contains(&key)).collect();
                    assert!(of_case.len() <= 1, "{case:?}: it was sent again");
                    assert!(of_case.iter().all(|one| one.body != BodyArrival::Whole), "{case:?}");
                    assert_eq!(field.stored(&key), None, "{case:?}");
                    let good = ask(field.proxy.address, "GET", "/photos/fixed", b"");
                    assert!(good.status == 200 && good.body == *DATA, "{case:?}: the next request");
                }
            }
        }
    }
}

/// Sends the head and some of the body, and disconnects.
fn leave(field: &Field, (method, framing, sent): (Method, Framing, usize), leaving: Leaving, key: &str) {
    let mut client = Client::connect(field.proxy.address);
    let how = match framing {
        Chunks => "Transfer-Encoding: chunked".to_owned(),
        Length | Http2 | Http2Length => format!("Content-Length: {}", DATA.len()),
    };
    let requests = field.oss.recorder.count();
    let target = method.target(key);
    client.send(format!("{} {target} HTTP/1.1\r\nHost: {}\r\n{how}\r\n\r\n", method.name(), field.own));
    if framing == Chunks {
        client.send(format!("{:x}\r\n", DATA.len()));
    }
    client.send(&DATA[..sent]);
    eventually("the request arrives", || field.oss.recorder.count() > requests);
    match leaving {
        Leaving::Close => {}
        Leaving::Reset => SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).expect("an option"),
        Leaving::HalfClose => {
            client.stream.shutdown(Shutdown::Write).expect("half closed");
            // A response, if there is one, is not a success.
            if let Some(answer) = client.answer(method.name()) {
                assert!(answer.status >= 400, "{leaving:?} {method:?} {framing:?}: {}", answer.status);
            }
        }
    }
}

#[test]
fn clients_that_leave_in_the_middle_of_a_download() {
    let field = Field::new(Patience::Usual);
    let large = vec![7; 20 << 20];
    field.oss.service.put_object(&bucket("photos"), b"large", large);
    for chunked in [false, true] {
        for reset in [false, true] {
            if chunked {
                field.oss.faults.next(1, InjectedFault::Chunked);
            }
            let mut client = Client::connect(field.proxy.address);
            client.send(format!("GET /photos/large HTTP/1.1\r\nHost: {}\r\n\r\n", field.own));
            assert_eq!(client.head().expect("a head").0, 200);
            if reset {
                SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).expect("an option");
            }
            drop(client);
            let good = ask(field.proxy.address, "GET", "/photos/fixed", b"");
            assert!(good.status == 200 && good.body == *DATA, "chunked {chunked}, reset {reset}");
        }
    }
}
