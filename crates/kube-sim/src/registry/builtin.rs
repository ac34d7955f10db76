//! The table of Kubernetes' own kinds that this server serves.

use super::{KindInfo, ScalePaths};

const ALL_VERBS: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// One line of the table; empty strings mean "none".
struct Row {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static str,
    categories: &'static str,
    namespaced: bool,
    /// Blank-separated subresources.
    sub: &'static str,
    /// Blank-separated selectable fields.
    fields: &'static str,
}

const NS: bool = true;
const CLUSTER: bool = false;

#[allow(clippy::too_many_arguments)] // one positional line per kind reads as a table
const fn row(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static str,
    categories: &'static str,
    namespaced: bool,
    sub: &'static str,
    fields: &'static str,
) -> Row {
    Row {
        group,
        version,
        kind,
        plural,
        short,
        categories,
        namespaced,
        sub,
        fields,
    }
}

const POD_FIELDS: &str = "spec.nodeName spec.restartPolicy spec.schedulerName spec.serviceAccountName spec.hostNetwork status.phase status.podIP status.nominatedNodeName";
const EVENT_FIELDS: &str = "involvedObject.kind involvedObject.namespace involvedObject.name involvedObject.uid involvedObject.apiVersion involvedObject.resourceVersion involvedObject.fieldPath reason reportingComponent source type";
const EVENT_V1_FIELDS: &str = "regarding.kind regarding.namespace regarding.name regarding.uid regarding.apiVersion regarding.resourceVersion regarding.fieldPath reason reportingController type";
const ADM: &str = "admissionregistration.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";
const STORAGE: &str = "storage.k8s.io";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("", "v1", "Pod", "pods", "po", "all", NS, "status eviction binding", POD_FIELDS),
    row("", "v1", "Node", "nodes", "no", "", CLUSTER, "status", "spec.unschedulable"),
    row("", "v1", "Namespace", "namespaces", "ns", "", CLUSTER, "status finalize", "status.phase"),
    row("", "v1", "Event", "events", "ev", "", NS, "", EVENT_FIELDS),
    row("", "v1", "Secret", "secrets", "", "", NS, "", "type"),
    row("", "v1", "ConfigMap", "configmaps", "cm", "", NS, "", ""),
    row("", "v1", "ServiceAccount", "serviceaccounts", "sa", "", NS, "", ""),
    row("", "v1", "Service", "services", "svc", "all", NS, "status", "spec.clusterIP spec.type"),
    row("", "v1", "Endpoints", "endpoints", "ep", "", NS, "", ""),
    row("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", "pvc", "", NS, "status", ""),
    row("", "v1", "PersistentVolume", "persistentvolumes", "pv", "", CLUSTER, "status", ""),
    row("", "v1", "ReplicationController", "replicationcontrollers", "rc", "all", NS, "status scale", "status.replicas"),
    row("apps", "v1", "Deployment", "deployments", "deploy", "all", NS, "status scale", ""),
    row("apps", "v1", "ReplicaSet", "replicasets", "rs", "all", NS, "status scale", "status.replicas"),
    row("apps", "v1", "StatefulSet", "statefulsets", "sts", "all", NS, "status scale", ""),
    row("apps", "v1", "DaemonSet", "daemonsets", "ds", "all", NS, "status", ""),
    row("apps", "v1", "ControllerRevision", "controllerrevisions", "", "", NS, "", ""),
    row("batch", "v1", "Job", "jobs", "", "all", NS, "status", "status.successful"),
    row("batch", "v1", "CronJob", "cronjobs", "cj", "all", NS, "status", ""),
    row("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", "pdb", "", NS, "status", ""),
    row("coordination.k8s.io", "v1", "Lease", "leases", "", "", NS, "", ""),
    row("events.k8s.io", "v1", "Event", "events", "ev", "", NS, "", EVENT_V1_FIELDS),
    row(STORAGE, "v1", "StorageClass", "storageclasses", "sc", "", CLUSTER, "", ""),
    row(STORAGE, "v1", "CSINode", "csinodes", "", "", CLUSTER, "", ""),
    row(STORAGE, "v1", "CSIDriver", "csidrivers", "", "", CLUSTER, "", ""),
    row(STORAGE, "v1", "CSIStorageCapacity", "csistoragecapacities", "", "", NS, "", ""),
    row(STORAGE, "v1", "VolumeAttachment", "volumeattachments", "", "", CLUSTER, "status", ""),
    row("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", "pc", "", CLUSTER, "", ""),
    row("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", "crd crds", "api-extensions", CLUSTER, "status", ""),
    row(RBAC, "v1", "Role", "roles", "", "", NS, "", ""),
    row(RBAC, "v1", "RoleBinding", "rolebindings", "", "", NS, "", ""),
    row(RBAC, "v1", "ClusterRole", "clusterroles", "", "", CLUSTER, "", ""),
    row(RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", "", "", CLUSTER, "", ""),
    row("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", "", "", NS, "", ""),
    row(ADM, "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", "", "api-extensions", CLUSTER, "", ""),
    row(ADM, "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", "", "api-extensions", CLUSTER, "", ""),
    row(ADM, "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies", "", "api-extensions", CLUSTER, "status", ""),
    row(ADM, "v1", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", "", "api-extensions", CLUSTER, "", ""),
    row("authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", "", "", CLUSTER, "", ""),
];

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

pub(super) fn kinds() -> impl Iterator<Item = KindInfo> {
    ROWS.iter().map(|row| {
        let subs = words(row.sub);
        let review = row.group == "authorization.k8s.io";
        let verbs: Vec<&str> = ALL_VERBS
            .iter()
            .copied()
            .filter(|verb| !review || *verb == "create")
            // Namespaces go one by one.
            .filter(|verb| row.kind != "Namespace" || *verb != "deletecollection")
            .collect();
        // events.k8s.io is a second view of the core events.
        let storage = match row.group {
            "events.k8s.io" => "/events".to_owned(),
            group => format!("{group}/{}", row.plural),
        };
        KindInfo {
            group: row.group.to_owned(),
            version: row.version.to_owned(),
            kind: row.kind.to_owned(),
            list_kind: format!("{}List", row.kind),
            plural: row.plural.to_owned(),
            singular: row.kind.to_lowercase(),
            short_names: words(row.short),
            categories: words(row.categories),
            namespaced: row.namespaced,
            status: subs.iter().any(|sub| sub == "status"),
            scale: subs.iter().any(|sub| sub == "scale").then(|| ScalePaths {
                spec_replicas: vec!["spec".to_owned(), "replicas".to_owned()],
                status_replicas: vec!["status".to_owned(), "replicas".to_owned()],
                selector: Some(vec!["spec".to_owned(), "selector".to_owned()]),
            }),
            subresources: subs
                .into_iter()
                .filter(|sub| sub != "status" && sub != "scale")
                .collect(),
            verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
            storage,
            builtin: true,
            selectable_fields: words(row.fields),
            schema: None,
            schema_document: None,
            printer_columns: Vec::new(),
        }
    })
}
