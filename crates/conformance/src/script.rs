//! The script: chapters of steps, each step one request.
//!
//! `${what:name}` in a path or body stands for something of an earlier answer that was remembered
//! with `as: name`: its `rv`, `uid`, `name`, `continue`, `created` time, or (as a whole value) the
//! `object` itself.

use std::{collections::BTreeSet, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ConformanceError;

/// Whether the real controller manager runs while a chapter is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Controllers {
    /// Nothing changes but by the script.
    #[default]
    Stopped,
    /// Collection of garbage and namespaces is part of what is played.
    Running,
}

/// Steps that belong together, played in order on a server of which they assume nothing but the
/// definitions of [`crate::prepare`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chapter {
    /// The file's name without its ending.
    #[serde(skip)]
    pub name: String,
    /// What it holds the server to.
    pub about: String,
    /// Who else writes meanwhile.
    #[serde(default)]
    pub controllers: Controllers,
    /// The requests.
    pub steps: Vec<Step>,
}

/// One request.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What is asked, in words; unique in its chapter.
    pub name: String,
    /// Method, path and query.
    pub send: String,
    /// Content type: `json` (default), `yaml`, `merge`, `patch`, `strategic`, `apply`, or a full one.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The Accept header; JSON if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept: Option<String>,
    /// The body; with `of`, a merge patch on that object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// The body is the remembered object of this name, changed by `body`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// The body as text, for what is no JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// Under which name the answer is remembered.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub remember: Option<String>,
    /// Asked again until the answer has these values (by JSON pointer; `code` is the status code).
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub until: Map<String, Value>,
    /// Played while this request, a watch, is being answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub during: Vec<Step>,
    /// Of a list at a pointer only the elements count whose `by` is one of `values`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<Only>,
    /// Pointers that alone count; everything if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pick: Vec<String>,
}

/// Which elements of a list (or members of an object) count.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Only {
    /// Where the list is.
    pub list: String,
    /// Pointer in each element; empty for members of an object, by key.
    #[serde(default)]
    pub by: String,
    /// The values that stay.
    pub values: Vec<String>,
}

impl Chapter {
    /// Reads one file.
    pub fn read(path: &Path) -> Result<Self, ConformanceError> {
        let wrong = |reason: String| ConformanceError::Script {
            path: path.to_owned(),
            reason,
        };
        let text = std::fs::read_to_string(path).map_err(|source| ConformanceError::File {
            verb: "read",
            path: path.to_owned(),
            source,
        })?;
        let mut chapter: Self =
            serde_saphyr::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let stem = path.file_stem().unwrap_or_default();
        chapter.name = stem.to_string_lossy().into_owned();
        let mut seen = BTreeSet::new();
        for step in chapter.all_steps() {
            if !seen.insert(step.name.as_str()) {
                return Err(wrong(format!("two steps are called {:?}", step.name)));
            }
        }
        Ok(chapter)
    }

    /// All requests, those made during others included.
    pub fn all_steps(&self) -> impl Iterator<Item = &Step> {
        self.steps
            .iter()
            .flat_map(|step| std::iter::once(step).chain(&step.during))
    }
}

impl Step {
    /// The step as recordings keep it, to see whether it has changed since.
    #[must_use]
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}
