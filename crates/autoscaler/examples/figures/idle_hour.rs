//! What the product writes in an hour in which nothing happens, in virtual time.

use std::{sync::Arc, time::Duration};

use clap::Parser as _;
use jiff::Timestamp;
use runtime::{Clock, Randomness, Tasks};
use sim::{World, WorldConfig};
use vpsie_autoscaler::{Args, Replica, Seams, demo::InProcess};

use crate::cluster;

/// The writes to Kubernetes besides the lease's renewals, Events included.
pub(crate) fn writes() -> Result<usize, String> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .map_err(|error| format!("the runtime could not be started: {error}"))?
        .block_on(hour())
}

async fn hour() -> Result<usize, String> {
    let epoch: Timestamp = "2026-01-05T08:00:00Z"
        .parse()
        .map_err(|error| format!("{error}"))?;
    let clock = Clock::starting_at(epoch, 1.0);
    let random = Randomness::seeded(1);
    let tasks = Tasks::new();
    let config = WorldConfig::default();
    let world = World::start(config, clock.clone(), random.fork("world"), &tasks)
        .await
        .map_err(|error| format!("the world could not be made: {error}"))?;
    let args = Args::try_parse_from(["vpsie-autoscaler"]).map_err(|error| error.to_string())?;
    let replica = Replica::start(
        &args.run,
        Seams {
            clock: clock.clone(),
            random: random.fork("product"),
            client: world.kube.client("vpsie-autoscaler", "kube-system"),
            transport: Arc::new(InProcess::new(world.cloud.clone())),
        },
        None,
    );
    cluster::apply_groups(&world).await?;
    let settled = world
        .wait_until(Duration::from_mins(30), |view| {
            let nodes = view.vpsie_nodes.values();
            nodes.filter(|node| node.phase == "Ready").count() == cluster::FIRST_WORKERS
        })
        .await;
    if !settled {
        return Err("the idle hour's machines did not become Ready".into());
    }
    clock.sleep(Duration::from_mins(30)).await;
    let writes = || {
        let records = world.kube.journal().records().into_iter();
        records
            .filter(|record| record.actor == "vpsie-autoscaler" && record.is_write())
            .filter(|record| record.resource != "leases")
            .count()
    };
    let before = writes();
    clock.sleep(Duration::from_hours(1)).await;
    let during = writes() - before;
    replica.stop().await;
    Ok(during)
}
