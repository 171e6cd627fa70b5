//! `wait`: asks the admin listener of a proxy until it says that it is ready. With `--timeout 0s` it is a probe.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::Args as ClapArgs;
use http::header::HOST;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until, timeout};

use super::exit::Exit;
use super::flags::Flags;
use super::output::complain;
use super::serve::block_on;
use crate::config::parse_wait;
use crate::server::Address;

#[derive(ClapArgs)]
pub(super) struct Args {
    /// How long to wait; 0s looks once
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_wait)]
    timeout: Duration,
    #[command(flatten)]
    flags: Flags,
}

/// Why a proxy does not count as ready.
#[derive(Debug, thiserror::Error)]
enum NotReady {
    #[error("nobody answers: {0}")]
    Nobody(#[from] io::Error),
    #[error("the answer breaks off: {0}")]
    Broken(#[from] hyper::Error),
    #[error("there is no answer within {}s", LOOK_WITHIN.as_secs())]
    Late,
    #[error("it says {0}: {1}")]
    Says(StatusCode, String),
}

pub(super) fn run(arguments: &Args) -> Exit {
    let admin = match arguments.flags.read_admin() {
        Ok(admin) => admin,
        Err(errors) => {
            complain(errors);
            return Exit::Config;
        }
    };
    let Some(admin) = admin else {
        complain(
            "the admin listener is off, so nobody says when the proxy is ready; set address in [admin], or --admin-listen",
        );
        return Exit::Config;
    };
    if admin.address.socket().is_some_and(|address| address.port() == 0) {
        complain(
            "the admin listener is on a free port, which nobody but the proxy knows; choose one in [admin]",
        );
        return Exit::Config;
    }
    block_on(wait(&admin.address, arguments.timeout))
}

async fn wait(address: &Address, patience: Duration) -> Exit {
    let until = Instant::now() + patience;
    loop {
        let Err(reason) = look(address).await else { return Exit::Ok };
        let now = Instant::now();
        if now >= until {
            complain(format_args!("{address} is not ready: {reason}"));
            return Exit::Unavailable;
        }
        sleep_until(until.min(now + BETWEEN_LOOKS)).await;
    }
}

async fn look(address: &Address) -> Result<(), NotReady> {
    let asked = async {
        match address {
            Address::Tcp(socket) => {
                let socket = reachable(*socket);
                ask(TcpStream::connect(socket).await?, &socket.to_string()).await
            }
            Address::Unix(path) => ask(UnixStream::connect(path).await?, "localhost").await,
            // The configuration has none of these here.
            Address::Inherited(_) => Err(io::Error::from(io::ErrorKind::Unsupported).into()),
        }
    };
    timeout(LOOK_WITHIN, asked).await.unwrap_or(Err(NotReady::Late))
}

/// Where a listener on this address is reached from the same machine.
fn reachable(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, listener.port())
}

async fn ask(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, host: &str) -> Result<(), NotReady> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // How it ends is seen in the answer.
    spawn_local(connection);
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = http::Uri::from_static("/readyz");
    if let Ok(host) = host.parse() {
        request.headers_mut().insert(HOST, host);
    }
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), REASON_BYTES_MAX).collect().await;
    // What is no text of ours is no reason either.
    let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    match String::from_utf8_lossy(&body).trim() {
        "ok" if status == StatusCode::OK => Ok(()),
        reason => Err(NotReady::Says(status, reason.escape_debug().to_string())),
    }
}

/// A proxy that is ready answers in no time.
const LOOK_WITHIN: Duration = Duration::from_secs(1);
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
/// The longest reason names the sources of credentials that are not usable.
const REASON_BYTES_MAX: usize = 8 << 10;
