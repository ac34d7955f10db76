//! Quantities of resources as the simulated scheduler counts them: integers in thousandths.
//!
//! Written from the API convention's description of quantities and independent of the product's
//! own parser, so that an error in one of them shows.

use std::collections::BTreeMap;

use serde_json::Value;

/// Resources by name, each in thousandths of its unit (CPUs, bytes, pieces).
pub(crate) type Amounts = BTreeMap<String, i128>;

/// Reads a quantity in thousandths, rounded up; `None` for anything that is no quantity.
pub(crate) fn thousandths(value: &Value) -> Option<i128> {
    match value {
        Value::Number(number) => parse(&number.to_string()),
        Value::String(text) => parse(text),
        _ => None,
    }
}

fn parse(text: &str) -> Option<i128> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || fraction.len() > 18 {
        return None;
    }
    let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
    let (factor, mut divisor) = suffix_of(suffix)?;
    divisor = divisor.checked_mul(10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?)?;
    let scaled = mantissa.checked_mul(factor)?.checked_mul(1000)?;
    let rounded = scaled / divisor + i128::from(scaled % divisor != 0);
    Some(if negative { -rounded } else { rounded })
}

/// What a suffix multiplies by, as numerator and denominator.
fn suffix_of(suffix: &str) -> Option<(i128, i128)> {
    Some(match suffix {
        "" => (1, 1),
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1000),
        "k" => (1000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        "T" => (1_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let size = 10_i128.checked_pow(power.unsigned_abs().min(30))?;
            if power < 0 { (1, size) } else { (size, 1) }
        }
    })
}

/// Reads a resource list; the name of the first resource that cannot be read is the error.
pub(crate) fn read(list: &BTreeMap<String, Value>) -> Result<Amounts, String> {
    list.iter()
        .map(|(name, value)| {
            thousandths(value)
                .map(|amount| (name.clone(), amount))
                .ok_or_else(|| name.clone())
        })
        .collect()
}

/// Adds `more` to `total`, name by name.
pub(crate) fn add(total: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        *total.entry(name.clone()).or_default() += amount;
    }
}

/// Takes `less` from `total`, name by name.
pub(crate) fn subtract(total: &mut Amounts, less: &Amounts) {
    for (name, amount) in less {
        *total.entry(name.clone()).or_default() -= amount;
    }
}

/// Raises each entry of `total` to at least that of `other`.
pub(crate) fn raise(total: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let entry = total.entry(name.clone()).or_default();
        *entry = (*entry).max(*amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_in_thousandths_and_rounded_up() {
        for (text, expected) in [
            ("100m", 100),
            ("1", 1000),
            ("1.5", 1500),
            (".5", 500),
            ("2Ki", 2_048_000),
            ("1e3", 1_000_000),
            ("1E", 1_000_000_000_000_000_000_000),
            ("1n", 1),
            ("-1", -1000),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in ["", "abc", "1.2.3", "1Q", "--1", "m", "1 Gi", "1e"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
