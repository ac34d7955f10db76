//! Defaults the API server fills into built-in objects on create and update.
//!
//! Limited to what clients, schedulers and kubelets read; a default is only ever added where the
//! field is absent.

use serde_json::{Map, Value, json};

use crate::{object::map_mut, registry::KindInfo};

fn set_default(map: &mut Map<String, Value>, key: &str, value: Value) {
    let absent = map.get(key).is_none_or(Value::is_null);
    if absent {
        map.insert(key.to_owned(), value);
    }
}

/// Fills defaults into one object of a built-in kind.
pub(crate) fn fill(kind: &KindInfo, object: &mut Value) {
    if !kind.builtin || !object.is_object() {
        return;
    }
    let spec = |object: &mut Value| -> Option<()> { object.get("spec")?.as_object().map(|_| ()) };
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => {
            if let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) {
                pod_spec(map_mut(spec));
                set_default(map_mut(spec), "enableServiceLinks", json!(true));
                host_ports(map_mut(spec));
            }
        }
        ("apps", "Deployment") if spec(object).is_some() => deployment(object),
        ("apps", "ReplicaSet") | ("", "ReplicationController") if spec(object).is_some() => {
            set_default(map_mut(&mut object["spec"]), "replicas", json!(1));
            template(object);
        }
        ("apps", "StatefulSet") if spec(object).is_some() => {
            let spec = map_mut(&mut object["spec"]);
            set_default(spec, "replicas", json!(1));
            set_default(spec, "podManagementPolicy", json!("OrderedReady"));
            set_default(spec, "revisionHistoryLimit", json!(10));
            set_default(
                spec,
                "updateStrategy",
                json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}),
            );
            set_default(
                spec,
                "persistentVolumeClaimRetentionPolicy",
                json!({"whenDeleted": "Retain", "whenScaled": "Retain"}),
            );
            template(object);
        }
        ("apps", "DaemonSet") if spec(object).is_some() => {
            let spec = map_mut(&mut object["spec"]);
            set_default(spec, "revisionHistoryLimit", json!(10));
            set_default(
                spec,
                "updateStrategy",
                json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}),
            );
            template(object);
        }
        ("batch", "Job") if spec(object).is_some() => {
            let spec = map_mut(&mut object["spec"]);
            for (key, value) in [
                ("parallelism", json!(1)),
                ("completions", json!(1)),
                ("backoffLimit", json!(6)),
                ("completionMode", json!("NonIndexed")),
                ("suspend", json!(false)),
                ("podReplacementPolicy", json!("TerminatingOrFailed")),
                ("manualSelector", json!(false)),
            ] {
                set_default(spec, key, value);
            }
            template(object);
        }
        ("", "Service") if spec(object).is_some() => {
            let spec = map_mut(&mut object["spec"]);
            set_default(spec, "type", json!("ClusterIP"));
            set_default(spec, "sessionAffinity", json!("None"));
            for port in spec
                .get_mut("ports")
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
            {
                let port = map_mut(port);
                set_default(port, "protocol", json!("TCP"));
                if let Some(number) = port.get("port").cloned() {
                    set_default(port, "targetPort", number);
                }
            }
        }
        ("", "Secret") => set_default(map_mut(object), "type", json!("Opaque")),
        ("", "Node") => node(object),
        ("storage.k8s.io", "StorageClass") => {
            let map = map_mut(object);
            set_default(map, "reclaimPolicy", json!("Delete"));
            set_default(map, "volumeBindingMode", json!("Immediate"));
        }
        ("", "PersistentVolumeClaim") if spec(object).is_some() => {
            set_default(
                map_mut(&mut object["spec"]),
                "volumeMode",
                json!("Filesystem"),
            );
            set_default(map_mut(object), "status", json!({"phase": "Pending"}));
        }
        ("coordination.k8s.io", "Lease") => set_default(map_mut(object), "spec", json!({})),
        ("scheduling.k8s.io", "PriorityClass") => {
            set_default(
                map_mut(object),
                "preemptionPolicy",
                json!("PreemptLowerPriority"),
            );
        }
        _ => {}
    }
}

fn node(object: &mut Value) {
    let map = map_mut(object);
    if let Some(spec) = map.get_mut("spec").and_then(Value::as_object_mut)
        && let Some(range) = spec.get("podCIDR").cloned()
    {
        set_default(spec, "podCIDRs", json!([range]));
    }
    let status = crate::object::child_mut(map, "status");
    if let Some(capacity) = status.get("capacity").cloned() {
        set_default(status, "allocatable", capacity);
    }
    set_default(
        status,
        "daemonEndpoints",
        json!({"kubeletEndpoint": {"Port": 0}}),
    );
    let info = crate::object::child_mut(status, "nodeInfo");
    for field in [
        "architecture",
        "bootID",
        "containerRuntimeVersion",
        "kernelVersion",
        "kubeProxyVersion",
        "kubeletVersion",
        "machineID",
        "operatingSystem",
        "osImage",
        "systemUUID",
    ] {
        set_default(info, field, json!(""));
    }
}

fn deployment(object: &mut Value) {
    let spec = map_mut(&mut object["spec"]);
    set_default(spec, "replicas", json!(1));
    set_default(spec, "revisionHistoryLimit", json!(10));
    set_default(spec, "progressDeadlineSeconds", json!(600));
    let strategy = crate::object::child_mut(spec, "strategy");
    set_default(strategy, "type", json!("RollingUpdate"));
    if strategy.get("type") == Some(&json!("RollingUpdate")) {
        let rolling = crate::object::child_mut(strategy, "rollingUpdate");
        set_default(rolling, "maxUnavailable", json!("25%"));
        set_default(rolling, "maxSurge", json!("25%"));
    }
    template(object);
}

fn template(object: &mut Value) {
    if let Some(spec) = object
        .get_mut("spec")
        .and_then(|spec| spec.get_mut("template"))
        .and_then(|template| template.get_mut("spec"))
        .filter(|spec| spec.is_object())
    {
        pod_spec(map_mut(spec));
    }
}

fn pod_spec(spec: &mut Map<String, Value>) {
    set_default(spec, "restartPolicy", json!("Always"));
    set_default(spec, "terminationGracePeriodSeconds", json!(30));
    set_default(spec, "dnsPolicy", json!("ClusterFirst"));
    set_default(spec, "schedulerName", json!("default-scheduler"));
    set_default(spec, "securityContext", json!({}));
    if let Some(account) = spec.get("serviceAccountName").cloned() {
        set_default(spec, "serviceAccount", account);
    }
    for list in ["containers", "initContainers"] {
        for container in spec
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            self::container(map_mut(container));
        }
    }
    for volume in spec
        .get_mut("volumes")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        for source in ["configMap", "secret"] {
            if let Some(source) = volume.get_mut(source).filter(|source| source.is_object()) {
                set_default(map_mut(source), "defaultMode", json!(420));
            }
        }
        if let Some(projected) = volume.get_mut("projected").filter(|it| it.is_object()) {
            set_default(map_mut(projected), "defaultMode", json!(420));
        }
        if let Some(path) = volume.get_mut("hostPath").filter(|path| path.is_object()) {
            set_default(map_mut(path), "type", json!(""));
        }
    }
}

/// On the host's network every port is the host's.
fn host_ports(spec: &mut Map<String, Value>) {
    if spec.get("hostNetwork") != Some(&json!(true)) {
        return;
    }
    let containers = spec.get_mut("containers").and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten() {
        let ports = container.get_mut("ports").and_then(Value::as_array_mut);
        for port in ports.into_iter().flatten() {
            if let Some(number) = port.get("containerPort").cloned() {
                set_default(map_mut(port), "hostPort", number);
            }
        }
    }
}

fn container(container: &mut Map<String, Value>) {
    set_default(
        container,
        "terminationMessagePath",
        json!("/dev/termination-log"),
    );
    set_default(container, "terminationMessagePolicy", json!("File"));
    let image = container
        .get("image")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let tagged = image.rsplit('/').next().is_some_and(|last| {
        last.contains('@') || (last.contains(':') && !last.ends_with(":latest"))
    });
    let policy = if tagged { "IfNotPresent" } else { "Always" };
    set_default(container, "imagePullPolicy", json!(policy));
    for port in container
        .get_mut("ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        set_default(map_mut(port), "protocol", json!("TCP"));
    }
    for variable in container
        .get_mut("env")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Some(field) = variable.pointer_mut("/valueFrom/fieldRef") {
            set_default(map_mut(field), "apiVersion", json!("v1"));
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = container.get_mut(name).filter(|probe| probe.is_object()) else {
            continue;
        };
        let probe = map_mut(probe);
        for (field, number) in [
            ("failureThreshold", 3),
            ("periodSeconds", 10),
            ("successThreshold", 1),
            ("timeoutSeconds", 1),
        ] {
            set_default(probe, field, json!(number));
        }
        if let Some(http) = probe.get_mut("httpGet").filter(|http| http.is_object()) {
            set_default(map_mut(http), "path", json!("/"));
            set_default(map_mut(http), "scheme", json!("HTTP"));
        }
    }
    let resources = crate::object::child_mut(container, "resources");
    if let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() {
        let requests = crate::object::child_mut(resources, "requests");
        for (name, amount) in limits {
            set_default(requests, &name, amount);
        }
    }
}

/// What the `DefaultTolerationSeconds` admission adds to pods.
fn pod_tolerations(spec: &mut Map<String, Value>) {
    let list = spec.entry("tolerations").or_insert_with(|| json!([]));
    let Value::Array(list) = list else { return };
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        let tolerated = list.iter().any(|toleration| {
            let same_key = toleration["key"] == json!(key);
            let any_key = toleration.get("key").is_none_or(|key| key == "")
                && toleration["operator"] == json!("Exists");
            let effect = toleration.get("effect").and_then(Value::as_str);
            (same_key || any_key) && matches!(effect, None | Some("" | "NoExecute"))
        });
        if !tolerated {
            list.push(json!({
                "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300,
            }));
        }
    }
}

/// What a create adds after ownership was decided: strategies and admission do it, so that nobody
/// owns it.
pub(crate) fn on_create(kind: &KindInfo, object: &mut Value, time: &str) {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => {
            let qos = qos_class(object);
            if let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) {
                let spec = map_mut(spec);
                set_default(spec, "priority", json!(0));
                set_default(spec, "preemptionPolicy", json!("PreemptLowerPriority"));
                pod_tolerations(spec);
            }
            let gated = object["spec"]["schedulingGates"]
                .as_array()
                .is_some_and(|gates| !gates.is_empty());
            let map = map_mut(object);
            let mut status = json!({"phase": "Pending", "qosClass": qos});
            if gated {
                status["conditions"] = json!([{
                    "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
                    "message": "Scheduling is blocked due to non-empty scheduling gates",
                    "lastProbeTime": null, "lastTransitionTime": time,
                }]);
            }
            map.insert("status".to_owned(), status);
        }
        ("", "Namespace") => {
            let map = map_mut(object);
            map.insert("status".to_owned(), json!({"phase": "Active"}));
            let spec = crate::object::child_mut(map, "spec");
            spec.insert("finalizers".to_owned(), json!(["kubernetes"]));
        }
        // Until its kubelet and the node lifecycle controller say that it is ready.
        ("", "Node") => {
            let taint = json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"});
            let spec = crate::object::child_mut(map_mut(object), "spec");
            let taints = spec.entry("taints").or_insert_with(|| json!([]));
            if let Value::Array(taints) = taints
                && !taints
                    .iter()
                    .any(|known| known["key"] == taint["key"] && known["effect"] == taint["effect"])
            {
                taints.push(taint);
            }
        }
        ("policy", "PodDisruptionBudget") => {
            let status = json!({"disruptionsAllowed": 0, "currentHealthy": 0,
                "desiredHealthy": 0, "expectedPods": 0});
            map_mut(object).insert("status".to_owned(), status);
        }
        ("apps", "Deployment") => {
            map_mut(object).insert("status".to_owned(), json!({}));
        }
        ("apps", "ReplicaSet") => {
            map_mut(object).insert("status".to_owned(), json!({"replicas": 0}));
        }
        ("apps", "StatefulSet") => {
            let status = json!({"replicas": 0, "availableReplicas": 0});
            map_mut(object).insert("status".to_owned(), status);
        }
        ("apps", "DaemonSet") => {
            let status = json!({"currentNumberScheduled": 0, "desiredNumberScheduled": 0,
                "numberMisscheduled": 0, "numberReady": 0});
            map_mut(object).insert("status".to_owned(), status);
        }
        ("batch", "Job") => {
            map_mut(object).insert("status".to_owned(), json!({}));
        }
        _ => {}
    }
}

/// BestEffort, Burstable or Guaranteed, from requests and limits of cpu and memory.
fn qos_class(pod: &Value) -> &'static str {
    let mut any = false;
    let mut guaranteed = true;
    for list in ["containers", "initContainers"] {
        for container in pod["spec"][list].as_array().into_iter().flatten() {
            let resources = &container["resources"];
            for name in ["cpu", "memory"] {
                let (request, limit) = (&resources["requests"][name], &resources["limits"][name]);
                any |= !request.is_null() || !limit.is_null();
                guaranteed &= !limit.is_null() && (request.is_null() || request == limit);
            }
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
