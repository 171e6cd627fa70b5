//! `[hand_out]` and `serve`: access keys that callers obtain from the proxy.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::caller_schema::HAND_OUT;
use super::callers::{CallerSections, ServedClients};
use super::credentials::SecretResolver;
use super::diagnostics::ConfigReport;
use super::duration;
use super::error::ConfigErrorKind;
use super::origin::SpannedValue;
use super::section::ConfigSection;
use super::source_names::{DescribedSource, listing};
use crate::caller::{IdentityKinds, KeyHandOut, ListenerContent};
use crate::sealing::MasterKey;
use crate::server::{ListenAddress, ListenSettings};

/// `[hand_out]` as read.
#[derive(Default)]
pub(super) struct HandOutSection {
    /// The masters and the lifetime; `None` without masters.
    pub(super) keys: Option<KeyHandOut>,
    /// The name of the credentials whose keys are passed on.
    source: Option<SpannedValue<String>>,
}

/// Reads the section. If the listeners of the file are ignored, there are no callers to make keys for,
/// and the keys of another proxy are still passed on.
pub(super) fn read(
    root: &ConfigSection<'_>,
    callers: &CallerSections,
    secrets: &SecretResolver<'_>,
    report: &mut ConfigReport,
) -> HandOutSection {
    let section = root.child("hand_out", report);
    section.check(&HAND_OUT, report);
    if root.alone("hand_out").is_some() {
        return HandOutSection { keys: None, source: section.text("credentials", report) };
    }
    let before = report.count();
    let given = section.texts("master", report);
    let count = given.len();
    let masters: Vec<MasterKey> = given.iter().filter_map(|given| master(given, secrets, report)).collect();
    let source = section.text("credentials", report);
    if section.exists() && count == 0 && source.is_none() && report.count() == before {
        let problem =
            ConfigErrorKind::Missing("write master = [\"env:NAME\"]; openssl rand -hex 32 prints one");
        report.error(&section.at("master"), problem);
    }
    if count > MASTERS_MAX {
        report.error(&section.at("master"), ConfigErrorKind::HandOutMasters(count));
    }
    let lifetime = section.parsed_or_default("lifetime", lifetime, report).value;
    let keys = (count > 0).then(|| KeyHandOut::new(masters, lifetime, callers.revoked.handed_out()));
    HandOutSection { keys, source }
}

impl HandOutSection {
    /// Reads what a listener serves.
    pub(super) fn content(
        &self,
        section: &ConfigSection<'_>,
        identify: IdentityKinds,
        clients: ServedClients,
        report: &mut ConfigReport,
    ) -> ListenerContent {
        if !section.word_or_default("serve", &SERVE, report).value {
            return ListenerContent::Objects;
        }
        // guard: keys-for-no-keys
        if identify.key {
            report.error(&section.at("identify"), ConfigErrorKind::KeysForKeys);
        }
        if let Some(source) = &self.source {
            return ListenerContent::PassedOnKeys(source.value.clone());
        }
        if self.keys.is_none() {
            report.error(&section.at("serve"), ConfigErrorKind::NoHandOut);
        } else if clients == ServedClients::All {
            report.error(&section.at("serve"), ConfigErrorKind::NoHolders);
        }
        ListenerContent::HandedOutKeys
    }

    /// Returns a listener on a free port of loopback that passes keys on, if there are any to pass on.
    pub(super) fn local_listener(&self) -> Option<ListenSettings> {
        let content = ListenerContent::PassedOnKeys(self.source.as_ref()?.value.clone());
        let address = ListenAddress::Tcp((Ipv4Addr::LOCALHOST, 0).into());
        Some(ListenSettings { content, ..ListenSettings::plain(address) })
    }

    /// Reports a name of credentials that the file does not define.
    pub(super) fn check_source(&self, described: &[DescribedSource], report: &mut ConfigReport) {
        let names = described.iter().map(|source| source.name.as_str());
        if let Some(source) =
            self.source.as_ref().filter(|given| !names.clone().any(|name| name == given.value))
        {
            let problem = ConfigErrorKind::UnknownCredentials(source.value.clone(), listing(names));
            report.error(&source.at, problem);
        }
    }
}

fn master(
    given: &SpannedValue<String>,
    secrets: &SecretResolver<'_>,
    report: &mut ConfigReport,
) -> Option<MasterKey> {
    let master = MasterKey::new(&secrets.given_secret(given, report)?).ok();
    if master.is_none() {
        report.error(&given.at, ConfigErrorKind::HandOutMaster);
    }
    master
}

fn lifetime(text: &str) -> Result<Duration, ConfigErrorKind> {
    let lifetime = duration::parse(text)?;
    if LIFETIME.contains(&lifetime) {
        Ok(lifetime)
    } else {
        Err(ConfigErrorKind::HandOutLifetime(text.to_owned()))
    }
}

/// The values of `serve`, and whether they mean credentials.
const SERVE: [(&str, bool); 2] = [("objects", false), ("credentials", true)];
/// Two masters let a rotation overlap.
const MASTERS_MAX: usize = 2;
/// The range of lifetimes. That of STS ends at 12 hours too.
const LIFETIME: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(12 * 60 * 60);
