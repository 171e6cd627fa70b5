//! Fault injection: switches that make the running service misbehave.

mod active;
mod injected_fault;
mod parse;
mod switches;

pub(super) use active::ActiveFaults;
pub(super) use injected_fault::FaultContext;
pub use injected_fault::InjectedFault;
pub use parse::FaultOrder;
pub use switches::FaultSwitches;
