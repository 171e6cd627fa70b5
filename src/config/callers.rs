//! `[[caller]]` and `revoked`: the known clients, their access keys and their rights.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::caller_access::{AccessCeiling, RightsContext, read_bucket_listing, read_callbacks, read_rights};
use super::caller_limits;
use super::caller_peers::{CallerPeers, ReadCaller};
use super::caller_schema::{CALLER, CALLER_KEY};
use super::credentials::SecretResolver;
use super::diagnostics::ConfigReport;
use super::duration;
use super::error::{ConfigErrorKind, ConfigWarning};
use super::jwt::JwtReader;
use super::origin::{SpannedValue, ValueOrigin};
use super::sealed_secrets::SealingMasters;
use super::section::ConfigSection;
use super::session_policy;
use super::source_names::DescribedSource;
use crate::caller::{
    CallerKey, CallerLimits, CallerOrigin, CallerSettings, JwtSettings, is_handed_out, is_real_key_id,
};
use crate::credentials::{StaticKeyConfig, check_key};
use crate::jwks::KeySetConfig;
use crate::policy::CallerRights;
use crate::sealing::SealedPlace;
use crate::secret::Secret;
use crate::time::Timestamp;

/// The callers of the file.
pub(super) struct CallerSections {
    /// The callers in the order of the file, without revoked callers and keys.
    pub(super) callers: Vec<Arc<CallerSettings>>,
    /// The clients that listeners serve.
    pub(super) clients: ServedClients,
    /// The names of all callers, including revoked ones.
    pub(super) names: CallerNames,
    /// The keys and callers that are rejected in every file.
    pub(super) revoked: RevokedEntries,
    /// The masters of sealed secrets.
    pub(super) masters: SealingMasters,
    /// The account that owns the buckets, if it is configured.
    pub(super) account: Option<String>,
    /// The keys of token issuers that are fetched.
    pub(super) key_sets: Vec<KeySetConfig>,
    /// The ids of all keys, including revoked ones.
    key_ids: HashMap<String, KeyIdOwner>,
}

/// The names of callers that routes may match.
#[derive(Default)]
pub(super) struct CallerNames {
    pub(super) names: Vec<String>,
    /// True if other files have callers too. A change there must not invalidate the main file.
    pub(super) has_files: bool,
    /// True if teams choose names in files of their own.
    pub(super) has_directory: bool,
    /// True if the callers of a file are unknown.
    pub(super) are_incomplete: bool,
}

/// The clients that listeners serve.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ServedClients {
    /// All clients: the file has no callers.
    All,
    /// All clients: those without an identity are the open caller.
    WithOpenCaller,
    /// The callers of the file, some of which may be revoked.
    CallersOnly,
    /// The callers of the file, without the open one, which is revoked. A listener without
    /// `identify` rejects all requests, so that a revocation always takes effect.
    WithoutRevokedOpenCaller,
}

impl ServedClients {
    /// Returns whether clients without an identity are served.
    pub(super) fn includes_unidentified(self) -> bool {
        matches!(self, Self::All | Self::WithOpenCaller)
    }
}

/// Reads the callers. There are none if the listeners of the file are ignored.
pub(super) fn read(
    root: &ConfigSection<'_>,
    secrets: &SecretResolver<'_>,
    report: &mut ConfigReport,
) -> CallerSections {
    if root.alone("caller").is_some() {
        return CallerSections {
            callers: Vec::new(),
            clients: ServedClients::All,
            names: CallerNames::default(),
            revoked: RevokedEntries::default(),
            masters: SealingMasters::default(),
            account: None,
            key_sets: Vec::new(),
            key_ids: HashMap::new(),
        };
    }
    let masters = SealingMasters::read(root, secrets, report);
    let mut revoked = RevokedEntries::read(root, report);
    let has_files = root.has("callers_file") || root.has("callers_dir");
    let mut reader = CallerReader::new(secrets, &masters, &mut revoked);
    reader.account = account(root, report);
    let SectionCallers { callers, count, has_open, has_revoked_open } = reader.callers(root, report);
    let CallerReader { names, jwt, id_owners: key_ids, account, .. } = reader;
    let clients = match (has_open, has_revoked_open) {
        // guard: callers-elsewhere
        _ if count == 0 && !has_files => ServedClients::All,
        (true, _) => ServedClients::WithOpenCaller,
        (false, true) => ServedClients::WithoutRevokedOpenCaller,
        (false, false) => ServedClients::CallersOnly,
    };
    let names = CallerNames {
        names: names.into_keys().collect(),
        has_files,
        has_directory: root.has("callers_dir"),
        are_incomplete: false,
    };
    let key_sets = jwt.into_key_sets();
    CallerSections { callers, clients, names, revoked, masters, account, key_sets, key_ids }
}

/// Reads the account that owns the buckets.
fn account(root: &ConfigSection<'_>, report: &mut ConfigReport) -> Option<String> {
    let id = |text: &str| {
        let is_id = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if is_id { Ok(text.to_owned()) } else { Err(ConfigErrorKind::AccountId) }
    };
    root.parsed("account", id, report).map(|given| given.value)
}

/// Reads the callers of another file. At most this access may be granted there, if there is a limit.
pub(super) fn read_file(
    root: &ConfigSection<'_>,
    file: &CallersFileContext<'_>,
    revoked: &mut RevokedEntries,
    report: &mut ConfigReport,
) -> FileCallers {
    let mut reader = CallerReader::new(file.secrets, file.masters, revoked);
    reader.file = Some(file);
    reader.account = file.account.map(str::to_owned);
    let callers = reader.callers(root, report).callers;
    let CallerReader { names, id_owners: key_ids, .. } = reader;
    file.real_ids.check(&key_ids, report);
    FileCallers { callers, names: names.into_keys().collect() }
}

/// What the callers of another file than the main one may refer to and be allowed.
pub(super) struct CallersFileContext<'a> {
    pub(super) secrets: &'a SecretResolver<'a>,
    pub(super) masters: &'a SealingMasters,
    pub(super) ceiling: Option<&'a AccessCeiling>,
    pub(super) real_ids: &'a RealKeyIds<'a>,
    /// The name of the file in its directory, if it belongs to a team.
    pub(super) team_file: Option<Arc<str>>,
    /// The account that owns the buckets, if it is configured.
    pub(super) account: Option<&'a str>,
}

/// The callers of another file, and the names of all of them, including revoked ones.
pub(super) struct FileCallers {
    pub(super) callers: Vec<Arc<CallerSettings>>,
    pub(super) names: Vec<String>,
}

/// The access key ids of the configured credentials, with the names of the credentials.
pub(super) struct RealKeyIds<'a>(HashMap<&'a str, &'a str>);

impl<'a> RealKeyIds<'a> {
    pub(super) fn new(described: &'a [DescribedSource]) -> Self {
        let mut ids = HashMap::new();
        for source in described {
            if let Some(key) = source.spec.as_ref().and_then(|spec| spec.config::<StaticKeyConfig>()) {
                ids.insert(key.id.expose(), source.name.as_str());
            }
        }
        Self(ids)
    }

    /// Returns the ids.
    pub(super) fn texts(&self) -> HashSet<String> {
        self.0.keys().map(|id| (*id).to_owned()).collect()
    }

    fn check(&self, key_ids: &HashMap<String, KeyIdOwner>, report: &mut ConfigReport) {
        for (id, owner) in key_ids {
            if let Some(name) = self.0.get(id.as_str()) {
                report.error(&owner.at, ConfigErrorKind::CredentialsKeyId((*name).to_owned()));
            }
        }
    }
}

impl CallerSections {
    /// Reports ids of keys that are access key ids of the configured credentials.
    pub(super) fn check_ids(&self, real_ids: &RealKeyIds<'_>, report: &mut ConfigReport) {
        real_ids.check(&self.key_ids, report);
    }
}

/// The callers of the sections of a file.
struct SectionCallers {
    /// The callers without revoked callers and keys.
    callers: Vec<Arc<CallerSettings>>,
    /// The number of sections.
    count: usize,
    has_open: bool,
    has_revoked_open: bool,
}

/// A `[[caller]]` section as read.
struct DescribedCaller {
    /// The settings. The name is empty if it is missing or invalid, which has been reported.
    settings: CallerSettings,
    is_revoked: bool,
}

/// Reads callers, and compares each with those before it.
struct CallerReader<'a> {
    secrets: &'a SecretResolver<'a>,
    masters: &'a SealingMasters,
    revoked: &'a mut RevokedEntries,
    /// Set while another file than the main one is read.
    file: Option<&'a CallersFileContext<'a>>,
    /// The account that owns the buckets, if it is configured.
    account: Option<String>,
    /// The names with their origins.
    names: HashMap<String, ValueOrigin>,
    /// The origin of the first `open = true`.
    first_open: Option<ValueOrigin>,
    id_owners: HashMap<String, KeyIdOwner>,
    /// The origins of tokens, by their SHA-256.
    token_owners: HashMap<[u8; 32], ValueOrigin>,
    peers: CallerPeers<'a>,
    jwt: JwtReader<'a>,
}

/// The caller that has a key with a certain id.
struct KeyIdOwner {
    /// The index of its section.
    caller: usize,
    /// The origin of the id.
    at: ValueOrigin,
}

impl<'a> CallerReader<'a> {
    fn new(
        secrets: &'a SecretResolver<'a>,
        masters: &'a SealingMasters,
        revoked: &'a mut RevokedEntries,
    ) -> Self {
        Self {
            secrets,
            masters,
            revoked,
            file: None,
            account: None,
            names: HashMap::new(),
            first_open: None,
            id_owners: HashMap::new(),
            token_owners: HashMap::new(),
            peers: CallerPeers::new(secrets.env),
            jwt: JwtReader::new(secrets),
        }
    }

    /// Reads all callers.
    fn callers(&mut self, root: &ConfigSection<'_>, report: &mut ConfigReport) -> SectionCallers {
        let mut read =
            SectionCallers { callers: Vec::new(), count: 0, has_open: false, has_revoked_open: false };
        root.each_caller(report, |section, report| {
            let DescribedCaller { settings, is_revoked } = self.caller(section, read.count, report);
            read.count += 1;
            if is_revoked {
                read.has_revoked_open |= settings.is_open;
                return;
            }
            read.has_open |= settings.is_open;
            // A missing or invalid name has been reported.
            if !settings.name.is_empty() {
                read.callers.push(Arc::new(settings));
            }
        });
        read
    }

    fn caller(
        &mut self,
        section: &ConfigSection<'_>,
        index: usize,
        report: &mut ConfigReport,
    ) -> DescribedCaller {
        section.check(&CALLER, report);
        let name = self.name(section, report);
        let is_revoked = name.as_ref().is_some_and(|name| self.revoked.matches(name));
        // The documents of a revoked caller may already be deleted.
        let rights = if is_revoked { CallerRights::nothing() } else { self.rights(section, report) };
        let callbacks = read_callbacks(section, self.secrets, report);
        let bucket_listing = read_bucket_listing(section, report);
        let session_policy = session_policy::read(section, &rights, self.secrets, report);
        if !section.has("allow") && !section.has("policy") && !is_revoked {
            report.warn(&section.at("allow"), &ConfigWarning::Rightless);
        }
        let presign_max = section.parsed("presign_max", duration::url_lifetime, report);
        let is_open = self.is_open(section, report);
        let limits = self.limits(section, report);
        let before = report.count();
        let sections = section.children("key", report);
        // The token of a revoked caller may already be deleted.
        let token = if is_revoked { None } else { self.token(section, name.as_deref(), report) };
        let peer = self.peers.read(section, ReadCaller { index, is_revoked }, report);
        // The keys of a revoked caller may already be deleted.
        let jwt = if is_revoked { None } else { self.jwt(section, report) };
        let has_identity =
            !sections.is_empty() || section.has("token") || section.has("jwt") || !peer.is_empty() || is_open;
        // The identities of a revoked caller may already be deleted.
        if !has_identity && !is_revoked && report.count() == before {
            report.error(&section.here(), ConfigErrorKind::CallerWithoutIdentity);
        }
        if sections.len() > KEYS_MAX {
            report.error(&section.at("key"), ConfigErrorKind::KeyCount(sections.len()));
        }
        let mut keys: Vec<CallerKey> = Vec::new();
        for section in &sections {
            section.check(&CALLER_KEY, report);
            let id = self.key_id(section, index, report);
            let is_id_revoked = id.as_ref().is_some_and(|id| self.revoked.matches(id));
            if !section.has("secret") {
                let problem = ConfigErrorKind::Missing("write env:NAME, file:PATH or credential:NAME");
                report.error(&section.at("secret"), problem);
            }
            // The secret of a revoked key may already be deleted.
            if is_revoked || is_id_revoked {
                continue;
            }
            let Some(key) = self.key(section, name.as_deref(), id, report) else { continue };
            let is_same =
                |other: &CallerKey| other.id == key.id && other.secret.expose() == key.secret.expose();
            if keys.iter().any(is_same) {
                report.error(&section.here(), ConfigErrorKind::SameKey);
            }
            keys.push(key);
        }
        keys.shrink_to_fit();
        let name = name.unwrap_or_default();
        let presign_max = presign_max.map(|given| given.value);
        let credentials_not_before = section.parsed("credentials_not_before", time, report);
        let credentials_not_before = credentials_not_before.map(|given| given.value);
        let team_file = self.file.and_then(|file| file.team_file.clone());
        let origin = CallerOrigin { team_file, ..section.caller_origin() };
        let settings = CallerSettings {
            name,
            rights,
            callbacks,
            bucket_listing,
            session_policy,
            limits,
            presign_max,
            keys,
            token,
            jwt,
            credentials_not_before,
            peer,
            is_open,
            origin,
        };
        DescribedCaller { settings, is_revoked }
    }

    fn rights(&self, section: &ConfigSection<'_>, report: &mut ConfigReport) -> CallerRights {
        let ceiling = self.file.and_then(|file| file.ceiling);
        let context = RightsContext { secrets: self.secrets, account: self.account.as_deref(), ceiling };
        read_rights(section, context, report)
    }

    fn name(&mut self, section: &ConfigSection<'_>, report: &mut ConfigReport) -> Option<String> {
        if !section.has("name") {
            let problem = ConfigErrorKind::Missing("write name = \"NAME\", such as \"team-a\"");
            report.error(&section.at("name"), problem);
        }
        let name = section.parsed("name", caller_name, report)?;
        if let Some(other) = self.names.get(&name.value) {
            report.error(&name.at, ConfigErrorKind::CallerNameInUse(other.to_string()));
        } else {
            self.names.insert(name.value.clone(), name.at);
        }
        Some(name.value)
    }

    fn is_open(&mut self, section: &ConfigSection<'_>, report: &mut ConfigReport) -> bool {
        let Some(given) = section.truth("open", report).filter(|given| given.value) else { return false };
        // guard: open-elsewhere
        if self.file.is_some() {
            report.error(&given.at, ConfigErrorKind::OpenElsewhere);
        }
        match &self.first_open {
            Some(other) => report.error(&given.at, ConfigErrorKind::TwoOpenCallers(other.to_string())),
            None => self.first_open = Some(given.at),
        }
        true
    }

    /// Reads the limits of a caller, which a team cannot set itself.
    fn limits(&self, section: &ConfigSection<'_>, report: &mut ConfigReport) -> CallerLimits {
        // guard: limits-elsewhere
        if self.secrets.is_confined() && section.has("limits") {
            report.error(&section.at("limits"), ConfigErrorKind::LimitsElsewhere);
        }
        caller_limits::read(section, "limits", report)
    }

    /// Reads the JSON Web Tokens of a caller. Those of a team could match the tokens of another.
    fn jwt(&mut self, section: &ConfigSection<'_>, report: &mut ConfigReport) -> Option<JwtSettings> {
        // guard: jwt-elsewhere
        if self.file.is_some() && section.has("jwt") {
            report.error(&section.at("jwt"), ConfigErrorKind::JwtElsewhere);
            return None;
        }
        self.jwt.read(section, report)
    }

    /// Reads the token of a caller, and reports one that another caller has.
    fn token(
        &mut self,
        section: &ConfigSection<'_>,
        caller: Option<&str>,
        report: &mut ConfigReport,
    ) -> Option<Secret> {
        let place = caller.map(|caller| SealedPlace::Token { caller });
        let token = self.secret(section, "token", place, report)?;
        let at = section.at("token");
        let text = token.expose();
        if text.len() < SECRET_MIN {
            report.error(&at, ConfigErrorKind::ShortToken);
        } else if !text.bytes().all(|b| b.is_ascii_graphic()) {
            report.error(&at, ConfigErrorKind::TokenCharacters);
        }
        let digest = Sha256::digest(text).into();
        match self.token_owners.get(&digest) {
            Some(other) => report.error(&at, ConfigErrorKind::TokenInUse(other.to_string())),
            None => drop(self.token_owners.insert(digest, at)),
        }
        Some(token)
    }

    /// Reads the id of a key, and reports an id that another caller has.
    fn key_id(
        &mut self,
        section: &ConfigSection<'_>,
        caller: usize,
        report: &mut ConfigReport,
    ) -> Option<String> {
        if !section.has("id") {
            let problem = ConfigErrorKind::Missing("write id = \"ID\", such as \"team-a-1\"");
            report.error(&section.at("id"), problem);
        }
        let id = section.parsed("id", key_id, report)?;
        match self.id_owners.get(&id.value) {
            Some(owner) if owner.caller != caller => {
                report.error(&id.at, ConfigErrorKind::KeyIdInUse(owner.at.to_string()));
            }
            Some(_) => {}
            None => {
                self.id_owners.insert(id.value.clone(), KeyIdOwner { caller, at: id.at });
            }
        }
        Some(id.value)
    }

    /// Reads a key with a valid id. Without one, reads its secret only to report the errors in it.
    fn key(
        &self,
        section: &ConfigSection<'_>,
        caller: Option<&str>,
        id: Option<String>,
        report: &mut ConfigReport,
    ) -> Option<CallerKey> {
        let place = caller.zip(id.as_deref()).map(|(caller, id)| SealedPlace::Key { caller, id });
        let secret = self.secret(section, "secret", place, report)?;
        let checked = id.as_ref().map_or(Ok(()), |id| check_key(id, secret.expose(), None));
        if let Err(invalid) = checked {
            report.error(&section.at("secret"), invalid.into());
        } else if secret.expose().len() < SECRET_MIN {
            report.error(&section.at("secret"), ConfigErrorKind::ShortSecret);
        }
        Some(CallerKey { id: id?, secret })
    }

    /// Reads a secret by reference or sealed. A sealed one is opened only at a valid place.
    fn secret(
        &self,
        section: &ConfigSection<'_>,
        key: &str,
        place: Option<SealedPlace<'_>>,
        report: &mut ConfigReport,
    ) -> Option<Secret> {
        let given = section.text(key, report)?;
        if SealedPlace::is_sealed(&given.value) {
            return self.masters.open(&given, place?, report);
        }
        self.secrets.confidential(section, key, report)
    }
}

/// The entries of `revoked`.
#[derive(Default)]
pub(super) struct RevokedEntries {
    entries: Vec<SpannedValue<String>>,
    /// The entries, and whether a caller or a key has been found for each.
    matched: HashMap<String, bool>,
}

impl RevokedEntries {
    fn read(root: &ConfigSection<'_>, report: &mut ConfigReport) -> Self {
        let entries = root.texts("revoked", report);
        // The ids of handed-out keys are not in the file.
        let matched =
            entries.iter().map(|entry| (entry.value.clone(), is_handed_out(&entry.value))).collect();
        Self { entries, matched }
    }

    /// Returns the entries as texts.
    pub(super) fn texts(&self) -> HashSet<String> {
        self.matched.keys().cloned().collect()
    }

    /// Returns whether the name of a caller or the id of a key is revoked, and records the match.
    fn matches(&mut self, text: &str) -> bool {
        let Some(is_matched) = self.matched.get_mut(text) else { return false };
        *is_matched = true;
        true
    }

    /// Returns the entries that are ids of handed-out keys.
    pub(super) fn handed_out(&self) -> HashSet<String> {
        let entries = self.entries.iter().map(|entry| &entry.value);
        entries.filter(|entry| is_handed_out(entry)).cloned().collect()
    }

    /// Reports a warning for each entry without a match.
    pub(super) fn warn_of_unmatched(&self, report: &mut ConfigReport) {
        for (index, entry) in self.entries.iter().enumerate() {
            if self.matched.get(&entry.value) == Some(&false) {
                report.warn(&entry.at, &ConfigWarning::UnmatchedRevocation(index + 1));
            }
        }
    }
}

/// Returns the text if it is a valid name of a caller, or the error for display.
pub(crate) fn parse_caller_name(text: &str) -> Result<String, String> {
    caller_name(text).map_err(|error| error.to_string())
}

/// Returns the text if it is a valid id of a key of a caller, or the error for display.
pub(crate) fn parse_key_id(text: &str) -> Result<String, String> {
    key_id(text).map_err(|error| error.to_string())
}

fn caller_name(text: &str) -> Result<String, ConfigErrorKind> {
    if is_identifier(text, NAME_MAX) {
        Ok(text.to_owned())
    } else {
        Err(ConfigErrorKind::CallerName(text.to_owned()))
    }
}

fn key_id(text: &str) -> Result<String, ConfigErrorKind> {
    if is_real_key_id(text) {
        return Err(ConfigErrorKind::RealKeyId);
    }
    // guard: static-id-is-not-handed-out
    if is_handed_out(text) {
        return Err(ConfigErrorKind::HandedOutKeyId);
    }
    if is_identifier(text, ID_MAX) { Ok(text.to_owned()) } else { Err(ConfigErrorKind::CallerKeyId) }
}

fn time(text: &str) -> Result<Timestamp, ConfigErrorKind> {
    Timestamp::parse_rfc3339(text).ok_or_else(|| ConfigErrorKind::NotBefore(text.to_owned()))
}

fn is_identifier(text: &str, max: usize) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=max).contains(&text.len()) && text.bytes().all(fits)
}

/// Two keys let a rotation overlap.
const KEYS_MAX: usize = 2;
/// The maximum length of a name, which logs and metrics repeat.
const NAME_MAX: usize = 64;
/// The maximum length of an id. Those of Alibaba Cloud are shorter.
const ID_MAX: usize = 128;
/// The minimum length of a secret: 27 random letters and digits have 160 bits.
const SECRET_MIN: usize = 27;
