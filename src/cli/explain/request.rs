//! Explains a request that a user describes: as a listener would receive it, through the steps that
//! would serve it.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderMap;

use super::super::exit::CommandExit;
use super::super::flags::CommonFlags;
use super::super::output::complain;
use super::super::request_description::{self, InvalidDescription, RequestDescription};
use super::super::serve::block_on;
use super::client::{self, InvalidClientCertificate};
use super::print;
use crate::app::build::{self, ask_all, try_start};
use crate::app::system_env::SystemEnv;
use crate::config::ProxyConfig;
use crate::credentials::SourceMap;
use crate::proxy::{self, DryRunReport};
use crate::sign::SigningTime;
use crate::telemetry::RejectionCode;
use crate::time::{Clock as _, Timestamp};

/// The request to explain, as given on the command line.
pub(super) struct ExplainedRequest<'a> {
    pub(super) request: RequestDescription<'a>,
    /// The file with the certificate of the client.
    pub(super) certificate: Option<&'a Path>,
}

/// A reason why a request cannot be explained.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExplainError {
    /// The described request cannot be sent.
    #[error(transparent)]
    Description(#[from] InvalidDescription),
    /// The certificate of the client cannot be read.
    #[error(transparent)]
    Certificate(#[from] InvalidClientCertificate),
    /// There is no listener to send the request to.
    #[error("no listener is configured")]
    NoListener,
    /// A source is misconfigured, so the proxy would not start.
    #[error(transparent)]
    Source(#[from] crate::app::BadSource),
    /// Another error prevents the start of the proxy.
    #[error(transparent)]
    Start(#[from] crate::app::StartError),
}

impl ExplainError {
    pub(super) fn exit(&self) -> CommandExit {
        match self {
            Self::Description(_) | Self::Certificate(_) => CommandExit::Usage,
            Self::NoListener | Self::Source(_) | Self::Start(_) => CommandExit::Config,
        }
    }
}

/// A configuration whose sources have been queried.
pub(super) struct ReadyConfig {
    pub(super) config: ProxyConfig,
    sources: SourceMap,
}

pub(super) fn run(asked: &ExplainedRequest<'_>, flags: &CommonFlags) -> CommandExit {
    let config = match flags.load() {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    block_on(async {
        show(asked, config).await.unwrap_or_else(|error| {
            complain(format_args!("cannot explain: {error}"));
            error.exit()
        })
    })
}

/// Explains a request and prints the report.
async fn show(asked: &ExplainedRequest<'_>, config: ProxyConfig) -> Result<CommandExit, ExplainError> {
    let ready = ReadyConfig::new(config).await?;
    let explained = ready.explain(asked, SystemEnv.now()).await?;
    print::head(&explained, &ready.config);
    print::outbound(&explained);
    Ok(exit(&explained))
}

/// Returns the exit code of a command that has printed this report.
pub(super) fn exit(explained: &DryRunReport) -> CommandExit {
    match &explained.refused {
        None => CommandExit::Ok,
        Some(reason)
            if reason.code == RejectionCode::CredentialsUnavailable && explained.credentials.is_none() =>
        {
            CommandExit::Credentials
        }
        Some(_) => CommandExit::Failure,
    }
}

impl ReadyConfig {
    /// Queries the sources, as the start does.
    pub(super) async fn new(config: ProxyConfig) -> Result<Self, ExplainError> {
        let build::SourceResults { sources, bad, .. } = ask_all(&config.credentials, &SystemEnv).await;
        match bad.into_iter().next() {
            Some(bad) => Err(bad.into()),
            None => Ok(Self { config, sources }),
        }
    }

    /// Returns the headers of the request, as a listener receives them.
    pub(super) fn headers(&self, asked: &ExplainedRequest<'_>) -> Result<HeaderMap, ExplainError> {
        let uri = asked.request.uri()?;
        let listen =
            request_description::listener(&uri, &self.config.listen).ok_or(ExplainError::NoListener)?;
        Ok(asked.request.head(uri, listen)?.headers)
    }

    /// Runs the request through all steps, signed at this time.
    pub(super) async fn explain(
        &self,
        asked: &ExplainedRequest<'_>,
        at: Timestamp,
    ) -> Result<DryRunReport, ExplainError> {
        let uri = asked.request.uri()?;
        let listen =
            request_description::listener(&uri, &self.config.listen).ok_or(ExplainError::NoListener)?;
        let rules = request_description::rules(listen);
        let request = asked.request.received(uri, listen)?;
        let core = try_start(&self.config, &self.sources, Arc::new(SystemEnv))?;
        if listen.identify.jwt {
            core.state().callers.key_sets.fetch().await;
        }
        let peer = client::peer(asked.certificate, &rules)?;
        let listener = request_description::accepting(listen, rules, peer);
        Ok(proxy::explain(&core, &listener, request, &Rc::new(SigningTime::new(at))).await)
    }
}
