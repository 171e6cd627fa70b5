//! Connection attempts to several addresses of a name (RFC 8305). An unresponsive address delays a
//! connection but does not prevent it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until};

use super::connect_error::DialPhase;

/// The reason why no connection was made.
#[derive(Debug)]
pub(super) enum DialFailure {
    /// The system or TLS reported it, in this phase.
    Io(DialPhase, io::Error),
    /// The address is this machine.
    Loop(SocketAddr),
}

/// The outcome of a race.
pub(super) struct RaceOutcome<T> {
    /// The connection and its address.
    pub(super) result: Result<(SocketAddr, T), DialFailure>,
    /// Addresses to try last next time: they did not respond, or failed after accepting.
    pub(super) doubtful: Vec<SocketAddr>,
    /// The addresses that failed.
    pub(super) tried: Vec<FailedAddress>,
}

/// An address that failed, with its error.
pub(super) struct FailedAddress {
    pub(super) address: SocketAddr,
    pub(super) error: String,
}

/// The timeout of a connection, with its deadline.
#[derive(Clone, Copy)]
pub(super) struct TimeLimit {
    pub(super) limit: Duration,
    pub(super) deadline: Instant,
}

impl TimeLimit {
    pub(super) fn starting_now(limit: Duration) -> Self {
        Self { limit, deadline: Instant::now() + limit }
    }

    /// Returns the timeout error for this phase.
    pub(super) fn exceeded(&self, phase: DialPhase) -> DialFailure {
        let text = format!("no connection within {:?}", self.limit);
        DialFailure::Io(phase, io::Error::new(io::ErrorKind::TimedOut, text))
    }
}

/// Connects to the first address that accepts and passes `finish`. The next address starts
/// [`STAGGER`] after the last progress, or as soon as an attempt has failed. `late` provides more
/// addresses.
pub(super) async fn race<T, F>(
    addresses: VecDeque<SocketAddr>,
    late: impl Future<Output = Result<Vec<SocketAddr>, DialFailure>>,
    time: TimeLimit,
    finish: impl Fn(TcpStream, SocketAddr) -> F,
) -> RaceOutcome<T>
where
    F: Future<Output = Result<T, DialFailure>>,
{
    let mut field = AddressRace::new(addresses);
    let mut late = pin!(late);
    let mut late_is_over = false;
    let mut stagger = pin!(sleep(STAGGER));
    let mut deadline = pin!(sleep_until(time.deadline));
    loop {
        if field.running.is_empty() {
            if field.start_next() {
                stagger.as_mut().reset(Instant::now() + STAGGER);
            } else if late_is_over {
                return field.failed();
            }
        }
        tokio::select! {
            biased;
            event = poll_fn(|cx| field.poll(cx)), if !field.running.is_empty() => {
                match event {
                    RaceEvent::Accepted(index, stream) => {
                        let attempt = &mut field.running[index];
                        attempt.step = AddressStep::Finishing(Box::pin(finish(stream, attempt.address)));
                    }
                    RaceEvent::Connected(index, connection) => return field.won(index, connection),
                    RaceEvent::Failed(_, failure @ DialFailure::Loop(_)) => return field.into_outcome(failure),
                    RaceEvent::Failed(index, DialFailure::Io(phase, error)) => {
                        field.fail(index, phase, error);
                        field.start_next();
                    }
                }
                stagger.as_mut().reset(Instant::now() + STAGGER);
            }
            more = &mut late, if !late_is_over => {
                late_is_over = true;
                match more {
                    Ok(more) => field.add(more),
                    Err(failure @ DialFailure::Loop(_)) => return field.into_outcome(failure),
                    Err(DialFailure::Io(phase, error)) => field.record_failure(phase, error),
                }
            }
            () = &mut stagger, if !field.waiting.is_empty() && !field.running.is_empty() => {
                field.start_next();
                stagger.as_mut().reset(Instant::now() + STAGGER);
            }
            () = &mut deadline => return field.timed_out(&time),
        }
    }
}

/// Returns the addresses in the order of attempts: the families alternate, as in RFC 8305 section
/// 4. The address that worked last comes first, and doubtful ones come last.
pub(super) fn ordered(
    addresses: &[SocketAddr],
    good: Option<SocketAddr>,
    doubtful: &[SocketAddr],
) -> VecDeque<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let mut first = addresses.iter().filter(|address| address.is_ipv6() == first_is_v6);
    let mut second = addresses.iter().filter(|address| address.is_ipv6() != first_is_v6);
    let mut order: Vec<SocketAddr> = Vec::with_capacity(addresses.len());
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            break;
        }
        for address in pair.into_iter().flatten() {
            if !order.contains(address) {
                order.push(*address);
            }
        }
    }
    order.sort_by_key(|address| {
        if good == Some(*address) {
            0
        } else if doubtful.contains(address) {
            2
        } else {
            1
        }
    });
    order.into()
}

/// The state of a race.
struct AddressRace<F> {
    waiting: VecDeque<SocketAddr>,
    running: Vec<AddressAttempt<F>>,
    doubtful: Vec<SocketAddr>,
    tried: Vec<FailedAddress>,
    /// The error of the attempt that got furthest.
    error: Option<(DialPhase, io::Error)>,
}

/// An attempt at one address.
struct AddressAttempt<F> {
    address: SocketAddr,
    step: AddressStep<F>,
}

enum AddressStep<F> {
    Connecting(TcpConnect),
    Finishing(Pin<Box<F>>),
}

type TcpConnect = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

/// The progress of the attempt with this index.
enum RaceEvent<T> {
    Accepted(usize, TcpStream),
    Connected(usize, T),
    Failed(usize, DialFailure),
}

impl<F> AddressRace<F> {
    fn new(waiting: VecDeque<SocketAddr>) -> Self {
        Self { waiting, running: Vec::new(), doubtful: Vec::new(), tried: Vec::new(), error: None }
    }

    /// Starts an attempt at the next address, if there is one.
    fn start_next(&mut self) -> bool {
        let Some(address) = self.waiting.pop_front() else { return false };
        self.running.push(AddressAttempt {
            address,
            step: AddressStep::Connecting(Box::pin(TcpStream::connect(address))),
        });
        true
    }

    fn poll<T>(&mut self, cx: &mut Context<'_>) -> Poll<RaceEvent<T>>
    where
        F: Future<Output = Result<T, DialFailure>>,
    {
        for (index, attempt) in self.running.iter_mut().enumerate() {
            let event = match &mut attempt.step {
                AddressStep::Connecting(connect) => {
                    connect.as_mut().poll(cx).map(|connected| match connected {
                        Ok(stream) => RaceEvent::Accepted(index, stream),
                        Err(error) => RaceEvent::Failed(index, DialFailure::Io(DialPhase::Connect, error)),
                    })
                }
                AddressStep::Finishing(finish) => finish.as_mut().poll(cx).map(|finished| match finished {
                    Ok(connection) => RaceEvent::Connected(index, connection),
                    Err(failure) => RaceEvent::Failed(index, failure),
                }),
            };
            if event.is_ready() {
                return event;
            }
        }
        Poll::Pending
    }

    /// Adds the addresses that are not in the race yet.
    fn add(&mut self, more: Vec<SocketAddr>) {
        for address in more {
            let runs = self.running.iter().any(|attempt| attempt.address == address);
            let is_known = runs
                || self.waiting.contains(&address)
                || self.tried.iter().any(|tried| tried.address == address);
            if !is_known {
                self.waiting.push_back(address);
            }
        }
    }

    fn record_failure(&mut self, phase: DialPhase, error: io::Error) {
        if self.error.as_ref().is_none_or(|(furthest, _)| phase >= *furthest) {
            self.error = Some((phase, error));
        }
    }

    fn fail(&mut self, index: usize, phase: DialPhase, error: io::Error) {
        let address = self.running.remove(index).address;
        if phase == DialPhase::Tls || error.kind() == io::ErrorKind::TimedOut {
            self.doubtful.push(address);
        }
        self.tried.push(FailedAddress { address, error: error.to_string() });
        self.record_failure(phase, error);
    }

    /// Ends the race with a connection. Attempts that started before the winner are doubtful: their
    /// addresses are slower or do not respond.
    fn won<T>(mut self, index: usize, connection: T) -> RaceOutcome<T> {
        self.doubtful.extend(self.running[..index].iter().map(|attempt| attempt.address));
        let address = self.running[index].address;
        RaceOutcome { result: Ok((address, connection)), doubtful: self.doubtful, tried: self.tried }
    }

    fn into_outcome<T>(self, failure: DialFailure) -> RaceOutcome<T> {
        RaceOutcome { result: Err(failure), doubtful: self.doubtful, tried: self.tried }
    }

    /// Ends the race when no address is left.
    fn failed<T>(mut self) -> RaceOutcome<T> {
        let none = || (DialPhase::Name, io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        let (phase, error) = self.error.take().unwrap_or_else(none);
        self.into_outcome(DialFailure::Io(phase, error))
    }

    fn timed_out<T>(mut self, time: &TimeLimit) -> RaceOutcome<T> {
        let mut phase = DialPhase::Name;
        for attempt in std::mem::take(&mut self.running) {
            let (reached, text) = match attempt.step {
                AddressStep::Connecting(_) => (DialPhase::Connect, "no response"),
                AddressStep::Finishing(_) => (DialPhase::Tls, "no response to the TLS handshake"),
            };
            phase = phase.max(reached);
            self.doubtful.push(attempt.address);
            self.tried.push(FailedAddress { address: attempt.address, error: text.to_owned() });
        }
        self.into_outcome(time.exceeded(phase))
    }
}

/// The time without progress after which the next address starts: the "Connection Attempt Delay" of
/// RFC 8305.
const STAGGER: Duration = Duration::from_millis(250);
