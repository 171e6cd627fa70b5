//! The effective settings of an upstream, except for its address.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::sign::SignatureVersion;

/// Settings of an upstream, except for its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UpstreamSettings {
    /// The signature version of its requests.
    pub(crate) signature: SignatureVersion,
    /// `true` if its requests name their caller in `User-Agent`.
    pub(crate) tell_upstream: bool,
    /// The name of its credential source in [`ProxyConfig::credentials`](super::ProxyConfig::credentials).
    pub(crate) credentials: String,
    /// The names of the sources that sign for callers, by the name of the caller. They differ only
    /// in the session name and the session policy. For other callers, [`Self::credentials`] sign.
    pub(crate) caller_credentials: Arc<HashMap<String, String>>,
    /// The file with the only roots that verify its certificates; `None` uses the roots of the
    /// host. The file was readable when the configuration was loaded.
    pub(crate) ca_file: Option<PathBuf>,
}
