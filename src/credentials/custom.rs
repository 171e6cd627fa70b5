//! A source from outside this crate: whoever builds a proxy brings it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Answer, Edge, Fingerprint, Provide};

/// A source from outside this crate, which [`crate::config::Config::sign_with`] puts in the place of one of the file.
#[derive(Clone)]
pub struct Custom(pub Arc<dyn Provide>);

impl std::fmt::Debug for Custom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Custom(..)")
    }
}

impl Provide for Custom {
    fn provide<'a>(&'a self, edge: &'a dyn Edge) -> Answer<'a> {
        self.0.provide(edge)
    }

    fn files(&self, edge: &dyn Edge) -> Vec<PathBuf> {
        self.0.files(edge)
    }

    fn fingerprint(&self, edge: &dyn Edge) -> Option<Fingerprint> {
        self.0.fingerprint(edge)
    }

    fn renew_after(&self) -> Option<Duration> {
        self.0.renew_after()
    }

    fn explain(&self, edge: &dyn Edge) -> Vec<String> {
        self.0.explain(edge)
    }
}
