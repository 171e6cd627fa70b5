//! The state that the credential services share, and the credentials that they issue.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use http::StatusCode;
use parking_lot::Mutex;
use serde_json::json;

use super::super::service::OssService;
use super::super::settings::EmulatedAccount;
use crate::secret::Secret;
use crate::time::Timestamp;

/// The state shared by all connections.
pub(super) struct IssuerShared {
    pub(super) oss: OssService,
    pub(super) state: Mutex<IssuerState>,
}

#[derive(Default)]
pub(super) struct IssuerState {
    /// Roles by ARN, each with its required external ID.
    pub(super) roles: BTreeMap<String, Option<String>>,
    /// Valid tokens of service accounts.
    pub(super) tokens: Vec<String>,
    /// Error responses for the next calls, one each.
    pub(super) faults: Vec<(StatusCode, &'static str)>,
    /// The lifetime of issued credentials, overriding the requested one.
    pub(super) lifetime: Option<Duration>,
    /// The offset of the issuer's clock, in seconds.
    pub(super) ahead_s: i64,
    pub(super) calls: Vec<IssuerCall>,
    pub(super) issued: u32,
    /// The ARN of the assumed role, by issued access key ID.
    pub(super) arns: BTreeMap<String, String>,
    /// The RAM role of the instance.
    pub(super) instance_role: Option<String>,
    /// True if metadata requires a token, false if the token is optional. `None` if the service has
    /// no tokens.
    pub(super) hardened: Option<bool>,
    /// The number of times that all metadata tokens were revoked.
    pub(super) metadata_tokens: u32,
    /// The `Authorization` value that the credentials URI requires.
    pub(super) authorization: Option<String>,
    pub(super) fault: IssuerFault,
    pub(super) last_ends: Option<Timestamp>,
    pub(super) in_flight: usize,
    pub(super) in_flight_max: usize,
}

/// A fault of the issuer, in effect until replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IssuerFault {
    /// Responds to every second call with 503.
    pub every_second: bool,
    /// The delay before each response.
    pub delay: Duration,
    /// Closes connections without a response.
    pub dead: bool,
}

/// Issued temporary credentials.
pub(super) struct IssuedCredentials {
    pub(super) id: String,
    secret: Secret,
    token: Secret,
    expires: Timestamp,
}

/// A recorded call.
#[derive(Clone, Debug)]
pub struct IssuerCall {
    /// The requested action.
    pub action: String,
    /// The raw query of an STS call; method and path of other calls.
    pub parameters: BTreeMap<String, String>,
    /// The raw query.
    pub query: String,
    /// The signature style, or `None` for an unsigned call.
    pub style: Option<&'static str>,
}

/// An error response: status, code and message.
pub(super) struct IssuerRejection(pub(super) StatusCode, pub(super) &'static str, pub(super) &'static str);

impl fmt::Debug for IssuerShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl IssuerShared {
    /// Returns the time of the issuer.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_unix_s(self.oss.now().unix_s() + self.state.lock().ahead_s)
    }

    /// Records a call. Returns an error if a fault replaces the response.
    pub(super) fn note(&self, call: IssuerCall) -> Result<(), IssuerRejection> {
        let mut state = self.state.lock();
        state.calls.push(call);
        if !state.faults.is_empty() {
            let (status, code) = state.faults.remove(0);
            return Err(IssuerRejection(status, code, "a fault is injected"));
        }
        if state.fault.every_second && state.calls.len().is_multiple_of(2) {
            return Err(IssuerRejection(
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
                "a fault is injected into every second call",
            ));
        }
        Ok(())
    }

    /// Issues temporary credentials and registers them with OSS.
    pub(super) fn issue(&self, usual: Duration) -> IssuedCredentials {
        let (number, lifetime) = {
            let mut state = self.state.lock();
            state.issued += 1;
            (state.issued, state.lifetime.unwrap_or(usual))
        };
        let (id, secret, token) = (
            format!("STS.issued{number}"),
            format!("issued-secret-{number}"),
            format!("issued+token/{number}=="),
        );
        let expires = self.oss.now() + lifetime;
        self.state.lock().last_ends = Some(expires);
        self.oss.add_account(EmulatedAccount::temporary(&id, &secret, &token).until(expires));
        IssuedCredentials { id, secret: Secret::new(secret), token: Secret::new(token), expires }
    }
}

impl IssuedCredentials {
    /// Returns the credentials in the form that all services share.
    pub(super) fn json(&self) -> serde_json::Value {
        json!({
            "AccessKeyId": self.id,
            "AccessKeySecret": self.secret.expose(),
            "SecurityToken": self.token.expose(),
            "Expiration": self.expires.rfc3339(),
        })
    }
}
