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

        use http::{HeaderMap, Method};

        use crate::address::LocatedObject;
        pub use crate::caller::{Caller, CallerIdentity, IdentityProof, remove_client_signature};
        use crate::caller::{
            CallerDirectory, CallerKey, CallerSettings, ClientRequest, ConnectionPeer, DerivedKeys,
            IdentityContext, IdentityKinds, JwtKeySet, VerifiedTokens, identify,
        };
        use crate::oss::SigningProduct;
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
    }
    pub mod config {
        use crate::config::ProxyConfig;
        pub use crate::config::effective::{EffectiveSetting, changes};
        pub use crate::config::variables::READ_VARIABLES;

        /// Returns all effective settings with their origins.
        pub fn effective_settings(config: &ProxyConfig) -> &[EffectiveSetting] {
            &config.effective_settings
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
        use http::{HeaderMap, Method};

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
            let origin = RequestOrigin {
                caller: "team-a",
                address: None,
                secure: false,
                now: Timestamp::from_unix_s(1_800_000_000),
            };
            let shape = RequestShape::read(ShapeInput {
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
            });
            shape.ok().map(|shape| rights.judge(&shape.permissions, &shape.facts).is_ok())
        }
    }
    pub mod proxy {
        pub use crate::proxy::{ProxyState, WorkerCore, prepare_headers, without_token};
    }
    pub mod server {
        pub use crate::server::{
            ActivatedSockets, BoundListener, ListenSettings, ListenerPlan, MakeCore, Server, ServerPlan,
            ServerSettings, SharedListener,
        };
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
