//! The edge: the one place that reads the clock and the environment of this machine.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::set_no_new_privs;

use crate::config::Process;
use crate::credentials::Edge;
use crate::time::{Clock, Timestamp};

/// This machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Clock for System {
    #[expect(clippy::disallowed_methods, reason = "this is the edge that owns the clock")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_unix_s(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }
}

impl Edge for System {
    #[expect(clippy::disallowed_methods, reason = "this is the edge that owns the environment")]
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }
}

/// Closes this process, which holds secrets, to others: no core files, and its memory and environment are nobody else's, not even
/// of other processes of this user. What the system cannot do is not done; there is nothing else to try.
pub(super) fn close() {
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), ..getrlimit(Resource::Core) });
}

/// Opens again what the configuration wants open, and gives up the right to gain rights.
pub(super) fn settle(process: &Process) {
    if process.inspectable {
        let _ = set_dumpable_behavior(DumpableBehavior::Dumpable);
    }
    if process.core_files {
        let Rlimit { maximum, .. } = getrlimit(Resource::Core);
        let _ = setrlimit(Resource::Core, Rlimit { current: maximum, maximum });
    }
    if process.no_new_privileges {
        let _ = set_no_new_privs(true);
    }
}

/// Takes all the open files that this process may have: each connection is one. Returns how many, if they are limited.
pub(super) fn raise_file_limit() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok() { maximum } else { current }
}
