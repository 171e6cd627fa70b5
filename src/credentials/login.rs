//! Keys from a login of the Alibaba Cloud CLI. They are used until they expire, and never renewed
//! here: a renewal replaces the login of the CLI.

use std::sync::Arc;

use super::provider_config::ProviderConfig;
use super::static_keys::StaticKeyConfig;
use super::{
    CredentialServices, Credentials, Provide, ProvideError, ProvideFuture, SetupError, SourceEnv, validate,
};
use crate::secret::Secret;
use crate::time::Timestamp;

/// The keys of a login, and the commands that renew them.
#[derive(Debug)]
pub(super) struct LoginSession {
    /// The SDK name for a provider of this kind.
    pub(super) kind: &'static str,
    /// The name of the profile with the login.
    pub(super) profile: String,
    /// The keys; the token is always present.
    pub(super) keys: StaticKeyConfig,
    /// The expiry of the keys.
    pub(super) expires: Timestamp,
    pub(super) renewal: LoginRenewal,
}

/// Commands that a user runs to get new keys.
#[derive(Clone, Debug)]
pub(super) struct LoginRenewal {
    /// The expiry of the login from which the CLI gets keys.
    login_expires: Timestamp,
    /// Command that gets new keys from the login.
    renew: String,
    /// Command that logs in again.
    log_in: String,
}

impl LoginSession {
    fn current(&self, now: Timestamp) -> Result<Credentials, ProvideError> {
        if now >= self.expires {
            return Err(ProvideError::Refused(format!(
                "the credentials of the profile {:?} expired at {}; run {}",
                self.profile,
                self.expires.rfc3339(),
                self.renewal.commands(now)
            )));
        }
        let StaticKeyConfig { id, secret, token } = self.keys.duplicate();
        validate::check(id.expose(), secret.expose(), token.as_ref().map(Secret::expose))
            .map_err(SetupError::from)?;
        Ok(Credentials {
            id: id.expose().to_owned(),
            secret,
            token,
            expires: Some(self.expires),
            provider: self.kind.into(),
        })
    }
}

impl LoginRenewal {
    pub(super) fn new(profile: &str, mode: &str, login_expires: Timestamp) -> Self {
        // A command cannot contain a NUL byte, so such a name is shown unquoted.
        let name = shlex::try_quote(profile).unwrap_or_else(|_| profile.into());
        Self {
            login_expires,
            renew: format!("aliyun sts GetCallerIdentity --profile {name}"),
            log_in: format!("aliyun configure --profile {name} --mode {mode}"),
        }
    }

    /// Returns the commands to run at `now`, each in backquotes.
    pub(super) fn commands(&self, now: Timestamp) -> String {
        let Self { login_expires, renew, log_in } = self;
        if now < *login_expires { format!("`{renew}`") } else { format!("`{log_in}`, then `{renew}`") }
    }
}

impl ProviderConfig for LoginSession {
    fn build(&self, _services: &Arc<CredentialServices>) -> Box<dyn Provide> {
        let Self { kind, profile, keys, expires, renewal } = self;
        Box::new(Self {
            kind,
            profile: profile.clone(),
            keys: keys.duplicate(),
            expires: *expires,
            renewal: renewal.clone(),
        })
    }
}

impl Provide for LoginSession {
    fn provide<'a>(&'a self, env: &'a dyn SourceEnv) -> ProvideFuture<'a> {
        Box::pin(async { self.current(env.now()) })
    }

    fn explain(&self, env: &dyn SourceEnv) -> Vec<String> {
        let until = self.expires.rfc3339();
        let commands = self.renewal.commands(env.now());
        vec![format!("login credentials valid until {until}; to renew them, run {commands}")]
    }
}
