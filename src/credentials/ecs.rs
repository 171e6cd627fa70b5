//! `ecs`: credentials of the instance role, from the metadata service. Version 2 with its session
//! token is preferred. Version 1 is used only if the service rejects token requests, never because
//! it did not respond. Requests never go through a proxy.

use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderName;
use http::{HeaderValue, Method};
use parking_lot::{Mutex, MutexGuard};
use zeroize::Zeroizing;

use super::credentials_document::{DocumentOrigin, parse_credentials_document};
use super::provider_config::ProviderConfig;
use super::service_client::ServiceClient;
use super::{CredentialServices, Credentials, Provide, ProvideError, ProvideFuture, SourceEnv};
use crate::oss::encode_strict;
use crate::time::Timestamp;
use crate::transport::{HttpClientError, HttpRequest, HttpResponse, HttpTimeouts, Url};

/// Configuration of the metadata service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct EcsConfig {
    /// The role; `None` for the role that the instance has.
    pub(crate) role_name: Option<String>,
    /// The endpoint; `None` for that of the environment, or the default.
    pub(crate) endpoint: Option<Url>,
    /// If set, version 1 may be used.
    pub(crate) imds_v1: bool,
    /// If set, this provider was requested by name. Otherwise a machine that is not an instance
    /// counts as not configured.
    pub(crate) by_name: bool,
}

impl Default for EcsConfig {
    fn default() -> Self {
        Self { role_name: None, endpoint: None, imds_v1: true, by_name: true }
    }
}

impl ProviderConfig for EcsConfig {
    fn build(&self, services: &Arc<CredentialServices>) -> Box<dyn Provide> {
        Box::new(EcsProvider::new(self.clone(), services))
    }
}

/// A provider that reads the metadata service of the instance.
struct EcsProvider {
    instance: EcsConfig,
    client: ServiceClient,
    known: Mutex<EcsCache>,
}

/// The values that are cached for a while.
#[derive(Default)]
struct EcsCache {
    token: Option<Cached<HeaderValue>>,
    role: Option<Cached<String>>,
}

/// A cached value with its expiry.
struct Cached<T> {
    value: T,
    until: Timestamp,
}

/// The name of a role.
struct InstanceRole {
    name: String,
    /// True if the configuration or the environment names it.
    is_named: bool,
}

impl EcsProvider {
    fn new(instance: EcsConfig, services: &Arc<CredentialServices>) -> Self {
        Self { instance, client: ServiceClient::new(services), known: Mutex::default() }
    }

    /// Requests credentials. Unless this provider was requested by name, a missing service or role
    /// counts as not configured.
    async fn ask(&self, env: &dyn SourceEnv) -> Result<Credentials, ProvideError> {
        let by_name = self.instance.by_name || env.variable(ROLE).is_some();
        self.ask_by_name(env).await.map_err(|missing| match missing {
            EcsError::Nothing(why) if by_name => why,
            EcsError::Nothing(why) => ProvideError::NotConfigured(why.to_string()),
            EcsError::Credentials(why) => why,
        })
    }

    async fn ask_by_name(&self, env: &dyn SourceEnv) -> Result<Credentials, EcsError> {
        if env.is_true(DISABLED) {
            return Err(ProvideError::NotConfigured(format!("{DISABLED} is true")).into());
        }
        let base = self.base(env)?;
        let InstanceRole { name: role, is_named } = self.role(&base, env).await?;
        let mut target = ROLES.to_owned();
        encode_strict(role.as_bytes(), &mut target);
        let response = self.get(&base.at(&target), env).await?;
        match response.status {
            200 => Ok(read(&response, &base)?),
            404 => {
                self.known().role = None;
                let text = format!("the metadata service at {base} has no role {role:?}");
                Err(EcsError::Credentials(if is_named {
                    ProvideError::Refused(format!("{text}; correct role_name or omit it"))
                } else {
                    // The instance had this role a moment ago, and may have another now.
                    ProvideError::Unavailable(format!("{text}; the role name is looked up again"))
                }))
            }
            status => Err(unexpected(&base, "the role", status).into()),
        }
    }

    fn base(&self, env: &dyn SourceEnv) -> Result<Url, ProvideError> {
        if let Some(url) = &self.instance.endpoint {
            return Ok(url.clone());
        }
        let (text, from) = match env.variable(PLACE) {
            Some(text) if text.contains("://") => (text, PLACE),
            Some(text) => (format!("http://{text}"), PLACE),
            None => (ENDPOINT.to_owned(), ENDPOINT),
        };
        Url::parse(&text).map_err(|error| ProvideError::Refused(format!("{from} {error}")))
    }

    async fn role(&self, base: &Url, env: &dyn SourceEnv) -> Result<InstanceRole, EcsError> {
        if let Some(name) = self.instance.role_name.clone().or_else(|| env.variable(ROLE)) {
            return Ok(InstanceRole { name, is_named: true });
        }
        let now = env.now();
        if let Some(Cached { value, until }) = &self.known().role
            && now < *until
        {
            return Ok(InstanceRole { name: value.clone(), is_named: false });
        }
        let response = self.get(&base.at(ROLES), env).await?;
        let text = std::str::from_utf8(&response.body).unwrap_or_default().trim();
        let is_name = !text.is_empty()
            && text.len() <= 64
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        match response.status {
            200 if is_name => {
                self.known().role = Some(Cached { value: text.to_owned(), until: now + ROLE_FOR });
                Ok(InstanceRole { name: text.to_owned(), is_named: false })
            }
            404 => Err(EcsError::Nothing(ProvideError::Refused(format!(
                "the metadata service at {base} reports that this instance has no RAM role; attach one to it"
            )))),
            200 => Err(EcsError::Credentials(ProvideError::Unavailable(format!(
                "the metadata service at {base} returned 200, but no role name"
            )))),
            status => Err(unexpected(base, "the role", status).into()),
        }
    }

    /// Sends a GET request, with a token if the service issues tokens. Retries once with a new
    /// token after a 401 response.
    async fn get(&self, url: &Url, env: &dyn SourceEnv) -> Result<HttpResponse, EcsError> {
        let mut again = true;
        loop {
            let token = self.token(url, env).await?;
            let headers = token.iter().map(|token| (TOKEN, token.clone())).collect();
            let response = self.fetch(Method::GET, url.clone(), headers).await?;
            if response.status == 401 && token.is_some() && again {
                again = false;
                self.known().token = None;
                continue;
            }
            return Ok(response);
        }
    }

    /// Returns the session token; `None` if version 1 is used.
    async fn token(&self, url: &Url, env: &dyn SourceEnv) -> Result<Option<HeaderValue>, EcsError> {
        let now = env.now();
        if let Some(Cached { value, until }) = &self.known().token
            && now < *until
        {
            return Ok(Some(value.clone()));
        }
        let ttl = (TTL, HeaderValue::from(TTL_S));
        let response = self.fetch(Method::PUT, url.at("/latest/api/token"), vec![ttl]).await?;
        match response.status {
            200 => {
                let mut token = HeaderValue::from_bytes(response.body.trim_ascii()).map_err(|_| {
                    ProvideError::Unavailable(format!(
                        "the metadata service at {url} returned an invalid token"
                    ))
                })?;
                token.set_sensitive(true);
                let until = now + Duration::from_secs(TTL_S * 4 / 5 - 60);
                self.known().token = Some(Cached { value: token.clone(), until });
                Ok(Some(token))
            }
            403..=405 if self.instance.imds_v1 && !env.is_true(NO_V1) => Ok(None),
            status @ 403..=405 => Err(EcsError::Credentials(ProvideError::Refused(format!(
                "the metadata service at {url} issues no tokens ({status}), and version 1 is disabled (imds_v1, {NO_V1})"
            )))),
            status => Err(unexpected(url, "a token", status).into()),
        }
    }

    async fn fetch(
        &self,
        method: Method,
        url: Url,
        headers: Vec<(HeaderName, HeaderValue)>,
    ) -> Result<HttpResponse, EcsError> {
        let ask = HttpRequest { method, url, headers, body: Zeroizing::default(), key_pair: None };
        self.client.send(ask.clone(), || Some(ask.clone()), TIMEOUTS).await.map_err(|error| {
            let hint = match error {
                HttpClientError::ConnectLate(..) | HttpClientError::Late(..) => {
                    "in a container, the metadata hop limit of the instance may be too low"
                }
                HttpClientError::Connect(..)
                | HttpClientError::Broken(..)
                | HttpClientError::TooLarge(..)
                | HttpClientError::Unsendable(..) => "this host may not be an ECS instance",
            };
            EcsError::Nothing(ProvideError::Unavailable(format!("the metadata service: {error}; {hint}")))
        })
    }

    fn known(&self) -> MutexGuard<'_, EcsCache> {
        self.known.lock()
    }
}

impl Provide for EcsProvider {
    fn provide<'a>(&'a self, env: &'a dyn SourceEnv) -> ProvideFuture<'a> {
        Box::pin(self.ask(env))
    }

    fn explain(&self, env: &dyn SourceEnv) -> Vec<String> {
        let named = self.instance.role_name.clone().or_else(|| env.variable(ROLE));
        let role = named.or_else(|| self.known().role.as_ref().map(|role| role.value.clone()));
        let at = self.base(env).map_or_else(|_| ENDPOINT.to_owned(), |base| base.to_string());
        vec![format!(
            "role {} from the metadata service at {at}",
            role.as_deref().unwrap_or("of the instance")
        )]
    }
}

/// Reasons why there are no credentials.
enum EcsError {
    /// The metadata service does not respond, or the instance has no role.
    Nothing(ProvideError),
    /// Any other failure.
    Credentials(ProvideError),
}

impl From<ProvideError> for EcsError {
    fn from(why: ProvideError) -> Self {
        Self::Credentials(why)
    }
}

fn unexpected(url: &Url, what: &str, status: u16) -> ProvideError {
    let remedy = match status {
        401 => "; it requires a token (version 2), so check that it issues tokens to this host",
        _ => "",
    };
    ProvideError::Unavailable(format!("the metadata service at {url} returned {status} for {what}{remedy}"))
}

fn read(response: &HttpResponse, url: &Url) -> Result<Credentials, ProvideError> {
    let origin = DocumentOrigin {
        service: format!("the metadata service at {url}"),
        is_temporary: true,
        code_hint: "check the role of the instance",
        provider: "ecs_ram_role",
    };
    parse_credentials_document(&response.body, &origin)
}

const ENDPOINT: &str = "http://100.100.100.200";
const ROLES: &str = "/latest/meta-data/ram/security-credentials/";
const TTL: HeaderName = HeaderName::from_static("x-aliyun-ecs-metadata-token-ttl-seconds");
const TOKEN: HeaderName = HeaderName::from_static("x-aliyun-ecs-metadata-token");
const TTL_S: u64 = 21_600;
const ROLE_FOR: Duration = Duration::from_secs(600);
const TIMEOUTS: HttpTimeouts =
    HttpTimeouts { connect: Duration::from_secs(1), total: Duration::from_secs(2) };
const ROLE: &str = "ALIBABA_CLOUD_ECS_METADATA";
const PLACE: &str = "ALIBABA_CLOUD_IMDS_ENDPOINT";
const DISABLED: &str = "ALIBABA_CLOUD_ECS_METADATA_DISABLED";
const NO_V1: &str = "ALIBABA_CLOUD_IMDSV1_DISABLED";

#[cfg(test)]
#[path = "ecs_tests.rs"]
mod tests;
