//! Kubernetes' binary encoding of the objects that `kubectl create …`, `auth can-i` and `drain`
//! send: decoded into the JSON form by tables of field numbers.
//!
//! Only what those commands write is in the tables. A field that is not, and is not empty, is an
//! error that names it; nothing is dropped in silence.

use base64::Engine as _;
use serde_json::{Map, Value, json};

/// Why a body could not be decoded.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProtobufError {
    #[error("the body does not begin with the Kubernetes protobuf prefix")]
    Prefix,
    #[error("the body ends in the middle of {0}")]
    Truncated(&'static str),
    #[error("the binary form of {0} is not supported, send JSON")]
    Kind(String),
    #[error("field number {number} of {message} is not supported in binary form, send JSON")]
    Field { message: &'static str, number: u64 },
}

/// What a field holds.
#[derive(Clone, Copy)]
enum Holds {
    Text,
    /// A number or flag that is written even when it is zero: zero means absent.
    Int,
    Bool,
    /// A pointer in the original: present means set.
    SetInt,
    SetBool,
    Message(&'static Message),
    /// A map from text to text, bytes (base64 in JSON) or quantities.
    TextMap,
    BytesMap,
    QuantityMap,
    IntOrString,
    /// Not taken from clients.
    Ignored,
}

use Holds::{
    Bool, BytesMap, Ignored, Int, IntOrString, Message as Of, QuantityMap, SetBool, SetInt, Text,
    TextMap,
};

struct Field(u64, &'static str, bool, Holds);

struct Message {
    name: &'static str,
    fields: &'static [Field],
}

const fn one(number: u64, name: &'static str, holds: Holds) -> Field {
    Field(number, name, false, holds)
}

const fn many(number: u64, name: &'static str, holds: Holds) -> Field {
    Field(number, name, true, holds)
}

macro_rules! message {
    ($name:ident, $shown:literal, $($field:expr),* $(,)?) => {
        static $name: Message = Message { name: $shown, fields: &[$($field),*] };
    };
}

message!(
    OWNER,
    "OwnerReference",
    one(1, "kind", Text),
    one(3, "name", Text),
    one(4, "uid", Text),
    one(5, "apiVersion", Text),
    one(6, "controller", SetBool),
    one(7, "blockOwnerDeletion", SetBool)
);
message!(
    META,
    "ObjectMeta",
    one(1, "name", Text),
    one(2, "generateName", Text),
    one(3, "namespace", Text),
    one(4, "selfLink", Text),
    one(5, "uid", Text),
    one(6, "resourceVersion", Text),
    one(7, "generation", Ignored),
    one(8, "creationTimestamp", Ignored),
    one(11, "labels", TextMap),
    one(12, "annotations", TextMap),
    many(13, "ownerReferences", Of(&OWNER)),
    many(14, "finalizers", Text),
    one(17, "managedFields", Ignored)
);
message!(
    EXPRESSION,
    "LabelSelectorRequirement",
    one(1, "key", Text),
    one(2, "operator", Text),
    many(3, "values", Text)
);
message!(
    SELECTOR,
    "LabelSelector",
    one(1, "matchLabels", TextMap),
    many(2, "matchExpressions", Of(&EXPRESSION))
);
message!(
    PORT,
    "ContainerPort",
    one(1, "name", Text),
    one(2, "hostPort", Int),
    one(3, "containerPort", Int),
    one(4, "protocol", Text),
    one(5, "hostIP", Text)
);
message!(ENV, "EnvVar", one(1, "name", Text), one(2, "value", Text));
message!(
    RESOURCES,
    "ResourceRequirements",
    one(1, "limits", QuantityMap),
    one(2, "requests", QuantityMap)
);
message!(
    CONTAINER,
    "Container",
    one(1, "name", Text),
    one(2, "image", Text),
    many(3, "command", Text),
    many(4, "args", Text),
    one(5, "workingDir", Text),
    many(6, "ports", Of(&PORT)),
    many(7, "env", Of(&ENV)),
    one(8, "resources", Of(&RESOURCES)),
    one(13, "terminationMessagePath", Text),
    one(14, "imagePullPolicy", Text),
    one(16, "stdin", Bool),
    one(17, "stdinOnce", Bool),
    one(18, "tty", Bool),
    one(20, "terminationMessagePolicy", Text)
);
message!(
    POD_SPEC,
    "PodSpec",
    many(2, "containers", Of(&CONTAINER)),
    one(3, "restartPolicy", Text),
    one(4, "terminationGracePeriodSeconds", SetInt),
    one(5, "activeDeadlineSeconds", SetInt),
    one(6, "dnsPolicy", Text),
    one(7, "nodeSelector", TextMap),
    one(8, "serviceAccountName", Text),
    one(9, "serviceAccount", Text),
    one(10, "nodeName", Text),
    one(11, "hostNetwork", Bool),
    one(12, "hostPID", Bool),
    one(13, "hostIPC", Bool),
    one(16, "hostname", Text),
    one(17, "subdomain", Text),
    one(19, "schedulerName", Text),
    many(20, "initContainers", Of(&CONTAINER)),
    one(24, "priorityClassName", Text)
);
message!(
    TEMPLATE,
    "PodTemplateSpec",
    one(1, "metadata", Of(&META)),
    one(2, "spec", Of(&POD_SPEC))
);
message!(
    ROLLING,
    "RollingUpdateDeployment",
    one(1, "maxUnavailable", IntOrString),
    one(2, "maxSurge", IntOrString)
);
message!(
    STRATEGY,
    "DeploymentStrategy",
    one(1, "type", Text),
    one(2, "rollingUpdate", Of(&ROLLING))
);
message!(
    DEPLOYMENT_SPEC,
    "DeploymentSpec",
    one(1, "replicas", SetInt),
    one(2, "selector", Of(&SELECTOR)),
    one(3, "template", Of(&TEMPLATE)),
    one(4, "strategy", Of(&STRATEGY)),
    one(5, "minReadySeconds", Int),
    one(6, "revisionHistoryLimit", SetInt),
    one(7, "paused", Bool),
    one(9, "progressDeadlineSeconds", SetInt)
);
message!(
    DEPLOYMENT,
    "Deployment",
    one(1, "metadata", Of(&META)),
    one(2, "spec", Of(&DEPLOYMENT_SPEC)),
    one(3, "status", Ignored)
);
message!(
    JOB_SPEC,
    "JobSpec",
    one(1, "parallelism", SetInt),
    one(2, "completions", SetInt),
    one(3, "activeDeadlineSeconds", SetInt),
    one(4, "selector", Of(&SELECTOR)),
    one(5, "manualSelector", SetBool),
    one(6, "template", Of(&TEMPLATE)),
    one(7, "backoffLimit", SetInt),
    one(8, "ttlSecondsAfterFinished", SetInt),
    one(10, "suspend", SetBool)
);
message!(
    JOB,
    "Job",
    one(1, "metadata", Of(&META)),
    one(2, "spec", Of(&JOB_SPEC)),
    one(3, "status", Ignored)
);
message!(NAMESPACE_SPEC, "NamespaceSpec", many(1, "finalizers", Text));
message!(
    NAMESPACE,
    "Namespace",
    one(1, "metadata", Of(&META)),
    one(2, "spec", Of(&NAMESPACE_SPEC)),
    one(3, "status", Ignored)
);
message!(
    CONFIG_MAP,
    "ConfigMap",
    one(1, "metadata", Of(&META)),
    one(2, "data", TextMap),
    one(3, "binaryData", BytesMap),
    one(4, "immutable", SetBool)
);
message!(
    SECRET,
    "Secret",
    one(1, "metadata", Of(&META)),
    one(2, "data", BytesMap),
    one(3, "type", Text),
    one(4, "stringData", TextMap),
    one(5, "immutable", SetBool)
);
message!(
    SERVICE_ACCOUNT,
    "ServiceAccount",
    one(1, "metadata", Of(&META)),
    one(4, "automountServiceAccountToken", SetBool)
);
message!(
    SERVICE_PORT,
    "ServicePort",
    one(1, "name", Text),
    one(2, "protocol", Text),
    one(3, "port", Int),
    one(4, "targetPort", IntOrString),
    one(5, "nodePort", Int)
);
message!(
    SERVICE_SPEC,
    "ServiceSpec",
    many(1, "ports", Of(&SERVICE_PORT)),
    one(2, "selector", TextMap),
    one(3, "clusterIP", Text),
    one(4, "type", Text),
    one(7, "sessionAffinity", Text),
    one(8, "loadBalancerIP", Text),
    one(10, "externalName", Text),
    one(11, "externalTrafficPolicy", Text),
    one(12, "healthCheckNodePort", Int),
    one(13, "publishNotReadyAddresses", Bool)
);
message!(
    SERVICE,
    "Service",
    one(1, "metadata", Of(&META)),
    one(2, "spec", Of(&SERVICE_SPEC)),
    one(3, "status", Ignored)
);
message!(
    POLICY_RULE,
    "PolicyRule",
    many(1, "verbs", Text),
    many(2, "apiGroups", Text),
    many(3, "resources", Text),
    many(4, "resourceNames", Text),
    many(5, "nonResourceURLs", Text)
);
message!(
    ROLE,
    "Role",
    one(1, "metadata", Of(&META)),
    many(2, "rules", Of(&POLICY_RULE))
);
message!(
    SUBJECT,
    "Subject",
    one(1, "kind", Text),
    one(2, "apiGroup", Text),
    one(3, "name", Text),
    one(4, "namespace", Text)
);
message!(
    ROLE_REF,
    "RoleRef",
    one(1, "apiGroup", Text),
    one(2, "kind", Text),
    one(3, "name", Text)
);
message!(
    BINDING,
    "RoleBinding",
    one(1, "metadata", Of(&META)),
    many(2, "subjects", Of(&SUBJECT)),
    one(3, "roleRef", Of(&ROLE_REF))
);
message!(
    BUDGET_SPEC,
    "PodDisruptionBudgetSpec",
    one(1, "minAvailable", IntOrString),
    one(2, "selector", Of(&SELECTOR)),
    one(3, "maxUnavailable", IntOrString),
    one(4, "unhealthyPodEvictionPolicy", Text)
);
message!(
    BUDGET,
    "PodDisruptionBudget",
    one(1, "metadata", Of(&META)),
    one(2, "spec", Of(&BUDGET_SPEC)),
    one(3, "status", Ignored)
);
message!(
    PRIORITY_CLASS,
    "PriorityClass",
    one(1, "metadata", Of(&META)),
    one(2, "value", Int),
    one(3, "globalDefault", Bool),
    one(4, "description", Text),
    one(5, "preemptionPolicy", Text)
);
message!(
    ATTRIBUTES,
    "ResourceAttributes",
    one(1, "namespace", Text),
    one(2, "verb", Text),
    one(3, "group", Text),
    one(4, "version", Text),
    one(5, "resource", Text),
    one(6, "subresource", Text),
    one(7, "name", Text)
);
message!(
    URL,
    "NonResourceAttributes",
    one(1, "path", Text),
    one(2, "verb", Text)
);
message!(
    REVIEW_SPEC,
    "SelfSubjectAccessReviewSpec",
    one(1, "resourceAttributes", Of(&ATTRIBUTES)),
    one(2, "nonResourceAttributes", Of(&URL))
);
message!(
    REVIEW,
    "SelfSubjectAccessReview",
    one(1, "metadata", Of(&META)),
    one(2, "spec", Of(&REVIEW_SPEC)),
    one(3, "status", Ignored)
);
message!(
    PRECONDITIONS,
    "Preconditions",
    one(1, "uid", Text),
    one(2, "resourceVersion", Text)
);
message!(
    DELETE_OPTIONS,
    "DeleteOptions",
    one(1, "gracePeriodSeconds", SetInt),
    one(2, "preconditions", Of(&PRECONDITIONS)),
    one(3, "orphanDependents", SetBool),
    one(4, "propagationPolicy", Text),
    many(5, "dryRun", Text)
);
message!(
    EVICTION,
    "Eviction",
    one(1, "metadata", Of(&META)),
    one(2, "deleteOptions", Of(&DELETE_OPTIONS))
);

fn message_of(kind: &str) -> Option<&'static Message> {
    Some(match kind {
        "Namespace" => &NAMESPACE,
        "ConfigMap" => &CONFIG_MAP,
        "Secret" => &SECRET,
        "ServiceAccount" => &SERVICE_ACCOUNT,
        "Service" => &SERVICE,
        "Deployment" => &DEPLOYMENT,
        "Job" => &JOB,
        "Role" | "ClusterRole" => &ROLE,
        "RoleBinding" | "ClusterRoleBinding" => &BINDING,
        "PodDisruptionBudget" => &BUDGET,
        "PriorityClass" => &PRIORITY_CLASS,
        "SelfSubjectAccessReview" => &REVIEW,
        "Eviction" => &EVICTION,
        "DeleteOptions" => &DELETE_OPTIONS,
        _ => return None,
    })
}

/// One field as it lies in the bytes.
enum Raw<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

struct Reader<'a> {
    rest: &'a [u8],
    of: &'static str,
}

impl<'a> Reader<'a> {
    fn varint(&mut self) -> Result<u64, ProtobufError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self
                .rest
                .split_first()
                .ok_or(ProtobufError::Truncated(self.of))?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ProtobufError::Truncated(self.of))
    }

    fn next(&mut self) -> Result<Option<(u64, Raw<'a>)>, ProtobufError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let raw = match tag & 7 {
            0 => Raw::Varint(self.varint()?),
            2 => {
                let length = self.varint()? as usize;
                let (bytes, rest) = self
                    .rest
                    .split_at_checked(length)
                    .ok_or(ProtobufError::Truncated(self.of))?;
                self.rest = rest;
                Raw::Bytes(bytes)
            }
            _ => {
                return Err(ProtobufError::Field {
                    message: self.of,
                    number: tag >> 3,
                });
            }
        };
        Ok(Some((tag >> 3, raw)))
    }
}

fn fields<'a>(bytes: &'a [u8], of: &'static str) -> Result<Vec<(u64, Raw<'a>)>, ProtobufError> {
    let mut reader = Reader { rest: bytes, of };
    let mut out = Vec::new();
    while let Some(field) = reader.next()? {
        out.push(field);
    }
    Ok(out)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The bytes of a length-delimited field, empty when absent.
fn part<'a>(list: &[(u64, Raw<'a>)], wanted: u64) -> &'a [u8] {
    list.iter()
        .find_map(|(number, raw)| match raw {
            Raw::Bytes(bytes) if *number == wanted => Some(*bytes),
            _ => None,
        })
        .unwrap_or_default()
}

fn whole(list: &[(u64, Raw<'_>)], wanted: u64) -> i64 {
    list.iter()
        .find_map(|(number, raw)| match raw {
            Raw::Varint(value) if *number == wanted => Some(*value as i64),
            _ => None,
        })
        .unwrap_or_default()
}

fn message(of: &'static Message, bytes: &[u8]) -> Result<Map<String, Value>, ProtobufError> {
    let mut out = Map::new();
    for (number, raw) in fields(bytes, of.name)? {
        let Some(Field(_, name, repeated, holds)) =
            of.fields.iter().find(|field| field.0 == number)
        else {
            let empty = match raw {
                Raw::Varint(value) => value == 0,
                Raw::Bytes(bytes) => bytes.is_empty(),
            };
            if empty {
                continue;
            }
            return Err(ProtobufError::Field {
                message: of.name,
                number,
            });
        };
        match (holds, raw) {
            (TextMap | BytesMap | QuantityMap, Raw::Bytes(bytes)) => {
                let entry = fields(bytes, of.name)?;
                let value = part(&entry, 2);
                let value = match holds {
                    BytesMap => base64::engine::general_purpose::STANDARD.encode(value),
                    QuantityMap => text(part(&fields(value, "Quantity")?, 1)),
                    _ => text(value),
                };
                let map = out.entry(*name).or_insert_with(|| json!({}));
                map[text(part(&entry, 1))] = value.into();
            }
            (holds, raw) => {
                let Some(value) = single(*holds, raw, *repeated)? else {
                    continue;
                };
                if *repeated {
                    let list = out.entry(*name).or_insert_with(|| json!([]));
                    if let Some(list) = list.as_array_mut() {
                        list.push(value);
                    }
                } else {
                    out.insert((*name).to_owned(), value);
                }
            }
        }
    }
    Ok(out)
}

/// A single value; `None` when it means absent. Items of lists are never absent.
fn single(holds: Holds, raw: Raw<'_>, item: bool) -> Result<Option<Value>, ProtobufError> {
    Ok(match (holds, raw) {
        (Text, Raw::Bytes(bytes)) => (item || !bytes.is_empty()).then(|| text(bytes).into()),
        (Int, Raw::Varint(value)) => (value != 0).then(|| (value as i64).into()),
        (SetInt, Raw::Varint(value)) => Some((value as i64).into()),
        (Bool, Raw::Varint(value)) => (value != 0).then_some(Value::Bool(true)),
        (SetBool, Raw::Varint(value)) => Some(Value::Bool(value != 0)),
        (Of(inner), Raw::Bytes(bytes)) => {
            let value = message(inner, bytes)?;
            (item || !value.is_empty()).then(|| Value::from(value))
        }
        (IntOrString, Raw::Bytes(bytes)) => {
            let list = fields(bytes, "IntOrString")?;
            Some(if whole(&list, 1) == 1 {
                text(part(&list, 3)).into()
            } else {
                whole(&list, 2).into()
            })
        }
        _ => None,
    })
}

/// Decodes a request body of type `application/vnd.kubernetes.protobuf`.
pub(crate) fn decode(body: &[u8]) -> Result<Value, ProtobufError> {
    let envelope = body.strip_prefix(b"k8s\0").ok_or(ProtobufError::Prefix)?;
    let envelope = fields(envelope, "Unknown")?;
    let identity = fields(part(&envelope, 1), "TypeMeta")?;
    let (api_version, kind) = (text(part(&identity, 1)), text(part(&identity, 2)));
    let table = message_of(&kind).ok_or_else(|| ProtobufError::Kind(kind.clone()))?;
    let mut object = message(table, part(&envelope, 2))?;
    object.insert("apiVersion".to_owned(), api_version.into());
    object.insert("kind".to_owned(), kind.into());
    Ok(Value::from(object))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        out.extend_from_slice(bytes);
        out
    }

    fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let identity = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
        [b"k8s\0".to_vec(), field(1, &identity), field(2, raw)].concat()
    }

    #[test]
    fn objects_are_decoded_and_zero_values_left_out() {
        let meta = field(
            1,
            &[field(1, b"a"), field(2, b""), vec![7 << 3, 0]].concat(),
        );
        let data = field(2, &[field(1, b"k"), field(2, b"v")].concat());
        let raw = [meta, data].concat();
        assert_eq!(
            decode(&body("v1", "ConfigMap", &raw)).unwrap(),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}})
        );
        assert_eq!(
            decode(&body("v1", "Secret", &raw)).unwrap()["data"]["k"],
            json!("dg==")
        );
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        assert_eq!(decode(b"{}"), Err(ProtobufError::Prefix));
        let unknown = decode(&body("v1", "Pod", b""));
        assert_eq!(unknown, Err(ProtobufError::Kind("Pod".to_owned())));
        let extra = decode(&body("v1", "Namespace", &field(9, b"x")));
        assert_eq!(
            extra,
            Err(ProtobufError::Field {
                message: "Namespace",
                number: 9
            })
        );
        let mut cut = body("v1", "Namespace", &field(1, b"x"));
        cut.pop();
        assert!(matches!(decode(&cut), Err(ProtobufError::Truncated(_))));
    }
}
