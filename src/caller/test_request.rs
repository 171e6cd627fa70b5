//! A request of the tests: signed by the signer of this crate, changed, and identified.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::derived_keys::DerivedKeys;
use super::directory::CallerDirectory;
use super::settings::{CallerKey, CallerSettings, IdentityKinds};
use super::verified_tokens::VerifiedTokens;
use super::{
    CallerIdentity, ClientRequest, ConnectionPeer, IdentityContext, IdentityError, JwtKeySet, identify,
};
use crate::oss::{Bucket, Key, Operation, Query, Region, SigningProduct};
use crate::policy::CallerRights;
use crate::secret::Secret;
use crate::sign::{SignableRequest, SigningIdentity, SigningKey, SigningScheme, SigningTime};
use crate::time::Timestamp;

/// The time of the proxy in all tests.
pub(super) const NOW: Timestamp = Timestamp::from_unix_s(1_702_743_657);

/// A sent request.
#[derive(Clone, Debug)]
pub(super) struct TestRequest {
    pub(super) method: Method,
    pub(super) bucket: Option<Bucket>,
    pub(super) key: Key,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
}

/// The form of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignedForm {
    V1Header,
    V1Url,
    V4Header,
    V4Url,
}

impl SignedForm {
    pub(super) const ALL: [Self; 4] = [Self::V1Header, Self::V1Url, Self::V4Header, Self::V4Url];

    pub(super) fn is_url(self) -> bool {
        matches!(self, Self::V1Url | Self::V4Url)
    }
}

/// The time for signatures, and that of the clock of the proxy.
struct TestTimes {
    now: Timestamp,
    clock_now: Timestamp,
}

/// The kinds of identity of most tests.
const KEYS_AND_TOKENS: IdentityKinds =
    IdentityKinds { key: true, token: true, certificate: false, uid: false, jwt: false };

impl TestRequest {
    pub(super) fn new(method: &str, key: &str, query: &str) -> Self {
        Self {
            method: method.parse().expect("a method"),
            bucket: Bucket::parse("bucket-a").ok(),
            key: Key::from_bytes(key.as_bytes().to_vec()).expect("a key"),
            query: Query::parse(query).expect("a query"),
            headers: HeaderMap::new(),
        }
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.set(name, value);
        self
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        let name: HeaderName = name.parse().expect("a name");
        self.headers.insert(name, HeaderValue::from_str(value).expect("a value"));
    }

    /// Returns the request, signed now with the first key of the directory.
    pub(super) fn signed(self, form: SignedForm) -> Self {
        self.signed_with(form, NOW, KEY_ID, SECRET)
    }

    pub(super) fn signed_with(self, form: SignedForm, at: Timestamp, id: &str, secret: &str) -> Self {
        let secret = &Secret::from(secret);
        self.signed_as(form, at, SigningIdentity { id, secret, token: None })
    }

    pub(super) fn signed_as(
        mut self,
        form: SignedForm,
        at: Timestamp,
        identity: SigningIdentity<'_>,
    ) -> Self {
        let time = SigningTime::new(at);
        let region = Region::parse("cn-hangzhou").expect("a region");
        let scheme = match form {
            SignedForm::V1Header | SignedForm::V1Url => SigningScheme::V1,
            SignedForm::V4Header | SignedForm::V4Url => {
                SigningScheme::V4 { day: time.day(), region: &region }
            }
        };
        let key = SigningKey::new(identity, scheme).expect("a key");
        if form.is_url() {
            self.query = key.presign(&self.signable(), &time, URL_LIFETIME).expect("a URL");
        } else {
            key.sign(&self.signable(), &time).apply(&mut self.headers);
        }
        self
    }

    pub(super) fn signable(&self) -> SignableRequest<'_> {
        let Self { method, bucket, key, query, headers } = self;
        SignableRequest { method, bucket: bucket.as_ref(), key, query, headers }
    }

    /// Identifies the client at [`NOW`], with the callers of [`directory`].
    pub(super) fn identify(&self) -> Result<String, IdentityError> {
        self.identify_at(NOW)
    }

    pub(super) fn identify_at(&self, now: Timestamp) -> Result<String, IdentityError> {
        self.identify_with(&directory(false), &DerivedKeys::default(), now)
    }

    pub(super) fn identify_with(
        &self,
        directory: &CallerDirectory,
        keys: &DerivedKeys,
        now: Timestamp,
    ) -> Result<String, IdentityError> {
        self.identify_at_two_times(directory, keys, now, now)
    }

    /// Identifies the client at a time for signatures, and at another one by the clock of the proxy.
    pub(super) fn identify_at_two_times(
        &self,
        directory: &CallerDirectory,
        keys: &DerivedKeys,
        now: Timestamp,
        clock_now: Timestamp,
    ) -> Result<String, IdentityError> {
        self.identify_as(directory, keys, KEYS_AND_TOKENS, TestTimes { now, clock_now })
    }

    pub(super) fn identify_of_kinds(
        &self,
        kinds: IdentityKinds,
        directory: &CallerDirectory,
        keys: &DerivedKeys,
    ) -> Result<String, IdentityError> {
        self.identify_as(directory, keys, kinds, TestTimes { now: NOW, clock_now: NOW })
    }

    fn identify_as(
        &self,
        directory: &CallerDirectory,
        keys: &DerivedKeys,
        kinds: IdentityKinds,
        times: TestTimes,
    ) -> Result<String, IdentityError> {
        self.identify_in(IdentityContext {
            directory,
            kinds,
            peer: &ConnectionPeer::default(),
            product: SigningProduct::Oss,
            keys,
            verified_tokens: &VerifiedTokens::default(),
            jwt_keys: &HashMap::<Box<str>, Arc<JwtKeySet>>::new(),
            signature_clock: &times.now,
            clock_now: times.clock_now,
        })
    }

    pub(super) fn identify_in(&self, context: IdentityContext<'_>) -> Result<String, IdentityError> {
        Ok(match self.identity_in(context)? {
            CallerIdentity::Open => "-".to_owned(),
            CallerIdentity::Known { caller, .. } => caller.name.to_string(),
        })
    }

    pub(super) fn identity_in(&self, context: IdentityContext<'_>) -> Result<CallerIdentity, IdentityError> {
        let mut sent = self.clone();
        let operation = Operation::classify(
            &sent.method,
            sent.bucket.is_none(),
            sent.key.is_empty(),
            &sent.query,
            &sent.headers,
        );
        let request = ClientRequest {
            method: &sent.method,
            operation: operation.expect("an operation"),
            bucket: sent.bucket.as_ref(),
            key: &sent.key,
            query: &mut sent.query,
            headers: &mut sent.headers,
            form: None,
        };
        identify(request, context)
    }

    /// Returns the value of a header.
    pub(super) fn text(&self, name: &str) -> String {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    }

    /// Returns the value of a parameter.
    pub(super) fn parameter(&self, name: &str) -> String {
        let value = self.query.get(name).and_then(|param| param.value.clone());
        String::from_utf8(value.expect("a value")).expect("text")
    }

    /// Replaces the value of a parameter.
    pub(super) fn set_parameter(&mut self, name: &str, value: &str) {
        self.query.remove(|known| known == name.as_bytes());
        self.query.push(name, value);
    }
}

/// The callers of the tests: `one` with a key, `two` with two secrets of one id, and an open one.
pub(super) fn directory(has_open: bool) -> CallerDirectory {
    let key = |id: &str, secret: &str| CallerKey { id: id.to_owned(), secret: Secret::from(secret) };
    let caller = |name: &str, keys, is_open| CallerSettings {
        name: name.to_owned(),
        rights: CallerRights::everything(),
        keys,
        is_open,
        ..CallerSettings::default()
    };
    let with_token =
        CallerSettings { token: Some(Secret::from(TOKEN)), ..caller("three", Vec::new(), false) };
    let mut callers = vec![
        caller("one", vec![key(KEY_ID, SECRET)], false),
        caller("two", vec![key("two-1", "old-secret"), key("two-1", "new-secret")], false),
    ];
    callers.push(with_token);
    if has_open {
        callers.push(caller("everyone", Vec::new(), true));
    }
    CallerDirectory::new(Some(&callers))
}

/// The access key of the caller `one`.
pub(super) const KEY_ID: &str = "one-1";
pub(super) const SECRET: &str = "secret-of-one";
/// The token of the caller `three`.
pub(super) const TOKEN: &str = "token-of-three:with+odd/characters==";
/// The lifetime of presigned URLs in the tests.
pub(super) const URL_LIFETIME: Duration = Duration::from_secs(600);
