//! A signing reverse proxy for Alibaba Cloud OSS. Clients send unsigned HTTP requests. The proxy
//! determines bucket and key, obtains credentials, signs each request, forwards it to OSS and
//! streams the response back.
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
//!      ├────► credentials ◄───┤                            │          credential providers
//!      │          ▼           │                            │
//!      ├─────► transport ◄────┤                            │          upstream HTTP
//!  ════╪══════════════════════╪════════════════════════════╪════  IO above · pure below (no tokio, clock, env, fs)
//!      ├──────► address ◄─────┤                            │          resolved endpoint
//!      ├──────► sign          │                            │          signatures
//!      ├──────► policy        │                            │          access policy
//!      │          ▼           │                            │
//!      ├──────► caller        │                            │          client identity
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

#![forbid(unsafe_code)]
// Without this feature, items that only tests, benchmarks and fuzz targets reach are not public.
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
mod offload;
pub mod oss;
mod policy;
mod proxy;
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
        pub use crate::caller::identify;
    }
    pub mod config {
        pub use crate::config::effective::changes;
        pub use crate::config::variables::READ_VARIABLES;
    }
    pub mod credentials {
        pub use crate::credentials::build_sources::{ConfiguredSources, build_sources, rebuild_sources};
    }
    pub mod oss {
        pub use crate::oss::key::Key;
        pub use crate::oss::query::Query;
    }
    pub mod policy {
        pub use crate::policy::{AccessPolicy, NamedHost, RequestShape};
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
        pub use crate::sign::{
            SignableRequest, SignatureVersion, SigningIdentity, SigningKey, SigningScheme, SigningTime, v4,
        };
    }
    pub mod telemetry {
        pub use crate::telemetry::RequestCounts;
    }
    pub mod transport {
        pub use crate::transport::{TransportSettings, TrustStore, UpstreamTransport};
    }
}
