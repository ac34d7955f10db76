//! Managed clusters as a [`CloudProvider`] (`vpsie-api.md` §b.4, §g.2).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use cloud::{
    BoxFuture, Call, Capabilities, Catalogue, CloudError, CloudProvider, CreateIntent,
    CreateOutcome, Datacenter, DeleteOutcome, DeleteTarget, ErrorClass, Health, PoolRequest, Scope,
};
use http::Method;
use model::{
    ClusterId, DatacenterId, Hostname, Instance, InstanceId, InstancePhase, Observation, Offering,
    Pool, Role,
};
use runtime::{Clock, Randomness};
use serde_json::{Value, json};

use crate::{
    base_url::segment,
    catalogue::Memory,
    classify::Kind,
    client::{Ask, Client},
    credentials::Credentials,
    limiter::Priority,
    observer::Observer,
    transport::Transport,
    wire,
};

/// How to talk to the cloud.
#[derive(Clone, Debug)]
pub struct Options {
    /// Requests in any minute.
    pub requests_per_minute: u32,
    /// One request may take this long.
    pub request_timeout: Duration,
    /// Sent as `User-Agent`.
    pub user_agent: String,
    /// Whether the account's API deletes workers by identity.
    pub targeted_delete: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            requests_per_minute: 100,
            request_timeout: Duration::from_secs(30),
            user_agent: format!("vpsie-autoscaler/{}", env!("CARGO_PKG_VERSION")),
            targeted_delete: true,
        }
    }
}

/// The provider. Without credentials every call answers an [`ErrorClass::Auth`] error.
pub struct Vpsie {
    client: Client,
    options: Options,
    offerings: Memory<Vec<Offering>>,
    datacenters: Memory<Vec<Datacenter>>,
}

impl fmt::Debug for Vpsie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vpsie").finish_non_exhaustive()
    }
}

impl Vpsie {
    /// A provider without credentials yet.
    #[must_use]
    pub fn new(
        options: Options,
        transport: Arc<dyn Transport>,
        clock: Clock,
        random: Randomness,
        observer: Arc<dyn Observer>,
    ) -> Arc<Self> {
        Arc::new(Self {
            offerings: Memory::new(clock.clone()),
            datacenters: Memory::new(clock.clone()),
            client: Client::new(
                transport,
                clock,
                random,
                observer,
                options.requests_per_minute,
                options.request_timeout,
                &options.user_agent,
            ),
            options,
        })
    }

    /// Puts credentials into force, or takes them away. Tokens of earlier ones are dropped.
    pub async fn set_credentials(&self, credentials: Option<&Credentials>) {
        self.client.set_credentials(credentials);
        self.offerings.clear().await;
        self.datacenters.clear().await;
    }

    async fn read(
        &self,
        call: &Call,
        operation: &str,
        route: &'static str,
        path: String,
        priority: Priority,
    ) -> Result<Value, CloudError> {
        let ask = Ask {
            operation: operation.to_owned(),
            method: Method::GET,
            path,
            route,
            body: None,
            kind: Kind::Read,
            priority,
            repeatable: true,
        };
        self.client.ask(call, ask).await
    }

    async fn read_nodes(&self, call: &Call, cluster: &ClusterId) -> Result<Value, CloudError> {
        self.read(
            call,
            &format!("listing the machines of cluster {cluster}"),
            "cluster",
            format!("/k8s/cluster/byId/{}", segment(cluster.as_str())),
            Priority::Observe,
        )
        .await
        .and_then(|data| {
            if data.is_object() {
                return Ok(data);
            }
            // `data: false` is how the cloud says that there is no such object.
            Err(CloudError::new(
                format!("listing the machines of cluster {cluster}"),
                ErrorClass::NotFound,
                "the cloud knows no such cluster",
            ))
        })
    }

    async fn read_pools(&self, call: &Call, cluster: &ClusterId) -> Result<Vec<Pool>, CloudError> {
        let operation = format!("listing the node groups of cluster {cluster}");
        let data = self
            .read(
                call,
                &operation,
                "groups",
                format!("/k8s/node/groups/byClusterId/{}", segment(cluster.as_str())),
                Priority::Observe,
            )
            .await?;
        let rows = data
            .as_array()
            .ok_or_else(|| drift(&operation, "not a list"))?;
        let mut pools = Vec::new();
        for row in rows {
            if let Some(pool) = wire::pool(row).map_err(|what| drift(&operation, what))? {
                pools.push(pool);
            }
        }
        pools.sort_by_key(|pool| pool.id);
        Ok(pools)
    }

    /// Lists one cluster. Whatever is missing or contradictory makes the observation incomplete.
    async fn observe_cluster(
        &self,
        call: &Call,
        cluster: &ClusterId,
    ) -> Result<Observation, CloudError> {
        let started_at = self.client.clock().now();
        let data = self.read_nodes(call, cluster).await?;
        let mut defects = Vec::new();
        let pools = match self.read_pools(call, cluster).await {
            Ok(pools) => pools,
            Err(error) => {
                defects.push(error.to_string());
                Vec::new()
            }
        };
        let rows = data.get("nodes").and_then(Value::as_array);
        if rows.is_none() {
            defects.push("the cluster's answer has no list of nodes".into());
        }
        let mut instances = Vec::new();
        let mut nameless: BTreeMap<Hostname, Instance> = BTreeMap::new();
        for row in rows.into_iter().flatten() {
            match wire::node(row) {
                Ok(node) if node.uuid.is_some() => instances.push(node.instance),
                Ok(node) => {
                    nameless.insert(node.instance.hostname.clone(), node.instance);
                }
                Err(what) => defects.push(format!("the cluster lists {what}")),
            }
        }
        if !nameless.is_empty() {
            self.name(call, &mut nameless, &mut instances, &mut defects)
                .await;
        }
        let distinct: BTreeSet<&InstanceId> = instances.iter().map(|i| &i.id).collect();
        if distinct.len() != instances.len() {
            defects.push("one machine is listed twice".into());
        }
        let workers = instances
            .iter()
            .filter(|instance| {
                instance.role != Role::ControlPlane && instance.phase != InstancePhase::Deleting
            })
            .count();
        let counted = wire::integer(&data, "slaveCount").unwrap_or(0);
        if workers == 0 && counted > 0 {
            defects.push(format!(
                "the cluster counts {counted} workers and lists none"
            ));
        }
        instances.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(Observation {
            instances,
            pools,
            complete: defects.is_empty(),
            started_at,
            defects,
        })
    }

    /// Finds the UUIDs of machines that are listed without one, by host name.
    async fn name(
        &self,
        call: &Call,
        nameless: &mut BTreeMap<Hostname, Instance>,
        instances: &mut Vec<Instance>,
        defects: &mut Vec<String>,
    ) {
        let operation = "looking up the identities of machines";
        let path = "/storages/vms".to_owned();
        match self
            .read(call, operation, "storages-vms", path, Priority::Observe)
            .await
        {
            Ok(data) => {
                for (hostname, uuid) in data
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(wire::storage_row)
                {
                    if let Some(mut instance) = nameless.remove(&hostname) {
                        instance.id = InstanceId::from(uuid);
                        instances.push(instance);
                    }
                }
            }
            Err(error) => defects.push(error.to_string()),
        }
        for hostname in nameless.keys() {
            defects.push(format!("machine {hostname} has no identity"));
        }
    }

    async fn pool_of(
        &self,
        call: &Call,
        cluster: &ClusterId,
        request: &PoolRequest,
    ) -> Result<Pool, CloudError> {
        let find = |pools: Vec<Pool>| pools.into_iter().find(|pool| pool.size == request.size);
        if let Some(pool) = find(self.read_pools(call, cluster).await?) {
            return Ok(pool);
        }
        let operation = format!(
            "making node group {} of size {}",
            request.name, request.size
        );
        let size: i64 = request.size.as_str().parse().map_err(|_| {
            CloudError::new(
                &operation,
                ErrorClass::InvalidRequest,
                "the size is no number",
            )
        })?;
        let ask = Ask {
            operation: operation.clone(),
            method: Method::POST,
            path: "/k8s/cluster/add/group".into(),
            route: "add-group",
            body: Some(json!({
                "clusterIdentifier": cluster.as_str(),
                "groupName": request.name,
                "KubeSizeID": size,
            })),
            kind: Kind::Write,
            priority: Priority::Write,
            repeatable: false,
        };
        // Whatever the answer: a look shows whether it exists now. One that somebody else made in
        // between serves as well, and is what "same selected Size" says.
        let made = self.client.ask(call, ask).await;
        if let Some(pool) = find(self.read_pools(call, cluster).await?) {
            return Ok(pool);
        }
        Err(match made {
            Err(error) => error,
            Ok(_) => CloudError::new(operation, ErrorClass::Transient, "it is not listed yet"),
        })
    }

    async fn create_worker(&self, call: &Call, intent: &CreateIntent) -> CreateOutcome {
        let cluster = match cluster(&intent.scope) {
            Ok(cluster) => cluster,
            Err(error) => return CreateOutcome::Rejected(error),
        };
        let ask = Ask {
            operation: format!("adding a worker to node group {}", intent.pool),
            method: Method::POST,
            path: format!(
                "/k8s/cluster/byId/{}/add/slave/group/{}",
                segment(cluster.as_str()),
                intent.pool
            ),
            route: "add-worker",
            body: None,
            kind: Kind::Write,
            priority: Priority::Write,
            repeatable: false,
        };
        match self.client.ask(call, ask).await {
            // `false` is not a promise of anything.
            Ok(Value::Bool(false)) => CreateOutcome::Unknown(CloudError::new(
                format!("adding a worker to node group {}", intent.pool),
                ErrorClass::Ambiguous,
                "the cloud answered neither yes nor no",
            )),
            Ok(data) => CreateOutcome::Accepted(wire::created(&data)),
            Err(error) if error.class == ErrorClass::Ambiguous => CreateOutcome::Unknown(error),
            Err(error) => CreateOutcome::Rejected(error),
        }
    }

    async fn delete_worker(&self, call: &Call, target: &DeleteTarget) -> DeleteOutcome {
        let operation = format!("deleting machine {}", target.instance);
        let cluster = match cluster(&target.scope) {
            Ok(cluster) => cluster,
            Err(error) => return DeleteOutcome::Rejected(error),
        };
        if !self.options.targeted_delete {
            return DeleteOutcome::Rejected(CloudError::new(
                operation,
                ErrorClass::Unsupported,
                "this account's API cannot delete a worker by its identity",
            ));
        }
        // The cloud's own record must agree before anything is destroyed.
        let observed = match self.observe_cluster(call, cluster).await {
            Ok(observed) => observed,
            Err(error) => return DeleteOutcome::Unknown(error),
        };
        let refuse = |why: &str| {
            DeleteOutcome::Rejected(CloudError::new(&operation, ErrorClass::Conflict, why))
        };
        match observed.instance(&target.instance) {
            None if observed.complete => return DeleteOutcome::AlreadyGone,
            None => return refuse("it is not in the listing, which is incomplete"),
            Some(instance) if instance.role != Role::Worker => {
                return refuse("it is not known to be a worker");
            }
            Some(instance)
                if !target.hostname.as_str().is_empty() && instance.hostname != target.hostname =>
            {
                return refuse("it answers to another host name than was recorded");
            }
            Some(_) => {}
        }
        let ask = Ask {
            operation,
            method: Method::DELETE,
            path: format!(
                "/k8s/cluster/byId/{}/delete/slave",
                segment(cluster.as_str())
            ),
            route: "delete-worker",
            body: Some(json!({
                "identifier": target.instance.as_str(),
                "deleteStatistic": { "reason": "scale-down", "note": "vpsie-autoscaler" },
            })),
            kind: Kind::Write,
            priority: Priority::Write,
            // It names its target, so saying it twice does no harm.
            repeatable: true,
        };
        match self.client.ask(call, ask).await {
            Ok(_) => DeleteOutcome::Accepted,
            Err(error) if error.class == ErrorClass::NotFound => DeleteOutcome::AlreadyGone,
            Err(error) if matches!(error.class, ErrorClass::Ambiguous | ErrorClass::Transient) => {
                DeleteOutcome::Unknown(error)
            }
            Err(error) => DeleteOutcome::Rejected(error),
        }
    }

    async fn read_offerings(
        &self,
        call: &Call,
        datacenter: &DatacenterId,
    ) -> Result<Vec<Offering>, CloudError> {
        let operation = format!("listing the sizes of datacenter {datacenter}");
        let ask = Ask {
            operation: operation.clone(),
            method: Method::POST,
            path: "/k8s/offers".into(),
            route: "offers",
            body: Some(json!({ "dcIdentifier": datacenter.as_str() })),
            kind: Kind::Read,
            priority: Priority::Catalogue,
            repeatable: true,
        };
        let data = self.client.ask(call, ask).await?;
        if data == Value::Bool(false) {
            return Err(CloudError::new(
                operation,
                ErrorClass::NotFound,
                "the cloud has no such datacenter",
            ));
        }
        let rows = data
            .as_array()
            .ok_or_else(|| drift(&operation, "not a list"))?;
        let mut offerings: Vec<Offering> = rows.iter().filter_map(wire::offering).collect();
        offerings.sort_by(|a, b| a.size.cmp(&b.size));
        Ok(offerings)
    }

    async fn read_datacenters(&self, call: &Call) -> Result<Vec<Datacenter>, CloudError> {
        let operation = "listing the datacenters";
        let path = "/datacenter?offset=0&limit=1000".to_owned();
        let data = self
            .read(call, operation, "datacenters", path, Priority::Catalogue)
            .await?;
        let rows = data
            .as_array()
            .ok_or_else(|| drift(operation, "not a list"))?;
        Ok(rows.iter().filter_map(wire::datacenter).collect())
    }
}

fn cluster(scope: &Scope) -> Result<&ClusterId, CloudError> {
    match scope {
        Scope::Cluster(cluster) => Ok(cluster),
        Scope::Project { .. } => Err(CloudError::new(
            "using plain machines",
            ErrorClass::Unsupported,
            "this version works with managed clusters only",
        )),
    }
}

fn drift(operation: &str, what: &str) -> CloudError {
    CloudError::new(operation, ErrorClass::ContractDrift, what)
}

impl CloudProvider for Vpsie {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            targeted_delete: self.options.targeted_delete,
            named_create: false,
            user_data: false,
            pool_in_listing: false,
            one_pool_per_size: true,
        }
    }

    fn health<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Health, CloudError>> {
        Box::pin(async move {
            let path = "/profile/user".to_owned();
            self.read(
                call,
                "checking the credentials",
                "profile",
                path,
                Priority::Catalogue,
            )
            .await?;
            Ok(Health {
                clock_skew_seconds: self.client.clock_skew(),
            })
        })
    }

    fn datacenters<'a>(
        &'a self,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Vec<Datacenter>, CloudError>> {
        Box::pin(async move {
            let read = self.read_datacenters(call);
            Ok(self.datacenters.get("all", read).await?.value)
        })
    }

    fn catalogue<'a>(
        &'a self,
        call: &'a Call,
        datacenter: &'a DatacenterId,
    ) -> BoxFuture<'a, Result<Catalogue, CloudError>> {
        Box::pin(async move {
            let read = self.read_offerings(call, datacenter);
            let remembered = self.offerings.get(datacenter.as_str(), read).await?;
            Ok(Catalogue {
                offerings: remembered.value,
                fetched_at: remembered.read_at,
                stale: remembered.stale,
            })
        })
    }

    fn ensure_pool<'a>(
        &'a self,
        call: &'a Call,
        request: &'a PoolRequest,
    ) -> BoxFuture<'a, Result<Pool, CloudError>> {
        Box::pin(async move {
            let cluster = cluster(&request.scope)?;
            self.pool_of(call, cluster, request).await
        })
    }

    fn observe<'a>(
        &'a self,
        call: &'a Call,
        scope: &'a Scope,
    ) -> BoxFuture<'a, Result<Observation, CloudError>> {
        Box::pin(async move { self.observe_cluster(call, cluster(scope)?).await })
    }

    fn create<'a>(
        &'a self,
        call: &'a Call,
        intent: &'a CreateIntent,
    ) -> BoxFuture<'a, CreateOutcome> {
        Box::pin(self.create_worker(call, intent))
    }

    fn delete<'a>(
        &'a self,
        call: &'a Call,
        target: &'a DeleteTarget,
    ) -> BoxFuture<'a, DeleteOutcome> {
        Box::pin(self.delete_worker(call, target))
    }
}
