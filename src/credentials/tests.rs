//! Sources against an environment and a clock of the test's own.

use std::collections::HashMap;

use crate::credentials::{
    Answer, Credentials, Edge, Failure, Insane, Provide, ProvideError, Source, Spec, Unavailable,
};
use crate::secret::Secret;
use crate::time::{Clock, Timestamp};

const NOW: Timestamp = Timestamp::from_unix_s(1_700_000_000);

#[derive(Default)]
struct World(HashMap<&'static str, &'static str>);

impl World {
    fn with(variables: &[(&'static str, &'static str)]) -> Self {
        Self(variables.iter().copied().collect())
    }
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        NOW
    }
}

impl Edge for World {
    fn variable(&self, name: &str) -> Option<String> {
        self.0.get(name).filter(|value| !value.is_empty()).map(|value| (*value).to_owned())
    }
}

async fn ask(
    spec: Spec,
    variables: &[(&'static str, &'static str)],
) -> Result<(String, bool, String), ProvideError> {
    let source = Source::new("default", spec.build());
    let got = source.refresh(&World::with(variables)).await?;
    Ok((got.id.clone(), got.token.is_some(), got.provider.to_string()))
}

#[tokio::test]
async fn the_oss_family_comes_before_the_general_one() {
    let all = [
        ("OSS_ACCESS_KEY_ID", "LTAIoss"),
        ("OSS_ACCESS_KEY_SECRET", "s1"),
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAIali"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "s2"),
    ];
    let got = ask(Spec::Env, &all).await;
    assert_eq!(got, Ok(("LTAIoss".to_owned(), false, "env/OSS".to_owned())));
    let got = ask(Spec::Chain, &all[2..]).await;
    assert_eq!(got, Ok(("LTAIali".to_owned(), false, "chain/env/ALIBABA_CLOUD".to_owned())));
}

#[tokio::test]
async fn families_are_never_mixed() {
    let got =
        ask(Spec::Env, &[("OSS_ACCESS_KEY_ID", "LTAIoss"), ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "s2")]).await;
    let half = Failure::HalfSet { present: "OSS_ACCESS_KEY_ID", missing: "OSS_ACCESS_KEY_SECRET" };
    assert_eq!(got, Err(ProvideError::Failed(half)));
    let with_foreign_token = ask(
        Spec::Env,
        &[
            ("OSS_ACCESS_KEY_ID", "LTAIoss"),
            ("OSS_ACCESS_KEY_SECRET", "s1"),
            ("ALIBABA_CLOUD_SECURITY_TOKEN", "token"),
        ],
    )
    .await;
    assert_eq!(with_foreign_token, Ok(("LTAIoss".to_owned(), false, "env/OSS".to_owned())));
}

#[tokio::test]
async fn a_half_set_pair_ends_the_chain() {
    let got = ask(Spec::Chain, &[("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "s")]).await;
    assert!(matches!(got, Err(ProvideError::Failed(Failure::HalfSet { .. }))), "{got:?}");
}

#[tokio::test]
async fn an_empty_variable_counts_as_not_set() {
    let got = ask(Spec::Env, &[("OSS_ACCESS_KEY_ID", ""), ("OSS_ACCESS_KEY_SECRET", "")]).await;
    assert!(matches!(got, Err(ProvideError::NotConfigured(_))), "{got:?}");
}

#[tokio::test]
async fn a_role_in_the_environment_is_an_error_and_never_ignored() {
    let pair = [
        ("OSS_ACCESS_KEY_ID", "LTAIx"),
        ("OSS_ACCESS_KEY_SECRET", "s"),
        ("OSS_STS_ROLE_ARN", "acs:ram::1:role/r"),
    ];
    let got = ask(Spec::Env, &pair).await;
    assert_eq!(got, Err(ProvideError::Failed(Failure::NeedsAssumeRole { variable: "OSS_STS_ROLE_ARN" })));
}

#[tokio::test]
async fn a_static_triple_is_given_as_it_is_and_checked() {
    let spec = |id: &str, token: Option<&str>| Spec::Static {
        id: id.to_owned(),
        secret: Secret::from("s3cret"),
        token: token.map(Secret::from),
    };
    assert_eq!(ask(spec("STS.x", Some("t")), &[]).await, Ok(("STS.x".to_owned(), true, "static".to_owned())));
    let got = ask(spec("STS.x", None), &[]).await;
    assert_eq!(got, Err(ProvideError::Failed(Failure::Insane(Insane::TokenMissing))));
}

/// A source whose credentials end at a given time.
struct Ending(Timestamp);

impl Provide for Ending {
    fn provide<'a>(&'a self, _edge: &'a dyn Edge) -> Answer<'a> {
        let expires = Some(self.0);
        Box::pin(async move {
            Ok(Credentials {
                id: "STS.x".to_owned(),
                secret: Secret::from("s"),
                token: Some(Secret::from("t")),
                expires,
                provider: "ending".into(),
            })
        })
    }
}

#[tokio::test]
async fn nothing_is_signed_with_credentials_that_have_ended() {
    let source = Source::new("default", Box::new(Ending(NOW)));
    assert_eq!(source.get(NOW).map(|_| ()), Err(Unavailable::Empty));
    source.refresh(&World::default()).await.expect("credentials");
    assert!(source.get(Timestamp::from_unix_s(NOW.unix_s() - 1)).is_ok());
    assert_eq!(source.get(NOW).map(|_| ()), Err(Unavailable::Expired));
}
