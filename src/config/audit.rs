//! `[audit]`: the destination of the audit log, and what it shows.

use std::path::PathBuf;

use super::credentials::SecretResolver;
use super::diagnostics::ConfigReport;
use super::error::ConfigErrorKind;
use super::section::ConfigSection;
use super::settings::AUDIT;
use crate::telemetry::{AuditFailureMode, AuditFormat, AuditSettings, AuditSinkAddress, KeyVisibility};

/// The values of `keys`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KeysWord {
    Plain,
    Prefix,
    Hash,
    None,
}

/// Reads the section. Without a sink there is no audit log.
pub(super) fn read(
    section: &ConfigSection<'_>,
    secrets: &SecretResolver<'_>,
    report: &mut ConfigReport,
) -> Option<AuditSettings> {
    section.check(&AUDIT, report);
    let sink = section.parsed("sink", sink, report);
    let formats = [("json", AuditFormat::Json), ("ocsf", AuditFormat::Ocsf)];
    let format = section.word_or_default("format", &formats, report).value;
    let words = [
        ("plain", KeysWord::Plain),
        ("prefix", KeysWord::Prefix),
        ("hash", KeysWord::Hash),
        ("none", KeysWord::None),
    ];
    let keys = section.word_or_default("keys", &words, report).value;
    let modes = [("block", AuditFailureMode::Block), ("drop", AuditFailureMode::Drop)];
    let on_failure = section.word_or_default("on_failure", &modes, report).value;
    let hash_key = section.text("hash_key", report);
    let keys = match (keys, hash_key) {
        (KeysWord::Hash, Some(given)) => {
            let secret = secrets.given_secret(&given, report)?;
            if secret.expose().len() < HASH_KEY_MIN {
                report.error(&given.at, ConfigErrorKind::AuditHashKey);
            }
            KeyVisibility::hashed_with(secret.expose())
        }
        (KeysWord::Hash, None) => {
            let problem =
                ConfigErrorKind::Missing("write hash_key = \"env:NAME\"; openssl rand -hex 32 prints one");
            report.error(&section.at("hash_key"), problem);
            return None;
        }
        (KeysWord::Plain, _) => KeyVisibility::Plain,
        (KeysWord::Prefix, _) => KeyVisibility::Prefix,
        (KeysWord::None, _) => KeyVisibility::Hidden,
    };
    match sink {
        Some(sink) => Some(AuditSettings { sink: sink.value, format, keys, on_failure }),
        None if section.exists() && !section.has("sink") => {
            let problem = ConfigErrorKind::Missing("write sink = \"file:PATH\", or remove [audit]");
            report.error(&section.at("sink"), problem);
            None
        }
        None => None,
    }
}

fn sink(text: &str) -> Result<AuditSinkAddress, ConfigErrorKind> {
    let invalid = || ConfigErrorKind::AuditSink(text.to_owned());
    let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
    match (kind, rest) {
        ("stdout", "") if !text.contains(':') => Ok(AuditSinkAddress::Stdout),
        ("syslog", "") if !text.contains(':') => Ok(AuditSinkAddress::Syslog(SYSLOG_SOCKET.into())),
        ("file" | "unix" | "syslog" | "tcp", "") => Err(invalid()),
        ("file", path) => Ok(AuditSinkAddress::File(PathBuf::from(path))),
        ("unix", path) => Ok(AuditSinkAddress::Unix(PathBuf::from(path))),
        ("syslog", path) => Ok(AuditSinkAddress::Syslog(PathBuf::from(path))),
        ("tcp", address) => {
            let port = address.rsplit_once(':').and_then(|(host, port)| (!host.is_empty()).then_some(port));
            match port.map(str::parse::<u16>) {
                Some(Ok(_)) => Ok(AuditSinkAddress::Tcp(address.to_owned())),
                Some(Err(_)) | None => Err(invalid()),
            }
        }
        _ => Err(invalid()),
    }
}

/// The socket of the local syslog service.
const SYSLOG_SOCKET: &str = "/dev/log";
/// The minimum length of the key of hashes in bytes. A shorter one could be guessed.
const HASH_KEY_MIN: usize = 32;
