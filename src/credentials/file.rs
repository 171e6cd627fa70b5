//! `file`: credentials that another program writes and renews. The path is a JSON file, or a
//! directory with a file for each value, as a Kubernetes Secret is mounted. It is reread when it
//! changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::provider_config::ProviderConfig;
use super::secret_file::{FileFingerprint, SecretFileError, SecretFileReader, state};
use super::{CredentialServices, Credentials, Provide, ProvideError, ProvideFuture, SourceEnv, validate};
use crate::offload::{BlockingLane, FILE_LIMIT};
use crate::secret::Secret;
use crate::time::Timestamp;

/// The file or directory to read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CredentialFileConfig {
    /// The path.
    pub(crate) path: PathBuf,
    /// If set, a file that other users can read is rejected.
    pub(crate) strict: bool,
}

impl ProviderConfig for CredentialFileConfig {
    fn build(&self, _services: &Arc<CredentialServices>) -> Box<dyn Provide> {
        Box::new(FileProvider {
            file: Arc::new(CredentialFile::new(self.path.clone(), self.strict)),
            lane: BlockingLane::default(),
        })
    }
}

/// A provider that reads a file or a directory.
struct FileProvider {
    file: Arc<CredentialFile>,
    lane: BlockingLane,
}

/// A credential file, or a directory with a file for each value.
struct CredentialFile {
    path: PathBuf,
    guarded: SecretFileReader,
}

/// Reasons why there are no credentials. All are temporary, because another program owns the file.
#[derive(Debug, thiserror::Error)]
enum CredentialFileError {
    #[error(transparent)]
    Unreadable(#[from] SecretFileError),
    #[error(
        "{0} is not valid JSON (line {1}, column {2}); expected an object with AccessKeyId and AccessKeySecret"
    )]
    NoJson(String, usize, usize),
    #[error("{0} is not a JSON object")]
    NoObject(String),
    #[error("{0}: {1} is missing or not a string")]
    Missing(String, &'static str),
    #[error("{0}: {1} and {2} have different values; remove one of them")]
    Ambiguous(String, &'static str, &'static str),
    #[error("invalid expiration in {0}; expected a time such as 2026-01-31T12:00:00Z")]
    Expiration(String),
    #[error("{0} kept changing while it was read")]
    Restless(String),
    #[error("{0}: {1}")]
    InvalidAccessKey(String, validate::InvalidAccessKey),
}

/// The values as written.
struct FileValues {
    id: Zeroizing<String>,
    secret: Zeroizing<String>,
    token: Option<Zeroizing<String>>,
    expiration: Option<Zeroizing<String>>,
}

/// The two spellings of the name of a value.
#[derive(Clone, Copy)]
struct ValueName {
    camel: &'static str,
    snake: &'static str,
}

impl FileProvider {
    async fn read(&self) -> Result<Credentials, ProvideError> {
        let file = Arc::clone(&self.file);
        let read = self.lane.run(FILE_LIMIT, move || file.read()).await;
        let read = read.map_err(|timeout| format!("{}: {timeout}", self.file.name()));
        read.and_then(|read| read.map_err(|why| why.to_string())).map_err(ProvideError::Unavailable)
    }
}

impl CredentialFile {
    fn new(path: PathBuf, strict: bool) -> Self {
        Self { path, guarded: SecretFileReader::new(strict) }
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Reads all values from one consistent state of the file or directory.
    fn read(&self) -> Result<Credentials, CredentialFileError> {
        for _ in 0..TRIES {
            let before = self.state();
            let read = self.read_once();
            if before == self.state() {
                return read;
            }
        }
        Err(CredentialFileError::Restless(self.name()))
    }

    fn read_once(&self) -> Result<Credentials, CredentialFileError> {
        let values = if self.path.is_dir() { self.directory() } else { self.json() }?;
        let expires = values.expiration.map(|text| {
            Timestamp::parse_rfc3339(&text).ok_or_else(|| CredentialFileError::Expiration(self.name()))
        });
        let token = values.token.as_deref().map(String::as_str).filter(|token| !token.is_empty());
        let invalid = |invalid| CredentialFileError::InvalidAccessKey(self.name(), invalid);
        validate::check(&values.id, &values.secret, token).map_err(invalid)?;
        Ok(Credentials {
            id: values.id.to_string(),
            secret: Secret::from(values.secret.as_str()),
            token: token.map(Secret::from),
            expires: expires.transpose()?,
            provider: "file".into(),
        })
    }

    fn json(&self) -> Result<FileValues, CredentialFileError> {
        let text = self.text(&self.path)?;
        let bad =
            |error: serde_json::Error| CredentialFileError::NoJson(self.name(), error.line(), error.column());
        let document: Value = serde_json::from_str(&text).map_err(bad)?;
        let object = document.as_object().ok_or_else(|| CredentialFileError::NoObject(self.name()))?;
        let [id, secret, token, expiration] = NAMES.map(|names| self.value(object, names));
        let missing = |name| CredentialFileError::Missing(self.name(), name);
        Ok(FileValues {
            id: id?.ok_or_else(|| missing(NAMES[0].snake))?,
            secret: secret?.ok_or_else(|| missing(NAMES[1].snake))?,
            token: token?,
            expiration: expiration?,
        })
    }

    /// Returns the value under either of its names.
    fn value(
        &self,
        object: &Map<String, Value>,
        name: ValueName,
    ) -> Result<Option<Zeroizing<String>>, CredentialFileError> {
        let one = |name: &'static str| match object.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(Zeroizing::new(text.clone()))),
            Some(_) => Err(CredentialFileError::Missing(self.name(), name)),
        };
        match (one(name.camel)?, one(name.snake)?) {
            (Some(a), Some(b)) if a != b => {
                Err(CredentialFileError::Ambiguous(self.name(), name.camel, name.snake))
            }
            (a, b) => Ok(a.or(b)),
        }
    }

    fn directory(&self) -> Result<FileValues, CredentialFileError> {
        let optional = |name: &str| match self.text(&self.path.join(name)) {
            Err(CredentialFileError::Unreadable(why)) if why.is_absent() => Ok(None),
            read => read.map(Some),
        };
        Ok(FileValues {
            id: self.text(&self.path.join(FILES[0]))?,
            secret: self.text(&self.path.join(FILES[1]))?,
            token: optional(FILES[2])?,
            expiration: optional(FILES[3])?,
        })
    }

    /// Returns the content of a file, without the line break at its end.
    fn text(&self, path: &Path) -> Result<Zeroizing<String>, CredentialFileError> {
        let mut text = self.guarded.read(path)?;
        let end =
            text.strip_suffix('\n').map_or(text.len(), |text| text.strip_suffix('\r').unwrap_or(text).len());
        text.truncate(end);
        Ok(text)
    }

    /// Returns the fingerprints that distinguish one state from another.
    fn state(&self) -> Vec<FileFingerprint> {
        self.paths().map(|path| state(&path)).collect()
    }

    /// Returns the path itself, and those of the values if it is a directory.
    fn paths(&self) -> impl Iterator<Item = PathBuf> {
        let values = FILES.iter().map(|name| self.path.join(name));
        std::iter::once(self.path.clone()).chain(values)
    }
}

impl Provide for FileProvider {
    fn provide<'a>(&'a self, _edge: &'a dyn SourceEnv) -> ProvideFuture<'a> {
        Box::pin(self.read())
    }

    fn files(&self, _edge: &dyn SourceEnv) -> Vec<PathBuf> {
        self.file.paths().collect()
    }
}

/// The names in JSON; both spellings are in use.
const NAMES: [ValueName; 4] = [
    ValueName { camel: "AccessKeyId", snake: "access_key_id" },
    ValueName { camel: "AccessKeySecret", snake: "access_key_secret" },
    ValueName { camel: "SecurityToken", snake: "security_token" },
    ValueName { camel: "Expiration", snake: "expiration" },
];
/// The file names in a directory.
const FILES: [&str; 4] = ["access_key_id", "access_key_secret", "security_token", "expiration"];
/// Attempts to read a consistent state. A directory that is replaced during a read is read again.
const TRIES: usize = 3;

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
