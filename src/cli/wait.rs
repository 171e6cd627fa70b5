//! `wait`: polls the admin listener of a proxy until the proxy is ready. With `--timeout 0s` it
//! probes once.

use std::time::Duration;

use clap::Args as ClapArgs;
use http::StatusCode;
use tokio::time::{Instant, sleep_until};

use super::admin_client::{AdminRequest, NoResponse};
use super::exit::CommandExit;
use super::flags::CommonFlags;
use super::output::complain;
use super::serve::block_on;
use crate::config::parse_wait;
use crate::server::ListenAddress;

#[derive(ClapArgs)]
pub(super) struct WaitArgs {
    /// Maximum time to wait; 0s checks once
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_wait)]
    timeout: Duration,
    #[command(flatten)]
    flags: CommonFlags,
}

/// A reason why a proxy does not count as ready.
#[derive(Debug, thiserror::Error)]
enum NotReady {
    #[error(transparent)]
    NoResponse(#[from] NoResponse),
    #[error("it responded {0}: {1}")]
    Says(StatusCode, String),
}

pub(super) fn run(arguments: &WaitArgs) -> CommandExit {
    let admin = match arguments.flags.read_admin() {
        Ok(admin) => admin,
        Err(errors) => {
            complain(errors);
            return CommandExit::Config;
        }
    };
    let Some(admin) = admin else {
        complain(
            "the admin listener is off, so readiness cannot be checked; set address in [admin], or --admin-listen",
        );
        return CommandExit::Config;
    };
    if admin.address.socket().is_some_and(|address| address.port() == 0) {
        complain(
            "the admin listener has port 0, and only the proxy knows the actual port; set a fixed port in [admin]",
        );
        return CommandExit::Config;
    }
    block_on(wait(&admin.address, arguments.timeout))
}

async fn wait(address: &ListenAddress, limit: Duration) -> CommandExit {
    let until = Instant::now() + limit;
    loop {
        let Err(reason) = probe(address).await else { return CommandExit::Ok };
        let now = Instant::now();
        if now >= until {
            complain(format_args!("{address} is not ready: {reason}"));
            return CommandExit::Unavailable;
        }
        sleep_until(until.min(now + PROBE_INTERVAL)).await;
    }
}

async fn probe(address: &ListenAddress) -> Result<(), NotReady> {
    let request =
        AdminRequest { path: "/readyz", token: None, limit: PROBE_TIMEOUT, bytes_max: REASON_BYTES_MAX };
    let page = request.send(address).await?;
    match String::from_utf8_lossy(&page.body).trim() {
        "ok" if page.status == StatusCode::OK => Ok(()),
        reason => Err(NotReady::Says(page.status, reason.escape_debug().to_string())),
    }
}

/// The limit on one probe. A ready proxy responds almost immediately.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
const PROBE_INTERVAL: Duration = Duration::from_millis(100);
/// The limit on a reason. The longest one names the unusable credential sources.
const REASON_BYTES_MAX: usize = 8 << 10;
