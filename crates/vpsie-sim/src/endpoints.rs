//! What each route does: one function per route, from the state and the call to a reply.
//!
//! Refused requests change nothing. Messages that were quoted by clients are given word for word;
//! where no sample is known the text is an assumption.

mod catalogue;
mod clusters;
mod vms;
mod workers;

use http::StatusCode;
use serde_json::{Map, Value};

use crate::{
    reply::{Call, Reply},
    route::Route,
    state::State,
};

impl State {
    /// Carries out an authenticated request.
    pub(crate) fn dispatch(&mut self, call: &Call) -> Reply {
        let result = match call.route {
            Route::Login => Ok(self.login(call)),
            Route::ListClusters => Ok(self.list_clusters()),
            Route::GetCluster => Ok(self.get_cluster(call)),
            Route::ListGroups => Ok(self.list_groups(call)),
            Route::AddGroup => self.post_group(call),
            Route::DeleteGroup => self.delete_group(call),
            Route::AddWorker => Ok(self.add_worker(call)),
            Route::AddWorkerToDefault => self.add_worker_to_default(call),
            Route::DeleteWorker => self.delete_worker(call),
            Route::ReduceGroup => self.reduce_group(call),
            Route::ReduceCluster => Ok(self.reduce_cluster(call)),
            Route::ListOffers => self.list_offers(call),
            Route::ListVms => Ok(self.list_vms()),
            Route::GetVm => Ok(self.get_vm(call)),
            Route::ListPendingVms => Ok(self.list_pending_vms()),
            Route::CreateVm => self.create_vm(call),
            Route::DeleteVm => self.delete_vm(call),
            Route::ListStorageVms => Ok(self.list_storage_vms()),
            Route::ListResources => Ok(self.list_resources(call)),
            Route::ListPlanCategories => Ok(catalogue::plan_categories()),
            Route::ListDatacenters => Ok(self.list_datacenters(call)),
            Route::ListProjects => Ok(self.list_projects()),
            Route::GetProfile => Ok(catalogue::profile()),
            Route::ListCustomImages => Ok(Reply::list(Vec::new(), "total", Value::from(0))),
            Route::Unknown => Ok(Reply::failure(StatusCode::NOT_FOUND, "Not found")),
        };
        result.unwrap_or_else(|refusal| refusal)
    }
}

/// Deletions want `deleteStatistic: {reason, note}`; without it the API answers 500.
fn require_delete_statistic(body: &Map<String, Value>) -> Result<(), Reply> {
    if body.get("deleteStatistic").is_some_and(Value::is_object) {
        return Ok(());
    }
    Err(Reply::failure(
        StatusCode::INTERNAL_SERVER_ERROR,
        "Cannot destructure property 'reason' of 'req.body.deleteStatistic' as it is undefined.",
    ))
}

/// A text field of a body; numbers are not texts.
fn text<'a>(body: &'a Map<String, Value>, field: &str) -> Option<&'a str> {
    body.get(field)?.as_str().filter(|text| !text.is_empty())
}

fn missing(field: &str) -> Reply {
    Reply::failure(StatusCode::BAD_REQUEST, format!("\"{field}\" is required"))
}
