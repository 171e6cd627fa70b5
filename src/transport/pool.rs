//! The connection pool of a worker. Each destination has idle connections, a share of the
//! connections in use and of the dials, and a queue of requests. The most recently used idle
//! connection is reused first, so that the others can expire.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::connection::UpstreamConnection;
use super::destination::UpstreamDestination;
use super::dial_error::DialError;
use super::outage::DialOutage;
use super::queue::QueuedRequest;
use super::request_body::BodyState;
use super::settings::TransportSettings;
use super::share::SharedLimit;
use super::silence::{DestinationSilence, ResponseWaits, SilenceStep, SilenceTrial};
use super::stats::PoolStats;

/// The connections of one worker, by destination.
pub(super) struct ConnectionPool {
    idle: Cell<Duration>,
    /// A list, because destinations are few and comparing them costs less than hashing one.
    destinations: RefCell<Vec<Rc<DestinationState>>>,
    idle_count: Cell<usize>,
    in_use: SharedLimit,
    dialling: SharedLimit,
    /// The number of requests in all queues.
    waiting: Cell<usize>,
    next_ticket: Cell<u64>,
    stats: Arc<PoolStats>,
}

/// The state of one destination.
pub(super) struct DestinationState {
    to: Rc<UpstreamDestination>,
    idle: RefCell<Vec<IdleConnection>>,
    in_use: Cell<usize>,
    dialling: Cell<usize>,
    queue: RefCell<VecDeque<Rc<QueuedRequest<CheckoutGrant>>>>,
    outage: RefCell<Option<DialOutage>>,
    responses: Rc<ResponseWaits>,
    /// The time of the last successful dial.
    connected_at: Cell<Option<Instant>>,
    /// The time at which rejected requests were logged last.
    busy_logged_at: Cell<Option<Instant>>,
}

/// An idle connection.
pub(super) struct IdleConnection {
    pub(super) connection: UpstreamConnection,
    pub(super) since: Instant,
}

/// The outcome of a checkout.
pub(super) enum CheckoutGrant {
    /// Reuses a connection that was idle for this time.
    Reuse(UsePermit, IdleConnection, Duration),
    /// Permits a dial.
    Dial(UsePermit, DialPermit),
    /// Rejects the request with the error of the last dial, which failed.
    Reject(DialError),
    /// Rejects the request because the destination responds to none of the requests sent before.
    Silent(DestinationSilence),
}

/// The next step of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NextStep {
    Reuse,
    Dial,
    /// A dial to a destination whose last one failed.
    Trial,
    Reject,
}

/// A queued request that can proceed.
struct ReadyRequest {
    ticket: u64,
    state: Rc<DestinationState>,
    /// The index in the queue of the destination.
    at: usize,
    next: NextStep,
}

/// A permit to use one connection, released on drop.
pub(super) struct UsePermit {
    pool: Rc<ConnectionPool>,
    state: Rc<DestinationState>,
    /// The body of the request that waits for its response.
    body: RefCell<Option<Rc<BodyState>>>,
    /// The trial, if the request finds out whether the destination is still silent.
    trial: Option<SilenceTrial>,
}

/// A permit to dial one connection, released on drop.
pub(super) struct DialPermit {
    pool: Rc<ConnectionPool>,
    state: Rc<DestinationState>,
    trial: Option<u64>,
    began: Instant,
}

impl ConnectionPool {
    pub(super) fn new(settings: &TransportSettings, stats: Arc<PoolStats>) -> Self {
        Self {
            idle: Cell::new(settings.idle),
            destinations: RefCell::default(),
            idle_count: Cell::default(),
            in_use: SharedLimit::new(settings.connections),
            dialling: SharedLimit::new(settings.dials),
            waiting: Cell::default(),
            next_ticket: Cell::default(),
            stats,
        }
    }

    /// Applies new limits. Connections in use beyond a lower limit are not closed.
    pub(super) fn renew(self: &Rc<Self>, settings: &TransportSettings) {
        self.idle.set(settings.idle);
        self.in_use.renew(settings.connections);
        self.dialling.renew(settings.dials);
        self.serve_queues();
    }

    /// Returns the state of a destination, for one request. Creates it if it is missing, and evicts
    /// an unused one when there are too many.
    pub(super) fn destination(&self, to: &Rc<UpstreamDestination>) -> Rc<DestinationState> {
        let mut states = self.destinations.borrow_mut();
        if let Some(known) = states.iter().find(|state| is_same(&state.to, to)) {
            return Rc::clone(known);
        }
        if states.len() >= DESTINATIONS_MAX {
            let unused = (0..states.len()).filter(|at| !is_busy(&states[*at]));
            if let Some(oldest) = unused.min_by_key(|at| states[*at].last_use()) {
                let closed = states.swap_remove(oldest).idle.take().len();
                self.set_idle_count(self.idle_count.get() - closed);
            }
        }
        let state = Rc::new(DestinationState::new(Rc::clone(to)));
        states.push(Rc::clone(&state));
        state
    }

    /// Grants a connection to a request, or returns `None` if the request must wait. A `fresh`
    /// request is given no idle connection.
    pub(super) fn check_out(
        self: &Rc<Self>,
        state: &Rc<DestinationState>,
        fresh: bool,
    ) -> Option<CheckoutGrant> {
        let now = Instant::now();
        match state.responses.step(self.in_use.each(), now) {
            None => {}
            Some(SilenceStep::Trial) => {
                if let Some(next) = self.trial_step(state, now) {
                    let trial = SilenceTrial::begin(&state.responses, self.in_use.each());
                    return Some(self.grant_trial(state, next, trial, now));
                }
            }
            Some(SilenceStep::Reject(silence)) => return Some(CheckoutGrant::Silent(silence)),
        }
        if self.waiting.get() > 0 && !state.queue.borrow().is_empty() {
            return None;
        }
        let next = self.next_step(state, fresh, now)?;
        Some(self.grant(state, next, now))
    }

    /// Appends a request to the queue of its destination.
    pub(super) fn enqueue(
        self: &Rc<Self>,
        state: &Rc<DestinationState>,
        fresh: bool,
    ) -> Rc<QueuedRequest<CheckoutGrant>> {
        let ticket = self.next_ticket.get();
        self.next_ticket.set(ticket + 1);
        let request = Rc::new(QueuedRequest::new(ticket, fresh));
        state.queue.borrow_mut().push_back(Rc::clone(&request));
        self.waiting.set(self.waiting.get() + 1);
        self.stats.waits();
        // The requests before it may need fresh connections, and must not delay this one.
        self.serve_queues();
        request
    }

    /// Removes a request from the queue, unless it has left already.
    pub(super) fn dequeue(&self, state: &DestinationState, request: &QueuedRequest<CheckoutGrant>) {
        self.stats.dequeued();
        let mut queue = state.queue.borrow_mut();
        // Tickets ascend.
        if let Ok(at) = queue.binary_search_by_key(&request.ticket, |queued| queued.ticket) {
            queue.remove(at);
            self.waiting.set(self.waiting.get() - 1);
        }
    }

    /// Returns a connection to the pool. Closes it if the destination has too many idle ones.
    pub(super) fn put(self: &Rc<Self>, state: &DestinationState, idle: IdleConnection) {
        {
            let mut connections = state.idle.borrow_mut();
            if connections.len() >= KEPT_MAX {
                return;
            }
            connections.push(idle);
        }
        self.set_idle_count(self.idle_count.get() + 1);
        self.serve_queues();
    }

    /// Closes expired idle connections, and forgets unused destinations.
    pub(super) fn sweep(&self, now: Instant) {
        let mut idle_count = 0;
        self.destinations.borrow_mut().retain(|state| {
            let mut idle = state.idle.borrow_mut();
            idle.retain(|idle| !idle.connection.sender.is_closed() && self.is_young(idle, now));
            idle_count += idle.len();
            let is_out = state.outage.borrow().as_ref().is_some_and(|outage| !outage.is_stale(now));
            !idle.is_empty() || is_busy(state) || is_out
        });
        self.set_idle_count(idle_count);
    }

    /// Closes the idle connections for which `is_closed` returns `true`: those to an address that
    /// has stopped responding.
    pub(super) fn close_idle(
        &self,
        state: &DestinationState,
        is_closed: impl Fn(&UpstreamConnection) -> bool,
    ) {
        let before = state.idle.borrow().len();
        state.idle.borrow_mut().retain(|idle| !is_closed(&idle.connection));
        let closed = before - state.idle.borrow().len();
        self.set_idle_count(self.idle_count.get() - closed);
    }

    /// Returns the next step of a request, or `None` if it has to wait.
    fn next_step(&self, state: &DestinationState, fresh: bool, now: Instant) -> Option<NextStep> {
        if !self.in_use.admits(state.in_use.get()) {
            return None;
        }
        self.open_step(state, fresh, now)
    }

    /// Returns the next step of a trial of a silent destination. The limit of the destination does
    /// not apply to it.
    fn trial_step(&self, state: &DestinationState, now: Instant) -> Option<NextStep> {
        // The trials may use only as many connections as remain for other requests.
        if self.in_use.free() <= state.responses.trials() {
            return None;
        }
        self.open_step(state, true, now).or_else(|| self.open_step(state, false, now))
    }

    /// Returns the next step of a request that is within the limits of connections in use.
    fn open_step(&self, state: &DestinationState, fresh: bool, now: Instant) -> Option<NextStep> {
        if !fresh && state.idle.borrow().last().is_some_and(|idle| self.is_young(idle, now)) {
            return Some(NextStep::Reuse);
        }
        let may_dial = self.dialling.admits(state.dialling.get());
        match state.outage.borrow().as_ref() {
            None => may_dial.then_some(NextStep::Dial),
            Some(outage) if may_dial && outage.admits_trial(now) => Some(NextStep::Trial),
            Some(_) => Some(NextStep::Reject),
        }
    }

    fn grant_trial(
        self: &Rc<Self>,
        state: &Rc<DestinationState>,
        next: NextStep,
        trial: SilenceTrial,
        now: Instant,
    ) -> CheckoutGrant {
        let mut grant = self.grant(state, next, now);
        if let CheckoutGrant::Reuse(permit, ..) | CheckoutGrant::Dial(permit, _) = &mut grant {
            permit.trial = Some(trial);
        }
        grant
    }

    fn grant(self: &Rc<Self>, state: &Rc<DestinationState>, next: NextStep, now: Instant) -> CheckoutGrant {
        let idle = if next == NextStep::Reuse { state.idle.borrow_mut().pop() } else { None };
        let mut outage = state.outage.borrow_mut();
        if let (NextStep::Reject, Some(outage)) = (next, outage.as_ref()) {
            return CheckoutGrant::Reject(outage.error());
        }
        let permit = UsePermit::new(self, state);
        if let Some(idle) = idle {
            self.set_idle_count(self.idle_count.get() - 1);
            let idle_for = now.saturating_duration_since(idle.since);
            return CheckoutGrant::Reuse(permit, idle, idle_for);
        }
        let trial = outage.as_mut().map(|outage| outage.begin_trial(now));
        CheckoutGrant::Dial(permit, DialPermit::new(self, state, trial, now))
    }

    /// Grants connections to queued requests until no request can proceed. Picks the request that
    /// has waited longest among the first eligible ones of all destinations.
    fn serve_queues(self: &Rc<Self>) {
        while self.waiting.get() > 0 {
            let now = Instant::now();
            let Some(ReadyRequest { state, at, next, .. }) = self.longest_waiting(now) else { return };
            let Some(request) = state.queue.borrow_mut().remove(at) else { return };
            self.waiting.set(self.waiting.get() - 1);
            request.grant(self.grant(&state, next, now));
        }
    }

    fn longest_waiting(&self, now: Instant) -> Option<ReadyRequest> {
        let states = self.destinations.borrow();
        let ready = states.iter().filter_map(|state| {
            let queue = state.queue.borrow();
            let first = queue.front()?;
            if let Some(next) = self.next_step(state, first.fresh, now) {
                return Some(ReadyRequest { ticket: first.ticket, state: Rc::clone(state), at: 0, next });
            }
            // A request that must dial does not block those that can reuse an idle connection.
            let next = self.next_step(state, false, now)?;
            let at = queue.iter().position(|request| !request.fresh)?;
            Some(ReadyRequest { ticket: queue[at].ticket, state: Rc::clone(state), at, next })
        });
        ready.min_by_key(|ready| ready.ticket)
    }

    fn is_young(&self, idle: &IdleConnection, now: Instant) -> bool {
        now.saturating_duration_since(idle.since) < self.idle.get()
    }

    fn set_idle_count(&self, idle_count: usize) {
        self.idle_count.set(idle_count);
        self.stats.set_idle(idle_count);
    }
}

impl DestinationState {
    fn new(to: Rc<UpstreamDestination>) -> Self {
        Self {
            to,
            idle: RefCell::default(),
            in_use: Cell::default(),
            dialling: Cell::default(),
            queue: RefCell::default(),
            outage: RefCell::default(),
            responses: Rc::default(),
            connected_at: Cell::default(),
            busy_logged_at: Cell::default(),
        }
    }

    /// Returns the destination.
    pub(super) fn to(&self) -> &Rc<UpstreamDestination> {
        &self.to
    }

    /// Returns whether to log rejected requests, and records the time if so. Returns `true` at most
    /// once per interval.
    pub(super) fn should_log_busy(&self, now: Instant) -> bool {
        let since = self.busy_logged_at.get().map(|at| now.saturating_duration_since(at));
        let is_news = since.is_none_or(|since| since >= BUSY_LOG_INTERVAL);
        if is_news {
            self.busy_logged_at.set(Some(now));
        }
        is_news
    }

    /// Returns the sort key for eviction. Destinations without an outage are evicted first, among
    /// them those without an idle connection, then the least recently used.
    fn last_use(&self) -> (bool, Option<Instant>) {
        (self.outage.borrow().is_some(), self.idle.borrow().last().map(|idle| idle.since))
    }
}

impl UsePermit {
    fn new(pool: &Rc<ConnectionPool>, state: &Rc<DestinationState>) -> Self {
        pool.stats.taken();
        let permit =
            Self { pool: Rc::clone(pool), state: Rc::clone(state), body: RefCell::default(), trial: None };
        permit.count();
        permit
    }

    /// Counts the permit against the limit of the destination and against the shared limit.
    fn count(&self) {
        self.pool.in_use.acquire();
        self.state.in_use.set(self.state.in_use.get() + 1);
    }

    /// Stops counting `count` permits of the destination.
    fn discount(&self, count: usize) {
        self.pool.in_use.release(count);
        self.state.in_use.set(self.state.in_use.get() - count);
    }

    /// Starts waiting for the head of the response as soon as the client has sent the whole
    /// request.
    pub(super) fn await_response(&self, body: Rc<BodyState>) {
        body.await_response(Rc::clone(&self.state.responses));
        self.body.replace(Some(body));
    }

    /// Returns the trial, if this request is one.
    pub(super) fn trial(&self) -> Option<&SilenceTrial> {
        self.trial.as_ref()
    }

    /// Records that the head of the response has arrived.
    pub(super) fn note_response(&mut self) {
        self.trial = None;
        if self.body.take().is_some_and(|body| !body.end_response_wait()) {
            // The end of a silence has discounted this permit, so it is counted again.
            self.count();
        }
        let overtaken = self.state.responses.note_response();
        if overtaken > 0 {
            self.discount(overtaken);
            self.pool.serve_queues();
        }
    }

    /// Returns the connection to the pool and releases the permit.
    pub(super) fn put(self, connection: UpstreamConnection) {
        self.pool.put(&self.state, IdleConnection { connection, since: Instant::now() });
    }
}

impl Drop for UsePermit {
    fn drop(&mut self) {
        if self.body.take().is_none_or(|body| body.end_response_wait()) {
            self.discount(1);
        }
        self.pool.stats.released();
        self.pool.serve_queues();
    }
}

impl DialPermit {
    fn new(
        pool: &Rc<ConnectionPool>,
        state: &Rc<DestinationState>,
        trial: Option<u64>,
        began: Instant,
    ) -> Self {
        pool.dialling.acquire();
        state.dialling.set(state.dialling.get() + 1);
        Self { pool: Rc::clone(pool), state: Rc::clone(state), trial, began }
    }

    /// Records the outcome of the dial. If an old dial fails after a newer one has succeeded, this
    /// is not an outage.
    pub(super) fn finish<T>(self, dialled: &Result<T, DialError>) {
        let now = Instant::now();
        let Err(error) = dialled else {
            self.state.connected_at.set(Some(now));
            self.state.outage.replace(None);
            return;
        };
        if self.state.connected_at.get().is_some_and(|connected| connected > self.began) {
            return;
        }
        let mut outage = self.state.outage.borrow_mut();
        match outage.as_mut() {
            Some(outage) => outage.fail_again(self.trial, error.clone(), now),
            // guard: failed-dial-is-noted
            None => *outage = Some(DialOutage::new(error.clone(), now)),
        }
    }
}

impl Drop for DialPermit {
    fn drop(&mut self) {
        self.pool.dialling.release(1);
        self.state.dialling.set(self.state.dialling.get() - 1);
        self.pool.serve_queues();
    }
}

/// Returns whether a request uses the destination or waits for it: each holds a clone.
fn is_busy(state: &Rc<DestinationState>) -> bool {
    Rc::strong_count(state) > 1
}

/// Compares pointers first: requests for the same bucket usually share the destination.
fn is_same(one: &Rc<UpstreamDestination>, other: &Rc<UpstreamDestination>) -> bool {
    Rc::ptr_eq(one, other) || one == other
}

/// The limit on idle connections to one destination. Connections beyond it are closed.
const KEPT_MAX: usize = 256;
/// The limit on recorded destinations without requests. Requests name buckets and thereby hosts, so
/// the number must be bounded.
const DESTINATIONS_MAX: usize = 64;
/// The least time between two log lines about one destination.
const BUSY_LOG_INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::super::{ConnectFailure, DialError, DialName, LoopbackPolicy, RequestBody};
    use super::{
        CheckoutGrant, ConnectionPool, DESTINATIONS_MAX, SilenceStep, TransportSettings, UpstreamDestination,
        UsePermit,
    };

    fn destination(number: usize) -> Rc<UpstreamDestination> {
        let dial = DialName::new(&format!("{number}.example"), 80);
        Rc::new(UpstreamDestination { dial, tls: None, guard: LoopbackPolicy::Configured })
    }

    fn pool() -> Rc<ConnectionPool> {
        let settings = TransportSettings::patient(2, 1);
        Rc::new(ConnectionPool::new(&settings, Arc::default()))
    }

    #[test]
    fn unused_destinations_are_bounded_and_forgotten() {
        let pool = pool();
        let first = pool.destination(&destination(0));
        let used = pool.check_out(&first, false);
        assert!(matches!(used, Some(CheckoutGrant::Dial(..))));
        for number in 1..3 * DESTINATIONS_MAX {
            let state = pool.destination(&destination(number));
            drop(pool.check_out(&state, false));
        }
        assert_eq!(pool.destinations.borrow().len(), DESTINATIONS_MAX);
        assert!(Rc::ptr_eq(&first, &pool.destination(&destination(0))), "one that is in use stays");
        drop((used, first));
        pool.sweep(Instant::now());
        assert!(pool.destinations.borrow().is_empty());
        assert_eq!((pool.in_use.admits(1), pool.dialling.admits(0)), (true, true));
    }

    #[test]
    fn what_waits_through_one_silence_after_another_takes_nothing_from_other_destinations() {
        let pool = pool();
        pool.in_use.renew(16);
        let state = pool.destination(&destination(0));
        let mut now = Instant::now();
        let mut kept = Vec::new();
        for _ in 0..8 {
            let mut used: Vec<_> = (0..16).map(|_| UsePermit::new(&pool, &state)).collect();
            let uploads: Vec<_> = used.iter().map(|_| RequestBody::none()).collect();
            used.iter().zip(&uploads).for_each(|(used, upload)| used.await_response(upload.slot()));
            assert_eq!(state.responses.step(16, now), None);
            now += Duration::from_secs(4);
            assert_eq!(state.responses.step(16, now), Some(SilenceStep::Trial));
            used[0].note_response();
            drop(used.swap_remove(0));
            kept.extend(used);
        }
        assert_eq!((state.in_use.get(), pool.in_use.free()), (0, 64));
        kept[0].note_response();
        assert_eq!((state.in_use.get(), pool.in_use.free()), (1, 63), "it counts once it has its response");
        drop(kept);
        assert_eq!((state.in_use.get(), pool.in_use.free()), (0, 64));
    }

    #[test]
    fn an_old_dial_that_fails_after_a_newer_has_succeeded_is_no_outage() {
        let pool = pool();
        pool.dialling.renew(2);
        let state = pool.destination(&destination(0));
        let dial = || match pool.check_out(&state, false) {
            Some(CheckoutGrant::Dial(used, dial)) => (used, dial),
            Some(_) | None => panic!("it dials"),
        };
        let old = dial();
        let new = dial();
        std::thread::sleep(Duration::from_millis(2));
        new.1.finish(&Ok(()));
        let error = DialError::Unreachable {
            at: String::new(),
            reason: String::new(),
            failure: ConnectFailure::Refused,
        };
        old.1.finish(&Err::<(), _>(error.clone()));
        drop((old.0, new.0));
        let (_used, third) = dial();
        third.finish(&Err::<(), _>(error));
        assert!(matches!(pool.check_out(&state, false), Some(CheckoutGrant::Reject(_))));
    }
}
