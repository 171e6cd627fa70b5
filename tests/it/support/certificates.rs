//! A test certificate authority, and certificates of it in files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa, KeyIdMethod,
    KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tempfile::TempDir;

/// An authority, and the directory with the files that it has signed.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

/// The paths of a certificate and its key.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).expect("names");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(parameters, key).expect("an authority");
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("ca.pem"), issuer.pem()).expect("written");
        Self { issuer, directory }
    }

    /// Returns the directory, which has `ca.pem`.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Returns the path of the authority's certificate.
    pub(crate) fn file(&self) -> PathBuf {
        self.directory().join("ca.pem")
    }

    /// Issues a certificate for `name`, in `STEM.pem` and `STEM-key.pem`.
    pub(crate) fn sign(&self, stem: &str, name: &str) -> Files {
        self.sign_with(stem, name, |_| {})
    }

    /// Issues a certificate with other parameters, otherwise as [`Self::sign`].
    pub(crate) fn sign_with(
        &self,
        stem: &str,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Files {
        let key = KeyPair::generate().expect("a key");
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).expect("names");
        change(&mut parameters);
        let certificate = parameters.signed_by(&key, &self.issuer).expect("signed");
        let path = |suffix: &str| self.directory().join(format!("{stem}{suffix}.pem"));
        let files = Files { certificate: path(""), key: path("-key") };
        std::fs::write(&files.certificate, certificate.pem()).expect("written");
        std::fs::write(&files.key, key.serialize_pem()).expect("written");
        files
    }

    /// Returns a PEM revocation list of this authority with these serial numbers.
    pub(crate) fn revocation_list(&self, serials: &[u64]) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let parameters = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2124, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        parameters.signed_by(&self.issuer).expect("signed").pem().expect("PEM")
    }

    /// Returns the line of `[[listen]]` for this certificate.
    pub(crate) fn listen(files: &Files, more: &str) -> String {
        format!("tls = {{ cert_file = {:?}, key_file = {:?}{more} }}", files.certificate, files.key)
    }

    /// Returns a server configuration with a certificate for `name`, without client authentication.
    pub(crate) fn server(&self, name: &str) -> Arc<ServerConfig> {
        let files = self.sign("origin", name);
        let certificate = CertificateDer::from_pem_file(&files.certificate).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(&files.key).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
        Arc::new(builder.with_single_cert(vec![certificate], key).expect("a configuration"))
    }

    /// Returns a client configuration that trusts only this authority, offers these protocols, and
    /// presents `own`.
    pub(crate) fn client(&self, protocols: &[&str], own: Option<&Files>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(files) => {
                let certificate = CertificateDer::from_pem_file(&files.certificate).expect("a certificate");
                let key = PrivateKeyDer::from_pem_file(&files.key).expect("a key");
                builder.with_client_auth_cert(vec![certificate], key).expect("a pair")
            }
        };
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}
