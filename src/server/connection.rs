//! One client connection, from its first byte to its last.

use std::convert::Infallible;
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tracing::debug;

use super::drain::Drain;
use crate::proxy::{self, Core, Gate};

/// Serves HTTP/1.1 until either side ends it or the drain does.
pub(super) async fn serve(stream: TcpStream, core: Rc<Core>, gate: Rc<Gate>, idle: Duration, drain: Drain) {
    // Without this a small answer can wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let Ok(stream) = tokio::net::TcpStream::from_std(stream) else {
        return;
    };
    let shared = Rc::clone(&core);
    let service = service_fn(move |request| {
        let (core, gate) = (Rc::clone(&shared), Rc::clone(&gate));
        async move { Ok::<_, Infallible>(proxy::handle(core, gate, request).await) }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .max_headers(HEADERS_MAX)
        .max_header_size(HEADER_BYTES_MAX)
        .pipeline_flush(true)
        .serve_connection(TokioIo::new(stream), service);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = drain.begun() => {
            std::pin::Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        }
    };
    let Err(error) = ended else { return };
    if error.is_parse() || error.is_parse_too_large() {
        core.counters().malformed();
        debug!(%error, "what came is no HTTP request; the connection was closed");
    } else if error.is_user() {
        // An answer broke off. A client that was not told its length would take a plain end for the whole of it.
        let stream = connection.into_parts().io.into_inner();
        let _ = stream.set_zero_linger();
    }
}

/// Header lines of a request.
const HEADERS_MAX: usize = 128;
/// Bytes of a request's head, its first line included.
const HEADER_BYTES_MAX: usize = 64 * 1024;
