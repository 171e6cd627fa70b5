//! Every combination of method, framing and fault. Nothing is stored truncated, and nothing that
//! was consumed is sent twice. No broken download ends as if it were complete, and no error looks
//! like success. The next request is served.

mod leaving;

use std::io::Write as _;
use std::sync::LazyLock;
use std::time::Duration;

use http::{Request, Version};
use oss_signing_proxy::emulator::{EmulatorThread, InjectedFault};
use oss_signing_proxy::oss::Region;

use crate::support::h2::{Connection, got, over_h2, send};
use crate::support::{Client, Proxy, ask, bucket, oss, proxy};

/// The data of uploads and downloads, larger than all buffers on the way.
static DATA: LazyLock<Vec<u8>> = LazyLock::new(|| (0..400_000u32).map(|n| (n % 251) as u8).collect());

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Get,
    Head,
    Delete,
    Put,
    Append,
}

/// The protocol of the client, and the framing of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length,
    Chunks,
    Http2,
    Http2Length,
}

use Framing::{Chunks, Http2, Http2Length, Length};
use Method::{Append, Delete, Get, Head, Put};

/// The result for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The expected response.
    Served,
    /// A success that is visibly truncated. If that happens at once, the head may be lost with the
    /// connection.
    Broken,
    /// An error with this status.
    Told(u16),
}

use Outcome::{Broken, Served, Told};

/// A case of the matrix.
#[derive(Clone, Debug)]
struct Case {
    method: Method,
    framing: Framing,
    /// Set if the request uses a pooled upstream connection.
    kept: bool,
    fault: InjectedFault,
}

const UPLOADS: [Method; 2] = [Put, Append];

/// Returns all cases in which a request meets this fault.
fn cases(fault: &InjectedFault) -> Vec<Case> {
    let mut cases = Vec::new();
    for kept in [false, true] {
        for method in [Get, Head, Delete, Put, Append] {
            let framings: &[Framing] = if UPLOADS.contains(&method) {
                &[Length, Chunks, Http2, Http2Length]
            } else {
                &[Length, Http2]
            };
            for &framing in framings {
                cases.push(Case { method, framing, kept, fault: fault.clone() });
            }
        }
    }
    cases
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Get => "GET",
            Head => "HEAD",
            Delete => "DELETE",
            Put => "PUT",
            Append => "POST",
        }
    }

    fn target(self, key: &str) -> String {
        let query = if self == Append { "?append&position=0" } else { "" };
        format!("/photos/{key}{query}")
    }

    fn body(self) -> &'static [u8] {
        if UPLOADS.contains(&self) { &DATA } else { b"" }
    }
}

/// A response, as far as it was received.
struct Came {
    status: Option<u16>,
    body: Vec<u8>,
    whole: bool,
}

/// Sends a request over HTTP/1.1, ignoring write errors, and reads the response.
fn over_http1(client: &mut Client, own: &str, method: Method, framing: Framing, key: &str) -> Came {
    let body = method.body();
    let how = match framing {
        _ if body.is_empty() => String::new(),
        Chunks => "Transfer-Encoding: chunked\r\n".to_owned(),
        Length | Http2 | Http2Length => format!("Content-Length: {}\r\n", body.len()),
    };
    let head = format!("{} {} HTTP/1.1\r\nHost: {own}\r\n{how}\r\n", method.name(), method.target(key));
    // An early response may end the connection before everything is written.
    let _ = client.stream.write_all(head.as_bytes());
    if framing == Chunks {
        for chunk in body.chunks(30_000) {
            let _ = client.stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes());
            let _ = client.stream.write_all(chunk);
            let _ = client.stream.write_all(b"\r\n");
        }
        let _ = client.stream.write_all(b"0\r\n\r\n");
    } else {
        let _ = client.stream.write_all(body);
    }
    match client.answer(method.name()) {
        None => Came { status: None, body: Vec::new(), whole: false },
        Some(answer) => Came { status: Some(answer.status), body: answer.body, whole: answer.whole },
    }
}

async fn over_http2(connection: &Connection, own: &str, method: Method, framing: Framing, key: &str) -> Came {
    let body = method.body();
    let mut request = Request::builder().method(method.name()).version(Version::HTTP_2);
    request = request.uri(format!("http://{own}{}", method.target(key)));
    if framing == Http2Length && !body.is_empty() {
        request = request.header("content-length", body.len());
    }
    let request = request.body(()).expect("a request");
    let (response, mut stream) = connection.begin_with(request, body.is_empty()).await;
    let sending = async {
        send(&mut stream, body, true).await;
        std::future::pending::<()>().await
    };
    let answered = tokio::select! {
        answered = response => answered,
        () = sending => unreachable!("it waits"),
    };
    match answered {
        Err(_) => Came { status: None, body: Vec::new(), whole: false },
        Ok(response) => {
            let got = got(response).await;
            let whole = got.reset.is_none() || got.reset == Some(h2::Reason::NO_ERROR);
            Came { status: Some(got.status.as_u16()), body: got.body, whole }
        }
    }
}

/// The timeouts of the proxy for a stalled upstream.
#[derive(Clone, Copy)]
enum Patience {
    /// The defaults: a busy machine must not look like a stalled upstream.
    Usual,
    Little,
}

/// The fixture of the matrix: an emulated OSS and a proxy in front of it.
struct Field {
    oss: EmulatorThread,
    proxy: Proxy,
    own: String,
}

fn start(oss: &EmulatorThread, patience: Patience) -> Proxy {
    proxy(oss.address)
        .sections(match patience {
            Patience::Usual => "",
            Patience::Little => "[timeouts]\nfirst_byte = \"1s\"\nstall = \"1s\"",
        })
        .start()
}

impl Field {
    fn new(patience: Patience) -> Self {
        let oss = oss();
        let proxy = start(&oss, patience);
        oss.service.put_object(&bucket("photos"), b"fixed", DATA.clone());
        let own = proxy.address.to_string();
        Self { oss, proxy, own }
    }

    fn stored(&self, key: &str) -> Option<bytes::Bytes> {
        self.oss.service.object(&bucket("photos"), key.as_bytes())
    }

    /// Runs the case and returns its outcome. Asserts what must hold in every case.
    fn play(&self, case: &Case, key: &str) -> Outcome {
        if !UPLOADS.contains(&case.method) {
            self.oss.service.put_object(&bucket("photos"), key.as_bytes(), DATA.clone());
        }
        self.oss.recorder.clear();
        let came = if matches!(case.framing, Http2 | Http2Length) {
            over_h2(self.proxy.address, async |connection| {
                if case.kept {
                    over_http2(connection, &self.own, Get, Http2, "fixed").await;
                }
                self.oss.faults.next(1, case.fault.clone());
                over_http2(connection, &self.own, case.method, case.framing, key).await
            })
        } else {
            let mut client = Client::connect(self.proxy.address);
            if case.kept {
                over_http1(&mut client, &self.own, Get, Length, "fixed");
            }
            self.oss.faults.next(1, case.fault.clone());
            over_http1(&mut client, &self.own, case.method, case.framing, key)
        };
        self.oss.faults.clear();
        self.check(case, key, &came)
    }

    fn check(&self, case: &Case, key: &str, came: &Came) -> Outcome {
        let outcome = match came.status {
            None => Broken,
            Some(200..=299) if came.whole => Served,
            Some(200..=299) => Broken,
            Some(status) => Told(status),
        };
        let stored = self.stored(key);
        let whole = stored.as_ref().is_some_and(|object| object[..] == DATA[..]);
        assert!(
            whole || stored.is_none(),
            "{case:?}: stored are {:?} bytes",
            stored.map(|object| object.len())
        );
        if outcome == Served {
            match case.method {
                Get => assert!(came.body == *DATA, "{case:?}: {} bytes as if whole", came.body.len()),
                Head => assert!(whole, "{case:?}"),
                Delete => assert!(!whole, "{case:?}: it is still there"),
                Put | Append => assert!(whole, "{case:?}: it is not there"),
            }
        }
        let requests = self.oss.recorder.requests();
        let of_case = requests.iter().filter(|request| request.target.contains(key));
        let consumed = of_case.filter(|request| request.body_bytes > 0).count();
        assert!(consumed <= 1, "{case:?}: a body was sent {consumed} times");
        let good = ask(self.proxy.address, "GET", "/photos/fixed", b"");
        assert!(good.status == 200 && good.whole && good.body == *DATA, "{case:?}: the next request");
        outcome
    }
}

/// Runs every case of each fault. The outcome must be among those that `allowed` returns.
fn play(faults: &[InjectedFault], allowed: impl Fn(&Case) -> Vec<Outcome>) {
    play_with(Patience::Usual, faults, allowed);
}

fn play_with(patience: Patience, faults: &[InjectedFault], allowed: impl Fn(&Case) -> Vec<Outcome>) {
    let mut field = Field::new(patience);
    let mut wrong = Vec::new();
    let mut number = 0;
    for case in faults.iter().flat_map(cases) {
        number += 1;
        // A new proxy has no connections.
        field.proxy = start(&field.oss, patience);
        field.own = field.proxy.address.to_string();
        let outcome = field.play(&case, &format!("case-{number}"));
        if !allowed(&case).contains(&outcome) {
            wrong.push(format!("{case:?} -> {outcome:?}, not {:?}", allowed(&case)));
        }
    }
    assert!(wrong.is_empty(), "{} of {number}:\n{}", wrong.len(), wrong.join("\n"));
}

/// Returns the outcomes for a connection that is lost before its response. A request on a pooled
/// connection may be retried if it is idempotent and none of its body was consumed.
fn lost(case: &Case) -> Vec<Outcome> {
    match (case.kept, case.method) {
        (true, Get | Head | Delete) => vec![Served],
        (true, Put | Append) => vec![Served, Told(502)],
        (false, _) => vec![Told(502)],
    }
}

#[test]
fn connections_that_are_lost_before_the_answer() {
    play(&[InjectedFault::HangUp, InjectedFault::Reset], lost);
    play(&[InjectedFault::CloseReused, InjectedFault::ResetReused], |case| {
        if case.kept { lost(case) } else { vec![Served] }
    });
    // These faults apply to a new connection.
    play(&[InjectedFault::CloseUnread, InjectedFault::ResetUnread], |case| {
        if case.kept { vec![Served] } else { vec![Told(502)] }
    });
}

#[test]
fn answers_that_break_off() {
    let after_bytes = 50_000;
    play(&[InjectedFault::CutBody { after_bytes }, InjectedFault::ShortBody { missing_bytes: 10 }], |case| {
        match case.method {
            Get => vec![Broken],
            Head => vec![Served],
            // The responses to these have no body, but a missing announced body is an error.
            Delete => vec![Served, Told(502)],
            Put | Append if matches!(case.fault, InjectedFault::ShortBody { .. }) => vec![Broken],
            Put | Append => vec![Served],
        }
    });
    play(&[InjectedFault::CutChunks { after_bytes }], |case| match case.method {
        Get => vec![Broken],
        Head | Delete => vec![Served],
        Put | Append => vec![Served, Broken],
    });
    // A reset can discard data that was sent before it.
    let resets = [InjectedFault::ResetBody { after_bytes }, InjectedFault::ResetChunks { after_bytes }];
    play(&resets, |case| {
        let mut all =
            if case.method == Get { vec![Broken, Told(502)] } else { vec![Served, Broken, Told(502)] };
        if case.kept {
            all.push(Served);
        }
        all
    });
}

#[test]
fn answers_that_are_odd_and_whole() {
    play(
        &[
            InjectedFault::CloseAfter,
            InjectedFault::Chunked,
            InjectedFault::Drip { bytes: 100_000, pause: Duration::from_millis(2) },
            InjectedFault::Delay(Duration::from_millis(20)),
        ],
        |_| vec![Served],
    );
}

#[test]
fn upstreams_that_stand_still() {
    let hang_body = |case: &Case| match case.method {
        Get => vec![Broken],
        Head | Delete | Put | Append => vec![Served],
    };
    let stall_upload = |case: &Case| match case.method {
        Put | Append => vec![Told(504)],
        Get | Head | Delete => vec![Served],
    };
    // The cases wait for timeouts, so they run at the same time.
    std::thread::scope(|scope| {
        scope.spawn(|| play_with(Patience::Little, &[InjectedFault::Hang], |_| vec![Told(504)]));
        scope.spawn(|| {
            play_with(Patience::Little, &[InjectedFault::HangBody { after_bytes: 50_000 }], hang_body);
        });
        scope.spawn(|| {
            play_with(Patience::Little, &[InjectedFault::StallUpload { after_bytes: 50_000 }], stall_upload);
        });
    });
}

#[test]
fn refusals() {
    let status = |status| InjectedFault::Status { status, code: "Planted".to_owned() };
    for number in [400, 403, 404, 409, 429, 500, 503] {
        play(&[status(number)], |_| vec![Told(number)]);
    }
    play(&[InjectedFault::RefuseUpload { after_bytes: 50_000 }], |case| match case.method {
        Put | Append => vec![Told(403)],
        Get | Head | Delete => vec![Served],
    });
    let elsewhere = InjectedFault::OtherRegion(Region::parse("cn-beijing").expect("a region"));
    play(
        &[
            InjectedFault::Skew { seconds: 3600 },
            InjectedFault::UnknownKey,
            InjectedFault::WrongSignature,
            elsewhere,
        ],
        |_| vec![Told(403)],
    );
}
