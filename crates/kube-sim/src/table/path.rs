//! The JSONPath subset of printer columns: names, indexes, wildcards, and filters by equality.

use serde_json::Value;

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Name(String),
    Index(i64),
    All,
    /// Items whose value at the path compares with the literal; no literal asks for presence.
    Filter(JsonPath, Option<(bool, Value)>),
}

/// A parsed path.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct JsonPath(Vec<Step>);

impl JsonPath {
    /// Parses a path such as `.status.conditions[?(@.type=="Ready")].status`.
    ///
    /// # Errors
    /// Says what of it is not understood.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut steps = Vec::new();
        let text = text
            .strip_prefix('{')
            .and_then(|t| t.strip_suffix('}'))
            .unwrap_or(text);
        let mut rest = text.strip_prefix('$').unwrap_or(text);
        if rest.is_empty() {
            return Err("is empty".to_owned());
        }
        while !rest.is_empty() {
            if let Some(tail) = rest.strip_prefix('[') {
                let end = closing(tail).ok_or("unterminated array")?;
                steps.push(bracket(&tail[..end])?);
                rest = &tail[end + 1..];
            } else if let Some(tail) = rest.strip_prefix('.') {
                let (name, tail) = word(tail);
                match name.as_str() {
                    "" if tail.starts_with('[') => {}
                    "" => return Err(format!("unrecognized character in {text:?}")),
                    "*" => steps.push(Step::All),
                    _ => steps.push(Step::Name(name)),
                }
                rest = tail;
            } else {
                return Err(format!("{text:?} must begin with a dot or a bracket"));
            }
        }
        Ok(Self(steps))
    }

    /// The first value the path leads to.
    pub(super) fn first<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        walk(&self.0, value)
    }
}

fn walk<'a>(steps: &[Step], value: &'a Value) -> Option<&'a Value> {
    let Some((step, rest)) = steps.split_first() else {
        return Some(value);
    };
    match step {
        Step::Name(name) => walk(rest, value.get(name)?),
        Step::Index(index) => {
            let items = value.as_array()?;
            let at = if *index < 0 {
                items.len() as i64 + index
            } else {
                *index
            };
            walk(rest, items.get(usize::try_from(at).ok()?)?)
        }
        Step::All => match value {
            Value::Array(items) => items.iter().find_map(|item| walk(rest, item)),
            Value::Object(map) => map.values().find_map(|item| walk(rest, item)),
            _ => None,
        },
        Step::Filter(path, wanted) => value.as_array()?.iter().find_map(|item| {
            let found = path.first(item);
            let holds = match wanted {
                None => found.is_some(),
                Some((equal, literal)) => (found == Some(literal)) == *equal,
            };
            if holds { walk(rest, item) } else { None }
        }),
    }
}

/// The bytes up to the bracket that closes, outside quotes and inner brackets.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(at),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn word(text: &str) -> (String, &str) {
    let (mut name, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, escaped)| escaped)),
            '.' | '[' => return (name, &text[at..]),
            _ => name.push(c),
        }
    }
    (name, "")
}

fn quoted(text: &str) -> Option<&str> {
    ['\'', '"']
        .iter()
        .find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote))
}

fn bracket(inner: &str) -> Result<Step, String> {
    let inner = inner.trim();
    if let Some(name) = quoted(inner) {
        return Ok(Step::Name(name.to_owned()));
    }
    if inner == "*" {
        return Ok(Step::All);
    }
    if let Ok(index) = inner.parse() {
        return Ok(Step::Index(index));
    }
    let filter = inner
        .strip_prefix("?(")
        .and_then(|text| text.strip_suffix(')'))
        .ok_or_else(|| format!("invalid array index {inner}"))?
        .trim();
    let (path, wanted) = match (filter.split_once("=="), filter.split_once("!=")) {
        (Some((path, literal)), _) => (path, Some((true, literal))),
        (None, Some((path, literal))) => (path, Some((false, literal))),
        (None, None) => (filter, None),
    };
    let path = path
        .trim()
        .strip_prefix('@')
        .ok_or_else(|| format!("a filter must begin with @: {filter}"))?;
    let wanted = wanted
        .map(|(equal, literal)| {
            let literal = literal.trim();
            let value = match quoted(literal) {
                Some(text) => Value::from(text),
                None => {
                    serde_json::from_str(literal).map_err(|_| format!("{literal} is no literal"))?
                }
            };
            Ok::<_, String>((equal, value))
        })
        .transpose()?;
    Ok(Step::Filter(JsonPath::parse(path)?, wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_lead_to_names_indexes_and_filtered_items() {
        let object = json!({
            "spec": {"n": 1, "a.b": "dotted", "list": ["x", "y"]},
            "status": {"conditions": [{"type": "Other", "status": "False"}, {"type": "Ready", "status": "True"}]},
        });
        for (path, value) in [
            (".spec.n", json!(1)),
            ("{.spec.n}", json!(1)),
            ("$.spec.list[0]", json!("x")),
            (".spec.list[-1]", json!("y")),
            (".spec.list[*]", json!("x")),
            (".spec['a.b']", json!("dotted")),
            (".spec.a\\.b", json!("dotted")),
            (
                ".status.conditions[?(@.type==\"Ready\")].status",
                json!("True"),
            ),
            (
                ".status.conditions[?(@.type == 'Ready')].status",
                json!("True"),
            ),
            (
                ".status.conditions[?(@.type!='Other')].status",
                json!("True"),
            ),
        ] {
            assert_eq!(
                JsonPath::parse(path).unwrap().first(&object),
                Some(&value),
                "{path}"
            );
        }
        assert_eq!(JsonPath::parse(".spec.none").unwrap().first(&object), None);
        for bad in ["", "spec", ".a[", ".a[x]", ".a[?(b)]"] {
            assert!(JsonPath::parse(bad).is_err(), "{bad}");
        }
    }
}
