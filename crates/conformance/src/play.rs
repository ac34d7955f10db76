//! Plays a chapter through a client: fills in what earlier answers said, sends, remembers, and
//! normalises. Watches run while the steps inside them are played.

use std::{collections::BTreeMap, time::Duration};

use http::{Request, header};
use kube::{Client, client::Body};
use runtime::Clock;
use serde_json::{Map, Value, json};

use crate::{
    ConformanceError,
    normal::Normaliser,
    script::{Chapter, Step},
};

/// Between two looks at something that is awaited, and before the first step inside a watch.
const PAUSE: Duration = Duration::from_millis(250);
/// How often it is looked.
const LOOKS: usize = 120;
/// Who writes, where no field manager is named.
const AGENT: &str = "conformance/1";

/// A step and its normalised answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Name of the step.
    pub step: String,
    /// The request as the script has it.
    pub request: Value,
    /// Code, headers that matter, body.
    pub answer: Value,
}

impl Entry {
    pub(crate) fn to_json(&self) -> Value {
        json!({"request": self.request, "answer": self.answer})
    }

    pub(crate) fn from_json(line: &str) -> Option<Self> {
        let mut value: Value = serde_json::from_str(line).ok()?;
        let request = value["request"].take();
        Some(Self {
            step: request["name"].as_str()?.to_owned(),
            request,
            answer: value["answer"].take(),
        })
    }
}

/// A plain answer.
struct Answer {
    code: u16,
    content_type: String,
    warnings: Vec<String>,
    retry_after: Option<String>,
    body: Vec<u8>,
}

/// Defines the product's three kinds and waits until they are served.
pub async fn prepare(client: &Client, clock: &Clock) -> Result<(), ConformanceError> {
    let mut memory = BTreeMap::new();
    let mut normaliser = Normaliser::default();
    for definition in api::crds::crds() {
        let name = definition.metadata.name.clone().unwrap_or_default();
        let body = serde_json::to_value(&definition).unwrap_or_default();
        let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let mut step = Step {
            name: format!("define {name}"),
            send: format!("POST {definitions}"),
            content_type: None,
            accept: None,
            body: Some(body),
            of: None,
            raw: None,
            remember: None,
            until: Map::new(),
            during: Vec::new(),
            only: Vec::new(),
            pick: Vec::new(),
        };
        one(client, clock, &step, &mut memory, &mut normaliser).await?;
        let (plural, group) = name.split_once('.').unwrap_or_default();
        let version = &definition.spec.versions[0].name;
        step.name = format!("{name} is served");
        step.send = format!("GET /apis/{group}/{version}/{plural}");
        step.body = None;
        step.until.insert("code".to_owned(), json!(200));
        one(client, clock, &step, &mut memory, &mut normaliser).await?;
    }
    Ok(())
}

/// Plays all steps in order. `progress` is told each step's name before it is played.
pub async fn play(
    client: &Client,
    clock: &Clock,
    chapter: &Chapter,
) -> Result<Vec<Entry>, ConformanceError> {
    let mut memory = BTreeMap::new();
    let mut normaliser = Normaliser::default();
    let mut entries = Vec::new();
    for step in &chapter.steps {
        if step.during.is_empty() {
            let answer = one(client, clock, step, &mut memory, &mut normaliser).await?;
            entries.push(entry(step, answer));
            continue;
        }
        let request = request(step, &memory)?;
        let watch = send(client, step, request);
        let inside = async {
            clock.sleep(PAUSE).await;
            for step in &step.during {
                let answer = one(client, clock, step, &mut memory, &mut normaliser).await?;
                entries.push(entry(step, answer));
            }
            Ok::<_, ConformanceError>(())
        };
        let (answer, played) = futures::join!(watch, inside);
        played?;
        let answer = answer?;
        let body = parsed(step, &answer);
        remember(step, &body, &mut memory);
        entries.push(entry(
            step,
            normalised(step, &answer, body, &mut normaliser),
        ));
    }
    Ok(entries)
}

fn entry(step: &Step, answer: Value) -> Entry {
    Entry {
        step: step.name.clone(),
        request: step.to_json(),
        answer,
    }
}

async fn one(
    client: &Client,
    clock: &Clock,
    step: &Step,
    memory: &mut BTreeMap<String, Value>,
    normaliser: &mut Normaliser,
) -> Result<Value, ConformanceError> {
    let mut looks = 0;
    loop {
        let answer = send(client, step, request(step, memory)?).await?;
        let body = parsed(step, &answer);
        let met = step.until.iter().all(|(pointer, wanted)| {
            if pointer == "code" {
                json!(answer.code) == *wanted
            } else {
                body.pointer(pointer).unwrap_or(&Value::Null) == wanted
            }
        });
        if met {
            remember(step, &body, memory);
            return Ok(normalised(step, &answer, body, normaliser));
        }
        looks += 1;
        if looks == LOOKS {
            return Err(ConformanceError::NotInTime {
                step: step.name.clone(),
                last: body.to_string(),
            });
        }
        clock.sleep(PAUSE).await;
    }
}

fn request(
    step: &Step,
    memory: &BTreeMap<String, Value>,
) -> Result<Request<Body>, ConformanceError> {
    let wrong = |reason: String| ConformanceError::Step {
        step: step.name.clone(),
        reason,
    };
    let (method, path) = step
        .send
        .split_once(' ')
        .ok_or_else(|| wrong("`send` is not a method and a path".to_owned()))?;
    let path = filled_text(path, memory).map_err(wrong)?;
    let content_type = match step.content_type.as_deref().unwrap_or("json") {
        "json" => "application/json",
        "yaml" => "application/yaml",
        "merge" => "application/merge-patch+json",
        "patch" => "application/json-patch+json",
        "strategic" => "application/strategic-merge-patch+json",
        "apply" => "application/apply-patch+yaml",
        other => other,
    };
    let mut body = match &step.of {
        Some(name) => memory
            .get(name)
            .cloned()
            .ok_or_else(|| wrong(format!("{name:?} is not remembered")))?,
        None => Value::Null,
    };
    if let Some(sent) = &step.body {
        let sent = filled(sent, memory).map_err(wrong)?;
        if step.of.is_some() {
            merge(&mut body, &sent);
        } else {
            body = sent;
        }
    }
    let body = match &step.raw {
        Some(raw) => filled_text(raw, memory).map_err(wrong)?,
        None if body.is_null() && step.body.is_none() => String::new(),
        None => body.to_string(),
    };
    let mut request = Request::builder()
        .method(method)
        .uri(path.replace(' ', "%20"))
        .header(header::USER_AGENT, AGENT)
        .header(
            header::ACCEPT,
            step.accept.as_deref().unwrap_or("application/json"),
        );
    if !body.is_empty() {
        request = request.header(header::CONTENT_TYPE, content_type);
    }
    request
        .body(Body::from(body.into_bytes()))
        .map_err(|error| wrong(error.to_string()))
}

async fn send(
    client: &Client,
    step: &Step,
    request: Request<Body>,
) -> Result<Answer, ConformanceError> {
    let wrong = |source| ConformanceError::Answer {
        step: step.name.clone(),
        source: Box::new(source),
    };
    let response = client.send(request).await.map_err(wrong)?;
    let (head, body) = response.into_parts();
    let text = |name: header::HeaderName| {
        head.headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect::<Vec<_>>()
    };
    Ok(Answer {
        code: head.status.as_u16(),
        content_type: text(header::CONTENT_TYPE).join(","),
        warnings: text(header::WARNING),
        retry_after: text(header::RETRY_AFTER).pop(),
        body: body.collect_bytes().await.map_err(wrong)?.to_vec(),
    })
}

/// The body as one value: JSON, the list of a watch's lines, or text.
fn parsed(step: &Step, answer: &Answer) -> Value {
    let text = String::from_utf8_lossy(&answer.body);
    if step.send.contains("watch=") || step.send.contains("/watch/") {
        let lines: Option<Vec<Value>> = text
            .lines()
            .map(|line| serde_json::from_str(line).ok())
            .collect();
        if let Some(lines) = lines
            && lines.iter().all(|line| line.get("type").is_some())
        {
            return Value::Array(lines);
        }
    }
    serde_json::from_str(&text).unwrap_or_else(|_| json!(text))
}

fn remember(step: &Step, body: &Value, memory: &mut BTreeMap<String, Value>) {
    if let Some(name) = &step.remember {
        memory.insert(name.clone(), body.clone());
    }
}

fn normalised(step: &Step, answer: &Answer, body: Value, normaliser: &mut Normaliser) -> Value {
    let mut out = json!({"code": answer.code});
    let content_type = answer.content_type.replace(' ', "");
    if content_type != "application/json" {
        out["type"] = json!(content_type);
    }
    if !answer.warnings.is_empty() {
        out["warnings"] = json!(answer.warnings);
    }
    if let Some(seconds) = &answer.retry_after {
        out["retryAfter"] = json!(seconds);
    }
    let mut body = normaliser.body(&step.name, body);
    reduce(step, &mut body);
    out["body"] = body;
    out
}

/// Leaves what counts.
fn reduce(step: &Step, body: &mut Value) {
    for only in &step.only {
        match body.pointer_mut(&only.list) {
            Some(Value::Array(list)) => list.retain(|item| {
                let found = item.pointer(&only.by).and_then(Value::as_str);
                found.is_some_and(|found| only.values.iter().any(|value| value == found))
            }),
            Some(Value::Object(map)) => {
                map.retain(|key, _| only.values.iter().any(|value| value == key));
            }
            _ => {}
        }
    }
    if !step.pick.is_empty() {
        let picked: Map<String, Value> = step
            .pick
            .iter()
            .map(|pointer| {
                let found = body.pointer(pointer).cloned().unwrap_or_default();
                (pointer.clone(), found)
            })
            .collect();
        *body = Value::Object(picked);
    }
}

// === Filling in ===

fn filled(value: &Value, memory: &BTreeMap<String, Value>) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => {
            let whole = text
                .strip_prefix("${object:")
                .and_then(|rest| rest.strip_suffix('}'));
            match whole {
                Some(name) => memory
                    .get(name)
                    .cloned()
                    .ok_or_else(|| format!("{name:?} is not remembered"))?,
                None => json!(filled_text(text, memory)?),
            }
        }
        Value::Array(list) => list
            .iter()
            .map(|item| filled(item, memory))
            .collect::<Result<_, _>>()?,
        Value::Object(map) => {
            let mut out = Map::new();
            for (key, value) in map {
                out.insert(filled_text(key, memory)?, filled(value, memory)?);
            }
            Value::Object(out)
        }
        other => other.clone(),
    })
}

fn filled_text(text: &str, memory: &BTreeMap<String, Value>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (inside, tail) = after
            .split_once('}')
            .ok_or_else(|| format!("no end of ${{ in {text:?}"))?;
        let (what, name) = inside
            .split_once(':')
            .ok_or_else(|| format!("no colon in ${{{inside}}}"))?;
        let object = memory
            .get(name)
            .ok_or_else(|| format!("{name:?} is not remembered"))?;
        let pointer = match what {
            "rv" => "/metadata/resourceVersion",
            "uid" => "/metadata/uid",
            "name" => "/metadata/name",
            "continue" => "/metadata/continue",
            "created" => "/metadata/creationTimestamp",
            other => return Err(format!("{other:?} cannot be asked of an answer")),
        };
        let found = object
            .pointer(pointer)
            .and_then(Value::as_str)
            .ok_or_else(|| format!("{name:?} has no {pointer}: {object}"))?;
        out.push_str(before);
        out.push_str(found);
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Value::Object(map) = target else { return };
    for (key, change) in changes {
        if change.is_null() {
            map.remove(key);
        } else {
            merge(map.entry(key.clone()).or_insert(Value::Null), change);
        }
    }
}
