//! Name resolution that remembers addresses. A lookup that is slow or fails does not block a name
//! that was resolved before, and the address that worked is remembered for each name.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::debug;

use super::connect_error::DialPhase;
use super::flight::SharedTask;
use super::race::{DialFailure, FailedAddress, TimeLimit, ordered, race};

/// The resolver, and the record of which address of a name worked. Clones share both.
#[derive(Clone)]
pub(crate) struct AddressBook {
    memory: Arc<Mutex<HashMap<DialName, NameMemory>>>,
    /// Permits for lookups, because each lookup that hangs occupies a thread.
    lookups: Arc<Semaphore>,
    resolve: NameResolver,
}

/// A failed connection.
#[derive(Debug)]
pub(super) struct AddressFailure {
    pub(super) why: DialFailure,
    /// The addresses that were tried, for the log. May be empty.
    pub(super) tried: String,
}

/// The host and port to dial.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct DialName {
    /// The host: a name or an IP address.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: u16,
}

type LookupResult = Result<Vec<SocketAddr>, LookupError>;
type NameResolver = Arc<dyn Fn(DialName) -> Pin<Box<dyn Future<Output = LookupResult> + Send>> + Send + Sync>;

/// A copy of an error of the resolver, which each caller gets.
#[derive(Clone)]
struct LookupError {
    kind: io::ErrorKind,
    text: String,
}

/// The record of one name.
struct NameMemory {
    /// The result of the last successful lookup.
    addresses: Vec<SocketAddr>,
    /// The address that worked last.
    good: Option<SocketAddr>,
    /// The addresses that failed recently, which are tried last.
    doubtful: Vec<SocketAddr>,
    lookup: Option<SharedTask<LookupResult>>,
    used: Instant,
}

impl Default for AddressBook {
    fn default() -> Self {
        Self::new(Arc::new(|name| {
            Box::pin(async move {
                let found = lookup_host((name.host.as_str(), name.port)).await;
                found.map(Iterator::collect).map_err(LookupError::from)
            })
        }))
    }
}

impl AddressBook {
    fn new(resolve: NameResolver) -> Self {
        Self { memory: Arc::default(), lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)), resolve }
    }

    /// Connects to an address of the name and calls `finish` to complete the connection. `vet`
    /// checks and filters the addresses before any of them is tried.
    pub(super) async fn connect<T, F>(
        &self,
        name: &DialName,
        time: TimeLimit,
        vet: impl Fn(Vec<SocketAddr>) -> Result<Vec<SocketAddr>, DialFailure>,
        finish: impl Fn(TcpStream, SocketAddr) -> F,
    ) -> Result<T, AddressFailure>
    where
        F: Future<Output = Result<T, DialFailure>>,
    {
        if let Ok(ip) = name.host.parse::<IpAddr>() {
            let addresses = vet(vec![SocketAddr::new(ip, name.port)])?;
            let raced = race(addresses.into(), async { Ok(Vec::new()) }, time, finish).await;
            let tried = shown(&raced.tried, &raced.result);
            return raced.result.map(|(_, done)| done).map_err(|why| AddressFailure { why, tried });
        }
        let remembered = self.remembered(name);
        let mut lookup = Box::pin(self.look_up(name));
        let found = tokio::select! {
            biased;
            found = &mut lookup => Some(found),
            () = sleep(SLOW_LOOKUP), if !remembered.is_empty() => None,
            () = sleep_until(time.deadline) => return Err(time.exceeded(DialPhase::Name).into()),
        };
        let (addresses, pending) = match found {
            Some(Ok(addresses)) => (addresses, None),
            Some(Err(error)) if remembered.is_empty() => {
                return Err(DialFailure::Io(DialPhase::Name, error).into());
            }
            Some(Err(error)) => {
                debug!(host = name.host, %error, "name lookup failed; using the addresses of the last lookup");
                (remembered, None)
            }
            None => (remembered, Some(lookup)),
        };
        let late = async {
            let Some(lookup) = pending else { return Ok(Vec::new()) };
            vet(lookup.await.map_err(|error| DialFailure::Io(DialPhase::Name, error))?)
        };
        let raced = race(self.ordered(name, &vet(addresses)?), late, time, finish).await;
        self.record_result(name, raced.result.as_ref().ok().map(|(address, _)| *address), &raced.doubtful);
        let tried = shown(&raced.tried, &raced.result);
        raced.result.map(|(_, done)| done).map_err(|why| AddressFailure { why, tried })
    }

    /// Marks an address as doubtful, so that it is tried last from now on.
    pub(super) fn doubt(&self, name: &DialName, address: SocketAddr) {
        self.record_result(name, None, &[address]);
    }

    /// Returns the addresses of the last successful lookup.
    fn remembered(&self, name: &DialName) -> Vec<SocketAddr> {
        self.memory.lock().get(name).map(|memory| memory.addresses.clone()).unwrap_or_default()
    }

    fn ordered(&self, name: &DialName, addresses: &[SocketAddr]) -> std::collections::VecDeque<SocketAddr> {
        match self.memory.lock().get(name) {
            Some(memory) => ordered(addresses, memory.good, &memory.doubtful),
            None => ordered(addresses, None, &[]),
        }
    }

    fn record_result(&self, name: &DialName, good: Option<SocketAddr>, doubtful: &[SocketAddr]) {
        let mut book = self.memory.lock();
        let Some(memory) = book.get_mut(name) else { return };
        memory.doubtful.retain(|address| good != Some(*address) && !doubtful.contains(address));
        memory.doubtful.extend_from_slice(doubtful);
        memory.good = good.or_else(|| memory.good.filter(|last| !doubtful.contains(last)));
    }

    /// Looks up the name. There is one lookup of a name at a time, and all callers share its
    /// result.
    async fn look_up(&self, name: &DialName) -> io::Result<Vec<SocketAddr>> {
        let mut permit = None;
        let lookup = loop {
            match self.join(name, permit) {
                Some(lookup) => break lookup,
                None => permit = Arc::clone(&self.lookups).acquire_owned().await.ok(),
            }
        };
        let cancelled = || LookupError {
            kind: io::ErrorKind::Interrupted,
            text: "the name lookup was cancelled".to_owned(),
        };
        let found = lookup.wait().await.unwrap_or_else(|| Err(cancelled()));
        found.map_err(|error| io::Error::new(error.kind, error.text))
    }

    /// Returns the lookup in progress, or starts one. Returns `None` if no permit is available.
    fn join(
        &self,
        name: &DialName,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Option<SharedTask<LookupResult>> {
        let mut book = self.memory.lock();
        if !book.contains_key(name) {
            make_room(&mut book);
        }
        let memory = book.entry(name.clone()).or_insert_with(NameMemory::new);
        memory.used = Instant::now();
        if let Some(lookup) = memory.lookup.as_ref().filter(|lookup| !lookup.is_over()) {
            return Some(lookup.clone());
        }
        let permit = permit.or_else(|| Arc::clone(&self.lookups).try_acquire_owned().ok())?;
        let work = (self.resolve)(name.clone());
        let shared = self.clone();
        let looked_up = name.clone();
        let lookup = SharedTask::spawn(async move {
            let found = work.await;
            if let Ok(addresses) = &found {
                shared.found(&looked_up, addresses);
            }
            drop(permit);
            found
        });
        memory.lookup = Some(lookup.clone());
        Some(lookup)
    }

    /// Records the result of a lookup. Addresses that are no longer in it are dropped.
    fn found(&self, name: &DialName, addresses: &[SocketAddr]) {
        let mut book = self.memory.lock();
        let Some(memory) = book.get_mut(name) else { return };
        memory.addresses = addresses.to_vec();
        memory.good = memory.good.filter(|good| addresses.contains(good));
        memory.doubtful.retain(|address| addresses.contains(address));
    }
}

impl DialName {
    /// Creates a name.
    #[must_use]
    pub(crate) fn new(host: &str, port: u16) -> Self {
        Self { host: host.to_owned(), port }
    }
}

impl fmt::Display for DialName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl From<io::Error> for LookupError {
    fn from(error: io::Error) -> Self {
        Self { kind: error.kind(), text: error.to_string() }
    }
}

impl NameMemory {
    fn new() -> Self {
        Self { addresses: Vec::new(), good: None, doubtful: Vec::new(), lookup: None, used: Instant::now() }
    }
}

impl From<DialFailure> for AddressFailure {
    fn from(why: DialFailure) -> Self {
        Self { why, tried: String::new() }
    }
}

/// Evicts the least recently dialled name when the limit is reached. A name with a lookup in
/// progress is kept.
fn make_room(book: &mut HashMap<DialName, NameMemory>) {
    if book.len() < NAMES_MAX {
        return;
    }
    let idle = book.iter().filter(|(_, memory)| memory.lookup.as_ref().is_none_or(SharedTask::is_over));
    let oldest = idle.min_by_key(|(_, memory)| memory.used).map(|(name, _)| name.clone());
    if let Some(oldest) = oldest {
        book.remove(&oldest);
    }
}

/// Formats the addresses that were tried, for the log. A single address is omitted, unless the
/// failure is a timeout.
fn shown<T>(tried: &[FailedAddress], result: &Result<T, DialFailure>) -> String {
    let is_late = matches!(result, Err(DialFailure::Io(_, error)) if error.kind() == io::ErrorKind::TimedOut);
    let mut text = String::new();
    if is_late || tried.len() > 1 {
        for FailedAddress { address, error } in tried {
            let before = if text.is_empty() { "; tried " } else { ", " };
            // Writing to a `String` cannot fail.
            let _ = write!(text, "{before}{address} ({error})");
        }
    }
    text
}

/// The time after which the addresses of the previous lookup are used.
const SLOW_LOOKUP: Duration = Duration::from_millis(250);
/// The limit on lookups in progress.
const LOOKUPS_MAX: usize = 16;
/// The limit on recorded names. Names come from requests, so the number must be bounded.
const NAMES_MAX: usize = 256;

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
