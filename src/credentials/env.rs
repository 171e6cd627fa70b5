//! `env`: the variables that OSS's own SDKs read, then the family of Alibaba Cloud. The three values always come from one
//! family; half a pair is an error, for the other family would sign as somebody else.

use super::oidc::DURATION;
use super::sts::{Place, Role, Signature, Sts};
use super::{Answer, Credentials, Edge, Failure, Provide, ProvideError, sanity};
use crate::secret::Secret;

/// The environment of the process.
pub(super) struct Env {
    /// Who is asked if the environment names a role.
    sts: Sts,
}

impl Env {
    pub(super) fn new(place: Place) -> Self {
        Self { sts: Sts::new(place, Signature::Acs3) }
    }
}

/// Variables that belong together.
struct Family {
    name: &'static str,
    id: &'static str,
    secret: &'static str,
    token: &'static str,
}

const FAMILIES: [Family; 2] = [
    Family {
        name: "env/OSS",
        id: "OSS_ACCESS_KEY_ID",
        secret: "OSS_ACCESS_KEY_SECRET",
        token: "OSS_SESSION_TOKEN",
    },
    Family {
        name: "env/ALIBABA_CLOUD",
        id: "ALIBABA_CLOUD_ACCESS_KEY_ID",
        secret: "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
        token: "ALIBABA_CLOUD_SECURITY_TOKEN",
    },
];

/// Set beside a pair of the first family, it asks to sign as a role; to sign as the pair's owner instead would be the wrong
/// identity.
const ROLE: &str = "OSS_STS_ROLE_ARN";

impl Provide for Env {
    fn provide<'a>(&'a self, edge: &'a dyn Edge) -> Answer<'a> {
        Box::pin(async move {
            let Some(arn) = edge.variable(ROLE) else {
                return read(edge, &FAMILIES);
            };
            let signer = match read(edge, &FAMILIES[..1]) {
                Err(ProvideError::NotConfigured(_)) => {
                    return Err(Failure::RoleWithoutKey { variable: ROLE }.into());
                }
                read => read?,
            };
            let role = Role {
                arn,
                session_name: edge.variable(SESSION),
                duration: DURATION,
                policy: None,
                external_id: None,
            };
            let triple = self.sts.assume(&role, &signer, edge).await?;
            triple.into_credentials("env/OSS/ram_role_arn/static_ak", "STS")
        })
    }
}

fn read(edge: &dyn Edge, families: &[Family]) -> Result<Credentials, ProvideError> {
    for family in families {
        let id = edge.variable(family.id);
        let secret = edge.variable(family.secret);
        let (id, secret) = match (id, secret) {
            (Some(id), Some(secret)) => (id, Secret::new(secret)),
            (Some(_), None) => return Err(half(family.id, family.secret)),
            (None, Some(_)) => return Err(half(family.secret, family.id)),
            (None, None) => continue,
        };
        let token = edge.variable(family.token).map(Secret::new);
        sanity::check(&id, secret.expose(), token.as_ref().map(Secret::expose)).map_err(Failure::from)?;
        return Ok(Credentials { id, secret, token, expires: None, provider: family.name.into() });
    }
    Err(ProvideError::NotConfigured(
        "neither OSS_ACCESS_KEY_ID nor ALIBABA_CLOUD_ACCESS_KEY_ID is set".to_owned(),
    ))
}

const SESSION: &str = "ALIBABA_CLOUD_ROLE_SESSION_NAME";

fn half(present: &'static str, missing: &'static str) -> ProvideError {
    Failure::HalfSet { present, missing }.into()
}
