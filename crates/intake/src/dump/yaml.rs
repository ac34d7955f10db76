//! YAML: documents one by one, and the items of a list one by one, each held whole only while it
//! is decoded.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use super::{
    DumpError, MOST_BYTES,
    assemble::Assembly,
    item::{Identity, Item, known},
    problem::Fault,
};

/// Reads all documents.
pub(super) fn read(mut bytes: &[u8], assembly: &mut Assembly) -> Result<(), DumpError> {
    // Documents are as large as clusters; what can grow beyond the text itself stays bounded.
    let most = usize::try_from(MOST_BYTES).unwrap_or(usize::MAX);
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_reader_input_bytes: None,
            max_events: most,
            max_nodes: most,
            max_total_scalar_bytes: most,
        },
    };
    for document in serde_saphyr::read_with_options::<_, Document>(&mut bytes, options) {
        match document.map_err(|error| not_yaml(&error))? {
            Document::Other(what) => return Err(DumpError::NotAnObject { what }),
            Document::Object(object) => decode(&Value::Object(object), None, assembly)?,
            Document::List { head, items } => {
                let identity = Identity::deserialize(Value::Object(head)).unwrap_or_default();
                let kind = identity.kind.as_deref();
                let of = kind
                    .and_then(|kind| kind.strip_suffix("List"))
                    .filter(|kind| !kind.is_empty())
                    .map(|kind| (identity.api_version.as_deref(), kind));
                for item in items {
                    match item {
                        Element::Decoded(item) => assembly.add(item)?,
                        Element::Whole(object) => decode(&object, of, assembly)?,
                    }
                }
            }
        }
    }
    Ok(())
}

/// The first line of what the reader says; the others repeat the text.
fn not_yaml(error: &serde_saphyr::Error) -> DumpError {
    let text = error.to_string();
    let what = text.lines().next().unwrap_or_default();
    DumpError::NotYaml {
        what: what.trim_start_matches("error: ").to_owned(),
    }
}

/// One document.
enum Document {
    /// A list: what stands beside its items, and them.
    List {
        head: Map<String, Value>,
        items: Vec<Element>,
    },
    Object(Map<String, Value>),
    Other(&'static str),
}

/// One item of a list.
enum Element {
    Decoded(Item),
    /// One that is wrong, or whose kind may stand at the list.
    Whole(Value),
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let identity = Identity::deserialize(&value).unwrap_or_default();
        let Some(name) = identity.kind else {
            return Ok(Self::Whole(value));
        };
        Ok(match known(identity.api_version.as_deref(), &name) {
            Some(kind) => match Item::of(kind, &value) {
                Ok(item) => Self::Decoded(item),
                Err(_) => Self::Whole(value),
            },
            None => Self::Decoded(Item::Unknown(name)),
        })
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Document;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a Kubernetes object or list")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
                let mut head = Map::new();
                let mut items = None;
                while let Some(key) = map.next_key::<String>()? {
                    if key == "items" {
                        match map.next_value::<Items>()? {
                            Items::All(all) => items = Some(all),
                            Items::Other(value) => {
                                head.insert(key, value);
                            }
                        }
                    } else {
                        head.insert(key, map.next_value()?);
                    }
                }
                Ok(match items {
                    Some(items) => Document::List { head, items },
                    None => Document::Object(head),
                })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Document, A::Error> {
                while list.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                Ok(Document::Other("a sequence"))
            }

            fn visit_str<E>(self, _: &str) -> Result<Document, E> {
                Ok(Document::Other("text"))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Document, E> {
                Ok(Document::Other("a truth value"))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Document, E> {
                Ok(Document::Other("a number"))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Document, E> {
                Ok(Document::Other("a number"))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Document, E> {
                Ok(Document::Other("a number"))
            }

            fn visit_unit<E>(self) -> Result<Document, E> {
                Ok(Document::Other("nothing"))
            }
        }

        deserializer.deserialize_any(Fields)
    }
}

/// What stands under `items`.
enum Items {
    All(Vec<Element>),
    Other(Value),
}

impl<'de> Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Items;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of objects")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Items, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Items::All(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Items, A::Error> {
                Value::deserialize(serde::de::value::MapAccessDeserializer::new(map))
                    .map(Items::Other)
            }

            fn visit_str<E>(self, text: &str) -> Result<Items, E> {
                Ok(Items::Other(Value::from(text)))
            }

            fn visit_unit<E>(self) -> Result<Items, E> {
                Ok(Items::Other(Value::Null))
            }
        }

        deserializer.deserialize_any(List)
    }
}

/// One whole object; `of` is what its list says it is.
fn decode(
    object: &Value,
    of: Option<(Option<&str>, &str)>,
    assembly: &mut Assembly,
) -> Result<(), DumpError> {
    let mut identity = Identity::deserialize(object).unwrap_or_default();
    let (version, kind) = match (&identity.kind, of) {
        (Some(kind), _) => (identity.api_version.as_deref(), kind.as_str()),
        (None, Some(of)) => of,
        (None, None) => {
            assembly.note(identity, Fault::NoKind);
            return Ok(());
        }
    };
    match known(version, kind) {
        None => assembly.add(Item::Unknown(kind.to_owned())),
        Some(known) => {
            let mut track = serde_path_to_error::Track::new();
            match Item::of(
                known,
                serde_path_to_error::Deserializer::new(object, &mut track),
            ) {
                Ok(item) => assembly.add(item),
                Err(error) => {
                    identity.kind = Some(kind.to_owned());
                    assembly.note(
                        identity,
                        Fault::undecodable(&track.path().to_string(), error.to_string()),
                    );
                    Ok(())
                }
            }
        }
    }
}
