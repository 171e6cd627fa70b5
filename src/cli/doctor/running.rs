//! Compares the credentials of the running process, read through its admin listener, with those
//! found here.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

use super::super::admin_client::{AdminRequest, FetchedPage, NoResponse};
use super::super::exit::CommandExit;
use super::fault::FaultKind;
use super::report::{Finding, ReportSection};
use crate::config::AdminConfig;
use crate::credentials::{SourceMap, each};
use crate::time::Timestamp;

/// A source as the running process reports it (`/credentials`).
#[derive(Deserialize)]
struct ShownSource {
    source: String,
    state: String,
    #[serde(default)]
    has_answered: bool,
    asking_for_s: Option<u64>,
    last_error: Option<String>,
}

impl ShownSource {
    fn is_usable(&self) -> bool {
        !matches!(self.state.as_str(), "empty" | "expired")
    }

    /// Returns the reason why the source has no credentials.
    fn problem(&self) -> String {
        match (&self.last_error, self.asking_for_s) {
            (Some(error), _) => error.clone(),
            (None, Some(seconds)) if !self.has_answered => format!("it has not responded for {seconds} s"),
            (None, _) if !self.has_answered => "it has not been called yet".to_owned(),
            (None, _) => format!("its state is {}", self.state),
        }
    }
}

/// Compares the sources of the running process with `sources`, which were queried here at `now`.
/// Returns `None` if no process runs.
pub(super) async fn examine(
    admin: &AdminConfig,
    sources: &SourceMap,
    now: Timestamp,
) -> Option<ReportSection> {
    let address = &admin.address;
    if address.socket().is_some_and(|socket| socket.port() == 0) {
        return None;
    }
    let token = admin.settings.token.as_deref();
    let request = AdminRequest { path: "/credentials", token, limit: LIMIT, bytes_max: BYTES_MAX };
    let findings = match request.send(address).await {
        Err(NoResponse::Nobody(error)) if is_absent(&error) => return None,
        Err(NoResponse::Nobody(error)) => {
            vec![not_read(&format!("cannot query the process at {address}: {error}"))]
        }
        Err(error @ (NoResponse::Broken(_) | NoResponse::Late(_))) => vec![Finding::fail(
            "running",
            FaultKind::ProcessSilent,
            CommandExit::Unavailable,
            format!("the process at {address} does not respond: {error}"),
            "check its log; if it is not a proxy, set another address in [admin]",
        )],
        Ok(FetchedPage { status: StatusCode::OK, body }) => {
            match serde_json::from_slice::<Vec<ShownSource>>(&body) {
                Ok(shown) => compare(shown, sources, now),
                Err(_) => vec![not_read(&format!(
                    "the response from {address} is not that of this version of the proxy"
                ))],
            }
        }
        Ok(FetchedPage { status: StatusCode::UNAUTHORIZED, .. }) => {
            vec![not_read(&format!("the process at {address} rejects the token of this configuration"))]
        }
        Ok(FetchedPage { status, .. }) => {
            vec![not_read(&format!("the process at {address} responded {status}"))]
        }
    };
    Some(ReportSection { name: "running process".to_owned(), about: address.to_string(), findings })
}

/// Returns whether nothing listens at the address.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn not_read(text: &str) -> Finding {
    Finding::warn(
        "running",
        FaultKind::ProcessUnread,
        text,
        "run doctor with the configuration of the running process",
    )
}

fn compare(shown: Vec<ShownSource>, sources: &SourceMap, now: Timestamp) -> Vec<Finding> {
    let shown: HashMap<&str, &ShownSource> =
        shown.iter().map(|shown| (shown.source.as_str(), shown)).collect();
    let compared = each(sources).map(|(name, source)| {
        let is_usable_here = source.get(now).is_ok();
        match shown.get(name) {
            None => Finding::warn(
                "running", FaultKind::ProcessConfiguration,
                format!("it has no credentials named {name:?}"),
                "reload its configuration (HUP), or run doctor with its configuration",
            ),
            Some(there) if is_usable_here && !there.is_usable() => Finding::fail(
                "running", FaultKind::ProcessDiffers,
                CommandExit::Credentials,
                format!("{name:?} has credentials here, but not there: {}", there.problem()),
                "check its log, and how its user, environment and network differ; then send it HUP",
            ),
            Some(there) if !is_usable_here && there.is_usable() => Finding::warn(
                "running", FaultKind::ProcessDiffers,
                format!("{name:?} has no credentials here, but has some there: they are {}", there.state),
                "correct this before they expire, or run doctor as the user of that process, with its environment",
            ),
            Some(there) => Finding::ok("running", format!("{name:?} is {} there too", there.state)),
        }
    });
    compared.collect()
}

const LIMIT: Duration = Duration::from_secs(3);
const BYTES_MAX: usize = 4 << 20;
