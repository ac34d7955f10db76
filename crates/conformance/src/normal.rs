//! Makes the answers of two servers comparable: what no server gives twice (uids, versions, times,
//! random names, tokens) is replaced by placeholders that stay the same wherever the same value
//! comes again. So a version that changes where it must not is still seen.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value, json};

/// Numbers below this are not taken for versions in texts.
const LEAST_VERSION: u64 = 100;
/// Of a longer `generateName` the rest is cut off.
const LONGEST_BASE: usize = 58;
/// Times before this year come from the script.
const FIRST_YEAR: i32 = 2025;

/// The placeholders of one chapter.
pub(crate) struct Normaliser {
    step: String,
    /// How many placeholders this step has made.
    new: usize,
    uids: BTreeMap<String, String>,
    versions: BTreeMap<String, String>,
    names: BTreeMap<String, String>,
    uid_form: Option<Regex>,
    time: Option<Regex>,
    number: Option<Regex>,
}

impl Default for Normaliser {
    fn default() -> Self {
        let uid = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
        let time = r"(\d{4})-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)";
        Self {
            step: String::new(),
            new: 0,
            uids: BTreeMap::new(),
            versions: BTreeMap::new(),
            names: BTreeMap::new(),
            uid_form: Regex::new(uid).ok(),
            time: Regex::new(time).ok(),
            number: Regex::new(r"\b\d{3,}\b").ok(),
        }
    }
}

impl Normaliser {
    /// What is seen first in this answer is called by the name of its step.
    pub(crate) fn body(&mut self, step: &str, mut body: Value) -> Value {
        step.clone_into(&mut self.step);
        self.new = 0;
        sort_causes(&mut body);
        self.learn_names(&body);
        self.value(&mut body);
        body
    }

    /// Names the server made up, and the objects' own times in names.
    fn learn_names(&mut self, value: &Value) {
        match value {
            Value::Array(list) => list.iter().for_each(|item| self.learn_names(item)),
            Value::Object(map) => {
                let text = |key: &str| map.get(key).and_then(Value::as_str);
                if let (Some(name), Some(base)) = (text("name"), text("generateName"))
                    && let Some(suffix) = name.strip_prefix(&base[..base.len().min(LONGEST_BASE)])
                    && !suffix.is_empty()
                    && !self.names.contains_key(name)
                {
                    let placeholder = self.placeholder(&format!("{} letters", suffix.len()));
                    self.names
                        .insert(name.to_owned(), format!("{base}{placeholder}"));
                }
                map.values().for_each(|item| self.learn_names(item));
            }
            _ => {}
        }
    }

    fn value(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text, false),
            Value::Array(list) => list.iter_mut().for_each(|item| self.value(item)),
            Value::Object(map) => self.object(map),
            _ => {}
        }
    }

    fn object(&mut self, map: &mut Map<String, Value>) {
        let kind = map.get("kind").and_then(Value::as_str).unwrap_or_default();
        let table = kind == "Table";
        let discovered = kind == "APIGroupDiscoveryList";
        let bookmark = map.get("type") == Some(&json!("BOOKMARK"));
        let listed =
            (table || kind.ends_with("List")) && map.get("items").or(map.get("rows")).is_some();
        if bookmark {
            if let Some(version) = map
                .get_mut("object")
                .and_then(|object| object.pointer_mut("/metadata/resourceVersion"))
            {
                *version = json!("<some version>");
            }
        } else if listed
            && let Some(meta) = map.get_mut("metadata")
            && let Some(version) = meta.get_mut("resourceVersion")
            && version.as_str().is_some_and(|text| !text.is_empty())
        {
            *version = json!("<some version>");
        }
        // Discovery lists in an order of its own, and hashes of no meaning.
        for (list, name) in [
            ("groups", "/name"),
            ("resources", "/name"),
            ("resources", "/resource"),
            ("subresources", "/subresource"),
            ("items", "/metadata/name"),
        ] {
            if let Some(Value::Array(items)) = map.get_mut(list)
                && !items.is_empty()
                && items.iter().all(|item| item.pointer(name).is_some())
                && (list != "items" || discovered)
            {
                items.sort_by_key(|item| item.pointer(name).map(ToString::to_string));
            }
        }
        map.remove("storageVersionHash");
        if table {
            for row in map
                .get_mut("rows")
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
            {
                for cell in row
                    .get_mut("cells")
                    .and_then(Value::as_array_mut)
                    .into_iter()
                    .flatten()
                {
                    if cell.as_str().is_some_and(is_age) {
                        *cell = json!("<age>");
                    }
                }
            }
        }
        // Keys of managed fields quote uids.
        if map.keys().any(|key| key.starts_with("k:{")) {
            let old = std::mem::take(map);
            for (key, item) in old {
                map.insert(self.text(&key, false), item);
            }
        }
        for (key, item) in map.iter_mut() {
            match (key.as_str(), item) {
                ("resourceVersion", Value::String(text))
                    if text.parse::<u64>().is_ok_and(|it| it >= LEAST_VERSION) =>
                {
                    *text = self.version(text);
                }
                ("continue", Value::String(text)) if !text.is_empty() => {
                    "<token>".clone_into(text);
                }
                ("message" | "reason" | "note", Value::String(text)) => {
                    *text = self.text(text, true);
                }
                (_, item) => self.value(item),
            }
        }
    }

    fn version(&mut self, version: &str) -> String {
        if let Some(known) = self.versions.get(version) {
            return known.clone();
        }
        let placeholder = self.placeholder("version");
        self.versions
            .insert(version.to_owned(), placeholder.clone());
        placeholder
    }

    fn uid(&mut self, uid: &str) -> String {
        if let Some(known) = self.uids.get(uid) {
            return known.clone();
        }
        let placeholder = self.placeholder("uid");
        self.uids.insert(uid.to_owned(), placeholder.clone());
        placeholder
    }

    fn placeholder(&mut self, what: &str) -> String {
        self.new += 1;
        format!("<{what} {} of {:?}>", self.new, self.step)
    }

    fn text(&mut self, text: &str, message: bool) -> String {
        let mut out = text.to_owned();
        for (name, placeholder) in &self.names {
            out = out.replace(name, placeholder);
        }
        if let Some(uid) = self.uid_form.clone() {
            out = uid
                .replace_all(&out, |found: &regex::Captures<'_>| self.uid(&found[0]))
                .into_owned();
        }
        if let Some(time) = &self.time {
            out = time
                .replace_all(&out, |found: &regex::Captures<'_>| {
                    let year = found[1].parse::<i32>().unwrap_or_default();
                    if year < FIRST_YEAR {
                        found[0].to_owned()
                    } else if found.get(2).is_some() {
                        "<time with fraction>".to_owned()
                    } else {
                        "<time>".to_owned()
                    }
                })
                .into_owned();
        }
        if message && let Some(number) = &self.number {
            out = number
                .replace_all(&out, |found: &regex::Captures<'_>| {
                    self.versions
                        .get(&found[0])
                        .cloned()
                        .unwrap_or_else(|| found[0].to_owned())
                })
                .into_owned();
        }
        out
    }
}

/// The server goes through fields in no order: several causes are brought into one.
fn sort_causes(status: &mut Value) {
    let Some(causes) = status
        .pointer_mut("/details/causes")
        .and_then(Value::as_array_mut)
    else {
        return;
    };
    if causes.len() < 2 {
        return;
    }
    causes.sort_by_key(ToString::to_string);
    if let Some(Value::String(message)) = status.get_mut("message")
        && let Some((head, _)) = message.split_once(" is invalid: [")
    {
        *message = format!("{head} is invalid: (its causes)");
    }
}

/// `3s`, `2m5s`, `6y12d`: what tables show of times.
fn is_age(text: &str) -> bool {
    text.ends_with(['s', 'm', 'h', 'd'])
        && text.starts_with(|first: char| first.is_ascii_digit())
        && text
            .chars()
            .all(|letter| letter.is_ascii_digit() || "dhmsy".contains(letter))
}
