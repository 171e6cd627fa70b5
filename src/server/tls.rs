//! TLS towards clients: the certificate of a listener, and the client certificates that it
//! requires.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, TrustAnchor, UnixTime};
use tokio_rustls::TlsAcceptor;

use super::certificate::not_after;
use crate::time::Timestamp;
use crate::transport::{InvalidRoots, revocation_lists, roots};

/// The files of a TLS listener, all in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// The certificate, followed by the intermediate certificates up to its authority.
    pub(crate) cert_file: PathBuf,
    /// The private key of the certificate.
    pub(crate) key_file: PathBuf,
    /// The authorities that must have issued each client's certificate, and their revocation lists.
    /// `None` requires no client certificate.
    pub(crate) client_ca_file: Option<PathBuf>,
    /// More revocation lists of these authorities.
    pub(crate) client_crl_file: Option<PathBuf>,
}

/// The TLS configuration of a listener.
#[derive(Clone)]
pub struct ListenerTls {
    pub(super) acceptor: TlsAcceptor,
    /// The rule for client certificates, if they are required.
    clients: Option<ClientCertificateRule>,
    expires: Option<Timestamp>,
}

/// The rule that decides which client certificates are accepted.
#[derive(Clone, Debug)]
pub(super) struct ClientCertificateRule {
    /// The authorities that must have issued each client's certificate.
    authorities: Vec<TrustAnchor<'static>>,
    /// The certificate revocation lists. If there is one, each authority between a client's
    /// certificate and the trusted one needs a list too.
    revoked: Vec<CertificateRevocationListDer<'static>>,
    /// The verifier with these authorities and lists.
    verifier: Arc<dyn ClientCertVerifier>,
}

/// The requirements for a client of a listener.
#[derive(Debug, PartialEq)]
pub(super) enum ClientTlsPolicy {
    /// Plain HTTP, without requirements.
    Plain,
    /// TLS without a client certificate.
    Tls,
    /// TLS with a client certificate that satisfies the rule.
    Certificate(ClientCertificateRule),
}

impl ClientTlsPolicy {
    pub(super) fn new(tls: Option<&ListenerTls>) -> Self {
        match tls.map(|tls| tls.clients.clone()) {
            None => Self::Plain,
            Some(None) => Self::Tls,
            Some(Some(rule)) => Self::Certificate(rule),
        }
    }

    /// Returns whether a new connection with these certificates would be accepted, the client's
    /// first.
    pub(super) fn accepts(&self, chain: &[CertificateDer<'_>]) -> bool {
        match (self, chain) {
            (Self::Certificate(rule), [own, issuers @ ..]) => {
                rule.verifier.verify_client_cert(own, issuers, UnixTime::now()).is_ok()
            }
            (Self::Certificate(_), []) | (Self::Plain | Self::Tls, _) => false,
        }
    }
}

impl PartialEq for ClientCertificateRule {
    /// The verifier depends only on the other fields.
    fn eq(&self, other: &Self) -> bool {
        self.authorities == other.authorities && self.revoked == other.revoked
    }
}

impl ListenerTls {
    /// Returns the end of the validity of the listener's certificate, if it can be read.
    #[must_use]
    pub(crate) fn expires(&self) -> Option<Timestamp> {
        self.expires
    }
}

/// An error in the TLS files of a listener.
#[derive(Debug, thiserror::Error)]
pub enum InvalidTls {
    /// The file cannot be read.
    #[error("cannot read {0}: {1}; it must be a PEM file that this user can read")]
    Unreadable(String, pem::Error),
    /// The certificate file contains no certificate.
    #[error(
        "{0} contains no certificate; it must be a PEM file with the listener's certificate, followed by its intermediates"
    )]
    NoCertificate(String),
    /// The key file contains no usable key.
    #[error(
        "{0} contains no usable private key: {1}; it must be a PEM file with the unencrypted key in PKCS#8, PKCS#1 or SEC1 format"
    )]
    NoKey(String, pem::Error),
    /// The authorities or revocation lists for client certificates are unusable.
    #[error(transparent)]
    Roots(#[from] InvalidRoots),
    /// The file of revocation lists contains none.
    #[error(
        "{0} contains no revocation list; it must be a PEM file, which openssl crl -inform DER makes of another"
    )]
    NoRevocationList(String),
    /// The verifier of client certificates cannot be built.
    #[error(
        "{0} cannot be used to verify client certificates: {1}; it must contain the certificate of their CA, and valid revocation lists of that CA if any"
    )]
    Clients(String, rustls::server::VerifierBuilderError),
    /// The certificate and the key do not match, or the TLS library does not support them.
    #[error("{0} and {1} cannot be used together: {2}; use the key that belongs to the certificate")]
    Pair(String, String, rustls::Error),
}

impl TlsFiles {
    /// Loads the files.
    ///
    /// # Errors
    /// [`InvalidTls`], which names the file and says how to fix it.
    pub(crate) fn load(&self) -> Result<ListenerTls, InvalidTls> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let pair = |error| InvalidTls::Pair(shown(&self.cert_file), shown(&self.key_file), error);
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(pair)?;
        let (builder, clients) = match &self.client_ca_file {
            None => (builder.with_no_client_auth(), None),
            Some(path) => {
                let authorities = roots(path)?;
                let mut revoked = revocation_lists(path)?;
                if let Some(path) = &self.client_crl_file {
                    let lists = revocation_lists(path)?;
                    if lists.is_empty() {
                        return Err(InvalidTls::NoRevocationList(shown(path)));
                    }
                    revoked.extend(lists);
                }
                let trusted = authorities.roots.clone();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider);
                let verifier = verifier.with_crls(revoked.iter().cloned()).build();
                let verifier = verifier.map_err(|error| InvalidTls::Clients(shown(path), error))?;
                let rule =
                    ClientCertificateRule { authorities: trusted, revoked, verifier: Arc::clone(&verifier) };
                (builder.with_client_cert_verifier(verifier), Some(rule))
            }
        };
        let certificates = self.certificates()?;
        let expires = certificates.first().and_then(|certificate| not_after(certificate));
        let mut config = builder.with_single_cert(certificates, self.key()?).map_err(pair)?;
        config.alpn_protocols = vec![HTTP2.to_vec(), b"http/1.1".to_vec()];
        Ok(ListenerTls { acceptor: TlsAcceptor::from(Arc::new(config)), clients, expires })
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, InvalidTls> {
        let unreadable = |error| InvalidTls::Unreadable(shown(&self.cert_file), error);
        let all = CertificateDer::pem_file_iter(&self.cert_file).map_err(unreadable)?;
        let all = all.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
        if all.is_empty() {
            return Err(InvalidTls::NoCertificate(shown(&self.cert_file)));
        }
        Ok(all)
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, InvalidTls> {
        PrivateKeyDer::from_pem_file(&self.key_file)
            .map_err(|error| InvalidTls::NoKey(shown(&self.key_file), error))
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The ALPN protocol id of HTTP/2 (RFC 9113, 3.2).
pub(super) const HTTP2: &[u8] = b"h2";
