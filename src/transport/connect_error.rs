//! Classifies connection failures so that callers can suggest a fix.

use std::io;

use rustls::CertificateError;

/// The phases of a dial, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DialPhase {
    /// Name lookup.
    Name,
    /// The TCP connection to an address.
    Connect,
    /// The TLS handshake.
    Tls,
}

/// The cause of a failed connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectFailure {
    /// The name has no address, or the lookup failed.
    NoAddress,
    /// The address refused the connection.
    Refused,
    /// The timeout expired in this phase.
    Silence(DialPhase),
    /// The network has no route to the address, or the connection broke.
    Network,
    /// The certificate was rejected.
    Certificate(CertificateFault),
    /// The TLS handshake failed for another reason.
    Tls,
}

/// The reason why a certificate was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CertificateFault {
    /// No trusted authority has signed it.
    UnknownIssuer,
    /// It was issued for other names.
    WrongName,
    /// It has expired, by the local clock.
    Expired,
    /// It is not valid yet, by the local clock.
    NotYetValid,
    /// Any other fault.
    Unusable,
}

impl ConnectFailure {
    /// Classifies an error in this phase.
    pub(super) fn classify(phase: DialPhase, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::TimedOut {
            return Self::Silence(phase);
        }
        match phase {
            DialPhase::Name => Self::NoAddress,
            DialPhase::Connect if error.kind() == io::ErrorKind::ConnectionRefused => Self::Refused,
            DialPhase::Connect => Self::Network,
            DialPhase::Tls => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(rustls::Error::InvalidCertificate(fault)) => {
                    Self::Certificate(CertificateFault::classify(fault))
                }
                Some(_) | None => Self::Tls,
            },
        }
    }
}

impl CertificateFault {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the library adds variants; few need a separate remedy"
    )]
    fn classify(fault: &CertificateError) -> Self {
        match fault {
            // `BadSignature`: an authority with a trusted name but another key. It was replaced, or
            // another party uses its name.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownIssuer,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongName
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            _ => Self::Unusable,
        }
    }
}
