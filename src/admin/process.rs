//! The process, as seen by the admin listener.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::certificate::ListenerCertificate;
use crate::credentials::{CredentialServices, SourceStatus};
use crate::jwks::KeySetStatus;
use crate::telemetry::{AuditStatus, DroppedLineCount, ProcessCounters};
use crate::time::Timestamp;
use crate::transport::PoolStatsSnapshot;

/// The process, as seen by the admin listener.
pub(crate) trait AdminProcess: Send + Sync {
    /// Checks that the threads that accept and serve connections are responsive. The error is a
    /// sentence that names those that are not.
    fn live(&self) -> LivenessFuture;

    /// Checks that the process should receive requests: it is not stopping, and its credential
    /// sources are usable.
    ///
    /// # Errors
    /// A sentence with the reason.
    fn ready(&self) -> Result<(), String>;

    /// Checks that startup is complete: the listeners are bound, and each credential source has
    /// responded once, with or without success.
    ///
    /// # Errors
    /// A sentence with the reason.
    fn started(&self) -> Result<(), String>;

    /// Returns the status of the credential sources.
    fn sources(&self) -> Vec<SourceStatus>;

    /// Returns the status of the keys of token issuers.
    fn key_sets(&self) -> Vec<KeySetStatus>;

    /// Returns the routes. The first is the default upstream, used if no other route matches.
    fn routes(&self) -> Vec<AdminRoute>;

    /// Returns the certificates of the listeners.
    fn certificates(&self) -> Vec<ListenerCertificate>;

    /// Returns the effective settings.
    fn configuration(&self) -> Vec<ShownSetting>;

    /// Returns the counters of the process.
    fn counters(&self) -> Arc<ProcessCounters>;

    /// Returns the state of the services that credentials come from.
    fn services(&self) -> Arc<CredentialServices>;

    /// Returns the statistics of the upstream connection pool of each worker.
    fn upstream(&self) -> Vec<PoolStatsSnapshot>;

    /// Returns the current time.
    fn now(&self) -> Timestamp;

    /// Reloads the configuration. Returns what has changed.
    fn reload(&self) -> ReloadFuture;

    /// Shuts the process down, as SIGTERM does.
    fn quit(&self);

    /// Returns the state of the audit log, if there is one.
    fn audit(&self) -> Option<AuditStatus>;

    /// Returns the number of dropped log lines by reason.
    fn log_losses(&self) -> Vec<DroppedLineCount>;

    /// Returns the level of the log.
    fn log_level(&self) -> &'static str;

    /// Sets the level of the log. Returns false if the name of the level is unknown.
    fn set_log_level(&self, name: &str) -> bool;
}

/// The future returned by [`AdminProcess::live`].
pub(crate) type LivenessFuture = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// The future returned by [`AdminProcess::reload`]: the changes, or the reason why the
/// configuration was not applied.
pub(crate) type ReloadFuture = Pin<Box<dyn Future<Output = Result<Vec<String>, AdminReloadError>> + Send>>;

/// The reason why a new configuration was not applied.
#[derive(Debug, thiserror::Error)]
pub enum AdminReloadError {
    /// The process is stopping and no longer reloads.
    #[error("the proxy is stopping")]
    Stopping,
    /// The configuration is invalid; one error per line.
    #[error("{0}")]
    Wrong(String),
}

/// A route, as shown to operators.
#[derive(Clone, Debug)]
pub(crate) struct AdminRoute {
    /// `upstream`, or `route` with its number.
    pub(crate) name: String,
    /// The condition that requests must match; `None` for the default upstream.
    pub(crate) wanted: Option<String>,
    /// The endpoint of the destination.
    pub(crate) endpoint: String,
    /// The region in the signature.
    pub(crate) region: String,
    /// The signature version.
    pub(crate) signature: &'static str,
    /// The credential source; `None` if requests are not signed.
    pub(crate) source: Option<String>,
}

/// An effective setting, as shown to operators. It contains no secret.
#[derive(Clone, Debug)]
pub(crate) struct ShownSetting {
    /// The key.
    pub(crate) key: String,
    /// The value, in the syntax of a configuration file.
    pub(crate) value: String,
    /// The origin of the value.
    pub(crate) origin: String,
}
