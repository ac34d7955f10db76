//! The stories of `scenarios/suite` on a real control plane, in real time: the same files that are
//! played in virtual time on the simulated API server.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use e2e::{AuditEntry, ControlPlane, Product, Settings, disruption, rights, stage};
use futures::StreamExt as _;
use runtime::Clock;
use sim::{Scenario, scenario::Expectation};

/// Rights that no request shows, each with its reason.
const SILENT: [(&str, &str); 2] = [
    (
        "update nodegroups/finalizers.autoscaler.vpsie.com",
        "asked for by the admission of owner references that block, where that is enabled",
    ),
    (
        "patch events",
        "an Event that is told again within minutes is counted, not written anew",
    ),
];

/// Of the many stories that differ in one pod or one budget, these are told where time is short: in
/// virtual time all of them always are.
const ONE_OF_A_KIND: [&str; 3] = ["stays-bare-pod", "stays-budget", "goes-in-waves"];

/// How many stories are played side by side; each has a control plane of its own.
const SIDE_BY_SIDE: usize = 3;

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/suite");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    if std::env::var_os("VPSIE_E2E_SHORT").is_some() {
        files.retain(|file| {
            let name = file.file_stem().unwrap_or_default().to_string_lossy();
            let alike = name.starts_with("stays-") || name.starts_with("goes-");
            !alike || ONE_OF_A_KIND.contains(&&*name)
        });
    }
    if let Ok(only) = std::env::var("VPSIE_E2E_ONLY") {
        files.retain(|file| {
            only.split(',')
                .any(|name| file.ends_with(format!("{name}.yaml")))
        });
    }
    files
}

fn chain(error: e2e::ControlPlaneError) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

/// What a story found wrong, and every request to the API server.
async fn played(file: &Path, binary: &Path) -> (Vec<String>, Vec<AuditEntry>) {
    let scenario = Scenario::from_yaml(&std::fs::read_to_string(file).unwrap()).unwrap();
    let clock = Clock::system();
    let began = clock.monotonic();
    let plane = match ControlPlane::start(Settings::default()).await {
        Ok(plane) => plane,
        Err(error) => return (vec![chain(error)], Vec::new()),
    };
    let verdict = stage::play(&plane, binary, &scenario).await;
    let took = clock.monotonic().saturating_sub(began);
    let entries = plane.audit().entries().unwrap();
    let (mut failures, saved) = match verdict {
        Ok(verdict) => (
            verdict.failures,
            verdict.saved_per_hour.normalize().to_string(),
        ),
        Err(error) => (vec![chain(error)], "?".to_owned()),
    };
    for expected in &scenario.expect {
        if let Expectation::AvailableAtLeast { pods, count } = expected {
            failures.extend(disrupted(&entries, pods, *count));
        }
    }
    println!(
        "{}: {} s, {saved} USD/h saved {failures:?}",
        scenario.name,
        took.as_secs()
    );
    if !failures.is_empty() {
        let log = plane.directory().join("logs").join("product.log");
        let log = std::fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        for line in &lines[lines.len().saturating_sub(60)..] {
            println!("    {line}");
        }
    }
    (failures, entries)
}

/// What the audit log says against how these pods were treated.
fn disrupted(entries: &[AuditEntry], pods: &str, count: usize) -> Vec<String> {
    let found = disruption::of(entries, pods, count);
    println!(
        "{pods}*: {} evictions granted, {} refused for a budget, never fewer than {} available",
        found.granted,
        found.refused,
        found.least.unwrap_or_default()
    );
    let too_few = found.least.is_none_or(|least| least < count);
    let mut wrong = Vec::new();
    if too_few {
        wrong.push(format!(
            "the audit log: {found:?} of {pods}*, {count} at least expected"
        ));
    }
    if !found.deleted.is_empty() {
        wrong.push(format!(
            "pods were deleted, not evicted: {:?}",
            found.deleted
        ));
    }
    wrong
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Go and minutes: e2e/README.md"]
async fn every_story_of_the_suite_ends_as_it_must_with_no_more_rights_than_it_uses() {
    let binary = Product::build().unwrap();
    ControlPlane::build().unwrap();
    let files = files();
    let all: Vec<_> = futures::stream::iter(&files)
        .map(|file| played(file, &binary))
        .buffer_unordered(SIDE_BY_SIDE)
        .collect()
        .await;
    let wrong: Vec<&String> = all.iter().flat_map(|(failures, _)| failures).collect();
    assert_eq!(wrong, Vec::<&String>::new());

    let entries: Vec<AuditEntry> = all.into_iter().flat_map(|(_, entries)| entries).collect();
    let (used, refused) = rights::used(&entries);
    assert_eq!(refused, BTreeSet::new());
    let granted = rights::granted().unwrap();
    let silent: BTreeSet<&str> = SILENT.iter().map(|(right, _)| *right).collect();
    let idle: Vec<String> = granted
        .difference(&used)
        .map(ToString::to_string)
        .filter(|right| !silent.contains(right.as_str()))
        .collect();
    let beyond: Vec<String> = used.difference(&granted).map(ToString::to_string).collect();
    println!("{} stories, {} requests", files.len(), entries.len());
    if std::env::var_os("VPSIE_E2E_ONLY").is_none() {
        assert_eq!(idle, Vec::<String>::new(), "granted and not used");
    }
    assert_eq!(beyond, Vec::<String>::new(), "used and not granted");
}
