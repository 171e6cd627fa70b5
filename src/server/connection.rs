//! One client connection, from its first byte to its last.

use std::cell::RefCell;
use std::convert::Infallible;
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

use super::ServerSettings;
use super::accept::AcceptedSocket;
use super::client_io::{ActivityStream, ClientSocket, ClientStream};
use super::drain::DrainSignal;
use super::idle::{ClientActivity, IdleLimits, IdleTimer};
use super::protocol::{HttpVersion, spoken_on};
use super::request_tasks::RequestTasks;
use super::streams::{StreamBody, StreamExecutor, UnreadTimer};
use super::tls::{ClientTlsPolicy, HTTP2};
use super::workers::WorkerState;
use crate::proxy::{self, ListenerRules, ResponseBody};
use crate::transport::{HEADER_LINES_MAX, WriteTimeout};

/// What a connection is served with.
pub(super) struct ConnectionContext {
    /// What requests are served with.
    pub(super) current: Rc<WorkerState>,
    /// The listener it came through, and the gate that it had then.
    pub(super) listener: (usize, Rc<ListenerRules>),
    /// The address that the client connected to, if it has one.
    pub(super) address: Option<SocketAddr>,
    /// The terms that it came on.
    pub(super) terms: Arc<ClientTlsPolicy>,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) settings: ServerSettings,
    pub(super) drain: DrainSignal,
}

/// How the serving of a connection ended.
enum ConnectionEnd {
    /// Either side closed it, or it broke.
    Itself(hyper::Result<()>),
    /// By us, in the middle of what was no request yet.
    Cut,
}

impl ConnectionContext {
    /// Serves HTTP until either side ends it or the drain does.
    pub(super) async fn serve(&self, accepted: AcceptedSocket) {
        match accepted {
            AcceptedSocket::Tcp(stream) => {
                // Without this a small answer can wait for an acknowledgement.
                let _ = stream.set_nodelay(true);
                if let Ok(stream) = tokio::net::TcpStream::from_std(stream) {
                    self.speak(stream).await;
                }
            }
            AcceptedSocket::Unix(stream) => {
                if let Ok(stream) = tokio::net::UnixStream::from_std(stream) {
                    Box::pin(self.speak(stream)).await;
                }
            }
        }
    }

    async fn speak(&self, socket: impl ClientSocket) {
        match &self.tls {
            // The state of these is large; the usual connection need not have room for it.
            Some(tls) => Box::pin(self.encrypted(socket, tls)).await,
            None => self.plain(socket).await,
        }
    }

    async fn encrypted(&self, socket: impl ClientSocket, tls: &TlsAcceptor) {
        let client = WriteTimeout::new(socket, self.settings.stall);
        match self.in_time(tls.accept(client)).await {
            Ok(client) if client.get_ref().1.alpn_protocol() == Some(HTTP2) => self.http2(client).await,
            Ok(client) => self.http1(client).await,
            Err(error) => debug!(%error, "a client connected and came to no terms on TLS"),
        }
    }

    async fn plain(&self, socket: impl ClientSocket) {
        let spoken = self.in_time(spoken_on(&socket)).await;
        let client = WriteTimeout::new(socket, self.settings.stall);
        match spoken {
            Ok(HttpVersion::Http1) => self.http1(client).await,
            // Its state is large; the usual connection need not have room for it.
            Ok(HttpVersion::Http2) => Box::pin(self.http2(client)).await,
            Err(error) => debug!(%error, "a client connected and asked for nothing"),
        }
    }

    /// What must be known before the first request: in the time for a head. A client that has just connected when the drain
    /// begins, or its listener goes, has its request under way, and is waited for a moment: its connection is fresh, so it
    /// would not ask again.
    async fn in_time<T>(&self, begun: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        tokio::select! {
            biased;
            begun = timeout(self.settings.header_read, begun) => {
                begun.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            }
            () = self.drain_grace() => Err(io::Error::other("nobody is served here any more")),
        }
    }

    async fn drain_grace(&self) {
        tokio::select! {
            () = self.drain.wait_for_start() => {}
            () = self.withdrawn() => {}
        }
        tokio::time::sleep(FIRST_WORD_WITHIN.min(self.settings.drain / 2)).await;
    }

    /// Waits until the listener is gone, or asks more of its clients than of this one.
    async fn withdrawn(&self) {
        self.current.listener_changed(self.listener.0, &self.terms).await;
    }

    async fn http1(&self, client: impl ClientStream) {
        let presence = Rc::new(ClientActivity::new(HttpVersion::Http1));
        let io = TokioIo::new(ActivityStream::new(client, Rc::clone(&presence)));
        // `pipeline_flush` stays off: with it hyper 1.12 closes without sending its own 400 and 431.
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            // A client that closes its sending side still gets its answer; one that is gone is noticed by `Heard`.
            // guard: half-close
            .half_close(true)
            .max_header_size(PARSED_TIMES * self.settings.header_bytes)
            .max_headers(PARSED_LINES_MAX)
            // guard: small-buffer
            .max_buf_size(BUFFER_MAX)
            .serve_connection(io, self.service(&presence));
        let pinned = Pin::new(&mut connection);
        let ended = self.until_end(pinned, http1::Connection::graceful_shutdown, &presence).await;
        let client = connection.into_parts().io.into_inner().into_inner();
        match ended {
            ConnectionEnd::Cut => return,
            ConnectionEnd::Itself(Err(error)) if error.is_user() || is_stalled(&error) => {
                // An answer broke off. A client that was not told its length would take a plain end for the whole of it.
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

    async fn http2(&self, client: impl ClientStream) {
        let presence = Rc::new(ClientActivity::new(HttpVersion::Http2));
        let executor = StreamExecutor::new(Rc::clone(presence.unread()), self.settings.stall);
        let tasks = Rc::new(RequestTasks::new(TASKS_MAX));
        let ended = {
            let io = TokioIo::new(ActivityStream::new(client, Rc::clone(&presence)));
            let connection = http2::Builder::new(executor.clone())
                .timer(TokioTimer::new())
                .max_header_list_size(
                    u32::try_from(PARSED_TIMES * self.settings.header_bytes).unwrap_or(u32::MAX),
                )
                .max_concurrent_streams(STREAMS_MAX)
                .max_send_buf_size(STREAM_BUFFER_MAX)
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .serve_connection(io, self.stream_service(&presence, executor, &tasks));
            let connection = std::pin::pin!(connection);
            self.until_end(connection, http2::Connection::graceful_shutdown, &presence).await
        };
        if let ConnectionEnd::Itself(Err(error)) = ended
            && !is_stalled(&error)
        {
            self.malformed(&error);
        }
        tasks.finish().await;
    }

    fn malformed(&self, error: &hyper::Error) {
        self.current.get().core.counters().malformed();
        debug!(%error, "what came is no HTTP request; the connection was closed");
    }

    fn service(
        &self,
        presence: &Rc<ClientActivity>,
    ) -> impl Service<
        Request<Incoming>,
        Response = Response<ResponseBody>,
        Error = Infallible,
        Future: 'static,
    > + use<> {
        let (current, presence) = (Rc::clone(&self.current), Rc::clone(presence));
        let ((id, last), address) = (self.listener.clone(), self.address);
        // If the listener goes, what it allowed last holds for what came through it.
        let last = RefCell::new(last);
        service_fn(move |request: Request<Incoming>| {
            // One look for the whole request: what is renewed meanwhile is for the next.
            let setup = current.get();
            if let Some(way) = setup.listener(id) {
                last.replace(Rc::clone(&way.gate));
            }
            let gate = Rc::clone(&last.borrow());
            let (core, in_flight) = (Rc::clone(&setup.core), presence.begin(request.method()));
            proxy::handle(core, (gate, address), request, in_flight)
        })
    }

    /// The service of an HTTP/2 connection: responses are watched by a clock, and requests with effects run in tasks of
    /// their own. hyper drops what the service returns when the stream is reset or the connection ends.
    fn stream_service(
        &self,
        presence: &Rc<ClientActivity>,
        executor: StreamExecutor,
        tasks: &Rc<RequestTasks>,
    ) -> impl Service<Request<Incoming>, Response = Response<StreamBody>, Error = RecvError, Future: 'static> + use<>
    {
        let (service, tasks) = (self.service(presence), Rc::clone(tasks));
        service_fn(move |request: Request<Incoming>| {
            let clock = executor.start_clock();
            let is_task = !request.method().is_safe() && !tasks.is_full();
            // Its state is large, and moved often from here on.
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

    /// Runs a connection until it ends by itself, until its client has done nothing for too long, or until the drain. In the
    /// last two cases requests in flight still end.
    async fn until_end<C>(
        &self,
        mut connection: Pin<&mut C>,
        wind_down: impl Fn(Pin<&mut C>),
        presence: &ClientActivity,
    ) -> ConnectionEnd
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let mut quiet =
            IdleTimer::new(IdleLimits { head: self.settings.header_read, idle: self.settings.idle });
        let mut unread = UnreadTimer::new(self.settings.stall);
        let served = poll_fn(|cx| match connection.as_mut().poll(cx) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending if quiet.is_over(presence, cx) || unread.is_over(presence.unread(), cx) => {
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        });
        let ended = tokio::select! {
            // First, or what has come in already would not be read: hyper winds down a connection that has heard nothing by closing.
            biased;
            ended = served => ended,
            () = self.drain.wait_for_start() => None,
            // What came through a listener that is gone, or on terms that are, is served to the end of the request in flight.
            () = self.withdrawn() => None,
        };
        if let Some(ended) = ended {
            return ConnectionEnd::Itself(ended);
        }
        wind_down(connection.as_mut());
        tokio::select! {
            ended = connection => ConnectionEnd::Itself(ended),
            () = unused(presence, self.settings.stall) => ConnectionEnd::Cut,
        }
    }
}

/// Whether the client has taken nothing for the limit.
fn is_stalled(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut)
}

/// Waits until no request is in flight at two looks in a row: hyper ends an idle connection by itself, but for the rest of a
/// half-sent head, or for a client that does not answer its farewell, it would wait. Or until one begins long after the
/// farewell: who does not answer it in HTTP/2 could ask for ever.
async fn unused(presence: &ClientActivity, stall: Duration) {
    let farewell = Instant::now();
    let (mut idle_before, mut begun) = (false, presence.requests_started());
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let idle = presence.is_over(stall);
        let goes_on = farewell.elapsed() > LAST_WORD_WITHIN && presence.requests_started() > begun;
        if (idle && idle_before) || goes_on {
            return;
        }
        (idle_before, begun) = (idle, presence.requests_started());
    }
}

/// Reads what still comes, for a while: a socket that is closed with bytes unread sends a reset, and that can destroy the
/// last answer before the client has read it.
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
    // The client had its time.
    let _ = timeout(LINGER_FOR, until_end).await;
}

/// What a connection may hold of a transfer whose reader stands still.
const BUFFER_MAX: usize = 256 * 1024;
/// How much of a head hyper parses, in limits of ours. It rejects more with a bare 431, or over HTTP/2 ends the connection; up to
/// there the rejection is ours, which explains itself. Each parsed head takes 64 bytes a line for as long as it is parsed.
const PARSED_TIMES: usize = 2;
const PARSED_LINES_MAX: usize = PARSED_TIMES * HEADER_LINES_MAX;
/// Requests at once on an HTTP/2 connection.
const STREAMS_MAX: u32 = 200;
/// Requests with effects at once: one for each stream, and as many whose streams have ended.
const TASKS_MAX: usize = 2 * STREAMS_MAX as usize;
/// What a stream may hold of an answer whose reader stands still.
const STREAM_BUFFER_MAX: usize = 128 * 1024;
/// What a client may send ahead, on a stream and in all: one upload that stands still must not stop the others.
const STREAM_WINDOW: u32 = 512 * 1024;
const CONNECTION_WINDOW: u32 = 4 * STREAM_WINDOW;
/// How long, and for how many bytes, the end of a client's sending is waited for.
const LINGER_FOR: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long the first bytes of a connection are waited for when it is to end.
const FIRST_WORD_WITHIN: Duration = Duration::from_secs(1);
/// How long after its farewell a client may begin requests: it may have heard it late.
const LAST_WORD_WITHIN: Duration = Duration::from_secs(3);
/// How often a connection that is to end is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
