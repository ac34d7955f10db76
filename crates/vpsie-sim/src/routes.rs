//! The endpoints and their data rules (`vpsie-api.md` §b).

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::{
    Fault, Join, Machine, NodeShape, Origin, Phase, VpsieSim, handle::Answer, world::Pool,
};

/// A recognised endpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Route {
    Login,
    Profile,
    Datacenters,
    Offers,
    Clusters,
    Cluster(String),
    Groups(String),
    AddGroup,
    DeleteGroup(String),
    AddWorker(String, i64),
    DeleteWorker(String),
    Reduce(String),
    Machines,
    PendingMachines,
    StorageMachines,
    CreateMachine,
    DeleteMachine,
    Unknown,
}

impl Route {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        let path = request.uri().path();
        let path = ["/apps/v2", "/api/v2", "/v2"]
            .into_iter()
            .find_map(|prefix| path.strip_prefix(prefix))
            .unwrap_or(path);
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        match (request.method().clone(), parts.as_slice()) {
            (Method::POST, ["auth", "from", "api"]) => Self::Login,
            (Method::GET, ["profile", "user"]) => Self::Profile,
            (Method::GET, ["datacenter"]) => Self::Datacenters,
            (Method::POST, ["k8s", "offers"]) => Self::Offers,
            (Method::GET, ["k8s", "cluster", "all"]) => Self::Clusters,
            (Method::GET, ["k8s", "cluster", "byId", id]) => Self::Cluster((*id).into()),
            (Method::GET, ["k8s", "node", "groups", "byClusterId", id]) => {
                Self::Groups((*id).into())
            }
            (Method::POST, ["k8s", "cluster", "add", "group"]) => Self::AddGroup,
            (Method::DELETE, ["k8s", "cluster", "delete", "group", id]) => {
                Self::DeleteGroup((*id).into())
            }
            (Method::POST, ["k8s", "cluster", "byId", id, "add", "slave", "group", group]) => {
                group
                    .parse()
                    .map_or(Self::Unknown, |group| Self::AddWorker((*id).into(), group))
            }
            (Method::DELETE, ["k8s", "cluster", "byId", id, "delete", "slave"]) => {
                Self::DeleteWorker((*id).into())
            }
            (
                Method::DELETE,
                ["k8s", "cluster", "byId", id, "reduce"]
                | ["k8s", "cluster", "byId", id, "reduce", "slave"],
            ) => Self::Reduce((*id).into()),
            (Method::GET, ["vm"]) => Self::Machines,
            (Method::GET, ["vm", "pending"]) => Self::PendingMachines,
            (Method::GET, ["storages", "vms"]) => Self::StorageMachines,
            (Method::POST, ["vm"]) => Self::CreateMachine,
            (Method::DELETE, ["vm"]) => Self::DeleteMachine,
            _ => Self::Unknown,
        }
    }

    /// The name by which faults select.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Profile => "profile",
            Self::Datacenters => "datacenters",
            Self::Offers => "offers",
            Self::Clusters => "clusters",
            Self::Cluster(_) => "cluster",
            Self::Groups(_) => "groups",
            Self::AddGroup => "add-group",
            Self::DeleteGroup(_) => "delete-group",
            Self::AddWorker(..) => "add-worker",
            Self::DeleteWorker(_) => "delete-worker",
            Self::Reduce(_) => "reduce",
            Self::Machines => "vm",
            Self::PendingMachines => "vm-pending",
            Self::StorageMachines => "storages-vms",
            Self::CreateMachine => "create-vm",
            Self::DeleteMachine => "delete-vm",
            Self::Unknown => "unknown",
        }
    }
}

fn not_found() -> Answer {
    Answer::error(StatusCode::NOT_FOUND, "Not found")
}

fn text<'a>(body: &'a Value, key: &str) -> &'a str {
    body.get(key).and_then(Value::as_str).unwrap_or_default()
}

impl VpsieSim {
    pub(crate) fn dispatch(
        &self,
        route: &Route,
        body: &Bytes,
        seq: u64,
        fault: Option<&Fault>,
    ) -> Answer {
        let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        match route {
            Route::Login | Route::Unknown => not_found(),
            Route::Profile => Answer::data(json!({ "id": 7, "email": "owner@example.com" })),
            Route::Datacenters => self.datacenters(),
            Route::Offers => self.offers(text(&body, "dcIdentifier")),
            Route::Clusters => self.clusters(),
            Route::Cluster(id) => self.cluster(id, fault),
            Route::Groups(id) => self.groups(id, fault),
            Route::AddGroup => self.add_group(&body),
            Route::DeleteGroup(uuid) => self.delete_group(uuid),
            Route::AddWorker(cluster, group) => self.add_worker(cluster, *group, seq, fault),
            Route::DeleteWorker(cluster) => self.delete_worker(cluster, &body, fault),
            Route::Reduce(cluster) => self.reduce(cluster, &body),
            // Workers are not among the plain machines, of which the account has none.
            Route::Machines => Answer::ok(json!({ "error": false, "data": [], "total ": 0 })),
            Route::PendingMachines => Answer::data(json!([])),
            Route::StorageMachines => self.storage_machines(),
            Route::CreateMachine => Answer::error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "Your subscription does not allow virtual machines",
            ),
            Route::DeleteMachine => {
                Answer::ok(json!({ "error": true, "message": "You entered the wrong password" }))
            }
        }
    }

    fn datacenters(&self) -> Answer {
        let rows: Vec<Value> = self
            .config
            .datacenters
            .iter()
            .map(|dc| {
                json!({
                    "identifier": dc.id, "dc_name": dc.name, "state": "Uusimaa",
                    "country": "FI", "is_active": 1, "is_deleted": 0, "is_private": 0,
                })
            })
            .collect();
        let total = rows.len();
        Answer::ok(json!({ "error": false, "data": rows, "total": total }))
    }

    /// Prices come as a number, as text, and with or without an hourly one.
    fn offers(&self, datacenter: &str) -> Answer {
        if !self.config.datacenters.iter().any(|dc| dc.id == datacenter) {
            return Answer::data(json!(false));
        }
        let rows: Vec<Value> = self
            .config
            .sizes
            .iter()
            .enumerate()
            .map(|(index, size)| {
                let monthly: f64 = size.monthly.to_string().parse().unwrap_or_default();
                let hourly: f64 = size.hourly.to_string().parse().unwrap_or_default();
                let (price, hourly) = if index % 2 == 0 {
                    (json!(monthly), json!(size.hourly.to_string()))
                } else {
                    (json!(size.monthly.to_string()), json!(hourly))
                };
                json!({
                    "id": size.id, "name": size.name, "cpu": size.cpu, "ram": size.ram,
                    "disk": size.ssd, "price": price, "hourly_price": hourly,
                })
            })
            .collect();
        Answer::data(json!(rows))
    }

    fn clusters(&self) -> Answer {
        let world = self.lock();
        let rows: Vec<Value> = self
            .config
            .clusters
            .iter()
            .map(|cluster| {
                json!({
                    "cluster_name": cluster.name, "identifier": cluster.id, "user_id": 7,
                    "kube_version": "1.34.1", "managerCount": cluster.masters,
                    "slaveCount": world.workers(&cluster.id), "price": 20.5, "lb_id": null,
                })
            })
            .collect();
        Answer::data(json!(rows))
    }

    fn cluster(&self, id: &str, fault: Option<&Fault>) -> Answer {
        let Some(cluster) = self.config.clusters.iter().find(|cluster| cluster.id == id) else {
            return Answer::data(json!(false));
        };
        let world = self.lock();
        let nodes: Vec<Value> = world
            .machines
            .values()
            .filter(|machine| machine.cluster == id)
            .filter(|machine| !matches!(machine.phase, Phase::Queued | Phase::Gone))
            .map(|machine| self.node(machine, fault == Some(&Fault::MissingUuid)))
            .collect();
        let count = world.workers(id);
        let nodes = if fault == Some(&Fault::EmptyList) {
            Vec::new()
        } else {
            nodes
        };
        Answer::data(json!({
            "cluster_name": cluster.name, "identifier": cluster.id, "kube_version": "1.34.1",
            "managerCount": cluster.masters, "slaveCount": count, "nodes": nodes,
        }))
    }

    fn node(&self, machine: &Machine, without_uuid: bool) -> Value {
        let listed = !matches!(machine.phase, Phase::Creating);
        let address = if listed { json!(machine.address) } else { Value::Null };
        let size = self.config.sizes.iter().find(|size| size.id == machine.size);
        let sdk = json!({
            "id": machine.id, "hostname": machine.hostname, "default_ip": address,
            "private_ip": null, "node_type": if machine.master { 1 } else { 2 },
            "node_id": 31, "datacenter_id": 4, "user_id": 7,
            "created_on": machine.created_at.to_string(),
            "is_active": i32::from(listed),
            "is_deleted": i32::from(machine.phase == Phase::Deleting),
        });
        let goas = json!({
            "identifier": if without_uuid { Value::Null } else { json!(machine.uuid) },
            "hostname": machine.hostname, "ip": address,
            "role": if machine.master { "master" } else { "slave" },
            "status": match machine.phase {
                Phase::Queued | Phase::Creating => "creating",
                Phase::Running => "running",
                Phase::Deleting | Phase::Gone => "deleting",
            },
            "cpu": size.map(|size| size.cpu), "ram": size.map(|size| size.ram),
            "disk": size.map(|size| size.ssd),
            "is_deleted": i32::from(machine.phase == Phase::Deleting),
        });
        match self.config.node_shape {
            NodeShape::Sdk => sdk,
            NodeShape::Goas => goas,
            NodeShape::Union => {
                let mut both = sdk;
                if let (Some(both), Some(goas)) = (both.as_object_mut(), goas.as_object()) {
                    both.extend(goas.clone());
                }
                both
            }
        }
    }

    fn groups(&self, cluster: &str, fault: Option<&Fault>) -> Answer {
        let world = self.lock();
        let rows: Vec<Value> = world
            .pools
            .values()
            .filter(|pool| pool.cluster == cluster && fault != Some(&Fault::EmptyList))
            .map(|pool| {
                let count = world
                    .machines
                    .values()
                    .filter(|machine| machine.pool == Some(pool.id))
                    .filter(|m| !matches!(m.phase, Phase::Deleting | Phase::Gone))
                    .count();
                let size = self.config.sizes.iter().find(|size| size.id == pool.size);
                json!({
                    "id": pool.id, "identifier": pool.uuid, "group_name": pool.name,
                    "boxsize_id": pool.size, "cluster_id": 3, "user_id": 7,
                    "ram": size.map(|size| size.ram), "cpu": size.map(|size| size.cpu),
                    "ssd": size.map(|size| size.ssd), "nodes_count": count,
                    "is_active": 1, "is_deleted": i32::from(pool.deleted),
                    "created_on": pool.created_at.to_string(), "dropped_on": null,
                })
            })
            .collect();
        Answer::data(json!(rows))
    }

    fn add_group(&self, body: &Value) -> Answer {
        let (cluster, name) = (text(body, "clusterIdentifier"), text(body, "groupName"));
        let size = body.get("KubeSizeID").and_then(Value::as_i64).unwrap_or(0);
        if !self.config.clusters.iter().any(|known| known.id == cluster) || name.is_empty() {
            return Answer::error(StatusCode::BAD_REQUEST, "Wrong cluster or group name");
        }
        if !self.config.sizes.iter().any(|known| known.id == size) {
            return Answer::error(StatusCode::BAD_REQUEST, "Wrong KubeSizeID");
        }
        let uuid = self.random.uuid().to_string();
        let mut world = self.lock();
        let same = world
            .pools
            .values()
            .find(|pool| pool.cluster == cluster && pool.size == size && !pool.deleted);
        if let Some(pool) = same {
            let message = format!(
                "Group {} has same selected Size, please select another size",
                pool.name
            );
            return Answer::error(StatusCode::INTERNAL_SERVER_ERROR, &message);
        }
        let id = world.next_id();
        world.note(self.clock.now(), format!("pool {id} {name} size {size}"));
        world.pools.insert(
            id,
            Pool {
                id,
                uuid,
                name: name.to_owned(),
                cluster: cluster.to_owned(),
                size,
                deleted: false,
                created_at: self.clock.now(),
            },
        );
        Answer::data(json!(true))
    }

    fn delete_group(&self, uuid: &str) -> Answer {
        let mut world = self.lock();
        match world.pools.values_mut().find(|pool| pool.uuid == uuid) {
            Some(pool) => {
                pool.deleted = true;
                Answer::data(json!(true))
            }
            None => Answer::data(json!(false)),
        }
    }

    fn add_worker(&self, cluster: &str, group: i64, seq: u64, fault: Option<&Fault>) -> Answer {
        let size = {
            let world = self.lock();
            let Some(pool) = world
                .pools
                .get(&group)
                .filter(|pool| pool.cluster == cluster && !pool.deleted)
            else {
                return Answer::error(StatusCode::NOT_FOUND, "Node group not found");
            };
            if let Some(Some(cap)) = world.caps.get(cluster)
                && world.workers(cluster) >= usize::try_from(*cap).unwrap_or(usize::MAX)
            {
                let message = format!("Worker nodes count exceeds the allowed limit {cap}");
                return Answer::error(StatusCode::INTERNAL_SERVER_ERROR, &message);
            }
            if world.sold_out.contains(&pool.size) {
                return Answer::error(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "Selected size is out of stock in this datacenter",
                );
            }
            pool.size
        };
        let join = match fault {
            Some(Fault::NeverAppears) => return Answer::data(json!(true)),
            Some(Fault::StuckCreating) => Join::StuckCreating,
            Some(Fault::NeverJoins) => Join::Never,
            Some(Fault::JoinsNotReady) => Join::NotReady,
            _ => Join::Ready,
        };
        let uuid = self.spawn_machine(cluster, size, Origin::Api(seq), join);
        if fault == Some(&Fault::Duplicate) {
            self.spawn_machine(cluster, size, Origin::Api(seq), join);
        }
        match uuid.filter(|_| self.config.add_answers_object) {
            Some(uuid) => {
                let world = self.lock();
                let machine = world.machine(&uuid);
                Answer::data(json!({
                    "id": machine.map(|m| m.id), "identifier": uuid, "status": "creating",
                    "hostname": machine.map(|m| m.hostname.clone()),
                }))
            }
            None => Answer::data(json!(true)),
        }
    }

    fn delete_worker(&self, cluster: &str, body: &Value, fault: Option<&Fault>) -> Answer {
        if body.get("deleteStatistic").is_none() {
            return Answer::error(StatusCode::INTERNAL_SERVER_ERROR, "deleteStatistic is required");
        }
        let uuid = text(body, "identifier");
        let master = {
            let world = self.lock();
            match world.machine(uuid) {
                Some(machine) if machine.cluster == cluster && machine.phase != Phase::Gone => {
                    machine.master
                }
                _ => return Answer::error(StatusCode::NOT_FOUND, "Node not found"),
            }
        };
        if master {
            return Answer::error(StatusCode::BAD_REQUEST, "Master nodes cannot be deleted");
        }
        if fault != Some(&Fault::DeleteDoesNothing) {
            self.delete_machine(uuid);
        }
        Answer::data(json!(true))
    }

    /// The API chooses the victim: here, whichever the seed says.
    fn reduce(&self, cluster: &str, body: &Value) -> Answer {
        let group = body.get("groupId").and_then(Value::as_i64);
        let victims: Vec<String> = self
            .lock()
            .machines
            .values()
            .filter(|m| m.cluster == cluster && !m.master && m.phase == Phase::Running)
            .filter(|m| group.is_none() || m.pool == group)
            .map(|m| m.uuid.clone())
            .collect();
        if victims.is_empty() {
            return Answer::data(json!(false));
        }
        let victim = usize::try_from(self.random.below(victims.len() as u64)).unwrap_or(0);
        self.delete_machine(&victims[victim]);
        Answer::data(json!(true))
    }

    fn storage_machines(&self) -> Answer {
        let world = self.lock();
        let rows: Vec<Value> = world
            .machines
            .values()
            .filter(|machine| !matches!(machine.phase, Phase::Queued | Phase::Gone))
            .map(|machine| {
                json!({
                    "hostname": machine.hostname, "identifier": machine.uuid,
                    "datacenter_id": 4, "default_ip": machine.address, "private_ip": null,
                    "type": "k8s",
                })
            })
            .collect();
        Answer::data(json!(rows))
    }
}
