//! The threads that serve, and the choice among them.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};
use tokio::task::{LocalSet, spawn_local};
use tokio_rustls::TlsAcceptor;
use tracing::error;

use super::accept::Accepted;
use super::connection::Host;
use super::drain::{Drain, Drained};
use super::places::Place;
use super::{MakeCore, Settings};
use crate::proxy::{Core, Gate};

/// All cores.
pub(super) struct Cores {
    cores: Vec<Handle>,
    /// Told at each end of a connection during the drain.
    ended: watch::Sender<()>,
}

/// A listener as its connections know it.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) gate: Gate,
    pub(super) tls: Option<TlsAcceptor>,
}

/// A connection on its way to a core.
struct Arrival {
    accepted: Accepted,
    listener: usize,
    place: Place,
}

/// One core as others see it.
struct Handle {
    arrivals: mpsc::UnboundedSender<Arrival>,
    load: Arc<AtomicUsize>,
}

/// What counts a connection as open; dropped with it.
struct Open {
    load: Arc<AtomicUsize>,
    ended: watch::Sender<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
        self.ended.send_replace(());
    }
}

impl Cores {
    pub(super) fn start(
        settings: Settings,
        make_core: MakeCore,
        entries: Arc<[Entry]>,
        drain: &Drain,
    ) -> io::Result<Self> {
        let (ended, _) = watch::channel(());
        let mut cores = Vec::new();
        for index in 0..settings.cores.max(1) {
            let (arrivals, inbox) = mpsc::unbounded_channel();
            let load = Arc::new(AtomicUsize::new(0));
            let thread = Thread {
                inbox,
                make_core: Arc::clone(&make_core),
                entries: Arc::clone(&entries),
                drain: drain.clone(),
                settings,
                open: (Arc::clone(&load), ended.clone()),
            };
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let name = format!("core-{index}");
            std::thread::Builder::new().name(name).spawn(move || {
                LocalSet::new().block_on(&runtime, thread.run());
            })?;
            cores.push(Handle { arrivals, load });
        }
        Ok(Self { cores, ended })
    }

    /// Gives a connection to the core that has the fewest.
    pub(super) fn hand_over(&self, accepted: Accepted, listener: usize, place: Place) {
        let least = self.cores.iter().min_by_key(|core| core.load.load(Ordering::Relaxed));
        let Some(core) = least else { return };
        core.load.fetch_add(1, Ordering::Relaxed);
        if core.arrivals.send(Arrival { accepted, listener, place }).is_err() {
            error!("a core has ended; the connection is dropped");
        }
    }

    /// Waits until no connection is open, until `limit`, or until it is forced.
    pub(super) async fn drained(&self, limit: Duration, drain: &Drain) -> Drained {
        let open = || self.cores.iter().map(|core| core.load.load(Ordering::Relaxed)).sum::<usize>();
        let mut ended = self.ended.subscribe();
        let all_ended = async { while open() > 0 && ended.changed().await.is_ok() {} };
        tokio::select! {
            () = all_ended => Drained::Whole,
            () = tokio::time::sleep(limit) => Drained::Cut { connections: open() },
            () = drain.forced() => Drained::Cut { connections: open() },
        }
    }
}

/// One core, before it runs.
struct Thread {
    inbox: mpsc::UnboundedReceiver<Arrival>,
    make_core: MakeCore,
    entries: Arc<[Entry]>,
    drain: Drain,
    settings: Settings,
    open: (Arc<AtomicUsize>, watch::Sender<()>),
}

impl Thread {
    async fn run(mut self) {
        let core = Rc::new((self.make_core)());
        let entry = |entry: &Entry| (Rc::new(entry.gate.clone()), entry.tls.clone());
        let entries: Vec<(Rc<Gate>, Option<TlsAcceptor>)> = self.entries.iter().map(entry).collect();
        spawn_local(sweep(Rc::clone(&core), self.settings.idle));
        while let Some(Arrival { accepted, listener, place }) = self.inbox.recv().await {
            let open = Open { load: Arc::clone(&self.open.0), ended: self.open.1.clone() };
            let Some((gate, tls)) = entries.get(listener) else { continue };
            let (core, gate, drain) = (Rc::clone(&core), Rc::clone(gate), self.drain.clone());
            let host = Host { core, gate, tls: tls.clone(), settings: self.settings, drain };
            spawn_local(async move {
                host.serve(accepted).await;
                drop((place, open));
            });
        }
    }
}

/// Closes upstream connections that nobody uses any more.
async fn sweep(core: Rc<Core>, idle: Duration) {
    let mut ticks = tokio::time::interval((idle / 2).max(Duration::from_secs(1)));
    loop {
        ticks.tick().await;
        core.transport().sweep();
    }
}
