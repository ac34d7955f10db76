//! What plays outside the API server: the VPSie simulator over HTTP, and the kubelets and machines of
//! `sim` with the rights of [`User::WORLD`]. Scheduler and controllers are the real ones.

use std::collections::BTreeMap;

use runtime::{Clock, Randomness, Tasks};
use serde_json::json;
use sim::WorldConfig;
use vpsie_sim::VpsieSim;

use crate::{ControlPlane, ControlPlaneError, User};

/// The cloud beside a control plane. Dropped, it is gone, with its machines' kubelets.
pub struct Cloud {
    /// The simulator: its ledger, its journal, its faults.
    pub vpsie: VpsieSim,
    /// Where the product finds it.
    pub url: String,
    /// The UUID of its cluster that the control plane belongs to.
    pub cluster: String,
    tasks: Tasks,
}

impl Cloud {
    /// Starts the simulator on a free loopback port, and the kubelets of what runs there from the
    /// beginning and joins later. Of `config` it follows the cloud, the cluster, the static nodes,
    /// the kubelets and the machines.
    pub async fn start(
        plane: &ControlPlane,
        config: &WorldConfig,
        clock: &Clock,
        random: &Randomness,
    ) -> Result<Self, ControlPlaneError> {
        let client = plane.client_of(User::WORLD).await?;
        let spawn = |source| ControlPlaneError::Spawn {
            what: "the VPSie simulator".into(),
            source,
        };
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.map_err(spawn)?;
        let port = listener.local_addr().map_err(spawn)?.port();
        let tasks = Tasks::new();
        let vpsie = VpsieSim::new(
            config.cloud.clone(),
            clock.clone(),
            random.fork("vpsie-sim"),
            tasks.clone(),
        );
        let serving = vpsie.clone();
        tasks.spawn("vpsie", async move { serving.serve(listener).await });
        sim::play_kubelets(&client, &vpsie, config, clock, random, &tasks);
        let first = config.cloud.clusters.first();
        let first = first.map(|cluster| cluster.identifier.clone());
        Ok(Self {
            vpsie,
            url: format!("http://127.0.0.1:{port}/apps/v2"),
            cluster: config.cluster.clone().or(first).unwrap_or_default(),
            tasks,
        })
    }

    /// Makes the Secret `kube-system/vpsie-secret` that the product reads: the simulator's
    /// credentials, its address and its cluster.
    pub async fn write_secret(&self, plane: &ControlPlane) -> Result<(), ControlPlaneError> {
        let credentials = self.vpsie.config().credentials;
        let mut data = BTreeMap::from([
            ("url", self.url.clone()),
            ("resourceIdentifier", self.cluster.clone()),
        ]);
        if let (Some(id), Some(secret)) = (credentials.client_id, credentials.client_secret) {
            data.insert("clientId", id);
            data.insert("clientSecret", secret);
        } else if let Some(token) = credentials.token {
            data.insert("token", token);
        }
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": "vpsie-secret", "namespace": "kube-system"},
            "stringData": data,
        });
        plane.apply(&secret.to_string()).await?;
        Ok(())
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.tasks.stop();
        self.tasks.abort();
    }
}
