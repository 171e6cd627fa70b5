//! Sources against an environment and a clock of the test's own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::credentials::{
    Answer, Credentials, Edge, Failure, Insane, Links, Place, Provide, ProvideError, Source, Spec,
    Unavailable, Wanted,
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
        // No test asks the machine it runs on.
        let own = self.0.get(name).filter(|value| !value.is_empty()).map(|value| (*value).to_owned());
        own.or_else(|| (name == "ALIBABA_CLOUD_ECS_METADATA_DISABLED").then(|| "true".to_owned()))
    }
}

async fn ask(
    spec: Spec,
    variables: &[(&'static str, &'static str)],
) -> Result<(String, bool, String), ProvideError> {
    let sources = Spec::build_all(&[("default".to_owned(), spec)]);
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
    let got = ask(Spec::Env(Place::default(), Wanted::default()), &all).await;
    assert_eq!(got, Ok(("LTAIoss".to_owned(), false, "env/OSS".to_owned())));
    let got = ask(Spec::Chain(Links::default()), &all[2..]).await;
    assert_eq!(got, Ok(("LTAIali".to_owned(), false, "default/env/ALIBABA_CLOUD".to_owned())));
}

#[tokio::test]
async fn families_are_never_mixed() {
    let got = ask(
        Spec::Env(Place::default(), Wanted::default()),
        &[("OSS_ACCESS_KEY_ID", "LTAIoss"), ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "s2")],
    )
    .await;
    let half = Failure::HalfSet { present: "OSS_ACCESS_KEY_ID", missing: "OSS_ACCESS_KEY_SECRET" };
    assert_eq!(got, Err(ProvideError::Failed(half)));
    let with_foreign_token = ask(
        Spec::Env(Place::default(), Wanted::default()),
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
    let got = ask(Spec::Chain(Links::default()), &[("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "s")]).await;
    assert!(matches!(got, Err(ProvideError::Failed(Failure::HalfSet { .. }))), "{got:?}");
}

#[tokio::test]
async fn an_empty_variable_counts_as_not_set() {
    let got = ask(
        Spec::Env(Place::default(), Wanted::default()),
        &[("OSS_ACCESS_KEY_ID", ""), ("OSS_ACCESS_KEY_SECRET", "")],
    )
    .await;
    assert!(matches!(got, Err(ProvideError::NotConfigured(_))), "{got:?}");
}

#[tokio::test]
async fn a_role_in_the_environment_needs_a_key_beside_it() {
    let role = ("OSS_STS_ROLE_ARN", "acs:ram::1:role/r");
    let failed = |failure| Err(ProvideError::Failed(failure));
    let got = ask(Spec::Env(Place::default(), Wanted::default()), &[role]).await;
    assert_eq!(got, failed(Failure::RoleWithoutKey { variable: "OSS_STS_ROLE_ARN" }));
    // A key of another family is not meant.
    let other = [role, ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAIx"), ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "s")];
    let got = ask(Spec::Env(Place::default(), Wanted::default()), &other).await;
    assert_eq!(got, failed(Failure::RoleWithoutKey { variable: "OSS_STS_ROLE_ARN" }));
    let got =
        ask(Spec::Env(Place::default(), Wanted::default()), &[role, ("OSS_ACCESS_KEY_ID", "LTAIx")]).await;
    let half = Failure::HalfSet { present: "OSS_ACCESS_KEY_ID", missing: "OSS_ACCESS_KEY_SECRET" };
    assert_eq!(got, failed(half));
}

#[tokio::test]
async fn two_of_the_three_of_a_pod_end_the_chain() {
    let file = ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", "/nowhere/token");
    let role = ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/r");
    let got = ask(Spec::Chain(Links::default()), &[file, role]).await;
    assert!(matches!(got, Err(ProvideError::Failed(Failure::HalfSetTrio { .. }))), "{got:?}");
    // The role alone can be meant for something else.
    let got = ask(Spec::Chain(Links::default()), &[role]).await;
    assert!(matches!(got, Err(ProvideError::NotConfigured(_))), "{got:?}");
}

#[tokio::test]
async fn a_static_triple_is_given_as_it_is_and_checked() {
    let spec = |id: &str, token: Option<&str>| Spec::Static {
        id: id.to_owned(),
        secret: Secret::from("s3cret"),
        token: token.map(Secret::from),
    };
    assert_eq!(
        ask(spec("STS.x", Some("t")), &[]).await,
        Ok(("STS.x".to_owned(), true, "static_sts".to_owned()))
    );
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

#[tokio::test]
async fn older_families_are_read_whole_and_after_the_others() {
    for (variables, provider) in [
        (
            [("ALIBABACLOUD_ACCESS_KEY_ID", "LTAIx"), ("ALIBABACLOUD_ACCESS_KEY_SECRET", "s")],
            "env/ALIBABACLOUD",
        ),
        ([("ALICLOUD_ACCESS_KEY_ID", "LTAIx"), ("ALICLOUD_ACCESS_KEY_SECRET", "s")], "env/ALICLOUD"),
        ([("ALICLOUD_ACCESS_KEY", "LTAIx"), ("ALICLOUD_SECRET_KEY", "s")], "env/ALICLOUD_ACCESS_KEY"),
    ] {
        let spec = || Spec::Env(Place::default(), Wanted::default());
        assert_eq!(ask(spec(), &variables).await, Ok(("LTAIx".to_owned(), false, provider.to_owned())));
        let got = ask(spec(), &variables[..1]).await;
        assert!(matches!(got, Err(ProvideError::Failed(Failure::HalfSet { .. }))), "{provider}: {got:?}");
    }
    let bare = [("ACCESS_KEY_ID", "LTAIx"), ("ACCESS_KEY_SECRET", "s")];
    let got = ask(Spec::Env(Place::default(), Wanted::default()), &bare).await;
    assert!(matches!(got, Err(ProvideError::NotConfigured(_))), "{got:?}");
}

/// A home directory with a file in it.
fn home(path: &str, text: &str) -> (tempfile::TempDir, &'static str) {
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join(path);
    std::fs::create_dir_all(file.parent().expect("a directory")).expect("made");
    std::fs::write(file, text).expect("written");
    let path: &'static str = home.path().to_str().expect("a path").to_owned().leak();
    (home, path)
}

const CONFIG: &str = r#"{"current": "a", "profiles": [{"name": "a", "mode": "AK", "access_key_id": "LTAIcli", "access_key_secret": "s"}]}"#;

#[tokio::test]
async fn the_chain_finds_each_file_of_the_home_directory() {
    for (path, text, provider) in [
        (".aliyun/config.json", CONFIG, "default/cli_profile/static_ak"),
        (
            ".alibabacloud/credentials",
            "[default]\ntype=access_key\naccess_key_id=LTAIcli\naccess_key_secret=s",
            "default/profile/static_ak",
        ),
        (
            ".alibabacloud/credentials.ini",
            "[default]\ntype=access_key\naccess_key_id=LTAIcli\naccess_key_secret=s",
            "default/profile/static_ak",
        ),
        (
            ".oss/credentials",
            "[default]\naccess_key_id=LTAIcli\naccess_key_secret=s",
            "default/oss_profile/static_ak",
        ),
        (
            ".ossutilconfig",
            "[Credentials]\naccessKeyID=LTAIcli\naccessKeySecret=s",
            "default/ossutil/static_ak",
        ),
    ] {
        let (_kept, home) = home(path, text);
        let got = ask(Spec::Chain(Links::default()), &[("HOME", home)]).await;
        assert_eq!(got, Ok(("LTAIcli".to_owned(), false, provider.to_owned())), "{path}");
        let with_key = [("HOME", home), ("OSS_ACCESS_KEY_ID", "LTAIenv"), ("OSS_ACCESS_KEY_SECRET", "s")];
        let got = ask(Spec::Chain(Links::default()), &with_key).await;
        assert_eq!(got.map(|(id, ..)| id), Ok("LTAIenv".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn a_file_that_is_named_and_missing_ends_the_chain() {
    let (_kept, home) = home(".ossutilconfig", "[Credentials]\naccessKeyID=LTAIx\naccessKeySecret=s");
    for variable in
        ["ALIBABA_CLOUD_CONFIG_FILE", "ALIBABA_CLOUD_CREDENTIALS_FILE", "OSS_CREDENTIAL_PROFILES_FILE"]
    {
        let got = ask(Spec::Chain(Links::default()), &[("HOME", home), (variable, "/nowhere/at-all")]).await;
        assert!(
            matches!(&got, Err(ProvideError::Unavailable(why)) if why.contains("/nowhere/at-all")),
            "{got:?}"
        );
    }
}

#[tokio::test]
async fn a_profile_that_is_switched_off_or_not_supported() {
    let (_kept, path) = home(".aliyun/config.json", CONFIG);
    for off in ["ALIBABA_CLOUD_CLI_PROFILE_DISABLED", "ALIBABA_CLOUD_IGNORE_PROFILE"] {
        let got = ask(Spec::Chain(Links::default()), &[("HOME", path), (off, "TRUE")]).await;
        assert!(matches!(&got, Err(ProvideError::NotConfigured(why)) if why.contains(off)), "{got:?}");
    }
    let (_kept, path) = home(
        ".aliyun/config.json",
        r#"{"current": "a", "profiles": [{"name": "a", "mode": "External", "process_command": "touch /tmp/never"}]}"#,
    );
    let got = ask(Spec::Chain(Links::default()), &[("HOME", path)]).await;
    assert!(matches!(&got, Err(ProvideError::Refused(why)) if why.contains("allow_process")), "{got:?}");
}

#[tokio::test]
async fn what_the_chain_has_found_stays() {
    let (kept, path) = home(".aliyun/config.json", CONFIG);
    std::fs::write(kept.path().join(".ossutilconfig"), "[Credentials]\naccessKeyID=LTAIy\naccessKeySecret=s")
        .expect("written");
    let sources = Spec::build_all(&[("default".to_owned(), Spec::Chain(Links::default()))]);
    let (source, world) = (&sources["default"], World::with(&[("HOME", path)]));
    assert_eq!(source.refresh(&world).await.expect("a key").id, "LTAIcli");
    std::fs::remove_file(kept.path().join(".aliyun/config.json")).expect("removed");
    let got = source.refresh(&world).await.map(|given| given.id.clone());
    assert!(matches!(&got, Err(ProvideError::Unavailable(why)) if why.contains("is gone")), "{got:?}");
    assert_eq!(source.get(NOW).expect("what was there").id, "LTAIcli");
    let lines = source.status(&world).explanation.join("\n");
    for words in ["env             not configured", "cli_profile     SELECTED", "ossutil         not asked"] {
        assert!(lines.contains(words), "{words}: {lines}");
    }
}

#[tokio::test]
async fn sources_that_are_the_same_are_one() {
    let role = |source: &str| Spec::AssumeRole {
        source: source.to_owned(),
        role: super::super::Role {
            arn: "acs:ram::1:role/r".to_owned(),
            session_name: None,
            duration: Duration::from_secs(900),
            policy: None,
            external_id: None,
        },
        place: Place::default(),
        signature: super::super::Signature::Acs3,
    };
    let env = || Spec::Env(Place::default(), Wanted::default());
    let named = |name: &str, spec: Spec| (name.to_owned(), spec);
    let specs = [
        named("z", role("a")),
        named("a", env()),
        named("b", env()),
        named("y", role("b")),
        named("x", role("c")),
        named("c", Spec::Chain(Links::default())),
        named("nobody", Spec::Anonymous),
    ];
    let sources = Spec::build_all(&specs);
    let same = |a: &str, b: &str| Arc::ptr_eq(&sources[a], &sources[b]);
    assert!(same("a", "b") && same("z", "y") && !same("x", "y") && !same("a", "c"));
    assert!(!sources.contains_key("nobody"));
    let each: Vec<&str> = super::super::each(&sources).map(|(name, _)| name).collect();
    assert_eq!(each.len(), 4, "{each:?}");
}

/// A source that gives a key of this number.
struct Numbered(Arc<AtomicUsize>);

impl Provide for Numbered {
    fn provide<'a>(&'a self, _edge: &'a dyn Edge) -> Answer<'a> {
        let number = self.0.load(Ordering::Relaxed);
        Box::pin(async move {
            let (secret, provider) = (Secret::from("s"), "numbered".into());
            Ok(Credentials { id: format!("LTAI{number}"), secret, token: None, expires: None, provider })
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_key_is_replaced_at_once_and_not_more_often_than_every_ten_seconds() {
    let number = Arc::new(AtomicUsize::new(1));
    let source = Source::new("default", Box::new(Numbered(Arc::clone(&number))));
    let world = World::default();
    let first = source.refresh(&world).await.expect("a key");
    let following = source.follow(&world);
    tokio::pin!(following);
    let mut replace = async |refused: &Arc<Credentials>| {
        tokio::select! {
            () = &mut following => panic!("it never ends"),
            other = source.replace(refused, &world) => other.map(|other| other.id.clone()),
        }
    };
    assert_eq!(replace(&first).await, None, "the same key again is no other");
    number.store(2, Ordering::Relaxed);
    let begun = tokio::time::Instant::now();
    assert_eq!(replace(&first).await, None, "it was asked just now");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(replace(&first).await, Some("LTAI2".to_owned()));
    assert_eq!(replace(&first).await, Some("LTAI2".to_owned()), "a newer one is there already");
    assert!(begun.elapsed() < Duration::from_secs(16), "{:?}", begun.elapsed());
    let status = source.status(&world);
    assert_eq!((status.rejected, status.generation), (3, 2));
}

/// A world whose clock jumps.
struct Jumping(std::sync::atomic::AtomicI64);

impl Clock for Jumping {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_s(self.0.load(Ordering::Relaxed))
    }
}

impl Edge for Jumping {
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }
}

/// A source whose credentials live a thousand seconds from when it is asked.
struct Living(Arc<AtomicUsize>);

impl Provide for Living {
    fn provide<'a>(&'a self, edge: &'a dyn Edge) -> Answer<'a> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let ending = Ending(edge.now() + Duration::from_secs(1_000));
        Box::pin(async move { ending.provide(edge).await })
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_is_noticed_within_a_second() {
    let asked = Arc::new(AtomicUsize::new(0));
    let source = Source::new("default", Box::new(Living(Arc::clone(&asked))));
    let world = Jumping(NOW.unix_s().into());
    source.refresh(&world).await.expect("credentials");
    world.0.fetch_add(86_400, Ordering::Relaxed);
    assert_eq!(source.get(world.now()).map(|_| ()), Err(Unavailable::Expired), "at once, whoever looks");
    let following = tokio::time::timeout(Duration::from_millis(2_100), source.follow(&world));
    assert!(following.await.is_err());
    assert!(source.get(world.now()).is_ok());
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    // Back to before it was issued: what is there is still good by any clock.
    world.0.fetch_sub(86_400, Ordering::Relaxed);
    assert!(source.get(world.now()).is_ok());
}

#[tokio::test]
async fn the_vendors_order_has_files_before_the_uri() {
    let (_kept, home) = home(".aliyun/config.json", CONFIG);
    // Nobody listens there.
    let variables = [("HOME", home), ("ALIBABA_CLOUD_CREDENTIALS_URI", "http://127.0.0.1:1/")];
    let got = ask(Spec::Chain(Links::default()), &variables).await;
    assert!(
        matches!(&got, Err(ProvideError::Unavailable(why)) if why.contains("credentials URI")),
        "{got:?}"
    );
    let alibaba = Links { order: super::super::Order::Alibaba, ..Links::default() };
    assert_eq!(ask(Spec::Chain(alibaba), &variables).await.map(|(id, ..)| id), Ok("LTAIcli".to_owned()));
}
