//! Access to the system: the only code that reads the clock and the environment of this machine.

use std::ffi::OsString;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::set_no_new_privs;

use crate::config::HardeningConfig;
use crate::credentials::SourceEnv;
use crate::time::{Clock, Timestamp};

/// The clock and the environment of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEnv;

impl Clock for SystemEnv {
    #[expect(clippy::disallowed_methods, reason = "this type provides the system clock")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_unix_s(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }
}

impl SourceEnv for SystemEnv {
    #[expect(clippy::disallowed_methods, reason = "this type provides the process environment")]
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    fn variable_names(&self) -> Vec<String> {
        variable_names().iter().map(|name| name.to_string_lossy().into_owned()).collect()
    }

    fn is_not_text(&self, name: &str) -> bool {
        std::env::var_os(name).is_some_and(|value| value.to_str().is_none())
    }
}

/// Returns the names of all environment variables.
pub(crate) fn variable_names() -> Vec<OsString> {
    std::env::vars_os().map(|(name, _)| name).collect()
}

/// Returns the signals that were ignored when this process started, one bit for each, from signal 1
/// on. Returns 0 if the system does not report them.
pub(crate) fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Protects the memory and the environment of this process, which hold secrets, from other
/// processes, even of the same user. A command that it executes does not inherit the protection. A
/// failure is ignored, because there is no alternative.
pub(crate) fn deny_inspection() {
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Protects the process as [`deny_inspection`] does, and disables core files. The latter is inherited.
pub(crate) fn harden() {
    deny_inspection();
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), ..getrlimit(Resource::Core) });
}

/// Removes the protection that the configuration disables, and gives up the right to gain
/// privileges if configured.
pub(crate) fn apply_hardening(process: &HardeningConfig) {
    if process.dumpable {
        let _ = set_dumpable_behavior(DumpableBehavior::Dumpable);
    }
    if process.core_dumps {
        let Rlimit { maximum, .. } = getrlimit(Resource::Core);
        let _ = setrlimit(Resource::Core, Rlimit { current: maximum, maximum });
    }
    if process.no_new_privileges {
        let _ = set_no_new_privs(true);
    }
}

/// Raises the limit on open files to its maximum, because each connection is a file. Returns the
/// limit, if there is one.
pub(crate) fn raise_file_limit() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok() { maximum } else { current }
}
