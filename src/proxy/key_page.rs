//! The pages of a listener that serves access keys to callers. It serves no objects, so its paths
//! are not in the way of any.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method};

use super::error::ProxyError;
use super::key_document::{KeyDocument, ServedKey};
use super::key_error::KeyRequestError;
use super::request::InboundRequest;
use super::state::{AcceptingListener, WorkerCore};
use super::trace::RequestTrace;
use crate::address::ListenerReach;
use crate::caller::{
    self, CallerIdentity, ClientRequest, IdentityError, IdentityKinds, ListenerContent, is_handed_out,
};
use crate::credentials::{CredentialSource, Credentials};
use crate::oss::{Key, Operation, Query, SigningProduct};
use crate::time::Timestamp;

/// A page of a listener that serves access keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyPage<'a> {
    /// The credentials URI of Alibaba Cloud.
    Uri,
    /// The credentials of AWS for containers.
    Container,
    /// The role of the ECS instance, which is the name of the caller.
    Role,
    /// The credentials of a role.
    OfRole(&'a str),
    /// The session token of the metadata service.
    Session,
}

impl<'a> KeyPage<'a> {
    fn from_path(path: &'a str) -> Option<Self> {
        match path {
            "/credentials" => Some(Self::Uri),
            "/aws" => Some(Self::Container),
            "/latest/api/token" => Some(Self::Session),
            _ => {
                let role = ROLES.iter().find_map(|prefix| path.strip_prefix(prefix))?;
                Some(if role.is_empty() { Self::Role } else { Self::OfRole(role) })
            }
        }
    }

    /// Returns the name of a request for the page in the audit log.
    fn operation(self) -> &'static str {
        match self {
            Self::Uri | Self::Container | Self::OfRole(_) => "HandOutKey",
            Self::Role => "GetRoleName",
            Self::Session => "GetSessionToken",
        }
    }

    fn allows(self, method: &Method) -> bool {
        *method == if self == Self::Session { Method::PUT } else { Method::GET }
    }
}

/// Answers a request for access keys.
pub(super) async fn answer(
    core: &WorkerCore,
    listener: &AcceptingListener,
    inbound: &mut InboundRequest,
    trace: &mut impl RequestTrace,
) -> Result<KeyDocument, ProxyError> {
    if core.is_full() {
        return Err(ProxyError::Full(core.state().limits.requests));
    }
    inbound.check_head(core.state())?;
    let rules = &listener.rules;
    let reach = if rules.unnamed { ListenerReach::Unnamed } else { ListenerReach::ByName(&rules.domains) };
    let mut headers = inbound.take_headers();
    // guard: keys-for-pages
    reach.check(inbound.uri(), &headers).map_err(KeyRequestError::from)?;
    let page = KeyPage::from_path(inbound.uri().path()).ok_or(KeyRequestError::Path)?;
    if !page.allows(inbound.method()) {
        return Err(KeyRequestError::Method.into());
    }
    trace.record_key_page(page.operation());
    if page == KeyPage::Session {
        // Clients of the metadata service require one. It protects nothing, so it is not checked.
        return Ok(KeyDocument::text(SESSION_TOKEN.to_owned()));
    }
    if page == KeyPage::Container {
        name_scheme(&mut headers, rules.identify);
    }
    let now = core.clock().now();
    let mut identified = identify(core, listener, inbound, &mut headers, now);
    if let Err(error) = &identified
        && core.state().callers.fetch_lacking_keys(error).await
    {
        identified = identify(core, listener, inbound, &mut headers, now);
    }
    let client = identified?;
    trace.record_caller(&client, core.state());
    let permit = match client.proven() {
        Some(caller) if trace.is_limited() => {
            core.state().callers.begin(caller, core.transport().queue()).await?
        }
        Some(_) | None => None,
    };
    let page = IdentifiedPage { page, content: &rules.content, client: &client };
    let document = page.document(core, trace).await?;
    Ok(document.with_permit(permit))
}

/// A page, for an identified client.
struct IdentifiedPage<'a> {
    page: KeyPage<'a>,
    content: &'a ListenerContent,
    client: &'a CallerIdentity,
}

impl IdentifiedPage<'_> {
    /// Returns the document of the page.
    async fn document(
        &self,
        core: &WorkerCore,
        trace: &mut impl RequestTrace,
    ) -> Result<KeyDocument, ProxyError> {
        let Self { page, content, client } = *self;
        let now = core.clock().now();
        let name = client_name(client, content);
        match page {
            KeyPage::Role => {
                trace.record_role(name);
                return Ok(KeyDocument::text(name.to_owned()));
            }
            KeyPage::OfRole(role) if role != name => return Err(KeyRequestError::Path.into()),
            KeyPage::OfRole(_) | KeyPage::Uri | KeyPage::Container | KeyPage::Session => {}
        }
        match content {
            ListenerContent::PassedOnKeys(source) => {
                let source = core.state().passed_on.get(source).ok_or(KeyRequestError::Withdrawn)?;
                trace.record_key_source(source);
                let credentials = passed_on(core, source).await?;
                trace.record_credentials(&credentials);
                let key = handed_out(&credentials, core.clock().now())?;
                trace.record_key(key.id, key.expires);
                Ok(self.of_key(&key, now))
            }
            ListenerContent::HandedOutKeys | ListenerContent::Objects => {
                let caller = client.proven().ok_or(IdentityError::Missing)?;
                let issued = core.state().callers.directory.issue_key(caller, now, client.expires());
                let key = issued.ok_or(KeyRequestError::Withdrawn)?.map_err(KeyRequestError::from)?;
                trace.record_key(&key.id, key.expires);
                let key = ServedKey {
                    id: &key.id,
                    secret: key.secret.expose(),
                    token: key.token.expose(),
                    expires: key.expires,
                };
                Ok(self.of_key(&key, now))
            }
        }
    }

    /// Returns a key in the form of the page.
    fn of_key(&self, key: &ServedKey<'_>, now: Timestamp) -> KeyDocument {
        match self.page {
            KeyPage::Container => KeyDocument::of_container(key),
            KeyPage::Role | KeyPage::OfRole(_) => KeyDocument::of_instance(key, now),
            KeyPage::Uri | KeyPage::Session => KeyDocument::of_uri(key),
        }
    }
}

/// Identifies the client. A key is not accepted here, so none serves to obtain another.
fn identify(
    core: &WorkerCore,
    listener: &AcceptingListener,
    inbound: &InboundRequest,
    headers: &mut HeaderMap,
    now: Timestamp,
) -> Result<CallerIdentity, IdentityError> {
    let mut query = Query::parse(inbound.uri().query().unwrap_or_default()).unwrap_or_default();
    let request = ClientRequest {
        method: inbound.method(),
        operation: Operation::ListBuckets,
        bucket: None,
        key: &Key::default(),
        query: &mut query,
        headers,
        form: None,
    };
    let context = core.identity_context(listener, SigningProduct::Oss, &now);
    caller::identify(request, context)
}

/// Adds the scheme to a token without one, as the clients of AWS send it.
fn name_scheme(headers: &mut HeaderMap, kinds: IdentityKinds) {
    let Some(value) = headers.get(AUTHORIZATION).filter(|_| kinds.accepts_bearer()) else { return };
    let is_alone = headers.get_all(AUTHORIZATION).iter().count() == 1
        && !value.is_empty()
        && !value.as_bytes().contains(&b' ');
    if is_alone && let Ok(mut value) = HeaderValue::from_bytes(&[b"Bearer ", value.as_bytes()].concat()) {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
}

/// Returns the name of the caller, or that of the credentials where there are no callers.
fn client_name<'a>(client: &'a CallerIdentity, content: &'a ListenerContent) -> &'a str {
    match (client.caller(), content) {
        (Some(caller), _) => &caller.name,
        (None, ListenerContent::PassedOnKeys(source)) => source,
        (None, ListenerContent::HandedOutKeys | ListenerContent::Objects) => "",
    }
}

/// Returns the current credentials of a source, or waits for them.
async fn passed_on(
    core: &WorkerCore,
    source: &CredentialSource,
) -> Result<std::sync::Arc<Credentials>, ProxyError> {
    match source.serve(core.clock().now()) {
        Ok(credentials) => Ok(credentials),
        Err(_) => Ok(Box::pin(source.wait(core.clock())).await?),
    }
}

/// Returns credentials as a key to pass on, if another proxy has handed them out. Keys of OSS never
/// leave the proxy.
fn handed_out(credentials: &Credentials, now: Timestamp) -> Result<ServedKey<'_>, KeyRequestError> {
    let Credentials { id, secret, token, expires, .. } = credentials;
    // guard: only-handed-out-keys
    if !is_handed_out(id) {
        return Err(KeyRequestError::NotHandedOut);
    }
    let (Some(token), Some(expires)) = (token, expires.filter(|expires| *expires > now)) else {
        return Err(KeyRequestError::NotHandedOut);
    };
    Ok(ServedKey { id, secret: secret.expose(), token: token.expose(), expires })
}

/// The session token, which is the same for each client.
const SESSION_TOKEN: &str = "no-session-is-kept";
/// The paths of the roles of an ECS instance. Some clients write the second one.
const ROLES: [&str; 2] =
    ["/latest/meta-data/ram/security-credentials/", "/latest/meta-data/Ram/security-credentials/"];
