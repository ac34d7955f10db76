//! The rows without any stream: objects in, surroundings out.

use intake::dump::Dump;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

#[derive(Default)]
struct Held {
    rows: Rows,
    texts: Texts,
}

impl Held {
    /// As a list of everything tells of it.
    fn of(objects: &[Value]) -> Self {
        let mut held = Self::default();
        for object in objects {
            assert!(held.put(object), "{object}");
        }
        held
    }

    fn put(&mut self, object: &Value) -> bool {
        self.tell(object, &PUT)
    }

    fn remove(&mut self, object: &Value) -> bool {
        self.tell(object, &REMOVE)
    }

    fn tell(&mut self, object: &Value, how: &Told) -> bool {
        match object["kind"].as_str().unwrap() {
            "Namespace" => how.tell::<NamespaceView>(self, object),
            "PersistentVolumeClaim" => how.tell::<ClaimView>(self, object),
            "PersistentVolume" => how.tell::<VolumeView>(self, object),
            "StorageClass" => how.tell::<ClassView>(self, object),
            "CSINode" => how.tell::<CsiNodeView>(self, object),
            "CSIDriver" => how.tell::<DriverView>(self, object),
            "CSIStorageCapacity" => how.tell::<CapacityView>(self, object),
            "VolumeAttachment" => how.tell::<AttachmentView>(self, object),
            other => panic!("{other}"),
        }
    }
}

struct Told {
    gone: bool,
}

const PUT: Told = Told { gone: false };
const REMOVE: Told = Told { gone: true };

impl Told {
    fn tell<E: Entry + DeserializeOwned>(&self, held: &mut Held, object: &Value) -> bool {
        let view: E = serde_json::from_value(object.clone()).unwrap();
        if self.gone {
            held.rows.remove(&view, &mut held.texts)
        } else {
            held.rows.put(&view, &mut held.texts)
        }
    }
}

fn object(api: &str, kind: &str, name: &str, own: Value) -> Value {
    let mut object = json!({"apiVersion": api, "kind": kind, "metadata": {"name": name}});
    let (Value::Object(object), Value::Object(own)) = (&mut object, own) else {
        panic!("objects have fields");
    };
    if ["PersistentVolumeClaim", "CSIStorageCapacity"].contains(&kind) {
        object["metadata"]["namespace"] = json!("web");
    }
    if let Some(Value::Object(meta)) = own.get("metadata") {
        let place = object["metadata"].as_object_mut().unwrap();
        place.extend(meta.clone());
    }
    object.extend(own.into_iter().filter(|(key, _)| key != "metadata"));
    Value::Object(std::mem::take(object))
}

const STORAGE: &str = "storage.k8s.io/v1";

/// One object of each kind, and the same one changed.
fn pairs() -> Vec<(Kind, Value, Value)> {
    let of = |kind, api, named: &str, name, before, after| {
        (
            kind,
            object(api, named, name, before),
            object(api, named, name, after),
        )
    };
    let csi = |handle: &str, zone: &str| {
        json!({"metadata": {"labels": {"zone": zone}}, "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "csi": {"driver": "csi.example.com", "volumeHandle": handle},
            "claimRef": {"namespace": "web", "name": "data", "uid": "u"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "zone", "operator": "In", "values": [zone]}]}]}}}})
    };
    let claim = |size: &str| {
        json!({"metadata": {"uid": "u", "annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
            "spec": {"volumeName": "pv", "storageClassName": "fast",
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}})
    };
    let drivers = |count: i64, plugins: &str| {
        json!({"metadata": {"annotations": {
                "storage.alpha.kubernetes.io/migrated-plugins": plugins}},
            "spec": {"drivers": [{"name": "csi.example.com", "nodeID": "n",
                "allocatable": {"count": count}}]}})
    };
    let attached = |node: &str| {
        json!({"spec": {"attacher": "csi.example.com", "nodeName": node,
            "source": {"persistentVolumeName": "pv"}}})
    };
    let capacity = |amount: &str| {
        json!({"storageClassName": "fast", "capacity": amount,
            "nodeTopology": {"matchLabels": {"zone": "a"}}})
    };
    let class = |mode: &str| json!({"provisioner": "csi.example.com", "volumeBindingMode": mode});
    let team = |name: &str| json!({"metadata": {"labels": {"team": name}}});
    vec![
        of(
            Kind::Namespaces,
            "v1",
            "Namespace",
            "web",
            team("a"),
            team("b"),
        ),
        of(
            Kind::PersistentVolumeClaims,
            "v1",
            "PersistentVolumeClaim",
            "data",
            claim("1Gi"),
            claim("2Gi"),
        ),
        of(
            Kind::PersistentVolumes,
            "v1",
            "PersistentVolume",
            "pv",
            csi("h1", "a"),
            csi("h2", "b"),
        ),
        of(
            Kind::StorageClasses,
            STORAGE,
            "StorageClass",
            "fast",
            class("Immediate"),
            class("WaitForFirstConsumer"),
        ),
        of(
            Kind::CSINodes,
            STORAGE,
            "CSINode",
            "n1",
            drivers(8, ""),
            drivers(8, "kubernetes.io/cinder"),
        ),
        of(
            Kind::CSIDrivers,
            STORAGE,
            "CSIDriver",
            "csi.example.com",
            json!({"spec": {"storageCapacity": true}}),
            json!({"spec": {"storageCapacity": false}}),
        ),
        of(
            Kind::CSIStorageCapacities,
            STORAGE,
            "CSIStorageCapacity",
            "c",
            capacity("10Gi"),
            capacity("9Gi"),
        ),
        of(
            Kind::VolumeAttachments,
            STORAGE,
            "VolumeAttachment",
            "va",
            attached("n1"),
            attached("n2"),
        ),
    ]
}

fn dumped(objects: &[Value]) -> Surroundings {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    let dump = Dump::from_slice(list.to_string().as_bytes()).unwrap();
    assert!(dump.problems.is_empty(), "{:?}", dump.problems);
    dump.surroundings
}

fn before() -> Vec<Value> {
    pairs().into_iter().map(|(_, before, _)| before).collect()
}

/// What a dump of the same objects gives is what each must become.
#[test]
fn each_kind_that_comes_changes_or_goes_shows_as_a_dump_would_show_it() {
    let mut held = Held::of(&before());
    assert_eq!(*held.rows.read(), dumped(&before()));
    for (index, (kind, before_change, after)) in pairs().into_iter().enumerate() {
        let mut all = before();
        if kind == Kind::VolumeAttachments {
            // Its spec is fixed (API validation): what differs is another one.
            held.remove(&before_change);
        }
        assert!(held.put(&after), "{kind:?}");
        all[index] = after.clone();
        assert_eq!(*held.rows.read(), dumped(&all), "{kind:?} changed");

        held.remove(&after);
        all.remove(index);
        assert_eq!(*held.rows.read(), dumped(&all), "{kind:?} went");
        assert_eq!(held.rows.count(kind), 0, "{kind:?}");

        assert!(held.put(&before_change), "{kind:?}");
        assert_eq!(held.rows.count(kind), 1, "{kind:?}");
        assert_eq!(*held.rows.read(), dumped(&before()), "{kind:?} came back");
    }
}

#[test]
fn what_changes_nothing_that_decides_is_no_news_and_leaves_the_value_alone() {
    let mut held = Held::of(&before());
    let value = held.rows.read();
    for mut same in before() {
        same["metadata"]["resourceVersion"] = json!("77");
        same["metadata"]["annotations"]["example.com/seen"] = json!("now");
        assert!(!held.put(&same), "{same}");
    }
    assert!(Arc::ptr_eq(&value, &held.rows.read()));
}

#[test]
fn a_reader_keeps_the_value_it_has_when_rows_change() {
    let mut held = Held::of(&before());
    let value = held.rows.read();
    for (kind, before, after) in pairs() {
        held.put(&after);
        assert_eq!(*value, dumped(&self::before()), "{kind:?}");
        held.remove(&before);
    }
    assert_eq!(*value, dumped(&before()));
    assert_eq!(*held.rows.read(), Surroundings::default());
}

#[test]
fn a_list_drops_what_it_does_not_tell_of_and_nothing_of_another_kind() {
    for (kind, object, _) in pairs() {
        let mut held = Held::of(&before());
        let other = if kind == Kind::Namespaces {
            Kind::StorageClasses
        } else {
            Kind::Namespaces
        };
        held.rows.begin(kind);
        held.put(&object);
        held.rows.sweep(kind);
        assert_eq!(held.rows.count(kind), 1, "{kind:?} was told of");

        held.rows.begin(kind);
        assert_eq!(
            held.rows.count(kind),
            1,
            "{kind:?} until the list is complete"
        );
        held.rows.sweep(kind);
        assert_eq!(held.rows.count(kind), 0, "{kind:?}");
        assert_eq!(held.rows.count(other), 1, "{kind:?}");
        let left: Vec<Value> = before().into_iter().filter(|o| *o != object).collect();
        assert_eq!(*held.rows.read(), dumped(&left), "{kind:?}");
    }
}

#[test]
fn an_attachment_counts_from_when_its_volume_is_known() {
    let mut held = Held::default();
    let (volume, attachment) = (&before()[2], &before()[7]);
    held.put(attachment);
    assert!(held.rows.read().storage.attached.is_empty());
    held.put(volume);
    assert_eq!(held.rows.read().storage.attached.len(), 1);
    held.remove(volume);
    assert!(held.rows.read().storage.attached.is_empty());
}

#[test]
fn an_amount_that_cannot_be_read_fits_nothing_and_is_no_reason_to_stop() {
    let mut held = Held::default();
    let mut claim = before()[1].clone();
    claim["spec"]["resources"]["requests"]["storage"] = json!("lots");
    assert!(held.put(&claim));
    let value = held.rows.read();
    let requested = value.storage.claims.values().map(|claim| claim.requested);
    assert_eq!(requested.collect::<Vec<_>>(), [i64::MAX]);
}

#[test]
fn what_names_the_same_thing_is_held_once() {
    let mut held = Held::of(&before());
    let value = held.rows.read();
    let (key, claim) = value.storage.claims.first_key_value().unwrap();
    let (name, volume) = value.storage.volumes.first_key_value().unwrap();
    assert!(Arc::ptr_eq(claim.volume.as_ref().unwrap(), name));
    let reference = volume.claim.as_ref().unwrap();
    assert!(Arc::ptr_eq(&reference.name, &key.1));
    assert!(Arc::ptr_eq(&reference.namespace, &key.0));
    let namespace = value.namespaces.first_key_value().unwrap().0;
    assert!(Arc::ptr_eq(namespace, &key.0));
}

#[test]
fn texts_nothing_uses_any_more_are_forgotten_without_a_list() {
    let mut held = Held::default();
    for number in 0..20_000 {
        let own = json!({"spec": {"volumeName": format!("pv-{number}")}});
        let claim = object("v1", "PersistentVolumeClaim", &format!("c-{number}"), own);
        held.put(&claim);
        held.remove(&claim);
    }
    assert!(held.texts.len() < 5000, "{}", held.texts.len());
}
