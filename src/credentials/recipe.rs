//! What a file of another tool describes: a source of ours.

use std::sync::Arc;

use super::ecs::{Ecs, Instance};
use super::fixed::Static;
use super::login::LoginSession;
use super::oidc::{Oidc, Pod};
use super::process::{Process, Program};
use super::sts::{Place, Role, Signature};
use super::uri::Uri;
use super::{Provide, Source, assume_role};
use crate::secret::Secret;
use crate::transport::Url;

/// A source, as a file describes it.
#[derive(Debug)]
pub(super) enum Recipe {
    /// An access key, with or without a token.
    Key { id: Secret, secret: Secret, token: Option<Secret> },
    /// A role that another identity assumes.
    Role { of: Box<Self>, role: Role, place: Place },
    /// The role of the instance.
    Ecs(Instance),
    /// The token of a service account.
    Oidc(Pod, Place),
    /// A service that hands out credentials.
    Uri(Url),
    /// A command.
    Process(Program),
    /// The keys that a login has left behind.
    Login(LoginSession),
}

impl Recipe {
    /// The source; `name` is told where it fails as the one that assumes a role.
    pub(super) fn build(self, name: &str) -> Box<dyn Provide> {
        match self {
            Self::Key { id, secret, token } => Box::new(Static::new(id.expose().to_owned(), secret, token)),
            Self::Role { of, role, place } => {
                let source = Arc::new(Source::new(name, of.build(name)));
                Box::new(assume_role::AssumeRole::new(source, role, place, Signature::Acs3))
            }
            Self::Ecs(instance) => Box::new(Ecs::new(instance)),
            Self::Oidc(pod, place) => Box::new(Oidc::new(pod, place)),
            Self::Uri(url) => Box::new(Uri::new(Some(url), None)),
            Self::Process(program) => Box::new(Process::new(program)),
            Self::Login(session) => Box::new(session),
        }
    }
}

/// What is described under names of others, in files that are read by name.
pub(super) struct Mistake(pub(super) String);

/// Where STS is, as a file says it.
pub(super) fn place(
    endpoint: Option<&str>,
    region: Option<&str>,
    vpc: bool,
    fallback: &Place,
) -> Result<Place, Mistake> {
    let endpoint = endpoint.map(|text| {
        let text = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        Url::parse(&text).map_err(|error| Mistake(format!("its endpoint of STS {error}")))
    });
    let region = region.map(|text| {
        crate::oss::Region::parse(text).map_err(|error| Mistake(format!("its region of STS: {error}")))
    });
    Ok(Place {
        endpoint: endpoint.transpose()?.or_else(|| fallback.endpoint.clone()),
        region: region.transpose()?.or_else(|| fallback.region.clone()),
        vpc: vpc || fallback.vpc,
        of_oss: fallback.of_oss.clone(),
    })
}
