//! What the operator learns about clients that are not identified.

use tracing::warn;

use super::state::WorkerCore;
use crate::caller::{IdentityError, beginning_of_key_id, is_real_key_id};

/// Warns of a client that has a real key of Alibaba Cloud, at most once in ten minutes. The log has
/// only the beginning of its id.
pub(super) fn warn_of_real_key(core: &WorkerCore, error: &IdentityError) {
    let IdentityError::UnknownKey { id } = error else { return };
    if is_real_key_id(id) && core.counters().real_key_warnings.allows(core.clock().now()) {
        warn!(
            id = beginning_of_key_id(id),
            "a client signs with a real access key of Alibaba Cloud; configure it with a key of this proxy, and disable the real one if it leaked"
        );
    }
}
