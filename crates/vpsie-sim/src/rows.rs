//! How objects look in answers, as of the moment that a list shows.

use std::time::Duration;

use rust_decimal::{Decimal, prelude::ToPrimitive as _};
use serde_json::{Map, Value, json};

use crate::{
    config::{Cluster, Datacenter, NodeShape, PriceEncoding, Project, Size},
    machine::{Phase, Role},
    state::{Group, Record, State},
};

const USER: i64 = 4242;

fn flag(value: bool) -> u8 {
    u8::from(value)
}

impl State {
    fn price(&self, amount: Decimal) -> Value {
        match self.config.price_encoding {
            PriceEncoding::Int => json!(amount.round().to_i64().unwrap_or(i64::MAX)),
            PriceEncoding::Float => json!(amount.to_f64().unwrap_or_default()),
            PriceEncoding::String => json!(amount.normalize().to_string()),
        }
    }

    fn date(&self, at: Duration) -> Value {
        json!(self.timestamp(at).to_string())
    }

    pub(crate) fn cluster_row(&self, cluster: &Cluster, at: Duration) -> Value {
        let workers = self.counted_workers(&cluster.identifier, None, at);
        json!({
            "cluster_name": cluster.name,
            "identifier": cluster.identifier,
            "user_id": USER,
            "count": workers + cluster.masters as usize,
            "kube_version": "1.34.1",
            "nickname": "Kubernetes",
            "cpu": 2,
            "ram": 4096,
            "traffic": 4000,
            "color": "#2f80ed",
            "price": self.price(Decimal::from(40)),
            "lock": 0,
            "created_by": "panel",
            "upgrade_version": null,
            "lb_id": null,
            "managerCount": cluster.masters,
            "slaveCount": workers,
            "created_on": self.date(Duration::ZERO),
            "updated_on": self.date(at),
        })
    }

    /// A node of `GET /k8s/cluster/byId`, in the configured shape.
    pub(crate) fn node_row(&self, record: &Record, at: Duration) -> Value {
        let phase = record.phase_at(at);
        let creating = phase == Some(Phase::Creating);
        let deleting = phase == Some(Phase::Deleting);
        let master = record.role == Role::Master;
        let mut row = Map::new();
        let mut set = |key: &str, value: Value| {
            row.insert(key.to_owned(), value);
        };
        let shape = self.config.node_shape;
        set("hostname", json!(record.hostname));
        if matches!(shape, NodeShape::Sdk | NodeShape::Union) {
            let address = |address: &str| {
                if creating {
                    Value::Null
                } else {
                    json!(address)
                }
            };
            set("id", json!(record.id));
            set("default_ip", address(&record.default_ip));
            set("private_ip", address(&record.private_ip));
            set("node_type", json!(if master { 1 } else { 2 }));
            // The physical host.
            set("node_id", json!(200 + record.id % 7));
            let datacenter = self.datacenter(&record.datacenter);
            set(
                "datacenter_id",
                json!(datacenter.map(|datacenter| datacenter.id)),
            );
            set("user_id", json!(USER));
            set("created_on", self.date(record.created));
        }
        if matches!(shape, NodeShape::Goas | NodeShape::Union) {
            let ip = if creating {
                ""
            } else {
                record.default_ip.as_str()
            };
            let status = match phase {
                Some(Phase::Creating) => "creating",
                Some(Phase::Deleting) => "deleting",
                _ => "running",
            };
            set("identifier", json!(record.uuid));
            set("ip", json!(ip));
            set("role", json!(if master { "master" } else { "slave" }));
            set("status", json!(status));
            set("cpu", json!(record.size.cpu));
            set("ram", json!(record.size.ram_mb));
            set("disk", json!(record.size.disk_gb));
        }
        if shape == NodeShape::Union {
            set("is_active", json!(flag(!creating && !deleting)));
            set("is_deleted", json!(flag(deleting)));
        }
        Value::Object(row)
    }

    pub(crate) fn group_row(&self, group: &Group, at: Duration) -> Value {
        let deleted = group.is_deleted_at(at);
        let datacenter = self.datacenter(&group.datacenter);
        let clusters = &self.config.clusters;
        let cluster = clusters.iter().position(|c| c.identifier == group.cluster);
        json!({
            "id": group.id,
            "identifier": group.identifier,
            "group_name": group.name,
            "user_id": USER,
            "boxsize_id": group.size.id,
            "datacenter_id": datacenter.map(|datacenter| datacenter.id),
            "dcIdentifier": group.datacenter,
            "ram": group.size.ram_mb,
            "cpu": group.size.cpu,
            "ssd": group.size.disk_gb,
            "traffic": 4000,
            "notes": null,
            "created_on": self.date(group.created),
            "last_updated": self.date(group.deleted.filter(|_| deleted).unwrap_or(group.created)),
            "dropped_on": group.deleted.filter(|_| deleted).map(|at| self.date(at)),
            "is_active": flag(!deleted),
            "is_deleted": flag(deleted),
            "project_id": self.config.projects.first().map(|project| project.id),
            "cluster_id": cluster.map(|index| index + 1),
            "nodes_count": self.counted_workers(&group.cluster, Some(group.id), at),
        })
    }

    /// A row of `GET /vm`.
    pub(crate) fn vm_row(&self, record: &Record, at: Duration) -> Value {
        let phase = record.phase_at(at);
        let creating = phase == Some(Phase::Creating);
        let deleting = phase == Some(Phase::Deleting);
        let datacenter = self.datacenter(&record.datacenter);
        let order = record.order.as_ref();
        let public = order.is_none_or(|order| order.public_ip) && !creating;
        let project = self.config.projects.iter().find(|project| {
            order.and_then(|order| order.project.as_deref()) == Some(&project.identifier)
        });
        json!({
            "id": record.id,
            "identifier": record.uuid,
            "hostname": record.hostname,
            "default_ip": if public { json!(record.default_ip) } else { Value::Null },
            "default_ipv6": null,
            "private_ip": if creating { Value::Null } else { json!(record.private_ip) },
            "boxsize_id": record.size.id,
            "boximage_id": 12,
            "datacenter_id": datacenter.map(|datacenter| datacenter.id),
            "dcIdentifier": record.datacenter,
            "node_id": 200 + record.id % 7,
            "project_id": project.map(|project| project.id),
            "ram": record.size.ram_mb,
            "cpu": record.size.cpu,
            "ssd": record.size.disk_gb,
            "traffic": 4000,
            "created_on": self.date(record.created),
            "last_updated": self.date(record.created),
            "dropped_on": record.deleting.filter(|_| deleting).map(|at| self.date(at)),
            "is_active": flag(!creating && !deleting),
            "is_deleted": flag(deleting),
            "is_locked": 0,
            "is_suspended": 0,
            "is_terminated": 0,
            "boxes_suspended": 0,
            "power": flag(!creating && !deleting),
            // A place, not a status.
            "state": datacenter.map(|datacenter| datacenter.state.as_str()),
            "category": "A",
            "fullname": "Ubuntu 24.04",
            "initial_password": format!("initial-password-of-{}", record.id),
            "notes": order.and_then(|order| order.notes.as_deref()),
            "script_id": null,
            "sshkey_id": null,
            "custom_price": null,
        })
    }

    /// A row of `GET /storages/vms`.
    pub(crate) fn storage_vm_row(&self, record: &Record, at: Duration) -> Value {
        let creating = record.phase_at(at) == Some(Phase::Creating);
        let address = |address: &str| {
            if creating {
                Value::Null
            } else {
                json!(address)
            }
        };
        json!({
            "hostname": record.hostname,
            "identifier": record.uuid,
            "datacenter_id": self.datacenter(&record.datacenter).map(|datacenter| datacenter.id),
            "default_ip": address(&record.default_ip),
            "private_ip": address(&record.private_ip),
            "dcIdentifier": record.datacenter,
            "type": if record.role == Role::Plain { "vm" } else { "k8s" },
        })
    }

    /// A row of `POST /k8s/offers`.
    pub(crate) fn offer_row(&self, size: &Size) -> Value {
        let mut row = json!({
            "id": size.id,
            "name": size.name,
            "cpu": size.cpu,
            "ram": size.ram_mb,
            "disk": size.disk_gb,
            "price": self.price(size.price),
        });
        if let Some(hourly) = size.hourly_price {
            row["hourly_price"] = match self.config.price_encoding {
                // An hour costs less than a dollar: nobody rounds that to whole ones.
                PriceEncoding::Int => json!(hourly.to_f64().unwrap_or_default()),
                PriceEncoding::Float | PriceEncoding::String => self.price(hourly),
            };
        }
        row
    }

    /// A row of `POST /resources`.
    pub(crate) fn resource_row(&self, size: &Size) -> Value {
        json!({
            "identifier": size.identifier,
            "nickname": size.name,
            "cpu": size.cpu,
            "ram": size.ram_mb,
            "ssd": size.disk_gb,
            "traffic": 4000,
            "price": self.price(size.price),
            "net_speed": 1000,
        })
    }
}

pub(crate) fn datacenter_row(datacenter: &Datacenter) -> Value {
    json!({
        "dc_name": datacenter.name,
        "dc_image": "flag.svg",
        "state": datacenter.state,
        "country": datacenter.country,
        "is_active": flag(datacenter.active),
        "identifier": datacenter.identifier,
        "is_deleted": 0,
        "is_private": 0,
        "is_fip_available": 1,
        "is_bucket_available": 0,
        "default_selected": 0,
    })
}

pub(crate) fn project_row(project: &Project) -> Value {
    json!({
        "id": project.id,
        "identifier": project.identifier,
        "name": project.name,
        "is_default": 1,
    })
}
