//! Workers of managed clusters: adding to a group, deleting one by its UUID, and the two `reduce`
//! routes on which the API picks the victim.

use http::StatusCode;
use serde_json::{Value, json};

use super::{require_delete_statistic, text};
use crate::{
    fault::Fault,
    machine::{Origin, Role},
    reply::{Call, Reply},
    state::{Group, Purchase, State},
};

impl State {
    pub(super) fn add_worker(&mut self, call: &Call) -> Reply {
        let group = call.value(1).parse().ok();
        self.add_worker_to(call, group)
    }

    pub(super) fn add_worker_to_default(&mut self, call: &Call) -> Result<Reply, Reply> {
        let body = call.object(self.config.strict, &["groupId"])?;
        let group = match body.get("groupId").and_then(Value::as_i64) {
            Some(group) => Some(group),
            None => self
                .groups
                .values()
                .find(|group| group.cluster == call.value(0) && !group.is_deleted_at(self.now))
                .map(|group| group.id),
        };
        Ok(self.add_worker_to(call, group))
    }

    fn add_worker_to(&mut self, call: &Call, group: Option<i64>) -> Reply {
        let Some(cluster) = self.cluster(call.value(0)).cloned() else {
            return Reply::failure_with_200("Cluster not found");
        };
        let Some(group) = group.and_then(|group| self.live_group(&cluster.identifier, group))
        else {
            return Reply::failure_with_200("Group not found");
        };
        let workers = self.live_workers(&cluster.identifier).count();
        if let Some(cap) = cluster.worker_cap.filter(|cap| workers >= *cap as usize) {
            let message = format!("Worker nodes count exceeds the allowed limit {cap}");
            return Reply::json(
                StatusCode::INTERNAL_SERVER_ERROR,
                json!({"error": true, "code": 500, "message": message, "type": false}),
            );
        }
        if self.sold_out.contains(&group.size.id) {
            return Reply::failure(
                StatusCode::INTERNAL_SERVER_ERROR,
                self.config.sold_out_message.clone(),
            );
        }
        if call.faults.has(&Fault::NeverAppears) {
            return Reply::data(true).committing("nothing: the machine will never appear");
        }
        let id = self.buy_worker(&group, Origin::Api(call.seq), &call.faults);
        let record = self.machines.get(&id);
        let mut reply = match record.filter(|_| self.config.add_answers_object) {
            Some(record) => Reply::data(json!({
                "id": record.id,
                "identifier": record.uuid,
                "status": "creating",
                "hostname": record.hostname,
            })),
            None => Reply::data(true),
        };
        reply
            .committed
            .extend(record.map(|record| format!("create {}", record.uuid)));
        if call.faults.has(&Fault::DuplicateMachine) {
            let id = self.buy_worker(&group, Origin::Api(call.seq), &call.faults);
            let record = self.machines.get(&id);
            reply
                .committed
                .extend(record.map(|record| format!("create {}", record.uuid)));
        }
        reply
    }

    /// The group of a cluster, unless it is deleted.
    pub(crate) fn live_group(&self, cluster: &str, id: i64) -> Option<Group> {
        let group = self.groups.get(&id)?;
        (group.cluster == cluster && !group.is_deleted_at(self.now)).then(|| group.clone())
    }

    /// Buys a worker for a group.
    pub(crate) fn buy_worker(
        &mut self,
        group: &Group,
        origin: Origin,
        faults: &crate::fault::Faults,
    ) -> i64 {
        self.buy(&Purchase {
            role: Role::Worker,
            cluster: Some(group.cluster.clone()),
            group: Some(group.id),
            datacenter: group.datacenter.clone(),
            size: group.size.clone(),
            hostname: None,
            order: None,
            origin,
            faults,
        })
    }

    pub(super) fn delete_worker(&mut self, call: &Call) -> Result<Reply, Reply> {
        let strict = self.config.strict;
        let body = call.object(strict, &["identifier", "deleteStatistic"])?;
        if strict {
            require_delete_statistic(&body)?;
        }
        let wanted = text(&body, "identifier").unwrap_or_default();
        let found = self.machines.values().find(|record| {
            record.uuid == wanted
                && record.cluster.as_deref() == Some(call.value(0))
                && record.lives_at(self.now)
        });
        let Some(record) = found else {
            return Err(Reply::failure_with_200("Node not found"));
        };
        if record.role == Role::Master {
            return Err(Reply::failure(
                StatusCode::BAD_REQUEST,
                "Master node can not be deleted",
            ));
        }
        let mut id = record.id;
        if call.faults.has(&Fault::DeletesAnotherWorker) {
            let others: Vec<i64> = self
                .live_workers(call.value(0))
                .map(|record| record.id)
                .filter(|other| *other != id)
                .collect();
            let victim = self.streams.victims.below(others.len().max(1) as u64) as usize;
            id = others.get(victim).copied().unwrap_or(id);
        }
        Ok(self.delete_for(call, id))
    }

    /// Deletes a machine, unless a fault only pretends so.
    pub(super) fn delete_for(&mut self, call: &Call, id: i64) -> Reply {
        let reply = Reply::data(true);
        if call.faults.has(&Fault::DeleteAnswersSuccessButStays) {
            return reply.committing("nothing: the machine stays");
        }
        self.delete(id, Origin::Api(call.seq));
        match self.machines.get(&id) {
            Some(record) => reply.committing(format!("delete {}", record.uuid)),
            None => reply,
        }
    }

    pub(super) fn reduce_group(&mut self, call: &Call) -> Result<Reply, Reply> {
        let body = call.object(self.config.strict, &["groupId"])?;
        let group = body.get("groupId").and_then(Value::as_i64);
        let group = group.and_then(|group| self.live_group(call.value(0), group));
        let group = group.ok_or_else(|| Reply::failure_with_200("Group not found"))?;
        Ok(self.reduce(call, Some(group.id)))
    }

    pub(super) fn reduce_cluster(&mut self, call: &Call) -> Reply {
        if self.cluster(call.value(0)).is_none() {
            return Reply::failure_with_200("Cluster not found");
        }
        self.reduce(call, None)
    }

    fn reduce(&mut self, call: &Call, group: Option<i64>) -> Reply {
        let workers = self.live_workers(call.value(0));
        let candidates: Vec<i64> = workers
            .filter(|record| group.is_none() || record.group == group)
            .map(|record| record.id)
            .collect();
        let victim = self.streams.victims.below(candidates.len() as u64) as usize;
        match candidates.get(victim) {
            Some(id) => self.delete_for(call, *id),
            None => Reply::failure_with_200("There are no worker nodes"),
        }
    }
}
