//! One client connection, from its first byte to its last.

use std::convert::Infallible;
use std::net::TcpStream;
use std::rc::{Rc, Weak};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tracing::debug;

use super::Settings;
use super::drain::Drain;
use crate::proxy::{self, Core, Gate};
use crate::transport::WriteLimit;

/// Serves HTTP/1.1 until either side ends it or the drain does.
pub(super) async fn serve(
    stream: TcpStream,
    core: Rc<Core>,
    gate: Rc<Gate>,
    settings: Settings,
    drain: Drain,
) {
    // Without this a small answer can wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let Ok(stream) = tokio::net::TcpStream::from_std(stream) else {
        return;
    };
    let shared = Rc::clone(&core);
    let in_flight = Rc::new(());
    let requests = Rc::downgrade(&in_flight);
    let service = service_fn(move |request| {
        let (core, gate, in_flight) = (Rc::clone(&shared), Rc::clone(&gate), Rc::clone(&in_flight));
        async move { Ok::<_, Infallible>(proxy::handle(core, gate, request, in_flight).await) }
    });
    // `pipeline_flush` stays off: with it hyper 1.12 closes without sending its own 400 and 431.
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.idle)
        .max_headers(HEADERS_MAX)
        .max_header_size(HEADER_BYTES_MAX)
        .max_buf_size(BUFFER_MAX)
        .serve_connection(TokioIo::new(WriteLimit::new(stream, settings.stall)), service);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = drain.begun() => {
            std::pin::Pin::new(&mut connection).graceful_shutdown();
            tokio::select! {
                ended = &mut connection => ended,
                () = unused(&requests) => return,
            }
        }
    };
    let stream = connection.into_parts().io.into_inner().into_inner();
    match ended {
        Err(error) if error.is_user() || is_stalled(&error) => {
            // An answer broke off. A client that was not told its length would take a plain end for the whole of it.
            let _ = stream.set_zero_linger();
            return;
        }
        Err(error) if error.is_parse() => {
            core.counters().malformed();
            debug!(%error, "what came is no HTTP request; the connection was closed");
        }
        Err(_) | Ok(()) => {}
    }
    if !drain.is_begun() {
        linger(stream).await;
    }
}

/// Whether the client has taken nothing for the limit.
fn is_stalled(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::TimedOut)
}

/// Waits until no request is in flight at two looks in a row: hyper ends an idle connection by itself, but for the rest of a
/// half-sent head it would wait.
async fn unused(requests: &Weak<()>) {
    let mut idle_before = false;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        // The service holds one for itself.
        let idle = requests.strong_count() <= 1;
        if idle && idle_before {
            return;
        }
        idle_before = idle;
    }
}

/// Reads what still comes, for a while: a socket that is closed with bytes unread sends a reset, and that can destroy the
/// last answer before the client has read it.
async fn linger(mut stream: tokio::net::TcpStream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut bytes = vec![0; 16 * 1024];
    let mut left = LINGER_BYTES_MAX;
    let until_end = async {
        while left > 0 {
            match stream.read(&mut bytes).await {
                Ok(0) | Err(_) => return,
                Ok(read) => left = left.saturating_sub(read),
            }
        }
    };
    // The client had its time.
    let _ = tokio::time::timeout(LINGER_FOR, until_end).await;
}

/// Header lines of a request.
const HEADERS_MAX: usize = 128;
/// Bytes of a request's head, its first line included.
const HEADER_BYTES_MAX: usize = 64 * 1024;
/// What a connection may hold of a transfer whose reader stands still.
const BUFFER_MAX: usize = 256 * 1024;
/// How long, and for how many bytes, the end of a client's sending is waited for.
const LINGER_FOR: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How often a draining connection is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
