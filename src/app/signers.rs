//! The credential sources of a configuration where they are used: at upstreams, and at listeners that
//! pass on keys.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::caller_credentials::CallerCredentialSources;
use super::start_error::StartError;
use crate::address::{RoutingTable, UpstreamId};
use crate::admin;
use crate::config::UpstreamSettings;
use crate::credentials::{CredentialSource, NamedSpec, ProviderSpec, SourceMap};
use crate::proxy::UpstreamSigning;
use crate::server::ListenSettings;
use crate::transport::TrustStoreId;

/// Returns the signature version, the source and the trust store for each upstream.
pub(super) fn signers(
    settings: &[UpstreamSettings],
    trust_stores: Vec<TrustStoreId>,
    specs: &[NamedSpec],
    sources: &SourceMap,
) -> Result<Vec<UpstreamSigning>, StartError> {
    let anonymous: HashSet<&str> = specs
        .iter()
        .filter(|named| matches!(named.spec, ProviderSpec::Anonymous))
        .map(|named| named.name.as_str())
        .collect();
    let mut caller_credentials = CallerCredentialSources::new(sources);
    let mut signers = Vec::with_capacity(settings.len());
    for (settings, trust) in settings.iter().zip(trust_stores) {
        let name = settings.credentials.as_str();
        let source = match sources.get(name) {
            Some(source) => Some(Arc::clone(source)),
            None if anonymous.contains(name) => None,
            None => return Err(StartError::NoSource(name.to_owned())),
        };
        signers.push(UpstreamSigning {
            signature: settings.signature,
            tell_upstream: settings.tell_upstream,
            source,
            caller_sources: caller_credentials.of_upstream(settings),
            trust,
        });
    }
    Ok(signers)
}

/// Returns the sources whose keys the listeners pass on, by name.
pub(super) fn passed_on<'a>(
    listeners: impl Iterator<Item = &'a ListenSettings>,
    sources: &SourceMap,
) -> HashMap<String, Arc<CredentialSource>> {
    let source = |listen: &ListenSettings| {
        let name = listen.content.source()?;
        Some((name.to_owned(), Arc::clone(sources.get(name)?)))
    };
    listeners.filter_map(source).collect()
}

/// Returns the routes for the admin interface.
pub(super) fn routes(
    routing_table: &RoutingTable,
    upstreams: &[UpstreamSettings],
    sources: &SourceMap,
) -> Vec<admin::AdminRoute> {
    let mut routes = Vec::with_capacity(upstreams.len());
    for (index, settings) in upstreams.iter().enumerate() {
        let id = UpstreamId(index);
        let upstream = routing_table.get(id);
        let endpoint = &upstream.endpoint;
        routes.push(admin::AdminRoute {
            name: id.to_string(),
            wanted: routing_table.wanted(id).map(ToString::to_string),
            endpoint: format!(
                "{}://{}:{}",
                endpoint.scheme.as_str(),
                endpoint.host.bracketed(),
                endpoint.port
            ),
            region: upstream.region.as_ref().map_or("-", |region| region.as_str()).to_owned(),
            signature: settings.signature.as_str(),
            source: sources.get(&settings.credentials).map(|source| source.name().to_owned()),
        });
    }
    routes
}
