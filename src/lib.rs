//! A signing reverse proxy for Alibaba Cloud OSS. Clients send unsigned HTTP requests, or sign them
//! with keys that are valid only at the proxy. The proxy determines bucket, key and caller, obtains
//! credentials, signs each request, forwards it to OSS and streams the response back.
//!
//! ```text
//!                                main.rs
//!                                   │
//!  ┌─────────────────────────────  cli  ──────────────────────────────┐  commands; only cli prints
//!  │ serve  run  wait  check  explain  doctor  presign  demo  emulate │
//!  └───┬───────────────────────────────────────────────────┬──────────┘
//!     app ────────────────► config                         │          the process: build, reload, run │ text → values
//!      ├──────────────────────┤                            │
//!      ▼                      ▼                            ▼
//!    server                 admin                      emulator       sockets, drain │ health │ a small OSS
//!      ▼                      │                            │
//!    proxy                    │                            │          request path
//!      ├─────► telemetry ◄────┤                            │          logs, metrics
//!      ├─────► jwks ◄─────────┤                            │          keys of token issuers
//!      │          ▼           │                            │
//!      ├────► credentials ◄───┤                            │          credential providers
//!      │          ▼           │                            │
//!      ├─────► transport ◄────┤                            │          upstream HTTP
//!  ════╪══════════════════════╪════════════════════════════╪════  IO above · pure below (no tokio, clock, env, fs)
//!      ├──────► address ◄─────┤                            │          resolved endpoint
//!      ├──────► caller        │                            │          client identity
//!      │          ▼           │                            │
//!      ├──────► policy        │                            │          rights of callers, rules of listeners
//!      │          ▼           │                            │
//!      ├──────► sign          │                            │          signatures
//!      ├──────► sealing       │                            │          sealed secrets
//!      ▼                      ▼                            ▼
//!     oss          time          secret          histogram            types: Bucket, Key, Query, Operation, ErrorDocument …
//! ```
//!
//! `offload` is not shown: it runs blocking work, such as reading a file, on separate threads.
//!
//! A line leads from a module to the modules that it may use. `tests/it/layers.rs` lists them for
//! each module, and fails on any other and on one that no code uses. `config` and `app` also use
//! modules further below. No module but `app` and `cli` depends on `config`. `emulator` verifies
//! signatures with separate code and never uses `sign`. The published test vectors and the vendor's
//! SDKs check both.
//!
//! To read the code, start with `src/proxy/mod.rs`: one request, from the socket to the response,
//! on one screen.
//!
//! A program that embeds the proxy loads a [`config::ProxyConfig`] and runs an [`app::App`]. It may
//! add a credential provider of another kind with [`credentials::Provide`].
//!
//! ```no_run
//! use std::path::Path;
//! use std::sync::Arc;
//!
//! use oss_signing_proxy::app::{App, DrainSignal, SystemEnv};
//! use oss_signing_proxy::config::{ConfigFile, ProxyConfig};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let text = "[upstream]\nregion = \"cn-hangzhou\"\n";
//!     let file = ConfigFile { path: Path::new("proxy.toml"), text };
//!     let config = ProxyConfig::load(Some(file), &[], &SystemEnv)?;
//!     let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//!     tokio::task::LocalSet::new().block_on(&runtime, async {
//!         let app = App::assemble(config, Arc::new(SystemEnv)).await?;
//!         println!("listening on {:?}", app.addresses());
//!         // Another task calls `leave` on a clone of the signal to shut the proxy down.
//!         app.run(DrainSignal::new()).await?;
//!         Ok(())
//!     })
//! }
//! ```

#![forbid(unsafe_code)]
// Without this feature, items that only tests, benchmarks and fuzz targets reach are not public, and
// every type in the signature of a public item has a public path.
#![cfg_attr(not(feature = "internals"), warn(unnameable_types))]
#![cfg_attr(feature = "internals", warn(unreachable_pub))]

mod address;
mod admin;
pub mod app;
mod caller;
pub mod cli;
pub mod config;
pub mod credentials;
#[cfg(feature = "emulator")]
pub mod emulator;
mod histogram;
mod jwks;
mod offload;
pub mod oss;
mod policy;
mod proxy;
mod sealing;
pub mod secret;
mod server;
mod sign;
mod telemetry;
pub mod time;
mod transport;

/// Items for the tests, benchmarks and fuzz targets of this crate. They may change at any time.
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals {
    pub mod address {
        pub use crate::address::{
            BucketAddressing, Endpoint, Host, ListenerNames, LocatedObject, ResolvedEndpoint, RoutingTable,
            UpstreamAddress, UrlScheme,
        };
    }
    pub mod caller {
        use std::collections::HashMap;
        use std::sync::Arc;

        use http::header::AUTHORIZATION;
        use http::{HeaderMap, HeaderValue, Method};

        use crate::address::LocatedObject;
        pub use crate::caller::{Caller, CallerIdentity, IdentityProof, remove_client_signature};
        use crate::caller::{
            CallerDirectory, CallerKey, CallerSettings, ClientRequest, ConnectionPeer, DerivedKeys,
            IdentityContext, IdentityKinds, JwtKeyOrigin, JwtKeySet, JwtSettings, SubjectPattern,
            UnverifiedToken, VerifiedTokens, identify,
        };
        use crate::oss::{Key, Operation, Query, SigningProduct};
        use crate::policy::CallerRights;
        use crate::secret::Secret;
        use crate::sign::SigningIdentity;
        use crate::time::Timestamp;

        /// Returns the access key id that the signature of a request proves, and removes the
        /// signature. Each of `keys` belongs to a caller of its own.
        pub fn proven_key_id(
            method: &Method,
            object: &mut LocatedObject,
            headers: &mut HeaderMap,
            keys: &[SigningIdentity<'_>],
            now: Timestamp,
        ) -> Option<String> {
            let caller = |key: &SigningIdentity<'_>| CallerSettings {
                name: key.id.to_owned(),
                rights: CallerRights::everything(),
                keys: vec![CallerKey { id: key.id.to_owned(), secret: Secret::from(key.secret.expose()) }],
                ..CallerSettings::default()
            };
            let callers: Vec<CallerSettings> = keys.iter().map(caller).collect();
            let request = ClientRequest {
                method,
                operation: object.operation,
                bucket: object.bucket.as_ref(),
                key: &object.key,
                query: &mut object.query,
                headers,
                form: None,
            };
            let context = IdentityContext {
                directory: &CallerDirectory::new(Some(&callers)),
                kinds: IdentityKinds { key: true, ..IdentityKinds::default() },
                peer: &ConnectionPeer::default(),
                product: SigningProduct::Oss,
                keys: &DerivedKeys::default(),
                verified_tokens: &VerifiedTokens::default(),
                jwt_keys: &HashMap::<Box<str>, Arc<JwtKeySet>>::new(),
                signature_clock: &now,
                clock_now: now,
            };
            let identity = identify(request, context).ok()?;
            identity.caller().map(|caller| caller.name.to_string())
        }

        /// The claims of a JSON Web Token that identify a caller.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct TokenClaims {
            /// The issuer.
            pub issuer: Option<String>,
            /// The subject.
            pub subject: Option<String>,
            /// The audiences.
            pub audiences: Vec<String>,
        }

        /// Returns the claims of a token without verifying them. `None` if it is malformed.
        #[must_use]
        pub fn token_claims(token: &[u8]) -> Option<TokenClaims> {
            let claims = UnverifiedToken::parse(token).ok()?.claims;
            let audiences = claims.audience.map(|audience| audience.texts().to_vec()).unwrap_or_default();
            Some(TokenClaims { issuer: claims.issuer, subject: claims.subject, audiences })
        }

        /// Returns whether a bearer token identifies a caller with these claims. `key_set` has the keys
        /// of the issuer.
        #[must_use]
        pub fn is_token_of(token: &[u8], claims: &TokenClaims, key_set: &[u8], now: Timestamp) -> bool {
            let jwt = || {
                Some(JwtSettings {
                    issuer: claims.issuer.clone()?,
                    audience: claims.audiences.first()?.clone(),
                    subject: SubjectPattern::parse(claims.subject.as_deref()?).ok()?,
                    keys: JwtKeyOrigin::Fixed(Arc::new(JwtKeySet::parse(key_set).ok()?)),
                })
            };
            let caller =
                CallerSettings { name: "team-a".to_owned(), jwt: jwt(), ..CallerSettings::default() };
            let bearer = HeaderValue::from_bytes(&[b"Bearer ", token].concat());
            let (Ok(bearer), Some(_), Ok(key)) = (bearer, &caller.jwt, Key::from_path("k")) else {
                return false;
            };
            let request = ClientRequest {
                method: &Method::GET,
                operation: Operation::GetObject,
                bucket: None,
                key: &key,
                query: &mut Query::default(),
                headers: &mut HeaderMap::from_iter([(AUTHORIZATION, bearer)]),
                form: None,
            };
            let context = IdentityContext {
                directory: &CallerDirectory::new(Some(&[caller])),
                kinds: IdentityKinds { jwt: true, ..IdentityKinds::default() },
                peer: &ConnectionPeer::default(),
                product: SigningProduct::Oss,
                keys: &DerivedKeys::default(),
                verified_tokens: &VerifiedTokens::default(),
                jwt_keys: &HashMap::<Box<str>, Arc<JwtKeySet>>::new(),
                signature_clock: &now,
                clock_now: now,
            };
            identify(request, context).is_ok_and(|identity| identity.caller().is_some())
        }
    }
    pub mod config {
        use crate::config::ProxyConfig;
        pub use crate::config::effective::{EffectiveSetting, changes};
        pub use crate::config::variables::READ_VARIABLES;
        use crate::policy::CallerRights;

        /// Returns all effective settings with their origins.
        pub fn effective_settings(config: &ProxyConfig) -> &[EffectiveSetting] {
            &config.effective_settings
        }

        /// Returns the name and the rights of each caller.
        pub fn caller_rights(config: &ProxyConfig) -> impl Iterator<Item = (&str, &CallerRights)> {
            config.callers.iter().flatten().map(|caller| (&*caller.name, &caller.rights))
        }

        /// Returns the errors of each file of callers that is not used.
        pub fn broken_caller_files(config: &ProxyConfig) -> Vec<String> {
            config.caller_sources.broken().into_iter().map(|broken| broken.fault).collect()
        }
    }
    pub mod credentials {
        use crate::config::ProxyConfig;
        use crate::credentials::NamedSpec;
        pub use crate::credentials::build_sources::{ConfiguredSources, build_sources, rebuild_sources};

        /// Returns the specifications of the credential sources.
        pub fn source_specs(config: &ProxyConfig) -> &[NamedSpec] {
            &config.credentials
        }
    }
    pub mod oss {
        pub use crate::oss::key::Key;
        pub use crate::oss::query::Query;
    }
    pub mod policy {
        use http::{HeaderMap, HeaderName, HeaderValue, Method};

        use crate::address::LocatedObject;
        pub use crate::policy::{AccessPolicy, CallerRights, ClientProof, ListenerRequest, NamedHost};
        use crate::policy::{DocumentOptions, PolicyDocument, RequestOrigin, RequestShape, ShapeInput};
        use crate::time::Timestamp;

        /// Returns the rights that a document grants. `None` if it is invalid.
        #[must_use]
        pub fn rights_of(document: &str) -> Option<CallerRights> {
            let document = PolicyDocument::parse(document, DocumentOptions::default()).ok()?;
            Some(CallerRights::of_documents(vec![document]))
        }

        /// Returns whether rights grant a request with this body. `None` if it is not understood.
        #[must_use]
        pub fn is_granted(
            rights: &CallerRights,
            method: &Method,
            object: &LocatedObject,
            headers: &HeaderMap,
            body: &[u8],
        ) -> Option<bool> {
            let shape = shape(method, object, headers, body)?;
            Some(rights.judge(&shape.permissions, &shape.facts).is_ok())
        }

        /// A request as a policy judges it.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct JudgedRequest {
            /// The required actions, each with its resource.
            pub permissions: Vec<(&'static str, String)>,
            /// The headers that are rewritten; `None` removes the header.
            pub headers: Vec<(HeaderName, Option<HeaderValue>)>,
            /// The body, if it is rewritten.
            pub body: Option<Vec<u8>>,
        }

        /// Returns what a request requires, and how it is rewritten. `None` if it is not understood.
        #[must_use]
        pub fn judged_request(
            method: &Method,
            object: &LocatedObject,
            headers: &HeaderMap,
            body: &[u8],
        ) -> Option<JudgedRequest> {
            let shape = shape(method, object, headers, body)?;
            let permissions = shape.permissions.iter();
            let permissions = permissions.map(|one| (one.action, one.resource.to_string())).collect();
            Some(JudgedRequest { permissions, headers: shape.rewrites.headers, body: shape.rewrites.body })
        }

        fn shape<'a>(
            method: &'a Method,
            object: &'a LocatedObject,
            headers: &'a HeaderMap,
            body: &'a [u8],
        ) -> Option<RequestShape<'a>> {
            let origin = RequestOrigin {
                caller: "team-a",
                address: None,
                secure: false,
                now: Timestamp::from_unix_s(1_800_000_000),
            };
            let input = ShapeInput {
                operation: object.operation,
                method,
                bucket: object.bucket.as_ref(),
                key: object.key.as_bytes(),
                query: &object.query,
                headers,
                body,
                origin,
                region: "",
                callbacks: false,
            };
            RequestShape::read(input).ok()
        }
    }
    pub mod proxy {
        pub use crate::proxy::{ProxyState, WorkerCore, prepare_headers, without_token};
    }
    pub mod server {
        use std::net::SocketAddr;

        use crate::server::ProxyHeader;
        pub use crate::server::{
            ActivatedSockets, BoundListener, ListenSettings, ListenerPlan, MakeCore, Server, ServerPlan,
            ServerSettings, SharedListener,
        };

        /// A PROXY protocol header.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct ParsedHeader {
            /// The length in bytes.
            pub length: usize,
            /// The address of the client, if the header names one.
            pub client: Option<SocketAddr>,
        }

        /// Parses a PROXY protocol header at the beginning of `bytes`. Returns `None` if more bytes are
        /// needed.
        ///
        /// # Errors
        /// The reason why no further bytes could complete a header.
        pub fn parse_proxy_header(bytes: &[u8]) -> Result<Option<ParsedHeader>, String> {
            let header = ProxyHeader::parse(bytes).map_err(|invalid| invalid.to_string())?;
            Ok(header.map(|ProxyHeader { length, client }| ParsedHeader { length, client }))
        }
    }
    pub mod sign {
        use std::time::Duration;

        use crate::oss::Query;
        pub use crate::sign::{
            SignableRequest, SignatureVersion, SigningIdentity, SigningKey, SigningScheme, SigningTime, v4,
        };

        /// Returns the query of a request with a signature; `None` for a lifetime that OSS rejects.
        pub fn presign(
            key: &SigningKey,
            request: &SignableRequest<'_>,
            signing_time: &SigningTime,
            lifetime: Duration,
        ) -> Option<Query> {
            key.presign(request, signing_time, lifetime).ok()
        }
    }
    pub mod telemetry {
        pub use crate::telemetry::RequestCounts;
    }
    pub mod time {
        use crate::time::{Timestamp, UtcDay};

        /// Returns the day in UTC.
        pub fn day(time: Timestamp) -> UtcDay {
            time.day()
        }

        /// Formats a time as `20231216T162057Z`.
        pub fn iso_basic(time: Timestamp) -> String {
            time.iso_basic()
        }

        /// Formats a time as `2023-12-16T16:20:57.000Z`.
        pub fn iso_extended(time: Timestamp) -> String {
            time.iso_extended()
        }

        /// Formats a time as `Sat, 16 Dec 2023 16:20:57 GMT`.
        pub fn http_date(time: Timestamp) -> String {
            time.http_date()
        }

        /// Parses `20231216T162057Z`; `None` for anything else.
        pub fn parse_iso_basic(text: &str) -> Option<Timestamp> {
            Timestamp::parse_iso_basic(text)
        }
    }
    pub mod transport {
        pub use crate::transport::{TransportSettings, TrustStore, UpstreamTransport};
    }
}
