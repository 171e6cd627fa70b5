//! The effective settings of an upstream, except for its address.

use std::path::PathBuf;

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
    /// The file with the only roots that verify its certificates; `None` uses the roots of the
    /// host. The file was readable when the configuration was loaded.
    pub(crate) ca_file: Option<PathBuf>,
}
