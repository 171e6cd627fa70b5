//! `demo`: runs the proxy against an emulated OSS, step by step, and then leaves both to the user.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args as ClapArgs;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::{JoinError, spawn_local};

use super::emulate::{SAMPLE_ID, SAMPLE_SECRET};
use super::exit::CommandExit;
use super::output::{coloured, complain, line};
use super::serve::{block_on, signals};
use crate::app::StartError;
use crate::app::lifecycle::App;
use crate::app::system_env::SystemEnv;
use crate::config::{ConfigErrors, ConfigFile, ProxyConfig};
use crate::emulator::{EmulatedAccount, Emulator, EmulatorSettings};
use crate::oss::{Bucket, InvalidBucket, InvalidRegion, Region};
use crate::server::{DrainOutcome, DrainSignal, ListenAddress};

#[derive(ClapArgs)]
pub(super) struct DemoArgs {
    /// Exit after the tour; the exit code is 0 if every step had the expected result
    #[arg(long)]
    exit: bool,
}

pub(super) fn run(arguments: &DemoArgs) -> CommandExit {
    block_on(async {
        match demo(arguments).await {
            Ok(exit) => exit,
            Err(error) => {
                complain(format_args!("the demo failed: {error}"));
                CommandExit::Failure
            }
        }
    })
}

/// A failure that stops the demo.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    /// A socket or a signal handler cannot be set up, or serving failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The configuration of the demo is invalid.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The proxy cannot start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The proxy listens on no TCP address.
    #[error("no TCP listener")]
    NoListener,
    /// The task that serves panicked.
    #[error(transparent)]
    Serve(#[from] JoinError),
    /// The region of the demo is invalid.
    #[error(transparent)]
    Region(#[from] InvalidRegion),
    /// The bucket of the demo is invalid.
    #[error(transparent)]
    Bucket(#[from] InvalidBucket),
}

async fn demo(arguments: &DemoArgs) -> Result<CommandExit, DemoError> {
    let oss = start_oss().await?;
    let app = start_proxy(oss.local_addr()).await?;
    let listener = app.addresses().first().and_then(ListenAddress::socket);
    let proxy = listener.ok_or(DemoError::NoListener)?;
    let oss_address = oss.local_addr();
    let drain = DrainSignal::new();
    signals(drain.clone())?;
    let serving = spawn_local(app.run(drain.clone()));

    line(format_args!("In-memory OSS       http://{oss_address}  (bucket {BUCKET})"));
    line(format_args!("Proxy               http://{proxy}  (only the proxy has the keys)"));
    line("");
    let whole = tour(oss_address, proxy).await;
    if arguments.exit || !whole {
        drain.leave();
    } else {
        invite(proxy);
    }
    let drained = serving.await??;
    oss.shutdown().await;
    Ok(if whole && drained == DrainOutcome::Whole { CommandExit::Ok } else { CommandExit::Failure })
}

/// Starts the emulated OSS on the default port, or on a free one.
async fn start_oss() -> Result<Emulator, DemoError> {
    let settings = || -> Result<EmulatorSettings, DemoError> {
        let settings = EmulatorSettings::new(Region::parse(REGION)?, Arc::new(SystemEnv));
        Ok(settings.account(EmulatedAccount::pair(SAMPLE_ID, SAMPLE_SECRET)).bucket(Bucket::parse(BUCKET)?))
    };
    match Emulator::bind(SocketAddr::from(([127, 0, 0, 1], 8780)), settings()?).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Ok(Emulator::bind(SocketAddr::from(([127, 0, 0, 1], 0)), settings()?).await?)
        }
        other => Ok(other?),
    }
}

/// Starts the proxy on the default ports, or on free ones.
async fn start_proxy(oss: SocketAddr) -> Result<App, DemoError> {
    let assemble = async |listen: &str, admin: &str| {
        let text = configuration(oss, listen, admin);
        let file = ConfigFile { path: std::path::Path::new("demo"), text: &text };
        let config = ProxyConfig::load(Some(file), &[], &SystemEnv)?;
        Ok::<_, DemoError>(App::assemble(config, Arc::new(SystemEnv)).await)
    };
    match assemble("127.0.0.1:8770", "127.0.0.1:8771").await? {
        Err(error) if error.is_in_use() => Ok(assemble("127.0.0.1:0", "127.0.0.1:0").await??),
        other => Ok(other?),
    }
}

/// Returns the configuration as a user would write it. Only `connect` differs; it points to the
/// emulated OSS.
fn configuration(oss: SocketAddr, listen: &str, admin: &str) -> String {
    format!(
        r#"
[[listen]]
address = "{listen}"
[admin]
address = "{admin}"
[upstream]
region = "{REGION}"
endpoint = "http://oss-{REGION}.aliyuncs.com"
connect = "{oss}"
[credentials.default]
type = "static"
access_key_id = "{SAMPLE_ID}"
access_key_secret = "{SAMPLE_SECRET}"
"#
    )
}

/// Demonstrates the proxy. Returns whether every step had the expected result.
async fn tour(oss: SocketAddr, proxy: SocketAddr) -> bool {
    let direct = format!("{BUCKET}.oss-{REGION}.aliyuncs.com");
    let put = ask(oss, &direct, Method::PUT, &format!("/{KEY}"), TEXT).await;
    let mut whole = step("unsigned PUT directly to OSS", "rejected", &put, |status, body| {
        status == StatusCode::FORBIDDEN && body.contains("AccessDenied")
    });
    let own = proxy.to_string();
    let object = format!("/{BUCKET}/{KEY}");
    let put = ask(proxy, &own, Method::PUT, &object, TEXT).await;
    whole &= step("the same PUT through the proxy", "stored", &put, |status, _| status == StatusCode::OK);
    let get = ask(proxy, &own, Method::GET, &object, "").await;
    whole &= step("GET through the proxy", "the same bytes", &get, |_, body| body == TEXT);
    let list = ask(proxy, &own, Method::GET, &format!("/{BUCKET}?list-type=2"), "").await;
    whole &= step("list through the proxy", "the key is listed", &list, |_, body| {
        body.contains("<KeyCount>1</KeyCount>") && body.contains("hello, world.txt")
    });
    whole
}

/// A response, read completely.
struct DemoReply {
    status: StatusCode,
    body: String,
}

/// A failure to get a response.
#[derive(Debug, thiserror::Error)]
enum ExchangeError {
    /// No connection could be made.
    #[error(transparent)]
    Connect(#[from] io::Error),
    /// The request could not be built.
    #[error(transparent)]
    Build(#[from] http::Error),
    /// The request or the response was lost.
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

/// Prints one step, and returns whether its result was as expected.
fn step(
    what: &str,
    expected: &str,
    response: &Result<DemoReply, ExchangeError>,
    as_expected: impl Fn(StatusCode, &str) -> bool,
) -> bool {
    let (good, shown) = match response {
        Ok(DemoReply { status, body }) => (as_expected(*status, body), status.to_string()),
        Err(error) => (false, error.to_string()),
    };
    let verdict = if good { coloured("ok", 32) } else { coloured("NOT AS EXPECTED", 31) };
    line(format_args!("{what:32} {shown:16} {expected:18} {verdict}"));
    good
}

async fn ask(
    to: SocketAddr,
    host: &str,
    method: Method,
    target: &str,
    body: &'static str,
) -> Result<DemoReply, ExchangeError> {
    let stream = TcpStream::connect(to).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = spawn_local(connection);
    let request = Request::builder().method(method).uri(target).header("host", host);
    let response = sender.send_request(request.body(Full::<Bytes>::from(body))?).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    connection.abort();
    Ok(DemoReply { status, body: String::from_utf8_lossy(&body).into_owned() })
}

/// Prints commands for the user to try.
fn invite(proxy: SocketAddr) {
    line("");
    line("Try it, without any keys:");
    line(format_args!("  curl -T LICENSE http://{proxy}/{BUCKET}/LICENSE"));
    line(format_args!("  curl http://{proxy}/{BUCKET}/LICENSE"));
    line(format_args!("  curl 'http://{proxy}/{BUCKET}?list-type=2'"));
    line(format_args!(
        "  http_proxy=http://{proxy} wget -qO- http://{BUCKET}.oss-{REGION}.aliyuncs.com/LICENSE"
    ));
    line("");
    line("Press Ctrl-C to stop.");
}

const REGION: &str = "cn-hangzhou";
const BUCKET: &str = "demo-bucket";
/// A key that careless signers encode wrongly.
const KEY: &str = "hello,%20world.txt";
const TEXT: &str = "Signed by the proxy, not by the client.\n";
