//! The scenarios of the measurement.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::load::{Ask, Client, drive};
use super::origin::Origin;
use super::subject::Subject;

/// A kind of load.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    /// The highest acceptable ratio to nginx, if there is a goal.
    pub(crate) bar: Option<f64>,
    pub(crate) rounds_max: usize,
    kind: Kind,
    tls: bool,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Clients in a closed loop, each with one request at a time.
    Closed { method: &'static str, size: u64 },
    /// Requests per second, independent of the response times.
    Rate { per_second: f64 },
    /// One transfer at a time.
    Bulk { method: &'static str },
    /// One transfer of 5 GiB, to measure memory.
    Huge { method: &'static str },
    /// Idle clients, after one request each.
    Idle { clients: usize },
    /// Clients that all send a request at once.
    Burst { clients: usize },
}

/// The result: the first number is compared, the others are only printed.
pub(crate) struct Measured {
    pub(crate) cost: f64,
    pub(crate) rest: Vec<(&'static str, f64)>,
}

const CLIENTS: usize = 32;
const GIB: u64 = 1 << 30;

impl Scenario {
    pub(crate) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for tls in [false, true] {
            let side = if tls { "tls" } else { "plain" };
            let mut add = |name: &str, unit, kind, bar, rounds_max| {
                all.push(Self { name: format!("{name}-{side}"), unit, bar, rounds_max, kind, tls });
            };
            for (size, text) in [(1 << 10, "1k"), (64 << 10, "64k")] {
                for method in ["GET", "PUT"] {
                    let bar = match (size, tls) {
                        (1024, false) => Some(1.10),
                        (1024, true) => Some(0.90),
                        _ => None,
                    };
                    let name = format!("{}-{text}", method.to_lowercase());
                    add(&name, "us CPU/request", Kind::Closed { method, size }, bar, usize::MAX);
                }
            }
            for (method, bar) in
                [("GET", if tls { 1.05 } else { 0.95 }), ("PUT", if tls { 0.75 } else { 0.90 })]
            {
                let name = format!("{}-1g", method.to_lowercase());
                add(&name, "ms CPU/GiB", Kind::Bulk { method }, Some(bar), usize::MAX);
            }
            for method in ["GET", "PUT"] {
                let name = format!("{}-5g", method.to_lowercase());
                add(&name, "MiB resident at most, bar 64 MiB", Kind::Huge { method }, None, 1);
            }
            if !tls {
                add("rate-4000", "us p99", Kind::Rate { per_second: 4000.0 }, Some(1.2), usize::MAX);
            }
        }
        // These are last, because processes keep the memory that they allocate for them.
        for (name, unit, kind) in [
            ("idle-2000-plain", "KiB PSS/client, bar 20 KiB", Kind::Idle { clients: 2000 }),
            ("idle-8000-plain", "KiB PSS/client, bar 20 KiB", Kind::Idle { clients: 8000 }),
            ("burst-2000-plain", "upstream connections opened", Kind::Burst { clients: 2000 }),
        ] {
            all.push(Self { name: name.to_owned(), unit, bar: None, rounds_max: 1, kind, tls: false });
        }
        all
    }

    /// Runs the scenario once. `None` if it does not apply to this subject.
    pub(crate) fn run(&self, subject: &Subject, origin: &Origin, seconds: f64) -> Option<Measured> {
        if !subject.takes_part_in(&self.name) {
            return None;
        }
        let is_ours = subject.is_ours();
        let to = if self.tls && !is_ours { subject.tls } else { subject.plain };
        let bucket = if self.tls { "tls-bucket" } else { "bucket" };
        let before = subject.process.cpu_ns();
        Some(match self.kind {
            Kind::Closed { method, size } => {
                let asks = subject.requests(method, bucket, size);
                let seen = drive(to, &asks, CLIENTS, seconds, None);
                let cpu = subject.process.cpu_ns() - before;
                Measured {
                    cost: cpu as f64 / 1e3 / (seen.requests + CLIENTS as u64) as f64,
                    rest: vec![
                        ("requests/s", seen.requests as f64 / seen.seconds),
                        ("p50 us", seen.percentile_us(50.0)),
                        ("p99 us", seen.percentile_us(99.0)),
                    ],
                }
            }
            Kind::Rate { per_second } => {
                let asks = subject.requests("GET", bucket, 1024);
                let seen = drive(to, &asks, CLIENTS, seconds, Some(per_second));
                let cpu = subject.process.cpu_ns() - before;
                Measured {
                    cost: seen.percentile_us(99.0),
                    rest: vec![
                        ("requests/s", seen.requests as f64 / seen.seconds),
                        ("p50 us", seen.percentile_us(50.0)),
                        ("us CPU/request", cpu as f64 / 1e3 / seen.requests as f64),
                    ],
                }
            }
            Kind::Bulk { method } => {
                let begun = Instant::now();
                let mut client = Client::connect(to).expect("connected");
                client
                    .send(&Ask::new(method, bucket, GIB))
                    .and_then(|()| client.answer())
                    .expect("an answer");
                let cpu = subject.process.cpu_ns() - before;
                let rate = 1024.0 / begun.elapsed().as_secs_f64();
                Measured { cost: cpu as f64 / 1e6, rest: vec![("MiB/s", rate), peak(subject)] }
            }
            Kind::Huge { .. } if !is_ours => return None,
            Kind::Huge { method } => {
                subject.process.forget_peak();
                let begun = Instant::now();
                let mut client = Client::connect(to).expect("connected");
                client
                    .send(&Ask::new(method, bucket, 5 * GIB))
                    .and_then(|()| client.answer())
                    .expect("an answer");
                let rate = 5.0 * 1024.0 / begun.elapsed().as_secs_f64();
                Measured { cost: peak(subject).1, rest: vec![("MiB/s", rate)] }
            }
            Kind::Idle { clients } => idle(subject, to, clients),
            Kind::Burst { clients } => burst(subject, to, clients, origin),
        })
    }
}

fn peak(subject: &Subject) -> (&'static str, f64) {
    ("peak MiB", subject.process.peak_kib() as f64 / 1024.0)
}

fn idle(subject: &Subject, to: SocketAddr, clients: usize) -> Measured {
    let ask = Ask::new("GET", "bucket", 1024);
    let before = subject.process.pss_kib();
    let mut all = Vec::with_capacity(clients);
    for _ in 0..clients {
        let mut client = Client::small(to).expect("connected");
        client.send(&ask).and_then(|()| client.answer()).expect("an answer");
        all.push(client);
    }
    thread::sleep(Duration::from_millis(500));
    let grown = subject.process.pss_kib().saturating_sub(before);
    Measured {
        cost: grown as f64 / clients as f64,
        rest: vec![("RSS MiB", subject.process.rss_kib() as f64 / 1024.0)],
    }
}

fn burst(subject: &Subject, to: SocketAddr, clients: usize, origin: &Origin) -> Measured {
    let ask = Ask::new("GET", "bucket", 64 << 10);
    let mut all: Vec<Client> = (0..clients).map(|_| Client::small(to).expect("connected")).collect();
    let before = origin.count_anew();
    let begun = Instant::now();
    for client in &mut all {
        client.send(&ask).expect("sent");
    }
    let refused = all.iter_mut().filter_map(|client| client.answer().err()).count();
    Measured {
        cost: (origin.most() - before) as f64,
        rest: vec![
            ("refused", refused as f64),
            ("s until all are answered", begun.elapsed().as_secs_f64()),
            peak(subject),
        ],
    }
}
