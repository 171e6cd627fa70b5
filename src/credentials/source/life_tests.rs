//! What the vendor's libraries get wrong over the life of a key, each as a test of ours, under a clock that goes on with the timers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::Source;
use crate::credentials::world::{NOW, World};
use crate::credentials::{Answer, Credentials, Edge, Provide, ProvideError};
use crate::secret::Secret;
use crate::time::{Clock, Timestamp};

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

/// A world whose clock goes on with the timers.
struct Ticking(tokio::time::Instant);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        NOW + self.0.elapsed()
    }
}

impl Edge for Ticking {
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }
}

/// A source that may break; what it gives lives so long.
struct Breaking {
    life: Duration,
    asked: Arc<AtomicUsize>,
    broken: Arc<AtomicBool>,
}

impl Provide for Breaking {
    fn provide<'a>(&'a self, edge: &'a dyn Edge) -> Answer<'a> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let ending = Ending(edge.now() + self.life);
        Box::pin(async move {
            if self.broken.load(Ordering::Relaxed) {
                return Err(ProvideError::Unavailable("broken".to_owned()));
            }
            ending.provide(edge).await
        })
    }
}

/// A source in its world, and what it is asked.
fn breaking(life: Duration) -> (Source, Ticking, Arc<AtomicUsize>, Arc<AtomicBool>) {
    let (asked, broken) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
    let provider = Breaking { life, asked: Arc::clone(&asked), broken: Arc::clone(&broken) };
    (Source::new("default", Box::new(provider)), Ticking(tokio::time::Instant::now()), asked, broken)
}

/// Each second for so many, whether there is something to sign with.
async fn each_second(source: &Source, world: &Ticking, seconds: usize) -> Vec<bool> {
    let looking = async {
        let mut signed = Vec::new();
        for _ in 0..seconds {
            signed.push(source.serve(world.now()).is_ok());
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        signed
    };
    tokio::select! {
        () = source.follow(world) => panic!("it never ends"),
        signed = looking => signed,
    }
}

#[tokio::test(start_paused = true)]
async fn keys_that_live_a_quarter_of_an_hour_are_not_fetched_for_each_request() {
    let (source, world, asked, _) = breaking(Duration::from_secs(900));
    source.refresh(&world).await.expect("credentials");
    let signed = each_second(&source, &world, 6_000).await;
    assert!(signed.iter().all(|signed| *signed));
    // Each is renewed when 540 to 600 s of it have gone.
    let asked = asked.load(Ordering::Relaxed);
    assert!((11..=12).contains(&asked), "{asked}");
    let served: u64 = source.status(&world).served.iter().map(|(_, count)| count).sum();
    assert_eq!(served, 6_000);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_for_hours_is_not_stormed_and_what_has_ended_is_never_served() {
    let (source, world, asked, broken) = breaking(Duration::from_secs(3_600));
    source.refresh(&world).await.expect("credentials");
    broken.store(true, Ordering::Relaxed);
    let signed = each_second(&source, &world, 3_590).await;
    assert!(signed.iter().all(|signed| *signed), "what is there is used to its end");
    let while_good = asked.swap(0, Ordering::Relaxed);
    assert!((20..80).contains(&while_good), "{while_good} in the last quarter of its life");
    let signed = each_second(&source, &world, 7_200).await;
    assert!(signed.iter().all(|signed| !signed), "and not for a second longer");
    let in_two_hours = asked.load(Ordering::Relaxed);
    assert!((2_300..=2_600).contains(&in_two_hours), "every three seconds: {in_two_hours}");
    broken.store(false, Ordering::Relaxed);
    let signed = each_second(&source, &world, 10).await;
    assert!(signed[5..].iter().all(|signed| *signed), "within five seconds: {signed:?}");
}

#[tokio::test(start_paused = true)]
async fn who_has_waited_in_vain_does_not_ask_by_himself() {
    let asked = Arc::<AtomicUsize>::default();
    let source = Source::new("default", Box::new(Late(Arc::clone(&asked))));
    let world = Ticking(tokio::time::Instant::now());
    // One that gives up, and comes back at once, for as long as the source takes.
    let insisting = async { (source.wait(&world).await.is_ok(), source.wait(&world).await.is_ok()) };
    let (given, insisting, patient) = tokio::join!(source.refresh(&world), insisting, source.wait(&world));
    assert!(given.is_ok());
    assert_eq!((insisting, patient.is_ok()), ((false, false), false));
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert_eq!(source.status(&world).waits.count, 3);
}

/// A source that needs longer than a request waits.
struct Late(Arc<AtomicUsize>);

impl Provide for Late {
    fn provide<'a>(&'a self, edge: &'a dyn Edge) -> Answer<'a> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_secs(15)).await;
            Ending(edge.now() + Duration::from_secs(900)).provide(edge).await
        })
    }
}

/// A source that writes a number into all that it gives.
struct Marked(AtomicUsize);

impl Provide for Marked {
    fn provide<'a>(&'a self, _edge: &'a dyn Edge) -> Answer<'a> {
        let mark = self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let secret = Secret::new(format!("s{mark}"));
            let token = Some(Secret::new(format!("t{mark}")));
            Ok(Credentials {
                id: format!("STS.{mark}"),
                secret,
                token,
                expires: None,
                provider: "marked".into(),
            })
        })
    }
}

#[test]
fn id_secret_and_token_always_come_from_one_answer() {
    let source = Source::new("default", Box::new(Marked(AtomicUsize::new(0))));
    let (world, ended) = (World::default(), AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(source.refresh(&world)).expect("a key");
    let look = || {
        let mut looked = 0_u64;
        while !ended.load(Ordering::Relaxed) {
            let given = source.get(NOW).expect("a key");
            let mark = given.id.trim_start_matches("STS.");
            assert_eq!(given.secret.expose().trim_start_matches('s'), mark);
            assert_eq!(given.token.as_ref().expect("a token").expose().trim_start_matches('t'), mark);
            looked += 1;
        }
        looked
    };
    std::thread::scope(|scope| {
        let readers = [scope.spawn(look), scope.spawn(look)];
        for _ in 0..2_000 {
            runtime.block_on(source.refresh(&world)).expect("a key");
        }
        ended.store(true, Ordering::Relaxed);
        assert!(readers.map(|reader| reader.join().expect("no panic")).iter().sum::<u64>() > 0);
    });
}
