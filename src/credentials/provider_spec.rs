//! The specification of a credential source: its provider, and the source whose credentials that
//! provider uses.

use std::any::Any;
use std::hash::{Hash as _, Hasher};
use std::sync::Arc;

use super::assume_role::AssumeRoleConfig;
use super::chain::ChainConfig;
use super::custom::CustomProvider;
use super::env::EnvConfig;
use super::oidc::OidcConfig;
use super::provider_config::ComparableConfig;
use super::static_keys::StaticKeyConfig;
use super::{CredentialServices, Provide, SourceMap, StsEndpointConfig};

/// The specification of a credential source.
#[derive(Debug)]
pub(crate) enum ProviderSpec {
    /// A provider that needs no other source.
    Provider(Box<dyn ComparableConfig>),
    /// A role assumed with the credentials of another source.
    AssumeRole {
        /// The name of that source.
        source: String,
        /// The role, and the STS that issues its credentials.
        role: Box<AssumeRoleConfig>,
    },
    /// No credentials: requests are forwarded without a signature.
    Anonymous,
}

/// The reason why credentials can have no session policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionPolicyConflict {
    /// The provider may use credentials without a session.
    NoRole,
    /// The provider has a policy of its own.
    OwnPolicy,
}

/// A [`ProviderSpec`] with the name of its source.
#[derive(Debug)]
pub struct NamedSpec {
    /// The name in the configuration.
    pub(crate) name: String,
    /// The specification.
    pub(crate) spec: ProviderSpec,
}

impl NamedSpec {
    /// Creates a specification with a name.
    #[must_use]
    pub(crate) fn new(name: &str, spec: ProviderSpec) -> Self {
        Self { name: name.to_owned(), spec }
    }
}

impl ProviderSpec {
    /// Creates the specification of a provider that needs no other source.
    #[must_use]
    pub(crate) fn new(config: impl ComparableConfig) -> Self {
        Self::Provider(Box::new(config))
    }

    /// Returns the configuration of the provider, if it is of type `T`.
    #[must_use]
    pub(crate) fn config<T: ComparableConfig>(&self) -> Option<&T> {
        let Self::Provider(config) = self else { return None };
        let config: &dyn Any = &**config;
        config.downcast_ref()
    }

    /// Returns the name of the source that this provider needs.
    #[must_use]
    pub(crate) fn needs(&self) -> Option<&str> {
        match self {
            Self::AssumeRole { source, .. } => Some(source),
            Self::Provider(_) | Self::Anonymous => None,
        }
    }

    /// Returns the configured session name of the role that the provider assumes.
    #[must_use]
    pub(crate) fn session_name(&self) -> Option<&str> {
        match self {
            Self::AssumeRole { role, .. } => role.role.session_name.as_deref(),
            Self::Provider(_) => {
                let chain = || Some(&self.config::<ChainConfig>()?.wanted);
                let of_key = || Some(&self.config::<EnvConfig>().or_else(chain)?.role);
                let of_token = self.config::<OidcConfig>().map(|pod| &pod.role);
                of_token.or_else(of_key)?.session_name.as_deref()
            }
            Self::Anonymous => None,
        }
    }

    /// Returns the specification with another session name. `None` for a provider that may use
    /// credentials without a session.
    #[must_use]
    pub(crate) fn with_session_name(&self, session_name: &str) -> Option<Self> {
        let session_name = Some(session_name.to_owned());
        match self {
            Self::AssumeRole { source, role } => {
                let mut role = role.clone();
                role.role.session_name = session_name;
                Some(Self::AssumeRole { source: source.clone(), role })
            }
            Self::Provider(_) => {
                let mut pod = self.config::<OidcConfig>()?.clone();
                pod.role.session_name = session_name;
                Some(Self::new(pod))
            }
            Self::Anonymous => None,
        }
    }

    /// Returns the specification with a session policy.
    ///
    /// # Errors
    /// [`SessionPolicyConflict`], if the provider can have none.
    pub(crate) fn with_session_policy(&self, policy: &str) -> Result<Self, SessionPolicyConflict> {
        let policy_of = |own: &Option<String>| match own {
            // One policy replaces another, and could allow more.
            // guard: own-policy-stays
            Some(_) => Err(SessionPolicyConflict::OwnPolicy),
            None => Ok(Some(policy.to_owned())),
        };
        match self {
            Self::AssumeRole { source, role } => {
                let mut role = role.clone();
                role.role.policy = policy_of(&role.role.policy)?;
                Ok(Self::AssumeRole { source: source.clone(), role })
            }
            Self::Provider(_) => {
                let mut pod = self.config::<OidcConfig>().ok_or(SessionPolicyConflict::NoRole)?.clone();
                pod.role.policy = policy_of(&pod.role.policy)?;
                Ok(Self::new(pod))
            }
            Self::Anonymous => Err(SessionPolicyConflict::NoRole),
        }
    }

    /// Returns whether a program that embeds the proxy supplies the provider.
    #[must_use]
    pub(crate) fn is_custom(&self) -> bool {
        self.config::<CustomProvider>().is_some()
    }

    /// Returns the configuration of the STS endpoint, for a provider that may call STS.
    pub(crate) fn sts_endpoint_mut(&mut self) -> Option<&mut StsEndpointConfig> {
        match self {
            Self::Provider(config) => config.sts_endpoint_mut(),
            Self::AssumeRole { role, .. } => Some(&mut role.sts_endpoint),
            Self::Anonymous => None,
        }
    }

    /// Returns whether this is a long-lived access key in the configuration.
    #[must_use]
    pub(crate) fn is_lasting_key(&self) -> bool {
        self.config::<StaticKeyConfig>().is_some_and(|key| key.token.is_none())
    }

    /// Builds the provider. Returns `None` if the source that it needs is not among `others`, or if
    /// it signs nothing.
    pub(super) fn build(
        &self,
        others: &SourceMap,
        services: &Arc<CredentialServices>,
    ) -> Option<Box<dyn Provide>> {
        match self {
            Self::Provider(config) => Some(config.build(services)),
            Self::AssumeRole { source, role } => Some(role.build(Arc::clone(others.get(source)?), services)),
            Self::Anonymous => None,
        }
    }

    /// Returns whether two specifications are equal, each given the sources that it may need.
    /// [`Self::Anonymous`] has no source to share, and equals nothing.
    pub(super) fn is_same(&self, other: &Self, built: &SourceMap, theirs: &SourceMap) -> bool {
        match (self, other) {
            (Self::Provider(ours), Self::Provider(other)) => ours.is_same(&**other),
            (Self::AssumeRole { source: a, role }, Self::AssumeRole { source: b, role: other }) => {
                let is_same_source = built.get(a).zip(theirs.get(b)).is_some_and(|(a, b)| Arc::ptr_eq(a, b));
                is_same_source && role == other
            }
            (_, _) => false,
        }
    }

    /// Hashes what [`Self::is_same`] compares, so that equal specifications have equal hashes.
    pub(super) fn hash_content(&self, built: &SourceMap, state: &mut impl Hasher) {
        match self {
            Self::Provider(config) => config.hash_content(state),
            Self::AssumeRole { source, role } => (built.get(source).map(Arc::as_ptr), role).hash(state),
            Self::Anonymous => {}
        }
    }
}
