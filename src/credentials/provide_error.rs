//! The reasons why a provider returned no credentials.

use super::validate::InvalidAccessKey;

/// The reason why a provider returned no credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProvideError {
    /// The provider is not configured; a chain tries the next one.
    #[error("not configured: {0}")]
    NotConfigured(String),
    /// The provider is misconfigured. A chain stops here, because falling through would change the
    /// signing identity.
    #[error("{0}")]
    Failed(#[from] SetupError),
    /// The provider is configured but cannot return credentials at present; a retry may succeed.
    #[error("{0}")]
    Unavailable(String),
    /// The provider is configured but denies credentials until an operator does what the text says.
    #[error("{0}")]
    Refused(String),
}

/// A mistake in the configuration of a provider.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// One of two variables is missing.
    #[error("{present} is set but {missing} is not; set both or neither")]
    HalfSet {
        /// The variable that is set.
        present: &'static str,
        /// The variable that is missing.
        missing: &'static str,
    },
    /// One of the three settings of an OIDC provider is missing.
    #[error("the OIDC configuration lacks {key}; set it or the variable {variable}")]
    IncompleteKey {
        /// The missing configuration key.
        key: &'static str,
        /// The corresponding environment variable.
        variable: &'static str,
    },
    /// A role should be assumed with the access key of the environment, but that key is missing.
    #[error(
        "{variable} is set, but OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET, which assume the role, are not; set them or unset {variable}"
    )]
    RoleWithoutKey {
        /// The variable that names the role.
        variable: &'static str,
    },
    /// The STS endpoint inside the VPC is requested, but the region is unknown.
    #[error(
        "{variable} requests the STS endpoint inside the VPC, but the region is unknown; set sts_region or ALIBABA_CLOUD_STS_REGION"
    )]
    VpcWithoutRegion {
        /// The variable that requests it.
        variable: &'static str,
    },
    /// The values are not a valid access key.
    #[error(transparent)]
    InvalidAccessKey(#[from] InvalidAccessKey),
}

impl ProvideError {
    /// All kinds of errors.
    pub(crate) const KINDS: [&'static str; 4] = ["not_configured", "misconfigured", "unavailable", "refused"];

    /// Returns the kind of the error, as one word.
    #[must_use]
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::NotConfigured(_) => "not_configured",
            Self::Failed(_) => "misconfigured",
            Self::Unavailable(_) => "unavailable",
            Self::Refused(_) => "refused",
        }
    }
}
