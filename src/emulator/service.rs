//! The service: the state shared by all connections, and the handling of a request.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Response, header, request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;

use super::error::OssError;
use super::faults::{ActiveFaults, FaultContext, FaultSwitches};
use super::form::UploadForm;
use super::operation::{self, OperationContext, OperationPlan};
use super::recorder::RequestRecorder;
use super::request::{OssRequest, RequestTarget};
use super::response::{OssResponse, ResponseContext};
use super::settings::{EmulatedAccount, EmulatorSettings, ServiceIdentity};
use super::store::{BucketContents, ObjectMetadata, ObjectStore, StoredObject, SummedBody};
use super::verify::{self, RequestAuthentication, SignatureVerifier};
use super::wire::{BrokenBody, ExitFlag, ExitSocket, IncomingBody, OutgoingBody, ServiceStream};
use crate::oss::Bucket;
use crate::time::{Clock, Timestamp};

/// An in-memory OSS without a listener. Clones share the same state.
#[derive(Clone)]
pub struct OssService(Arc<ServiceState>);

struct ServiceState {
    identity: ServiceIdentity,
    clock: Arc<dyn Clock>,
    accounts: Mutex<Vec<EmulatedAccount>>,
    store: Mutex<ObjectStore>,
    faults: FaultSwitches,
    recorder: RequestRecorder,
}

/// The connection on which a request arrived.
struct RequestConnection {
    number: usize,
    reused: bool,
    exit: ExitFlag,
}

/// An error that closes the connection without a response.
#[derive(Debug)]
struct ConnectionClosed;

impl OssService {
    /// Creates a service with these settings.
    #[must_use]
    pub(crate) fn new(settings: EmulatorSettings) -> Self {
        let now = settings.clock.now();
        let buckets = settings.buckets.into_iter().map(|bucket| (bucket, BucketContents::new(now)));
        Self(Arc::new(ServiceState {
            identity: ServiceIdentity::new(settings.region, settings.domains),
            clock: settings.clock,
            accounts: Mutex::new(settings.accounts),
            store: Mutex::new(ObjectStore { buckets: buckets.collect() }),
            faults: FaultSwitches::default(),
            recorder: RequestRecorder::default(),
        }))
    }

    /// Serves HTTP/1.1 on one connection until it ends. For TLS, pass a TLS stream.
    pub async fn serve_connection<I: ServiceStream>(&self, io: I) {
        let number = self.0.recorder.connected();
        let exit = ExitFlag::default();
        let mut socket = ExitSocket::new(io, exit.clone());
        if let Some(close) = self.0.faults.take_connection() {
            exit.set(close);
            socket.touch().await;
            return socket.close(true).await;
        }
        let requests = AtomicUsize::new(0);
        let handler = service_fn(|request: hyper::Request<Incoming>| {
            let reused = requests.fetch_add(1, Ordering::Relaxed) > 0;
            self.handle(request, RequestConnection { number, reused, exit: exit.clone() })
        });
        let io = TokioIo::new(socket);
        let mut connection = http1::Builder::new().max_headers(MAX_HEADERS).serve_connection(io, handler);
        // Invalid requests and lost clients end here. The error has no recipient.
        let ended = (&mut connection).await;
        let ended_well = ended.is_ok();
        connection.into_parts().io.into_inner().close(ended_well).await;
    }

    /// Returns the fault switches of the service.
    #[must_use]
    pub(crate) fn faults(&self) -> &FaultSwitches {
        &self.0.faults
    }

    /// Returns the requests received so far.
    #[must_use]
    pub(crate) fn recorder(&self) -> &RequestRecorder {
        &self.0.recorder
    }

    /// Returns the current time of the service's clock.
    pub(super) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Adds an account whose signatures are accepted.
    pub fn add_account(&self, account: EmulatedAccount) {
        self.0.accounts.lock().push(account);
    }

    pub(super) fn with_accounts<T>(&self, look: impl FnOnce(&[EmulatedAccount]) -> T) -> T {
        look(&self.0.accounts.lock())
    }

    /// Returns the bytes stored under `key`, if any.
    #[must_use]
    pub fn object(&self, bucket: &Bucket, key: &[u8]) -> Option<bytes::Bytes> {
        let mut store = self.0.store.lock();
        let contents = store.bucket(bucket).ok()?;
        contents.objects.get(key).map(|object| object.data.clone())
    }

    /// Returns the keys of a bucket in order, or an empty list if the bucket does not exist.
    #[must_use]
    pub fn keys(&self, bucket: &Bucket) -> Vec<Vec<u8>> {
        let mut store = self.0.store.lock();
        store.bucket(bucket).map(|contents| contents.objects.keys().cloned().collect()).unwrap_or_default()
    }

    /// Stores an object as if it had been uploaded. Creates the bucket if it does not exist.
    pub fn put_object(&self, bucket: &Bucket, key: &[u8], data: impl Into<bytes::Bytes>) {
        let now = self.0.clock.now();
        let object = StoredObject::new(SummedBody::new(data.into()), ObjectMetadata::default(), now);
        let mut store = self.0.store.lock();
        let contents = store.buckets.entry(bucket.clone()).or_insert_with(|| BucketContents::new(now));
        contents.objects.insert(key.to_vec(), object);
    }

    async fn handle(
        &self,
        request: hyper::Request<Incoming>,
        line: RequestConnection,
    ) -> Result<Response<OutgoingBody>, ConnectionClosed> {
        let (head, body) = request.into_parts();
        let mut upload = IncomingBody::new(body, self.0.recorder.record(&head, line.number));
        let faults = self.0.faults.take(FaultContext { reused: line.reused, has_body: !upload.is_whole() });
        faults.wait().await;
        if let Some(close) = faults.close() {
            line.exit.set(close);
            return Err(ConnectionClosed);
        }
        let method = head.method.clone();
        let host = host_for_error(&head);
        let request_id = request_id();
        let about = ResponseContext { method: &method, host: &host, request_id: &request_id };
        let expects = head.headers.contains_key(header::EXPECT);
        let outcome = match faults.refusal(&mut upload).await {
            Some(failure) => Err(failure),
            None => self.respond(head, &mut upload, &faults).await?,
        };
        let mut response = outcome.unwrap_or_else(|failure| OssResponse::refusal(failure, about));
        if faults.leaves_body() || expects && !upload.is_whole() {
            response = response.with("connection", "close");
        } else if !upload.is_whole() {
            tokio::spawn(upload.drain());
        }
        let response = response.finish(about, faults.clock(self.0.clock.now()));
        Ok(faults.response(response, &line.exit))
    }

    /// Authenticates and executes a request. The body is read only after the signature was
    /// verified.
    async fn respond(
        &self,
        head: request::Parts,
        upload: &mut IncomingBody,
        faults: &ActiveFaults,
    ) -> Result<Result<OssResponse, OssError>, ConnectionClosed> {
        let identity = faults.identity(&self.0.identity);
        let (request, plan) = match self.admit(head, &identity, faults) {
            Ok(admitted) => admitted,
            Err(failure) => return Ok(Err(failure)),
        };
        let (payload, is_whole) = match plan.reads_body() {
            false => (SummedBody::default(), true),
            true => match upload.receive(faults.keep()).await {
                Ok(payload) => (payload, true),
                Err(BrokenBody(payload)) if faults.keeps_broken() => (payload, false),
                Err(BrokenBody(_)) => return Err(ConnectionClosed),
            },
        };
        if let Err(failure) = plan.check_payload(&request, &payload) {
            return Ok(Err(failure));
        }
        if plan.is_form() {
            return Ok(self.store_form(&request, plan, &payload.data, &identity));
        }
        let now = faults.clock(self.0.clock.now());
        let mut store = self.0.store.lock();
        let outcome = plan.run(OperationContext {
            request: &request,
            identity: &identity,
            store: &mut store,
            now,
            payload,
        });
        if is_whole { Ok(outcome) } else { Err(ConnectionClosed) }
    }

    /// Verifies a form, and stores its file.
    fn store_form(
        &self,
        request: &OssRequest,
        plan: OperationPlan,
        body: &bytes::Bytes,
        identity: &ServiceIdentity,
    ) -> Result<OssResponse, OssError> {
        let bucket = request.target.bucket().ok_or_else(OssError::method)?;
        let form = UploadForm::read(request, body)?;
        let now = self.0.clock.now();
        let accounts = &self.0.accounts.lock();
        let judge = SignatureVerifier { accounts, identity, now, simulated_failure: None };
        verify::verify_form(&form, bucket, &judge)?;
        let (request, payload) = (&form.to_put(bucket), SummedBody::new(form.file.clone()));
        let store = &mut self.0.store.lock();
        let stored = plan.run(OperationContext { request, identity, store, now, payload })?;
        Ok(form.respond(stored))
    }

    fn admit(
        &self,
        head: request::Parts,
        identity: &ServiceIdentity,
        faults: &ActiveFaults,
    ) -> Result<(OssRequest, OperationPlan), OssError> {
        let shared = &*self.0;
        let request = OssRequest::read(head.method, &head.uri, head.headers, identity)?;
        let caller = verify::authenticate(
            &request,
            &SignatureVerifier {
                accounts: &shared.accounts.lock(),
                identity,
                now: faults.clock(shared.clock.now()),
                simulated_failure: faults.simulated_failure(),
            },
        )?;
        let plan = operation::select(&request)?;
        if let Some(bucket) = request.target.bucket()
            && !plan.makes_bucket()
        {
            shared.store.lock().bucket(bucket)?;
        }
        let is_anonymous = caller == RequestAuthentication::Anonymous && !plan.is_form();
        if is_anonymous && !self.is_public(&request.target, &plan) {
            return Err(OssError::denied("You have no right to access this object because of bucket acl.")
                .ec("0003-00000001"));
        }
        Ok((request, plan))
    }

    /// Returns whether the ACL permits an anonymous request. The ACL of the object takes precedence
    /// over that of the bucket.
    fn is_public(&self, target: &RequestTarget, plan: &OperationPlan) -> bool {
        let Some(bucket) = target.bucket() else {
            return false;
        };
        let mut store = self.0.store.lock();
        let Ok(contents) = store.bucket(bucket) else {
            return false;
        };
        let own = match target {
            RequestTarget::Object(_, key) => contents.objects.get(key).map(|object| object.traits.acl),
            RequestTarget::Service | RequestTarget::Bucket(_) => None,
        };
        plan.is_public(own.filter(|acl| *acl != "default").unwrap_or(contents.acl))
    }
}

impl fmt::Debug for OssService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("identity", &self.0.identity).finish_non_exhaustive()
    }
}

impl fmt::Display for ConnectionClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is closed without a response")
    }
}

impl std::error::Error for ConnectionClosed {}

/// Returns the requested host, for error documents.
fn host_for_error(head: &request::Parts) -> String {
    let header = head.headers.get(header::HOST).and_then(|value| value.to_str().ok());
    let host = match head.uri.authority() {
        Some(authority) => authority.as_str(),
        None => header.unwrap_or(""),
    };
    host.split(':').next().unwrap_or("").to_owned()
}

/// Generates a request ID: 24 upper-case hexadecimal digits.
fn request_id() -> String {
    format!("{:016X}{:08X}", fastrand::u64(..), fastrand::u32(..))
}

/// The limit on request headers, above what any client sends.
const MAX_HEADERS: usize = 400;
