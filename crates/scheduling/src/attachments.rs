//! Volumes as attach limits count them, claims as they are used, both as small numbers.

use std::{collections::BTreeMap, sync::Arc};

use model::{
    NodeName, SchedulingClass, Storage,
    storage::{AccessMode, Claim, VolumeHandle},
};

use crate::{class::Claims, filters::volume_binding::owned};

/// A claim that is used by name.
pub(crate) type ClaimId = u32;
/// A volume.
pub(crate) type HandleId = u32;
/// What attaches volumes.
pub(crate) type DriverId = u32;

/// All of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attachments {
    claims: BTreeMap<(Arc<str>, Arc<str>), ClaimId>,
    /// Pods that use a claim.
    users: Vec<u32>,
    handles: BTreeMap<VolumeHandle, HandleId>,
    drivers: BTreeMap<Arc<str>, DriverId>,
    driver_names: Vec<Arc<str>>,
    /// By handle.
    driver_of: Vec<DriverId>,
}

/// What a node takes and has.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeVolumes {
    /// By driver.
    pub(crate) limits: BTreeMap<DriverId, i64>,
    /// Attached, whether or not a pod uses it; ascending.
    pub(crate) attached: Vec<HandleId>,
}

/// What the pods of a node have mounted, so that nobody has to go through them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mounted {
    /// Pods by volume.
    used: BTreeMap<HandleId, u32>,
    /// Distinct volumes by driver, those attached without a pod among them.
    distinct: BTreeMap<DriverId, i64>,
    /// Pods with a claim that was generated for another pod.
    foreign: u32,
}

impl Mounted {
    /// Of a node without pods.
    pub(crate) fn new(attachments: &Attachments, volumes: Option<&NodeVolumes>) -> Self {
        let mut mounted = Self::default();
        for &handle in volumes.into_iter().flat_map(|volumes| &volumes.attached) {
            *mounted
                .distinct
                .entry(attachments.driver(handle))
                .or_default() += 1;
        }
        mounted
    }

    /// So many pods with these claims have come.
    pub(crate) fn add(
        &mut self,
        claims: &Claims,
        count: u32,
        attachments: &Attachments,
        volumes: Option<&NodeVolumes>,
    ) {
        if !claims.foreign.is_empty() {
            self.foreign += count;
        }
        for &handle in &claims.attaches {
            let pods = self.used.entry(handle).or_default();
            if *pods == 0 && !is_attached(volumes, handle) {
                *self.distinct.entry(attachments.driver(handle)).or_default() += 1;
            }
            *pods += count;
        }
    }

    /// Takes back [`Self::add`].
    pub(crate) fn sub(
        &mut self,
        claims: &Claims,
        count: u32,
        attachments: &Attachments,
        volumes: Option<&NodeVolumes>,
    ) {
        if !claims.foreign.is_empty() {
            self.foreign = self.foreign.saturating_sub(count);
        }
        for &handle in &claims.attaches {
            let Some(pods) = self.used.get_mut(&handle) else {
                continue;
            };
            *pods = pods.saturating_sub(count);
            if *pods == 0 {
                self.used.remove(&handle);
                if !is_attached(volumes, handle) {
                    *self.distinct.entry(attachments.driver(handle)).or_default() -= 1;
                }
            }
        }
    }

    /// What is attached cannot be told.
    pub(crate) const fn is_uncountable(&self) -> bool {
        self.foreign > 0
    }

    /// A pod uses the volume.
    pub(crate) fn uses(&self, handle: HandleId) -> bool {
        self.used.contains_key(&handle)
    }

    /// Distinct volumes of a driver.
    pub(crate) fn distinct(&self, driver: DriverId) -> i64 {
        self.distinct.get(&driver).copied().unwrap_or(0)
    }
}

fn is_attached(volumes: Option<&NodeVolumes>, handle: HandleId) -> bool {
    volumes.is_some_and(|volumes| volumes.attached.binary_search(&handle).is_ok())
}

impl Attachments {
    /// The claims of a class; `None` where it mounts nothing that is counted or restricted.
    pub(crate) fn compile(
        &mut self,
        class: &SchedulingClass,
        storage: &Storage,
    ) -> Option<Box<Claims>> {
        if class.claims.is_empty() && class.disks.is_empty() {
            return None;
        }
        let mut claims = Claims::default();
        for used in &class.claims {
            let claim = storage.claim(&class.namespace, &used.name);
            if used.owner.is_none() {
                let id = self.claim(&class.namespace, &used.name);
                claims.uses.push(id);
                let exclusive = AccessMode::ReadWriteOncePod;
                if claim.is_some_and(|claim| claim.access_modes.contains(&exclusive)) {
                    claims.exclusive.push((id, Arc::clone(&used.name)));
                }
            }
            let Some(claim) = claim else {
                claims.missing.push(used.clone());
                continue;
            };
            if !owned(used, claim) {
                claims.foreign.push(Arc::clone(&used.name));
                continue;
            }
            let volume = volume(storage, claim, &class.namespace, &used.name);
            claims
                .attaches
                .extend(volume.map(|volume| self.handle(&volume)));
        }
        for disk in &class.disks {
            let volume = disk.id.handle();
            claims
                .attaches
                .extend(volume.map(|volume| self.handle(&volume)));
        }
        claims.attaches.sort_unstable();
        claims.attaches.dedup();
        Some(Box::new(claims))
    }

    /// What the node of this name takes and has; `None` where nobody said.
    pub(crate) fn of_node(
        &mut self,
        name: &NodeName,
        storage: &Storage,
    ) -> Option<Arc<NodeVolumes>> {
        let limits = storage.limits.get(name)?;
        let limits = limits
            .iter()
            .filter_map(|(driver, limit)| Some((driver, (*limit)?)))
            .map(|(driver, limit)| (self.driver_id(driver), limit))
            .collect();
        let mut attached: Vec<HandleId> = storage
            .attached
            .get(name)
            .into_iter()
            .flatten()
            .map(|volume| self.handle(volume))
            .collect();
        attached.sort_unstable();
        Some(Arc::new(NodeVolumes { limits, attached }))
    }

    fn claim(&mut self, namespace: &Arc<str>, name: &Arc<str>) -> ClaimId {
        let next = self.users.len() as ClaimId;
        let key = (Arc::clone(namespace), Arc::clone(name));
        let id = *self.claims.entry(key).or_insert(next);
        if id == next {
            self.users.push(0);
        }
        id
    }

    fn handle(&mut self, volume: &VolumeHandle) -> HandleId {
        if let Some(&id) = self.handles.get(volume) {
            return id;
        }
        let driver = self.driver_id(&volume.driver);
        let id = self.driver_of.len() as HandleId;
        self.driver_of.push(driver);
        self.handles.insert(volume.clone(), id);
        id
    }

    fn driver_id(&mut self, name: &Arc<str>) -> DriverId {
        let next = self.driver_names.len() as DriverId;
        let id = *self.drivers.entry(Arc::clone(name)).or_insert(next);
        if id == next {
            self.driver_names.push(Arc::clone(name));
        }
        id
    }

    pub(crate) fn driver(&self, handle: HandleId) -> DriverId {
        self.driver_of[handle as usize]
    }

    pub(crate) fn driver_name(&self, driver: DriverId) -> &Arc<str> {
        &self.driver_names[driver as usize]
    }

    /// Pods that use a claim.
    pub(crate) fn users(&self, claim: ClaimId) -> u32 {
        self.users[claim as usize]
    }

    pub(crate) fn add_users(&mut self, claim: ClaimId, count: u32) {
        self.users[claim as usize] += count;
    }

    pub(crate) fn remove_users(&mut self, claim: ClaimId, count: u32) {
        let users = &mut self.users[claim as usize];
        *users = users.saturating_sub(count);
    }

    /// (claim, pods) wherever there are any.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = (usize, u32)> + '_ {
        let users = self.users.iter().copied().enumerate();
        users.filter(|(_, users)| *users > 0)
    }
}

/// The volume of a claim: the one it names, else one of its own at its class's provisioner.
fn volume(storage: &Storage, claim: &Claim, namespace: &str, name: &str) -> Option<VolumeHandle> {
    if let Some(volume) = claim.volume.as_ref().and_then(|v| storage.volumes.get(v)) {
        return volume.handle.clone();
    }
    let class = storage.classes.get(claim.class.as_ref()?)?;
    Some(VolumeHandle {
        driver: class.driver.clone()?,
        // No volume can be called so.
        handle: format!("\0{namespace}/{name}").into(),
    })
}
