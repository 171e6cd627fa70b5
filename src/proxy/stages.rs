//! The types of the walk. Their fields are private to this file: an [`Admitted`] is made by policy alone, only an `Admitted`
//! can be routed, and only what was routed to be signed has a `sign`.

use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderMap, Method, Request, Uri, header};

use super::answer::Answer;
use super::keys::Keys;
use super::refusal::Refusal;
use super::request::Inbound;
use super::state::Core;
use super::ways::Paved;
use crate::address;
use crate::caller::{self, Caller};
use crate::credentials::{Credentials, Source};
use crate::oss::Bucket;
use crate::policy::{Decision, Policy};
use crate::sign::{Moment, Subject, Version};
use crate::telemetry::Access;
use crate::transport::Patience;

/// What a request asks for is known.
pub(super) struct Located {
    method: Method,
    headers: HeaderMap,
    object: address::Located,
}

/// Who asks is known, and the client's own signature is gone.
pub(super) struct Identified {
    located: Located,
    caller: Caller,
}

/// Policy lets it pass: the only thing that can be routed.
pub(super) struct Admitted {
    located: Located,
    decision: Pass,
}

enum Pass {
    Sign,
    Unsigned,
}

/// Where it goes is known.
pub(super) enum Routed<'a> {
    /// It is to be signed.
    ToSign(ToSign<'a>),
    /// It must not be signed.
    Unsigned(Unsigned),
}

/// A request that may be signed.
pub(super) struct ToSign<'a> {
    located: Located,
    paved: Rc<Paved>,
    signature: Version,
    source: &'a Source,
}

/// A request that goes on without a signature.
pub(super) struct Unsigned {
    located: Located,
    paved: Rc<Paved>,
}

/// A request as it will be sent, but for its body.
pub(super) struct Signed {
    request: Request<()>,
    paved: Rc<Paved>,
    patience: Patience,
    signed_by: Option<Arc<Credentials>>,
}

impl Located {
    pub(super) fn new(method: Method, headers: HeaderMap, object: address::Located) -> Self {
        Self { method, headers, object }
    }

    /// Writes what is known into the access event.
    pub(super) fn note(self, access: &mut Access) -> Self {
        access.operation = Some(self.object.operation.name());
        if access.is_logged() {
            access.bucket = self.object.bucket.as_ref().map(|bucket| Bucket::as_str(bucket).to_owned());
        }
        self
    }

    pub(super) fn identify(mut self, access: &mut Access) -> Identified {
        let caller = caller::identify(&mut self.headers, &mut self.object.query);
        access.caller = caller.name();
        Identified { located: self, caller }
    }
}

impl Identified {
    /// The request, if policy allows it; the only way to make an [`Admitted`].
    pub(super) fn admit(self, policy: &Policy) -> Result<Admitted, Refusal> {
        let Self { located, caller } = self;
        let decision = match policy.decide(caller, located.object.operation, &located.headers) {
            Decision::Sign => Pass::Sign,
            Decision::PassUnsigned => Pass::Unsigned,
            Decision::Deny(denial) => return Err(denial.into()),
        };
        Ok(Admitted { located, decision })
    }
}

impl Admitted {
    /// Finds the upstream; the headers become those that will be sent.
    pub(super) fn route(self, core: &Core) -> Result<Routed<'_>, Refusal> {
        let Self { mut located, decision } = self;
        let state = core.state();
        let upstream = state.upstream(located.object.upstream).ok_or(Refusal::NoRegion)?;
        let paved = core.ways().get(&located.object, &state.directory, upstream.trust)?;
        super::headers::settle(&mut located.headers);
        Ok(match decision {
            Pass::Sign => Routed::ToSign(ToSign {
                located,
                paved,
                signature: upstream.signature,
                source: &upstream.source,
            }),
            Pass::Unsigned => Routed::Unsigned(Unsigned { located, paved }),
        })
    }
}

impl ToSign<'_> {
    /// Who signs.
    pub(super) fn source(&self) -> &Source {
        self.source
    }

    pub(super) fn sign(
        self,
        credentials: &Arc<Credentials>,
        now: &Moment,
        keys: &Keys,
        access: &mut Access,
    ) -> Result<Signed, Refusal> {
        let Self { mut located, paved, signature, .. } = self;
        let prepared = keys.get(credentials, (signature, paved.way.region.as_ref()), now)?;
        let subject = Subject {
            method: &located.method,
            bucket: located.object.bucket.as_ref(),
            key: &located.object.key,
            query: &located.object.query,
            headers: &located.headers,
        };
        prepared.sign(&subject, now).apply(&mut located.headers);
        access.provider = Some(Arc::clone(&credentials.provider));
        let signed = Signed::new(located, paved)?;
        Ok(Signed { signed_by: Some(Arc::clone(credentials)), ..signed })
    }
}

impl Unsigned {
    pub(super) fn pass(self) -> Result<Signed, Refusal> {
        let Self { located, paved } = self;
        Signed::new(located, paved)
    }
}

impl Signed {
    fn new(located: Located, paved: Rc<Paved>) -> Result<Self, Refusal> {
        let Located { method, mut headers, object } = located;
        let works_on_the_whole = object.operation.works_on_whole_objects();
        let patience = if works_on_the_whole { Patience::WholeObject } else { Patience::Usual };
        headers.insert(header::HOST, paved.host.clone());
        let target: Uri = paved.way.target(&object).try_into().map_err(|_| Refusal::Unsendable)?;
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = target;
        *request.headers_mut() = headers;
        Ok(Self { request, paved, patience, signed_by: None })
    }

    /// Sends the request with the client's body, and waits for the head of the answer.
    pub(super) async fn send(
        self,
        core: &Core,
        inbound: &mut Inbound,
        access: &Access,
    ) -> Result<Answer, Refusal> {
        let Self { request, paved, patience, signed_by } = self;
        let head_only = request.method() == Method::HEAD;
        let request = inbound
            .attach(request, Rc::clone(&access.bytes_in), &core.state().limits)
            .ok_or(Refusal::Unsendable)?;
        let (response, lease) = core.transport().send(&paved.destination, request, patience).await?;
        let answer = Answer::new(response, lease, head_only, core.counters())?;
        match signed_by.as_ref().and_then(|credentials| credentials.token.as_ref()) {
            Some(token) => answer.without(token, core.transport().stall()).await,
            None => Ok(answer),
        }
    }
}
