//! The credential sources that sign for callers, found by the names in the configuration.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::UpstreamSettings;
use crate::credentials::{CredentialSource, SourceMap};

/// Finds the sources of callers. Upstreams with the same credentials share the result.
pub(super) struct CallerCredentialSources<'a> {
    sources: &'a SourceMap,
    /// The results by the name of the credentials of the upstream.
    found: HashMap<String, Arc<HashMap<String, Arc<CredentialSource>>>>,
}

impl<'a> CallerCredentialSources<'a> {
    pub(super) fn new(sources: &'a SourceMap) -> Self {
        Self { sources, found: HashMap::new() }
    }

    /// Returns the sources of callers at an upstream, by the name of the caller.
    pub(super) fn of_upstream(
        &mut self,
        settings: &UpstreamSettings,
    ) -> Arc<HashMap<String, Arc<CredentialSource>>> {
        if let Some(found) = self.found.get(&settings.credentials) {
            return Arc::clone(found);
        }
        let source =
            |(caller, name): (&String, &String)| Some((caller.clone(), Arc::clone(self.sources.get(name)?)));
        let found: Arc<HashMap<_, _>> =
            Arc::new(settings.caller_credentials.iter().filter_map(source).collect());
        self.found.insert(settings.credentials.clone(), Arc::clone(&found));
        found
    }
}
