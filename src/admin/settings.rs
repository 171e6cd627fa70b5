//! What the admin interface serves, and to whom.

use std::sync::Arc;

use crate::secret::Secret;

/// Settings of the admin interface.
#[derive(Clone, Debug, Default)]
pub struct AdminSettings {
    /// What a request for more than health and metrics must show. Without it, only this machine gets here.
    pub token: Option<Arc<Secret>>,
    /// When the process counts as ready.
    pub ready_when: ReadinessRule,
    /// Whether the process can be asked to end.
    pub quit: bool,
}

/// When the process counts as ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ReadinessRule {
    /// When one of the sources of credentials that requests are signed with is usable.
    #[default]
    Any,
    /// When all of them are.
    All,
}
