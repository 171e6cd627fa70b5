//! The differences between the callers of two configurations, for the log. They name callers instead
//! of positions in a file, and show no identities.

use std::collections::HashMap;
use std::sync::Arc;

use crate::caller::CallerSettings;

/// Returns one line for each caller that was added, changed or removed, up to a limit. The last line
/// then has the number of the others.
#[must_use]
pub(crate) fn caller_changes(before: &[Arc<CallerSettings>], after: &[Arc<CallerSettings>]) -> Vec<String> {
    let mut was: HashMap<&str, &CallerSettings> =
        before.iter().map(|caller| (caller.name.as_str(), &**caller)).collect();
    let mut changes = Vec::new();
    for caller in after {
        let (name, access) = (&caller.name, caller.rights.as_str());
        match was.remove(name.as_str()) {
            None => changes.push(format!("caller {name} added: allow {access}")),
            Some(was) if was.rights != caller.rights => {
                let before = was.rights.as_str();
                changes.push(if before == access {
                    format!("caller {name} changed: its rights")
                } else {
                    format!("caller {name} changed: allow {access} instead of {before}")
                });
            }
            Some(was) if was.origin.mark != caller.origin.mark || was.keys.len() != caller.keys.len() => {
                changes.push(format!("caller {name} changed"));
            }
            Some(_) => {}
        }
    }
    let removed = before.iter().filter(|caller| was.contains_key(caller.name.as_str()));
    changes.extend(removed.map(|caller| format!("caller {} removed", caller.name)));
    let more = changes.len().saturating_sub(CHANGES_MAX);
    if more > 0 {
        changes.truncate(CHANGES_MAX);
        changes.push(format!("{more} more callers added, changed or removed"));
    }
    changes
}

/// The number of changes that are listed one by one.
const CHANGES_MAX: usize = 100;
