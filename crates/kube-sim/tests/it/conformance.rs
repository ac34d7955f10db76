//! The simulator answers every request of the script as the real API server did when it was
//! recorded, but for what `allowed` lists.

mod allowed;

use std::{path::Path, time::Duration};

use conformance::{Chapter, Entry};
use jiff::Timestamp;
use kube_sim::KubeSim;
use runtime::{Clock, Randomness};
use serde_json::json;

use allowed::ALLOWED;

/// Versions start here, so that none is taken for another number in a message.
const FIRST_VERSION: u64 = 1000;

async fn replay(chapter: &Chapter) -> Vec<Entry> {
    let epoch: Timestamp = "2025-01-01T00:00:00Z".parse().unwrap();
    let clock = Clock::starting_at(epoch, 1.0);
    let sim = KubeSim::new(clock.clone(), Randomness::seeded(7));
    while sim.resource_version() < FIRST_VERSION {
        let version = sim.resource_version();
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "versions", "namespace": "kube-public"},
            "data": {"version": version.to_string()}});
        sim.insert(object).unwrap();
    }
    let client = sim.client("conformance", "default");
    conformance::prepare(&client, &clock).await.unwrap();
    clock.sleep(Duration::from_secs(1)).await;
    conformance::play(&client, &clock, chapter).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn every_answer_is_that_of_the_recorded_api_server() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let only = std::env::var("CONFORMANCE").unwrap_or_default();
    let mut wrong = Vec::new();
    let mut used = vec![false; ALLOWED.len()];
    let mut requests = 0;
    for chapter in conformance::chapters(&folder).unwrap() {
        if !chapter.name.contains(&only) {
            continue;
        }
        let recorded = conformance::load(&conformance::recording(&folder, &chapter)).unwrap();
        let played = replay(&chapter).await;
        requests += played.len();
        let names = |entries: &[Entry]| -> Vec<String> {
            entries.iter().map(|entry| entry.step.clone()).collect()
        };
        if names(&recorded) != names(&played) {
            wrong.push(format!(
                "{}: the steps are not those recorded",
                chapter.name
            ));
            continue;
        }
        for (recorded, played) in recorded.iter().zip(&played) {
            let place = format!("{} / {}", chapter.name, played.step);
            if recorded.request != played.request {
                wrong.push(format!("{place}: the request is not that recorded"));
                continue;
            }
            let mut differences = conformance::differences(&recorded.answer, &played.answer);
            if recorded.answer["code"] != played.answer["code"] {
                // The rest is another kind of object altogether.
                differences.retain(|it| it.path == "/code" || it.path.ends_with("message"));
            }
            for difference in differences {
                let allowed = ALLOWED.iter().position(|allowed| {
                    allowed.covers(&chapter.name, &played.step, &difference.path)
                });
                match allowed {
                    Some(index) => used[index] = true,
                    None => wrong.push(format!("{place}: {difference}")),
                }
            }
        }
    }
    if only.is_empty() {
        if requests < 300 {
            wrong.push(format!("only {requests} requests"));
        }
        for (allowed, used) in ALLOWED.iter().zip(used) {
            if !used {
                wrong.push(format!("allowed, but no longer different: {allowed:?}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differences:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
