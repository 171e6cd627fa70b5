//! The instance metadata service, in both versions, and the credentials URI.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{Method, StatusCode, request};

use super::shared::{IssuerCall, IssuerRejection, IssuerShared};

/// The metadata service and the credentials URI, which need no signature.
pub(super) struct MetadataService<'a> {
    shared: &'a IssuerShared,
}

impl<'a> MetadataService<'a> {
    pub(super) fn new(shared: &'a IssuerShared) -> Self {
        Self { shared }
    }

    /// Handles a call to the metadata service. An instance in hardened mode rejects calls without a
    /// token.
    pub(super) fn respond(&self, head: &request::Parts) -> Result<String, IssuerRejection> {
        let method = &head.method;
        let path = head.uri.path();
        self.shared.note(call("metadata", method, path))?;
        let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        let (hardened, token, role) = {
            let state = self.shared.state.lock();
            (state.hardened, format!("metadata-token-{}", state.metadata_tokens), state.instance_role.clone())
        };
        if path == "/latest/api/token" {
            let ttl = text("x-aliyun-ecs-metadata-token-ttl-seconds").and_then(|ttl| ttl.parse::<u32>().ok());
            return match (method, hardened) {
                (_, None) => Err(IssuerRejection(StatusCode::NOT_FOUND, "404", "not found")),
                (&Method::PUT, Some(_)) if ttl.is_some_and(|ttl| (1..=21_600).contains(&ttl)) => Ok(token),
                (&Method::PUT, Some(_)) => Err(IssuerRejection(StatusCode::BAD_REQUEST, "400", "no ttl")),
                (_, Some(_)) => Err(IssuerRejection(StatusCode::METHOD_NOT_ALLOWED, "405", "not allowed")),
            };
        }
        match (hardened, text("x-aliyun-ecs-metadata-token")) {
            (Some(true), None) => {
                return Err(IssuerRejection(StatusCode::UNAUTHORIZED, "401", "unauthorized"));
            }
            (Some(_), Some(given)) if given != token => {
                return Err(IssuerRejection(StatusCode::UNAUTHORIZED, "401", "unauthorized"));
            }
            (_, _) => {}
        }
        let missing = IssuerRejection(StatusCode::NOT_FOUND, "404", "not found");
        let role = role.ok_or(IssuerRejection(StatusCode::NOT_FOUND, "404", "not found"))?;
        let wanted = path
            .rsplit_once("/ram/security-credentials/")
            .or_else(|| path.rsplit_once("/Ram/security-credentials/"));
        match wanted {
            Some((_, "")) => Ok(role),
            Some((_, name)) if name == role => Ok(self.credentials_document()),
            Some(_) | None => Err(missing),
        }
    }

    /// Handles a call to the credentials URI.
    pub(super) fn hand_out(&self, head: &request::Parts) -> Result<String, IssuerRejection> {
        self.shared.note(call("uri", &head.method, head.uri.path()))?;
        let given = head.headers.get("authorization").and_then(|value| value.to_str().ok());
        if self.shared.state.lock().authorization.as_deref().is_some_and(|wanted| given != Some(wanted)) {
            return Err(IssuerRejection(StatusCode::UNAUTHORIZED, "Unauthorized", "unauthorized"));
        }
        Ok(self.credentials_document())
    }

    fn credentials_document(&self) -> String {
        let mut given = self.shared.issue(Duration::from_secs(6 * 60 * 60)).json();
        given["Code"] = "Success".into();
        given["LastUpdated"] = self.shared.oss.now().rfc3339().into();
        given.to_string()
    }
}

fn call(what: &str, method: &Method, path: &str) -> IssuerCall {
    IssuerCall {
        action: what.to_owned(),
        parameters: BTreeMap::new(),
        query: format!("{method} {path}"),
        style: None,
    }
}
