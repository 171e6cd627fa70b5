//! A signing reverse proxy for Alibaba Cloud OSS: clients send unsigned HTTP; it finds bucket and key, takes credentials,
//! signs, forwards to OSS and streams the answer back.
//!
//! ```text
//!                                main.rs
//!                                   │
//!  ┌─────────────────────────────  cli  ──────────────────────────────┐  assembles; alone may print
//!  │ serve  run  wait  check  explain  doctor  presign  demo  emulate │
//!  └───┬────────────────┬───────────────────────────────────┬─────────┘
//!    server          config                              emulator      sockets, drain │ text → values │ a small OSS
//!      │         File → Config                              │
//!    proxy  ◄────── admin                                   │          THE WALK │ health
//!      ├──────► telemetry                                   │          what is seen
//!      ├──────► credentials ──► transport                   │          who signs │ bytes out
//!  ════╪════════════════════════════════════════════════════╪═══  IO above · pure below (no tokio, clock, env, fs)
//!      ├──────► caller ──► sign                             │          who asks │ signatures
//!      ├──────► policy    address                           │          allowed? │ where
//!      ▼                                                    ▼
//!     oss          time          secret                                words: Bucket, Key, Query, Operation, ErrorDocument …
//! ```
//!
//! `offload` stands beside the picture: what may block, such as reading a file, runs through it, on threads of its own.
//!
//! Arrows point down, but for the sideways ones drawn; `tests/it/layers.rs` fails on any other. `config` knows the type of
//! every section, no section knows `config`. `emulator` verifies signatures with its own code and never uses `sign`: the
//! published vectors and the vendor's SDKs judge between the two.
//!
//! To read the code, begin with [`proxy`]: one request, from the socket to the answer, on one screen.

pub mod address;
pub mod admin;
pub mod caller;
pub mod cli;
pub mod config;
pub mod credentials;
pub mod emulator;
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
