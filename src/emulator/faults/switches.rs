//! The fault switches of an emulator: planned faults with their remaining uses.

use std::sync::Arc;

use parking_lot::Mutex;

use super::super::wire::CloseMode;
use super::active::ActiveFaults;
use super::injected_fault::{FaultContext, InjectedFault};

/// The fault switches of one emulator. Clones share the same switches.
#[derive(Clone, Debug, Default)]
pub struct FaultSwitches(Arc<Mutex<Vec<PlannedFault>>>);

#[derive(Debug)]
struct PlannedFault {
    fault: InjectedFault,
    /// The number of remaining uses; `None` for unlimited.
    left: Option<usize>,
}

impl FaultSwitches {
    /// Applies `fault` to every request from now on.
    pub fn always(&self, fault: InjectedFault) {
        self.0.lock().push(PlannedFault { fault, left: None });
    }

    /// Applies `fault` to the next `requests` requests. Several faults can affect the same request.
    pub fn next(&self, requests: usize, fault: InjectedFault) {
        self.0.lock().push(PlannedFault { fault, left: Some(requests) });
    }

    /// Disables all faults.
    pub fn clear(&self) {
        self.0.lock().clear();
    }

    /// Returns the faults for one request, and decrements their counts.
    pub(in crate::emulator) fn take(&self, occasion: FaultContext) -> ActiveFaults {
        ActiveFaults::new(self.take_those(|fault| fault.acts_on(occasion)))
    }

    /// Returns how to close a new connection immediately, if a fault requires it.
    pub(in crate::emulator) fn take_connection(&self) -> Option<CloseMode> {
        self.take_those(|fault| fault.at_connect().is_some()).iter().find_map(InjectedFault::at_connect)
    }

    fn take_those(&self, wanted: impl Fn(&InjectedFault) -> bool) -> Vec<InjectedFault> {
        let mut planned = self.0.lock();
        planned.retain(|one| one.left != Some(0));
        let mut taken = Vec::new();
        for one in planned.iter_mut().filter(|one| wanted(&one.fault)) {
            one.left = one.left.map(|left| left - 1);
            taken.push(one.fault.clone());
        }
        taken
    }
}
