//! The header of the PROXY protocol, in which a load balancer names its client
//! (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>). Pure.
//!
//! Written by hand: `ppp` would add a second version of `thiserror`, and `proxy-header` accepts
//! headers of version 1 that the specification does not allow.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// A complete header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProxyHeader {
    /// The length in bytes.
    pub(crate) length: usize,
    /// The address of the client; `None` if the connection is one of the load balancer itself, or
    /// if it does not know the client.
    pub(crate) client: Option<SocketAddr>,
}

/// A reason why bytes cannot be the beginning of a connection with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidProxyHeader {
    #[error("the connection does not begin with a PROXY protocol header")]
    Absent,
    #[error("the PROXY protocol header is too long")]
    TooLong,
    #[error("the PROXY protocol header is malformed")]
    Malformed,
}

impl ProxyHeader {
    /// Parses a header at the beginning of `bytes`. Returns `None` if more bytes are needed.
    ///
    /// # Errors
    /// [`InvalidProxyHeader`], as soon as no further bytes could complete a header.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Self>, InvalidProxyHeader> {
        let begins_with = |prefix: &[u8]| {
            let common = bytes.len().min(prefix.len());
            bytes[..common] == prefix[..common]
        };
        if begins_with(V1_PREFIX) {
            Self::parse_v1(bytes)
        } else if begins_with(V2_SIGNATURE) {
            Self::parse_v2(bytes)
        } else {
            Err(InvalidProxyHeader::Absent)
        }
    }

    /// Parses a line of text.
    fn parse_v1(bytes: &[u8]) -> Result<Option<Self>, InvalidProxyHeader> {
        let line = &bytes[..bytes.len().min(V1_MAX)];
        let Some(end) = line.windows(2).position(|pair| pair == b"\r\n") else {
            return if line.len() == V1_MAX { Err(InvalidProxyHeader::TooLong) } else { Ok(None) };
        };
        let length = end + 2;
        let fields = line.get(V1_PREFIX.len()..end).ok_or(InvalidProxyHeader::Malformed)?;
        // The rest of such a line has no meaning.
        if fields == b"UNKNOWN" || fields.starts_with(b"UNKNOWN ") {
            return Ok(Some(Self { length, client: None }));
        }
        let fields = std::str::from_utf8(fields).map_err(|_| InvalidProxyHeader::Malformed)?;
        let client = match fields.split_once(' ') {
            Some(("TCP4", rest)) => addresses::<Ipv4Addr>(rest),
            Some(("TCP6", rest)) => addresses::<Ipv6Addr>(rest),
            Some(_) | None => None,
        };
        let client = client.ok_or(InvalidProxyHeader::Malformed)?;
        Ok(Some(Self { length, client: Some(client) }))
    }

    /// Parses a binary header. Its extensions (TLVs) are skipped.
    fn parse_v2(bytes: &[u8]) -> Result<Option<Self>, InvalidProxyHeader> {
        let Some((fixed, rest)) = bytes.split_first_chunk::<V2_FIXED>() else { return Ok(None) };
        let [.., command, family, high, low] = *fixed;
        let is_local = match command {
            0x20 => true,
            0x21 => false,
            _ => return Err(InvalidProxyHeader::Malformed),
        };
        if family >> 4 > 3 || family & 0x0f > 2 {
            return Err(InvalidProxyHeader::Malformed);
        }
        let length = usize::from(u16::from_be_bytes([high, low]));
        if V2_FIXED + length > HEADER_MAX {
            return Err(InvalidProxyHeader::TooLong);
        }
        let Some(rest) = rest.get(..length) else { return Ok(None) };
        let client = match family {
            _ if is_local => None,
            TCP_OVER_IPV4 => {
                let block: &[u8; 12] = rest.first_chunk().ok_or(InvalidProxyHeader::Malformed)?;
                let [a, b, c, d, _, _, _, _, high, low, _, _] = *block;
                let ip = Ipv4Addr::new(a, b, c, d);
                Some(SocketAddr::new(ip.into(), u16::from_be_bytes([high, low])))
            }
            TCP_OVER_IPV6 => {
                let block: &[u8; 36] = rest.first_chunk().ok_or(InvalidProxyHeader::Malformed)?;
                let (ip, others) = block.split_first_chunk::<16>().ok_or(InvalidProxyHeader::Malformed)?;
                let port = u16::from_be_bytes([others[16], others[17]]);
                Some(SocketAddr::new(Ipv6Addr::from(*ip).into(), port))
            }
            // Unix sockets, datagrams and unknown clients.
            _ => None,
        };
        Ok(Some(Self { length: V2_FIXED + length, client }))
    }
}

/// Parses `SOURCE DESTINATION SOURCE-PORT DESTINATION-PORT`, and returns the source.
fn addresses<T: FromStr + Into<IpAddr>>(text: &str) -> Option<SocketAddr> {
    let mut fields = text.split(' ');
    let mut address = || fields.next()?.parse::<T>().ok();
    let source = address()?;
    address()?;
    let mut port = || port(fields.next()?);
    let source_port = port()?;
    port()?;
    fields.next().is_none().then(|| SocketAddr::new(source.into(), source_port))
}

fn port(text: &str) -> Option<u16> {
    let is_decimal = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_decimal)
}

/// The maximum length of a header with its extensions. Those of load balancers have a few hundred
/// bytes.
pub(super) const HEADER_MAX: usize = 2048;
const V1_PREFIX: &[u8] = b"PROXY ";
/// The maximum length of a line, including its end.
const V1_MAX: usize = 107;
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The length of the signature, the command, the family and the length.
const V2_FIXED: usize = 16;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{HEADER_MAX, InvalidProxyHeader, ProxyHeader, V2_SIGNATURE};

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).expect("a length").to_be_bytes();
        [V2_SIGNATURE, &[command, family], &length, body].concat()
    }

    const IPV4: [u8; 12] = [192, 0, 2, 1, 10, 0, 0, 1, 0x1f, 0x90, 0, 80];

    fn ipv6() -> Vec<u8> {
        let source = "2001:db8::7".parse::<std::net::Ipv6Addr>().expect("an address");
        [&source.octets()[..], &source.octets()[..], &[0x1f, 0x91, 0, 80]].concat()
    }

    /// Headers with their clients.
    fn valid() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let with_tlv = [&IPV4[..], &[0x04, 0, 3, 1, 2, 3]].concat();
        vec![
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 8080 80\r\n".to_vec(), Some("192.0.2.1:8080")),
            (b"PROXY TCP6 2001:db8::7 ::1 8081 80\r\n".to_vec(), Some("[2001:db8::7]:8081")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ::1 x y\r\n".to_vec(), None),
            (v2(0x21, 0x11, &IPV4), Some("192.0.2.1:8080")),
            (v2(0x21, 0x11, &with_tlv), Some("192.0.2.1:8080")),
            (v2(0x21, 0x21, &ipv6()), Some("[2001:db8::7]:8081")),
            (v2(0x20, 0x00, &[]), None),
            // A health check may carry addresses, which do not count.
            (v2(0x20, 0x11, &IPV4), None),
            (v2(0x21, 0x00, &[1, 2, 3]), None),
            (v2(0x21, 0x31, &[0; 216]), None),
            (v2(0x21, 0x12, &IPV4), None),
        ]
    }

    #[test]
    fn a_header_of_each_version_names_the_client() {
        for (header, client) in valid() {
            let client = client.map(|text| text.parse().expect("an address"));
            let expected = ProxyHeader { length: header.len(), client };
            let mut sent = header.clone();
            sent.extend_from_slice(b"GET / HTTP/1.1\r\n");
            assert_eq!(ProxyHeader::parse(&sent), Ok(Some(expected)), "{}", header.escape_ascii());
        }
    }

    #[test]
    fn a_part_of_a_header_needs_more_bytes() {
        for (header, _) in valid() {
            for end in 0..header.len() {
                assert_eq!(ProxyHeader::parse(&header[..end]), Ok(None), "{}", header[..end].escape_ascii());
            }
        }
    }

    #[test]
    fn other_bytes_are_rejected_as_soon_as_possible() {
        use InvalidProxyHeader::{Absent, Malformed, TooLong};
        let long = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat();
        let lines = [
            "PROXY TCP4 192.0.2.1 10.0.0.1 8080 80 \r\n",
            "PROXY TCP4  192.0.2.1 10.0.0.1 8080 80\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 08080 80\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 +8080 80\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 80800 80\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 8080\r\n",
            "PROXY TCP4 ::1 ::1 8080 80\r\n",
            "PROXY TCP6 192.0.2.1 10.0.0.1 8080 80\r\n",
            "PROXY UDP4 192.0.2.1 10.0.0.1 8080 80\r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY \r\n",
        ];
        for line in lines {
            assert_eq!(ProxyHeader::parse(line.as_bytes()), Err(Malformed), "{line}");
        }
        let rows = [
            (b"GET / HTTP/1.1\r\n".to_vec(), Absent),
            (vec![0x16, 3, 1], Absent),
            (b"PROXYTCP4".to_vec(), Absent),
            (b"proxy TCP4".to_vec(), Absent),
            (long[..107].to_vec(), TooLong),
            (long, TooLong),
            (v2(0x11, 0x11, &IPV4), Malformed),
            (v2(0x22, 0x11, &IPV4), Malformed),
            (v2(0x21, 0x41, &IPV4), Malformed),
            (v2(0x21, 0x13, &IPV4), Malformed),
            (v2(0x21, 0x11, &IPV4[..11]), Malformed),
            (v2(0x21, 0x21, &ipv6()[..35]), Malformed),
            (v2(0x21, 0x11, &[0; HEADER_MAX])[..16].to_vec(), TooLong),
        ];
        for (bytes, expected) in rows {
            assert_eq!(ProxyHeader::parse(&bytes), Err(expected), "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_taken_beyond_the_maximum(
            start in prop::sample::select(vec![&b""[..], b"PROXY TCP4 ", V2_SIGNATURE, b"\r\n\r\n\0\r\nQUIT\n\x21\x11"]),
            rest in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let bytes = [start, &rest].concat();
            if let Ok(Some(header)) = ProxyHeader::parse(&bytes) {
                prop_assert!(header.length <= bytes.len().min(HEADER_MAX));
            }
        }
    }
}
