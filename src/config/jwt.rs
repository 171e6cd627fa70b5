//! `jwt` of `[[caller]]`: the JSON Web Tokens that identify a caller, and the keys of their issuers.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::caller_schema::CALLER_JWT;
use super::credentials::SecretResolver;
use super::diagnostics::ConfigReport;
use super::error::ConfigErrorKind;
use super::origin::ValueOrigin;
use super::section::ConfigSection;
use crate::caller::{JwtKeyOrigin, JwtKeySet, JwtSettings, SubjectPattern};
use crate::jwks::KeySetConfig;
use crate::transport::{InvalidUrl, Url};

/// Reads the tokens of callers, and compares each with those before it.
pub(super) struct JwtReader<'a> {
    secrets: &'a SecretResolver<'a>,
    identities: HashMap<JwtIdentity, ValueOrigin>,
    /// The keys of each issuer, with the origin of the first section that names it.
    issuers: HashMap<String, DescribedIssuer>,
}

/// The claims that identify a caller.
#[derive(PartialEq, Eq, Hash)]
struct JwtIdentity {
    issuer: String,
    audience: String,
    subject: SubjectPattern,
}

/// An issuer as described by the first caller with its tokens.
struct DescribedIssuer {
    location: KeyLocation,
    keys: JwtKeyOrigin,
    at: ValueOrigin,
}

/// Where the keys of an issuer are.
#[derive(Clone, PartialEq, Eq)]
enum KeyLocation {
    File(PathBuf),
    Url(KeySetConfig),
}

impl<'a> JwtReader<'a> {
    pub(super) fn new(secrets: &'a SecretResolver<'a>) -> Self {
        Self { secrets, identities: HashMap::new(), issuers: HashMap::new() }
    }

    /// Reads the tokens of a caller, if it has any.
    pub(super) fn read(
        &mut self,
        caller: &ConfigSection<'_>,
        report: &mut ConfigReport,
    ) -> Option<JwtSettings> {
        let section = caller.child("jwt", report);
        if !section.exists() {
            return None;
        }
        section.check(&CALLER_JWT, report);
        let issuer = required(&section, "issuer", NO_ISSUER, report);
        let audience = required(&section, "audience", NO_AUDIENCE, report);
        let subject = required(&section, "subject", NO_SUBJECT, report);
        let subject = subject.and_then(|text| match SubjectPattern::parse(&text) {
            Ok(pattern) => Some(pattern),
            Err(invalid) => {
                report.error(&section.at("subject"), invalid.into());
                None
            }
        });
        let location = location(&section, issuer.as_deref().unwrap_or_default(), self.secrets, report);
        let issuer = issuer?;
        let keys = self.keys(&issuer, location?, &section, report)?;
        let identity = JwtIdentity { issuer, audience: audience?, subject: subject? };
        let JwtIdentity { issuer, audience, subject } = &identity;
        let settings = JwtSettings {
            issuer: issuer.clone(),
            audience: audience.clone(),
            subject: subject.clone(),
            keys,
        };
        match self.identities.get(&identity) {
            Some(other) => report.error(&section.here(), ConfigErrorKind::JwtInUse(other.to_string())),
            None => drop(self.identities.insert(identity, section.here())),
        }
        Some(settings)
    }

    /// Returns where the keys are that must be fetched.
    pub(super) fn into_key_sets(self) -> Vec<KeySetConfig> {
        let url = |issuer: DescribedIssuer| match issuer.location {
            KeyLocation::Url(config) => Some(config),
            KeyLocation::File(_) => None,
        };
        let mut all: Vec<KeySetConfig> = self.issuers.into_values().filter_map(url).collect();
        all.sort_by(|one, other| one.issuer.cmp(&other.issuer));
        all
    }

    /// Returns the keys of an issuer. A file is read once for all callers.
    fn keys(
        &mut self,
        issuer: &str,
        location: KeyLocation,
        section: &ConfigSection<'_>,
        report: &mut ConfigReport,
    ) -> Option<JwtKeyOrigin> {
        if let Some(known) = self.issuers.get(issuer) {
            // guard: one-key-set-of-an-issuer
            if known.location != location {
                report.error(&section.here(), ConfigErrorKind::OtherIssuerKeys(known.at.to_string()));
            }
            return Some(known.keys.clone());
        }
        let keys = match &location {
            KeyLocation::Url(_) => JwtKeyOrigin::Fetched,
            KeyLocation::File(path) => {
                let unusable =
                    |reason: String| ConfigErrorKind::KeySetFile(path.display().to_string(), reason);
                let text = self.secrets.public_file(path).map_err(|error| unusable(error.to_string()));
                let keys = text.and_then(|text| {
                    JwtKeySet::parse(text.as_bytes()).map_err(|invalid| unusable(invalid.to_string()))
                });
                match keys {
                    Ok(keys) => JwtKeyOrigin::Fixed(Arc::new(keys)),
                    Err(problem) => {
                        report.error(&section.at("jwks_file"), problem);
                        return None;
                    }
                }
            }
        };
        let at = section.here();
        self.issuers.insert(issuer.to_owned(), DescribedIssuer { location, keys: keys.clone(), at });
        Some(keys)
    }
}

/// Reads a text that must be set.
fn required(
    section: &ConfigSection<'_>,
    key: &str,
    missing: &'static str,
    report: &mut ConfigReport,
) -> Option<String> {
    if !section.has(key) {
        report.error(&section.at(key), ConfigErrorKind::Missing(missing));
        return None;
    }
    let claim = |text: &str| {
        let fits = !text.is_empty() && !text.chars().any(char::is_control);
        if fits { Ok(text.to_owned()) } else { Err(ConfigErrorKind::Claim) }
    };
    section.parsed(key, claim, report).map(|given| given.value)
}

/// Reads where the keys are: in a file, or at a URL.
fn location(
    section: &ConfigSection<'_>,
    issuer: &str,
    secrets: &SecretResolver<'_>,
    report: &mut ConfigReport,
) -> Option<KeyLocation> {
    let file = section.text("jwks_file", report);
    let url = section.parsed("jwks_url", key_set_url, report);
    let readable = |text: &str| {
        let unreadable = |error: std::io::Error| ConfigErrorKind::CaFile(text.to_owned(), error.to_string());
        secrets.env.check_readable(Path::new(text)).map(|()| PathBuf::from(text)).map_err(unreadable)
    };
    let ca_file = section.parsed("jwks_ca_file", readable, report);
    let token_file = section.text("jwks_token_file", report);
    match (section.has("jwks_file"), section.has("jwks_url")) {
        (true, false) => {
            for key in ["jwks_ca_file", "jwks_token_file"] {
                if section.has(key) {
                    report.error(&section.at(key), ConfigErrorKind::WithoutKeySetUrl);
                }
            }
            file.map(|given| KeyLocation::File(PathBuf::from(given.value)))
        }
        (false, true) => Some(KeyLocation::Url(KeySetConfig {
            issuer: issuer.to_owned(),
            url: url?.value,
            ca_file: ca_file.map(|given| given.value),
            token_file: token_file.map(|given| PathBuf::from(given.value)),
        })),
        (true, true) | (false, false) => {
            report.error(&section.here(), ConfigErrorKind::KeySetLocation);
            None
        }
    }
}

/// Parses the URL of a JWK set. Whoever can change the response can make tokens, so it is encrypted
/// unless it comes from this machine.
fn key_set_url(text: &str) -> Result<Url, ConfigErrorKind> {
    let url = Url::parse(text).map_err(|error| match error {
        InvalidUrl::Plain => ConfigErrorKind::PlainKeySetUrl,
        InvalidUrl::Form | InvalidUrl::UserInfo => ConfigErrorKind::Url(error),
    })?;
    // guard: encrypted-key-set
    if url.is_encrypted() || url.is_of_this_machine() {
        Ok(url)
    } else {
        Err(ConfigErrorKind::PlainKeySetUrl)
    }
}

const NO_ISSUER: &str = "write issuer = \"https://ISSUER\", as in the iss claim of the tokens";
const NO_AUDIENCE: &str =
    "write audience = \"NAME\", as in the aud claim of the tokens, such as \"oss-signing-proxy\"";
const NO_SUBJECT: &str = "write subject = \"SUBJECT\", as in the sub claim of the tokens, such as \"system:serviceaccount:team-a:*\"";
