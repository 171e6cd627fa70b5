//! Credential services for the emulated OSS: STS, instance metadata service and credentials URI,
//! all on one address. OSS accepts the credentials they issue. Signatures are verified
//! independently of the signing code.

mod metadata;
mod shared;
mod sts;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::service::OssService;
use crate::time::Timestamp;
use metadata::MetadataService;
use shared::{IssuerRejection, IssuerShared};
use sts::StsService;

pub use shared::IssuerCall;
pub use shared::IssuerFault;

/// STS, metadata service and credentials URI on a dedicated thread. Dropping this stops it.
#[derive(Debug)]
pub struct CredentialIssuer {
    /// The listening address.
    pub address: SocketAddr,
    shared: Arc<IssuerShared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl CredentialIssuer {
    /// Binds `address` and serves on a dedicated thread. Every account of `oss` can assume roles.
    ///
    /// # Errors
    /// If the address cannot be bound or the thread cannot be started.
    pub fn spawn(address: SocketAddr, oss: OssService) -> io::Result<Self> {
        let shared = Arc::new(IssuerShared { oss, state: Mutex::default() });
        let (ready, bound) = mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel();
        let inner = Arc::clone(&shared);
        let run = move || run(address, &inner, &ready, stopped);
        let thread = thread::Builder::new().name("issuer".to_owned()).spawn(run)?;
        let address = bound.recv().map_err(io::Error::other)??;
        Ok(Self { address, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Adds a role that can be assumed, with its external ID if it has one.
    pub fn role(&self, arn: &str, external_id: Option<&str>) {
        self.shared.state.lock().roles.insert(arn.to_owned(), external_id.map(str::to_owned));
    }

    /// Sets the only valid token of a service account.
    pub fn token(&self, token: &str) {
        self.shared.state.lock().tokens = vec![token.to_owned()];
    }

    /// Rejects the next `times` calls with this status and code.
    pub fn fail(&self, times: usize, status: StatusCode, code: &'static str) {
        self.shared.state.lock().faults.extend(std::iter::repeat_n((status, code), times));
    }

    /// Sets the lifetime of issued credentials, overriding the requested one.
    pub fn set_lifetime(&self, lifetime: Duration) {
        self.shared.state.lock().lifetime = Some(lifetime);
    }

    /// Sets the clock ahead of that of OSS, or behind it if negative.
    pub fn ahead(&self, seconds: i64) {
        self.shared.state.lock().ahead_s = seconds;
    }

    /// Sets the RAM role of the instance. `hardened` is true if metadata requires a token, and
    /// false if the token is optional. `None` disables tokens.
    pub fn instance(&self, role: &str, hardened: Option<bool>) {
        let mut state = self.shared.state.lock();
        (state.instance_role, state.hardened) = (Some(role.to_owned()), hardened);
    }

    /// Revokes all metadata tokens.
    pub fn forget_metadata_tokens(&self) {
        self.shared.state.lock().metadata_tokens += 1;
    }

    /// Sets the `Authorization` value that the credentials URI, `/credentials`, requires.
    pub fn authorization(&self, wanted: &str) {
        self.shared.state.lock().authorization = Some(wanted.to_owned());
    }

    /// Replaces the current fault.
    pub fn set_fault(&self, fault: IssuerFault) {
        self.shared.state.lock().fault = fault;
    }

    /// Returns the expiration of the credentials issued last.
    #[must_use]
    pub fn last_ends(&self) -> Option<Timestamp> {
        self.shared.state.lock().last_ends
    }

    /// Returns the highest number of concurrent calls.
    #[must_use]
    pub fn in_flight_max(&self) -> usize {
        self.shared.state.lock().in_flight_max
    }

    /// Returns the calls so far.
    #[must_use]
    pub fn calls(&self) -> Vec<IssuerCall> {
        self.shared.state.lock().calls.clone()
    }
}

impl Drop for CredentialIssuer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The send fails only if the thread has already ended.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(
    address: SocketAddr,
    shared: &Arc<IssuerShared>,
    ready: &mpsc::SyncSender<io::Result<SocketAddr>>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    runtime.block_on(async {
        let listener = match TcpListener::bind(address).await {
            Ok(listener) => listener,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        let _ = ready.send(listener.local_addr());
        let mut connections = JoinSet::new();
        let serving = async {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let shared = Arc::clone(shared);
                connections.spawn(async move {
                    let service = service_fn(|request| handle(&shared, request));
                    // A connection error affects only its client.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        };
        tokio::select! {
            () = serving => {}
            // Shutdown was requested, or the handle was dropped.
            _ = stopped => {}
        }
    });
}

/// Responds to a call by its path, with the faults that are in effect.
async fn handle(
    shared: &IssuerShared,
    request: hyper::Request<Incoming>,
) -> Result<Response<Full<Bytes>>, DeadConnection> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let fault = {
        let mut state = shared.state.lock();
        state.in_flight += 1;
        state.in_flight_max = state.in_flight_max.max(state.in_flight);
        state.fault
    };
    tokio::time::sleep(fault.delay).await;
    shared.state.lock().in_flight -= 1;
    if fault.dead {
        return Err(DeadConnection);
    }
    let path = head.uri.path();
    let is_metadata = path.starts_with("/latest/");
    let answered = match path {
        _ if is_metadata => MetadataService::new(shared).respond(&head),
        "/credentials" => MetadataService::new(shared).hand_out(&head),
        _ => StsService::new(shared).respond(&head, &body),
    };
    let (status, text) = match answered {
        Ok(text) => (StatusCode::OK, text),
        Err(IssuerRejection(status, code, _)) if is_metadata => {
            (status, format!("<html><body><h1>{code}</h1></body></html>"))
        }
        Err(IssuerRejection(status, code, message)) => {
            let text =
                json!({"RequestId": "STS-REQUEST-1", "HostId": "sts", "Code": code, "Message": message});
            (status, text.to_string())
        }
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    if let Ok(date) = shared.now().http_date().parse() {
        response.headers_mut().insert(header::DATE, date);
    }
    Ok(response)
}

/// An error that closes the connection without a response.
#[derive(Debug, thiserror::Error)]
#[error("closed by an injected fault")]
struct DeadConnection;
