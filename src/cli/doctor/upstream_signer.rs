//! The signer of requests for an upstream.

use crate::app::build::SourceResults;
use crate::config::ProxyConfig;
use crate::credentials::{CredentialSource, NamedSpec, ProviderSpec};

/// The signer of requests for an upstream.
pub(super) enum UpstreamSigner<'a> {
    /// A source, which may have no credentials.
    Source(&'a CredentialSource),
    /// Requests are not signed.
    Nobody,
    /// A source that could not be built.
    Broken,
}

impl<'a> UpstreamSigner<'a> {
    /// Finds the source that an upstream is configured with among the built ones.
    pub(super) fn find(config: &ProxyConfig, index: usize, asked: &'a SourceResults) -> Self {
        let Some(settings) = config.upstreams.get(index) else { return Self::Broken };
        let is_anonymous = |named: &NamedSpec| {
            named.name == settings.credentials && matches!(named.spec, ProviderSpec::Anonymous)
        };
        match asked.sources.get(&settings.credentials) {
            Some(source) => Self::Source(source),
            None if config.credentials.iter().any(is_anonymous) => Self::Nobody,
            None => Self::Broken,
        }
    }
}
