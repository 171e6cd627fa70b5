//! A world of the tests' own: its environment, its clock, and nothing of the machine they run on.

use std::collections::HashMap;

use super::{Edge, ProvideError, Spec};
use crate::time::{Clock, Timestamp};

pub(super) const NOW: Timestamp = Timestamp::from_unix_s(1_700_000_000);

#[derive(Default)]
pub(super) struct World(HashMap<&'static str, &'static str>);

impl World {
    pub(super) fn with(variables: &[(&'static str, &'static str)]) -> Self {
        Self(variables.iter().copied().collect())
    }
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        NOW
    }
}

impl Edge for World {
    fn variable(&self, name: &str) -> Option<String> {
        // No test asks the machine it runs on.
        let own = self.0.get(name).filter(|value| !value.is_empty()).map(|value| (*value).to_owned());
        own.or_else(|| (name == "ALIBABA_CLOUD_ECS_METADATA_DISABLED").then(|| "true".to_owned()))
    }
}

/// Asks this source once.
pub(super) async fn ask(
    spec: Spec,
    variables: &[(&'static str, &'static str)],
) -> Result<(String, bool, String), ProvideError> {
    let sources = Spec::build_all(&[("default".to_owned(), spec)]);
    let source = &sources["default"];
    let got = source.refresh(&World::with(variables)).await?;
    Ok((got.id.clone(), got.token.is_some(), got.provider.to_string()))
}
