//! `certificate`, `uid`, `gid` and `user` of `[[caller]]`: the identities of a connection.

use std::collections::HashMap;

use super::caller_schema::CALLER_CERTIFICATE;
use super::diagnostics::ConfigReport;
use super::error::ConfigErrorKind;
use super::origin::{SpannedValue, ValueOrigin};
use super::section::ConfigSection;
use crate::caller::{CertificateName, NOBODY, NamedUser, PeerIdentities, SubjectName};
use crate::credentials::SourceEnv;

/// The identities of connections that have been read, with their callers.
pub(super) struct CallerPeers<'a> {
    env: &'a dyn SourceEnv,
    owners: HashMap<PeerIdentity, PeerOwner>,
}

/// A caller that is being read.
#[derive(Clone, Copy)]
pub(super) struct ReadCaller {
    /// The index of its section.
    pub(super) index: usize,
    /// True if it is revoked, so that its user may already be deleted.
    pub(super) is_revoked: bool,
}

/// An identity that only one caller can have.
#[derive(PartialEq, Eq, Hash)]
enum PeerIdentity {
    Certificate(CertificateName),
    Uid(u32),
    Gid(u32),
}

/// The caller that has an identity.
struct PeerOwner {
    /// The index of its section.
    caller: usize,
    /// The origin of the identity.
    at: ValueOrigin,
}

impl<'a> CallerPeers<'a> {
    pub(super) fn new(env: &'a dyn SourceEnv) -> Self {
        Self { env, owners: HashMap::new() }
    }

    /// Reads the identities of a caller, and reports those that another caller has.
    pub(super) fn read(
        &mut self,
        section: &ConfigSection<'_>,
        caller: ReadCaller,
        report: &mut ConfigReport,
    ) -> PeerIdentities {
        let ReadCaller { index, is_revoked } = caller;
        let certificate = certificate(section, report);
        if let Some(certificate) = &certificate {
            let identity = certificate.with(PeerIdentity::Certificate(certificate.value.clone()));
            self.claim(identity, index, report);
        }
        let [uid, gid] = ["uid", "gid"].map(|key| {
            let id = section.system_id(key, report)?;
            is_somebody(&id, report).then_some(id)
        });
        let user = self.user(section, is_revoked, report);
        if let Some(uid) = &uid {
            self.claim(uid.with(PeerIdentity::Uid(uid.value)), index, report);
        }
        if let Some(gid) = &gid {
            self.claim(gid.with(PeerIdentity::Gid(gid.value)), index, report);
        }
        if let Some(user) = &user {
            self.claim(user.with(PeerIdentity::Uid(user.value.uid)), index, report);
        }
        PeerIdentities {
            certificate: certificate.map(|given| given.value),
            uid: uid.map(|given| given.value),
            gid: gid.map(|given| given.value),
            user: user.map(|given| given.value),
        }
    }

    fn user(
        &self,
        section: &ConfigSection<'_>,
        is_revoked: bool,
        report: &mut ConfigReport,
    ) -> Option<SpannedValue<NamedUser>> {
        let name = section.text("user", report)?;
        let problem = match self.env.user_id(&name.value) {
            Ok(Some(uid)) => {
                let user = name.with(NamedUser { name: name.value.clone(), uid });
                return is_somebody(&name.with(uid), report).then_some(user);
            }
            Ok(None) => ConfigErrorKind::UnknownUser(name.value),
            Err(error) => ConfigErrorKind::UserLookup(name.value, error.to_string()),
        };
        if !is_revoked {
            report.error(&name.at, problem);
        }
        None
    }

    /// Records the caller of an identity, and reports another caller that has it.
    fn claim(&mut self, identity: SpannedValue<PeerIdentity>, caller: usize, report: &mut ConfigReport) {
        let SpannedValue { value, at } = identity;
        match self.owners.get(&value) {
            Some(owner) if owner.caller != caller => {
                report.error(&at, ConfigErrorKind::PeerInUse(owner.at.to_string()));
            }
            Some(_) => {}
            None => drop(self.owners.insert(value, PeerOwner { caller, at })),
        }
    }
}

/// Reports the id of nobody, and returns whether this is another one.
fn is_somebody(id: &SpannedValue<u32>, report: &mut ConfigReport) -> bool {
    if id.value == NOBODY {
        report.error(&id.at, ConfigErrorKind::Nobody);
    }
    id.value != NOBODY
}

fn certificate(
    section: &ConfigSection<'_>,
    report: &mut ConfigReport,
) -> Option<SpannedValue<CertificateName>> {
    if !section.has("certificate") {
        return None;
    }
    let before = report.count();
    let inner = section.child("certificate", report);
    inner.check(&CALLER_CERTIFICATE, report);
    let names = [
        inner.parsed("dns", dns_name, report),
        inner.parsed("uri", uri, report),
        inner.parsed("subject", |text| Ok(CertificateName::Subject(SubjectName::parse(text)?)), report),
    ];
    let mut names = names.into_iter().flatten();
    let name = names.next();
    if report.count() == before && (name.is_none() || names.next().is_some()) {
        report.error(&inner.here(), ConfigErrorKind::CertificateNameCount);
    }
    name
}

/// Reads a DNS name, which is compared in lower case.
fn dns_name(text: &str) -> Result<CertificateName, ConfigErrorKind> {
    let is_label = |label: &str| {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
        (1..=63).contains(&label.len()) && label.bytes().all(fits)
    };
    if text.len() <= 253 && text.split('.').all(is_label) {
        Ok(CertificateName::Dns(text.to_ascii_lowercase()))
    } else {
        Err(ConfigErrorKind::CertificateDns(text.to_owned()))
    }
}

/// Reads a URI, which is compared exactly.
fn uri(text: &str) -> Result<CertificateName, ConfigErrorKind> {
    let has_scheme = text.split_once(':').is_some_and(|(scheme, rest)| {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.bytes().all(fits) && !rest.is_empty()
    });
    if has_scheme && text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(CertificateName::Uri(text.to_owned()))
    } else {
        Err(ConfigErrorKind::CertificateUri(text.to_owned()))
    }
}
