//! Serves one client connection, from its first byte to its last.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot::error::RecvError;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::accept::AcceptedSocket;
use super::client_io::{ActivityStream, ClientSocket, ClientStream};
use super::context::WorkerState;
use super::drain::DrainSignal;
use super::http_version::HttpVersion;
use super::idle::{ClientActivity, IdleLimits, IdleTimer};
use super::protocol::spoken_on;
use super::proxy_protocol::proxied_client;
use super::request_tasks::RequestTasks;
use super::settings::ServerSettings;
use super::streams::{StreamBody, StreamExecutor, UnreadTimer};
use super::tls::{ClientTlsPolicy, HTTP2};
use super::trusted_proxies::TrustedProxies;
use super::verified_peer::VerifiedPeer;
use crate::proxy::{self, AcceptingListener, ListenerRules, ResponseBody};
use crate::telemetry::ProxyRejection;
use crate::transport::{HEADER_LINES_MAX, WriteTimeout, is_write_timeout};

/// The context in which a connection is served.
pub(super) struct ConnectionContext {
    /// The state of the worker, from which each request takes the current configuration.
    pub(super) current: Rc<WorkerState>,
    /// The id of its listener.
    pub(super) listener: usize,
    /// The listener's rules when the connection was accepted.
    pub(super) rules: Rc<ListenerRules>,
    /// The address that the client connected to, if there is one.
    pub(super) address: Option<SocketAddr>,
    /// The address of the client, or of the load balancer until its header is read.
    pub(super) client: Option<SocketAddr>,
    /// The load balancers that may connect; `None` if clients connect directly.
    pub(super) trusted_proxies: Option<Arc<TrustedProxies>>,
    /// The TLS requirements under which the connection was accepted.
    pub(super) tls_requirements: Arc<ClientTlsPolicy>,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) settings: ServerSettings,
    pub(super) drain: DrainSignal,
}

/// The way in which a connection ended.
enum ConnectionEnd {
    /// Closed by either side, or broken.
    Itself(hyper::Result<()>),
    /// Closed by the server after the shutdown notice: the client was idle or ignored the notice.
    Cut,
}

impl ConnectionContext {
    /// Serves HTTP until either side closes the connection or the drain ends it.
    pub(super) async fn serve(&mut self, accepted: AcceptedSocket) {
        let peer = VerifiedPeer::new(&self.tls_requirements);
        match accepted {
            AcceptedSocket::Tcp(stream) => {
                // Otherwise a small response can wait for an acknowledgement.
                let _ = stream.set_nodelay(true);
                if let Ok(stream) = tokio::net::TcpStream::from_std(stream)
                    && self.learn_client(&stream).await
                {
                    self.speak(stream, peer).await;
                }
            }
            AcceptedSocket::Unix(stream) => {
                if let Ok(stream) = tokio::net::UnixStream::from_std(stream)
                    && self.learn_client(&stream).await
                {
                    let peer = peer.with_process(&stream);
                    Box::pin(self.speak(stream, peer)).await;
                }
            }
        }
    }

    /// Reads the address of the client from the header of a load balancer, if the listener has some.
    /// Returns `false` if the connection must be closed.
    async fn learn_client(&mut self, socket: &impl ClientSocket) -> bool {
        let Some(trusted) = &self.trusted_proxies else { return true };
        // guard: header-of-trusted-proxy
        if !self.client.is_some_and(|peer| trusted.contains(peer.ip())) {
            self.reject_proxy(ProxyRejection::Untrusted, &"the peer is not in trusted_proxies");
            return false;
        }
        match self.in_time(proxied_client(socket)).await {
            Ok(client) => {
                self.client = client.or(self.client);
                true
            }
            Err(error) => {
                self.reject_proxy(ProxyRejection::Invalid, &error);
                false
            }
        }
    }

    fn reject_proxy(&self, rejection: ProxyRejection, error: &dyn fmt::Display) {
        let peer = self.client.map(|peer| peer.ip().to_canonical());
        let now = self.current.get().core.clock().now();
        self.current.get().core.counters().proxy_rejections.record(rejection, peer, error, now);
    }

    async fn speak(&self, socket: impl ClientSocket, peer: VerifiedPeer) {
        match &self.tls {
            // This future is large. Boxing it keeps plain connections small.
            Some(tls) => Box::pin(self.encrypted(socket, peer, tls)).await,
            None => self.plain(socket, peer).await,
        }
    }

    async fn encrypted(&self, socket: impl ClientSocket, peer: VerifiedPeer, tls: &TlsAcceptor) {
        let client = WriteTimeout::new(socket, self.settings.stall);
        match self.in_time(tls.accept(client)).await {
            Ok(client) => {
                let connection = client.get_ref().1;
                let peer = peer.with_certificate(connection);
                if connection.alpn_protocol() == Some(HTTP2) {
                    self.http2(client, peer).await;
                } else {
                    self.http1(client, peer).await;
                }
            }
            Err(error) => debug!(%error, "TLS handshake with client failed"),
        }
    }

    async fn plain(&self, socket: impl ClientSocket, peer: VerifiedPeer) {
        let spoken = self.in_time(spoken_on(&socket)).await;
        let client = WriteTimeout::new(socket, self.settings.stall);
        match spoken {
            Ok(HttpVersion::Http1) => self.http1(client, peer).await,
            // This future is large. Boxing it keeps HTTP/1 connections small.
            Ok(HttpVersion::Http2) => Box::pin(self.http2(client, peer)).await,
            Err(error) => debug!(%error, "client connected but sent no request"),
        }
    }

    /// Runs the TLS handshake or protocol detection within the header timeout. When the drain
    /// begins or the listener changes, a new connection gets a short grace period. Its first
    /// request may be under way, and a client does not retry on a fresh connection.
    async fn in_time<T>(&self, begun: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        tokio::select! {
            biased;
            begun = timeout(self.settings.header_read, begun) => {
                begun.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            }
            () = self.drain_grace() => Err(io::Error::other("the listener is closing")),
        }
    }

    async fn drain_grace(&self) {
        tokio::select! {
            () = self.drain.wait_for_start() => {}
            () = self.withdrawn() => {}
        }
        tokio::time::sleep(FIRST_BYTES_GRACE.min(self.settings.drain / 2)).await;
    }

    /// Waits until the listener is removed, or its TLS requirements change.
    async fn withdrawn(&self) {
        self.current.listener_changed(self.listener, &self.tls_requirements).await;
    }

    /// Waits until the listener is removed, or its TLS requirements change so that a new connection
    /// of this peer would be rejected.
    async fn rejected(&self, peer: &VerifiedPeer) {
        let mut requirements = Arc::clone(&self.tls_requirements);
        loop {
            self.current.listener_changed(self.listener, &requirements).await;
            match self.current.get().listener(self.listener) {
                Some(listener) if peer.meets(&listener.tls_requirements) => {
                    requirements = Arc::clone(&listener.tls_requirements);
                }
                Some(_) | None => return,
            }
        }
    }

    async fn http1(&self, client: impl ClientStream, peer: VerifiedPeer) {
        let peer = Rc::new(peer);
        let activity = Rc::new(ClientActivity::new(HttpVersion::Http1));
        let io = TokioIo::new(ActivityStream::new(client, Rc::clone(&activity)));
        // `pipeline_flush` remains off: with it hyper 1.12 closes without sending its 400 and 431
        // responses.
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            // A client that closes its sending side still gets its response. `ActivityStream`
            // detects a client that has disconnected.
            // guard: half-close
            .half_close(true)
            .max_header_size(PARSED_TIMES * self.settings.header_bytes)
            .max_headers(PARSED_LINES_MAX)
            // guard: small-buffer
            .max_buf_size(BUFFER_MAX)
            .serve_connection(io, self.service(&activity, &peer));
        let pinned = Pin::new(&mut connection);
        let ended = self.until_end(pinned, http1::Connection::graceful_shutdown, &activity, &peer).await;
        let client = connection.into_parts().io.into_inner().into_inner();
        match ended {
            ConnectionEnd::Cut => return,
            ConnectionEnd::Itself(Err(error)) if error.is_user() || is_write_timeout(&error) => {
                // The response was cut off. Without a known length, the client would mistake a
                // plain close for the end of a complete response.
                client.reset();
                return;
            }
            ConnectionEnd::Itself(Err(error)) if error.is_parse() => self.malformed(&error),
            ConnectionEnd::Itself(Err(_) | Ok(())) => {}
        }
        if !self.drain.is_begun() {
            linger(client).await;
        }
    }

    async fn http2(&self, client: impl ClientStream, peer: VerifiedPeer) {
        let peer = Rc::new(peer);
        let activity = Rc::new(ClientActivity::new(HttpVersion::Http2));
        let executor = StreamExecutor::new(Rc::clone(activity.unread()), self.settings.stall);
        let tasks = Rc::new(RequestTasks::new(TASKS_MAX));
        let ended = {
            let io = TokioIo::new(ActivityStream::new(client, Rc::clone(&activity)));
            let connection = http2::Builder::new(executor.clone())
                .timer(TokioTimer::new())
                .max_header_list_size(
                    u32::try_from(PARSED_TIMES * self.settings.header_bytes).unwrap_or(u32::MAX),
                )
                .max_concurrent_streams(STREAMS_MAX)
                .max_send_buf_size(STREAM_BUFFER_MAX)
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .serve_connection(io, self.stream_service(&activity, &peer, executor, &tasks));
            let connection = std::pin::pin!(connection);
            self.until_end(connection, http2::Connection::graceful_shutdown, &activity, &peer).await
        };
        if let ConnectionEnd::Itself(Err(error)) = ended
            && !is_write_timeout(&error)
        {
            self.malformed(&error);
        }
        tasks.finish().await;
    }

    fn malformed(&self, error: &hyper::Error) {
        self.current.get().core.counters().malformed();
        debug!(%error, "malformed HTTP request; closing connection");
    }

    fn service(
        &self,
        activity: &Rc<ClientActivity>,
        peer: &Rc<VerifiedPeer>,
    ) -> impl Service<
        Request<Incoming>,
        Response = Response<ResponseBody>,
        Error = Infallible,
        Future: 'static,
    > + use<> {
        let current = Rc::clone(&self.current);
        let activity = Rc::clone(activity);
        let peer = Rc::clone(peer);
        let id = self.listener;
        let address = self.address;
        let client = self.client.map(|client| client.ip().to_canonical());
        // The last rules of a listener that is removed still apply to its connections.
        let last = RefCell::new(Rc::clone(&self.rules));
        service_fn(move |request: Request<Incoming>| {
            // Read the configuration once per request. A reload applies to the next request.
            let setup = current.get();
            let peer = match setup.listener(id) {
                Some(listener) => {
                    last.replace(Rc::clone(&listener.rules));
                    peer.judge(&listener.tls_requirements)
                }
                None => peer.last(),
            };
            let listener = AcceptingListener { rules: Rc::clone(&last.borrow()), address, peer, client };
            let in_flight = activity.begin(request.method());
            proxy::handle(Rc::clone(&setup.core), listener, request, in_flight)
        })
    }

    /// Returns the service of an HTTP/2 connection. A clock watches each response, and requests
    /// with side effects run in separate tasks. hyper drops the future of the service when the
    /// stream is reset or the connection ends.
    fn stream_service(
        &self,
        activity: &Rc<ClientActivity>,
        peer: &Rc<VerifiedPeer>,
        executor: StreamExecutor,
        tasks: &Rc<RequestTasks>,
    ) -> impl Service<Request<Incoming>, Response = Response<StreamBody>, Error = RecvError, Future: 'static> + use<>
    {
        let service = self.service(activity, peer);
        let tasks = Rc::clone(tasks);
        service_fn(move |request: Request<Incoming>| {
            let clock = executor.start_clock();
            let is_task = !request.method().is_safe() && !tasks.is_full();
            // This future is large, and moved often from here on.
            let response = Box::pin(service.call(request));
            let task = if is_task { Ok(tasks.spawn(response)) } else { Err(response) };
            async move {
                let Ok(response) = match task {
                    Ok(task) => task.await?,
                    Err(response) => response.await,
                };
                Ok(response.map(|body| clock.watch(body)))
            }
        })
    }

    /// Runs a connection until it ends, the client is idle for too long, the listener rejects it, or
    /// the drain begins. In the last three cases, requests in flight still finish.
    async fn until_end<C>(
        &self,
        mut connection: Pin<&mut C>,
        shut_down: impl Fn(Pin<&mut C>),
        activity: &ClientActivity,
        peer: &VerifiedPeer,
    ) -> ConnectionEnd
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let mut quiet =
            IdleTimer::new(IdleLimits { head: self.settings.header_read, idle: self.settings.idle });
        let mut unread = UnreadTimer::new(self.settings.stall);
        let served = poll_fn(|cx| match connection.as_mut().poll(cx) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending if quiet.is_over(activity, cx) || unread.is_over(activity.unread(), cx) => {
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        });
        let ended = tokio::select! {
            // Polled first, so that bytes already received are read. On graceful shutdown hyper
            // closes a connection that has read nothing.
            biased;
            ended = served => ended,
            () = self.drain.wait_for_start() => None,
            // If its listener is removed, or changes its TLS requirements to ones that the client
            // does not meet, the connection ends after the request in flight.
            () = self.rejected(peer) => None,
        };
        if let Some(ended) = ended {
            return ConnectionEnd::Itself(ended);
        }
        shut_down(connection.as_mut());
        tokio::select! {
            ended = connection => ConnectionEnd::Itself(ended),
            () = unused(activity, self.settings.stall) => ConnectionEnd::Cut,
        }
    }
}

/// Waits until two consecutive checks find no request in flight. hyper closes an idle connection by
/// itself. It would wait for the rest of a partial head, or for a client that ignores the shutdown
/// notice.
///
/// Also returns when a request starts long after the notice. An HTTP/2 client that ignores GOAWAY
/// could send requests forever.
async fn unused(activity: &ClientActivity, stall: Duration) {
    let notified = Instant::now();
    let mut idle_before = false;
    let mut begun = activity.requests_started();
    loop {
        tokio::time::sleep(CHECK_INTERVAL).await;
        let idle = activity.is_over(stall);
        let is_requesting = notified.elapsed() > LAST_REQUEST_GRACE && activity.requests_started() > begun;
        if (idle && idle_before) || is_requesting {
            return;
        }
        idle_before = idle;
        begun = activity.requests_started();
    }
}

/// Closes the sending side, then reads and discards the remaining input for a limited time. Closing
/// a socket with unread bytes sends a reset, which can destroy the last response before the client
/// has read it.
async fn linger(mut client: impl ClientStream) {
    let mut bytes = vec![0; 16 * 1024];
    let mut left = LINGER_BYTES_MAX;
    let until_end = async {
        if client.shutdown().await.is_err() {
            return;
        }
        while left > 0 {
            match client.read(&mut bytes).await {
                Ok(0) | Err(_) => return,
                Ok(read) => left = left.saturating_sub(read),
            }
        }
    };
    // On timeout, the connection is closed anyway.
    let _ = timeout(LINGER_FOR, until_end).await;
}

/// The maximum number of bytes buffered on a connection whose reader has stalled.
const BUFFER_MAX: usize = 256 * 1024;
/// The limits at which hyper parses a head, as a multiple of the proxy's limits. hyper rejects a
/// larger head with a bare 431, and over HTTP/2 ends the connection if it is far larger. Below that,
/// the proxy sends an error response with an explanation. Each head takes 64 bytes a line while it
/// is parsed.
const PARSED_TIMES: usize = 2;
const PARSED_LINES_MAX: usize = PARSED_TIMES * HEADER_LINES_MAX;
/// The maximum number of concurrent requests on an HTTP/2 connection.
const STREAMS_MAX: u32 = 200;
/// The maximum number of concurrent requests with side effects: one per stream, and as many whose
/// streams have ended.
const TASKS_MAX: usize = 2 * STREAMS_MAX as usize;
/// The maximum number of response bytes buffered on a stream whose reader has stalled.
const STREAM_BUFFER_MAX: usize = 128 * 1024;
/// The flow-control window of a stream. The window of the connection is larger, because one stalled
/// upload must not block the others.
const STREAM_WINDOW: u32 = 512 * 1024;
const CONNECTION_WINDOW: u32 = 4 * STREAM_WINDOW;
/// The timeout and byte limit for input after the last response.
const LINGER_FOR: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The grace period for the first bytes of a connection that is shutting down.
const FIRST_BYTES_GRACE: Duration = Duration::from_secs(1);
/// The time after the shutdown notice in which a client may start requests: the notice may arrive
/// late.
const LAST_REQUEST_GRACE: Duration = Duration::from_secs(3);
/// The interval of checks on a connection that is shutting down.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
