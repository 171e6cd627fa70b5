//! The host of a request: from the authority of its target, or otherwise from its only Host header.

use std::net::{IpAddr, Ipv6Addr};

use http::{HeaderMap, Uri, header};

/// A host in the form in which hosts are compared: lower case, without final dot and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    text: Box<str>,
    /// The IP address, if the host is one.
    address: Option<IpAddr>,
}

/// The port of an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// No port: the default port of the scheme applies.
    Implied,
    /// An explicit port.
    Given(u16),
}

impl Host {
    /// Returns the host of a request. The authority of an absolute target replaces the Host header,
    /// which may then be missing.
    ///
    /// # Errors
    /// A sentence that describes the cause.
    pub(crate) fn from_request(uri: &Uri, headers: &HeaderMap) -> Result<Self, &'static str> {
        // A scan of a few headers is cheaper than hashing the name.
        let mut lines = headers.iter().filter(|(name, _)| **name == header::HOST).map(|(_, value)| value);
        let line = lines.next();
        if lines.next().is_some() {
            return Err("the request has more than one Host header");
        }
        let text = match (uri.authority(), line) {
            (Some(authority), _) => authority.as_str().as_bytes(),
            (None, Some(line)) => line.as_bytes(),
            (None, None) => return Err("the request has no Host header"),
        };
        let text = std::str::from_utf8(text).map_err(|_| BAD_HOST)?;
        Self::parse(text).map(|(host, _)| host)
    }

    /// Parses `host`, `host:port`, `address:port` or `[address]:port`.
    ///
    /// # Errors
    /// A sentence that describes the cause.
    pub fn parse(text: &str) -> Result<(Self, Port), &'static str> {
        if text.contains('@') {
            return Err("the host contains a user name; user names and passwords are not supported");
        }
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']').ok_or(BAD_HOST)?;
                address.parse::<Ipv6Addr>().map_err(|_| BAD_HOST)?;
                let port = match port {
                    "" => None,
                    port => Some(port.strip_prefix(':').ok_or(BAD_HOST)?),
                };
                (address, port)
            }
            None => match text.split_once(':') {
                Some((name, port)) => (name, Some(port)),
                None => (text, None),
            },
        };
        let port = match port {
            None | Some("") => Port::Implied,
            Some(digits) if digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit()) => {
                Port::Given(digits.parse().map_err(|_| "the port of the host is above 65535")?)
            }
            Some(_) => return Err("the port of the host is not a number up to 65535"),
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
        if name.is_empty() || name.ends_with('.') || !name.bytes().all(fits) {
            return Err(BAD_HOST);
        }
        let text = name.into_boxed_str();
        Ok((Self { address: text.parse().ok(), text }, port))
    }

    /// Returns the name or address; IPv6 has no brackets.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether the host is an address or `localhost`. Such a host cannot be a foreign DNS
    /// name that was pointed at this proxy.
    #[must_use]
    pub(crate) fn is_own(&self) -> bool {
        self.address.is_some() || &*self.text == "localhost"
    }

    /// Returns the IP address, if the host is one.
    #[must_use]
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Returns the host in the form of a URL or a Host header: IPv6 in brackets.
    #[must_use]
    pub fn bracketed(&self) -> String {
        if self.text.contains(':') { format!("[{}]", self.text) } else { self.text.to_string() }
    }
}

const BAD_HOST: &str = "the host is not a name or an address";

#[cfg(test)]
mod tests {
    use super::{Host, Port};

    #[test]
    fn hosts_are_compared_without_port_case_and_final_dot() {
        for text in ["Example.COM", "example.com.", "example.com:8770", "EXAMPLE.com.:80", "example.com:"] {
            assert_eq!(
                Host::parse(text).map(|(host, _)| host.as_str().to_owned()).as_deref(),
                Ok("example.com")
            );
        }
    }

    #[test]
    fn ports_are_numbers_up_to_65535() {
        assert_eq!(Host::parse("h:65535").map(|h| h.1), Ok(Port::Given(65535)));
        assert_eq!(Host::parse("[::1]:80").map(|h| h.1), Ok(Port::Given(80)));
        for text in ["h:65536", "h:-1", "h:+1", "h:x", "h:1:2", "h:000080"] {
            assert!(Host::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "", ".", "a..", "a..:80", ":80", "a b", "u@h", "u:p@h:80", "[::1", "[::1]x", "[x]", "a/b",
            "h\u{e9}",
        ] {
            assert!(Host::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_and_localhost_are_our_own() {
        for text in ["127.0.0.1:8770", "[::1]", "localhost", "LOCALHOST:1"] {
            assert!(Host::parse(text).is_ok_and(|(host, _)| host.is_own()), "{text}");
        }
        assert!(Host::parse("evil.example").is_ok_and(|(host, _)| !host.is_own()));
    }
}
