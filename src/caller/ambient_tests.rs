//! Tests of the identities of connections, alone and beside those of requests.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderMap;

use super::connection_peer::{ClientCertificate, ConnectionPeer, UnixPeer};
use super::derived_keys::DerivedKeys;
use super::directory::CallerDirectory;
use super::identity_error::{IdentityError, MalformedKind};
use super::peer_identities::{CertificateName, NOBODY, NamedUser, PeerIdentities};
use super::settings::{CallerKey, CallerSettings, IdentityKinds};
use super::subject_name::SubjectName;
use super::test_request::{KEY_ID, NOW, SECRET, SignedForm, TOKEN, TestRequest};
use super::{IdentityContext, JwtKeySet, VerifiedTokens};
use crate::oss::SigningProduct;
use crate::policy::CallerRights;
use crate::secret::Secret;
use crate::time::Timestamp;

const ALL: IdentityKinds = IdentityKinds { key: true, certificate: true, uid: true, token: true, jwt: true };

fn subject(text: &str) -> SubjectName {
    SubjectName::parse(text).expect("a subject")
}

/// The callers of the tests: `dns` also has a key and a token, `uri` a key with another id.
fn directory(has_open: bool) -> CallerDirectory {
    let key = |id: &str| CallerKey { id: id.to_owned(), secret: Secret::from(SECRET) };
    let caller = |name: &str, peer| CallerSettings {
        name: name.to_owned(),
        rights: CallerRights::everything(),
        peer,
        ..CallerSettings::default()
    };
    let certificate = |name| PeerIdentities { certificate: Some(name), ..PeerIdentities::default() };
    let user = NamedUser { name: "backup".to_owned(), uid: 34 };
    let dns = caller("dns", certificate(CertificateName::Dns("backup.example".to_owned())));
    let uri = caller("uri", certificate(CertificateName::Uri("spiffe://example.org/a".to_owned())));
    let mut callers = vec![
        CallerSettings { keys: vec![key(KEY_ID)], token: Some(Secret::from(TOKEN)), ..dns },
        CallerSettings { keys: vec![key("uri-1")], ..uri },
        caller("subject", certificate(CertificateName::Subject(subject("CN=backup,O=Example")))),
        caller("uid", PeerIdentities { uid: Some(1001), user: Some(user), ..PeerIdentities::default() }),
        caller("gid", PeerIdentities { gid: Some(2001), ..PeerIdentities::default() }),
        // The configuration rejects it.
        caller(
            "nobody",
            PeerIdentities { uid: Some(NOBODY), gid: Some(NOBODY), ..PeerIdentities::default() },
        ),
    ];
    if has_open {
        callers.push(CallerSettings { is_open: true, ..caller("everyone", PeerIdentities::default()) });
    }
    CallerDirectory::new(Some(&callers))
}

fn certificate(dns_names: &[&str], uris: &[&str], subject: Option<&str>) -> ClientCertificate {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    ClientCertificate {
        dns_names: texts(dns_names),
        uris: texts(uris),
        subject: subject.map(self::subject),
        is_for_clients: true,
        not_after: NOW,
        is_trusted: true,
    }
}

fn with_certificate(certificate: ClientCertificate) -> ConnectionPeer {
    ConnectionPeer { certificate: Some(certificate), unix: None }
}

fn with_process(uid: u32, gid: u32) -> ConnectionPeer {
    ConnectionPeer { certificate: None, unix: Some(UnixPeer { uid, gid }) }
}

fn get() -> TestRequest {
    TestRequest::new("GET", "a", "")
}

/// A client, and the listener that it has connected to.
struct ConnectedClient<'a> {
    peer: &'a ConnectionPeer,
    kinds: IdentityKinds,
    has_open: bool,
    now: Timestamp,
    keys: DerivedKeys,
}

impl<'a> ConnectedClient<'a> {
    fn new(peer: &'a ConnectionPeer) -> Self {
        Self { peer, kinds: ALL, has_open: false, now: NOW, keys: DerivedKeys::default() }
    }

    fn identify(&self, request: &TestRequest) -> Result<String, IdentityError> {
        self.in_context(|context| request.identify_in(context))
    }

    fn in_context<T>(&self, identify: impl FnOnce(IdentityContext<'_>) -> T) -> T {
        identify(IdentityContext {
            directory: &directory(self.has_open),
            kinds: self.kinds,
            peer: self.peer,
            product: SigningProduct::Oss,
            keys: &self.keys,
            verified_tokens: &VerifiedTokens::default(),
            jwt_keys: &HashMap::<Box<str>, Arc<JwtKeySet>>::new(),
            signature_clock: &NOW,
            clock_now: self.now,
        })
    }

    /// Returns the caller, or the kind of the error.
    fn outcome(&self, request: &TestRequest) -> String {
        match self.identify(request) {
            Ok(name) => name,
            Err(IdentityError::Malformed(malformed)) => match malformed.kind() {
                MalformedKind::Argument => "argument".to_owned(),
                MalformedKind::Denied => "denied".to_owned(),
            },
            Err(error) => format!("{error:?}").split([' ', '(']).next().expect("a name").to_owned(),
        }
    }
}

#[test]
fn a_certificate_identifies_by_dns_name_by_its_only_uri_and_by_subject() {
    for (certificate, expected) in [
        (certificate(&["backup.example"], &[], None), "dns"),
        (certificate(&["other.example", "backup.example"], &[], None), "dns"),
        (certificate(&["*.example"], &[], None), "NoToken"),
        (certificate(&["a.backup.example"], &[], None), "NoToken"),
        (certificate(&[], &["spiffe://example.org/a"], None), "uri"),
        (certificate(&[], &["spiffe://example.org/A"], None), "NoToken"),
        (certificate(&[], &["spiffe://example.org/a", "spiffe://example.org/b"], None), "NoToken"),
        (certificate(&[], &["spiffe://example.org/a", "spiffe://example.org/a"], None), "NoToken"),
        // A name in one field is not that of another.
        (certificate(&["spiffe://example.org/a"], &["backup.example"], None), "NoToken"),
        (certificate(&[], &[], Some("CN=backup,O=Example")), "subject"),
        (certificate(&[], &[], Some("CN=backup.example")), "NoToken"),
        (certificate(&["backup.example"], &["spiffe://a/b", "spiffe://a/c"], Some("CN=backup")), "dns"),
        (certificate(&[], &[], None), "NoToken"),
    ] {
        let peer = with_certificate(certificate);
        assert_eq!(ConnectedClient::new(&peer).outcome(&get()), expected, "{peer:?}");
    }
}

#[test]
fn a_certificate_or_a_process_of_several_callers_is_rejected() {
    for peer in [
        with_certificate(certificate(&["backup.example"], &["spiffe://example.org/a"], None)),
        with_certificate(certificate(&["backup.example"], &[], Some("CN=backup,O=Example"))),
        with_process(1001, 2001),
        ConnectionPeer {
            certificate: Some(certificate(&["backup.example"], &[], None)),
            unix: Some(UnixPeer { uid: 1001, gid: 5 }),
        },
    ] {
        let client = ConnectedClient { has_open: true, ..ConnectedClient::new(&peer) };
        assert_eq!(client.outcome(&get()), "argument", "{peer:?}");
        assert_eq!(client.outcome(&get().signed(SignedForm::V4Header)), "argument", "{peer:?}");
    }
    let both = with_certificate(certificate(&["backup.example"], &[], Some("CN=other")));
    assert_eq!(ConnectedClient::new(&both).outcome(&get()), "dns");
}

#[test]
fn a_certificate_that_is_not_for_clients_identifies_nobody() {
    let for_servers =
        ClientCertificate { is_for_clients: false, ..certificate(&["backup.example"], &[], None) };
    let peer = with_certificate(for_servers);
    let client = ConnectedClient::new(&peer);
    assert_eq!(client.outcome(&get()), "NoToken");
    assert_eq!(client.outcome(&get().signed(SignedForm::V4Header)), "dns", "by its key");
    let kinds = IdentityKinds { certificate: true, ..IdentityKinds::default() };
    let client = ConnectedClient { kinds, ..ConnectedClient::new(&peer) };
    assert_eq!(client.outcome(&get()), "CertificateUsage");
    let open = ConnectedClient { kinds, has_open: true, ..ConnectedClient::new(&peer) };
    assert_eq!(open.outcome(&get()), "everyone");
}

#[test]
fn an_identity_ends_with_the_certificate_of_its_connection() {
    let peer = with_certificate(certificate(&["backup.example"], &[], None));
    let client = ConnectedClient::new(&peer);
    let bearer = get().header("authorization", &format!("Bearer {TOKEN}"));
    for request in [get(), bearer, get().signed(SignedForm::V4Header)] {
        let identity = client.in_context(|context| request.identity_in(context)).expect("an identity");
        assert_eq!(identity.expires(), Some(NOW), "{identity:?}");
    }
}

#[test]
fn each_request_needs_a_certificate_that_is_valid_then() {
    let peer = with_certificate(certificate(&["backup.example"], &[], None));
    let withdrawn = ClientCertificate { is_trusted: false, ..certificate(&["backup.example"], &[], None) };
    let withdrawn = with_certificate(withdrawn);
    let later = Timestamp::from_unix_s(NOW.unix_s() + 1);
    for (peer, now, expected) in
        [(&peer, NOW, "dns"), (&peer, later, "ExpiredCertificate"), (&withdrawn, NOW, "WithdrawnCertificate")]
    {
        for has_open in [false, true] {
            let client = ConnectedClient { now, has_open, ..ConnectedClient::new(peer) };
            assert_eq!(client.outcome(&get()), expected);
            assert_eq!(client.outcome(&get().signed(SignedForm::V4Header)), expected);
        }
        // A listener that does not identify by certificates leaves them to TLS.
        let kinds = IdentityKinds { key: true, ..IdentityKinds::default() };
        let client = ConnectedClient { now, kinds, ..ConnectedClient::new(peer) };
        assert_eq!(client.outcome(&get().signed(SignedForm::V4Header)), "dns");
    }
}

#[test]
fn a_process_identifies_by_user_and_by_group_but_not_as_nobody() {
    for (uid, gid, expected) in [
        (1001, 5, "uid"),
        (34, 5, "uid"),
        (5, 2001, "gid"),
        (2001, 1001, "NoToken"),
        (0, 0, "NoToken"),
        (NOBODY, 5, "NoToken"),
        (5, NOBODY, "NoToken"),
        (NOBODY, NOBODY, "NoToken"),
        (1001, NOBODY, "uid"),
    ] {
        let peer = with_process(uid, gid);
        assert_eq!(ConnectedClient::new(&peer).outcome(&get()), expected, "{uid} {gid}");
    }
}

#[test]
fn a_connection_identifies_only_where_the_listener_accepts_it() {
    let certified = with_certificate(certificate(&["backup.example"], &[], None));
    let process = with_process(1001, 5);
    let certificates = IdentityKinds { certificate: true, ..IdentityKinds::default() };
    let users = IdentityKinds { uid: true, ..IdentityKinds::default() };
    for (peer, kinds, expected) in [
        (&certified, certificates, "dns"),
        (&certified, users, "UnknownPeer"),
        (&process, users, "uid"),
        (&process, certificates, "UnknownPeer"),
        (&ConnectionPeer::default(), certificates, "UnknownPeer"),
    ] {
        let client = ConnectedClient { kinds, ..ConnectedClient::new(peer) };
        assert_eq!(client.outcome(&get()), expected, "{peer:?}");
        // Keys are not accepted.
        assert_eq!(client.outcome(&get().signed(SignedForm::V4Header)), "argument", "{peer:?}");
        let open = ConnectedClient { has_open: true, ..client };
        assert_eq!(open.outcome(&get()), if expected == "UnknownPeer" { "everyone" } else { expected });
    }
    let open = ConnectedClient { has_open: true, ..ConnectedClient::new(&certified) };
    let open = ConnectedClient { kinds: IdentityKinds::default(), ..open };
    assert_eq!(open.outcome(&get()), "everyone");
}

#[test]
fn a_request_and_its_connection_are_of_one_caller() {
    let peer = with_certificate(certificate(&["backup.example"], &[], None));
    let client = ConnectedClient::new(&peer);
    let token = get().header("authorization", &format!("Bearer {TOKEN}"));
    assert_eq!(client.outcome(&token), "dns");
    let unknown = get().header("authorization", "Bearer of-nobody");
    assert_eq!(client.outcome(&unknown), "UnknownToken");
    for form in SignedForm::ALL {
        assert_eq!(client.outcome(&get().signed(form)), "dns", "{form:?}");
        let of_nobody = get().signed_with(form, NOW, "nobody-1", SECRET);
        assert_eq!(client.outcome(&of_nobody), "UnknownKey", "{form:?}");
        let wrong = get().signed_with(form, NOW, KEY_ID, "wrong");
        assert_eq!(client.outcome(&wrong), "Mismatch", "{form:?}");
    }
    let process = with_process(1001, 5);
    assert_eq!(ConnectedClient::new(&process).outcome(&token), "argument");
}

#[test]
fn a_key_of_another_caller_is_rejected_before_any_secret_is_compared() {
    let peer = with_certificate(certificate(&["backup.example"], &[], None));
    for form in SignedForm::ALL {
        for secret in [SECRET, "wrong"] {
            let client = ConnectedClient::new(&peer);
            let sent = get().signed_with(form, NOW, "uri-1", secret);
            assert_eq!(client.outcome(&sent), "argument", "{form:?}");
            assert_eq!(client.keys.computed(), 0, "{form:?}");
            let none = ConnectionPeer::default();
            let expected = if secret == SECRET { "uri" } else { "Mismatch" };
            assert_eq!(ConnectedClient::new(&none).outcome(&sent), expected, "{form:?}");
        }
    }
}

#[test]
fn headers_with_certificates_count_for_nothing() {
    let none = ConnectionPeer::default();
    let mut sent = get();
    for (name, value) in [
        ("x-forwarded-client-cert", "By=spiffe://a/b;URI=spiffe://example.org/a;DNS=backup.example"),
        ("x-ssl-client-s-dn", "CN=backup,O=Example"),
        ("x-ssl-client-verify", "SUCCESS"),
        ("client-cert", ":MIIB:"),
    ] {
        sent.set(name, value);
    }
    assert_eq!(sent.headers.len(), 4);
    let client = ConnectedClient::new(&none);
    assert_eq!(client.outcome(&sent), "NoToken");
    let open = ConnectedClient { has_open: true, ..client };
    assert_eq!(open.outcome(&sent), "everyone");
    let unsent = TestRequest { headers: HeaderMap::new(), ..sent };
    assert_eq!(open.outcome(&unsent), "everyone");
}
