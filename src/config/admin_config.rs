//! The effective settings of the admin interface.

use crate::admin::AdminSettings;
use crate::server::ListenAddress;

/// The admin interface.
#[derive(Clone, Debug)]
pub(crate) struct AdminConfig {
    /// The listen address.
    pub(crate) address: ListenAddress,
    /// The settings of its endpoints and of access to them.
    pub(crate) settings: AdminSettings,
}
