//! Reloads of many callers under load: the time of each, and the requests that fail meanwhile.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use super::callers;
use super::load::{Ask, Client};
use super::origin::Origin;
use super::subject::Subject;

/// The counts of all clients.
#[derive(Default)]
struct LoadCounts {
    requests: AtomicU64,
    failed: AtomicU64,
    slowest_us: AtomicU64,
    /// Set at the end.
    stop: AtomicBool,
}

/// Reloads the callers of the program under load, and prints the results.
pub(crate) fn run(proxy: &Path, folder: &Path) {
    let origin = Origin::start(folder);
    let subject = Subject::start("reloading", folder, &origin, proxy);
    let counts = LoadCounts::default();
    let asks = subject.requests("GET", "bucket", 1024);
    let rss_mib = || subject.process.rss_kib() as f64 / 1024.0;
    let resident = rss_mib();
    println!("{} callers, {RATE} requests/s, bars 300 ms and 0 failed\n", subject.callers);
    println!("{:>6} {:>10} {:>9} {:>7} {:>11}", "reload", "ms", "requests", "failed", "slowest ms");
    thread::scope(|scope| {
        for index in 0..CLIENTS {
            let (asks, counts) = (asks.iter().cycle().skip(index).step_by(CLIENTS), &counts);
            scope.spawn(move || send_all(subject.plain, asks, counts));
        }
        let reloaded = (1..=ROUNDS).try_for_each(|round| print_round(round, &subject, folder, &counts));
        counts.stop.store(true, Relaxed);
        reloaded.expect("reloaded");
    });
    println!("\n{resident:.1} MiB resident before, {:.1} MiB after", rss_mib());
}

/// Replaces the secrets of half of the callers, reloads, and prints what happened since the round
/// before.
fn print_round(round: usize, subject: &Subject, folder: &Path, counts: &LoadCounts) -> io::Result<()> {
    thread::sleep(BETWEEN);
    let (path, draft) = (folder.join("reloading.conf"), folder.join("reloading.new"));
    let text = fs::read_to_string(&path)?;
    let (settings, _) = text.split_once("[[caller]]").ok_or(io::ErrorKind::InvalidData)?;
    fs::write(&draft, format!("{settings}{}", callers::sections(subject.callers, round)))?;
    fs::rename(draft, path)?;
    let begun = Instant::now();
    reload(subject.admin.ok_or(io::ErrorKind::AddrNotAvailable)?)?;
    let took_ms = begun.elapsed().as_secs_f64() * 1e3;
    thread::sleep(BETWEEN);
    let [requests, failed, slowest_us] =
        [&counts.requests, &counts.failed, &counts.slowest_us].map(|count| count.swap(0, Relaxed));
    let slowest_ms = slowest_us as f64 / 1e3;
    println!("{round:>6} {took_ms:>10.1} {requests:>9} {failed:>7} {slowest_ms:>11.1}");
    Ok(())
}

/// Requests a reload, and waits until it is done.
fn reload(admin: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(admin)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    write!(stream, "POST /-/reload HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(io::Error::other(answer)) }
}

/// Sends requests at a fixed rate until the end. Connects again from time to time, so that some
/// requests begin with a connection.
fn send_all<'a>(to: SocketAddr, asks: impl Iterator<Item = &'a Ask>, counts: &LoadCounts) {
    let begun = Instant::now();
    let mut client = None;
    for (turn, ask) in (0_u32..).zip(asks) {
        thread::sleep((INTERVAL * turn).saturating_sub(begun.elapsed()));
        if counts.stop.load(Relaxed) {
            return;
        }
        let sent = Instant::now();
        let known = client.take().filter(|_| turn % REQUESTS_PER_CONNECTION != 0);
        let answered = known.map_or_else(|| Client::connect(to), Ok).and_then(|mut client| {
            client.send(ask)?;
            client.answer()?;
            Ok(client)
        });
        counts.requests.fetch_add(1, Relaxed);
        counts.slowest_us.fetch_max(u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX), Relaxed);
        match answered {
            Ok(answered) => client = Some(answered),
            Err(error) => {
                counts.failed.fetch_add(1, Relaxed);
                println!("a request failed: {error}");
            }
        }
    }
}

const ROUNDS: usize = 10;
const CLIENTS: usize = 32;
/// The rate of all clients together, in requests per second.
const RATE: u32 = 1000;
/// The interval between two requests of a client.
const INTERVAL: Duration = Duration::from_millis(CLIENTS as u64 * 1000 / RATE as u64);
const REQUESTS_PER_CONNECTION: u32 = 50;
/// The time before a reload, and again after it.
const BETWEEN: Duration = Duration::from_millis(500);
