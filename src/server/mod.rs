//! Sockets: listeners, the cores that serve their connections, and the drain at the end.
//!
//! Connections are accepted in one place and handed to the core that has the fewest; there they stay, with the upstream
//! connections that serve them. A core is a thread with a runtime of its own.

mod accept;
mod client;
mod connection;
mod cores;
mod drain;
mod inherited;
mod listen;
mod places;
mod presence;
mod protocol;
mod tls;
mod unix;

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::TlsAcceptor;
use tracing::error;

pub use accept::Accepted;
pub use drain::{Drain, Drained};
pub use inherited::Inherited;
pub use listen::{Address, BindError, Bound, Listen};
pub use tls::{BadTls, TlsFiles};

use crate::proxy::{Core, Gate};
use cores::{Cores, Entry};
use places::Places;

/// Settings of all client connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many cores serve; at least one.
    pub cores: usize,
    /// How many client connections may be open at once, on all of them.
    pub connections: usize,
    /// How many bytes the head of a request may have, its first line included.
    pub header_bytes: usize,
    /// How long the head of a request may take from its first byte; on a new connection, from the beginning.
    pub header_read: Duration,
    /// How long a client connection may be silent between requests.
    pub idle: Duration,
    /// How long a client may take nothing of an answer.
    pub stall: Duration,
    /// How long the drain waits for requests in flight.
    pub drain: Duration,
}

/// Makes the state of a core, in the thread of the core.
pub type MakeCore = Arc<dyn Fn() -> Core + Send + Sync>;

/// Accepts on all listeners until the drain begins, then lets requests in flight end. Returns how that went.
///
/// # Errors
/// If the system gives no threads or sockets at all.
pub async fn serve(
    listeners: Vec<(Bound, Option<TlsAcceptor>)>,
    settings: Settings,
    make_core: MakeCore,
    drain: Drain,
) -> io::Result<Drained> {
    let entries =
        listeners.iter().map(|(bound, tls)| Entry { gate: gate(bound), tls: tls.clone() }).collect();
    let cores = Rc::new(Cores::start(settings, make_core, entries, &drain)?);
    let places = Rc::new(Places::new(settings.connections));
    let mut accepting = Vec::new();
    for (index, (bound, _)) in listeners.into_iter().enumerate() {
        let (cores, places) = (Rc::clone(&cores), Rc::clone(&places));
        accepting.push(tokio::task::spawn_local(async move {
            let address = bound.address.clone();
            let each = async |accepted| cores.hand_over(accepted, index, places.take().await);
            let Err(error) = bound.accept(each).await;
            error!(%address, %error, "cannot accept connections");
        }));
    }
    drain.begun().await;
    for task in accepting {
        task.abort();
    }
    Ok(cores.drained(settings.drain, &drain).await)
}

fn gate(bound: &Bound) -> Gate {
    Gate {
        domains: bound.listen.domains.clone(),
        policy: bound.listen.policy.clone(),
        tls: bound.listen.tls.is_some(),
        unnamed: bound.is_unix(),
    }
}
