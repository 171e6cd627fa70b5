//! The configuration: from file, environment and flags to values that the other modules take. Nothing is looked up here but
//! what the text refers to, and that through [`ConfigEnv`].
//!
//! Reading never stops at a mistake: [`ConfigErrors`] is all of them. Only a file that is no TOML at all is reported as just that.

mod credentials;
mod diagnostics;
mod duration;
mod effective;
mod env;
mod error;
mod layer;
mod lines;
mod listen;
mod origin;
mod ossutil_routes;
mod roles;
mod route;
mod schema;
mod section;
mod size;
mod upstream;
mod upstreams;
mod variables;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use self::diagnostics::{ConfigError, ConfigErrors};
pub use self::duration::{parse_lifetime, parse_wait};
pub use self::effective::{EffectiveSetting, SettingChange, ValueReference, changes};
pub use self::env::{ConfigEnv, ContentDigest, SecretFile, SystemFiles};
pub use self::layer::{FlagSetting, SettingLayer};
pub use self::origin::ValueOrigin;
pub use self::variables::READ_VARIABLES;

use self::credentials::{FileModePolicy, SecretResolver};
use self::diagnostics::ConfigReport;
use self::env::TrackedEnv;
use self::error::ConfigErrorKind;
use self::origin::SpannedValue;
use self::section::{ConfigDocument, ConfigSection};
use self::upstreams::ValidationContext;
use crate::address::{RoutingTable, UpstreamId};
use crate::admin;
use crate::credentials::{ChainConfig, CustomProvider, Provide, ProviderSpec};
use crate::server::{ListenAddress, ListenSettings};
use crate::sign::SignatureVersion;
use crate::telemetry::{AccessLogging, LogFormat, LogLevel, LogSettings};

/// Everything that is configured.
#[derive(Debug)]
pub struct ProxyConfig {
    /// The listeners; at least one.
    pub listen: Vec<ListenSettings>,
    /// The admin interface, if there is one.
    pub admin: Option<AdminConfig>,
    /// The upstreams.
    pub directory: RoutingTable,
    /// What else is said of each upstream, by its [`UpstreamId`](crate::address::UpstreamId).
    pub upstreams: Vec<UpstreamSettings>,
    /// The sources of credentials by name: those of the file, and `default` if an upstream uses it.
    pub credentials: Vec<(String, ProviderSpec)>,
    /// How much may go on at once.
    pub limits: LimitConfig,
    /// How long things may take.
    pub timeouts: TimeoutConfig,
    /// What the log shows and how.
    pub log: LogSettings,
    /// What the process lets itself and others do.
    pub process: HardeningConfig,
    /// What is not wrong, but to be looked at: a line each, with its place.
    pub warnings: Vec<String>,
    /// Every setting as it was given, and where.
    pub facts: Vec<EffectiveSetting>,
    /// Its own file, as it was when it was read.
    pub file: Option<(PathBuf, ContentDigest)>,
    /// The files of secrets that were read for it, as they were then.
    pub files: Vec<(PathBuf, ContentDigest)>,
}

/// The admin interface.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// Where it listens.
    pub address: ListenAddress,
    /// What it serves, and to whom.
    pub settings: admin::AdminSettings,
}

/// Settings of an upstream that are not about where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Which signature it gets.
    pub signature: SignatureVersion,
    /// The name of its source in [`ProxyConfig::credentials`].
    pub credentials: String,
    /// The only roots that its certificates are checked against; `None` takes the host's. A file that could be read.
    pub ca_file: Option<PathBuf>,
}

/// What the process lets itself and others do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HardeningConfig {
    /// It and its children can gain no rights, whatever they execute.
    pub no_new_privileges: bool,
    /// The system may write its memory to a file if it crashes.
    pub core_dumps: bool,
    /// Other processes of its user may read its memory and environment.
    pub dumpable: bool,
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeoutConfig {
    /// Until a connection to an upstream stands.
    pub connect: Duration,
    /// Until the head of an answer comes, counted from the last byte of the request.
    pub first_byte: Duration,
    /// How long either side may stand still in the middle of a body.
    pub stall: Duration,
    /// How long a request waits for an upstream connection if all are in use.
    pub queue: Duration,
    /// How long the head of a client's request may take, and what comes before it.
    pub header_read: Duration,
    /// How long a connection may lie unused.
    pub idle: Duration,
    /// How long requests in flight are waited for at the end.
    pub drain: Duration,
    /// How long, at the end, requests are still taken after readiness has gone.
    pub drain_delay: Duration,
}

/// How much may go on at once, and how large things may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitConfig {
    /// Connections of clients, in all.
    pub client_connections: usize,
    /// Requests in flight, for each core.
    pub requests: usize,
    /// The head of a request, in bytes.
    pub header_bytes: usize,
    /// The body of a request, in bytes.
    pub body: u64,
    /// Connections to one destination in use, for each core.
    pub upstream_connections: usize,
    /// Connections to one destination that are being made, for each core.
    pub upstream_dials: usize,
}

impl ProxyConfig {
    /// Reads the file, named and in full, under `layers`, of which later ones stand over earlier ones.
    ///
    /// # Errors
    /// Every mistake, not just the first.
    pub fn load(
        file: Option<(&Path, &str)>,
        layers: &[SettingLayer],
        outside: &dyn ConfigEnv,
    ) -> Result<Self, ConfigErrors> {
        match Self::outline(file, layers, outside) {
            (Some(config), None) => Ok(config),
            (_, errors) => Err(errors.unwrap_or_default()),
        }
    }

    /// The same, for who wants to show what is there although something is wrong: credentials that cannot be read are left out
    /// of [`Self::credentials`]. Nothing is to be served with it if there is a mistake.
    #[must_use]
    pub fn outline(
        file: Option<(&Path, &str)>,
        layers: &[SettingLayer],
        outside: &dyn ConfigEnv,
    ) -> (Option<Self>, Option<ConfigErrors>) {
        let mut report = ConfigReport::default();
        let document = ConfigDocument::new(file, layers);
        let table = document.parse(&mut report);
        let noted = TrackedEnv::new(outside);
        let config = if report.count() == 0 {
            read(&document.root(table.get_ref(), &mut report), &noted, &mut report)
        } else {
            None
        };
        layers.iter().for_each(|layer| layer.report(&mut report));
        let (warnings, errors) = report.finish();
        let facts = effective::all(table.get_ref(), &document);
        let own = file.map(|(path, text)| (path.to_owned(), ContentDigest::of(text.as_bytes())));
        let config = config.map(|config| Self { warnings, facts, file: own, ..config });
        (config, errors.map(|errors| errors.naming(noted.into_files())))
    }

    /// Reads of the same no more than where health is asked, for who needs nothing else of it; `None` if it is nowhere.
    ///
    /// # Errors
    /// Every mistake in what is read.
    pub fn admin(
        file: Option<(&Path, &str)>,
        layers: &[SettingLayer],
        outside: &dyn ConfigEnv,
    ) -> Result<Option<AdminConfig>, ConfigErrors> {
        let mut report = ConfigReport::default();
        let document = ConfigDocument::new(file, layers);
        let table = document.parse(&mut report);
        let secrets = SecretResolver::new(outside, FileModePolicy::Warn);
        let mut admin = None;
        if report.count() == 0 {
            admin = listen::read_admin(&document.top(table.get_ref()), &secrets, &mut report);
        }
        layers.iter().for_each(|layer| layer.report(&mut report));
        match report.finish() {
            (_, None) => Ok(admin),
            (_, Some(errors)) => Err(errors),
        }
    }

    /// Has `provider` in the place of the credentials of this name, for whoever builds a proxy with a source of his own.
    pub fn sign_with(&mut self, name: &str, provider: Arc<dyn Provide>) {
        self.credentials.retain(|(known, _)| known != name);
        self.credentials.push((name.to_owned(), ProviderSpec::Custom(CustomProvider(provider))));
    }
}

/// Reads the sections. What is `None` has been reported.
fn read(root: &ConfigSection<'_>, outside: &dyn ConfigEnv, report: &mut ConfigReport) -> Option<ProxyConfig> {
    let strict = root.truth("strict_file_modes", report);
    let modes = match strict {
        Some(SpannedValue { value: true, .. }) => FileModePolicy::Refuse,
        _ => FileModePolicy::Warn,
    };
    let secrets = SecretResolver::new(outside, modes);
    let (listen, admin) = listen::read(root, &secrets, report);
    let limits = limits(&root.child("limits", report), report);
    let timeouts = timeouts(&root.child("timeouts", report), report);
    let log = log(&root.child("log", report), report);
    let process = process(&root.child("process", report), report);
    let specs = credentials::read(root, &secrets, report);
    let surroundings = ValidationContext { listeners: &listen, specs: &specs, secrets: &secrets };
    let (directory, upstreams) = upstreams::read(root, &surroundings, report)?;
    let is_described = specs.iter().any(|(name, _)| name == credentials::DEFAULT);
    let mut credentials: Vec<(String, ProviderSpec)> =
        specs.into_iter().filter_map(|(name, spec)| Some((name, spec?))).collect();
    let implied = |name: &str| {
        upstreams.iter().any(|upstream| upstream.credentials == name)
            || credentials.iter().any(|(_, spec)| spec.needs() == Some(name))
    };
    if !is_described && implied(credentials::DEFAULT) {
        credentials.push((
            credentials::DEFAULT.to_owned(),
            ProviderSpec::Chain(ChainConfig { strict: secrets.is_strict(), ..ChainConfig::default() }),
        ));
    }
    // Of those that sign with the same credentials, the first.
    let upstreams_of: HashMap<&str, usize> =
        upstreams.iter().enumerate().rev().map(|(index, upstream)| (&*upstream.credentials, index)).collect();
    for (name, spec) in &mut credentials {
        let used = upstreams_of.get(name.as_str()).copied();
        let upstream = directory.get(UpstreamId(used.unwrap_or(0)));
        // A CloudBox and a zone are in a region that requests to them are not signed for.
        let around = upstream.endpoint.service_name().and_then(|name| name.sts_region);
        if let (Some(place), Some(region)) = (spec.place_mut(), around.or_else(|| upstream.region.clone())) {
            place.of_oss = Some((region, upstream.endpoint.is_internal()));
        }
    }
    Some(ProxyConfig {
        listen,
        admin,
        directory,
        upstreams,
        credentials,
        limits,
        timeouts,
        log,
        process,
        warnings: Vec::new(),
        facts: Vec::new(),
        file: None,
        files: secrets.into_files(),
    })
}

fn timeouts(section: &ConfigSection<'_>, report: &mut ConfigReport) -> TimeoutConfig {
    section.check(&schema::TIMEOUTS, report);
    let connect = section.parsed("connect", duration::positive, report);
    let first_byte = section.parsed("first_byte", duration::positive, report);
    let stall = section.parsed("stall", duration::positive, report);
    let queue = section.parsed("queue", duration::parse, report);
    let header_read = section.parsed("header_read", duration::positive, report);
    let idle = section.parsed("idle", duration::positive, report);
    let drain = section.parsed("drain", duration::parse, report);
    let drain_delay = section.parsed("drain_delay", duration::parse, report);
    let or = |given: Option<SpannedValue<Duration>>, seconds| {
        given.map_or_else(|| Duration::from_secs(seconds), |given| given.value)
    };
    TimeoutConfig {
        connect: or(connect, 5),
        first_byte: or(first_byte, 60),
        stall: or(stall, 60),
        queue: or(queue, 5),
        header_read: or(header_read, 10),
        idle: or(idle, 50),
        drain: or(drain, 25),
        drain_delay: or(drain_delay, 0),
    }
}

fn limits(section: &ConfigSection<'_>, report: &mut ConfigReport) -> LimitConfig {
    section.check(&schema::LIMITS, report);
    let header_bytes = |text: &str| {
        let bytes = usize::try_from(size::parse(text)?).ok().filter(|bytes| HEADER_BYTES.contains(bytes));
        bytes.ok_or_else(|| ConfigErrorKind::HeaderBytes(text.to_owned()))
    };
    let header_bytes = section.parsed("header_bytes", header_bytes, report);
    let body = section.parsed("body", size::parse, report);
    LimitConfig {
        client_connections: section.count("client_connections", report).unwrap_or(10_000),
        requests: section.count("requests", report).unwrap_or(4096),
        header_bytes: header_bytes.map_or(64 << 10, |given| given.value),
        body: body.map_or(5 << 30, |given| given.value),
        upstream_connections: section.count("upstream_connections", report).unwrap_or(256),
        upstream_dials: section.count("upstream_dials", report).unwrap_or(32),
    }
}

fn process(section: &ConfigSection<'_>, report: &mut ConfigReport) -> HardeningConfig {
    section.check(&schema::OWN_PROCESS, report);
    let mut is_set = |key: &str, default| section.truth(key, report).map_or(default, |given| given.value);
    HardeningConfig {
        no_new_privileges: is_set("no_new_privileges", true),
        core_dumps: is_set("core_dumps", false),
        dumpable: is_set("dumpable", false),
    }
}

fn log(section: &ConfigSection<'_>, report: &mut ConfigReport) -> LogSettings {
    section.check(&schema::LOG, report);
    let formats = [("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];
    let levels = LogLevel::ALL.map(|level| (level.as_str(), level));
    let format = section.word("format", &formats, report);
    let level = section.word("level", &levels, report);
    let access = section.truth("access", report);
    let sample = section.count("sample", report).map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    let sample = sample.and_then(NonZeroU32::new);
    let file = section.text("file", report);
    LogSettings {
        format: format.map(|given| given.value).unwrap_or_default(),
        level: level.map(|given| given.value).unwrap_or_default(),
        access: match (access, sample) {
            (Some(SpannedValue { value: false, .. }), _) => AccessLogging::No,
            (_, Some(one_of)) if one_of.get() > 1 => AccessLogging::Sample(one_of),
            (_, _) => AccessLogging::Yes,
        },
        file: file.map(|given| PathBuf::from(given.value)),
    }
}

/// What the head of a request may be limited to: what usual clients send, and what the buffer of a connection holds.
const HEADER_BYTES: std::ops::RangeInclusive<usize> = 8 << 10..=256 << 10;

#[cfg(test)]
mod tests;
