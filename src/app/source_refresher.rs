//! Refreshes credentials, and the keys of token issuers, on a separate thread. A slow provider then delays neither a connection nor
//! a signal.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::credentials::{CredentialSource, RefreshLoop, SourceEnv, SourceMap, each};
use crate::jwks::{FetchedKeySets, IssuerKeys};

/// The sources that are refreshed, on a separate thread. Dropping it stops all refreshes.
pub(crate) struct SourceKeeper {
    env: Arc<dyn SourceEnv>,
    runtime: Handle,
    tasks: RefCell<HashMap<*const CredentialSource, SourceTask>>,
    key_tasks: RefCell<Vec<KeySetTask>>,
    _end: oneshot::Sender<()>,
}

struct SourceTask {
    /// Held so that no other source gets the same address.
    _source: Arc<CredentialSource>,
    task: AbortHandle,
}

/// The task that fetches the keys of a token issuer.
struct KeySetTask {
    keys: Arc<IssuerKeys>,
    task: AbortHandle,
}

impl SourceKeeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the operating system provides no thread.
    pub(crate) fn start(env: Arc<dyn SourceEnv>) -> io::Result<Self> {
        // Each file that does not respond occupies a thread, and a name lookup needs one too.
        let runtime =
            Builder::new_current_thread().enable_all().max_blocking_threads(BLOCKING_THREADS_MAX).build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new().name("credentials".to_owned()).spawn(move || {
            // Ends when the sender is dropped.
            let _ = runtime.block_on(ended);
            // Does not wait for blocking work.
            runtime.shutdown_background();
        })?;
        let (tasks, key_tasks) = Default::default();
        Ok(Self { env, runtime: handle, tasks, key_tasks, _end: end })
    }

    /// Starts to refresh each source that is not refreshed yet.
    pub(crate) fn keep(&self, sources: &SourceMap) {
        let mut tasks = self.tasks.borrow_mut();
        for (_, source) in each(sources) {
            tasks.entry(Arc::as_ptr(source)).or_insert_with(|| {
                let refreshed = Arc::clone(source);
                let env = Arc::clone(&self.env);
                let task = self.runtime.spawn(async move { RefreshLoop::new(&refreshed, &*env).run().await });
                SourceTask { _source: Arc::clone(source), task: task.abort_handle() }
            });
        }
    }

    /// Fetches the keys of these issuers, and of no others.
    pub(crate) fn keep_keys(&self, sets: &FetchedKeySets) {
        let mut tasks = self.key_tasks.borrow_mut();
        tasks.retain(|entry| {
            let is_kept = sets.all().any(|keys| Arc::ptr_eq(keys, &entry.keys));
            if !is_kept {
                entry.task.abort();
            }
            is_kept
        });
        for keys in sets.all() {
            if !tasks.iter().any(|entry| Arc::ptr_eq(keys, &entry.keys)) {
                let fetched = Arc::clone(keys);
                let task = self.runtime.spawn(async move { fetched.run().await });
                tasks.push(KeySetTask { keys: Arc::clone(keys), task: task.abort_handle() });
            }
        }
    }

    /// Stops the refreshes of all other sources.
    pub(crate) fn retain<'a>(&self, all: impl IntoIterator<Item = &'a SourceMap>) {
        let all: HashSet<*const CredentialSource> =
            all.into_iter().flat_map(SourceMap::values).map(Arc::as_ptr).collect();
        self.tasks.borrow_mut().retain(|source, entry| {
            let is_kept = all.contains(source);
            if !is_kept {
                entry.task.abort();
            }
            is_kept
        });
    }
}

/// The limit on threads for blocking work. They are started on demand.
const BLOCKING_THREADS_MAX: usize = 2048;
