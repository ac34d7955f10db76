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
use crate::amounts::{Amounts, Exact, Name};

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
pub(super) struct RequirementsView {
    requests: Option<Amounts>,
    limits: Option<Amounts>,
}

impl RequirementsView {
    fn requests(&self) -> Result<Exact, String> {
        Exact::read(self.requests.as_ref())
    }

    fn limits(&self) -> Result<Exact, String> {
        Exact::read(self.limits.as_ref())
    }

    /// What is asked for. A limit stands for a request that is not there: so the API server stores
    /// it (`SetDefaults_Pod`), and a manifest that was not stored yet may leave it to that.
    fn asked(&self) -> Result<Exact, String> {
        let mut asked = self.requests()?;
        asked.fill(&self.limits()?);
        Ok(asked)
    }
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
        let mut sum = self.aggregate(|container, resizes| {
            let spec = container.asked()?;
            match &running {
                Some(running) if resizes => running.container(&container.name, spec),
                _ => Ok(spec),
            }
        })?;
        if let Some(spec) = self.pod_level()? {
            let effective = match &running {
                Some(running) => running.effective(
                    &spec,
                    running.status.resources.as_ref(),
                    running.status.allocated_resources.as_ref(),
                )?,
                None => None,
            };
            let stated = effective.as_ref().unwrap_or(&spec);
            for name in spec.names().filter(|name| name.is_pod_level()) {
                sum.set(name, stated.get(name));
            }
        }
        sum.add(&Exact::read(self.overhead.as_ref())?);
        let mut resources = sum.resources();
        resources.pods = 1;
        Ok(resources)
    }

    /// The larger of what runs at once and the start-up peak, of what `of` says of each container.
    /// It is told whether the container runs on, as all do but init containers that end.
    fn aggregate(
        &self,
        of: impl Fn(&ContainerView, bool) -> Result<Exact, String>,
    ) -> Result<Exact, String> {
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
        Ok(sum)
    }

    /// What the pod as a whole asks for, which replaces the sums of the resources it names; as the
    /// API server stores it: huge pages are limited to those of the containers, and beside limits
    /// what the containers ask for is asked for, else the limits
    /// (`defaultHugePagePodLimits`, `defaultPodRequests`).
    fn pod_level(&self) -> Result<Option<Exact>, String> {
        let Some(requirements) = &self.resources else {
            return Ok(None);
        };
        let mut asked = requirements.requests()?;
        let mut limits = requirements.limits()?;
        if asked.is_empty() && limits.is_empty() {
            return Ok(None);
        }
        let mut pages = self.aggregate(|container, _| container.limits())?;
        pages.retain(|name| name.is_huge_page() && !asked.names().any(|asked| asked == name));
        limits.fill(&pages);
        if !limits.is_empty() {
            let mut summed_up = self.aggregate(|container, _| container.asked())?;
            summed_up.retain(Name::is_summed_up);
            asked.fill(&summed_up);
            asked.fill(&limits);
        }
        Ok(Some(asked))
    }
}

impl ContainerView {
    fn asked(&self) -> Result<Exact, String> {
        let requirements = self.resources.as_ref();
        requirements.map_or_else(|| Ok(Exact::default()), RequirementsView::asked)
    }

    fn limits(&self) -> Result<Exact, String> {
        let requirements = self.resources.as_ref();
        requirements.map_or_else(|| Ok(Exact::default()), RequirementsView::limits)
    }
}
