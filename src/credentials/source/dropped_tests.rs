//! Futures that are dropped midway. Each public one is polled to each of its await points and
//! dropped there, and the next use works.

use std::fs;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::credentials::sts::AssumedRole;
use crate::credentials::test_env::{NOW, TestEnv};
use crate::credentials::{
    AssumeRoleConfig, CredentialFileConfig, CredentialSource, Credentials, ExternalFileConfig, NamedSpec,
    ProcessConfig, Provide, ProvideError, ProvideFuture, ProviderSpec, RefreshLoop, SharedFile, SourceEnv,
    StsEndpointConfig, StsSignature, ToolFileConfig, build_sources,
};
use crate::secret::Secret;

/// Polls `future` until it has been pending `times` times, then drops it. Returns whether it was
/// dropped before its end.
pub(super) async fn dropped_after(times: usize, future: impl Future) -> bool {
    let mut future = pin!(future);
    let mut pending = 0;
    poll_fn(|cx| {
        if future.as_mut().poll(cx).is_ready() {
            return Poll::Ready(false);
        }
        pending += 1;
        if pending > times { Poll::Ready(true) } else { Poll::Pending }
    })
    .await
}

/// A provider with several await points. Its credentials are good for a day.
struct Steps(Arc<AtomicUsize>);

impl Provide for Steps {
    fn provide<'a>(&'a self, _edge: &'a dyn SourceEnv) -> ProvideFuture<'a> {
        Box::pin(async move {
            for _ in 0..3 {
                sleep(Duration::from_millis(10)).await;
            }
            let number = self.0.fetch_add(1, Ordering::Relaxed);
            Ok(Credentials {
                id: format!("STS.{number}"),
                secret: Secret::from("s"),
                token: Some(Secret::from("t")),
                expires: Some(NOW + Duration::from_secs(86_400)),
                provider: "steps".into(),
            })
        })
    }
}

fn steps() -> CredentialSource {
    CredentialSource::new("default", Box::new(Steps(Arc::default())))
}

/// Drops `attempt` at each of its await points on a new source, and asserts that the source works
/// each time.
async fn survives<T>(
    make: impl Fn() -> T,
    source: impl Fn(&T) -> &CredentialSource,
    attempt: impl AsyncFn(&T),
) -> usize {
    let world = TestEnv::default();
    for times in 0.. {
        let made = make();
        let was_dropped = dropped_after(times, attempt(&made)).await;
        let source = source(&made);
        let status = source.status(&world);
        assert_eq!((status.asking_for, status.waiting), (None, 0), "after {times} polls");
        // The loop retries at once by itself.
        let kept = async {
            while source.get(NOW).is_err() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            () = RefreshLoop::new(source, &world).run() => panic!("it never ends"),
            kept = timeout(Duration::from_secs(5), kept) => kept.unwrap_or_else(|_| panic!("after {times} polls")),
        }
        timeout(Duration::from_secs(5), source.refresh(&world)).await.expect("in time").expect("credentials");
        assert!(source.wait(&world).await.is_ok() && source.has_answered(), "after {times} polls");
        if !was_dropped {
            return times;
        }
    }
    unreachable!("the range has no end")
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_dropped_anywhere_leaves_a_source_that_works() {
    let world = TestEnv::default();
    let points = survives(steps, |source| source, async |source| drop(source.refresh(&world).await)).await;
    assert!(points >= 3, "{points}");
    survives(steps, |source| source, async |source| drop(source.obtain(&world).await)).await;
    survives(steps, |source| source, async |source| drop(source.wait(&world).await)).await;
    let answered = async |source: &CredentialSource| {
        tokio::select! {
            () = RefreshLoop::new(source, &world).run() => {}
            () = source.answered() => {}
        }
    };
    assert!(survives(steps, |source| source, answered).await >= 3);
}

#[tokio::test(start_paused = true)]
async fn the_keeper_of_a_source_can_be_dropped_anywhere() {
    let world = TestEnv::default();
    // It never ends by itself, so it is dropped after a fixed number of polls.
    for times in 0..20 {
        let source = steps();
        assert!(dropped_after(times, RefreshLoop::new(&source, &world).run()).await);
        assert_eq!(source.status(&world).asking_for, None, "after {times} polls");
        source.refresh(&world).await.expect("credentials");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_for_other_credentials_can_be_dropped_anywhere() {
    let world = TestEnv::default();
    for times in 0..20 {
        let source = steps();
        let refused = source.refresh(&world).await.expect("credentials");
        let replace = async {
            tokio::select! {
                () = RefreshLoop::new(&source, &world).run() => panic!("it never ends"),
                other = source.replace(&refused, "InvalidAccessKeyId", &world) => drop(other),
            }
        };
        let was_dropped = dropped_after(times, replace).await;
        assert_eq!(source.status(&world).waiting, 0, "after {times} polls");
        // The ten seconds between two refreshes triggered by rejections.
        sleep(Duration::from_secs(11)).await;
        let other = async {
            tokio::select! {
                () = RefreshLoop::new(&source, &world).run() => panic!("it never ends"),
                other = source.replace(&refused, "InvalidAccessKeyId", &world) => other,
            }
        };
        assert!(other.await.is_some(), "after {times} polls");
        if !was_dropped {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn waiters_of_an_attempt_that_is_dropped_make_their_own() {
    let (source, world) = (steps(), TestEnv::default());
    let first = dropped_after(1, source.refresh(&world));
    let (was_dropped, second) = tokio::join!(first, source.refresh(&world));
    assert!(was_dropped && second.is_ok());
}

/// Returns the base of a role, and the role; its STS is unreachable.
fn role() -> [Arc<CredentialSource>; 2] {
    let role = AssumedRole {
        arn: "acs:ram::1:role/r".to_owned(),
        session_name: None,
        duration: Duration::from_secs(900),
        policy: None,
        external_id: None,
    };
    let sts = crate::transport::Url::parse("http://127.0.0.1:9/").expect("a URL");
    let place = StsEndpointConfig { endpoint: Some(sts), ..StsEndpointConfig::default() };
    let base = Arc::new(steps());
    let role = AssumeRoleConfig { role, sts_endpoint: place, signature: StsSignature::Acs3 };
    let role = CredentialSource::new("role", role.build(Arc::clone(&base), &Arc::default()));
    [base, Arc::new(role)]
}

#[tokio::test(start_paused = true)]
async fn a_role_that_is_given_up_leaves_the_source_that_assumes_it_working() {
    let world = TestEnv::default();
    for times in 0..8 {
        let [base, role] = role();
        dropped_after(times, role.refresh(&world)).await;
        let status = base.status(&world);
        assert_eq!(status.asking_for, None, "after {times} polls");
        timeout(Duration::from_secs(5), base.refresh(&world)).await.expect("in time").expect("credentials");
    }
}

/// Returns providers that read files or run programs, each of which returns credentials on a retry.
fn of_files(directory: &std::path::Path) -> Vec<(&'static str, ProviderSpec)> {
    let json = directory.join("key.json");
    fs::write(&json, r#"{"AccessKeyId": "LTAIx", "AccessKeySecret": "s"}"#).expect("written");
    let ini = directory.join("credentials");
    fs::write(&ini, "[default]\ntype = access_key\naccess_key_id = LTAIx\naccess_key_secret = s\n")
        .expect("written");
    let printed = format!("cat {}", json.display());
    let command = ["/bin/sh", "-c", &printed].map(str::to_owned).into();
    vec![
        ("file", ProviderSpec::new(CredentialFileConfig { path: json, strict: false })),
        (
            "ini",
            ProviderSpec::new(ToolFileConfig {
                format: SharedFile,
                file: ExternalFileConfig { path: Some(ini), ..ExternalFileConfig::default() },
            }),
        ),
        (
            "process",
            ProviderSpec::new(ProcessConfig {
                command,
                environment: Vec::new(),
                cache: Duration::from_secs(60),
            }),
        ),
    ]
}

#[tokio::test]
async fn a_look_at_files_and_a_program_can_be_given_up_anywhere() {
    let (directory, world) =
        (tempfile::tempdir().expect("a directory"), TestEnv::with(&[("PATH", "/usr/bin:/bin")]));
    for (kind, spec) in of_files(directory.path()) {
        let specs = [NamedSpec::new("default", spec)];
        for times in 0..50 {
            let sources = build_sources(&specs, &Arc::default());
            let source = &sources["default"];
            let was_dropped = dropped_after(times, source.refresh(&world)).await;
            let again = timeout(Duration::from_secs(10), source.refresh(&world)).await.expect("in time");
            assert_eq!(again.map(|key| key.id.clone()), Ok("LTAIx".to_owned()), "{kind} after {times} polls");
            if !was_dropped {
                break;
            }
            assert!(times < 49, "{kind} has no end");
        }
    }
}

/// A provider that either fails at once or hangs.
struct Told {
    hangs: Arc<AtomicBool>,
}

impl Provide for Told {
    fn provide<'a>(&'a self, _edge: &'a dyn SourceEnv) -> ProvideFuture<'a> {
        Box::pin(async move {
            if self.hangs.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            Err(ProvideError::Unavailable("it fails".to_owned()))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_given_up_counts_neither_as_failed_nor_as_answered() {
    let hangs = Arc::new(AtomicBool::new(true));
    let (source, world) =
        (CredentialSource::new("default", Box::new(Told { hangs: Arc::clone(&hangs) })), TestEnv::default());
    assert!(dropped_after(0, source.refresh(&world)).await);
    let status = source.status(&world);
    assert_eq!((status.failures, status.has_answered, status.failed.len()), (0, false, 0));
    hangs.store(false, Ordering::Relaxed);
    assert!(source.refresh(&world).await.is_err());
    let status = source.status(&world);
    assert_eq!((status.failures, status.has_answered, status.failed["unavailable"]), (1, true, 1));
}
