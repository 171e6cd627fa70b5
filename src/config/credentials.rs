//! `[credentials.NAME]`: credential sources and the secrets that they refer to.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::confined_directory::ConfinedDirectory;
use super::diagnostics::ConfigReport;
use super::duration;
use super::env::{ContentDigest, FileDigest};
use super::error::{ConfigErrorKind, ConfigWarning};
use super::origin::SpannedValue;
use super::provider_settings::{LATER_TYPES, ProviderSchema, ProviderType, listed_types, provider};
use super::roles;
use super::section::ConfigSection;
use super::source_names::{DescribedSource, check_needs};
use crate::credentials::{
    AuthorizationFile, CliFile, ComparableConfig, CredentialFileConfig, EcsConfig, ExternalFileConfig,
    KeyPairFiles, OssutilFile, ProcessConfig, ProviderSpec, RequestIdentityConfig, SecretText, SharedFile,
    SourceEnv, StaticKeyConfig, ToolFileConfig, UriConfig, check_key,
};
use crate::sealing::SealedPlace;
use crate::secret::Secret;
use crate::transport::{InvalidUrl, Url};

/// Resolves references to secrets.
pub(super) struct SecretResolver<'a> {
    pub(super) env: &'a dyn SourceEnv,
    pub(super) modes: FileModePolicy,
    scope: SecretScope,
    /// The files that were read or could not be read, with the digests of their contents.
    files: RefCell<Vec<FileDigest>>,
    /// The number of secrets that are written in the file itself.
    inline: Cell<usize>,
}

/// The file whose secrets are resolved.
pub(super) enum SecretScope {
    /// The main configuration file.
    Main,
    /// A file of callers, which may hold secrets if only its owner can read it.
    CallersFile,
    /// A file of callers that belongs to a team. It may refer only to files of this directory.
    TeamFile(ConfinedDirectory),
}

/// Policy for secret files that other users can read.
#[derive(Clone, Copy)]
pub(super) enum FileModePolicy {
    /// Report a warning: Kubernetes mounts secrets with such modes.
    Warn,
    /// Report an error.
    Refuse,
}

/// Reads the sources that the file defines, in the order of the file. An invalid source is listed
/// without a provider, so that a reference to it is not reported as a second error.
pub(super) fn read(
    root: &ConfigSection<'_>,
    secrets: &SecretResolver<'_>,
    report: &mut ConfigReport,
) -> Vec<DescribedSource> {
    let all = root.child("credentials", report);
    let mut described = Vec::new();
    for name in all.names() {
        let section = all.child(name, report);
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || !name.chars().all(fits) {
            report.error(&section.here(), ConfigErrorKind::CredentialsName(name.to_owned()));
        }
        let spec = if section.exists() { secrets.spec(&section, report) } else { None };
        described.push(DescribedSource { name: name.to_owned(), spec });
    }
    check_needs(&described, root, report);
    described
}

impl<'a> SecretResolver<'a> {
    pub(super) fn new(env: &'a dyn SourceEnv, modes: FileModePolicy) -> Self {
        Self::scoped(env, modes, SecretScope::Main)
    }

    /// Creates a resolver for another file than the main one.
    pub(super) fn scoped(env: &'a dyn SourceEnv, modes: FileModePolicy, scope: SecretScope) -> Self {
        Self { env, modes, scope, files: RefCell::default(), inline: Cell::default() }
    }

    /// Returns whether a secret was written in the file itself.
    pub(super) fn has_inline(&self) -> bool {
        self.inline.get() > 0
    }

    /// Reports how many secrets in the file itself were not reported one by one.
    pub(super) fn warn_of_more_inline(&self, root: &ConfigSection<'_>, report: &mut ConfigReport) {
        let more = self.inline.get().saturating_sub(INLINE_WARNINGS_MAX);
        if more > 0 {
            report.warn(&root.here(), &ConfigWarning::MoreInline(more));
        }
    }

    /// Returns the files that were read, with the digests of their contents.
    pub(super) fn into_files(self) -> Vec<FileDigest> {
        self.files.into_inner()
    }

    fn spec(&self, section: &ConfigSection<'_>, report: &mut ConfigReport) -> Option<ProviderSpec> {
        if !section.has("type") {
            let problem =
                ConfigErrorKind::Missing("write type = \"chain\", or another type of docs/credentials.md");
            report.error(&section.at("type"), problem);
            return None;
        }
        let ProviderSchema { provider_type, schema, .. } = section.parsed("type", kind, report)?.value;
        section.check(schema, report);
        match provider_type {
            ProviderType::Static => self.fixed(section, report),
            ProviderType::File => self.put_down(section, report),
            ProviderType::Chain => Some(ProviderSpec::new(roles::chain(section, self.is_strict(), report))),
            ProviderType::AssumeRole => roles::assume_role(section, report),
            ProviderType::Oidc => Some(ProviderSpec::new(roles::oidc(section, report))),
            ProviderType::Ecs => Some(ProviderSpec::new(instance(section, report))),
            ProviderType::Uri => uri(section, self.is_strict(), report).map(ProviderSpec::new),
            ProviderType::Env => Some(ProviderSpec::new(roles::wanted(section, report))),
            ProviderType::Process => {
                for given in section.texts("environment", report) {
                    if self.env.is_not_text(&given.value) {
                        report.error(&given.at, ConfigErrorKind::VariableNotText(given.value));
                    }
                }
                program(section, report).map(ProviderSpec::new)
            }
            ProviderType::Profile => Some(self.tool(CliFile, section, report)),
            ProviderType::Ini => Some(self.tool(SharedFile, section, report)),
            ProviderType::Ossutil => Some(self.tool(OssutilFile, section, report)),
            ProviderType::Anonymous => Some(ProviderSpec::Anonymous),
        }
    }

    /// Returns whether secret files that other users can read are rejected.
    pub(super) fn is_strict(&self) -> bool {
        matches!(self.modes, FileModePolicy::Refuse)
    }

    /// Reads the location of another tool's configuration file.
    fn tool<F>(&self, format: F, section: &ConfigSection<'_>, report: &mut ConfigReport) -> ProviderSpec
    where
        ToolFileConfig<F>: ComparableConfig,
    {
        let text = |key: &str, report: &mut ConfigReport| {
            section.text(key, report).map(|given| given.value).filter(|text| !text.is_empty())
        };
        let file = ExternalFileConfig {
            path: text("path", report).map(PathBuf::from),
            profile: text("profile", report),
            allow_process: section.truth("allow_process", report).is_some_and(|given| given.value),
            strict: self.is_strict(),
            sts_endpoint: roles::sts_endpoint(section, report),
        };
        ProviderSpec::new(ToolFileConfig { format, file })
    }

    /// Reads a source whose file another program writes. The file may still be missing.
    fn put_down(&self, section: &ConfigSection<'_>, report: &mut ConfigReport) -> Option<ProviderSpec> {
        let path = section.text("path", report).filter(|path| !path.value.is_empty());
        let Some(path) = path else {
            let problem = ConfigErrorKind::Missing(
                "set path to a JSON file with an access key, or to a directory with one file per part",
            );
            report.error(&section.at("path"), problem);
            return None;
        };
        let path = PathBuf::from(path.value);
        Some(ProviderSpec::new(CredentialFileConfig { path, strict: self.is_strict() }))
    }

    fn fixed(&self, section: &ConfigSection<'_>, report: &mut ConfigReport) -> Option<ProviderSpec> {
        for key in ["access_key_id", "access_key_secret"] {
            if !section.has(key) {
                let problem = ConfigErrorKind::Missing("write file:PATH, env:NAME or credential:NAME");
                report.error(&section.at(key), problem);
            }
        }
        let id = section.text("access_key_id", report);
        let id = id.and_then(|given| self.resolve(&given, report));
        let secret = self.confidential(section, "access_key_secret", report);
        let token = self.confidential(section, "security_token", report);
        let id = id?;
        let secret = secret?;
        if let Err(invalid) = check_key(id.expose(), secret.expose(), token.as_ref().map(Secret::expose)) {
            report.error(&section.here(), invalid.into());
            return None;
        }
        Some(ProviderSpec::new(StaticKeyConfig { id, secret, token }))
    }

    /// Reads a secret. A value that is written in the file itself causes a warning.
    pub(super) fn confidential(
        &self,
        section: &ConfigSection<'_>,
        key: &str,
        report: &mut ConfigReport,
    ) -> Option<Secret> {
        let given = section.text(key, report)?;
        self.given_secret(&given, report)
    }

    /// Reads the secret that a value refers to. A value that is the secret itself causes a warning.
    pub(super) fn given_secret(
        &self,
        given: &SpannedValue<String>,
        report: &mut ConfigReport,
    ) -> Option<Secret> {
        if matches!(SecretReference::parse(&given.value), SecretReference::Inline(_)) {
            let count = self.inline.get() + 1;
            self.inline.set(count);
            if matches!(self.scope, SecretScope::Main) && count <= INLINE_WARNINGS_MAX {
                report.warn(&given.at, &ConfigWarning::Inline);
            }
        }
        self.resolve(given, report)
    }

    /// Reads a secret that must not be in the file itself.
    pub(super) fn referenced(
        &self,
        given: &SpannedValue<String>,
        report: &mut ConfigReport,
    ) -> Option<Secret> {
        if matches!(SecretReference::parse(&given.value), SecretReference::Inline(_)) {
            report.error(&given.at, ConfigErrorKind::InlineMaster);
            return None;
        }
        self.resolve(given, report)
    }

    pub(super) fn is_confined(&self) -> bool {
        matches!(self.scope, SecretScope::TeamFile(_))
    }

    fn resolve(&self, given: &SpannedValue<String>, report: &mut ConfigReport) -> Option<Secret> {
        let result = match SecretReference::parse(&given.value) {
            SecretReference::Inline(text) => Ok(Secret::from(text)),
            SecretReference::Sealed => Err(ConfigErrorKind::MisplacedSeal),
            SecretReference::Variable("") | SecretReference::File("") | SecretReference::Systemd("") => {
                Err(ConfigErrorKind::EmptyReference)
            }
            // A variable or a credential may hold a secret of the proxy or of another team.
            // guard: team-reference
            SecretReference::Variable(_) | SecretReference::Systemd(_) if self.is_confined() => {
                Err(ConfigErrorKind::TeamReference)
            }
            SecretReference::Variable(name) => {
                let value = self.env.variable(name).map(Secret::new);
                value.ok_or_else(|| self.no_variable(name))
            }
            SecretReference::File(path) => self.file(Path::new(path), given, report),
            SecretReference::Systemd(name) => {
                self.systemd(name).and_then(|path| self.file(&path, given, report))
            }
        };
        match result {
            Ok(secret) => Some(secret),
            Err(problem) => {
                report.error(&given.at, problem);
                None
            }
        }
    }

    /// Returns the error for a variable that is missing or not UTF-8.
    fn no_variable(&self, name: &str) -> ConfigErrorKind {
        let problem = if self.env.is_not_text(name) {
            ConfigErrorKind::VariableNotText
        } else {
            ConfigErrorKind::NoVariable
        };
        problem(name.to_owned())
    }

    /// Reads a file that holds one secret, without the line break at its end. `given` is the
    /// reference to it.
    pub(super) fn file(
        &self,
        path: &Path,
        given: &SpannedValue<String>,
        report: &mut ConfigReport,
    ) -> Result<Secret, ConfigErrorKind> {
        let name = path.display().to_string();
        let file = match self.read(path) {
            Ok(file) => file,
            Err(error) => {
                self.files.borrow_mut().push(FileDigest::of_unread(path, &error));
                return Err(ConfigErrorKind::SecretFile(name, error.to_string()));
            }
        };
        let text = file.text.expose();
        let digest = ContentDigest::new(text.as_bytes());
        self.files.borrow_mut().push(FileDigest { path: path.to_owned(), digest });
        let line = text.strip_suffix('\n').unwrap_or(text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            return Err(ConfigErrorKind::EmptySecret(name));
        }
        match (file.is_exposed, self.modes) {
            (true, FileModePolicy::Refuse) => return Err(ConfigErrorKind::ExposedSecret(name)),
            (true, FileModePolicy::Warn) => report.warn(&given.at, &ConfigWarning::Exposed(name)),
            (false, _) => {}
        }
        Ok(Secret::from(line))
    }

    /// Reads a file without secrets. Other users may read it.
    pub(super) fn public_file(&self, path: &Path) -> io::Result<String> {
        let file = self.read(path).inspect_err(|error| {
            self.files.borrow_mut().push(FileDigest::of_unread(path, error));
        })?;
        let text = file.text.expose().to_owned();
        let digest = ContentDigest::new(text.as_bytes());
        self.files.borrow_mut().push(FileDigest { path: path.to_owned(), digest });
        Ok(text)
    }

    fn read(&self, path: &Path) -> io::Result<SecretText> {
        match &self.scope {
            SecretScope::Main | SecretScope::CallersFile => self.env.read_secret(path),
            SecretScope::TeamFile(directory) => directory.read(path, TEAM_SECRET_MAX, self.env),
        }
    }

    /// Returns the path of a credential that systemd provides to the unit.
    fn systemd(&self, name: &str) -> Result<PathBuf, ConfigErrorKind> {
        if name.contains('/') || name == "." || name == ".." {
            return Err(ConfigErrorKind::CredentialName(name.to_owned()));
        }
        let directory = self.env.variable("CREDENTIALS_DIRECTORY");
        let directory = directory.ok_or(ConfigErrorKind::NoCredentialsDirectory)?;
        Ok(Path::new(&directory).join(name))
    }
}

/// Reads the settings of the metadata service.
fn instance(section: &ConfigSection<'_>, report: &mut ConfigReport) -> EcsConfig {
    let endpoint = section.parsed("endpoint", |text| Url::parse(text).map_err(ConfigErrorKind::Url), report);
    let role = section.text("role_name", report).map(|given| given.value);
    EcsConfig {
        role_name: role.filter(|name| !name.is_empty()),
        endpoint: endpoint.map(|given| given.value),
        imds_v1: section.is_true("imds_v1", report),
        by_name: true,
    }
}

/// Reads a command that prints credentials.
fn program(section: &ConfigSection<'_>, report: &mut ConfigReport) -> Option<ProcessConfig> {
    let words = |key: &str, report: &mut ConfigReport| -> Vec<String> {
        section.texts(key, report).into_iter().map(|given| given.value).collect()
    };
    let before = report.count();
    let command = words("command", report);
    if report.count() > before {
        return None;
    }
    if command.first().is_none_or(String::is_empty) {
        let problem = ConfigErrorKind::Missing(
            "write command = [\"/path/to/program\", \"argument\"]; it is run without a shell",
        );
        report.error(&section.at("command"), problem);
        return None;
    }
    Some(ProcessConfig {
        command,
        environment: words("environment", report),
        cache: section.parsed_or_default("cache", duration::positive, report).value,
    })
}

/// Reads a service that returns credentials over HTTP.
fn uri(section: &ConfigSection<'_>, strict: bool, report: &mut ConfigReport) -> Option<UriConfig> {
    if !section.has("url") {
        let problem = ConfigErrorKind::Missing("write https://HOST/PATH, or http:// to a loopback address");
        report.error(&section.at("url"), problem);
    }
    let mut allowed: Vec<IpAddr> = Vec::new();
    for given in section.texts("allowed_addresses", report) {
        match given.value.parse() {
            Ok(address) => allowed.push(address),
            Err(_) => report.error(&given.at, ConfigErrorKind::ListedAddress(given.value)),
        }
    }
    let url = |text: &str| {
        Url::parse_among(text, &allowed).map_err(|error| match error {
            InvalidUrl::Plain => ConfigErrorKind::UnlistedUrl(error),
            InvalidUrl::Form | InvalidUrl::UserInfo => ConfigErrorKind::Url(error),
        })
    };
    let url = section.parsed("url", url, report);
    let identity = RequestIdentityConfig {
        authorization: authorization_file(section, report),
        key_pair: key_pair(section, strict, report),
    };
    let url = url?;
    if identity.key_pair.is_some() && !url.value.is_encrypted() {
        report.error(&section.at("client_cert_file"), ConfigErrorKind::PlainClientCertificate);
    }
    Some(UriConfig { url: Some(url.value), identity })
}

/// Reads the file of the `Authorization` header.
fn authorization_file(section: &ConfigSection<'_>, report: &mut ConfigReport) -> Option<AuthorizationFile> {
    let value = section.text("authorization_file", report);
    let token = section.text("bearer_token_file", report);
    match (value, token) {
        (Some(_), Some(token)) => {
            report.error(&token.at, ConfigErrorKind::TwoAuthorizations);
            None
        }
        (Some(value), None) => Some(AuthorizationFile::Value(value.value.into())),
        (None, Some(token)) => Some(AuthorizationFile::BearerToken(token.value.into())),
        (None, None) => None,
    }
}

/// Reads the files of a client certificate.
fn key_pair(section: &ConfigSection<'_>, strict: bool, report: &mut ConfigReport) -> Option<KeyPairFiles> {
    let certificate = section.text("client_cert_file", report);
    let key = section.text("client_key_file", report);
    for (name, other, missing) in [
        (
            "client_cert_file",
            "client_key_file",
            "set client_cert_file to a PEM file with the certificate of the key",
        ),
        (
            "client_key_file",
            "client_cert_file",
            "set client_key_file to a PEM file with the key of the certificate",
        ),
    ] {
        if section.has(other) && !section.has(name) {
            report.error(&section.at(name), ConfigErrorKind::Missing(missing));
        }
    }
    Some(KeyPairFiles { cert_file: certificate?.value.into(), key_file: key?.value.into(), strict })
}

fn kind(text: &str) -> Result<ProviderSchema, ConfigErrorKind> {
    provider(text).ok_or_else(|| {
        if LATER_TYPES.contains(&text) {
            ConfigErrorKind::LaterType(text.to_owned(), listed_types())
        } else {
            ConfigErrorKind::UnknownType(text.to_owned(), listed_types())
        }
    })
}

/// The number of secrets in the file itself that are reported one by one.
const INLINE_WARNINGS_MAX: usize = 20;
/// The maximum size of a secret file of a team, in bytes.
const TEAM_SECRET_MAX: usize = 64 << 10;

/// A secret in the file, or a reference to one.
enum SecretReference<'a> {
    Inline(&'a str),
    Variable(&'a str),
    File(&'a str),
    Systemd(&'a str),
    Sealed,
}

impl<'a> SecretReference<'a> {
    fn parse(text: &'a str) -> Self {
        match text.split_once(':') {
            Some(("env", name)) => Self::Variable(name),
            Some(("file", path)) => Self::File(path),
            Some(("credential", name)) => Self::Systemd(name),
            _ if SealedPlace::is_sealed(text) => Self::Sealed,
            _ => Self::Inline(text),
        }
    }
}
