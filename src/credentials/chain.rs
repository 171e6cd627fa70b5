//! `chain`: the first source that is configured. One that is configured and fails ends the chain: a silent move to the next
//! would sign as somebody else.

use super::{Answer, Edge, Provide, ProvideError};

/// Sources in order.
pub(super) struct Chain(Vec<Box<dyn Provide>>);

impl Chain {
    pub(super) fn new(sources: Vec<Box<dyn Provide>>) -> Self {
        Self(sources)
    }
}

impl Provide for Chain {
    fn provide<'a>(&'a self, edge: &'a dyn Edge) -> Answer<'a> {
        Box::pin(async move {
            let mut passed_over = Vec::new();
            for source in &self.0 {
                match source.provide(edge).await {
                    Ok(mut credentials) => {
                        credentials.provider = format!("chain/{}", credentials.provider).into();
                        return Ok(credentials);
                    }
                    Err(ProvideError::NotConfigured(reason)) => passed_over.push(reason),
                    Err(failed) => return Err(failed),
                }
            }
            Err(ProvideError::NotConfigured(passed_over.join("; ")))
        })
    }
}
