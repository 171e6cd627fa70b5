//! Endpoints in the form of the configuration.

use super::host::{Host, Port};
use super::oss_endpoint::{OssEndpoint, OssName};
use super::service::ServiceName;
use crate::oss::Region;

/// The scheme of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UrlScheme {
    /// Plain TCP.
    Http,
    /// TLS.
    Https,
}

/// The scheme, host and port of an upstream, without a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// HTTP or HTTPS.
    pub(crate) scheme: UrlScheme,
    /// Name or IP address.
    pub(crate) host: Host,
    /// TCP port.
    pub(crate) port: u16,
}

/// The error for a text that is not an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum InvalidEndpoint {
    /// The text does not begin with a supported scheme.
    #[error("{0:?} must start with https:// or http://")]
    Scheme(String),
    /// The text has a path, a query or a fragment.
    #[error("{0:?} has more than a host and a port")]
    Path(String),
    /// The host is invalid.
    #[error("{text:?}: {reason}")]
    Host {
        /// The text.
        text: String,
        /// The cause.
        reason: &'static str,
    },
}

impl UrlScheme {
    /// Returns the name of the scheme, without `://`.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// Returns the default port of the scheme.
    #[must_use]
    pub(crate) fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Endpoint {
    /// Parses `https://host[:port]`.
    ///
    /// # Errors
    /// [`InvalidEndpoint`] describes the cause.
    pub fn parse(text: &str) -> Result<Self, InvalidEndpoint> {
        let (scheme, rest) = if let Some(rest) = text.strip_prefix("https://") {
            (UrlScheme::Https, rest)
        } else if let Some(rest) = text.strip_prefix("http://") {
            (UrlScheme::Http, rest)
        } else {
            return Err(InvalidEndpoint::Scheme(text.to_owned()));
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err(InvalidEndpoint::Path(text.to_owned()));
        }
        let (host, port) = Host::parse(authority)
            .map_err(|reason| InvalidEndpoint::Host { text: text.to_owned(), reason })?;
        let port = match port {
            Port::Implied => scheme.default_port(),
            Port::Given(port) => port,
        };
        Ok(Self { scheme, host, port })
    }

    /// Creates the endpoint with the host name of `oss_endpoint`.
    #[must_use]
    pub(crate) fn from_place(oss_endpoint: &OssEndpoint, scheme: UrlScheme) -> Self {
        // `OssEndpoint::name` returns a valid host name.
        let host = Host::parse(&oss_endpoint.name()).map(|(host, _)| host);
        #[expect(clippy::expect_used, reason = "every place writes a valid host name; a test tries each")]
        let host = host.expect("a host name");
        Self { scheme, host, port: scheme.default_port() }
    }

    /// Returns whether the endpoint has this port, explicit or implied.
    #[must_use]
    pub(crate) fn has_port(&self, port: Port) -> bool {
        match port {
            Port::Implied => self.port == self.scheme.default_port(),
            Port::Given(port) => self.port == port,
        }
    }

    /// Returns this as an OSS endpoint, if it is one.
    #[must_use]
    pub(crate) fn oss_endpoint(&self) -> Option<OssEndpoint> {
        self.oss_name().filter(|name| name.bucket.is_none()).map(|name| name.oss_endpoint)
    }

    /// Returns the host as a name of an OSS endpoint, with or without a bucket.
    #[must_use]
    pub(crate) fn oss_name(&self) -> Option<OssName<'_>> {
        OssName::parse(self.host.as_str())
    }

    /// Returns the host as a name of a service other than the OSS endpoints, if it is one.
    #[must_use]
    pub(crate) fn service_name(&self) -> Option<ServiceName> {
        ServiceName::parse(self.host.as_str())
    }

    /// Returns the region that the name contains.
    #[must_use]
    pub(crate) fn region(&self) -> Option<Region> {
        match self.oss_name() {
            Some(name) => name.oss_endpoint.region().cloned(),
            None => self.service_name()?.region,
        }
    }

    /// Returns whether the name is for networks inside Alibaba Cloud.
    #[must_use]
    pub(crate) fn is_internal(&self) -> bool {
        match self.oss_name() {
            Some(name) => name.oss_endpoint.is_internal(),
            None => self.service_name().is_some_and(|name| name.is_internal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::oss_endpoint::EndpointKind;
    use super::{Endpoint, OssEndpoint, UrlScheme};
    use crate::oss::Region;

    #[test]
    fn every_place_writes_the_name_it_is_read_from() {
        use EndpointKind::{DualStack, Internal, Public};
        for (region, kind, name) in [
            ("us-west-1", Public, "oss-us-west-1"),
            ("us-west-1", Internal, "oss-us-west-1-internal"),
            ("us-west-1", DualStack, "us-west-1.oss"),
            ("cn-hangzhou-finance", Public, "oss-cn-hzfinance"),
            ("cn-hangzhou-finance", Internal, "oss-cn-hzfinance-internal"),
            ("cn-hangzhou-finance", DualStack, "cn-hangzhou-finance.oss"),
            ("cn-shenzhen-finance-1", Internal, "oss-cn-shenzhen-finance-1-internal"),
            ("cn-shenzhen-finance-1", DualStack, "cn-shenzhen-finance.oss"),
            ("rg-china-mainland", Public, "oss-rg-china-mainland"),
        ] {
            let region = Region::parse(region).expect("a region");
            let place = OssEndpoint::new(kind, region).expect("a place");
            assert_eq!(place.name(), format!("{name}.aliyuncs.com"));
            assert_eq!(Endpoint::from_place(&place, UrlScheme::Https).oss_endpoint(), Some(place));
        }
        let mainland = Region::parse("rg-china-mainland").expect("a region");
        assert_eq!(OssEndpoint::new(Internal, mainland), None);
    }

    #[test]
    fn an_endpoint_is_a_scheme_a_host_and_a_port() {
        let endpoint = Endpoint::parse("http://127.0.0.1:9000/").expect("an endpoint");
        assert_eq!(
            (endpoint.scheme, endpoint.host.as_str(), endpoint.port),
            (UrlScheme::Http, "127.0.0.1", 9000)
        );
        assert_eq!(Endpoint::parse("https://oss.example").map(|e| e.port), Ok(443));
        for text in
            ["oss.example", "ftp://oss.example", "https://oss.example/b", "https://u@oss.example", "https://"]
        {
            assert!(Endpoint::parse(text).is_err(), "{text}");
        }
    }
}
