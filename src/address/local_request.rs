//! The check that keeps web pages away from listeners that only programs use: they must not reach
//! them from another site, nor by a DNS name that points here.

use http::header::ORIGIN;
use http::{HeaderMap, Uri};

use super::host::Host;

/// The names by which a listener can be reached. A DNS name can point a web page to a TCP port, but
/// not to a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListenerReach<'a> {
    /// Reachable by name: the host of a request must be an IP address, `localhost`, or one of these
    /// names.
    ByName(&'a [String]),
    /// Not reachable by name; the `Host` header is not checked.
    Unnamed,
}

/// The reason why a request may come from a web page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageRequest {
    /// The host is a name of no listener.
    ForeignHost,
    /// A browser has sent the request for a page of another site.
    ForeignPage,
}

impl ListenerReach<'_> {
    /// Checks that no web page has sent a request.
    ///
    /// # Errors
    /// The reason why one may have sent it.
    pub(crate) fn check(self, uri: &Uri, headers: &HeaderMap) -> Result<(), PageRequest> {
        let is_served = match self {
            Self::Unnamed => true,
            Self::ByName(names) => Host::from_request(uri, headers)
                .is_ok_and(|host| host.is_own() || names.iter().any(|name| name == host.as_str())),
        };
        // guard: admin-host
        if !is_served {
            return Err(PageRequest::ForeignHost);
        }
        let cross_site = headers.get("sec-fetch-site").is_some_and(|site| site.as_bytes() == b"cross-site");
        // guard: admin-origin
        if headers.contains_key(ORIGIN) || cross_site {
            return Err(PageRequest::ForeignPage);
        }
        Ok(())
    }
}
