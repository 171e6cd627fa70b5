//! The address of a listener.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::unix;

/// The address of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// An IP address and a port; port 0 picks a free one.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
    /// The sockets with this name that systemd passes (`FileDescriptorName=`).
    Inherited(String),
}

impl ListenAddress {
    /// Returns the IP address and port, if it has one.
    #[must_use]
    pub fn socket(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) | Self::Inherited(_) => None,
        }
    }

    /// Returns whether the process that listens here may be a running proxy. For a port this cannot
    /// be known, so the result is `true`.
    #[must_use]
    pub(crate) fn may_be_held_by_a_proxy(&self) -> bool {
        match self {
            Self::Tcp(_) => true,
            Self::Unix(path) => unix::is_held_by_this_program(path),
            Self::Inherited(_) => false,
        }
    }

    /// Returns whether the two addresses conflict, so that only one of them can be listened on.
    /// Port 0 picks a free port.
    #[must_use]
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(one), Self::Tcp(two)) => {
                let one_ip = one.ip().to_canonical();
                let two_ip = two.ip().to_canonical();
                one.port() == two.port()
                    && one.port() != 0
                    && (one_ip == two_ip
                        || includes_address(one_ip, two_ip)
                        || includes_address(two_ip, one_ip))
            }
            (Self::Unix(one), Self::Unix(two)) => is_same_path(one, two),
            (_, _) => self == other,
        }
    }
}

/// Returns whether `all` is an unspecified address that includes `one`. The one of IPv6 includes
/// IPv4.
fn includes_address(all: IpAddr, one: IpAddr) -> bool {
    all.is_unspecified() && (all.is_ipv6() || one.is_ipv4())
}

/// Returns whether two paths are equal once made absolute. Symbolic links are not followed.
fn is_same_path(one: &Path, two: &Path) -> bool {
    match (std::path::absolute(one), std::path::absolute(two)) {
        (Ok(one), Ok(two)) => one == two,
        (_, _) => one == two,
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Inherited(name) => write!(f, "systemd:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ListenAddress, PathBuf};

    #[test]
    fn addresses_overlap_that_cannot_both_be_listened_on() {
        let tcp = |text: &str| ListenAddress::Tcp(text.parse().expect("an address"));
        let unix = |text: &str| ListenAddress::Unix(PathBuf::from(text));
        for (one, two, overlap) in [
            (tcp("127.0.0.1:80"), tcp("127.0.0.1:80"), true),
            (tcp("127.0.0.1:80"), tcp("127.0.0.1:81"), false),
            (tcp("127.0.0.1:0"), tcp("127.0.0.1:0"), false),
            (tcp("0.0.0.0:80"), tcp("127.0.0.1:80"), true),
            (tcp("[::]:80"), tcp("0.0.0.0:80"), true),
            (tcp("[::]:80"), tcp("127.0.0.1:80"), true),
            (tcp("[::]:80"), tcp("[::1]:80"), true),
            (tcp("[::1]:80"), tcp("127.0.0.1:80"), false),
            (tcp("[::1]:80"), tcp("0.0.0.0:80"), false),
            (tcp("[::ffff:127.0.0.1]:80"), tcp("127.0.0.1:80"), true),
            (tcp("[::ffff:0.0.0.0]:80"), tcp("127.0.0.1:80"), true),
            (tcp("[::ffff:0.0.0.0]:80"), tcp("[::1]:80"), false),
            (unix("/run/a.sock"), unix("/run/a.sock"), true),
            (unix("/run/a.sock"), unix("/run/./a.sock"), true),
            (unix("/run/a.sock"), unix("/run//a.sock"), true),
            (unix("a.sock"), unix("./a.sock"), true),
            (unix("/run/a.sock"), unix("/run/b.sock"), false),
            (unix("127.0.0.1:80"), tcp("127.0.0.1:80"), false),
            (ListenAddress::Inherited("a".to_owned()), ListenAddress::Inherited("a".to_owned()), true),
        ] {
            assert_eq!(one.overlaps(&two), overlap, "{one} and {two}");
            assert_eq!(two.overlaps(&one), overlap, "{two} and {one}");
        }
    }
}
