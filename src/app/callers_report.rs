//! Reports files of callers that cannot be used, in the log and in metrics.

use tracing::{error, info};

use crate::config::{BrokenCallersFile, CallerSources};
use crate::telemetry::ProcessCounters;

/// Logs each file that cannot be used, unless it was logged for the previous configuration. Sets the
/// gauge of such files.
pub(super) fn report_callers_files(
    sources: &CallerSources,
    before: Option<&CallerSources>,
    counters: &ProcessCounters,
) {
    let broken = sources.broken();
    counters.set_broken_callers_files(broken.len() as u64);
    let known = before.map(CallerSources::broken).unwrap_or_default();
    for file in broken.iter().filter(|file| !known.contains(file)) {
        let BrokenCallersFile { fault, has_callers } = file;
        for line in fault.lines() {
            if *has_callers {
                error!(error = line, "a file of callers cannot be used; it keeps its previous callers");
            } else {
                error!(error = line, "a file of callers cannot be used; none of its callers is known");
            }
        }
    }
    if broken.is_empty() && !known.is_empty() {
        info!("all files of callers can be used again");
    }
}
