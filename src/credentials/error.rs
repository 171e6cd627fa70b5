//! Why there are no credentials.

use super::Insane;

/// Why a source gave no credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProvideError {
    /// Nobody set this source up: a chain asks the next one.
    #[error("not configured: {0}")]
    NotConfigured(String),
    /// The source is set up, and wrongly: a chain stops here, for the next one would sign as somebody else.
    #[error("{0}")]
    Failed(#[from] Failure),
    /// The source is set up, and gives nothing as things are; they may change.
    #[error("{0}")]
    Unavailable(String),
    /// The source is set up, and refuses; it will until somebody does what the text says.
    #[error("{0}")]
    Refused(String),
}

/// What is wrong with a source that is set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// One of two variables is missing.
    #[error("{present} is set and {missing} is not; set both or neither")]
    HalfSet {
        /// The one that is set.
        present: &'static str,
        /// The one that is not.
        missing: &'static str,
    },
    /// One of the three that make an OIDC source is missing.
    #[error("the OIDC source is set up in part; set {key}, or the variable {variable}")]
    HalfSetTrio {
        /// The key of the configuration.
        key: &'static str,
        /// The variable of the environment.
        variable: &'static str,
    },
    /// A role is to be assumed by the key of the environment, and there is none.
    #[error(
        "{variable} is set, and no OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET that could assume the role; set them, or unset it"
    )]
    RoleWithoutKey {
        /// The variable that names the role.
        variable: &'static str,
    },
    /// STS is to be asked inside the VPC of a region that nobody names.
    #[error("{variable} asks for STS inside the VPC, and no region is known; set sts_region, or {region}")]
    VpcWithoutRegion {
        /// The variable that asks for it.
        variable: &'static str,
        /// The variable that could name the region.
        region: &'static str,
    },
    /// The values cannot be an access key.
    #[error(transparent)]
    Insane(#[from] Insane),
}
