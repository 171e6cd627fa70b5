//! Who issues credentials beside the embedded OSS: STS, the metadata service of an instance, and a service that hands them out,
//! all at one address. What is issued, that OSS takes. Signatures are judged with code of its own.

mod metadata;
mod sts;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::service::OssService;
use super::settings::EmulatedAccount;
use crate::secret::Secret;
use crate::time::Timestamp;

/// STS, metadata service and credentials URI on a thread of its own, until this is dropped.
#[derive(Debug)]
pub struct CredentialIssuer {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<IssuerShared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What may be assumed, by whom, and what has been asked.
struct IssuerShared {
    oss: OssService,
    state: Mutex<IssuerState>,
}

#[derive(Default)]
struct IssuerState {
    /// Roles by their ARN, each with the external id that it wants.
    roles: BTreeMap<String, Option<String>>,
    /// Tokens of service accounts that are valid.
    tokens: Vec<String>,
    /// What is answered in place of anything else, so many times.
    mishaps: Vec<(StatusCode, &'static str)>,
    /// How long what it issues lives, whatever was asked for.
    life: Option<Duration>,
    /// How far its clock is ahead.
    ahead_s: i64,
    calls: Vec<IssuerCall>,
    issued: u32,
    /// Who has which access key id, of those that were issued.
    arns: BTreeMap<String, String>,
    /// The role of the instance.
    instance_role: Option<String>,
    /// Whether metadata is given only for a token; `None` if there are no tokens at all.
    hardened: Option<bool>,
    /// How many times all tokens of the metadata service were taken back.
    metadata_tokens: u32,
    /// What the service wants as Authorization that hands out credentials.
    authorization: Option<String>,
    trouble: IssuerFault,
    last_ends: Option<Timestamp>,
    in_flight: usize,
    in_flight_max: usize,
}

/// How it misbehaves until told otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IssuerFault {
    /// Every second call is answered 503.
    pub every_second: bool,
    /// Each answer comes so late.
    pub delay: Duration,
    /// Connections are closed without an answer.
    pub dead: bool,
}

/// What was issued.
struct IssuedCredentials {
    id: String,
    secret: Secret,
    token: Secret,
    expires: Timestamp,
}

/// A call that was made.
#[derive(Clone, Debug)]
pub struct IssuerCall {
    /// What was asked for.
    pub action: String,
    /// All parameters, of query and form.
    pub parameters: BTreeMap<String, String>,
    /// The query alone, as it stood.
    pub query: String,
    /// Whether it was signed, and how.
    pub style: Option<&'static str>,
}

/// What is refused.
struct IssuerRejection(StatusCode, &'static str, &'static str);

impl fmt::Debug for IssuerShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl CredentialIssuer {
    /// Listens on `address`; whoever may sign for `oss` may assume roles.
    ///
    /// # Errors
    /// If the address cannot be listened on, or no thread can be had.
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

    /// Lets a role be assumed, with this external id if there is one.
    pub fn role(&self, arn: &str, external_id: Option<&str>) {
        self.shared.state().roles.insert(arn.to_owned(), external_id.map(str::to_owned));
    }

    /// The one token of a service account that is valid.
    pub fn token(&self, token: &str) {
        self.shared.state().tokens = vec![token.to_owned()];
    }

    /// Answers the next `times` calls with this status and code.
    pub fn fail(&self, times: usize, status: StatusCode, code: &'static str) {
        self.shared.state().mishaps.extend(std::iter::repeat_n((status, code), times));
    }

    /// What is issued lives so long, whatever was asked for.
    pub fn life(&self, life: Duration) {
        self.shared.state().life = Some(life);
    }

    /// Sets its clock ahead of the others, or behind.
    pub fn ahead(&self, seconds: i64) {
        self.shared.state().ahead_s = seconds;
    }

    /// The instance has this role. `hardened` says whether metadata is given only for a token; `None`, that there are no tokens.
    pub fn instance(&self, role: &str, hardened: Option<bool>) {
        let mut state = self.shared.state();
        (state.instance_role, state.hardened) = (Some(role.to_owned()), hardened);
    }

    /// Takes back all tokens of the metadata service.
    pub fn forget_metadata_tokens(&self) {
        self.shared.state().metadata_tokens += 1;
    }

    /// The service that hands out credentials, at `/credentials`, wants this as Authorization.
    pub fn authorization(&self, wanted: &str) {
        self.shared.state().authorization = Some(wanted.to_owned());
    }

    /// Misbehaves from now on.
    pub fn trouble(&self, trouble: IssuerFault) {
        self.shared.state().trouble = trouble;
    }

    /// When what was issued last ends.
    #[must_use]
    pub fn last_ends(&self) -> Option<Timestamp> {
        self.shared.state().last_ends
    }

    /// How many calls were there at once, at most.
    #[must_use]
    pub fn in_flight_max(&self) -> usize {
        self.shared.state().in_flight_max
    }

    /// The calls so far.
    #[must_use]
    pub fn calls(&self) -> Vec<IssuerCall> {
        self.shared.state().calls.clone()
    }
}

impl Drop for CredentialIssuer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // If the thread has ended before, there is nothing to stop.
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
                    let service = service_fn(|request| shared.handle(request));
                    // How it ends is the client's affair.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        };
        tokio::select! {
            () = serving => {}
            // Said, or the handle was dropped.
            _ = stopped => {}
        }
    });
}

impl IssuerShared {
    fn state(&self) -> MutexGuard<'_, IssuerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_unix_s(self.oss.now().unix_s() + self.state().ahead_s)
    }

    async fn handle(
        &self,
        request: hyper::Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, DeadConnection> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let trouble = {
            let mut state = self.state();
            state.in_flight += 1;
            state.in_flight_max = state.in_flight_max.max(state.in_flight);
            state.trouble
        };
        tokio::time::sleep(trouble.delay).await;
        self.state().in_flight -= 1;
        if trouble.dead {
            return Err(DeadConnection);
        }
        let path = head.uri.path();
        let is_metadata = path.starts_with("/latest/");
        let answered = match path {
            _ if is_metadata => self.metadata(&head),
            "/credentials" => self.handed(&head),
            _ => self.sts(&head, &body),
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
        if let Ok(date) = self.now().http_date().parse() {
            response.headers_mut().insert(header::DATE, date);
        }
        Ok(response)
    }

    /// Notes a call; the error is what is answered in place of anything else.
    fn note(&self, call: IssuerCall) -> Result<(), IssuerRejection> {
        let mut state = self.state();
        state.calls.push(call);
        if !state.mishaps.is_empty() {
            let (status, code) = state.mishaps.remove(0);
            return Err(IssuerRejection(status, code, "as it was told to"));
        }
        if state.trouble.every_second && state.calls.len().is_multiple_of(2) {
            return Err(IssuerRejection(
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
                "every second time",
            ));
        }
        Ok(())
    }

    /// Issues a triple that OSS takes.
    fn issue(&self, usual: Duration) -> IssuedCredentials {
        let (number, life) = {
            let mut state = self.state();
            state.issued += 1;
            (state.issued, state.life.unwrap_or(usual))
        };
        let (id, secret, token) = (
            format!("STS.issued{number}"),
            format!("issued-secret-{number}"),
            format!("issued+token/{number}=="),
        );
        let expires = self.oss.now() + life;
        self.state().last_ends = Some(expires);
        self.oss.add_account(EmulatedAccount::triple(&id, &secret, &token).until(expires));
        IssuedCredentials { id, secret: Secret::new(secret), token: Secret::new(token), expires }
    }
}

impl IssuedCredentials {
    fn json(&self) -> serde_json::Value {
        json!({
            "AccessKeyId": self.id,
            "AccessKeySecret": self.secret.expose(),
            "SecurityToken": self.token.expose(),
            "Expiration": self.expires.rfc3339(),
        })
    }
}

/// The connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("closed, as it was told to")]
struct DeadConnection;
