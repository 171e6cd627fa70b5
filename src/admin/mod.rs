//! The admin listener: `/livez`, `/readyz`, `/version`. Never on the data port, where every path is somebody's object.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, ORIGIN};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::spawn_local;

use crate::address::Host;

/// What the admin listener knows of the process.
pub trait Health {
    /// Whether requests should be sent here: not draining, and at least one source of credentials is usable.
    ///
    /// # Errors
    /// A sentence that says why not.
    fn ready(&self) -> Result<(), String>;
}

/// Answers for ever.
pub async fn serve(listener: TcpListener, health: Rc<dyn Health>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let health = Rc::clone(&health);
        let service = service_fn(move |request| {
            let response = answer(&request, &*health);
            async move { Ok::<_, Infallible>(response) }
        });
        spawn_local(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_WITHIN)
                .serve_connection(TokioIo::new(stream), service),
        );
    }
}

fn answer(request: &Request<Incoming>, health: &dyn Health) -> Response<Full<Bytes>> {
    let own_host = Host::of(request.uri(), request.headers()).is_ok_and(|host| host.is_own());
    if !own_host {
        return text(
            StatusCode::MISDIRECTED_REQUEST,
            "the admin listener is asked by address or as localhost\n",
        );
    }
    let headers = request.headers();
    let cross_site = headers.get("sec-fetch-site").is_some_and(|site| site.as_bytes() == b"cross-site");
    if headers.contains_key(ORIGIN) || cross_site {
        return text(StatusCode::FORBIDDEN, "requests of web pages are refused\n");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are served\n");
    }
    match request.uri().path() {
        "/livez" => text(StatusCode::OK, "ok\n"),
        "/readyz" => match health.ready() {
            Ok(()) => text(StatusCode::OK, "ok\n"),
            Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("{reason}\n")),
        },
        "/version" => {
            text(StatusCode::OK, concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"), "\n"))
        }
        _ => text(StatusCode::NOT_FOUND, "there are /livez, /readyz and /version\n"),
    }
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text.to_owned()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long the head of a request may take.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
