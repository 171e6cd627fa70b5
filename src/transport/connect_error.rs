//! What stood in the way of a connection, for who has to say what to do about it.

use std::io;

use rustls::CertificateError;

/// How far a dial has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DialPhase {
    /// The name is being looked up.
    Name,
    /// An address is being connected to.
    Connect,
    /// TLS is being negotiated.
    Tls,
}

/// What stood in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectFailure {
    /// The name leads to no address.
    NoAddress,
    /// Nobody listens at the address.
    Refused,
    /// Nothing came in time.
    Silence(DialPhase),
    /// The network has no way there, or broke off.
    Network,
    /// The certificate is not to be believed.
    Certificate(CertificateFault),
    /// The other side does not speak TLS as we do.
    Tls,
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateFault {
    /// None of the trusted authorities has signed it.
    UnknownIssuer,
    /// It is for other names.
    WrongName,
    /// It has ended, by our clock.
    Expired,
    /// It has not begun, by our clock.
    NotYetValid,
    /// Something else.
    Unusable,
}

impl ConnectFailure {
    /// What an error in this phase comes to.
    pub(super) fn of(phase: DialPhase, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::TimedOut {
            return Self::Silence(phase);
        }
        match phase {
            DialPhase::Name => Self::NoAddress,
            DialPhase::Connect if error.kind() == io::ErrorKind::ConnectionRefused => Self::Refused,
            DialPhase::Connect => Self::Network,
            DialPhase::Tls => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(rustls::Error::InvalidCertificate(fault)) => {
                    Self::Certificate(CertificateFault::of(fault))
                }
                Some(_) | None => Self::Tls,
            },
        }
    }
}

impl CertificateFault {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the library adds variants; few have a remedy of their own"
    )]
    fn of(fault: &CertificateError) -> Self {
        match fault {
            // An authority of the name that is trusted, with another key: it was replaced, or somebody uses its name.
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
