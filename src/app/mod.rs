//! The running proxy: builds it from a configuration, reloads it, and runs its admin listener. It
//! parses no arguments and prints nothing.

pub(crate) mod admin_connections;
pub(crate) mod admin_server;
mod audit_reports;
pub(crate) mod build;
pub(crate) mod caller_credentials;
mod callers_report;
pub(crate) mod config_watcher;
pub(crate) mod lifecycle;
pub(crate) mod listeners;
pub(crate) mod reload;
mod signers;
pub(crate) mod source_refresher;
pub(crate) mod start_error;
pub(crate) mod system_env;
pub(crate) mod systemd;
pub(crate) mod trust_stores;

pub use config_watcher::ReloadError;
pub use lifecycle::App;
pub use lifecycle::LoadConfig;
pub use reload::ReloadHandle;
pub use start_error::BadSource;
pub use start_error::StartError;
pub use system_env::SystemEnv;

pub use crate::admin::AdminReloadError;
pub use crate::offload::BlockingTimeout;
pub use crate::server::{BindError, DrainOutcome, DrainSignal, InvalidTls, ListenAddress};
pub use crate::transport::InvalidRoots;
