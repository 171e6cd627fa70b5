//! The keys of all issuers of a configuration.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join_all;

use super::issuer_keys::{IssuerKeys, KeySetStatus};
use super::key_request::KeySetConfig;
use crate::caller::{JwtKeySet, JwtKeySource};

/// The keys of all issuers whose keys are fetched.
#[derive(Default)]
pub(crate) struct FetchedKeySets(HashMap<Box<str>, Arc<IssuerKeys>>);

impl FetchedKeySets {
    /// Returns the keys of these issuers. An issuer with the same settings as `before` keeps its keys.
    #[must_use]
    pub(crate) fn new(configs: Vec<KeySetConfig>, before: Option<&Self>) -> Self {
        let keys = |config: KeySetConfig| {
            let known = before.and_then(|before| before.0.get(config.issuer.as_str()));
            let known = known.filter(|known| *known.config() == config).map(Arc::clone);
            let issuer = config.issuer.as_str().into();
            (issuer, known.unwrap_or_else(|| Arc::new(IssuerKeys::new(config))))
        };
        Self(configs.into_iter().map(keys).collect())
    }

    /// Returns the keys of each issuer.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<IssuerKeys>> {
        self.0.values()
    }

    /// Waits for a fetch that may bring the key of a request, as [`IssuerKeys::refreshed`] does.
    pub(crate) async fn refreshed(&self, issuer: &str) {
        if let Some(keys) = self.0.get(issuer) {
            keys.refreshed().await;
        }
    }

    /// Fetches all keys once, for a command.
    pub(crate) async fn fetch(&self) {
        join_all(self.all().map(|keys| keys.fetch_once())).await;
    }

    /// Returns a snapshot of each issuer, by name.
    #[must_use]
    pub(crate) fn statuses(&self) -> Vec<KeySetStatus> {
        let mut all: Vec<KeySetStatus> = self.all().map(|keys| keys.status()).collect();
        all.sort_by(|one, other| one.issuer.cmp(&other.issuer));
        all
    }
}

impl JwtKeySource for FetchedKeySets {
    fn keys(&self, issuer: &str) -> Option<Arc<JwtKeySet>> {
        self.0.get(issuer)?.keys()
    }
}
