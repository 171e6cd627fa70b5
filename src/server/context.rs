//! The configuration of a worker as its connections see it, and its change by a reload.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use super::settings::ServerSettings;
use super::tls::ClientTlsPolicy;
use super::trusted_proxies::TrustedProxies;
use crate::proxy::{ListenerRules, WorkerCore};

/// A listener as its connections see it.
#[derive(Clone)]
pub(super) struct ListenerConfig {
    pub(super) id: usize,
    pub(super) rules: ListenerRules,
    pub(super) tls: Option<TlsAcceptor>,
    /// A reload keeps the `Arc` if the requirements are equal.
    pub(super) tls_requirements: Arc<ClientTlsPolicy>,
    pub(super) trusted_proxies: Option<Arc<TrustedProxies>>,
}

/// The current configuration of a worker.
pub(super) struct WorkerConfig {
    pub(super) core: Rc<WorkerCore>,
    pub(super) settings: ServerSettings,
    entries: Vec<ListenerContext>,
    /// The listeners that the last reload has removed: their last connections may still be in the
    /// inbox.
    withdrawn: Vec<ListenerContext>,
}

/// A listener on a worker.
#[derive(Clone)]
pub(super) struct ListenerContext {
    pub(super) id: usize,
    pub(super) rules: Rc<ListenerRules>,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) tls_requirements: Arc<ClientTlsPolicy>,
    pub(super) trusted_proxies: Option<Arc<TrustedProxies>>,
}

/// The state of a worker, through which its connections see a reload.
pub(super) struct WorkerState {
    setup: RefCell<Rc<WorkerConfig>>,
    renewed: Notify,
}

impl WorkerConfig {
    pub(super) fn new(core: WorkerCore, settings: ServerSettings, entries: &[ListenerConfig]) -> Self {
        let to_context = |entry: &ListenerConfig| {
            let ListenerConfig { id, rules, tls, tls_requirements, trusted_proxies } = entry.clone();
            ListenerContext { id, rules: Rc::new(rules), tls, tls_requirements, trusted_proxies }
        };
        let entries = entries.iter().map(to_context).collect();
        Self { core: Rc::new(core), settings, entries, withdrawn: Vec::new() }
    }

    /// Records the listeners that `before` has and this configuration does not.
    pub(super) fn after(mut self, before: &Self) -> Self {
        let withdrawn = before.entries.iter().filter(|listener| self.listener(listener.id).is_none());
        self.withdrawn = withdrawn.cloned().collect();
        self
    }

    /// Returns the listener of a new connection, even if the last reload has removed it.
    pub(super) fn listener_of_arrival(&self, id: usize) -> Option<&ListenerContext> {
        let withdrawn = || self.withdrawn.iter().find(|listener| listener.id == id);
        self.listener(id).or_else(withdrawn)
    }

    /// Returns the listener with this id, unless it was removed.
    pub(super) fn listener(&self, id: usize) -> Option<&ListenerContext> {
        self.entries.iter().find(|listener| listener.id == id)
    }
}

impl WorkerState {
    pub(super) fn new(setup: WorkerConfig) -> Self {
        Self { setup: RefCell::new(Rc::new(setup)), renewed: Notify::new() }
    }

    /// Returns the current configuration.
    pub(super) fn get(&self) -> Rc<WorkerConfig> {
        Rc::clone(&self.setup.borrow())
    }

    pub(super) fn renew(&self, setup: WorkerConfig) {
        self.setup.replace(Rc::new(setup));
        self.renewed.notify_waiters();
    }

    /// Waits until the listener with this id is removed, or has other TLS requirements than these.
    pub(super) async fn listener_changed(&self, id: usize, tls_requirements: &Arc<ClientTlsPolicy>) {
        loop {
            let renewed = self.renewed.notified();
            if !self
                .get()
                .listener(id)
                .is_some_and(|listener| Arc::ptr_eq(&listener.tls_requirements, tls_requirements))
            {
                return;
            }
            renewed.await;
        }
    }
}
