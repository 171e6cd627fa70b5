//! Endpoints: the ones a configuration gives, and the names of OSS's own, which are matched whole ("OSS regions and
//! endpoints").

use super::host::{Host, Port};
use crate::oss::Region;

/// How an upstream is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain TCP.
    Http,
    /// TLS.
    Https,
}

/// Where an upstream is, without a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Plain or TLS.
    pub scheme: Scheme,
    /// Name or address.
    pub host: Host,
    /// TCP port.
    pub port: u16,
}

/// A text that is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum InvalidEndpoint {
    /// It does not begin with a scheme that is known.
    #[error("{0:?} does not begin with https:// or http://")]
    Scheme(String),
    /// It has a path, a query or a fragment.
    #[error("{0:?} names more than a host and a port")]
    Path(String),
    /// Its host is none.
    #[error("{text:?}: {reason}")]
    Host {
        /// The text.
        text: String,
        /// What is wrong with its host.
        reason: &'static str,
    },
}

/// A host name of OSS's own, with or without a bucket before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OssName<'a> {
    /// The label before the endpoint; may be empty or no bucket name at all.
    pub bucket: Option<&'a str>,
    /// Which endpoint it is.
    pub place: Place,
}

/// One of OSS's own endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `oss-<region>.aliyuncs.com`.
    Public(Region),
    /// `oss-<region>-internal.aliyuncs.com`.
    Internal(Region),
    /// `<region>.oss.aliyuncs.com`, over IPv4 and IPv6.
    DualStack(Region),
    /// `oss-accelerate.aliyuncs.com`; the name does not tell the region.
    Accelerate,
    /// `oss-accelerate-overseas.aliyuncs.com`.
    AccelerateOverseas,
}

impl Scheme {
    /// As it stands before `://`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that goes without saying.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Endpoint {
    /// Reads `https://host[:port]`.
    ///
    /// # Errors
    /// [`InvalidEndpoint`] says what is wrong.
    pub fn parse(text: &str) -> Result<Self, InvalidEndpoint> {
        let (scheme, rest) = if let Some(rest) = text.strip_prefix("https://") {
            (Scheme::Https, rest)
        } else if let Some(rest) = text.strip_prefix("http://") {
            (Scheme::Http, rest)
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

    /// OSS's own endpoint at `place`.
    #[must_use]
    pub fn of(place: &Place, scheme: Scheme) -> Self {
        // The names that `Place` writes are hosts.
        let host = Host::parse(&place.name()).map(|(host, _)| host);
        #[expect(clippy::expect_used, reason = "every place writes a valid host name; a test tries each")]
        let host = host.expect("a host name");
        Self { scheme, host, port: scheme.default_port() }
    }

    /// Whether a URL with this port leads to it.
    #[must_use]
    pub fn has_port(&self, port: Port) -> bool {
        match port {
            Port::Implied => self.port == self.scheme.default_port(),
            Port::Given(port) => self.port == port,
        }
    }

    /// Which of OSS's own endpoints this is.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        OssName::parse(self.host.as_str()).filter(|name| name.bucket.is_none()).map(|name| name.place)
    }
}

impl<'a> OssName<'a> {
    /// Reads a host in lower case. `None` if the name as a whole is not one of OSS's own.
    #[must_use]
    pub fn parse(host: &'a str) -> Option<Self> {
        let name = host.strip_suffix(".aliyuncs.com")?;
        let (front, last) = match name.rsplit_once('.') {
            Some((front, last)) => (Some(front), last),
            None => (None, name),
        };
        let (bucket, place) = if last == "oss" {
            let (bucket, region) = match front?.rsplit_once('.') {
                Some((bucket, region)) => (Some(bucket), region),
                None => (None, front?),
            };
            (bucket, Place::DualStack(Region::parse(region).ok()?))
        } else {
            (front, Place::of_label(last)?)
        };
        if bucket.is_some_and(|label| label.contains('.')) {
            return None;
        }
        Some(Self { bucket, place })
    }
}

impl Place {
    /// The host name.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Public(region) => format!("oss-{region}.aliyuncs.com"),
            Self::Internal(region) => format!("oss-{region}-internal.aliyuncs.com"),
            Self::DualStack(region) => format!("{region}.oss.aliyuncs.com"),
            Self::Accelerate => "oss-accelerate.aliyuncs.com".to_owned(),
            Self::AccelerateOverseas => "oss-accelerate-overseas.aliyuncs.com".to_owned(),
        }
    }

    /// The region that the name tells.
    #[must_use]
    pub fn region(&self) -> Option<&Region> {
        match self {
            Self::Public(region) | Self::Internal(region) | Self::DualStack(region) => Some(region),
            Self::Accelerate | Self::AccelerateOverseas => None,
        }
    }

    fn of_label(label: &str) -> Option<Self> {
        let name = label.strip_prefix("oss-")?;
        if NO_REGIONS.contains(&name.strip_suffix("-internal").unwrap_or(name)) {
            return None;
        }
        if name == "accelerate" {
            return Some(Self::Accelerate);
        }
        if name == "accelerate-overseas" {
            return Some(Self::AccelerateOverseas);
        }
        match name.strip_suffix("-internal") {
            Some(region) => Region::parse(region).ok().map(Self::Internal),
            None => Region::parse(name).ok().map(Self::Public),
        }
    }
}

/// What stands after `oss-` in names that do not tell a region in the plain way: other services, and the endpoints of the
/// finance regions. They are served as a configured `endpoint`, beside its `region`.
const NO_REGIONS: [&str; 7] = [
    "data-acc",
    "cloudbox",
    "cloudbox-control",
    "cn-hzfinance",
    "cn-szfinance",
    "cn-shanghai-finance-1-pub",
    "cn-beijing-finance-1-pub",
];

#[cfg(test)]
mod tests {
    use super::{Endpoint, OssName, Place, Scheme};
    use crate::oss::Region;

    #[test]
    fn names_of_oss_are_matched_whole() {
        let region = || Region::parse("cn-hangzhou").expect("a region");
        let rows = [
            ("oss-cn-hangzhou.aliyuncs.com", None, Place::Public(region())),
            ("b.oss-cn-hangzhou.aliyuncs.com", Some("b"), Place::Public(region())),
            (".oss-cn-hangzhou.aliyuncs.com", Some(""), Place::Public(region())),
            ("b.oss-cn-hangzhou-internal.aliyuncs.com", Some("b"), Place::Internal(region())),
            ("b.cn-hangzhou.oss.aliyuncs.com", Some("b"), Place::DualStack(region())),
            ("cn-hangzhou.oss.aliyuncs.com", None, Place::DualStack(region())),
            ("b.oss-accelerate.aliyuncs.com", Some("b"), Place::Accelerate),
            ("oss-accelerate-overseas.aliyuncs.com", None, Place::AccelerateOverseas),
        ];
        for (host, bucket, place) in rows {
            assert_eq!(OssName::parse(host), Some(OssName { bucket, place }), "{host}");
        }
    }

    #[test]
    fn names_that_only_look_alike_are_not_oss() {
        for host in [
            "oss-cn-hangzhou.aliyuncs.com.evil.example",
            "oss-cn-hangzhou.aliyuncs.comx",
            "xoss-cn-hangzhou.aliyuncs.com",
            "oss-.aliyuncs.com",
            "oss.aliyuncs.com",
            "aliyuncs.com",
            "ecs.cn-hangzhou.aliyuncs.com",
            "a.b.oss-cn-hangzhou.aliyuncs.com",
            "a.b.cn-hangzhou.oss.aliyuncs.com",
            "oss-cn_hangzhou.aliyuncs.com",
            "b.oss-data-acc.aliyuncs.com",
            "b.oss-cloudbox.aliyuncs.com",
            "oss-cn-hzfinance-internal.aliyuncs.com",
        ] {
            assert_eq!(OssName::parse(host), None, "{host}");
        }
    }

    #[test]
    fn every_place_writes_the_name_it_is_read_from() {
        let region = || Region::parse("us-west-1").expect("a region");
        for place in [
            Place::Public(region()),
            Place::Internal(region()),
            Place::DualStack(region()),
            Place::Accelerate,
            Place::AccelerateOverseas,
        ] {
            assert_eq!(Endpoint::of(&place, Scheme::Https).place(), Some(place));
        }
    }

    #[test]
    fn an_endpoint_is_a_scheme_a_host_and_a_port() {
        let endpoint = Endpoint::parse("http://127.0.0.1:9000/").expect("an endpoint");
        assert_eq!(
            (endpoint.scheme, endpoint.host.as_str(), endpoint.port),
            (Scheme::Http, "127.0.0.1", 9000)
        );
        assert_eq!(Endpoint::parse("https://oss.example").map(|e| e.port), Ok(443));
        for text in
            ["oss.example", "ftp://oss.example", "https://oss.example/b", "https://u@oss.example", "https://"]
        {
            assert!(Endpoint::parse(text).is_err(), "{text}");
        }
    }
}
