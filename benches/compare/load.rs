//! Load generator: any number of clients, each with one persistent connection, in a closed loop or
//! at a fixed rate.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::callers;

/// A serialized request.
pub(crate) struct Ask {
    head: Vec<u8>,
    body_bytes: u64,
}

impl Ask {
    /// Serializes a request without a signature.
    pub(crate) fn new(method: &str, bucket: &str, size: u64) -> Self {
        Self::with_lines(method, bucket, size, "")
    }

    /// Serializes requests that are signed now, one for each of the first callers.
    pub(crate) fn signed(method: &str, bucket: &str, size: u64, callers: usize) -> Vec<Self> {
        let lines = |caller| callers::signature_lines(method, bucket, &format!("k/{size}"), caller);
        (0..callers).map(|caller| Self::with_lines(method, bucket, size, &lines(caller))).collect()
    }

    fn with_lines(method: &str, bucket: &str, size: u64, lines: &str) -> Self {
        let body_bytes = if method == "PUT" { size } else { 0 };
        let length = if method == "PUT" { format!("Content-Length: {size}\r\n") } else { String::new() };
        let head = format!(
            "{method} /{bucket}/k/{size} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\n{length}{lines}\r\n"
        );
        let mut head = head.into_bytes();
        // A small body is sent together with the head.
        let first = body_bytes.min(64 << 10);
        head.resize(head.len() + first as usize, b'x');
        Self { head, body_bytes: body_bytes - first }
    }
}

/// A client connection.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

static BYTES: [u8; 1 << 20] = [b'x'; 1 << 20];

impl Client {
    pub(crate) fn connect(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self { stream, buffer: vec![0; 256 << 10] })
    }

    /// Connects with a small buffer, for clients with little traffic.
    pub(crate) fn small(to: SocketAddr) -> io::Result<Self> {
        Ok(Self { buffer: vec![0; 4096], ..Self::connect(to)? })
    }

    pub(crate) fn send(&mut self, ask: &Ask) -> io::Result<()> {
        self.stream.write_all(&ask.head)?;
        let mut left = ask.body_bytes;
        while left > 0 {
            let piece = left.min(BYTES.len() as u64) as usize;
            self.stream.write_all(&BYTES[..piece])?;
            left -= piece as u64;
        }
        Ok(())
    }

    /// Reads a response, which must be complete and have status 200.
    pub(crate) fn answer(&mut self) -> io::Result<()> {
        let mut filled = 0;
        let (mut left, status_ok) = loop {
            filled += some(self.stream.read(&mut self.buffer[filled..])?)?;
            let head = &self.buffer[..filled];
            let Some(end) = head.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
            let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: u64 = length.and_then(|value| value.trim().parse().ok()).unwrap_or(0);
            break (length - (filled - end - 4) as u64, text.starts_with("http/1.1 200"));
        };
        while left > 0 {
            let room = (self.buffer.len() as u64).min(left) as usize;
            left -= some(self.stream.read(&mut self.buffer[..room])?)? as u64;
        }
        if status_ok {
            Ok(())
        } else {
            Err(io::Error::other(String::from_utf8_lossy(&self.buffer[..filled])))
        }
    }
}

fn some(count: usize) -> io::Result<usize> {
    if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(count) }
}

/// The results of all clients.
pub(crate) struct Seen {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    /// Latencies from the time at which each request was due, in microseconds, sorted.
    pub(crate) latencies_us: Vec<u32>,
}

impl Seen {
    pub(crate) fn percentile_us(&self, percent: f64) -> f64 {
        let at = (self.latencies_us.len() as f64 * percent / 100.0) as usize;
        self.latencies_us
            .get(at.min(self.latencies_us.len().saturating_sub(1)))
            .copied()
            .map_or(0.0, f64::from)
    }
}

/// Runs the clients for `seconds`. Each sends its next request after the previous response, or,
/// with a total `rate`, when it is due. The requests are spread over the clients.
pub(crate) fn drive(to: SocketAddr, asks: &[Ask], clients: usize, seconds: f64, rate: Option<f64>) -> Seen {
    let connected: Vec<Client> = (0..clients)
        .map(|index| {
            let mut client = Client::connect(to).expect("connected");
            // The first request also opens the upstream connection.
            client.send(&asks[index % asks.len()]).and_then(|()| client.answer()).expect("an answer");
            client
        })
        .collect();
    let begun = Instant::now();
    let until = begun + Duration::from_secs_f64(seconds);
    let all: Vec<Vec<u32>> = thread::scope(|scope| {
        let started: Vec<_> = connected
            .into_iter()
            .enumerate()
            .map(|(index, client)| {
                let asks = asks.iter().cycle().skip(index).step_by(clients);
                scope
                    .spawn(move || one(client, asks, (begun, until), rate.map(|rate| (index, clients, rate))))
            })
            .collect();
        started.into_iter().map(|client| client.join().expect("a client")).collect()
    });
    let seconds = begun.elapsed().as_secs_f64();
    let mut latencies_us: Vec<u32> = all.into_iter().flatten().collect();
    latencies_us.sort_unstable();
    Seen { requests: latencies_us.len() as u64, seconds, latencies_us }
}

fn one<'a>(
    mut client: Client,
    asks: impl Iterator<Item = &'a Ask>,
    (begun, until): (Instant, Instant),
    rate: Option<(usize, usize, f64)>,
) -> Vec<u32> {
    let mut latencies = Vec::new();
    for (turn, ask) in (0_u32..).zip(asks) {
        let due = match rate {
            None => Instant::now(),
            Some((index, clients, rate)) => {
                let number = index as f64 + f64::from(turn) * clients as f64;
                begun + Duration::from_secs_f64(number / rate)
            }
        };
        if due >= until {
            break;
        }
        thread::sleep(due.saturating_duration_since(Instant::now()));
        client.send(ask).and_then(|()| client.answer()).expect("an answer");
        latencies.push(u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    latencies
}
