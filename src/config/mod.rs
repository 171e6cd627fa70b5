//! The configuration: from file, environment and flags to values that the other modules take. Nothing is looked up here but
//! what the text refers to, and that through [`Outside`].
//!
//! Reading never stops at a mistake: [`Errors`] is all of them. Only a file that is no TOML at all is reported as just that.

mod credentials;
mod directory;
mod duration;
mod facts;
mod layer;
mod lines;
mod listen;
mod origin;
mod outside;
mod problem;
mod report;
mod roles;
mod route;
mod schema;
mod section;
mod size;
mod tool_routes;
mod upstream;
mod variables;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use self::duration::{parse_lifetime, parse_wait};
pub use self::facts::{Change, Fact, Reference, changes};
pub use self::layer::{Layer, Setting};
pub use self::origin::Origin;
pub use self::outside::{Digest, Machine, Outside, SecretFile};
pub use self::report::{Error, Errors};
pub use self::variables::READ_VARIABLES;

use self::credentials::{Modes, Secrets};
use self::directory::Surroundings;
use self::origin::Given;
use self::outside::Noted;
use self::problem::Problem;
use self::report::Report;
use self::section::{Document, Section};
use crate::address::{Directory, UpstreamId};
use crate::admin;
use crate::credentials::{ChainConfig, CustomProvider, Provide, ProviderSpec};
use crate::server::{ListenAddress, ListenSettings};
use crate::sign::Version;
use crate::telemetry::{AccessLogging, LogFormat, LogLevel, LogSettings};

/// Everything that is configured.
#[derive(Debug)]
pub struct Config {
    /// The listeners; at least one.
    pub listen: Vec<ListenSettings>,
    /// The admin interface, if there is one.
    pub admin: Option<Admin>,
    /// The upstreams.
    pub directory: Directory,
    /// What else is said of each upstream, by its [`UpstreamId`](crate::address::UpstreamId).
    pub upstreams: Vec<UpstreamSettings>,
    /// The sources of credentials by name: those of the file, and `default` if an upstream uses it.
    pub credentials: Vec<(String, ProviderSpec)>,
    /// How much may go on at once.
    pub limits: Limits,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// What the log shows and how.
    pub log: LogSettings,
    /// What the process lets itself and others do.
    pub process: Process,
    /// What is not wrong, but to be looked at: a line each, with its place.
    pub warnings: Vec<String>,
    /// Every setting as it was given, and where.
    pub facts: Vec<Fact>,
    /// Its own file, as it was when it was read.
    pub file: Option<(PathBuf, Digest)>,
    /// The files of secrets that were read for it, as they were then.
    pub files: Vec<(PathBuf, Digest)>,
}

/// The admin interface.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Where it listens.
    pub address: ListenAddress,
    /// What it serves, and to whom.
    pub settings: admin::Settings,
}

/// Settings of an upstream that are not about where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Which signature it gets.
    pub signature: Version,
    /// The name of its source in [`Config::credentials`].
    pub credentials: String,
    /// The only roots that its certificates are checked against; `None` takes the host's. A file that could be read.
    pub ca_file: Option<PathBuf>,
}

/// What the process lets itself and others do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// It and its children can gain no rights, whatever they execute.
    pub no_new_privileges: bool,
    /// The system may write its memory to a file if it crashes.
    pub core_files: bool,
    /// Other processes of its user may read its memory and environment.
    pub inspectable: bool,
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
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
pub struct Limits {
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

impl Config {
    /// Reads the file, named and in full, under `layers`, of which later ones stand over earlier ones.
    ///
    /// # Errors
    /// Every mistake, not just the first.
    pub fn load(
        file: Option<(&Path, &str)>,
        layers: &[Layer],
        outside: &dyn Outside,
    ) -> Result<Self, Errors> {
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
        layers: &[Layer],
        outside: &dyn Outside,
    ) -> (Option<Self>, Option<Errors>) {
        let mut report = Report::default();
        let document = Document::new(file, layers);
        let table = document.parse(&mut report);
        let noted = Noted::new(outside);
        let config = if report.count() == 0 {
            read(&document.root(table.get_ref(), &mut report), &noted, &mut report)
        } else {
            None
        };
        layers.iter().for_each(|layer| layer.report(&mut report));
        let (warnings, errors) = report.finish();
        let facts = facts::all(table.get_ref(), &document);
        let own = file.map(|(path, text)| (path.to_owned(), Digest::of(text.as_bytes())));
        let config = config.map(|config| Self { warnings, facts, file: own, ..config });
        (config, errors.map(|errors| errors.naming(noted.into_files())))
    }

    /// Reads of the same no more than where health is asked, for who needs nothing else of it; `None` if it is nowhere.
    ///
    /// # Errors
    /// Every mistake in what is read.
    pub fn admin(
        file: Option<(&Path, &str)>,
        layers: &[Layer],
        outside: &dyn Outside,
    ) -> Result<Option<Admin>, Errors> {
        let mut report = Report::default();
        let document = Document::new(file, layers);
        let table = document.parse(&mut report);
        let secrets = Secrets::new(outside, Modes::Warn);
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
fn read(root: &Section<'_>, outside: &dyn Outside, report: &mut Report) -> Option<Config> {
    let strict = root.truth("strict_file_modes", report);
    let modes = match strict {
        Some(Given { value: true, .. }) => Modes::Refuse,
        _ => Modes::Warn,
    };
    let secrets = Secrets::new(outside, modes);
    let (listen, admin) = listen::read(root, &secrets, report);
    let limits = limits(&root.child("limits", report), report);
    let timeouts = timeouts(&root.child("timeouts", report), report);
    let log = log(&root.child("log", report), report);
    let process = process(&root.child("process", report), report);
    let specs = credentials::read(root, &secrets, report);
    let surroundings = Surroundings { listeners: &listen, specs: &specs, secrets: &secrets };
    let (directory, upstreams) = directory::read(root, &surroundings, report)?;
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
    Some(Config {
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

fn timeouts(section: &Section<'_>, report: &mut Report) -> Timeouts {
    section.check(&schema::TIMEOUTS, report);
    let connect = section.parsed("connect", duration::positive, report);
    let first_byte = section.parsed("first_byte", duration::positive, report);
    let stall = section.parsed("stall", duration::positive, report);
    let queue = section.parsed("queue", duration::parse, report);
    let header_read = section.parsed("header_read", duration::positive, report);
    let idle = section.parsed("idle", duration::positive, report);
    let drain = section.parsed("drain", duration::parse, report);
    let drain_delay = section.parsed("drain_delay", duration::parse, report);
    let or = |given: Option<Given<Duration>>, seconds| {
        given.map_or_else(|| Duration::from_secs(seconds), |given| given.value)
    };
    Timeouts {
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

fn limits(section: &Section<'_>, report: &mut Report) -> Limits {
    section.check(&schema::LIMITS, report);
    let header_bytes = |text: &str| {
        let bytes = usize::try_from(size::parse(text)?).ok().filter(|bytes| HEADER_BYTES.contains(bytes));
        bytes.ok_or_else(|| Problem::HeaderBytes(text.to_owned()))
    };
    let header_bytes = section.parsed("header_bytes", header_bytes, report);
    let body = section.parsed("body", size::parse, report);
    Limits {
        client_connections: section.count("client_connections", report).unwrap_or(10_000),
        requests: section.count("requests", report).unwrap_or(4096),
        header_bytes: header_bytes.map_or(64 << 10, |given| given.value),
        body: body.map_or(5 << 30, |given| given.value),
        upstream_connections: section.count("upstream_connections", report).unwrap_or(256),
        upstream_dials: section.count("upstream_dials", report).unwrap_or(32),
    }
}

fn process(section: &Section<'_>, report: &mut Report) -> Process {
    section.check(&schema::OWN_PROCESS, report);
    let mut is_set = |key: &str, default| section.truth(key, report).map_or(default, |given| given.value);
    Process {
        no_new_privileges: is_set("no_new_privileges", true),
        core_files: is_set("core_files", false),
        inspectable: is_set("inspectable", false),
    }
}

fn log(section: &Section<'_>, report: &mut Report) -> LogSettings {
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
            (Some(Given { value: false, .. }), _) => AccessLogging::No,
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
