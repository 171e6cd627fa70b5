//! One connection of the admin listener: its timeouts and its idle time.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::header::CONNECTION;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};

use super::{AdminProcess, AdminResponse, AdminSettings, respond, text, with};
use crate::address::ListenerReach;

/// The start of the idle time of a connection, for a caller that closes idle connections to make
/// room for others.
#[derive(Clone, Debug)]
pub(crate) struct IdleSince(Rc<Cell<Option<Instant>>>);

impl IdleSince {
    /// The state of a new connection, which is idle.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self(Rc::new(Cell::new(Some(Instant::now()))))
    }

    /// Returns the start of the idle time; `None` while a request is answered.
    #[must_use]
    pub(crate) fn since(&self) -> Option<Instant> {
        self.0.get()
    }
}

impl Default for IdleSince {
    fn default() -> Self {
        Self::new()
    }
}

/// The process that the admin listener serves, with the settings of the listener.
#[derive(Clone)]
pub(crate) struct AdminService {
    /// The settings, which a reload replaces.
    pub(crate) settings: Arc<ArcSwap<AdminSettings>>,
    /// The process.
    pub(crate) process: Arc<dyn AdminProcess>,
}

/// Serves requests on one connection until `leave` resolves. A response in progress is completed
/// first.
pub(crate) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    reach: ListenerReach<'_>,
    idle: IdleSince,
    service: AdminService,
    leave: impl Future<Output = ()>,
) {
    let each = async |request| {
        // The connection counts as idle until the whole request is received, so it may be closed to
        // make room.
        let request = match whole(request).await {
            Ok(request) => request,
            Err(refusal) => return refusal,
        };
        idle.0.set(None);
        let response = respond(request, reach, &service.settings.load_full(), &*service.process).await;
        idle.0.set(Some(Instant::now()));
        response
    };
    serve_requests(stream, each, leave).await;
}

/// Reads the whole request. The time and the size of its body are limited.
async fn whole(request: Request<Incoming>) -> Result<Request<Bytes>, AdminResponse> {
    let (head, body) = request.into_parts();
    let (status, why) = match timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => return Ok(Request::from_parts(head, body.to_bytes())),
        Ok(Err(_)) => (StatusCode::PAYLOAD_TOO_LARGE, "the request body is incomplete or too large\n"),
        Err(_) => (StatusCode::REQUEST_TIMEOUT, "timed out reading the request body\n"),
    };
    Err(with(text(status, why), CONNECTION, "close"))
}

async fn serve_requests(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    each: impl AsyncFn(Request<Incoming>) -> AdminResponse,
    leave: impl Future<Output = ()>,
) {
    let each = &each;
    let service = service_fn(move |request| async move { Ok::<_, Infallible>(each(request).await) });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service)
    );
    tokio::select! {
        // A connection error affects only its client.
        _ = connection.as_mut() => return,
        () = sleep(CONNECTION_TIMEOUT) => {}
        () = leave => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(LAST_RESPONSE_TIMEOUT, connection).await;
}

/// Timeout for a request head, including the idle time before it. Clients that poll do so every
/// five seconds or less often.
const HEAD_TIMEOUT: Duration = Duration::from_secs(4);
/// Timeout for a request body, followed by its maximum size. Most requests have no body, and the
/// name of a level is short.
const BODY_TIMEOUT: Duration = Duration::from_secs(2);
const BODY_BYTES_MAX: usize = 4 << 10;
/// Maximum lifetime of a connection. Admin clients only send short requests.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// Timeout for the response in progress when the connection closes.
const LAST_RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::future::pending;

    use http::StatusCode;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::sleep;

    use super::{CONNECTION_TIMEOUT, LAST_RESPONSE_TIMEOUT, serve_requests};
    use crate::admin::text;

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_due_when_the_time_of_the_connection_is_over_is_still_given() {
        let (mut client, server) = tokio::io::duplex(4096);
        let slow = async |_| {
            sleep(CONNECTION_TIMEOUT + LAST_RESPONSE_TIMEOUT / 2).await;
            text(StatusCode::OK, "late\n")
        };
        let asked = async {
            client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.expect("an answer");
            answer
        };
        let ((), answer) = tokio::join!(serve_requests(server, slow, pending()), asked);
        assert!(answer.contains("connection: close") && answer.ends_with("late\n"), "{answer}");
    }
}
