//! The request for the keys of an issuer. Redirects are not followed, and no error repeats a part of
//! the response.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderValue, Method};
use zeroize::Zeroizing;

use crate::caller::{InvalidKeySet, JwtKeySet};
use crate::credentials::SecretText;
use crate::offload::{BlockingLane, BlockingTimeout, FILE_LIMIT};
use crate::transport::{
    AddressBook, HttpClient, HttpClientError, HttpRequest, HttpTimeouts, InvalidRoots, TrustStore, Url,
};

/// Where the keys of an issuer are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeySetConfig {
    /// The issuer.
    pub(crate) issuer: String,
    /// The URL of the JWK set.
    pub(crate) url: Url,
    /// The certificates to trust instead of the host's.
    pub(crate) ca_file: Option<PathBuf>,
    /// The file with the bearer token of the request.
    pub(crate) token_file: Option<PathBuf>,
}

/// A requester of the keys of an issuer. It reads its files for each request, because the cluster
/// replaces them.
pub(super) struct KeyRequester {
    config: KeySetConfig,
    /// The client that trusts the host's certificates.
    client: HttpClient,
    names: AddressBook,
    lane: BlockingLane,
}

/// The reason why the keys were not obtained.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyRequestError {
    #[error(transparent)]
    Http(#[from] HttpClientError),
    #[error("{0} responded with status {1} instead of 200; redirects are not followed")]
    Status(Url, u16),
    #[error("the response of {0} is not usable: {1}")]
    Invalid(Url, InvalidKeySet),
    #[error("cannot read the token in {0:?}: {1}; check jwks_token_file")]
    Token(PathBuf, io::Error),
    #[error("the token in {0:?} is empty or has characters that no token has; check jwks_token_file")]
    TokenText(PathBuf),
    #[error(transparent)]
    Certificates(#[from] InvalidRoots),
    #[error("cannot read the files for the request: {0}")]
    Files(#[from] BlockingTimeout),
}

impl KeyRequester {
    pub(super) fn new(config: KeySetConfig) -> Self {
        let names = AddressBook::default();
        let client = HttpClient::new(names.clone()).with_body_max(KEY_SET_MAX);
        Self { config, client, names, lane: BlockingLane::default() }
    }

    pub(super) fn config(&self) -> &KeySetConfig {
        &self.config
    }

    /// Requests the keys.
    pub(super) async fn request(&self) -> Result<Arc<JwtKeySet>, KeyRequestError> {
        let url = &self.config.url;
        let config = self.config.clone();
        let RequestFiles { trust, authorization } =
            self.lane.run(FILE_LIMIT, move || RequestFiles::read(&config)).await??;
        let mut headers =
            vec![(ACCEPT, HeaderValue::from_static("application/jwk-set+json, application/json"))];
        headers.extend(authorization.map(|value| (AUTHORIZATION, value)));
        let request = HttpRequest {
            method: Method::GET,
            url: url.clone(),
            headers,
            body: Zeroizing::default(),
            key_pair: None,
        };
        let response = match trust {
            None => self.client.fetch(request, TIMEOUTS).await?,
            Some(trust) => {
                let client = HttpClient::trusting(self.names.clone(), trust).with_body_max(KEY_SET_MAX);
                client.fetch(request, TIMEOUTS).await?
            }
        };
        if response.status != 200 {
            return Err(KeyRequestError::Status(url.clone(), response.status));
        }
        let keys = JwtKeySet::parse(&response.body);
        keys.map(Arc::new).map_err(|invalid| KeyRequestError::Invalid(url.clone(), invalid))
    }
}

/// The contents of the files of a request.
struct RequestFiles {
    /// The certificates to trust instead of the host's.
    trust: Option<TrustStore>,
    authorization: Option<HeaderValue>,
}

impl RequestFiles {
    /// Reads the files; may block.
    fn read(config: &KeySetConfig) -> Result<Self, KeyRequestError> {
        let trust = config.ca_file.as_deref().map(TrustStore::file).transpose()?;
        let authorization = config.token_file.as_deref().map(authorization).transpose()?;
        Ok(Self { trust, authorization })
    }
}

/// Reads a token, and returns the header that sends it.
fn authorization(file: &Path) -> Result<HeaderValue, KeyRequestError> {
    let content = SecretText::read(file).map_err(|error| KeyRequestError::Token(file.to_owned(), error))?;
    let token = content.text.expose().trim();
    let line = Zeroizing::new(format!("Bearer {token}"));
    let value = HeaderValue::from_str(&line).ok().filter(|_| !token.is_empty());
    let mut value = value.ok_or_else(|| KeyRequestError::TokenText(file.to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The maximum size of a JWK set. Those of large providers have about 10 KiB.
const KEY_SET_MAX: usize = 256 * 1024;
const TIMEOUTS: HttpTimeouts =
    HttpTimeouts { connect: Duration::from_secs(5), total: Duration::from_secs(10) };
