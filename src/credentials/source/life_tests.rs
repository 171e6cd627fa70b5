//! A source over hours, on a clock that the test moves. Covers known mistakes of client libraries:
//! keys that expire within minutes, services that keep failing, and many waiting requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::credentials::{
    CredentialSource, Credentials, Provide, ProvideError, ProvideFuture, RefreshLoop, SourceEnv,
};
use crate::secret::Secret;
use crate::time::{Clock, Timestamp};

/// A clock that advances with the runtime's.
struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_s(self.0.load(Ordering::Relaxed))
    }
}

impl SourceEnv for Ticking {
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }
}

/// A service whose keys have this lifetime, and that can fail.
#[derive(Default)]
struct Service {
    life_s: u64,
    asked: AtomicUsize,
    fails: AtomicBool,
}

struct Asking(Arc<Service>);

impl Provide for Asking {
    fn provide<'a>(&'a self, edge: &'a dyn SourceEnv) -> ProvideFuture<'a> {
        let number = self.0.asked.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            if self.0.fails.load(Ordering::Relaxed) {
                return Err(ProvideError::Unavailable("it fails".to_owned()));
            }
            Ok(Credentials {
                id: format!("STS.{number}"),
                secret: Secret::new(format!("secret-{number}")),
                token: Some(Secret::new(format!("token-{number}"))),
                expires: Some(edge.now() + Duration::from_secs(self.0.life_s)),
                provider: "asking".into(),
            })
        })
    }
}

/// Returns a service, a source that uses it, and a clock.
fn with_lifetime(life_s: u64) -> (Arc<Service>, CredentialSource, Ticking) {
    let service = Arc::new(Service { life_s, ..Service::default() });
    let source = CredentialSource::new("default", Box::new(Asking(Arc::clone(&service))));
    (service, source, Ticking(AtomicI64::new(1_700_000_000)))
}

/// Advances the time by `seconds`, and calls `look` every second.
async fn pass(source: &CredentialSource, clock: &Ticking, seconds: usize, mut look: impl FnMut()) {
    let passing = async {
        for _ in 0..seconds {
            tokio::time::sleep(Duration::from_secs(1)).await;
            clock.0.fetch_add(1, Ordering::Relaxed);
            look();
        }
    };
    tokio::select! {
        () = RefreshLoop::new(source, clock).run() => panic!("it never ends"),
        () = passing => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_of_fifteen_minutes_is_asked_for_six_times_an_hour_and_not_at_each_request() {
    for (life_s, most) in [(900, 7), (600, 10), (500, 12)] {
        let (service, source, clock) = with_lifetime(life_s);
        source.refresh(&clock).await.expect("a key");
        pass(&source, &clock, 3_600, || {
            for _ in 0..3 {
                assert!(source.serve(clock.now()).is_ok(), "{life_s}");
            }
        })
        .await;
        let asked = service.asked.load(Ordering::Relaxed);
        assert!((most - 3..=most).contains(&asked), "{life_s} s: {asked}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_goes_on_failing_is_asked_with_pauses_and_what_it_gave_before_is_not_served_past_its_end()
 {
    let (service, source, clock) = with_lifetime(3_600);
    source.refresh(&clock).await.expect("a key");
    service.fails.store(true, Ordering::Relaxed);
    pass(&source, &clock, 3_589, || assert!(source.serve(clock.now()).is_ok())).await;
    let while_good = service.asked.load(Ordering::Relaxed);
    assert!((8..90).contains(&while_good), "neither given up nor hammered: {while_good}");
    pass(&source, &clock, 6 * 3_600, || {
        if clock.now().unix_s() > 1_700_000_000 + 3_591 {
            assert!(source.serve(clock.now()).is_err(), "it has ended");
        }
    })
    .await;
    let after = service.asked.load(Ordering::Relaxed) - while_good;
    assert!((6_000..8_000).contains(&after), "every three seconds: {after}");
    service.fails.store(false, Ordering::Relaxed);
    pass(&source, &clock, 5, || {}).await;
    assert!(source.serve(clock.now()).is_ok(), "soon after it has come back");
}

/// A service that never responds, and counts the attempts.
struct Silent(Arc<AtomicUsize>);

impl Provide for Silent {
    fn provide<'a>(&'a self, _edge: &'a dyn SourceEnv) -> ProvideFuture<'a> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_have_waited_in_vain_do_not_ask_the_service_themselves() {
    let asked = Arc::new(AtomicUsize::new(0));
    let source = CredentialSource::new("default", Box::new(Silent(Arc::clone(&asked))));
    let clock = Ticking(AtomicI64::new(1_700_000_000));
    let all = async {
        // The first attempt has begun.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut waiting = Vec::new();
        for _ in 0..500 {
            waiting.push(source.wait(&clock));
        }
        for wait in waiting {
            assert!(wait.await.is_err());
        }
    };
    let begun = tokio::time::Instant::now();
    tokio::select! {
        () = RefreshLoop::new(&source, &clock).run() => panic!("it never ends"),
        () = all => {}
    }
    let attempts = begun.elapsed().as_secs() / 20 + 1;
    assert!(asked.load(Ordering::Relaxed) as u64 <= attempts, "one attempt at a time");
}

#[test]
fn id_secret_and_token_are_never_of_two_generations() {
    let (_, source, clock) = with_lifetime(3_600);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(source.refresh(&clock)).expect("a key");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let key = source.get(clock.now()).expect("a key");
                    let number = key.id.strip_prefix("STS.").expect("a number");
                    assert_eq!(key.secret.expose(), format!("secret-{number}"));
                    assert_eq!(key.token.as_ref().expect("a token").expose(), format!("token-{number}"));
                }
            });
        }
        for _ in 0..5_000 {
            runtime.block_on(source.refresh(&clock)).expect("a key");
        }
        done.store(true, Ordering::Relaxed);
    });
}
