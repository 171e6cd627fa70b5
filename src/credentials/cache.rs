//! The cache between sources and requests: requests load one immutable snapshot, without a lock and without waiting.

use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};

use super::{Credentials, Edge, Provide, ProvideError};
use crate::time::Timestamp;

/// A source with what it gave last.
pub struct Source {
    name: String,
    provider: Box<dyn Provide>,
    current: ArcSwapOption<Credentials>,
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
        Self { name: name.to_owned(), provider, current: ArcSwapOption::empty() }
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
        let fresh = Arc::new(self.provider.provide(edge).await?);
        self.current.store(Some(Arc::clone(&fresh)));
        Ok(fresh)
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

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
