//! The warning about callers that no listener can identify.

use std::sync::Arc;

use super::diagnostics::ConfigReport;
use super::error::ConfigWarning;
use super::section::ConfigSection;
use crate::caller::{CallerSettings, IdentityKinds};
use crate::server::ListenSettings;

/// Warns of callers of the main file whose identities are of kinds that no listener accepts.
pub(super) fn warn(
    root: &ConfigSection<'_>,
    callers: &[Arc<CallerSettings>],
    listeners: &[ListenSettings],
    report: &mut ConfigReport,
) {
    let is_unreachable = |caller: &&Arc<CallerSettings>| {
        !caller.is_open
            && kinds(caller).accepts_any()
            && !listeners.iter().any(|listener| shares_kind(kinds(caller), listener.identify))
    };
    let names: Vec<&str> = callers.iter().filter(is_unreachable).map(|caller| &*caller.name).collect();
    if names.is_empty() || listeners.is_empty() {
        return;
    }
    let shown = names[..names.len().min(SHOWN_MAX)].join(", ");
    let more = names.len().saturating_sub(SHOWN_MAX);
    let shown = if more == 0 { shown } else { format!("{shown} and {more} more") };
    report.warn(&root.at("caller"), &ConfigWarning::UnreachableCallers(shown));
}

/// Returns the kinds of the identities of a caller.
fn kinds(caller: &CallerSettings) -> IdentityKinds {
    let peer = &caller.peer;
    IdentityKinds {
        key: !caller.keys.is_empty(),
        certificate: peer.certificate.is_some(),
        uid: peer.uid.is_some() || peer.gid.is_some() || peer.user.is_some(),
        token: caller.token.is_some(),
        jwt: caller.jwt.is_some(),
    }
}

fn shares_kind(one: IdentityKinds, other: IdentityKinds) -> bool {
    one.names().any(|name| other.names().any(|known| known == name))
}

/// The maximum number of names in the warning.
const SHOWN_MAX: usize = 5;
