//! An environment and a clock for tests, independent of the machine that runs them.

use std::collections::HashMap;
use std::sync::Arc;

use super::{NamedSpec, ProvideError, ProviderSpec, SourceEnv, build_sources};
use crate::time::{Clock, Timestamp};

pub(super) const NOW: Timestamp = Timestamp::from_unix_s(1_700_000_000);

#[derive(Default)]
pub(super) struct TestEnv(HashMap<&'static str, &'static str>);

impl TestEnv {
    pub(super) fn with(variables: &[(&'static str, &'static str)]) -> Self {
        Self(variables.iter().copied().collect())
    }
}

impl Clock for TestEnv {
    fn now(&self) -> Timestamp {
        NOW
    }
}

impl SourceEnv for TestEnv {
    fn variable(&self, name: &str) -> Option<String> {
        // No test contacts the metadata service of the machine that runs it.
        let own = self.0.get(name).filter(|value| !value.is_empty()).map(|value| (*value).to_owned());
        own.or_else(|| (name == "ALIBABA_CLOUD_ECS_METADATA_DISABLED").then(|| "true".to_owned()))
    }
}

/// Requests credentials once from a source of this specification.
pub(super) async fn ask(
    spec: ProviderSpec,
    variables: &[(&'static str, &'static str)],
) -> Result<(String, bool, String), ProvideError> {
    let sources = build_sources(&[NamedSpec::new("default", spec)], &Arc::default());
    let source = &sources["default"];
    let got = source.refresh(&TestEnv::with(variables)).await?;
    Ok((got.id.clone(), got.token.is_some(), got.provider.to_string()))
}
