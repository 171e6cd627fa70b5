//! Builds the sources of a configuration. Sources with equal specifications are shared, also with
//! the configuration before a reload.

use std::collections::HashMap;
use std::sync::Arc;

use super::build_order::BuildOrder;
use super::spec_index::SpecsByContent;
use super::{CredentialServices, CredentialSource, NamedSpec, ProviderSpec, SourceMap};

/// The sources of a configuration, with their specifications.
#[derive(Clone, Copy)]
pub struct ConfiguredSources<'a> {
    /// The specifications.
    pub specs: &'a [NamedSpec],
    /// The sources that were built from them.
    pub sources: &'a SourceMap,
}

/// Builds all sources, without requesting credentials. Sources that depend on each other in a cycle
/// are left out, as are those that need a missing one. Such a configuration is rejected before it
/// reaches this function.
#[must_use]
pub fn build_sources(specs: &[NamedSpec], services: &Arc<CredentialServices>) -> SourceMap {
    rebuild_sources(specs, &[], services)
}

/// Builds all sources after a reload. A source whose name and specification are those of a previous
/// one is reused, with its credentials.
#[must_use]
pub fn rebuild_sources(
    specs: &[NamedSpec],
    previous: &[ConfiguredSources<'_>],
    services: &Arc<CredentialServices>,
) -> SourceMap {
    let mut known = Vec::new();
    for ConfiguredSources { specs, sources } in previous {
        // The first of two with the same name counts.
        let by_name = specs.iter().rev().map(|known| (known.name.as_str(), &known.spec));
        known.push((by_name.collect::<HashMap<&str, &ProviderSpec>>(), *sources));
    }
    let existing = |name: &str, spec: &ProviderSpec, built: &SourceMap| {
        known.iter().find_map(|(known, before)| {
            let known = known.get(name)?;
            let source = before.get(name).filter(|source| source.name() == name)?;
            spec.is_same(known, built, before).then(|| Arc::clone(source))
        })
    };
    let mut built = SourceMap::new();
    let mut done = SpecsByContent::default();
    let mut order = BuildOrder::new(specs.iter().map(|named| named.spec.needs()));
    while let Some(NamedSpec { name, spec }) = order.next().and_then(|index| specs.get(index)) {
        let same = done.find_or_add(name, spec, &built).and_then(|name| built.get(name)).map(Arc::clone);
        let source = match same.or_else(|| existing(name, spec, &built)) {
            Some(source) => Some(source),
            None => {
                spec.build(&built, services).map(|provider| Arc::new(CredentialSource::new(name, provider)))
            }
        };
        if let Some(source) = source {
            built.insert(name.clone(), source);
            order.built(name);
        }
    }
    built
}
