//! Sources against an environment and a clock of the test's own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::credentials::{
    Answer, Credentials, Edge, Failure, Insane, Place, Provide, ProvideError, Source, Spec, Unavailable,
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
    let sources = Spec::build_all(vec![("default".to_owned(), spec)]);
    let source = &sources["default"];
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
    let got = ask(Spec::Env(Place::default()), &all).await;
    assert_eq!(got, Ok(("LTAIoss".to_owned(), false, "env/OSS".to_owned())));
    let got = ask(Spec::Chain(Place::default()), &all[2..]).await;
    assert_eq!(got, Ok(("LTAIali".to_owned(), false, "chain/env/ALIBABA_CLOUD".to_owned())));
}

#[tokio::test]
async fn families_are_never_mixed() {
    let got = ask(
        Spec::Env(Place::default()),
        &[("OSS_ACCESS_KEY_ID", "LTAIoss"), ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "s2")],
    )
    .await;
    let half = Failure::HalfSet { present: "OSS_ACCESS_KEY_ID", missing: "OSS_ACCESS_KEY_SECRET" };
    assert_eq!(got, Err(ProvideError::Failed(half)));
    let with_foreign_token = ask(
        Spec::Env(Place::default()),
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
    let got = ask(Spec::Chain(Place::default()), &[("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "s")]).await;
    assert!(matches!(got, Err(ProvideError::Failed(Failure::HalfSet { .. }))), "{got:?}");
}

#[tokio::test]
async fn an_empty_variable_counts_as_not_set() {
    let got =
        ask(Spec::Env(Place::default()), &[("OSS_ACCESS_KEY_ID", ""), ("OSS_ACCESS_KEY_SECRET", "")]).await;
    assert!(matches!(got, Err(ProvideError::NotConfigured(_))), "{got:?}");
}

#[tokio::test]
async fn a_role_in_the_environment_needs_a_key_beside_it() {
    let role = ("OSS_STS_ROLE_ARN", "acs:ram::1:role/r");
    let failed = |failure| Err(ProvideError::Failed(failure));
    let got = ask(Spec::Env(Place::default()), &[role]).await;
    assert_eq!(got, failed(Failure::RoleWithoutKey { variable: "OSS_STS_ROLE_ARN" }));
    // A key of another family is not meant.
    let other = [role, ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAIx"), ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "s")];
    let got = ask(Spec::Env(Place::default()), &other).await;
    assert_eq!(got, failed(Failure::RoleWithoutKey { variable: "OSS_STS_ROLE_ARN" }));
    let got = ask(Spec::Env(Place::default()), &[role, ("OSS_ACCESS_KEY_ID", "LTAIx")]).await;
    let half = Failure::HalfSet { present: "OSS_ACCESS_KEY_ID", missing: "OSS_ACCESS_KEY_SECRET" };
    assert_eq!(got, failed(half));
}

#[tokio::test]
async fn two_of_the_three_of_a_pod_end_the_chain() {
    let file = ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", "/nowhere/token");
    let role = ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/r");
    let got = ask(Spec::Chain(Place::default()), &[file, role]).await;
    assert!(matches!(got, Err(ProvideError::Failed(Failure::HalfSetTrio { .. }))), "{got:?}");
    // The role alone can be meant for something else.
    let got = ask(Spec::Chain(Place::default()), &[role]).await;
    assert!(matches!(got, Err(ProvideError::NotConfigured(_))), "{got:?}");
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
    let at = |seconds: i64| Timestamp::from_unix_s(NOW.unix_s() + seconds);
    let source = Source::new("default", Box::new(Ending(at(1_000))));
    assert_eq!(source.get(NOW).map(|_| ()), Err(Unavailable::Empty));
    source.refresh(&World::default()).await.expect("credentials");
    assert!(source.get(at(989)).is_ok());
    assert_eq!(source.get(at(990)).map(|_| ()), Err(Unavailable::Expired), "a request needs time to arrive");
}

#[tokio::test]
async fn what_has_ended_before_it_came_is_no_answer() {
    let source = Source::new("default", Box::new(Ending(NOW)));
    let got = source.refresh(&World::default()).await.map(|_| ());
    assert!(matches!(&got, Err(ProvideError::Unavailable(text)) if text.contains("clock")), "{got:?}");
    assert_eq!(source.get(NOW).map(|_| ()), Err(Unavailable::Expired));
}

/// A source that takes its time, and counts how often it is asked.
struct Slow(Arc<AtomicUsize>);

impl Provide for Slow {
    fn provide<'a>(&'a self, edge: &'a dyn Edge) -> Answer<'a> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ending(Timestamp::from_unix_s(NOW.unix_s() + 1_000)).provide(edge).await
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_is_asked_once_however_many_wait_for_it() {
    let asked = Arc::new(AtomicUsize::new(0));
    let source = Source::new("default", Box::new(Slow(Arc::clone(&asked))));
    let world = World::default();
    let (a, b) = tokio::join!(source.refresh(&world), source.refresh(&world));
    assert!(a.is_ok() && b.is_ok());
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    let (a, b, waited) = tokio::join!(source.refresh(&world), source.obtain(&world), source.wait(&world));
    assert!(a.is_ok() && b.is_ok() && waited.is_ok());
    assert_eq!(asked.load(Ordering::Relaxed), 2, "who has something does not ask");
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_a_source_that_is_being_asked_and_for_no_other() {
    let source = Source::new("default", Box::new(Slow(Arc::default())));
    let world = World::default();
    assert_eq!(source.wait(&world).await.map(|_| ()), Err(Unavailable::Empty));
    let (_, waited) = tokio::join!(source.refresh(&world), source.wait(&world));
    assert!(waited.is_ok());
}

/// A source that never answers.
struct Silent;

impl Provide for Silent {
    fn provide<'a>(&'a self, _edge: &'a dyn Edge) -> Answer<'a> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn neither_an_attempt_nor_a_request_waits_for_ever() {
    let source = Source::new("default", Box::new(Silent));
    let world = World::default();
    let begun = tokio::time::Instant::now();
    let waiting = async {
        let waited = source.wait(&world).await.map(|_| ());
        (waited, begun.elapsed())
    };
    let (asked, (waited, after)) = tokio::join!(source.refresh(&world), waiting);
    assert_eq!((waited, after.as_secs()), (Err(Unavailable::Empty), 5));
    assert!(matches!(asked, Err(ProvideError::Unavailable(_))));
    assert_eq!(begun.elapsed().as_secs(), 20);
}
