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
    event_view, names,
    object::{
        at, drop_nulls, finalizers, generation, is_deleting, key_of, meta_mut, meta_str,
        set_finalizers, str_at,
    },
    registry::KindInfo,
    store::{Store, Stored},
    typed, validate,
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
    /// With warnings in front of its own.
    pub(crate) fn warning(mut self, mut warnings: Vec<String>) -> Self {
        warnings.append(&mut self.warnings);
        Self { warnings, ..self }
    }

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
    let version = object["apiVersion"].as_str().unwrap_or_default().to_owned();
    let sent = object["kind"].as_str().unwrap_or_default().to_owned();
    let other_version = !version.is_empty() && version != api_version;
    let other_kind = !sent.is_empty() && sent != kind.kind;
    if kind.builtin && (other_version || other_kind) {
        return Err(other_type(&version, &sent, &api_version, &kind.kind));
    }
    if other_version {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({api_version})"
        )));
    }
    if other_kind {
        let why = format!("must be {}", kind.kind);
        let causes = [Cause::invalid("kind", &json!(sent), &why)];
        let mut error = ApiError::invalid(kind, meta_str(object, "name"), &causes);
        error.message = error.message.replacen(&kind.kind, &sent, 1);
        error.details["kind"] = json!(sent);
        return Err(error);
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

fn other_type(version: &str, kind: &str, wanted_version: &str, wanted: &str) -> ApiError {
    let version = if version.is_empty() {
        wanted_version
    } else {
        version
    };
    let kind = if kind.is_empty() { wanted } else { kind };
    let short = version.rsplit('/').next().unwrap_or(version);
    ApiError::bad_request(format!(
        "{kind} in version {short:?} cannot be handled as a {wanted}: no kind {kind:?} is registered for version {version:?} in scheme \"pkg/runtime/scheme.go:111\""
    ))
}

/// A body that must be of a kind which is not the URL's own, such as an Eviction.
pub(crate) fn of_kind(api_version: &str, kind: &str, body: Value) -> ApiResult<Value> {
    let version = body["apiVersion"].as_str().unwrap_or_default();
    let sent = body["kind"].as_str().unwrap_or_default();
    if !matches!(sent, "") && sent != kind {
        return Err(other_type(version, sent, api_version, kind));
    }
    Ok(body)
}

/// Prunes, defaults and validates; returns warnings about unknown fields.
fn admit(
    ctx: &WriteContext<'_>,
    kind: &KindInfo,
    object: &mut Value,
    old: Option<&Value>,
) -> ApiResult<()> {
    if kind.builtin {
        drop_nulls(object);
        if kind.kind == "Secret" {
            encode_string_data(object);
        }
        if definitions::is_definition(kind) {
            definitions::default(object);
        }
        defaults::fill(kind, object);
        typed::fill_always(kind, object);
    }
    let mut causes = validate::check(kind, object, old, ctx.lenient);
    if let Some(schema) = &kind.schema {
        schema.prune(object);
        schema.default(object);
        causes.extend(schema.validate(object, old));
        if let Some(paths) = &kind.scale {
            let names: Vec<&str> = paths.spec_replicas.iter().map(String::as_str).collect();
            if let Some(count) =
                at(object, &names).filter(|it| it.as_i64().is_some_and(|it| it < 0))
            {
                let path = format!(".{}", names.join("."));
                causes.push(Cause::invalid(
                    path,
                    count,
                    "should be a non-negative integer",
                ));
            }
        }
    }
    if causes.is_empty() {
        Ok(())
    } else {
        let mut error = ApiError::invalid(kind, meta_str(object, "name"), &causes);
        if event_view::is_view(kind) {
            // An event is wrong as what it is stored as.
            error.message = error.message.replacen(".events.k8s.io", "", 1);
            if let Some(details) = error.details.as_object_mut() {
                details.remove("group");
            }
        }
        Err(error)
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
    let generated = meta_str(&body, "name").is_empty();
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
    if let Err(mut error) = admit(ctx, kind, &mut body, None) {
        // Who asked for a made-up name did not choose it.
        if generated
            && name.is_empty()
            && let Some(details) = error.details.as_object_mut()
        {
            details.remove("name");
        }
        return Err(error);
    }
    if let Some(existing) = store.get(kind, namespace, &name) {
        let mut error = ApiError::already_exists(kind, &name);
        if existing.deleting {
            error.message = format!("object is being deleted: {}", error.message);
        }
        return Err(error);
    }
    if definitions::is_definition(kind) {
        definitions::establish(&mut body, &ctx.time());
    }
    if kind.builtin && kind.kind == "Namespace" {
        let labels = crate::object::child_mut(meta_mut(&mut body), "labels");
        labels.insert("kubernetes.io/metadata.name".to_owned(), json!(name));
    }
    if let (Ownership::Given, Some(fields)) = (ownership, given) {
        meta_mut(&mut body).insert("managedFields".to_owned(), fields);
    } else {
        // The status belongs to another endpoint; a Node keeps it, unowned.
        let status = kind
            .status
            .then(|| crate::object::map_mut(&mut body).remove("status"))
            .flatten();
        track_update(kind, None, &mut body, &writer(ctx, &ctx.time()));
        if let Some(status) = status {
            crate::object::map_mut(&mut body).insert("status".to_owned(), status);
        }
    }
    if kind.builtin {
        priority(store, kind, &mut body)?;
        defaults::on_create(kind, &mut body, &ctx.time());
    }
    let kinds = compiled(kind, &body)?;
    if ctx.dry_run {
        return Ok(Written::new(201, body, None));
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
    Ok(Written::new(201, stored.value(), Some(stored.rv)))
}

/// Resolves the priority class of a new pod.
fn priority(store: &Store, kind: &KindInfo, pod: &mut Value) -> ApiResult<()> {
    let class = str_at(pod, &["spec", "priorityClassName"]).to_owned();
    if !kind.group.is_empty() || kind.kind != "Pod" || class.is_empty() {
        return Ok(());
    }
    let (value, preemption) = match class.as_str() {
        "system-cluster-critical" => (json!(2_000_000_000), None),
        "system-node-critical" => (json!(2_000_001_000), None),
        _ => {
            let classes = store
                .registry
                .get("scheduling.k8s.io", "v1", "priorityclasses");
            let Some(found) = classes.and_then(|classes| store.get(classes, "", &class)) else {
                let why = format!("no PriorityClass with name {class} was found");
                return Err(ApiError::forbidden(kind, meta_str(pod, "name"), &why));
            };
            let found = found.value();
            let preemption = found.get("preemptionPolicy").cloned();
            (found["value"].clone(), preemption)
        }
    };
    crate::object::set_at(pod, &["spec", "priority"], value);
    if let Some(policy) = preemption {
        crate::object::set_at(pod, &["spec", "preemptionPolicy"], policy);
    }
    Ok(())
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
            meta_mut(body).remove("namespace");
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
            return Err(unversioned(kind, name));
        }
        "" | "0" => {}
        version => {
            if version.parse::<u64>().is_err() {
                return Err(ApiError::new(
                    500,
                    "",
                    format!("strconv.ParseUint: parsing {version:?}: invalid syntax"),
                ));
            }
            if version.parse() != Ok(stored.rv) {
                return Err(ApiError::modified(kind, name));
            }
        }
    }
    let marked = meta_str(&incoming, "deletionTimestamp");
    if !marked.is_empty() && marked != meta_str(&old, "deletionTimestamp") {
        let path = "metadata.deletionTimestamp";
        let causes = [Cause::invalid(path, &json!(marked), "field is immutable")];
        return Err(ApiError::invalid(kind, name, &causes));
    }
    let mut new = isolate(ctx, kind, &old, incoming);
    restore_server_metadata(&old, &mut new, ownership);
    admit(ctx, kind, &mut new, Some(&old))?;
    if definitions::is_definition(kind) && !is_deleting(&old) {
        definitions::establish(&mut new, &ctx.time());
    }
    if counts_generation(kind) && wants_change(kind, &old, &new) {
        let next = generation(&old) + 1;
        meta_mut(&mut new).insert("generation".to_owned(), json!(next));
    }
    if ownership == Ownership::Tracked {
        // Who scales owns the count without a time.
        let time = match ctx.subresource {
            "scale" => String::new(),
            _ => ctx.time(),
        };
        track_update(kind, Some(&old), &mut new, &writer(ctx, &time));
    }
    let kinds = compiled(kind, &new)?;
    if new == old {
        return Ok(Written::new(200, old, None));
    }
    if ctx.dry_run {
        return Ok(Written::new(200, new, None));
    }
    if let Some(kinds) = kinds {
        definitions::register(&mut store.registry, &new, kinds);
    }
    if ends(kind, &new) {
        // Nothing is written but the removal of what was stored: watches see that, the writer
        // what it asked for, under the version before.
        let removed = remove(store, kind, old);
        return Ok(Written::new(200, new, Some(removed.rv)));
    }
    let stored = commit(store, kind, new);
    Ok(Written::new(200, stored.value(), Some(stored.rv)))
}

/// An update without the version that it is based on.
fn unversioned(kind: &KindInfo, name: &str) -> ApiError {
    let cause = |shown: &str| {
        Cause::new(
            "FieldValueInvalid",
            "metadata.resourceVersion",
            format!("Invalid value: {shown}: must be specified for an update"),
        )
    };
    let mut error = ApiError::invalid(kind, name, &[cause("0")]);
    // Objects are named by their resource here.
    let resource = kind.qualified_resource();
    error.message = error.message.replacen(&kind.qualified_kind(), &resource, 1);
    error.details["kind"] = json!(kind.plural);
    error
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
    if ends(kind, &new) {
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

/// True when nothing keeps a marked object any more.
fn ends(kind: &KindInfo, object: &Value) -> bool {
    let grace = at(object, &["metadata", "deletionGracePeriodSeconds"])
        .and_then(Value::as_i64)
        .unwrap_or_default();
    is_deleting(object)
        && finalizers(object).is_empty()
        && grace == 0
        && !holds_namespace(kind, object)
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
                let known = ["Foreground", "Background", "Orphan", "nil"];
                let cause = Cause::unsupported("propagationPolicy", &json!(policy), &known);
                return Err(ApiError::invalid_options("DeleteOptions", &[cause]));
            }
            Some(policy) if !body["orphanDependents"].is_null() => {
                let why = "orphanDependents and deletionPropagation cannot be both set";
                let cause = Cause::invalid("propagationPolicy", &json!(policy), why);
                return Err(ApiError::invalid_options("DeleteOptions", &[cause]));
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
    let system = ["default", "kube-system", "kube-public"].contains(&name);
    if kind.group.is_empty() && kind.kind == "Namespace" && system {
        let why = "this namespace may not be deleted";
        return Err(ApiError::forbidden(kind, name, why));
    }
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
            if !stored.deleting {
                let next = generation(&new) + 1;
                meta_mut(&mut new).insert("generation".to_owned(), json!(next));
            }
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
        if !(kind.group.is_empty() && kind.kind == "Namespace") {
            meta.insert("deletionGracePeriodSeconds".to_owned(), json!(grace));
        }
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
