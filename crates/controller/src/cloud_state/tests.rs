//! When the cloud is asked, in virtual time, of a cloud that answers as it is told.

use std::future::ready;

use cloud::{
    BoxFuture, Capabilities, CreateIntent, CreateOutcome, Datacenter, DeleteOutcome, DeleteTarget,
    Health, PoolRequest,
};
use jiff::Timestamp;
use model::{ClusterId, Pool};
use runtime::Tasks;

use crate::pulse::Pulse;

use super::*;

/// What the cloud says to every question, once the question has been with it for a while.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    NoCredentials,
    Down,
    Answers,
}

struct Shop {
    clock: Clock,
    mood: Mutex<Mood>,
    /// How long an answer takes.
    takes: Duration,
    /// When catalogues and observations were asked for.
    catalogues: Mutex<Vec<Duration>>,
    observations: Mutex<Vec<Duration>>,
}

impl Shop {
    fn answer<'a, T: Send + 'a>(
        &'a self,
        asked: &Mutex<Vec<Duration>>,
        answer: T,
    ) -> BoxFuture<'a, Result<T, CloudError>> {
        asked.lock().unwrap().push(self.clock.monotonic());
        let mood = *self.mood.lock().unwrap();
        Box::pin(async move {
            self.clock.sleep(self.takes).await;
            let refused = |class, why| Err(CloudError::new("asking", class, why));
            match mood {
                Mood::NoCredentials => refused(ErrorClass::Auth, "there are no credentials"),
                Mood::Down => refused(ErrorClass::Transient, "nobody answers"),
                Mood::Answers => Ok(answer),
            }
        })
    }
}

impl CloudProvider for Shop {
    fn capabilities(&self) -> Capabilities {
        unreachable!("not asked here")
    }

    fn health<'a>(&'a self, _: &'a Call) -> BoxFuture<'a, Result<Health, CloudError>> {
        unreachable!("not asked here")
    }

    fn datacenters<'a>(
        &'a self,
        _: &'a Call,
    ) -> BoxFuture<'a, Result<Vec<Datacenter>, CloudError>> {
        let unknown = CloudError::new("listing", ErrorClass::Transient, "never known here");
        Box::pin(ready(Err(unknown)))
    }

    fn catalogue<'a>(
        &'a self,
        _: &'a Call,
        _: &'a DatacenterId,
    ) -> BoxFuture<'a, Result<Catalogue, CloudError>> {
        let empty = Catalogue {
            offerings: Vec::new(),
            fetched_at: Timestamp::UNIX_EPOCH,
            stale: false,
        };
        self.answer(&self.catalogues, empty)
    }

    fn ensure_pool<'a>(
        &'a self,
        _: &'a Call,
        _: &'a PoolRequest,
    ) -> BoxFuture<'a, Result<Pool, CloudError>> {
        unreachable!("not asked here")
    }

    fn observe<'a>(
        &'a self,
        _: &'a Call,
        _: &'a Scope,
    ) -> BoxFuture<'a, Result<Observation, CloudError>> {
        let nothing = Observation {
            started_at: Timestamp::UNIX_EPOCH,
            complete: true,
            instances: Vec::new(),
            pools: Vec::new(),
            defects: Vec::new(),
        };
        self.answer(&self.observations, nothing)
    }

    fn create<'a>(&'a self, _: &'a Call, _: &'a CreateIntent) -> BoxFuture<'a, CreateOutcome> {
        unreachable!("not asked here")
    }

    fn delete<'a>(&'a self, _: &'a Call, _: &'a DeleteTarget) -> BoxFuture<'a, DeleteOutcome> {
        unreachable!("not asked here")
    }
}

/// A leader's loop that watches one scope and one datacenter.
struct Scene {
    shop: Arc<Shop>,
    cloud: CloudState,
    clock: Clock,
    tasks: Tasks,
}

impl Scene {
    fn begin(mood: Mood, takes: Duration) -> Self {
        let clock = Clock::starting_at(Timestamp::UNIX_EPOCH, 1.0);
        let shop = Arc::new(Shop {
            clock: clock.clone(),
            mood: Mutex::new(mood),
            takes,
            catalogues: Mutex::default(),
            observations: Mutex::default(),
        });
        let cloud = CloudState::new(
            Arc::clone(&shop) as Arc<dyn CloudProvider>,
            clock.clone(),
            Randomness::seeded(1),
            Pace::default(),
        );
        let scope = Scope::Cluster(ClusterId::new("c"));
        cloud.track(
            BTreeMap::from([(scope, BTreeSet::new())]),
            &BTreeSet::new(),
            BTreeSet::from([DatacenterId::new("HEL")]),
        );
        let tasks = Tasks::new();
        let (run, pulse) = (cloud.clone(), Pulse::new(clock.clone()));
        tasks.spawn("cloud", async move { run.run(&pulse.begin("cloud")).await });
        Self {
            shop,
            cloud,
            clock,
            tasks,
        }
    }

    fn becomes(&self, mood: Mood) {
        *self.shop.mood.lock().unwrap() = mood;
        self.cloud.note_credentials(mood != Mood::NoCredentials);
    }

    fn has_catalogue(&self) -> bool {
        self.cloud.catalogue(&DatacenterId::new("HEL")).is_some()
    }

    fn is_observed(&self) -> bool {
        let scope = Scope::Cluster(ClusterId::new("c"));
        self.cloud.latest(&scope).is_some()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.tasks.abort();
    }
}

const SOON: Duration = Duration::from_millis(100);

#[tokio::test(start_paused = true)]
async fn the_cloud_is_asked_as_soon_as_there_are_credentials_and_only_that_counts() {
    let scene = Scene::begin(Mood::NoCredentials, Duration::ZERO);
    scene.clock.sleep(Duration::from_secs(4)).await;
    assert!(!scene.shop.catalogues.lock().unwrap().is_empty());
    assert!(!scene.cloud.has_asked_for_catalogues());
    scene.becomes(Mood::Answers);
    scene.clock.sleep(SOON).await;
    assert!(scene.has_catalogue() && scene.is_observed());
    assert!(scene.cloud.has_asked_for_catalogues());
}

#[tokio::test(start_paused = true)]
async fn what_the_cloud_answers_with_credentials_counts_even_if_it_is_a_refusal() {
    let scene = Scene::begin(Mood::NoCredentials, Duration::ZERO);
    scene.clock.sleep(SOON).await;
    scene.becomes(Mood::Down);
    scene.clock.sleep(SOON).await;
    assert!(scene.cloud.has_asked_for_catalogues());
    assert!(!scene.has_catalogue());
}

#[tokio::test(start_paused = true)]
async fn credentials_that_come_while_a_question_is_out_are_used_for_the_next_at_once() {
    let takes = Duration::from_secs(3);
    // The first observation is out, or the first catalogue.
    for out in [takes / 2, takes * 3 / 2] {
        let scene = Scene::begin(Mood::NoCredentials, takes);
        scene.clock.sleep(out).await;
        scene.becomes(Mood::Answers);
        scene.clock.sleep(takes * 3).await;
        assert!(scene.has_catalogue() && scene.is_observed(), "{out:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_catalogue_is_asked_for_at_its_own_pace_and_a_known_one_seldom() {
    let scene = Scene::begin(Mood::Down, Duration::ZERO);
    scene.clock.sleep(Duration::from_secs(61)).await;
    let asked = scene.shop.catalogues.lock().unwrap().clone();
    let gaps: Vec<_> = asked
        .windows(2)
        .map(|pair| pair[1].saturating_sub(pair[0]))
        .collect();
    assert_eq!(gaps, [CATALOGUE_RETRY; 4]);
    scene.becomes(Mood::Answers);
    scene.clock.sleep(CATALOGUE_PERIOD + SOON).await;
    assert_eq!(scene.shop.catalogues.lock().unwrap().len(), asked.len() + 2);
    // The machines are looked at as often as ever.
    assert_eq!(scene.shop.observations.lock().unwrap().len(), 2 + 1 + 10);
}
