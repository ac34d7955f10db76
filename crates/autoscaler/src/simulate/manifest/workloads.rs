//! The pods of each workload, one by one, with the claims and the priority that the cluster would
//! give them.

use std::collections::{BTreeMap, BTreeSet};

use model::{PodKey, Storage};
use serde_json::{Map, Value, json};

use super::{Added, MOST_PODS, ManifestError, named::Named, text};

pub(super) struct Expansion<'a> {
    storage: &'a Storage,
    priorities: BTreeMap<&'a str, i64>,
    added: Added,
    /// Objects whose claims are taken to be bound anywhere.
    claims_anywhere: BTreeSet<String>,
    /// Classes whose priority is not known.
    unknown_priorities: BTreeSet<String>,
}

impl<'a> Expansion<'a> {
    pub(super) fn new(storage: &'a Storage, priorities: BTreeMap<&'a str, i64>) -> Self {
        Self {
            storage,
            priorities,
            added: Added::default(),
            claims_anywhere: BTreeSet::new(),
            unknown_priorities: BTreeSet::new(),
        }
    }

    /// As it stands, in its namespace.
    pub(super) fn keep(&mut self, named: &Named<'_>) {
        let mut object = named.object.clone();
        if let Some(Value::Object(meta)) = object.get_mut("metadata") {
            meta.insert("namespace".into(), named.namespace.into());
            meta.insert("name".into(), named.name.as_str().into());
        }
        self.added.items.push(object);
    }

    /// So many more pods, where that is not too many.
    fn room_for(&self, named: &Named<'_>, pods: u64) -> Result<u64, ManifestError> {
        let all = (self.added.origins.len() as u64).saturating_add(pods);
        if all > MOST_PODS {
            return Err(ManifestError::TooMany(named.called.clone()));
        }
        Ok(pods)
    }

    pub(super) fn pod(&mut self, named: &Named<'_>) -> Result<(), ManifestError> {
        let spec = named.object.get("spec").filter(|spec| spec.is_object());
        let spec = spec.ok_or_else(|| named.wrong("spec is missing"))?.clone();
        let labels = named.object.pointer("/metadata/labels").cloned();
        self.add(named, &named.name, &labels.unwrap_or_default(), spec)
    }

    pub(super) fn replicated(&mut self, named: &Named<'_>) -> Result<(), ManifestError> {
        let template = named.template()?;
        let replicas = self.room_for(named, named.count("replicas", 1)?)?;
        let first = named.count("ordinals/start", 0)?;
        let mut labels = template
            .pointer("/metadata/labels")
            .cloned()
            .unwrap_or_default();
        if text(named.object, "/kind") == "Deployment" {
            // Rules that tell one revision from another see that this one is new.
            label(&mut labels, "pod-template-hash", "simulated");
        }
        let claims = named.object.pointer("/spec/volumeClaimTemplates");
        let claims = claims
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        for ordinal in first..first.saturating_add(replicas) {
            let mut spec = template["spec"].clone();
            for claim in claims {
                self.own_claim(named, claim, ordinal, &mut spec);
            }
            let name = format!("{}-{ordinal}", named.name);
            self.add(named, &name, &labels, spec)?;
        }
        Ok(())
    }

    pub(super) fn job(&mut self, named: &Named<'_>) -> Result<(), ManifestError> {
        let template = named.template()?;
        let parallel = named.count("parallelism", 1)?;
        let count = named.count("completions", parallel)?.min(parallel);
        let count = self.room_for(named, count)?;
        if named.object.pointer("/spec/suspend") == Some(&Value::Bool(true)) {
            let note = format!("{} is suspended and has no pods", named.called);
            self.added.notes.push(note);
            return Ok(());
        }
        let mut labels = template
            .pointer("/metadata/labels")
            .cloned()
            .unwrap_or_default();
        for key in ["batch.kubernetes.io/job-name", "job-name"] {
            label(&mut labels, key, &named.name);
        }
        for index in 0..count {
            let name = format!("{}-{index}", named.name);
            self.add(named, &name, &labels, template["spec"].clone())?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        named: &Named<'_>,
        name: &str,
        labels: &Value,
        mut spec: Value,
    ) -> Result<(), ManifestError> {
        let key = PodKey::new(named.namespace, name);
        if let Some(first) = self.added.origins.get(&key) {
            return Err(ManifestError::PodTwice {
                pod: key,
                first: first.clone(),
                second: named.called.clone(),
            });
        }
        let uid = format!("simulated/{key}");
        self.generated_claims(named, name, &uid, &mut spec);
        self.prioritise(&mut spec);
        let fields = spec.as_object_mut();
        let node = fields.and_then(|fields| fields.remove("nodeName"));
        if let Some(Value::String(node)) = node
            && !node.is_empty()
        {
            self.added.bound.insert(key.clone(), node);
        }
        let gates = spec.get("schedulingGates").and_then(Value::as_array);
        let status = if gates.is_some_and(|gates| !gates.is_empty()) {
            json!({"conditions": [{"type": "PodScheduled", "status": "False",
                "reason": "SchedulingGated"}]})
        } else {
            json!({})
        };
        let meta =
            json!({"namespace": named.namespace, "name": name, "uid": uid, "labels": labels});
        self.added
            .items
            .push(json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": meta, "spec": spec, "status": status}));
        self.added.origins.insert(key, named.called.clone());
        Ok(())
    }

    /// The number that admission would write for the class.
    fn prioritise(&mut self, spec: &mut Value) {
        let class = text(spec, "/priorityClassName").to_owned();
        let Some(fields) = spec.as_object_mut() else {
            return;
        };
        if class.is_empty() || fields.get("priority").is_some_and(|value| !value.is_null()) {
            return;
        }
        match self.priorities.get(class.as_str()) {
            Some(priority) => {
                fields.insert("priority".into(), (*priority).into());
            }
            None => {
                self.unknown_priorities.insert(class);
            }
        }
    }

    /// The claim that a StatefulSet makes for one of its pods, which is mounted by the template's
    /// name.
    fn own_claim(&mut self, named: &Named<'_>, template: &Value, ordinal: u64, spec: &mut Value) {
        let volume = text(template, "/metadata/name");
        let claim = format!("{volume}-{}-{ordinal}", named.name);
        let Some(fields) = spec.as_object_mut() else {
            return;
        };
        let volumes = fields.entry("volumes").or_insert_with(|| json!([]));
        if volumes.is_null() {
            *volumes = json!([]);
        }
        let Some(volumes) = volumes.as_array_mut() else {
            return;
        };
        volumes.retain(|other| text(other, "/name") != volume);
        if self.decides(named, &claim, template.get("spec"), None) {
            volumes.push(json!({"name": volume, "persistentVolumeClaim": {"claimName": claim}}));
        }
    }

    /// The claims that are made for generic ephemeral volumes.
    fn generated_claims(&mut self, named: &Named<'_>, pod: &str, uid: &str, spec: &mut Value) {
        let Some(volumes) = spec.get_mut("volumes").and_then(Value::as_array_mut) else {
            return;
        };
        volumes.retain(|volume| {
            let Some(ephemeral) = volume.get("ephemeral").filter(|source| source.is_object())
            else {
                return true;
            };
            let claim = format!("{pod}-{}", text(volume, "/name"));
            let owner = json!([{"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid,
                "controller": true}]);
            let template = ephemeral.pointer("/volumeClaimTemplate/spec");
            self.decides(named, &claim, template, Some(owner))
        });
    }

    /// Whether a claim made together with its pod decides where that runs. One that waits for its
    /// pod does, and is added; one that is bound at once is bound by then, nobody knows where.
    fn decides(
        &mut self,
        named: &Named<'_>,
        claim: &str,
        spec: Option<&Value>,
        owner: Option<Value>,
    ) -> bool {
        let namespace = named.namespace;
        if self
            .storage
            .claim(&namespace.into(), &claim.into())
            .is_some()
        {
            return true;
        }
        let class = spec.map_or("", |spec| text(spec, "/storageClassName"));
        let class = self.storage.classes.get(class);
        if !class.is_some_and(|class| class.waits_for_consumer) {
            self.claims_anywhere.insert(named.called.clone());
            return false;
        }
        let mut meta = Map::new();
        meta.insert("namespace".into(), namespace.into());
        meta.insert("name".into(), claim.into());
        if let Some(owner) = owner {
            meta.insert("ownerReferences".into(), owner);
        }
        self.added
            .items
            .push(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": meta, "spec": spec}));
        true
    }

    pub(super) fn finish(mut self, ignored: &[String]) -> Added {
        let notes = &mut self.added.notes;
        let claims = self.claims_anywhere.iter();
        notes.extend(claims.map(|called| {
            format!("{called}: claims that do not wait for their pod are taken to be bound where it runs")
        }));
        let priorities = self.unknown_priorities.iter();
        notes.extend(priorities.map(|class| {
            format!("the priority of the class {class} is not known and counts as 0")
        }));
        notes.extend(
            ignored
                .iter()
                .map(|what| format!("{what} are not looked at")),
        );
        self.added
    }
}

/// Puts a label on, unless it is there.
fn label(labels: &mut Value, key: &str, value: &str) {
    if labels.is_null() {
        *labels = json!({});
    }
    if let Some(labels) = labels.as_object_mut() {
        labels.entry(key).or_insert_with(|| value.into());
    }
}
