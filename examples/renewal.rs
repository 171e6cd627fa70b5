//! Sends requests at a fixed rate while the credentials expire every few seconds. The credential
//! issuers fail every second time, then are slow, then are down for a while. No request may fail
//! while a key is valid, and all must succeed soon after the issuers are back.
//!
//! ```text
//! cargo run --release --example renewal             # a minute
//! cargo run --example renewal -- --short            # half of it
//! ```

use std::error::Error;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use oss_signing_proxy::app::{App, SystemEnv};
use oss_signing_proxy::app::{DrainSignal, ListenAddress};
use oss_signing_proxy::config::{ConfigFile, ProxyConfig};
use oss_signing_proxy::emulator::issuer::{CredentialIssuer, IssuerFault};
use oss_signing_proxy::emulator::{EmulatedAccount, Emulator, EmulatorSettings, EmulatorThread};
use oss_signing_proxy::oss::{Bucket, Region};
use oss_signing_proxy::time::Clock as _;
use tokio::task::LocalSet;

const ROLE: &str = "acs:ram::1234567890123456:role/app";
/// Requests per second, by all [`CLIENTS`] together.
const RATE: u32 = 200;
const CLIENTS: u32 = 8;
/// A key is not used in its last second, and clocks count whole seconds.
const HARD: Duration = Duration::from_secs(2);
/// The time after the return of the issuers within which requests may still fail.
const RECOVERY: Duration = Duration::from_secs(5);

/// The schedule of the run.
#[derive(Clone, Copy)]
struct Plan {
    total: Duration,
    life: Duration,
    /// The times at which the issuers become slow, go down, and are back.
    slow: Duration,
    dead: Duration,
    back: Duration,
}

/// A request: the bucket, which selects the provider, the times, and the response.
struct Outcome {
    bucket: &'static str,
    begun: Duration,
    ended: Duration,
    status: u16,
    retry_after: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let s = Duration::from_secs;
    let plan = if std::env::args().any(|argument| argument == "--short") {
        Plan { total: s(30), life: s(9), slow: s(8), dead: s(13), back: s(22) }
    } else {
        Plan { total: s(60), life: s(20), slow: s(15), dead: s(30), back: s(45) }
    };
    let settings = EmulatorSettings::new(Region::parse("cn-hangzhou")?, Arc::new(SystemEnv))
        .account(EmulatedAccount::pair("LTAIbase", "base-secret"))
        .bucket(Bucket::parse("role")?)
        .bucket(Bucket::parse("instance")?);
    let oss = Emulator::spawn(([127, 0, 0, 1], 0).into(), settings)?;
    let sts = CredentialIssuer::spawn(([127, 0, 0, 1], 0).into(), oss.service.clone())?;
    sts.role(ROLE, None);
    let metadata = CredentialIssuer::spawn(([127, 0, 0, 1], 0).into(), oss.service.clone())?;
    metadata.instance("app", Some(true));
    for issuer in [&sts, &metadata] {
        issuer.set_lifetime(plan.life);
    }
    let (address, drain) = serve(&oss, &sts, &metadata)?;
    let begun = Instant::now();
    let clients: Vec<_> =
        (0..CLIENTS).map(|n| thread::spawn(move || client(address, n, begun, plan))).collect();
    let all = |trouble: IssuerFault| [&sts, &metadata].map(|issuer| issuer.set_fault(trouble));
    let until = |at: Duration| thread::sleep((begun + at).saturating_duration_since(Instant::now()));
    all(IssuerFault { every_second: true, ..IssuerFault::default() });
    until(plan.slow);
    all(IssuerFault { delay: Duration::from_millis(700), ..IssuerFault::default() });
    until(plan.dead);
    all(IssuerFault { dead: true, ..IssuerFault::default() });
    until(plan.back);
    // The keys issued last are valid until then.
    let now = SystemEnv.now().unix_s();
    let good_until = [&sts, &metadata].map(|issuer| {
        // The expiry may be in the past.
        let ends = issuer.last_ends().map_or(0, |end| end.unix_s());
        let left = Duration::from_secs(u64::try_from(ends - now).unwrap_or(0));
        let ago = Duration::from_secs(u64::try_from(now - ends).unwrap_or(0));
        (begun.elapsed() + left).saturating_sub(ago)
    });
    all(IssuerFault::default());
    let mut outcomes = Vec::new();
    for client in clients {
        outcomes.extend(client.join().map_err(|_| "a client has panicked")?);
    }
    drain.leave();
    let mut good = true;
    for (bucket, issuer, good_until) in
        [("role", &sts, good_until[0]), ("instance", &metadata, good_until[1])]
    {
        good &= judge(bucket, issuer, &outcomes, (plan, good_until))?;
    }
    if good { Ok(()) } else { Err("it failed".into()) }
}

/// Starts a proxy. A role signs for one bucket, an instance for the other.
fn serve(
    oss: &EmulatorThread,
    sts: &CredentialIssuer,
    metadata: &CredentialIssuer,
) -> Result<(SocketAddr, DrainSignal), Box<dyn Error>> {
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"off\"\n[upstream]\nregion = \"cn-hangzhou\"\n\
         endpoint = \"http://oss-cn-hangzhou.aliyuncs.com\"\nconnect = \"{}\"\n\
         [[route]]\nmatch = {{ bucket = \"instance\" }}\ncredentials = \"instance\"\n\
         [credentials.default]\ntype = \"assume_role\"\nsource = \"base\"\nrole_arn = \"{ROLE}\"\nsts_endpoint = \"http://{}\"\n\
         [credentials.base]\ntype = \"static\"\naccess_key_id = \"LTAIbase\"\naccess_key_secret = \"base-secret\"\n\
         [credentials.instance]\ntype = \"ecs\"\nendpoint = \"http://{}\"\n[log]\naccess = false\n",
        oss.address, sts.address, metadata.address
    );
    let config =
        ProxyConfig::load(Some(ConfigFile { path: Path::new("renewal"), text: &text }), &[], &SystemEnv)?;
    let drain = DrainSignal::new();
    let seen = drain.clone();
    let (ready, started) = mpsc::channel();
    thread::spawn(move || -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        LocalSet::new().block_on(&runtime, async {
            let app = App::assemble(config, Arc::new(SystemEnv)).await.map_err(|error| error.to_string())?;
            // If the receiver is gone, the address is not needed.
            let _ = ready.send(app.addresses().iter().find_map(ListenAddress::socket));
            app.run(seen).await.map(|_| ()).map_err(|error| error.to_string())
        })
    });
    Ok((started.recv()?.ok_or("no port")?, drain))
}

/// Sends its share of the rate. A slow request does not delay the next ones: overdue requests are
/// sent at once.
fn client(address: SocketAddr, number: u32, begun: Instant, plan: Plan) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let mut connection: Option<BufReader<TcpStream>> = None;
    let every = Duration::from_secs(1) * CLIENTS / RATE;
    let mut at = every * number / CLIENTS;
    while at < plan.total {
        thread::sleep((begun + at).saturating_duration_since(Instant::now()));
        let bucket = if outcomes.len() % 2 == 0 { "role" } else { "instance" };
        let before = begun.elapsed();
        let answered = exchange(&mut connection, address, bucket);
        let (status, retry_after) = answered.unwrap_or_else(|_| {
            connection = None;
            (0, false)
        });
        outcomes.push(Outcome { bucket, begun: before, ended: begun.elapsed(), status, retry_after });
        at = (at + every).max(begun.elapsed().saturating_sub(every));
    }
    outcomes
}

fn exchange(
    connection: &mut Option<BufReader<TcpStream>>,
    address: SocketAddr,
    bucket: &str,
) -> io::Result<(u16, bool)> {
    let mut stream = match connection.take() {
        Some(stream) => stream,
        None => BufReader::new(TcpStream::connect(address)?),
    };
    stream
        .get_mut()
        .write_all(format!("GET /{bucket}?max-keys=1 HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let (mut status, mut length, mut retry_after) = (0, 0_usize, false);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(rest) = line.strip_prefix("http/1.1 ") {
            status = rest.get(..3).and_then(|digits| digits.parse().ok()).unwrap_or(0);
        } else if let Some(digits) = line.strip_prefix("content-length:") {
            length = digits.trim().parse().unwrap_or(0);
        } else if line.starts_with("retry-after:") {
            retry_after = true;
        } else if line.is_empty() {
            break;
        }
    }
    stream.read_exact(&mut vec![0; length])?;
    *connection = Some(stream);
    Ok((status, retry_after))
}

/// Prints a summary of the requests of a bucket, and returns whether it is acceptable.
fn judge(
    bucket: &str,
    issuer: &CredentialIssuer,
    outcomes: &[Outcome],
    (plan, good_until): (Plan, Duration),
) -> io::Result<bool> {
    let ours: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.bucket == bucket).collect();
    let failed: Vec<&&Outcome> = ours.iter().filter(|outcome| outcome.status != 200).collect();
    let first_bad = failed.iter().map(|outcome| outcome.ended).min();
    let earliest = good_until.saturating_sub(HARD);
    let latest = plan.back + RECOVERY;
    let wrong: Vec<_> = failed
        .iter()
        .filter(|outcome| {
            let in_the_gap = outcome.ended >= earliest && outcome.begun <= latest;
            outcome.status != 503 || !outcome.retry_after || !in_the_gap
        })
        .collect();
    let late = failed.iter().map(|outcome| outcome.ended).max().map(|last| last.saturating_sub(plan.back));
    let calls = issuer.calls().len();
    let budget = 40 + 20 * usize::try_from(plan.total.as_secs()).unwrap_or(0);
    let at_once = issuer.in_flight_max();
    let good = wrong.is_empty() && calls <= budget && at_once <= 1;
    writeln!(
        io::stdout(),
        "{bucket:9} {} requests, {} answered 503 while no key was good (one was until {good_until:.1?}; from {first_bad:.1?} on, until {late:.1?} after the return), \
         {} failed otherwise; {calls} calls (budget {budget}), {at_once} at once at most: {}",
        ours.len(),
        failed.len() - wrong.len(),
        wrong.len(),
        if good { "good" } else { "NOT GOOD" }
    )?;
    for outcome in wrong.iter().take(5) {
        writeln!(io::stdout(), "  {} at {:?}", outcome.status, outcome.begun)?;
    }
    Ok(good)
}
