//! Syntax of names, labels and generated suffixes, with Kubernetes' own explanations.

use runtime::Randomness;

const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Five characters as appended to `generateName`.
pub(crate) fn random_suffix(random: &Randomness) -> String {
    (0..5)
        .map(|_| {
            let at = random.below(ALPHABET.len() as u64) as usize;
            char::from(ALPHABET[at])
        })
        .collect()
}

fn alphanumeric(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// Why `name` is no DNS-1123 subdomain; `None` when it is one.
pub(crate) fn check_subdomain(name: &str) -> Option<&'static str> {
    if name.len() > 253 {
        return Some("must be no more than 253 characters");
    }
    let ok = name.split('.').all(|label| {
        let bytes = label.as_bytes();
        match (bytes.first(), bytes.last()) {
            (Some(first), Some(last)) => {
                alphanumeric(*first)
                    && alphanumeric(*last)
                    && bytes
                        .iter()
                        .all(|byte| alphanumeric(*byte) || *byte == b'-')
            }
            _ => false,
        }
    });
    (!ok).then_some("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')")
}

/// Why `name` is no DNS-1123 label; `None` when it is one.
pub(crate) fn check_label(name: &str) -> Option<&'static str> {
    if name.len() > 63 {
        return Some("must be no more than 63 characters");
    }
    (name.contains('.') || check_subdomain(name).is_some()).then_some("a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')")
}

/// Why `name` cannot be one segment of a URL path (RBAC names); `None` when it can.
pub(crate) fn check_path_segment(name: &str) -> Option<&'static str> {
    match name {
        "." => Some("may not be '.'"),
        ".." => Some("may not be '..'"),
        _ if name.contains('/') => Some("may not contain '/'"),
        _ if name.contains('%') => Some("may not contain '%'"),
        _ => None,
    }
}

fn simple_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    text.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

/// Why `key` is no qualified name (label, annotation key, finalizer); `None` when it is one.
pub(crate) fn check_qualified(key: &str) -> Option<&'static str> {
    const WHY: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    match key.split_once('/') {
        None if key.len() > 63 => Some("name part must be no more than 63 characters"),
        None => (!simple_name(key)).then_some(WHY),
        Some(("", _)) => Some("prefix part must be non-empty"),
        Some((prefix, _)) if check_subdomain(prefix).is_some() => Some(
            "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        ),
        Some((_, name)) if name.len() > 63 => Some("name part must be no more than 63 characters"),
        Some((_, name)) => (!simple_name(name)).then_some(WHY),
    }
}

/// Why `value` is no label value; `None` when it is one.
pub(crate) fn check_label_value(value: &str) -> Option<&'static str> {
    if value.len() > 63 {
        return Some("must be no more than 63 bytes");
    }
    (!value.is_empty() && !simple_name(value)).then_some("a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_by_the_dns_rules() {
        for good in ["a", "a-b", "a.b-c", "0", "node-1.example.com"] {
            assert_eq!(check_subdomain(good), None, "{good}");
        }
        for bad in ["", "A", "-a", "a-", "a..b", "a_b"] {
            assert!(check_subdomain(bad).is_some(), "{bad}");
        }
        assert!(check_label("a.b").is_some());
        assert_eq!(check_qualified("example.com/Name_1"), None);
        assert!(check_qualified("/x").is_some());
        assert!(check_label_value("-x").is_some());
    }
}
