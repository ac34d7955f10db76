//! The world around a real control plane, and the product in it: what a story of `scenarios` is
//! played on.

use std::path::Path;

use runtime::{Clock, Randomness, Tasks};
use sim::{ActorsConfig, Remote, Scenario, Verdict, World, WorldConfig};

use crate::{ControlPlane, ControlPlaneError, Product, User};

/// The parts that are not Kubernetes' own: kubelets, machines that boot and join, the cloud. Dropped,
/// they end.
pub struct Stage {
    /// To look at, and to change.
    pub world: World<Remote>,
    /// Where its cloud is served, as the Secret says.
    pub cloud_url: String,
    tasks: Tasks,
}

impl Stage {
    /// Builds the world of `config` around `plane`, its cloud on a free loopback port. Scheduler and
    /// controllers are the plane's.
    pub async fn set(
        plane: &ControlPlane,
        mut config: WorldConfig,
        seed: u64,
    ) -> Result<Self, ControlPlaneError> {
        plane.install().await?;
        let spawn = |source| ControlPlaneError::Spawn {
            what: "the VPSie simulator".into(),
            source,
        };
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.map_err(spawn)?;
        let port = listener.local_addr().map_err(spawn)?.port();
        config.actors = ActorsConfig {
            scheduler: false,
            workloads: false,
            disruption: false,
            node_lifecycle: false,
            ..config.actors
        };
        let cloud_url = format!("http://127.0.0.1:{port}/apps/v2");
        config.cloud_url = Some(cloud_url.clone());
        let tasks = Tasks::new();
        let world = World::around(
            Remote(plane.client_of(User::WORLD).await?),
            config,
            Clock::system(),
            Randomness::seeded(seed),
            &tasks,
        );
        let world = world.await?;
        let cloud = world.cloud.clone();
        tasks.spawn("vpsie", async move { cloud.serve(listener).await });
        Ok(Self {
            world,
            cloud_url,
            tasks,
        })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.tasks.stop();
        self.tasks.abort();
    }
}

/// Plays one story with one process of the product, which must outlive it and stop when asked to.
pub async fn play(
    plane: &ControlPlane,
    binary: &Path,
    scenario: &Scenario,
) -> Result<Verdict, ControlPlaneError> {
    let stage = Stage::set(plane, scenario.world.clone(), scenario.seed).await?;
    let mut product = Product::start(plane, binary, &scenario.flags).await?;
    let every = std::time::Duration::from_secs(1);
    let verdict = sim::story::play(&stage.world, scenario, None, every).await;
    product.check()?;
    product.stop().await?;
    Ok(verdict)
}
