//! Settings of the admin interface: access and readiness.

use std::sync::Arc;

use crate::secret::Secret;

/// The settings of the admin interface.
#[derive(Clone, Debug, Default)]
pub(crate) struct AdminSettings {
    /// The token required for everything except health, version and metrics. Without it, only this
    /// machine can reach the listener.
    pub(crate) token: Option<Arc<Secret>>,
    /// The condition for readiness.
    pub(crate) ready_when: ReadinessRule,
    /// Allows requests to shut the process down.
    pub(crate) quit: bool,
}

/// The condition for readiness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum ReadinessRule {
    /// At least one of the credential sources used for signing is usable.
    #[default]
    Any,
    /// All credential sources used for signing are usable.
    All,
}
