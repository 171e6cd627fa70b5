//! The cache between sources and requests: requests load one immutable snapshot, without a lock and without waiting.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwapOption, Guard};
use tracing::{error, info};

use super::{Credentials, Edge, Fingerprint, Provide, ProvideError};
use crate::time::Timestamp;

/// A source with what it gave last.
pub struct Source {
    name: String,
    provider: Box<dyn Provide>,
    current: ArcSwapOption<Credentials>,
    /// The state of what the provider reads, before it was last asked.
    asked: Mutex<Option<Fingerprint>>,
}

/// There is nothing to sign with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The source has given nothing yet.
    #[error("no credentials are available")]
    Empty,
    /// What it gave has ended.
    #[error("the credentials have expired")]
    Expired,
}

impl Source {
    /// An empty cache before `provider`; `name` is the configuration's.
    #[must_use]
    pub fn new(name: &str, provider: Box<dyn Provide>) -> Self {
        Self { name: name.to_owned(), provider, current: ArcSwapOption::empty(), asked: Mutex::default() }
    }

    /// The configuration's name of the source.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks the source and keeps what it gives. What was there before stays on an error.
    ///
    /// # Errors
    /// Those of the source.
    pub async fn refresh(&self, edge: &dyn Edge) -> Result<Arc<Credentials>, ProvideError> {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = self.provider.fingerprint();
        let fresh = Arc::new(self.provider.provide(edge).await?);
        self.current.store(Some(Arc::clone(&fresh)));
        Ok(fresh)
    }

    /// Asks the source again whenever what it reads has changed; returns at once if that cannot be seen. What was there before
    /// stays when the new is unusable.
    pub async fn follow(&self, edge: &dyn Edge) {
        while let Some(asked) = self.asked() {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.provider.fingerprint() == Some(asked) {
                continue;
            }
            match self.refresh(edge).await {
                Ok(fresh) => {
                    info!(source = self.name, provider = &*fresh.provider, "credentials have changed")
                }
                Err(error) => {
                    error!(source = self.name, %error, "credentials have changed and are unusable; what was there before is used for as long as it lasts")
                }
            }
        }
    }

    /// What the source was like when it was last asked.
    fn asked(&self) -> Option<Fingerprint> {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The credentials to sign with at `now`.
    ///
    /// # Errors
    /// [`Unavailable`]: a request never waits for a source, and is never signed with what has ended.
    pub fn get(&self, now: Timestamp) -> Result<Arc<Credentials>, Unavailable> {
        let current = Guard::into_inner(self.current.load()).ok_or(Unavailable::Empty)?;
        match current.expires {
            Some(expires) if expires <= now => Err(Unavailable::Expired),
            Some(_) | None => Ok(current),
        }
    }
}

/// How often what a source reads is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
