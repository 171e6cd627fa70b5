//! The load balancers whose PROXY protocol headers are believed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The networks of the load balancers of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrustedProxies {
    networks: Vec<IpNetwork>,
}

/// A range of IP addresses, such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IpNetwork {
    address: IpAddr,
    /// The number of leading bits that all addresses have in common.
    prefix: u32,
}

impl TrustedProxies {
    /// Creates the load balancers in these networks.
    #[must_use]
    pub(crate) fn new(networks: Vec<IpNetwork>) -> Self {
        Self { networks }
    }

    /// Returns whether a peer is one of the load balancers.
    pub(super) fn contains(&self, peer: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(peer))
    }
}

impl IpNetwork {
    /// Parses `ADDRESS/BITS`, or a single address. The bits after the prefix must be zero, so that
    /// the network is the one that its author had in mind.
    #[must_use]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { Ipv4Addr::BITS } else { Ipv6Addr::BITS };
        let prefix = match bits {
            None => width,
            Some(bits) if bits.bytes().all(|b| b.is_ascii_digit()) => bits.parse().ok()?,
            Some(_) => return None,
        };
        let network = Self { address, prefix };
        (prefix <= width && masked(address, prefix) == address).then_some(network)
    }

    fn contains(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.prefix) == self.address
    }
}

/// Returns an address with only its first `prefix` bits.
fn masked(address: IpAddr, prefix: u32) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(Ipv4Addr::BITS.saturating_sub(prefix)).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(Ipv6Addr::BITS.saturating_sub(prefix)).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{IpNetwork, TrustedProxies};

    #[test]
    fn a_network_contains_the_addresses_with_its_prefix() {
        let rows = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7/32", "192.0.2.6", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::1", "::1", true),
            ("::/0", "2001:db8::1", true),
        ];
        for (network, address, expected) in rows {
            let trusted = TrustedProxies::new(vec![IpNetwork::parse(network).expect("a network")]);
            assert_eq!(
                trusted.contains(address.parse().expect("an address")),
                expected,
                "{network} {address}"
            );
        }
    }

    #[test]
    fn a_network_is_an_address_and_a_prefix_without_further_bits() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0/8",
            "::1/129",
            "::1/64",
            "lb",
        ] {
            assert_eq!(IpNetwork::parse(text), None, "{text}");
        }
    }
}
