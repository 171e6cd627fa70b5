//! Traits of provider configurations: how one builds its provider, and how two are compared.

use std::any::{Any, TypeId};
use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::{CredentialServices, Provide, StsEndpointConfig};

/// The configuration of one kind of credential provider.
pub(crate) trait ProviderConfig: Debug + Send + Sync {
    /// Returns the configuration of the STS endpoint, for a provider that may call STS.
    fn sts_endpoint_mut(&mut self) -> Option<&mut StsEndpointConfig> {
        None
    }

    /// Builds the provider, without requesting credentials. It calls services through `services`.
    fn build(&self, services: &Arc<CredentialServices>) -> Box<dyn Provide>;
}

/// A [`ProviderConfig`] that can be compared with the configuration of any other provider.
pub(crate) trait ComparableConfig: ProviderConfig + Any {
    /// Returns whether `other` configures the same provider.
    fn is_same(&self, other: &dyn ComparableConfig) -> bool;

    /// Hashes what [`Self::is_same`] compares, so that equal configurations have equal hashes.
    fn hash_content(&self, state: &mut dyn Hasher);
}

impl<T: ProviderConfig + Any + PartialEq + Hash> ComparableConfig for T {
    fn is_same(&self, other: &dyn ComparableConfig) -> bool {
        let other: &dyn Any = other;
        other.downcast_ref::<T>().is_some_and(|other| self == other)
    }

    fn hash_content(&self, mut state: &mut dyn Hasher) {
        TypeId::of::<T>().hash(&mut state);
        self.hash(&mut state);
    }
}
