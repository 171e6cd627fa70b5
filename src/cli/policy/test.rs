//! `policy test`: the decision about a request of a caller. No identity is checked, no credentials
//! are requested, and nothing is sent.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use http::{HeaderName, HeaderValue, Method};

use super::super::exit::CommandExit;
use super::super::explain::printable;
use super::super::flags::CommonFlags;
use super::super::output::{complain, line};
use super::super::request_description::{self, InvalidDescription, RequestDescription, parse_header};
use super::super::serve::block_on;
use crate::app::StartError;
use crate::app::build::try_start;
use crate::app::system_env::SystemEnv;
use crate::caller::{CallerSettings, ConnectionPeer};
use crate::config::ProxyConfig;
use crate::credentials::SourceMap;
use crate::policy::PermissionDecision;
use crate::proxy::{self, DecidedPermission, DryRunReport};
use crate::telemetry::RejectionCode;

#[derive(Args)]
pub(super) struct PolicyTestArgs {
    /// Name of the caller
    #[arg(long, value_name = "NAME")]
    caller: String,
    /// HTTP method of the request
    method: Method,
    /// URL of the request, or /BUCKET/KEY at the first listener
    url: String,
    /// Header that the client sends; may be repeated
    #[arg(short = 'H', long, value_name = "NAME:VALUE", value_parser = parse_header)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// File with the body, which decides about batch deletes and some other operations
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    #[command(flatten)]
    flags: CommonFlags,
}

/// A reason why a request cannot be tested.
#[derive(Debug, thiserror::Error)]
enum PolicyTestError {
    #[error(transparent)]
    Description(#[from] InvalidDescription),
    #[error("no caller has the name {0:?}; name a [[caller]] of the configuration")]
    UnknownCaller(String),
    #[error("no listener is configured")]
    NoListener,
    #[error(transparent)]
    Start(#[from] StartError),
}

impl PolicyTestError {
    fn exit(&self) -> CommandExit {
        match self {
            Self::Description(_) | Self::UnknownCaller(_) => CommandExit::Usage,
            Self::NoListener | Self::Start(_) => CommandExit::Config,
        }
    }
}

pub(super) fn run(arguments: &PolicyTestArgs) -> CommandExit {
    let config = match arguments.flags.load() {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    block_on(async {
        test(arguments, &config).await.unwrap_or_else(|error| {
            complain(format_args!("cannot test: {error}"));
            error.exit()
        })
    })
}

async fn test(arguments: &PolicyTestArgs, config: &ProxyConfig) -> Result<CommandExit, PolicyTestError> {
    let PolicyTestArgs { caller, method, url, header, body, .. } = arguments;
    let unknown = || PolicyTestError::UnknownCaller(caller.clone());
    let mut callers = config.callers.iter().flatten();
    let settings = callers.find(|known| known.name == *caller).ok_or_else(unknown)?;
    let description = RequestDescription { method, url, headers: header, body: body.as_deref() };
    let uri = description.uri()?;
    let listen = request_description::listener(&uri, &config.listen).ok_or(PolicyTestError::NoListener)?;
    let request = description.received(uri, listen)?;
    let core = try_start(config, &SourceMap::new(), Arc::new(SystemEnv))?;
    let rules = request_description::rules(listen);
    let listener = request_description::accepting(listen, rules, ConnectionPeer::default());
    let tested = proxy::test_rights(&core, &listener, request, caller).await.ok_or_else(unknown)?;
    Ok(print(&tested, settings))
}

/// Prints the decision, and returns its exit code.
fn print(tested: &DryRunReport, settings: &CallerSettings) -> CommandExit {
    if let Some(operation) = tested.operation {
        entry("operation", operation.name());
    }
    entry("caller", format_args!("{} ({})", settings.name, settings.origin));
    for DecidedPermission { action, resource, decision } in &tested.permissions {
        let rights = &settings.rights;
        let decision = match decision {
            PermissionDecision::Allowed(position) => format!("allowed by {}", rights.describe(*position)),
            PermissionDecision::Denied(position) => format!("denied by {}", rights.describe(*position)),
            PermissionDecision::Missing => "missing".to_owned(),
        };
        entry("requires", format_args!("{action} on {}: {decision}", printable(resource.as_bytes())));
    }
    let Some(reason) = &tested.refused else {
        match settings.rights.granting_everything() {
            Some(position) => {
                entry(
                    "result",
                    format_args!("allowed, as everything, by {}", settings.rights.describe(position)),
                );
            }
            None => entry("result", "allowed"),
        }
        return CommandExit::Ok;
    };
    entry("result", format_args!("{} {}: {}", reason.status.as_u16(), reason.code, reason.message));
    let is_denial = matches!(
        reason.code,
        RejectionCode::Denied
            | RejectionCode::Browser
            | RejectionCode::Pinned
            | RejectionCode::PostForm
            | RejectionCode::Preflight
    );
    if is_denial { CommandExit::Failure } else { CommandExit::Usage }
}

fn entry(name: &str, value: impl std::fmt::Display) {
    line(format_args!("{name:12}{value}"));
}
