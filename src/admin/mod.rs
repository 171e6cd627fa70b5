//! The admin listener: `/livez`, `/readyz`, `/version`, `/metrics`, `/credentials`. Never on the data port, where every path is
//! somebody's object.

mod metrics;

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
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::address::Host;
use crate::credentials::Status;
use crate::time::Timestamp;

/// What the admin listener knows of the process.
pub trait Health {
    /// Whether requests should be sent here: not draining, and at least one source of credentials is usable.
    ///
    /// # Errors
    /// A sentence that says why not.
    fn ready(&self) -> Result<(), String>;

    /// How the sources of credentials are.
    fn sources(&self) -> Vec<Status>;

    /// All counts with their names.
    fn counts(&self) -> Vec<(&'static str, u64)>;

    /// The time.
    fn now(&self) -> Timestamp;
}

/// Whether a name service can lead web pages to the listener: it can to a port, and not to a unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It can, so requests by name are refused.
    ByName,
    /// It cannot, and the Host says nothing.
    Unnamed,
}

/// Answers what comes on one connection.
pub async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    reach: Reach,
    health: Rc<dyn Health>,
) {
    let service = service_fn(move |request| {
        let response = answer(&request, reach, &*health);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), service);
    // How it ended is the client's affair.
    let _ = connection.await;
}

fn answer(request: &Request<Incoming>, reach: Reach, health: &dyn Health) -> Response<Full<Bytes>> {
    let own_host =
        reach == Reach::Unnamed || Host::of(request.uri(), request.headers()).is_ok_and(|host| host.is_own());
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
        "/metrics" => {
            let text = metrics::text(&health.counts(), &health.sources(), health.now());
            typed(StatusCode::OK, text, "application/openmetrics-text; version=1.0.0; charset=utf-8")
        }
        "/credentials" => {
            let sources: Vec<Value> = health.sources().iter().map(describe).collect();
            typed(StatusCode::OK, format!("{:#}\n", Value::from(sources)), "application/json")
        }
        _ => text(StatusCode::NOT_FOUND, "there are /livez, /readyz, /version, /metrics and /credentials\n"),
    }
}

/// How a source is, without a value of any credentials.
fn describe(source: &Status) -> Value {
    json!({
        "source": source.name,
        "state": source.stage.name(),
        "provider": source.provider.as_deref(),
        "expires": source.expires.map(Timestamp::rfc3339),
        "renewal": source.renewal.map(Timestamp::rfc3339),
        "generation": source.generation,
        "failures": source.failures,
        "rejected": source.rejected.values().sum::<u64>(),
        "last_error": source.last_error,
        "explanation": source.explanation,
    })
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    typed(status, text.to_owned(), "text/plain; charset=utf-8")
}

fn typed(status: StatusCode, text: String, kind: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// How long the head of a request may take.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
