//! The configuration of the server.

use std::sync::Arc;

use super::settings::ServerSettings;
use crate::proxy::WorkerCore;

/// The configuration of the server. A reload replaces all of it at once.
#[derive(Clone)]
pub struct ServerPlan {
    /// The settings of client connections. The number of workers is fixed at startup.
    pub settings: ServerSettings,
    /// The function that builds the state of each worker.
    pub make_core: MakeCore,
}

/// Builds the state of a worker, on the worker's thread, from the previous state if there is one.
pub type MakeCore = Arc<dyn Fn(Option<&WorkerCore>) -> WorkerCore + Send + Sync>;
