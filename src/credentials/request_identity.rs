//! The identity of a request for credentials: its files are read for each request, because other
//! programs replace them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::HeaderValue;
use zeroize::Zeroizing;

use super::secret_file::{SecretFileError, SecretFileReader};
use super::{ProvideError, SecretText};
use crate::offload::{BlockingLane, FILE_LIMIT};
use crate::transport::{ClientKeyPair, InvalidKeyPair};

/// The files that identify a client of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct RequestIdentityConfig {
    /// The file for the `Authorization` header.
    pub(crate) authorization: Option<AuthorizationFile>,
    /// The certificate of the client.
    pub(crate) key_pair: Option<KeyPairFiles>,
}

/// A file for the `Authorization` header.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum AuthorizationFile {
    /// The content is the value of the header.
    Value(PathBuf),
    /// The content is a bearer token, as Kubernetes writes it.
    BearerToken(PathBuf),
}

/// The files of a client certificate, in PEM.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KeyPairFiles {
    /// The certificate, followed by its intermediates.
    pub(crate) cert_file: PathBuf,
    /// The private key.
    pub(crate) key_file: PathBuf,
    /// If set, a key that other users can read is rejected.
    pub(crate) strict: bool,
}

/// A reader of the files.
pub(super) struct IdentityReader {
    config: RequestIdentityConfig,
    keys: Arc<SecretFileReader>,
    lane: BlockingLane,
}

/// The reason why a certificate cannot be read.
#[derive(Debug, thiserror::Error)]
enum KeyPairError {
    #[error(transparent)]
    File(#[from] SecretFileError),
    #[error(transparent)]
    Invalid(#[from] InvalidKeyPair),
}

impl IdentityReader {
    pub(super) fn new(config: RequestIdentityConfig) -> Self {
        let strict = config.key_pair.as_ref().is_some_and(|files| files.strict);
        Self { config, keys: Arc::new(SecretFileReader::new(strict)), lane: BlockingLane::default() }
    }

    /// Returns the paths of the files.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let RequestIdentityConfig { authorization, key_pair } = &self.config;
        let authorization = authorization.iter().map(AuthorizationFile::path);
        let pair = key_pair.iter().flat_map(|files| [&*files.cert_file, &*files.key_file]);
        authorization.chain(pair).map(Path::to_owned).collect()
    }

    /// Reads the current value of the `Authorization` header.
    pub(super) async fn authorization(&self) -> Result<Option<HeaderValue>, ProvideError> {
        let Some(file) = self.config.authorization.clone() else { return Ok(None) };
        let shown = file.shown();
        let unusable = |why: String| ProvideError::Unavailable(format!("{shown} {why}"));
        let path = file.path().to_owned();
        let text = self.lane.run(FILE_LIMIT, move || SecretText::read(&path)).await;
        let text = text.map_err(|timeout| unusable(format!("cannot be read: {timeout}")))?;
        let text = text.map_err(|error| unusable(format!("cannot be read: {error}")))?;
        let mut value = file.header(text.text.expose().trim()).map_err(|why| unusable(why.to_owned()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// Reads the current certificate and its key.
    pub(super) async fn key_pair(&self) -> Result<Option<ClientKeyPair>, ProvideError> {
        let Some(files) = self.config.key_pair.clone() else { return Ok(None) };
        let shown = files.cert_file.display().to_string();
        let unusable =
            |why: String| ProvideError::Unavailable(format!("the client certificate {shown}: {why}"));
        let keys = Arc::clone(&self.keys);
        let pair = self.lane.run(FILE_LIMIT, move || files.read(&keys)).await;
        let pair = pair.map_err(|timeout| unusable(format!("cannot be read: {timeout}")))?;
        pair.map(Some).map_err(|error| unusable(error.to_string()))
    }
}

impl AuthorizationFile {
    fn path(&self) -> &Path {
        match self {
            Self::Value(path) | Self::BearerToken(path) => path,
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Value(path) => format!("the authorization file {}", path.display()),
            Self::BearerToken(path) => format!("the bearer token file {}", path.display()),
        }
    }

    /// Returns the header for the content of the file.
    fn header(&self, content: &str) -> Result<HeaderValue, &'static str> {
        match self {
            Self::Value(_) => HeaderValue::from_str(content).map_err(|_| "is not a single line of text"),
            Self::BearerToken(_) => {
                let is_token = !content.is_empty() && content.bytes().all(|byte| byte.is_ascii_graphic());
                let line = Zeroizing::new(format!("Bearer {content}"));
                let value = HeaderValue::from_str(&line).ok().filter(|_| is_token);
                value
                    .ok_or("must hold one token and nothing else; for a whole header, set authorization_file")
            }
        }
    }
}

impl KeyPairFiles {
    /// Reads the files; may block.
    fn read(&self, keys: &SecretFileReader) -> Result<ClientKeyPair, KeyPairError> {
        let certificate = SecretFileReader::read_unchecked(&self.cert_file)?;
        let key = keys.read(&self.key_file)?;
        Ok(ClientKeyPair::parse(&certificate, &key)?)
    }
}
