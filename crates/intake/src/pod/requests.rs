//! What a pod takes of its node (component-helpers `resource.PodRequests`).
//!
//! The larger of what runs at once and the start-up peak; sidecars run on beside everything that
//! starts after them. Pod-level requests stand for the resources they name. A pod on a node may be
//! between two sizes: then the larger of what is asked for and what it has counts.

use std::collections::BTreeMap;

use model::Resources;
use serde::Deserialize;

use super::{
    PodStatusView,
    spec::{ContainerView, PodSpecView},
};
use crate::amounts::{Amounts, Exact};

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
pub(super) struct RequirementsView {
    pub(super) requests: Option<Amounts>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ContainerStatusView {
    name: String,
    resources: Option<RequirementsView>,
    allocated_resources: Option<Amounts>,
}

/// What a running pod has, by container.
struct Running<'a> {
    containers: BTreeMap<&'a str, &'a ContainerStatusView>,
    status: &'a PodStatusView,
    /// What the specification asks for will not come.
    infeasible: bool,
}

impl<'a> Running<'a> {
    fn new(status: &'a PodStatusView) -> Self {
        let containers = [&status.container_statuses, &status.init_container_statuses]
            .into_iter()
            .flatten()
            .flatten()
            .filter(|container| container.resources.is_some())
            .map(|container| (container.name.as_str(), container))
            .collect();
        Self {
            containers,
            status,
            infeasible: status.infeasible(),
        }
    }

    /// The larger of the specification and what is there; without the latter, nothing is known.
    fn effective(
        &self,
        spec: &Exact,
        actual: Option<&RequirementsView>,
        allocated: Option<&Amounts>,
    ) -> Result<Option<Exact>, String> {
        let Some(actual) = actual else {
            return Ok(None);
        };
        let mut effective = if self.infeasible {
            Exact::default()
        } else {
            spec.clone()
        };
        effective.raise_to(&Exact::read(actual.requests.as_ref())?);
        effective.raise_to(&Exact::read(allocated)?);
        Ok(Some(effective))
    }

    fn container(&self, name: &str, spec: Exact) -> Result<Exact, String> {
        let Some(container) = self.containers.get(name) else {
            return Ok(spec);
        };
        let effective = self.effective(
            &spec,
            container.resources.as_ref(),
            container.allocated_resources.as_ref(),
        )?;
        Ok(effective.unwrap_or(spec))
    }
}

impl PodSpecView {
    /// What it takes, one place for a pod included. `running` is the status of a bound pod.
    pub(super) fn requests(&self, running: Option<&PodStatusView>) -> Result<Resources, String> {
        let running = running.map(Running::new);
        let of = |container: &ContainerView, resizes: bool| -> Result<Exact, String> {
            let requirements = container.resources.as_ref();
            let spec = Exact::read(requirements.and_then(|r| r.requests.as_ref()))?;
            match &running {
                Some(running) if resizes => running.container(&container.name, spec),
                _ => Ok(spec),
            }
        };
        let mut sum = Exact::default();
        for container in &self.containers {
            sum.add(&of(container, true)?);
        }
        let mut sidecars = Exact::default();
        let mut peak = Exact::default();
        for container in self.init_containers.iter().flatten() {
            let mut needed = of(container, container.is_sidecar())?;
            if container.is_sidecar() {
                sum.add(&needed);
                sidecars.add(&needed);
                peak.raise_to(&sidecars);
            } else {
                needed.add(&sidecars);
                peak.raise_to(&needed);
            }
        }
        sum.raise_to(&peak);
        self.state_pod_level(&mut sum, running.as_ref())?;
        sum.add(&Exact::read(self.overhead.as_ref())?);
        let mut resources = sum.resources();
        resources.pods = 1;
        Ok(resources)
    }

    /// Requests of the pod as a whole replace the sums of the resources they name.
    fn state_pod_level(
        &self,
        sum: &mut Exact,
        running: Option<&Running<'_>>,
    ) -> Result<(), String> {
        let requirements = self.resources.as_ref();
        let Some(amounts) = requirements.and_then(|r| r.requests.as_ref()) else {
            return Ok(());
        };
        let spec = Exact::read(Some(amounts))?;
        let effective = match running {
            Some(running) => running.effective(
                &spec,
                running.status.resources.as_ref(),
                running.status.allocated_resources.as_ref(),
            )?,
            None => None,
        };
        let stated = effective.as_ref().unwrap_or(&spec);
        for name in amounts.names().filter(|name| name.is_pod_level()) {
            sum.set(name, stated.get(name));
        }
        Ok(())
    }
}
