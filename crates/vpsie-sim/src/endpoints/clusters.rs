//! Managed clusters and their groups.

use http::StatusCode;
use serde_json::{Value, json};

use super::{missing, require_delete_statistic, text};
use crate::{
    machine::Origin,
    reply::{Call, Reply},
    state::State,
};

impl State {
    pub(super) fn list_clusters(&mut self) -> Reply {
        let at = self.view(crate::Route::ListClusters);
        let clusters = self.config.clusters.iter();
        let rows: Vec<Value> = clusters
            .map(|cluster| self.cluster_row(cluster, at))
            .collect();
        let total = json!(rows.len());
        Reply::list(rows, "total", total)
    }

    pub(super) fn get_cluster(&mut self, call: &Call) -> Reply {
        let at = self.view(call.route);
        let Some(cluster) = self.cluster(call.value(0)) else {
            return Reply::no_such_object();
        };
        let mut row = self.cluster_row(cluster, at);
        let nodes: Vec<Value> = self
            .machines
            .values()
            .filter(|record| record.cluster.as_ref() == Some(&cluster.identifier))
            .filter(|record| record.is_listed_at(at))
            .map(|record| self.node_row(record, at))
            .collect();
        row["nodes"] = Value::Array(nodes);
        Reply::data(row)
    }

    pub(super) fn list_groups(&mut self, call: &Call) -> Reply {
        let at = self.view(call.route);
        let rows: Vec<Value> = self
            .groups
            .values()
            .filter(|group| group.cluster == call.value(0) && group.exists_at(at))
            .map(|group| self.group_row(group, at))
            .collect();
        let total = json!(rows.len());
        Reply::list(rows, "total", total)
    }

    pub(super) fn post_group(&mut self, call: &Call) -> Result<Reply, Reply> {
        let fields = ["clusterIdentifier", "groupName", "KubeSizeID"];
        let body = call.object(self.config.strict, &fields)?;
        let wanted =
            text(&body, "clusterIdentifier").ok_or_else(|| missing("clusterIdentifier"))?;
        let name = text(&body, "groupName").ok_or_else(|| missing("groupName"))?;
        let size = body.get("KubeSizeID").and_then(Value::as_i64);
        let size = size.ok_or_else(|| missing("KubeSizeID"))?;
        let Some(cluster) = self.cluster(wanted).cloned() else {
            return Err(Reply::failure_with_200("Cluster not found"));
        };
        let Some(size) = self.size_in(&cluster.datacenter, size).cloned() else {
            return Err(Reply::failure_with_200("Selected size not found"));
        };
        let taken = self.groups.values().find(|group| {
            group.cluster == cluster.identifier
                && group.size.id == size.id
                && !group.is_deleted_at(self.now)
        });
        if let Some(taken) = taken {
            return Err(Reply::failure(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!(
                    "Group {} has same selected Size, please select another size",
                    taken.name
                ),
            ));
        }
        let id = self.add_group(&cluster, name, size);
        let reply = if self.config.add_answers_object {
            Reply::data(json!({"groupId": id}))
        } else {
            Reply::data(true)
        };
        Ok(reply.committing(format!("add-group {id} {name}")))
    }

    /// Deletes a group and, with it, its workers.
    pub(super) fn delete_group(&mut self, call: &Call) -> Result<Reply, Reply> {
        let body = call.object(self.config.strict, &["deleteStatistic"])?;
        require_delete_statistic(&body)?;
        let now = self.now;
        let found = self
            .groups
            .values_mut()
            .find(|group| group.identifier == call.value(0) && !group.is_deleted_at(now));
        let Some(group) = found else {
            return Err(Reply::failure_with_200("Group not found"));
        };
        group.deleted = Some(now);
        let (id, cluster) = (group.id, group.cluster.clone());
        let mut reply = Reply::data(true).committing(format!("delete-group {id}"));
        let workers = self
            .live_workers(&cluster)
            .filter(|record| record.group == Some(id));
        let workers: Vec<_> = workers
            .map(|record| (record.id, record.uuid.clone()))
            .collect();
        for (worker, uuid) in workers {
            self.delete(worker, Origin::Api(call.seq));
            reply = reply.committing(format!("delete {uuid}"));
        }
        Ok(reply)
    }
}
