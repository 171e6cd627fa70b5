//! The admin listener: health, metrics, effective settings, and control of the process. It is
//! separate from the data port, where every path can be an object.

mod certificate;
mod connection;
mod metrics;
mod process;
mod settings;
mod status_page;

use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub(crate) use certificate::ListenerCertificate;
pub(crate) use connection::{AdminService, IdleSince, serve};
pub use process::AdminReloadError;
pub(crate) use process::{AdminProcess, AdminRoute, LivenessFuture, ReloadFuture, ShownSetting};
pub(crate) use settings::{AdminSettings, ReadinessRule};

use crate::address::{ListenerReach, PageRequest};
use crate::credentials::SourceStatus;
use crate::time::Timestamp;

type AdminResponse = Response<Full<Bytes>>;

async fn respond(
    request: Request<Bytes>,
    reach: ListenerReach<'_>,
    settings: &AdminSettings,
    process: &dyn AdminProcess,
) -> AdminResponse {
    let headers = request.headers();
    match reach.check(request.uri(), headers) {
        Ok(()) => {}
        Err(PageRequest::ForeignHost) => {
            return text(
                StatusCode::MISDIRECTED_REQUEST,
                "invalid host; address the admin listener by IP address or as localhost\n",
            );
        }
        Err(PageRequest::ForeignPage) => {
            return text(StatusCode::FORBIDDEN, "requests from web pages are rejected\n");
        }
    }
    let Some(page) = AdminPage::from_path(request.uri().path()) else {
        return text(StatusCode::NOT_FOUND, INDEX);
    };
    if !page.allows(request.method()) {
        let allowed: Vec<&str> = page.methods().iter().map(Method::as_str).collect();
        let allowed = allowed.join(", ");
        let status = StatusCode::METHOD_NOT_ALLOWED;
        let mut response = text(status, &format!("method not allowed; use {allowed}\n"));
        response.headers_mut().extend(HeaderValue::try_from(allowed).ok().map(|allowed| (ALLOW, allowed)));
        return response;
    }
    // guard: admin-token
    if !page.is_open() && !may_see(headers, settings) {
        let response = text(
            StatusCode::UNAUTHORIZED,
            "missing or invalid token; send the token of [admin] as Authorization: Bearer TOKEN\n",
        );
        return with(response, WWW_AUTHENTICATE, "Bearer");
    }
    page.show(request, settings, process).await
}

/// Returns whether the request has the token, or none is configured. Digests are compared, so that
/// the timing does not reveal the token.
fn may_see(headers: &HeaderMap, settings: &AdminSettings) -> bool {
    let Some(token) = &settings.token else { return true };
    let shown = headers.get(AUTHORIZATION).and_then(|value| bearer_token(value.as_bytes()));
    shown.is_some_and(|shown| Sha256::digest(shown) == Sha256::digest(token.expose()))
}

/// Returns the token of an `Authorization` value. The name of the scheme is case-insensitive (RFC
/// 9110, 11.1).
fn bearer_token(line: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = line.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| token.trim_ascii())
}

const SCHEME: &[u8] = b"Bearer ";

/// The pages and actions of the admin listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AdminPage {
    Status,
    Live,
    Ready,
    Started,
    Version,
    Metrics,
    Config,
    Credentials,
    Reload,
    Quit,
    LogLevel,
}

impl AdminPage {
    fn from_path(path: &str) -> Option<Self> {
        Some(match path {
            "/" => Self::Status,
            "/livez" => Self::Live,
            "/readyz" => Self::Ready,
            "/startupz" => Self::Started,
            "/version" => Self::Version,
            "/metrics" => Self::Metrics,
            "/config" => Self::Config,
            "/credentials" => Self::Credentials,
            "/-/reload" => Self::Reload,
            "/-/quit" => Self::Quit,
            "/-/log-level" => Self::LogLevel,
            _ => return None,
        })
    }

    /// Returns whether the page requires no token.
    fn is_open(self) -> bool {
        matches!(self, Self::Live | Self::Ready | Self::Started | Self::Version | Self::Metrics)
    }

    fn methods(self) -> &'static [Method] {
        match self {
            Self::Reload | Self::Quit => &[Method::POST],
            Self::LogLevel => &[Method::GET, Method::HEAD, Method::PUT],
            Self::Status
            | Self::Live
            | Self::Ready
            | Self::Started
            | Self::Version
            | Self::Metrics
            | Self::Config
            | Self::Credentials => &[Method::GET, Method::HEAD],
        }
    }

    fn allows(self, method: &Method) -> bool {
        self.methods().contains(method)
    }

    async fn show(
        self,
        request: Request<Bytes>,
        settings: &AdminSettings,
        process: &dyn AdminProcess,
    ) -> AdminResponse {
        let health = |is: Result<(), String>| match is {
            Ok(()) => text(StatusCode::OK, "ok\n"),
            Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("{reason}\n")),
        };
        match self {
            Self::Status => {
                let page = typed(StatusCode::OK, status_page::html(process), "text/html; charset=utf-8");
                with(page, CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'")
            }
            Self::Live => health(process.live().await),
            Self::Ready => health(process.ready()),
            Self::Started => health(process.started()),
            Self::Version => {
                text(StatusCode::OK, concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"), "\n"))
            }
            Self::Metrics => {
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                typed(StatusCode::OK, metrics::text(process), kind)
            }
            Self::Config => {
                let one = |setting: ShownSetting| json!({"key": setting.key, "value": setting.value, "origin": setting.origin});
                document(process.configuration().into_iter().map(one).collect())
            }
            Self::Credentials => document(process.sources().iter().map(describe).collect()),
            Self::Reload => match process.reload().await {
                Ok(changes) if changes.is_empty() => text(StatusCode::OK, "reloaded; no changes\n"),
                Ok(changes) => text(StatusCode::OK, &format!("reloaded\n{}\n", changes.join("\n"))),
                Err(why) => {
                    let status = match why {
                        AdminReloadError::Stopping => StatusCode::SERVICE_UNAVAILABLE,
                        AdminReloadError::Wrong(_) => StatusCode::BAD_REQUEST,
                    };
                    text(status, &format!("reload failed; keeping the current configuration\n{why}\n"))
                }
            },
            Self::Quit if !settings.quit => text(
                StatusCode::FORBIDDEN,
                "shutdown via the admin API is disabled; set quit = true in [admin], or send SIGTERM\n",
            ),
            Self::Quit => {
                process.quit();
                text(StatusCode::OK, "stopping\n")
            }
            Self::LogLevel if *request.method() == Method::PUT => set_level(request.body(), process),
            Self::LogLevel => text(StatusCode::OK, &format!("{}\n", process.log_level())),
        }
    }
}

fn set_level(body: &[u8], process: &dyn AdminProcess) -> AdminResponse {
    match std::str::from_utf8(body) {
        Ok(name) if process.set_log_level(name.trim()) => {
            text(StatusCode::OK, &format!("{}\n", process.log_level()))
        }
        Ok(_) | Err(_) => text(
            StatusCode::BAD_REQUEST,
            "invalid log level; expected one of error, warn, info, debug, trace\n",
        ),
    }
}

/// Returns the status of a credential source as JSON, without any credential value.
fn describe(source: &SourceStatus) -> Value {
    json!({
        "source": source.name,
        "state": source.stage.name(),
        "provider": source.provider.as_deref(),
        "expires": source.expires.map(Timestamp::rfc3339),
        "renewal": source.renewal.map(Timestamp::rfc3339),
        "generation": source.generation,
        "failures": source.failures,
        "has_answered": source.has_answered,
        "asking_for_s": source.asking_for.map(|asking| asking.as_secs()),
        "rejected": source.rejected.values().sum::<u64>(),
        "last_error": source.last_error,
        "explanation": source.explanation,
    })
}

fn document(rows: Vec<Value>) -> AdminResponse {
    typed(StatusCode::OK, format!("{:#}\n", Value::from(rows)), "application/json")
}

fn text(status: StatusCode, text: &str) -> AdminResponse {
    typed(status, text.to_owned(), "text/plain; charset=utf-8")
}

fn typed(status: StatusCode, text: String, kind: &'static str) -> AdminResponse {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let response = with(response, CONTENT_TYPE, kind);
    with(response, CACHE_CONTROL, "no-store")
}

fn with(mut response: AdminResponse, name: HeaderName, value: &'static str) -> AdminResponse {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}

const CONTENT_SECURITY_POLICY: HeaderName = HeaderName::from_static("content-security-policy");

const INDEX: &str = "not found; available: / /livez /readyz /startupz /version /metrics /config \
                     /credentials, POST /-/reload, POST /-/quit, and PUT /-/log-level\n";
