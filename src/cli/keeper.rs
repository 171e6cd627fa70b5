//! The thread that keeps credentials fresh. A provider that is slow there delays neither a connection nor a signal.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::credentials::{CredentialSource, SourceEnv, SourceMap, each};

/// The sources that are kept fresh, on a thread of their own. All of it ends when this is dropped.
pub(super) struct SourceKeeper {
    edge: Arc<dyn SourceEnv>,
    runtime: Handle,
    tasks: RefCell<HashMap<*const CredentialSource, SourceTask>>,
    _end: oneshot::Sender<()>,
}

struct SourceTask {
    /// Held so that no other source gets its address.
    _source: Arc<CredentialSource>,
    task: AbortHandle,
}

impl SourceKeeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(super) fn start(edge: Arc<dyn SourceEnv>) -> io::Result<Self> {
        // Each file that does not answer holds a thread, and the look-up of a name needs one too.
        let runtime =
            Builder::new_current_thread().enable_all().max_blocking_threads(BLOCKING_THREADS_MAX).build()?;
        let (handle, (end, ended)) = (runtime.handle().clone(), oneshot::channel());
        std::thread::Builder::new().name("credentials".to_owned()).spawn(move || {
            // It ends with its sender.
            let _ = runtime.block_on(ended);
            // What only blocks is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self { edge, runtime: handle, tasks: RefCell::default(), _end: end })
    }

    /// Asks each of these that is not kept yet, and keeps it fresh from then on.
    pub(super) fn keep(&self, sources: &SourceMap) {
        let mut tasks = self.tasks.borrow_mut();
        for (_, source) in each(sources) {
            tasks.entry(Arc::as_ptr(source)).or_insert_with(|| {
                let (kept, edge) = (Arc::clone(source), Arc::clone(&self.edge));
                let task = self.runtime.spawn(async move { kept.follow(&*edge).await });
                SourceTask { _source: Arc::clone(source), task: task.abort_handle() }
            });
        }
    }

    /// Keeps only these.
    pub(super) fn retain<'a>(&self, all: impl IntoIterator<Item = &'a SourceMap>) {
        let all: HashSet<*const CredentialSource> =
            all.into_iter().flat_map(SourceMap::values).map(Arc::as_ptr).collect();
        self.tasks.borrow_mut().retain(|source, kept| {
            let is_kept = all.contains(source);
            if !is_kept {
                kept.task.abort();
            }
            is_kept
        });
    }
}

/// Threads for work that blocks, made when they are needed.
const BLOCKING_THREADS_MAX: usize = 2048;
