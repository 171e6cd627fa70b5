//! The callers by the identities of their connections.

use std::collections::HashMap;

use super::connection_peer::{ClientCertificate, UnixPeer};
use super::peer_identities::{CertificateName, NOBODY, PeerIdentities};
use super::subject_name::SubjectName;

/// The callers by the identities of their connections. A caller is its position in the directory.
#[derive(Default)]
pub(super) struct PeerIndex {
    dns_names: HashMap<String, usize>,
    uris: HashMap<String, usize>,
    subjects: HashMap<SubjectName, usize>,
    uids: HashMap<u32, usize>,
    gids: HashMap<u32, usize>,
}

impl PeerIndex {
    /// Adds the identities of a caller.
    pub(super) fn insert(&mut self, caller: usize, identities: &PeerIdentities) {
        let PeerIdentities { certificate, uid, gid, user } = identities;
        match certificate.clone() {
            Some(CertificateName::Dns(name)) => drop(self.dns_names.insert(name, caller)),
            Some(CertificateName::Uri(uri)) => drop(self.uris.insert(uri, caller)),
            Some(CertificateName::Subject(subject)) => drop(self.subjects.insert(subject, caller)),
            None => {}
        }
        let uids = uid.iter().copied().chain(user.as_ref().map(|user| user.uid));
        self.uids.extend(uids.map(|uid| (uid, caller)));
        self.gids.extend(gid.map(|gid| (gid, caller)));
    }

    /// Returns the callers that a certificate names.
    pub(super) fn of_certificate<'a>(
        &'a self,
        certificate: &'a ClientCertificate,
    ) -> impl Iterator<Item = usize> + 'a {
        let ClientCertificate { dns_names, uris, subject, .. } = certificate;
        let by_dns = dns_names.iter().filter_map(|name| self.dns_names.get(name));
        // guard: only-uri
        let only_uri = if let [uri] = &uris[..] { Some(uri) } else { None };
        let by_uri = only_uri.and_then(|uri| self.uris.get(uri));
        let by_subject = subject.as_ref().and_then(|subject| self.subjects.get(subject));
        by_dns.chain(by_uri).chain(by_subject).copied()
    }

    /// Returns the callers with the user or the group of a process.
    pub(super) fn of_unix(&self, peer: UnixPeer) -> impl Iterator<Item = usize> {
        // guard: nobody
        let is_mapped = |id: &u32| *id != NOBODY;
        let by_uid = Some(peer.uid).filter(is_mapped).and_then(|uid| self.uids.get(&uid));
        let by_gid = Some(peer.gid).filter(is_mapped).and_then(|gid| self.gids.get(&gid));
        by_uid.into_iter().chain(by_gid).copied()
    }
}
