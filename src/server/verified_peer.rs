//! The peer of a client connection, whose certificate is verified again when a reload changes the
//! requirements of its listener.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use rustls::ServerConnection;
use rustls_pki_types::CertificateDer;
use tokio::net::UnixStream;

use super::certificate::client_certificate;
use super::tls::ClientTlsPolicy;
use crate::caller::{ClientCertificate, ConnectionPeer, UnixPeer};

/// The peer of a client connection.
pub(super) struct VerifiedPeer {
    peer: RefCell<Rc<ConnectionPeer>>,
    /// The certificates that the client has presented, its own first.
    chain: Vec<CertificateDer<'static>>,
    /// The requirements under which they were verified.
    requirements: RefCell<Arc<ClientTlsPolicy>>,
}

impl VerifiedPeer {
    /// Creates a peer without identities, whose connection was accepted under these requirements.
    pub(super) fn new(requirements: &Arc<ClientTlsPolicy>) -> Self {
        let requirements = RefCell::new(Arc::clone(requirements));
        Self { peer: RefCell::default(), chain: Vec::new(), requirements }
    }

    /// Adds the process at the other end of a Unix socket.
    pub(super) fn with_process(self, stream: &UnixStream) -> Self {
        let process = stream.peer_cred().ok();
        let unix = process.map(|process| UnixPeer { uid: process.uid(), gid: process.gid() });
        self.with(|peer| ConnectionPeer { unix, ..peer })
    }

    /// Adds the certificate that was verified in the handshake of this connection, or in that of the
    /// session that it has resumed.
    pub(super) fn with_certificate(self, connection: &ServerConnection) -> Self {
        let chain = connection.peer_certificates().unwrap_or_default();
        let Some(certificate) = chain.first().and_then(|own| client_certificate(own)) else { return self };
        let chain = chain.iter().map(|one| one.clone().into_owned()).collect();
        Self { chain, ..self.with(|peer| ConnectionPeer { certificate: Some(certificate), ..peer }) }
    }

    /// Returns the peer for a request under the current requirements of the listener.
    pub(super) fn judge(&self, requirements: &Arc<ClientTlsPolicy>) -> Rc<ConnectionPeer> {
        if !Arc::ptr_eq(&self.requirements.borrow(), requirements) {
            self.requirements.replace(Arc::clone(requirements));
            // guard: certificate-after-reload
            let is_trusted = requirements.accepts(&self.chain);
            let peer = (**self.peer.borrow()).clone();
            let certificate = peer.certificate.map(|known| ClientCertificate { is_trusted, ..known });
            self.peer.replace(Rc::new(ConnectionPeer { certificate, ..peer }));
        }
        self.last()
    }

    /// Returns whether a new connection with the certificate of this peer would be accepted.
    pub(super) fn meets(&self, requirements: &Arc<ClientTlsPolicy>) -> bool {
        self.judge(requirements).certificate.as_ref().is_some_and(|certificate| certificate.is_trusted)
    }

    /// Returns the peer as it was last judged.
    pub(super) fn last(&self) -> Rc<ConnectionPeer> {
        Rc::clone(&self.peer.borrow())
    }

    fn with(self, change: impl FnOnce(ConnectionPeer) -> ConnectionPeer) -> Self {
        let peer = (*self.peer.take()).clone();
        Self { peer: RefCell::new(Rc::new(change(peer))), ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    };
    use rustls_pki_types::CertificateDer;

    use super::{ClientTlsPolicy, ConnectionPeer, VerifiedPeer, client_certificate};
    use crate::server::TlsFiles;

    type Authority = CertifiedIssuer<'static, KeyPair>;

    fn parameters() -> CertificateParams {
        CertificateParams::new(vec!["localhost".to_owned()]).expect("names")
    }

    fn authority() -> Authority {
        let mut parameters = parameters();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        CertifiedIssuer::self_signed(parameters, key).expect("an authority")
    }

    fn client(authority: &Authority) -> CertificateDer<'static> {
        let key = KeyPair::generate().expect("a key");
        let mut parameters = parameters();
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        parameters.signed_by(&key, authority).expect("signed").der().clone()
    }

    /// Returns the requirements of a listener whose clients have certificates of `authority`.
    fn requirements(authority: &Authority) -> Arc<ClientTlsPolicy> {
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            fs::write(&path, text).expect("written");
            path
        };
        let key = KeyPair::generate().expect("a key");
        let own = parameters().signed_by(&key, authority).expect("signed");
        let files = TlsFiles {
            cert_file: write("listener.pem", &own.pem()),
            key_file: write("key.pem", &key.serialize_pem()),
            client_ca_file: Some(write("ca.pem", &authority.pem())),
            client_crl_file: None,
        };
        Arc::new(ClientTlsPolicy::new(Some(&files.load().expect("TLS"))))
    }

    #[test]
    fn a_change_of_the_requirements_judges_the_certificate_again() {
        let (ours, theirs) = (authority(), authority());
        let own = client(&ours);
        let (one, same, other) = (requirements(&ours), requirements(&ours), requirements(&theirs));
        let certificate = client_certificate(&own);
        let peer = VerifiedPeer::new(&one).with(|peer| ConnectionPeer { certificate, ..peer });
        let peer = VerifiedPeer { chain: vec![own], ..peer };
        let is_trusted = |peer: &ConnectionPeer| peer.certificate.as_ref().expect("one").is_trusted;
        for (requirements, expected) in [
            (&one, true),
            (&same, true),
            (&other, false),
            (&other, false),
            (&Arc::new(ClientTlsPolicy::Tls), false),
            (&one, true),
        ] {
            assert_eq!(is_trusted(&peer.judge(requirements)), expected, "{requirements:?}");
            assert_eq!(is_trusted(&peer.last()), expected);
            assert_eq!(peer.meets(requirements), expected);
        }
    }
}
