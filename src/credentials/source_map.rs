//! The credential sources by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::source::CredentialSource;

/// Sources by their names in the configuration. Identical ones are shared; one that signs nothing
/// is left out.
pub(crate) type SourceMap = BTreeMap<String, Arc<CredentialSource>>;

/// Returns each source once, under the first of its names.
pub(crate) fn each(sources: &SourceMap) -> impl Iterator<Item = (&str, &Arc<CredentialSource>)> {
    sources.iter().filter(|(name, source)| source.name() == **name).map(|(name, source)| (&**name, source))
}
