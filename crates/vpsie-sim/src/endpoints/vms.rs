//! Plain machines, and the one list that has every machine of the account.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{missing, require_delete_statistic, text};
use crate::{
    fault::Fault,
    machine::{Origin, Phase, Role, VmOrder},
    reply::{Call, Reply},
    route::Route,
    state::{Purchase, Record, State},
};

const FIELDS: [&str; 21] = [
    "resourceIdentifier",
    "osIdentifier",
    "dcIdentifier",
    "hostname",
    "projectId",
    "addPublicIpV4",
    "addPublicIpV6",
    "addPrivateIp",
    "backupEnabled",
    "weeklyBackupEnabled",
    "monthlyBackupEnabled",
    "sshKeyIdentifier",
    "scriptIdentifier",
    "userData",
    "tags",
    "notes",
    "vmPassword",
    "isGeneratedPassword",
    "processId",
    "createFromPool",
    "ssd",
];

impl State {
    fn plain(&self) -> impl Iterator<Item = &Record> {
        self.machines
            .values()
            .filter(|record| record.role == Role::Plain)
    }

    /// Managed workers are not in this list.
    pub(super) fn list_vms(&mut self) -> Reply {
        let at = self.view(Route::ListVms);
        let listed = self.plain().filter(|record| record.is_listed_at(at));
        let rows: Vec<Value> = listed.map(|record| self.vm_row(record, at)).collect();
        let total = json!(rows.len());
        Reply::list(rows, "total", total)
    }

    pub(super) fn get_vm(&mut self, call: &Call) -> Reply {
        let at = self.view(Route::GetVm);
        let found = self
            .plain()
            .find(|record| record.uuid == call.value(0) && record.is_listed_at(at));
        let Some(record) = found else {
            return Reply::no_such_object();
        };
        let tags = record.order.as_ref().map(|order| order.tags.clone());
        Reply::data(json!({
            "vmData": self.vm_row(record, at),
            "imageCategories": [],
            "vmTags": tags.unwrap_or_default(),
            "privateIpData": [],
            "floatingIpData": [],
        }))
    }

    pub(super) fn list_pending_vms(&mut self) -> Reply {
        let at = self.view(Route::ListPendingVms);
        let queued = self
            .plain()
            .filter(|record| record.phase_at(at) == Some(Phase::Queued));
        let rows = queued.map(|record| {
            let order = record.order.as_ref();
            json!({
                "id": record.id.to_string(),
                "user_id": 4242,
                "data": {
                    "hostname": record.hostname,
                    "resourceIdentifier": record.size.identifier,
                    "dcIdentifier": record.datacenter,
                    "osIdentifier": order.map(|order| order.image.as_str()),
                    "addPublicIpV4": order.is_some_and(|order| order.public_ip),
                    "processId": order.and_then(|order| order.process_id.as_deref()),
                    "tags": order.map(|order| order.tags.clone()).unwrap_or_default(),
                },
                "running": 1,
                "type": "vm_create",
            })
        });
        Reply::data(rows.collect::<Vec<_>>())
    }

    /// Every machine of the account, managed workers included.
    pub(super) fn list_storage_vms(&mut self) -> Reply {
        let at = self.view(Route::ListStorageVms);
        let listed = self
            .machines
            .values()
            .filter(|record| record.is_listed_at(at));
        let rows: Vec<Value> = listed
            .map(|record| self.storage_vm_row(record, at))
            .collect();
        let total = json!([{"count": rows.len()}]);
        Reply::list(rows, "total", total)
    }

    pub(super) fn create_vm(&mut self, call: &Call) -> Result<Reply, Reply> {
        let body = call.object(self.config.strict, &FIELDS)?;
        let required = |field: &'static str| text(&body, field).ok_or_else(|| missing(field));
        let hostname = required("hostname")?.to_owned();
        let image = required("osIdentifier")?.to_owned();
        let datacenter = required("dcIdentifier")?.to_owned();
        let wanted = required("resourceIdentifier")?;
        if body
            .get("projectId")
            .is_some_and(|project| !project.is_string())
        {
            return Err(Reply::failure(
                StatusCode::BAD_REQUEST,
                "\"projectId\" must be a string",
            ));
        }
        let sizes = self
            .datacenter(&datacenter)
            .map(|found| found.sizes.as_slice());
        let sizes = sizes.unwrap_or_default();
        let Some(size) = sizes.iter().find(|size| size.identifier == wanted).cloned() else {
            return Err(Reply::failure_with_200("Resource not found"));
        };
        if self.sold_out.contains(&size.id) {
            return Err(Reply::failure(
                StatusCode::INTERNAL_SERVER_ERROR,
                self.config.sold_out_message.clone(),
            ));
        }
        if call.faults.has(&Fault::NeverAppears) {
            return Ok(Reply::data(true).committing("nothing: the machine will never appear"));
        }
        let order = order(&body, image);
        let copies = if call.faults.has(&Fault::DuplicateMachine) {
            2
        } else {
            1
        };
        let mut reply = Reply::data(true);
        for _ in 0..copies {
            let id = self.buy(&Purchase {
                role: Role::Plain,
                cluster: None,
                group: None,
                datacenter: datacenter.clone(),
                size: size.clone(),
                hostname: Some(hostname.clone()),
                order: Some(order.clone()),
                origin: Origin::Api(call.seq),
                faults: &call.faults,
            });
            let record = self.machines.get(&id);
            reply
                .committed
                .extend(record.map(|record| format!("create {}", record.uuid)));
        }
        Ok(reply)
    }

    pub(super) fn delete_vm(&mut self, call: &Call) -> Result<Reply, Reply> {
        let fields = ["vmIdentifier", "password", "deleteStatistic"];
        let body = call.object(self.config.strict, &fields)?;
        require_delete_statistic(&body)?;
        if text(&body, "password") != Some(&self.config.credentials.account_password) {
            return Err(Reply::failure_with_200("You entered the wrong password"));
        }
        let wanted = text(&body, "vmIdentifier").unwrap_or_default();
        let found = self
            .plain()
            .find(|record| record.uuid == wanted && record.lives_at(self.now))
            .map(|record| record.id);
        let id = found.ok_or_else(|| Reply::failure_with_200("VM not found"))?;
        Ok(self.delete_for(call, id))
    }
}

fn order(body: &Map<String, Value>, image: String) -> VmOrder {
    let owned = |field: &str| text(body, field).map(str::to_owned);
    let tags = body.get("tags").and_then(Value::as_array);
    VmOrder {
        project: owned("projectId"),
        image,
        user_data: owned("userData"),
        notes: owned("notes"),
        tags: tags
            .into_iter()
            .flatten()
            .filter_map(|tag| tag.as_str().map(str::to_owned))
            .collect(),
        process_id: owned("processId"),
        // Only the string is heard: the number 1 is ignored without a word.
        public_ip: text(body, "addPublicIpV4") == Some("1"),
    }
}
