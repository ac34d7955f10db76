//! What the removal of a pod's node looks at: who makes the pod anew, what is lost with it, and
//! what people wish.

use std::{sync::Arc, time::Duration};

use api::labels::POD_WISHES;
use model::{Controller, Uid, Upkeep};

use super::PodView;
use crate::metadata::{annotation, controller};

impl PodView {
    /// What its removal has to look at; equal for all replicas of a workload.
    #[must_use]
    pub fn upkeep(&self) -> Upkeep {
        let (meta, spec) = (&self.metadata, &self.spec);
        let wishes = POD_WISHES.into_iter().filter_map(|key| {
            let wish = annotation(meta, key)?;
            Some((Arc::from(key), Arc::from(wish)))
        });
        let unset = Upkeep::default().grace;
        Upkeep {
            controller: controller(meta).map(|owner| Controller {
                kind: Arc::from(owner.kind.as_str()),
                name: Arc::from(owner.name.as_str()),
                uid: Uid::new(&owner.uid),
            }),
            local_volumes: spec
                .volumes
                .iter()
                .flatten()
                .filter_map(|volume| volume.local().map(Arc::from))
                .collect(),
            wishes: wishes.collect(),
            grace: spec
                .termination_grace_period_seconds
                .map_or(unset, |seconds| {
                    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
                }),
        }
    }
}
