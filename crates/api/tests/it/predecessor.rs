//! The fields of vpsie-k8s-autoscaler 0.7, with type, default and bounds: our definitions may add
//! to them, and must neither lose one, nor give one another type or default, nor demand more.

use serde_json::{Value, json};

/// `path type default minimum..maximum`; `-` where there is none.
const NODE_GROUP: &str = "
spec.minNodes integer - 0..
spec.maxNodes integer - 1..
spec.datacenterID string - -
spec.offeringIDs [string] - -
spec.resourceIdentifier string - -
spec.project string - -
spec.osImageID string - -
spec.kubernetesVersion string - -
spec.preferredInstanceType string - -
spec.allowMixedInstances boolean true -
spec.labels {string} - -
spec.taints[].key string - -
spec.taints[].value string - -
spec.taints[].effect string - -
spec.taints[].timeAdded string - -
spec.scaleUpPolicy.stabilizationWindowSeconds integer 60 0..
spec.scaleUpPolicy.cpuThreshold integer 80 0..100
spec.scaleUpPolicy.memoryThreshold integer 80 0..100
spec.scaleUpPolicy.enabled boolean true -
spec.scaleDownPolicy.stabilizationWindowSeconds integer 600 0..
spec.scaleDownPolicy.cpuThreshold integer 50 0..100
spec.scaleDownPolicy.memoryThreshold integer 50 0..100
spec.scaleDownPolicy.enabled boolean true -
spec.scaleDownPolicy.cooldownSeconds integer 600 0..
spec.sshKeyIDs [string] - -
spec.tags [string] - -
spec.notes string - -
spec.kubeSizeID integer - 1..
spec.spotConfig.enabled boolean false -
spec.spotConfig.maxSpotPercentage integer 80 0..100
spec.spotConfig.fallbackToOnDemand boolean true -
spec.spotConfig.interruptionGracePeriod string \"120s\" -
spec.spotConfig.allowedInterruptionRate integer 20 0..100
spec.multiRegion.enabled boolean false -
spec.multiRegion.datacenterIDs [string] - -
spec.multiRegion.distributionStrategy string \"balanced\" -
spec.multiRegion.weightedDistribution {integer} - -
spec.multiRegion.primaryDatacenter string - -
spec.multiRegion.minNodesPerRegion integer 1 0..
spec.costOptimization.enabled boolean true -
spec.costOptimization.strategy string \"auto\" -
spec.costOptimization.optimizationInterval string \"24h\" -
spec.costOptimization.minMonthlySavings number 10 -
spec.costOptimization.maxPerformanceImpact integer 5 0..100
spec.costOptimization.requireApproval boolean false -
status.vpsieGroupID integer - -
status.nodes[].nodeName string - -
status.nodes[].vpsID integer - -
status.nodes[].instanceType string - -
status.nodes[].status string - -
status.nodes[].createdAt string - -
status.nodes[].readyAt string - -
status.nodes[].ipAddress string - -
status.conditions[].type string - -
status.conditions[].status string - -
status.conditions[].lastTransitionTime string - -
status.conditions[].lastUpdateTime string - -
status.conditions[].reason string - -
status.conditions[].message string - -
status.lastScaleTime string - -
status.lastScaleUpTime string - -
status.lastScaleDownTime string - -
status.observedGeneration integer - -
";

const VPSIE_NODE: &str = "
spec.instanceType string - -
spec.nodeGroupName string - -
spec.datacenterID string - -
spec.resourceIdentifier string - -
spec.project string - -
spec.osImageID string - -
spec.kubernetesVersion string - -
spec.sshKeyIDs [string] - -
spec.nodeName string - -
spec.ipAddress string - -
spec.ipv6Address string - -
spec.vpsieGroupID integer - -
spec.vpsieNodeIdentifier string - -
status.nodeName string - -
status.vpsieStatus string - -
status.hostname string - -
status.resources.cpu integer - -
status.resources.memoryMB integer - -
status.resources.diskGB integer - -
status.resources.bandwidthGB integer - -
status.createdAt string - -
status.provisionedAt string - -
status.joinedAt string - -
status.readyAt string - -
status.terminatingAt string - -
status.deletedAt string - -
status.conditions[].type string - -
status.lastError string - -
status.observedGeneration integer - -
";

const AUTOSCALER_CONFIG: &str = "
spec.nodeGroupDefaults.minNodes integer 1 0..
spec.nodeGroupDefaults.maxNodes integer 10 1..
spec.nodeGroupDefaults.namespace string \"default\" -
spec.nodeGroupDefaults.datacenterID string - -
spec.nodeGroupDefaults.offeringIDs [string] - -
spec.nodeGroupDefaults.resourceIdentifier string - -
spec.nodeGroupDefaults.project string - -
spec.nodeGroupDefaults.osImageID string - -
spec.nodeGroupDefaults.kubernetesVersion string - -
spec.nodeGroupDefaults.kubeSizeID integer - 1..
spec.nodeGroupDefaults.labels {string} - -
spec.nodeGroupDefaults.taints[].key string - -
spec.nodeGroupDefaults.sshKeyIDs [string] - -
spec.nodeGroupDefaults.tags [string] - -
spec.nodeGroupDefaults.notes string - -
spec.nodeGroupDefaults.scaleUpPolicy.cpuThreshold integer 80 0..100
spec.nodeGroupDefaults.scaleDownPolicy.cooldownSeconds integer 600 0..
spec.nodeGroupDefaults.costOptimization.strategy string \"auto\" -
spec.nodeGroupDefaults.spotConfig.maxSpotPercentage integer 80 0..100
spec.globalSettings.scaleUpCooldownSeconds integer 60 -
spec.globalSettings.scaleDownCooldownSeconds integer 300 -
spec.globalSettings.maxConcurrentScaleUps integer 1 1..
spec.globalSettings.maxConcurrentScaleDowns integer 1 1..
spec.globalSettings.maxClusterWorkers integer 10 0..
spec.globalSettings.unschedulablePodGracePeriodSeconds integer 30 -
spec.globalSettings.enableDynamicNodeGroupCreation boolean true -
spec.globalSettings.enableRebalancing boolean false -
spec.globalSettings.nodeReadyTimeoutSeconds integer 600 60..
spec.globalSettings.podEvictionTimeoutSeconds integer 120 -
status.observedGeneration integer - -
status.lastUpdated string - -
status.active boolean - -
status.message string - -
";

fn definition(kind: &str) -> Value {
    api::crds::crds()
        .into_iter()
        .map(|crd| serde_json::to_value(crd).unwrap())
        .find(|crd| crd["spec"]["names"]["kind"] == kind)
        .unwrap()
}

fn root(definition: &Value) -> &Value {
    &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

fn at<'a>(mut schema: &'a Value, path: &str) -> &'a Value {
    for part in path.split('.') {
        let name = part.trim_end_matches("[]");
        schema = &schema["properties"][name];
        assert!(!schema.is_null(), "{path}: {name} is missing");
        if part.ends_with("[]") {
            schema = &schema["items"];
        }
    }
    schema
}

fn type_of(schema: &Value) -> String {
    let name = |schema: &Value| schema["type"].as_str().unwrap_or("none").to_owned();
    match schema["type"].as_str() {
        Some("array") => format!("[{}]", name(&schema["items"])),
        Some("object") if !schema["additionalProperties"].is_null() => {
            format!("{{{}}}", name(&schema["additionalProperties"]))
        }
        _ => name(schema),
    }
}

fn bounds_of(schema: &Value) -> String {
    let text = |bound: &Value| bound.as_f64().map(|b| b.to_string()).unwrap_or_default();
    let bounds = format!("{}..{}", text(&schema["minimum"]), text(&schema["maximum"]));
    if bounds == ".." { "-".into() } else { bounds }
}

fn holds(kind: &str, table: &str) {
    let definition = definition(kind);
    for row in table.lines().filter(|row| !row.is_empty()) {
        let cells: Vec<&str> = row.split(' ').collect();
        let schema = at(root(&definition), cells[0]);
        let default = schema.get("default").map_or("-".into(), Value::to_string);
        let found = [type_of(schema), default, bounds_of(schema)];
        assert_eq!(found.as_slice(), &cells[1..], "{kind} {}", cells[0]);
    }
}

#[test]
fn every_field_of_a_stored_node_group_keeps_its_type_default_and_bounds() {
    holds("NodeGroup", NODE_GROUP);
}

#[test]
fn every_field_of_a_stored_vpsie_node_keeps_its_type_default_and_bounds() {
    holds("VPSieNode", VPSIE_NODE);
}

#[test]
fn every_field_of_a_stored_autoscaler_config_keeps_its_type_default_and_bounds() {
    holds("AutoscalerConfig", AUTOSCALER_CONFIG);
}

/// An object that was complete then is complete now.
#[test]
fn no_definition_demands_a_field_that_was_optional() {
    for (kind, part, demanded) in [
        (
            "NodeGroup",
            "spec",
            json!(["datacenterID", "maxNodes", "minNodes", "offeringIDs"]),
        ),
        ("NodeGroup", "status", Value::Null),
        ("NodeGroup", "spec.taints[]", json!(["effect", "key"])),
        (
            "NodeGroup",
            "status.nodes[]",
            json!(["instanceType", "nodeName", "status", "vpsID"]),
        ),
        (
            "VPSieNode",
            "spec",
            json!(["datacenterID", "instanceType", "nodeGroupName"]),
        ),
        ("VPSieNode", "status", Value::Null),
        (
            "VPSieNode",
            "status.conditions[]",
            json!(["status", "type"]),
        ),
        ("AutoscalerConfig", "spec", Value::Null),
        ("AutoscalerConfig", "status", Value::Null),
    ] {
        let definition = definition(kind);
        let found = &at(root(&definition), part)["required"];
        assert_eq!(found, &demanded, "{kind} {part}");
    }
}

#[test]
fn kubectl_knows_the_kinds_by_the_same_names_and_columns() {
    for (kind, scope, short, columns) in [
        (
            "NodeGroup",
            "Namespaced",
            json!(["ng", "ngs"]),
            "Min=.spec.minNodes Max=.spec.maxNodes Desired=.status.desiredNodes \
             Current=.status.currentNodes Ready=.status.readyNodes \
             Age=.metadata.creationTimestamp",
        ),
        (
            "VPSieNode",
            "Namespaced",
            json!(["vn", "vns"]),
            "VPS ID=.spec.vpsieInstanceID Node=.status.nodeName Phase=.status.phase \
             Instance Type=.spec.instanceType NodeGroup=.spec.nodeGroupName \
             Age=.metadata.creationTimestamp",
        ),
        (
            "AutoscalerConfig",
            "Cluster",
            json!(["asc"]),
            "MaxWorkers=.spec.globalSettings.maxClusterWorkers \
             MinNodes=.spec.nodeGroupDefaults.minNodes MaxNodes=.spec.nodeGroupDefaults.maxNodes \
             DynamicCreation=.spec.globalSettings.enableDynamicNodeGroupCreation \
             Active=.status.active Age=.metadata.creationTimestamp",
        ),
    ] {
        let definition = definition(kind);
        let spec = &definition["spec"];
        let version = &spec["versions"][0];
        let found: Vec<String> = version["additionalPrinterColumns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|column| {
                let text = |key: &str| column[key].as_str().unwrap().to_owned();
                format!("{}={}", text("name"), text("jsonPath"))
            })
            .collect();
        assert_eq!(found.join(" "), columns);
        assert_eq!(spec["scope"], scope);
        assert_eq!(spec["names"]["shortNames"], short);
        assert_eq!(version["subresources"], json!({ "status": {} }), "{kind}");
        assert_eq!(version["name"], "v1alpha1");
    }
}

#[test]
fn the_accessors_fill_in_what_the_schema_would() {
    let definition = definition("NodeGroup");
    let default = |path: &str| at(root(&definition), path)["default"].clone();
    let down = api::ScaleDownPolicy::default();
    let up = api::ScaleUpPolicy::default();
    let spec = api::NodeGroupSpec::default();
    let policy = "spec.scaleDownPolicy";
    assert_eq!(
        default(&format!("{policy}.stabilizationWindowSeconds")),
        json!(down.window().as_secs())
    );
    assert_eq!(
        default(&format!("{policy}.cooldownSeconds")),
        json!(down.cooldown().as_secs())
    );
    assert_eq!(default(&format!("{policy}.enabled")), down.is_enabled());
    assert_eq!(default("spec.scaleUpPolicy.enabled"), up.is_enabled());
    assert_eq!(default("spec.allowMixedInstances"), spec.mixes_instances());
}
