//! Create, update and delete: the rules every write goes through before it is committed.
//!
//! Decides, from the stored object and what was sent, what is stored next; holds the store's lock
//! all the time, so that a write is one step. Patches end here too, as updates.

use std::sync::Arc;

use runtime::Randomness;
use serde_json::{Value, json};

use crate::{
    apply::{Writer, track_update},
    defaults, definitions,
    error::{ApiError, ApiResult, Cause},
    names,
    object::{
        at, drop_nulls, finalizers, generation, is_deleting, key_of, meta_mut, meta_str,
        set_finalizers, str_at,
    },
    registry::KindInfo,
    store::{Store, Stored},
    validate,
};

/// Asynchronous work that a write leaves for the collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// The owner with this uid is gone.
    OwnerGone(String),
    /// The owner with this uid waits for its dependents (foreground) or for losing them (orphan).
    Dependents(String),
    /// A new object names owners that may not exist.
    Owners(String, String),
    /// A namespace is terminating.
    Namespace(String),
    /// A CRD is terminating.
    Definition(String),
}

/// What a write works with.
pub(crate) struct WriteContext<'a> {
    pub(crate) manager: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) now: jiff::Timestamp,
    pub(crate) random: &'a Randomness,
    pub(crate) dry_run: bool,
    pub(crate) lenient: bool,
    pub(crate) field_validation: &'a str,
}

impl WriteContext<'_> {
    fn time(&self) -> String {
        crate::object::time(self.now)
    }
}

/// What a write resulted in.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) code: u16,
    pub(crate) object: Value,
    /// The version this write committed.
    pub(crate) rv: Option<u64>,
    pub(crate) warnings: Vec<String>,
}

impl Written {
    fn new(code: u16, object: Value, rv: Option<u64>) -> Self {
        Self {
            code,
            object,
            rv,
            warnings: Vec::new(),
        }
    }
}

/// How `metadata.managedFields` of an update come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// Derived from what changed.
    Tracked,
    /// Already written by an apply.
    Given,
}

/// Kinds whose `metadata.generation` counts changes of what is wanted.
pub(crate) fn counts_generation(kind: &KindInfo) -> bool {
    if !kind.builtin {
        return true;
    }
    match kind.group.as_str() {
        "" => matches!(kind.kind.as_str(), "Pod" | "ReplicationController"),
        "apps" => kind.kind != "ControllerRevision",
        "batch"
        | "policy"
        | "apiextensions.k8s.io"
        | "discovery.k8s.io"
        | "admissionregistration.k8s.io"
        | "scheduling.k8s.io" => true,
        _ => false,
    }
}

/// Kinds whose update must name the resourceVersion it is based on.
fn needs_version(kind: &KindInfo) -> bool {
    !kind.builtin
        || matches!(
            kind.kind.as_str(),
            "Lease" | "CustomResourceDefinition" | "PodDisruptionBudget"
        )
        || kind.group == "admissionregistration.k8s.io"
}

/// Kinds that an update creates when absent.
pub(crate) fn creates_on_update(kind: &KindInfo) -> bool {
    kind.builtin
        && (matches!(
            kind.kind.as_str(),
            "Lease" | "Event" | "Endpoints" | "PriorityClass"
        ) || kind.group == "rbac.authorization.k8s.io")
}

/// Checks that a body is of the kind that the URL names and fills the two fields when absent.
pub(crate) fn check_type(kind: &KindInfo, object: &mut Value) -> ApiResult<()> {
    if !object.is_object() {
        return Err(ApiError::bad_request(
            "the object provided is unrecognized (must be of type map)",
        ));
    }
    let api_version = kind.api_version();
    let sent = object["apiVersion"].as_str().unwrap_or_default();
    if !sent.is_empty() && sent != api_version {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({sent}) does not match the expected API version ({api_version})"
        )));
    }
    let sent = object["kind"].as_str().unwrap_or_default();
    if !sent.is_empty() && sent != kind.kind {
        return Err(ApiError::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: no kind {sent:?} is registered for version {api_version:?}",
            sent, kind.version, kind.kind
        )));
    }
    object["apiVersion"] = json!(api_version);
    object["kind"] = json!(kind.kind);
    if !object
        .get("metadata")
        .is_none_or(|meta| meta.is_object() || meta.is_null())
    {
        return Err(ApiError::bad_request("metadata must be an object"));
    }
    meta_mut(object);
    Ok(())
}

/// Prunes, defaults and validates; returns warnings about unknown fields.
fn admit(
    ctx: &WriteContext<'_>,
    kind: &KindInfo,
    object: &mut Value,
    old: Option<&Value>,
) -> ApiResult<Vec<String>> {
    let mut warnings = Vec::new();
    if kind.builtin {
        drop_nulls(object);
        if kind.kind == "Secret" {
            encode_string_data(object);
        }
        if definitions::is_definition(kind) {
            definitions::default(object);
        }
        defaults::fill(kind, object);
    }
    let mut causes = validate::check(kind, object, old, ctx.lenient);
    if let Some(schema) = &kind.schema {
        let unknown: Vec<String> = schema
            .prune(object)
            .iter()
            .map(|path| format!("unknown field \"{}\"", path.trim_start_matches('.')))
            .collect();
        if !unknown.is_empty() {
            match ctx.field_validation {
                "Strict" => {
                    return Err(ApiError::bad_request(format!(
                        "strict decoding error: {}",
                        unknown.join(", ")
                    )));
                }
                "Ignore" => {}
                _ => warnings = unknown,
            }
        }
        schema.default(object);
        causes.extend(schema.validate(object, old));
    }
    if causes.is_empty() {
        Ok(warnings)
    } else {
        Err(ApiError::invalid(kind, meta_str(object, "name"), &causes))
    }
}

fn encode_string_data(secret: &mut Value) {
    use base64::Engine as _;
    let Some(Value::Object(plain)) = crate::object::map_mut(secret).remove("stringData") else {
        return;
    };
    let data = crate::object::child_mut(crate::object::map_mut(secret), "data");
    for (key, value) in plain {
        let text = value.as_str().unwrap_or_default();
        let encoded = base64::engine::general_purpose::STANDARD.encode(text);
        data.insert(key, json!(encoded));
    }
}

/// Refuses objects in a namespace that is missing or terminating.
fn check_namespace(store: &Store, kind: &KindInfo, namespace: &str, name: &str) -> ApiResult<()> {
    if !kind.namespaced {
        return Ok(());
    }
    let Some(namespaces) = store.registry.get("", "v1", "namespaces") else {
        return Ok(());
    };
    let Some(found) = store.get(namespaces, "", namespace) else {
        return Err(ApiError::not_found(namespaces, namespace));
    };
    if found.deleting {
        let mut error = ApiError::forbidden(
            kind,
            name,
            &format!(
                "unable to create new content in namespace {namespace} because it is being terminated"
            ),
        );
        error.details["causes"] = json!([{
            "reason": "NamespaceTerminating",
            "message": format!("namespace {namespace} is being terminated"),
            "field": "metadata.namespace",
        }]);
        return Err(error);
    }
    Ok(())
}

/// Creates an object. `body` is in stored form; `managedFields` of an apply are kept.
pub(crate) fn create(
    store: &mut Store,
    ctx: &WriteContext<'_>,
    kind: &Arc<KindInfo>,
    namespace: &str,
    mut body: Value,
    ownership: Ownership,
) -> ApiResult<Written> {
    place(kind, namespace, &mut body)?;
    let name = match meta_str(&body, "name") {
        "" => {
            let base: String = meta_str(&body, "generateName").chars().take(58).collect();
            if base.is_empty() {
                String::new()
            } else {
                format!("{base}{}", names::random_suffix(ctx.random))
            }
        }
        name => name.to_owned(),
    };
    check_namespace(store, kind, namespace, &name)?;
    if !matches!(meta_str(&body, "resourceVersion"), "" | "0") {
        return Err(ApiError::new(
            500,
            "",
            "resourceVersion should not be set on objects to be created",
        ));
    }
    let given = at(&body, &["metadata", "managedFields"]).cloned();
    let meta = meta_mut(&mut body);
    for field in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "resourceVersion",
        "generation",
        "managedFields",
    ] {
        meta.remove(field);
    }
    if !name.is_empty() {
        meta.insert("name".to_owned(), json!(name));
    }
    meta.insert("uid".to_owned(), json!(ctx.random.uuid().to_string()));
    meta.insert("creationTimestamp".to_owned(), json!(ctx.time()));
    if counts_generation(kind) {
        meta.insert("generation".to_owned(), json!(1));
    }
    // A kubelet registers its Node with a status; every other status belongs to a controller.
    if kind.status
        && kind.kind != "Node"
        && let Some(map) = body.as_object_mut()
    {
        map.remove("status");
    }
    let warnings = admit(ctx, kind, &mut body, None)?;
    if kind.builtin {
        defaults::on_create(kind, &mut body);
        if kind.kind == "Namespace" {
            let labels = crate::object::child_mut(meta_mut(&mut body), "labels");
            labels.insert("kubernetes.io/metadata.name".to_owned(), json!(name));
        }
    }
    if store.get(kind, namespace, &name).is_some() {
        return Err(ApiError::already_exists(kind, &name));
    }
    if definitions::is_definition(kind) {
        definitions::establish(&mut body, &ctx.time());
    }
    match (ownership, given) {
        (Ownership::Given, Some(fields)) => {
            meta_mut(&mut body).insert("managedFields".to_owned(), fields);
        }
        _ => track_update(kind, None, &mut body, &writer(ctx, &ctx.time())),
    }
    let kinds = compiled(kind, &body)?;
    if ctx.dry_run {
        return Ok(Written {
            warnings,
            ..Written::new(201, body, None)
        });
    }
    if let Some(kinds) = kinds {
        definitions::register(&mut store.registry, &body, kinds);
    }
    let stored = store.put(kind, body);
    if stored
        .owners
        .iter()
        .any(|uid| !store.by_uid.contains_key(uid))
    {
        store
            .work
            .push(Work::Owners(kind.storage.clone(), stored.key.clone()));
    }
    Ok(Written {
        warnings,
        ..Written::new(201, stored.value(), Some(stored.rv))
    })
}

/// The kinds of a CRD about to be stored; `None` for every other object.
fn compiled(kind: &KindInfo, object: &Value) -> ApiResult<Option<Vec<KindInfo>>> {
    if !definitions::is_definition(kind) {
        return Ok(None);
    }
    definitions::kinds(object)
        .map(Some)
        .map_err(|causes| ApiError::invalid(kind, meta_str(object, "name"), &causes))
}

fn writer<'a>(ctx: &'a WriteContext<'_>, time: &'a str) -> Writer<'a> {
    Writer {
        manager: ctx.manager,
        subresource: ctx.subresource,
        time,
    }
}

/// Puts the object into the namespace of the URL, refusing a contradiction.
fn place(kind: &KindInfo, namespace: &str, body: &mut Value) -> ApiResult<()> {
    let sent = meta_str(body, "namespace");
    if !kind.namespaced {
        if !sent.is_empty() {
            return Err(ApiError::bad_request(
                "namespace is not allowed on a cluster-scoped resource",
            ));
        }
        return Ok(());
    }
    if namespace.is_empty() {
        return Err(ApiError::bad_request(
            "an empty namespace may not be set during creation",
        ));
    }
    if !sent.is_empty() && sent != namespace {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    meta_mut(body).insert("namespace".to_owned(), json!(namespace));
    Ok(())
}

/// Replaces an object by `incoming`, as far as the (sub)resource may change it.
pub(crate) fn update(
    store: &mut Store,
    ctx: &WriteContext<'_>,
    kind: &Arc<KindInfo>,
    namespace: &str,
    name: &str,
    mut incoming: Value,
    ownership: Ownership,
) -> ApiResult<Written> {
    match meta_str(&incoming, "name") {
        "" => {
            meta_mut(&mut incoming).insert("name".to_owned(), json!(name));
        }
        sent if sent != name => {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({sent}) does not match the name on the URL ({name})"
            )));
        }
        _ => {}
    }
    place(kind, namespace, &mut incoming)?;
    let Some(stored) = store.get(kind, namespace, name) else {
        if !creates_on_update(kind) || !ctx.subresource.is_empty() {
            return Err(ApiError::not_found(kind, name));
        }
        let uid = meta_str(&incoming, "uid");
        if !uid.is_empty() {
            return Err(stale_uid(kind, namespace, name, uid, ""));
        }
        meta_mut(&mut incoming).remove("resourceVersion");
        return create(store, ctx, kind, namespace, incoming, ownership);
    };
    let old = stored.value();
    let uid = meta_str(&incoming, "uid");
    if !uid.is_empty() && uid != stored.uid {
        return Err(stale_uid(kind, namespace, name, uid, &stored.uid));
    }
    match meta_str(&incoming, "resourceVersion") {
        "" | "0" if needs_version(kind) => {
            return Err(ApiError::invalid(
                kind,
                name,
                &[Cause::new(
                    "FieldValueInvalid",
                    "metadata.resourceVersion",
                    "Invalid value: 0x0: must be specified for an update",
                )],
            ));
        }
        "" | "0" => {}
        version => {
            if version.parse::<u64>().is_err() {
                return Err(ApiError::bad_request(format!(
                    "resourceVersion: Invalid value: {version:?}: strconv.ParseUint: parsing {version:?}: invalid syntax"
                )));
            }
            if version.parse() != Ok(stored.rv) {
                return Err(ApiError::modified(kind, name));
            }
        }
    }
    let mut new = isolate(ctx, kind, &old, incoming);
    restore_server_metadata(&old, &mut new, ownership);
    let warnings = admit(ctx, kind, &mut new, Some(&old))?;
    if definitions::is_definition(kind) && !is_deleting(&old) {
        definitions::establish(&mut new, &ctx.time());
    }
    if counts_generation(kind) && wants_change(kind, &old, &new) {
        let next = generation(&old) + 1;
        meta_mut(&mut new).insert("generation".to_owned(), json!(next));
    }
    if ownership == Ownership::Tracked {
        let time = ctx.time();
        track_update(kind, Some(&old), &mut new, &writer(ctx, &time));
    }
    let kinds = compiled(kind, &new)?;
    if new == old {
        return Ok(Written {
            warnings,
            ..Written::new(200, old, None)
        });
    }
    if ctx.dry_run {
        return Ok(Written {
            warnings,
            ..Written::new(200, new, None)
        });
    }
    if let Some(kinds) = kinds {
        definitions::register(&mut store.registry, &new, kinds);
    }
    let stored = commit(store, kind, new);
    Ok(Written {
        warnings,
        ..Written::new(200, stored.value(), Some(stored.rv))
    })
}

fn stale_uid(kind: &KindInfo, namespace: &str, name: &str, sent: &str, actual: &str) -> ApiError {
    ApiError::conflict(
        kind,
        name,
        &format!(
            "StorageError: invalid object, Code: 4, Key: /registry/{}/{}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {sent}, UID in object meta: {actual}",
            kind.plural,
            key_of(namespace, name)
        ),
    )
}

/// What of `incoming` this (sub)resource may change; the rest is the old object's.
fn isolate(ctx: &WriteContext<'_>, kind: &KindInfo, old: &Value, incoming: Value) -> Value {
    let carry = |new: &mut Value, from: &Value, field: &str| {
        let map = crate::object::map_mut(new);
        match from.get(field) {
            Some(value) => map.insert(field.to_owned(), value.clone()),
            None => map.remove(field),
        };
    };
    match ctx.subresource {
        "status" => {
            let mut new = old.clone();
            carry(&mut new, &incoming, "status");
            if kind.builtin {
                carry(&mut new, &incoming, "metadata");
                let owners = at(old, &["metadata", "ownerReferences"]).cloned();
                match owners {
                    Some(owners) => {
                        meta_mut(&mut new).insert("ownerReferences".to_owned(), owners);
                    }
                    None => {
                        meta_mut(&mut new).remove("ownerReferences");
                    }
                }
            }
            // An apply has computed ownership on the whole object.
            if let Some(fields) = at(&incoming, &["metadata", "managedFields"]) {
                meta_mut(&mut new).insert("managedFields".to_owned(), fields.clone());
            }
            new
        }
        "finalize" => {
            let mut new = old.clone();
            carry(&mut new, &incoming, "spec");
            new
        }
        _ => {
            let mut new = incoming;
            if kind.status {
                carry(&mut new, old, "status");
            }
            new
        }
    }
}

/// Puts back what clients cannot change in metadata.
fn restore_server_metadata(old: &Value, new: &mut Value, ownership: Ownership) {
    let fields: &[&str] = match ownership {
        Ownership::Given => &[],
        Ownership::Tracked => &["managedFields"],
    };
    let emptied = at(new, &["metadata", "managedFields"])
        .and_then(Value::as_array)
        .is_some_and(|list| list.is_empty() || list.iter().all(|entry| *entry == json!({})));
    let old_meta = old.get("metadata").cloned().unwrap_or_default();
    let meta = meta_mut(new);
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
        "selfLink",
    ]
    .iter()
    .chain(fields)
    {
        if *field == "managedFields" && emptied {
            continue;
        }
        match old_meta.get(*field) {
            Some(value) => {
                meta.insert((*field).to_owned(), value.clone());
            }
            None => {
                meta.remove(*field);
            }
        }
    }
    if !meta.contains_key("generateName")
        && let Some(base) = old_meta.get("generateName")
    {
        meta.insert("generateName".to_owned(), base.clone());
    }
    for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
        let empty = match meta.get(field) {
            Some(Value::Object(map)) => map.is_empty(),
            Some(Value::Array(list)) => list.is_empty(),
            Some(Value::Null) => true,
            _ => false,
        };
        if empty {
            meta.remove(field);
        }
    }
}

/// True when what is wanted changed: the spec of built-ins, everything but metadata (and an
/// isolated status) of custom resources.
fn wants_change(kind: &KindInfo, old: &Value, new: &Value) -> bool {
    if kind.builtin {
        let annotations = |object: &Value| at(object, &["metadata", "annotations"]).cloned();
        return old.get("spec") != new.get("spec")
            || kind.kind == "Deployment" && annotations(old) != annotations(new)
            || kind.group == "admissionregistration.k8s.io"
                && old.get("webhooks") != new.get("webhooks");
    }
    let wanted = |object: &Value| {
        let mut object = object.clone();
        if let Some(map) = object.as_object_mut() {
            map.remove("metadata");
            if kind.status {
                map.remove("status");
            }
        }
        object
    };
    wanted(old) != wanted(new)
}

/// Stores a changed object, or removes it when that completes its deletion.
pub(crate) fn commit(store: &mut Store, kind: &Arc<KindInfo>, new: Value) -> Arc<Stored> {
    let grace = at(&new, &["metadata", "deletionGracePeriodSeconds"])
        .and_then(Value::as_i64)
        .unwrap_or_default();
    let done = is_deleting(&new)
        && finalizers(&new).is_empty()
        && grace == 0
        && !holds_namespace(kind, &new);
    if done {
        return remove(store, kind, new);
    }
    let stored = store.put(kind, new);
    if stored.deleting
        && stored
            .finalizers
            .iter()
            .any(|name| name == "foregroundDeletion" || name == "orphan")
    {
        store.work.push(Work::Dependents(stored.uid.clone()));
    }
    stored
}

/// True while a namespace's own finalizers keep it.
fn holds_namespace(kind: &KindInfo, object: &Value) -> bool {
    kind.group.is_empty()
        && kind.kind == "Namespace"
        && at(object, &["spec", "finalizers"])
            .and_then(Value::as_array)
            .is_some_and(|list| !list.is_empty())
}

/// Removes an object for good and notes what follows from it.
fn remove(store: &mut Store, kind: &Arc<KindInfo>, last: Value) -> Arc<Stored> {
    if definitions::is_definition(kind) {
        definitions::unregister(&mut store.registry, &last);
    }
    let stored = store.remove(kind, last);
    if store.dependents.contains_key(&stored.uid) {
        store.work.push(Work::OwnerGone(stored.uid.clone()));
    }
    for owner in &stored.owners {
        if store.by_uid.contains_key(owner) {
            store.work.push(Work::Dependents(owner.clone()));
        }
    }
    if kind.namespaced
        && let Some(namespaces) = store.registry.get("", "v1", "namespaces").cloned()
        && store
            .get(&namespaces, "", &stored.namespace)
            .is_some_and(|namespace| namespace.deleting)
    {
        store.work.push(Work::Namespace(stored.namespace.clone()));
    }
    if !kind.builtin {
        let name = format!("{}.{}", kind.plural, kind.group);
        store.work.push(Work::Definition(name));
    }
    stored
}

/// Options of a delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeleteOptions {
    pub(crate) grace: Option<i64>,
    pub(crate) policy: Option<String>,
    pub(crate) uid: Option<String>,
    pub(crate) rv: Option<String>,
    pub(crate) dry_run: bool,
}

impl DeleteOptions {
    /// Reads a `DeleteOptions` body; null and absent fields are unset.
    pub(crate) fn from_body(body: &Value) -> ApiResult<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let policy = match text(&body["propagationPolicy"]) {
            Some(policy) if !["Background", "Foreground", "Orphan"].contains(&policy.as_str()) => {
                let mut error = ApiError::new(
                    422,
                    "Invalid",
                    format!(
                        "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: {policy:?}: supported values: \"Background\", \"Foreground\", \"Orphan\", \"nil\""
                    ),
                );
                error.details = json!({"group": "meta.k8s.io", "kind": "DeleteOptions"});
                return Err(error);
            }
            None if body["orphanDependents"] == json!(true) => Some("Orphan".to_owned()),
            policy => policy,
        };
        Ok(Self {
            grace: body["gracePeriodSeconds"].as_i64(),
            policy,
            uid: text(&body["preconditions"]["uid"]),
            rv: text(&body["preconditions"]["resourceVersion"]),
            dry_run: body["dryRun"]
                .as_array()
                .is_some_and(|list| list.contains(&json!("All"))),
        })
    }
}

/// Refuses when a precondition does not hold.
pub(crate) fn check_preconditions(
    kind: &KindInfo,
    stored: &Stored,
    options: &DeleteOptions,
) -> ApiResult<()> {
    if let Some(uid) = &options.uid
        && *uid != stored.uid
    {
        return Err(ApiError::precondition(
            kind,
            &stored.name,
            &format!(
                "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
                stored.uid
            ),
        ));
    }
    if let Some(rv) = &options.rv
        && *rv != stored.rv.to_string()
    {
        return Err(ApiError::precondition(
            kind,
            &stored.name,
            &format!(
                "the ResourceVersion in the precondition ({rv}) does not match the ResourceVersion in record ({}). The object might have been modified",
                stored.rv
            ),
        ));
    }
    Ok(())
}

/// Seconds a pod gets to stop: none when it runs nowhere.
fn pod_grace(pod: &Value, options: &DeleteOptions) -> i64 {
    let phase = str_at(pod, &["status", "phase"]);
    if str_at(pod, &["spec", "nodeName"]).is_empty() || phase == "Succeeded" || phase == "Failed" {
        return 0;
    }
    let wanted = options
        .grace
        .or_else(|| at(pod, &["spec", "terminationGracePeriodSeconds"])?.as_i64())
        .unwrap_or(30);
    // Negative values mean "at once", as Kubernetes treats them.
    if wanted < 0 { 1 } else { wanted }
}

/// Deletes an object, or marks it when finalizers or a grace period keep it.
pub(crate) fn delete(
    store: &mut Store,
    ctx: &WriteContext<'_>,
    kind: &Arc<KindInfo>,
    namespace: &str,
    name: &str,
    options: &DeleteOptions,
) -> ApiResult<Written> {
    let dry_run = ctx.dry_run || options.dry_run;
    let Some(stored) = store.get(kind, namespace, name) else {
        return Err(ApiError::not_found(kind, name));
    };
    check_preconditions(kind, &stored, options)?;
    let old = stored.value();
    let mut new = old.clone();
    let mut list = finalizers(&new);
    if let Some(policy) = options.policy.as_deref() {
        list.retain(|name| name != "foregroundDeletion" && name != "orphan");
        match policy {
            "Foreground" => list.push("foregroundDeletion".to_owned()),
            "Orphan" => list.push("orphan".to_owned()),
            _ => {}
        }
        set_finalizers(&mut new, &list);
    }
    let is_pod = kind.group.is_empty() && kind.kind == "Pod";
    let grace = if is_pod { pod_grace(&new, options) } else { 0 };
    let keeps = !list.is_empty() || grace > 0 || holds_namespace(kind, &new);
    if !keeps {
        if dry_run {
            return Ok(deleted(kind, is_pod, &old, None));
        }
        if is_pod {
            meta_mut(&mut new).insert("deletionGracePeriodSeconds".to_owned(), json!(0));
            let time = ctx.time();
            meta_mut(&mut new)
                .entry("deletionTimestamp")
                .or_insert(json!(time));
        }
        let last = remove(store, kind, new);
        return Ok(deleted(kind, is_pod, &last.value(), Some(last.rv)));
    }
    let before = at(&old, &["metadata", "deletionGracePeriodSeconds"]).and_then(Value::as_i64);
    // Asking again can only shorten the time a pod has left.
    let mark = !stored.deleting
        || (is_pod && options.grace.is_some() && before.is_some_and(|before| grace < before));
    if mark {
        let at = ctx
            .now
            .saturating_add(jiff::SignedDuration::from_secs(grace))
            .unwrap_or(ctx.now);
        let next = generation(&new) + 1;
        let had_generation = generation(&new) > 0;
        let meta = meta_mut(&mut new);
        meta.insert(
            "deletionTimestamp".to_owned(),
            json!(crate::object::time(at)),
        );
        meta.insert("deletionGracePeriodSeconds".to_owned(), json!(grace));
        if had_generation && !stored.deleting {
            meta.insert("generation".to_owned(), json!(next));
        }
        if kind.group.is_empty() && kind.kind == "Namespace" {
            crate::object::set_at(&mut new, &["status", "phase"], json!("Terminating"));
        }
    }
    if dry_run || new == old {
        return Ok(Written::new(200, new, None));
    }
    let stored = commit(store, kind, new);
    if kind.group.is_empty() && kind.kind == "Namespace" {
        store.work.push(Work::Namespace(stored.name.clone()));
    }
    if definitions::is_definition(kind) {
        store.work.push(Work::Definition(stored.name.clone()));
    }
    Ok(Written::new(200, stored.value(), Some(stored.rv)))
}

/// The answer to a completed delete: the object of pods, a Status of everything else.
fn deleted(kind: &KindInfo, returns_object: bool, last: &Value, rv: Option<u64>) -> Written {
    if returns_object || kind.kind == "ServiceAccount" || kind.kind == "PersistentVolumeClaim" {
        return Written::new(200, last.clone(), rv);
    }
    let mut details = json!({
        "name": meta_str(last, "name"),
        "kind": kind.plural,
        "uid": meta_str(last, "uid"),
    });
    if !kind.group.is_empty() {
        details["group"] = json!(kind.group);
    }
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
    });
    Written::new(200, status, rv)
}
