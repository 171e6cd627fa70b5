//! TLS for upstream connections: trust stores. Verification cannot be disabled.

use std::path::Path;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use tokio_rustls::TlsConnector;

/// The authorities that are trusted to sign an upstream's certificate. Cheap to clone; clones share
/// resumable sessions.
#[derive(Clone)]
pub struct TrustStore {
    pub(super) connector: TlsConnector,
    roots: Arc<RootCertStore>,
}

/// The certificate of a client, with its private key. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ClientKeyPair(Arc<dyn ResolvesClientCert>);

/// The reason why a certificate cannot be presented.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidKeyPair {
    /// The first text is not a certificate.
    #[error(
        "no certificate can be read: {0}; it must be a PEM file with the certificate, followed by its intermediates"
    )]
    Certificate(pem::Error),
    /// The first text has no certificate.
    #[error(
        "there is no certificate; it must be a PEM file with the certificate, followed by its intermediates"
    )]
    NoCertificate,
    /// The second text is not a private key.
    #[error("no private key can be read: {0}; it must be a PEM file with the unencrypted key")]
    Key(pem::Error),
    /// The key is not that of the certificate, or its kind is unknown.
    #[error("certificate and key cannot be used: {0}; they must belong together")]
    Pair(rustls::Error),
}

/// The reason why a trust store cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum InvalidRoots {
    /// The file cannot be read, or contains something other than certificates.
    #[error("{path}: cannot read certificates: {reason}; set a PEM file that this user may read")]
    File {
        /// The file.
        path: String,
        /// The error of the system or of the parser.
        reason: String,
    },
    /// The file contains no certificate.
    #[error("{path} contains no certificate; set a PEM file with the certificate of the authority")]
    Empty {
        /// The file.
        path: String,
    },
    /// The file contains revocation lists, which are not supported for upstreams.
    #[error("{path} contains a certificate revocation list, which is not supported for upstreams; remove it")]
    RevocationList {
        /// The file.
        path: String,
    },
    /// The TLS library rejected its configuration.
    #[error("cannot set up TLS: {0}")]
    Library(#[from] rustls::Error),
}

impl TrustStore {
    /// Loads the trust store of this host. If it has none, uses the built-in one.
    ///
    /// # Errors
    /// [`InvalidRoots::Library`] if TLS cannot be set up.
    pub(crate) fn host() -> Result<Self, InvalidRoots> {
        let mut roots = RootCertStore::empty();
        let native = rustls_native_certs::load_native_certs();
        let (added, _) = roots.add_parsable_certificates(native.certs);
        if added == 0 {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Self::new(roots)
    }

    /// Loads a trust store from a PEM file. No other authorities are trusted.
    ///
    /// # Errors
    /// [`InvalidRoots`], which names the file and a fix.
    pub fn file(path: &Path) -> Result<Self, InvalidRoots> {
        let roots = roots(path)?;
        if !revocation_lists(path)?.is_empty() {
            return Err(InvalidRoots::RevocationList { path: path.display().to_string() });
        }
        Self::new(roots)
    }

    /// Returns whether both trust the same authorities.
    #[must_use]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.roots.roots == other.roots.roots
    }

    /// Returns a trust store with the same authorities, for connections that present a certificate.
    pub(super) fn presenting(&self, own: &ClientKeyPair) -> Result<Self, rustls::Error> {
        Self::with_own(Arc::clone(&self.roots), Some(own))
    }

    fn new(roots: RootCertStore) -> Result<Self, InvalidRoots> {
        Ok(Self::with_own(Arc::new(roots), None)?)
    }

    fn with_own(roots: Arc<RootCertStore>, own: Option<&ClientKeyPair>) -> Result<Self, rustls::Error> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(Arc::clone(&roots));
        let mut config = match own {
            Some(ClientKeyPair(resolver)) => builder.with_client_cert_resolver(Arc::clone(resolver)),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), roots })
    }
}

impl ClientKeyPair {
    /// Parses the PEM texts of a certificate with its intermediates, and of its private key.
    ///
    /// # Errors
    /// [`InvalidKeyPair`], whose message contains nothing of the key.
    pub(crate) fn parse(certificate: &str, key: &str) -> Result<Self, InvalidKeyPair> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
        let chain = chain.map_err(InvalidKeyPair::Certificate)?;
        if chain.is_empty() {
            return Err(InvalidKeyPair::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(InvalidKeyPair::Key)?;
        let pair = CertifiedKey::from_der(chain, key, &provider()).map_err(InvalidKeyPair::Pair)?;
        Ok(Self(Arc::new(SingleCertAndKey::from(pair))))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Reads the authorities of a PEM file.
///
/// # Errors
/// [`InvalidRoots`], which names the file and a fix.
pub(crate) fn roots(path: &Path) -> Result<RootCertStore, InvalidRoots> {
    let shown = || path.display().to_string();
    let bad = |reason: String| InvalidRoots::File { path: shown(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| bad(e.to_string()))? {
        let certificate = certificate.map_err(|e| bad(e.to_string()))?;
        roots.add(certificate).map_err(|e| bad(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(InvalidRoots::Empty { path: shown() });
    }
    Ok(roots)
}

/// Reads the certificate revocation lists of a PEM file. Most files have none.
///
/// # Errors
/// [`InvalidRoots::File`] if the file cannot be read or parsed.
pub(crate) fn revocation_lists(
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, InvalidRoots> {
    let lists = CertificateRevocationListDer::pem_file_iter(path).and_then(Iterator::collect);
    lists.map_err(|error| InvalidRoots::File { path: path.display().to_string(), reason: error.to_string() })
}
