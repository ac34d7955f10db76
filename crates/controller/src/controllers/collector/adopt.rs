//! Giving a worker of ours its VPSieNode again: the same name, bound to the same machine and Node.
//!
//! From then on the machine's one life goes on: it serves, or whatever removes machines removes it,
//! with all of the proofs. A crash between the two writes leaves an object that the next pass
//! completes.

use std::{collections::BTreeMap, sync::Arc};

use api::{VPSieNode, conditions::seconds, labels, labels::creation_reason};
use model::{Instance, InstanceId, label_value};
use planner::{
    collect::{Orphan, Verdict},
    lifecycle::Phase,
};
use serde_json::json;

use super::View;
use crate::{
    controllers::{
        groups::Group,
        scale_up,
        vpsie_node::{owned_instances, read_record, scope_of},
    },
    effects::Error,
    events::About,
    pulse::Beat,
};

/// Takes back every orphan whose time has come, and completes what was begun.
pub(super) async fn all(
    view: &View<'_>,
    verdicts: &BTreeMap<InstanceId, Verdict>,
    beat: &Beat,
) -> Result<(), Error> {
    let mut failed = None;
    for object in view.objects.iter().filter(|object| is_begun(view, object)) {
        beat.beat();
        failed = failed.or(complete(view, object).await.err());
    }
    for (id, verdict) in verdicts {
        let Verdict::Orphan(orphan) = verdict else {
            continue;
        };
        if !orphan.ripe || orphan.held.is_some() {
            continue;
        }
        let group = view.groups.iter().find(|group| group.key == orphan.group);
        let (Some(group), Some(instance)) = (group, view.observation.instance(id)) else {
            continue;
        };
        beat.beat();
        failed = failed.or(adopt(view, group, instance, orphan).await.err());
    }
    failed.map_or(Ok(()), Err)
}

/// Under the lock that gives machines to objects: no other object can come to own it meanwhile.
async fn adopt(
    view: &View<'_>,
    group: &Group,
    instance: &Instance,
    orphan: &Orphan,
) -> Result<(), Error> {
    let ctx = view.ctx;
    let _one_at_a_time = ctx.binding.lock().await;
    let taken = owned_instances(&ctx.state.vpsie_nodes());
    let namespace = &*group.key.namespace;
    if taken.contains(&instance.id) || ctx.state.vpsie_node(namespace, &orphan.record).is_some() {
        return Ok(());
    }
    let offering = (group.offerings.iter())
        .find(|offering| label_value(offering.id.as_str()) == orphan.offering)
        .map_or(orphan.offering.as_str(), |offering| offering.id.as_str());
    let annotations = BTreeMap::from([(
        labels::CREATION_REASON.to_owned(),
        creation_reason::ADOPTED.to_owned(),
    )]);
    let mut object = scale_up::machine_object(group, &orphan.record, offering, annotations);
    object.spec.vpsie_node_identifier = Some(instance.id.to_string());
    object.spec.vpsie_instance_id = instance.numeric_id;
    object.spec.ip_address = instance.addresses.first().cloned();
    let reason = "its machine and its Node are there, and it was gone";
    let created = view.effects.create_vpsie_node(&object, reason).await?;
    let message = format!(
        "worker {} ({}) has its VPSieNode {} again, on Node {}",
        instance.hostname, instance.id, orphan.record, orphan.node
    );
    for about in [
        About::object(group.object.as_ref()),
        About::object(&created),
    ] {
        ctx.events.normal(about, "MachineAdopted", message.clone());
    }
    let created = ctx.state.note_vpsie_node(created);
    match complete(view, &created).await {
        // Its first step came first; the next pass completes it.
        Err(Error::Conflict { .. }) => Ok(()),
        outcome => outcome,
    }
}

/// It was adopted and does not stand for a machine that runs yet: as it is, it would wait for a
/// machine to be bought.
fn is_begun(view: &View<'_>, object: &VPSieNode) -> bool {
    let annotations = object.metadata.annotations.as_ref();
    let adopted = annotations
        .and_then(|all| all.get(labels::CREATION_REASON))
        .is_some_and(|reason| reason == creation_reason::ADOPTED);
    if !adopted || scope_of(object, &view.ctx.defaults()).as_ref() != Some(view.scope) {
        return false;
    }
    let record = read_record(object);
    record.phase == Phase::Pending
        && record.machine.is_some()
        && record.creation.is_none()
        && record.is_wanted()
}

/// Records that the machine exists and which Node runs on it: the lifecycle finds the rest.
async fn complete(view: &View<'_>, object: &Arc<VPSieNode>) -> Result<(), Error> {
    let ctx = view.ctx;
    let identity = object
        .spec
        .vpsie_node_identifier
        .as_deref()
        .unwrap_or_default();
    let nodes = ctx.state.nodes();
    let node = nodes.iter().find(|row| {
        row.label(labels::VPSIE_NODE) == object.metadata.name.as_deref()
            && row.annotation(labels::VPS_ID) == Some(identity)
    });
    let mut status = json!({
        "phase": Phase::Provisioning.name(),
        "createdAt": seconds(ctx.clock.now()),
    });
    if let Some(row) = node {
        status["nodeName"] = json!(row.node.name.as_str());
    }
    if let Some(instance) = view.observation.instance(&InstanceId::new(identity)) {
        status["hostname"] = json!(instance.hostname.as_str());
    }
    let newest = ctx.newest(object);
    let written = view
        .effects
        .patch_vpsie_node_status(&newest, status)
        .await?;
    ctx.state.note_vpsie_node(written);
    Ok(())
}
