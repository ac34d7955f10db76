//! A provider over nothing but memory, of plain named machines (the mode that the suite must allow
//! besides managed clusters), with one flaw at a time.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use cloud::{
    BoxFuture, Call, Capabilities, Catalogue, CloudError, CloudProvider, CreateIntent,
    CreateOutcome, Datacenter, DeleteOutcome, DeleteTarget, ErrorClass, Health, PoolRequest, Scope,
    contract::{Disturbance, Harness, Target, Truth},
};
use jiff::Timestamp;
use model::{
    DatacenterId, Hostname, HourlyPrice, Instance, InstanceId, InstancePhase, Observation,
    Offering, Pool, PoolId, Role, SizeId,
};
use runtime::Clock;

/// A promise that is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flaw {
    None,
    RepeatsCreates,
    TakesSilenceForRefusal,
    TakesSilenceForSuccess,
    SendsWithoutPermit,
    DeletesByPlace,
    IgnoresTheHostName,
    DeletesTheControlPlane,
    CallsEmptyListsComplete,
    ForgetsTheCatalogue,
    AsksForTheCatalogueEveryTime,
    IgnoresTimeouts,
    ShowsSecrets,
    MakesAPoolPerCall,
    ForgetsNames,
    CallsWorkersControlPlane,
    TellsNothingOfMissingScopes,
}

const SECRET: &str = "reference-secret";
const HOUR: Duration = Duration::from_hours(1);

#[derive(Default)]
struct State {
    machines: Vec<Instance>,
    pools: Vec<Pool>,
    next: i64,
    requests: usize,
    creates: usize,
    disturbed: Vec<(Target, Disturbance, u32)>,
    sold_out: BTreeSet<SizeId>,
    cap: Option<usize>,
    catalogue: Option<(Timestamp, Vec<Offering>)>,
    datacenters: Option<Vec<Datacenter>>,
}

/// What became of a request.
enum Wire {
    Done,
    /// Nothing happened.
    Refused(ErrorClass),
    /// It happened, or not, and nobody said.
    Lost,
    Empty,
}

#[derive(Clone)]
pub struct Reference(Arc<Inner>);

struct Inner {
    clock: Clock,
    flaw: Flaw,
    targeted: bool,
    state: Mutex<State>,
}

fn error(class: ErrorClass, message: &str) -> CloudError {
    CloudError::new("reference", class, message)
}

impl Reference {
    pub fn new(flaw: Flaw) -> Self {
        let reference = Self(Arc::new(Inner {
            clock: Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap(), 1.0),
            flaw,
            targeted: true,
            state: Mutex::default(),
        }));
        reference.add("control-plane", Role::ControlPlane, None);
        reference
    }

    fn is(&self, flaw: Flaw) -> bool {
        self.0.flaw == flaw
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    fn add(&self, name: &str, role: Role, pool: Option<PoolId>) -> InstanceId {
        let mut state = self.state();
        state.next += 1;
        let id = InstanceId::from(format!("{:08}-0000-4000-8000-000000000001", state.next));
        let instance = Instance {
            id: id.clone(),
            numeric_id: Some(state.next),
            hostname: Hostname::new(name),
            addresses: vec![],
            role,
            phase: InstancePhase::Running,
            pool,
            shape: None,
            created_at: None,
        };
        state.machines.push(instance);
        id
    }

    /// One request on the wire: what the disturbances make of it. `effect` is what it does.
    async fn wire(&self, target: Target, effect: impl FnOnce()) -> Wire {
        let what = {
            let mut state = self.state();
            state.requests += 1;
            if target == Target::Create {
                state.creates += 1;
            }
            let hit = state
                .disturbed
                .iter_mut()
                .find(|(at, _, times)| (*at == target || *at == Target::Everything) && *times > 0);
            hit.map(|(_, what, times)| {
                *times -= 1;
                *what
            })
        };
        match what {
            None => {
                effect();
                Wire::Done
            }
            Some(Disturbance::EmptyLists) => Wire::Empty,
            Some(
                Disturbance::AnswerLost
                | Disturbance::ServerErrorAfterEffect
                | Disturbance::Truncated,
            ) => {
                effect();
                Wire::Lost
            }
            Some(Disturbance::ConnectionReset | Disturbance::ServerError) => Wire::Lost,
            Some(Disturbance::Hangs) => {
                self.0.clock.sleep(HOUR).await;
                Wire::Lost
            }
            Some(Disturbance::RateLimited) => {
                Wire::Refused(ErrorClass::RateLimited { after: None })
            }
            Some(Disturbance::Unauthorized | Disturbance::EchoesCredentials) => {
                Wire::Refused(ErrorClass::Auth)
            }
        }
    }

    fn message(&self) -> String {
        if self.is(Flaw::ShowsSecrets) {
            format!("refused {SECRET}")
        } else {
            "refused".into()
        }
    }

    /// A read: tried twice.
    async fn read(&self, target: Target) -> Result<bool, CloudError> {
        for last in [false, true] {
            match self.wire(target, || {}).await {
                Wire::Done => return Ok(true),
                Wire::Empty => return Ok(false),
                Wire::Refused(class) => return Err(error(class, &self.message())),
                Wire::Lost if last => {
                    return Err(error(ErrorClass::Transient, &self.message()));
                }
                Wire::Lost => {}
            }
        }
        Ok(true)
    }

    async fn within<T>(&self, call: &Call, late: T, work: impl Future<Output = T>) -> T {
        let limit = if self.is(Flaw::IgnoresTimeouts) {
            HOUR * 3
        } else {
            call.timeout
        };
        self.0.clock.timeout(limit, work).await.unwrap_or(late)
    }

    async fn observe_all(&self, scope: &Scope) -> Result<Observation, CloudError> {
        let started_at = self.0.clock.now();
        let full = self.read(Target::Observe).await?;
        if *scope != self.scope() && !self.is(Flaw::TellsNothingOfMissingScopes) {
            return Err(error(ErrorClass::NotFound, "no such scope"));
        }
        let state = self.state();
        let known = full && *scope == self.scope();
        let mut instances = state.machines.clone();
        let mut pools = state.pools.clone();
        if !known {
            instances.clear();
            pools.clear();
        }
        if self.is(Flaw::CallsWorkersControlPlane) {
            for instance in &mut instances {
                instance.role = Role::ControlPlane;
            }
        }
        let complete = full || self.is(Flaw::CallsEmptyListsComplete);
        Ok(Observation {
            instances,
            pools,
            complete,
            started_at,
            defects: if complete {
                vec![]
            } else {
                vec!["empty".into()]
            },
        })
    }

    async fn create_one(&self, call: &Call, intent: &CreateIntent) -> CreateOutcome {
        let name = intent.hostname.clone().unwrap();
        if !self.is(Flaw::ForgetsNames) {
            let known = self
                .state()
                .machines
                .iter()
                .find(|m| m.hostname == name)
                .cloned();
            if let Some(instance) = known {
                return CreateOutcome::AlreadyExists(Box::new(instance));
            }
        }
        if !call.permit.holds() && !self.is(Flaw::SendsWithoutPermit) {
            return CreateOutcome::Rejected(error(ErrorClass::Withheld, "no permit"));
        }
        let refusal = {
            let state = self.state();
            let workers = state
                .machines
                .iter()
                .filter(|m| m.role == Role::Worker)
                .count();
            if state.cap.is_some_and(|cap| workers >= cap) {
                Some(ErrorClass::Quota { limit: None })
            } else if state.sold_out.contains(&intent.size) {
                Some(ErrorClass::OutOfStock)
            } else {
                None
            }
        };
        let tries = if self.is(Flaw::RepeatsCreates) { 2 } else { 1 };
        for _ in 0..tries {
            let buy = || {
                if refusal.is_none() {
                    self.add(name.as_str(), Role::Worker, Some(intent.pool));
                }
            };
            match self.wire(Target::Create, buy).await {
                Wire::Done | Wire::Empty => {
                    return match refusal {
                        None => CreateOutcome::Accepted(None),
                        Some(class) => CreateOutcome::Rejected(error(class, "refused")),
                    };
                }
                Wire::Refused(class) => {
                    return CreateOutcome::Rejected(error(class, &self.message()));
                }
                Wire::Lost => {}
            }
        }
        let lost = error(ErrorClass::Ambiguous, &self.message());
        match self.0.flaw {
            Flaw::TakesSilenceForRefusal => CreateOutcome::Rejected(lost),
            Flaw::TakesSilenceForSuccess => CreateOutcome::Accepted(None),
            _ => CreateOutcome::Unknown(lost),
        }
    }

    async fn delete_one(&self, call: &Call, target: &DeleteTarget) -> DeleteOutcome {
        let seen = match self.observe_all(&target.scope).await {
            Ok(seen) => seen,
            Err(error) => return DeleteOutcome::Unknown(error),
        };
        let refuse = |why: &str| DeleteOutcome::Rejected(error(ErrorClass::Conflict, why));
        match seen.instance(&target.instance) {
            None if seen.complete => return DeleteOutcome::AlreadyGone,
            None => return refuse("not listed"),
            Some(machine)
                if machine.role != Role::Worker && !self.is(Flaw::DeletesTheControlPlane) =>
            {
                return refuse("not a worker");
            }
            Some(machine)
                if machine.hostname != target.hostname && !self.is(Flaw::IgnoresTheHostName) =>
            {
                return refuse("another name");
            }
            Some(_) => {}
        }
        if !call.permit.holds() && !self.is(Flaw::SendsWithoutPermit) {
            return DeleteOutcome::Rejected(error(ErrorClass::Withheld, "no permit"));
        }
        let remove = || {
            let mut state = self.state();
            if self.is(Flaw::DeletesByPlace) {
                state.machines.pop();
            } else {
                state
                    .machines
                    .retain(|machine| machine.id != target.instance);
            }
        };
        match self.wire(Target::Delete, remove).await {
            Wire::Done | Wire::Empty => DeleteOutcome::Accepted,
            Wire::Refused(class) => DeleteOutcome::Rejected(error(class, &self.message())),
            Wire::Lost => DeleteOutcome::Unknown(error(ErrorClass::Ambiguous, &self.message())),
        }
    }

    async fn pool(&self, request: &PoolRequest) -> Result<Pool, CloudError> {
        let find = || {
            let state = self.state();
            let same = |pool: &&Pool| pool.size == request.size && pool.name == request.name;
            state.pools.iter().find(same).cloned()
        };
        self.read(Target::Observe).await?;
        if let Some(pool) = find()
            && !self.is(Flaw::MakesAPoolPerCall)
        {
            return Ok(pool);
        }
        let make = || {
            let mut state = self.state();
            state.next += 1;
            let pool = Pool {
                id: PoolId(state.next),
                name: request.name.clone(),
                size: request.size.clone(),
                count: None,
            };
            state.pools.push(pool);
        };
        let outcome = self.wire(Target::MakePool, make).await;
        let made = self.state().pools.last().cloned();
        match outcome {
            Wire::Refused(class) => Err(error(class, &self.message())),
            _ if self.is(Flaw::MakesAPoolPerCall) => made
                .ok_or(())
                .map_err(|()| error(ErrorClass::Transient, "not listed")),
            _ => find().ok_or_else(|| error(ErrorClass::Ambiguous, "not listed")),
        }
    }

    async fn offerings(&self) -> Result<Catalogue, CloudError> {
        let now = self.0.clock.now();
        let known = self.state().catalogue.clone();
        let young = known
            .as_ref()
            .is_some_and(|(at, _)| now.duration_since(*at).as_hours() < 1);
        if let Some((fetched_at, offerings)) = &known
            && young
            && !self.is(Flaw::AsksForTheCatalogueEveryTime)
        {
            return Ok(Catalogue {
                offerings: offerings.clone(),
                fetched_at: *fetched_at,
                stale: false,
            });
        }
        match (self.read(Target::Catalogue).await, known) {
            (Ok(_), _) => {
                let offerings: Vec<Offering> = self
                    .sizes()
                    .into_iter()
                    .map(|size| Offering {
                        id: format!("offering-{size}").into(),
                        size,
                        cpus: 2,
                        memory_mib: 4096,
                        disk_gib: 80,
                        price: Some(HourlyPrice::from_monthly(24.into())),
                    })
                    .collect();
                self.state().catalogue = Some((now, offerings.clone()));
                Ok(Catalogue {
                    offerings,
                    fetched_at: now,
                    stale: false,
                })
            }
            (Err(_), Some((fetched_at, offerings))) if !self.is(Flaw::ForgetsTheCatalogue) => {
                Ok(Catalogue {
                    offerings,
                    fetched_at,
                    stale: true,
                })
            }
            (Err(error), _) => Err(error),
        }
    }

    async fn sites(&self) -> Result<Vec<Datacenter>, CloudError> {
        let known = self.state().datacenters.clone();
        match (self.read(Target::Catalogue).await, known) {
            (Ok(_), _) => {
                let list = vec![Datacenter {
                    id: self.datacenter(),
                    name: "somewhere".into(),
                    active: true,
                }];
                self.state().datacenters = Some(list.clone());
                Ok(list)
            }
            (Err(_), Some(list)) => Ok(list),
            (Err(error), None) => Err(error),
        }
    }
}

fn late<T>() -> Result<T, CloudError> {
    Err(error(ErrorClass::Transient, "late"))
}

impl CloudProvider for Reference {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            targeted_delete: self.0.targeted,
            named_create: true,
            user_data: true,
            pool_in_listing: true,
            one_pool_per_size: false,
        }
    }

    fn health<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Health, CloudError>> {
        Box::pin(self.within(call, late(), async {
            self.read(Target::Catalogue).await?;
            Ok(Health {
                clock_skew_seconds: None,
            })
        }))
    }

    fn datacenters<'a>(
        &'a self,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Vec<Datacenter>, CloudError>> {
        Box::pin(self.within(call, late(), self.sites()))
    }

    fn catalogue<'a>(
        &'a self,
        call: &'a Call,
        _: &'a DatacenterId,
    ) -> BoxFuture<'a, Result<Catalogue, CloudError>> {
        Box::pin(self.within(call, late(), self.offerings()))
    }

    fn ensure_pool<'a>(
        &'a self,
        call: &'a Call,
        request: &'a PoolRequest,
    ) -> BoxFuture<'a, Result<Pool, CloudError>> {
        Box::pin(self.within(call, late(), self.pool(request)))
    }

    fn observe<'a>(
        &'a self,
        call: &'a Call,
        scope: &'a Scope,
    ) -> BoxFuture<'a, Result<Observation, CloudError>> {
        Box::pin(self.within(call, late(), self.observe_all(scope)))
    }

    fn create<'a>(
        &'a self,
        call: &'a Call,
        intent: &'a CreateIntent,
    ) -> BoxFuture<'a, CreateOutcome> {
        let late = CreateOutcome::Unknown(error(ErrorClass::Ambiguous, "late"));
        Box::pin(self.within(call, late, self.create_one(call, intent)))
    }

    fn delete<'a>(
        &'a self,
        call: &'a Call,
        target: &'a DeleteTarget,
    ) -> BoxFuture<'a, DeleteOutcome> {
        let late = DeleteOutcome::Unknown(error(ErrorClass::Ambiguous, "late"));
        Box::pin(self.within(call, late, self.delete_one(call, target)))
    }
}

impl Harness for Reference {
    fn provider(&self) -> Arc<dyn CloudProvider> {
        Arc::new(self.clone())
    }

    fn clock(&self) -> Clock {
        self.0.clock.clone()
    }

    fn scope(&self) -> Scope {
        Scope::Project {
            project: "project".into(),
            datacenter: self.datacenter(),
        }
    }

    fn missing_scope(&self) -> Scope {
        Scope::Project {
            project: "nowhere".into(),
            datacenter: self.datacenter(),
        }
    }

    fn datacenter(&self) -> DatacenterId {
        "datacenter".into()
    }

    fn sizes(&self) -> [SizeId; 2] {
        ["large".into(), "small".into()]
    }

    fn disturb(&self, target: Target, what: Disturbance, times: u32) -> bool {
        self.state().disturbed.push((target, what, times));
        true
    }

    fn sell_out(&self, size: &SizeId) -> bool {
        self.state().sold_out.insert(size.clone());
        true
    }

    fn cap_workers(&self, limit: u32) -> bool {
        self.state().cap = Some(limit as usize);
        true
    }

    fn human_adds(&self, pool: PoolId) -> bool {
        let name = format!("human-{}", self.state().next);
        self.add(&name, Role::Worker, Some(pool));
        true
    }

    fn machines(&self) -> Vec<Truth> {
        let state = self.state();
        let truth = |machine: &Instance| Truth {
            id: machine.id.clone(),
            hostname: machine.hostname.clone(),
            control_plane: machine.role == Role::ControlPlane,
        };
        state.machines.iter().map(truth).collect()
    }

    fn create_requests(&self) -> usize {
        self.state().creates
    }

    fn requests(&self) -> usize {
        self.state().requests
    }

    fn secrets(&self) -> Vec<String> {
        vec![SECRET.into()]
    }

    fn settle_time(&self) -> Duration {
        Duration::from_secs(1)
    }
}
