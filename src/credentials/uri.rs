//! `uri`: credentials from an HTTP service, on this machine or over TLS. Redirects are not
//! followed. Messages never contain the body of a response.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderValue, Method};
use zeroize::Zeroizing;

use super::credentials_document::{DocumentOrigin, parse_credentials_document};
use super::provider_config::ProviderConfig;
use super::request_identity::{IdentityReader, RequestIdentityConfig};
use super::service_client::ServiceClient;
use super::{CredentialServices, Credentials, Provide, ProvideError, ProvideFuture, SourceEnv};
use crate::transport::{HttpRequest, HttpResponse, HttpTimeouts, Url};

/// An HTTP service that returns credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct UriConfig {
    /// The URL; `None` for the one in the environment.
    pub(crate) url: Option<Url>,
    /// The identity that each request presents.
    pub(crate) identity: RequestIdentityConfig,
}

impl ProviderConfig for UriConfig {
    fn build(&self, services: &Arc<CredentialServices>) -> Box<dyn Provide> {
        Box::new(UriProvider {
            url: self.url.clone(),
            identity: IdentityReader::new(self.identity.clone()),
            client: ServiceClient::new(services),
        })
    }
}

/// A provider that requests credentials from an HTTP service.
struct UriProvider {
    url: Option<Url>,
    identity: IdentityReader,
    client: ServiceClient,
}

impl UriProvider {
    async fn ask(&self, env: &dyn SourceEnv) -> Result<Credentials, ProvideError> {
        let url = match (&self.url, env.variable(VARIABLE)) {
            (Some(url), _) => url.clone(),
            (None, Some(text)) => {
                Url::parse(&text).map_err(|error| ProvideError::Refused(format!("{VARIABLE} {error}")))?
            }
            (None, None) => return Err(ProvideError::NotConfigured(format!("{VARIABLE} is not set"))),
        };
        let mut headers = vec![(ACCEPT, HeaderValue::from_static("application/json"))];
        headers.extend(self.identity.authorization().await?.map(|value| (AUTHORIZATION, value)));
        let key_pair = self.identity.key_pair().await?;
        let body = Zeroizing::default();
        let ask = HttpRequest { method: Method::GET, url: url.clone(), headers, body, key_pair };
        let response = self.client.send(ask.clone(), || Some(ask.clone()), TIMEOUTS).await;
        let response = response
            .map_err(|error| ProvideError::Unavailable(format!("the credentials URI: {error}; {HINT}")))?;
        read(&response, &url)
    }
}

/// Parses a response.
fn read(response: &HttpResponse, url: &Url) -> Result<Credentials, ProvideError> {
    let status = response.status;
    match status {
        200 => {}
        300..400 => {
            return Err(ProvideError::Refused(format!(
                "the credentials URI at {url} returned {status}, but redirects are not followed; set the address it redirects to"
            )));
        }
        429 | 500.. => {
            return Err(ProvideError::Unavailable(format!("the credentials URI at {url} returned {status}")));
        }
        _ => {
            return Err(ProvideError::Refused(format!(
                "the credentials URI at {url} returned {status}; correct the address or the Authorization value"
            )));
        }
    }
    let origin = DocumentOrigin {
        service: format!("the credentials URI at {url}"),
        is_temporary: false,
        code_hint: "see the log of that service",
        provider: "credential_uri",
    };
    parse_credentials_document(&response.body, &origin)
}

impl Provide for UriProvider {
    fn provide<'a>(&'a self, env: &'a dyn SourceEnv) -> ProvideFuture<'a> {
        Box::pin(self.ask(env))
    }

    fn files(&self, _env: &dyn SourceEnv) -> Vec<PathBuf> {
        self.identity.files()
    }

    fn renew_after(&self) -> Option<Duration> {
        Some(RENEW_AFTER)
    }

    fn explain(&self, env: &dyn SourceEnv) -> Vec<String> {
        let asked = self.url.as_ref().map(ToString::to_string);
        let asked = asked.or_else(|| env.variable(VARIABLE).map(|_| VARIABLE.to_owned()));
        asked.map_or_else(Vec::new, |asked| vec![format!("from {asked}")])
    }
}

const VARIABLE: &str = "ALIBABA_CLOUD_CREDENTIALS_URI";
/// A hint for a service that does not respond.
const HINT: &str = "check that the service runs and that its address is correct";
/// The time after which credentials without an expiration are refreshed.
const RENEW_AFTER: Duration = Duration::from_secs(15 * 60);
const TIMEOUTS: HttpTimeouts =
    HttpTimeouts { connect: Duration::from_secs(2), total: Duration::from_secs(5) };

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use serde_json::Value;
    use zeroize::Zeroizing;

    use super::{RequestIdentityConfig, UriConfig, read};
    use crate::credentials::request_identity::AuthorizationFile;
    use crate::credentials::test_env::ask;
    use crate::credentials::{ProvideError, ProviderSpec};
    use crate::transport::{HttpResponse, Url};

    #[tokio::test]
    async fn an_authorization_of_more_than_64_kib_is_rejected_and_not_sent() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(&file, "x".repeat(64 * 1024 + 1)).expect("written");
        let url = Some(Url::parse("http://127.0.0.1:1/").expect("a URL"));
        let authorization = Some(AuthorizationFile::Value(file.path().to_owned()));
        let identity = RequestIdentityConfig { authorization, key_pair: None };
        let given = ask(ProviderSpec::new(UriConfig { url, identity }), &[]).await;
        let path = file.path().display();
        let text = format!("the authorization file {path} cannot be read: larger than 64 KiB");
        assert_eq!(given, Err(ProvideError::Unavailable(text)));
    }

    #[test]
    fn each_published_answer_comes_to_what_it_should() {
        let all: Value =
            serde_json::from_str(include_str!("../../tests/vectors/uri_answers.json")).expect("json");
        let samples = all["samples"].as_array().expect("samples");
        assert_eq!(samples.len(), 8);
        let url = Url::parse("https://keys.example.com/secret-path").expect("a URL");
        for sample in samples {
            let id = &sample["id"];
            let body =
                sample["body"].as_str().expect("a body").replace("{now+3600s}", "2999-01-01T00:00:00Z");
            let status = u16::try_from(sample["status"].as_u64().expect("a status")).expect("a status");
            let reply =
                HttpResponse { status, headers: HeaderMap::new(), body: Zeroizing::new(body.into_bytes()) };
            let given = read(&reply, &url);
            let outcome = match &given {
                Ok(_) => "credentials",
                Err(ProvideError::Unavailable(_)) => "retryable_error",
                Err(ProvideError::Refused(_)) => "permanent_error",
                Err(other) => panic!("{id}: {other}"),
            };
            assert_eq!(outcome, sample["expect"], "{id}: {given:?}");
            let Err(error) = given else { continue };
            let text = error.to_string();
            assert!(text.contains("keys.example.com"), "{text}");
            assert!(!text.contains("secret-path") && !text.contains("4xx error"), "{text}");
        }
    }
}
