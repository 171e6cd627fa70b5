//! The pure part of the request pipeline, in order, without sockets.

use http::{HeaderMap, HeaderValue, Method, Uri, header};
use oss_signing_proxy::internals::address::{
    BucketAddressing, Endpoint, ListenerNames, LocatedObject, ResolvedEndpoint, RoutingTable,
    UpstreamAddress, UrlScheme,
};
use oss_signing_proxy::internals::caller::remove_client_signature;
use oss_signing_proxy::internals::policy::{AccessPolicy, ClientProof, ListenerRequest, NamedHost};
use oss_signing_proxy::internals::proxy::prepare_headers;
use oss_signing_proxy::internals::sign::{
    self, SignableRequest, SignatureVersion, SigningIdentity, SigningKey, SigningTime,
};
use oss_signing_proxy::internals::time::day;
use oss_signing_proxy::oss::Region;
use oss_signing_proxy::secret::Secret;
use oss_signing_proxy::time::Timestamp;

/// The state before the first request.
pub(crate) struct Walk {
    directory: RoutingTable,
    policy: AccessPolicy,
    prepared: SigningKey,
    moment: SigningTime,
    uri: Uri,
    headers: HeaderMap,
}

impl Walk {
    pub(crate) fn new(version: SignatureVersion) -> Self {
        let region = Region::parse("cn-hangzhou").expect("a region");
        let moment = SigningTime::new(Timestamp::from_unix_s(1_800_000_000));
        let secret = Secret::from("a-secret-of-thirty-characters.");
        let identity = SigningIdentity { id: "LTAI5tBenchKeyIdOf24Chars", secret: &secret, token: None };
        let scheme = match version {
            SignatureVersion::V4 => sign::SigningScheme::V4 { day: day(moment.at()), region: &region },
            SignatureVersion::V1 => sign::SigningScheme::V1,
        };
        let prepared = SigningKey::new(identity, scheme).expect("a key");
        let upstream = UpstreamAddress {
            region: Some(region),
            endpoint: Endpoint::parse("https://oss-cn-hangzhou-internal.aliyuncs.com").expect("an endpoint"),
            addressing: BucketAddressing::Virtual,
            pin: None,
            connect: None,
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:8770"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static("aws-cli/2"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert("x-oss-meta-owner", HeaderValue::from_static("somebody"));
        let uri = Uri::from_static("/photos/2026/11/24/a%20picture.jpg?x-oss-process=image%2Fresize%2Cw_100");
        Self {
            directory: RoutingTable::new(upstream, Vec::new()),
            policy: AccessPolicy::default(),
            prepared,
            moment,
            uri,
            headers,
        }
    }

    /// Returns a copy of the request headers.
    pub(crate) fn headers(&self) -> HeaderMap {
        self.headers.clone()
    }

    /// Resolves the object that the request addresses.
    pub(crate) fn locate(&self, headers: &HeaderMap) -> LocatedObject {
        self.locate_at(&Method::GET, &self.uri, headers)
    }

    /// Resolves the object that a request for this target addresses.
    pub(crate) fn locate_at(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> LocatedObject {
        let entrance = ListenerNames { domains: &[], scheme: UrlScheme::Http, unnamed: false, address: None };
        LocatedObject::find(method, uri, headers, (entrance, &self.directory)).expect("it is served")
    }

    /// Signs the resolved request.
    pub(crate) fn sign(&self, located: &LocatedObject, headers: &mut HeaderMap) {
        let subject = SignableRequest {
            method: &Method::GET,
            bucket: located.bucket.as_ref(),
            key: &located.key,
            query: &located.query,
            headers,
        };
        self.prepared.sign(&subject, &self.moment).apply(headers);
    }

    /// Runs the whole pipeline. The result is returned, so that it is not optimised away.
    pub(crate) fn all(&self, mut headers: HeaderMap) -> (HeaderMap, String) {
        let mut located = self.locate(&headers);
        remove_client_signature(&mut headers, &mut located.query);
        let shape = ListenerRequest {
            rights: None,
            proof: ClientProof::Explicit,
            operation: located.operation,
            method: &Method::GET,
            host: NamedHost::Other,
            query: &located.query,
            headers: &headers,
            pin: self.directory.get(located.upstream).pin.as_ref(),
        };
        std::hint::black_box(self.policy.decide(&shape));
        let way = ResolvedEndpoint::resolve(&located, &self.directory);
        prepare_headers(&mut headers);
        self.sign(&located, &mut headers);
        (headers, way.target(&located))
    }
}
