//! STS client: temporary credentials for a role. Calls are POST requests, so that no policy and no
//! token is in a URL. Errors contain nothing of a response but the code and the request id.

mod acs3;
mod call;
mod endpoint;
mod response;
mod role;
mod rpc;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Method};
use zeroize::Zeroizing;

pub(crate) use endpoint::{OssLocation, StsEndpointConfig};
pub(super) use response::{StsCause, StsCredentials, StsError};
pub(crate) use role::{AssumeRoleParams, AssumedRole, session_name};

use call::{CallStamp, FORM, StsCall};
use endpoint::SelectedEndpoint;
use response::StsReply;

use super::clock_skew::{CallPeriod, ahead};
use super::service_client::ServiceClient;
use super::{CredentialServices, Credentials, ProvideError, SourceEnv};
use crate::secret::Secret;
use crate::time::Timestamp;
use crate::transport::{HttpRequest, HttpResponse, HttpTimeouts, Url};

/// The signature algorithm of calls to STS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum StsSignature {
    /// `ACS3-HMAC-SHA256`, in headers.
    Acs3,
    /// RPC V1, with HMAC-SHA1, for private clouds that support no other.
    Rpc,
}

/// A client of an STS endpoint.
pub(super) struct StsClient {
    sts_endpoint: StsEndpointConfig,
    signature: StsSignature,
    client: ServiceClient,
    /// The number of seconds that the clock of STS is ahead of the local one. It is set once STS
    /// has rejected the local time.
    ahead_s: AtomicI64,
}

/// An OIDC token with the provider that issued it.
#[derive(Clone, Copy)]
pub(super) struct OidcToken<'a> {
    pub(super) provider_arn: &'a str,
    pub(super) token: &'a Secret,
}

/// The authentication of a call.
enum CallAuthentication<'a> {
    /// A signature with this access key.
    Key(&'a Credentials),
    /// No signature; the form contains the proof of identity.
    Nobody,
}

impl StsClient {
    pub(super) fn new(
        sts_endpoint: StsEndpointConfig,
        signature: StsSignature,
        services: &Arc<CredentialServices>,
    ) -> Self {
        let client = ServiceClient::new(services);
        Self { sts_endpoint, signature, client, ahead_s: AtomicI64::new(0) }
    }

    /// Calls `AssumeRole`, signed by `signer`.
    pub(super) async fn assume(
        &self,
        role: &AssumedRole,
        signer: &Credentials,
        env: &dyn SourceEnv,
    ) -> Result<StsCredentials, StsError> {
        let call = StsCall::new("AssumeRole", role.fields(env));
        self.call(&call, CallAuthentication::Key(signer), env).await
    }

    /// Calls `AssumeRoleWithOIDC` with an OIDC token.
    pub(super) async fn assume_with_token(
        &self,
        role: &AssumedRole,
        token: OidcToken<'_>,
        env: &dyn SourceEnv,
    ) -> Result<StsCredentials, StsError> {
        let mut fields = role.fields(env);
        fields.push(("OIDCProviderArn", Zeroizing::new(token.provider_arn.to_owned())));
        fields.push(("OIDCToken", Zeroizing::new(token.token.expose().to_owned())));
        self.call(&StsCall::new("AssumeRoleWithOIDC", fields), CallAuthentication::Nobody, env).await
    }

    /// Calls `GetCallerIdentity` and returns the ARN of `signer`. For an assumed role it is the ARN
    /// of the role.
    pub(super) async fn caller(
        &self,
        signer: &Credentials,
        env: &dyn SourceEnv,
    ) -> Result<String, ProvideError> {
        let call = StsCall::new("GetCallerIdentity", Vec::new());
        response::read_identity(&self.exchange(&call, CallAuthentication::Key(signer), env).await?)
    }

    /// Returns a description of the endpoint for operators.
    pub(super) fn explain(&self, env: &dyn SourceEnv) -> String {
        match self.sts_endpoint.select(env) {
            Ok(SelectedEndpoint { url, setting }) => format!("STS at {url} ({setting})"),
            Err(why) => why.to_string(),
        }
    }

    async fn call(
        &self,
        call: &StsCall,
        who: CallAuthentication<'_>,
        env: &dyn SourceEnv,
    ) -> Result<StsCredentials, StsError> {
        response::read(&self.exchange(call, who, env).await?)
    }

    /// Makes a call. If STS rejects the local time, retries with the time of STS.
    async fn exchange(
        &self,
        call: &StsCall,
        who: CallAuthentication<'_>,
        env: &dyn SourceEnv,
    ) -> Result<StsReply, ProvideError> {
        let SelectedEndpoint { url, .. } = self.sts_endpoint.select(env)?;
        let begun = env.now();
        let response = self.attempt(call, &who, &url, env).await?;
        let server_time = response::server_time(&response);
        let ahead_s =
            ahead(server_time.as_deref(), &response.headers, CallPeriod { begun, ended: env.now() });
        if let Some(ahead_s) = ahead_s {
            self.client.clocks().record(&url.to_string(), ahead_s);
        }
        let Some(ahead_s) = ahead_s.filter(|_| response::is_about_time(&response)) else {
            return Ok(StsReply { response, url, ahead_s: None });
        };
        self.ahead_s.store(ahead_s, Ordering::Relaxed);
        let response = self.attempt(call, &who, &url, env).await?;
        Ok(StsReply { response, url, ahead_s: Some(ahead_s) })
    }

    async fn attempt(
        &self,
        call: &StsCall,
        who: &CallAuthentication<'_>,
        url: &Url,
        env: &dyn SourceEnv,
    ) -> Result<HttpResponse, ProvideError> {
        let first = self.request(call, who, url, env)?;
        // Each request has its own time and nonce.
        let again = || self.request(call, who, url, env).ok();
        self.client
            .send(first, again, TIMEOUTS)
            .await
            .map_err(|error| ProvideError::Unavailable(format!("STS: {error}; {}", endpoint::HINT)))
    }

    fn request(
        &self,
        call: &StsCall,
        who: &CallAuthentication<'_>,
        url: &Url,
        env: &dyn SourceEnv,
    ) -> Result<HttpRequest, ProvideError> {
        let now = Timestamp::from_unix_s(env.now().unix_s() + self.ahead_s.load(Ordering::Relaxed));
        let nonce = format!("{:032x}", fastrand::u128(..));
        let stamp = CallStamp { at: &now.rfc3339(), nonce: &nonce };
        let (target, mut headers) = match (self.signature, who) {
            (StsSignature::Acs3, CallAuthentication::Key(key)) => {
                ("/".to_owned(), acs3::headers(call, key, url, stamp))
            }
            (StsSignature::Rpc, CallAuthentication::Key(key)) => {
                (rpc::target(call, Some(key), stamp), Vec::new())
            }
            (_, CallAuthentication::Nobody) => (rpc::target(call, None, stamp), Vec::new()),
        };
        if !headers.iter().any(|(name, _)| *name == CONTENT_TYPE.as_str()) {
            headers.push((CONTENT_TYPE.as_str(), Zeroizing::new(FORM.to_owned())));
        }
        headers.push((ACCEPT.as_str(), Zeroizing::new("application/json".to_owned())));
        let headers = headers.iter().map(|(name, value)| {
            let mut value = HeaderValue::from_str(value)?;
            value.set_sensitive(true);
            Ok((HeaderName::from_static(name), value))
        });
        let headers: Result<Vec<_>, http::header::InvalidHeaderValue> = headers.collect();
        let headers = headers.map_err(|_| {
            ProvideError::Refused(
                "the access key for the call to STS contains characters that are invalid in a header"
                    .to_owned(),
            )
        })?;
        Ok(HttpRequest {
            method: Method::POST,
            url: url.at(&target),
            headers,
            body: call.form.clone(),
            key_pair: None,
        })
    }
}

const TIMEOUTS: HttpTimeouts =
    HttpTimeouts { connect: Duration::from_secs(3), total: Duration::from_secs(8) };
