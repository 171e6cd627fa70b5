//! The state of the services that credentials come from. It is shared by all providers and outlives
//! a configuration.

use super::circuit_breaker::{EndpointRegistry, EndpointStatus};
use super::clock_skew::ClockOffsets;
use crate::transport::AddressBook;

/// The limits on calls to services, their addresses, and the offsets of their clocks.
#[derive(Default)]
pub struct CredentialServices {
    pub(super) endpoints: EndpointRegistry,
    pub(super) clocks: ClockOffsets,
    /// The addresses of the services. The clients that a reload creates start with the address that
    /// worked.
    pub(super) names: AddressBook,
}

impl CredentialServices {
    /// Returns a snapshot of all endpoints that were called so far.
    #[must_use]
    pub(crate) fn endpoints(&self) -> Vec<EndpointStatus> {
        self.endpoints.statuses()
    }

    /// Returns the offsets of the clocks of services, including OSS.
    #[must_use]
    pub(crate) fn clocks(&self) -> &ClockOffsets {
        &self.clocks
    }
}
