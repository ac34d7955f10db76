//! An object of a manifest, its name, and the fields that every workload has.

use serde_json::Value;

use super::{ManifestError, text};

/// An object and its name.
pub(super) struct Named<'a> {
    pub(super) object: &'a Value,
    pub(super) namespace: &'a str,
    pub(super) name: String,
    /// As errors call it.
    pub(super) called: String,
}

impl<'a> Named<'a> {
    pub(super) fn of(object: &'a Value) -> Result<Self, ManifestError> {
        let kind = text(object, "/kind");
        let namespace = match text(object, "/metadata/namespace") {
            "" => "default",
            namespace => namespace,
        };
        let name = match text(object, "/metadata/name") {
            "" => match text(object, "/metadata/generateName") {
                "" => return Err(ManifestError::NoName(kind.to_owned())),
                begin => format!("{begin}0"),
            },
            name => name.to_owned(),
        };
        Ok(Self {
            called: format!("{kind} {namespace}/{name}"),
            object,
            namespace,
            name,
        })
    }

    pub(super) fn wrong(&self, what: impl Into<String>) -> ManifestError {
        ManifestError::Object {
            object: self.called.clone(),
            what: what.into(),
        }
    }

    /// A number of pods; `default` where none is given.
    pub(super) fn count(&self, field: &str, default: u64) -> Result<u64, ManifestError> {
        match self.object.pointer(&format!("/spec/{field}")) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => value.as_u64().ok_or_else(|| {
                self.wrong(format!("spec.{field} is {value}, not a number of pods"))
            }),
        }
    }

    /// The pod template, which has to be there.
    pub(super) fn template(&self) -> Result<&'a Value, ManifestError> {
        let template = self.object.pointer("/spec/template");
        match template {
            Some(template) if template.pointer("/spec").is_some_and(Value::is_object) => {
                Ok(template)
            }
            _ => Err(self.wrong("spec.template.spec is missing")),
        }
    }
}
