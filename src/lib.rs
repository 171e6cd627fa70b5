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
//!     app ───────────┐                                      │          builds, reloads and runs the process
//!    server          config                              emulator      sockets, drain │ text → values │ a small OSS
//!      │         File → Config                              │
//!    proxy  ◄────── admin                                   │          request path │ health
//!      ├──────► telemetry                                   │          logs, metrics
//!      ├──────► credentials ──► transport                   │          credential providers │ upstream HTTP
//!  ════╪════════════════════════════════════════════════════╪═══  IO above · pure below (no tokio, clock, env, fs)
//!      ├──────► caller ──► sign                             │          client identity │ signatures
//!      ├──────► policy    address                           │          access policy │ resolved endpoint
//!      ▼                                                    ▼
//!     oss          time          secret          histogram             types: Bucket, Key, Query, Operation, ErrorDocument …
//! ```
//!
//! `offload` is not in the picture: it runs blocking work, such as reading a file, on separate
//! threads.
//!
//! Arrows point down, except for the sideways arrows shown. `tests/it/layers.rs` fails on any
//! other. `config` knows the type of every section, no section knows `config`. `emulator` verifies
//! signatures with separate code and never uses `sign`. The published test vectors and the vendor's
//! SDKs check both.
//!
//! To read the code, begin with [`proxy`]: one request, from the socket to the response, on one
//! screen.

#![forbid(unsafe_code)]

pub mod address;
pub mod admin;
pub mod app;
pub mod caller;
pub mod cli;
pub mod config;
pub mod credentials;
pub mod emulator;
pub mod histogram;
pub mod offload;
pub mod oss;
pub mod policy;
pub mod proxy;
pub mod secret;
pub mod server;
pub mod sign;
pub mod telemetry;
pub mod time;
pub mod transport;
