//! Connections that are closed because of the PROXY protocol.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tracing::{debug, warn};

use super::warning_limit::WarningLimit;
use crate::time::Timestamp;

/// The reason why a connection is closed before its first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyRejection {
    /// The peer is none of the trusted load balancers.
    Untrusted,
    /// The PROXY protocol header is missing, malformed or late.
    Invalid,
}

/// The counts of these connections.
#[derive(Debug, Default)]
pub(crate) struct ProxyRejections {
    untrusted: AtomicU64,
    invalid: AtomicU64,
    untrusted_warnings: WarningLimit,
    invalid_warnings: WarningLimit,
}

impl ProxyRejections {
    /// Counts and logs a connection. Only one of them in ten minutes is a warning.
    pub(crate) fn record(
        &self,
        rejection: ProxyRejection,
        peer: Option<IpAddr>,
        error: &dyn fmt::Display,
        now: Timestamp,
    ) {
        let (count, warnings) = match rejection {
            ProxyRejection::Untrusted => (&self.untrusted, &self.untrusted_warnings),
            ProxyRejection::Invalid => (&self.invalid, &self.invalid_warnings),
        };
        count.fetch_add(1, Relaxed);
        let peer = peer.map(tracing::field::display);
        if warnings.allows(now) {
            warn!(
                peer,
                %error,
                "closed a connection to a listener with proxy_protocol; check trusted_proxies, and that the load balancer sends a PROXY protocol header"
            );
        } else {
            debug!(peer, %error, "closed a connection to a listener with proxy_protocol");
        }
    }

    /// Returns the counts with the names of their reasons.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 2] {
        [("untrusted", self.untrusted.load(Relaxed)), ("invalid", self.invalid.load(Relaxed))]
    }
}
