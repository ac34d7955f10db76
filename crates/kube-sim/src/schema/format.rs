//! String formats that Kubernetes checks, and numbers as its messages print them.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A float as Kubernetes prints it: shortest digits, an exponent from 1e+06 up and from 1e-05 down.
pub(super) fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    match exponent.parse::<i32>() {
        Ok(power) if (-4..6).contains(&power) => format!("{value}"),
        Ok(power) => {
            let sign = if power < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", power.abs())
        }
        Err(_) => scientific,
    }
}

/// Whether `text` has the named format; formats that Kubernetes does not know always match.
pub(super) fn matches(format: &str, text: &str) -> bool {
    match format {
        "date-time" | "datetime" => {
            text.len() >= 20
                && matches!(text.as_bytes().get(10), Some(b'T' | b't'))
                && text.parse::<jiff::Timestamp>().is_ok()
        }
        "date" => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
        "duration" => go_duration(text),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => cidr(text),
        "mac" => mac(text),
        "uuid" | "uuid3" | "uuid4" | "uuid5" => uuid(format, text),
        "email" => text
            .split_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && hostname(host)),
        "hostname" => hostname(text),
        "uri" => uri(text),
        "byte" => base64(text),
        _ => true,
    }
}

fn go_duration(text: &str) -> bool {
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    if body == "0" {
        return true;
    }
    let mut rest = body;
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (figure, tail) = rest.split_at(digits);
        if figure.parse::<f64>().is_err() {
            return false;
        }
        let units = ["ns", "us", "µs", "ms", "s", "m", "h"];
        let Some(unit) = units
            .iter()
            .filter(|unit| tail.starts_with(**unit))
            .max_by_key(|unit| unit.len())
        else {
            return false;
        };
        rest = &tail[unit.len()..];
        parts += 1;
    }
    parts > 0
}

fn cidr(text: &str) -> bool {
    text.split_once('/').is_some_and(|(address, bits)| {
        let limit = if address.parse::<Ipv4Addr>().is_ok() {
            32
        } else if address.parse::<Ipv6Addr>().is_ok() {
            128
        } else {
            return false;
        };
        bits.parse::<u8>().is_ok_and(|bits| bits <= limit)
    })
}

fn mac(text: &str) -> bool {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    matches!(parts.len(), 6 | 8)
        && parts
            .iter()
            .all(|part| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn uuid(format: &str, text: &str) -> bool {
    let bare: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
    let shape = bare.len() == 32 && bare.iter().all(u8::is_ascii_hexdigit);
    shape
        && match format.strip_prefix("uuid") {
            Some(version) if !version.is_empty() => bare.get(12).copied() == version.bytes().next(),
            _ => true,
        }
}

fn hostname(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        })
}

fn uri(text: &str) -> bool {
    let absolute = text.split_once(':').is_some_and(|(scheme, rest)| {
        !rest.is_empty()
            && scheme
                .bytes()
                .next()
                .is_some_and(|c| c.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || b"+-.".contains(&c))
    });
    (absolute || text.starts_with('/')) && !text.contains(char::is_whitespace)
}

fn base64(text: &str) -> bool {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD
        .decode(text.replace(['\r', '\n'], ""))
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_print_without_a_trailing_fraction() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (0.5, "0.5"),
            (65535.0, "65535"),
            (-1.0, "-1"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn formats_are_judged_by_their_grammar() {
        for (format, good, bad) in [
            ("date-time", "2024-01-02T03:04:05Z", "2024-01-02 03:04:05"),
            ("date", "2024-01-02", "02.01.2024"),
            ("duration", "1h30m", "1d"),
            ("ipv4", "10.0.0.1", "10.0.0"),
            ("ipv6", "::1", "1.2.3.4"),
            ("cidr", "10.0.0.0/8", "10.0.0.0/40"),
            ("mac", "00:11:22:33:44:55", "00:11"),
            ("uuid", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "x"),
            ("uri", "https://example.com/x", "example com"),
            ("byte", "aGk=", "a-b"),
            ("hostname", "a.example", "-a"),
            ("email", "a@example.com", "a"),
        ] {
            assert!(matches(format, good), "{format} {good}");
            assert!(!matches(format, bad), "{format} {bad}");
        }
        assert!(matches("colour", "anything"));
    }
}
