//! A small STS beside the embedded OSS: what it issues, that OSS takes. It judges both signature styles with code of its own.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Method, Response, StatusCode, header, request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::service::Service;
use super::settings::Account;
use super::text::hex;
use crate::oss::{decode, encode_strict};
use crate::time::Timestamp;

/// A small STS on a thread of its own, until this is dropped.
#[derive(Debug)]
pub struct Sts {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What may be assumed, by whom, and what has been asked.
struct Shared {
    oss: Service,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
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
    calls: Vec<Call>,
    issued: u32,
}

/// A call that was made.
#[derive(Clone, Debug)]
pub struct Call {
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
struct Refused(StatusCode, &'static str, &'static str);

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Sts {
    /// Listens on `address`; whoever may sign for `oss` may assume roles.
    ///
    /// # Errors
    /// If the address cannot be listened on, or no thread can be had.
    pub fn spawn(address: SocketAddr, oss: Service) -> io::Result<Self> {
        let shared = Arc::new(Shared { oss, state: Mutex::default() });
        let (ready, bound) = mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel();
        let inner = Arc::clone(&shared);
        let run = move || run(address, &inner, &ready, stopped);
        let thread = thread::Builder::new().name("sts".to_owned()).spawn(run)?;
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

    /// The calls so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.shared.state().calls.clone()
    }
}

impl Drop for Sts {
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
    shared: &Arc<Shared>,
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

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_unix_s(self.oss.now().unix_s() + self.state().ahead_s)
    }

    async fn handle(&self, request: hyper::Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let (status, text) = match self.answer(&head, &body) {
            Ok(text) => (StatusCode::OK, text),
            Err(Refused(status, code, message)) => {
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

    fn answer(&self, head: &request::Parts, body: &[u8]) -> Result<String, Refused> {
        let query = head.uri.query().unwrap_or_default();
        let mut parameters = pairs(query);
        parameters.extend(pairs(&String::from_utf8_lossy(body)));
        let text =
            |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let style = if text("authorization").starts_with("ACS3-HMAC-SHA256 ") {
            Some("ACS3")
        } else {
            parameters.contains_key("Signature").then_some("RPC")
        };
        let action = match style {
            Some("ACS3") => text("x-acs-action").to_owned(),
            _ => parameters.get("Action").cloned().unwrap_or_default(),
        };
        let call =
            Call { action: action.clone(), parameters: parameters.clone(), query: query.to_owned(), style };
        let mishap = {
            let mut state = self.state();
            state.calls.push(call);
            if state.mishaps.is_empty() { None } else { Some(state.mishaps.remove(0)) }
        };
        if let Some((status, code)) = mishap {
            return Err(Refused(status, code, "as it was told to"));
        }
        let get = |name: &str| parameters.get(name).map(String::as_str);
        match action.as_str() {
            "AssumeRole" => {
                match style {
                    Some("ACS3") => self.judge_acs3(head, body)?,
                    Some(_) => self.judge_rpc(&head.method, &parameters)?,
                    None => return Err(Refused(BAD, "MissingParameter.Signature", "unsigned")),
                }
                let wanted = self.state().roles.get(get("RoleArn").unwrap_or_default()).cloned();
                match wanted {
                    Some(id) if id.as_deref() == get("ExternalId") => {}
                    Some(_) | None => return Err(Refused(DENIED, "NoPermission", "not authorised")),
                }
            }
            "AssumeRoleWithOIDC" => {
                let state = self.state();
                if !state.tokens.iter().any(|token| Some(token.as_str()) == get("OIDCToken")) {
                    return Err(Refused(BAD, "AuthenticationFail.OIDCToken.Expired", "expired"));
                }
                let known = state.roles.contains_key(get("RoleArn").unwrap_or_default());
                if !known || get("OIDCProviderArn").is_none_or(str::is_empty) {
                    return Err(Refused(DENIED, "AuthenticationFail.NoPermission", "not trusted"));
                }
            }
            _ => return Err(Refused(BAD, "InvalidAction.NotFound", "no such action")),
        }
        self.issue(&parameters)
    }

    /// Issues a triple that OSS takes, if the rest of the call is as STS wants it.
    fn issue(&self, parameters: &BTreeMap<String, String>) -> Result<String, Refused> {
        let get = |name: &str| parameters.get(name).map_or("", String::as_str);
        let session = get("RoleSessionName");
        let fits = |c: char| c.is_ascii_alphanumeric() || ".@-_".contains(c);
        if !(2..=64).contains(&session.len()) || !session.chars().all(fits) {
            return Err(Refused(BAD, "InvalidParameter.RoleSessionName", "wrongly formed"));
        }
        let asked: u64 = get("DurationSeconds").parse().unwrap_or(0);
        if !(900..=43_200).contains(&asked) {
            return Err(Refused(BAD, "InvalidParameter.DurationSeconds", "wrong"));
        }
        let (number, life) = {
            let mut state = self.state();
            state.issued += 1;
            (state.issued, state.life.unwrap_or_else(|| Duration::from_secs(asked)))
        };
        let (id, secret, token) = (
            format!("STS.issued{number}"),
            format!("issued-secret-{number}"),
            format!("issued+token/{number}=="),
        );
        let expires = self.oss.now() + life;
        self.oss.add_account(Account::triple(&id, &secret, &token).until(expires));
        let answer = json!({
            "RequestId": "STS-REQUEST-1",
            "AssumedRoleUser": {"Arn": get("RoleArn"), "AssumedRoleId": format!("1:{session}")},
            "Credentials": {
                "AccessKeyId": id,
                "AccessKeySecret": secret,
                "SecurityToken": token,
                "Expiration": expires.rfc3339(),
            },
        });
        Ok(answer.to_string())
    }

    fn judge_acs3(&self, head: &request::Parts, body: &[u8]) -> Result<(), Refused> {
        let text =
            |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let field = |name: &str| {
            let fields = text("authorization").split_once(' ').map_or("", |(_, fields)| fields);
            let found = fields.split(',').find_map(|field| field.strip_prefix(name));
            found.unwrap_or_default().to_owned()
        };
        self.check_time(text("x-acs-date"))?;
        if text("x-acs-content-sha256") != hex(&Sha256::digest(body)) {
            return Err(MISMATCH);
        }
        let (id, names) = (field("Credential="), field("SignedHeaders="));
        let secret = self.secret(&id, text("x-acs-security-token"))?;
        let must = head.headers.keys().map(header::HeaderName::as_str);
        let signed: Vec<&str> = names.split(';').collect();
        if must
            .filter(|name| name.starts_with("x-acs-") || *name == "host")
            .any(|name| !signed.contains(&name))
        {
            return Err(MISMATCH);
        }
        let lines: String = signed.iter().map(|name| format!("{name}:{}\n", text(name).trim())).collect();
        let query = head.uri.query().unwrap_or_default();
        let canonical = format!(
            "{}\n{}\n{query}\n{lines}\n{names}\n{}",
            head.method,
            head.uri.path(),
            hex(&Sha256::digest(body))
        );
        let to_sign = format!("ACS3-HMAC-SHA256\n{}", hex(&Sha256::digest(canonical.as_bytes())));
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return Err(MISMATCH) };
        mac.update(to_sign.as_bytes());
        if hex(&mac.finalize().into_bytes()) == field("Signature=") { Ok(()) } else { Err(MISMATCH) }
    }

    fn judge_rpc(&self, method: &Method, parameters: &BTreeMap<String, String>) -> Result<(), Refused> {
        let get = |name: &str| parameters.get(name).map_or("", String::as_str);
        self.check_time(get("Timestamp"))?;
        let secret = self.secret(get("AccessKeyId"), get("SecurityToken"))?;
        let mut all = String::new();
        for (name, value) in parameters.iter().filter(|(name, _)| *name != "Signature") {
            if !all.is_empty() {
                all.push('&');
            }
            encode_strict(name.as_bytes(), &mut all);
            all.push('=');
            encode_strict(value.as_bytes(), &mut all);
        }
        let mut to_sign = format!("{method}&%2F&");
        encode_strict(all.as_bytes(), &mut to_sign);
        let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(format!("{secret}&").as_bytes()) else {
            return Err(MISMATCH);
        };
        mac.update(to_sign.as_bytes());
        let right = STANDARD.encode(mac.finalize().into_bytes());
        if right == get("Signature") { Ok(()) } else { Err(MISMATCH) }
    }

    fn check_time(&self, text: &str) -> Result<(), Refused> {
        let Some(at) = Timestamp::parse_rfc3339(text) else {
            return Err(Refused(BAD, "InvalidTimeStamp.Format", "no time"));
        };
        if (at.unix_s() - self.now().unix_s()).abs() > 15 * 60 {
            return Err(Refused(BAD, "InvalidTimeStamp.Expired", "expired"));
        }
        Ok(())
    }

    /// The secret of an account that the call names, with the token that goes with it.
    fn secret(&self, id: &str, token: &str) -> Result<String, Refused> {
        let found = self.oss.with_accounts(|accounts| {
            let account = accounts.iter().find(|account| account.access_key_id == id)?;
            let wanted = account.security_token.as_ref().map_or("", crate::secret::Secret::expose);
            Some((account.access_key_secret.expose().to_owned(), wanted == token))
        });
        match found {
            Some((secret, true)) => Ok(secret),
            Some((_, false)) => Err(Refused(BAD, "InvalidSecurityToken.MismatchWithAccessKey", "mismatch")),
            None => Err(Refused(
                StatusCode::NOT_FOUND,
                "InvalidAccessKeyId.NotFound",
                "Specified access key is not found",
            )),
        }
    }
}

fn pairs(text: &str) -> BTreeMap<String, String> {
    let read = |part: &str| {
        let bytes = decode(part.replace('+', " ").as_bytes()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let parts = text.split('&').filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').unwrap_or((part, ""))).map(|(a, b)| (read(a), read(b))).collect()
}

const BAD: StatusCode = StatusCode::BAD_REQUEST;
const DENIED: StatusCode = StatusCode::FORBIDDEN;
const MISMATCH: Refused =
    Refused(BAD, "SignatureDoesNotMatch", "Specified signature is not matched with our calculation.");
