//! The configuration: combines file, environment and flags into the settings that the other modules
//! take. It accesses only what the file refers to, and only through [`SourceEnv`].
//!
//! Reading does not stop at the first error: [`ConfigErrors`] has all of them. The exception is a
//! file that is not valid TOML, whose settings are not checked.

mod admin_config;
mod audit;
mod caller_access;
mod caller_changes;
mod caller_files;
mod caller_limits;
mod caller_peers;
mod caller_schema;
mod caller_sessions;
mod caller_sources;
mod caller_text;
mod callers;
mod confined_directory;
mod credentials;
mod diagnostics;
mod duration;
pub(crate) mod effective;
mod env;
mod error;
mod fingerprint;
mod flag_setting;
mod hand_out;
mod ignored_callers;
mod jwt;
mod layer;
mod lines;
mod listen;
mod origin;
mod ossutil_routes;
mod provider_settings;
mod proxy_protocol;
mod roles;
mod route;
mod schema;
mod sealed_secrets;
mod section;
mod session_policy;
mod settings;
mod size;
mod source_names;
mod unreachable_callers;
mod upstream;
mod upstream_settings;
mod upstreams;
mod validation;
pub(crate) mod variables;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::admin_config::AdminConfig;
pub(crate) use self::caller_changes::caller_changes;
pub(crate) use self::caller_sources::{BrokenCallersFile, CallerSources};
pub(crate) use self::callers::{parse_caller_name, parse_key_id};
pub use self::diagnostics::{ConfigError, ConfigErrors};
pub(crate) use self::duration::{parse_lifetime, parse_wait};
pub(crate) use self::effective::{EffectiveSetting, SettingChange, ValueReference, changes};
pub(crate) use self::env::{ContentDigest, FileDigest};
pub(crate) use self::flag_setting::FlagSetting;
pub use self::layer::SettingLayer;
pub(crate) use self::sealed_secrets::read_master;
pub use self::section::ConfigFile;
pub(crate) use self::session_policy::SESSION_POLICY_MAX;
#[cfg(test)]
pub(crate) use self::settings::flag_default;
pub(crate) use self::upstream_settings::UpstreamSettings;

use self::caller_files::CallerFiles;
use self::caller_sessions::{CallerSessions, SessionTemplate};
use self::caller_sources::KeptCallerRules;
use self::callers::{CallerNames, CallerSections, RealKeyIds, ServedClients};
use self::credentials::{FileModePolicy, SecretResolver};
use self::diagnostics::{ConfigReport, FinishedReport};
use self::env::TrackedEnv;
use self::error::ConfigErrorKind;
use self::listen::ListenSections;
use self::section::{ConfigDocument, ConfigSection};
use self::source_names::DescribedSource;
use self::upstreams::UpstreamSections;
use self::validation::ValidationContext;
use crate::address::{RoutingTable, UpstreamId};
use crate::caller::{CallerLimits, CallerSettings, KeyHandOut};
use crate::credentials::{
    ChainConfig, CustomProvider, NamedSpec, OssLocation, Provide, ProviderSpec, SourceEnv,
};
use crate::jwks::KeySetConfig;
use crate::server::ListenSettings;
use crate::telemetry::{AccessLogging, AuditSettings, LogFormat, LogLevel, LogSettings};

/// The effective configuration.
#[derive(Debug)]
pub struct ProxyConfig {
    /// The listeners; at least one.
    pub(crate) listen: Vec<ListenSettings>,
    /// The callers, without revoked callers and keys; `None` if the file has no callers, so that
    /// every client is served.
    pub(crate) callers: Option<Vec<Arc<CallerSettings>>>,
    /// The same callers by their files, and the files that cannot be used.
    pub(crate) caller_sources: CallerSources,
    /// The files of callers and those that they refer to, with the digests of their contents.
    pub(crate) caller_files: Vec<FileDigest>,
    /// The masters of keys that are handed out.
    pub(crate) hand_out: Option<Arc<KeyHandOut>>,
    /// The keys of token issuers that are fetched.
    pub(crate) key_sets: Vec<KeySetConfig>,
    /// The admin interface, unless it is off.
    pub(crate) admin: Option<AdminConfig>,
    /// The addresses of the upstreams, and the routes to them.
    pub(crate) routing_table: RoutingTable,
    /// The other settings of each upstream, by its [`UpstreamId`].
    pub(crate) upstreams: Vec<UpstreamSettings>,
    /// The credential sources by name: those of the file, and `default` if it is used.
    pub(crate) credentials: Vec<NamedSpec>,
    /// The credentials whose session names depend on the caller.
    session_templates: Vec<SessionTemplate>,
    /// Limits on concurrency and size.
    pub(crate) limits: LimitConfig,
    /// The timeouts.
    pub(crate) timeouts: TimeoutConfig,
    /// The settings of the log.
    pub(crate) log: LogSettings,
    /// The settings of the audit log, if there is one.
    pub(crate) audit: Option<AuditSettings>,
    /// The hardening of the process.
    pub(crate) process: HardeningConfig,
    /// Warnings, one per line, each with its location.
    pub(crate) warnings: Vec<String>,
    /// All effective settings with their origins.
    pub(crate) effective_settings: Vec<EffectiveSetting>,
    /// The references in files of callers that are ignored.
    pub(crate) ignored_references: Vec<ValueReference>,
    /// The configuration file, with the digest of the content that was read.
    pub(crate) file: Option<FileDigest>,
    /// The secret files that were read, with the digests of their contents.
    pub(crate) files: Vec<FileDigest>,
}

/// The readable part of a configuration, and its errors.
#[derive(Debug)]
pub(crate) struct ConfigOutline {
    /// The configuration; `None` if there are errors that leave nothing to display.
    pub(crate) config: Option<ProxyConfig>,
    /// All errors, if there are any.
    pub(crate) errors: Option<ConfigErrors>,
}

/// Hardening of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HardeningConfig {
    /// Sets `no_new_privs`, which children inherit: no executed program gains privileges.
    pub(crate) no_new_privileges: bool,
    /// Allows core dumps, which contain the memory of the process.
    pub(crate) core_dumps: bool,
    /// Lets other processes of the same user read the memory and the environment of the process.
    pub(crate) dumpable: bool,
}

/// Timeouts and delays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeoutConfig {
    /// Timeout for establishing a connection to an upstream.
    pub(crate) connect: Duration,
    /// Timeout for the head of a response, counted from the last byte of the request.
    pub(crate) first_byte: Duration,
    /// Timeout for either side to make progress in the middle of a body.
    pub(crate) stall: Duration,
    /// Timeout for a request that waits for an upstream connection while all are in use.
    pub(crate) queue: Duration,
    /// Timeout for the head of a client's request, and for what precedes it.
    pub(crate) header_read: Duration,
    /// Timeout for an idle connection.
    pub(crate) idle: Duration,
    /// Timeout of a drain: the time that requests in flight have to complete at shutdown.
    pub(crate) drain: Duration,
    /// The time at shutdown during which requests are still accepted although readiness already
    /// fails.
    pub(crate) drain_delay: Duration,
}

/// Limits on concurrency and size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LimitConfig {
    /// Maximum number of client connections in the process.
    pub(crate) client_connections: usize,
    /// Maximum number of requests in flight per worker.
    pub(crate) requests: usize,
    /// Maximum size of a request head in bytes.
    pub(crate) header_bytes: usize,
    /// Maximum size of a request body in bytes.
    pub(crate) body: u64,
    /// Limits of each caller that sets none itself.
    pub(crate) caller: CallerLimits,
    /// Maximum number of connections in use to one destination, per worker.
    pub(crate) upstream_connections: usize,
    /// Maximum number of connection attempts to one destination, per worker.
    pub(crate) upstream_dials: usize,
}

impl ProxyConfig {
    /// Loads the configuration from `file` and from `layers`. Each layer overrides the file and the
    /// layers before it.
    ///
    /// # Errors
    /// All errors, not just the first.
    pub fn load(
        file: Option<ConfigFile<'_>>,
        layers: &[SettingLayer],
        env: &dyn SourceEnv,
    ) -> Result<Self, ConfigErrors> {
        match Self::outline(file, layers, env) {
            ConfigOutline { config: Some(config), errors: None } => Ok(config),
            ConfigOutline { errors, .. } => Err(errors.unwrap_or_default()),
        }
    }

    /// Loads like [`Self::load`], but returns a configuration despite errors where it can, so that
    /// it can be displayed. Credentials that cannot be read are missing from [`Self::credentials`].
    /// A configuration with errors must not be served.
    #[must_use]
    pub(crate) fn outline(
        file: Option<ConfigFile<'_>>,
        layers: &[SettingLayer],
        env: &dyn SourceEnv,
    ) -> ConfigOutline {
        let mut report = ConfigReport::default();
        let document = ConfigDocument::new(file, layers);
        let table = document.parse(&mut report);
        let noted = TrackedEnv::new(env);
        let config = if report.count() == 0 {
            read(&document.root(table.get_ref(), &mut report), &noted, &mut report)
        } else {
            None
        };
        // The settings of a file that is not valid TOML are not checked.
        let config = config.filter(|_| !document.is_torn());
        if document.is_torn() {
            let mut syntax = ConfigReport::default();
            document.parse_whole(&mut syntax);
            report = syntax;
        }
        layers.iter().for_each(|layer| layer.report(&mut report));
        let FinishedReport { warnings, errors } = report.finish();
        let effective_settings = effective::all(table.get_ref(), &document);
        let own = file.map(|file| FileDigest {
            path: file.path.to_owned(),
            digest: ContentDigest::new(file.text.as_bytes()),
        });
        let config = config.map(|config| Self { warnings, effective_settings, file: own, ..config });
        ConfigOutline { config, errors: errors.map(|errors| errors.naming(noted.into_files())) }
    }

    /// Reads the settings of the admin interface alone, for callers that need no others. Returns
    /// `None` if the interface is off.
    ///
    /// # Errors
    /// All errors in the part that is read.
    pub(crate) fn admin(
        file: Option<ConfigFile<'_>>,
        layers: &[SettingLayer],
        env: &dyn SourceEnv,
    ) -> Result<Option<AdminConfig>, ConfigErrors> {
        let mut report = ConfigReport::default();
        let document = ConfigDocument::new(file, layers);
        let table = document.parse(&mut report);
        let secrets = SecretResolver::new(env, FileModePolicy::Warn);
        let mut admin = None;
        if report.count() == 0 {
            admin = listen::read_admin(&document.top(table.get_ref()), &secrets, &mut report);
        }
        layers.iter().for_each(|layer| layer.report(&mut report));
        match report.finish().errors {
            None => Ok(admin),
            Some(errors) => Err(errors),
        }
    }

    /// Keeps the previous callers of files that cannot be used.
    ///
    /// # Errors
    /// If the main file claims a name or an identity that another file has, or if callers cannot
    /// have sessions of their names.
    pub(crate) fn after(mut self, running: &CallerSources) -> Result<Self, ConfigErrors> {
        self.caller_sources.settle(Some(running))?;
        self.callers = self.callers.map(|_| self.caller_sources.served());
        let mut report = ConfigReport::default();
        self.expand_sessions(&mut report);
        report.finish().errors.map_or(Ok(self), Err)
    }

    fn sessions(&mut self) -> CallerSessions<'_> {
        let Self { routing_table, upstreams, credentials, .. } = self;
        CallerSessions { routing_table, upstreams, credentials }
    }

    /// Replaces the credentials of callers by those of the current callers.
    fn expand_sessions(&mut self, report: &mut ConfigReport) {
        let templates = std::mem::take(&mut self.session_templates);
        let callers = self.callers.clone().unwrap_or_default();
        self.sessions().expand(&templates, &callers, report);
        self.session_templates = templates;
    }

    /// Replaces the named credentials with a custom provider, for all callers. It does not apply
    /// session policies of callers.
    pub fn sign_with(&mut self, name: &str, provider: Arc<dyn Provide>) {
        self.sessions().remove(name);
        self.session_templates.retain(|template| template.name() != name);
        self.credentials.retain(|known| known.name != name);
        self.credentials.push(NamedSpec::new(name, ProviderSpec::new(CustomProvider(provider))));
    }
}

/// Reads the sections. Returns `None` only after an error has been reported.
fn read(root: &ConfigSection<'_>, env: &dyn SourceEnv, report: &mut ConfigReport) -> Option<ProxyConfig> {
    let modes =
        if root.is_true("strict_file_modes", report) { FileModePolicy::Refuse } else { FileModePolicy::Warn };
    let secrets = SecretResolver::new(env, modes);
    let mut caller_sections = callers::read(root, &secrets, report);
    let hand_out = hand_out::read(root, &caller_sections, &secrets, report);
    let ListenSections { listen, admin } =
        listen::read(root, caller_sections.clients, &hand_out, &secrets, report);
    unreachable_callers::warn(root, &caller_sections.callers, &listen, report);
    let limits = limits(&root.child("limits", report), report);
    let timeouts = timeouts(&root.child("timeouts", report), report);
    let log = log(&root.child("log", report), report);
    let audit = audit::read(&root.child("audit", report), &secrets, report);
    let process = process(&root.child("process", report), report);
    let described = credentials::read(root, &secrets, report);
    let real_ids = RealKeyIds::new(&described);
    caller_sections.check_ids(&real_ids, report);
    let caller_files = caller_files::read(root, &secrets, &real_ids, &mut caller_sections, report);
    let callers = CallersByFile::new(caller_sections, caller_files, &real_ids, report);
    hand_out.check_source(&described, report);
    let context = ValidationContext {
        listeners: &listen,
        caller_names: &callers.names,
        described: &described,
        secrets: &secrets,
    };
    let UpstreamSections { routing_table, settings: upstreams } = upstreams::read(root, &context, report)?;
    secrets.warn_of_more_inline(root, report);
    let is_described = described.iter().any(|source| source.name == source_names::DEFAULT);
    let named = |DescribedSource { name, spec }| Some(NamedSpec { name, spec: spec? });
    let mut credentials: Vec<NamedSpec> = described.into_iter().filter_map(named).collect();
    let implied = |name: &str| {
        upstreams.iter().any(|upstream| upstream.credentials == name)
            || credentials.iter().any(|named| named.spec.needs() == Some(name))
    };
    if !is_described && implied(source_names::DEFAULT) {
        credentials.push(NamedSpec::new(
            source_names::DEFAULT,
            ProviderSpec::new(ChainConfig { strict: secrets.is_strict(), ..ChainConfig::default() }),
        ));
    }
    locate_sts(&mut credentials, &upstreams, &routing_table);
    let session_templates = caller_sessions::read(root, callers.are_enforced, &mut credentials, report);
    let mut config = ProxyConfig {
        listen,
        callers: callers.are_enforced.then(|| callers.sources.served()),
        caller_sources: callers.sources,
        caller_files: callers.watched,
        hand_out: hand_out.keys.map(Arc::new),
        key_sets: callers.key_sets,
        admin,
        routing_table,
        upstreams,
        credentials,
        session_templates,
        limits,
        timeouts,
        log,
        audit,
        process,
        warnings: Vec::new(),
        effective_settings: Vec::new(),
        ignored_references: ignored_callers::references(root, env, report),
        file: None,
        files: secrets.into_files(),
    };
    config.expand_sessions(report);
    Some(config)
}

/// Gives each credential source the location of STS: that of the first upstream that signs with it.
fn locate_sts(credentials: &mut [NamedSpec], upstreams: &[UpstreamSettings], routing_table: &RoutingTable) {
    let upstreams_of: HashMap<&str, usize> =
        upstreams.iter().enumerate().rev().map(|(index, upstream)| (&*upstream.credentials, index)).collect();
    for NamedSpec { name, spec } in credentials {
        let used = upstreams_of.get(name.as_str()).copied();
        let upstream = routing_table.get(UpstreamId(used.unwrap_or(0)));
        // The signing region of a CloudBox or an accelerator zone is not the region that it is in.
        let around = upstream.endpoint.service_name().and_then(|name| name.sts_region);
        if let (Some(sts_endpoint), Some(region)) =
            (spec.sts_endpoint_mut(), around.or_else(|| upstream.region.clone()))
        {
            sts_endpoint.of_oss = Some(OssLocation { region, is_internal: upstream.endpoint.is_internal() });
        }
    }
}

/// The callers of all files.
struct CallersByFile {
    sources: CallerSources,
    names: CallerNames,
    are_enforced: bool,
    watched: Vec<FileDigest>,
    key_sets: Vec<KeySetConfig>,
}

impl CallersByFile {
    fn new(
        sections: CallerSections,
        files: CallerFiles,
        real_ids: &RealKeyIds<'_>,
        report: &mut ConfigReport,
    ) -> Self {
        let CallerSections { callers, clients, mut names, revoked, key_sets, .. } = sections;
        let CallerFiles { files, unlisted, ceiling, names: of_files, watched } = files;
        let rules = KeptCallerRules { revoked: revoked.texts(), real_ids: real_ids.texts(), ceiling };
        let mut sources = CallerSources { main: callers.into(), files, unlisted, rules };
        // The main file has precedence until there is a running configuration.
        let settled = sources.settle(None);
        debug_assert!(settled.is_ok(), "{settled:?}");
        names.names.extend(of_files);
        names.are_incomplete = sources.is_incomplete();
        if !names.are_incomplete {
            revoked.warn_of_unmatched(report);
        }
        Self { sources, names, are_enforced: clients != ServedClients::All, watched, key_sets }
    }
}

fn timeouts(section: &ConfigSection<'_>, report: &mut ConfigReport) -> TimeoutConfig {
    section.check(&settings::TIMEOUTS, report);
    let mut positive = |key: &str| section.parsed_or_default(key, duration::positive, report).value;
    let connect = positive("connect");
    let first_byte = positive("first_byte");
    let stall = positive("stall");
    let header_read = positive("header_read");
    let idle = positive("idle");
    let mut any = |key: &str| section.parsed_or_default(key, duration::parse, report).value;
    let queue = any("queue");
    let drain = any("drain");
    let drain_delay = any("drain_delay");
    TimeoutConfig { connect, first_byte, stall, queue, header_read, idle, drain, drain_delay }
}

fn limits(section: &ConfigSection<'_>, report: &mut ConfigReport) -> LimitConfig {
    section.check(&settings::LIMITS, report);
    let header_bytes = |text: &str| {
        let bytes = usize::try_from(size::parse(text)?).ok().filter(|bytes| HEADER_BYTES.contains(bytes));
        bytes.ok_or_else(|| ConfigErrorKind::HeaderBytes(text.to_owned()))
    };
    LimitConfig {
        client_connections: section.count("client_connections", report),
        requests: section.count("requests", report),
        header_bytes: section.parsed_or_default("header_bytes", header_bytes, report).value,
        body: section.parsed_or_default("body", size::parse, report).value,
        caller: caller_limits::read(section, "caller", report),
        upstream_connections: section.count("upstream_connections", report),
        upstream_dials: section.count("upstream_dials", report),
    }
}

fn process(section: &ConfigSection<'_>, report: &mut ConfigReport) -> HardeningConfig {
    section.check(&settings::OWN_PROCESS, report);
    HardeningConfig {
        no_new_privileges: section.is_true("no_new_privileges", report),
        core_dumps: section.is_true("core_dumps", report),
        dumpable: section.is_true("dumpable", report),
    }
}

fn log(section: &ConfigSection<'_>, report: &mut ConfigReport) -> LogSettings {
    section.check(&settings::LOG, report);
    let formats = [("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];
    let levels = LogLevel::ALL.map(|level| (level.as_str(), level));
    let is_logged = section.is_true("access", report);
    let sample = u32::try_from(section.count("sample", report)).unwrap_or(u32::MAX);
    LogSettings {
        format: section.word_or_default("format", &formats, report).value,
        level: section.word_or_default("level", &levels, report).value,
        access: match NonZeroU32::new(sample) {
            _ if !is_logged => AccessLogging::No,
            Some(one_of) if one_of.get() > 1 => AccessLogging::Sample(one_of),
            Some(_) | None => AccessLogging::Yes,
        },
        file: section.text("file", report).map(|given| PathBuf::from(given.value)),
    }
}

/// The range of `limits.header_bytes`: from the heads that usual clients send to the size of a
/// connection's buffer.
const HEADER_BYTES: std::ops::RangeInclusive<usize> = 8 << 10..=256 << 10;

#[cfg(test)]
mod tests;
