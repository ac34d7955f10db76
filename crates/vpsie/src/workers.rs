//! Adding and deleting workers and making their pools: the three requests that change the cloud.
//!
//! A create is one request. A delete names its machine and is sent only after the cloud's own
//! record agreed about it. `/reduce`, by which the cloud chooses the victim, is never called.

use cloud::{
    CloudError, CreateIntent, CreateOutcome, DeleteOutcome, DeleteTarget, ErrorClass, PoolRequest,
};
use http::Method;
use model::{ClusterId, Pool, Role};
use serde_json::{Value, json};

use crate::{
    Vpsie,
    base_url::segment,
    classify::Kind,
    client::{Ask, Turn},
    limiter::Priority,
    wire,
};

impl Vpsie {
    /// A size has one pool per cluster, whoever made it and whatever it is called.
    pub(crate) async fn find_or_make_pool(
        &self,
        turn: &Turn,
        cluster: &ClusterId,
        request: &PoolRequest,
    ) -> Result<Pool, CloudError> {
        let find = |pools: Vec<Pool>| pools.into_iter().find(|pool| pool.size == request.size);
        if let Some(pool) = find(self.read_pools(turn, cluster).await?) {
            return Ok(pool);
        }
        let operation = format!(
            "making node group {} of size {}",
            request.name, request.size
        );
        // A number: as text it would be ignored without a word.
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
        let made = self.client.ask(turn, ask).await;
        match (self.read_pools(turn, cluster).await.map(find), made) {
            (Ok(Some(pool)), _) => Ok(pool),
            (_, Err(error)) | (Err(error), Ok(_)) => Err(error),
            (Ok(None), Ok(_)) => Err(CloudError::new(
                operation,
                ErrorClass::Transient,
                "it is not listed yet",
            )),
        }
    }

    pub(crate) async fn add_worker(
        &self,
        turn: &Turn,
        cluster: &ClusterId,
        intent: &CreateIntent,
    ) -> CreateOutcome {
        let operation = format!("adding a worker to node group {}", intent.pool);
        let ask = Ask {
            operation: operation.clone(),
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
        match self.client.ask(turn, ask).await {
            // `false` is not a promise of anything.
            Ok(reply) if reply.data == Value::Bool(false) => {
                CreateOutcome::Unknown(CloudError::new(
                    operation,
                    ErrorClass::Ambiguous,
                    "the cloud answered neither yes nor no",
                ))
            }
            Ok(reply) => CreateOutcome::Accepted(wire::created(&reply.data)),
            Err(error) if error.class == ErrorClass::Ambiguous => CreateOutcome::Unknown(error),
            Err(error) => CreateOutcome::Rejected(error),
        }
    }

    pub(crate) async fn delete_worker(
        &self,
        turn: &Turn,
        cluster: &ClusterId,
        target: &DeleteTarget,
    ) -> DeleteOutcome {
        let operation = format!("deleting machine {}", target.instance);
        if !self.options.targeted_delete {
            return DeleteOutcome::Rejected(CloudError::new(
                operation,
                ErrorClass::Unsupported,
                "this account's API cannot delete a worker by its identity",
            ));
        }
        let machines = match self.read_machines(turn, cluster).await {
            Ok(machines) => machines,
            Err(error) => return DeleteOutcome::Unknown(error),
        };
        let refuse = |why: &str| {
            DeleteOutcome::Rejected(CloudError::new(&operation, ErrorClass::Conflict, why))
        };
        match machines.find(&target.instance) {
            None if machines.defects.is_empty() => return DeleteOutcome::AlreadyGone,
            None => return refuse("it is not in the listing, which is incomplete"),
            Some(instance) if instance.role != Role::Worker => {
                return refuse("it is not known to be a worker");
            }
            // A machine that vanished before its name was seen was recorded without one.
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
        match self.client.ask(turn, ask).await {
            Ok(reply) if reply.data == Value::Bool(false) => DeleteOutcome::AlreadyGone,
            Ok(_) => DeleteOutcome::Accepted,
            Err(error) if error.class == ErrorClass::NotFound => DeleteOutcome::AlreadyGone,
            Err(error) if matches!(error.class, ErrorClass::Ambiguous | ErrorClass::Transient) => {
                DeleteOutcome::Unknown(error)
            }
            Err(error) => DeleteOutcome::Rejected(error),
        }
    }
}
