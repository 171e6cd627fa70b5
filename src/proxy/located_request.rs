//! A request with a known target: its client, its form, and what it requires.

use std::rc::Rc;

use http::{HeaderMap, Method, header};

use super::bucket_filter::BucketFilter;
use super::caller_limiter::CallerPermit;
use super::error::ProxyError;
use super::form_file::FormFileFilter;
use super::form_upload::{FormUpload, JudgedForm};
use super::request::InboundRequest;
use super::routed_clock::RoutedClock;
use super::signing::AddressedRequest;
use super::state::{AcceptingListener, ProxyState, SignatureTimes, WorkerCore};
use super::trace::RequestTrace;
use crate::address::LocatedObject;
use crate::caller::{self, Caller, CallerIdentity, ClientRequest, IdentityError, SignatureClock};
use crate::oss::{Operation, Region, SigningProduct};
use crate::policy::{AccessPolicy, NotUnderstood, RequestOrigin, RequestShape, ShapeInput};

/// A request with a known target. The value is large, so the stages pass it on in its box.
pub(super) struct LocatedRequest {
    pub(super) request: AddressedRequest,
    pub(super) headers: HeaderMap,
    /// The permit of the caller, if it has limits.
    pub(super) permit: Option<Rc<CallerPermit>>,
    /// The filter of the response, if it is a list of buckets.
    pub(super) bucket_filter: Option<Box<BucketFilter>>,
    /// The form of an upload that is verified.
    pub(super) form: Option<Box<FormStage>>,
}

/// The form of an upload, at the stages of its request.
pub(super) enum FormStage {
    Read(FormUpload),
    Checked(JudgedForm),
    Signed(FormFileFilter),
}

impl LocatedRequest {
    /// Takes the head of a request whose target can be resolved.
    pub(super) fn locate(
        inbound: &mut InboundRequest,
        listener: &AcceptingListener,
        state: &ProxyState,
        trace: &mut impl RequestTrace,
    ) -> Result<Box<Self>, ProxyError> {
        let request =
            AddressedRequest { object: inbound.locate(listener, state)?, method: inbound.method().clone() };
        trace.record_object(&request.object);
        let headers = inbound.take_headers();
        Ok(Box::new(Self { request, headers, permit: None, bucket_filter: None, form: None }))
    }

    /// Returns whether the signature of a form identifies the client.
    pub(super) fn is_verified_form(&self, policy: &AccessPolicy) -> bool {
        policy.verified_forms && self.request.object.operation == Operation::PostObject
    }

    /// Reads the fields of a form before its file.
    pub(super) async fn read_form(
        &mut self,
        core: &WorkerCore,
        inbound: &mut InboundRequest,
    ) -> Result<(), ProxyError> {
        let boundary = FormUpload::boundary(&self.headers, &self.request.object.query)?;
        let form = inbound.read_form(&boundary, core.transport().stall()).await?;
        self.form = Some(Box::new(FormStage::Read(form)));
        Ok(())
    }

    /// Checks the conditions that the client has signed for its form.
    fn check_form(&mut self) -> Result<(), ProxyError> {
        let Some(form) = self.form.take() else { return Ok(()) };
        let checked = match (*form, &self.request.object.bucket) {
            (FormStage::Read(form), Some(bucket)) => {
                FormStage::Checked(form.check(bucket, self.headers.get(header::USER_AGENT))?)
            }
            (form, _) => form,
        };
        self.form = Some(Box::new(checked));
        Ok(())
    }

    /// Identifies the client at these times, and removes its signature. If the key of a token is
    /// unknown, waits briefly for a fetch of the keys of its issuer.
    pub(super) async fn identify(
        &mut self,
        core: &WorkerCore,
        listener: &AcceptingListener,
        times: SignatureTimes<'_>,
        trace: &mut impl RequestTrace,
    ) -> Result<CallerIdentity, ProxyError> {
        let state = core.state();
        let mut identified = self.caller(core, listener, times);
        if let Err(error @ IdentityError::Jwt(_)) = &identified
            && Box::pin(state.callers.fetch_lacking_keys(error)).await
        {
            identified = self.caller(core, listener, times);
        }
        let caller = match identified {
            Ok(caller) => caller,
            Err(error) => {
                let query = &self.request.object.query;
                if trace.is_audited()
                    && let Some(id) = caller::claimed_key_id(&self.headers, query, &state.callers.directory)
                {
                    trace.record_unverified_key(id);
                }
                if let Some(claimed) = caller::claimed_caller(&self.headers, query, &state.callers.directory)
                {
                    trace.record_rejected_claim(&claimed, state);
                }
                return Err(error.into());
            }
        };
        if let Some(caller) = caller.caller() {
            self.request.object.route_for_caller(&caller.name, &state.routing_table)?;
        }
        trace.record_caller(&caller, state);
        self.check_form()?;
        Ok(caller)
    }

    fn caller(
        &mut self,
        core: &WorkerCore,
        listener: &AcceptingListener,
        times: SignatureTimes<'_>,
    ) -> Result<CallerIdentity, IdentityError> {
        let AddressedRequest { method, object } = &mut self.request;
        let LocatedObject { operation, bucket, key, query, upstream, host, .. } = object;
        let region = core.state().routing_table.get(*upstream).region.as_ref();
        let bucket = bucket.as_ref();
        let routed = RoutedClock { core, host: host.as_ref(), bucket, upstream: *upstream };
        let fixed;
        let clock: &dyn SignatureClock = match times {
            SignatureTimes::Current => &routed,
            SignatureTimes::Fixed { signed_at, .. } => {
                fixed = signed_at.at();
                &fixed
            }
        };
        let form = match self.form.as_deref() {
            Some(FormStage::Read(form)) => Some(&form.head),
            _ => None,
        };
        let headers = &mut self.headers;
        let request = ClientRequest { method, operation: *operation, bucket, key, query, headers, form };
        let product = region.map_or(SigningProduct::Oss, Region::product);
        caller::identify(request, core.identity_context(listener, product, clock))
    }

    /// Determines what the request requires.
    pub(super) fn shape<'a>(
        &'a self,
        core: &'a WorkerCore,
        listener: &AcceptingListener,
        caller: Option<&'a Caller>,
        body: &'a [u8],
    ) -> Result<RequestShape<'a>, NotUnderstood> {
        let AddressedRequest { method, object } = &self.request;
        // A form is judged as the upload that it stands for.
        let (operation, method, key, headers) = match self.form.as_deref() {
            Some(FormStage::Checked(form)) => {
                (Operation::PutObject, &Method::PUT, form.key.as_bytes(), &form.headers)
            }
            Some(_) | None => (object.operation, method, object.key.as_bytes(), &self.headers),
        };
        let region = core.state().routing_table.get(object.upstream).region.as_ref();
        RequestShape::read(ShapeInput {
            operation,
            method,
            bucket: object.bucket.as_ref(),
            key,
            query: &object.query,
            headers,
            body,
            origin: RequestOrigin {
                caller: caller.map_or("", |caller| &caller.name),
                address: listener.client,
                secure: listener.rules.tls,
                now: core.clock().now(),
            },
            region: region.map_or("", Region::as_str),
            callbacks: caller.is_none_or(|caller| caller.callbacks || caller.rights.is_unrestricted()),
        })
    }
}
