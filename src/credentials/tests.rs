//! Providers with a test environment and a test clock.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::credentials::sts::AssumedRole;
use crate::credentials::test_env::{NOW, TestEnv, ask};
use crate::credentials::{
    AssumeRoleConfig, ChainConfig, CliFile, CredentialSource, CredentialState, Credentials, EnvConfig,
    ExternalFileConfig, InvalidAccessKey, NamedSpec, NoCredentials, OssutilFile, Provide, ProvideError,
    ProvideFuture, ProviderSpec, RefreshLoop, SetupError, SharedFile, SourceEnv, StaticKeyConfig,
    StsEndpointConfig, StsSignature, ToolFileConfig, UriConfig, build_sources,
};
use crate::secret::Secret;
use crate::time::{Clock, Timestamp};

#[tokio::test]
async fn a_static_triple_is_given_as_it_is_and_checked() {
    let spec = |id: &str, token: Option<&str>| {
        ProviderSpec::new(StaticKeyConfig {
            id: Secret::from(id),
            secret: Secret::from("s3cret"),
            token: token.map(Secret::from),
        })
    };
    assert_eq!(
        ask(spec("STS.x", Some("t")), &[]).await,
        Ok(("STS.x".to_owned(), true, "static_sts".to_owned()))
    );
    let got = ask(spec("STS.x", None), &[]).await;
    assert_eq!(got, Err(ProvideError::Failed(SetupError::InvalidAccessKey(InvalidAccessKey::TokenMissing))));
}

/// A provider whose credentials expire at a given time.
struct Ending(Timestamp);

impl Provide for Ending {
    fn provide<'a>(&'a self, _edge: &'a dyn SourceEnv) -> ProvideFuture<'a> {
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
    let source = CredentialSource::new("default", Box::new(Ending(at(1_000))));
    assert_eq!(source.get(NOW).map(|_| ()), Err(NoCredentials::Empty));
    source.refresh(&TestEnv::default()).await.expect("credentials");
    assert!(source.get(at(989)).is_ok());
    assert_eq!(
        source.get(at(990)).map(|_| ()),
        Err(NoCredentials::Expired),
        "a request needs time to arrive"
    );
}

#[tokio::test]
async fn credentials_without_end_until_the_year_9999_are_kept_and_served() {
    for text in ["9999-12-31T23:59:59Z", "9999-12-30T22:00:00Z"] {
        let end = Timestamp::parse_rfc3339(text).expect("a time");
        let source = CredentialSource::new("default", Box::new(Ending(end)));
        source.refresh(&TestEnv::default()).await.expect("credentials");
        assert_eq!(source.serve(NOW).expect("credentials").expires, Some(end), "{text}");
        assert_eq!(source.status(&TestEnv::default()).stage, CredentialState::Fresh, "{text}");
    }
}

/// A provider with one constant result, as another crate might implement it.
struct Giving(&'static str, &'static str, Option<&'static str>);

impl Provide for Giving {
    fn provide<'a>(&'a self, _edge: &'a dyn SourceEnv) -> ProvideFuture<'a> {
        Box::pin(async move {
            Ok(Credentials {
                id: self.0.to_owned(),
                secret: Secret::from(self.1),
                token: self.2.map(Secret::from),
                expires: None,
                provider: "giving".into(),
            })
        })
    }
}

#[tokio::test]
async fn unusable_credentials_are_rejected_whatever_provider_returns_them() {
    for (id, secret, token, expected) in [
        ("LTAIx", "LTAIx", None, Some("the same as the access key id")),
        ("STS.x", "STS.x", Some("t"), Some("the same as the access key id")),
        ("STS.x", "s3cret", None, Some("there is no security token")),
        ("", "s3cret", None, Some("the access key id is empty")),
        ("LTAIx", "", None, Some("the access key secret is empty")),
        ("STS.x", "s3cret", Some(""), Some("the security token is empty")),
        ("LTAIx", "s3cret\n", None, Some("the access key secret contains")),
        ("STS.x", "s3cret", Some("t"), None),
        ("LTAIx", "s3cret", None, None),
    ] {
        let source = CredentialSource::new("default", Box::new(Giving(id, secret, token)));
        let given = source.refresh(&TestEnv::default()).await;
        match expected {
            None => assert!(given.is_ok() && source.get(NOW).is_ok(), "{id} {secret} {token:?}"),
            Some(words) => {
                let why = given.map(|_| ()).expect_err("rejected").to_string();
                assert!(why.contains("giving returned invalid credentials") && why.contains(words), "{why}");
                assert_eq!(source.get(NOW).map(|_| ()), Err(NoCredentials::Empty), "{id} {secret} {token:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_has_ended_before_it_came_is_no_answer() {
    let source = CredentialSource::new("default", Box::new(Ending(NOW)));
    let got = source.refresh(&TestEnv::default()).await.map(|_| ());
    assert!(matches!(&got, Err(ProvideError::Unavailable(text)) if text.contains("clock")), "{got:?}");
    assert_eq!(source.get(NOW).map(|_| ()), Err(NoCredentials::Expired));
}

/// A provider that is slow, and counts its calls.
struct Slow(Arc<AtomicUsize>);

impl Provide for Slow {
    fn provide<'a>(&'a self, edge: &'a dyn SourceEnv) -> ProvideFuture<'a> {
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
    let source = CredentialSource::new("default", Box::new(Slow(Arc::clone(&asked))));
    let world = TestEnv::default();
    let (a, b) = tokio::join!(source.refresh(&world), source.refresh(&world));
    assert!(a.is_ok() && b.is_ok());
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    let (a, b, waited) = tokio::join!(source.refresh(&world), source.obtain(&world), source.wait(&world));
    assert!(a.is_ok() && b.is_ok() && waited.is_ok());
    assert_eq!(asked.load(Ordering::Relaxed), 2, "who has something does not ask");
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_a_source_that_is_being_asked_and_for_no_other() {
    let source = CredentialSource::new("default", Box::new(Slow(Arc::default())));
    let world = TestEnv::default();
    assert_eq!(source.wait(&world).await.map(|_| ()), Err(NoCredentials::Empty));
    let (_, waited) = tokio::join!(source.refresh(&world), source.wait(&world));
    assert!(waited.is_ok());
}

/// A provider that never returns.
struct Silent;

impl Provide for Silent {
    fn provide<'a>(&'a self, _edge: &'a dyn SourceEnv) -> ProvideFuture<'a> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn neither_an_attempt_nor_a_request_waits_for_ever() {
    let source = CredentialSource::new("default", Box::new(Silent));
    let world = TestEnv::default();
    let begun = tokio::time::Instant::now();
    let waiting = async {
        let waited = source.wait(&world).await.map(|_| ());
        (waited, begun.elapsed())
    };
    let (asked, (waited, after)) = tokio::join!(source.refresh(&world), waiting);
    assert_eq!((waited, after.as_secs()), (Err(NoCredentials::Empty), 5));
    assert!(matches!(asked, Err(ProvideError::Unavailable(_))));
    assert_eq!(begun.elapsed().as_secs(), 20);
}

#[tokio::test]
async fn sources_that_are_the_same_are_one() {
    let role = |source: &str| ProviderSpec::AssumeRole {
        source: source.to_owned(),
        role: Box::new(AssumeRoleConfig {
            role: AssumedRole {
                arn: "acs:ram::1:role/r".to_owned(),
                session_name: None,
                duration: Duration::from_secs(900),
                policy: None,
                external_id: None,
            },
            sts_endpoint: StsEndpointConfig::default(),
            signature: StsSignature::Acs3,
        }),
    };
    let env = || ProviderSpec::new(EnvConfig::default());
    let specs = [
        NamedSpec::new("z", role("a")),
        NamedSpec::new("a", env()),
        NamedSpec::new("b", env()),
        NamedSpec::new("y", role("b")),
        NamedSpec::new("x", role("c")),
        NamedSpec::new("c", ProviderSpec::new(ChainConfig::default())),
        NamedSpec::new("nobody", ProviderSpec::Anonymous),
    ];
    let sources = build_sources(&specs, &Arc::default());
    let same = |a: &str, b: &str| Arc::ptr_eq(&sources[a], &sources[b]);
    assert!(same("a", "b") && same("z", "y") && !same("x", "y") && !same("a", "c"));
    assert!(!sources.contains_key("nobody"));
    let each: Vec<&str> = super::super::each(&sources).map(|(name, _)| name).collect();
    assert_eq!(each.len(), 4, "{each:?}");
}

/// A provider that returns keys with increasing numbers.
struct Numbered(Arc<AtomicUsize>);

impl Provide for Numbered {
    fn provide<'a>(&'a self, _edge: &'a dyn SourceEnv) -> ProvideFuture<'a> {
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
    let source = CredentialSource::new("default", Box::new(Numbered(Arc::clone(&number))));
    let world = TestEnv::default();
    let first = source.refresh(&world).await.expect("a key");
    let following = RefreshLoop::new(&source, &world).run();
    tokio::pin!(following);
    let mut replace = async |refused: &Arc<Credentials>| {
        tokio::select! {
            () = &mut following => panic!("it never ends"),
            other = source.replace(refused, "InvalidAccessKeyId", &world) => other.map(|other| other.id.clone()),
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
    assert_eq!((status.rejected["InvalidAccessKeyId"], status.generation), (3, 2));
}

/// An environment whose clock jumps.
struct Jumping(std::sync::atomic::AtomicI64);

impl Clock for Jumping {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_s(self.0.load(Ordering::Relaxed))
    }
}

impl SourceEnv for Jumping {
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }
}

/// A provider whose credentials are valid for a thousand seconds from the call.
struct Living(Arc<AtomicUsize>);

impl Provide for Living {
    fn provide<'a>(&'a self, edge: &'a dyn SourceEnv) -> ProvideFuture<'a> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let ending = Ending(edge.now() + Duration::from_secs(1_000));
        Box::pin(async move { ending.provide(edge).await })
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_is_noticed_within_a_second() {
    let asked = Arc::new(AtomicUsize::new(0));
    let source = CredentialSource::new("default", Box::new(Living(Arc::clone(&asked))));
    let world = Jumping(NOW.unix_s().into());
    source.refresh(&world).await.expect("credentials");
    world.0.fetch_add(86_400, Ordering::Relaxed);
    assert_eq!(source.get(world.now()).map(|_| ()), Err(NoCredentials::Expired), "at once, whoever looks");
    let following =
        tokio::time::timeout(Duration::from_millis(2_100), RefreshLoop::new(&source, &world).run());
    assert!(following.await.is_err());
    assert!(source.get(world.now()).is_ok());
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    // Back to before the key was issued: the cached key is valid by either clock.
    world.0.fetch_sub(86_400, Ordering::Relaxed);
    assert!(source.get(world.now()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn requests_are_counted_by_the_state_of_what_signs_them() {
    let source =
        CredentialSource::new("default", Box::new(Ending(Timestamp::from_unix_s(NOW.unix_s() + 1_000))));
    let world = TestEnv::default();
    assert_eq!(source.wait(&world).await.map(|_| ()), Err(NoCredentials::Empty));
    source.refresh(&world).await.expect("credentials");
    for (after_s, times) in [(0, 3), (800, 2), (950, 1), (1_000, 5)] {
        for _ in 0..times {
            let _ = source.serve(Timestamp::from_unix_s(NOW.unix_s() + after_s));
        }
    }
    let expected = [
        (CredentialState::Empty, 1),
        (CredentialState::Fresh, 3),
        (CredentialState::Advisory, 2),
        (CredentialState::Mandatory, 1),
        // Requests without credentials wait, and count under their final result.
        (CredentialState::Expired, 0),
        (CredentialState::NonExpiring, 0),
    ];
    assert_eq!(source.status(&world).served, expected);
}

#[tokio::test(start_paused = true)]
async fn it_is_counted_how_long_a_source_takes_and_requests_wait() {
    let source = CredentialSource::new("default", Box::new(Slow(Arc::default())));
    let world = TestEnv::default();
    let (given, waited) = tokio::join!(source.refresh(&world), source.wait(&world));
    assert!(given.is_ok() && waited.is_ok());
    let status = source.status(&world);
    let [(_, given), (_, failed)] = status.refreshes;
    assert_eq!((given.count(), failed.count(), status.waits.count()), (1, 0, 1));
    assert!((given.sum_s() - 0.1).abs() < 0.01 && (status.waits.sum_s() - 0.1).abs() < 0.01, "{given:?}");
    let silent = CredentialSource::new("default", Box::new(Silent));
    assert!(silent.refresh(&world).await.is_err());
    let [(_, given), (_, failed)] = silent.status(&world).refreshes;
    assert_eq!((given.count(), failed.count(), failed.sum_s().round()), (0, 1, 20.0));
}

/// A provider that fails until the clock is right.
struct Strict {
    asked: Arc<AtomicUsize>,
    right: i64,
}

impl Provide for Strict {
    fn provide<'a>(&'a self, edge: &'a dyn SourceEnv) -> ProvideFuture<'a> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            if edge.now().unix_s().abs_diff(self.right) > 900 {
                return Err(ProvideError::Refused("correct the clock".to_owned()));
            }
            Ending(edge.now() + Duration::from_secs(1_000)).provide(edge).await
        })
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_is_asked_again_at_once_when_the_clock_jumps() {
    let asked = Arc::new(AtomicUsize::new(0));
    let right = NOW.unix_s();
    let source = CredentialSource::new("default", Box::new(Strict { asked: Arc::clone(&asked), right }));
    let world = Jumping((right + 3_600).into());
    assert!(source.refresh(&world).await.is_err());
    let begun = tokio::time::Instant::now();
    let jump = async {
        tokio::time::sleep(Duration::from_millis(3_500)).await;
        assert_eq!(asked.load(Ordering::Relaxed), 1, "a refusal is paused for");
        world.0.store(right, Ordering::Relaxed);
        while source.get(world.now()).is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = RefreshLoop::new(&source, &world).run() => panic!("it never ends"),
        () = jump => {}
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// A provider whose credentials have no known expiry, and are refreshed after a minute.
struct Lasting(Arc<AtomicUsize>);

impl Provide for Lasting {
    fn provide<'a>(&'a self, edge: &'a dyn SourceEnv) -> ProvideFuture<'a> {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        let numbered = Numbered(Arc::new(AtomicUsize::new(number)));
        Box::pin(async move { numbered.provide(edge).await })
    }

    fn renew_after(&self) -> Option<Duration> {
        Some(Duration::from_secs(60))
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_does_not_put_off_a_renewal() {
    let asked = Arc::new(AtomicUsize::new(0));
    let source = CredentialSource::new("default", Box::new(Lasting(Arc::clone(&asked))));
    let world = Jumping(NOW.unix_s().into());
    source.refresh(&world).await.expect("a key");
    let pass = async |seconds: i64| {
        for _ in 0..seconds {
            tokio::time::sleep(Duration::from_secs(1)).await;
            world.0.fetch_add(1, Ordering::Relaxed);
        }
    };
    let days = async {
        pass(2).await;
        world.0.fetch_sub(86_400, Ordering::Relaxed);
        pass(70).await;
    };
    tokio::select! {
        () = RefreshLoop::new(&source, &world).run() => panic!("it never ends"),
        () = days => {}
    }
    assert_eq!(asked.load(Ordering::Relaxed), 2, "not a day later");
}

/// Starts a service that issues a temporary key without an expiry. Returns its URL and a counter of
/// its requests.
fn service_without_expiry() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/keys", listener.local_addr().expect("an address"));
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let head = BufReader::new(stream.try_clone().expect("the same"));
            head.lines().map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
            let number = count.fetch_add(1, Ordering::Relaxed);
            let body =
                format!(r#"{{"AccessKeyId": "STS.{number}", "AccessKeySecret": "s", "SecurityToken": "t"}}"#);
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            stream.write_all(format!("{head}{body}").as_bytes()).expect("sent");
        }
    });
    (url, asked)
}

#[tokio::test]
async fn a_temporary_key_without_an_expiry_is_asked_for_again_wherever_the_uri_comes_from() {
    let (url, asked) = service_without_expiry();
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: String| -> ExternalFileConfig {
        let path: PathBuf = directory.path().join(name);
        std::fs::write(&path, text).expect("written");
        ExternalFileConfig { path: Some(path), ..ExternalFileConfig::default() }
    };
    let profile = format!(
        r#"{{"current": "a", "profiles": [{{"name": "a", "mode": "CredentialsURI", "credentials_uri": "{url}"}}]}}"#
    );
    let specs = [
        ProviderSpec::new(UriConfig {
            url: Some(crate::transport::Url::parse(&url).expect("a URL")),
            ..UriConfig::default()
        }),
        ProviderSpec::new(ToolFileConfig { format: CliFile, file: file("config.json", profile) }),
        ProviderSpec::new(ToolFileConfig {
            format: SharedFile,
            file: file("ini", format!("[default]\ntype = credentials_uri\ncredentials_uri = {url}\n")),
        }),
        ProviderSpec::new(ToolFileConfig {
            format: OssutilFile,
            file: file("two", format!("[default]\nmode = Uri\ncredential-uri = {url}\n")),
        }),
        ProviderSpec::new(ToolFileConfig {
            format: OssutilFile,
            file: file("one", format!("[Credentials]\n[AkService]\necsAk = {url}\n")),
        }),
    ];
    for spec in specs {
        let name = format!("{spec:?}");
        asked.store(0, Ordering::Relaxed);
        let sources = build_sources(&[NamedSpec::new("default", spec)], &Arc::default());
        let source = &sources["default"];
        let world = Jumping(NOW.unix_s().into());
        assert_eq!(source.refresh(&world).await.expect("a key").id, "STS.0", "{name}");
        world.0.fetch_add(16 * 60, Ordering::Relaxed);
        let renewed = async {
            while source.get(world.now()).expect("a key").id != "STS.1" {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            () = RefreshLoop::new(source, &world).run() => panic!("it never ends"),
            () = renewed => {}
            () = tokio::time::sleep(Duration::from_secs(60)) => panic!("it is not asked again: {name}"),
        }
    }
}
